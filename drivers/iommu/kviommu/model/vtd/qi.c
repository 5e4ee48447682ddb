// SPDX-License-Identifier: GPL-2.0-only
/*
 * VT-d invalidations: through the queue, and through registers.
 */
#include <linux/bitfield.h>
#include <linux/errno.h>
#include <linux/minmax.h>

#include "vtd.h"
#include "../../base/trace.h"

#define FETCH		16	/* descriptors read at once */

/* Bits of the function number that FM says do not matter. */
static u16 fm_mask(unsigned int fm)
{
	static const u16 masks[] = { 0, 4, 6, 7 };

	return masks[fm];
}

static int inval_context(struct vtd *vtd, const struct kviommu_work *work,
			 unsigned int gran, u16 sid, unsigned int fm)
{
	switch (gran) {
	case VTD_GRAN_GLOBAL:
	case VTD_GRAN_DOMAIN:
		/* A unit may drop more than it is told to. */
		return kviommu_rebind(vtd->model.unit, work, 0, U16_MAX);
	case VTD_GRAN_DEVICE:
		return kviommu_rebind(vtd->model.unit, work, sid, fm_mask(fm));
	}
	return -EINVAL;
}

/* What is done of an IOTLB invalidation that asks for @gran */
static unsigned int iotlb_gran(const struct vtd *vtd, unsigned int gran)
{
	if (gran == VTD_GRAN_PAGE && !(vtd_get64(vtd, VTD_CAP) & VTD_CAP_PSI))
		return VTD_GRAN_DOMAIN;
	return gran;
}

static int inval_iotlb(struct vtd *vtd, const struct kviommu_work *work,
		       unsigned int gran, u16 did, u64 iva)
{
	unsigned int am = FIELD_GET(VTD_IVA_AM, iva);
	u64 first, size;

	switch (iotlb_gran(vtd, gran)) {
	case VTD_GRAN_GLOBAL:
		return kviommu_invalidate(vtd->model.unit, work, -1, 0, U64_MAX,
					  &vtd->progress);
	case VTD_GRAN_DOMAIN:
		return kviommu_invalidate(vtd->model.unit, work, did, 0, U64_MAX,
					  &vtd->progress);
	case VTD_GRAN_PAGE:
		if (am > VTD_MAMV)
			return -EINVAL;
		size = 1ULL << (12 + am);
		/* Bits from MGAW on are ignored. */
		first = iva & (BIT_ULL(vtd->mgaw) - 1) & ~(size - 1);
		return kviommu_invalidate(vtd->model.unit, work, did, first,
					  first + size - 1, &vtd->progress);
	}
	return -EINVAL;
}

static int desc_context(struct vtd *vtd, const struct kviommu_work *work, u64 lo,
			 u64 hi)
{
	if (lo & VTD_CC_RSVD_LO || hi)
		return -EINVAL;
	return inval_context(vtd, work, FIELD_GET(VTD_DESC_GRAN, lo),
			     FIELD_GET(VTD_CC_SID, lo),
			     FIELD_GET(VTD_CC_FM, lo));
}

static int desc_iotlb(struct vtd *vtd, const struct kviommu_work *work, u64 lo,
		      u64 hi)
{
	if (lo & VTD_IOTLB_DESC_RSVD_LO || hi & VTD_IOTLB_DESC_RSVD_HI)
		return -EINVAL;
	return inval_iotlb(vtd, work, FIELD_GET(VTD_DESC_GRAN, lo),
			   FIELD_GET(VTD_IOTLB_DESC_DID, lo), hi);
}

/* All that came before is complete once the guest sees the status. */
static int desc_wait(struct vtd *vtd, const struct kviommu_work *work, u64 lo,
		     u64 hi)
{
	/* Address bits from HAW on are ignored. */
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
		return ret == -EAGAIN ? ret : -EINVAL;
	if (lo & VTD_WAIT_IF)
		vtd_inval_complete(vtd);
	return 0;
}

static int handle(struct vtd *vtd, const struct kviommu_work *work, u64 lo,
		  u64 hi)
{
	/*
	 * The translation table mode of the root table has to be valid, which
	 * here is legacy. Types beyond 4 bits are of scalable mode.
	 */
	if (vtd->root & VTD_RTADDR_TTM || FIELD_GET(VTD_DESC_TYPE_HI, lo))
		return -EINVAL;
	switch (FIELD_GET(VTD_DESC_TYPE, lo)) {
	case VTD_DESC_CONTEXT:
		return desc_context(vtd, work, lo, hi);
	case VTD_DESC_IOTLB:
		return desc_iotlb(vtd, work, lo, hi);
	case VTD_DESC_WAIT:
		return desc_wait(vtd, work, lo, hi);
	}
	return -EINVAL;
}

/* Read descriptors up to the tail or the end of the queue. */
static int fetch(struct vtd *vtd, const struct kviommu_work *work,
		 struct vtd_entry *desc, unsigned int tail)
{
	unsigned int end = tail > vtd->iq_head ? tail : vtd->iq_size;
	unsigned int n = min_t(unsigned int, end - vtd->iq_head, FETCH);
	int ret;

	ret = kviommu_guest_read(vtd->model.unit, work, vtd->iq_base +
				 vtd->iq_head * sizeof(*desc), desc,
				 n * sizeof(*desc));
	return !ret ? n : ret == -EINTR || ret == -EAGAIN ? ret : -EINVAL;
}

/*
 * Handle what fetch() read, or as much of it as time allows. The head moves past
 * what was handled: on an error it stays at the descriptor that is wrong, and on
 * -EAGAIN at the one that the next step has to finish.
 */
static int handle_all(struct vtd *vtd, const struct kviommu_work *work,
		      const struct vtd_entry *desc, unsigned int n)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < n && !(i && kviommu_time_up(work)); i++) {
		u64 lo = le64_to_cpu(desc[i].lo), hi = le64_to_cpu(desc[i].hi);

		ret = handle(vtd, work, lo, hi);
		if (ret == -EAGAIN)
			break;
		trace_kviommu_descriptor(vtd->model.unit->id, lo, hi, ret);
		if (ret)
			break;
		vtd->iq_head = (vtd->iq_head + 1) & (vtd->iq_size - 1);
	}
	if (i) {
		kviommu_count(vtd->model.unit, descriptors, i);
		kviommu_count(vtd->model.unit, batches, 1);
	}
	return ret;
}

static unsigned int queue_tail(const struct vtd *vtd)
{
	return FIELD_GET(VTD_IQT_QT, vtd_get64(vtd, VTD_IQT));
}

/**
 * vtd_queue_pending() - Say whether there are descriptors to handle
 * @vtd: The unit
 *
 * Return: true if so.
 */
bool vtd_queue_pending(const struct vtd *vtd)
{
	return vtd_get32(vtd, VTD_GSTS) & VTD_GSTS_QIES &&
	       !(vtd_get32(vtd, VTD_FSTS) & VTD_FSTS_IQE) &&
	       vtd->iq_head != queue_tail(vtd);
}

/**
 * vtd_queue_run() - Handle what stands in the queue, up to a number
 * @vtd: The unit
 * @work: The piece of work that this is part of
 *
 * A descriptor that is wrong sets FSTS.IQE, and the queue stands still until
 * the guest clears that.
 */
void vtd_queue_run(struct vtd *vtd, const struct kviommu_work *work)
{
	struct vtd_entry desc[FETCH];
	unsigned int tail = queue_tail(vtd);
	int ret = -EINVAL;

	if (tail < vtd->iq_size)
		ret = fetch(vtd, work, desc, tail);
	if (ret > 0)
		ret = handle_all(vtd, work, desc, ret);
	/* Not every batch ends with a wait. */
	kviommu_invalidate_complete(vtd->model.unit, work);
	vtd_set32(vtd, VTD_IQH, vtd->iq_head * sizeof(struct vtd_entry));
	/* After -EAGAIN it goes on; after -EINTR nobody will look. */
	if (ret == -EINVAL) {
		vtd->progress = (struct kviommu_progress){};
		vtd_queue_error(vtd);
	}
}

/**
 * vtd_queue_enable() - GCMD.QIE was set
 * @vtd: The unit
 */
void vtd_queue_enable(struct vtd *vtd)
{
	u64 iqa = vtd_get64(vtd, VTD_IQA);

	vtd->iq_base = iqa & VTD_IQA_IQA;
	vtd->iq_size = 1U << (FIELD_GET(VTD_IQA_QS, iqa) + 8);
	vtd->iq_head = 0;
	vtd->progress = (struct kviommu_progress){};
	vtd_set32(vtd, VTD_IQH, 0);
	vtd_set32(vtd, VTD_GSTS, vtd_get32(vtd, VTD_GSTS) | VTD_GSTS_QIES);
}

/**
 * vtd_queue_disable() - GCMD.QIE was cleared
 * @vtd: The unit
 */
void vtd_queue_disable(struct vtd *vtd)
{
	vtd->iq_head = 0;
	vtd->progress = (struct kviommu_progress){};
	vtd_set32(vtd, VTD_IQH, 0);
	vtd_set32(vtd, VTD_GSTS, vtd_get32(vtd, VTD_GSTS) & ~VTD_GSTS_QIES);
}

/*
 * Register-based invalidation must not be used while the queue is on, and is of
 * legacy mode. An actual granularity of 0 tells that a request was ignored.
 */
static bool registers_refused(struct vtd *vtd)
{
	return vtd_get32(vtd, VTD_GSTS) & VTD_GSTS_QIES ||
	       vtd->root & VTD_RTADDR_TTM;
}

/* CCMD.ICC is set. Return: false if it has to go on in the next step. */
static bool ccmd_run(struct vtd *vtd, const struct kviommu_work *work)
{
	u64 ccmd = vtd_get64(vtd, VTD_CCMD);
	unsigned int gran = FIELD_GET(VTD_CCMD_CIRG, ccmd);
	int ret = -EINVAL;

	if (!registers_refused(vtd))
		ret = inval_context(vtd, work, gran, FIELD_GET(VTD_CCMD_SID, ccmd),
				    FIELD_GET(VTD_CCMD_FM, ccmd));
	if (ret == -EAGAIN || ret == -EINTR)
		return false;
	if (ret)
		gran = 0;
	/* What inval_context() made of it */
	if (gran == VTD_GRAN_DOMAIN)
		gran = VTD_GRAN_GLOBAL;
	ccmd &= ~(VTD_CCMD_ICC | VTD_CCMD_CAIG);
	vtd_set64(vtd, VTD_CCMD, ccmd | FIELD_PREP(VTD_CCMD_CAIG, gran));
	return true;
}

/* IOTLB.IVT is set. Return: as ccmd_run(). */
static bool iotlb_run(struct vtd *vtd, const struct kviommu_work *work)
{
	u64 iotlb = vtd_get64(vtd, VTD_IOTLB);
	unsigned int gran = FIELD_GET(VTD_IOTLB_IIRG, iotlb);
	int ret = -EINVAL;

	if (!registers_refused(vtd))
		ret = inval_iotlb(vtd, work, gran, FIELD_GET(VTD_IOTLB_DID, iotlb),
				  vtd_get64(vtd, VTD_IVA));
	kviommu_invalidate_complete(vtd->model.unit, work);
	if (ret == -EAGAIN || ret == -EINTR)
		return false;
	vtd->progress = (struct kviommu_progress){};
	iotlb &= ~(VTD_IOTLB_IVT | VTD_IOTLB_IAIG);
	gran = ret ? 0 : iotlb_gran(vtd, gran);
	vtd_set64(vtd, VTD_IOTLB, iotlb | FIELD_PREP(VTD_IOTLB_IAIG, gran));
	return true;
}

/**
 * vtd_inval_pending() - Say whether the guest waits for an invalidation that it
 *			 asked for through registers
 * @vtd: The unit
 *
 * Return: true if so.
 */
bool vtd_inval_pending(const struct vtd *vtd)
{
	return vtd_get64(vtd, VTD_CCMD) & VTD_CCMD_ICC ||
	       vtd_get64(vtd, VTD_IOTLB) & VTD_IOTLB_IVT;
}

/**
 * vtd_inval_run() - Do the invalidations asked for through registers
 * @vtd: The unit
 * @work: The piece of work that this is part of
 *
 * Return: false if that has to go on in the next step.
 */
bool vtd_inval_run(struct vtd *vtd, const struct kviommu_work *work)
{
	if (vtd_get64(vtd, VTD_CCMD) & VTD_CCMD_ICC && !ccmd_run(vtd, work))
		return false;
	return !(vtd_get64(vtd, VTD_IOTLB) & VTD_IOTLB_IVT) || iotlb_run(vtd, work);
}
