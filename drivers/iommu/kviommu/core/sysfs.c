// SPDX-License-Identifier: GPL-2.0-only
/*
 * /sys/class/kviommu/kviommu<id>/: the policy of a unit, to be read and changed,
 * and its statistics. See Documentation/ABI/testing/sysfs-class-kviommu.
 */
#include <linux/device.h>
#include <linux/err.h>
#include <linux/kdev_t.h>
#include <linux/kstrtox.h>
#include <linux/pid.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "core.h"
#include "../run/run.h"

static const struct class kviommu_class = { .name = "kviommu" };

/**
 * struct unit_attr - A file for a member of a structure of the UAPI
 * @dev: The file
 * @offset: Where the member is
 * @names: If it is one of some names, a __u32, these; else it is a __u64
 */
struct unit_attr {
	struct device_attribute dev;
	unsigned int offset;
	const char *const *names;
};

#define to_unit_attr(attr)	container_of_const(attr, struct unit_attr, dev)

#define UNIT_ATTR(_name, _mode, _show, _store, _offset, _names)		\
	(&((struct unit_attr[]) { {					\
		.dev = {						\
			.attr = { .name = _name, .mode = _mode },	\
			.show = _show,					\
			.store = _store,				\
		},							\
		.offset = _offset,					\
		.names = _names,					\
	} })[0].dev.attr)

static ssize_t policy_show(struct device *dev, struct device_attribute *attr,
			   char *buf)
{
	const struct unit_attr *a = to_unit_attr(attr);
	struct kviommu_unit *unit = dev_get_drvdata(dev);
	void *member = (void *)&unit->policy + a->offset;

	if (a->names)
		return sysfs_emit(buf, "%s\n",
				  a->names[READ_ONCE(*(u32 *)member)]);
	return sysfs_emit(buf, "%llu\n", READ_ONCE(*(u64 *)member));
}

static ssize_t policy_store(struct device *dev, struct device_attribute *attr,
			    const char *buf, size_t len)
{
	const struct unit_attr *a = to_unit_attr(attr);
	struct kviommu_unit *unit = dev_get_drvdata(dev);
	u64 number = 0;
	u32 name = 0;
	int ret;

	if (a->names) {
		ret = __sysfs_match_string(a->names, -1, buf);
		name = ret;
	} else {
		ret = kstrtou64(buf, 10, &number);
	}
	/* What stands behind a zero byte was not looked at. */
	if (ret < 0 || strlen(buf) != len)
		return -EINVAL;
	if (a->names)
		ret = kviommu_unit_change_policy(unit, a->offset, &name,
						 sizeof(name));
	else
		ret = kviommu_unit_change_policy(unit, a->offset, &number,
						 sizeof(number));
	return ret ?: len;
}

static ssize_t stat_show(struct device *dev, struct device_attribute *attr,
			 char *buf)
{
	const struct unit_attr *a = to_unit_attr(attr);
	struct kviommu_unit *unit = dev_get_drvdata(dev);
	struct kviommu_stats stats = {};
	u64 *value = (void *)&stats + a->offset;
	unsigned int i, n = value == stats.out_latency ?
			    ARRAY_SIZE(stats.out_latency) : 1;
	int at = 0;

	if (mutex_lock_killable(&unit->lock))
		return -EINTR;
	kviommu_unit_get_stats(unit, &stats);
	kviommu_unlock(unit);
	for (i = 0; i < n; i++)
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

/* For root only is what takes a lock of the unit to read. */
#define POLICY(_name, _names)						\
	UNIT_ATTR(#_name, 0644, policy_show, policy_store,		\
		  offsetof(struct kviommu_policy, _name), _names)
#define STAT(_name)							\
	UNIT_ATTR(#_name, 0400, stat_show, NULL,			\
		  offsetof(struct kviommu_stats, out_##_name), NULL)

static struct attribute *policy_attrs[] = {
	POLICY(mode, kviommu_mode_names),
	POLICY(strategy, kviommu_strategy_names),
	POLICY(max_pins, NULL),
	POLICY(max_idle_pins, NULL),
	POLICY(max_tables, NULL),
	POLICY(max_domains, NULL),
	POLICY(max_mapped, NULL),
	POLICY(max_stale, NULL),
	POLICY(stale_us, NULL),
	POLICY(idle_pin_ms, NULL),
	POLICY(poll_us_min, NULL),
	POLICY(poll_us_max, NULL),
	&dev_attr_poll_cpu.attr,
	&dev_attr_pid.attr,
	NULL
};

static struct attribute *stat_attrs[] = {
	STAT(reg_writes),
	STAT(descriptors),
	STAT(batches),
	STAT(maps),
	STAT(unmaps),
	STAT(syncs),
	STAT(faults),
	STAT(errors),
	STAT(pin_hits),
	STAT(pin_misses),
	STAT(pinned),
	STAT(pinned_peak),
	STAT(mapped),
	STAT(domains),
	STAT(devices),
	STAT(identity_devices),
	STAT(table_bytes),
	STAT(limits),
	STAT(iommu_tables),
	STAT(polls),
	STAT(polled),
	STAT(polled_ns),
	STAT(overcommits),
	STAT(idle),
	STAT(reclaims),
	STAT(stale),
	STAT(stale_peak),
	STAT(stale_ns_max),
	STAT(reuses),
	STAT(pool_ns),
	STAT(latency),
	NULL
};

/* Nobody may forget one: all members but size and flags. */
static_assert(ARRAY_SIZE(policy_attrs) - 3 ==
	      (sizeof(struct kviommu_policy) - 4 * sizeof(u32)) / sizeof(u64) + 2);
static_assert(ARRAY_SIZE(stat_attrs) - 1 ==
	      offsetof(struct kviommu_stats, out_latency) / sizeof(u64));

static const struct attribute_group policy_group = {
	.attrs = policy_attrs,
};

static const struct attribute_group stat_group = {
	.name = "statistics",
	.attrs = stat_attrs,
};

static const struct attribute_group *unit_groups[] = {
	&policy_group, &stat_group, NULL
};

/**
 * kviommu_sysfs_add() - Make the directory of a unit
 * @unit: The unit, which is whole
 *
 * Context: process context of the VMM, no locks.
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
 * @unit: The unit, which nobody uses by sysfs any more when this returns
 *
 * Context: process context, no locks.
 */
void kviommu_sysfs_remove(struct kviommu_unit *unit)
{
	device_unregister(unit->dev);
	put_pid(unit->vmm);
}

/**
 * kviommu_sysfs_init() - Make the class of all units
 *
 * Return: 0 or an error of class_register().
 */
int kviommu_sysfs_init(void)
{
	return class_register(&kviommu_class);
}

/**
 * kviommu_sysfs_exit() - Remove it
 */
void kviommu_sysfs_exit(void)
{
	class_unregister(&kviommu_class);
}
