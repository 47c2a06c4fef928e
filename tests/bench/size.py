# SPDX-License-Identifier: MIT
"""Translated bytes per guest byte, and what else the statistics say of three guests."""
from report import COUNTED, run_guest, statistics_of, table

TITLE = "Translation"


def measure(settings):
    guests = {
        "alu-checksum": dict(guest=settings.payload("alu-checksum"), append="timeout=60"),
        "memtest86+, 20 s": dict(guest=settings.guest("memtest86+x64.bin"), append="timeout=20"),
        "Debian's kernel": dict(guest=settings.guest("vmlinuz-cloud"), append="timeout=60",
                                cmdline="nokaslr console=ttyS0,115200 nosmp panic=-1", qemu_extra=COUNTED),
    }
    return {name: statistics_of(run_guest(settings, timeout=200, **options))
            for name, options in guests.items()}


def lines(result):
    rows = []
    for name, stat in result.items():
        rows.append([name, stat["guest_insn_translated"], stat["guest_bytes_translated"], stat["cache_bytes"],
                     stat["cache_bytes"] / stat["guest_bytes_translated"], stat["tb_gen"], stat["redo_tb"], stat["exit_total"]])
    return table(["guest", "guest insns", "guest bytes", "cache bytes", "ratio", "TBs", "redo TBs", "exits"], rows)
