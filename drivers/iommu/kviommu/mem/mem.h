/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest memory: the pin cache, and access to guest memory.
 *
 *	pin.c		the pin cache
 *	idle.c		release of pins that are no longer used
 *	guestmem.c	reads and writes
 */
#ifndef _KVIOMMU_MEM_H
#define _KVIOMMU_MEM_H

#include "../base/unit.h"

/* pin.c */
int kviommu_pin_get(struct kviommu_unit *unit, const struct kviommu_work *work,
		    u64 gfn, unsigned int prot, u64 *pfn);
void kviommu_pin_put_range(struct kviommu_unit *unit, const struct kviommu_work *work,
			   u64 gfn, u64 nr);
void kviommu_pin_discard(struct kviommu_unit *unit, u64 gfn);
bool kviommu_pin_revoke(struct kviommu_unit *unit, u64 first, u64 last);
int kviommu_pin_release(struct kviommu_unit *unit, const struct kviommu_work *work,
			struct kviommu_range *range, u64 *in_use);
u64 kviommu_pin_bytes(const struct kviommu_unit *unit);

/**
 * kviommu_pin_put() - Undo one kviommu_pin_get()
 * @unit: The unit
 * @work: The piece of work that this is part of
 * @gfn: Guest frame number
 *
 * No device may reach the frame through this use any more. The pin stays in the cache.
 *
 * Context: under map_lock; may sleep if @work may wait.
 */
static inline void kviommu_pin_put(struct kviommu_unit *unit,
				   const struct kviommu_work *work, u64 gfn)
{
	kviommu_pin_put_range(unit, work, gfn, 1);
}

/**
 * kviommu_pin_note_peak() - Update the statistic pinned_peak after pages were pinned
 * @unit: The unit
 *
 * Context: under map_lock.
 */
static inline void kviommu_pin_note_peak(struct kviommu_unit *unit)
{
	u64 pinned = unit->pins.pinned + unit->nested.pinned;

	if (pinned > unit->stats.pinned_peak)
		WRITE_ONCE(unit->stats.pinned_peak, pinned);
}

/* idle.c */
void kviommu_pin_trim(struct kviommu_unit *unit, unsigned long max_idle);
void kviommu_pin_tidy(struct kviommu_unit *unit);
int kviommu_pin_shrinker_register(struct kviommu_unit *unit);
void kviommu_pin_shrinker_unregister(struct kviommu_unit *unit);

/* guestmem.c */
int kviommu_guest_map(struct kviommu_unit *unit, const struct kviommu_work *work, u64 gfn,
		      void **va);
int kviommu_guest_read(struct kviommu_unit *unit, const struct kviommu_work *work,
		       u64 gpa, void *buf, unsigned int len);
int kviommu_guest_write(struct kviommu_unit *unit, const struct kviommu_work *work,
			u64 gpa, const void *buf, unsigned int len);

#endif /* _KVIOMMU_MEM_H */
