// SPDX-License-Identifier: GPL-2.0-only
/*
 * The PASIDs of a unit's devices, and the translation that requests with each go through.
 *
 * A PASID has 20 bits, and to search the guest's tables for those that lead somewhere would
 * take long. So the unit knows those alone that the guest has announced, by the invalidation
 * that caching mode asks for when an entry becomes present, and forgets them when their entry
 * is not present any more.
 */
#include <linux/err.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "device.h"
#include "../base/model.h"
#include "../base/trace.h"

/* What requests with a PASID go through, by the binding: one of enum kviommu_dma */
static u32 pasid_dma(const struct kviommu_binding *b)
{
	if (b->type == KVIOMMU_BIND_BLOCKED)
		return KVIOMMU_DMA_BLOCKED;
	/* Guest physical addresses, without tables of the guest */
	return b->levels ? KVIOMMU_DMA_TRANSLATED : KVIOMMU_DMA_IDENTITY;
}

/* Report that requests with a PASID are blocked though the guest has a translation for them. */
static void pasid_error(struct kviommu_device *dev, u32 pasid, int err)
{
	kviommu_error(dev->unit, "pasid", (u64)dev->source_id << 32 | pasid, err);
	kviommu_signal(dev->unit, KVIOMMU_EVENT_CONTROL);
}

/* Block a PASID, and give up the translation that it goes through or waits for. */
static void pasid_block(struct kviommu_device *dev, struct kviommu_pasid *p)
{
	if (p->attached) {
		kviommu_xlate_detach_pasid(p->xlate, &dev->group->hw, p->pasid);
		kviommu_count(dev->unit, pasids, -1);
	} else if (p->xlate) {
		kviommu_xlate_put(p->xlate);
	}
	p->xlate = NULL;
	p->attached = false;
}

static void pasid_forget(struct kviommu_device *dev, struct kviommu_pasid *p)
{
	xa_erase(&dev->pasids, p->pasid);
	dev->unit->nr_pasids--;
	kfree(p);
}

/*
 * Attach a blocked PASID to a translation for the binding that is wanted: an existing one, or
 * else a new one, which p->xlate is while it is not complete. Return: 0; -EAGAIN or -EINTR,
 * to be called again; another error, with p->xlate to be given up.
 */
static int pasid_attach(struct kviommu_device *dev, struct kviommu_pasid *p,
			const struct kviommu_work *work)
{
	struct kviommu_hwgroup *hw = &dev->group->hw;
	struct kviommu_unit *unit = dev->unit;
	struct kviommu_xlate *xlate = NULL;
	bool failed;
	int ret;

	if (!p->xlate)
		xlate = kviommu_xlate_find(unit, hw, p->pasid, &p->wanted, &failed);
	if (IS_ERR(xlate))
		return PTR_ERR(xlate);
	if (xlate) {
		p->xlate = xlate;
		return 0;
	}
	if (!p->xlate) {
		/* Translations that are being taken down count against the limits. */
		ret = kviommu_xlate_reap(unit, work);
		if (ret)
			return ret;
		xlate = kviommu_xlate_create(unit, hw, &p->wanted);
		if (IS_ERR(xlate))
			return PTR_ERR(xlate);
		p->xlate = xlate;
	}
	ret = kviommu_xlate_build(p->xlate, work) ?:
	      kviommu_xlate_attach(p->xlate, hw, p->pasid);
	/* Attaching took a reference: drop that of the one who waits. */
	if (!ret)
		kviommu_xlate_put(p->xlate);
	return ret;
}

/*
 * Let requests with a PASID go through what the guest wants, or block them if that fails. They
 * are blocked in between: the guest, too, has to make an entry not present before it changes
 * it. Return: 0; -EAGAIN or -EINTR as kviommu_group_update().
 */
static int pasid_update(struct kviommu_device *dev, struct kviommu_pasid *p,
			const struct kviommu_work *work)
{
	const struct kviommu_binding *b = &p->wanted;
	struct kviommu_unit *unit = dev->unit;
	int ret = 0;

	if (p->xlate && !kviommu_same_binding(&p->xlate->binding, b))
		pasid_block(dev, p);
	if (b->type != KVIOMMU_BIND_BLOCKED && !p->attached) {
		ret = pasid_attach(dev, p, work);
		if (kviommu_unfinished(ret))
			return ret;
		trace_kviommu_bind(unit->id, dev->source_id, p->pasid, b->type, b->did,
				   b->root, ret);
		if (ret) {
			pasid_block(dev, p);
			if (!kviommu_device_busy(unit, p->error, ret))
				pasid_error(dev, p->pasid, ret);
		} else {
			p->attached = true;
			kviommu_count(unit, pasids, 1);
			if (p->error == -EBUSY)
				kviommu_signal(unit, KVIOMMU_EVENT_CONTROL);
		}
	}
	p->error = ret;
	p->unsettled = false;
	/* An invalid entry is known as long as it is so, to be reported once. */
	if (b->type == KVIOMMU_BIND_BLOCKED && !b->fault && !b->off)
		pasid_forget(dev, p);
	return 0;
}

/**
 * kviommu_pasids_update() - Attach the known PASIDs of a device to what the guest wants
 * @dev: The device
 * @work: The piece of work that this is part of
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 * Return: as kviommu_group_update().
 */
int kviommu_pasids_update(struct kviommu_device *dev, const struct kviommu_work *work)
{
	struct kviommu_pasid *p;
	unsigned long i;
	int ret;

	xa_for_each(&dev->pasids, i, p) {
		if (!p->unsettled)
			continue;
		ret = pasid_update(dev, p, work);
		if (ret)
			return ret;
		if (kviommu_time_up(work))
			return -EAGAIN;
	}
	dev->pasids_unsettled = false;
	return 0;
}

/**
 * kviommu_pasids_retry() - Have kviommu_pasids_update() try again what was refused with -EBUSY
 * @dev: The device
 *
 * Context: under unit->lock.
 */
void kviommu_pasids_retry(struct kviommu_device *dev)
{
	struct kviommu_pasid *p;
	unsigned long i;

	xa_for_each(&dev->pasids, i, p) {
		if (p->error != -EBUSY)
			continue;
		p->unsettled = true;
		dev->pasids_unsettled = true;
	}
}

/* Ask the model which binding the guest wants for a PASID. Return: as device_resolve(). */
static int pasid_resolve(struct kviommu_device *dev, struct kviommu_pasid *p,
			 const struct kviommu_work *work)
{
	struct kviommu_model *model = dev->unit->model;
	int ret;

	ret = model->ops->resolve(model, work, dev->source_id, p->pasid, &p->wanted);
	if (ret)
		return ret;
	p->unsettled = true;
	dev->pasids_unsettled = true;
	return 0;
}

/**
 * kviommu_pasids_resolve() - Ask the model for the bindings of all known PASIDs of a device
 * @dev: The device
 * @work: The piece of work that this is part of
 *
 * To be followed by kviommu_pasids_update().
 *
 * Context: process context, may sleep if @work may wait; under unit->lock and map_lock.
 * Return: 0; -EAGAIN or -EINTR if the model has to be asked again.
 */
int kviommu_pasids_resolve(struct kviommu_device *dev, const struct kviommu_work *work)
{
	struct kviommu_pasid *p;
	unsigned long i;
	int ret = 0;

	xa_for_each(&dev->pasids, i, p) {
		ret = pasid_resolve(dev, p, work);
		if (ret)
			break;
	}
	return ret;
}

/* Remember a PASID. Return: 0; -EDQUOT if the unit has KVIOMMU_MAX_PASIDS; -ENOMEM. */
static int pasid_remember(struct kviommu_device *dev, const struct kviommu_pasid *new)
{
	struct kviommu_unit *unit = dev->unit;
	struct kviommu_pasid *p;
	int ret;

	if (unit->nr_pasids >= KVIOMMU_MAX_PASIDS)
		return -EDQUOT;
	p = kzalloc_obj(*p, KVIOMMU_GFP);
	if (!p)
		return -ENOMEM;
	*p = *new;
	ret = xa_err(xa_store(&dev->pasids, p->pasid, p, KVIOMMU_GFP));
	if (ret) {
		kfree(p);
		return ret;
	}
	unit->nr_pasids++;
	return 0;
}

/**
 * kviommu_pasid_announced() - Ask the model for the binding of a PASID of a device, which
 * becomes known if there is one
 * @dev: The device
 * @work: The piece of work that this is part of
 * @pasid: The PASID, not 0
 *
 * One that is too many is blocked, and counts as an error.
 *
 * Context: as kviommu_pasids_resolve().
 * Return: as kviommu_pasids_resolve().
 */
int kviommu_pasid_announced(struct kviommu_device *dev, const struct kviommu_work *work,
			    u32 pasid)
{
	struct kviommu_pasid *p = xa_load(&dev->pasids, pasid), new = { .pasid = pasid };
	int ret;

	if (p)
		return pasid_resolve(dev, p, work);
	ret = pasid_resolve(dev, &new, work);
	if (ret)
		return ret;
	if (new.wanted.type == KVIOMMU_BIND_BLOCKED && !new.wanted.fault && !new.wanted.off)
		return 0;
	ret = pasid_remember(dev, &new);
	if (ret)
		pasid_error(dev, pasid, ret);
	return 0;
}

/**
 * kviommu_pasid_get() - Fill in what KVIOMMU_GET_DEVICE says of a PASID
 * @dev: The device
 * @cmd: The arguments, with the PASID; the members out_* are filled in, but for
 *       out_next_pasid
 *
 * Context: process context, under unit->lock.
 * Return: 0; -ENOENT if the PASID is not known.
 */
int kviommu_pasid_get(struct kviommu_device *dev, struct kviommu_get_device *cmd)
{
	const struct kviommu_pasid *p = xa_load(&dev->pasids, cmd->pasid);

	lockdep_assert_held(&dev->unit->lock);

	if (!p)
		return -ENOENT;
	cmd->out_wanted = pasid_dma(&p->wanted);
	cmd->out_in_force = KVIOMMU_DMA_BLOCKED;
	cmd->out_pins = KVIOMMU_PINS_NOTHING;
	if (p->attached) {
		cmd->out_in_force = pasid_dma(&p->xlate->binding);
		cmd->out_pins = p->xlate->ops->pins;
	}
	cmd->out_error = -p->error;
	if (p->wanted.type == KVIOMMU_BIND_BLOCKED)
		cmd->out_error = 0;
	else if (p->unsettled)
		cmd->out_error = EINPROGRESS;
	cmd->out_fault = p->wanted.fault;
	cmd->out_pinned = 0;
	return 0;
}

/**
 * kviommu_pasids_drop() - Block and forget all PASIDs of a device
 * @dev: The device
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 */
void kviommu_pasids_drop(struct kviommu_device *dev)
{
	struct kviommu_pasid *p;
	unsigned long i;

	xa_for_each(&dev->pasids, i, p) {
		pasid_block(dev, p);
		pasid_forget(dev, p);
	}
	xa_destroy(&dev->pasids);
}

/**
 * kviommu_invalidate_pasid() - Apply the guest's changes to a range of addresses of a PASID
 * @unit: The unit
 * @work: The piece of work that this is part of
 * @did: Domain-id of the domain to look at
 * @pasid: The PASID, not 0
 * @first: First I/O virtual address of the range
 * @last: Last I/O virtual address of the range, inclusive
 *
 * As kviommu_invalidate() for what requests with the PASID go through. Domains of many PASIDs
 * may have the same domain-id.
 *
 * Context: under unit->lock and map_lock; does not sleep.
 */
void kviommu_invalidate_pasid(struct kviommu_unit *unit, const struct kviommu_work *work,
			      u16 did, u32 pasid, u64 first, u64 last)
{
	struct kviommu_device *dev;
	struct kviommu_pasid *p;

	lockdep_assert_held(&unit->lock);
	lockdep_assert_held(&unit->map_lock);

	list_for_each_entry(dev, &unit->devices, entry) {
		p = xa_load(&dev->pasids, pasid);
		if (p && p->attached && p->xlate->binding.did == did)
			kviommu_xlate_invalidate(p->xlate, work, first, last);
	}
}
