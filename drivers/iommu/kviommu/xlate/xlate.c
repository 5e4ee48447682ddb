// SPDX-License-Identifier: GPL-2.0-only
/*
 * The translations of a unit: the permanent ones, the dynamic ones that follow the
 * guest's bindings, and the operations on all of them.
 */
#include <linux/bitops.h>
#include <linux/bits.h>
#include <linux/err.h>
#include <linux/slab.h>

#include "xlate.h"
#include "../mem/mem.h"

/**
 * kviommu_xlate_init() - Create the permanent translations of a unit
 * @unit: The unit
 *
 * Context: process context, may sleep.
 * Return: 0 or -ENOMEM; kviommu_xlate_exit() has to follow in either case.
 */
int kviommu_xlate_init(struct kviommu_unit *unit)
{
	struct kviommu_xlate *xlate;
	unsigned int i;

	for (i = 0; i < KVIOMMU_NR_BINDINGS; i++) {
		if (kviommu_backends[i]->create)
			continue;
		xlate = kzalloc_obj(*xlate, GFP_KERNEL_ACCOUNT);
		if (!xlate)
			return -ENOMEM;
		xlate->ops = kviommu_backends[i];
		xlate->unit = unit;
		xlate->binding.type = i;
		unit->fixed[i] = xlate;
	}
	return 0;
}

/**
 * kviommu_xlate_exit() - Free the permanent translations of a unit
 * @unit: The unit, which has no devices any more
 *
 * Context: process context.
 */
void kviommu_xlate_exit(struct kviommu_unit *unit)
{
	unsigned int i;

	for (i = 0; i < KVIOMMU_NR_BINDINGS; i++) {
		kfree(unit->fixed[i]);
		unit->fixed[i] = NULL;
	}
}

/**
 * kviommu_xlate_attach() - Attach a group to a translation
 * @xlate: The translation, which is complete
 * @hw: The group
 * @pasid: 0 for the group's requests without PASID; or a PASID, which is attached to nothing,
 *         for those with it
 *
 * Each success must be balanced by a call of kviommu_xlate_put(); with a PASID, of
 * kviommu_xlate_detach_pasid().
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 * Return: 0; on error the group, or its PASID, is blocked: -EINVAL if its IOMMU does not
 * support @xlate, or another error of kviommu_hwgroup_set_domain(),
 * kviommu_hwgroup_set_ioas() or kviommu_hwgroup_set_pasid().
 */
int kviommu_xlate_attach(struct kviommu_xlate *xlate, struct kviommu_hwgroup *hw, u32 pasid)
{
	int ret = pasid ? xlate->ops->attach_pasid(xlate, hw, pasid) :
			  xlate->ops->attach(xlate, hw);

	if (!ret)
		xlate->users++;
	return ret;
}

/**
 * kviommu_xlate_detach_pasid() - Undo kviommu_xlate_attach() of a PASID, which blocks it
 * @xlate: The translation
 * @hw: The group
 * @pasid: The PASID
 *
 * Context: as kviommu_xlate_attach().
 */
void kviommu_xlate_detach_pasid(struct kviommu_xlate *xlate, struct kviommu_hwgroup *hw,
				u32 pasid)
{
	xlate->ops->detach_pasid(xlate, hw, pasid);
	kviommu_xlate_put(xlate);
}

/**
 * kviommu_xlate_find() - Attach a group to an existing translation
 * @unit: The unit
 * @hw: The group
 * @pasid: As for kviommu_xlate_attach()
 * @b: The binding
 * @failed: Set to true if the group could not be attached to a translation that was
 *          tried; the group, or its PASID, is blocked then
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 * Return: the translation, attached; NULL if there is none; an error of
 * kviommu_xlate_attach().
 */
struct kviommu_xlate *kviommu_xlate_find(struct kviommu_unit *unit,
					 struct kviommu_hwgroup *hw, u32 pasid,
					 const struct kviommu_binding *b,
					 bool *failed)
{
	struct kviommu_xlate *xlate = unit->fixed[b->type];
	const void *iommu;
	int ret;

	lockdep_assert_held(&unit->lock);

	if (xlate) {
		ret = kviommu_xlate_attach(xlate, hw, pasid);
		*failed = ret;
		return ret ? ERR_PTR(ret) : xlate;
	}
	iommu = kviommu_hwgroup_iommu(hw);
	/* Translations are added and removed under both locks; either keeps the list. */
	list_for_each_entry(xlate, &unit->xlates, entry) {
		if (!xlate->users || xlate->building || xlate->refused_by == iommu ||
		    !kviommu_same_binding(&xlate->binding, b) ||
		    !xlate->ops->fits(xlate, hw))
			continue;
		ret = kviommu_xlate_attach(xlate, hw, pasid);
		if (!ret)
			return xlate;
		*failed = true;
		/* -EINVAL: the domain belongs to an incompatible physical IOMMU. */
		if (ret != -EINVAL)
			return ERR_PTR(ret);
		xlate->refused_by = iommu;
	}
	return NULL;
}

/**
 * kviommu_xlate_create() - Create an empty translation
 * @unit: The unit
 * @hw: The group that is going to use it
 * @b: The binding
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 * Return: the translation, with one user, to be completed by kviommu_xlate_build() and
 * released by kviommu_xlate_put(); -EDQUOT, -ENOMEM, or an error of kviommu_hw_alloc().
 */
struct kviommu_xlate *kviommu_xlate_create(struct kviommu_unit *unit,
					   struct kviommu_hwgroup *hw,
					   const struct kviommu_binding *b)
{
	struct kviommu_xlate *xlate;

	lockdep_assert_held(&unit->lock);

	xlate = kviommu_backends[b->type]->create(unit, hw, b);
	if (IS_ERR(xlate))
		return xlate;
	xlate->ops = kviommu_backends[b->type];
	xlate->unit = unit;
	xlate->binding = *b;
	xlate->unbuilt = (struct kviommu_range){ 0, U64_MAX };
	xlate->building = true;
	xlate->users = 1;
	mutex_lock(&unit->map_lock);
	xlate->serial = ++unit->xlate_serial;
	list_add_tail(&xlate->entry, &unit->xlates);
	mutex_unlock(&unit->map_lock);
	return xlate;
}

/**
 * kviommu_xlate_build() - Bring a new translation in line with the guest's mappings
 * @xlate: The translation
 * @work: The piece of work that this is part of
 *
 * This is done before a group is attached, so that no DMA finds a mapping missing.
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 * Return: 0; -EAGAIN when the time of this step is up, to be called again in the next
 * one; -EINTR if a fatal signal is pending.
 */
int kviommu_xlate_build(struct kviommu_xlate *xlate, const struct kviommu_work *work)
{
	int ret;

	if (!xlate->building)
		return 0;
	ret = xlate->ops->build(xlate, work);
	xlate->building = ret;
	return ret;
}

/**
 * kviommu_xlate_put() - Remove a user of a translation
 * @xlate: The translation
 *
 * After the last one kviommu_xlate_reap() has to follow.
 *
 * Context: under unit->lock.
 */
void kviommu_xlate_put(struct kviommu_xlate *xlate)
{
	xlate->users--;
}

/**
 * kviommu_xlate_reap() - Free the translations without users
 * @unit: The unit
 * @work: The piece of work that this is part of
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 * Return: as kviommu_xlate_build().
 */
int kviommu_xlate_reap(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	struct kviommu_xlate *xlate, *next;
	int ret;

	list_for_each_entry_safe(xlate, next, &unit->xlates, entry) {
		if (xlate->users)
			continue;
		ret = xlate->ops->drop(xlate, work);
		if (ret)
			return ret;
	}
	return 0;
}

static int xlate_invalidate_all(struct kviommu_unit *unit,
				const struct kviommu_work *work, int did,
				u64 first, u64 last, bool refresh,
				struct kviommu_progress *p)
{
	struct kviommu_xlate *xlate;
	struct kviommu_range range;
	int ret;

	lockdep_assert_held(&unit->lock);
	lockdep_assert_held(&unit->map_lock);

	list_for_each_entry(xlate, &unit->xlates, entry) {
		kviommu_work_spend(work, 1);
		if ((did >= 0 && xlate->binding.did != did) || !xlate->users ||
		    xlate->serial < p->serial)
			continue;
		range.first = xlate->serial == p->serial ? p->first : first;
		range.last = xlate->serial == p->serial ? p->last : last;
		unit->invalidated |= BIT(xlate->binding.type);
		ret = xlate->ops->invalidate(xlate, work, &range, refresh);
		if (ret) {
			*p = (struct kviommu_progress){ xlate->serial,
							range.first, range.last };
			return ret;
		}
		if (kviommu_time_up(work)) {
			*p = (struct kviommu_progress){ xlate->serial + 1,
							first, last };
			return -EAGAIN;
		}
	}
	*p = (struct kviommu_progress){};
	return 0;
}

/**
 * kviommu_invalidate() - Apply the guest's changes to a range of addresses
 * @unit: The unit
 * @work: The piece of work that this is part of
 * @did: Domain-id of the domain to look at; negative for all domains
 * @first: First I/O virtual address of the range
 * @last: Last I/O virtual address of the range, inclusive
 * @p: The point at which to resume; updated if the invalidation is interrupted
 *
 * Devices may reach memory through old mappings until kviommu_invalidate_complete().
 *
 * Context: process context, may sleep if @work may wait; under unit->lock and map_lock,
 * which may be dropped in between.
 * Return: 0; -EAGAIN when the time of this step is up, to be called again in the next
 * one; -EINTR if a fatal signal is pending.
 */
int kviommu_invalidate(struct kviommu_unit *unit, const struct kviommu_work *work,
		       int did, u64 first, u64 last, struct kviommu_progress *p)
{
	return xlate_invalidate_all(unit, work, did, first, last, false, p);
}

/**
 * kviommu_xlate_invalidate() - Apply the guest's changes to a range of addresses of one
 * translation that needs no work for it
 * @xlate: The translation, of KVIOMMU_BIND_NESTED
 * @work: The piece of work that this is part of
 * @first: First I/O virtual address of the range
 * @last: Last I/O virtual address of the range, inclusive
 *
 * Context: as kviommu_invalidate(), but it does not sleep.
 */
void kviommu_xlate_invalidate(struct kviommu_xlate *xlate, const struct kviommu_work *work,
			      u64 first, u64 last)
{
	struct kviommu_range range = { first, last };

	xlate->unit->invalidated |= BIT(xlate->binding.type);
	xlate->ops->invalidate(xlate, work, &range, false);
}

/**
 * kviommu_invalidate_complete() - Complete all earlier calls of kviommu_invalidate()
 * @unit: The unit
 * @work: The piece of work that this is part of
 *
 * When it returns, no device reaches memory through an old mapping, or for no longer
 * than the unit's strategy allows.
 *
 * Context: process context, may sleep; under unit->lock and map_lock.
 */
void kviommu_invalidate_complete(struct kviommu_unit *unit,
				 const struct kviommu_work *work)
{
	unsigned long mask = unit->invalidated, left = 0;
	const struct kviommu_xlate_ops *ops;

	/* Also called at the end of a batch of descriptors, with a wait or without. */
	if (!mask)
		return;
	for (; mask; mask &= mask - 1) {
		ops = kviommu_backends[__ffs(mask)];
		if (ops->complete && ops->complete(unit, work))
			left |= mask & -mask;
	}
	unit->invalidated = left;
}

/**
 * kviommu_refresh() - Try again to map everything that failed before
 * @unit: The unit
 * @work: The piece of work that this is part of
 * @p: The point at which to resume, as for kviommu_invalidate()
 *
 * Context: process context, under unit->lock and map_lock, as kviommu_invalidate().
 * Return: as kviommu_invalidate().
 */
int kviommu_refresh(struct kviommu_unit *unit, const struct kviommu_work *work,
		    struct kviommu_progress *p)
{
	int ret = xlate_invalidate_all(unit, work, -1, 0, U64_MAX, true, p);

	kviommu_invalidate_complete(unit, work);
	return ret;
}

/**
 * kviommu_revoke() - Unmap and unpin a range of guest memory that the IOAS unmaps
 * @unit: The unit
 * @first: First guest frame number
 * @last: Last guest frame number, inclusive
 *
 * When it returns, no frame of the range is pinned.
 *
 * Context: process context, may sleep; locks of the IOAS may be held.
 */
void kviommu_revoke(struct kviommu_unit *unit, u64 first, u64 last)
{
	const struct kviommu_xlate_ops *ops;
	unsigned int i;
	bool in_use;

	mutex_lock(&unit->map_lock);
	in_use = kviommu_pin_revoke(unit, first, last);
	for (i = 0; i < KVIOMMU_NR_BINDINGS; i++) {
		ops = kviommu_backends[i];
		/* What is pinned without the pin cache is not known here. */
		if (ops->revoke && (in_use || ops->pins == KVIOMMU_PINS_ALL))
			ops->revoke(unit, first, last);
	}
	if (in_use)
		kviommu_pin_revoke(unit, first, last);
	mutex_unlock(&unit->map_lock);
}
