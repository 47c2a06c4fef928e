# SPDX-License-Identifier: MIT
"""A machine under QEMU's gdb stub: stop it at addresses, read registers, read the count of executed instructions (-icount).

    with Stopped(options) as m:
        m.breakpoint(0x1000200)
        m.run(timeout=30)
        print(m.register(RDI), m.instructions())

Knows the few packets it needs of GDB's remote serial protocol, and nothing of symbols: see symbols()."""
import json
import os
import socket
import struct
import subprocess
import tempfile
import time

from report import Broken

from machine import die_with_parent, machine_arguments

START_LIMIT = 10
RDI, RIP = 5, 16  # numbers of the stub's registers, of 8 bytes each
REGISTERS = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", *(f"r{n}" for n in range(8, 16)), "rip")
SHORT_REGISTERS = ("rflags", "cs", "ss", "ds", "es", "fs", "gs")  # these follow, of 4 bytes each


def symbols(elf):
    """[(address, name)] of an ELF file's functions, ascending; names of static functions may occur more than once."""
    text = subprocess.run(["nm", "-n", elf], check=True, capture_output=True, text=True).stdout
    rows = [line.split() for line in text.splitlines()]
    return [(int(row[0], 16), row[2]) for row in rows if len(row) == 3 and row[1] in "tTwW"]


class Stopped:
    """A QEMU that has not executed anything yet. Leaving the context ends it."""

    def __init__(self, options):
        self.options = options

    def __enter__(self):
        os.makedirs(self.options.build, exist_ok=True)
        self._scratch = tempfile.TemporaryDirectory(prefix="rsp-", dir=self.options.build)
        try:
            self._start(self._scratch.name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self, scratch):
        gdb, qmp = os.path.join(scratch, "gdb"), os.path.join(scratch, "qmp")
        command = machine_arguments(self.options, scratch) + [
            "-S", "-gdb", f"unix:{gdb},server=on,wait=off", "-qmp", f"unix:{qmp},server=on,wait=off",
            "-serial", "null"] + list(self.options.qemu_extra)
        with open(os.path.join(scratch, "errors"), "wb") as self._errors:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._errors, stderr=self._errors,
                                            preexec_fn=die_with_parent)
        self._qmp = self._connect(qmp).makefile("rw")
        self._qmp.readline()
        self.query("qmp_capabilities")
        self._gdb = self._connect(gdb)
        self._at_breakpoint = None
        self._breakpoints = set()

    def __exit__(self, *_):
        if hasattr(self, "process"):
            self.process.kill()
            self.process.wait()
        self._scratch.cleanup()

    def _connect(self, path):
        deadline = time.monotonic() + START_LIMIT
        while time.monotonic() < deadline and self.process.poll() is None:
            channel = socket.socket(socket.AF_UNIX)
            try:
                channel.connect(path)
                return channel
            except OSError:
                channel.close()
                time.sleep(0.02)
        raise self._broken("QEMU did not start")

    def _broken(self, what):
        with open(self._errors.name, encoding="utf-8", errors="replace") as f:
            return Broken(f"{what}\n{f.read()[-1000:]}")

    # --- QMP ---

    def query(self, command):
        self._qmp.write(json.dumps({"execute": command}) + "\n")
        self._qmp.flush()
        while True:
            message = json.loads(self._qmp.readline())
            if "return" in message:
                return message["return"]
            if "error" in message:
                raise self._broken(f"{command}: {message['error']['desc']}")

    def instructions(self):
        """Executed since the start; 0 without -icount."""
        return self.query("query-replay")["icount"]

    # --- the gdb stub ---

    def _read_packet(self, timeout):
        self._gdb.settimeout(timeout)
        data = b""
        while b"#" not in data or len(data) < data.index(b"#") + 3:
            try:
                piece = self._gdb.recv(4096)
            except TimeoutError:
                raise self._broken(f"no stop within {timeout} s") from None
            if not piece:
                raise self._broken("the machine has ended")
            data = (data + piece).lstrip(b"+")
        self._gdb.sendall(b"+")
        return data[1:data.index(b"#")].decode()

    def _packet(self, text, timeout=10):
        self._gdb.sendall(f"${text}#{sum(text.encode()) & 0xff:02x}".encode())
        return self._read_packet(timeout)

    def breakpoint(self, address, on=True):
        if self._packet(f"{'Z' if on else 'z'}1,{address:x},1") != "OK":
            raise self._broken(f"no breakpoint at {address:#x}")
        (self._breakpoints.add if on else self._breakpoints.discard)(address)

    def register(self, number):
        text = self._packet("g")[number * 16:number * 16 + 16]
        return int.from_bytes(bytes.fromhex(text), "little")

    def registers(self):
        """{name: value}: the general ones, rip, rflags, the selectors."""
        data = bytes.fromhex(self._packet("g")[:(len(REGISTERS) * 8 + len(SHORT_REGISTERS) * 4) * 2])
        return dict(zip(REGISTERS + SHORT_REGISTERS, struct.unpack(f"<{len(REGISTERS)}Q{len(SHORT_REGISTERS)}I", data)))

    def set_register(self, name, value):
        if self._packet(f"P{REGISTERS.index(name):x}={value.to_bytes(8, 'little').hex()}") != "OK":
            raise self._broken(f"{name} cannot be written")

    def memory(self, address, length):
        """Bytes at a virtual address; fewer or none where nothing is mapped."""
        answer = self._packet(f"m{address:x},{length:x}")
        return b"" if answer.startswith("E") else bytes.fromhex(answer)

    def step(self):
        """One instruction, or one iteration of a repeated string instruction; interrupts and timers wait. False if the machine has
        ended."""
        try:
            self._packet("s")
        except (Broken, OSError):
            if self.process.poll() is None:
                raise
            return False
        self._at_breakpoint = None
        return True

    def run(self, timeout):
        """Go on to the next breakpoint; returns its address. A breakpoint that the machine stands on is stepped over."""
        here = self._at_breakpoint
        if here in self._breakpoints:
            self.breakpoint(here, False)
            self._packet("s")
            self.breakpoint(here)
        answer = self._packet("c", timeout)
        if not answer.startswith("T05"):
            raise self._broken(f"stopped for another reason than a breakpoint: {answer}")
        self._at_breakpoint = self.register(RIP)
        return self._at_breakpoint
