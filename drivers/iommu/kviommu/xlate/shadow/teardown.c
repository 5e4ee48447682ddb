// SPDX-License-Identifier: GPL-2.0-only
/*
 * Removal of mappings: below a node, to revoked memory, of an unused shadow, and of
 * stale mappings.
 */
#include <linux/bitfield.h>
#include <linux/minmax.h>
#include <linux/sched.h>

#include "shadow.h"

/**
 * kviommu_merge_pause() - Drop map_lock for a moment, for others
 * @m: The merge
 * @next: First I/O virtual address that is not done
 *
 * Memory may be revoked meanwhile, so the caller must read tables and SLOT_MAPPED again.
 * Nodes are only freed by merges, so pointers to them stay valid.
 *
 * Context: process context, under unit->lock and map_lock, which is dropped if the piece
 * of work may wait.
 * Return: 0; -EAGAIN or -EINTR if the merge is to end here, with m->next set.
 */
int kviommu_merge_pause(struct merge *m, u64 next)
{
	struct kviommu_unit *unit = m->shadow->xlate.unit;
	int ret;

	kviommu_merge_spend(m);
	/* A thread that may not wait keeps map_lock until its deadline. */
	if (!m->work->may_wait && !kviommu_time_up(m->work)) {
		m->slice = 0;
		return 0;
	}
	ret = kviommu_batch_end(m);
	if (ret)
		return ret;
	m->slice = 0;
	/* Tables on the path may be revoked. */
	m->path = NULL;
	if (!m->work->may_wait) {
		m->next = next;
		return -EAGAIN;
	}
	mutex_unlock(&unit->map_lock);
	ret = kviommu_resched(unit, m->work);
	mutex_lock(&unit->map_lock);
	m->next = next;
	return ret;
}

/**
 * kviommu_drop_node() - Unmap everything below a node and free the node
 * @m: The merge
 * @node: The node
 * @base: First I/O virtual address that the node translates
 * @level: Level of the node's table; 1 is the last
 *
 * If interrupted, the node keeps its place without a table and must be rescanned in full.
 *
 * Context: process context, under unit->lock and map_lock; may sleep and drop map_lock as
 * kviommu_merge_pause().
 * Return: 0, or -EAGAIN or -EINTR as kviommu_merge().
 */
int kviommu_drop_node(struct merge *m, struct kviommu_node *node, u64 base,
		      unsigned int level)
{
	unsigned int i;
	int ret;

	kviommu_node_drop_table(m->shadow, m->work, node);
	for (i = 0; i < ENTRIES; i++) {
		u64 iova = base + ((u64)i << level_shift(level));
		struct kviommu_node *child;
		u64 slot;

		ret = kviommu_merge_yield(m, iova);
		if (ret)
			return ret;
		slot = node->slots[i];
		child = slot_node(slot);
		if (slot_mapped(slot))
			m->slice += level_size(level) >> PAGE_SHIFT;
		if (level == 1 && slot_mapped(slot)) {
			/* This cannot fail, as all of the batch is to be unmapped. */
			kviommu_batch_unmap(m, &node->slots[i], iova);
			continue;
		}
		ret = child ? kviommu_drop_node(m, child, iova, level - 1) :
			      merge_too_large(m, slot, level);
		if (ret)
			return ret;
		if (!child)
			kviommu_unmap_leaf(m->shadow, m->work, slot, iova, level);
		node->slots[i] = 0;
	}
	kviommu_batch_end(m);
	kviommu_node_free(m->shadow, m->work, node);
	return 0;
}

/* The node's table is in guest memory and one of the frames from @first to @last. */
static bool node_table_within(struct kviommu_shadow *shadow, struct kviommu_node *node,
			      u64 first, u64 last)
{
	return kviommu_source_is_radix(shadow->xlate.binding.source) &&
	       node->addr >> PAGE_SHIFT >= first && node->addr >> PAGE_SHIFT <= last;
}

/* Have the worker map what is left of a leaf. */
static void shadow_lose(struct kviommu_shadow *shadow, u64 first, u64 last)
{
	struct kviommu_range *lost = &shadow->lost;

	lost->first = min(lost->first, first);
	lost->last = max(lost->last, last);
	WRITE_ONCE(shadow->xlate.unit->shadows.lost, true);
	kviommu_wake(shadow->xlate.unit, 0);
}

static void node_revoke(struct kviommu_shadow *shadow,
			struct kviommu_node *node, u64 base,
			unsigned int level, u64 first, u64 last)
{
	u64 nr = level_size(level) >> PAGE_SHIFT;
	unsigned int i;

	if (node_table_within(shadow, node, first, last))
		kviommu_node_drop_table(shadow, &kviommu_work_whole, node);
	for (i = 0; i < ENTRIES; i++) {
		u64 iova = base + ((u64)i << level_shift(level));
		u64 slot = node->slots[i];
		struct kviommu_node *child = slot_node(slot);
		u64 gfn = slot_gfn(slot);

		if (child) {
			node_revoke(shadow, child, iova, level - 1, first, last);
		} else if (slot_mapped(slot) && gfn <= last &&
			   gfn + nr > first) {
			kviommu_unmap_leaf(shadow, &kviommu_work_whole, slot, iova,
					   level);
			if (gfn < first || gfn + nr - 1 > last)
				shadow_lose(shadow, iova, iova + level_size(level) - 1);
			node->slots[i] = slot_stale(slot) ? 0 :
					 slot & ~SLOT_MAPPED;
		}
	}
	cond_resched();
}

/**
 * kviommu_shadow_revoke() - Unmap everything that maps a range of guest memory
 * @shadow: The shadow
 * @first: First guest frame number
 * @last: Last guest frame number, inclusive
 *
 * The next merge tries to map 4 KiB pages again, a refresh also large leaves. The worker
 * maps what is left of those that the range has a part of. kviommu_iotlb_sync() has to follow.
 *
 * Context: process context, under map_lock; may sleep.
 */
void kviommu_shadow_revoke(struct kviommu_shadow *shadow, u64 first, u64 last)
{
	lockdep_assert_held(&shadow->xlate.unit->map_lock);

	if (shadow->root)
		node_revoke(shadow, shadow->root, 0, shadow->xlate.binding.levels, first,
			    last);
}

/**
 * kviommu_shadow_end_stale() - Unmap a stale page
 * @shadow: The shadow
 * @work: The piece of work that this is part of
 * @iova: I/O virtual address of the page
 * @tag: The tag from kviommu_stale_keep()
 *
 * kviommu_iotlb_sync() has to follow.
 *
 * Context: process context, under map_lock; may sleep.
 * Return: true if the page was stale with this tag.
 */
bool kviommu_shadow_end_stale(struct kviommu_shadow *shadow,
			      const struct kviommu_work *work, u64 iova, u32 tag)
{
	struct kviommu_node *node = shadow->root;
	unsigned int level;
	u64 *slot = NULL;

	for (level = shadow->xlate.binding.levels; node && level; level--) {
		slot = &node->slots[iova >> level_shift(level) & (ENTRIES - 1)];
		node = slot_node(*slot);
	}
	if (level || !slot || !slot_stale(*slot) ||
	    FIELD_GET(SLOT_TAG, *slot) != (tag & 127))
		return false;
	kviommu_unmap_leaf(shadow, work, *slot, iova, 1);
	*slot = 0;
	return true;
}

/**
 * kviommu_shadow_take_down() - Unmap all of a shadow and free its shadow copy
 * @shadow: The shadow
 * @work: The piece of work that this is part of
 *
 * kviommu_iotlb_sync() has to follow.
 *
 * Context: process context, under unit->lock and map_lock; may sleep and drop map_lock in
 * between if @work may wait.
 * Return: 0, or -EAGAIN or -EINTR as kviommu_merge().
 */
int kviommu_shadow_take_down(struct kviommu_shadow *shadow,
			     const struct kviommu_work *work)
{
	struct merge m = { .shadow = shadow, .work = work };
	int ret = 0;

	lockdep_assert_held(&shadow->xlate.unit->map_lock);

	if (shadow->root)
		ret = kviommu_drop_node(&m, shadow->root, 0, shadow->xlate.binding.levels);
	if (!ret)
		shadow->root = NULL;
	return ret;
}
