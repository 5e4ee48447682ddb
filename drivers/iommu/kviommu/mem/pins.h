/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The internals of the pin cache, for the files of this folder only.
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
#define CHUNK_HAS_IDLE	XA_MARK_0	/* a chunk that may have idle pins */

/* The time at which a pin became idle, in pin.uses; see idle.c */
#define STAMP_GEN	GENMASK(15, 0)
#define STAMP_TICK	GENMASK(19, 16)
#define MAX_TICKS	5	/* the first tick may follow immediately */
#define NR_SHARES	16	/* generations that max_idle_pins are divided into */
#define NR_AGES		32	/* in generations; the last is for all older pins */
#define TRIM_MORE	256UL	/* pins to release below max_idle_pins, at most */

/**
 * struct pin - The state of one guest frame, packed into 8 bytes
 * @pfn: Host frame number
 * @uses: Number of translations and accesses that use the frame; for an idle pin, the
 *        time at which it became idle
 * @readable: The IOAS is known to allow reads
 * @writable: The IOAS is known to allow writes
 * @pinned: The frame is pinned; if not, the other members have no meaning
 * @idle: The frame has no user
 *
 * A right that is not known yet may still be allowed.
 */
struct pin {
	u64 pfn : 40;
	u64 uses : 20;
	u64 readable : 1;
	u64 writable : 1;
	u64 pinned : 1;
	u64 idle : 1;
};

/**
 * struct chunk - A part of the pin cache
 * @pins: The state of CHUNK_GFNS consecutive guest frames
 */
struct chunk {
	struct pin pins[CHUNK_GFNS];
};

static inline struct kviommu_recent *chunk_recent(struct kviommu_pins *pins,
						  unsigned long index)
{
	/* Hashed, as the queue, the status and buffers are rarely neighbours. */
	return &pins->recent[hash_long(index, KVIOMMU_RECENT_BITS)];
}

/* A guest uses the same frames again and again: the queue, the status, a buffer. */
static inline struct chunk *chunk_find(struct kviommu_unit *unit, u64 gfn)
{
	unsigned long index = gfn >> CHUNK_SHIFT;
	struct kviommu_recent *r = chunk_recent(&unit->pins, index);

	if (unlikely(!r->chunk || r->index != index)) {
		r->index = index;
		r->chunk = xa_load(&unit->pins.chunks, index);
		r->marked = false;
	}
	return r->chunk;
}

static inline unsigned int pin_gen(const struct pin *p)
{
	u32 stamp = p->uses;

	return FIELD_GET(STAMP_GEN, stamp);
}

static inline unsigned int pin_tick(const struct pin *p)
{
	u32 stamp = p->uses;

	return FIELD_GET(STAMP_TICK, stamp);
}

static inline void pin_clear_idle(struct kviommu_unit *unit, struct pin *p)
{
	struct kviommu_pins *pins = &unit->pins;

	pins->idle--;
	if (pin_gen(p) == pins->gen)
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
	struct kviommu_recent *r = chunk_recent(pins, index);

	if (r->index == index && r->marked)
		return;
	xa_set_mark(&pins->chunks, index, CHUNK_HAS_IDLE);
	r->marked = r->index == index;
}

/* The value of pin.uses for a pin that becomes idle now */
static inline u32 pin_idle_stamp(const struct kviommu_pins *pins)
{
	return FIELD_PREP(STAMP_GEN, pins->gen) |
	       FIELD_PREP(STAMP_TICK, pins->tick & 15);
}

/* Mark a pin as idle. chunk_note_idle() has to follow for its chunk. */
static inline void __pin_set_idle(struct kviommu_unit *unit, struct pin *p)
{
	struct kviommu_pins *pins = &unit->pins;

	if (pins->newest >= unit->policy.max_idle_pins / NR_SHARES) {
		pins->newest = 0;
		pins->gen++;
	}
	pins->newest++;
	p->idle = 1;
	p->uses = pin_idle_stamp(pins);
	pins->idle++;
}

/* Record that pins of a chunk have become idle, and start ageing them. */
static inline void chunk_note_idle(struct kviommu_unit *unit, unsigned long index)
{
	chunk_mark_idle(&unit->pins, index);
	if (!unit->pins.ticking)
		kviommu_pin_next_tick(unit);
}

static inline void pin_set_idle(struct kviommu_unit *unit, struct pin *p, u64 gfn)
{
	__pin_set_idle(unit, p);
	chunk_note_idle(unit, gfn >> CHUNK_SHIFT);
}

/* Add a user to a pinned frame, which has less than MAX_USES of them. */
static inline u64 pin_use(struct kviommu_unit *unit, struct pin *p)
{
	if (p->idle)
		pin_clear_idle(unit, p);
	p->uses++;
	return p->pfn;
}

static inline bool pin_has_rights(const struct pin *p, unsigned int prot)
{
	return p->pinned && (!(prot & KVIOMMU_WRITE) || p->writable) &&
	       (!(prot & KVIOMMU_READ) || p->readable);
}

#endif /* _KVIOMMU_PINS_H */
