/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Translations: what a device's DMA goes through.
 *
 *	xlate.c		which translations a unit has, and what happens to all of them
 *	backends.c	the table of back-ends
 *	fixed.c		blocked and identity, which are always there
 *	shadow/		the guest's translations, merged with guest memory
 */
#ifndef _KVIOMMU_XLATE_H
#define _KVIOMMU_XLATE_H

#include "../base/unit.h"
#include "../source/source.h"

struct kviommu_leaf;
struct kviommu_xlate_ops;

/**
 * struct kviommu_binding - What the guest wants a device's DMA to go through
 * @type: One of &enum kviommu_binding_type
 * @did: Domain-id: what the model tells domains by
 * @levels: Levels of the tables
 * @root: The first table, as kviommu_source_ops.get_table takes it
 * @source: What the guest says of its addresses
 * @quiet: The guest wants no faults reported
 * @fault: Not 0: the guest asks for something invalid, for this reason of the model
 *
 * All but @fault and @type are 0 unless it is KVIOMMU_BIND_DOMAIN.
 */
struct kviommu_binding {
	enum kviommu_binding_type type;
	u16 did;
	u8 levels;
	u64 root;
	const struct kviommu_source *source;
	bool quiet;
	u8 fault;
};

/**
 * struct kviommu_xlate - A translation of a unit, for any number of IOMMU groups
 * @ops: Its back-end
 * @unit: The unit
 * @entry: In unit->xlates, the oldest first, unless it is one of unit->fixed
 * @serial: Tells it from all others that the unit had
 * @binding: What it is for
 * @refused_by: The physical IOMMU that was the last one not to take it
 * @unbuilt: What kviommu_xlate_ops.build has not come to yet, while @building
 * @building: Nothing is attached before it is whole
 * @users: How many IOMMU groups go through it, or wait for it; when there are
 *         none it is taken down, in pieces
 *
 * Under unit->lock. Comes and goes under map_lock as well.
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
 * struct kviommu_xlate_ops - A back-end
 * @pins: What guest memory its translations keep pinned
 * @create: Make an empty one for a binding, which the group can use; NULL if the unit
 *          has just one, which is always there. Return: it, or -ENOMEM, -EDQUOT or
 *          an error of the IOMMU's driver.
 * @fits: The group may go through this one, which another group uses
 * @build: Bring all of it in line with what the guest says. Return: 0; -EAGAIN when the
 *         time is up, with the rest in kviommu_xlate.unbuilt; -EINTR.
 * @attach: Let the group's DMA go through it. Return: 0, or with the group blocked
 *          -EINVAL if its IOMMU does not take this one, or another error.
 * @invalidate: The guest changed a range, or with @refresh: try also again what could
 *              not be had. Return: as @build, with the rest in @range.
 * @complete: The guest waits for the end of its invalidations of all translations of
 *            this back-end: when this returns no device reaches memory through an old
 *            one, or for no longer than the unit's strategy allows
 * @revoke: The IOAS loses guest frames, from @first to @last; complete when it returns
 * @drop: Take it down and free it. Return: 0; -EAGAIN or -EINTR as @build.
 * @next: Find the next leaf, for inspection. Return: 1; 0 if there is none; -EAGAIN.
 * @pinned: How many pages of 4 KiB it has mapped. NULL: it does not say.
 *
 * All under unit->lock but @revoke; @invalidate, @complete and @next under
 * map_lock, too. One that can be created has @invalidate; any other is NULL if there is
 * nothing to do.
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
	int (*invalidate)(struct kviommu_xlate *xlate, const struct kviommu_work *work,
			  struct kviommu_range *range, bool refresh);
	void (*complete)(struct kviommu_unit *unit, const struct kviommu_work *work);
	void (*revoke)(struct kviommu_unit *unit, u64 first, u64 last);
	int (*drop)(struct kviommu_xlate *xlate, const struct kviommu_work *work);
	int (*next)(struct kviommu_xlate *xlate, struct kviommu_leaf *leaf);
	u64 (*pinned)(const struct kviommu_xlate *xlate);
};

/**
 * struct kviommu_leaf - A leaf of a translation, for inspection
 * @iova: Its I/O virtual address
 * @size: How many bytes it covers
 * @guest: What the guest says of these now; nothing if it has no such leaf
 * @gpa: What the translation says: the guest physical address
 * @prot: And the rights; 0 if there is nothing
 * @host: The host physical address that devices reach
 * @mapped: The host's domain has it
 * @stale: Though the guest has removed it
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
 * struct kviommu_progress - How far an invalidation has come
 * @serial: The translation that it is at
 * @first: First I/O virtual address of it that is left
 * @last: Last one, inclusive
 *
 * All 0 before it begins, and when it is done.
 */
struct kviommu_progress {
	u64 serial;
	u64 first;
	u64 last;
};

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

/* xlate.c */
int kviommu_xlate_init(struct kviommu_unit *unit);
void kviommu_xlate_exit(struct kviommu_unit *unit);
struct kviommu_xlate *kviommu_xlate_find(struct kviommu_unit *unit,
					 struct kviommu_hwgroup *hw,
					 const struct kviommu_binding *b,
					 bool *refused);
struct kviommu_xlate *kviommu_xlate_create(struct kviommu_unit *unit,
					   struct kviommu_hwgroup *hw,
					   const struct kviommu_binding *b);
int kviommu_xlate_build(struct kviommu_xlate *xlate, const struct kviommu_work *work);
int kviommu_xlate_attach(struct kviommu_xlate *xlate, struct kviommu_hwgroup *hw);
void kviommu_xlate_put(struct kviommu_xlate *xlate);
int kviommu_xlate_reap(struct kviommu_unit *unit, const struct kviommu_work *work);
int kviommu_invalidate(struct kviommu_unit *unit, const struct kviommu_work *work,
		       int did, u64 first, u64 last, struct kviommu_progress *p);
void kviommu_invalidate_complete(struct kviommu_unit *unit,
				 const struct kviommu_work *work);
int kviommu_refresh(struct kviommu_unit *unit, const struct kviommu_work *work,
		    struct kviommu_progress *p);
void kviommu_revoke(struct kviommu_unit *unit, u64 first, u64 last);

#endif /* _KVIOMMU_XLATE_H */
