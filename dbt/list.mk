# SPDX-License-Identifier: MIT
dbt-objs :=
kernel-objs += $(dbt-objs)
