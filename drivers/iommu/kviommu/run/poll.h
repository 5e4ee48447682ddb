/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Polling: what a unit's own worker (self.c) and the shared threads (pool.c) have in
 * common, and the structures of the shared threads.
 */
#ifndef _KVIOMMU_POLL_H
#define _KVIOMMU_POLL_H

#include <linux/irqflags.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/moduleparam.h>
#include <linux/processor.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/spinlock.h>

#include "run.h"

/* One round in this many compares all registers, not only those that request work. */
#define KVIOMMU_ROUNDS_ALL	64

/*
 * Looks at registers in one round, divided among the thread's units. The rest of a round
 * takes about as long as this many looks, so with fewer it would dominate.
 */
#define KVIOMMU_ROUND_LOOKS	16

/* Interval at which a thread checks whether to hand a unit to another one, in jiffies */
#define KVIOMMU_BALANCE_TIME	msecs_to_jiffies(100)

/* A parameter of the module: an unsigned int from @_min to @_max, which root may change */
#define KVIOMMU_POLL_PARAM(_name, _variable, _min, _max)			\
static int param_set_##_name(const char *value, const struct kernel_param *kp)	\
{										\
	return param_set_uint_minmax(value, kp, _min, _max);			\
}										\
static const struct kernel_param_ops param_ops_##_name = {			\
	.set = param_set_##_name,						\
	.get = param_get_uint,							\
};										\
module_param_cb(_name, &param_ops_##_name, &(_variable), 0644)

/**
 * struct kviommu_poller - A shared polling thread and its CPU
 * @entry: Entry in kviommu_pollers
 * @cpu: The CPU to which the thread is bound
 * @node: NUMA node of @cpu
 * @task: The thread, which sleeps while it has no units; NULL if there is no thread
 * @lock: Protects @units and kviommu_unit.poller. It is inside of all other locks, and
 *        never held for long, as threads of VMMs take it, too.
 * @units: The units that the thread polls, by kviommu_unit.poll_entry
 * @nr: Number of entries in @units; changed under @lock
 * @current_unit: The unit at which the thread looks at present, with @lock dropped
 * @online: The thread may take units: it exists, and its CPU is online. Otherwise the
 *          thread is parked or gone. Changed under @lock.
 * @meter: Measures how long the thread waits for its CPU
 * @balance_at: Time of the next check whether another thread should take a unit, in
 *              jiffies
 *
 * This structure outlives its thread, as kviommu_unit.last_poller may still point to it.
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
	unsigned long balance_at;
};

/* pool.c. The list only grows while there are units, so it is walked without a lock. */
extern struct list_head kviommu_pollers;
extern bool kviommu_pool_suspended;
int kviommu_poller_thread(void *data);
void kviommu_poller_release(struct kviommu_poller *p, enum kviommu_poll_why why);

/* meter.c */
void kviommu_poll_rest(struct kviommu_backoff *b);
void kviommu_meter_begin(struct kviommu_meter *m);
bool kviommu_meter_over(struct kviommu_meter *m);

/* Total time that the calling thread has been runnable but not running, in ns */
static inline u64 kviommu_run_delay(void)
{
	/* KVM selects SCHED_INFO, as it reports the same as steal time to its guests. */
	return current->sched_info.run_delay;
}

/*
 * Check whether the guest has written a register, in up to @looks looks. Only the first
 * compares all registers, if @all is set. Lockless hint: the caller acts on the registers
 * only under unit->lock.
 */
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

/*
 * Check whether polling may continue. The worker or a vCPU may have raised a status bit,
 * which is shown to the guest only while the unit is trapped. What the administrator allows
 * may have changed: it is the worker that looks, whose VMM may be stopped.
 */
static inline bool kviommu_poll_may_stay(struct kviommu_unit *unit)
{
	return unit->model->page_ops->pollable(unit->model) &&
	       READ_ONCE(unit->policy.mode) != KVIOMMU_MODE_TRAP &&
	       !READ_ONCE(unit->policy_outdated) && !READ_ONCE(unit->abandoned);
}

/* The reason why kviommu_poll_may_stay() returned false */
static inline enum kviommu_poll_why kviommu_poll_ended(struct kviommu_unit *unit)
{
	if (!unit->model->page_ops->pollable(unit->model))
		return KVIOMMU_POLL_STATUS;
	return READ_ONCE(unit->policy_outdated) ? KVIOMMU_POLL_MOVED : KVIOMMU_POLL_STOPPED;
}

/*
 * Check whether the guest has been idle for longer than polling pays off. The comparison
 * allows for poll_busy_at being slightly later than @now: clocks of CPUs may differ.
 */
static inline bool kviommu_poll_idle(struct kviommu_unit *unit, u64 now)
{
	return READ_ONCE(unit->policy.mode) != KVIOMMU_MODE_SIDECORE &&
	       now > unit->poll_busy_at + READ_ONCE(unit->poll_idle_ns);
}

/*
 * Report quiescent states to RCU between two rounds, and relax the CPU. A polling thread
 * may run for days without sleeping. If it is alone on a CPU without a tick (nohz_full),
 * nothing else reports a quiescent state of that CPU, and in a preemptible kernel
 * cond_resched() does nothing. @reported_at is the time of the last report, in jiffies.
 */
static inline void kviommu_poll_relax(unsigned long *reported_at)
{
	cond_resched_tasks_rcu_qs();
	if (time_before(*reported_at, jiffies)) {
		*reported_at = jiffies;
		local_irq_disable();
		rcu_momentary_eqs();
		local_irq_enable();
	}
	cpu_relax();
}

#endif /* _KVIOMMU_POLL_H */
