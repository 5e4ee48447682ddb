/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What all threads that poll have in common, a unit's own worker (self.c) and the
 * shared ones (pool.c); and the latter.
 */
#ifndef _KVIOMMU_POLL_H
#define _KVIOMMU_POLL_H

#include <linux/irqflags.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/processor.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/spinlock.h>

#include "run.h"

/* Look at all of the page in one round of this many. */
#define KVIOMMU_ROUNDS_ALL	64

/*
 * What a round does besides looking at the units takes as long as so many looks:
 * they share as many among them.
 */
#define KVIOMMU_ROUND_LOOKS	16

/* How often a thread sees whether another one should have a unit of it */
#define KVIOMMU_BALANCE_TIME	msecs_to_jiffies(100)

/**
 * struct kviommu_poller - A shared thread, and the CPU that it runs on
 * @entry: In kviommu_pollers
 * @cpu: The CPU
 * @node: Its NUMA node
 * @task: The thread, which sleeps while it has no units; NULL: there is none.
 * @lock: Protects @units and kviommu_unit.poller; inside of all other locks, and
 *        never held for long: threads of VMMs take it, too
 * @units: What it polls, by kviommu_unit.poll_entry
 * @nr: How many these are
 * @current_unit: The unit that it looks at now, without @lock
 * @online: The thread may be given units: it exists, and its CPU is there, or else it
 *          is parked. Changed under @lock.
 * @meter: How long it waits for its CPU
 * @balance: When, in jiffies, to see again who has less to do
 *
 * It stays when the thread goes, for units and CPUs come back.
 */
struct kviommu_poller {
	struct list_head entry;
	unsigned int cpu;
	int node;
	struct task_struct *task;
	spinlock_t lock;	/* see above */
	struct list_head units;
	unsigned int nr;
	struct kviommu_unit *current_unit;
	bool online;
	struct kviommu_meter meter;
	unsigned long balance;
};

/* pool.c. The list only grows: it is walked without a lock. */
extern struct list_head kviommu_pollers;
extern bool kviommu_pool_suspended;
int kviommu_poller_thread(void *data);
void kviommu_poller_release(struct kviommu_poller *p, enum kviommu_poll_why why);

/* meter.c */
void kviommu_poll_rest(struct kviommu_backoff *b);
void kviommu_meter_begin(struct kviommu_meter *m);
bool kviommu_meter_over(struct kviommu_meter *m);

/* How long the calling thread was ready to run and did not, since it exists, in ns */
static inline u64 kviommu_run_delay(void)
{
	/* KVM selects SCHED_INFO, for guests that ask the same of it. */
	return current->sched_info.run_delay;
}

/* Lockless hint; whoever acts on it looks again under unit->lock. */
static inline bool kviommu_poll_peek(struct kviommu_unit *unit, bool all,
				     unsigned int looks)
{
	if (unit->model->page_ops->peek(unit->model, all))
		return true;
	while (looks-- > 1)
		if (unit->model->page_ops->peek(unit->model, false))
			return true;
	return false;
}

/* The worker or a vCPU may have raised what is shown only when trapped. */
static inline bool kviommu_poll_may_stay(struct kviommu_unit *unit)
{
	return unit->model->page_ops->pollable(unit->model) &&
	       READ_ONCE(unit->policy.mode) != KVIOMMU_MODE_TRAP &&
	       !READ_ONCE(unit->abandoned);
}

/* Why it may not, after a look */
static inline enum kviommu_poll_why kviommu_poll_ended(struct kviommu_unit *unit)
{
	return unit->model->page_ops->pollable(unit->model) ? KVIOMMU_POLL_STOPPED :
							      KVIOMMU_POLL_STATUS;
}

/*
 * The guest has done nothing for longer than it pays to wait for it. Clocks of two
 * CPUs may differ a little.
 */
static inline bool kviommu_poll_idle(struct kviommu_unit *unit, u64 now)
{
	return unit->policy.mode != KVIOMMU_MODE_SIDECORE &&
	       now > unit->poll_busy_at + unit->poll_ns;
}

/*
 * Between two rounds: tell RCU. A thread that polls may go on for
 * days without a sleep. Where it is alone on a CPU without a tick (nohz_full), nobody
 * else reports a quiescent state of that, and where the kernel is preemptible
 * cond_resched() does nothing. @told: jiffies when that was done last.
 */
static inline void kviommu_poll_relax(unsigned long *told)
{
	cond_resched_tasks_rcu_qs();
	if (time_before(*told, jiffies)) {
		*told = jiffies;
		local_irq_disable();
		rcu_momentary_eqs();
		local_irq_enable();
	}
	cpu_relax();
}

#endif /* _KVIOMMU_POLL_H */
