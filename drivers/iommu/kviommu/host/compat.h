/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences between the supported kernel versions. Probes in the Makefile define
 * the KVIOMMU_HAVE_* and KVIOMMU_NO_* macros.
 */
#ifndef _KVIOMMU_COMPAT_H
#define _KVIOMMU_COMPAT_H

#include <linux/err.h>
#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <uapi/linux/iommufd.h>

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
 * kviommu_compat_parent_alloc() - Allocate a domain that others can be nested in
 * @dev: A device that nested domains are to be attached to
 * @ops: The operations of its IOMMU's driver
 *
 * Before 6.13 a single operation of the drivers allocated all domains of iommufd, which was
 * the only one to call it.
 *
 * Context: process context, may sleep.
 * Return: the domain; -EOPNOTSUPP if the IOMMU cannot nest; -ENOMEM.
 */
static inline struct iommu_domain *
kviommu_compat_parent_alloc(struct device *dev, const struct iommu_ops *ops)
{
#ifdef KVIOMMU_HAVE_DOMAIN_ALLOC_FLAGS
	return iommu_paging_domain_alloc_flags(dev, IOMMU_HWPT_ALLOC_NEST_PARENT);
#else
	struct iommu_domain *domain;

	if (!ops->domain_alloc_user)
		return ERR_PTR(-EOPNOTSUPP);
	domain = ops->domain_alloc_user(dev, IOMMU_HWPT_ALLOC_NEST_PARENT, NULL, NULL);
	if (!IS_ERR(domain))
		domain->owner = ops;
	return domain;
#endif
}

/**
 * kviommu_compat_nested_alloc() - Allocate a domain for tables of the guest
 * @dev: A device that the domain is to be attached to
 * @ops: The operations of its IOMMU's driver
 * @parent: Its second stage, of kviommu_compat_parent_alloc()
 * @data: What the driver has to know of the tables, in user memory
 *
 * Context: process context, may sleep.
 * Return: the domain; -EFAULT if @data cannot be read; an error of the driver.
 */
static inline struct iommu_domain *
kviommu_compat_nested_alloc(struct device *dev, const struct iommu_ops *ops,
			    struct iommu_domain *parent,
			    const struct iommu_user_data *data)
{
	struct iommu_domain *domain;

#ifdef KVIOMMU_HAVE_DOMAIN_ALLOC_FLAGS
	if (!ops->domain_alloc_nested)
		return ERR_PTR(-EOPNOTSUPP);
	domain = ops->domain_alloc_nested(dev, parent, 0, data);
#else
	domain = ops->domain_alloc_user(dev, 0, parent, data);
#endif
	/* iommufd does the same; without an owner it could not be attached. */
	if (!IS_ERR(domain))
		domain->owner = ops;
	return domain;
}

/*
 * Before the kernel's generic page tables Intel's driver computed the address mask of a flush
 * of all addresses of a nested domain by a shift by 64 bits. It attaches nested domains to
 * PASIDs since 6.13, but up to 6.16 a flush of a whole second stage, which is what is left
 * then, missed what devices had cached for PASIDs.
 */
#ifdef KVIOMMU_HAVE_GENERIC_PT
#define kviommu_compat_flushes_all()	true
#define kviommu_compat_nests_pasids()	true
#else
#define kviommu_compat_flushes_all()	false
#define kviommu_compat_nests_pasids()	false
#endif

/**
 * kviommu_compat_domain_alloc() - Allocate a domain, with second-stage tables if possible
 * @dev: A device that the domain is to be attached to
 *
 * Only second-stage tables support write-only pages and the full address width. Dirty
 * tracking is not used, but only the second stage supports it, so requesting it makes
 * a driver with both kinds of tables choose the second stage. (A domain that others can be
 * nested in has such tables, too, but Intel's driver maps no page there for reading alone.)
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
	/* For lack of memory a domain of another kind would be no better. */
	if (!IS_ERR(domain) || PTR_ERR(domain) == -ENOMEM)
		return domain;
#endif
	return iommu_paging_domain_alloc(dev);
}

/**
 * kviommu_compat_unmap() - Unmap a range of a domain, with few flushes or none
 * @domain: The domain
 * @iova: First I/O virtual address
 * @size: Size of the range in bytes
 * @gather: Extended by the range
 *
 * Before Intel's and AMD's drivers had the kernel's generic page tables they flushed the
 * gathered range when the next one did not adjoin it (AMD's in a virtual machine) or had
 * another size (Intel's). So there each unmap has a gather of its own, and these are merged:
 * the tables to be freed, and the range. (@gather->pgsize is for Arm's driver.)
 *
 * Context: process context.
 * Return: as iommu_unmap_fast().
 */
static inline size_t kviommu_compat_unmap(struct iommu_domain *domain, unsigned long iova,
					  size_t size, struct iommu_iotlb_gather *gather)
{
#ifdef KVIOMMU_HAVE_GENERIC_PT
	return iommu_unmap_fast(domain, iova, size, gather);
#else
	struct iommu_iotlb_gather one;
	size_t unmapped;

	iommu_iotlb_gather_init(&one);
	unmapped = iommu_unmap_fast(domain, iova, size, &one);
	iommu_iotlb_gather_add_range(gather, iova, size);
#ifdef KVIOMMU_HAVE_PAGES_LIST
	list_splice(&one.freelist.pages, &gather->freelist.pages);
#else
	list_splice(&one.freelist, &gather->freelist);
#endif
	return unmapped;
#endif
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
