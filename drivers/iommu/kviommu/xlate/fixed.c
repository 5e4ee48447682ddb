// SPDX-License-Identifier: GPL-2.0-only
/*
 * The permanent translations, of which each unit has one: blocked, and identity, which
 * is the whole IOAS.
 */
#include "xlate.h"

static int blocked_attach(struct kviommu_xlate *xlate, struct kviommu_hwgroup *hw)
{
	return kviommu_hwgroup_set_domain(hw, NULL);
}

const struct kviommu_xlate_ops kviommu_blocked_ops = {
	.pins = KVIOMMU_PINS_NOTHING,
	.attach = blocked_attach,
};

static int identity_attach(struct kviommu_xlate *xlate, struct kviommu_hwgroup *hw)
{
	return kviommu_hwgroup_set_ioas(hw, xlate->unit->access.ioas_id);
}

const struct kviommu_xlate_ops kviommu_identity_ops = {
	.pins = KVIOMMU_PINS_ALL,
	.attach = identity_attach,
};
