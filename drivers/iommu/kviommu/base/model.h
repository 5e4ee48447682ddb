/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The operations of a model, the emulated IOMMU that the guest sees. Models are in a
 * higher layer than the callers of these operations.
 */
#ifndef _KVIOMMU_MODEL_H
#define _KVIOMMU_MODEL_H

#include "unit.h"

struct kviommu_binding;

/**
 * struct kviommu_model_ops - The operations of every model
 * @pending: Return true if there is work left.
 * @run: Do a bounded piece of work, see kviommu_time_up(). Return true if there is more.
 *       Under map_lock, too, which may be dropped in between.
 * @reset: Put the model into its initial state.
 * @resolve: Find the translation that the guest selects for the device @id, for its requests
 *           without PASID if @pasid is 0, or for those with it; the model says which there
 *           are by kviommu_rebind_pasid(). @b holds the previous result and is updated. If
 *           the guest's request is invalid, and was not invalid in the same way before, the
 *           guest gets a fault. Return 0; -EAGAIN or -EINTR, see kviommu_unfinished(), with
 *           @b as it was. Under map_lock, too.
 * @fault: Report to the guest that @iova cannot be translated for the device @id. NULL if
 *         no device is ever bound to a KVIOMMU_BIND_DOMAIN.
 * @devices_changed: A device was attached to the unit, or detached from it. NULL if the
 *                   model does not list them.
 * @destroy: Free the model.
 *
 * All are called in process context and under unit->lock; they may sleep unless the
 * piece of work may not.
 */
struct kviommu_model_ops {
	bool (*pending)(struct kviommu_model *model);
	bool (*run)(struct kviommu_model *model, const struct kviommu_work *work);
	void (*reset)(struct kviommu_model *model);
	int (*resolve)(struct kviommu_model *model, const struct kviommu_work *work,
		       u32 id, u32 pasid, struct kviommu_binding *b);
	void (*fault)(struct kviommu_model *model, u32 id, u64 iova,
		      enum kviommu_fault reason);
	void (*devices_changed)(struct kviommu_model *model);
	void (*destroy)(struct kviommu_model *model);
};

/**
 * struct kviommu_regpage_ops - The operations of a model with a page of registers
 * @write: Handle a trapped guest write of @len bytes at @offset of the register page,
 *         which already holds the new bytes. Work that may take long is left to
 *         kviommu_model_ops.run. While polled, or between snapshot and commit, @sync or
 *         @commit applies the write.
 * @sync: Apply all guest writes that the register page shows. Writes are not being
 *        trapped, so the guest may have written anything. Unless @all is set, and as long
 *        as there is no command, only the tail of the queue is read, and the other
 *        registers are left for later.
 * @snapshot: Record the contents of the page, and the later calls of @write, for @commit.
 * @commit: Apply the recorded contents as the guest's writes.
 * @peek: Return true if the page differs from what the model left there. Unless @all is
 *        set, only the registers that request work are compared. Called without a lock,
 *        so the result is a hint.
 * @pollable: Return true if the guest's writes can be derived from the contents of the
 *            page alone. Called without a lock, so the result is a hint.
 * @set_polled: Begin or end polling. While polled, state that cannot be derived from the
 *              page is not shown there, and its events are held back.
 *
 * All but @peek and @pollable are called in process context and under unit->lock. Of a model
 * that is never pollable @sync, @peek and @set_polled may be NULL.
 */
struct kviommu_regpage_ops {
	void (*write)(struct kviommu_model *model, unsigned int offset,
		      const void *data, unsigned int len);
	void (*sync)(struct kviommu_model *model, bool all);
	void (*snapshot)(struct kviommu_model *model);
	void (*commit)(struct kviommu_model *model);
	bool (*peek)(const struct kviommu_model *model, bool all);
	bool (*pollable)(const struct kviommu_model *model);
	void (*set_polled)(struct kviommu_model *model, bool on);
};

/**
 * struct kviommu_model - The emulated IOMMU of a unit
 * @ops: The operations of the model
 * @page_ops: The operations for the register page; NULL if the model has none
 * @unit: The unit that the model belongs to
 */
struct kviommu_model {
	const struct kviommu_model_ops *ops;
	const struct kviommu_regpage_ops *page_ops;
	struct kviommu_unit *unit;
};

/* Greatest size of a model's blobs in KVIOMMU_CREATE and KVIOMMU_GET_INFO, in bytes */
#define KVIOMMU_MODEL_BLOB_MAX	64

/**
 * struct kviommu_model_kind - A kind of model
 * @id: One of &enum kviommu_model_type
 * @pages: Number of pages that the VMM may map, kviommu_unit.pages. The first is the page
 *         of registers by which the guest drives the model; 0 if it has none.
 * @read_only: Number of the last of them that are for reading only
 * @args_min: Size in bytes of the first version of the blob of KVIOMMU_CREATE
 * @args_size: Size in bytes of the current version of that blob
 * @info_size: Size in bytes of the blob of KVIOMMU_GET_INFO
 * @get_info: Fill the blob of KVIOMMU_GET_INFO with the features that this kind supports;
 *            the blob is zeroed before. Return 0 or -ENOMEM.
 * @create: Create a model and set kviommu_unit.aw_bits and .boot_master. Return the model;
 *          -EINVAL, -EOPNOTSUPP or -ENOMEM.
 */
struct kviommu_model_kind {
	u32 id;
	unsigned int pages;
	unsigned int read_only;
	unsigned int args_min;
	unsigned int args_size;
	unsigned int info_size;
	int (*get_info)(void *info);
	struct kviommu_model *(*create)(struct kviommu_unit *unit, const void *args);
};

#endif /* _KVIOMMU_MODEL_H */
