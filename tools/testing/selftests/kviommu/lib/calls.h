/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Calls of the IOMMU API that map or unmap, as the host's trace events tell of them.
 */
#ifndef _KVIOMMU_TEST_CALLS_H
#define _KVIOMMU_TEST_CALLS_H

#include <linux/types.h>

/* Between these they are recorded. */
void calls_begin(void);
void calls_end(void);

/* How many calls so far mapped, or unmapped, from an address of the same MiB on */
unsigned int calls_map(__u64 iova);
unsigned int calls_unmap(__u64 iova);

#endif
