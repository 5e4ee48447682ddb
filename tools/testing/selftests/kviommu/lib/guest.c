// SPDX-License-Identifier: GPL-2.0
/* The code that runs in the guest, see guest.h. */
#include "edu.h"
#include "guest.h"

static inline void g_pause(void)
{
	asm volatile("pause" : : : "memory");
}

typedef __u64 (*guest_fn)(struct guest *g, __u64 a, __u64 b, __u64 c, __u64 d,
			  __u64 e);

void g_main(struct guest *g, struct guest_call *call)
{
	guest_fn fn = call->fn;

	call->ret = fn(g, call->args[0], call->args[1], call->args[2],
		       call->args[3], call->args[4]);
	for (;;)
		asm volatile("outb %%al, %0" : : "i" (GUEST_PORT_DONE) : "memory");
}

void g_sync(struct guest *g, __u64 stage)
{
	g->stage = stage;
	asm volatile("outb %%al, %0" : : "i" (GUEST_PORT_SYNC) : "memory");
}

void g_assert_failed(struct guest *g, const char *expr, const char *file,
		     __u64 line, __u64 got)
{
	g->assert_expr = expr;
	g->assert_file = file;
	g->assert_line = line;
	g->assert_got = got;
	for (;;)
		asm volatile("outb %%al, %0" : : "i" (GUEST_PORT_ASSERT) : "memory");
}

bool g_patient(unsigned long n)
{
	if (n == PATIENCE_SHOW)
		asm volatile("outb %%al, %0" : : "i" (GUEST_PORT_SHOW) : "memory");
	return n < PATIENCE;
}

/* Until it is done a polled unit leaves a command as it was written. */
static void wait_command(struct guest *g, __u32 cmd)
{
	unsigned long n;

	for (n = 0; cmd && g_read32(g, VTD_GCMD) == cmd; n++) {
		G_ASSERT_GOT(g, g_patient(n), cmd);
		g_pause();
	}
}

static bool pending(struct guest *g)
{
	__u64 iro = VTD_ECAP_IRO(g_read64(g, VTD_ECAP));

	if (g_read64(g, VTD_CCMD) & VTD_CCMD_ICC ||
	    g_read64(g, iro + VTD_IOTLB) & VTD_IOTLB_IVT)
		return true;
	return g_read32(g, VTD_GSTS) & VTD_GCMD_QIE &&
	       !(g_read32(g, VTD_FSTS) & VTD_FSTS_IQE) &&
	       g_read32(g, VTD_IQH) != g_read32(g, VTD_IQT);
}

__u64 g_settle(struct guest *g)
{
	__u32 cmd = g_read32(g, VTD_GSTS) & VTD_GSTS_STICKY;
	unsigned long n;

	if (!g->polls)
		return 0;
	/* A command that changes nothing is seen after what was written before. */
	g_write32(g, VTD_GCMD, cmd);
	wait_command(g, cmd);
	for (n = 0; pending(g); n++) {
		G_ASSERT_GOT(g, g_patient(n), g_read32(g, VTD_IQH));
		g_pause();
	}
	return 0;
}

__u64 g_pollable(struct guest *g)
{
	const __u32 steady = VTD_GCMD_TE | VTD_GCMD_QIE;

	return (g_read32(g, VTD_GSTS) & steady) == steady &&
	       !g_read32(g, VTD_FSTS) && !g_read32(g, VTD_ICS);
}

__u64 g_peek32(struct guest *g, __u64 reg)
{
	g_settle(g);
	return g_read32(g, reg);
}

__u64 g_peek64(struct guest *g, __u64 reg)
{
	g_settle(g);
	return g_read64(g, reg);
}

__u64 g_poke32(struct guest *g, __u64 reg, __u64 v)
{
	g_write32(g, reg, v);
	if (reg != VTD_GCMD)
		return g_settle(g);
	if (g->polls)
		wait_command(g, v);
	return 0;
}

__u64 g_poke64(struct guest *g, __u64 reg, __u64 v)
{
	g_write64(g, reg, v);
	return g_settle(g);
}

__u64 g_wait_clear(struct guest *g, __u64 reg, __u64 bits)
{
	unsigned long n;

	for (n = 0; g_read64(g, reg) & bits; n++) {
		G_ASSERT_GOT(g, g_patient(n), reg);
		g_pause();
	}
	return 0;
}

__u64 g_page(struct guest *g)
{
	__u64 page = g->next_page;
	__u64 *p = (__u64 *)page;
	unsigned int i;

	G_ASSERT(g, page < GPA_TABLES_END);
	for (i = 0; i < PAGE_SIZE / 8; i++)
		WRITE_ONCE(p[i], 0);
	g->next_page += PAGE_SIZE;
	return page;
}

__u64 g_command(struct guest *g, __u64 bit, bool on)
{
	__u32 cmd = g_read32(g, VTD_GSTS) & VTD_GSTS_STICKY;
	/* SRTP is a command, its status stays set from the first time on. */
	__u32 want = bit;
	unsigned long n;

	cmd = on ? cmd | bit : cmd & ~bit;
	g_write32(g, VTD_GCMD, cmd);
	/* So it does not tell when another command may follow. */
	if (g->polls && bit == VTD_GCMD_SRTP)
		wait_command(g, cmd);
	for (n = 0; !!(g_read32(g, VTD_GSTS) & want) != on; n++) {
		G_ASSERT_GOT(g, g_patient(n), g_read32(g, VTD_GSTS));
		g_pause();
	}
	return g_read32(g, VTD_GSTS);
}

__u64 g_queue(struct guest *g, __u64 lo, __u64 hi)
{
	__u64 *desc = (__u64 *)(GPA_QUEUE + (g->tail * 16UL << g->wide));

	WRITE_ONCE(desc[0], lo);
	WRITE_ONCE(desc[1], hi);
	if (g->wide) {
		WRITE_ONCE(desc[2], 0);
		WRITE_ONCE(desc[3], 0);
	}
	g->tail = (g->tail + 1) % g->queue_slots;
	return g->tail;
}

__u64 g_queue_tail(struct guest *g)
{
	return g_write32(g, VTD_IQT, g->tail * 16 << g->wide);
}

__u64 g_flush(struct guest *g)
{
	unsigned long n;

	g->seq++;
	g_queue(g, VTD_QI_WAIT | VTD_QI_WAIT_SW | VTD_QI_WAIT_DATA(g->seq),
		(__u64)&g->status);
	g_queue_tail(g);
	for (n = 0; READ_ONCE(g->status) != g->seq; n++) {
		G_ASSERT_GOT(g, g_patient(n), g_read32(g, VTD_FSTS));
		g_pause();
	}
	return 0;
}

__u64 g_flush_global(struct guest *g)
{
	g_queue(g, VTD_QI_IOTLB | VTD_QI_GLOBAL, 0);
	return g_flush(g);
}

__u64 g_flush_domain(struct guest *g, __u64 d)
{
	if (g->scalable) {
		g_queue(g, VTD_QI_PIOTLB | VTD_QI_PIOTLB_PASID |
			VTD_QI_DID(g->dom[d].did), 0);
		return g_flush(g);
	}
	g_queue(g, VTD_QI_IOTLB | VTD_QI_DOMAIN | VTD_QI_DID(g->dom[d].did), 0);
	return g_flush(g);
}

__u64 g_flush_pages(struct guest *g, __u64 d, __u64 iova, __u64 am)
{
	/* The address is that of the whole naturally aligned range. */
	iova &= ~((PAGE_SIZE << am) - 1);
	g_queue(g, (g->scalable ? VTD_QI_PIOTLB | VTD_QI_PIOTLB_PAGES :
				  VTD_QI_IOTLB | VTD_QI_SELECTIVE) |
		VTD_QI_DID(g->dom[d].did), iova | VTD_QI_HI_AM(am));
	return g_flush(g);
}

__u64 g_flush_context(struct guest *g, __u64 sid, __u64 did)
{
	g_queue(g, VTD_QI_CC | VTD_QI_SELECTIVE | VTD_QI_DID(did) |
		VTD_QI_CC_SID(sid), 0);
	return g_flush(g);
}

__u64 g_flush_context_global(struct guest *g)
{
	g_queue(g, VTD_QI_CC | VTD_QI_GLOBAL, 0);
	return g_flush(g);
}

__u64 g_queue_on(struct guest *g, __u64 qs)
{
	/* Linux does so whenever the unit offers scalable mode. */
	g->wide = !!(g_read64(g, VTD_ECAP) & VTD_ECAP_SMTS);
	g->queue_slots = (PAGE_SIZE / 16 >> g->wide) << qs;
	g->tail = 0;
	g_write32(g, VTD_IQT, 0);
	g_write64(g, VTD_IQA, GPA_QUEUE | qs | (g->wide ? VTD_IQA_DW : 0));
	return g_command(g, VTD_GCMD_QIE, true);
}

__u64 g_set_root(struct guest *g, __u64 root)
{
	g->root = root;
	g_write64(g, VTD_RTADDR, root | (g->scalable ? VTD_RTADDR_SCALABLE : 0));
	g_command(g, VTD_GCMD_SRTP, true);
	g_flush_context_global(g);
	if (g->scalable)
		g_queue(g, VTD_QI_PASID_CACHE | VTD_QI_PC_GLOBAL, 0);
	return g_flush_global(g);
}

__u64 g_setup(struct guest *g, __u64 qs)
{
	g_queue_on(g, qs);
	return g_set_root(g, g_page(g));
}

__u64 g_enable(struct guest *g, bool on)
{
	return g_command(g, VTD_GCMD_TE, on);
}

__u64 g_domain(struct guest *g, __u64 d, __u64 did, __u64 levels)
{
	g->dom[d].did = did;
	g->dom[d].levels = levels;
	g->dom[d].root = g_page(g);
	return g->dom[d].root;
}

__u64 *g_entry(struct guest *g, __u64 d, __u64 iova, __u64 leaf)
{
	__u64 *table = (__u64 *)g->dom[d].root;
	__u64 level;

	for (level = g->dom[d].levels; ; level--) {
		__u64 *e = &table[(iova >> LEAF_SHIFT(level)) & 511];

		if (level == leaf)
			return e;
		if (!(*e & MAP_RW) || *e & VTD_SL_PS)
			WRITE_ONCE(*e, g_page(g) | MAP_RW |
				   (g->scalable ? VTD_FS_US : 0));
		table = (__u64 *)(*e & VTD_SL_ADDR);
	}
}

__u64 g_entry_gpa(struct guest *g, __u64 d, __u64 iova, __u64 leaf)
{
	return (__u64)g_entry(g, d, iova, leaf);
}

/* The entry of a table of scalable mode that leads to another one, which is made if new */
static __u64 g_next_table(struct guest *g, __u64 *entry)
{
	if (!(*entry & 1))
		WRITE_ONCE(*entry, g_page(g) | 1);
	return *entry & VTD_SL_ADDR;
}

__u64 *g_pasid_entry_of(struct guest *g, __u64 sid, __u64 pasid)
{
	__u64 *directory = (__u64 *)g_next_table(g, g_context(g, sid));

	G_ASSERT(g, pasid >> 6 < PAGE_SIZE / 8);
	return (__u64 *)(g_next_table(g, &directory[pasid >> 6]) + (pasid & 63) * 64);
}

__u64 *g_pasid_entry(struct guest *g, __u64 sid)
{
	return g_pasid_entry_of(g, sid, 0);
}

__u64 g_pasid_write(struct guest *g, __u64 sid, __u64 pasid, __u64 lo, __u64 did, __u64 root)
{
	__u64 *e = g_pasid_entry_of(g, sid, pasid);

	WRITE_ONCE(e[0], 0);
	WRITE_ONCE(e[1], VTD_SM_PTE_1_DID(did));
	WRITE_ONCE(e[2], root);
	WRITE_ONCE(e[0], lo);
	return 0;
}

__u64 g_pasid_entry_quiet(struct guest *g, __u64 sid, __u64 lo, __u64 did, __u64 root)
{
	return g_pasid_write(g, sid, 0, lo, did, root);
}

static void queue_pasid(struct guest *g, __u64 did, __u64 pasid)
{
	g_queue(g, VTD_QI_PASID_CACHE | VTD_QI_PC_PASID | VTD_QI_DID(did) |
		VTD_QI_PASID(pasid), 0);
	g_queue(g, VTD_QI_PIOTLB | VTD_QI_PIOTLB_PASID | VTD_QI_DID(did) |
		VTD_QI_PASID(pasid), 0);
}

__u64 g_flush_pasid_of(struct guest *g, __u64 did, __u64 pasid)
{
	queue_pasid(g, did, pasid);
	return g_flush(g);
}

__u64 g_flush_pasid(struct guest *g, __u64 did)
{
	return g_flush_pasid_of(g, did, 0);
}

__u64 *g_context(struct guest *g, __u64 sid)
{
	if (g->scalable) {
		/* Half a root entry for each half of a bus */
		__u64 *half = (__u64 *)(g->root + (sid >> 7) * 8);

		return (__u64 *)(g_next_table(g, half) + (sid & 0x7f) * 32);
	}
	__u64 *re = (__u64 *)(g->root + (sid >> 8) * 16);

	if (!(*re & VTD_RE_P))
		WRITE_ONCE(*re, g_page(g) | VTD_RE_P);
	return (__u64 *)((*re & VTD_SL_ADDR) + (sid & 0xff) * 16);
}

__u64 g_map_quiet(struct guest *g, __u64 d, __u64 iova, __u64 gpa, __u64 n,
		  __u64 flags)
{
	__u64 leaf = MAP_LEAF_OF(flags);
	__u64 i;

	for (i = 0; i < n; i++) {
		__u64 *e = g_entry(g, d, iova, leaf);

		WRITE_ONCE(*e, gpa | MAP_RIGHTS(flags) |
			   (g->scalable ? VTD_FS_US : 0) |
			   (leaf > LEAF_4K ? VTD_SL_PS : 0));
		iova += LEAF_SIZE(leaf);
		gpa += LEAF_SIZE(leaf);
	}
	return 0;
}

__u64 g_unmap_quiet(struct guest *g, __u64 d, __u64 iova, __u64 n, __u64 flags)
{
	__u64 leaf = MAP_LEAF_OF(flags);
	__u64 i;

	for (i = 0; i < n; i++, iova += LEAF_SIZE(leaf))
		WRITE_ONCE(*g_entry(g, d, iova, leaf), 0);
	return 0;
}

/* The smallest naturally aligned power of two of pages that covers a range */
static __u64 am_of(__u64 iova, __u64 size)
{
	__u64 am = 0;

	while ((iova ^ (iova + size - 1)) >> (12 + am))
		am++;
	return am;
}

__u64 g_map(struct guest *g, __u64 d, __u64 iova, __u64 gpa, __u64 n,
	    __u64 flags)
{
	g_map_quiet(g, d, iova, gpa, n, flags);
	/* Caching mode is about second-level tables. */
	if (g->scalable)
		return 0;
	return g_flush_pages(g, d, iova,
			     am_of(iova, n * LEAF_SIZE(MAP_LEAF_OF(flags))));
}

__u64 g_unmap(struct guest *g, __u64 d, __u64 iova, __u64 n, __u64 flags)
{
	g_unmap_quiet(g, d, iova, n, flags);
	return g_flush_pages(g, d, iova,
			     am_of(iova, n * LEAF_SIZE(MAP_LEAF_OF(flags))));
}

__u64 g_context_quiet(struct guest *g, __u64 sid, __u64 lo, __u64 hi)
{
	__u64 *ce = g_context(g, sid);

	/* The half with the present bit is written when the other is right. */
	WRITE_ONCE(ce[0], 0);
	WRITE_ONCE(ce[1], hi);
	WRITE_ONCE(ce[0], lo);
	return 0;
}

/* In caching mode: by device with domain-id 0, then the domain. */
static __u64 flush_new_context(struct guest *g, __u64 sid, __u64 did)
{
	g_queue(g, VTD_QI_CC | VTD_QI_SELECTIVE | VTD_QI_CC_SID(sid), 0);
	g_queue(g, VTD_QI_IOTLB | VTD_QI_DOMAIN | VTD_QI_DID(did), 0);
	return g_flush(g);
}

__u64 g_attach(struct guest *g, __u64 sid, __u64 d)
{
	struct guest_domain *dom = &g->dom[d];

	if (g->scalable) {
		g_pasid_entry_quiet(g, sid, VTD_SM_PTE_P |
				    VTD_SM_PTE_PGTT(VTD_SM_PGTT_FIRST_STAGE), dom->did,
				    dom->root | (dom->levels == 5 ?
						 VTD_SM_PTE_2_5_LEVEL : 0));
		return g_flush_pasid(g, dom->did);
	}
	g_context_quiet(g, sid, dom->root | VTD_CE_P,
			VTD_CE_HI_AW(dom->levels) | VTD_CE_HI_DID(dom->did));
	return flush_new_context(g, sid, dom->did);
}

__u64 g_attach_pt(struct guest *g, __u64 sid, __u64 did)
{
	/* AW is the largest that the unit has, as Linux sets it. */
	__u64 sagaw = VTD_CAP_SAGAW(g_read64(g, VTD_CAP));
	__u64 levels = sagaw & 8 ? 5 : sagaw & 4 ? 4 : 3;

	if (g->scalable) {
		g_pasid_entry_quiet(g, sid, VTD_SM_PTE_P |
				    VTD_SM_PTE_PGTT(VTD_SM_PGTT_PT), did, 0);
		return g_flush_pasid(g, did);
	}
	g_context_quiet(g, sid, VTD_CE_P | VTD_CE_T_PT,
			VTD_CE_HI_AW(levels) | VTD_CE_HI_DID(did));
	return flush_new_context(g, sid, did);
}

__u64 g_detach(struct guest *g, __u64 sid, __u64 did)
{
	if (g->scalable) {
		g_pasid_entry_quiet(g, sid, 0, 0, 0);
		return g_flush_pasid(g, did);
	}
	g_context_quiet(g, sid, 0, 0);
	g_queue(g, VTD_QI_CC | VTD_QI_SELECTIVE | VTD_QI_DID(did) |
		VTD_QI_CC_SID(sid), 0);
	g_queue(g, VTD_QI_IOTLB | VTD_QI_DOMAIN | VTD_QI_DID(did), 0);
	return g_flush(g);
}

__u64 g_pasid_enable(struct guest *g, __u64 sid, __u64 bits)
{
	__u64 *ce = g_context(g, sid);

	g_next_table(g, ce);
	WRITE_ONCE(*ce, (*ce & ~(VTD_SM_CE_PASIDE | VTD_SM_CE_PDTS(7))) | bits);
	return g_flush_context(g, sid, 0);
}

__u64 g_pasid_attach(struct guest *g, __u64 sid, __u64 pasid, __u64 n, __u64 d)
{
	struct guest_domain *dom = &g->dom[d];

	for (; n; n--, pasid++) {
		g_pasid_write(g, sid, pasid, VTD_SM_PTE_P |
			      VTD_SM_PTE_PGTT(VTD_SM_PGTT_FIRST_STAGE), dom->did,
			      dom->root | (dom->levels == 5 ? VTD_SM_PTE_2_5_LEVEL : 0));
		queue_pasid(g, dom->did, pasid);
		if (n % 32 == 1)
			g_flush(g);
	}
	return 0;
}

__u64 g_pasid_attach_pt(struct guest *g, __u64 sid, __u64 pasid, __u64 did)
{
	g_pasid_write(g, sid, pasid, VTD_SM_PTE_P | VTD_SM_PTE_PGTT(VTD_SM_PGTT_PT), did, 0);
	return g_flush_pasid_of(g, did, pasid);
}

__u64 g_pasid_detach(struct guest *g, __u64 sid, __u64 pasid, __u64 n, __u64 did)
{
	for (; n; n--, pasid++) {
		g_pasid_write(g, sid, pasid, 0, 0, 0);
		queue_pasid(g, did, pasid);
		if (n % 32 == 1)
			g_flush(g);
	}
	return 0;
}

__u64 g_dma_pasid(struct guest *g, __u64 dev, __u64 pasid)
{
	G_ASSERT(g, dev < g->bar_end);
	edu_write64((void *)g->bar[dev], EDU_DMA_PASID, pasid ? EDU_DMA_TAGGED | pasid : 0);
	return 0;
}

__u64 g_dma_start(struct guest *g, __u64 dev, bool to_ram, __u64 iova,
		  __u64 off, __u64 len)
{
	G_ASSERT(g, dev < g->bar_end);
	edu_dma_start((void *)g->bar[dev], to_ram, iova, off, len);
	return 0;
}

__u64 g_dma_busy(struct guest *g, __u64 dev)
{
	return edu_dma_busy((void *)g->bar[dev]);
}

__u64 g_dma(struct guest *g, __u64 dev, bool to_ram, __u64 iova, __u64 off,
	    __u64 len)
{
	unsigned long n;

	g_dma_start(g, dev, to_ram, iova, off, len);
	for (n = 0; g_dma_busy(g, dev); n++) {
		G_ASSERT(g, g_patient(n));
		g_pause();
	}
	return 0;
}

/*
 * Take a device out of its domain, of index 0, and put it in again, until the guest is to stop. A
 * domain that no device is in is gone; so each time there is a new one.
 */
__u64 g_attach_again(struct guest *g, __u64 sid, __u64 did)
{
	while (!READ_ONCE(g->stop)) {
		g_detach(g, sid, did);
		g_attach(g, sid, 0);
		WRITE_ONCE(g->count, g->count + 1);
	}
	return 0;
}

__u64 g_churn(struct guest *g, __u64 iova, __u64 gpa, __u64 n)
{
	__u64 i;

	for (i = 0; i < n && !READ_ONCE(g->stop); i++) {
		g_map(g, 0, iova, gpa, 1, MAP_RW);
		g_unmap(g, 0, iova, 1, 0);
		WRITE_ONCE(g->count, i);
	}
	return i;
}
