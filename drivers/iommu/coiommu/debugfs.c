// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an administrator can look at.
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "coiommu.h"

static int statistics_show(struct seq_file *s, void *unused)
{
	struct coiommu *co = s->private;
	struct coiommu_stats sum = {};
	struct coiommu_sum table;
	struct coiommu_device *cd;
	unsigned int devices = 0;
	int cpu;

	for_each_possible_cpu(cpu) {
		const struct coiommu_stats *c = per_cpu_ptr(&coiommu_stats, cpu);

		sum.maps += c->maps;
		sum.misses += c->misses;
		sum.asked += c->asked;
		sum.requests += c->requests;
		sum.failed += c->failed;
		sum.timeouts += c->timeouts;
		sum.refused += c->refused;
		sum.bounced += c->bounced;
		sum.underflows += c->underflows;
	}
	mutex_lock(&co->lock);
	list_for_each_entry(cd, &co->devices, entry)
		devices++;
	mutex_unlock(&co->lock);
	coiommu_table_sum(&co->table, &table);
	seq_printf(s, "tracking %d\n", READ_ONCE(co->tracking));
	seq_printf(s, "devices %u\n", devices);
	seq_printf(s, "frames %llu\n", table.frames);
	seq_printf(s, "mapped_frames %llu\n", table.mapped);
	seq_printf(s, "mappings %llu\n", table.mappings);
	seq_printf(s, "pinned_frames %llu\n", table.pinned);
	seq_printf(s, "maps %llu\n", sum.maps);
	seq_printf(s, "misses %llu\n", sum.misses);
	seq_printf(s, "asked %llu\n", sum.asked);
	seq_printf(s, "requests %llu\n", sum.requests);
	seq_printf(s, "failed %llu\n", sum.failed);
	seq_printf(s, "timeouts %llu\n", sum.timeouts);
	seq_printf(s, "refused %llu\n", sum.refused);
	seq_printf(s, "bounced %llu\n", sum.bounced);
	seq_printf(s, "underflows %llu\n", sum.underflows);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(statistics);

static int devices_show(struct seq_file *s, void *unused)
{
	struct coiommu *co = s->private;
	struct coiommu_device *cd;

	mutex_lock(&co->lock);
	list_for_each_entry(cd, &co->devices, entry)
		seq_printf(s, "%s\n", dev_name(cd->dev));
	mutex_unlock(&co->lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(devices);

/**
 * coiommu_debugfs_add() - Make the directory in debugfs
 * @co: The driver's state
 *
 * Context: process context, may sleep.
 */
void coiommu_debugfs_add(struct coiommu *co)
{
	co->debugfs = debugfs_create_dir("coiommu", NULL);
	debugfs_create_file("statistics", 0444, co->debugfs, co, &statistics_fops);
	debugfs_create_file("devices", 0444, co->debugfs, co, &devices_fops);
}

/**
 * coiommu_debugfs_remove() - Remove the directory, which nobody looks at any more then
 * @co: The driver's state
 *
 * Context: process context, may sleep.
 */
void coiommu_debugfs_remove(struct coiommu *co)
{
	debugfs_remove(co->debugfs);
}
