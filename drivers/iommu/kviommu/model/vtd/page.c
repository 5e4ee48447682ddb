// SPDX-License-Identifier: GPL-2.0-only
/*
 * The register page: what the guest stores there, trapped or polled, becomes what it
 * asks of the registers; and what it is shown.
 */
#include <linux/bitmap.h>
#include <linux/container_of.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include "vtd.h"

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
	if (likely(!(vtd->polled || vtd->snapshot_taken) || !writable(i)))
		WRITE_ONCE(vtd->page[i], now);
	else if (now != old)
		/* Unless the guest has written meanwhile: see sync_one(). */
		cmpxchg(&vtd->page[i], old, now);
	if (unlikely(vtd->snapshot_taken) && vtd->snapshot[i] == old)
		vtd->snapshot[i] = now;
}

/* The guest's store is in the page already: put there what is true. */
static void repair(struct vtd *vtd, unsigned int offset, unsigned int len)
{
	unsigned int i;

	for (i = offset / 4; i <= (offset + len - 1) / 4; i++) {
		if (i < ARRAY_SIZE(vtd->regs))
			vtd->snapshot[i] = shown(vtd, i);
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
		return vtd->snapshot[i];
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
static void vtd_sync(struct kviommu_model *model, bool all)
{
	struct vtd *vtd = to_vtd(model);

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
	sync_all(vtd, true);
}

static void vtd_write(struct kviommu_model *model, unsigned int offset,
		      const void *data, unsigned int len)
{
	struct vtd *vtd = to_vtd(model);
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
	if (vtd->polled || vtd->snapshot_taken) {
		for (i = first; i < first + nr; i++) {
			if (vtd_regs[i].rw)
				cmpxchg(&vtd->page[i], shown(vtd, i),
					val[i - first]);
			vtd->snapshot[i] = val[i - first];
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

static bool vtd_peek(const struct kviommu_model *model, bool all)
{
	const struct vtd *vtd = container_of_const(model, struct vtd, model);
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
static bool vtd_pollable(const struct kviommu_model *model)
{
	const struct vtd *vtd = container_of_const(model, struct vtd, model);

	return vtd->te && !vtd->te_changed &&
	       vtd_get32(vtd, VTD_GSTS) & VTD_GSTS_QIES &&
	       !vtd_get32(vtd, VTD_FSTS) && !vtd_get32(vtd, VTD_ICS) &&
	       !vtd->held;
}

static void vtd_set_polled(struct kviommu_model *model, bool on)
{
	struct vtd *vtd = to_vtd(model);
	unsigned int i;

	vtd->polled = on;
	for (i = 0; i < VTD_REGS_SIZE / sizeof(u32); i++)
		if (i == VTD_GCMD / 4 || vtd_regs[i].w1c)
			WRITE_ONCE(vtd->page[i], shown(vtd, i));
	if (!on)
		vtd_raise_held(vtd);
}

/**
 * vtd_page_reset() - Let the page show the registers, whatever the guest wrote
 * @vtd: The unit
 *
 * Also while it is polled, or the page is about to be taken.
 *
 * Context: under unit->lock.
 */
void vtd_page_reset(struct vtd *vtd)
{
	unsigned int i;

	memset(vtd->page + ARRAY_SIZE(vtd->regs), 0, SZ_4K - sizeof(vtd->regs));
	for (i = 0; i < ARRAY_SIZE(vtd->regs); i++) {
		WRITE_ONCE(vtd->page[i], shown(vtd, i));
		vtd->snapshot[i] = shown(vtd, i);
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
