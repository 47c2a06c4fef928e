# SPDX-License-Identifier: MIT
"""The other half of tests/payloads/smc-monitor: opens the monitor while the guest runs, writes what the guest asks for into its
code, has the invariants checked, and resumes it."""
import re
import tempfile
import time

import machine
from specials import start
from verdict import CRASH, FAIL, OK, TIMEOUT, Verdict, failed_cases, missing_pattern, plain_text


def patch(m, address, values, deadline):
    """Open the monitor (QEMU has the same escape character, so it is typed twice), write, check, resume."""
    def command(text, pattern):
        m.send(text)
        return m.expect(pattern, max(1, deadline - time.monotonic()))

    command(b"\x01\x01c", rb"\(nd\) ")
    command(b"mem %s = %s\n" % (address, values), rb"%d bytes? written.*\(nd\) " % len(values.split()))
    command(b"check\n", rb"check: 0 violations in TB lists, 0 in shadow tables.*\(nd\) ")
    m.send(b"continue\n")


def patch_and_check(runner, test, factor):
    """Do what the guest asks for until it ends."""
    deadline = time.monotonic() + test.timeout * factor
    with tempfile.TemporaryDirectory(prefix="monitor-", dir=runner.build) as scratch:
        with start(runner, test, scratch, None) as m:
            done = 0
            try:
                while m.status is None:
                    asked = re.findall(r"^patch (0x[0-9a-f]+) =((?: 0x[0-9a-f]+)+)\n", plain_text(m.output), re.M)
                    for address, values in asked[done:]:
                        patch(m, address.encode(), values.strip().encode(), deadline)
                        done += 1
                    if time.monotonic() > deadline:
                        return Verdict(TIMEOUT, f"the guest still waits after {done} patches", plain_text(m.output))
                    m.pump(0.2)
            except machine.ExpectTimeout as e:
                return Verdict(TIMEOUT if m.status is None else CRASH, str(e), plain_text(m.output))
            text = plain_text(m.output)
    if m.status != test.status:
        return Verdict(FAIL, f"exit status {m.status}; failed cases: {', '.join(failed_cases(text))}", text)
    missing = missing_pattern(test.patterns(), text)
    return Verdict(FAIL, f"not in the output: {missing}", text) if missing else Verdict(OK, output=text)
