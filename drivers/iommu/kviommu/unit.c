// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a unit, and what it does for its front-end.
 */
#include <linux/eventfd.h>
#include <linux/gfp.h>
#include <linux/idr.h>
#include <linux/jiffies.h>
#include <linux/overflow.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/vhost_task.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/time64.h>
#include <linux/timer.h>
#include <linux/unaligned.h>

#include "kviommu.h"
#include "trace.h"

static DEFINE_IDA(unit_ids);

/*
 * How long one register write may keep a vCPU: longer work goes on in a worker
 * while the guest runs.
 */
#define VCPU_TIME	msecs_to_jiffies(50)

/* How long others may have to wait for unit->lock. */
#define STEP_TIME	msecs_to_jiffies(10)

/* Time begins for one piece of work. */
static void begin_step(struct kviommu_unit *unit)
{
	unit->step_ns = ktime_get_ns();
	unit->deadline = jiffies + (unit->in_poller ? 1 : STEP_TIME);
}

static void count_latency(struct kviommu_unit *unit, u64 ns)
{
	unsigned int i = min(fls64(ns >> 10), KVIOMMU_LATENCY_BUCKETS - 1);

	kviommu_count(unit, latency[i], 1);
}

/* One piece of work. Return: there is more. */
static bool unit_step(struct kviommu_unit *unit)
{
	struct kviommu_frontend *fe = unit->fe;

	if (READ_ONCE(unit->closing) || !fe->ops->pending(fe))
		return false;
	begin_step(unit);
	if (!unit->busy_since)
		unit->busy_since = unit->step_ns;
	if (fe->ops->run(fe))
		return true;
	count_latency(unit, ktime_get_ns() - unit->busy_since);
	unit->busy_since = 0;
	return false;
}

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
 * @us: In how many microseconds, at the latest; it may be a little more
 *
 * Context: any that may take a spinlock.
 */
void kviommu_unit_wake(struct kviommu_unit *unit, u64 us)
{
	unsigned int n = min_t(u64, us, INT_MAX);

	timer_reduce(&unit->timer, jiffies + usecs_to_jiffies(n));
}

static void unit_timer(struct timer_list *timer)
{
	kviommu_unit_defer(container_of(timer, struct kviommu_unit, timer));
}

/* A polling thread may leave a flush, and more idle pins than there may be. */
static bool unit_untidy(const struct kviommu_unit *unit)
{
	return (READ_ONCE(unit->nr_release) && !READ_ONCE(unit->stale.since)) ||
	       READ_ONCE(unit->pins.idle) > unit->policy.max_idle_pins;
}

static void unit_tidy(struct kviommu_unit *unit)
{
	mutex_lock(&unit->map_lock);
	kviommu_stale_expire(unit);
	kviommu_pin_tidy(unit);
	mutex_unlock(&unit->map_lock);
}

/*
 * The worker is a thread of the VMM, for what the guest makes it do is to count
 * as the VM's, and to end when the VMM is killed. Called about to sleep. Return:
 * look again first.
 */
static bool unit_work(void *data)
{
	struct kviommu_unit *unit = data;
	bool poll;

	if (!READ_ONCE(unit->deferred))
		return false;
	__set_current_state(TASK_RUNNING);
	WRITE_ONCE(unit->deferred, false);
	/* First, for who holds unit->lock may take its time. */
	unit_tidy(unit);
	kviommu_poll_end(unit);
	if (mutex_lock_killable(&unit->lock))
		return true;
	if (unit_step(unit))
		WRITE_ONCE(unit->deferred, true);
	poll = kviommu_poll_wanted(unit);
	kviommu_unlock(unit);
	if (poll)
		kviommu_poll_begin(unit);
	return true;
}

/* Nobody is left who would see what is not done. */
static void unit_work_killed(void *data)
{
	struct kviommu_unit *unit = data;

	WRITE_ONCE(unit->abandoned, true);
}

/* Go on with pending work in pieces, so that others get unit->lock. */
static void unit_run(struct kviommu_unit *unit, bool more)
{
	unsigned long end = jiffies + VCPU_TIME;

	while (more) {
		cond_resched();
		if (signal_pending(current) || time_after(jiffies, end)) {
			kviommu_unit_defer(unit);
			return;
		}
		if (mutex_lock_killable(&unit->lock)) {
			/* There may be vCPUs in other processes. */
			kviommu_unit_defer(unit);
			return;
		}
		more = unit_step(unit);
		kviommu_unlock(unit);
	}
}

/* In the exit of the vCPU that wrote. */
static void unit_write(struct kviommu_kvm *k, unsigned int offset,
		       const void *data, unsigned int len)
{
	struct kviommu_unit *unit = container_of(k, struct kviommu_unit, kvm);
	struct kviommu_frontend *fe = unit->fe;
	bool more, poll;

	trace_kviommu_reg_write(unit->id, offset, len, len == 8 ?
				get_unaligned((u64 *)data) : len == 4 ?
				get_unaligned((u32 *)data) : *(u8 *)data);
	/* Killed: the guest will not miss its write. */
	if (mutex_lock_killable(&unit->lock))
		return;
	kviommu_count(unit, reg_writes, 1);
	fe->ops->write(fe, offset, data, len);
	more = unit_step(unit);
	unit->poll_asked = true;
	poll = kviommu_poll_wanted(unit);
	kviommu_unlock(unit);
	if (poll)
		kviommu_unit_defer(unit);
	unit_run(unit, more);
}

/**
 * kviommu_unit_poll() - Do what a guest asked for whose writes are not trapped
 * @unit: The unit
 * @all: See to all registers, also if there is no command
 *
 * Context: a polling thread, under unit->lock.
 * Return: there is more to do, by the worker.
 */
bool kviommu_unit_poll(struct kviommu_unit *unit, bool all)
{
	struct kviommu_frontend *fe = unit->fe;
	bool more;

	/* Others hold it while they wait for the VMM: so does the worker for them. */
	if (!mutex_trylock(&unit->map_lock)) {
		fe->ops->sync(fe, all);
		if (!unit->busy_since && fe->ops->pending(fe))
			unit->busy_since = ktime_get_ns();
		return true;
	}
	unit->in_poller = true;
	fe->ops->sync(fe, all);
	more = unit_step(unit);
	/* Messages that were changed are announced well before an event. */
	if (!all && !fe->ops->pollable(fe))
		fe->ops->sync(fe, true);
	/* Here the guest has its status, and no other thread has to be woken for it. */
	if (!more && unit->policy.strategy == KVIOMMU_STRATEGY_ASYNC)
		kviommu_unit_flush(unit);
	unit->in_poller = false;
	mutex_unlock(&unit->map_lock);
	return more || unit_untidy(unit);
}

/* Under the VM's slots_lock. */
static void unit_slot_removed(struct kviommu_kvm *k)
{
	struct kviommu_unit *unit = container_of(k, struct kviommu_unit, kvm);

	kviommu_signal(unit, KVIOMMU_SIGNAL_CONTROL);
}

/* Under locks of the IOAS. */
static void unit_unmap(struct kviommu_access *a, u64 first, u64 last)
{
	struct kviommu_unit *unit = container_of(a, struct kviommu_unit, access);

	kviommu_revoke(unit, first >> PAGE_SHIFT, last >> PAGE_SHIFT);
}

/**
 * kviommu_signal() - Signal the eventfd of an event
 * @unit: The unit
 * @what: The event
 *
 * Context: any that may take a spinlock.
 */
void kviommu_signal(struct kviommu_unit *unit, enum kviommu_signal what)
{
	spin_lock(&unit->events_lock);
	if (unit->events[what])
		eventfd_signal(unit->events[what]);
	spin_unlock(&unit->events_lock);
}

/**
 * kviommu_time_up() - Say whether the time for this piece of work is up
 * @unit: The unit
 *
 * Context: under unit->lock.
 * Return: true if so: do what has begun, but begin nothing more.
 */
bool kviommu_time_up(struct kviommu_unit *unit)
{
	return time_after(jiffies, unit->deadline);
}

/**
 * kviommu_resched() - Let others run, in a long loop
 * @unit: The unit
 *
 * Context: under unit->lock.
 * Return: 0; -EINTR if a fatal signal is pending or the unit is going away, and
 * the loop should end; -EAGAIN if it should go on in the next step.
 */
int kviommu_resched(struct kviommu_unit *unit)
{
	cond_resched();
	if (fatal_signal_pending(current) || READ_ONCE(unit->closing))
		return -EINTR;
	return kviommu_time_up(unit) ? -EAGAIN : 0;
}

/**
 * kviommu_error() - The guest did not get what it asked for
 * @unit: The unit
 * @what: What it was
 * @addr: An address that tells which
 * @err: Why
 *
 * Context: process context, under unit->lock.
 */
void kviommu_error(struct kviommu_unit *unit, const char *what, u64 addr,
		   int err)
{
	trace_kviommu_error(unit->id, what, addr, err);
	kviommu_count(unit, errors, 1);
	if (err != -ENOMEM && err != -EDQUOT)
		return;
	kviommu_count(unit, limits, 1);
	unit->limited = true;
}

/**
 * kviommu_unlock() - Let go of unit->lock
 * @unit: The unit
 *
 * And tell the VMM, once, if a limit was hit meanwhile.
 */
void kviommu_unlock(struct kviommu_unit *unit)
{
	bool limited = unit->limited;

	unit->limited = false;
	mutex_unlock(&unit->lock);
	if (limited)
		kviommu_signal(unit, KVIOMMU_SIGNAL_LIMIT);
}

/**
 * kviommu_count_descriptors() - Count descriptors of one fetch
 * @unit: The unit
 * @n: How many
 */
void kviommu_count_descriptors(struct kviommu_unit *unit, unsigned int n)
{
	kviommu_count(unit, descriptors, n);
	kviommu_count(unit, batches, 1);
}

/**
 * kviommu_count_fault() - Count a fault that the guest was told of
 * @unit: The unit
 */
void kviommu_count_fault(struct kviommu_unit *unit)
{
	kviommu_count(unit, faults, 1);
}

/**
 * kviommu_unit_alloc() - Make a unit that KVIOMMU_CREATE will fill
 *
 * Return: the unit or an error.
 */
struct kviommu_unit *kviommu_unit_alloc(void)
{
	struct kviommu_unit *unit;

	unit = kzalloc_obj(*unit, GFP_KERNEL_ACCOUNT);
	if (!unit)
		return ERR_PTR(-ENOMEM);
	mutex_init(&unit->lock);
	mutex_init(&unit->map_lock);
	mutex_init(&unit->poll_lock);
	spin_lock_init(&unit->events_lock);
	INIT_LIST_HEAD(&unit->devices);
	INIT_LIST_HEAD(&unit->groups);
	INIT_LIST_HEAD(&unit->domains);
	INIT_LIST_HEAD(&unit->poll_entry);
	xa_init_flags(&unit->pins.chunks, XA_FLAGS_ACCOUNT);
	timer_setup(&unit->timer, unit_timer, 0);
	return unit;
}

/* Give back what KVIOMMU_CREATE took, as far as it came. */
static void unit_release(struct kviommu_unit *unit)
{
	/* Unpins everything. */
	kviommu_access_put(&unit->access);
	xa_destroy(&unit->pins.chunks);
	kviommu_stale_free(&unit->stale);
	kviommu_merge_free(unit);
	if (unit->fe)
		unit->fe->ops->destroy(unit->fe);
	unit->fe = NULL;
	if (unit->page)
		put_page(unit->page);
	unit->page = NULL;
	kviommu_pin_stop(unit);
	if (unit->worker)
		vhost_task_stop(unit->worker);
	unit->worker = NULL;
	ida_free(&unit_ids, unit->id);
}

/**
 * kviommu_unit_destroy() - Free a unit
 * @unit: The unit, which nobody uses any more but vCPUs
 *
 * Context: process context, no locks.
 */
void kviommu_unit_destroy(struct kviommu_unit *unit)
{
	struct kviommu_device *dev, *next;
	unsigned int i;

	if (unit->created) {
		WRITE_ONCE(unit->closing, true);
		kviommu_sysfs_remove(unit);
		kviommu_debugfs_remove(unit);
		/* Waits for vCPUs that write. */
		kviommu_kvm_stop(&unit->kvm);
		kviommu_poll_stop(unit);
		/* It begins no more. */
		timer_shutdown_sync(&unit->timer);
		kviommu_pin_stop(unit);
		vhost_task_stop(unit->worker);
		unit->worker = NULL;
		kviommu_kvm_put(&unit->kvm);
		mutex_lock(&unit->lock);
		list_for_each_entry_safe(dev, next, &unit->devices, entry)
			kviommu_device_destroy(dev);
		kviommu_domain_reap(unit, true);
		mutex_unlock(&unit->lock);
		unit_release(unit);
	}
	for (i = 0; i < KVIOMMU_NR_EVENTS; i++)
		if (unit->events[i])
			eventfd_ctx_put(unit->events[i]);
	mutex_destroy(&unit->poll_lock);
	mutex_destroy(&unit->map_lock);
	mutex_destroy(&unit->lock);
	kfree(unit);
}

static int unit_start_worker(struct kviommu_unit *unit)
{
	struct vhost_task *worker;

	worker = vhost_task_create(unit_work, unit_work_killed, unit,
				   "kviommu");
	if (IS_ERR(worker))
		return PTR_ERR(worker);
	vhost_task_start(worker);
	unit->worker = worker;
	return 0;
}

static int unit_build(struct kviommu_unit *unit, struct kviommu_create *cmd)
{
	int ret;

	if (cmd->model != KVIOMMU_MODEL_VTD)
		return -EOPNOTSUPP;
	if (cmd->aw_bits < 39 || cmd->aw_bits > 57)
		return -EINVAL;

	unit->aw_bits = cmd->aw_bits;
	kviommu_policy_init(&unit->policy);
	unit->kvm.write = unit_write;
	unit->kvm.removed = unit_slot_removed;
	unit->access.unmap = unit_unmap;

	unit->id = ida_alloc(&unit_ids, GFP_KERNEL_ACCOUNT);
	if (unit->id < 0)
		return unit->id;
	ret = unit_start_worker(unit);
	if (ret)
		goto release;
	ret = kviommu_stale_alloc(&unit->stale, &unit->policy);
	if (ret)
		goto release;
	ret = kviommu_pin_start(unit);
	if (ret)
		goto release;
	ret = -ENOMEM;
	unit->page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!unit->page)
		goto release;
	unit->fe = kviommu_vtd_create(unit, unit->id,
				      page_address(unit->page), cmd->aw_bits,
				      cmd->flags & KVIOMMU_CREATE_BOOT_IDENTITY,
				      &cmd->out_cap, &cmd->out_ecap);
	if (IS_ERR(unit->fe)) {
		ret = PTR_ERR(unit->fe);
		unit->fe = NULL;
		goto release;
	}
	ret = kviommu_access_get(&unit->access, cmd->iommufd, cmd->ioas_id);
	if (ret)
		goto release;
	ret = kviommu_kvm_get(&unit->kvm, cmd->kvm_fd);
	if (ret)
		goto release;
	unit->mm = current->mm;
	return 0;

release:
	unit_release(unit);
	return ret;
}

/**
 * kviommu_unit_create() - KVIOMMU_CREATE
 * @unit: The unit
 * @cmd: The arguments; out_cap and out_ecap are filled in
 *
 * Context: process context of the VMM, no locks; once at a time.
 * Return: 0 or an error of the ioctl.
 */
int kviommu_unit_create(struct kviommu_unit *unit, struct kviommu_create *cmd)
{
	int ret;

	if (mutex_lock_killable(&unit->lock))
		return -EINTR;
	ret = unit_build(unit, cmd);
	kviommu_unlock(unit);
	if (ret)
		return ret;
	/* Should it fail it waits for readers, who take unit->lock. */
	ret = kviommu_sysfs_add(unit);
	if (ret) {
		kviommu_kvm_stop(&unit->kvm);
		vhost_task_stop(unit->worker);
		unit->worker = NULL;
		kviommu_kvm_put(&unit->kvm);
		unit_release(unit);
		return ret;
	}
	kviommu_debugfs_add(unit);
	/* Pairs with the acquires of the ioctls and of kviommu_mmap(). */
	smp_store_release(&unit->created, true);
	return 0;
}

/**
 * kviommu_unit_arm() - KVIOMMU_ARM
 * @unit: The unit
 * @gpa: Guest physical address of the register page
 *
 * Context: process context, not under unit->lock.
 * Return: 0 or an error of kviommu_kvm_arm().
 */
int kviommu_unit_arm(struct kviommu_unit *unit, u64 gpa)
{
	bool more;
	int ret;

	if (!PAGE_ALIGNED(gpa))
		return -EINVAL;
	ret = kviommu_poll_arm(unit, gpa >> PAGE_SHIFT);
	if (ret)
		return ret;
	if (mutex_lock_killable(&unit->lock)) {
		kviommu_unit_defer(unit);
		return -EINTR;
	}
	more = unit_step(unit);
	kviommu_unlock(unit);
	unit_run(unit, more);
	return 0;
}

/**
 * kviommu_unit_set_event() - KVIOMMU_SET_EVENTFD
 * @unit: The unit
 * @event: One of &enum kviommu_event
 * @fd: An eventfd, or -1
 *
 * Context: process context, under unit->lock.
 * Return: 0 or an error of the ioctl.
 */
int kviommu_unit_set_event(struct kviommu_unit *unit, u32 event, int fd)
{
	struct eventfd_ctx *ctx = NULL;

	if (event >= KVIOMMU_NR_EVENTS)
		return -EOPNOTSUPP;
	if (fd < -1)
		return -EBADF;
	if (fd >= 0) {
		ctx = eventfd_ctx_fdget(fd);
		if (IS_ERR(ctx))
			return PTR_ERR(ctx);
	}
	spin_lock(&unit->events_lock);
	swap(unit->events[event], ctx);
	spin_unlock(&unit->events_lock);
	if (ctx)
		eventfd_ctx_put(ctx);
	return 0;
}

/**
 * kviommu_unit_reset() - KVIOMMU_RESET
 * @unit: The unit
 *
 * Context: process context, no locks.
 * Return: 0 or -EINTR.
 */
int kviommu_unit_reset(struct kviommu_unit *unit)
{
	int ret;

	ret = kviommu_poll_trap(unit);
	if (ret)
		return ret;
	if (mutex_lock_killable(&unit->lock))
		return -EINTR;
	unit->fe->ops->reset(unit->fe);
	begin_step(unit);
	kviommu_rebind(unit, 0, U16_MAX);
	kviommu_unlock(unit);

	ret = kviommu_unit_settle(unit);
	mutex_lock(&unit->map_lock);
	kviommu_merge_free(unit);
	kviommu_pin_trim(unit, 0);
	mutex_unlock(&unit->map_lock);
	return ret;
}

static int set_policy(struct kviommu_unit *unit,
		      const struct kviommu_policy *policy)
{
	struct kviommu_stale stale;
	int ret;

	ret = kviommu_policy_check(policy, &unit->policy);
	if (!ret)
		ret = kviommu_stale_alloc(&stale, policy);
	if (ret)
		return ret;
	mutex_lock(&unit->map_lock);
	kviommu_stale_end(unit);
	swap(unit->stale, stale);
	unit->policy = *policy;
	kviommu_pin_trim(unit, policy->max_idle_pins);
	/* What it says of their age is from now on. */
	unit->pins.ticking = false;
	kviommu_pin_tidy(unit);
	mutex_unlock(&unit->map_lock);
	kviommu_stale_free(&stale);
	return 0;
}

/**
 * kviommu_unit_change_policy() - KVIOMMU_SET_POLICY, or one member of it
 * @unit: The unit
 * @offset: Where the change is, in struct kviommu_policy
 * @value: What to put there
 * @size: How many bytes
 *
 * Context: process context, no locks.
 * Return: 0 or an error of the ioctl.
 */
int kviommu_unit_change_policy(struct kviommu_unit *unit, unsigned int offset,
			       const void *value, unsigned int size)
{
	struct kviommu_policy policy;
	int ret;

	if (mutex_lock_killable(&unit->lock))
		return -EINTR;
	policy = unit->policy;
	memcpy((void *)&policy + offset, value, size);
	ret = set_policy(unit, &policy);
	if (!ret)
		trace_kviommu_policy(unit->id, &policy);
	kviommu_unlock(unit);
	if (ret)
		return ret;
	/* In the new mode it begins trapped. */
	ret = kviommu_poll_trap(unit);
	if (ret || mutex_lock_killable(&unit->lock))
		return -EINTR;
	unit->poll_asked = true;
	kviommu_unlock(unit);
	kviommu_unit_defer(unit);
	return 0;
}

/**
 * kviommu_unit_refresh() - KVIOMMU_REFRESH
 * @unit: The unit
 *
 * Context: process context, no locks.
 * Return: 0 or -EINTR.
 */
int kviommu_unit_refresh(struct kviommu_unit *unit)
{
	struct kviommu_progress p = {};
	bool asked = false, bound = false;
	int ret;

	do {
		cond_resched();
		if (mutex_lock_killable(&unit->lock))
			return -EINTR;
		begin_step(unit);
		/* Once: what cannot be bound would be tried again for ever. */
		ret = bound ? 0 : asked ? kviommu_device_settle(unit) :
		      kviommu_rebind(unit, 0, U16_MAX);
		asked = true;
		bound = !ret;
		if (!ret)
			ret = kviommu_refresh(unit, &p);
		kviommu_unlock(unit);
	} while (ret == -EAGAIN);
	return ret;
}

/* Some device reaches all of the IOAS, which iommufd has pinned for it. */
static bool unit_has_identity(struct kviommu_unit *unit)
{
	struct kviommu_group *group;

	list_for_each_entry(group, &unit->groups, entry)
		if (group->bound.type == KVIOMMU_BIND_IDENTITY)
			return true;
	return false;
}

/**
 * kviommu_unit_release_pins() - KVIOMMU_RELEASE_PINS
 * @unit: The unit
 * @cmd: The arguments; out_in_use is filled in
 *
 * Context: process context, no locks.
 * Return: 0 or an error of the ioctl.
 */
int kviommu_unit_release_pins(struct kviommu_unit *unit,
			      struct kviommu_release_pins *cmd)
{
	struct kviommu_range range;
	bool identity;
	u64 last;
	int ret;

	if (!cmd->length || !PAGE_ALIGNED(cmd->gpa | cmd->length) ||
	    check_add_overflow(cmd->gpa, cmd->length - 1, &last))
		return -EINVAL;
	range = (struct kviommu_range){ cmd->gpa >> PAGE_SHIFT,
					last >> PAGE_SHIFT };
	cmd->out_in_use = 0;
	do {
		cond_resched();
		if (mutex_lock_killable(&unit->lock))
			return -EINTR;
		begin_step(unit);
		mutex_lock(&unit->map_lock);
		kviommu_stale_end(unit);
		ret = kviommu_pin_release(unit, &range, &cmd->out_in_use);
		mutex_unlock(&unit->map_lock);
		identity = unit_has_identity(unit);
		kviommu_unlock(unit);
	} while (ret == -EAGAIN);
	if (identity)
		cmd->out_in_use = cmd->length >> PAGE_SHIFT;
	return ret;
}

/**
 * kviommu_unit_settle() - Finish what changes of devices left to do
 * @unit: The unit
 *
 * In pieces, so that others get unit->lock. If it is killed the unit is closed
 * soon, which does the rest.
 *
 * Context: process context, no locks.
 * Return: 0 or -EINTR.
 */
int kviommu_unit_settle(struct kviommu_unit *unit)
{
	int ret;

	do {
		cond_resched();
		if (mutex_lock_killable(&unit->lock))
			return -EINTR;
		begin_step(unit);
		ret = kviommu_device_settle(unit);
		kviommu_unlock(unit);
	} while (ret == -EAGAIN);
	return ret;
}

/**
 * kviommu_unit_get_stats() - KVIOMMU_GET_STATS
 * @unit: The unit
 * @stats: Where to; size and flags are left alone
 *
 * Context: process context, under unit->lock.
 */
void kviommu_unit_get_stats(struct kviommu_unit *unit,
			    struct kviommu_stats *stats)
{
	struct kviommu_device *dev;
	u32 size = stats->size;

	lockdep_assert_held(&unit->lock);

	mutex_lock(&unit->map_lock);
	*stats = unit->stats;
	stats->out_pinned = unit->pins.pinned;
	stats->out_idle = unit->pins.idle;
	stats->out_stale = kviommu_stale_pages(unit);
	stats->out_polled = unit->polled;
	stats->out_polled_ns = kviommu_poll_time(unit);
	stats->out_table_bytes = kviommu_merge_bytes(unit) +
				 kviommu_pin_bytes(unit);
	mutex_unlock(&unit->map_lock);
	list_for_each_entry(dev, &unit->devices, entry)
		if (dev->group->bound.type == KVIOMMU_BIND_IDENTITY)
			stats->out_identity_devices++;
	stats->size = size;
}
