// SPDX-License-Identifier: GPL-2.0
/*
 * Units whose register page is polled: no exits while the guest is busy, nothing
 * missed on the way there and back.
 */
#include <pthread.h>
#include <sys/eventfd.h>

#include "kselftest_harness.h"
#include "pollers.h"
#include "require.h"
#include "variants.h"

#define RUN(fn, ...) guest_run(&self->u.vm, fn, ##__VA_ARGS__)
#define DID 1
#define IOVA 0x200000UL
#define SPARE 0x400000UL

FIXTURE(poll) {
	struct unit u;
};

FIXTURE_VARIANT(poll) {
	struct unit_config config;
};

UNIT_VARIANT(poll, sidecore, SIDECORE, STRICT);
UNIT_VARIANT(poll, adaptive, ADAPTIVE, STRICT);
UNIT_VARIANT(poll, async, SIDECORE, ASYNC);
UNIT_VARIANT(poll, optimistic, SIDECORE, OPTIMISTIC);

static void open_unit(struct unit *u, const struct unit_config *config)
{
	unit_open_guest(u, config, DID, IOVA);
	guest_run(&u->vm, g_enable, true);
}

FIXTURE_SETUP(poll)
{
	open_unit(&self->u, &variant->config);
}

FIXTURE_TEARDOWN(poll)
{
	unit_close(&self->u);
}

static void wait_until_polled(struct unit *u)
{
	/* Whatever it does first is trapped. */
	while (!unit_flush_polled(u))
		;
}

static void wait_until_trapped(struct unit *u)
{
	while (unit_stats(u).polled)
		;
}

/* Pairs of a map and an unmap without a single write trapped */
TEST_F_TIMEOUT(poll, no_exits, 600)
{
	struct kviommu_stats a, b;
	__u64 trapped;

	wait_until_polled(&self->u);
	a = unit_stats(&self->u);
	ASSERT_EQ(200, RUN(g_churn, SPARE, PAGE(9), 200));
	b = unit_stats(&self->u);
	EXPECT_EQ(200, MAPS(b) - MAPS(a));
	EXPECT_EQ(200, UNMAPS(b) - UNMAPS(a));
	EXPECT_EQ(800, b.descriptors - a.descriptors);
	trapped = b.reg_writes - a.reg_writes;
	/* To an adaptive one a guest that has to wait for a CPU looks idle. */
	EXPECT_GE(variant->config.mode == UNIT_MODE_ADAPTIVE ? 399 : 0, trapped);
	EXPECT_EQ(a.mapped, b.mapped);
	EXPECT_EQ(0, b.errors);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, SPARE, PAGE(9)));
}

/* A buffer whose table comes and goes with it */
static __u64 g_churn_table(struct guest *g, __u64 iova, __u64 gpa, __u64 n)
{
	__u64 *e = g_entry(g, 0, iova, LEAF_2M), table;

	g_map_quiet(g, 0, iova, gpa, 64, MAP_RW);
	table = *e;
	for (; n; n--) {
		g_map_quiet(g, 0, iova, gpa, 64, MAP_RW);
		g_flush_pages(g, 0, iova, 9);
		g_unmap_quiet(g, 0, iova, 64, 0);
		WRITE_ONCE(*e, 0);
		g_flush_pages(g, 0, iova, 9);
		WRITE_ONCE(*e, table);
	}
	WRITE_ONCE(*e, 0);
	return 0;
}

/* Where nothing is new the polling thread does all, and nobody else is woken. */
TEST_F_TIMEOUT(poll, worker_sleeps, 600)
{
	const bool quiet = variant->config.mode == UNIT_MODE_SIDECORE &&
			   variant->config.strategy != KVIOMMU_STRATEGY_OPTIMISTIC;
	struct kviommu_stats a, b;
	unsigned long n;
	pid_t worker;

	ASSERT_EQ(1, unit_workers(&worker, 1));
	wait_until_polled(&self->u);
	RUN(g_churn_table, SPARE, PAGE(9), 2);
	RUN(g_churn, IOVA + PAGE_SIZE, PAGE(9), 2);
	a = unit_stats(&self->u);
	n = unit_wakeups(worker);
	RUN(g_churn_table, SPARE, PAGE(9), 100);
	RUN(g_churn, IOVA + PAGE_SIZE, PAGE(9), 100);
	b = unit_stats(&self->u);
	EXPECT_EQ(100 * 65, MAPS(b) - MAPS(a));
	EXPECT_EQ(100 * 65, UNMAPS(b) - UNMAPS(a));
	if (quiet) {
		EXPECT_GT(n + 60, unit_wakeups(worker));
		EXPECT_EQ(200, b.syncs - a.syncs);
	}
	EXPECT_EQ(0, b.errors);
	EXPECT_EQ(1, b.mapped);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, SPARE, PAGE(9)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));
}

TEST_F_TIMEOUT(poll, idle, 600)
{
	const bool adaptive = variant->config.mode == UNIT_MODE_ADAPTIVE;
	struct kviommu_stats a, b;
	int i;

	for (i = 0; i < 10; i++) {
		wait_until_polled(&self->u);
		if (adaptive)
			wait_until_trapped(&self->u);
		a = unit_stats(&self->u);
		RUN(g_map, 0, SPARE, PAGE(i), 1, MAP_RW);
		b = unit_stats(&self->u);
		EXPECT_EQ(1, b.maps - a.maps);
		EXPECT_EQ(adaptive, b.reg_writes - a.reg_writes);
		RUN(g_unmap, 0, SPARE, 1, 0);
	}
	EXPECT_LE(adaptive ? 10 : 1, unit_stats(&self->u).polls);
}

/* At every moment of going from the one to the other and back */
static void *change_modes(void *arg)
{
	struct unit *u = arg;
	struct kviommu_policy p = unit_policy(u);
	const __u32 mode = p.mode;
	unsigned int i;

	for (i = 0; i < 300; i++) {
		p.mode = i % 3 ? mode : KVIOMMU_MODE_TRAP;
		REQUIRE(!unit_set_policy(u, &p));
		if (i % 5 == 0)
			REQUIRE(!unit_arm(u->fd, GPA_REGS));
	}
	p.mode = mode;
	REQUIRE(!unit_set_policy(u, &p));
	WRITE_ONCE(u->vm.g->stop, 1);
	return NULL;
}

TEST_F_TIMEOUT(poll, changes_while_busy, 600)
{
	struct kviommu_stats a;
	pthread_t thread;
	__u64 n;

	RUN(g_churn, SPARE, PAGE(9), 1);
	a = unit_stats(&self->u);
	ASSERT_EQ(0, pthread_create(&thread, NULL, change_modes, &self->u));
	n = RUN(g_churn, SPARE, PAGE(9), ~0UL);
	EXPECT_LT(0, n);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	WRITE_ONCE(self->u.vm.g->stop, 0);
	/* Each one once: a tail that is not the guest's has others done again. */
	EXPECT_EQ(4 * n, unit_stats(&self->u).descriptors - a.descriptors);
	EXPECT_LT(0, unit_stats(&self->u).polls);
	wait_until_polled(&self->u);
	EXPECT_EQ(1, unit_stats(&self->u).mapped);
	EXPECT_EQ(0, unit_stats(&self->u).errors);
}

/* A change of the policy that is not one of the mode leaves the unit polled. */
TEST_F_TIMEOUT(poll, other_policy, 600)
{
	struct kviommu_policy p = unit_policy(&self->u);
	struct kviommu_stats a, b;
	int i;

	wait_until_polled(&self->u);
	a = unit_stats_now(&self->u);
	for (i = 0; i < 10; i++) {
		/* The first time nothing changes at all. */
		ASSERT_EQ(0, unit_set_policy(&self->u, &p));
		p.max_pins--;
		b = unit_stats_now(&self->u);
		EXPECT_EQ(a.polls, b.polls);
		/* The guest of an adaptive one is idle. */
		EXPECT_TRUE(b.polled || variant->config.mode == UNIT_MODE_ADAPTIVE);
	}
}

/* A command of GCMD while polled; the same one twice */
TEST_F_TIMEOUT(poll, commands, 600)
{
	__u64 root = self->u.vm.g->root, other = RUN(g_page);
	int i;

	for (i = 0; i < 3; i++) {
		wait_until_polled(&self->u);
		/* An empty root table, then the right one again */
		RUN(g_set_root, other);
		EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, IOVA, PAGE(0)));
		RUN(g_set_root, root);
		EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));
		wait_until_polled(&self->u);
		RUN(g_enable, false);
		EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, IOVA, PAGE(0)));
		EXPECT_EQ(0, unit_stats(&self->u).polled);
		RUN(g_enable, true);
		EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));
		wait_until_polled(&self->u);
		RUN(g_command, VTD_GCMD_QIE, false);
		RUN(g_queue_on, 0);
	}
}

static __u64 g_bad_descriptor(struct guest *g)
{
	g_queue(g, 0xf, 0);
	return g_write32(g, VTD_IQT, g->tail * 16);
}

/* Where there is no memory, which only the worker finds out */
static __u64 g_bad_wait(struct guest *g, __u64 gpa)
{
	g_queue(g, VTD_QI_WAIT | VTD_QI_WAIT_SW, gpa);
	return g_write32(g, VTD_IQT, g->tail * 16);
}

static __u64 g_wait_fsts(struct guest *g, __u32 bits)
{
	while (!(g_read32(g, VTD_FSTS) & bits))
		asm volatile("pause");
	return g_read32(g, VTD_FSTS);
}

/* What is cleared by writing 1 is shown, and can be cleared, once trapped. */
TEST_F_TIMEOUT(poll, queue_error, 600)
{
	int event = eventfd(0, EFD_CLOEXEC), i;
	__u64 n;

	ASSERT_EQ(0, unit_set_eventfd(self->u.fd, KVIOMMU_EVENT_FAULT, event));
	RUN(g_poke32, VTD_FECTL, 0);
	for (i = 0; i < 10; i++) {
		wait_until_polled(&self->u);
		if (i % 2)
			RUN(g_bad_descriptor);
		else
			RUN(g_bad_wait, GPA_RAM_END + i * PAGE_SIZE);
		EXPECT_EQ(VTD_FSTS_IQE, RUN(g_wait_fsts, VTD_FSTS_IQE));
		/* The event comes after what it tells of. */
		ASSERT_EQ(sizeof(n), read(event, &n, sizeof(n)));
		EXPECT_EQ(1, n);
		EXPECT_EQ(0, unit_stats(&self->u).polled);
		/* The queue stands until this is cleared. */
		RUN(g_command, VTD_GCMD_QIE, false);
		RUN(g_poke32, VTD_FSTS, VTD_FSTS_IQE);
		EXPECT_EQ(0, RUN(g_peek32, VTD_FSTS));
		RUN(g_queue_on, 0);
		RUN(g_flush_global);
	}
	close(event);
}

static __u64 g_map_wrong(struct guest *g, __u64 iova)
{
	/* An address beyond what the unit can reach */
	WRITE_ONCE(*g_entry(g, 0, iova, LEAF_4K), BIT(50) | MAP_RW);
	return g_flush_pages(g, 0, iova, 0);
}

TEST_F_TIMEOUT(poll, fault_record, 600)
{
	const __u64 frcd = VTD_CAP_FRO(self->u.cap);
	int event = eventfd(0, EFD_CLOEXEC), i;
	__u64 n, hi;

	ASSERT_EQ(0, unit_set_eventfd(self->u.fd, KVIOMMU_EVENT_FAULT, event));
	RUN(g_poke32, VTD_FECTL, 0);
	for (i = 0; i < 10; i++) {
		const __u64 at = frcd + 16 * (i % VTD_CAP_NFR(self->u.cap));

		wait_until_polled(&self->u);
		RUN(g_map_wrong, SPARE);
		ASSERT_EQ(sizeof(n), read(event, &n, sizeof(n)));
		EXPECT_EQ(VTD_FSTS_PPF, RUN(g_wait_fsts, VTD_FSTS_PPF) & 0xff);
		EXPECT_EQ(SPARE, RUN(g_peek64, at));
		hi = RUN(g_peek64, at + 8);
		EXPECT_EQ(1, hi >> 63);
		EXPECT_EQ(SID(0), hi & 0xffff);
		RUN(g_poke32, at + 12, BIT(31));
		EXPECT_EQ(0, RUN(g_peek32, VTD_FSTS) & VTD_FSTS_PPF);
		RUN(g_unmap, 0, SPARE, 1, 0);
	}
	close(event);
}

static __u64 g_wait_with_event(struct guest *g)
{
	g_queue(g, VTD_QI_WAIT | VTD_QI_WAIT_IF | VTD_QI_WAIT_SW | VTD_QI_WAIT_DATA(g->seq),
		(__u64)&g->status);
	return g_flush(g);
}

TEST_F_TIMEOUT(poll, completion_event, 600)
{
	int event = eventfd(0, EFD_CLOEXEC), i;
	__u64 n;

	ASSERT_EQ(0, unit_set_eventfd(self->u.fd, KVIOMMU_EVENT_INVAL_COMPLETION,
				      event));
	RUN(g_poke32, VTD_IECTL, 0);
	for (i = 0; i < 5; i++) {
		wait_until_polled(&self->u);
		RUN(g_wait_with_event);
		ASSERT_EQ(sizeof(n), read(event, &n, sizeof(n)));
		EXPECT_EQ(1, n);
		EXPECT_EQ(VTD_ICS_IWC, RUN(g_peek32, VTD_ICS));
		RUN(g_poke32, VTD_ICS, VTD_ICS_IWC);
		EXPECT_EQ(0, RUN(g_peek32, VTD_ICS));
	}
	close(event);
}

/*
 * A driver that clears ICS.IWC before each wait, whatever it is, and has nothing else to wait
 * for. Return: how often it read the 1 that it had written.
 */
static __u64 g_wait_for_ics(struct guest *g, __u64 n)
{
	__u64 early = 0;

	while (n--) {
		g_map_quiet(g, 0, SPARE, PAGE(n % 8), 1, MAP_RW);
		g_write32(g, VTD_ICS, VTD_ICS_IWC);
		g_queue(g, VTD_QI_WAIT | VTD_QI_WAIT_IF, 0);
		g_queue_tail(g);
		while (!(g_read32(g, VTD_ICS) & VTD_ICS_IWC))
			asm volatile("pause");
		early += g_read32(g, VTD_IQH) != g_read32(g, VTD_IQT);
	}
	return early;
}

TEST_F_TIMEOUT(poll, waits_for_ics, 600)
{
	pthread_t guest;

	ASSERT_EQ(0, unit_reset(self->u.fd));
	RUN(g_queue_on, 0);
	RUN(g_set_root, self->u.vm.g->root);
	/* Before translation is on, as drivers do: nothing is polled yet. */
	EXPECT_EQ(0, RUN(g_wait_for_ics, 1));
	RUN(g_enable, true);
	EXPECT_EQ(0, RUN(g_wait_for_ics, 200));
	RUN(g_poke32, VTD_ICS, VTD_ICS_IWC);
	guest = start_guest(&self->u);
	EXPECT_TRUE(stays_trapped(&self->u));
	stop_guest(&self->u, guest);
	/* Another driver */
	ASSERT_EQ(0, unit_reset(self->u.fd));
	RUN(g_queue_on, 0);
	RUN(g_set_root, self->u.vm.g->root);
	RUN(g_enable, true);
	wait_until_polled(&self->u);
}

/* Memory comes and goes under a thread that must not wait for it. */
TEST_F_TIMEOUT(poll, ioas_changes, 600)
{
	int i;

	for (i = 0; i < 20; i++) {
		wait_until_polled(&self->u);
		ASSERT_EQ(0, ioas_unmap(self->u.iommufd, self->u.ioas, 0,
					GPA_RAM_END));
		EXPECT_EQ(0, unit_stats(&self->u).pinned);
		ASSERT_EQ(0, ioas_map(self->u.iommufd, self->u.ioas, 0,
				      self->u.vm.ram, GPA_RAM_END, IOAS_RW));
		RUN(g_map, 0, SPARE, PAGE(i), 1, MAP_RW);
		EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, SPARE, PAGE(i)));
		RUN(g_unmap, 0, SPARE, 1, 0);
		EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, SPARE, PAGE(i)));
	}
	EXPECT_EQ(0, unit_refresh(&self->u));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));
}

/* The slot goes away and comes back, the guest is reset. */
TEST_F_TIMEOUT(poll, slot_and_reset, 600)
{
	int i;

	for (i = 0; i < 5; i++) {
		wait_until_polled(&self->u);
		REQUIRE(!vm_set_slot(&self->u.vm, VM_SLOT_REGS, GPA_REGS,
				     self->u.regs, 0, 0));
		unit_map_regs(&self->u);
		wait_until_polled(&self->u);
		ASSERT_EQ(0, unit_reset(self->u.fd));
		EXPECT_EQ(0, RUN(g_peek32, VTD_GSTS));
		EXPECT_EQ(0, RUN(g_peek32, VTD_GCMD));
		EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, IOVA, PAGE(0)));
		RUN(g_queue_on, 0);
		RUN(g_set_root, self->u.vm.g->root);
		RUN(g_enable, true);
		EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));
	}
}

/* Killed while polled and busy */
static void busy_vmm(const void *config)
{
	struct unit u;

	open_unit(&u, config);
	wait_until_polled(&u);
	unit_ready();
	guest_run(&u.vm, g_churn, SPARE, PAGE(9), ~0UL);
}

TEST_F_TIMEOUT(poll, killed, 600)
{
	int i;

	unit_close(&self->u);
	for (i = 0; i < 10; i++) {
		unit_kill(busy_vmm, &variant->config);
		EXPECT_TRUE(device_is_free(0));
	}
	open_unit(&self->u, &variant->config);
}

TEST_HARNESS_MAIN
