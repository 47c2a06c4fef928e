#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run the system tests: guests in QEMU, under our kernel, from the USB image (uefi) or started directly (pvh).

  tests/system/run.py                  all
  tests/system/run.py -k smc -k timer  tests whose name contains one of these
  tests/system/run.py --list           names only
  tests/system/run.py --uefi-only      those that boot the image through firmware
  tests/system/run.py --all-usb        all, and every payload through firmware as well

`make media payloads` must have been run. A line per test: ok, or FAIL (wrong result), TIMEOUT, CRASH (the machine ended without a
result), ERROR (the test itself is broken), skip. The last line is "N passed, N failed, N skipped"; exit status 0 iff none failed."""
import argparse
import concurrent.futures
import os
import sys
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "boot"), HERE]
sys.dont_write_bytecode = True

import machine  # noqa: E402
from tests import TESTS  # noqa: E402
from verdict import (CRASH, ERROR, FAIL, OK, SKIP, TIMEOUT, Unfit, Verdict, checksum_difference,  # noqa: E402
                     failed_cases, missing_pattern, plain_text, tail)

TAIL_LINES = 40
LOAD_FACTOR = float(os.environ.get("ND_TIME_FACTOR", "6"))  # time limits are for an idle machine


class Runner:
    def __init__(self, build):
        self.build = build
        self.lock = threading.Lock()
        self.references = {}  # (guest, cmdline) -> future of the native run's text

    def scratch(self, name):
        folder = os.path.join(self.build, "system-tests")
        os.makedirs(folder, exist_ok=True)
        return os.path.join(folder, name.replace("/", "-"))

    def guest_file(self, test):
        """The path of the guest's file, made if the test makes one."""
        if test.make_guest:
            path = self.scratch(test.name)
            with open(os.path.join(self.build, "payloads/hello.elf"), "rb") as good, open(path, "wb") as f:
                f.write(test.make_guest(good.read()))
            return path
        if not test.guest:
            return None
        path = os.path.join(self.build, test.guest)
        if not os.path.exists(path):
            if test.optional:
                raise Unfit(f"{path} is not there")
            raise FileNotFoundError(f"{path}: make payloads")
        return path

    def beside(self, name):
        """The path of what a test gives its guest besides; None if nothing."""
        path = os.path.join(self.build, name)
        if name and not os.path.exists(path):
            raise FileNotFoundError(f"{path}: make {path}")
        return path if name else None

    def boot(self, test, engine):
        """Boot the test's guest; returns (status, plain text)."""
        content = dict(mode=engine, cmdline=test.cmdline_for(engine), memory=test.memory, log=test.log, smc=test.smc,
                       exit=test.exit, conf=test.conf)
        status, output = machine.boot(guest=self.guest_file(test), initrd=self.beside(test.initrd),
                                      pvh=test.boot == "pvh", build=self.build,
                                      timeout=test.timeout * LOAD_FACTOR, dialogue=test.dialogue, append=test.append,
                                      machine_memory=test.machine_memory, qemu_extra=test.qemu_extra, **content)
        return status, plain_text(output)

    def reference(self, test):
        """Text of the same guest's native run, made once however many tests compare with it."""
        key = (test.guest, test.cmdline)
        with self.lock:
            future = self.references.get(key)
            owner = future is None
            if owner:
                future = self.references[key] = concurrent.futures.Future()
        if owner:
            try:
                future.set_result(self.boot(test.as_reference(), "native")[1])
            except Exception as e:  # pylint: disable=broad-except # handed to every waiter
                future.set_exception(e)
        return future.result()

    def judge(self, test, status, text):
        patterns = test.patterns()
        if status == machine.STATUS_TIMEOUT and test.status != status:
            return Verdict(TIMEOUT, f"nothing after {test.timeout * LOAD_FACTOR:.0f} s", text)
        if status != test.status:
            words = machine.describe(status)
            kind = CRASH if status in (machine.STATUS_RESET, machine.STATUS_QEMU) or "panic" in words else FAIL
            failed = failed_cases(text)
            more = f"; failed cases: {', '.join(failed)}" if failed else ""
            return Verdict(kind, f"exit status {status}, expected {test.status}: {words}{more}", text)
        missing = missing_pattern(patterns, text)
        if missing:
            return Verdict(FAIL, f"not in the output: {missing}", text)
        return Verdict(OK, output=text)

    def compare(self, test, verdict):
        difference = checksum_difference(verdict.output, self.reference(test))
        return Verdict(FAIL, difference, verdict.output) if difference else verdict

    def run(self, test):
        """Never raises."""
        started = time.monotonic()
        try:
            if test.special:
                verdict = test.special(self, test, LOAD_FACTOR)
            else:
                verdict = self.judge(test, *self.boot(test, test.engine))
            if verdict.kind == OK and test.compare:
                verdict = self.compare(test, verdict)
        except Unfit as e:
            verdict = Verdict(SKIP, str(e))
        except Exception:  # pylint: disable=broad-except # any bug of ours is this test's ERROR
            verdict = Verdict(ERROR, traceback.format_exc().strip())
        return verdict, time.monotonic() - started


def report(test, verdict, seconds):
    print(f"{verdict.kind:7} {test.name} ({seconds:.1f} s)" + (f": {verdict.reason}" if verdict.reason else ""))
    if verdict.kind in (FAIL, TIMEOUT, CRASH):
        for line in tail(verdict.output, TAIL_LINES).split("\n"):
            print(f"    | {line}")
    sys.stdout.flush()


def selected(args):
    tests = [t for t in TESTS if (args.all_usb or not t.extra) and (not args.uefi_only or t.boot == "uefi")]
    if not args.pattern:
        return [t for t in tests if not t.on_demand]
    return [t for t in tests if any(p == t.name if t.on_demand else p in t.name for p in args.pattern)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-k", dest="pattern", action="append", help="only tests with this in their name")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--uefi-only", action="store_true")
    parser.add_argument("--all-usb", action="store_true", help="every payload through the USB image, not one of each kind")
    parser.add_argument("-j", dest="jobs", type=int, default=2)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    args = parser.parse_args()
    tests = selected(args)
    if args.list:
        print("\n".join(t.name for t in tests))
        return 0
    runner = Runner(os.path.relpath(args.build))
    counts = {OK: 0, SKIP: 0}
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        longest_first = sorted(tests, key=lambda t: -t.timeout)  # so that no core is idle at the end
        futures = {pool.submit(runner.run, t): t for t in longest_first}
        for future in concurrent.futures.as_completed(futures):
            verdict, seconds = future.result()
            report(futures[future], verdict, seconds)
            if verdict.kind in counts:
                counts[verdict.kind] += 1
            else:
                failed += 1
    print(f"{counts[OK]} passed, {failed} failed, {counts[SKIP]} skipped")
    return 1 if failed or not counts[OK] else 0


if __name__ == "__main__":
    sys.exit(main())
