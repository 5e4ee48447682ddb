// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tracking table of a coIOMMU guest: a word for each of its frames, in tables in its
 * memory. Guest and unit change words at the same time, so each access to one is atomic.
 *
 * The walk begins at the root each time: the guest may take tables away, and nothing that was
 * found there is remembered. The last-level table of the last walk stays pinned, though, until
 * there is a next one: so at the limit of locked memory there is always one pin to be had for
 * another table, and thus a way to unpin something. For max_pins it does not count. Tables above
 * that are read without a pin if none is to be had.
 */
#include <linux/mm.h>

#include "dtt.h"
#include "../mem/mem.h"

/* Number of address bits that a table above the last level decodes, and its entries' parts */
#define DTT_TABLE_BITS	9
#define DTT_PRESENT	1

/**
 * kviommu_dtt_valid() - Check whether a table can be followed
 * @root: Guest physical address of the root table
 * @levels: Number of levels of tables
 *
 * Context: any.
 * Return: true if it can, if it is there.
 */
bool kviommu_dtt_valid(u64 root, u64 levels)
{
	return root && PAGE_ALIGNED(root) && levels && levels <= DTT_LEVELS_MAX;
}

/**
 * kviommu_dtt_close() - Unpin the last-level table of the last walk, if there is one
 * @unit: The unit
 *
 * Context: process context, under map_lock; may sleep.
 */
void kviommu_dtt_close(struct kviommu_unit *unit)
{
	struct kviommu_dtt *dtt = &unit->tracked.dtt;

	if (dtt->words && unit->pins.pinned > unit->policy.max_pins)
		kviommu_pin_discard(unit, dtt->window);
	else if (dtt->words)
		kviommu_pin_put(unit, &kviommu_work_whole, dtt->window);
	dtt->words = NULL;
}

static int dtt_move_window(struct kviommu_unit *unit, const struct kviommu_work *work,
			   u64 gfn)
{
	struct kviommu_dtt *dtt = &unit->tracked.dtt;
	void *va;
	int ret;

	if (dtt->words && dtt->window == gfn)
		return 0;
	ret = kviommu_guest_map(unit, work, gfn, &va);
	if (dtt->words && ret == -ENOMEM) {
		kviommu_dtt_close(unit);
		ret = kviommu_guest_map(unit, work, gfn, &va);
	}
	if (ret)
		return ret;
	kviommu_dtt_close(unit);
	dtt->window = gfn;
	dtt->words = va;
	return 0;
}

/**
 * kviommu_dtt_open() - Find the word of a frame
 * @unit: The unit
 * @work: The piece of work that this is part of
 * @gfn: Guest frame number
 * @word: Set to its word, and followed by those of the next frames in the same last-level
 *        table; valid until the next walk or kviommu_dtt_close()
 *
 * Context: process context, under map_lock; if @work may wait it may sleep, and needs
 * unit->lock, too.
 * Return: 0; -ENOENT if a table is missing; -ERANGE beyond the width of the table; an error
 * of kviommu_guest_read() or kviommu_guest_map().
 */
int kviommu_dtt_open(struct kviommu_unit *unit, const struct kviommu_work *work, u64 gfn,
		     u32 **word)
{
	struct kviommu_dtt *dtt = &unit->tracked.dtt;
	u64 table = dtt->root, rest = gfn >> DTT_WORD_BITS, entry, i;
	unsigned int shift = DTT_TABLE_BITS * (dtt->levels - 1);
	int ret;

	lockdep_assert_held(&unit->map_lock);

	if (!table)
		return -ENOENT;
	if (rest >> shift)
		return -ERANGE;
	while (shift) {
		shift -= DTT_TABLE_BITS;
		i = rest >> shift & (BIT(DTT_TABLE_BITS) - 1);
		ret = kviommu_guest_read(unit, work, table + i * sizeof(entry), &entry,
					 sizeof(entry));
		if (ret)
			return ret;
		if (!(entry & DTT_PRESENT))
			return -ENOENT;
		table = entry & PAGE_MASK;
	}
	ret = dtt_move_window(unit, work, table >> PAGE_SHIFT);
	if (!ret)
		*word = dtt->words + (gfn & (DTT_WORDS - 1));
	return ret;
}

/**
 * kviommu_dtt_revoke() - Let go of the last-level table if it is in memory that is going
 * @unit: The unit
 * @first: First guest frame number that the IOAS unmaps
 * @last: Last guest frame number, inclusive
 *
 * Context: process context, under map_lock; may sleep.
 */
void kviommu_dtt_revoke(struct kviommu_unit *unit, u64 first, u64 last)
{
	const struct kviommu_dtt *dtt = &unit->tracked.dtt;

	if (dtt->words && dtt->window >= first && dtt->window <= last)
		kviommu_dtt_close(unit);
}
