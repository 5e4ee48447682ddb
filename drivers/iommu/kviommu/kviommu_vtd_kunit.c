// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VT-d model against the specification. Fakes in this file replace the functions of
 * lower layers that a model calls, and record the calls.
 *
 * Bits are given by their numbers in the specification, not by the names of
 * vtd/spec.h, whose values are under test as well.
 */
#define NOTRACE	/* the trace events are defined in kviommu.ko */

#include <kunit/test.h>
#include <linux/module.h>
#include <linux/sizes.h>

#include "model/vtd/fault.c"
#include "model/vtd/page.c"
#include "model/vtd/qi.c"
#include "model/vtd/regs.c"
#include "model/vtd/scalable.c"
#include "model/vtd/tables.c"

/* Guest memory, which ends at MEMORY_END */
#define ROOT		0x1000
#define CONTEXT		0x2000
#define QUEUE		0x3000
#define STATUS		0x4ffc
#define MEMORY_END	0x5000
#define NO_MEMORY	0x123456000ULL
#define BEYOND_HAW	BIT_ULL(48)

#define SID		0xabcd	/* bus 0xab, device and function 0xcd */
#define MAX_CALLS	64
#define MAX_STEPS	100

/* What the model called; arguments that a struct call records are behind each */
enum what {
	NOTHING,
	REBIND,		/* sid, mask */
	REBIND_PASID,	/* pasid */
	INVALIDATE,	/* did, first, last */
	INVALIDATE_PASID, /* pasid << 32 | did, first, last */
	COMPLETE,
	STORE,		/* gpa, len */
	SIGNAL,		/* enum kviommu_event */
};

struct call {
	enum what what;
	u64 a, b, c;
};

/**
 * struct ctx - A unit with I/O virtual addresses of 48 bits
 * @unit: The unit
 * @page: The unit's register page
 * @model: The model
 * @vtd: The model as its own code knows it
 * @cap: Value of CAP
 * @ecap: Value of ECAP
 * @memory: Guest memory
 * @calls: Calls of lower layers that the model made
 * @nr_calls: Number of entries in @calls
 * @again: Number of the next calls that return -EAGAIN
 */
struct ctx {
	struct kviommu_unit unit;
	u32 *page;
	struct kviommu_model *model;
	struct vtd *vtd;
	u64 cap;
	u64 ecap;
	u8 memory[MEMORY_END];
	struct call calls[MAX_CALLS];
	unsigned int nr_calls;
	unsigned int again;
};

static const struct kviommu_work work_whole = { .whole = true, .may_wait = true };

static struct ctx *ctx_of(struct kviommu_unit *unit)
{
	return container_of(unit, struct ctx, unit);
}

static void record_call(struct kviommu_unit *unit, enum what what, u64 a, u64 b, u64 c)
{
	struct ctx *ctx = ctx_of(unit);

	if (ctx->nr_calls < MAX_CALLS)
		ctx->calls[ctx->nr_calls++] = (struct call){ what, a, b, c };
}

int kviommu_guest_read(struct kviommu_unit *unit, const struct kviommu_work *work,
		       u64 gpa, void *buf, unsigned int len)
{
	if (gpa >= MEMORY_END || len > MEMORY_END - gpa)
		return -ENOENT;
	memcpy(buf, ctx_of(unit)->memory + gpa, len);
	return 0;
}

int kviommu_guest_write(struct kviommu_unit *unit, const struct kviommu_work *work,
			u64 gpa, const void *buf, unsigned int len)
{
	if (gpa >= MEMORY_END || len > MEMORY_END - gpa)
		return -ENOENT;
	memcpy(ctx_of(unit)->memory + gpa, buf, len);
	record_call(unit, STORE, gpa, len, 0);
	return 0;
}

void kviommu_signal(struct kviommu_unit *unit, enum kviommu_event event)
{
	record_call(unit, SIGNAL, event, 0, 0);
}

static int again_or_done(struct kviommu_unit *unit)
{
	if (!ctx_of(unit)->again)
		return 0;
	ctx_of(unit)->again--;
	return -EAGAIN;
}

int kviommu_rebind(struct kviommu_unit *unit, const struct kviommu_work *work, u16 sid,
		   u16 mask, struct kviommu_progress *p)
{
	record_call(unit, REBIND, sid, mask, 0);
	return again_or_done(unit);
}

int kviommu_rebind_pasid(struct kviommu_unit *unit, const struct kviommu_work *work,
			 u32 pasid, struct kviommu_progress *p)
{
	record_call(unit, REBIND_PASID, pasid, 0, 0);
	return again_or_done(unit);
}

void kviommu_invalidate_pasid(struct kviommu_unit *unit, const struct kviommu_work *work,
			      u16 did, u32 pasid, u64 first, u64 last)
{
	record_call(unit, INVALIDATE_PASID, (u64)pasid << 32 | did, first, last);
}

int kviommu_invalidate(struct kviommu_unit *unit, const struct kviommu_work *work,
		       int did, u64 first, u64 last, struct kviommu_progress *p)
{
	record_call(unit, INVALIDATE, did, first, last);
	p->first++;
	return again_or_done(unit);
}

void kviommu_invalidate_complete(struct kviommu_unit *unit,
				 const struct kviommu_work *work)
{
	record_call(unit, COMPLETE, 0, 0, 0);
}

/* The model only stores the address. */
const struct kviommu_source_ops kviommu_radix_ops = {};

/* Whether the host can nest: then the unit offers scalable mode, and PASIDs. */
static bool host_nests;
static u8 host_pasid_bits;

int kviommu_nest_host(struct kviommu_nest *nest)
{
	*nest = (struct kviommu_nest){ .wanted = host_nests, .five_levels = true,
				       .pasid_bits = host_pasid_bits };
	return 0;
}

/* Of the capabilities that a VMM may leave out, the unit gets those in @cap and @ecap. */
static void recreate_vtd(struct kunit *test, struct ctx *ctx, unsigned int aw_bits,
			 u64 cap, u64 ecap)
{
	struct kviommu_create_vtd args = { .aw_bits = aw_bits };
	struct kviommu_vtd_info info = {};

	KUNIT_ASSERT_EQ(test, vtd_get_info(&info), 0);
	args.cap = info.out_cap & cap;
	args.ecap = info.out_ecap & ecap;
	if (ctx->model)
		ctx->model->ops->destroy(ctx->model);
	ctx->model = vtd_create(&ctx->unit, &args);
	KUNIT_ASSERT_FALSE(test, IS_ERR(ctx->model));
	ctx->vtd = to_vtd(ctx->model);
	ctx->cap = vtd_get64(ctx->vtd, VTD_CAP);
	ctx->ecap = vtd_get64(ctx->vtd, VTD_ECAP);
}

static int vtd_kunit_init(struct kunit *test)
{
	struct ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, ctx);
	ctx->unit.pages[0] = alloc_page(GFP_KERNEL | __GFP_ZERO);
	KUNIT_ASSERT_NOT_NULL(test, ctx->unit.pages[0]);
	test->priv = ctx;
	ctx->page = page_address(ctx->unit.pages[0]);
	recreate_vtd(test, ctx, 48, ~0ULL, ~0ULL);
	return 0;
}

static void vtd_kunit_exit(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	if (!ctx)
		return;
	if (!IS_ERR_OR_NULL(ctx->model))
		ctx->model->ops->destroy(ctx->model);
	__free_page(ctx->unit.pages[0]);
}

/*
 * A trapped write: KVM stores to the page first and then calls the model. Then the unit
 * runs the model until nothing is pending, here for a limited number of steps.
 */
static void guest_store(struct ctx *ctx, unsigned int offset, const void *data,
			unsigned int len)
{
	unsigned int i;

	memcpy((u8 *)ctx->page + offset, data, len);
	ctx->model->page_ops->write(ctx->model, offset, data, len);
	for (i = 0; i < MAX_STEPS && !ctx->again &&
	     ctx->model->ops->pending(ctx->model); i++)
		ctx->model->ops->run(ctx->model, &work_whole);
}

static void wr32(struct ctx *ctx, unsigned int offset, u32 val)
{
	guest_store(ctx, offset, &val, sizeof(val));
}

static void wr64(struct ctx *ctx, unsigned int offset, u64 val)
{
	guest_store(ctx, offset, &val, sizeof(val));
}

static u32 rd32(const struct ctx *ctx, unsigned int offset)
{
	return ctx->page[offset / sizeof(u32)];
}

static u64 rd64(const struct ctx *ctx, unsigned int offset)
{
	return rd32(ctx, offset) | (u64)rd32(ctx, offset + 4) << 32;
}

static void put128(struct ctx *ctx, u64 gpa, u64 lo, u64 hi)
{
	__le64 entry[2] = { cpu_to_le64(lo), cpu_to_le64(hi) };

	memcpy(ctx->memory + gpa, entry, sizeof(entry));
}

static unsigned int count_calls(const struct ctx *ctx, enum what what, u64 a)
{
	unsigned int i, n = 0;

	for (i = 0; i < ctx->nr_calls; i++)
		n += ctx->calls[i].what == what &&
		     ctx->calls[i].a == a;
	return n;
}

/* Root and context entries. */

struct resolve_case {
	const char *name;
	u64 root, root_hi;
	u64 lo, hi;
	enum kviommu_binding_type type;
	u8 fault;
	u8 levels;
	bool quiet;
};

#define P		BIT_ULL(0)
#define FPD		BIT_ULL(1)
#define TT(n)		((u64)(n) << 2)
#define AW(n)		((u64)(n))
#define DID(n)		((u64)(n) << 8)
#define TABLE		0x7000ULL

#define RESOLVE_FAULT(_name, _root, _root_hi, _lo, _hi, _fault)		\
	{ .name = (_name), .root = (_root), .root_hi = (_root_hi),	\
	  .lo = (_lo), .hi = (_hi), .fault = (_fault) }

static const struct resolve_case resolve_cases[] = {
	{ "root not present", ~P, ~0ULL },
	{ "context not present", CONTEXT | P, 0, ~P, ~0ULL },
	{ "3 levels", CONTEXT | P, 0, TABLE | P, AW(1) | DID(0xfedc),
	  KVIOMMU_BIND_DOMAIN, .levels = 3 },
	{ "4 levels", CONTEXT | P, 0, TABLE | P, AW(2) | DID(0xfedc),
	  KVIOMMU_BIND_DOMAIN, .levels = 4 },
	{ "fault processing disabled", CONTEXT | P, 0, TABLE | P | FPD,
	  AW(2) | DID(0xfedc), KVIOMMU_BIND_DOMAIN, .levels = 4, .quiet = true },
	{ "bits for software", CONTEXT | P, 0, TABLE | P,
	  AW(2) | DID(0xfedc) | GENMASK_ULL(6, 3),
	  KVIOMMU_BIND_DOMAIN, .levels = 4 },
	{ "pass-through", CONTEXT | P, 0, P | TT(2), AW(2),
	  KVIOMMU_BIND_IDENTITY },
	{ "pass-through has no table", CONTEXT | P, 0, BEYOND_HAW | P | TT(2),
	  AW(1), KVIOMMU_BIND_IDENTITY },
	RESOLVE_FAULT("root: bit 1", CONTEXT | P | BIT_ULL(1), 0, 0, 0, 0xa),
	RESOLVE_FAULT("root: bit 11", CONTEXT | P | BIT_ULL(11), 0, 0, 0, 0xa),
	RESOLVE_FAULT("root: upper half", CONTEXT | P, P, 0, 0, 0xa),
	RESOLVE_FAULT("root: table beyond the width",
		      CONTEXT | P | BEYOND_HAW, 0, 0, 0, 0xa),
	RESOLVE_FAULT("root: table not in memory", NO_MEMORY | P, 0, 0, 0, 0x9),
	RESOLVE_FAULT("context: bit 4", CONTEXT | P, 0, TABLE | P | BIT_ULL(4),
		      AW(2), 0xb),
	RESOLVE_FAULT("context: bit 11", CONTEXT | P, 0,
		      TABLE | P | BIT_ULL(11), AW(2), 0xb),
	RESOLVE_FAULT("context: bit 71", CONTEXT | P, 0, TABLE | P,
		      AW(2) | BIT_ULL(71 - 64), 0xb),
	RESOLVE_FAULT("context: bit 88", CONTEXT | P, 0, TABLE | P,
		      AW(2) | BIT_ULL(88 - 64), 0xb),
	RESOLVE_FAULT("context: bit 127", CONTEXT | P, 0, TABLE | P,
		      AW(2) | BIT_ULL(127 - 64), 0xb),
	RESOLVE_FAULT("context: tables beyond the width", CONTEXT | P, 0,
		      TABLE | P | BEYOND_HAW, AW(2), 0xb),
	RESOLVE_FAULT("context: 2 levels", CONTEXT | P, 0, TABLE | P, AW(0), 0x3),
	RESOLVE_FAULT("context: 5 levels", CONTEXT | P, 0, TABLE | P, AW(3), 0x3),
	RESOLVE_FAULT("context: width 7", CONTEXT | P, 0, TABLE | P, AW(7), 0x3),
	RESOLVE_FAULT("context: pass-through of 2 levels", CONTEXT | P, 0,
		      P | TT(2), AW(0), 0x3),
	RESOLVE_FAULT("context: translated requests", CONTEXT | P, 0,
		      TABLE | P | TT(1), AW(2), 0x3),
	RESOLVE_FAULT("context: type 3", CONTEXT | P, 0, TABLE | P | TT(3),
		      AW(2), 0x3),
	{ "context: wrong, but no faults wanted", CONTEXT | P, 0,
	  TABLE | P | FPD | TT(3), AW(2), .fault = 0x3, .quiet = true },
};

KUNIT_ARRAY_PARAM_DESC(resolve, resolve_cases, name);

static void resolve_test(struct kunit *test)
{
	const struct resolve_case *c = test->param_value;
	struct ctx *ctx = test->priv;
	struct kviommu_binding b = {};

	put128(ctx, ROOT + 16 * 0xab, c->root, c->root_hi);
	put128(ctx, CONTEXT + 16 * 0xcd, c->lo, c->hi);
	ctx->vtd->root = ROOT;
	ctx->vtd->te = true;
	ctx->model->ops->resolve(ctx->model, &work_whole, SID, 0, &b);

	KUNIT_EXPECT_EQ(test, b.type, c->type);
	KUNIT_EXPECT_EQ(test, b.fault, c->fault);
	KUNIT_EXPECT_EQ(test, b.levels, c->levels);
	KUNIT_EXPECT_EQ(test, b.quiet, c->quiet);
	if (c->type == KVIOMMU_BIND_DOMAIN) {
		KUNIT_EXPECT_EQ(test, b.did, 0xfedc);
		KUNIT_EXPECT_EQ(test, b.root, TABLE);
	}
}

static void resolve_root_table_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	struct kviommu_binding b = {};

	ctx->vtd->te = true;
	ctx->vtd->root = NO_MEMORY;
	ctx->model->ops->resolve(ctx->model, &work_whole, SID, 0, &b);
	KUNIT_EXPECT_EQ(test, b.type, KVIOMMU_BIND_BLOCKED);
	KUNIT_EXPECT_EQ(test, b.fault, 0x8);

	/* The capabilities offer no other mode than legacy. */
	put128(ctx, ROOT + 16 * 0xab, CONTEXT | P, 0);
	put128(ctx, CONTEXT + 16 * 0xcd, TABLE | P, AW(2));
	ctx->vtd->root = ROOT | BIT_ULL(10);
	ctx->model->ops->resolve(ctx->model, &work_whole, SID, 0, &b);
	KUNIT_EXPECT_EQ(test, b.type, KVIOMMU_BIND_BLOCKED);
	KUNIT_EXPECT_EQ(test, b.fault, 0x30);
}

static void resolve_untranslated_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	struct kviommu_binding b = {};

	ctx->vtd->root = NO_MEMORY;
	ctx->model->ops->resolve(ctx->model, &work_whole, SID, 0, &b);
	KUNIT_EXPECT_EQ(test, b.type, KVIOMMU_BIND_BLOCKED);
	KUNIT_EXPECT_EQ(test, b.fault, 0);

	ctx->vtd->boot_identity = true;
	ctx->model->ops->resolve(ctx->model, &work_whole, SID, 0, &b);
	KUNIT_EXPECT_EQ(test, b.type, KVIOMMU_BIND_IDENTITY);
	KUNIT_EXPECT_EQ(test, b.fault, 0);
}

struct width_case {
	const char *name;
	unsigned int bits;
	u64 sagaw;
	unsigned int aw_max;
};

static const struct width_case width_cases[] = {
	{ "39 bits", 39, 0x2, 1 },
	{ "48 bits", 48, 0x6, 2 },
	{ "57 bits", 57, 0xe, 3 },
};

KUNIT_ARRAY_PARAM_DESC(width, width_cases, name);

/* A context entry may have the widths of SAGAW, and no others. */
static void resolve_width_test(struct kunit *test)
{
	const struct width_case *c = test->param_value;
	struct ctx *ctx = test->priv;
	struct kviommu_binding b = {};
	unsigned int aw;

	recreate_vtd(test, ctx, c->bits, ~0ULL, ~0ULL);
	KUNIT_EXPECT_EQ(test, (ctx->cap >> 8) & 0x1f, c->sagaw);
	KUNIT_EXPECT_EQ(test, (ctx->cap >> 16) & 0x3f, c->bits - 1);

	ctx->vtd->te = true;
	ctx->vtd->root = ROOT;
	put128(ctx, ROOT + 16 * 0xab, CONTEXT | P, 0);
	for (aw = 0; aw < 8; aw++) {
		bool right = aw >= 1 && aw <= c->aw_max;

		put128(ctx, CONTEXT + 16 * 0xcd, TABLE | P, AW(aw));
		ctx->model->ops->resolve(ctx->model, &work_whole, SID, 0, &b);
		KUNIT_EXPECT_EQ(test, b.fault, right ? 0 : 0x3);
		KUNIT_EXPECT_EQ(test, b.levels, right ? aw + 2 : 0);
	}
}

/* Second-level paging entries. */

struct decode_case {
	const char *name;
	unsigned int level;
	u64 val;
	struct kviommu_entry e;
};

#define R		BIT_ULL(0)
#define W		BIT_ULL(1)
#define PS		BIT_ULL(7)
#define SNP		BIT_ULL(11)
#define TM		BIT_ULL(62)
#define RD		KVIOMMU_READ
#define WR		KVIOMMU_WRITE

#define LEAF_FAULT	{ .leaf = true, .fault = KVIOMMU_FAULT_ENTRY }

static const struct decode_case decode_cases[] = {
	{ "not present", 1, ~(R | W) },
	{ "not present: table", 4, ~(R | W) },
	{ "4 KiB, read", 1, 0xabcdef123000 | R, { RD, true, 0, 0xabcdef123000 } },
	{ "4 KiB, write", 1, 0xabcdef123000 | W, { WR, true, 0, 0xabcdef123000 } },
	{ "4 KiB, PS means nothing", 1, 0x123000 | R | W | PS,
	  { RD | WR, true, 0, 0x123000 } },
	{ "4 KiB, ignored bits", 1,
	  0x123000 | R | W | BIT_ULL(2) | GENMASK_ULL(10, 8) |
	  GENMASK_ULL(61, 52) | BIT_ULL(63), { RD | WR, true, 0, 0x123000 } },
	{ "4 KiB, beyond the width", 1, BEYOND_HAW | R, LEAF_FAULT },
	{ "4 KiB, bit 51", 1, BIT_ULL(51) | R, LEAF_FAULT },
	{ "4 KiB, SNP", 1, 0x123000 | R | SNP, LEAF_FAULT },
	{ "4 KiB, TM", 1, 0x123000 | R | TM, LEAF_FAULT },
	{ "2 MiB", 2, 0x40200000 | R | W | PS, { RD | WR, true, 0, 0x40200000 } },
	{ "2 MiB, bit 12", 2, 0x40201000 | R | PS, LEAF_FAULT },
	{ "2 MiB, bit 20", 2, 0x40300000 | R | PS, LEAF_FAULT },
	{ "1 GiB", 3, 0x8040000000 | W | PS, { WR, true, 0, 0x8040000000 } },
	{ "1 GiB, bit 12", 3, 0x8040001000 | W | PS, LEAF_FAULT },
	{ "1 GiB, bit 29", 3, 0x8060000000 | W | PS, LEAF_FAULT },
	{ "512 GiB are not offered", 4, R | W | PS, LEAF_FAULT },
	{ "table of level 1", 2, 0x123000 | R | W, { RD | WR, false, 0, 0x123000 } },
	{ "table of level 2", 3, 0x123000 | R, { RD, false, 0, 0x123000 } },
	{ "table of level 3", 4, 0x123000 | W, { WR, false, 0, 0x123000 } },
	{ "table of level 4", 5, 0x123000 | R | W, { RD | WR, false, 0, 0x123000 } },
	{ "256 TiB are not offered", 5, R | W | PS, LEAF_FAULT },
	{ "table beyond the width", 3, BEYOND_HAW | R | W, { .fault = KVIOMMU_FAULT_ENTRY } },
};

KUNIT_ARRAY_PARAM_DESC(decode, decode_cases, name);

static void decode_test(struct kunit *test)
{
	const struct decode_case *c = test->param_value;
	struct ctx *ctx = test->priv;
	struct kviommu_entry e;

	ctx->vtd->source.decode(&ctx->vtd->source, c->val, c->level, &e);
	KUNIT_EXPECT_EQ(test, e.prot, c->e.prot);
	KUNIT_EXPECT_EQ(test, e.fault, c->e.fault);
	if (e.prot)
		KUNIT_EXPECT_EQ(test, e.leaf, c->e.leaf);
	KUNIT_EXPECT_EQ(test, e.addr, c->e.addr);
}

static struct kunit_case tables_cases[] = {
	KUNIT_CASE_PARAM(resolve_test, resolve_gen_params),
	KUNIT_CASE(resolve_root_table_test),
	KUNIT_CASE(resolve_untranslated_test),
	KUNIT_CASE_PARAM(resolve_width_test, width_gen_params),
	KUNIT_CASE_PARAM(decode_test, decode_gen_params),
	{}
};

static struct kunit_suite tables_suite = {
	.name = "kviommu_vtd_tables",
	.init = vtd_kunit_init,
	.exit = vtd_kunit_exit,
	.test_cases = tables_cases,
};

/* Descriptors and the queue. */

#define GCMD_QIE	BIT(26)
#define FSTS_PFO	BIT(0)
#define FSTS_PPF	BIT(1)
#define FSTS_IQE	BIT(4)
#define FSTS_FRI(n)	((n) << 8)

struct desc_case {
	const char *name;
	u64 lo, hi;
	struct call wanted;	/* NOTHING: the descriptor is wrong */
};

#define GRAN(n)		((u64)(n) << 4)
#define CC		0x1ULL
#define CC_SID(n)	((u64)(n) << 32)
#define CC_FM(n)	((u64)(n) << 48)
#define IOTLB		0x2ULL
#define IOTLB_DID(n)	((u64)(n) << 16)
#define AM(n)		((u64)(n))
#define WAIT		0x5ULL

static const struct desc_case desc_cases[] = {
	{ "context, global", CC | GRAN(1), 0, { REBIND, 0, 0xffff } },
	{ "context, domain", CC | GRAN(2) | IOTLB_DID(7), 0, { REBIND, 0, 0xffff } },
	{ "context, device", CC | GRAN(3) | CC_SID(SID), 0, { REBIND, SID, 0 } },
	{ "context, function mask 1", CC | GRAN(3) | CC_SID(SID) | CC_FM(1), 0,
	  { REBIND, SID, 4 } },
	{ "context, function mask 2", CC | GRAN(3) | CC_SID(SID) | CC_FM(2), 0,
	  { REBIND, SID, 6 } },
	{ "context, function mask 3", CC | GRAN(3) | CC_SID(SID) | CC_FM(3), 0,
	  { REBIND, SID, 7 } },
	{ "context, granularity 0", CC | GRAN(0) },
	{ "context, bit 6", CC | GRAN(1) | BIT_ULL(6) },
	{ "context, bit 50", CC | GRAN(1) | BIT_ULL(50) },
	{ "context, upper half", CC | GRAN(1), BIT_ULL(12) },
	{ "iotlb, global", IOTLB | GRAN(1), 0, { INVALIDATE, -1, 0, U64_MAX } },
	{ "iotlb, global, drain", IOTLB | GRAN(1) | GENMASK_ULL(7, 6), 0,
	  { INVALIDATE, -1, 0, U64_MAX } },
	{ "iotlb, domain", IOTLB | GRAN(2) | IOTLB_DID(0xffff), 0,
	  { INVALIDATE, 0xffff, 0, U64_MAX } },
	{ "iotlb, domain, address means nothing", IOTLB | GRAN(2) | IOTLB_DID(9),
	  ~GENMASK_ULL(11, 7), { INVALIDATE, 9, 0, U64_MAX } },
	{ "iotlb, page", IOTLB | GRAN(3) | IOTLB_DID(9), 0x7fff12345000,
	  { INVALIDATE, 9, 0x7fff12345000, 0x7fff12345fff } },
	{ "iotlb, page, hint", IOTLB | GRAN(3) | IOTLB_DID(9),
	  0x7fff12345000 | BIT_ULL(6),
	  { INVALIDATE, 9, 0x7fff12345000, 0x7fff12345fff } },
	{ "iotlb, page, beyond MGAW", IOTLB | GRAN(3) | IOTLB_DID(9),
	  0xffff7fff12345000, { INVALIDATE, 9, 0x7fff12345000, 0x7fff12345fff } },
	{ "iotlb, 2^9 pages", IOTLB | GRAN(3) | IOTLB_DID(9),
	  0x7fff12345000 | AM(9),
	  { INVALIDATE, 9, 0x7fff12200000, 0x7fff123fffff } },
	{ "iotlb, 2^18 pages", IOTLB | GRAN(3) | IOTLB_DID(9), 0x7fff12345000 | AM(18),
	  { INVALIDATE, 9, 0x7fff00000000, 0x7fff3fffffff } },
	{ "iotlb, domain-id 0", IOTLB | GRAN(2), 0, { INVALIDATE, -1, 0, U64_MAX } },
	{ "iotlb, page, domain-id 0", IOTLB | GRAN(3), 0x5000,
	  { INVALIDATE, -1, 0x5000, 0x5fff } },
	{ "iotlb, more than MAMV", IOTLB | GRAN(3), AM(19) },
	{ "iotlb, granularity 0", IOTLB | GRAN(0) },
	{ "iotlb, bit 8", IOTLB | GRAN(1) | BIT_ULL(8) },
	{ "iotlb, bit 32", IOTLB | GRAN(1) | BIT_ULL(32) },
	{ "iotlb, bit 71", IOTLB | GRAN(3), BIT_ULL(71 - 64) },
	{ "iotlb, bit 75", IOTLB | GRAN(1), BIT_ULL(75 - 64) },
	{ "wait, no action", WAIT, 0, { COMPLETE } },
	{ "wait, fence", WAIT | BIT_ULL(6), 0, { COMPLETE } },
	{ "wait, bit 7", WAIT | BIT_ULL(7) },
	{ "wait, bit 31", WAIT | BIT_ULL(31) },
	{ "wait, status outside of memory", WAIT | BIT_ULL(5), NO_MEMORY },
	{ "wait, status not aligned", WAIT | BIT_ULL(5), STATUS | 1 },
	{ "type 0", 0 },
	{ "device-TLB", 0x3 },
	{ "interrupt entry cache", 0x4 },
	{ "PASID cache", 0x7 },
	{ "scalable mode's types", CC | GRAN(1) | BIT_ULL(9) },
};

KUNIT_ARRAY_PARAM_DESC(desc, desc_cases, name);

static void queue_on(struct ctx *ctx, unsigned int size)
{
	wr64(ctx, 0x90, QUEUE | size);
	wr32(ctx, 0x18, GCMD_QIE);
	ctx->nr_calls = 0;
}

static void desc_test(struct kunit *test)
{
	const struct desc_case *c = test->param_value;
	struct ctx *ctx = test->priv;
	const struct call *n = ctx->calls;
	bool right = c->wanted.what != NOTHING;

	queue_on(ctx, 0);
	put128(ctx, QUEUE, c->lo, c->hi);
	wr32(ctx, 0x88, 1 << 4);

	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x34), right ? 0 : FSTS_IQE);
	KUNIT_EXPECT_EQ(test, rd64(ctx, 0x80), right ? 1 << 4 : 0);
	if (!right) {
		KUNIT_EXPECT_EQ(test, ctx->unit.stats.faults, 1);
		KUNIT_EXPECT_EQ(test, count_calls(ctx, REBIND, 0), 0);
		KUNIT_EXPECT_EQ(test, count_calls(ctx, STORE, STATUS | 1), 0);
		return;
	}
	KUNIT_EXPECT_EQ(test, ctx->unit.stats.descriptors, 1);
	KUNIT_EXPECT_EQ(test, n->what, c->wanted.what);
	KUNIT_EXPECT_EQ(test, n->a, c->wanted.a);
	KUNIT_EXPECT_EQ(test, n->b, c->wanted.b);
	KUNIT_EXPECT_EQ(test, n->c, c->wanted.c);
}

/* The status is written after the invalidation is complete, and before the event. */
static void wait_order_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	const struct call *n = ctx->calls;
	u32 status;

	queue_on(ctx, 0);
	wr32(ctx, 0xa0, 0);
	put128(ctx, QUEUE, IOTLB | GRAN(2) | IOTLB_DID(1), 0);
	put128(ctx, QUEUE + 16, WAIT | BIT_ULL(4) | BIT_ULL(5) | 0xc0ffeeULL << 32,
	       STATUS);
	wr32(ctx, 0x88, 2 << 4);

	KUNIT_EXPECT_EQ(test, n[0].what, INVALIDATE);
	KUNIT_EXPECT_EQ(test, n[1].what, COMPLETE);
	KUNIT_EXPECT_EQ(test, n[2].what, STORE);
	KUNIT_EXPECT_EQ(test, n[3].what, SIGNAL);
	KUNIT_EXPECT_EQ(test, n[3].a, KVIOMMU_EVENT_INVAL_COMPLETION);
	kviommu_guest_read(&ctx->unit, &work_whole, STATUS, &status, sizeof(status));
	KUNIT_EXPECT_EQ(test, status, 0xc0ffee);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x9c), 1);
}

static void queue_wrap_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	unsigned int i;

	queue_on(ctx, 0);
	for (i = 0; i < 256; i++)
		put128(ctx, QUEUE + 16 * i, IOTLB | GRAN(2) | IOTLB_DID(i + 1), 0);
	wr32(ctx, 0x88, 250 << 4);
	KUNIT_EXPECT_EQ(test, rd64(ctx, 0x80), 250 << 4);
	ctx->nr_calls = 0;
	wr32(ctx, 0x88, 3 << 4);
	KUNIT_EXPECT_EQ(test, rd64(ctx, 0x80), 3 << 4);
	for (i = 0; i < 256; i++)
		KUNIT_EXPECT_EQ_MSG(test, count_calls(ctx, INVALIDATE, i + 1),
				    i >= 250 || i < 3, "descriptor %u", i);
	KUNIT_EXPECT_EQ(test, ctx->unit.stats.descriptors, 259);
	KUNIT_EXPECT_EQ(test, ctx->unit.stats.faults, 0);
}

/* The head stays at an invalid descriptor until the guest has replaced it. */
static void queue_error_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	queue_on(ctx, 0);
	put128(ctx, QUEUE, IOTLB | GRAN(1), 0);
	put128(ctx, QUEUE + 16, IOTLB | GRAN(0), 0);
	put128(ctx, QUEUE + 32, IOTLB | GRAN(2) | IOTLB_DID(2), 0);
	wr32(ctx, 0x88, 3 << 4);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x34), FSTS_IQE);
	KUNIT_EXPECT_EQ(test, rd64(ctx, 0x80), 1 << 4);

	put128(ctx, QUEUE + 16, IOTLB | GRAN(2) | IOTLB_DID(1), 0);
	wr32(ctx, 0x88, 3 << 4);
	KUNIT_EXPECT_EQ(test, rd64(ctx, 0x80), 1 << 4);
	KUNIT_EXPECT_EQ(test, count_calls(ctx, INVALIDATE, 1), 0);

	wr32(ctx, 0x34, FSTS_IQE);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x34), 0);
	KUNIT_EXPECT_EQ(test, rd64(ctx, 0x80), 3 << 4);
	KUNIT_EXPECT_EQ(test, count_calls(ctx, INVALIDATE, 1), 1);
	KUNIT_EXPECT_EQ(test, count_calls(ctx, INVALIDATE, 2), 1);
}

/* Neither the head moves nor is the status written before the invalidation is done. */
static void queue_steps_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	queue_on(ctx, 0);
	put128(ctx, QUEUE, IOTLB | GRAN(2) | IOTLB_DID(1), 0);
	put128(ctx, QUEUE + 16, WAIT | BIT_ULL(5), STATUS);
	ctx->again = 2;
	wr32(ctx, 0x88, 2 << 4);
	ctx->model->ops->run(ctx->model, &work_whole);
	KUNIT_EXPECT_EQ(test, ctx->again, 1);
	KUNIT_EXPECT_EQ(test, rd64(ctx, 0x80), 0);
	ctx->model->ops->run(ctx->model, &work_whole);
	KUNIT_EXPECT_EQ(test, ctx->again, 0);
	KUNIT_EXPECT_EQ(test, rd64(ctx, 0x80), 0);
	KUNIT_EXPECT_EQ(test, count_calls(ctx, STORE, STATUS), 0);
	KUNIT_EXPECT_TRUE(test, ctx->model->ops->pending(ctx->model));
	ctx->model->ops->run(ctx->model, &work_whole);
	KUNIT_EXPECT_EQ(test, rd64(ctx, 0x80), 2 << 4);
	KUNIT_EXPECT_EQ(test, count_calls(ctx, INVALIDATE, 1), 3);
	KUNIT_EXPECT_EQ(test, count_calls(ctx, STORE, STATUS), 1);
	KUNIT_EXPECT_FALSE(test, ctx->model->ops->pending(ctx->model));
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x34), 0);
	KUNIT_EXPECT_EQ(test, ctx->unit.stats.descriptors, 2);
}

/* In an unsupported translation table mode no descriptor is valid. */
static void queue_mode_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	wr64(ctx, 0x20, ROOT | BIT_ULL(10));
	wr32(ctx, 0x18, BIT(30));
	queue_on(ctx, 0);
	put128(ctx, QUEUE, IOTLB | GRAN(1), 0);
	wr32(ctx, 0x88, 1 << 4);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x34), FSTS_IQE);
	KUNIT_EXPECT_EQ(test, count_calls(ctx, INVALIDATE, -1), 0);
}

static void queue_tail_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	queue_on(ctx, 0);
	put128(ctx, QUEUE, IOTLB | GRAN(1), 0);
	wr32(ctx, 0x88, 256 << 4);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x34), FSTS_IQE);
	KUNIT_EXPECT_EQ(test, rd64(ctx, 0x80), 0);
	KUNIT_EXPECT_EQ(test, count_calls(ctx, INVALIDATE, -1), 0);
}

static void queue_size_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	unsigned int qs;

	for (qs = 0; qs < 8; qs++) {
		queue_on(ctx, qs);
		KUNIT_EXPECT_EQ(test, rd32(ctx, 0x1c), GCMD_QIE);
		KUNIT_EXPECT_EQ(test, ctx->vtd->iq_size, SZ_4K << qs);
		KUNIT_EXPECT_EQ(test, ctx->vtd->iq_base, QUEUE);
		wr32(ctx, 0x18, 0);
		KUNIT_EXPECT_EQ(test, rd32(ctx, 0x1c), 0);
	}
}

static struct kunit_case qi_cases[] = {
	KUNIT_CASE_PARAM(desc_test, desc_gen_params),
	KUNIT_CASE(wait_order_test),
	KUNIT_CASE(queue_wrap_test),
	KUNIT_CASE(queue_error_test),
	KUNIT_CASE(queue_steps_test),
	KUNIT_CASE(queue_mode_test),
	KUNIT_CASE(queue_tail_test),
	KUNIT_CASE(queue_size_test),
	{}
};

static struct kunit_suite qi_suite = {
	.name = "kviommu_vtd_qi",
	.init = vtd_kunit_init,
	.exit = vtd_kunit_exit,
	.test_cases = qi_cases,
};

/* Registers. */

/* Bits that keep the value that the guest writes; registers not listed have none. */
struct reg_case {
	unsigned int offset;
	u32 rw;
};

static const struct reg_case reg_cases[] = {
	{ 0x20, 0xfffffc00 }, { 0x24, 0xffffffff },	/* RTADDR */
	{ 0x28, 0xffffffff }, { 0x2c, 0x60000003 },	/* CCMD, but ICC */
	{ 0x38, 0x80000000 },				/* FECTL */
	{ 0x3c, 0xffffffff },				/* FEDATA */
	{ 0x40, 0xfffffffc }, { 0x44, 0xffffffff },	/* FEADDR */
	{ 0x88, 0x0007fff0 },				/* IQT */
	{ 0x90, 0xfffff007 }, { 0x94, 0xffffffff },	/* IQA */
	{ 0xa0, 0x80000000 },				/* IECTL */
	{ 0xa4, 0xffffffff },				/* IEDATA */
	{ 0xa8, 0xfffffffc }, { 0xac, 0xffffffff },	/* IEADDR */
	{ 0xf0, 0xfffff07f }, { 0xf4, 0xffffffff },	/* IVA */
	{ 0xf8, 0x00000000 }, { 0xfc, 0x3003ffff },	/* IOTLB, but IVT */
};

static u32 reg_writable(unsigned int offset)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(reg_cases); i++)
		if (reg_cases[i].offset == offset)
			return reg_cases[i].rw;
	return 0;
}

static void regs_access_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	unsigned int offset;
	u32 rw, old, new;

	for (offset = 0; offset < SZ_4K; offset += 4) {
		/* GCMD has effects, and reads as 0. */
		if (offset == 0x18)
			continue;
		rw = reg_writable(offset);
		old = rd32(ctx, offset);
		/* Not ICC and IVT, which start an invalidation. */
		new = offset == 0x2c || offset == 0xfc ? 0x7fffffff : 0xffffffff;
		wr32(ctx, offset, new);
		KUNIT_EXPECT_EQ_MSG(test, rd32(ctx, offset), (old & ~rw) | rw,
				    "%#x, ones", offset);
		wr32(ctx, offset, 0);
		KUNIT_EXPECT_EQ_MSG(test, rd32(ctx, offset), old & ~rw,
				    "%#x, zeroes", offset);
	}
}

/* A write of 8 bytes writes both halves; other sizes have no effect. */
static void regs_size_test(struct kunit *test)
{
	static const struct {
		unsigned int offset, len;
	} wrong[] = { { 0x20, 1 }, { 0x20, 2 }, { 0x21, 4 }, { 0x22, 8 },
		      { 0x1e, 4 }, { 0x2fc, 8 }, { 0xffc, 4 } };
	struct ctx *ctx = test->priv;
	const u64 ones = U64_MAX;
	unsigned int i, j;

	wr64(ctx, 0x20, 0x1234567890abcdef);
	KUNIT_EXPECT_EQ(test, rd64(ctx, 0x20), 0x1234567890abcc00);
	wr32(ctx, 0x24, 0x55555555);
	KUNIT_EXPECT_EQ(test, rd64(ctx, 0x20), 0x5555555590abcc00);

	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		u32 *before = kunit_kmalloc(test, SZ_4K, GFP_KERNEL);

		KUNIT_ASSERT_NOT_NULL(test, before);
		memcpy(before, ctx->page, SZ_4K);
		guest_store(ctx, wrong[i].offset, &ones, wrong[i].len);
		for (j = 0; j < SZ_4K / 4; j++)
			KUNIT_EXPECT_EQ_MSG(test, ctx->page[j], before[j],
					    "%u bytes at %#x", wrong[i].len,
					    wrong[i].offset);
	}
}

static u64 field(u64 reg, unsigned int high, unsigned int low)
{
	return (reg >> low) & (U64_MAX >> (63 - (high - low)));
}

static void regs_capabilities_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	u64 cap = rd64(ctx, 0x08), ecap = rd64(ctx, 0x10);

	KUNIT_EXPECT_EQ(test, cap, ctx->cap);
	KUNIT_EXPECT_EQ(test, ecap, ctx->ecap);
	KUNIT_EXPECT_EQ(test, field(cap, 2, 0), 6);	/* ND: 16 bits */
	KUNIT_EXPECT_EQ(test, field(cap, 4, 4), 0);	/* RWBF */
	KUNIT_EXPECT_EQ(test, field(cap, 7, 7), 1);	/* CM */
	KUNIT_EXPECT_EQ(test, field(cap, 12, 8), 6);	/* SAGAW: 39, 48 */
	KUNIT_EXPECT_EQ(test, field(cap, 21, 16), 47);	/* MGAW */
	KUNIT_EXPECT_EQ(test, field(cap, 33, 24) * 16, 0x220);	/* FRO */
	KUNIT_EXPECT_EQ(test, field(cap, 37, 34), 3);	/* SLLPS: 2 MiB, 1 GiB */
	KUNIT_EXPECT_EQ(test, field(cap, 39, 39), 1);	/* PSI */
	KUNIT_EXPECT_EQ(test, field(cap, 47, 40), 7);	/* NFR: 8 */
	KUNIT_EXPECT_EQ(test, field(cap, 53, 48), 18);	/* MAMV */
	KUNIT_EXPECT_EQ(test, field(cap, 55, 54), 3);	/* DWD, DRD */
	KUNIT_EXPECT_EQ(test, field(cap, 63, 56), 0);
	KUNIT_EXPECT_EQ(test, field(ecap, 17, 8) * 16, 0xf0);	/* IRO */
	KUNIT_EXPECT_EQ(test, field(ecap, 7, 0), 0x43);	/* C, QI, PT */
	KUNIT_EXPECT_EQ(test, field(ecap, 63, 18), 0);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0), 0x10);	/* version 1.0 */
}

static void regs_reset_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	unsigned int i;
	u32 *before = kunit_kmalloc(test, SZ_4K, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, before);
	memcpy(before, ctx->page, SZ_4K);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x38), BIT(31));	/* FECTL.IM */
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0xa0), BIT(31));	/* IECTL.IM */

	wr64(ctx, 0x20, ROOT);
	queue_on(ctx, 0);
	wr32(ctx, 0x18, GCMD_QIE | BIT(30));
	wr32(ctx, 0x18, GCMD_QIE | BIT(31));
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x1c), GCMD_QIE | BIT(30) | BIT(31));
	put128(ctx, QUEUE, WAIT | BIT_ULL(4), 0);
	wr32(ctx, 0x88, 2 << 4);
	vtd_record_fault(ctx->vtd, SID, 0, 0, 6);
	ctx->model->ops->reset(ctx->model);
	for (i = 0; i < SZ_4K / 4; i++)
		KUNIT_EXPECT_EQ_MSG(test, ctx->page[i], before[i], "%#x", 4 * i);
	KUNIT_EXPECT_FALSE(test, ctx->model->ops->pending(ctx->model));
}

/* Commands take effect once, whatever else is written along with them. */
static void regs_gcmd_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	/* SRTP latches; RTADDR alone changes nothing. */
	wr64(ctx, 0x20, ROOT);
	KUNIT_EXPECT_EQ(test, ctx->vtd->root, 0);
	wr32(ctx, 0x18, BIT(30));
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x1c), BIT(30));
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x18), 0);
	wr64(ctx, 0x20, CONTEXT);
	KUNIT_EXPECT_EQ(test, ctx->vtd->root, ROOT);

	/* TE is a level, and SRTP's status stays. */
	ctx->nr_calls = 0;
	wr32(ctx, 0x18, BIT(31));
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x1c), BIT(31) | BIT(30));
	KUNIT_EXPECT_EQ(test, count_calls(ctx, REBIND, 0), 1);
	wr32(ctx, 0x18, BIT(31));
	KUNIT_EXPECT_EQ(test, count_calls(ctx, REBIND, 0), 1);
	wr32(ctx, 0x18, 0);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x1c), BIT(30));
	KUNIT_EXPECT_EQ(test, count_calls(ctx, REBIND, 0), 2);

	/* Not offered: SFL, EAFL, WBF, IRE, SIRTP, CFI. */
	wr32(ctx, 0x18, GENMASK(29, 27) | GENMASK(25, 23));
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x1c), BIT(30));
}

/* Register-based invalidation reports what it did; with the queue on it is ignored. */
static void regs_invalidate_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	const struct call *n = ctx->calls;

	wr64(ctx, 0x28, BIT_ULL(63) | 3ULL << 61 | 2ULL << 32 | (u64)SID << 16);
	KUNIT_EXPECT_EQ(test, field(rd64(ctx, 0x28), 63, 59), 3 << 2 | 3);
	KUNIT_EXPECT_EQ(test, n[0].what, REBIND);
	KUNIT_EXPECT_EQ(test, n[0].a, SID);
	KUNIT_EXPECT_EQ(test, n[0].b, 6);

	ctx->nr_calls = 0;
	wr64(ctx, 0xf0, 0x7fff12345000 | AM(3));
	wr64(ctx, 0xf8, BIT_ULL(63) | 3ULL << 60 | 5ULL << 32);
	KUNIT_EXPECT_EQ(test, field(rd64(ctx, 0xf8), 63, 57), 3 << 3 | 3);
	KUNIT_EXPECT_EQ(test, n[0].what, INVALIDATE);
	KUNIT_EXPECT_EQ(test, n[0].a, 5);
	KUNIT_EXPECT_EQ(test, n[0].b, 0x7fff12340000);
	KUNIT_EXPECT_EQ(test, n[0].c, 0x7fff12347fff);
	KUNIT_EXPECT_EQ(test, n[1].what, COMPLETE);

	/* A domain-selective invalidation is done as a global one. */
	wr64(ctx, 0x28, BIT_ULL(63) | 2ULL << 61);
	KUNIT_EXPECT_EQ(test, field(rd64(ctx, 0x28), 63, 59), 2 << 2 | 1);

	/* Unsupported granularities and address masks */
	wr64(ctx, 0x28, BIT_ULL(63));
	KUNIT_EXPECT_EQ(test, field(rd64(ctx, 0x28), 63, 59), 0);
	wr64(ctx, 0xf0, AM(19));
	wr64(ctx, 0xf8, BIT_ULL(63) | 3ULL << 60);
	KUNIT_EXPECT_EQ(test, field(rd64(ctx, 0xf8), 63, 57), 3 << 3);

	queue_on(ctx, 0);
	wr64(ctx, 0x28, BIT_ULL(63) | 1ULL << 61);
	KUNIT_EXPECT_EQ(test, field(rd64(ctx, 0x28), 63, 59), 1 << 2);
	KUNIT_EXPECT_EQ(test, count_calls(ctx, REBIND, 0), 0);
	wr64(ctx, 0xf8, BIT_ULL(63) | 1ULL << 60);
	KUNIT_EXPECT_EQ(test, field(rd64(ctx, 0xf8), 63, 57), 1 << 3);
	KUNIT_EXPECT_EQ(test, count_calls(ctx, INVALIDATE, -1), 0);
}

/* Each capability that a VMM may leave out, left out alone */
static void regs_left_out_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	const struct call *n = ctx->calls;
	struct kviommu_binding b = {};
	struct kviommu_entry e;

	/* Without PSI a page-selective invalidation is reported as a domain-selective one. */
	recreate_vtd(test, ctx, 48, ~BIT_ULL(39), ~0ULL);
	KUNIT_EXPECT_EQ(test, field(ctx->cap, 39, 39), 0);
	KUNIT_EXPECT_EQ(test, field(ctx->cap, 53, 48), 0);	/* MAMV */
	KUNIT_EXPECT_EQ(test, field(ctx->cap, 37, 34), 3);
	ctx->nr_calls = 0;
	/* AM is ignored then. */
	wr64(ctx, 0xf0, 0x7fff12345000 | AM(19));
	wr64(ctx, 0xf8, BIT_ULL(63) | 3ULL << 60 | 5ULL << 32);
	KUNIT_EXPECT_EQ(test, field(rd64(ctx, 0xf8), 63, 57), 3 << 3 | 2);
	KUNIT_EXPECT_EQ(test, n[0].what, INVALIDATE);
	KUNIT_EXPECT_EQ(test, n[0].a, 5);
	KUNIT_EXPECT_EQ(test, n[0].b, 0);
	KUNIT_EXPECT_EQ(test, n[0].c, U64_MAX);

	/* Without pages of 2 MiB or 1 GiB PS is reserved at their level. */
	recreate_vtd(test, ctx, 48, ~BIT_ULL(34), ~0ULL);
	KUNIT_EXPECT_EQ(test, field(ctx->cap, 37, 34), 2);
	vtd_decode(&ctx->vtd->source, R | PS, 2, &e);
	KUNIT_EXPECT_NE(test, e.fault, KVIOMMU_FAULT_NONE);
	vtd_decode(&ctx->vtd->source, R | PS, 3, &e);
	KUNIT_EXPECT_EQ(test, e.fault, KVIOMMU_FAULT_NONE);
	KUNIT_EXPECT_TRUE(test, e.leaf);
	recreate_vtd(test, ctx, 48, ~BIT_ULL(35), ~0ULL);
	KUNIT_EXPECT_EQ(test, field(ctx->cap, 37, 34), 1);
	vtd_decode(&ctx->vtd->source, R | PS, 3, &e);
	KUNIT_EXPECT_NE(test, e.fault, KVIOMMU_FAULT_NONE);
	vtd_decode(&ctx->vtd->source, R | PS, 2, &e);
	KUNIT_EXPECT_EQ(test, e.fault, KVIOMMU_FAULT_NONE);
	/* Entries without PS, and the last level, where PS is ignored, are not affected. */
	vtd_decode(&ctx->vtd->source, R, 3, &e);
	KUNIT_EXPECT_EQ(test, e.fault, KVIOMMU_FAULT_NONE);
	vtd_decode(&ctx->vtd->source, R | PS, 1, &e);
	KUNIT_EXPECT_EQ(test, e.fault, KVIOMMU_FAULT_NONE);

	/* Without PT the translation type for pass-through is reserved. */
	recreate_vtd(test, ctx, 48, ~0ULL, ~BIT_ULL(6));
	KUNIT_EXPECT_EQ(test, field(ctx->ecap, 7, 0), 3);
	ctx->vtd->te = true;
	ctx->vtd->root = ROOT;
	put128(ctx, ROOT + 16 * 0xab, CONTEXT | P, 0);
	put128(ctx, CONTEXT + 16 * 0xcd, 2 << 2 | P, AW(2));
	ctx->model->ops->resolve(ctx->model, &work_whole, SID, 0, &b);
	KUNIT_EXPECT_EQ(test, b.type, KVIOMMU_BIND_BLOCKED);
	KUNIT_EXPECT_EQ(test, b.fault, 0x3);
}

/* ICC, IVT and TES change when the work is done, not before. */
static void regs_steps_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	ctx->again = 1;
	wr64(ctx, 0x28, BIT_ULL(63) | 1ULL << 61);
	ctx->model->ops->run(ctx->model, &work_whole);
	KUNIT_EXPECT_EQ(test, field(rd64(ctx, 0x28), 63, 59), 1 << 4 | 1 << 2);
	ctx->model->ops->run(ctx->model, &work_whole);
	KUNIT_EXPECT_EQ(test, field(rd64(ctx, 0x28), 63, 59), 1 << 2 | 1);

	ctx->again = 1;
	wr64(ctx, 0xf8, BIT_ULL(63) | 2ULL << 60 | 5ULL << 32);
	ctx->model->ops->run(ctx->model, &work_whole);
	KUNIT_EXPECT_EQ(test, field(rd64(ctx, 0xf8), 63, 57), 1 << 6 | 2 << 3);
	ctx->model->ops->run(ctx->model, &work_whole);
	KUNIT_EXPECT_EQ(test, field(rd64(ctx, 0xf8), 63, 57), 2 << 3 | 2);

	ctx->again = 1;
	wr32(ctx, 0x18, BIT(31));
	ctx->model->ops->run(ctx->model, &work_whole);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x1c), 0);
	ctx->model->ops->run(ctx->model, &work_whole);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x1c), BIT(31));
	KUNIT_EXPECT_FALSE(test, ctx->model->ops->pending(ctx->model));
}

/* The operand of a trapped command was stored before, and not trapped. */
static void regs_armed_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	ctx->page[0x20 / 4] = ROOT;
	ctx->model->page_ops->snapshot(ctx->model);
	wr32(ctx, 0x18, BIT(30));
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x1c), 0);
	ctx->model->page_ops->snapshot(ctx->model);
	ctx->model->page_ops->commit(ctx->model);
	ctx->model->ops->run(ctx->model, &work_whole);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x1c), BIT(30));
	KUNIT_EXPECT_EQ(test, ctx->vtd->root, ROOT);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x18), 0);

	/* A reset discards stores from before it, not those after it. */
	ctx->page[0x3c / 4] = 0x1234;
	ctx->model->page_ops->snapshot(ctx->model);
	wr64(ctx, 0xb8, 0x5000);
	ctx->model->ops->reset(ctx->model);
	wr64(ctx, 0x20, 0x6000);
	ctx->model->page_ops->commit(ctx->model);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x3c), 0);
	KUNIT_EXPECT_EQ(test, rd64(ctx, 0xb8), 0);
	KUNIT_EXPECT_EQ(test, rd64(ctx, 0x20), 0x6000);
}

/* As when writes are trapped again, and none is in flight */
static void snapshot_commit(struct ctx *ctx)
{
	ctx->model->page_ops->snapshot(ctx->model);
	ctx->model->page_ops->commit(ctx->model);
}

/* Stores that were not trapped have the effects of writes. */
static void regs_sync_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	ctx->page[0x18 / 4] = BIT(30) | BIT(31);
	ctx->page[0x20 / 4] = ROOT;
	ctx->page[0x08 / 4] = 0;
	ctx->page[0x1c / 4] = 0;
	ctx->page[0x800 / 4] = 1;
	snapshot_commit(ctx);
	ctx->model->ops->run(ctx->model, &work_whole);
	KUNIT_EXPECT_EQ(test, ctx->vtd->root, ROOT);
	KUNIT_EXPECT_TRUE(test, ctx->vtd->te);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x18), 0);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x1c), BIT(31) | BIT(30));
	KUNIT_EXPECT_EQ(test, rd64(ctx, 0x08), ctx->cap);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x800), 0);
}

static struct kunit_case regs_cases[] = {
	KUNIT_CASE(regs_access_test),
	KUNIT_CASE(regs_size_test),
	KUNIT_CASE(regs_capabilities_test),
	KUNIT_CASE(regs_reset_test),
	KUNIT_CASE(regs_gcmd_test),
	KUNIT_CASE(regs_invalidate_test),
	KUNIT_CASE(regs_left_out_test),
	KUNIT_CASE(regs_steps_test),
	KUNIT_CASE(regs_sync_test),
	KUNIT_CASE(regs_armed_test),
	{}
};

static struct kunit_suite regs_suite = {
	.name = "kviommu_vtd_regs",
	.init = vtd_kunit_init,
	.exit = vtd_kunit_exit,
	.test_cases = regs_cases,
};

/* Faults and events. */

static unsigned int frcd_offset(unsigned int n)
{
	return 0x220 + 16 * n;
}

static void fault_record_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	vtd_record_fault(ctx->vtd, SID, 0, 0x7fff12345678, 0x6);
	KUNIT_EXPECT_EQ(test, rd64(ctx, frcd_offset(0)), 0x7fff12345000);
	/* F, read, the reason, the source */
	KUNIT_EXPECT_EQ(test, rd64(ctx, frcd_offset(0) + 8),
			BIT_ULL(63) | BIT_ULL(62) | 0x6ULL << 32 | SID);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x34), FSTS_PPF | FSTS_FRI(0));

	vtd_record_fault(ctx->vtd, 0x0008, 0, 0x1000, 0x5);
	KUNIT_EXPECT_EQ(test, rd64(ctx, frcd_offset(1) + 8),
			BIT_ULL(63) | 0x5ULL << 32 | 0x0008);
	/* FRI is the index of the first record. */
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x34), FSTS_PPF | FSTS_FRI(0));

	/* Only F can be written, and FSTS follows. */
	wr64(ctx, frcd_offset(0), 0);
	KUNIT_EXPECT_EQ(test, rd64(ctx, frcd_offset(0)), 0x7fff12345000);
	wr32(ctx, 0x34, FSTS_PPF);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x34), FSTS_PPF | FSTS_FRI(0));
	wr32(ctx, frcd_offset(0) + 12, BIT(31));
	KUNIT_EXPECT_EQ(test, field(rd64(ctx, frcd_offset(0) + 8), 63, 63), 0);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x34), FSTS_PPF | FSTS_FRI(0));
	wr32(ctx, frcd_offset(1) + 12, BIT(31));
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x34), 0);

	/* FRI is the index of the record that set PPF. */
	vtd_record_fault(ctx->vtd, SID, 0, 0, 0x6);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x34), FSTS_PPF | FSTS_FRI(2));
}

/* Faults of a requester are collapsed, until the guest has cleared its record. */
static void fault_collapse_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	vtd_record_fault(ctx->vtd, SID, 0, 0x1000, 0x6);
	vtd_record_fault(ctx->vtd, SID, 0, 0x2000, 0x5);
	KUNIT_EXPECT_EQ(test, rd64(ctx, frcd_offset(0)), 0x1000);
	KUNIT_EXPECT_EQ(test, rd64(ctx, frcd_offset(1) + 8), 0);
	wr32(ctx, frcd_offset(0) + 12, BIT(31));
	vtd_record_fault(ctx->vtd, SID, 0, 0x3000, 0x6);
	KUNIT_EXPECT_EQ(test, rd64(ctx, frcd_offset(1)), 0x3000);
}

static void fault_overflow_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	unsigned int i;

	for (i = 0; i < 8; i++)
		vtd_record_fault(ctx->vtd, i, 0, 0, 0x6);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x34), FSTS_PPF);
	vtd_record_fault(ctx->vtd, 8, 0, 0, 0x6);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x34), FSTS_PPF | FSTS_PFO);
	KUNIT_EXPECT_EQ(test, field(rd64(ctx, frcd_offset(0) + 8), 15, 0), 0);

	/* Nothing is recorded until the overflow is cleared. */
	wr32(ctx, frcd_offset(0) + 12, BIT(31));
	vtd_record_fault(ctx->vtd, 9, 0, 0, 0x6);
	KUNIT_EXPECT_EQ(test, field(rd64(ctx, frcd_offset(0) + 8), 63, 63), 0);
	wr32(ctx, 0x34, FSTS_PFO);
	vtd_record_fault(ctx->vtd, 10, 0, 0, 0x6);
	KUNIT_EXPECT_EQ(test, field(rd64(ctx, frcd_offset(0) + 8), 15, 0), 10);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x34), FSTS_PPF);
	KUNIT_EXPECT_EQ(test, ctx->unit.stats.faults, 11);
}

/* A masked event stays pending, and its message is sent when the mask is cleared. */
static void fault_event_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	vtd_record_fault(ctx->vtd, SID, 0, 0, 0x6);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x38), BIT(31) | BIT(30));
	KUNIT_EXPECT_EQ(test, count_calls(ctx, SIGNAL, KVIOMMU_EVENT_FAULT), 0);
	wr32(ctx, 0x38, 0);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x38), 0);
	KUNIT_EXPECT_EQ(test, count_calls(ctx, SIGNAL, KVIOMMU_EVENT_FAULT), 1);

	/* No event while an older condition is set */
	vtd_record_fault(ctx->vtd, SID + 1, 0, 0, 0x6);
	KUNIT_EXPECT_EQ(test, count_calls(ctx, SIGNAL, KVIOMMU_EVENT_FAULT), 1);
	wr32(ctx, frcd_offset(0) + 12, BIT(31));
	wr32(ctx, frcd_offset(1) + 12, BIT(31));
	vtd_record_fault(ctx->vtd, SID, 0, 0, 0x6);
	KUNIT_EXPECT_EQ(test, count_calls(ctx, SIGNAL, KVIOMMU_EVENT_FAULT), 2);
	wr32(ctx, frcd_offset(2) + 12, BIT(31));

	/* Clearing the condition of a masked event clears the event, too. */
	wr32(ctx, 0x38, BIT(31));
	vtd_record_fault(ctx->vtd, SID, 0, 0, 0x6);
	wr32(ctx, frcd_offset(3) + 12, BIT(31));
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x38), BIT(31));
	wr32(ctx, 0x38, 0);
	KUNIT_EXPECT_EQ(test, count_calls(ctx, SIGNAL, KVIOMMU_EVENT_FAULT), 2);
}

static void completion_event_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	vtd_inval_complete(ctx->vtd);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x9c), 1);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0xa0), BIT(31) | BIT(30));
	wr32(ctx, 0x9c, 1);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x9c), 0);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0xa0), BIT(31));

	wr32(ctx, 0xa0, 0);
	vtd_inval_complete(ctx->vtd);
	vtd_inval_complete(ctx->vtd);
	KUNIT_EXPECT_EQ(test, count_calls(ctx, SIGNAL, KVIOMMU_EVENT_INVAL_COMPLETION), 1);
	wr32(ctx, 0x9c, 1);
	vtd_inval_complete(ctx->vtd);
	KUNIT_EXPECT_EQ(test, count_calls(ctx, SIGNAL, KVIOMMU_EVENT_INVAL_COMPLETION), 2);
}

/* Each neutral reason of a fault has a fault reason of VT-d. */
static void fault_reasons_test(struct kunit *test)
{
	static const u8 reasons[][2] = {
		{ KVIOMMU_FAULT_ROOT, 0x3 }, { KVIOMMU_FAULT_TABLE, 0x7 },
		{ KVIOMMU_FAULT_ENTRY, 0xc }, { KVIOMMU_FAULT_READ, 0x6 },
		{ KVIOMMU_FAULT_WRITE, 0x5 },
	};
	struct ctx *ctx = test->priv;
	unsigned int i;
	u64 frcd;

	for (i = 0; i < ARRAY_SIZE(reasons); i++) {
		ctx->model->ops->fault(ctx->model, i, 0x1000, reasons[i][0]);
		frcd = rd64(ctx, 0x220 + 16 * i + 8);
		KUNIT_EXPECT_EQ(test, (frcd >> 32) & 0xff, reasons[i][1]);
		KUNIT_EXPECT_EQ(test, frcd & 0xffff, i);
	}
}

static struct kunit_case fault_cases[] = {
	KUNIT_CASE(fault_reasons_test),
	KUNIT_CASE(fault_record_test),
	KUNIT_CASE(fault_collapse_test),
	KUNIT_CASE(fault_overflow_test),
	KUNIT_CASE(fault_event_test),
	KUNIT_CASE(completion_event_test),
	{}
};

static struct kunit_suite fault_suite = {
	.name = "kviommu_vtd_fault",
	.init = vtd_kunit_init,
	.exit = vtd_kunit_exit,
	.test_cases = fault_cases,
};

/* Polled: two writes may be seen as one, or in another order. */

/* A store of the guest that is not trapped */
static void unseen32(struct ctx *ctx, unsigned int offset, u32 val)
{
	ctx->page[offset / sizeof(u32)] = val;
}

static void unseen64(struct ctx *ctx, unsigned int offset, u64 val)
{
	unseen32(ctx, offset, lower_32_bits(val));
	unseen32(ctx, offset + 4, upper_32_bits(val));
}

static void run_all(struct ctx *ctx)
{
	unsigned int i;

	for (i = 0; i < MAX_STEPS && ctx->model->ops->pending(ctx->model); i++)
		ctx->model->ops->run(ctx->model, &work_whole);
}

/* The polling thread checks the page. Return: whether there was something new. */
static bool poll_once(struct ctx *ctx)
{
	if (!ctx->model->page_ops->peek(ctx->model, true))
		return false;
	ctx->model->page_ops->sync(ctx->model, true);
	run_all(ctx);
	return true;
}

/* As when the page is tracked again: take what it holds, then end polling. */
static void end_polling(struct ctx *ctx)
{
	snapshot_commit(ctx);
	ctx->model->page_ops->set_polled(ctx->model, false);
	run_all(ctx);
}

static int polled_init(struct kunit *test)
{
	struct ctx *ctx;
	int ret = vtd_kunit_init(test);

	if (ret)
		return ret;
	ctx = test->priv;
	wr64(ctx, 0x20, ROOT);
	wr32(ctx, 0x18, BIT(30));
	queue_on(ctx, 0);
	wr32(ctx, 0x18, BIT(31) | BIT(26));
	KUNIT_ASSERT_TRUE(test, ctx->model->page_ops->pollable(ctx->model));
	ctx->model->page_ops->set_polled(ctx->model, true);
	KUNIT_ASSERT_FALSE(test, poll_once(ctx));
	ctx->nr_calls = 0;
	return 0;
}

static void polled_tail_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	unsigned int i;

	for (i = 0; i < 3; i++)
		put128(ctx, QUEUE + 16 * i, 2 | 1 << 4, 0);
	unseen32(ctx, 0x88, 16);
	unseen32(ctx, 0x88, 32);
	KUNIT_EXPECT_TRUE(test, poll_once(ctx));
	KUNIT_EXPECT_EQ(test, count_calls(ctx, INVALIDATE, -1), 2);
	KUNIT_EXPECT_FALSE(test, poll_once(ctx));
	unseen32(ctx, 0x88, 48);
	KUNIT_EXPECT_TRUE(test, poll_once(ctx));
	KUNIT_EXPECT_EQ(test, count_calls(ctx, INVALIDATE, -1), 3);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x80), 48);
}

/* KVM stores byte by byte and reports afterwards: half a tail must not be used. */
static void polled_torn_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	const u32 tail = 0x100;
	unsigned int i;

	for (i = 0; i < 16; i++)
		put128(ctx, QUEUE + 16 * i, 2 | 1 << 4, 0);
	unseen32(ctx, 0x88, 0xf0);
	KUNIT_EXPECT_TRUE(test, poll_once(ctx));
	KUNIT_EXPECT_EQ(test, count_calls(ctx, INVALIDATE, -1), 15);
	/* A store that was not trapped, and part of one that is */
	unseen32(ctx, 0x3c, 0x1234);
	unseen32(ctx, 0x88, 0);
	ctx->model->page_ops->snapshot(ctx->model);
	unseen32(ctx, 0x88, tail);
	ctx->model->page_ops->write(ctx->model, 0x88, &tail, sizeof(tail));
	/* KVM reports stores after the snapshot later. */
	unseen32(ctx, 0x88, 0);
	unseen32(ctx, 0x3c, 0);
	ctx->model->page_ops->commit(ctx->model);
	ctx->model->page_ops->set_polled(ctx->model, false);
	run_all(ctx);
	KUNIT_EXPECT_EQ(test, vtd_get32(ctx->vtd, 0x3c), 0x1234);
	KUNIT_EXPECT_EQ(test, count_calls(ctx, INVALIDATE, -1), 16);
	KUNIT_EXPECT_EQ(test, vtd_get32(ctx->vtd, 0x88), tail);
}

/* A sync of the queue alone leaves other registers for later, but takes commands. */
static void polled_short_look_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	unseen32(ctx, 0x3c, 0x1234);
	unseen32(ctx, 0x88, 16);
	ctx->model->page_ops->sync(ctx->model, false);
	KUNIT_EXPECT_TRUE(test, ctx->model->ops->pending(ctx->model));
	KUNIT_EXPECT_EQ(test, vtd_get32(ctx->vtd, 0x3c), 0);
	KUNIT_EXPECT_FALSE(test, ctx->model->page_ops->peek(ctx->model, false));
	KUNIT_EXPECT_TRUE(test, ctx->model->page_ops->peek(ctx->model, true));

	unseen32(ctx, 0x18, BIT(26));
	KUNIT_EXPECT_TRUE(test, ctx->model->page_ops->peek(ctx->model, false));
	ctx->model->page_ops->sync(ctx->model, false);
	KUNIT_EXPECT_FALSE(test, ctx->vtd->te);
	KUNIT_EXPECT_EQ(test, vtd_get32(ctx->vtd, 0x3c), 0x1234);
	KUNIT_EXPECT_FALSE(test, ctx->model->page_ops->peek(ctx->model, true));
}

/* A command that equals the last one is a new command. */
static void polled_command_test(struct kunit *test)
{
	const u32 srtp = BIT(31) | BIT(30) | BIT(26);
	struct ctx *ctx = test->priv;
	u64 root;

	for (root = 0x5000; root < 0x8000; root += 0x1000) {
		unseen64(ctx, 0x20, root);
		unseen32(ctx, 0x18, srtp);
		KUNIT_EXPECT_TRUE(test, ctx->model->page_ops->peek(ctx->model, false));
		KUNIT_EXPECT_TRUE(test, poll_once(ctx));
		KUNIT_EXPECT_EQ(test, ctx->vtd->root, root);
		KUNIT_EXPECT_FALSE(test, poll_once(ctx));
	}
	/* The last command is not run again. */
	end_polling(ctx);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x18), 0);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x1c), srtp);
}

/*
 * GSTS.RTPS reports that SRTP is done, but was set already: so the driver may overwrite
 * SRTP with the next command before it is seen.
 */
static void polled_root_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	unseen64(ctx, 0x20, 0x5000);
	unseen32(ctx, 0x18, BIT(31) | BIT(30) | BIT(26));
	unseen32(ctx, 0x18, BIT(26));
	KUNIT_EXPECT_TRUE(test, poll_once(ctx));
	KUNIT_EXPECT_EQ(test, ctx->vtd->root, 0x5000);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x1c), BIT(30) | BIT(26));
	KUNIT_EXPECT_FALSE(test, ctx->model->page_ops->pollable(ctx->model));
}

/* The queue is turned off, and on again at another address. */
static void polled_queue_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	put128(ctx, CONTEXT, 2 | 1 << 4, 0);
	unseen32(ctx, 0x18, BIT(31));
	KUNIT_EXPECT_TRUE(test, poll_once(ctx));
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x1c), BIT(31) | BIT(30));
	unseen32(ctx, 0x88, 0);
	unseen64(ctx, 0x90, CONTEXT);
	unseen32(ctx, 0x18, BIT(31) | BIT(26));
	KUNIT_EXPECT_TRUE(test, poll_once(ctx));
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x1c), BIT(31) | BIT(30) | BIT(26));
	unseen32(ctx, 0x88, 16);
	KUNIT_EXPECT_TRUE(test, poll_once(ctx));
	KUNIT_EXPECT_EQ(test, count_calls(ctx, INVALIDATE, -1), 1);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x34), 0);
}

/* Tracking begins between two writes: only the second one is trapped. */
static void polled_tracked_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	unseen64(ctx, 0x20, 0x5000);
	wr32(ctx, 0x18, BIT(31) | BIT(30) | BIT(26));
	end_polling(ctx);
	KUNIT_EXPECT_EQ(test, ctx->vtd->root, 0x5000);
	/* SRTP is done, and not done again with the next root. */
	ctx->model->page_ops->set_polled(ctx->model, true);
	unseen64(ctx, 0x20, 0x6000);
	end_polling(ctx);
	KUNIT_EXPECT_EQ(test, ctx->vtd->root, 0x5000);
}

/*
 * Polling begins between a store of the guest and KVM's report of it: the page does not
 * show the store any more.
 */
static void polled_hidden_test(struct kunit *test)
{
	static const u32 commands[] = { BIT(26), 0 };
	struct ctx *ctx = test->priv;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		end_polling(ctx);
		wr32(ctx, 0x18, BIT(31) | BIT(26));
		unseen32(ctx, 0x18, commands[i]);
		ctx->model->page_ops->set_polled(ctx->model, true);
		ctx->model->page_ops->write(ctx->model, 0x18, &commands[i], sizeof(u32));
		/* The command is left in the page for the polling thread. */
		KUNIT_EXPECT_TRUE(test, ctx->model->page_ops->pollable(ctx->model));
		KUNIT_EXPECT_TRUE(test, poll_once(ctx));
		KUNIT_EXPECT_FALSE(test, ctx->model->page_ops->pollable(ctx->model));
		KUNIT_EXPECT_EQ(test, rd32(ctx, 0x1c), commands[i] | BIT(30));
	}
}

/* Register-based invalidation with the queue on is ignored, each time it is asked for. */
static void polled_busy_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		unseen64(ctx, 0x28, BIT_ULL(63) | 1ULL << 61);
		unseen64(ctx, 0xf0, 0x1000);
		unseen64(ctx, 0xf8, BIT_ULL(63) | 1ULL << 60);
		KUNIT_EXPECT_TRUE(test, poll_once(ctx));
		KUNIT_EXPECT_EQ(test, rd64(ctx, 0x28), 1ULL << 61);
		KUNIT_EXPECT_EQ(test, rd64(ctx, 0xf8), 1ULL << 60);
		KUNIT_EXPECT_FALSE(test, poll_once(ctx));
	}
	KUNIT_EXPECT_EQ(test, ctx->nr_calls, 2);
}

/* Only the mask at the time of the event counts, however often it changed before. */
static void polled_mask_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	unseen32(ctx, 0x38, 0);
	unseen32(ctx, 0xa0, 0);
	poll_once(ctx);
	unseen32(ctx, 0x38, BIT(31));
	unseen32(ctx, 0x38, 0);
	unseen32(ctx, 0xa0, BIT(31));
	vtd_record_fault(ctx->vtd, SID, 0, 0x1000, 0x6);
	vtd_inval_complete(ctx->vtd);
	KUNIT_EXPECT_FALSE(test, ctx->model->page_ops->pollable(ctx->model));
	poll_once(ctx);
	/* The status is not shown while polled, so there is no event yet. */
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x34), 0);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x9c), 0);
	KUNIT_EXPECT_EQ(test, count_calls(ctx, SIGNAL, KVIOMMU_EVENT_FAULT), 0);
	end_polling(ctx);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x34), FSTS_PPF | FSTS_FRI(0));
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x9c), 1);
	KUNIT_EXPECT_EQ(test, count_calls(ctx, SIGNAL, KVIOMMU_EVENT_FAULT), 1);
	KUNIT_EXPECT_EQ(test, count_calls(ctx, SIGNAL, KVIOMMU_EVENT_INVAL_COMPLETION), 0);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0xa0), BIT(31) | BIT(30));
	wr32(ctx, 0xa0, 0);
	KUNIT_EXPECT_EQ(test, count_calls(ctx, SIGNAL, KVIOMMU_EVENT_INVAL_COMPLETION), 1);
}

/* A status bit is not cleared by a write from before the guest could see the bit. */
static void polled_clear_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	vtd_queue_error(ctx->vtd);
	vtd_record_fault(ctx->vtd, SID, 0, 0x1000, 0x6);
	unseen32(ctx, 0x34, 0x7f);
	unseen32(ctx, frcd_offset(0) + 12, BIT(31));
	KUNIT_EXPECT_TRUE(test, poll_once(ctx));
	KUNIT_EXPECT_FALSE(test, poll_once(ctx));
	end_polling(ctx);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x34), BIT(4) | FSTS_PPF | FSTS_FRI(0));
	KUNIT_EXPECT_EQ(test, field(rd64(ctx, frcd_offset(0) + 8), 63, 63), 1);
	wr32(ctx, frcd_offset(0) + 12, BIT(31));
	wr32(ctx, 0x34, BIT(4));
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x34), 0);
	KUNIT_EXPECT_TRUE(test, ctx->model->page_ops->pollable(ctx->model));
}

static struct kunit_case polled_cases[] = {
	KUNIT_CASE(polled_tail_test),
	KUNIT_CASE(polled_torn_test),
	KUNIT_CASE(polled_short_look_test),
	KUNIT_CASE(polled_command_test),
	KUNIT_CASE(polled_root_test),
	KUNIT_CASE(polled_queue_test),
	KUNIT_CASE(polled_tracked_test),
	KUNIT_CASE(polled_hidden_test),
	KUNIT_CASE(polled_busy_test),
	KUNIT_CASE(polled_mask_test),
	KUNIT_CASE(polled_clear_test),
	{}
};

static struct kunit_suite polled_suite = {
	.name = "kviommu_vtd_polled",
	.init = polled_init,
	.exit = vtd_kunit_exit,
	.test_cases = polled_cases,
};

/* Scalable mode. */

#define SM_CONTEXT	0x2000
#define SM_DIRECTORY	0x3000
#define SM_TABLE	0x4000
#define SM_FIRST_STAGE	(P | 1ULL << 6)
#define SM_PASS_THROUGH	(P | 4ULL << 6)
#define SM_PASIDE	BIT_ULL(3)

/*
 * Words of 64 bits of the entries on the way; those of context and PASID entry by number.
 * pasid: of the request, if it has one; pasid_bits: that requests may have
 */
struct sm_case {
	const char *name;
	u32 pasid;
	u8 pasid_bits;
	u64 root;
	unsigned int context_word;
	u64 context_bits;
	u64 directory;
	u64 pte[3];
	unsigned int pte_word;
	u64 pte_bits;
	enum kviommu_binding_type type;
	u8 fault;
	u8 levels;
	bool quiet;
};

#define SM_WAY		.root = SM_CONTEXT | P, .directory = SM_TABLE | P
#define SM_PTE		.pte = { SM_FIRST_STAGE, 0xfedc, TABLE }
#define SM_GOOD(_name, ...)						\
	{ .name = (_name), SM_WAY, SM_PTE, .type = KVIOMMU_BIND_NESTED,	\
	  .levels = 4, ##__VA_ARGS__ }
#define SM_PTE_FAULT(_name, _word, _bits, _fault)			\
	{ .name = (_name), SM_WAY, SM_PTE, .pte_word = (_word),		\
	  .pte_bits = (_bits), .fault = (_fault) }
#define SM_CONTEXT_FAULT(_name, _word, _bits)				\
	{ .name = (_name), SM_WAY, SM_PTE, .context_word = (_word),	\
	  .context_bits = (_bits), .fault = 0x42 }

static const struct sm_case sm_cases[] = {
	SM_GOOD("4 levels"),
	SM_GOOD("fault processing disabled in the context entry",
		.context_bits = FPD, .quiet = true),
	SM_GOOD("fault processing disabled in the PASID entry",
		.pte_bits = FPD, .quiet = true),
	SM_GOOD("execute disable enabled", .pte_word = 2, .pte_bits = BIT_ULL(5)),
	SM_GOOD("large directory", .context_bits = GENMASK_ULL(11, 9)),
	SM_GOOD("second-stage fields mean nothing",
		.pte_bits = GENMASK_ULL(63, 12) | GENMASK_ULL(5, 2) | BIT_ULL(9)),
	SM_GOOD("PASID", .pasid = 0x1fff, .pasid_bits = 20, .context_bits = SM_PASIDE),
	SM_GOOD("PASID of a large directory", .pasid = 0x2000, .pasid_bits = 14,
		.context_bits = SM_PASIDE | 1 << 9),
	SM_GOOD("no PASID, where others have some", .pasid_bits = 20,
		.context_bits = SM_PASIDE),
	SM_GOOD("no PASID, where others may have some", .pasid_bits = 20),
	{ "PASID with pass-through", 0x41, 20, SM_WAY, .context_bits = SM_PASIDE,
	  .pte = { SM_PASS_THROUGH, 0xfedc, TABLE }, .type = KVIOMMU_BIND_NESTED },
	{ "PASID beyond the directory", 0x2000, 20, SM_WAY, SM_PTE,
	  .context_bits = SM_PASIDE },
	{ "PASID beyond PSS", 0x100, 8, SM_WAY, SM_PTE, .context_bits = SM_PASIDE },
	{ "PASID that the context entry does not allow", 5, 20, SM_WAY, SM_PTE },
	{ "PASID entry of a PASID: bit 10", 5, 20, SM_WAY, SM_PTE,
	  .context_bits = SM_PASIDE, .pte_bits = BIT_ULL(10), .fault = 0x5a },
	{ "PASID entry of a PASID: nested", 5, 20, SM_WAY, SM_PTE,
	  .context_bits = SM_PASIDE, .pte_bits = 2ULL << 6, .fault = 0x5b },
	{ "PASID entry of a PASID: quiet", 5, 20, SM_WAY, SM_PTE, .quiet = true,
	  .context_bits = SM_PASIDE, .pte_bits = 2ULL << 6 | FPD, .fault = 0x5b },
	{ "context: RID_PASID where there are PASIDs", 0, 20, SM_WAY, SM_PTE,
	  .context_word = 1, .context_bits = BIT_ULL(0), .fault = 0x42 },
	{ "5 levels", SM_WAY, SM_PTE, .pte_word = 2, .pte_bits = BIT_ULL(2),
	  .type = KVIOMMU_BIND_NESTED, .levels = 5 },
	{ "pass-through", SM_WAY, .pte = { SM_PASS_THROUGH },
	  .type = KVIOMMU_BIND_IDENTITY },
	{ "root not present", .root = ~P },
	{ "directory entry not present", .root = SM_CONTEXT | P, .directory = ~P,
	  .quiet = true },
	{ "PASID entry not present", SM_WAY, .pte = { ~P, ~0ULL, ~0ULL },
	  .quiet = true },
	{ "root: bit 1", .root = SM_CONTEXT | P | BIT_ULL(1), .fault = 0x3a },
	{ "root: bit 11", .root = SM_CONTEXT | P | BIT_ULL(11), .fault = 0x3a },
	{ "root: beyond the width", .root = SM_CONTEXT | P | BEYOND_HAW, .fault = 0x3a },
	{ "root: table not in memory", .root = NO_MEMORY | P, .fault = 0x40 },
	SM_CONTEXT_FAULT("context: device-TLB", 0, BIT_ULL(2)),
	SM_CONTEXT_FAULT("context: PASIDs", 0, BIT_ULL(3)),
	SM_CONTEXT_FAULT("context: page requests", 0, BIT_ULL(4)),
	SM_CONTEXT_FAULT("context: bit 8", 0, BIT_ULL(8)),
	SM_CONTEXT_FAULT("context: beyond the width", 0, BEYOND_HAW),
	SM_CONTEXT_FAULT("context: RID_PASID", 1, BIT_ULL(0)),
	SM_CONTEXT_FAULT("context: bit 127", 1, BIT_ULL(63)),
	SM_CONTEXT_FAULT("context: bit 255", 3, BIT_ULL(63)),
	{ "directory: bit 2", .root = SM_CONTEXT | P,
	  .directory = SM_TABLE | P | BIT_ULL(2), .fault = 0x52 },
	{ "directory: beyond the width", .root = SM_CONTEXT | P,
	  .directory = SM_TABLE | P | BEYOND_HAW, .fault = 0x52 },
	{ "directory: table not in memory", .root = SM_CONTEXT | P,
	  .directory = NO_MEMORY | P, .fault = 0x58 },
	SM_PTE_FAULT("PASID entry: bit 10", 0, BIT_ULL(10), 0x5a),
	SM_PTE_FAULT("PASID entry: bit 80", 1, BIT_ULL(16), 0x5a),
	SM_PTE_FAULT("PASID entry: page-walk snoop", 1, BIT_ULL(23), 0x5a),
	SM_PTE_FAULT("PASID entry: page snoop", 1, BIT_ULL(24), 0x5a),
	SM_PTE_FAULT("PASID entry: supervisor requests", 2, BIT_ULL(0), 0x5a),
	SM_PTE_FAULT("PASID entry: write protection", 2, BIT_ULL(4), 0x5a),
	SM_PTE_FAULT("PASID entry: extended accessed flag", 2, BIT_ULL(7), 0x5a),
	SM_PTE_FAULT("PASID entry: bit 139", 2, BIT_ULL(11), 0x5a),
	SM_PTE_FAULT("PASID entry: tables beyond the width", 2, BEYOND_HAW, 0x5a),
	SM_PTE_FAULT("PASID entry: bit 192", 3, BIT_ULL(0), 0x5a),
	SM_PTE_FAULT("PASID entry: bit 511", 7, BIT_ULL(63), 0x5a),
	SM_PTE_FAULT("PASID entry: nested", 0, 2ULL << 6, 0x5b),
	SM_PTE_FAULT("PASID entry: type 5", 0, 4ULL << 6, 0x5b),
	SM_PTE_FAULT("PASID entry: paging mode 2", 2, BIT_ULL(3), 0x5b),
};

KUNIT_ARRAY_PARAM_DESC(sm, sm_cases, name);

static int sm_init(struct kunit *test)
{
	int ret;

	host_nests = true;
	ret = vtd_kunit_init(test);
	host_nests = false;
	return ret;
}

/* A unit with PASIDs in place of the present one */
static void sm_recreate(struct kunit *test, struct ctx *ctx, u8 pasid_bits)
{
	host_nests = true;
	host_pasid_bits = pasid_bits;
	recreate_vtd(test, ctx, 48, ~0ULL, ~0ULL);
	host_nests = false;
	host_pasid_bits = 0;
}

static void put64(struct ctx *ctx, u64 gpa, u64 val)
{
	__le64 entry = cpu_to_le64(val);

	memcpy(ctx->memory + gpa, &entry, sizeof(entry));
}

static u64 get64(struct ctx *ctx, u64 gpa)
{
	__le64 entry;

	memcpy(&entry, ctx->memory + gpa, sizeof(entry));
	return le64_to_cpu(entry);
}

static void sm_resolve_test(struct kunit *test)
{
	const struct sm_case *c = test->param_value;
	/* Device and function 0xcd are in the upper half, which has entries from 0x80 on. */
	u64 context = SM_CONTEXT + 32 * 0x4d;
	struct ctx *ctx = test->priv;
	struct kviommu_binding b = {};
	unsigned int i;

	if (c->pasid_bits)
		sm_recreate(test, ctx, c->pasid_bits);
	put64(ctx, ROOT + 16 * 0xab + 8, c->root);
	for (i = 0; i < 4; i++)
		put64(ctx, context + 8 * i, (i ? 0 : SM_DIRECTORY | P) |
		      (i == c->context_word ? c->context_bits : 0));
	put64(ctx, SM_DIRECTORY + 8 * (c->pasid >> 6), c->directory);
	for (i = 0; i < 8; i++)
		put64(ctx, SM_TABLE + 64 * (c->pasid & 63) + 8 * i,
		      (i < 3 ? c->pte[i] : 0) | (i == c->pte_word ? c->pte_bits : 0));
	ctx->vtd->root = ROOT | BIT_ULL(10);
	ctx->vtd->te = true;
	ctx->model->ops->resolve(ctx->model, &work_whole, SID, c->pasid, &b);

	KUNIT_EXPECT_EQ(test, b.type, c->type);
	KUNIT_EXPECT_EQ(test, b.fault, c->fault);
	KUNIT_EXPECT_EQ(test, b.levels, c->levels);
	KUNIT_EXPECT_EQ(test, b.quiet, c->quiet);
	if (c->type == KVIOMMU_BIND_NESTED) {
		KUNIT_EXPECT_EQ(test, b.did, c->levels ? 0xfedc : 0);
		KUNIT_EXPECT_EQ(test, b.root, c->levels ? TABLE : 0);
	}
	if (c->fault && !c->quiet) {
		/* PP and PV of the fault record */
		KUNIT_EXPECT_EQ(test, rd64(ctx, 0x228) >> 31 & 1, !!c->pasid);
		KUNIT_EXPECT_EQ(test, rd64(ctx, 0x228) >> 40 & 0xfffff, c->pasid);
	}
}

/* All structures of scalable mode, and which bits of each are reserved, from bit 0 on */
static const struct sm_structure {
	const char *name;
	u64 gpa;
	u8 fault;
	unsigned int words;
	u64 reserved[8];
} sm_structures[] = {
	{ "root entry", ROOT + 16 * 0xab + 8, 0x3a, 1,
	  { GENMASK_ULL(63, 48) | GENMASK_ULL(11, 1) } },
	/* DTE, PRE, and all of what RID_PASID and RID_PRIV are in */
	{ "context entry", SM_CONTEXT + 32 * 0x4d, 0x42, 4,
	  { GENMASK_ULL(63, 48) | GENMASK_ULL(8, 4) | BIT_ULL(2), ~0ULL, ~0ULL, ~0ULL } },
	{ "PASID directory entry", SM_DIRECTORY, 0x52, 1,
	  { GENMASK_ULL(63, 48) | GENMASK_ULL(11, 2) } },
	/* PWSNP, PGSNP; SRE, WPE, SMEP and EAFE */
	{ "PASID table entry", SM_TABLE, 0x5a, 8,
	  { GENMASK_ULL(11, 10), GENMASK_ULL(24, 16),
	    GENMASK_ULL(63, 48) | GENMASK_ULL(11, 6) | BIT_ULL(4) | GENMASK_ULL(1, 0),
	    ~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL } },
};

KUNIT_ARRAY_PARAM_DESC(sm_structure, sm_structures, name);

/* Each bit, on a way that is right otherwise; also of a unit with PASIDs */
static void sm_bits_test(struct kunit *test)
{
	const struct sm_structure *s = test->param_value;
	struct ctx *ctx = test->priv;
	struct kviommu_binding b;
	u64 gpa, was, bit;
	unsigned int i;

	sm_recreate(test, ctx, 20);
	put64(ctx, ROOT + 16 * 0xab + 8, SM_CONTEXT | P);
	put64(ctx, SM_CONTEXT + 32 * 0x4d, SM_DIRECTORY | SM_PASIDE | P);
	put64(ctx, SM_DIRECTORY, SM_TABLE | P);
	put64(ctx, SM_TABLE, SM_FIRST_STAGE);
	put64(ctx, SM_TABLE + 16, TABLE);
	ctx->vtd->root = ROOT | BIT_ULL(10);
	ctx->vtd->te = true;
	for (i = 0; i < s->words * 64; i++) {
		gpa = s->gpa + i / 64 * 8;
		bit = BIT_ULL(i % 64);
		was = get64(ctx, gpa);
		put64(ctx, gpa, was ^ bit);
		b = (struct kviommu_binding){};
		ctx->model->ops->resolve(ctx->model, &work_whole, SID, 0, &b);
		if (s->reserved[i / 64] & bit)
			KUNIT_EXPECT_EQ_MSG(test, b.fault, s->fault, "bit %u", i);
		else
			KUNIT_EXPECT_NE_MSG(test, b.fault, s->fault, "bit %u", i);
		put64(ctx, gpa, was);
	}
	b = (struct kviommu_binding){};
	ctx->model->ops->resolve(ctx->model, &work_whole, SID, 0, &b);
	KUNIT_EXPECT_EQ(test, b.type, KVIOMMU_BIND_NESTED);
}

/* Whether requests with PASID might go through something is not known while TE is off. */
static void sm_pasid_off_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	struct kviommu_binding b = {};

	sm_recreate(test, ctx, 20);
	ctx->vtd->boot_identity = true;
	ctx->model->ops->resolve(ctx->model, &work_whole, SID, 5, &b);
	KUNIT_EXPECT_EQ(test, b.type, KVIOMMU_BIND_BLOCKED);
	KUNIT_EXPECT_TRUE(test, b.off);
	ctx->vtd->te = true;
	ctx->vtd->root = ROOT;
	ctx->model->ops->resolve(ctx->model, &work_whole, SID, 5, &b);
	KUNIT_EXPECT_EQ(test, b.type, KVIOMMU_BIND_BLOCKED);
	KUNIT_EXPECT_EQ(test, b.fault, 0);
	KUNIT_EXPECT_FALSE(test, b.off);
}

/* Any PASID width up to that of the host */
static void sm_pasid_width_test(struct kunit *test)
{
	const u64 ecap = BIT_ULL(43) | BIT_ULL(47), pasid = BIT_ULL(40);
	static const struct {
		u64 ecap;
		int ret;
	} cases[] = {
		{ BIT_ULL(40) | 14ULL << 35 }, { BIT_ULL(40) | 15ULL << 35 }, { BIT_ULL(40) },
		{ BIT_ULL(40) | 16ULL << 35, -EOPNOTSUPP }, { 1ULL << 35, -EINVAL },
	};
	struct kviommu_create_vtd args = { .aw_bits = 48 };
	struct ctx *ctx = test->priv;
	struct kviommu_model *model;
	unsigned int i;

	host_nests = true;
	host_pasid_bits = 16;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		args.ecap = ecap | cases[i].ecap;
		model = vtd_create(&ctx->unit, &args);
		KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(model), cases[i].ret);
		if (IS_ERR(model))
			continue;
		KUNIT_EXPECT_EQ(test, ctx->unit.nest.pasid_bits, (cases[i].ecap >> 35 & 31) + 1);
		model->ops->destroy(model);
	}
	/* PASIDs belong to scalable mode. */
	args.ecap = pasid;
	KUNIT_EXPECT_EQ(test, PTR_ERR(vtd_create(&ctx->unit, &args)), -EINVAL);
	host_pasid_bits = 0;
	args.ecap = ecap | pasid;
	KUNIT_EXPECT_EQ(test, PTR_ERR(vtd_create(&ctx->unit, &args)), -EOPNOTSUPP);
	host_nests = false;
}

static void sm_capabilities_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	KUNIT_EXPECT_TRUE(test, ctx->ecap & BIT_ULL(43));
	KUNIT_EXPECT_TRUE(test, ctx->ecap & BIT_ULL(47));
	/* What the host does not have: leaves of 1 GiB, snoop control, a coherent walk */
	KUNIT_EXPECT_FALSE(test, ctx->cap & BIT_ULL(56));
	KUNIT_EXPECT_TRUE(test, ctx->cap & BIT_ULL(60));
	KUNIT_EXPECT_FALSE(test, ctx->ecap & (BIT_ULL(7) | BIT_ULL(48)));
	/* Second-stage translation is not offered, nor PASIDs that the host does not have. */
	KUNIT_EXPECT_FALSE(test, ctx->ecap & (BIT_ULL(40) | BIT_ULL(46)));
	KUNIT_EXPECT_TRUE(test, ctx->unit.nest.wanted);
}

static void sm_queue_on(struct ctx *ctx, bool scalable)
{
	wr64(ctx, 0x20, ROOT | (scalable ? BIT_ULL(10) : 0));
	wr32(ctx, 0x18, BIT(30));
	wr64(ctx, 0x90, QUEUE | BIT_ULL(11));
	wr32(ctx, 0x18, GCMD_QIE);
	ctx->nr_calls = 0;
}

static void put256(struct ctx *ctx, unsigned int i, u64 lo, u64 hi)
{
	put128(ctx, QUEUE + 32 * i, lo, hi);
	put128(ctx, QUEUE + 32 * i + 16, 0, 0);
}

/* Descriptors of 256 bits: head, tail and size of the queue */
static void sm_queue_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	sm_queue_on(ctx, true);
	KUNIT_EXPECT_EQ(test, ctx->vtd->iq_size, SZ_4K);
	put256(ctx, 0, 6 | GRAN(2) | IOTLB_DID(7), 0);
	put256(ctx, 1, 7 | GRAN(3), 0);
	put256(ctx, 2, WAIT | BIT_ULL(5), STATUS);
	wr32(ctx, 0x88, 3 << 5);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x34), 0);
	KUNIT_EXPECT_EQ(test, rd64(ctx, 0x80), 3 << 5);
	KUNIT_EXPECT_EQ(test, count_calls(ctx, INVALIDATE, 7), 1);
	KUNIT_EXPECT_EQ(test, count_calls(ctx, REBIND, 0), 1);
	KUNIT_EXPECT_EQ(test, count_calls(ctx, STORE, STATUS), 1);
	/* Into the middle of a descriptor, behind one that is valid */
	put256(ctx, 3, 7 | GRAN(3), 0);
	wr32(ctx, 0x88, 4 << 5 | BIT(4));
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x34), FSTS_IQE);
}

struct sm_desc_case {
	const char *name;
	u64 lo, hi, upper;
	bool legacy;
	struct call call;
	bool bad;
	u8 pasid_bits;
};

static const struct sm_desc_case sm_desc_cases[] = {
	{ "PASID-selective", 6 | GRAN(2) | IOTLB_DID(9),
	  .call = { INVALIDATE, 9, 0, U64_MAX } },
	{ "page", 6 | GRAN(3) | IOTLB_DID(9), 0x123456789000,
	  .call = { INVALIDATE, 9, 0x123456789000, 0x123456789fff } },
	{ "8 pages, leaves only", 6 | GRAN(3) | IOTLB_DID(9), 0x123456789043,
	  .call = { INVALIDATE, 9, 0x123456788000, 0x12345678ffff } },
	{ "all pages", 6 | GRAN(3) | IOTLB_DID(9), 52,
	  .call = { INVALIDATE, 9, 0, U64_MAX } },
	{ "of another PASID", 6 | GRAN(2) | IOTLB_DID(9) | 1ULL << 32 },
	{ "of a PASID", 6 | GRAN(2) | IOTLB_DID(9) | 0xfffffULL << 32, .pasid_bits = 20,
	  .call = { INVALIDATE_PASID, 0xfffffULL << 32 | 9, 0, U64_MAX } },
	{ "page of a PASID", 6 | GRAN(3) | IOTLB_DID(9) | 1ULL << 32, 0x123456789000,
	  .pasid_bits = 1,
	  .call = { INVALIDATE_PASID, 1ULL << 32 | 9, 0x123456789000, 0x123456789fff } },
	{ "of a PASID beyond PSS", 6 | GRAN(2) | IOTLB_DID(9) | 2ULL << 32, .pasid_bits = 1 },
	{ "PIOTLB: granularity 0", 6, .bad = true },
	{ "PIOTLB: granularity 1", 6 | GRAN(1), .bad = true },
	{ "PIOTLB: bit 6", 6 | GRAN(2) | BIT_ULL(6), .bad = true },
	{ "PIOTLB: bit 52", 6 | GRAN(2) | BIT_ULL(52), .bad = true },
	{ "PIOTLB: bit 71", 6 | GRAN(3), BIT_ULL(7), .bad = true },
	{ "PIOTLB: upper half", 6 | GRAN(2), .upper = 1, .bad = true },
	{ "PIOTLB in legacy mode", 6 | GRAN(2), .legacy = true, .bad = true },
	{ "PASID cache of a domain", 7 | GRAN(0), .call = { REBIND, 0, U16_MAX } },
	{ "PASID cache of PASID 0", 7 | GRAN(1), .call = { REBIND_PASID, 0 } },
	{ "PASID cache of a PASID", 7 | GRAN(1) | 0xfffffULL << 32, .pasid_bits = 20,
	  .call = { REBIND_PASID, 0xfffff } },
	{ "PASID cache of a PASID beyond PSS", 7 | GRAN(1) | 2ULL << 32, .pasid_bits = 1 },
	{ "PASID cache of another PASID", 7 | GRAN(1) | 1ULL << 32 },
	{ "PASID cache, global", 7 | GRAN(3), .call = { REBIND, 0, U16_MAX } },
	{ "PASID cache: granularity 2", 7 | GRAN(2), .bad = true },
	{ "PASID cache: bit 64", 7 | GRAN(3), 1, .bad = true },
	{ "PASID cache in legacy mode", 7 | GRAN(3), .legacy = true, .bad = true },
	{ "context cache", 1 | GRAN(1), .call = { REBIND, 0, U16_MAX } },
	{ "IOTLB of a domain", IOTLB | GRAN(2) | IOTLB_DID(9), .legacy = true,
	  .call = { INVALIDATE, 9, 0, U64_MAX } },
	{ "type 8", 8, .bad = true },
};

KUNIT_ARRAY_PARAM_DESC(sm_desc, sm_desc_cases, name);

static void sm_desc_test(struct kunit *test)
{
	const struct sm_desc_case *c = test->param_value;
	struct ctx *ctx = test->priv;
	const struct call *call = &ctx->calls[0];

	if (c->pasid_bits)
		sm_recreate(test, ctx, c->pasid_bits);
	sm_queue_on(ctx, !c->legacy);
	put256(ctx, 0, c->lo, c->hi);
	put64(ctx, QUEUE + 24, c->upper);
	wr32(ctx, 0x88, 1 << 5);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x34), c->bad ? FSTS_IQE : 0);
	KUNIT_EXPECT_EQ(test, rd64(ctx, 0x80), c->bad ? 0 : 1 << 5);
	if (c->call.what) {
		KUNIT_EXPECT_EQ(test, call->what, c->call.what);
		KUNIT_EXPECT_EQ(test, call->a, c->call.a);
		KUNIT_EXPECT_EQ(test, call->b, c->call.b);
		KUNIT_EXPECT_EQ(test, call->c, c->call.c);
	} else {
		KUNIT_EXPECT_NE(test, call->what, INVALIDATE);
		KUNIT_EXPECT_NE(test, call->what, INVALIDATE_PASID);
		KUNIT_EXPECT_NE(test, call->what, REBIND);
		KUNIT_EXPECT_NE(test, call->what, REBIND_PASID);
	}
}

/* Which bits of each descriptor are reserved, apart from those of the type, from bit 0 on */
static const struct sm_desc {
	const char *name;
	u64 lo;
	u64 reserved[4];
} sm_descs[] = {
	{ "context cache", 1 | GRAN(1), { GENMASK_ULL(63, 50) | GENMASK_ULL(15, 6),
					  ~0ULL, ~0ULL, ~0ULL } },
	{ "IOTLB", IOTLB | GRAN(2), { GENMASK_ULL(63, 32) | GENMASK_ULL(15, 8),
				      GENMASK_ULL(11, 7), ~0ULL, ~0ULL } },
	{ "wait", WAIT, { GENMASK_ULL(31, 7), GENMASK_ULL(1, 0), ~0ULL, ~0ULL } },
	{ "PASID-based IOTLB", 6 | GRAN(3), { GENMASK_ULL(63, 52) | GENMASK_ULL(15, 6),
					      GENMASK_ULL(11, 7), ~0ULL, ~0ULL } },
	{ "PASID cache", 7 | GRAN(1), { GENMASK_ULL(63, 52) | GENMASK_ULL(15, 6),
					~0ULL, ~0ULL, ~0ULL } },
};

KUNIT_ARRAY_PARAM_DESC(sm_descs, sm_descs, name);

/* Each bit of a descriptor of 256 bits that is right otherwise */
static void sm_desc_bits_test(struct kunit *test)
{
	const u64 type = GENMASK_ULL(11, 9) | GENMASK_ULL(5, 0);
	const struct sm_desc *d = test->param_value;
	struct ctx *ctx = test->priv;
	unsigned int i, word;
	u64 bit;

	for (i = 0; i < 256; i++) {
		word = i / 64;
		bit = BIT_ULL(i % 64);
		if (!word && type & bit)
			continue;
		sm_queue_on(ctx, true);
		put256(ctx, 0, d->lo ^ (word ? 0 : bit), word == 1 ? bit : 0);
		if (word > 1)
			put64(ctx, QUEUE + 8 * word, bit);
		wr32(ctx, 0x88, 1 << 5);
		KUNIT_EXPECT_EQ_MSG(test, rd32(ctx, 0x34),
				    d->reserved[word] & bit ? FSTS_IQE : 0, "bit %u", i);
		wr32(ctx, 0x88, 0);
		wr32(ctx, 0x18, 0);
		wr32(ctx, 0x34, FSTS_IQE);
	}
}

/* In scalable mode descriptors have 256 bits. */
static void sm_width_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	wr64(ctx, 0x20, ROOT | BIT_ULL(10));
	wr32(ctx, 0x18, BIT(30));
	wr64(ctx, 0x90, QUEUE);
	wr32(ctx, 0x18, GCMD_QIE);
	put128(ctx, QUEUE, IOTLB | GRAN(1), 0);
	wr32(ctx, 0x88, 1 << 4);
	KUNIT_EXPECT_EQ(test, rd32(ctx, 0x34), FSTS_IQE);
}

static struct kunit_case sm_test_cases[] = {
	KUNIT_CASE(sm_capabilities_test),
	KUNIT_CASE_PARAM(sm_resolve_test, sm_gen_params),
	KUNIT_CASE_PARAM(sm_bits_test, sm_structure_gen_params),
	KUNIT_CASE(sm_pasid_off_test),
	KUNIT_CASE(sm_pasid_width_test),
	KUNIT_CASE(sm_queue_test),
	KUNIT_CASE_PARAM(sm_desc_test, sm_desc_gen_params),
	KUNIT_CASE_PARAM(sm_desc_bits_test, sm_descs_gen_params),
	KUNIT_CASE(sm_width_test),
	{}
};

static struct kunit_suite sm_suite = {
	.name = "kviommu_vtd_scalable",
	.init = sm_init,
	.exit = vtd_kunit_exit,
	.test_cases = sm_test_cases,
};

kunit_test_suites(&tables_suite, &qi_suite, &regs_suite, &fault_suite,
		  &polled_suite, &sm_suite);

MODULE_DESCRIPTION("KUnit tests of kviommu's VT-d model");
MODULE_LICENSE("GPL");
