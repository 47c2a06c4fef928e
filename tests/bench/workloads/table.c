/* SPDX-License-Identifier: MIT */
/* The list of workloads. */
#include "tests/bench/workloads/work.h"

const struct work works[] = {
    {"list", work_list, 24, 8, 0},       /* linked lists: search, reverse, merge sort */
    {"matrix", work_matrix, 16, 3, 0},    /* integer matrices */
    {"crc", work_crc, 10, 2, 0},          /* bit-wise CRC */
    {"state", work_state, 40, 10, 0},    /* a scanner of numbers: switch and branches */
    {"nbody", work_nbody, 6000, 2000, 0}, /* double: gravity */
    {"mandel", work_mandel, 40, 12, 0},   /* double: escape times */
    {"string", work_string, 40, 20, 0},  /* byte loops: length, search, compare */
    {"rep", work_rep, 200, 40, 0},        /* rep movs, stos, repne scas */
    {"sse", work_sse, 800, 100, 0},      /* packed float and integer */
    {"avx", work_avx, 1600, 200, 1},      /* the same with AVX2 */
    {"fib", work_fib, 23, 18, 0},         /* recursion */
    {"tree", work_tree, 100, 20, 0},      /* random call tree */
    {"interp", work_interp, 400, 60, 0}, /* byte code, computed goto */
    {"icall", work_icall, 100, 50, 0},   /* calls through random pointers */
    {"sort", work_sort, 6, 4, 0},       /* quicksort with a comparison function */
    {0},
};
