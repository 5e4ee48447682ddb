// SPDX-License-Identifier: GPL-2.0-only
/*
 * IOMMU groups of a unit's devices, and what their DMA goes through. Devices of one
 * group can only go through the same: while the guest wants different things for
 * them they are blocked.
 */
#include <linux/err.h>
#include <linux/slab.h>

#include "device.h"
#include "../base/model.h"
#include "../base/trace.h"

static const struct kviommu_binding blocked = { KVIOMMU_BIND_BLOCKED };

/* For a group that is blocked already, or that somebody else has attached. */
static struct kviommu_xlate *blocked_of(struct kviommu_group *group)
{
	struct kviommu_xlate *xlate = group->unit->fixed[KVIOMMU_BIND_BLOCKED];

	xlate->users++;
	return xlate;
}

static void put_next(struct kviommu_group *group)
{
	if (group->next)
		kviommu_xlate_put(group->next);
	group->next = NULL;
}

/*
 * A translation was tried that the group's IOMMU does not take, and another one for it
 * is not there yet: so it goes on with what it had, if that can be.
 */
static void attach_bound(struct kviommu_group *group)
{
	struct kviommu_xlate *old = group->xlate;

	if (!kviommu_xlate_attach(old, &group->hw)) {
		/* Its use is counted already. */
		kviommu_xlate_put(old);
		return;
	}
	kviommu_xlate_put(old);
	group->xlate = blocked_of(group);
}

/* Make one for the group, which goes on with the old one until it is whole. */
static struct kviommu_xlate *attach_new(struct kviommu_group *group,
					const struct kviommu_work *work,
					const struct kviommu_binding *b)
{
	struct kviommu_unit *unit = group->unit;
	struct kviommu_xlate *xlate;
	int ret;

	if (group->next && !kviommu_same_binding(&group->next->binding, b))
		put_next(group);
	if (!group->next) {
		/* What is on its way out is not to count against the limits. */
		ret = kviommu_xlate_reap(unit, work);
		if (ret)
			return ERR_PTR(ret);
		xlate = kviommu_xlate_create(unit, &group->hw, b);
		if (IS_ERR(xlate))
			return xlate;
		group->next = xlate;
	}
	xlate = group->next;
	ret = kviommu_xlate_build(xlate, work);
	if (!ret)
		ret = kviommu_xlate_attach(xlate, &group->hw);
	if (ret)
		return ERR_PTR(ret);
	/* That it waited for it counts no longer. */
	put_next(group);
	return xlate;
}

/*
 * Let the group go through a translation, one that there is or a new one. Return: it;
 * -EAGAIN when the time for this step is up and -EINTR if a fatal signal is pending:
 * the group is what it was, and this is to be called again. Another error: it is
 * blocked.
 */
static struct kviommu_xlate *group_switch(struct kviommu_group *group,
					  const struct kviommu_work *work,
					  const struct kviommu_binding *b)
{
	struct kviommu_xlate *xlate;
	bool refused = false;

	xlate = kviommu_xlate_find(group->unit, &group->hw, b, &refused);
	if (xlate)
		return xlate;
	xlate = attach_new(group, work, b);
	if (refused && (xlate == ERR_PTR(-EAGAIN) || xlate == ERR_PTR(-EINTR)))
		attach_bound(group);
	return xlate;
}

/*
 * Let the group's DMA go through @b, or block it if that fails. What it went
 * through before serves until the new is ready: this is -EAGAIN or -EINTR
 * before that, as group_switch().
 */
static int group_bind(struct kviommu_group *group, const struct kviommu_work *work,
		      const struct kviommu_binding *b)
{
	struct kviommu_xlate *xlate, *old = group->xlate;
	struct kviommu_unit *unit = group->unit;
	u16 source_id = kviommu_group_first(group)->source_id;
	int ret = 0;

	group->unsettled = false;
	if (kviommu_same_binding(&old->binding, b) && !group->error) {
		put_next(group);
		return 0;
	}
	xlate = group_switch(group, work, b);
	if (IS_ERR(xlate))
		ret = PTR_ERR(xlate);
	if (ret == -EAGAIN || ret == -EINTR) {
		group->unsettled = true;
		return ret;
	}
	trace_kviommu_bind(unit->id, source_id, b->type, b->did, b->root, ret);
	put_next(group);
	kviommu_xlate_put(old);
	group->error = ret;
	if (ret) {
		kviommu_hwgroup_set_domain(&group->hw, NULL);
		xlate = blocked_of(group);
		kviommu_error(unit, "device", source_id, ret);
		kviommu_signal(unit, KVIOMMU_EVENT_CONTROL);
	}
	group->xlate = xlate;
	return 0;
}

/**
 * kviommu_group_update() - Let a group go through what the guest wants for its devices
 * @group: The group
 * @work: The piece of work that this is part of
 *
 * Devices that the guest does not use do not count: it may well attach those of
 * a group one after another.
 *
 * Context: process context, under unit->lock, not under map_lock.
 * Return: 0; -EAGAIN when the time for this step is up, to be called again in the
 * next one; -EINTR if a fatal signal is pending.
 */
int kviommu_group_update(struct kviommu_group *group, const struct kviommu_work *work)
{
	const struct kviommu_binding *b = &blocked;
	bool conflict = group->conflict;
	struct kviommu_device *dev;

	group->conflict = false;
	list_for_each_entry(dev, &group->devices, group_entry) {
		if (dev->wanted.type == KVIOMMU_BIND_BLOCKED)
			continue;
		if (b != &blocked && !kviommu_same_binding(&dev->wanted, b)) {
			b = &blocked;
			group->conflict = true;
			break;
		}
		b = &dev->wanted;
	}
	if (group->conflict && !conflict)
		kviommu_signal(group->unit, KVIOMMU_EVENT_CONTROL);
	return group_bind(group, work, b);
}

static struct kviommu_group *group_new(struct kviommu_device *dev)
{
	struct kviommu_group *group;
	int ret;

	group = kzalloc_obj(*group, GFP_KERNEL_ACCOUNT);
	if (!group)
		return ERR_PTR(-ENOMEM);
	group->unit = dev->unit;
	INIT_LIST_HEAD(&group->devices);
	ret = kviommu_hwgroup_init(&group->hw, &dev->host, &dev->unit->map_lock,
				   dev->unit->aw_bits);
	if (ret) {
		kfree(group);
		return ERR_PTR(ret);
	}
	/* As kviommu_hwgroup_init() left it. */
	group->xlate = blocked_of(group);
	list_add_tail(&group->entry, &dev->unit->groups);
	return group;
}

/**
 * kviommu_group_join() - Put a device into its group, which the unit may have already
 * @dev: The device
 *
 * Context: process context, under unit->lock, not under map_lock.
 * Return: 0; -ENOMEM; an error of kviommu_hwgroup_init() or kviommu_hwgroup_add().
 */
int kviommu_group_join(struct kviommu_device *dev)
{
	struct kviommu_group *group;
	int ret;

	list_for_each_entry(group, &dev->unit->groups, entry) {
		if (group->hw.group != dev->host.group)
			continue;
		ret = kviommu_hwgroup_add(&group->hw, &dev->host,
					  dev->unit->access.ioas_id);
		if (ret)
			return ret;
		goto joined;
	}
	group = group_new(dev);
	if (IS_ERR(group))
		return PTR_ERR(group);
joined:
	list_add_tail(&dev->group_entry, &group->devices);
	dev->group = group;
	return 0;
}

/**
 * kviommu_group_leave() - Undo kviommu_group_join()
 * @dev: The device
 *
 * Its DMA is blocked, if no others of its group stay.
 *
 * Context: process context, under unit->lock, not under map_lock.
 */
void kviommu_group_leave(struct kviommu_device *dev)
{
	struct kviommu_group *group = dev->group;
	bool last = list_is_singular(&group->devices);

	if (last)
		group_bind(group, &kviommu_work_whole, &blocked);
	kviommu_hwgroup_del(&group->hw, &dev->host);
	list_del(&dev->group_entry);
	if (last) {
		kviommu_xlate_put(group->xlate);
		list_del(&group->entry);
		kfree(group);
	} else if (!dev->unit->closing) {
		kviommu_group_update(group, &kviommu_work_whole);
	}
}
