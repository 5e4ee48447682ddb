// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of coiommu in a guest: a driver for edu devices that uses each part of the DMA API when
 * a device is bound. TAP in the kernel's log. The device itself does nothing; what it would write
 * the test writes to where the device would.
 */
#include <linux/completion.h>
#include <linux/dma-map-ops.h>
#include <linux/dmapool.h>
#include <linux/io.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/pfn.h>
#include <linux/scatterlist.h>
#include <asm/tsc.h>

#define RACE_PAGES	16
#define RACE_THREADS	2
#define BENCH_LOOPS	20000
#define BENCH_ROUNDS	20
#define COLD_PAGES	8192

static unsigned int hold;
module_param(hold, uint, 0444);
MODULE_PARM_DESC(hold, "number of pages that stay mapped while the device is bound");

static bool fail;
module_param(fail, bool, 0444);
MODULE_PARM_DESC(fail, "let the probe fail at its end");

static unsigned long frame;
module_param(frame, ulong, 0444);
MODULE_PARM_DESC(frame, "number of a frame that is mapped, too");

static bool foreign;
module_param(foreign, bool, 0444);
MODULE_PARM_DESC(foreign, "give devices DMA operations of their own before they are bound, and test nothing");

static bool early;
module_param(early, bool, 0444);
MODULE_PARM_DESC(early, "bind devices at the moment that some device has lost its driver, and test hold alone");

static bool bench;
module_param(bench, bool, 0444);
MODULE_PARM_DESC(bench, "measure only");

/**
 * struct ctx - A bound device
 * @dev: The device
 * @n: Number of tests so far
 * @ok: The present test has not failed
 * @pages: Memory to map, 8 pages
 * @held: Pages that stay mapped, @hold of them, and their addresses
 */
struct ctx {
	struct device *dev;
	unsigned int n;
	bool ok;
	struct page *pages;
	struct {
		struct page *page;
		dma_addr_t dma;
	} *held;
};

#define expect(ctx, condition) do {						\
	if (!(condition)) {							\
		(ctx)->ok = false;						\
		pr_info("coiommu_test: # line %d: %s\n", __LINE__, #condition);	\
	}									\
} while (0)

/* What a device at this address would read and write */
static void *device_view(dma_addr_t dma)
{
	return phys_to_virt(dma);
}

static void test_masks(struct ctx *ctx)
{
	struct device *dev = ctx->dev;

	expect(ctx, dma_set_mask(dev, DMA_BIT_MASK(12)));
	expect(ctx, dma_get_mask(dev) == DMA_BIT_MASK(64));
	expect(ctx, !dma_set_mask_and_coherent(dev, DMA_BIT_MASK(32)));
	expect(ctx, !dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64)));
	expect(ctx, dma_max_mapping_size(dev));
}

static void test_streaming(struct ctx *ctx)
{
	struct device *dev = ctx->dev;
	dma_addr_t a, b, c;

	/* Several pages, not aligned; the same once more; two bytes of two pages */
	a = dma_map_page(dev, ctx->pages, 100, 5 * PAGE_SIZE, DMA_TO_DEVICE);
	b = dma_map_page(dev, ctx->pages, 100, 5 * PAGE_SIZE, DMA_TO_DEVICE);
	c = dma_map_single(dev, page_address(ctx->pages) + PAGE_SIZE - 1, 2, DMA_BIDIRECTIONAL);
	expect(ctx, !dma_mapping_error(dev, a));
	expect(ctx, !dma_mapping_error(dev, b));
	expect(ctx, !dma_mapping_error(dev, c));
	dma_unmap_page(dev, a, 5 * PAGE_SIZE, DMA_TO_DEVICE);
	dma_unmap_page(dev, b, 5 * PAGE_SIZE, DMA_TO_DEVICE);
	dma_unmap_single(dev, c, 2, DMA_BIDIRECTIONAL);
}

/* Data arrives where it should, through a bounce buffer as well. */
static void test_data(struct ctx *ctx)
{
	const size_t size = 3 * PAGE_SIZE - 200;
	struct device *dev = ctx->dev;
	u8 *va = page_address(ctx->pages) + 100;
	dma_addr_t a;

	memset(va, 0x11, size);
	a = dma_map_single(dev, va, size, DMA_BIDIRECTIONAL);
	expect(ctx, !dma_mapping_error(dev, a));
	if (dma_mapping_error(dev, a))
		return;
	expect(ctx, !memchr_inv(device_view(a), 0x11, size));
	memset(device_view(a), 0x22, size);
	dma_sync_single_for_cpu(dev, a, size, DMA_BIDIRECTIONAL);
	expect(ctx, !memchr_inv(va, 0x22, size));
	memset(va, 0x33, size);
	dma_sync_single_for_device(dev, a, size, DMA_BIDIRECTIONAL);
	expect(ctx, !memchr_inv(device_view(a), 0x33, size));
	memset(device_view(a), 0x44, size);
	dma_unmap_single(dev, a, size, DMA_BIDIRECTIONAL);
	expect(ctx, !memchr_inv(va, 0x44, size));
}

/* There is no way to ask for memory of devices. */
static void test_resource(struct ctx *ctx)
{
	phys_addr_t bar = pci_resource_start(to_pci_dev(ctx->dev), 0);
	dma_addr_t a = dma_map_resource(ctx->dev, bar, PAGE_SIZE, DMA_BIDIRECTIONAL, 0);

	expect(ctx, dma_mapping_error(ctx->dev, a));
}

static void test_list(struct ctx *ctx)
{
	struct device *dev = ctx->dev;
	struct scatterlist *sg;
	struct sg_table sgt;
	int i;

	expect(ctx, !sg_alloc_table(&sgt, 4, GFP_KERNEL));
	for_each_sgtable_sg(&sgt, sg, i)
		sg_set_page(sg, ctx->pages + i, 3000 + i, 500 * i);
	expect(ctx, !dma_map_sgtable(dev, &sgt, DMA_FROM_DEVICE, 0));
	expect(ctx, sgt.nents == 4);
	for_each_sgtable_dma_sg(&sgt, sg, i)
		memset(device_view(sg_dma_address(sg)), 0x50 + i, sg_dma_len(sg));
	dma_sync_sgtable_for_cpu(dev, &sgt, DMA_FROM_DEVICE);
	for_each_sgtable_sg(&sgt, sg, i)
		expect(ctx, !memchr_inv(sg_virt(sg), 0x50 + i, sg->length));
	dma_sync_sgtable_for_device(dev, &sgt, DMA_FROM_DEVICE);
	dma_unmap_sgtable(dev, &sgt, DMA_FROM_DEVICE, 0);
	sg_free_table(&sgt);
}

static void test_coherent(struct ctx *ctx)
{
	struct device *dev = ctx->dev;
	struct dma_pool *pool;
	struct sg_table sgt, *nc;
	struct page *page;
	dma_addr_t a;
	void *va;

	va = dma_alloc_coherent(dev, 100, &a, GFP_KERNEL);
	expect(ctx, va);
	expect(ctx, !dma_get_sgtable(dev, &sgt, va, a, 100));
	sg_free_table(&sgt);
	expect(ctx, dma_can_mmap(dev));
	dma_free_coherent(dev, 100, va, a);
	va = dma_alloc_coherent(dev, PAGE_SIZE, &a, GFP_ATOMIC);
	expect(ctx, va);
	dma_free_coherent(dev, PAGE_SIZE, va, a);
	page = dma_alloc_pages(dev, 3 * PAGE_SIZE, &a, DMA_FROM_DEVICE, GFP_KERNEL);
	expect(ctx, page);
	dma_free_pages(dev, 3 * PAGE_SIZE, page, a, DMA_FROM_DEVICE);
	nc = dma_alloc_noncontiguous(dev, 5 * PAGE_SIZE, DMA_FROM_DEVICE, GFP_KERNEL, 0);
	expect(ctx, nc);
	dma_free_noncontiguous(dev, 5 * PAGE_SIZE, nc, DMA_FROM_DEVICE);
	pool = dma_pool_create("coiommu_test", dev, 64, 64, 0);
	expect(ctx, pool);
	va = dma_pool_alloc(pool, GFP_ATOMIC, &a);
	expect(ctx, va);
	dma_pool_free(pool, va, a);
	dma_pool_destroy(pool);
	/* Freed after the driver is gone, or after its probe has failed */
	expect(ctx, dmam_alloc_coherent(dev, 20000, &a, GFP_KERNEL));
}

struct race {
	struct ctx *ctx;
	struct page *pages[RACE_PAGES];
	struct completion done[RACE_THREADS];
	atomic_t failed;
};

struct racer {
	struct race *race;
	unsigned int me;
};

static int race_thread(void *data)
{
	struct racer *racer = data;
	struct race *race = racer->race;
	struct device *dev = race->ctx->dev;
	unsigned int turn, i;
	dma_addr_t a[RACE_PAGES];

	for (turn = 0; turn < 5000; turn++) {
		for (i = 0; i < RACE_PAGES; i++) {
			a[i] = dma_map_page(dev, race->pages[i], 0, PAGE_SIZE, DMA_FROM_DEVICE);
			if (dma_mapping_error(dev, a[i]))
				atomic_inc(&race->failed);
		}
		for (i = 0; i < RACE_PAGES; i++)
			if (!dma_mapping_error(dev, a[i]))
				dma_unmap_page(dev, a[i], PAGE_SIZE, DMA_FROM_DEVICE);
		cond_resched();
	}
	complete(&race->done[racer->me]);
	return 0;
}

/* Several threads map the same pages. */
static void test_race(struct ctx *ctx)
{
	struct race race = { .ctx = ctx };
	struct racer racers[RACE_THREADS];
	unsigned int i;

	for (i = 0; i < RACE_PAGES; i++)
		race.pages[i] = alloc_page(GFP_KERNEL | __GFP_NOFAIL);
	for (i = 0; i < RACE_THREADS; i++) {
		init_completion(&race.done[i]);
		racers[i] = (struct racer){ &race, i };
		if (IS_ERR(kthread_run(race_thread, &racers[i], "coiommu_test")))
			complete(&race.done[i]);
	}
	for (i = 0; i < RACE_THREADS; i++)
		wait_for_completion(&race.done[i]);
	expect(ctx, !atomic_read(&race.failed));
	for (i = 0; i < RACE_PAGES; i++)
		__free_page(race.pages[i]);
}

static void test_frame(struct ctx *ctx)
{
	dma_addr_t a = dma_map_page(ctx->dev, pfn_to_page(frame), 0, PAGE_SIZE, DMA_TO_DEVICE);

	expect(ctx, !dma_mapping_error(ctx->dev, a));
	if (!dma_mapping_error(ctx->dev, a))
		dma_unmap_page(ctx->dev, a, PAGE_SIZE, DMA_TO_DEVICE);
}

static void test_hold(struct ctx *ctx)
{
	unsigned int i;

	ctx->held = devm_kcalloc(ctx->dev, hold, sizeof(*ctx->held), GFP_KERNEL);
	for (i = 0; i < hold; i++) {
		ctx->held[i].page = alloc_page(GFP_KERNEL | __GFP_NOFAIL);
		ctx->held[i].dma = dma_map_page(ctx->dev, ctx->held[i].page, 0, PAGE_SIZE,
						DMA_FROM_DEVICE);
		expect(ctx, !dma_mapping_error(ctx->dev, ctx->held[i].dma));
	}
}

static void release_held(struct ctx *ctx)
{
	unsigned int i;

	for (i = 0; i < hold; i++) {
		if (!dma_mapping_error(ctx->dev, ctx->held[i].dma))
			dma_unmap_page(ctx->dev, ctx->held[i].dma, PAGE_SIZE, DMA_FROM_DEVICE);
		__free_page(ctx->held[i].page);
	}
}

static void run(struct ctx *ctx, const char *name, void (*test)(struct ctx *ctx))
{
	ctx->ok = true;
	test(ctx);
	pr_info("coiommu_test: %sok %u %s\n", ctx->ok ? "" : "not ", ++ctx->n, name);
}

/* Return: cycles, in thousandths, of a pair of map and unmap, at best. */
static u64 measure(struct device *dev, void *va, size_t size)
{
	u64 best = U64_MAX, begin;
	unsigned int round, i;
	dma_addr_t a;

	for (round = 0; round < BENCH_ROUNDS; round++) {
		begin = rdtsc_ordered();
		for (i = 0; i < BENCH_LOOPS; i++) {
			a = dma_map_single(dev, va, size, DMA_FROM_DEVICE);
			if (dma_mapping_error(dev, a))
				return 0;
			dma_unmap_single(dev, a, size, DMA_FROM_DEVICE);
		}
		best = min(best, rdtsc_ordered() - begin);
		cond_resched();
	}
	return div_u64(best * 1000, BENCH_LOOPS);
}

/* Map and unmap all pages. Return: ns for a map on average, or 0 if one failed. */
static u64 measure_maps(struct device *dev, struct page **pages)
{
	u64 ns = 0, begin;
	unsigned int i;
	dma_addr_t a;

	for (i = 0; i < COLD_PAGES; i++) {
		begin = ktime_get_ns();
		a = dma_map_page(dev, pages[i], 0, PAGE_SIZE, DMA_FROM_DEVICE);
		ns += ktime_get_ns() - begin;
		if (dma_mapping_error(dev, a))
			return 0;
		dma_unmap_page(dev, a, PAGE_SIZE, DMA_FROM_DEVICE);
		cond_resched();
	}
	return div_u64(ns, COLD_PAGES);
}

/* Pages that were not in DMA use, as far as they are new to the kernel; and once more */
static void bench_cold(struct ctx *ctx)
{
	struct page **pages = kvcalloc(COLD_PAGES, sizeof(*pages), GFP_KERNEL);
	unsigned int n = 0;

	while (pages && n < COLD_PAGES && (pages[n] = alloc_page(GFP_KERNEL)))
		n++;
	if (n == COLD_PAGES) {
		pr_info("coiommu_test: cold %llu ns\n", measure_maps(ctx->dev, pages));
		pr_info("coiommu_test: warm %llu ns\n", measure_maps(ctx->dev, pages));
	}
	while (n)
		__free_page(pages[--n]);
	kvfree(pages);
}

static void direct_release(struct device *dev)
{
	kfree(dev);
}

/* Beside a device that is mapped directly */
static void bench_all(struct ctx *ctx)
{
	static const size_t sizes[] = { 64, PAGE_SIZE, 4 * PAGE_SIZE };
	struct device *direct = kzalloc(sizeof(*direct), GFP_KERNEL | __GFP_NOFAIL);
	void *va = page_address(ctx->pages);
	unsigned int i;

	device_initialize(direct);
	direct->release = direct_release;
	direct->dma_mask = ctx->dev->dma_mask;
	direct->coherent_dma_mask = ctx->dev->coherent_dma_mask;
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		u64 plain = measure(direct, va, sizes[i]);
		u64 tracked = measure(ctx->dev, va, sizes[i]);

		pr_info("coiommu_test: bench %zu bytes: %llu tracked, %llu direct (cycles / 1000)\n",
			sizes[i], tracked, plain);
	}
	put_device(direct);
}

static int coiommu_test_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct device *dev = &pdev->dev;
	struct ctx *ctx;

	if (foreign)
		return 0;
	ctx = devm_kzalloc(dev, sizeof(*ctx), GFP_KERNEL);
	if (!ctx || pci_enable_device_mem(pdev))
		return -ENODEV;
	pci_set_drvdata(pdev, ctx);
	ctx->dev = dev;
	ctx->pages = alloc_pages(GFP_KERNEL, 3);
	if (!ctx->pages || dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64)))
		return -ENODEV;
	if (bench) {
		bench_all(ctx);
		bench_cold(ctx);
	} else if (!early) {
		run(ctx, "masks", test_masks);
		run(ctx, "streaming", test_streaming);
		run(ctx, "data", test_data);
		run(ctx, "resource", test_resource);
		run(ctx, "list", test_list);
		run(ctx, "coherent", test_coherent);
		run(ctx, "race", test_race);
	}
	if (frame)
		run(ctx, "frame", test_frame);
	if (!fail)
		run(ctx, "hold", test_hold);
	pr_info("coiommu_test: done\n");
	if (!fail)
		return 0;
	__free_pages(ctx->pages, 3);
	pci_disable_device(pdev);
	return -ENODEV;
}

static void coiommu_test_remove(struct pci_dev *pdev)
{
	struct ctx *ctx = pci_get_drvdata(pdev);

	if (foreign)
		return;
	release_held(ctx);
	__free_pages(ctx->pages, 3);
	pci_disable_device(pdev);
}

static const struct pci_device_id coiommu_test_ids[] = {
	{ PCI_DEVICE(0x1234, 0x11e8) },
	{ }
};

static struct pci_driver coiommu_test_driver = {
	.name = "coiommu_test",
	.id_table = coiommu_test_ids,
	.probe = coiommu_test_probe,
	.remove = coiommu_test_remove,
};

static const struct dma_map_ops foreign_ops = {};

static void set_foreign_ops(const struct dma_map_ops *ops)
{
	struct pci_dev *pdev = NULL;

	while (foreign && (pdev = pci_get_device(0x1234, 0x11e8, pdev)))
		set_dma_ops(&pdev->dev, ops);
}

static bool registered;

/* Here, as what has unbound the device, coiommu perhaps, is not done yet with others. */
static int other_unbound(struct notifier_block *nb, unsigned long action, void *data)
{
	if (action == BUS_NOTIFY_UNBOUND_DRIVER && !registered)
		registered = !pci_register_driver(&coiommu_test_driver);
	return NOTIFY_DONE;
}

static struct notifier_block early_notifier = {
	.notifier_call = other_unbound,
};

static int __init coiommu_test_init(void)
{
	int ret;

	if (early)
		return bus_register_notifier(&pci_bus_type, &early_notifier);
	set_foreign_ops(&foreign_ops);
	ret = pci_register_driver(&coiommu_test_driver);
	registered = !ret;
	if (ret)
		set_foreign_ops(NULL);
	return ret;
}

module_init(coiommu_test_init);

static void __exit coiommu_test_exit(void)
{
	if (early)
		bus_unregister_notifier(&pci_bus_type, &early_notifier);
	if (registered)
		pci_unregister_driver(&coiommu_test_driver);
	set_foreign_ops(NULL);
}

module_exit(coiommu_test_exit);

MODULE_DESCRIPTION("Tests of coiommu in a guest");
MODULE_LICENSE("GPL");
