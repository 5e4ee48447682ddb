// SPDX-License-Identifier: GPL-2.0-only
/*
 * When frames are unpinned. The guest does not say when it has no use for a frame any more, so
 * its words are looked at, leaf by leaf:
 *
 * - for age: in each round, of unpin_ms, every word is looked at once. A frame that is not in
 *   use, and that the guest has not mapped since the last round, goes. For others the bit
 *   ACCESSED is cleared, so each round is a generation.
 * - at a limit, and when the host lacks memory: from a hand on that goes round all leaves, in
 *   the same way; in its second round all that is not in use goes.
 * - when the VMM asks for frames: these, if they are not in use, at once.
 *
 * While the guest has parked the unit it may change the tables: nothing is unpinned then.
 */
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/time64.h>

#include "api.h"
#include "tracked.h"
#include "../../mem/mem.h"

/*
 * Unpin what is not in use of a leaf: what has not been mapped since the last look, or, with
 * @force, all; @max frames at most. @busy is increased by the number of frames that are in use,
 * or may be. Frees the leaf if that was all of it. Return: the number of frames unpinned.
 */
static unsigned int leaf_sweep(struct kviommu_unit *unit, const struct kviommu_work *work,
			       struct tracked_leaf *leaf, const struct kviommu_range *range,
			       bool force, u64 max, u64 *busy)
{
	u64 gfn = leaf_gfn(leaf);
	unsigned int i, n = 0;
	u32 *words, old;

	if (kviommu_dtt_open(unit, work, gfn, &words)) {
		*busy += leaf->nr;
		return 0;
	}
	for_each_set_bit(i, leaf->pinned, DTT_WORDS) {
		if (gfn + i < range->first || gfn + i > range->last)
			continue;
		if (n == max)
			break;
		if (force)
			kviommu_dtt_age(words + i);
		old = kviommu_dtt_take(words + i);
		if (old == DTT_PINNED || !old) {
			kviommu_tracked_unpin(unit, leaf, i);
			n++;
			continue;
		}
		if (old & DTT_COUNT)
			++*busy;
		if (old & DTT_ACCESSED)
			kviommu_dtt_age(words + i);
	}
	kviommu_tracked_unpin_end(unit, leaf);
	kviommu_leaf_put(unit, leaf);
	return n;
}

static const struct kviommu_range sweep_all = { 0, U64_MAX };

/* Sweep the leaf at the hand, and move that on. */
static unsigned int sweep_hand(struct kviommu_unit *unit, const struct kviommu_work *work,
			       u64 max, u64 *busy)
{
	struct kviommu_tracked_state *s = &unit->tracked;
	struct tracked_leaf *leaf = kviommu_tracked_find(unit, &s->hand, ULONG_MAX);

	if (!leaf) {
		s->hand = 0;
		leaf = kviommu_tracked_find(unit, &s->hand, ULONG_MAX);
	}
	if (!leaf)
		return 0;
	s->hand = leaf->index + 1;
	return leaf_sweep(unit, work, leaf, &sweep_all, false, max, busy);
}

/**
 * kviommu_tracked_reclaim() - Unpin something, for another frame at a limit
 * @unit: The unit
 * @work: The piece of work that this is part of
 *
 * The caller sets kviommu_tracked_state.hand_left to 0 when it has what it wanted, or gives up.
 *
 * Context: process context, under unit->lock and map_lock; may sleep.
 * Return: 0 if something was unpinned; -ENOENT if all is in use; -EAGAIN or -EINTR to be
 * called again.
 */
int kviommu_tracked_reclaim(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	struct kviommu_tracked_state *s = &unit->tracked;
	u64 busy = 0;
	int ret;

	if (s->parked)
		return -ENOENT;
	if (!s->hand_left)
		s->hand_left = 2 * s->nr_leaves;
	while (s->hand_left) {
		s->hand_left--;
		if (sweep_hand(unit, work, KVIOMMU_UNPIN_BATCH, &busy))
			return 0;
		ret = kviommu_resched(unit, work);
		/* Without a leaf left to look at this has to end, not to begin anew. */
		if (ret && s->hand_left)
			return ret;
	}
	return -ENOENT;
}

/* Unpin what the shrinker wants. Return: true if there is more to do. */
static bool tracked_shrink(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	struct kviommu_tracked_state *s = &unit->tracked;
	unsigned long wanted = atomic_long_xchg(&s->wanted, 0);
	unsigned int i, n;
	u64 busy = 0;

	if (!wanted)
		return false;
	if (!s->shrink_left)
		s->shrink_left = 2 * s->nr_leaves;
	for (i = 0; i < TRACKED_LEAVES && wanted && s->shrink_left; i++) {
		n = sweep_hand(unit, work, wanted, &busy);
		wanted -= n;
		s->shrink_left--;
		kviommu_count(unit, reclaims, n);
	}
	if (wanted && s->shrink_left) {
		atomic_long_add(wanted, &s->wanted);
		return true;
	}
	s->shrink_left = 0;
	/* The shrinker need not ask again before there is more. */
	if (wanted)
		WRITE_ONCE(s->busy, s->pinned);
	return false;
}

/*
 * Go on with the round that is due. If there are more frames to unpin than are allowed in one
 * round, the next one goes on from there. Return: true if the round is not over.
 */
static bool tracked_round(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	struct kviommu_tracked_state *s = &unit->tracked;
	struct tracked_leaf *leaf;
	unsigned int n = 0;

	if (!s->sweeping) {
		if (!s->ticking || time_before(jiffies, s->round_at))
			return false;
		s->sweeping = true;
		s->round_left = unit->policy.unpin_pages;
		if (!s->next)
			s->round_busy = 0;
	}
	while ((leaf = kviommu_tracked_find(unit, &s->next, ULONG_MAX))) {
		if (n++ == TRACKED_LEAVES)
			return true;
		s->round_left -= leaf_sweep(unit, work, leaf, &sweep_all, false, s->round_left,
					    &s->round_busy);
		if (!s->round_left)
			break;
		s->next++;
	}
	if (!leaf) {
		s->next = 0;
		WRITE_ONCE(s->busy, s->round_busy);
	}
	s->sweeping = false;
	s->ticking = false;
	return false;
}

/**
 * kviommu_tracked_schedule() - Schedule the next round, if there is something to grow old
 * @unit: The unit
 *
 * Context: under map_lock.
 */
void kviommu_tracked_schedule(struct kviommu_unit *unit)
{
	struct kviommu_tracked_state *s = &unit->tracked;
	u64 ms = min_t(u64, unit->policy.unpin_ms, INT_MAX);

	if (!ms || !s->pinned || !s->active || s->parked) {
		s->ticking = false;
		return;
	}
	if (!s->ticking) {
		s->ticking = true;
		s->round_at = jiffies + msecs_to_jiffies(ms);
	}
	ms = 0;
	if (time_before(jiffies, s->round_at))
		ms = jiffies_to_msecs(s->round_at - jiffies);
	kviommu_wake(unit, ms * USEC_PER_MSEC);
}

/**
 * kviommu_tracked_policy_set() - Begin to wait anew for the next round, for another policy
 * @unit: The unit
 *
 * Context: under map_lock.
 */
void kviommu_tracked_policy_set(struct kviommu_unit *unit)
{
	unit->tracked.ticking = false;
	kviommu_tracked_schedule(unit);
}

/**
 * kviommu_tracked_tidy() - Unpin what is due, and tell the guest what is not pinned any more
 * @unit: The unit
 * @work: The piece of work that this is part of
 *
 * Context: the unit's worker, under unit->lock, not under map_lock; may sleep.
 * Return: true if there is more to do.
 */
bool kviommu_tracked_tidy(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	struct kviommu_tracked_state *s = &unit->tracked;
	bool more = false;

	/* Nothing can be unpinned then, and the shrinker would count what it wants for ever. */
	if (!s->active || s->parked || READ_ONCE(unit->closing))
		atomic_long_xchg(&s->wanted, 0);
	if (!s->active || READ_ONCE(unit->closing))
		return false;
	mutex_lock(&unit->map_lock);
	if (!s->parked)
		more = kviommu_tracked_tell(unit, work) || tracked_shrink(unit, work) ||
		       tracked_round(unit, work);
	if (!more)
		kviommu_tracked_schedule(unit);
	mutex_unlock(&unit->map_lock);
	return more;
}

/**
 * kviommu_tracked_release() - Unpin what is not in use of a range, for the VMM
 * @unit: The unit
 * @work: The piece of work that this is part of
 * @range: Guest frame numbers; its beginning is moved past the frames that are done
 *
 * Context: process context, under unit->lock and map_lock; may sleep.
 * Return: 0; -EAGAIN or -EINTR as kviommu_resched() if a part of @range is left.
 */
int kviommu_tracked_release(struct kviommu_unit *unit, const struct kviommu_work *work,
			    struct kviommu_range *range)
{
	struct kviommu_tracked_state *s = &unit->tracked;
	unsigned long index = range->first >> DTT_WORD_BITS;
	struct tracked_leaf *leaf;
	u64 busy = 0;
	int ret;

	if (!s->active || s->parked) {
		/* A request may have been served since the guest parked the unit. */
		kviommu_dtt_close(unit);
		return 0;
	}
	while ((leaf = kviommu_tracked_find(unit, &index, range->last >> DTT_WORD_BITS))) {
		kviommu_count(unit, reclaims,
			      leaf_sweep(unit, work, leaf, range, true, U64_MAX, &busy));
		index++;
		range->first = (u64)index << DTT_WORD_BITS;
		if (range->first > range->last)
			break;
		ret = kviommu_resched(unit, work);
		if (ret)
			return ret;
	}
	/* A page that was a table, or is one, if the VMM takes that. */
	kviommu_dtt_close(unit);
	return 0;
}

/**
 * kviommu_tracked_park() - Leave the guest's table alone, or not any more
 * @unit: The unit
 * @on: Whether it is to be left alone; each time has to be undone
 *
 * Context: process context, under unit->lock, not under map_lock; may sleep.
 */
void kviommu_tracked_park(struct kviommu_unit *unit, bool on)
{
	struct kviommu_tracked_state *s = &unit->tracked;

	mutex_lock(&unit->map_lock);
	if (on && s->parked < U32_MAX)
		WRITE_ONCE(s->parked, s->parked + 1);
	if (!on && s->parked)
		WRITE_ONCE(s->parked, s->parked - 1);
	/* What was a table may be anything by now. */
	kviommu_dtt_close(unit);
	mutex_unlock(&unit->map_lock);
	/* What had to wait, and the next round */
	if (!s->parked)
		kviommu_wake(unit, 0);
}
