#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Find the first instruction after which a guest's registers differ between its native and its translated run.

  tests/diverge.py build/payloads/alu-checksum.elf                   from its first instruction on
  tests/diverge.py --from 0x1002340 --steps 50000 GUEST              from the first time that it comes to this address
  tests/diverge.py --cmdline "seed=3" --append "smc_store_sites=1" GUEST
  tests/diverge.py --at printf --at main GUEST                       only when it comes to these addresses

Two machines run the guest side by side: natively under QEMU's gdb stub, and translated at the monitor's prompt. They are stepped, and compared after strides of many instructions; a stride that ends with a difference is made again, in smaller ones, by
two new machines. Interrupts wait in both, so a guest that needs them does not get far. What may differ (rdtsc, cpuid, in, ...)
is adopted by the native machine, and told with --verbose. Steps are blocks of one instruction: what goes wrong only in whole
blocks, or between them, needs --at, which lets both run freely from one such address to the next. Addresses are numbers or
symbols of an ELF guest. Exit status: 0 no difference, 1 a difference (printed), 2 trouble.

`make media payloads` must have been run."""
import argparse
import os
import re
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(ROOT, "boot"), os.path.join(HERE, "bench")]
sys.dont_write_bytecode = True

import machine  # noqa: E402
from content import Content  # noqa: E402
from mkbundle import write_bundle  # noqa: E402
from report import Broken  # noqa: E402
from rsp import REGISTERS, Stopped, symbols  # noqa: E402

STRIDES = (1000, 30, 1)
TIME_LIMIT = 60           # for any one answer, in seconds
PROMPT = rb"\(nd\) "
FLAGS = 0x247ED5          # of rflags: neither RF nor TF, which belong to who steps
REPEAT = (0xF2, 0xF3)
PREFIXES = {0x66, 0x67, 0x2E, 0x36, 0x3E, 0x26, 0x64, 0x65, 0xF2, 0xF3, *range(0x40, 0x50)}
# What answers differently: opcode -> registers that it writes.
ONE_BYTE = {0xE4: ("rax",), 0xE5: ("rax",), 0xEC: ("rax",), 0xED: ("rax",)}
TWO_BYTE = {0x31: ("rax", "rdx"), 0x32: ("rax", "rdx"), 0x33: ("rax", "rdx"), 0xA2: ("rax", "rbx", "rcx", "rdx")}
RDTSCP = b"\x0f\x01\xf9"


def variable_registers(code):
    """The registers that the instruction may rightly set to another value in the other run."""
    while code and code[0] in PREFIXES:
        code = code[1:]
    if code[:3] == RDTSCP:
        return ("rax", "rdx", "rcx")
    if code[:1] == b"\x0f":
        return TWO_BYTE.get(code[1], ()) if len(code) > 1 else ()
    return ONE_BYTE.get(code[0], ()) if code else ()


class Native:
    """The guest on the bare machine."""

    def __init__(self, args, bundle):
        self.stub = Stopped(machine.Options(kernel=os.path.join(args.build, "kernel.elf"), bundle=bundle, memory=args.memory,
                                            append="mode=native", build=args.build))

    def __enter__(self):
        self.stub.__enter__()
        return self

    def __exit__(self, *exception):
        self.stub.__exit__(*exception)

    def come_to(self, address):
        self.stub.breakpoint(address)
        self.stub.run(TIME_LIMIT)
        self.stub.breakpoint(address, on=False)

    def run(self):
        """To the next breakpoint. False if the machine has ended."""
        try:
            self.stub.run(TIME_LIMIT)
        except Broken:
            if not self.ended():
                raise
            return False
        return True

    def ended(self):
        try:
            self.stub.process.wait(1)
        except subprocess.TimeoutExpired:
            return False
        return True

    def breakpoint(self, address):
        self.stub.breakpoint(address)

    def step(self, n):
        """False if the machine ended meanwhile. The stub stops at each iteration of a repeated instruction, the monitor does not."""
        rip = self.registers()["rip"]
        for _ in range(n):
            while True:
                if not self.stub.step():
                    return False
                before, rip = rip, self.stub.register(REGISTERS.index("rip"))
                if rip != before or not set(self.stub.memory(rip, 1)) & set(REPEAT):
                    break
        return True

    def registers(self):
        return self.stub.registers()


class Translated:
    """The guest under the monitor, which is at its prompt."""

    def __init__(self, args, bundle):
        self.machine = machine.Machine(machine.Options(kernel=os.path.join(args.build, "kernel.elf"), bundle=bundle,
                                                       memory=args.memory, append=f"pause=on {args.append}", build=args.build))

    def __enter__(self):
        self.machine.__enter__()
        self.machine.expect(PROMPT, TIME_LIMIT)
        return self

    def __exit__(self, *exception):
        self.machine.__exit__(*exception)

    def ask(self, command):
        self.machine.send(command.encode() + b"\n")
        return self.machine.expect(rb"(.*?)" + PROMPT, TIME_LIMIT)[1].decode("utf-8", "replace")

    def come_to(self, address):
        if self.registers()["rip"] != address:
            self.ask(f"break {address:#x}")
            if not re.search(r"break 1 at ", self.ask("continue")):
                raise Broken(f"the guest never came to {address:#x}")
            self.ask("delete 1")

    def step(self, n):
        return self.let_go(f"step {n}")

    def run(self):
        """To the next breakpoint. False if the machine has ended."""
        return self.let_go("continue")

    def breakpoint(self, address):
        self.ask(f"break {address:#x}")

    def let_go(self, command):
        try:
            self.ask(command)
        except machine.ExpectTimeout:
            if self.machine.status is None:
                raise
            return False
        return True

    def registers(self):
        text = self.ask("regs")
        values = {name: int(value, 16) for name, value in re.findall(r"\b(r\w+) +([0-9a-f]+)", text)}
        values.update((name, int(value, 16)) for name, value in re.findall(r"^([cdefgs]s) +([0-9a-f]+)", text, re.M))
        return values

    def disassembled(self, address):
        return self.ask(f"disas {address:#x} 1").strip().splitlines()[-1].strip()


def differences(native, translated):
    """{register: (native, translated)}"""
    masked = [dict(state, rflags=state["rflags"] & FLAGS) for state in (native, translated)]
    return {name: (value, masked[1][name]) for name, value in masked[0].items() if value != masked[1][name]}


def tell(translated, rip, found, when):
    print(f"the runs differ {when}\n  {translated.disassembled(rip) if rip else ''}")
    for name, (native, other) in found.items():
        values = [f"{v:#x}" if isinstance(v, int) else v for v in (native, other)]
        print(f"  {name:6} native {values[0]:18}  translated {values[1]}")
    return 1


def the_end(alive):
    return {"the end": tuple("runs" if a else "has ended" for a in alive)}


def compare_at(args, bundle):
    """Both run freely between the addresses of --at."""
    with Native(args, bundle) as native, Translated(args, bundle) as translated:
        for side in (native, translated):
            for address in args.at:
                side.breakpoint(address)
        for arrival in range(1, args.steps + 1):
            alive = native.run(), translated.run()
            if alive == (False, False):
                print(f"both machines ended, all equal at {arrival - 1} arrivals")
                return 0
            if not all(alive):
                print(f"the runs differ after arrival {arrival - 1}: " + ", ".join(
                    f"{name} {state}" for name, state in zip(("native", "translated"), the_end(alive)["the end"])))
                return 1
            here = native.registers()
            found = differences(here, translated.registers())
            if found:
                return tell(translated, here["rip"], found, f"at arrival {arrival}")
        print(f"no difference at {args.steps} arrivals")
        return 0


class Search:
    def __init__(self, args, bundle):
        self.args, self.bundle = args, bundle
        self.equal = 0         # instructions after which all was equal
        self.adopted = set()   # counts of instructions before each whose result was adopted

    def settle(self, native, translated, before, found):
        """Make the native machine have what the translated one may rightly have; what differs besides."""
        code = native.stub.memory(before["rip"], 15)
        variable = variable_registers(code)
        for name in [n for n in found if n in variable]:
            native.stub.set_register(name, found.pop(name)[1])
        return found

    def advance(self, native, translated, done, stride):
        """Run both on from `done` instructions to at most stride more: (instructions done, differences, state before)."""
        after = [n for n in sorted(self.adopted) if n >= done]
        n = min(stride, self.args.steps - done, max(1, after[0] - done) if after else stride)
        before = native.registers()
        alive = native.step(n), translated.step(n)
        if alive != (True, True):
            if alive == (False, False):
                return None, {}, before
            return done + n, the_end(alive), before
        return done + n, differences(native.registers(), translated.registers()), before

    def attempt(self, stride):
        """New machines. True if all is done, False to try again with a smaller stride."""
        with Native(self.args, self.bundle) as native, Translated(self.args, self.bundle) as translated:
            for side in (native, translated):
                side.come_to(self.args.start)
            found = differences(native.registers(), translated.registers())
            if found:
                return tell(translated, native.registers()["rip"], found, "before the first instruction")
            done = 0
            while done < self.args.steps:
                last = done
                done, found, before = self.advance(native, translated, done, stride if done >= self.equal else self.equal - done)
                if done is None:
                    print(f"both machines ended, all equal, after {last} to {last + stride} instructions")
                    return 0
                if found and (done - last == 1):
                    kept = dict(found)
                    found = self.settle(native, translated, before, found)
                    if found:
                        return tell(translated, before["rip"], found, f"after {done} instructions")
                    self.adopted.add(last)
                    if self.args.verbose:
                        print(f"{done}: adopted {', '.join(kept)} of {translated.disassembled(before['rip'])}")
                    stride = STRIDES[0]
                elif found:
                    return None
                self.equal = max(self.equal, done)
            print(f"no difference in {self.args.steps} instructions")
            return 0

    def run(self):
        strides = list(STRIDES)
        while True:
            before = self.equal
            result = self.attempt(strides[0])
            if result is not None:
                return result
            strides = list(STRIDES) if self.equal > before and strides[0] == 1 else strides[1:] or [1]


def entry_of(path):
    with open(path, "rb") as f:
        head = f.read(32)
    if head[:5] != b"\x7fELF\x02":
        raise Broken(f"{path} is not an ELF64 file: where to begin? (--from)")
    return struct.unpack_from("<Q", head, 24)[0]


def address_of(text, path):
    try:
        return int(text, 0)
    except ValueError:
        found = [address for address, name in symbols(path) if name == text]
    if not found:
        raise Broken(f"{text} is neither a number nor a function of {path}")
    return found[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("guest")
    parser.add_argument("--from", dest="start", metavar="ADDRESS", help="where to begin (default: the ELF entry)")
    parser.add_argument("--at", action="append", default=[], metavar="ADDRESS", help="compare only here")
    parser.add_argument("--steps", type=int, default=20000, help="instructions (or arrivals) to compare")
    parser.add_argument("--initrd")
    parser.add_argument("--cmdline", default="")
    parser.add_argument("--memory", default="256M")
    parser.add_argument("--append", default="", help="key=value words over notdirty.conf, for the translated run")
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    args.build = os.path.relpath(args.build)
    began = time.monotonic()
    try:
        args.at = [address_of(text, args.guest) for text in args.at]
        args.start = address_of(args.start, args.guest) if args.start else 0 if args.at else entry_of(args.guest)
        with tempfile.TemporaryDirectory(prefix="diverge-", dir=args.build) as scratch:
            bundle = os.path.join(scratch, "bundle")
            write_bundle(bundle, Content(guest=args.guest, initrd=args.initrd, cmdline=args.cmdline, memory=args.memory))
            status = compare_at(args, bundle) if args.at else Search(args, bundle).run()
    except (Broken, subprocess.CalledProcessError, OSError, machine.ExpectTimeout) as problem:
        print(f"diverge: {problem}")
        return 2
    print(f"({time.monotonic() - began:.1f} s)")
    return status


if __name__ == "__main__":
    sys.exit(main())
