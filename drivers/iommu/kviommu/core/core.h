/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A unit's life, its ioctls, its policy, and what an operator sees of it.
 */
#ifndef _KVIOMMU_CORE_H
#define _KVIOMMU_CORE_H

#include "../base/unit.h"

/* unit.c */
struct kviommu_unit *kviommu_unit_alloc(void);
void kviommu_unit_destroy(struct kviommu_unit *unit);
int kviommu_unit_create(struct kviommu_unit *unit, struct kviommu_create *cmd);

/* cmds.c */
int kviommu_unit_arm(struct kviommu_unit *unit, u64 gpa);
int kviommu_unit_attach(struct kviommu_unit *unit, int fd, u32 source_id);
int kviommu_unit_detach(struct kviommu_unit *unit, u32 source_id);
int kviommu_unit_reset(struct kviommu_unit *unit);
int kviommu_unit_change_policy(struct kviommu_unit *unit, unsigned int offset,
			       const void *value, unsigned int size);
int kviommu_unit_refresh(struct kviommu_unit *unit);
int kviommu_unit_release_pins(struct kviommu_unit *unit,
			      struct kviommu_release_pins *cmd);
int kviommu_unit_settle(struct kviommu_unit *unit);
void kviommu_unit_get_stats(struct kviommu_unit *unit, struct kviommu_stats *stats);

/* policy.c */
extern const char *const kviommu_mode_names[];
extern const char *const kviommu_strategy_names[];

void kviommu_policy_init(struct kviommu_policy *policy);
int kviommu_policy_check(const struct kviommu_policy *policy,
			 const struct kviommu_policy *now);

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
