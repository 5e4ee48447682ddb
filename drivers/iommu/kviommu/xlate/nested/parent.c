// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a second stage has: all of the guest's memory that the IOAS lets devices read and
 * write. Memory is looked for where the VM has memory slots, as iommufd has no list of what an
 * IOAS maps; what is not in the IOAS is left out.
 *
 * Pages are pinned block by block, and iommufd unmaps areas of the IOAS, which may begin
 * and end within a block. Blocks that are contiguous in memory are mapped together, for
 * leaves of 1 GiB. As iommufd keeps a record for each call and area, unpinning is exact
 * if each block is unpinned area by area: see kviommu_access_pin_range().
 */
#include <linux/align.h>
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/time64.h>
#include <linux/xarray.h>

#include "nested.h"
#include "../../base/trace.h"
#include "../../mem/mem.h"

static const struct kviommu_range parent_all = { 0, PHYS_PFN(U64_MAX) };
static const struct kviommu_range parent_none = { 1, 0 };

/* The number of frames from @gfn to the end of its block, @nr at most */
static u64 parent_block_rest(u64 gfn, u64 nr)
{
	return min(nr, ALIGN(gfn + 1, PARENT_BLOCK) - gfn);
}

/* Unpin frames, by the blocks that they were pinned in. */
static void parent_unpin(struct kviommu_parent *parent, u64 gfn, u64 nr)
{
	u64 n;

	for (; nr; gfn += n, nr -= n) {
		n = parent_block_rest(gfn, nr);
		kviommu_access_unpin_range(&parent->unit->access, gfn, n);
	}
}

/* Forget an entry of kviommu_parent.ranges. */
static void parent_forget(struct kviommu_parent *parent, u64 first, u64 last)
{
	MA_STATE(mas, &parent->ranges, first, last);

	/* The tree may need memory to have an entry less. */
	mas_lock(&mas);
	mas_store_gfp(&mas, NULL, GFP_KERNEL | __GFP_NOFAIL);
	mas_unlock(&mas);
}

/* How many of the pages, the first included, are contiguous in memory */
static u64 parent_contiguous(struct page **pages, u64 nr)
{
	u64 n;

	for (n = 1; n < nr; n++)
		if (page_to_pfn(pages[n]) != page_to_pfn(pages[0]) + n)
			break;
	return n;
}

/* Map pinned frames, which are in @pages. Return: 0, or an error with nothing mapped. */
static int parent_map(struct kviommu_parent *parent, u64 gfn, u64 nr, struct page **pages)
{
	u64 i, n;
	int ret;

	for (i = 0; i < nr; i += n) {
		n = parent_contiguous(pages + i, nr - i);
		ret = kviommu_hw_map(parent->domain, PFN_PHYS(gfn + i), page_to_pfn(pages[i]),
				     n, KVIOMMU_READ | KVIOMMU_WRITE, NULL);
		if (ret) {
			if (i)
				kviommu_hw_unmap_sync(parent->domain, PFN_PHYS(gfn),
						      PFN_PHYS(i));
			return ret;
		}
	}
	return 0;
}

/*
 * Map pinned frames and record them: those in @pages, of one block, or if that is NULL those
 * that begin with @pfn and are contiguous. Return: 0; -ENOMEM, or another error of the IOMMU's
 * driver, with nothing done.
 */
static int parent_insert(struct kviommu_parent *parent, u64 gfn, u64 nr,
			 struct page **pages, u64 pfn)
{
	struct kviommu_unit *unit = parent->unit;
	int ret;

	ret = mtree_store_range(&parent->ranges, gfn, gfn + nr - 1, xa_mk_value(1),
				KVIOMMU_GFP);
	if (ret)
		return ret;
	if (pages)
		ret = parent_map(parent, gfn, nr, pages);
	else
		ret = kviommu_hw_map(parent->domain, PFN_PHYS(gfn), pfn, nr,
				     KVIOMMU_READ | KVIOMMU_WRITE, NULL);
	if (ret) {
		parent_forget(parent, gfn, gfn + nr - 1);
		return ret;
	}
	unit->nested.pinned += nr;
	kviommu_pin_note_peak(unit);
	return 0;
}

/*
 * Insert the run: as one entry if it is complete, else block by block, so that a part of it can
 * be taken away without the rest. Return: as parent_insert(), with the rest unpinned.
 */
static int parent_end_run(struct kviommu_parent *parent)
{
	struct kviommu_parent_run *run = &parent->run;
	u64 n = run->nr == PARENT_RUN ? PARENT_RUN : PARENT_BLOCK;
	int ret;

	for (; run->nr; run->gfn += n, run->pfn += n, run->nr -= n) {
		ret = parent_insert(parent, run->gfn, n, NULL, run->pfn);
		if (ret)
			goto unpin;
	}
	return 0;

unpin:
	parent_unpin(parent, run->gfn, run->nr);
	run->nr = 0;
	/* To be looked at again */
	parent->unfilled.first = run->gfn;
	return ret;
}

/* Say whether the frames of a block are to begin a run: a folio that one leaf can map. */
static bool parent_begins_run(u64 gfn, struct page *page)
{
	return IS_ALIGNED(gfn, PARENT_RUN) && IS_ALIGNED(page_to_pfn(page), PARENT_RUN) &&
	       folio_nr_pages(page_folio(page)) >= PARENT_RUN;
}

/*
 * Insert frames of a block that were just pinned, or make them part of the run if they are
 * a whole block of a large folio. Return: as parent_insert(), with nothing of them pinned.
 */
static int parent_take(struct kviommu_parent *parent, u64 gfn, u64 nr)
{
	bool whole = parent_contiguous(parent->pages, nr) == PARENT_BLOCK;
	u64 pfn = page_to_pfn(parent->pages[0]);
	struct kviommu_parent_run *run = &parent->run;
	int ret = 0;

	if (whole && run->nr && gfn == run->gfn + run->nr && pfn == run->pfn + run->nr) {
		run->nr += nr;
		return 0;
	}
	ret = parent_end_run(parent);
	if (!ret && whole && parent_begins_run(gfn, parent->pages[0])) {
		*run = (struct kviommu_parent_run){ gfn, nr, pfn };
		return 0;
	}
	if (!ret)
		ret = parent_insert(parent, gfn, nr, parent->pages, 0);
	if (ret)
		parent_unpin(parent, gfn, nr);
	return ret;
}

/*
 * Look at each frame from @gfn on: memory begins here, or ends. Where the IOAS has had nothing
 * for a whole block, pieces are enough.
 */
static void parent_near(struct kviommu_parent *parent, u64 gfn)
{
	parent->coarse = gfn + PARENT_BLOCK;
}

/*
 * Add the frames of a range within a block that the IOAS has. If it does not have all of
 * them, look at each part. Return: 0; -ENOMEM, also at the limit of locked memory; -EINTR;
 * another error of the IOMMU's driver.
 */
static int parent_add(struct kviommu_parent *parent, u64 gfn, u64 nr)
{
	u64 last = gfn + nr - 1, middle;
	bool coarse = gfn >= parent->coarse, absent;
	int ret;

	ret = kviommu_access_pin_range(&parent->unit->access, gfn, nr, parent->pages);
	if (!ret) {
		parent_near(parent, last + 1);
		ret = parent_take(parent, gfn, nr);
		/* It may begin in the piece before, where not each frame was looked at. */
		return ret || !coarse ? ret : parent_add(parent, gfn - PARENT_PIECE, PARENT_PIECE);
	}
	if (ret == -ENOMEM || kviommu_unfinished(ret))
		return ret;
	/* That the IOAS does not have it, or denies access, is no error. */
	absent = ret == -ENOENT || ret == -EPERM;
	if (nr == 1 || (absent && coarse && (gfn ^ last) < PARENT_PIECE)) {
		/* When it is tried again that is no news. */
		if (!absent && !parent->retrying)
			kviommu_error(parent->unit, "second stage", PFN_PHYS(gfn), ret);
		return 0;
	}
	/* The parts meet at the frame number that is a multiple of the largest power of two. */
	middle = last & ~(BIT_ULL(fls64(gfn ^ last) - 1) - 1);
	ret = parent_add(parent, gfn, middle - gfn);
	return ret ?: parent_add(parent, middle, last + 1 - middle);
}

/* Find the first entry of kviommu_parent.ranges that has a frame from @r. */
static bool parent_find(struct kviommu_parent *parent, const struct kviommu_range *r,
			struct kviommu_range *found)
{
	MA_STATE(mas, &parent->ranges, r->first, r->first);
	bool ret;

	mas_lock(&mas);
	ret = mas_find(&mas, r->last);
	*found = (struct kviommu_range){ mas.index, mas.last };
	mas_unlock(&mas);
	return ret;
}

/* Add what is missing of the frames of @r, all of one block. */
static int parent_fill_block(struct kviommu_parent *parent, struct kviommu_range r)
{
	struct kviommu_range e;
	int ret = 0;

	while (r.first <= r.last && !ret) {
		if (!parent_find(parent, &r, &e))
			e = (struct kviommu_range){ r.last + 1, r.last };
		if (e.first > r.first)
			ret = parent_add(parent, r.first, e.first - r.first);
		r.first = e.last + 1;
		if (e.first <= e.last)
			parent_near(parent, r.first);
	}
	return ret;
}

/* Leave out of kviommu_parent.unfilled what is there. Return false if nothing is left. */
static bool parent_skip(struct kviommu_parent *parent)
{
	struct kviommu_range *r = &parent->unfilled, e;

	while (r->first <= r->last && parent_find(parent, r, &e) && e.first <= r->first) {
		r->first = e.last + 1;
		parent_near(parent, r->first);
	}
	return r->first <= r->last;
}

/**
 * kviommu_parent_refill() - Have kviommu_parent_fill() look for all of the guest's memory
 * @parent: The second stage
 *
 * Context: under unit->lock.
 */
void kviommu_parent_refill(struct kviommu_parent *parent)
{
	parent->unfilled = parent_all;
	parent_near(parent, 0);
}

/**
 * kviommu_parent_retry() - Have kviommu_nested_tidy() look later for memory that is missing
 * @parent: The second stage, which does without it until then
 *
 * Context: under map_lock; does not sleep.
 */
void kviommu_parent_retry(struct kviommu_parent *parent)
{
	parent->retry_at = jiffies + usecs_to_jiffies(USEC_PER_SEC) ?: 1;
	kviommu_wake(parent->unit, USEC_PER_SEC);
}

/**
 * kviommu_parent_fill() - Add all guest memory to a second stage that it does not have
 * @parent: The second stage; what is left to look at is in @parent->unfilled
 * @work: The piece of work that this is part of
 *
 * Context: process context of the VMM, may sleep; under unit->lock and map_lock.
 * Return: 0; -EAGAIN when the time of the work is up; -ENOMEM, also at the limit of
 * locked memory; -EINTR; another error of the IOMMU's driver.
 */
int kviommu_parent_fill(struct kviommu_parent *parent, const struct kviommu_work *work)
{
	struct kviommu_unit *unit = parent->unit;
	u64 *gfn = &parent->unfilled.first, end;
	struct kviommu_memory m;
	int ret = 0;

	lockdep_assert_held(&unit->map_lock);

	while (parent_skip(parent) && kviommu_kvm_memory(&unit->kvm, *gfn, &m)) {
		if (m.gfn > *gfn)
			parent_near(parent, m.gfn);
		end = m.gfn + parent_block_rest(m.gfn, m.nr);
		ret = parent_fill_block(parent, (struct kviommu_range){ m.gfn, end - 1 });
		if (ret)
			break;
		*gfn = end;
		/* To stop in the middle of a folio would give it smaller leaves for good. */
		if (parent->run.nr && parent->run.nr < PARENT_RUN &&
		    !fatal_signal_pending(current)) {
			cond_resched();
			continue;
		}
		ret = parent_end_run(parent) ?: kviommu_resched(unit, work);
		if (ret)
			break;
	}
	ret = parent_end_run(parent) ?: ret;
	if (!ret)
		parent->unfilled = parent_none;
	return ret;
}

/*
 * Keep pinned frames that were unmapped only because others had to be: those in @pages, of one
 * block, or contiguous ones. Blocks of the latter can be taken away one by one from now on.
 */
static void parent_restore(struct kviommu_parent *parent, u64 gfn, u64 nr,
			   struct page **pages, u64 pfn)
{
	struct kviommu_unit *unit = parent->unit;
	u64 n;
	int ret;

	for (; nr; gfn += n, pfn += n, nr -= n) {
		n = parent_block_rest(gfn, nr);
		ret = parent_insert(parent, gfn, n, pages, pfn);
		if (!ret)
			continue;
		parent_unpin(parent, gfn, n);
		/* Not by kviommu_error(): unit->lock may not be had here. */
		trace_kviommu_error(unit->id, "second stage", PFN_PHYS(gfn), ret);
		unit->nested.errors++;
		if (ret == -ENOMEM) {
			unit->nested.limits++;
			kviommu_signal(unit, KVIOMMU_EVENT_LIMIT);
		}
		kviommu_parent_retry(parent);
	}
}

/*
 * Take away the frames from @first to @last of an entry of kviommu_parent.ranges, which
 * covers @begin to @end. A leaf of the host's tables can only be unmapped as a whole, so the
 * entry is, and what is left is mapped again. Meanwhile DMA to that is refused.
 */
static void parent_shrink(struct kviommu_parent *parent, u64 begin, u64 end, u64 first,
			  u64 last)
{
	struct page **left = NULL, **right = NULL;
	u64 i, pfn, nr = end - begin + 1;

	first = max(first, begin);
	last = min(last, end);
	pfn = PHYS_PFN(kviommu_hw_phys(parent->domain, PFN_PHYS(begin)));
	if (nr <= PARENT_BLOCK) {
		left = parent->pages;
		right = parent->pages + (last + 1 - begin);
		for (i = 0; i < nr; i++)
			left[i] = pfn_to_page(PHYS_PFN(kviommu_hw_phys(parent->domain,
								       PFN_PHYS(begin + i))));
	}
	kviommu_hw_unmap_sync(parent->domain, PFN_PHYS(begin), PFN_PHYS(nr));
	parent_forget(parent, begin, end);
	parent->unit->nested.pinned -= nr;
	parent_unpin(parent, first, last - first + 1);
	parent_restore(parent, begin, first - begin, left, pfn);
	parent_restore(parent, last + 1, end - last, right, pfn + (last + 1 - begin));
}

/* Take away the entries from @r->first to @r->last, none of which goes beyond. */
static void parent_remove(struct kviommu_parent *parent, const struct kviommu_range *r)
{
	struct kviommu_range rest = *r, e;
	struct kviommu_unflushed u;

	kviommu_hw_all_flushed(&u);
	while (rest.first <= rest.last && parent_find(parent, &rest, &e)) {
		kviommu_hw_unmap(parent->domain, PFN_PHYS(e.first),
				 PFN_PHYS(e.last - e.first + 1), &u);
		rest.first = e.last + 1;
		cond_resched();
	}
	kviommu_hw_sync(parent->domain, &u);
	while (parent_find(parent, r, &e)) {
		parent_forget(parent, e.first, e.last);
		parent->unit->nested.pinned -= e.last - e.first + 1;
		parent_unpin(parent, e.first, e.last - e.first + 1);
		cond_resched();
	}
}

/**
 * kviommu_parent_revoke() - Unmap and unpin frames of a second stage
 * @parent: The second stage
 * @r: Guest frame numbers
 *
 * When it returns, no device reaches these frames through it. There is one flush for those
 * that were added together, and one for the others.
 *
 * Context: process context, may sleep; under map_lock. Locks of the IOAS may be held.
 */
void kviommu_parent_revoke(struct kviommu_parent *parent, const struct kviommu_range *r)
{
	const struct kviommu_range last = { r->last, r->last };
	struct kviommu_range e;

	lockdep_assert_held(&parent->unit->map_lock);

	if (parent_find(parent, r, &e) && e.first < r->first)
		parent_shrink(parent, e.first, e.last, r->first, r->last);
	if (parent_find(parent, &last, &e) && e.last > r->last)
		parent_shrink(parent, e.first, e.last, r->first, r->last);
	parent_remove(parent, r);
}

/**
 * kviommu_parent_empty() - Unmap and unpin all that a second stage has
 * @parent: The second stage, which nothing uses
 * @work: The piece of work that this is part of
 *
 * Context: process context, may sleep; under unit->lock and map_lock.
 * Return: 0; -EAGAIN or -EINTR as kviommu_resched(), with the rest still there.
 */
int kviommu_parent_empty(struct kviommu_parent *parent, const struct kviommu_work *work)
{
	struct kviommu_range e;
	int ret = 0;

	/* A device may be attached while this is half done. */
	kviommu_parent_refill(parent);
	while (!ret && parent_find(parent, &parent_all, &e)) {
		/* No entry goes beyond that. */
		e.last = ALIGN(e.first + 1, PARENT_RUN) - 1;
		kviommu_parent_revoke(parent, &e);
		ret = kviommu_resched(parent->unit, work);
	}
	return ret;
}
