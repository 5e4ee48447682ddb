// SPDX-License-Identifier: GPL-2.0-only
/*
 * The IOMMU API: domains, their translations, and the groups attached to them. The
 * caller has to serialize attach and detach with map and unmap: drivers modify the
 * tables and the list of flush targets at attach and detach, without a lock against
 * concurrent map and unmap.
 */
#include <linux/error-injection.h>
#include <linux/iommu.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/memcontrol.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "compat.h"
#include "host.h"

/**
 * kviommu_hw_make_coherent() - Enforce coherent DMA of a new domain where that is possible
 * @v: A device that the domain is to be attached to
 * @domain: The domain, or an error that is passed on
 *
 * Context: process context, may sleep.
 * Return: @domain; -EMEDIUMTYPE if it cannot enforce coherent DMA although the device's
 * IOMMU claims to: it was freed then.
 */
struct iommu_domain *kviommu_hw_make_coherent(struct kviommu_vfio *v,
					      struct iommu_domain *domain)
{
	if (IS_ERR(domain))
		return domain;
	if (kviommu_vfio_enforces_coherency(v) &&
	    (!domain->ops->enforce_cache_coherency ||
	     !domain->ops->enforce_cache_coherency(domain))) {
		iommu_domain_free(domain);
		return ERR_PTR(-EMEDIUMTYPE);
	}
	return domain;
}

/**
 * kviommu_hw_alloc() - Allocate an empty domain for a device
 * @v: The device
 *
 * Context: process context, may sleep.
 * Return: the domain; an error of kviommu_hw_make_coherent() or of the IOMMU's driver.
 */
struct iommu_domain *kviommu_hw_alloc(struct kviommu_vfio *v)
{
	return kviommu_hw_make_coherent(v, kviommu_compat_domain_alloc(v->dev));
}
ALLOW_ERROR_INJECTION(kviommu_hw_alloc, ERRNO);

/**
 * kviommu_hw_splits() - Check whether pages mapped by one call can be unmapped one by one
 * @domain: A domain without translations and without devices
 *
 * iommu_unmap() does not promise to unmap a part of what one iommu_map() has mapped.
 * Drivers with page tables can, as long as they did not use a larger page size; the
 * domain's page sizes show whether they have one between 4 KiB and 2 MiB. Drivers that
 * store ranges cannot. (If such a driver has no page size but 4 KiB and 2 MiB, a kernel
 * with iommu.debug_pagealloc reports the attempt made here.)
 *
 * Context: process context, may sleep.
 * Return: true if they can, for fewer pages than a 2 MiB page has.
 */
bool kviommu_hw_splits(struct iommu_domain *domain)
{
	const gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN;
	unsigned long iova = ALIGN(domain->geometry.aperture_start, SZ_8K);
	struct page *pages;
	bool splits = false;
	phys_addr_t phys;
	size_t unmapped;

	if (!domain->pgsize_bitmap || domain->pgsize_bitmap & (SZ_2M - SZ_8K))
		return false;
	pages = alloc_pages(gfp | __GFP_ZERO, 1);
	if (!pages)
		return false;
	phys = page_to_phys(pages);
	if (!iommu_map(domain, iova, phys, SZ_8K, IOMMU_READ | IOMMU_CACHE, gfp)) {
		unmapped = iommu_unmap(domain, iova, SZ_4K);
		splits = unmapped == SZ_4K &&
			 iommu_iova_to_phys(domain, iova + SZ_4K) == phys + SZ_4K;
		if (unmapped < SZ_8K)
			unmapped += iommu_unmap(domain, iova + unmapped,
						SZ_8K - unmapped);
		/* A driver that cannot unmap them lets devices reach them: leak the pages. */
		if (unmapped < SZ_8K)
			return false;
	}
	__free_pages(pages, 1);
	return splits;
}

/**
 * kviommu_hw_check() - Check whether a domain can translate all of a guest's addresses
 * @domain: A domain without translations and without devices
 * @aw_bits: Width of the I/O virtual addresses, in bits
 *
 * A driver may learn only at attach which width the hardware supports. It then checks
 * the highest address that was ever mapped, so this function maps that one.
 *
 * Context: process context, may sleep.
 * Return: 0; -EMEDIUMTYPE if the domain cannot; -ENOMEM.
 */
int kviommu_hw_check(struct iommu_domain *domain, unsigned int aw_bits)
{
	u64 iova = (1ULL << aw_bits) - SZ_4K;
	int ret;

	if (domain->geometry.aperture_end < (1ULL << aw_bits) - 1 ||
	    !(domain->pgsize_bitmap & SZ_4K))
		return -EMEDIUMTYPE;
	ret = iommu_map(domain, iova, page_to_phys(ZERO_PAGE(0)), SZ_4K,
			IOMMU_READ | IOMMU_CACHE, GFP_KERNEL_ACCOUNT);
	if (ret)
		return ret == -ENOMEM ? ret : -EMEDIUMTYPE;
	iommu_unmap(domain, iova, SZ_4K);
	return 0;
}

/**
 * kviommu_hw_reserved() - Find the addresses that must not be translated for a group
 * @group: The group
 * @r: Filled with the reserved ranges; two of these can be compared with memcmp()
 *
 * Like VFIO, this ignores relaxable direct mappings. A device that requires a direct
 * mapping never gets here: the IOMMU core refuses to block its DMA, so VFIO cannot bind
 * it.
 *
 * Context: process context, may sleep.
 * Return: 0; -EMEDIUMTYPE if there are more than KVIOMMU_MAX_RESERVED ranges; -ENOMEM.
 */
int kviommu_hw_reserved(struct iommu_group *group, struct kviommu_reserved *r)
{
	struct iommu_resv_region *region, *next;
	LIST_HEAD(regions);
	int ret;

	memset(r, 0, sizeof(*r));
	ret = iommu_get_group_resv_regions(group, &regions);
	list_for_each_entry_safe(region, next, &regions, list) {
		u64 last = region->start + region->length - 1;

		if (!ret && region->type != IOMMU_RESV_DIRECT_RELAXABLE &&
		    r->nr == KVIOMMU_MAX_RESERVED)
			ret = -EMEDIUMTYPE;
		if (!ret && region->type != IOMMU_RESV_DIRECT_RELAXABLE) {
			r->range[r->nr].first = region->start & PAGE_MASK;
			r->range[r->nr].last = last | ~PAGE_MASK;
			r->range[r->nr].msi = region->type == IOMMU_RESV_MSI;
			r->nr++;
		}
		kfree(region);
	}
	return ret;
}

/**
 * kviommu_hw_attach() - Attach a group to a domain
 * @domain: The domain
 * @group: The group, which is not attached
 *
 * Context: process context, may sleep; under the unit's map_lock.
 * Return: 0; -EINVAL if the group's IOMMU does not support @domain; -EBUSY if the group
 * was attached by another owner; -ENOMEM.
 */
int kviommu_hw_attach(struct iommu_domain *domain, struct iommu_group *group)
{
	return iommu_attach_group(domain, group);
}
ALLOW_ERROR_INJECTION(kviommu_hw_attach, ERRNO);

/**
 * kviommu_hw_detach() - Detach a group from a domain, which blocks the group's DMA
 * @domain: The domain
 * @group: The group; nothing is done if a new owner has attached it elsewhere
 * @v: A device of @group
 *
 * Context: process context, may sleep; under the unit's map_lock.
 */
void kviommu_hw_detach(struct iommu_domain *domain, struct iommu_group *group,
		       struct kviommu_vfio *v)
{
	if (iommu_get_domain_for_dev(v->dev) == domain)
		iommu_detach_group(domain, group);
}

static int count_device(struct device *dev, void *data)
{
	++*(unsigned int *)data;
	return 0;
}

/* Check whether a device is the only one of its group, whether the unit has the others or not. */
static bool hw_alone(struct kviommu_vfio *v)
{
	unsigned int n = 0;

	iommu_group_for_each_dev(v->group, &n, count_device);
	return n == 1;
}

/**
 * kviommu_hw_attach_pasid() - Attach a PASID of a device to a domain
 * @domain: The domain
 * @v: The device
 * @pasid: The PASID, not 0, which is attached to nothing
 *
 * The IOMMU core attaches it for all devices of a group, which may be those of another owner,
 * and passes over those without PASIDs: such are refused.
 *
 * Context: process context, may sleep; under the unit's map_lock.
 * Return: 0; -EOPNOTSUPP if the device has no such PASID or is not alone in its group; -EINVAL
 * if its IOMMU does not support @domain; -EBUSY while the device is being reset; -ENOMEM.
 */
noinline int kviommu_hw_attach_pasid(struct iommu_domain *domain, struct kviommu_vfio *v,
				     u32 pasid)
{
	if (pasid >= v->dev->iommu->max_pasids || !hw_alone(v))
		return -EOPNOTSUPP;
	return iommu_attach_device_pasid(domain, v->dev, pasid, NULL);
}
ALLOW_ERROR_INJECTION(kviommu_hw_attach_pasid, ERRNO);

/**
 * kviommu_hw_detach_pasid() - Undo kviommu_hw_attach_pasid(), which blocks the PASID
 * @domain: The domain
 * @v: The device
 * @pasid: The PASID
 *
 * Context: process context, may sleep; under the unit's map_lock.
 */
void kviommu_hw_detach_pasid(struct iommu_domain *domain, struct kviommu_vfio *v, u32 pasid)
{
	iommu_detach_device_pasid(domain, v->dev, pasid);
}

/**
 * kviommu_hw_free() - Free a domain
 * @domain: The domain, without devices
 *
 * Context: process context, may sleep.
 */
void kviommu_hw_free(struct iommu_domain *domain)
{
	iommu_domain_free(domain);
}

/**
 * kviommu_hw_map() - Map a physically contiguous range in a domain
 * @domain: The domain
 * @iova: First I/O virtual address
 * @pfn: First host frame number
 * @nr: Number of 4 KiB pages
 * @prot: IOMMU_READ and IOMMU_WRITE
 * @payer: The mm whose memory cgroup is charged for tables, without sleeping; NULL to
 *         charge the caller's and allow sleeping
 *
 * DMA is coherent, which kviommu_hw_alloc() enforces where possible.
 *
 * Context: process context, under the unit's map_lock; may sleep unless @payer is set.
 * Return: 0, or -ENOMEM with nothing of the range mapped.
 */
noinline int kviommu_hw_map(struct iommu_domain *domain, u64 iova, u64 pfn, u64 nr,
			    int prot, struct mm_struct *payer)
{
	struct mem_cgroup *memcg, *old;
	int ret;

	prot |= IOMMU_CACHE;
	if (!payer)
		return iommu_map(domain, iova, PFN_PHYS(pfn), nr << PAGE_SHIFT, prot,
				 GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL |
				 __GFP_NOWARN);
	memcg = get_mem_cgroup_from_mm(payer);
	old = set_active_memcg(memcg);
	ret = iommu_map(domain, iova, PFN_PHYS(pfn), nr << PAGE_SHIFT, prot,
			GFP_NOWAIT | __GFP_ACCOUNT | __GFP_NOWARN);
	set_active_memcg(old);
	mem_cgroup_put(memcg);
	return ret;
}
ALLOW_ERROR_INJECTION(kviommu_hw_map, ERRNO);

/*
 * About the gather of struct kviommu_unflushed: it is passed to iommu_iotlb_sync() after any
 * number of unmaps, as struct iommu_iotlb_gather asks. Its member @queued stays false, for
 * it would promise iommu_flush_iotlb_all() instead, with two disadvantages: that drops all
 * that the physical IOTLB has of the domain, where most unmaps are of a few pages; and
 * only drivers can free the tables that the gather has collected then.
 *
 * A driver may flush in the middle of this, when an unmap does not adjoin the range that is
 * gathered. Of the drivers with the kernel's generic page tables Intel's does not, and
 * AMD's only in a virtual machine, where a wide flush costs its hypervisor more than several
 * narrow ones. Older drivers do it more often: see kviommu_compat_unmap().
 *
 * Drivers record in the gather what they need, which may be nothing. So there is a range
 * of our own beside it.
 */

/**
 * kviommu_hw_unmap() - Unmap a range of a domain without waiting for a flush
 * @domain: The domain
 * @iova: First I/O virtual address
 * @size: Size of the range in bytes; all of it is mapped
 * @u: Extended by the range, for kviommu_hw_sync()
 *
 * Context: process context, under the unit's map_lock.
 * Return: the number of bytes unmapped.
 */
u64 kviommu_hw_unmap(struct iommu_domain *domain, u64 iova, u64 size,
		     struct kviommu_unflushed *u)
{
	u->first = min(u->first, iova);
	u->last = max(u->last, iova + size - 1);
	return kviommu_compat_unmap(domain, iova, size, &u->gather);
}

/**
 * kviommu_hw_unmap_sync() - Unmap a range of a domain and flush it from the IOTLBs
 * @domain: The domain
 * @iova: First I/O virtual address
 * @size: Size of the range in bytes; all of it is mapped
 *
 * When this function returns, no device reaches memory through the range, nor through
 * domains that are nested in @domain.
 *
 * Context: process context, under the unit's map_lock.
 */
void kviommu_hw_unmap_sync(struct iommu_domain *domain, u64 iova, u64 size)
{
	iommu_unmap(domain, iova, size);
}

/**
 * kviommu_hw_sync() - Flush unmapped ranges from the physical IOTLBs
 * @domain: The domain
 * @u: The ranges collected by kviommu_hw_unmap(); empty afterwards
 *
 * When this function returns, no device reaches memory through these ranges.
 *
 * Context: process context, under the unit's map_lock.
 */
void kviommu_hw_sync(struct iommu_domain *domain, struct kviommu_unflushed *u)
{
	iommu_iotlb_sync(domain, &u->gather);
	kviommu_hw_all_flushed(u);
}

/**
 * kviommu_hw_phys() - Look up a translation
 * @domain: The domain
 * @iova: I/O virtual address
 *
 * Context: process context, under the unit's map_lock.
 * Return: the host physical address, or 0 if @iova is not mapped.
 */
phys_addr_t kviommu_hw_phys(struct iommu_domain *domain, u64 iova)
{
	return iommu_iova_to_phys(domain, iova);
}
