// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stale mappings: those that the guest has unmapped but that its devices may still reach,
 * under any strategy but strict. The optimistic strategy keeps mappings in the domain, as
 * the guest may soon map the same page again. The others leave them in the physical IOTLB
 * for a while. Stale mappings are limited in number and in age, and their pages stay
 * pinned.
 *
 * A kept mapping is marked in its slot of the shadow copy and has an entry in a ring, the
 * oldest first. When the guest maps the page again, only the mark is cleared. So a ring
 * entry may be out of date: its mapping may not be stale any more, or may be stale again
 * with a newer entry. The tag in the slot distinguishes most of these.
 */
#include <linux/ktime.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/time64.h>

#include "shadow.h"
#include "../../base/trace.h"

/* Number of kept mappings that are unmapped at once when there are too many */
#define STALE_BATCH	64
#define STALE_RING_MAX	SZ_64K

/*
 * Keeping mappings that the guest does not reuse costs more than it saves. So if fewer
 * than STALE_ENOUGH out of STALE_WINDOW kept mappings are reused, the next STALE_PAUSE
 * unmapped pages are not kept.
 */
#define STALE_WINDOW	1024
#define STALE_ENOUGH	(STALE_WINDOW / 8)
#define STALE_PAUSE	(32 * STALE_WINDOW)

/**
 * struct kviommu_stale_entry - A ring entry for a kept mapping
 * @serial: Serial number of its shadow
 * @iova: I/O virtual address of the page
 * @since: Time at which the guest unmapped the page, in ns of ktime_get_ns()
 */
struct kviommu_stale_entry {
	u64 serial;
	u64 iova;
	u64 since;
};

static u64 stale_age_max(const struct kviommu_unit *unit)
{
	return unit->policy.stale_us * NSEC_PER_USEC;
}

/* A mapping that became stale at @since now waits for the next flush. */
static void stale_note_since(struct kviommu_stale *stale, u64 since)
{
	if (!stale->since || since < stale->since)
		stale->since = since;
}

/*
 * The time at which the oldest kept mapping became stale, or U64_MAX. It may be too
 * early, as the oldest ring entry may be out of date.
 */
static u64 stale_oldest_kept(const struct kviommu_stale *stale)
{
	return stale->kept && stale->tail != stale->head ?
	       stale->ring[stale->tail & (stale->size - 1)].since : U64_MAX;
}

/* The time at which the oldest stale mapping, kept or unflushed, became stale */
static u64 stale_oldest(const struct kviommu_stale *stale)
{
	return min(stale_oldest_kept(stale), stale->since ?: U64_MAX);
}

static void stale_note_peak(struct kviommu_unit *unit)
{
	u64 n = kviommu_stale_pages(unit);

	if (n > unit->stats.stale_peak)
		WRITE_ONCE(unit->stats.stale_peak, n);
}

/* Find the shadow of a ring entry; NULL if it is freed. Often it is @last. */
static struct kviommu_shadow *stale_find_shadow(struct kviommu_unit *unit, u64 serial,
						struct kviommu_shadow *last)
{
	struct kviommu_xlate *xlate;

	if (last && last->xlate.serial == serial)
		return last;
	list_for_each_entry(xlate, &unit->xlates, entry)
		if (xlate->serial == serial)
			return to_shadow(xlate);
	return NULL;
}

/*
 * Unmap the oldest kept mappings: at most @n that are still stale, and none that became
 * stale after @before. A flush has to follow.
 */
static void stale_take_down(struct kviommu_unit *unit,
			    const struct kviommu_work *work, u32 n, u64 before)
{
	struct kviommu_stale *stale = &unit->shadows.stale;
	struct kviommu_shadow *shadow = NULL;

	while (n && stale->tail != stale->head) {
		u32 i = stale->tail & (stale->size - 1);
		struct kviommu_stale_entry *e = &stale->ring[i];

		if (e->since > before)
			break;
		stale->tail++;
		shadow = stale_find_shadow(unit, e->serial, shadow);
		if (shadow && kviommu_shadow_end_stale(shadow, work, e->iova, i)) {
			/* Unless the release of its pin has already flushed it */
			if (unit->shadows.dirty || unit->shadows.nr_release)
				stale_note_since(stale, e->since);
			n--;
		}
		cond_resched();
	}
}

static void stale_count_outcome(struct kviommu_stale *stale, bool reused)
{
	if (reused)
		stale->reused++;
	else
		stale->ended++;
	if (stale->reused + stale->ended < STALE_WINDOW)
		return;
	if (stale->reused < STALE_ENOUGH)
		stale->pause = STALE_PAUSE;
	stale->reused = 0;
	stale->ended = 0;
}

/**
 * kviommu_stale_keep() - Keep the mapping of a 4 KiB page that the guest has unmapped
 * @shadow: The shadow
 * @work: The piece of work that this is part of
 * @iova: I/O virtual address of the page
 *
 * If there are too many kept mappings, unmaps the oldest; these must be flushed before
 * the guest's invalidation completes.
 *
 * Context: process context, under unit->lock and map_lock; may sleep.
 * Return: a tag, whose lowest 7 bits the caller stores as SLOT_TAG; -1 if the mapping is
 * not to be kept.
 */
int kviommu_stale_keep(struct kviommu_shadow *shadow, const struct kviommu_work *work,
		       u64 iova)
{
	struct kviommu_unit *unit = shadow->xlate.unit;
	struct kviommu_stale *stale = &unit->shadows.stale;
	u32 i;

	if (!stale->size)
		return -1;
	if (stale->pause) {
		stale->pause--;
		return -1;
	}
	if (stale->kept >= unit->policy.max_stale ||
	    stale->head - stale->tail == stale->size)
		stale_take_down(unit, work, STALE_BATCH, U64_MAX);
	i = stale->head++ & (stale->size - 1);
	stale->ring[i] = (struct kviommu_stale_entry){
		shadow->xlate.serial, iova, work->began
	};
	/* Only the oldest needs a wake-up: the worker then looks for the next one. */
	if (!stale->kept)
		kviommu_wake(unit, unit->policy.stale_us);
	WRITE_ONCE(stale->kept, stale->kept + 1);
	trace_kviommu_stale(unit->id, shadow->xlate.binding.did, iova, true);
	return i;
}

/**
 * kviommu_stale_dropped() - Account for a kept mapping that is being unmapped
 * @unit: The unit
 *
 * The mapping stays stale until the next flush.
 *
 * Context: under map_lock.
 */
void kviommu_stale_dropped(struct kviommu_unit *unit)
{
	u64 since = stale_oldest_kept(&unit->shadows.stale);

	if (since != U64_MAX)
		stale_note_since(&unit->shadows.stale, since);
	WRITE_ONCE(unit->shadows.stale.kept, unit->shadows.stale.kept - 1);
	stale_count_outcome(&unit->shadows.stale, false);
}

/**
 * kviommu_stale_reuse() - Account for a kept mapping that the guest maps again
 * @shadow: The shadow
 * @iova: I/O virtual address of the page
 *
 * Context: under map_lock.
 */
void kviommu_stale_reuse(struct kviommu_shadow *shadow, u64 iova)
{
	struct kviommu_unit *unit = shadow->xlate.unit;

	WRITE_ONCE(unit->shadows.stale.kept, unit->shadows.stale.kept - 1);
	stale_count_outcome(&unit->shadows.stale, true);
	kviommu_count(unit, reuses, 1);
	trace_kviommu_stale(unit->id, shadow->xlate.binding.did, iova, false);
}

/**
 * kviommu_stale_flushed() - Account for a flush of all unmapped mappings
 * @unit: The unit
 *
 * Context: under map_lock.
 */
void kviommu_stale_flushed(struct kviommu_unit *unit)
{
	struct kviommu_stale *stale = &unit->shadows.stale;
	u64 ns;

	stale->must_flush = false;
	if (!stale->since)
		return;
	ns = ktime_get_ns() - stale->since;
	stale->since = 0;
	if (ns > unit->stats.stale_ns_max)
		WRITE_ONCE(unit->stats.stale_ns_max, ns);
}

/**
 * kviommu_stale_complete() - Complete the guest's invalidations as the strategy says
 * @unit: The unit
 * @work: The piece of work that this is part of
 *
 * Flushes if the strategy requires it, and also if the guest has replaced a mapping, as
 * its devices must not use the old one then. Under async, the caller sees to the flush when
 * the guest has its status: in a thread that polls at the end of the step, or the worker.
 *
 * Context: process context, under map_lock; may sleep.
 */
void kviommu_stale_complete(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	struct kviommu_stale *stale = &unit->shadows.stale;
	u32 strategy = unit->policy.strategy;
	u64 now;

	/* While paused, flush now; else the next map pays for it. */
	if (strategy == KVIOMMU_STRATEGY_STRICT || stale->must_flush || stale->pause ||
	    kviommu_stale_pages(unit) > unit->policy.max_stale)
		kviommu_iotlb_sync(unit, work);
	if (!unit->shadows.nr_release && !stale->kept)
		return;
	now = ktime_get_ns();
	if (unit->shadows.nr_release && !stale->since)
		stale->since = now;
	/* The worker may be late or killed, so the age is also limited here. */
	if (now - min(now, stale_oldest(stale)) > 2 * stale_age_max(unit)) {
		stale_take_down(unit, work, STALE_BATCH, U64_MAX);
		kviommu_iotlb_sync(unit, work);
	}
	stale_note_peak(unit);
	if (strategy != KVIOMMU_STRATEGY_ASYNC)
		kviommu_wake(unit, unit->policy.stale_us);
}

/**
 * kviommu_stale_expire() - Unmap and flush the stale mappings that are too old
 * @unit: The unit
 *
 * Context: process context, under map_lock; may sleep.
 */
void kviommu_stale_expire(struct kviommu_unit *unit)
{
	const struct kviommu_work *work = &kviommu_work_whole;
	struct kviommu_stale *stale = &unit->shadows.stale;
	u64 now = ktime_get_ns();

	if (now >= stale_age_max(unit))
		stale_take_down(unit, work, U32_MAX, now - stale_age_max(unit));
	if (unit->policy.strategy <= KVIOMMU_STRATEGY_ASYNC || !stale->since ||
	    now - stale->since >= stale_age_max(unit))
		kviommu_iotlb_sync(unit, work);

	if (!stale->kept)
		stale->tail = stale->head;
	if (stale_oldest(stale) != U64_MAX)
		kviommu_wake(unit, (stale_oldest(stale) + stale_age_max(unit) - now) /
				  NSEC_PER_USEC);
}

/**
 * kviommu_stale_end() - Unmap and flush all stale mappings
 * @unit: The unit
 * @work: The piece of work that this is part of
 *
 * Context: process context, under map_lock; may sleep.
 * Return: true if there was any.
 */
bool kviommu_stale_end(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	bool any = kviommu_stale_pages(unit);

	stale_take_down(unit, work, U32_MAX, U64_MAX);
	kviommu_iotlb_sync(unit, work);
	/* We ended these, not the guest: do not count them as misses. */
	unit->shadows.stale.reused = 0;
	unit->shadows.stale.ended = 0;
	return any;
}

/**
 * kviommu_stale_pages() - Count the stale pages of a unit
 * @unit: The unit
 *
 * Context: under map_lock, or without a lock for an approximate value.
 * Return: the number of 4 KiB pages that are kept or wait for a flush.
 */
u64 kviommu_stale_pages(const struct kviommu_unit *unit)
{
	return unit->shadows.stale.kept + unit->shadows.release_frames;
}

/**
 * kviommu_stale_alloc() - Allocate the ring for kept mappings that a policy needs
 * @stale: The structure to initialize
 * @policy: The policy
 *
 * Context: process context, may sleep.
 * Return: 0 or -ENOMEM.
 */
int kviommu_stale_alloc(struct kviommu_stale *stale,
			const struct kviommu_policy *policy)
{
	*stale = (struct kviommu_stale){};
	if (policy->strategy != KVIOMMU_STRATEGY_OPTIMISTIC ||
	    !policy->max_stale)
		return 0;
	stale->size = roundup_pow_of_two(clamp(policy->max_stale, STALE_BATCH, STALE_RING_MAX));
	stale->ring = kvmalloc_array(stale->size, sizeof(*stale->ring),
				     KVIOMMU_GFP);
	return stale->ring ? 0 : -ENOMEM;
}

/**
 * kviommu_stale_free() - Undo kviommu_stale_alloc()
 * @stale: The structure; no mapping is stale any more
 *
 * Context: process context.
 */
void kviommu_stale_free(struct kviommu_stale *stale)
{
	kvfree(stale->ring);
	*stale = (struct kviommu_stale){};
}
