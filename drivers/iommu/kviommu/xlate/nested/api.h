/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The functions of nested translations that upper layers call directly.
 */
#ifndef _KVIOMMU_NESTED_API_H
#define _KVIOMMU_NESTED_API_H

#include "../../base/unit.h"

/* stages.c */
int kviommu_nested_join(struct kviommu_unit *unit, struct kviommu_hwgroup *hw);
void kviommu_nested_leave(struct kviommu_unit *unit, struct kviommu_hwgroup *hw);
void kviommu_nested_refill(struct kviommu_unit *unit);
int kviommu_nested_fill(struct kviommu_unit *unit, const struct kviommu_work *work,
			struct kviommu_hwgroup *hw);
int kviommu_nested_fill_most(struct kviommu_unit *unit, const struct kviommu_work *work);
int kviommu_nested_reap(struct kviommu_unit *unit, const struct kviommu_work *work);

#endif /* _KVIOMMU_NESTED_API_H */
