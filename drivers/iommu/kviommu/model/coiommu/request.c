// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests: a CPU of the guest writes to its slot, triggers it, and waits until the slot is 0,
 * with interrupts off. Whatever becomes of a request, the slot is zeroed. The guest then looks
 * into its table for what was pinned: there is no other answer.
 */
#include <linux/align.h>
#include <linux/bitops.h>
#include <linux/minmax.h>

#include "coiommu.h"
#include "../../device/device.h"
#include "../../mem/mem.h"
#include "../../xlate/tracked/api.h"

/**
 * co_request_pending() - Check whether there is a request
 * @co: The model
 *
 * Context: under unit->lock.
 * Return: true if there is one.
 */
bool co_request_pending(const struct coiommu *co)
{
	return co->request.valid || find_next_bit(co->triggered, CO_SLOTS, 0) < CO_SLOTS;
}

static void request_end(struct coiommu *co)
{
	struct co_request *r = &co->request;

	kviommu_count(co->model.unit, refused, r->nr - r->done);
	r->valid = false;
	co_slot_done(co, r->cpu);
}

/**
 * co_request_abort() - End the present request without an answer but that
 * @co: The model
 *
 * Context: under unit->lock.
 */
void co_request_abort(struct coiommu *co)
{
	if (co->request.valid)
		request_end(co);
}

/* Fill in a request of one frame. */
static int request_single(struct co_request *r, u64 slot, u16 *bdf)
{
	*bdf = slot & CO_SLOT_BDF;
	r->nr = 1;
	r->loaded = 1;
	r->gfns[0] = slot >> CO_SLOT_GFN_SHIFT;
	return 0;
}

static int request_batch(struct kviommu_unit *unit, const struct kviommu_work *work,
			 struct co_request *r, u64 slot, u16 *bdf)
{
	u64 gpa = slot & ~CO_SLOT_BATCH;
	struct co_batch batch;
	int ret;

	if (!IS_ALIGNED(gpa, sizeof(u64)))
		return -EINVAL;
	ret = kviommu_guest_read(unit, work, gpa, &batch, sizeof(batch));
	if (ret)
		return ret;
	if (batch.nr > CO_BATCH_MAX)
		return -E2BIG;
	*bdf = batch.bdf;
	r->nr = batch.nr;
	r->gpa = gpa + sizeof(batch);
	kviommu_count(unit, batches, 1);
	return 0;
}

/* Begin the request of a slot. Return: 0; -EAGAIN or -EINTR to be called again; an error. */
static int request_begin(struct coiommu *co, const struct kviommu_work *work,
			 unsigned int cpu)
{
	struct kviommu_unit *unit = co->model.unit;
	struct co_request r = { .cpu = cpu };
	/* Read once: the guest may write something else there. */
	u64 slot = READ_ONCE(*co_slot(co, cpu));
	u16 bdf;
	int ret;

	if (cpu >= co->cpus || !unit->tracked.active || !slot)
		return -ENOENT;
	if (slot & CO_SLOT_BATCH)
		ret = request_batch(unit, work, &r, slot, &bdf);
	else
		ret = request_single(&r, slot, &bdf);
	if (kviommu_unfinished(ret))
		return ret;
	kviommu_count(unit, descriptors, 1);
	if (!ret && !kviommu_device_find(unit, bdf))
		ret = -ENODEV;
	if (ret) {
		kviommu_error(unit, "request", slot, ret);
		return ret;
	}
	kviommu_count(unit, asked, r.nr);
	r.valid = true;
	co->request = r;
	return 0;
}

/* Read the next frame numbers of a batch. */
static int request_load(struct coiommu *co, const struct kviommu_work *work)
{
	struct co_request *r = &co->request;
	u64 n = min_t(u64, r->nr - r->done, CO_BATCH_CHUNK);
	int ret;

	ret = kviommu_guest_read(co->model.unit, work, r->gpa + r->done * sizeof(u64), r->gfns,
				 n * sizeof(u64));
	if (ret)
		return ret;
	r->first = r->done;
	r->loaded = r->done + n;
	return 0;
}

/*
 * Go on with the present request. The first frame that cannot be had ends it, as the guest
 * gives up then. Return: 0 if it has ended, or -EAGAIN or -EINTR.
 */
static int request_go_on(struct coiommu *co, const struct kviommu_work *work)
{
	struct kviommu_unit *unit = co->model.unit;
	struct co_request *r = &co->request;
	u64 gfn;
	int ret;

	for (; r->done < r->nr; r->done++) {
		if (kviommu_time_up(work))
			return -EAGAIN;
		if (r->done == r->loaded) {
			ret = kviommu_resched(unit, work) ?: request_load(co, work);
			if (kviommu_unfinished(ret))
				return ret;
			if (ret)
				break;
		}
		gfn = r->gfns[r->done - r->first];
		ret = kviommu_tracked_pin(unit, work, gfn);
		if (kviommu_unfinished(ret))
			return ret;
		if (ret) {
			kviommu_error(unit, "tracked frame", gfn << PAGE_SHIFT, ret);
			break;
		}
	}
	request_end(co);
	return 0;
}

/**
 * co_request_run() - Carry out requests
 * @co: The model
 * @work: The piece of work
 *
 * Context: process context, under unit->lock and map_lock; may sleep.
 * Return: true if there are more.
 */
bool co_request_run(struct coiommu *co, const struct kviommu_work *work)
{
	unsigned int cpu;
	int ret;

	for (;;) {
		if (co->request.valid && request_go_on(co, work))
			return true;
		/* In turn, so that no CPU waits for ever. */
		cpu = find_next_bit(co->triggered, CO_SLOTS, co->request.cpu + 1);
		if (cpu >= CO_SLOTS)
			cpu = find_next_bit(co->triggered, CO_SLOTS, 0);
		if (cpu >= CO_SLOTS)
			return false;
		if (kviommu_time_up(work))
			return true;
		ret = request_begin(co, work, cpu);
		if (kviommu_unfinished(ret))
			return true;
		__clear_bit(cpu, co->triggered);
		if (ret)
			co_slot_done(co, cpu);
	}
}
