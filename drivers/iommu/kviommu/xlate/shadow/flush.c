// SPDX-License-Identifier: GPL-2.0-only
/*
 * The IOTLB flush that ends every change of shadows. Only kviommu_iotlb_sync() releases
 * the pins of mappings, to keep the order: unmap, flush, unpin.
 */
#include "shadow.h"

/**
 * kviommu_iotlb_sync() - Flush everything that was unmapped, then release its pins
 * @unit: The unit
 * @work: The piece of work that this is part of
 *
 * When it returns, no device reaches memory through a mapping that was unmapped before.
 *
 * Context: process context, under map_lock; may sleep.
 */
void kviommu_iotlb_sync(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	struct kviommu_shadows *s = &unit->shadows;
	struct kviommu_shadow *shadow;
	struct kviommu_xlate *xlate;
	unsigned int i;

	lockdep_assert_held(&unit->map_lock);

	if (!s->dirty && !s->nr_release)
		return;
	list_for_each_entry(xlate, &unit->xlates, entry) {
		if (xlate->ops != &kviommu_shadow_ops)
			continue;
		shadow = to_shadow(xlate);
		if (!shadow_is_dirty(shadow))
			continue;
		kviommu_hw_sync(shadow->hw, &shadow->unflushed);
		kviommu_count(unit, syncs, 1);
		/* The hardware may take its time. */
		kviommu_work_spend(work, KVIOMMU_BUDGET_LOOK);
	}
	for (i = 0; i < s->nr_release; i++)
		kviommu_pin_put_range(unit, work, s->release[i].gfn,
				      s->release[i].nr);
	WRITE_ONCE(s->nr_release, 0);
	s->release_frames = 0;
	kviommu_stale_flushed(unit);
	s->dirty = false;
}

/**
 * kviommu_shadow_release() - Release the pins of unmapped frames with the next flush
 * @shadow: The shadow from which the frames were unmapped
 * @work: The piece of work that this is part of
 * @gfn: First guest frame number
 * @nr: Number of frames
 *
 * Flushes at once if too many frames wait.
 *
 * Context: process context, under map_lock; may sleep.
 */
void kviommu_shadow_release(struct kviommu_shadow *shadow,
			    const struct kviommu_work *work, u64 gfn, u64 nr)
{
	struct kviommu_shadows *s = &shadow->xlate.unit->shadows;
	struct kviommu_release *r = s->release + s->nr_release;

	s->release_frames += nr;
	if (s->nr_release && r[-1].gfn + r[-1].nr == gfn) {
		r[-1].nr += nr;
	} else {
		r->gfn = gfn;
		r->nr = nr;
		WRITE_ONCE(s->nr_release, s->nr_release + 1);
	}
	if (s->nr_release == KVIOMMU_RELEASE_BATCH ||
	    s->release_frames >= KVIOMMU_RELEASE_FRAMES)
		kviommu_iotlb_sync(shadow->xlate.unit, work);
}
