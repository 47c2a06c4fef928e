# SPDX-License-Identifier: MIT
"""What a test run can come to, and how a guest's output is judged. Knows nothing of QEMU."""
import re
from dataclasses import dataclass

OK, FAIL, TIMEOUT, CRASH, ERROR, SKIP = "ok", "FAIL", "TIMEOUT", "CRASH", "ERROR", "skip"


@dataclass
class Verdict:
    kind: str          # OK: as expected; FAIL: wrong result; TIMEOUT, CRASH: no result; ERROR: the test is broken; SKIP
    reason: str = ""
    output: str = ""


class Unfit(Exception):
    """The test cannot be run here (a guest file is missing): skipped, with the reason."""


def plain_text(output):
    """The console as lines of text: escape sequences and carriage returns gone."""
    output = re.sub(r"\x1b(\[[0-9;?=]*[A-Za-z]|[()][A-Za-z0-9]|[A-Za-z=>])", "", output)
    return re.sub(r"\r+\n?", "\n", output)


def missing_pattern(patterns, text):
    """The first of the patterns (searched in order, each after the one before) that is not there, or None."""
    at = 0
    for pattern in patterns:
        match = re.compile(pattern, re.M).search(text, at)
        if not match:
            return pattern
        at = match.end()
    return None


def checksums(text):
    return dict(re.findall(r"^checksum (\S+) ([0-9a-f]{16})$", text, re.M))


def checksum_difference(text, reference):
    """What differs from the reference's checksums; those that only one of them prints do not count. None if all agree."""
    ours, theirs = checksums(text), checksums(reference)
    common = [name for name in theirs if name in ours]
    if not common:
        return "no checksum to compare"
    for name in common:
        if ours[name] != theirs[name]:
            return f"checksum {name}: {ours[name]}, native {theirs[name]}"
    return None


def failed_cases(text):
    return re.findall(r"^FAIL (\S.*)$", text, re.M)


def tail(text, lines):
    return "\n".join(text.rstrip().split("\n")[-lines:])
