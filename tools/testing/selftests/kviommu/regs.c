// SPDX-License-Identifier: GPL-2.0
/* The registers as a guest sees them. */
#include <stdlib.h>

#include "kselftest_harness.h"
#include "require.h"
#include "unit.h"

#define RUN(fn, ...) guest_run(&self->u.vm, fn, ##__VA_ARGS__)

FIXTURE(regs) {
	struct unit u;
	__u8 fresh[4096];
};

FIXTURE_VARIANT(regs) {
	struct unit_config config;
};

FIXTURE_VARIANT_ADD(regs, trap_48bit) {
	.config = { .mode = UNIT_MODE_TRAP, .aw_bits = 48 },
};

FIXTURE_VARIANT_ADD(regs, trap_44bit) {
	.config = { .mode = UNIT_MODE_TRAP, .aw_bits = 44 },
};

FIXTURE_VARIANT_ADD(regs, trap_39bit) {
	.config = { .mode = UNIT_MODE_TRAP, .aw_bits = 39 },
};

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
	bool wide = variant->config.aw_bits > 39;
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
	EXPECT_EQ(wide ? 0x6 : 0x2, VTD_CAP_SAGAW(cap));
	EXPECT_EQ(variant->config.aw_bits - 1, VTD_CAP_MGAW(cap));
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

TEST_F(regs, initial_values)
{
	__u64 fro = VTD_CAP_FRO(self->u.cap);
	unsigned int i;

	EXPECT_EQ(0, RUN(g_peek32, VTD_GSTS));
	EXPECT_EQ(0, RUN(g_peek64, VTD_RTADDR));
	EXPECT_EQ(0, RUN(g_peek64, VTD_CCMD) & VTD_CCMD_ICC);
	EXPECT_EQ(0, RUN(g_peek32, VTD_FSTS));
	/* Both events are masked, none is pending. */
	EXPECT_EQ(VTD_ECTL_IM, RUN(g_peek32, VTD_FECTL));
	EXPECT_EQ(VTD_ECTL_IM, RUN(g_peek32, VTD_IECTL));
	EXPECT_EQ(0, RUN(g_peek32, VTD_ICS));
	EXPECT_EQ(0, RUN(g_peek64, VTD_IQH));
	EXPECT_EQ(0, RUN(g_peek64, VTD_IQT));
	EXPECT_EQ(0, RUN(g_peek64, VTD_IQA));
	for (i = 0; i < VTD_CAP_NFR(self->u.cap); i++)
		EXPECT_EQ(0, RUN(g_peek32, fro + 16 * i + 12));
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

static __u64 poke8(struct guest *g, __u64 reg, __u64 v)
{
	asm volatile("movb %b0, (%1)" : : "q" (v), "r" (g->regs + reg) : "memory");
	return 0;
}

/*
 * Accesses that the specification leaves undefined, all over the page: they
 * may do nothing or anything that the guest could also do properly, but not
 * change what is read-only, and not stop the unit.
 */
TEST_F(regs, odd_accesses)
{
	unsigned int off;

	for (off = 0; off < PAGE_SIZE; off += 13)
		RUN(poke8, off, 0xff);
	for (off = 2; off < PAGE_SIZE - 8; off += 58) {
		RUN(g_poke32, off, 0);
		RUN(g_poke64, off + 1, 0);
	}
	EXPECT_EQ(self->u.cap, RUN(g_peek64, VTD_CAP));
	EXPECT_EQ(self->u.ecap, RUN(g_peek64, VTD_ECAP));
	EXPECT_EQ(0, RUN(g_peek32, VTD_GSTS));
	ASSERT_EQ(0, unit_reset(self->u.fd));
	EXPECT_EQ(0, memcmp(self->fresh, self->u.regs, PAGE_SIZE));
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
