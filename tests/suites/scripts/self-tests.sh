#!/bin/sh
# SPDX-License-Identifier: MIT
# What the kernel itself says of the tests it made of itself at boot (docs/suites.md: which print, and which only when they fail).
# The same natively and translated.
fail() {
    echo "self-tests: $*"
    exit 1
}

dmesg >log || fail "no kernel messages"
for line in 'x86/mm: Checked W+X mappings: passed' 'alg: self-tests for CTR-KDF (hmac(sha256)) passed'; do
    grep -F "$line" log | sed 's/^\[[^]]*\] //' | grep . || fail "not among the kernel's messages: $line"
done
# Others speak only when they fail. An exception of the kernel's own is numbered, [#1]; a program's is none of its failures.
if grep -E '[sS]elf-?tests?.*(fail|FAIL)|kernel BUG|WARNING:|Oops|\[#[0-9]+\]' log; then
    fail "the kernel complains"
fi
# The crypto manager tests each algorithm against known answers when it is registered.
sed -n 's/^selftest *: //p' /proc/crypto | sort | uniq | grep -vx passed && fail "an algorithm did not pass"
awk '/^driver/ { d = $3 } /^selftest *: passed/ { print d, "passed" }' /proc/crypto | sort | grep . || fail "no algorithm in /proc/crypto"
