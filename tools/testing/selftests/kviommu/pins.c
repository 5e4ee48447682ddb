// SPDX-License-Identifier: GPL-2.0
/*
 * What becomes of pins that nothing uses any more: how many are kept, which, how
 * long, and who can have them back.
 */
#include <fcntl.h>
#include <pthread.h>

#include "kselftest_harness.h"
#include "require.h"
#include "unit.h"
#include "variants.h"

#define RUN(fn, ...) guest_run(&self->u.vm, fn, ##__VA_ARGS__)
#define DID 1
#define IOVA 0x200000UL
#define SPARE 0x400000UL
#define FOR_EVER 0

FIXTURE(pins) {
	struct unit u;
	struct kviommu_policy policy;
};

FIXTURE_VARIANT(pins) {
	struct unit_config config;
};

UNIT_VARIANTS(pins);

static void set_idle(struct unit *u, struct kviommu_policy *p, __u64 max_idle,
		     __u64 ms)
{
	p->max_idle_pins = max_idle;
	p->idle_pin_ms = ms;
	REQUIRE(!unit_set_policy(u, p));
}

/* Nothing goes by itself, unless a test says so. */
FIXTURE_SETUP(pins)
{
	unit_open_guest(&self->u, &variant->config, DID, IOVA);
	guest_run(&self->u.vm, g_enable, true);
	self->policy = unit_policy(&self->u);
	/* What is stale goes before the next write to the queue. */
	self->policy.stale_us = 0;
	set_idle(&self->u, &self->policy, self->policy.max_idle_pins, FOR_EVER);
}

FIXTURE_TEARDOWN(pins)
{
	unit_close(&self->u);
}

static __u64 release(struct unit *u, __u64 gpa, __u64 length)
{
	__u64 in_use = ~0ULL;

	REQUIRE(!kviommu_release_pins(u->fd, gpa, length, &in_use));
	return in_use;
}

/* A device may have used a page, and does not any more. */
static void use(struct unit *u, unsigned int page)
{
	guest_run(&u->vm, g_map, 0, SPARE, PAGE(page), 1, MAP_RW);
	guest_run(&u->vm, g_unmap, 0, SPARE, 1, 0);
}

static void use_pages(struct unit *u, unsigned int first, unsigned int n)
{
	unsigned int i;

	for (i = first; i < first + n; i++)
		use(u, i);
}

/* And it was idle, and now is no more: how many of these pages were? */
static unsigned int take_idle(struct unit *u, unsigned int first, unsigned int n)
{
	__u64 before = unit_stats(u).idle;

	REQUIRE(!release(u, PAGE(first), n * PAGE_SIZE));
	return before - unit_stats(u).idle;
}

static void wait_until_none_idle(struct unit *u)
{
	while (unit_stats(u).idle)
		usleep(1000);
}

TEST_F(pins, limit)
{
	struct kviommu_stats s;
	unsigned int i;

	set_idle(&self->u, &self->policy, 20, FOR_EVER);
	for (i = 0; i < 50; i++) {
		use(&self->u, i);
		/* A polling thread leaves it to the worker. */
		do
			s = unit_stats(&self->u);
		while (s.idle > 20);
		EXPECT_LT(s.idle, s.pinned);
	}
	EXPECT_LE(15, s.idle);
	EXPECT_EQ(0, s.reclaims);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));
}

/* Whatever their order as addresses is, those go that were used first. */
TEST_F_TIMEOUT(pins, lru, 600)
{
	__u64 idle;

	set_idle(&self->u, &self->policy, 64, FOR_EVER);
	use_pages(&self->u, 200, 20);
	use_pages(&self->u, 100, 20);
	use_pages(&self->u, 20, 10);
	/* The first ones come again. */
	use_pages(&self->u, 200, 5);
	idle = unit_stats(&self->u).idle;
	EXPECT_LE(50, idle);
	EXPECT_GE(64, idle);
	/* Beyond the limit a quarter goes: 15 of the first 20, or so. */
	use_pages(&self->u, 300, 65 - idle);
	while (unit_stats(&self->u).idle > 64)
		;
	EXPECT_LE(48, unit_stats(&self->u).idle);
	EXPECT_GE(50, unit_stats(&self->u).idle);
	EXPECT_EQ(5, take_idle(&self->u, 200, 5));
	EXPECT_EQ(10, take_idle(&self->u, 20, 10));
	EXPECT_LE(15, take_idle(&self->u, 100, 20));
	EXPECT_GE(5, take_idle(&self->u, 205, 15));
}

/* Used all the time is young all the time. */
TEST_F_TIMEOUT(pins, lru_keeps_what_is_used, 600)
{
	__u64 misses;
	unsigned int i;

	set_idle(&self->u, &self->policy, 32, FOR_EVER);
	use_pages(&self->u, 10, 4);
	misses = unit_stats(&self->u).pin_misses;
	for (i = 0; i < 100; i++) {
		use(&self->u, 100 + i);
		if (i % 2)
			use(&self->u, 10 + i / 2 % 4);
	}
	/* Each new page is missed once, the 4 pages never again. */
	EXPECT_EQ(100, unit_stats(&self->u).pin_misses - misses);
}

TEST_F(pins, age)
{
	struct kviommu_stats a, b;

	use_pages(&self->u, 0, 10);
	a = unit_stats(&self->u);
	EXPECT_LE(10, a.idle);
	EXPECT_EQ(0, a.reclaims);
	set_idle(&self->u, &self->policy, self->policy.max_idle_pins, 20);
	wait_until_none_idle(&self->u);
	b = unit_stats(&self->u);
	EXPECT_LE(a.idle, b.reclaims);
	/* What is in use stays, and is as good as ever. */
	EXPECT_LT(0, b.pinned);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));
	RUN(g_map, 0, SPARE, PAGE(5), 1, MAP_RW);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, SPARE, PAGE(5)));
	wait_until_none_idle(&self->u);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, SPARE, PAGE(5)));
	RUN(g_unmap, 0, SPARE, 1, 0);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, SPARE, PAGE(5)));
	wait_until_none_idle(&self->u);
}

/* Let another unit's idle pins reach their age, n times. */
static void let_pins_grow_old(struct unit *other, unsigned int n)
{
	while (n--) {
		guest_run(&other->vm, g_flush);
		REQUIRE(unit_stats(other).reg_writes);
		wait_until_none_idle(other);
	}
}

static void open_other(struct unit *other, __u64 ms)
{
	static const struct unit_config trap = { .mode = UNIT_MODE_TRAP };
	struct kviommu_policy p;

	unit_open(other, &trap);
	guest_run(&other->vm, g_setup, 0);
	p = unit_policy(other);
	set_idle(other, &p, p.max_idle_pins, ms);
}

/* While others grow old: at run time, too. */
TEST_F(pins, for_ever)
{
	struct unit other;
	__u64 idle;

	open_other(&other, 40);
	use_pages(&self->u, 0, 10);
	idle = unit_stats(&self->u).idle;
	let_pins_grow_old(&other, 3);
	EXPECT_EQ(idle, unit_stats(&self->u).idle);
	/* A long age is not reached, */
	set_idle(&self->u, &self->policy, self->policy.max_idle_pins, 24 * 3600 * 1000);
	let_pins_grow_old(&other, 3);
	EXPECT_EQ(idle, unit_stats(&self->u).idle);
	/* a short one is, also for what was there before, */
	set_idle(&self->u, &self->policy, self->policy.max_idle_pins, 1);
	wait_until_none_idle(&self->u);
	/* and an end is put to it. */
	set_idle(&self->u, &self->policy, self->policy.max_idle_pins, FOR_EVER);
	use_pages(&self->u, 0, 10);
	let_pins_grow_old(&other, 3);
	EXPECT_LE(10, unit_stats(&self->u).idle);
	set_idle(&self->u, &self->policy, self->policy.max_idle_pins, ~0ULL);
	let_pins_grow_old(&other, 1);
	EXPECT_LE(10, unit_stats(&self->u).idle);
	unit_close(&other);
}

static void lack_memory(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	REQUIRE(fd >= 0 && write(fd, "2", 1) == 1);
	close(fd);
}

/* The host lacks memory. */
TEST_F(pins, shrinker)
{
	struct kviommu_stats a, b;
	unsigned int i;

	for (i = 0; i < 3; i++) {
		use_pages(&self->u, 0, 50);
		a = unit_stats(&self->u);
		EXPECT_LE(50, a.idle);
		lack_memory();
		wait_until_none_idle(&self->u);
		b = unit_stats(&self->u);
		EXPECT_LE(50, b.reclaims - a.reclaims);
		EXPECT_LT(0, b.pinned);
		EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));
	}
}

static void *lack_all_the_time(void *arg)
{
	struct guest *g = arg;

	while (!READ_ONCE(g->stop))
		lack_memory();
	return NULL;
}

/* At any moment of anything */
TEST_F_TIMEOUT(pins, shrinker_while_busy, 600)
{
	pthread_t thread;
	unsigned int i;

	ASSERT_EQ(0, pthread_create(&thread, NULL, lack_all_the_time,
				    self->u.vm.g));
	for (i = 0; i < 20; i++) {
		RUN(g_churn, SPARE, PAGE(9), 10);
		ASSERT_EQ(0, ioas_unmap(self->u.iommufd, self->u.ioas, 0,
					GPA_RAM_END));
		ASSERT_EQ(0, ioas_map(self->u.iommufd, self->u.ioas, 0,
				      self->u.vm.ram, GPA_RAM_END, IOAS_RW));
		ASSERT_EQ(0, unit_refresh(&self->u));
		ASSERT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));
	}
	WRITE_ONCE(self->u.vm.g->stop, 1);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, unit_stats(&self->u).errors);
}

TEST_F(pins, release)
{
	struct kviommu_stats a, b;

	RUN(g_map, 0, SPARE, PAGE(0), 4, MAP_RW);
	RUN(g_map, 0, SPARE + SZ_2M, PAGE(2), 1, MAP_R);
	RUN(g_unmap, 0, SPARE, 4, 0);
	a = unit_stats(&self->u);
	/* PAGE(0) and PAGE(2) are mapped, two are idle, the next ones nothing. */
	EXPECT_EQ(2, release(&self->u, PAGE(0), 8 * PAGE_SIZE));
	b = unit_stats(&self->u);
	EXPECT_EQ(2, b.reclaims - a.reclaims);
	EXPECT_EQ(0, b.stale);
	EXPECT_EQ(0, release(&self->u, PAGE(1), PAGE_SIZE));
	EXPECT_EQ(1, release(&self->u, PAGE(2), PAGE_SIZE));
	EXPECT_EQ(0, release(&self->u, PAGE(3), PAGE_SIZE));
	EXPECT_EQ(b.reclaims, unit_stats(&self->u).reclaims);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, SPARE + PAGE_SIZE, PAGE(1)));

	/* All of RAM: what is left is in use, tables of the guest among it. */
	EXPECT_LT(2, release(&self->u, 0, GPA_RAM_END));
	b = unit_stats(&self->u);
	EXPECT_EQ(0, b.idle);
	EXPECT_EQ(b.pinned, release(&self->u, 0, -PAGE_SIZE));
	/* Given back is not lost. */
	RUN(g_map, 0, SPARE, PAGE(1), 1, MAP_RW);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, SPARE, PAGE(1)));
	EXPECT_EQ(1, release(&self->u, PAGE(1), PAGE_SIZE));
	RUN(g_unmap, 0, SPARE, 1, 0);
	EXPECT_EQ(0, release(&self->u, PAGE(1), PAGE_SIZE));
}

/* What the guest unmapped is not in use, whatever the strategy. */
TEST_F(pins, release_stale)
{
	unsigned int i;

	self->policy.stale_us = unit_policy(&self->u).stale_us;
	for (i = 0; i < 10; i++) {
		RUN(g_map, 0, SPARE, PAGE(10), 16, MAP_RW);
		EXPECT_EQ(16, release(&self->u, PAGE(10), 16 * PAGE_SIZE));
		RUN(g_unmap, 0, SPARE, 16, 0);
		EXPECT_EQ(0, release(&self->u, PAGE(10), 16 * PAGE_SIZE));
		EXPECT_EQ(0, unit_stats(&self->u).stale);
		EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, SPARE, PAGE(10)));
	}
}

TEST_F(pins, release_unmapped_ioas)
{
	/* Pages 8 to 11 are mapped, 12 to 15 idle; 10 to 13 go from the IOAS. */
	RUN(g_map, 0, SPARE, PAGE(8), 8, MAP_RW);
	RUN(g_unmap, 0, SPARE + 4 * PAGE_SIZE, 4, 0);
	ASSERT_EQ(0, ioas_unmap(self->u.iommufd, self->u.ioas, 0, GPA_RAM_END));
	EXPECT_EQ(0, release(&self->u, 0, GPA_RAM_END));
	ASSERT_EQ(0, ioas_map(self->u.iommufd, self->u.ioas, 0, self->u.vm.ram,
			      PAGE(10), IOAS_RW));
	ASSERT_EQ(0, ioas_map(self->u.iommufd, self->u.ioas, PAGE(14),
			      vm_hva(&self->u.vm, PAGE(14)),
			      GPA_RAM_END - PAGE(14), IOAS_RW));
	ASSERT_EQ(0, unit_refresh(&self->u));
	EXPECT_EQ(2, release(&self->u, PAGE(8), 8 * PAGE_SIZE));
	EXPECT_EQ(0, release(&self->u, PAGE(10), 4 * PAGE_SIZE));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, SPARE, PAGE(8)));
}

/* When a device reaches all of it, all of it is in use. */
TEST_F(pins, release_identity)
{
	RUN(g_detach, SID(0), DID);
	RUN(g_attach_pt, SID(0), DID);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(7), PAGE(7)));
	EXPECT_EQ(16, release(&self->u, PAGE(0), 16 * PAGE_SIZE));
	EXPECT_EQ(0, unit_stats(&self->u).errors);
	RUN(g_detach, SID(0), DID);
	EXPECT_EQ(0, release(&self->u, PAGE(0), 16 * PAGE_SIZE));
}

/* There is a timer as long as there are pins that grow old, and not longer. */
TEST_F(pins, no_wakeups)
{
	struct unit other;
	unsigned long n;
	pid_t worker;

	ASSERT_EQ(1, unit_workers(&worker, 1));
	open_other(&other, 100);
	/* With pins that do not */
	use_pages(&self->u, 0, 10);
	while (unit_stats(&self->u).polled &&
	       variant->config.mode != UNIT_MODE_SIDECORE)
		;
	let_pins_grow_old(&other, 1);
	n = unit_wakeups(worker);
	let_pins_grow_old(&other, 5);
	EXPECT_EQ(n, unit_wakeups(worker));
	/* With some that do */
	set_idle(&self->u, &self->policy, self->policy.max_idle_pins, 20);
	wait_until_none_idle(&self->u);
	EXPECT_LT(n, unit_wakeups(worker));
	/* Without */
	let_pins_grow_old(&other, 1);
	n = unit_wakeups(worker);
	let_pins_grow_old(&other, 5);
	EXPECT_EQ(n, unit_wakeups(worker));
	unit_close(&other);
}

TEST_HARNESS_MAIN
