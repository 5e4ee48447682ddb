/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shadows: the guest's translations (I/O virtual to guest physical) and guest
 * memory (guest physical to host), merged into the host's domain (I/O virtual to
 * host).
 *
 *	shadow.c	shadows as translations: the table of operations
 *	merge.c		what differs between guest and shadow copy is work
 *	batch.c		pages of one node that one call maps or unmaps
 *	hw.c		leaves in the host's domain
 *	node.c		the shadow copy
 *	teardown.c	translations that go as a whole
 *	stale.c		translations that outlive their unmap
 *	flush.c		the flush that ends every change
 *	inspect.c	what an operator sees
 *
 * For each table of the guest there is a node of the shadow copy, which says
 * what the entries were when they were last merged, with the rights of all
 * levels above taken into account.
 */
#ifndef _KVIOMMU_SHADOW_H
#define _KVIOMMU_SHADOW_H

#include <linux/bits.h>
#include <linux/container_of.h>
#include <linux/iommu.h>
#include <linux/mm.h>

#include "api.h"
#include "../xlate.h"
#include "../../mem/mem.h"

#define ENTRIES		KVIOMMU_ENTRIES
#define ENTRY_BITS	KVIOMMU_ENTRY_BITS
#define NO_ADDR		(~0ULL)
#define NO_IOVA		(~0ULL)

/*
 * A slot holds nothing (0), an entry that is invalid, a leaf, or a pointer to a
 * node. A leaf has at least one of the rights, in the bits where an aligned
 * pointer has zeroes.
 */
#define SLOT_PROT	(KVIOMMU_READ | KVIOMMU_WRITE)
#define SLOT_MAPPED	BIT_ULL(2)	/* the host's domain has the leaf */
#define SLOT_INVALID	SLOT_MAPPED	/* no leaf, and a fault was reported */
#define SLOT_SPLIT	BIT_ULL(3)	/* a leaf that was to become a table */
#define SLOT_STALE	BIT_ULL(4)	/* the guest has removed it, we have not */
#define SLOT_TAG	GENMASK_ULL(11, 5)	/* of a stale one, see stale.c */
#define SLOT_ADDR	((u64)PAGE_MASK)

/**
 * struct kviommu_node - A table of the guest, as last merged
 * @addr: What names it to the source, or NO_ADDR
 * @table: The table itself, as the source gave it; NULL if it cannot be had
 * @slots: What its entries were
 */
struct kviommu_node {
	u64 addr;
	const void *table;
	u64 *slots;
};

/* For what the guest maps in more than one place at a time */
#define NR_LEAF_TABLES	4
#define LEAF_TABLE_LEVELS	4

/**
 * struct leaf_table_cache - The way to a table of leaves of 4 KiB (merge.c)
 * @node: Its node, or NULL
 * @base: First I/O virtual address that it translates
 * @prot: The rights that the levels above give
 * @entry: The entries of the guest's tables that lead there, the root's first
 * @val: What they were
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
 * @xlate: The translation that it is
 * @hw: The host's domain that devices are attached to
 * @gather: What of @hw was unmapped since the last flush
 * @dirty: Something was
 * @root: The shadow copy
 * @leaf_tables: Ways through it, by the lowest bits of the table's number
 * @hw_tables: Where @hw may have tables, see kviommu_shadow_count_tables()
 * @nr_hw_tables: How many
 * @mapped: How many pages of 4 KiB are mapped in @hw
 * @coherent: @hw forces DMA to be coherent
 * @splits: Pages of @hw that were mapped by one call can be unmapped one by one
 * @reserved: What is not translated, whatever the guest says
 *
 * Under map_lock. A guest domain has more than one shadow when its devices are behind
 * physical IOMMUs that do not take the same iommu_domain.
 */
struct kviommu_shadow {
	struct kviommu_xlate xlate;
	struct iommu_domain *hw;
	struct iommu_iotlb_gather gather;
	bool dirty;
	struct kviommu_node *root;
	struct leaf_table_cache leaf_tables[NR_LEAF_TABLES];
	struct xarray hw_tables;
	unsigned long nr_hw_tables;
	u64 mapped;
	bool coherent;
	bool splits;
	struct kviommu_reserved reserved;
};

static inline struct kviommu_shadow *to_shadow(struct kviommu_xlate *xlate)
{
	return container_of(xlate, struct kviommu_shadow, xlate);
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

/* @nr more pages are mapped, or are not any more. */
static inline void count_mapped(struct kviommu_shadow *shadow, u64 nr)
{
	kviommu_count(shadow->xlate.unit, mapped, nr);
	WRITE_ONCE(shadow->mapped, shadow->mapped + nr);
}

/* Frames that are neighbours in the host too. */
struct run {
	u64 iova;
	u64 pfn;
	u64 nr;
};

/* Work to do before others may have map_lock */
#define MERGE_SLICE	4096
/* And before a thread that others wait for, too, looks at its time */
#define MERGE_LOOK	256
/* Pages that may fail again in one merge, before it tries no more of them */
#define MAX_FAILED	1024
/*
 * Pages to map at once, or to unmap: so few that the host makes no large page of them,
 * and does not free their table to need it again soon
 */
#define MAX_BATCH	(ENTRIES / 2)

/**
 * struct batch - Pages of one node that one call is to map, or to unmap
 * @nr: How many
 * @prot: Their rights; 0: they are to be unmapped
 * @slots: The slot of the first one; those of the others follow
 * @iova: Its I/O virtual address
 * @pfn: Its host frame, if they are to be mapped; the others are its neighbours
 *
 * Those to be mapped are pinned, and counted as mapped.
 */
struct batch {
	unsigned int nr;
	unsigned int prot;
	u64 *slots;
	u64 iova;
	u64 pfn;
};

/**
 * struct merge - A merge under way
 * @shadow: The shadow
 * @work: The piece of work that this is part of
 * @first: First I/O virtual address
 * @last: Last one, inclusive
 * @end: The last one of all that is to be done, from a level above
 * @refresh: Try all again that could not be mapped
 * @failed: How many pages could not be, again
 * @slice: Work done since map_lock was taken, or the time looked at: entries and pages
 * @next: After -EAGAIN, where to go on
 * @unreserved: The host reserves none of the node's addresses
 * @collect: Pass 1 over a node: leaves that changed are only unmapped
 * @replaced: The first of them that gets another page, or NO_IOVA
 * @second: Pass 2: what replaces them is mapped; nothing else is tried again
 * @way: Where it is in the guest's tables, to be remembered; or NULL
 * @batch: Empty when others may have map_lock, and at the end of its node
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
	struct leaf_table_cache *way;
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
int kviommu_batch_map(struct merge *m, u64 *slot, u64 want, u64 iova);
int kviommu_merge_mapped(struct merge *m, u64 *slot, u64 want, u64 iova, bool again,
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
void kviommu_shadow_gather_init(struct kviommu_shadow *shadow);
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

/* Errors that go when others give something up */
static inline bool at_limit(int ret)
{
	return ret == -ENOMEM || ret == -EDQUOT || ret == -EOVERFLOW;
}

/* As kviommu_pin_get(). At a limit, what waits for a flush makes room. */
static inline int get_frame(struct kviommu_unit *unit, const struct kviommu_work *work,
			    u64 gfn, unsigned int prot, u64 *pfn)
{
	int ret = kviommu_pin_get(unit, work, gfn, prot, pfn);

	if (likely(!ret))
		return 0;
	if (!at_limit(ret) || !kviommu_stale_end(unit, work))
		return ret;
	return kviommu_pin_get(unit, work, gfn, prot, pfn);
}

/* May @nr more pages be mapped? */
static inline int check_limits(struct kviommu_shadow *shadow,
			       const struct kviommu_work *work, u64 iova, u64 nr)
{
	struct kviommu_unit *unit = shadow->xlate.unit;

	if (iova + (nr << PAGE_SHIFT) - 1 > shadow->hw->geometry.aperture_end)
		return -ERANGE;
	if (likely(unit->stats.mapped + nr <= unit->policy.max_mapped))
		return 0;
	if (!work->may_wait && kviommu_stale_pages(unit))
		return -EAGAIN;
	kviommu_stale_end(unit, work);
	return unit->stats.mapped + nr <= unit->policy.max_mapped ?
	       0 : -EDQUOT;
}

/* The physical IOTLB may still have what was there before. */
static inline void note_mapped(struct kviommu_shadow *shadow, u64 iova, u64 size)
{
	if (shadow->dirty && iova <= shadow->gather.end &&
	    iova + size - 1 >= shadow->gather.start)
		shadow->xlate.unit->shadows.stale.must_flush = true;
}

/* What takes long in one go is left to a thread that may wait. */
static inline int too_large(const struct merge *m, u64 slot, unsigned int level)
{
	return !m->work->may_wait && slot & SLOT_PROT && level > 2 ? -EAGAIN : 0;
}

static inline int kviommu_merge_yield(struct merge *m, u64 next)
{
	unsigned int end = m->work->may_wait ? MERGE_SLICE : MERGE_LOOK;

	return ++m->slice < end ? 0 : kviommu_merge_pause(m, next);
}

#endif /* _KVIOMMU_SHADOW_H */
