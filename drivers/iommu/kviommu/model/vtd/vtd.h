/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The VT-d model.
 *
 *	regs.c		registers, and what a write to them asks for
 *	page.c		the page in which the guest sees them
 *	qi.c		the invalidation queue, and what invalidations do
 *	tables.c	root, context and paging entries
 *	fault.c		fault recording, and the events
 *
 * Everything runs under unit->lock.
 */
#ifndef _KVIOMMU_VTD_H
#define _KVIOMMU_VTD_H

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
 * @model: What the unit knows of it
 * @source: What the guest's second-level tables say
 * @page: The register page, a copy of @regs for the guest to read
 * @held: Events, by &enum kviommu_event, that wait for the end of @polled
 * @polled: Writes are not seen, see vtd_poll()
 * @snapshot_taken: What is written is left in @page, and in @snapshot, until
 *                  vtd_commit()
 * @te: Translation is to be on; GSTS.TES says when that is done
 * @te_changed: It is not done yet
 * @regs: The registers
 * @root: RTADDR as SRTP latched it
 * @iq_base: Guest physical address of the queue, as QIE latched it
 * @iq_size: Entries of the queue
 * @iq_head: Next descriptor to take
 * @progress: Of the invalidation that a step did not finish
 * @next_frcd: Fault recording register to use next
 * @haw: Width in bits of the guest's physical addresses
 * @mgaw: Width in bits of the I/O virtual addresses
 * @levels_max: Levels of tables supported: 3 to this
 * @large: Bits of the levels at which an entry may be a leaf, and of the last
 * @boot_identity: DMA reaches all memory while translation is off
 * @snapshot: What is to be taken from @page, see vtd_snapshot()
 *
 * A look of a polling thread reads three cache lines of this: what comes before
 * @regs, and those of @regs with GCMD and with IQT.
 */
struct vtd {
	struct kviommu_model model;
	struct kviommu_source source;
	u32 *page;
	unsigned long held;
	bool polled;
	bool snapshot_taken;
	bool te;
	bool te_changed;
	u32 regs[VTD_REGS_SIZE / sizeof(u32)] __aligned(64);
	u64 root;
	u64 iq_base;
	unsigned int iq_size;
	unsigned int iq_head;
	struct kviommu_progress progress;
	unsigned int next_frcd;
	unsigned int haw;
	unsigned int mgaw;
	unsigned int levels_max;
	u8 large;
	bool boot_identity;
	u32 snapshot[VTD_REGS_SIZE / sizeof(u32)];
};

static inline struct vtd *to_vtd(struct kviommu_model *model)
{
	return container_of(model, struct vtd, model);
}

/**
 * struct vtd_reg - 32 bits of the register page that the guest may write to
 * @rw: Bits that take the value written
 * @w1c: Bits that a written 1 clears
 * @written: What a write does beyond that. For a register of 64 bits it is
 *           with the half that matters.
 */
struct vtd_reg {
	u32 rw;
	u32 w1c;
	void (*written)(struct vtd *vtd);
};

/* regs.c */
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

/* page.c */
extern const struct kviommu_regpage_ops vtd_page_ops;

void vtd_set32(struct vtd *vtd, unsigned int offset, u32 val);
void vtd_page_reset(struct vtd *vtd);

/* qi.c */
void vtd_queue_enable(struct vtd *vtd);
void vtd_queue_disable(struct vtd *vtd);
bool vtd_queue_pending(const struct vtd *vtd);
void vtd_queue_run(struct vtd *vtd, const struct kviommu_work *work);
bool vtd_inval_pending(const struct vtd *vtd);
bool vtd_inval_run(struct vtd *vtd, const struct kviommu_work *work);

/* tables.c */
void vtd_resolve(struct kviommu_model *model, const struct kviommu_work *work, u32 id,
		 struct kviommu_binding *b);
void vtd_decode(const struct kviommu_source *source, u64 val, unsigned int level,
		struct kviommu_entry *e);

/* fault.c */
void vtd_fault(struct kviommu_model *model, u32 id, u64 iova,
	       enum kviommu_fault reason);
void vtd_record_fault(struct vtd *vtd, u16 source_id, u64 addr, u8 reason);
void vtd_queue_error(struct vtd *vtd);
void vtd_raise_held(struct vtd *vtd);
void vtd_fsts_written(struct vtd *vtd);
void vtd_fectl_written(struct vtd *vtd);
void vtd_frcd_written(struct vtd *vtd);
void vtd_inval_complete(struct vtd *vtd);
void vtd_ics_written(struct vtd *vtd);
void vtd_iectl_written(struct vtd *vtd);

#endif /* _KVIOMMU_VTD_H */
