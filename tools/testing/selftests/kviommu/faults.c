// SPDX-License-Identifier: GPL-2.0
/*
 * What the guest does wrong and gets to know: fault records and FSTS, handled
 * as Linux does it. (A request to an entry that is not present is seen by the
 * physical IOMMU only, and told to the host.)
 */
#include <sys/eventfd.h>

#include "kselftest_harness.h"
#include "require.h"
#include "variants.h"

#define RUN(fn, ...) guest_run(&self->u.vm, fn, ##__VA_ARGS__)
#define DID 1

/* Fault reasons of the specification's list for legacy mode */
#define FR_CONTEXT_INVALID	0x03
#define FR_WRITE		0x05UL
#define FR_READ			0x06
#define FR_PAGING_TABLE_ACCESS	0x07
#define FR_ROOT_ACCESS		0x08
#define FR_CONTEXT_ACCESS	0x09
#define FR_ROOT_RESERVED	0x0a
#define FR_CONTEXT_RESERVED	0x0b
#define FR_PAGING_RESERVED	0x0c
/* Of the list for all modes: no such translation table mode */
#define FR_ROOT_MODE		0x30

struct record {
	__u64 lo, hi;
};

#define RECORD_F(r)		((r).hi >> 63)
#define RECORD_REASON(r)	((r).hi >> 32 & 0xff)
#define RECORD_SID(r)		((r).hi & 0xffff)
#define RECORD_ADDR(r)		((r).lo)

/* A register, when the unit keeps nothing back */
#define SHOWN(reg)		({ unit_show(&self->u); RUN(g_peek32, reg); })
#define FSTS()			SHOWN(VTD_FSTS)
#define FSTS_FRI(fsts)		((fsts) >> 8 & 0xff)

FIXTURE(faults) {
	struct unit u;
	int event;
	__u64 fro;
	unsigned int nfr;
};

FIXTURE_VARIANT(faults) {
	struct unit_config config;
};

UNIT_VARIANTS(faults);

FIXTURE_SETUP(faults)
{
	unit_open(&self->u, &variant->config);
	self->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ASSERT_EQ(0, unit_set_eventfd(self->u.fd, KVIOMMU_EVENT_FAULT, self->event));
	self->fro = VTD_CAP_FRO(self->u.cap);
	self->nfr = VTD_CAP_NFR(self->u.cap);
	unit_add_device(&self->u, 0, SID(0));
	RUN(g_setup, 0);
	RUN(g_domain, 0, DID, 4);
	RUN(g_attach, SID(0), 0);
	RUN(g_enable, true);
	RUN(g_poke32, VTD_FECTL, 0);
}

FIXTURE_TEARDOWN(faults)
{
	unit_close(&self->u);
	close(self->event);
}

static __u64 signals(FIXTURE_DATA(faults) * self)
{
	__u64 n;

	unit_show(&self->u);
	return read(self->event, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static struct record record_at(FIXTURE_DATA(faults) * self, unsigned int i)
{
	struct record r;

	unit_show(&self->u);
	r.lo = RUN(g_peek64, self->fro + 16 * i);
	r.hi = RUN(g_peek64, self->fro + 16 * i + 8);
	return r;
}

/* One fault of device 0 is recorded, nothing else is wrong; take note of it. */
static void expect_fault(struct __test_metadata *_metadata,
			 FIXTURE_DATA(faults) * self, __u64 reason, __u64 addr,
			 const char *what, unsigned int which)
{
	__u32 fsts = FSTS();
	struct record r = record_at(self, FSTS_FRI(fsts));

	EXPECT_EQ(VTD_FSTS_PPF, fsts & 0xff)
		TH_LOG("%s %u", what, which);
	/* F, read, reason, requester, and all else 0 */
	EXPECT_EQ(3UL << 62 | reason << 32 | SID(0), r.hi)
		TH_LOG("%s %u", what, which);
	EXPECT_EQ(addr, RECORD_ADDR(r))
		TH_LOG("%s %u", what, which);
	RUN(g_poke32, self->fro + 16 * FSTS_FRI(fsts) + 12, BIT(31));
	EXPECT_EQ(0, FSTS())
		TH_LOG("%s %u", what, which);
}

static void expect_none(struct __test_metadata *_metadata,
			FIXTURE_DATA(faults) * self, const char *what,
			unsigned int which)
{
	EXPECT_EQ(0, FSTS())
		TH_LOG("%s %u", what, which);
}

/* A large page at an address that is none for it */
static void cause(FIXTURE_DATA(faults) * self, __u64 iova)
{
	unit_poll(&self->u);
	RUN(g_map, 0, iova, HUGE(0) + 0x3000, 1, MAP_RW | MAP_LEAF(LEAF_2M));
}

static void clear(FIXTURE_DATA(faults) * self, unsigned int i)
{
	/* As a guest does that has seen it */
	unit_show(&self->u);
	RUN(g_poke32, self->fro + 16 * i + 12, BIT(31));
}

TEST_F(faults, paging_entry)
{
	__u64 iova = 0x40000000;
	struct record r;
	__u32 fsts;

	EXPECT_EQ(0, signals(self));
	cause(self, iova);
	EXPECT_EQ(1, signals(self));
	fsts = FSTS();
	EXPECT_EQ(VTD_FSTS_PPF, fsts & 0xff);
	r = record_at(self, FSTS_FRI(fsts));
	EXPECT_EQ(1, RECORD_F(r));
	EXPECT_EQ(FR_PAGING_RESERVED, RECORD_REASON(r));
	EXPECT_EQ(SID(0), RECORD_SID(r));
	EXPECT_EQ(iova, RECORD_ADDR(r));
	EXPECT_LT(0, unit_stats(&self->u).faults);
	/* PPF is the summary of the records, nothing to be written. */
	RUN(g_poke32, VTD_FSTS, VTD_FSTS_PPF);
	EXPECT_EQ(fsts, FSTS());
	/* F is cleared by writing 1, the rest of a record not at all. */
	RUN(g_poke32, self->fro + 16 * FSTS_FRI(fsts) + 12, 0);
	EXPECT_EQ(1, RECORD_F(record_at(self, FSTS_FRI(fsts))));
	clear(self, FSTS_FRI(fsts));
	EXPECT_EQ(0, RECORD_F(record_at(self, FSTS_FRI(fsts))));
	EXPECT_EQ(0, FSTS() & 0xff);
}

/* One fault for one mistake, however often the guest invalidates. */
TEST_F(faults, once_for_each_entry)
{
	cause(self, 0x40000000);
	EXPECT_EQ(1, signals(self));
	clear(self, 0);
	RUN(g_flush_pages, 0, 0x40000000, 9);
	RUN(g_flush_domain, 0);
	RUN(g_flush_global);
	EXPECT_EQ(0, FSTS() & 0xff);
	EXPECT_EQ(0, signals(self));
	EXPECT_EQ(1, unit_stats(&self->u).faults);
	/* Mended and made again it is another one. */
	RUN(g_unmap, 0, 0x40000000, 1, MAP_LEAF(LEAF_2M));
	cause(self, 0x40000000);
	EXPECT_EQ(1, signals(self));
	EXPECT_EQ(2, unit_stats(&self->u).faults);
}

TEST_F(faults, table_nowhere)
{
	struct record r;
	__u64 *pde;
	__u32 fsts;

	RUN(g_map, 0, 0x40000000, PAGE(0), 1, MAP_RW);
	pde = vm_hva(&self->u.vm, RUN(g_entry_gpa, 0, 0x40000000, LEAF_2M));
	*pde = 0x80000000 | MAP_RW;
	RUN(g_flush_pages, 0, 0x40000000, 9);
	fsts = FSTS();
	EXPECT_EQ(VTD_FSTS_PPF, fsts & 0xff);
	r = record_at(self, FSTS_FRI(fsts));
	EXPECT_EQ(FR_PAGING_TABLE_ACCESS, RECORD_REASON(r));
	EXPECT_EQ(SID(0), RECORD_SID(r));
	EXPECT_EQ(0x40000000, RECORD_ADDR(r));
}

/* The records go round; FRI tells where the oldest is. */
TEST_F(faults, in_turn)
{
	unsigned int i;
	__u32 fsts;

	for (i = 0; i < 3 * self->nfr; i++) {
		cause(self, 0x40000000 + i * SZ_2M);
		EXPECT_EQ(1, signals(self));
		fsts = FSTS();
		EXPECT_EQ(i % self->nfr, FSTS_FRI(fsts));
		EXPECT_EQ(0x40000000 + i * SZ_2M,
			  RECORD_ADDR(record_at(self, FSTS_FRI(fsts))));
		clear(self, FSTS_FRI(fsts));
		EXPECT_EQ(0, FSTS() & 0xff);
	}
}

/* Faults of one requester are one record, until the guest cleared it. */
TEST_F(faults, collapsed)
{
	cause(self, 0x40000000);
	cause(self, 0x40000000 + SZ_2M);
	cause(self, 0x40000000 + 2 * SZ_2M);
	EXPECT_EQ(3, unit_stats(&self->u).faults);
	EXPECT_EQ(1, signals(self));
	EXPECT_EQ(0, RECORD_F(record_at(self, 1)));
	expect_fault(_metadata, self, FR_PAGING_RESERVED, 0x40000000, "first", 0);
	cause(self, 0x40000000 + 3 * SZ_2M);
	EXPECT_EQ(1, signals(self));
	EXPECT_EQ(1, FSTS_FRI(FSTS()));
	expect_fault(_metadata, self, FR_PAGING_RESERVED, 0x40000000 + 3 * SZ_2M,
		     "fourth", 1);
}

/* The device comes as another requester, whose context entry is wrong. */
static void cause_as(struct __test_metadata *_metadata,
		     FIXTURE_DATA(faults) * self, unsigned int n)
{
	RUN(g_context_quiet, SID(n), BIT(5) | VTD_CE_P, VTD_CE_HI_AW(4));
	ASSERT_EQ(0, unit_detach(self->u.fd, self->u.sid[0]));
	self->u.sid[0] = SID(n);
	ASSERT_EQ(0, unit_attach(self->u.fd, self->u.dev[0].fd, SID(n)));
}

TEST_F(faults, overflow)
{
	unsigned int i;
	__u32 fsts;

	for (i = 0; i < self->nfr; i++)
		cause_as(_metadata, self, 1 + i);
	EXPECT_EQ(VTD_FSTS_PPF, FSTS());
	/* One interrupt for all that the guest has not looked at yet */
	EXPECT_EQ(1, signals(self));
	/* Of a requester that has a record: no overflow */
	cause_as(_metadata, self, 1);
	EXPECT_EQ(VTD_FSTS_PPF, FSTS());
	cause_as(_metadata, self, 20);
	cause_as(_metadata, self, 21);
	EXPECT_EQ(VTD_FSTS_PPF | VTD_FSTS_PFO, FSTS());
	EXPECT_EQ(0, signals(self));
	for (i = 0; i < self->nfr; i++)
		EXPECT_EQ(SID(1 + i), RECORD_SID(record_at(self, i)));
	/* As Linux: each record from FRI on, then PFO. */
	fsts = FSTS();
	for (i = FSTS_FRI(fsts); RECORD_F(record_at(self, i)); i = (i + 1) % self->nfr)
		clear(self, i);
	EXPECT_EQ(VTD_FSTS_PFO, FSTS() & 0xff);
	/* As long as that stands, nothing is recorded. */
	cause_as(_metadata, self, 22);
	for (i = 0; i < self->nfr; i++)
		EXPECT_EQ(0, RECORD_F(record_at(self, i)));
	EXPECT_EQ(0, signals(self));
	RUN(g_poke32, VTD_FSTS, VTD_FSTS_PFO | VTD_FSTS_PPF);
	EXPECT_EQ(0, FSTS() & 0xff);
	/* The next one is recorded again, where recording stopped. */
	cause_as(_metadata, self, 23);
	EXPECT_EQ(1, signals(self));
	EXPECT_EQ(VTD_FSTS_PPF, FSTS());
	EXPECT_EQ(SID(23), RECORD_SID(record_at(self, 0)));
}

/* FRI tells where PPF came from, and stays as long as that does. */
TEST_F(faults, first_index)
{
	unsigned int i;

	for (i = 0; i < 3; i++)
		cause_as(_metadata, self, 1 + i);
	EXPECT_EQ(VTD_FSTS_PPF, FSTS());
	clear(self, 0);
	EXPECT_EQ(VTD_FSTS_PPF, FSTS());
	clear(self, 2);
	EXPECT_EQ(VTD_FSTS_PPF, FSTS());
	clear(self, 1);
	EXPECT_EQ(0, FSTS());
	cause_as(_metadata, self, 4);
	EXPECT_EQ(VTD_FSTS_PPF | 3 << 8, FSTS());
	EXPECT_EQ(SID(4), RECORD_SID(record_at(self, 3)));
}

/* With translation off the place of the next record is the first. */
TEST_F(faults, index_restarts)
{
	cause(self, 0x40000000);
	clear(self, 0);
	cause(self, 0x80000000);
	EXPECT_EQ(1, FSTS_FRI(FSTS()));
	clear(self, 1);
	RUN(g_unmap, 0, 0x40000000, 1, MAP_LEAF(LEAF_2M));
	RUN(g_unmap, 0, 0x80000000, 1, MAP_LEAF(LEAF_2M));
	RUN(g_enable, false);
	RUN(g_enable, true);
	cause(self, 0xc0000000);
	EXPECT_EQ(VTD_FSTS_PPF, FSTS());
	EXPECT_EQ(0xc0000000, RECORD_ADDR(record_at(self, 0)));
}

/* One event for all conditions; it is pending until none is left. */
TEST_F(faults, event)
{
	const __u32 masked = VTD_ECTL_IM | VTD_ECTL_IP;
	__u64 *ring = vm_hva(&self->u.vm, GPA_QUEUE), at;

	RUN(g_poke32, VTD_FECTL, VTD_ECTL_IM);
	cause(self, 0x40000000);
	EXPECT_EQ(masked, SHOWN(VTD_FECTL));
	at = self->u.vm.g->tail;
	RUN(g_queue, 0xf, 0);
	RUN(g_poke32, VTD_IQT, self->u.vm.g->tail * 16);
	EXPECT_EQ(VTD_FSTS_PPF | VTD_FSTS_IQE, FSTS());
	clear(self, 0);
	EXPECT_EQ(VTD_FSTS_IQE, FSTS());
	EXPECT_EQ(masked, SHOWN(VTD_FECTL));
	ring[at * 2] = VTD_QI_WAIT;
	RUN(g_poke32, VTD_FSTS, VTD_FSTS_IQE);
	EXPECT_EQ(0, FSTS());
	EXPECT_EQ(VTD_ECTL_IM, SHOWN(VTD_FECTL));
	RUN(g_poke32, VTD_FECTL, 0);
	EXPECT_EQ(0, signals(self));
	/* A second condition on top of one that stands is none of its own. */
	cause(self, 0x80000000);
	EXPECT_EQ(1, signals(self));
	at = self->u.vm.g->tail;
	RUN(g_queue, 0xf, 0);
	RUN(g_poke32, VTD_IQT, self->u.vm.g->tail * 16);
	EXPECT_EQ(0, signals(self));
	ring[at * 2] = VTD_QI_WAIT;
	RUN(g_poke32, VTD_FSTS, VTD_FSTS_IQE);
	EXPECT_EQ(0, signals(self));
	EXPECT_EQ(VTD_FSTS_PPF, FSTS() & 0xff);
}

TEST_F(faults, context_entries)
{
	struct guest *g = self->u.vm.g;
	const __u64 good_lo = g->dom[0].root | VTD_CE_P;
	const __u64 good_hi = VTD_CE_HI_AW(4) | VTD_CE_HI_DID(DID);
	const struct {
		__u64 lo, hi, reason;
	} bad[] = {
		{ good_lo | BIT(5), good_hi, FR_CONTEXT_RESERVED },
		{ good_lo, good_hi | BIT(30), FR_CONTEXT_RESERVED },
		{ good_lo, 3 | VTD_CE_HI_DID(DID), FR_CONTEXT_INVALID },
		{ good_lo | 3 << 2, good_hi, FR_CONTEXT_INVALID },
	};
	unsigned int i;
	struct record r;
	__u32 fsts;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		RUN(g_context_quiet, SID(0), bad[i].lo, bad[i].hi);
		RUN(g_flush_context, SID(0), 0);
		fsts = FSTS();
		EXPECT_EQ(VTD_FSTS_PPF, fsts & 0xff);
		r = record_at(self, FSTS_FRI(fsts));
		EXPECT_EQ(bad[i].reason, RECORD_REASON(r))
			TH_LOG("entry %u", i);
		EXPECT_EQ(SID(0), RECORD_SID(r));
		clear(self, FSTS_FRI(fsts));
		RUN(g_detach, SID(0), DID);
		EXPECT_EQ(0, FSTS() & 0xff);
	}
	/* FPD: the guest does not want to know. */
	RUN(g_context_quiet, SID(0), good_lo | BIT(1), 3 | VTD_CE_HI_DID(DID));
	RUN(g_flush_context, SID(0), 0);
	EXPECT_EQ(0, FSTS());
	RUN(g_context_quiet, SID(0), good_lo | BIT(1), good_hi);
	RUN(g_flush_context, SID(0), 0);
	cause(self, 0x40000000);
	EXPECT_EQ(0, FSTS() & 0xff);
}

TEST_F(faults, root_entry)
{
	__u64 *re = vm_hva(&self->u.vm, self->u.vm.g->root);
	struct record r;
	__u32 fsts;

	re[1] = BIT(5);
	RUN(g_flush_context_global);
	fsts = FSTS();
	EXPECT_EQ(VTD_FSTS_PPF, fsts & 0xff);
	r = record_at(self, FSTS_FRI(fsts));
	EXPECT_EQ(FR_ROOT_RESERVED, RECORD_REASON(r));
	EXPECT_EQ(SID(0), RECORD_SID(r));
}

static void put_context(FIXTURE_DATA(faults) * self, __u64 lo, __u64 hi)
{
	RUN(g_context_quiet, SID(0), lo, hi);
	RUN(g_flush_context, SID(0), 0);
}

/* Each bit of a root entry: reserved but for P and the pointer */
TEST_F_TIMEOUT(faults, root_bits, 60)
{
	__u64 *re = vm_hva(&self->u.vm, self->u.vm.g->root), good = *re;
	unsigned int bit;

	for (bit = 1; bit < 128; bit++) {
		if (bit >= 12 && bit < 48)
			continue;
		re[0] = good;
		re[bit / 64] ^= BIT(bit % 64);
		RUN(g_flush_context_global);
		expect_fault(_metadata, self, FR_ROOT_RESERVED, 0, "bit", bit);
		re[0] = 0;
		re[1] = 0;
		RUN(g_flush_context_global);
		/* Of an entry that is not present no bit matters. */
		re[bit / 64] = BIT(bit % 64);
		RUN(g_flush_context_global);
		expect_none(_metadata, self, "bit", bit);
		re[1] = 0;
	}
}

/* Each bit of a context entry; with FPD the guest does not want to know. */
TEST_F_TIMEOUT(faults, context_bits, 60)
{
	const __u64 lo = self->u.vm.g->dom[0].root | VTD_CE_P;
	const __u64 hi = VTD_CE_HI_AW(4) | VTD_CE_HI_DID(DID);
	const __u64 rsvd_lo = 0xffff000000000ff0, rsvd_hi = 0xffffffffff000080;
	unsigned int bit;

	for (bit = 4; bit < 64; bit++) {
		if (!(rsvd_lo >> bit & 1))
			continue;
		put_context(self, lo | BIT(bit), hi);
		expect_fault(_metadata, self, FR_CONTEXT_RESERVED, 0, "bit", bit);
		put_context(self, 0, 0);
		put_context(self, lo | BIT(bit) | BIT(1), hi);
		expect_none(_metadata, self, "FPD, bit", bit);
		put_context(self, (lo ^ VTD_CE_P) | BIT(bit), hi);
		expect_none(_metadata, self, "not present, bit", bit);
	}
	/* 3 to 6 are for software, 8 to 23 the domain-id. */
	for (bit = 3; bit < 64; bit++) {
		put_context(self, lo, hi ^ BIT(bit));
		if (rsvd_hi >> bit & 1)
			expect_fault(_metadata, self, FR_CONTEXT_RESERVED, 0,
				     "upper bit", bit);
		else
			expect_none(_metadata, self, "upper bit", bit);
		put_context(self, 0, 0);
		put_context(self, lo | BIT(1), hi ^ BIT(bit));
		expect_none(_metadata, self, "FPD, upper bit", bit);
	}
	/* Pass-through has no tables, so no reserved bits in their address. */
	put_context(self, BIT(50) | VTD_CE_P | VTD_CE_T_PT, hi);
	expect_none(_metadata, self, "pass-through", 0);
	EXPECT_EQ(1, unit_stats(&self->u).identity_devices);
}

/* Each width with each type; 39 and 48 bits, tables and pass-through exist. */
TEST_F(faults, context_programming)
{
	const __u64 lo = self->u.vm.g->dom[0].root | VTD_CE_P;
	unsigned int aw, tt;

	for (tt = 0; tt < 4; tt++) {
		for (aw = 0; aw < 8; aw++) {
			put_context(self, lo | tt << 2, aw | VTD_CE_HI_DID(DID));
			if (aw >= 1 && aw <= 2 && !(tt & 1))
				expect_none(_metadata, self, "width", aw);
			else
				expect_fault(_metadata, self, FR_CONTEXT_INVALID, 0,
					     "width, type", 10 * aw + tt);
			put_context(self, 0, 0);
			put_context(self, lo | tt << 2 | BIT(1), aw | VTD_CE_HI_DID(DID));
			expect_none(_metadata, self, "FPD, width", aw);
			put_context(self, 0, 0);
		}
	}
}

/* Tables that are not in memory. Only where an entry can say FPD it counts. */
TEST_F(faults, table_access)
{
	static const __u64 nowhere[] = { 0x80000000, GPA_RAM_END, GPA_REGS, BIT(47) };
	__u64 root = self->u.vm.g->root, *re = vm_hva(&self->u.vm, root), good = *re;
	const __u64 hi = VTD_CE_HI_AW(4) | VTD_CE_HI_DID(DID);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(nowhere); i++) {
		RUN(g_poke64, VTD_RTADDR, nowhere[i]);
		RUN(g_command, VTD_GCMD_SRTP, true);
		RUN(g_flush_context_global);
		expect_fault(_metadata, self, FR_ROOT_ACCESS, 0, "root", i);
		*re = nowhere[i] | VTD_RE_P;
		RUN(g_set_root, root);
		expect_fault(_metadata, self, FR_CONTEXT_ACCESS, 0, "context", i);
		*re = good;
		put_context(self, nowhere[i] | VTD_CE_P, hi);
		expect_fault(_metadata, self, FR_CONTEXT_INVALID, 0, "paging", i);
		put_context(self, 0, 0);
		put_context(self, nowhere[i] | VTD_CE_P | BIT(1), hi);
		expect_none(_metadata, self, "FPD", i);
		put_context(self, 0, 0);
	}
}

/* Scalable mode, a reserved one, and abort-DMA are not in the capabilities. */
TEST_F(faults, translation_table_mode)
{
	__u64 mode, root = self->u.vm.g->root;

	for (mode = 1; mode < 4; mode++) {
		RUN(g_enable, false);
		RUN(g_poke64, VTD_RTADDR, root | mode << 10);
		RUN(g_command, VTD_GCMD_SRTP, true);
		RUN(g_enable, true);
		expect_fault(_metadata, self, FR_ROOT_MODE, 0, "mode", mode);
	}
	RUN(g_enable, false);
	RUN(g_set_root, root);
	RUN(g_enable, true);
	expect_none(_metadata, self, "mode", 0);
}

/* Each bit of a paging entry that is no address, at each level */
TEST_F_TIMEOUT(faults, paging_bits, 60)
{
	const __u64 iova = 1UL << 39 | 1UL << 30 | 1UL << 21 | 1UL << 12;
	const __u64 rsvd = 0x400f000000000800, addr = 0x0000fffffffff000;
	__u64 level, base, *entry, good;
	unsigned int bit;

	RUN(g_map, 0, iova, PAGE(0), 1, MAP_RW);
	for (level = 1; level <= 4; level++) {
		base = iova & ~(LEAF_SIZE(level) - 1);
		entry = vm_hva(&self->u.vm, RUN(g_entry_gpa, 0, iova, level));
		good = *entry;
		for (bit = 2; bit < 64; bit++) {
			/* PS is for superpages, see below. */
			if (addr >> bit & 1 || (bit == 7 && (level == 2 || level == 3)))
				continue;
			*entry = good | BIT(bit);
			RUN(g_flush_pages, 0, iova, 0);
			if (rsvd >> bit & 1 || (bit == 7 && level == 4)) {
				expect_fault(_metadata, self, FR_PAGING_RESERVED, base,
					     "level, bit", 100 * level + bit);
				EXPECT_EQ(0, unit_stats(&self->u).mapped);
			} else {
				expect_none(_metadata, self, "level, bit",
					    100 * level + bit);
				EXPECT_EQ(1, unit_stats(&self->u).mapped);
			}
			/* Not present: no bit matters. */
			*entry = BIT(bit);
			RUN(g_flush_pages, 0, iova, 0);
			expect_none(_metadata, self, "not present, bit", bit);
			*entry = good;
			RUN(g_flush_pages, 0, iova, 0);
			EXPECT_EQ(1, unit_stats(&self->u).mapped);
		}
	}
}

/* Superpages of 2 MiB and 1 GiB have an address of their size. */
TEST_F_TIMEOUT(faults, superpage_bits, 60)
{
	const __u64 iova = 1UL << 39 | 1UL << 30 | 1UL << 21;
	__u64 level, base, *entry;
	unsigned int bit;

	for (level = 2; level <= 3; level++) {
		base = iova & ~(LEAF_SIZE(level) - 1);
		entry = vm_hva(&self->u.vm, RUN(g_entry_gpa, 0, base, level));
		for (bit = 11; bit < 64; bit++) {
			if ((bit >= LEAF_SHIFT(level) && bit < 48) ||
			    (bit >= 52 && bit != 62))
				continue;
			*entry = BIT(bit) | VTD_SL_PS | MAP_RW;
			RUN(g_flush_pages, 0, base, 0);
			expect_fault(_metadata, self, FR_PAGING_RESERVED, base,
				     "level, bit", 100 * level + bit);
			*entry = 0;
			RUN(g_flush_pages, 0, base, 0);
		}
	}
	EXPECT_EQ(0, unit_stats(&self->u).maps);
}

/* A page that cannot be had for want of resources: by the right that fails */
TEST_F(faults, no_resources)
{
	struct kviommu_policy policy = unit_policy(&self->u);
	struct record r;

	/* The tables are there, and no pin is to spare. */
	RUN(g_map, 0, 0x40000000, PAGE(0), 1, MAP_RW);
	policy.max_idle_pins = 0;
	ASSERT_EQ(0, unit_set_policy(&self->u, &policy));
	policy.max_pins = unit_stats(&self->u).pinned;
	ASSERT_EQ(0, unit_set_policy(&self->u, &policy));
	RUN(g_map, 0, 0x40001000, PAGE(1), 1, MAP_R);
	expect_fault(_metadata, self, FR_READ, 0x40001000, "read", 0);
	RUN(g_map, 0, 0x40002000, PAGE(2), 1, MAP_RW);
	r = record_at(self, FSTS_FRI(FSTS()));
	/* The type is a write. */
	EXPECT_EQ(BIT(63) | FR_WRITE << 32 | SID(0), r.hi);
	EXPECT_EQ(0x40002000, RECORD_ADDR(r));
}

/* What is not present is no fault before a device asks for it. */
TEST_F(faults, none_for_absent)
{
	RUN(g_map, 0, 0x10000, PAGE(0), 1, MAP_RW);
	RUN(g_unmap, 0, 0x10000, 1, 0);
	RUN(g_flush_global);
	RUN(g_detach, SID(0), DID);
	RUN(g_flush_context_global);
	RUN(g_enable, false);
	RUN(g_enable, true);
	EXPECT_EQ(0, FSTS());
	EXPECT_EQ(0, signals(self));
	EXPECT_EQ(0, unit_stats(&self->u).faults);
}

TEST_HARNESS_MAIN
