// SPDX-License-Identifier: GPL-2.0-only
/*
 * Translations that go as a whole: below a node, of memory that is revoked, of a
 * shadow that nothing uses, and those that were kept.
 */
#include <linux/bitfield.h>
#include <linux/sched.h>

#include "shadow.h"

/**
 * kviommu_merge_pause() - Let others have map_lock
 * @m: The merge
 * @next: First I/O virtual address that is not done
 *
 * Memory may be revoked meanwhile, so tables and SLOT_MAPPED have to be looked at
 * anew; nodes are freed by merges alone.
 *
 * Context: under unit->lock and map_lock.
 * Return: 0; -EAGAIN or -EINTR if the merge is to end here, with @next in m->next.
 */
int kviommu_merge_pause(struct merge *m, u64 next)
{
	struct kviommu_unit *unit = m->shadow->xlate.unit;
	int ret;

	/* It has the lock for as long as its work may take. */
	if (!m->work->may_wait && !kviommu_time_up(m->work)) {
		m->slice = 0;
		return 0;
	}
	ret = kviommu_batch_end(m);
	if (ret)
		return ret;
	m->slice = 0;
	/* Tables of the way may be gone. */
	m->way = NULL;
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
 * kviommu_drop_node() - Take down all that stands below a node, and the node
 * @m: The merge
 * @node: The node
 * @base: First I/O virtual address that it translates
 * @level: Level of its entries
 *
 * If interrupted, the node keeps its place without a table and must be rescanned in
 * full.
 *
 * Context: under unit->lock and map_lock.
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
			/* It cannot fail: all of the batch is to be unmapped. */
			kviommu_batch_unmap(m, &node->slots[i], iova);
			continue;
		}
		ret = child ? kviommu_drop_node(m, child, iova, level - 1) :
			      too_large(m, slot, level);
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

/* Is the node's table a page of guest memory, from @first to @last? */
static bool table_within(struct kviommu_shadow *shadow, struct kviommu_node *node,
			 u64 first, u64 last)
{
	return kviommu_source_is_radix(shadow->xlate.binding.source) &&
	       node->addr >> PAGE_SHIFT >= first && node->addr >> PAGE_SHIFT <= last;
}

static void revoke_node(struct kviommu_shadow *shadow,
			struct kviommu_node *node, u64 base,
			unsigned int level, u64 first, u64 last)
{
	u64 nr = level_size(level) >> PAGE_SHIFT;
	unsigned int i;

	if (table_within(shadow, node, first, last))
		kviommu_node_drop_table(shadow, &kviommu_work_whole, node);
	for (i = 0; i < ENTRIES; i++) {
		u64 iova = base + ((u64)i << level_shift(level));
		u64 slot = node->slots[i];
		struct kviommu_node *child = slot_node(slot);
		u64 gfn = slot_gfn(slot);

		if (child) {
			revoke_node(shadow, child, iova, level - 1, first, last);
		} else if (slot_mapped(slot) && gfn <= last &&
			   gfn + nr > first) {
			kviommu_unmap_leaf(shadow, &kviommu_work_whole, slot, iova,
					   level);
			node->slots[i] = slot_stale(slot) ? 0 :
					 slot & ~SLOT_MAPPED;
		}
	}
	cond_resched();
}

/**
 * kviommu_shadow_revoke() - Take down all translations to a range of memory
 * @shadow: The shadow
 * @first: First guest frame number
 * @last: Last guest frame number, inclusive
 *
 * They are tried again by the next merge, but for large leaves: these by a
 * refresh. As for kviommu_merge(), a flush has to follow.
 *
 * Context: under map_lock, may sleep.
 */
void kviommu_shadow_revoke(struct kviommu_shadow *shadow, u64 first, u64 last)
{
	lockdep_assert_held(&shadow->xlate.unit->map_lock);

	if (shadow->root)
		revoke_node(shadow, shadow->root, 0, shadow->xlate.binding.levels, first,
			    last);
}

/**
 * kviommu_shadow_end_stale() - Take down a translation that was kept
 * @shadow: The shadow
 * @iova: Its I/O virtual address
 * @tag: What kviommu_stale_keep() said of it
 *
 * As for kviommu_merge(), a flush has to follow.
 *
 * Context: under map_lock, may sleep.
 * Return: true if there was one.
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
 * kviommu_shadow_take_down() - Take down all translations, and the shadow copy
 * @shadow: The shadow
 * @work: The piece of work that this is part of
 *
 * As for kviommu_merge(), a flush has to follow.
 *
 * Context: under unit->lock and map_lock, may sleep and let map_lock go in
 * between.
 * Return: 0, or -EAGAIN or -EINTR, as kviommu_merge().
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
