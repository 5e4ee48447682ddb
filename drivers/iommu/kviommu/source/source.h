/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sources: the guest's mappings of I/O virtual addresses, whatever form they have.
 *
 *	radix.c		tables in guest memory, in a format that the model decodes
 *	dtt.c		the tracking table of coIOMMU, which says of no address where it leads
 */
#ifndef _KVIOMMU_SOURCE_H
#define _KVIOMMU_SOURCE_H

#include <linux/compiler.h>
#include <linux/types.h>

#include "../base/unit.h"

/* Number of entries in a table of any source, and of the address bits that they decode */
#define KVIOMMU_ENTRIES		512
#define KVIOMMU_ENTRY_BITS	9

/**
 * struct kviommu_entry - A decoded entry of a guest's table
 * @prot: KVIOMMU_READ and KVIOMMU_WRITE that the entry grants; 0 if it is not present
 * @leaf: The entry is a leaf and not a pointer to a table
 * @fault: KVIOMMU_FAULT_NONE, or the reason why the entry is invalid
 * @addr: Guest physical address of the page, or the name of the next table for
 *        kviommu_source_ops.get_table
 */
struct kviommu_entry {
	u8 prot;
	bool leaf;
	u8 fault;
	u64 addr;
};

struct kviommu_source;

/**
 * struct kviommu_source_ops - A kind of source
 * @get_table: Make the entries of a table readable. @addr names the table: it is
 *             kviommu_entry.addr or kviommu_binding.root. On success @table is not NULL
 *             and can be passed to @entry. Return 0 or an error of kviommu_pin_get().
 * @put_table: Undo one @get_table.
 * @entry: Decode entry @i of a table at @level; level 1 is the last. The entry translates
 *         the I/O virtual addresses from @iova on. NULL in kviommu_radix_ops:
 *         kviommu_source_entry() reads tables in guest memory itself.
 *
 * Tables in guest memory are for kviommu_radix_ops alone: only of that a shadow knows which
 * memory a table takes, and gives it back when the IOAS loses that memory.
 *
 * All are called under map_lock. @get_table and @put_table may sleep if the piece of work
 * may wait; @entry does not.
 */
struct kviommu_source_ops {
	int (*get_table)(const struct kviommu_source *source, struct kviommu_unit *unit,
			 const struct kviommu_work *work, u64 addr,
			 const void **table);
	void (*put_table)(const struct kviommu_source *source, struct kviommu_unit *unit,
			  const struct kviommu_work *work, u64 addr);
	void (*entry)(const struct kviommu_source *source, const void *table,
		      unsigned int i, u64 iova, unsigned int level,
		      struct kviommu_entry *e);
};

/**
 * struct kviommu_source - A source of a model
 * @ops: The operations of the source
 * @decode: Decode the value of an entry at @level of a table in guest memory; only for
 *          kviommu_radix_ops
 */
struct kviommu_source {
	const struct kviommu_source_ops *ops;
	void (*decode)(const struct kviommu_source *source, u64 val,
		       unsigned int level, struct kviommu_entry *e);
};

/* radix.c */
extern const struct kviommu_source_ops kviommu_radix_ops;

/**
 * kviommu_source_is_radix() - Check whether a source is tables in guest memory
 * @source: The source
 *
 * Context: any.
 * Return: true if it is.
 */
static inline bool kviommu_source_is_radix(const struct kviommu_source *source)
{
	return likely(source->ops == &kviommu_radix_ops);
}

/**
 * kviommu_source_entry() - Read and decode an entry of a table
 * @source: The source
 * @table: The table, from kviommu_source_ops.get_table
 * @i: Index of the entry
 * @iova: First I/O virtual address that the entry translates
 * @level: Level of the table; 1 is the last
 * @e: Filled with the decoded entry
 *
 * This is called for each entry that a guest changes. For tables in guest memory it makes
 * one indirect call, of kviommu_source.decode, where kviommu_source_ops.entry would be
 * another one before that.
 *
 * Context: under map_lock.
 * Return: the raw entry in guest memory; 0 if the source is not in guest memory.
 */
static inline u64 kviommu_source_entry(const struct kviommu_source *source,
				       const void *table, unsigned int i, u64 iova,
				       unsigned int level, struct kviommu_entry *e)
{
	u64 val = 0;

	if (kviommu_source_is_radix(source)) {
		val = READ_ONCE(((const u64 *)table)[i]);
		source->decode(source, val, level, e);
	} else {
		source->ops->entry(source, table, i, iova, level, e);
	}
	return val;
}

#endif /* _KVIOMMU_SOURCE_H */
