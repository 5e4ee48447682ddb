// SPDX-License-Identifier: GPL-2.0
/*
 * What the guest has removed, under each strategy: how long a device may reach it,
 * what ends that, and that memory is pinned all the while. Translations are kept
 * without an end here, but for what the tests are about: so what a device does
 * meanwhile, which takes it 100 ms, does not depend on times.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <time.h>

#include "calls.h"
#include "kselftest_harness.h"
#include "require.h"
#include "variants.h"

#define RUN(fn, ...) guest_run(&self->u.vm, fn, ##__VA_ARGS__)
#define DID 1
#define IOVA 0x200000UL
#define SPARE 0x400000UL

/* What a device does now, whether or not it may only because it is stale */
#define NOW(iova, gpa) dma_write_now(&self->u, 0, iova, gpa)

/* Beyond any test's time */
#define FOREVER 1000000000UL

FIXTURE(strategy) {
	struct unit u;
	/* What is unmapped is kept so that devices reach it; is not flushed at once */
	bool keeps;
	bool waits;
};

FIXTURE_VARIANT(strategy) {
	struct unit_config config;
};

UNIT_VARIANT(strategy, trap_strict, TRAP, STRICT);
UNIT_VARIANT(strategy, trap_async, TRAP, ASYNC);
UNIT_VARIANT(strategy, trap_deferred, TRAP, DEFERRED);
UNIT_VARIANT(strategy, trap_optimistic, TRAP, OPTIMISTIC);
UNIT_VARIANT(strategy, sidecore_strict, SIDECORE, STRICT);
UNIT_VARIANT(strategy, sidecore_async, SIDECORE, ASYNC);
UNIT_VARIANT(strategy, sidecore_deferred, SIDECORE, DEFERRED);
UNIT_VARIANT(strategy, sidecore_optimistic, SIDECORE, OPTIMISTIC);
UNIT_VARIANT(strategy, adaptive_strict, ADAPTIVE, STRICT);
UNIT_VARIANT(strategy, adaptive_async, ADAPTIVE, ASYNC);
UNIT_VARIANT(strategy, adaptive_deferred, ADAPTIVE, DEFERRED);
UNIT_VARIANT(strategy, adaptive_optimistic, ADAPTIVE, OPTIMISTIC);

/* The most that a unit may ask for is a parameter of the module. */
static void allow_forever(void)
{
	int fd = open("/sys/module/kviommu/parameters/stale_us", O_WRONLY | O_CLOEXEC);
	char text[32];
	int len = snprintf(text, sizeof(text), "%lu", FOREVER);

	REQUIRE(fd >= 0);
	REQUIRE(write(fd, text, len) == len);
	close(fd);
}

FIXTURE_SETUP(strategy)
{
	struct kviommu_policy p;

	allow_forever();
	unit_open_guest(&self->u, &variant->config, DID, IOVA);
	RUN(g_enable, true);
	self->keeps = variant->config.strategy == KVIOMMU_STRATEGY_OPTIMISTIC;
	self->waits = self->keeps ||
		      variant->config.strategy == KVIOMMU_STRATEGY_DEFERRED;
	p = unit_policy(&self->u);
	p.stale_us = FOREVER;
	/* Whatever nothing uses is unpinned at once. */
	p.max_idle_pins = 0;
	ASSERT_EQ(0, unit_set_policy(&self->u, &p));
	unit_poll(&self->u);
}

FIXTURE_TEARDOWN(strategy)
{
	unit_close(&self->u);
	EXPECT_EQ(0, pinned_kib());
}

/* The flush that is not waited for is done soon. */
static struct kviommu_stats settled(FIXTURE_DATA(strategy) * self)
{
	if (!self->waits)
		unit_wait_stale(&self->u);
	return unit_stats_now(&self->u);
}

/* A device that writes to an address over and over, as often as it can */
struct writer {
	struct edu *edu;
	pthread_t thread;
	bool stop;
	unsigned long rounds;
};

static void *write_thread(void *arg)
{
	struct writer *w = arg;

	while (!READ_ONCE(w->stop)) {
		edu_dma(w->edu, EDU_TO_RAM, IOVA, 0, DMA_LEN);
		WRITE_ONCE(w->rounds, w->rounds + 1);
	}
	return NULL;
}

static void writer_start(struct writer *w, struct unit *u)
{
	*w = (struct writer){ .edu = &u->dev[0] };
	REQUIRE(!pthread_create(&w->thread, NULL, write_thread, w));
}

static void writer_stop(struct writer *w)
{
	WRITE_ONCE(w->stop, true);
	REQUIRE(!pthread_join(w->thread, NULL));
}

/* Does anything of what it writes from now on arrive? */
static bool writer_reaches(struct writer *w, struct unit *u)
{
	__u64 *page = vm_hva(&u->vm, PAGE(0));
	unsigned long from, i;
	bool reached = false;

	memset(page, 0, PAGE_SIZE);
	/* One may be just about to end; two more are from now on. */
	from = READ_ONCE(w->rounds);
	while (READ_ONCE(w->rounds) < from + 3)
		usleep(1000);
	for (i = 0; i < PAGE_SIZE / 8; i++)
		reached |= !!READ_ONCE(page[i]);
	return reached;
}

/*
 * A page is pinned as long as the device reaches it, and once it is not, nothing
 * arrives any more.
 */
TEST_F_TIMEOUT(strategy, pinned_while_reached, 300)
{
	struct unit *u = &self->u;
	struct kviommu_policy p;
	struct kviommu_stats a;
	struct writer w;

	writer_start(&w, u);
	EXPECT_TRUE(writer_reaches(&w, u));
	a = unit_stats_now(u);
	RUN(g_unmap, 0, IOVA, 1, 0);
	if (self->keeps)
		EXPECT_TRUE(writer_reaches(&w, u));
	/* Whatever has been reached up to here is pinned, if it waits. */
	EXPECT_EQ(a.pinned - !self->waits, settled(self).pinned);
	p = unit_policy(u);
	p.stale_us = 20000;
	/* As a change of policy ends all, there has to be something anew. */
	ASSERT_EQ(0, unit_set_policy(u, &p));
	EXPECT_EQ(a.pinned - 1, unit_stats_now(u).pinned);
	EXPECT_FALSE(writer_reaches(&w, u));
	RUN(g_map, 0, IOVA, PAGE(0), 1, MAP_RW);
	EXPECT_TRUE(writer_reaches(&w, u));
	RUN(g_unmap, 0, IOVA, 1, 0);
	while (unit_stats_now(u).pinned == a.pinned)
		;
	EXPECT_FALSE(writer_reaches(&w, u));
	writer_stop(&w);
}

/* The VMM takes the memory away: when that returns nothing arrives any more. */
TEST_F_TIMEOUT(strategy, ioas_unmapped, 300)
{
	struct unit *u = &self->u;
	struct writer w;

	writer_start(&w, u);
	RUN(g_unmap, 0, IOVA, 1, 0);
	ASSERT_EQ(0, ioas_unmap(u->iommufd, u->ioas, 0, GPA_RAM_END));
	EXPECT_EQ(0, unit_stats_now(u).pinned);
	EXPECT_EQ(0, unit_stats_now(u).stale);
	EXPECT_EQ(0, pinned_kib());
	EXPECT_FALSE(writer_reaches(&w, u));
	/* Nor does what the guest removed come back with the memory. */
	ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, 0, u->vm.ram, GPA_RAM_END, IOAS_RW));
	ASSERT_EQ(0, unit_refresh(u));
	EXPECT_EQ(0, unit_stats_now(u).mapped);
	EXPECT_FALSE(writer_reaches(&w, u));
	RUN(g_map, 0, IOVA, PAGE(0), 1, MAP_RW);
	EXPECT_TRUE(writer_reaches(&w, u));
	writer_stop(&w);
}

/* Pages come and go at one address, and come again. */
static __u64 again(struct guest *g, __u64 n)
{
	__u64 i;

	for (i = 0; i < n; i++) {
		g_unmap(g, 0, IOVA, 1, 0);
		g_map(g, 0, IOVA, PAGE(0), 1, MAP_RW);
	}
	return i;
}

TEST_F(strategy, reuse)
{
	struct kviommu_stats a, b;
	struct kviommu_policy p;

	EXPECT_EQ(DMA_REACHED, NOW(IOVA, PAGE(0)));
	a = settled(self);
	RUN(again, 50);
	b = settled(self);
	EXPECT_EQ(self->keeps ? 50 : 0, b.reuses - a.reuses);
	EXPECT_EQ(self->keeps ? 0 : 50, b.maps - a.maps);
	EXPECT_EQ(self->keeps ? 0 : 50, b.unmaps - a.unmaps);
	EXPECT_EQ(a.mapped, b.mapped);
	if (self->keeps) {
		EXPECT_EQ(a.syncs, b.syncs);
		EXPECT_EQ(0, b.stale);
	}
	EXPECT_EQ(DMA_REACHED, NOW(IOVA, PAGE(0)));
	/* What is in use again does not end with what was kept. */
	p = unit_policy(&self->u);
	ASSERT_EQ(0, unit_set_policy(&self->u, &p));
	EXPECT_EQ(DMA_REACHED, NOW(IOVA, PAGE(0)));
}

/* Pages at IOVA and behind it in turns: what is kept is never asked for again. */
static __u64 in_turns(struct guest *g, __u64 pages, __u64 n)
{
	__u64 i;

	for (i = 0; i < n; i++) {
		g_map(g, 0, SPARE, PAGE(8 + i % 2), pages, MAP_RW);
		g_unmap(g, 0, SPARE, pages, 0);
	}
	return i;
}

/*
 * A unit that keeps translations in vain stops to do so, for a while: the module's WINDOW
 * is 1024, its PAUSE 32768.
 */
TEST_F_TIMEOUT(strategy, in_vain, 300)
{
	struct kviommu_stats a, b;

	RUN(again, 10);
	a = settled(self);
	EXPECT_EQ(self->keeps ? 10 : 0, a.reuses);
	RUN(in_turns, 64, 20);
	a = settled(self);
	RUN(again, 10);
	b = settled(self);
	EXPECT_EQ(0, b.reuses - a.reuses);
	/* What goes meanwhile goes by one call and at once, as if nothing were ever kept. */
	if (self->keeps) {
		calls_begin();
		RUN(in_turns, 64, 1);
		EXPECT_EQ(0, unit_stats_now(&self->u).stale);
		EXPECT_EQ(DMA_BLOCKED, NOW(SPARE, PAGE(8)));
		EXPECT_EQ(1, calls_unmap(SPARE));
		calls_end();
	}
	RUN(in_turns, 64, 512);
	a = settled(self);
	RUN(again, 10);
	b = settled(self);
	EXPECT_EQ(self->keeps ? 10 : 0, b.reuses - a.reuses);
	EXPECT_EQ(DMA_REACHED, NOW(IOVA, PAGE(0)));
	EXPECT_EQ(0, b.errors);
}

/* Another page at that address: the old one is out of reach when the guest goes on. */
TEST_F(strategy, change)
{
	EXPECT_EQ(DMA_REACHED, NOW(IOVA, PAGE(0)));
	RUN(g_unmap, 0, IOVA, 1, 0);
	RUN(g_map, 0, IOVA, PAGE(1), 1, MAP_RW);
	EXPECT_EQ(DMA_BLOCKED, NOW(IOVA, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, NOW(IOVA, PAGE(1)));
	/* In one step */
	RUN(g_map, 0, IOVA, PAGE(2), 1, MAP_RW);
	EXPECT_EQ(DMA_BLOCKED, NOW(IOVA, PAGE(1)));
	EXPECT_EQ(DMA_REACHED, NOW(IOVA, PAGE(2)));
	/* And with what was there first */
	RUN(g_unmap, 0, IOVA, 1, 0);
	RUN(g_map, 0, IOVA, PAGE(0), 1, MAP_RW);
	EXPECT_EQ(DMA_REACHED, NOW(IOVA, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, NOW(IOVA, PAGE(2)));
}

TEST_F(strategy, rights)
{
	EXPECT_EQ(DMA_REACHED, NOW(IOVA, PAGE(0)));
	RUN(g_map, 0, IOVA, PAGE(0), 1, MAP_R);
	EXPECT_EQ(DMA_BLOCKED, NOW(IOVA, PAGE(0)));
	RUN(g_map, 0, IOVA, PAGE(0), 1, MAP_RW);
	EXPECT_EQ(DMA_REACHED, NOW(IOVA, PAGE(0)));
	RUN(g_unmap, 0, IOVA, 1, 0);
	RUN(g_map, 0, IOVA, PAGE(0), 1, MAP_R);
	EXPECT_EQ(DMA_BLOCKED, NOW(IOVA, PAGE(0)));
	RUN(g_unmap, 0, IOVA, 1, 0);
	RUN(g_map, 0, IOVA, PAGE(0), 1, MAP_RW);
	EXPECT_EQ(DMA_REACHED, NOW(IOVA, PAGE(0)));
}

/* A large leaf where small ones were kept, and the other way round */
TEST_F(strategy, large_leaf)
{
	RUN(g_map, 0, SPARE, PAGE(1), 8, MAP_RW);
	EXPECT_EQ(DMA_REACHED, NOW(SPARE, PAGE(1)));
	RUN(g_unmap, 0, SPARE, 8, 0);
	RUN(g_map, 0, SPARE, HUGE(0), 1, MAP_RW | MAP_LEAF(LEAF_2M));
	EXPECT_EQ(DMA_REACHED, NOW(SPARE, HUGE(0)));
	EXPECT_EQ(DMA_BLOCKED, NOW(SPARE + 7 * PAGE_SIZE, PAGE(8)));
	RUN(g_unmap, 0, SPARE, 1, MAP_LEAF(LEAF_2M));
	RUN(g_map, 0, SPARE, PAGE(1), 1, MAP_RW);
	EXPECT_EQ(DMA_REACHED, NOW(SPARE, PAGE(1)));
	EXPECT_EQ(DMA_BLOCKED, NOW(SPARE, HUGE(0)));
	settled(self);
	EXPECT_EQ(0, unit_stats_now(&self->u).errors);
}

TEST_F(strategy, limit)
{
	struct kviommu_policy p = unit_policy(&self->u);
	struct kviommu_stats s;
	unsigned int i;

	p.max_stale = 16;
	ASSERT_EQ(0, unit_set_policy(&self->u, &p));
	RUN(g_map, 0, SPARE, PAGE(1), 64, MAP_RW);
	for (i = 0; i < 64; i++) {
		RUN(g_unmap, 0, SPARE + i * PAGE_SIZE, 1, 0);
		EXPECT_GE(16, unit_stats_now(&self->u).stale);
		if (self->waits && i < 16)
			EXPECT_EQ(i + 1, unit_stats_now(&self->u).stale);
	}
	/* Many at once */
	RUN(g_map, 0, SPARE, PAGE(1), 64, MAP_RW);
	RUN(g_unmap, 0, SPARE, 64, 0);
	s = settled(self);
	EXPECT_GE(16, s.stale);
	EXPECT_GE(16, s.stale_peak);
	EXPECT_EQ(self->waits ? 16 : s.stale_peak, s.stale_peak);
	EXPECT_EQ(1 + (self->keeps ? s.stale : 0), s.mapped);
	/* None may be */
	p.max_stale = 0;
	ASSERT_EQ(0, unit_set_policy(&self->u, &p));
	EXPECT_EQ(1, unit_stats_now(&self->u).mapped);
	RUN(g_unmap, 0, IOVA, 1, 0);
	EXPECT_EQ(0, unit_stats_now(&self->u).stale);
	EXPECT_EQ(0, unit_stats_now(&self->u).mapped);
	EXPECT_EQ(DMA_BLOCKED, NOW(IOVA, PAGE(0)));
}

static __u64 now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000UL + t.tv_nsec;
}

/* Their time is up, though the guest does nothing more. */
TEST_F(strategy, age)
{
	struct kviommu_policy p = unit_policy(&self->u);
	struct kviommu_stats s;
	__u64 begin;

	p.stale_us = 5000;
	ASSERT_EQ(0, unit_set_policy(&self->u, &p));
	RUN(g_map, 0, SPARE, PAGE(1), 8, MAP_RW);
	begin = now_ns();
	RUN(g_unmap, 0, SPARE, 8, 0);
	unit_wait_stale(&self->u);
	s = unit_stats_now(&self->u);
	EXPECT_EQ(1, s.mapped);
	EXPECT_LE(self->waits ? 5000000 : 0, s.stale_ns_max);
	EXPECT_GE(now_ns() - begin, s.stale_ns_max);
	EXPECT_EQ(variant->config.strategy == KVIOMMU_STRATEGY_STRICT,
		  !s.stale_ns_max);
	EXPECT_EQ(DMA_BLOCKED, NOW(SPARE, PAGE(1)));
	EXPECT_EQ(DMA_REACHED, NOW(IOVA, PAGE(0)));
}

/*
 * More ranges at once than one flush releases: what was flushed then is not old
 * later.
 */
TEST_F(strategy, full_batch)
{
	struct kviommu_policy p = unit_policy(&self->u);
	__u64 begin, first, last, in_use;
	struct kviommu_stats s;
	unsigned int i;

	p.stale_us = 20000;
	ASSERT_EQ(0, unit_set_policy(&self->u, &p));
	/* No two neighbours */
	for (i = 0; i < 256; i++)
		RUN(g_map_quiet, 0, SPARE + i * PAGE_SIZE, PAGE(2 * i + 1), 1, MAP_RW);
	RUN(g_flush_pages, 0, SPARE, 8);
	begin = now_ns();
	RUN(g_unmap, 0, SPARE, 256, 0);
	ASSERT_EQ(0, kviommu_release_pins(self->u.fd, PAGE(1), PAGE_SIZE, &in_use));
	EXPECT_EQ(0, in_use);
	EXPECT_EQ(0, unit_stats_now(&self->u).stale);
	first = now_ns() - begin;
	EXPECT_EQ(DMA_BLOCKED, NOW(SPARE, PAGE(1)));
	begin = now_ns();
	RUN(g_map, 0, SPARE, PAGE(1), 1, MAP_RW);
	RUN(g_unmap, 0, SPARE, 1, 0);
	unit_wait_stale(&self->u);
	s = unit_stats_now(&self->u);
	last = now_ns() - begin;
	EXPECT_GE(first > last ? first : last, s.stale_ns_max);
}

/* Eight pages that the guest has removed */
static void have_stale(struct __test_metadata *_metadata,
		       FIXTURE_DATA(strategy) * self)
{
	RUN(g_map, 0, SPARE, PAGE(1), 8, MAP_RW);
	EXPECT_EQ(DMA_REACHED, NOW(SPARE, PAGE(1)));
	RUN(g_unmap, 0, SPARE, 8, 0);
	EXPECT_EQ(self->waits ? 8 : 0, settled(self).stale);
	if (self->keeps)
		EXPECT_EQ(DMA_REACHED, NOW(SPARE, PAGE(1)));
}

/* Another strategy while there are some: they are gone when the call returns. */
TEST_F(strategy, other_strategy)
{
	struct kviommu_policy p = unit_policy(&self->u);
	__u32 s;

	for (s = KVIOMMU_STRATEGY_STRICT; s <= KVIOMMU_STRATEGY_OPTIMISTIC; s++) {
		have_stale(_metadata, self);
		p.strategy = s;
		ASSERT_EQ(0, unit_set_policy(&self->u, &p));
		EXPECT_EQ(0, unit_stats_now(&self->u).stale);
		EXPECT_EQ(1, unit_stats_now(&self->u).mapped);
		EXPECT_EQ(DMA_BLOCKED, NOW(SPARE, PAGE(1)));
		EXPECT_EQ(DMA_REACHED, NOW(IOVA, PAGE(0)));
		p.strategy = variant->config.strategy;
		ASSERT_EQ(0, unit_set_policy(&self->u, &p));
	}
}

TEST_F(strategy, reset)
{
	have_stale(_metadata, self);
	ASSERT_EQ(0, unit_reset(self->u.fd));
	EXPECT_EQ(0, unit_stats_now(&self->u).stale);
	EXPECT_EQ(0, unit_stats_now(&self->u).mapped);
	EXPECT_EQ(0, unit_stats_now(&self->u).pinned);
	EXPECT_EQ(0, pinned_kib());
	EXPECT_EQ(DMA_BLOCKED, NOW(SPARE, PAGE(1)));
}

/*
 * The device leaves: by the VMM, though another one keeps the domain; by the guest,
 * with translation as a whole.
 */
TEST_F(strategy, detach)
{
	unit_add_device(&self->u, 1, SID(1));
	RUN(g_attach, SID(1), 0);
	have_stale(_metadata, self);
	ASSERT_EQ(0, unit_detach(self->u.fd, SID(1)));
	EXPECT_EQ(0, unit_stats_now(&self->u).stale);
	EXPECT_EQ(1, unit_stats_now(&self->u).domains);
	EXPECT_EQ(DMA_BLOCKED, NOW(SPARE, PAGE(1)));

	have_stale(_metadata, self);
	ASSERT_EQ(0, unit_detach(self->u.fd, SID(0)));
	EXPECT_EQ(0, unit_stats_now(&self->u).stale);
	EXPECT_EQ(0, unit_stats_now(&self->u).domains);
	EXPECT_EQ(DMA_BLOCKED, NOW(SPARE, PAGE(1)));
	ASSERT_EQ(0, unit_attach(self->u.fd, self->u.dev[0].fd, SID(0)));
	EXPECT_EQ(DMA_BLOCKED, NOW(SPARE, PAGE(1)));

	have_stale(_metadata, self);
	RUN(g_detach, SID(0), DID);
	EXPECT_EQ(DMA_BLOCKED, NOW(SPARE, PAGE(1)));
	RUN(g_attach, SID(0), 0);
	EXPECT_EQ(DMA_BLOCKED, NOW(SPARE, PAGE(1)));

	have_stale(_metadata, self);
	RUN(g_enable, false);
	EXPECT_EQ(DMA_BLOCKED, NOW(SPARE, PAGE(1)));
	RUN(g_enable, true);
	EXPECT_EQ(DMA_BLOCKED, NOW(SPARE, PAGE(1)));
	EXPECT_EQ(DMA_REACHED, NOW(IOVA, PAGE(0)));
}

/* What is only kept does not stand in the way of what is asked for. */
TEST_F(strategy, makes_room)
{
	struct kviommu_policy host = unit_policy(&self->u), p = host;

	RUN(g_map, 0, SPARE, PAGE(1), 8, MAP_RW);
	p.max_pins = unit_stats_now(&self->u).pinned;
	ASSERT_EQ(0, unit_set_policy(&self->u, &p));
	RUN(g_unmap, 0, SPARE, 8, 0);
	RUN(g_map, 0, SPARE + 8 * PAGE_SIZE, PAGE(20), 8, MAP_RW);
	EXPECT_EQ(0, unit_stats_now(&self->u).errors);
	EXPECT_EQ(DMA_REACHED, NOW(SPARE + 8 * PAGE_SIZE, PAGE(20)));

	p = host;
	p.max_mapped = unit_stats(&self->u).mapped;
	ASSERT_EQ(0, unit_set_policy(&self->u, &p));
	RUN(g_unmap, 0, SPARE + 8 * PAGE_SIZE, 8, 0);
	RUN(g_map, 0, SPARE + 16 * PAGE_SIZE, PAGE(30), 8, MAP_RW);
	EXPECT_EQ(0, unit_stats_now(&self->u).errors);
	EXPECT_EQ(DMA_REACHED, NOW(SPARE + 16 * PAGE_SIZE, PAGE(30)));
	EXPECT_EQ(DMA_REACHED, NOW(IOVA, PAGE(0)));
}

/* The guest frees a table over what it has removed, and uses its page otherwise. */
TEST_F(strategy, table_reused)
{
	__u64 *pde, *table;
	unsigned int i;

	have_stale(_metadata, self);
	pde = vm_hva(&self->u.vm, RUN(g_entry_gpa, 0, SPARE, LEAF_2M));
	table = vm_hva(&self->u.vm, *pde & VTD_SL_ADDR);
	*pde = 0;
	RUN(g_flush_pages, 0, SPARE, 9);
	/* As data it looks like translations to another page. */
	for (i = 0; i < 512; i++)
		table[i] = PAGE(40) | MAP_RW;
	RUN(g_flush_domain, 0);
	EXPECT_EQ(DMA_BLOCKED, NOW(SPARE, PAGE(40)));
	/* A new table, the same page at one address, another at the next */
	RUN(g_map, 0, SPARE, PAGE(1), 1, MAP_RW);
	RUN(g_map, 0, SPARE + PAGE_SIZE, PAGE(50), 1, MAP_RW);
	EXPECT_EQ(DMA_REACHED, NOW(SPARE, PAGE(1)));
	EXPECT_EQ(DMA_REACHED, NOW(SPARE + PAGE_SIZE, PAGE(50)));
	EXPECT_EQ(DMA_BLOCKED, NOW(SPARE + PAGE_SIZE, PAGE(2)));
	/* Its page as a table again, where another was */
	RUN(g_unmap, 0, SPARE, 1, 0);
	for (i = 0; i < 512; i++)
		table[i] = 0;
	table[0] = PAGE(60) | MAP_RW;
	*pde = ((__u8 *)table - self->u.vm.ram) | MAP_RW;
	RUN(g_flush_pages, 0, SPARE, 9);
	EXPECT_EQ(DMA_REACHED, NOW(SPARE, PAGE(60)));
	EXPECT_EQ(DMA_BLOCKED, NOW(SPARE, PAGE(1)));
}

/* Closed while there are some: FIXTURE_TEARDOWN() looks for what stays pinned. */
TEST_F(strategy, closed)
{
	have_stale(_metadata, self);
	unit_close(&self->u);
	EXPECT_EQ(0, pinned_kib());
	EXPECT_TRUE(device_is_free(0));
	unit_open(&self->u, &variant->config);
}

TEST_HARNESS_MAIN
