#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `make run` says of files that it cannot take: one line, which names the variable and says what to do, before anything is built."""
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")


def cases(folder):
    """[(make's variables, what the line must say; None: nothing is wrong)]"""
    unreadable, good, blank = (os.path.join(folder, name) for name in ("unreadable", "good", "a blank"))
    for path, mode in ((unreadable, 0), (good, 0o600), (blank, 0o600)):
        with open(path, "wb"):
            os.chmod(path, mode)
    yield {"GUEST": good, "INITRD": good, "SYMBOLS": good}, None
    yield {"GUEST": "build/payloads/hello.elf", "INITRD": ""}, None  # make knows how to make it
    yield {"GUEST": folder}, r"GUEST=\S+ is a folder"
    yield {"INITRD": folder + "/"}, r"INITRD=\S+ is a folder"
    yield {"GUEST": folder + "/none"}, r"GUEST=\S+: there is no such file"
    yield {"GUEST": good, "SYMBOLS": "none"}, "SYMBOLS=none: there is no such file"
    yield {"GUEST": blank}, "GUEST=.*: make takes no path with blanks"
    if os.geteuid():  # root reads everything
        yield {"GUEST": unreadable}, r"GUEST=\S+ is not to be read"


def judge(variables, pattern):
    """Through make, unless the file is good: then it would run."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "GUEST", "INITRD", "SYMBOLS"))}
    command = ["make", "--no-print-directory", "run"] if pattern else [sys.executable, "boot/content.py", "--check", "build"]
    done = subprocess.run(command, cwd=ROOT, env={**environment, **variables}, capture_output=True, text=True, timeout=60, check=False)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("make:")]
    if not pattern:
        return done.returncode == 0 and not lines
    return done.returncode != 0 and len(lines) == 1 and bool(re.match("notdirty: " + pattern, lines[0]))


def main():
    with tempfile.TemporaryDirectory(prefix="test-content-") as folder:
        results = []
        for variables, pattern in cases(folder):
            results.append(judge(variables, pattern))
            if not results[-1]:
                print(f"FAILED {variables}: {pattern or 'nothing is wrong with it'}")
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
