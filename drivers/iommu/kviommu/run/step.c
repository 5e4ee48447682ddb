// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's work, in pieces: under unit->lock and map_lock, between which others
 * get the locks.
 */
#include <linux/bitops.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/sched/signal.h>
#include <linux/time64.h>
#include <linux/unaligned.h>

#include "run.h"
#include "../base/trace.h"
#include "../xlate/shadow/api.h"

/*
 * How long one register write may keep a vCPU: longer work goes on in a worker
 * while the guest runs.
 */
#define VCPU_TIME	msecs_to_jiffies(50)

/* How long others may have to wait for unit->lock. */
#define STEP_TIME	msecs_to_jiffies(10)

/**
 * kviommu_work_begin() - Begin a piece of work that may wait
 * @work: Where to
 *
 * Context: under unit->lock.
 */
void kviommu_work_begin(struct kviommu_work *work)
{
	*work = (struct kviommu_work){
		.began = ktime_get_ns(),
		.deadline = jiffies + STEP_TIME,
		.may_wait = true,
	};
}

static void count_latency(struct kviommu_unit *unit, u64 ns)
{
	unsigned int i = min(fls64(ns / NSEC_PER_USEC), KVIOMMU_LATENCY_BUCKETS - 1);

	kviommu_count(unit, latency[i], 1);
}

static bool unit_idle(struct kviommu_unit *unit)
{
	return READ_ONCE(unit->closing) || !unit->model->ops->pending(unit->model);
}

/* One piece of work, under map_lock. Return: there is more. */
static bool unit_run(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	struct kviommu_model *model = unit->model;
	u64 now;

	if (!unit->busy_since)
		unit->busy_since = work->began;
	if (model->ops->run(model, work))
		return true;
	now = ktime_get_ns();
	count_latency(unit, now - unit->busy_since);
	unit->busy_since = 0;
	/* Also if it is the worker who did what a shared thread left to it. */
	if (unit->polled)
		unit->poll_busy_at = now;
	return false;
}

/**
 * kviommu_step() - Do one piece of the guest's work
 * @unit: The unit
 *
 * Context: process context of the VMM, under unit->lock.
 * Return: there is more.
 */
bool kviommu_step(struct kviommu_unit *unit)
{
	struct kviommu_work work;
	bool more, flush;

	if (unit_idle(unit))
		return false;
	kviommu_work_begin(&work);
	mutex_lock(&unit->map_lock);
	more = unit_run(unit, &work);
	flush = unit->policy.strategy == KVIOMMU_STRATEGY_ASYNC &&
		unit->shadows.nr_release;
	mutex_unlock(&unit->map_lock);
	if (flush)
		kviommu_unit_defer(unit);
	return more;
}

/**
 * kviommu_run() - Go on with the guest's work in pieces, so that others get unit->lock
 * @unit: The unit
 * @more: There is more to do
 *
 * For as long as a vCPU may be kept; the rest is left to the worker.
 *
 * Context: process context of the VMM, no locks but kvm->srcu.
 */
void kviommu_run(struct kviommu_unit *unit, bool more)
{
	unsigned long end = jiffies + VCPU_TIME;

	while (more) {
		cond_resched();
		if (signal_pending(current) || time_after(jiffies, end)) {
			kviommu_unit_defer(unit);
			return;
		}
		if (mutex_lock_killable(&unit->lock)) {
			/* There may be vCPUs in other processes. */
			kviommu_unit_defer(unit);
			return;
		}
		more = kviommu_step(unit);
		kviommu_unlock(unit);
	}
}

/**
 * kviommu_unit_write() - The guest wrote to the register page, and that was trapped
 * @k: The unit's end of the virtual machine
 * @offset: Where in the page
 * @data: What it wrote
 * @len: How many bytes
 *
 * Context: in the exit of the vCPU that wrote, kvm->srcu is read-held.
 */
void kviommu_unit_write(struct kviommu_kvm *k, unsigned int offset, const void *data,
			unsigned int len)
{
	struct kviommu_unit *unit = container_of(k, struct kviommu_unit, kvm);
	bool more, poll;

	trace_kviommu_reg_write(unit->id, offset, len, len == 8 ?
				get_unaligned((u64 *)data) : len == 4 ?
				get_unaligned((u32 *)data) : *(u8 *)data);
	/* Killed: the guest will not miss its write. */
	if (mutex_lock_killable(&unit->lock))
		return;
	kviommu_count(unit, reg_writes, 1);
	unit->model->page_ops->write(unit->model, offset, data, len);
	more = kviommu_step(unit);
	unit->poll_asked = true;
	poll = kviommu_poll_wanted(unit);
	kviommu_unlock(unit);
	if (poll)
		kviommu_unit_defer(unit);
	kviommu_run(unit, more);
}

/* A polling thread may leave a flush, and more idle pins than there may be. */
static bool unit_untidy(const struct kviommu_unit *unit)
{
	return (READ_ONCE(unit->shadows.nr_release) &&
		!READ_ONCE(unit->shadows.stale.since)) ||
	       READ_ONCE(unit->pins.idle) > unit->policy.max_idle_pins;
}

/**
 * kviommu_poll_step() - Do what a guest asked for whose writes are not trapped
 * @unit: The unit
 * @work: What the caller may do; without may_wait it does not wait for map_lock, either
 * @all: See to all registers, also if there is no command
 *
 * Context: a thread that polls, under unit->lock.
 * Return: there is more to do, by the worker.
 */
bool kviommu_poll_step(struct kviommu_unit *unit, const struct kviommu_work *work,
		       bool all)
{
	struct kviommu_model *model = unit->model;
	bool more;

	/* Others hold it while they wait for the VMM: so does the worker for them. */
	if (work->may_wait) {
		mutex_lock(&unit->map_lock);
	} else if (!mutex_trylock(&unit->map_lock)) {
		model->page_ops->sync(model, all);
		if (!unit->busy_since && model->ops->pending(model))
			unit->busy_since = work->began;
		return true;
	}
	model->page_ops->sync(model, all);
	more = !unit_idle(unit) && unit_run(unit, work);
	/* Messages that were changed are announced well before an event. */
	if (!all && !model->page_ops->pollable(model))
		model->page_ops->sync(model, true);
	/* Here the guest has its status, and no other thread has to be woken for it. */
	if (!more && unit->policy.strategy == KVIOMMU_STRATEGY_ASYNC)
		kviommu_iotlb_sync(unit, work);
	mutex_unlock(&unit->map_lock);
	return more || unit_untidy(unit);
}
