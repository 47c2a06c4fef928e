#!/bin/sh
# SPDX-License-Identifier: MIT
# Static keys and static calls: branches in kernel text patched from nop to jmp and back while the scheduler runs through them.
# Argument: how often, or for how long (60s).
set -e
. /suites/turns.sh
turns=${1:-20}
i=0
while more; do
    echo 1 >/proc/sys/kernel/sched_schedstats
    [ "$(cat /proc/sys/kernel/sched_schedstats)" = 1 ]
    /bin/true
    echo 0 >/proc/sys/kernel/sched_schedstats
    /bin/true
    i=$((i + 1))
done
turns=$i # what is printed
# Trace points: a static key and a static call each.
cd /sys/kernel/tracing
echo 1 >tracing_on
i=0
while [ $i -lt 5 ]; do
    echo 1 >events/sched/sched_switch/enable
    echo 1 >events/raw_syscalls/enable
    /bin/true
    echo 0 >events/raw_syscalls/enable
    echo 0 >events/sched/sched_switch/enable
    grep -q sched_switch: trace && grep -q sys_enter: trace || { echo "nothing traced"; exit 1; }
    : >trace
    i=$((i + 1))
done
echo "switched $turns times"
