#!/bin/sh
# SPDX-License-Identifier: MIT
# Probes in kernel text, set and taken away while it runs: at a function's entry (by ftrace), at its return (by changing the return
# address) and in its middle (by int3 and single-step, or a jump). Argument: how often, or for how long (60s).
set -e
. /suites/turns.sh
turns=${1:-3}
cd /sys/kernel/tracing
echo 1 >tracing_on

# The first instruction boundary behind the entry that the kernel accepts.
middle() {
    offset=5
    while [ $offset -lt 40 ]; do
        echo "p:nd/middle do_sys_openat2+$offset" >>kprobe_events 2>/dev/null && { echo $offset; return; }
        offset=$((offset + 1))
    done
    echo none
}

i=0
while more; do
    echo 'p:nd/entry do_sys_openat2' >>kprobe_events
    echo 'r:nd/leave do_sys_openat2 $retval' >>kprobe_events
    at=$(middle)
    [ "$at" != none ] || { echo "no place for a probe"; exit 1; }
    echo 1 >events/nd/enable
    n=0
    while [ $n -lt 20 ]; do
        read -r line </proc/version
        n=$((n + 1))
    done
    echo 0 >events/nd/enable
    for event in entry leave middle; do
        hits=$(grep -c " $event: " trace)
        [ "$hits" -ge 20 ] || { echo "$event: $hits hits"; exit 1; }
    done
    echo >kprobe_events
    : >trace
    i=$((i + 1))
done
echo "probed $i times"
