// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the guest has unmapped and its devices may still reach, under any other
 * strategy than strict: translations that are kept in the hope that the guest
 * asks for them again (optimistic), and those that are gone from the tables but
 * not from the physical IOTLB. There is a limit to their number and to their
 * age, and until their end the pages are pinned.
 *
 * A translation that is kept is marked in its slot of the shadow copy, and stands
 * in a ring, the oldest first. When the guest asks for it again only the mark
 * goes: so an entry of the ring may be about what is not stale any more, or is
 * again, with another entry. A few bits in the slot tell most of these.
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

/* At the limit of their number, how many are taken down at once */
#define BATCH	64
#define RING_MAX	SZ_64K

/*
 * To keep what the guest does not ask for again costs more than it saves: if of WINDOW
 * that were kept fewer than ENOUGH are reused, the next PAUSE are not kept.
 */
#define WINDOW	1024
#define ENOUGH	(WINDOW / 8)
#define PAUSE	(32 * WINDOW)

/**
 * struct kviommu_stale_entry - A translation that was kept
 * @serial: Of its shadow
 * @iova: Its address
 * @since: When the guest removed it, in ns
 */
struct kviommu_stale_entry {
	u64 serial;
	u64 iova;
	u64 since;
};

static u64 age_max(const struct kviommu_unit *unit)
{
	return unit->policy.stale_us * NSEC_PER_USEC;
}

/* What a device may still reach since then ends with the next flush. */
static void note_since(struct kviommu_stale *stale, u64 since)
{
	if (!stale->since || since < stale->since)
		stale->since = since;
}

/*
 * Since when the oldest of those that are kept is; or earlier, for that may be one
 * that is not stale any more.
 */
static u64 oldest_kept(const struct kviommu_stale *stale)
{
	return stale->kept && stale->tail != stale->head ?
	       stale->ring[stale->tail & (stale->size - 1)].since : U64_MAX;
}

/* And the oldest of all */
static u64 oldest(const struct kviommu_stale *stale)
{
	return min(oldest_kept(stale), stale->since ?: U64_MAX);
}

static void note_peak(struct kviommu_unit *unit)
{
	u64 n = kviommu_stale_pages(unit);

	if (n > unit->stats.stale_peak)
		WRITE_ONCE(unit->stats.stale_peak, n);
}

/* The shadow of an entry, which may be gone. Often it is the last one's. */
static struct kviommu_shadow *find_shadow(struct kviommu_unit *unit, u64 serial,
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
 * Take down the oldest: @n of those that are stale yet, and none that is younger
 * than @before. They are to be flushed.
 */
static void take_down(struct kviommu_unit *unit, const struct kviommu_work *work, u32 n,
		      u64 before)
{
	struct kviommu_stale *stale = &unit->shadows.stale;
	struct kviommu_shadow *shadow = NULL;

	while (n && stale->tail != stale->head) {
		u32 i = stale->tail & (stale->size - 1);
		struct kviommu_stale_entry *e = &stale->ring[i];

		if (e->since > before)
			break;
		stale->tail++;
		shadow = find_shadow(unit, e->serial, shadow);
		if (shadow && kviommu_shadow_end_stale(shadow, work, e->iova, i)) {
			/* Not if it was in a full batch, which is flushed. */
			if (unit->shadows.dirty || unit->shadows.nr_release)
				note_since(stale, e->since);
			n--;
		}
		cond_resched();
	}
}

static void note_outcome(struct kviommu_stale *stale, bool reused)
{
	if (reused)
		stale->reused++;
	else
		stale->ended++;
	if (stale->reused + stale->ended < WINDOW)
		return;
	if (stale->reused < ENOUGH)
		stale->pause = PAUSE;
	stale->reused = 0;
	stale->ended = 0;
}

/**
 * kviommu_stale_keep() - Keep a translation of 4 KiB that the guest removed
 * @shadow: Its shadow
 * @iova: Its I/O virtual address
 *
 * At the limit it takes the place of others. These are to be flushed before the
 * guest hears of it.
 *
 * Context: under unit->lock and map_lock, may sleep.
 * Return: a tag, of which kviommu_shadow_end_stale() gets the lowest bits; -1 if it
 * is not to be kept.
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
		take_down(unit, work, BATCH, U64_MAX);
	i = stale->head++ & (stale->size - 1);
	stale->ring[i] = (struct kviommu_stale_entry){
		shadow->xlate.serial, iova, work->began
	};
	/* Those that follow are younger. */
	if (!stale->kept)
		kviommu_wake(unit, unit->policy.stale_us);
	WRITE_ONCE(stale->kept, stale->kept + 1);
	trace_kviommu_stale(unit->id, shadow->xlate.binding.did, iova, true);
	return i;
}

/**
 * kviommu_stale_dropped() - A translation that was kept is unmapped
 * @unit: The unit
 *
 * Its age goes on until the flush.
 *
 * Context: under map_lock.
 */
void kviommu_stale_dropped(struct kviommu_unit *unit)
{
	u64 since = oldest_kept(&unit->shadows.stale);

	if (since != U64_MAX)
		note_since(&unit->shadows.stale, since);
	WRITE_ONCE(unit->shadows.stale.kept, unit->shadows.stale.kept - 1);
	note_outcome(&unit->shadows.stale, false);
}

/**
 * kviommu_stale_reuse() - The guest asks for a translation that was kept
 * @shadow: Its shadow
 * @iova: Its I/O virtual address
 *
 * Context: under map_lock.
 */
void kviommu_stale_reuse(struct kviommu_shadow *shadow, u64 iova)
{
	struct kviommu_unit *unit = shadow->xlate.unit;

	WRITE_ONCE(unit->shadows.stale.kept, unit->shadows.stale.kept - 1);
	note_outcome(&unit->shadows.stale, true);
	kviommu_count(unit, reuses, 1);
	trace_kviommu_stale(unit->id, shadow->xlate.binding.did, iova, false);
}

/**
 * kviommu_stale_flushed() - What was unmapped is flushed
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
 * kviommu_stale_complete() - The guest waits for the end of what it invalidated
 * @unit: The unit
 *
 * Flushes, if the strategy or what was done asks for it: the guest must not meet
 * an old translation where it has put a new one. What is left to do at once, under
 * async, is for the worker, or for the step itself in a polling thread.
 *
 * Context: under map_lock, may sleep.
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
	/* The worker may lack CPU time, or be gone. */
	if (now - min(now, oldest(stale)) > 2 * age_max(unit)) {
		take_down(unit, work, BATCH, U64_MAX);
		kviommu_iotlb_sync(unit, work);
	}
	note_peak(unit);
	if (strategy != KVIOMMU_STRATEGY_ASYNC)
		kviommu_wake(unit, unit->policy.stale_us);
	else if (work->may_wait)
		kviommu_wake(unit, 0);
}

/**
 * kviommu_stale_expire() - Take down and flush what is too old
 * @unit: The unit
 *
 * Context: under map_lock, may sleep.
 */
void kviommu_stale_expire(struct kviommu_unit *unit)
{
	const struct kviommu_work *work = &kviommu_work_whole;
	struct kviommu_stale *stale = &unit->shadows.stale;
	u64 now = ktime_get_ns();

	if (now >= age_max(unit))
		take_down(unit, work, U32_MAX, now - age_max(unit));
	if (unit->policy.strategy <= KVIOMMU_STRATEGY_ASYNC || !stale->since ||
	    now - stale->since >= age_max(unit))
		kviommu_iotlb_sync(unit, work);

	if (!stale->kept)
		stale->tail = stale->head;
	if (oldest(stale) != U64_MAX)
		kviommu_wake(unit, (oldest(stale) + age_max(unit) - now) /
				  NSEC_PER_USEC);
}

/**
 * kviommu_stale_end() - Take down and flush all that is stale
 * @unit: The unit
 *
 * Context: under map_lock, may sleep.
 * Return: true if there was any.
 */
bool kviommu_stale_end(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	bool any = kviommu_stale_pages(unit);

	take_down(unit, work, U32_MAX, U64_MAX);
	kviommu_iotlb_sync(unit, work);
	/* We ended these, not the guest: do not count them as misses. */
	unit->shadows.stale.reused = 0;
	unit->shadows.stale.ended = 0;
	return any;
}

/**
 * kviommu_stale_pages() - How much is stale, or not yet flushed
 * @unit: The unit
 *
 * Context: under map_lock.
 * Return: pages of 4 KiB.
 */
u64 kviommu_stale_pages(const struct kviommu_unit *unit)
{
	return unit->shadows.stale.kept + unit->shadows.release_frames;
}

/**
 * kviommu_stale_alloc() - Make room for what a policy says
 * @stale: Where to
 * @policy: The policy
 *
 * Context: process context.
 * Return: 0 or -ENOMEM.
 */
int kviommu_stale_alloc(struct kviommu_stale *stale,
			const struct kviommu_policy *policy)
{
	*stale = (struct kviommu_stale){};
	if (policy->strategy != KVIOMMU_STRATEGY_OPTIMISTIC ||
	    !policy->max_stale)
		return 0;
	stale->size = roundup_pow_of_two(clamp(policy->max_stale, BATCH, RING_MAX));
	stale->ring = kvmalloc_array(stale->size, sizeof(*stale->ring),
				     KVIOMMU_GFP);
	return stale->ring ? 0 : -ENOMEM;
}

/**
 * kviommu_stale_free() - Free that
 * @stale: Where; nothing is stale any more
 */
void kviommu_stale_free(struct kviommu_stale *stale)
{
	kvfree(stale->ring);
	*stale = (struct kviommu_stale){};
}
