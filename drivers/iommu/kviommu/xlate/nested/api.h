/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The functions of nested translations that upper layers call directly.
 */
#ifndef _KVIOMMU_NESTED_API_H
#define _KVIOMMU_NESTED_API_H

#include "../../base/unit.h"

/* parent.c */
void kviommu_nested_free(struct kviommu_unit *unit);

#endif /* _KVIOMMU_NESTED_API_H */
