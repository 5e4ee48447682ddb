// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices of a unit, and what their DMA goes through: nothing, the whole IOAS,
 * or a guest domain, as the front-end says. Devices of one IOMMU group can only
 * go through the same: while the guest wants different things for them they
 * are blocked.
 */
#include <linux/slab.h>

#include "kviommu.h"
#include "trace.h"

static const struct kviommu_binding blocked = { KVIOMMU_BIND_BLOCKED };

static bool same_binding(const struct kviommu_binding *a,
			 const struct kviommu_binding *b)
{
	return a->type == b->type && a->did == b->did &&
	       a->pgtbl == b->pgtbl && a->levels == b->levels;
}

static struct kviommu_device *first_of(struct kviommu_group *group)
{
	return list_first_entry(&group->devices, struct kviommu_device,
				group_entry);
}

static int group_switch(struct kviommu_group *group,
			const struct kviommu_binding *b)
{
	struct kviommu_domain *domain;

	switch (b->type) {
	case KVIOMMU_BIND_BLOCKED:
		break;
	case KVIOMMU_BIND_IDENTITY:
		return kviommu_hwgroup_set_ioas(&group->hw,
						group->unit->access.ioas_id);
	case KVIOMMU_BIND_DOMAIN:
		domain = kviommu_domain_attach(group, b);
		if (IS_ERR(domain))
			return PTR_ERR(domain);
		group->domain = domain;
		return 0;
	}
	return kviommu_hwgroup_set_domain(&group->hw, NULL);
}

static void put_domain(struct kviommu_domain **domain)
{
	if (*domain)
		kviommu_domain_put(*domain);
	*domain = NULL;
}

/*
 * Let the group's DMA go through @b, or block it if that fails. What it went
 * through before serves until the new is ready: this is -EAGAIN or -EINTR
 * before that, as kviommu_domain_attach().
 */
static int group_bind(struct kviommu_group *group,
		      const struct kviommu_binding *b)
{
	struct kviommu_domain *old = group->domain;
	struct kviommu_unit *unit = group->unit;
	u16 source_id = first_of(group)->source_id;
	int ret;

	group->unsettled = false;
	if (same_binding(&group->bound, b) && !group->failed) {
		put_domain(&group->next);
		return 0;
	}
	ret = group_switch(group, b);
	if (ret == -EAGAIN || ret == -EINTR) {
		group->unsettled = true;
		return ret;
	}
	trace_kviommu_bind(unit->id, source_id, b->type, b->did, b->pgtbl, ret);
	put_domain(&group->next);
	if (old)
		kviommu_domain_put(old);
	if (b->type != KVIOMMU_BIND_DOMAIN || ret)
		group->domain = NULL;
	group->bound = *b;
	group->failed = ret;
	if (ret) {
		kviommu_hwgroup_set_domain(&group->hw, NULL);
		group->bound = blocked;
		kviommu_error(unit, "device", source_id, ret);
		kviommu_signal(unit, KVIOMMU_SIGNAL_CONTROL);
	}
	return 0;
}

/*
 * Devices that the guest does not use do not count: it may well attach those of
 * a group one after another.
 */
static int group_update(struct kviommu_group *group)
{
	const struct kviommu_binding *b = &blocked;
	struct kviommu_device *dev;

	list_for_each_entry(dev, &group->devices, group_entry) {
		if (dev->wanted.type == KVIOMMU_BIND_BLOCKED)
			continue;
		if (b != &blocked && !same_binding(&dev->wanted, b)) {
			b = &blocked;
			break;
		}
		b = &dev->wanted;
	}
	return group_bind(group, b);
}

/* Ask the front-end what the device's DMA is to go through. */
static void device_resolve(struct kviommu_device *dev)
{
	struct kviommu_frontend *fe = dev->unit->fe;
	u8 fault = dev->wanted.fault;

	fe->ops->resolve(fe, dev->source_id, &dev->wanted);
	/* One fault for each mistake of the guest. */
	if (dev->wanted.fault && dev->wanted.fault != fault)
		fe->ops->fault(fe, dev->source_id, 0, dev->wanted.fault);
	dev->group->unsettled = true;
}

/**
 * kviommu_device_settle() - Go on with what changes of devices left to do
 * @unit: The unit
 *
 * Context: process context, under unit->lock.
 * Return: 0; -EAGAIN when the time for this step is up, to be called again in
 * the next one; -EINTR if a fatal signal is pending.
 */
int kviommu_device_settle(struct kviommu_unit *unit)
{
	struct kviommu_group *group;
	int ret = 0;

	lockdep_assert_held(&unit->lock);

	list_for_each_entry(group, &unit->groups, entry) {
		if (group->unsettled)
			ret = group_update(group);
		if (ret)
			return ret;
	}
	return kviommu_domain_reap(unit, false);
}

/**
 * kviommu_rebind() - The guest says that it changed what devices go through
 * @unit: The unit
 * @sid: Requester ID
 * @mask: Bits of it that do not matter
 *
 * Context: process context, under unit->lock.
 * Return: as kviommu_device_settle().
 */
int kviommu_rebind(struct kviommu_unit *unit, u16 sid, u16 mask)
{
	struct kviommu_device *dev;

	lockdep_assert_held(&unit->lock);

	/* VFIO and the IOMMU core may wait for others. */
	if (unit->in_poller)
		return -EAGAIN;
	/* All of a group first: it must not go through what one of them had. */
	list_for_each_entry(dev, &unit->devices, entry)
		if (!((dev->source_id ^ sid) & ~mask))
			device_resolve(dev);
	return kviommu_device_settle(unit);
}

/**
 * kviommu_device_fault() - Report a fault of a domain
 * @domain: The domain
 * @iova: The address
 * @reason: Reason of the front-end's format
 *
 * As that of one of its devices, for none has made a request yet: the first one
 * that the guest wants faults of.
 *
 * Context: process context, under unit->lock.
 */
void kviommu_device_fault(struct kviommu_domain *domain, u64 iova, u8 reason)
{
	struct kviommu_frontend *fe = domain->unit->fe;
	struct kviommu_device *dev;

	lockdep_assert_held(&domain->unit->lock);

	list_for_each_entry(dev, &domain->unit->devices, entry) {
		if (dev->group->domain != domain && dev->group->next != domain)
			continue;
		if (dev->wanted.type != KVIOMMU_BIND_DOMAIN || dev->wanted.quiet)
			continue;
		fe->ops->fault(fe, dev->source_id, iova, reason);
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
	list_add_tail(&group->entry, &dev->unit->groups);
	return group;
}

/* Put the device into its group, which the unit may have already. */
static int group_join(struct kviommu_device *dev)
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

static void group_leave(struct kviommu_device *dev)
{
	struct kviommu_group *group = dev->group;
	bool last = list_is_singular(&group->devices);

	if (last)
		group_bind(group, &blocked);
	kviommu_hwgroup_del(&group->hw, &dev->host);
	list_del(&dev->group_entry);
	if (last) {
		list_del(&group->entry);
		kfree(group);
	} else if (!dev->unit->closing) {
		group_update(group);
	}
}

/**
 * kviommu_device_attach() - Put a device behind a unit
 * @unit: The unit
 * @fd: File descriptor of the VFIO device
 * @source_id: Requester ID
 *
 * Context: process context, under unit->lock; kviommu_device_settle() has to
 * follow.
 * Return: 0, or an error of KVIOMMU_ATTACH_DEVICE.
 */
int kviommu_device_attach(struct kviommu_unit *unit, int fd, u32 source_id)
{
	struct kviommu_device *dev, *other;
	int ret;

	if (source_id > U16_MAX)
		return -EINVAL;
	if (device_find(unit, source_id))
		return -EEXIST;
	if (unit->stats.out_devices >= KVIOMMU_MAX_DEVICES)
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
	ret = group_join(dev);
	if (ret)
		goto put;
	list_add_tail(&dev->entry, &unit->devices);
	kviommu_count(unit, devices, 1);
	device_resolve(dev);
	/* At once: what the others of its group go through may not be for it. */
	group_update(dev->group);
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
 * kviommu_domain_reap() has to follow.
 */
void kviommu_device_destroy(struct kviommu_device *dev)
{
	group_leave(dev);
	kviommu_count(dev->unit, devices, -1);
	list_del(&dev->entry);
	kviommu_vfio_put(&dev->host);
	kfree(dev);
}

/**
 * kviommu_device_detach() - Take a device away from a unit
 * @unit: The unit
 * @source_id: Requester ID
 *
 * Context: process context, under unit->lock.
 * Return: 0 or -ENOENT.
 */
int kviommu_device_detach(struct kviommu_unit *unit, u32 source_id)
{
	struct kviommu_device *dev = device_find(unit, source_id);

	if (!dev)
		return -ENOENT;
	kviommu_device_destroy(dev);
	mutex_lock(&unit->map_lock);
	kviommu_stale_end(unit);
	mutex_unlock(&unit->map_lock);
	return 0;
}
