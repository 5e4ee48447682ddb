/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between the kernels we build for. KVIOMMU_HAVE_* are found by
 * probes in the Makefile.
 */
#ifndef _KVIOMMU_COMPAT_H
#define _KVIOMMU_COMPAT_H

#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/slab.h>

/* The namespace became a string in 6.13. */
#ifdef KVIOMMU_HAVE_STRING_NS
#define KVIOMMU_IMPORT_NS(ns)	MODULE_IMPORT_NS(#ns)
#else
#define KVIOMMU_IMPORT_NS(ns)	MODULE_IMPORT_NS(ns)
#endif

/* Since 7.0. */
#ifndef kzalloc_obj
#define kzalloc_obj(obj, gfp)	kzalloc(sizeof(obj), gfp)
#endif

/*
 * Second-stage tables have write-only pages and the full width, which those of
 * the first stage do not. Dirty tracking, though unused, is what only they can
 * do: asking for it gets them where there is a choice.
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
 * Whether another task wants the CPU. Since 6.13 one that only the tick would give it to
 * says so by another flag.
 */
#ifdef TIF_NEED_RESCHED_LAZY
#define kviommu_compat_cpu_wanted()					\
	(need_resched() || test_thread_flag(TIF_NEED_RESCHED_LAZY))
#else
#define kviommu_compat_cpu_wanted()	need_resched()
#endif

/*
 * What a thread has to do on its way back to user space, where the worker of a unit never
 * goes: to let others run; and, since 6.18, to wait there when its control group has used up
 * its CPU time (cpu.max), or too much memory. Before, the scheduler took the CPU away wherever
 * the thread was. Returns early if a signal is pending.
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
