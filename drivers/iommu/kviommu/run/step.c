// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's work, in pieces. Each piece is done under unit->lock and map_lock; between
 * two pieces other threads can take these locks.
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
 * Time for which one register write may delay a vCPU, in jiffies. The worker continues
 * longer work while the guest runs.
 */
#define VCPU_TIME	msecs_to_jiffies(50)

/* Time after which a piece of work should release unit->lock for others, in jiffies */
#define STEP_TIME	msecs_to_jiffies(10)

/**
 * kviommu_work_begin() - Begin a piece of work that may wait
 * @work: The piece of work to initialize
 *
 * Context: process context of the VMM, under unit->lock.
 */
void kviommu_work_begin(struct kviommu_work *work)
{
	*work = (struct kviommu_work){
		.began = ktime_get_ns(),
		.deadline = jiffies + STEP_TIME,
		.may_wait = true,
	};
}

static void step_count_latency(struct kviommu_unit *unit, u64 ns)
{
	unsigned int i = min(fls64(ns / NSEC_PER_USEC), KVIOMMU_LATENCY_BUCKETS - 1);

	kviommu_count(unit, latency[i], 1);
}

/* Check whether there is work. If not, the guest may have withdrawn what was left of it. */
static bool unit_has_work(struct kviommu_unit *unit)
{
	if (!READ_ONCE(unit->closing) && unit->model->ops->pending(unit->model))
		return true;
	unit->busy_since = 0;
	return false;
}

/* Do a piece of work, under unit->lock and map_lock. Return true if there is more. */
static bool unit_run(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	struct kviommu_model *model = unit->model;
	u64 now;

	if (!unit->busy_since)
		unit->busy_since = work->began;
	if (model->ops->run(model, work))
		return true;
	now = ktime_get_ns();
	step_count_latency(unit, now - unit->busy_since);
	unit->busy_since = 0;
	/* Also in the worker, if it has finished work that a shared thread left to it */
	if (unit->polled)
		unit->poll_busy_at = now;
	return false;
}

/**
 * kviommu_step() - Do one piece of the guest's work
 * @unit: The unit
 *
 * Context: process context of the VMM, under unit->lock; may sleep.
 * Return: true if there is more work.
 */
bool kviommu_step(struct kviommu_unit *unit)
{
	struct kviommu_work work;
	bool more, flush;

	if (!unit_has_work(unit))
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
 * kviommu_run() - Continue the guest's work in pieces, with unit->lock dropped in between
 * @unit: The unit
 * @more: There is more work, as kviommu_step() returned
 *
 * Work that remains when the vCPU must not be delayed any longer is left to the worker, unless
 * the model needs the vCPU to wait: then only a fatal signal ends that.
 *
 * Context: process context of the VMM, no locks but kvm->srcu; may sleep.
 */
void kviommu_run(struct kviommu_unit *unit, bool more)
{
	unsigned long end = jiffies + VCPU_TIME;
	bool wait;

	while (more) {
		cond_resched();
		wait = READ_ONCE(unit->must_finish);
		if (wait ? fatal_signal_pending(current) :
			   signal_pending(current) || time_after(jiffies, end)) {
			kviommu_unit_defer(unit);
			return;
		}
		if (mutex_lock_killable(&unit->lock)) {
			/* The VM outlives this thread if other processes run vCPUs. */
			kviommu_unit_defer(unit);
			return;
		}
		more = kviommu_step(unit);
		kviommu_unlock(unit);
	}
}

/**
 * kviommu_unit_write() - Handle a trapped write of the guest to the register page
 * @k: The unit's virtual machine
 * @offset: Offset of the write in the page, in bytes
 * @data: The written bytes, which are in the page already
 * @len: Length of the write, in bytes
 *
 * Context: the exit of the vCPU that wrote, with kvm->srcu read-held; may sleep.
 */
void kviommu_unit_write(struct kviommu_kvm *k, unsigned int offset, const void *data,
			unsigned int len)
{
	struct kviommu_unit *unit = container_of(k, struct kviommu_unit, kvm);
	bool more, poll;

	trace_kviommu_reg_write(unit->id, offset, len, len == 8 ?
				get_unaligned((u64 *)data) : len == 4 ?
				get_unaligned((u32 *)data) : *(u8 *)data);
	/* The vCPU is being killed, so the guest does not notice that its write is lost. */
	if (mutex_lock_killable(&unit->lock))
		return;
	kviommu_count(unit, reg_writes, 1);
	unit->model->page_ops->write(unit->model, offset, data, len);
	more = kviommu_step(unit);
	kviommu_poll_ask(unit);
	poll = kviommu_poll_wanted(unit);
	kviommu_unlock(unit);
	if (poll)
		kviommu_unit_defer(unit);
	kviommu_run(unit, more);
}

/* Check whether a polling thread has left a flush or too many idle pins to the worker. */
static bool unit_untidy(const struct kviommu_unit *unit)
{
	return (READ_ONCE(unit->shadows.nr_release) &&
		!READ_ONCE(unit->shadows.stale.since)) ||
	       READ_ONCE(unit->pins.idle) > unit->policy.max_idle_pins;
}

/**
 * kviommu_poll_step() - Apply the register writes of a polled unit and do a piece of work
 * @unit: The unit
 * @work: The piece of work; without may_wait it does not wait for map_lock, either
 * @all: Apply writes to all registers, even if there is no command
 *
 * Context: a polling thread, under unit->lock; may sleep if @work may wait.
 * Return: true if there is work left for the worker.
 */
bool kviommu_poll_step(struct kviommu_unit *unit, const struct kviommu_work *work,
		       bool all)
{
	struct kviommu_model *model = unit->model;
	bool more;

	/*
	 * Other threads hold map_lock while they wait for the VMM. A shared thread must not
	 * wait for them, so it leaves the work to the worker.
	 */
	if (work->may_wait) {
		mutex_lock(&unit->map_lock);
	} else if (!mutex_trylock(&unit->map_lock)) {
		model->page_ops->sync(model, all);
		if (unit_has_work(unit) && !unit->busy_since)
			unit->busy_since = work->began;
		return true;
	}
	model->page_ops->sync(model, all);
	more = unit_has_work(unit) && unit_run(unit, work);
	/*
	 * An event is about to be signalled. Apply all registers before, so that the VMM
	 * knows of a changed interrupt message by then.
	 */
	if (!all && !model->page_ops->pollable(model))
		model->page_ops->sync(model, true);
	/*
	 * The guest has its status already. To flush here saves waking the worker for it.
	 */
	if (!more && unit->policy.strategy == KVIOMMU_STRATEGY_ASYNC)
		kviommu_iotlb_sync(unit, work);
	mutex_unlock(&unit->map_lock);
	return more || unit_untidy(unit);
}
