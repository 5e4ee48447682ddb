// SPDX-License-Identifier: GPL-2.0-only
/*
 * /sys/class/kviommu/kviommu<id>/: the policy in force for a unit, whose members the
 * administrator can set, and the unit's statistics. See
 * Documentation/ABI/testing/sysfs-class-kviommu.
 */
#include <linux/device.h>
#include <linux/err.h>
#include <linux/kdev_t.h>
#include <linux/pid.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "core.h"
#include "../run/run.h"

static const struct class kviommu_class = { .name = "kviommu" };

/**
 * struct unit_attr - A file for a member of the policy, or for a statistic
 * @dev: The attribute
 * @member: For a policy member: its bit in kviommu_policy.mask
 * @offset: For a statistic: its offset in struct kviommu_stats, in bytes
 * @count: For a statistic: the number of its values
 */
struct unit_attr {
	struct device_attribute dev;
	u64 member;
	unsigned int offset;
	unsigned int count;
};

#define to_unit_attr(attr)	container_of_const(attr, struct unit_attr, dev)

#define UNIT_ATTR(_name, _mode, _show, _store, ...)			\
	(&((struct unit_attr[]) { {					\
		.dev = {						\
			.attr = { .name = _name, .mode = _mode },	\
			.show = _show,					\
			.store = _store,				\
		},							\
		__VA_ARGS__						\
	} })[0].dev.attr)

static ssize_t policy_show(struct device *dev, struct device_attribute *attr,
			   char *buf)
{
	struct kviommu_unit *unit = dev_get_drvdata(dev);

	return kviommu_policy_print(&unit->policy, to_unit_attr(attr)->member, buf);
}

static ssize_t policy_store(struct device *dev, struct device_attribute *attr,
			    const char *buf, size_t len)
{
	struct kviommu_unit *unit = dev_get_drvdata(dev);
	u64 member = to_unit_attr(attr)->member;
	struct kviommu_policy admin = {};
	int ret;

	/* Text after a zero byte would be ignored by the parser, so reject it. */
	if (strlen(buf) != len)
		return -EINVAL;
	if (!sysfs_streq(buf, "default")) {
		ret = kviommu_policy_parse(&admin, member, buf);
		if (ret)
			return ret;
	}
	kviommu_unit_set_admin(unit, &admin, member);
	return len;
}

static ssize_t stat_show(struct device *dev, struct device_attribute *attr,
			 char *buf)
{
	const struct unit_attr *a = to_unit_attr(attr);
	struct kviommu_unit *unit = dev_get_drvdata(dev);
	struct kviommu_stats stats;
	const u64 *value = (const void *)&stats + a->offset;
	unsigned int i;
	int at = 0;

	if (mutex_lock_killable(&unit->lock))
		return -EINTR;
	kviommu_unit_get_stats(unit, &stats);
	kviommu_unlock(unit);
	for (i = 0; i < a->count; i++)
		at += sysfs_emit_at(buf, at, "%s%llu", i ? " " : "", value[i]);
	return at + sysfs_emit_at(buf, at, "\n");
}

static ssize_t poll_cpu_show(struct device *dev, struct device_attribute *attr,
			     char *buf)
{
	return sysfs_emit(buf, "%d\n", kviommu_poll_cpu(dev_get_drvdata(dev)));
}
static DEVICE_ATTR_ADMIN_RO(poll_cpu);

static ssize_t pid_show(struct device *dev, struct device_attribute *attr,
			char *buf)
{
	struct kviommu_unit *unit = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%d\n", pid_vnr(unit->vmm));
}
static DEVICE_ATTR_RO(pid);

#define POLICY(_name, _bit, ...)					\
	UNIT_ATTR(#_name, 0644, policy_show, policy_store,		\
		  .member = KVIOMMU_POLICY_##_bit),

/* In the order of the list. The user-space library relies on the mode being first. */
static struct attribute *policy_attrs[] = {
	KVIOMMU_POLICY_MEMBERS(POLICY)
	NULL
};

static struct attribute *unit_attrs[] = {
	&dev_attr_poll_cpu.attr,
	&dev_attr_pid.attr,
	NULL
};

/* Only root may read these, as reading takes unit->lock and map_lock. */
#define STAT(_name, ...)						\
	UNIT_ATTR(#_name, 0400, stat_show, NULL,			\
		  .offset = offsetof(struct kviommu_stats, _name),	\
		  .count = sizeof_field(struct kviommu_stats, _name) / sizeof(u64)),

static struct attribute *stat_attrs[] = {
	KVIOMMU_STATS(STAT)
	NULL
};

static const struct attribute_group policy_group = {
	.attrs = policy_attrs,
};

static const struct attribute_group unit_group = {
	.attrs = unit_attrs,
};

static const struct attribute_group stat_group = {
	.name = "statistics",
	.attrs = stat_attrs,
};

static const struct attribute_group *unit_groups[] = {
	&policy_group, &unit_group, &stat_group, NULL
};

/**
 * kviommu_sysfs_add() - Create the directory of a unit
 * @unit: The unit, which is fully set up
 *
 * Context: process context of the VMM, no locks; may sleep.
 * Return: 0 or an error of device_create_with_groups().
 */
int kviommu_sysfs_add(struct kviommu_unit *unit)
{
	unit->vmm = get_task_pid(current, PIDTYPE_TGID);
	unit->dev = device_create_with_groups(&kviommu_class, NULL, MKDEV(0, 0),
					      unit, unit_groups, "kviommu%d",
					      unit->id);
	if (!IS_ERR(unit->dev))
		return 0;
	put_pid(unit->vmm);
	return PTR_ERR(unit->dev);
}

/**
 * kviommu_sysfs_remove() - Remove the directory of a unit
 * @unit: The unit
 *
 * Waits for readers and writers of the files.
 *
 * Context: process context, no locks that these take; may sleep.
 */
void kviommu_sysfs_remove(struct kviommu_unit *unit)
{
	device_unregister(unit->dev);
	put_pid(unit->vmm);
}

/**
 * kviommu_sysfs_init() - Register the device class of units
 *
 * Context: process context; may sleep.
 * Return: 0 or an error of class_register().
 */
int kviommu_sysfs_init(void)
{
	return class_register(&kviommu_class);
}

/**
 * kviommu_sysfs_exit() - Unregister the device class of units
 *
 * Context: process context; may sleep.
 */
void kviommu_sysfs_exit(void)
{
	class_unregister(&kviommu_class);
}
