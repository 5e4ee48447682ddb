/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host's side of coIOMMU, as the existing device and guest driver have it: the guest keeps
 * a table of its pages that are in use for DMA, and asks for those that are not pinned.
 *
 *	regs.c		the register page, commands, and the life of the model
 *	request.c	requests for pages
 */
#ifndef _KVIOMMU_COIOMMU_H
#define _KVIOMMU_COIOMMU_H

#include <linux/bits.h>
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/types.h>

#include "../../base/model.h"
#include "../../xlate/xlate.h"

/* Registers, all of 8 bytes but the triggers, of which each is one byte for one CPU */
#define CO_ROOT			0x00
#define CO_COMMAND		0x08
#define CO_LEVELS		0x10
#define CO_TRIGGER		0x18

#define CO_DEACTIVATE		0
#define CO_ACTIVATE		1
#define CO_PARK			2
#define CO_UNPARK		3

/* Slots in the notify map, one for each CPU. Pages of the unit: registers, slots, devices */
#define CO_SLOTS		1024
#define CO_SLOTS_PAGE		1
#define CO_TOPOLOGY_PAGE	3
#define CO_PAGES		5
#define CO_READ_ONLY_PAGES	2
/* What the guest can write to: registers, and the triggers of all slots */
#define CO_REGS_SIZE		(CO_TRIGGER + CO_SLOTS)

/* A slot: the address of a batch, or a frame and the device that it is for */
#define CO_SLOT_BATCH		BIT_ULL(63)
#define CO_SLOT_BDF		0xffff
#define CO_SLOT_GFN_SHIFT	16

/* Pages of a batch: more than Linux maps at once, and what kmalloc() has room for at most */
#define CO_BATCH_MAX		BIT(19)
/* Those of them that are read at once */
#define CO_BATCH_CHUNK		32

/**
 * struct co_batch - The head of a batch in guest memory, before its frame numbers
 * @bdf: The device
 * @pad: Ignored
 * @nr: Number of frame numbers, of 8 bytes each
 */
struct co_batch {
	u16 bdf;
	u16 pad[3];
	u64 nr;
};

/**
 * struct co_request - The request that is being carried out
 * @valid: There is one
 * @cpu: Number of its slot
 * @gpa: Guest physical address of the frame numbers of a batch; 0 if it is of one frame
 * @nr: Number of frames
 * @done: Number of frames done
 * @gfns: Frame numbers that were read
 * @first: Number of the first of them in the batch
 * @loaded: Number of those before which all have been read
 */
struct co_request {
	bool valid;
	unsigned int cpu;
	u64 gpa;
	u64 nr;
	u64 done;
	u64 gfns[CO_BATCH_CHUNK];
	u64 first;
	u64 loaded;
};

/**
 * struct co_table - What the guest has activated
 * @active: Anything
 * @root: Guest physical address of the root table
 * @levels: Number of levels of tables
 */
struct co_table {
	bool active;
	u64 root;
	u64 levels;
};

/**
 * struct coiommu - The model
 * @model: The model as the unit knows it
 * @page: The register page that the guest sees: a view, which nothing is decided by
 * @cpus: Number of slots whose requests are carried out
 * @boot_identity: While nothing is active devices reach all of the IOAS
 * @root: The register of that name
 * @levels: The register of that name
 * @snapshot: What the guest has written while the page was not trapped
 * @snapshot_taken: Trapped writes go to @snapshot, too
 * @want: What the guest's last command asks for
 * @commanded: @want is not in force yet
 * @bound: The devices follow @want already
 * @tracking: Devices reach what is tracked
 * @progress: Progress of the devices towards @want
 * @triggered: Slots that the guest has triggered and that were not looked at yet
 * @request: The request that is being carried out
 *
 * All members are under kviommu_unit.lock.
 */
struct coiommu {
	struct kviommu_model model;
	u8 *page;
	unsigned int cpus;
	bool boot_identity;
	u64 root;
	u64 levels;
	u8 snapshot[CO_REGS_SIZE];
	bool snapshot_taken;
	struct co_table want;
	bool commanded;
	bool bound;
	bool tracking;
	struct kviommu_progress progress;
	DECLARE_BITMAP(triggered, CO_SLOTS);
	struct co_request request;
};

static inline struct coiommu *to_coiommu(struct kviommu_model *model)
{
	return container_of(model, struct coiommu, model);
}

/* Where a slot is, which guest and VMM may write to at any time */
static inline u64 *co_slot(struct coiommu *co, unsigned int cpu)
{
	const unsigned int per_page = PAGE_SIZE / sizeof(u64);

	return (u64 *)page_address(co->model.unit->pages[CO_SLOTS_PAGE + cpu / per_page]) +
	       cpu % per_page;
}

/* The request of a slot is done, or cannot be carried out. */
static inline void co_slot_done(struct coiommu *co, unsigned int cpu)
{
	/* Pairs with the guest's load, after which it looks for what is pinned. */
	smp_store_release(co_slot(co, cpu), 0);
}

/* request.c */
bool co_request_pending(const struct coiommu *co);
void co_request_abort(struct coiommu *co);
bool co_request_run(struct coiommu *co, const struct kviommu_work *work);

#endif /* _KVIOMMU_COIOMMU_H */
