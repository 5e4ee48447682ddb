// SPDX-License-Identifier: GPL-2.0-only
/*
 * The merge: walk the guest's tables and the shadow copy side by side over a range, and
 * apply the differences. A mapping that did not change is never touched, however wide
 * the range is, as DMA through it may be in flight.
 *
 * Each path to a table of the guest has a node of its own, even if several entries
 * point to the same table. So the limits on nodes and on mapped pages bound the work.
 */
#include <linux/bitfield.h>
#include <linux/err.h>

#include "shadow.h"

/* The part of a leaf that entry @i of a table at @level would have to map. */
static u64 leaf_piece(u64 leaf, unsigned int i, unsigned int level)
{
	return (leaf & (SLOT_ADDR | SLOT_PROT)) +
	       ((u64)i << level_shift(level));
}

/* Check whether a slot has a piece of a leaf, which is mapped or could not be. */
static bool slot_has_piece(u64 slot, u64 piece)
{
	return (slot & ~(SLOT_MAPPED | SLOT_SPLIT)) == piece;
}

static bool node_has_piece(struct kviommu_node *node, u64 leaf,
			   unsigned int level)
{
	unsigned int i;

	for (i = 0; i < ENTRIES; i++)
		if (slot_has_piece(node->slots[i], leaf_piece(leaf, i, level)) ||
		    slot_node(node->slots[i]))
			return true;
	return false;
}

static int merge_leaf(struct merge *m, u64 *slot, u64 want, u64 iova,
		      unsigned int level);
static int merge_node(struct merge *m, struct kviommu_node *node, u64 base,
		      unsigned int level, unsigned int prot);

/*
 * The guest replaced a table by a leaf. Mappings that did not change for the device
 * must not be unmapped, so the node stays and gets the pieces of the leaf: all of them,
 * even if the guest invalidated only a part.
 */
static int merge_pieces(struct merge *m, struct kviommu_node *node, u64 want,
			u64 iova, unsigned int level)
{
	unsigned int i;
	int ret = 0;

	m->end = max(m->end, iova + level_size(level + 1) - 1);
	kviommu_node_drop_table(m->shadow, m->work, node);
	for (i = 0; i < ENTRIES && !ret; i++) {
		u64 piece = leaf_piece(want, i, level);

		/*
		 * The piece is mapped, or was tried; as for the leaf itself, only a refresh
		 * tries it again. Neither counts as work that may end this step, or else the
		 * merge would make no progress.
		 */
		iova += level_size(level);
		if (slot_has_piece(node->slots[i], piece) &&
		    (slot_mapped(node->slots[i]) || !m->refresh || iova <= m->first))
			continue;
		ret = merge_leaf(m, &node->slots[i], piece,
				 iova - level_size(level), level);
		if (!ret)
			ret = kviommu_merge_yield(m, iova);
	}
	return kviommu_batch_end(m) ?: ret;
}

/* Check whether the guest has memory where a leaf leads to. This may sleep. */
static bool leaf_has_memory(const struct merge *m, u64 leaf, unsigned int level)
{
	u64 gfn = slot_gfn(leaf);
	struct kviommu_memory memory;

	return kviommu_kvm_memory(&m->shadow->xlate.unit->kvm, gfn, &memory) &&
	       memory.gfn - gfn < level_size(level) >> PAGE_SHIFT;
}

/*
 * The host reserves a part of the leaf, or the IOAS lacks a part or denies access to it, so
 * map the other pieces.
 */
static int merge_around(struct merge *m, u64 *slot, u64 want, u64 iova,
			unsigned int level, bool reported)
{
	struct kviommu_node *node = kviommu_node_alloc(m->shadow, m->work, iova, level - 1);

	if (IS_ERR(node)) {
		*slot |= SLOT_SPLIT;
		kviommu_merge_error(m, iova, PTR_ERR(node), reported ?
				    KVIOMMU_FAULT_NONE : KVIOMMU_FAULT_TABLE);
		return 0;
	}
	*slot = (u64)node;
	return merge_pieces(m, node, want, iova, level - 1);
}

/*
 * Optimistic strategy: try to apply a change of a mapped page by setting or clearing
 * SLOT_STALE only. Return true if nothing more is to be done.
 */
static bool merge_stale(struct merge *m, u64 *slot, u64 want, u64 iova)
{
	const struct kviommu_stale *stale = &m->shadow->xlate.unit->shadows.stale;
	int tag;

	if (!stale->size)
		return false;
	if (!want && !slot_stale(*slot)) {
		/* kviommu_stale_keep() may flush; unmap the pending batch first. */
		if (!m->batch.prot && !stale->pause)
			kviommu_batch_end(m);
		tag = kviommu_stale_keep(m->shadow, m->work, iova);
		if (tag < 0)
			return false;
		*slot |= SLOT_STALE | FIELD_PREP(SLOT_TAG, tag & 127);
		return true;
	}
	if (slot_stale(*slot) && want == (*slot & (SLOT_ADDR | SLOT_PROT))) {
		kviommu_stale_reuse(m->shadow, iova);
		*slot = want | SLOT_MAPPED;
		return true;
	}
	return !want;
}

/*
 * Add a page to the batch of pages to be mapped. Here and not in batch.c, so that it is
 * inlined: it is called for each page. Return: as kviommu_batch_end().
 */
static inline int merge_batch_map(struct merge *m, u64 *slot, u64 want, u64 iova)
{
	struct kviommu_unit *unit = m->shadow->xlate.unit;
	unsigned int prot = want & SLOT_PROT;
	struct batch *b = &m->batch;
	int ret, err;
	u64 pfn;

	*slot = 0;
	ret = batch_begin(m, slot, iova, prot);
	if (ret)
		return ret;
	ret = shadow_check_limits(m->shadow, m->work, iova, 1, b->nr);
	if (!ret)
		ret = shadow_get_frame(unit, m->work, slot_gfn(want), prot | KVIOMMU_READ, &pfn);
	if (ret || (b->nr && pfn != b->pfn + b->nr)) {
		err = kviommu_batch_end(m);
		if (err && !ret)
			kviommu_pin_put(unit, m->work, slot_gfn(want));
		if (err)
			return err;
		*slot = want;
		if (ret)
			return kviommu_merge_record(m, slot, want, iova, false, ret);
		/* The batch is empty now, so this cannot fail. */
		batch_begin(m, slot, iova, prot);
	}
	*slot = want;
	if (!b->nr++)
		b->pfn = pfn;
	return 0;
}

/* Apply a change of a 4 KiB leaf. */
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
		ret = kviommu_batch_unmap(m, slot, iova);
		if (ret || !want)
			return ret;
		if (m->collect) {
			m->replaced = min(m->replaced, iova);
			return 0;
		}
		kviommu_batch_end(m);
	}
	/*
	 * Try again what failed before, but with a limit, as the guest can request it as
	 * often as it likes.
	 */
	again = *slot == want;
	if (again && (m->second || (!m->refresh && m->failed >= MAX_FAILED)))
		return 0;
	m->slice++;
	*slot = want;
	if (!want)
		return 0;
	reserved = m->unreserved ? 0 :
		   kviommu_shadow_reserved(m->shadow, iova, iova + PAGE_SIZE - 1);
	if (!again && !reserved)
		return merge_batch_map(m, slot, want, iova);
	/* End the pending batch first: at a limit, the pages that it unmaps make room. */
	ret = kviommu_batch_end(m);
	if (ret) {
		*slot = again ? want : 0;
		return ret;
	}
	return kviommu_merge_record(m, slot, want, iova, again, reserved ?:
				    kviommu_map_leaf(m->shadow, m->work, want, iova, 1));
}

static int merge_leaf(struct merge *m, u64 *slot, u64 want, u64 iova,
		      unsigned int level)
{
	struct kviommu_node *node = slot_node(*slot);
	bool again, reported;
	int reserved, ret;

	if (level == 1)
		return merge_page(m, slot, want, iova);
	if (*slot == (want ? want | SLOT_MAPPED : 0))
		return 0;
	reserved = kviommu_shadow_reserved(m->shadow, iova,
					   iova + level_size(level) - 1);
	if (node && want &&
	    (reserved > 0 || node_has_piece(node, want, level - 1))) {
		/* Its slots are looked at, also if none differs. */
		m->slice += ENTRIES;
		return merge_pieces(m, node, want, iova, level - 1);
	}
	if (node) {
		ret = kviommu_drop_node(m, node, iova, level - 1);
		if (ret) {
			/* The next step has to drop the rest, then apply the new entry. */
			m->next = iova;
			return ret;
		}
		*slot = 0;
		if (!want)
			return 0;
	}
	/* Mapping a large leaf is costly, so only a refresh tries it again. */
	again = *slot == want;
	reported = (*slot & ~SLOT_SPLIT) == want;
	if (again && !m->refresh)
		return 0;
	ret = merge_too_large(m, *slot | want, reserved > 0 ? 3 : level);
	if (ret) {
		m->next = iova;
		return ret;
	}
	m->slice += level_size(level) >> PAGE_SHIFT;
	kviommu_unmap_leaf(m->shadow, m->work, *slot, iova, level);
	*slot = want;
	if (!want)
		return 0;
	if (reserved > 0)
		return merge_around(m, slot, want, iova, level, reported);
	ret = reserved ?: kviommu_map_leaf(m->shadow, m->work, want, iova, level);
	if (!reserved && (ret == -ENOENT || ret == -EPERM)) {
		if (!m->work->may_wait)
			ret = -EAGAIN;
		else if (leaf_has_memory(m, want, level))
			return merge_around(m, slot, want, iova, level, reported);
	}
	return kviommu_merge_record(m, slot, want, iova, again, ret);
}

/*
 * The guest replaced a leaf by a table. Return 1 if the table maps the same pages as the
 * leaf; 0 if not; -EAGAIN or -EINTR as kviommu_merge().
 */
static int table_equals_leaf(struct merge *m, u64 addr, u64 leaf, u64 iova,
			     unsigned int level, unsigned int prot)
{
	const struct kviommu_source *source = m->shadow->xlate.binding.source;
	struct kviommu_entry e;
	const void *table;
	bool same = true;
	unsigned int i;
	int ret;

	ret = kviommu_shadow_get_table(m->shadow, m->work, addr, &table);
	if (ret)
		return kviommu_unfinished(ret) ? ret : 0;
	m->slice += ENTRIES;
	for (i = 0; same && i < ENTRIES; i++) {
		kviommu_source_entry(source, table, i,
				     iova + ((u64)i << level_shift(level)), level, &e);
		same = e.leaf &&
		       (e.addr | (e.prot & prot)) == leaf_piece(leaf, i, level);
	}
	source->ops->put_table(source, m->shadow->xlate.unit, m->work, addr);
	return same;
}

static int merge_table(struct merge *m, u64 *slot, u64 addr, u64 iova,
		       unsigned int level, unsigned int prot)
{
	struct kviommu_node *node = slot_node(*slot);
	u64 first = m->first, last = m->last, end = m->end;
	bool again, split;
	int ret = 0;

	/* A leaf is replaced as a whole, so merge all of it and not only the range. */
	if (node ? !node->table : *slot & SLOT_PROT) {
		m->first = iova;
		m->last = iova + level_size(level) - 1;
		m->end = max(end, m->last);
	}
	if (!node) {
		/* A leaf rarely becomes a table, so leave that to a thread that may wait. */
		if (!m->work->may_wait && *slot)
			ret = -EAGAIN;
		else if (slot_mapped(*slot))
			ret = table_equals_leaf(m, addr, *slot, iova, level - 1, prot);
		if (ret < 0)
			goto later;
		if (ret)
			goto out;
		kviommu_unmap_leaf(m->shadow, m->work, *slot, iova, level);
		split = *slot & SLOT_SPLIT;
		/* With SLOT_SPLIT it differs from any leaf that the guest may restore. */
		*slot = *slot & SLOT_PROT ?
			(*slot & ~SLOT_MAPPED) | SLOT_SPLIT : 0;
		node = kviommu_node_alloc(m->shadow, m->work, iova, level - 1);
		if (node == ERR_PTR(-EAGAIN)) {
			ret = -EAGAIN;
			goto later;
		}
		if (IS_ERR(node)) {
			kviommu_merge_error(m, iova, PTR_ERR(node),
					    split ? KVIOMMU_FAULT_NONE :
						    KVIOMMU_FAULT_TABLE);
			goto out;
		}
	}
	again = !node->table && node->addr == addr;
	ret = kviommu_node_set_table(m->shadow, m->work, node, addr);
	if (kviommu_unfinished(ret)) {
		if (!slot_node(*slot))
			kviommu_node_free(m->shadow, m->work, node);
		goto later;
	}
	*slot = (u64)node;
	if (ret)
		kviommu_merge_error(m, iova, ret, again ? KVIOMMU_FAULT_NONE :
							  KVIOMMU_FAULT_TABLE);
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

/* The guest gets one fault for an invalid entry, until it changes the entry. */
static int merge_invalid(struct merge *m, u64 *slot, u64 iova,
			 unsigned int level, enum kviommu_fault reason)
{
	struct kviommu_unit *unit = m->shadow->xlate.unit;
	int ret;

	if (*slot == SLOT_INVALID)
		return 0;
	ret = merge_leaf(m, slot, 0, iova, level) ?: kviommu_batch_end(m);
	if (ret)
		return ret;
	kviommu_unmap_leaf(m->shadow, m->work, *slot, iova, level);
	*slot = SLOT_INVALID;
	unit->up->fault(&m->shadow->xlate, iova, reason);
	return 0;
}

static int merge_entry(struct merge *m, struct kviommu_node *node,
		       unsigned int i, u64 iova, unsigned int level,
		       unsigned int prot)
{
	const struct kviommu_binding *b = &m->shadow->xlate.binding;
	struct kviommu_entry e = {};
	u64 val;

	if (node->table) {
		val = kviommu_source_entry(b->source, node->table, i, iova, level, &e);
		if (level > 1 && m->path) {
			m->path->entry[b->levels - level] = (const u64 *)node->table + i;
			m->path->val[b->levels - level] = val;
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
	return merge_table(m, &node->slots[i], e.addr, iova, level, prot);
}

static struct leaf_table_cache *leaf_table_cached(struct kviommu_shadow *shadow, u64 iova)
{
	return &shadow->leaf_tables[(iova >> level_shift(2)) % NR_LEAF_TABLES];
}

/* The entries on the cached path are unchanged, so the path is still valid. */
static bool leaf_table_valid(const struct kviommu_shadow *shadow,
			     const struct leaf_table_cache *path)
{
	unsigned int i;

	for (i = 0; i < shadow->xlate.binding.levels - 1; i++)
		if (READ_ONCE(*path->entry[i]) != path->val[i])
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

	if (level == 1 && m->path && node->table) {
		m->path->node = node;
		m->path->base = base;
		m->path->prot = prot;
		*leaf_table_cached(m->shadow, base) = *m->path;
	}
	if (m->first > base)
		i = (m->first - base) >> shift;
	if ((m->last - base) >> shift < end)
		end = (m->last - base) >> shift;
	if (level == 1) {
		m->collect = true;
		m->unreserved = !kviommu_shadow_reserved(m->shadow, base,
							 base + level_size(2) - 1);
	}
	for (;;) {
		for (; i <= end && !ret; i++) {
			u64 iova = base + ((u64)i << shift);

			ret = merge_entry(m, node, i, iova, level, prot);
			if (!ret)
				ret = kviommu_merge_yield(m, iova + level_size(level));
		}
		/* The batch's pages are before m->next, which moves back to them on error. */
		ret = kviommu_batch_end(m) ?: ret;
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
 * @shadow: The shadow
 * @work: The piece of work that this is part of
 * @range: I/O virtual addresses, which may exceed the shadow's width
 * @refresh: Try again to map the large leaves that failed before, too
 *
 * What is unmapped is not flushed, and stays pinned, until kviommu_iotlb_sync(). Mappings
 * that fail are counted and traced.
 *
 * Context: process context, under unit->lock and map_lock; may sleep and drop map_lock in
 * between if @work may wait.
 * Return: 0; -EAGAIN when the time of this step is up, or -EINTR if a fatal signal is
 * pending, with the rest in @range.
 */
int kviommu_merge(struct kviommu_shadow *shadow, const struct kviommu_work *work,
		  struct kviommu_range *range, bool refresh)
{
	const struct kviommu_binding *b = &shadow->xlate.binding;
	struct merge m = {
		.shadow = shadow,
		.work = work,
		.first = range->first,
		.last = min3(range->last, level_size(b->levels + 1) - 1,
			     (1ULL << shadow->xlate.unit->aw_bits) - 1),
		.refresh = refresh,
		.replaced = NO_IOVA,
	};
	struct leaf_table_cache *cached, path;
	bool again;
	int ret;

	lockdep_assert_held(&shadow->xlate.unit->map_lock);

	m.end = m.last;
	if (m.first > m.last)
		return 0;
	cached = leaf_table_cached(shadow, m.first);
	if (cached->node && m.first >= cached->base &&
	    m.last - cached->base < level_size(2) && leaf_table_valid(shadow, cached)) {
		ret = merge_node(&m, cached->node, cached->base, 1, cached->prot);
		goto out;
	}
	if (kviommu_source_is_radix(b->source))
		m.path = &path;
	if (!shadow->root) {
		shadow->root = kviommu_node_alloc(shadow, work, 0, b->levels);
		if (shadow->root == ERR_PTR(-EAGAIN)) {
			shadow->root = NULL;
			return -EAGAIN;
		}
		if (IS_ERR(shadow->root)) {
			kviommu_merge_error(&m, 0, PTR_ERR(shadow->root),
					    KVIOMMU_FAULT_ROOT);
			shadow->root = NULL;
			return 0;
		}
	}
	again = !shadow->root->table && shadow->root->addr != NO_ADDR;
	ret = kviommu_node_set_table(shadow, work, shadow->root, b->root);
	if (kviommu_unfinished(ret))
		return ret;
	if (ret)
		kviommu_merge_error(&m, 0, ret, again ? KVIOMMU_FAULT_NONE :
							KVIOMMU_FAULT_ROOT);
	ret = merge_node(&m, shadow->root, 0, b->levels, SLOT_PROT);
out:
	kviommu_merge_spend(&m);
	if (kviommu_unfinished(ret))
		*range = (struct kviommu_range){ m.next, m.end };
	return ret;
}
