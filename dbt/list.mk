# SPDX-License-Identifier: MIT
dbt-objs := dbt/decode.o dbt/decode-plain.o dbt/decode-table.o dbt/disas.o dbt/access.o
dbt-objs += dbt/tb-maint.o dbt/page-desc.o dbt/tb-hash.o dbt/tb-jmp.o dbt/tb-check.o dbt/page-state.o dbt/data-imm.o
dbt-objs += dbt/translator.o dbt/translate.o dbt/translate-branch.o dbt/translate-sens.o dbt/translate-check.o dbt/translate-imm.o dbt/translate-store.o dbt/store-form.o dbt/store-value.o dbt/translate-site.o dbt/store-site.o dbt/store-table.o dbt/translate-check-store.o dbt/rip-relative.o dbt/translate-all.o dbt/code-buffer.o dbt/jump-table.o
dbt-objs += dbt/link-set.o dbt/link-jmp.o dbt/link-check.o dbt/kernel-links.o
dbt-objs += dbt/notdirty.o dbt/sens-site.o dbt/cpu-exec.o
dbt-objs += dbt/debug.o
dbt-objs += dbt/x87-ip.o dbt/x87-image.o
kernel-objs += $(dbt-objs)
