/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The models: what the guest sees.
 *
 *	vtd/	Intel VT-d, legacy mode
 */
#ifndef _KVIOMMU_MODELS_H
#define _KVIOMMU_MODELS_H

#include "../base/model.h"

struct kviommu_model *kviommu_vtd_create(struct kviommu_unit *unit,
					 unsigned int aw_bits, bool boot_identity,
					 u64 *cap, u64 *ecap);

#endif /* _KVIOMMU_MODELS_H */
