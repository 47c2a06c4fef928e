/* SPDX-License-Identifier: MIT */
/* See snippet.h. */
#include "tests/payloads/lib/snippet.h"

#include "tests/payloads/lib/irq.h"

void snippet_init(void)
{
    pic_init(); /* all masked: at reset it would deliver IRQ 0 as vector 8 once IF is set */
    page_map(SNIPPET_CODE, (uint64_t)page_alloc(), PTE_P | PTE_W | PTE_U);
    page_map(SNIPPET_STACK, (uint64_t)page_alloc(), PTE_P | PTE_W | PTE_U);
    page_map(SNIPPET_STACK + PAGE_SIZE, (uint64_t)page_alloc(), PTE_P | PTE_W | PTE_U);
}

uint64_t snippet_put(uint64_t offset, const uint8_t *code, size_t len)
{
    memcpy((void *)(SNIPPET_CODE + offset), code, len);
    return SNIPPET_CODE + offset;
}

void snippet_state(struct cpu_state *s, bool user)
{
    cpu_state_init(s, (const void *)SNIPPET_CODE, SNIPPET_STACK_TOP - 64, user);
    for (uint64_t i = 0; i < GPR_COUNT; i++) {
        if (i != RSP) {
            s->gpr[i] = 0x0101010101010101ull * (i + 0xa0);
        }
    }
    s->gpr[RCX] = 0;
    s->rflags |= FLAGS_ARITH;
}

void check_unchanged(const char *what, const struct cpu_state *before, const struct cpu_state *after)
{
    for (int i = 0; i < GPR_COUNT; i++) {
        check_eq(what, i, "register", after->gpr[i], before->gpr[i]);
    }
    check_eq(what, 0, "flags", after->rflags & FLAGS_CHECKED, before->rflags & FLAGS_CHECKED);
    check_eq(what, 0, "cs", after->cs, before->cs);
    check_eq(what, 0, "ss", after->ss, before->ss);
}
