// SPDX-License-Identifier: GPL-2.0-only
/*
 * VT-d root, context and second-level paging entries of legacy mode, and the binding of a
 * device in either mode.
 */
#include <linux/bitfield.h>
#include <linux/bits.h>
#include <linux/errno.h>

#include "vtd.h"

/*
 * Read a root entry. Return: 1 if present; 0 if not; -EINVAL for a fault, with its reason;
 * -EAGAIN or -EINTR if it has to be read again.
 */
static int vtd_root_read(struct vtd *vtd, const struct kviommu_work *work, u16 sid,
			 u64 *ctp, u8 *reason)
{
	u64 addr = (vtd->root & VTD_RTADDR_RTA) + (sid >> 8) *
		   sizeof(struct vtd_entry);
	struct vtd_entry root;
	u64 lo;
	int ret;

	*reason = VTD_FR_ROOT_TABLE_ACCESS;
	ret = kviommu_guest_read(vtd->model.unit, work, addr, &root, sizeof(root));
	if (ret)
		return kviommu_unfinished(ret) ? ret : -EINVAL;
	lo = le64_to_cpu(root.lo);
	if (!(lo & VTD_ROOT_P))
		return 0;
	*reason = VTD_FR_ROOT_RSVD;
	if (lo & (VTD_ROOT_RSVD | vtd_beyond_haw(vtd)) || root.hi)
		return -EINVAL;
	*ctp = lo & VTD_ROOT_CTP;
	return 1;
}

/* Read a context entry into *lo and *hi. Return: as vtd_root_read(). */
static int vtd_context_read(struct vtd *vtd, const struct kviommu_work *work, u16 sid,
			    u64 *lo, u64 *hi, u8 *reason)
{
	struct vtd_entry ctx;
	unsigned int levels;
	u64 ctp;
	int ret;

	ret = vtd_root_read(vtd, work, sid, &ctp, reason);
	if (ret <= 0)
		return ret;
	*reason = VTD_FR_CONTEXT_TABLE_ACCESS;
	ret = kviommu_guest_read(vtd->model.unit, work, ctp + (sid & 0xff) * sizeof(ctx),
				 &ctx, sizeof(ctx));
	if (ret)
		return kviommu_unfinished(ret) ? ret : -EINVAL;
	*lo = le64_to_cpu(ctx.lo);
	*hi = le64_to_cpu(ctx.hi);
	if (!(*lo & VTD_CTX_P))
		return 0;
	*reason = VTD_FR_CONTEXT_RSVD;
	if (*lo & VTD_CTX_RSVD_LO || *hi & VTD_CTX_RSVD_HI)
		return -EINVAL;
	/* With pass-through SLPTPTR is ignored. */
	if (FIELD_GET(VTD_CTX_TT, *lo) == VTD_TT_UNTRANSLATED &&
	    *lo & VTD_CTX_SLPTPTR & vtd_beyond_haw(vtd))
		return -EINVAL;
	/* AW has to select a width of SAGAW, even with pass-through. */
	*reason = VTD_FR_CONTEXT_INVALID;
	levels = FIELD_GET(VTD_CTX_AW, *hi) + 2;
	if (levels < 3 || levels > vtd->levels_max)
		return -EINVAL;
	return 1;
}

/*
 * Read the binding of a device or of one of its PASIDs. Return: 0; the reason of a fault;
 * -EAGAIN or -EINTR if it has to be read again.
 */
static int vtd_binding_read(struct vtd *vtd, const struct kviommu_work *work,
			    u16 source_id, u32 pasid, struct kviommu_binding *b)
{
	u64 lo = 0, hi = 0;
	u8 reason;
	int ret;

	if (!vtd->te) {
		b->off = true;
		if (vtd->boot_identity && !pasid)
			b->type = KVIOMMU_BIND_IDENTITY;
		return 0;
	}
	/* In other modes requests with PASID are blocked. */
	if (pasid && !vtd_scalable(vtd))
		return 0;
	if (!vtd_mode_valid(vtd))
		return VTD_FR_ROOT_MODE;
	if (vtd_scalable(vtd))
		return vtd_sm_binding_read(vtd, work, source_id, pasid, b);
	ret = vtd_context_read(vtd, work, source_id, &lo, &hi, &reason);
	if (!ret || kviommu_unfinished(ret))
		return ret;
	if (ret < 0)
		goto fault;

	switch (FIELD_GET(VTD_CTX_TT, lo)) {
	case VTD_TT_PASS_THROUGH:
		/* Without ECAP.PT this translation type is reserved. */
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
	b->quiet = lo & VTD_CTX_FPD;
	return reason;
}

/**
 * vtd_resolve() - Resolve the binding that the guest wants for a device
 * @model: The model
 * @work: The piece of work that this is part of
 * @id: Requester ID of the device
 * @pasid: PASID of the requests that it is for; 0 if these have none
 * @b: The binding of these, which is replaced by the new one
 *
 * An entry that is not present causes no fault before the device makes a request,
 * which only the physical IOMMU sees. An invalid entry is reported when it is read,
 * for there will be no other occasion; but not again with the same fault reason, and not
 * if its fault processing disable bit is set.
 *
 * Context: process context, may sleep if @work may wait; under unit->lock and map_lock.
 * Return: 0; -EAGAIN or -EINTR if the tables have to be read again, with @b as it was.
 */
int vtd_resolve(struct kviommu_model *model, const struct kviommu_work *work, u32 id,
		u32 pasid, struct kviommu_binding *b)
{
	struct kviommu_binding new = { KVIOMMU_BIND_BLOCKED };
	u8 before = b->quiet ? 0 : b->fault;
	int ret;

	ret = vtd_binding_read(to_vtd(model), work, id, pasid, &new);
	if (ret < 0)
		return ret;
	new.fault = ret;
	*b = new;
	if (b->fault && b->fault != before && !b->quiet)
		vtd_record_fault(to_vtd(model), id, pasid, 0, b->fault);
	return 0;
}

/**
 * vtd_decode() - Decode a second-level paging entry
 * @source: The source of the entry
 * @val: The entry as it stands in guest memory
 * @level: Level of the table with the entry; 1 is the last
 * @e: The decoded entry
 *
 * Context: under map_lock; does not sleep.
 */
void vtd_decode(const struct kviommu_source *source, u64 val, unsigned int level,
		struct kviommu_entry *e)
{
	const struct vtd *vtd = container_of(source, struct vtd, source);
	u64 rsvd = vtd->sl_rsvd;

	*e = (struct kviommu_entry){};
	if (!(val & (VTD_SL_R | VTD_SL_W)))
		return;
	e->leaf = level == 1 || val & VTD_SL_PS;
	if (!(vtd->leaf_levels & BIT(level)))
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
