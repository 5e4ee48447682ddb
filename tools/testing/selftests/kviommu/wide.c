// SPDX-License-Identifier: GPL-2.0
/*
 * The tests of dma.c with addresses of 57 bits, which not all physical IOMMUs
 * have; and a proof that those which have them work as well.
 */
#define WIDE
#include "dma.c"
