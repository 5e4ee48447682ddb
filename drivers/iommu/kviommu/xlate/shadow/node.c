// SPDX-License-Identifier: GPL-2.0-only
/*
 * The shadow copy: nodes, and the guest's tables that they stand for.
 */
#include <linux/err.h>
#include <linux/slab.h>

#include "shadow.h"

/* One that is not used, with slots that hold nothing. */
static struct kviommu_node *node_take(struct kviommu_unit *unit,
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

static void node_release(struct kviommu_node *node)
{
	free_page((unsigned long)node->slots);
	kfree(node);
}

/*
 * Undo node_take(); all slots hold nothing. A guest whose tables come and go, as with
 * each buffer of 2 MiB, needs another one soon.
 */
static void node_put(struct kviommu_unit *unit, struct kviommu_node *node)
{
	if (unit->shadows.nr_spare < KVIOMMU_SPARE_NODES)
		unit->shadows.spare[unit->shadows.nr_spare++] = node;
	else
		node_release(node);
}

/**
 * kviommu_node_alloc() - Make a node for a table of the guest
 * @shadow: The shadow
 * @work: The piece of work that this is part of
 * @iova: An address that it translates
 * @level: Level of its entries
 *
 * Context: under map_lock.
 * Return: the node, without a table; -EDQUOT at the limit of tables; -ENOMEM; -EAGAIN
 * if @work may not wait and none is spare.
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
	node = node_take(unit, work);
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
 * kviommu_node_drop_table() - Let a node stand for no table
 * @shadow: The shadow
 * @work: The piece of work that this is part of
 * @node: The node
 *
 * No remembered way leads through a node that is gone, or stands for another table.
 *
 * Context: under map_lock.
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
 * @node: The node, all of whose slots hold nothing
 *
 * Context: under map_lock.
 */
void kviommu_node_free(struct kviommu_shadow *shadow, const struct kviommu_work *work,
		       struct kviommu_node *node)
{
	kviommu_node_drop_table(shadow, work, node);
	shadow->xlate.unit->shadows.nr_nodes--;
	node_put(shadow->xlate.unit, node);
}

/**
 * kviommu_shadow_get_table() - Get at a table of the guest
 * @shadow: The shadow
 * @work: The piece of work that this is part of
 * @addr: What names it to the source
 * @table: Where to
 *
 * At a limit, what waits for a flush makes room.
 *
 * Context: under map_lock.
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
	if (!at_limit(ret) || !kviommu_stale_end(unit, work))
		return ret;
	return source->ops->get_table(source, unit, work, addr, table);
}

/**
 * kviommu_node_set_table() - Let a node stand for a table of the guest
 * @shadow: The shadow
 * @work: The piece of work that this is part of
 * @node: The node
 * @addr: What names the table to the source
 *
 * Context: under map_lock.
 * Return: as kviommu_shadow_get_table(); after -EAGAIN the node is as it was.
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
	if (ret == -EAGAIN)
		return ret;
	kviommu_node_drop_table(shadow, work, node);
	node->addr = addr;
	if (!ret)
		node->table = table;
	return ret;
}

/**
 * kviommu_shadow_count_tables() - Account for a table of the host's shadow
 * @shadow: The shadow
 * @work: The piece of work that this is part of
 * @iova: An address that it translates
 * @level: Level of its entries
 *
 * The host's driver keeps a table, once made, even if it is empty: mostly for the
 * life of its shadow, or until all that it translates is unmapped by one call.
 * Without a limit a guest that wanders through its addresses would collect them. The
 * few that kviommu_hw_splits() may leave are not counted.
 *
 * Context: under map_lock, may sleep.
 * Return: 0, -EDQUOT, -ENOMEM, or -EAGAIN if @work may not wait.
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
 * kviommu_shadow_bytes() - Host memory that shadow copies take
 * @unit: The unit
 *
 * Return: bytes.
 */
u64 kviommu_shadow_bytes(const struct kviommu_unit *unit)
{
	return (unit->shadows.nr_nodes + unit->shadows.nr_spare) *
	       (PAGE_SIZE + sizeof(struct kviommu_node));
}

/**
 * kviommu_shadow_free_spare() - Free what is kept for shadow copies to come
 * @unit: The unit
 *
 * Context: under map_lock, or nobody uses the unit.
 */
void kviommu_shadow_free_spare(struct kviommu_unit *unit)
{
	while (unit->shadows.nr_spare)
		node_release(unit->shadows.spare[--unit->shadows.nr_spare]);
}
