# SPDX-License-Identifier: MIT
"""The list of system tests. A test is a guest, how to boot it, and what must come of it; time limits are in seconds on an idle
machine (run.py multiplies them)."""
from dataclasses import dataclass, field, replace
from typing import Callable, Optional

import badfiles
import debugger
import dmesg
import linux
import machine
import monitor_writes
import shell
import specials


def by_monitor(name):
    """Exit status of a run that the monitor ended: a name of kernel/lib/exit-codes.h in words."""
    values = [v for v, text in machine.EXIT_CODES.items() if text.split(":")[0] == name]
    return values[0] << 1 | 1


def by_guest(value):
    return value << 1 | 1 if value else 0


@dataclass(frozen=True)
class Test:
    name: str
    guest: str = ""                # file below build/; "" = none
    engine: str = "translate"      # translate | native
    boot: str = "pvh"              # pvh | uefi
    timeout: float = 10            # seconds on an idle machine
    extra: bool = False            # only with --all-usb
    status: int = 0                # exit status of the machine, as machine.py gives it
    expect: tuple = ()             # regular expressions, found in this order
    compare: bool = False          # the guest's checksum lines must equal those of its native run
    cmdline: str = ""
    initrd: str = ""               # file below build/
    symbols: str = ""              # the same
    skip: str = ""                 # cases that this engine leaves out (payloads take skip=a,b)
    memory: str = "256M"
    log: str = ""
    smc: str = "protect"
    exit: str = "poweroff"
    conf: Optional[str] = None     # the whole of notdirty.conf
    append: str = ""               # pvh: "key=value ..." over notdirty.conf
    machine_memory: Optional[int] = None
    qemu_extra: tuple = ()
    dialogue: tuple = ()
    make_guest: Optional[Callable] = None  # bytes of a good payload -> bytes of the guest file
    on_demand: bool = False        # only where -k has its whole name: too long for every run
    optional: bool = False         # without its guest file the test is skipped
    special: Optional[Callable] = None
    forbid: tuple = ()             # until_output: regular expressions that must not occur
    full: bool = False             # memtest: a whole pass
    payload: str = ""              # name in the payload's closing line

    def cmdline_for(self, engine):
        skip = "skip=" + self.skip if self.skip else ""
        return " ".join(filter(None, [self.cmdline, skip]))

    def as_reference(self):
        """The same guest, natively, whatever this test is."""
        native = NATIVE_SKIP.get(self.payload, "")
        return replace(self, engine="native", boot="pvh", skip=native, smc="protect", log="")

    def of_engine(self, engine):
        return replace(self, engine=engine)

    def patterns(self):
        closing = (rf"^payload {self.payload}: [1-9]\d* passed, 0 failed$",) if self.payload else ()
        # Without counters half of what these payloads check would silently not be checked.
        counted = self.engine == "translate" and self.payload.startswith("smc-") and self.payload != "smc-imprecise"
        counters = (r"^counters: present$",) if counted else ()
        return counters + closing + self.expect


# Cases that QEMU 7.2's TCG gets wrong where it is the CPU; docs/testing.md says what it does. Natively it always is.
NATIVE_SKIP = {
    "debug-regs": "write-exact,access-exact,address-is-aligned,strings,many-at-once,single-step-too,behind-mov-ss,general-detect,"
                  "data-beside-code,breakpoint-is-patched",
    "exceptions": "non-canonical-stack,invalid-opcode-strict,gate-privilege,system-state-strict",
    "hostile": "ignored-rex",
    "page-fault": "reserved-bits",
    "rip-relative": "double-shift-imm",
    "smc-store-forms": "seta",
    "smc-rep-string": "stosb-itself,movsb-itself,page-over-itself,completes",
    "user-mode": "time-stamp-written",
    "timer": "slow-handler",  # a promise of the monitor's; a CPU starves
    "smc-straddle-rmw": "add,lock-add,xadd,lock-xadd,xchg,lock-cmpxchg,lock-btc,inc-neg,adc",
}
# Under translation it is what executes the translated instruction.
TRANSLATE_SKIP = {
    "exceptions": "non-canonical-stack",
    "hostile": "map-over-monitor",  # a test of its own, since it ends the run
}

# Payloads that end with a closing line, with the seconds that they need translated.
PAYLOADS = {
    "address-spaces": 10, "alu-checksum": 20, "control-flow": 10, "debug-regs": 20, "entry-state": 5, "exceptions": 5, "fpu-checksum": 15, "hostile": 20,
    "page-fault": 15, "paging": 10, "rip-relative": 20, "single-step": 5, "smc-alias": 10, "smc-chain": 20,
    "smc-flush": 20, "smc-imprecise": 5, "smc-interrupt": 15, "smc-mixed-page": 20, "smc-next-insn": 10, "smc-own-insn": 10,
    "smc-page-edge": 10, "smc-random": 20, "smc-rep-string": 10, "smc-store-forms": 15, "smc-straddle-rmw": 5,
    "smc-write-fault": 10, "smc-decoder": 15, "smc-descriptor": 15, "smc-device-write": 15, "smc-serialize": 15,
    "smc-state-image": 15, "smc-fields": 20, "stack-fault": 5, "string-fault": 10, "timer": 30, "trap-stack": 5, "user-mode": 10,
}
# Page states (docs/smc-states.md): none, at every opportunity, and hot store sites instead of them.
ADAPTIVE = {
    "off": "adaptive=off",
    "eager": "smc_self_check_faults=1 smc_self_check_hits=1 smc_quiet_ticks=1 smc_bulk_faults=2 smc_data_imm_hits=1",
    "sites": "smc_self_check_faults=0 smc_bulk_faults=0 smc_store_sites=1",
}
# Through firmware and the USB image as well: a payload of every kind, and all that show the first cases of self-modifying code
# (docs/testing.md: 1-6, 8, 12, 14, 31, 57). What happens behind the loader is the same for all; run.py --all-usb sends every one.
OVER_USB = {
    "alu-checksum", "control-flow", "entry-state", "exceptions", "hostile", "page-fault", "paging", "rip-relative", "smc-alias",
    "smc-chain", "smc-flush", "smc-mixed-page", "smc-next-insn", "smc-own-insn", "smc-page-edge", "smc-random", "smc-rep-string",
    "smc-straddle-rmw", "timer", "user-mode",
}
WITH_CHECKSUMS = {"alu-checksum", "control-flow", "fpu-checksum", "hostile", "smc-mixed-page", "smc-random"}


def payload_test(name, engine, boot):
    return Test(name=f"{name}/{engine}" + ("/uefi" if boot == "uefi" else ""), guest=f"payloads/{name}.elf", engine=engine,
                boot=boot, extra=boot == "uefi" and name not in OVER_USB, payload=name, timeout=PAYLOADS[name] + (10 if boot == "uefi" else 0),
                compare=engine == "translate" and name in WITH_CHECKSUMS,
                skip=(NATIVE_SKIP if engine == "native" else TRANSLATE_SKIP).get(name, ""))


def payload_tests():
    for name in PAYLOADS:
        for boot in ("pvh", "uefi"):
            yield payload_test(name, "native", boot)
            yield payload_test(name, "translate", boot)


def basic_tests():
    hello = "payloads/hello.elf"
    for engine in ("native", "translate"):
        for boot in ("pvh", "uefi"):
            yield Test(f"hello/{engine}/{boot}", hello, engine, boot, timeout=15, expect=("^hello from the guest$",))
        for value in (1, 5, 0x6F):
            yield Test(f"exit-status-{value}/{engine}", "payloads/exit-status.elf", engine, cmdline=f"status={value}",
                       status=by_guest(value), expect=(f"^ending with status {value}$",))
        yield Test(f"exit-status-dword/{engine}", "payloads/exit-status.elf", engine, cmdline="status=7 width=32",
                   status=by_guest(7))
        yield Test(f"cmdline/{engine}", "payloads/exit-status.elf", engine, append='cmdline="status=9"',
                   status=by_guest(9))
    # All but a few fields have become data: had they not, the results would be the same.
    yield Test("smc-fields/loaded", "payloads/smc-fields.elf", payload="smc-fields", timeout=PAYLOADS["smc-fields"],
               expect=(r"^nd-stat .*\bdata_imm=4\d\b",))


def ending_tests():
    yield Test("triple-fault/translate", "payloads/triple-fault.elf", status=by_monitor("triple fault"),
               expect=("^shutting down$",
                       r"guest triple fault: .* it began with #UD .*\(pc 0x[0-9a-f]+ main\+0x[0-9a-f]+, cpl 0\)"))
    yield Test("triple-fault/native", "payloads/triple-fault.elf", "native", status=machine.STATUS_RESET,
               expect=("^shutting down$",))
    yield Test("halt-forever/translate", "payloads/halt-forever.elf", status=by_monitor("halted"),
               expect=("^halting$", r"guest halted: hlt with interrupts off \(pc 0x[0-9a-f]+ main\+0x[0-9a-f]+, cpl 0\)"))
    yield Test("jump-nowhere/translate", "payloads/jump-nowhere.elf", status=by_monitor("nowhere"),
               expect=("^jumping$", r"guest jump into nothing: .*physical address 0xd0000000, .*\(pc 0xd0000000, cpl 0\)"))
    yield Test("spin-forever/translate", "payloads/spin-forever.elf", append="timeout=2", status=by_monitor("timeout"),
               expect=("^spinning$",))
    yield Test("hostile/map-over-monitor", "payloads/hostile.elf", cmdline="only=map-over-monitor",
               status=by_monitor("unsupported"), expect=("where the monitor lives",))
    yield Test("top/translate", "payloads/spin-forever.elf", append="timeout=2", exit="monitor", status=by_monitor("user quit"),
               dialogue=((rb"\(nd\) ", b"top\n"), (rb"translated code of the guest's kernel.*\(nd\) ", b"top clear\n"),
                         (rb"\(nd\) ", b"top\n"), (rb"0 ticks\r\n.*\(nd\) ", b"quit\n")),
               expect=("^spinning$", r"^ +[0-9.]+ %  block at [0-9a-f]{16} main"))
    yield Test("top/translate/nmi", "payloads/spin-forever.elf", cmdline="exits=1", timeout=20, special=debugger.monitor_profile,
               status=by_monitor("user quit"))
    yield Test("monitor/behind-typed", "payloads/spin-forever.elf", status=by_monitor("user quit"), expect=("^spinning$",),
               dialogue=((rb"spinning", b"typed to a guest that never reads\n" * 2000 + debugger.ESCAPE), (rb"\(nd\) ", b"quit\n")),
               timeout=20)
    paused = rb"the guest is paused.*\(nd\) "
    yield Test("monitor/escapes", "payloads/spin-forever.elf", status=by_monitor("user quit"), expect=("^spinning$",),
               dialogue=((rb"spinning", debugger.ESCAPE), (paused, b"a line that is left" + 2 * debugger.ESCAPE),
                         (paused, b"tb zz\n"), (rb"tb: expected .*'zz'.*\(nd\) ", b"page 0x1000 2\n"),
                         (rb"page: expected .*'2'.*\(nd\) ", b"mem 0x10000000000000000\n"),
                         (rb"mem: expected .*'0x10000000000000000'.*\(nd\) ", b"\x01\x01x")))
    for size in ("1M", "64M"):
        yield Test(f"cache-{size}", "payloads/smc-flush.elf", append=f"cache={size}", cmdline="functions=2000", timeout=60,
                   payload="smc-flush", expect=((r"tb_flush=[1-9]" if size == "1M" else r"tb_flush=0"),))
    yield Test("smc-flush/cache-overflows", "payloads/smc-flush.elf", append="cache=4M", cmdline="functions=16000", timeout=120,
               payload="smc-flush", expect=(r"tb_flush=[1-9]",))
    for name in (n for n in PAYLOADS if n.startswith("smc-")):
        small = name == "smc-flush"  # a small cache overflows sooner
        yield Test(f"{name}/translate/check", f"payloads/{name}.elf", smc="check", payload=name, timeout=2 * PAYLOADS[name],
                   compare=name in WITH_CHECKSUMS, skip=TRANSLATE_SKIP.get(name, ""), append="cache=1M" if small else "",
                   cmdline="functions=2000" if small else "",
                   expect=((r"tb_flush=[1-9]",) if small else ()) + (r"smc_fault=0 ", r"smc_check=[1-9]"))
    yield Test("smc-monitor/translate", "payloads/smc-monitor.elf", special=monitor_writes.patch_and_check, payload="smc-monitor",
               timeout=20)
    yield Test("smc-imprecise/translate/precise-off", "payloads/smc-imprecise.elf", append="precise=off", cmdline="expect=0",
               payload="smc-imprecise", timeout=10)
    for name in (n for n in PAYLOADS if n.startswith("smc-")):
        for policy, keys in ADAPTIVE.items():
            yield Test(f"{name}/translate/adaptive-{policy}", f"payloads/{name}.elf", append=keys, payload=name,
                       timeout=2 * PAYLOADS[name], compare=name in WITH_CHECKSUMS, skip=TRANSLATE_SKIP.get(name, ""))
    for seed in (2, 3):
        yield Test(f"smc-random/translate/adaptive-eager/seed-{seed}", "payloads/smc-random.elf", append=ADAPTIVE["eager"],
                   payload="smc-random", cmdline=f"seed={seed}", compare=True, timeout=40)
    for seed in (2, 3, 4, 5):
        for name in ("alu-checksum", "fpu-checksum", "smc-random") if seed < 4 else ("smc-random",):
            yield Test(f"{name}/translate/seed-{seed}", f"payloads/{name}.elf", payload=name, cmdline=f"seed={seed}",
                       compare=True, timeout=30)


def monitor_tests():
    yield Test("debugger/translate", "payloads/debug-target.elf", special=debugger.debug, timeout=20)
    yield Test("debugger/translate/uefi", "payloads/debug-target.elf", boot="uefi", special=debugger.debug, timeout=30)
    yield Test("dirty-log/translate", "payloads/dirty-target.elf", memory="32M", special=debugger.dirty_log, timeout=20)
    for engine in ("native", "translate"):
        yield Test(f"framebuffer/{engine}/uefi", "payloads/framebuffer.elf", engine, boot="uefi", timeout=40,
                   special=debugger.framebuffer, qemu_extra=("-device", "VGA"))
    yield Test("framebuffer/none", "payloads/framebuffer.elf", expect=("^no framebuffer$",))
    for how, ticks in (("stays", 10000), ("returns", 1)):
        yield Test(f"page-states/{how}", "payloads/dirty-target.elf", memory="32M", special=debugger.page_states, timeout=20,
                   append=f"smc_self_check_faults=1 smc_quiet_ticks={ticks} smc_data_imm_hits=0")
    yield Test("snapshot/translate", "payloads/dirty-target.elf", memory="32M", special=debugger.snapshot, timeout=20)


def divergence_tests():
    """The divergence finder finds what a debug switch breaks, and nothing where nothing is broken."""
    common = dict(special=specials.diverge, timeout=30)
    yield Test("diverge/steps", "payloads/alu-checksum.elf", dialogue=("--steps", "1500"), expect=("no difference in 1500",), **common)
    yield Test("diverge/at", "payloads/smc-imprecise.elf", dialogue=("--at", "printf"), expect=("all equal at 3 arrivals",), **common)
    yield Test("diverge/found", "payloads/smc-imprecise.elf", dialogue=("--at", "printf", "--append", "precise=off"), status=1,
               expect=(r"differ at arrival 1\n.*: \w+ .*\n(.*\n)* +r8 +native 0x33 ",), **common)


def bad_input_tests():
    refused = by_monitor("load error")
    files = {
        "empty": "was not found or is empty", "garbage": "neither an ELF64 file nor a Linux bzImage",
        "truncated": "guest: .*", "truncated_header": "guest: .*", "elf32": "32-bit ELF", "big_endian": "big-endian",
        "wrong_machine": "machine", "shared_object": "guest: .*", "segment_beyond_memory": "larger than memory",
        "segment_too_low": "1 MiB and above", "segment_wraps": "guest: .*", "file_size_beyond_memory_size": "guest: .*",
        "entry_outside": "entry .* lies in no segment", "no_segments": "guest: .*",
    }
    for name, message in files.items():
        yield Test(f"bad-guest/{name.replace('_', '-')}", make_guest=getattr(badfiles, name), status=refused,
                   expect=(message,), timeout=5)
    configs = {
        "unknown-key": ("gest = hello\n", r"notdirty.conf:1: unknown key 'gest'"),
        "bad-mode": ("guest = x\nmode = magic\n", r"notdirty.conf:2: bad value 'magic' of mode"),
        "bad-memory": ("memory = lots\n", r"notdirty.conf:1: bad memory size"),
        "no-equals": ("# comment\nguest\n", r"notdirty.conf:2: expected 'key = value'"),
        "missing-guest": ("guest = notdirty/nothing.elf\n", "was not found or is empty"),
        "bad-cache": ("cache = 300M\n", r"notdirty.conf:1: bad cache size '300M': expected 1M to 256M"),
        "bad-log": ("log = everything\n", r"bad value 'everything' of log"),
        "bad-last": ("#" * 5000 + "\n\nlog = smc , tb\nexit = never\n", r"notdirty.conf:4: bad value 'never' of exit"),
    }
    for name, (text, message) in configs.items():  # said once
        yield Test(f"bad-conf/{name}", conf=text, status=refused, expect=(rf"{message}(?![\s\S]*{message})",), timeout=5)
    yield Test("bad-conf/memory-too-large", "payloads/hello.elf", memory="256M", append="memory=64G", status=refused,
               expect=("memory",), timeout=5)
    yield Test("bad-conf/no-file/uefi", boot="uefi", conf="", timeout=15, status=machine.STATUS_LOADER,
               expect=(r"notdirty\.conf: no such file",))
    yield Test("bad-guest/missing/uefi", boot="uefi", conf="guest = notdirty/nothing.elf\n", timeout=15,
               status=machine.STATUS_LOADER, expect=("nothing.elf",))


LINUX_COMPLAINTS = (r"WARNING: ", r"BUG: ", r"Oops: ", r"invalid opcode", r"general protection fault")


def real_guest_tests():
    memtest = dict(guest="guests/memtest86+x64.bin", cmdline="console=ttyS0,115200 nosmp", memory="16M", optional=True,
                   special=specials.memtest, status=by_monitor("reset"))
    yield Test("memtest/translate/uefi", boot="uefi", timeout=40, **memtest)
    yield Test("memtest/translate/full-pass", timeout=150, full=True, **memtest)
    yield Test("memtest/translate/planted-error", timeout=60, **dict(memtest, memory="64M", special=specials.memtest_planted))
    linux = dict(guest="guests/vmlinuz-cloud", optional=True, special=specials.until_output, forbid=LINUX_COMPLAINTS,
                 cmdline="console=ttyS0 earlyprintk=serial,ttyS0,115200 nokaslr acpi=off pci=off noapic nolapic nosmp")
    # Debian builds its kernel without CONFIG_X86_VERBOSE_BOOTUP: of the decompressor's own lines, only warnings are printed,
    # natively as well. The first line after it is the decompressed kernel's.
    own = r"KASLR disabled: 'nokaslr' on cmdline"
    yield Test("linux-decompressor/translate", timeout=30, expect=(own, r"Linux version \d"), **linux)
    yield Test("linux-decompressor/translate/uefi", boot="uefi", timeout=40, expect=(own, r"Linux version \d"), **linux)
    # As far as a kernel without any disk can get.
    yield Test("linux-boot/translate", timeout=60, **linux,
               expect=(r"Linux version \d", "Freeing SMP alternatives", "VFS: Unable to mount root fs", "end Kernel panic"))


# Debian's kernel to its shell. The command line of `make run`; each crutch in it is left out by a test of its own.
CRUTCHES = ("nokaslr", "nopti", "mitigations=off", "noreplace-smp")
LINUX = "console=ttyS0 tsc=reliable panic=-1"


def shell_tests():
    common = dict(guest="guests/vmlinuz-cloud", initrd="guests/initramfs-shell.cpio", forbid=shell.COMPLAINTS, timeout=90)
    usual = " ".join((LINUX, *CRUTCHES))
    off = ("reboot: Power down", "guest power off")
    yield Test("shell/terminal/uefi", boot="uefi", cmdline=usual, special=linux.terminal, expect=off, **common)
    yield Test("shell/work/uefi", boot="uefi", cmdline=usual, special=linux.work, expect=off, **dict(common, timeout=180))
    yield Test("shell/idle", cmdline=usual, special=linux.idle, expect=off, **common)
    yield Test("shell/dmesg", cmdline=usual, special=dmesg.compare, **common)
    yield Test("shell/vmlinux", cmdline=usual, special=linux.ends_with("poweroff -f"), expect=off,
               **dict(common, guest="guests/vmlinux"))
    # Debian's generic kernel, without a crutch: part of `make suites`.
    yield Test("shell/generic-kernel", cmdline=LINUX, special=linux.ends_with("poweroff -f"), expect=("Linux version \\S+-amd64 ",) + off,
               on_demand=True, **dict(common, guest="guests/vmlinuz-amd64", timeout=180))
    without = {c: " ".join((LINUX, *(o for o in CRUTCHES if o != c))) for c in CRUTCHES}
    yield Test("shell/kaslr", cmdline=without["nokaslr"], special=linux.ends_with("poweroff -f"), expect=off, **common)
    yield Test("shell/pti", cmdline=without["nopti"] + " pti=on", special=linux.ends_with("reboot -f"),
               status=by_monitor("reset"), expect=("page tables isolation: force enabled", "guest reset"), **dict(common, timeout=180))
    yield Test("shell/mitigations", cmdline=without["mitigations=off"], special=linux.ends_with("halt -f"),
               status=by_monitor("halted"), expect=("Retpoline|IBRS", "System halted", "guest halted"), **common)
    yield Test("shell/smp-alternatives", cmdline=without["noreplace-smp"], special=linux.ends_with("poweroff -f"),
               expect=("Freeing SMP alternatives memory",) + off, **common)
    yield Test("shell/no-crutches", cmdline="console=ttyS0 panic=-1", symbols="guests/vmlinuz-cloud.map",
               special=linux.ends_with("echo c >/proc/sysrq-trigger"), status=by_monitor("guest panic"),
               expect=("Kernel panic - not syncing: sysrq triggered crash",
                       r"guest panic: its kernel gave up; then reset: .*\(pc 0x[0-9a-f]+ \w+\+0x[0-9a-f]+, cpl 0\)"),
               **dict(common, forbid=()))


TESTS = [*basic_tests(), *ending_tests(), *monitor_tests(), *divergence_tests(), *bad_input_tests(), *payload_tests(), *real_guest_tests(),
         *shell_tests()]
assert len({t.name for t in TESTS}) == len(TESTS), "names must be unique"
