// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tracking table, and requests to a host that the test itself plays.
 */
#include <kunit/test.h>
#include <linux/cleanup.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "coiommu.h"

DEFINE_PER_CPU(struct coiommu_stats, coiommu_stats);

/* The register that is read back after a command, and what has been written there */
static void __iomem *command_register;
static u64 last_command;
static bool takes_commands;
/* Called before a command is done, if it is set */
static void (*before_command)(void);

static u64 host_readq(const void __iomem *addr)
{
	if (addr == command_register) {
		last_command = readq(addr);
		if (takes_commands) {
			if (before_command)
				before_command();
			writeq(0, command_register);
		}
	}
	return readq(addr);
}

#undef readq
#define readq host_readq
#include "request.c"
#include "table.c"

#define LEAF		(CO_LEAF_MASK + 1)
#define BDF		0x0510
/* Frames that there is RAM for: two last-level tables, and one far behind */
#define RAM_FIRST	(3 * LEAF)
#define RAM_LAST	(5 * LEAF - 1)
#define FAR		(1000 * LEAF)
#define SEEN_MAX	2048

/**
 * struct ctx - The driver's state without a device, and the host
 * @co: The driver's state; only members that table.c and request.c use are set up
 * @host: Thread that serves requests
 * @refuse: The first frame number that the host does not pin
 * @slots: Values of slots that it has found, as many as @requests
 * @requests: Number of requests
 * @seen: Frame numbers that it was asked for
 * @nr_seen: Number of them
 * @bad: Number of requests that make no sense
 */
struct ctx {
	struct coiommu co;
	struct task_struct *host;
	unsigned long refuse;
	u64 slots[16];
	unsigned int requests;
	u64 seen[SEEN_MAX];
	unsigned int nr_seen;
	unsigned int bad;
};

/* Walk as a host does. Return: the word of a frame, or NULL. */
static atomic_t *host_walk(const struct coiommu_table *t, u64 gfn)
{
	const u64 *table = t->root;
	unsigned int level;
	u64 entry;

	for (level = t->levels; level >= 2; level--) {
		entry = table[gfn >> (10 + 9 * (level - 2)) & 0x1ff];
		if (!(entry & 1))
			return NULL;
		table = phys_to_virt(entry & ~0xfffULL);
	}
	return (atomic_t *)table + (gfn & 0x3ff);
}

static void host_pin(struct ctx *ctx, u64 gfn)
{
	atomic_t *word = host_walk(&ctx->co.table, gfn);

	if (ctx->nr_seen < SEEN_MAX)
		ctx->seen[ctx->nr_seen++] = gfn;
	if (!word || !(atomic_read(word) & CO_COUNT))
		ctx->bad++;
	else if (gfn < ctx->refuse)
		atomic_or(CO_PINNED, word);
}

static void host_serve(struct ctx *ctx, unsigned int cpu)
{
	u64 *slot = (u64 __force *)ctx->co.slots + cpu, value = READ_ONCE(*slot), i;
	const struct coiommu_batch *batch;

	if (ctx->requests < ARRAY_SIZE(ctx->slots))
		ctx->slots[ctx->requests] = value;
	ctx->requests++;
	if (value >> 63) {
		batch = phys_to_virt(value & ~BIT_ULL(63));
		if (batch->bdf != BDF || batch->nr < 2 || batch->nr > 510)
			ctx->bad++;
		for (i = 0; i < batch->nr; i++)
			host_pin(ctx, batch->pfn[i]);
	} else {
		if ((value & 0xffff) != BDF)
			ctx->bad++;
		host_pin(ctx, value >> 16);
	}
	/* What the host has pinned is seen before. */
	smp_store_release(slot, 0);
}

static int host_run(void *data)
{
	struct ctx *ctx = data;
	u8 *triggers = (u8 __force *)ctx->co.regs + CO_TRIGGER;
	unsigned int cpu;

	while (!kthread_should_stop()) {
		for (cpu = 0; cpu < nr_cpu_ids; cpu++) {
			if (!READ_ONCE(triggers[cpu]))
				continue;
			WRITE_ONCE(triggers[cpu], 0);
			host_serve(ctx, cpu);
		}
		cond_resched();
	}
	return 0;
}

/* Ask on CPU 0, for the host has the other one. */
static int coiommu_test_init(struct kunit *test)
{
	struct ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	struct coiommu *co;
	unsigned int cpu;

	KUNIT_ASSERT_NOT_NULL(test, ctx);
	KUNIT_ASSERT_GT(test, num_online_cpus(), 1);
	test->priv = ctx;
	ctx->refuse = ULONG_MAX;
	co = &ctx->co;
	mutex_init(&co->lock);
	co->tracking = true;
	co->regs = (void __force __iomem *)kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	co->slots = (void __force __iomem *)kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	co->batches = kunit_kcalloc(test, nr_cpu_ids, sizeof(*co->batches), GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, co->regs && co->slots && co->batches);
	for (cpu = 0; cpu < nr_cpu_ids; cpu++) {
		co->batches[cpu] = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, co->batches[cpu]);
	}
	command_register = co->regs + CO_COMMAND;
	takes_commands = true;
	before_command = NULL;
	KUNIT_ASSERT_EQ(test, coiommu_table_init(&co->table, 4), 0);
	KUNIT_ASSERT_EQ(test, coiommu_table_add(&co->table, RAM_FIRST, RAM_LAST), 0);
	set_cpus_allowed_ptr(current, cpumask_of(0));
	ctx->host = kthread_create(host_run, ctx, "coiommu-test");
	KUNIT_ASSERT_FALSE(test, IS_ERR(ctx->host));
	kthread_bind(ctx->host, 1);
	wake_up_process(ctx->host);
	return 0;
}

static void coiommu_test_exit(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	if (!IS_ERR_OR_NULL(ctx->host))
		kthread_stop(ctx->host);
	KUNIT_EXPECT_EQ(test, ctx->bad, 0);
	coiommu_table_free(&ctx->co.table);
}

static u32 word_of(struct ctx *ctx, unsigned long pfn)
{
	return atomic_read(host_walk(&ctx->co.table, pfn));
}

static void set_word(struct ctx *ctx, unsigned long pfn, u32 value)
{
	atomic_set(host_walk(&ctx->co.table, pfn), value);
}

/* The driver finds what the host finds, at all depths. */
static void table_depths(struct kunit *test)
{
	static const unsigned long frames[] = { 0, 1, 1023, 1024, 0x7ffff, 0x80000, 0xfffffff };
	unsigned int levels, i;

	for (levels = 2; levels <= 5; levels++) {
		unsigned long end = BIT(CO_LEAF_BITS + TABLE_BITS * (levels - 1));
		struct coiommu_table t;

		KUNIT_ASSERT_EQ(test, coiommu_table_init(&t, levels), 0);
		for (i = 0; i < ARRAY_SIZE(frames) && frames[i] < end; i++) {
			atomic_t *leaf;

			KUNIT_EXPECT_EQ(test, coiommu_table_add(&t, frames[i], frames[i]), 0);
			leaf = coiommu_leaf(&t, frames[i]);
			KUNIT_ASSERT_NOT_NULL(test, leaf);
			KUNIT_EXPECT_PTR_EQ(test, host_walk(&t, frames[i]),
					    leaf + frames[i] % LEAF);
		}
		KUNIT_EXPECT_EQ(test, coiommu_table_add(&t, end - 1, end), -ERANGE);
		coiommu_table_free(&t);
	}
}

static void table_holes(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	struct coiommu_table *t = &ctx->co.table;

	KUNIT_EXPECT_NULL(test, coiommu_leaf(t, RAM_FIRST - 1));
	KUNIT_EXPECT_NULL(test, host_walk(t, RAM_FIRST - 1));
	KUNIT_EXPECT_NOT_NULL(test, coiommu_leaf(t, RAM_LAST));
	KUNIT_EXPECT_NULL(test, coiommu_leaf(t, RAM_LAST + 1));
	KUNIT_EXPECT_NULL(test, coiommu_leaf(t, ULONG_MAX));
}

/* Memory that is added beyond the end: the rest stays as it is. */
static void table_grows(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	struct coiommu_table *t = &ctx->co.table;
	struct coiommu_sum sum;

	coiommu_mark(t, RAM_FIRST, RAM_FIRST);
	KUNIT_EXPECT_EQ(test, coiommu_table_add(t, FAR, FAR), 0);
	KUNIT_EXPECT_NOT_NULL(test, coiommu_leaf(t, RAM_FIRST));
	KUNIT_EXPECT_EQ(test, coiommu_table_add(t, RAM_FIRST, RAM_LAST), 0);
	KUNIT_EXPECT_EQ(test, word_of(ctx, RAM_FIRST), CO_ACCESSED | 1);
	KUNIT_EXPECT_EQ(test, coiommu_mark(t, FAR, FAR), CO_MISS);
	KUNIT_EXPECT_EQ(test, word_of(ctx, FAR), CO_ACCESSED | 1);
	KUNIT_EXPECT_NULL(test, coiommu_leaf(t, FAR - 1));
	coiommu_table_sum(t, &sum);
	KUNIT_EXPECT_EQ(test, sum.frames, 3 * LEAF);
	KUNIT_EXPECT_EQ(test, sum.mapped, 2);
}

static void mark_counts(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	struct coiommu_table *t = &ctx->co.table;
	struct coiommu_sum sum;

	KUNIT_EXPECT_EQ(test, coiommu_mark(t, RAM_FIRST, RAM_FIRST), CO_MISS);
	KUNIT_EXPECT_EQ(test, word_of(ctx, RAM_FIRST), CO_ACCESSED | 1);
	set_word(ctx, RAM_FIRST, CO_PINNED | 1);
	KUNIT_EXPECT_EQ(test, coiommu_mark(t, RAM_FIRST, RAM_FIRST), 0);
	KUNIT_EXPECT_EQ(test, coiommu_mark(t, RAM_FIRST, RAM_FIRST), 0);
	KUNIT_EXPECT_EQ(test, word_of(ctx, RAM_FIRST), CO_PINNED | CO_ACCESSED | 3);
	coiommu_table_sum(t, &sum);
	KUNIT_EXPECT_EQ(test, sum.mapped, 1);
	KUNIT_EXPECT_EQ(test, sum.mappings, 3);
	KUNIT_EXPECT_EQ(test, sum.pinned, 1);
	KUNIT_EXPECT_TRUE(test, coiommu_unmark(t, RAM_FIRST, RAM_FIRST));
	KUNIT_EXPECT_TRUE(test, coiommu_unmark(t, RAM_FIRST, RAM_FIRST));
	KUNIT_EXPECT_TRUE(test, coiommu_unmark(t, RAM_FIRST, RAM_FIRST));
	KUNIT_EXPECT_EQ(test, word_of(ctx, RAM_FIRST), CO_PINNED | CO_ACCESSED);
}

/* Across last-level tables, with one frame that is not pinned */
static void mark_range(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	struct coiommu_table *t = &ctx->co.table;
	unsigned long first = RAM_FIRST + LEAF - 3, last = RAM_FIRST + LEAF + 3, pfn;

	for (pfn = first; pfn <= last; pfn++)
		set_word(ctx, pfn, CO_PINNED);
	KUNIT_EXPECT_EQ(test, coiommu_mark(t, first, last), 0);
	set_word(ctx, last - 1, CO_ACCESSED | 1);
	KUNIT_EXPECT_EQ(test, coiommu_mark(t, first, last), CO_MISS);
	for (pfn = first; pfn <= last; pfn++)
		KUNIT_EXPECT_EQ(test, word_of(ctx, pfn) & CO_COUNT, 2);
	KUNIT_EXPECT_EQ(test, word_of(ctx, first - 1), 0);
	KUNIT_EXPECT_EQ(test, word_of(ctx, last + 1), 0);
	KUNIT_EXPECT_TRUE(test, coiommu_unmark(t, first, last));
	KUNIT_EXPECT_TRUE(test, coiommu_unmark(t, first, last));
	for (pfn = first; pfn <= last; pfn++)
		KUNIT_EXPECT_EQ(test, word_of(ctx, pfn) & CO_COUNT, 0);
}

/* What was marked of a mapping that cannot be is unmarked, and nothing else. */
static void mark_undone(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	struct coiommu_table *t = &ctx->co.table;
	unsigned long pfn;

	set_word(ctx, RAM_LAST - 1, CO_PINNED | CO_ACCESSED | 7);
	KUNIT_EXPECT_EQ(test, coiommu_mark(t, RAM_LAST - 1, RAM_LAST + 1), -EFAULT);
	KUNIT_EXPECT_EQ(test, word_of(ctx, RAM_LAST - 1), CO_PINNED | CO_ACCESSED | 7);
	KUNIT_EXPECT_EQ(test, word_of(ctx, RAM_LAST), CO_ACCESSED);
	KUNIT_EXPECT_EQ(test, coiommu_mark(t, RAM_FIRST - 1, RAM_FIRST), -EFAULT);
	KUNIT_EXPECT_EQ(test, word_of(ctx, RAM_FIRST), 0);
	KUNIT_EXPECT_EQ(test, coiommu_mark(t, FAR, FAR), -EFAULT);

	pfn = RAM_FIRST + 2;
	set_word(ctx, pfn, CO_PINNED | CO_ACCESSED | CO_COUNT_MAX);
	KUNIT_EXPECT_EQ(test, coiommu_mark(t, pfn, pfn), -EAGAIN);
	KUNIT_EXPECT_EQ(test, coiommu_mark(t, pfn - 1, pfn + 1), -EAGAIN);
	KUNIT_EXPECT_EQ(test, word_of(ctx, pfn - 1) & CO_COUNT, 0);
	KUNIT_EXPECT_EQ(test, word_of(ctx, pfn), CO_PINNED | CO_ACCESSED | CO_COUNT_MAX);
	KUNIT_EXPECT_EQ(test, word_of(ctx, pfn + 1), 0);
	KUNIT_EXPECT_TRUE(test, coiommu_unmark(t, pfn, pfn));
	KUNIT_EXPECT_EQ(test, coiommu_mark(t, pfn, pfn), 0);
}

/* A driver that unmaps what is not mapped does not harm the flags. */
static void unmark_underflow(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	struct coiommu_table *t = &ctx->co.table;

	set_word(ctx, RAM_FIRST, CO_PINNED);
	set_word(ctx, RAM_FIRST + 1, CO_PINNED | 1);
	KUNIT_EXPECT_FALSE(test, coiommu_unmark(t, RAM_FIRST, RAM_FIRST));
	KUNIT_EXPECT_FALSE(test, coiommu_unmark(t, RAM_FIRST, RAM_FIRST + 1));
	KUNIT_EXPECT_FALSE(test, coiommu_unmark(t, RAM_LAST + 1, RAM_LAST + 1));
	KUNIT_EXPECT_EQ(test, word_of(ctx, RAM_FIRST), CO_PINNED);
	KUNIT_EXPECT_EQ(test, word_of(ctx, RAM_FIRST + 1), CO_PINNED);
}

static bool map_range(struct ctx *ctx, unsigned long first, unsigned long last)
{
	return coiommu_mark(&ctx->co.table, first, last) == CO_MISS &&
		coiommu_ask(&ctx->co, BDF, first, last);
}

static void ask_one(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	KUNIT_EXPECT_TRUE(test, map_range(ctx, RAM_LAST, RAM_LAST));
	KUNIT_EXPECT_EQ(test, ctx->requests, 1);
	KUNIT_EXPECT_EQ(test, ctx->slots[0], (u64)RAM_LAST << 16 | BDF);
	KUNIT_EXPECT_EQ(test, coiommu_mark(&ctx->co.table, RAM_LAST, RAM_LAST), 0);
}

/* One request for all that is not pinned; for a single such frame the short form */
static void ask_several(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	set_word(ctx, RAM_FIRST + 1, CO_PINNED);
	KUNIT_EXPECT_TRUE(test, map_range(ctx, RAM_FIRST, RAM_FIRST + 3));
	KUNIT_EXPECT_EQ(test, ctx->requests, 1);
	KUNIT_EXPECT_EQ(test, ctx->slots[0], BIT_ULL(63) | virt_to_phys(ctx->co.batches[0]));
	KUNIT_ASSERT_EQ(test, ctx->nr_seen, 3);
	KUNIT_EXPECT_EQ(test, ctx->seen[0], RAM_FIRST);
	KUNIT_EXPECT_EQ(test, ctx->seen[1], RAM_FIRST + 2);
	KUNIT_EXPECT_EQ(test, ctx->seen[2], RAM_FIRST + 3);
	KUNIT_EXPECT_TRUE(test, map_range(ctx, RAM_FIRST, RAM_FIRST + 4));
	KUNIT_EXPECT_EQ(test, ctx->requests, 2);
	KUNIT_EXPECT_EQ(test, ctx->slots[1], (u64)(RAM_FIRST + 4) << 16 | BDF);
}

/* More than a batch has room for */
static void ask_many(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	unsigned int i;

	KUNIT_EXPECT_TRUE(test, map_range(ctx, RAM_FIRST, RAM_LAST));
	KUNIT_EXPECT_EQ(test, ctx->requests, DIV_ROUND_UP(2 * LEAF, 510));
	KUNIT_ASSERT_EQ(test, ctx->nr_seen, 2 * LEAF);
	for (i = 0; i < ctx->nr_seen; i++)
		KUNIT_EXPECT_EQ(test, ctx->seen[i], RAM_FIRST + i);
}

static void ask_refused(struct kunit *test)
{
	struct ctx *ctx = test->priv;

	ctx->refuse = RAM_FIRST + 1;
	KUNIT_EXPECT_FALSE(test, map_range(ctx, RAM_FIRST, RAM_FIRST + 1));
	KUNIT_EXPECT_FALSE(test, map_range(ctx, RAM_LAST, RAM_LAST));
	KUNIT_EXPECT_EQ(test, word_of(ctx, RAM_FIRST), CO_PINNED | CO_ACCESSED | 1);
	KUNIT_EXPECT_EQ(test, word_of(ctx, RAM_LAST), CO_ACCESSED | 1);
}

/* After a timeout, what the host may still read is left alone, and nothing is asked. */
static void ask_while_busy(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	u64 *slot = (u64 __force *)ctx->co.slots;

	*slot = 1;
	ctx->co.batches[0]->nr = 77;
	KUNIT_EXPECT_FALSE(test, map_range(ctx, RAM_FIRST, RAM_FIRST + 1));
	KUNIT_EXPECT_EQ(test, *slot, 1);
	KUNIT_EXPECT_EQ(test, ctx->co.batches[0]->nr, 77);
	KUNIT_EXPECT_EQ(test, ctx->requests, 0);
}

static bool deactivate(struct ctx *ctx, bool gone)
{
	guard(mutex)(&ctx->co.lock);
	return coiommu_deactivate(&ctx->co, gone);
}

static int activate(struct ctx *ctx)
{
	guard(mutex)(&ctx->co.lock);
	return coiommu_activate(&ctx->co);
}

static void commands(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	u64 *regs = (u64 __force *)ctx->co.regs;

	takes_commands = false;
	KUNIT_EXPECT_EQ(test, activate(ctx), -EIO);
	takes_commands = true;
	KUNIT_EXPECT_EQ(test, activate(ctx), 0);
	KUNIT_EXPECT_EQ(test, regs[0], virt_to_phys(ctx->co.table.root));
	KUNIT_EXPECT_EQ(test, regs[2], 4);
	KUNIT_EXPECT_EQ(test, last_command, 1);
	KUNIT_EXPECT_TRUE(test, deactivate(ctx, false));
	KUNIT_EXPECT_EQ(test, last_command, 0);
	/* Nobody is asked any more, and all can be mapped. */
	KUNIT_EXPECT_TRUE(test, map_range(ctx, RAM_FIRST, RAM_LAST));
	KUNIT_EXPECT_EQ(test, ctx->requests, 0);
	last_command = 77;
	KUNIT_EXPECT_TRUE(test, deactivate(ctx, false));
	KUNIT_EXPECT_EQ(test, last_command, 77);
}

/* The end of tracking that the host does not see is none, unless the registers go away. */
static void end_unseen(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	u64 *regs = (u64 __force *)ctx->co.regs;

	/* The registers are as other memory. */
	KUNIT_EXPECT_EQ(test, activate(ctx), 0);
	takes_commands = false;
	KUNIT_EXPECT_FALSE(test, deactivate(ctx, false));
	/* There is nothing at all. */
	takes_commands = true;
	regs[0] = 0;
	KUNIT_EXPECT_FALSE(test, deactivate(ctx, false));
	KUNIT_EXPECT_TRUE(test, map_range(ctx, RAM_LAST, RAM_LAST));
	KUNIT_EXPECT_EQ(test, ctx->requests, 1);
	KUNIT_EXPECT_FALSE(test, deactivate(ctx, true));
	KUNIT_EXPECT_TRUE(test, map_range(ctx, RAM_FIRST, RAM_FIRST));
	KUNIT_EXPECT_EQ(test, ctx->requests, 1);
}

/* What a mapping on another processor finds while tracking is being ended */
static struct {
	struct ctx *ctx;
	bool begun;
	bool looks;
	bool has_looked;
	bool reached;
} other;

static int map_meanwhile(void *unused)
{
	while (!READ_ONCE(other.begun) && !kthread_should_stop())
		cond_resched();
	WRITE_ONCE(other.looks, true);
	/* The host has not pinned it. */
	other.reached = coiommu_asked(&other.ctx->co, RAM_FIRST, RAM_FIRST);
	WRITE_ONCE(other.has_looked, true);
	return 0;
}

/* Give the mapping time to go wrong. */
static void end_slowly(void)
{
	unsigned int i;

	if (last_command != CO_DEACTIVATE)
		return;
	WRITE_ONCE(other.begun, true);
	while (!READ_ONCE(other.looks))
		cpu_relax();
	for (i = 0; i < 100000 && !READ_ONCE(other.has_looked); i++)
		cpu_relax();
}

static void map_while_ending(struct kunit *test)
{
	struct ctx *ctx = test->priv;
	struct task_struct *task;

	memset(&other, 0, sizeof(other));
	other.ctx = ctx;
	KUNIT_EXPECT_EQ(test, activate(ctx), 0);
	KUNIT_EXPECT_EQ(test, coiommu_mark(&ctx->co.table, RAM_FIRST, RAM_FIRST), CO_MISS);
	task = kthread_create(map_meanwhile, NULL, "coiommu-test-map");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	kthread_bind(task, 1);
	get_task_struct(task);
	wake_up_process(task);
	before_command = end_slowly;
	KUNIT_EXPECT_TRUE(test, deactivate(ctx, false));
	kthread_stop_put(task);
	KUNIT_EXPECT_TRUE(test, other.reached);
}

static struct kunit_case coiommu_cases[] = {
	KUNIT_CASE(table_depths),
	KUNIT_CASE(table_holes),
	KUNIT_CASE(table_grows),
	KUNIT_CASE(mark_counts),
	KUNIT_CASE(mark_range),
	KUNIT_CASE(mark_undone),
	KUNIT_CASE(unmark_underflow),
	KUNIT_CASE(ask_one),
	KUNIT_CASE(ask_several),
	KUNIT_CASE(ask_many),
	KUNIT_CASE(ask_refused),
	KUNIT_CASE(ask_while_busy),
	KUNIT_CASE(commands),
	KUNIT_CASE(end_unseen),
	KUNIT_CASE(map_while_ending),
	{}
};

static struct kunit_suite coiommu_suite = {
	.name = "coiommu",
	.init = coiommu_test_init,
	.exit = coiommu_test_exit,
	.test_cases = coiommu_cases,
};

kunit_test_suite(coiommu_suite);

MODULE_DESCRIPTION("KUnit tests of coiommu");
MODULE_LICENSE("GPL");
