// SPDX-License-Identifier: GPL-2.0-only
/*
 * Frames that the IOAS takes away, whatever the guest uses of them. Its words have to say so, but
 * its table can only be looked at meanwhile as far as it is in the pin cache.
 */
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/time64.h>

#include "tracked.h"

/* When what failed for lack of memory is tried again, in microseconds */
#define TELL_AGAIN_US	(100 * USEC_PER_MSEC)

/**
 * kviommu_leaf_tell() - Tell the guest of the frames of a leaf that are lost
 * @unit: The unit
 * @leaf: The leaf
 * @words: Its words, by kviommu_dtt_open(); NULL if the guest is not to be told any more
 *
 * Context: under map_lock.
 */
void kviommu_leaf_tell(struct kviommu_unit *unit, struct tracked_leaf *leaf, u32 *words)
{
	unsigned int i;

	if (words)
		for_each_set_bit(i, leaf->lost, DTT_WORDS)
			kviommu_dtt_unmark(words + i);
	bitmap_zero(leaf->lost, DTT_WORDS);
	xa_clear_mark(&unit->tracked.leaves, leaf->index, TRACKED_HAS_LOST);
}

/* The unit may look at the guest's table. */
static bool tracked_readable(const struct kviommu_unit *unit)
{
	return unit->tracked.active && !unit->tracked.parked;
}

/* Unpin the frames of a leaf that the IOAS unmaps. Return: false if the guest is to be told. */
static bool leaf_revoke(struct kviommu_unit *unit, struct tracked_leaf *leaf, u64 first,
			u64 last)
{
	/* Locks of the IOAS are held, so no table can be pinned. */
	const struct kviommu_work work = { .may_wait = false };
	DECLARE_BITMAP(gone, DTT_WORDS);
	u64 gfn = leaf_gfn(leaf);
	bool told = false;
	unsigned int i;
	u32 *words;

	bitmap_zero(gone, DTT_WORDS);
	for_each_set_bit(i, leaf->pinned, DTT_WORDS)
		if (gfn + i >= first && gfn + i <= last)
			__set_bit(i, gone);
	if (bitmap_empty(gone, DTT_WORDS))
		return true;
	bitmap_or(leaf->lost, leaf->lost, gone, DTT_WORDS);
	xa_set_mark(&unit->tracked.leaves, leaf->index, TRACKED_HAS_LOST);
	if (tracked_readable(unit) && !kviommu_dtt_open(unit, &work, gfn, &words)) {
		kviommu_leaf_tell(unit, leaf, words);
		told = true;
	}
	for_each_set_bit(i, gone, DTT_WORDS)
		kviommu_tracked_unpin(unit, leaf, i);
	kviommu_tracked_unpin_end(unit, leaf);
	return told;
}

/**
 * kviommu_tracked_revoke() - Unpin frames that the IOAS unmaps
 * @unit: The unit
 * @first: First guest frame number
 * @last: Last guest frame number, inclusive
 *
 * The guest is told before, if its table is in the pin cache. Otherwise its words go on saying
 * that they are pinned, until kviommu_tracked_tell().
 *
 * Context: process context, under map_lock; may sleep.
 */
void kviommu_tracked_revoke(struct kviommu_unit *unit, u64 first, u64 last)
{
	struct kviommu_tracked_state *s = &unit->tracked;
	unsigned long index = first >> DTT_WORD_BITS;
	struct tracked_leaf *leaf;
	bool told = true;

	while ((leaf = kviommu_tracked_find(unit, &index, last >> DTT_WORD_BITS))) {
		told &= leaf_revoke(unit, leaf, first, last);
		kviommu_leaf_put(unit, leaf);
		index++;
		cond_resched();
	}
	kviommu_dtt_revoke(unit, first, last);
	if (told)
		return;
	s->lost_next = 0;
	kviommu_wake(unit, 0);
}

/**
 * kviommu_tracked_tell() - Tell the guest of frames that the IOAS took away
 * @unit: The unit
 * @work: The piece of work that this is part of
 *
 * What fails for lack of memory the worker tries again. If the guest has no table for a frame
 * now there may be one later.
 *
 * Context: process context, under unit->lock and map_lock; may sleep.
 * Return: 0; -EAGAIN or -EINTR to be called again.
 */
int kviommu_tracked_tell(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	struct kviommu_tracked_state *s = &unit->tracked;
	struct tracked_leaf *leaf;
	unsigned int n = 0;
	u32 *words;
	int ret;

	if (!tracked_readable(unit))
		return 0;
	while ((leaf = xa_find(&s->leaves, &s->lost_next, ULONG_MAX, TRACKED_HAS_LOST))) {
		if (n++ == TRACKED_LEAVES)
			return -EAGAIN;
		ret = kviommu_dtt_open(unit, work, leaf_gfn(leaf), &words);
		if (kviommu_unfinished(ret))
			return ret;
		s->lost_next++;
		if (ret == -ENOMEM)
			kviommu_wake(unit, TELL_AGAIN_US);
		if (ret)
			continue;
		kviommu_leaf_tell(unit, leaf, words);
		kviommu_leaf_put(unit, leaf);
	}
	s->lost_next = 0;
	return 0;
}
