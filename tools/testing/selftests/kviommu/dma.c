// SPDX-License-Identifier: GPL-2.0
/*
 * What devices reach, and what not, as the guest changes its tables. All is
 * judged by memory contents; the faults of the physical IOMMU in the host's
 * log are those that the tests mean to provoke.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "calls.h"
#include "kselftest_harness.h"
#include "require.h"
#include "variants.h"

#define RUN(fn, ...) guest_run(&self->u.vm, fn, ##__VA_ARGS__)

#define DID	1
/* By this, device 0 always finds a way to memory in domain 0. */
#define BOUNCE		0x7f000000UL
#define BOUNCE_PAGE	PAGE(100)

/* Where the guest has its entry for that address, as we see it */
#define ENTRY(iova, leaf) \
	vm_hva(&self->u.vm, RUN(g_entry_gpa, 0, iova, leaf))

#define READ(iova, gpa)	 dma_read(&self->u, 0, iova, gpa, BOUNCE, BOUNCE_PAGE)
#define WRITE(iova, gpa) dma_write(&self->u, 0, iova, gpa)

/* Domain 0 with a bounce page, device 0 in it, translation on. */
static void start_guest(struct unit *u, unsigned int levels)
{
	struct vm *vm = &u->vm;

	guest_run(vm, g_setup, 0);
	guest_run(vm, g_domain, 0, DID, levels);
	guest_run(vm, g_map, 0, BOUNCE, BOUNCE_PAGE, 1, MAP_RW);
	guest_run(vm, g_attach, SID(0), 0);
	guest_run(vm, g_enable, true);
}

FIXTURE(dma) {
	struct unit u;
	__u64 top;
};

FIXTURE_VARIANT(dma) {
	struct unit_config config;
	unsigned int levels;
};

/* With WIDE: see wide.c */
#ifdef WIDE
#define MAX_BITS 57
#define MAX_LEVELS 5

UNIT_VARIANTS(dma, .config.aw_bits = 57, .levels = 5);
UNIT_VARIANT(dma, trap_57bit_4level, TRAP, STRICT, .config.aw_bits = 57, .levels = 4);
#else
#define MAX_BITS 48
#define MAX_LEVELS 4

UNIT_VARIANTS(dma, .config.aw_bits = 48, .levels = 4);
UNIT_VARIANT(dma, trap_48bit_3level, TRAP, STRICT, .config.aw_bits = 48, .levels = 3);
UNIT_VARIANT(dma, trap_39bit_3level, TRAP, STRICT, .config.aw_bits = 39, .levels = 3);
#endif

FIXTURE_SETUP(dma)
{
	unit_open(&self->u, &variant->config);
	unit_add_device(&self->u, 0, SID(0));
	start_guest(&self->u, variant->levels);
	self->top = BIT(12 + 9 * variant->levels);
}

FIXTURE_TEARDOWN(dma)
{
	unit_close(&self->u);
}

TEST_F(dma, reads_and_writes)
{
	const __u64 iova[] = {
		0, 0x10000, 0x12345000, 0x100000000, self->top / 2,
		self->top - PAGE_SIZE,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(iova); i++)
		RUN(g_map, 0, iova[i], PAGE(i), 1, MAP_RW);
	for (i = 0; i < ARRAY_SIZE(iova); i++) {
		EXPECT_EQ(DMA_REACHED, WRITE(iova[i], PAGE(i)))
			TH_LOG("iova %#llx", iova[i]);
		EXPECT_EQ(DMA_REACHED, READ(iova[i], PAGE(i)))
			TH_LOG("iova %#llx", iova[i]);
	}
}

TEST_F(dma, page_offsets)
{
	RUN(g_map, 0, 0x10000, PAGE(0), 1, MAP_RW);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000 + 0x7c4, PAGE(0) + 0x7c4));
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000 + PAGE_SIZE - DMA_LEN,
				     PAGE(0) + PAGE_SIZE - DMA_LEN));
	EXPECT_EQ(DMA_REACHED, READ(0x10000 + PAGE_SIZE - DMA_LEN,
				    PAGE(0) + PAGE_SIZE - DMA_LEN));
}

/* Neighbours in IOVA whose pages are none in memory */
TEST_F(dma, crosses_pages)
{
	__u8 *ram = self->u.vm.ram, *pattern = self->u.dev[0].pattern;

	RUN(g_map, 0, 0x10000, PAGE(7), 1, MAP_RW);
	RUN(g_map, 0, 0x11000, PAGE(3), 1, MAP_RW);
	fill_unique(ram + PAGE(3), PAGE_SIZE);
	fill_unique(ram + PAGE(7), 2 * PAGE_SIZE);
	dma_run(&self->u, 0, EDU_TO_RAM, 0x11000 - 64, 0, 128);
	EXPECT_EQ(0, memcmp(ram + PAGE(8) - 64, pattern, 64));
	EXPECT_EQ(0, memcmp(ram + PAGE(3), pattern + 64, 64));
	EXPECT_NE(0, memcmp(ram + PAGE(8), pattern + 64, 64));
}

TEST_F(dma, crosses_into_unmapped)
{
	__u8 *ram = self->u.vm.ram, *pattern = self->u.dev[0].pattern;
	__u8 before[64];

	/* The page behind is RAM, and was mapped there a moment ago. */
	RUN(g_map, 0, 0x10000, PAGE(0), 2, MAP_RW);
	RUN(g_unmap, 0, 0x11000, 1, 0);
	fill_unique(ram + PAGE(0), 2 * PAGE_SIZE);
	memcpy(before, ram + PAGE(1), 64);
	unit_wait_stale(&self->u);
	dma_run(&self->u, 0, EDU_TO_RAM, 0x11000 - 64, 0, 128);
	EXPECT_EQ(0, memcmp(ram + PAGE(1) - 64, pattern, 64));
	EXPECT_EQ(0, memcmp(ram + PAGE(1), before, 64));
}

TEST_F(dma, unmapped)
{
	/* Nothing there; and RAM at that guest physical address does not help */
	EXPECT_EQ(DMA_BLOCKED, WRITE(PAGE(0), PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, READ(PAGE(0), PAGE(0)));
	/* Beside a page that is */
	RUN(g_map, 0, 0x10000, PAGE(1), 1, MAP_RW);
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x11000, PAGE(2)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(0xf000, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(1)));
}

/* Does the host's log tell of a fault at that address since it was at fd? */
static bool log_has_fault(int fd, __u64 iova)
{
	char line[8192], dmar[64], amd[64], virtio[64];
	ssize_t len;

	snprintf(dmar, sizeof(dmar), "fault addr 0x%llx ", iova);
	snprintf(amd, sizeof(amd), "address=0x%llx ", iova);
	snprintf(virtio, sizeof(virtio), " at 0x%llx [", iova);
	while ((len = read(fd, line, sizeof(line) - 1)) > 0) {
		line[len] = 0;
		if (strstr(line, dmar) || strstr(line, amd) ||
		    strstr(line, virtio))
			return true;
	}
	return false;
}

/*
 * What is blocked is blocked by the physical IOMMU, and the host gets to know.
 * Its log is rate limited: try until it has room.
 */
TEST_F_TIMEOUT(dma, fault_in_log, 60)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC), i;
	__u64 iova = 0x200000000 + getpid() * PAGE_SIZE;

	ASSERT_LE(0, fd);
	ASSERT_LE(0, lseek(fd, 0, SEEK_END));
	for (i = 0; i < 200; i++, iova += PAGE_SIZE) {
		dma_run(&self->u, 0, EDU_TO_RAM, iova, 0, 4);
		if (log_has_fault(fd, iova))
			break;
	}
	EXPECT_LT(i, 200);
	close(fd);
}

TEST_F(dma, read_only)
{
	RUN(g_map, 0, 0x10000, PAGE(0), 1, MAP_R);
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, READ(0x10000, PAGE(0)));
}

/*
 * The host's own IOMMU driver, without a unit: Intel's in 6.12 lets devices
 * read whatever they can write.
 */
static bool host_knows_write_only(void)
{
	int iommufd = iommufd_open();
	__u32 ioas = ioas_alloc(iommufd);
	__u8 *mem = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct edu edu;
	bool leaks;

	REQUIRE(mem != MAP_FAILED);
	edu_open(&edu, 1);
	edu_bind(&edu, iommufd);
	fill_unique(mem, DMA_LEN);
	REQUIRE(!ioas_map(iommufd, ioas, 0x10000, mem, PAGE_SIZE,
			  IOMMU_IOAS_MAP_WRITEABLE));
	REQUIRE(!ioas_map(iommufd, ioas, 0x20000, mem + PAGE_SIZE, PAGE_SIZE,
			  IOAS_RW));
	REQUIRE(!edu_attach_ioas(&edu, ioas));
	edu_dma(&edu, EDU_FROM_RAM, 0x10000, EDU_PATTERN_SIZE, DMA_LEN);
	edu_dma(&edu, EDU_TO_RAM, 0x20000, EDU_PATTERN_SIZE, DMA_LEN);
	leaks = !memcmp(mem, mem + PAGE_SIZE, DMA_LEN);
	edu_close(&edu);
	close(iommufd);
	munmap(mem, 2 * PAGE_SIZE);
	return !leaks;
}

TEST_F(dma, write_only)
{
	RUN(g_map, 0, 0x10000, PAGE(0), 1, MAP_W);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
	if (host_knows_write_only())
		EXPECT_EQ(DMA_BLOCKED, READ(0x10000, PAGE(0)));
}

/* The rights of all levels together count. */
TEST_F(dma, rights_of_upper_levels)
{
	__u64 *pde;

	RUN(g_map_quiet, 0, 0x10000, PAGE(0), 1, MAP_RW);
	pde = ENTRY(0x10000, LEAF_2M);
	*pde &= ~MAP_W;
	RUN(g_flush_pages, 0, 0x10000, 0);
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, READ(0x10000, PAGE(0)));
}

TEST_F(dma, rights_change)
{
	RUN(g_map, 0, 0x10000, PAGE(0), 1, MAP_RW);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
	RUN(g_map, 0, 0x10000, PAGE(0), 1, MAP_R);
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, READ(0x10000, PAGE(0)));
	RUN(g_map, 0, 0x10000, PAGE(0), 1, MAP_RW);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
}

TEST_F(dma, unmap)
{
	RUN(g_map, 0, 0x10000, PAGE(0), 2, MAP_RW);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, WRITE(0x11000, PAGE(1)));
	RUN(g_unmap, 0, 0x10000, 1, 0);
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, READ(0x10000, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, WRITE(0x11000, PAGE(1)));
	RUN(g_map, 0, 0x10000, PAGE(0), 1, MAP_RW);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
}

/* A table goes, not only its entries. */
TEST_F(dma, unmap_table)
{
	__u64 *pde;

	RUN(g_map, 0, 0x400000, PAGE(0), 2, MAP_RW);
	EXPECT_EQ(DMA_REACHED, WRITE(0x401000, PAGE(1)));
	pde = ENTRY(0x400000, LEAF_2M);
	*pde = 0;
	RUN(g_flush_pages, 0, 0x400000, 9);
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x400000, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x401000, PAGE(1)));
	RUN(g_map, 0, 0x401000, PAGE(2), 1, MAP_RW);
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x400000, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, WRITE(0x401000, PAGE(2)));
}

TEST_F(dma, remap)
{
	RUN(g_map, 0, 0x10000, PAGE(0), 1, MAP_RW);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
	/* With an unmap between */
	RUN(g_unmap, 0, 0x10000, 1, 0);
	RUN(g_map, 0, 0x10000, PAGE(1), 1, MAP_RW);
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(1)));
	EXPECT_EQ(DMA_REACHED, READ(0x10000, PAGE(1)));
	/* And in one step */
	RUN(g_map, 0, 0x10000, PAGE(2), 1, MAP_RW);
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(1)));
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(2)));
}

TEST_F(dma, huge_2m)
{
	const __u64 iova = 0x40000000, last = SZ_2M - DMA_LEN;

	RUN(g_map, 0, iova, HUGE(1), 1, MAP_RW | MAP_LEAF(LEAF_2M));
	EXPECT_EQ(DMA_REACHED, WRITE(iova, HUGE(1)));
	EXPECT_EQ(DMA_REACHED, WRITE(iova + 0x123456, HUGE(1) + 0x123456));
	EXPECT_EQ(DMA_REACHED, WRITE(iova + last, HUGE(1) + last));
	EXPECT_EQ(DMA_REACHED, READ(iova + last, HUGE(1) + last));
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova + SZ_2M, HUGE(2)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova - DMA_LEN, HUGE(1) - DMA_LEN));
	RUN(g_unmap, 0, iova, 1, MAP_LEAF(LEAF_2M));
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova, HUGE(1)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova + 0x123456, HUGE(1) + 0x123456));
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova + last, HUGE(1) + last));
}

/* An invalidation of one page of a larger one finds the larger one. */
TEST_F(dma, huge_2m_by_one_page)
{
	const __u64 iova = 0x40000000;

	RUN(g_map_quiet, 0, iova, HUGE(1), 1, MAP_RW | MAP_LEAF(LEAF_2M));
	RUN(g_flush_pages, 0, iova + 0x5000, 0);
	EXPECT_EQ(DMA_REACHED, WRITE(iova + 0x5000, HUGE(1) + 0x5000));
	RUN(g_unmap_quiet, 0, iova, 1, MAP_LEAF(LEAF_2M));
	RUN(g_flush_pages, 0, iova + 0x5000, 0);
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova + 0x5000, HUGE(1) + 0x5000));
}

/* Have a page be an area of its own in the IOAS, and map it there if it is to be. */
static void ioas_split(struct unit *u, __u64 at, bool there)
{
	const __u64 next = at + PAGE_SIZE;

	REQUIRE(!ioas_unmap(u->iommufd, u->ioas, 0, GPA_RAM_END));
	REQUIRE(!ioas_map(u->iommufd, u->ioas, 0, u->vm.ram, at, IOAS_RW));
	REQUIRE(!there || !ioas_map(u->iommufd, u->ioas, at, u->vm.ram + at, PAGE_SIZE, IOAS_RW));
	REQUIRE(!ioas_map(u->iommufd, u->ioas, next, u->vm.ram + next, GPA_RAM_END - next,
			  IOAS_RW));
}

/* The page of a large leaf that the IOAS lacks is out of reach, and no other. */
TEST_F(dma, huge_2m_with_hole)
{
	const __u64 iova = 0x40000000, hole = 0x5000, last = SZ_2M - DMA_LEN;
	struct unit *u = &self->u;
	__u64 errors;

	ioas_split(u, HUGE(1) + hole, false);
	RUN(g_map, 0, iova, HUGE(1), 1, MAP_RW | MAP_LEAF(LEAF_2M));
	EXPECT_EQ(DMA_REACHED, WRITE(iova, HUGE(1)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova + hole, HUGE(1) + hole));
	EXPECT_EQ(DMA_REACHED, WRITE(iova + hole + PAGE_SIZE, HUGE(1) + hole + PAGE_SIZE));
	EXPECT_EQ(DMA_REACHED, WRITE(iova + last, HUGE(1) + last));
	/* It is not looked for each time that the guest invalidates the leaf. */
	errors = unit_stats(u).errors;
	RUN(g_flush_pages, 0, iova, 9);
	EXPECT_EQ(errors, unit_stats(u).errors);
	EXPECT_EQ(DMA_REACHED, WRITE(iova, HUGE(1)));
	ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, HUGE(1) + hole, u->vm.ram + HUGE(1) + hole,
			      PAGE_SIZE, IOAS_RW));
	ASSERT_EQ(0, unit_refresh(u));
	EXPECT_EQ(DMA_REACHED, WRITE(iova + hole, HUGE(1) + hole));
	RUN(g_unmap, 0, iova, 1, MAP_LEAF(LEAF_2M));
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova, HUGE(1)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova + hole, HUGE(1) + hole));
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova + last, HUGE(1) + last));
}

/* If the IOAS loses a page of it the others come back, without the VMM or the guest. */
TEST_F(dma, huge_2m_loses_page)
{
	const __u64 iova = 0x40000000, at = 0x7000, last = SZ_2M - DMA_LEN;
	struct unit *u = &self->u;

	ioas_split(u, HUGE(1) + at, true);
	RUN(g_map, 0, iova, HUGE(1), 1, MAP_RW | MAP_LEAF(LEAF_2M));
	EXPECT_EQ(0, unit_stats(u).errors);
	EXPECT_EQ(DMA_REACHED, WRITE(iova + at, HUGE(1) + at));
	ASSERT_EQ(0, ioas_unmap(u->iommufd, u->ioas, HUGE(1) + at, PAGE_SIZE));
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova + at, HUGE(1) + at));
	WAIT_FOR(WRITE(iova + at - PAGE_SIZE, HUGE(1) + at - PAGE_SIZE) == DMA_REACHED);
	WAIT_FOR(WRITE(iova + last, HUGE(1) + last) == DMA_REACHED);
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova + at, HUGE(1) + at));
	RUN(g_unmap, 0, iova, 1, MAP_LEAF(LEAF_2M));
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova, HUGE(1)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova + last, HUGE(1) + last));
}

/* A leaf of 1 GiB around memory of 16 MiB: what there is of it can be reached. */
TEST_F(dma, huge_1g_around_memory)
{
	const __u64 iova = 5 * SZ_1G, last = GPA_RAM_END - DMA_LEN;
	struct kviommu_stats s;

	RUN(g_map, 0, iova, 0, 1, MAP_RW | MAP_LEAF(LEAF_1G));
	EXPECT_EQ(DMA_REACHED, WRITE(iova + PAGE(0), PAGE(0)));
	EXPECT_EQ(DMA_REACHED, WRITE(iova + last, last));
	/* What is no memory is not looked at page by page. */
	s = unit_stats(&self->u);
	EXPECT_GE(SZ_1G / SZ_2M, s.errors);
	EXPECT_GE(16 * PAGE_SIZE, s.table_bytes);
	EXPECT_EQ(0, s.faults);
	RUN(g_unmap, 0, iova, 1, MAP_LEAF(LEAF_1G));
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova + PAGE(0), PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova + last, last));
}

TEST_F(dma, huge_to_small_and_back)
{
	const __u64 iova = 0x40000000;
	unsigned int i;

	RUN(g_map, 0, iova, HUGE(1), 1, MAP_RW | MAP_LEAF(LEAF_2M));
	EXPECT_EQ(DMA_REACHED, WRITE(iova + 0x3000, HUGE(1) + 0x3000));
	/* The large leaf becomes a table, in one step; then it does not lead
	 * to the same place everywhere.
	 */
	RUN(g_map_quiet, 0, iova, HUGE(1), 512, MAP_RW);
	RUN(g_map_quiet, 0, iova + 0x3000, HUGE(2), 1, MAP_RW);
	RUN(g_unmap_quiet, 0, iova + 0x4000, 1, 0);
	RUN(g_flush_pages, 0, iova, 9);
	EXPECT_EQ(DMA_REACHED, WRITE(iova + 0x2000, HUGE(1) + 0x2000));
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova + 0x3000, HUGE(1) + 0x3000));
	EXPECT_EQ(DMA_REACHED, WRITE(iova + 0x3000, HUGE(2)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova + 0x4000, HUGE(1) + 0x4000));
	EXPECT_EQ(DMA_REACHED, WRITE(iova + 0x1ff000, HUGE(1) + 0x1ff000));
	/* And back. */
	RUN(g_map, 0, iova, HUGE(3), 1, MAP_RW | MAP_LEAF(LEAF_2M));
	for (i = 2; i < 5; i++)
		EXPECT_EQ(DMA_REACHED, WRITE(iova + i * PAGE_SIZE,
					     HUGE(3) + i * PAGE_SIZE));
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova + 0x3000, HUGE(2)));
	RUN(g_unmap, 0, iova, 1, MAP_LEAF(LEAF_2M));
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova + 0x3000, HUGE(3) + 0x3000));
}

/*
 * The same translations, as one large page and as many small ones: a device
 * at work there notices nothing.
 */
static __u64 split_and_join(struct guest *g, __u64 iova, __u64 gpa, __u64 table)
{
	__u64 *entry = g_entry(g, 0, iova, LEAF_2M);
	__u64 n = 0;

	g_dma_start(g, 0, EDU_TO_RAM, iova + 0x5000, 0, EDU_PATTERN_SIZE);
	do {
		WRITE_ONCE(*entry, table | MAP_RW);
		g_flush_pages(g, 0, iova, 9);
		WRITE_ONCE(*entry, gpa | MAP_RW | VTD_SL_PS);
		g_flush_pages(g, 0, iova, 9);
		n++;
	} while (g_dma_busy(g, 0));
	return n;
}

/* And it is no work, until one of the small ones changes. */
TEST_F(dma, huge_split)
{
	const __u64 iova = 0x40000000;
	struct kviommu_stats a, b;
	__u64 table, *entry;

	RUN(g_map, 0, iova, HUGE(1), 512, MAP_RW);
	entry = ENTRY(iova, LEAF_2M);
	table = *entry;
	RUN(g_unmap, 0, iova, 1, MAP_LEAF(LEAF_2M));
	RUN(g_map, 0, iova, HUGE(1), 1, MAP_RW | MAP_LEAF(LEAF_2M));
	a = unit_stats(&self->u);
	*entry = table;
	RUN(g_flush_pages, 0, iova, 9);
	b = unit_stats(&self->u);
	EXPECT_EQ(a.maps, b.maps);
	EXPECT_EQ(a.unmaps, b.unmaps);
	EXPECT_EQ(a.syncs, b.syncs);
	EXPECT_EQ(DMA_REACHED, WRITE(iova + 0x7000, HUGE(1) + 0x7000));
	/* One page leads elsewhere, one is gone, told page by page. */
	RUN(g_map, 0, iova + 0x7000, PAGE(7), 1, MAP_RW);
	EXPECT_EQ(DMA_REACHED, WRITE(iova + 0x7000, PAGE(7)));
	EXPECT_EQ(DMA_REACHED, WRITE(iova, HUGE(1)));
	EXPECT_EQ(DMA_REACHED, WRITE(iova + 0x8000, HUGE(1) + 0x8000));
	RUN(g_unmap, 0, iova + 0x9000, 1, 0);
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova + 0x9000, HUGE(1) + 0x9000));
	EXPECT_EQ(DMA_REACHED, WRITE(iova + 0x1ff000, HUGE(1) + 0x1ff000));
	b = unit_stats(&self->u);
	EXPECT_EQ(a.mapped - 1, b.mapped);
	/* The table is the large page's pieces but for those two. */
	RUN(g_map, 0, iova, HUGE(1), 1, MAP_RW | MAP_LEAF(LEAF_2M));
	EXPECT_EQ(DMA_REACHED, WRITE(iova + 0x7000, HUGE(1) + 0x7000));
	EXPECT_EQ(DMA_REACHED, WRITE(iova + 0x9000, HUGE(1) + 0x9000));
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova + 0x7000, PAGE(7)));
	EXPECT_EQ(a.mapped, unit_stats(&self->u).mapped);
}

TEST_F_TIMEOUT(dma, huge_split_under_dma, 60)
{
	void *mem = vm_hva(&self->u.vm, HUGE(1) + 0x5000);
	const __u64 iova = 0x40000000;
	unsigned int i, lost = 0;
	__u64 table;

	RUN(g_map, 0, iova, HUGE(1), 512, MAP_RW);
	table = *(__u64 *)ENTRY(iova, LEAF_2M) & VTD_SL_ADDR;
	for (i = 0; i < 20; i++) {
		memset(mem, 0, PAGE_SIZE);
		EXPECT_LT(0, RUN(split_and_join, iova, HUGE(1), table));
		lost += !!memcmp(mem, self->u.dev[0].pattern, EDU_PATTERN_SIZE);
	}
	EXPECT_EQ(0, lost);
}

static unsigned long available_mib(void)
{
	unsigned long kib = 0;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "r");

	REQUIRE(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %lu", &kib) == 1)
			break;
	fclose(f);
	return kib / 1024;
}

TEST_F_TIMEOUT(dma, huge_1g, 400)
{
	const __u64 iova = 5 * SZ_1G;
	const __u64 at[] = { 0, 0x12345678 & ~3, SZ_1G - DMA_LEN };
	unsigned int i;
	__u8 *mem;

	/* All of it gets pinned. */
	if (available_mib() < 1024 + 512)
		SKIP(return, "%lu MiB of memory available, 1536 wanted",
		     available_mib());
	mem = mmap(NULL, 2 * SZ_1G, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, mem);
	mem = (void *)(((unsigned long)mem + SZ_1G - 1) & -SZ_1G);
	madvise(mem, SZ_1G, MADV_HUGEPAGE);
	ASSERT_EQ(0, vm_set_slot(&self->u.vm, VM_SLOT_HIGH, GPA_HIGH, mem, SZ_1G, 0));
	ASSERT_EQ(0, ioas_map(self->u.iommufd, self->u.ioas, GPA_HIGH, mem,
			      SZ_1G, IOAS_RW));

	RUN(g_map, 0, iova, GPA_HIGH, 1, MAP_RW | MAP_LEAF(LEAF_1G));
	EXPECT_EQ(0, unit_stats(&self->u).errors);
	for (i = 0; i < ARRAY_SIZE(at); i++)
		EXPECT_EQ(DMA_REACHED, dma_write_to(&self->u, 0, iova + at[i],
						    mem + at[i], DMA_LEN));
	EXPECT_EQ(DMA_BLOCKED, dma_write_to(&self->u, 0, iova + SZ_1G, mem, DMA_LEN));
	RUN(g_unmap, 0, iova, 1, MAP_LEAF(LEAF_1G));
	for (i = 0; i < ARRAY_SIZE(at); i++)
		EXPECT_EQ(DMA_BLOCKED, dma_write_to(&self->u, 0, iova + at[i],
						    mem + at[i], DMA_LEN));
}

/*
 * 2 MiB that the host has in one piece, mapped as pages by one invalidation: they come
 * together, and go and change one by one.
 */
TEST_F_TIMEOUT(dma, pages_at_once, 60)
{
	const __u64 iova = 0x40000000, n = SZ_2M / PAGE_SIZE;
	const __u64 at[] = { 0, 1, 254, 255, 256, 257, n - 1 };
	struct kviommu_stats a, b;
	unsigned int i;
	__u8 *mem;

	mem = unit_high_memory(&self->u, 2 * SZ_2M);
	a = unit_stats(&self->u);
	RUN(g_map, 0, iova, GPA_HIGH, n, MAP_RW);
	b = unit_stats(&self->u);
	EXPECT_EQ(n, MAPS(b) - MAPS(a));
	EXPECT_EQ(n, b.mapped - a.mapped);
#define REACHES(i, m)							\
	dma_write_to(&self->u, 0, iova + (i) * PAGE_SIZE, mem + (m) * PAGE_SIZE, DMA_LEN)
	for (i = 0; i < ARRAY_SIZE(at); i++)
		EXPECT_EQ(DMA_REACHED, REACHES(at[i], at[i]));
	/* One of them goes. */
	RUN(g_unmap, 0, iova + 255 * PAGE_SIZE, 1, 0);
	for (i = 0; i < ARRAY_SIZE(at); i++)
		EXPECT_EQ(at[i] == 255 ? DMA_BLOCKED : DMA_REACHED,
			  REACHES(at[i], at[i]));
	EXPECT_EQ(n - 1, unit_stats(&self->u).mapped - a.mapped);
	/* And comes back, among some that change in the same step */
	RUN(g_map, 0, iova + 254 * PAGE_SIZE, GPA_HIGH + SZ_2M, 3, MAP_RW);
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		bool changed = at[i] >= 254 && at[i] <= 256;

		EXPECT_EQ(changed ? DMA_BLOCKED : DMA_REACHED, REACHES(at[i], at[i]));
		if (changed)
			EXPECT_EQ(DMA_REACHED, REACHES(at[i], at[i] - 254 + n));
	}
	/* Every second one, then the rest */
	for (i = 0; i < n; i += 2)
		RUN(g_unmap_quiet, 0, iova + i * PAGE_SIZE, 1, 0);
	RUN(g_flush_pages, 0, iova, 9);
	EXPECT_EQ(DMA_BLOCKED, REACHES(0, 0));
	EXPECT_EQ(DMA_REACHED, REACHES(1, 1));
	EXPECT_EQ(n / 2, unit_stats(&self->u).mapped - a.mapped);
	RUN(g_unmap, 0, iova, n, 0);
	for (i = 0; i < ARRAY_SIZE(at); i++)
		EXPECT_EQ(DMA_BLOCKED, REACHES(at[i], at[i]));
	b = unit_stats(&self->u);
	EXPECT_EQ(a.mapped, b.mapped);
	EXPECT_EQ(0, b.errors);
#undef REACHES
}

/*
 * Pages that come, change and go together cost the host few calls. VT-d's driver lets
 * go of a part of what came at once; those of the other hosts here do not.
 */
TEST_F(dma, few_calls)
{
	const bool splits = !access("/sys/class/iommu/dmar0", F_OK);
	const __u64 iova = 0x40000000, n = 64;

	unit_high_memory(&self->u, 2 * SZ_2M);
	calls_begin();
	RUN(g_map, 0, iova, GPA_HIGH, n, MAP_RW);
	EXPECT_EQ(splits ? 1 : n, calls_map(iova));
	RUN(g_map, 0, iova, GPA_HIGH + SZ_2M, n, MAP_RW);
	EXPECT_EQ(1, calls_unmap(iova));
	EXPECT_EQ(splits ? 2 : 2 * n, calls_map(iova));
	RUN(g_unmap, 0, iova, n, 0);
	unit_wait_stale(&self->u);
	/* Those that are kept have ends of their own. */
	EXPECT_EQ(variant->config.strategy == KVIOMMU_STRATEGY_OPTIMISTIC ? 1 + n : 2,
		  calls_unmap(iova));
	calls_end();
}

/*
 * At a limit a page that could not be had before is, when another one goes in the same
 * step.
 */
TEST_F(dma, room_in_one_step)
{
	struct kviommu_policy p = unit_policy(&self->u);
	const __u64 iova = 0x40000000;

	RUN(g_map, 0, iova, PAGE(1), 1, MAP_RW);
	p.max_mapped = unit_stats(&self->u).mapped;
	ASSERT_EQ(0, unit_set_policy(&self->u, &p));
	RUN(g_map, 0, iova + PAGE_SIZE, PAGE(2), 1, MAP_RW);
	EXPECT_EQ(1, unit_stats(&self->u).limits);
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova + PAGE_SIZE, PAGE(2)));
	RUN(g_unmap_quiet, 0, iova, 1, 0);
	RUN(g_flush_pages, 0, iova, 1);
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova, PAGE(1)));
	EXPECT_EQ(DMA_REACHED, WRITE(iova + PAGE_SIZE, PAGE(2)));
	EXPECT_EQ(1, unit_stats(&self->u).limits);
}

TEST_F(dma, invalidations)
{
	/* Global, for entries that came and that went */
	RUN(g_map_quiet, 0, 0x10000, PAGE(0), 2, MAP_RW);
	RUN(g_flush_global);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
	RUN(g_unmap_quiet, 0, 0x10000, 1, 0);
	RUN(g_flush_global);
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, WRITE(0x11000, PAGE(1)));
	/* By domain */
	RUN(g_map_quiet, 0, 0x10000, PAGE(2), 1, MAP_RW);
	RUN(g_flush_domain, 0);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(2)));
	RUN(g_unmap_quiet, 0, 0x10000, 2, 0);
	RUN(g_flush_domain, 0);
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(2)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x11000, PAGE(1)));
	/* By page, as wide as CAP.MAMV goes */
	RUN(g_map_quiet, 0, 0x10000, PAGE(3), 1, MAP_RW);
	RUN(g_flush_pages, 0, 0x10000, VTD_CAP_MAMV(self->u.cap));
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(3)));
	RUN(g_unmap_quiet, 0, 0x10000, 1, 0);
	RUN(g_flush_pages, 0, 0x10000, VTD_CAP_MAMV(self->u.cap));
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(3)));
}

/* Many pages, many invalidations, one wait */
static __u64 map_batch(struct guest *g, __u64 n, __u64 map)
{
	__u64 i;

	for (i = 0; i < n; i++) {
		/* Every second page, so that no two are one range */
		__u64 iova = 0x200000 + i * 2 * PAGE_SIZE;

		if (map)
			g_map_quiet(g, 0, iova, PAGE(i), 1, MAP_RW);
		else
			g_unmap_quiet(g, 0, iova, 1, 0);
		g_queue(g, VTD_QI_IOTLB | VTD_QI_SELECTIVE |
			VTD_QI_DID(g->dom[0].did), iova);
	}
	return g_flush(g);
}

TEST_F(dma, batch)
{
	struct kviommu_stats a, b;

	a = unit_stats(&self->u);
	RUN(map_batch, 16, true);
	b = unit_stats(&self->u);
	EXPECT_EQ(16, MAPS(b) - MAPS(a));
	EXPECT_EQ(17, b.descriptors - a.descriptors);
	EXPECT_TRAPS(&self->u, 1, b.reg_writes - a.reg_writes);
	EXPECT_EQ(DMA_REACHED, WRITE(0x200000, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, WRITE(0x200000 + 30 * PAGE_SIZE, PAGE(15)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x200000 + 29 * PAGE_SIZE, PAGE(15)));
	RUN(map_batch, 16, false);
	a = unit_stats(&self->u);
	EXPECT_EQ(16, UNMAPS(a) - UNMAPS(b));
	EXPECT_SYNCS(&self->u, 1, a.syncs - b.syncs);
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x200000, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x200000 + 30 * PAGE_SIZE, PAGE(15)));
}

/*
 * While the device writes to one page, its neighbour comes and goes with
 * invalidations that cover both.
 */
static __u64 neighbours(struct guest *g, __u64 live, __u64 other,
			__u64 other_gpa, __u64 am)
{
	__u64 n = 0;

	g_dma_start(g, 0, EDU_TO_RAM, live, 0, EDU_PATTERN_SIZE);
	do {
		g_map_quiet(g, 0, other, other_gpa, 1, MAP_RW);
		g_flush_pages(g, 0, other, am);
		g_unmap_quiet(g, 0, other, 1, 0);
		g_flush_pages(g, 0, other, am);
		n++;
	} while (g_dma_busy(g, 0));
	return n;
}

/* Guests let the domain-id 0 stand for any, if what they map was not present. */
TEST_F(dma, domain_zero)
{
	const __u64 iova = 0x400000;

	RUN(g_map_quiet, 0, iova, PAGE(3), 1, MAP_RW);
	RUN(g_queue, VTD_QI_IOTLB | VTD_QI_SELECTIVE | VTD_QI_DID(0), iova);
	RUN(g_flush);
	EXPECT_EQ(DMA_REACHED, WRITE(iova, PAGE(3)));
	RUN(g_map_quiet, 0, iova + PAGE_SIZE, PAGE(4), 1, MAP_RW);
	RUN(g_queue, VTD_QI_IOTLB | VTD_QI_DOMAIN | VTD_QI_DID(0), 0);
	RUN(g_flush);
	EXPECT_EQ(DMA_REACHED, WRITE(iova + PAGE_SIZE, PAGE(4)));
}

TEST_F(dma, neighbour_stays)
{
	void *page = vm_hva(&self->u.vm, PAGE(0));
	struct kviommu_stats a, b;
	__u64 am, n = 0;

	RUN(g_map, 0, 0x10000, PAGE(0), 1, MAP_RW);
	a = unit_stats(&self->u);
	for (am = 1; am <= 16; am += 3) {
		memset(page, 0, PAGE_SIZE);
		n += RUN(neighbours, 0x10000, 0x11000, PAGE(1), am);
		EXPECT_EQ(0, memcmp(page, self->u.dev[0].pattern,
				    EDU_PATTERN_SIZE));
	}
	b = unit_stats(&self->u);
	/* Never, not even for a moment, was the live one touched. */
	EXPECT_EQ(n, MAPS(b) - MAPS(a));
	EXPECT_EQ(n, UNMAPS(b) - UNMAPS(a));
}

/*
 * Guests other than Linux may invalidate what did not change.
 */
TEST_F(dma, unchanged_is_no_work)
{
	struct kviommu_stats a, b;

	RUN(g_map, 0, 0x10000, PAGE(0), 8, MAP_RW);
	a = unit_stats(&self->u);
	RUN(g_flush_pages, 0, 0x10000, 3);
	RUN(g_flush_domain, 0);
	RUN(g_flush_global);
	RUN(g_flush_context_global);
	RUN(g_flush_context, SID(0), DID);
	b = unit_stats(&self->u);
	EXPECT_EQ(0, b.maps - a.maps);
	EXPECT_EQ(0, b.unmaps - a.unmaps);
	EXPECT_EQ(a.mapped, b.mapped);
	EXPECT_EQ(a.pin_misses, b.pin_misses);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
}

/* One fixture for what does not depend on the tables' shape */

FIXTURE(single) {
	struct unit u;
};

FIXTURE_VARIANT(single) {
	struct unit_config config;
	unsigned int levels;
};

UNIT_VARIANTS(single, .config.aw_bits = MAX_BITS, .levels = MAX_LEVELS);

/* The unit is set up, its device has no context entry, translation is off. */
FIXTURE_SETUP(single)
{
	struct vm *vm = &self->u.vm;

	unit_open(&self->u, &variant->config);
	unit_add_device(&self->u, 0, SID(0));
	guest_run(vm, g_setup, 0);
	guest_run(vm, g_domain, 0, DID, variant->levels);
	guest_run(vm, g_map_quiet, 0, BOUNCE, BOUNCE_PAGE, 1, MAP_RW);
	guest_run(vm, g_map_quiet, 0, 0x10000, PAGE(0), 1, MAP_RW);
}

FIXTURE_TEARDOWN(single)
{
	unit_close(&self->u);
}

TEST_F(single, live_at_te)
{
	RUN(g_attach, SID(0), 0);
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(PAGE(0), PAGE(0)));
	RUN(g_enable, true);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, READ(0x10000, PAGE(0)));
	RUN(g_enable, false);
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(0)));
	RUN(g_enable, true);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
}

/* Tables that were there before the root was set, as kexec hands them over */
TEST_F(single, tables_before_root)
{
	__u64 root = RUN(g_page);

	self->u.vm.g->root = root;
	RUN(g_context_quiet, SID(0), self->u.vm.g->dom[0].root | VTD_CE_P,
	    VTD_CE_HI_AW(variant->levels) | VTD_CE_HI_DID(DID));
	RUN(g_set_root, root);
	RUN(g_enable, true);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, READ(0x10000, PAGE(0)));
}

/* RTADDR takes effect at SRTP and not before, also while translating. */
TEST_F(single, root_is_latched)
{
	__u64 empty = RUN(g_page), old = self->u.vm.g->root;

	RUN(g_attach, SID(0), 0);
	RUN(g_enable, true);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
	RUN(g_poke64, VTD_RTADDR, empty);
	RUN(g_flush_context_global);
	RUN(g_flush_global);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
	RUN(g_set_root, empty);
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(0)));
	RUN(g_set_root, old);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
}

TEST_F(single, context_cleared)
{
	RUN(g_enable, true);
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(0)));
	RUN(g_attach, SID(0), 0);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
	EXPECT_EQ(1, unit_stats(&self->u).domains);
	RUN(g_detach, SID(0), DID);
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(0)));
	RUN(g_attach, SID(0), 0);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
}

/* The root entry goes, with a global invalidation. */
TEST_F(single, root_entry_cleared)
{
	__u64 *re;

	RUN(g_attach, SID(0), 0);
	RUN(g_enable, true);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
	re = vm_hva(&self->u.vm, self->u.vm.g->root);
	*re &= ~VTD_RE_P;
	RUN(g_flush_context_global);
	RUN(g_flush_global);
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(0)));
}

TEST_F(single, context_by_domain)
{
	RUN(g_attach, SID(0), 0);
	RUN(g_enable, true);
	RUN(g_context_quiet, SID(0), 0, 0);
	RUN(g_queue, VTD_QI_CC | VTD_QI_DOMAIN | VTD_QI_DID(DID), 0);
	RUN(g_flush_domain, 0);
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(0)));
}

/* The function mask widens one invalidation to several functions. */
TEST_F(single, context_by_function)
{
	static const __u64 mask[] = { 0, 4, 6, 7 };
	__u64 fm, sid;

	RUN(g_enable, true);
	ASSERT_EQ(0, unit_detach(self->u.fd, SID(0)));
	for (fm = 1; fm < 4; fm++) {
		/* All bits that do not matter are other ones. */
		sid = SID(2) | mask[fm];
		ASSERT_EQ(0, unit_attach(self->u.fd, self->u.dev[0].fd, sid));
		RUN(g_context_quiet, sid, self->u.vm.g->dom[0].root | VTD_CE_P,
		    VTD_CE_HI_AW(variant->levels) | VTD_CE_HI_DID(DID));
		RUN(g_queue, VTD_QI_CC | VTD_QI_SELECTIVE |
		    VTD_QI_CC_SID(SID(2)) | fm << 48, 0);
		RUN(g_flush_domain, 0);
		EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)))
			TH_LOG("function mask %llu", fm);
		ASSERT_EQ(0, unit_detach(self->u.fd, sid));
	}
}

/* Another domain, in one step and through not present */
TEST_F(single, context_changed)
{
	struct guest *g = self->u.vm.g;

	RUN(g_domain, 1, DID + 1, variant->levels);
	RUN(g_map, 1, 0x10000, PAGE(1), 1, MAP_RW);
	RUN(g_attach, SID(0), 0);
	RUN(g_enable, true);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
	RUN(g_detach, SID(0), DID);
	RUN(g_attach, SID(0), 1);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(1)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(BOUNCE, BOUNCE_PAGE));
	RUN(g_context_quiet, SID(0), g->dom[0].root | VTD_CE_P,
	    VTD_CE_HI_AW(variant->levels) | VTD_CE_HI_DID(DID));
	RUN(g_flush_context, SID(0), DID + 1);
	RUN(g_flush_domain, 1);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(1)));
}

/* Same domain-id, other tables: what crash kernels and some drivers do */
TEST_F(single, table_root_changed)
{
	__u64 old_root = self->u.vm.g->dom[0].root;

	RUN(g_attach, SID(0), 0);
	RUN(g_enable, true);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
	RUN(g_detach, SID(0), DID);
	RUN(g_domain, 0, DID, variant->levels);
	ASSERT_NE(old_root, self->u.vm.g->dom[0].root);
	RUN(g_map_quiet, 0, 0x10000, PAGE(1), 1, MAP_RW);
	RUN(g_attach, SID(0), 0);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(1)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(BOUNCE, BOUNCE_PAGE));
	/* And without an absent entry between */
	RUN(g_context_quiet, SID(0), old_root | VTD_CE_P,
	    VTD_CE_HI_AW(variant->levels) | VTD_CE_HI_DID(DID));
	RUN(g_flush_context, SID(0), DID);
	RUN(g_flush_domain, 0);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(1)));
}

TEST_F(single, pass_through)
{
	RUN(g_enable, true);
	RUN(g_attach_pt, SID(0), DID + 1);
	EXPECT_EQ(1, unit_stats(&self->u).identity_devices);
	EXPECT_EQ(DMA_REACHED, WRITE(PAGE(5), PAGE(5)));
	EXPECT_EQ(DMA_REACHED, WRITE(HUGE(2) + 0x12340, HUGE(2) + 0x12340));
	EXPECT_EQ(DMA_REACHED, dma_read(&self->u, 0, PAGE(6), PAGE(6), PAGE(7),
					PAGE(7)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000000, PAGE(0)));
	RUN(g_detach, SID(0), DID + 1);
	EXPECT_EQ(0, unit_stats(&self->u).identity_devices);
	EXPECT_EQ(DMA_BLOCKED, WRITE(PAGE(5), PAGE(5)));
	RUN(g_attach, SID(0), 0);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(PAGE(5), PAGE(5)));
}

/* Entries that hardware must refuse, present as they are */
TEST_F(single, malformed_context)
{
	struct guest *g = self->u.vm.g;
	const struct {
		const char *what;
		__u64 lo, hi;
	} bad[] = {
		{ "no second-level width", g->dom[0].root | VTD_CE_P,
		  VTD_CE_HI_DID(DID) },
		{ "a level too many", g->dom[0].root | VTD_CE_P,
		  VTD_CE_HI_AW(MAX_LEVELS + 1) | VTD_CE_HI_DID(DID) },
		{ "width 7", g->dom[0].root | VTD_CE_P,
		  7 | VTD_CE_HI_DID(DID) },
		{ "reserved translation type", g->dom[0].root | VTD_CE_P | 3 << 2,
		  VTD_CE_HI_AW(4) | VTD_CE_HI_DID(DID) },
		{ "tables outside of RAM", 0x80000000 | VTD_CE_P,
		  VTD_CE_HI_AW(4) | VTD_CE_HI_DID(DID) },
		{ "tables beyond any RAM", VTD_SL_ADDR | VTD_CE_P,
		  VTD_CE_HI_AW(4) | VTD_CE_HI_DID(DID) },
	};
	unsigned int i;

	RUN(g_enable, true);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		RUN(g_context_quiet, SID(0), bad[i].lo, bad[i].hi);
		RUN(g_flush_context, SID(0), 0);
		RUN(g_flush_domain, 0);
		EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(0)))
			TH_LOG("%s", bad[i].what);
	}
	RUN(g_detach, SID(0), DID);
	RUN(g_attach, SID(0), 0);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
}

TEST_F(single, malformed_entries)
{
	struct kviommu_stats a;
	__u64 *pde;

	RUN(g_attach, SID(0), 0);
	RUN(g_enable, true);
	/* A superpage whose address is not one's: the bits are reserved */
	RUN(g_map, 0, 0x40000000, HUGE(1) + 0x3000, 1, MAP_RW | MAP_LEAF(LEAF_2M));
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x40000000, HUGE(1)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x40000000, HUGE(1) + 0x3000));
	/* A table outside of RAM, and one that is its own child */
	RUN(g_map_quiet, 0, 0x80000000, PAGE(3), 1, MAP_RW);
	pde = ENTRY(0x80000000, LEAF_2M);
	*pde = 0x90000000 | MAP_RW;
	RUN(g_flush_pages, 0, 0x80000000, 9);
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x80000000, PAGE(3)));
	/* Memory that is no RAM: the registers, a device, nothing */
	a = unit_stats(&self->u);
	RUN(g_map, 0, 0x20000, GPA_REGS, 1, MAP_RW);
	RUN(g_map, 0, 0x21000, GPA_BAR, 1, MAP_RW);
	RUN(g_map, 0, 0x22000, 0x80000000, 1, MAP_RW);
	EXPECT_EQ(a.errors + 3, unit_stats(&self->u).errors);
	EXPECT_EQ(a.mapped, unit_stats(&self->u).mapped);
	/* An address that no guest has */
	RUN(g_map, 0, 0x23000, BIT(51), 1, MAP_RW);
	EXPECT_EQ(a.mapped, unit_stats(&self->u).mapped);
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x20000, PAGE(0)));
	/* The others in the same range are not the worse for it. */
	RUN(g_map_quiet, 0, 0x24000, PAGE(4), 1, MAP_RW);
	RUN(g_flush_pages, 0, 0x20000, 3);
	EXPECT_EQ(DMA_REACHED, WRITE(0x24000, PAGE(4)));
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
}

/* A table that is its own child, all the way down: the walk must end. */
TEST_F(single, recursive_table)
{
	__u64 root = self->u.vm.g->dom[0].root;
	__u64 *entry = vm_hva(&self->u.vm, root);

	RUN(g_attach, SID(0), 0);
	RUN(g_enable, true);
	/* One way down: each level is the same page, and so is the leaf */
	entry[5] = root | MAP_RW;
	RUN(g_flush_pages, 0, (MAX_LEVELS > 4 ? 5UL << 48 : 0) | 5UL << 39 |
	    5UL << 30 | 5UL << 21 | 5UL << 12, 0);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
	entry[5] = 0;
	RUN(g_flush_domain, 0);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
}

/* Any bus, any function */
TEST_F(single, source_ids)
{
	static const __u32 sid[] = { 0x0000, 0x00ff, 0x0580, 0xff00, 0xffff };
	unsigned int i;

	RUN(g_enable, true);
	for (i = 0; i < ARRAY_SIZE(sid); i++) {
		ASSERT_EQ(0, unit_detach(self->u.fd, i ? sid[i - 1] : SID(0)));
		/* The guest's entry is there when the device comes, or comes
		 * when the device is.
		 */
		if (i & 1)
			RUN(g_attach, sid[i], 0);
		ASSERT_EQ(0, unit_attach(self->u.fd, self->u.dev[0].fd, sid[i]));
		if (!(i & 1)) {
			EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(0)));
			RUN(g_attach, sid[i], 0);
		}
		EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)))
			TH_LOG("source id %x", sid[i]);
	}
}

TEST_F(single, two_devices_one_domain)
{
	struct kviommu_stats a, b;

	unit_add_device(&self->u, 1, SID(1));
	RUN(g_attach, SID(0), 0);
	RUN(g_enable, true);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 1, 0x10000, PAGE(0)));
	RUN(g_attach, SID(1), 0);
	EXPECT_EQ(1, unit_stats(&self->u).domains);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, 0x10000, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 1, 0x10000, PAGE(0)));
	/* One map, one unmap, for both */
	a = unit_stats(&self->u);
	RUN(g_map, 0, 0x20000, PAGE(1), 1, MAP_RW);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, 0x20000, PAGE(1)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 1, 0x20000, PAGE(1)));
	RUN(g_unmap, 0, 0x20000, 1, 0);
	b = unit_stats(&self->u);
	EXPECT_EQ(1, MAPS(b) - MAPS(a));
	EXPECT_EQ(1, UNMAPS(b) - UNMAPS(a));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, 0x20000, PAGE(1)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 1, 0x20000, PAGE(1)));
	/* One leaves, the other stays. */
	RUN(g_detach, SID(0), DID);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, 0x10000, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 1, 0x10000, PAGE(0)));
}

TEST_F(single, two_devices_two_domains)
{
	unit_add_device(&self->u, 1, SID(1));
	RUN(g_domain, 1, DID + 1, variant->levels);
	RUN(g_map, 1, 0x10000, PAGE(1), 1, MAP_RW);
	RUN(g_attach, SID(0), 0);
	RUN(g_attach, SID(1), 1);
	RUN(g_enable, true);
	EXPECT_EQ(2, unit_stats(&self->u).domains);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, 0x10000, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, 0x10000, PAGE(1)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 1, 0x10000, PAGE(1)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 1, 0x10000, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 1, BOUNCE, BOUNCE_PAGE));
	/* An invalidation in one domain leaves the other alone. */
	RUN(g_unmap, 0, 0x10000, 1, 0);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, 0x10000, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 1, 0x10000, PAGE(1)));
	/* The two exchange their places. */
	RUN(g_detach, SID(0), DID);
	RUN(g_detach, SID(1), DID + 1);
	RUN(g_attach, SID(0), 1);
	RUN(g_attach, SID(1), 0);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, 0x10000, PAGE(1)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 1, BOUNCE, BOUNCE_PAGE));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 1, 0x10000, PAGE(1)));
}

/* The same page behind many addresses is pinned once. */
TEST_F(single, shared_pins)
{
	struct kviommu_stats a, b, c;
	unsigned int i;

	RUN(g_attach, SID(0), 0);
	RUN(g_enable, true);
	a = unit_stats(&self->u);
	for (i = 0; i < 8; i++)
		RUN(g_map, 0, 0x20000 + i * 0x3000, PAGE(50), 1, MAP_RW);
	b = unit_stats(&self->u);
	/* The page, and what tables the guest made for it */
	EXPECT_EQ(8, MAPS(b) - MAPS(a));
	EXPECT_EQ(8, b.mapped - a.mapped);
	EXPECT_GE(2, b.pinned - a.pinned);
	/* One goes; the others hold the page. */
	RUN(g_unmap, 0, 0x20000, 1, 0);
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x20000, PAGE(50)));
	EXPECT_EQ(DMA_REACHED, WRITE(0x23000, PAGE(50)));
	for (i = 1; i < 8; i++)
		RUN(g_unmap, 0, 0x20000 + i * 0x3000, 1, 0);
	c = unit_stats(&self->u);
	EXPECT_EQ(8, UNMAPS(c) - UNMAPS(a));
	EXPECT_EQ(a.mapped, c.mapped);
	/* Kept in the cache or given back, but not more. */
	EXPECT_GE(b.pinned, c.pinned);
	EXPECT_EQ(1, c.pin_misses - a.pin_misses)
		TH_LOG("hits %llu", c.pin_hits - a.pin_hits);
}

/* More descriptors than the queue has places for; nothing grows by it. */
TEST_F_TIMEOUT(single, churn, 60)
{
	struct kviommu_stats a, b;

	RUN(g_attach, SID(0), 0);
	RUN(g_enable, true);
	RUN(g_churn, 0x20000, PAGE(50), 1);
	a = unit_stats(&self->u);
	ASSERT_EQ(1000, RUN(g_churn, 0x20000, PAGE(50), 1000));
	b = unit_stats(&self->u);
	EXPECT_EQ(1000, MAPS(b) - MAPS(a));
	EXPECT_EQ(1000, UNMAPS(b) - UNMAPS(a));
	EXPECT_EQ(4000, b.descriptors - a.descriptors);
	/* Where the queue wraps, one fetch may become two. */
	EXPECT_LE(2000, b.batches - a.batches);
	EXPECT_GE(2000 + 4000 / 256 + 1, b.batches - a.batches);
	EXPECT_TRAPS(&self->u, 2000, b.reg_writes - a.reg_writes);
	EXPECT_SYNCS(&self->u, 1000, b.syncs - a.syncs);
	EXPECT_EQ(a.mapped, b.mapped);
	EXPECT_EQ(a.pinned, b.pinned);
	EXPECT_EQ(a.table_bytes, b.table_bytes);
	EXPECT_EQ(0, b.errors);
	EXPECT_EQ(0, b.faults);
	RUN(g_map, 0, 0x20000, PAGE(50), 1, MAP_RW);
	EXPECT_EQ(DMA_REACHED, WRITE(0x20000, PAGE(50)));
}

/* The other processor is at the registers all the time. */
static __u64 hammer(struct guest *g)
{
	__u64 cap = g_read64(g, VTD_CAP);
	__u32 i;

	for (i = 1; !READ_ONCE(g->stop); i++) {
		g_write32(g, VTD_FEDATA, i);
		g_write32(g, VTD_FECTL, i & 1 ? VTD_ECTL_IM : 0);
		g_write64(g, VTD_CAP, 0);
		G_ASSERT(g, g_read32(g, VTD_FEDATA) == i);
		while (g_read64(g, VTD_CAP) != cap)
			G_ASSERT(g, g->polls);
		G_ASSERT(g, !g_read32(g, VTD_FSTS));
	}
	return i;
}

static void *run_hammer(void *arg)
{
	struct unit *u = arg;

	return (void *)guest_run_on(&u->vm, 1, hammer);
}

TEST_F_TIMEOUT(single, two_vcpus, 60)
{
	struct kviommu_stats a, b;
	pthread_t thread;
	void *hammered;
	int i;

	RUN(g_attach, SID(0), 0);
	RUN(g_enable, true);
	a = unit_stats(&self->u);
	ASSERT_EQ(0, pthread_create(&thread, NULL, run_hammer, &self->u));
	for (i = 0; i < 5; i++) {
		ASSERT_EQ(100, RUN(g_churn, 0x20000, PAGE(50), 100));
		RUN(g_map, 0, 0x20000, PAGE(50 + i), 1, MAP_RW);
		EXPECT_EQ(DMA_REACHED, WRITE(0x20000, PAGE(50 + i)));
		RUN(g_unmap, 0, 0x20000, 1, 0);
	}
	b = unit_stats(&self->u);
	EXPECT_EQ(505, MAPS(b) - MAPS(a));
	EXPECT_EQ(505, UNMAPS(b) - UNMAPS(a));
	EXPECT_EQ(2020, b.descriptors - a.descriptors);
	WRITE_ONCE(self->u.vm.g->stop, 1);
	ASSERT_EQ(0, pthread_join(thread, &hammered));
	EXPECT_LT(100, (long)hammered);
	EXPECT_EQ(0, RUN(g_peek32, VTD_FSTS));
}

/* More ranges at once than any list of the unit's has room for */
static __u64 map_scattered(struct guest *g, __u64 iova, __u64 n)
{
	__u64 i;

	for (i = 0; i < n; i++)
		g_map_quiet(g, 0, iova + i * PAGE_SIZE, PAGE(n - 1 - i), 1, MAP_RW);
	return g_flush_pages(g, 0, iova, 10);
}

TEST_F_TIMEOUT(single, many_pages, 60)
{
	struct kviommu_stats a, b;
	__u64 iova = 0x800000;

	RUN(g_attach, SID(0), 0);
	RUN(g_enable, true);
	a = unit_stats(&self->u);
	RUN(map_scattered, iova, 1024);
	b = unit_stats(&self->u);
	EXPECT_EQ(1024, MAPS(b) - MAPS(a));
	EXPECT_EQ(1024, b.mapped - a.mapped);
	EXPECT_EQ(DMA_REACHED, WRITE(iova, PAGE(1023)));
	EXPECT_EQ(DMA_REACHED, WRITE(iova + 1023 * PAGE_SIZE, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, WRITE(iova + 500 * PAGE_SIZE, PAGE(523)));
	RUN(g_unmap, 0, iova, 1024, 0);
	a = unit_stats(&self->u);
	EXPECT_EQ(1024, UNMAPS(a) - UNMAPS(b));
	EXPECT_EQ(2, a.mapped);
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova, PAGE(1023)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova + 500 * PAGE_SIZE, PAGE(523)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(iova + 1023 * PAGE_SIZE, PAGE(0)));
}

TEST_F(single, stats)
{
	struct kviommu_stats a, b;

	RUN(g_attach, SID(0), 0);
	RUN(g_enable, true);
	a = unit_stats(&self->u);
	EXPECT_EQ(2, a.mapped);
	EXPECT_EQ(1, a.domains);
	EXPECT_EQ(1, a.devices);

	RUN(g_map, 0, 0x20000, PAGE(10), 10, MAP_RW);
	b = unit_stats(&self->u);
	EXPECT_EQ(10, MAPS(b) - MAPS(a));
	EXPECT_EQ(0, UNMAPS(b) - UNMAPS(a));
	EXPECT_EQ(2, b.descriptors - a.descriptors);
	EXPECT_EQ(1, b.batches - a.batches);
	EXPECT_TRAPS(&self->u, 1, b.reg_writes - a.reg_writes);
	EXPECT_EQ(12, b.mapped);
	EXPECT_EQ(10, b.pinned - a.pinned);
	EXPECT_EQ(10, b.pin_misses - a.pin_misses);
	EXPECT_LE(b.pinned, b.pinned_peak);

	RUN(g_unmap, 0, 0x20000, 10, 0);
	a = unit_stats(&self->u);
	EXPECT_EQ(0, MAPS(a) - MAPS(b));
	EXPECT_EQ(10, UNMAPS(a) - UNMAPS(b));
	EXPECT_SYNCS(&self->u, 1, a.syncs - b.syncs);
	EXPECT_EQ(2, a.mapped);
	EXPECT_GE(b.pinned, a.pinned);

	RUN(g_map, 0, 0x40000000, HUGE(1), 1, MAP_RW | MAP_LEAF(LEAF_2M));
	b = unit_stats(&self->u);
	EXPECT_LT(a.maps, b.maps);
	EXPECT_EQ(2 + 512, b.mapped);
	RUN(g_unmap, 0, 0x40000000, 1, MAP_LEAF(LEAF_2M));
	EXPECT_EQ(b.maps - a.maps,
		  unit_stats(&self->u).unmaps - a.unmaps);
	EXPECT_EQ(2, unit_stats(&self->u).mapped);

	RUN(g_detach, SID(0), DID);
	RUN(g_enable, false);
	ASSERT_EQ(0, unit_reset(self->u.fd));
	b = unit_stats(&self->u);
	EXPECT_EQ(0, b.mapped);
	EXPECT_EQ(0, b.pinned);
	EXPECT_EQ(0, b.domains);
	EXPECT_EQ(1, b.devices);
}

/* The VM's reset: no trace of what was, and all can begin anew. */
TEST_F(single, reset)
{
	RUN(g_attach, SID(0), 0);
	RUN(g_enable, true);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
	ASSERT_EQ(0, unit_reset(self->u.fd));
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(PAGE(0), PAGE(0)));
	RUN(g_setup, 0);
	RUN(g_domain, 0, DID, 3);
	RUN(g_map, 0, 0x10000, PAGE(1), 1, MAP_RW);
	RUN(g_attach, SID(0), 0);
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(1)));
	RUN(g_enable, true);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(1)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(0)));
}

/* Register-based invalidation, for a guest without a queue */
static __u64 flush_by_register(struct guest *g)
{
	__u64 iotlb = VTD_ECAP_IRO(g_read64(g, VTD_ECAP)) + VTD_IOTLB;

	g_write64(g, VTD_CCMD, VTD_CCMD_ICC | VTD_CCMD_GLOBAL);
	g_wait_clear(g, VTD_CCMD, VTD_CCMD_ICC);
	g_write64(g, iotlb, VTD_IOTLB_IVT | VTD_IOTLB_GLOBAL);
	g_wait_clear(g, iotlb, VTD_IOTLB_IVT);
	return 0;
}

static __u64 flush_page_by_register(struct guest *g, __u64 iova, __u64 did)
{
	__u64 iva = VTD_ECAP_IRO(g_read64(g, VTD_ECAP)) + VTD_IVA;

	g_write64(g, iva, iova);
	g_write64(g, iva + VTD_IOTLB, VTD_IOTLB_IVT | VTD_IOTLB_PSI |
		  VTD_IOTLB_DID(did));
	g_wait_clear(g, iva + VTD_IOTLB, VTD_IOTLB_IVT);
	return 0;
}

TEST_F(single, without_queue)
{
	struct guest *g = self->u.vm.g;

	RUN(g_command, VTD_GCMD_QIE, false);
	RUN(g_context_quiet, SID(0), g->dom[0].root | VTD_CE_P,
	    VTD_CE_HI_AW(variant->levels) | VTD_CE_HI_DID(DID));
	RUN(flush_by_register);
	RUN(g_enable, true);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
	RUN(g_map_quiet, 0, 0x10000, PAGE(1), 1, MAP_RW);
	RUN(flush_page_by_register, 0x10000, DID);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(1)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(0)));
	RUN(g_unmap_quiet, 0, 0x10000, 1, 0);
	RUN(flush_page_by_register, 0x10000, DID);
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(1)));
	RUN(g_context_quiet, SID(0), 0, 0);
	RUN(flush_by_register);
	EXPECT_EQ(DMA_BLOCKED, WRITE(BOUNCE, BOUNCE_PAGE));
}

/* Units of other kinds */
FIXTURE(other) {
};

FIXTURE_VARIANT(other) {
	struct unit_config config;
};

UNIT_VARIANTS(other);

FIXTURE_SETUP(other)
{
}

FIXTURE_TEARDOWN(other)
{
}

/* What the IOAS forbids, the guest cannot allow. */
TEST_F(other, read_only_memory)
{
	struct unit_config config = variant->config;
	struct unit u;

	config.no_ram = true;
	unit_open(&u, &config);
	ASSERT_EQ(0, ioas_map(u.iommufd, u.ioas, 0, u.vm.ram, PAGE(50), IOAS_RW));
	ASSERT_EQ(0, ioas_map(u.iommufd, u.ioas, PAGE(50), u.vm.ram + PAGE(50),
			      PAGE_SIZE, IOMMU_IOAS_MAP_READABLE));
	ASSERT_EQ(0, ioas_map(u.iommufd, u.ioas, PAGE(51), u.vm.ram + PAGE(51),
			      GPA_RAM_END - PAGE(51), IOAS_RW));
	unit_add_device(&u, 0, SID(0));
	start_guest(&u, 4);
	guest_run(&u.vm, g_map, 0, 0x10000, PAGE(49), 3, MAP_RW);
	EXPECT_EQ(DMA_REACHED, dma_write(&u, 0, 0x10000, PAGE(49)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&u, 0, 0x11000, PAGE(50)));
	EXPECT_EQ(DMA_REACHED, dma_write(&u, 0, 0x12000, PAGE(51)));
	guest_run(&u.vm, g_map, 0, 0x20000, PAGE(50), 1, MAP_R);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&u, 0, 0x20000, PAGE(50)));
	EXPECT_EQ(DMA_REACHED, dma_read(&u, 0, 0x20000, PAGE(50), BOUNCE,
					BOUNCE_PAGE));
	/* Being mapped for reading already does not help. */
	guest_run(&u.vm, g_map, 0, 0x21000, PAGE(50), 1, MAP_RW);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&u, 0, 0x21000, PAGE(50)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&u, 0, 0x20000, PAGE(50)));
	unit_close(&u);
}

TEST_F(other, boot_identity)
{
	struct unit_config config = variant->config;
	struct unit u;

	config.flags = KVIOMMU_VTD_BOOT_IDENTITY;
	unit_open(&u, &config);
	unit_add_device(&u, 0, SID(0));
	EXPECT_EQ(1, unit_stats(&u).identity_devices);
	EXPECT_EQ(DMA_REACHED, dma_write(&u, 0, PAGE(5), PAGE(5)));
	start_guest(&u, 4);
	EXPECT_EQ(0, unit_stats(&u).identity_devices);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&u, 0, PAGE(5), PAGE(5)));
	EXPECT_EQ(DMA_REACHED, dma_write(&u, 0, BOUNCE, BOUNCE_PAGE));
	/* Whenever the guest has translation off, as without an IOMMU */
	guest_run(&u.vm, g_enable, false);
	EXPECT_EQ(DMA_REACHED, dma_write(&u, 0, PAGE(5), PAGE(5)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&u, 0, BOUNCE, BOUNCE_PAGE));
	guest_run(&u.vm, g_enable, true);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&u, 0, PAGE(5), PAGE(5)));
	EXPECT_EQ(DMA_REACHED, dma_write(&u, 0, BOUNCE, BOUNCE_PAGE));
	ASSERT_EQ(0, unit_reset(u.fd));
	EXPECT_EQ(DMA_REACHED, dma_write(&u, 0, PAGE(5), PAGE(5)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&u, 0, BOUNCE, BOUNCE_PAGE));
	unit_close(&u);
}

/* While translation is off what is no bus master reaches nothing, and has nothing pinned. */
TEST_F(other, boot_master)
{
	struct unit_config config = variant->config;
	struct kviommu_get_device d;
	struct unit u;
	long pins;

	config.flags = KVIOMMU_VTD_BOOT_IDENTITY | KVIOMMU_VTD_BOOT_MASTER;
	unit_open(&u, &config);
	pins = host_pins();
	unit_add_device(&u, 0, SID(0));
	unit_add_device(&u, 1, SID(1));
	EXPECT_EQ(0, unit_stats(&u).identity_devices);
	EXPECT_EQ(pins, host_pins());
	EXPECT_EQ(DMA_BLOCKED, dma_write(&u, 0, PAGE(5), PAGE(5)));
	ASSERT_EQ(0, unit_get_device(&u, SID(0), &d));
	EXPECT_EQ(KVIOMMU_DMA_BLOCKED, d.out_wanted);
	EXPECT_EQ(0, d.out_error);

	/* For this device only; again makes no difference. */
	ASSERT_EQ(0, unit_set_bus_master(&u, SID(0), true));
	EXPECT_EQ(DMA_REACHED, dma_write(&u, 0, PAGE(5), PAGE(5)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&u, 1, PAGE(6), PAGE(6)));
	EXPECT_EQ(1, unit_stats(&u).identity_devices);
	ASSERT_EQ(0, unit_set_bus_master(&u, SID(0), true));
	EXPECT_EQ(DMA_REACHED, dma_write(&u, 0, PAGE(5), PAGE(5)));
	ASSERT_EQ(0, unit_get_device(&u, SID(0), &d));
	EXPECT_EQ(KVIOMMU_DMA_IDENTITY, d.out_in_force);
	ASSERT_EQ(0, unit_set_bus_master(&u, SID(0), false));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&u, 0, PAGE(5), PAGE(5)));
	EXPECT_EQ(pins, host_pins());

	/* What the guest translates does not depend on it. */
	start_guest(&u, 4);
	EXPECT_EQ(DMA_REACHED, dma_write(&u, 0, BOUNCE, BOUNCE_PAGE));
	ASSERT_EQ(0, unit_set_bus_master(&u, SID(0), true));
	EXPECT_EQ(0, unit_stats(&u).identity_devices);
	EXPECT_EQ(DMA_REACHED, dma_write(&u, 0, BOUNCE, BOUNCE_PAGE));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&u, 0, PAGE(5), PAGE(5)));
	/* When it is off again it does. */
	guest_run(&u.vm, g_enable, false);
	EXPECT_EQ(DMA_REACHED, dma_write(&u, 0, PAGE(5), PAGE(5)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&u, 1, PAGE(6), PAGE(6)));
	guest_run(&u.vm, g_enable, true);
	ASSERT_EQ(0, unit_set_bus_master(&u, SID(0), false));
	EXPECT_EQ(DMA_REACHED, dma_write(&u, 0, BOUNCE, BOUNCE_PAGE));
	guest_run(&u.vm, g_enable, false);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&u, 0, PAGE(5), PAGE(5)));

	/* A reset, or another attach, begins without. */
	ASSERT_EQ(0, unit_set_bus_master(&u, SID(0), true));
	EXPECT_EQ(DMA_REACHED, dma_write(&u, 0, PAGE(5), PAGE(5)));
	ASSERT_EQ(0, unit_reset(u.fd));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&u, 0, PAGE(5), PAGE(5)));
	ASSERT_EQ(0, unit_set_bus_master(&u, SID(0), true));
	ASSERT_EQ(0, unit_detach(u.fd, SID(0)));
	EXPECT_EQ(ENOENT, unit_set_bus_master(&u, SID(0), true));
	ASSERT_EQ(0, unit_attach(u.fd, u.dev[0].fd, SID(0)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&u, 0, PAGE(5), PAGE(5)));
	EXPECT_EQ(pins, host_pins());
	unit_close(&u);
}

/* Two virtual machines, the same addresses in both */
FIXTURE(two_units) {
	struct unit u[2];
};

FIXTURE_VARIANT(two_units) {
	struct unit_config config;
	unsigned int levels;
};

UNIT_VARIANTS(two_units, .config.aw_bits = MAX_BITS, .levels = MAX_LEVELS);

FIXTURE_SETUP(two_units)
{
	int i;

	for (i = 0; i < 2; i++) {
		unit_open(&self->u[i], &variant->config);
		unit_add_device(&self->u[i], i, SID(0));
		start_guest(&self->u[i], variant->levels);
	}
}

FIXTURE_TEARDOWN(two_units)
{
	unit_close(&self->u[0]);
	unit_close(&self->u[1]);
}

TEST_F(two_units, apart)
{
	int i;

	for (i = 0; i < 2; i++) {
		struct unit *mine = &self->u[i], *other = &self->u[!i];
		void *pattern = mine->dev[0].pattern;

		guest_run(&mine->vm, g_map, 0, 0x10000, PAGE(0), 1, MAP_RW);
		EXPECT_EQ(DMA_REACHED, dma_read(mine, 0, 0x10000, PAGE(0),
						BOUNCE, BOUNCE_PAGE));
		EXPECT_EQ(DMA_REACHED, dma_write(mine, 0, 0x10000, PAGE(0)));
		/* Nothing of it anywhere in the other's memory */
		EXPECT_EQ(NULL, memmem(other->vm.ram, GPA_RAM_END, pattern, 16));
		EXPECT_NE(NULL, memmem(mine->vm.ram, GPA_RAM_END, pattern, 16));
	}
	/* What one unmaps stays with the other, and so does a reset. */
	guest_run(&self->u[0].vm, g_unmap, 0, 0x10000, 1, 0);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u[0], 0, 0x10000, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u[1], 0, 0x10000, PAGE(0)));
	ASSERT_EQ(0, unit_reset(self->u[0].fd));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u[0], 0, BOUNCE, BOUNCE_PAGE));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u[1], 0, 0x10000, PAGE(0)));
}

static void *busy_unit(void *arg)
{
	struct unit *u = arg;
	long failed = 0;
	int i;

	for (i = 0; i < 5; i++) {
		guest_run(&u->vm, g_churn, 0x20000, PAGE(50), 200);
		guest_run(&u->vm, g_map, 0, 0x10000, PAGE(i), 1, MAP_RW);
		failed += dma_write(u, 0, 0x10000, PAGE(i)) != DMA_REACHED;
		guest_run(&u->vm, g_unmap, 0, 0x10000, 1, 0);
		failed += dma_write(u, 0, 0x10000, PAGE(i)) != DMA_BLOCKED;
	}
	return (void *)failed;
}

TEST_F_TIMEOUT(two_units, at_once, 60)
{
	pthread_t thread[2];
	void *failed;
	int i;

	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, busy_unit,
					    &self->u[i]));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, pthread_join(thread[i], &failed));
		EXPECT_EQ(NULL, failed);
	}
}

/* Devices come and go while the guest is at work. */
static void *run_churn(void *arg)
{
	struct unit *u = arg;

	guest_run(&u->vm, g_churn, 0x20000, PAGE(50), ~0UL);
	return NULL;
}

TEST_F_TIMEOUT(single, hotplug, 60)
{
	struct edu *edu = &self->u.dev[1];
	void *page = vm_hva(&self->u.vm, PAGE(0));
	pthread_t thread;
	__u64 seen;
	int i;

	unit_open_device(&self->u, 1, SID(1));
	/* The guest expects it, and works with the other one. */
	RUN(g_attach, SID(1), 0);
	RUN(g_attach, SID(0), 0);
	RUN(g_enable, true);
	ASSERT_EQ(0, pthread_create(&thread, NULL, run_churn, &self->u));
	for (i = 0; i < 5; i++) {
		ASSERT_EQ(0, unit_attach(self->u.fd, edu->fd, SID(1)));
		memset(page, 0, DMA_LEN);
		edu_dma(edu, EDU_TO_RAM, 0x10000, 0, DMA_LEN);
		EXPECT_EQ(0, memcmp(page, edu->pattern, DMA_LEN));
		ASSERT_EQ(0, unit_detach(self->u.fd, SID(1)));
		memset(page, 0, DMA_LEN);
		edu_dma(edu, EDU_TO_RAM, 0x10000, 0, DMA_LEN);
		EXPECT_NE(0, memcmp(page, edu->pattern, DMA_LEN));
	}
	/* The guest was at work all the time, and still is. */
	seen = READ_ONCE(self->u.vm.g->count);
	EXPECT_LT(0, seen);
	while (READ_ONCE(self->u.vm.g->count) < seen + 10)
		usleep(1000);
	WRITE_ONCE(self->u.vm.g->stop, 1);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
}

/* To the letter of the specification: see Documentation/obligations.rst. */

/* What the tables do not reach, a device does not reach, nor what is beyond. */
TEST_F(dma, beyond_width)
{
	const __u64 last = self->top - PAGE_SIZE;

	RUN(g_map, 0, 0, PAGE(0), 1, MAP_RW);
	RUN(g_map, 0, last, PAGE(1), 1, MAP_RW);
	EXPECT_EQ(DMA_REACHED, WRITE(last, PAGE(1)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(self->top, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, READ(self->top, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(self->top + last, PAGE(1)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(BIT(63), PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(-PAGE_SIZE, PAGE(1)));
}

/* Bits that the specification has ignored, in leaves and in tables */
TEST_F(dma, ignored_bits)
{
	const __u64 ignored = 0xbff000000000077c;
	__u64 level, *entry;

	RUN(g_map_quiet, 0, 0x40000000, PAGE(0), 1, MAP_RW);
	for (level = variant->levels; level >= 1; level--) {
		entry = ENTRY(0x40000000, level);
		*entry |= ignored;
	}
	RUN(g_flush_domain, 0);
	EXPECT_EQ(DMA_REACHED, WRITE(0x40000000, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, READ(0x40000000, PAGE(0)));
	EXPECT_EQ(0, unit_stats(&self->u).faults);
	EXPECT_EQ(0, RUN(g_peek32, VTD_FSTS));
}

/* Address bits from MGAW on are ignored, by the queue and by registers. */
static __u64 flush_page(struct guest *g, __u64 iva, __u64 did)
{
	g_queue(g, VTD_QI_IOTLB | VTD_QI_SELECTIVE | VTD_QI_DID(did), iva);
	return g_flush(g);
}

TEST_F(dma, invalidated_beyond_width)
{
	const __u64 mgaw = VTD_CAP_MGAW(self->u.cap) + 1;
	__u64 bit;

	for (bit = mgaw; bit < 64; bit += 5) {
		RUN(g_map_quiet, 0, 0x10000, PAGE(0), 1, MAP_RW);
		RUN(flush_page, 0x10000 | BIT(bit), DID);
		EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
		RUN(g_unmap_quiet, 0, 0x10000, 1, 0);
		RUN(g_command, VTD_GCMD_QIE, false);
		RUN(flush_page_by_register, 0x10000 | BIT(bit), DID);
		EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(0)));
		RUN(g_queue_on, 0);
	}
}

/* Each address mask: the pages that it covers, from any of them, and no other */
TEST_F_TIMEOUT(dma, address_masks, 60)
{
	const __u64 iova = 0x40000000;
	struct kviommu_stats a, b;
	__u64 am, size;

	for (am = 0; am <= VTD_CAP_MAMV(self->u.cap); am += 3) {
		size = PAGE_SIZE << am;
		/* In its middle or its only page, in its last, and beside it */
		RUN(g_map_quiet, 0, iova + (size / 2 & -PAGE_SIZE), PAGE(0), 1, MAP_RW);
		RUN(g_map_quiet, 0, iova + size - PAGE_SIZE, PAGE(1), 1, MAP_RW);
		RUN(g_map_quiet, 0, iova + size, PAGE(2), 1, MAP_RW);
		RUN(g_map_quiet, 0, iova - PAGE_SIZE, PAGE(2), 1, MAP_RW);
		a = unit_stats(&self->u);
		/* Low address bits do not count. */
		RUN(flush_page, iova | (size - PAGE_SIZE) | am | VTD_QI_HI_IH, DID);
		b = unit_stats(&self->u);
		EXPECT_EQ(am ? 2 : 1, MAPS(b) - MAPS(a))
			TH_LOG("mask %llu", am);
		EXPECT_EQ(DMA_REACHED, WRITE(iova + size - PAGE_SIZE, PAGE(1)));
		RUN(g_unmap_quiet, 0, iova + (size / 2 & -PAGE_SIZE), 1, 0);
		RUN(g_unmap_quiet, 0, iova + size - PAGE_SIZE, 1, 0);
		RUN(g_unmap_quiet, 0, iova + size, 1, 0);
		RUN(g_unmap_quiet, 0, iova - PAGE_SIZE, 1, 0);
		RUN(flush_page, iova | am, DID);
		EXPECT_EQ(DMA_BLOCKED, WRITE(iova + size - PAGE_SIZE, PAGE(1)));
		EXPECT_EQ(a.mapped, unit_stats(&self->u).mapped);
	}
}

/* A width between: tables of 4 levels, of which a part is out of reach */
TEST_F(other, width_of_44_bits)
{
	struct unit_config config = variant->config;
	struct unit u;

	config.aw_bits = 44;
	unit_open(&u, &config);
	unit_add_device(&u, 0, SID(0));
	start_guest(&u, 4);
	guest_run(&u.vm, g_map, 0, BIT(44) - PAGE_SIZE, PAGE(0), 1, MAP_RW);
	guest_run(&u.vm, g_map, 0, BIT(44), PAGE(1), 1, MAP_RW);
	guest_run(&u.vm, g_map, 0, BIT(47), PAGE(1), 1, MAP_RW);
	guest_run(&u.vm, g_flush_domain, 0);
	EXPECT_EQ(DMA_REACHED, dma_write(&u, 0, BIT(44) - PAGE_SIZE, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&u, 0, BIT(44), PAGE(1)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&u, 0, BIT(47), PAGE(1)));
	EXPECT_EQ(2, unit_stats(&u).mapped);
	unit_close(&u);
}

/* Translation enabled by a guest that never set a root table */
TEST_F(other, no_root_table)
{
	struct unit u;

	unit_open(&u, &variant->config);
	unit_add_device(&u, 0, SID(0));
	EXPECT_EQ(VTD_GCMD_TE, guest_run(&u.vm, g_enable, true));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&u, 0, PAGE(0), PAGE(0)));
	start_guest(&u, 4);
	EXPECT_EQ(DMA_REACHED, dma_write(&u, 0, BOUNCE, BOUNCE_PAGE));
	unit_close(&u);
}

/* One invalidation by registers */
static __u64 inval_registers(struct guest *g, __u64 ccmd, __u64 iotlb)
{
	__u64 reg = VTD_ECAP_IRO(g_read64(g, VTD_ECAP)) + VTD_IOTLB;

	if (ccmd) {
		g_write64(g, VTD_CCMD, VTD_CCMD_ICC | ccmd);
		g_wait_clear(g, VTD_CCMD, VTD_CCMD_ICC);
	}
	if (iotlb) {
		g_write64(g, reg, VTD_IOTLB_IVT | iotlb);
		g_wait_clear(g, reg, VTD_IOTLB_IVT);
	}
	return 0;
}

/* Each granularity by registers, for what comes and for what goes */
TEST_F_TIMEOUT(single, registers_all_granularities, 60)
{
	static const struct {
		__u64 ccmd, iotlb;
	} inval[] = {
		{ VTD_CCMD_GLOBAL, VTD_IOTLB_GLOBAL },
		{ VTD_CCMD_DOMAIN | DID, VTD_IOTLB_DSI | VTD_IOTLB_DID(DID) },
		{ VTD_CCMD_DEVICE | SID(0) << 16 | DID,
		  VTD_IOTLB_DSI | VTD_IOTLB_DID(DID) },
		/* Another function, but FM says that it does not matter. */
		{ VTD_CCMD_DEVICE | 3UL << 32 | (SID(0) ^ 7) << 16 | DID,
		  VTD_IOTLB_DSI | BIT(49) | BIT(48) | VTD_IOTLB_DID(DID) },
	};
	const __u64 lo = self->u.vm.g->dom[0].root | VTD_CE_P;
	const __u64 hi = VTD_CE_HI_AW(variant->levels) | VTD_CE_HI_DID(DID);
	unsigned int i;

	RUN(g_enable, true);
	RUN(g_command, VTD_GCMD_QIE, false);
	for (i = 0; i < ARRAY_SIZE(inval); i++) {
		RUN(g_context_quiet, SID(0), lo, hi);
		RUN(inval_registers, inval[i].ccmd, inval[i].iotlb);
		EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)))
			TH_LOG("%u", i);
		RUN(g_map_quiet, 0, 0x20000, PAGE(1), 1, MAP_RW);
		RUN(inval_registers, 0, inval[i].iotlb);
		EXPECT_EQ(DMA_REACHED, WRITE(0x20000, PAGE(1)))
			TH_LOG("%u", i);
		RUN(g_unmap_quiet, 0, 0x20000, 1, 0);
		RUN(inval_registers, 0, inval[i].iotlb);
		EXPECT_EQ(DMA_BLOCKED, WRITE(0x20000, PAGE(1)))
			TH_LOG("%u", i);
		RUN(g_context_quiet, SID(0), 0, 0);
		RUN(inval_registers, inval[i].ccmd, inval[i].iotlb);
		EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(0)))
			TH_LOG("%u", i);
	}
}

/* While the queue is on, registers do nothing. */
TEST_F(single, registers_refused)
{
	RUN(g_attach, SID(0), 0);
	RUN(g_enable, true);
	RUN(g_map_quiet, 0, 0x20000, PAGE(1), 1, MAP_RW);
	RUN(g_context_quiet, SID(0), 0, 0);
	RUN(inval_registers, VTD_CCMD_GLOBAL, VTD_IOTLB_GLOBAL);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x20000, PAGE(1)));
	RUN(g_flush_context_global);
	EXPECT_EQ(DMA_BLOCKED, WRITE(0x10000, PAGE(0)));
}

/* Two domains by their ids, of the same tables */
TEST_F(single, two_ids_one_root)
{
	struct guest *g = self->u.vm.g;

	unit_add_device(&self->u, 1, SID(1));
	RUN(g_attach, SID(0), 0);
	g->dom[1] = g->dom[0];
	g->dom[1].did = DID + 1;
	RUN(g_attach, SID(1), 1);
	RUN(g_enable, true);
	EXPECT_EQ(2, unit_stats(&self->u).domains);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, 0x10000, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 1, 0x10000, PAGE(0)));
	/* Each id has to be invalidated. */
	RUN(g_unmap, 0, 0x10000, 1, 0);
	RUN(g_flush_domain, 1);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, 0x10000, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 1, 0x10000, PAGE(0)));
	/* From one id to the other, with the tables where they were */
	RUN(g_attach, SID(1), 0);
	EXPECT_EQ(1, unit_stats(&self->u).domains);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 1, BOUNCE, BOUNCE_PAGE));
}

/* From pass-through to tables and back, without an absent entry between */
TEST_F(single, pass_through_in_one_step)
{
	unsigned int i;

	RUN(g_enable, true);
	for (i = 0; i < 3; i++) {
		RUN(g_attach_pt, SID(0), DID + 1);
		EXPECT_EQ(DMA_REACHED, WRITE(PAGE(5), PAGE(5)));
		EXPECT_EQ(DMA_BLOCKED, WRITE(0x7fff0000, BOUNCE_PAGE));
		RUN(g_attach, SID(0), 0);
		EXPECT_EQ(DMA_BLOCKED, WRITE(PAGE(5), PAGE(5)));
		EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
	}
}

/*
 * The device works all the time while its context entry, or translation as a
 * whole, goes and comes. Once the guest sees that it is gone nothing arrives.
 */
static __u64 gone_under_dma(struct guest *g, __u64 sid, __u64 by_te, __u64 gpa)
{
	__u64 *mem = (__u64 *)gpa, n, late = 0;

	g_dma_start(g, 0, EDU_TO_RAM, 0x10000, 0, EDU_PATTERN_SIZE);
	if (by_te)
		g_enable(g, false);
	else
		g_detach(g, sid, DID);
	for (n = 0; n < PAGE_SIZE / 8; n++)
		WRITE_ONCE(mem[n], 0);
	while (g_dma_busy(g, 0))
		;
	for (n = 0; n < PAGE_SIZE / 8; n++)
		late += !!READ_ONCE(mem[n]);
	if (by_te)
		g_enable(g, true);
	else
		g_attach(g, sid, 0);
	return late;
}

TEST_F_TIMEOUT(single, gone_under_dma, 60)
{
	unsigned int i;

	RUN(g_attach, SID(0), 0);
	RUN(g_enable, true);
	for (i = 0; i < 10; i++) {
		EXPECT_EQ(0, RUN(gone_under_dma, SID(0), i & 1, PAGE(0)));
		EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
	}
}

/* The same with reads: what the guest writes afterwards does not get out. */
static __u64 gone_under_reads(struct guest *g, __u64 sid, __u64 by_te, __u64 gpa,
			      __u64 secret)
{
	__u64 *mem = (__u64 *)gpa, n;

	g_dma_start(g, 0, EDU_FROM_RAM, 0x10000, EDU_PATTERN_SIZE, DMA_LEN);
	if (by_te)
		g_enable(g, false);
	else
		g_detach(g, sid, DID);
	for (n = 0; n < DMA_LEN / 8; n++)
		WRITE_ONCE(mem[n], secret);
	while (g_dma_busy(g, 0))
		;
	if (by_te)
		g_enable(g, true);
	else
		g_attach(g, sid, 0);
	g_dma(g, 0, EDU_TO_RAM, BOUNCE, EDU_PATTERN_SIZE, DMA_LEN);
	return 0;
}

TEST_F_TIMEOUT(single, gone_under_reads, 60)
{
	const __u64 *back = vm_hva(&self->u.vm, BOUNCE_PAGE);
	unsigned int i, j;

	RUN(g_attach, SID(0), 0);
	RUN(g_enable, true);
	for (i = 0; i < 10; i++) {
		__u64 secret = 0x5ec2e75ec2e70000 + i;

		RUN(gone_under_reads, SID(0), i & 1, PAGE(0), secret);
		for (j = 0; j < DMA_LEN / 8; j++)
			EXPECT_NE(secret, back[j]);
	}
	EXPECT_EQ(DMA_REACHED, READ(0x10000, PAGE(0)));
}

/* A page of the interrupt range is no memory: requests do not become messages. */
TEST_F(single, output_to_interrupts)
{
	struct kviommu_stats a;

	RUN(g_attach, SID(0), 0);
	RUN(g_enable, true);
	a = unit_stats(&self->u);
	RUN(g_map, 0, 0x30000, 0xfee00000, 1, MAP_RW);
	EXPECT_EQ(a.mapped, unit_stats(&self->u).mapped);
	EXPECT_EQ(a.errors + 1, unit_stats(&self->u).errors);
	dma_run(&self->u, 0, EDU_TO_RAM, 0x30000, 0, 4);
	EXPECT_EQ(DMA_REACHED, WRITE(0x10000, PAGE(0)));
	EXPECT_EQ(0, RUN(g_peek32, VTD_FSTS));
}

TEST_HARNESS_MAIN
