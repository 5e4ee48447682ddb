// SPDX-License-Identifier: GPL-2.0-only
/*
 * A unit that is polled by its own worker. That is a thread of the VMM: its time is the
 * VMM's, it is stopped and frozen with the VMM, it may sleep and allocate, and no other
 * guest waits for it.
 */
#include <linux/ktime.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>

#include "poll.h"

/**
 * kviommu_self_usable() - Say whether a unit's own worker may poll it
 * @unit: The unit
 *
 * Context: any; without unit->lock, a hint.
 * Return: true if so.
 */
bool kviommu_self_usable(const struct kviommu_unit *unit)
{
	return READ_ONCE(unit->policy.mode) == KVIOMMU_MODE_ADAPTIVE &&
	       kviommu_backoff_over(&unit->self.meter.rest);
}

/**
 * kviommu_self_begin() - Have a unit polled by its own worker
 * @unit: The unit, whose register writes are not trapped any more
 *
 * Context: the worker, under unit->poll_lock.
 * Return: 0; -ENODEV if the unit is going away; -EAGAIN if the worker may not poll it.
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
 * kviommu_self_end() - Have a unit's own worker no longer poll it
 * @unit: The unit
 *
 * Context: process context, under unit->poll_lock.
 * Return: 0, and the worker does not look at the page any more; or -EINTR.
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

/* Return: why it is not to be polled any more, or KVIOMMU_POLL_ASKED if it is. */
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
	/* What the page shows may be a part of what KVM is storing. */
	if (!unit->self.on) {
		kviommu_unlock(unit);
		return KVIOMMU_POLL_ASKED;
	}
	kviommu_work_begin(&work);
	/* The rest goes on as if it had been trapped, and what is untidy is tidied. */
	if (kviommu_poll_step(unit, &work, all))
		WRITE_ONCE(unit->deferred, true);
	if (!kviommu_poll_may_stay(unit))
		why = kviommu_poll_ended(unit);
	unit->poll_busy_at = ktime_get_ns();
	kviommu_unlock(unit);
	return why;
}

/* Return: why it is not to be polled here any more, or KVIOMMU_POLL_ASKED if it is. */
static enum kviommu_poll_why self_round(struct kviommu_unit *unit)
{
	struct kviommu_self *self = &unit->self;

	/* A guest that was not looked at is not idle, so this comes first. */
	if (kviommu_meter_over(&self->meter))
		return KVIOMMU_POLL_OVERCOMMITTED;
	if (time_after_eq(jiffies, self->balance_at)) {
		self->balance_at = jiffies + KVIOMMU_BALANCE_TIME;
		if (kviommu_pool_usable(unit))
			return KVIOMMU_POLL_MOVED;
	}
	return self_look(unit, !(++self->round % KVIOMMU_ROUNDS_ALL));
}

/**
 * kviommu_self_poll() - Poll a unit until there is something else to do
 * @unit: The unit; it may have stopped being polled by its own worker
 *
 * That is: something was deferred, the unit is not to be polled any more, of which the
 * former is the consequence, or the worker has a signal. To be frozen is one.
 *
 * Context: the worker, no locks.
 */
void kviommu_self_poll(struct kviommu_unit *unit)
{
	struct kviommu_self *self = &unit->self;
	enum kviommu_poll_why why;
	unsigned long told = jiffies;

	kviommu_meter_begin(&self->meter);
	while (READ_ONCE(self->on) && !READ_ONCE(unit->deferred) &&
	       !signal_pending(current)) {
		if (READ_ONCE(unit->closing)) {
			WRITE_ONCE(self->on, false);
			return;
		}
		why = self_round(unit);
		if (why != KVIOMMU_POLL_ASKED) {
			unit->poll_why = why;
			WRITE_ONCE(self->on, false);
			WRITE_ONCE(unit->deferred, true);
			return;
		}
		kviommu_compat_user_work();
		kviommu_poll_relax(&told);
	}
}
