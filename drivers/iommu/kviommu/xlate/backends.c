// SPDX-License-Identifier: GPL-2.0-only
/*
 * The table of translation back-ends, by kind of binding.
 */
#include "xlate.h"

const struct kviommu_xlate_ops *const kviommu_backends[KVIOMMU_NR_BINDINGS] = {
	[KVIOMMU_BIND_BLOCKED] = &kviommu_blocked_ops,
	[KVIOMMU_BIND_IDENTITY] = &kviommu_identity_ops,
	[KVIOMMU_BIND_DOMAIN] = &kviommu_shadow_ops,
	[KVIOMMU_BIND_NESTED] = &kviommu_nested_ops,
	[KVIOMMU_BIND_TRACKED] = &kviommu_tracked_ops,
};
