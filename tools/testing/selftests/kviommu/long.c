// SPDX-License-Identifier: GPL-2.0
/*
 * Work that takes long, for the largest tables that a small guest can make: it
 * keeps neither the vCPU that asked for it, nor the VMM, nor the end of both;
 * and it comes to its end.
 */
#include "kselftest_harness.h"
#include "require.h"
#include "variants.h"

#define RUN(fn, ...) guest_run(&self->u.vm, fn, ##__VA_ARGS__)
#define DID 1
#define IOVA 0x200000UL

/* Each of these covers 1 GiB in leaves of 2 MiB, all of the same memory. */
#define GIBS		16UL
#define LEAVES		(GIBS * 512)
#define PAGES		(LEAVES * 512)
#define LONG_IOVA	BIT_ULL(39)

/* Write the tables but for the entry that leads to them, and return that. */
static __u64 g_long_tables(struct guest *g)
{
	__u64 pdpt = g_page(g), pd = g_page(g);
	unsigned int i;

	for (i = 0; i < 512; i++)
		WRITE_ONCE(((__u64 *)pd)[i], HUGE(0) | VTD_SL_PS | MAP_RW);
	for (i = 0; i < GIBS; i++)
		WRITE_ONCE(((__u64 *)pdpt)[i], pd | MAP_RW);
	return pdpt | MAP_RW;
}

static __u64 g_set_entry(struct guest *g, __u64 entry)
{
	WRITE_ONCE(*g_entry(g, 0, LONG_IOVA, 4), entry);
	return 0;
}

/* Ask for an invalidation by the queue, and do not wait. */
static __u64 g_ask(struct guest *g)
{
	g_queue(g, VTD_QI_IOTLB | VTD_QI_DOMAIN | VTD_QI_DID(g->dom[0].did), 0);
	g_queue(g, VTD_QI_WAIT | VTD_QI_WAIT_SW | VTD_QI_WAIT_DATA(++g->seq),
		(__u64)&g->status);
	return g_write32(g, VTD_IQT, g->tail * 16);
}

static __u64 g_answered(struct guest *g)
{
	return READ_ONCE(g->status) == g->seq;
}

/* The same by registers */
static __u64 g_ask_register(struct guest *g, __u64 iro)
{
	g_write64(g, iro + VTD_IOTLB, VTD_IOTLB_IVT | VTD_IOTLB_GLOBAL);
	return 0;
}

static __u64 g_register_answered(struct guest *g, __u64 iro)
{
	return !(g_read64(g, iro + VTD_IOTLB) & VTD_IOTLB_IVT);
}

static __u64 g_ask_enable(struct guest *g, bool on)
{
	g_write32(g, VTD_GCMD, on ? VTD_GCMD_TE : 0);
	return 0;
}

static __u64 g_enabled(struct guest *g)
{
	return !!(g_read32(g, VTD_GSTS) & VTD_GCMD_TE);
}

FIXTURE(long_work) {
	struct unit u;
	__u64 tables;
};

FIXTURE_VARIANT(long_work) {
	struct unit_config config;
};

UNIT_VARIANTS(long_work);

FIXTURE_SETUP(long_work)
{
	unit_open_guest(&self->u, &variant->config, DID, IOVA);
	self->tables = RUN(g_long_tables);
}

FIXTURE_TEARDOWN(long_work)
{
	unit_close(&self->u);
}

/*
 * Look at the unit from the VMM until @done: it has to be seen under way, with
 * more than @least and less than @most pages mapped.
 */
#define SEEN_UNDER_WAY(least, most, done) ({				\
	unsigned long under_way_ = 0;					\
									\
	while (!(done)) {						\
		__u64 mapped_ = unit_stats_now(&self->u).mapped;	\
									\
		under_way_ += mapped_ > (least) && mapped_ < (most);	\
	}								\
	under_way_;							\
})

TEST_F_TIMEOUT(long_work, invalidation_by_the_queue, 120)
{
	const __u32 *regs = self->u.regs;

	RUN(g_enable, true);
	RUN(g_set_entry, self->tables);
	RUN(g_ask);
	/* The vCPU is back before it is done. */
	EXPECT_FALSE(RUN(g_answered));
	EXPECT_NE(regs[VTD_IQT / 4], regs[VTD_IQH / 4]);
	EXPECT_LT(0, SEEN_UNDER_WAY(1, PAGES + 1, RUN(g_answered)));
	EXPECT_EQ(PAGES + 1, unit_stats(&self->u).mapped);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, LONG_IOVA + PAGES * PAGE_SIZE -
					 PAGE_SIZE, HUGE(0) + SZ_2M - PAGE_SIZE));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));

	/* And down again */
	RUN(g_set_entry, 0);
	RUN(g_ask);
	while (!RUN(g_answered))
		;
	EXPECT_EQ(1, unit_stats(&self->u).mapped);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, LONG_IOVA, HUGE(0)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));
	EXPECT_EQ(0, unit_stats(&self->u).errors);
}

TEST_F_TIMEOUT(long_work, invalidation_by_registers, 120)
{
	__u64 iro = VTD_ECAP_IRO(self->u.ecap);

	RUN(g_enable, true);
	RUN(g_command, VTD_GCMD_QIE, false);
	RUN(g_set_entry, self->tables);
	RUN(g_ask_register, iro);
	EXPECT_FALSE(RUN(g_register_answered, iro));
	EXPECT_LT(0, SEEN_UNDER_WAY(1, PAGES + 1, RUN(g_register_answered, iro)));
	EXPECT_EQ(1, VTD_IOTLB_IAIG(RUN(g_peek64, iro + VTD_IOTLB)));
	EXPECT_EQ(PAGES + 1, unit_stats(&self->u).mapped);
}

TEST_F_TIMEOUT(long_work, enable_and_disable, 120)
{
	RUN(g_set_entry, self->tables);
	RUN(g_ask_enable, true);
	EXPECT_FALSE(RUN(g_enabled));
	EXPECT_LT(0, SEEN_UNDER_WAY(0, PAGES + 1, RUN(g_enabled)));
	EXPECT_EQ(PAGES + 1, unit_stats(&self->u).mapped);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));
	RUN(g_ask_enable, false);
	while (RUN(g_enabled))
		;
	EXPECT_EQ(0, unit_stats(&self->u).mapped);
	EXPECT_EQ(0, unit_stats(&self->u).domains);
}

/* Another command comes before the first is done. */
TEST_F_TIMEOUT(long_work, changes_its_mind, 120)
{
	RUN(g_set_entry, self->tables);
	RUN(g_ask_enable, true);
	EXPECT_FALSE(RUN(g_enabled));
	RUN(g_ask_enable, false);
	RUN(g_queue_on, 0);
	/* The queue is handled when what came before is done. */
	RUN(g_ask);
	while (!RUN(g_answered))
		;
	EXPECT_FALSE(RUN(g_enabled));
	EXPECT_EQ(0, unit_stats(&self->u).mapped);
	EXPECT_EQ(0, unit_stats(&self->u).domains);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, IOVA, PAGE(0)));
}

/* The VMM asks for what takes long: it waits, and gets all of it. */
TEST_F_TIMEOUT(long_work, attach_reset_refresh, 120)
{
	RUN(g_set_entry, self->tables);
	EXPECT_EQ(0, unit_detach(self->u.fd, SID(0)));
	RUN(g_enable, true);
	EXPECT_EQ(0, unit_stats(&self->u).mapped);
	EXPECT_EQ(0, unit_attach(self->u.fd, self->u.dev[0].fd, SID(0)));
	EXPECT_EQ(PAGES + 1, unit_stats(&self->u).mapped);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));
	/* Memory goes and comes back. */
	ASSERT_EQ(0, ioas_unmap(self->u.iommufd, self->u.ioas, 0, GPA_RAM_END));
	EXPECT_EQ(0, unit_stats(&self->u).mapped);
	EXPECT_EQ(0, unit_stats(&self->u).pinned);
	ASSERT_EQ(0, ioas_map(self->u.iommufd, self->u.ioas, 0, self->u.vm.ram,
			      GPA_RAM_END, IOAS_RW));
	EXPECT_EQ(0, unit_refresh(&self->u));
	EXPECT_EQ(PAGES + 1, unit_stats(&self->u).mapped);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));
	EXPECT_EQ(0, unit_reset(self->u.fd));
	EXPECT_EQ(0, unit_stats(&self->u).mapped);
	EXPECT_EQ(0, unit_stats(&self->u).pinned);
}

TEST_F(long_work, limit_on_what_is_mapped)
{
	struct kviommu_policy p = unit_policy(&self->u), host = p;

	RUN(g_enable, true);
	p.max_mapped = 1 + SZ_2M / PAGE_SIZE + 1;
	ASSERT_EQ(0, unit_set_policy(&self->u, &p));
	RUN(g_map, 0, LONG_IOVA, HUGE(0), 1, MAP_RW | MAP_LEAF(LEAF_2M));
	RUN(g_map, 0, LONG_IOVA + SZ_2M, HUGE(1), 1, MAP_RW | MAP_LEAF(LEAF_2M));
	RUN(g_map, 0, IOVA + PAGE_SIZE, PAGE(1), 1, MAP_RW);
	RUN(g_map, 0, IOVA + 2 * PAGE_SIZE, PAGE(2), 1, MAP_RW);
	EXPECT_EQ(2, unit_stats(&self->u).limits);
	EXPECT_EQ(p.max_mapped, unit_stats(&self->u).mapped);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, LONG_IOVA, HUGE(0)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, LONG_IOVA + SZ_2M, HUGE(1)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA + PAGE_SIZE, PAGE(1)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, IOVA + 2 * PAGE_SIZE, PAGE(2)));
	ASSERT_EQ(0, unit_set_policy(&self->u, &host));
	ASSERT_EQ(0, unit_refresh(&self->u));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, LONG_IOVA + SZ_2M, HUGE(1)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA + 2 * PAGE_SIZE, PAGE(2)));
}

/* Killed in the middle of what the guest asks for, or just after it */
struct killed {
	const struct unit_config *config;
	bool asked;
};

static void long_vmm(const void *arg)
{
	const struct killed *killed = arg;
	struct unit u;
	__u64 tables;

	unit_open_guest(&u, killed->config, DID, IOVA);
	guest_run(&u.vm, g_enable, true);
	tables = guest_run(&u.vm, g_long_tables);
	guest_run(&u.vm, g_set_entry, tables);
	if (!killed->asked)
		unit_ready();
	guest_run(&u.vm, g_ask);
	if (killed->asked)
		unit_ready();
}

TEST_F_TIMEOUT(long_work, killed, 300)
{
	struct killed killed = { .config = &variant->config };
	unsigned int i;

	unit_close(&self->u);
	for (i = 0; i < 2; i++) {
		killed.asked = i;
		unit_kill(long_vmm, &killed);
		EXPECT_TRUE(device_is_free(0));
	}
	unit_open_guest(&self->u, &variant->config, DID, IOVA);
}

TEST_HARNESS_MAIN
