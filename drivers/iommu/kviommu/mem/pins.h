/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The inside of the pin cache, for the files of this folder.
 */
#ifndef _KVIOMMU_PINS_H
#define _KVIOMMU_PINS_H

#include <linux/bitfield.h>
#include <linux/hash.h>
#include <linux/mm.h>

#include "mem.h"

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

static inline struct kviommu_recent *recent_of(struct kviommu_pins *pins,
					unsigned long index)
{
	/* Queue, status and buffers are rarely neighbours. */
	return &pins->recent[hash_long(index, KVIOMMU_RECENT_BITS)];
}

/* What a guest uses it uses again: the queue, the status, a buffer. */
static inline struct chunk *chunk_find(struct kviommu_unit *unit, u64 gfn)
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

static inline unsigned int gen_of(const struct pin *p)
{
	u32 stamp = p->uses;

	return FIELD_GET(STAMP_GEN, stamp);
}

static inline unsigned int tick_of(const struct pin *p)
{
	u32 stamp = p->uses;

	return FIELD_GET(STAMP_TICK, stamp);
}

static inline void pin_end_idle(struct kviommu_unit *unit, struct pin *p)
{
	struct kviommu_pins *pins = &unit->pins;

	pins->idle--;
	if (gen_of(p) == pins->gen)
		pins->newest--;
	p->idle = 0;
	p->uses = 0;
}

void kviommu_pin_next_tick(struct kviommu_unit *unit);
void kviommu_pin_unpin(struct kviommu_unit *unit, struct pin *p, u64 gfn);
void kviommu_chunk_put(struct kviommu_unit *unit, struct chunk *chunk,
		       unsigned long index);
void kviommu_pin_trim_excess(struct kviommu_unit *unit);

static inline void chunk_mark_idle(struct kviommu_pins *pins, unsigned long index)
{
	struct kviommu_recent *r = recent_of(pins, index);

	if (r->index == index && r->marked)
		return;
	xa_set_mark(&pins->chunks, index, HAS_IDLE);
	r->marked = r->index == index;
}

/* What an idle pin has in the place of its uses, if it becomes so now */
static inline u32 pin_stamp(const struct kviommu_pins *pins)
{
	return FIELD_PREP(STAMP_GEN, pins->gen) |
	       FIELD_PREP(STAMP_TICK, pins->tick & 15);
}

/* pin_note_idle() has to follow. */
static inline void pin_become_idle(struct kviommu_unit *unit, struct pin *p)
{
	struct kviommu_pins *pins = &unit->pins;

	if (pins->newest >= unit->policy.max_idle_pins / NR_SHARES) {
		pins->newest = 0;
		pins->gen++;
	}
	pins->newest++;
	p->idle = 1;
	p->uses = pin_stamp(pins);
	pins->idle++;
}

/* Some pins of a chunk have become idle. */
static inline void pin_note_idle(struct kviommu_unit *unit, unsigned long index)
{
	chunk_mark_idle(&unit->pins, index);
	if (!unit->pins.ticking)
		kviommu_pin_next_tick(unit);
}

static inline void pin_make_idle(struct kviommu_unit *unit, struct pin *p, u64 gfn)
{
	pin_become_idle(unit, p);
	pin_note_idle(unit, gfn >> CHUNK_SHIFT);
}

/* Of a pinned frame that can be used once more. */
static inline u64 pin_use(struct kviommu_unit *unit, struct pin *p)
{
	if (p->idle)
		pin_end_idle(unit, p);
	p->uses++;
	return p->pfn;
}

static inline bool pin_knows(const struct pin *p, unsigned int prot)
{
	return p->pinned && (!(prot & KVIOMMU_WRITE) || p->writable) &&
	       (!(prot & KVIOMMU_READ) || p->readable);
}

#endif /* _KVIOMMU_PINS_H */
