/* SPDX-License-Identifier: MIT */
/*
 * The loader's console: the firmware's, plus COM1 where the firmware has no console there. Output
 * only, apart from the key that ends a failed boot.
 */
#include "boot/loader.h"

#include "kernel/lib/printf.h"
#include "kernel/lib/types.h"

#define COM1            0x3f8
#define UART_IER        1
#define UART_FCR        2
#define UART_LCR        3
#define UART_MCR        4
#define UART_LSR        5
#define UART_SCR        7
#define UART_LSR_THRE   0x20
#define UART_SPIN_MAX   100000 /* a stuck UART must not stop the boot */

#define SECONDS         10000000ull /* in timer units of 100 ns */
#define WAIT_REAL       10
#define WAIT_HYPERVISOR 3 /* tests */

EFI_SYSTEM_TABLE *efi_st; /* owner: console_init; constant afterwards */
static bool use_com1;     /* owner: console_init; constant afterwards */

static void outb(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t inb(uint16_t port)
{
    uint8_t value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static bool com1_present(void)
{
    outb(COM1 + UART_SCR, 0x5a);
    if (inb(COM1 + UART_SCR) != 0x5a) {
        return false;
    }
    outb(COM1 + UART_SCR, 0xa5);
    return inb(COM1 + UART_SCR) == 0xa5;
}

/* 115200 8N1, FIFO on, no interrupts. */
static void com1_init(void)
{
    outb(COM1 + UART_IER, 0);
    outb(COM1 + UART_LCR, 0x80);
    outb(COM1 + 0, 1);
    outb(COM1 + 1, 0);
    outb(COM1 + UART_LCR, 0x03);
    outb(COM1 + UART_FCR, 0x07);
    outb(COM1 + UART_MCR, 0x03);
}

static void com1_put(char c)
{
    for (unsigned spin = 0; !(inb(COM1 + UART_LSR) & UART_LSR_THRE) && spin < UART_SPIN_MAX;
         spin++) {
        __builtin_ia32_pause();
    }
    outb(COM1, (uint8_t)c);
}

/*
 * True if one of the devices in the firmware's ConOut variable is a UART: its driver owns the port
 * then.
 */
static bool firmware_console_is_serial(void)
{
    static EFI_GUID global_variable = EFI_GLOBAL_VARIABLE;
    uint8_t paths[1024];
    UINTN size = sizeof(paths);

    if (EFI_ERROR(efi_st->RuntimeServices->GetVariable(L"ConOut", &global_variable, NULL, &size,
                                                       paths))) {
        return false;
    }
    for (UINTN pos = 0; pos + sizeof(EFI_DEVICE_PATH) <= size;) {
        const EFI_DEVICE_PATH *node = (const EFI_DEVICE_PATH *)&paths[pos];
        UINTN len = DevicePathNodeLength(node);

        if (DevicePathType(node) == MESSAGING_DEVICE_PATH &&
            DevicePathSubType(node) == MSG_UART_DP) {
            return true;
        }
        if (len < sizeof(EFI_DEVICE_PATH)) {
            break;
        }
        pos += len;
    }
    return false;
}

void console_init(EFI_SYSTEM_TABLE *st)
{
    efi_st = st;
    use_com1 = !firmware_console_is_serial() && com1_present();
    if (use_com1) {
        com1_init();
    }
}

static void put_char(char c)
{
    CHAR16 text[2] = {(CHAR16)(unsigned char)c, 0};

    efi_st->ConOut->OutputString(efi_st->ConOut, text);
    if (use_com1) {
        com1_put(c);
    }
}

static void put_text(const char *text)
{
    for (; *text; text++) {
        if (*text == '\n') {
            put_char('\r');
        }
        put_char(*text);
    }
}

static void say_v(const char *fmt, va_list ap)
{
    char text[512];

    vsnprintf(text, sizeof(text), fmt, ap);
    put_text(text);
}

void say(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    say_v(fmt, ap);
    va_end(ap);
}

EFI_STATUS fail(const char *fmt, ...)
{
    va_list ap;

    put_text("\nnotdirty: error: ");
    va_start(ap, fmt);
    say_v(fmt, ap);
    va_end(ap);
    put_text("\n");
    return EFI_LOAD_ERROR;
}

static bool runs_under_hypervisor(void)
{
    uint32_t eax = 1, ebx, ecx = 0, edx;

    __asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    return ecx >> 31;
}

void wait_before_return(void)
{
    unsigned seconds = runs_under_hypervisor() ? WAIT_HYPERVISOR : WAIT_REAL;
    EFI_EVENT events[2];
    UINTN fired;

    say("notdirty: press a key (or wait %u s) to return to the firmware\n", seconds);
    efi_st->ConIn->Reset(efi_st->ConIn, FALSE);
    events[0] = efi_st->ConIn->WaitForKey;
    if (EFI_ERROR(efi_st->BootServices->CreateEvent(EVT_TIMER, 0, NULL, NULL, &events[1]))) {
        return;
    }
    efi_st->BootServices->SetTimer(events[1], TimerRelative, seconds * SECONDS);
    efi_st->BootServices->WaitForEvent(2, events, &fired);
    efi_st->BootServices->CloseEvent(events[1]);
    say("notdirty: returning to the firmware\n");
}
