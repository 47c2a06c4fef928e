/* SPDX-License-Identifier: MIT */
/*
 * The firmware's part of ACPI (specification 6.4, chapter 5): RSDP -> XSDT -> FADT -> FACS, DSDT. They say what drivers/vdev/
 * has: fixed hardware without buttons, reset by port 0xcf9, legacy devices, an 8259 pair and no APIC, hence no MADT.
 */
#include "kernel/acpi.h"

#include "drivers/vdev/machine.h"
#include "kernel/lib/string.h"

/* Offsets in the area. */
#define XSDT_AT 0x040
#define FACS_AT 0x080 /* 64-byte aligned */
#define FADT_AT 0x100
#define DSDT_AT 0x240

struct rsdp {
    char signature[8];
    uint8_t checksum; /* of the first 20 bytes */
    char oem[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length;
    uint64_t xsdt;
    uint8_t extended_checksum;
    uint8_t reserved[3];
} __attribute__((packed));

struct header {
    char signature[4];
    uint32_t length;
    uint8_t revision;
    uint8_t checksum;
    char oem[6];
    char oem_table[8];
    uint32_t oem_revision;
    char creator[4];
    uint32_t creator_revision;
} __attribute__((packed));

struct xsdt {
    struct header h;
    uint64_t entry[1];
} __attribute__((packed));

struct facs {
    char signature[4];
    uint32_t length;
    uint8_t unused[24];
    uint8_t version;
    uint8_t reserved[31];
} __attribute__((packed));

struct gas { /* generic address, 5.2.3.2 */
    uint8_t space;
    uint8_t bits;
    uint8_t offset;
    uint8_t access;
    uint64_t address;
} __attribute__((packed));

struct fadt { /* 5.2.9 */
    struct header h;
    uint32_t facs;
    uint32_t dsdt;
    uint8_t int_model;
    uint8_t pm_profile;
    uint16_t sci;
    uint32_t smi_command;
    uint8_t acpi_enable, acpi_disable, s4bios, pstate;
    uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer, gpe0, gpe1;
    uint8_t pm1_event_len, pm1_control_len, pm2_control_len, pm_timer_len, gpe0_len, gpe1_len, gpe1_base;
    uint8_t cst;
    uint16_t c2_latency, c3_latency, flush_size, flush_stride;
    uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
    uint16_t boot_arch;
    uint8_t reserved;
    uint32_t flags;
    struct gas reset;
    uint8_t reset_value;
    uint16_t arm_boot_arch;
    uint8_t minor;
    uint64_t x_facs, x_dsdt;
    struct gas x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control, x_pm2_control, x_pm_timer, x_gpe0, x_gpe1;
    struct gas sleep_control, sleep_status;
    uint64_t hypervisor;
} __attribute__((packed));

_Static_assert(sizeof(struct rsdp) == 36 && sizeof(struct header) == 36 && sizeof(struct facs) == 64, "ACPI 5.2");
_Static_assert(sizeof(struct fadt) == 276, "ACPI 5.2.9, revision 6");
_Static_assert(FADT_AT + sizeof(struct fadt) <= DSDT_AT, "tables do not overlap");

#define PROFILE_DESKTOP      1
#define BOOT_LEGACY_DEVICES  0x01
#define BOOT_8042            0x02
#define BOOT_NO_VGA          0x04
#define BOOT_NO_MSI          0x08
#define BOOT_NO_ASPM         0x10
#define FLAG_WBINVD          (1u << 0)
#define FLAG_PROC_C1         (1u << 2)
#define FLAG_NO_POWER_BUTTON (1u << 4) /* as fixed hardware; and there is no other */
#define FLAG_NO_SLEEP_BUTTON (1u << 5)
#define FLAG_NO_FIXED_RTC    (1u << 6) /* no wake-up status */
#define FLAG_RESET_REG       (1u << 10)
#define FLAG_HEADLESS        (1u << 12)

#define RESET_PORT           0xcf9
#define RESET_HARD           0x06
#define CMOS_CENTURY         0x32
#define SPACE_IO             1

static const uint8_t dsdt[] = {
#include "acpi-dsdt.inc"
};
_Static_assert(DSDT_AT + sizeof(dsdt) <= ACPI_SIZE, "the area holds all tables");

static uint8_t checksum(const void *table, uint32_t len)
{
    const uint8_t *p = table;
    uint8_t sum = 0;

    while (len--) {
        sum += *p++;
    }
    return (uint8_t)-sum;
}

static void finish(struct header *h, const char *signature, uint32_t len, uint8_t revision)
{
    memcpy(h->signature, signature, sizeof(h->signature));
    memcpy(h->oem, "NDIRTY", sizeof(h->oem));
    memcpy(h->oem_table, "NDMACH  ", sizeof(h->oem_table));
    memcpy(h->creator, "NDTY", sizeof(h->creator));
    h->oem_revision = 1;
    h->creator_revision = 1;
    h->length = len;
    h->revision = revision;
    h->checksum = 0;
    h->checksum = checksum(h, len);
}

static struct gas io_register(uint16_t port, uint8_t bytes)
{
    return (struct gas){.space = SPACE_IO, .bits = 8 * bytes, .access = bytes == 4 ? 3 : bytes, .address = port};
}

static void build_fadt(struct fadt *f)
{
    const uint16_t pm = VMACHINE_ACPI_PM;

    f->facs = ACPI_BASE + FACS_AT;
    f->dsdt = ACPI_BASE + DSDT_AT;
    f->x_dsdt = f->dsdt;
    f->pm_profile = PROFILE_DESKTOP;
    f->sci = VMACHINE_IRQ_SCI;
    f->pm1a_event = pm + ACPI_PM1_EVENT;
    f->pm1a_control = pm + ACPI_PM1_CONTROL;
    f->pm_timer = pm + ACPI_PM_TIMER;
    f->pm1_event_len = 4;
    f->pm1_control_len = 2;
    f->pm_timer_len = 4;
    f->x_pm1a_event = io_register(pm + ACPI_PM1_EVENT, 4);
    f->x_pm1a_event.access = 2; /* words: status, enable */
    f->x_pm1a_control = io_register(pm + ACPI_PM1_CONTROL, 2);
    f->x_pm_timer = io_register(pm + ACPI_PM_TIMER, 4);
    f->c2_latency = 0xffff; /* no C2, C3 */
    f->c3_latency = 0xffff;
    f->century = CMOS_CENTURY;
    f->boot_arch = BOOT_LEGACY_DEVICES | BOOT_8042 | BOOT_NO_VGA | BOOT_NO_MSI | BOOT_NO_ASPM;
    f->flags = FLAG_WBINVD | FLAG_PROC_C1 | FLAG_NO_POWER_BUTTON | FLAG_NO_SLEEP_BUTTON | FLAG_NO_FIXED_RTC |
               FLAG_RESET_REG | FLAG_HEADLESS;
    f->reset = io_register(RESET_PORT, 1);
    f->reset_value = RESET_HARD;
    f->minor = 3;
    finish(&f->h, "FACP", sizeof(*f), 6);
}

void acpi_build(uint8_t *area)
{
    struct rsdp *rsdp = (struct rsdp *)area;
    struct xsdt *xsdt = (struct xsdt *)(area + XSDT_AT);
    struct facs *facs = (struct facs *)(area + FACS_AT);

    memset(area, 0, ACPI_SIZE);
    memcpy(area + DSDT_AT, dsdt, sizeof(dsdt));
    memcpy(facs->signature, "FACS", sizeof(facs->signature));
    facs->length = sizeof(*facs);
    facs->version = 2;
    build_fadt((struct fadt *)(area + FADT_AT));
    xsdt->entry[0] = ACPI_BASE + FADT_AT;
    finish(&xsdt->h, "XSDT", sizeof(*xsdt), 1);
    memcpy(rsdp->signature, "RSD PTR ", sizeof(rsdp->signature));
    memcpy(rsdp->oem, "NDIRTY", sizeof(rsdp->oem));
    rsdp->revision = 2;
    rsdp->length = sizeof(*rsdp);
    rsdp->xsdt = ACPI_BASE + XSDT_AT;
    rsdp->checksum = checksum(rsdp, 20);
    rsdp->extended_checksum = checksum(rsdp, sizeof(*rsdp));
}
