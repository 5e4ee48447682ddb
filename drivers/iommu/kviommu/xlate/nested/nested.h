/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Nested translations: the physical IOMMU walks the guest's first-stage tables itself.
 *
 *	parent.c	what a second stage has, which translates guest physical addresses
 *	stages.c	the second stages of a unit
 *	nested.c	the back-end: a nested domain for each guest domain
 *
 * A guest that maps a page says nothing, so there is nothing to merge and no page to pin
 * then: all of the guest's memory is in the second stage, and pinned, as long as there is a
 * device that might go through a nested translation. It is pinned when that is attached and
 * not when the guest turns translation on: a guest that waited for it, with interrupts off,
 * might take itself for dead.
 */
#ifndef _KVIOMMU_NESTED_H
#define _KVIOMMU_NESTED_H

#include <linux/maple_tree.h>
#include <linux/sizes.h>

#include "../xlate.h"

/* Frames that are pinned by one call, and aligned so: as many as a leaf of 2 MiB has */
#define PARENT_BLOCK	512
/* Frames of the pieces, aligned so, in which memory is looked for within a hole of the IOAS */
#define PARENT_PIECE	16
/* Frames of a leaf of 1 GiB */
#define PARENT_RUN	SZ_256K

/**
 * struct kviommu_parent_run - Blocks of a folio that are pinned and not mapped yet
 * @gfn: First guest frame number, a multiple of PARENT_RUN
 * @nr: Number of frames; 0 if there is no run
 * @pfn: First frame of the host, a multiple of PARENT_RUN
 */
struct kviommu_parent_run {
	u64 gfn;
	u64 nr;
	u64 pfn;
};

/**
 * struct kviommu_parent - A second stage, from guest physical to host addresses
 * @entry: Link in kviommu_nested_state.parents
 * @unit: The unit
 * @domain: The host's domain
 * @kind: The kind of physical IOMMU that it is for
 * @ranges: The frames that are pinned and mapped in @domain. Each entry is a range of
 *          frames that one call has pinned, a part of one that the IOAS has left, or
 *          PARENT_RUN frames of one folio.
 * @pages: Room for the pages of a block
 * @run: What kviommu_parent_fill() is collecting for a leaf of 1 GiB
 * @unfilled: The frames that are still to be looked at for memory that is to be added;
 *            under unit->lock
 * @coarse: The frame from which on not each frame is looked at but only pieces, as the IOAS
 *          does not have any of the block before it; under unit->lock
 * @retry_at: When kviommu_nested_tidy() is to look again for memory that could not be had, in
 *            jiffies, or 0
 * @retrying: It is at that; under unit->lock
 * @users: Number of groups behind such IOMMUs, and of nested translations that it is the second
 *         stage of; under unit->lock
 *
 * @ranges, @pages, @run and @retry_at are under map_lock; without it there is no run.
 */
struct kviommu_parent {
	struct list_head entry;
	struct kviommu_unit *unit;
	struct iommu_domain *domain;
	struct kviommu_iommu_kind kind;
	struct maple_tree ranges;
	struct page *pages[PARENT_BLOCK];
	struct kviommu_parent_run run;
	struct kviommu_range unfilled;
	u64 coarse;
	unsigned long retry_at;
	bool retrying;
	unsigned int users;
};

/**
 * kviommu_parent_fits() - Check whether a second stage is one for a group
 * @parent: The second stage
 * @hw: The group
 *
 * Not left to the driver: that of Linux 6.12 takes a second stage that the IOMMU cannot walk
 * right, of pages that it does not have or in memory that it does not snoop; and that of 7.2
 * only refuses when a device is attached.
 *
 * Context: under unit->lock.
 * Return: true if it is.
 */
static inline bool kviommu_parent_fits(const struct kviommu_parent *parent,
				       struct kviommu_hwgroup *hw)
{
	return kviommu_same_kind(&parent->kind, kviommu_hwgroup_kind(hw));
}

/**
 * struct kviommu_nested - A nested translation
 * @xlate: The translation as the rest of the module knows it
 * @hw: The host's domain; that of @parent if the guest has no tables there
 * @parent: Its second stage, which the unit keeps
 * @unflushed_entry: Entry in kviommu_nested_state.unflushed, if @nr_unflushed is not 0
 * @unflushed: The addresses that the guest has invalidated since the last flush, see
 *             nested_note()
 * @nr_unflushed: Number of used entries in @unflushed
 *
 * The last three are under map_lock.
 */
struct kviommu_nested {
	struct kviommu_xlate xlate;
	struct iommu_domain *hw;
	struct kviommu_parent *parent;
	struct list_head unflushed_entry;
	struct kviommu_range unflushed[KVIOMMU_NEST_RANGES];
	unsigned int nr_unflushed;
};

/* parent.c */
void kviommu_parent_refill(struct kviommu_parent *parent);
void kviommu_parent_retry(struct kviommu_parent *parent);
int kviommu_parent_fill(struct kviommu_parent *parent, const struct kviommu_work *work);
void kviommu_parent_revoke(struct kviommu_parent *parent, const struct kviommu_range *r);
int kviommu_parent_empty(struct kviommu_parent *parent, const struct kviommu_work *work);

/* stages.c */
struct kviommu_parent *kviommu_parent_get(struct kviommu_unit *unit,
					  struct kviommu_hwgroup *hw);
int kviommu_nested_join(struct kviommu_unit *unit, struct kviommu_hwgroup *hw);
void kviommu_nested_leave(struct kviommu_unit *unit, struct kviommu_hwgroup *hw);
void kviommu_nested_refill(struct kviommu_unit *unit);
int kviommu_nested_fill(struct kviommu_unit *unit, const struct kviommu_work *work,
			struct kviommu_hwgroup *hw);
bool kviommu_nested_tidy(struct kviommu_unit *unit, const struct kviommu_work *work);
int kviommu_nested_reap(struct kviommu_unit *unit, const struct kviommu_work *work);

#endif /* _KVIOMMU_NESTED_H */
