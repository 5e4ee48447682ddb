// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages of 4 KiB that stand side by side in a node, mapped or unmapped by one call.
 */
#include "shadow.h"
#include "../../base/trace.h"

/**
 * kviommu_merge_error() - The guest does not get a translation
 * @m: The merge
 * @iova: Its I/O virtual address
 * @err: Why, a negative errno
 * @reason: What the guest is told, or KVIOMMU_FAULT_NONE
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
 * kviommu_merge_mapped() - Note what became of a leaf that was to be mapped
 * @m: The merge
 * @slot: Its slot of the shadow copy
 * @want: What it was to become, not yet marked as mapped
 * @iova: Its I/O virtual address
 * @again: That had failed before, and the guest was told
 * @ret: 0 or the error
 *
 * Context: under unit->lock and map_lock.
 * Return: 0, or -EAGAIN or -EINTR if that was the error, with @iova in m->next.
 */
int kviommu_merge_mapped(struct merge *m, u64 *slot, u64 want, u64 iova, bool again,
			 int ret)
{
	if (!ret) {
		*slot |= SLOT_MAPPED;
		return 0;
	}
	if (ret == -EINTR || ret == -EAGAIN) {
		*slot = again ? want : 0;
		m->next = iova;
		return ret;
	}
	m->failed += again;
	/*
	 * No fault for what is not memory: the guest may map registers of
	 * other devices, which only a request to them shows not to work.
	 */
	kviommu_merge_error(m, iova, ret,
		    again || ret == -ENOENT || ret == -EPERM ?
			    KVIOMMU_FAULT_NONE :
			    want & KVIOMMU_WRITE ? KVIOMMU_FAULT_WRITE :
						   KVIOMMU_FAULT_READ);
	return 0;
}

static void unmap_batch(struct kviommu_shadow *shadow, const struct kviommu_work *work,
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
	count_mapped(shadow, -(u64)b->nr);
}

/* If it does not work with all at once, then one by one. */
static int map_batch(struct merge *m, const struct batch *b)
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
		note_mapped(shadow, b->iova, (u64)b->nr << PAGE_SHIFT);
		kviommu_count(shadow->xlate.unit, maps, b->nr);
		return 0;
	}
	count_mapped(shadow, -(u64)b->nr);
	for (i = 0; i < b->nr; i++)
		kviommu_shadow_release(shadow, work, slot_gfn(b->slots[i]), 1);
	if (b->nr == 1)
		return kviommu_merge_mapped(m, b->slots, *b->slots, iova, false, ret);
	ret = 0;
	for (i = 0; i < b->nr && !ret; i++, iova += PAGE_SIZE)
		ret = kviommu_merge_mapped(m, b->slots + i, b->slots[i], iova, false,
				   kviommu_map_leaf(shadow, work, b->slots[i], iova, 1));
	/* Those that are left are for the next step. */
	for (; i < b->nr; i++)
		b->slots[i] = 0;
	return ret;
}

/**
 * kviommu_batch_end() - Do what a batch is for
 * @m: The merge
 *
 * Context: under unit->lock and map_lock.
 * Return: 0, or -EAGAIN or -EINTR if some are left, from m->next on; always 0 for
 * pages to be unmapped.
 */
int kviommu_batch_end(struct merge *m)
{
	struct batch b = m->batch;

	if (!b.nr)
		return 0;
	m->batch.nr = 0;
	if (b.prot)
		return map_batch(m, &b);
	unmap_batch(m->shadow, m->work, &b);
	return 0;
}

/* Let the batch be one that the page at @iova can join. Return: as kviommu_batch_end(). */
static inline int begin_batch(struct merge *m, u64 *slot, u64 iova,
			      unsigned int prot)
{
	struct batch *b = &m->batch;
	int ret = 0;

	if (b->nr) {
		if (b->prot == prot && b->slots + b->nr == slot &&
		    b->nr < (!prot || m->shadow->splits ? MAX_BATCH : 1))
			return 0;
		ret = kviommu_batch_end(m);
	}
	b->prot = prot;
	b->slots = slot;
	b->iova = iova;
	return ret;
}

/**
 * kviommu_batch_unmap() - Have a page of a node unmapped
 * @m: The merge
 * @slot: Its slot, which is mapped
 * @iova: Its I/O virtual address
 *
 * Context: under unit->lock and map_lock.
 * Return: as kviommu_batch_end(), of a batch that it does not belong to.
 */
int kviommu_batch_unmap(struct merge *m, u64 *slot, u64 iova)
{
	struct kviommu_shadow *shadow = m->shadow;
	int ret = begin_batch(m, slot, iova, 0);

	if (ret)
		return ret;
	trace_kviommu_unmap(shadow->xlate.unit->id, shadow->xlate.binding.did, iova, PAGE_SIZE);
	/* Before it may be flushed */
	if (slot_stale(*slot)) {
		kviommu_stale_dropped(shadow->xlate.unit);
		*slot &= ~SLOT_STALE;
	}
	m->batch.nr++;
	return 0;
}

/**
 * kviommu_batch_map() - Have a page of a node mapped
 * @m: The merge
 * @slot: Its slot, where nothing is mapped
 * @want: What it is to become
 * @iova: Its I/O virtual address
 *
 * Context: under unit->lock and map_lock.
 * Return: as kviommu_batch_end().
 */
int kviommu_batch_map(struct merge *m, u64 *slot, u64 want, u64 iova)
{
	struct kviommu_unit *unit = m->shadow->xlate.unit;
	unsigned int prot = want & SLOT_PROT;
	struct batch *b = &m->batch;
	int ret, err;
	u64 pfn;

	*slot = 0;
	ret = begin_batch(m, slot, iova, prot);
	if (ret)
		return ret;
	ret = check_limits(m->shadow, m->work, iova, 1);
	if (!ret)
		ret = get_frame(unit, m->work, slot_gfn(want), prot | KVIOMMU_READ, &pfn);
	if (ret || (b->nr && pfn != b->pfn + b->nr)) {
		err = kviommu_batch_end(m);
		if (err && !ret)
			kviommu_pin_put(unit, m->work, slot_gfn(want));
		if (err)
			return err;
		*slot = want;
		if (ret)
			return kviommu_merge_mapped(m, slot, want, iova, false, ret);
		/* There is none now. */
		begin_batch(m, slot, iova, prot);
	}
	*slot = want;
	if (!b->nr++)
		b->pfn = pfn;
	count_mapped(m->shadow, 1);
	return 0;
}
