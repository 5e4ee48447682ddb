// SPDX-License-Identifier: GPL-2.0
/*
 * What the guest does wrong and gets to know: fault records and FSTS, handled
 * as Linux does it. (A request to an entry that is not present is seen by the
 * physical IOMMU only, and told to the host.)
 */
#include <sys/eventfd.h>

#include "kselftest_harness.h"
#include "require.h"
#include "unit.h"

#define RUN(fn, ...) guest_run(&self->u.vm, fn, ##__VA_ARGS__)
#define DID 1

/* Fault reasons of the specification's list for legacy mode */
#define FR_CONTEXT_INVALID	0x03
#define FR_PAGING_TABLE_ACCESS	0x07
#define FR_ROOT_RESERVED	0x0a
#define FR_CONTEXT_RESERVED	0x0b
#define FR_PAGING_RESERVED	0x0c

struct record {
	__u64 lo, hi;
};

#define RECORD_F(r)		((r).hi >> 63)
#define RECORD_REASON(r)	((r).hi >> 32 & 0xff)
#define RECORD_SID(r)		((r).hi & 0xffff)
#define RECORD_ADDR(r)		((r).lo)

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

FIXTURE_VARIANT_ADD(faults, trap) {
	.config = { .mode = UNIT_MODE_TRAP },
};

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

static __u64 signals(int fd)
{
	__u64 n;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static struct record record_at(FIXTURE_DATA(faults) * self, unsigned int i)
{
	struct record r = {
		.lo = RUN(g_peek64, self->fro + 16 * i),
		.hi = RUN(g_peek64, self->fro + 16 * i + 8),
	};

	return r;
}

/* A large page at an address that is none for it */
static void cause(FIXTURE_DATA(faults) * self, __u64 iova)
{
	RUN(g_map, 0, iova, HUGE(0) + 0x3000, 1, MAP_RW | MAP_LEAF(LEAF_2M));
}

static void clear(FIXTURE_DATA(faults) * self, unsigned int i)
{
	RUN(g_poke32, self->fro + 16 * i + 12, BIT(31));
}

TEST_F(faults, paging_entry)
{
	__u64 iova = 0x40000000;
	struct record r;
	__u32 fsts;

	EXPECT_EQ(0, signals(self->event));
	cause(self, iova);
	EXPECT_EQ(1, signals(self->event));
	fsts = RUN(g_peek32, VTD_FSTS);
	EXPECT_EQ(VTD_FSTS_PPF, fsts & 0xff);
	r = record_at(self, FSTS_FRI(fsts));
	EXPECT_EQ(1, RECORD_F(r));
	EXPECT_EQ(FR_PAGING_RESERVED, RECORD_REASON(r));
	EXPECT_EQ(SID(0), RECORD_SID(r));
	EXPECT_EQ(iova, RECORD_ADDR(r));
	EXPECT_LT(0, unit_stats(&self->u).out_faults);
	/* PPF is the summary of the records, nothing to be written. */
	RUN(g_poke32, VTD_FSTS, VTD_FSTS_PPF);
	EXPECT_EQ(fsts, RUN(g_peek32, VTD_FSTS));
	/* F is cleared by writing 1, the rest of a record not at all. */
	RUN(g_poke32, self->fro + 16 * FSTS_FRI(fsts) + 12, 0);
	EXPECT_EQ(1, RECORD_F(record_at(self, FSTS_FRI(fsts))));
	clear(self, FSTS_FRI(fsts));
	EXPECT_EQ(0, RECORD_F(record_at(self, FSTS_FRI(fsts))));
	EXPECT_EQ(0, RUN(g_peek32, VTD_FSTS) & 0xff);
}

/* One fault for one mistake, however often the guest invalidates. */
TEST_F(faults, once_for_each_entry)
{
	cause(self, 0x40000000);
	EXPECT_EQ(1, signals(self->event));
	clear(self, 0);
	RUN(g_flush_pages, 0, 0x40000000, 9);
	RUN(g_flush_domain, 0);
	RUN(g_flush_global);
	EXPECT_EQ(0, RUN(g_peek32, VTD_FSTS) & 0xff);
	EXPECT_EQ(0, signals(self->event));
	EXPECT_EQ(1, unit_stats(&self->u).out_faults);
	/* Mended and made again it is another one. */
	RUN(g_unmap, 0, 0x40000000, 1, MAP_LEAF(LEAF_2M));
	cause(self, 0x40000000);
	EXPECT_EQ(1, signals(self->event));
	EXPECT_EQ(2, unit_stats(&self->u).out_faults);
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
	fsts = RUN(g_peek32, VTD_FSTS);
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
		EXPECT_EQ(1, signals(self->event));
		fsts = RUN(g_peek32, VTD_FSTS);
		EXPECT_EQ(i % self->nfr, FSTS_FRI(fsts));
		EXPECT_EQ(0x40000000 + i * SZ_2M,
			  RECORD_ADDR(record_at(self, FSTS_FRI(fsts))));
		clear(self, FSTS_FRI(fsts));
		EXPECT_EQ(0, RUN(g_peek32, VTD_FSTS) & 0xff);
	}
}

TEST_F(faults, overflow)
{
	unsigned int i;
	__u32 fsts;

	for (i = 0; i < self->nfr; i++)
		cause(self, 0x40000000 + i * SZ_2M);
	EXPECT_EQ(VTD_FSTS_PPF, RUN(g_peek32, VTD_FSTS));
	/* One interrupt for all that the guest has not looked at yet */
	EXPECT_EQ(1, signals(self->event));
	cause(self, 0x80000000);
	cause(self, 0x80000000 + SZ_2M);
	EXPECT_EQ(VTD_FSTS_PPF | VTD_FSTS_PFO, RUN(g_peek32, VTD_FSTS));
	for (i = 0; i < self->nfr; i++)
		EXPECT_EQ(0x40000000 + i * SZ_2M, RECORD_ADDR(record_at(self, i)));
	/* As Linux: each record from FRI on, then PFO. */
	fsts = RUN(g_peek32, VTD_FSTS);
	for (i = FSTS_FRI(fsts); RECORD_F(record_at(self, i)); i = (i + 1) % self->nfr)
		clear(self, i);
	EXPECT_EQ(VTD_FSTS_PFO, RUN(g_peek32, VTD_FSTS) & 0xff);
	RUN(g_poke32, VTD_FSTS, VTD_FSTS_PFO | VTD_FSTS_PPF);
	EXPECT_EQ(0, RUN(g_peek32, VTD_FSTS) & 0xff);
	/* The next one is recorded again. */
	signals(self->event);
	cause(self, 0xc0000000);
	EXPECT_EQ(1, signals(self->event));
	EXPECT_EQ(0xc0000000,
		  RECORD_ADDR(record_at(self, FSTS_FRI(RUN(g_peek32, VTD_FSTS)))));
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
		fsts = RUN(g_peek32, VTD_FSTS);
		EXPECT_EQ(VTD_FSTS_PPF, fsts & 0xff);
		r = record_at(self, FSTS_FRI(fsts));
		EXPECT_EQ(bad[i].reason, RECORD_REASON(r))
			TH_LOG("entry %u", i);
		EXPECT_EQ(SID(0), RECORD_SID(r));
		clear(self, FSTS_FRI(fsts));
		RUN(g_detach, SID(0), DID);
		EXPECT_EQ(0, RUN(g_peek32, VTD_FSTS) & 0xff);
	}
	/* FPD: the guest does not want to know. */
	RUN(g_context_quiet, SID(0), good_lo | BIT(1), 3 | VTD_CE_HI_DID(DID));
	RUN(g_flush_context, SID(0), 0);
	EXPECT_EQ(0, RUN(g_peek32, VTD_FSTS));
	RUN(g_context_quiet, SID(0), good_lo | BIT(1), good_hi);
	RUN(g_flush_context, SID(0), 0);
	cause(self, 0x40000000);
	EXPECT_EQ(0, RUN(g_peek32, VTD_FSTS) & 0xff);
}

TEST_F(faults, root_entry)
{
	__u64 *re = vm_hva(&self->u.vm, self->u.vm.g->root);
	struct record r;
	__u32 fsts;

	re[1] = BIT(5);
	RUN(g_flush_context_global);
	fsts = RUN(g_peek32, VTD_FSTS);
	EXPECT_EQ(VTD_FSTS_PPF, fsts & 0xff);
	r = record_at(self, FSTS_FRI(fsts));
	EXPECT_EQ(FR_ROOT_RESERVED, RECORD_REASON(r));
	EXPECT_EQ(SID(0), RECORD_SID(r));
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
	EXPECT_EQ(0, RUN(g_peek32, VTD_FSTS));
	EXPECT_EQ(0, signals(self->event));
	EXPECT_EQ(0, unit_stats(&self->u).out_faults);
}

TEST_HARNESS_MAIN
