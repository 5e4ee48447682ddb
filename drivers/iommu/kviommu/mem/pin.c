// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pin cache: which guest frames are pinned, and how often they are used.
 * A frame is pinned once for the whole unit. After its last use the pin stays, so that
 * the next use needs no call into iommufd. Such an idle pin is released when there are
 * too many of them, when it is too old, when the host lacks memory, when the VMM asks
 * for it (idle.c), or when the IOAS unmaps the frame.
 */
#include <linux/err.h>
#include <linux/slab.h>

#include "pins.h"
#include "../base/trace.h"

static struct chunk *chunk_get(struct kviommu_unit *unit,
			       const struct kviommu_work *work, u64 gfn)
{
	unsigned long index = gfn >> CHUNK_SHIFT;
	struct chunk *chunk = chunk_find(unit, gfn);
	int ret;

	if (chunk)
		return chunk;
	if (!work->may_wait)
		return ERR_PTR(-EAGAIN);
	chunk = kzalloc_obj(*chunk, KVIOMMU_GFP);
	if (!chunk)
		return ERR_PTR(-ENOMEM);
	ret = xa_err(xa_store(&unit->pins.chunks, index, chunk,
			      KVIOMMU_GFP));
	if (ret) {
		kfree(chunk);
		return ERR_PTR(ret);
	}
	unit->pins.nr_chunks++;
	return chunk;
}

/**
 * kviommu_chunk_put() - Free a chunk of the pin cache if it has no pinned frame
 * @unit: The unit
 * @chunk: The chunk
 * @index: Index of the chunk
 *
 * Context: under map_lock.
 */
void kviommu_chunk_put(struct kviommu_unit *unit, struct chunk *chunk,
		       unsigned long index)
{
	unsigned int i;

	for (i = 0; i < CHUNK_GFNS; i++)
		if (chunk->pins[i].pinned)
			return;
	if (chunk_recent(&unit->pins, index)->chunk == chunk)
		*chunk_recent(&unit->pins, index) = (struct kviommu_recent){};
	xa_erase(&unit->pins.chunks, index);
	unit->pins.nr_chunks--;
	kfree(chunk);
}

/**
 * kviommu_pin_unpin() - Release the pin of an idle frame
 * @unit: The unit
 * @p: State of the frame
 * @gfn: Guest frame number
 *
 * Context: process context, under map_lock; may sleep.
 */
void kviommu_pin_unpin(struct kviommu_unit *unit, struct pin *p, u64 gfn)
{
	pin_clear_idle(unit, p);
	kviommu_access_unpin(&unit->access, gfn);
	*p = (struct pin){};
	unit->pins.pinned--;
	trace_kviommu_unpin(unit->id, gfn);
}

/* Get read or write access to a frame from iommufd, which pins it if necessary. */
static int pin_add_right(struct kviommu_unit *unit, const struct kviommu_work *work,
			 struct pin *p, u64 gfn, bool write, bool beyond_limit)
{
	struct page *page;
	int ret;

	/* iommufd may take the VMM's mmap_lock and fault. */
	if (!work->may_wait)
		return -EAGAIN;
	if (!p->pinned && !beyond_limit && unit->pins.pinned >= unit->policy.max_pins)
		return -EDQUOT;
	ret = kviommu_access_pin(&unit->access, gfn, write, &page);
	if (ret)
		return ret;
	if (p->pinned) {
		kviommu_access_unpin(&unit->access, gfn);
	} else {
		p->pfn = page_to_pfn(page);
		p->pinned = 1;
		pin_set_idle(unit, p, gfn);
		unit->pins.pinned++;
		kviommu_pin_note_peak(unit);
		kviommu_count(unit, pin_misses, 1);
		trace_kviommu_pin(unit->id, gfn, p->pfn);
	}
	if (write)
		p->writable = 1;
	else
		p->readable = 1;
	return 0;
}

static noinline int pin_get_slow(struct kviommu_unit *unit,
				 const struct kviommu_work *work, u64 gfn,
				 unsigned int prot, u64 *pfn)
{
	bool beyond_limit = prot & KVIOMMU_BEYOND_LIMIT;
	struct chunk *chunk;
	struct pin *p;
	int ret = 0;

	chunk = chunk_get(unit, work, gfn);
	if (IS_ERR(chunk))
		return PTR_ERR(chunk);
	p = &chunk->pins[gfn % CHUNK_GFNS];
	if (p->pinned)
		kviommu_count(unit, pin_hits, 1);

	if ((prot & KVIOMMU_WRITE) && !p->writable)
		ret = pin_add_right(unit, work, p, gfn, true, beyond_limit);
	if (!ret && (prot & KVIOMMU_READ) && !p->readable)
		ret = pin_add_right(unit, work, p, gfn, false, beyond_limit);
	if (!ret && !p->idle && p->uses == MAX_USES)
		ret = -EOVERFLOW;
	if (ret) {
		kviommu_chunk_put(unit, chunk, gfn >> CHUNK_SHIFT);
		return ret;
	}

	*pfn = pin_use(unit, p);
	return 0;
}

/**
 * kviommu_pin_get() - Use a guest frame, which pins it if necessary
 * @unit: The unit
 * @work: The piece of work that this is part of
 * @gfn: Guest frame number
 * @prot: KVIOMMU_READ, KVIOMMU_WRITE or both; and KVIOMMU_BEYOND_LIMIT
 * @pfn: Set to the host frame number; the frame stays pinned until kviommu_pin_put()
 *
 * Context: process context, under map_lock; may sleep if @work may wait.
 * Return: 0; -ENOENT if the IOAS has no such memory; -EPERM if it denies @prot;
 * -EDQUOT at the limit of pins; -EOVERFLOW if the frame has too many users; -EAGAIN if
 * it must be pinned but @work may not wait; -ENOMEM, also at the limit of locked
 * memory; or another error of kviommu_access_pin().
 */
int kviommu_pin_get(struct kviommu_unit *unit, const struct kviommu_work *work,
		    u64 gfn, unsigned int prot, u64 *pfn)
{
	struct chunk *chunk;
	struct pin *p;
	int ret;

	lockdep_assert_held(&unit->map_lock);

	if (gfn > ULONG_MAX >> PAGE_SHIFT)
		return -ENOENT;
	chunk = chunk_find(unit, gfn);
	p = chunk ? &chunk->pins[gfn % CHUNK_GFNS] : NULL;
	if (likely(p && pin_has_rights(p, prot) && (p->idle || p->uses < MAX_USES))) {
		kviommu_count(unit, pin_hits, 1);
		*pfn = pin_use(unit, p);
		return 0;
	}
	for (;;) {
		ret = pin_get_slow(unit, work, gfn, prot, pfn);
		/* At a limit, release idle pins and try again. */
		if ((ret != -ENOMEM && ret != -EDQUOT) || !unit->pins.idle)
			return ret;
		kviommu_pin_trim(unit, unit->pins.idle / 2);
	}
}

/**
 * kviommu_pin_put_range() - Undo one kviommu_pin_get() for each frame of a range
 * @unit: The unit
 * @work: The piece of work that this is part of
 * @gfn: First guest frame number
 * @nr: Number of frames
 *
 * No device may reach the frames through these uses any more. The pins stay in the
 * cache.
 *
 * Context: process context, under map_lock; may sleep.
 */
void kviommu_pin_put_range(struct kviommu_unit *unit, const struct kviommu_work *work,
			   u64 gfn, u64 nr)
{
	lockdep_assert_held(&unit->map_lock);

	while (nr) {
		struct pin *p = &chunk_find(unit, gfn)->pins[gfn % CHUNK_GFNS];
		unsigned long index = gfn >> CHUNK_SHIFT;
		bool idle = false;

		do {
			if (!--p->uses) {
				__pin_set_idle(unit, p);
				idle = true;
			}
			p++;
			gfn++;
		} while (--nr && gfn % CHUNK_GFNS);
		if (idle)
			chunk_note_idle(unit, index);
		if (work->may_wait)
			kviommu_pin_trim_excess(unit);
		if (nr)
			cond_resched();
	}
}

/**
 * kviommu_pin_discard() - Undo one kviommu_pin_get() and keep no idle pin
 * @unit: The unit
 * @gfn: Guest frame number
 *
 * As kviommu_pin_put(), for a frame that is known not to be wanted again soon.
 *
 * Context: process context, under map_lock; may sleep.
 */
void kviommu_pin_discard(struct kviommu_unit *unit, u64 gfn)
{
	struct chunk *chunk = chunk_find(unit, gfn);
	struct pin *p = &chunk->pins[gfn % CHUNK_GFNS];

	lockdep_assert_held(&unit->map_lock);

	if (--p->uses)
		return;
	__pin_set_idle(unit, p);
	kviommu_pin_unpin(unit, p, gfn);
	kviommu_chunk_put(unit, chunk, gfn >> CHUNK_SHIFT);
}

/*
 * Release the idle pins of a chunk between @first and @last, inclusive. Return the
 * number of frames there that are in use.
 */
static unsigned int chunk_revoke_idle(struct kviommu_unit *unit, struct chunk *chunk,
				      unsigned long index, u64 first, u64 last)
{
	u64 gfn = (u64)index << CHUNK_SHIFT;
	unsigned int i, in_use = 0;

	for (i = 0; i < CHUNK_GFNS; i++, gfn++) {
		struct pin *p = &chunk->pins[i];

		if (!p->pinned || gfn < first || gfn > last)
			continue;
		if (p->idle)
			kviommu_pin_unpin(unit, p, gfn);
		else
			in_use++;
	}
	kviommu_chunk_put(unit, chunk, index);
	return in_use;
}

/**
 * kviommu_pin_revoke() - Release the idle pins of a range that the IOAS unmaps
 * @unit: The unit
 * @first: First guest frame number
 * @last: Last guest frame number, inclusive
 *
 * Context: process context, under map_lock; may sleep.
 * Return: true if frames of the range are still in use.
 */
bool kviommu_pin_revoke(struct kviommu_unit *unit, u64 first, u64 last)
{
	struct chunk *chunk;
	unsigned long index;
	bool left = false;

	lockdep_assert_held(&unit->map_lock);

	xa_for_each_range(&unit->pins.chunks, index, chunk,
			  first >> CHUNK_SHIFT, last >> CHUNK_SHIFT) {
		if (chunk_revoke_idle(unit, chunk, index, first, last))
			left = true;
		cond_resched();
	}
	return left;
}

/**
 * kviommu_pin_release() - Release the idle pins of a range for the VMM
 * @unit: The unit
 * @work: The piece of work that this is part of
 * @range: Guest frame numbers; its beginning is moved past the frames that are done
 * @in_use: Increased by the number of frames there that are in use
 *
 * Context: process context, under unit->lock and map_lock; may sleep.
 * Return: 0, or -EAGAIN or -EINTR as kviommu_resched() if a part of @range is left.
 */
int kviommu_pin_release(struct kviommu_unit *unit, const struct kviommu_work *work,
			struct kviommu_range *range, u64 *in_use)
{
	unsigned long idle = unit->pins.idle;
	struct chunk *chunk;
	unsigned long index;
	int ret = 0;

	lockdep_assert_held(&unit->map_lock);

	xa_for_each_range(&unit->pins.chunks, index, chunk,
			  range->first >> CHUNK_SHIFT,
			  range->last >> CHUNK_SHIFT) {
		*in_use += chunk_revoke_idle(unit, chunk, index, range->first,
					     range->last);
		range->first = ((u64)index + 1) << CHUNK_SHIFT;
		ret = kviommu_resched(unit, work);
		if (ret)
			break;
	}
	kviommu_count(unit, reclaims, idle - unit->pins.idle);
	/* An interruption after the last chunk does not matter. */
	return range->first > range->last ? 0 : ret;
}

/**
 * kviommu_pin_bytes() - Get the size of the pin cache
 * @unit: The unit
 *
 * Context: under map_lock, or without a lock for an approximate value.
 * Return: host memory that the pin cache uses, in bytes.
 */
u64 kviommu_pin_bytes(const struct kviommu_unit *unit)
{
	return unit->pins.nr_chunks * sizeof(struct chunk);
}
