/* SPDX-License-Identifier: MIT */
/*
 * The virtual machine's DSDT: what its firmware would say of the devices in drivers/vdev/, and how it is switched off
 * (SLP_TYP 5 is ACPI_SLEEP_S5 of drivers/vdev/acpi-pm.h). Compiled by iasl into build/gen.
 */
DefinitionBlock ("", "DSDT", 2, "NDIRTY", "NDMACH", 1)
{
    Name (\_S5, Package () { 5, 0, 0, 0 })

    Scope (\_SB)
    {
        Device (PIC)
        {
            Name (_HID, EisaId ("PNP0000"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x20, 0x20, 1, 2)
                IO (Decode16, 0xa0, 0xa0, 1, 2)
                IO (Decode16, 0x4d0, 0x4d0, 1, 2)
                IRQNoFlags () { 2 }
            })
        }
        Device (TMR)
        {
            Name (_HID, EisaId ("PNP0100"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x40, 0x40, 1, 4)
                IRQNoFlags () { 0 }
            })
        }
        Device (RTC)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x70, 0x70, 1, 2)
                IRQNoFlags () { 8 }
            })
        }
        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 1)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x3f8, 0x3f8, 1, 8)
                IRQNoFlags () { 4 }
            })
        }
        Device (FIX) /* ports that belong to no driver: DMA, port 61, POST, port 92, power management, reset */
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x61, 0x61, 1, 1)
                IO (Decode16, 0x80, 0x80, 1, 1)
                IO (Decode16, 0x92, 0x92, 1, 1)
                IO (Decode16, 0x600, 0x600, 1, 12)
            })
        }
    }
}
