// SPDX-License-Identifier: GPL-2.0-only
/*
 * The merge: guest tables (I/O virtual to guest physical) and guest memory
 * (guest physical to host) into the host's domain (I/O virtual to host).
 *
 * For each table of the guest there is a node of the shadow copy, which says
 * what the entries were when they were last merged, with the rights of all
 * levels above taken into account. A merge walks the tables and the copy side
 * by side over a range, and only where they differ there is work to do: so a
 * translation that did not change is never touched, however wide the range.
 *
 * Each table that the guest can reach has a node of its own, though several
 * entries may point to the same table. So the limits on nodes and on what is
 * mapped bound the work.
 */
#include <linux/bitfield.h>
#include <linux/error-injection.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "kviommu.h"
#include "trace.h"

#define ENTRIES		512
#define ENTRY_BITS	9
#define NO_GFN		(~0ULL)
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
 * @gfn: Its guest frame, or NO_GFN
 * @table: The table itself, pinned; NULL if it is not in guest memory
 * @slots: What its entries were
 */
struct kviommu_node {
	u64 gfn;
	const u64 *table;
	u64 *slots;
};

static struct kviommu_node *slot_node(u64 slot)
{
	return slot & (SLOT_PROT | SLOT_MAPPED) ? NULL : (struct kviommu_node *)slot;
}

static u64 slot_gfn(u64 slot)
{
	return (slot & SLOT_ADDR) >> PAGE_SHIFT;
}

static bool slot_mapped(u64 slot)
{
	return slot & SLOT_PROT && slot & SLOT_MAPPED;
}

static bool slot_stale(u64 slot)
{
	return slot_mapped(slot) && slot & SLOT_STALE;
}

static unsigned int level_shift(unsigned int level)
{
	return PAGE_SHIFT + ENTRY_BITS * (level - 1);
}

static u64 level_size(unsigned int level)
{
	return 1ULL << level_shift(level);
}

/* One that is not used, with slots that hold nothing. */
static struct kviommu_node *node_take(struct kviommu_unit *unit)
{
	struct kviommu_node *node;

	if (unit->nr_spare)
		return unit->spare[--unit->nr_spare];
	if (unit->in_poller)
		return ERR_PTR(-EAGAIN);
	node = kzalloc_obj(*node, KVIOMMU_GFP);
	if (!node)
		return ERR_PTR(-ENOMEM);
	node->slots = (u64 *)get_zeroed_page(KVIOMMU_GFP);
	if (!node->slots) {
		kfree(node);
		return ERR_PTR(-ENOMEM);
	}
	return node;
}

static void node_release(struct kviommu_node *node)
{
	free_page((unsigned long)node->slots);
	kfree(node);
}

/*
 * Undo node_take(); all slots hold nothing. A guest whose tables come and go, as with
 * each buffer of 2 MiB, needs another one soon.
 */
static void node_put(struct kviommu_unit *unit, struct kviommu_node *node)
{
	if (unit->nr_spare < KVIOMMU_SPARE_NODES)
		unit->spare[unit->nr_spare++] = node;
	else
		node_release(node);
}

static struct kviommu_node *node_alloc(struct kviommu_domain *domain, u64 iova,
				       unsigned int level)
{
	struct kviommu_unit *unit = domain->unit;
	struct kviommu_node *node;
	int ret;

	if (unit->nr_nodes >= unit->policy.max_tables)
		return ERR_PTR(-EDQUOT);
	node = node_take(unit);
	if (IS_ERR(node))
		return node;
	ret = kviommu_domain_count_tables(domain, iova, level);
	if (ret) {
		node_put(unit, node);
		return ERR_PTR(ret);
	}
	node->gfn = NO_GFN;
	unit->nr_nodes++;
	return node;
}

/* As kviommu_pin_get(). At a limit, what waits for a flush makes room. */
static inline int get_frame(struct kviommu_unit *unit, u64 gfn,
			    unsigned int prot, u64 *pfn)
{
	int ret = kviommu_pin_get(unit, gfn, prot, pfn);

	if (likely(!ret))
		return 0;
	if ((ret != -ENOMEM && ret != -EDQUOT && ret != -EOVERFLOW) ||
	    !kviommu_stale_end(unit))
		return ret;
	return kviommu_pin_get(unit, gfn, prot, pfn);
}

/* No way leads through a node that is gone, or stands for another table. */
static void node_drop_table(struct kviommu_domain *domain,
			    struct kviommu_node *node)
{
	unsigned int i;

	if (!node->table)
		return;
	for (i = 0; i < KVIOMMU_NR_WALKS; i++)
		domain->walks[i].node = NULL;
	node->table = NULL;
	kviommu_pin_put(domain->unit, node->gfn);
}

/* All slots of the node hold nothing. */
static void node_free(struct kviommu_domain *domain, struct kviommu_node *node)
{
	node_drop_table(domain, node);
	domain->unit->nr_nodes--;
	node_put(domain->unit, node);
}

/*
 * Let the node stand for the guest's table in frame @gfn. After -EAGAIN it is
 * as it was.
 */
static int node_set_table(struct kviommu_domain *domain,
			  struct kviommu_node *node, u64 gfn)
{
	u64 pfn;
	int ret;

	if (node->table && node->gfn == gfn)
		return 0;
	ret = get_frame(domain->unit, gfn, KVIOMMU_READ, &pfn);
	if (ret == -EAGAIN)
		return ret;
	node_drop_table(domain, node);
	node->gfn = gfn;
	if (ret)
		return ret;
	node->table = page_address(pfn_to_page(pfn));
	return 0;
}

static bool unmap_range(struct kviommu_domain *domain, u64 iova, u64 size)
{
	size_t unmapped = iommu_unmap_fast(domain->hw, iova, size,
					   &domain->gather);

	iommu_iotlb_gather_add_range(&domain->gather, iova, size);
	domain->dirty = true;
	WRITE_ONCE(domain->unit->dirty, true);
	/* We mapped all of it, in these pieces. What is not gone stays pinned. */
	return !WARN_ON_ONCE(unmapped != size);
}

static void unmap_leaf(struct kviommu_domain *domain, u64 slot, u64 iova,
		       unsigned int level)
{
	u64 size = level_size(level);

	if (!slot_mapped(slot))
		return;
	trace_kviommu_unmap(domain->unit->id, domain->did, iova, size);
	/* Before it may be flushed */
	if (slot_stale(slot))
		kviommu_stale_dropped(domain->unit);
	if (unmap_range(domain, iova, size))
		kviommu_domain_release(domain, slot_gfn(slot),
				       size >> PAGE_SHIFT);
	kviommu_count(domain->unit, unmaps, 1);
	kviommu_count(domain->unit, mapped, -(size >> PAGE_SHIFT));
}

/* Frames that are neighbours in the host too. */
struct run {
	u64 iova;
	u64 pfn;
	u64 nr;
};

/* Can the host use pages of 2 MiB for it, but for what is left at both ends? */
static bool fits_2m(const struct kviommu_domain *domain, const struct run *run)
{
	return domain->hw->pgsize_bitmap & SZ_2M &&
	       !((run->iova ^ PFN_PHYS(run->pfn)) & (SZ_2M - 1));
}

/*
 * Does a page that leads to @pfn belong to the run? Drivers may leave behind what they
 * did in one table of small pages when there is no memory for the next. So a run ends
 * with such a table, unless all that it has in it so far are pages of 2 MiB.
 */
static bool run_takes(const struct kviommu_domain *domain, const struct run *run,
		      u64 pfn)
{
	u64 next = run->iova + (run->nr << PAGE_SHIFT);

	if (pfn != run->pfn + run->nr)
		return false;
	return next & (SZ_2M - 1) ||
	       (!(run->iova & (SZ_2M - 1)) && fits_2m(domain, run));
}

/*
 * Where the host cannot use a page of 2 MiB it needs a table that the guest,
 * with its large leaf, has not.
 */
static int count_tables(struct kviommu_domain *domain, const struct run *run,
			unsigned int level)
{
	u64 end = run->iova + (run->nr << PAGE_SHIFT);
	bool fits = fits_2m(domain, run);
	u64 iova = ALIGN_DOWN(run->iova, SZ_2M);
	int ret = 0;

	if (level > 2)
		ret = kviommu_domain_count_tables(domain, iova, 2);
	for (; level > 1 && iova < end && !ret; iova += SZ_2M)
		if (!fits || iova < run->iova || iova + SZ_2M > end)
			ret = kviommu_domain_count_tables(domain, iova, 1);
	return ret;
}

static noinline int map_run(struct kviommu_domain *domain,
			    const struct run *run, unsigned int level,
			    unsigned int prot)
{
	bool in_poller = domain->unit->in_poller;
	struct mem_cgroup *memcg, *old;
	int ret, hw_prot = IOMMU_CACHE;

	if (!run->nr)
		return 0;
	ret = count_tables(domain, run, level);
	if (ret)
		return ret;
	if (prot & KVIOMMU_READ)
		hw_prot |= IOMMU_READ;
	if (prot & KVIOMMU_WRITE)
		hw_prot |= IOMMU_WRITE;
	if (!in_poller)
		return iommu_map(domain->hw, run->iova, PFN_PHYS(run->pfn),
				 run->nr << PAGE_SHIFT, hw_prot, KVIOMMU_GFP);
	/* The thread is not the VMM's, but the memory is. */
	memcg = get_mem_cgroup_from_mm(domain->unit->mm);
	old = set_active_memcg(memcg);
	ret = iommu_map(domain->hw, run->iova, PFN_PHYS(run->pfn),
			run->nr << PAGE_SHIFT, hw_prot,
			GFP_NOWAIT | __GFP_ACCOUNT | __GFP_NOWARN);
	set_active_memcg(old);
	mem_cgroup_put(memcg);
	return ret == -ENOMEM ? -EAGAIN : ret;
}
ALLOW_ERROR_INJECTION(map_run, ERRNO);

/* May @nr more pages be mapped? */
static inline int check_limits(struct kviommu_domain *domain, u64 iova, u64 nr)
{
	struct kviommu_unit *unit = domain->unit;

	if (iova + (nr << PAGE_SHIFT) - 1 > domain->hw->geometry.aperture_end)
		return -ERANGE;
	if (likely(unit->stats.out_mapped + nr <= unit->policy.max_mapped))
		return 0;
	if (unit->in_poller && kviommu_stale_pages(unit))
		return -EAGAIN;
	kviommu_stale_end(unit);
	return unit->stats.out_mapped + nr <= unit->policy.max_mapped ?
	       0 : -EDQUOT;
}

/* The physical IOTLB may still have what was there before. */
static void note_mapped(struct kviommu_domain *domain, u64 iova, u64 size)
{
	if (domain->dirty && iova <= domain->gather.end &&
	    iova + size - 1 >= domain->gather.start)
		domain->unit->stale.hurry = true;
}

/*
 * Pin and map what a leaf covers, in runs as long as the host's memory allows,
 * so that the host uses its largest pages.
 */
static int map_leaf(struct kviommu_domain *domain, u64 slot, u64 iova,
		    unsigned int level)
{
	struct kviommu_unit *unit = domain->unit;
	u64 gfn = slot_gfn(slot);
	u64 nr = level_size(level) >> PAGE_SHIFT;
	unsigned int prot = slot & SLOT_PROT;
	struct run run = { .iova = iova };
	u64 i, pfn;
	int ret;

	ret = check_limits(domain, iova, nr);
	if (ret)
		return ret;
	for (i = 0; i < nr; i++) {
		/* Not every host has write-only pages. */
		ret = get_frame(unit, gfn + i, prot | KVIOMMU_READ, &pfn);
		if (ret)
			goto undo;
		if (run.nr && !run_takes(domain, &run, pfn)) {
			ret = map_run(domain, &run, level, prot);
			if (ret)
				goto undo_pin;
			run.iova += run.nr << PAGE_SHIFT;
			run.nr = 0;
		}
		if (!run.nr++)
			run.pfn = pfn;
		if (i % ENTRIES == ENTRIES - 1 &&
		    kviommu_resched(unit) == -EINTR) {
			ret = -EINTR;
			goto undo_pin;
		}
	}
	ret = map_run(domain, &run, level, prot);
	if (ret)
		goto undo;
	note_mapped(domain, iova, level_size(level));
	trace_kviommu_map(unit->id, domain->did, iova, gfn, nr, prot);
	kviommu_count(unit, maps, 1);
	kviommu_count(unit, mapped, nr);
	return 0;

undo_pin:
	i++;
undo:
	if (run.iova > iova && !unmap_range(domain, iova, run.iova - iova))
		return ret;
	if (i)
		kviommu_domain_release(domain, gfn, i);
	return ret;
}

/* Work to do before others may have map_lock */
#define MERGE_SLICE	4096
/* Pages to try again in vain, in one merge */
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
 * @domain: The domain
 * @first: First I/O virtual address
 * @last: Last one, inclusive
 * @end: The last one of all that is to be done, from a level above
 * @refresh: Try all again that could not be mapped
 * @whole: Do not stop before the end
 * @failed: How many pages could not be, again
 * @slice: Work done since map_lock was taken: entries and pages
 * @next: After -EAGAIN, where to go on
 * @unreserved: The host reserves none of the node's addresses
 * @collect: Pages that are to be replaced are only unmapped, all of a node's by one
 *           call; another pass maps what takes their place
 * @replaced: The first of them, or NO_IOVA
 * @second: That is the other pass, which tries nothing again
 * @way: Where it is in the guest's tables, to be remembered; or NULL
 * @batch: Empty when others may have map_lock, and at the end of its node
 */
struct merge {
	struct kviommu_domain *domain;
	u64 first;
	u64 last;
	u64 end;
	bool refresh;
	bool whole;
	unsigned int failed;
	unsigned int slice;
	u64 next;
	bool unreserved;
	bool collect;
	u64 replaced;
	bool second;
	struct kviommu_walk *way;
	struct batch batch;
};

static int merge_node(struct merge *m, struct kviommu_node *node, u64 base,
		      unsigned int level, unsigned int prot);

static void merge_error(struct merge *m, u64 iova, int err, u8 reason)
{
	kviommu_error(m->domain->unit, "translation", iova, err);
	if (reason)
		kviommu_device_fault(m->domain, iova, reason);
}

/* A leaf was to be mapped: @ret says what became of that. */
static int merge_mapped(struct merge *m, u64 *slot, u64 want, u64 iova,
			bool again, int ret)
{
	struct kviommu_frontend *fe = m->domain->unit->fe;

	if (!ret) {
		*slot |= SLOT_MAPPED;
		return 0;
	}
	if (ret == -EINTR || ret == -EAGAIN) {
		*slot = again ? want : 0;
		m->next = iova;
		return ret;
	}
	m->failed += again;
	/*
	 * No fault for what is not memory: the guest may map registers of
	 * other devices, which only a request to them shows not to work.
	 */
	merge_error(m, iova, ret,
		    again || ret == -ENOENT || ret == -EPERM ? 0 :
		    want & KVIOMMU_WRITE ? fe->fault_write : fe->fault_read);
	return 0;
}

static void unmap_batch(struct kviommu_domain *domain, const struct batch *b)
{
	bool gone = unmap_range(domain, b->iova, (u64)b->nr << PAGE_SHIFT);
	unsigned int i;

	for (i = 0; i < b->nr; i++) {
		if (gone)
			kviommu_domain_release(domain, slot_gfn(b->slots[i]), 1);
		b->slots[i] = 0;
	}
	kviommu_count(domain->unit, unmaps, b->nr);
	kviommu_count(domain->unit, mapped, -(u64)b->nr);
}

/* If it does not work with all at once, then one by one. */
static int map_batch(struct merge *m, const struct batch *b)
{
	struct run run = { .iova = b->iova, .pfn = b->pfn, .nr = b->nr };
	struct kviommu_domain *domain = m->domain;
	u64 iova = b->iova;
	unsigned int i;
	int ret;

	ret = map_run(domain, &run, 1, b->prot);
	if (likely(!ret)) {
		for (i = 0; i < b->nr; i++, iova += PAGE_SIZE) {
			trace_kviommu_map(domain->unit->id, domain->did, iova,
					  slot_gfn(b->slots[i]), 1, b->prot);
			b->slots[i] |= SLOT_MAPPED;
		}
		note_mapped(domain, b->iova, (u64)b->nr << PAGE_SHIFT);
		kviommu_count(domain->unit, maps, b->nr);
		return 0;
	}
	kviommu_count(domain->unit, mapped, -(u64)b->nr);
	for (i = 0; i < b->nr; i++)
		kviommu_domain_release(domain, slot_gfn(b->slots[i]), 1);
	if (b->nr == 1)
		return merge_mapped(m, b->slots, *b->slots, iova, false, ret);
	ret = 0;
	for (i = 0; i < b->nr && !ret; i++, iova += PAGE_SIZE)
		ret = merge_mapped(m, b->slots + i, b->slots[i], iova, false,
				   map_leaf(domain, b->slots[i], iova, 1));
	/* Those that are left are for the next step. */
	for (; i < b->nr; i++)
		b->slots[i] = 0;
	return ret;
}

/* Return: 0, or -EAGAIN or -EINTR if some are left, from m->next on. */
static int end_batch(struct merge *m)
{
	struct batch b = m->batch;

	if (!b.nr)
		return 0;
	m->batch.nr = 0;
	if (b.prot)
		return map_batch(m, &b);
	unmap_batch(m->domain, &b);
	return 0;
}

/* Let the batch be one that the page at @iova can join. Return: as end_batch(). */
static inline int begin_batch(struct merge *m, u64 *slot, u64 iova,
			      unsigned int prot)
{
	struct batch *b = &m->batch;
	int ret = 0;

	if (b->nr) {
		if (b->prot == prot && b->slots + b->nr == slot &&
		    b->nr < (!prot || m->domain->splits ? MAX_BATCH : 1))
			return 0;
		ret = end_batch(m);
	}
	b->prot = prot;
	b->slots = slot;
	b->iova = iova;
	return ret;
}

static int batch_unmap(struct merge *m, u64 *slot, u64 iova)
{
	struct kviommu_domain *domain = m->domain;
	int ret = begin_batch(m, slot, iova, 0);

	if (ret)
		return ret;
	trace_kviommu_unmap(domain->unit->id, domain->did, iova, PAGE_SIZE);
	/* Before it may be flushed */
	if (slot_stale(*slot)) {
		kviommu_stale_dropped(domain->unit);
		*slot &= ~SLOT_STALE;
	}
	m->batch.nr++;
	return 0;
}

/* What was there is unmapped. */
static int batch_map(struct merge *m, u64 *slot, u64 want, u64 iova)
{
	struct kviommu_unit *unit = m->domain->unit;
	unsigned int prot = want & SLOT_PROT;
	struct batch *b = &m->batch;
	int ret, err;
	u64 pfn;

	*slot = 0;
	ret = begin_batch(m, slot, iova, prot);
	if (ret)
		return ret;
	ret = check_limits(m->domain, iova, 1);
	if (!ret)
		ret = get_frame(unit, slot_gfn(want), prot | KVIOMMU_READ, &pfn);
	if (ret || (b->nr && pfn != b->pfn + b->nr)) {
		err = end_batch(m);
		if (err && !ret)
			kviommu_pin_put(unit, slot_gfn(want));
		if (err)
			return err;
		*slot = want;
		if (ret)
			return merge_mapped(m, slot, want, iova, false, ret);
		/* There is none now. */
		begin_batch(m, slot, iova, prot);
	}
	*slot = want;
	if (!b->nr++)
		b->pfn = pfn;
	kviommu_count(unit, mapped, 1);
	return 0;
}

/*
 * All before @next is done. Let others have map_lock: memory may be revoked
 * meanwhile, so tables and SLOT_MAPPED have to be looked at anew; nodes are
 * freed by merges alone.
 */
static noinline int merge_pause(struct merge *m, u64 next)
{
	struct kviommu_unit *unit = m->domain->unit;
	int ret;

	ret = end_batch(m);
	if (ret)
		return ret;
	m->slice = 0;
	/* Tables of the way may be gone. */
	m->way = NULL;
	if (unit->in_poller) {
		m->next = next;
		return -EAGAIN;
	}
	mutex_unlock(&unit->map_lock);
	ret = kviommu_resched(unit);
	mutex_lock(&unit->map_lock);
	m->next = next;
	return m->whole ? 0 : ret;
}

static int merge_yield(struct merge *m, u64 next)
{
	return ++m->slice < MERGE_SLICE ? 0 : merge_pause(m, next);
}

/* A polling thread leaves to the worker what takes long in one go. */
static int too_large(const struct merge *m, u64 slot, unsigned int level)
{
	return m->domain->unit->in_poller && slot & SLOT_PROT && level > 2 ?
	       -EAGAIN : 0;
}

/*
 * Take down all that stands below a node, and the node. What is left, if that
 * has to be gone on with, is a node that all of has to be looked at.
 */
static int drop_node(struct merge *m, struct kviommu_node *node, u64 base,
		     unsigned int level)
{
	unsigned int i;
	int ret;

	node_drop_table(m->domain, node);
	for (i = 0; i < ENTRIES; i++) {
		u64 iova = base + ((u64)i << level_shift(level));
		struct kviommu_node *child;
		u64 slot;

		ret = merge_yield(m, iova);
		if (ret)
			return ret;
		slot = node->slots[i];
		child = slot_node(slot);
		if (slot_mapped(slot))
			m->slice += level_size(level) >> PAGE_SHIFT;
		if (level == 1 && slot_mapped(slot)) {
			/* It cannot fail: all of the batch is to be unmapped. */
			batch_unmap(m, &node->slots[i], iova);
			continue;
		}
		ret = child ? drop_node(m, child, iova, level - 1) :
			      too_large(m, slot, level);
		if (ret)
			return ret;
		if (!child)
			unmap_leaf(m->domain, slot, iova, level);
		node->slots[i] = 0;
	}
	end_batch(m);
	node_free(m->domain, node);
	return 0;
}

/* The piece of a leaf that an entry of the next level would be. */
static u64 leaf_piece(u64 leaf, unsigned int i, unsigned int level)
{
	return (leaf & (SLOT_ADDR | SLOT_PROT)) +
	       ((u64)i << level_shift(level));
}

static bool node_has_piece(struct kviommu_node *node, u64 leaf,
			   unsigned int level)
{
	unsigned int i;

	for (i = 0; i < ENTRIES; i++)
		if (node->slots[i] == (leaf_piece(leaf, i, level) |
				       SLOT_MAPPED) ||
		    slot_node(node->slots[i]))
			return true;
	return false;
}

static int merge_leaf(struct merge *m, u64 *slot, u64 want, u64 iova,
		      unsigned int level);

/*
 * The guest replaced a table by a leaf. What did not change for the device
 * must not be taken down, so the node stays and gets the pieces: all of them, though
 * the guest may have invalidated less.
 */
static int merge_pieces(struct merge *m, struct kviommu_node *node, u64 want,
			u64 iova, unsigned int level)
{
	unsigned int i;
	int ret = 0;

	m->end = max(m->end, iova + level_size(level + 1) - 1);
	node_drop_table(m->domain, node);
	for (i = 0; i < ENTRIES && !ret; i++) {
		u64 piece = leaf_piece(want, i, level);

		/*
		 * Is there, or was tried by a step before: that is no work, and no
		 * end of this step, or it would come no further.
		 */
		iova += level_size(level);
		if (node->slots[i] == (piece | SLOT_MAPPED) ||
		    ((node->slots[i] & ~SLOT_SPLIT) == piece && iova <= m->first))
			continue;
		ret = merge_leaf(m, &node->slots[i], piece,
				 iova - level_size(level), level);
		if (!ret)
			ret = merge_yield(m, iova);
	}
	return end_batch(m) ?: ret;
}

/* A leaf of which the host reserves a part: its pieces can be mapped. */
static int merge_around(struct merge *m, u64 *slot, u64 want, u64 iova,
			unsigned int level, bool told)
{
	struct kviommu_node *node = node_alloc(m->domain, iova, level - 1);

	if (IS_ERR(node)) {
		*slot |= SLOT_SPLIT;
		merge_error(m, iova, PTR_ERR(node), told ? 0 :
			    m->domain->unit->fe->fault_table);
		return 0;
	}
	*slot = (u64)node;
	return merge_pieces(m, node, want, iova, level - 1);
}

/* Can that be done by a mark? */
static bool merge_stale(struct merge *m, u64 *slot, u64 want, u64 iova)
{
	const struct kviommu_stale *stale = &m->domain->unit->stale;
	int tag;

	if (!stale->size)
		return false;
	if (!want && !slot_stale(*slot)) {
		/* To keep one may flush: not without what was stale and waits. */
		if (!m->batch.prot && !stale->pause)
			end_batch(m);
		tag = kviommu_stale_keep(m->domain, iova);
		if (tag < 0)
			return false;
		*slot |= SLOT_STALE | FIELD_PREP(SLOT_TAG, tag & 127);
		return true;
	}
	if (slot_stale(*slot) && want == (*slot & (SLOT_ADDR | SLOT_PROT))) {
		kviommu_stale_reuse(m->domain, iova);
		*slot = want | SLOT_MAPPED;
		return true;
	}
	return !want;
}

/* A leaf of 4 KiB. */
static int merge_page(struct merge *m, u64 *slot, u64 want, u64 iova)
{
	int ret, reserved;
	bool again;

	if (*slot == (want ? want | SLOT_MAPPED : 0))
		return 0;
	if (slot_mapped(*slot)) {
		if (merge_stale(m, slot, want, iova))
			return 0;
		m->slice++;
		ret = batch_unmap(m, slot, iova);
		if (ret || !want)
			return ret;
		if (m->collect) {
			m->replaced = min(m->replaced, iova);
			return 0;
		}
		end_batch(m);
	}
	/*
	 * What could not be mapped is tried again, but not much of it: the
	 * guest may ask for it as often as it likes.
	 */
	again = *slot == want;
	if (again && (m->second || (!m->refresh && m->failed >= MAX_FAILED)))
		return 0;
	m->slice++;
	*slot = want;
	if (!want)
		return 0;
	reserved = m->unreserved ? 0 :
		   kviommu_domain_reserved(m->domain, iova, iova + PAGE_SIZE - 1);
	if (!again && !reserved)
		return batch_map(m, slot, want, iova);
	/* What is to be unmapped makes room at a limit. */
	ret = end_batch(m);
	if (ret) {
		*slot = again ? want : 0;
		return ret;
	}
	return merge_mapped(m, slot, want, iova, again, reserved ?:
			    map_leaf(m->domain, want, iova, 1));
}

static int merge_leaf(struct merge *m, u64 *slot, u64 want, u64 iova,
		      unsigned int level)
{
	struct kviommu_node *node = slot_node(*slot);
	bool again, told;
	int reserved, ret;

	if (level == 1)
		return merge_page(m, slot, want, iova);
	if (*slot == (want ? want | SLOT_MAPPED : 0))
		return 0;
	reserved = kviommu_domain_reserved(m->domain, iova,
					   iova + level_size(level) - 1);
	if (node && want &&
	    (reserved > 0 || node_has_piece(node, want, level - 1)))
		return merge_pieces(m, node, want, iova, level - 1);
	if (node) {
		ret = drop_node(m, node, iova, level - 1);
		if (ret) {
			/* To be looked at again: what it became is to come. */
			m->next = iova;
			return ret;
		}
		*slot = 0;
		if (!want)
			return 0;
	}
	/* What could not be mapped is tried again by a refresh. */
	again = *slot == want;
	told = (*slot & ~SLOT_SPLIT) == want;
	if (again && !m->refresh)
		return 0;
	ret = too_large(m, *slot | want, reserved > 0 ? 3 : level);
	if (ret) {
		m->next = iova;
		return ret;
	}
	m->slice += level_size(level) >> PAGE_SHIFT;
	unmap_leaf(m->domain, *slot, iova, level);
	*slot = want;
	if (!want)
		return 0;
	if (reserved > 0)
		return merge_around(m, slot, want, iova, level, told);
	return merge_mapped(m, slot, want, iova, again, reserved ?:
			    map_leaf(m->domain, want, iova, level));
}

/*
 * The guest replaced a leaf by a table: does that say the same? Return: 1 if so,
 * 0, or -EAGAIN as kviommu_merge().
 */
static int table_is_leaf(struct merge *m, u64 gfn, u64 leaf,
			 unsigned int level, unsigned int prot)
{
	struct kviommu_unit *unit = m->domain->unit;
	struct kviommu_frontend *fe = unit->fe;
	struct kviommu_entry e;
	bool same = true;
	const u64 *table;
	unsigned int i;
	u64 pfn;
	int ret;

	ret = get_frame(unit, gfn, KVIOMMU_READ, &pfn);
	if (ret)
		return ret == -EAGAIN ? ret : 0;
	m->slice += ENTRIES;
	table = page_address(pfn_to_page(pfn));
	for (i = 0; same && i < ENTRIES; i++) {
		fe->decode(fe, READ_ONCE(table[i]), level, &e);
		same = e.leaf &&
		       (e.addr | (e.prot & prot)) == leaf_piece(leaf, i, level);
	}
	kviommu_pin_put(unit, gfn);
	return same;
}

static int merge_table(struct merge *m, u64 *slot, u64 gfn, u64 iova,
		       unsigned int level, unsigned int prot)
{
	struct kviommu_node *node = slot_node(*slot);
	struct kviommu_unit *unit = m->domain->unit;
	u64 first = m->first, last = m->last, end = m->end;
	bool again, split;
	int ret = 0;

	/* What a leaf gave has to come back in pieces, all of it. */
	if (node ? !node->table : *slot & SLOT_PROT) {
		m->first = iova;
		m->last = iova + level_size(level) - 1;
		m->end = max(end, m->last);
	}
	if (!node) {
		/* It is not often that a leaf becomes a table. */
		if (unit->in_poller && *slot)
			ret = -EAGAIN;
		else if (slot_mapped(*slot))
			ret = table_is_leaf(m, gfn, *slot, level - 1, prot);
		if (ret < 0)
			goto later;
		if (ret)
			goto out;
		unmap_leaf(m->domain, *slot, iova, level);
		split = *slot & SLOT_SPLIT;
		/* No leaf that the guest may come back to is like this. */
		*slot = *slot & SLOT_PROT ?
			(*slot & ~SLOT_MAPPED) | SLOT_SPLIT : 0;
		node = node_alloc(m->domain, iova, level - 1);
		if (node == ERR_PTR(-EAGAIN)) {
			ret = -EAGAIN;
			goto later;
		}
		if (IS_ERR(node)) {
			merge_error(m, iova, PTR_ERR(node),
				    split ? 0 : unit->fe->fault_table);
			goto out;
		}
	}
	again = !node->table && node->gfn == gfn;
	ret = node_set_table(m->domain, node, gfn);
	if (ret == -EAGAIN) {
		if (!slot_node(*slot))
			node_free(m->domain, node);
		goto later;
	}
	*slot = (u64)node;
	if (ret)
		merge_error(m, iova, ret, again ? 0 : unit->fe->fault_table);
	ret = merge_node(m, node, iova, level - 1, prot);
	if (ret)
		return ret;
out:
	m->first = first;
	m->last = last;
	m->end = end;
	return 0;

later:
	m->next = iova;
	return ret;
}

/* An entry that is wrong gets one fault, until the guest changes it. */
static int merge_invalid(struct merge *m, u64 *slot, u64 iova,
			 unsigned int level, u8 reason)
{
	int ret;

	if (*slot == SLOT_INVALID)
		return 0;
	ret = merge_leaf(m, slot, 0, iova, level) ?: end_batch(m);
	if (ret)
		return ret;
	unmap_leaf(m->domain, *slot, iova, level);
	*slot = SLOT_INVALID;
	kviommu_device_fault(m->domain, iova, reason);
	return 0;
}

static int merge_entry(struct merge *m, struct kviommu_node *node,
		       unsigned int i, u64 iova, unsigned int level,
		       unsigned int prot)
{
	struct kviommu_frontend *fe = m->domain->unit->fe;
	unsigned int n = m->domain->levels - level;
	struct kviommu_entry e = {};
	u64 val;

	if (node->table) {
		val = READ_ONCE(node->table[i]);
		fe->decode(fe, val, level, &e);
		if (level > 1 && m->way) {
			m->way->entry[n] = &node->table[i];
			m->way->val[n] = val;
		}
	}
	if (e.fault)
		return merge_invalid(m, &node->slots[i], iova, level, e.fault);
	prot &= e.prot;
	if (!prot)
		return merge_leaf(m, &node->slots[i], 0, iova, level);
	if (e.leaf)
		return merge_leaf(m, &node->slots[i], e.addr | prot, iova,
				  level);
	return merge_table(m, &node->slots[i], e.addr >> PAGE_SHIFT, iova,
			   level, prot);
}

static struct kviommu_walk *walk_to(struct kviommu_domain *domain, u64 iova)
{
	return &domain->walks[(iova >> level_shift(2)) % KVIOMMU_NR_WALKS];
}

/* The guest's tables have not changed on the way: so all that is known of it holds. */
static bool walk_holds(const struct kviommu_domain *domain,
		       const struct kviommu_walk *walk)
{
	unsigned int i;

	for (i = 0; i < domain->levels - 1; i++)
		if (READ_ONCE(*walk->entry[i]) != walk->val[i])
			return false;
	return true;
}

static int merge_node(struct merge *m, struct kviommu_node *node, u64 base,
		      unsigned int level, unsigned int prot)
{
	unsigned int shift = level_shift(level);
	unsigned int i = 0, end = ENTRIES - 1;
	u64 replaced;
	int ret = 0;

	if (level == 1 && m->way && node->table) {
		m->way->node = node;
		m->way->base = base;
		m->way->prot = prot;
		*walk_to(m->domain, base) = *m->way;
	}
	if (m->first > base)
		i = (m->first - base) >> shift;
	if ((m->last - base) >> shift < end)
		end = (m->last - base) >> shift;
	if (level == 1) {
		m->collect = true;
		m->unreserved = !kviommu_domain_reserved(m->domain, base,
							 base + level_size(2) - 1);
	}
	for (;;) {
		for (; i <= end && !ret; i++) {
			u64 iova = base + ((u64)i << shift);

			ret = merge_entry(m, node, i, iova, level, prot);
			if (!ret)
				ret = merge_yield(m, iova + level_size(level));
		}
		/* What that leaves comes before m->next. */
		ret = end_batch(m) ?: ret;
		replaced = m->replaced;
		m->replaced = NO_IOVA;
		m->collect = false;
		if (ret || replaced == NO_IOVA)
			break;
		m->second = true;
		i = (replaced - base) >> shift;
	}
	m->second = false;
	m->unreserved = false;
	m->next = min(m->next, replaced);
	return ret;
}

/**
 * kviommu_merge() - Bring a shadow in line with the guest's tables
 * @domain: The domain
 * @range: I/O virtual addresses, which may lie beyond the domain's width
 * @refresh: Try also those large leaves again that could not be mapped before
 *
 * What is taken down is not flushed, and stays pinned, until
 * kviommu_unit_flush(). What cannot be translated is counted and traced.
 *
 * Context: under unit->lock and map_lock, may sleep and let map_lock go in
 * between.
 * Return: 0; -EAGAIN when the time for this step is up, with what is left in
 * @range; -EINTR if a fatal signal is pending, and the shadow stays behind the
 * guest's tables in a part of the range.
 */
int kviommu_merge(struct kviommu_domain *domain, struct kviommu_range *range,
		  bool refresh)
{
	struct merge m = {
		.domain = domain,
		.first = range->first,
		.last = min3(range->last, level_size(domain->levels + 1) - 1,
			     (1ULL << domain->unit->aw_bits) - 1),
		.refresh = refresh,
		.replaced = NO_IOVA,
	};
	struct kviommu_walk *walk, way;
	bool again;
	int ret;

	lockdep_assert_held(&domain->unit->map_lock);

	m.end = m.last;
	if (m.first > m.last)
		return 0;
	walk = walk_to(domain, m.first);
	if (walk->node && m.first >= walk->base &&
	    m.last - walk->base < level_size(2) && walk_holds(domain, walk)) {
		ret = merge_node(&m, walk->node, walk->base, 1, walk->prot);
		goto out;
	}
	m.way = &way;
	if (!domain->root) {
		domain->root = node_alloc(domain, 0, domain->levels);
		if (domain->root == ERR_PTR(-EAGAIN)) {
			domain->root = NULL;
			return -EAGAIN;
		}
		if (IS_ERR(domain->root)) {
			merge_error(&m, 0, PTR_ERR(domain->root),
				    domain->unit->fe->fault_root);
			domain->root = NULL;
			return 0;
		}
	}
	again = !domain->root->table && domain->root->gfn != NO_GFN;
	ret = node_set_table(domain, domain->root, domain->pgtbl >> PAGE_SHIFT);
	if (ret == -EAGAIN)
		return ret;
	if (ret)
		merge_error(&m, 0, ret,
			    again ? 0 : domain->unit->fe->fault_root);
	ret = merge_node(&m, domain->root, 0, domain->levels, SLOT_PROT);
out:
	if (ret == -EAGAIN)
		*range = (struct kviommu_range){ m.next, m.end };
	return ret;
}

static void revoke_node(struct kviommu_domain *domain,
			struct kviommu_node *node, u64 base,
			unsigned int level, u64 first, u64 last)
{
	u64 nr = level_size(level) >> PAGE_SHIFT;
	unsigned int i;

	if (node->gfn >= first && node->gfn <= last)
		node_drop_table(domain, node);
	for (i = 0; i < ENTRIES; i++) {
		u64 iova = base + ((u64)i << level_shift(level));
		u64 slot = node->slots[i];
		struct kviommu_node *child = slot_node(slot);
		u64 gfn = slot_gfn(slot);

		if (child) {
			revoke_node(domain, child, iova, level - 1, first, last);
		} else if (slot_mapped(slot) && gfn <= last &&
			   gfn + nr > first) {
			unmap_leaf(domain, slot, iova, level);
			node->slots[i] = slot_stale(slot) ? 0 :
					 slot & ~SLOT_MAPPED;
		}
	}
	cond_resched();
}

/**
 * kviommu_merge_revoke() - Take down all translations to a range of memory
 * @domain: The domain
 * @first: First guest frame number
 * @last: Last guest frame number, inclusive
 *
 * They are tried again by the next merge, but for large leaves: these by a
 * refresh. As for kviommu_merge(), a flush has to follow.
 *
 * Context: under map_lock, may sleep.
 */
void kviommu_merge_revoke(struct kviommu_domain *domain, u64 first, u64 last)
{
	lockdep_assert_held(&domain->unit->map_lock);

	if (domain->root)
		revoke_node(domain, domain->root, 0, domain->levels, first,
			    last);
}

/**
 * kviommu_merge_end_stale() - Take down a translation that was kept
 * @domain: The domain
 * @iova: Its I/O virtual address
 * @tag: What kviommu_stale_keep() said of it
 *
 * As for kviommu_merge(), a flush has to follow.
 *
 * Context: under map_lock, may sleep.
 * Return: true if there was one.
 */
bool kviommu_merge_end_stale(struct kviommu_domain *domain, u64 iova, u32 tag)
{
	struct kviommu_node *node = domain->root;
	unsigned int level;
	u64 *slot = NULL;

	for (level = domain->levels; node && level; level--) {
		slot = &node->slots[iova >> level_shift(level) & (ENTRIES - 1)];
		node = slot_node(*slot);
	}
	if (level || !slot || !slot_stale(*slot) ||
	    FIELD_GET(SLOT_TAG, *slot) != (tag & 127))
		return false;
	unmap_leaf(domain, *slot, iova, 1);
	*slot = 0;
	return true;
}

/**
 * kviommu_merge_drop() - Take down all translations, and the shadow copy
 * @domain: The domain
 * @whole: Do not stop before the end
 *
 * As for kviommu_merge(), a flush has to follow.
 *
 * Context: under unit->lock and map_lock, may sleep and let map_lock go in
 * between.
 * Return: 0, or unless @whole -EAGAIN or -EINTR, as kviommu_merge().
 */
int kviommu_merge_drop(struct kviommu_domain *domain, bool whole)
{
	struct merge m = { .domain = domain, .whole = whole };
	int ret = 0;

	lockdep_assert_held(&domain->unit->map_lock);

	if (domain->root)
		ret = drop_node(&m, domain->root, 0, domain->levels);
	if (!ret)
		domain->root = NULL;
	return ret;
}

/**
 * kviommu_merge_bytes() - Host memory that shadow copies take
 * @unit: The unit
 *
 * Return: bytes.
 */
u64 kviommu_merge_bytes(const struct kviommu_unit *unit)
{
	return (unit->nr_nodes + unit->nr_spare) *
	       (PAGE_SIZE + sizeof(struct kviommu_node));
}

/**
 * kviommu_merge_free() - Free what is kept for shadow copies to come
 * @unit: The unit
 *
 * Context: under map_lock, or nobody uses the unit.
 */
void kviommu_merge_free(struct kviommu_unit *unit)
{
	while (unit->nr_spare)
		node_release(unit->spare[--unit->nr_spare]);
}

/*
 * What the guest's tables say now of the @i-th entry of a node, which stands at
 * @level; @e says it of the node, and then of the entry.
 */
static void guest_entry(const struct kviommu_frontend *fe,
			const struct kviommu_node *node, unsigned int i,
			unsigned int level, struct kviommu_entry *e)
{
	unsigned int prot = e->prot;

	if (e->leaf) {
		e->addr += (u64)i << level_shift(level);
		return;
	}
	if (!prot || !node->table || node->gfn != e->addr >> PAGE_SHIFT) {
		*e = (struct kviommu_entry){};
		return;
	}
	fe->decode(fe, READ_ONCE(node->table[i]), level, e);
	e->prot &= prot;
	if (e->fault || !e->prot)
		*e = (struct kviommu_entry){};
}

/* The slot that @leaf->iova belongs to. */
static void look_up(const struct kviommu_domain *domain,
		    struct kviommu_leaf *leaf)
{
	struct kviommu_entry *e = &leaf->guest;
	struct kviommu_node *node = domain->root;
	unsigned int level = domain->levels + 1;
	u64 slot = 0;

	*e = (struct kviommu_entry){ .prot = SLOT_PROT, .addr = domain->pgtbl };
	while (node) {
		unsigned int i;

		level--;
		i = leaf->iova >> level_shift(level) & (ENTRIES - 1);
		guest_entry(domain->unit->fe, node, i, level, e);
		slot = node->slots[i];
		node = slot_node(slot);
	}
	if (!e->leaf)
		*e = (struct kviommu_entry){};
	leaf->size = level_size(level);
	leaf->iova = ALIGN_DOWN(leaf->iova, leaf->size);
	leaf->prot = slot & SLOT_PROT;
	leaf->gpa = leaf->prot ? slot & SLOT_ADDR : 0;
	leaf->mapped = slot_mapped(slot);
	leaf->stale = slot_stale(slot);
}

/**
 * kviommu_merge_next() - Find the next leaf of the shadow copy
 * @domain: The domain
 * @leaf: Where to; its iova says where to begin
 *
 * Also finds leaves of the guest that the copy should have, but has not.
 *
 * Context: under unit->lock and map_lock.
 * Return: 1; 0 if there is none; -EAGAIN after a while, to be called again with
 * what stands in @leaf.
 */
int kviommu_merge_next(const struct kviommu_domain *domain,
		       struct kviommu_leaf *leaf)
{
	unsigned int n;

	lockdep_assert_held(&domain->unit->map_lock);

	for (n = 0; n < MERGE_SLICE; n++) {
		if (leaf->iova >= level_size(domain->levels + 1))
			return 0;
		look_up(domain, leaf);
		if (leaf->prot || leaf->guest.leaf)
			return 1;
		leaf->iova += leaf->size;
	}
	return -EAGAIN;
}
