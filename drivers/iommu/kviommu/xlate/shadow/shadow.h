/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shadows: the guest's mappings (I/O virtual to guest physical addresses) and guest
 * memory (guest physical to host physical addresses), merged into an iommu_domain of
 * the host (I/O virtual to host physical addresses).
 *
 *	shadow.c	the back-end: the table of operations
 *	merge.c		applies differences between guest tables and shadow copy
 *	batch.c		pages of one node that one call maps or unmaps
 *	hw.c		leaves in the host's domain
 *	node.c		nodes of the shadow copy
 *	teardown.c	removal of many mappings at once
 *	stale.c		mappings that outlive the guest's unmap
 *	flush.c		the IOTLB flush that ends every change
 *	inspect.c	the view of a shadow in debugfs
 *
 * The shadow copy has a node for each table of the guest. A node holds the table's
 * entries as they were when last merged, with the rights of all higher levels applied.
 */
#ifndef _KVIOMMU_SHADOW_H
#define _KVIOMMU_SHADOW_H

#include <linux/bits.h>
#include <linux/container_of.h>
#include <linux/mm.h>

#include "api.h"
#include "../xlate.h"
#include "../../mem/mem.h"

#define ENTRIES		KVIOMMU_ENTRIES
#define ENTRY_BITS	KVIOMMU_ENTRY_BITS
#define NO_ADDR		(~0ULL)
#define NO_IOVA		(~0ULL)

/*
 * A slot is empty (0) or holds an invalid entry, a leaf, or a pointer to a node. A leaf
 * has at least one of the rights, in bits that are 0 in an aligned pointer.
 */
#define SLOT_PROT	(KVIOMMU_READ | KVIOMMU_WRITE)
#define SLOT_MAPPED	BIT_ULL(2)	/* the host's domain has the leaf */
#define SLOT_INVALID	SLOT_MAPPED	/* no leaf, and a fault was reported */
#define SLOT_SPLIT	BIT_ULL(3)	/* the leaf could not be split into a table */
#define SLOT_STALE	BIT_ULL(4)	/* unmapped by the guest, still in the domain */
#define SLOT_TAG	GENMASK_ULL(11, 5)	/* of a stale leaf, see stale.c */
#define SLOT_ADDR	((u64)PAGE_MASK)

/**
 * struct kviommu_node - A table of the guest, as last merged
 * @addr: Name of the table for kviommu_source_ops.get_table, or NO_ADDR
 * @table: The table, from kviommu_source_ops.get_table; NULL if it is not accessible
 * @slots: The entries as last merged, as slots
 */
struct kviommu_node {
	u64 addr;
	const void *table;
	u64 *slots;
};

/* More than one, for guests that map buffers in several places at a time */
#define NR_LEAF_TABLES	4
#define LEAF_TABLE_LEVELS	4

/**
 * struct leaf_table_cache - The path to a recently used table of 4 KiB leaves (merge.c)
 * @node: The node of the table, or NULL
 * @base: First I/O virtual address that the table translates
 * @prot: The rights that the higher levels grant
 * @entry: The entries of the guest's tables that lead to the table, the root's first
 * @val: The values of these entries when the path was recorded
 */
struct leaf_table_cache {
	struct kviommu_node *node;
	u64 base;
	unsigned int prot;
	const u64 *entry[LEAF_TABLE_LEVELS];
	u64 val[LEAF_TABLE_LEVELS];
};

/**
 * struct kviommu_shadow - The shadow of one guest domain
 * @xlate: The generic part
 * @hw: The host's domain, to which devices are attached
 * @unflushed: What was unmapped from @hw since the last flush
 * @root: The root node of the shadow copy
 * @leaf_tables: Recently used tables of 4 KiB leaves, by the lowest bits of their number
 * @hw_tables: The tables that @hw may have, see kviommu_shadow_count_tables()
 * @nr_hw_tables: Number of entries in @hw_tables
 * @mapped: Number of 4 KiB pages mapped in @hw
 * @coherent: @hw forces DMA to be coherent
 * @splits: Pages that one call has mapped in @hw can be unmapped one by one
 * @reserved: Addresses that are never translated, whatever the guest maps there
 * @lost: The addresses of large leaves that are away because the IOAS has lost a part of
 *        their memory; the rest is to be mapped again
 *
 * All members are under map_lock. A guest domain has more than one shadow if its devices
 * are behind physical IOMMUs that do not support the same iommu_domain.
 */
struct kviommu_shadow {
	struct kviommu_xlate xlate;
	struct iommu_domain *hw;
	struct kviommu_unflushed unflushed;
	struct kviommu_node *root;
	struct leaf_table_cache leaf_tables[NR_LEAF_TABLES];
	struct xarray hw_tables;
	unsigned long nr_hw_tables;
	u64 mapped;
	bool coherent;
	bool splits;
	struct kviommu_reserved reserved;
	struct kviommu_range lost;
};

static inline struct kviommu_shadow *to_shadow(struct kviommu_xlate *xlate)
{
	return container_of(xlate, struct kviommu_shadow, xlate);
}

static inline bool shadow_is_dirty(const struct kviommu_shadow *shadow)
{
	return shadow->unflushed.first <= shadow->unflushed.last;
}

static inline struct kviommu_node *slot_node(u64 slot)
{
	return slot & (SLOT_PROT | SLOT_MAPPED) ? NULL : (struct kviommu_node *)slot;
}

static inline u64 slot_gfn(u64 slot)
{
	return (slot & SLOT_ADDR) >> PAGE_SHIFT;
}

static inline bool slot_mapped(u64 slot)
{
	return slot & SLOT_PROT && slot & SLOT_MAPPED;
}

static inline bool slot_stale(u64 slot)
{
	return slot_mapped(slot) && slot & SLOT_STALE;
}

static inline unsigned int level_shift(unsigned int level)
{
	return PAGE_SHIFT + ENTRY_BITS * (level - 1);
}

static inline u64 level_size(unsigned int level)
{
	return 1ULL << level_shift(level);
}

/* Account for @nr more mapped 4 KiB pages, or for -@nr fewer. */
static inline void shadow_count_mapped(struct kviommu_shadow *shadow, u64 nr)
{
	kviommu_count(shadow->xlate.unit, mapped, nr);
	WRITE_ONCE(shadow->mapped, shadow->mapped + nr);
}

/**
 * struct run - Physically contiguous host frames to be mapped
 * @iova: First I/O virtual address
 * @pfn: First host frame number
 * @nr: Number of frames
 */
struct run {
	u64 iova;
	u64 pfn;
	u64 nr;
};

/* Amount of work, in entries and pages, after which map_lock is dropped for others */
#define MERGE_SLICE	4096
/* The same for a thread that may not wait, after which it checks its deadline */
#define MERGE_LOOK	KVIOMMU_BUDGET_LOOK
/* Number of repeated failures after which a merge retries no more pages */
#define MAX_FAILED	1024
/*
 * Number of pages in a batch: few enough that the host does not use a large page for
 * them, and does not free a table that is needed again soon
 */
#define MAX_BATCH	(ENTRIES / 2)

/**
 * struct batch - Consecutive pages of one node for a single map or unmap call
 * @nr: Number of 4 KiB pages
 * @prot: Rights of the pages; 0 if they are to be unmapped
 * @slots: Slot of the first page; the slots of the others follow
 * @iova: I/O virtual address of the first page
 * @pfn: Host frame number of the first page if they are to be mapped; the frames of the
 *       others follow
 *
 * Pages that are to be mapped are already pinned, but not counted as mapped.
 */
struct batch {
	unsigned int nr;
	unsigned int prot;
	u64 *slots;
	u64 iova;
	u64 pfn;
};

/**
 * struct merge - The state of a merge
 * @shadow: The shadow
 * @work: The piece of work that this is part of
 * @first: First I/O virtual address of the range
 * @last: Last I/O virtual address of the range, inclusive
 * @end: Last I/O virtual address to resume with, inclusive; beyond @last if the merge has
 *       to cover more than was asked for
 * @refresh: Try again to map all that failed before
 * @failed: Number of pages that failed again
 * @slice: Work done, in entries and pages, since map_lock was taken or the deadline was
 *         checked
 * @next: First I/O virtual address that is left, after -EAGAIN
 * @unreserved: The host reserves no address of the current node
 * @collect: Pass 1 over a node: leaves that changed are only unmapped
 * @replaced: First address of this node that still gets another page, or NO_IOVA
 * @second: Pass 2 over a node: replacements are mapped, nothing else is tried again
 * @path: The path of the walk through the guest's tables, for kviommu_shadow.leaf_tables;
 *        NULL if it is not to be recorded
 * @batch: The pending batch; empty whenever map_lock is dropped, and at the end of a node
 */
struct merge {
	struct kviommu_shadow *shadow;
	const struct kviommu_work *work;
	u64 first;
	u64 last;
	u64 end;
	bool refresh;
	unsigned int failed;
	unsigned int slice;
	u64 next;
	bool unreserved;
	bool collect;
	u64 replaced;
	bool second;
	struct leaf_table_cache *path;
	struct batch batch;
};

/* node.c */
struct kviommu_node *kviommu_node_alloc(struct kviommu_shadow *shadow,
					const struct kviommu_work *work, u64 iova,
					unsigned int level);
void kviommu_node_free(struct kviommu_shadow *shadow, const struct kviommu_work *work,
		       struct kviommu_node *node);
void kviommu_node_drop_table(struct kviommu_shadow *shadow,
			     const struct kviommu_work *work,
			     struct kviommu_node *node);
int kviommu_node_set_table(struct kviommu_shadow *shadow,
			   const struct kviommu_work *work,
			   struct kviommu_node *node, u64 addr);
void kviommu_shadow_free_spare(struct kviommu_unit *unit);
int kviommu_shadow_get_table(struct kviommu_shadow *shadow,
			     const struct kviommu_work *work, u64 addr,
			     const void **table);
int kviommu_shadow_count_tables(struct kviommu_shadow *shadow,
				const struct kviommu_work *work, u64 iova,
				unsigned int level);

/* hw.c */
bool kviommu_unmap_range(struct kviommu_shadow *shadow, u64 iova, u64 size);
void kviommu_unmap_leaf(struct kviommu_shadow *shadow, const struct kviommu_work *work,
			u64 slot, u64 iova, unsigned int level);
int kviommu_map_run(struct kviommu_shadow *shadow, const struct kviommu_work *work,
		    const struct run *run, unsigned int level, unsigned int prot);
int kviommu_map_leaf(struct kviommu_shadow *shadow, const struct kviommu_work *work,
		     u64 slot, u64 iova, unsigned int level);
int kviommu_shadow_reserved(const struct kviommu_shadow *shadow, u64 first, u64 last);

/* batch.c */
int kviommu_batch_end(struct merge *m);
int kviommu_batch_unmap(struct merge *m, u64 *slot, u64 iova);
int kviommu_merge_record(struct merge *m, u64 *slot, u64 want, u64 iova, bool again,
			 int ret);
void kviommu_merge_error(struct merge *m, u64 iova, int err, enum kviommu_fault reason);

/* merge.c */
int kviommu_merge(struct kviommu_shadow *shadow, const struct kviommu_work *work,
		  struct kviommu_range *range, bool refresh);

/* teardown.c */
int kviommu_merge_pause(struct merge *m, u64 next);
int kviommu_drop_node(struct merge *m, struct kviommu_node *node, u64 base,
		      unsigned int level);
void kviommu_shadow_revoke(struct kviommu_shadow *shadow, u64 first, u64 last);
bool kviommu_shadow_end_stale(struct kviommu_shadow *shadow,
			      const struct kviommu_work *work, u64 iova, u32 tag);
int kviommu_shadow_take_down(struct kviommu_shadow *shadow,
			     const struct kviommu_work *work);

/* flush.c */
void kviommu_shadow_release(struct kviommu_shadow *shadow,
			    const struct kviommu_work *work, u64 gfn, u64 nr);

/* stale.c */
int kviommu_stale_keep(struct kviommu_shadow *shadow, const struct kviommu_work *work,
		       u64 iova);
void kviommu_stale_dropped(struct kviommu_unit *unit);
void kviommu_stale_reuse(struct kviommu_shadow *shadow, u64 iova);
void kviommu_stale_complete(struct kviommu_unit *unit, const struct kviommu_work *work);
void kviommu_stale_flushed(struct kviommu_unit *unit);

/* inspect.c */
int kviommu_shadow_next(struct kviommu_xlate *xlate, struct kviommu_leaf *leaf);

/* Errors that may go away when pins, tables or mappings are released */
static inline bool is_limit_error(int ret)
{
	return ret == -ENOMEM || ret == -EDQUOT || ret == -EOVERFLOW;
}

/*
 * Release everything that is stale, if @err is a limit. That may be much, so it is left to
 * a thread that may wait. Return 0 to retry, or the error to return.
 */
static inline int shadow_make_room(struct kviommu_unit *unit,
				   const struct kviommu_work *work, int err)
{
	if (!is_limit_error(err))
		return err;
	if (!work->may_wait && kviommu_stale_pages(unit))
		return -EAGAIN;
	return kviommu_stale_end(unit, work) ? 0 : err;
}

/* As kviommu_pin_get(), but at a limit release everything that is stale and retry. */
static inline int shadow_get_frame(struct kviommu_unit *unit,
				   const struct kviommu_work *work, u64 gfn,
				   unsigned int prot, u64 *pfn)
{
	int ret = kviommu_pin_get(unit, work, gfn, prot, pfn);

	if (likely(!ret))
		return 0;
	ret = shadow_make_room(unit, work, ret);
	return ret ?: kviommu_pin_get(unit, work, gfn, prot, pfn);
}

/*
 * Check whether @nr more pages may be mapped at @iova, beside @pending ones of a batch.
 * Return 0 or an errno.
 */
static inline int shadow_check_limits(struct kviommu_shadow *shadow,
				      const struct kviommu_work *work, u64 iova, u64 nr,
				      u64 pending)
{
	struct kviommu_unit *unit = shadow->xlate.unit;

	if (iova + (nr << PAGE_SHIFT) - 1 > kviommu_hw_last(shadow->hw))
		return -ERANGE;
	nr += pending;
	if (likely(unit->stats.mapped + nr <= unit->policy.max_mapped))
		return 0;
	if (!work->may_wait && kviommu_stale_pages(unit))
		return -EAGAIN;
	kviommu_stale_end(unit, work);
	return unit->stats.mapped + nr <= unit->policy.max_mapped ?
	       0 : -EDQUOT;
}

/* The physical IOTLB may still hold the previous translation of a newly mapped range. */
static inline void shadow_note_mapped(struct kviommu_shadow *shadow, u64 iova, u64 size)
{
	if (iova <= shadow->unflushed.last && iova + size - 1 >= shadow->unflushed.first)
		shadow->xlate.unit->shadows.stale.must_flush = true;
}

/* A leaf of more than 2 MiB takes long, so it is left to a thread that may wait. */
static inline int merge_too_large(const struct merge *m, u64 slot, unsigned int level)
{
	return !m->work->may_wait && slot & SLOT_PROT && level > 2 ? -EAGAIN : 0;
}

/* Count what was processed since the last time. */
static inline void kviommu_merge_spend(const struct merge *m)
{
	kviommu_work_spend(m->work, m->slice);
}

/**
 * kviommu_merge_yield() - Count a unit of work, and pause the merge from time to time
 * @m: The merge
 * @next: First I/O virtual address that is not done
 *
 * Context: under unit->lock and map_lock, which may be dropped in between.
 * Return: as kviommu_merge_pause().
 */
static inline int kviommu_merge_yield(struct merge *m, u64 next)
{
	unsigned int end = m->work->may_wait ? MERGE_SLICE : MERGE_LOOK;

	return ++m->slice < end ? 0 : kviommu_merge_pause(m, next);
}

/*
 * Make sure that the page at @iova can join the batch, which may end the pending one.
 * Return as kviommu_batch_end().
 */
static inline int batch_begin(struct merge *m, u64 *slot, u64 iova,
			      unsigned int prot)
{
	struct batch *b = &m->batch;
	int ret = 0;

	if (b->nr) {
		if (b->prot == prot && b->slots + b->nr == slot &&
		    b->nr < (!prot || m->shadow->splits ? MAX_BATCH : 1))
			return 0;
		ret = kviommu_batch_end(m);
	}
	b->prot = prot;
	b->slots = slot;
	b->iova = iova;
	return ret;
}

#endif /* _KVIOMMU_SHADOW_H */
