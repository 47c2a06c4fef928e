#!/bin/sh
# SPDX-License-Identifier: MIT
# Switch the function tracer on and off while the functions run: each time the kernel patches its own text at every traced
# function, by int3, with this very code in use. Arguments: how often, or for how long (60s); a glob of functions ('*' = all).
set -e
. /suites/turns.sh
turns=${1:-5} functions=${2:-vfs_*}
cd /sys/kernel/tracing
echo "$functions" >set_ftrace_filter
i=0
while more; do
    echo function >current_tracer
    echo 1 >tracing_on
    cat /proc/version >/dev/null
    ls / >/dev/null
    echo 0 >tracing_on
    grep -q 'vfs_read\|vfs_open' trace || { echo "nothing traced in turn $i"; exit 1; }
    echo nop >current_tracer
    : >trace
    ls / >/dev/null
    i=$((i + 1))
done
echo >set_ftrace_filter
echo 1 >tracing_on # as it was found
echo "on and off $i times"
