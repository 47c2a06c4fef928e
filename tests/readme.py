#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run the README's own `make run` lines as they stand there, typing what a user would, and look at what they print and how they end.

  tests/readme.py            all of them
  tests/readme.py -k PVH     those with this in them
  tests/readme.py --list     the lines, and what is done with each

A line that is in no row of GUESTS fails: an example of the README that nobody runs is a promise that nobody keeps. Guests that only
the user has are skipped. The last line is "N passed, N failed, N skipped"; exit status 0 iff none failed."""
import argparse
import os
import re
import subprocess
import sys
import threading
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
FACTOR = float(os.environ.get("ND_TIME_FACTOR", "6"))  # time limits are for an idle machine
QUIT = b"\x01x"     # Ctrl-A x
MONITOR = b"\x01c"  # Ctrl-A c

# The guest named in the line ("" = none named): seconds, [(what to wait for, what to type then)], what the run must end with.
GUESTS = {
    "": (60, [(rb"root# ", b"echo $((6 * 7)); uname -s\n"), (rb"\n42\r?\nLinux\r?\n.*root# ", b"exit\n")], "(success); exit status 0"),
    "memtest86+x64.bin": (40, [(rb"Memtest86\+", MONITOR), (rb"the guest is paused.*\(nd\) ", b"regs\n"),
                               (rb"\brip [0-9a-f]{16}.*\(nd\) ", MONITOR + QUIT)], "quit by the user; exit status 130"),
    "hello.elf": (30, [(rb"hello from the guest", b"")], "(success); exit status 0"),
    "smc-next-insn.elf": (30, [(rb"0 failed", b"")], "(success); exit status 0"),
}


def examples():
    """[(the line without its comment, the guest's file name)]"""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        lines = re.findall(r"^    (make run\b[^#\n]*)", f.read(), re.M)
    return [(line.strip(), os.path.basename((re.findall(r"GUEST=(\S+)", line) or [""])[0])) for line in lines]


def missing(line):
    """A file outside of the project that the line names and this machine lacks."""
    return next((p for p in re.findall(r"=(/\S+)", line) if not os.path.exists(p)), None)


def run(line, seconds, dialogue, ending):
    """What is wrong with it, or None; and its output."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    output, deadline = bytearray(), time.monotonic() + seconds * FACTOR
    with subprocess.Popen(["sh", "-c", f"exec {line}"], cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, bufsize=0, start_new_session=True) as process:
        reader = threading.Thread(target=lambda: [output.extend(c) for c in iter(lambda: process.stdout.read(4096), b"")])
        reader.start()
        position, wrong = 0, None
        for pattern, answer in dialogue:
            while not (found := re.compile(pattern, re.S).search(output, position)):
                if time.monotonic() > deadline or not reader.is_alive() and process.poll() is not None:
                    wrong = f"{pattern.decode()} was not printed"
                    break
                time.sleep(0.05)
            if wrong:
                break
            position = found.end()
            process.stdin.write(answer)
        reader.join(max(1, deadline - time.monotonic()) if not wrong else 0)
        if reader.is_alive():
            wrong = wrong or "the run did not end"
            os.killpg(process.pid, 15)
            reader.join()
    text = output.decode("utf-8", "replace")
    return wrong or (None if ending in text[-2000:] else f"the last line does not say that {ending}"), text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-k", dest="pattern", default="", help="only lines with this in them")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    count = {"ok": 0, "FAIL": 0, "skip": 0}
    for line, guest in examples():
        if args.pattern not in line:
            continue
        if args.list:
            print(f"{line}: {GUESTS.get(guest, 'no row')}")
            continue
        started, output = time.monotonic(), ""
        if missing(line):
            verdict, why = "skip", f"there is no {missing(line)}"
        elif guest not in GUESTS:
            verdict, why = "FAIL", "no row in tests/readme.py says what to expect"
        else:
            why, output = run(line, *GUESTS[guest])
            verdict = "FAIL" if why else "ok"
        count[verdict] += 1
        print(f"{verdict:7} {line} ({time.monotonic() - started:.1f} s)" + (f": {why}" if why else ""), flush=True)
        if verdict == "FAIL":
            print("\n".join("    | " + text for text in output.splitlines()[-40:]))
    if not args.list:
        print(f"{count['ok']} passed, {count['FAIL']} failed, {count['skip']} skipped")
    return 1 if count["FAIL"] or not (args.list or count["ok"]) else 0


if __name__ == "__main__":
    sys.exit(main())
