// SPDX-License-Identifier: GPL-2.0-only
/*
 * VT-d invalidations: by descriptors in the queue, and by registers.
 */
#include <linux/bitfield.h>
#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include "vtd.h"
#include "../../base/trace.h"

/* Bytes of descriptors that are read at once */
#define VTD_FETCH_MAX	256

/* What a descriptor costs, in entries of a table */
#define DESC_COST	16

/* The bits of a requester ID that a function mask (FM) tells to ignore */
static u16 vtd_fm_mask(unsigned int fm)
{
	static const u16 masks[] = { 0, 4, 6, 7 };

	return masks[fm];
}

static int vtd_inval_context(struct vtd *vtd, const struct kviommu_work *work,
			     unsigned int gran, u16 sid, unsigned int fm)
{
	switch (gran) {
	case VTD_GRAN_GLOBAL:
	case VTD_GRAN_DOMAIN:
		/* More than requested may be invalidated: this is simpler. */
		return kviommu_rebind(vtd->model.unit, work, 0, U16_MAX, &vtd->progress);
	case VTD_GRAN_DEVICE:
		return kviommu_rebind(vtd->model.unit, work, sid, vtd_fm_mask(fm),
				      &vtd->progress);
	}
	return -EINVAL;
}

/* The granularity that an IOTLB invalidation of granularity @gran is done with */
static unsigned int vtd_iotlb_gran(const struct vtd *vtd, unsigned int gran)
{
	if (gran == VTD_GRAN_PAGE && !(vtd_get64(vtd, VTD_CAP) & VTD_CAP_PSI))
		return VTD_GRAN_DOMAIN;
	return gran;
}

static int vtd_inval_iotlb(struct vtd *vtd, const struct kviommu_work *work,
			   unsigned int gran, u16 did, u64 iva)
{
	unsigned int am = FIELD_GET(VTD_IVA_AM, iva);
	u64 first, size;
	/*
	 * With caching mode the domain-id 0 is reserved. Old versions of Xen and Linux use it
	 * for pages of any domain that were not present before.
	 */
	int domain = did ?: -1;

	switch (vtd_iotlb_gran(vtd, gran)) {
	case VTD_GRAN_GLOBAL:
		return kviommu_invalidate(vtd->model.unit, work, -1, 0, U64_MAX,
					  &vtd->progress);
	case VTD_GRAN_DOMAIN:
		return kviommu_invalidate(vtd->model.unit, work, domain, 0, U64_MAX,
					  &vtd->progress);
	case VTD_GRAN_PAGE:
		if (am > VTD_MAMV)
			return -EINVAL;
		size = 1ULL << (12 + am);
		/* Address bits from MGAW up are ignored. */
		first = iva & (BIT_ULL(vtd->mgaw) - 1) & ~(size - 1);
		return kviommu_invalidate(vtd->model.unit, work, domain, first,
					  first + size - 1, &vtd->progress);
	}
	return -EINVAL;
}

static int vtd_desc_context(struct vtd *vtd, const struct kviommu_work *work, u64 lo,
			    u64 hi)
{
	if (lo & VTD_CC_RSVD_LO || hi)
		return -EINVAL;
	return vtd_inval_context(vtd, work, FIELD_GET(VTD_DESC_GRAN, lo),
				 FIELD_GET(VTD_CC_SID, lo),
				 FIELD_GET(VTD_CC_FM, lo));
}

static int vtd_desc_iotlb(struct vtd *vtd, const struct kviommu_work *work, u64 lo,
			  u64 hi)
{
	if (lo & VTD_IOTLB_DESC_RSVD_LO || hi & VTD_IOTLB_DESC_RSVD_HI)
		return -EINVAL;
	return vtd_inval_iotlb(vtd, work, FIELD_GET(VTD_DESC_GRAN, lo),
			       FIELD_GET(VTD_IOTLB_DESC_DID, lo), hi);
}

/* When the guest sees the status, all earlier invalidations have to be complete. */
static int vtd_desc_wait(struct vtd *vtd, const struct kviommu_work *work, u64 lo,
			 u64 hi)
{
	/* Address bits from HAW up are ignored. */
	u64 addr = hi & (BIT_ULL(vtd->haw) - 1);
	u32 data = FIELD_GET(VTD_WAIT_DATA, lo);
	int ret = 0;

	if (lo & VTD_WAIT_RSVD_LO || hi & VTD_WAIT_RSVD_HI)
		return -EINVAL;
	kviommu_invalidate_complete(vtd->model.unit, work);
	if (lo & VTD_WAIT_SW)
		ret = kviommu_guest_write(vtd->model.unit, work, addr, &data,
					  sizeof(data));
	if (ret)
		return kviommu_unfinished(ret) ? ret : -EINVAL;
	if (lo & VTD_WAIT_IF) {
		vtd->waits_for_ics |= !(lo & VTD_WAIT_SW);
		vtd_inval_complete(vtd);
	}
	return 0;
}

/* For a PASID that requests cannot have there is nothing to do. */
static int vtd_desc_piotlb(struct vtd *vtd, const struct kviommu_work *work, u64 lo,
			   u64 hi)
{
	unsigned int gran = FIELD_GET(VTD_DESC_GRAN, lo), am = FIELD_GET(VTD_IVA_AM, hi);
	u32 pasid = FIELD_GET(VTD_PIOTLB_PASID, lo);
	u16 did = FIELD_GET(VTD_PIOTLB_DID, lo);
	u64 first = 0, last = U64_MAX;

	if (lo & VTD_PIOTLB_RSVD_LO || hi & VTD_PIOTLB_RSVD_HI ||
	    (gran != VTD_PIOTLB_GRAN_PASID && gran != VTD_PIOTLB_GRAN_PAGE))
		return -EINVAL;
	/* An address mask of 52 bits or more is all addresses. */
	if (gran == VTD_PIOTLB_GRAN_PAGE && am < 52) {
		last = (1ULL << (12 + am)) - 1;
		first = hi & VTD_IVA_ADDR & ~last;
		last |= first;
	}
	if (!pasid)
		return kviommu_invalidate(vtd->model.unit, work, did, first, last,
					  &vtd->progress);
	if (!(pasid >> vtd_pasid_bits(vtd)))
		kviommu_invalidate_pasid(vtd->model.unit, work, did, pasid, first, last);
	return 0;
}

static int vtd_desc_pasid_cache(struct vtd *vtd, const struct kviommu_work *work, u64 lo,
				u64 hi)
{
	u32 pasid = FIELD_GET(VTD_PC_PASID, lo);

	if (lo & VTD_PC_RSVD_LO || hi)
		return -EINVAL;
	/*
	 * An entry that was not present, or has another domain-id now, is announced as well:
	 * so all devices are looked at.
	 */
	switch (FIELD_GET(VTD_DESC_GRAN, lo)) {
	case VTD_PC_GRAN_PASID:
		if (pasid >> vtd_pasid_bits(vtd))
			return 0;
		return kviommu_rebind_pasid(vtd->model.unit, work, pasid, &vtd->progress);
	case VTD_PC_GRAN_DOMAIN:
	case VTD_PC_GRAN_GLOBAL:
		return kviommu_rebind(vtd->model.unit, work, 0, U16_MAX, &vtd->progress);
	}
	return -EINVAL;
}

static int vtd_desc_handle(struct vtd *vtd, const struct kviommu_work *work,
			   const __le64 *desc)
{
	u64 lo = le64_to_cpu(desc[0]), hi = le64_to_cpu(desc[1]);
	bool scalable = vtd_scalable(vtd);

	if (vtd_queue_wide(vtd) && (desc[2] || desc[3]))
		return -EINVAL;
	switch (lo & VTD_DESC_TYPE) {
	case VTD_DESC_PIOTLB:
		return scalable ? vtd_desc_piotlb(vtd, work, lo, hi) : -EINVAL;
	case VTD_DESC_PASID_CACHE:
		return scalable ? vtd_desc_pasid_cache(vtd, work, lo, hi) : -EINVAL;
	case VTD_DESC_CONTEXT:
		return vtd_desc_context(vtd, work, lo, hi);
	case VTD_DESC_IOTLB:
		return vtd_desc_iotlb(vtd, work, lo, hi);
	case VTD_DESC_WAIT:
		return vtd_desc_wait(vtd, work, lo, hi);
	}
	return -EINVAL;
}

/*
 * Say whether descriptors up to @tail may be read. The tail can only point to the beginning
 * of one. While RTADDR selects a translation table mode that is not supported none is valid,
 * and in scalable mode only those of 256 bits.
 */
static bool vtd_queue_valid(const struct vtd *vtd, unsigned int tail)
{
	if (tail >= vtd->iq_size || tail & (vtd->iq_desc - 1))
		return false;
	return vtd_mode_valid(vtd) && (!vtd_scalable(vtd) || vtd_queue_wide(vtd));
}

/*
 * Read descriptors up to the tail, the end of the queue or VTD_FETCH_MAX. Return: their
 * size in bytes; -EAGAIN or -EINTR if it has to be tried again; -EINVAL if they cannot be
 * read.
 */
static int vtd_queue_fetch(struct vtd *vtd, const struct kviommu_work *work,
			   __le64 *desc, unsigned int head)
{
	/* A write to IQT leaves all other bits than QT at 0. */
	unsigned int n, tail = vtd_get32(vtd, VTD_IQT);
	int ret;

	if (!vtd_queue_valid(vtd, tail))
		return -EINVAL;
	n = min_t(unsigned int, (tail > head ? tail : vtd->iq_size) - head, VTD_FETCH_MAX);
	ret = kviommu_guest_read(vtd->model.unit, work, vtd->iq_base + head, desc, n);
	if (!ret)
		return n;
	return kviommu_unfinished(ret) ? ret : -EINVAL;
}

/*
 * Handle the @n bytes of descriptors that vtd_queue_fetch() read, as many as time allows.
 * The head moves past those that were handled: on -EINVAL it stays at the invalid
 * descriptor, and on -EAGAIN or -EINTR at the one that the next step has to finish.
 */
static int vtd_queue_handle(struct vtd *vtd, const struct kviommu_work *work, __le64 *desc,
			    unsigned int n, unsigned int *head)
{
	const __le64 *end = desc + n / sizeof(*desc);
	unsigned int nr = 0;
	int ret = 0;

	/* Its progress belongs to what was read first. */
	if (unlikely(vtd->half_done)) {
		memcpy(desc, vtd->latched, vtd->iq_desc);
		vtd->half_done = false;
	}

	for (; desc < end && !(nr && kviommu_time_up(work));
	     desc += vtd->iq_desc / sizeof(*desc)) {
		/* Those that there is nothing to do for take time, too. */
		kviommu_work_spend(work, DESC_COST);
		ret = vtd_desc_handle(vtd, work, desc);
		if (kviommu_unfinished(ret)) {
			memcpy(vtd->latched, desc, vtd->iq_desc);
			vtd->half_done = true;
			break;
		}
		trace_kviommu_descriptor(vtd->model.unit->id, le64_to_cpu(desc[0]),
					 le64_to_cpu(desc[1]), ret);
		if (ret)
			break;
		*head = (*head + vtd->iq_desc) & (vtd->iq_size - 1);
		nr++;
	}
	if (nr) {
		kviommu_count(vtd->model.unit, descriptors, nr);
		kviommu_count(vtd->model.unit, batches, 1);
	}
	return ret;
}

/* Read and handle descriptors from @head on, of VTD_FETCH_MAX bytes at most. */
static int vtd_queue_batch(struct vtd *vtd, const struct kviommu_work *work,
			   unsigned int *head)
{
	__le64 desc[VTD_FETCH_MAX / sizeof(__le64)];
	int ret;

	ret = vtd_queue_fetch(vtd, work, desc, *head);
	if (ret > 0)
		ret = vtd_queue_handle(vtd, work, desc, ret, head);
	return ret;
}

/**
 * vtd_queue_run() - Handle the descriptors of the queue, as many as time allows
 * @vtd: The unit
 * @work: The piece of work that this is part of
 *
 * An invalid descriptor sets FSTS.IQE, and the queue stops until the guest clears it.
 *
 * Context: process context, may sleep if @work may wait; under unit->lock and map_lock,
 * which may be dropped and taken again.
 */
void vtd_queue_run(struct vtd *vtd, const struct kviommu_work *work)
{
	unsigned int head = vtd_get32(vtd, VTD_IQH);
	int ret;

	do
		ret = vtd_queue_batch(vtd, work, &head);
	while (!ret && head != vtd_get32(vtd, VTD_IQT) && !kviommu_time_up(work));
	/* Not every queue ends with a wait descriptor, which would do this. */
	kviommu_invalidate_complete(vtd->model.unit, work);
	vtd_set32(vtd, VTD_IQH, head);
	/* After -EAGAIN or -EINTR the next step goes on. */
	if (ret == -EINVAL) {
		vtd_inval_forget(vtd);
		vtd_queue_error(vtd);
	}
}

/**
 * vtd_inval_forget() - Forget the invalidation that the last step did not finish
 * @vtd: The unit
 *
 * Context: under unit->lock; does not sleep.
 */
void vtd_inval_forget(struct vtd *vtd)
{
	vtd->half_done = false;
	vtd->progress = (struct kviommu_progress){};
}

/* The queue starts with its first descriptor, and none is half done. */
static void vtd_queue_rewind(struct vtd *vtd)
{
	vtd_inval_forget(vtd);
	vtd_set32(vtd, VTD_IQH, 0);
}

/**
 * vtd_queue_enable() - Turn on the queue, because the guest set GCMD.QIE
 * @vtd: The unit
 *
 * Context: under unit->lock; does not sleep.
 */
void vtd_queue_enable(struct vtd *vtd)
{
	u64 iqa = vtd_get64(vtd, VTD_IQA);

	vtd->iq_base = iqa & VTD_IQA_IQA;
	vtd->iq_size = SZ_4K << FIELD_GET(VTD_IQA_QS, iqa);
	vtd->iq_desc = iqa & VTD_IQA_DW ? 32 : 16;
	/* It may be another driver by now. */
	vtd->waits_for_ics = false;
	vtd_queue_rewind(vtd);
	vtd_set32(vtd, VTD_GSTS, vtd_get32(vtd, VTD_GSTS) | VTD_GSTS_QIES);
}

/**
 * vtd_queue_disable() - Turn off the queue, because the guest cleared GCMD.QIE
 * @vtd: The unit
 *
 * Context: under unit->lock; does not sleep.
 */
void vtd_queue_disable(struct vtd *vtd)
{
	vtd_queue_rewind(vtd);
	vtd_set32(vtd, VTD_GSTS, vtd_get32(vtd, VTD_GSTS) & ~VTD_GSTS_QIES);
}

/*
 * Software must not use register-based invalidation while the queue is on, nor in other
 * modes than legacy. An actual granularity of 0 reports that a request was ignored.
 */
static bool vtd_inval_refused(struct vtd *vtd)
{
	return vtd_get32(vtd, VTD_GSTS) & VTD_GSTS_QIES ||
	       vtd->root & VTD_RTADDR_TTM;
}

/* Do what CCMD.ICC requests. Return: false if the next step has to go on with it. */
static bool vtd_ccmd_run(struct vtd *vtd, const struct kviommu_work *work)
{
	u64 ccmd = vtd_get64(vtd, VTD_CCMD);
	unsigned int gran = FIELD_GET(VTD_CCMD_CIRG, ccmd);
	int ret = -EINVAL;

	if (!vtd_inval_refused(vtd))
		ret = vtd_inval_context(vtd, work, gran, FIELD_GET(VTD_CCMD_SID, ccmd),
					FIELD_GET(VTD_CCMD_FM, ccmd));
	if (kviommu_unfinished(ret))
		return false;
	vtd_inval_forget(vtd);
	if (ret)
		gran = 0;
	/* vtd_inval_context() did a global invalidation. */
	if (gran == VTD_GRAN_DOMAIN)
		gran = VTD_GRAN_GLOBAL;
	ccmd &= ~(VTD_CCMD_ICC | VTD_CCMD_CAIG);
	vtd_set64(vtd, VTD_CCMD, ccmd | FIELD_PREP(VTD_CCMD_CAIG, gran));
	return true;
}

/* Do what IOTLB.IVT requests. Return: false if the next step has to go on with it. */
static bool vtd_iotlb_run(struct vtd *vtd, const struct kviommu_work *work)
{
	u64 iotlb = vtd_get64(vtd, VTD_IOTLB);
	unsigned int gran = FIELD_GET(VTD_IOTLB_IIRG, iotlb);
	int ret = -EINVAL;

	if (!vtd_inval_refused(vtd))
		ret = vtd_inval_iotlb(vtd, work, gran, FIELD_GET(VTD_IOTLB_DID, iotlb),
				      vtd_get64(vtd, VTD_IVA));
	kviommu_invalidate_complete(vtd->model.unit, work);
	if (kviommu_unfinished(ret))
		return false;
	vtd_inval_forget(vtd);
	iotlb &= ~(VTD_IOTLB_IVT | VTD_IOTLB_IAIG);
	gran = ret ? 0 : vtd_iotlb_gran(vtd, gran);
	vtd_set64(vtd, VTD_IOTLB, iotlb | FIELD_PREP(VTD_IOTLB_IAIG, gran));
	return true;
}

/**
 * vtd_inval_run() - Do the register-based invalidations that the guest requested
 * @vtd: The unit
 * @work: The piece of work that this is part of
 *
 * Context: process context, may sleep if @work may wait; under unit->lock and map_lock,
 * which may be dropped and taken again.
 * Return: false if the next step has to go on with it.
 */
bool vtd_inval_run(struct vtd *vtd, const struct kviommu_work *work)
{
	if (vtd_get64(vtd, VTD_CCMD) & VTD_CCMD_ICC && !vtd_ccmd_run(vtd, work))
		return false;
	return !(vtd_get64(vtd, VTD_IOTLB) & VTD_IOTLB_IVT) || vtd_iotlb_run(vtd, work);
}
