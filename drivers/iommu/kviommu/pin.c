// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pin cache: which guest frames are pinned, and how often they are used.
 * A frame is pinned once for the whole unit. When nothing uses it any more the
 * pin is kept, so that the next use costs no call into iommufd, until there
 * are too many such idle pins or the IOAS takes the frame away.
 *
 * And access of the host to guest memory, which goes through the same cache.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/unaligned.h>

#include "kviommu.h"
#include "trace.h"

#define CHUNK_SHIFT	6
#define CHUNK_GFNS	BIT(CHUNK_SHIFT)
#define MAX_USES	((1 << 20) - 1)
#define HAS_IDLE	XA_MARK_0	/* a chunk with idle pins, perhaps */

/**
 * struct pin - State of one guest frame, in 8 bytes: there are many
 * @pfn: Host frame number
 * @uses: How many translations and accesses use it
 * @readable: The IOAS lets it be read
 * @writable: The IOAS lets it be written
 * @pinned: It is pinned; the rest means nothing if not
 * @young: Used since the search for idle pins last came by
 *
 * Both rights can be allowed but not yet known.
 */
struct pin {
	u64 pfn : 40;
	u64 uses : 20;
	u64 readable : 1;
	u64 writable : 1;
	u64 pinned : 1;
	u64 young : 1;
};

struct chunk {
	struct pin pins[CHUNK_GFNS];
};

/**
 * kviommu_map_lock() - Take map_lock
 * @unit: The unit
 *
 * A polling thread only tries: others hold it while they wait for the VMM.
 *
 * Context: under unit->lock.
 * Return: 0, or -EAGAIN if the worker has to go on.
 */
int kviommu_map_lock(struct kviommu_unit *unit)
{
	if (!unit->in_poller)
		mutex_lock(&unit->map_lock);
	else if (!mutex_trylock(&unit->map_lock))
		return -EAGAIN;
	return 0;
}

static struct chunk *chunk_get(struct kviommu_unit *unit, u64 gfn)
{
	unsigned long index = gfn >> CHUNK_SHIFT;
	struct chunk *chunk = xa_load(&unit->pins.chunks, index);
	int ret;

	if (chunk)
		return chunk;
	if (unit->in_poller)
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
	unit->nr_chunks++;
	return chunk;
}

static void chunk_put(struct kviommu_unit *unit, struct chunk *chunk,
		      unsigned long index)
{
	unsigned int i;

	for (i = 0; i < CHUNK_GFNS; i++)
		if (chunk->pins[i].pinned)
			return;
	xa_erase(&unit->pins.chunks, index);
	unit->nr_chunks--;
	kfree(chunk);
}

static void unpin(struct kviommu_unit *unit, struct pin *p, u64 gfn)
{
	kviommu_access_unpin(&unit->access, gfn);
	*p = (struct pin){};
	unit->pins.pinned--;
	trace_kviommu_unpin(unit->id, gfn);
}

/* Ask iommufd for one of the rights; a frame not pinned yet becomes so. */
static int ask(struct kviommu_unit *unit, struct pin *p, u64 gfn, bool write)
{
	struct page *page;
	int ret;

	/* It may have to wait for the VMM. */
	if (unit->in_poller)
		return -EAGAIN;
	if (!p->pinned && unit->pins.pinned >= unit->policy.max_pins)
		return -EDQUOT;
	ret = kviommu_access_pin(&unit->access, gfn, write, &page);
	if (ret)
		return ret;
	if (p->pinned) {
		kviommu_access_unpin(&unit->access, gfn);
	} else {
		p->pfn = page_to_pfn(page);
		p->pinned = 1;
		xa_set_mark(&unit->pins.chunks, gfn >> CHUNK_SHIFT, HAS_IDLE);
		unit->pins.idle++;
		unit->pins.pinned++;
		if (unit->pins.pinned > unit->stats.out_pinned_peak)
			WRITE_ONCE(unit->stats.out_pinned_peak,
				   unit->pins.pinned);
		kviommu_count(unit, pin_misses, 1);
		trace_kviommu_pin(unit->id, gfn, p->pfn);
	}
	if (write)
		p->writable = 1;
	else
		p->readable = 1;
	return 0;
}

static int pin_get(struct kviommu_unit *unit, u64 gfn, unsigned int prot,
		   u64 *pfn)
{
	struct chunk *chunk;
	struct pin *p;
	int ret = 0;

	chunk = chunk_get(unit, gfn);
	if (IS_ERR(chunk))
		return PTR_ERR(chunk);
	p = &chunk->pins[gfn % CHUNK_GFNS];
	if (p->pinned)
		kviommu_count(unit, pin_hits, 1);

	if ((prot & KVIOMMU_WRITE) && !p->writable)
		ret = ask(unit, p, gfn, true);
	if (!ret && (prot & KVIOMMU_READ) && !p->readable)
		ret = ask(unit, p, gfn, false);
	if (!ret && p->uses == MAX_USES)
		ret = -EOVERFLOW;
	if (ret) {
		chunk_put(unit, chunk, gfn >> CHUNK_SHIFT);
		return ret;
	}

	if (!p->uses++)
		unit->pins.idle--;
	*pfn = p->pfn;
	return 0;
}

/**
 * kviommu_pin_get() - Use a guest frame
 * @unit: The unit
 * @gfn: Guest frame number
 * @prot: KVIOMMU_READ, KVIOMMU_WRITE or both
 * @pfn: The host frame, pinned until kviommu_pin_put()
 *
 * Context: under map_lock, may sleep.
 * Return: 0; -ENOENT if the IOAS has no such memory; -EPERM if it denies @prot;
 * -EDQUOT at the limit of pins; -EOVERFLOW if the frame is used too often;
 * -EAGAIN in a polling thread, if it is not pinned yet;
 * -ENOMEM, also at the limit of locked memory, or an error of pinning.
 */
int kviommu_pin_get(struct kviommu_unit *unit, u64 gfn, unsigned int prot,
		    u64 *pfn)
{
	int ret;

	lockdep_assert_held(&unit->map_lock);

	if (gfn > ULONG_MAX >> PAGE_SHIFT)
		return -ENOENT;
	for (;;) {
		ret = pin_get(unit, gfn, prot, pfn);
		/* At a limit idle pins make room. */
		if ((ret != -ENOMEM && ret != -EDQUOT) || !unit->pins.idle)
			return ret;
		kviommu_pin_trim(unit, unit->pins.idle / 2);
	}
}

/**
 * kviommu_pin_put() - Use a guest frame no longer
 * @unit: The unit
 * @gfn: Guest frame number, of a kviommu_pin_get()
 *
 * No device may reach the frame through that use any more. The pin stays in
 * the cache.
 *
 * Context: under map_lock, may sleep.
 */
void kviommu_pin_put(struct kviommu_unit *unit, u64 gfn)
{
	struct chunk *chunk = xa_load(&unit->pins.chunks, gfn >> CHUNK_SHIFT);
	struct pin *p = &chunk->pins[gfn % CHUNK_GFNS];

	lockdep_assert_held(&unit->map_lock);

	if (--p->uses)
		return;
	p->young = 1;
	xa_set_mark(&unit->pins.chunks, gfn >> CHUNK_SHIFT, HAS_IDLE);
	if (++unit->pins.idle > unit->policy.max_idle_pins && !unit->in_poller)
		kviommu_pin_trim(unit, unit->policy.max_idle_pins / 4 * 3);
}

/* Unpin what is idle in a chunk; @all: also what was used lately. */
static void trim_chunk(struct kviommu_unit *unit, struct chunk *chunk,
		       unsigned long index, unsigned long max_idle, bool all)
{
	bool left = false;
	unsigned int i;

	for (i = 0; i < CHUNK_GFNS; i++) {
		struct pin *p = &chunk->pins[i];

		if (!p->pinned || p->uses)
			continue;
		if (unit->pins.idle <= max_idle || (p->young && !all)) {
			p->young = 0;
			left = true;
			continue;
		}
		unit->pins.idle--;
		unpin(unit, p, ((u64)index << CHUNK_SHIFT) + i);
	}
	if (!left)
		xa_clear_mark(&unit->pins.chunks, index, HAS_IDLE);
	chunk_put(unit, chunk, index);
}

/**
 * kviommu_pin_trim() - Give idle pins back
 * @unit: The unit
 * @max_idle: How many may stay
 *
 * Goes round the cache from where it stopped last time; what was used since
 * then is spared if others suffice.
 *
 * Context: under map_lock, may sleep.
 */
void kviommu_pin_trim(struct kviommu_unit *unit, unsigned long max_idle)
{
	struct kviommu_pins *pins = &unit->pins;
	unsigned int round = 0;

	lockdep_assert_held(&unit->map_lock);

	while (pins->idle > max_idle && round < 3) {
		unsigned long index = pins->hand;
		struct chunk *chunk;

		chunk = xa_find(&pins->chunks, &index, ULONG_MAX, HAS_IDLE);
		if (!chunk) {
			pins->hand = 0;
			round++;
			continue;
		}
		trim_chunk(unit, chunk, index, max_idle,
			   round == 2 || !max_idle);
		pins->hand = index + 1;
		cond_resched();
	}
}

/**
 * kviommu_pin_revoke() - Give back the idle pins of a range
 * @unit: The unit
 * @first: First guest frame number
 * @last: Last guest frame number, inclusive
 *
 * Context: under map_lock, may sleep.
 * Return: true if some frames are left, because they are in use.
 */
bool kviommu_pin_revoke(struct kviommu_unit *unit, u64 first, u64 last)
{
	struct chunk *chunk;
	unsigned long index;
	bool left = false;

	lockdep_assert_held(&unit->map_lock);

	xa_for_each_range(&unit->pins.chunks, index, chunk,
			  first >> CHUNK_SHIFT, last >> CHUNK_SHIFT) {
		u64 gfn = (u64)index << CHUNK_SHIFT;
		unsigned int i;

		for (i = 0; i < CHUNK_GFNS; i++, gfn++) {
			struct pin *p = &chunk->pins[i];

			if (!p->pinned || gfn < first || gfn > last)
				continue;
			if (p->uses) {
				left = true;
				continue;
			}
			unit->pins.idle--;
			unpin(unit, p, gfn);
		}
		chunk_put(unit, chunk, index);
		cond_resched();
	}
	return left;
}

/**
 * kviommu_pin_bytes() - Host memory that the pin cache takes
 * @unit: The unit
 *
 * Return: bytes.
 */
u64 kviommu_pin_bytes(const struct kviommu_unit *unit)
{
	return unit->nr_chunks * sizeof(struct chunk);
}

/* Within one page. */
static int guest_rw_page(struct kviommu_unit *unit, u64 gpa, void *buf,
			 unsigned int len, bool write)
{
	unsigned int prot = write ? KVIOMMU_WRITE : KVIOMMU_READ;
	u64 gfn = gpa >> PAGE_SHIFT;
	void *va;
	u64 pfn;
	int ret;

	ret = kviommu_pin_get(unit, gfn, prot, &pfn);
	/* Limits are for what devices reach: registers have to work on. */
	if (ret == -EDQUOT || ret == -ENOMEM)
		return kviommu_access_rw(&unit->access, gpa, buf, len, write);
	if (ret)
		return ret;
	va = page_address(pfn_to_page(pfn)) + offset_in_page(gpa);
	if (write && len == sizeof(u32) && IS_ALIGNED(gpa, len))
		/* Pairs with the guest's load of the status. */
		smp_store_release((u32 *)va, get_unaligned((u32 *)buf));
	else if (write)
		memcpy(va, buf, len);
	else
		memcpy(buf, va, len);
	kviommu_pin_put(unit, gfn);
	return 0;
}

static int guest_rw(struct kviommu_unit *unit, u64 gpa, void *buf,
		    unsigned int len, bool write)
{
	unsigned int n;
	int ret = 0;

	ret = kviommu_map_lock(unit);
	if (ret)
		return ret;
	for (; len && !ret; gpa += n, buf += n, len -= n) {
		n = min_t(unsigned int, len, PAGE_SIZE - offset_in_page(gpa));
		ret = guest_rw_page(unit, gpa, buf, n, write);
	}
	mutex_unlock(&unit->map_lock);
	if (ret && ret != -EAGAIN)
		kviommu_error(unit, "guest memory", gpa, ret);
	return ret;
}

/**
 * kviommu_guest_read() - Read guest memory
 * @unit: The unit
 * @gpa: Guest physical address
 * @buf: Where to
 * @len: How many bytes
 *
 * Context: process context, not under map_lock.
 * Return: 0, or an error of kviommu_pin_get().
 */
int kviommu_guest_read(struct kviommu_unit *unit, u64 gpa, void *buf,
		       unsigned int len)
{
	return guest_rw(unit, gpa, buf, len, false);
}

/**
 * kviommu_guest_write() - Write guest memory
 * @unit: The unit
 * @gpa: Guest physical address
 * @buf: Where from
 * @len: How many bytes
 *
 * A store of 4 aligned bytes is seen whole, after all earlier stores.
 *
 * Context: process context, not under map_lock.
 * Return: 0, or an error of kviommu_pin_get().
 */
int kviommu_guest_write(struct kviommu_unit *unit, u64 gpa, const void *buf,
			unsigned int len)
{
	return guest_rw(unit, gpa, (void *)buf, len, true);
}
