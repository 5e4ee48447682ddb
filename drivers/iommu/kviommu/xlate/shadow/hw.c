// SPDX-License-Identifier: GPL-2.0-only
/*
 * Leaves of a shadow in the host's domain: pinned, then mapped, and unmapped.
 */
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/sizes.h>

#include "shadow.h"
#include "../../base/trace.h"

/**
 * kviommu_unmap_range() - Remove translations from the host's domain
 * @shadow: The shadow
 * @iova: First I/O virtual address
 * @size: How many bytes, all of which are mapped
 *
 * Context: under map_lock; kviommu_iotlb_sync() has to follow.
 * Return: true if all are gone; else what they lead to has to stay pinned.
 */
bool kviommu_unmap_range(struct kviommu_shadow *shadow, u64 iova, u64 size)
{
	u64 unmapped = kviommu_hw_unmap(shadow->hw, iova, size, &shadow->gather);

	shadow->dirty = true;
	WRITE_ONCE(shadow->xlate.unit->shadows.dirty, true);
	/* We mapped all of it, in these pieces. What is not gone stays pinned. */
	return !WARN_ON_ONCE(unmapped != size);
}

/**
 * kviommu_unmap_leaf() - Remove a leaf from the host's domain, if it is there
 * @shadow: The shadow
 * @work: The piece of work that this is part of
 * @slot: Its slot of the shadow copy, which is left alone
 * @iova: Its I/O virtual address
 * @level: Its level
 *
 * Context: under map_lock; kviommu_iotlb_sync() has to follow.
 */
void kviommu_unmap_leaf(struct kviommu_shadow *shadow, const struct kviommu_work *work,
			u64 slot, u64 iova, unsigned int level)
{
	u64 size = level_size(level);

	if (!slot_mapped(slot))
		return;
	trace_kviommu_unmap(shadow->xlate.unit->id, shadow->xlate.binding.did, iova, size);
	/* Before it may be flushed */
	if (slot_stale(slot))
		kviommu_stale_dropped(shadow->xlate.unit);
	if (kviommu_unmap_range(shadow, iova, size))
		kviommu_shadow_release(shadow, work, slot_gfn(slot),
				       size >> PAGE_SHIFT);
	kviommu_count(shadow->xlate.unit, unmaps, 1);
	count_mapped(shadow, -(size >> PAGE_SHIFT));
}

/* Can the host use pages of 2 MiB for it, but for what is left at both ends? */
static bool fits_2m(const struct kviommu_shadow *shadow, const struct run *run)
{
	return shadow->hw->pgsize_bitmap & SZ_2M &&
	       !((run->iova ^ PFN_PHYS(run->pfn)) & (SZ_2M - 1));
}

/*
 * Does a page that leads to @pfn belong to the run? Drivers may leave behind what they
 * did in one table of small pages when there is no memory for the next. So a run ends
 * with such a table, unless all that it has in it so far are pages of 2 MiB.
 */
static bool run_takes(const struct kviommu_shadow *shadow, const struct run *run,
		      u64 pfn)
{
	u64 next = run->iova + (run->nr << PAGE_SHIFT);

	if (pfn != run->pfn + run->nr)
		return false;
	return next & (SZ_2M - 1) ||
	       (!(run->iova & (SZ_2M - 1)) && fits_2m(shadow, run));
}

/*
 * Where the host cannot use a page of 2 MiB it needs a table that the guest,
 * with its large leaf, has not.
 */
static int count_tables(struct kviommu_shadow *shadow, const struct kviommu_work *work,
			const struct run *run, unsigned int level)
{
	u64 end = run->iova + (run->nr << PAGE_SHIFT);
	bool fits = fits_2m(shadow, run);
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
 * kviommu_map_run() - Enter frames that are neighbours into the host's domain
 * @shadow: The shadow
 * @work: The piece of work that this is part of
 * @run: The frames, pinned; there may be none
 * @level: Level of the guest's leaf that they are a part of
 * @prot: The rights
 *
 * Context: under map_lock.
 * Return: 0; -EDQUOT at the limit of tables; -ENOMEM; -EAGAIN if @work may not wait;
 * with nothing entered.
 */
int kviommu_map_run(struct kviommu_shadow *shadow, const struct kviommu_work *work,
		    const struct run *run, unsigned int level, unsigned int prot)
{
	int ret, hw_prot = 0;

	if (!run->nr)
		return 0;
	if (level > 1) {
		ret = count_tables(shadow, work, run, level);
		if (ret)
			return ret;
	}
	if (prot & KVIOMMU_READ)
		hw_prot |= IOMMU_READ;
	if (prot & KVIOMMU_WRITE)
		hw_prot |= IOMMU_WRITE;
	/* A thread that may not wait is not the VMM's, but the memory is. */
	ret = kviommu_hw_map(shadow->hw, run->iova, run->pfn, run->nr, hw_prot,
			     work->may_wait ? NULL : shadow->xlate.unit->mm);
	return ret == -ENOMEM && !work->may_wait ? -EAGAIN : ret;
}

/**
 * kviommu_map_leaf() - Pin and map what a leaf covers
 * @shadow: The shadow
 * @work: The piece of work that this is part of
 * @slot: Its slot of the shadow copy, which is left alone
 * @iova: Its I/O virtual address
 * @level: Its level
 *
 * In runs as long as the host's memory allows, so that the host uses its largest
 * pages.
 *
 * Context: under map_lock.
 * Return: 0; an error of kviommu_pin_get() or kviommu_map_run(); -ERANGE beyond the
 * host domain's aperture; -EDQUOT at the limit of mapped pages; -EINTR.
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

	ret = check_limits(shadow, work, iova, nr);
	if (ret)
		return ret;
	for (i = 0; i < nr; i++) {
		/* Not every host has write-only pages. */
		ret = get_frame(unit, work, gfn + i, prot | KVIOMMU_READ, &pfn);
		if (ret)
			goto undo;
		if (run.nr && !run_takes(shadow, &run, pfn)) {
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
	note_mapped(shadow, iova, level_size(level));
	trace_kviommu_map(unit->id, shadow->xlate.binding.did, iova, gfn, nr, prot);
	kviommu_count(unit, maps, 1);
	count_mapped(shadow, nr);
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
 * kviommu_shadow_reserved() - Say whether the host reserves a range of addresses
 * @shadow: The shadow
 * @first: First I/O virtual address, that of a page
 * @last: Last one, inclusive
 *
 * Context: any.
 * Return: 0; -EPERM if all of it is for interrupts, which no table translates
 * anyway; -ERANGE if all of it is reserved otherwise; 1 if a part of it is, which
 * a page is never.
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
