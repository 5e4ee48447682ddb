/* SPDX-License-Identifier: GPL-2.0 */
/*
 * libkviommu: the calls of /dev/kviommu for virtual machine monitors, names for
 * the values of its interface, and what units show in sysfs.
 *
 * Functions that return an int return a negative errno if they fail. What the
 * errors of a call mean stands in <linux/kviommu.h>. There is no state in the
 * library: any thread may call anything.
 */
#ifndef LIBKVIOMMU_H
#define LIBKVIOMMU_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/kviommu.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The unit: one open file of /dev/kviommu, closed with close() */

int kviommu_open(void);
int kviommu_get_info(int fd, struct kviommu_info *info);
int kviommu_get_vtd_info(int fd, struct kviommu_vtd_info *info);
int kviommu_create(int fd, struct kviommu_create *create);
int kviommu_create_vtd(int fd, struct kviommu_create *create,
		       struct kviommu_create_vtd *vtd);
int kviommu_get_coiommu_info(int fd, struct kviommu_coiommu_info *info);
int kviommu_create_coiommu(int fd, struct kviommu_create *create,
			   struct kviommu_create_coiommu *coiommu);
int kviommu_map_regs(int fd, void **regs, size_t *size);
int kviommu_arm(int fd, __u64 gpa);
int kviommu_attach(int fd, int device_fd, __u32 source_id);
int kviommu_detach(int fd, __u32 source_id);
int kviommu_get_device(int fd, __u32 source_id, struct kviommu_get_device *device);
int kviommu_set_bus_master(int fd, __u32 source_id, bool on);
int kviommu_get_pasid(int fd, __u32 source_id, __u32 pasid,
		      struct kviommu_get_device *device);
int kviommu_set_eventfd(int fd, __u32 event, int event_fd);
int kviommu_reset(int fd);
int kviommu_get_policy(int fd, struct kviommu_policy *policy);
int kviommu_get_wanted_policy(int fd, struct kviommu_policy *policy);
int kviommu_set_policy(int fd, const struct kviommu_policy *policy);
int kviommu_refresh(int fd);
int kviommu_release_pins(int fd, __u64 gpa, __u64 length, __u64 *in_use);

/* Statistics */

#define KVIOMMU_LATENCY_BUCKETS	20

/*
 * The statistics of a unit that the library knows.
 *
 * Each member has the name that it has in sysfs, and is described in
 * Documentation/ABI/testing/sysfs-class-kviommu. What a module does not count is 0. If a
 * module has another number of @latency, its last one and those beyond are added to the
 * last one here.
 * New members come at the end, but before @latency: a program and the library that
 * it is linked with are of one version.
 */
struct kviommu_stats {
	__u64 reg_writes;
	__u64 descriptors;
	__u64 batches;
	__u64 maps;
	__u64 unmaps;
	__u64 syncs;
	__u64 faults;
	__u64 errors;
	__u64 pin_hits;
	__u64 pin_misses;
	__u64 pinned;
	__u64 pinned_peak;
	__u64 mapped;
	__u64 domains;
	__u64 devices;
	__u64 identity_devices;
	__u64 nested_devices;
	__u64 table_bytes;
	__u64 limits;
	__u64 iommu_tables;
	__u64 polls;
	__u64 polled;
	__u64 polled_ns;
	__u64 overcommits;
	__u64 idle;
	__u64 reclaims;
	__u64 stale;
	__u64 stale_peak;
	__u64 stale_ns_max;
	__u64 reuses;
	__u64 pool_ns;
	__u64 pasids;
	__u64 asked;
	__u64 refused;
	__u64 unpinned;
	__u64 tracked;
	__u64 tracked_devices;
	__u64 latency[KVIOMMU_LATENCY_BUCKETS];
};

int kviommu_open_stats(int fd);
int kviommu_read_stats(int stats_fd, struct kviommu_stats *stats);
int kviommu_get_stats(int fd, struct kviommu_stats *stats);

/* Names, as in sysfs */

const char *kviommu_mode_name(__u32 mode);
int kviommu_mode_number(const char *name);
const char *kviommu_strategy_name(__u32 strategy);
int kviommu_strategy_number(const char *name);

/**
 * struct kviommu_field - A member of struct kviommu_stats or kviommu_policy
 * @name: Its name, as in sysfs
 * @offset: Where it is; it is a __u64
 * @level: It is a state or a maximum; all others only count up
 * @member: Of a policy: which &enum kviommu_policy_member it is
 */
struct kviommu_field {
	const char *name;
	size_t offset;
	bool level;
	__u64 member;
};

/* All such members of the two, in their order; a name that is NULL ends them. */
extern const struct kviommu_field kviommu_stats_fields[];
extern const struct kviommu_field kviommu_policy_fields[];

__u64 kviommu_field_value(const struct kviommu_field *field, const void *from);

/* kviommu_stats.latency, or the difference of two of them */

__u64 kviommu_latency_limit(unsigned int bucket);
int kviommu_latency_percentile(const __u64 *latency, unsigned int percent);

/* sysfs */

#define KVIOMMU_SYSFS	"/sys/class/kviommu"

int kviommu_sysfs_next(const char *sysfs, int unit);
int kviommu_sysfs_open(const char *sysfs, int unit);
int kviommu_sysfs_pid(int dir);
int kviommu_sysfs_read(int dir, struct kviommu_policy *policy,
		       struct kviommu_stats *stats);

#ifdef __cplusplus
}
#endif

#endif
