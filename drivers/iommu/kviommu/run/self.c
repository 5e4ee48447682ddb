// SPDX-License-Identifier: GPL-2.0-only
/*
 * Polling of a unit by its own worker. The worker is a thread of the VMM: its CPU time is
 * accounted to the VMM, it is stopped and frozen with the VMM, it may sleep and allocate
 * memory, and no other guest waits for it.
 */
#include <linux/ktime.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>

#include "poll.h"

/**
 * kviommu_self_usable() - Check whether a unit's own worker may poll it
 * @unit: The unit
 *
 * Context: any; without unit->lock the result is a hint.
 * Return: true if the worker may poll.
 */
bool kviommu_self_usable(const struct kviommu_unit *unit)
{
	return READ_ONCE(unit->policy.mode) == KVIOMMU_MODE_ADAPTIVE &&
	       kviommu_backoff_over(&unit->self.meter.rest);
}

/**
 * kviommu_self_begin() - Make a unit's own worker poll it
 * @unit: The unit, whose register writes are no longer trapped
 *
 * The worker begins when it calls kviommu_self_poll().
 *
 * Context: the worker, under unit->poll_lock.
 * Return: 0; -ENODEV if the unit is being destroyed; -EAGAIN if the worker may not poll.
 */
int kviommu_self_begin(struct kviommu_unit *unit)
{
	lockdep_assert_held(&unit->poll_lock);

	if (READ_ONCE(unit->closing))
		return -ENODEV;
	if (!kviommu_self_usable(unit))
		return -EAGAIN;
	unit->poll_busy_at = ktime_get_ns();
	unit->self.balance_at = jiffies + KVIOMMU_BALANCE_TIME;
	WRITE_ONCE(unit->self.on, true);
	return 0;
}

/**
 * kviommu_self_end() - Make a unit's own worker stop polling it
 * @unit: The unit
 *
 * Once this has succeeded, the worker no longer applies what the page shows.
 *
 * Context: process context, under unit->poll_lock; takes unit->lock.
 * Return: 0; -EINTR if a fatal signal is pending.
 */
int kviommu_self_end(struct kviommu_unit *unit)
{
	lockdep_assert_held(&unit->poll_lock);

	if (!READ_ONCE(unit->self.on))
		return 0;
	if (mutex_lock_killable(&unit->lock))
		return -EINTR;
	WRITE_ONCE(unit->self.on, false);
	kviommu_unlock(unit);
	/* If the caller is killed before writes are trapped again, the worker sees to it. */
	kviommu_unit_defer(unit);
	return 0;
}

/*
 * Look at the registers and do what the guest requests. Return the reason why polling
 * ends, or KVIOMMU_POLL_ASKED if it continues.
 */
static enum kviommu_poll_why self_look(struct kviommu_unit *unit, bool all)
{
	struct kviommu_work work;
	enum kviommu_poll_why why = KVIOMMU_POLL_ASKED;

	if (likely(!kviommu_poll_peek(unit, all, KVIOMMU_ROUND_LOOKS) &&
		   kviommu_poll_may_stay(unit)))
		return kviommu_poll_idle(unit, unit->self.meter.read_at) ?
		       KVIOMMU_POLL_IDLE : KVIOMMU_POLL_ASKED;
	if (mutex_lock_killable(&unit->lock))
		return KVIOMMU_POLL_ASKED;
	/* Polling has ended, so the page may show half of a write that KVM is storing. */
	if (!unit->self.on) {
		kviommu_unlock(unit);
		return KVIOMMU_POLL_ASKED;
	}
	kviommu_work_begin(&work);
	/* The worker continues remaining work as it does for a trapped unit, and tidies. */
	if (kviommu_poll_step(unit, &work, all))
		WRITE_ONCE(unit->deferred, true);
	if (!kviommu_poll_may_stay(unit))
		why = kviommu_poll_ended(unit);
	unit->poll_busy_at = ktime_get_ns();
	kviommu_unlock(unit);
	return why;
}

/*
 * Do one round of polling. Return the reason why the worker stops polling the unit, or
 * KVIOMMU_POLL_ASKED if it continues.
 */
static enum kviommu_poll_why self_round(struct kviommu_unit *unit)
{
	struct kviommu_self *self = &unit->self;

	/*
	 * Before the check for an idle guest: while the worker waited for its CPU, the
	 * guest may only have seemed idle.
	 */
	if (kviommu_meter_over(&self->meter))
		return KVIOMMU_POLL_OVERCOMMITTED;
	if (time_after_eq(jiffies, self->balance_at)) {
		self->balance_at = jiffies + KVIOMMU_BALANCE_TIME;
		/* Whoever changed the mode may have been killed before polling ended. */
		if (READ_ONCE(unit->policy.mode) != KVIOMMU_MODE_ADAPTIVE ||
		    kviommu_pool_usable(unit))
			return KVIOMMU_POLL_MOVED;
	}
	return self_look(unit, !(++self->round % KVIOMMU_ROUNDS_ALL));
}

/**
 * kviommu_self_poll() - Poll a unit until the worker has something else to do
 * @unit: The unit; if kviommu_self_end() was called in the meantime, this returns at once
 *
 * Returns when work is deferred to the worker, which includes the end of polling, or
 * when the worker has a signal pending, as when it is to be frozen.
 *
 * Context: the worker, no locks; may sleep.
 */
void kviommu_self_poll(struct kviommu_unit *unit)
{
	struct kviommu_self *self = &unit->self;
	enum kviommu_poll_why why;
	unsigned long reported_at = jiffies;

	kviommu_meter_begin(&self->meter);
	while (READ_ONCE(self->on) && !READ_ONCE(unit->deferred) &&
	       !signal_pending(current)) {
		if (READ_ONCE(unit->closing)) {
			WRITE_ONCE(self->on, false);
			return;
		}
		why = self_round(unit);
		if (why != KVIOMMU_POLL_ASKED) {
			WRITE_ONCE(unit->poll_why, why);
			WRITE_ONCE(self->on, false);
			WRITE_ONCE(unit->deferred, true);
			return;
		}
		kviommu_compat_user_work();
		kviommu_poll_relax(&reported_at);
	}
}
