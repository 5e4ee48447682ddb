/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a model of an IOMMU, which is what the guest sees of a unit, does for the rest.
 * Models stand above all that calls them through these tables.
 */
#ifndef _KVIOMMU_MODEL_H
#define _KVIOMMU_MODEL_H

#include "unit.h"

struct kviommu_binding;

/**
 * struct kviommu_model_ops - What each model does
 * @pending: There is work left
 * @run: Do a bounded piece of it: see kviommu_time_up(). Return: there is more.
 *       Under map_lock, too, which may be let go in between.
 * @reset: Put it into its initial state
 * @resolve: Say what the guest wants for the device @id; @b is what it was before. If
 *           the guest asks for something invalid, and it was not the same before, it
 *           gets a fault. Under map_lock, too.
 * @fault: A translation of the device @id cannot be had at @iova, for this reason
 * @destroy: Free the model
 *
 * All in process context and under unit->lock.
 */
struct kviommu_model_ops {
	bool (*pending)(struct kviommu_model *model);
	bool (*run)(struct kviommu_model *model, const struct kviommu_work *work);
	void (*reset)(struct kviommu_model *model);
	void (*resolve)(struct kviommu_model *model, const struct kviommu_work *work,
			u32 id, struct kviommu_binding *b);
	void (*fault)(struct kviommu_model *model, u32 id, u64 iova,
		      enum kviommu_fault reason);
	void (*destroy)(struct kviommu_model *model);
};

/**
 * struct kviommu_regpage_ops - What a model does that the guest drives by a page of
 *				registers
 * @write: The guest wrote @len bytes at @offset of the register page, where they
 *         stand already. What that asks for is left to kviommu_model_ops.run, if it
 *         can take long. While polled, or between snapshot and commit, @sync or @commit
 *         applies the write.
 * @sync: The guest may have written anything that the register page now shows, and
 *        nothing is being trapped. Unless @all, and if there is no command, only the
 *        tail of the queue is taken, and the rest is left for later.
 * @snapshot: Remember what the page shows, and what @write reports from then on, for
 *            @commit
 * @commit: Take what was remembered as what the guest wrote
 * @peek: The page is not as it was left. Unless @all, only where a guest asks for
 *        something is looked at. Without a lock: a hint.
 * @pollable: Nothing is lost if writes are not seen but for what the page shows
 *            after them. Without a lock: a hint.
 * @set_polled: From now on that may be so; or it is over. In between what cannot be
 *              derived from the state of the page is not shown, and its events wait.
 *
 * In process context and under unit->lock, but for the two that are hints without.
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
 * struct kviommu_model - What the guest sees of a unit
 * @ops: Its operations
 * @page_ops: Those of its register page; NULL if it has none
 * @unit: The unit it belongs to
 */
struct kviommu_model {
	const struct kviommu_model_ops *ops;
	const struct kviommu_regpage_ops *page_ops;
	struct kviommu_unit *unit;
};

/* What a VMM says of, and is told of, a model has room in this many bytes. */
#define KVIOMMU_MODEL_BLOB_MAX	64

/**
 * struct kviommu_model_kind - A kind of models
 * @id: One of &enum kviommu_model_type
 * @has_page: The guest drives it by a page of registers: kviommu_unit.page
 * @args_min: Size of the first version of what the VMM says of it (the blob of
 *            KVIOMMU_CREATE)
 * @args_size: Size as known here
 * @info_size: Size of what the VMM is told of it (the blob of KVIOMMU_GET_INFO)
 * @get_info: Say what a model of this kind can be given; the blob is zero before
 * @create: Make one, and set kviommu_unit.aw_bits. Return: the model; -EINVAL,
 *          -EOPNOTSUPP or -ENOMEM.
 */
struct kviommu_model_kind {
	u32 id;
	bool has_page;
	unsigned int args_min;
	unsigned int args_size;
	unsigned int info_size;
	void (*get_info)(void *info);
	struct kviommu_model *(*create)(struct kviommu_unit *unit, const void *args);
};

#endif /* _KVIOMMU_MODEL_H */
