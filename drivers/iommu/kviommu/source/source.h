/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sources: what the guest says of an I/O virtual address, in whatever form it
 * says it.
 *
 *	radix.c		tables in guest memory, in a format that the model decodes
 */
#ifndef _KVIOMMU_SOURCE_H
#define _KVIOMMU_SOURCE_H

#include <linux/compiler.h>
#include <linux/types.h>

#include "../base/unit.h"

/* Entries of a table of any source, and how many address bits they resolve */
#define KVIOMMU_ENTRIES		512
#define KVIOMMU_ENTRY_BITS	9

/**
 * struct kviommu_entry - An entry of a guest's table, decoded
 * @prot: KVIOMMU_READ and KVIOMMU_WRITE that the entry gives, 0 if it is not
 *        present
 * @leaf: It is a leaf, not a pointer to a table
 * @fault: KVIOMMU_FAULT_NONE, or why the entry is invalid
 * @addr: Guest physical address of the page, or what names the table to
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
 * @get_table: Make the entries of the table @addr readable, which is that of
 *             kviommu_entry.addr in bytes, or the root of a binding. @table is what
 *             @entry gets, not NULL. Return: 0, or an error of kviommu_pin_get().
 * @put_table: Undo it
 * @entry: Say what the @i-th entry of a table is, which translates
 *         I/O virtual addresses from @iova on and stands at @level: 1 is the last
 *
 * All under map_lock; the first two may sleep, as the piece of work says.
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
 * @ops: Its operations
 * @decode: Decode an entry of a table in guest memory, at @level; for
 *          kviommu_radix_ops alone
 */
struct kviommu_source {
	const struct kviommu_source_ops *ops;
	void (*decode)(const struct kviommu_source *source, u64 val,
		       unsigned int level, struct kviommu_entry *e);
};

/* radix.c */
extern const struct kviommu_source_ops kviommu_radix_ops;

static inline bool kviommu_source_is_radix(const struct kviommu_source *source)
{
	return likely(source->ops == &kviommu_radix_ops);
}

/**
 * kviommu_source_entry() - Say what an entry of a table is
 * @source: The source
 * @table: The table
 * @i: Index of the entry
 * @iova: First I/O virtual address that it translates
 * @level: Level of the table
 * @e: What it says
 *
 * Tables in guest memory are read here, without the indirect call: that is once for
 * each page that a guest maps.
 *
 * Context: under map_lock.
 * Return: the entry as it stands in guest memory, if it does.
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
