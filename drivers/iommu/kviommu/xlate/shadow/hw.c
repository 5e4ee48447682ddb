// SPDX-License-Identifier: GPL-2.0-only
/*
 * Leaves of a shadow in the host's domain: pin and map, unmap.
 */
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/sizes.h>

#include "shadow.h"
#include "../../base/trace.h"

/**
 * kviommu_unmap_range() - Unmap a range of the host's domain
 * @shadow: The shadow
 * @iova: First I/O virtual address
 * @size: Size of the range in bytes; all of it is mapped
 *
 * kviommu_iotlb_sync() has to follow.
 *
 * Context: process context, under map_lock.
 * Return: true if all of it was unmapped; otherwise its frames must stay pinned.
 */
bool kviommu_unmap_range(struct kviommu_shadow *shadow, u64 iova, u64 size)
{
	u64 unmapped = kviommu_hw_unmap(shadow->hw, iova, size, &shadow->unflushed);

	WRITE_ONCE(shadow->xlate.unit->shadows.dirty, true);
	/* All of it was mapped, so this is a bug of the IOMMU's driver. */
	return !WARN_ON_ONCE(unmapped != size);
}

/**
 * kviommu_unmap_leaf() - Unmap a leaf from the host's domain, if it is mapped
 * @shadow: The shadow
 * @work: The piece of work that this is part of
 * @slot: The leaf's slot; the caller updates the shadow copy
 * @iova: First I/O virtual address of the leaf
 * @level: Level of the leaf
 *
 * kviommu_iotlb_sync() has to follow.
 *
 * Context: process context, under map_lock; may sleep.
 */
void kviommu_unmap_leaf(struct kviommu_shadow *shadow, const struct kviommu_work *work,
			u64 slot, u64 iova, unsigned int level)
{
	u64 size = level_size(level);

	if (!slot_mapped(slot))
		return;
	trace_kviommu_unmap(shadow->xlate.unit->id, shadow->xlate.binding.did, iova, size);
	/* Before the flush that kviommu_shadow_release() may do, which ends its age */
	if (slot_stale(slot))
		kviommu_stale_dropped(shadow->xlate.unit);
	if (kviommu_unmap_range(shadow, iova, size))
		kviommu_shadow_release(shadow, work, slot_gfn(slot),
				       size >> PAGE_SHIFT);
	kviommu_count(shadow->xlate.unit, unmaps, 1);
	shadow_count_mapped(shadow, -(size >> PAGE_SHIFT));
}

/* The host can map the run with 2 MiB pages, apart from unaligned ends. */
static bool run_fits_2m(const struct kviommu_shadow *shadow, const struct run *run)
{
	return kviommu_hw_has_2m(shadow->hw) &&
	       !((run->iova ^ PFN_PHYS(run->pfn)) & (SZ_2M - 1));
}

/*
 * Check whether a page with the frame @pfn can extend the run. If an IOMMU driver has no
 * memory for another table, it may leave behind what it mapped in the last one. So a run
 * ends with a table of small pages, unless the run consists of 2 MiB pages so far.
 */
static bool run_accepts(const struct kviommu_shadow *shadow, const struct run *run,
			u64 pfn)
{
	u64 next = run->iova + (run->nr << PAGE_SHIFT);

	if (pfn != run->pfn + run->nr)
		return false;
	return next & (SZ_2M - 1) ||
	       (!(run->iova & (SZ_2M - 1)) && run_fits_2m(shadow, run));
}

/*
 * Account for the tables that the host needs for a large leaf of the guest, wherever it
 * cannot use 2 MiB pages.
 */
static int run_count_tables(struct kviommu_shadow *shadow,
			    const struct kviommu_work *work,
			    const struct run *run, unsigned int level)
{
	u64 end = run->iova + (run->nr << PAGE_SHIFT);
	bool fits = run_fits_2m(shadow, run);
	u64 iova = ALIGN_DOWN(run->iova, SZ_2M);
	int ret = 0;

	if (level > 2)
		ret = kviommu_shadow_count_tables(shadow, work, iova, 2);
	for (; level > 1 && iova < end && !ret; iova += SZ_2M)
		if (!fits || iova < run->iova || iova + SZ_2M > end)
			ret = kviommu_shadow_count_tables(shadow, work, iova, 1);
	return ret;
}

/**
 * kviommu_map_run() - Map contiguous frames in the host's domain
 * @shadow: The shadow
 * @work: The piece of work that this is part of
 * @run: The frames, which are pinned; the run may be empty
 * @level: Level of the guest's leaf that the frames are part of
 * @prot: KVIOMMU_READ and KVIOMMU_WRITE
 *
 * Context: process context, under map_lock; may sleep if @work may wait.
 * Return: 0; -EDQUOT at the limit of tables; -ENOMEM; -EAGAIN if @work may not wait. On
 * error nothing of the run is mapped.
 */
int kviommu_map_run(struct kviommu_shadow *shadow, const struct kviommu_work *work,
		    const struct run *run, unsigned int level, unsigned int prot)
{
	int ret, hw_prot = 0;

	if (!run->nr)
		return 0;
	if (level > 1) {
		ret = run_count_tables(shadow, work, run, level);
		if (ret)
			return ret;
	}
	if (prot & KVIOMMU_READ)
		hw_prot |= IOMMU_READ;
	if (prot & KVIOMMU_WRITE)
		hw_prot |= IOMMU_WRITE;
	/* A thread that may not wait is not the VMM's, so name the VMM as the payer. */
	ret = kviommu_hw_map(shadow->hw, run->iova, run->pfn, run->nr, hw_prot,
			     work->may_wait ? NULL : shadow->xlate.unit->mm);
	return ret == -ENOMEM && !work->may_wait ? -EAGAIN : ret;
}

/**
 * kviommu_map_leaf() - Pin the frames of a leaf and map them in the host's domain
 * @shadow: The shadow
 * @work: The piece of work that this is part of
 * @slot: The leaf's slot; the caller updates the shadow copy
 * @iova: First I/O virtual address of the leaf
 * @level: Level of the leaf
 *
 * Maps runs that are as long as possible, so that the host can use its largest pages.
 *
 * Context: process context, under map_lock; may sleep if @work may wait.
 * Return: 0; an error of kviommu_pin_get() or kviommu_map_run(); -ERANGE beyond the
 * aperture of the host's domain; -EDQUOT at the limit of mapped pages; -EINTR.
 */
int kviommu_map_leaf(struct kviommu_shadow *shadow, const struct kviommu_work *work,
		     u64 slot, u64 iova, unsigned int level)
{
	struct kviommu_unit *unit = shadow->xlate.unit;
	u64 gfn = slot_gfn(slot);
	u64 nr = level_size(level) >> PAGE_SHIFT;
	unsigned int prot = slot & SLOT_PROT;
	struct run run = { .iova = iova };
	u64 i, pfn;
	int ret;

	ret = shadow_check_limits(shadow, work, iova, nr, 0);
	if (ret)
		return ret;
	for (i = 0; i < nr; i++) {
		/* Not every IOMMU supports write-only pages, so the read right is needed. */
		ret = shadow_get_frame(unit, work, gfn + i, prot | KVIOMMU_READ, &pfn);
		if (ret)
			goto undo;
		if (run.nr && !run_accepts(shadow, &run, pfn)) {
			ret = kviommu_map_run(shadow, work, &run, level, prot);
			if (ret)
				goto undo_pin;
			run.iova += run.nr << PAGE_SHIFT;
			run.nr = 0;
		}
		if (!run.nr++)
			run.pfn = pfn;
		if (i % ENTRIES == ENTRIES - 1 &&
		    kviommu_resched(unit, work) == -EINTR) {
			ret = -EINTR;
			goto undo_pin;
		}
	}
	ret = kviommu_map_run(shadow, work, &run, level, prot);
	if (ret)
		goto undo;
	shadow_note_mapped(shadow, iova, level_size(level));
	trace_kviommu_map(unit->id, shadow->xlate.binding.did, iova, gfn, nr, prot);
	kviommu_count(unit, maps, 1);
	shadow_count_mapped(shadow, nr);
	return 0;

undo_pin:
	i++;
undo:
	if (run.iova > iova && !kviommu_unmap_range(shadow, iova, run.iova - iova))
		return ret;
	if (i)
		kviommu_shadow_release(shadow, work, gfn, i);
	return ret;
}

/**
 * kviommu_shadow_reserved() - Check whether the host reserves a range of addresses
 * @shadow: The shadow
 * @first: First I/O virtual address, page aligned
 * @last: Last I/O virtual address, inclusive
 *
 * Context: under map_lock.
 * Return: 0 if no address is reserved; -EPERM if all are reserved for interrupts, which
 * no table translates anyway; -ERANGE if all are reserved otherwise; 1 if only some are,
 * which never happens for a single page.
 */
int kviommu_shadow_reserved(const struct kviommu_shadow *shadow, u64 first,
			    u64 last)
{
	const struct kviommu_reserved *r = &shadow->reserved;
	int ret = 0;
	unsigned int i;

	for (i = 0; i < r->nr; i++) {
		if (first >= r->range[i].first && last <= r->range[i].last)
			return r->range[i].msi ? -EPERM : -ERANGE;
		if (first <= r->range[i].last && last >= r->range[i].first)
			ret = 1;
	}
	return ret;
}
