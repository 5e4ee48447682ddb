// SPDX-License-Identifier: GPL-2.0-only
/*
 * The back-end: one shadow for each guest domain that devices use and each kind of
 * physical IOMMU behind which they are.
 */
#include <linux/err.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "shadow.h"

static const struct kviommu_range nothing_lost = { U64_MAX, 0 };

static struct kviommu_xlate *shadow_create(struct kviommu_unit *unit,
					   struct kviommu_hwgroup *hw,
					   const struct kviommu_binding *b)
{
	struct kviommu_shadow *shadow;
	int ret;

	if (unit->stats.domains >= unit->policy.max_domains)
		return ERR_PTR(-EDQUOT);
	shadow = kzalloc_obj(*shadow, KVIOMMU_GFP);
	if (!shadow)
		return ERR_PTR(-ENOMEM);
	shadow->reserved = hw->reserved;
	shadow->hw = kviommu_hwgroup_alloc(hw);
	if (IS_ERR(shadow->hw)) {
		ret = PTR_ERR(shadow->hw);
		kfree(shadow);
		return ERR_PTR(ret);
	}
	shadow->coherent = kviommu_hwgroup_enforces_coherency(hw);
	shadow->splits = kviommu_hw_splits(shadow->hw);
	shadow->lost = nothing_lost;
	xa_init_flags(&shadow->hw_tables, XA_FLAGS_ACCOUNT);
	kviommu_hw_all_flushed(&shadow->unflushed);
	mutex_lock(&unit->map_lock);
	kviommu_count(unit, domains, 1);
	mutex_unlock(&unit->map_lock);
	return &shadow->xlate;
}

static bool shadow_fits(const struct kviommu_xlate *xlate,
			struct kviommu_hwgroup *hw)
{
	const struct kviommu_shadow *shadow =
		container_of_const(xlate, struct kviommu_shadow, xlate);

	return shadow->coherent == kviommu_hwgroup_enforces_coherency(hw) &&
	       !memcmp(&shadow->reserved, &hw->reserved, sizeof(hw->reserved));
}

static int shadow_build(struct kviommu_xlate *xlate, const struct kviommu_work *work)
{
	struct kviommu_unit *unit = xlate->unit;
	int ret;

	mutex_lock(&unit->map_lock);
	ret = kviommu_merge(to_shadow(xlate), work, &xlate->unbuilt, true);
	kviommu_iotlb_sync(unit, work);
	mutex_unlock(&unit->map_lock);
	return ret;
}

static int shadow_attach(struct kviommu_xlate *xlate, struct kviommu_hwgroup *hw)
{
	return kviommu_hwgroup_set_domain(hw, to_shadow(xlate)->hw);
}

static int shadow_invalidate(struct kviommu_xlate *xlate,
			     const struct kviommu_work *work,
			     struct kviommu_range *range, bool refresh)
{
	return kviommu_merge(to_shadow(xlate), work, range, refresh);
}

static bool shadow_complete(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	struct kviommu_shadows *s = &unit->shadows;

	if (s->dirty || s->nr_release || s->stale.kept)
		kviommu_stale_complete(unit, work);
	/* What is stale has an age, which is looked at each time. */
	return s->nr_release || s->stale.kept;
}

static void shadow_revoke(struct kviommu_unit *unit, u64 first, u64 last)
{
	struct kviommu_xlate *xlate;

	list_for_each_entry(xlate, &unit->xlates, entry)
		if (xlate->ops == &kviommu_shadow_ops)
			kviommu_shadow_revoke(to_shadow(xlate), first, last);
	kviommu_iotlb_sync(unit, &kviommu_work_whole);
}

static bool shadow_has_lost(const struct kviommu_shadow *shadow)
{
	return shadow->lost.first <= shadow->lost.last;
}

/* Map what is left of large leaves that the IOAS has lost a part of. */
static int shadow_find_lost(struct kviommu_shadow *shadow, const struct kviommu_work *work)
{
	struct kviommu_range range = shadow->lost, *lost = &shadow->lost;
	int ret;

	/* One that nothing uses yet is not complete, or else is being taken down. */
	if (!shadow_has_lost(shadow) || !shadow->xlate.users)
		return 0;
	*lost = nothing_lost;
	ret = kviommu_merge(shadow, work, &range, true);
	/* More may have been lost meanwhile. */
	if (ret)
		*lost = (struct kviommu_range){ min(lost->first, range.first),
						max(lost->last, range.last) };
	kviommu_iotlb_sync(shadow->xlate.unit, work);
	return ret;
}

static bool shadow_tidy(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	struct kviommu_xlate *xlate;
	int ret = 0;

	if (!READ_ONCE(unit->shadows.lost))
		return false;
	mutex_lock(&unit->map_lock);
	/* More may be lost from here on, as a merge drops map_lock. */
	WRITE_ONCE(unit->shadows.lost, false);
	list_for_each_entry(xlate, &unit->xlates, entry) {
		if (xlate->ops != &kviommu_shadow_ops)
			continue;
		if (!ret)
			ret = shadow_find_lost(to_shadow(xlate), work);
		if (shadow_has_lost(to_shadow(xlate)))
			WRITE_ONCE(unit->shadows.lost, true);
	}
	mutex_unlock(&unit->map_lock);
	return ret == -EAGAIN;
}

static int shadow_drop(struct kviommu_xlate *xlate, const struct kviommu_work *work)
{
	struct kviommu_shadow *shadow = to_shadow(xlate);
	struct kviommu_unit *unit = xlate->unit;
	int ret;

	mutex_lock(&unit->map_lock);
	ret = kviommu_shadow_take_down(shadow, work);
	kviommu_iotlb_sync(unit, work);
	if (ret) {
		mutex_unlock(&unit->map_lock);
		return ret;
	}
	list_del(&xlate->entry);
	kviommu_hw_free(shadow->hw);
	xa_destroy(&shadow->hw_tables);
	kviommu_count(unit, iommu_tables, -shadow->nr_hw_tables);
	kviommu_count(unit, domains, -1);
	mutex_unlock(&unit->map_lock);
	kfree(shadow);
	return 0;
}

static u64 shadow_pinned(const struct kviommu_xlate *xlate)
{
	return READ_ONCE(container_of_const(xlate, struct kviommu_shadow, xlate)->mapped);
}

static int shadow_reap(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	mutex_lock(&unit->map_lock);
	kviommu_shadow_free_spare(unit);
	mutex_unlock(&unit->map_lock);
	return 0;
}

static int shadow_release(struct kviommu_unit *unit, const struct kviommu_work *work,
			  struct kviommu_range *range)
{
	kviommu_stale_end(unit, work);
	return 0;
}

static u64 shadow_table_bytes(const struct kviommu_unit *unit)
{
	const struct kviommu_shadows *s = &unit->shadows;

	return (s->nr_nodes + s->nr_spare) * (PAGE_SIZE + sizeof(struct kviommu_node));
}

const struct kviommu_xlate_ops kviommu_shadow_ops = {
	.pins = KVIOMMU_PINS_MAPPED,
	.create = shadow_create,
	.fits = shadow_fits,
	.build = shadow_build,
	.attach = shadow_attach,
	.invalidate = shadow_invalidate,
	.complete = shadow_complete,
	.revoke = shadow_revoke,
	.tidy = shadow_tidy,
	.drop = shadow_drop,
	.next = kviommu_shadow_next,
	.pinned = shadow_pinned,
	.reap = shadow_reap,
	.release = shadow_release,
	.table_bytes = shadow_table_bytes,
};
