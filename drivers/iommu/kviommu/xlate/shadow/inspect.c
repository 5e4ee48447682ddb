// SPDX-License-Identifier: GPL-2.0-only
/*
 * The view of a shadow in debugfs, next to the guest's tables.
 */
#include <linux/align.h>

#include "shadow.h"

/*
 * Read entry @i of a node at @level from the guest's tables as they are now. @e is the
 * guest's entry for the node, and becomes the entry for @iova.
 */
static void inspect_guest_entry(const struct kviommu_source *source,
				const struct kviommu_node *node, unsigned int i, u64 iova,
			unsigned int level, struct kviommu_entry *e)
{
	unsigned int prot = e->prot;

	if (e->leaf) {
		e->addr += (u64)i << level_shift(level);
		return;
	}
	if (!prot || !node->table || node->addr != e->addr) {
		*e = (struct kviommu_entry){};
		return;
	}
	kviommu_source_entry(source, node->table, i, iova, level, e);
	e->prot &= prot;
	if (e->fault || !e->prot)
		*e = (struct kviommu_entry){};
}

/* Fill @leaf for the slot that translates leaf->iova. */
static void inspect_leaf(const struct kviommu_shadow *shadow,
			 struct kviommu_leaf *leaf)
{
	struct kviommu_entry *e = &leaf->guest;
	struct kviommu_node *node = shadow->root;
	unsigned int level = shadow->xlate.binding.levels + 1;
	u64 slot = 0;

	*e = (struct kviommu_entry){
		.prot = SLOT_PROT, .addr = shadow->xlate.binding.root
	};
	while (node) {
		unsigned int i;

		level--;
		i = leaf->iova >> level_shift(level) & (ENTRIES - 1);
		inspect_guest_entry(shadow->xlate.binding.source, node, i,
				    ALIGN_DOWN(leaf->iova, level_size(level)), level, e);
		slot = node->slots[i];
		node = slot_node(slot);
	}
	if (!e->leaf)
		*e = (struct kviommu_entry){};
	leaf->size = level_size(level);
	leaf->iova = ALIGN_DOWN(leaf->iova, leaf->size);
	leaf->prot = slot & SLOT_PROT;
	leaf->gpa = leaf->prot ? slot & SLOT_ADDR : 0;
	leaf->mapped = slot_mapped(slot);
	leaf->stale = slot_stale(slot);
	leaf->host = kviommu_hw_phys(shadow->hw, leaf->iova);
}

/**
 * kviommu_shadow_next() - Find the next leaf of a shadow
 * @xlate: The shadow
 * @leaf: Filled with the leaf; leaf->iova is the address at which the search begins
 *
 * Also finds leaves of the guest that the shadow should have, but does not.
 *
 * Context: under unit->lock and map_lock.
 * Return: 1 if there is a leaf; 0 if not; -EAGAIN after a while, to be called again with
 * the same @leaf.
 */
int kviommu_shadow_next(struct kviommu_xlate *xlate, struct kviommu_leaf *leaf)
{
	const struct kviommu_shadow *shadow = to_shadow(xlate);
	unsigned int n;

	lockdep_assert_held(&shadow->xlate.unit->map_lock);

	for (n = 0; n < MERGE_SLICE; n++) {
		if (leaf->iova >= level_size(shadow->xlate.binding.levels + 1))
			return 0;
		inspect_leaf(shadow, leaf);
		if (leaf->prot || leaf->guest.leaf)
			return 1;
		leaf->iova += leaf->size;
	}
	return -EAGAIN;
}
