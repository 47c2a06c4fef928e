# SPDX-License-Identifier: MIT
"""Tests that watch or talk to their guest while it runs: each returns a Verdict. Called as special(runner, test, time factor)."""
import os
import re
import subprocess
import sys
import tempfile
import time

import machine
from mkbundle import write_bundle
from mkimage import write_image
from content import Content
from verdict import CRASH, FAIL, OK, TIMEOUT, Verdict, missing_pattern, plain_text
from vt100 import Screen


def start(runner, test, scratch, on_output):
    """The machine of a test as a context manager, as machine.boot() would make it."""
    content = Content(guest=runner.guest_file(test), initrd=runner.beside(test.initrd),
                      symbols=runner.beside(test.symbols), cmdline=test.cmdline,
                      memory=test.memory, mode=test.engine)
    medium = os.path.join(scratch, "medium")
    common = dict(memory=test.memory, build=runner.build, qemu_extra=list(test.qemu_extra))
    if test.boot == "pvh":
        write_bundle(medium, content)
        options = machine.Options(kernel=os.path.join(runner.build, "kernel.elf"), bundle=medium, append=test.append, **common)
    else:
        write_image(medium, os.path.join(runner.build, "BOOTX64.EFI"), os.path.join(runner.build, "stick/kernel.elf"),
                    content)
        options = machine.Options(image=medium, **common)
    return machine.Machine(options, on_output)


def wait_screen(m, screen, pattern, deadline):
    """Until the screen shows the pattern; None, or why not."""
    while not re.search(pattern, screen.text(), re.M):
        if m.status is not None:
            return f"the machine ended ({m.reason}) before the screen showed: {pattern}"
        if time.monotonic() > deadline:
            return f"the screen never showed: {pattern}"
        m.pump(0.5)
    return None


def memtest(runner, test, factor):
    """memtest86+ draws its screen, opens and closes its menu at a key, counts on without errors; test.full: for a whole pass. At
    the end ESC makes it reset the machine, which ends the run."""
    screen = Screen()
    deadline = time.monotonic() + test.timeout * factor
    menu = r"Settings:\n(.*\n)*.*Test selection"
    steps = [(b"", r"Memtest86\+ v\d"), (b"", r"Memory *: +\d+MB"), (b"1", menu),
             (b"0", r"Time: +0:0\d:[0-9]*[1-9] +Status: Testing"), (b"", r"Errors: +0")]
    if test.full:  # the last test only sleeps: skip it by the menu
        steps += [(b"", r"Test #10"), (b"1", menu), (b"5", r"Pass: +[1-9]")]

    def verdict(kind, why):
        return Verdict(kind, why, screen.text() + "\n" + plain_text(m.output)[-1500:])

    with tempfile.TemporaryDirectory(prefix="memtest-", dir=runner.build) as scratch:
        with start(runner, test, scratch, screen.feed) as m:
            for keys, pattern in steps:
                m.send(keys)
                why = wait_screen(m, screen, pattern, deadline)
                if why:
                    return verdict(TIMEOUT if m.status is None else CRASH, why)
            if not re.search(r"Errors: +0$", screen.text(), re.M):
                return verdict(FAIL, "memtest86+ found errors")
            m.send(b"\x1b")
            status, reason = m.wait(max(1, deadline - time.monotonic()))
            if status != test.status:
                return verdict(FAIL, f"after ESC: exit status {status} ({reason}), expected {test.status}")
            return verdict(OK, "")


class GuestScreen(Screen):
    """The guest's screen without the monitor's dialogues, which would scroll it away below a guest that redraws only what
    changes."""
    OPENS, CLOSES = b"\r\nnotdirty monitor; the guest is paused", b"(nd) continue\r\n"

    def __init__(self):
        super().__init__()
        self.held = b""  # a dialogue, or what may become one

    def feed(self, data):
        self.held += data
        while (at := self.held.find(self.OPENS)) >= 0:
            super().feed(self.held[:at])
            self.held = self.held[at:]
            end = self.held.find(self.CLOSES)
            if end < 0:
                return
            self.held = self.held[end + len(self.CLOSES):]
        keep = next((n for n in range(len(self.OPENS) - 1, 0, -1) if self.held.endswith(self.OPENS[:n])), 0)
        super().feed(self.held[:len(self.held) - keep])
        self.held = self.held[len(self.held) - keep:]


PLANTED = 0x10  # the bit that plant_error() flips


def plant_error(m, address, value, deadline):
    """Open the monitor while the guest runs, see to it that one bit of a byte of guest RAM is wrong, resume. value: what an
    earlier call returned, or None: while that still stands there nobody has come by, and a second flip would put it right again.
    Returns the wrong value. QEMU has the same escape character, so it is typed twice."""
    def command(text, pattern):
        m.send(text)
        return m.expect(pattern, max(1, deadline - time.monotonic()))

    command(b"\x01\x01c", rb"\(nd\) ")
    now = int(command(b"mem %#x 1\n" % address, rb"%x  ([0-9a-f]{2}) .*\(nd\) " % address)[1], 16)
    if now != value:
        value = now ^ PLANTED
        command(b"mem %#x = %#x\n" % (address, value), rb"1 bytes written.*\(nd\) ")
    m.send(b"continue\n")
    return value


def plant_until(m, screen, address, pattern, deadline):
    """Plant errors at an address until the screen shows the pattern: one planted just before memory is filled anew is lost. None,
    or why not."""
    value = None
    while not re.search(pattern, screen.text(), re.M):
        value = plant_error(m, address, value, deadline)
        why = wait_screen(m, screen, pattern, min(deadline, time.monotonic() + 4))
        if why and (m.status is not None or time.monotonic() > deadline):
            return why
    return None


def memtest_planted(runner, test, factor):
    """memtest86+ must report bits that the monitor flips under it: at that address, with that byte. The first error brings up its
    FAIL banner, which hides the table and which a key takes away; the second one's row is then read."""
    first, second = 0x2345678, 0x2a6543a  # in RAM under test, between memtest86+'s own places low and high
    row = rf"^ +\d+ +\d+ +\d+ +0*{second & ~7:x}\b.*?([0-9a-f]{{16}}) +([0-9a-f]{{16}})"  # CPU, pass, test, address, ...
    screen = GuestScreen()
    deadline = time.monotonic() + test.timeout * factor
    with tempfile.TemporaryDirectory(prefix="memtest-", dir=runner.build) as scratch:
        with start(runner, test, scratch, screen.feed) as m:
            try:
                # Tests #1 to #3 may be over before the screen is drawn again.
                why = wait_screen(m, screen, r"#[3-9]  \[", deadline)
                why = why or plant_until(m, screen, first, r"Press any key to remove this banner", deadline)
                if not why:
                    m.send(b"\r")
                    m.pump(2)
                    why = plant_until(m, screen, second, row, deadline)
            except machine.ExpectTimeout as e:
                why = str(e)
            shown = screen.text()
            if why:
                return Verdict(TIMEOUT if m.status is None else CRASH, why, shown)
            found = re.search(row, shown, re.M)
            if int(found[1], 16) ^ int(found[2], 16) != PLANTED << (second & 7) * 8:
                return Verdict(FAIL, f"the error planted at {second:#x} is not what was reported", shown)
            return Verdict(OK, "")


def diverge(runner, test, factor):
    """tests/diverge.py with the test's dialogue as its arguments says what is expected; test.status is its own exit status."""
    command = [sys.executable, os.path.join(os.path.dirname(__file__), "../diverge.py"), "--build", runner.build, *test.dialogue,
               runner.guest_file(test)]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=test.timeout * factor)
    except subprocess.TimeoutExpired as e:
        return Verdict(TIMEOUT, str(e), str(e.stdout))
    missing = missing_pattern(test.expect, run.stdout)
    if run.returncode != test.status or missing:
        return Verdict(FAIL, f"exit status {run.returncode}, not in the output: {missing}", run.stdout + run.stderr)
    return Verdict(OK, output=run.stdout)


def until_output(runner, test, factor):
    """The guest runs on after it has shown what is expected (in order), and must not have said what is forbidden."""
    deadline = time.monotonic() + test.timeout * factor
    with tempfile.TemporaryDirectory(prefix="until-", dir=runner.build) as scratch:
        with start(runner, test, scratch, None) as m:
            while missing := missing_pattern(test.expect, plain_text(m.output)):
                if m.status is not None:
                    return Verdict(CRASH, f"the machine ended ({m.reason}) before: {missing}", plain_text(m.output))
                if time.monotonic() > deadline:
                    return Verdict(TIMEOUT, f"not in the output: {missing}", plain_text(m.output))
                m.pump(0.5)
            text = plain_text(m.output)
    for pattern in test.forbid:
        if missing_pattern((pattern,), text) is None:
            return Verdict(FAIL, f"in the output: {pattern}", text)
    return Verdict(OK, output=text)
