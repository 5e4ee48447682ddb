/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What runs in the guest: a driver of the VT-d unit and of the edu device.
 *
 * Guest and host are one program: its image stands in the guest at the same
 * address as in the host, and the guest's addresses are its physical ones. So
 * a guest function is an ordinary C function. What it must not do: call into
 * the C library, or touch thread-local storage. Functions whose names begin
 * with g_ run in the guest; the host calls them through guest_run().
 */
#ifndef SELFTEST_KVIOMMU_GUEST_H
#define SELFTEST_KVIOMMU_GUEST_H

#include <stdbool.h>
#include <linux/types.h>

#include "vtd_regs.h"

#define PAGE_SIZE	4096UL
#define SZ_2M		BIT(21)
#define SZ_1G		BIT(30)

/* The guest's physical addresses */
#define GPA_PML4	0x1000UL
#define GPA_GUEST	0x10000UL	/* struct guest */
#define GPA_STACKS	0x20000UL	/* of GUEST_STACK bytes, one a vCPU */
#define GUEST_STACK	0x8000UL
#define GPA_QUEUE	0x30000UL	/* up to 4 pages */
#define GPA_TABLES	0x40000UL	/* pages for the guest's tables */
#define GPA_TABLES_END	0x400000UL
#define GPA_DATA	0x400000UL	/* pages for the tests */
#define GPA_HUGE	0x800000UL	/* 2 MiB pages for the tests */
#define GPA_RAM_END	0x1000000UL
#define GPA_BAR		0xe0000000UL
#define GPA_BAR_STEP	0x100000UL
#define GPA_REGS	0xfed90000UL
#define GPA_HIGH	0x100000000UL	/* 1 GiB for the tests that want it */

/* The n-th page of 4 KiB, the n-th of 2 MiB */
#define PAGE(n)		(GPA_DATA + (n) * PAGE_SIZE)
#define HUGE(n)		(GPA_HUGE + (n) * SZ_2M)

/*
 * Looks at memory or at a register before a guest gives up, which is for a hang to
 * say where it is: minutes, as a slow host takes a while to pin 1 GiB.
 */
#define PATIENCE	1000000000UL
/* Looks after which the host is asked to show what its threads are doing */
#define PATIENCE_SHOW	(PATIENCE / 2)

#define GUEST_VCPUS		2
#define GUEST_MAX_DEVICES	8
#define GUEST_MAX_DOMAINS	4

/* Ports by which the guest speaks to the host */
#define GUEST_PORT_DONE		0x10
#define GUEST_PORT_SYNC		0x11
#define GUEST_PORT_ASSERT	0x12
#define GUEST_PORT_SHOW		0x13

/* Page sizes, as the level of the leaf */
#define LEAF_4K		1UL
#define LEAF_2M		2UL
#define LEAF_1G		3UL
#define LEAF_SHIFT(leaf) (12 + 9 * ((leaf) - 1))
#define LEAF_SIZE(leaf)	BIT(LEAF_SHIFT(leaf))

/* Rights and page size of a g_map() */
#define MAP_R		VTD_SL_R
#define MAP_W		VTD_SL_W
#define MAP_RW		(MAP_R | MAP_W)
#define MAP_RIGHTS(f)	((f) & MAP_RW)
#define MAP_LEAF(leaf)	((leaf) << 8)
#define MAP_LEAF_OF(f)	((((f) >> 8) & 3) ?: LEAF_4K)

struct guest_domain {
	__u64 root;
	__u32 did;
	__u32 levels;
};

#define GUEST_MAX_ARGS	5

/**
 * struct guest_call - A call of a guest function
 * @fn: The function
 * @args: Its arguments but the first, which is the struct guest
 * @ret: What it returned
 */
struct guest_call {
	void *fn;
	__u64 args[GUEST_MAX_ARGS];
	__u64 ret;
};

/**
 * struct guest - The guest's own state, in its RAM at GPA_GUEST
 * @call: What each vCPU is to do
 * @regs: Where the register page is
 * @bar: Where the registers of each edu device are
 * @bar_end: How many of @bar there are
 * @polls: The unit may see a write late. In trap mode a register shows what came
 *         of the write when that is done, unless it takes long.
 * @scalable: The guest uses scalable mode: its domains have first-stage tables
 * @wide: Descriptors have 256 bits
 * @next_page: Where the next page of a table comes from
 * @root: The root table
 * @queue_slots: How many descriptors the queue holds
 * @tail: The next of them to be written
 * @seq: What the last wait descriptor was to write
 * @status: Where wait descriptors write
 * @dom: The guest's domains
 * @stop: The host asks a guest function that loops to return
 * @count: For a guest function to tell how far it is
 * @stage: What a guest function told to g_sync()
 * @assert_expr: The condition that did not hold
 * @assert_file: Where
 * @assert_line: Where
 * @assert_got: Value of an expression, for the message
 */
struct guest {
	struct guest_call call[GUEST_VCPUS];
	__u64 regs;
	__u64 bar[GUEST_MAX_DEVICES];
	__u32 bar_end;
	__u32 polls;
	__u32 scalable;
	__u32 wide;
	__u64 next_page;
	__u64 root;
	__u32 queue_slots;
	__u32 tail;
	__u32 seq;
	__u32 status;
	struct guest_domain dom[GUEST_MAX_DOMAINS];
	__u32 stop;
	__u64 count;
	__u64 stage;
	const char *assert_expr;
	const char *assert_file;
	__u64 assert_line;
	__u64 assert_got;
};

#define G_ASSERT_GOT(g, cond, got) do {					\
	if (!(cond))							\
		g_assert_failed(g, #cond, __FILE__, __LINE__, got);	\
} while (0)
#define G_ASSERT(g, cond) G_ASSERT_GOT(g, cond, 0)

/* Where a vCPU starts */
void g_main(struct guest *g, struct guest_call *call);

void g_assert_failed(struct guest *g, const char *expr, const char *file,
		     __u64 line, __u64 got);

/* Stop here until the host resumes the guest. */
void g_sync(struct guest *g, __u64 stage);
/* Whether a guest that has looked @n times without success looks once more */
bool g_patient(unsigned long n);

/* Registers of the unit */
static inline __u32 g_read32(struct guest *g, __u64 reg)
{
	__u32 v;

	asm volatile("movl (%1), %0" : "=r" (v) : "r" (g->regs + reg) : "memory");
	return v;
}

static inline __u64 g_read64(struct guest *g, __u64 reg)
{
	__u64 v;

	asm volatile("movq (%1), %0" : "=r" (v) : "r" (g->regs + reg) : "memory");
	return v;
}

static inline __u64 g_write32(struct guest *g, __u64 reg, __u32 v)
{
	asm volatile("movl %0, (%1)" : : "r" (v), "r" (g->regs + reg) : "memory");
	return 0;
}

static inline __u64 g_write64(struct guest *g, __u64 reg, __u64 v)
{
	asm volatile("movq %0, (%1)" : : "r" (v), "r" (g->regs + reg) : "memory");
	return 0;
}

/*
 * The same as functions, for guest_run(). What was written before has had its
 * effect, also if the unit is polled: see g_settle().
 */
__u64 g_peek32(struct guest *g, __u64 reg);
__u64 g_peek64(struct guest *g, __u64 reg);
__u64 g_poke32(struct guest *g, __u64 reg, __u64 v);
__u64 g_poke64(struct guest *g, __u64 reg, __u64 v);
/* Wait until these bits of a register of 64 bits are 0. */
__u64 g_wait_clear(struct guest *g, __u64 reg, __u64 bits);

/* The unit has taken, and done, all that the guest has written to its registers. */
__u64 g_settle(struct guest *g);

/* Translation and queue are on, and nothing waits for being cleared. */
__u64 g_pollable(struct guest *g);

/* Write GCMD with these bits set or cleared, wait for GSTS to follow. */
__u64 g_command(struct guest *g, __u64 bit, bool on);

/*
 * Bring the unit up as an operating system does, but for TE: queue (of
 * 1 << qs pages), root table, global invalidations.
 */
__u64 g_setup(struct guest *g, __u64 qs);
__u64 g_queue_on(struct guest *g, __u64 qs);
/* Tell the unit of the descriptors that are there. */
__u64 g_queue_tail(struct guest *g);
__u64 g_set_root(struct guest *g, __u64 root);
__u64 g_enable(struct guest *g, bool on);

/* A fresh page full of zeros */
__u64 g_page(struct guest *g);

/* Put a descriptor into the queue, without telling the unit. */
__u64 g_queue(struct guest *g, __u64 lo, __u64 hi);
/* Put a wait descriptor behind what is there, tell the unit, see it done. */
__u64 g_flush(struct guest *g);
__u64 g_flush_domain(struct guest *g, __u64 d);
__u64 g_flush_global(struct guest *g);
__u64 g_flush_pages(struct guest *g, __u64 d, __u64 iova, __u64 am);
__u64 g_flush_context(struct guest *g, __u64 sid, __u64 did);
__u64 g_flush_context_global(struct guest *g);

/* Tables. d: index of a domain of ours; did: the domain-id. */
__u64 g_domain(struct guest *g, __u64 d, __u64 did, __u64 levels);
__u64 *g_entry(struct guest *g, __u64 d, __u64 iova, __u64 leaf);
__u64 g_entry_gpa(struct guest *g, __u64 d, __u64 iova, __u64 leaf);
__u64 *g_context(struct guest *g, __u64 sid);
/*
 * In scalable mode: the PASID table entry of a device for requests with a PASID, and without
 * it (as with 0); the PASID has to be below 0x8000.
 */
__u64 *g_pasid_entry_of(struct guest *g, __u64 sid, __u64 pasid);
__u64 *g_pasid_entry(struct guest *g, __u64 sid);
__u64 g_pasid_write(struct guest *g, __u64 sid, __u64 pasid, __u64 lo, __u64 did, __u64 root);
__u64 g_pasid_entry_quiet(struct guest *g, __u64 sid, __u64 lo, __u64 did, __u64 root);
/* Tell the unit of a new or changed PASID table entry, as Linux does in caching mode. */
__u64 g_flush_pasid_of(struct guest *g, __u64 did, __u64 pasid);
__u64 g_flush_pasid(struct guest *g, __u64 did);
/* These write entries and invalidate nothing. n: pages of the leaf's size */
__u64 g_map_quiet(struct guest *g, __u64 d, __u64 iova, __u64 gpa, __u64 n,
		  __u64 flags);
__u64 g_unmap_quiet(struct guest *g, __u64 d, __u64 iova, __u64 n, __u64 flags);
__u64 g_context_quiet(struct guest *g, __u64 sid, __u64 lo, __u64 hi);
/* These invalidate as Linux does in caching mode. */
__u64 g_map(struct guest *g, __u64 d, __u64 iova, __u64 gpa, __u64 n,
	    __u64 flags);
__u64 g_unmap(struct guest *g, __u64 d, __u64 iova, __u64 n, __u64 flags);
__u64 g_attach(struct guest *g, __u64 sid, __u64 d);
__u64 g_attach_pt(struct guest *g, __u64 sid, __u64 did);
__u64 g_detach(struct guest *g, __u64 sid, __u64 did);
/*
 * The same for n PASIDs of a device in a row; the context entry has to have these bits, and
 * the unit is told of it.
 */
__u64 g_pasid_enable(struct guest *g, __u64 sid, __u64 bits);
__u64 g_pasid_attach(struct guest *g, __u64 sid, __u64 pasid, __u64 n, __u64 d);
__u64 g_pasid_attach_pt(struct guest *g, __u64 sid, __u64 pasid, __u64 did);
__u64 g_pasid_detach(struct guest *g, __u64 sid, __u64 pasid, __u64 n, __u64 did);
/* Map a page of domain 0 and unmap it, n times or until g->stop. */
__u64 g_churn(struct guest *g, __u64 iova, __u64 gpa, __u64 n);
__u64 g_attach_again(struct guest *g, __u64 sid, __u64 did);

/*
 * The DMA engine of edu device dev: @off is the place in the device's buffer
 * of 4096 bytes. The start returns at once.
 */
#define EDU_TO_RAM	true
#define EDU_FROM_RAM	false
__u64 g_dma_start(struct guest *g, __u64 dev, bool to_ram, __u64 iova,
		  __u64 off, __u64 len);
__u64 g_dma_busy(struct guest *g, __u64 dev);
/* Of an edu-pasid: what it sends from now on has this PASID, or none if it is 0. */
__u64 g_dma_pasid(struct guest *g, __u64 dev, __u64 pasid);
__u64 g_dma(struct guest *g, __u64 dev, bool to_ram, __u64 iova, __u64 off,
	    __u64 len);

#endif
