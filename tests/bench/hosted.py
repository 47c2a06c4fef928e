# SPDX-License-Identifier: MIT
"""The hosted build on the CPU itself, against native execution of the same bytes and against Debian's qemu-x86_64; and how fast
cold code is translated."""
import os
import re
import shutil
import subprocess

from report import Broken, Unavailable, summary, table

TITLE = "Workloads on the real CPU: native, hosted notdirty, qemu-x86_64"
WORK = re.compile(r"^work (\S+) (\d+) (\d+) (\d+) (\d+) ([\d.]+) ([0-9a-f]+)$", re.M)
LINUX = re.compile(r"^work (\S+) (\d+) (\d+) ([0-9a-f]+)$", re.M)
COLD = re.compile(r"^cold (\d+) (\d+) (\d+) (\d+) (\d+)$", re.M)
DECODE = re.compile(r"^decode (\d+) (\d+) (\d+)$", re.M)
TIME_LIMIT = 300
ROUNDS = 15


def run(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT, check=False)
    except subprocess.TimeoutExpired:
        raise Broken(f"{command[0]}: no end") from None
    if done.returncode:
        raise Broken(f"{command[0]}: status {done.returncode}\n{done.stderr[-1000:]}")
    return done.stdout


def tsc_hz():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        found = re.search(r"^cpu MHz\s*: ([\d.]+)", f.read(), re.M)
    return float(found[1]) * 1e6 if found else 0.0


def measure(settings):
    program = [os.path.join(settings.build, "bench", name) for name in ("hosted-bench", "work.bin", "work-linux")]
    try:
        text = settings.guest("vmlinux")
    except Unavailable:
        text = ""
    ours = run(program[0], program[1], str(ROUNDS), text)
    result = {"tsc_hz": tsc_hz(), "work": {}}
    qemu = shutil.which("qemu-x86_64")
    pairs = []
    for _ in range(settings.runs if qemu else 0):
        pairs.append([{name: (int(least), checksum) for name, _, least, checksum in LINUX.findall(run(*command, "3"))}
                      for command in ((program[2],), (qemu, program[2]))])
    for name, *values, ratio, checksum in WORK.findall(ours):
        row = dict(zip(("native_least", "native_median", "ours_least", "ours_median"), map(int, values)), ratio=float(ratio))
        if pairs:
            if any(run_[name][1] != checksum for pair in pairs for run_ in pair if name in run_):
                raise Broken(f"{name}: the engines differ in their results")
            row["qemu"] = summary([pair[1][name][0] / pair[0][name][0] for pair in pairs if name in pair[1]] or [0])
        result["work"][name] = row
    if not result["work"]:
        raise Broken(f"no results\n{ours[-1000:]}")
    if COLD.search(ours):
        result["cold"] = dict(zip(("bytes", "insns", "tbs", "cache_bytes", "ns"), map(int, COLD.search(ours).groups())))
        result["decode"] = dict(zip(("insns", "ns", "plain_ns"), map(int, DECODE.search(ours).groups())))
    return result


def lines(result):
    rows = [[name, row["native_least"] / 1e6, row["ours_least"] / 1e6, row["ours_least"] / row["native_least"], row["ratio"],
             row["qemu"]["median"] if "qemu" in row else ""] for name, row in result["work"].items()]
    text = table(["workload", "native CPU ms", "hosted", "ratio of least", "median ratio", "qemu-x86_64"], rows)
    if "cold" in result:
        cold, decode, ghz = result["cold"], result["decode"], result["tsc_hz"] / 1e9
        text += ["", f"Cold: {cold['bytes']:,} guest bytes, {cold['insns']:,} instructions in {cold['tbs']:,} TBs: "
                     f"{cold['bytes'] / cold['ns'] * 1e3:.1f} MB/s at {ghz:.2f} GHz, {cold['ns'] / cold['insns']:.0f} ns "
                     f"per instruction, {cold['ns'] / cold['tbs']:.0f} per TB, "
                     f"{cold['cache_bytes'] / cold['bytes']:.2f} cache bytes per guest byte",
                 f"Decoder: {decode['ns'] / decode['insns']:.1f} ns, {decode['ns'] * ghz / decode['insns']:.0f} TSC cycles per instruction; as translation decodes "
                 f"{decode['plain_ns'] / decode['insns']:.1f} ns, {decode['plain_ns'] * ghz / decode['insns']:.0f} TSC cycles"]
    return text
