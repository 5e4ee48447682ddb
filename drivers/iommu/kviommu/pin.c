// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pin cache: which guest frames are pinned, and how often they are used.
 * A frame is pinned once for the whole unit. When nothing uses it any more the
 * pin is kept, so that the next use costs no call into iommufd, until there
 * are too many such idle pins, it is too old, the host lacks memory, the VMM
 * asks for it or the IOAS takes the frame away.
 *
 * Those that were used least recently go first. There is no list of them, as
 * that would take more memory than all the rest of the cache: an idle pin has
 * the time at which it became so, in two coarse measures. One is generations,
 * each of a NR_SHARES-th of the pins that may be idle; they make the order. The
 * other is ticks of a quarter of the greatest age that is allowed; they only go
 * on while there are idle pins.
 *
 * And access of the host to guest memory, which goes through the same cache.
 */
#include <linux/atomic.h>
#include <linux/bitfield.h>
#include <linux/hash.h>
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/time64.h>
#include <linux/unaligned.h>

#include "kviommu.h"
#include "trace.h"

#define CHUNK_SHIFT	6
#define CHUNK_GFNS	BIT(CHUNK_SHIFT)
#define MAX_USES	((1 << 20) - 1)
#define HAS_IDLE	XA_MARK_0	/* a chunk with idle pins, perhaps */

/* In the place of an idle pin's uses */
#define STAMP_GEN	GENMASK(15, 0)
#define STAMP_TICK	GENMASK(19, 16)
#define MAX_TICKS	5	/* the first one may come at once */
#define NR_SHARES	16
#define NR_AGES		32	/* in generations; the last one is for all older */
#define TRIM_MORE	256UL

/**
 * struct pin - State of one guest frame, in 8 bytes: there are many
 * @pfn: Host frame number
 * @uses: How many translations and accesses use it; if it is idle, since when
 * @readable: The IOAS lets it be read
 * @writable: The IOAS lets it be written
 * @pinned: It is pinned; the rest means nothing if not
 * @idle: Nothing uses it
 *
 * Both rights can be allowed but not yet known.
 */
struct pin {
	u64 pfn : 40;
	u64 uses : 20;
	u64 readable : 1;
	u64 writable : 1;
	u64 pinned : 1;
	u64 idle : 1;
};

struct chunk {
	struct pin pins[CHUNK_GFNS];
};

/**
 * kviommu_map_lock() - Take map_lock, unless a polling thread has it for all it does
 * @unit: The unit
 *
 * Context: under unit->lock.
 */
void kviommu_map_lock(struct kviommu_unit *unit)
{
	if (!unit->in_poller)
		mutex_lock(&unit->map_lock);
	lockdep_assert_held(&unit->map_lock);
}

/**
 * kviommu_map_unlock() - Undo kviommu_map_lock()
 * @unit: The unit
 *
 * Context: under unit->lock.
 */
void kviommu_map_unlock(struct kviommu_unit *unit)
{
	if (!unit->in_poller)
		mutex_unlock(&unit->map_lock);
}

static struct kviommu_recent *recent_of(struct kviommu_pins *pins,
					unsigned long index)
{
	/* Queue, status and buffers are rarely neighbours. */
	return &pins->recent[hash_long(index, KVIOMMU_RECENT_BITS)];
}

/* What a guest uses it uses again: the queue, the status, a buffer. */
static struct chunk *chunk_find(struct kviommu_unit *unit, u64 gfn)
{
	unsigned long index = gfn >> CHUNK_SHIFT;
	struct kviommu_recent *r = recent_of(&unit->pins, index);

	if (unlikely(!r->chunk || r->index != index)) {
		r->index = index;
		r->chunk = xa_load(&unit->pins.chunks, index);
		r->marked = false;
	}
	return r->chunk;
}

static struct chunk *chunk_get(struct kviommu_unit *unit, u64 gfn)
{
	unsigned long index = gfn >> CHUNK_SHIFT;
	struct chunk *chunk = chunk_find(unit, gfn);
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
	if (recent_of(&unit->pins, index)->chunk == chunk)
		*recent_of(&unit->pins, index) = (struct kviommu_recent){};
	xa_erase(&unit->pins.chunks, index);
	unit->nr_chunks--;
	kfree(chunk);
}

static unsigned int gen_of(const struct pin *p)
{
	u32 stamp = p->uses;

	return FIELD_GET(STAMP_GEN, stamp);
}

static unsigned int tick_of(const struct pin *p)
{
	u32 stamp = p->uses;

	return FIELD_GET(STAMP_TICK, stamp);
}

static void end_idle(struct kviommu_unit *unit, struct pin *p)
{
	struct kviommu_pins *pins = &unit->pins;

	pins->idle--;
	if (gen_of(p) == pins->gen)
		pins->newest--;
	p->idle = 0;
	p->uses = 0;
}

/* Of an idle one. */
static void unpin(struct kviommu_unit *unit, struct pin *p, u64 gfn)
{
	end_idle(unit, p);
	kviommu_access_unpin(&unit->access, gfn);
	*p = (struct pin){};
	unit->pins.pinned--;
	trace_kviommu_unpin(unit->id, gfn);
}

/* Have the worker come by for the next tick, if there is to be one. */
static void next_tick(struct kviommu_unit *unit)
{
	struct kviommu_pins *pins = &unit->pins;
	u64 ms = min_t(u64, unit->policy.idle_pin_ms, INT_MAX);

	if (!ms || !pins->idle) {
		pins->ticking = false;
		return;
	}
	if (!pins->ticking) {
		pins->ticking = true;
		pins->tick_at = jiffies + msecs_to_jiffies(DIV_ROUND_UP(ms, 4));
	}
	if (time_before(jiffies, pins->tick_at))
		ms = jiffies_to_msecs(pins->tick_at - jiffies);
	else
		ms = 0;
	kviommu_unit_wake(unit, ms * USEC_PER_MSEC);
}

static void mark_idle(struct kviommu_pins *pins, unsigned long index)
{
	struct kviommu_recent *r = recent_of(pins, index);

	if (r->index == index && r->marked)
		return;
	xa_set_mark(&pins->chunks, index, HAS_IDLE);
	r->marked = r->index == index;
}

/* What an idle pin has in the place of its uses, if it becomes so now */
static u32 stamp(const struct kviommu_pins *pins)
{
	return FIELD_PREP(STAMP_GEN, pins->gen) |
	       FIELD_PREP(STAMP_TICK, pins->tick & 15);
}

/* note_idle() has to follow. */
static void become_idle(struct kviommu_unit *unit, struct pin *p)
{
	struct kviommu_pins *pins = &unit->pins;

	if (pins->newest >= unit->policy.max_idle_pins / NR_SHARES) {
		pins->newest = 0;
		pins->gen++;
	}
	pins->newest++;
	p->idle = 1;
	p->uses = stamp(pins);
	pins->idle++;
}

/* Some pins of a chunk have become idle. */
static void note_idle(struct kviommu_unit *unit, unsigned long index)
{
	mark_idle(&unit->pins, index);
	if (!unit->pins.ticking)
		next_tick(unit);
}

static void make_idle(struct kviommu_unit *unit, struct pin *p, u64 gfn)
{
	become_idle(unit, p);
	note_idle(unit, gfn >> CHUNK_SHIFT);
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
		make_idle(unit, p, gfn);
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

/* Of a pinned frame that can be used once more. */
static u64 use(struct kviommu_unit *unit, struct pin *p)
{
	if (p->idle)
		end_idle(unit, p);
	p->uses++;
	return p->pfn;
}

static bool knows(const struct pin *p, unsigned int prot)
{
	return p->pinned && (!(prot & KVIOMMU_WRITE) || p->writable) &&
	       (!(prot & KVIOMMU_READ) || p->readable);
}

static noinline int pin_get(struct kviommu_unit *unit, u64 gfn,
			    unsigned int prot, u64 *pfn)
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
	if (!ret && !p->idle && p->uses == MAX_USES)
		ret = -EOVERFLOW;
	if (ret) {
		chunk_put(unit, chunk, gfn >> CHUNK_SHIFT);
		return ret;
	}

	*pfn = use(unit, p);
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
	struct chunk *chunk;
	struct pin *p;
	int ret;

	lockdep_assert_held(&unit->map_lock);

	if (gfn > ULONG_MAX >> PAGE_SHIFT)
		return -ENOENT;
	chunk = chunk_find(unit, gfn);
	p = chunk ? &chunk->pins[gfn % CHUNK_GFNS] : NULL;
	if (likely(p && knows(p, prot) && (p->idle || p->uses < MAX_USES))) {
		kviommu_count(unit, pin_hits, 1);
		*pfn = use(unit, p);
		return 0;
	}
	for (;;) {
		ret = pin_get(unit, gfn, prot, pfn);
		/* At a limit idle pins make room. */
		if ((ret != -ENOMEM && ret != -EDQUOT) || !unit->pins.idle)
			return ret;
		kviommu_pin_trim(unit, unit->pins.idle / 2);
	}
}

/* More at once than what is too much, so that it is not soon done again. */
static void trim_excess(struct kviommu_unit *unit)
{
	unsigned long max = unit->policy.max_idle_pins;

	if (unit->pins.idle > max)
		kviommu_pin_trim(unit, max - min(max / 4, TRIM_MORE));
}

/**
 * kviommu_pin_put_range() - Use guest frames no longer
 * @unit: The unit
 * @gfn: Number of the first one
 * @nr: How many; each is of a kviommu_pin_get()
 *
 * No device may reach the frames through these uses any more. The pins stay in
 * the cache.
 *
 * Context: under map_lock, may sleep.
 */
void kviommu_pin_put_range(struct kviommu_unit *unit, u64 gfn, u64 nr)
{
	lockdep_assert_held(&unit->map_lock);

	while (nr) {
		struct pin *p = &chunk_find(unit, gfn)->pins[gfn % CHUNK_GFNS];
		unsigned long index = gfn >> CHUNK_SHIFT;
		bool idle = false;

		do {
			if (!--p->uses) {
				become_idle(unit, p);
				idle = true;
			}
			p++;
			gfn++;
		} while (--nr && gfn % CHUNK_GFNS);
		if (idle)
			note_idle(unit, index);
		if (!unit->in_poller)
			trim_excess(unit);
		if (nr)
			cond_resched();
	}
}

/**
 * struct sweep - A look at all idle pins
 * @age: Give back those older than this, in generations,
 * @n: and as many as this of just that age,
 * @ticks: and those as old as this, in ticks
 * @left: How many are left of each age
 */
struct sweep {
	unsigned int age;
	unsigned long n;
	unsigned int ticks;
	unsigned long left[NR_AGES];
};

static bool sweep_takes(struct sweep *s, unsigned int age, unsigned int ticks)
{
	if (age > s->age || ticks >= s->ticks)
		return true;
	if (age < s->age || !s->n)
		return false;
	s->n--;
	return true;
}

static bool sweep_chunk(struct kviommu_unit *unit, struct chunk *chunk, u64 gfn,
			struct sweep *s)
{
	struct kviommu_pins *pins = &unit->pins;
	bool left = false;
	unsigned int i;

	for (i = 0; i < CHUNK_GFNS; i++) {
		struct pin *p = &chunk->pins[i];
		unsigned int age, ticks;

		if (!p->pinned || !p->idle)
			continue;
		age = min_t(u16, pins->gen - gen_of(p), NR_AGES - 1);
		ticks = (pins->tick - tick_of(p)) & 15;
		if (sweep_takes(s, age, ticks)) {
			unpin(unit, p, gfn + i);
		} else {
			s->left[age]++;
			left = true;
		}
	}
	return left;
}

static void sweep(struct kviommu_unit *unit, struct sweep *s)
{
	struct xarray *chunks = &unit->pins.chunks;
	struct chunk *chunk;
	unsigned long index;

	xa_for_each_marked(chunks, index, chunk, HAS_IDLE) {
		if (!sweep_chunk(unit, chunk, (u64)index << CHUNK_SHIFT, s)) {
			xa_clear_mark(chunks, index, HAS_IDLE);
			recent_of(&unit->pins, index)->marked = false;
		}
		chunk_put(unit, chunk, index);
		cond_resched();
	}
}

/**
 * kviommu_pin_trim() - Give idle pins back
 * @unit: The unit
 * @max_idle: How many may stay
 *
 * The ones used least recently go.
 *
 * Context: under map_lock, may sleep.
 */
void kviommu_pin_trim(struct kviommu_unit *unit, unsigned long max_idle)
{
	struct sweep s = { .age = NR_AGES, .ticks = UINT_MAX };
	unsigned long n;

	lockdep_assert_held(&unit->map_lock);

	if (unit->pins.idle <= max_idle)
		return;
	n = unit->pins.idle - max_idle;
	if (max_idle)
		sweep(unit, &s);
	for (s.age = NR_AGES - 1; s.age && n > s.left[s.age]; s.age--)
		n -= s.left[s.age];
	s.n = n;
	sweep(unit, &s);
}

/**
 * kviommu_pin_tidy() - Give idle pins back that are not to be kept
 * @unit: The unit
 *
 * Because there are too many, the host wants memory, or they are too old.
 *
 * Context: under map_lock, may sleep.
 */
void kviommu_pin_tidy(struct kviommu_unit *unit)
{
	struct sweep s = { .age = NR_AGES, .ticks = MAX_TICKS };
	struct kviommu_pins *pins = &unit->pins;
	unsigned long idle, wanted;

	lockdep_assert_held(&unit->map_lock);

	trim_excess(unit);
	idle = pins->idle;
	wanted = atomic_long_xchg(&pins->wanted, 0);
	kviommu_pin_trim(unit, idle - min(wanted, idle));
	if (pins->ticking && time_after_eq(jiffies, pins->tick_at)) {
		pins->ticking = false;
		pins->tick++;
		sweep(unit, &s);
	}
	kviommu_count(unit, reclaims, idle - pins->idle);
	next_tick(unit);
}

static unsigned long count_idle(struct kviommu_pins *pins)
{
	unsigned long idle = READ_ONCE(pins->idle);
	unsigned long wanted = atomic_long_read(&pins->wanted);

	return idle - min(wanted, idle);
}

static unsigned long shrinker_count(struct shrinker *shrinker,
				    struct shrink_control *sc)
{
	struct kviommu_unit *unit = shrinker->private_data;

	return count_idle(&unit->pins) ?: SHRINK_EMPTY;
}

/*
 * To unpin takes locks of iommufd, which allocates under them: whoever calls
 * this may hold them, or ours. So the worker does it.
 */
static unsigned long shrinker_scan(struct shrinker *shrinker,
				   struct shrink_control *sc)
{
	struct kviommu_unit *unit = shrinker->private_data;
	unsigned long n = min(sc->nr_to_scan, count_idle(&unit->pins));

	if (!n)
		return SHRINK_STOP;
	atomic_long_add(n, &unit->pins.wanted);
	kviommu_unit_defer(unit);
	return n;
}

/**
 * kviommu_pin_start() - Give idle pins back when the host lacks memory
 * @unit: The unit, which has a worker
 *
 * Context: process context, not under map_lock.
 * Return: 0 or -ENOMEM.
 */
int kviommu_pin_start(struct kviommu_unit *unit)
{
	struct shrinker *shrinker = shrinker_alloc(0, "kviommu:%d", unit->id);

	if (!shrinker)
		return -ENOMEM;
	shrinker->count_objects = shrinker_count;
	shrinker->scan_objects = shrinker_scan;
	shrinker->private_data = unit;
	unit->pins.shrinker = shrinker;
	shrinker_register(shrinker);
	return 0;
}

/**
 * kviommu_pin_stop() - Undo kviommu_pin_start(), if it was done
 * @unit: The unit, which still has its worker
 *
 * Context: process context, no locks.
 */
void kviommu_pin_stop(struct kviommu_unit *unit)
{
	shrinker_free(unit->pins.shrinker);
	unit->pins.shrinker = NULL;
}

/* Unpin what is idle of a chunk's part. Return: how many are in use. */
static unsigned int revoke_chunk(struct kviommu_unit *unit, struct chunk *chunk,
				 unsigned long index, u64 first, u64 last)
{
	u64 gfn = (u64)index << CHUNK_SHIFT;
	unsigned int i, in_use = 0;

	for (i = 0; i < CHUNK_GFNS; i++, gfn++) {
		struct pin *p = &chunk->pins[i];

		if (!p->pinned || gfn < first || gfn > last)
			continue;
		if (p->idle)
			unpin(unit, p, gfn);
		else
			in_use++;
	}
	chunk_put(unit, chunk, index);
	return in_use;
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
		if (revoke_chunk(unit, chunk, index, first, last))
			left = true;
		cond_resched();
	}
	return left;
}

/**
 * kviommu_pin_release() - Give back the idle pins of a range, for the VMM
 * @unit: The unit
 * @range: Guest frame numbers; what is done is taken off its beginning
 * @in_use: The pins of the range that are in use are added to it
 *
 * Context: under unit->lock and map_lock, may sleep.
 * Return: 0, or -EAGAIN or -EINTR as kviommu_resched().
 */
int kviommu_pin_release(struct kviommu_unit *unit, struct kviommu_range *range,
			u64 *in_use)
{
	unsigned long idle = unit->pins.idle;
	struct chunk *chunk;
	unsigned long index;
	int ret = 0;

	lockdep_assert_held(&unit->map_lock);

	xa_for_each_range(&unit->pins.chunks, index, chunk,
			  range->first >> CHUNK_SHIFT,
			  range->last >> CHUNK_SHIFT) {
		*in_use += revoke_chunk(unit, chunk, index, range->first,
					range->last);
		range->first = ((u64)index + 1) << CHUNK_SHIFT;
		ret = kviommu_resched(unit);
		if (ret)
			break;
	}
	kviommu_count(unit, reclaims, idle - unit->pins.idle);
	/* That was the last one. */
	return range->first > range->last ? 0 : ret;
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

/*
 * As a kviommu_pin_get() with a kviommu_pin_put() to follow, at which nothing else
 * happens: of a frame that is pinned, with the rights known. Return: where it is, or
 * NULL.
 */
static void *guest_page(struct kviommu_unit *unit, u64 gfn, bool write)
{
	struct chunk *chunk = chunk_find(unit, gfn);
	struct pin *p;

	if (!chunk)
		return NULL;
	p = &chunk->pins[gfn % CHUNK_GFNS];
	if (!knows(p, write ? KVIOMMU_WRITE : KVIOMMU_READ))
		return NULL;
	kviommu_count(unit, pin_hits, 1);
	if (p->idle && p->uses != stamp(&unit->pins)) {
		end_idle(unit, p);
		make_idle(unit, p, gfn);
	}
	return page_address(pfn_to_page(p->pfn));
}

static void copy(void *va, void *buf, unsigned int len, bool write)
{
	if (write && len == sizeof(u32) && IS_ALIGNED((unsigned long)va, len))
		/* Pairs with the guest's load of the status. */
		smp_store_release((u32 *)va, get_unaligned((u32 *)buf));
	else if (write)
		memcpy(va, buf, len);
	else
		memcpy(buf, va, len);
}

/* Within one page. */
static int guest_rw_page(struct kviommu_unit *unit, u64 gpa, void *buf,
			 unsigned int len, bool write)
{
	unsigned int prot = write ? KVIOMMU_WRITE : KVIOMMU_READ;
	u64 gfn = gpa >> PAGE_SHIFT;
	void *va = guest_page(unit, gfn, write);
	u64 pfn;
	int ret;

	if (likely(va)) {
		copy(va + offset_in_page(gpa), buf, len, write);
		return 0;
	}
	ret = kviommu_pin_get(unit, gfn, prot, &pfn);
	/* Limits are for what devices reach: registers have to work on. */
	if (ret == -EDQUOT || ret == -ENOMEM)
		return kviommu_access_rw(&unit->access, gpa, buf, len, write);
	if (ret)
		return ret;
	va = page_address(pfn_to_page(pfn));
	copy(va + offset_in_page(gpa), buf, len, write);
	kviommu_pin_put(unit, gfn);
	return 0;
}

static int guest_rw(struct kviommu_unit *unit, u64 gpa, void *buf,
		    unsigned int len, bool write)
{
	unsigned int n;
	int ret = 0;

	kviommu_map_lock(unit);
	for (; len && !ret; gpa += n, buf += n, len -= n) {
		n = min_t(unsigned int, len, PAGE_SIZE - offset_in_page(gpa));
		ret = guest_rw_page(unit, gpa, buf, n, write);
	}
	kviommu_map_unlock(unit);
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
 * Context: process context, under unit->lock.
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
 * Context: process context, under unit->lock.
 * Return: 0, or an error of kviommu_pin_get().
 */
int kviommu_guest_write(struct kviommu_unit *unit, u64 gpa, const void *buf,
			unsigned int len)
{
	return guest_rw(unit, gpa, (void *)buf, len, true);
}
