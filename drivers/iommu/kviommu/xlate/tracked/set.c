// SPDX-License-Identifier: GPL-2.0-only
/*
 * The frames that the guest has asked for: pinned, and mapped by all tracked translations of
 * the unit. Frames are unpinned in batches, of which each needs one flush.
 */
#include <linux/err.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "api.h"
#include "tracked.h"
#include "../../base/trace.h"
#include "../../mem/mem.h"

/**
 * kviommu_tracked_find() - Find a leaf
 * @unit: The unit
 * @index: Index to begin at; set to that of the leaf
 * @last: Last index, inclusive
 *
 * Context: under map_lock.
 * Return: the first leaf from there on, or NULL.
 */
struct tracked_leaf *kviommu_tracked_find(struct kviommu_unit *unit, unsigned long *index,
					  unsigned long last)
{
	return xa_find(&unit->tracked.leaves, index, last, XA_PRESENT);
}

static struct tracked_leaf *leaf_get(struct kviommu_unit *unit, u64 gfn)
{
	struct kviommu_tracked_state *s = &unit->tracked;
	unsigned long index = gfn >> DTT_WORD_BITS;
	struct tracked_leaf *leaf = xa_load(&s->leaves, index);
	int ret;

	if (leaf)
		return leaf;
	leaf = kzalloc_obj(*leaf, KVIOMMU_GFP);
	if (!leaf)
		return ERR_PTR(-ENOMEM);
	leaf->index = index;
	ret = xa_err(xa_store(&s->leaves, index, leaf, KVIOMMU_GFP));
	if (ret) {
		kfree(leaf);
		return ERR_PTR(ret);
	}
	s->nr_leaves++;
	return leaf;
}

/**
 * kviommu_leaf_put() - Free a leaf if nothing of it is pinned or lost
 * @unit: The unit
 * @leaf: The leaf
 *
 * Context: under map_lock.
 */
void kviommu_leaf_put(struct kviommu_unit *unit, struct tracked_leaf *leaf)
{
	if (leaf->nr || xa_get_mark(&unit->tracked.leaves, leaf->index, TRACKED_HAS_LOST))
		return;
	xa_erase(&unit->tracked.leaves, leaf->index);
	unit->tracked.nr_leaves--;
	kfree(leaf);
}

static bool tracked_reserved(const struct kviommu_tracked *t, u64 iova)
{
	const struct kviommu_reserved *r = &t->reserved;
	unsigned int i;

	for (i = 0; i < r->nr; i++)
		if (iova >= r->range[i].first && iova <= r->range[i].last)
			return true;
	return false;
}

/**
 * kviommu_tracked_map() - Map a frame in one translation
 * @t: The translation
 * @gfn: Guest frame number
 * @pfn: Host frame number; it is pinned
 *
 * Context: process context, under map_lock; may sleep.
 * Return: 0; -ERANGE if the physical IOMMU does not translate the address, or reserves it;
 * -ENOMEM, or another error of its driver.
 */
int kviommu_tracked_map(struct kviommu_tracked *t, u64 gfn, u64 pfn)
{
	u64 iova = PFN_PHYS(gfn);
	int ret;

	if (iova > kviommu_hw_last(t->hw) || tracked_reserved(t, iova))
		return -ERANGE;
	ret = kviommu_hw_map(t->hw, iova, pfn, 1, IOMMU_READ | IOMMU_WRITE, NULL);
	if (ret)
		return ret;
	WRITE_ONCE(t->mapped, t->mapped + 1);
	kviommu_count(t->xlate.unit, mapped, 1);
	return 0;
}

static bool tracked_unmap_run(struct kviommu_tracked *t, u64 gfn, u64 nr)
{
	u64 size = nr << PAGE_SHIFT;

	/* All of it was mapped, so this is a bug of the IOMMU's driver. */
	if (WARN_ON_ONCE(kviommu_hw_unmap(t->hw, PFN_PHYS(gfn), size, &t->unflushed) != size))
		return false;
	WRITE_ONCE(t->mapped, t->mapped - nr);
	kviommu_count(t->xlate.unit, mapped, -nr);
	return true;
}

/**
 * kviommu_tracked_unmap() - Unmap frames in one translation
 * @t: The translation
 * @gfn: First guest frame number
 * @nr: Number of frames, all of one leaf
 *
 * kviommu_tracked_flush() has to follow.
 *
 * Context: process context, under map_lock.
 * Return: true if none of them is mapped any more; otherwise they must stay pinned.
 */
bool kviommu_tracked_unmap(struct kviommu_tracked *t, u64 gfn, u64 nr)
{
	bool gone = true;

	if (gfn >> DTT_WORD_BITS < t->taken_down)
		return true;
	if (!t->partial)
		return tracked_unmap_run(t, gfn, nr);
	for (; nr; gfn++, nr--)
		if (kviommu_hw_phys(t->hw, PFN_PHYS(gfn)))
			gone &= tracked_unmap_run(t, gfn, 1);
	return gone;
}

/**
 * kviommu_tracked_flush() - Flush what was unmapped in one translation, if anything was
 * @t: The translation
 *
 * Context: process context, under map_lock.
 */
void kviommu_tracked_flush(struct kviommu_tracked *t)
{
	if (t->unflushed.first > t->unflushed.last)
		return;
	kviommu_hw_sync(t->hw, &t->unflushed);
	kviommu_count(t->xlate.unit, syncs, 1);
}

/*
 * Map a pinned frame in all translations that devices use. If one of them fails it is in none,
 * and not used any more.
 */
static int tracked_map_all(struct kviommu_unit *unit, u64 gfn, u64 pfn)
{
	struct kviommu_xlate *xlate, *undo;
	bool gone = true;
	int ret;

	list_for_each_entry(xlate, &unit->xlates, entry) {
		if (xlate->ops != &kviommu_tracked_ops)
			continue;
		/* One without users is being taken down. */
		if (!xlate->users) {
			to_tracked(xlate)->partial = true;
			continue;
		}
		ret = kviommu_tracked_map(to_tracked(xlate), gfn, pfn);
		if (ret)
			goto unmap;
	}
	return 0;

unmap:
	list_for_each_entry(undo, &unit->xlates, entry) {
		if (undo == xlate)
			break;
		if (undo->ops != &kviommu_tracked_ops || !undo->users)
			continue;
		gone &= kviommu_tracked_unmap(to_tracked(undo), gfn, 1);
		kviommu_tracked_flush(to_tracked(undo));
	}
	/* Otherwise it stays pinned until the unit's domains are freed. */
	if (gone)
		kviommu_pin_discard(unit, gfn);
	return ret;
}

static int tracked_pin_new(struct kviommu_unit *unit, const struct kviommu_work *work,
			   struct tracked_leaf *leaf, u64 gfn)
{
	u64 pfn;
	int ret;

	/* The table may be pinned beyond the limit; for a device it counts. */
	if (kviommu_dtt_has(unit, gfn) && unit->pins.pinned > unit->policy.max_pins)
		return -EDQUOT;
	ret = kviommu_pin_get(unit, work, gfn, KVIOMMU_READ | KVIOMMU_WRITE, &pfn);
	if (ret)
		return ret;
	ret = tracked_map_all(unit, gfn, pfn);
	if (ret)
		return ret;
	trace_kviommu_map(unit->id, 0, PFN_PHYS(gfn), gfn, 1, KVIOMMU_READ | KVIOMMU_WRITE);
	kviommu_count(unit, maps, 1);
	__set_bit(gfn & (DTT_WORDS - 1), leaf->pinned);
	leaf->nr++;
	WRITE_ONCE(unit->tracked.pinned, unit->tracked.pinned + 1);
	if (!unit->tracked.ticking)
		kviommu_tracked_schedule(unit);
	return 0;
}

static int tracked_pin(struct kviommu_unit *unit, const struct kviommu_work *work, u64 gfn)
{
	struct tracked_leaf *leaf;
	u32 *word;
	int ret;

	ret = kviommu_dtt_open(unit, work, gfn, &word);
	if (ret)
		return ret;
	leaf = leaf_get(unit, gfn);
	if (IS_ERR(leaf))
		return PTR_ERR(leaf);
	/* The guest may take another frame of the same mapping for pinned. */
	if (!bitmap_empty(leaf->lost, DTT_WORDS))
		kviommu_leaf_tell(unit, leaf, word - (gfn & (DTT_WORDS - 1)));
	/* What the word says does not count: the guest may write anything there. */
	if (!test_bit(gfn & (DTT_WORDS - 1), leaf->pinned))
		ret = tracked_pin_new(unit, work, leaf, gfn);
	if (ret) {
		kviommu_leaf_put(unit, leaf);
		return ret;
	}
	kviommu_dtt_mark(word);
	return 0;
}

/**
 * kviommu_tracked_pin() - Let devices reach a frame that the guest asks for
 * @unit: The unit, in which the guest has activated its table
 * @work: The piece of work that this is part of
 * @gfn: Guest frame number
 *
 * At a limit frames that are not in use have to go.
 *
 * Context: process context, under unit->lock and map_lock; may sleep if @work may wait.
 * Return: 0, also if they reach it already; -EAGAIN or -EINTR to be called again; an error of
 * kviommu_dtt_open(), kviommu_pin_get() or kviommu_tracked_map().
 */
int kviommu_tracked_pin(struct kviommu_unit *unit, const struct kviommu_work *work, u64 gfn)
{
	int ret, err;

	if (!work->may_wait)
		return -EAGAIN;
	if (gfn >> (unit->aw_bits - PAGE_SHIFT))
		return -ERANGE;
	for (;;) {
		ret = tracked_pin(unit, work, gfn);
		if (ret != -EDQUOT && ret != -ENOMEM)
			break;
		err = kviommu_tracked_reclaim(unit, work);
		if (kviommu_unfinished(err))
			return err;
		if (err)
			break;
		/* More may have to go than there is time for. */
		err = kviommu_resched(unit, work);
		if (err)
			return err;
	}
	unit->tracked.hand_left = 0;
	return ret;
}

/* Unmap the frames of a batch from @i on that are neighbours. Return: how many there are. */
static unsigned int batch_unmap(struct kviommu_unit *unit, unsigned int i)
{
	struct kviommu_tracked_state *s = &unit->tracked;
	struct kviommu_xlate *xlate;
	u64 gfn = s->batch[i];
	unsigned int n, j;
	bool gone = true;

	for (n = 1; i + n < s->nr_batch && s->batch[i + n] == gfn + n; n++)
		;
	trace_kviommu_unmap(unit->id, 0, PFN_PHYS(gfn), (u64)n << PAGE_SHIFT);
	list_for_each_entry(xlate, &unit->xlates, entry)
		if (xlate->ops == &kviommu_tracked_ops)
			gone &= kviommu_tracked_unmap(to_tracked(xlate), gfn, n);
	for (j = i; !gone && j < i + n; j++)
		s->batch[j] = KVIOMMU_NO_GFN;
	return n;
}

/**
 * kviommu_tracked_unpin_end() - Unmap, flush and unpin the frames of the pending batch
 * @unit: The unit
 * @leaf: Their leaf; the caller calls kviommu_leaf_put() when it is done with it
 *
 * Context: process context, under map_lock; may sleep.
 */
void kviommu_tracked_unpin_end(struct kviommu_unit *unit, struct tracked_leaf *leaf)
{
	struct kviommu_tracked_state *s = &unit->tracked;
	struct kviommu_xlate *xlate;
	unsigned int i;

	lockdep_assert_held(&unit->map_lock);

	for (i = 0; i < s->nr_batch;)
		i += batch_unmap(unit, i);
	list_for_each_entry(xlate, &unit->xlates, entry)
		if (xlate->ops == &kviommu_tracked_ops)
			kviommu_tracked_flush(to_tracked(xlate));
	for (i = 0; i < s->nr_batch; i++) {
		if (s->batch[i] == KVIOMMU_NO_GFN)
			continue;
		kviommu_pin_discard(unit, s->batch[i]);
		__clear_bit(s->batch[i] & (DTT_WORDS - 1), leaf->pinned);
		leaf->nr--;
		WRITE_ONCE(s->pinned, s->pinned - 1);
		kviommu_count(unit, unpinned, 1);
		kviommu_count(unit, unmaps, 1);
	}
	s->nr_batch = 0;
}

/**
 * kviommu_tracked_unpin() - Add a frame to the batch of those to be unpinned
 * @unit: The unit
 * @leaf: The leaf, the same for a whole batch
 * @i: Number of the frame in it, which is pinned, and which the guest does not take for pinned
 *     any more; higher than the one before
 *
 * kviommu_tracked_unpin_end() has to follow before map_lock is dropped.
 *
 * Context: process context, under map_lock; may sleep.
 */
void kviommu_tracked_unpin(struct kviommu_unit *unit, struct tracked_leaf *leaf,
			   unsigned int i)
{
	struct kviommu_tracked_state *s = &unit->tracked;

	s->batch[s->nr_batch++] = leaf_gfn(leaf) + i;
	if (s->nr_batch == KVIOMMU_UNPIN_BATCH)
		kviommu_tracked_unpin_end(unit, leaf);
}

/**
 * kviommu_tracked_start() - Follow a table of the guest
 * @unit: The unit, in which nothing is tracked
 * @root: Guest physical address of the root table, and
 * @levels: number of levels, for which kviommu_dtt_valid() is true
 *
 * A guest may have parked the unit before, while it makes the table.
 *
 * Context: process context, under unit->lock and map_lock.
 */
void kviommu_tracked_start(struct kviommu_unit *unit, u64 root, unsigned int levels)
{
	struct kviommu_tracked_state *s = &unit->tracked;

	s->dtt.root = root;
	s->dtt.levels = levels;
	s->active = true;
	/* Something may have stayed pinned. */
	kviommu_tracked_schedule(unit);
}

/**
 * kviommu_tracked_stop() - Unpin nothing more by the guest's table
 * @unit: The unit
 * @tell: The table is still there: the guest has to see that nothing is pinned any more
 *
 * kviommu_tracked_clear() has to follow.
 *
 * Context: process context, under unit->lock and map_lock.
 */
void kviommu_tracked_stop(struct kviommu_unit *unit, bool tell)
{
	struct kviommu_tracked_state *s = &unit->tracked;

	s->active = false;
	s->next = 0;
	if (tell && !s->parked)
		return;
	kviommu_dtt_close(unit);
	s->dtt.root = 0;
}

/*
 * Unpin all of a leaf, whatever the guest uses of it, after the words say so. Return: 0; else it is
 * left as it is: -ENOMEM; -EBUSY while parked; -EAGAIN or -EINTR to be called again.
 */
static int leaf_clear(struct kviommu_unit *unit, const struct kviommu_work *work,
		      struct tracked_leaf *leaf)
{
	u32 *words = NULL;
	unsigned int i;
	int ret = 0;

	if (unit->tracked.dtt.root)
		ret = unit->tracked.parked ? -EBUSY :
		      kviommu_dtt_open(unit, work, leaf_gfn(leaf), &words);
	/* With another error there are no words. */
	if (ret == -ENOMEM || ret == -EBUSY || kviommu_unfinished(ret))
		return ret;
	bitmap_or(leaf->lost, leaf->lost, leaf->pinned, DTT_WORDS);
	kviommu_leaf_tell(unit, leaf, words);
	for_each_set_bit(i, leaf->pinned, DTT_WORDS)
		kviommu_tracked_unpin(unit, leaf, i);
	kviommu_tracked_unpin_end(unit, leaf);
	kviommu_leaf_put(unit, leaf);
	return 0;
}

/**
 * kviommu_tracked_clear() - Unpin all that was tracked, after kviommu_tracked_stop()
 * @unit: The unit
 * @work: The piece of work that this is part of
 *
 * A frame whose word cannot be reached for lack of memory stays pinned, as that word says, until
 * the guest activates a table again: from now on it may use this table's memory for something
 * else.
 *
 * Context: process context, under unit->lock and map_lock; may sleep.
 * Return: 0; -EAGAIN or -EINTR as kviommu_resched().
 */
int kviommu_tracked_clear(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	struct kviommu_tracked_state *s = &unit->tracked;
	struct tracked_leaf *leaf;
	int ret;

	while ((leaf = kviommu_tracked_find(unit, &s->next, ULONG_MAX))) {
		ret = leaf_clear(unit, work, leaf);
		if (kviommu_unfinished(ret))
			return ret;
		s->next++;
		ret = kviommu_resched(unit, work);
		if (ret)
			return ret;
	}
	kviommu_dtt_close(unit);
	if (!s->nr_leaves)
		s->dtt.root = 0;
	s->lost_next = 0;
	s->ticking = false;
	s->sweeping = false;
	s->next = 0;
	s->busy = 0;
	return 0;
}

/**
 * kviommu_tracked_reap() - Unpin what was tracked, if no table of the guest says so any more,
 * or the unit is destroyed
 * @unit: The unit
 * @work: The piece of work that this is part of
 *
 * Context: process context, under unit->lock, not under map_lock; may sleep.
 * Return: 0; -EAGAIN or -EINTR as kviommu_resched().
 */
int kviommu_tracked_reap(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	int ret = 0;

	mutex_lock(&unit->map_lock);
	if (READ_ONCE(unit->closing))
		kviommu_tracked_stop(unit, false);
	/* What is left under a table that is no longer active is for the next ACTIVATE. */
	if (!unit->tracked.active && !unit->tracked.dtt.root)
		ret = kviommu_tracked_clear(unit, work);
	mutex_unlock(&unit->map_lock);
	return ret;
}
