/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A piece of work: how long it may take, whether it may wait, and whether it is done.
 */
#ifndef _KVIOMMU_WORK_H
#define _KVIOMMU_WORK_H

#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/types.h>

/* Number of entries and pages after which work with a budget reads the clock again */
#define KVIOMMU_BUDGET_LOOK	256

/**
 * struct kviommu_budget - Limit of a piece of work that is finer than a jiffy
 * @until: Time at which the work should end, in ns of ktime_get_ns()
 * @spent: Number of entries and pages processed since the clock was read
 */
struct kviommu_budget {
	u64 until;
	unsigned int spent;
};

/**
 * struct kviommu_work - A piece of work in progress, and what it may do
 * @began: Time at which it began, in ns of ktime_get_ns()
 * @deadline: Time at which it should end, in jiffies
 * @budget: Time at which it should end, if that is before @deadline; or NULL
 * @whole: There is no deadline, and the work must not stop before its end
 * @may_wait: The work may sleep for memory and for the VMM, as it runs in a thread of the
 *            VMM. If not set, whatever needs to wait fails with -EAGAIN and is left to the
 *            unit's worker. Memory is charged to the VMM in either case.
 */
struct kviommu_work {
	u64 began;
	unsigned long deadline;
	struct kviommu_budget *budget;
	bool whole;
	bool may_wait;
};

/* For work that must not be interrupted, in a context that may sleep. */
extern const struct kviommu_work kviommu_work_whole;

/*
 * Read the clock and check whether the budget is used up. A used-up budget keeps its
 * @spent, so that later checks read the clock, too, and find the same.
 */
static inline bool kviommu_budget_over(struct kviommu_budget *budget)
{
	if (ktime_get_ns() > budget->until)
		return true;
	budget->spent = 0;
	return false;
}

/**
 * kviommu_time_up() - Check whether the time of a piece of work is up
 * @work: The piece of work
 *
 * Context: any.
 * Return: true if it is; then the caller finishes what it has begun and starts nothing
 * more.
 */
static inline bool kviommu_time_up(const struct kviommu_work *work)
{
	if (work->whole)
		return false;
	return time_after(jiffies, work->deadline) ||
	       (work->budget && work->budget->spent >= KVIOMMU_BUDGET_LOOK &&
		kviommu_budget_over(work->budget));
}

/**
 * kviommu_work_spend() - Count what was processed against the budget, if there is one
 * @work: The piece of work
 * @n: Number of entries and pages; KVIOMMU_BUDGET_LOOK if it may have taken any time
 *
 * Context: any.
 */
static inline void kviommu_work_spend(const struct kviommu_work *work, unsigned int n)
{
	if (work->budget)
		work->budget->spent += n;
}

/**
 * kviommu_unfinished() - Check whether a function ended before its work was done
 * @ret: What the function returned
 *
 * -EAGAIN: the time of the step is up, or the thread may not wait. -EINTR: the thread is
 * being killed, or the unit is being destroyed. Nothing is wrong with the request, so the
 * guest must not see an error: the next step goes on with it, as the VM may live on in
 * another process of the VMM.
 *
 * Context: any.
 * Return: true if the same has to be called again in another step.
 */
static inline bool kviommu_unfinished(int ret)
{
	return ret == -EAGAIN || ret == -EINTR;
}

#endif /* _KVIOMMU_WORK_H */
