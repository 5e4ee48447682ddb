/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a model may ask of the tracked set of a unit
 */
#ifndef _KVIOMMU_TRACKED_API_H
#define _KVIOMMU_TRACKED_API_H

#include "../../base/unit.h"

/* set.c */
void kviommu_tracked_start(struct kviommu_unit *unit, u64 root, unsigned int levels);
void kviommu_tracked_stop(struct kviommu_unit *unit, bool tell);
int kviommu_tracked_pin(struct kviommu_unit *unit, const struct kviommu_work *work, u64 gfn);
int kviommu_tracked_clear(struct kviommu_unit *unit, const struct kviommu_work *work);

/* sweep.c */
void kviommu_tracked_park(struct kviommu_unit *unit, bool on);

#endif /* _KVIOMMU_TRACKED_API_H */
