/* SPDX-License-Identifier: GPL-2.0 */
/* A control group (cgroup-v2) for the test's process, and for what it starts. */
#ifndef SELFTEST_KVIOMMU_CGROUP_H
#define SELFTEST_KVIOMMU_CGROUP_H

#define CGROUP_ROOT "/tmp/cgroup"
#define CGROUP CGROUP_ROOT "/kviommu"

/* Into a group with that controller, whose file @limit is "max", and out of it */
void cgroup_enter(const char *controller, const char *limit);
void cgroup_leave(void);

void cgroup_write(const char *file, const char *value);
/* The first number that the format finds in a line of the file */
unsigned long cgroup_read(const char *file, const char *format);

#endif
