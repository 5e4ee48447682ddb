// SPDX-License-Identifier: GPL-2.0-only
/*
 * The second stages of nested translations: one for each physical IOMMU that has any. It
 * has all of the guest's memory that the IOAS lets devices read and write. Memory is
 * looked for where the VM has memory slots, as iommufd has no list of what an IOAS maps;
 * what is not in the IOAS is left out.
 *
 * Pages are pinned block by block, and iommufd unmaps areas of the IOAS, which may begin
 * and end within a block. As it keeps a record for each call and area, unpinning is exact
 * if each entry of kviommu_parent.ranges is unpinned area by area: see
 * kviommu_access_pin_range().
 */
#include <linux/align.h>
#include <linux/err.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "api.h"
#include "nested.h"
#include "../../base/trace.h"
#include "../../mem/mem.h"

static void parent_unpin(struct kviommu_parent *parent, u64 gfn, u64 nr)
{
	kviommu_access_unpin_range(&parent->unit->access, gfn, nr);
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

/* Map pinned frames, which are in @pages. Return: 0, or -ENOMEM with nothing mapped. */
static int parent_map(struct kviommu_parent *parent, u64 gfn, u64 nr, struct page **pages)
{
	u64 i, n, pfn;
	int ret;

	for (i = 0; i < nr; i += n) {
		pfn = page_to_pfn(pages[i]);
		for (n = 1; i + n < nr; n++)
			if (page_to_pfn(pages[i + n]) != pfn + n)
				break;
		ret = kviommu_hw_map(parent->domain, PFN_PHYS(gfn + i), pfn, n,
				     KVIOMMU_READ | KVIOMMU_WRITE, NULL);
		if (ret) {
			if (i)
				kviommu_hw_unmap_sync(parent->domain, PFN_PHYS(gfn),
						      PFN_PHYS(i));
			return ret;
		}
	}
	return 0;
}

/* Map pinned frames and record them. Return: 0, or -ENOMEM with nothing done. */
static int parent_insert(struct kviommu_parent *parent, u64 gfn, u64 nr,
			 struct page **pages)
{
	struct kviommu_unit *unit = parent->unit;
	int ret;

	ret = mtree_store_range(&parent->ranges, gfn, gfn + nr - 1, xa_mk_value(1),
				KVIOMMU_GFP);
	if (ret)
		return ret;
	ret = parent_map(parent, gfn, nr, pages);
	if (ret) {
		parent_forget(parent, gfn, gfn + nr - 1);
		return ret;
	}
	unit->nested.pinned += nr;
	kviommu_pin_note_peak(unit);
	return 0;
}

/*
 * Add the frames of a range within a block that the IOAS has. If it does not have all of
 * them, look at each half. Return: 0; -ENOMEM, also at the limit of locked memory; -EINTR.
 */
static int parent_add(struct kviommu_parent *parent, u64 gfn, u64 nr)
{
	int ret;

	ret = kviommu_access_pin_range(&parent->unit->access, gfn, nr, parent->pages);
	if (!ret) {
		ret = parent_insert(parent, gfn, nr, parent->pages);
		if (ret)
			parent_unpin(parent, gfn, nr);
		return ret;
	}
	if (ret == -ENOMEM || kviommu_unfinished(ret))
		return ret;
	if (nr == 1) {
		/* That the IOAS does not have it, or denies access, is no error. */
		if (ret != -ENOENT && ret != -EPERM)
			kviommu_error(parent->unit, "second stage", PFN_PHYS(gfn), ret);
		return 0;
	}
	ret = parent_add(parent, gfn, nr / 2);
	return ret ?: parent_add(parent, gfn + nr / 2, nr - nr / 2);
}

/* Add what is missing of the frames from @gfn to below @end, all of one block. */
static int parent_fill_block(struct kviommu_parent *parent, u64 gfn, u64 end)
{
	u64 first, next;
	int ret = 0;

	while (gfn < end && !ret) {
		MA_STATE(mas, &parent->ranges, gfn, gfn);
		bool found;

		mas_lock(&mas);
		found = mas_find(&mas, end - 1);
		first = found ? mas.index : end;
		next = found ? mas.last + 1 : end;
		mas_unlock(&mas);
		if (first > gfn)
			ret = parent_add(parent, gfn, first - gfn);
		gfn = next;
	}
	return ret;
}

/**
 * kviommu_parent_fill() - Add all guest memory to a second stage that it does not have
 * @parent: The second stage
 * @work: The piece of work that this is part of
 * @range: The guest physical addresses to look at; what is left of them if it returns
 *         -EAGAIN
 *
 * Context: process context of the VMM, may sleep; under unit->lock and map_lock.
 * Return: 0; -EAGAIN when the time of the work is up; -ENOMEM, also at the limit of
 * locked memory; -EINTR.
 */
int kviommu_parent_fill(struct kviommu_parent *parent, const struct kviommu_work *work,
			struct kviommu_range *range)
{
	struct kviommu_unit *unit = parent->unit;
	u64 gfn = range->first >> PAGE_SHIFT, end;
	struct kviommu_memory m;
	int ret;

	lockdep_assert_held(&unit->map_lock);

	while (kviommu_kvm_memory(&unit->kvm, gfn, &m)) {
		end = min(m.gfn + m.nr, ALIGN(m.gfn + 1, PARENT_BLOCK));
		ret = parent_fill_block(parent, m.gfn, end);
		if (ret)
			return ret;
		gfn = end;
		range->first = PFN_PHYS(gfn);
		ret = kviommu_resched(unit, work);
		if (ret)
			return ret;
	}
	parent->filled = true;
	return 0;
}

/* Keep pinned frames that were unmapped only because others had to be. */
static void parent_restore(struct kviommu_parent *parent, u64 gfn, u64 nr,
			   struct page **pages)
{
	int ret;

	if (!nr)
		return;
	ret = parent_insert(parent, gfn, nr, pages);
	if (!ret)
		return;
	parent_unpin(parent, gfn, nr);
	/* The counters of errors are under unit->lock, which may not be had here. */
	trace_kviommu_error(parent->unit->id, "second stage", PFN_PHYS(gfn), ret);
}

/*
 * Take away the frames from @first to @last of an entry of kviommu_parent.ranges, which
 * covers @begin to @end. A leaf of the host's tables can only be unmapped as a whole, so the
 * entry is, and what is left is mapped again. Meanwhile DMA to that is refused.
 */
static void parent_shrink(struct kviommu_parent *parent, u64 begin, u64 end, u64 first,
			  u64 last)
{
	u64 i, nr = end - begin + 1;
	phys_addr_t phys;

	first = max(first, begin);
	last = min(last, end);
	for (i = 0; i < nr && (first != begin || last != end); i++) {
		phys = kviommu_hw_phys(parent->domain, PFN_PHYS(begin + i));
		parent->pages[i] = pfn_to_page(phys >> PAGE_SHIFT);
	}
	kviommu_hw_unmap_sync(parent->domain, PFN_PHYS(begin), PFN_PHYS(nr));
	parent_forget(parent, begin, end);
	parent->unit->nested.pinned -= nr;
	parent_unpin(parent, first, last - first + 1);
	parent_restore(parent, begin, first - begin, parent->pages);
	parent_restore(parent, last + 1, end - last, parent->pages + (last + 1 - begin));
}

/**
 * kviommu_parent_revoke() - Unmap and unpin frames of a second stage
 * @parent: The second stage
 * @first: First guest frame number
 * @last: Last guest frame number, inclusive
 *
 * When it returns, no device reaches these frames through it.
 *
 * Context: process context, may sleep; under map_lock. Locks of the IOAS may be held.
 */
void kviommu_parent_revoke(struct kviommu_parent *parent, u64 first, u64 last)
{
	lockdep_assert_held(&parent->unit->map_lock);

	for (;;) {
		MA_STATE(mas, &parent->ranges, first, first);
		u64 begin, end;
		bool found;

		mas_lock(&mas);
		found = mas_find(&mas, last);
		begin = mas.index;
		end = mas.last;
		mas_unlock(&mas);
		if (!found)
			return;
		parent_shrink(parent, begin, end, first, last);
		cond_resched();
	}
}

/**
 * kviommu_parent_get() - Get the second stage for a group, which may be empty
 * @unit: The unit
 * @hw: The group
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 * Return: the second stage, which the unit keeps until kviommu_nested_free(); -ENOMEM; an
 * error of kviommu_nest_parent_alloc().
 */
struct kviommu_parent *kviommu_parent_get(struct kviommu_unit *unit,
					  struct kviommu_hwgroup *hw)
{
	const void *iommu = kviommu_hwgroup_iommu(hw);
	struct kviommu_parent *parent;
	int ret;

	list_for_each_entry(parent, &unit->nested.parents, entry)
		if (parent->iommu == iommu)
			return parent;
	parent = kzalloc_obj(*parent, KVIOMMU_GFP);
	if (!parent)
		return ERR_PTR(-ENOMEM);
	parent->unit = unit;
	parent->iommu = iommu;
	mt_init(&parent->ranges);
	parent->domain = kviommu_hwgroup_nest_parent_alloc(hw);
	if (IS_ERR(parent->domain)) {
		ret = PTR_ERR(parent->domain);
		kfree(parent);
		return ERR_PTR(ret);
	}
	mutex_lock(&unit->map_lock);
	list_add(&parent->entry, &unit->nested.parents);
	mutex_unlock(&unit->map_lock);
	return parent;
}

/**
 * kviommu_nested_free() - Free second stages that nothing uses, and unpin what they have
 * @unit: The unit
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 */
void kviommu_nested_free(struct kviommu_unit *unit)
{
	struct kviommu_parent *parent, *next;

	list_for_each_entry_safe(parent, next, &unit->nested.parents, entry) {
		if (parent->users)
			continue;
		mutex_lock(&unit->map_lock);
		kviommu_parent_revoke(parent, 0, U64_MAX);
		list_del(&parent->entry);
		mutex_unlock(&unit->map_lock);
		kviommu_hw_free(parent->domain);
		kfree(parent);
	}
}
