/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The lifetime of a unit, its ioctls, its policy, and its files in sysfs and debugfs.
 */
#ifndef _KVIOMMU_CORE_H
#define _KVIOMMU_CORE_H

#include "../base/unit.h"

struct kviommu_model_kind;

/* unit.c */
struct kviommu_unit *kviommu_unit_alloc(void);
void kviommu_unit_destroy(struct kviommu_unit *unit);
int kviommu_unit_create(struct kviommu_unit *unit, const struct kviommu_create *cmd,
			const struct kviommu_model_kind *kind, const void *args);

/* cmds.c */
int kviommu_unit_arm(struct kviommu_unit *unit, u64 gpa);
int kviommu_unit_attach(struct kviommu_unit *unit, int fd, u32 source_id);
int kviommu_unit_detach(struct kviommu_unit *unit, u32 source_id);
int kviommu_unit_set_bus_master(struct kviommu_unit *unit, u32 source_id, bool on);
int kviommu_unit_reset(struct kviommu_unit *unit);
int kviommu_unit_set_wanted(struct kviommu_unit *unit,
			    const struct kviommu_policy *wanted);
void kviommu_unit_set_admin(struct kviommu_unit *unit,
			    const struct kviommu_policy *admin, u64 member);
void kviommu_unit_renew_policy(struct kviommu_unit *unit);
int kviommu_unit_refresh(struct kviommu_unit *unit);
int kviommu_unit_release_pins(struct kviommu_unit *unit,
			      struct kviommu_release_pins *cmd);
int kviommu_unit_settle(struct kviommu_unit *unit);
void kviommu_unit_get_stats(struct kviommu_unit *unit, struct kviommu_stats *stats);

/* policy.c */
void kviommu_policy_add(struct kviommu_unit *unit);
void kviommu_policy_remove(struct kviommu_unit *unit);
void kviommu_policy_host_changed(void);
u32 kviommu_policy_modes(void);
int kviommu_policy_check(const struct kviommu_policy *policy);
u64 kviommu_policy_within(u32 size);
void kviommu_policy_take(struct kviommu_policy *to, const struct kviommu_policy *from);
void kviommu_policy_in_force(struct kviommu_policy *policy,
			     const struct kviommu_policy *wanted,
			     const struct kviommu_policy *admin);
u64 kviommu_policy_changes(const struct kviommu_policy *a,
			   const struct kviommu_policy *b);
int kviommu_policy_parse(struct kviommu_policy *policy, u64 bit, const char *text);
int kviommu_policy_print(const struct kviommu_policy *policy, u64 bit, char *buf);

/* stats.c */
int kviommu_stats_open(struct kviommu_unit *unit);
void kviommu_stats_end(struct kviommu_unit *unit);

/* sysfs.c */
int kviommu_sysfs_init(void);
void kviommu_sysfs_exit(void);
int kviommu_sysfs_add(struct kviommu_unit *unit);
void kviommu_sysfs_remove(struct kviommu_unit *unit);

/* debugfs.c */
void kviommu_debugfs_init(void);
void kviommu_debugfs_exit(void);
void kviommu_debugfs_add(struct kviommu_unit *unit);
void kviommu_debugfs_remove(struct kviommu_unit *unit);

#endif /* _KVIOMMU_CORE_H */
