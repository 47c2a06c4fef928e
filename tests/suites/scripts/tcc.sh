#!/bin/sh
# SPDX-License-Identifier: MIT
# tcc compiles a program into memory and runs it, and into a file, which must say the same.
set -e
cat >program.c <<'C'
int printf(const char *format, ...);
static unsigned table[256];
static unsigned crc(const char *p, int n)
{
    unsigned c = ~0u;
    while (n--) {
        c = c >> 8 ^ table[(c ^ *p++) & 255];
    }
    return ~c;
}
static double integrate(double (*f)(double), double a, double b, int n)
{
    double sum = 0, h = (b - a) / n;
    int i;
    for (i = 0; i < n; i++) {
        sum += f(a + (i + 0.5) * h);
    }
    return sum * h;
}
static double curve(double x) { return 4 / (1 + x * x); }
int main(void)
{
    int i, k;
    for (i = 0; i < 256; i++) {
        unsigned c = i;
        for (k = 0; k < 8; k++) {
            c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
        }
        table[i] = c;
    }
    printf("crc %08x\n", crc("123456789", 9));
    printf("pi %.10f\n", integrate(curve, 0, 1, 1000));
    return 0;
}
C
tcc -nostdinc -nostdlib -o program program.c /usr/lib/x86_64-linux-gnu/crt1.o /lib/x86_64-linux-gnu/libc.so.6
./program
i=0
while [ $i -lt 3 ]; do
    tcc -nostdinc -c -o again.o program.c
    i=$((i + 1))
done
md5sum again.o
