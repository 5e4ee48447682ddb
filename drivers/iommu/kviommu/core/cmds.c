// SPDX-License-Identifier: GPL-2.0-only
/*
 * What ioctls do with a unit.
 */
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/sched.h>
#include <linux/time64.h>

#include "core.h"
#include "../base/trace.h"
#include "../device/device.h"
#include "../mem/mem.h"
#include "../run/run.h"
#include "../xlate/shadow/api.h"

/**
 * kviommu_unit_attach() - KVIOMMU_ATTACH_DEVICE
 * @unit: The unit
 * @fd: File descriptor of the VFIO device
 * @source_id: Requester ID
 *
 * Context: process context, under unit->lock; kviommu_unit_settle() has to follow.
 * Return: 0 or an error of the ioctl.
 */
int kviommu_unit_attach(struct kviommu_unit *unit, int fd, u32 source_id)
{
	struct kviommu_work work;

	kviommu_work_begin(&work);
	return kviommu_device_attach(unit, &work, fd, source_id);
}

/**
 * kviommu_unit_detach() - KVIOMMU_DETACH_DEVICE
 * @unit: The unit
 * @source_id: Requester ID
 *
 * Context: process context, under unit->lock; kviommu_unit_settle() has to follow.
 * Return: 0 or an error of the ioctl.
 */
int kviommu_unit_detach(struct kviommu_unit *unit, u32 source_id)
{
	struct kviommu_work work;
	int ret;

	kviommu_work_begin(&work);
	ret = kviommu_device_detach(unit, &work, source_id);
	if (ret)
		return ret;
	mutex_lock(&unit->map_lock);
	kviommu_stale_end(unit, &kviommu_work_whole);
	mutex_unlock(&unit->map_lock);
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
 * kviommu_unit_reset() - KVIOMMU_RESET
 * @unit: The unit
 *
 * Context: process context, no locks.
 * Return: 0 or -EINTR.
 */
int kviommu_unit_reset(struct kviommu_unit *unit)
{
	struct kviommu_work work;
	int ret;

	ret = kviommu_poll_trap(unit);
	if (ret)
		return ret;
	if (mutex_lock_killable(&unit->lock))
		return -EINTR;
	unit->model->ops->reset(unit->model);
	kviommu_forget_interrupts(unit);
	kviommu_work_begin(&work);
	mutex_lock(&unit->map_lock);
	kviommu_rebind(unit, &work, 0, U16_MAX);
	mutex_unlock(&unit->map_lock);
	kviommu_unlock(unit);

	ret = kviommu_unit_settle(unit);
	mutex_lock(&unit->map_lock);
	kviommu_shadow_free_spare(unit);
	kviommu_pin_trim(unit, 0);
	mutex_unlock(&unit->map_lock);
	return ret;
}

/* Put in force what follows from @wanted and @admin, which replace those of before. */
static int set_policy(struct kviommu_unit *unit, const struct kviommu_policy *wanted,
		      const struct kviommu_policy *admin, u64 *changes)
{
	struct kviommu_policy policy;
	struct kviommu_stale stale;
	int ret;

	lockdep_assert_held(&unit->lock);

	kviommu_policy_in_force(&policy, wanted, admin);
	ret = kviommu_stale_alloc(&stale, &policy);
	if (ret)
		return ret;
	unit->policy_wanted = *wanted;
	unit->policy_admin = *admin;
	*changes = kviommu_policy_changes(&unit->policy, &policy);
	mutex_lock(&unit->map_lock);
	kviommu_stale_end(unit, &kviommu_work_whole);
	swap(unit->shadows.stale, stale);
	unit->policy = policy;
	kviommu_pin_trim(unit, policy.max_idle_pins);
	/* What it says of their age is from now on. */
	unit->pins.ticking = false;
	kviommu_pin_tidy(unit);
	mutex_unlock(&unit->map_lock);
	kviommu_stale_free(&stale);
	trace_kviommu_policy(unit->id, &unit->policy);
	return 0;
}

/* The VMM did not ask for that now: it is told if it asked for that before. */
static void announce_policy(struct kviommu_unit *unit, u64 changes)
{
	if (changes & unit->policy_wanted.mask)
		kviommu_signal(unit, KVIOMMU_EVENT_CONTROL);
}

/* In the new mode it begins trapped. */
static int restart_polling(struct kviommu_unit *unit)
{
	int ret = kviommu_poll_trap(unit);

	if (ret || mutex_lock_killable(&unit->lock))
		return -EINTR;
	unit->poll_asked = true;
	kviommu_unlock(unit);
	kviommu_unit_defer(unit);
	return 0;
}

/**
 * kviommu_unit_set_wanted() - KVIOMMU_SET_POLICY
 * @unit: The unit
 * @wanted: What the VMM wants: the members of its mask
 *
 * Context: process context, no locks.
 * Return: 0 or an error of the ioctl.
 */
int kviommu_unit_set_wanted(struct kviommu_unit *unit,
			    const struct kviommu_policy *wanted)
{
	struct kviommu_policy all;
	u64 changes;
	int ret;

	ret = kviommu_policy_check(wanted);
	if (ret)
		return ret;
	if (mutex_lock_killable(&unit->lock))
		return -EINTR;
	all = unit->policy_wanted;
	kviommu_policy_take(&all, wanted);
	ret = set_policy(unit, &all, &unit->policy_admin, &changes);
	/* What the host changed meanwhile may come into force with it. */
	if (!ret)
		announce_policy(unit, changes & ~wanted->mask);
	kviommu_unlock(unit);
	return ret ?: restart_polling(unit);
}

/**
 * kviommu_unit_set_admin() - What the administrator sets for a unit, one member
 * @unit: The unit
 * @admin: The member, or, if its mask is empty, nothing any more
 * @member: Its bit
 *
 * Context: process context, no locks.
 * Return: 0, -EINTR or -ENOMEM.
 */
int kviommu_unit_set_admin(struct kviommu_unit *unit,
			   const struct kviommu_policy *admin, u64 member)
{
	struct kviommu_policy all;
	u64 changes;
	int ret;

	if (mutex_lock_killable(&unit->lock))
		return -EINTR;
	all = unit->policy_admin;
	all.mask &= ~member;
	kviommu_policy_take(&all, admin);
	ret = set_policy(unit, &unit->policy_wanted, &all, &changes);
	if (!ret)
		announce_policy(unit, changes);
	kviommu_unlock(unit);
	return ret ?: restart_polling(unit);
}

/**
 * kviommu_unit_renew_policy() - Follow what the host allows now
 * @unit: The unit
 *
 * If memory lacks it is tried again.
 *
 * Context: the unit's worker, or another thread of the VMM, no locks.
 */
void kviommu_unit_renew_policy(struct kviommu_unit *unit)
{
	struct kviommu_policy policy;
	u64 changes;
	int ret = 0;

	WRITE_ONCE(unit->policy_outdated, false);
	if (mutex_lock_killable(&unit->lock))
		return;
	kviommu_policy_in_force(&policy, &unit->policy_wanted, &unit->policy_admin);
	changes = kviommu_policy_changes(&unit->policy, &policy);
	if (changes)
		ret = set_policy(unit, &unit->policy_wanted, &unit->policy_admin,
				 &changes);
	if (!ret)
		announce_policy(unit, changes);
	kviommu_unlock(unit);
	if (ret) {
		WRITE_ONCE(unit->policy_outdated, true);
		kviommu_unit_wake(unit, USEC_PER_SEC);
	} else if (changes) {
		restart_polling(unit);
	}
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
	struct kviommu_work work;
	int ret = 0;

	do {
		cond_resched();
		if (mutex_lock_killable(&unit->lock))
			return -EINTR;
		kviommu_work_begin(&work);
		/* Once: what cannot be bound would be tried again for ever. */
		if (asked && !bound)
			ret = kviommu_device_settle(unit, &work);
		mutex_lock(&unit->map_lock);
		if (!asked)
			ret = kviommu_rebind(unit, &work, 0, U16_MAX);
		asked = true;
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

/* Some device reaches all of the IOAS, which iommufd has pinned for it. */
static bool unit_has_identity(struct kviommu_unit *unit)
{
	struct kviommu_group *group;

	list_for_each_entry(group, &unit->groups, entry)
		if (group->xlate->ops->pins == KVIOMMU_PINS_ALL)
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
	struct kviommu_work work;
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
		kviommu_work_begin(&work);
		mutex_lock(&unit->map_lock);
		kviommu_stale_end(unit, &work);
		ret = kviommu_pin_release(unit, &work, &range, &cmd->out_in_use);
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
	struct kviommu_work work;
	int ret;

	do {
		cond_resched();
		if (mutex_lock_killable(&unit->lock))
			return -EINTR;
		kviommu_work_begin(&work);
		ret = kviommu_device_settle(unit, &work);
		kviommu_unlock(unit);
	} while (ret == -EAGAIN);
	return ret;
}

/**
 * kviommu_unit_get_stats() - Read the statistics of a unit
 * @unit: The unit
 * @stats: Where to
 *
 * Context: process context, under unit->lock.
 */
void kviommu_unit_get_stats(struct kviommu_unit *unit,
			    struct kviommu_stats *stats)
{
	struct kviommu_device *dev;

	lockdep_assert_held(&unit->lock);

	mutex_lock(&unit->map_lock);
	*stats = unit->stats;
	stats->pinned = unit->pins.pinned;
	stats->idle = unit->pins.idle;
	stats->stale = kviommu_stale_pages(unit);
	stats->polled = unit->polled;
	stats->polled_ns = kviommu_poll_time(unit);
	stats->table_bytes = kviommu_shadow_bytes(unit) + kviommu_pin_bytes(unit);
	mutex_unlock(&unit->map_lock);
	list_for_each_entry(dev, &unit->devices, entry)
		if (dev->group->xlate->ops->pins == KVIOMMU_PINS_ALL)
			stats->identity_devices++;
}
