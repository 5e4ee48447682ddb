/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracked translations: I/O virtual addresses are guest physical addresses, and devices reach
 * the frames that the guest has asked for.
 *
 *	set.c		which frames these are: pinned and mapped, unmapped and unpinned
 *	lost.c		what the IOAS takes away
 *	sweep.c		when: for their age, at limits, when the host lacks memory
 *	tracked.c	the back-end: a domain for each physical IOMMU
 *
 * A word of the guest's table says of a frame that it is pinned, for all devices. So there is
 * one set of frames for the unit, and each translation has all of it mapped. The set is there
 * from the guest's ACTIVATE until its DEACTIVATE, whether there are devices or not.
 *
 * The order of removal: the word says that the frame is neither in use nor pinned, by a
 * compare-and-exchange; the mappings go; the IOTLBs are flushed; the frame is unpinned. All
 * under map_lock, under which a frame is also mapped and its word marked: a guest that asks for
 * it meanwhile has to wait.
 */
#ifndef _KVIOMMU_TRACKED_H
#define _KVIOMMU_TRACKED_H

#include <linux/bitmap.h>
#include <linux/bitops.h>
#include <linux/types.h>
#include <linux/xarray.h>

#include "../xlate.h"
#include "../../source/dtt.h"

#define TRACKED_HAS_LOST	XA_MARK_0

/* Leaves that are looked at before others can have the locks */
#define TRACKED_LEAVES	4

/**
 * struct tracked_leaf - What is pinned of the frames of one last-level table
 * @index: Index in kviommu_tracked_state.leaves: guest frame number / DTT_WORDS
 * @nr: Number of frames pinned
 * @pinned: The frames that are pinned, and mapped by all translations
 * @lost: The frames that the IOAS took away, whose words may still say that they are pinned
 *
 * All members are under map_lock.
 */
struct tracked_leaf {
	unsigned long index;
	unsigned int nr;
	DECLARE_BITMAP(pinned, DTT_WORDS);
	DECLARE_BITMAP(lost, DTT_WORDS);
};

/**
 * struct kviommu_tracked - A tracked translation
 * @xlate: The translation as the rest of the module knows it
 * @hw: The host's domain
 * @coherent: The IOMMUs of its groups can force DMA to be coherent
 * @reserved: The addresses that must not be translated for its groups
 * @unflushed: What was unmapped from @hw since the last flush
 * @partial: Not all that is pinned is mapped in @hw: it is being built, or something could
 *           not be mapped
 * @incomplete: Something could not be mapped when it was built
 * @taken_down: Leaves below this index are not mapped any more, as it is being taken down
 * @mapped: Number of frames mapped in @hw
 *
 * @unflushed and all after it are under map_lock; @mapped is also read without.
 */
struct kviommu_tracked {
	struct kviommu_xlate xlate;
	struct iommu_domain *hw;
	bool coherent;
	struct kviommu_reserved reserved;
	struct kviommu_unflushed unflushed;
	bool partial;
	bool incomplete;
	unsigned long taken_down;
	u64 mapped;
};

static inline struct kviommu_tracked *to_tracked(struct kviommu_xlate *xlate)
{
	return container_of(xlate, struct kviommu_tracked, xlate);
}

static inline u64 leaf_gfn(const struct tracked_leaf *leaf)
{
	return (u64)leaf->index << DTT_WORD_BITS;
}

/* set.c */
struct tracked_leaf *kviommu_tracked_find(struct kviommu_unit *unit, unsigned long *index,
					  unsigned long last);
int kviommu_tracked_map(struct kviommu_tracked *t, u64 gfn, u64 pfn);
bool kviommu_tracked_unmap(struct kviommu_tracked *t, u64 gfn, u64 nr);
void kviommu_tracked_flush(struct kviommu_tracked *t);
void kviommu_tracked_unpin(struct kviommu_unit *unit, struct tracked_leaf *leaf,
			   unsigned int i);
void kviommu_tracked_unpin_end(struct kviommu_unit *unit, struct tracked_leaf *leaf);
void kviommu_leaf_put(struct kviommu_unit *unit, struct tracked_leaf *leaf);
int kviommu_tracked_reap(struct kviommu_unit *unit, const struct kviommu_work *work);

/* lost.c */
void kviommu_leaf_tell(struct kviommu_unit *unit, struct tracked_leaf *leaf, u32 *words);
void kviommu_tracked_revoke(struct kviommu_unit *unit, u64 first, u64 last);
int kviommu_tracked_tell(struct kviommu_unit *unit, const struct kviommu_work *work);

/* sweep.c */
int kviommu_tracked_reclaim(struct kviommu_unit *unit, const struct kviommu_work *work);
void kviommu_tracked_schedule(struct kviommu_unit *unit);
void kviommu_tracked_policy_set(struct kviommu_unit *unit);
bool kviommu_tracked_tidy(struct kviommu_unit *unit, const struct kviommu_work *work);
int kviommu_tracked_release(struct kviommu_unit *unit, const struct kviommu_work *work,
			    struct kviommu_range *range);

#endif /* _KVIOMMU_TRACKED_H */
