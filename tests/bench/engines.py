# SPDX-License-Identifier: MIT
"""The three engines of a guest, in the same machine: the bare machine (native), notdirty (translate), and QEMU's TCG (peer), which
runs in a Debian guest on the bare machine. Each runs to a mark on the serial line and gives the output up to there.

Times are of one clock in all three: the machine's TSC, passed through by notdirty and by the inner QEMU; but Linux in the inner QEMU runs
with a virtual clock (guest/peer-run), and what it does is timed from outside, by marks that it prints (guest/timed.c). With COUNTED the
TSC is the number of instructions that the machine has executed since its start."""
import os
import re
import subprocess
import tempfile

from report import COUNTED, Broken, Unavailable

from content import Content
from machine import ExpectTimeout, Machine, Options
from mkbundle import write_bundle

CMDLINE = "console=ttyS0 nokaslr nopti mitigations=off noreplace-smp acpi=off noapic nosmp reboot=t panic=-1 quiet"
PEER_TIMED_LIMIT = 900  # seconds; some 200 where a CPU is free
INNER_QEMU = "qemu-system-x86_64"
BENCH = re.compile(r"^bench (\S+) (\d+)\r*$", re.M)
STAMP = re.compile(r"stamp (\d+)|^bench (\S+) \d+\r*$", re.M)
HERE = os.path.dirname(os.path.abspath(__file__))


def until(settings, mark, timeout, *, counted=False, memory="256M", append="", extra=None, **content):
    """Boot under PVH and run to `mark` (bytes); the output."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=settings.build) as scratch:
        bundle = os.path.join(scratch, "bundle")
        write_bundle(bundle, Content(memory=memory, **content))
        options = Options(kernel=settings.kernel, bundle=bundle, append=append, memory=memory, build=settings.build,
                          qemu_extra=extra or (COUNTED if counted else []))
        with Machine(options) as machine:
            try:
                machine.expect(mark, timeout)
            except ExpectTimeout as error:
                raise Broken(f"{error}\n{machine.output[-1500:]}") from None
            return machine.output


# ---- the peer ----

def closure(program):
    """The program's libraries, and what it loads itself."""
    text = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    return sorted(set(re.findall(r"(/\S+)", text)))


def peer_files(settings):
    """[(path in the initramfs, file here, mode)]"""
    qemu = next((p for p in (f"/usr/bin/{INNER_QEMU}", f"/usr/local/bin/{INNER_QEMU}") if os.path.exists(p)), None)
    if not qemu:
        raise Unavailable(f"{INNER_QEMU} is not installed")
    files = [(f"/usr/bin/{INNER_QEMU}", qemu)] + [(path, path) for path in closure(qemu)]
    # Found relative to the program: it must lie where Debian has it.
    module = "/usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so"
    files += [(module, module)] if os.path.exists(module) else []
    for name in ("bios-256k.bin", "pvh.bin", "linuxboot_dma.bin", "kvmvapic.bin"):
        found = next((p for p in (f"/usr/share/qemu/{name}", f"/usr/share/seabios/{name}") if os.path.exists(p)), None)
        files += [(f"/usr/share/qemu/{name}", found)] if found else []
    files += [("/bin/timed", os.path.join(settings.build, "bench/timed")), ("/peer/run", os.path.join(HERE, "guest/peer-run")), ("/peer/vmlinuz", settings.guest("vmlinuz-cloud")),
              ("/peer/initramfs", os.path.join(settings.build, "bench/linux.cpio"))]
    return files + [(f"/peer/{name}.elf", settings.payload(name)) for name in ("bench-work", "bench-nano", "bench-smc")]


def peer_initramfs(settings):
    """Debian with QEMU and the guests: made once for a build."""
    folder = os.path.join(settings.build, "bench")
    result = os.path.join(folder, "peer.cpio")
    files = peer_files(settings)
    if os.path.exists(result) and all(os.path.getmtime(f) <= os.path.getmtime(result) for _, f in files):
        return result
    with open(os.path.join(folder, "peer.cmdline"), "w", encoding="ascii") as f:
        f.write(f"{CMDLINE} nd.run=/bench/run\n")
    files.append(("/peer/cmdline", os.path.join(folder, "peer.cmdline")))
    with open(os.path.join(folder, "peer.list"), "w", encoding="ascii") as f:
        f.write("".join(f"file {path} {os.path.realpath(source)} 755\n" for path, source in files))
    made = subprocess.run(["boot/mkinitramfs.py", "--packages", os.path.join(settings.build, "packages"), "-o", result,
                           "boot/initramfs/shell.list", os.path.join(folder, "peer.list")], check=False)
    if made.returncode:
        raise Unavailable("the peer's initramfs cannot be made")
    return result


def peer(settings, job, timeout, counted):
    """What a job of guest/peer-run prints in the inner QEMU. Linux does not end its machine there: without ACPI it halts."""
    mark = b"bench-end" if job == "linux" else f"peer-end {job}".encode()
    output = until(settings, mark, 2 * timeout if counted else PEER_TIMED_LIMIT, counted=counted, memory="1G", mode="native",
                   guest=settings.guest("vmlinuz-cloud"), initrd=peer_initramfs(settings),
                   cmdline=f"{CMDLINE} nd.run=/peer/run peer={job}")
    return output.split(f"peer-begin {job}")[-1]


# ---- results ----

def stamped(output):
    """{name: cycles}: the least of the times between the first and second, third and fourth ... stamp before its line."""
    found, stamps = {}, []
    for match in STAMP.finditer(output):
        if match[1]:
            stamps.append(int(match[1]))
        else:
            found[match[2]] = min((end - begin for begin, end in zip(stamps[::2], stamps[1::2])), default=0)
            stamps = []
    return found


def linux(settings, mode, timeout, counted=False):
    """The Linux workloads, the long ones only when counting: {name: cycles}; `boot` is from the guest's first instruction to its first program."""
    if mode == "peer":
        output = peer(settings, "linux", timeout, counted)
        found, start = stamped(output), 0  # the first stamp is its start
    else:
        output = until(settings, b"bench-end", timeout, counted=counted, mode=mode, guest=settings.guest("vmlinuz-cloud"),
                       initrd=os.path.join(settings.build, "bench/linux.cpio"),
                       cmdline=f"{CMDLINE} nd.run=/bench/{'run-long' if counted else 'run'}")
        start = int(re.search(r"starts when the TSC is (\d+)", output)[1])
        found = {name: int(value) for name, value in BENCH.findall(output)}
    if not all(found.get(name) for name in ("boot", "sqlite-warm")):
        raise Broken(f"no results\n{output[-1500:]}")
    found["boot"] -= start
    return found
