/* SPDX-License-Identifier: MIT */
/* Initial contents of memory and vector state for differential tests of operands. */
#ifndef TESTS_HOST_OPERAND_IMAGES_H
#define TESTS_HOST_OPERAND_IMAGES_H

#include <stddef.h>
#include <stdint.h>

#define NR_FP_IMAGES 4u

/* An XSAVE image of HOSTED_XSAVE_SIZE bytes. n odd: x87 registers in use; 2: exceptions of SSE unmasked; NR_FP_IMAGES: small
 * vector elements, as indices of gather and scatter. */
void make_fp_image(uint8_t *p, unsigned n);

/* size bytes (a multiple of 4) of 32-bit elements: any bits, small integers, ordinary floats. */
void make_data_image(uint8_t *p, size_t size);

#endif
