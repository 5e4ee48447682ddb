/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The functions of tracked translations that upper layers call directly.
 */
#ifndef _KVIOMMU_TRACKED_API_H
#define _KVIOMMU_TRACKED_API_H

#include "../../base/unit.h"

/* set.c */
void kviommu_tracked_start(struct kviommu_unit *unit, u64 root, unsigned int levels);
void kviommu_tracked_stop(struct kviommu_unit *unit, bool tell);
int kviommu_tracked_pin(struct kviommu_unit *unit, const struct kviommu_work *work, u64 gfn);
int kviommu_tracked_clear(struct kviommu_unit *unit, const struct kviommu_work *work);
int kviommu_tracked_reap(struct kviommu_unit *unit, const struct kviommu_work *work);

/* lost.c */
int kviommu_tracked_tell(struct kviommu_unit *unit, const struct kviommu_work *work);

/* sweep.c */
void kviommu_tracked_park(struct kviommu_unit *unit, bool on);
void kviommu_tracked_schedule(struct kviommu_unit *unit);
bool kviommu_tracked_tidy(struct kviommu_unit *unit, const struct kviommu_work *work);
int kviommu_tracked_release(struct kviommu_unit *unit, const struct kviommu_work *work,
			    struct kviommu_range *range);

#endif /* _KVIOMMU_TRACKED_API_H */
