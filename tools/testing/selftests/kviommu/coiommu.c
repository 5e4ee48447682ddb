// SPDX-License-Identifier: GPL-2.0
/*
 * coIOMMU: each statement of the interface, by a guest driver of a page; each malformed form of
 * registers, requests and tables; when pages are unpinned, and when not; races and kills.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "kselftest_harness.h"
#include "require.h"
#include "unit.h"

#define RUN(fn, ...)	guest_run(&self->u.vm, fn, ##__VA_ARGS__)

#define CO_ROOT		0x00
#define CO_COMMAND	0x08
#define CO_LEVELS	0x10
#define CO_TRIGGER	0x18

#define DEACTIVATE	0
#define ACTIVATE	1
#define PARK		2
#define UNPARK		3

#define COUNT		0xffffU
#define ACCESSED	0x40000000U
#define PINNED		0x80000000U

#define BATCH		BIT_ULL(63)
#define BATCH_MAX	BIT_ULL(19)

#define GPA_NOTIFY	(GPA_REGS + PAGE_SIZE)
#define GPA_TOPOLOGY	(GPA_NOTIFY + 2 * PAGE_SIZE)
#define SLOT_NOTIFY	(VM_SLOT_SPARE + 1)
#define SLOT_TOPOLOGY	(VM_SLOT_SPARE + 2)

#define CPUS		4
#define SLOTS		1024
/* What is pinned of guest memory: GPA / 4096 */
#define GFN(n)		(PAGE(n) / PAGE_SIZE)
/* Where a test may put a batch */
#define GPA_BATCH	PAGE(1000)
#define NO_LIMIT	(~0ULL)

/* The guest */

struct g_batch {
	__u16 bdf;
	__u16 pad[3];
	__u64 nr;
	__u64 gfns[];
};

static __u64 *g_slot(__u64 cpu)
{
	return (__u64 *)(GPA_NOTIFY + cpu * 8);
}

/* An entry of a table above the last level, which is made if @make, or NULL */
static __u64 *g_table(struct guest *g, __u64 root, __u64 levels, __u64 gfn, __u64 level,
		      bool make)
{
	__u64 *table = (__u64 *)root, *e, l;

	for (l = levels; ; l--) {
		e = &table[gfn >> (10 + 9 * (l - 2)) & 511];
		if (make && !(*e & 1))
			WRITE_ONCE(*e, g_page(g) | 1);
		if (l == level)
			return e;
		if (!(*e & 1))
			return 0;
		table = (__u64 *)(*e & -PAGE_SIZE);
	}
}

static __u32 *g_word(struct guest *g, __u64 gfn)
{
	/* struct guest has the root of its table, and as domain 0 the number of levels. */
	__u64 *e, levels = g->dom[0].levels;

	if (levels == 1)
		return (__u32 *)g->root + (gfn & 1023);
	e = g_table(g, g->root, levels, gfn, 2, false);
	return e && *e & 1 ? (__u32 *)(*e & -PAGE_SIZE) + (gfn & 1023) : 0;
}

static __u64 g_word_of(struct guest *g, __u64 gfn)
{
	return (__u64)g_word(g, gfn);
}

/* A table for all RAM */
static __u64 g_make_table(struct guest *g, __u64 levels)
{
	__u64 gfn, root = g_page(g);

	for (gfn = 0; levels > 1 && gfn < GPA_RAM_END / PAGE_SIZE; gfn += 1024)
		g_table(g, root, levels, gfn, 2, true);
	g->dom[0].levels = levels;
	g->root = root;
	return root;
}

/* The command is complete when it was read back. */
static __u64 g_co_command(struct guest *g, __u64 command)
{
	g_write64(g, CO_COMMAND, command);
	return g_read64(g, CO_COMMAND);
}

static __u64 g_activate(struct guest *g, __u64 root, __u64 levels)
{
	g_write64(g, CO_ROOT, root);
	g_write64(g, CO_LEVELS, levels);
	return g_co_command(g, ACTIVATE);
}

static void g_trigger(struct guest *g, __u64 cpu)
{
	WRITE_ONCE(*(__u8 *)(g->regs + CO_TRIGGER + cpu), 1);
}

/* Ask, and wait for the slot to be 0. Returns: how often it was not. */
static __u64 g_ask(struct guest *g, __u64 cpu, __u64 value)
{
	unsigned long n;

	WRITE_ONCE(*g_slot(cpu), value);
	g_trigger(g, cpu);
	for (n = 0; READ_ONCE(*g_slot(cpu)); n++) {
		G_ASSERT_GOT(g, g_patient(n), value);
		asm volatile("pause" : : : "memory");
	}
	return n;
}

/* As a driver maps a page: count it, then look whether it is pinned. */
static __u64 g_co_map(struct guest *g, __u64 cpu, __u64 bdf, __u64 gfn)
{
	__u32 *word = g_word(g, gfn);

	__atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_or(word, ACCESSED, __ATOMIC_SEQ_CST);
	if (!(READ_ONCE(*word) & PINNED))
		g_ask(g, cpu, gfn << 16 | bdf);
	if (READ_ONCE(*word) & PINNED)
		return true;
	__atomic_fetch_sub(word, 1, __ATOMIC_SEQ_CST);
	return false;
}

static __u64 g_co_unmap(struct guest *g, __u64 gfn)
{
	__atomic_fetch_sub(g_word(g, gfn), 1, __ATOMIC_SEQ_CST);
	return 0;
}

/* Map and unmap: the page stays pinned. */
static __u64 g_touch(struct guest *g, __u64 gfn, __u64 n)
{
	for (; n; gfn++, n--) {
		G_ASSERT_GOT(g, g_co_map(g, 0, SID(0), gfn), gfn);
		g_co_unmap(g, gfn);
	}
	return 0;
}

static __u64 g_write_batch(struct guest *g, __u64 gpa, __u64 bdf, __u64 nr, __u64 first,
			   __u64 step)
{
	struct g_batch *b = (struct g_batch *)gpa;
	__u64 i;

	b->bdf = bdf;
	b->pad[0] = 0xdead;
	b->nr = nr;
	for (i = 0; i < nr; i++)
		WRITE_ONCE(b->gfns[i], first + i * step);
	return 0;
}

/* xorshift64 */
static __u64 g_random(__u64 *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* Map pages at random, and see that what is mapped stays pinned. Returns: how many. */
static __u64 g_churn_pages(struct guest *g, __u64 cpu, __u64 first, __u64 nr, __u64 seed)
{
	__u64 n, i, gfn;

	for (n = 0; !READ_ONCE(g->stop); n++) {
		gfn = first + g_random(&seed) % nr;
		G_ASSERT_GOT(g, g_co_map(g, cpu, SID(1), gfn), gfn);
		for (i = g_random(&seed) % 2000; i; i--)
			G_ASSERT_GOT(g, READ_ONCE(*g_word(g, gfn)) & PINNED, gfn);
		g_co_unmap(g, gfn);
		WRITE_ONCE(g->count, n);
	}
	return n;
}

/* A device writes to a page that is mapped for that time only. */
static __u64 g_map_dma(struct guest *g, __u64 gfn)
{
	if (!g_co_map(g, 0, SID(0), gfn))
		return 0;
	g_dma(g, 0, EDU_TO_RAM, gfn * PAGE_SIZE, 0, DMA_LEN);
	g_co_unmap(g, gfn);
	return 1;
}

/* The VMM */

static int unit_of(struct unit *u, unsigned int flags, unsigned int cpus)
{
	struct kviommu_create create = {
		.kvm_fd = u->vm.fd,
		.iommufd = u->iommufd,
		.ioas_id = u->ioas,
	};
	struct kviommu_create_coiommu co = {
		.flags = flags,
		.aw_bits = 39,
		.cpus = cpus,
	};

	return -kviommu_create_coiommu(u->fd, &create, &co);
}

static void *co_mmap(struct unit *u, __u64 offset, __u64 size, int prot)
{
	void *p = mmap(NULL, size, prot, MAP_SHARED, u->fd, offset);

	return p == MAP_FAILED ? NULL : p;
}

/* The pages of the unit of this process: as long as they are mapped the unit stays. */
static struct {
	void *notify, *topology;
	size_t notify_size, topology_size;
} pages;

static void co_open(struct unit *u, unsigned int flags)
{
	struct kviommu_coiommu_info info;

	memset(u, 0, sizeof(*u));
	vm_open(&u->vm);
	u->iommufd = iommufd_open();
	u->ioas = ioas_alloc(u->iommufd);
	REQUIRE(!ioas_map(u->iommufd, u->ioas, 0, u->vm.ram, GPA_RAM_END, IOAS_RW));
	u->fd = unit_open_file();
	REQUIRE(!kviommu_get_coiommu_info(u->fd, &info));
	REQUIRE(!unit_of(u, flags, CPUS));
	u->stats_fd = kviommu_open_stats(u->fd);
	REQUIRE(u->stats_fd >= 0);
	REQUIRE(!kviommu_map_regs(u->fd, &u->regs, NULL));
	pages.notify_size = info.out_notify_size;
	pages.notify = co_mmap(u, info.out_notify_offset, info.out_notify_size,
			       PROT_READ | PROT_WRITE);
	pages.topology_size = info.out_topology_size;
	pages.topology = co_mmap(u, info.out_topology_offset, info.out_topology_size,
				 PROT_READ);
	REQUIRE(pages.notify && pages.topology);
	REQUIRE(!vm_set_slot(&u->vm, SLOT_NOTIFY, GPA_NOTIFY, pages.notify,
			     info.out_notify_size, 0));
	REQUIRE(!vm_set_slot(&u->vm, SLOT_TOPOLOGY, GPA_TOPOLOGY, pages.topology,
			     info.out_topology_size, KVM_MEM_READONLY));
	unit_map_regs(u);
}

static void co_close(struct unit *u)
{
	munmap(pages.notify, pages.notify_size);
	munmap(pages.topology, pages.topology_size);
	unit_close(u);
}

/* These never fail. */
static void set_unpin(struct unit *u, __u64 ms, __u64 pages)
{
	const struct kviommu_policy p = {
		.mask = KVIOMMU_POLICY_UNPIN_MS | KVIOMMU_POLICY_UNPIN_PAGES,
		.unpin_ms = ms,
		.unpin_pages = pages,
	};

	REQUIRE(!unit_set_policy(u, &p));
}

static void set_max_pins(struct unit *u, __u64 pins)
{
	const struct kviommu_policy p = {
		.mask = KVIOMMU_POLICY_MAX_PINS,
		.max_pins = pins,
	};

	REQUIRE(!unit_set_policy(u, &p));
}

static __u32 *word(struct unit *u, __u64 gfn)
{
	return vm_hva(&u->vm, guest_run(&u->vm, g_word_of, gfn));
}

static __u64 release(struct unit *u, __u64 gpa, __u64 length)
{
	__u64 in_use = ~0ULL;

	REQUIRE(!kviommu_release_pins(u->fd, gpa, length, &in_use));
	return in_use;
}

static void wait_tracked(struct unit *u, __u64 n)
{
	int patience = 20000;

	while (unit_stats_now(u).tracked != n) {
		REQUIRE(patience--);
		usleep(1000);
	}
}

static __u32 in_force(struct unit *u, unsigned int n)
{
	struct kviommu_get_device d;

	REQUIRE(!unit_get_device(u, SID(n), &d));
	return d.out_in_force;
}

static __u64 ms_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ULL + t.tv_nsec / 1000000;
}

FIXTURE(co) {
	struct unit u;
	long pins;
};

FIXTURE_VARIANT(co) {
	unsigned int levels;
};

FIXTURE_VARIANT_ADD(co, levels_4) { .levels = 4 };
FIXTURE_VARIANT_ADD(co, levels_5) { .levels = 5 };

/* Nothing grows old, unless a test says so. */
FIXTURE_SETUP(co)
{
	self->pins = host_pins();
	co_open(&self->u, KVIOMMU_COIOMMU_BOOT_IDENTITY);
	unit_add_device(&self->u, 0, SID(0));
	unit_add_device(&self->u, 1, SID(1));
	set_unpin(&self->u, 0, NO_LIMIT);
	RUN(g_make_table, variant->levels);
}

FIXTURE_TEARDOWN(co)
{
	co_close(&self->u);
	EXPECT_EQ(self->pins, host_pins());
}

#define ACTIVATE_TABLE() RUN(g_activate, self->u.vm.g->root, variant->levels)

TEST_F(co, pages_of_the_unit)
{
	struct kviommu_coiommu_info i;
	struct unit *u = &self->u;
	void *p;

	ASSERT_EQ(0, kviommu_get_coiommu_info(u->fd, &i));
	EXPECT_EQ(KVIOMMU_COIOMMU_BOOT_IDENTITY | KVIOMMU_COIOMMU_BOOT_MASTER, i.out_flags);
	EXPECT_EQ(SLOTS, i.out_cpus_max);
	EXPECT_EQ(2 * PAGE_SIZE, i.out_notify_size);
	EXPECT_EQ(2 * PAGE_SIZE, i.out_topology_size);
	/* The list of devices cannot be written, nor be made so. */
	EXPECT_EQ(NULL, co_mmap(u, i.out_topology_offset, PAGE_SIZE, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(NULL, co_mmap(u, 0, i.out_topology_offset + PAGE_SIZE, PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	p = co_mmap(u, i.out_topology_offset, i.out_topology_size, PROT_READ);
	ASSERT_NE(NULL, p);
	EXPECT_EQ(-1, mprotect(p, PAGE_SIZE, PROT_READ | PROT_WRITE));
	munmap(p, i.out_topology_size);
	/* Any part, and nothing beyond */
	p = co_mmap(u, 0, i.out_topology_offset + i.out_topology_size, PROT_READ);
	ASSERT_NE(NULL, p);
	munmap(p, i.out_topology_offset + i.out_topology_size);
	EXPECT_EQ(NULL, co_mmap(u, i.out_topology_offset, i.out_topology_size + PAGE_SIZE,
				PROT_READ));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(NULL, co_mmap(u, i.out_topology_offset + i.out_topology_size, PAGE_SIZE,
				PROT_READ));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(NULL, co_mmap(u, -PAGE_SIZE, PAGE_SIZE, PROT_READ));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE_SIZE, PROT_READ, MAP_PRIVATE, u->fd, 0));
	EXPECT_EQ(EINVAL, errno);
}

/* The same, with the unit's own blob */
TEST_F(co, create)
{
	static const struct {
		struct kviommu_create_coiommu co;
		int err;
	} bad[] = {
		{ { .flags = 4, .aw_bits = 48, .cpus = 1 }, EOPNOTSUPP },
		{ { .flags = KVIOMMU_COIOMMU_BOOT_MASTER, .aw_bits = 48, .cpus = 1 }, EINVAL },
		{ { .aw_bits = 38, .cpus = 1 }, EINVAL },
		{ { .aw_bits = 53, .cpus = 1 }, EINVAL },
		{ { .aw_bits = 48, .cpus = 0 }, EINVAL },
		{ { .aw_bits = 48, .cpus = SLOTS + 1 }, EINVAL },
		{ { .aw_bits = 48, .cpus = 1, .__reserved = 1 }, EINVAL },
	};
	struct kviommu_create_coiommu good = { .aw_bits = 52, .cpus = SLOTS };
	struct kviommu_create create = {
		.kvm_fd = self->u.vm.fd,
		.iommufd = self->u.iommufd,
		.ioas_id = self->u.ioas,
	};
	int fd = unit_open_file();
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct kviommu_create_coiommu co = bad[i].co;

		EXPECT_EQ(-bad[i].err, kviommu_create_coiommu(fd, &create, &co));
	}
	EXPECT_EQ(0, kviommu_create_coiommu(fd, &create, &good));
	close(fd);
}

TEST_F(co, topology)
{
	__u16 *t = co_mmap(&self->u, 3 * PAGE_SIZE, PAGE_SIZE, PROT_READ);

	ASSERT_NE(NULL, t);
	EXPECT_EQ(2, READ_ONCE(t[0]));
	EXPECT_EQ(SID(0), READ_ONCE(t[1]));
	EXPECT_EQ(SID(1), READ_ONCE(t[2]));
	ASSERT_EQ(0, unit_detach(self->u.fd, SID(0)));
	EXPECT_EQ(1, READ_ONCE(t[0]));
	EXPECT_EQ(SID(1), READ_ONCE(t[1]));
	ASSERT_EQ(0, unit_attach(self->u.fd, self->u.dev[0].fd, SID(7)));
	EXPECT_EQ(2, READ_ONCE(t[0]));
	EXPECT_EQ(SID(7), READ_ONCE(t[2]));
	munmap(t, PAGE_SIZE);
}

static __u64 g_poke(struct guest *g, __u64 offset, __u64 v, __u64 len)
{
	switch (len) {
	case 1:
		WRITE_ONCE(*(__u8 *)(g->regs + offset), v);
		break;
	case 2:
		WRITE_ONCE(*(__u16 *)(g->regs + offset), v);
		break;
	case 4:
		g_write32(g, offset, v);
		break;
	default:
		g_write64(g, offset, v);
	}
	return g_read64(g, offset & ~7UL);
}

TEST_F(co, registers)
{
	unsigned int i;

	EXPECT_EQ(0, RUN(g_poke, CO_COMMAND, PARK, 8));
	EXPECT_EQ(0, RUN(g_poke, CO_COMMAND, UNPARK, 8));
	EXPECT_EQ(0, RUN(g_poke, CO_COMMAND, 4, 8));
	EXPECT_EQ(0, RUN(g_poke, CO_COMMAND, ~0UL, 8));
	EXPECT_EQ(0x123456789abcd000, RUN(g_poke, CO_ROOT, 0x123456789abcd000, 8));
	EXPECT_EQ(0x1234567800000004, RUN(g_poke, CO_ROOT, 4, 4));
	EXPECT_EQ(5, RUN(g_poke, CO_LEVELS, 5, 8));
	EXPECT_EQ(0, RUN(g_poke, CO_TRIGGER, 0xff, 1));
	EXPECT_EQ(0, RUN(g_poke, CO_TRIGGER + 16, ~0UL, 8));
	for (i = 0x18; i < PAGE_SIZE; i += 8)
		EXPECT_EQ(0, RUN(g_poke, i, ~0UL, 8));
	/* Across registers, and not aligned */
	for (i = 0; i < 0x20; i++)
		RUN(g_poke, i, ~0UL, 1 << i % 4);
	EXPECT_EQ(KVIOMMU_DMA_IDENTITY, in_force(&self->u, 0));
	RUN(g_poke, CO_ROOT, 0, 8);
	EXPECT_EQ(0, RUN(g_read64, CO_ROOT));
}

TEST_F(co, before_activate)
{
	struct kviommu_stats s = unit_stats_now(&self->u);

	EXPECT_EQ(2, s.identity_devices);
	EXPECT_EQ(0, s.tracked_devices);
	EXPECT_EQ(KVIOMMU_DMA_IDENTITY, in_force(&self->u, 0));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 1, PAGE(4), PAGE(4)));
	/* A request is none yet. */
	EXPECT_EQ(0, RUN(g_ask, 0, GFN(3) << 16 | SID(0)));
	EXPECT_EQ(0, *word(&self->u, GFN(3)));
	EXPECT_EQ(0, unit_stats_now(&self->u).asked);
}

/* Without the flag nothing is reached, nor pinned. */
TEST(blocked_before_activate)
{
	struct kviommu_stats s;
	struct unit u;

	co_open(&u, 0);
	unit_add_device(&u, 0, SID(0));
	s = unit_stats_now(&u);
	EXPECT_EQ(0, s.pinned + s.identity_devices);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&u, 0, PAGE(3), PAGE(3)));
	guest_run(&u.vm, g_make_table, 4);
	guest_run(&u.vm, g_activate, u.vm.g->root, 4);
	EXPECT_EQ(true, guest_run(&u.vm, g_co_map, 0, SID(0), GFN(3)));
	EXPECT_EQ(DMA_REACHED, dma_write(&u, 0, PAGE(3), PAGE(3)));
	guest_run(&u.vm, g_co_command, DEACTIVATE);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&u, 0, PAGE(3), PAGE(3)));
	EXPECT_EQ(KVIOMMU_DMA_BLOCKED, in_force(&u, 0));
	co_close(&u);
}

/* A guest whose driver comes before it uses its devices never has all of its memory pinned. */
TEST_F(co, bus_master)
{
	struct unit *u = &self->u;
	long pins;

	co_close(u);
	co_open(u, KVIOMMU_COIOMMU_BOOT_IDENTITY | KVIOMMU_COIOMMU_BOOT_MASTER);
	set_unpin(u, 0, NO_LIMIT);
	pins = host_pins();
	unit_add_device(u, 0, SID(0));
	unit_add_device(u, 1, SID(1));
	EXPECT_EQ(pins, host_pins());
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, PAGE(3), PAGE(3)));
	/* Firmware, or a guest without the driver, uses the first of them. */
	ASSERT_EQ(0, unit_set_bus_master(u, SID(0), true));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, PAGE(3), PAGE(3)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 1, PAGE(3), PAGE(3)));
	EXPECT_EQ(KVIOMMU_DMA_IDENTITY, in_force(u, 0));
	EXPECT_EQ(KVIOMMU_DMA_BLOCKED, in_force(u, 1));
	ASSERT_EQ(0, unit_set_bus_master(u, SID(0), false));
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, PAGE(3), PAGE(3)));
	EXPECT_EQ(pins, host_pins());

	/* Tracked devices are, whatever it is. */
	RUN(g_make_table, variant->levels);
	ACTIVATE_TABLE();
	ASSERT_EQ(0, unit_set_bus_master(u, SID(0), true));
	EXPECT_EQ(KVIOMMU_DMA_TRACKED, in_force(u, 0));
	EXPECT_EQ(KVIOMMU_DMA_TRACKED, in_force(u, 1));
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, PAGE(3), PAGE(3)));
	EXPECT_EQ(true, RUN(g_co_map, 0, SID(0), GFN(3)));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, PAGE(3), PAGE(3)));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 1, PAGE(3), PAGE(3)));
	EXPECT_GT(pins + 100, host_pins());
	RUN(g_co_command, DEACTIVATE);
	EXPECT_EQ(KVIOMMU_DMA_IDENTITY, in_force(u, 0));
	EXPECT_EQ(KVIOMMU_DMA_BLOCKED, in_force(u, 1));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, PAGE(4), PAGE(4)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 1, PAGE(4), PAGE(4)));
	ASSERT_EQ(0, unit_reset(u->fd));
	EXPECT_EQ(KVIOMMU_DMA_BLOCKED, in_force(u, 0));
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, PAGE(4), PAGE(4)));
}

TEST_F(co, activate)
{
	struct kviommu_get_device d;
	struct kviommu_stats s;

	EXPECT_EQ(0, ACTIVATE_TABLE());
	s = unit_stats_now(&self->u);
	EXPECT_EQ(0, s.identity_devices);
	EXPECT_EQ(2, s.tracked_devices);
	EXPECT_EQ(0, s.tracked);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
	EXPECT_EQ(true, RUN(g_co_map, 0, SID(0), GFN(3)));
	EXPECT_EQ(PINNED | ACCESSED | 1, *word(&self->u, GFN(3)));
	/* For all devices, and for no other page */
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 1, PAGE(3), PAGE(3)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 1, PAGE(4), PAGE(4)));
	EXPECT_EQ(DMA_REACHED, dma_read(&self->u, 1, PAGE(3), PAGE(3), PAGE(3), PAGE(3)));
	s = unit_stats_now(&self->u);
	EXPECT_EQ(1, s.tracked);
	EXPECT_EQ(1, s.asked);
	EXPECT_EQ(0, s.refused + s.errors);
	EXPECT_GE(8, s.pinned);
	ASSERT_EQ(0, unit_get_device(&self->u, SID(0), &d));
	EXPECT_EQ(KVIOMMU_DMA_TRACKED, d.out_wanted);
	EXPECT_EQ(KVIOMMU_DMA_TRACKED, d.out_in_force);
	EXPECT_EQ(KVIOMMU_PINS_MAPPED, d.out_pins);
	EXPECT_EQ(1, d.out_pinned);
	/* Unmapped it stays. */
	RUN(g_co_unmap, GFN(3));
	EXPECT_EQ(PINNED | ACCESSED, *word(&self->u, GFN(3)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
}

TEST_F(co, activate_is_ignored)
{
	__u64 root = self->u.vm.g->root;

	RUN(g_activate, 0, variant->levels);
	RUN(g_activate, root, 0);
	EXPECT_EQ(0, unit_stats_now(&self->u).errors);
	RUN(g_activate, root + 8, variant->levels);
	RUN(g_activate, root, 7);
	RUN(g_activate, root, ~0ULL);
	EXPECT_EQ(3, unit_stats_now(&self->u).errors);
	EXPECT_EQ(KVIOMMU_DMA_IDENTITY, in_force(&self->u, 0));
	ACTIVATE_TABLE();
	EXPECT_EQ(true, RUN(g_co_map, 0, SID(0), GFN(3)));
	/* What is active stays so. */
	RUN(g_activate, 0, variant->levels);
	RUN(g_activate, root + 8, variant->levels);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
	/* Again is harmless. */
	ACTIVATE_TABLE();
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
	EXPECT_EQ(1, unit_stats_now(&self->u).tracked);
	EXPECT_EQ(0, unit_stats_now(&self->u).unpinned);
}

/* Any number of levels, with a root that is a last-level table at the least */
TEST_F(co, levels)
{
	unsigned int levels;

	for (levels = 1; levels <= 6; levels++) {
		RUN(g_make_table, levels);
		RUN(g_activate, self->u.vm.g->root, levels);
		/* Of one level only the first 4 MiB */
		EXPECT_EQ(levels > 1, RUN(g_co_map, 0, SID(0), GFN(3))) TH_LOG("%u", levels);
		EXPECT_EQ(true, RUN(g_co_map, 0, SID(0), 5)) TH_LOG("%u", levels);
		EXPECT_EQ(levels > 1 ? 2 : 1, unit_stats_now(&self->u).tracked);
	}
}

TEST_F(co, deactivate)
{
	struct kviommu_stats s;

	ACTIVATE_TABLE();
	EXPECT_EQ(true, RUN(g_co_map, 0, SID(0), GFN(3)));
	RUN(g_touch, GFN(4), 2000);
	EXPECT_EQ(2001, unit_stats_now(&self->u).tracked);
	/* All is done when it has been read back. */
	EXPECT_EQ(0, RUN(g_co_command, DEACTIVATE));
	s = unit_stats_now(&self->u);
	EXPECT_EQ(0, s.tracked);
	EXPECT_EQ(0, s.tracked_devices);
	EXPECT_EQ(2, s.identity_devices);
	EXPECT_EQ(2001, s.unpinned);
	EXPECT_EQ(ACCESSED | 1, *word(&self->u, GFN(3)));
	EXPECT_EQ(ACCESSED, *word(&self->u, GFN(4)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 1, PAGE(3000), PAGE(3000)));
	/* Again, and on from there */
	RUN(g_co_command, DEACTIVATE);
	ACTIVATE_TABLE();
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
	EXPECT_EQ(true, RUN(g_co_map, 0, SID(0), GFN(3)));
	EXPECT_EQ(PINNED | ACCESSED | 2, *word(&self->u, GFN(3)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
}

TEST_F(co, another_root)
{
	__u64 old = self->u.vm.g->root;
	__u32 *before;

	ACTIVATE_TABLE();
	EXPECT_EQ(true, RUN(g_co_map, 0, SID(0), GFN(3)));
	before = word(&self->u, GFN(3));
	RUN(g_make_table, variant->levels);
	ASSERT_NE(old, self->u.vm.g->root);
	ACTIVATE_TABLE();
	EXPECT_EQ(0, unit_stats_now(&self->u).tracked);
	EXPECT_EQ(2, unit_stats_now(&self->u).tracked_devices);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
	/* The old table may be anything by now, so nobody writes there. */
	EXPECT_EQ(PINNED | ACCESSED | 1, *before);
	EXPECT_EQ(true, RUN(g_co_map, 0, SID(0), GFN(3)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
	EXPECT_EQ(PINNED | ACCESSED | 1, *before);
}

TEST_F(co, reset)
{
	__u64 *slots = co_mmap(&self->u, PAGE_SIZE, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE);
	struct kviommu_stats s;

	ASSERT_NE(NULL, slots);
	ACTIVATE_TABLE();
	EXPECT_EQ(true, RUN(g_co_map, 0, SID(0), GFN(3)));
	RUN(g_co_command, PARK);
	WRITE_ONCE(slots[1], 1);
	WRITE_ONCE(slots[SLOTS - 1], 1);
	ASSERT_EQ(0, unit_reset(self->u.fd));
	EXPECT_EQ(0, READ_ONCE(slots[1]));
	EXPECT_EQ(0, READ_ONCE(slots[SLOTS - 1]));
	EXPECT_EQ(0, RUN(g_read64, CO_ROOT));
	EXPECT_EQ(0, RUN(g_read64, CO_LEVELS));
	s = unit_stats_now(&self->u);
	EXPECT_EQ(0, s.tracked + s.idle);
	EXPECT_EQ(2, s.identity_devices);
	EXPECT_EQ(PINNED | ACCESSED | 1, *word(&self->u, GFN(3)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(5), PAGE(5)));
	/* And it is not parked any more. */
	RUN(g_make_table, variant->levels);
	ACTIVATE_TABLE();
	RUN(g_touch, GFN(3), 1);
	set_unpin(&self->u, 5, NO_LIMIT);
	wait_tracked(&self->u, 0);
	munmap(slots, 2 * PAGE_SIZE);
}

/* In the vCPU's own exit: the slot is 0 when the guest looks for the first time. */
TEST_F(co, single)
{
	unsigned int i;

	ACTIVATE_TABLE();
	for (i = 0; i < CPUS; i++)
		EXPECT_EQ(0, RUN(g_ask, i, GFN(i) << 16 | SID(i % 2)));
	EXPECT_EQ(CPUS, unit_stats_now(&self->u).tracked);
	for (i = 0; i < CPUS; i++) {
		EXPECT_EQ(PINNED, *word(&self->u, GFN(i)));
		EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(i), PAGE(i)));
	}
	/* Asked for again nothing happens. */
	EXPECT_EQ(0, RUN(g_ask, 0, GFN(0) << 16 | SID(0)));
	EXPECT_EQ(CPUS, unit_stats_now(&self->u).tracked);
	EXPECT_EQ(CPUS, unit_stats_now(&self->u).maps);
	EXPECT_EQ(PINNED, *word(&self->u, GFN(0)));
	/* Neither does for a slot that is idle. */
	EXPECT_EQ(0, RUN(g_ask, 0, 0));
	EXPECT_EQ(0, unit_stats_now(&self->u).errors);
}

static __u64 g_ask_batch(struct guest *g, __u64 gpa, __u64 nr, __u64 first, __u64 step)
{
	g_write_batch(g, gpa, SID(0), nr, first, step);
	return g_ask(g, 1, BATCH | gpa);
}

TEST_F(co, batch)
{
	struct g_batch *b = vm_hva(&self->u.vm, GPA_BATCH);
	__u64 across = GPA_BATCH + PAGE_SIZE - 24;
	unsigned int i;

	ACTIVATE_TABLE();
	RUN(g_ask_batch, GPA_BATCH, 100, GFN(0), 2);
	EXPECT_EQ(100, unit_stats_now(&self->u).tracked);
	for (i = 0; i < 200; i++)
		EXPECT_EQ(i % 2 ? 0 : PINNED, *word(&self->u, GFN(i)));
	/* Across a page, backwards, one page twice */
	RUN(g_ask_batch, across, 5, GFN(300), -1);
	EXPECT_EQ(105, unit_stats_now(&self->u).tracked);
	b->bdf = SID(1);
	b->nr = 4;
	for (i = 0; i < 4; i++)
		b->gfns[i] = GFN(i % 2 ? 400 : 500);
	RUN(g_ask, 2, BATCH | GPA_BATCH);
	EXPECT_EQ(107, unit_stats_now(&self->u).tracked);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(400), PAGE(400)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 1, PAGE(296), PAGE(296)));
	/* Nothing is nothing. */
	RUN(g_ask_batch, GPA_BATCH, 0, 0, 0);
	EXPECT_EQ(0, unit_stats_now(&self->u).errors + unit_stats_now(&self->u).refused);
	EXPECT_EQ(4, unit_stats_now(&self->u).batches);
	/* All of RAM that there is a word for */
	RUN(g_ask_batch, PAGE(2000), 2000, GFN(0), 1);
	EXPECT_EQ(2000, unit_stats_now(&self->u).tracked);
}

/* An error ends a batch; what was before it stays. */
TEST_F(co, batch_with_error)
{
	struct g_batch *b = vm_hva(&self->u.vm, GPA_BATCH);
	unsigned int at;

	ACTIVATE_TABLE();
	for (at = 0; at < 100; at += 33) {
		RUN(g_write_batch, GPA_BATCH, SID(0), 100, GFN(at * 5), 1);
		b->gfns[at] = GPA_RAM_END / PAGE_SIZE;
		RUN(g_ask, 0, BATCH | GPA_BATCH);
		if (at)
			EXPECT_EQ(PINNED, *word(&self->u, GFN(at * 5 + at - 1)));
		EXPECT_EQ(0, *word(&self->u, GFN(at * 5 + at + 1)));
	}
	EXPECT_EQ(0 + 33 + 66 + 99, unit_stats_now(&self->u).tracked);
	EXPECT_EQ(4, unit_stats_now(&self->u).errors);
	EXPECT_EQ(100 + 67 + 34 + 1, unit_stats_now(&self->u).refused);
}

/* Of whatever kind, the slot is zeroed, and the next request is as good as ever. */
TEST_F(co, malformed_requests)
{
	const __u64 end = GPA_RAM_END / PAGE_SIZE, good = GFN(3) << 16 | SID(0);
	const __u64 bad[] = {
		GFN(3) << 16 | SID(5),			/* no such device */
		GFN(3) << 16,
		GFN(3) << 16 | 0xffff,
		end << 16 | SID(0),			/* beyond RAM, with a word */
		(GPA_REGS / PAGE_SIZE) << 16 | SID(0),	/* not RAM */
		(GPA_BAR / PAGE_SIZE) << 16 | SID(0),
		BIT_ULL(27) << 16 | SID(0),		/* beyond 39 bits */
		((BIT_ULL(47) - 1) << 16) | SID(0),
		BATCH,					/* a page of zeros: nothing */
		BATCH | (GPA_BATCH + 4),		/* not aligned */
		BATCH | GPA_RAM_END,			/* not in RAM */
		BATCH | (GPA_RAM_END - 8),
		BATCH | GPA_REGS,
		BATCH | GPA_NOTIFY,
		BATCH | (BIT_ULL(63) - 8),
		~0ULL,
	};
	struct g_batch *b = vm_hva(&self->u.vm, GPA_BATCH);
	const __u64 nrs[] = { BATCH_MAX + 1, BIT_ULL(32), BIT_ULL(60), ~0ULL };
	unsigned int i;

	ACTIVATE_TABLE();
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		RUN(g_ask, i % CPUS, bad[i]);
		EXPECT_EQ(0, *word(&self->u, GFN(3))) TH_LOG("%u", i);
	}
	EXPECT_EQ(0, unit_stats_now(&self->u).tracked);
	EXPECT_LE(ARRAY_SIZE(bad) - 1, unit_stats_now(&self->u).errors);
	for (i = 0; i < ARRAY_SIZE(nrs); i++) {
		RUN(g_write_batch, GPA_BATCH, SID(0), 1, GFN(3), 0);
		b->nr = nrs[i];
		RUN(g_ask, 0, BATCH | GPA_BATCH);
	}
	b->nr = 1;
	b->bdf = SID(5);
	RUN(g_ask, 0, BATCH | GPA_BATCH);
	EXPECT_EQ(0, unit_stats_now(&self->u).tracked);
	/* As many as there may be, from a batch that ends before */
	RUN(g_write_batch, GPA_RAM_END - PAGE_SIZE, SID(0), 510, GFN(3), 0);
	b = vm_hva(&self->u.vm, GPA_RAM_END - PAGE_SIZE);
	b->nr = BATCH_MAX;
	RUN(g_ask, 0, BATCH | (GPA_RAM_END - PAGE_SIZE));
	EXPECT_EQ(1, unit_stats_now(&self->u).tracked);
	/* CPUs that there are not */
	for (i = CPUS; i < SLOTS; i = 2 * i + 1)
		RUN(g_ask, i, GFN(4) << 16 | SID(0));
	EXPECT_EQ(0, *word(&self->u, GFN(4)));
	RUN(g_poke, CO_TRIGGER + SLOTS, 1, 1);
	RUN(g_poke, PAGE_SIZE - 1, 1, 1);
	EXPECT_EQ(0, RUN(g_ask, 0, good));
	EXPECT_EQ(PINNED, *word(&self->u, GFN(3)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
}

/* A wider write to triggers is one to each: no slot is forgotten. */
static __u64 g_wide_trigger(struct guest *g)
{
	__u64 i, n;

	for (i = 0; i < 8; i++)
		WRITE_ONCE(*g_slot(i), (GFN(10) + i) << 16 | SID(0));
	g_write64(g, CO_TRIGGER, ~0ULL);
	for (i = 0; i < 8; i++)
		for (n = 0; READ_ONCE(*g_slot(i)); n++)
			G_ASSERT_GOT(g, g_patient(n), i);
	return 0;
}

TEST_F(co, wide_trigger)
{
	ACTIVATE_TABLE();
	RUN(g_wide_trigger);
	EXPECT_EQ(CPUS, unit_stats_now(&self->u).tracked);
}

static __u64 g_set_entry(struct guest *g, __u64 levels, __u64 gfn, __u64 level, __u64 v)
{
	__u64 *e = g_table(g, g->root, levels, gfn, level, false), old = *e;

	WRITE_ONCE(*e, v);
	return old;
}

TEST_F(co, malformed_tables)
{
	const __u64 bad[] = {
		0, PAGE(5) /* not present */, GPA_RAM_END | 1, GPA_REGS | 1, GPA_NOTIFY | 1,
		~0ULL, (BIT_ULL(52) - PAGE_SIZE) | 1, BIT_ULL(63) | 1,
	};
	unsigned int i, level;
	__u64 old;

	ACTIVATE_TABLE();
	for (level = 2; level <= variant->levels; level++) {
		for (i = 0; i < ARRAY_SIZE(bad); i++) {
			old = RUN(g_set_entry, variant->levels, GFN(3), level, bad[i]);
			RUN(g_ask, 0, GFN(3) << 16 | SID(0));
			EXPECT_EQ(0, unit_stats_now(&self->u).tracked);
			RUN(g_set_entry, variant->levels, GFN(3), level, old);
		}
	}
	EXPECT_EQ(0, unit_stats_now(&self->u).tracked);
	/* A table that is its own one is as good as any. */
	old = RUN(g_set_entry, variant->levels, GFN(3), variant->levels,
		  self->u.vm.g->root | 1);
	RUN(g_ask, 0, GFN(3) << 16 | SID(0));
	EXPECT_GE(1, unit_stats_now(&self->u).tracked);
	RUN(g_set_entry, variant->levels, GFN(3), variant->levels, old);
	EXPECT_EQ(true, RUN(g_co_map, 0, SID(0), GFN(3)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
	/* A root outside of RAM */
	RUN(g_activate, GPA_REGS, variant->levels);
	RUN(g_ask, 0, GFN(3) << 16 | SID(0));
	RUN(g_activate, BIT_ULL(52), variant->levels);
	RUN(g_ask, 0, GFN(3) << 16 | SID(0));
	RUN(g_activate, -PAGE_SIZE, 1);
	RUN(g_ask, 0, GFN(3) << 16 | SID(0));
	EXPECT_EQ(0, unit_stats_now(&self->u).tracked);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
	RUN(g_co_command, DEACTIVATE);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
}

/* What the guest writes where only the host writes */
TEST_F(co, words_are_not_trusted)
{
	ACTIVATE_TABLE();
	*word(&self->u, GFN(3)) = PINNED | 0x3fff0000;
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
	RUN(g_ask, 0, GFN(3) << 16 | SID(0));
	EXPECT_EQ(PINNED | 0x3fff0000, *word(&self->u, GFN(3)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
	*word(&self->u, GFN(3)) = 1;
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
	RUN(g_ask, 0, GFN(3) << 16 | SID(0));
	EXPECT_EQ(PINNED | 1, *word(&self->u, GFN(3)));
	EXPECT_EQ(1, unit_stats_now(&self->u).tracked);
	/* Nothing of it is in use: so it may go. */
	*word(&self->u, GFN(3)) = 0;
	set_unpin(&self->u, 5, NO_LIMIT);
	wait_tracked(&self->u, 0);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
}

TEST_F(co, age)
{
	struct kviommu_stats s;

	ACTIVATE_TABLE();
	EXPECT_EQ(true, RUN(g_co_map, 0, SID(0), GFN(3)));
	RUN(g_touch, GFN(4), 1200);
	set_unpin(&self->u, 20, NO_LIMIT);
	wait_tracked(&self->u, 1);
	/* What is mapped stays, though nobody touches it. */
	EXPECT_EQ(PINNED | 1, *word(&self->u, GFN(3)));
	EXPECT_EQ(0, *word(&self->u, GFN(4)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, PAGE(4), PAGE(4)));
	s = unit_stats_now(&self->u);
	EXPECT_EQ(1200, s.unpinned);
	EXPECT_LE(1200, s.unmaps);
	/* By batches: for each a flush at most, and some words that the guest has left. */
	EXPECT_GE(20, s.syncs);
	EXPECT_EQ(0, s.reclaims + s.errors);
	RUN(g_co_unmap, GFN(3));
	wait_tracked(&self->u, 0);
	EXPECT_EQ(0, *word(&self->u, GFN(3)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
	EXPECT_EQ(true, RUN(g_co_map, 0, SID(0), GFN(3)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
}

static __u64 g_touch_on(struct guest *g, __u64 cpu, __u64 gfn)
{
	__u64 n;

	for (n = 0; !READ_ONCE(g->stop); n++) {
		G_ASSERT_GOT(g, g_co_map(g, cpu, SID(0), gfn), gfn);
		g_co_unmap(g, gfn);
		WRITE_ONCE(g->count, n);
	}
	return n;
}

static void *touch_thread(void *arg)
{
	struct unit *u = arg;

	guest_run_on(&u->vm, 1, g_touch_on, 1, GFN(3));
	return NULL;
}

/* What is mapped again and again stays. */
TEST_F(co, used_stays)
{
	__u64 maps;
	pthread_t t;

	ACTIVATE_TABLE();
	ASSERT_EQ(0, pthread_create(&t, NULL, touch_thread, &self->u));
	while (READ_ONCE(self->u.vm.g->count) < 10)
		usleep(1000);
	RUN(g_touch, GFN(4), 100);
	maps = unit_stats_now(&self->u).maps;
	/* Longer than a busy host lets a vCPU wait */
	set_unpin(&self->u, 2000, NO_LIMIT);
	wait_tracked(&self->u, 1);
	usleep(4500000);
	EXPECT_EQ(1, unit_stats_now(&self->u).tracked);
	EXPECT_EQ(maps, unit_stats_now(&self->u).maps);
	WRITE_ONCE(self->u.vm.g->stop, 1);
	ASSERT_EQ(0, pthread_join(t, NULL));
	wait_tracked(&self->u, 0);
}

TEST_F(co, limit_per_round)
{
	__u64 begin;

	ACTIVATE_TABLE();
	RUN(g_touch, GFN(0), 40);
	set_unpin(&self->u, 0, 4);
	usleep(100000);
	EXPECT_EQ(40, unit_stats_now(&self->u).tracked);
	begin = ms_now();
	set_unpin(&self->u, 50, 4);
	wait_tracked(&self->u, 0);
	EXPECT_LE(500, ms_now() - begin);
	set_unpin(&self->u, 5, 0);
	RUN(g_touch, GFN(0), 40);
	usleep(100000);
	EXPECT_EQ(40, unit_stats_now(&self->u).tracked);
}

/* At the quota what is not in use has to go, and what is in use does not. */
TEST_F(co, quota)
{
	struct kviommu_stats s;
	unsigned int i;

	ACTIVATE_TABLE();
	set_max_pins(&self->u, 40);
	for (i = 0; i < 60; i++)
		RUN(g_co_map, 0, SID(0), GFN(i * 30));
	s = unit_stats_now(&self->u);
	EXPECT_LE(30, s.tracked);
	EXPECT_GE(40, s.pinned);
	EXPECT_EQ(60 - s.tracked, s.refused);
	EXPECT_LT(0, s.limits);
	for (i = 0; i < s.tracked; i++)
		EXPECT_NE(0, *word(&self->u, GFN(i * 30)) & PINNED);
	EXPECT_EQ(false, RUN(g_co_map, 0, SID(0), GFN(1999)));
	/* One goes for one that comes. */
	for (i = 0; i < 10; i++) {
		RUN(g_co_unmap, GFN(i * 30));
		EXPECT_EQ(true, RUN(g_co_map, 0, SID(0), GFN(1900 + i))) TH_LOG("%u", i);
		EXPECT_EQ(0, *word(&self->u, GFN(i * 30)) & PINNED);
	}
	EXPECT_EQ(10, unit_stats_now(&self->u).unpinned);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(1905), PAGE(1905)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, PAGE(30), PAGE(30)));
	/* What was used lately stays, if there is something else. */
	for (i = 12; i < 16; i++)
		RUN(g_co_unmap, GFN(i * 30));
	EXPECT_EQ(true, RUN(g_co_map, 0, SID(0), GFN(12 * 30)));
	RUN(g_co_unmap, GFN(12 * 30));
	EXPECT_EQ(true, RUN(g_co_map, 0, SID(0), GFN(1950)));
	EXPECT_EQ(PINNED | ACCESSED, *word(&self->u, GFN(12 * 30)) | ACCESSED);
	EXPECT_EQ(0, *word(&self->u, GFN(13 * 30)) & PINNED);
	/* The guest's own fault hurts nobody else, and is over when it ends. */
	set_max_pins(&self->u, NO_LIMIT);
	EXPECT_EQ(true, RUN(g_co_map, 0, SID(0), GFN(1999)));
}

/* The same at the limit of locked memory, which the unit does not know. */
TEST(locked_memory)
{
	unsigned int i, n;
	struct unit u;

	limit_locked_memory((pinned_kib() + 200) * 1024);
	co_open(&u, 0);
	set_unpin(&u, 0, NO_LIMIT);
	guest_run(&u.vm, g_make_table, 4);
	unit_open_device(&u, 0, SID(0));
	ASSERT_EQ(0, unit_attach(u.fd, u.dev[0].fd, SID(0)));
	guest_run(&u.vm, g_activate, u.vm.g->root, 4);
	for (n = 0; n < 100; n++)
		if (!guest_run(&u.vm, g_co_map, 0, SID(0), GFN(n * 20)))
			break;
	EXPECT_LT(20, n);
	EXPECT_GE(50, n);
	EXPECT_LT(0, unit_stats_now(&u).limits);
	for (i = 0; i < 10; i++) {
		guest_run(&u.vm, g_co_unmap, GFN(i * 20));
		EXPECT_EQ(true, guest_run(&u.vm, g_co_map, 0, SID(0), GFN(1990 - i * 20)));
	}
	for (i = 10; i < n; i++)
		guest_run(&u.vm, g_co_unmap, GFN(i * 20));
	for (i = 0; i < 10; i++)
		guest_run(&u.vm, g_co_unmap, GFN(1990 - i * 20));
	set_unpin(&u, 5, NO_LIMIT);
	wait_tracked(&u, 0);
	co_close(&u);
}

static void lack_memory(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	REQUIRE(fd >= 0 && write(fd, "2", 1) == 1);
	close(fd);
}

TEST_F(co, shrinker)
{
	unsigned int i;

	ACTIVATE_TABLE();
	EXPECT_EQ(true, RUN(g_co_map, 0, SID(0), GFN(3)));
	RUN(g_touch, GFN(4), 300);
	for (i = 0; i < 200 && unit_stats_now(&self->u).tracked > 1; i++) {
		lack_memory();
		usleep(20000);
	}
	EXPECT_EQ(1, unit_stats_now(&self->u).tracked);
	EXPECT_LE(300, unit_stats_now(&self->u).reclaims);
	EXPECT_EQ(PINNED | 1, *word(&self->u, GFN(3)) & ~ACCESSED);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, PAGE(4), PAGE(4)));
}

TEST_F(co, balloon)
{
	ACTIVATE_TABLE();
	/* Nothing is in the way of pages that were never pinned. */
	EXPECT_EQ(0, release(&self->u, PAGE(0), 16 * PAGE_SIZE));
	EXPECT_EQ(true, RUN(g_co_map, 0, SID(0), GFN(3)));
	RUN(g_touch, GFN(4), 4);
	EXPECT_EQ(1, release(&self->u, PAGE(2), 4 * PAGE_SIZE));
	EXPECT_EQ(3, unit_stats_now(&self->u).tracked);
	EXPECT_EQ(0, *word(&self->u, GFN(4)));
	EXPECT_EQ(PINNED | ACCESSED, *word(&self->u, GFN(6)));
	EXPECT_EQ(0, release(&self->u, PAGE(4), 2 * PAGE_SIZE));
	EXPECT_EQ(1, release(&self->u, PAGE(3), PAGE_SIZE));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(6), PAGE(6)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, PAGE(4), PAGE(4)));
	/* While the guest has parked the unit, that unpins nothing, and all counts as in use. */
	RUN(g_co_command, PARK);
	EXPECT_EQ(2, release(&self->u, PAGE(6), 2 * PAGE_SIZE));
	EXPECT_EQ(PINNED | ACCESSED, *word(&self->u, GFN(6)));
	RUN(g_co_command, UNPARK);
	RUN(g_co_unmap, GFN(3));
	/* All there is, and more */
	EXPECT_EQ(0, release(&self->u, 0, -PAGE_SIZE));
	EXPECT_EQ(0, unit_stats_now(&self->u).tracked);
	EXPECT_EQ(0, unit_stats_now(&self->u).pinned);
	/* Devices in identity reach everything. */
	RUN(g_co_command, DEACTIVATE);
	EXPECT_EQ(16, release(&self->u, PAGE(0), 16 * PAGE_SIZE));
}

TEST_F(co, park)
{
	ACTIVATE_TABLE();
	RUN(g_touch, GFN(3), 10);
	RUN(g_co_command, PARK);
	RUN(g_co_command, PARK);
	set_unpin(&self->u, 5, NO_LIMIT);
	usleep(100000);
	lack_memory();
	usleep(50000);
	EXPECT_EQ(10, unit_stats_now(&self->u).tracked);
	EXPECT_EQ(PINNED | ACCESSED, *word(&self->u, GFN(3)));
	/* Requests are served, also from tables that are new. */
	EXPECT_EQ(true, RUN(g_co_map, 0, SID(0), GFN(20)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(20), PAGE(20)));
	RUN(g_co_command, UNPARK);
	usleep(100000);
	EXPECT_EQ(11, unit_stats_now(&self->u).tracked);
	RUN(g_co_command, UNPARK);
	wait_tracked(&self->u, 1);
	/* Once too often */
	RUN(g_co_command, UNPARK);
	RUN(g_touch, GFN(3), 10);
	RUN(g_co_command, PARK);
	usleep(50000);
	EXPECT_LE(1, unit_stats_now(&self->u).tracked);
	RUN(g_co_command, UNPARK);
	wait_tracked(&self->u, 1);
}

/* Tables that the guest takes away while it is parked, and gives back */
TEST_F(co, park_tables)
{
	__u64 old;

	ACTIVATE_TABLE();
	RUN(g_touch, GFN(3), 10);
	RUN(g_co_command, PARK);
	old = RUN(g_set_entry, variant->levels, GFN(3), 2, 0);
	RUN(g_ask, 0, GFN(3) << 16 | SID(0));
	EXPECT_LT(0, unit_stats_now(&self->u).refused);
	set_unpin(&self->u, 5, NO_LIMIT);
	RUN(g_co_command, UNPARK);
	/* It cannot tell whether they are in use. */
	usleep(50000);
	EXPECT_EQ(10, unit_stats_now(&self->u).tracked);
	RUN(g_co_command, PARK);
	RUN(g_set_entry, variant->levels, GFN(3), 2, old);
	RUN(g_co_command, UNPARK);
	wait_tracked(&self->u, 0);
	EXPECT_EQ(0, *word(&self->u, GFN(3)));
}

/* The word of a page when the unit has told the guest that it is not pinned */
static __u32 unmarked(struct unit *u, __u64 gfn)
{
	int patience = 20000;

	while (READ_ONCE(*word(u, gfn)) & PINNED) {
		REQUIRE(patience--);
		usleep(1000);
	}
	return *word(u, gfn);
}

TEST_F(co, ioas)
{
	struct unit *u = &self->u;

	ACTIVATE_TABLE();
	EXPECT_EQ(true, RUN(g_co_map, 0, SID(0), GFN(3)));
	RUN(g_touch, GFN(4), 50);
	ASSERT_EQ(0, ioas_unmap(u->iommufd, u->ioas, 0, GPA_RAM_END));
	EXPECT_EQ(0, unit_stats_now(u).tracked + unit_stats_now(u).pinned);
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, PAGE(3), PAGE(3)));
	EXPECT_EQ(false, RUN(g_co_map, 0, SID(0), GFN(60)));
	ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, 0, u->vm.ram, GPA_RAM_END, IOAS_RW));
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, PAGE(3), PAGE(3)));
	EXPECT_EQ(true, RUN(g_co_map, 0, SID(0), GFN(60)));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, PAGE(60), PAGE(60)));
	/* The guest takes it for pinned until the worker can tell it; then it asks. */
	ASSERT_EQ(0, unit_refresh(u));
	EXPECT_EQ(ACCESSED | 1, unmarked(u, GFN(3)));
	EXPECT_EQ(ACCESSED, unmarked(u, GFN(4)));
	EXPECT_EQ(true, RUN(g_co_map, 0, SID(0), GFN(3)));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, PAGE(3), PAGE(3)));
	/* A part, with the table still there */
	ASSERT_EQ(0, ioas_unmap(u->iommufd, u->ioas, 0, GPA_RAM_END));
	ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, 0, u->vm.ram, PAGE(0), IOAS_RW));
	ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, PAGE(0), vm_hva(&u->vm, PAGE(0)),
			      GPA_RAM_END - PAGE(0), IOAS_RW));
	ASSERT_EQ(0, unit_refresh(u));
	unmarked(u, GFN(3));
	RUN(g_touch, GFN(100), 50);
	EXPECT_EQ(50, unit_stats_now(u).tracked);
	ASSERT_EQ(0, ioas_unmap(u->iommufd, u->ioas, PAGE(0), GPA_RAM_END - PAGE(0)));
	EXPECT_EQ(0, unit_stats_now(u).tracked);
	EXPECT_EQ(ACCESSED, unmarked(u, GFN(120)));
	EXPECT_EQ(ACCESSED, unmarked(u, GFN(149)));
}

/* A device that comes later finds all that is pinned; one that goes takes nothing along. */
TEST_F(co, hotplug)
{
	ACTIVATE_TABLE();
	ASSERT_EQ(0, unit_detach(self->u.fd, SID(1)));
	EXPECT_EQ(true, RUN(g_co_map, 0, SID(0), GFN(3)));
	RUN(g_touch, GFN(100), 1500);
	ASSERT_EQ(0, unit_attach(self->u.fd, self->u.dev[1].fd, SID(1)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 1, PAGE(3), PAGE(3)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 1, PAGE(1599), PAGE(1599)));
	ASSERT_EQ(0, unit_detach(self->u.fd, SID(0)));
	ASSERT_EQ(0, unit_detach(self->u.fd, SID(1)));
	EXPECT_EQ(1501, unit_stats_now(&self->u).tracked);
	EXPECT_EQ(0, unit_stats_now(&self->u).mapped + unit_stats_now(&self->u).domains);
	RUN(g_ask, 0, GFN(5) << 16 | SID(0));
	EXPECT_EQ(1501, unit_stats_now(&self->u).tracked);
	/* Pages grow old without devices, too. */
	set_unpin(&self->u, 5, NO_LIMIT);
	wait_tracked(&self->u, 1);
	ASSERT_EQ(0, unit_attach(self->u.fd, self->u.dev[0].fd, SID(0)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, PAGE(100), PAGE(100)));
}

/* What was written while the page was no slot is taken when it is armed. */
TEST_F(co, arm)
{
	__u64 *regs = self->u.regs;

	ASSERT_EQ(0, vm_set_slot(&self->u.vm, VM_SLOT_REGS, GPA_REGS, NULL, 0, 0));
	regs[CO_ROOT / 8] = self->u.vm.g->root;
	regs[CO_LEVELS / 8] = variant->levels;
	regs[CO_COMMAND / 8] = ACTIVATE;
	unit_map_regs(&self->u);
	EXPECT_EQ(0, READ_ONCE(regs[CO_COMMAND / 8]));
	EXPECT_EQ(KVIOMMU_DMA_TRACKED, in_force(&self->u, 0));
	EXPECT_EQ(true, RUN(g_co_map, 0, SID(0), GFN(3)));
	/* Without need it is harmless. */
	ASSERT_EQ(0, unit_arm(self->u.fd, GPA_REGS));
	EXPECT_EQ(KVIOMMU_DMA_TRACKED, in_force(&self->u, 0));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
}

struct churn {
	struct unit *u;
	__u64 maps;
};

static void *churn_thread(void *arg)
{
	struct churn *c = arg;

	c->maps = guest_run_on(&c->u->vm, 1, g_churn_pages, 3, GFN(0), 64, 0x9e3779b97f4a7c15);
	return NULL;
}

/*
 * Pages are unpinned all the time, while a device writes to pages that one vCPU maps, and
 * another vCPU maps and unmaps the same pages.
 */
TEST_F_TIMEOUT(co, race, 600)
{
	const char *seconds = getenv("KVIOMMU_RACE");
	struct churn c = { .u = &self->u };
	__u64 end, n = 0, seed = 88172645463325252ULL, gfn;
	__u8 before[DMA_LEN], *mem;
	pthread_t t;

	ACTIVATE_TABLE();
	set_unpin(&self->u, 1, NO_LIMIT);
	ASSERT_EQ(0, pthread_create(&t, NULL, churn_thread, &c));
	end = ms_now() + 1000 * (seconds ? strtoul(seconds, NULL, 0) : 20);
	for (; ms_now() < end; n++) {
		gfn = GFN(0) + g_random(&seed) % 64;
		mem = vm_hva(&self->u.vm, gfn * PAGE_SIZE);
		fill_unique(mem, DMA_LEN);
		memcpy(before, mem, DMA_LEN);
		ASSERT_EQ(1, RUN(g_map_dma, gfn));
		ASSERT_EQ(0, memcmp(mem, self->u.dev[0].pattern, DMA_LEN));
		ASSERT_NE(0, memcmp(mem, before, DMA_LEN));
	}
	WRITE_ONCE(self->u.vm.g->stop, 1);
	ASSERT_EQ(0, pthread_join(t, NULL));
	ksft_print_msg("%llu DMAs, %llu maps, %llu unpinned\n", n, c.maps,
		       unit_stats_now(&self->u).unpinned);
	EXPECT_LT(100, unit_stats_now(&self->u).unpinned);
	EXPECT_EQ(0, unit_stats_now(&self->u).errors);
	wait_tracked(&self->u, 0);
}

/* The balloon against requests, and commands against both */
static void *release_thread(void *arg)
{
	struct unit *u = arg;
	unsigned int i;

	for (i = 0; !READ_ONCE(u->vm.g->stop); i++) {
		release(u, PAGE(i % 64), PAGE_SIZE);
		if (i % 16 == 0)
			release(u, 0, GPA_RAM_END);
		if (i % 64 == 0)
			lack_memory();
	}
	return NULL;
}

TEST_F_TIMEOUT(co, race_with_balloon, 600)
{
	struct churn c = { .u = &self->u };
	pthread_t t, balloon;
	unsigned int i;

	ACTIVATE_TABLE();
	ASSERT_EQ(0, pthread_create(&t, NULL, churn_thread, &c));
	ASSERT_EQ(0, pthread_create(&balloon, NULL, release_thread, &self->u));
	for (i = 0; i < 30; i++) {
		EXPECT_EQ(1, RUN(g_map_dma, GFN(i)));
		EXPECT_EQ(0, memcmp(vm_hva(&self->u.vm, PAGE(i)), self->u.dev[0].pattern,
				    DMA_LEN));
		RUN(g_co_command, PARK);
		RUN(g_co_command, UNPARK);
	}
	WRITE_ONCE(self->u.vm.g->stop, 1);
	ASSERT_EQ(0, pthread_join(t, NULL));
	ASSERT_EQ(0, pthread_join(balloon, NULL));
	EXPECT_EQ(0, unit_stats_now(&self->u).errors);
	EXPECT_LT(10, unit_stats_now(&self->u).unpinned);
}

/* A hostile guest */

static __u64 g_hostile_value(__u64 *s)
{
	switch (g_random(s) % 4) {
	case 0:
		return (GFN(0) + g_random(s) % 64) << 16 | SID(g_random(s) % 3);
	case 1:
		return BATCH | (PAGE(64) + g_random(s) % 2048 * 4);
	case 2:
		return BATCH | g_random(s);
	default:
		return g_random(s);
	}
}

static __u64 g_hostile_entry(struct guest *g, __u64 *s)
{
	switch (g_random(s) % 4) {
	case 0:
		return g->next_page - g_random(s) % 16 * PAGE_SIZE;
	case 1:
		return (g->next_page - (1 + g_random(s) % 16) * PAGE_SIZE) | 1;
	case 2:
		return PAGE(64 + g_random(s) % 64) | 1;
	default:
		return g_random(s);
	}
}

/* Registers, slots, batches, and the words and entries of tables, in any order */
static __u64 g_hostile(struct guest *g, __u64 cpu, __u64 seed, __u64 steps)
{
	__u64 s = seed, i, table, v;

	for (i = 0; i < steps && !READ_ONCE(g->stop); i++) {
		/* The tables are the last pages that were made. */
		table = g->next_page - (1 + g_random(&s) % 16) * PAGE_SIZE;
		switch (g_random(&s) % 16) {
		case 0:
			v = g_random(&s) % 8;
			g_write64(g, CO_ROOT, v ? table : g_random(&s));
			break;
		case 1:
			g_write64(g, CO_LEVELS, g_random(&s) % 8);
			break;
		case 2:
			g_write64(g, CO_COMMAND, g_random(&s) % 5);
			break;
		case 3:
			g_write64(g, CO_COMMAND, ACTIVATE);
			break;
		case 4:
			v = g_random(&s) % (PAGE_SIZE - 8);
			WRITE_ONCE(*(__u8 *)(g->regs + v), g_random(&s));
			break;
		case 5:
			WRITE_ONCE(((__u64 *)table)[g_random(&s) % 8], g_hostile_entry(g, &s));
			break;
		case 6:
			WRITE_ONCE(((__u32 *)table)[g_random(&s) % 128], g_random(&s));
			break;
		case 7:
			g_write_batch(g, PAGE(64) + g_random(&s) % 64 * 8, SID(0),
				      g_random(&s) % 64, GFN(0), g_random(&s) % 3);
			break;
		default:
			WRITE_ONCE(*g_slot(g_random(&s) % 8), g_hostile_value(&s));
			g_trigger(g, g_random(&s) % 8);
		}
	}
	return i;
}

static unsigned long env(const char *name, unsigned long otherwise)
{
	const char *value = getenv(name);

	return value ? strtoul(value, NULL, 0) : otherwise;
}

static __u64 new_seed(void)
{
	__u64 s = env("KVIOMMU_SEED", 0) ?: time(NULL) * 1000003UL + getpid();

	ksft_print_msg("KVIOMMU_SEED=%llu\n", s);
	return s;
}

struct hostile {
	struct unit *u;
	unsigned int cpu;
	__u64 seed;
	__u64 steps;
};

static void *hostile_thread(void *arg)
{
	struct hostile *h = arg;

	guest_run_on(&h->u->vm, h->cpu, g_hostile, h->cpu, h->seed, h->steps);
	return NULL;
}

/* Below the guest memory, limits and devices come and go. */
static void disturb(struct unit *u, __u64 *s)
{
	switch (g_random(s) % 8) {
	case 0:
		REQUIRE(!ioas_unmap(u->iommufd, u->ioas, 0, GPA_RAM_END));
		REQUIRE(!ioas_map(u->iommufd, u->ioas, 0, u->vm.ram, GPA_RAM_END, IOAS_RW));
		break;
	case 1:
		release(u, PAGE(0), 64 * PAGE_SIZE);
		break;
	case 2:
		set_max_pins(u, g_random(s) % 3 ? NO_LIMIT : g_random(s) % 64);
		break;
	case 3:
		set_unpin(u, g_random(s) % 4, g_random(s) % 2 ? NO_LIMIT : 3);
		break;
	case 4:
		REQUIRE(!unit_detach(u->fd, SID(1)));
		REQUIRE(!unit_attach(u->fd, u->dev[1].fd, SID(1)));
		break;
	case 5:
		REQUIRE(!unit_refresh(u));
		break;
	case 6:
		lack_memory();
		break;
	default:
		usleep(1000);
	}
}

TEST_F_TIMEOUT(co, hostile, 1200)
{
	__u64 seed = new_seed(), s = seed, i, n = env("KVIOMMU_STEPS", 4000);
	struct hostile h[GUEST_VCPUS];
	pthread_t t[GUEST_VCPUS];

	for (i = 0; i < GUEST_VCPUS; i++) {
		h[i] = (struct hostile){ &self->u, i, g_random(&s), n };
		ASSERT_EQ(0, pthread_create(&t[i], NULL, hostile_thread, &h[i]));
	}
	for (i = 0; i < 200; i++)
		disturb(&self->u, &s);
	for (i = 0; i < GUEST_VCPUS; i++)
		ASSERT_EQ(0, pthread_join(t[i], NULL));
	/* A guest that comes after it finds all as it should be. */
	ASSERT_EQ(0, unit_reset(self->u.fd));
	set_max_pins(&self->u, NO_LIMIT);
	set_unpin(&self->u, 0, NO_LIMIT);
	EXPECT_EQ(0, unit_stats_now(&self->u).tracked);
	RUN(g_make_table, variant->levels);
	ACTIVATE_TABLE();
	EXPECT_EQ(true, RUN(g_co_map, 0, SID(0), GFN(3)));
	EXPECT_EQ(true, RUN(g_co_map, 1, SID(1), GFN(4)));
	EXPECT_EQ(2, unit_stats_now(&self->u).tracked);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(3), PAGE(3)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 1, PAGE(4), PAGE(4)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 1, PAGE(5), PAGE(5)));
}

/* Kills at any moment */

static void doomed(const void *arg)
{
	static struct unit u;
	static struct hostile h[GUEST_VCPUS];
	const __u64 *seed = arg;
	pthread_t t;
	__u64 s = *seed;
	unsigned int i;

	co_open(&u, g_random(&s) % 2 ? KVIOMMU_COIOMMU_BOOT_IDENTITY : 0);
	unit_add_device(&u, 0, SID(0));
	unit_add_device(&u, 1, SID(1));
	set_unpin(&u, 1, NO_LIMIT);
	guest_run(&u.vm, g_make_table, 4);
	guest_run(&u.vm, g_activate, u.vm.g->root, 4);
	guest_run(&u.vm, g_touch, GFN(0), 1000);
	for (i = 0; i < GUEST_VCPUS; i++) {
		h[i] = (struct hostile){ &u, i, g_random(&s), ~0ULL };
		REQUIRE(!pthread_create(&t, NULL, hostile_thread, &h[i]));
	}
	usleep(g_random(&s) % 50000);
	unit_ready();
}

TEST(kills)
{
	__u64 seed = new_seed(), s = seed, i, n = env("KVIOMMU_KILLS", 10);

	for (i = 0; i < n; i++) {
		seed = g_random(&s);
		unit_kill(doomed, &seed);
	}
	EXPECT_EQ(true, device_is_free(0));
	EXPECT_EQ(true, device_is_free(1));
}

TEST_HARNESS_MAIN
