// SPDX-License-Identifier: GPL-2.0-only
/*
 * Functions of a unit for all layers: report errors, signal events, end a piece of work
 * in time.
 */
#include <linux/bits.h>
#include <linux/eventfd.h>
#include <linux/sched/signal.h>

#include "unit.h"
#include "trace.h"

const struct kviommu_work kviommu_work_whole = {
	.whole = true,
	.may_wait = true,
};

/**
 * kviommu_resched() - Yield the CPU in a long loop, and check whether to end it
 * @unit: The unit
 * @work: The piece of work that the loop is part of
 *
 * Context: process context, under unit->lock; sleeps.
 * Return: 0; -EINTR if a fatal signal is pending or the unit is being destroyed, and the
 * loop should end; -EAGAIN if the loop should continue in the next step. Always 0 for
 * work that has to be done as a whole.
 */
int kviommu_resched(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	cond_resched();
	if (work->whole)
		return 0;
	if (fatal_signal_pending(current) || READ_ONCE(unit->closing))
		return -EINTR;
	return kviommu_time_up(work) ? -EAGAIN : 0;
}

/**
 * kviommu_signal() - Signal the eventfd of an event
 * @unit: The unit
 * @event: The event; it is remembered until the VMM sets an eventfd for it
 *
 * Context: any that may take a spinlock.
 */
void kviommu_signal(struct kviommu_unit *unit, enum kviommu_event event)
{
	spin_lock(&unit->events_lock);
	if (unit->events[event])
		eventfd_signal(unit->events[event]);
	else
		unit->events_missed |= BIT(event);
	spin_unlock(&unit->events_lock);
}

/**
 * kviommu_set_event() - Set the eventfd of an event, for KVIOMMU_SET_EVENTFD
 * @unit: The unit
 * @event: One of &enum kviommu_event
 * @fd: An eventfd, or -1 to remove the present one
 *
 * An event that occurred while there was no eventfd is signalled at once.
 *
 * Context: process context, under unit->lock; may sleep.
 * Return: 0; -EOPNOTSUPP if there is no such event; -EBADF; -EINVAL if @fd is no eventfd.
 */
int kviommu_set_event(struct kviommu_unit *unit, u32 event, int fd)
{
	struct eventfd_ctx *ctx = NULL;

	if (event >= KVIOMMU_NR_EVENTS)
		return -EOPNOTSUPP;
	if (fd < -1)
		return -EBADF;
	if (fd >= 0) {
		ctx = eventfd_ctx_fdget(fd);
		if (IS_ERR(ctx))
			return PTR_ERR(ctx);
	}
	spin_lock(&unit->events_lock);
	swap(unit->events[event], ctx);
	if (unit->events[event] && unit->events_missed & BIT(event)) {
		unit->events_missed &= ~BIT(event);
		eventfd_signal(unit->events[event]);
	}
	spin_unlock(&unit->events_lock);
	if (ctx)
		eventfd_ctx_put(ctx);
	return 0;
}

/**
 * kviommu_forget_interrupts() - Drop the guest's interrupts that had no eventfd
 * @unit: The unit, which is being reset, so its interrupt messages are no longer valid
 *
 * Context: any that may take a spinlock.
 */
void kviommu_forget_interrupts(struct kviommu_unit *unit)
{
	spin_lock(&unit->events_lock);
	unit->events_missed &= ~(BIT(KVIOMMU_EVENT_FAULT) |
				 BIT(KVIOMMU_EVENT_INVAL_COMPLETION));
	spin_unlock(&unit->events_lock);
}

/**
 * kviommu_error() - Count and trace a request of the guest that failed
 * @unit: The unit
 * @what: The kind of request
 * @addr: An address that identifies the request
 * @err: The reason, a negative errno
 *
 * If the reason is a limit, kviommu_unlock() signals KVIOMMU_EVENT_LIMIT.
 *
 * Context: process context, under unit->lock.
 */
void kviommu_error(struct kviommu_unit *unit, const char *what, u64 addr, int err)
{
	trace_kviommu_error(unit->id, what, addr, err);
	kviommu_count(unit, errors, 1);
	if (err != -ENOMEM && err != -EDQUOT)
		return;
	kviommu_count(unit, limits, 1);
	unit->limited = true;
}

/**
 * kviommu_unlock() - Release unit->lock
 * @unit: The unit
 *
 * Signals KVIOMMU_EVENT_LIMIT once if a limit was hit while the lock was held.
 *
 * Context: process context, under unit->lock.
 */
void kviommu_unlock(struct kviommu_unit *unit)
{
	bool limited = unit->limited;

	unit->limited = false;
	mutex_unlock(&unit->lock);
	if (limited)
		kviommu_signal(unit, KVIOMMU_EVENT_LIMIT);
}
