// SPDX-License-Identifier: GPL-2.0-only
/*
 * Batches: consecutive 4 KiB pages of a node that one call maps or unmaps.
 */
#include "shadow.h"
#include "../../base/trace.h"

/**
 * kviommu_merge_error() - Count, trace and report a mapping that failed
 * @m: The merge
 * @iova: I/O virtual address of the mapping
 * @err: The reason, a negative errno
 * @reason: The fault to report to the guest, or KVIOMMU_FAULT_NONE
 *
 * Context: under unit->lock and map_lock.
 */
void kviommu_merge_error(struct merge *m, u64 iova, int err, enum kviommu_fault reason)
{
	struct kviommu_unit *unit = m->shadow->xlate.unit;

	kviommu_error(unit, "translation", iova, err);
	if (reason)
		unit->up->fault(&m->shadow->xlate, iova, reason);
}

/**
 * kviommu_merge_record() - Record the result of mapping a leaf in the shadow copy
 * @m: The merge
 * @slot: The leaf's slot
 * @want: The new value of the slot, without SLOT_MAPPED
 * @iova: First I/O virtual address of the leaf
 * @again: The same mapping failed before, so the guest already got a fault
 * @ret: Result of the mapping: 0 or a negative errno
 *
 * Context: under unit->lock and map_lock.
 * Return: 0; -EAGAIN or -EINTR if @ret is one of these, with @iova in m->next.
 */
int kviommu_merge_record(struct merge *m, u64 *slot, u64 want, u64 iova, bool again,
			 int ret)
{
	if (!ret) {
		*slot |= SLOT_MAPPED;
		return 0;
	}
	if (kviommu_unfinished(ret)) {
		*slot = again ? want : 0;
		m->next = iova;
		return ret;
	}
	m->failed += again;
	/*
	 * No fault for pages that are not memory: the guest may map MMIO of other
	 * devices, and only a DMA request to it shows that this does not work.
	 */
	kviommu_merge_error(m, iova, ret,
			    again || ret == -ENOENT || ret == -EPERM ?
			    KVIOMMU_FAULT_NONE :
			    want & KVIOMMU_WRITE ? KVIOMMU_FAULT_WRITE :
						   KVIOMMU_FAULT_READ);
	return 0;
}

static void batch_unmap(struct kviommu_shadow *shadow, const struct kviommu_work *work,
			const struct batch *b)
{
	bool gone = kviommu_unmap_range(shadow, b->iova, (u64)b->nr << PAGE_SHIFT);
	unsigned int i;

	for (i = 0; i < b->nr; i++) {
		if (gone)
			kviommu_shadow_release(shadow, work, slot_gfn(b->slots[i]), 1);
		b->slots[i] = 0;
	}
	kviommu_count(shadow->xlate.unit, unmaps, b->nr);
	shadow_count_mapped(shadow, -(u64)b->nr);
}

/* Map the pages of a batch by one call or, if that fails, one by one. */
static int batch_map(struct merge *m, const struct batch *b)
{
	struct run run = { .iova = b->iova, .pfn = b->pfn, .nr = b->nr };
	const struct kviommu_work *work = m->work;
	struct kviommu_shadow *shadow = m->shadow;
	u64 iova = b->iova;
	unsigned int i;
	int ret;

	ret = kviommu_map_run(shadow, work, &run, 1, b->prot);
	if (likely(!ret)) {
		for (i = 0; i < b->nr; i++, iova += PAGE_SIZE) {
			trace_kviommu_map(shadow->xlate.unit->id, shadow->xlate.binding.did, iova,
					  slot_gfn(b->slots[i]), 1, b->prot);
			b->slots[i] |= SLOT_MAPPED;
		}
		shadow_note_mapped(shadow, b->iova, (u64)b->nr << PAGE_SHIFT);
		kviommu_count(shadow->xlate.unit, maps, b->nr);
		shadow_count_mapped(shadow, b->nr);
		return 0;
	}
	for (i = 0; i < b->nr; i++)
		kviommu_shadow_release(shadow, work, slot_gfn(b->slots[i]), 1);
	if (b->nr == 1)
		return kviommu_merge_record(m, b->slots, *b->slots, iova, false, ret);
	ret = 0;
	for (i = 0; i < b->nr && !ret; i++, iova += PAGE_SIZE)
		ret = kviommu_merge_record(m, b->slots + i, b->slots[i], iova, false,
					   kviommu_map_leaf(shadow, work, b->slots[i], iova, 1));
	/* The next step maps the pages that are left. */
	for (; i < b->nr; i++)
		b->slots[i] = 0;
	return ret;
}

/**
 * kviommu_batch_end() - Map or unmap the pages of the pending batch
 * @m: The merge
 *
 * Context: process context, under unit->lock and map_lock; may sleep.
 * Return: 0; -EAGAIN or -EINTR if some pages are left, from m->next on. Always 0 for
 * pages that are to be unmapped.
 */
int kviommu_batch_end(struct merge *m)
{
	struct batch b = m->batch;

	if (!b.nr)
		return 0;
	m->batch.nr = 0;
	if (b.prot)
		return batch_map(m, &b);
	batch_unmap(m->shadow, m->work, &b);
	return 0;
}

/**
 * kviommu_batch_unmap() - Add a page to the batch of pages to be unmapped
 * @m: The merge
 * @slot: The page's slot, which is mapped
 * @iova: I/O virtual address of the page
 *
 * Context: process context, under unit->lock and map_lock; may sleep.
 * Return: as kviommu_batch_end() for a pending batch that the page cannot join.
 */
int kviommu_batch_unmap(struct merge *m, u64 *slot, u64 iova)
{
	struct kviommu_shadow *shadow = m->shadow;
	int ret = batch_begin(m, slot, iova, 0);

	if (ret)
		return ret;
	trace_kviommu_unmap(shadow->xlate.unit->id, shadow->xlate.binding.did, iova, PAGE_SIZE);
	/* Before the flush that the end of the batch may do, which ends its age */
	if (slot_stale(*slot)) {
		kviommu_stale_dropped(shadow->xlate.unit);
		*slot &= ~SLOT_STALE;
	}
	m->batch.nr++;
	return 0;
}
