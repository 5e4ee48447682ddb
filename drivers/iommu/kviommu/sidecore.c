// SPDX-License-Identifier: GPL-2.0-only
/*
 * Polling: the register page is plain memory of the guest, and a thread on
 * another CPU looks at it, so that a guest's register write is no exit.
 *
 * A unit is trapped or polled. What may wait for the VMM or for memory (to
 * track the page or to stop that, to pin what the cache has not, to do what
 * takes long) is done by the unit's worker, a thread of its VMM: the polling
 * threads serve the units of many. So a unit goes
 *
 *	trapped -> (its worker stops the tracking) -> polled ->
 *	(a polling thread lets go of it) -> (its worker tracks the page, then
 *	looks at it once more) -> trapped
 *
 * and in between it has no polling thread, but its page is looked at in the end.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpumask.h>
#include <linux/freezer.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "kviommu.h"
#include "trace.h"

static char *poll_cpus = "";
module_param(poll_cpus, charp, 0444);
MODULE_PARM_DESC(poll_cpus, "CPUs to poll on, a thread for each; empty: one thread, anywhere");

/* Look at all of the page in one round of this many. */
#define ROUNDS_ALL	64

/**
 * struct kviommu_poller - A polling thread
 * @entry: In pollers
 * @task: The thread, which sleeps while it has no units
 * @lock: Protects @units and is held while the thread looks at them; inside of
 *        unit->poll_lock, and unit->lock, which the thread only tries to take,
 *        inside of it
 * @units: What it polls, by kviommu_unit.poll_entry
 * @nr: How many these are
 */
struct kviommu_poller {
	struct list_head entry;
	struct task_struct *task;
	struct mutex lock;	/* see above */
	struct list_head units;
	unsigned int nr;
};

/* Made with the module, and constant. */
static LIST_HEAD(pollers);

/* Off the thread's list; the worker does the rest. */
static void let_go(struct kviommu_poller *p, struct kviommu_unit *unit)
{
	lockdep_assert_held(&p->lock);

	list_del_init(&unit->poll_entry);
	WRITE_ONCE(p->nr, p->nr - 1);
	/* Pairs with the acquire in kviommu_poll_end(). */
	smp_store_release(&unit->poller, NULL);
	kviommu_unit_defer(unit);
}

/* The thread has waited in vain for longer than it pays. */
static bool idle_too_long(struct kviommu_unit *unit, u64 now)
{
	return unit->policy.mode != KVIOMMU_MODE_SIDECORE &&
	       now - unit->poll_busy > unit->poll_ns;
}

/* The worker or a vCPU may have raised what is shown only when trapped. */
static bool may_stay(struct kviommu_unit *unit)
{
	return unit->fe->ops->pollable(unit->fe) &&
	       READ_ONCE(unit->policy.mode) != KVIOMMU_MODE_TRAP &&
	       !READ_ONCE(unit->abandoned);
}

static void poll_unit(struct kviommu_poller *p, struct kviommu_unit *unit,
		      bool all)
{
	bool more, stay;

	/* A look without the lock; with it, it counts. */
	if (likely(!unit->fe->ops->peek(unit->fe, all) && may_stay(unit))) {
		if (idle_too_long(unit, ktime_get_ns()))
			let_go(p, unit);
		return;
	}
	/* Another holder of the lock may take its time. */
	if (!mutex_trylock(&unit->lock))
		return;
	more = kviommu_unit_poll(unit);
	stay = may_stay(unit);
	unit->poll_busy = ktime_get_ns();
	kviommu_unlock(unit);
	if (!stay)
		let_go(p, unit);
	else if (more)
		kviommu_unit_defer(unit);
}

static int poll_thread(void *data)
{
	struct kviommu_poller *p = data;
	struct kviommu_unit *unit, *next;
	unsigned int round = 0;

	set_freezable();
	while (!kthread_should_stop()) {
		bool all = !(++round % ROUNDS_ALL);

		mutex_lock(&p->lock);
		list_for_each_entry_safe(unit, next, &p->units, poll_entry)
			poll_unit(p, unit, all);
		mutex_unlock(&p->lock);

		set_current_state(TASK_INTERRUPTIBLE | TASK_FREEZABLE);
		if (!READ_ONCE(p->nr) && !kthread_should_stop())
			schedule();
		__set_current_state(TASK_RUNNING);
		try_to_freeze();
		cond_resched();
		cpu_relax();
	}
	return 0;
}

static int start_poller(int cpu)
{
	struct kviommu_poller *p = kzalloc_obj(*p, GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	mutex_init(&p->lock);
	INIT_LIST_HEAD(&p->units);
	if (cpu < 0)
		p->task = kthread_create(poll_thread, p, "kviommu-poll");
	else
		p->task = kthread_create_on_node(poll_thread, p, cpu_to_node(cpu),
						 "kviommu-poll/%d", cpu);
	if (IS_ERR(p->task)) {
		int ret = PTR_ERR(p->task);

		kfree(p);
		return ret;
	}
	if (cpu >= 0)
		set_cpus_allowed_ptr(p->task, cpumask_of(cpu));
	wake_up_process(p->task);
	list_add_tail(&p->entry, &pollers);
	return 0;
}

static struct kviommu_poller *least_busy(void)
{
	struct kviommu_poller *p, *best = NULL;

	list_for_each_entry(p, &pollers, entry)
		if (!best || READ_ONCE(p->nr) < READ_ONCE(best->nr))
			best = p;
	return best;
}

static int add_to_poller(struct kviommu_unit *unit)
{
	struct kviommu_poller *p = least_busy();

	lockdep_assert_held(&unit->poll_lock);

	if (READ_ONCE(unit->closing))
		return -ENODEV;
	unit->last_poller = p;
	mutex_lock(&p->lock);
	WRITE_ONCE(unit->poller, p);
	list_add_tail(&unit->poll_entry, &p->units);
	WRITE_ONCE(p->nr, p->nr + 1);
	mutex_unlock(&p->lock);
	wake_up_process(p->task);
	return 0;
}

/*
 * The last time the thread gave up too early if the guest came back soon after,
 * and too late if not.
 */
static void adapt(struct kviommu_unit *unit, u64 now)
{
	u64 min = unit->policy.poll_us_min * NSEC_PER_USEC;
	u64 max = unit->policy.poll_us_max * NSEC_PER_USEC;
	u64 idle = now - unit->poll_busy;

	if (idle < max)
		unit->poll_ns *= 2;
	else
		unit->poll_ns /= 2;
	unit->poll_ns = clamp(unit->poll_ns, min, max);
}

/**
 * kviommu_poll_wanted() - Say whether a trapped unit should be polled
 * @unit: The unit, to which the guest has just written
 *
 * Context: under unit->lock.
 * Return: true if its worker should call kviommu_poll_begin().
 */
bool kviommu_poll_wanted(struct kviommu_unit *unit)
{
	return unit->policy.mode != KVIOMMU_MODE_TRAP && unit->poll_asked &&
	       !unit->polled && unit->fe->ops->pollable(unit->fe);
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
	unit->fe->ops->poll(unit->fe, true);
	unit->polled = true;
	unit->poll_busy = now;
	kviommu_count(unit, polls, 1);
	kviommu_unlock(unit);

	ret = kviommu_kvm_track(&unit->kvm, false);
	if (!ret)
		ret = add_to_poller(unit);
	trace_kviommu_poll(unit->id, true, ret);
	/* Back again, then */
	if (ret)
		kviommu_unit_defer(unit);
}

/**
 * kviommu_poll_end() - Go from polling a unit to trapping its register writes
 * @unit: The unit
 *
 * Does nothing if a thread still polls it, or if it is trapped. What was
 * written before is taken; from here on no write is missed.
 *
 * Context: the unit's worker or an ioctl, no locks.
 * Return: 0 or -EINTR.
 */
int kviommu_poll_end(struct kviommu_unit *unit)
{
	int ret = 0;

	if (mutex_lock_killable(&unit->poll_lock))
		return -EINTR;
	/* Pairs with the release in let_go(). */
	if (READ_ONCE(unit->closing) || smp_load_acquire(&unit->poller) ||
	    !unit->polled)
		goto unlock;
	/* -ENODEV: there is no slot, and so nothing to be missed. */
	ret = kviommu_kvm_track(&unit->kvm, true);
	if (ret && ret != -EINTR && ret != -ENODEV)
		kviommu_unit_defer(unit);
	if ((ret && ret != -ENODEV) || mutex_lock_killable(&unit->lock)) {
		ret = -EINTR;
		goto unlock;
	}
	unit->fe->ops->sync(unit->fe);
	unit->polled = false;
	unit->poll_asked = false;
	unit->fe->ops->poll(unit->fe, false);
	kviommu_unlock(unit);
	trace_kviommu_poll(unit->id, false, ret);
	ret = 0;
unlock:
	mutex_unlock(&unit->poll_lock);
	return ret;
}

/**
 * kviommu_poll_stop() - Let no thread poll a unit any more
 * @unit: The unit; its worker has to call kviommu_poll_end() if it goes on
 *
 * Context: process context, not under unit->lock.
 */
void kviommu_poll_stop(struct kviommu_unit *unit)
{
	struct kviommu_poller *p;

	guard(mutex)(&unit->poll_lock);
	p = unit->last_poller;
	if (!p)
		return;
	/* Also waits for a thread that lets go of it by itself. */
	guard(mutex)(&p->lock);
	if (unit->poller)
		let_go(p, unit);
}

/**
 * kviommu_poll_init() - Make the polling threads
 *
 * One for each CPU of the list, which sleep until there is a unit to poll.
 *
 * Return: 0; -EINVAL or -ERANGE if the list is wrong; -ENOMEM.
 */
int kviommu_poll_init(void)
{
	cpumask_var_t cpus;
	int cpu, ret;

	if (!zalloc_cpumask_var(&cpus, GFP_KERNEL))
		return -ENOMEM;
	ret = cpulist_parse(poll_cpus, cpus);
	for_each_cpu(cpu, cpus) {
		if (!ret && !cpu_online(cpu))
			ret = -EINVAL;
		if (!ret)
			ret = start_poller(cpu);
	}
	if (!ret && list_empty(&pollers))
		ret = start_poller(-1);
	free_cpumask_var(cpus);
	if (ret)
		kviommu_poll_exit();
	return ret;
}

/**
 * kviommu_poll_exit() - End the polling threads
 *
 * Context: process context; there are no units any more.
 */
void kviommu_poll_exit(void)
{
	struct kviommu_poller *p, *next;

	list_for_each_entry_safe(p, next, &pollers, entry) {
		kthread_stop(p->task);
		kfree(p);
	}
}
