// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kinds of models that a VMM can create.
 */
#include <linux/stddef.h>

#include "model.h"

const struct kviommu_model_kind *const kviommu_models[] = {
	&kviommu_vtd, &kviommu_coiommu, NULL
};
