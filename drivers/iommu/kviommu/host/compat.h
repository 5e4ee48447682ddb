/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences between the supported kernel versions. Probes in the Makefile define
 * the KVIOMMU_HAVE_* and KVIOMMU_NO_* macros.
 */
#ifndef _KVIOMMU_COMPAT_H
#define _KVIOMMU_COMPAT_H

#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/slab.h>

/* Since 6.13 MODULE_IMPORT_NS() takes a string. */
#ifdef KVIOMMU_HAVE_STRING_NS
#define KVIOMMU_IMPORT_NS(ns)	MODULE_IMPORT_NS(#ns)
#else
#define KVIOMMU_IMPORT_NS(ns)	MODULE_IMPORT_NS(ns)
#endif

/* Kernels before 7.0 do not have kzalloc_obj(). */
#ifndef kzalloc_obj
#define kzalloc_obj(obj, gfp)	kzalloc(sizeof(obj), gfp)
#endif

/**
 * kviommu_compat_domain_alloc() - Allocate a domain, with second-stage tables if possible
 * @dev: A device that the domain is to be attached to
 *
 * Only second-stage tables support write-only pages and the full address width. Dirty
 * tracking is not used, but only the second stage supports it, so requesting it makes
 * a driver with both kinds of tables choose the second stage.
 *
 * Context: process context, may sleep.
 * Return: the domain or an ERR_PTR() of iommu_paging_domain_alloc().
 */
static inline struct iommu_domain *kviommu_compat_domain_alloc(struct device *dev)
{
#ifdef KVIOMMU_HAVE_DOMAIN_ALLOC_FLAGS
	struct iommu_domain *domain;

	domain = iommu_paging_domain_alloc_flags(dev,
						 IOMMU_HWPT_ALLOC_DIRTY_TRACKING);
	if (!IS_ERR(domain))
		return domain;
#endif
	return iommu_paging_domain_alloc(dev);
}

/*
 * Check whether another task wants the CPU. Since 6.13 there is a second flag, for a task
 * that does not get the CPU before the next tick.
 */
#ifdef TIF_NEED_RESCHED_LAZY
#define kviommu_compat_cpu_wanted()					\
	(need_resched() || test_thread_flag(TIF_NEED_RESCHED_LAZY))
#else
#define kviommu_compat_cpu_wanted()	need_resched()
#endif

/*
 * Do the work that a thread has to do on its return to user space, where a unit's worker
 * never goes: yield the CPU if another task wants it and, since 6.18, wait if the control
 * group has used up its CPU time (cpu.max) or too much memory. Before 6.18 the scheduler
 * throttled a thread anywhere in the kernel. Returns early if a signal is pending.
 */
#ifdef KVIOMMU_HAVE_USER_WORK
#include <linux/entry-virt.h>
#define kviommu_compat_user_work()	xfer_to_guest_mode_handle_work()
#else
#define kviommu_compat_user_work() do {					\
	if (kviommu_compat_cpu_wanted())				\
		schedule();						\
} while (0)
#endif

#endif /* _KVIOMMU_COMPAT_H */
