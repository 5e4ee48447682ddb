// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pins that nothing uses, and when they are given back.
 *
 * Those that were used least recently go first. There is no list of them, as
 * that would take more memory than all the rest of the cache: an idle pin has
 * the time at which it became so, in two coarse measures. One is generations,
 * each of a NR_SHARES-th of the pins that may be idle; they make the order. The
 * other is ticks of a quarter of the greatest age that is allowed; they only go
 * on while there are idle pins.
 */
#include <linux/atomic.h>
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/shrinker.h>
#include <linux/time64.h>

#include "pins.h"

/**
 * kviommu_pin_next_tick() - Schedule the next tick, if there are pins that age
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
			kviommu_pin_unpin(unit, p, gfn + i);
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
		kviommu_chunk_put(unit, chunk, index);
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
 * kviommu_pin_trim_excess() - Give idle pins back if there are too many
 * @unit: The unit
 *
 * Some more than what is too much, so that it is not soon done again.
 *
 * Context: under map_lock, may sleep.
 */
void kviommu_pin_trim_excess(struct kviommu_unit *unit)
{
	unsigned long max = unit->policy.max_idle_pins;

	if (unit->pins.idle > max)
		kviommu_pin_trim(unit, max - min(max / 4, TRIM_MORE));
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

	kviommu_pin_trim_excess(unit);
	idle = pins->idle;
	wanted = atomic_long_xchg(&pins->wanted, 0);
	kviommu_pin_trim(unit, idle - min(wanted, idle));
	if (pins->ticking && time_after_eq(jiffies, pins->tick_at)) {
		pins->ticking = false;
		pins->tick++;
		sweep(unit, &s);
	}
	kviommu_count(unit, reclaims, idle - pins->idle);
	kviommu_pin_next_tick(unit);
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
	kviommu_wake(unit, 0);
	return n;
}

/**
 * kviommu_pin_shrinker_register() - Give idle pins back when the host lacks memory
 * @unit: The unit, which has a worker
 *
 * Context: process context, not under map_lock.
 * Return: 0 or -ENOMEM.
 */
int kviommu_pin_shrinker_register(struct kviommu_unit *unit)
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
 * kviommu_pin_shrinker_unregister() - Undo kviommu_pin_shrinker_register(), if it was done
 * @unit: The unit, which still has its worker
 *
 * Context: process context, no locks.
 */
void kviommu_pin_shrinker_unregister(struct kviommu_unit *unit)
{
	shrinker_free(unit->pins.shrinker);
	unit->pins.shrinker = NULL;
}
