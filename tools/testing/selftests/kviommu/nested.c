// SPDX-License-Identifier: GPL-2.0
/*
 * Nested translation as the lab emulates it: a first stage as guests write it, over a
 * second stage of the host's IOMMU driver. No unit of kviommu takes part: these tests are
 * of the emulated hardware, so that others can rely on it. As important as what it must do
 * is what it may do and does: an entry that is cached is used until it is invalidated.
 *
 * The first-stage tables and the pages with data are in "ram" here, at RAM_GPA for the
 * device; no two pages that follow each other there do so in the host.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bits.h"
#include "device.h"
#include "guest.h"
#include "kselftest_harness.h"
#include "nested_test.h"
#include "require.h"

#define RAM_PAGES	512
#define RAM_GPA		0x40000000UL
/* Pages of larger sizes, at the address of which they are the only one */
#define HUGE_GPA	0x80000000UL

/* Not the lowest one of any table, so that a wrong index shows */
#define IOVA		0x3456789ab000UL
#define DMA_LEN		64UL

#define FS_P		BIT(0)
#define FS_W		BIT(1)
#define FS_U		BIT(2)
#define FS_A		BIT(5)
#define FS_D		BIT(6)
#define FS_PS		BIT(7)
#define FS_RW		(FS_P | FS_W | FS_U)
#define FS_RO		(FS_P | FS_U)
#define FS_ADDR(gpa)	((gpa) & ~0xfffUL & ~BIT(63))

/* Fault reasons of the specification's scalable mode */
enum {
	FR_PASID_NOT_PRESENT	= 0x59,
	FR_FS_NOT_PRESENT	= 0x71,
	FR_FS_RESERVED		= 0x72,
	FR_FS_ROOT_UNREADABLE	= 0x75,
	FR_FS_TABLE_UNREADABLE	= 0x76,
	FR_SS_NOT_PRESENT	= 0x79,
	FR_NON_CANONICAL	= 0x80,
	FR_FS_SUPERVISOR	= 0x81,
	FR_NO_WRITE		= 0x85,
	FR_NO_READ		= 0x86,
};

#define MODULE "nested_test"

/* A device with a first and a second stage of its own */
struct nest {
	struct edu edu;
	int iommufd;
	int fd;
	__u8 *ram;
	__u64 root;
	unsigned int used;
};

/* Where a page of the device's RAM is here: not in the same order */
static void *ram_at(struct nest *n, __u64 gpa)
{
	__u64 at = gpa - RAM_GPA, page = at / PAGE_SIZE;

	REQUIRE(page < RAM_PAGES);
	return n->ram + (page * 37 + 11) % RAM_PAGES * PAGE_SIZE + at % PAGE_SIZE;
}

static __u64 ram_alloc(struct nest *n, unsigned int pages)
{
	__u64 gpa = RAM_GPA + n->used * PAGE_SIZE;

	n->used += pages;
	REQUIRE(n->used <= RAM_PAGES);
	return gpa;
}

static int ss_map(struct nest *n, __u64 gpa, void *va, __u64 size, __u64 rights)
{
	struct nested_test_map map = {
		.gpa = gpa, .va = (unsigned long)va, .size = size, .rights = rights,
	};

	return ioctl(n->fd, NESTED_TEST_MAP, &map) ? errno : 0;
}

static int ss_unmap(struct nest *n, __u64 gpa, __u64 size)
{
	struct nested_test_map map = { .gpa = gpa, .size = size };

	return ioctl(n->fd, NESTED_TEST_UNMAP, &map) ? errno : 0;
}

#define SS_RW (NESTED_TEST_R | NESTED_TEST_W)

/* The first-stage domain with these tables, attached; 0 or an errno */
static int fs_set(struct nest *n, __u64 root)
{
	struct iommu_hwpt_vtd_s1 s1 = { .pgtbl_addr = root, .addr_width = 48 };

	return ioctl(n->fd, NESTED_TEST_FIRST_STAGE, &s1) ? errno : 0;
}

static int attach(struct nest *n, enum nested_test_domain which)
{
	return ioctl(n->fd, NESTED_TEST_ATTACH, which) ? errno : 0;
}

static int invalidate(struct nest *n, __u64 iova, __u64 pages, __u32 flags)
{
	struct iommu_hwpt_vtd_s1_invalidate inv = {
		.addr = iova, .npages = pages, .flags = flags,
	};

	return ioctl(n->fd, NESTED_TEST_INVALIDATE, &inv) ? errno : 0;
}

/* Our entry of a level (1 to 4) for an address below @root; tables are made on the way. */
static __u64 *fs_entry_of(struct nest *n, __u64 root, __u64 iova, int level)
{
	__u64 table = root, *e;
	int i;

	for (i = 4;; i--) {
		e = ram_at(n, table);
		e += iova >> (12 + 9 * (i - 1)) & 511;
		if (i == level)
			return e;
		if (!READ_ONCE(*e)) {
			table = ram_alloc(n, 1);
			WRITE_ONCE(*e, table | FS_RW);
		}
		table = FS_ADDR(READ_ONCE(*e));
	}
}

static __u64 *fs_entry(struct nest *n, __u64 iova, int level)
{
	return fs_entry_of(n, n->root, iova, level);
}

static __u64 size_of(int level)
{
	return BIT(12 + 9 * (level - 1));
}

static void fs_map(struct nest *n, __u64 iova, __u64 gpa, int level, __u64 flags)
{
	WRITE_ONCE(*fs_entry(n, iova, level), gpa | flags | (level > 1 ? FS_PS : 0));
}

/* What the device writes arrives at @va, its first bytes being 0 before */
static bool wrote(struct nest *n, __u64 iova, void *va)
{
	bool here;

	memset(va, 0, DMA_LEN);
	edu_dma(&n->edu, EDU_TO_RAM, iova, 0, DMA_LEN);
	here = !memcmp(va, n->edu.pattern, DMA_LEN);
	memset(va, 0, DMA_LEN);
	return here;
}

/* The same by a read: it takes the way back by an address where writes arrive. */
static bool has_read(struct nest *n, __u64 iova, void *va, __u64 back, void *back_va)
{
	bool same;

	fill_unique(va, DMA_LEN);
	memset(back_va, 0, DMA_LEN);
	edu_dma(&n->edu, EDU_FROM_RAM, iova, EDU_PATTERN_SIZE, DMA_LEN);
	edu_dma(&n->edu, EDU_TO_RAM, back, EDU_PATTERN_SIZE, DMA_LEN);
	same = !memcmp(va, back_va, DMA_LEN);
	memset(back_va, 0, DMA_LEN);
	return same;
}

/* The reason in the host's log of the fault of a DMA there, which it may omit to tell. */
static int fault_reason(struct nest *n, bool to_ram, __u64 iova)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC), reason = 0, i;
	char line[8192], want[128], *at;
	ssize_t len;

	REQUIRE(fd >= 0 && lseek(fd, 0, SEEK_END) >= 0);
	snprintf(want, sizeof(want), "[DMA %s NO_PASID] Request device [%s] fault addr 0x%llx ",
		 to_ram ? "Write" : "Read", n->edu.bdf, iova & -PAGE_SIZE);
	for (i = 0; i < 200 && !reason; i++) {
		edu_dma(&n->edu, to_ram, iova, EDU_PATTERN_SIZE, 4);
		while (!reason && (len = read(fd, line, sizeof(line) - 1)) > 0) {
			line[len] = 0;
			at = strstr(line, want);
			if (at)
				sscanf(at + strlen(want), "[fault reason %x]", &reason);
		}
	}
	close(fd);
	return reason;
}

#define WRITE_FAULT(n, iova)	fault_reason(n, EDU_TO_RAM, iova)
#define READ_FAULT(n, iova)	fault_reason(n, EDU_FROM_RAM, iova)

static void module_load(void)
{
	int fd = open(MODULE ".ko", O_RDONLY | O_CLOEXEC);

	REQUIRE(fd >= 0);
	REQUIRE(!syscall(SYS_finit_module, fd, "", 0) || errno == EEXIST);
	close(fd);
}

static void nest_open(struct nest *n, unsigned int nth)
{
	__u64 gpa;

	n->used = 0;
	n->ram = mmap(NULL, RAM_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	REQUIRE(n->ram != MAP_FAILED);
	n->iommufd = iommufd_open();
	edu_open(&n->edu, nth);
	edu_bind(&n->edu, n->iommufd);
	edu_know(&n->edu);
	n->fd = open("/dev/" MODULE, O_RDWR | O_CLOEXEC);
	REQUIRE(n->fd >= 0);
	REQUIRE(!ioctl(n->fd, NESTED_TEST_DEVICE, n->edu.fd));
	for (gpa = RAM_GPA; gpa < RAM_GPA + RAM_PAGES * PAGE_SIZE; gpa += PAGE_SIZE)
		REQUIRE(!ss_map(n, gpa, ram_at(n, gpa), PAGE_SIZE, SS_RW));
	n->root = ram_alloc(n, 1);
	REQUIRE(!fs_set(n, n->root));
}

static void nest_close(struct nest *n)
{
	close(n->fd);
	edu_close(&n->edu);
	close(n->iommufd);
	munmap(n->ram, RAM_PAGES * PAGE_SIZE);
}

static void module_unload(void)
{
	REQUIRE(!syscall(SYS_delete_module, MODULE, O_NONBLOCK));
}

/* Pages of each size over pages of each size. */
FIXTURE(size) {
	struct nest n;
	__u8 *huge;
	__u64 gpa;
};

FIXTURE_VARIANT(size) {
	int first;	/* levels whose entries refer to pages */
	int second;
};

FIXTURE_VARIANT_ADD(size, 4k_over_4k) { .first = 1, .second = 1 };
FIXTURE_VARIANT_ADD(size, 4k_over_2m) { .first = 1, .second = 2 };
FIXTURE_VARIANT_ADD(size, 4k_over_1g) { .first = 1, .second = 3 };
FIXTURE_VARIANT_ADD(size, 2m_over_4k) { .first = 2, .second = 1 };
FIXTURE_VARIANT_ADD(size, 2m_over_2m) { .first = 2, .second = 2 };
FIXTURE_VARIANT_ADD(size, 2m_over_1g) { .first = 2, .second = 3 };
FIXTURE_VARIANT_ADD(size, 1g_over_4k) { .first = 3, .second = 1 };
FIXTURE_VARIANT_ADD(size, 1g_over_2m) { .first = 3, .second = 2 };
FIXTURE_VARIANT_ADD(size, 1g_over_1g) { .first = 3, .second = 3 };

/* As many as are there; those of 1 GiB are set aside at boot. */
static void hugetlb_reserve(const char *kib, const char *n)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%skB/nr_hugepages", kib);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	REQUIRE(fd >= 0 && write(fd, n, strlen(n)) == (ssize_t)strlen(n));
	close(fd);
}

/* Two pages of 2 MiB, that of 1 GiB, or none */
static void *huge_map(int level)
{
	int flags = MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB;
	void *p;

	if (level == 1)
		return NULL;
	if (level == 2)
		hugetlb_reserve("2048", "2");
	flags |= (level == 2 ? 21 : 30) << MAP_HUGE_SHIFT;
	p = mmap(NULL, level == 2 ? 2 * SZ_2M : SZ_1G, PROT_READ | PROT_WRITE, flags, -1, 0);
	REQUIRE(p != MAP_FAILED);
	return p;
}

/*
 * The second stage has data from self->gpa on: of 4 KiB, in RAM; of 2 MiB, two that have
 * changed places; one of 1 GiB.
 */
FIXTURE_SETUP(size)
{
	struct nest *n = &self->n;

	module_load();
	nest_open(n, 0);
	self->gpa = HUGE_GPA;
	self->huge = huge_map(variant->second);
	switch (variant->second) {
	case 1:
		self->gpa = RAM_GPA;
		break;
	case 2:
		ASSERT_EQ(0, ss_map(n, self->gpa, self->huge + SZ_2M, SZ_2M, SS_RW));
		ASSERT_EQ(0, ss_map(n, self->gpa + SZ_2M, self->huge, SZ_2M, SS_RW));
		break;
	case 3:
		ASSERT_EQ(0, ss_map(n, self->gpa, self->huge, SZ_1G, SS_RW));
		break;
	}
}

FIXTURE_TEARDOWN(size)
{
	nest_close(&self->n);
	if (variant->second == 2) {
		munmap(self->huge, 2 * SZ_2M);
		hugetlb_reserve("2048", "0");
	} else if (self->huge) {
		munmap(self->huge, SZ_1G);
	}
	module_unload();
}

/* Where the second stage has that data here */
static void *data_at(FIXTURE_DATA(size) * self, int second, __u64 at)
{
	if (second == 1)
		return ram_at(&self->n, self->gpa + at);
	if (second == 2)
		return self->huge + (at ^ SZ_2M);
	return self->huge + at;
}

static void fs_map_size(FIXTURE_DATA(size) * self, int first, __u64 at)
{
	__u64 base = at & -size_of(first);

	fs_map(&self->n, (IOVA & -SZ_1G) + base, self->gpa + base, first, FS_RW);
}

TEST_F(size, reaches)
{
	/* The first pages of RAM are tables */
	const __u64 at[] = {
		100 * PAGE_SIZE, 101 * PAGE_SIZE, 102 * PAGE_SIZE - DMA_LEN,
		300 * PAGE_SIZE + 0x123, SZ_2M - DMA_LEN, SZ_2M + 0x5008,
		SZ_1G - SZ_2M + 0x6010, SZ_1G - DMA_LEN,
	};
	const int nr[] = { 5, 6, 8 };
	__u64 iova = IOVA & -SZ_1G, cross = 200 * PAGE_SIZE;
	struct nest *n = &self->n;
	__u8 *low, *high;
	int i;

	fs_map_size(self, variant->first, cross - PAGE_SIZE);
	fs_map_size(self, variant->first, cross);
	for (i = 0; i < nr[variant->second - 1]; i++) {
		fs_map_size(self, variant->first, at[i]);
		EXPECT_TRUE(wrote(n, iova + at[i], data_at(self, variant->second, at[i])));
		EXPECT_TRUE(has_read(n, iova + at[i], data_at(self, variant->second, at[i]),
				     iova + cross, data_at(self, variant->second, cross)));
	}
	/* One DMA to two pages */
	low = data_at(self, variant->second, cross - 32);
	high = data_at(self, variant->second, cross);
	memset(low, 0, 32);
	memset(high, 0, 32);
	edu_dma(&n->edu, EDU_TO_RAM, iova + cross - 32, 0, 64);
	EXPECT_EQ(0, memcmp(low, n->edu.pattern, 32));
	EXPECT_EQ(0, memcmp(high, n->edu.pattern + 32, 32));
}

/* A page reaches as far as its size, as far as the second stage has something there. */
TEST_F(size, ends)
{
	__u64 iova = IOVA & -SZ_1G, size = size_of(variant->first), at = 100 * PAGE_SIZE & -size;
	__u64 there[] = { SZ_2M, 2 * SZ_2M, SZ_1G };
	struct nest *n = &self->n;

	fs_map_size(self, variant->first, at);
	/* What is cached of it is no larger either */
	EXPECT_TRUE(wrote(n, iova + 100 * PAGE_SIZE,
			  data_at(self, variant->second, 100 * PAGE_SIZE)));
	EXPECT_EQ(FR_FS_NOT_PRESENT, WRITE_FAULT(n, iova + at + size));
	if (there[variant->second - 1] < size)
		EXPECT_EQ(FR_SS_NOT_PRESENT,
			  WRITE_FAULT(n, iova + there[variant->second - 1]));
}

/* What both stages do beside the addresses */
FIXTURE(nested) {
	struct nest n;
	__u64 a;	/* pages with data */
	__u64 b;
	void *at_a;
	void *at_b;
};

FIXTURE_SETUP(nested)
{
	struct nest *n = &self->n;

	module_load();
	nest_open(n, 0);
	self->a = ram_alloc(n, 1);
	self->b = ram_alloc(n, 1);
	self->at_a = ram_at(n, self->a);
	self->at_b = ram_at(n, self->b);
}

FIXTURE_TEARDOWN(nested)
{
	nest_close(&self->n);
	module_unload();
}

static __u64 ad_bits(struct nest *n, __u64 iova, int level)
{
	return READ_ONCE(*fs_entry(n, iova, level)) & (FS_A | FS_D);
}

/* Accessed in each entry on the way, dirty in that of the page if it is written. */
TEST_F(nested, accessed_dirty)
{
	struct nest *n = &self->n;
	__u64 other = IOVA + PAGE_SIZE;
	int i;

	fs_map(n, IOVA, self->a, 1, FS_RW);
	fs_map(n, other, self->b, 1, FS_RW);
	for (i = 1; i <= 4; i++)
		EXPECT_EQ(0, ad_bits(n, IOVA, i));
	edu_dma(&n->edu, EDU_FROM_RAM, IOVA, EDU_PATTERN_SIZE, DMA_LEN);
	for (i = 1; i <= 4; i++)
		EXPECT_EQ(FS_A, ad_bits(n, IOVA, i));
	EXPECT_EQ(0, ad_bits(n, other, 1));
	EXPECT_TRUE(wrote(n, other, self->at_b));
	EXPECT_EQ(FS_A | FS_D, ad_bits(n, other, 1));
	for (i = 2; i <= 4; i++)
		EXPECT_EQ(FS_A, ad_bits(n, other, i));
	/* What is cached was read only */
	EXPECT_EQ(FS_A, ad_bits(n, IOVA, 1));
	EXPECT_TRUE(wrote(n, IOVA, self->at_a));
	EXPECT_EQ(FS_A | FS_D, ad_bits(n, IOVA, 1));
	/* Cleared by the guest, they are set again when nothing is cached any more */
	fs_map(n, IOVA, self->a, 1, FS_RW);
	EXPECT_TRUE(wrote(n, IOVA, self->at_a));
	EXPECT_EQ(0, ad_bits(n, IOVA, 1));
	EXPECT_EQ(0, invalidate(n, IOVA, 1, 0));
	EXPECT_TRUE(wrote(n, IOVA, self->at_a));
	EXPECT_EQ(FS_A | FS_D, ad_bits(n, IOVA, 1));
}

TEST_F(nested, accessed_dirty_2m)
{
	struct nest *n = &self->n;
	__u64 iova = IOVA & -SZ_2M, at = self->a - RAM_GPA;

	fs_map(n, iova, RAM_GPA, 2, FS_RW);
	edu_dma(&n->edu, EDU_FROM_RAM, iova + at, EDU_PATTERN_SIZE, DMA_LEN);
	EXPECT_EQ(FS_A, ad_bits(n, iova, 2));
	EXPECT_TRUE(wrote(n, iova + at, self->at_a));
	EXPECT_EQ(FS_A | FS_D, ad_bits(n, iova, 2));
}

TEST_F(nested, first_stage_faults)
{
	struct nest *n = &self->n;

	EXPECT_EQ(FR_FS_NOT_PRESENT, WRITE_FAULT(n, IOVA));
	fs_map(n, IOVA, self->a, 1, FS_RW | BIT(50));
	EXPECT_EQ(FR_FS_RESERVED, READ_FAULT(n, IOVA));
	fs_map(n, IOVA, self->a, 1, FS_P | FS_W);
	EXPECT_EQ(FR_FS_SUPERVISOR, WRITE_FAULT(n, IOVA));
	EXPECT_EQ(FR_NON_CANONICAL, WRITE_FAULT(n, BIT(47)));
	/* Nothing is cached of a fault: all of these need no invalidation. */
	fs_map(n, IOVA, self->a, 1, FS_RW);
	EXPECT_TRUE(wrote(n, IOVA, self->at_a));
}

/* Also the upper half of addresses, as far as they are canonical */
TEST_F(nested, upper_half)
{
	__u64 iova = ~(BIT(47) - 1) + 0x123000;

	fs_map(&self->n, iova, self->a, 1, FS_RW);
	EXPECT_TRUE(wrote(&self->n, iova, self->at_a));
}

/* A right that one level or one stage lacks is lacking, and may come without notice. */
TEST_F(nested, first_stage_rights)
{
	struct nest *n = &self->n;
	__u64 table;

	fs_map(n, IOVA, self->a, 1, FS_RO);
	edu_dma(&n->edu, EDU_FROM_RAM, IOVA, EDU_PATTERN_SIZE, DMA_LEN);
	EXPECT_EQ(FR_NO_WRITE, WRITE_FAULT(n, IOVA));
	EXPECT_FALSE(wrote(n, IOVA, self->at_a));
	fs_map(n, IOVA, self->a, 1, FS_RW);
	EXPECT_TRUE(wrote(n, IOVA, self->at_a));
	EXPECT_EQ(0, invalidate(n, 0, ~0ULL, 0));

	table = READ_ONCE(*fs_entry(n, IOVA, 2));
	WRITE_ONCE(*fs_entry(n, IOVA, 2), table & ~FS_W);
	edu_dma(&n->edu, EDU_FROM_RAM, IOVA, EDU_PATTERN_SIZE, DMA_LEN);
	EXPECT_EQ(FR_NO_WRITE, WRITE_FAULT(n, IOVA));
	WRITE_ONCE(*fs_entry(n, IOVA, 2), table);
	EXPECT_TRUE(wrote(n, IOVA, self->at_a));
}

TEST_F(nested, second_stage_rights)
{
	struct nest *n = &self->n;

	EXPECT_EQ(0, ss_unmap(n, self->a, PAGE_SIZE));
	EXPECT_EQ(0, ss_map(n, self->a, self->at_a, PAGE_SIZE, NESTED_TEST_W));
	fs_map(n, IOVA, self->a, 1, FS_RW);
	EXPECT_EQ(FR_NO_READ, READ_FAULT(n, IOVA));
	EXPECT_TRUE(wrote(n, IOVA, self->at_a));
	/* Not by what is cached of the write either */
	EXPECT_EQ(FR_NO_READ, READ_FAULT(n, IOVA));
	/* Drivers give no parent a page that cannot be written. */
	EXPECT_EQ(EINVAL, ss_map(n, HUGE_GPA, self->at_a, PAGE_SIZE, NESTED_TEST_R));
}

/* Pages that come to, and go from, the second stage below a first one that stays */
TEST_F(nested, second_stage_changes)
{
	struct nest *n = &self->n;

	fs_map(n, IOVA, self->a, 1, FS_RW);
	EXPECT_TRUE(wrote(n, IOVA, self->at_a));
	EXPECT_EQ(0, ss_unmap(n, self->a, PAGE_SIZE));
	EXPECT_EQ(FR_SS_NOT_PRESENT, WRITE_FAULT(n, IOVA));
	EXPECT_EQ(FR_SS_NOT_PRESENT, READ_FAULT(n, IOVA));
	EXPECT_FALSE(wrote(n, IOVA, self->at_a));
	EXPECT_EQ(0, ss_map(n, self->a, self->at_b, PAGE_SIZE, SS_RW));
	EXPECT_TRUE(wrote(n, IOVA, self->at_b));
}

/* The same for tables of the first stage: the last one, and the root */
TEST_F(nested, second_stage_has_tables)
{
	struct nest *n = &self->n;
	__u64 table, *copy;

	fs_map(n, IOVA, self->a, 1, FS_RW);
	EXPECT_TRUE(wrote(n, IOVA, self->at_a));
	table = FS_ADDR(READ_ONCE(*fs_entry(n, IOVA, 2)));
	EXPECT_EQ(0, ss_unmap(n, table, PAGE_SIZE));
	EXPECT_EQ(FR_FS_TABLE_UNREADABLE, WRITE_FAULT(n, IOVA));
	EXPECT_EQ(0, ss_map(n, table, ram_at(n, table), PAGE_SIZE, NESTED_TEST_W));
	EXPECT_EQ(FR_FS_TABLE_UNREADABLE, WRITE_FAULT(n, IOVA));
	EXPECT_EQ(0, ss_unmap(n, table, PAGE_SIZE));
	/* Another page in its place has another entry */
	copy = ram_at(n, ram_alloc(n, 1));
	copy[IOVA >> 12 & 511] = self->b | FS_RW;
	EXPECT_EQ(0, ss_map(n, table, copy, PAGE_SIZE, SS_RW));
	EXPECT_TRUE(wrote(n, IOVA, self->at_b));
	EXPECT_EQ(FS_A | FS_D, READ_ONCE(copy[IOVA >> 12 & 511]) & (FS_A | FS_D));

	EXPECT_EQ(0, ss_unmap(n, n->root, PAGE_SIZE));
	EXPECT_EQ(FR_FS_ROOT_UNREADABLE, WRITE_FAULT(n, IOVA));
	EXPECT_EQ(0, ss_map(n, n->root, ram_at(n, n->root), PAGE_SIZE, SS_RW));
	EXPECT_TRUE(wrote(n, IOVA, self->at_b));
}

/* The parent alone, both, nothing */
TEST_F(nested, attach)
{
	struct nest *n = &self->n;
	__u64 root = ram_alloc(n, 1);

	fs_map(n, IOVA, self->a, 1, FS_RW);
	EXPECT_TRUE(wrote(n, IOVA, self->at_a));
	EXPECT_EQ(0, attach(n, NESTED_TEST_PARENT));
	EXPECT_TRUE(wrote(n, self->b, self->at_b));
	EXPECT_EQ(FR_SS_NOT_PRESENT, WRITE_FAULT(n, IOVA));
	EXPECT_EQ(0, attach(n, NESTED_TEST_NESTED));
	EXPECT_TRUE(wrote(n, IOVA, self->at_a));
	EXPECT_EQ(FR_FS_NOT_PRESENT, WRITE_FAULT(n, self->b));
	EXPECT_EQ(0, attach(n, NESTED_TEST_NOTHING));
	EXPECT_EQ(FR_PASID_NOT_PRESENT, WRITE_FAULT(n, IOVA));
	EXPECT_FALSE(wrote(n, IOVA, self->at_a));
	/* Other tables */
	WRITE_ONCE(*fs_entry_of(n, root, IOVA, 1), self->b | FS_RW);
	EXPECT_EQ(0, fs_set(n, root));
	EXPECT_TRUE(wrote(n, IOVA, self->at_b));
}

/* Invalidations, each with what it drops, and what it leaves */
FIXTURE(stale) {
	struct nest n;
	struct nest other;
	__u64 old;
	__u64 new;
};

enum how { BY_INVALIDATION, BY_FLUSH, BY_UNMAP, BY_ATTACH };

FIXTURE_VARIANT(stale) {
	enum how how;
	__u64 align;	/* of the first address, 0: it is 0 */
	__u64 pages;
	__u32 flags;
	__u64 outside;	/* Distance of an address that is not meant, or 0 */
};

FIXTURE_VARIANT_ADD(stale, page) {
	.align = PAGE_SIZE, .pages = 1, .outside = PAGE_SIZE,
};

FIXTURE_VARIANT_ADD(stale, leaf) {
	.align = PAGE_SIZE, .pages = 1, .flags = IOMMU_VTD_INV_FLAGS_LEAF,
	.outside = PAGE_SIZE,
};

FIXTURE_VARIANT_ADD(stale, range_64k) {
	.align = 16 * PAGE_SIZE, .pages = 16, .outside = 16 * PAGE_SIZE,
};

FIXTURE_VARIANT_ADD(stale, range_2m) {
	.align = SZ_2M, .pages = 512, .outside = SZ_2M,
};

/* More than the address mask that CAP.MAMV has for the second stage */
FIXTURE_VARIANT_ADD(stale, range_4g) {
	.align = BIT(32), .pages = 1 << 20, .outside = BIT(32),
};

FIXTURE_VARIANT_ADD(stale, range_64t) {
	.align = BIT(46), .pages = BIT(34), .outside = -BIT(46),
};

FIXTURE_VARIANT_ADD(stale, pasid) { .pages = ~0ULL };
FIXTURE_VARIANT_ADD(stale, parent_flush) { .how = BY_FLUSH };
FIXTURE_VARIANT_ADD(stale, parent_unmap) { .how = BY_UNMAP };
FIXTURE_VARIANT_ADD(stale, attach) { .how = BY_ATTACH };

FIXTURE_SETUP(stale)
{
	module_load();
	nest_open(&self->n, 0);
	self->other.fd = -1;
	self->old = ram_alloc(&self->n, 1);
	self->new = ram_alloc(&self->n, 1);
}

FIXTURE_TEARDOWN(stale)
{
	if (self->other.fd >= 0)
		nest_close(&self->other);
	nest_close(&self->n);
	module_unload();
}

static int drop(struct nest *n, const FIXTURE_VARIANT(stale) * v)
{
	switch (v->how) {
	case BY_INVALIDATION:
		return invalidate(n, v->align ? IOVA & -v->align : 0, v->pages, v->flags);
	case BY_FLUSH:
		return ioctl(n->fd, NESTED_TEST_FLUSH) ? errno : 0;
	case BY_UNMAP:
		/* Of a page that no table has anything to do with */
		return ss_unmap(n, RAM_GPA + (RAM_PAGES - 1) * PAGE_SIZE, PAGE_SIZE);
	case BY_ATTACH:
		return attach(n, NESTED_TEST_NOTHING) ?: attach(n, NESTED_TEST_NESTED);
	}
	FATAL("no such way");
}

/* An entry that is cached is changed. */
static void make_stale(struct nest *n, __u64 iova, __u64 old, __u64 new)
{
	fs_map(n, iova, old, 1, FS_RW);
	REQUIRE(wrote(n, iova, ram_at(n, old)));
	fs_map(n, iova, new, 1, FS_RW);
}

TEST_F(stale, replaced)
{
	struct nest *n = &self->n;

	make_stale(n, IOVA, self->old, self->new);
	EXPECT_TRUE(wrote(n, IOVA, ram_at(n, self->old)));
	EXPECT_EQ(0, drop(n, variant));
	EXPECT_TRUE(wrote(n, IOVA, ram_at(n, self->new)));
}

TEST_F(stale, removed)
{
	struct nest *n = &self->n;

	make_stale(n, IOVA, self->old, self->new);
	WRITE_ONCE(*fs_entry(n, IOVA, 1), 0);
	EXPECT_TRUE(wrote(n, IOVA, ram_at(n, self->old)));
	EXPECT_EQ(0, drop(n, variant));
	EXPECT_FALSE(wrote(n, IOVA, ram_at(n, self->old)));
	EXPECT_EQ(FR_FS_NOT_PRESENT, WRITE_FAULT(n, IOVA));
}

TEST_F(stale, read_only)
{
	struct nest *n = &self->n;

	make_stale(n, IOVA, self->old, self->new);
	fs_map(n, IOVA, self->old, 1, FS_RO);
	EXPECT_TRUE(wrote(n, IOVA, ram_at(n, self->old)));
	EXPECT_EQ(0, drop(n, variant));
	EXPECT_FALSE(wrote(n, IOVA, ram_at(n, self->old)));
	EXPECT_EQ(FR_NO_WRITE, WRITE_FAULT(n, IOVA));
}

TEST_F(stale, outside)
{
	__u64 iova = IOVA + variant->outside;
	struct nest *n = &self->n;

	if (!variant->outside)
		return;
	make_stale(n, iova, self->old, self->new);
	EXPECT_EQ(0, drop(n, variant));
	EXPECT_TRUE(wrote(n, iova, ram_at(n, self->old)));
}

/* Another device, in another domain, at the same address */
TEST_F(stale, other_domain)
{
	struct nest *n = &self->other;
	__u64 old, new;

	nest_open(n, 1);
	old = ram_alloc(n, 1);
	new = ram_alloc(n, 1);
	make_stale(n, IOVA, old, new);
	EXPECT_EQ(0, drop(&self->n, variant));
	EXPECT_TRUE(wrote(n, IOVA, ram_at(n, old)));
}

/*
 * An entry above that of the page is changed. A page of the old table that was not used
 * yet is found by it as well, until an invalidation that is not of leaves alone.
 */
TEST_F(stale, table)
{
	bool leaf = variant->flags & IOMMU_VTD_INV_FLAGS_LEAF;
	struct nest *n = &self->n;
	__u64 root, old;
	int level;

	for (level = 2; level <= 4; level++) {
		root = ram_alloc(n, 1);
		WRITE_ONCE(*fs_entry_of(n, root, IOVA, 1), self->new | FS_RW);
		fs_map(n, IOVA, self->old, 1, FS_RW);
		fs_map(n, IOVA + PAGE_SIZE, self->old, 1, FS_RW);
		old = READ_ONCE(*fs_entry(n, IOVA, level));

		EXPECT_TRUE(wrote(n, IOVA + PAGE_SIZE, ram_at(n, self->old)));
		WRITE_ONCE(*fs_entry(n, IOVA, level), *fs_entry_of(n, root, IOVA, level));
		EXPECT_TRUE(wrote(n, IOVA, ram_at(n, self->old)));
		EXPECT_EQ(0, drop(n, variant));
		EXPECT_TRUE(wrote(n, IOVA, ram_at(n, leaf ? self->old : self->new)));

		WRITE_ONCE(*fs_entry(n, IOVA, level), old);
		EXPECT_EQ(0, invalidate(n, 0, ~0ULL, 0));
		if (variant->how == BY_UNMAP)
			EXPECT_EQ(0, ss_map(n, RAM_GPA + (RAM_PAGES - 1) * PAGE_SIZE,
					    n->ram, PAGE_SIZE, SS_RW));
	}
}

/*
 * Dirty bits of the second stage, by iommufd's own interface: of pages that are written,
 * and of first-stage tables whose accessed and dirty bits are.
 */
FIXTURE(dirty) {
	struct nest n;
	__u32 ioas;
	__u32 parent;
	__u32 nested;
};

static __u32 hwpt_alloc(struct nest *n, __u32 pt, __u32 flags, struct iommu_hwpt_vtd_s1 *s1)
{
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc), .flags = flags, .dev_id = n->edu.devid, .pt_id = pt,
		.data_type = s1 ? IOMMU_HWPT_DATA_VTD_S1 : IOMMU_HWPT_DATA_NONE,
		.data_len = s1 ? sizeof(*s1) : 0, .data_uptr = (unsigned long)s1,
	};

	REQUIRE(!ioctl(n->iommufd, IOMMU_HWPT_ALLOC, &alloc));
	return alloc.out_hwpt_id;
}

FIXTURE_SETUP(dirty)
{
	struct iommu_hwpt_vtd_s1 s1 = { .addr_width = 48 };
	struct nest *n = &self->n;

	n->used = 0;
	n->ram = mmap(NULL, RAM_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, n->ram);
	n->iommufd = iommufd_open();
	edu_open(&n->edu, 0);
	edu_bind(&n->edu, n->iommufd);
	edu_know(&n->edu);
	self->ioas = ioas_alloc(n->iommufd);
	for (__u64 gpa = RAM_GPA; gpa < RAM_GPA + RAM_PAGES * PAGE_SIZE; gpa += PAGE_SIZE)
		ASSERT_EQ(0, ioas_map(n->iommufd, self->ioas, gpa, ram_at(n, gpa), PAGE_SIZE,
				      IOAS_RW));
	n->root = ram_alloc(n, 1);
	s1.pgtbl_addr = n->root;
	self->parent = hwpt_alloc(n, self->ioas, IOMMU_HWPT_ALLOC_NEST_PARENT |
						 IOMMU_HWPT_ALLOC_DIRTY_TRACKING, NULL);
	self->nested = hwpt_alloc(n, self->parent, 0, &s1);
	ASSERT_EQ(0, edu_attach_ioas(&n->edu, self->nested));
}

FIXTURE_TEARDOWN(dirty)
{
	edu_close(&self->n.edu);
	close(self->n.iommufd);
	munmap(self->n.ram, RAM_PAGES * PAGE_SIZE);
}

/* Those since the last call */
static void get_dirty(FIXTURE_DATA(dirty) * self, __u64 bits[RAM_PAGES / 64])
{
	struct iommu_hwpt_get_dirty_bitmap get = {
		.size = sizeof(get), .hwpt_id = self->parent, .iova = RAM_GPA,
		.length = RAM_PAGES * PAGE_SIZE, .page_size = PAGE_SIZE,
		.data = (unsigned long)bits,
	};

	memset(bits, 0, RAM_PAGES / 8);
	REQUIRE(!ioctl(self->n.iommufd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get));
}

static bool is_dirty(const __u64 *bits, __u64 gpa)
{
	__u64 page = (gpa - RAM_GPA) / PAGE_SIZE;

	return bits[page / 64] >> page % 64 & 1;
}

TEST_F(dirty, pages_and_tables)
{
	struct iommu_hwpt_set_dirty_tracking set = {
		.size = sizeof(set), .flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
		.hwpt_id = self->parent,
	};
	__u64 bits[RAM_PAGES / 64], a, b, table;
	struct nest *n = &self->n;

	a = ram_alloc(n, 1);
	b = ram_alloc(n, 1);
	fs_map(n, IOVA, a, 1, FS_RW);
	fs_map(n, IOVA + PAGE_SIZE, b, 1, FS_RW);
	table = FS_ADDR(READ_ONCE(*fs_entry(n, IOVA, 2)));
	ASSERT_EQ(0, ioctl(n->iommufd, IOMMU_HWPT_SET_DIRTY_TRACKING, &set));
	get_dirty(self, bits);

	edu_dma(&n->edu, EDU_FROM_RAM, IOVA, EDU_PATTERN_SIZE, DMA_LEN);
	get_dirty(self, bits);
	EXPECT_FALSE(is_dirty(bits, a));
	EXPECT_TRUE(is_dirty(bits, table));
	EXPECT_TRUE(is_dirty(bits, n->root));

	EXPECT_TRUE(wrote(n, IOVA, ram_at(n, a)));
	get_dirty(self, bits);
	EXPECT_TRUE(is_dirty(bits, a));
	EXPECT_FALSE(is_dirty(bits, b));
	EXPECT_TRUE(is_dirty(bits, table));
	EXPECT_FALSE(is_dirty(bits, n->root));

	/* All bits of the first stage are set now */
	EXPECT_TRUE(wrote(n, IOVA, ram_at(n, a)));
	get_dirty(self, bits);
	EXPECT_TRUE(is_dirty(bits, a));
	EXPECT_FALSE(is_dirty(bits, table));
	get_dirty(self, bits);
	EXPECT_FALSE(is_dirty(bits, a));
}

TEST_HARNESS_MAIN
