// SPDX-License-Identifier: GPL-2.0
/* Limits that the VMM sets: what is refused, who gets to know, the way back. */
#include <fcntl.h>
#include <sys/eventfd.h>

#include "cgroup.h"
#include "kselftest_harness.h"
#include "require.h"
#include "variants.h"

#define RUN(fn, ...) guest_run(&self->u.vm, fn, ##__VA_ARGS__)
#define DID 1
#define IOVA 0x200000UL

/* Fault reasons: memory that could not be written, could not be read */
#define FR_WRITE 0x05
#define FR_READ 0x06

/* A unit with a guest and a device; the eventfds tell of limits and faults. */
static void open_unit(struct unit *u, const struct unit_config *config,
		      int *event, int *fault)
{
	unit_open_guest(u, config, DID, IOVA);
	*event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	*fault = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	REQUIRE(!unit_set_eventfd(u->fd, KVIOMMU_EVENT_LIMIT, *event));
	REQUIRE(!unit_set_eventfd(u->fd, KVIOMMU_EVENT_FAULT, *fault));
	guest_run(&u->vm, g_enable, true);
	guest_run(&u->vm, g_poke32, VTD_FECTL, 0);
}

FIXTURE(policy) {
	struct unit u;
	struct kviommu_policy host;
	int event;
	int fault;
};

FIXTURE_VARIANT(policy) {
	struct unit_config config;
};

UNIT_VARIANTS(policy);

FIXTURE_SETUP(policy)
{
	open_unit(&self->u, &variant->config, &self->event, &self->fault);
	self->host = unit_policy(&self->u);
}

FIXTURE_TEARDOWN(policy)
{
	unit_close(&self->u);
	close(self->event);
	close(self->fault);
}

static __u64 signals(struct unit *u, int fd)
{
	__u64 n;

	unit_show(u);
	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

/* The reason in the oldest fault record, or 0; and it is taken note of. */
static __u8 take_fault(struct unit *u)
{
	__u64 fro = VTD_CAP_FRO(u->cap);
	__u64 at, hi;
	__u32 fsts;

	unit_show(u);
	fsts = guest_run(&u->vm, g_peek32, VTD_FSTS);
	at = fro + 16 * (fsts >> 8 & 0xff);
	if (!(fsts & VTD_FSTS_PPF))
		return 0;
	hi = guest_run(&u->vm, g_peek64, at + 8);
	guest_run(&u->vm, g_poke32, at + 12, BIT(31));
	return hi >> 32 & 0xff;
}

/* Whatever is pinned now is all that may be: */
static void no_more_pins(struct unit *u, __u64 more)
{
	struct kviommu_policy p = unit_policy(u);

	p.max_idle_pins = 0;
	REQUIRE(!unit_set_policy(u, &p));
	p.max_pins = unit_stats(u).pinned + more;
	REQUIRE(!unit_set_policy(u, &p));
}

TEST_F(policy, max_pins)
{
	struct kviommu_stats s;

	no_more_pins(&self->u, 1);
	EXPECT_EQ(0, signals(&self->u, self->event));
	/* One fits, the next does not. */
	RUN(g_map, 0, IOVA + PAGE_SIZE, PAGE(1), 1, MAP_RW);
	EXPECT_EQ(0, signals(&self->u, self->event));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA + PAGE_SIZE, PAGE(1)));
	RUN(g_map, 0, IOVA + 2 * PAGE_SIZE, PAGE(2), 1, MAP_RW);
	EXPECT_LT(0, signals(&self->u, self->event));
	EXPECT_LT(0, signals(&self->u, self->fault));
	EXPECT_EQ(FR_WRITE, take_fault(&self->u));
	s = unit_stats(&self->u);
	EXPECT_EQ(1, s.limits);
	EXPECT_EQ(1, s.errors);
	EXPECT_EQ(2, s.mapped);
	EXPECT_GE(unit_policy(&self->u).max_pins, s.pinned);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, IOVA + 2 * PAGE_SIZE, PAGE(2)));
	RUN(g_map, 0, IOVA + 3 * PAGE_SIZE, PAGE(3), 1, MAP_R);
	EXPECT_EQ(FR_READ, take_fault(&self->u));
	/* What is pinned already costs nothing. */
	RUN(g_map, 0, IOVA + 4 * PAGE_SIZE, PAGE(1), 1, MAP_RW);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA + 4 * PAGE_SIZE, PAGE(1)));
	EXPECT_EQ(0, take_fault(&self->u));

	/* Raised, and the unit told to try again */
	ASSERT_EQ(0, unit_set_policy(&self->u, &self->host));
	ASSERT_EQ(0, unit_refresh(&self->u));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA + 2 * PAGE_SIZE, PAGE(2)));
	EXPECT_EQ(5, unit_stats(&self->u).mapped);
}

/* What has come to be unused makes room, even in the same batch. */
TEST_F(policy, idle_pins_make_room)
{
	struct kviommu_policy p = self->host;
	unsigned int i;

	p.max_pins = unit_stats(&self->u).pinned + 20;
	ASSERT_EQ(0, unit_set_policy(&self->u, &p));
	for (i = 0; i < 10; i++) {
		RUN(g_map, 0, IOVA + PAGE_SIZE, PAGE(100 + 16 * i), 16, MAP_RW);
		EXPECT_EQ(0, unit_stats(&self->u).limits);
		EXPECT_GE(p.max_pins, unit_stats(&self->u).pinned);
		RUN(g_unmap, 0, IOVA + PAGE_SIZE, 16, 0);
	}
	/* Other pages behind the same addresses, in one step */
	RUN(g_map, 0, IOVA + PAGE_SIZE, PAGE(100), 16, MAP_RW);
	for (i = 0; i < 5; i++) {
		RUN(g_map, 0, IOVA + PAGE_SIZE, PAGE(300 + 16 * i), 16, MAP_RW);
		EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA + PAGE_SIZE,
						 PAGE(300 + 16 * i)));
		EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA + 16 * PAGE_SIZE,
						 PAGE(315 + 16 * i)));
	}
}

/* What a polling thread leaves to the worker takes a moment. */
static void wait_for_pins(struct unit *u, __u64 most)
{
	while (unit_stats_now(u).pinned > most)
		;
}

TEST_F(policy, max_idle_pins)
{
	struct kviommu_policy p = self->host;
	struct kviommu_stats a;

	a = unit_stats(&self->u);
	RUN(g_map, 0, IOVA + PAGE_SIZE, PAGE(100), 64, MAP_RW);
	RUN(g_unmap, 0, IOVA + PAGE_SIZE, 64, 0);
	/* They stay by default, or else the next test is void. */
	EXPECT_LE(a.pinned + 64, unit_stats(&self->u).pinned);
	p.max_idle_pins = 16;
	/* It is not their age that has them go. */
	p.idle_pin_ms = 0;
	ASSERT_EQ(0, unit_set_policy(&self->u, &p));
	EXPECT_GE(a.pinned + 16, unit_stats(&self->u).pinned);
	RUN(g_map, 0, IOVA + PAGE_SIZE, PAGE(100), 64, MAP_RW);
	EXPECT_EQ(65, unit_stats(&self->u).mapped);
	RUN(g_unmap, 0, IOVA + PAGE_SIZE, 64, 0);
	wait_for_pins(&self->u, a.pinned + 16);
	p.max_idle_pins = 0;
	ASSERT_EQ(0, unit_set_policy(&self->u, &p));
	EXPECT_GE(a.pinned, unit_stats(&self->u).pinned);
	RUN(g_map, 0, IOVA + PAGE_SIZE, PAGE(100), 64, MAP_RW);
	RUN(g_unmap, 0, IOVA + PAGE_SIZE, 64, 0);
	wait_for_pins(&self->u, a.pinned);
}

TEST_F(policy, max_tables)
{
	struct kviommu_policy p = self->host;

	/* The domain has 4 tables; one more is allowed. */
	p.max_tables = 5;
	ASSERT_EQ(0, unit_set_policy(&self->u, &p));
	RUN(g_map, 0, IOVA + SZ_2M, PAGE(1), 1, MAP_RW);
	EXPECT_EQ(0, signals(&self->u, self->event));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA + SZ_2M, PAGE(1)));
	RUN(g_map, 0, IOVA + 2 * SZ_2M, PAGE(2), 1, MAP_RW);
	EXPECT_LT(0, signals(&self->u, self->event));
	EXPECT_LT(0, unit_stats(&self->u).limits);
	EXPECT_NE(0, take_fault(&self->u));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, IOVA + 2 * SZ_2M, PAGE(2)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA + SZ_2M, PAGE(1)));
	ASSERT_EQ(0, unit_set_policy(&self->u, &self->host));
	ASSERT_EQ(0, unit_refresh(&self->u));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA + 2 * SZ_2M, PAGE(2)));
}

TEST_F(policy, max_domains)
{
	struct kviommu_policy p = self->host;
	int control = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	ASSERT_EQ(0, unit_set_eventfd(self->u.fd, KVIOMMU_EVENT_CONTROL, control));
	p.max_domains = 1;
	ASSERT_EQ(0, unit_set_policy(&self->u, &p));
	unit_add_device(&self->u, 1, SID(1));
	RUN(g_domain, 1, DID + 1, 4);
	RUN(g_map, 1, IOVA, PAGE(1), 1, MAP_RW);
	/* In the domain that there is */
	RUN(g_attach, SID(1), 0);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 1, IOVA, PAGE(0)));
	EXPECT_EQ(0, signals(&self->u, self->event));
	/* In another: blocked, and the VMM is told. */
	signals(&self->u, control);
	RUN(g_detach, SID(1), DID);
	RUN(g_attach, SID(1), 1);
	EXPECT_EQ(1, unit_stats(&self->u).domains);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 1, IOVA, PAGE(1)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 1, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));
	EXPECT_LT(0, signals(&self->u, control));
	EXPECT_LT(0, signals(&self->u, self->event));
	ASSERT_EQ(0, unit_set_policy(&self->u, &self->host));
	ASSERT_EQ(0, unit_refresh(&self->u));
	EXPECT_EQ(2, unit_stats(&self->u).domains);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 1, IOVA, PAGE(1)));
	close(control);
}

/* What exists stays when a limit falls below it. */
TEST_F(policy, lowered_below)
{
	struct kviommu_policy p = self->host;

	RUN(g_map, 0, IOVA + PAGE_SIZE, PAGE(1), 8, MAP_RW);
	p.max_pins = 0;
	p.max_idle_pins = 0;
	p.max_tables = 0;
	p.max_domains = 0;
	ASSERT_EQ(0, unit_set_policy(&self->u, &p));
	EXPECT_EQ(9, unit_stats(&self->u).mapped);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA + 8 * PAGE_SIZE, PAGE(8)));
	/* Nor does a reset make it any more. */
	ASSERT_EQ(0, unit_reset(self->u.fd));
	EXPECT_EQ(0, unit_policy(&self->u).max_pins);
}

/*
 * A guest that wanders through its addresses with the same few pages and
 * tables: the physical IOMMU's tables must not pile up for ever.
 */
static __u64 wander(struct guest *g, __u64 n)
{
	__u64 i, iova = 1UL << 32;

	for (i = 0; i < n; i++, iova += SZ_2M) {
		__u64 page = g->next_page;

		g_map(g, 0, iova, PAGE(1), 1, MAP_RW);
		*g_entry(g, 0, iova, LEAF_2M) = 0;
		g_flush_pages(g, 0, iova, 9);
		g->next_page = page;
		/* A whole table's worth further on: that table goes too. */
		if (!((iova + SZ_2M) & (SZ_1G - 1))) {
			*g_entry(g, 0, iova, LEAF_1G) = 0;
			g_flush_domain(g, 0);
		}
	}
	return 0;
}

TEST_F_TIMEOUT(policy, iommu_tables, 120)
{
	struct kviommu_policy p = self->host;
	struct kviommu_stats s;

	p.max_tables = 64;
	ASSERT_EQ(0, unit_set_policy(&self->u, &p));
	RUN(wander, 1500);
	s = unit_stats(&self->u);
	EXPECT_EQ(1, s.mapped);
	EXPECT_GE(64, s.iommu_tables);
	EXPECT_LT(0, s.limits);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));
	/* With its domain they go. */
	RUN(g_detach, SID(0), DID);
	EXPECT_EQ(0, unit_stats(&self->u).iommu_tables);
	RUN(g_attach, SID(0), 0);
	RUN(g_map, 0, BIT(40), PAGE(1), 1, MAP_RW);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, BIT(40), PAGE(1)));
}

/*
 * From 1 TiB on, n GiB of addresses that all lead to one page through the same
 * two tables of the guest: of which the unit has 513 for each GiB.
 */
#define WIDE BIT(40)
static __u64 map_wide(struct guest *g, __u64 n)
{
	__u64 *table, i;

	g_map_quiet(g, 0, WIDE, PAGE(1), 1, MAP_RW);
	table = g_entry(g, 0, WIDE, LEAF_2M);
	for (i = 1; i < 512; i++)
		WRITE_ONCE(table[i], table[0]);
	table = g_entry(g, 0, WIDE, LEAF_1G);
	for (i = 1; i < n; i++)
		WRITE_ONCE(table[i], table[0]);
	return g_flush_domain(g, 0);
}

/* The limit of the memory cgroup, see memory.max of the kernel's cgroup-v2. */
FIXTURE(cgroup) {
	struct unit u;
	int event;
	int fault;
};

FIXTURE_VARIANT(cgroup) {
	struct unit_config config;
};

UNIT_VARIANTS(cgroup);

FIXTURE_SETUP(cgroup)
{
	cgroup_enter("memory", "memory.max");
	open_unit(&self->u, &variant->config, &self->event, &self->fault);
}

FIXTURE_TEARDOWN(cgroup)
{
	unit_close(&self->u);
	close(self->event);
	close(self->fault);
	cgroup_leave();
}

TEST_F_TIMEOUT(cgroup, memory_max, 120)
{
	struct kviommu_stats s;
	unsigned int i;
	char max[32];
	int fd;

	fd = open(CGROUP "/memory.max", O_WRONLY);
	ASSERT_LE(0, fd);
	RUN(map_wide, 1);
	EXPECT_EQ(513, unit_stats(&self->u).mapped);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, WIDE, PAGE(1)));
	EXPECT_EQ(0, signals(&self->u, self->event));
	/* 3 GiB more would take 12 MiB. */
	snprintf(max, sizeof(max), "%lu",
		 cgroup_read(CGROUP "/memory.current", "%lu") + (4UL << 20));
	ASSERT_LT(0, write(fd, max, strlen(max)));
	self->u.vm.starved = true;
	RUN(map_wide, 4);
	/*
	 * The VMM is still there. Until there is memory again it must not call
	 * what might want some: to open a file can be its end. The guest may go on a
	 * moment before the VMM is told.
	 */
	for (i = 0; i < 5000 && !signals(&self->u, self->event); i++)
		usleep(1000);
	EXPECT_GT(5000, i);
	EXPECT_NE(0, take_fault(&self->u));
	s = unit_stats(&self->u);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, WIDE + 4 * SZ_1G - SZ_2M, PAGE(1)));
	ASSERT_EQ(3, write(fd, "max", 3));
	self->u.vm.starved = false;
	EXPECT_LT(0, s.limits);
	EXPECT_EQ(s.errors, s.limits);
	EXPECT_LT(513, s.mapped);
	EXPECT_GT(2049, s.mapped);
	EXPECT_EQ(0, cgroup_read(CGROUP "/memory.events", "oom_kill %lu"));

	ASSERT_EQ(0, unit_refresh(&self->u));
	EXPECT_EQ(2049, unit_stats(&self->u).mapped);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, WIDE + 4 * SZ_1G - SZ_2M, PAGE(1)));
	close(fd);
}

/* As map_wide() of 1 GiB, but there is nothing yet in the second table. */
static __u64 map_wide_empty(struct guest *g)
{
	__u64 *table, i;

	g_map_quiet(g, 0, WIDE, PAGE(1), 1, MAP_RW);
	WRITE_ONCE(*g_entry(g, 0, WIDE, LEAF_4K), 0);
	table = g_entry(g, 0, WIDE, LEAF_2M);
	for (i = 1; i < 512; i++)
		WRITE_ONCE(table[i], table[0]);
	return g_flush_domain(g, 0);
}

/* Tables of the host count as the VM's memory, whoever makes them. */
TEST_F_TIMEOUT(cgroup, iommu_tables, 120)
{
	unsigned long before;
	__u64 iova;

	/* A page that is pinned: then a polling thread can map it. */
	RUN(g_map, 0, 2 * IOVA, PAGE(1), 1, MAP_RW);
	RUN(map_wide_empty);
	before = cgroup_read(CGROUP "/memory.stat", "sec_pagetables %lu");
	unit_poll(&self->u);
	RUN(g_map, 0, WIDE, PAGE(1), 1, MAP_RW);
	for (iova = WIDE + SZ_2M; iova < WIDE + SZ_1G; iova += SZ_2M)
		RUN(g_flush_pages, 0, iova, 0);
	EXPECT_EQ(514, unit_stats(&self->u).mapped);
	/* Which takes a moment to be counted. */
	while (cgroup_read(CGROUP "/memory.stat", "sec_pagetables %lu") <
	       before + 512 * PAGE_SIZE)
		;
}

TEST_HARNESS_MAIN
