// SPDX-License-Identifier: GPL-2.0-only
/*
 * The back-end: one translation for all tracked devices behind one kind of physical IOMMU.
 */
#include <linux/err.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "tracked.h"
#include "../../mem/mem.h"

static struct kviommu_xlate *tracked_create(struct kviommu_unit *unit,
					    struct kviommu_hwgroup *hw,
					    const struct kviommu_binding *b)
{
	struct kviommu_tracked *t;
	int ret;

	if (unit->stats.domains >= unit->policy.max_domains)
		return ERR_PTR(-EDQUOT);
	t = kzalloc_obj(*t, KVIOMMU_GFP);
	if (!t)
		return ERR_PTR(-ENOMEM);
	t->reserved = hw->reserved;
	t->hw = kviommu_hwgroup_alloc(hw);
	if (IS_ERR(t->hw)) {
		ret = PTR_ERR(t->hw);
		kfree(t);
		return ERR_PTR(ret);
	}
	t->coherent = kviommu_hwgroup_enforces_coherency(hw);
	t->partial = true;
	kviommu_hw_all_flushed(&t->unflushed);
	mutex_lock(&unit->map_lock);
	kviommu_count(unit, domains, 1);
	mutex_unlock(&unit->map_lock);
	return &t->xlate;
}

static bool tracked_fits(const struct kviommu_xlate *xlate, struct kviommu_hwgroup *hw)
{
	const struct kviommu_tracked *t =
		container_of_const(xlate, struct kviommu_tracked, xlate);

	return t->coherent == kviommu_hwgroup_enforces_coherency(hw) &&
	       !memcmp(&t->reserved, &hw->reserved, sizeof(hw->reserved));
}

/* Map a frame that is pinned already, and may be mapped. */
static int tracked_add(struct kviommu_tracked *t, const struct kviommu_work *work, u64 gfn)
{
	struct kviommu_unit *unit = t->xlate.unit;
	u64 pfn;
	int ret;

	if (kviommu_hw_phys(t->hw, PFN_PHYS(gfn)))
		return 0;
	ret = kviommu_pin_get(unit, work, gfn, KVIOMMU_READ | KVIOMMU_WRITE, &pfn);
	if (ret)
		return ret;
	ret = kviommu_tracked_map(t, gfn, pfn);
	kviommu_pin_put(unit, work, gfn);
	return ret;
}

/*
 * Map all of a leaf. A frame at an address that this IOMMU does not translate, or reserves, is
 * one that devices behind it do not reach, though the guest takes it for pinned. Return: 0;
 * another error of tracked_add(), for which devices are not attached, and tried again.
 */
static int tracked_add_leaf(struct kviommu_tracked *t, const struct kviommu_work *work,
			    const struct tracked_leaf *leaf)
{
	unsigned int i;
	int ret;

	for_each_set_bit(i, leaf->pinned, DTT_WORDS) {
		ret = tracked_add(t, work, leaf_gfn(leaf) + i);
		if (ret && ret != -ERANGE)
			return ret;
		if (!ret)
			continue;
		kviommu_error(t->xlate.unit, "tracked frame", PFN_PHYS(leaf_gfn(leaf) + i),
			      ret);
		t->incomplete = true;
	}
	return 0;
}

static int tracked_build(struct kviommu_xlate *xlate, const struct kviommu_work *work)
{
	struct kviommu_tracked *t = to_tracked(xlate);
	struct kviommu_unit *unit = xlate->unit;
	unsigned long index = xlate->unbuilt.first;
	struct tracked_leaf *leaf;
	int ret = 0;

	mutex_lock(&unit->map_lock);
	while (!ret && (leaf = kviommu_tracked_find(unit, &index, ULONG_MAX))) {
		ret = tracked_add_leaf(t, work, leaf);
		if (ret)
			break;
		index++;
		ret = kviommu_resched(unit, work);
	}
	/* Here this is an index of leaves. */
	xlate->unbuilt.first = index;
	if (!ret)
		t->partial = t->incomplete;
	mutex_unlock(&unit->map_lock);
	return ret;
}

static int tracked_attach(struct kviommu_xlate *xlate, struct kviommu_hwgroup *hw)
{
	return kviommu_hwgroup_set_domain(hw, to_tracked(xlate)->hw);
}

/* There is nothing that the guest could invalidate. */
static int tracked_invalidate(struct kviommu_xlate *xlate, const struct kviommu_work *work,
			      struct kviommu_range *range, bool refresh)
{
	return 0;
}

static void tracked_drop_leaf(struct kviommu_tracked *t, const struct tracked_leaf *leaf)
{
	unsigned int i, n;

	for (i = 0; i < DTT_WORDS; i += n) {
		for (n = 0; i + n < DTT_WORDS && test_bit(i + n, leaf->pinned); n++)
			;
		if (n)
			kviommu_tracked_unmap(t, leaf_gfn(leaf) + i, n);
		else
			n = 1;
	}
}

static int tracked_drop(struct kviommu_xlate *xlate, const struct kviommu_work *work)
{
	struct kviommu_tracked *t = to_tracked(xlate);
	struct kviommu_unit *unit = xlate->unit;
	struct tracked_leaf *leaf;
	unsigned long index;
	int ret = 0;

	mutex_lock(&unit->map_lock);
	index = t->taken_down;
	while (!ret && (leaf = kviommu_tracked_find(unit, &index, ULONG_MAX))) {
		tracked_drop_leaf(t, leaf);
		t->taken_down = ++index;
		ret = kviommu_resched(unit, work);
	}
	kviommu_tracked_flush(t);
	if (ret) {
		mutex_unlock(&unit->map_lock);
		return ret;
	}
	list_del(&xlate->entry);
	kviommu_count(unit, domains, -1);
	mutex_unlock(&unit->map_lock);
	kviommu_hw_free(t->hw);
	kfree(t);
	return 0;
}

static u64 tracked_pinned(const struct kviommu_xlate *xlate)
{
	return READ_ONCE(container_of_const(xlate, struct kviommu_tracked, xlate)->mapped);
}

/* Not by group: what all of them reach may be in frames that the IOAS has taken away. */
static int tracked_fill(struct kviommu_unit *unit, const struct kviommu_work *work,
			struct kviommu_hwgroup *hw)
{
	int ret;

	mutex_lock(&unit->map_lock);
	ret = kviommu_tracked_tell(unit, work);
	mutex_unlock(&unit->map_lock);
	return ret;
}

static u64 tracked_table_bytes(const struct kviommu_unit *unit)
{
	return (u64)unit->tracked.nr_leaves * sizeof(struct tracked_leaf);
}

const struct kviommu_xlate_ops kviommu_tracked_ops = {
	.pins = KVIOMMU_PINS_MAPPED,
	.create = tracked_create,
	.fits = tracked_fits,
	.build = tracked_build,
	.attach = tracked_attach,
	.invalidate = tracked_invalidate,
	.revoke = kviommu_tracked_revoke,
	.drop = tracked_drop,
	.pinned = tracked_pinned,
	.fill = tracked_fill,
	.reap = kviommu_tracked_reap,
	.tidy = kviommu_tracked_tidy,
	.release = kviommu_tracked_release,
	.policy_set = kviommu_tracked_policy_set,
	.table_bytes = tracked_table_bytes,
};
