/* SPDX-License-Identifier: MIT */
/* The formats in which fnstenv and fnsave store: in 64-bit mode the 32-bit one, with an operand size prefix the 16-bit one. */
#include "dbt/x87-ip.h"

#include "kernel/lib/string.h"

unsigned x87_image_format(const struct insn *insn, const uint8_t *image, uint8_t *out)
{
    static const uint8_t words[7] = {0, 4, 8, X87_FIP_OFFSET, 16, 20, 24}; /* FCW FSW FTW FIP FCS FDP FDS */
    unsigned env = insn->op_size == 2 ? X87_ENV_SIZE / 2 : X87_ENV_SIZE;
    unsigned regs = insn->sens == SENS_FNSAVE ? X87_STATE_SIZE - X87_ENV_SIZE : 0;

    if (env == X87_ENV_SIZE) {
        memcpy(out, image, env);
    }
    for (unsigned i = 0; env != X87_ENV_SIZE && i < ARRAY_SIZE(words); i++) {
        memcpy(out + 2 * i, image + words[i], 2);
    }
    memcpy(out + env, image + X87_ENV_SIZE, regs);
    return env + regs;
}
