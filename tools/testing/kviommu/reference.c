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

static struct ref_context fault(uint8_t reason, bool quiet)
{
	return (struct ref_context){ .fault = reason, .quiet = quiet };
}

/* Read some consecutive words. */
static bool ref_read(uint64_t gpa, uint64_t *val, unsigned int words)
{
	unsigned int i;

	for (i = 0; i < words; i++)
		if (!ref_read64(gpa + 8 * i, &val[i]))
			return false;
	return true;
}

/* 00b is legacy mode, 01b scalable mode. */
bool ref_mode_valid(const struct ref_unit *unit)
{
	switch (bits(unit->rtaddr, 11, 10)) {
	case 0:
		return true;
	case 1:
		return unit->scalable;
	}
	return false;
}

/* Legacy mode: root table, context table, 256 entries of 16 bytes each. */
static struct ref_context ref_legacy(const struct ref_unit *unit, uint16_t sid)
{
	struct ref_context ctx = { REF_BLOCKED };
	uint64_t e[2], lo, hi, addr;
	bool fpd;

	addr = (bits(unit->rtaddr, 63, 12) << 12) + bits(sid, 15, 8) * 16;
	if (!ref_read(addr, e, 2))
		return fault(0x8, false);
	lo = e[0];
	hi = e[1];
	/* P is bit 0; 11:1, 63:HAW and the upper half are reserved. */
	if (!bits(lo, 0, 0))
		return ctx;
	if (bits(lo, 11, 1) || bits(lo, 63, HAW) || hi)
		return fault(0xa, false);

	addr = (bits(lo, 63, 12) << 12) + bits(sid, 7, 0) * 16;
	if (!ref_read(addr, e, 2))
		return fault(0x9, false);
	lo = e[0];
	hi = e[1];
	fpd = bits(lo, 1, 1);
	if (!bits(lo, 0, 0))
		return ctx;
	/* 11:4 are reserved; in the upper half 7 and 63:24. */
	if (bits(lo, 11, 4) || bits(hi, 7, 7) || bits(hi, 63, 24))
		return fault(0xb, fpd);
	/* With TT 00b the pointer counts. */
	if (!bits(lo, 3, 2) && bits(lo, 63, HAW))
		return fault(0xb, fpd);
	/* AW: 001b is 39 bits, 010b 48. */
	ctx.levels = bits(hi, 2, 0) + 2;
	if (ctx.levels < 3 || ctx.levels > unit->max_levels)
		return fault(0x3, fpd);
	/* TT */
	switch (bits(lo, 3, 2)) {
	case 0:
		ctx.type = REF_TABLES;
		ctx.did = bits(hi, 23, 8);
		ctx.root = bits(lo, 63, 12) << 12;
		ctx.quiet = fpd;
		return ctx;
	case 2:
		if (unit->pt)
			return (struct ref_context){ REF_IDENTITY };
		break;
	}
	/* 01b needs device-TLBs, and 11b is reserved. */
	return fault(0x3, fpd);
}

/*
 * A PASID table entry. Requests without PASID are, without ECAP.RPS, as those with PASID 0.
 * @e: its 8 words.
 */
static struct ref_context ref_pasid(const struct ref_unit *unit, const uint64_t *e, bool fpd)
{
	struct ref_context ctx = { .quiet = fpd };
	unsigned int i;

	/* 11:10 */
	if (bits(e[0], 11, 10))
		return fault(0x5a, fpd);
	/* 86:80 */
	if (bits(e[1], 22, 16))
		return fault(0x5a, fpd);
	/* PWSNP is 87, PGSNP 88. */
	if ((bits(e[1], 23, 23) && !unit->smpwc) || (bits(e[1], 24, 24) && !unit->sc))
		return fault(0x5a, fpd);
	/*
	 * SRE, ERE and WPE belong to supervisor and execute requests, bit 135 to the extended
	 * accessed flag, none of which is there; 134 and 139:136 are reserved. NXE is 133.
	 */
	if (bits(e[2], 1, 0) || bits(e[2], 4, 4) || bits(e[2], 11, 6))
		return fault(0x5a, fpd);
	for (i = 3; i < 8; i++)
		if (e[i])
			return fault(0x5a, fpd);
	/* PGTT: 001b first-stage, 100b pass-through; there is no second stage. */
	switch (bits(e[0], 8, 6)) {
	case 1:
		if (bits(e[2], 63, HAW))
			return fault(0x5a, fpd);
		/* FSPM: 00b has 4 levels, 01b 5. */
		if (bits(e[2], 3, 2) > unit->fs_5lp)
			return fault(0x5b, fpd);
		ctx.type = REF_FIRST_STAGE;
		ctx.levels = 4 + bits(e[2], 3, 2);
		ctx.did = bits(e[1], 15, 0);
		ctx.root = bits(e[2], 63, 12) << 12;
		return ctx;
	case 4:
		if (!unit->pt)
			break;
		ctx.type = REF_IDENTITY;
		return ctx;
	}
	return fault(0x5b, fpd);
}

/* Scalable mode: root table, context table, PASID directory, PASID table */
static struct ref_context ref_scalable(const struct ref_unit *unit, uint16_t sid,
				       uint32_t pasid)
{
	static const struct ref_context absent = { REF_BLOCKED };
	uint64_t e[8], addr;
	bool fpd;

	/* The lower half of a root entry is for devices 0 to 15, the upper one for the others. */
	addr = (bits(unit->rtaddr, 63, 12) << 12) + bits(sid, 15, 8) * 16 + bits(sid, 7, 7) * 8;
	if (!ref_read(addr, e, 1))
		return fault(0x38, false);
	if (!bits(e[0], 0, 0))
		return absent;
	if (bits(e[0], 11, 1) || bits(e[0], 63, HAW))
		return fault(0x3a, false);

	/* 128 entries of 32 bytes: P, FPD, PASIDE (3), PDTS (11:9), PASIDDIRPTR, and no more */
	addr = (bits(e[0], 63, 12) << 12) + bits(sid, 6, 0) * 32;
	if (!ref_read(addr, e, 4))
		return fault(0x40, false);
	if (!bits(e[0], 0, 0))
		return absent;
	fpd = bits(e[0], 1, 1);
	if (bits(e[0], 2, 2) || bits(e[0], 8, 4) || bits(e[0], 63, HAW) || e[1] || e[2] || e[3])
		return fault(0x42, fpd);
	if (bits(e[0], 3, 3) && !unit->pasid_bits)
		return fault(0x42, fpd);
	/* A request is what shows that it has no place there. */
	if (pasid && (!bits(e[0], 3, 3) || pasid >= 1U << unit->pasid_bits ||
		      pasid >= 64 * (128U << bits(e[0], 11, 9))))
		return absent;

	/* An entry of the directory for 64 PASIDs: P, FPD, SMPTBLPTR */
	addr = (bits(e[0], 63, 12) << 12) + pasid / 64 * 8;
	if (!ref_read(addr, e, 1))
		return fault(0x50, fpd);
	if (!bits(e[0], 0, 0))
		return absent;
	fpd |= bits(e[0], 1, 1);
	if (bits(e[0], 11, 2) || bits(e[0], 63, HAW))
		return fault(0x52, fpd);

	/* An entry of the table, of 64 bytes */
	addr = (bits(e[0], 63, 12) << 12) + pasid % 64 * 64;
	if (!ref_read(addr, e, 8))
		return fault(0x58, fpd);
	if (!bits(e[0], 0, 0))
		return absent;
	return ref_pasid(unit, e, fpd | bits(e[0], 1, 1));
}

struct ref_context ref_context(const struct ref_unit *unit, uint16_t sid, uint32_t pasid)
{
	struct ref_context ctx = { REF_BLOCKED };

	if (!unit->te) {
		if (unit->boot_identity && !pasid)
			ctx.type = REF_IDENTITY;
		return ctx;
	}
	/* 0x30 for any request, or 0x31, for one with PASID in legacy mode, is reported once. */
	if (pasid && bits(unit->rtaddr, 11, 10) != 1)
		return ctx;
	if (!ref_mode_valid(unit))
		return fault(0x30, false);
	return bits(unit->rtaddr, 11, 10) ? ref_scalable(unit, sid, pasid) :
					    ref_legacy(unit, sid);
}

enum entry {
	ENTRY_NONE,
	ENTRY_TABLE,
	ENTRY_LEAF,
};

/* A second-level entry */
static enum entry ref_second_level(const struct ref_unit *unit, uint64_t e, unsigned int level,
				   struct ref_leaf *leaf)
{
	unsigned int shift = 12 + 9 * (level - 1);
	bool is_leaf;

	/* R and W: with neither the entry is not present. */
	if (!bits(e, 1, 0))
		return ENTRY_NONE;
	/* SNP and TM are reserved without snoop control and device-TLBs. */
	if ((bits(e, 11, 11) && !unit->sc) || bits(e, 62, 62))
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
	return is_leaf ? ENTRY_LEAF : ENTRY_TABLE;
}

/*
 * A first-stage entry. Requests without PASID are those of a user; NXE is not looked at, so
 * XD (63) is ignored.
 */
static enum entry ref_first_stage(const struct ref_unit *unit, uint64_t e, unsigned int level,
				  struct ref_leaf *leaf)
{
	unsigned int shift = 12 + 9 * (level - 1);
	bool is_leaf;

	/* P */
	if (!bits(e, 0, 0))
		return ENTRY_NONE;
	if (bits(e, 51, HAW))
		return ENTRY_NONE;
	/* PS */
	is_leaf = level == 1 || bits(e, 7, 7);
	if (is_leaf && (level > 3 || (level == 3 && !unit->fs_1g)))
		return ENTRY_NONE;
	/* In a large leaf bit 12 is PAT. */
	if (is_leaf && level > 1 && bits(e, shift - 1, 13))
		return ENTRY_NONE;
	/* U/S, R/W */
	if (!bits(e, 2, 2))
		return ENTRY_NONE;
	leaf->write = leaf->write && bits(e, 1, 1);
	return is_leaf ? ENTRY_LEAF : ENTRY_TABLE;
}

/* Read an entry of the table at @table; @leaf has the rights of the walk so far. */
static enum entry ref_read_entry(const struct ref_unit *unit, const struct ref_context *ctx,
				 uint64_t table, unsigned int level, unsigned int index,
				 struct ref_leaf *leaf, uint64_t *next)
{
	bool first = ctx->type == REF_FIRST_STAGE;
	enum entry kind;
	uint64_t e;

	if (!(first ? ref_walk64 : ref_read64)(table + index * 8, &e))
		return ENTRY_NONE;
	kind = (first ? ref_first_stage : ref_second_level)(unit, e, level, leaf);
	*next = bits(e, 51, 12) << 12;
	if (first && kind == ENTRY_LEAF)
		*next &= ~((1ULL << (12 + 9 * (level - 1))) - 1);
	return kind;
}

uint64_t ref_canonical(uint64_t iova, unsigned int levels)
{
	unsigned int sign = 12 + 9 * levels - 1;

	return bits(iova, sign, sign) ? iova | ~0ULL << sign : bits(iova, sign, 0);
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
	uint64_t table = ctx->root;
	unsigned int level;

	switch (ctx->type) {
	case REF_TABLES:
		if (iova >> ref_width(unit, ctx))
			return false;
		break;
	case REF_FIRST_STAGE:
		/* Addresses have to be canonical; FEEx_xxxxh are interrupts. */
		if (iova != ref_canonical(iova, ctx->levels) || bits(iova, 63, 20) == 0xfee)
			return false;
		break;
	default:
		return false;
	}
	*leaf = (struct ref_leaf){ .read = true, .write = true };
	for (level = ctx->levels; level; level--) {
		unsigned int shift = 12 + 9 * (level - 1);
		uint64_t next;

		switch (ref_read_entry(unit, ctx, table, level, iova >> shift & 511, leaf,
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
	const struct ref_unit *unit;
	const struct ref_context *ctx;
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
		switch (ref_read_entry(v->unit, v->ctx, table, level, i, &leaf, &next)) {
		case ENTRY_NONE:
			break;
		case ENTRY_LEAF:
			leaf.iova = iova;
			if (v->ctx->type == REF_FIRST_STAGE)
				leaf.iova = ref_canonical(iova, v->ctx->levels);
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
	struct visit v = { .unit = unit, .ctx = ctx, .fn = fn, .data = data };

	switch (ctx->type) {
	case REF_TABLES:
		v.end = 1ULL << ref_width(unit, ctx);
		break;
	case REF_FIRST_STAGE:
		v.end = 1ULL << (12 + 9 * ctx->levels);
		break;
	default:
		return;
	}
	ref_leaves_below(&v, ctx->root, ctx->levels, 0, rights);
}

/* CAP.MAMV */
#define MAMV	18

bool ref_descriptor_valid(const struct ref_unit *unit, const struct ref_descriptor *d)
{
	uint64_t lo = d->word[0], hi = d->word[1];
	bool scalable = bits(unit->rtaddr, 11, 10);
	unsigned int granularity = bits(lo, 5, 4);

	/* In scalable mode descriptors have 256 bits. The upper half of each is reserved. */
	if (!ref_mode_valid(unit) || (scalable && !unit->wide) || d->word[2] || d->word[3])
		return false;
	/* Types are 11:9 and 3:0; those from 16 on are of features that are not there. */
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
	case 6:
		/* PASID-based IOTLB: G 10b or 11b, DID, PASID; AM, IH, ADDR if by page */
		return scalable && granularity > 1 && !bits(lo, 7, 6) && !bits(lo, 15, 12) &&
		       !bits(lo, 63, 52) && !bits(hi, 11, 7);
	case 7:
		/* PASID-cache: G 00b, 01b or 11b, DID, PASID */
		return scalable && granularity != 2 && !bits(lo, 7, 6) &&
		       !bits(lo, 15, 12) && !bits(lo, 63, 52) && !hi;
	}
	return false;
}

/* What each granularity has to do with first-stage translations */
struct ref_inval ref_inval(const struct ref_descriptor *d)
{
	uint64_t lo = d->word[0], hi = d->word[1], mask;
	struct ref_inval none = { .first = 1, .last = 0 };
	struct ref_inval inval = { .did = bits(lo, 31, 16), .pasid = -1, .last = ~0ULL };
	unsigned int granularity = bits(lo, 5, 4), am = bits(hi, 5, 0);

	switch (bits(lo, 3, 0)) {
	case 2:
		/* Global or of a domain; by page it is about second-stage translations. */
		inval.all = granularity == 1;
		return granularity == 3 ? none : inval;
	case 6:
		inval.pasid = bits(lo, 51, 32);
		if (granularity == 2)
			return inval;
		/* IH */
		inval.leaves = bits(hi, 6, 6);
		mask = am < 52 ? (1ULL << (12 + am)) - 1 : ~0ULL;
		inval.first = (bits(hi, 63, 12) << 12) & ~mask;
		inval.last = inval.first | mask;
		return inval;
	}
	return none;
}
