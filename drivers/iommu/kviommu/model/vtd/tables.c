// SPDX-License-Identifier: GPL-2.0-only
/*
 * VT-d root, context and second-level paging entries of legacy mode.
 */
#include <linux/bitfield.h>
#include <linux/bits.h>

#include "vtd.h"

/* Bits of an address that the guest's physical addresses do not have. */
static u64 beyond_haw(const struct vtd *vtd)
{
	return ~(BIT_ULL(vtd->haw) - 1);
}

/* 1: present; 0: not; -1: wrong, and *reason says how. */
static int read_root(struct vtd *vtd, const struct kviommu_work *work, u16 sid,
		     u64 *ctp, u8 *reason)
{
	u64 addr = (vtd->root & VTD_RTADDR_RTA) + (sid >> 8) *
		   sizeof(struct vtd_entry);
	struct vtd_entry root;
	u64 lo;

	/* Other modes than legacy are not in the capabilities. */
	*reason = VTD_FR_ROOT_MODE;
	if (vtd->root & VTD_RTADDR_TTM)
		return -1;
	*reason = VTD_FR_ROOT_TABLE_ACCESS;
	if (kviommu_guest_read(vtd->model.unit, work, addr, &root, sizeof(root)))
		return -1;
	lo = le64_to_cpu(root.lo);
	if (!(lo & VTD_ROOT_P))
		return 0;
	*reason = VTD_FR_ROOT_RSVD;
	if (lo & (VTD_ROOT_RSVD | beyond_haw(vtd)) || root.hi)
		return -1;
	*ctp = lo & VTD_ROOT_CTP;
	return 1;
}

/* As read_root(), for the context entry in *lo and *hi. */
static int read_context(struct vtd *vtd, const struct kviommu_work *work, u16 sid,
			u64 *lo, u64 *hi, u8 *reason)
{
	struct vtd_entry ctx;
	unsigned int levels;
	u64 ctp;
	int ret;

	ret = read_root(vtd, work, sid, &ctp, reason);
	if (ret <= 0)
		return ret;
	*reason = VTD_FR_CONTEXT_TABLE_ACCESS;
	if (kviommu_guest_read(vtd->model.unit, work, ctp + (sid & 0xff) * sizeof(ctx),
			       &ctx, sizeof(ctx)))
		return -1;
	*lo = le64_to_cpu(ctx.lo);
	*hi = le64_to_cpu(ctx.hi);
	if (!(*lo & VTD_CTX_P))
		return 0;
	*reason = VTD_FR_CONTEXT_RSVD;
	if (*lo & VTD_CTX_RSVD_LO || *hi & VTD_CTX_RSVD_HI)
		return -1;
	/* Pass-through ignores the pointer to the tables. */
	if (FIELD_GET(VTD_CTX_TT, *lo) == VTD_TT_UNTRANSLATED &&
	    *lo & VTD_CTX_SLPTPTR & beyond_haw(vtd))
		return -1;
	/* The width has to be one of SAGAW, for pass-through too. */
	*reason = VTD_FR_CONTEXT_INVALID;
	levels = FIELD_GET(VTD_CTX_AW, *hi) + 2;
	if (levels < 3 || levels > vtd->levels_max)
		return -1;
	return 1;
}

/* As vtd_resolve(), but without a fault. Return: the reason of one, or 0. */
static u8 resolve(struct vtd *vtd, const struct kviommu_work *work, u16 source_id,
		  struct kviommu_binding *b)
{
	u64 lo = 0, hi = 0;
	u8 reason;
	int ret;

	if (!vtd->te) {
		if (vtd->boot_identity)
			b->type = KVIOMMU_BIND_IDENTITY;
		return 0;
	}
	ret = read_context(vtd, work, source_id, &lo, &hi, &reason);
	if (!ret)
		return 0;
	if (ret < 0)
		goto fault;

	switch (FIELD_GET(VTD_CTX_TT, lo)) {
	case VTD_TT_PASS_THROUGH:
		/* Else it is reserved. */
		if (!(vtd_get64(vtd, VTD_ECAP) & VTD_ECAP_PT))
			break;
		b->type = KVIOMMU_BIND_IDENTITY;
		return 0;
	case VTD_TT_UNTRANSLATED:
		b->type = KVIOMMU_BIND_DOMAIN;
		b->did = FIELD_GET(VTD_CTX_DID, hi);
		b->levels = FIELD_GET(VTD_CTX_AW, hi) + 2;
		b->root = lo & VTD_CTX_SLPTPTR;
		b->source = &vtd->source;
		b->quiet = lo & VTD_CTX_FPD;
		return 0;
	}
	reason = VTD_FR_CONTEXT_INVALID;
fault:
	return lo & VTD_CTX_FPD ? 0 : reason;
}

/**
 * vtd_resolve() - Say what the guest wants for a device
 * @model: The model
 * @work: The piece of work that this is part of
 * @id: Requester ID
 * @b: What its DMA is to go through; and what it was before
 *
 * An entry that is not present is no fault before the device makes a request,
 * which only the physical IOMMU sees. One that is wrong is reported when it is
 * found, for there will be no other occasion; once, until it changes.
 *
 * Context: under unit->lock and map_lock.
 */
void vtd_resolve(struct kviommu_model *model, const struct kviommu_work *work, u32 id,
		 struct kviommu_binding *b)
{
	u8 before = b->fault;

	*b = (struct kviommu_binding){ KVIOMMU_BIND_BLOCKED };
	b->fault = resolve(to_vtd(model), work, id, b);
	if (b->fault && b->fault != before)
		vtd_record_fault(to_vtd(model), id, 0, b->fault);
}

/**
 * vtd_decode() - Decode a second-level paging entry
 * @source: The source
 * @val: The entry
 * @level: Of the table it stands in; 1 is the last
 * @e: What it says
 */
void vtd_decode(const struct kviommu_source *source, u64 val, unsigned int level,
		struct kviommu_entry *e)
{
	const struct vtd *vtd = container_of(source, struct vtd, source);
	/* No snoop control and no device-TLB: their bits are reserved. */
	u64 rsvd = VTD_SL_SNP | VTD_SL_TM | (VTD_SL_ADDR & beyond_haw(vtd));

	*e = (struct kviommu_entry){};
	if (!(val & (VTD_SL_R | VTD_SL_W)))
		return;
	e->leaf = level == 1 || val & VTD_SL_PS;
	if (!(vtd->large & BIT(level)))
		rsvd |= VTD_SL_PS;
	else if (e->leaf)
		rsvd |= VTD_SL_ADDR & (BIT_ULL(12 + 9 * (level - 1)) - 1);
	if (val & rsvd) {
		e->fault = KVIOMMU_FAULT_ENTRY;
		return;
	}
	if (val & VTD_SL_R)
		e->prot |= KVIOMMU_READ;
	if (val & VTD_SL_W)
		e->prot |= KVIOMMU_WRITE;
	e->addr = val & VTD_SL_ADDR;
}
