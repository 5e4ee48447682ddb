// SPDX-License-Identifier: GPL-2.0-only
/*
 * VT-d fault recording, the fault event and the invalidation completion event.
 */
#include <linux/bitfield.h>

#include "vtd.h"
#include "../../base/trace.h"

/*
 * The fault event and the completion event work alike: while masked (IM) an event stays
 * pending (IP), and its message is sent when the guest clears IM.
 */
static void vtd_event_raise(struct vtd *vtd, unsigned int ectl, enum kviommu_event event)
{
	u32 val = vtd_get32(vtd, ectl);

	/* While polled the page does not show the cause of the event. */
	if (vtd->polled) {
		vtd->held_events |= BIT(event);
		return;
	}
	if (val & VTD_ECTL_IM) {
		vtd_set32(vtd, ectl, val | VTD_ECTL_IP);
	} else {
		vtd_set32(vtd, ectl, val & ~VTD_ECTL_IP);
		kviommu_signal(vtd->model.unit, event);
	}
}

static void vtd_event_clear_pending(struct vtd *vtd, unsigned int ectl)
{
	vtd_set32(vtd, ectl, vtd_get32(vtd, ectl) & ~VTD_ECTL_IP);
}

static void vtd_ectl_written(struct vtd *vtd, unsigned int ectl,
			     enum kviommu_event event)
{
	if (vtd_get32(vtd, ectl) & VTD_ECTL_IP)
		vtd_event_raise(vtd, ectl, event);
}

/* Only the first condition raises the event; its handler looks for all conditions. */
static void vtd_fsts_raise(struct vtd *vtd, u32 bits)
{
	u32 fsts = vtd_get32(vtd, VTD_FSTS);

	vtd_set32(vtd, VTD_FSTS, fsts | bits);
	if (!(fsts & VTD_FSTS_PENDING))
		vtd_event_raise(vtd, VTD_FECTL, KVIOMMU_EVENT_FAULT);
}

static unsigned int vtd_frcd_offset(unsigned int i)
{
	return VTD_FRCD + 16 * i;
}

static bool vtd_frcd_in_use(const struct vtd *vtd, unsigned int i)
{
	return vtd_get64(vtd, vtd_frcd_offset(i) + 8) & VTD_FRCD_F;
}

/* Whether the guest has not yet cleared a record of this requester */
static bool vtd_frcd_has_source(const struct vtd *vtd, u16 source_id)
{
	unsigned int i;

	for (i = 0; i < VTD_NR_FRCD; i++)
		if (vtd_frcd_in_use(vtd, i) &&
		    FIELD_GET(VTD_FRCD_SID, vtd_get64(vtd, vtd_frcd_offset(i) + 8)) ==
		    source_id)
			return true;
	return false;
}

/**
 * vtd_event_raise_held() - Raise the events that were held back while polled
 * @vtd: The unit
 *
 * Context: under unit->lock; does not sleep.
 */
void vtd_event_raise_held(struct vtd *vtd)
{
	unsigned long held = vtd->held_events;

	vtd->held_events = 0;
	if (held & BIT(KVIOMMU_EVENT_FAULT))
		vtd_event_raise(vtd, VTD_FECTL, KVIOMMU_EVENT_FAULT);
	if (held & BIT(KVIOMMU_EVENT_INVAL_COMPLETION))
		vtd_event_raise(vtd, VTD_IECTL, KVIOMMU_EVENT_INVAL_COMPLETION);
}

/**
 * vtd_record_fault() - Record a fault
 * @vtd: The unit
 * @source_id: Requester ID
 * @pasid: PASID of the requests that it is about; 0 if these have none
 * @addr: I/O virtual address of the fault, or 0 if it is not about an address
 * @reason: Fault reason of VT-d (VTD_FR_...)
 *
 * Faults of a requester are collapsed into one, as long as the guest has not
 * cleared its record. When all recording registers are in use the fault is lost,
 * and FSTS.PFO is set.
 *
 * Context: under unit->lock; does not sleep.
 */
void vtd_record_fault(struct vtd *vtd, u16 source_id, u32 pasid, u64 addr, u8 reason)
{
	unsigned int i = vtd->next_frcd;
	u32 bits = VTD_FSTS_PPF;

	trace_kviommu_fault(vtd->model.unit->id, source_id, pasid, addr, reason);
	kviommu_count(vtd->model.unit, faults, 1);

	if (vtd_get32(vtd, VTD_FSTS) & VTD_FSTS_PFO ||
	    vtd_frcd_has_source(vtd, source_id))
		return;
	if (vtd_frcd_in_use(vtd, i)) {
		vtd_fsts_raise(vtd, VTD_FSTS_PFO);
		return;
	}
	vtd_set64(vtd, vtd_frcd_offset(i), addr & ~0xfffULL);
	vtd_set64(vtd, vtd_frcd_offset(i) + 8, VTD_FRCD_F | source_id |
		  FIELD_PREP(VTD_FRCD_FR, reason) | FIELD_PREP(VTD_FRCD_PV, pasid) |
		  (pasid ? VTD_FRCD_PP : 0) |
		  (reason == VTD_FR_WRITE ? 0 : VTD_FRCD_T_READ));
	vtd->next_frcd = (i + 1) % VTD_NR_FRCD;
	/* FRI is the index of the record that set PPF. */
	if (!(vtd_get32(vtd, VTD_FSTS) & VTD_FSTS_PPF))
		bits |= FIELD_PREP(VTD_FSTS_FRI, i);
	vtd_fsts_raise(vtd, bits);
}

/**
 * vtd_fault() - Report that an address cannot be translated
 * @model: The model
 * @id: Requester ID of a device that the address belongs to
 * @iova: The I/O virtual address
 * @reason: Why it cannot be translated
 *
 * Context: under unit->lock; does not sleep.
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

	vtd_record_fault(to_vtd(model), id, 0, iova, reasons[reason]);
}

/**
 * vtd_queue_error() - Set FSTS.IQE, which stops the invalidation queue
 * @vtd: The unit
 *
 * Context: under unit->lock; does not sleep.
 */
void vtd_queue_error(struct vtd *vtd)
{
	kviommu_count(vtd->model.unit, faults, 1);
	vtd_fsts_raise(vtd, VTD_FSTS_IQE);
}

/**
 * vtd_frcd_written() - Handle a write to F of a fault recording register
 * @vtd: The unit
 *
 * FSTS.PPF is the OR of all F, and FRI is kept as long as PPF is set.
 *
 * Context: under unit->lock; does not sleep.
 */
void vtd_frcd_written(struct vtd *vtd)
{
	u32 fsts = vtd_get32(vtd, VTD_FSTS);
	unsigned int i;

	for (i = 0; i < VTD_NR_FRCD; i++)
		if (vtd_frcd_in_use(vtd, i))
			return;
	fsts &= ~(VTD_FSTS_PPF | VTD_FSTS_FRI);
	vtd_set32(vtd, VTD_FSTS, fsts);
	if (!(fsts & VTD_FSTS_PENDING))
		vtd_event_clear_pending(vtd, VTD_FECTL);
}

/**
 * vtd_fsts_written() - Handle a write to FSTS
 * @vtd: The unit
 *
 * Clearing the last condition clears a pending fault event. The queue goes on when IQE
 * was cleared, see vtd_queue_pending().
 *
 * Context: under unit->lock; does not sleep.
 */
void vtd_fsts_written(struct vtd *vtd)
{
	if (!(vtd_get32(vtd, VTD_FSTS) & VTD_FSTS_PENDING))
		vtd_event_clear_pending(vtd, VTD_FECTL);
}

/**
 * vtd_fectl_written() - Handle a write to FECTL, which masks the fault event
 * @vtd: The unit
 *
 * Context: under unit->lock; does not sleep.
 */
void vtd_fectl_written(struct vtd *vtd)
{
	vtd_ectl_written(vtd, VTD_FECTL, KVIOMMU_EVENT_FAULT);
}

/**
 * vtd_inval_complete() - Raise the completion event for a wait descriptor
 * @vtd: The unit
 *
 * There is no further event until the guest has cleared ICS.IWC.
 *
 * Context: under unit->lock; does not sleep.
 */
void vtd_inval_complete(struct vtd *vtd)
{
	if (vtd_get32(vtd, VTD_ICS) & VTD_ICS_IWC)
		return;
	vtd_set32(vtd, VTD_ICS, VTD_ICS_IWC);
	vtd_event_raise(vtd, VTD_IECTL, KVIOMMU_EVENT_INVAL_COMPLETION);
}

/**
 * vtd_ics_written() - Handle a write to ICS, which clears IWC
 * @vtd: The unit
 *
 * Context: under unit->lock; does not sleep.
 */
void vtd_ics_written(struct vtd *vtd)
{
	if (!(vtd_get32(vtd, VTD_ICS) & VTD_ICS_IWC))
		vtd_event_clear_pending(vtd, VTD_IECTL);
}

/**
 * vtd_iectl_written() - Handle a write to IECTL, which masks the completion event
 * @vtd: The unit
 *
 * Context: under unit->lock; does not sleep.
 */
void vtd_iectl_written(struct vtd *vtd)
{
	vtd_ectl_written(vtd, VTD_IECTL, KVIOMMU_EVENT_INVAL_COMPLETION);
}
