// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where there are shared threads that poll: on the CPUs that the administrator names, as
 * long as they are there, and not while the host sleeps.
 *
 * Locks, outermost first: the kernel's lock of the module's parameters, that of CPU
 * hotplug, pollers_lock.
 */
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/cpumask.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/rculist.h>
#include <linux/slab.h>
#include <linux/suspend.h>
#include <linux/topology.h>

#include "poll.h"
#include "../base/trace.h"

/* Serializes all changes of the threads, and of what is below. */
static DEFINE_MUTEX(pollers_lock);
static struct cpumask poll_cpus;
static unsigned int nr_threads;
static int poll_nice;
/* The module is loaded, and not about to be unloaded. */
static bool ready;
static void (*any_changed)(void);
static int hotplug_state;

/**
 * kviommu_pool_any() - Say whether there are shared threads that can poll units
 *
 * Context: any.
 * Return: true if so, though they may rest or be suspended, or their CPUs away.
 */
bool kviommu_pool_any(void)
{
	return READ_ONCE(nr_threads);
}

static struct kviommu_poller *poller_of(unsigned int cpu)
{
	struct kviommu_poller *p;

	list_for_each_entry(p, &kviommu_pollers, entry)
		if (p->cpu == cpu)
			return p;
	return NULL;
}

static void set_online(struct kviommu_poller *p)
{
	/* A thread that was woken to be parked may have lost its place. */
	set_cpus_allowed_ptr(p->task, cpumask_of(p->cpu));
	scoped_guard(spinlock, &p->lock)
		WRITE_ONCE(p->online, true);
	kthread_unpark(p->task);
}

static void set_offline(struct kviommu_poller *p)
{
	guard(spinlock)(&p->lock);
	WRITE_ONCE(p->online, false);
	kviommu_poller_release(p, KVIOMMU_POLL_OFFLINE);
}

static int start_poller(unsigned int cpu)
{
	struct kviommu_poller *p = poller_of(cpu);
	struct task_struct *task;

	if (!p) {
		p = kzalloc_obj(*p, GFP_KERNEL);
		if (!p)
			return -ENOMEM;
		p->cpu = cpu;
		p->node = cpu_to_node(cpu);
		spin_lock_init(&p->lock);
		INIT_LIST_HEAD(&p->units);
		list_add_tail_rcu(&p->entry, &kviommu_pollers);
	}
	p->balance = jiffies;
	p->meter = (struct kviommu_meter){};
	task = kthread_create_on_cpu(kviommu_poller_thread, p, cpu, "kviommu-poll/%u");
	if (IS_ERR(task))
		return PTR_ERR(task);
	p->task = task;
	WRITE_ONCE(nr_threads, nr_threads + 1);
	set_user_nice(task, poll_nice);
	/* Until the CPU is there */
	kthread_park(task);
	if (cpu_online(cpu))
		set_online(p);
	return 0;
}

static void stop_poller(struct kviommu_poller *p)
{
	set_offline(p);
	kthread_stop(p->task);
	p->task = NULL;
	WRITE_ONCE(nr_threads, nr_threads - 1);
}

/* Under the lock of CPU hotplug, too, as stop_others() is */
static int start_missing(const struct cpumask *cpus)
{
	struct kviommu_poller *p;
	unsigned int cpu;
	int ret;

	lockdep_assert_held(&pollers_lock);

	for_each_cpu(cpu, cpus) {
		p = poller_of(cpu);
		ret = p && p->task ? 0 : start_poller(cpu);
		if (ret)
			return ret;
	}
	return 0;
}

static void stop_others(const struct cpumask *cpus)
{
	struct kviommu_poller *p;

	lockdep_assert_held(&pollers_lock);

	list_for_each_entry(p, &kviommu_pollers, entry)
		if (p->task && !cpumask_test_cpu(p->cpu, cpus))
			stop_poller(p);
}

/* All or nothing */
static int change_cpus(const struct cpumask *cpus)
{
	int ret = 0;

	guard(cpus_read_lock)();
	guard(mutex)(&pollers_lock);
	if (ready) {
		ret = start_missing(cpus);
		stop_others(ret ? &poll_cpus : cpus);
	}
	if (!ret)
		cpumask_copy(&poll_cpus, cpus);
	return ret;
}

static int set_cpus(const char *value, const struct kernel_param *kp)
{
	bool any = kviommu_pool_any();
	/* Parameters are set one at a time, and early at boot if this is built in. */
	static struct cpumask cpus;
	int ret;

	ret = cpulist_parse(value, &cpus);
	if (!ret && !cpumask_subset(&cpus, cpu_possible_mask))
		ret = -ERANGE;
	if (!ret)
		ret = change_cpus(&cpus);
	if (any_changed && any != kviommu_pool_any())
		any_changed();
	return ret;
}

static int get_cpus(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%*pbl\n", cpumask_pr_args(&poll_cpus));
}

static const struct kernel_param_ops cpus_ops = {
	.set = set_cpus,
	.get = get_cpus,
};

module_param_cb(poll_cpus, &cpus_ops, NULL, 0644);
MODULE_PARM_DESC(poll_cpus, "CPUs with a shared thread that polls, as a list; empty: none");

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
	list_for_each_entry(p, &kviommu_pollers, entry)
		if (p->task)
			set_user_nice(p->task, nice);
	return 0;
}

static const struct kernel_param_ops nice_ops = {
	.set = set_nice,
	.get = param_get_int,
};

module_param_cb(poll_nice, &nice_ops, &poll_nice, 0644);
MODULE_PARM_DESC(poll_nice, "Nice value of the shared threads, -20 to 19");

/* A CPU is there. */
static int poll_cpu_online(unsigned int cpu)
{
	struct kviommu_poller *p;

	guard(mutex)(&pollers_lock);
	p = poller_of(cpu);
	if (!p || !p->task)
		return 0;
	set_online(p);
	trace_kviommu_poll_cpu(cpu, true);
	return 0;
}

/* It is going away. */
static int poll_cpu_offline(unsigned int cpu)
{
	struct kviommu_poller *p;

	guard(mutex)(&pollers_lock);
	p = poller_of(cpu);
	if (!p || !p->task)
		return 0;
	set_offline(p);
	kthread_park(p->task);
	trace_kviommu_poll_cpu(cpu, false);
	return 0;
}

/*
 * While the host sleeps shared threads poll nothing: guests are frozen, so that no write
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
		WRITE_ONCE(kviommu_pool_suspended, true);
		break;
	default:
		WRITE_ONCE(kviommu_pool_suspended, false);
		return NOTIFY_OK;
	}
	list_for_each_entry(p, &kviommu_pollers, entry)
		scoped_guard(spinlock, &p->lock)
			kviommu_poller_release(p, KVIOMMU_POLL_SUSPENDED);
	return NOTIFY_OK;
}

static struct notifier_block suspend_notifier = {
	.notifier_call = poll_suspend,
};

/**
 * kviommu_poll_init() - Make the shared threads that the host's parameter asks for
 * @changed: Called each time that kviommu_pool_any() has become another; or NULL.
 *           In process context, under the kernel's lock of the module's parameters.
 *
 * They sleep until there is a unit to poll, or are parked until there is the CPU.
 *
 * Context: process context.
 * Return: 0, -ENOMEM or another error of the kernel's.
 */
int kviommu_poll_init(void (*changed)(void))
{
	int ret;

	ret = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "kviommu:online",
				poll_cpu_online, poll_cpu_offline);
	if (ret < 0)
		return ret;
	hotplug_state = ret;
	ret = register_pm_notifier(&suspend_notifier);
	if (!ret) {
		guard(cpus_read_lock)();
		guard(mutex)(&pollers_lock);
		any_changed = changed;
		ready = true;
		ret = start_missing(&poll_cpus);
	}
	if (ret)
		kviommu_poll_exit();
	return ret;
}

/**
 * kviommu_poll_exit() - End the shared threads
 *
 * Context: process context; there are no units any more.
 */
void kviommu_poll_exit(void)
{
	struct kviommu_poller *p, *next;

	/* The parameter can still be written to. */
	scoped_guard(cpus_read_lock) {
		guard(mutex)(&pollers_lock);
		ready = false;
		stop_others(cpu_none_mask);
	}
	/* Fails, and nothing else, if it was not registered. */
	unregister_pm_notifier(&suspend_notifier);
	cpuhp_remove_state(hotplug_state);
	/* And so can the one for the nice value, which looks at the list. */
	guard(mutex)(&pollers_lock);
	list_for_each_entry_safe(p, next, &kviommu_pollers, entry) {
		list_del(&p->entry);
		kfree(p);
	}
}
