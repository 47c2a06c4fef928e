/* SPDX-License-Identifier: MIT */
/*
 * kernel/load*.c on fake guest RAM: where things are put, what the guest is told, which message
 * each mistake gets. Physical addresses of modules are host pointers here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/lib/bzimage.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/irq.h"
#include "drivers/vdev/machine.h"
#include "kernel/acpi.h"
#include "kernel/load-priv.h"
#include "kernel/payload-abi.h"
#include "mm/host.h"
#include "mm/ram.h"
#include "tests/host/sample-files.h"

#define MIB(n)   ((uint64_t)(n) << 20)
#define FOUR_GIB (4ull << 30)

/* ---- environment: console, guest RAM ---- */

static char console[1024];
static uint8_t *ram_block;
static uint64_t ram_size;

uint32_t log_mask;
uint64_t tsc_khz = 2500000;

void printk(const char *fmt, ...)
{
    size_t len = strlen(console);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(console + len, sizeof(console) - len, fmt, ap);
    va_end(ap);
}

void log_line(const char *channel, const char *fmt, ...)
{
}

void panic(const char *fmt, ...)
{
    fprintf(stderr, "panic: %s\n", fmt);
    abort();
}

void *phys_to_virt(hpa_t hpa)
{
    return (void *)hpa;
}

bool gpa_to_ram(gpa_t gpa, ram_addr_t *ram)
{
    if (gpa >= ram_size || gpa >= GUEST_RAM_LOW_MAX) {
        return false;
    }
    *ram = gpa;
    return true;
}

void *ram_to_virt(ram_addr_t ram)
{
    return ram_block + ram;
}

bool gpa_range_is_ram(gpa_t gpa, uint64_t len)
{
    uint64_t low = MIN(ram_size, GUEST_RAM_LOW_MAX);

    if (gpa >= FOUR_GIB) {
        return len <= ram_size - low && gpa - FOUR_GIB <= ram_size - low - len;
    }
    return len <= low && gpa <= low - len;
}

/* ---- one loading ---- */

static struct boot_info bi;
static struct conf conf;
static struct load ld;

/* Zeroed RAM; what the last loading filled is cleared if the size is the same, which is faster. */
static void create_ram(uint64_t memory)
{
    if (memory != ram_size) {
        free(ram_block);
        ram_size = memory;
        ram_block = calloc(1, memory);
        assert_non_null(ram_block);
        return;
    }
    for (unsigned i = 0; i < ld.range_count; i++) {
        memset(ram_block + ld.range[i].base, 0, ld.range[i].len);
    }
}

static void begin(uint64_t memory, const void *guest, size_t len)
{
    create_ram(memory);
    memset(&bi, 0, sizeof(bi));
    memset(&conf, 0, sizeof(conf));
    console[0] = '\0';
    conf.memory = memory;
    strcpy(conf.guest, "g");
    strcpy(bi.guest.name, "g");
    bi.guest.addr = (uintptr_t)guest;
    bi.guest.len = len;
}

static void set_initrd(const void *data, size_t len)
{
    strcpy(conf.initrd, "i");
    bi.initrd.addr = (uintptr_t)data;
    bi.initrd.len = len;
}

/* Whatever was loaded: ranges ascend, do not overlap, and are RAM by the map that the guest is
 * shown. */
static void check_ranges(void)
{
    uint64_t past = 0;

    for (unsigned i = 0; i < ld.range_count; i++) {
        const struct load_range *r = &ld.range[i];
        bool inside = false;

        assert_true(r->len && r->base >= past);
        past = r->base + r->len;
        for (unsigned k = 0; k < ld.mem_count; k++) {
            inside |= ld.mem[k].type == BOOT_MEM_USABLE && r->base >= ld.mem[k].base &&
                      past <= ld.mem[k].base + ld.mem[k].len;
        }
        assert_true(inside);
    }
}

static void load_ok(void)
{
    if (load_guest(&ld, &bi, &conf) != 0) {
        fail_msg("refused: %s", console);
    }
    assert_string_equal(console, "");
    check_ranges();
}

/* Refused with exactly one line, which holds `text`. */
static void load_fails(const char *text)
{
    assert_true(load_guest(&ld, &bi, &conf) < 0);
    if (!strstr(console, text)) {
        fail_msg("expected '%s', found '%s'", text, console);
    }
    assert_ptr_equal(strchr(console, '\n'), console + strlen(console) - 1);
}

static uint64_t table_entry(uint64_t table, unsigned index)
{
    return ((const uint64_t *)(ram_block + table))[index];
}

/* ---- common state ---- */

static void test_start_state(void **state)
{
    uint8_t file[SAMPLE_ELF_LEN];
    uint64_t code, data;

    make_sample_elf(file);
    put_field(file, ELF_ENTRY, 0x200010, 8);
    begin(MIB(4), file, sizeof(file));
    load_ok();
    assert_int_equal(ld.start.rip, 0x200010);
    assert_int_equal(ld.start.rflags, 2);
    assert_int_equal(ld.start.gpr[4] % 16, 8);
    assert_int_equal(ld.start.cr0 & 0x80000001, 0x80000001);
    assert_int_equal(ld.start.efer & 0x500, 0x500);
    for (uint64_t pa = 0; pa < FOUR_GIB; pa += MIB(2)) { /* follow the tables */
        uint64_t pdpt = table_entry(ld.start.cr3, 0) & ~0xfffull;
        uint64_t pd = table_entry(pdpt, (unsigned)(pa >> 30)) & ~0xfffull;

        assert_int_equal(table_entry(pd, (unsigned)(pa >> 21) & 511), pa | 0x83);
    }
    assert_true(ld.start.gdt_limit >= ld.start.ds + 7);
    code = table_entry(ld.start.gdt_base, ld.start.cs / 8);
    data = table_entry(ld.start.gdt_base, ld.start.ds / 8);
    assert_int_equal(code >> 40 & 0xff, 0x9b); /* present, DPL 0, code */
    assert_int_equal(code >> 53 & 3, 1);       /* L = 1, D = 0 */
    assert_int_equal(data >> 40 & 0xff, 0x93);
}

static void test_unknown_file(void **state)
{
    begin(MIB(4), "#!/bin/sh\n", 10);
    load_fails("neither an ELF64 file nor a Linux bzImage");
    begin(MIB(4), NULL, 0);
    load_fails("'g' was not found");
}

/* ---- payloads ---- */

static void test_elf(void **state)
{
    uint8_t file[SAMPLE_ELF_LEN], zero[0x2000 - 0x80] = {0};
    static const uint8_t disk[5000] = {1, 2, 3};
    const struct payload_info *info;

    make_sample_elf(file);
    put_field(file, ELF_ENTRY, 0x200010, 8);
    begin(MIB(256), file, sizeof(file));
    set_initrd(disk, sizeof(disk));
    strcpy(conf.cmdline, "a=1 b");
    bi.rsdp = 0x1234; /* the host's, not for a virtual machine */
    load_ok();
    assert_memory_equal(ram_block + 0x200000, file + 0x200, 0x100);
    assert_memory_equal(ram_block + 0x201000, file + 0x300, 0x80);
    assert_memory_equal(ram_block + 0x201080, zero, sizeof(zero));
    info = (const struct payload_info *)(ram_block + ld.start.gpr[7]);
    assert_int_equal(info->magic, PAYLOAD_MAGIC);
    assert_int_equal(info->version, PAYLOAD_VERSION);
    assert_string_equal((const char *)ram_block + info->cmdline, "a=1 b");
    assert_int_equal(info->tsc_khz, tsc_khz);
    assert_int_equal(info->rsdp, 0);
    assert_int_equal(info->initrd_len, sizeof(disk));
    assert_int_equal(info->initrd % 4096, 0);
    assert_true(info->initrd + sizeof(disk) <= MIB(256) && info->initrd > MIB(256) - 3 * 4096);
    assert_memory_equal(ram_block + info->initrd, disk, sizeof(disk));
    assert_int_equal(info->mem_count, 3);
    assert_int_equal(info->mem[2].base + info->mem[2].len, MIB(256));
}

static void test_elf_refused(void **state)
{
    uint8_t file[SAMPLE_ELF_LEN];
    static uint8_t disk[4 << 20];

    make_sample_elf(file);
    begin(MIB(4), file, sizeof(file));
    load_fails("lies in no segment"); /* the sample's entry is a virtual address */
    put_field(file, ELF_ENTRY, 0x200010, 8);
    begin(MIB(2), file, sizeof(file));
    load_fails("guest larger than memory: segment 0 needs 3 MiB, memory = 2 MiB; raise `memory`");
    begin(MIB(4), file, sizeof(file));
    set_initrd(disk, sizeof(disk));
    load_fails("no room for an initrd of 4 MiB, memory = 4 MiB; raise `memory`");
    begin(MIB(4), file, sizeof(file));
    strcpy(conf.initrd, "i");
    load_fails("initrd: the file 'i' was not found");
    put_field(file, ELF_PHDR(0) + PHDR_PADDR, 0x80000, 8);
    begin(MIB(4), file, sizeof(file));
    load_fails("segment 0 is at 0x80000; payloads are loaded at 1 MiB and above");
    put_field(file, ELF_PHDR(0) + PHDR_PADDR, GUEST_RAM_LOW_MAX - 0x80, 8);
    begin(MIB(4), file, sizeof(file));
    load_fails("must lie below 3 GiB");
}

/* ---- Linux ---- */

static uint64_t bp_field(unsigned offset, unsigned size)
{
    uint64_t v = 0;

    memcpy(&v, ram_block + ld.start.gpr[6] + offset, size);
    return v;
}

static uint64_t acpi_field(uint64_t gpa, unsigned size)
{
    uint64_t v = 0;

    assert_true(gpa >= ACPI_BASE && gpa + size <= ACPI_BASE + ACPI_SIZE);
    memcpy(&v, ram_block + gpa, size);
    return v;
}

/* A table with this signature, whose bytes sum to 0. Returns its address. */
static uint64_t acpi_table(uint64_t gpa, const char *signature)
{
    uint64_t len = acpi_field(gpa + 4, 4);
    uint8_t sum = 0;

    assert_memory_equal(ram_block + gpa, signature, 4);
    assert_true(len >= 36 && gpa + len <= ACPI_BASE + ACPI_SIZE);
    for (uint64_t i = 0; i < len; i++) {
        sum += ram_block[gpa + i];
    }
    assert_int_equal(sum, 0);
    return gpa;
}

/* As a guest goes through them, from the RSDP on. */
static void check_acpi(void)
{
    uint8_t sum = 0, extended = 0;
    uint64_t xsdt, fadt, dsdt, facs;

    assert_memory_equal(ram_block + ACPI_BASE, "RSD PTR ", 8);
    for (unsigned i = 0; i < 36; i++) {
        extended += ram_block[ACPI_BASE + i];
        sum += i < 20 ? ram_block[ACPI_BASE + i] : 0;
    }
    assert_int_equal(sum, 0);
    assert_int_equal(extended, 0);
    xsdt = acpi_table(acpi_field(ACPI_BASE + 24, 8), "XSDT");
    assert_int_equal(acpi_field(xsdt + 4, 4), 36 + 8);
    fadt = acpi_table(acpi_field(xsdt + 36, 8), "FACP");
    dsdt = acpi_table(acpi_field(fadt + 40, 4), "DSDT");
    assert_int_equal(acpi_field(fadt + 140, 8), dsdt);
    facs = acpi_field(fadt + 36, 4);
    assert_memory_equal(ram_block + facs, "FACS", 4);
    assert_int_equal(facs % 64, 0);
    assert_int_equal(acpi_field(fadt + 46, 2), VMACHINE_IRQ_SCI);
    assert_int_equal(acpi_field(fadt + 56, 4), VMACHINE_ACPI_PM);     /* PM1a event block */
    assert_int_equal(acpi_field(fadt + 64, 4), VMACHINE_ACPI_PM + 4); /* PM1a control block */
    assert_int_equal(acpi_field(fadt + 76, 4), VMACHINE_ACPI_PM + 8); /* timer */
    assert_int_equal(acpi_field(fadt + 120, 8), 0xcf9);               /* reset register */
}

static void test_linux(void **state)
{
    static uint8_t file[SAMPLE_BZIMAGE_LEN];
    static const uint8_t disk[5000] = {7, 8, 9};
    struct bzimage bz;
    const char *why;

    make_sample_bzimage(file);
    assert_int_equal(bzimage_open(&bz, file, sizeof(file), &why), 0);
    begin(MIB(256), file, sizeof(file));
    set_initrd(disk, sizeof(disk));
    strcpy(conf.cmdline, "console=ttyS0");
    load_ok();
    assert_int_equal(ld.start.rip, bz.pref_address + 0x200);
    assert_memory_equal(ram_block + bz.pref_address, bz.payload, bz.payload_len);
    assert_int_equal(bp_field(0x202, 4), 0x53726448); /* HdrS */
    assert_int_equal(bp_field(0x210, 1), 0xff);
    assert_int_equal(bp_field(0x214, 4), bz.pref_address);
    assert_int_equal(bp_field(0x070, 8), ACPI_BASE);
    check_acpi();
    assert_int_equal(bp_field(0x21c, 4), sizeof(disk));
    assert_memory_equal(ram_block + bp_field(0x218, 4), disk, sizeof(disk));
    assert_string_equal((const char *)ram_block + bp_field(0x228, 4), "console=ttyS0");
    assert_int_equal(bp_field(0x1e8, 1), 3);
    assert_int_equal(bp_field(0x2d0, 8), 0);
    assert_int_equal(bp_field(0x2d8, 8), 0x9fc00);
    assert_int_equal(bp_field(0x2e0, 4), 1);
    assert_int_equal(bp_field(0x2e4, 8), 0x9fc00);
    assert_int_equal(bp_field(0x2f4, 4), 2);
    assert_int_equal(bp_field(0x2f8, 8), MIB(1));
    assert_int_equal(bp_field(0x300, 8), MIB(255));
}

/* An ELF file with a note of Linux's is entered as a kernel is, with a set-up header made for it. */
static void test_vmlinux(void **state)
{
    static uint8_t file[SAMPLE_ELF_LEN];
    static const uint8_t disk[5000] = {7, 8, 9};

    make_sample_elf(file);
    put_field(file, ELF_ENTRY, 0x200010, 8);
    memcpy(file + 0x200, "\6\0\0\0\0\0\0\0\1\1\0\0Linux\0\0", 20);
    begin(MIB(256), file, sizeof(file));
    set_initrd(disk, sizeof(disk));
    strcpy(conf.cmdline, "console=ttyS0");
    load_ok();
    assert_int_equal(ld.start.rip, 0x200010);
    assert_int_equal(ld.start.gpr[6], LOAD_INFO);
    assert_memory_equal(ram_block + 0x201000, file + 0x300, 0x80);
    assert_int_equal(bp_field(0x1fe, 2), 0xaa55);
    assert_int_equal(bp_field(0x202, 4), 0x53726448); /* HdrS */
    assert_int_equal(bp_field(0x206, 2), 0x020c);
    assert_int_equal(bp_field(0x210, 1), 0xff);
    assert_int_equal(bp_field(0x211, 1), 1);
    assert_int_equal(bp_field(0x21c, 4), sizeof(disk));
    assert_memory_equal(ram_block + bp_field(0x218, 4), disk, sizeof(disk));
    assert_string_equal((const char *)ram_block + bp_field(0x228, 4), "console=ttyS0");
    assert_int_equal(bp_field(0x1e8, 1), 3);
    begin(MIB(256), file, sizeof(file));
    put_field(file, ELF_ENTRY, 0x300000, 8);
    load_fails("lies in no segment");
}

static void test_linux_relocated(void **state)
{
    static uint8_t file[SAMPLE_BZIMAGE_LEN];
    struct bzimage bz;
    const char *why;

    make_sample_bzimage(file);
    put_field(file, 0x260, MIB(4), 4); /* init_size */
    put_field(file, 0x230, MIB(2), 4); /* kernel_alignment */
    assert_int_equal(bzimage_open(&bz, file, sizeof(file), &why), 0);
    begin(MIB(16), file, sizeof(file)); /* the preferred 16 MiB is past the end, and below a kernel moves itself there */
    load_fails("needs 20 MiB, memory = 16 MiB; raise `memory`");
    begin(MIB(18), file, sizeof(file)); /* room, but not for all of it */
    load_fails("needs 20 MiB, memory = 18 MiB; raise `memory`");
    begin(MIB(20), file, sizeof(file));
    load_ok();
    assert_int_equal(ld.start.rip, MIB(16) + 0x200);
    put_field(file, 0x258, MIB(17), 8); /* a preferred address that is not aligned: it would move to 18 MiB */
    begin(MIB(64), file, sizeof(file));
    load_ok();
    assert_int_equal(ld.start.rip, MIB(18) + 0x200);
    put_field(file, 0x258, 0xffffffffff900000, 8); /* aligned, it would wrap */
    begin(MIB(64), file, sizeof(file));
    load_fails("larger than memory");
    put_field(file, 0x258, MIB(16), 8);
    put_field(file, 0x234, 0, 1); /* not relocatable */
    begin(MIB(16), file, sizeof(file));
    load_fails("needs 20 MiB, memory = 16 MiB; raise `memory`");
}

static void test_linux_limits(void **state)
{
    static uint8_t file[SAMPLE_BZIMAGE_LEN];
    static const uint8_t disk[100] = {1};

    make_sample_bzimage(file);
    put_field(file, 0x260, MIB(8), 4);
    put_field(file, 0x22c, MIB(64) - 1, 4); /* initrd_addr_max */
    begin(MIB(256), file, sizeof(file));
    set_initrd(disk, sizeof(disk));
    load_ok();
    assert_true(bp_field(0x218, 4) + sizeof(disk) <= MIB(64) && bp_field(0x218, 4) > MIB(63));
    put_field(file, 0x238, 10, 4); /* cmdline_size */
    begin(MIB(256), file, sizeof(file));
    strcpy(conf.cmdline, "0123456789");
    load_ok();
    begin(MIB(256), file, sizeof(file));
    strcpy(conf.cmdline, "0123456789a");
    load_fails("the command line has 11 characters, this guest takes 10");
}

/* ---- native: the host's memory map ---- */

static void add_mem(uint64_t base, uint64_t len, uint32_t type)
{
    bi.mem[bi.mem_count++] = (struct boot_mem_range){base, len, type, 0};
}

static void test_native_map(void **state)
{
    static uint8_t file[SAMPLE_BZIMAGE_LEN];

    make_sample_bzimage(file);
    put_field(file, 0x260, MIB(8), 4);
    put_field(file, 0x230, MIB(2), 4);
    begin(MIB(64), file, sizeof(file));
    conf.mode = CONF_MODE_NATIVE;
    bi.rsdp = 0xf1234;
    add_mem(0, 0xa0000, BOOT_MEM_USABLE);
    add_mem(MIB(1), MIB(5), BOOT_MEM_USABLE);
    add_mem(MIB(6), MIB(2), BOOT_MEM_ACPI_NVS);
    add_mem(MIB(8), MIB(4), BOOT_MEM_USABLE);
    add_mem(MIB(12), MIB(5),
            BOOT_MEM_LOADER); /* ours: free by then; one range with its neighbour */
    add_mem(MIB(17), MIB(4), BOOT_MEM_RUNTIME);
    add_mem(MIB(21), MIB(100), BOOT_MEM_USABLE);
    add_mem(MIB(200), MIB(1), BOOT_MEM_RESERVED);
    load_ok();
    assert_int_equal(ld.start.rip, MIB(22) + 0x200); /* the firmware has 17 to 21 MiB, and from 8 MiB it would go to 16 */
    assert_int_equal(bp_field(0x070, 8), 0xf1234);
    assert_int_equal(ld.mem_count, 7);
    assert_int_equal(ld.mem[3].base, MIB(8));
    assert_int_equal(ld.mem[3].len, MIB(9));
    assert_int_equal(ld.mem[5].base + ld.mem[5].len, MIB(64)); /* cut off at `memory` */
    assert_int_equal(bp_field(0x2d0 + 4 * 20 + 16, 4), 2);     /* runtime services are reserved */
    assert_int_equal(ld.mem[6].base, MIB(200));
}

static void test_native_occupied(void **state)
{
    uint8_t file[SAMPLE_ELF_LEN];

    make_sample_elf(file);
    put_field(file, ELF_ENTRY, 0x200010, 8);
    begin(MIB(64), file, sizeof(file));
    conf.mode = CONF_MODE_NATIVE;
    add_mem(0, 0xa0000, BOOT_MEM_USABLE);
    add_mem(MIB(1), MIB(1), BOOT_MEM_USABLE);
    add_mem(MIB(2), 0x1000, BOOT_MEM_ACPI_NVS);
    add_mem(MIB(2) + 0x1000, MIB(60), BOOT_MEM_USABLE);
    load_fails("segment 0 at 0x200000, 0x100 bytes: not RAM on this machine");
}

/* Random maps, kernels and RAM disks: whatever is accepted lies in RAM and apart (load_ok checks),
 * and most is accepted. */
static void test_random_maps(void **state)
{
    static uint8_t file[SAMPLE_BZIMAGE_LEN];
    static uint8_t disk[3 << 20];
    unsigned accepted = 0;

    make_sample_bzimage(file);
    srand(7);
    for (unsigned i = 0; i < 300; i++) {
        uint64_t at = MIB(1);

        put_field(file, 0x260, MIB(1 + rand() % 8), 4);
        put_field(file, 0x230, 1u << (12 + rand() % 12), 4);
        begin(MIB(64), file, sizeof(file));
        set_initrd(disk, (size_t)(1 + rand() % (int)sizeof(disk)));
        conf.mode = CONF_MODE_NATIVE;
        add_mem(0, 0xa0000, BOOT_MEM_USABLE);
        while (at < MIB(80)) {
            uint64_t len = 4096ull * (uint64_t)(1 + rand() % 4000);

            add_mem(at, len, rand() % 3 ? BOOT_MEM_USABLE : BOOT_MEM_RESERVED);
            at += len + (rand() % 2 ? 0 : 4096ull * (uint64_t)(rand() % 100));
        }
        if (load_guest(&ld, &bi, &conf) == 0) {
            check_ranges();
            assert_memory_equal(ram_block + bp_field(0x218, 4), disk, bi.initrd.len);
            accepted++;
        }
    }
    assert_true(accepted > 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start_state),
        cmocka_unit_test(test_unknown_file),
        cmocka_unit_test(test_elf),
        cmocka_unit_test(test_elf_refused),
        cmocka_unit_test(test_linux),
        cmocka_unit_test(test_vmlinux),
        cmocka_unit_test(test_linux_relocated),
        cmocka_unit_test(test_linux_limits),
        cmocka_unit_test(test_native_map),
        cmocka_unit_test(test_native_occupied),
        cmocka_unit_test(test_random_maps),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    free(ram_block);
    return failed;
}
