# SPDX-License-Identifier: MIT
"""What all benchmarks share: how a boot is run and judged, medians and spreads, tables."""
import os
import re
import statistics
import sys
from dataclasses import dataclass

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../boot"))
from machine import EXIT_CODES, STATUS_RESET, boot, describe  # pylint: disable=wrong-import-position

# How a boot of Linux with no root file system ends, native and translated; and memtest86+, which runs for ever.
ENDS = {0, STATUS_RESET} | {value << 1 | 1 for value, text in EXIT_CODES.items() if re.match("reset|timeout", text)}
COUNTED = ["-icount", "shift=0,sleep=off"]  # virtual time is the number of executed instructions, in ns; so is rdtsc


@dataclass
class Settings:
    build: str = "build"
    runs: int = 3              # of what is timed, 0 = none; what is counted is exact and runs once
    peer: bool = True          # compare with a nested QEMU too
    peer_runs: int = 2         # of that, whose own boot takes longest
    peer_late: bool = False    # it could not be timed here: not tried again

    def timed(self, engines, run):
        """{engine: [run(engine), ...]}, in turns: both sides of a ratio see the same load. The nested QEMU takes minutes, and on a
        machine that is busy enough too many: then its time is left out, and said."""
        result = {engine: [] for engine in engines}
        for i in range(self.runs):
            for engine in engines:
                if engine == "peer" and (self.peer_late or i >= self.peer_runs):
                    continue
                try:
                    result[engine].append(run(engine))
                except Broken as reason:
                    if engine != "peer":
                        raise
                    self.peer_late = True
                    print(f"the nested QEMU is not timed: {str(reason).splitlines()[0]}", flush=True)
        return result

    @property
    def kernel(self):
        return os.path.join(self.build, "kernel.elf")

    def payload(self, name):
        return os.path.join(self.build, "payloads", name + ".elf")

    def guest(self, name):
        path = os.path.join(self.build, "guests", name)
        if not os.path.exists(path):
            raise Unavailable(f"{path} is not there (make guests)")
        return path


class Unavailable(Exception):
    """The benchmark cannot be run here."""


class Broken(Exception):
    """The benchmark ran and gave no result: the text says why."""


def run_guest(settings, **options):
    """Boot under PVH; the output. The run must end in one of the expected ways."""
    status, output = boot(build=settings.build, **options)
    if status not in ENDS:
        raise Broken(f"{describe(status)}\n{output[-2000:]}")
    return output


def cpu_seconds(process):
    """CPU time that a running process has used: unlike the wall clock, hardly touched by the machine's other users."""
    with open(f"/proc/{process.pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def statistics_of(output):
    """The nd-stat lines as {key: value}."""
    return {key: int(value) for line in re.findall(r"^nd-stat (.*?)\r?$", output, re.M)
            for key, value in re.findall(r"(\w+)=(\d+)", line)}


def summary(values):
    """{'min', 'median', 'max', 'spread'}; spread is (max - min) / median."""
    median = statistics.median(values)
    spread = (max(values) - min(values)) / median if median else 0.0
    return {"min": min(values), "median": median, "max": max(values), "spread": spread, "runs": len(values)}


def paired(ours, native):
    """Summary of the ratios of runs that were taken in turns: what else the computer does touches both sides of a ratio."""
    return summary([a / b for a, b in zip(ours, native)])


def pair_text(pairs):
    """Median of the paired ratios, with least and most; '' if there are none."""
    return f"{number(pairs['median'])} ({number(pairs['min'])} to {number(pairs['max'])})" if pairs else ""


def number(value):
    """Three significant digits or so, and thousands kept readable."""
    if isinstance(value, str):
        return value
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2f}"


def table(header, rows):
    """Lines of a table that is also Markdown: the first column to the left, the others to the right."""
    cells = [[number(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [header] + cells) for i in range(len(header))]

    def line(row):
        return "| " + " | ".join([row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:])]) + " |"

    rule = "|" + "|".join(["-" * (widths[0] + 2)] + ["-" * (w + 1) + ":" for w in widths[1:]]) + "|"
    return [line(header), rule] + [line(row) for row in cells]
