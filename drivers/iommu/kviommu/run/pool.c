// SPDX-License-Identifier: GPL-2.0-only
/*
 * The shared threads that poll. They serve the units of many VMs, so they only try the
 * locks of each, and leave to its worker what may wait or takes long.
 */
#include <linux/build_bug.h>
#include <linux/cache.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/rculist.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/spinlock.h>
#include <linux/stddef.h>
#include <linux/time64.h>
#include <linux/topology.h>

#include "poll.h"

static bool poll_share;
module_param(poll_share, bool, 0644);
MODULE_PARM_DESC(poll_share, "Adaptive units, too, are polled by the threads of poll_cpus, as far as these have room");

static int set_budget(const char *value, const struct kernel_param *kp)
{
	return param_set_uint_minmax(value, kp, 1, USEC_PER_SEC);
}

static const struct kernel_param_ops budget_ops = {
	.set = set_budget,
	.get = param_get_uint,
};

static unsigned int poll_budget_us = 100;
module_param_cb(poll_budget_us, &budget_ops, &poll_budget_us, 0644);
MODULE_PARM_DESC(poll_budget_us, "How much of its time a shared thread has for one unit at once, in us");

static int set_units(const char *value, const struct kernel_param *kp)
{
	return param_set_uint_minmax(value, kp, 1, 65536);
}

static const struct kernel_param_ops units_ops = {
	.set = set_units,
	.get = param_get_uint,
};

static unsigned int poll_units = 64;
module_param_cb(poll_units, &units_ops, &poll_units, 0644);
MODULE_PARM_DESC(poll_units, "How many units a shared thread polls at most");

/*
 * A look that took more than the budget counts as so many that did not. A unit is let go
 * of at the limit: if more than one of nine are such, or four one after the other.
 */
#define OVER_WEIGHT	8
#define OVER_LIMIT	32

LIST_HEAD(kviommu_pollers);

/* The host is about to sleep, or does. */
bool kviommu_pool_suspended;

/* The thread may be given a unit more. */
static bool usable(const struct kviommu_poller *p)
{
	return READ_ONCE(p->online) && !READ_ONCE(kviommu_pool_suspended) &&
	       READ_ONCE(p->nr) < READ_ONCE(poll_units) &&
	       kviommu_backoff_over(&p->meter.rest);
}

/* The one of this node that has the fewest units; if there is none, of any. */
static struct kviommu_poller *choose(int node)
{
	struct kviommu_poller *p, *best = NULL, *near = NULL;

	list_for_each_entry_rcu(p, &kviommu_pollers, entry, true) {
		if (!usable(p))
			continue;
		if (!best || READ_ONCE(p->nr) < READ_ONCE(best->nr))
			best = p;
		if (p->node == node &&
		    (!near || READ_ONCE(p->nr) < READ_ONCE(near->nr)))
			near = p;
	}
	return near ?: best;
}

/* The administrator lets shared threads poll units of this mode. */
static bool may_share(const struct kviommu_unit *unit)
{
	u32 mode = READ_ONCE(unit->policy.mode);

	return mode == KVIOMMU_MODE_SIDECORE ||
	       (mode == KVIOMMU_MODE_ADAPTIVE && READ_ONCE(poll_share));
}

/* Off the thread's list; the worker does the rest. */
static void let_go(struct kviommu_poller *p, struct kviommu_unit *unit,
		   enum kviommu_poll_why why)
{
	lockdep_assert_held(&p->lock);

	list_del_init(&unit->poll_entry);
	WRITE_ONCE(p->nr, p->nr - 1);
	unit->poll_why = why;
	WRITE_ONCE(unit->poller, NULL);
	kviommu_unit_defer(unit);
}

static_assert(offsetofend(struct kviommu_unit, policy.mode) -
	      offsetof(struct kviommu_unit, model) <= SMP_CACHE_BYTES);

/*
 * A look that found something took @ns. Return: the unit takes too much of the thread's
 * time too often, and is to stay away from shared threads for a while.
 */
static bool over_budget(struct kviommu_unit *unit, u64 ns)
{
	if (ns <= READ_ONCE(poll_budget_us) * NSEC_PER_USEC) {
		unit->over -= !!unit->over;
		return false;
	}
	unit->over += OVER_WEIGHT;
	if (unit->over < OVER_LIMIT)
		return false;
	unit->over = 0;
	kviommu_poll_rest(&unit->away);
	return true;
}

/* Return: why it is to be let go of, or KVIOMMU_POLL_ASKED if it is not. */
static enum kviommu_poll_why poll_unit(struct kviommu_poller *p,
				       struct kviommu_unit *unit, bool all,
				       unsigned int looks)
{
	unsigned int us = READ_ONCE(poll_budget_us);
	struct kviommu_budget budget = {};
	struct kviommu_work work = { .budget = &budget };
	u64 waited, took;
	bool more, stay, over;

	if (likely(!kviommu_poll_peek(unit, all, looks) && kviommu_poll_may_stay(unit)))
		return kviommu_poll_idle(unit, p->meter.read_at) ? KVIOMMU_POLL_IDLE :
		       KVIOMMU_POLL_ASKED;
	/* Another holder of the lock may take its time. */
	if (!mutex_trylock(&unit->lock))
		return KVIOMMU_POLL_ASKED;
	work.began = ktime_get_ns();
	work.deadline = jiffies + usecs_to_jiffies(us) + 1;
	budget.until = work.began + us * NSEC_PER_USEC;
	waited = kviommu_run_delay();
	more = kviommu_poll_step(unit, &work, all);
	stay = kviommu_poll_may_stay(unit);
	unit->poll_busy_at = ktime_get_ns();
	/* That the thread did not have its CPU is not the guest's fault. */
	waited = kviommu_run_delay() - waited;
	took = unit->poll_busy_at - work.began;
	took -= min(took, waited);
	over = over_budget(unit, took);
	kviommu_count(unit, pool_ns, took);
	kviommu_unlock(unit);
	if (!stay)
		return kviommu_poll_ended(unit);
	if (over)
		return KVIOMMU_POLL_BUDGET;
	if (more)
		kviommu_unit_defer(unit);
	return KVIOMMU_POLL_ASKED;
}

/**
 * kviommu_poller_release() - Have a shared thread let go of all of its units
 * @p: The thread
 * @why: Why
 *
 * Context: under p->lock.
 */
void kviommu_poller_release(struct kviommu_poller *p, enum kviommu_poll_why why)
{
	struct kviommu_unit *unit, *next;

	lockdep_assert_held(&p->lock);

	list_for_each_entry_safe(unit, next, &p->units, poll_entry)
		let_go(p, unit, why);
}

/*
 * The unit is not to be here any more, or another thread should have it: one that is
 * nearer, or has so much less that it still has not more afterwards.
 */
static bool better_elsewhere(struct kviommu_poller *p, struct kviommu_unit *unit)
{
	struct kviommu_poller *other;

	if (!may_share(unit) || p->nr > READ_ONCE(poll_units))
		return true;
	other = choose(unit->poll_node);
	if (!other)
		return false;
	return (other->node == unit->poll_node && p->node != unit->poll_node) ||
	       p->nr >= READ_ONCE(other->nr) + 2;
}

/* One unit at a time, for it takes a moment until another thread has it. */
static void balance(struct kviommu_poller *p)
{
	struct kviommu_unit *unit;

	if (time_before(jiffies, p->balance))
		return;
	p->balance = jiffies + KVIOMMU_BALANCE_TIME;
	list_for_each_entry(unit, &p->units, poll_entry) {
		if (better_elsewhere(p, unit)) {
			let_go(p, unit, KVIOMMU_POLL_MOVED);
			return;
		}
	}
}

static void poll_round(struct kviommu_poller *p, bool all)
{
	enum kviommu_poll_why why;
	struct kviommu_unit *unit;
	unsigned int n, looks;

	spin_lock(&p->lock);
	/* A guest that was not looked at is not idle, so this comes first. */
	if (kviommu_meter_over(&p->meter)) {
		kviommu_poller_release(p, KVIOMMU_POLL_OVERCOMMITTED);
		spin_unlock(&p->lock);
		return;
	}
	looks = KVIOMMU_ROUND_LOOKS / max(p->nr, 1U);
	for (n = p->nr; n && p->nr; n--) {
		unit = list_first_entry(&p->units, struct kviommu_unit, poll_entry);
		if (p->nr > 1)
			list_move_tail(&unit->poll_entry, &p->units);
		/* Until this is NULL again the unit is not freed. */
		p->current_unit = unit;
		spin_unlock(&p->lock);
		why = poll_unit(p, unit, all, looks);
		spin_lock(&p->lock);
		/* Somebody let go of it, and kviommu_poll_end() waited for us. */
		if (unit->poller != p)
			kviommu_unit_defer(unit);
		else if (why != KVIOMMU_POLL_ASKED)
			let_go(p, unit, why);
		p->current_unit = NULL;
	}
	balance(p);
	spin_unlock(&p->lock);
}

/**
 * kviommu_poller_thread() - What a shared thread does
 * @data: Its &struct kviommu_poller
 *
 * Context: a kthread for one CPU.
 * Return: 0.
 */
int kviommu_poller_thread(void *data)
{
	struct kviommu_poller *p = data;
	unsigned long told = jiffies;
	unsigned int round = 0;

	/*
	 * A CPU that goes away sends those threads to others that may be moved,
	 * before we are told. This one stays until it is parked, at home.
	 */
	migrate_disable();
	kviommu_meter_begin(&p->meter);
	while (!kthread_should_stop()) {
		poll_round(p, !(++round % KVIOMMU_ROUNDS_ALL));

		set_current_state(TASK_INTERRUPTIBLE);
		if (!READ_ONCE(p->nr) && !kthread_should_stop() &&
		    !kthread_should_park()) {
			schedule();
			/* That it waits for the CPU when it is woken counts. */
			p->meter.read_at = ktime_get_ns();
		}
		__set_current_state(TASK_RUNNING);
		if (kthread_should_park()) {
			migrate_enable();
			kthread_parkme();
			migrate_disable();
			kviommu_meter_begin(&p->meter);
		}
		if (kviommu_compat_cpu_wanted())
			schedule();
		kviommu_poll_relax(&told);
	}
	migrate_enable();
	return 0;
}

/**
 * kviommu_pool_usable() - Say whether there is a shared thread that may be given a unit
 * @unit: The unit
 *
 * Context: any; without unit->lock, a hint.
 * Return: true if so.
 */
bool kviommu_pool_usable(const struct kviommu_unit *unit)
{
	return may_share(unit) && kviommu_backoff_over(&unit->away) &&
	       choose(NUMA_NO_NODE);
}

/**
 * kviommu_pool_add() - Give a unit to the shared thread that has the fewest
 * @unit: The unit, whose register writes are not trapped any more
 *
 * Of those of the caller's NUMA node, if there are any.
 *
 * Context: process context, under unit->poll_lock.
 * Return: 0; -ENODEV if the unit is going away; -EAGAIN if there is no thread, or the
 * unit is not to have one.
 */
int kviommu_pool_add(struct kviommu_unit *unit)
{
	struct kviommu_poller *p;

	lockdep_assert_held(&unit->poll_lock);

	if (READ_ONCE(unit->closing))
		return -ENODEV;
	if (!may_share(unit) || !kviommu_backoff_over(&unit->away))
		return -EAGAIN;
	unit->poll_node = numa_node_id();
	p = choose(unit->poll_node);
	if (!p)
		return -EAGAIN;
	WRITE_ONCE(unit->last_poller, p);
	guard(spinlock)(&p->lock);
	if (!usable(p))
		return -EAGAIN;
	WRITE_ONCE(unit->poller, p);
	unit->poll_busy_at = ktime_get_ns();
	list_add_tail(&unit->poll_entry, &p->units);
	WRITE_ONCE(p->nr, p->nr + 1);
	wake_up_process(p->task);
	return 0;
}

/**
 * kviommu_pool_has() - Say whether a shared thread polls a unit
 * @unit: The unit
 *
 * Context: process context, under unit->poll_lock.
 * Return: true if so, or if a thread is about to find out that it does no more.
 */
bool kviommu_pool_has(struct kviommu_unit *unit)
{
	struct kviommu_poller *p = unit->last_poller;
	bool has;

	lockdep_assert_held(&unit->poll_lock);

	if (!p)
		return false;
	spin_lock(&p->lock);
	has = unit->poller || p->current_unit == unit;
	spin_unlock(&p->lock);
	return has;
}

/**
 * kviommu_pool_remove() - Let no shared thread poll a unit any more
 * @unit: The unit
 * @killable: Do not wait for the thread if the caller is killed
 *
 * Context: process context, under unit->poll_lock.
 * Return: 0, and no thread looks at the page any more; or -EINTR.
 */
int kviommu_pool_remove(struct kviommu_unit *unit, bool killable)
{
	struct kviommu_poller *p = unit->last_poller;
	bool busy;

	lockdep_assert_held(&unit->poll_lock);

	if (!p)
		return 0;
	for (;;) {
		scoped_guard(spinlock, &p->lock) {
			if (unit->poller)
				let_go(p, unit, KVIOMMU_POLL_STOPPED);
			busy = p->current_unit == unit;
		}
		if (!busy)
			return 0;
		if (killable && fatal_signal_pending(current))
			return -EINTR;
		/* It takes no longer than a step of the unit's work. */
		if (killable)
			schedule_timeout_killable(1);
		else
			schedule_timeout_uninterruptible(1);
	}
}

/**
 * kviommu_poll_cpu() - Say where a unit is polled by a shared thread
 * @unit: The unit
 *
 * Context: process context.
 * Return: the CPU that the thread runs on, or -1 if there is none: the unit is trapped, or
 * polled by its own worker.
 */
int kviommu_poll_cpu(struct kviommu_unit *unit)
{
	struct kviommu_poller *p = READ_ONCE(unit->last_poller);

	return p && READ_ONCE(unit->poller) == p ? p->cpu : -1;
}
