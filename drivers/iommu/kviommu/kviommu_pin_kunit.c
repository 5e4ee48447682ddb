// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pin cache on top of a fake IOAS: when frames are pinned and unpinned.
 */
#define NOTRACE	/* the trace events are defined in kviommu.ko */

#include <kunit/test.h>
#include <linux/cleanup.h>
#include <linux/module.h>
#include <linux/mutex.h>

#include "mem/guestmem.c"
#include "mem/idle.c"
#include "mem/pin.c"

#define NR_GFNS		512
#define NR_PAGES	4	/* the frames share these pages, in turn */
#define READ_ONLY	500	/* first frame that is read-only */
#define NO_MEMORY	510	/* first frame without memory */
#define RD		KVIOMMU_READ
#define WR		KVIOMMU_WRITE

/**
 * struct ctx - A unit and its IOAS
 * @test: The test
 * @unit: The unit; only members that the pin cache uses are set up
 * @pages: Memory that the IOAS maps
 * @pins: Number of pins of each guest frame
 * @pinned: Sum of @pins
 * @limit: Greatest value of @pinned: the limit of locked memory, in pages
 * @pin_calls: Number of successful calls of kviommu_access_pin()
 * @uncached: Number of accesses to guest memory that bypassed the cache
 * @errors: Number of errors that the cache reported
 * @wakes: Number of times that the cache woke the unit's worker
 * @resched_left: The call of kviommu_resched() that ends the step, counted from now on
 */
struct ctx {
	struct kunit *test;
	struct kviommu_unit unit;
	struct page *pages;
	unsigned int pins[NR_GFNS];
	unsigned int pinned;
	unsigned int limit;
	unsigned int pin_calls;
	unsigned int uncached;
	unsigned int errors;
	unsigned int wakes;
	unsigned int resched_left;
};

static struct ctx *ctx_of(struct kviommu_access *a)
{
	return container_of(a, struct ctx, unit.access);
}

int kviommu_access_pin(struct kviommu_access *a, u64 gfn, bool write,
		       struct page **page)
{
	struct ctx *ctx = ctx_of(a);

	if (gfn >= NO_MEMORY)
		return -ENOENT;
	if (write && gfn >= READ_ONLY)
		return -EPERM;
	if (ctx->pinned >= ctx->limit)
		return -ENOMEM;
	ctx->pin_calls++;
	ctx->pinned++;
	ctx->pins[gfn]++;
	*page = ctx->pages + gfn % NR_PAGES;
	return 0;
}

void kviommu_access_unpin(struct kviommu_access *a, u64 gfn)
{
	struct ctx *ctx = ctx_of(a);

	KUNIT_ASSERT_LT(ctx->test, gfn, NO_MEMORY);
	KUNIT_ASSERT_GT(ctx->test, ctx->pins[gfn], 0);
	ctx->pinned--;
	ctx->pins[gfn]--;
}

int kviommu_access_rw(struct kviommu_access *a, u64 gpa, void *buf,
		      unsigned int len, bool write)
{
	struct ctx *ctx = ctx_of(a);

	ctx->uncached++;
	if (!write)
		memset(buf, 0xcc, len);
	return 0;
}

void kviommu_error(struct kviommu_unit *unit, const char *what, u64 addr,
		   int err)
{
	container_of(unit, struct ctx, unit)->errors++;
}

static void count_wake(struct kviommu_unit *unit, u64 us)
{
	container_of(unit, struct ctx, unit)->wakes++;
}

static const struct kviommu_upcalls upcalls = { .wake = count_wake };
static const struct kviommu_work may_wait = { .whole = true, .may_wait = true };

int kviommu_resched(struct kviommu_unit *unit, const struct kviommu_work *work)
{
	struct ctx *ctx = container_of(unit, struct ctx, unit);

	return ctx->resched_left && --ctx->resched_left ? 0 : -EAGAIN;
}

static void free_guest_memory(void *pages)
{
	__free_pages(pages, get_order(NR_PAGES * PAGE_SIZE));
}

static int pin_kunit_init(struct kunit *test)
{
	struct ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, ctx);
	ctx->pages = alloc_pages(GFP_KERNEL | __GFP_ZERO,
				 get_order(NR_PAGES * PAGE_SIZE));
	KUNIT_ASSERT_NOT_NULL(test, ctx->pages);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, free_guest_memory,
							   ctx->pages));
	ctx->test = test;
	ctx->limit = UINT_MAX;
	ctx->unit.up = &upcalls;
	mutex_init(&ctx->unit.map_lock);
	xa_init_flags(&ctx->unit.pins.chunks, XA_FLAGS_ACCOUNT);
	ctx->unit.policy.max_pins = 1000;
	ctx->unit.policy.max_idle_pins = 1000;
	test->priv = ctx;
	return 0;
}

static int cache_get(struct ctx *ctx, u64 gfn, unsigned int prot)
{
	u64 pfn = 0;
	int ret;

	guard(mutex)(&ctx->unit.map_lock);
	ret = kviommu_pin_get(&ctx->unit, &may_wait, gfn, prot, &pfn);
	if (!ret && pfn != page_to_pfn(ctx->pages + gfn % NR_PAGES))
		return -EFAULT;
	return ret;
}

static void cache_put(struct ctx *ctx, u64 gfn)
{
	guard(mutex)(&ctx->unit.map_lock);
	kviommu_pin_put(&ctx->unit, &may_wait, gfn);
}

static void cache_trim(struct ctx *ctx, unsigned long max_idle)
{
	guard(mutex)(&ctx->unit.map_lock);
	kviommu_pin_trim(&ctx->unit, max_idle);
}

static bool cache_revoke(struct ctx *ctx, u64 first, u64 last)
{
	guard(mutex)(&ctx->unit.map_lock);
	return kviommu_pin_revoke(&ctx->unit, first, last);
}

/* Whatever the test did: when all uses are put and idle pins trimmed, nothing is left. */
static void pin_kunit_exit(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	struct chunk *chunk;
	unsigned long index;
	unsigned int i;

	if (!ctx)
		return;
	xa_for_each(&ctx->unit.pins.chunks, index, chunk)
		for (i = 0; i < CHUNK_GFNS; i++)
			while (chunk->pins[i].pinned && !chunk->pins[i].idle)
				cache_put(ctx, (index << CHUNK_SHIFT) + i);
	cache_trim(ctx, 0);
	KUNIT_EXPECT_EQ(test, ctx->pinned, 0);
	KUNIT_EXPECT_EQ(test, ctx->unit.pins.pinned, 0);
	KUNIT_EXPECT_EQ(test, ctx->unit.pins.idle, 0);
	KUNIT_EXPECT_EQ(test, kviommu_pin_bytes(&ctx->unit), 0);
	KUNIT_EXPECT_TRUE(test, xa_empty(&ctx->unit.pins.chunks));
	mutex_destroy(&ctx->unit.map_lock);
}

static void pin_once_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	KUNIT_EXPECT_EQ(test, cache_get(ctx, 5, RD | WR), 0);
	KUNIT_EXPECT_EQ(test, cache_get(ctx, 5, RD), 0);
	KUNIT_EXPECT_EQ(test, cache_get(ctx, 5, RD | WR), 0);
	KUNIT_EXPECT_EQ(test, ctx->pins[5], 1);
	KUNIT_EXPECT_EQ(test, ctx->unit.pins.pinned, 1);
	KUNIT_EXPECT_EQ(test, ctx->unit.pins.idle, 0);
	cache_put(ctx, 5);
	cache_put(ctx, 5);
	KUNIT_EXPECT_EQ(test, ctx->unit.pins.idle, 0);
	cache_put(ctx, 5);
	KUNIT_EXPECT_EQ(test, ctx->unit.pins.idle, 1);

	/* An idle pin is reused without a call to iommufd. */
	ctx->pin_calls = 0;
	KUNIT_EXPECT_EQ(test, cache_get(ctx, 5, RD | WR), 0);
	KUNIT_EXPECT_EQ(test, ctx->pin_calls, 0);
	KUNIT_EXPECT_EQ(test, ctx->unit.stats.pin_misses, 1);
	KUNIT_EXPECT_EQ(test, ctx->unit.stats.pin_hits, 3);
	KUNIT_EXPECT_EQ(test, ctx->unit.stats.pinned_peak, 1);
}

static void pin_rights_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	/* A failed call leaves nothing behind, not even a chunk. */
	KUNIT_EXPECT_EQ(test, cache_get(ctx, NO_MEMORY, RD), -ENOENT);
	KUNIT_EXPECT_EQ(test, cache_get(ctx, U64_MAX, RD), -ENOENT);
	KUNIT_EXPECT_EQ(test, cache_get(ctx, READ_ONLY, WR), -EPERM);
	KUNIT_EXPECT_EQ(test, cache_get(ctx, READ_ONLY, RD | WR), -EPERM);
	KUNIT_EXPECT_EQ(test, ctx->pinned, 0);
	KUNIT_EXPECT_EQ(test, ctx->unit.pins.nr_chunks, 0);

	/* A pin for reading does not allow writing. */
	KUNIT_EXPECT_EQ(test, cache_get(ctx, READ_ONLY, RD), 0);
	KUNIT_EXPECT_EQ(test, cache_get(ctx, READ_ONLY, WR), -EPERM);
	KUNIT_EXPECT_EQ(test, ctx->unit.pins.idle, 0);

	/* The right to write is asked for when it is needed; there is still one pin. */
	KUNIT_EXPECT_EQ(test, cache_get(ctx, 0, RD), 0);
	ctx->pin_calls = 0;
	KUNIT_EXPECT_EQ(test, cache_get(ctx, 0, WR), 0);
	KUNIT_EXPECT_EQ(test, ctx->pin_calls, 1);
	KUNIT_EXPECT_EQ(test, cache_get(ctx, 0, RD | WR), 0);
	KUNIT_EXPECT_EQ(test, ctx->pin_calls, 1);
	KUNIT_EXPECT_EQ(test, ctx->pins[0], 1);
}

/* Beyond the limit a quarter of the idle pins is released, least recently used first. */
static void pin_idle_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	unsigned int gfn;

	ctx->unit.policy.max_idle_pins = 100;
	for (gfn = 0; gfn < 100; gfn++) {
		KUNIT_ASSERT_EQ(test, cache_get(ctx, gfn, RD), 0);
		cache_put(ctx, gfn);
	}
	KUNIT_EXPECT_EQ(test, ctx->pinned, 100);
	KUNIT_ASSERT_EQ(test, cache_get(ctx, 100, RD), 0);
	cache_put(ctx, 100);
	KUNIT_EXPECT_EQ(test, ctx->unit.pins.idle, 75);
	KUNIT_EXPECT_EQ(test, ctx->pinned, 75);

	/*
	 * Two of the idle pins are used again: the next trim keeps these, and a few of
	 * the same generation.
	 */
	for (gfn = 98; gfn < 100; gfn++) {
		KUNIT_ASSERT_EQ(test, ctx->pins[gfn], 1);
		KUNIT_ASSERT_EQ(test, cache_get(ctx, gfn, RD), 0);
		cache_put(ctx, gfn);
	}
	cache_trim(ctx, 8);
	KUNIT_EXPECT_EQ(test, ctx->pinned, 8);
	KUNIT_EXPECT_EQ(test, ctx->pins[98], 1);
	KUNIT_EXPECT_EQ(test, ctx->pins[99], 1);
}

/* Idle pins that are released one by one go in the order of their last use. */
static void pin_lru_test(struct kunit *test)
{
	static const unsigned int order[] = { 70, 3, 200, 71, 64, 1, 450, 2 };
	struct ctx *ctx = test->priv;
	unsigned int i, n = ARRAY_SIZE(order);

	/* With this limit each idle pin is a generation of its own. */
	ctx->unit.policy.max_idle_pins = 15;
	for (i = 0; i < n; i++) {
		KUNIT_ASSERT_EQ(test, cache_get(ctx, order[i], RD), 0);
		cache_put(ctx, order[i]);
	}
	/* The first three are used again, in reverse order. */
	for (i = 3; i--;) {
		KUNIT_ASSERT_EQ(test, cache_get(ctx, order[i], RD), 0);
		cache_put(ctx, order[i]);
	}
	for (i = 3; i < n; i++) {
		KUNIT_EXPECT_EQ(test, ctx->pins[order[i]], 1);
		cache_trim(ctx, ctx->unit.pins.idle - 1);
		KUNIT_EXPECT_EQ(test, ctx->pins[order[i]], 0);
	}
	for (i = 3; i--;) {
		KUNIT_EXPECT_EQ(test, ctx->pins[order[i]], 1);
		cache_trim(ctx, i);
		KUNIT_EXPECT_EQ(test, ctx->pins[order[i]], 0);
	}
}

/* One frame that is used over and over does not make others look older. */
static void pin_generations_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	unsigned int i;

	ctx->unit.policy.max_idle_pins = 64;
	/* The number of the generation may wrap around. */
	ctx->unit.pins.gen = U16_MAX;
	for (i = 0; i < 1000; i++) {
		KUNIT_ASSERT_EQ(test, cache_get(ctx, 7, RD), 0);
		cache_put(ctx, 7);
	}
	KUNIT_EXPECT_EQ(test, ctx->unit.pins.gen, U16_MAX);
	KUNIT_EXPECT_EQ(test, ctx->unit.pins.newest, 1);
	for (i = 100; i < 110; i++) {
		KUNIT_ASSERT_EQ(test, cache_get(ctx, i, RD), 0);
		cache_put(ctx, i);
	}
	KUNIT_EXPECT_EQ(test, ctx->unit.pins.gen, 1);
	/* Pins of the oldest generation are released by address. */
	cache_trim(ctx, 10);
	KUNIT_EXPECT_EQ(test, ctx->pins[7], 0);
	cache_trim(ctx, 2);
	KUNIT_EXPECT_EQ(test, ctx->pins[108], 1);
	KUNIT_EXPECT_EQ(test, ctx->pins[109], 1);
}

/* A quarter of the greatest age passes. Return: the number of idle pins. */
static unsigned int cache_tick(struct ctx *ctx)
{
	guard(mutex)(&ctx->unit.map_lock);
	ctx->unit.pins.tick_at = jiffies;
	kviommu_pin_tidy(&ctx->unit);
	return ctx->unit.pins.idle;
}

static void pin_age_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	unsigned int i;

	/* Without an age there are no ticks. */
	KUNIT_ASSERT_EQ(test, cache_get(ctx, 1, RD), 0);
	cache_put(ctx, 1);
	KUNIT_EXPECT_EQ(test, ctx->wakes, 0);
	for (i = 0; i < 20; i++)
		KUNIT_EXPECT_EQ(test, cache_tick(ctx), 1);
	KUNIT_EXPECT_EQ(test, ctx->wakes, 0);

	ctx->unit.policy.idle_pin_ms = 1000000;
	KUNIT_EXPECT_EQ(test, cache_tick(ctx), 1);
	KUNIT_EXPECT_TRUE(test, ctx->unit.pins.ticking);
	KUNIT_EXPECT_EQ(test, ctx->wakes, 1);
	KUNIT_EXPECT_TRUE(test, time_after(ctx->unit.pins.tick_at, jiffies));
	/* Before the time of the tick the worker is only woken again. */
	scoped_guard(mutex, &ctx->unit.map_lock)
		kviommu_pin_tidy(&ctx->unit);
	KUNIT_EXPECT_EQ(test, ctx->unit.pins.tick, 0);
	KUNIT_EXPECT_EQ(test, ctx->wakes, 2);

	/* Released four whole quarters after the one in which it became idle */
	cache_tick(ctx);
	cache_tick(ctx);
	KUNIT_ASSERT_EQ(test, cache_get(ctx, 2, RD), 0);
	cache_put(ctx, 2);
	KUNIT_EXPECT_EQ(test, cache_tick(ctx), 2);
	KUNIT_EXPECT_EQ(test, cache_tick(ctx), 2);
	KUNIT_EXPECT_EQ(test, cache_tick(ctx), 1);
	KUNIT_EXPECT_EQ(test, ctx->pins[1], 0);
	/* A pin that is used meanwhile starts over. */
	KUNIT_ASSERT_EQ(test, cache_get(ctx, 2, RD), 0);
	cache_put(ctx, 2);
	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_EQ(test, cache_tick(ctx), 1);
	KUNIT_EXPECT_EQ(test, ctx->unit.stats.reclaims, 1);
	KUNIT_EXPECT_EQ(test, cache_tick(ctx), 0);
	KUNIT_EXPECT_EQ(test, ctx->unit.stats.reclaims, 2);
	/* Without idle pins there are no ticks. */
	KUNIT_EXPECT_FALSE(test, ctx->unit.pins.ticking);
	ctx->wakes = 0;
	KUNIT_EXPECT_EQ(test, cache_tick(ctx), 0);
	KUNIT_EXPECT_EQ(test, ctx->wakes, 0);
	/* They start again with the next idle pin. */
	KUNIT_ASSERT_EQ(test, cache_get(ctx, 3, RD), 0);
	cache_put(ctx, 3);
	KUNIT_EXPECT_EQ(test, ctx->wakes, 1);
	KUNIT_EXPECT_TRUE(test, ctx->unit.pins.ticking);
}

/* The shrinker takes no lock: it only records how many pins the host wants back. */
static void pin_shrinker_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	struct shrinker s = { .private_data = &ctx->unit };
	struct shrink_control sc = { .nr_to_scan = 8 };
	unsigned int gfn;

	KUNIT_EXPECT_EQ(test, pin_shrinker_count(&s, &sc), SHRINK_EMPTY);
	KUNIT_EXPECT_EQ(test, pin_shrinker_scan(&s, &sc), SHRINK_STOP);
	for (gfn = 0; gfn < 20; gfn++) {
		KUNIT_ASSERT_EQ(test, cache_get(ctx, gfn, RD), 0);
		if (gfn)
			cache_put(ctx, gfn);
	}
	KUNIT_EXPECT_EQ(test, pin_shrinker_count(&s, &sc), 19);
	KUNIT_EXPECT_EQ(test, pin_shrinker_scan(&s, &sc), 8);
	KUNIT_EXPECT_EQ(test, ctx->wakes, 1);
	KUNIT_EXPECT_EQ(test, ctx->pinned, 20);
	KUNIT_EXPECT_EQ(test, pin_shrinker_count(&s, &sc), 11);
	cache_tick(ctx);
	KUNIT_EXPECT_EQ(test, ctx->pinned, 12);
	KUNIT_EXPECT_EQ(test, pin_shrinker_count(&s, &sc), 11);
	/* The host wants more than there are. */
	KUNIT_EXPECT_EQ(test, pin_shrinker_scan(&s, &sc), 8);
	KUNIT_EXPECT_EQ(test, pin_shrinker_scan(&s, &sc), 3);
	KUNIT_EXPECT_EQ(test, pin_shrinker_count(&s, &sc), SHRINK_EMPTY);
	KUNIT_EXPECT_EQ(test, pin_shrinker_scan(&s, &sc), SHRINK_STOP);
	/* A pin that is used again meanwhile is kept. */
	KUNIT_ASSERT_EQ(test, cache_get(ctx, 19, RD), 0);
	cache_tick(ctx);
	KUNIT_EXPECT_EQ(test, ctx->pinned, 2);
	KUNIT_EXPECT_EQ(test, ctx->unit.stats.reclaims, 18);
	KUNIT_EXPECT_EQ(test, ctx->wakes, 3);
}

/* A release in several steps looks at each frame once. */
static void pin_release_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	struct kviommu_range range = { 60, U64_MAX >> PAGE_SHIFT };
	unsigned int gfn, steps = 0;
	u64 in_use = 0;
	int ret;

	for (gfn = 50; gfn < 450; gfn++) {
		KUNIT_ASSERT_EQ(test, cache_get(ctx, gfn, RD), 0);
		if (gfn % 4)
			cache_put(ctx, gfn);
	}
	do {
		ctx->resched_left = 3;
		scoped_guard(mutex, &ctx->unit.map_lock)
			ret = kviommu_pin_release(&ctx->unit, &may_wait, &range, &in_use);
		steps++;
	} while (ret == -EAGAIN);
	KUNIT_EXPECT_EQ(test, ret, 0);
	/* 8 chunks, 3 in each step */
	KUNIT_EXPECT_EQ(test, steps, 3);
	KUNIT_EXPECT_EQ(test, in_use, 98);
	for (gfn = 50; gfn < 450; gfn++)
		KUNIT_EXPECT_EQ_MSG(test, ctx->pins[gfn], gfn < 60 || !(gfn % 4),
				    "frame %u", gfn);
	KUNIT_EXPECT_EQ(test, ctx->unit.stats.reclaims, 292);
}

/* At a limit idle pins are released to make room, never those in use. */
static void pin_limit_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	unsigned int gfn;

	ctx->unit.policy.max_pins = 10;
	for (gfn = 0; gfn < 10; gfn++)
		KUNIT_ASSERT_EQ(test, cache_get(ctx, gfn, RD), 0);
	KUNIT_EXPECT_EQ(test, cache_get(ctx, 10, RD), -EDQUOT);
	KUNIT_EXPECT_EQ(test, ctx->pinned, 10);
	cache_put(ctx, 7);
	KUNIT_EXPECT_EQ(test, cache_get(ctx, 10, RD), 0);
	KUNIT_EXPECT_EQ(test, ctx->pinned, 10);
	KUNIT_EXPECT_EQ(test, ctx->pins[7], 0);
	/* A frame that is pinned already needs no room. */
	KUNIT_EXPECT_EQ(test, cache_get(ctx, 10, RD), 0);
}

static void pin_locked_memory_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	ctx->limit = 2;
	KUNIT_ASSERT_EQ(test, cache_get(ctx, 0, RD), 0);
	KUNIT_ASSERT_EQ(test, cache_get(ctx, 1, RD), 0);
	KUNIT_EXPECT_EQ(test, cache_get(ctx, 2, RD), -ENOMEM);
	cache_put(ctx, 0);
	KUNIT_EXPECT_EQ(test, cache_get(ctx, 2, RD), 0);
	KUNIT_EXPECT_EQ(test, ctx->pins[0], 0);
	KUNIT_EXPECT_EQ(test, ctx->pins[1], 1);
}

static void pin_uses_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	struct chunk *chunk;

	KUNIT_ASSERT_EQ(test, cache_get(ctx, 0, RD), 0);
	chunk = xa_load(&ctx->unit.pins.chunks, 0);
	KUNIT_ASSERT_NOT_NULL(test, chunk);
	chunk->pins[0].uses = (1 << 20) - 2;
	KUNIT_EXPECT_EQ(test, cache_get(ctx, 0, RD), 0);
	KUNIT_EXPECT_EQ(test, cache_get(ctx, 0, RD), -EOVERFLOW);
	KUNIT_EXPECT_EQ(test, ctx->pins[0], 1);
	chunk->pins[0].uses = 1;
}

/* Idle pins are revoked at once, those in use after their users have put them. */
static void pin_revoke_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	unsigned int gfn;

	for (gfn = 60; gfn < 140; gfn++) {
		KUNIT_ASSERT_EQ(test, cache_get(ctx, gfn, RD), 0);
		if (gfn != 99)
			cache_put(ctx, gfn);
	}
	KUNIT_EXPECT_FALSE(test, cache_revoke(ctx, 200, 400));
	KUNIT_EXPECT_EQ(test, ctx->pinned, 80);
	KUNIT_EXPECT_TRUE(test, cache_revoke(ctx, 70, 130));
	for (gfn = 60; gfn < 140; gfn++)
		KUNIT_EXPECT_EQ_MSG(test, ctx->pins[gfn],
				    gfn < 70 || gfn > 130 || gfn == 99,
				    "frame %u", gfn);
	cache_put(ctx, 99);
	KUNIT_EXPECT_FALSE(test, cache_revoke(ctx, 99, 99));
	KUNIT_EXPECT_EQ(test, ctx->pins[99], 0);
	KUNIT_EXPECT_EQ(test, ctx->unit.pins.idle, 19);
}

static void guest_memory_test(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	u8 *memory = page_address(ctx->pages);
	u32 status = 0xc0ffee;
	char buf[16];

	guard(mutex)(&ctx->unit.map_lock);

	/* Across the end of a page */
	KUNIT_EXPECT_EQ(test, 0, kviommu_guest_write(&ctx->unit, &may_wait, PAGE_SIZE - 5,
						     "hello, world", 12));
	KUNIT_EXPECT_MEMEQ(test, memory + PAGE_SIZE - 5, "hello, world", 12);
	KUNIT_EXPECT_EQ(test, 0, kviommu_guest_read(&ctx->unit, &may_wait, PAGE_SIZE - 5,
						    buf, 12));
	KUNIT_EXPECT_MEMEQ(test, buf, "hello, world", 12);
	KUNIT_EXPECT_EQ(test, 0, kviommu_guest_write(&ctx->unit, &may_wait, 64, &status, 4));
	KUNIT_EXPECT_MEMEQ(test, memory + 64, &status, 4);
	KUNIT_EXPECT_EQ(test, ctx->unit.pins.idle, 2);

	KUNIT_EXPECT_EQ(test, ctx->errors, 0);
	KUNIT_EXPECT_EQ(test, -EPERM,
			kviommu_guest_write(&ctx->unit, &may_wait, READ_ONLY * PAGE_SIZE,
					    &status, 4));
	KUNIT_EXPECT_EQ(test, -ENOENT,
			kviommu_guest_read(&ctx->unit, &may_wait, NO_MEMORY * PAGE_SIZE,
					   buf, 4));
	KUNIT_EXPECT_EQ(test, ctx->errors, 2);

	/* The limit of pins does not apply to the unit's own access. */
	ctx->unit.policy.max_pins = 0;
	KUNIT_EXPECT_EQ(test, 0, kviommu_guest_read(&ctx->unit, &may_wait, 9 * PAGE_SIZE,
						    buf, 4));
	KUNIT_EXPECT_EQ(test, ctx->uncached, 1);
	KUNIT_EXPECT_EQ(test, ctx->errors, 2);
}

static struct kunit_case pin_cases[] = {
	KUNIT_CASE(pin_once_test),
	KUNIT_CASE(pin_rights_test),
	KUNIT_CASE(pin_idle_test),
	KUNIT_CASE(pin_lru_test),
	KUNIT_CASE(pin_generations_test),
	KUNIT_CASE(pin_age_test),
	KUNIT_CASE(pin_shrinker_test),
	KUNIT_CASE(pin_release_test),
	KUNIT_CASE(pin_limit_test),
	KUNIT_CASE(pin_locked_memory_test),
	KUNIT_CASE(pin_uses_test),
	KUNIT_CASE(pin_revoke_test),
	KUNIT_CASE(guest_memory_test),
	{}
};

static struct kunit_suite pin_suite = {
	.name = "kviommu_pin",
	.init = pin_kunit_init,
	.exit = pin_kunit_exit,
	.test_cases = pin_cases,
};

kunit_test_suite(pin_suite);

MODULE_DESCRIPTION("KUnit tests of kviommu's pin cache");
MODULE_LICENSE("GPL");
