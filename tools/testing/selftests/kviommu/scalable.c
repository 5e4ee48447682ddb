// SPDX-License-Identifier: GPL-2.0
/*
 * Units whose guests use scalable mode: the physical IOMMU walks the guest's first-stage
 * tables, on a host that can.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>

#include "kselftest_harness.h"
#include "calls.h"
#include "pollers.h"
#include "require.h"
#include "unit.h"
#include "variants.h"

#define RUN(fn, ...) guest_run(&self->u.vm, fn, ##__VA_ARGS__)

FIXTURE(scalable) {
	struct unit u;
};

FIXTURE_VARIANT(scalable) {
	struct unit_config config;
};

UNIT_MODES(scalable, .config.nested = true);

FIXTURE_SETUP(scalable)
{
	unit_open_guest(&self->u, &variant->config, DID, IOVA);
	guest_run(&self->u.vm, g_enable, true);
}

FIXTURE_TEARDOWN(scalable)
{
	unit_close(&self->u);
}

TEST_F(scalable, capabilities)
{
	struct unit *u = &self->u;
	struct kviommu_vtd_info info;
	struct kviommu_get_device d;
	struct utsname uts;

	/* The hardware has PASIDs, but 6.12 cannot attach them to tables of a guest. */
	ASSERT_EQ(0, kviommu_get_vtd_info(u->fd, &info));
	ASSERT_EQ(0, uname(&uts));
	EXPECT_EQ(strncmp(uts.release, "6.12.", 5) ? VTD_ECAP_PASID : 0,
		  info.out_ecap & VTD_ECAP_PASID);
	EXPECT_FALSE(u->ecap & (VTD_ECAP_PASID | VTD_ECAP_PSS));
	EXPECT_TRUE(u->ecap & VTD_ECAP_SMTS);
	EXPECT_TRUE(u->ecap & VTD_ECAP_FSTS);
	EXPECT_TRUE(u->cap & VTD_CAP_CM);
	ASSERT_EQ(0, unit_get_device(u, SID(0), &d));
	EXPECT_EQ(KVIOMMU_DMA_TRANSLATED, d.out_wanted);
	EXPECT_EQ(KVIOMMU_DMA_TRANSLATED, d.out_in_force);
	EXPECT_EQ(0, d.out_error);
	EXPECT_EQ(KVIOMMU_PINS_ALL, d.out_pins);
	EXPECT_LE(GPA_RAM_END / PAGE_SIZE, unit_stats(u).pinned);
}

/* A map is a store of the guest, and nothing else. */
TEST_F(scalable, map)
{
	struct unit *u = &self->u;
	struct kviommu_stats a, b;
	__u64 *e;

	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	unit_poll(u);
	a = unit_stats(u);
	RUN(g_map_quiet, 0, SPARE, PAGE(7), 3, MAP_RW);
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, SPARE, PAGE(7)));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, SPARE + PAGE_SIZE, PAGE(8)));
	EXPECT_EQ(DMA_REACHED, dma_read(u, 0, SPARE + 2 * PAGE_SIZE, PAGE(9), IOVA, PAGE(0)));
	b = unit_stats(u);
	EXPECT_EQ(a.descriptors, b.descriptors);
	EXPECT_EQ(a.reg_writes, b.reg_writes);
	EXPECT_EQ(a.pinned, b.pinned);
	e = vm_hva(&u->vm, RUN(g_entry_gpa, 0, SPARE, LEAF_4K));
	EXPECT_EQ(VTD_FS_A | VTD_FS_D, *e & (VTD_FS_A | VTD_FS_D));
}

TEST_F(scalable, unmap)
{
	struct unit *u = &self->u;
	struct kviommu_stats a, b;
	unsigned int i;

	for (i = 0; i < 4; i++) {
		RUN(g_map, 0, SPARE, PAGE(3), 4, MAP_RW);
		EXPECT_EQ(DMA_REACHED, dma_write(u, 0, SPARE, PAGE(3)));
		EXPECT_EQ(DMA_REACHED, dma_write(u, 0, SPARE + 3 * PAGE_SIZE, PAGE(6)));
		RUN(g_unmap_quiet, 0, SPARE, 4, 0);
		a = unit_stats(u);
		switch (i) {
		case 0:
			RUN(g_flush_pages, 0, SPARE, 2);
			break;
		case 1:
			RUN(g_flush_domain, 0);
			break;
		case 2:
			RUN(g_flush_global);
			break;
		case 3:
			RUN(g_flush_pages, 0, SPARE, 40);
			break;
		}
		b = unit_stats(u);
		EXPECT_EQ(1, b.syncs - a.syncs);
		EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, SPARE, PAGE(3)));
		EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, SPARE + 3 * PAGE_SIZE, PAGE(6)));
		EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	}
}

/*
 * All that stands before one wait is forwarded at once; of domains that nothing uses there is
 * nothing.
 */
TEST_F(scalable, merged)
{
	struct unit *u = &self->u;
	struct kviommu_stats a, b;
	unsigned int i;

	a = unit_stats(u);
	for (i = 0; i < 30; i++)
		RUN(g_queue, VTD_QI_PIOTLB | VTD_QI_PIOTLB_PAGES | VTD_QI_DID(DID),
		    SPARE + 2 * i * PAGE_SIZE);
	RUN(g_flush);
	b = unit_stats(u);
	EXPECT_EQ(31, b.descriptors - a.descriptors);
	EXPECT_EQ(1, b.syncs - a.syncs);
	RUN(g_queue, VTD_QI_PIOTLB | VTD_QI_PIOTLB_PASID | VTD_QI_DID(DID + 1), 0);
	RUN(g_queue, VTD_QI_PIOTLB | VTD_QI_PIOTLB_PASID | VTD_QI_DID(DID) |
	    VTD_QI_PASID(1), 0);
	RUN(g_flush);
	EXPECT_EQ(b.syncs, unit_stats(u).syncs);
}

/*
 * What is cached of other pages stays so: the hardware's copies of entries that the guest
 * cleared without a word show it. A shared thread flushes all.
 */
TEST_F(scalable, by_page)
{
	struct unit *u = &self->u;
	unsigned int kept = u->config.mode == UNIT_MODE_SIDECORE ? DMA_BLOCKED : DMA_REACHED;
	unsigned int i, n = 10;

	RUN(g_map, 0, SPARE, PAGE(3), n, MAP_RW);
	for (i = 0; i < n; i++)
		EXPECT_EQ(DMA_REACHED, dma_write(u, 0, SPARE + i * PAGE_SIZE, PAGE(3 + i)));
	RUN(g_unmap_quiet, 0, SPARE, n, 0);
	/* Two ranges: two pages that adjoin each other, in the wrong order, and one */
	for (i = 2; i > 0; i--)
		RUN(g_queue, VTD_QI_PIOTLB | VTD_QI_PIOTLB_PAGES | VTD_QI_DID(DID),
		    SPARE + i * PAGE_SIZE);
	RUN(g_queue, VTD_QI_PIOTLB | VTD_QI_PIOTLB_PAGES | VTD_QI_DID(DID),
	    SPARE + 5 * PAGE_SIZE);
	RUN(g_flush);
	for (i = 0; i < n; i++)
		EXPECT_EQ(i == 1 || i == 2 || i == 5 ? DMA_BLOCKED : kept,
			  dma_write(u, 0, SPARE + i * PAGE_SIZE, PAGE(3 + i))) TH_LOG("%u", i);
	/* More than are flushed one by one: all */
	for (i = 0; i < n; i += 2)
		RUN(g_queue, VTD_QI_PIOTLB | VTD_QI_PIOTLB_PAGES | VTD_QI_DID(DID),
		    SPARE + i * PAGE_SIZE);
	RUN(g_flush);
	for (i = 0; i < n; i++)
		EXPECT_EQ(DMA_BLOCKED,
			  dma_write(u, 0, SPARE + i * PAGE_SIZE, PAGE(3 + i))) TH_LOG("%u", i);
}

/* The last page by which arguments get to the IOMMU's driver, in the VMM's address space */
static void *args_page(void)
{
	unsigned long at = 0;
	char line[256];
	FILE *f;

	f = fopen("/proc/self/maps", "r");
	REQUIRE(f);
	while (fgets(line, sizeof(line), f))
		if (strstr(line, "[kviommu-nest]"))
			REQUIRE(sscanf(line, "%lx-", &at) == 1);
	fclose(f);
	return (void *)at;
}

/* A VMM that takes it away loses nothing but time, and cannot change it. */
TEST_F(scalable, arguments)
{
	struct unit *u = &self->u;
	void *page = args_page();

	ASSERT_NE(NULL, page);
	EXPECT_NE(0, mprotect(page, PAGE_SIZE, PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, munmap(page, PAGE_SIZE));
	RUN(g_map, 0, SPARE, PAGE(3), 1, MAP_RW);
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, SPARE, PAGE(3)));
	RUN(g_unmap, 0, SPARE, 1, 0);
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, SPARE, PAGE(3)));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
}

/* It goes with the unit; but not what the VMM has there instead. */
TEST_F(scalable, arguments_go)
{
	struct unit *u = &self->u;
	unsigned int i;
	void *page;
	int fd;

	ASSERT_EQ(0, munmap(args_page(), PAGE_SIZE));
	for (i = 0; i < 2; i++) {
		fd = unit_open_file();
		ASSERT_EQ(0, unit_create(fd, u->vm.fd, u->iommufd, u->ioas, &u->config));
		page = args_page();
		ASSERT_NE(NULL, page);
		if (i)
			ASSERT_EQ(page, mmap(page, PAGE_SIZE, PROT_READ, MAP_PRIVATE |
					     MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		close(fd);
		EXPECT_EQ(NULL, args_page());
		EXPECT_EQ(i ? 0 : -1, msync(page, PAGE_SIZE, MS_ASYNC));
	}
}

TEST_F(scalable, rights)
{
	struct unit *u = &self->u;

	RUN(g_map, 0, SPARE, PAGE(3), 1, MAP_R);
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, SPARE, PAGE(3)));
	EXPECT_EQ(DMA_REACHED, dma_read(u, 0, SPARE, PAGE(3), IOVA, PAGE(0)));
}

TEST_F(scalable, large_leaves)
{
	struct unit *u = &self->u;

	RUN(g_map, 0, SPARE, HUGE(1), 2, MAP_RW | MAP_LEAF(LEAF_2M));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, SPARE + 5 * PAGE_SIZE,
					 HUGE(1) + 5 * PAGE_SIZE));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, SPARE + SZ_2M, HUGE(2)));
	RUN(g_unmap, 0, SPARE, 2, MAP_LEAF(LEAF_2M));
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, SPARE + SZ_2M, HUGE(2)));
}

/* Another table, and none */
TEST_F(scalable, bindings)
{
	struct unit *u = &self->u;

	RUN(g_domain, 1, DID + 1, 4);
	RUN(g_map, 1, IOVA, PAGE(20), 1, MAP_RW);
	RUN(g_attach, SID(0), 1);
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(20)));
	EXPECT_EQ(1, unit_stats(u).domains);
	RUN(g_detach, SID(0), DID + 1);
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, IOVA, PAGE(20)));
	EXPECT_EQ(0, unit_stats(u).domains);
	RUN(g_attach_pt, SID(0), 0);
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, PAGE(30), PAGE(30)));
	RUN(g_attach, SID(0), 0);
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, PAGE(30), PAGE(30)));
	EXPECT_EQ(0, unit_stats(u).errors);
}

TEST_F(scalable, two_devices)
{
	struct unit *u = &self->u;
	unsigned int second = unit_add_device(u, 1, SID(1));

	EXPECT_EQ(DMA_BLOCKED, dma_write(u, second, IOVA, PAGE(0)));
	RUN(g_attach, SID(1), 0);
	EXPECT_EQ(1, unit_stats(u).domains);
	EXPECT_EQ(DMA_REACHED, dma_write(u, second, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	RUN(g_detach, SID(0), DID);
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, dma_write(u, second, IOVA, PAGE(0)));
	EXPECT_EQ(0, unit_detach(u->fd, SID(1)));
	EXPECT_EQ(0, unit_stats(u).domains);
}

/* The IOAS loses memory, and gets it back. */
TEST_F(scalable, memory)
{
	struct unit *u = &self->u;
	__u64 at = PAGE(100), pinned;

	RUN(g_map, 0, SPARE, at, 2, MAP_RW);
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, SPARE, at));
	ASSERT_EQ(0, ioas_unmap(u->iommufd, u->ioas, 0, GPA_RAM_END));
	EXPECT_EQ(0, unit_stats(u).pinned);
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, SPARE, at));
	/* In three areas, the borders of which are within a block */
	ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, 0, u->vm.ram, at, IOAS_RW));
	ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, at, u->vm.ram + at, PAGE_SIZE, IOAS_RW));
	ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, at + PAGE_SIZE,
			      u->vm.ram + at + PAGE_SIZE, GPA_RAM_END - at - PAGE_SIZE,
			      IOAS_RW));
	ASSERT_EQ(0, unit_refresh(u));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, SPARE, at));
	pinned = unit_stats(u).pinned;
	EXPECT_LE(GPA_RAM_END / PAGE_SIZE, pinned);
	ASSERT_EQ(0, ioas_unmap(u->iommufd, u->ioas, at, PAGE_SIZE));
	EXPECT_EQ(pinned - 1, unit_stats(u).pinned);
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, SPARE, at));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, SPARE + PAGE_SIZE, at + PAGE_SIZE));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	/* Read-only memory is none for devices. */
	ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, at, u->vm.ram + at, PAGE_SIZE,
			      IOMMU_IOAS_MAP_READABLE));
	ASSERT_EQ(0, unit_refresh(u));
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, SPARE, at));
	EXPECT_EQ(pinned - 1, unit_stats(u).pinned);
	/* Nor is what devices may write and not read. */
	ASSERT_EQ(0, ioas_unmap(u->iommufd, u->ioas, at, PAGE_SIZE));
	ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, at, u->vm.ram + at, PAGE_SIZE,
			      IOMMU_IOAS_MAP_WRITEABLE));
	ASSERT_EQ(0, unit_refresh(u));
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, SPARE, at));
	EXPECT_EQ(pinned - 1, unit_stats(u).pinned);
	EXPECT_EQ(0, unit_stats(u).errors);
}

/* Give the guest the first part of a page of 1 GiB, which the second stage gets by a refresh. */
static __u8 *huge_memory(struct unit *u, __u64 size)
{
	__u8 *mem = mmap(NULL, SZ_1G, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
			 MAP_HUGETLB | (30 << MAP_HUGE_SHIFT), -1, 0);

	if (mem == MAP_FAILED)
		FATAL("no page of 1 GiB is set aside");
	REQUIRE(!vm_set_slot(&u->vm, VM_SLOT_HIGH, GPA_HIGH, mem, size, 0));
	REQUIRE(!ioas_map(u->iommufd, u->ioas, GPA_HIGH, mem, size, IOAS_RW));
	return mem;
}

/*
 * Pinned for the second stages, and for what else is in use: idle pins of the guest's other
 * tables go with time.
 */
static __u64 pinned_in_use(struct unit *u)
{
	struct kviommu_stats stats = unit_stats(u);

	return stats.pinned - stats.idle;
}

TEST_F(scalable, huge_1g_begin)
{
	struct unit *u = &self->u;
	__u64 pinned;
	__u8 *mem;

	mem = huge_memory(u, SZ_2M);
	pinned = pinned_in_use(u);
	ASSERT_EQ(0, unit_refresh(u));
	EXPECT_EQ(pinned + SZ_2M / PAGE_SIZE, pinned_in_use(u));
	RUN(g_map, 0, SPARE, GPA_HIGH + SZ_2M - PAGE_SIZE, 1, MAP_RW);
	EXPECT_EQ(DMA_REACHED, dma_write_to(u, 0, SPARE, mem + SZ_2M - PAGE_SIZE, DMA_LEN));
	ASSERT_EQ(0, ioas_unmap(u->iommufd, u->ioas, GPA_HIGH, SZ_2M));
	EXPECT_EQ(pinned, pinned_in_use(u));
}

/* Memory of 1 GiB in one piece: one leaf of the host's tables, which is split when need be. */
TEST_F(scalable, huge_1g)
{
	const __u64 at[] = { 0, 5 * PAGE_SIZE, SZ_2M, SZ_1G / 2, SZ_1G - PAGE_SIZE };
	struct unit *u = &self->u;
	__u64 pinned, gone, back;
	unsigned int i, j;
	__u8 *mem;

	mem = huge_memory(u, SZ_1G);
	pinned = pinned_in_use(u);
	calls_begin();
	ASSERT_EQ(0, unit_refresh(u));
	EXPECT_EQ(1, calls_map(GPA_HIGH));
	EXPECT_EQ(0, calls_map(GPA_HIGH + SZ_2M));
	EXPECT_EQ(0, calls_map(GPA_HIGH + SZ_1G / 2));
	calls_end();
	EXPECT_EQ(pinned + SZ_1G / PAGE_SIZE, pinned_in_use(u));
	for (i = 0; i < ARRAY_SIZE(at); i++)
		RUN(g_map, 0, SPARE + i * PAGE_SIZE, GPA_HIGH + at[i], 1, MAP_RW);
	for (i = 0; i < ARRAY_SIZE(at); i++)
		EXPECT_EQ(DMA_REACHED, dma_write_to(u, 0, SPARE + i * PAGE_SIZE, mem + at[i],
						    DMA_LEN));
	ASSERT_EQ(0, ioas_unmap(u->iommufd, u->ioas, GPA_HIGH, SZ_1G));
	EXPECT_EQ(pinned, pinned_in_use(u));
	for (i = 0; i < ARRAY_SIZE(at); i++)
		EXPECT_EQ(DMA_BLOCKED, dma_write_to(u, 0, SPARE + i * PAGE_SIZE, mem + at[i],
						    DMA_LEN));
	/* In two areas: a page that goes, as each of those above, and the others */
	for (j = 0; j < ARRAY_SIZE(at); j++) {
		gone = at[j];
		back = gone + PAGE_SIZE;
		if (gone)
			ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, GPA_HIGH, mem, gone, IOAS_RW));
		ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, GPA_HIGH + gone, mem + gone, PAGE_SIZE,
				      IOAS_RW));
		if (back < SZ_1G)
			ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, GPA_HIGH + back, mem + back,
					      SZ_1G - back, IOAS_RW));
		ASSERT_EQ(0, unit_refresh(u));
		ASSERT_EQ(0, ioas_unmap(u->iommufd, u->ioas, GPA_HIGH + gone, PAGE_SIZE));
		EXPECT_EQ(pinned + SZ_1G / PAGE_SIZE - 1, pinned_in_use(u));
		for (i = 0; i < ARRAY_SIZE(at); i++)
			EXPECT_EQ(i == j ? DMA_BLOCKED : DMA_REACHED,
				  dma_write_to(u, 0, SPARE + i * PAGE_SIZE, mem + at[i],
					       DMA_LEN)) TH_LOG("%u of %u", i, j);
		ASSERT_EQ(0, ioas_unmap(u->iommufd, u->ioas, GPA_HIGH, SZ_1G));
		EXPECT_EQ(pinned, pinned_in_use(u));
	}
	EXPECT_EQ(0, unit_stats(u).errors);
}

/*
 * All of the memory is pinned, and counts as in use, as long as there is a device that might
 * use it; and then until somebody asks.
 */
TEST_F(scalable, release_pins)
{
	struct unit *u = &self->u;
	__u64 in_use;

	RUN(g_detach, SID(0), DID);
	EXPECT_EQ(0, unit_stats(u).domains);
	ASSERT_EQ(0, kviommu_release_pins(u->fd, PAGE(50), 4 * PAGE_SIZE, &in_use));
	EXPECT_EQ(4, in_use);
	EXPECT_LE(GPA_RAM_END / PAGE_SIZE, unit_stats(u).pinned);
	EXPECT_LE(unit_stats(u).pinned, unit_stats(u).pinned_peak);
	ASSERT_EQ(0, unit_reset(u->fd));
	EXPECT_LE(GPA_RAM_END / PAGE_SIZE, unit_stats(u).pinned);
	ASSERT_EQ(0, unit_detach(u->fd, SID(0)));
	EXPECT_LE(GPA_RAM_END / PAGE_SIZE, unit_stats(u).pinned);
	ASSERT_EQ(0, kviommu_release_pins(u->fd, PAGE(50), 4 * PAGE_SIZE, &in_use));
	EXPECT_EQ(0, in_use);
	EXPECT_EQ(0, unit_stats(u).pinned);
	ASSERT_EQ(0, unit_attach(u->fd, u->dev[0].fd, SID(0)));
	EXPECT_LE(GPA_RAM_END / PAGE_SIZE, unit_stats(u).pinned);
	ASSERT_EQ(0, unit_detach(u->fd, SID(0)));
	ASSERT_EQ(0, unit_reset(u->fd));
	EXPECT_EQ(0, unit_stats(u).pinned);
}

/* A device is refused if not all of the guest's memory can be pinned, and leaves nothing. */
TEST_F(scalable, memory_limit)
{
	struct unit *u = &self->u;

	ASSERT_EQ(0, unit_detach(u->fd, SID(0)));
	ASSERT_EQ(0, unit_reset(u->fd));
	/* Whose memory is counted is settled when the IOAS gets it. */
	ASSERT_EQ(0, ioas_unmap(u->iommufd, u->ioas, 0, GPA_RAM_END));
	limit_locked_memory(GPA_RAM_END / 2);
	ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, 0, u->vm.ram, GPA_RAM_END, IOAS_RW));
	EXPECT_EQ(ENOMEM, unit_attach(u->fd, u->dev[0].fd, SID(0)));
	EXPECT_EQ(0, unit_stats(u).devices);
	EXPECT_EQ(0, unit_stats(u).pinned);
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, IOVA, PAGE(0)));
}

TEST_F(scalable, reset)
{
	struct unit *u = &self->u;

	ASSERT_EQ(0, unit_reset(u->fd));
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, IOVA, PAGE(0)));
	EXPECT_EQ(0, unit_stats(u).domains);
	RUN(g_queue_on, 0);
	RUN(g_set_root, u->vm.g->root);
	RUN(g_enable, true);
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
}

/* How the guest, or the VMM, takes away what a device is writing to */
enum gone_by {
	GONE_BY_UNMAP,
	GONE_BY_DETACH,
	GONE_BY_TE,
	NR_GONE_BY_GUEST,
	GONE_BY_RESET = NR_GONE_BY_GUEST,
	GONE_BY_IOAS,
	NR_GONE_BY,
};

/* How many words of a page are not 0, for host and guest */
static __u64 words_of(const void *page)
{
	const __u64 *word = page;
	__u64 n, words = 0;

	for (n = 0; n < PAGE_SIZE / 8; n++)
		words += !!READ_ONCE(word[n]);
	return words;
}

static __u64 gone_under_dma(struct guest *g, __u64 by, __u64 gpa)
{
	__u64 *mem = (__u64 *)gpa, n, late;

	g_dma_start(g, 0, EDU_TO_RAM, IOVA, 0, EDU_PATTERN_SIZE);
	if (by == GONE_BY_UNMAP)
		g_unmap(g, 0, IOVA, 1, 0);
	else if (by == GONE_BY_DETACH)
		g_detach(g, SID(0), DID);
	else
		g_enable(g, false);
	for (n = 0; n < PAGE_SIZE / 8; n++)
		WRITE_ONCE(mem[n], 0);
	while (g_dma_busy(g, 0))
		;
	late = words_of(mem);
	if (by == GONE_BY_UNMAP)
		g_map(g, 0, IOVA, gpa, 1, MAP_RW);
	else if (by == GONE_BY_DETACH)
		g_attach(g, SID(0), 0);
	else
		g_enable(g, true);
	return late;
}

/* The same by the VMM, whose call has returned when the page is looked at */
static unsigned int gone_under_vmm(struct unit *u, enum gone_by by)
{
	void *mem = vm_hva(&u->vm, PAGE(0));
	unsigned int late;

	guest_run(&u->vm, g_dma_start, 0, EDU_TO_RAM, IOVA, 0, EDU_PATTERN_SIZE);
	if (by == GONE_BY_RESET)
		REQUIRE(!unit_reset(u->fd));
	else
		REQUIRE(!ioas_unmap(u->iommufd, u->ioas, 0, GPA_RAM_END));
	memset(mem, 0, PAGE_SIZE);
	edu_wait(&u->dev[0]);
	late = words_of(mem);
	if (by == GONE_BY_RESET) {
		guest_run(&u->vm, g_queue_on, 0);
		guest_run(&u->vm, g_set_root, u->vm.g->root);
		guest_run(&u->vm, g_enable, true);
	} else {
		REQUIRE(!ioas_map(u->iommufd, u->ioas, 0, u->vm.ram, GPA_RAM_END, IOAS_RW));
		REQUIRE(!unit_refresh(u));
	}
	return late;
}

/*
 * The device works all the time. Once the guest sees that what it reaches is gone, or the VMM's
 * call has returned, nothing arrives any more; and nobody but the device takes harm.
 */
TEST_F_TIMEOUT(scalable, gone_under_dma, 120)
{
	struct unit *u = &self->u;
	unsigned int i;

	for (i = 0; i < 3 * NR_GONE_BY; i++) {
		EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
		EXPECT_EQ(0, i % NR_GONE_BY < NR_GONE_BY_GUEST ?
			     RUN(gone_under_dma, i % NR_GONE_BY, PAGE(0)) :
			     gone_under_vmm(u, i % NR_GONE_BY)) TH_LOG("%u", i % NR_GONE_BY);
	}
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	EXPECT_EQ(0, unit_stats(u).errors);
	EXPECT_EQ(0, RUN(g_peek32, VTD_FSTS));
}

/*
 * A kernel takes the unit over from another one, translation being on (as after a crash): a
 * queue of its own, and copies of the root and context tables, which lead to the PASID tables
 * of its predecessor.
 */
static __u64 take_over(struct guest *g)
{
	__u64 *old = (__u64 *)g->root, *root = (__u64 *)g_page(g), *table, *copy;
	unsigned int i, j;

	g_command(g, VTD_GCMD_QIE, false);
	g_queue_on(g, 0);
	for (i = 0; i < PAGE_SIZE / 8; i++) {
		if (!(READ_ONCE(old[i]) & VTD_RE_P))
			continue;
		table = (__u64 *)(old[i] & VTD_SL_ADDR);
		copy = (__u64 *)g_page(g);
		for (j = 0; j < PAGE_SIZE / 8; j++)
			WRITE_ONCE(copy[j], table[j]);
		WRITE_ONCE(root[i], (__u64)copy | VTD_RE_P);
		/* Nothing looks at those of before any more. */
		WRITE_ONCE(old[i], 0);
	}
	return g_set_root(g, (__u64)root);
}

/* Fresh PASID tables for a device, of a successor that has its own tables for it */
static __u64 take_device(struct guest *g, __u64 sid, __u64 d, __u64 bits)
{
	WRITE_ONCE(*g_context(g, sid), 0);
	g_flush_context(g, sid, 0);
	g_pasid_enable(g, sid, bits);
	return g_attach(g, sid, d);
}

/* What the device is at arrives, as if nothing had happened, until its new driver has it. */
TEST_F_TIMEOUT(scalable, taken_over_under_dma, 120)
{
	struct unit *u = &self->u;
	struct kviommu_stats a, b;
	unsigned int i;
	void *mem = vm_hva(&u->vm, PAGE(0));

	a = unit_stats(u);
	for (i = 0; i < 5; i++) {
		memset(mem, 0, PAGE_SIZE);
		RUN(g_dma_start, 0, EDU_TO_RAM, IOVA, 0, EDU_PATTERN_SIZE);
		RUN(take_over);
		edu_wait(&u->dev[0]);
		EXPECT_EQ(0, memcmp(mem, u->dev[0].pattern, EDU_PATTERN_SIZE));
		EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	}
	b = unit_stats(u);
	EXPECT_EQ(a.domains, b.domains);
	EXPECT_EQ(0, b.errors);
	EXPECT_EQ(0, b.faults);
	/* The successor's invalidations reach what its predecessor had attached. */
	RUN(g_unmap, 0, IOVA, 1, 0);
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, IOVA, PAGE(0)));
	RUN(g_map, 0, IOVA, PAGE(0), 1, MAP_RW);

	RUN(g_domain, 1, DID + 1, 4);
	RUN(g_map, 1, IOVA, PAGE(20), 1, MAP_RW);
	RUN(g_dma_start, 0, EDU_TO_RAM, IOVA, 0, EDU_PATTERN_SIZE);
	RUN(take_device, SID(0), 1, 0);
	memset(mem, 0, PAGE_SIZE);
	edu_wait(&u->dev[0]);
	EXPECT_EQ(0, words_of(mem));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(20)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, IOVA, PAGE(0)));
	EXPECT_EQ(1, unit_stats(u).domains);
}

/* With translation off in between (kexec): nothing arrives until the device has new tables. */
TEST_F_TIMEOUT(scalable, started_anew_under_dma, 120)
{
	struct unit *u = &self->u;
	void *mem = vm_hva(&u->vm, PAGE(0));
	unsigned int i;

	for (i = 0; i < 5; i++) {
		RUN(g_dma_start, 0, EDU_TO_RAM, IOVA, 0, EDU_PATTERN_SIZE);
		RUN(g_enable, false);
		memset(mem, 0, PAGE_SIZE);
		RUN(g_command, VTD_GCMD_QIE, false);
		RUN(g_setup, 0);
		RUN(g_enable, true);
		edu_wait(&u->dev[0]);
		EXPECT_EQ(0, words_of(mem));
		EXPECT_EQ(0, unit_stats(u).domains);
		RUN(g_domain, 0, DID + i, 4);
		RUN(g_map, 0, IOVA, PAGE(0), 1, MAP_RW);
		RUN(g_attach, SID(0), 0);
		EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	}
	EXPECT_EQ(0, unit_stats(u).errors);
}

/* The host sleeps while the guest is busy. */
TEST_F_TIMEOUT(scalable, suspend, 600)
{
	struct unit *u = &self->u;
	pthread_t guest;
	unsigned int i;

	suspend_begin();
	guest = start_guest(u);
	for (i = 0; i < 3; i++) {
		wait_for_guest(u, 3);
		EXPECT_EQ(0, suspend_host());
		wait_for_guest(u, 20);
	}
	stop_guest(u, guest);
	suspend_end();
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	RUN(g_unmap, 0, IOVA, 1, 0);
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, IOVA, PAGE(0)));
	EXPECT_EQ(0, unit_stats(u).errors);
}

/* The same unit in legacy mode, with descriptors of 256 bits as a guest of "sm_off" has */
TEST_F(scalable, legacy)
{
	struct unit *u = &self->u;

	ASSERT_EQ(0, unit_reset(u->fd));
	u->vm.g->scalable = 0;
	RUN(g_setup, 0);
	RUN(g_domain, 0, DID, 4);
	RUN(g_map, 0, IOVA, PAGE(1), 1, MAP_RW);
	RUN(g_attach, SID(0), 0);
	RUN(g_enable, true);
	EXPECT_TRUE(u->vm.g->wide);
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(1)));
	RUN(g_unmap, 0, IOVA, 1, 0);
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, IOVA, PAGE(1)));
}

struct bad_entry {
	unsigned int word;
	__u64 bits;
	__u8 reason;
};

/* Reserved bits of a PASID table entry, and types that are not offered */
TEST_F(scalable, pasid_entry_faults)
{
	static const struct bad_entry bad[] = {
		{ 0, BIT_ULL(10), 0x5a }, { 0, BIT_ULL(11), 0x5a },
		{ 1, BIT_ULL(16), 0x5a }, { 1, BIT_ULL(22), 0x5a },
		{ 2, BIT_ULL(0), 0x5a }, { 2, BIT_ULL(4), 0x5a }, { 2, BIT_ULL(11), 0x5a },
		{ 2, BIT_ULL(60), 0x5a }, { 3, BIT_ULL(0), 0x5a }, { 7, BIT_ULL(63), 0x5a },
		/* Nested, and with second-stage tables: 1 | 2, 1 ^ 3 */
		{ 0, VTD_SM_PTE_PGTT(2), 0x5b },
		/* Tables of 6 levels, or so */
		{ 2, BIT_ULL(3), 0x5b },
	};
	struct unit *u = &self->u;
	struct kviommu_get_device d;
	unsigned int i;
	__u64 *e, was;

	e = vm_hva(&u->vm, (__u64)RUN(g_pasid_entry, SID(0)));
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		was = e[bad[i].word];
		e[bad[i].word] |= bad[i].bits;
		RUN(g_flush_pasid, DID);
		ASSERT_EQ(0, unit_get_device(u, SID(0), &d));
		EXPECT_EQ(bad[i].reason, d.out_fault) TH_LOG("%u", i);
		EXPECT_EQ(KVIOMMU_DMA_BLOCKED, d.out_in_force);
		e[bad[i].word] = was;
		RUN(g_flush_pasid, DID);
		ASSERT_EQ(0, unit_get_device(u, SID(0), &d));
		EXPECT_EQ(0, d.out_fault);
		EXPECT_EQ(KVIOMMU_DMA_TRANSLATED, d.out_in_force);
	}
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	unit_show(u);
	EXPECT_EQ(ARRAY_SIZE(bad), unit_stats(u).faults);
}

#define PASID 5
/* More than the device has, but not than the unit */
#define PASID_BITS 20
#define DEVICE_PASIDS 0x10000

FIXTURE(pasids) {
	struct unit u;
};

FIXTURE_VARIANT(pasids) {
	struct unit_config config;
};

UNIT_MODES(pasids, .config.nested = true, .config.pasid_bits = PASID_BITS);

/* Requests without PASID go through domain 0, and those with PASID through domain 1. */
FIXTURE_SETUP(pasids)
{
	struct unit *u = &self->u;

	unit_open_guest(u, &variant->config, DID, IOVA);
	RUN(g_domain, 1, DID + 1, 4);
	RUN(g_map, 1, IOVA, PAGE(20), 1, MAP_RW);
	RUN(g_pasid_enable, SID(0), VTD_SM_CE_PASIDE);
	RUN(g_enable, true);
	RUN(g_pasid_attach, SID(0), PASID, 1, 1);
}

FIXTURE_TEARDOWN(pasids)
{
	unit_close(&self->u);
}

static enum dma_result pasid_write(struct unit *u, unsigned int dev, __u32 pasid, __u64 iova,
				   __u64 gpa)
{
	enum dma_result res;

	guest_run(&u->vm, g_dma_pasid, dev, pasid);
	res = dma_write(u, dev, iova, gpa);
	guest_run(&u->vm, g_dma_pasid, dev, 0);
	return res;
}

static __u64 *pasid_entry(struct unit *u, __u32 pasid)
{
	return vm_hva(&u->vm, (__u64)guest_run(&u->vm, g_pasid_entry_of, SID(0), pasid));
}

TEST_F(pasids, dma)
{
	struct unit *u = &self->u;

	EXPECT_TRUE(u->ecap & VTD_ECAP_PASID);
	EXPECT_EQ(VTD_ECAP_PASID_BITS(PASID_BITS), u->ecap & VTD_ECAP_PSS);
	EXPECT_EQ(1, unit_stats(u).pasids);
	EXPECT_EQ(2, unit_stats(u).domains);
	EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, PASID, IOVA, PAGE(20)));
	EXPECT_EQ(DMA_BLOCKED, pasid_write(u, 0, PASID, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, pasid_write(u, 0, PASID + 1, IOVA, PAGE(20)));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, IOVA, PAGE(20)));
	/* A map is a store here, too. */
	RUN(g_map_quiet, 1, SPARE, PAGE(21), 1, MAP_RW);
	EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, PASID, SPARE, PAGE(21)));
	/* What becomes of the device's other requests does not matter. */
	RUN(g_detach, SID(0), DID);
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, PASID, IOVA, PAGE(20)));
	RUN(g_attach_pt, SID(0), 0);
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, PAGE(30), PAGE(30)));
	EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, PASID, IOVA, PAGE(20)));
	EXPECT_EQ(0, unit_stats(u).errors);
}

/* One domain for all that the guest has in one, and one flush */
TEST_F(pasids, shared)
{
	struct unit *u = &self->u;
	unsigned int second = unit_add_device(u, 1, SID(1));
	struct kviommu_stats a, b;

	RUN(g_pasid_enable, SID(1), VTD_SM_CE_PASIDE);
	RUN(g_pasid_attach, SID(1), PASID, 1, 1);
	RUN(g_pasid_attach, SID(0), 7, 3, 1);
	RUN(g_pasid_attach, SID(0), 0x1fff, 1, 0);
	EXPECT_EQ(6, unit_stats(u).pasids);
	EXPECT_EQ(2, unit_stats(u).domains);
	EXPECT_EQ(DMA_REACHED, pasid_write(u, second, PASID, IOVA, PAGE(20)));
	EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, 9, IOVA, PAGE(20)));
	EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, 0x1fff, IOVA, PAGE(0)));
	a = unit_stats(u);
	RUN(g_unmap_quiet, 1, IOVA, 1, 0);
	RUN(g_queue, VTD_QI_PIOTLB | VTD_QI_PIOTLB_PASID | VTD_QI_DID(DID + 1) |
	    VTD_QI_PASID(PASID), 0);
	RUN(g_queue, VTD_QI_PIOTLB | VTD_QI_PIOTLB_PASID | VTD_QI_DID(DID + 1) |
	    VTD_QI_PASID(9), 0);
	RUN(g_flush);
	b = unit_stats(u);
	EXPECT_EQ(1, b.syncs - a.syncs);
	EXPECT_EQ(DMA_BLOCKED, pasid_write(u, second, PASID, IOVA, PAGE(20)));
	EXPECT_EQ(DMA_BLOCKED, pasid_write(u, 0, 9, IOVA, PAGE(20)));
	EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, 0x1fff, IOVA, PAGE(0)));
	ASSERT_EQ(0, unit_detach(u->fd, SID(1)));
	EXPECT_EQ(5, unit_stats(u).pasids);
	RUN(g_pasid_detach, SID(0), 7, 3, DID + 1);
	EXPECT_EQ(2, unit_stats(u).pasids);
	EXPECT_EQ(2, unit_stats(u).domains);
	RUN(g_pasid_detach, SID(0), PASID, 1, DID + 1);
	EXPECT_EQ(1, unit_stats(u).domains);
}

/* What hardware has cached is gone when the guest has its status. */
TEST_F(pasids, unmap)
{
	struct unit *u = &self->u;
	struct kviommu_stats a, b;
	unsigned int i;

	for (i = 0; i < 5; i++) {
		RUN(g_map, 1, SPARE, PAGE(21), 2, MAP_RW);
		EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, PASID, SPARE, PAGE(21)));
		EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, PASID, SPARE + PAGE_SIZE, PAGE(22)));
		RUN(g_unmap_quiet, 1, SPARE, 2, 0);
		a = unit_stats(u);
		/* Of no other PASID, and no other domain */
		RUN(g_queue, VTD_QI_PIOTLB | VTD_QI_PIOTLB_PASID | VTD_QI_DID(DID + 1) |
		    VTD_QI_PASID(PASID + 1), 0);
		RUN(g_queue, VTD_QI_PIOTLB | VTD_QI_PIOTLB_PASID | VTD_QI_DID(DID + 2) |
		    VTD_QI_PASID(PASID), 0);
		RUN(g_flush);
		b = unit_stats(u);
		EXPECT_EQ(0, b.syncs - a.syncs);
		EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, PASID, SPARE, PAGE(21)));
		switch (i) {
		case 0:
			RUN(g_queue, VTD_QI_PIOTLB | VTD_QI_PIOTLB_PAGES | VTD_QI_DID(DID + 1) |
			    VTD_QI_PASID(PASID), SPARE | VTD_QI_HI_AM(1));
			break;
		case 1:
			RUN(g_queue, VTD_QI_PIOTLB | VTD_QI_PIOTLB_PASID | VTD_QI_DID(DID + 1) |
			    VTD_QI_PASID(PASID), 0);
			break;
		case 2:
			RUN(g_queue, VTD_QI_IOTLB | VTD_QI_DOMAIN | VTD_QI_DID(DID + 1), 0);
			break;
		case 3:
			RUN(g_queue, VTD_QI_IOTLB | VTD_QI_GLOBAL, 0);
			break;
		case 4:
			RUN(g_queue, VTD_QI_PIOTLB | VTD_QI_PIOTLB_PAGES | VTD_QI_DID(DID + 1) |
			    VTD_QI_PASID(PASID), VTD_QI_HI_AM(52));
			break;
		}
		RUN(g_flush);
		EXPECT_EQ(DMA_BLOCKED, pasid_write(u, 0, PASID, SPARE, PAGE(21)));
		EXPECT_EQ(DMA_BLOCKED, pasid_write(u, 0, PASID, SPARE + PAGE_SIZE, PAGE(22)));
		EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, PASID, IOVA, PAGE(20)));
	}
}

/* Guest physical addresses, which need no flush and no domain of the guest */
TEST_F(pasids, pass_through)
{
	struct unit *u = &self->u;
	struct kviommu_stats a, b;

	RUN(g_pasid_attach_pt, SID(0), PASID, 3);
	RUN(g_pasid_attach_pt, SID(0), PASID + 1, 4);
	EXPECT_EQ(2, unit_stats(u).pasids);
	EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, PASID, PAGE(30), PAGE(30)));
	EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, PASID + 1, PAGE(30), PAGE(30)));
	EXPECT_EQ(DMA_BLOCKED, pasid_write(u, 0, PASID, IOVA, PAGE(20)));
	a = unit_stats(u);
	RUN(g_flush_pasid_of, 3, PASID);
	RUN(g_flush_global);
	b = unit_stats(u);
	/* That of domain 0 */
	EXPECT_EQ(1, b.syncs - a.syncs);
	ASSERT_EQ(0, ioas_unmap(u->iommufd, u->ioas, 0, GPA_RAM_END));
	EXPECT_EQ(DMA_BLOCKED, pasid_write(u, 0, PASID, PAGE(30), PAGE(30)));
	ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, 0, u->vm.ram, GPA_RAM_END, IOAS_RW));
	ASSERT_EQ(0, unit_refresh(u));
	EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, PASID, PAGE(30), PAGE(30)));
	RUN(g_pasid_attach, SID(0), PASID, 1, 1);
	EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, PASID, IOVA, PAGE(20)));
	EXPECT_EQ(DMA_BLOCKED, pasid_write(u, 0, PASID, PAGE(30), PAGE(30)));
	RUN(g_pasid_detach, SID(0), PASID + 1, 1, 4);
	EXPECT_EQ(DMA_BLOCKED, pasid_write(u, 0, PASID + 1, PAGE(30), PAGE(30)));
	EXPECT_EQ(0, unit_stats(u).errors);
}

/* By what the unit is told of a change of an entry that it knows, and of one that it does not */
TEST_F(pasids, announced)
{
	struct unit *u = &self->u;
	__u64 *known = pasid_entry(u, PASID), *other = pasid_entry(u, PASID + 1);
	unsigned int i;

	for (i = 0; i < 4; i++) {
		known[0] &= ~VTD_SM_PTE_P;
		RUN(g_flush_pasid_of, DID + 1, PASID);
		EXPECT_EQ(0, unit_stats(u).pasids);
		EXPECT_EQ(DMA_BLOCKED, pasid_write(u, 0, PASID, IOVA, PAGE(20)));
		known[0] |= VTD_SM_PTE_P;
		RUN(g_flush_pasid_of, 0, PASID);
		EXPECT_EQ(1, unit_stats(u).pasids);
		memcpy(other, known, 64);
		known[1] = DID;
		known[2] = u->vm.g->dom[0].root;
		switch (i) {
		case 0:
			RUN(g_queue, VTD_QI_PASID_CACHE | VTD_QI_PC_DOMAIN |
			    VTD_QI_DID(DID + 1), 0);
			RUN(g_flush);
			break;
		case 1:
			RUN(g_queue, VTD_QI_PASID_CACHE | VTD_QI_PC_GLOBAL, 0);
			RUN(g_flush);
			break;
		case 2:
			RUN(g_flush_context, SID(0), 0);
			break;
		case 3:
			RUN(g_flush_pasid_of, DID + 1, PASID);
			break;
		}
		EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, PASID, IOVA, PAGE(0)));
		/* Nobody has said that it is there. */
		EXPECT_EQ(1, unit_stats(u).pasids);
		EXPECT_EQ(DMA_BLOCKED, pasid_write(u, 0, PASID + 1, IOVA, PAGE(20)));
		RUN(g_flush_pasid_of, DID + 1, PASID + 1);
		EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, PASID + 1, IOVA, PAGE(20)));
		RUN(g_pasid_detach, SID(0), PASID + 1, 1, DID + 1);
		EXPECT_EQ(DMA_BLOCKED, pasid_write(u, 0, PASID + 1, IOVA, PAGE(20)));
		known[1] = DID + 1;
		known[2] = u->vm.g->dom[1].root;
		RUN(g_flush_pasid_of, DID, PASID);
	}
	EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, PASID, IOVA, PAGE(20)));
}

/* What is undone, and comes again as far as the unit knows of it */
TEST_F(pasids, undone)
{
	struct unit *u = &self->u;
	__u64 root;

	/* The context entry: no PASIDs, fewer, as many again */
	RUN(g_pasid_attach, SID(0), 0x2000, 1, 1);
	EXPECT_EQ(1, unit_stats(u).pasids);
	RUN(g_pasid_enable, SID(0), VTD_SM_CE_PASIDE | VTD_SM_CE_PDTS(1));
	RUN(g_flush_pasid_of, DID + 1, 0x2000);
	EXPECT_EQ(2, unit_stats(u).pasids);
	EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, 0x2000, IOVA, PAGE(20)));
	RUN(g_pasid_enable, SID(0), VTD_SM_CE_PASIDE);
	EXPECT_EQ(1, unit_stats(u).pasids);
	EXPECT_EQ(DMA_BLOCKED, pasid_write(u, 0, 0x2000, IOVA, PAGE(20)));
	RUN(g_pasid_enable, SID(0), 0);
	EXPECT_EQ(0, unit_stats(u).pasids);
	EXPECT_EQ(DMA_BLOCKED, pasid_write(u, 0, PASID, IOVA, PAGE(20)));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	RUN(g_pasid_enable, SID(0), VTD_SM_CE_PASIDE);
	RUN(g_flush_pasid_of, DID + 1, PASID);
	EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, PASID, IOVA, PAGE(20)));
	/* Translation off and on */
	RUN(g_enable, false);
	EXPECT_EQ(0, unit_stats(u).pasids);
	EXPECT_EQ(0, unit_stats(u).domains);
	EXPECT_EQ(DMA_BLOCKED, pasid_write(u, 0, PASID, IOVA, PAGE(20)));
	RUN(g_enable, true);
	EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, PASID, IOVA, PAGE(20)));
	/* A reset, and a guest that goes on with the tables that it has, as after suspend */
	ASSERT_EQ(0, unit_reset(u->fd));
	EXPECT_EQ(0, unit_stats(u).pasids);
	EXPECT_EQ(0, unit_stats(u).domains);
	EXPECT_EQ(DMA_BLOCKED, pasid_write(u, 0, PASID, IOVA, PAGE(20)));
	RUN(g_queue_on, 0);
	RUN(g_set_root, u->vm.g->root);
	RUN(g_enable, true);
	EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, PASID, IOVA, PAGE(20)));
	/* Another root table */
	RUN(g_enable, false);
	root = RUN(g_page);
	RUN(g_set_root, root);
	RUN(g_enable, true);
	EXPECT_EQ(0, unit_stats(u).pasids);
	EXPECT_EQ(DMA_BLOCKED, pasid_write(u, 0, PASID, IOVA, PAGE(20)));
	/* The device goes, and comes again. */
	RUN(g_attach, SID(0), 0);
	RUN(g_pasid_enable, SID(0), VTD_SM_CE_PASIDE);
	RUN(g_pasid_attach, SID(0), PASID, 1, 1);
	EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, PASID, IOVA, PAGE(20)));
	ASSERT_EQ(0, unit_detach(u->fd, SID(0)));
	EXPECT_EQ(0, unit_stats(u).pasids);
	EXPECT_EQ(DMA_BLOCKED, pasid_write(u, 0, PASID, IOVA, PAGE(20)));
	ASSERT_EQ(0, unit_attach(u->fd, u->dev[0].fd, SID(0)));
	RUN(g_flush_pasid_of, DID + 1, PASID);
	EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, PASID, IOVA, PAGE(20)));
	EXPECT_EQ(0, unit_stats(u).errors);
}

#define EXPECT_PASID(_wanted, _in_force, _error, _fault, _pins, _next, pasid) do {	\
	struct kviommu_get_device _d;						\
										\
	ASSERT_EQ(0, unit_get_pasid(u, SID(0), pasid, &_d));			\
	EXPECT_EQ(KVIOMMU_DMA_##_wanted, _d.out_wanted);			\
	EXPECT_EQ(KVIOMMU_DMA_##_in_force, _d.out_in_force);			\
	EXPECT_EQ(_error, _d.out_error);					\
	EXPECT_EQ(_fault, _d.out_fault);					\
	EXPECT_EQ(KVIOMMU_PINS_##_pins, _d.out_pins);				\
	EXPECT_EQ(0, _d.out_pinned);						\
	EXPECT_EQ(_next, _d.out_next_pasid);					\
} while (0)

/* What KVIOMMU_GET_DEVICE says of each, and that it finds them */
TEST_F(pasids, state)
{
	struct kviommu_policy none = { .mask = KVIOMMU_POLICY_MAX_DOMAINS };
	struct unit *u = &self->u;
	struct kviommu_get_device d;
	__u64 *e = pasid_entry(u, PASID);

	EXPECT_PASID(TRANSLATED, TRANSLATED, 0, 0, ALL, PASID, 0);
	EXPECT_PASID(TRANSLATED, TRANSLATED, 0, 0, ALL, 0, PASID);
	EXPECT_EQ(ENOENT, unit_get_pasid(u, SID(0), PASID + 1, &d));
	EXPECT_EQ(ENOENT, unit_get_pasid(u, SID(0), ~0U, &d));
	EXPECT_EQ(ENOENT, unit_get_pasid(u, SID(1), PASID, &d));
	RUN(g_pasid_attach_pt, SID(0), 0x1fff, 3);
	EXPECT_PASID(TRANSLATED, TRANSLATED, 0, 0, ALL, 0x1fff, PASID);
	EXPECT_PASID(IDENTITY, IDENTITY, 0, 0, ALL, 0, 0x1fff);

	/* What cannot be done: the reason, until it can */
	RUN(g_domain, 2, DID + 2, 4);
	ASSERT_EQ(0, unit_set_policy(u, &none));
	RUN(g_pasid_attach, SID(0), PASID + 1, 1, 2);
	EXPECT_PASID(TRANSLATED, TRANSLATED, 0, 0, ALL, PASID + 1, PASID);
	EXPECT_PASID(TRANSLATED, BLOCKED, EDQUOT, 0, NOTHING, 0x1fff, PASID + 1);
	none.flags = KVIOMMU_SET_POLICY_UNSET;
	ASSERT_EQ(0, unit_set_policy(u, &none));
	EXPECT_PASID(TRANSLATED, BLOCKED, EDQUOT, 0, NOTHING, 0x1fff, PASID + 1);
	ASSERT_EQ(0, unit_refresh(u));
	EXPECT_PASID(TRANSLATED, TRANSLATED, 0, 0, ALL, 0x1fff, PASID + 1);
	RUN(g_pasid_detach, SID(0), PASID + 1, 1, DID + 2);
	EXPECT_EQ(ENOENT, unit_get_pasid(u, SID(0), PASID + 1, &d));

	/* Something invalid */
	e[1] |= BIT_ULL(16);
	RUN(g_flush_pasid_of, DID + 1, PASID);
	EXPECT_PASID(BLOCKED, BLOCKED, 0, 0x5a, NOTHING, 0x1fff, PASID);
	e[1] &= ~BIT_ULL(16);
	RUN(g_flush_pasid_of, DID + 1, PASID);
	EXPECT_PASID(TRANSLATED, TRANSLATED, 0, 0, ALL, 0x1fff, PASID);

	/* Known, but translation is off */
	RUN(g_enable, false);
	EXPECT_PASID(BLOCKED, BLOCKED, 0, 0, NOTHING, PASID, 0);
	EXPECT_PASID(BLOCKED, BLOCKED, 0, 0, NOTHING, 0x1fff, PASID);
	RUN(g_enable, true);
	EXPECT_PASID(TRANSLATED, TRANSLATED, 0, 0, ALL, 0x1fff, PASID);
	ASSERT_EQ(0, unit_detach(u->fd, SID(0)));
	EXPECT_EQ(ENOENT, unit_get_pasid(u, SID(0), PASID, &d));
}

static __u64 pasid_gone_under_dma(struct guest *g, __u64 gpa)
{
	__u64 *mem = (__u64 *)gpa, n, late;

	g_dma_pasid(g, 0, PASID);
	g_dma_start(g, 0, EDU_TO_RAM, IOVA, 0, EDU_PATTERN_SIZE);
	g_pasid_detach(g, SID(0), PASID, 1, DID + 1);
	for (n = 0; n < PAGE_SIZE / 8; n++)
		WRITE_ONCE(mem[n], 0);
	while (g_dma_busy(g, 0))
		;
	late = words_of(mem);
	g_dma_pasid(g, 0, 0);
	g_pasid_attach(g, SID(0), PASID, 1, 1);
	return late;
}

TEST_F_TIMEOUT(pasids, gone_under_dma, 60)
{
	struct unit *u = &self->u;
	unsigned int i;

	for (i = 0; i < 5; i++) {
		EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, PASID, IOVA, PAGE(20)));
		EXPECT_EQ(0, RUN(pasid_gone_under_dma, PAGE(20)));
	}
	EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, PASID, IOVA, PAGE(20)));
	EXPECT_EQ(0, unit_stats(u).errors);
}

/* As scalable.taken_over_under_dma, for requests with PASID */
TEST_F_TIMEOUT(pasids, taken_over_under_dma, 120)
{
	struct unit *u = &self->u;
	void *mem = vm_hva(&u->vm, PAGE(20));
	unsigned int i;

	for (i = 0; i < 5; i++) {
		memset(mem, 0, PAGE_SIZE);
		RUN(g_dma_pasid, 0, PASID);
		RUN(g_dma_start, 0, EDU_TO_RAM, IOVA, 0, EDU_PATTERN_SIZE);
		RUN(take_over);
		edu_wait(&u->dev[0]);
		EXPECT_EQ(0, memcmp(mem, u->dev[0].pattern, EDU_PATTERN_SIZE));
	}
	EXPECT_EQ(1, unit_stats(u).pasids);
	EXPECT_EQ(0, unit_stats(u).errors);
	/* The successor's own tables for the device, which have no such PASID */
	RUN(g_dma_start, 0, EDU_TO_RAM, IOVA, 0, EDU_PATTERN_SIZE);
	RUN(take_device, SID(0), 0, VTD_SM_CE_PASIDE);
	memset(mem, 0, PAGE_SIZE);
	edu_wait(&u->dev[0]);
	EXPECT_EQ(0, words_of(mem));
	EXPECT_EQ(0, unit_stats(u).pasids);
	RUN(g_dma_pasid, 0, 0);
	EXPECT_EQ(DMA_BLOCKED, pasid_write(u, 0, PASID, IOVA, PAGE(20)));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	RUN(g_pasid_attach, SID(0), PASID, 1, 1);
	EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, PASID, IOVA, PAGE(20)));
}

/* The fault of an entry that is wrong says of which PASID it is, once. */
TEST_F(pasids, faults)
{
	struct unit *u = &self->u;
	__u64 fro = VTD_CAP_FRO(u->cap), *e = pasid_entry(u, PASID), hi;

	e[1] |= BIT_ULL(16);
	RUN(g_flush_pasid_of, DID + 1, PASID);
	EXPECT_EQ(0, unit_stats(u).pasids);
	EXPECT_EQ(DMA_BLOCKED, pasid_write(u, 0, PASID, IOVA, PAGE(20)));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	unit_show(u);
	EXPECT_EQ(1, unit_stats(u).faults);
	hi = RUN(g_peek64, fro + 8);
	EXPECT_TRUE(hi & VTD_FRCD_F);
	EXPECT_TRUE(hi & VTD_FRCD_PP);
	EXPECT_EQ(PASID, VTD_FRCD_PV(hi));
	EXPECT_EQ(0x5a, VTD_FRCD_FR(hi));
	EXPECT_EQ(SID(0), hi & 0xffff);
	RUN(g_flush_pasid_of, DID + 1, PASID);
	EXPECT_EQ(1, unit_stats(u).faults);
	e[1] &= ~BIT_ULL(16);
	RUN(g_flush_pasid_of, DID + 1, PASID);
	EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, PASID, IOVA, PAGE(20)));
}

/* PASIDs that the unit has and the device does not, and more than a unit takes */
TEST_F(pasids, limits)
{
	struct unit *u = &self->u;
	unsigned int max = 1024;
	struct kviommu_stats s;
	__u64 *ce, *dir;
	__u64 gpa;

	/* A directory of several pages, of which entry 0 and that of DEVICE_PASIDS are the same */
	gpa = RUN(g_page);
	RUN(g_page);
	RUN(g_page);
	dir = vm_hva(&u->vm, gpa);
	ce = vm_hva(&u->vm, (__u64)RUN(g_context, SID(0)));
	dir[0] = *(__u64 *)vm_hva(&u->vm, *ce & VTD_SL_ADDR);
	dir[DEVICE_PASIDS >> 6] = dir[0];
	*ce = (*ce & ~VTD_SL_ADDR) | gpa;
	RUN(g_pasid_enable, SID(0), VTD_SM_CE_PASIDE | VTD_SM_CE_PDTS(4));
	EXPECT_EQ(1, unit_stats(u).pasids);
	EXPECT_EQ(0, unit_stats(u).errors);
	RUN(g_pasid_attach, SID(0), 0x100, max - 1, 1);
	s = unit_stats(u);
	EXPECT_EQ(max, s.pasids);
	EXPECT_EQ(2, s.domains);
	EXPECT_EQ(0, s.limits);
	RUN(g_pasid_attach, SID(0), 0x1000, 1, 1);
	s = unit_stats(u);
	EXPECT_EQ(max, s.pasids);
	EXPECT_EQ(1, s.errors);
	EXPECT_EQ(1, s.limits);
	EXPECT_EQ(DMA_BLOCKED, pasid_write(u, 0, 0x1000, IOVA, PAGE(20)));
	EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, 0x100 + max - 2, IOVA, PAGE(20)));
	/* All of them are looked at again. */
	RUN(g_queue, VTD_QI_PASID_CACHE | VTD_QI_PC_GLOBAL, 0);
	RUN(g_flush);
	EXPECT_EQ(max, unit_stats(u).pasids);
	RUN(g_pasid_detach, SID(0), 0x100, 1, DID + 1);
	RUN(g_flush_pasid_of, DID + 1, 0x1000);
	EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, 0x1000, IOVA, PAGE(20)));
	RUN(g_pasid_detach, SID(0), 0x101, max - 2, DID + 1);
	s = unit_stats(u);
	EXPECT_EQ(2, s.pasids);
	RUN(g_flush_pasid_of, DID + 1, DEVICE_PASIDS + PASID);
	EXPECT_EQ(2, unit_stats(u).pasids);
	EXPECT_EQ(s.errors + 1, unit_stats(u).errors);
	EXPECT_EQ(s.limits, unit_stats(u).limits);
}

/* A flush of the guest is done by a shared thread. */
static bool pool_serves(struct unit *u)
{
	__u64 ns = unit_stats(u).pool_ns;

	guest_run(&u->vm, g_flush_global);
	return unit_stats(u).pool_ns != ns;
}

/* A shared thread, whose flush is of all PASIDs, does not poll a unit that has many. */
TEST_F(pasids, many_with_shared_thread)
{
	bool shared = variant->config.mode == UNIT_MODE_SIDECORE;
	struct unit *u = &self->u;
	unsigned int max = 256;

	RUN(g_pasid_attach, SID(0), 0x100, max - 1, 1);
	ASSERT_EQ(max, unit_stats(u).pasids);
	WAIT_FOR(pool_serves(u) == shared);
	RUN(g_pasid_attach, SID(0), 0x1000, 1, 1);
	WAIT_FOR(!pool_serves(u));
	EXPECT_EQ(DMA_REACHED, pasid_write(u, 0, 0x1000, IOVA, PAGE(20)));
	RUN(g_pasid_detach, SID(0), 0x1000, 1, DID + 1);
	WAIT_FOR(pool_serves(u) == shared);
}

static void vmm_with_pasids(const void *arg)
{
	struct unit u;

	unit_open_guest(&u, arg, DID, IOVA);
	guest_run(&u.vm, g_domain, 1, DID + 1, 4);
	guest_run(&u.vm, g_map, 1, IOVA, PAGE(20), 1, MAP_RW);
	guest_run(&u.vm, g_pasid_enable, SID(0), VTD_SM_CE_PASIDE);
	guest_run(&u.vm, g_enable, true);
	guest_run(&u.vm, g_pasid_attach, SID(0), PASID, 40, 1);
	guest_run(&u.vm, g_pasid_attach_pt, SID(0), 0x100, 1);
	REQUIRE(pasid_write(&u, 0, PASID, IOVA, PAGE(20)) == DMA_REACHED);
	guest_run(&u.vm, g_dma_pasid, 0, 0);
	unit_ready();
}

/* A VMM that is killed, or closes its files with PASIDs attached, leaves nothing. */
TEST_F(pasids, kill)
{
	RUN(g_pasid_attach, SID(0), PASID, 10, 1);
	unit_close(&self->u);
	EXPECT_TRUE(device_is_free(0));
	unit_kill(vmm_with_pasids, &variant->config);
	EXPECT_TRUE(device_is_free(0));
	unit_open_guest(&self->u, &variant->config, DID, IOVA);
}

TEST_HARNESS_MAIN
