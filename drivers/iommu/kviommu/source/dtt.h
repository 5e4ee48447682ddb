/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tracking table of a coIOMMU guest, and its words.
 */
#ifndef _KVIOMMU_DTT_H
#define _KVIOMMU_DTT_H

#include <linux/atomic.h>
#include <linux/bits.h>

#include "../base/unit.h"

/* Number of words in a last-level table, and of the bits of a frame number that choose one */
#define DTT_WORD_BITS	10
#define DTT_WORDS	BIT(DTT_WORD_BITS)
#define DTT_LEVELS_MAX	6

/* A word: how often the guest has mapped the frame, and what it and the host say of it */
#define DTT_COUNT	0xffffU
#define DTT_ACCESSED	0x40000000U	/* the guest has mapped it; only the host clears this */
#define DTT_PINNED	0x80000000U	/* the host has pinned it; only the host changes this */

/**
 * kviommu_dtt_mark() - Say that a frame is pinned
 * @word: Its word; devices reach the frame already
 *
 * Context: any.
 */
static inline void kviommu_dtt_mark(u32 *word)
{
	/* A guest that sees this may have a device use the frame. */
	smp_mb__before_atomic();
	atomic_or(DTT_PINNED, (atomic_t *)word);
}

/**
 * kviommu_dtt_unmark() - Say that a frame is not pinned, also if it is in use
 * @word: Its word
 *
 * Context: any.
 */
static inline void kviommu_dtt_unmark(u32 *word)
{
	atomic_andnot(DTT_PINNED, (atomic_t *)word);
}

/**
 * kviommu_dtt_age() - Forget that the guest has mapped a frame
 * @word: Its word
 *
 * Context: any.
 */
static inline void kviommu_dtt_age(u32 *word)
{
	atomic_andnot(DTT_ACCESSED, (atomic_t *)word);
}

/**
 * kviommu_dtt_take() - Say that a frame is not pinned, if it is not in use
 * @word: Its word
 *
 * A guest that maps the frame afterwards finds it not pinned, and asks for it. So it does if
 * the word is 0, as it cannot be if the guest keeps to the rules.
 *
 * Context: any.
 * Return: the word as it was: if that is DTT_PINNED or 0 the frame may be unpinned.
 */
static inline u32 kviommu_dtt_take(u32 *word)
{
	return cmpxchg(word, DTT_PINNED, 0);
}

/**
 * kviommu_dtt_has() - Check whether a frame is the last-level table that is pinned
 * @unit: The unit
 * @gfn: Guest frame number
 *
 * Context: under map_lock.
 * Return: true if it is.
 */
static inline bool kviommu_dtt_has(const struct kviommu_unit *unit, u64 gfn)
{
	return unit->tracked.dtt.words && unit->tracked.dtt.window == gfn;
}

/* dtt.c */
bool kviommu_dtt_valid(u64 root, u64 levels);
int kviommu_dtt_open(struct kviommu_unit *unit, const struct kviommu_work *work, u64 gfn,
		     u32 **word);
void kviommu_dtt_close(struct kviommu_unit *unit);
void kviommu_dtt_revoke(struct kviommu_unit *unit, u64 first, u64 last);

#endif /* _KVIOMMU_DTT_H */
