// SPDX-License-Identifier: GPL-2.0-only
/*
 * The commands of a unit: what its ioctls do once their arguments are copied in.
 */
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/spinlock.h>
#include <linux/time64.h>

#include "core.h"
#include "../base/trace.h"
#include "../device/device.h"
#include "../mem/mem.h"
#include "../run/run.h"
#include "../xlate/shadow/api.h"

/* Begin a piece of work, under unit->lock from here on. Return: 0; -EINTR without the lock. */
static int unit_begin_piece(struct kviommu_unit *unit, struct kviommu_work *work)
{
	cond_resched();
	if (fatal_signal_pending(current) || mutex_lock_killable(&unit->lock))
		return -EINTR;
	kviommu_work_begin(work);
	return 0;
}

/*
 * Call @piece, under unit->lock, until it has done all. The lock is dropped in between. Return:
 * what it returned last; -EINTR.
 */
static int unit_in_pieces(struct kviommu_unit *unit,
			  int (*piece)(struct kviommu_unit *unit,
				       const struct kviommu_work *work))
{
	struct kviommu_work work;
	int ret;

	do {
		if (unit_begin_piece(unit, &work))
			return -EINTR;
		ret = piece(unit, &work);
		kviommu_unlock(unit);
	} while (ret == -EAGAIN);
	return ret;
}

/**
 * kviommu_unit_settle() - Finish the work that a change of devices has left
 * @unit: The unit
 *
 * Works in pieces, with unit->lock dropped in between. If the VMM is killed, closing the
 * unit does the rest.
 *
 * Context: process context of the VMM, no locks; may sleep.
 * Return: 0 or -EINTR.
 */
int kviommu_unit_settle(struct kviommu_unit *unit)
{
	return unit_in_pieces(unit, kviommu_device_settle);
}

/* Finish under unit->lock what the removal of a device has left. */
static void unit_end_stale(struct kviommu_unit *unit)
{
	mutex_lock(&unit->map_lock);
	kviommu_stale_end(unit, &kviommu_work_whole);
	mutex_unlock(&unit->map_lock);
}

/*
 * Have all of the guest's memory where a new device may need it. Return: as
 * kviommu_device_fill(), when it is done.
 */
static int unit_fill(struct kviommu_unit *unit, u64 serial)
{
	struct kviommu_work work;
	int ret;

	do {
		if (unit_begin_piece(unit, &work))
			return -EINTR;
		ret = kviommu_device_fill(unit, &work, serial);
		if (ret && !kviommu_unfinished(ret))
			unit_end_stale(unit);
		kviommu_unlock(unit);
	} while (ret == -EAGAIN);
	return ret;
}

/**
 * kviommu_unit_attach() - Attach a device, for KVIOMMU_ATTACH_DEVICE
 * @unit: The unit
 * @fd: File descriptor of the VFIO device
 * @source_id: Requester ID of the device in the guest
 *
 * Context: process context of the VMM, no locks; may sleep.
 * Return: 0 or an error that KVIOMMU_ATTACH_DEVICE documents.
 */
int kviommu_unit_attach(struct kviommu_unit *unit, int fd, u32 source_id)
{
	struct kviommu_work work;
	int ret, error;
	u64 serial;

	if (mutex_lock_killable(&unit->lock))
		return -EINTR;
	kviommu_work_begin(&work);
	ret = kviommu_device_attach(unit, &work, fd, source_id, &serial);
	kviommu_unlock(unit);
	if (ret)
		return ret;
	error = unit_fill(unit, serial);
	ret = kviommu_unit_settle(unit);
	if (error && !ret)
		unit_in_pieces(unit, kviommu_backends_reap);
	return error ?: ret;
}

/**
 * kviommu_unit_detach() - Detach a device, for KVIOMMU_DETACH_DEVICE
 * @unit: The unit
 * @source_id: Requester ID of the device in the guest
 *
 * Context: process context of the VMM, no locks; may sleep.
 * Return: 0 or an error that KVIOMMU_DETACH_DEVICE documents.
 */
int kviommu_unit_detach(struct kviommu_unit *unit, u32 source_id)
{
	struct kviommu_work work;
	int ret;

	if (mutex_lock_killable(&unit->lock))
		return -EINTR;
	kviommu_work_begin(&work);
	ret = kviommu_device_detach(unit, &work, source_id);
	if (!ret)
		unit_end_stale(unit);
	kviommu_unlock(unit);
	return ret ?: kviommu_unit_settle(unit);
}

/**
 * kviommu_unit_set_bus_master() - Know whether a device is a bus master, for
 * KVIOMMU_SET_BUS_MASTER
 * @unit: The unit
 * @source_id: Requester ID of the device in the guest
 * @on: The guest has its bus mastering on
 *
 * Context: process context of the VMM, no locks; may sleep.
 * Return: 0; -ENOENT if the unit has no such device; -EINTR.
 */
int kviommu_unit_set_bus_master(struct kviommu_unit *unit, u32 source_id, bool on)
{
	struct kviommu_progress p = {};
	struct kviommu_device *dev;
	struct kviommu_work work;

	if (mutex_lock_killable(&unit->lock))
		return -EINTR;
	dev = kviommu_device_find(unit, source_id);
	if (!dev) {
		kviommu_unlock(unit);
		return -ENOENT;
	}
	dev->bus_master = on;
	/* Else it makes no difference, until the guest turns translation off. */
	if (dev->wanted.off) {
		kviommu_work_begin(&work);
		mutex_lock(&unit->map_lock);
		/* What does not fit into this step is done by kviommu_unit_settle(). */
		kviommu_rebind(unit, &work, source_id, 0, &p);
		mutex_unlock(&unit->map_lock);
	}
	kviommu_unlock(unit);
	return kviommu_unit_settle(unit);
}

/**
 * kviommu_unit_arm() - Trap register writes at an address, for KVIOMMU_ARM
 * @unit: The unit
 * @gpa: Guest physical address of the register page, in bytes
 *
 * Context: process context of the VMM, no locks; may sleep.
 * Return: 0; -ENXIO if the model has no register page; -EINVAL if @gpa is not aligned;
 * -EINTR; an error of kviommu_kvm_arm().
 */
int kviommu_unit_arm(struct kviommu_unit *unit, u64 gpa)
{
	bool more;
	int ret;

	if (!unit->model->page_ops)
		return -ENXIO;
	if (!PAGE_ALIGNED(gpa))
		return -EINVAL;
	ret = kviommu_poll_arm(unit, gpa >> PAGE_SHIFT);
	if (ret)
		return ret;
	if (mutex_lock_killable(&unit->lock)) {
		kviommu_unit_defer(unit);
		return -EINTR;
	}
	more = kviommu_step(unit);
	kviommu_unlock(unit);
	kviommu_run(unit, more);
	return 0;
}

/**
 * kviommu_unit_reset() - Reset a unit to its initial state, for KVIOMMU_RESET
 * @unit: The unit
 *
 * Context: process context of the VMM, no locks; may sleep.
 * Return: 0 or -EINTR.
 */
int kviommu_unit_reset(struct kviommu_unit *unit)
{
	struct kviommu_progress p = {};
	struct kviommu_device *dev;
	struct kviommu_work work;
	int ret;

	ret = kviommu_poll_trap(unit);
	if (ret)
		return ret;
	if (mutex_lock_killable(&unit->lock))
		return -EINTR;
	unit->model->ops->reset(unit->model);
	list_for_each_entry(dev, &unit->devices, entry)
		dev->bus_master = false;
	unit->busy_since = 0;
	kviommu_forget_interrupts(unit);
	kviommu_work_begin(&work);
	mutex_lock(&unit->map_lock);
	/* What does not fit into this step is done by kviommu_unit_settle(). */
	kviommu_rebind(unit, &work, 0, U16_MAX, &p);
	mutex_unlock(&unit->map_lock);
	kviommu_unlock(unit);

	ret = kviommu_unit_settle(unit) ?:
	      unit_in_pieces(unit, kviommu_backends_reap);
	if (ret || mutex_lock_killable(&unit->lock))
		return -EINTR;
	mutex_lock(&unit->map_lock);
	kviommu_pin_trim(unit, 0);
	mutex_unlock(&unit->map_lock);
	kviommu_unlock(unit);
	return 0;
}

/* Compute the policy from what the VMM wants and from what the administrator does. */
static void unit_policy_now(struct kviommu_unit *unit, const struct kviommu_policy *wanted,
			    struct kviommu_policy *policy)
{
	struct kviommu_policy admin;

	scoped_guard(spinlock, &unit->admin_lock)
		admin = unit->policy_admin;
	kviommu_policy_in_force(policy, wanted, &admin);
}

/*
 * Put a policy in force, and end what is stale by the one before. @changes is set to the mask of
 * members that change.
 */
static int unit_set_policy(struct kviommu_unit *unit, const struct kviommu_policy *policy,
			   u64 *changes)
{
	struct kviommu_stale stale;
	int ret;

	lockdep_assert_held(&unit->lock);

	ret = kviommu_stale_alloc(&stale, policy);
	if (ret)
		return ret;
	*changes = kviommu_policy_changes(&unit->policy, policy);
	mutex_lock(&unit->map_lock);
	kviommu_stale_end(unit, &kviommu_work_whole);
	swap(unit->shadows.stale, stale);
	unit->policy = *policy;
	kviommu_poll_clamp_timeout(unit);
	kviommu_pin_trim(unit, policy->max_idle_pins);
	/* The maximum age of idle pins may have changed: start a tick of the new length. */
	unit->pins.ticking = false;
	kviommu_pin_tidy(unit);
	kviommu_backends_policy_set(unit);
	mutex_unlock(&unit->map_lock);
	kviommu_stale_free(&stale);
	trace_kviommu_policy(unit->id, &unit->policy);
	return 0;
}

/*
 * Notify the VMM of changes that it has not requested, if they affect a member that it
 * has set.
 */
static void unit_announce_policy(struct kviommu_unit *unit, u64 changes)
{
	if (changes & unit->policy_wanted.mask)
		kviommu_signal(unit, KVIOMMU_EVENT_CONTROL);
}

/*
 * If the mode in force has changed, trap the unit's writes; the worker then begins to poll
 * if the new mode wants it. No other change ends polling.
 */
static int unit_change_polling(struct kviommu_unit *unit, u64 changes)
{
	if (!(changes & KVIOMMU_POLICY_MODE))
		return 0;
	if (kviommu_poll_trap(unit) || mutex_lock_killable(&unit->lock))
		return -EINTR;
	unit->poll_asked = true;
	kviommu_unlock(unit);
	kviommu_unit_defer(unit);
	return 0;
}

/**
 * kviommu_unit_set_wanted() - Set or unset policy members for the VMM, for
 * KVIOMMU_SET_POLICY
 * @unit: The unit
 * @wanted: The policy; only the members in its mask are set, or unset if its flags say so
 *
 * Context: process context of the VMM, no locks; may sleep.
 * Return: 0; an error of kviommu_policy_check(); -ENOMEM; -EINTR, also if the policy is in
 * force but the unit could not be trapped.
 */
int kviommu_unit_set_wanted(struct kviommu_unit *unit,
			    const struct kviommu_policy *wanted)
{
	struct kviommu_policy all, policy;
	u64 changes;
	int ret;

	ret = kviommu_policy_check(wanted);
	if (ret)
		return ret;
	if (mutex_lock_killable(&unit->lock))
		return -EINTR;
	all = unit->policy_wanted;
	kviommu_policy_take(&all, wanted);
	unit_policy_now(unit, &all, &policy);
	ret = unit_set_policy(unit, &policy, &changes);
	if (!ret)
		unit->policy_wanted = all;
	/* What the host changed meanwhile may come into force with it. */
	if (!ret)
		unit_announce_policy(unit, changes & ~wanted->mask);
	kviommu_unlock(unit);
	return ret ?: unit_change_polling(unit, changes);
}

/**
 * kviommu_unit_set_admin() - Set or clear one policy member for the administrator
 * @unit: The unit
 * @admin: The policy with @member in its mask, or with an empty mask to clear @member
 * @member: Mask bit of the member, one of &enum kviommu_policy_member
 *
 * The unit's worker puts it in force some time later. The caller cannot do it, as it would
 * have to wait for the VMM.
 *
 * Context: any that may take a spinlock.
 */
void kviommu_unit_set_admin(struct kviommu_unit *unit,
			    const struct kviommu_policy *admin, u64 member)
{
	scoped_guard(spinlock, &unit->admin_lock) {
		unit->policy_admin.mask &= ~member;
		kviommu_policy_take(&unit->policy_admin, admin);
		WRITE_ONCE(unit->policy_outdated, true);
	}
	kviommu_unit_defer(unit);
}

/**
 * kviommu_unit_renew_policy() - Recompute the policy in force after changes of the
 * administrator or of the host
 * @unit: The unit
 *
 * If memory is short, the worker tries again a second later.
 *
 * Context: the unit's worker, or another thread of the VMM, no locks; may sleep.
 */
void kviommu_unit_renew_policy(struct kviommu_unit *unit)
{
	struct kviommu_policy policy;
	u64 changes;
	int ret = 0;

	WRITE_ONCE(unit->policy_outdated, false);
	if (mutex_lock_killable(&unit->lock))
		return;
	unit_policy_now(unit, &unit->policy_wanted, &policy);
	changes = kviommu_policy_changes(&unit->policy, &policy);
	if (changes)
		ret = unit_set_policy(unit, &policy, &changes);
	if (!ret)
		unit_announce_policy(unit, changes);
	kviommu_unlock(unit);
	if (ret) {
		WRITE_ONCE(unit->policy_outdated, true);
		kviommu_unit_wake(unit, USEC_PER_SEC);
	} else {
		unit_change_polling(unit, changes);
	}
}

static int unit_fill_all(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	return kviommu_backends_fill(unit, work, NULL);
}

/**
 * kviommu_unit_refresh() - Try again to bind and map what failed, for KVIOMMU_REFRESH
 * @unit: The unit
 *
 * Context: process context of the VMM, no locks; may sleep.
 * Return: 0 or -EINTR.
 */
int kviommu_unit_refresh(struct kviommu_unit *unit)
{
	struct kviommu_progress p = {};
	struct kviommu_work work;
	bool bound = false;
	int ret;

	if (mutex_lock_killable(&unit->lock))
		return -EINTR;
	kviommu_backends_refill(unit);
	kviommu_unlock(unit);
	if (unit_in_pieces(unit, unit_fill_all))
		return -EINTR;
	do {
		if (unit_begin_piece(unit, &work))
			return -EINTR;
		mutex_lock(&unit->map_lock);
		if (!bound)
			ret = kviommu_rebind(unit, &work, 0, U16_MAX, &p);
		bound = bound || !ret;
		if (bound)
			ret = kviommu_refresh(unit, &work, &p);
		mutex_unlock(&unit->map_lock);
		kviommu_unlock(unit);
	} while (ret == -EAGAIN);
	/* Under async, what was unmapped is flushed there. */
	kviommu_unit_defer(unit);
	return ret;
}

/* Check whether all of the IOAS is pinned, for devices that reach it or might. */
static bool unit_reaches_all(struct kviommu_unit *unit)
{
	struct kviommu_group *group;

	if (!list_empty(&unit->nested.parents))
		return true;
	list_for_each_entry(group, &unit->groups, entry)
		if (group->xlate->ops->pins == KVIOMMU_PINS_ALL)
			return true;
	return false;
}

/**
 * kviommu_unit_release_pins() - Release idle pins of a range, for KVIOMMU_RELEASE_PINS
 * @unit: The unit
 * @cmd: Arguments of the ioctl; out_in_use is set to the number of pages still in use
 *
 * Context: process context of the VMM, no locks; may sleep.
 * Return: 0; -EINVAL if the range is empty, not aligned or wraps; -EINTR.
 */
int kviommu_unit_release_pins(struct kviommu_unit *unit,
			      struct kviommu_release_pins *cmd)
{
	struct kviommu_range range, rest;
	struct kviommu_progress p;
	struct kviommu_work work;
	bool all;
	u64 last;
	int ret;

	if (!cmd->length || !PAGE_ALIGNED(cmd->gpa | cmd->length) ||
	    check_add_overflow(cmd->gpa, cmd->length - 1, &last))
		return -EINVAL;
	range = (struct kviommu_range){ cmd->gpa >> PAGE_SHIFT,
					last >> PAGE_SHIFT };
	rest = range;
	p = (struct kviommu_progress){ .first = range.first, .last = range.last };
	cmd->out_in_use = 0;
	ret = unit_in_pieces(unit, kviommu_backends_reap);
	if (ret)
		return ret;
	do {
		if (unit_begin_piece(unit, &work))
			return -EINTR;
		mutex_lock(&unit->map_lock);
		ret = kviommu_backends_release(unit, &work, &range, &p) ?:
		      kviommu_pin_release(unit, &work, &rest, &cmd->out_in_use);
		mutex_unlock(&unit->map_lock);
		all = unit_reaches_all(unit);
		kviommu_unlock(unit);
	} while (ret == -EAGAIN);
	if (all)
		cmd->out_in_use = cmd->length >> PAGE_SHIFT;
	return ret;
}

/**
 * kviommu_unit_get_stats() - Read the statistics of a unit
 * @unit: The unit
 * @stats: The statistics to fill in
 *
 * Context: process context, under unit->lock; takes map_lock.
 */
void kviommu_unit_get_stats(struct kviommu_unit *unit,
			    struct kviommu_stats *stats)
{
	enum kviommu_binding_type type;
	struct kviommu_device *dev;

	lockdep_assert_held(&unit->lock);

	mutex_lock(&unit->map_lock);
	*stats = unit->stats;
	stats->errors += unit->nested.errors;
	stats->limits += unit->nested.limits;
	stats->pinned = unit->pins.pinned + unit->nested.pinned;
	stats->idle = unit->pins.idle;
	stats->stale = kviommu_stale_pages(unit);
	stats->tracked = unit->tracked.pinned;
	stats->polled = unit->polled;
	stats->polled_ns = kviommu_poll_time(unit);
	stats->table_bytes = kviommu_backends_table_bytes(unit) + kviommu_pin_bytes(unit);
	mutex_unlock(&unit->map_lock);
	list_for_each_entry(dev, &unit->devices, entry) {
		type = dev->group->xlate->binding.type;
		stats->identity_devices += type == KVIOMMU_BIND_IDENTITY;
		stats->nested_devices += type == KVIOMMU_BIND_NESTED;
		stats->tracked_devices += type == KVIOMMU_BIND_TRACKED;
	}
}
