// SPDX-License-Identifier: GPL-2.0-only
/*
 * The worker of a unit. It is a thread of the VMM, so its work is accounted to the VMM
 * and ends when the VMM is killed.
 */
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/sched.h>
#include <linux/sched/vhost_task.h>
#include <linux/sprintf.h>
#include <linux/timer.h>

#include "run.h"
#include "../device/device.h"
#include "../mem/mem.h"
#include "../xlate/shadow/api.h"
#include "../xlate/xlate.h"

/**
 * kviommu_unit_defer() - Wake the worker to do the unit's pending work
 * @unit: The unit
 *
 * Does nothing while there is no worker: see &kviommu_unit.abandoned.
 *
 * Context: any that may take a spinlock.
 */
void kviommu_unit_defer(struct kviommu_unit *unit)
{
	if (READ_ONCE(unit->abandoned))
		return;
	WRITE_ONCE(unit->deferred, true);
	/* The wakeup orders the store before the worker's check of @deferred. */
	vhost_task_wake(unit->worker);
}

/**
 * kviommu_unit_wake() - Make the worker look for expired or pending work
 * @unit: The unit
 * @us: Time until then, in microseconds, rounded up to jiffies; 0: at once
 *
 * An earlier time that was set before remains.
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

static void worker_timer(struct timer_list *timer)
{
	kviommu_unit_defer(container_of(timer, struct kviommu_unit, timer));
}

static void worker_tidy(struct kviommu_unit *unit)
{
	mutex_lock(&unit->map_lock);
	kviommu_stale_expire(unit);
	kviommu_pin_tidy(unit);
	mutex_unlock(&unit->map_lock);
}

/*
 * Do pending work, or poll. The worker calls this in a state in which it is about to
 * sleep. Return false if it should sleep, and true if it should call this again.
 */
static bool worker_run(void *data)
{
	struct kviommu_unit *unit = data;
	struct kviommu_work work;
	bool poll;

	if (!READ_ONCE(unit->deferred) && !READ_ONCE(unit->self.on))
		return false;
	__set_current_state(TASK_RUNNING);
	/* The worker may run for long without sleeping. */
	kviommu_compat_user_work();
	if (!READ_ONCE(unit->deferred)) {
		kviommu_self_poll(unit);
		return true;
	}
	WRITE_ONCE(unit->deferred, false);
	/* Needs no unit->lock, whose holder may keep it for long; so this comes first. */
	worker_tidy(unit);
	kviommu_poll_end(unit);
	if (READ_ONCE(unit->policy_outdated))
		unit->up->renew_policy(unit);
	if (mutex_lock_killable(&unit->lock))
		return true;
	if (kviommu_step(unit))
		WRITE_ONCE(unit->deferred, true);
	kviommu_work_begin(&work);
	if (kviommu_backends_tidy(unit, &work))
		WRITE_ONCE(unit->deferred, true);
	if (kviommu_device_retry(unit, &work))
		WRITE_ONCE(unit->deferred, true);
	poll = kviommu_poll_wanted(unit);
	kviommu_unlock(unit);
	if (poll)
		kviommu_poll_begin(unit);
	return true;
}

/* The worker was killed: from now on no thread does deferred work. */
static void worker_killed(void *data)
{
	struct kviommu_unit *unit = data;

	WRITE_ONCE(unit->abandoned, true);
}

/**
 * kviommu_worker_init() - Prepare a unit for kviommu_worker_start()
 * @unit: The unit
 *
 * Until then nothing wakes the worker.
 *
 * Context: process context; nothing else uses the unit yet.
 */
void kviommu_worker_init(struct kviommu_unit *unit)
{
	unit->abandoned = true;
	timer_setup(&unit->timer, worker_timer, 0);
}

/**
 * kviommu_worker_start() - Create the worker of a unit as a thread of the calling process
 * @unit: The unit, which has a model, and its @id, after which the worker is named
 *
 * The worker inherits the CPU affinity, the scheduling policy and the nice value of the
 * calling thread.
 *
 * Context: process context of the VMM; may sleep.
 * Return: 0; -EAGAIN at a limit of the number of threads; another error of
 * vhost_task_create().
 */
int kviommu_worker_start(struct kviommu_unit *unit)
{
	struct vhost_task *worker;
	char name[TASK_COMM_LEN];

	snprintf(name, sizeof(name), "kviommu-%d", unit->id);
	worker = vhost_task_create(worker_run, worker_killed, unit, name);
	if (IS_ERR(worker))
		return PTR_ERR(worker);
	unit->worker = worker;
	/* A worker of a KVIOMMU_CREATE that failed may have left something undone. */
	unit->deferred = false;
	WRITE_ONCE(unit->abandoned, false);
	vhost_task_start(worker);
	return 0;
}

/**
 * kviommu_worker_stop() - Stop the worker of a unit, if there is one, and wait for its end
 * @unit: The unit; only its timer and holders of map_lock may still wake its worker
 *
 * Context: process context, no locks, as the worker takes all of the unit's; may sleep.
 */
void kviommu_worker_stop(struct kviommu_unit *unit)
{
	/*
	 * iommufd still tells of memory that is unmapped, and pins that become idle wake the
	 * worker, both under map_lock; and the timer does.
	 */
	mutex_lock(&unit->map_lock);
	WRITE_ONCE(unit->abandoned, true);
	mutex_unlock(&unit->map_lock);
	timer_delete_sync(&unit->timer);
	if (unit->worker)
		vhost_task_stop(unit->worker);
	unit->worker = NULL;
}
