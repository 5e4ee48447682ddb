// SPDX-License-Identifier: GPL-2.0
/* The invalidation queue: its course, its errors, and the events. */
#include <sys/eventfd.h>

#include "kselftest_harness.h"
#include "require.h"
#include "variants.h"

#define RUN(fn, ...) guest_run(&self->u.vm, fn, ##__VA_ARGS__)

/* A register, when the unit keeps nothing back */
#define SHOWN(reg)	({ unit_show(&self->u); RUN(g_peek32, reg); })

FIXTURE(queue) {
	struct unit u;
	struct guest *g;
	int event[3];
};

FIXTURE_VARIANT(queue) {
	struct unit_config config;
};

UNIT_VARIANTS(queue);

FIXTURE_SETUP(queue)
{
	__u32 i;

	unit_open(&self->u, &variant->config);
	self->g = self->u.vm.g;
	/* Else it is never polled. */
	if (self->g->polls)
		RUN(g_enable, true);
	for (i = 0; i < 3; i++) {
		self->event[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		ASSERT_EQ(0, unit_set_eventfd(self->u.fd, i, self->event[i]));
	}
}

FIXTURE_TEARDOWN(queue)
{
	int i;

	unit_close(&self->u);
	for (i = 0; i < 3; i++)
		close(self->event[i]);
}

/* How often an eventfd was signalled since the last call */
static __u64 read_event(int fd)
{
	__u64 n;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static __u64 signals(struct unit *u, int fd)
{
	unit_show(u);
	return read_event(fd);
}

TEST_F(queue, head_follows_tail)
{
	int i;

	RUN(g_setup, 0);
	EXPECT_EQ(self->g->tail * 16, RUN(g_peek64, VTD_IQH));
	/* Each flush is two descriptors: go round a few times. */
	for (i = 0; i < 400; i++) {
		RUN(g_flush_global);
		ASSERT_EQ(self->g->tail * 16, RUN(g_peek64, VTD_IQH));
		ASSERT_EQ(0, RUN(g_peek32, VTD_FSTS));
	}
	/* Off and on: it begins at its beginning. */
	EXPECT_NE(0, RUN(g_peek64, VTD_IQH));
	RUN(g_command, VTD_GCMD_QIE, false);
	EXPECT_EQ(0, RUN(g_peek64, VTD_IQH));
	RUN(g_queue_on, 0);
	RUN(g_flush_global);
	EXPECT_EQ(2 * 16, RUN(g_peek64, VTD_IQH));
}

/* A whole ring but one place, at once, from anywhere */
static __u64 fill(struct guest *g)
{
	__u32 i;

	for (i = 0; i < g->queue_slots - 2; i++)
		g_queue(g, VTD_QI_IOTLB | VTD_QI_GLOBAL, 0);
	return g_flush(g);
}

TEST_F(queue, wraps)
{
	RUN(g_queue_on, 0);
	RUN(g_flush_global);
	RUN(fill);
	RUN(fill);
	EXPECT_EQ(self->g->tail * 16, RUN(g_peek64, VTD_IQH));
}

/*
 * @n descriptors into a queue of @slots at @base, from @tail on; the last is a
 * wait. Much work may go on behind the guest's back.
 */
static __u64 fill_at(struct guest *g, __u64 base, __u64 slots, __u64 tail,
		     __u64 n)
{
	__u64 *desc = NULL, i, patience = PATIENCE;

	g->seq++;
	for (i = 0; i < n; i++) {
		desc = (__u64 *)(base + (tail + i) % slots * 16);
		WRITE_ONCE(desc[0], VTD_QI_IOTLB | VTD_QI_GLOBAL);
		WRITE_ONCE(desc[1], 0);
	}
	WRITE_ONCE(desc[0], VTD_QI_WAIT | VTD_QI_WAIT_SW | VTD_QI_WAIT_DATA(g->seq));
	WRITE_ONCE(desc[1], (__u64)&g->status);
	tail = (tail + n) % slots;
	g_write32(g, VTD_IQT, tail * 16);
	while (READ_ONCE(g->status) != g->seq || g_read64(g, VTD_IQH) != tail * 16)
		G_ASSERT_GOT(g, patience--, g_read64(g, VTD_IQH));
	G_ASSERT(g, !g_read32(g, VTD_FSTS));
	return tail;
}

/* Each that IQA.QS can say, on any page, filled twice: so it wraps. */
TEST_F_TIMEOUT(queue, sizes, 120)
{
	unsigned int qs;
	__u64 tail;

	for (qs = 0; qs <= 7; qs++) {
		__u64 slots = 256UL << qs, base = HUGE(1) - PAGE_SIZE;

		RUN(g_poke32, VTD_IQT, 0);
		RUN(g_poke64, VTD_IQA, base | qs);
		RUN(g_command, VTD_GCMD_QIE, true);
		tail = RUN(fill_at, base, slots, 0, slots - 1);
		EXPECT_EQ(slots - 1, tail);
		tail = RUN(fill_at, base, slots, tail, slots - 1);
		EXPECT_EQ(slots - 2, tail);
		/* A tail at the end is one beyond. */
		RUN(g_poke32, VTD_IQT, slots * 16);
		EXPECT_EQ(qs < 7 ? VTD_FSTS_IQE : 0, RUN(g_peek32, VTD_FSTS))
			TH_LOG("size %u", qs);
		RUN(g_command, VTD_GCMD_QIE, false);
		RUN(g_poke32, VTD_FSTS, VTD_FSTS_IQE);
	}
}

/* IQA counts when the queue is turned on, not while it is. */
TEST_F(queue, address_is_latched)
{
	RUN(g_queue_on, 0);
	RUN(g_poke64, VTD_IQA, HUGE(1) | 3);
	EXPECT_EQ(HUGE(1) | 3, RUN(g_peek64, VTD_IQA));
	RUN(g_flush_global);
	RUN(g_poke32, VTD_IQT, 256 * 16);
	EXPECT_EQ(VTD_FSTS_IQE, RUN(g_peek32, VTD_FSTS));
	RUN(g_command, VTD_GCMD_QIE, false);
	RUN(g_poke32, VTD_FSTS, VTD_FSTS_IQE);
	RUN(g_poke32, VTD_IQT, 0);
	RUN(g_command, VTD_GCMD_QIE, true);
	RUN(fill_at, HUGE(1), 2048, 0, 300);
}

TEST_F(queue, writes_to_iqt)
{
	RUN(g_setup, 0);
	/* 8 bytes as well as 4; the same value again is no work */
	RUN(g_queue, VTD_QI_WAIT | VTD_QI_WAIT_SW | VTD_QI_WAIT_DATA(77),
	    GPA_GUEST + offsetof(struct guest, status));
	EXPECT_NE(77, self->g->status);
	RUN(g_poke64, VTD_IQT, self->g->tail * 16);
	EXPECT_EQ(77, self->g->status);
	self->g->status = 0;
	RUN(g_poke64, VTD_IQT, self->g->tail * 16);
	EXPECT_EQ(0, self->g->status);
	/* While the queue is off nothing is taken; when it goes on, it is. */
	RUN(g_command, VTD_GCMD_QIE, false);
	RUN(g_poke32, VTD_IQT, 0);
	self->g->tail = 0;
	RUN(g_queue, VTD_QI_WAIT | VTD_QI_WAIT_SW | VTD_QI_WAIT_DATA(78),
	    GPA_GUEST + offsetof(struct guest, status));
	RUN(g_poke32, VTD_IQT, self->g->tail * 16);
	EXPECT_EQ(0, self->g->status);
	RUN(g_command, VTD_GCMD_QIE, true);
	RUN(g_settle);
	EXPECT_EQ(78, self->g->status);
}

static const struct {
	const char *what;
	__u64 lo, hi;
} bad[] = {
	{ "type 0", 0, 0 },
	{ "type 15", 0xf, 0 },
	{ "a type of scalable mode", 0x6 | VTD_QI_G(1), 0 },
	{ "context-cache, reserved granularity", VTD_QI_CC, 0 },
	{ "context-cache, reserved bits", VTD_QI_CC | VTD_QI_GLOBAL | BIT(63), 0 },
	{ "IOTLB, reserved granularity", VTD_QI_IOTLB, 0 },
	{ "IOTLB, reserved bits", VTD_QI_IOTLB | VTD_QI_GLOBAL | BIT(40), 0 },
	{ "IOTLB, mask beyond CAP.MAMV", VTD_QI_IOTLB | VTD_QI_SELECTIVE, 19 },
	{ "IOTLB, largest mask", VTD_QI_IOTLB | VTD_QI_SELECTIVE, 63 },
	{ "wait, reserved bits", VTD_QI_WAIT | VTD_QI_WAIT_SW | BIT(20),
	  GPA_GUEST },
};

/*
 * Does the unit take a descriptor? If not, the queue stands at it with IQE, and
 * goes on when there is a good one in its place.
 */
static __u64 taken(struct guest *g, __u64 lo, __u64 hi)
{
	__u64 at = g->tail, *desc = (__u64 *)(GPA_QUEUE + at * 16);

	g_queue(g, lo, hi);
	g_write32(g, VTD_IQT, g->tail * 16);
	g_settle(g);
	if (!g_read32(g, VTD_FSTS)) {
		G_ASSERT(g, g_read64(g, VTD_IQH) == g->tail * 16);
		return true;
	}
	G_ASSERT_GOT(g, g_read32(g, VTD_FSTS) == VTD_FSTS_IQE, g_read32(g, VTD_FSTS));
	G_ASSERT_GOT(g, g_read64(g, VTD_IQH) == at * 16, g_read64(g, VTD_IQH));
	WRITE_ONCE(desc[0], VTD_QI_WAIT);
	WRITE_ONCE(desc[1], 0);
	g_write32(g, VTD_FSTS, VTD_FSTS_IQE);
	g_settle(g);
	G_ASSERT_GOT(g, !g_read32(g, VTD_FSTS), g_read32(g, VTD_FSTS));
	G_ASSERT_GOT(g, g_read64(g, VTD_IQH) == g->tail * 16, g_read64(g, VTD_IQH));
	return false;
}

/* Only three types are of legacy mode with these capabilities. */
TEST_F(queue, descriptor_types)
{
	__u64 type, more;

	RUN(g_setup, 0);
	for (type = 0; type < 16; type++)
		for (more = 0; more < 8; more++)
			EXPECT_EQ(!more && (type == VTD_QI_CC || type == VTD_QI_IOTLB ||
					    type == VTD_QI_WAIT),
				  RUN(taken, type | more << 9 | VTD_QI_G(1), 0))
				TH_LOG("type %llu, %llu", more, type);
}

/* Each bit of each descriptor but those of the type: reserved or not */
TEST_F_TIMEOUT(queue, descriptor_bits, 60)
{
	const __u64 status = GPA_GUEST + offsetof(struct guest, status);
	const struct {
		const char *what;
		__u64 lo, hi, free_lo, free_hi;
	} desc[] = {
		/* G, DID, SID, FM */
		{ "context-cache", VTD_QI_CC | VTD_QI_SELECTIVE, 0,
		  0x0003ffffffff0030, 0 },
		/* G, DW, DR, DID; AM up to 18, IH, ADDR */
		{ "IOTLB by page", VTD_QI_IOTLB | VTD_QI_SELECTIVE, 0,
		  0x00000000ffff00f0, 0xfffffffffffff05f },
		{ "IOTLB by domain", VTD_QI_IOTLB | VTD_QI_DOMAIN, 0,
		  0x00000000ffff00d0, 0xfffffffffffff07f },
		{ "IOTLB global", VTD_QI_IOTLB | VTD_QI_GLOBAL, 0,
		  0x00000000ffff00e0, 0xfffffffffffff07f },
		/* IF, SW, FN, data; address */
		{ "wait", VTD_QI_WAIT, status, 0xffffffff00000070,
		  0xfffffffffffffffc },
	};
	unsigned int i, bit;

	RUN(g_setup, 0);
	for (i = 0; i < ARRAY_SIZE(desc); i++) {
		for (bit = 4; bit < 64; bit++)
			EXPECT_EQ(desc[i].free_lo >> bit & 1,
				  RUN(taken, desc[i].lo ^ BIT(bit), desc[i].hi))
				TH_LOG("%s, bit %u", desc[i].what, bit);
		for (bit = 0; bit < 64; bit++)
			EXPECT_EQ(desc[i].free_hi >> bit & 1,
				  RUN(taken, desc[i].lo, desc[i].hi ^ BIT(bit)))
				TH_LOG("%s, bit %u", desc[i].what, bit + 64);
	}
}

/* Address masks up to CAP.MAMV */
TEST_F(queue, address_masks)
{
	__u64 am;

	RUN(g_setup, 0);
	for (am = 0; am < 64; am++)
		EXPECT_EQ(am <= VTD_CAP_MAMV(self->u.cap),
			  RUN(taken, VTD_QI_IOTLB | VTD_QI_SELECTIVE, am));
}

/* A root table of a mode that there is not: nothing can be invalidated. */
TEST_F(queue, wrong_mode)
{
	__u64 mode, root;

	RUN(g_setup, 0);
	root = self->g->root;
	for (mode = 1; mode < 4; mode++) {
		RUN(g_poke64, VTD_RTADDR, root | mode << 10);
		RUN(g_flush_global);
		RUN(g_command, VTD_GCMD_SRTP, true);
		RUN(g_queue, VTD_QI_WAIT, 0);
		RUN(g_poke32, VTD_IQT, self->g->tail * 16);
		EXPECT_EQ(VTD_FSTS_IQE, RUN(g_peek32, VTD_FSTS));
		RUN(g_poke64, VTD_RTADDR, root);
		RUN(g_command, VTD_GCMD_SRTP, true);
		RUN(g_poke32, VTD_FSTS, VTD_FSTS_IQE);
		EXPECT_EQ(0, RUN(g_peek32, VTD_FSTS));
		RUN(g_flush_global);
	}
}

/* Several waits in one go, some with a fence: each writes what it was told. */
TEST_F(queue, waits)
{
	__u32 *word = vm_hva(&self->u.vm, PAGE(0));
	unsigned int i;

	RUN(g_setup, 0);
	for (i = 0; i < 40; i++) {
		word[i] = 0;
		RUN(g_queue, VTD_QI_IOTLB | VTD_QI_GLOBAL, 0);
		RUN(g_queue, VTD_QI_WAIT | VTD_QI_WAIT_SW | (i & 1 ? BIT(6) : 0) |
		    VTD_QI_WAIT_DATA(i + 1), PAGE(0) + 4 * i);
	}
	word[40] = 0;
	RUN(g_flush);
	for (i = 0; i < 40; i++)
		EXPECT_EQ(i + 1, word[i]);
	EXPECT_EQ(0, word[40]);
}

/*
 * What Linux does when its descriptor was bad: it sees IQE, overwrites the one
 * at the head with a wait, and clears IQE.
 */
TEST_F(queue, bad_descriptors)
{
	const __u64 status = GPA_GUEST + offsetof(struct guest, status);
	struct guest *g = self->g;
	__u64 *ring = vm_hva(&self->u.vm, GPA_QUEUE);
	unsigned int i;
	__u32 at;

	RUN(g_setup, 0);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(0, RUN(g_peek32, VTD_FSTS));
		/* A good one before, a wait behind */
		g->status = 0;
		RUN(g_queue, VTD_QI_WAIT | VTD_QI_WAIT_SW | VTD_QI_WAIT_DATA(1),
		    status);
		at = g->tail;
		RUN(g_queue, bad[i].lo, bad[i].hi);
		RUN(g_queue, VTD_QI_WAIT | VTD_QI_WAIT_SW | VTD_QI_WAIT_DATA(2),
		    status);
		RUN(g_poke32, VTD_IQT, g->tail * 16);
		EXPECT_EQ(1, g->status)
			TH_LOG("%s", bad[i].what);
		EXPECT_EQ(VTD_FSTS_IQE, RUN(g_peek32, VTD_FSTS))
			TH_LOG("%s", bad[i].what);
		EXPECT_EQ(at * 16, RUN(g_peek64, VTD_IQH))
			TH_LOG("%s", bad[i].what);

		/* Frozen, whatever the tail does */
		RUN(g_queue, VTD_QI_WAIT | VTD_QI_WAIT_SW | VTD_QI_WAIT_DATA(3),
		    status);
		RUN(g_poke32, VTD_IQT, g->tail * 16);
		EXPECT_EQ(1, g->status);
		EXPECT_EQ(at * 16, RUN(g_peek64, VTD_IQH));
		/* Other bits of FSTS do not let it go. */
		RUN(g_poke32, VTD_FSTS, ~VTD_FSTS_IQE);
		EXPECT_EQ(VTD_FSTS_IQE, RUN(g_peek32, VTD_FSTS));
		EXPECT_EQ(1, g->status);

		/* Cleared but not mended: the same again */
		RUN(g_poke32, VTD_FSTS, VTD_FSTS_IQE);
		EXPECT_EQ(VTD_FSTS_IQE, RUN(g_peek32, VTD_FSTS));
		EXPECT_EQ(at * 16, RUN(g_peek64, VTD_IQH));

		/* Mended but not cleared: nothing, even with a tail */
		ring[at * 2] = VTD_QI_WAIT | VTD_QI_WAIT_SW | VTD_QI_WAIT_DATA(4);
		ring[at * 2 + 1] = status;
		RUN(g_poke32, VTD_IQT, g->tail * 16);
		EXPECT_EQ(1, g->status);
		EXPECT_EQ(at * 16, RUN(g_peek64, VTD_IQH));
		/* Cleared: on it goes, to the end, without another tail */
		RUN(g_poke32, VTD_FSTS, VTD_FSTS_IQE);
		EXPECT_EQ(0, RUN(g_peek32, VTD_FSTS));
		EXPECT_EQ(3, g->status)
			TH_LOG("%s", bad[i].what);
		EXPECT_EQ(g->tail * 16, RUN(g_peek64, VTD_IQH));
		/* And it works as ever. */
		RUN(g_flush_global);
	}
	EXPECT_LE(ARRAY_SIZE(bad), unit_stats(&self->u).faults);
}

/* Off and on is another way out of an error. */
TEST_F(queue, restart_after_error)
{
	RUN(g_setup, 0);
	RUN(g_queue, 0xf, 0);
	RUN(g_poke32, VTD_IQT, self->g->tail * 16);
	EXPECT_EQ(VTD_FSTS_IQE, RUN(g_peek32, VTD_FSTS));
	RUN(g_command, VTD_GCMD_QIE, false);
	RUN(g_poke32, VTD_FSTS, VTD_FSTS_IQE);
	EXPECT_EQ(0, RUN(g_peek32, VTD_FSTS));
	RUN(g_queue_on, 0);
	RUN(g_flush_global);
	EXPECT_EQ(0, RUN(g_peek32, VTD_FSTS));
}

/* Places where no queue can be */
TEST_F(queue, nowhere)
{
	static const __u64 iqa[] = {
		0x80000000, GPA_REGS, GPA_BAR, BIT(51), 0xfffffffffffff000,
		GPA_RAM_END - PAGE_SIZE + 0x1000,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(iqa); i++) {
		RUN(g_poke32, VTD_IQT, 0);
		RUN(g_poke64, VTD_IQA, iqa[i]);
		RUN(g_command, VTD_GCMD_QIE, true);
		RUN(g_poke32, VTD_IQT, 32);
		EXPECT_EQ(VTD_FSTS_IQE, RUN(g_peek32, VTD_FSTS))
			TH_LOG("IQA %#llx", iqa[i]);
		EXPECT_EQ(0, RUN(g_peek64, VTD_IQH));
		RUN(g_command, VTD_GCMD_QIE, false);
		RUN(g_poke32, VTD_FSTS, VTD_FSTS_IQE);
	}
	RUN(g_setup, 0);
	EXPECT_EQ(0, RUN(g_peek32, VTD_FSTS));
}

/* A tail beyond the queue would have a naive unit run for ever. */
TEST_F(queue, tail_beyond)
{
	RUN(g_setup, 0);
	RUN(g_poke32, VTD_IQT, 256 * 16);
	EXPECT_EQ(VTD_FSTS_IQE, RUN(g_peek32, VTD_FSTS));
	RUN(g_poke32, VTD_IQT, 0x7fff0);
	EXPECT_EQ(VTD_FSTS_IQE, RUN(g_peek32, VTD_FSTS));
	/* A good tail again */
	RUN(g_poke32, VTD_IQT, self->g->tail * 16);
	RUN(g_poke32, VTD_FSTS, VTD_FSTS_IQE);
	EXPECT_EQ(0, RUN(g_peek32, VTD_FSTS));
	RUN(g_flush_global);
}

/* Where a status cannot be written the queue stands. */
TEST_F(queue, status_nowhere)
{
	static const __u64 where[] = {
		0x80000000, GPA_RAM_END, GPA_REGS, GPA_BAR, BIT(47), ~3UL,
	};
	unsigned int i;

	RUN(g_setup, 0);
	for (i = 0; i < ARRAY_SIZE(where); i++) {
		EXPECT_EQ(false, RUN(taken, VTD_QI_WAIT | VTD_QI_WAIT_SW, where[i]))
			TH_LOG("%#llx", where[i]);
		/* Without SW nothing is written there. */
		EXPECT_EQ(true, RUN(taken, VTD_QI_WAIT, where[i]));
	}
	EXPECT_EQ(true, RUN(taken, VTD_QI_WAIT | VTD_QI_WAIT_SW, GPA_RAM_END - 4));
	/* Bits beyond the host address width are ignored. */
	*(__u32 *)vm_hva(&self->u.vm, PAGE(0)) = 0;
	EXPECT_EQ(true, RUN(taken, VTD_QI_WAIT | VTD_QI_WAIT_SW | VTD_QI_WAIT_DATA(7),
			    PAGE(0) | 0xffffUL << 48));
	EXPECT_EQ(7, *(__u32 *)vm_hva(&self->u.vm, PAGE(0)));
	RUN(g_flush_global);
}

/* Hits in memory that devices and the guest may only read */
TEST_F(queue, status_in_rom)
{
	struct unit_config config = variant->config;
	__u32 before = 0x12345678;
	struct unit u;

	config.no_ram = true;
	unit_open(&u, &config);
	ASSERT_EQ(0, ioas_map(u.iommufd, u.ioas, 0, u.vm.ram, PAGE(0), IOAS_RW));
	ASSERT_EQ(0, ioas_map(u.iommufd, u.ioas, PAGE(0), u.vm.ram + PAGE(0),
			      PAGE_SIZE, IOMMU_IOAS_MAP_READABLE));
	*(__u32 *)vm_hva(&u.vm, PAGE(0)) = before;
	guest_run(&u.vm, g_setup, 0);
	guest_run(&u.vm, g_queue, VTD_QI_WAIT | VTD_QI_WAIT_SW |
		  VTD_QI_WAIT_DATA(1), PAGE(0));
	guest_run(&u.vm, g_poke32, VTD_IQT, u.vm.g->tail * 16);
	EXPECT_EQ(before, *(__u32 *)vm_hva(&u.vm, PAGE(0)));
	unit_close(&u);
}

/* The fault event, for which a queue error is the occasion at hand */

static void queue_error(struct unit *u)
{
	unit_poll(u);
	guest_run(&u->vm, g_queue, 0xf, 0);
	guest_run(&u->vm, g_poke32, VTD_IQT, u->vm.g->tail * 16);
}

static void mend(struct unit *u)
{
	__u64 *ring = vm_hva(&u->vm, GPA_QUEUE);
	__u64 at = guest_run(&u->vm, g_peek64, VTD_IQH) / 16;

	ring[at * 2] = VTD_QI_IOTLB | VTD_QI_GLOBAL;
	guest_run(&u->vm, g_poke32, VTD_FSTS, VTD_FSTS_IQE);
}

TEST_F(queue, fault_event)
{
	int event = self->event[KVIOMMU_EVENT_FAULT];

	RUN(g_setup, 0);
	RUN(g_poke32, VTD_FECTL, 0);
	EXPECT_EQ(0, signals(&self->u, event));
	queue_error(&self->u);
	EXPECT_EQ(1, signals(&self->u, event));
	EXPECT_EQ(0, SHOWN(VTD_FECTL));
	mend(&self->u);
	EXPECT_EQ(0, signals(&self->u, event));
	/* Each time anew */
	queue_error(&self->u);
	EXPECT_EQ(1, signals(&self->u, event));
	mend(&self->u);

	/* Masked it stays pending, and comes with the unmasking. */
	RUN(g_poke32, VTD_FECTL, VTD_ECTL_IM);
	queue_error(&self->u);
	EXPECT_EQ(0, signals(&self->u, event));
	EXPECT_EQ(VTD_ECTL_IM | VTD_ECTL_IP, SHOWN(VTD_FECTL));
	RUN(g_poke32, VTD_FECTL, 0);
	EXPECT_EQ(1, signals(&self->u, event));
	EXPECT_EQ(0, SHOWN(VTD_FECTL));
	mend(&self->u);

	/* Cleared while masked: there is nothing left to tell. */
	RUN(g_poke32, VTD_FECTL, VTD_ECTL_IM);
	queue_error(&self->u);
	EXPECT_EQ(VTD_ECTL_IM | VTD_ECTL_IP, SHOWN(VTD_FECTL));
	mend(&self->u);
	EXPECT_EQ(VTD_ECTL_IM, SHOWN(VTD_FECTL));
	RUN(g_poke32, VTD_FECTL, 0);
	EXPECT_EQ(0, signals(&self->u, event));
}

TEST_F(queue, completion_event)
{
	int event = self->event[KVIOMMU_EVENT_INVAL_COMPLETION];
	const __u64 status = GPA_GUEST + offsetof(struct guest, status);
	const __u64 wait = VTD_QI_WAIT | VTD_QI_WAIT_IF;

	RUN(g_setup, 0);
	RUN(g_poke32, VTD_IECTL, 0);
	/* Waits without IF do not signal. */
	RUN(g_flush_global);
	EXPECT_EQ(0, signals(&self->u, event));
	EXPECT_EQ(0, SHOWN(VTD_ICS));
	/* Without a status, and with */
	RUN(g_queue, wait, 0);
	RUN(g_poke32, VTD_IQT, self->g->tail * 16);
	EXPECT_EQ(1, signals(&self->u, event));
	EXPECT_EQ(VTD_ICS_IWC, SHOWN(VTD_ICS));
	/* Not again before the guest took note */
	RUN(g_queue, wait | VTD_QI_WAIT_SW | VTD_QI_WAIT_DATA(99), status);
	RUN(g_poke32, VTD_IQT, self->g->tail * 16);
	EXPECT_EQ(99, self->g->status);
	EXPECT_EQ(0, signals(&self->u, event));
	RUN(g_poke32, VTD_ICS, VTD_ICS_IWC);
	EXPECT_EQ(0, SHOWN(VTD_ICS));
	RUN(g_queue, wait, 0);
	RUN(g_poke32, VTD_IQT, self->g->tail * 16);
	EXPECT_EQ(1, signals(&self->u, event));
	RUN(g_poke32, VTD_ICS, VTD_ICS_IWC);
	/* Masked, then unmasked */
	RUN(g_poke32, VTD_IECTL, VTD_ECTL_IM);
	RUN(g_queue, wait, 0);
	RUN(g_poke32, VTD_IQT, self->g->tail * 16);
	EXPECT_EQ(0, signals(&self->u, event));
	EXPECT_EQ(VTD_ECTL_IM | VTD_ECTL_IP, SHOWN(VTD_IECTL));
	RUN(g_poke32, VTD_IECTL, 0);
	EXPECT_EQ(1, signals(&self->u, event));
	EXPECT_EQ(0, SHOWN(VTD_IECTL));
	RUN(g_poke32, VTD_ICS, VTD_ICS_IWC);
	/* Taken note of while masked: there is nothing left to tell. */
	RUN(g_poke32, VTD_IECTL, VTD_ECTL_IM);
	RUN(g_queue, wait, 0);
	RUN(g_poke32, VTD_IQT, self->g->tail * 16);
	RUN(g_poke32, VTD_ICS, 0);
	EXPECT_EQ(VTD_ECTL_IM | VTD_ECTL_IP, SHOWN(VTD_IECTL));
	RUN(g_poke32, VTD_ICS, VTD_ICS_IWC);
	EXPECT_EQ(VTD_ECTL_IM, SHOWN(VTD_IECTL));
	RUN(g_poke32, VTD_IECTL, 0);
	EXPECT_EQ(0, signals(&self->u, event));
}

TEST_F(queue, control_event)
{
	int event = self->event[KVIOMMU_EVENT_CONTROL];

	RUN(g_setup, 0);
	RUN(g_enable, false);
	signals(&self->u, event);
	/* Mapping and unmapping is none of the VMM's business. */
	RUN(g_flush_global);
	EXPECT_EQ(0, signals(&self->u, event));
	RUN(g_enable, true);
	EXPECT_LT(0, signals(&self->u, event));
	RUN(g_enable, false);
	EXPECT_LT(0, signals(&self->u, event));
	RUN(g_poke32, VTD_FEADDR, 0xfee00000);
	EXPECT_LT(0, signals(&self->u, event));
	RUN(g_poke32, VTD_IEDATA, 0x31);
	EXPECT_LT(0, signals(&self->u, event));
	/* The slot of the register page goes. */
	ASSERT_EQ(0, vm_set_slot(&self->u.vm, VM_SLOT_REGS, GPA_REGS,
				 self->u.regs, 0, 0));
	EXPECT_LT(0, read_event(event));
	unit_map_regs(&self->u);
	RUN(g_flush_global);
}

/* None, or another: the old one hears nothing any more. */
TEST_F(queue, event_taken_away)
{
	int old = self->event[KVIOMMU_EVENT_FAULT];
	int new = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	RUN(g_setup, 0);
	RUN(g_poke32, VTD_FECTL, 0);
	ASSERT_EQ(0, unit_set_eventfd(self->u.fd, KVIOMMU_EVENT_FAULT, new));
	queue_error(&self->u);
	EXPECT_EQ(0, signals(&self->u, old));
	EXPECT_EQ(1, signals(&self->u, new));
	mend(&self->u);
	ASSERT_EQ(0, unit_set_eventfd(self->u.fd, KVIOMMU_EVENT_FAULT, -1));
	queue_error(&self->u);
	EXPECT_EQ(0, signals(&self->u, new));
	EXPECT_EQ(VTD_FSTS_IQE, RUN(g_peek32, VTD_FSTS));
	/* What had no eventfd is signalled when it has one. */
	ASSERT_EQ(0, unit_set_eventfd(self->u.fd, KVIOMMU_EVENT_FAULT, old));
	EXPECT_EQ(1, signals(&self->u, old));
	/* A reset forgets the fault, also one that was not signalled, and keeps the eventfds. */
	mend(&self->u);
	ASSERT_EQ(0, unit_set_eventfd(self->u.fd, KVIOMMU_EVENT_FAULT, -1));
	queue_error(&self->u);
	ASSERT_EQ(0, unit_reset(self->u.fd));
	ASSERT_EQ(0, unit_set_eventfd(self->u.fd, KVIOMMU_EVENT_FAULT, old));
	RUN(g_setup, 0);
	RUN(g_poke32, VTD_FECTL, 0);
	EXPECT_EQ(0, signals(&self->u, old));
	queue_error(&self->u);
	EXPECT_EQ(1, signals(&self->u, old));
	close(new);
}

TEST_HARNESS_MAIN
