/* SPDX-License-Identifier: MIT */
/* Included first in every bare-metal file (Makefile): declarations are hidden too, so that addresses of functions in other
 * files are RIP-relative and need no GOT. */
#pragma GCC visibility push(hidden)
