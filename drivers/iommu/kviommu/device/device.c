// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices of a unit, and the binding that the guest wants for each, as its model
 * resolves it.
 */
#include <linux/jiffies.h>
#include <linux/slab.h>
#include <linux/time64.h>
#include <linux/xarray.h>

#include "device.h"
#include "../base/model.h"

/*
 * Ask the model which binding the guest wants for requests without PASID. Return: 0; -EAGAIN or
 * -EINTR if the model could not find out and has to be asked again.
 */
static int device_resolve(struct kviommu_device *dev, const struct kviommu_work *work)
{
	struct kviommu_model *model = dev->unit->model;
	u8 before = dev->wanted.fault;
	int ret;

	ret = model->ops->resolve(model, work, dev->source_id, 0, &dev->wanted);
	if (ret)
		return ret;
	/* A device that makes no requests yet is no reason to pin all of the guest's memory. */
	if (dev->wanted.off && dev->unit->boot_master && !dev->bus_master)
		dev->wanted.type = KVIOMMU_BIND_BLOCKED;
	dev->group->unsettled = true;
	/* The VMM may want to say why the device is blocked. */
	if (dev->wanted.fault && dev->wanted.fault != before)
		kviommu_signal(dev->unit, KVIOMMU_EVENT_CONTROL);
	return 0;
}

/* Tell the model, if it lists the devices, that there is another one or one less. */
static void device_list_changed(struct kviommu_unit *unit)
{
	if (unit->model->ops->devices_changed)
		unit->model->ops->devices_changed(unit->model);
}

/**
 * kviommu_device_settle() - Finish what changes of devices or their bindings began
 * @unit: The unit
 * @work: The piece of work that this is part of
 *
 * Updates groups that do not follow their wanted binding yet, and frees translations
 * that are no longer used.
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 * Return: 0; -EAGAIN when the time for this step is up: call it again in the next
 * one; -EINTR if a fatal signal is pending or the unit is going away.
 */
int kviommu_device_settle(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	struct kviommu_device *dev;
	struct kviommu_group *group;
	int ret = 0;

	lockdep_assert_held(&unit->lock);

	list_for_each_entry(group, &unit->groups, entry) {
		if (group->unsettled)
			ret = kviommu_group_update(group, work);
		if (ret)
			return ret;
	}
	list_for_each_entry(dev, &unit->devices, entry) {
		if (dev->pasids_unsettled)
			ret = kviommu_pasids_update(dev, work);
		if (ret)
			return ret;
	}
	return kviommu_xlate_reap(unit, work);
}

/*
 * The first of these is tried so many microseconds later, each other one after twice the time
 * of the one before. All of them take about as long as PCI waits for a device to be reset.
 */
#define BUSY_US		(100 * USEC_PER_MSEC)
#define BUSY_TRIES	10

/**
 * kviommu_device_busy() - Have the worker try later what was refused with -EBUSY
 * @unit: The unit
 * @was: Result of the attempt before: 0 or a negative errno
 * @ret: Result of this attempt; nothing is done if it is another one than -EBUSY
 *
 * While a device that has a cache of translations is being reset the IOMMU core attaches it to
 * nothing.
 *
 * Context: process context, under unit->lock.
 * Return: true if kviommu_device_retry() has just tried it, so that this is no news.
 */
bool kviommu_device_busy(struct kviommu_unit *unit, int was, int ret)
{
	bool again = was == ret && unit->busy_trying;
	u64 us;

	if (ret != -EBUSY)
		return false;
	/* A device that is reset now does not wait because of another one. */
	if (!again) {
		unit->busy_at = 0;
		unit->busy_tries = 0;
	}
	us = BUSY_US << unit->busy_tries;
	if (unit->busy_at || unit->busy_tries == BUSY_TRIES)
		return again;
	unit->busy_tries++;
	unit->busy_at = jiffies + usecs_to_jiffies(us) ?: 1;
	kviommu_wake(unit, us);
	return again;
}

/**
 * kviommu_device_retry() - Try again to attach what was refused with -EBUSY, if it is time
 * @unit: The unit
 * @work: The piece of work that this is part of
 *
 * Context: the unit's worker, under unit->lock, not under map_lock; may sleep.
 * Return: true if there is more to do.
 */
bool kviommu_device_retry(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	struct kviommu_device *dev;
	struct kviommu_group *group;
	int ret;

	if (unit->busy_at && time_before(jiffies, unit->busy_at)) {
		/* An earlier time that somebody else had set made this one be forgotten. */
		kviommu_wake(unit, jiffies_to_usecs(unit->busy_at - jiffies));
	} else if (unit->busy_at) {
		unit->busy_at = 0;
		unit->busy_trying = true;
		list_for_each_entry(group, &unit->groups, entry)
			group->unsettled |= group->error == -EBUSY;
		list_for_each_entry(dev, &unit->devices, entry)
			kviommu_pasids_retry(dev);
	}
	if (!unit->busy_trying || READ_ONCE(unit->closing))
		return false;
	ret = kviommu_device_settle(unit, work);
	if (ret)
		return ret == -EAGAIN;
	unit->busy_trying = false;
	if (!unit->busy_at)
		unit->busy_tries = 0;
	return false;
}

/* For rebind(): all that is known of a device; no PASID is as large. */
#define ALL_REQUESTS	U32_MAX

static int device_ask(struct kviommu_device *dev, const struct kviommu_work *work, u32 pasid)
{
	if (pasid == ALL_REQUESTS)
		return device_resolve(dev, work) ?: kviommu_pasids_resolve(dev, work);
	return pasid ? kviommu_pasid_announced(dev, work, pasid) : device_resolve(dev, work);
}

static int rebind(struct kviommu_unit *unit, const struct kviommu_work *work, u16 sid,
		  u16 mask, u32 pasid, struct kviommu_progress *p)
{
	struct kviommu_device *dev;
	int ret = 0;

	lockdep_assert_held(&unit->lock);
	lockdep_assert_held(&unit->map_lock);

	/* VFIO and the IOMMU core sleep. */
	if (!work->may_wait)
		return -EAGAIN;
	/*
	 * Resolve all devices before any group is updated: a group must not be attached
	 * to an outdated binding of one of its devices.
	 */
	list_for_each_entry(dev, &unit->devices, entry) {
		if (!p->resolved && !((dev->source_id ^ sid) & ~mask))
			ret = device_ask(dev, work, pasid);
		if (ret)
			return ret;
	}
	p->resolved = true;
	mutex_unlock(&unit->map_lock);
	ret = kviommu_device_settle(unit, work);
	mutex_lock(&unit->map_lock);
	if (!ret)
		*p = (struct kviommu_progress){};
	return ret;
}

/**
 * kviommu_rebind() - Follow a change of the bindings that the guest wants
 * @unit: The unit
 * @work: The piece of work that this is part of
 * @sid: Requester ID of the devices that the change is about
 * @mask: Bits of @sid that are ignored; U16_MAX selects all devices
 * @p: The point at which to resume; updated if the rebind is interrupted
 *
 * The model is asked for the bindings once for each request of the guest, however many
 * steps it takes to follow them. To ask makes every group try its binding, also one that
 * has failed: asked again in each step, a binding that always fails might never let the
 * request end. Of requests with PASID these are the bindings of the known PASIDs.
 *
 * Context: process context, may sleep if @work may wait; under unit->lock and
 * map_lock, which is dropped and taken again.
 * Return: as kviommu_device_settle(); -EAGAIN, too, if @work may not wait.
 */
int kviommu_rebind(struct kviommu_unit *unit, const struct kviommu_work *work, u16 sid,
		   u16 mask, struct kviommu_progress *p)
{
	return rebind(unit, work, sid, mask, ALL_REQUESTS, p);
}

/**
 * kviommu_rebind_pasid() - Follow a change of the bindings of one PASID
 * @unit: The unit
 * @work: The piece of work that this is part of
 * @pasid: The PASID, which becomes known if it was not; or 0, for requests without PASID
 * @p: As for kviommu_rebind()
 *
 * Context: as kviommu_rebind().
 * Return: as kviommu_rebind().
 */
int kviommu_rebind_pasid(struct kviommu_unit *unit, const struct kviommu_work *work,
			 u32 pasid, struct kviommu_progress *p)
{
	return rebind(unit, work, 0, U16_MAX, pasid, p);
}

/**
 * kviommu_device_fault() - Report a fault of a translation to the guest
 * @xlate: The translation
 * @iova: The I/O virtual address that cannot be translated
 * @reason: Why it cannot be translated
 *
 * The translation was being built or updated: no device has made a request yet. So the
 * fault is reported as one of the first device of the translation for which the guest
 * has not disabled fault reports.
 *
 * Context: process context, under unit->lock and map_lock; does not sleep.
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

/**
 * kviommu_device_find() - Find a device of a unit
 * @unit: The unit
 * @source_id: Requester ID that the guest knows it by
 *
 * Context: under unit->lock.
 * Return: the device, or NULL.
 */
struct kviommu_device *kviommu_device_find(struct kviommu_unit *unit, u32 source_id)
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
 * @source_id: Requester ID that the guest knows the device by
 * @serial: Set to the number by which kviommu_device_fill() knows the device
 *
 * The caller calls kviommu_device_fill() and kviommu_device_settle() afterwards.
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 * Return: 0; -EINVAL if @source_id has more than 16 bits; -EEXIST if another device
 * has it; -EBUSY if the unit has the device already; -ENOSPC if it has
 * KVIOMMU_MAX_DEVICES; -ENOMEM; -EINTR if a fatal signal is pending; an error of
 * kviommu_vfio_get(), kviommu_nest_check() or kviommu_group_join().
 */
int kviommu_device_attach(struct kviommu_unit *unit, const struct kviommu_work *work,
			  int fd, u32 source_id, u64 *serial)
{
	struct kviommu_device *dev, *other;
	int ret;

	if (source_id > U16_MAX)
		return -EINVAL;
	if (kviommu_device_find(unit, source_id))
		return -EEXIST;
	if (unit->stats.devices >= KVIOMMU_MAX_DEVICES)
		return -ENOSPC;

	dev = kzalloc_obj(*dev, GFP_KERNEL_ACCOUNT);
	if (!dev)
		return -ENOMEM;
	dev->unit = unit;
	dev->source_id = source_id;
	dev->serial = ++unit->device_serial;
	*serial = dev->serial;
	xa_init_flags(&dev->pasids, XA_FLAGS_ACCOUNT);
	ret = kviommu_vfio_get(&dev->host, fd, &unit->access);
	if (ret)
		goto free;
	ret = -EBUSY;
	list_for_each_entry(other, &unit->devices, entry)
		if (other->host.vdev == dev->host.vdev)
			goto put;
	ret = kviommu_nest_check(&dev->host, &unit->nest);
	if (ret)
		goto put;
	ret = kviommu_group_join(dev);
	if (ret)
		goto put;
	list_add_tail(&dev->entry, &unit->devices);
	kviommu_count(unit, devices, 1);
	device_list_changed(unit);
	mutex_lock(&unit->map_lock);
	ret = device_resolve(dev, work);
	mutex_unlock(&unit->map_lock);
	if (ret) {
		kviommu_device_destroy(dev, work);
		return ret;
	}
	/*
	 * Now, not in kviommu_device_settle(): the device joined a group whose current
	 * translation may be one that the guest does not want for it.
	 */
	kviommu_group_update(dev->group, work);
	return 0;

put:
	kviommu_vfio_put(&dev->host);
free:
	kfree(dev);
	return ret;
}

/**
 * kviommu_device_fill() - Have all of the guest's memory where a new device may need it
 * @unit: The unit
 * @work: The piece of work that this is part of
 * @serial: Number of the device, of kviommu_device_attach()
 *
 * The lock is dropped between the pieces of this. The VMM may detach the device then and give
 * another one its requester ID: that is left alone.
 *
 * Context: process context of the VMM, may sleep; under unit->lock, not under map_lock.
 * Return: 0, also if the device is gone; -EAGAIN when the time for this step is up: call it
 * again in the next one; -EINTR; -ENOMEM, also at the limit of locked memory, or another error
 * of the IOMMU's driver, with the device removed from the unit.
 */
int kviommu_device_fill(struct kviommu_unit *unit, const struct kviommu_work *work,
			u64 serial)
{
	struct kviommu_device *dev;
	int ret = 0;

	list_for_each_entry(dev, &unit->devices, entry) {
		if (dev->serial != serial)
			continue;
		ret = kviommu_backends_fill(unit, work, &dev->group->hw);
		if (ret && !kviommu_unfinished(ret))
			kviommu_device_destroy(dev, work);
		break;
	}
	return ret;
}

/**
 * kviommu_device_destroy() - Remove a device from its unit and free it
 * @dev: The device
 * @work: The piece of work that this is part of
 *
 * Blocks the DMA of the device's group, unless other devices of the group stay. The
 * caller calls kviommu_device_settle() or kviommu_xlate_reap() afterwards.
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 */
void kviommu_device_destroy(struct kviommu_device *dev, const struct kviommu_work *work)
{
	kviommu_pasids_drop(dev);
	kviommu_group_leave(dev, work);
	kviommu_count(dev->unit, devices, -1);
	list_del(&dev->entry);
	device_list_changed(dev->unit);
	kviommu_vfio_put(&dev->host);
	kfree(dev);
}

/* Why a device does not use the wanted binding: a negative errno, or 0 */
static int device_error(const struct kviommu_device *dev)
{
	const struct kviommu_group *group = dev->group;

	if (dev->wanted.type == KVIOMMU_BIND_BLOCKED)
		return 0;
	if (group->unsettled || group->next)
		return -EINPROGRESS;
	if (group->conflict)
		return -EXDEV;
	return group->error;
}

/**
 * kviommu_device_get() - Fill in the answer of KVIOMMU_GET_DEVICE
 * @unit: The unit
 * @cmd: The arguments; the members out_* are filled in
 *
 * Context: process context, under unit->lock.
 * Return: 0; -ENOENT if the unit has no device with this requester ID, or does not know of
 * the PASID.
 */
int kviommu_device_get(struct kviommu_unit *unit, struct kviommu_get_device *cmd)
{
	static const u32 dma[KVIOMMU_NR_BINDINGS] = {
		[KVIOMMU_BIND_BLOCKED] = KVIOMMU_DMA_BLOCKED,
		[KVIOMMU_BIND_IDENTITY] = KVIOMMU_DMA_IDENTITY,
		[KVIOMMU_BIND_DOMAIN] = KVIOMMU_DMA_TRANSLATED,
		[KVIOMMU_BIND_NESTED] = KVIOMMU_DMA_TRANSLATED,
		[KVIOMMU_BIND_TRACKED] = KVIOMMU_DMA_TRACKED,
	};
	struct kviommu_device *dev = kviommu_device_find(unit, cmd->source_id);
	unsigned long next = cmd->pasid + 1UL;
	const struct kviommu_xlate *xlate;

	lockdep_assert_held(&unit->lock);

	if (!dev)
		return -ENOENT;
	cmd->out_next_pasid = xa_find(&dev->pasids, &next, ULONG_MAX, XA_PRESENT) ? next : 0;
	if (cmd->pasid)
		return kviommu_pasid_get(dev, cmd);
	xlate = dev->group->xlate;
	cmd->out_wanted = dma[dev->wanted.type];
	cmd->out_in_force = dma[xlate->binding.type];
	cmd->out_error = -device_error(dev);
	cmd->out_fault = dev->wanted.fault;
	cmd->out_pins = xlate->ops->pins;
	cmd->out_pinned = xlate->ops->pinned ? xlate->ops->pinned(xlate) : 0;
	return 0;
}

/**
 * kviommu_device_detach() - Take a device away from a unit
 * @unit: The unit
 * @work: The piece of work that this is part of
 * @source_id: Requester ID that the guest knows the device by
 *
 * The caller calls kviommu_device_settle() afterwards.
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 * Return: 0; -ENOENT if the unit has no device with this requester ID.
 */
int kviommu_device_detach(struct kviommu_unit *unit, const struct kviommu_work *work,
			  u32 source_id)
{
	struct kviommu_device *dev = kviommu_device_find(unit, source_id);

	if (!dev)
		return -ENOENT;
	kviommu_device_destroy(dev, work);
	return 0;
}
