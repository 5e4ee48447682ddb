// SPDX-License-Identifier: GPL-2.0-only
/*
 * The transitions between trapping register writes and polling. While a unit is polled
 * its register page is ordinary guest memory, which a thread on another CPU looks at, so
 * the guest's register writes cause no exits.
 *
 * A unit is trapped; or polled, either by its own worker, which is a thread of its VMM,
 * or by a shared thread, which serves the units of many VMs. Starting and stopping KVM's
 * tracking of the page waits for the VM's vCPUs, so shared threads never do that. The
 * worker and ioctls do:
 *
 *	trapped -> (the worker stops the tracking) -> polled ->
 *	(the polling thread drops the unit) -> (the worker restarts the tracking, then
 *	reads the page once more) -> trapped
 *
 * During a transition no thread polls the unit, so the page is read once more at its end.
 * Writes that are trapped in the meantime stay in the page until then. KVM stores such a
 * write byte by byte, so the page is not acted on before the writes in progress are done.
 */
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/mutex.h>
#include <linux/time64.h>

#include "run.h"
#include "../base/trace.h"

/*
 * Each transition costs a walk of KVM's tables, a flush of the guest's TLB and a grace
 * period. A guest that ends polling again and again, for instance because it waits for
 * events, stays trapped for this time, in ns; if it continues to do so, for up to 256
 * times as long.
 */
#define TRAP_TIME	(4 * NSEC_PER_MSEC)
#define TRAP_DOUBLINGS	8

/*
 * So many writes in succession, each within poll_us_max of the one before, make polling of an
 * adaptive unit begin. It does not pay off for a guest that writes now and then.
 */
#define TRAPPED_OFTEN	4

/* Set the idle time after which polling ends, within the limits of the policy. */
static void poll_set_timeout(struct kviommu_unit *unit, u64 ns)
{
	u64 min = unit->policy.poll_us_min * NSEC_PER_USEC;
	u64 max = unit->policy.poll_us_max * NSEC_PER_USEC;

	lockdep_assert_held(&unit->lock);

	/* The thread that polls the unit reads it without a lock. */
	WRITE_ONCE(unit->poll_idle_ns, clamp(ns, min, max));
}

/*
 * Adapt the idle time after which polling ends. If the guest has written again soon after
 * polling had ended, polling ended too early; otherwise it ended too late.
 */
static void poll_adapt_timeout(struct kviommu_unit *unit, u64 now)
{
	u64 max = unit->policy.poll_us_max * NSEC_PER_USEC;

	if (now < unit->poll_busy_at + max)
		poll_set_timeout(unit, umax(unit->poll_idle_ns, NSEC_PER_USEC) * 2);
	else
		poll_set_timeout(unit, unit->poll_idle_ns / 2);
}

/**
 * kviommu_poll_clamp_timeout() - Bring the idle time of a unit within a new policy's limits
 * @unit: The unit, whose policy in force has changed
 *
 * If the unit is polled, the new limits hold at once, and it stays polled.
 *
 * Context: process context, under unit->lock.
 */
void kviommu_poll_clamp_timeout(struct kviommu_unit *unit)
{
	poll_set_timeout(unit, unit->poll_idle_ns);
}

/**
 * kviommu_poll_ask() - Note that a write of the guest was trapped
 * @unit: The unit
 *
 * Context: under unit->lock.
 */
void kviommu_poll_ask(struct kviommu_unit *unit)
{
	u64 now;

	if (unit->policy.mode == KVIOMMU_MODE_ADAPTIVE) {
		now = ktime_get_ns();
		if (now > unit->trapped_at + unit->policy.poll_us_max * NSEC_PER_USEC)
			unit->trapped_often = 0;
		unit->trapped_at = now;
		if (++unit->trapped_often < TRAPPED_OFTEN)
			return;
		unit->trapped_often = 0;
	}
	unit->poll_asked = true;
}

/**
 * kviommu_poll_wanted() - Check whether a trapped unit should be polled
 * @unit: The unit
 *
 * If a delay is not over yet, the guest's next writes lead to the next check. There is no
 * timer for it.
 *
 * Context: under unit->lock.
 * Return: true if its worker should call kviommu_poll_begin().
 */
bool kviommu_poll_wanted(struct kviommu_unit *unit)
{
	const struct kviommu_model *model = unit->model;

	return unit->policy.mode != KVIOMMU_MODE_TRAP && !unit->policy_outdated &&
	       unit->poll_asked && !unit->polled &&
	       model->page_ops && model->page_ops->pollable(model) &&
	       kviommu_backoff_over(&unit->trap_backoff) &&
	       (kviommu_pool_usable(unit) || kviommu_self_usable(unit));
}

/**
 * kviommu_poll_begin() - Switch a unit from trapping register writes to polling
 * @unit: The unit
 *
 * If that fails, the worker makes the unit trapped again.
 *
 * Context: the unit's worker, no locks; may sleep.
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
	poll_adapt_timeout(unit, now);
	unit->model->page_ops->set_polled(unit->model, true);
	unit->polled = true;
	unit->poll_since = now;
	WRITE_ONCE(unit->poll_why, KVIOMMU_POLL_STOPPED);
	kviommu_count(unit, polls, 1);
	kviommu_unlock(unit);

	ret = kviommu_kvm_track(&unit->kvm, false);
	if (!ret) {
		/* The polling thread must not see a part of a trapped write. */
		kviommu_kvm_wait_writes(&unit->kvm);
		ret = kviommu_pool_add(unit);
		if (ret == -EAGAIN)
			ret = kviommu_self_begin(unit);
	}
	trace_kviommu_poll(unit->id, true, KVIOMMU_POLL_ASKED, ret);
	/* No thread polls the unit, so the worker calls kviommu_poll_end(). */
	if (ret)
		kviommu_unit_defer(unit);
}

/*
 * Trap writes from here on, and apply those that were made before. The snapshot may hold
 * part of a trapped write. KVM's report of that write overwrites it, and so do the reports
 * of all writes that are trapped during the wait.
 */
static int poll_resume_trapping(struct kviommu_unit *unit)
{
	struct kviommu_model *model = unit->model;
	enum kviommu_poll_why why;
	u64 begin = ktime_get_ns();
	int ret;

	lockdep_assert_held(&unit->poll_lock);

	/* -ENODEV: the page is not in the guest's memory, so no write can be missed. */
	ret = kviommu_kvm_track(&unit->kvm, true);
	if (ret && ret != -EINTR && ret != -ENODEV)
		kviommu_unit_wake(unit, 10 * USEC_PER_MSEC);
	if ((ret && ret != -ENODEV) || mutex_lock_killable(&unit->lock))
		return -EINTR;
	model->page_ops->snapshot(model);
	why = READ_ONCE(unit->poll_why);
	/*
	 * If polling did not end because of the guest, another thread continues it at once.
	 * Otherwise it begins after a write, which may also be trapped during the wait.
	 */
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
		kviommu_backoff_fail(&unit->trap_backoff, TRAP_TIME, TRAP_DOUBLINGS);
	/* The guest could not write during the transition: see poll_adapt_timeout(). */
	unit->poll_busy_at += ktime_get_ns() - begin;
	kviommu_count(unit, polled_ns, ktime_get_ns() - unit->poll_since);
	if (why == KVIOMMU_POLL_OVERCOMMITTED)
		kviommu_count(unit, overcommits, 1);
	kviommu_unlock(unit);
	trace_kviommu_poll(unit->id, false, why, ret);
	return 0;
}

/**
 * kviommu_poll_end() - Complete the switch from polling a unit to trapping its writes
 * @unit: The unit
 *
 * Does nothing if a thread still polls the unit, or if it is trapped. Otherwise the
 * guest's earlier writes are applied, and no later write is missed.
 *
 * Context: the unit's worker, no locks; may sleep.
 * Return: 0; -EINTR if the unit could not be trapped yet.
 */
int kviommu_poll_end(struct kviommu_unit *unit)
{
	int ret = 0;

	if (mutex_lock_killable(&unit->poll_lock))
		return -EINTR;
	if (!READ_ONCE(unit->closing) && !READ_ONCE(unit->self.on) &&
	    !kviommu_pool_has(unit) && (unit->polled || unit->arming))
		ret = poll_resume_trapping(unit);
	mutex_unlock(&unit->poll_lock);
	return ret;
}

/* Make sure that no thread polls the unit, so that none acts on its page. */
static int poll_stop_looks(struct kviommu_unit *unit)
{
	return kviommu_self_end(unit) ?: kviommu_pool_remove(unit, true);
}

/**
 * kviommu_poll_trap() - End the polling of a unit and trap its register writes
 * @unit: The unit, which may also be trapped already
 *
 * Context: process context, no locks; may sleep.
 * Return: 0; -EINTR if the unit could not be trapped.
 */
int kviommu_poll_trap(struct kviommu_unit *unit)
{
	int ret;

	if (mutex_lock_killable(&unit->poll_lock))
		return -EINTR;
	ret = poll_stop_looks(unit);
	/* Whatever the thread had stopped for: no other one is to go on. */
	WRITE_ONCE(unit->poll_why, KVIOMMU_POLL_STOPPED);
	if (!ret && unit->polled)
		ret = poll_resume_trapping(unit);
	mutex_unlock(&unit->poll_lock);
	return ret;
}

/**
 * kviommu_poll_arm() - Trap a unit's register writes at a new guest physical address
 * @unit: The unit
 * @gfn: Guest frame number of the register page
 *
 * The guest's earlier writes are applied, and no later write is missed.
 *
 * Context: an ioctl, no locks; may sleep.
 * Return: 0; -EINTR, also after a part, which the worker completes; an error of
 * kviommu_kvm_arm().
 */
int kviommu_poll_arm(struct kviommu_unit *unit, u64 gfn)
{
	int ret, err;

	if (mutex_lock_killable(&unit->poll_lock))
		return -EINTR;
	/* No thread may look at the page while KVM stores trapped writes in it. */
	ret = poll_stop_looks(unit);
	if (ret)
		goto unlock;
	ret = -EINTR;
	if (mutex_lock_killable(&unit->lock))
		goto unlock;
	/* Writes that are trapped from now on are applied after the earlier, untrapped ones. */
	unit->model->page_ops->snapshot(unit->model);
	unit->arming = true;
	kviommu_unlock(unit);
	ret = kviommu_kvm_arm(&unit->kvm, gfn);
	/* Writes in progress at the previous address are not reported: wait for their end. */
	kviommu_kvm_wait_writes(&unit->kvm);
	err = poll_resume_trapping(unit);
	if (err)
		kviommu_unit_defer(unit);
	ret = ret ?: err;
unlock:
	mutex_unlock(&unit->poll_lock);
	return ret;
}

/**
 * kviommu_poll_stop() - Make the shared threads stop polling a unit for good
 * @unit: The unit, with kviommu_unit.closing set, so its own worker stops polling, too
 *
 * Context: process context, no locks; may sleep.
 */
void kviommu_poll_stop(struct kviommu_unit *unit)
{
	guard(mutex)(&unit->poll_lock);
	kviommu_pool_remove(unit, false);
}

/**
 * kviommu_poll_time() - Compute for how long a unit has been polled in total
 * @unit: The unit
 *
 * Context: under unit->lock.
 * Return: the time, in ns.
 */
u64 kviommu_poll_time(const struct kviommu_unit *unit)
{
	return unit->stats.polled_ns +
	       (unit->polled ? ktime_get_ns() - unit->poll_since : 0);
}
