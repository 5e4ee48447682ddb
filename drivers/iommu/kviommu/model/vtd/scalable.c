// SPDX-License-Identifier: GPL-2.0-only
/*
 * VT-d root, context, PASID directory and PASID table entries of scalable mode.
 */
#include <linux/bitfield.h>
#include <linux/bits.h>
#include <linux/errno.h>

#include "vtd.h"

/**
 * struct sm_walk - A walk from the root entry of a device to a PASID table entry
 * @vtd: The unit
 * @work: The piece of work that the walk is part of
 * @sid: Requester ID of the device
 * @pasid: The PASID. Requests without are translated as if they had PASID 0: the field
 *         RID_PASID of a context entry is reserved, as ECAP.RPS is not reported.
 * @reason: Why the walk ended with a fault
 * @quiet: An entry on the way has its fault processing disable bit set
 */
struct sm_walk {
	struct vtd *vtd;
	const struct kviommu_work *work;
	u16 sid;
	u32 pasid;
	u8 reason;
	bool quiet;
};

/*
 * Read an entry. All are at least as large as 64 bits, and the present bit of each is bit
 * 0. Return: 1 if present; 0 if not; -EINVAL if it cannot be read, which is @reason;
 * -EAGAIN or -EINTR if it has to be read again.
 */
static int sm_read(struct sm_walk *w, u64 addr, __le64 *entry, unsigned int size,
		   u8 reason)
{
	int ret = kviommu_guest_read(w->vtd->model.unit, w->work, addr, entry, size);

	w->reason = reason;
	if (ret)
		return kviommu_unfinished(ret) ? ret : -EINVAL;
	return le64_to_cpu(entry[0]) & 1;
}

/* Return: true, with w->reason, if any of the reserved bits is set. */
static bool sm_reserved(struct sm_walk *w, u64 bits, u8 reason)
{
	w->reason = reason;
	return bits;
}

/* Read a scalable-mode root entry. Return: as sm_read(). */
static int sm_root_read(struct sm_walk *w, u64 *context_table)
{
	/* The upper half of the entry is for devices from 16 on. */
	u64 addr = (w->vtd->root & VTD_RTADDR_RTA) + (w->sid >> 8) * 16 +
		   (w->sid & 0x80 ? 8 : 0);
	__le64 entry;
	u64 val;
	int ret;

	ret = sm_read(w, addr, &entry, sizeof(entry), VTD_FR_SM_ROOT_ACCESS);
	if (ret <= 0)
		return ret;
	val = le64_to_cpu(entry);
	if (sm_reserved(w, val & (VTD_ROOT_RSVD | vtd_beyond_haw(w->vtd)),
			VTD_FR_SM_ROOT_RSVD))
		return -EINVAL;
	*context_table = val & VTD_ROOT_CTP;
	return 1;
}

/* Check whether requests with the walk's PASID are translated, if a context entry is @val. */
static bool sm_context_has_pasid(const struct sm_walk *w, u64 val)
{
	/* Requests without PASID are, with any PDTS: entry 0 of the directory is there. */
	if (!w->pasid)
		return true;
	/* The directory has 2^(PDTS + 7) entries, each of which leads to 64 PASIDs. */
	return val & VTD_SM_CTX_PASIDE && !(w->pasid >> vtd_pasid_bits(w->vtd)) &&
	       !(w->pasid >> (FIELD_GET(VTD_SM_CTX_PDTS, val) + 7 + 6));
}

/*
 * Read a scalable-mode context entry. Return: as sm_read(); also 0 if it has no place for the
 * walk's PASID.
 */
static int sm_context_read(struct sm_walk *w, u64 *directory)
{
	u64 table, val, rsvd = VTD_SM_CTX_RSVD;
	__le64 entry[4];
	int ret;

	if (!vtd_pasid_bits(w->vtd))
		rsvd |= VTD_SM_CTX_PASIDE;
	ret = sm_root_read(w, &table);
	if (ret <= 0)
		return ret;
	ret = sm_read(w, table + (w->sid & 0x7f) * sizeof(entry), entry, sizeof(entry),
		      VTD_FR_SM_CONTEXT_ACCESS);
	if (ret < 0)
		return ret;
	val = le64_to_cpu(entry[0]);
	w->quiet = val & VTD_SM_CTX_FPD;
	if (!ret)
		return 0;
	if (sm_reserved(w, (val & (rsvd | vtd_beyond_haw(w->vtd))) ||
			entry[1] || entry[2] || entry[3], VTD_FR_SM_CONTEXT_RSVD))
		return -EINVAL;
	*directory = val & VTD_SM_CTX_PASIDDIRPTR;
	return sm_context_has_pasid(w, val);
}

/* Read a scalable-mode PASID table entry. Return: as sm_read(). */
static int sm_pasid_read(struct sm_walk *w, u64 val[8])
{
	u64 directory, pde;
	unsigned int i;
	__le64 pte[8];
	int ret;

	ret = sm_context_read(w, &directory);
	if (ret <= 0)
		return ret;
	ret = sm_read(w, directory + (w->pasid >> 6) * sizeof(u64), pte, sizeof(u64),
		      VTD_FR_SM_DIRECTORY_ACCESS);
	if (ret < 0)
		return ret;
	pde = le64_to_cpu(pte[0]);
	w->quiet |= !!(pde & VTD_PDE_FPD);
	if (!ret)
		return 0;
	if (sm_reserved(w, pde & (VTD_PDE_RSVD | vtd_beyond_haw(w->vtd)),
			VTD_FR_SM_DIRECTORY_RSVD))
		return -EINVAL;
	ret = sm_read(w, (pde & VTD_PDE_SMPTBLPTR) + (w->pasid & 0x3f) * sizeof(pte),
		      pte, sizeof(pte), VTD_FR_SM_PASID_ACCESS);
	if (ret < 0)
		return ret;
	for (i = 0; i < 8; i++)
		val[i] = le64_to_cpu(pte[i]);
	w->quiet |= !!(val[0] & VTD_PTE_FPD);
	return ret;
}

/* Return: true, with w->reason, if a present PASID table entry has reserved bits set. */
static bool sm_pasid_reserved(struct sm_walk *w, const u64 val[8])
{
	u64 ecap = vtd_get64(w->vtd, VTD_ECAP);
	u64 rsvd = VTD_PTE_RSVD1;

	if (!(ecap & VTD_ECAP_SMPWCS))
		rsvd |= VTD_PTE_PWSNP;
	if (!(ecap & VTD_ECAP_SC))
		rsvd |= VTD_PTE_PGSNP;
	return sm_reserved(w, (val[0] & VTD_PTE_RSVD0) || (val[1] & rsvd) ||
			   (val[2] & VTD_PTE_RSVD2) || val[3] || val[4] || val[5] ||
			   val[6] || val[7], VTD_FR_SM_PASID_RSVD);
}

/* Fill in what a valid PASID table entry selects. Return: 0 or the reason of a fault. */
static u8 sm_select(struct sm_walk *w, const u64 val[8], struct kviommu_binding *b)
{
	u64 cap = vtd_get64(w->vtd, VTD_CAP), ecap = vtd_get64(w->vtd, VTD_ECAP);

	switch (FIELD_GET(VTD_PTE_PGTT, val[0])) {
	case VTD_PGTT_PASS_THROUGH:
		if (!(ecap & VTD_ECAP_PT))
			break;
		/* VFIO puts only requests without PASID into the IOAS: others need a binding. */
		b->type = w->pasid ? KVIOMMU_BIND_NESTED : KVIOMMU_BIND_IDENTITY;
		return 0;
	case VTD_PGTT_FIRST_STAGE:
		if (val[2] & VTD_PTE_FSPTPTR & vtd_beyond_haw(w->vtd))
			return VTD_FR_SM_PASID_RSVD;
		switch (FIELD_GET(VTD_PTE_FSPM, val[2])) {
		case VTD_FSPM_4_LEVEL:
			b->levels = 4;
			break;
		case VTD_FSPM_5_LEVEL:
			b->levels = 5;
			if (cap & VTD_CAP_FS5LP)
				break;
			fallthrough;
		default:
			return VTD_FR_SM_PASID_INVALID;
		}
		b->type = KVIOMMU_BIND_NESTED;
		b->did = FIELD_GET(VTD_PTE_DID, val[1]);
		b->root = val[2] & VTD_PTE_FSPTPTR;
		return 0;
	}
	return VTD_FR_SM_PASID_INVALID;
}

/**
 * vtd_sm_binding_read() - Read the binding of a device in scalable mode
 * @vtd: The unit, in scalable mode
 * @work: The piece of work that this is part of
 * @source_id: Requester ID of the device
 * @pasid: PASID of the requests that it is for; 0 if these have none
 * @b: The binding to fill in; it is that of a blocked device
 *
 * Context: process context, may sleep if @work may wait; under unit->lock and map_lock.
 * Return: 0, also for an entry that is not present; the reason of a fault; -EAGAIN or
 * -EINTR if it has to be read again.
 */
int vtd_sm_binding_read(struct vtd *vtd, const struct kviommu_work *work, u16 source_id,
			u32 pasid, struct kviommu_binding *b)
{
	struct sm_walk w = { .vtd = vtd, .work = work, .sid = source_id, .pasid = pasid };
	struct kviommu_binding selected = *b;
	u64 val[8];
	int ret;

	ret = sm_pasid_read(&w, val);
	b->quiet = w.quiet;
	if (!ret || kviommu_unfinished(ret))
		return ret;
	if (ret < 0 || sm_pasid_reserved(&w, val))
		return w.reason;
	selected.quiet = w.quiet;
	w.reason = sm_select(&w, val, &selected);
	if (!w.reason)
		*b = selected;
	return w.reason;
}
