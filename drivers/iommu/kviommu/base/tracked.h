/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a unit knows of the frames that a guest of coIOMMU has asked for.
 */
#ifndef _KVIOMMU_BASE_TRACKED_H
#define _KVIOMMU_BASE_TRACKED_H

#include <linux/atomic.h>
#include <linux/types.h>
#include <linux/xarray.h>

/* Frames that one flush may unpin (xlate/tracked/) */
#define KVIOMMU_UNPIN_BATCH	256

/**
 * struct kviommu_dtt - A tracking table of the guest (source/dtt.c)
 * @root: Guest physical address of its root table; 0 if there is none to be followed
 * @levels: Number of levels of tables
 * @window: Guest frame number of the last-level table that is pinned; meaningless if @words
 *          is NULL
 * @words: The words of that table, or NULL
 *
 * All members are under map_lock.
 */
struct kviommu_dtt {
	u64 root;
	unsigned int levels;
	u64 window;
	u32 *words;
};

/**
 * struct kviommu_tracked_state - What the guest has asked for, and all tracked translations
 * have mapped (xlate/tracked/)
 * @dtt: The guest's table
 * @active: The guest's requests count; changed under unit->lock, too
 * @parked: How often the guest has parked the unit. While it is not 0 nothing is unpinned
 *          that needs the table.
 * @leaves: What is pinned, in &struct tracked_leaf, by guest frame number / DTT_WORDS
 * @nr_leaves: Number of entries in @leaves
 * @pinned: Number of frames pinned
 * @busy: Number of them that were in use when last all words were looked at
 * @batch: Frames that the next flush unpins
 * @nr_batch: Number of used entries in @batch
 * @ticking: A round is scheduled for @round_at
 * @round_at: Time of the next round, in jiffies
 * @sweeping: The round is under way
 * @next: Index in @leaves at which this round, or the next one, goes on; and, without a
 *        table, at which unpinning all does
 * @round_left: Frames that the present round may still unpin
 * @round_busy: Number of frames that were in use so far in this round
 * @hand: Index in @leaves at which reclaim at a limit goes on
 * @hand_left: Leaves that the present reclaim may still look at; 0 if there is none
 * @shrink_left: The same of what the worker does for the shrinker
 * @lost_next: Index in @leaves at which kviommu_tracked_tell() goes on
 * @wanted: Number of frames that the shrinker wants and the pin cache did not have
 *
 * All members but the last are under map_lock.
 */
struct kviommu_tracked_state {
	struct kviommu_dtt dtt;
	bool active;
	u32 parked;
	struct xarray leaves;
	unsigned long nr_leaves;
	u64 pinned;
	u64 busy;
	u64 batch[KVIOMMU_UNPIN_BATCH];
	unsigned int nr_batch;
	bool ticking;
	unsigned long round_at;
	bool sweeping;
	unsigned long next;
	u64 round_left;
	u64 round_busy;
	unsigned long hand;
	unsigned long hand_left;
	unsigned long shrink_left;
	unsigned long lost_next;
	atomic_long_t wanted;
};

#endif /* _KVIOMMU_BASE_TRACKED_H */
