// SPDX-License-Identifier: GPL-2.0-only
/*
 * The second stages of a unit: one for each kind of physical IOMMU that its devices are
 * behind. What is in them is the subject of parent.c.
 */
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/maple_tree.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "nested.h"

static struct kviommu_parent *parent_lookup(struct kviommu_unit *unit,
					    struct kviommu_hwgroup *hw)
{
	struct kviommu_parent *parent;

	list_for_each_entry(parent, &unit->nested.parents, entry)
		if (kviommu_parent_fits(parent, hw))
			return parent;
	return NULL;
}

/**
 * kviommu_parent_get() - Get the second stage for a group
 * @unit: The unit
 * @hw: The group, of kviommu_nested_join()
 *
 * Context: process context, may sleep; under unit->lock.
 * Return: the second stage, with one user more.
 */
struct kviommu_parent *kviommu_parent_get(struct kviommu_unit *unit,
					  struct kviommu_hwgroup *hw)
{
	struct kviommu_parent *parent = parent_lookup(unit, hw);

	parent->users++;
	return parent;
}

/**
 * kviommu_nested_join() - Have a second stage for a group, if the guest may have first stages
 * @unit: The unit
 * @hw: The group
 *
 * To be followed by kviommu_nested_fill(), and at the end by kviommu_nested_leave().
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 * Return: 0; -ENOMEM; an error of kviommu_nest_parent_alloc().
 */
int kviommu_nested_join(struct kviommu_unit *unit, struct kviommu_hwgroup *hw)
{
	struct kviommu_parent *parent;
	int ret;

	if (!unit->nest.wanted)
		return 0;
	parent = parent_lookup(unit, hw);
	if (parent) {
		parent->users++;
		/* What others do without, this one needs. */
		if (parent->retry_at || parent->retrying) {
			parent->retrying = false;
			kviommu_parent_refill(parent);
		}
		return 0;
	}
	parent = kzalloc_obj(*parent, KVIOMMU_GFP);
	if (!parent)
		return -ENOMEM;
	parent->unit = unit;
	parent->kind = *kviommu_hwgroup_kind(hw);
	parent->users = 1;
	kviommu_parent_refill(parent);
	mt_init(&parent->ranges);
	parent->domain = kviommu_hwgroup_nest_parent_alloc(hw);
	if (IS_ERR(parent->domain)) {
		ret = PTR_ERR(parent->domain);
		kfree(parent);
		return ret;
	}
	mutex_lock(&unit->map_lock);
	list_add(&parent->entry, &unit->nested.parents);
	mutex_unlock(&unit->map_lock);
	return 0;
}

/**
 * kviommu_nested_leave() - Undo kviommu_nested_join()
 * @unit: The unit
 * @hw: The group
 *
 * The second stage stays until kviommu_nested_reap(): a VMM may move a device to another
 * requester ID, and to pin all memory again would take long.
 *
 * Context: under unit->lock.
 */
void kviommu_nested_leave(struct kviommu_unit *unit, struct kviommu_hwgroup *hw)
{
	if (unit->nest.wanted)
		parent_lookup(unit, hw)->users--;
}

/**
 * kviommu_nested_refill() - Look for memory that the IOAS has got
 * @unit: The unit
 *
 * To be followed by kviommu_nested_fill().
 *
 * Context: under unit->lock.
 */
void kviommu_nested_refill(struct kviommu_unit *unit)
{
	struct kviommu_parent *parent;

	list_for_each_entry(parent, &unit->nested.parents, entry)
		kviommu_parent_refill(parent);
}

static bool parent_is_filled(const struct kviommu_parent *parent)
{
	return parent->unfilled.first > parent->unfilled.last;
}

/* Do without what is left of kviommu_parent.unfilled, for now. */
static void parent_give_up(struct kviommu_parent *parent)
{
	parent->unfilled = (struct kviommu_range){ 1, 0 };
	kviommu_parent_retry(parent);
}

/*
 * Add what can be had of what is missing to all second stages that have a user. One that cannot
 * get all counts as an error and does without the rest.
 */
static int parents_fill(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	struct kviommu_parent *parent;
	int ret;

	list_for_each_entry(parent, &unit->nested.parents, entry) {
		if (!parent->users)
			continue;
		ret = kviommu_parent_fill(parent, work);
		if (kviommu_unfinished(ret))
			return ret;
		if (ret) {
			kviommu_error(unit, "second stage",
				      PFN_PHYS(parent->unfilled.first), ret);
			parent_give_up(parent);
		}
	}
	return 0;
}

static int parent_fill_for_group(struct kviommu_parent *parent,
				 const struct kviommu_work *work)
{
	int ret = kviommu_parent_fill(parent, work);

	/* Other groups may use it as it is. */
	if (ret && !kviommu_unfinished(ret))
		parent_give_up(parent);
	return ret;
}

/**
 * kviommu_nested_fill() - Add what is missing to the second stage of a group, or to all
 * @unit: The unit
 * @work: The piece of work that this is part of
 * @hw: The group, of kviommu_nested_join(); or NULL for all second stages that have a user,
 *      which do without what cannot be had
 *
 * Context: process context of the VMM, may sleep; under unit->lock, not under map_lock.
 * Return: as kviommu_parent_fill(); without @hw only 0, -EAGAIN or -EINTR.
 */
int kviommu_nested_fill(struct kviommu_unit *unit, const struct kviommu_work *work,
			struct kviommu_hwgroup *hw)
{
	int ret = 0;

	mutex_lock(&unit->map_lock);
	if (!hw)
		ret = parents_fill(unit, work);
	else if (unit->nest.wanted)
		ret = parent_fill_for_group(parent_lookup(unit, hw), work);
	mutex_unlock(&unit->map_lock);
	return ret;
}

/* Look again for what is missing if it is time, and nobody else is looking. */
static void parent_begin_retry(struct kviommu_parent *parent)
{
	unsigned long at = parent->retry_at;

	if (!at)
		return;
	if (time_before(jiffies, at)) {
		/* An earlier time that somebody else had set made this one be forgotten. */
		kviommu_wake(parent->unit, jiffies_to_usecs(at - jiffies));
		return;
	}
	if (!parent_is_filled(parent)) {
		kviommu_parent_retry(parent);
		return;
	}
	parent->retry_at = 0;
	parent->retrying = true;
	kviommu_parent_refill(parent);
}

/**
 * kviommu_nested_tidy() - Try again to get memory that second stages could not have
 * @unit: The unit
 * @work: The piece of work that this is part of
 *
 * That was an error once, and is none again. The VMM need not know that the host has memory
 * now, or that the limit is higher.
 *
 * Context: the unit's worker, may sleep; under unit->lock, not under map_lock.
 * Return: true if there is more to do.
 */
bool kviommu_nested_tidy(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	struct kviommu_parent *parent;
	int ret = 0;

	mutex_lock(&unit->map_lock);
	list_for_each_entry(parent, &unit->nested.parents, entry) {
		parent_begin_retry(parent);
		if (!parent->retrying || !parent->users)
			continue;
		ret = kviommu_parent_fill(parent, work);
		if (kviommu_unfinished(ret))
			break;
		parent->retrying = false;
		if (ret)
			parent_give_up(parent);
	}
	mutex_unlock(&unit->map_lock);
	return ret == -EAGAIN;
}

/**
 * kviommu_nested_reap() - Free second stages that nothing uses, and unpin what they have
 * @unit: The unit
 * @work: The piece of work that this is part of
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 * Return: 0; -EAGAIN or -EINTR as kviommu_resched().
 */
int kviommu_nested_reap(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	struct kviommu_parent *parent, *next;
	int ret;

	list_for_each_entry_safe(parent, next, &unit->nested.parents, entry) {
		if (parent->users)
			continue;
		mutex_lock(&unit->map_lock);
		ret = kviommu_parent_empty(parent, work);
		if (!ret)
			list_del(&parent->entry);
		mutex_unlock(&unit->map_lock);
		if (ret)
			return ret;
		kviommu_hw_free(parent->domain);
		kfree(parent);
	}
	return 0;
}
