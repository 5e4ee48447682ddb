// SPDX-License-Identifier: GPL-2.0-only
/*
 * Idle pins, and when they are released.
 *
 * The least recently used pins are released first. A list of them would take more
 * memory than the rest of the cache, so an idle pin instead holds the time at which it
 * became idle, in two coarse measures. Generations give the order: a new one begins
 * when a NR_SHARES-th of max_idle_pins have become idle in the last one. Ticks give the
 * age: each is a quarter of idle_pin_ms, and they only advance while there are idle
 * pins.
 */
#include <linux/atomic.h>
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/shrinker.h>
#include <linux/time64.h>

#include "pins.h"

/**
 * kviommu_pin_next_tick() - Schedule the next tick if there are idle pins to age
 * @unit: The unit
 *
 * Context: under map_lock.
 */
void kviommu_pin_next_tick(struct kviommu_unit *unit)
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
	kviommu_wake(unit, ms * USEC_PER_MSEC);
}

/**
 * struct idle_sweep - A pass over all idle pins
 * @age: Age in generations; older pins are released
 * @n: Number of pins of exactly @age that are released as well
 * @ticks: Age in ticks; pins of this age or older are released, too
 * @left: Number of pins of each age in generations that were not released
 */
struct idle_sweep {
	unsigned int age;
	unsigned long n;
	unsigned int ticks;
	unsigned long left[NR_AGES];
};

static bool idle_sweep_releases(struct idle_sweep *s, unsigned int age,
				unsigned int ticks)
{
	if (age > s->age || ticks >= s->ticks)
		return true;
	if (age < s->age || !s->n)
		return false;
	s->n--;
	return true;
}

static bool idle_sweep_chunk(struct kviommu_unit *unit, struct chunk *chunk, u64 gfn,
			     struct idle_sweep *s)
{
	struct kviommu_pins *pins = &unit->pins;
	bool left = false;
	unsigned int i;

	for (i = 0; i < CHUNK_GFNS; i++) {
		struct pin *p = &chunk->pins[i];
		unsigned int age, ticks;

		if (!p->pinned || !p->idle)
			continue;
		age = min_t(u16, pins->gen - pin_gen(p), NR_AGES - 1);
		ticks = (pins->tick - pin_tick(p)) & 15;
		if (idle_sweep_releases(s, age, ticks)) {
			kviommu_pin_unpin(unit, p, gfn + i);
		} else {
			s->left[age]++;
			left = true;
		}
	}
	return left;
}

static void idle_sweep(struct kviommu_unit *unit, struct idle_sweep *s)
{
	struct xarray *chunks = &unit->pins.chunks;
	struct chunk *chunk;
	unsigned long index;

	xa_for_each_marked(chunks, index, chunk, CHUNK_HAS_IDLE) {
		if (!idle_sweep_chunk(unit, chunk, (u64)index << CHUNK_SHIFT, s)) {
			xa_clear_mark(chunks, index, CHUNK_HAS_IDLE);
			chunk_recent(&unit->pins, index)->marked = false;
		}
		kviommu_chunk_put(unit, chunk, index);
		cond_resched();
	}
}

/**
 * kviommu_pin_trim() - Release idle pins, the least recently used first
 * @unit: The unit
 * @max_idle: Number of idle pins that may stay
 *
 * Context: process context, under map_lock; may sleep.
 */
void kviommu_pin_trim(struct kviommu_unit *unit, unsigned long max_idle)
{
	struct idle_sweep s = { .age = NR_AGES, .ticks = UINT_MAX };
	unsigned long n;

	lockdep_assert_held(&unit->map_lock);

	if (unit->pins.idle <= max_idle)
		return;
	n = unit->pins.idle - max_idle;
	if (max_idle)
		idle_sweep(unit, &s);
	for (s.age = NR_AGES - 1; s.age && n > s.left[s.age]; s.age--)
		n -= s.left[s.age];
	s.n = n;
	idle_sweep(unit, &s);
}

/**
 * kviommu_pin_trim_excess() - Release idle pins if there are more than max_idle_pins
 * @unit: The unit
 *
 * Releases some more than necessary, so that it is not needed again soon.
 *
 * Context: process context, under map_lock; may sleep.
 */
void kviommu_pin_trim_excess(struct kviommu_unit *unit)
{
	unsigned long max = unit->policy.max_idle_pins;

	if (unit->pins.idle > max)
		kviommu_pin_trim(unit, max - min(max / 4, TRIM_MORE));
}

/**
 * kviommu_pin_tidy() - Release idle pins that are due
 * @unit: The unit
 *
 * Pins are due because there are too many, because the host lacks memory, or because
 * they are too old.
 *
 * Context: process context, under map_lock; may sleep.
 */
void kviommu_pin_tidy(struct kviommu_unit *unit)
{
	struct idle_sweep s = { .age = NR_AGES, .ticks = MAX_TICKS };
	struct kviommu_pins *pins = &unit->pins;
	unsigned long idle, wanted;

	lockdep_assert_held(&unit->map_lock);

	kviommu_pin_trim_excess(unit);
	idle = pins->idle;
	wanted = atomic_long_xchg(&pins->wanted, 0);
	kviommu_pin_trim(unit, idle - min(wanted, idle));
	/* What a guest of coIOMMU has asked for may be unused as well. */
	if (wanted > idle)
		atomic_long_add(wanted - idle, &unit->tracked.wanted);
	if (pins->ticking && time_after_eq(jiffies, pins->tick_at)) {
		pins->ticking = false;
		pins->tick++;
		idle_sweep(unit, &s);
	}
	kviommu_count(unit, reclaims, idle - pins->idle);
	kviommu_pin_next_tick(unit);
}

/* A guest of coIOMMU does not say which frames it has no use for any more: this is a guess. */
static unsigned long pin_count_unused(struct kviommu_tracked_state *t)
{
	unsigned long pinned = READ_ONCE(t->pinned), busy = READ_ONCE(t->busy);

	return READ_ONCE(t->parked) ? 0 : pinned - min(pinned, busy);
}

static unsigned long pin_count_reclaimable(struct kviommu_unit *unit)
{
	unsigned long n = READ_ONCE(unit->pins.idle) + pin_count_unused(&unit->tracked);
	unsigned long wanted = atomic_long_read(&unit->pins.wanted) +
			       atomic_long_read(&unit->tracked.wanted);

	return n - min(wanted, n);
}

static unsigned long pin_shrinker_count(struct shrinker *shrinker,
					struct shrink_control *sc)
{
	struct kviommu_unit *unit = shrinker->private_data;

	return pin_count_reclaimable(unit) ?: SHRINK_EMPTY;
}

/*
 * Unpinning takes locks under which iommufd allocates memory, and map_lock. The caller
 * that reclaims memory may hold any of them, so the worker does the unpinning.
 */
static unsigned long pin_shrinker_scan(struct shrinker *shrinker,
				       struct shrink_control *sc)
{
	struct kviommu_unit *unit = shrinker->private_data;
	unsigned long n = min(sc->nr_to_scan, pin_count_reclaimable(unit));

	if (!n)
		return SHRINK_STOP;
	atomic_long_add(n, &unit->pins.wanted);
	kviommu_wake(unit, 0);
	return n;
}

/**
 * kviommu_pin_shrinker_register() - Release idle pins when the host lacks memory
 * @unit: The unit, which has a worker
 *
 * Context: process context, may sleep; not under map_lock.
 * Return: 0 or -ENOMEM.
 */
int kviommu_pin_shrinker_register(struct kviommu_unit *unit)
{
	struct shrinker *shrinker = shrinker_alloc(0, "kviommu:%d", unit->id);

	if (!shrinker)
		return -ENOMEM;
	shrinker->count_objects = pin_shrinker_count;
	shrinker->scan_objects = pin_shrinker_scan;
	shrinker->private_data = unit;
	unit->pins.shrinker = shrinker;
	shrinker_register(shrinker);
	return 0;
}

/**
 * kviommu_pin_shrinker_unregister() - Undo kviommu_pin_shrinker_register(), if it was called
 * @unit: The unit, which still has its worker if it has a shrinker
 *
 * Context: process context, may sleep; no locks, as it waits for callers of the shrinker.
 */
void kviommu_pin_shrinker_unregister(struct kviommu_unit *unit)
{
	shrinker_free(unit->pins.shrinker);
	unit->pins.shrinker = NULL;
}
