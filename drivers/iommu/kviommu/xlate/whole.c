// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the back-ends have for a unit, or for a group of it, beside translations.
 */
#include "xlate.h"

/**
 * kviommu_backends_join() - Prepare all back-ends of a unit for a new group
 * @unit: The unit
 * @hw: The group
 *
 * To be followed by kviommu_backends_fill(), and at the end by kviommu_backends_leave().
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 * Return: 0; -ENOMEM or an error of the IOMMU's driver.
 */
int kviommu_backends_join(struct kviommu_unit *unit, struct kviommu_hwgroup *hw)
{
	const struct kviommu_xlate_ops *ops;
	unsigned int i;
	int ret;

	for (i = 0; i < KVIOMMU_NR_BINDINGS; i++) {
		ops = kviommu_backends[i];
		if (!ops->join)
			continue;
		ret = ops->join(unit, hw);
		if (ret)
			goto leave;
	}
	return 0;

leave:
	while (i--)
		if (kviommu_backends[i]->join)
			kviommu_backends[i]->leave(unit, hw);
	return ret;
}

/**
 * kviommu_backends_leave() - Undo kviommu_backends_join()
 * @unit: The unit
 * @hw: The group
 *
 * What this leaves is kept for other groups until kviommu_backends_reap().
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 */
void kviommu_backends_leave(struct kviommu_unit *unit, struct kviommu_hwgroup *hw)
{
	const struct kviommu_xlate_ops *ops;
	unsigned int i;

	for (i = 0; i < KVIOMMU_NR_BINDINGS; i++) {
		ops = kviommu_backends[i];
		if (ops->leave)
			ops->leave(unit, hw);
	}
}

/**
 * kviommu_backends_refill() - Have kviommu_backends_fill() look for all that the IOAS has got
 * @unit: The unit
 *
 * Context: under unit->lock, not under map_lock.
 */
void kviommu_backends_refill(struct kviommu_unit *unit)
{
	const struct kviommu_xlate_ops *ops;
	unsigned int i;

	for (i = 0; i < KVIOMMU_NR_BINDINGS; i++) {
		ops = kviommu_backends[i];
		if (ops->refill)
			ops->refill(unit);
	}
}

/**
 * kviommu_backends_fill() - Bring what back-ends have in line with the IOAS
 * @unit: The unit
 * @work: The piece of work that this is part of
 * @hw: The group for which; or NULL for all, where what cannot be had counts as an error of the
 *      unit and is left out
 *
 * Context: process context of the VMM, may sleep; under unit->lock, not under map_lock.
 * Return: 0; -EAGAIN when the time for this step is up, to be called again in the next one;
 * -EINTR; with @hw also -ENOMEM, or another error of the IOMMU's driver.
 */
int kviommu_backends_fill(struct kviommu_unit *unit, const struct kviommu_work *work,
			  struct kviommu_hwgroup *hw)
{
	const struct kviommu_xlate_ops *ops;
	unsigned int i;
	int ret;

	for (i = 0; i < KVIOMMU_NR_BINDINGS; i++) {
		ops = kviommu_backends[i];
		if (!ops->fill)
			continue;
		ret = ops->fill(unit, work, hw);
		if (ret)
			return ret;
	}
	return 0;
}

/**
 * kviommu_backends_reap() - Free what no translation, group or model needs any more
 * @unit: The unit
 * @work: The piece of work that this is part of
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 * Return: 0; -EAGAIN or -EINTR as kviommu_resched().
 */
int kviommu_backends_reap(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	const struct kviommu_xlate_ops *ops;
	unsigned int i;
	int ret;

	for (i = 0; i < KVIOMMU_NR_BINDINGS; i++) {
		ops = kviommu_backends[i];
		if (!ops->reap)
			continue;
		ret = ops->reap(unit, work);
		if (ret)
			return ret;
	}
	return 0;
}

/**
 * kviommu_backends_tidy() - Do what is due because time has passed or the host lacks memory
 * @unit: The unit
 * @work: The piece of work that this is part of
 *
 * Context: the unit's worker, under unit->lock, not under map_lock; may sleep.
 * Return: true if there is more to do.
 */
bool kviommu_backends_tidy(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	const struct kviommu_xlate_ops *ops;
	bool more = false;
	unsigned int i;

	for (i = 0; i < KVIOMMU_NR_BINDINGS; i++) {
		ops = kviommu_backends[i];
		if (ops->tidy)
			more |= ops->tidy(unit, work);
	}
	return more;
}

/**
 * kviommu_backends_release() - Unmap and unpin what is not in use of a range
 * @unit: The unit
 * @work: The piece of work that this is part of
 * @range: Guest frame numbers
 * @p: The point at which to resume, which begins as the back-end 0 (@p->serial) with all of
 *     @range; updated
 *
 * Context: process context, under unit->lock and map_lock; may sleep.
 * Return: 0; -EAGAIN or -EINTR as kviommu_resched() if a part is left.
 */
int kviommu_backends_release(struct kviommu_unit *unit, const struct kviommu_work *work,
			     const struct kviommu_range *range, struct kviommu_progress *p)
{
	struct kviommu_range rest = { p->first, p->last };
	const struct kviommu_xlate_ops *ops;
	int ret;

	for (; p->serial < KVIOMMU_NR_BINDINGS; p->serial++, rest = *range) {
		ops = kviommu_backends[p->serial];
		ret = ops->release ? ops->release(unit, work, &rest) : 0;
		p->first = rest.first;
		p->last = rest.last;
		if (ret)
			return ret;
	}
	return 0;
}

/**
 * kviommu_backends_policy_set() - Tell the back-ends that the policy of a unit has changed
 * @unit: The unit
 *
 * Context: process context, under unit->lock and map_lock.
 */
void kviommu_backends_policy_set(struct kviommu_unit *unit)
{
	const struct kviommu_xlate_ops *ops;
	unsigned int i;

	for (i = 0; i < KVIOMMU_NR_BINDINGS; i++) {
		ops = kviommu_backends[i];
		if (ops->policy_set)
			ops->policy_set(unit);
	}
}

/**
 * kviommu_backends_table_bytes() - Get the size of the tables of all back-ends of a unit
 * @unit: The unit
 *
 * Context: under map_lock.
 * Return: memory of the host that they take, in bytes.
 */
u64 kviommu_backends_table_bytes(const struct kviommu_unit *unit)
{
	const struct kviommu_xlate_ops *ops;
	unsigned int i;
	u64 n = 0;

	for (i = 0; i < KVIOMMU_NR_BINDINGS; i++) {
		ops = kviommu_backends[i];
		if (ops->table_bytes)
			n += ops->table_bytes(unit);
	}
	return n;
}
