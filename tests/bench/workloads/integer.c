/* SPDX-License-Identifier: MIT */
/* Integer work of the kinds that CoreMark has too: lists, matrices, a state machine, CRC. */
#include "tests/bench/workloads/work.h"

/* ---- lists ---- */
#define NODES 256

struct node {
    struct node *next;
    uint32_t key, value;
};
static struct node nodes[NODES];

static struct node *reverse(struct node *head)
{
    struct node *done = 0;

    while (head) {
        struct node *next = head->next;

        head->next = done;
        done = head;
        head = next;
    }
    return done;
}

static const struct node *find(const struct node *head, uint32_t key)
{
    while (head && head->key != key) {
        head = head->next;
    }
    return head;
}

static struct node *merge(struct node *a, struct node *b)
{
    struct node first, *last = &first;

    while (a && b) {
        struct node **from = a->value <= b->value ? &a : &b;

        last->next = *from;
        last = *from;
        *from = (*from)->next;
    }
    last->next = a ? a : b;
    return first.next;
}

static struct node *merge_sort(struct node *head)
{
    struct node *slow = head, *fast;

    if (!head || !head->next) {
        return head;
    }
    for (fast = head->next; fast && fast->next; fast = fast->next->next) {
        slow = slow->next;
    }
    fast = slow->next;
    slow->next = 0;
    return merge(merge_sort(head), merge_sort(fast));
}

uint64_t work_list(uint64_t n)
{
    uint32_t seed = 12345;
    uint64_t sum = 1;

    for (uint64_t round = 0; round < n; round++) {
        struct node *head = 0;

        for (uint32_t i = 0; i < NODES; i++) {
            nodes[i] = (struct node){.next = head, .key = i, .value = work_random(&seed)};
            head = &nodes[i];
        }
        for (unsigned i = 0; i < 32; i++) {
            const struct node *found = find(head, work_random(&seed) % (2 * NODES));

            sum = work_mix(sum, found ? found->value : i);
            head = i % 4 ? head : reverse(head);
        }
        for (head = merge_sort(head); head; head = head->next) {
            sum = work_mix(sum, head->key);
        }
    }
    return sum;
}

/* ---- matrices ---- */
#define DIM 48

static int32_t ma[DIM][DIM], mb[DIM][DIM], mc[DIM][DIM];

uint64_t work_matrix(uint64_t n)
{
    uint32_t seed = 99;
    uint64_t sum = 1;

    for (unsigned i = 0; i < DIM; i++) {
        for (unsigned j = 0; j < DIM; j++) {
            ma[i][j] = (int32_t)(work_random(&seed) >> 16);
            mb[i][j] = (int32_t)(work_random(&seed) >> 20);
        }
    }
    for (uint64_t round = 0; round < n; round++) {
        for (unsigned i = 0; i < DIM; i++) {
            for (unsigned j = 0; j < DIM; j++) {
                uint32_t acc = (uint32_t)round;

                for (unsigned k = 0; k < DIM; k++) {
                    acc += (uint32_t)ma[i][k] * (uint32_t)mb[k][j] >> 4;
                }
                mc[i][j] = (int32_t)acc;
            }
        }
        for (unsigned i = 0; i < DIM; i++) {
            ma[i][i] += mc[i][(i + round) % DIM] & 0xff;
            sum = work_mix(sum, (uint32_t)mc[i][i]);
        }
    }
    return sum;
}

/* ---- CRC ---- */
#define CRC_BYTES 8192
static uint8_t crc_data[CRC_BYTES];

uint64_t work_crc(uint64_t n)
{
    uint32_t seed = 7, crc = 0xffffffff;

    for (unsigned i = 0; i < CRC_BYTES; i++) {
        crc_data[i] = (uint8_t)work_random(&seed);
    }
    for (uint64_t round = 0; round < n; round++) {
        for (unsigned i = 0; i < CRC_BYTES; i++) {
            crc ^= crc_data[i];
            for (unsigned bit = 0; bit < 8; bit++) {
                crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
            }
        }
    }
    return crc;
}

/* ---- a state machine that scans numbers ---- */
enum scan { START, INTEGER, FRACTION, EXPONENT, SIGNED_EXPONENT, BAD, SCAN_STATES };

static enum scan scan_step(enum scan s, char c)
{
    switch (s) {
    case START:
        return c == '-' || c == '+' || (c >= '0' && c <= '9') ? INTEGER : c == '.' ? FRACTION : BAD;
    case INTEGER:
        return c >= '0' && c <= '9' ? INTEGER : c == '.' ? FRACTION : c == 'e' ? EXPONENT : BAD;
    case FRACTION:
        return c >= '0' && c <= '9' ? FRACTION : c == 'e' ? EXPONENT : BAD;
    case EXPONENT:
        return c == '-' || c == '+' || (c >= '0' && c <= '9') ? SIGNED_EXPONENT : BAD;
    case SIGNED_EXPONENT:
        return c >= '0' && c <= '9' ? SIGNED_EXPONENT : BAD;
    default:
        return BAD;
    }
}

uint64_t work_state(uint64_t n)
{
    static const char alphabet[16] = "0123456789.e+-, ";
    uint64_t counts[SCAN_STATES] = {0}, sum = 1;
    uint32_t seed = 4711;

    for (uint64_t round = 0; round < n; round++) {
        enum scan s = START;

        for (unsigned i = 0; i < 4096; i++) {
            uint32_t r = work_random(&seed);
            char c = alphabet[r & (r & 0x100 ? 7 : 15)];

            s = c == ',' ? START : scan_step(s, c);
            counts[s]++;
        }
    }
    for (unsigned i = 0; i < SCAN_STATES; i++) {
        sum = work_mix(sum, counts[i]);
    }
    return sum;
}
