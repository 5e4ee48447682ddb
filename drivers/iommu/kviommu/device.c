// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices of a unit, and what their DMA goes through: nothing, the whole IOAS,
 * or a guest domain, as the front-end says.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/slab.h>

#include "kviommu.h"
#include "trace.h"

static int device_switch(struct kviommu_device *dev,
			 const struct kviommu_binding *b)
{
	struct kviommu_unit *unit = dev->unit;
	struct kviommu_domain *domain;

	switch (b->type) {
	case KVIOMMU_BIND_BLOCKED:
		break;
	case KVIOMMU_BIND_IDENTITY:
		return kviommu_vfio_set_ioas(&dev->host, unit->access.ioas_id);
	case KVIOMMU_BIND_DOMAIN:
		domain = kviommu_domain_attach(unit, &dev->host,
					       dev->source_id, b);
		if (IS_ERR(domain))
			return PTR_ERR(domain);
		dev->domain = domain;
		return 0;
	}
	return kviommu_vfio_set_domain(&dev->host, NULL);
}

/*
 * Let the device's DMA go through @b, or block it if that fails. What it went
 * through before serves until the new is ready.
 */
static void device_bind(struct kviommu_device *dev,
			const struct kviommu_binding *b)
{
	struct kviommu_domain *old = dev->domain;
	struct kviommu_unit *unit = dev->unit;
	int ret;

	dev->domain = NULL;
	dev->bound = *b;
	ret = device_switch(dev, b);
	trace_kviommu_bind(unit->id, dev->source_id, b->type, b->did, b->pgtbl,
			   ret);
	if (ret) {
		kviommu_vfio_set_domain(&dev->host, NULL);
		dev->bound = (struct kviommu_binding){ KVIOMMU_BIND_BLOCKED };
		kviommu_count(unit, errors, 1);
		pr_warn_ratelimited("unit %d: DMA of device %04x stays blocked: error %d\n",
				    unit->id, dev->source_id, ret);
	}
	if (old)
		kviommu_domain_put(old);
}

/* Ask the front-end what the device's DMA is to go through. */
static void device_update(struct kviommu_device *dev)
{
	struct kviommu_frontend *fe = dev->unit->fe;
	struct kviommu_binding b = {};

	fe->ops->resolve(fe, dev->source_id, &b);
	if (b.type != dev->bound.type || b.did != dev->bound.did ||
	    b.pgtbl != dev->bound.pgtbl || b.levels != dev->bound.levels)
		device_bind(dev, &b);
}

/**
 * kviommu_rebind() - The guest says that it changed what devices go through
 * @unit: The unit
 * @sid: Requester ID
 * @mask: Bits of it that do not matter
 *
 * Context: process context, under unit->lock.
 */
void kviommu_rebind(struct kviommu_unit *unit, u16 sid, u16 mask)
{
	struct kviommu_device *dev;

	lockdep_assert_held(&unit->lock);

	list_for_each_entry(dev, &unit->devices, entry)
		if (!((dev->source_id ^ sid) & ~mask))
			device_update(dev);
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
 * @fd: File descriptor of the VFIO device
 * @source_id: Requester ID
 *
 * Context: process context, under unit->lock.
 * Return: 0, or an error of KVIOMMU_ATTACH_DEVICE.
 */
int kviommu_device_attach(struct kviommu_unit *unit, int fd, u32 source_id)
{
	struct kviommu_device *dev;
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
	ret = kviommu_vfio_get(&dev->host, fd, &unit->access, unit->aw_bits);
	if (ret) {
		kfree(dev);
		return ret;
	}
	list_add_tail(&dev->entry, &unit->devices);
	kviommu_count(unit, devices, 1);
	device_update(dev);
	return 0;
}

/**
 * kviommu_device_destroy() - Block a device's DMA and give the device back
 * @dev: The device
 *
 * Context: process context, under unit->lock.
 */
void kviommu_device_destroy(struct kviommu_device *dev)
{
	static const struct kviommu_binding blocked = { KVIOMMU_BIND_BLOCKED };

	device_bind(dev, &blocked);
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
	return 0;
}
