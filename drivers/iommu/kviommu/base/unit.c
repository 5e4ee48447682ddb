// SPDX-License-Identifier: GPL-2.0-only
/*
 * What all layers do with a unit: report errors, signal events, end a piece of
 * work in time.
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
 * kviommu_resched() - Let others run, in a long loop
 * @unit: The unit
 * @work: The piece of work that the loop is part of
 *
 * Context: under unit->lock.
 * Return: 0; -EINTR if a fatal signal is pending or the unit is going away, and
 * the loop should end; -EAGAIN if it should go on in the next step. Always 0 if the
 * work has to be done as a whole.
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
 * @event: The event; if there is no eventfd for it, it is signalled when there is one
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
 * kviommu_set_event() - KVIOMMU_SET_EVENTFD
 * @unit: The unit
 * @event: One of &enum kviommu_event
 * @fd: An eventfd, or -1
 *
 * Context: process context, under unit->lock.
 * Return: 0 or an error of the ioctl.
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
 * kviommu_forget_interrupts() - Forget interrupts of the guest that were not signalled
 * @unit: The unit, which is reset: their messages are gone
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
 * kviommu_error() - The guest did not get what it asked for
 * @unit: The unit
 * @what: What it was
 * @addr: An address that tells which
 * @err: Why, a negative errno
 *
 * Counts it, and remembers a limit for kviommu_unlock().
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
 * kviommu_unlock() - Let go of unit->lock
 * @unit: The unit
 *
 * And tell the VMM, once, if a limit was hit meanwhile.
 *
 * Context: under unit->lock.
 */
void kviommu_unlock(struct kviommu_unit *unit)
{
	bool limited = unit->limited;

	unit->limited = false;
	mutex_unlock(&unit->lock);
	if (limited)
		kviommu_signal(unit, KVIOMMU_EVENT_LIMIT);
}
