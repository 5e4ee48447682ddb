/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who does the work of a unit, and in which pieces.
 *
 *	step.c		pieces of work, in the exit of a vCPU or wherever they are asked for
 *	worker.c	the unit's worker, a thread of the VMM
 *	handover.c	from trapping register writes to polling, and back
 *	pool.c		the threads that poll
 */
#ifndef _KVIOMMU_RUN_H
#define _KVIOMMU_RUN_H

#include "../base/model.h"

/* step.c */
void kviommu_work_begin(struct kviommu_work *work);
bool kviommu_step(struct kviommu_unit *unit);
void kviommu_run(struct kviommu_unit *unit, bool more);
void kviommu_unit_write(struct kviommu_kvm *k, unsigned int offset, const void *data,
			unsigned int len);
bool kviommu_poll_step(struct kviommu_unit *unit, bool all);

/* worker.c */
int kviommu_worker_start(struct kviommu_unit *unit);
void kviommu_worker_stop(struct kviommu_unit *unit);
void kviommu_worker_init(struct kviommu_unit *unit);
void kviommu_unit_defer(struct kviommu_unit *unit);
void kviommu_unit_wake(struct kviommu_unit *unit, u64 us);

/* handover.c */
bool kviommu_poll_wanted(struct kviommu_unit *unit);
void kviommu_poll_begin(struct kviommu_unit *unit);
int kviommu_poll_end(struct kviommu_unit *unit);
int kviommu_poll_trap(struct kviommu_unit *unit);
int kviommu_poll_arm(struct kviommu_unit *unit, u64 gfn);
void kviommu_poll_stop(struct kviommu_unit *unit);
u64 kviommu_poll_time(const struct kviommu_unit *unit);

/* pool.c */
bool kviommu_pool_any(void);
bool kviommu_pool_usable(void);
int kviommu_pool_add(struct kviommu_unit *unit);
bool kviommu_pool_has(struct kviommu_unit *unit);
void kviommu_pool_remove(struct kviommu_unit *unit);
int kviommu_poll_cpu(struct kviommu_unit *unit);
int kviommu_poll_init(void);
void kviommu_poll_exit(void);

#endif /* _KVIOMMU_RUN_H */
