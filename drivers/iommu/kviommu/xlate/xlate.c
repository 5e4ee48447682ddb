// SPDX-License-Identifier: GPL-2.0-only
/*
 * The translations of a unit: those that are always there, those that come and go
 * with what the guest says, and what happens to all of them.
 */
#include <linux/err.h>
#include <linux/slab.h>

#include "xlate.h"
#include "../mem/mem.h"

/**
 * kviommu_xlate_init() - Make the translations that a unit always has
 * @unit: The unit
 *
 * Context: process context.
 * Return: 0 or -ENOMEM; kviommu_xlate_exit() undoes it in either case.
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
 * kviommu_xlate_exit() - Free the translations that a unit always has
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
 * kviommu_xlate_attach() - Let a group's DMA go through a translation
 * @xlate: The translation, which is whole
 * @hw: The group
 *
 * Context: under unit->lock, not under map_lock.
 * Return: 0, to be balanced by kviommu_xlate_put(); or with the group blocked
 * -EINVAL if its IOMMU does not take this one, or another error of
 * kviommu_hwgroup_set_domain() or kviommu_hwgroup_set_ioas().
 */
int kviommu_xlate_attach(struct kviommu_xlate *xlate, struct kviommu_hwgroup *hw)
{
	int ret = xlate->ops->attach(xlate, hw);

	if (!ret)
		xlate->users++;
	return ret;
}

/**
 * kviommu_xlate_find() - Let a group go through a translation that there is
 * @unit: The unit
 * @hw: The group
 * @b: What the guest wants
 * @refused: Set if one was tried that the group's IOMMU does not take: the group is
 *           blocked then
 *
 * Context: under unit->lock, not under map_lock.
 * Return: the translation, attached; NULL if there is none; an error as
 * kviommu_xlate_attach().
 */
struct kviommu_xlate *kviommu_xlate_find(struct kviommu_unit *unit,
					 struct kviommu_hwgroup *hw,
					 const struct kviommu_binding *b,
					 bool *refused)
{
	struct kviommu_xlate *xlate = unit->fixed[b->type];
	const void *iommu;
	int ret;

	lockdep_assert_held(&unit->lock);

	if (xlate) {
		ret = kviommu_xlate_attach(xlate, hw);
		return ret ? ERR_PTR(ret) : xlate;
	}
	iommu = kviommu_hwgroup_iommu(hw);
	/* Translations come and go under both locks. */
	list_for_each_entry(xlate, &unit->xlates, entry) {
		if (!xlate->users || xlate->building || xlate->refused_by == iommu ||
		    !kviommu_same_binding(&xlate->binding, b) ||
		    !xlate->ops->fits(xlate, hw))
			continue;
		ret = kviommu_xlate_attach(xlate, hw);
		if (!ret)
			return xlate;
		/* -EINVAL: it is of another physical IOMMU. */
		if (ret != -EINVAL)
			return ERR_PTR(ret);
		xlate->refused_by = iommu;
		*refused = true;
	}
	return NULL;
}

/**
 * kviommu_xlate_create() - Make an empty translation
 * @unit: The unit
 * @hw: A group that is to go through it
 * @b: What the guest wants
 *
 * Context: under unit->lock, not under map_lock.
 * Return: the translation, to be built, and to be given to kviommu_xlate_put(); or
 * -EDQUOT, -ENOMEM, or an error of kviommu_hw_alloc().
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
 * kviommu_xlate_build() - Bring all of a translation in line with the guest's
 * @xlate: The translation
 * @work: The piece of work that this is part of
 *
 * Before a device uses it, so that nothing has to fault.
 *
 * Context: under unit->lock, not under map_lock.
 * Return: 0; -EAGAIN when the time for this step is up, to be called again in the
 * next one; -EINTR if a fatal signal is pending.
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
 * kviommu_xlate_put() - A group goes through a translation no longer
 * @xlate: The translation
 *
 * Context: under unit->lock. After the last one kviommu_xlate_reap() has to
 * follow.
 */
void kviommu_xlate_put(struct kviommu_xlate *xlate)
{
	xlate->users--;
}

/**
 * kviommu_xlate_reap() - Free the translations that nothing goes through any more
 * @unit: The unit
 * @work: The piece of work that this is part of
 *
 * Context: under unit->lock, not under map_lock.
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

static int invalidate(struct kviommu_unit *unit, const struct kviommu_work *work,
		      int did, u64 first, u64 last, bool refresh,
		      struct kviommu_progress *p)
{
	struct kviommu_xlate *xlate;
	struct kviommu_range range;
	int ret;

	lockdep_assert_held(&unit->lock);
	lockdep_assert_held(&unit->map_lock);

	unit->invalidated = true;
	list_for_each_entry(xlate, &unit->xlates, entry) {
		if ((did >= 0 && xlate->binding.did != did) || !xlate->users ||
		    xlate->serial < p->serial)
			continue;
		range.first = xlate->serial == p->serial ? p->first : first;
		range.last = xlate->serial == p->serial ? p->last : last;
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
 * kviommu_invalidate() - The guest says that it changed its translations
 * @unit: The unit
 * @work: The piece of work that this is part of
 * @did: Of domains with this domain-id, or of all if negative
 * @first: First I/O virtual address of the change
 * @last: Last one, inclusive
 * @p: How far it has come
 *
 * Old translations may live on until kviommu_invalidate_complete().
 *
 * Context: process context, under unit->lock and map_lock, which may be let go in
 * between.
 * Return: 0; -EAGAIN when the time for this step is up, to be called again in
 * the next one; -EINTR if a fatal signal is pending.
 */
int kviommu_invalidate(struct kviommu_unit *unit, const struct kviommu_work *work,
		       int did, u64 first, u64 last, struct kviommu_progress *p)
{
	return invalidate(unit, work, did, first, last, false, p);
}

/**
 * kviommu_invalidate_complete() - End a batch of kviommu_invalidate()
 * @unit: The unit
 * @work: The piece of work that this is part of
 *
 * When this returns no device reaches memory through an old translation, or for
 * no longer than the strategy of the unit allows.
 *
 * Context: process context, under unit->lock and map_lock.
 */
void kviommu_invalidate_complete(struct kviommu_unit *unit,
				 const struct kviommu_work *work)
{
	unsigned int i;

	/* Not every batch ends with a wait, so this is called at its end, too. */
	if (!unit->invalidated)
		return;
	unit->invalidated = false;
	for (i = 0; i < KVIOMMU_NR_BINDINGS; i++)
		if (kviommu_backends[i]->complete)
			kviommu_backends[i]->complete(unit, work);
}

/**
 * kviommu_refresh() - Try all again that could not be translated
 * @unit: The unit
 * @work: The piece of work that this is part of
 * @p: How far it has come
 *
 * Context: process context, under unit->lock and map_lock, as kviommu_invalidate().
 * Return: as kviommu_invalidate().
 */
int kviommu_refresh(struct kviommu_unit *unit, const struct kviommu_work *work,
		    struct kviommu_progress *p)
{
	int ret = invalidate(unit, work, -1, 0, U64_MAX, true, p);

	kviommu_invalidate_complete(unit, work);
	return ret;
}

/**
 * kviommu_revoke() - Let go of a range of guest memory
 * @unit: The unit
 * @first: First guest frame number
 * @last: Last guest frame number, inclusive
 *
 * When this returns no frame of the range is pinned.
 *
 * Context: process context; the IOAS's locks may be held.
 */
void kviommu_revoke(struct kviommu_unit *unit, u64 first, u64 last)
{
	unsigned int i;

	mutex_lock(&unit->map_lock);
	if (kviommu_pin_revoke(unit, first, last)) {
		for (i = 0; i < KVIOMMU_NR_BINDINGS; i++)
			if (kviommu_backends[i]->revoke)
				kviommu_backends[i]->revoke(unit, first, last);
		kviommu_pin_revoke(unit, first, last);
	}
	mutex_unlock(&unit->map_lock);
}
