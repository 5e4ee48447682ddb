/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The models: what the guest sees.
 *
 *	vtd/	Intel VT-d, legacy mode
 */
#ifndef _KVIOMMU_MODELS_H
#define _KVIOMMU_MODELS_H

#include "../base/model.h"

/**
 * union kviommu_model_args - What a unit of some model is to be like
 * @vtd: Of KVIOMMU_MODEL_VTD
 */
union kviommu_model_args {
	struct kviommu_create_vtd vtd;
};

void kviommu_vtd_get_info(struct kviommu_vtd_info *info);
struct kviommu_model *kviommu_vtd_create(struct kviommu_unit *unit,
					 const struct kviommu_create_vtd *args);

#endif /* _KVIOMMU_MODELS_H */
