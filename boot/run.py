#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`make run`: boot the image (or the PVH bundle) in QEMU with the serial line on this terminal; Ctrl-A x quits. The exit status
says how the run ended (docs/boot.md, README); the last line on the console says it in words."""
import argparse
import contextlib
import os
import shlex
import signal
import sys
import termios
import tty

sys.dont_write_bytecode = True  # nothing is written outside build/

from machine import Machine, Options


@contextlib.contextmanager
def raw_terminal(fd):
    """Every key goes to the guest, Ctrl-C too, and back to normal afterwards. Nothing to do if fd is no terminal."""
    if fd is None or not os.isatty(fd):
        yield
        return
    saved = termios.tcgetattr(fd)
    try:
        tty.setraw(fd)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, saved)


def write_out(data):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def options_for(args):
    common = dict(memory=os.environ.get("MEM", "256M"), build=args.build,
                  qemu_extra=shlex.split(os.environ.get("QEMU_EXTRA", "")))
    if args.pvh:
        return Options(kernel=f"{args.build}/kernel.elf", bundle=f"{args.build}/bundle.cpio", **common)
    return Options(image=f"{args.build}/notdirty.img", **common)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--pvh", action="store_true", help="start the kernel directly, without firmware")
    parser.add_argument("--timeout", type=float, default=os.environ.get("TIMEOUT") or "0", help="seconds; 0 = none")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # by way of every cleanup
    stdin = sys.stdin.fileno() if sys.stdin else None
    with Machine(options_for(args), write_out) as machine, raw_terminal(stdin):
        status, reason = machine.wait(args.timeout, stdin)
    print(f"\nrun: {reason}; exit status {status}", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
