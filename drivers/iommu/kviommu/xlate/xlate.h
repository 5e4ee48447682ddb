/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Translations: what a device's DMA goes through.
 *
 *	xlate.c		the translations of a unit, and operations on all of them
 *	backends.c	the table of back-ends
 *	whole.c		what back-ends have for a unit or a group, beside translations
 *	fixed.c		blocked and identity, which are permanent
 *	shadow/		the guest's mappings, merged with guest memory
 *	nested/		the guest's tables, walked by the physical IOMMU
 *	tracked/	guest physical addresses, of what the guest has asked for
 */
#ifndef _KVIOMMU_XLATE_H
#define _KVIOMMU_XLATE_H

#include "../base/unit.h"
#include "../source/source.h"

struct kviommu_leaf;
struct kviommu_xlate_ops;

/**
 * struct kviommu_binding - The translation that the guest selects for a device
 * @type: One of &enum kviommu_binding_type
 * @did: Domain-id, by which the model identifies a domain
 * @levels: Number of levels of the guest's tables
 * @root: Name of the root table, for kviommu_source_ops.get_table; or its guest physical
 *        address, for the physical IOMMU
 * @source: The source of the guest's mappings
 * @quiet: The guest wants no faults to be reported
 * @fault: 0, or the model's reason why the guest's request is invalid
 * @off: The guest has translation, or tracking, off: it may have selected something all the
 *       same
 *
 * All members but @type, @fault and @off are 0 unless @type is KVIOMMU_BIND_DOMAIN or
 * KVIOMMU_BIND_NESTED; @source is only used by the former. The bindings of requests with PASID
 * are KVIOMMU_BIND_BLOCKED or KVIOMMU_BIND_NESTED; in the latter they may have no @levels, if
 * their addresses are guest physical ones.
 */
struct kviommu_binding {
	enum kviommu_binding_type type;
	u16 did;
	u8 levels;
	u64 root;
	const struct kviommu_source *source;
	bool quiet;
	u8 fault;
	bool off;
};

/**
 * struct kviommu_xlate - A translation of a unit, for any number of IOMMU groups
 * @ops: The back-end
 * @unit: The unit
 * @entry: Entry in kviommu_unit.xlates, the oldest first; unused in kviommu_unit.fixed
 * @serial: Serial number, unique among all dynamic translations that the unit ever had
 * @binding: The binding that it implements
 * @refused_by: The last physical IOMMU that did not support it
 * @unbuilt: The I/O virtual addresses that kviommu_xlate_ops.build still has to process
 *           while @building
 * @building: It is not complete yet, so no group may be attached to it
 * @users: Number of IOMMU groups, and of PASIDs of these, that are attached to it or wait for
 *         it; without any it is torn down, in pieces
 *
 * All members are under unit->lock; a translation is added to unit->xlates and removed
 * under map_lock as well.
 */
struct kviommu_xlate {
	const struct kviommu_xlate_ops *ops;
	struct kviommu_unit *unit;
	struct list_head entry;
	u64 serial;
	struct kviommu_binding binding;
	const void *refused_by;
	struct kviommu_range unbuilt;
	bool building;
	unsigned int users;
};

/**
 * struct kviommu_xlate_ops - The operations of a translation back-end
 * @pins: The guest memory that translations of this back-end keep pinned. With
 *        KVIOMMU_PINS_ALL it may be pinned without the pin cache.
 * @create: Create an empty translation for a binding, which the group can use. NULL if
 *          the unit has only a permanent one. Return the translation; -ENOMEM, -EDQUOT or
 *          an error of the IOMMU's driver. Called as (1).
 * @fits: Return true if the group may use this translation of another group.
 *        Called as (1).
 * @build: Bring all of it in line with the guest's mappings. Return 0; -EAGAIN when the
 *         time of the work is up, or -EINTR, with the rest in kviommu_xlate.unbuilt.
 *         Called as (1).
 * @attach: Attach the group to it. Return 0; on error the group is blocked: -EINVAL if
 *          its IOMMU does not support this translation, or another error; -EINTR if it
 *          has to be tried again. Called as (1).
 * @attach_pasid: The same for a PASID of the group that is not attached; NULL, as
 *                @detach_pasid, if no PASID is bound to this type. Called as (1).
 * @detach_pasid: Detach a PASID of the group from it, which blocks that. Called as (1).
 * @invalidate: Apply the guest's changes to a range. With @refresh, also try again to
 *              map what failed before. Return as @build, with the rest in @range. May
 *              drop map_lock meanwhile. Called as (2).
 * @complete: Complete all earlier invalidations of all translations of this back-end.
 *            When it returns, no device reaches memory through an old mapping, or for no
 *            longer than the unit's strategy allows. Return true to be called again also
 *            if the guest has invalidated nothing, as something is left whose age counts.
 *            Called as (2).
 * @revoke: Unmap the guest frames from @first to @last, inclusive, which the IOAS unmaps.
 *          When it returns, this back-end uses none of them any more. Not called if no
 *          frame there is in use in the pin cache, unless @pins is KVIOMMU_PINS_ALL.
 *          Called as (3).
 * @drop: Tear the translation down and free it. Return 0; -EAGAIN or -EINTR as @build.
 *        Called as (1).
 * @next: Find the next leaf, for inspection. Return 1; 0 if there is none; -EAGAIN to be
 *        called again. Called as (2), by a reader of debugfs, which may sleep.
 * @pinned: Return the number of 4 KiB pages that it maps. NULL if it is not known.
 *          Called under unit->lock; does not sleep.
 * @join: Prepare for a new group, which may use translations of this back-end. Return 0;
 *        -ENOMEM or an error of the IOMMU's driver. Called as (1).
 * @leave: Undo @join. Called as (1).
 * @refill: What the IOAS has may have changed: @fill has to look at all of it. Called as (1).
 * @fill: Bring what the back-end has for a group in line with the IOAS; or, if that is NULL,
 *        for all groups, where what cannot be had counts as an error of the unit and is left
 *        out. Return 0; -EAGAIN or -EINTR as @build; with a group also -ENOMEM or an error of
 *        the IOMMU's driver. Called as (1).
 * @reap: Free what no translation, group or model needs any more. Return 0; -EAGAIN or -EINTR
 *        as @build. Called as (1).
 * @tidy: Do what is due because time has passed or the host lacks memory. Return true to be
 *        called again. Called as (1), by the worker.
 * @release: Unmap and unpin what is not in use of a range of guest frame numbers, for the VMM.
 *           Return 0; -EAGAIN or -EINTR as @build, with the rest in @range. Called as (2).
 * @policy_set: The unit's policy has changed. Called as (2).
 * @table_bytes: Return how much memory of the host its tables take, in bytes. Called as (2).
 *
 * The operations from @create on are about one translation, but for @complete and @revoke,
 * which are about all of a unit; those from @join on are about what the back-end has for a unit
 * or a group of it beside translations.
 *
 * How they are called, always in process context:
 *
 * (1) Under unit->lock, not under map_lock, which the operation may take; may sleep. Work
 *     that may not wait never gets here.
 * (2) Under unit->lock and map_lock; may sleep if the work may wait.
 * (3) Under map_lock, and usually in iommufd's unmap callback, with locks of the IOAS
 *     held; may sleep. It must not take unit->lock, whose holder may wait for the IOAS,
 *     nor attach a device to the IOAS or detach it.
 *
 * Each back-end has @attach, and one with @create has @fits, @build, @invalidate and @drop,
 * too; @leave goes with @join. The others may be NULL.
 */
struct kviommu_xlate_ops {
	enum kviommu_pin_scope pins;
	struct kviommu_xlate *(*create)(struct kviommu_unit *unit,
					struct kviommu_hwgroup *hw,
					const struct kviommu_binding *b);
	bool (*fits)(const struct kviommu_xlate *xlate,
		     struct kviommu_hwgroup *hw);
	int (*build)(struct kviommu_xlate *xlate, const struct kviommu_work *work);
	int (*attach)(struct kviommu_xlate *xlate, struct kviommu_hwgroup *hw);
	int (*attach_pasid)(struct kviommu_xlate *xlate, struct kviommu_hwgroup *hw,
			    u32 pasid);
	void (*detach_pasid)(struct kviommu_xlate *xlate, struct kviommu_hwgroup *hw,
			     u32 pasid);
	int (*invalidate)(struct kviommu_xlate *xlate, const struct kviommu_work *work,
			  struct kviommu_range *range, bool refresh);
	bool (*complete)(struct kviommu_unit *unit, const struct kviommu_work *work);
	void (*revoke)(struct kviommu_unit *unit, u64 first, u64 last);
	int (*drop)(struct kviommu_xlate *xlate, const struct kviommu_work *work);
	int (*next)(struct kviommu_xlate *xlate, struct kviommu_leaf *leaf);
	u64 (*pinned)(const struct kviommu_xlate *xlate);
	int (*join)(struct kviommu_unit *unit, struct kviommu_hwgroup *hw);
	void (*leave)(struct kviommu_unit *unit, struct kviommu_hwgroup *hw);
	void (*refill)(struct kviommu_unit *unit);
	int (*fill)(struct kviommu_unit *unit, const struct kviommu_work *work,
		    struct kviommu_hwgroup *hw);
	int (*reap)(struct kviommu_unit *unit, const struct kviommu_work *work);
	bool (*tidy)(struct kviommu_unit *unit, const struct kviommu_work *work);
	int (*release)(struct kviommu_unit *unit, const struct kviommu_work *work,
		       struct kviommu_range *range);
	void (*policy_set)(struct kviommu_unit *unit);
	u64 (*table_bytes)(const struct kviommu_unit *unit);
};

/**
 * struct kviommu_leaf - A leaf of a translation, for inspection
 * @iova: First I/O virtual address
 * @size: Size in bytes
 * @guest: The present entry of the guest's tables for @iova; empty if it is not a leaf
 * @gpa: Guest physical address that the translation has for @iova
 * @prot: KVIOMMU_READ and KVIOMMU_WRITE that the translation has; 0 if it has no leaf
 * @host: Host physical address that devices reach at @iova
 * @mapped: The leaf is mapped in the host's domain
 * @stale: The leaf is still mapped although the guest has unmapped it
 */
struct kviommu_leaf {
	u64 iova;
	u64 size;
	struct kviommu_entry guest;
	u64 gpa;
	u8 prot;
	phys_addr_t host;
	bool mapped;
	bool stale;
};

/**
 * struct kviommu_progress - The point at which a request of the guest was interrupted
 * @serial: Serial number of the translation at which kviommu_invalidate() resumes
 * @first: First I/O virtual address that is left of that translation
 * @last: Last I/O virtual address that is left, inclusive
 * @resolved: kviommu_rebind() knows the new bindings; the groups still have to follow
 *
 * All members are 0 before a request begins and after it is done.
 */
struct kviommu_progress {
	u64 serial;
	u64 first;
	u64 last;
	bool resolved;
};

/**
 * kviommu_same_binding() - Check whether two bindings select the same translation
 * @a: A binding
 * @b: Another binding
 *
 * Context: any.
 * Return: true if they do; kviommu_binding.quiet and .fault do not matter.
 */
static inline bool kviommu_same_binding(const struct kviommu_binding *a,
					const struct kviommu_binding *b)
{
	return a->type == b->type && a->did == b->did && a->root == b->root &&
	       a->levels == b->levels && a->source == b->source;
}

/* backends.c */
extern const struct kviommu_xlate_ops *const kviommu_backends[KVIOMMU_NR_BINDINGS];

/* fixed.c */
extern const struct kviommu_xlate_ops kviommu_blocked_ops;
extern const struct kviommu_xlate_ops kviommu_identity_ops;

/* shadow/ */
extern const struct kviommu_xlate_ops kviommu_shadow_ops;

/* nested/ */
extern const struct kviommu_xlate_ops kviommu_nested_ops;

/* tracked/ */
extern const struct kviommu_xlate_ops kviommu_tracked_ops;

/* xlate.c */
int kviommu_xlate_init(struct kviommu_unit *unit);
void kviommu_xlate_exit(struct kviommu_unit *unit);
struct kviommu_xlate *kviommu_xlate_find(struct kviommu_unit *unit,
					 struct kviommu_hwgroup *hw, u32 pasid,
					 const struct kviommu_binding *b,
					 bool *failed);
struct kviommu_xlate *kviommu_xlate_create(struct kviommu_unit *unit,
					   struct kviommu_hwgroup *hw,
					   const struct kviommu_binding *b);
int kviommu_xlate_build(struct kviommu_xlate *xlate, const struct kviommu_work *work);
int kviommu_xlate_attach(struct kviommu_xlate *xlate, struct kviommu_hwgroup *hw, u32 pasid);
void kviommu_xlate_detach_pasid(struct kviommu_xlate *xlate, struct kviommu_hwgroup *hw,
				u32 pasid);
void kviommu_xlate_put(struct kviommu_xlate *xlate);
int kviommu_xlate_reap(struct kviommu_unit *unit, const struct kviommu_work *work);
int kviommu_invalidate(struct kviommu_unit *unit, const struct kviommu_work *work,
		       int did, u64 first, u64 last, struct kviommu_progress *p);
void kviommu_xlate_invalidate(struct kviommu_xlate *xlate, const struct kviommu_work *work,
			      u64 first, u64 last);
void kviommu_invalidate_complete(struct kviommu_unit *unit,
				 const struct kviommu_work *work);
int kviommu_refresh(struct kviommu_unit *unit, const struct kviommu_work *work,
		    struct kviommu_progress *p);
void kviommu_revoke(struct kviommu_unit *unit, u64 first, u64 last);

/* whole.c */
int kviommu_backends_join(struct kviommu_unit *unit, struct kviommu_hwgroup *hw);
void kviommu_backends_leave(struct kviommu_unit *unit, struct kviommu_hwgroup *hw);
void kviommu_backends_refill(struct kviommu_unit *unit);
int kviommu_backends_fill(struct kviommu_unit *unit, const struct kviommu_work *work,
			  struct kviommu_hwgroup *hw);
int kviommu_backends_reap(struct kviommu_unit *unit, const struct kviommu_work *work);
bool kviommu_backends_tidy(struct kviommu_unit *unit, const struct kviommu_work *work);
int kviommu_backends_release(struct kviommu_unit *unit, const struct kviommu_work *work,
			     const struct kviommu_range *range, struct kviommu_progress *p);
void kviommu_backends_policy_set(struct kviommu_unit *unit);
u64 kviommu_backends_table_bytes(const struct kviommu_unit *unit);

#endif /* _KVIOMMU_XLATE_H */
