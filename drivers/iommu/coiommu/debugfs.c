// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an administrator can look at.
 */
#include <linux/array_size.h>
#include <linux/build_bug.h>
#include <linux/debugfs.h>
#include <linux/list.h>
#include <linux/seq_file.h>
#include <linux/stddef.h>

#include "coiommu.h"

#define COUNTER(_name)	{ #_name, offsetof(struct coiommu_stats, _name) }

static const struct {
	const char *name;
	size_t offset;
} counters[] = {
	COUNTER(maps),
	COUNTER(misses),
	COUNTER(asked),
	COUNTER(requests),
	COUNTER(failed),
	COUNTER(timeouts),
	COUNTER(refused),
	COUNTER(bounced),
	COUNTER(underflows),
};

static_assert(sizeof(struct coiommu_stats) == ARRAY_SIZE(counters) * sizeof(u64));

static u64 counter_sum(size_t offset)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += *(u64 *)((void *)per_cpu_ptr(&coiommu_stats, cpu) + offset);
	return sum;
}

static int statistics_show(struct seq_file *s, void *unused)
{
	struct coiommu *co = s->private;
	struct coiommu_sum table;
	unsigned int i;

	coiommu_table_sum(&co->table, &table);
	seq_printf(s, "tracking %d\n", READ_ONCE(co->tracking));
	mutex_lock(&co->lock);
	seq_printf(s, "devices %zu\n", list_count_nodes(&co->devices));
	mutex_unlock(&co->lock);
	seq_printf(s, "frames %llu\n", table.frames);
	seq_printf(s, "mapped_frames %llu\n", table.mapped);
	seq_printf(s, "mappings %llu\n", table.mappings);
	seq_printf(s, "pinned_frames %llu\n", table.pinned);
	for (i = 0; i < ARRAY_SIZE(counters); i++)
		seq_printf(s, "%s %llu\n", counters[i].name, counter_sum(counters[i].offset));
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
