// SPDX-License-Identifier: GPL-2.0-only
/*
 * The registers of coIOMMU, its commands, and the life of the model.
 *
 * The guest takes a command for done when it has read the register back. Reads of the page are
 * not trapped, so the vCPU that wrote stays in its exit until the command is done.
 */
#include <linux/bitmap.h>
#include <linux/bitops.h>
#include <linux/build_bug.h>
#include <linux/err.h>
#include <linux/minmax.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "../../host/compat.h"
#include "coiommu.h"
#include "../model.h"
#include "../../device/device.h"
#include "../../source/dtt.h"
#include "../../xlate/tracked/api.h"

#define AW_BITS_MIN	39
#define AW_BITS_MAX	52

#define CO_FLAGS	(KVIOMMU_COIOMMU_BOOT_IDENTITY | KVIOMMU_COIOMMU_BOOT_MASTER)

/*
 * Let the page show the registers, whatever was stored there: no command, no trigger. Another
 * vCPU that reads a register meanwhile sees it as it was or as it is.
 */
static void co_show(struct coiommu *co)
{
	void *root = co->page + CO_ROOT, *levels = co->page + CO_LEVELS;

	static_assert(!CO_ROOT && CO_LEVELS > sizeof(co->root));
	WRITE_ONCE(*(u64 *)root, co->root);
	memset(root + sizeof(u64), 0, CO_LEVELS - sizeof(u64));
	WRITE_ONCE(*(u64 *)levels, co->levels);
	memset(levels + sizeof(u64), 0, PAGE_SIZE - CO_LEVELS - sizeof(u64));
}

/* Have co_run() put @want in force, if it is not. */
static void co_want(struct coiommu *co, const struct co_table *want)
{
	if (co->want.active == want->active && co->want.root == want->root &&
	    co->want.levels == want->levels)
		return;
	co->want = *want;
	co->commanded = true;
	co->bound = false;
	co->progress = (struct kviommu_progress){};
	co->model.unit->must_finish = true;
}

static void co_activate(struct coiommu *co)
{
	struct co_table want = {};

	if (!co->root || !co->levels)
		return;
	if (!kviommu_dtt_valid(co->root, co->levels)) {
		kviommu_error(co->model.unit, "activate", co->root, -EINVAL);
		return;
	}
	want.active = true;
	want.root = co->root;
	want.levels = co->levels;
	co_want(co, &want);
}

static void co_command(struct coiommu *co, u64 command)
{
	struct co_table none = {};

	switch (command) {
	case CO_DEACTIVATE:
		co_want(co, &none);
		break;
	case CO_ACTIVATE:
		co_activate(co);
		break;
	case CO_PARK:
	case CO_UNPARK:
		kviommu_tracked_park(co->model.unit, command == CO_PARK);
		break;
	}
}

/* The guest has written to a trigger. */
static void co_trigger(struct coiommu *co, unsigned int cpu)
{
	__set_bit(cpu, co->triggered);
}

/* Take a write of the guest. Those that are not all of a register's bytes change these. */
static void co_store(struct coiommu *co, unsigned int offset, const u8 *data,
		     unsigned int len)
{
	unsigned int i;
	u64 command = 0;

	for (i = 0; i < len; i++) {
		unsigned int at = offset + i;

		if (at < CO_COMMAND)
			((u8 *)&co->root)[at - CO_ROOT] = data[i];
		else if (at >= CO_LEVELS && at < CO_TRIGGER)
			((u8 *)&co->levels)[at - CO_LEVELS] = data[i];
		else if (at >= CO_TRIGGER && at < CO_REGS_SIZE)
			co_trigger(co, at - CO_TRIGGER);
	}
	if (offset != CO_COMMAND)
		return;
	memcpy(&command, data, min_t(unsigned int, len, sizeof(command)));
	co_command(co, command);
}

/*
 * Take the registers from the snapshot, and the command that was written without being trapped,
 * if it can be seen: 0 cannot.
 */
static void co_take(struct coiommu *co)
{
	u64 command;

	co_store(co, CO_ROOT, co->snapshot + CO_ROOT, sizeof(co->root));
	co_store(co, CO_LEVELS, co->snapshot + CO_LEVELS, sizeof(co->levels));
	memcpy(&command, co->snapshot + CO_COMMAND, sizeof(command));
	if (command)
		co_command(co, command);
	memset(co->snapshot + CO_COMMAND, 0, sizeof(command));
}

/* A trapped write between snapshot and commit */
static void co_write_snapshot(struct coiommu *co, unsigned int offset, const void *data,
			      unsigned int len)
{
	if (offset >= CO_REGS_SIZE)
		return;
	if (offset == CO_COMMAND) {
		/* The guest goes on when this returns: co_commit() would be too late. */
		memset(co->page + CO_COMMAND, 0, sizeof(u64));
		/* The snapshot may have been taken after this write was stored. */
		if (!memcmp(co->snapshot + CO_COMMAND, data, min_t(unsigned int, len, sizeof(u64))))
			memset(co->snapshot + CO_COMMAND, 0, sizeof(u64));
		co_take(co);
		co_store(co, offset, data, len);
		return;
	}
	/* It stays in the page, of which there may be another snapshot. */
	memcpy(co->snapshot + offset, data, min_t(unsigned int, len, CO_REGS_SIZE - offset));
}

static void co_write(struct kviommu_model *model, unsigned int offset, const void *data,
		     unsigned int len)
{
	struct coiommu *co = to_coiommu(model);

	if (co->snapshot_taken) {
		co_write_snapshot(co, offset, data, len);
		return;
	}
	co_store(co, offset, data, len);
	co_show(co);
}

/*
 * The snapshot may hold a trapped write, or part of it; when KVM reports that write,
 * co_write() overwrites it in the snapshot, or takes a command out of it.
 */
static void co_snapshot(struct kviommu_model *model)
{
	struct coiommu *co = to_coiommu(model);

	memcpy(co->snapshot, co->page, CO_REGS_SIZE);
	co->snapshot_taken = true;
}

static void co_commit(struct kviommu_model *model)
{
	struct coiommu *co = to_coiommu(model);
	unsigned int i;

	co->snapshot_taken = false;
	co_take(co);
	for (i = 0; i < CO_SLOTS; i++)
		if (co->snapshot[CO_TRIGGER + i])
			co_trigger(co, i);
	co_show(co);
}

/* The guest's commands and triggers are no state that the page could show. */
static bool co_pollable(const struct kviommu_model *model)
{
	return false;
}

static const struct kviommu_regpage_ops co_page_ops = {
	.write = co_write,
	.snapshot = co_snapshot,
	.commit = co_commit,
	.pollable = co_pollable,
};

/*
 * Put what the guest's last command asks for in force. Return: false if the next step has to
 * go on with it.
 *
 * Devices leave what is tracked before it is unpinned. If another table is to be followed they
 * stay, and reach nothing until the guest has asked for it anew; the old table is left as it
 * is, as the guest that made it may be gone. After DEACTIVATE the guest finds nothing pinned.
 */
static bool co_command_run(struct coiommu *co, const struct kviommu_work *work)
{
	struct kviommu_unit *unit = co->model.unit;
	struct kviommu_tracked_state *s = &unit->tracked;
	const struct co_table *want = &co->want;
	bool same = want->active && s->dtt.root == want->root &&
		    s->dtt.levels == want->levels;

	if (!same && (s->active || want->active))
		kviommu_tracked_stop(unit, !want->active);
	if (!want->active && !co->bound) {
		co->tracking = false;
		if (kviommu_rebind(unit, work, 0, U16_MAX, &co->progress))
			return false;
		co->bound = true;
	}
	if (!s->active && kviommu_tracked_clear(unit, work))
		return false;
	if (want->active) {
		if (!s->active)
			kviommu_tracked_start(unit, want->root, want->levels);
		co->tracking = true;
		if (kviommu_rebind(unit, work, 0, U16_MAX, &co->progress))
			return false;
	}
	co->commanded = false;
	unit->must_finish = false;
	kviommu_signal(unit, KVIOMMU_EVENT_CONTROL);
	return true;
}

static bool co_pending(struct kviommu_model *model)
{
	struct coiommu *co = to_coiommu(model);

	return co->commanded || co_request_pending(co);
}

static bool co_run(struct kviommu_model *model, const struct kviommu_work *work)
{
	struct coiommu *co = to_coiommu(model);

	if (co->commanded) {
		co_request_abort(co);
		if (!co_command_run(co, work))
			return true;
	}
	return co_request_run(co, work);
}

static void co_reset(struct kviommu_model *model)
{
	struct coiommu *co = to_coiommu(model);
	struct kviommu_unit *unit = model->unit;
	unsigned int i;

	co->root = 0;
	co->levels = 0;
	co->want = (struct co_table){};
	co->commanded = false;
	co->tracking = false;
	unit->must_finish = false;
	co->request.valid = false;
	bitmap_zero(co->triggered, CO_SLOTS);
	memset(co->snapshot, 0, sizeof(co->snapshot));
	for (i = 0; i < CO_SLOTS; i++)
		co_slot_done(co, i);
	co_show(co);
	mutex_lock(&unit->map_lock);
	kviommu_tracked_stop(unit, false);
	unit->tracked.parked = 0;
	mutex_unlock(&unit->map_lock);
}

static int co_resolve(struct kviommu_model *model, const struct kviommu_work *work, u32 id,
		      u32 pasid, struct kviommu_binding *b)
{
	const struct coiommu *co = to_coiommu(model);

	*b = (struct kviommu_binding){ .type = KVIOMMU_BIND_BLOCKED, .off = !co->tracking };
	if (co->tracking)
		b->type = KVIOMMU_BIND_TRACKED;
	else if (co->boot_identity)
		b->type = KVIOMMU_BIND_IDENTITY;
	return 0;
}

/* List the devices for the guest: how many, then their requester IDs. */
static void co_devices_changed(struct kviommu_model *model)
{
	struct kviommu_unit *unit = model->unit;
	u16 *list = page_address(unit->pages[CO_TOPOLOGY_PAGE]);
	struct kviommu_device *dev;
	unsigned int n = 0;

	list_for_each_entry(dev, &unit->devices, entry)
		WRITE_ONCE(list[++n], dev->source_id);
	/* A guest that sees the number sees what it counts. */
	smp_store_release(list, n);
}

static void co_destroy(struct kviommu_model *model)
{
	kfree(to_coiommu(model));
}

static const struct kviommu_model_ops co_ops = {
	.pending = co_pending,
	.run = co_run,
	.reset = co_reset,
	.resolve = co_resolve,
	.devices_changed = co_devices_changed,
	.destroy = co_destroy,
};

static int co_get_info(void *data)
{
	struct kviommu_coiommu_info *info = data;

	info->out_flags = CO_FLAGS;
	info->out_aw_bits_min = AW_BITS_MIN;
	info->out_aw_bits_max = AW_BITS_MAX;
	info->out_cpus_max = CO_SLOTS;
	info->out_notify_offset = CO_SLOTS_PAGE * PAGE_SIZE;
	info->out_notify_size = CO_SLOTS * sizeof(u64);
	info->out_topology_offset = CO_TOPOLOGY_PAGE * PAGE_SIZE;
	info->out_topology_size = CO_READ_ONLY_PAGES * PAGE_SIZE;
	return 0;
}

static struct kviommu_model *co_create(struct kviommu_unit *unit, const void *data)
{
	const struct kviommu_create_coiommu *args = data;
	struct coiommu *co;

	if (args->flags & ~CO_FLAGS)
		return ERR_PTR(-EOPNOTSUPP);
	if (args->flags == KVIOMMU_COIOMMU_BOOT_MASTER || args->__reserved ||
	    args->aw_bits < AW_BITS_MIN || args->aw_bits > AW_BITS_MAX || !args->cpus ||
	    args->cpus > CO_SLOTS)
		return ERR_PTR(-EINVAL);
	co = kzalloc_obj(*co, GFP_KERNEL_ACCOUNT);
	if (!co)
		return ERR_PTR(-ENOMEM);
	co->model.ops = &co_ops;
	co->model.page_ops = &co_page_ops;
	co->model.unit = unit;
	co->page = page_address(unit->pages[0]);
	co->cpus = args->cpus;
	co->boot_identity = args->flags & KVIOMMU_COIOMMU_BOOT_IDENTITY;
	unit->boot_master = args->flags & KVIOMMU_COIOMMU_BOOT_MASTER;
	unit->aw_bits = args->aw_bits;
	unit->nest = (struct kviommu_nest){};
	return &co->model;
}

static_assert(sizeof(struct kviommu_create_coiommu) <= KVIOMMU_MODEL_BLOB_MAX);
static_assert(sizeof(struct kviommu_coiommu_info) <= KVIOMMU_MODEL_BLOB_MAX);
static_assert(CO_REGS_SIZE <= PAGE_SIZE && CO_PAGES <= KVIOMMU_MAX_PAGES);

const struct kviommu_model_kind kviommu_coiommu = {
	.id = KVIOMMU_MODEL_COIOMMU,
	.pages = CO_PAGES,
	.read_only = CO_READ_ONLY_PAGES,
	.args_min = offsetofend(struct kviommu_create_coiommu, __reserved),
	.args_size = sizeof(struct kviommu_create_coiommu),
	.info_size = sizeof(struct kviommu_coiommu_info),
	.get_info = co_get_info,
	.create = co_create,
};
