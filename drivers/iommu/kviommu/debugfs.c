// SPDX-License-Identifier: GPL-2.0-only
/*
 * /sys/kernel/debug/kviommu/<unit>/stats: the statistics of a unit for people,
 * as lines of name and value.
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "kviommu.h"

static struct dentry *debugfs_root;

#define STAT(name) { #name, offsetof(struct kviommu_stats, out_##name) }

static const struct {
	const char *name;
	size_t offset;
} stat_names[] = {
	STAT(reg_writes), STAT(descriptors), STAT(batches), STAT(maps),
	STAT(unmaps), STAT(syncs), STAT(faults), STAT(errors), STAT(pin_hits),
	STAT(pin_misses), STAT(pinned), STAT(pinned_peak), STAT(mapped),
	STAT(domains), STAT(devices), STAT(identity_devices),
	STAT(table_bytes), STAT(limits), STAT(iommu_tables), STAT(polls), STAT(polled),
	STAT(polled_ns), STAT(idle), STAT(reclaims), STAT(stale), STAT(stale_peak),
	STAT(stale_ns_max), STAT(reuses),
};

static int stats_show(struct seq_file *m, void *v)
{
	struct kviommu_unit *unit = m->private;
	struct kviommu_stats stats = {};
	unsigned int i;

	if (mutex_lock_killable(&unit->lock))
		return -EINTR;
	kviommu_unit_get_stats(unit, &stats);
	mutex_unlock(&unit->lock);
	for (i = 0; i < ARRAY_SIZE(stat_names); i++)
		seq_printf(m, "%s %llu\n", stat_names[i].name,
			   *(u64 *)((void *)&stats + stat_names[i].offset));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

/**
 * kviommu_debugfs_add() - Show a unit
 * @unit: The unit
 */
void kviommu_debugfs_add(struct kviommu_unit *unit)
{
	char name[16];

	snprintf(name, sizeof(name), "%d", unit->id);
	unit->debugfs = debugfs_create_dir(name, debugfs_root);
	debugfs_create_file("stats", 0400, unit->debugfs, unit, &stats_fops);
}

/**
 * kviommu_debugfs_remove() - Show a unit no longer
 * @unit: The unit
 */
void kviommu_debugfs_remove(struct kviommu_unit *unit)
{
	debugfs_remove_recursive(unit->debugfs);
}

/**
 * kviommu_debugfs_init() - Make the directory of all units
 */
void kviommu_debugfs_init(void)
{
	debugfs_root = debugfs_create_dir("kviommu", NULL);
}

/**
 * kviommu_debugfs_exit() - Remove it
 */
void kviommu_debugfs_exit(void)
{
	debugfs_remove_recursive(debugfs_root);
}
