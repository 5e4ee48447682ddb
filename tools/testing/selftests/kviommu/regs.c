// SPDX-License-Identifier: GPL-2.0
/* The registers as a guest sees them. */
#include <stdlib.h>

#include "kselftest_harness.h"
#include "require.h"
#include "variants.h"

#define RUN(fn, ...) guest_run(&self->u.vm, fn, ##__VA_ARGS__)

FIXTURE(regs) {
	struct unit u;
	__u8 fresh[4096];
};

FIXTURE_VARIANT(regs) {
	struct unit_config config;
};

UNIT_VARIANT(regs, trap_57bit, TRAP, STRICT, .config.aw_bits = 57);

UNIT_VARIANTS(regs, .config.aw_bits = 48);

UNIT_VARIANT(regs, trap_44bit, TRAP, STRICT, .config.aw_bits = 44);

UNIT_VARIANT(regs, trap_39bit, TRAP, STRICT, .config.aw_bits = 39);

FIXTURE_SETUP(regs)
{
	unit_open(&self->u, &variant->config);
	memcpy(self->fresh, self->u.regs, PAGE_SIZE);
}

FIXTURE_TEARDOWN(regs)
{
	unit_close(&self->u);
}

static bool overlap(__u64 a, __u64 a_size, __u64 b, __u64 b_size)
{
	return a < b + b_size && b < a + a_size;
}

/* What a Linux guest needs to find, see its drivers/iommu/intel. */
TEST_F(regs, capabilities)
{
	__u64 cap = RUN(g_peek64, VTD_CAP), ecap = RUN(g_peek64, VTD_ECAP);
	unsigned int bits = variant->config.aw_bits;
	__u64 fro = VTD_CAP_FRO(cap), iro = VTD_ECAP_IRO(ecap);
	__u64 nfr = VTD_CAP_NFR(cap);

	EXPECT_EQ(self->u.cap, cap);
	EXPECT_EQ(self->u.ecap, ecap);
	/* A major version, and none of the upper bits */
	EXPECT_LT(0, RUN(g_peek32, VTD_VER) >> 4);
	EXPECT_EQ(0, RUN(g_peek32, VTD_VER) >> 8);

	EXPECT_TRUE(cap & VTD_CAP_CM);
	/* 16 bits of domain-id */
	EXPECT_EQ(6, VTD_CAP_ND(cap));
	EXPECT_EQ(bits > 48 ? 0xe : bits > 39 ? 0x6 : 0x2, VTD_CAP_SAGAW(cap));
	EXPECT_EQ(bits - 1, VTD_CAP_MGAW(cap));
	/* 2 MiB and 1 GiB */
	EXPECT_EQ(3, VTD_CAP_SLLPS(cap));
	EXPECT_TRUE(cap & VTD_CAP_PSI);
	EXPECT_EQ(18, VTD_CAP_MAMV(cap));
	EXPECT_FALSE(cap & (VTD_CAP_RWBF | VTD_CAP_AFL | VTD_CAP_PLMR |
			    VTD_CAP_PHMR));

	EXPECT_TRUE(ecap & VTD_ECAP_C);
	EXPECT_TRUE(ecap & VTD_ECAP_QI);
	EXPECT_TRUE(ecap & VTD_ECAP_PT);
	/* Not there: interrupt remapping, device-TLBs, scalable mode */
	EXPECT_FALSE(ecap & (VTD_ECAP_IR | VTD_ECAP_EIM | VTD_ECAP_DT |
			     VTD_ECAP_SMTS));

	/* Fault records and IOTLB registers: in the page, apart */
	EXPECT_LE(VTD_IEUADDR + 4, fro);
	EXPECT_LE(VTD_IEUADDR + 4, iro);
	EXPECT_LE(fro + nfr * 16, PAGE_SIZE);
	EXPECT_LE(iro + 16, PAGE_SIZE);
	EXPECT_FALSE(overlap(fro, nfr * 16, iro, 16));
}

/**
 * struct access - How each 32 bits of the page take what a guest writes
 * @fixed: Bits that read as 1, whatever is written
 * @rw: Bits that take the value written
 * @command: Bits that start something. The rest reads as 0 and ignores writes.
 */
struct access {
	__u32 fixed[PAGE_SIZE / 4];
	__u32 rw[PAGE_SIZE / 4];
	__u32 command[PAGE_SIZE / 4];
};

static void set64(__u32 *bits, __u64 offset, __u64 v)
{
	bits[offset / 4] = v;
	bits[offset / 4 + 1] = v >> 32;
}

/*
 * The specification's access types for these capabilities, as long as
 * translation and the queue are off and no fault is recorded. All write-1-to-
 * clear bits are 0 then; registers of what the capabilities deny are reserved.
 */
static void fill_access(const struct unit *u, struct access *a)
{
	__u64 iva = VTD_ECAP_IRO(u->ecap) + VTD_IVA;
	__u64 iotlb = VTD_ECAP_IRO(u->ecap) + VTD_IOTLB;

	memset(a, 0, sizeof(*a));
	a->fixed[VTD_VER / 4] = 0x10;
	set64(a->fixed, VTD_CAP, u->cap);
	set64(a->fixed, VTD_ECAP, u->ecap);
	a->command[VTD_GCMD / 4] = VTD_GCMD_TE | VTD_GCMD_SRTP | VTD_GCMD_QIE;
	set64(a->rw, VTD_RTADDR, 0xfffffffffffffc00);
	set64(a->rw, VTD_CCMD, 0x60000003ffffffff);
	set64(a->command, VTD_CCMD, VTD_CCMD_ICC);
	a->rw[VTD_FECTL / 4] = VTD_ECTL_IM;
	a->rw[VTD_FEDATA / 4] = ~0U;
	a->rw[VTD_FEADDR / 4] = ~3U;
	a->rw[VTD_FEUADDR / 4] = ~0U;
	set64(a->rw, VTD_IQT, 0x7fff0);
	set64(a->rw, VTD_IQA, 0xfffffffffffff007);
	a->rw[VTD_IECTL / 4] = VTD_ECTL_IM;
	a->rw[VTD_IEDATA / 4] = ~0U;
	a->rw[VTD_IEADDR / 4] = ~3U;
	a->rw[VTD_IEUADDR / 4] = ~0U;
	set64(a->rw, iva, 0xfffffffffffff07f);
	set64(a->rw, iotlb, 0x3003ffff00000000);
	set64(a->command, iotlb, VTD_IOTLB_IVT);
}

/* All registers at once, after CREATE and after RESET: events are masked. */
TEST_F(regs, initial_values)
{
	__u32 want[PAGE_SIZE / 4];
	struct access a;

	fill_access(&self->u, &a);
	memcpy(want, a.fixed, sizeof(want));
	want[VTD_FECTL / 4] = VTD_ECTL_IM;
	want[VTD_IECTL / 4] = VTD_ECTL_IM;
	EXPECT_EQ(0, memcmp(want, self->fresh, PAGE_SIZE));
	ASSERT_EQ(0, unit_reset(self->u.fd));
	EXPECT_EQ(0, memcmp(want, self->u.regs, PAGE_SIZE));
}

/* Write @v to each 32 bits of the page, but for commands. */
static __u64 write_all32(struct guest *g, __u64 access, __u64 v)
{
	const struct access *a = (void *)access;
	__u64 off, i;

	for (off = 0; off < PAGE_SIZE; off += 4) {
		i = off / 4;
		g_write32(g, off, v & ~a->command[i]);
		G_ASSERT_GOT(g, g_read32(g, off) == (a->fixed[i] | (v & a->rw[i])),
			     off);
	}
	return 0;
}

/* The same by 64 bits: also those that are of two registers, or of two halves. */
static __u64 write_all64(struct guest *g, __u64 access, __u64 v, __u64 first)
{
	const struct access *a = (void *)access;
	__u64 off, i, lo, hi;

	for (off = first; off + 8 <= PAGE_SIZE; off += 8) {
		i = off / 4;
		lo = v & ~a->command[i];
		hi = v & ~a->command[i + 1];
		g_write64(g, off, hi << 32 | lo);
		lo = a->fixed[i] | (v & a->rw[i]);
		hi = a->fixed[i + 1] | (v & a->rw[i + 1]);
		G_ASSERT_GOT(g, g_read64(g, off) == (hi << 32 | lo), off);
	}
	return 0;
}

static void expect_written(struct __test_metadata *_metadata,
			   FIXTURE_DATA(regs) * self, const struct access *a,
			   __u32 v)
{
	__u32 *regs = self->u.regs, i;

	for (i = 0; i < PAGE_SIZE / 4; i++)
		EXPECT_EQ(a->fixed[i] | (v & a->rw[i]), regs[i])
			TH_LOG("register %#x, %#x written", i * 4, v);
}

/* Every bit of the page: read-only, reserved or writable, by 0 and by 1 */
TEST_F_TIMEOUT(regs, access_types, 120)
{
	static const __u32 values[] = {
		~0U, 0, 0xaaaaaaaa, 0x55555555, ~0U,
	};
	struct access *a = vm_hva(&self->u.vm, PAGE(0));
	unsigned int i;

	fill_access(&self->u, a);
	for (i = 0; i < ARRAY_SIZE(values); i++) {
		RUN(write_all32, PAGE(0), values[i]);
		/* None of the writes changed another register. */
		expect_written(_metadata, self, a, values[i]);
		RUN(write_all64, PAGE(0), (__u32)~values[i], 0);
		expect_written(_metadata, self, a, ~values[i]);
		RUN(write_all64, PAGE(0), values[i], 4);
	}
	EXPECT_EQ(0, RUN(g_peek32, VTD_GSTS));
	ASSERT_EQ(0, unit_reset(self->u.fd));
	EXPECT_EQ(0, memcmp(self->fresh, self->u.regs, PAGE_SIZE));
	RUN(g_setup, 0);
}

TEST_F(regs, read_only)
{
	static const __u64 regs[] = {
		VTD_VER, VTD_CAP, VTD_CAP + 4, VTD_ECAP, VTD_ECAP + 4, VTD_GSTS,
		VTD_IQH, VTD_IQH + 4,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(regs); i++) {
		__u32 was = RUN(g_peek32, regs[i]);

		RUN(g_poke32, regs[i], ~0U);
		EXPECT_EQ(was, RUN(g_peek32, regs[i]))
			TH_LOG("register %#llx", regs[i]);
		RUN(g_poke32, regs[i], 0);
		EXPECT_EQ(was, RUN(g_peek32, regs[i]))
			TH_LOG("register %#llx", regs[i]);
	}
	RUN(g_poke64, VTD_CAP, ~0UL);
	RUN(g_poke64, VTD_ECAP, ~0UL);
	RUN(g_poke64, VTD_IQH, ~0UL);
	EXPECT_EQ(self->u.cap, RUN(g_peek64, VTD_CAP));
	EXPECT_EQ(self->u.ecap, RUN(g_peek64, VTD_ECAP));
	EXPECT_EQ(0, RUN(g_peek64, VTD_IQH));
}

/* The complement of what is there, so that any bit that is taken shows */
static void poke_odd(struct guest *g, __u64 off, __u64 len)
{
	__u64 p = g->regs + off;

	switch (len) {
	case 1:
		asm volatile("notb (%0)" : : "r" (p) : "memory");
		break;
	case 2:
		asm volatile("notw (%0)" : : "r" (p) : "memory");
		break;
	case 4:
		asm volatile("notl (%0)" : : "r" (p) : "memory");
		break;
	case 8:
		asm volatile("notq (%0)" : : "r" (p) : "memory");
		break;
	case 16:
		asm volatile("pcmpeqd %%xmm0, %%xmm0\n\tmovups %%xmm0, (%0)"
			     : : "r" (p) : "xmm0", "memory");
	}
}

/* At each offset where it is not an access of the specification */
static __u64 odd_everywhere(struct guest *g, __u64 len)
{
	__u64 off;

	for (off = 0; off + len <= PAGE_SIZE; off++)
		if ((len != 4 && len != 8) || off % 4)
			poke_odd(g, off, len);
	return 0;
}

/*
 * The specification has accesses of aligned 32 and 64 bits; all others do
 * nothing here.
 */
TEST_F_TIMEOUT(regs, odd_accesses, 120)
{
	static const __u64 len[] = { 1, 2, 4, 8, 16 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(len); i++) {
		RUN(odd_everywhere, len[i]);
		EXPECT_EQ(0, memcmp(self->fresh, self->u.regs, PAGE_SIZE))
			TH_LOG("%llu bytes", len[i]);
	}
	RUN(g_setup, 0);
}

/* Across the end of the page, into a page of RAM that follows */
TEST_F(regs, access_across_end)
{
	void *ram = self->u.vm.ram + PAGE(0);

	ASSERT_EQ(0, vm_set_slot(&self->u.vm, VM_SLOT_SPARE,
				 GPA_REGS + PAGE_SIZE, ram, PAGE_SIZE, 0));
	RUN(g_poke64, PAGE_SIZE - 4, 0x1122334455667788);
	EXPECT_EQ(0x11223344, *(__u32 *)ram);
	RUN(g_poke64, PAGE_SIZE - 3, 0);
	RUN(g_setup, 0);
}

TEST_F(regs, commands)
{
	__u32 gsts;
	__u64 root;

	/* g_command() itself sees to it that the bit follows. */
	root = RUN(g_page);
	RUN(g_poke64, VTD_RTADDR, root);
	EXPECT_EQ(VTD_GCMD_SRTP, RUN(g_command, VTD_GCMD_SRTP, true));
	EXPECT_EQ(VTD_GCMD_SRTP | VTD_GCMD_QIE, RUN(g_queue_on, 0));
	gsts = RUN(g_command, VTD_GCMD_TE, true);
	EXPECT_EQ(VTD_GCMD_SRTP | VTD_GCMD_QIE | VTD_GCMD_TE, gsts);
	/* The same command again changes nothing. */
	EXPECT_EQ(gsts, RUN(g_command, VTD_GCMD_TE, true));
	EXPECT_EQ(gsts, RUN(g_command, VTD_GCMD_SRTP, true));
	EXPECT_EQ(gsts & ~VTD_GCMD_TE, RUN(g_command, VTD_GCMD_TE, false));
	EXPECT_EQ(VTD_GCMD_SRTP, RUN(g_command, VTD_GCMD_QIE, false));
	EXPECT_EQ(VTD_GCMD_SRTP | VTD_GCMD_QIE, RUN(g_queue_on, 0));
	/* What the capabilities do not have does not happen. */
	RUN(g_poke32, VTD_GCMD, VTD_GCMD_QIE | VTD_GCMD_SFL | VTD_GCMD_EAFL |
	    VTD_GCMD_WBF | VTD_GCMD_IRE | VTD_GCMD_SIRTP | VTD_GCMD_CFI);
	EXPECT_EQ(VTD_GCMD_SRTP | VTD_GCMD_QIE, RUN(g_peek32, VTD_GSTS));
}

TEST_F(regs, plain_registers)
{
	static const __u64 message[] = {
		VTD_FEDATA, VTD_FEADDR, VTD_FEUADDR,
		VTD_IEDATA, VTD_IEADDR, VTD_IEUADDR,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(message); i++) {
		RUN(g_poke32, message[i], 0xfee01234 + 16 * i);
		EXPECT_EQ(0xfee01234 + 16 * i, RUN(g_peek32, message[i]));
	}
	for (i = 0; i < ARRAY_SIZE(message); i++)
		EXPECT_EQ(0xfee01234 + 16 * i, RUN(g_peek32, message[i]));

	/* As one access and as two */
	RUN(g_poke64, VTD_RTADDR, 0x1234567000);
	EXPECT_EQ(0x1234567000, RUN(g_peek64, VTD_RTADDR));
	RUN(g_poke32, VTD_RTADDR, 0x89abc000);
	EXPECT_EQ(0x1289abc000, RUN(g_peek64, VTD_RTADDR));
	RUN(g_poke32, VTD_RTADDR + 4, 0x34);
	EXPECT_EQ(0x3489abc000, RUN(g_peek64, VTD_RTADDR));
	EXPECT_EQ(0x89abc000, RUN(g_peek32, VTD_RTADDR));
	EXPECT_EQ(0x34, RUN(g_peek32, VTD_RTADDR + 4));
	RUN(g_poke64, VTD_IQA, 0x1234567003);
	EXPECT_EQ(0x1234567003, RUN(g_peek64, VTD_IQA));
	RUN(g_poke32, VTD_IQA, 0x89abc001);
	EXPECT_EQ(0x1289abc001, RUN(g_peek64, VTD_IQA));
}

TEST_F(regs, event_masks)
{
	static const __u64 ectl[] = { VTD_FECTL, VTD_IECTL };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ectl); i++) {
		RUN(g_poke32, ectl[i], 0);
		EXPECT_EQ(0, RUN(g_peek32, ectl[i]));
		/* IP is the unit's, the rest reserved. */
		RUN(g_poke32, ectl[i], ~0U);
		EXPECT_EQ(VTD_ECTL_IM, RUN(g_peek32, ectl[i]));
		RUN(g_poke32, ectl[i], VTD_ECTL_IP);
		EXPECT_EQ(0, RUN(g_peek32, ectl[i]));
	}
}

/* Write 1 to clear where there is nothing to be cleared */
TEST_F(regs, fault_status)
{
	__u64 fro = VTD_CAP_FRO(self->u.cap);
	unsigned int i;

	RUN(g_poke32, VTD_FSTS, ~0U);
	EXPECT_EQ(0, RUN(g_peek32, VTD_FSTS));
	RUN(g_poke32, VTD_ICS, ~0U);
	EXPECT_EQ(0, RUN(g_peek32, VTD_ICS));
	for (i = 0; i < VTD_CAP_NFR(self->u.cap); i++) {
		RUN(g_poke32, fro + 16 * i + 12, ~0U);
		RUN(g_poke64, fro + 16 * i, ~0UL);
		EXPECT_EQ(0, RUN(g_peek64, fro + 16 * i));
		EXPECT_EQ(0, RUN(g_peek64, fro + 16 * i + 8));
	}
}

TEST_F(regs, invalidation_by_register)
{
	__u64 iotlb = VTD_ECAP_IRO(self->u.ecap) + VTD_IOTLB;
	unsigned int g;
	__u64 v, root;

	root = RUN(g_page);
	RUN(g_poke64, VTD_RTADDR, root);
	RUN(g_command, VTD_GCMD_SRTP, true);
	/* Done when the command bit is clear; what was done is at least what
	 * was asked for, and coarser is a smaller number.
	 */
	for (g = 1; g <= 3; g++) {
		RUN(g_poke64, VTD_CCMD, VTD_CCMD_ICC | (__u64)g << 61);
		v = RUN(g_peek64, VTD_CCMD);
		EXPECT_FALSE(v & VTD_CCMD_ICC);
		EXPECT_LE(1, VTD_CCMD_CAIG(v));
		EXPECT_GE(g, VTD_CCMD_CAIG(v));
		RUN(g_poke64, iotlb, VTD_IOTLB_IVT | (__u64)g << 60);
		v = RUN(g_peek64, iotlb);
		EXPECT_FALSE(v & VTD_IOTLB_IVT);
		EXPECT_LE(1, VTD_IOTLB_IAIG(v));
		EXPECT_GE(g, VTD_IOTLB_IAIG(v));
	}
	/* In halves: the upper one has the command bit. */
	RUN(g_poke32, VTD_CCMD, 0x00100001);
	RUN(g_poke32, VTD_CCMD + 4, (VTD_CCMD_ICC | VTD_CCMD_DEVICE) >> 32);
	EXPECT_FALSE(RUN(g_peek64, VTD_CCMD) & VTD_CCMD_ICC);
	EXPECT_LE(1, VTD_CCMD_CAIG(RUN(g_peek64, VTD_CCMD)));
	RUN(g_poke32, iotlb, 0);
	RUN(g_poke32, iotlb + 4, (VTD_IOTLB_IVT | VTD_IOTLB_GLOBAL) >> 32);
	EXPECT_FALSE(RUN(g_peek64, iotlb) & VTD_IOTLB_IVT);
	EXPECT_EQ(1, VTD_IOTLB_IAIG(RUN(g_peek64, iotlb)));
	/* The reserved granularity is answered too, by having done nothing. */
	RUN(g_poke64, VTD_CCMD, VTD_CCMD_ICC);
	EXPECT_EQ(0, RUN(g_peek64, VTD_CCMD) & (VTD_CCMD_ICC | 3UL << 59));
	RUN(g_poke64, iotlb, VTD_IOTLB_IVT);
	EXPECT_EQ(0, RUN(g_peek64, iotlb) & (VTD_IOTLB_IVT | 3UL << 57));
}

/* 1: a request by registers was done; 0: it was ignored, and said so. */
static __u64 by_registers(struct guest *g, __u64 ccmd, __u64 iotlb, __u64 iva)
{
	__u64 iro = VTD_ECAP_IRO(g_read64(g, VTD_ECAP)), v;

	if (ccmd) {
		g_write64(g, VTD_CCMD, VTD_CCMD_ICC | ccmd);
		v = g_read64(g, VTD_CCMD);
		G_ASSERT(g, !(v & VTD_CCMD_ICC));
		return VTD_CCMD_CAIG(v);
	}
	g_write64(g, iro + VTD_IVA, iva);
	g_write64(g, iro + VTD_IOTLB, VTD_IOTLB_IVT | iotlb);
	v = g_read64(g, iro + VTD_IOTLB);
	G_ASSERT(g, !(v & VTD_IOTLB_IVT));
	return VTD_IOTLB_IAIG(v);
}

/* The actual granularity: as asked for, or coarser if that is what is done */
TEST_F(regs, actual_granularity)
{
	unsigned int am;

	EXPECT_EQ(1, RUN(by_registers, VTD_CCMD_GLOBAL, 0, 0));
	EXPECT_EQ(1, RUN(by_registers, VTD_CCMD_DOMAIN, 0, 0));
	EXPECT_EQ(3, RUN(by_registers, VTD_CCMD_DEVICE, 0, 0));
	EXPECT_EQ(1, RUN(by_registers, 0, VTD_IOTLB_GLOBAL, 0));
	EXPECT_EQ(2, RUN(by_registers, 0, VTD_IOTLB_DSI, 0));
	/* Up to CAP.MAMV, beyond which an address mask is a mistake; only by page
	 * does it count.
	 */
	for (am = 0; am < 64; am++) {
		EXPECT_EQ(am > VTD_CAP_MAMV(self->u.cap) ? 0 : 3,
			  RUN(by_registers, 0, VTD_IOTLB_PSI, am));
		EXPECT_EQ(2, RUN(by_registers, 0, VTD_IOTLB_DSI, am));
	}
}

/* Not while the queue is on, and in no mode but legacy */
TEST_F(regs, invalidation_by_register_refused)
{
	static const __u64 ccmd[] = {
		VTD_CCMD_GLOBAL, VTD_CCMD_DOMAIN, VTD_CCMD_DEVICE, 0, 0, 0,
	};
	static const __u64 iotlb[] = {
		0, 0, 0, VTD_IOTLB_GLOBAL, VTD_IOTLB_DSI, VTD_IOTLB_PSI,
	};
	unsigned int i, mode;

	RUN(g_queue_on, 0);
	for (i = 0; i < ARRAY_SIZE(ccmd); i++)
		EXPECT_EQ(0, RUN(by_registers, ccmd[i], iotlb[i], 0));
	RUN(g_command, VTD_GCMD_QIE, false);
	for (i = 0; i < ARRAY_SIZE(ccmd); i++)
		EXPECT_NE(0, RUN(by_registers, ccmd[i], iotlb[i], 0));
	for (mode = 1; mode < 4; mode++) {
		RUN(g_poke64, VTD_RTADDR, mode << 10);
		EXPECT_NE(0, RUN(by_registers, VTD_CCMD_GLOBAL, 0, 0));
		RUN(g_command, VTD_GCMD_SRTP, true);
		for (i = 0; i < ARRAY_SIZE(ccmd); i++)
			EXPECT_EQ(0, RUN(by_registers, ccmd[i], iotlb[i], 0));
		RUN(g_poke64, VTD_RTADDR, 0);
		RUN(g_command, VTD_GCMD_SRTP, true);
	}
	EXPECT_NE(0, RUN(by_registers, VTD_CCMD_GLOBAL, 0, 0));
}

TEST_F(regs, reset)
{
	/* As far from fresh as a guest can come */
	RUN(g_setup, 1);
	RUN(g_enable, true);
	RUN(g_poke32, VTD_FECTL, 0);
	RUN(g_poke32, VTD_IECTL, 0);
	RUN(g_poke32, VTD_FEDATA, 0x1234);
	RUN(g_poke32, VTD_FEADDR, 0xfee00000);
	RUN(g_poke32, VTD_FEUADDR, 0x1);
	RUN(g_poke32, VTD_IEDATA, 0x1234);
	RUN(g_poke32, VTD_IEADDR, 0xfee00000);
	/* A descriptor that is none: FSTS, and the queue stands */
	RUN(g_queue, 0xf, 0);
	RUN(g_poke32, VTD_IQT, self->u.vm.g->tail * 16);
	EXPECT_NE(0, RUN(g_peek32, VTD_FSTS));
	EXPECT_NE(0, memcmp(self->fresh, self->u.regs, PAGE_SIZE));

	ASSERT_EQ(0, unit_reset(self->u.fd));
	EXPECT_EQ(0, memcmp(self->fresh, self->u.regs, PAGE_SIZE));
	/* And it starts again. */
	RUN(g_setup, 0);
	RUN(g_enable, true);
	RUN(g_flush_global);
}

/* All this without a single exit to the VMM: vm_resume() sees to that. */

TEST_HARNESS_MAIN
