#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Does the performance guard fail as promised? It gets the committed ratios as what was measured, and expectations that were doctored:
one ratio at a time, of every layer. Measures nothing and needs nothing built. Last line "N passed, N failed"."""
import contextlib
import copy
import io
import json
import os
import re
import sys
import tempfile

sys.dont_write_bytecode = True  # nothing is written outside build/

import guard

MISSING = "no-such-benchmark"


def judge(folder, expected, found):
    """(exit status, output) of the guard."""
    paths = [os.path.join(folder, name) for name in ("expected.json", "found.json")]
    for path, content in zip(paths, (expected, found)):
        with open(path, "w", encoding="ascii") as f:
            json.dump(content, f)
    with contextlib.redirect_stdout(io.StringIO()) as output:
        status = guard.main(["--expected", paths[0], "--found", paths[1]])
    return status, output.getvalue()


def doctored(committed, name, factor):
    result = copy.deepcopy(committed)
    result["ratios"][name] *= factor
    return result


def cases(committed):
    """[(what, expected, what the guard must return, pattern of its output)]; all ratios found are the committed ones."""
    total = len(committed["ratios"])
    good, bad = rf"^{total} passed, 0 failed$", rf"^{total - 1} passed, 1 failed$"
    by_layer = {}
    for name in committed["ratios"]:
        by_layer.setdefault(guard.layer_of(name), name)
    result = [("nothing moved", committed, 0, rf"\A{good}")]
    for layer, name in by_layer.items():
        loss = rf"^FAILED {re.escape(name)}: .*layer: {re.escape(layer)}\n(?s:.*){bad}"
        result += [(f"{layer}: 4 % lost", doctored(committed, name, 1 / 1.04), 1, loss),
                   (f"{layer}: 2 % lost", doctored(committed, name, 1 / 1.02), 0, rf"\A{good}"),
                   (f"{layer}: 4 % gained", doctored(committed, name, 1.04), 0, rf"^ok     {re.escape(name)}: .*better(?s:.*){good}")]
    absent, fewer, other = (copy.deepcopy(committed) for _ in range(3))
    absent["ratios"][MISSING] = 1.0
    dropped, _ = fewer["ratios"].popitem()
    other["tools"]["qemu"] = "another one"
    return result + [
        ("one has no result", absent, 1, rf"^FAILED {MISSING}: no result\n(?s:.*)^{total} passed, 1 failed$"),
        ("one is new", fewer, 0, rf"^ok     {re.escape(dropped)}: new(?s:.*)^{total - 1} passed, 0 failed$"),
        ("another QEMU", other, 0, rf"nothing to compare\n0 passed, 0 failed, {total} skipped$")]


def layers_are_whole(committed):
    """Every name that a layer lists is measured, and every layer is."""
    listed = [name for names in guard.LAYERS.values() for name in names]
    return sorted(set(listed) - set(committed["ratios"])) == [] and len(listed) == len(set(listed))


def goals_can_be_missed():
    """Of smc.py: reached with round numbers, missed when the patched function or the store beside code is too dear."""
    good = {"fault": 2000, "call": 35, "translate+call": 6035, "other-opcode": 11035, "store": 4, "store-former": 4,
            "store-beside-1": 4, "store-beside-50": 4, "store-beside-200": 4}
    for worse, count in ((None, 0), (("other-opcode", 12100), 1), (("store-beside-200", 7), 2), (("store-former", 5), 1)):
        found = {name: (cost, cost) for name, cost in {**good, **dict([worse] if worse else [])}.items()}
        with contextlib.redirect_stdout(io.StringIO()) as output:
            lost = guard.missed(guard.smc.goals(found))
        if len(lost) != count or output.getvalue().count("FAILED goal") != count:
            return False
    return True


def main():
    committed = guard.read(guard.EXPECTED)
    committed["tools"] = dict(guard.tools())  # the ones here: what is tested is the comparison
    results = [layers_are_whole(committed)]
    if not results[0]:
        print("FAILED a layer lists what is not measured, or twice")
    results.append(goals_can_be_missed())
    if not results[-1]:
        print("FAILED a goal that is missed passes, or the other way round")
    with tempfile.TemporaryDirectory(prefix="test-guard-") as folder:
        for what, expected, status, pattern in cases(committed):
            code, output = judge(folder, expected, committed)
            results.append(code == status and bool(re.search(pattern, output, re.M)))
            if not results[-1]:
                print(f"FAILED {what}: exit status {code}, expected {status}\n{output}")
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
