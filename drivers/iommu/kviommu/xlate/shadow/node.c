// SPDX-License-Identifier: GPL-2.0-only
/*
 * The shadow copy: nodes, and the guest's tables that they represent.
 */
#include <linux/err.h>
#include <linux/slab.h>

#include "shadow.h"

/* Get a node with empty slots, a spare one if possible. */
static struct kviommu_node *node_get(struct kviommu_unit *unit,
				     const struct kviommu_work *work)
{
	struct kviommu_node *node;

	if (unit->shadows.nr_spare)
		return unit->shadows.spare[--unit->shadows.nr_spare];
	if (!work->may_wait)
		return ERR_PTR(-EAGAIN);
	node = kzalloc_obj(*node, KVIOMMU_GFP);
	if (!node)
		return ERR_PTR(-ENOMEM);
	node->slots = (u64 *)get_zeroed_page(KVIOMMU_GFP);
	if (!node->slots) {
		kfree(node);
		return ERR_PTR(-ENOMEM);
	}
	return node;
}

static void node_destroy(struct kviommu_node *node)
{
	free_page((unsigned long)node->slots);
	kfree(node);
}

/*
 * Undo node_get(). All slots are empty. The node is kept as a spare one: a guest that
 * frees a table with each 2 MiB buffer needs another table soon.
 */
static void node_put(struct kviommu_unit *unit, struct kviommu_node *node)
{
	if (unit->shadows.nr_spare < KVIOMMU_SPARE_NODES)
		unit->shadows.spare[unit->shadows.nr_spare++] = node;
	else
		node_destroy(node);
}

/**
 * kviommu_node_alloc() - Allocate a node for a table of the guest
 * @shadow: The shadow
 * @work: The piece of work that this is part of
 * @iova: An I/O virtual address that the table translates
 * @level: Level of the table; 1 is the last
 *
 * Context: process context, under map_lock; may sleep if @work may wait.
 * Return: the node, without a table; -EDQUOT at the limit of tables; -ENOMEM; -EAGAIN if
 * @work may not wait and no spare node is left.
 */
struct kviommu_node *kviommu_node_alloc(struct kviommu_shadow *shadow,
					const struct kviommu_work *work, u64 iova,
					unsigned int level)
{
	struct kviommu_unit *unit = shadow->xlate.unit;
	struct kviommu_node *node;
	int ret;

	if (unit->shadows.nr_nodes >= unit->policy.max_tables)
		return ERR_PTR(-EDQUOT);
	node = node_get(unit, work);
	if (IS_ERR(node))
		return node;
	ret = kviommu_shadow_count_tables(shadow, work, iova, level);
	if (ret) {
		node_put(unit, node);
		return ERR_PTR(ret);
	}
	node->addr = NO_ADDR;
	unit->shadows.nr_nodes++;
	return node;
}

/**
 * kviommu_node_drop_table() - Detach a node from its table
 * @shadow: The shadow
 * @work: The piece of work that this is part of
 * @node: The node; nothing is done if it has no table
 *
 * Also clears the cache of leaf tables, so no cached path leads through a node that is
 * freed or that represents another table.
 *
 * Context: process context, under map_lock; may sleep if @work may wait.
 */
void kviommu_node_drop_table(struct kviommu_shadow *shadow,
			     const struct kviommu_work *work,
			     struct kviommu_node *node)
{
	const struct kviommu_source *source = shadow->xlate.binding.source;
	unsigned int i;

	if (!node->table)
		return;
	for (i = 0; i < NR_LEAF_TABLES; i++)
		shadow->leaf_tables[i].node = NULL;
	node->table = NULL;
	source->ops->put_table(source, shadow->xlate.unit, work, node->addr);
}

/**
 * kviommu_node_free() - Undo kviommu_node_alloc()
 * @shadow: The shadow
 * @work: The piece of work that this is part of
 * @node: The node, all of whose slots are empty
 *
 * Context: process context, under map_lock; may sleep if @work may wait.
 */
void kviommu_node_free(struct kviommu_shadow *shadow, const struct kviommu_work *work,
		       struct kviommu_node *node)
{
	kviommu_node_drop_table(shadow, work, node);
	shadow->xlate.unit->shadows.nr_nodes--;
	node_put(shadow->xlate.unit, node);
}

/**
 * kviommu_shadow_get_table() - Make a table of the guest readable
 * @shadow: The shadow
 * @work: The piece of work that this is part of
 * @addr: Name of the table for kviommu_source_ops.get_table
 * @table: Set to the table
 *
 * At a limit, releases everything that is stale and tries again.
 *
 * Context: process context, under map_lock; may sleep.
 * Return: 0 or an error of kviommu_source_ops.get_table.
 */
int kviommu_shadow_get_table(struct kviommu_shadow *shadow,
			     const struct kviommu_work *work, u64 addr,
			     const void **table)
{
	const struct kviommu_source *source = shadow->xlate.binding.source;
	struct kviommu_unit *unit = shadow->xlate.unit;
	int ret;

	ret = source->ops->get_table(source, unit, work, addr, table);
	if (!ret)
		return 0;
	ret = shadow_make_room(unit, work, ret);
	return ret ?: source->ops->get_table(source, unit, work, addr, table);
}

/**
 * kviommu_node_set_table() - Make a node represent a table of the guest
 * @shadow: The shadow
 * @work: The piece of work that this is part of
 * @node: The node
 * @addr: Name of the table for kviommu_source_ops.get_table
 *
 * Context: process context, under map_lock; may sleep.
 * Return: as kviommu_shadow_get_table(). After -EAGAIN or -EINTR the node is unchanged,
 * after another error it has no table.
 */
int kviommu_node_set_table(struct kviommu_shadow *shadow,
			   const struct kviommu_work *work,
			   struct kviommu_node *node, u64 addr)
{
	const void *table = NULL;
	int ret;

	if (node->table && node->addr == addr)
		return 0;
	ret = kviommu_shadow_get_table(shadow, work, addr, &table);
	if (kviommu_unfinished(ret))
		return ret;
	kviommu_node_drop_table(shadow, work, node);
	node->addr = addr;
	if (!ret)
		node->table = table;
	return ret;
}

/**
 * kviommu_shadow_count_tables() - Account for a table of the host's domain
 * @shadow: The shadow
 * @work: The piece of work that this is part of
 * @iova: An I/O virtual address that the table translates
 * @level: Level of the table; 1 is the last
 *
 * Most IOMMU drivers keep a table, even an empty one, for the life of the domain or until
 * one call unmaps all that it translates. Without a limit, a guest that uses ever new
 * addresses would accumulate tables. The few that kviommu_hw_splits() may leave behind
 * are not counted.
 *
 * Context: process context, under map_lock; may sleep if @work may wait.
 * Return: 0; -EDQUOT at the limit of tables; -ENOMEM; -EAGAIN if @work may not wait.
 */
int kviommu_shadow_count_tables(struct kviommu_shadow *shadow,
				const struct kviommu_work *work, u64 iova,
				unsigned int level)
{
	struct kviommu_unit *unit = shadow->xlate.unit;
	unsigned long index = (iova >> (PAGE_SHIFT + 9 * level)) |
			      (unsigned long)level << 56;
	int ret;

	if (xa_load(&shadow->hw_tables, index))
		return 0;
	if (!work->may_wait)
		return -EAGAIN;
	if (unit->stats.iommu_tables >= unit->policy.max_tables)
		return -EDQUOT;
	ret = xa_err(xa_store(&shadow->hw_tables, index, xa_mk_value(1),
			      KVIOMMU_GFP));
	if (ret)
		return ret;
	shadow->nr_hw_tables++;
	kviommu_count(unit, iommu_tables, 1);
	return 0;
}

/**
 * kviommu_shadow_free_spare() - Free all spare nodes of a unit
 * @unit: The unit
 *
 * Context: under map_lock.
 */
void kviommu_shadow_free_spare(struct kviommu_unit *unit)
{
	while (unit->shadows.nr_spare)
		node_destroy(unit->shadows.spare[--unit->shadows.nr_spare]);
}
