/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The statistics of a unit in one list. The structure, the sysfs files and the
 * descriptors of KVIOMMU_GET_STATS_FD are generated from it. See
 * Documentation/ABI/testing/sysfs-class-kviommu for the meaning of each.
 */
#ifndef _KVIOMMU_STATS_H
#define _KVIOMMU_STATS_H

#include <linux/types.h>

/* Element n counts latencies below 2^n us, the last element all longer ones. */
#define KVIOMMU_LATENCY_BUCKETS	20

/*
 * X(name, type, unit, exponent) with the terms of struct kvm_stats_desc. The type is
 * CUMULATIVE, INSTANT, PEAK or LOG_HIST, a histogram with buckets of powers of 2.
 */
#define KVIOMMU_STATS(X)						\
	X(reg_writes, CUMULATIVE, NONE, 0)				\
	X(descriptors, CUMULATIVE, NONE, 0)				\
	X(batches, CUMULATIVE, NONE, 0)					\
	X(maps, CUMULATIVE, NONE, 0)					\
	X(unmaps, CUMULATIVE, NONE, 0)					\
	X(syncs, CUMULATIVE, NONE, 0)					\
	X(faults, CUMULATIVE, NONE, 0)					\
	X(errors, CUMULATIVE, NONE, 0)					\
	X(pin_hits, CUMULATIVE, NONE, 0)				\
	X(pin_misses, CUMULATIVE, NONE, 0)				\
	X(pinned, INSTANT, NONE, 0)					\
	X(pinned_peak, PEAK, NONE, 0)					\
	X(mapped, INSTANT, NONE, 0)					\
	X(domains, INSTANT, NONE, 0)					\
	X(devices, INSTANT, NONE, 0)					\
	X(identity_devices, INSTANT, NONE, 0)				\
	X(nested_devices, INSTANT, NONE, 0)				\
	X(pasids, INSTANT, NONE, 0)					\
	X(table_bytes, INSTANT, BYTES, 0)				\
	X(limits, CUMULATIVE, NONE, 0)					\
	X(iommu_tables, INSTANT, NONE, 0)				\
	X(polls, CUMULATIVE, NONE, 0)					\
	X(polled, INSTANT, BOOLEAN, 0)					\
	X(polled_ns, CUMULATIVE, SECONDS, -9)				\
	X(overcommits, CUMULATIVE, NONE, 0)				\
	X(idle, INSTANT, NONE, 0)					\
	X(reclaims, CUMULATIVE, NONE, 0)				\
	X(stale, INSTANT, NONE, 0)					\
	X(stale_peak, PEAK, NONE, 0)					\
	X(stale_ns_max, PEAK, SECONDS, -9)				\
	X(reuses, CUMULATIVE, NONE, 0)					\
	X(pool_ns, CUMULATIVE, SECONDS, -9)				\
	X(asked, CUMULATIVE, NONE, 0)					\
	X(refused, CUMULATIVE, NONE, 0)					\
	X(unpinned, CUMULATIVE, NONE, 0)				\
	X(tracked, INSTANT, NONE, 0)					\
	X(tracked_devices, INSTANT, NONE, 0)				\
	X(latency, LOG_HIST, SECONDS, -6)

#define KVIOMMU_STAT_CUMULATIVE(name)	u64 name;
#define KVIOMMU_STAT_INSTANT(name)	u64 name;
#define KVIOMMU_STAT_PEAK(name)		u64 name;
#define KVIOMMU_STAT_LOG_HIST(name)	u64 name[KVIOMMU_LATENCY_BUCKETS];
#define KVIOMMU_STAT(name, type, ...)	KVIOMMU_STAT_##type(name)

/* The statistics of a unit: one member for each entry of KVIOMMU_STATS() */
struct kviommu_stats {
	KVIOMMU_STATS(KVIOMMU_STAT)
};

#endif /* _KVIOMMU_STATS_H */
