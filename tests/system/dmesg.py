# SPDX-License-Identifier: MIT
"""The kernel's messages of a translated boot against those of a native boot of the same image (special: compare). Time stamps
and numbers do not count; every line that only one of the two has must be explained here."""
import re
import tempfile
import time

import machine
from shell import Shell
from specials import start
from verdict import CRASH, FAIL, OK, TIMEOUT, Verdict, plain_text

NATIVE, TRANSLATED = "native", "translate"
TRIES = 3
LINES_MIN = 200  # a boot has more; fewer would compare nothing
END = "Run /init as init process"

# (who has it, pattern, why)
EXPLAINED = (
    # The native run's machine is QEMU's Q35; ours has no PCI, no APIC, no HPET, no SMBIOS, and tables of its own.
    (NATIVE, r"SMBIOS |DMI: QEMU", "no SMBIOS tables"),
    (TRANSLATED, r"DMI not present", "no SMBIOS tables"),
    (None, r"ACPI: (RSDP|RSDT|XSDT|FACP|DSDT|FACS|APIC|HPET|MCFG|WAET) #", "tables of another firmware"),
    (NATIVE, r"ACPI: Reserving (APIC|HPET|MCFG|WAET) table", "tables of another firmware"),
    (NATIVE, r"ACPI: (LAPIC_NMI|INT_SRC_OVR|Using ACPI \(MADT\)|HPET id|Using IOAPIC|Enabled # GPEs|PCI: Interrupt link)",
     "no APIC, no PCI"),
    (NATIVE, r"IOAPIC\[|APIC: Switch to symmetric|\.\.TIMER: vector|APIC calibration|APIC delta", "no APIC"),
    (TRANSLATED, r"No local APIC present|APIC: disable apic|APIC: switched to apic NOOP|APIC disabled by BIOS|APIC: Keep in PIC",
     "no APIC"),
    (TRANSLATED, r"ACPI: setting ELCR|ACPI: Using PIC for interrupt", "no APIC"),
    (TRANSLATED, r"smpboot: weird, boot CPU|smpboot: SMP disabled|no APIC, boot with the|no hardware sampling", "no APIC"),
    (None, r"smpboot: CPU#: |Performance Events:|PMU not available", "no APIC: printed elsewhere, or cut in lines"),
    (None, r"ACPI: PM: \(supports", "no sleep states but S5"),
    (NATIVE, r"clocksource: hpet|hpet#: |tsc: using HPET", "no HPET"),
    (TRANSLATED, r"tsc: using PMTIMER", "no HPET"),
    (NATIVE, r"PCI: MMCONFIG|PCI: Using configuration type|ACPI: PCI Root Bridge|acpi PNP#A#|PCI host bridge|pci_bus |pci #:#:#",
     "no PCI"),
    (TRANSLATED, r"PCI: Fatal: No config space|PCI: System does not support PCI", "no PCI"),
    (TRANSLATED, r"ACPI FADT declares the system doesn't support", "no PCI"),
    (None, r"system #:#: |pnp: PnP ACPI: found|i#: PNP|i#: Probing ports|serio: i#|input: AT Translated",
     "other devices in the DSDT; no keyboard is plugged in"),
    (None, r"rtc_cmos #:#|ftrace?: allocated", "the clock cannot wake the machine; places in memory"),
    # Hidden features: docs/guest-cpu.md.
    (None, r"x#/PAT: |Disabled$", "no MTRRs"),
    (NATIVE, r"Using GB pages|HugeTLB: .*GiB", "1 GiB pages are hidden"),
    (NATIVE, r"x#/cpu: User Mode Instruction Prevention", "UMIP is hidden"),
    (NATIVE, r"x#/fpu: (Supporting XSAVE feature #: '(MPX|Protection)|xstate_offset)", "MPX and PKU are hidden"),
    # How fast the machine is decides which calibration succeeds.
    (None, r"tsc: |clocksource: (tsc|Switched|jiffies|refined|acpi_pm|timekeeping|  )|sched_clock: Marking|hrtimer: interrupt took", "timing"),
    (None, r"Command line: |Kernel command line: ", "wrapped, or cut by other lines"),
)


def messages(text):
    """{comparable form: line} of the kernel's messages up to the start of /init."""
    found = {}
    for line in re.findall(r"^\[ *\d+\.\d+\] (.*)$", text, re.M):
        form = re.sub(r"\d+", "#", re.sub(r"0x[0-9a-f]+|\b[0-9a-fA-F]{8,}\b", "#", line)).strip()
        found.setdefault(form, line)
        if line.startswith(END):
            break
    return found


def unexplained(native, translated):
    """{(who, form): text}: lines that one has and the other has not, for no reason that is known."""
    result = {}
    for who, ours, theirs in ((NATIVE, native, translated), (TRANSLATED, translated, native)):
        for form, line in ours.items():
            if form not in theirs and not any(w in (None, who) and re.match(pattern, form) for w, pattern, _ in EXPLAINED):
                result[who, form] = f"only {who}: {line}"
    return result


def boot_messages(runner, test, engine, deadline):
    with tempfile.TemporaryDirectory(prefix="dmesg-", dir=runner.build) as scratch:
        with start(runner, test.of_engine(engine), scratch, None) as m:
            Shell(m, deadline).prompt()
            return plain_text(m.output)


def compare(runner, test, factor):
    """What differs must differ again in every other pair of boots: on a busy machine a native boot was seen to lose a character of
    its early console, whose driver does not wait for the UART for ever."""
    different = None
    for _ in range(TRIES):
        deadline = time.monotonic() + test.timeout * factor
        try:
            texts = [boot_messages(runner, test, engine, deadline) for engine in (NATIVE, TRANSLATED)]
        except machine.ExpectTimeout as e:
            return Verdict(TIMEOUT if "not seen" in str(e) else CRASH, str(e))
        native, translated = map(messages, texts)
        for who, found in ((NATIVE, native), (TRANSLATED, translated)):
            if len(found) < LINES_MIN or END not in found:
                return Verdict(FAIL, f"the {who} boot has only {len(found)} lines, or never started /init", texts[1])
        now = unexplained(native, translated)
        different = now if different is None else {key: text for key, text in now.items() if key in different}
        if not different:
            return Verdict(OK, output=texts[1])
    return Verdict(FAIL, f"{len(different)} lines of dmesg differ and are not explained", "\n".join(different.values()))
