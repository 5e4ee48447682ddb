// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a unit, and what it does for its front-end.
 */
#include <linux/eventfd.h>
#include <linux/gfp.h>
#include <linux/idr.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/unaligned.h>

#include "kviommu.h"
#include "trace.h"

static DEFINE_IDA(unit_ids);

/* In the exit of the vCPU that wrote. */
static void unit_write(struct kviommu_kvm *k, unsigned int offset,
		       const void *data, unsigned int len)
{
	struct kviommu_unit *unit = container_of(k, struct kviommu_unit, kvm);

	trace_kviommu_reg_write(unit->id, offset, len, len == 8 ?
				get_unaligned((u64 *)data) : len == 4 ?
				get_unaligned((u32 *)data) : *(u8 *)data);
	mutex_lock(&unit->lock);
	kviommu_count(unit, reg_writes, 1);
	unit->fe->ops->write(unit->fe, offset, data, len);
	mutex_unlock(&unit->lock);
}

/* Under the VM's slots_lock. */
static void unit_slot_removed(struct kviommu_kvm *k)
{
	struct kviommu_unit *unit = container_of(k, struct kviommu_unit, kvm);

	mutex_lock(&unit->lock);
	kviommu_signal(unit, KVIOMMU_SIGNAL_CONTROL);
	mutex_unlock(&unit->lock);
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
 * Context: process context, under unit->lock.
 */
void kviommu_signal(struct kviommu_unit *unit, enum kviommu_signal what)
{
	lockdep_assert_held(&unit->lock);

	if (unit->events[what])
		eventfd_signal(unit->events[what]);
}

/**
 * kviommu_resched() - Let others run, in a long loop
 *
 * Return: true if a fatal signal is pending, and the loop should end.
 */
bool kviommu_resched(void)
{
	cond_resched();
	return fatal_signal_pending(current);
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
	INIT_LIST_HEAD(&unit->devices);
	INIT_LIST_HEAD(&unit->domains);
	xa_init(&unit->pins.chunks);
	return unit;
}

/* Give back what KVIOMMU_CREATE took, as far as it came. */
static void unit_release(struct kviommu_unit *unit)
{
	/* Unpins everything. */
	kviommu_access_put(&unit->access);
	xa_destroy(&unit->pins.chunks);
	if (unit->fe)
		unit->fe->ops->destroy(unit->fe);
	unit->fe = NULL;
	if (unit->page)
		put_page(unit->page);
	unit->page = NULL;
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
		kviommu_debugfs_remove(unit);
		/* Waits for vCPUs that write. */
		kviommu_kvm_put(&unit->kvm);
		mutex_lock(&unit->lock);
		list_for_each_entry_safe(dev, next, &unit->devices, entry)
			kviommu_device_destroy(dev);
		mutex_unlock(&unit->lock);
		unit_release(unit);
	}
	for (i = 0; i < KVIOMMU_NR_EVENTS; i++)
		if (unit->events[i])
			eventfd_ctx_put(unit->events[i]);
	mutex_destroy(&unit->map_lock);
	mutex_destroy(&unit->lock);
	kfree(unit);
}

/**
 * kviommu_unit_create() - KVIOMMU_CREATE
 * @unit: The unit
 * @cmd: The arguments; out_cap and out_ecap are filled in
 *
 * Context: process context of the VMM, under unit->lock.
 * Return: 0 or an error of the ioctl.
 */
int kviommu_unit_create(struct kviommu_unit *unit, struct kviommu_create *cmd)
{
	int ret;

	if (cmd->model != KVIOMMU_MODEL_VTD)
		return -EOPNOTSUPP;
	if (cmd->aw_bits != 39 && cmd->aw_bits != 48)
		return -EINVAL;

	unit->aw_bits = cmd->aw_bits;
	unit->kvm.write = unit_write;
	unit->kvm.removed = unit_slot_removed;
	unit->access.unmap = unit_unmap;

	unit->id = ida_alloc(&unit_ids, GFP_KERNEL_ACCOUNT);
	if (unit->id < 0)
		return unit->id;
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
	/* Pairs with the acquire in kviommu_mmap(), which takes no lock. */
	smp_store_release(&unit->created, true);
	kviommu_debugfs_add(unit);
	return 0;

release:
	unit_release(unit);
	return ret;
}

/**
 * kviommu_unit_arm() - KVIOMMU_ARM
 * @unit: The unit
 * @gpa: Guest physical address of the register page
 *
 * Context: process context, under unit->lock.
 * Return: 0 or -EINVAL.
 */
int kviommu_unit_arm(struct kviommu_unit *unit, u64 gpa)
{
	if (!PAGE_ALIGNED(gpa))
		return -EINVAL;
	return kviommu_kvm_arm(&unit->kvm, gpa >> PAGE_SHIFT);
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
	swap(unit->events[event], ctx);
	if (ctx)
		eventfd_ctx_put(ctx);
	return 0;
}

/**
 * kviommu_unit_reset() - KVIOMMU_RESET
 * @unit: The unit
 *
 * Context: process context, under unit->lock.
 * Return: 0.
 */
int kviommu_unit_reset(struct kviommu_unit *unit)
{
	unit->fe->ops->reset(unit->fe);
	kviommu_rebind(unit, 0, U16_MAX);
	mutex_lock(&unit->map_lock);
	kviommu_pin_trim(unit, 0);
	mutex_unlock(&unit->map_lock);
	return 0;
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
	stats->out_table_bytes = kviommu_merge_bytes(unit) +
				 kviommu_pin_bytes(unit);
	mutex_unlock(&unit->map_lock);
	list_for_each_entry(dev, &unit->devices, entry)
		if (dev->bound.type == KVIOMMU_BIND_IDENTITY)
			stats->out_identity_devices++;
	stats->size = size;
}
