// SPDX-License-Identifier: GPL-2.0-only
/*
 * VT-d fault recording, the fault event and the invalidation completion event.
 */
#include <linux/bitfield.h>

#include "vtd.h"
#include "../../base/trace.h"

/*
 * Both events work alike: while masked one stays pending (IP), and its
 * message is sent when the mask goes.
 */
static void raise(struct vtd *vtd, unsigned int ectl, enum kviommu_event event)
{
	u32 val = vtd_get32(vtd, ectl);

	/* Its cause is not shown yet. */
	if (vtd->polled) {
		vtd->held |= BIT(event);
		return;
	}
	if (val & VTD_ECTL_IM) {
		vtd_set32(vtd, ectl, val | VTD_ECTL_IP);
	} else {
		vtd_set32(vtd, ectl, val & ~VTD_ECTL_IP);
		kviommu_signal(vtd->model.unit, event);
	}
}

static void clear_pending(struct vtd *vtd, unsigned int ectl)
{
	vtd_set32(vtd, ectl, vtd_get32(vtd, ectl) & ~VTD_ECTL_IP);
}

static void ectl_written(struct vtd *vtd, unsigned int ectl,
			 enum kviommu_event event)
{
	if (vtd_get32(vtd, ectl) & VTD_ECTL_IP)
		raise(vtd, ectl, event);
}

/* The event is for the first condition; the guest looks for all of them. */
static void set_fsts(struct vtd *vtd, u32 bits)
{
	u32 fsts = vtd_get32(vtd, VTD_FSTS);

	vtd_set32(vtd, VTD_FSTS, fsts | bits);
	if (!(fsts & VTD_FSTS_PENDING))
		raise(vtd, VTD_FECTL, KVIOMMU_EVENT_FAULT);
}

static unsigned int frcd(unsigned int i)
{
	return VTD_FRCD + 16 * i;
}

static bool frcd_in_use(const struct vtd *vtd, unsigned int i)
{
	return vtd_get64(vtd, frcd(i) + 8) & VTD_FRCD_F;
}

/* The next fault of a requester has to wait for the guest to take this one. */
static bool has_record(const struct vtd *vtd, u16 source_id)
{
	unsigned int i;

	for (i = 0; i < VTD_NR_FRCD; i++)
		if (frcd_in_use(vtd, i) &&
		    FIELD_GET(VTD_FRCD_SID, vtd_get64(vtd, frcd(i) + 8)) ==
		    source_id)
			return true;
	return false;
}

/**
 * vtd_raise_held() - Raise the events that waited for the end of polling
 * @vtd: The unit
 */
void vtd_raise_held(struct vtd *vtd)
{
	unsigned long held = vtd->held;

	vtd->held = 0;
	if (held & BIT(KVIOMMU_EVENT_FAULT))
		raise(vtd, VTD_FECTL, KVIOMMU_EVENT_FAULT);
	if (held & BIT(KVIOMMU_EVENT_INVAL_COMPLETION))
		raise(vtd, VTD_IECTL, KVIOMMU_EVENT_INVAL_COMPLETION);
}

/**
 * vtd_record_fault() - Record a fault
 * @vtd: The unit
 * @source_id: Requester ID
 * @addr: The address of the request, or 0 if none was made
 * @reason: Fault reason
 *
 * Faults of a requester are collapsed into one, as long as the guest has not
 * cleared its record. When all recording registers are in use the fault is lost,
 * and FSTS.PFO says so.
 */
void vtd_record_fault(struct vtd *vtd, u16 source_id, u64 addr, u8 reason)
{
	unsigned int i = vtd->next_frcd;
	u32 bits = VTD_FSTS_PPF;

	trace_kviommu_fault(vtd->model.unit->id, source_id, addr, reason);
	kviommu_count(vtd->model.unit, faults, 1);

	if (vtd_get32(vtd, VTD_FSTS) & VTD_FSTS_PFO ||
	    has_record(vtd, source_id))
		return;
	if (frcd_in_use(vtd, i)) {
		set_fsts(vtd, VTD_FSTS_PFO);
		return;
	}
	vtd_set64(vtd, frcd(i), addr & ~0xfffULL);
	vtd_set64(vtd, frcd(i) + 8, VTD_FRCD_F | source_id |
		  FIELD_PREP(VTD_FRCD_FR, reason) |
		  (reason == VTD_FR_WRITE ? 0 : VTD_FRCD_T_READ));
	vtd->next_frcd = (i + 1) % VTD_NR_FRCD;
	/* FRI is of the one that set PPF. */
	if (!(vtd_get32(vtd, VTD_FSTS) & VTD_FSTS_PPF))
		bits |= FIELD_PREP(VTD_FSTS_FRI, i);
	set_fsts(vtd, bits);
}

/**
 * vtd_fault() - A translation cannot be had
 * @model: The model
 * @id: Requester ID of a device that uses it
 * @iova: The I/O virtual address
 * @reason: Why
 *
 * Context: under unit->lock.
 */
void vtd_fault(struct kviommu_model *model, u32 id, u64 iova,
	       enum kviommu_fault reason)
{
	static const u8 reasons[] = {
		[KVIOMMU_FAULT_ROOT] = VTD_FR_CONTEXT_INVALID,
		[KVIOMMU_FAULT_TABLE] = VTD_FR_PAGING_ACCESS,
		[KVIOMMU_FAULT_ENTRY] = VTD_FR_PAGING_RSVD,
		[KVIOMMU_FAULT_READ] = VTD_FR_READ,
		[KVIOMMU_FAULT_WRITE] = VTD_FR_WRITE,
	};

	vtd_record_fault(to_vtd(model), id, iova, reasons[reason]);
}

/**
 * vtd_queue_error() - The invalidation queue has to stop
 * @vtd: The unit
 */
void vtd_queue_error(struct vtd *vtd)
{
	kviommu_count(vtd->model.unit, faults, 1);
	set_fsts(vtd, VTD_FSTS_IQE);
}

/**
 * vtd_frcd_written() - The guest cleared F of fault recording registers
 * @vtd: The unit
 *
 * PPF is the OR of them all; FRI stays as long as that is set.
 */
void vtd_frcd_written(struct vtd *vtd)
{
	u32 fsts = vtd_get32(vtd, VTD_FSTS);
	unsigned int i;

	for (i = 0; i < VTD_NR_FRCD; i++)
		if (frcd_in_use(vtd, i))
			return;
	fsts &= ~(VTD_FSTS_PPF | VTD_FSTS_FRI);
	vtd_set32(vtd, VTD_FSTS, fsts);
	if (!(fsts & VTD_FSTS_PENDING))
		clear_pending(vtd, VTD_FECTL);
}

/**
 * vtd_fsts_written() - The guest cleared bits of FSTS
 * @vtd: The unit
 *
 * The queue goes on when IQE was cleared.
 */
void vtd_fsts_written(struct vtd *vtd)
{
	if (!(vtd_get32(vtd, VTD_FSTS) & VTD_FSTS_PENDING))
		clear_pending(vtd, VTD_FECTL);
}

/**
 * vtd_fectl_written() - The guest masked or unmasked the fault event
 * @vtd: The unit
 */
void vtd_fectl_written(struct vtd *vtd)
{
	ectl_written(vtd, VTD_FECTL, KVIOMMU_EVENT_FAULT);
}

/**
 * vtd_inval_complete() - A wait descriptor asked for the completion event
 * @vtd: The unit
 *
 * There is no further event until the guest has cleared ICS.IWC.
 */
void vtd_inval_complete(struct vtd *vtd)
{
	if (vtd_get32(vtd, VTD_ICS) & VTD_ICS_IWC)
		return;
	vtd_set32(vtd, VTD_ICS, VTD_ICS_IWC);
	raise(vtd, VTD_IECTL, KVIOMMU_EVENT_INVAL_COMPLETION);
}

/**
 * vtd_ics_written() - The guest cleared ICS.IWC
 * @vtd: The unit
 */
void vtd_ics_written(struct vtd *vtd)
{
	if (!(vtd_get32(vtd, VTD_ICS) & VTD_ICS_IWC))
		clear_pending(vtd, VTD_IECTL);
}

/**
 * vtd_iectl_written() - The guest masked or unmasked the completion event
 * @vtd: The unit
 */
void vtd_iectl_written(struct vtd *vtd)
{
	ectl_written(vtd, VTD_IECTL, KVIOMMU_EVENT_INVAL_COMPLETION);
}
