# SPDX-License-Identifier: MIT
"""Draws build/bench/*.json as build/bench/*.svg, with gnuplot. A part that was not measured is not drawn."""
import json
import os
import shutil
import subprocess

HEAD = """set terminal svg noenhanced size 900,480 font 'sans,12' background '#ffffff'
set key outside top center horizontal
set grid ytics lc rgb '#dddddd'
set border 3
set tics nomirror
"""
BARS = """set style data histogram
set style histogram clustered gap 1
set style fill solid 0.8 border -1
set boxwidth 0.9
set xtics rotate by -30
"""


CLOCKS = {"insns": "instructions", "cycles": "time (median of the pairs)"}


def quote(text):
    return "'" + str(text).replace("'", "''") + "'"


def block(name, rows):
    return f"${name} << END\n" + "\n".join(" ".join(str(cell) for cell in row) for row in rows) + "\nEND\n"


def bars(title, label, columns, rows, log=False):
    """rows: [name, value of each column or 'NaN']; None if all are"""
    measured = [(i, column) for i, column in enumerate(columns) if any(row[i + 1] != "NaN" for row in rows)]
    if not measured:
        return None
    curves = ", ".join(f"$data using {i + 2}:xtic(1) title {quote(column)}" for i, column in measured)
    native = ", 1 with lines lc rgb '#888888' title 'native'" if label.endswith("/ native") else ""
    return HEAD + BARS + block("data", rows) + ("set logscale y\nset yrange [0.5:*]\n" if log else "set yrange [0:*]\n") + (
        f"set title {quote(title)}\nset ylabel {quote(label)}\nplot {curves}{native}\n")


def curves(title, xlabel, ylabel, columns, rows):
    """rows: [x, which doubles, value of each column]"""
    drawn = ", ".join(f"$data using 1:{i + 2} with linespoints pt 7 title {quote(column)}" for i, column in enumerate(columns))
    return HEAD + block("data", rows) + (f"set logscale x 2\nset yrange [0:*]\nset title {quote(title)}\n"
                                         f"set xlabel {quote(xlabel)}\nset ylabel {quote(ylabel)}\nplot {drawn}\n")


def megabytes(size):
    return int(size[:-1]) << (10 if size.endswith("G") else 0)


# ---- one plot for each kind of result: {file: gnuplot text} ----

def hosted(result):
    rows = [[name, row["ratio"], row["qemu"]["median"] if "qemu" in row else "NaN"] for name, row in result["work"].items()]
    return {"hosted": bars("On the real CPU", "time / native", ["notdirty, hosted", "qemu-x86_64"], rows, log=True)}


def work(result):
    def over(row, engine, clock):
        if engine not in row:
            return "NaN"
        if clock == "insns":
            return row[engine]["insns"] / row["native"]["insns"]
        return row[engine]["paired"]["median"] if "paired" in row[engine] else "NaN"

    if not all("native" in row for row in result.values()):
        return {}
    return {f"work-{clock}": bars("In the machine", f"{CLOCKS[clock]} / native", ["notdirty", "nested QEMU TCG"],
                                  [[name, over(row, "translate", clock), over(row, "peer", clock)] for name, row in result.items()],
                                  log=True) for clock in CLOCKS}


def programs(result):
    return {name.replace("work", "programs"): text and text.replace("In the machine", "Debian in the machine")
            for name, text in work(result).items()}


def scaling(result):
    plots = {"inval": curves("Invalidation", "TBs on the page", "ns of CPU time for each write", ["write that hits none", "write that kills one"],
                             result["inval"]),
             "lookup": curves("Look-up by physical address", "TBs in the cache", "ns of CPU time for each look-up", ["look-up"], result["lookup"]),
             "ram": curves("Start of payload hello", "guest RAM, MiB", "millions of instructions", ["to its end"],
                           [[megabytes(size), insns / 1e6] for size, insns in result["ram"]])}
    if "memory" in result:
        guest = result["memory"]["guest bytes"]
        plots["memory"] = bars("Memory of translations", "bytes for each guest byte", ["bytes"],
                               [[key.replace(" ", "-"), value / guest] for key, value in result["memory"].items()
                                if key != "guest bytes"])
    if result["cache"]:
        plots["cache"] = curves("Boot of Debian's kernel", "code cache, MiB", "millions of instructions", ["to the mount of its root"],
                                [[megabytes(size), insns / 1e6] for size, insns, _, _ in result["cache"]])
    return plots


def linux(result):
    stat = result["translate"]["statistics"]
    total = stat.get("prof_ticks", 0)
    rows = [[key[5:], 100 * value / total] for key, value in stat.items() if key.startswith("prof_") and key != "prof_ticks"]
    return {"profile": bars("Where the time of a Linux boot goes", "% of the ticks", ["ticks"], rows)} if total else {}


DRAWERS = {"hosted": hosted, "work": work, "programs": programs, "scaling": scaling, "linux": linux}


def draw(folder):
    """Names of the files written."""
    if not shutil.which("gnuplot"):
        print("plots: gnuplot is not installed")
        return []
    written = []
    for part, drawer in DRAWERS.items():
        path = os.path.join(folder, part + ".json")
        if not os.path.exists(path):
            continue
        try:
            with open(path, encoding="ascii") as f:
                plots = drawer(json.load(f))
        except (KeyError, ValueError) as error:
            print(f"plots: {path} is not of this version: {error!r}")
            continue
        for name, text in ((name, text) for name, text in plots.items() if text):
            target = os.path.join(folder, name + ".svg")
            done = subprocess.run(["gnuplot"], input=f"set output {quote(target)}\n{text}", text=True, capture_output=True, check=False)
            if done.returncode or done.stderr.strip():
                print(f"plots: {name}: {done.stderr.strip()[:300]}")
            else:
                written.append(target)
    return written
