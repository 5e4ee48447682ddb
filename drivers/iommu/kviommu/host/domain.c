// SPDX-License-Identifier: GPL-2.0-only
/*
 * The IOMMU API: domains, what they translate, and the groups that are attached
 * to them. That has to be serialized by the caller: drivers modify the tables and
 * the list of flush targets at attach and detach, without a lock against concurrent
 * map and unmap.
 */
#include <linux/error-injection.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/memcontrol.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "compat.h"
#include "host.h"

/**
 * kviommu_hw_alloc() - Make an empty domain that a device can use
 * @v: The device
 *
 * Return: the domain, or an error: -EMEDIUMTYPE if DMA cannot be kept coherent
 * although the host says that it can.
 */
struct iommu_domain *kviommu_hw_alloc(struct kviommu_vfio *v)
{
	struct iommu_domain *domain = kviommu_compat_domain_alloc(v->dev);

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
ALLOW_ERROR_INJECTION(kviommu_hw_alloc, ERRNO);

/**
 * kviommu_hw_splits() - See if pages that were mapped at once can be
 *			 unmapped one by one
 * @domain: A domain without translations, to which nothing is attached
 *
 * iommu_unmap() does not promise that. Drivers with page tables can do it as long as
 * they made no larger page of them, which between 4 KiB and 2 MiB the domain says;
 * others keep what they were given as it was. (If these have pages of 4 KiB and 2 MiB
 * alone, a kernel with iommu.debug_pagealloc notices what is done here.)
 *
 * Context: process context, may sleep.
 * Return: true if so, for fewer pages than make 2 MiB.
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
		/* Devices will reach them, if that driver does not let go of them. */
		if (unmapped < SZ_8K)
			return false;
	}
	__free_pages(pages, 1);
	return splits;
}

/**
 * kviommu_hw_check() - See if a domain can translate what a guest may ask for
 * @domain: A domain without translations, to which nothing is attached
 * @aw_bits: Width in bits of the I/O virtual addresses
 *
 * Drivers may say only when a domain is attached how wide its addresses can be
 * there; but then they go by the highest that was ever mapped.
 *
 * Context: process context, may sleep.
 * Return: 0; -EMEDIUMTYPE if it cannot; -ENOMEM.
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
 * kviommu_hw_reserved() - Find what must not be translated for a group
 * @group: The group
 * @r: Where to; two of these can be compared with memcmp()
 *
 * As VFIO does it: regions that are only said to be needed one to one can be
 * had for other translations. Devices for which one is really needed do not
 * come here: the IOMMU core refuses to have them blocked, so VFIO to bind them.
 *
 * Context: process context.
 * Return: 0; -EMEDIUMTYPE if there are too many; -ENOMEM.
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
 * @group: The group, which is attached to nothing
 *
 * Context: process context, under the unit's map_lock.
 * Return: 0; -EINVAL if the group's IOMMU does not take this domain; -EBUSY if
 * somebody else attached the group; -ENOMEM.
 */
int kviommu_hw_attach(struct iommu_domain *domain, struct iommu_group *group)
{
	return iommu_attach_group(domain, group);
}
ALLOW_ERROR_INJECTION(kviommu_hw_attach, ERRNO);

/**
 * kviommu_hw_detach() - Detach a group from a domain; then it is blocked
 * @domain: The domain
 * @group: The group; nothing is done if it has moved on since, by a new owner
 * @v: A device of it
 *
 * Context: process context, under the unit's map_lock.
 */
void kviommu_hw_detach(struct iommu_domain *domain, struct iommu_group *group,
		       struct kviommu_vfio *v)
{
	if (iommu_get_domain_for_dev(v->dev) == domain)
		iommu_detach_group(domain, group);
}

/**
 * kviommu_hw_free() - Free a domain
 * @domain: The domain, to which nothing is attached
 *
 * Context: process context.
 */
void kviommu_hw_free(struct iommu_domain *domain)
{
	iommu_domain_free(domain);
}

/**
 * kviommu_hw_map() - Enter a translation
 * @domain: The domain
 * @iova: First I/O virtual address
 * @pfn: Host frame number that it leads to
 * @nr: How many pages of 4 KiB; the host has them in one piece
 * @prot: IOMMU_READ and IOMMU_WRITE
 * @payer: Whose memory control group pays for tables, if that is not the caller's:
 *         then nothing sleeps. NULL: the caller's.
 *
 * DMA is coherent, as kviommu_hw_alloc() enforces where that is possible.
 *
 * Context: process context.
 * Return: 0 or -ENOMEM; what was entered of it is removed then.
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

/**
 * kviommu_hw_unmap() - Remove translations, to be flushed later
 * @domain: The domain
 * @iova: First I/O virtual address
 * @size: How many bytes, all of which are mapped
 * @gather: What is to be flushed
 *
 * Context: process context.
 * Return: how many bytes were unmapped.
 */
u64 kviommu_hw_unmap(struct iommu_domain *domain, u64 iova, u64 size,
		     struct iommu_iotlb_gather *gather)
{
	u64 unmapped = iommu_unmap_fast(domain, iova, size, gather);

	iommu_iotlb_gather_add_range(gather, iova, size);
	return unmapped;
}

/**
 * kviommu_hw_sync() - Flush what was unmapped from the physical IOTLBs
 * @domain: The domain
 * @gather: What is to be flushed, of kviommu_hw_unmap()
 *
 * When this returns no device reaches memory through it.
 *
 * Context: process context.
 */
void kviommu_hw_sync(struct iommu_domain *domain, struct iommu_iotlb_gather *gather)
{
	iommu_iotlb_sync(domain, gather);
}

/**
 * kviommu_hw_phys() - Look up a translation, for debugging
 * @domain: The domain
 * @iova: I/O virtual address
 *
 * Context: process context.
 * Return: the host physical address, or 0.
 */
phys_addr_t kviommu_hw_phys(struct iommu_domain *domain, u64 iova)
{
	return iommu_iova_to_phys(domain, iova);
}
