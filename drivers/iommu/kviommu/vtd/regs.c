// SPDX-License-Identifier: GPL-2.0-only
/*
 * VT-d registers: what the guest may write, and what that does.
 */
#include <linux/bitfield.h>
#include <linux/bitmap.h>
#include <linux/build_bug.h>
#include <linux/err.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/stddef.h>
#include <linux/string.h>

#include "../compat.h"
#include "vtd.h"

/**
 * vtd_set64() - Give a register of 64 bits a value, which the guest sees
 * @vtd: The unit
 * @offset: Of the register
 * @val: The value
 */
void vtd_set64(struct vtd *vtd, unsigned int offset, u64 val)
{
	vtd_set32(vtd, offset, lower_32_bits(val));
	vtd_set32(vtd, offset + 4, upper_32_bits(val));
}

static void set_root_table(struct vtd *vtd)
{
	vtd->root = vtd_get64(vtd, VTD_RTADDR);
	vtd_set32(vtd, VTD_GSTS, vtd_get32(vtd, VTD_GSTS) | VTD_GSTS_RTPS);
}

/* GCMD.TE was changed. Return: false if that has to go on in the next step. */
static bool te_run(struct vtd *vtd)
{
	u32 gsts = vtd_get32(vtd, VTD_GSTS) & ~VTD_GSTS_TES;

	if (kviommu_rebind(vtd->fe.unit, 0, U16_MAX))
		return false;
	/* Recording begins anew when translation is off. */
	if (!vtd->te)
		vtd->next_frcd = 0;
	vtd->te_changed = false;
	vtd_set32(vtd, VTD_GSTS, gsts | (vtd->te ? VTD_GSTS_TES : 0));
	kviommu_signal(vtd->fe.unit, KVIOMMU_SIGNAL_CONTROL);
	return true;
}

/*
 * Commands for what the capabilities deny (fault logs, write buffers,
 * interrupt remapping) are ignored, and their status stays 0.
 */
static void gcmd_written(struct vtd *vtd)
{
	u32 gcmd = vtd_get32(vtd, VTD_GCMD);
	u32 changed = gcmd ^ vtd_get32(vtd, VTD_GSTS);

	/* Reads as 0. */
	vtd_set32(vtd, VTD_GCMD, 0);

	/*
	 * After the first time a driver finds RTPS set before the command was
	 * taken, and may replace that by one that turns something on or off.
	 */
	if (gcmd & VTD_GCMD_SRTP ||
	    (vtd->polled && changed & (VTD_GCMD_TE | VTD_GCMD_QIE) &&
	     vtd_get64(vtd, VTD_RTADDR) != vtd->root))
		set_root_table(vtd);
	if (changed & VTD_GCMD_QIE) {
		if (gcmd & VTD_GCMD_QIE)
			vtd_queue_enable(vtd);
		else
			vtd_queue_disable(vtd);
	}
	if (vtd->te != !!(gcmd & VTD_GCMD_TE))
		vtd->te_changed = true;
	vtd->te = gcmd & VTD_GCMD_TE;
}

static void message_written(struct vtd *vtd)
{
	kviommu_signal(vtd->fe.unit, KVIOMMU_SIGNAL_CONTROL);
}

/**
 * struct vtd_reg - 32 bits of the register page that the guest may write to
 * @rw: Bits that take the value written
 * @w1c: Bits that a written 1 clears
 * @written: What a write does beyond that. For a register of 64 bits it is
 *           with the half that matters.
 */
struct vtd_reg {
	u32 rw;
	u32 w1c;
	void (*written)(struct vtd *vtd);
};

#define REG(_offset, _rw, _w1c, _written)				\
	[(_offset) / sizeof(u32)] = {					\
		.rw = (_rw),						\
		.w1c = (_w1c),						\
		.written = (_written),					\
	}
#define RW(offset, rw, written)		REG(offset, rw, 0, written)
#define W1C(offset, w1c, written)	REG(offset, 0, w1c, written)
#define FRCD(n)								\
	W1C(VTD_FRCD + 16 * (n) + 12, upper_32_bits(VTD_FRCD_F),	\
	    vtd_frcd_written)

#define CCMD_RW	(VTD_CCMD_ICC | VTD_CCMD_CIRG | VTD_CCMD_FM | VTD_CCMD_SID | \
		 VTD_CCMD_DID)
#define IOTLB_RW (VTD_IOTLB_IVT | VTD_IOTLB_IIRG | VTD_IOTLB_DR | \
		  VTD_IOTLB_DW | VTD_IOTLB_DID)

static const struct vtd_reg vtd_regs[VTD_REGS_SIZE / sizeof(u32)] = {
	RW(VTD_GCMD, ~0U, gcmd_written),
	RW(VTD_RTADDR, lower_32_bits(VTD_RTADDR_RTA | VTD_RTADDR_TTM), NULL),
	RW(VTD_RTADDR + 4, ~0U, NULL),
	RW(VTD_CCMD, lower_32_bits(CCMD_RW), NULL),
	RW(VTD_CCMD + 4, upper_32_bits(CCMD_RW), NULL),
	W1C(VTD_FSTS, VTD_FSTS_W1C, vtd_fsts_written),
	RW(VTD_FECTL, VTD_ECTL_IM, vtd_fectl_written),
	RW(VTD_FEDATA, ~0U, message_written),
	RW(VTD_FEADDR, ~3U, message_written),
	RW(VTD_FEUADDR, ~0U, message_written),
	RW(VTD_IQT, VTD_IQT_QT, NULL),
	RW(VTD_IQA, lower_32_bits(VTD_IQA_IQA | VTD_IQA_QS), NULL),
	RW(VTD_IQA + 4, ~0U, NULL),
	W1C(VTD_ICS, VTD_ICS_IWC, vtd_ics_written),
	RW(VTD_IECTL, VTD_ECTL_IM, vtd_iectl_written),
	RW(VTD_IEDATA, ~0U, message_written),
	RW(VTD_IEADDR, ~3U, message_written),
	RW(VTD_IEUADDR, ~0U, message_written),
	RW(VTD_IVA, lower_32_bits(VTD_IVA_ADDR | VTD_IVA_IH | VTD_IVA_AM), NULL),
	RW(VTD_IVA + 4, ~0U, NULL),
	RW(VTD_IOTLB, lower_32_bits(IOTLB_RW), NULL),
	RW(VTD_IOTLB + 4, upper_32_bits(IOTLB_RW), NULL),
	FRCD(0), FRCD(1), FRCD(2), FRCD(3), FRCD(4), FRCD(5), FRCD(6), FRCD(7),
};

static_assert(VTD_NR_FRCD == 8);

/*
 * While the unit is polled, GCMD shows that the last command was taken: a value
 * that no driver writes, for bit 0 is reserved. Any other is a new command, also
 * the same one again.
 */
#define GCMD_TAKEN	BIT(0)

/*
 * What the page is to show of the register at index @i. A 1 written to a bit
 * that is 1 could not be told while the unit is polled: so none is shown then.
 */
static u32 shown(const struct vtd *vtd, unsigned int i)
{
	if (unlikely(vtd->polled)) {
		if (i == VTD_GCMD / sizeof(u32))
			return GCMD_TAKEN;
		if (vtd_regs[i].w1c)
			return 0;
	}
	return vtd->regs[i];
}

static bool writable(unsigned int i)
{
	return vtd_regs[i].rw | vtd_regs[i].w1c;
}

/**
 * vtd_set32() - Give a register of 32 bits a value, which the guest sees
 * @vtd: The unit
 * @offset: Of the register
 * @val: The value
 */
void vtd_set32(struct vtd *vtd, unsigned int offset, u32 val)
{
	unsigned int i = offset / sizeof(u32);
	u32 old = shown(vtd, i), now;

	WRITE_ONCE(vtd->regs[i], val);
	now = shown(vtd, i);
	if (likely(!(vtd->polled || vtd->noting) || !writable(i)))
		WRITE_ONCE(vtd->page[i], now);
	else if (now != old)
		/* Unless the guest has written meanwhile: see sync_one(). */
		cmpxchg(&vtd->page[i], old, now);
	if (unlikely(vtd->noting) && vtd->noted[i] == old)
		vtd->noted[i] = now;
}

/* The guest's store is in the page already: put there what is true. */
static void repair(struct vtd *vtd, unsigned int offset, unsigned int len)
{
	unsigned int i;

	for (i = offset / 4; i <= (offset + len - 1) / 4; i++) {
		if (i < ARRAY_SIZE(vtd->regs))
			vtd->noted[i] = shown(vtd, i);
		WRITE_ONCE(vtd->page[i],
			   i < ARRAY_SIZE(vtd->regs) ? shown(vtd, i) : 0);
	}
}

/*
 * Put @val into the 32 bits at index @i, as far as that is writable. While the unit
 * is polled the page is left to sync_one(), which knows what the guest wrote last.
 */
static void store(struct vtd *vtd, unsigned int i, u32 val)
{
	const struct vtd_reg *reg = &vtd_regs[i];
	u32 old = vtd->regs[i] & ~reg->rw;

	/* A bit that is not shown is none that the guest wants to clear. */
	if (!vtd->polled)
		old &= ~(val & reg->w1c);
	old |= val & reg->rw;
	if (vtd->polled)
		WRITE_ONCE(vtd->regs[i], old);
	else
		vtd_set32(vtd, 4 * i, old);
}

/*
 * Where a guest asks for something, in an order in which nothing is missed. The
 * tail is looked at before the command: a driver that writes both expects them
 * in the order in which it wrote them, and if we see the later one we see the
 * earlier one. Commands are looked at before the values that they are about,
 * for those were written first.
 */
static const u8 sync_first[] = {
	VTD_IQT / 4, VTD_GCMD / 4, VTD_CCMD / 4 + 1, VTD_IOTLB / 4 + 1,
};

static u32 look_at(const struct vtd *vtd, unsigned int i, bool noted)
{
	if (noted)
		return vtd->noted[i];
	/* IQT: the guest's descriptors come before it. */
	return smp_load_acquire(&vtd->page[i]);
}

/*
 * Take what the page shows at index @i, or @noted. The guest may write again at any
 * moment: what it writes is replaced only if it is still what was taken. Return: that
 * is new.
 */
static bool sync_one(struct vtd *vtd, unsigned int i, bool noted)
{
	u32 old = shown(vtd, i), val = look_at(vtd, i, noted);

	if (val == old)
		return false;
	if (!writable(i)) {
		WRITE_ONCE(vtd->page[i], old);
		return false;
	}
	if (!noted && i == VTD_GCMD / 4) {
		/* Not to miss the same command again */
		val = xchg(&vtd->page[i], old);
		if (val == old)
			return false;
		store(vtd, i, val);
		return true;
	}
	store(vtd, i, val);
	if (vtd->polled && shown(vtd, i) != val)
		cmpxchg(&vtd->page[i], val, shown(vtd, i));
	return true;
}

/* What the page shows, or @noted, is what was written last. */
static void sync_all(struct vtd *vtd, bool noted)
{
	DECLARE_BITMAP(changed, VTD_REGS_SIZE / sizeof(u32));
	DECLARE_BITMAP(seen, VTD_REGS_SIZE / sizeof(u32));
	unsigned int i;

	bitmap_zero(changed, VTD_REGS_SIZE / sizeof(u32));
	bitmap_zero(seen, VTD_REGS_SIZE / sizeof(u32));
	for (i = 0; i < ARRAY_SIZE(sync_first); i++) {
		__set_bit(sync_first[i], seen);
		if (sync_one(vtd, sync_first[i], noted))
			__set_bit(sync_first[i], changed);
	}
	for (i = 0; i < VTD_REGS_SIZE / sizeof(u32); i++)
		if (!test_bit(i, seen) && sync_one(vtd, i, noted))
			__set_bit(i, changed);
	/* GCMD comes first of those that do something. */
	for_each_set_bit(i, changed, VTD_REGS_SIZE / sizeof(u32))
		if (vtd_regs[i].written)
			vtd_regs[i].written(vtd);
}

/* No write is being trapped: what the page shows is whole. */
static void vtd_sync(struct kviommu_frontend *fe, bool all)
{
	struct vtd *vtd = to_vtd(fe);

	/*
	 * The order of sync_first. What else was written means nothing to the queue; but
	 * a guest that waits for a bit is not to find its own 1 there.
	 */
	if (!all) {
		sync_one(vtd, VTD_IQT / 4, false);
		if (READ_ONCE(vtd->page[VTD_ICS / 4]))
			sync_one(vtd, VTD_ICS / 4, false);
		if (READ_ONCE(vtd->page[VTD_FSTS / 4]))
			sync_one(vtd, VTD_FSTS / 4, false);
		if (READ_ONCE(vtd->page[VTD_GCMD / 4]) == GCMD_TAKEN)
			return;
	}
	sync_all(vtd, false);
}

/*
 * What the page shows may be a part of what is being trapped: but then vtd_write()
 * will put down all of it.
 */
static void vtd_note(struct kviommu_frontend *fe)
{
	struct vtd *vtd = to_vtd(fe);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(vtd->noted); i++)
		vtd->noted[i] = READ_ONCE(vtd->page[i]);
	vtd->noting = true;
}

static void vtd_adopt(struct kviommu_frontend *fe)
{
	struct vtd *vtd = to_vtd(fe);

	vtd->noting = false;
	memset(vtd->page + ARRAY_SIZE(vtd->regs), 0, SZ_4K - sizeof(vtd->regs));
	sync_all(vtd, true);
}

static void vtd_write(struct kviommu_frontend *fe, unsigned int offset,
		      const void *data, unsigned int len)
{
	struct vtd *vtd = to_vtd(fe);
	unsigned int i, first = offset / 4, nr = len / 4;
	u32 val[2];

	/*
	 * The specification leaves other accesses than those of aligned 32 and
	 * 64 bits undefined. Here they do nothing.
	 */
	if (offset % 4 || (len != 4 && len != 8) ||
	    offset + len > VTD_REGS_SIZE) {
		repair(vtd, offset, len);
		return;
	}
	memcpy(val, data, len);
	/*
	 * It went polled since, or the page is about to be taken: what was written stands
	 * there behind others that were not trapped, as a command behind what it is
	 * about, and is taken with them. But where the page was made to show something
	 * else meanwhile it has to be put there again.
	 */
	if (vtd->polled || vtd->noting) {
		for (i = first; i < first + nr; i++) {
			if (vtd_regs[i].rw)
				cmpxchg(&vtd->page[i], shown(vtd, i),
					val[i - first]);
			vtd->noted[i] = val[i - first];
		}
		return;
	}
	for (i = 0; i < nr; i++)
		store(vtd, first + i, val[i]);
	for (i = 0; i < nr; i++)
		if (vtd_regs[first + i].written)
			vtd_regs[first + i].written(vtd);
}

static_assert(offsetof(struct vtd, regs) <= 64);

static bool vtd_peek(const struct kviommu_frontend *fe, bool all)
{
	const struct vtd *vtd = container_of_const(fe, struct vtd, fe);
	unsigned int i;

	if (READ_ONCE(vtd->page[VTD_IQT / 4]) !=
	    READ_ONCE(vtd->regs[VTD_IQT / 4]) ||
	    READ_ONCE(vtd->page[VTD_GCMD / 4]) != GCMD_TAKEN)
		return true;
	for (i = 0; all && i < VTD_REGS_SIZE / sizeof(u32); i++)
		if (READ_ONCE(vtd->page[i]) != shown(vtd, i))
			return true;
	return false;
}

/*
 * In the steady state a driver writes to IQT, and to other registers what is to
 * be their value. Set-up and invalidation by registers are trapped, as is
 * everything while there are bits that a written 1 clears.
 */
static bool vtd_pollable(const struct kviommu_frontend *fe)
{
	const struct vtd *vtd = container_of_const(fe, struct vtd, fe);

	return vtd->te && !vtd->te_changed &&
	       vtd_get32(vtd, VTD_GSTS) & VTD_GSTS_QIES &&
	       !vtd_get32(vtd, VTD_FSTS) && !vtd_get32(vtd, VTD_ICS) &&
	       !vtd->held;
}

static void vtd_poll(struct kviommu_frontend *fe, bool on)
{
	struct vtd *vtd = to_vtd(fe);
	unsigned int i;

	vtd->polled = on;
	for (i = 0; i < VTD_REGS_SIZE / sizeof(u32); i++)
		if (i == VTD_GCMD / 4 || vtd_regs[i].w1c)
			WRITE_ONCE(vtd->page[i], shown(vtd, i));
	if (!on)
		vtd_raise_held(vtd);
}

static bool vtd_pending(struct kviommu_frontend *fe)
{
	struct vtd *vtd = to_vtd(fe);

	return vtd->te_changed || vtd_inval_pending(vtd) ||
	       vtd_queue_pending(vtd);
}

static bool vtd_run(struct kviommu_frontend *fe)
{
	struct vtd *vtd = to_vtd(fe);

	if (vtd->te_changed && !te_run(vtd))
		return true;
	if (!vtd_inval_run(vtd))
		return true;
	if (vtd_queue_pending(vtd))
		vtd_queue_run(vtd);
	return vtd_queue_pending(vtd);
}

static u64 vtd_cap(const struct vtd *vtd, unsigned int aw_bits)
{
	u64 sagaw = VTD_CAP_SAGAW_39;

	if (vtd->levels_max >= 4)
		sagaw |= VTD_CAP_SAGAW_48;
	if (vtd->levels_max >= 5)
		sagaw |= VTD_CAP_SAGAW_57;
	return VTD_CAP_ND_16BIT | VTD_CAP_CM | sagaw | VTD_CAP_MGAW(aw_bits) |
	       VTD_CAP_FRO(VTD_FRCD) | VTD_CAP_SLLPS_2M | VTD_CAP_SLLPS_1G |
	       VTD_CAP_PSI | VTD_CAP_NFR(VTD_NR_FRCD) |
	       VTD_CAP_MAMV(VTD_MAMV) | VTD_CAP_DWD | VTD_CAP_DRD;
}

static void vtd_reset(struct kviommu_frontend *fe)
{
	struct vtd *vtd = to_vtd(fe);
	u64 cap = vtd_get64(vtd, VTD_CAP), ecap = vtd_get64(vtd, VTD_ECAP);
	unsigned int i;

	memset(vtd->regs, 0, sizeof(vtd->regs));
	memset(vtd->page, 0, SZ_4K);
	vtd_set32(vtd, VTD_VER, 0x10);
	vtd_set64(vtd, VTD_CAP, cap);
	vtd_set64(vtd, VTD_ECAP, ecap);
	vtd_set32(vtd, VTD_FECTL, VTD_ECTL_IM);
	vtd_set32(vtd, VTD_IECTL, VTD_ECTL_IM);
	vtd->te = false;
	vtd->te_changed = false;
	vtd->held = 0;
	vtd->root = 0;
	vtd->iq_head = 0;
	vtd->progress = (struct kviommu_progress){};
	vtd->next_frcd = 0;
	/* Also while it is polled, or the page is about to be taken */
	for (i = 0; i < ARRAY_SIZE(vtd->regs); i++) {
		WRITE_ONCE(vtd->page[i], shown(vtd, i));
		vtd->noted[i] = shown(vtd, i);
	}
}

static void vtd_destroy(struct kviommu_frontend *fe)
{
	kfree(to_vtd(fe));
}

static const struct kviommu_frontend_ops vtd_ops = {
	.write = vtd_write,
	.sync = vtd_sync,
	.note = vtd_note,
	.adopt = vtd_adopt,
	.peek = vtd_peek,
	.pollable = vtd_pollable,
	.poll = vtd_poll,
	.pending = vtd_pending,
	.run = vtd_run,
	.reset = vtd_reset,
	.resolve = vtd_resolve,
	.fault = vtd_fault,
	.destroy = vtd_destroy,
};

/**
 * kviommu_vtd_create() - Make a VT-d front-end
 * @unit: Its unit
 * @unit_id: Number of the unit, for traces
 * @page: The register page, 4 KiB
 * @aw_bits: Width of the I/O virtual addresses, 39 to 57
 * @boot_identity: DMA reaches all guest memory while translation is off; else
 *                 it is blocked
 * @cap: The capability register
 * @ecap: The extended capability register
 *
 * Return: the front-end or -ENOMEM.
 */
struct kviommu_frontend *kviommu_vtd_create(struct kviommu_unit *unit,
					    int unit_id, void *page,
					    unsigned int aw_bits,
					    bool boot_identity, u64 *cap,
					    u64 *ecap)
{
	struct vtd *vtd = kzalloc_obj(*vtd, GFP_KERNEL_ACCOUNT);

	if (!vtd)
		return ERR_PTR(-ENOMEM);
	vtd->fe.ops = &vtd_ops;
	vtd->fe.unit = unit;
	vtd->fe.decode = vtd_decode;
	vtd->fe.fault_root = VTD_FR_CONTEXT_INVALID;
	vtd->fe.fault_table = VTD_FR_PAGING_ACCESS;
	vtd->fe.fault_read = VTD_FR_READ;
	vtd->fe.fault_write = VTD_FR_WRITE;
	vtd->unit_id = unit_id;
	vtd->page = page;
	vtd->haw = 48;
	vtd->mgaw = aw_bits;
	vtd->levels_max = aw_bits > 48 ? 5 : aw_bits > 39 ? 4 : 3;
	vtd->boot_identity = boot_identity;
	*cap = vtd_cap(vtd, aw_bits);
	*ecap = VTD_ECAP_C | VTD_ECAP_QI | VTD_ECAP_PT | VTD_ECAP_IRO(VTD_IVA);
	vtd_set64(vtd, VTD_CAP, *cap);
	vtd_set64(vtd, VTD_ECAP, *ecap);
	vtd_reset(&vtd->fe);
	return &vtd->fe;
}
