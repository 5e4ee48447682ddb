// SPDX-License-Identifier: GPL-2.0-only
/*
 * The back-end for first-stage tables of the guest: one nested domain for each guest domain
 * that devices use, and each physical IOMMU behind which they are. The guest's maps need
 * nothing here; its invalidations are passed on to the hardware, all that stand before one
 * wait descriptor as one flush, and always before the guest has the status of its wait:
 * the strategies of shadows do not apply.
 */
#include <linux/err.h>
#include <linux/slab.h>

#include "api.h"
#include "nested.h"

static struct kviommu_nested *to_nested(struct kviommu_xlate *xlate)
{
	return container_of(xlate, struct kviommu_nested, xlate);
}

static struct kviommu_xlate *nested_create(struct kviommu_unit *unit,
					   struct kviommu_hwgroup *hw,
					   const struct kviommu_binding *b)
{
	struct kviommu_nested *nested = NULL;
	struct kviommu_parent *parent;
	int ret = -ENOMEM;

	if (unit->stats.domains >= unit->policy.max_domains)
		return ERR_PTR(-EDQUOT);
	parent = kviommu_parent_get(unit, hw);
	if (IS_ERR(parent))
		return ERR_CAST(parent);
	nested = kzalloc_obj(*nested, KVIOMMU_GFP);
	if (!nested)
		goto fail;
	nested->parent = parent;
	nested->hw = kviommu_hwgroup_nest_alloc(hw, parent->domain, b->root, b->levels);
	if (IS_ERR(nested->hw)) {
		ret = PTR_ERR(nested->hw);
		goto fail;
	}
	parent->users++;
	mutex_lock(&unit->map_lock);
	kviommu_count(unit, domains, 1);
	mutex_unlock(&unit->map_lock);
	return &nested->xlate;

fail:
	kfree(nested);
	/* One that is new has nothing that is worth keeping. */
	if (!parent->filled)
		kviommu_nested_free(unit);
	return ERR_PTR(ret);
}

static bool nested_fits(const struct kviommu_xlate *xlate, struct kviommu_hwgroup *hw)
{
	const struct kviommu_nested *nested =
		container_of_const(xlate, struct kviommu_nested, xlate);

	return nested->parent->iommu == kviommu_hwgroup_iommu(hw);
}

static int nested_build(struct kviommu_xlate *xlate, const struct kviommu_work *work)
{
	struct kviommu_parent *parent = to_nested(xlate)->parent;
	int ret;

	/* Of a second stage that is there only what the IOAS has got meanwhile is missing. */
	mutex_lock(&xlate->unit->map_lock);
	ret = kviommu_parent_fill(parent, work, &xlate->unbuilt);
	mutex_unlock(&xlate->unit->map_lock);
	return ret;
}

static int nested_attach(struct kviommu_xlate *xlate, struct kviommu_hwgroup *hw)
{
	return kviommu_hwgroup_set_domain(hw, to_nested(xlate)->hw);
}

static int nested_invalidate(struct kviommu_xlate *xlate, const struct kviommu_work *work,
			     struct kviommu_range *range, bool refresh)
{
	struct kviommu_parent *parent = to_nested(xlate)->parent;
	int ret;

	if (!refresh) {
		parent->dirty = true;
		return 0;
	}
	ret = kviommu_parent_fill(parent, work, range);
	if (!ret || kviommu_unfinished(ret))
		return ret;
	/* What could not be had this time is no reason to leave out other translations. */
	kviommu_error(xlate->unit, "second stage", range->first, ret);
	return 0;
}

static bool nested_complete(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	struct kviommu_parent *parent;

	list_for_each_entry(parent, &unit->nested.parents, entry) {
		if (!parent->dirty)
			continue;
		kviommu_nest_flush(parent->domain);
		parent->dirty = false;
		kviommu_count(unit, syncs, 1);
	}
	return false;
}

static void nested_revoke(struct kviommu_unit *unit, u64 first, u64 last)
{
	struct kviommu_parent *parent;

	list_for_each_entry(parent, &unit->nested.parents, entry)
		kviommu_parent_revoke(parent, first, last);
}

static int nested_drop(struct kviommu_xlate *xlate, const struct kviommu_work *work)
{
	struct kviommu_nested *nested = to_nested(xlate);
	struct kviommu_unit *unit = xlate->unit;

	mutex_lock(&unit->map_lock);
	list_del(&xlate->entry);
	kviommu_count(unit, domains, -1);
	mutex_unlock(&unit->map_lock);
	kviommu_hw_free(nested->hw);
	nested->parent->users--;
	/* It holds what it got before it failed, which others may need. */
	if (!nested->parent->filled)
		kviommu_nested_free(unit);
	kfree(nested);
	return 0;
}

const struct kviommu_xlate_ops kviommu_nested_ops = {
	.pins = KVIOMMU_PINS_ALL,
	.create = nested_create,
	.fits = nested_fits,
	.build = nested_build,
	.attach = nested_attach,
	.invalidate = nested_invalidate,
	.complete = nested_complete,
	.revoke = nested_revoke,
	.drop = nested_drop,
};
