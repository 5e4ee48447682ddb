// SPDX-License-Identifier: GPL-2.0-only
/*
 * Making the tracking table. All of it is there before anything is mapped, as mappings are
 * made where nothing can be allocated.
 *
 * The host walks it from the root. The driver itself finds a last-level table by one array,
 * which is as long as RAM needs, and is replaced by a longer one when memory is added beyond.
 */
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/pfn.h>
#include <linux/sched.h>

#include "table.h"

#define TABLE_BITS	9
#define TABLE_PRESENT	1

/**
 * coiommu_mark_cold() - What coiommu_mark() has to do besides, of one frame
 * @word: The frame's word
 * @old: Its value before it was incremented
 *
 * Context: any.
 * Return: 0; CO_MISS if the frame is not pinned; -EAGAIN if it is mapped too often, and then
 * the count is as before.
 */
int coiommu_mark_cold(atomic_t *word, u32 old)
{
	if (old & CO_COUNT_MAX) {
		atomic_dec(word);
		return -EAGAIN;
	}
	if (!(old & CO_ACCESSED))
		atomic_or(CO_ACCESSED, word);
	return old & CO_PINNED ? 0 : CO_MISS;
}

/**
 * coiommu_mark_range() - As coiommu_mark(), which is faster for a single frame
 * @t: The table
 * @first: First frame number
 * @last: Last frame number, inclusive
 *
 * Context: any.
 * Return: as that.
 */
int coiommu_mark_range(const struct coiommu_table *t, unsigned long first, unsigned long last)
{
	unsigned long pfn = first, end;
	int ret = 0, one = -EFAULT;
	atomic_t *leaf;

	while (pfn <= last) {
		leaf = coiommu_leaf(t, pfn);
		if (!leaf)
			goto undo;
		end = min(last, pfn | CO_LEAF_MASK);
		for (; pfn <= end; pfn++) {
			one = coiommu_mark_word(leaf + (pfn & CO_LEAF_MASK));
			if (one < 0)
				goto undo;
			ret |= one;
		}
		one = -EFAULT;
	}
	return ret;
undo:
	if (pfn != first)
		coiommu_unmark_range(t, first, pfn - 1);
	return one;
}

/**
 * coiommu_unmark_range() - As coiommu_unmark(), which is faster for a single frame
 * @t: The table
 * @first: First frame number
 * @last: Last frame number, inclusive
 *
 * Context: any.
 * Return: as that.
 */
bool coiommu_unmark_range(const struct coiommu_table *t, unsigned long first,
			  unsigned long last)
{
	unsigned long pfn = first, end;
	bool ok = true;
	atomic_t *leaf;

	while (pfn <= last) {
		leaf = coiommu_leaf(t, pfn);
		end = min(last, pfn | CO_LEAF_MASK);
		for (; pfn <= end; pfn++)
			ok &= leaf && coiommu_unmark_word(leaf + (pfn & CO_LEAF_MASK));
	}
	return ok;
}

static void *table_page(struct coiommu_table *t)
{
	struct page *page = alloc_page(GFP_KERNEL | __GFP_ZERO);

	if (!page)
		return NULL;
	list_add(&page->lru, &t->pages);
	return page_address(page);
}

static struct coiommu_dir *dir_alloc(unsigned long nr)
{
	struct coiommu_dir *dir;

	dir = kvzalloc(struct_size(dir, leaf, nr), GFP_KERNEL);
	if (dir)
		dir->nr = nr;
	return dir;
}

/**
 * coiommu_table_init() - Make a table for no frame
 * @t: The table
 * @levels: Number of levels of tables, 2 at least
 *
 * Context: process context, may sleep.
 * Return: 0 or -ENOMEM.
 */
int coiommu_table_init(struct coiommu_table *t, unsigned int levels)
{
	mutex_init(&t->lock);
	INIT_LIST_HEAD(&t->pages);
	t->levels = levels;
	t->dir = dir_alloc(0);
	t->root = table_page(t);
	if (t->dir && t->root)
		return 0;
	coiommu_table_free(t);
	return -ENOMEM;
}

/**
 * coiommu_table_free() - Free a table
 * @t: The table, which the host does not use any more
 *
 * Context: process context, may sleep.
 */
void coiommu_table_free(struct coiommu_table *t)
{
	struct coiommu_dir *dir = t->dir, *old;
	struct page *page, *next;

	for (; dir; dir = old) {
		old = dir->old;
		kvfree(dir);
	}
	list_for_each_entry_safe(page, next, &t->pages, lru) {
		list_del(&page->lru);
		__free_page(page);
	}
	t->dir = NULL;
}

/* Let the directory have an entry for this last-level table. */
static int dir_grow(struct coiommu_table *t, unsigned long leaf)
{
	struct coiommu_dir *dir;

	if (leaf < t->dir->nr)
		return 0;
	dir = dir_alloc(leaf + 1);
	if (!dir)
		return -ENOMEM;
	memcpy(dir->leaf, t->dir->leaf, flex_array_size(dir, leaf, t->dir->nr));
	dir->old = t->dir;
	/* Who finds it finds it filled. */
	smp_store_release(&t->dir, dir);
	return 0;
}

/* Add a last-level table, and those above it. */
static int table_add_leaf(struct coiommu_table *t, unsigned long leaf)
{
	unsigned int shift = TABLE_BITS * (t->levels - 1);
	u64 *table = t->root, *entry;
	void *next;

	if (t->dir->leaf[leaf])
		return 0;
	do {
		shift -= TABLE_BITS;
		entry = table + (leaf >> shift & (BIT(TABLE_BITS) - 1));
		if (*entry) {
			next = phys_to_virt(*entry & PAGE_MASK);
		} else {
			next = table_page(t);
			if (!next)
				return -ENOMEM;
			/* The host, which looks at the same time, finds the page zeroed. */
			smp_store_release(entry, virt_to_phys(next) | TABLE_PRESENT);
		}
		table = next;
	} while (shift);
	/* Who finds it finds it zeroed. */
	smp_store_release(&t->dir->leaf[leaf], next);
	return 0;
}

/**
 * coiommu_table_add() - Have words for these frames
 * @t: The table
 * @first: First frame number
 * @last: Last frame number, inclusive
 *
 * After an error some may be there, which does no harm.
 *
 * Context: process context, may sleep.
 * Return: 0, also if there were words; -ENOMEM; -ERANGE beyond what the table's levels reach.
 */
int coiommu_table_add(struct coiommu_table *t, unsigned long first, unsigned long last)
{
	unsigned long leaf;
	int ret;

	if (last >> CO_LEAF_BITS >> TABLE_BITS * (t->levels - 1))
		return -ERANGE;
	mutex_lock(&t->lock);
	ret = dir_grow(t, last >> CO_LEAF_BITS);
	for (leaf = first >> CO_LEAF_BITS; !ret && leaf <= last >> CO_LEAF_BITS; leaf++) {
		ret = table_add_leaf(t, leaf);
		cond_resched();
	}
	mutex_unlock(&t->lock);
	return ret;
}

/**
 * coiommu_table_sum() - Add up all words, which may change meanwhile
 * @t: The table
 * @sum: Set to what they add up to
 *
 * Context: process context, may sleep.
 */
void coiommu_table_sum(struct coiommu_table *t, struct coiommu_sum *sum)
{
	unsigned long leaf, i;

	*sum = (struct coiommu_sum){};
	mutex_lock(&t->lock);
	for (leaf = 0; leaf < t->dir->nr; leaf++) {
		if (!t->dir->leaf[leaf])
			continue;
		for (i = 0; i <= CO_LEAF_MASK; i++) {
			u32 word = atomic_read(t->dir->leaf[leaf] + i);

			sum->mapped += !!(word & CO_COUNT);
			sum->mappings += word & CO_COUNT;
			sum->pinned += !!(word & CO_PINNED);
		}
		sum->frames += CO_LEAF_MASK + 1;
		cond_resched();
	}
	mutex_unlock(&t->lock);
}
