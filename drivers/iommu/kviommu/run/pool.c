// SPDX-License-Identifier: GPL-2.0-only
/*
 * The shared polling threads. They serve the units of many VMs, so they only try to take
 * the locks of a unit, and leave work that may sleep or takes long to its worker.
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
MODULE_PARM_DESC(poll_share, "Let the threads of poll_cpus poll adaptive units, too, as far as they have room");

static unsigned int poll_budget_us = 100;
KVIOMMU_POLL_PARAM(poll_budget_us, poll_budget_us, 1, USEC_PER_SEC);
MODULE_PARM_DESC(poll_budget_us, "Time that a shared thread spends on one unit at once, in us");

static unsigned int poll_units = 64;
KVIOMMU_POLL_PARAM(poll_units, poll_units, 1, 65536);
MODULE_PARM_DESC(poll_units, "Maximum number of units that a shared thread polls");

/*
 * A look that exceeds the budget adds OVER_WEIGHT to the unit's score, another one with
 * work subtracts 1. At OVER_LIMIT the thread drops the unit: after four such looks in
 * succession, or if in the long run more than one look in nine exceeds the budget.
 */
#define OVER_WEIGHT	8
#define OVER_LIMIT	32

/*
 * A shared thread flushes the caches of all PASIDs of a unit together, in one piece. With more
 * PASIDs than this that could take longer than its budget.
 */
#define POOL_PASIDS	256

LIST_HEAD(kviommu_pollers);

/* The host is about to be suspended, or is. */
bool kviommu_pool_suspended;

/* Check whether the thread may take another unit. Without p->lock the result is a hint. */
static bool poller_usable(const struct kviommu_poller *p)
{
	return READ_ONCE(p->online) && !READ_ONCE(kviommu_pool_suspended) &&
	       READ_ONCE(p->nr) < READ_ONCE(poll_units) &&
	       kviommu_backoff_over(&p->meter.rest);
}

/* Find the thread with the fewest units on this node, or else on any node; or NULL. */
static struct kviommu_poller *poller_choose(int node)
{
	struct kviommu_poller *p, *best = NULL, *near = NULL;

	list_for_each_entry_rcu(p, &kviommu_pollers, entry, true) {
		if (!poller_usable(p))
			continue;
		if (!best || READ_ONCE(p->nr) < READ_ONCE(best->nr))
			best = p;
		if (p->node == node &&
		    (!near || READ_ONCE(p->nr) < READ_ONCE(near->nr)))
			near = p;
	}
	return near ?: best;
}

/*
 * Check whether the administrator lets shared threads poll units of this mode, and whether the
 * unit has few enough PASIDs.
 */
static bool pool_allowed(const struct kviommu_unit *unit)
{
	u32 mode = READ_ONCE(unit->policy.mode);

	if (READ_ONCE(unit->stats.pasids) > POOL_PASIDS)
		return false;
	return mode == KVIOMMU_MODE_SIDECORE ||
	       (mode == KVIOMMU_MODE_ADAPTIVE && READ_ONCE(poll_share));
}

/* Remove a unit from the thread. The unit's worker then traps the register writes. */
static void poller_drop_unit(struct kviommu_poller *p, struct kviommu_unit *unit,
			     enum kviommu_poll_why why)
{
	lockdep_assert_held(&p->lock);

	list_del_init(&unit->poll_entry);
	WRITE_ONCE(p->nr, p->nr - 1);
	WRITE_ONCE(unit->poll_why, why);
	WRITE_ONCE(unit->poller, NULL);
	kviommu_unit_defer(unit);
}

/* A look without a result reads no other cache line of the unit, see struct kviommu_unit. */
static_assert(offsetofend(struct kviommu_unit, policy.mode) -
	      offsetof(struct kviommu_unit, model) <= SMP_CACHE_BYTES);

/*
 * Account for a look that found work and took @ns. Return true if the unit has exceeded
 * the budget too often, so that no shared thread may poll it for a while.
 */
static bool poll_over_budget(struct kviommu_unit *unit, u64 ns)
{
	if (ns <= READ_ONCE(poll_budget_us) * NSEC_PER_USEC) {
		unit->overuse -= !!unit->overuse;
		return false;
	}
	unit->overuse += OVER_WEIGHT;
	if (unit->overuse < OVER_LIMIT)
		return false;
	unit->overuse = 0;
	kviommu_poll_rest(&unit->pool_backoff);
	return true;
}

/*
 * Look at a unit and do what its guest requests. Return the reason why the thread stops
 * polling it, or KVIOMMU_POLL_ASKED if it continues.
 */
static enum kviommu_poll_why poller_look(struct kviommu_poller *p,
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
	/* The holder of the lock may wait for its VMM, so try again in the next round. */
	if (!mutex_trylock(&unit->lock))
		return KVIOMMU_POLL_ASKED;
	work.began = ktime_get_ns();
	work.deadline = jiffies + usecs_to_jiffies(us) + 1;
	budget.until = work.began + us * NSEC_PER_USEC;
	waited = kviommu_run_delay();
	more = kviommu_poll_step(unit, &work, all);
	stay = kviommu_poll_may_stay(unit);
	unit->poll_busy_at = ktime_get_ns();
	/* The time for which the thread waited for its CPU is not counted as the guest's. */
	waited = kviommu_run_delay() - waited;
	took = unit->poll_busy_at - work.began;
	took -= min(took, waited);
	over = poll_over_budget(unit, took);
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
 * kviommu_poller_release() - Remove all units from a shared thread
 * @p: The thread
 * @why: The reason, which decides whether another thread continues
 *
 * Context: any, under p->lock.
 */
void kviommu_poller_release(struct kviommu_poller *p, enum kviommu_poll_why why)
{
	struct kviommu_unit *unit, *next;

	lockdep_assert_held(&p->lock);

	list_for_each_entry_safe(unit, next, &p->units, poll_entry)
		poller_drop_unit(p, unit, why);
}

/*
 * Check whether the unit may not stay, or is better polled by another thread: one that is
 * on the unit's node while this one is not, or one that has at least two units less, so
 * that it does not have more than this one afterwards.
 */
static bool poller_should_move(struct kviommu_poller *p, struct kviommu_unit *unit)
{
	struct kviommu_poller *other;

	if (!pool_allowed(unit) || p->nr > READ_ONCE(poll_units))
		return true;
	other = poller_choose(unit->poll_node);
	if (!other)
		return false;
	return (other->node == unit->poll_node && p->node != unit->poll_node) ||
	       p->nr >= READ_ONCE(other->nr) + 2;
}

/* Move at most one unit at a time: the other thread's count changes only a while later. */
static void poller_balance(struct kviommu_poller *p)
{
	struct kviommu_unit *unit;

	if (time_before(jiffies, p->balance_at))
		return;
	p->balance_at = jiffies + KVIOMMU_BALANCE_TIME;
	list_for_each_entry(unit, &p->units, poll_entry) {
		if (poller_should_move(p, unit)) {
			poller_drop_unit(p, unit, KVIOMMU_POLL_MOVED);
			return;
		}
	}
}

static void poller_round(struct kviommu_poller *p, bool all)
{
	enum kviommu_poll_why why;
	struct kviommu_unit *unit;
	unsigned int n, looks;

	spin_lock(&p->lock);
	/*
	 * Before the check for idle guests: while the thread waited for its CPU, a guest may
	 * only have seemed idle.
	 */
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
		/* The unit is not freed until current_unit is NULL again. */
		p->current_unit = unit;
		spin_unlock(&p->lock);
		why = poller_look(p, unit, all, looks);
		spin_lock(&p->lock);
		/*
		 * The unit was dropped during the look, so its worker may have found
		 * kviommu_pool_has() true and not ended polling. Wake it again.
		 */
		if (unit->poller != p)
			kviommu_unit_defer(unit);
		else if (why != KVIOMMU_POLL_ASKED)
			poller_drop_unit(p, unit, why);
		p->current_unit = NULL;
	}
	poller_balance(p);
	spin_unlock(&p->lock);
}

/**
 * kviommu_poller_thread() - The function of a shared thread
 * @data: The &struct kviommu_poller of the thread
 *
 * Context: a kthread that is bound to one CPU.
 * Return: 0.
 */
int kviommu_poller_thread(void *data)
{
	struct kviommu_poller *p = data;
	unsigned long reported_at = jiffies;
	unsigned int round = 0;

	/*
	 * A CPU that goes offline pushes its migratable threads to other CPUs before
	 * poll_cpu_offline() is called. This thread has to stay on its CPU until it is parked.
	 */
	migrate_disable();
	kviommu_meter_begin(&p->meter);
	while (!kthread_should_stop()) {
		poller_round(p, !(++round % KVIOMMU_ROUNDS_ALL));

		set_current_state(TASK_INTERRUPTIBLE);
		if (!READ_ONCE(p->nr) && !kthread_should_stop() &&
		    !kthread_should_park()) {
			schedule();
			/* Time asleep is not time of polling, but a wait for the CPU counts. */
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
		kviommu_poll_relax(&reported_at);
	}
	migrate_enable();
	return 0;
}

/**
 * kviommu_pool_usable() - Check whether a shared thread could take a unit
 * @unit: The unit
 *
 * Context: any; the result is a hint, as threads change without a lock of the unit.
 * Return: true if there is such a thread.
 */
bool kviommu_pool_usable(const struct kviommu_unit *unit)
{
	return pool_allowed(unit) && kviommu_backoff_over(&unit->pool_backoff) &&
	       poller_choose(NUMA_NO_NODE);
}

/**
 * kviommu_pool_add() - Give a unit to the shared thread with the fewest units
 * @unit: The unit, whose register writes are no longer trapped
 *
 * Threads on the caller's NUMA node are preferred.
 *
 * Context: process context, under unit->poll_lock.
 * Return: 0; -ENODEV if the unit is being destroyed; -EAGAIN if no thread has room, or if
 * shared threads may not poll the unit at present.
 */
int kviommu_pool_add(struct kviommu_unit *unit)
{
	struct kviommu_poller *p;
	int ret = -EAGAIN;

	lockdep_assert_held(&unit->poll_lock);

	if (READ_ONCE(unit->closing))
		return -ENODEV;
	if (!pool_allowed(unit) || !kviommu_backoff_over(&unit->pool_backoff))
		return -EAGAIN;
	unit->poll_node = numa_node_id();
	p = poller_choose(unit->poll_node);
	if (!p)
		return -EAGAIN;
	WRITE_ONCE(unit->last_poller, p);
	spin_lock(&p->lock);
	if (poller_usable(p)) {
		WRITE_ONCE(unit->poller, p);
		unit->poll_busy_at = ktime_get_ns();
		list_add_tail(&unit->poll_entry, &p->units);
		WRITE_ONCE(p->nr, p->nr + 1);
		wake_up_process(p->task);
		ret = 0;
	}
	spin_unlock(&p->lock);
	return ret;
}

/**
 * kviommu_pool_has() - Check whether a shared thread polls a unit
 * @unit: The unit
 *
 * Context: process context, under unit->poll_lock.
 * Return: true if a thread polls the unit, or has not yet finished its last look at it.
 * In the latter case the thread wakes the unit's worker after that look.
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
 * kviommu_pool_remove() - Remove a unit from the shared thread that polls it, if any
 * @unit: The unit
 * @killable: Return early if the caller is killed
 *
 * Waits until the thread's present look at the unit is over.
 *
 * Context: process context, under unit->poll_lock; may sleep.
 * Return: 0 if no shared thread looks at the unit; -EINTR if the caller was killed.
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
				poller_drop_unit(p, unit, KVIOMMU_POLL_STOPPED);
			busy = p->current_unit == unit;
		}
		if (!busy)
			return 0;
		if (killable && fatal_signal_pending(current))
			return -EINTR;
		/* A look takes no longer than a piece of the unit's work. */
		if (killable)
			schedule_timeout_killable(1);
		else
			schedule_timeout_uninterruptible(1);
	}
}

/**
 * kviommu_poll_cpu() - Get the CPU of the shared thread that polls a unit
 * @unit: The unit
 *
 * Context: process context.
 * Return: the number of the CPU, or -1 if the unit is trapped or polled by its own worker.
 */
int kviommu_poll_cpu(struct kviommu_unit *unit)
{
	struct kviommu_poller *p = READ_ONCE(unit->last_poller);

	return p && READ_ONCE(unit->poller) == p ? p->cpu : -1;
}
