// SPDX-License-Identifier: GPL-2.0-only
/*
 * The threads that poll. They serve the units of many VMs, so they only try the locks
 * of each, and leave to its worker what may wait.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/build_bug.h>
#include <linux/cache.h>
#include <linux/cpuhotplug.h>
#include <linux/cpumask.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/stddef.h>
#include <linux/string.h>
#include <linux/suspend.h>
#include <linux/time64.h>
#include <linux/topology.h>

#include "run.h"
#include "../base/trace.h"

static char *poll_cpus = "";
module_param(poll_cpus, charp, 0444);
MODULE_PARM_DESC(poll_cpus, "CPUs to poll on, a thread for each; empty: a thread for each NUMA node; none: no thread, all units are trapped");

static int set_wait(const char *value, const struct kernel_param *kp)
{
	return param_set_uint_minmax(value, kp, 1, 100);
}

static const struct kernel_param_ops wait_ops = {
	.set = set_wait,
	.get = param_get_uint,
};

static unsigned int poll_wait = 10;
module_param_cb(poll_wait, &wait_ops, &poll_wait, 0644);
MODULE_PARM_DESC(poll_wait, "How much of its time a polling thread may wait for its CPU, in percent; 100: all of it");

static int set_rest(const char *value, const struct kernel_param *kp)
{
	return param_set_uint_minmax(value, kp, 1, 10000);
}

static const struct kernel_param_ops rest_ops = {
	.set = set_rest,
	.get = param_get_uint,
};

static unsigned int poll_rest_ms = 100;
module_param_cb(poll_rest_ms, &rest_ops, &poll_rest_ms, 0644);
MODULE_PARM_DESC(poll_rest_ms, "How long a thread that waited more does not poll, in ms; up to 64 times that if it happens again");

/* Look at all of the page in one round of this many. */
#define ROUNDS_ALL	64

/*
 * What a round does besides looking at the units takes as long as so many looks:
 * they share as many among them.
 */
#define ROUND_LOOKS	16

/* The time of which a thread may wait a part */
#define WAIT_WINDOW	(100 * NSEC_PER_MSEC)

#define REST_MAX	64

/* How often a thread sees whether another one has less to do */
#define BALANCE_TIME	msecs_to_jiffies(100)

/**
 * struct kviommu_poller - A polling thread
 * @entry: In pollers
 * @task: The thread, which sleeps while it has no units
 * @cpu: The only CPU that it runs on, or -1: any, of its node if there are more
 * @node: The NUMA node
 * @lock: Protects @units and kviommu_unit.poller; inside of all other locks, and
 *        never held for long: threads of VMMs take it, too
 * @units: What it polls, by kviommu_unit.poll_entry
 * @nr: How many these are
 * @current_unit: The unit that it looks at now, without @lock
 * @online: Its CPU is there; else it is parked. Changed under @lock.
 * @rest: When, in jiffies, it may poll again
 * @resting: How long it will have to rest before, in units of poll_rest_ms
 * @balance: When, in jiffies, to see again who has less to do
 * @now: When its last round began, in ns
 * @awake: How long it has not slept of the present window, in ns
 * @waited: How long it had waited for its CPU when that began, in ns
 *
 * What comes after @rest is the thread's own.
 */
struct kviommu_poller {
	struct list_head entry;
	struct task_struct *task;
	int cpu;
	int node;
	spinlock_t lock;	/* see above */
	struct list_head units;
	unsigned int nr;
	struct kviommu_unit *current_unit;
	bool online;
	unsigned long rest;
	unsigned int resting;
	unsigned long balance;
	u64 now;
	u64 awake;
	u64 waited;
};

/* Made with the module, and constant. */
static LIST_HEAD(pollers);
static int hotplug_state;

/* The host is about to sleep, or does. Changed under pollers_lock. */
static bool suspended;

/* Whether threads are there for poll_nice to be given to. */
static DEFINE_MUTEX(pollers_lock);

static int poll_nice;

static int set_nice(const char *value, const struct kernel_param *kp)
{
	struct kviommu_poller *p;
	int nice, ret;

	ret = kstrtoint(value, 0, &nice);
	if (ret)
		return ret;
	if (nice < MIN_NICE || nice > MAX_NICE)
		return -EINVAL;
	guard(mutex)(&pollers_lock);
	poll_nice = nice;
	list_for_each_entry(p, &pollers, entry)
		set_user_nice(p->task, nice);
	return 0;
}

static const struct kernel_param_ops nice_ops = {
	.set = set_nice,
	.get = param_get_int,
};

module_param_cb(poll_nice, &nice_ops, &poll_nice, 0644);
MODULE_PARM_DESC(poll_nice, "Nice value of the polling threads, -20 to 19");

/* The thread may be given units. */
static bool usable(const struct kviommu_poller *p)
{
	return READ_ONCE(p->online) && !READ_ONCE(suspended) &&
	       time_after_eq(jiffies, READ_ONCE(p->rest));
}

/* The one of this node that has the fewest units; if there is none, of any. */
static struct kviommu_poller *choose(int node)
{
	struct kviommu_poller *p, *best = NULL, *near = NULL;

	list_for_each_entry(p, &pollers, entry) {
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

/**
 * kviommu_pool_any() - Say whether there are threads that can poll units
 *
 * Context: any.
 * Return: true if so, though they may be suspended, or their CPUs away.
 */
bool kviommu_pool_any(void)
{
	return !list_empty(&pollers);
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

/*
 * The thread has waited in vain for longer than it pays. Clocks of two CPUs may
 * differ a little.
 */
static bool idle_too_long(struct kviommu_unit *unit, u64 now)
{
	return unit->policy.mode != KVIOMMU_MODE_SIDECORE &&
	       now > unit->poll_busy_at + unit->poll_ns;
}

/* The worker or a vCPU may have raised what is shown only when trapped. */
static bool may_stay(struct kviommu_unit *unit)
{
	return unit->model->page_ops->pollable(unit->model) &&
	       READ_ONCE(unit->policy.mode) != KVIOMMU_MODE_TRAP &&
	       !READ_ONCE(unit->abandoned);
}

static_assert(offsetofend(struct kviommu_unit, policy.mode) -
	      offsetof(struct kviommu_unit, model) <= SMP_CACHE_BYTES);

/* Lockless hint; poll_unit() re-reads under unit->lock. */
static bool seen(struct kviommu_unit *unit, bool all, unsigned int looks)
{
	if (unit->model->page_ops->peek(unit->model, all))
		return true;
	while (looks-- > 1)
		if (unit->model->page_ops->peek(unit->model, false))
			return true;
	return false;
}

/* Return: why it is to be let go of, or KVIOMMU_POLL_ASKED if it is not. */
static enum kviommu_poll_why poll_unit(struct kviommu_poller *p,
				       struct kviommu_unit *unit, bool all,
				       unsigned int looks)
{
	bool more, stay;

	if (likely(!seen(unit, all, looks) && may_stay(unit)))
		return idle_too_long(unit, p->now) ? KVIOMMU_POLL_IDLE :
		       KVIOMMU_POLL_ASKED;
	/* Another holder of the lock may take its time. */
	if (!mutex_trylock(&unit->lock))
		return KVIOMMU_POLL_ASKED;
	more = kviommu_poll_step(unit, all);
	stay = may_stay(unit);
	unit->poll_busy_at = ktime_get_ns();
	kviommu_unlock(unit);
	if (!stay)
		return KVIOMMU_POLL_STOPPED;
	if (more)
		kviommu_unit_defer(unit);
	return KVIOMMU_POLL_ASKED;
}

static void let_go_of_all(struct kviommu_poller *p, enum kviommu_poll_why why)
{
	struct kviommu_unit *unit, *next;

	list_for_each_entry_safe(unit, next, &p->units, poll_entry)
		let_go(p, unit, why);
}

/*
 * Another thread should have the unit: one that is nearer, or has so much less
 * that it still has not more afterwards.
 */
static bool better_elsewhere(struct kviommu_poller *p, struct kviommu_unit *unit)
{
	struct kviommu_poller *other = choose(unit->poll_node);

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
	p->balance = jiffies + BALANCE_TIME;
	list_for_each_entry(unit, &p->units, poll_entry) {
		if (better_elsewhere(p, unit)) {
			let_go(p, unit, KVIOMMU_POLL_MOVED);
			return;
		}
	}
}

/* How long the thread was ready to run and did not, since it exists */
static u64 run_delay(void)
{
	/* KVM selects SCHED_INFO, for guests that ask the same of it. */
	return current->sched_info.run_delay;
}

/*
 * The thread waited for its CPU for too much of the time that it was awake: then
 * a guest that is trapped waits less, and the thread is to rest. One wait that is
 * too long is enough, or many that are short.
 */
static bool overcommitted(struct kviommu_poller *p)
{
	u64 now = ktime_get_ns(), waited = run_delay() - p->waited;
	unsigned int percent = READ_ONCE(poll_wait);
	bool over;

	p->awake += now - p->now;
	p->now = now;
	over = percent < 100 && waited > WAIT_WINDOW / 100 * percent;
	if (!over && p->awake < WAIT_WINDOW)
		return false;
	p->awake = 0;
	p->waited += waited;
	if (over)
		WRITE_ONCE(p->rest, jiffies + p->resting *
			   msecs_to_jiffies(READ_ONCE(poll_rest_ms)));
	p->resting = clamp(over ? p->resting * 2 : p->resting / 2, 1, REST_MAX);
	return over;
}

static void poll_round(struct kviommu_poller *p, bool all)
{
	enum kviommu_poll_why why;
	struct kviommu_unit *unit;
	unsigned int n, looks;

	spin_lock(&p->lock);
	/* A guest that was not looked at is not idle, so this comes first. */
	if (overcommitted(p)) {
		let_go_of_all(p, KVIOMMU_POLL_OVERCOMMITTED);
		spin_unlock(&p->lock);
		return;
	}
	looks = ROUND_LOOKS / max(p->nr, 1U);
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

static int poll_thread(void *data)
{
	struct kviommu_poller *p = data;
	unsigned int round = 0;

	/*
	 * A CPU that goes away sends those threads to others that may be moved,
	 * before we are told. This one stays until it is parked, at home.
	 */
	if (p->cpu >= 0)
		migrate_disable();
	while (!kthread_should_stop()) {
		poll_round(p, !(++round % ROUNDS_ALL));

		set_current_state(TASK_INTERRUPTIBLE);
		if (!READ_ONCE(p->nr) && !kthread_should_stop() &&
		    !kthread_should_park()) {
			schedule();
			p->now = ktime_get_ns();
		}
		__set_current_state(TASK_RUNNING);
		if (kthread_should_park()) {
			migrate_enable();
			kthread_parkme();
			migrate_disable();
			p->now = ktime_get_ns();
		}
		/* It may go on for days without a sleep. */
		cond_resched_tasks_rcu_qs();
		cpu_relax();
	}
	if (p->cpu >= 0)
		migrate_enable();
	return 0;
}

static int start_poller(int cpu, int node)
{
	struct kviommu_poller *p = kzalloc_obj(*p, GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	p->cpu = cpu;
	p->node = node;
	spin_lock_init(&p->lock);
	INIT_LIST_HEAD(&p->units);
	p->rest = jiffies;
	p->resting = 1;
	p->balance = jiffies;
	p->task = cpu >= 0 ?
		  kthread_create_on_cpu(poll_thread, p, cpu, "kviommu-poll/%u") :
		  kthread_create_on_node(poll_thread, p, node,
					 "kviommu-poll:%d", node);
	if (IS_ERR(p->task)) {
		int ret = PTR_ERR(p->task);

		kfree(p);
		return ret;
	}
	set_user_nice(p->task, poll_nice);
	list_add_tail(&p->entry, &pollers);
	if (cpu >= 0) {
		/* Until cpu_online() */
		kthread_park(p->task);
	} else {
		kviommu_compat_affine_node(p->task, node);
		p->online = true;
		wake_up_process(p->task);
	}
	return 0;
}

static struct kviommu_poller *poller_of(unsigned int cpu)
{
	struct kviommu_poller *p;

	list_for_each_entry(p, &pollers, entry)
		if (p->cpu == cpu)
			return p;
	return NULL;
}

/* A CPU is there. */
static int poll_cpu_online(unsigned int cpu)
{
	struct kviommu_poller *p = poller_of(cpu);

	if (!p)
		return 0;
	/* A thread that was woken to be parked may have lost its place. */
	set_cpus_allowed_ptr(p->task, cpumask_of(cpu));
	scoped_guard(spinlock, &p->lock)
		WRITE_ONCE(p->online, true);
	kthread_unpark(p->task);
	trace_kviommu_poll_cpu(cpu, true);
	return 0;
}

/* It is going away. */
static int poll_cpu_offline(unsigned int cpu)
{
	struct kviommu_poller *p = poller_of(cpu);

	if (!p)
		return 0;
	scoped_guard(spinlock, &p->lock) {
		WRITE_ONCE(p->online, false);
		let_go_of_all(p, KVIOMMU_POLL_OFFLINE);
	}
	kthread_park(p->task);
	trace_kviommu_poll_cpu(cpu, false);
	return 0;
}

/*
 * While the host sleeps all units are trapped: guests are frozen, so that no write
 * comes, and a thread that polls would keep its CPU from the sleep.
 */
static int poll_suspend(struct notifier_block *nb, unsigned long action, void *data)
{
	struct kviommu_poller *p;

	guard(mutex)(&pollers_lock);
	switch (action) {
	case PM_SUSPEND_PREPARE:
	case PM_HIBERNATION_PREPARE:
	case PM_RESTORE_PREPARE:
		WRITE_ONCE(suspended, true);
		break;
	default:
		WRITE_ONCE(suspended, false);
		return NOTIFY_OK;
	}
	list_for_each_entry(p, &pollers, entry)
		scoped_guard(spinlock, &p->lock)
			let_go_of_all(p, KVIOMMU_POLL_SUSPENDED);
	return NOTIFY_OK;
}

static struct notifier_block suspend_notifier = {
	.notifier_call = poll_suspend,
};

/**
 * kviommu_pool_usable() - Say whether there is a thread that may be given a unit
 *
 * Context: any.
 * Return: true if so.
 */
bool kviommu_pool_usable(void)
{
	return choose(NUMA_NO_NODE);
}

/**
 * kviommu_pool_add() - Give a unit to the thread that has the fewest
 * @unit: The unit, whose register writes are not trapped any more
 *
 * Of those of the caller's NUMA node, if there are any.
 *
 * Context: process context, under unit->poll_lock.
 * Return: 0; -ENODEV if the unit is going away; -EAGAIN if there is no thread.
 */
int kviommu_pool_add(struct kviommu_unit *unit)
{
	struct kviommu_poller *p;

	lockdep_assert_held(&unit->poll_lock);

	if (READ_ONCE(unit->closing))
		return -ENODEV;
	unit->poll_node = numa_node_id();
	p = choose(unit->poll_node);
	if (!p)
		return -EAGAIN;
	WRITE_ONCE(unit->last_poller, p);
	scoped_guard(spinlock, &p->lock) {
		if (!p->online || READ_ONCE(suspended))
			return -EAGAIN;
		WRITE_ONCE(unit->poller, p);
		unit->poll_busy_at = ktime_get_ns();
		list_add_tail(&unit->poll_entry, &p->units);
		WRITE_ONCE(p->nr, p->nr + 1);
	}
	wake_up_process(p->task);
	return 0;
}

/**
 * kviommu_pool_has() - Say whether a thread polls a unit
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
 * kviommu_pool_remove() - Let no thread poll a unit any more
 * @unit: The unit
 *
 * Context: process context, under unit->poll_lock.
 */
void kviommu_pool_remove(struct kviommu_unit *unit)
{
	struct kviommu_poller *p = unit->last_poller;
	bool busy;

	lockdep_assert_held(&unit->poll_lock);

	if (!p)
		return;
	for (;;) {
		scoped_guard(spinlock, &p->lock) {
			if (unit->poller)
				let_go(p, unit, KVIOMMU_POLL_STOPPED);
			busy = p->current_unit == unit;
		}
		if (!busy)
			return;
		/* It takes no longer than a step of the unit's work. */
		schedule_timeout_uninterruptible(1);
	}
}

/**
 * kviommu_poll_cpu() - Say where a unit is polled
 * @unit: The unit
 *
 * Context: process context.
 * Return: the CPU that the thread that polls it runs on, or -1 if none does.
 */
int kviommu_poll_cpu(struct kviommu_unit *unit)
{
	struct kviommu_poller *p = READ_ONCE(unit->last_poller);
	int cpu;

	if (!p)
		return -1;
	spin_lock(&p->lock);
	cpu = READ_ONCE(unit->poller) == p ? task_cpu(p->task) : -1;
	spin_unlock(&p->lock);
	return cpu;
}

static int start_pollers(const struct cpumask *cpus)
{
	int i, ret = 0;

	for_each_cpu(i, cpus) {
		ret = cpu_possible(i) ? start_poller(i, cpu_to_node(i)) : -EINVAL;
		if (ret)
			return ret;
	}
	if (!cpumask_empty(cpus))
		return 0;
	for_each_online_node(i) {
		if (nr_cpus_node(i))
			ret = start_poller(-1, i);
		if (ret)
			return ret;
	}
	return 0;
}

/**
 * kviommu_poll_init() - Make the polling threads
 *
 * One for each CPU of the list, which sleep until there is a unit to poll, or are
 * parked until there is the CPU.
 *
 * Return: 0; -EINVAL or -ERANGE if the list is wrong; -ENOMEM.
 */
int kviommu_poll_init(void)
{
	cpumask_var_t cpus;
	bool none;
	int ret;

	if (!zalloc_cpumask_var(&cpus, GFP_KERNEL))
		return -ENOMEM;
	none = sysfs_streq(poll_cpus, "none");
	ret = none ? 0 : cpulist_parse(poll_cpus, cpus);
	if (!ret && !none) {
		guard(mutex)(&pollers_lock);
		ret = start_pollers(cpus);
	}
	free_cpumask_var(cpus);
	/* For the CPUs that are online, too */
	if (!ret)
		ret = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "kviommu:online",
					poll_cpu_online, poll_cpu_offline);
	if (ret < 0) {
		kviommu_poll_exit();
		return ret;
	}
	hotplug_state = ret;
	ret = register_pm_notifier(&suspend_notifier);
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

	/* Fails, and nothing else, if it was not registered. */
	unregister_pm_notifier(&suspend_notifier);
	if (hotplug_state)
		cpuhp_remove_state(hotplug_state);
	guard(mutex)(&pollers_lock);
	list_for_each_entry_safe(p, next, &pollers, entry) {
		list_del(&p->entry);
		kthread_stop(p->task);
		kfree(p);
	}
}
