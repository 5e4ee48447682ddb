// SPDX-License-Identifier: GPL-2.0-only
/*
 * The back-end for first-stage tables of the guest: one nested domain for each guest domain
 * that devices use, and each kind of physical IOMMU behind which they are. The guest's maps need
 * nothing here; its invalidations are passed on to the hardware, all that stand before one
 * wait descriptor in one go, and always before the guest has the status of its wait:
 * the strategies of shadows do not apply.
 */
#include <linux/bitops.h>
#include <linux/err.h>
#include <linux/limits.h>
#include <linux/list.h>
#include <linux/minmax.h>
#include <linux/slab.h>

#include "nested.h"

/* Address bits of the largest block that is flushed by itself: 2 MiB */
#define NESTED_BLOCK_BITS	21

static struct kviommu_nested *to_nested(struct kviommu_xlate *xlate)
{
	return container_of(xlate, struct kviommu_nested, xlate);
}

static struct kviommu_xlate *nested_create(struct kviommu_unit *unit,
					   struct kviommu_hwgroup *hw,
					   const struct kviommu_binding *b)
{
	struct kviommu_nested *nested;
	int ret;

	if (unit->stats.domains >= unit->policy.max_domains)
		return ERR_PTR(-EDQUOT);
	nested = kzalloc_obj(*nested, KVIOMMU_GFP);
	if (!nested)
		return ERR_PTR(-ENOMEM);
	nested->parent = kviommu_parent_get(unit, hw);
	/* Without first-stage tables: guest physical addresses */
	nested->hw = nested->parent->domain;
	if (b->levels)
		nested->hw = kviommu_hwgroup_nest_alloc(hw, &unit->nested.args, nested->hw,
							b->root, b->levels);
	if (IS_ERR(nested->hw)) {
		ret = PTR_ERR(nested->hw);
		nested->parent->users--;
		kfree(nested);
		return ERR_PTR(ret);
	}
	mutex_lock(&unit->map_lock);
	kviommu_count(unit, domains, 1);
	mutex_unlock(&unit->map_lock);
	return &nested->xlate;
}

static bool nested_fits(const struct kviommu_xlate *xlate, struct kviommu_hwgroup *hw)
{
	const struct kviommu_nested *nested =
		container_of_const(xlate, struct kviommu_nested, xlate);

	return kviommu_parent_fits(nested->parent, hw);
}

static int nested_build(struct kviommu_xlate *xlate, const struct kviommu_work *work)
{
	struct kviommu_parent *parent = to_nested(xlate)->parent;
	int ret;

	/*
	 * Nothing is missing, unless KVIOMMU_ATTACH_DEVICE or KVIOMMU_REFRESH is at it. What the
	 * worker looks for again the guest does without.
	 */
	if (parent->retrying)
		return 0;
	mutex_lock(&xlate->unit->map_lock);
	ret = kviommu_parent_fill(parent, work);
	mutex_unlock(&xlate->unit->map_lock);
	return ret;
}

static int nested_attach(struct kviommu_xlate *xlate, struct kviommu_hwgroup *hw)
{
	return kviommu_hwgroup_set_domain(hw, to_nested(xlate)->hw);
}

static int nested_attach_pasid(struct kviommu_xlate *xlate, struct kviommu_hwgroup *hw,
			       u32 pasid)
{
	return kviommu_hwgroup_set_pasid(hw, pasid, to_nested(xlate)->hw);
}

static void nested_detach_pasid(struct kviommu_xlate *xlate, struct kviommu_hwgroup *hw,
				u32 pasid)
{
	kviommu_hwgroup_clear_pasid(hw, pasid, to_nested(xlate)->hw);
}

/*
 * The hardware flushes blocks of addresses that are powers of two and aligned so. Get the
 * number of address bits of the block around a range.
 */
static unsigned int nested_block_bits(u64 first, u64 last)
{
	return fls64(first ^ last);
}

/* Make @r include @range, if the block around both is no larger than twice the larger one. */
static bool nested_unite(struct kviommu_range *r, const struct kviommu_range *range)
{
	u64 first = min(r->first, range->first), last = max(r->last, range->last);
	unsigned int bits = max(nested_block_bits(r->first, r->last),
				nested_block_bits(range->first, range->last));

	if (nested_block_bits(first, last) > bits + 1)
		return false;
	*r = (struct kviommu_range){ first, last };
	return true;
}

/*
 * Note that the guest has changed its tables for a range. More than KVIOMMU_NEST_RANGES, and
 * a large one (for which hardware need not have a flush of its own), are all addresses.
 */
static void nested_note(struct kviommu_nested *nested, const struct kviommu_range *range)
{
	unsigned int i;

	for (i = 0; i < nested->nr_unflushed; i++)
		if (nested_unite(&nested->unflushed[i], range))
			goto noted;
	if (!nested->nr_unflushed)
		list_add_tail(&nested->unflushed_entry,
			      &nested->xlate.unit->nested.unflushed);
	i = min_t(unsigned int, nested->nr_unflushed, KVIOMMU_NEST_RANGES - 1);
	nested->unflushed[i] = *range;
	if (nested->nr_unflushed++ == KVIOMMU_NEST_RANGES)
		goto all;
noted:
	if (nested_block_bits(nested->unflushed[i].first, nested->unflushed[i].last) <=
	    NESTED_BLOCK_BITS)
		return;
all:
	nested->unflushed[0] = (struct kviommu_range){ 0, U64_MAX };
	nested->nr_unflushed = 1;
}

static int nested_invalidate(struct kviommu_xlate *xlate, const struct kviommu_work *work,
			     struct kviommu_range *range, bool refresh)
{
	/*
	 * A refresh is of the second stages, by kviommu_nested_refill(). The guest does not
	 * change these, so without tables of its own there is nothing to be flushed.
	 */
	if (!refresh && xlate->binding.levels)
		nested_note(to_nested(xlate), range);
	return 0;
}

/* Nothing is to be flushed any more. */
static void nested_flushed(struct kviommu_nested *nested)
{
	if (nested->nr_unflushed)
		list_del(&nested->unflushed_entry);
	nested->nr_unflushed = 0;
}

/* Flush all nested domains of a second stage. */
static void nested_flush_all(struct kviommu_unit *unit, struct kviommu_parent *parent)
{
	struct kviommu_nested *nested, *next;

	kviommu_nest_flush_all(parent->domain);
	list_for_each_entry_safe(nested, next, &unit->nested.unflushed, unflushed_entry)
		if (nested->parent == parent)
			nested_flushed(nested);
}

/* A shared thread is none of the VMM's, and flushes all, which needs no arguments. */
static bool nested_complete(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	struct kviommu_nested *nested;

	while (!list_empty(&unit->nested.unflushed)) {
		nested = list_first_entry(&unit->nested.unflushed, struct kviommu_nested,
					  unflushed_entry);
		if (kviommu_nest_flush(&unit->nested.args, nested->hw, nested->unflushed,
				       nested->nr_unflushed))
			nested_flush_all(unit, nested->parent);
		else
			nested_flushed(nested);
		kviommu_count(unit, syncs, 1);
		/* The hardware may take its time. */
		kviommu_work_spend(work, KVIOMMU_BUDGET_LOOK);
	}
	return false;
}

static void nested_revoke(struct kviommu_unit *unit, u64 first, u64 last)
{
	const struct kviommu_range range = { first, last };
	struct kviommu_parent *parent;

	list_for_each_entry(parent, &unit->nested.parents, entry)
		kviommu_parent_revoke(parent, &range);
}

static int nested_drop(struct kviommu_xlate *xlate, const struct kviommu_work *work)
{
	struct kviommu_nested *nested = to_nested(xlate);
	struct kviommu_unit *unit = xlate->unit;

	mutex_lock(&unit->map_lock);
	nested_flushed(nested);
	list_del(&xlate->entry);
	kviommu_count(unit, domains, -1);
	mutex_unlock(&unit->map_lock);
	if (xlate->binding.levels)
		kviommu_hw_free(nested->hw);
	nested->parent->users--;
	kfree(nested);
	return 0;
}

const struct kviommu_xlate_ops kviommu_nested_ops = {
	.pins = KVIOMMU_PINS_ALL,
	.create = nested_create,
	.fits = nested_fits,
	.build = nested_build,
	.attach = nested_attach,
	.attach_pasid = nested_attach_pasid,
	.detach_pasid = nested_detach_pasid,
	.invalidate = nested_invalidate,
	.complete = nested_complete,
	.revoke = nested_revoke,
	.drop = nested_drop,
	.join = kviommu_nested_join,
	.leave = kviommu_nested_leave,
	.refill = kviommu_nested_refill,
	.fill = kviommu_nested_fill,
	.tidy = kviommu_nested_tidy,
	.reap = kviommu_nested_reap,
};
