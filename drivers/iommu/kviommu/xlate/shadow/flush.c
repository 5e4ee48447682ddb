// SPDX-License-Identifier: GPL-2.0-only
/*
 * The flush that ends every change of shadows. kviommu_iotlb_sync() is the only place
 * where pins of translations are given up: unmapped, flushed, unpinned, in this order.
 */
#include <linux/iommu.h>

#include "shadow.h"

/**
 * kviommu_shadow_gather_init() - Note that nothing of a shadow waits for a flush
 * @shadow: The shadow
 *
 * Much is unmapped, then flushed once: so the driver must not flush by itself.
 *
 * Context: under map_lock.
 */
void kviommu_shadow_gather_init(struct kviommu_shadow *shadow)
{
	iommu_iotlb_gather_init(&shadow->gather);
	shadow->gather.queued = true;
	shadow->dirty = false;
}

/**
 * kviommu_iotlb_sync() - Flush what was unmapped, then release its pins
 * @unit: The unit
 * @work: The piece of work that this is part of
 *
 * When this returns no device reaches what was unmapped before.
 *
 * Context: under map_lock, may sleep.
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
		if (!shadow->dirty)
			continue;
		kviommu_hw_sync(shadow->hw, &shadow->gather);
		kviommu_shadow_gather_init(shadow);
		kviommu_count(unit, syncs, 1);
	}
	for (i = 0; i < s->nr_release; i++)
		kviommu_pin_put_range(unit, work, s->release[i].gfn,
				      s->release[i].nr);
	WRITE_ONCE(s->nr_release, 0);
	s->release_frames = 0;
	kviommu_stale_flushed(unit);
	/* Pairs with the acquire in shadow_complete(). */
	smp_store_release(&s->dirty, false);
}

/**
 * kviommu_shadow_release() - Release pins after the next flush
 * @shadow: The shadow that they were unmapped from
 * @work: The piece of work that this is part of
 * @gfn: First guest frame number
 * @nr: How many frames
 *
 * Context: under map_lock, may sleep; flushes if too much waits already.
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
