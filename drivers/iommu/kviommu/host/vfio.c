// SPDX-License-Identifier: GPL-2.0-only
/*
 * VFIO and the IOMMU API: devices behind their file descriptors, and what their
 * groups are attached to.
 */
#include <linux/cdev.h>
#include <linux/error-injection.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vfio.h>

#include "../compat.h"
#include "host.h"

/*
 * A VFIO device cdev can be open several times, but is bound through one of
 * the files, and unbound when that is closed: so it must be that one we hold.
 * VFIO has no function that tells, but refuses to read through the others; of
 * no bytes nothing is read.
 */
static bool file_is_bound(struct file *file)
{
	loff_t pos = 0;

	return file->f_op->read && !file->f_op->read(file, NULL, 0, &pos);
}

static struct vfio_device *vdev_of_file(struct file *file)
{
	struct inode *inode = file_inode(file);

	/* Device files that came from a group are not of the cdev. */
	if (!vfio_file_is_valid(file) || vfio_file_is_group(file) ||
	    !S_ISCHR(inode->i_mode) || !inode->i_cdev)
		return ERR_PTR(-EINVAL);
	if (!file_is_bound(file))
		return ERR_PTR(-EINVAL);
	return container_of(inode->i_cdev, struct vfio_device, cdev);
}

/* Bound to our iommufd, and attached to nothing. */
static int check_binding(struct vfio_device *vdev,
			 const struct kviommu_access *a)
{
	int ret = 0;

	mutex_lock(&vdev->dev_set->lock);
	if (!vdev->iommufd_device)
		ret = -EINVAL;
	else if (iommufd_device_to_ictx(vdev->iommufd_device) != a->ictx)
		ret = -EXDEV;
	else if (vdev->iommufd_attached)
		ret = -EBUSY;
	mutex_unlock(&vdev->dev_set->lock);
	return ret;
}

/**
 * kviommu_vfio_get() - Take a VFIO device by its file descriptor
 * @v: Where to
 * @fd: File descriptor of its character device
 * @a: The iommufd it must be bound to
 *
 * Context: process context, not under map_lock.
 * Return: 0; -EBADF; -EINVAL if it is no VFIO device cdev that is bound;
 * -EXDEV if it is bound to another iommufd; -EBUSY if it is attached.
 */
int kviommu_vfio_get(struct kviommu_vfio *v, int fd,
		     const struct kviommu_access *a)
{
	struct file *file = fget(fd);
	struct vfio_device *vdev;
	int ret;

	if (!file)
		return -EBADF;
	vdev = vdev_of_file(file);
	if (IS_ERR(vdev)) {
		ret = PTR_ERR(vdev);
		goto put_file;
	}
	ret = check_binding(vdev, a);
	if (ret)
		goto put_file;
	v->group = iommu_group_get(vdev->dev);
	if (!v->group) {
		ret = -EINVAL;
		goto put_file;
	}
	v->file = file;
	v->vdev = vdev;
	v->dev = vdev->dev;
	return 0;

put_file:
	fput(file);
	return ret;
}

/**
 * kviommu_vfio_put() - Give a device back
 * @v: The device, in no group of ours any more
 */
void kviommu_vfio_put(struct kviommu_vfio *v)
{
	iommu_group_put(v->group);
	fput(v->file);
}

/**
 * kviommu_vfio_enforces_coherency() - Say whether a device's IOMMU can force
 *				       its DMA to be coherent
 * @v: The device
 *
 * KVM ignores the guest's cache control where it can: then it has to.
 *
 * Return: true if so.
 */
bool kviommu_vfio_enforces_coherency(struct kviommu_vfio *v)
{
	return device_iommu_capable(v->dev, IOMMU_CAP_ENFORCE_CACHE_COHERENCY);
}

/**
 * kviommu_vfio_iommu() - Say which physical IOMMU a device is behind
 * @v: The device
 *
 * Return: what tells it from others.
 */
const void *kviommu_vfio_iommu(struct kviommu_vfio *v)
{
	return v->dev->iommu->iommu_dev;
}

/**
 * kviommu_vfio_alloc_domain() - Make an empty domain that a device can use
 * @v: The device
 *
 * Return: the domain, or an error: -EMEDIUMTYPE if DMA cannot be kept coherent
 * although the host says that it can.
 */
struct iommu_domain *kviommu_vfio_alloc_domain(struct kviommu_vfio *v)
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
ALLOW_ERROR_INJECTION(kviommu_vfio_alloc_domain, ERRNO);

/**
 * kviommu_vfio_domain_splits() - See if pages that were mapped at once can be
 *				  unmapped one by one
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
bool kviommu_vfio_domain_splits(struct iommu_domain *domain)
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

static noinline int attach_ioas(struct kviommu_vfio *v, u32 ioas_id)
{
	int ret = -EBUSY;

	/* Through VFIO, so that its idea of the device stays right. */
	mutex_lock(&v->vdev->dev_set->lock);
	if (!v->vdev->iommufd_attached)
		ret = v->vdev->ops->attach_ioas(v->vdev, &ioas_id);
	mutex_unlock(&v->vdev->dev_set->lock);
	v->in_ioas = !ret;
	return ret;
}
ALLOW_ERROR_INJECTION(attach_ioas, ERRNO);

static void detach_ioas(struct kviommu_vfio *v)
{
	if (!v->in_ioas)
		return;
	mutex_lock(&v->vdev->dev_set->lock);
	v->vdev->ops->detach_ioas(v->vdev);
	mutex_unlock(&v->vdev->dev_set->lock);
	v->in_ioas = false;
}

/* A device of the group: a group of ours is never without. */
static struct kviommu_vfio *first_of(struct kviommu_hwgroup *g)
{
	return list_first_entry(&g->devices, struct kviommu_vfio, entry);
}

/* Off what we attached the group to; then it is blocked. */
static void detach(struct kviommu_hwgroup *g)
{
	struct kviommu_vfio *v;

	list_for_each_entry(v, &g->devices, entry)
		detach_ioas(v);
	/* Only what is ours: a group whose owner changed has moved on. */
	mutex_lock(g->map_lock);
	if (g->domain && iommu_get_domain_for_dev(first_of(g)->dev) == g->domain)
		iommu_detach_group(g->domain, g->group);
	mutex_unlock(g->map_lock);
	g->domain = NULL;
}

static noinline int attach(struct kviommu_hwgroup *g,
			   struct iommu_domain *domain)
{
	int ret;

	mutex_lock(g->map_lock);
	ret = iommu_attach_group(domain, g->group);
	mutex_unlock(g->map_lock);
	if (!ret)
		g->domain = domain;
	return ret;
}
ALLOW_ERROR_INJECTION(attach, ERRNO);

/*
 * As VFIO does it: regions that are only said to be needed one to one can be
 * had for other translations. Devices for which one is really needed do not
 * come here: the IOMMU core refuses to have them blocked, so VFIO to bind them.
 */
static int get_reserved(struct kviommu_hwgroup *g)
{
	struct kviommu_reserved *r = &g->reserved;
	struct iommu_resv_region *region, *next;
	LIST_HEAD(regions);
	int ret;

	/* Two are compared with memcmp(). */
	memset(r, 0, sizeof(*r));
	ret = iommu_get_group_resv_regions(g->group, &regions);
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

/*
 * Drivers may say only when a domain is attached how wide its addresses can be
 * there; but then they go by the highest that was ever mapped.
 */
static int map_last_page(struct iommu_domain *domain, unsigned int aw_bits)
{
	u64 iova = (1ULL << aw_bits) - SZ_4K;
	int ret;

	ret = iommu_map(domain, iova, page_to_phys(ZERO_PAGE(0)), SZ_4K,
			IOMMU_READ | IOMMU_CACHE, GFP_KERNEL_ACCOUNT);
	if (ret)
		return ret == -ENOMEM ? ret : -EMEDIUMTYPE;
	iommu_unmap(domain, iova, SZ_4K);
	return 0;
}

/**
 * kviommu_hwgroup_init() - Take the IOMMU group of a device, blocked
 * @g: Where to
 * @v: The device, which becomes its first
 * @map_lock: What protects the domains that it will be attached to
 * @aw_bits: Width of the I/O virtual addresses to translate
 *
 * The group is attached to an empty domain of our own: that blocks its DMA,
 * proves that the physical IOMMU can translate for it, and keeps everybody
 * else from attaching it.
 *
 * Context: process context, not under map_lock.
 * Return: 0; -EBUSY if the group is attached; -EMEDIUMTYPE if the physical
 * IOMMU cannot do it; -ENOMEM.
 */
int kviommu_hwgroup_init(struct kviommu_hwgroup *g, struct kviommu_vfio *v,
			 struct mutex *map_lock, unsigned int aw_bits)
{
	int ret;

	g->group = v->group;
	g->map_lock = map_lock;
	g->empty = kviommu_vfio_alloc_domain(v);
	if (IS_ERR(g->empty))
		return PTR_ERR(g->empty);
	INIT_LIST_HEAD(&g->devices);
	list_add(&v->entry, &g->devices);
	ret = -EMEDIUMTYPE;
	if (g->empty->geometry.aperture_end < (1ULL << aw_bits) - 1 ||
	    !(g->empty->pgsize_bitmap & SZ_4K))
		goto free;
	ret = get_reserved(g);
	if (!ret)
		ret = map_last_page(g->empty, aw_bits);
	if (ret)
		goto free;
	ret = attach(g, g->empty);
	if (!ret)
		return 0;
	if (ret == -EINVAL)
		ret = -EMEDIUMTYPE;

free:
	iommu_domain_free(g->empty);
	return ret;
}

/**
 * kviommu_hwgroup_add() - Add a device to its group
 * @g: The group
 * @v: The device, which from now on goes through what the group does
 * @ioas_id: The IOAS, if the group is in it
 *
 * Context: process context, not under map_lock.
 * Return: 0, or an error of VFIO_DEVICE_ATTACH_IOMMUFD_PT.
 */
int kviommu_hwgroup_add(struct kviommu_hwgroup *g, struct kviommu_vfio *v,
			u32 ioas_id)
{
	int ret = 0;

	if (first_of(g)->in_ioas)
		ret = attach_ioas(v, ioas_id);
	if (!ret)
		list_add_tail(&v->entry, &g->devices);
	return ret;
}

/**
 * kviommu_hwgroup_del() - Remove a device from its group
 * @g: The group; blocked and given back if the device is its last
 * @v: The device
 *
 * Context: process context, not under map_lock.
 */
void kviommu_hwgroup_del(struct kviommu_hwgroup *g, struct kviommu_vfio *v)
{
	if (list_is_singular(&g->devices)) {
		detach(g);
		iommu_domain_free(g->empty);
	} else {
		detach_ioas(v);
	}
	list_del(&v->entry);
}

/**
 * kviommu_hwgroup_set_domain() - Let a group translate through a domain
 * @g: The group
 * @domain: The domain; NULL blocks its DMA
 *
 * There is no way from one domain to another but through the blocking one. A
 * VMM that attaches the group itself at that moment gets it, and we -EBUSY.
 *
 * Context: process context, not under map_lock.
 * Return: 0, or with the group blocked: -EINVAL if its IOMMU does not take
 * this domain; -EBUSY if somebody else attached the group; -ENOMEM.
 */
int kviommu_hwgroup_set_domain(struct kviommu_hwgroup *g,
			       struct iommu_domain *domain)
{
	int ret;

	detach(g);
	ret = attach(g, domain ?: g->empty);
	if (ret)
		attach(g, g->empty);
	return ret;
}

/**
 * kviommu_hwgroup_set_ioas() - Let a group reach an IOAS at its addresses
 * @g: The group
 * @ioas_id: The IOAS, all of which gets pinned
 *
 * Context: process context, not under map_lock.
 * Return: 0, or with the group blocked an error of
 * VFIO_DEVICE_ATTACH_IOMMUFD_PT.
 */
int kviommu_hwgroup_set_ioas(struct kviommu_hwgroup *g, u32 ioas_id)
{
	struct kviommu_vfio *v;
	int ret;

	detach(g);
	list_for_each_entry(v, &g->devices, entry) {
		ret = attach_ioas(v, ioas_id);
		if (ret) {
			detach(g);
			attach(g, g->empty);
			return ret;
		}
	}
	return 0;
}
