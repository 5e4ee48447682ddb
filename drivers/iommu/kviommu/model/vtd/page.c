// SPDX-License-Identifier: GPL-2.0-only
/*
 * The register page: how stores of the guest, trapped or polled, become register writes,
 * and what the page shows to the guest.
 */
#include <linux/bitmap.h>
#include <linux/container_of.h>
#include <linux/nospec.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include "vtd.h"

/*
 * While the unit is polled, the page shows this value of GCMD when the last command was
 * taken. No driver writes it, for bit 0 is reserved: any other value is a new command,
 * even one equal to the last.
 */
#define GCMD_TAKEN	BIT(0)

/*
 * The value that the page shows for the register at index @i. While the unit is polled,
 * bits that a written 1 clears are shown as 0: a 1 written over a 1 would go unnoticed.
 */
static u32 vtd_page_value(const struct vtd *vtd, unsigned int i)
{
	if (unlikely(vtd->polled)) {
		if (i == VTD_GCMD / sizeof(u32))
			return GCMD_TAKEN;
		if (vtd_regs[i].w1c)
			return 0;
	}
	return vtd->regs[i];
}

static bool vtd_reg_writable(unsigned int i)
{
	return vtd_regs[i].rw | vtd_regs[i].w1c;
}

/**
 * vtd_set32() - Set a 32-bit register, and update the page that the guest sees
 * @vtd: The unit
 * @offset: Offset of the register in the page, in bytes
 * @val: The new value
 *
 * Context: under unit->lock; does not sleep.
 */
void vtd_set32(struct vtd *vtd, unsigned int offset, u32 val)
{
	unsigned int i = offset / sizeof(u32);
	u32 old = vtd_page_value(vtd, i), now;

	WRITE_ONCE(vtd->regs[i], val);
	now = vtd_page_value(vtd, i);
	if (likely(!(vtd->polled || vtd->snapshot_taken) || !vtd_reg_writable(i)))
		WRITE_ONCE(vtd->page[i], now);
	else if (now != old)
		/* Keep what the guest has stored meanwhile: vtd_sync_reg() takes it. */
		cmpxchg(&vtd->page[i], old, now);
	if (unlikely(vtd->snapshot_taken) && vtd->snapshot[i] == old)
		vtd->snapshot[i] = now;
}

/* Undo a store of the guest that has no effect: it is in the page already. */
static void vtd_page_repair(struct vtd *vtd, unsigned int offset, unsigned int len)
{
	unsigned int i;

	for (i = offset / 4; i <= (offset + len - 1) / 4; i++) {
		if (i < ARRAY_SIZE(vtd->regs))
			vtd->snapshot[i] = vtd_page_value(vtd, i);
		WRITE_ONCE(vtd->page[i],
			   i < ARRAY_SIZE(vtd->regs) ? vtd_page_value(vtd, i) : 0);
	}
}

/*
 * Write @val to the register at index @i; only its writable bits change. While the unit
 * is polled the page is left to vtd_sync_reg(), which knows what the guest stored last.
 */
static void vtd_reg_store(struct vtd *vtd, unsigned int i, u32 val)
{
	const struct vtd_reg *reg = &vtd_regs[i];
	u32 old = vtd->regs[i] & ~reg->rw;

	/* While polled such bits are not shown: the guest cannot mean to clear them. */
	if (!vtd->polled)
		old &= ~(val & reg->w1c);
	old |= val & reg->rw;
	if (vtd->polled)
		WRITE_ONCE(vtd->regs[i], old);
	else
		vtd_set32(vtd, 4 * i, old);
}

/*
 * The registers by which a guest asks for something, in the order in which they are
 * read: what a driver writes last is read first, so that whoever sees a write also sees
 * the writes before it. The tail is read before the command, and commands are read
 * before the registers that hold their operands.
 */
static const u8 vtd_sync_order[] = {
	VTD_IQT / 4, VTD_GCMD / 4, VTD_CCMD / 4 + 1, VTD_IOTLB / 4 + 1,
};

static u32 vtd_page_read(const struct vtd *vtd, unsigned int i, bool from_snapshot)
{
	if (from_snapshot)
		return vtd->snapshot[i];
	/* Descriptors must not be read before the IQT that covers them. */
	return smp_load_acquire(&vtd->page[i]);
}

/*
 * Apply what the guest stored to the register at index @i, as found in the page or in
 * the snapshot. The guest may store again at any moment: the page is only updated where
 * it still holds the value that was applied. Return: whether there was a new value.
 */
static bool vtd_sync_reg(struct vtd *vtd, unsigned int i, bool from_snapshot)
{
	u32 old = vtd_page_value(vtd, i), val = vtd_page_read(vtd, i, from_snapshot);

	if (val == old)
		return false;
	if (!vtd_reg_writable(i)) {
		WRITE_ONCE(vtd->page[i], old);
		return false;
	}
	if (!from_snapshot && i == VTD_GCMD / 4) {
		/* Read and mark as taken at once, so as not to miss an equal command. */
		val = xchg(&vtd->page[i], old);
		if (val == old)
			return false;
		vtd_reg_store(vtd, i, val);
		return true;
	}
	vtd_reg_store(vtd, i, val);
	if (vtd->polled && vtd_page_value(vtd, i) != val)
		cmpxchg(&vtd->page[i], val, vtd_page_value(vtd, i));
	return true;
}

/* Apply what the guest stored to any register, as found in the page or the snapshot. */
static void vtd_sync_regs(struct vtd *vtd, bool from_snapshot)
{
	DECLARE_BITMAP(changed, VTD_REGS_SIZE / sizeof(u32));
	DECLARE_BITMAP(seen, VTD_REGS_SIZE / sizeof(u32));
	unsigned int i;

	bitmap_zero(changed, VTD_REGS_SIZE / sizeof(u32));
	bitmap_zero(seen, VTD_REGS_SIZE / sizeof(u32));
	for (i = 0; i < ARRAY_SIZE(vtd_sync_order); i++) {
		__set_bit(vtd_sync_order[i], seen);
		if (vtd_sync_reg(vtd, vtd_sync_order[i], from_snapshot))
			__set_bit(vtd_sync_order[i], changed);
	}
	for (i = 0; i < VTD_REGS_SIZE / sizeof(u32); i++)
		if (!test_bit(i, seen) && vtd_sync_reg(vtd, i, from_snapshot))
			__set_bit(i, changed);
	/* By offset: GCMD is the first register whose writes have further effects. */
	for_each_set_bit(i, changed, VTD_REGS_SIZE / sizeof(u32))
		if (vtd_regs[i].written)
			vtd_regs[i].written(vtd);
}

/* No write is being trapped, so the page holds no half of one. */
static void vtd_sync(struct kviommu_model *model, bool all)
{
	struct vtd *vtd = to_vtd(model);

	/*
	 * In the order of vtd_sync_order. The queue depends on no other register; but a
	 * guest that waits for a status bit must not find the 1 by which it cleared it.
	 */
	if (!all) {
		vtd_sync_reg(vtd, VTD_IQT / 4, false);
		if (READ_ONCE(vtd->page[VTD_ICS / 4]))
			vtd_sync_reg(vtd, VTD_ICS / 4, false);
		if (READ_ONCE(vtd->page[VTD_FSTS / 4]))
			vtd_sync_reg(vtd, VTD_FSTS / 4, false);
		if (READ_ONCE(vtd->page[VTD_GCMD / 4]) == GCMD_TAKEN)
			return;
	}
	vtd_sync_regs(vtd, false);
}

/*
 * The snapshot may hold part of a trapped write; when KVM reports that write,
 * vtd_write() overwrites it in the snapshot.
 */
static void vtd_snapshot(struct kviommu_model *model)
{
	struct vtd *vtd = to_vtd(model);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(vtd->snapshot); i++)
		vtd->snapshot[i] = READ_ONCE(vtd->page[i]);
	vtd->snapshot_taken = true;
}

static void vtd_commit(struct kviommu_model *model)
{
	struct vtd *vtd = to_vtd(model);

	vtd->snapshot_taken = false;
	memset(vtd->page + ARRAY_SIZE(vtd->regs), 0, SZ_4K - sizeof(vtd->regs));
	vtd_sync_regs(vtd, true);
}

static void vtd_write(struct kviommu_model *model, unsigned int offset,
		      const void *data, unsigned int len)
{
	struct vtd *vtd = to_vtd(model);
	unsigned int i, first, nr = len / 4;
	u32 val[2];

	/*
	 * The specification defines aligned accesses of 32 and 64 bits only. Others have
	 * no effect here.
	 */
	if (offset % 4 || (len != 4 && len != 8) ||
	    offset + len > VTD_REGS_SIZE) {
		vtd_page_repair(vtd, offset, len);
		return;
	}
	/* The guest's offset selects a function to call. */
	first = array_index_nospec(offset / 4, ARRAY_SIZE(vtd->regs) - (nr - 1));
	memcpy(val, data, len);
	/*
	 * Polling has begun since the store, or the page is about to be committed. Earlier
	 * stores, such as the operands of a command, may not have been trapped and are
	 * only in the page: leave this one there, too, to be applied after them. If an
	 * update of the page has overwritten it, store it again.
	 */
	if (vtd->polled || vtd->snapshot_taken) {
		for (i = first; i < first + nr; i++) {
			if (vtd_regs[i].rw)
				cmpxchg(&vtd->page[i], vtd_page_value(vtd, i),
					val[i - first]);
			vtd->snapshot[i] = val[i - first];
		}
		return;
	}
	for (i = 0; i < nr; i++)
		vtd_reg_store(vtd, first + i, val[i]);
	for (i = 0; i < nr; i++)
		if (vtd_regs[first + i].written)
			vtd_regs[first + i].written(vtd);
}

static_assert(offsetof(struct vtd, regs) <= 64);

static bool vtd_peek(const struct kviommu_model *model, bool all)
{
	const struct vtd *vtd = container_of_const(model, struct vtd, model);
	unsigned int i;

	if (READ_ONCE(vtd->page[VTD_IQT / 4]) !=
	    READ_ONCE(vtd->regs[VTD_IQT / 4]) ||
	    READ_ONCE(vtd->page[VTD_GCMD / 4]) != GCMD_TAKEN)
		return true;
	for (i = 0; all && i < VTD_REGS_SIZE / sizeof(u32); i++)
		if (READ_ONCE(vtd->page[i]) != vtd_page_value(vtd, i))
			return true;
	return false;
}

/*
 * In the steady state a driver writes IQT, and values that other registers keep. Set-up
 * and register-based invalidation have to be trapped, and so has every write while a
 * bit is set that a written 1 clears. A driver that has nothing but ICS.IWC to wait for may
 * clear it before each wait: if that write is not trapped, it reads its own 1.
 */
static bool vtd_pollable(const struct kviommu_model *model)
{
	const struct vtd *vtd = container_of_const(model, struct vtd, model);

	return vtd->te && !vtd->te_changed &&
	       vtd_get32(vtd, VTD_GSTS) & VTD_GSTS_QIES &&
	       !vtd_get32(vtd, VTD_FSTS) && !vtd_get32(vtd, VTD_ICS) &&
	       !vtd->held_events && !vtd->waits_for_ics;
}

static void vtd_set_polled(struct kviommu_model *model, bool on)
{
	struct vtd *vtd = to_vtd(model);
	unsigned int i;

	vtd->polled = on;
	for (i = 0; i < VTD_REGS_SIZE / sizeof(u32); i++)
		if (i == VTD_GCMD / 4 || vtd_regs[i].w1c)
			WRITE_ONCE(vtd->page[i], vtd_page_value(vtd, i));
	if (!on)
		vtd_event_raise_held(vtd);
}

/**
 * vtd_page_reset() - Show the registers in the page, and discard stores of the guest
 * @vtd: The unit
 *
 * May be called while the unit is polled, and between snapshot and commit.
 *
 * Context: under unit->lock; does not sleep.
 */
void vtd_page_reset(struct vtd *vtd)
{
	unsigned int i;

	memset(vtd->page + ARRAY_SIZE(vtd->regs), 0, SZ_4K - sizeof(vtd->regs));
	for (i = 0; i < ARRAY_SIZE(vtd->regs); i++) {
		WRITE_ONCE(vtd->page[i], vtd_page_value(vtd, i));
		vtd->snapshot[i] = vtd_page_value(vtd, i);
	}
}

const struct kviommu_regpage_ops vtd_page_ops = {
	.write = vtd_write,
	.sync = vtd_sync,
	.snapshot = vtd_snapshot,
	.commit = vtd_commit,
	.peek = vtd_peek,
	.pollable = vtd_pollable,
	.set_polled = vtd_set_polled,
};
