# SPDX-License-Identifier: MIT
"""Cost against size: invalidation against the TBs on a page, look-up against the TBs in the cache, memory for each guest byte
translated (hosted, real CPU); in the machine: a start against the guest's RAM, a boot of Debian's kernel against the code cache."""
import os
import re

from report import COUNTED, Unavailable, run_guest, statistics_of, table

from hosted import run
from linux import CMDLINE

TITLE = "Scaling"
RAM = ("256M", "512M", "1G", "2G", "4G", "8G")
CACHE = ("1M", "2M", "4M", "16M", "64M")
MEMORY_PARTS = ("guest bytes", "code cache", "state tables", "slots", "TB structures")
TIME_LIMIT = 500


def available_ram():
    with open("/proc/meminfo", encoding="ascii") as f:
        return int(re.search(r"MemAvailable:\s+(\d+)", f.read())[1]) << 10


def hosted_part(settings, result):
    program = os.path.join(settings.build, "bench/hosted-scale")
    try:
        output = run(program, settings.guest("vmlinux"))
    except Unavailable:
        output = run(program)
    result["inval"] = [[int(n), float(miss), float(hit)]
                       for n, miss, hit in re.findall(r"^inval (\d+) ([\d.]+) ([\d.]+)$", output, re.M)]
    result["lookup"] = [[int(n), float(ns)] for n, ns in re.findall(r"^lookup (\d+) ([\d.]+)$", output, re.M)]
    memory = re.search(r"^memory (.*)$", output, re.M)
    if memory:
        result["memory"] = dict(zip(MEMORY_PARTS, map(int, memory[1].split())))


def measure(settings):
    result = {"ram": [], "cache": []}
    hosted_part(settings, result)
    for size in RAM:
        units = {"M": 20, "G": 30}
        if (int(size[:-1]) << units[size[-1]]) * 3 // 2 + (3 << 30) > available_ram():
            break  # all of it is cleared, so all of it is used
        output = run_guest(settings, guest=settings.payload("hello"), memory=size, timeout=TIME_LIMIT, qemu_extra=COUNTED)
        result["ram"].append([size, statistics_of(output)["tsc"]])
    if settings.peer:  # minutes
        for size in CACHE:
            output = run_guest(settings, guest=settings.guest("vmlinuz-cloud"), cmdline=CMDLINE, append=f"timeout=60 cache={size}",
                               timeout=TIME_LIMIT, qemu_extra=COUNTED)
            stat = statistics_of(output)
            result["cache"].append([size, stat["tsc"], stat["tb_flush"], stat["tb_gen"]])
    return result


def lines(result):
    text = table(["TBs on the page", "write that hits none, ns", "write that kills one, ns"],
                 [[str(n), miss, hit] for n, miss, hit in result["inval"]])
    text += [""] + table(["TBs in the cache", "look-up, ns"], [[str(n), ns] for n, ns in result["lookup"]])
    if "memory" in result:
        guest = result["memory"]["guest bytes"]
        text += [""] + table(["memory", "bytes for each guest byte"],
                             [[key, value / guest] for key, value in result["memory"].items() if key != "guest bytes"])
    text += [""] + table(["guest RAM", "instructions to the end of hello"], result["ram"])
    if result["cache"]:
        text += [""] + table(["code cache", "instructions of a boot", "flushes", "TBs made"], result["cache"])
    return text
