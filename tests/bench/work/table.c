/* SPDX-License-Identifier: MIT */
/* The list of workloads. */
#include "tests/bench/work/work.h"

const struct work works[] = {
    {"list", work_list, 160, 8, 0},       /* linked lists: search, reverse, merge sort */
    {"matrix", work_matrix, 60, 3, 0},    /* integer matrices */
    {"crc", work_crc, 40, 2, 0},          /* bit-wise CRC */
    {"state", work_state, 200, 10, 0},    /* a scanner of numbers: switch and branches */
    {"nbody", work_nbody, 60000, 2000, 0}, /* double: gravity */
    {"mandel", work_mandel, 70, 12, 0},   /* double: escape times */
    {"string", work_string, 400, 20, 0},  /* byte loops: length, search, compare */
    {"rep", work_rep, 800, 40, 0},        /* rep movs, stos, repne scas */
    {"sse", work_sse, 4000, 100, 0},      /* packed float and integer */
    {"avx", work_avx, 8000, 200, 1},      /* the same with AVX2 */
    {"fib", work_fib, 27, 18, 0},         /* recursion */
    {"tree", work_tree, 600, 20, 0},      /* random call tree */
    {"interp", work_interp, 2000, 60, 0}, /* byte code, computed goto */
    {"icall", work_icall, 1500, 50, 0},   /* calls through random pointers */
    {"sort", work_sort, 100, 4, 0},       /* quicksort with a comparison function */
    {0},
};
