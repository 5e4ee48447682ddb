// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tables in guest memory, of 512 entries of 8 bytes each, in the format of a model.
 * They are read in place, through their pinned pages.
 */
#include <linux/mm.h>

#include "source.h"
#include "../mem/mem.h"

static int radix_get_table(const struct kviommu_source *source,
			   struct kviommu_unit *unit, const struct kviommu_work *work,
			   u64 addr, const void **table)
{
	u64 pfn;
	int ret;

	ret = kviommu_pin_get(unit, work, addr >> PAGE_SHIFT, KVIOMMU_READ, &pfn);
	if (!ret)
		*table = page_address(pfn_to_page(pfn));
	return ret;
}

static void radix_put_table(const struct kviommu_source *source,
			    struct kviommu_unit *unit, const struct kviommu_work *work,
			    u64 addr)
{
	kviommu_pin_put(unit, work, addr >> PAGE_SHIFT);
}

/* The entries are read by kviommu_source_entry(). */
const struct kviommu_source_ops kviommu_radix_ops = {
	.get_table = radix_get_table,
	.put_table = radix_put_table,
};
