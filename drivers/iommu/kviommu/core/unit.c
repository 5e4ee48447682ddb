// SPDX-License-Identifier: GPL-2.0-only
/*
 * Creation and destruction of a unit.
 */
#include <linux/eventfd.h>
#include <linux/gfp.h>
#include <linux/idr.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "core.h"
#include "../device/device.h"
#include "../mem/mem.h"
#include "../base/model.h"
#include "../run/run.h"
#include "../xlate/shadow/api.h"

static DEFINE_IDA(unit_ids);

static const struct kviommu_upcalls upcalls = {
	.wake = kviommu_unit_wake,
	.fault = kviommu_device_fault,
	.renew_policy = kviommu_unit_renew_policy,
};

/* Called under the VM's slots_lock when the register page's memory slot is removed */
static void unit_slot_removed(struct kviommu_kvm *k)
{
	struct kviommu_unit *unit = container_of(k, struct kviommu_unit, kvm);

	kviommu_signal(unit, KVIOMMU_EVENT_CONTROL);
}

/* Called under locks of the IOAS when a range of it is unmapped, in bytes */
static void unit_unmap(struct kviommu_access *a, u64 first, u64 last)
{
	struct kviommu_unit *unit = container_of(a, struct kviommu_unit, access);

	kviommu_revoke(unit, first >> PAGE_SHIFT, last >> PAGE_SHIFT);
}

/**
 * kviommu_unit_alloc() - Allocate an empty unit, to be set up by kviommu_unit_create()
 *
 * Context: process context of the VMM; may sleep.
 * Return: the unit or ERR_PTR(-ENOMEM).
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
	spin_lock_init(&unit->admin_lock);
	INIT_LIST_HEAD(&unit->devices);
	INIT_LIST_HEAD(&unit->groups);
	INIT_LIST_HEAD(&unit->xlates);
	INIT_LIST_HEAD(&unit->nested.parents);
	INIT_LIST_HEAD(&unit->nested.unflushed);
	INIT_LIST_HEAD(&unit->poll_entry);
	xa_init_flags(&unit->pins.chunks, XA_FLAGS_ACCOUNT);
	xa_init_flags(&unit->tracked.leaves, XA_FLAGS_ACCOUNT);
	unit->up = &upcalls;
	kviommu_worker_init(unit);
	return unit;
}

/* Stop the worker, after the shrinker, which wakes it. Does nothing the second time. */
static void unit_stop_worker(struct kviommu_unit *unit)
{
	kviommu_pin_shrinker_unregister(unit);
	kviommu_worker_stop(unit);
}

/* Undo unit_build(), also after it has failed halfway. */
static void unit_free_resources(struct kviommu_unit *unit)
{
	unit_stop_worker(unit);
	kviommu_nest_args_unmap(&unit->nested.args);
	/* Ending the access unpins all pages. */
	kviommu_access_put(&unit->access);
	xa_destroy(&unit->pins.chunks);
	xa_destroy(&unit->tracked.leaves);
	kviommu_stale_free(&unit->shadows.stale);
	kviommu_xlate_exit(unit);
	if (unit->model)
		unit->model->ops->destroy(unit->model);
	unit->model = NULL;
	while (unit->nr_pages)
		put_page(unit->pages[--unit->nr_pages]);
	ida_free(&unit_ids, unit->id);
}

/**
 * kviommu_unit_destroy() - Destroy and free a unit
 * @unit: The unit; no ioctl uses it any more, but vCPUs and its own threads may
 *
 * Context: process context, no locks; may sleep.
 */
void kviommu_unit_destroy(struct kviommu_unit *unit)
{
	struct kviommu_device *dev, *next;
	unsigned int i;

	if (unit->created) {
		WRITE_ONCE(unit->closing, true);
		kviommu_sysfs_remove(unit);
		kviommu_debugfs_remove(unit);
		/* Waits for vCPUs in kviommu_unit_write(). */
		kviommu_kvm_stop(&unit->kvm);
		kviommu_poll_stop(unit);
		kviommu_policy_remove(unit);
		/* After this the timer cannot be started again. */
		timer_shutdown_sync(&unit->timer);
		unit_stop_worker(unit);
		kviommu_kvm_put(&unit->kvm);
		mutex_lock(&unit->lock);
		list_for_each_entry_safe(dev, next, &unit->devices, entry)
			kviommu_device_destroy(dev, &kviommu_work_whole);
		kviommu_xlate_reap(unit, &kviommu_work_whole);
		kviommu_backends_reap(unit, &kviommu_work_whole);
		mutex_unlock(&unit->lock);
		unit_free_resources(unit);
	}
	for (i = 0; i < KVIOMMU_NR_EVENTS; i++)
		if (unit->events[i])
			eventfd_ctx_put(unit->events[i]);
	mutex_destroy(&unit->poll_lock);
	mutex_destroy(&unit->map_lock);
	mutex_destroy(&unit->lock);
	kfree(unit);
}

/*
 * Allocate and connect all that a unit needs. No lock is needed: nothing but the worker and
 * the shrinker can reach the unit, and they are started when there is a model.
 */
static int unit_build(struct kviommu_unit *unit, const struct kviommu_create *cmd,
		      const struct kviommu_model_kind *kind, const void *args)
{
	int ret;

	unit->kvm.write = kviommu_unit_write;
	unit->kvm.removed = unit_slot_removed;
	unit->access.unmap = unit_unmap;

	unit->id = ida_alloc(&unit_ids, GFP_KERNEL_ACCOUNT);
	if (unit->id < 0)
		return unit->id;
	kviommu_policy_in_force(&unit->policy, &unit->policy_wanted,
				&unit->policy_admin);
	ret = kviommu_xlate_init(unit);
	if (ret)
		goto release;
	ret = kviommu_stale_alloc(&unit->shadows.stale, &unit->policy);
	if (ret)
		goto release;
	ret = -ENOMEM;
	unit->nr_writable = kind->pages - kind->read_only;
	for (; unit->nr_pages < kind->pages; unit->nr_pages++) {
		unit->pages[unit->nr_pages] = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!unit->pages[unit->nr_pages])
			goto release;
	}
	unit->model = kind->create(unit, args);
	if (IS_ERR(unit->model)) {
		ret = PTR_ERR(unit->model);
		unit->model = NULL;
		goto release;
	}
	ret = kviommu_access_get(&unit->access, cmd->iommufd, cmd->ioas_id);
	if (ret)
		goto release;
	if (unit->nest.wanted) {
		ret = kviommu_nest_args_map(&unit->nested.args);
		if (ret)
			goto release;
	}
	ret = kviommu_worker_start(unit);
	if (ret)
		goto release;
	ret = kviommu_pin_shrinker_register(unit);
	if (ret)
		goto release;
	ret = kviommu_kvm_get(&unit->kvm, cmd->kvm_fd);
	if (ret)
		goto release;
	unit->mm = current->mm;
	return 0;

release:
	unit_free_resources(unit);
	return ret;
}

/**
 * kviommu_unit_create() - Set up a unit, for KVIOMMU_CREATE
 * @unit: The unit
 * @cmd: Arguments of the ioctl
 * @kind: The kind of model
 * @args: The blob with the model's arguments, kviommu_model_kind.args_size bytes
 *
 * Context: process context of the VMM, no locks; may sleep. The caller serializes calls
 * for the same unit.
 * Return: 0 or an error that KVIOMMU_CREATE documents.
 */
int kviommu_unit_create(struct kviommu_unit *unit, const struct kviommu_create *cmd,
			const struct kviommu_model_kind *kind, const void *args)
{
	int ret;

	ret = unit_build(unit, cmd, kind, args);
	if (ret)
		return ret;
	ret = kviommu_sysfs_add(unit);
	if (ret) {
		kviommu_kvm_stop(&unit->kvm);
		unit_stop_worker(unit);
		kviommu_kvm_put(&unit->kvm);
		unit_free_resources(unit);
		/* Files of the policy may have been there for a moment, and root quick. */
		unit->policy_admin = (struct kviommu_policy){};
		return ret;
	}
	kviommu_debugfs_add(unit);
	kviommu_policy_add(unit);
	/* The host's limits may have changed before kviommu_policy_add(). */
	kviommu_unit_renew_policy(unit);
	/* Pairs with the acquires of the ioctls and of kviommu_mmap(). */
	smp_store_release(&unit->created, true);
	return 0;
}
