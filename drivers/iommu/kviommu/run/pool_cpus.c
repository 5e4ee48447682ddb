// SPDX-License-Identifier: GPL-2.0-only
/*
 * The lifetime of the shared polling threads. There is one for each CPU that the
 * administrator names. It polls while its CPU is online and the host is not suspended.
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

/* Serializes all changes of the threads and of the variables up to any_changed. */
static DEFINE_MUTEX(pollers_lock);
/* The parameter poll_cpus */
static struct cpumask poll_cpus;
/* Number of threads, including parked ones */
static unsigned int nr_threads;
/* The parameter poll_nice */
static int poll_nice;
/* The module is initialized and not about to be unloaded, so there may be threads. */
static bool ready;
/* Called when the result of kviommu_pool_any() has changed */
static void (*any_changed)(void);
/* The module's state of CPU hotplug */
static int hotplug_state;

/**
 * kviommu_pool_any() - Check whether there are shared polling threads
 *
 * Context: any; without pollers_lock the result is a hint.
 * Return: true if there is a thread, even if it pauses, or if its CPU is offline.
 */
bool kviommu_pool_any(void)
{
	return READ_ONCE(nr_threads);
}

static struct kviommu_poller *poller_find(unsigned int cpu)
{
	struct kviommu_poller *p;

	list_for_each_entry(p, &kviommu_pollers, entry)
		if (p->cpu == cpu)
			return p;
	return NULL;
}

static void poller_set_online(struct kviommu_poller *p)
{
	/* If the thread was woken while its CPU was offline, its affinity was reset. */
	set_cpus_allowed_ptr(p->task, cpumask_of(p->cpu));
	scoped_guard(spinlock, &p->lock)
		WRITE_ONCE(p->online, true);
	kthread_unpark(p->task);
}

static void poller_set_offline(struct kviommu_poller *p)
{
	spin_lock(&p->lock);
	WRITE_ONCE(p->online, false);
	kviommu_poller_release(p, KVIOMMU_POLL_OFFLINE);
	spin_unlock(&p->lock);
}

static int poller_start(unsigned int cpu)
{
	struct kviommu_poller *p = poller_find(cpu);
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
	p->balance_at = jiffies;
	p->meter = (struct kviommu_meter){};
	task = kthread_create_on_cpu(kviommu_poller_thread, p, cpu, "kviommu-poll/%u");
	if (IS_ERR(task))
		return PTR_ERR(task);
	p->task = task;
	WRITE_ONCE(nr_threads, nr_threads + 1);
	set_user_nice(task, poll_nice);
	/* The thread stays parked until its CPU is online. */
	kthread_park(task);
	if (cpu_online(cpu))
		poller_set_online(p);
	return 0;
}

static void poller_stop(struct kviommu_poller *p)
{
	poller_set_offline(p);
	kthread_stop(p->task);
	p->task = NULL;
	WRITE_ONCE(nr_threads, nr_threads - 1);
}

/* Called under the lock of CPU hotplug, too, as pollers_stop_others() */
static int pollers_start_missing(const struct cpumask *cpus)
{
	struct kviommu_poller *p;
	unsigned int cpu;
	int ret;

	lockdep_assert_held(&pollers_lock);

	for_each_cpu(cpu, cpus) {
		p = poller_find(cpu);
		ret = p && p->task ? 0 : poller_start(cpu);
		if (ret)
			return ret;
	}
	return 0;
}

static void pollers_stop_others(const struct cpumask *cpus)
{
	struct kviommu_poller *p;

	lockdep_assert_held(&pollers_lock);

	list_for_each_entry(p, &kviommu_pollers, entry)
		if (p->task && !cpumask_test_cpu(p->cpu, cpus))
			poller_stop(p);
}

/* Replace the set of CPUs; on failure the previous set stays. */
static int pollers_change_cpus(const struct cpumask *cpus)
{
	int ret = 0;

	guard(cpus_read_lock)();
	guard(mutex)(&pollers_lock);
	if (ready) {
		ret = pollers_start_missing(cpus);
		pollers_stop_others(ret ? &poll_cpus : cpus);
	}
	if (!ret)
		cpumask_copy(&poll_cpus, cpus);
	return ret;
}

static int param_set_cpus(const char *value, const struct kernel_param *kp)
{
	bool any = kviommu_pool_any();
	/* Parameters are set one at a time, and early at boot if this is built in. */
	static struct cpumask cpus;
	int ret;

	ret = cpulist_parse(value, &cpus);
	if (!ret && !cpumask_subset(&cpus, cpu_possible_mask))
		ret = -ERANGE;
	if (!ret)
		ret = pollers_change_cpus(&cpus);
	if (any_changed && any != kviommu_pool_any())
		any_changed();
	return ret;
}

static int param_get_cpus(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%*pbl\n", cpumask_pr_args(&poll_cpus));
}

static const struct kernel_param_ops cpus_ops = {
	.set = param_set_cpus,
	.get = param_get_cpus,
};

module_param_cb(poll_cpus, &cpus_ops, NULL, 0644);
MODULE_PARM_DESC(poll_cpus, "List of CPUs that get a shared polling thread; empty: none");

static int param_set_nice(const char *value, const struct kernel_param *kp)
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
	.set = param_set_nice,
	.get = param_get_int,
};

module_param_cb(poll_nice, &nice_ops, &poll_nice, 0644);
MODULE_PARM_DESC(poll_nice, "Nice value of the shared threads, -20 to 19");

/* Callback of CPU hotplug: a CPU is online. */
static int poll_cpu_online(unsigned int cpu)
{
	struct kviommu_poller *p;

	guard(mutex)(&pollers_lock);
	p = poller_find(cpu);
	if (!p || !p->task)
		return 0;
	poller_set_online(p);
	trace_kviommu_poll_cpu(cpu, true);
	return 0;
}

/* Callback of CPU hotplug: a CPU is about to go offline. */
static int poll_cpu_offline(unsigned int cpu)
{
	struct kviommu_poller *p;

	guard(mutex)(&pollers_lock);
	p = poller_find(cpu);
	if (!p || !p->task)
		return 0;
	poller_set_offline(p);
	kthread_park(p->task);
	trace_kviommu_poll_cpu(cpu, false);
	return 0;
}

/*
 * The shared threads poll nothing while the host is suspended: guests are frozen and do
 * not write, and a polling thread would keep its CPU from being suspended.
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
 * kviommu_poll_init() - Create the shared threads for the parameter poll_cpus
 * @changed: Function to call each time the result of kviommu_pool_any() has changed, or
 *           NULL; called in process context, under the lock of the module's parameters
 *
 * The threads sleep until there is a unit to poll. Those of offline CPUs are parked.
 *
 * Context: process context, no locks; may sleep.
 * Return: 0; -ENOMEM; another error of cpuhp_setup_state(), register_pm_notifier() or
 * kthread_create_on_cpu().
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
		ret = pollers_start_missing(&poll_cpus);
	}
	if (ret)
		kviommu_poll_exit();
	return ret;
}

/**
 * kviommu_poll_exit() - Stop and free the shared threads
 *
 * Context: process context, no locks; may sleep. There are no units any more.
 */
void kviommu_poll_exit(void)
{
	struct kviommu_poller *p, *next;

	/* The parameter can still be written: with @ready cleared that creates no thread. */
	scoped_guard(cpus_read_lock) {
		guard(mutex)(&pollers_lock);
		ready = false;
		pollers_stop_others(cpu_none_mask);
	}
	/* Fails without an effect if the notifier was not registered. */
	unregister_pm_notifier(&suspend_notifier);
	cpuhp_remove_state(hotplug_state);
	/* So can the one for the nice value, which walks the list. */
	guard(mutex)(&pollers_lock);
	list_for_each_entry_safe(p, next, &kviommu_pollers, entry) {
		list_del(&p->entry);
		kfree(p);
	}
}
