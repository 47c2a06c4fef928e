#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run the suites: programs and test suites that this project did not write, in Debian's kernel, natively and translated.

  tests/suites/run.py                    every case, both engines at once, a table; what passes natively must pass translated
  tests/suites/run.py --sample           the cases marked for CI; each must pass natively too
  tests/suites/run.py -k stress -k lua   cases with one of these in their names
  tests/suites/run.py --engine translate --show -k signals      one engine, with what the case prints
  tests/suites/run.py --list

The translated guest is booted through firmware from a USB image as a user boots it, the native one directly; --pvh boots both directly.
`make suites-media` must have been run, for the sample `make suites-sample`. A machine that hangs or ends in the middle of a case counts against that case and is started
anew for the rest. The last line is "N passed, N failed, N skipped"; exit status 0 iff none failed."""
import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "boot")]
sys.dont_write_bytecode = True

from content import Content, read  # noqa: E402
from machine import Machine, Options  # noqa: E402
from mkbundle import pad, write_bundle  # noqa: E402
from mkimage import write_image  # noqa: E402
from mkinitramfs import Archive  # noqa: E402

LOAD_FACTOR = float(os.environ.get("ND_TIME_FACTOR", "6"))  # time limits are for an idle machine
CMDLINE = "console=ttyS0 tsc=reliable quiet panic=-1 reboot=t"
MEMORY = "512M"
BOOT_SECONDS = 60
SLACK_SECONDS = 60   # beyond the time limit that the guest itself enforces
SKIPPED = {3: "no resource", 4: "not implemented", 77: "not here"}  # stress-ng's statuses; 77: ours
SIGILL = "132"       # a program's end by it, as the shell has it


@dataclass
class Case:
    name: str
    flags: str      # of cases.txt
    seconds: float
    command: str


@dataclass
class Result:
    status: str = ""      # the exit status; else what became of the machine
    digest: str = ""
    output: str = ""
    seconds: float = 0

    @property
    def ok(self):
        return self.status == "0"

    @property
    def skipped(self):
        return self.status.isdigit() and int(self.status) in SKIPPED

    def words(self):
        if self.ok:
            return "ok"
        return SKIPPED[int(self.status)] if self.skipped else f"status {self.status}" if self.status.isdigit() else self.status


def read_cases(path):
    cases = []
    with open(path, encoding="utf-8") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                name, flags, seconds, command = line.split(None, 3)
                cases.append(Case(name, flags, float(seconds), command.strip()))
    assert len({c.name for c in cases}) == len(cases), "names must be unique"
    return cases


def write_initrd(path, base, cases, factor):
    """The suites' initramfs and behind it a second archive with the cases, which Linux unpacks over it."""
    archive = Archive()
    text = "".join(f"{c.name} {c.flags} {max(1, round(c.seconds * factor))} {c.command}\n" for c in cases)
    archive.add("/cases", 0o100644, text.encode())
    with open(path, "wb") as f:
        f.write(pad(read(base)) + archive.write())


class Run:
    """One engine's run over some cases: as many machines as it takes."""

    def __init__(self, args, engine):
        self.args, self.engine = args, engine
        self.results = {}

    def over(self, cases):
        left = list(cases)
        while left:
            before = len(left)
            self.one_machine(left)
            left = [c for c in left if c.name not in self.results]
            if len(left) == before:  # it did not even begin
                self.results.update({c.name: Result("the guest did not start") for c in left})
                break
        return self.results

    def one_machine(self, cases):
        """Boot, and watch until all cases are done, one of them hangs, or the machine ends."""
        build = self.args.build
        with tempfile.TemporaryDirectory(prefix="suites-", dir=build) as scratch:
            initrd, medium = os.path.join(scratch, "suites.cpio"), os.path.join(scratch, "medium")
            write_initrd(initrd, os.path.join(build, "suites/sample.cpio" if self.args.sample else "suites/suites.cpio"), cases, LOAD_FACTOR)
            cmdline = " ".join(filter(None, [CMDLINE, self.args.cmdline, "show" if self.args.show else ""]))
            content = Content(guest=os.path.join(build, "guests/vmlinuz-cloud"), initrd=initrd, cmdline=cmdline, memory=MEMORY,
                              mode=self.engine, log=self.args.log)
            if self.engine == "translate" and not self.args.pvh:
                write_image(medium, os.path.join(build, "BOOTX64.EFI"), os.path.join(build, "stick/kernel.elf"), content)
                how = dict(image=medium, disk="usb")
            else:
                write_bundle(medium, content)
                how = dict(kernel=os.path.join(build, "kernel.elf"), bundle=medium)
            with Machine(Options(memory=MEMORY, build=build, **how), self.echo if self.args.verbose else None) as machine:
                self.watch(machine, cases)

    def echo(self, data):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def watch(self, machine, cases):
        log = Log(self, cases)
        while not log.done:
            log.feed(machine.raw)
            if machine.status is not None and not log.done:
                return log.broken(f"the machine ended: {machine.reason}")
            if time.monotonic() > log.deadline:
                return log.broken("hangs")
            machine.pump(0.5)
        return None

    def note(self, case, result):
        self.results[case.name] = result
        print(f"   {self.engine:9} {case.name:32} {result.words():12} {result.seconds:6.1f} s", flush=True)
        if (not result.ok and not result.skipped) or self.args.show:
            self.quote(result.output)

    @staticmethod
    def quote(text):
        print("\n".join("    | " + line for line in text.strip().split("\n")[-30:]), flush=True)


class Log:
    """What a guest says, line by line; the results go to its Run."""

    def __init__(self, run, cases):
        self.run, self.cases = run, {c.name: c for c in cases}
        self.position, self.lines, self.case, self.done = 0, [], None, False
        self.start(BOOT_SECONDS)

    def start(self, seconds):
        self.began = time.monotonic()
        self.deadline = self.began + seconds * LOAD_FACTOR + SLACK_SECONDS

    def feed(self, raw):
        end = raw.rfind(b"\n") + 1
        for line in raw[self.position:end].decode("utf-8", "replace").splitlines():
            self.line(line)
        self.position = max(self.position, end)

    def line(self, line):
        words = line.split()
        if words[:1] == ["case-begin"] and words[-1] in self.cases:
            self.case, self.lines = self.cases[words[-1]], []
            self.start(self.case.seconds)
        elif words[:1] == ["case-end"] and self.case and len(words) == 4:
            self.run.note(self.case, Result(words[2], words[3], "\n".join(self.lines), time.monotonic() - self.began))
            self.case, self.lines = None, []
            self.start(BOOT_SECONDS)
        elif words == ["cases-done"]:
            self.done = True
        else:
            self.lines.append(line)

    def broken(self, why):
        output = "\n".join(self.lines)
        if self.case:
            self.run.note(self.case, Result(why, "", output, time.monotonic() - self.began))
        else:
            print(f"   {self.run.engine}: between cases: {why}")
            self.run.quote(output)


def verdict(case, native, translated, sample):
    """(kind, why): kind is ok, FAIL or skip. The sample consists of cases that pass natively."""
    if native and not native.ok:
        return ("FAIL" if sample else "skip"), f"natively: {native.words()}"
    if "c" in case.flags and translated.status == SIGILL:
        return "skip", "32-bit code is refused (docs/guest-cpu.md)"
    if not translated.ok:
        return ("skip" if translated.skipped and not native else "FAIL"), translated.words()
    if native and "o" in case.flags and native.digest != translated.digest:
        return "FAIL", "its output differs from the native run's"
    return "ok", ""


def report(cases, results, engines, sample):
    counts = {"ok": 0, "FAIL": 0, "skip": 0}
    print(f"\n{'case':34}" + "".join(f"{e + ', s':>14}" for e in engines) + "  verdict")
    for case in cases:
        native = results["native"][case.name] if "native" in results else None
        last = results[engines[-1]][case.name]
        kind, why = verdict(case, native if last is not native else None, last, sample)
        counts[kind] += 1
        times = "".join(f"{results[e][case.name].seconds:14.1f}" for e in engines)
        print(f"{case.name:34}{times}  {kind}{': ' + why if why else ''}")
    print(f"{counts['ok']} passed, {counts['FAIL']} failed, {counts['skip']} skipped")
    return 1 if counts["FAIL"] or not counts["ok"] else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-k", dest="pattern", action="append", help="only cases with this in their name")
    parser.add_argument("--sample", action="store_true", help="only the cases marked s")
    parser.add_argument("--engine", choices=["native", "translate"], help="only this one")
    parser.add_argument("--pvh", action="store_true", help="no firmware and no USB image")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--show", action="store_true", help="what the cases print")
    parser.add_argument("-v", dest="verbose", action="store_true", help="the whole serial line")
    parser.add_argument("--cmdline", default="", help="more words for the kernel's command line")
    parser.add_argument("--log", default="", help="the monitor's log channels")
    parser.add_argument("--cases", default=os.path.join(HERE, "cases.txt"))
    parser.add_argument("--build", default=os.path.relpath(os.path.join(ROOT, "build")))
    args = parser.parse_args()
    cases = [c for c in read_cases(args.cases) if (not args.sample or "s" in c.flags)
             and (not args.pattern or any(p in c.name for p in args.pattern))]
    if args.list or not cases:
        print("\n".join(c.name for c in cases) or "no such case")
        return 0 if cases else 1
    engines = [args.engine] if args.engine else ["native", "translate"]
    with ThreadPoolExecutor(len(engines)) as pool:
        results = dict(zip(engines, pool.map(lambda engine: Run(args, engine).over(cases), engines)))
    return report(cases, results, engines, args.sample)


if __name__ == "__main__":
    sys.exit(main())
