# SPDX-License-Identifier: MIT
"""Tests that boot Debian's kernel to its shell and talk to it over the serial line (specials: see specials.py)."""
import re
import tempfile
import time

import machine
from specials import start
from verdict import CRASH, FAIL, OK, TIMEOUT, Verdict, missing_pattern, plain_text

PROMPT = rb"notdirty:[^\r\n]*# (\x1b\[6n)?"
ESCAPE = b"\x01\x01"  # QEMU has the same escape character on this line, so it is typed twice
COMPLAINTS = (r"WARNING: ", r"BUG: ", r"Oops: ", r"invalid opcode", r"general protection fault", r"unchecked MSR",
              r"rcu: .*stall", r"soft lockup", r"hung_task")


class Wrong(Exception):
    """The guest did not do what was expected."""


class Shell:
    """A guest at its shell's prompt."""

    def __init__(self, m, deadline):
        self.m = m
        self.deadline = deadline

    def left(self):
        return max(1, self.deadline - time.monotonic())

    def expect(self, pattern):
        return self.m.expect(pattern, self.left())

    def prompt(self):
        self.expect(PROMPT)

    def run(self, command, status=0):
        """Output of a command line; it must end with this status."""
        self.m.send(b"echo '{'; " + command.encode() + b"; echo @$?@\r")
        match = self.expect(rb"\{\r\n(.*?)@(\d+)@\r\n")
        self.prompt()
        output = re.sub(r"^\[ *\d+\.\d+\] .*\n", "", plain_text(match[1].decode("utf-8", "replace")), flags=re.M)  # the kernel's
        if int(match[2]) != status:
            raise Wrong(f"{command}: status {int(match[2])}, expected {status}: {output.strip()}")
        return output.strip()

    def check(self, command, expected):
        output = self.run(command)
        if output != expected:
            raise Wrong(f"{command}: {output!r}, expected {expected!r}")


def talk(runner, test, factor, dialogue):
    """Boot to the prompt, hold the dialogue (a function of a Shell that raises Wrong), judge how the machine ended."""
    deadline = time.monotonic() + test.timeout * factor
    with tempfile.TemporaryDirectory(prefix="shell-", dir=runner.build) as scratch:
        with start(runner, test, scratch, None) as m:
            def verdict(kind, why):
                return Verdict(kind, why, plain_text(m.output))

            try:
                shell = Shell(m, deadline)
                shell.prompt()
                dialogue(shell)
                status, reason = m.wait(shell.left())
            except Wrong as e:
                return verdict(FAIL, str(e))
            except machine.ExpectTimeout as e:
                return verdict(TIMEOUT if m.status is None else CRASH, str(e))
            if status != test.status:
                return verdict(FAIL, f"exit status {status} ({reason}), expected {test.status}")
            text = plain_text(m.output)
    if missing := missing_pattern(test.expect, text):
        return Verdict(FAIL, f"not in the output: {missing}", text)
    for pattern in test.forbid:
        if missing_pattern((pattern,), text) is None:
            return Verdict(FAIL, f"in the output: {pattern}", text)
    return Verdict(OK, output=text)
