// SPDX-License-Identifier: GPL-2.0-only
/*
 * IOMMU groups of a unit's devices, and the translation that each is attached to.
 * Devices of one group share one translation: while the guest wants different bindings
 * for them the group is blocked.
 */
#include <linux/err.h>
#include <linux/slab.h>

#include "device.h"
#include "../base/model.h"
#include "../base/trace.h"

static const struct kviommu_binding blocked = { KVIOMMU_BIND_BLOCKED };

/* Takes a reference only: the group is blocked already, or attached by somebody else. */
static struct kviommu_xlate *group_get_blocked(struct kviommu_group *group)
{
	struct kviommu_xlate *xlate = group->unit->fixed[KVIOMMU_BIND_BLOCKED];

	xlate->users++;
	return xlate;
}

static void group_put_next(struct kviommu_group *group)
{
	if (group->next)
		kviommu_xlate_put(group->next);
	group->next = NULL;
}

/*
 * The group could not be attached to a new translation, which left it blocked, and the
 * next step has to try again. Attach the group to its current translation again meanwhile;
 * if that fails the group stays blocked.
 */
static void group_reattach(struct kviommu_group *group)
{
	struct kviommu_xlate *old = group->xlate;

	if (!kviommu_xlate_attach(old, &group->hw, 0)) {
		/* The group holds a reference to it already. */
		kviommu_xlate_put(old);
		return;
	}
	kviommu_xlate_put(old);
	group->xlate = group_get_blocked(group);
}

/*
 * Build a new translation and attach the group to it. Until it is complete the group
 * keeps its current one. @failed is set to true if the attach failed, which left the group
 * blocked.
 */
static struct kviommu_xlate *group_attach_new(struct kviommu_group *group,
					      const struct kviommu_work *work,
					      const struct kviommu_binding *b,
					      bool *failed)
{
	struct kviommu_unit *unit = group->unit;
	struct kviommu_xlate *xlate;
	int ret;

	if (group->next && !kviommu_same_binding(&group->next->binding, b))
		group_put_next(group);
	if (!group->next) {
		/* Translations that are being taken down count against the limits. */
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
	if (ret)
		return ERR_PTR(ret);
	ret = kviommu_xlate_attach(xlate, &group->hw, 0);
	if (ret) {
		*failed = true;
		return ERR_PTR(ret);
	}
	/* Attaching took a reference: drop the one of group->next. */
	group_put_next(group);
	return xlate;
}

/*
 * Attach the group to a translation for @b: an existing one, or else a new one.
 * Return: the translation; -EAGAIN when the time for this step is up, -EINTR if a
 * fatal signal is pending: the caller tries again in the next step, and group->xlate is
 * what the group is attached to until then. With another error the caller has to block the
 * group.
 */
static struct kviommu_xlate *group_switch(struct kviommu_group *group,
					  const struct kviommu_work *work,
					  const struct kviommu_binding *b)
{
	struct kviommu_xlate *xlate;
	bool failed = false;

	xlate = kviommu_xlate_find(group->unit, &group->hw, 0, b, &failed);
	if (!xlate)
		xlate = group_attach_new(group, work, b, &failed);
	if (failed && IS_ERR(xlate) && kviommu_unfinished(PTR_ERR(xlate)))
		group_reattach(group);
	return xlate;
}

/*
 * Let the group's DMA go through @b, or block it if that fails. The old translation
 * stays attached until the new one is complete: until then the result is -EAGAIN or
 * -EINTR, as of group_switch().
 */
static int group_bind(struct kviommu_group *group, const struct kviommu_work *work,
		      const struct kviommu_binding *b)
{
	struct kviommu_xlate *xlate, *old = group->xlate;
	struct kviommu_unit *unit = group->unit;
	u16 source_id = kviommu_group_first(group)->source_id;
	bool again;
	int ret = 0;

	group->unsettled = false;
	if (kviommu_same_binding(&old->binding, b) && !group->error) {
		group_put_next(group);
		return 0;
	}
	xlate = group_switch(group, work, b);
	if (IS_ERR(xlate))
		ret = PTR_ERR(xlate);
	if (kviommu_unfinished(ret)) {
		group->unsettled = true;
		return ret;
	}
	trace_kviommu_bind(unit->id, source_id, 0, b->type, b->did, b->root, ret);
	group_put_next(group);
	kviommu_xlate_put(old);
	again = kviommu_device_busy(unit, group->error, ret);
	if (!ret && group->error == -EBUSY)
		kviommu_signal(unit, KVIOMMU_EVENT_CONTROL);
	group->error = ret;
	if (ret) {
		kviommu_hwgroup_set_domain(&group->hw, NULL);
		xlate = group_get_blocked(group);
	}
	/* DMA is blocked, too, if that was refused. */
	if (ret && !again && b->type != KVIOMMU_BIND_BLOCKED) {
		kviommu_error(unit, "device", source_id, ret);
		kviommu_signal(unit, KVIOMMU_EVENT_CONTROL);
	}
	group->xlate = xlate;
	return 0;
}

/**
 * kviommu_group_update() - Attach a group to the binding that its devices agree on
 * @group: The group
 * @work: The piece of work that this is part of
 *
 * Devices that the guest wants blocked are ignored: a guest binds the devices of a
 * group one after another.
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 * Return: 0, also if the group was blocked for an error, which group->error says;
 * -EAGAIN when the time for this step is up: call it again in the next one; -EINTR if
 * a fatal signal is pending or the unit is going away.
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
	if (ret)
		goto free;
	ret = kviommu_backends_join(group->unit, &group->hw);
	if (ret)
		goto release;
	/* kviommu_hwgroup_init() left the group blocked. */
	group->xlate = group_get_blocked(group);
	list_add_tail(&group->entry, &dev->unit->groups);
	return group;

release:
	kviommu_hwgroup_del(&group->hw, &dev->host);
free:
	kfree(group);
	return ERR_PTR(ret);
}

/**
 * kviommu_group_join() - Add a device to its group, which is created if it is the first
 * @dev: The device
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 * Return: 0; -ENOMEM; an error of kviommu_hwgroup_init(), kviommu_hwgroup_add() or
 * kviommu_backends_join().
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
 * @work: The piece of work that this is part of
 *
 * The last device of a group has its DMA blocked. What this leaves to do for others of its
 * group is left to kviommu_device_settle().
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 */
void kviommu_group_leave(struct kviommu_device *dev, const struct kviommu_work *work)
{
	struct kviommu_group *group = dev->group;
	bool last = list_is_singular(&group->devices);

	if (last) {
		group_bind(group, &kviommu_work_whole, &blocked);
		kviommu_backends_leave(group->unit, &group->hw);
	}
	kviommu_hwgroup_del(&group->hw, &dev->host);
	list_del(&dev->group_entry);
	if (last) {
		kviommu_xlate_put(group->xlate);
		list_del(&group->entry);
		kfree(group);
	} else if (!dev->unit->closing) {
		kviommu_group_update(group, work);
	}
}
