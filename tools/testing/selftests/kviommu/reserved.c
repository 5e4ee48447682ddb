// SPDX-License-Identifier: GPL-2.0
/*
 * I/O virtual addresses that the physical IOMMU reserves: those of interrupts at
 * least. The guest's translations of them come to nothing, those around do not
 * suffer. What a device does in them is not tried: it may raise interrupts.
 */
#include "kselftest_harness.h"
#include "require.h"
#include "variants.h"

#define RUN(fn, ...) guest_run(&self->u.vm, fn, ##__VA_ARGS__)
#define DID 1
#define MAX_REGIONS 16

struct region {
	__u64 first;
	__u64 last;
	bool msi;
};

FIXTURE(reserved) {
	struct unit u;
	struct region region[MAX_REGIONS];
	int nr;
};

FIXTURE_VARIANT(reserved) {
	struct unit_config config;
};

UNIT_VARIANTS(reserved);

/* As the IOMMU group's file in sysfs lists them */
static int read_regions(struct region *r)
{
	char path[64], bdf[32], type[32];
	unsigned int group;
	int nr = 0;
	FILE *f;

	edu_find(0, path, bdf, &group);
	snprintf(path, sizeof(path),
		 "/sys/kernel/iommu_groups/%u/reserved_regions", group);
	f = fopen(path, "r");
	REQUIRE(f);
	while (nr < MAX_REGIONS &&
	       fscanf(f, "%llx %llx %31s", &r[nr].first, &r[nr].last, type) == 3) {
		r[nr].msi = !strcmp(type, "msi");
		if (strcmp(type, "direct-relaxable"))
			nr++;
	}
	fclose(f);
	return nr;
}

FIXTURE_SETUP(reserved)
{
	self->nr = read_regions(self->region);
	ASSERT_LT(0, self->nr);
	unit_open(&self->u, &variant->config);
	unit_add_device(&self->u, 0, SID(0));
	RUN(g_setup, 0);
	RUN(g_domain, 0, DID, 4);
	RUN(g_attach, SID(0), 0);
	RUN(g_enable, true);
}

FIXTURE_TEARDOWN(reserved)
{
	unit_close(&self->u);
}

static bool is_reserved(const struct region *r, int nr, __u64 iova)
{
	int i;

	for (i = 0; i < nr; i++)
		if (iova >= r[i].first && iova <= r[i].last)
			return true;
	return iova >> 48;
}

TEST_F(reserved, pages)
{
	struct unit *u = &self->u;
	struct kviommu_stats before, after;
	__u64 iova[4];
	int i, j, mapped, inside;

	for (i = 0; i < self->nr; i++) {
		struct region *r = &self->region[i];

		iova[0] = r->first - PAGE_SIZE;
		iova[1] = r->first;
		iova[2] = r->last + 1 - PAGE_SIZE;
		iova[3] = r->last + 1;
		mapped = 0;
		inside = 0;
		before = unit_stats(u);
		for (j = 0; j < 4; j++) {
			if (iova[j] >> 48)
				continue;
			RUN(g_map, 0, iova[j], PAGE(8 * i + j), 1, MAP_RW);
			if (!is_reserved(self->region, self->nr, iova[j]))
				mapped++;
			else if (j == 1 || j == 2)
				inside++;
		}
		after = unit_stats(u);
		EXPECT_EQ(2, inside);
		EXPECT_EQ(mapped, after.mapped - before.mapped);
		/* To an interrupt there is no translation on a real unit either. */
		EXPECT_EQ(r->msi ? 0 : inside, after.faults - before.faults);
		EXPECT_LE(inside, after.errors - before.errors);
		for (j = 0; j < 4; j += 3)
			if (!is_reserved(self->region, self->nr, iova[j]))
				EXPECT_EQ(DMA_REACHED,
					  dma_write(u, 0, iova[j], PAGE(8 * i + j)));
		/* Nor do they come with an invalidation of all. */
		RUN(g_flush_global);
		EXPECT_EQ(after.mapped, unit_stats(u).mapped);
		EXPECT_EQ(0, unit_refresh(u));
		EXPECT_EQ(after.mapped, unit_stats(u).mapped);
		EXPECT_EQ(after.unmaps, unit_stats(u).unmaps);
	}
}

/* A large leaf of which a part is reserved gives the rest. */
TEST_F(reserved, large_leaf)
{
	struct unit *u = &self->u;
	struct kviommu_stats before, after;
	__u64 iova, off, free, leaves = 0;
	int i;

	for (i = 0; i < self->nr; i++) {
		struct region *r = &self->region[i];

		iova = r->last & ~(SZ_2M - 1);
		if (iova + SZ_2M == r->last + 1)
			continue;
		leaves++;
		free = 0;
		for (off = 0; off < SZ_2M; off += PAGE_SIZE)
			free += !is_reserved(self->region, self->nr, iova + off);
		off = r->last + 1 - iova;
		before = unit_stats(u);
		RUN(g_map, 0, iova, HUGE(0), 1, MAP_RW | MAP_LEAF(LEAF_2M));
		after = unit_stats(u);
		EXPECT_EQ(free, after.mapped - before.mapped);
		EXPECT_EQ(DMA_REACHED, dma_write(u, 0, iova + off, HUGE(0) + off));
		EXPECT_EQ(DMA_REACHED, dma_write(u, 0, iova + SZ_2M - PAGE_SIZE,
						 HUGE(1) - PAGE_SIZE));
		RUN(g_flush_global);
		EXPECT_EQ(0, unit_refresh(u));
		EXPECT_EQ(after.mapped, unit_stats(u).mapped);
		EXPECT_EQ(after.unmaps, unit_stats(u).unmaps);

		/* To a table that says the same, and to another leaf */
		RUN(g_map_quiet, 0, iova, HUGE(0), 512, MAP_RW);
		RUN(g_flush_pages, 0, iova, 9);
		EXPECT_EQ(after.mapped, unit_stats(u).mapped);
		EXPECT_EQ(after.unmaps, unit_stats(u).unmaps);
		EXPECT_EQ(DMA_REACHED, dma_write(u, 0, iova + off, HUGE(0) + off));
		RUN(g_map, 0, iova, HUGE(1), 1, MAP_RW | MAP_LEAF(LEAF_2M));
		EXPECT_EQ(after.mapped, unit_stats(u).mapped);
		EXPECT_EQ(DMA_REACHED, dma_write(u, 0, iova + off, HUGE(1) + off));
		EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, iova + off, HUGE(0) + off));
		RUN(g_unmap, 0, iova, 1, MAP_LEAF(LEAF_2M));
		EXPECT_EQ(before.mapped, unit_stats(u).mapped);
		EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, iova + off, HUGE(1) + off));
	}
	/* The interrupt range ends in the middle of one. */
	EXPECT_LT(0, leaves);
}

/*
 * 1 GiB with a hole, of which little can be pinned: to try each of its pieces takes many
 * steps, and comes to an end.
 */
TEST_F_TIMEOUT(reserved, large_leaf_at_limit, 300)
{
	struct unit *u = &self->u;
	struct kviommu_stats before, after;
	struct kviommu_policy p;
	__u64 iova = 0, off;
	void *mem;
	int i;

	for (i = 0; i < self->nr && !iova; i++)
		if (self->region[i].last < 4 * SZ_1G)
			iova = self->region[i].first & ~(SZ_1G - 1);
	ASSERT_LT(0, iova);
	/* Memory is not what it is about. */
	mem = mmap(NULL, SZ_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, mem);
	for (off = 0; off < SZ_1G; off += SZ_2M)
		ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, GPA_HIGH + off, mem, SZ_2M,
				      IOAS_RW));
	before = unit_stats(u);
	p = unit_policy(u);
	/* For the pages beside the hole, and a part of a piece more */
	p.max_pins = before.pinned + 256 + 16;
	p.max_idle_pins = 0;
	ASSERT_EQ(0, unit_set_policy(u, &p));
	RUN(g_map, 0, iova, GPA_HIGH, 1, MAP_RW | MAP_LEAF(LEAF_1G));
	after = unit_stats(u);
	EXPECT_GE(p.max_pins, after.pinned);
	EXPECT_GT(before.mapped + 512, after.mapped);
	EXPECT_LT(before.mapped, after.mapped);
	EXPECT_LE(500, after.limits - before.limits);
	ASSERT_EQ(0, unit_refresh(u));
	EXPECT_EQ(after.mapped, unit_stats(u).mapped);
	EXPECT_LE(500, unit_stats(u).limits - after.limits);
	RUN(g_unmap, 0, iova, 1, MAP_LEAF(LEAF_1G));
	EXPECT_EQ(before.mapped, unit_stats(u).mapped);
	munmap(mem, SZ_2M);
}

TEST_HARNESS_MAIN
