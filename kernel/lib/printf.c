/* SPDX-License-Identifier: MIT */
/* vsnprintf() for integers and strings. Pure: no state, no allocation, no floating point. */
#include "kernel/lib/printf.h"

#include "kernel/lib/string.h"
#include "kernel/lib/types.h"

struct out {
    char *buf;
    size_t size;
    size_t len; /* of the whole, also what did not fit */
};

/* One conversion: flags, width, precision and where the argument is. */
struct spec {
    bool left, zero, plus, space, alt;
    unsigned width;
    int precision; /* -1: none given */
    unsigned size; /* bytes of the integer argument */
};

static void put(struct out *o, char c)
{
    if (o->len + 1 < o->size) {
        o->buf[o->len] = c;
    }
    o->len++;
}

static void put_many(struct out *o, char c, size_t n)
{
    while (n--) {
        put(o, c);
    }
}

static void put_text(struct out *o, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        put(o, s[i]);
    }
}

static const char *parse_flags(const char *p, struct spec *sp)
{
    for (;; p++) {
        switch (*p) {
        case '-':
            sp->left = true;
            break;
        case '0':
            sp->zero = true;
            break;
        case '+':
            sp->plus = true;
            break;
        case ' ':
            sp->space = true;
            break;
        case '#':
            sp->alt = true;
            break;
        default:
            return p;
        }
    }
}

static const char *parse_number(const char *p, unsigned *n)
{
    *n = 0;
    while (*p >= '0' && *p <= '9') {
        *n = *n * 10 + (unsigned)(*p++ - '0');
    }
    return p;
}

static const char *parse_size(const char *p, struct spec *sp)
{
    sp->size = sizeof(int);
    if (p[0] == 'h') {
        sp->size = p[1] == 'h' ? sizeof(char) : sizeof(short);
        return p + (p[1] == 'h' ? 2 : 1);
    }
    if (p[0] == 'l') {
        sp->size = sizeof(long);
        return p + (p[1] == 'l' ? 2 : 1);
    }
    if (p[0] == 'z') {
        sp->size = sizeof(size_t);
        return p + 1;
    }
    return p;
}

static uint64_t truncate_to(uint64_t v, unsigned size)
{
    return size >= 8 ? v : v & ((1ull << (size * 8)) - 1);
}

static int64_t sign_extend(uint64_t v, unsigned size)
{
    unsigned shift = 64 - size * 8;

    return (int64_t)(v << shift) >> shift;
}

/* Print sign or 0x prefix, padding and the digits of v; precision and the zero flag as C99 has
 * them. */
static void put_number(struct out *o, const struct spec *sp, uint64_t v, unsigned base, bool upper,
                       const char *prefix)
{
    const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    char rev[20]; /* 2^64 - 1 has 20 decimal digits */
    size_t n = 0, prefix_len = strlen(prefix), zeros = 0, pad;

    for (; v; v /= base) {
        rev[n++] = digits[v % base];
    }
    if (sp->precision >= 0) {
        zeros = (size_t)sp->precision > n ? (size_t)sp->precision - n : 0;
    } else if (n == 0) {
        zeros = 1;
    }
    pad = sp->width > prefix_len + zeros + n ? sp->width - (prefix_len + zeros + n) : 0;
    if (sp->zero && !sp->left && sp->precision < 0) {
        zeros += pad;
        pad = 0;
    }
    if (!sp->left) {
        put_many(o, ' ', pad);
    }
    put_text(o, prefix, prefix_len);
    put_many(o, '0', zeros);
    while (n) {
        put(o, rev[--n]);
    }
    if (sp->left) {
        put_many(o, ' ', pad);
    }
}

static void put_signed(struct out *o, const struct spec *sp, int64_t v)
{
    const char *sign = v < 0 ? "-" : sp->plus ? "+" : sp->space ? " " : "";

    put_number(o, sp, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 10, false, sign);
}

static void put_string(struct out *o, const struct spec *sp, const char *s, size_t n)
{
    size_t pad = sp->width > n ? sp->width - n : 0;

    if (!sp->left) {
        put_many(o, ' ', pad);
    }
    put_text(o, s, n);
    if (sp->left) {
        put_many(o, ' ', pad);
    }
}

static void put_pointer(struct out *o, const struct spec *sp, const void *p)
{
    if (p) {
        put_number(o, sp, (uintptr_t)p, 16, false, "0x");
    } else {
        put_string(o, sp, "(nil)", 5);
    }
}

/* One conversion other than %%; the argument list is a pointer because va_list may be an array
 * type. */
static void convert(struct out *o, const struct spec *sp, char conv, va_list *ap)
{
    uint64_t v;
    const char *s;
    char c;

    switch (conv) {
    case 'd':
    case 'i':
        v = sp->size == 8 ? va_arg(*ap, uint64_t) : va_arg(*ap, unsigned);
        put_signed(o, sp, sign_extend(v, sp->size));
        break;
    case 'u':
    case 'x':
    case 'X':
        v = truncate_to(sp->size == 8 ? va_arg(*ap, uint64_t) : va_arg(*ap, unsigned), sp->size);
        put_number(o, sp, v, conv == 'u' ? 10 : 16, conv == 'X',
                   sp->alt && conv != 'u' && v ? (conv == 'X' ? "0X" : "0x") : "");
        break;
    case 'c':
        c = (char)va_arg(*ap, int);
        put_string(o, sp, &c, 1);
        break;
    case 's':
        s = va_arg(*ap, const char *);
        s = s ? s : "(null)";
        put_string(o, sp, s, sp->precision >= 0 ? strnlen(s, (size_t)sp->precision) : strlen(s));
        break;
    case 'p':
        put_pointer(o, sp, va_arg(*ap, const void *));
        break;
    default: /* unknown: show it, so that the mistake is seen */
        put(o, '%');
        put(o, conv);
        break;
    }
}

static const char *parse_spec(const char *p, struct spec *sp, va_list *ap)
{
    unsigned n;

    p = parse_flags(p, sp);
    if (*p == '*') {
        int w = va_arg(*ap, int);

        sp->left |= w < 0;
        sp->width = w < 0 ? 0 - (unsigned)w : (unsigned)w;
        p++;
    } else {
        p = parse_number(p, &sp->width);
    }
    if (*p == '.') {
        if (p[1] == '*') {
            int prec = va_arg(*ap, int);

            sp->precision = prec < 0 ? -1 : prec;
            p += 2;
        } else {
            p = parse_number(p + 1, &n);
            sp->precision = (int)n;
        }
    }
    return parse_size(p, sp);
}

int vsnprintf(char *buf, size_t size, const char *fmt, va_list ap)
{
    struct out o = {.buf = buf, .size = size};
    va_list args;

    va_copy(args, ap);
    for (const char *p = fmt; *p; p++) {
        struct spec sp = {.precision = -1};

        if (*p != '%') {
            put(&o, *p);
            continue;
        }
        p = parse_spec(p + 1, &sp, &args);
        if (!*p) {
            break;
        }
        if (*p == '%') {
            put(&o, '%');
        } else {
            convert(&o, &sp, *p, &args);
        }
    }
    va_end(args);
    if (size) {
        buf[MIN(o.len, size - 1)] = '\0';
    }
    return (int)o.len;
}

int snprintf(char *buf, size_t size, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(buf, size, fmt, ap);
    va_end(ap);
    return n;
}
