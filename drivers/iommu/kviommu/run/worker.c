// SPDX-License-Identifier: GPL-2.0-only
/*
 * The worker of a unit. It is a thread of the VMM, for what the guest makes it do is
 * to count as the VM's, and to end when the VMM is killed.
 */
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/sched.h>
#include <linux/sched/vhost_task.h>
#include <linux/timer.h>

#include "run.h"
#include "../mem/mem.h"
#include "../xlate/shadow/api.h"

/**
 * kviommu_unit_defer() - Leave what there is to do to the worker
 * @unit: The unit
 *
 * Context: any that may take a spinlock.
 */
void kviommu_unit_defer(struct kviommu_unit *unit)
{
	if (READ_ONCE(unit->abandoned))
		return;
	WRITE_ONCE(unit->deferred, true);
	/* Orders the store before the worker's look at it. */
	vhost_task_wake(unit->worker);
}

/**
 * kviommu_unit_wake() - Let the worker look for what has grown too old
 * @unit: The unit
 * @us: In how many microseconds, at the latest; it may be a little more; 0: now
 *
 * Context: any that may take a spinlock.
 */
void kviommu_unit_wake(struct kviommu_unit *unit, u64 us)
{
	unsigned int n = min_t(u64, us, INT_MAX);

	if (!us) {
		kviommu_unit_defer(unit);
		return;
	}
	timer_reduce(&unit->timer, jiffies + usecs_to_jiffies(n));
}

static void unit_timer(struct timer_list *timer)
{
	kviommu_unit_defer(container_of(timer, struct kviommu_unit, timer));
}

static void unit_tidy(struct kviommu_unit *unit)
{
	mutex_lock(&unit->map_lock);
	kviommu_stale_expire(unit);
	kviommu_pin_tidy(unit);
	mutex_unlock(&unit->map_lock);
}

/* Called about to sleep. Return: look again first. */
static bool unit_work(void *data)
{
	struct kviommu_unit *unit = data;
	bool poll;

	if (!READ_ONCE(unit->deferred) && !READ_ONCE(unit->self.on))
		return false;
	__set_current_state(TASK_RUNNING);
	/* It may go on for long without a sleep. */
	kviommu_compat_user_work();
	if (!READ_ONCE(unit->deferred)) {
		kviommu_self_poll(unit);
		return true;
	}
	WRITE_ONCE(unit->deferred, false);
	/* First, for the holder of unit->lock may take its time. */
	unit_tidy(unit);
	kviommu_poll_end(unit);
	if (READ_ONCE(unit->policy_outdated))
		unit->up->renew_policy(unit);
	if (mutex_lock_killable(&unit->lock))
		return true;
	if (kviommu_step(unit))
		WRITE_ONCE(unit->deferred, true);
	poll = kviommu_poll_wanted(unit);
	kviommu_unlock(unit);
	if (poll)
		kviommu_poll_begin(unit);
	return true;
}

/* No thread is left that would see what is not done. */
static void unit_work_killed(void *data)
{
	struct kviommu_unit *unit = data;

	WRITE_ONCE(unit->abandoned, true);
}

/**
 * kviommu_worker_init() - Prepare a unit for its worker
 * @unit: The unit
 *
 * Context: process context.
 */
void kviommu_worker_init(struct kviommu_unit *unit)
{
	timer_setup(&unit->timer, unit_timer, 0);
}

/**
 * kviommu_worker_start() - Make the worker of a unit
 * @unit: The unit
 *
 * Context: process context of the VMM.
 * Return: 0 or an error of vhost_task_create().
 */
int kviommu_worker_start(struct kviommu_unit *unit)
{
	struct vhost_task *worker;

	worker = vhost_task_create(unit_work, unit_work_killed, unit, "kviommu");
	if (IS_ERR(worker))
		return PTR_ERR(worker);
	unit->worker = worker;
	unit->abandoned = false;
	vhost_task_start(worker);
	return 0;
}

/**
 * kviommu_worker_stop() - End the worker of a unit, if there is one
 * @unit: The unit, that nothing wakes any more
 *
 * Context: process context, no locks that the worker takes.
 */
void kviommu_worker_stop(struct kviommu_unit *unit)
{
	/* Pins that become idle later would wake it. */
	WRITE_ONCE(unit->abandoned, true);
	if (unit->worker)
		vhost_task_stop(unit->worker);
	unit->worker = NULL;
}
