// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices of a unit, and what the guest wants their DMA to go through, as the model
 * says.
 */
#include <linux/slab.h>

#include "device.h"
#include "../base/model.h"

/* Ask the model what the device's DMA is to go through. */
static void device_resolve(struct kviommu_device *dev, const struct kviommu_work *work)
{
	struct kviommu_model *model = dev->unit->model;

	model->ops->resolve(model, work, dev->source_id, &dev->wanted);
	dev->group->unsettled = true;
}

/**
 * kviommu_device_settle() - Go on with what changes of devices left to do
 * @unit: The unit
 * @work: The piece of work that this is part of
 *
 * Context: process context, under unit->lock, not under map_lock.
 * Return: 0; -EAGAIN when the time for this step is up, to be called again in
 * the next one; -EINTR if a fatal signal is pending.
 */
int kviommu_device_settle(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	struct kviommu_group *group;
	int ret = 0;

	lockdep_assert_held(&unit->lock);

	list_for_each_entry(group, &unit->groups, entry) {
		if (group->unsettled)
			ret = kviommu_group_update(group, work);
		if (ret)
			return ret;
	}
	return kviommu_xlate_reap(unit, work);
}

/**
 * kviommu_rebind() - The guest says that it changed what devices go through
 * @unit: The unit
 * @work: The piece of work that this is part of
 * @sid: Requester ID
 * @mask: Bits of it that do not matter
 *
 * Context: process context, under unit->lock and map_lock, which is let go in
 * between.
 * Return: as kviommu_device_settle().
 */
int kviommu_rebind(struct kviommu_unit *unit, const struct kviommu_work *work, u16 sid,
		   u16 mask)
{
	struct kviommu_device *dev;
	int ret;

	lockdep_assert_held(&unit->lock);
	lockdep_assert_held(&unit->map_lock);

	/* VFIO and the IOMMU core may wait for others. */
	if (!work->may_wait)
		return -EAGAIN;
	/* All of a group first: it must not go through what one of them had. */
	list_for_each_entry(dev, &unit->devices, entry)
		if (!((dev->source_id ^ sid) & ~mask))
			device_resolve(dev, work);
	mutex_unlock(&unit->map_lock);
	ret = kviommu_device_settle(unit, work);
	mutex_lock(&unit->map_lock);
	return ret;
}

/**
 * kviommu_device_fault() - Report a fault of a translation
 * @xlate: The translation
 * @iova: The I/O virtual address
 * @reason: Why it cannot be had
 *
 * As that of one of its devices, for none has made a request yet: the first one
 * that the guest wants faults of.
 *
 * Context: process context, under unit->lock.
 */
void kviommu_device_fault(struct kviommu_xlate *xlate, u64 iova,
			  enum kviommu_fault reason)
{
	struct kviommu_model *model = xlate->unit->model;
	struct kviommu_device *dev;

	lockdep_assert_held(&xlate->unit->lock);

	list_for_each_entry(dev, &xlate->unit->devices, entry) {
		if (dev->group->xlate != xlate && dev->group->next != xlate)
			continue;
		if (dev->wanted.type != KVIOMMU_BIND_DOMAIN || dev->wanted.quiet)
			continue;
		model->ops->fault(model, dev->source_id, iova, reason);
		return;
	}
}

static struct kviommu_device *device_find(struct kviommu_unit *unit,
					  u32 source_id)
{
	struct kviommu_device *dev;

	list_for_each_entry(dev, &unit->devices, entry)
		if (dev->source_id == source_id)
			return dev;
	return NULL;
}

/**
 * kviommu_device_attach() - Put a device behind a unit
 * @unit: The unit
 * @work: The piece of work that this is part of
 * @fd: File descriptor of the VFIO device
 * @source_id: Requester ID
 *
 * Context: process context, under unit->lock; kviommu_device_settle() has to
 * follow.
 * Return: 0, or an error of KVIOMMU_ATTACH_DEVICE.
 */
int kviommu_device_attach(struct kviommu_unit *unit, const struct kviommu_work *work,
			  int fd, u32 source_id)
{
	struct kviommu_device *dev, *other;
	int ret;

	if (source_id > U16_MAX)
		return -EINVAL;
	if (device_find(unit, source_id))
		return -EEXIST;
	if (unit->stats.devices >= KVIOMMU_MAX_DEVICES)
		return -ENOSPC;

	dev = kzalloc_obj(*dev, GFP_KERNEL_ACCOUNT);
	if (!dev)
		return -ENOMEM;
	dev->unit = unit;
	dev->source_id = source_id;
	ret = kviommu_vfio_get(&dev->host, fd, &unit->access);
	if (ret)
		goto free;
	ret = -EBUSY;
	list_for_each_entry(other, &unit->devices, entry)
		if (other->host.vdev == dev->host.vdev)
			goto put;
	ret = kviommu_group_join(dev);
	if (ret)
		goto put;
	list_add_tail(&dev->entry, &unit->devices);
	kviommu_count(unit, devices, 1);
	mutex_lock(&unit->map_lock);
	device_resolve(dev, work);
	mutex_unlock(&unit->map_lock);
	/* At once: what the others of its group go through may not be for it. */
	kviommu_group_update(dev->group, work);
	return 0;

put:
	kviommu_vfio_put(&dev->host);
free:
	kfree(dev);
	return ret;
}

/**
 * kviommu_device_destroy() - Give a device back
 * @dev: The device; its DMA is blocked, if others of its group do not stay
 *
 * Context: process context, under unit->lock; kviommu_device_settle() or
 * kviommu_xlate_reap() has to follow.
 */
void kviommu_device_destroy(struct kviommu_device *dev)
{
	kviommu_group_leave(dev);
	kviommu_count(dev->unit, devices, -1);
	list_del(&dev->entry);
	kviommu_vfio_put(&dev->host);
	kfree(dev);
}

/* Why a device's DMA does not go through what the guest wants: 0, or an errno */
static int device_error(const struct kviommu_device *dev)
{
	const struct kviommu_group *group = dev->group;

	if (group->conflict)
		return EXDEV;
	if (group->unsettled || group->next)
		return EINPROGRESS;
	return -group->error;
}

/**
 * kviommu_device_get() - KVIOMMU_GET_DEVICE
 * @unit: The unit
 * @cmd: The arguments; the members out_* are filled in
 *
 * Context: process context, under unit->lock.
 * Return: 0 or -ENOENT.
 */
int kviommu_device_get(struct kviommu_unit *unit, struct kviommu_get_device *cmd)
{
	static const u32 dma[KVIOMMU_NR_BINDINGS] = {
		[KVIOMMU_BIND_BLOCKED] = KVIOMMU_DMA_BLOCKED,
		[KVIOMMU_BIND_IDENTITY] = KVIOMMU_DMA_IDENTITY,
		[KVIOMMU_BIND_DOMAIN] = KVIOMMU_DMA_TRANSLATED,
	};
	struct kviommu_device *dev = device_find(unit, cmd->source_id);
	const struct kviommu_xlate *xlate;

	lockdep_assert_held(&unit->lock);

	if (!dev)
		return -ENOENT;
	xlate = dev->group->xlate;
	cmd->out_wanted = dma[dev->wanted.type];
	cmd->out_in_force = dma[xlate->binding.type];
	cmd->out_error = device_error(dev);
	cmd->out_fault = dev->wanted.fault;
	cmd->out_pins = xlate->ops->pins;
	cmd->out_pinned = xlate->ops->pinned ? xlate->ops->pinned(xlate) : 0;
	return 0;
}

/**
 * kviommu_device_detach() - Take a device away from a unit
 * @unit: The unit
 * @source_id: Requester ID
 *
 * Context: process context, under unit->lock; kviommu_device_settle() has to
 * follow.
 * Return: 0 or -ENOENT.
 */
int kviommu_device_detach(struct kviommu_unit *unit, u32 source_id)
{
	struct kviommu_device *dev = device_find(unit, source_id);

	if (!dev)
		return -ENOENT;
	kviommu_device_destroy(dev);
	return 0;
}
