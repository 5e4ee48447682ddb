// SPDX-License-Identifier: GPL-2.0-only
/*
 * The reference translator. Bits are given by their numbers in the specification, not by
 * the names of the module's header, so that a mistake there is found.
 */
#include "reference.h"

/* Bits @high to @low of @val. */
static uint64_t bits(uint64_t val, unsigned int high, unsigned int low)
{
	return val << (63 - high) >> (63 - high + low);
}

/* Host address width of the guest */
#define HAW	48

static const struct ref_context blocked = { REF_BLOCKED, 0, 0, 0 };

/* Legacy mode: root table, context table, 256 entries of 16 bytes each. */
struct ref_context ref_context(const struct ref_unit *unit, uint16_t sid)
{
	struct ref_context ctx = { REF_BLOCKED, 0, 0, 0 };
	uint64_t lo, hi, addr;

	if (!unit->te) {
		if (unit->boot_identity)
			ctx.type = REF_IDENTITY;
		return ctx;
	}

	/* Translation table mode: 00b is legacy. */
	if (bits(unit->rtaddr, 11, 10))
		return blocked;
	addr = (bits(unit->rtaddr, 63, 12) << 12) + bits(sid, 15, 8) * 16;
	if (!ref_read64(addr, &lo) || !ref_read64(addr + 8, &hi))
		return blocked;
	/* P is bit 0; 11:1, 63:HAW and the upper half are reserved. */
	if (!bits(lo, 0, 0))
		return blocked;
	if (bits(lo, 11, 1) || bits(lo, 63, HAW) || hi)
		return blocked;

	addr = (bits(lo, 63, 12) << 12) + bits(sid, 7, 0) * 16;
	if (!ref_read64(addr, &lo) || !ref_read64(addr + 8, &hi))
		return blocked;
	if (!bits(lo, 0, 0))
		return blocked;
	/* 11:4 are reserved; in the upper half 7 and 63:24. */
	if (bits(lo, 11, 4) || bits(hi, 7, 7) || bits(hi, 63, 24))
		return blocked;
	/* AW: 001b is 39 bits, 010b 48. */
	ctx.levels = bits(hi, 2, 0) + 2;
	if (ctx.levels < 3 || ctx.levels > unit->max_levels)
		return blocked;
	/* TT */
	switch (bits(lo, 3, 2)) {
	case 0:
		if (bits(lo, 63, HAW))
			return blocked;
		ctx.type = REF_TABLES;
		ctx.did = bits(hi, 23, 8);
		ctx.slptptr = bits(lo, 63, 12) << 12;
		return ctx;
	case 2:
		return (struct ref_context){ REF_IDENTITY, 0, 0, 0 };
	}
	/* 01b needs device-TLBs, and 11b is reserved. */
	return blocked;
}

enum entry {
	ENTRY_NONE,
	ENTRY_TABLE,
	ENTRY_LEAF,
};

/* Read an entry of the table at @table; @leaf has the rights of the walk so far. */
static enum entry ref_read_entry(uint64_t table, unsigned int level,
				 unsigned int index, struct ref_leaf *leaf,
				 uint64_t *next)
{
	unsigned int shift = 12 + 9 * (level - 1);
	bool is_leaf;
	uint64_t e;

	if (!ref_read64(table + index * 8, &e))
		return ENTRY_NONE;
	/* R and W: with neither the entry is not present. */
	if (!bits(e, 1, 0))
		return ENTRY_NONE;
	/* SNP and TM are reserved without snoop control and device-TLBs. */
	if (bits(e, 11, 11) || bits(e, 62, 62))
		return ENTRY_NONE;
	if (bits(e, 51, HAW))
		return ENTRY_NONE;
	/* PS */
	is_leaf = level == 1 || bits(e, 7, 7);
	if (is_leaf && level > 3)
		return ENTRY_NONE;
	if (is_leaf && level > 1 && bits(e, shift - 1, 12))
		return ENTRY_NONE;
	leaf->read = leaf->read && bits(e, 0, 0);
	leaf->write = leaf->write && bits(e, 1, 1);
	if (!leaf->read && !leaf->write)
		return ENTRY_NONE;
	*next = bits(e, 51, 12) << 12;
	return is_leaf ? ENTRY_LEAF : ENTRY_TABLE;
}

/* Width in bits of the addresses that are translated; requests beyond it are blocked. */
static unsigned int ref_width(const struct ref_unit *unit,
			      const struct ref_context *ctx)
{
	unsigned int agaw = 12 + 9 * ctx->levels;

	return agaw < unit->mgaw ? agaw : unit->mgaw;
}

bool ref_walk(const struct ref_unit *unit, const struct ref_context *ctx,
	      uint64_t iova, struct ref_leaf *leaf)
{
	uint64_t table = ctx->slptptr;
	unsigned int level;

	if (ctx->type != REF_TABLES || iova >> ref_width(unit, ctx))
		return false;
	*leaf = (struct ref_leaf){ .read = true, .write = true };
	for (level = ctx->levels; level; level--) {
		unsigned int shift = 12 + 9 * (level - 1);
		uint64_t next;

		switch (ref_read_entry(table, level, iova >> shift & 511, leaf,
				       &next)) {
		case ENTRY_NONE:
			return false;
		case ENTRY_LEAF:
			leaf->size = 1ULL << shift;
			leaf->iova = iova & ~(leaf->size - 1);
			leaf->gpa = next;
			return true;
		case ENTRY_TABLE:
			table = next;
		}
	}
	return false;
}

/* Tables may point to each other in circles: a walk ends after this many entries. */
#define MAX_VISITS	20000

struct visit {
	uint64_t end;
	unsigned int visits;
	bool (*fn)(const struct ref_leaf *leaf, void *data);
	void *data;
};

static bool ref_leaves_below(struct visit *v, uint64_t table, unsigned int level,
			     uint64_t base, struct ref_leaf rights)
{
	unsigned int shift = 12 + 9 * (level - 1), i;

	for (i = 0; i < 512; i++) {
		uint64_t iova = base + ((uint64_t)i << shift), next;
		struct ref_leaf leaf = rights;

		if (iova >= v->end)
			return true;
		if (v->visits++ == MAX_VISITS)
			return false;
		switch (ref_read_entry(table, level, i, &leaf, &next)) {
		case ENTRY_NONE:
			break;
		case ENTRY_LEAF:
			leaf.iova = iova;
			leaf.size = 1ULL << shift;
			leaf.gpa = next;
			if (!v->fn(&leaf, v->data))
				return false;
			break;
		case ENTRY_TABLE:
			if (!ref_leaves_below(v, next, level - 1, iova, leaf))
				return false;
		}
	}
	return true;
}

void ref_leaves(const struct ref_unit *unit, const struct ref_context *ctx,
		bool (*fn)(const struct ref_leaf *leaf, void *data),
		void *data)
{
	struct ref_leaf rights = { .read = true, .write = true };
	struct visit v = { .fn = fn, .data = data };

	if (ctx->type != REF_TABLES)
		return;
	v.end = 1ULL << ref_width(unit, ctx);
	ref_leaves_below(&v, ctx->slptptr, ctx->levels, 0, rights);
}

/* CAP.MAMV */
#define MAMV	18

/* In legacy mode; types of more than 4 bits belong to scalable mode. */
bool ref_descriptor_valid(uint64_t lo, uint64_t hi)
{
	unsigned int granularity = bits(lo, 5, 4);

	if (bits(lo, 11, 9) || bits(lo, 8, 8))
		return false;
	switch (bits(lo, 3, 0)) {
	case 1:
		/* Context-cache: G, DID, SID, FM */
		return granularity && !bits(lo, 7, 6) && !bits(lo, 15, 12) &&
		       !bits(lo, 63, 50) && !hi;
	case 2:
		/* IOTLB: G, DW, DR, DID; AM, IH, ADDR if by page */
		if (!granularity || bits(lo, 15, 12) || bits(lo, 63, 32) ||
		    bits(hi, 11, 7))
			return false;
		return granularity != 3 || bits(hi, 5, 0) <= MAMV;
	case 5:
		/* Wait: IF, SW, FN, data; address */
		return !bits(lo, 31, 7) && !bits(hi, 1, 0);
	}
	return false;
}
