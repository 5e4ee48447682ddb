/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The contexts that do a unit's work, and the pieces in which they do it.
 *
 *	step.c		pieces of work, in a vCPU's exit, an ioctl, the worker or a poller
 *	worker.c	the unit's worker, a thread of the VMM
 *	handover.c	the transitions between trapping register writes and polling
 *	self.c		polling by the worker
 *	pool.c		polling by shared threads
 *	pool_cpus.c	creation of the shared threads, and hotplug of their CPUs
 *	meter.c		measures how long a polling thread waits for its CPU
 *	backoff.c	delays before something that failed is tried again
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
bool kviommu_poll_step(struct kviommu_unit *unit, const struct kviommu_work *work,
		       bool all);

/* worker.c */
int kviommu_worker_start(struct kviommu_unit *unit);
void kviommu_worker_stop(struct kviommu_unit *unit);
void kviommu_worker_init(struct kviommu_unit *unit);
void kviommu_unit_defer(struct kviommu_unit *unit);
void kviommu_unit_wake(struct kviommu_unit *unit, u64 us);

/* handover.c */
void kviommu_poll_clamp_timeout(struct kviommu_unit *unit);
void kviommu_poll_ask(struct kviommu_unit *unit);
bool kviommu_poll_wanted(struct kviommu_unit *unit);
void kviommu_poll_begin(struct kviommu_unit *unit);
int kviommu_poll_end(struct kviommu_unit *unit);
int kviommu_poll_trap(struct kviommu_unit *unit);
int kviommu_poll_arm(struct kviommu_unit *unit, u64 gfn);
void kviommu_poll_stop(struct kviommu_unit *unit);
u64 kviommu_poll_time(const struct kviommu_unit *unit);

/* self.c */
bool kviommu_self_usable(const struct kviommu_unit *unit);
int kviommu_self_begin(struct kviommu_unit *unit);
int kviommu_self_end(struct kviommu_unit *unit);
void kviommu_self_poll(struct kviommu_unit *unit);

/* pool.c */
bool kviommu_pool_usable(const struct kviommu_unit *unit);
int kviommu_pool_add(struct kviommu_unit *unit);
bool kviommu_pool_has(struct kviommu_unit *unit);
int kviommu_pool_remove(struct kviommu_unit *unit, bool killable);
int kviommu_poll_cpu(struct kviommu_unit *unit);

/* pool_cpus.c */
bool kviommu_pool_any(void);
int kviommu_poll_init(void (*changed)(void));
void kviommu_poll_exit(void);

/* backoff.c */
bool kviommu_backoff_over(const struct kviommu_backoff *b);
void kviommu_backoff_fail(struct kviommu_backoff *b, u64 base, unsigned int max);

#endif /* _KVIOMMU_RUN_H */
