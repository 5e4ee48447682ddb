/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The functions of shadows that upper layers call directly.
 */
#ifndef _KVIOMMU_SHADOW_API_H
#define _KVIOMMU_SHADOW_API_H

#include "../../base/unit.h"

/* flush.c */
void kviommu_iotlb_sync(struct kviommu_unit *unit, const struct kviommu_work *work);

/* stale.c */
int kviommu_stale_alloc(struct kviommu_stale *stale,
			const struct kviommu_policy *policy);
void kviommu_stale_free(struct kviommu_stale *stale);
void kviommu_stale_expire(struct kviommu_unit *unit);
bool kviommu_stale_end(struct kviommu_unit *unit, const struct kviommu_work *work);
u64 kviommu_stale_pages(const struct kviommu_unit *unit);

#endif /* _KVIOMMU_SHADOW_API_H */
