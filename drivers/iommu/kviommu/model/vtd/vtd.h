/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The VT-d model.
 *
 *	regs.c		registers, and what a write to each does
 *	page.c		the register page that the guest reads and writes
 *	qi.c		invalidations, through the queue and through registers
 *	tables.c	root, context and paging entries of legacy mode
 *	scalable.c	root, context and PASID entries of scalable mode
 *	fault.c		fault recording, the fault event and the completion event
 *
 * Everything runs under unit->lock, but for the two hints vtd_peek() and vtd_pollable().
 */
#ifndef _KVIOMMU_VTD_H
#define _KVIOMMU_VTD_H

#include <linux/bitfield.h>
#include <linux/container_of.h>
#include <linux/types.h>

#include "../../base/model.h"
#include "../../device/device.h"
#include "../../mem/mem.h"
#include "../../source/source.h"
#include "../../xlate/xlate.h"
#include "../model.h"
#include "spec.h"

/**
 * struct vtd - State of a VT-d unit
 * @model: The model as the rest of the module knows it
 * @source: The source of translations: the guest's second-level tables
 * @page: The register page, a copy of @regs for the guest to read
 * @held_events: Bit mask of the events (&enum kviommu_event) that are held back until
 *               polling ends
 * @polled: Writes to @page are not trapped, see vtd_set_polled()
 * @snapshot_taken: Writes stay in @page and @snapshot until vtd_commit() applies them
 * @waits_for_ics: The guest waits for ICS.IWC and for no status in memory, see
 *                 vtd_pollable()
 * @te: GCMD.TE as the guest wrote it last
 * @te_changed: GSTS.TES does not follow @te yet
 * @regs: Values of the registers
 * @root: Value of RTADDR that the last SRTP command latched
 * @iq_base: Guest physical address of the queue, latched when GCMD.QIE was set
 * @iq_size: Size of the queue, in bytes
 * @iq_desc: Size of a descriptor, in bytes
 * @half_done: @latched is the descriptor at the head, which the last step did not finish
 * @latched: Its copy: the guest may have replaced it in the queue
 * @progress: Progress of the invalidation that the last step did not finish
 * @te_progress: Progress of the change of @te that the last step did not finish. It is not
 *               @progress, as the change comes before an invalidation that was begun.
 * @next_frcd: Index of the fault recording register to use next
 * @haw: Host address width: bits of the guest's physical addresses
 * @mgaw: Maximum guest address width: bits of I/O virtual addresses
 * @levels_max: Most levels of second-level tables that are supported; the least is 3
 * @leaf_levels: Bit n is set if PS is not reserved at level n: an entry there may be a
 *               leaf; at level 1, where all are leaves, PS is ignored
 * @sl_rsvd: Bits that are reserved in second-level entries of all levels
 * @boot_identity: While translation is off DMA reaches all memory, not none
 * @snapshot: Registers as in @page when vtd_snapshot() copied it, and writes since then
 *
 * When a polling thread looks for work it reads three cache lines of this: the members
 * before @regs, and the lines of @regs with GCMD and with IQT.
 */
struct vtd {
	struct kviommu_model model;
	struct kviommu_source source;
	u32 *page;
	unsigned long held_events;
	bool polled;
	bool snapshot_taken;
	bool waits_for_ics;
	bool te;
	bool te_changed;
	u32 regs[VTD_REGS_SIZE / sizeof(u32)] __aligned(64);
	u64 root;
	u64 iq_base;
	unsigned int iq_size;
	unsigned int iq_desc;
	bool half_done;
	__le64 latched[4];
	struct kviommu_progress progress;
	struct kviommu_progress te_progress;
	unsigned int next_frcd;
	unsigned int haw;
	unsigned int mgaw;
	unsigned int levels_max;
	u8 leaf_levels;
	u64 sl_rsvd;
	bool boot_identity;
	u32 snapshot[VTD_REGS_SIZE / sizeof(u32)];
};

static inline struct vtd *to_vtd(struct kviommu_model *model)
{
	return container_of(model, struct vtd, model);
}

/**
 * struct vtd_reg - How 32 bits of the register page react to a write
 * @rw: Bits that take the written value
 * @w1c: Bits that a written 1 clears
 * @written: Called after the write for its further effects, or NULL. Of a 64-bit
 *           register it belongs to the half that has effects.
 */
struct vtd_reg {
	u32 rw;
	u32 w1c;
	void (*written)(struct vtd *vtd);
};

/* regs.c: indexed by offset / 4 */
extern const struct vtd_reg vtd_regs[VTD_REGS_SIZE / sizeof(u32)];

static inline u32 vtd_get32(const struct vtd *vtd, unsigned int offset)
{
	return vtd->regs[offset / sizeof(u32)];
}

static inline u64 vtd_get64(const struct vtd *vtd, unsigned int offset)
{
	return vtd_get32(vtd, offset) | (u64)vtd_get32(vtd, offset + 4) << 32;
}

void vtd_set64(struct vtd *vtd, unsigned int offset, u64 val);

static inline bool vtd_has_scalable(const struct vtd *vtd)
{
	return vtd_get64(vtd, VTD_ECAP) & VTD_ECAP_SMTS;
}

/* The guest's tables are those of scalable mode. */
static inline bool vtd_scalable(const struct vtd *vtd)
{
	return FIELD_GET(VTD_RTADDR_TTM, vtd->root) == VTD_TTM_SCALABLE;
}

/* The translation table mode that RTADDR selects is one that the capabilities report. */
static inline bool vtd_mode_valid(const struct vtd *vtd)
{
	return !(vtd->root & VTD_RTADDR_TTM) ||
	       (vtd_scalable(vtd) && vtd_has_scalable(vtd));
}

/* Bits of the PASIDs that requests may have; 0 if they may have none */
static inline unsigned int vtd_pasid_bits(const struct vtd *vtd)
{
	u64 ecap = vtd_get64(vtd, VTD_ECAP);

	return ecap & VTD_ECAP_PASID ? FIELD_GET(VTD_ECAP_PSS, ecap) + 1 : 0;
}

/* Descriptors have 256 bits, not 128. */
static inline bool vtd_queue_wide(const struct vtd *vtd)
{
	return vtd->iq_desc == 32;
}

/* The queue has descriptors to handle, and is neither off nor stopped by an error. */
static inline bool vtd_queue_pending(const struct vtd *vtd)
{
	return vtd_get32(vtd, VTD_GSTS) & VTD_GSTS_QIES &&
	       !(vtd_get32(vtd, VTD_FSTS) & VTD_FSTS_IQE) &&
	       vtd_get32(vtd, VTD_IQH) != vtd_get32(vtd, VTD_IQT);
}

/* The guest waits for a register-based invalidation. */
static inline bool vtd_inval_pending(const struct vtd *vtd)
{
	return vtd_get64(vtd, VTD_CCMD) & VTD_CCMD_ICC ||
	       vtd_get64(vtd, VTD_IOTLB) & VTD_IOTLB_IVT;
}

/* Mask of address bits beyond the host address width, which are reserved */
static inline u64 vtd_beyond_haw(const struct vtd *vtd)
{
	return ~(BIT_ULL(vtd->haw) - 1);
}

/* page.c */
extern const struct kviommu_regpage_ops vtd_page_ops;

void vtd_set32(struct vtd *vtd, unsigned int offset, u32 val);
void vtd_page_reset(struct vtd *vtd);

/* qi.c */
void vtd_queue_enable(struct vtd *vtd);
void vtd_queue_disable(struct vtd *vtd);
void vtd_inval_forget(struct vtd *vtd);
void vtd_queue_run(struct vtd *vtd, const struct kviommu_work *work);
bool vtd_inval_run(struct vtd *vtd, const struct kviommu_work *work);

/* tables.c */
int vtd_resolve(struct kviommu_model *model, const struct kviommu_work *work, u32 id,
		u32 pasid, struct kviommu_binding *b);
void vtd_decode(const struct kviommu_source *source, u64 val, unsigned int level,
		struct kviommu_entry *e);

/* scalable.c */
int vtd_sm_binding_read(struct vtd *vtd, const struct kviommu_work *work, u16 source_id,
			u32 pasid, struct kviommu_binding *b);

/* fault.c */
void vtd_fault(struct kviommu_model *model, u32 id, u64 iova,
	       enum kviommu_fault reason);
void vtd_record_fault(struct vtd *vtd, u16 source_id, u32 pasid, u64 addr, u8 reason);
void vtd_queue_error(struct vtd *vtd);
void vtd_event_raise_held(struct vtd *vtd);
void vtd_fsts_written(struct vtd *vtd);
void vtd_fectl_written(struct vtd *vtd);
void vtd_frcd_written(struct vtd *vtd);
void vtd_inval_complete(struct vtd *vtd);
void vtd_ics_written(struct vtd *vtd);
void vtd_iectl_written(struct vtd *vtd);

#endif /* _KVIOMMU_VTD_H */
