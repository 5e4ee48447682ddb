/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The models: what the guest sees.
 *
 *	models.c	the table of kinds of models
 *	vtd/		Intel VT-d, legacy and scalable mode
 *	coiommu/	coIOMMU: a guest without remapping says which pages are in use for DMA
 */
#ifndef _KVIOMMU_MODELS_H
#define _KVIOMMU_MODELS_H

#include "../base/model.h"

/* models.c: terminated by NULL */
extern const struct kviommu_model_kind *const kviommu_models[];

/* vtd/ */
extern const struct kviommu_model_kind kviommu_vtd;

/* coiommu/ */
extern const struct kviommu_model_kind kviommu_coiommu;

#endif /* _KVIOMMU_MODELS_H */
