# SPDX-License-Identifier: MIT
"""One QEMU machine that boots notdirty: started, talked to over its serial line, watched, ended, and its end explained.

    with Machine(Options(image="build/notdirty.img")) as m:       # or Options(pvh=True, kernel=..., bundle=...)
        m.expect(rb"login:", timeout=30)
        m.send(b"root\\n")
        status, reason = m.wait(timeout=60)
    print(m.output)

    status, output = boot(guest="build/tests/payloads/hello.elf", timeout=20)     # makes the bundle or the image itself

Statuses: 0 = the guest wrote 0 to port 0xf4, or switched its machine off under the monitor. Odd ones are QEMU's, (value << 1) | 1 of another value written there: the guest's
own, or one of kernel/lib/exit-codes.h. Even ones are the STATUS_ constants below. describe() puts each into words."""
import ctypes
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field

from content import Content
from mkbundle import write_bundle
from mkimage import write_image

HERE = os.path.dirname(os.path.abspath(__file__))

STATUS_TIMEOUT = 124      # the runner's time limit
STATUS_QUIT = 130         # Ctrl-A x
STATUS_NOT_STARTED = 132  # the firmware found nothing to boot
STATUS_LOADER = 134       # the loader printed an error and went back to the firmware
STATUS_RESET = 136        # the machine was reset, or triple-faulted with no monitor above
STATUS_POWEROFF = 138     # the machine was switched off without a value
STATUS_QEMU = 140         # QEMU itself failed

OVMF_PAIRS = [("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
              ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd")]
MONITOR_RAM = 512 << 20  # what the machine has beyond the guest's memory
SIGNS = [(b"UEFI Interactive Shell", STATUS_NOT_STARTED), (b"notdirty: returning to the firmware", STATUS_LOADER)]
SIGN_MAX = max(len(text) for text, _ in SIGNS)


def read_exit_codes():
    """{value: text} from kernel/lib/exit-codes.h, whose comments are the explanations."""
    with open(os.path.join(HERE, "../kernel/lib/exit-codes.h"), encoding="utf-8") as f:
        found = re.findall(r"^#define EXIT_(\w+) +(0x7\w)(?: +/\* (.*) \*/)?$", f.read(), re.M)
    return {int(value, 16): f"{name.replace('_', ' ').lower()}{': ' + text if text else ''}" for name, value, text in found}


EXIT_CODES = read_exit_codes()


def describe(status):
    """One line for people."""
    words = {0: "the guest ended the run or switched the machine off (success)", STATUS_TIMEOUT: "time-out", STATUS_QUIT: "quit by the user",
             STATUS_NOT_STARTED: "the firmware found nothing to boot",
             STATUS_LOADER: "the loader reported an error and returned to the firmware",
             STATUS_RESET: "the machine was reset or triple-faulted", STATUS_POWEROFF: "the machine was switched off",
             STATUS_QEMU: "QEMU failed"}
    if status in words:
        return words[status]
    value = status >> 1
    if status & 1 and value in EXIT_CODES:
        return f"ended by the monitor with value {value:#x} ({EXIT_CODES[value]})"
    return f"the guest ended with value {value:#x}" if status & 1 else f"unknown status {status}"


def parse_size(text):
    """'256M' as in notdirty.conf, in bytes. A bad one is the loader's or kernel's to complain of: the default then."""
    match = re.fullmatch(r"(\d{1,7})([KMG]?)", text.strip().upper())
    if not match:
        return 256 << 20
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2]]


@dataclass
class Options:
    """What to boot and on what. Exactly one of image (through UEFI) and kernel (through PVH, 0.1 s) is given."""
    image: str = None
    kernel: str = None
    bundle: str = None             # PVH: the cpio archive of mkbundle.py
    append: str = ""               # PVH: "key=value ..." overriding notdirty.conf
    memory: str = "256M"           # the guest's; the machine has 512 MiB more
    machine_memory: int = None     # bytes; instead of that sum
    disk: str = "usb"              # where the image is: usb | virtio | ahci | nvme
    qemu_extra: list = field(default_factory=list)
    build: str = "build"           # scratch files go below this folder


class Keys:
    """What a user types, as QEMU must get it. QEMU's escape character on the serial line is Ctrl-A too, and its Ctrl-A c is its own
    monitor: typed once, ours is meant. Ctrl-A x ends QEMU (the run may hang), and Ctrl-A Ctrl-A is one for what runs in it."""

    def __init__(self):
        self.escaped = False

    def translate(self, data):
        out = bytearray()
        for byte in data:
            out += b"\x01c" if self.escaped and byte == ord("c") else bytes([byte])
            self.escaped = byte == 1 and not self.escaped
        return bytes(out)


class ExpectTimeout(Exception):
    """expect() did not see its pattern in time, or the machine ended before it came."""


def machine_ram(guest):
    """Bytes of RAM for a machine whose guest has `guest` bytes: guest RAM must lie in one piece, which the PCI hole of a
    machine with 2 GiB and more does not leave unless all of it fits above 4 GiB."""
    return guest + MONITOR_RAM + ((2 << 30) if guest > (3 << 29) else 0)


def machine_arguments(options, scratch):
    """QEMU's arguments, except for the serial line and the control channel."""
    ram = options.machine_memory or machine_ram(parse_size(options.memory))
    args = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", f"{ram >> 20}M", "-nodefaults",
            "-vga", "none", "-display", "none", "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
    if options.kernel:
        args += ["-kernel", options.kernel]
        args += ["-initrd", options.bundle] if options.bundle else []
        args += ["-append", options.append] if options.append else []
        return args
    code, variables = next((p for p in OVMF_PAIRS if all(map(os.path.exists, p))), OVMF_PAIRS[0])
    own_variables = os.path.join(scratch, "vars.fd")
    shutil.copyfile(variables, own_variables)
    disk = {"usb": ["-device", "qemu-xhci", "-device", "usb-storage,drive=stick,bootindex=0"],
            "virtio": ["-device", "virtio-blk-pci,drive=stick,bootindex=0"],
            "ahci": ["-device", "ide-hd,drive=stick,bootindex=0"],
            "nvme": ["-device", "nvme,drive=stick,serial=nd,bootindex=0"]}[options.disk]
    # A snapshot: several machines may share an image, and none changes it.
    return args + ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}",
                   "-drive", f"if=pflash,format=raw,unit=1,file={own_variables}",
                   "-drive", f"if=none,id=stick,format=raw,file.locking=off,snapshot=on,file={options.image}"] + disk


def die_with_parent():
    """In the child: a runner that is killed takes its QEMU with it (prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Machine:
    """A running QEMU. Use as a context manager: leaving it ends QEMU whatever has happened."""

    def __init__(self, options, on_output=None):
        """on_output(bytes) sees every piece of serial output as it comes."""
        self.options = options
        self.on_output = on_output
        self.raw = bytearray()   # everything that came over COM1
        self.mark = 0            # expect() searches from here
        self.status = None       # once known
        self.reason = ""
        self._shutdown_reason = None
        self._qmp_buffer = b""
        self._replies = {}       # by id, to commands that had one
        self._running = False
        self._keys = Keys()

    @property
    def output(self):
        return self.raw.decode("utf-8", "replace")

    # --- life ---

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.close()

    def start(self):
        os.makedirs(self.options.build, exist_ok=True)
        self._scratch = tempfile.TemporaryDirectory(prefix="machine-", dir=self.options.build)
        self._errors = open(os.path.join(self._scratch.name, "qemu.err"), "w+b")
        self.serial, serial_end = socket.socketpair()
        self.qmp, qmp_end = socket.socketpair()
        with serial_end, qmp_end:
            # -S: the machine waits for the control channel, so that a QEMU that never started is told from one that ended.
            command = machine_arguments(self.options, self._scratch.name) + [
                "-S", "-chardev", f"socket,id=com1,mux=on,fd={serial_end.fileno()}", "-serial", "chardev:com1",
                "-mon", "chardev=com1,mode=readline", "-chardev", f"socket,id=qmp,fd={qmp_end.fileno()}",
                "-mon", "chardev=qmp,mode=control"] + list(self.options.qemu_extra)
            environment = dict(os.environ, TMPDIR=self._scratch.name)
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._errors, stderr=self._errors,
                                            pass_fds=(serial_end.fileno(), qmp_end.fileno()), env=environment,
                                            preexec_fn=die_with_parent)
        self.qmp.sendall(b'{"execute":"qmp_capabilities"}\n{"execute":"cont"}\n')
        self.started = time.monotonic()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.serial.close()
        self.qmp.close()
        self._errors.close()
        self._scratch.cleanup()

    def finish(self, status, reason=None):
        """Decide how the run ended; the first decision counts."""
        if self.status is None:
            self.status, self.reason = status, reason or describe(status)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def screendump(self, timeout=120):
        """The screen as (width, height, RGB bytes)."""
        path = os.path.join(self._scratch.name, "screen.ppm")
        self._replies.clear()
        self.qmp.sendall(json.dumps({"execute": "screendump", "arguments": {"filename": path}, "id": "screen"}).encode() + b"\n")
        deadline = time.monotonic() + timeout
        while "screen" not in self._replies:
            if self.status is not None or time.monotonic() > deadline:
                raise ExpectTimeout("no screendump")
            self.pump(0.1)
        if "error" in self._replies["screen"]:
            raise ExpectTimeout(f"screendump: {self._replies['screen']['error']}")
        with open(path, "rb") as f:
            header, size, maximum, pixels = f.read().split(b"\n", 3)
        assert header == b"P6" and maximum == b"255", (header, maximum)
        width, height = map(int, size.split())
        return width, height, pixels

    # --- the serial line ---

    def send(self, data):
        try:
            self.serial.sendall(data)
        except OSError:
            pass  # the machine has ended; pump() says how

    def expect(self, pattern, timeout):
        """Wait for a regular expression (bytes) in what has come since the last match; returns the match object."""
        deadline = time.monotonic() + timeout
        while True:
            match = re.compile(pattern, re.S).search(self.raw, self.mark)
            if match:
                self.mark = match.end()
                return match
            if self.status is not None:
                raise ExpectTimeout(f"{pattern!r}: the machine ended before it ({self.reason})")
            if time.monotonic() >= deadline:
                raise ExpectTimeout(f"{pattern!r}: not seen within {timeout} s")
            self.pump(min(0.5, max(0, deadline - time.monotonic())))

    def wait(self, timeout, stdin=None):
        """Run to the end. stdin: a file descriptor whose bytes go to the serial line. Returns (status, reason)."""
        deadline = time.monotonic() + timeout if timeout else None
        while self.status is None:
            left = deadline - time.monotonic() if deadline else 1
            if left <= 0:
                self.finish(STATUS_TIMEOUT, f"time-out after {timeout} s")
                break
            if self.pump(min(left, 1), stdin) == "eof":
                stdin = None
        return self.status, self.reason

    def pump(self, timeout, stdin=None):
        """Move what is there to move; wait for at most `timeout` s. 'eof' when stdin has ended."""
        sources = [self.serial, self.qmp] + ([stdin] if stdin is not None else [])
        ready, _, _ = select.select(sources, [], [], timeout)
        if self.qmp in ready:
            self._read_qmp()
        if self.serial in ready:
            self._read_serial()
        if stdin is not None and stdin in ready:
            data = os.read(stdin, 4096)
            if not data:
                return "eof"
            self.send(self._keys.translate(data))
        return None

    def _read_serial(self):
        try:
            data = self.serial.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self._qemu_ended()
            return
        start = max(0, len(self.raw) - SIGN_MAX)
        self.raw += data
        if self.on_output:
            self.on_output(data)
        if not self.options.kernel:
            for text, status in SIGNS:
                if self.raw.find(text, start) >= 0:
                    self.finish(status)

    def _read_qmp(self):
        try:
            data = self.qmp.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            if self.process.poll() is None and not self._serial_pending():
                time.sleep(0.01)  # between the two channels closing
            return
        *lines, self._qmp_buffer = (self._qmp_buffer + data).split(b"\n")
        for line in filter(None, map(bytes.strip, lines)):
            message = json.loads(line)
            if "id" in message:
                self._replies[message["id"]] = message
            if message.get("event") == "RESUME":
                self._running = True
            elif message.get("event") == "SHUTDOWN":
                self._shutdown_reason = message["data"]["reason"]

    def _serial_pending(self):
        return bool(select.select([self.serial], [], [], 0)[0])

    def _qemu_ended(self):
        """QEMU closed the serial line: it is exiting. What did it exit with, and why?"""
        code = self.process.wait()
        self._read_qmp_rest()
        if not self._running or code < 0 or (code != 0 and not code & 1):
            self._errors.seek(0)
            text = self._errors.read().decode("utf-8", "replace").strip().splitlines()
            self.finish(STATUS_QEMU, f"QEMU failed (status {code}): {text[-1] if text else 'no message'}")
        elif code == 0:
            by_event = {"guest-reset": STATUS_RESET, "guest-shutdown": STATUS_POWEROFF, "guest-panic": STATUS_RESET}
            self.finish(by_event.get(self._shutdown_reason, STATUS_QUIT))
        else:
            self.finish(0 if code == 1 else code)

    def _read_qmp_rest(self):
        while select.select([self.qmp], [], [], 0)[0]:
            before = len(self._qmp_buffer), self._shutdown_reason, self._running
            self._read_qmp()
            if before == (len(self._qmp_buffer), self._shutdown_reason, self._running):
                break


def boot(guest=None, *, pvh=True, timeout=60, dialogue=(), kernel=None, loader=None, append="", machine_memory=None,
         disk="usb", qemu_extra=(), build="build", on_output=None, **content):
    """Boot once and return (status, output).

    guest and **content: the fields of content.Content (initrd, cmdline, memory, mode, smc, log, exit, conf, extra).
    pvh: boot the kernel directly from a bundle, else through OVMF from a USB image made for this run.
    dialogue: [(pattern, reply)]: each pattern (bytes) is awaited, then its reply is sent. A pattern that does not come counts
    as a time-out. kernel, loader: other files than the build's; "" leaves the file off the medium."""
    files = Content(guest=guest, **content)
    kernel = os.path.join(build, "kernel.elf" if pvh else "stick/kernel.elf") if kernel is None else kernel
    loader = os.path.join(build, "BOOTX64.EFI") if loader is None else loader
    with tempfile.TemporaryDirectory(prefix="boot-", dir=build) as scratch:
        common = dict(memory=files.memory, machine_memory=machine_memory, qemu_extra=list(qemu_extra), build=build)
        medium = os.path.join(scratch, "medium")
        if pvh:
            write_bundle(medium, files)
            options = Options(kernel=kernel, bundle=medium, append=append, **common)
        else:
            write_image(medium, loader, kernel, files)
            options = Options(image=medium, disk=disk, **common)
        with Machine(options, on_output) as machine:
            deadline = time.monotonic() + timeout
            try:
                for pattern, reply in dialogue:
                    machine.expect(pattern, deadline - time.monotonic())
                    machine.send(reply)
            except ExpectTimeout:
                if machine.status is None:
                    machine.finish(STATUS_TIMEOUT)
            machine.wait(max(0.1, deadline - time.monotonic()))
            return machine.status, machine.output
