# SPDX-License-Identifier: MIT
# A shell loop that forks: a child shell, a program and a pipe each time.
i=0
while [ $i -lt 5 ]; do
    x=$(echo $i | /bin/busybox cat)
    [ "$x" = $i ] || exit 1
    i=$((i + 1))
done
