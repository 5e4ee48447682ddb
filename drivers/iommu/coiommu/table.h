/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tracking table: a word for each frame of RAM, which the host reads and changes, too.
 */
#ifndef _COIOMMU_TABLE_H
#define _COIOMMU_TABLE_H

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/types.h>

/* Words in a last-level table, a page, and the bits of a frame number that choose one */
#define CO_LEAF_BITS	10
#define CO_LEAF_MASK	(BIT(CO_LEAF_BITS) - 1)

/* A word: how often the frame is mapped, and flags */
#define CO_COUNT	0xffffU
#define CO_ACCESSED	0x40000000U	/* set with each mapping; the host clears it */
#define CO_PINNED	0x80000000U	/* only the host changes it */
/*
 * A count that has reached this is not raised any more. One that is raised and taken back
 * again by each of many tasks at once still fits into its 16 bits.
 */
#define CO_COUNT_MAX	0x8000U

/* Return value of coiommu_mark(): a frame is not pinned */
#define CO_MISS		1

/**
 * struct coiommu_dir - Last-level tables by frame number
 * @old: The smaller one that this one replaced; readers may still look at it
 * @nr: Number of entries
 * @leaf: Last-level tables, NULL where there is no RAM
 */
struct coiommu_dir {
	struct coiommu_dir *old;
	unsigned long nr;
	atomic_t *leaf[];
};

/**
 * struct coiommu_table - The tracking table
 * @dir: The last-level tables as the driver finds them
 * @root: The root table, which is where the host begins
 * @levels: Number of levels of tables
 * @lock: Serializes growing
 * @pages: All pages of tables
 */
struct coiommu_table {
	struct coiommu_dir *dir;
	u64 *root;
	unsigned int levels;
	struct mutex lock;	/* For growing */
	struct list_head pages;
};

/**
 * coiommu_leaf() - Find the last-level table of a frame
 * @t: The table
 * @pfn: Frame number
 *
 * Context: any.
 * Return: its words; NULL if there was no RAM there when memory was last added.
 */
static __always_inline atomic_t *coiommu_leaf(const struct coiommu_table *t, unsigned long pfn)
{
	const struct coiommu_dir *dir = READ_ONCE(t->dir);
	unsigned long i = pfn >> CO_LEAF_BITS;

	return likely(i < dir->nr) ? READ_ONCE(dir->leaf[i]) : NULL;
}

/* table.c, for what follows */
int coiommu_mark_cold(atomic_t *word, u32 old);
int coiommu_mark_range(const struct coiommu_table *t, unsigned long first, unsigned long last);
bool coiommu_unmark_range(const struct coiommu_table *t, unsigned long first,
			  unsigned long last);

/* Count a mapping of one frame: as coiommu_mark(). */
static __always_inline int coiommu_mark_word(atomic_t *word)
{
	u32 old = atomic_fetch_inc(word);

	if (likely((old & (CO_PINNED | CO_ACCESSED | CO_COUNT_MAX)) == (CO_PINNED | CO_ACCESSED)))
		return 0;
	return coiommu_mark_cold(word, old);
}

/* Count the end of a mapping of one frame: as coiommu_unmark(). */
static __always_inline bool coiommu_unmark_word(atomic_t *word)
{
	if (likely(atomic_fetch_dec(word) & CO_COUNT))
		return true;
	atomic_inc(word);
	return false;
}

/**
 * coiommu_mark() - Count a mapping of some frames
 * @t: The table
 * @first: First frame number
 * @last: Last frame number, inclusive
 *
 * The increment is fully ordered. If it finds a frame pinned, the host does not unpin it
 * before the count is 0 again, as it only changes a word that has no count.
 *
 * Context: any.
 * Return: 0 if all frames are pinned; CO_MISS if not. After these coiommu_unmark() has to
 * follow. Errors, after which it must not: -EFAULT if a frame is not in RAM; -EAGAIN if one
 * is mapped too often.
 */
static __always_inline int coiommu_mark(const struct coiommu_table *t, unsigned long first,
					unsigned long last)
{
	atomic_t *leaf = coiommu_leaf(t, first);

	if (likely(leaf && first == last))
		return coiommu_mark_word(leaf + (first & CO_LEAF_MASK));
	return coiommu_mark_range(t, first, last);
}

/**
 * coiommu_unmark() - Count the end of a mapping
 * @t: The table
 * @first: First frame number
 * @last: Last frame number, inclusive
 *
 * Context: any.
 * Return: false if a frame was not mapped, whose count stays 0.
 */
static __always_inline bool coiommu_unmark(const struct coiommu_table *t, unsigned long first,
					   unsigned long last)
{
	atomic_t *leaf = coiommu_leaf(t, first);

	if (likely(leaf && first == last))
		return coiommu_unmark_word(leaf + (first & CO_LEAF_MASK));
	return coiommu_unmark_range(t, first, last);
}

/**
 * coiommu_pinned() - Check whether a frame that is marked is pinned
 * @t: The table
 * @pfn: Frame number
 *
 * Context: any.
 * Return: true if it is.
 */
static inline bool coiommu_pinned(const struct coiommu_table *t, unsigned long pfn)
{
	return atomic_read(coiommu_leaf(t, pfn) + (pfn & CO_LEAF_MASK)) & CO_PINNED;
}

/**
 * struct coiommu_sum - What the words of a table add up to
 * @frames: Number of words
 * @mapped: Number of frames with a count
 * @mappings: Sum of the counts
 * @pinned: Number of frames that the host has pinned
 */
struct coiommu_sum {
	u64 frames;
	u64 mapped;
	u64 mappings;
	u64 pinned;
};

/* table.c */
int coiommu_table_init(struct coiommu_table *t, unsigned int levels);
int coiommu_table_add(struct coiommu_table *t, unsigned long first, unsigned long last);
void coiommu_table_free(struct coiommu_table *t);
void coiommu_table_sum(struct coiommu_table *t, struct coiommu_sum *sum);

#endif /* _COIOMMU_TABLE_H */
