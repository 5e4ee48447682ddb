// SPDX-License-Identifier: GPL-2.0-only
/*
 * From trapping register writes to polling, and back: the register page is plain memory
 * of the guest, and a thread on another CPU looks at it, so that a guest's register
 * write is no exit.
 *
 * A unit is trapped or polled, by its own worker, which is a thread of its VMM, or by a
 * shared thread, which serves the units of many. To track the page, and to stop that,
 * may wait for the VMM, so that is done by the worker in either case. A unit goes
 *
 *	trapped -> (its worker stops the tracking) -> polled ->
 *	(the thread that polls lets go of it) -> (its worker tracks the page, then
 *	looks at it once more) -> trapped
 *
 * and in between nobody polls it, but its page is looked at in the end. What is trapped
 * then is left in the page; and since KVM stores such a write byte by byte, nobody looks
 * at the page before those under way are done.
 */
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/mutex.h>
#include <linux/time64.h>

#include "run.h"
#include "../base/trace.h"

/*
 * Each way costs a walk of KVM's tables, a flush of the guest's TLB and a grace period.
 * A guest that brings itself out of polling again and again, as by waiting for events,
 * stays trapped for that long, and for longer if it goes on: up to 256 times.
 */
#define HOLD_TIME	(4 * NSEC_PER_MSEC)
#define HOLD_DOUBLINGS	8

/*
 * The last time the thread gave up too early if the guest came back soon after,
 * and too late if not.
 */
static void adapt(struct kviommu_unit *unit, u64 now)
{
	u64 min = unit->policy.poll_us_min * NSEC_PER_USEC;
	u64 max = unit->policy.poll_us_max * NSEC_PER_USEC;

	if (now < unit->poll_busy_at + max)
		unit->poll_ns = umax(unit->poll_ns, NSEC_PER_USEC) * 2;
	else
		unit->poll_ns /= 2;
	unit->poll_ns = clamp(unit->poll_ns, min, max);
}

/**
 * kviommu_poll_wanted() - Say whether a trapped unit should be polled
 * @unit: The unit
 *
 * If it should not be yet, the guest's next write asks again: no timer does.
 *
 * Context: under unit->lock.
 * Return: true if its worker should call kviommu_poll_begin().
 */
bool kviommu_poll_wanted(struct kviommu_unit *unit)
{
	const struct kviommu_model *model = unit->model;

	return unit->policy.mode != KVIOMMU_MODE_TRAP && unit->poll_asked &&
	       !unit->polled && model->page_ops && model->page_ops->pollable(model) &&
	       kviommu_backoff_over(&unit->hold) &&
	       (kviommu_pool_usable(unit) || kviommu_self_usable(unit));
}

/**
 * kviommu_poll_begin() - Go from trapping a unit's register writes to polling
 * @unit: The unit
 *
 * Context: the unit's worker, no locks.
 */
void kviommu_poll_begin(struct kviommu_unit *unit)
{
	u64 now = ktime_get_ns();
	int ret;

	guard(mutex)(&unit->poll_lock);
	if (mutex_lock_killable(&unit->lock))
		return;
	if (!kviommu_poll_wanted(unit)) {
		kviommu_unlock(unit);
		return;
	}
	unit->poll_asked = false;
	adapt(unit, now);
	unit->model->page_ops->set_polled(unit->model, true);
	unit->polled = true;
	unit->poll_since = now;
	unit->poll_why = KVIOMMU_POLL_STOPPED;
	kviommu_count(unit, polls, 1);
	kviommu_unlock(unit);

	ret = kviommu_kvm_track(&unit->kvm, false);
	if (!ret) {
		/* The thread is to find no part of what was trapped. */
		kviommu_kvm_wait_writes(&unit->kvm);
		ret = kviommu_pool_add(unit);
		if (ret == -EAGAIN)
			ret = kviommu_self_begin(unit);
	}
	trace_kviommu_poll(unit->id, true, KVIOMMU_POLL_ASKED, ret);
	/* Back again, then */
	if (ret)
		kviommu_unit_defer(unit);
}

/*
 * Writes are trapped from here on, and what was written before is taken. The snapshot
 * may hold part of a trapped write; KVM's report overwrites it, as it does with
 * whatever is written while we wait.
 */
static int take_back(struct kviommu_unit *unit)
{
	struct kviommu_model *model = unit->model;
	enum kviommu_poll_why why;
	u64 begin = ktime_get_ns();
	int ret;

	lockdep_assert_held(&unit->poll_lock);

	/* -ENODEV: there is no slot, and so nothing to be missed. */
	ret = kviommu_kvm_track(&unit->kvm, true);
	if (ret && ret != -EINTR && ret != -ENODEV)
		kviommu_unit_wake(unit, 10 * USEC_PER_MSEC);
	if ((ret && ret != -ENODEV) || mutex_lock_killable(&unit->lock))
		return -EINTR;
	model->page_ops->snapshot(model);
	why = unit->poll_why;
	/* It was not the guest who had enough of it; or it comes back while we wait. */
	if (unit->polled)
		unit->poll_asked = why >= KVIOMMU_POLL_MOVED;
	kviommu_unlock(unit);
	kviommu_kvm_wait_writes(&unit->kvm);
	mutex_lock(&unit->lock);
	model->page_ops->commit(model);
	unit->arming = false;
	if (!unit->polled) {
		kviommu_unlock(unit);
		return 0;
	}
	unit->polled = false;
	model->page_ops->set_polled(model, false);
	if (why == KVIOMMU_POLL_STATUS)
		kviommu_backoff_fail(&unit->hold, HOLD_TIME, HOLD_DOUBLINGS);
	/* All this time the guest could not do anything: see adapt(). */
	unit->poll_busy_at += ktime_get_ns() - begin;
	kviommu_count(unit, polled_ns, ktime_get_ns() - unit->poll_since);
	if (why == KVIOMMU_POLL_OVERCOMMITTED)
		kviommu_count(unit, overcommits, 1);
	kviommu_unlock(unit);
	trace_kviommu_poll(unit->id, false, why, ret);
	return 0;
}

/**
 * kviommu_poll_end() - Go from polling a unit to trapping its register writes
 * @unit: The unit
 *
 * Does nothing if a thread still polls it, or if it is trapped. What was
 * written before is taken; from here on no write is missed.
 *
 * Context: the unit's worker, no locks.
 * Return: 0 or -EINTR.
 */
int kviommu_poll_end(struct kviommu_unit *unit)
{
	int ret = 0;

	if (mutex_lock_killable(&unit->poll_lock))
		return -EINTR;
	if (!READ_ONCE(unit->closing) && !READ_ONCE(unit->self.on) &&
	    !kviommu_pool_has(unit) && (unit->polled || unit->arming))
		ret = take_back(unit);
	mutex_unlock(&unit->poll_lock);
	return ret;
}

/* Let nobody poll it any more, so that nobody looks at the page. */
static int end_polling(struct kviommu_unit *unit)
{
	return kviommu_self_end(unit) ?: kviommu_pool_remove(unit, true);
}

/**
 * kviommu_poll_trap() - Have a unit's register writes trapped, if they are polled
 * @unit: The unit
 *
 * Context: an ioctl, no locks.
 * Return: 0 or -EINTR.
 */
int kviommu_poll_trap(struct kviommu_unit *unit)
{
	int ret;

	if (mutex_lock_killable(&unit->poll_lock))
		return -EINTR;
	ret = end_polling(unit);
	if (!ret && unit->polled)
		ret = take_back(unit);
	mutex_unlock(&unit->poll_lock);
	return ret;
}

/**
 * kviommu_poll_arm() - Have a unit's register writes trapped at an address
 * @unit: The unit
 * @gfn: Guest frame number of the register page
 *
 * What was written before is taken; from here on no write is missed.
 *
 * Context: an ioctl, no locks.
 * Return: 0 or an error of kviommu_kvm_arm().
 */
int kviommu_poll_arm(struct kviommu_unit *unit, u64 gfn)
{
	int ret, err;

	if (mutex_lock_killable(&unit->poll_lock))
		return -EINTR;
	/* No thread may look at what KVM is to store by then. */
	ret = end_polling(unit);
	if (ret)
		goto unlock;
	ret = -EINTR;
	if (mutex_lock_killable(&unit->lock))
		goto unlock;
	/* What is trapped from now on comes behind what was not. */
	unit->model->page_ops->snapshot(unit->model);
	unit->arming = true;
	kviommu_unlock(unit);
	ret = kviommu_kvm_arm(&unit->kvm, gfn);
	/* Of what is being stored at another address nobody will tell us. */
	kviommu_kvm_wait_writes(&unit->kvm);
	err = take_back(unit);
	if (err)
		kviommu_unit_defer(unit);
	ret = ret ?: err;
unlock:
	mutex_unlock(&unit->poll_lock);
	return ret;
}

/**
 * kviommu_poll_stop() - Let no shared thread poll a unit any more
 * @unit: The unit, which is going away: so its worker has stopped to poll, or will
 *
 * Context: process context, no locks.
 */
void kviommu_poll_stop(struct kviommu_unit *unit)
{
	guard(mutex)(&unit->poll_lock);
	kviommu_pool_remove(unit, false);
}

/**
 * kviommu_poll_time() - Say how long a unit was polled
 * @unit: The unit
 *
 * Context: under unit->lock.
 * Return: the time in ns.
 */
u64 kviommu_poll_time(const struct kviommu_unit *unit)
{
	return unit->stats.polled_ns +
	       (unit->polled ? ktime_get_ns() - unit->poll_since : 0);
}
