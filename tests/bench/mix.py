# SPDX-License-Identifier: MIT
"""What warm runs execute: in the code cache the guest's own instructions and each kind of glue, and the functions of the monitor. Counted
by a TCG plugin (mix-count.c) between marks that the guest executes, while virtual time is the number of instructions."""
import os
import re
import tempfile

from linux import by_function
from report import COUNTED, Broken, Unavailable, table
from rsp import symbols

import engines

TITLE = "What warm runs execute, in percent of native's instructions"
TIME_LIMIT = 900
WORK = "list,state,string,fib,tree,interp,icall,sort"
LAYOUT = re.compile(r"^#define (\w+)\s+(0x[0-9a-f]+)", re.M)
WANTED = {"code": "CODE_CACHE_BASE", "slots": "SLOTS_BASE", "links": "LINKS_BASE", "spill": "VCPU_PAGE_ADDR"}
FUNCTIONS = 6


def plugin_arguments(settings, out):
    plugin = os.path.abspath(os.path.join(settings.build, "bench/mix-count.so"))
    if not os.path.exists(plugin):
        raise Unavailable(f"{plugin} has not been built")
    with open("mm/layout.h", encoding="ascii") as f:
        layout = dict(LAYOUT.findall(f.read()))
    values = {key: int(layout[name], 16) for key, name in WANTED.items()}
    values["last-spill"] = values["spill"] + 15 * 8
    return COUNTED + ["-plugin", f"file={plugin},out={out}" + "".join(f",{key}={value:x}" for key, value in values.items())]


def segments(path):
    """[{'mix': {kind: insns}, 'at': lines for by_function()}], one for each marked piece."""
    result = []
    with open(path, encoding="ascii") as f:
        for line in f:
            if line.startswith("segment"):
                result.append({"mix": {}, "at": []})
            elif line.startswith("mix "):
                _, count, kind = line.rstrip().split(" ", 2)
                result[-1]["mix"][kind] = int(count)
            else:
                result[-1]["at"].append(line[3:])
    return result


def one_run(settings, mode, names, mark, **content):
    """{name: segment}; names: of the output, in the order of the marked pieces."""
    with tempfile.TemporaryDirectory(dir=settings.build) as scratch:
        counts = os.path.join(scratch, "counts")
        output = engines.until(settings, mark, TIME_LIMIT, extra=plugin_arguments(settings, counts), mode=mode, **content)
        found = segments(counts)
    names = re.findall(names, output, re.M)
    if not names or len(found) % len(names):
        raise Broken(f"{len(found)} marked pieces, {len(names)} results\n{output[-1500:]}")
    rounds = len(found) // len(names)
    ordered = symbols(settings.kernel)
    result = {}
    for i, name in enumerate(names):
        segment = found[(i + 1) * rounds - 1]
        functions = {name: values[0] for name, values in by_function(segment["at"], ordered).items()}
        result[name] = {"mix": segment["mix"], "functions": functions,
                        "insns": sum(segment["mix"].values()) + sum(functions.values())}
    return result


def measure(settings):
    result = {}
    for mode in ("native", "translate"):
        found = one_run(settings, mode, r"^work (\S+)", rb"work sort [^\n]*\n", guest=settings.payload("bench-work"),
                        cmdline=f"scale=0 only={WORK}")
        found.update(one_run(settings, mode, r"^bench (\S+)", b"bench-end", guest=settings.guest("vmlinuz-cloud"),
                             initrd=os.path.join(settings.build, "bench/linux.cpio"),
                             cmdline=f"{engines.CMDLINE} nd.run=/bench/run-warm"))
        for name, values in found.items():
            result.setdefault(name, {})[mode] = values
    return result


def lines(result):
    kinds = list(next(iter(result.values()))["translate"]["mix"])
    names = list(result)

    def percent(name, value):
        return f"{100 * value / result[name]['native']['insns']:.1f}"

    rows = [[kind] + [percent(name, result[name]["translate"]["mix"][kind]) for name in names] for kind in kinds]
    rows.append(["the monitor"] + [percent(name, sum(result[name]["translate"]["functions"].values())) for name in names])
    rows.append(["all"] + [percent(name, result[name]["translate"]["insns"]) for name in names])
    text = table([""] + names, rows)
    for name in names:
        most = sorted(result[name]["translate"]["functions"].items(), key=lambda item: -item[1])[:FUNCTIONS]
        if sum(value for _, value in most) > 0.02 * result[name]["native"]["insns"]:
            text.append(f"{name}, monitor: " + ", ".join(f"{function} {percent(name, value)}" for function, value in most))
    return text
