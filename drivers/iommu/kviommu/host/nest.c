// SPDX-License-Identifier: GPL-2.0-only
/*
 * Nested translation: domains in which the physical IOMMU walks first-stage tables of the
 * guest, and translates their addresses, and where they lead to, by a second stage of the
 * host, the parent. Of the host's drivers only that of VT-d has domains for the guest's
 * tables in this form.
 */
#include <linux/anon_inodes.h>
#include <linux/error-injection.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <uapi/linux/iommufd.h>

#include "compat.h"
#include "host.h"

#ifdef KVIOMMU_HAVE_DOMAIN_ALLOC_FLAGS

/* Capability registers of VT-d hardware */
#define HW_CAP_FS1GP	BIT_ULL(56)
#define HW_CAP_FS5LP	BIT_ULL(60)
#define HW_ECAP_SC	BIT_ULL(7)
#define HW_ECAP_SMPWCS	BIT_ULL(48)
/* NEST, SMTS, SSTS and FSTS */
#define HW_ECAP_NESTS	(BIT_ULL(26) | BIT_ULL(43) | BIT_ULL(46) | BIT_ULL(47))

/*
 * Say what the physical IOMMU of a device, which has a driver, can nest. Return: 0;
 * -EMEDIUMTYPE if it cannot; -ENOMEM.
 */
static int nest_hardware(struct device *dev, struct kviommu_nest *nest)
{
	const struct iommu_ops *ops;
	enum iommu_hw_info_type type = IOMMU_HW_INFO_TYPE_DEFAULT;
	struct iommu_hw_info_vtd *info;
	struct iommu_domain *domain;
	u32 length;

	*nest = (struct kviommu_nest){};
	if (!dev->iommu || !dev->iommu->iommu_dev)
		return -EMEDIUMTYPE;
	ops = dev->iommu->iommu_dev->ops;
	if (!ops->hw_info || !ops->domain_alloc_nested)
		return -EMEDIUMTYPE;
	info = ops->hw_info(dev, &length, &type);
	if (IS_ERR(info))
		return PTR_ERR(info) == -ENOMEM ? -ENOMEM : -EMEDIUMTYPE;
	if (type == IOMMU_HW_INFO_TYPE_INTEL_VTD && length >= sizeof(*info) &&
	    (info->ecap_reg & HW_ECAP_NESTS) == HW_ECAP_NESTS) {
		nest->wanted = true;
		nest->huge = info->cap_reg & HW_CAP_FS1GP;
		nest->five_levels = info->cap_reg & HW_CAP_FS5LP;
		nest->coherent = info->ecap_reg & HW_ECAP_SMPWCS;
		nest->snoop = info->ecap_reg & HW_ECAP_SC;
	}
	kfree(info);
	/* The hardware may be able to and the host not use it, as with intel_iommu=sm_off. */
	if (!nest->wanted)
		return -EMEDIUMTYPE;
	domain = iommu_paging_domain_alloc_flags(dev, IOMMU_HWPT_ALLOC_NEST_PARENT);
	if (IS_ERR(domain))
		return PTR_ERR(domain) == -ENOMEM ? -ENOMEM : -EMEDIUMTYPE;
	iommu_domain_free(domain);
	return 0;
}

/* What any IOMMU of this host was seen to nest: a device that is busy now is not looked at. */
static DEFINE_MUTEX(nest_seen_lock);
static struct kviommu_nest nest_seen;

static int nest_host_device(struct device *dev, void *data)
{
	const struct iommu_device **last = data;
	struct kviommu_nest hw;

	/* A device with a driver, whose lock is held, keeps its IOMMU. */
	if (!device_trylock(dev))
		return 0;
	if (dev->driver && dev->iommu && dev->iommu->iommu_dev != *last) {
		*last = dev->iommu->iommu_dev;
		if (!nest_hardware(dev, &hw)) {
			nest_seen.wanted = true;
			nest_seen.huge |= hw.huge;
			nest_seen.five_levels |= hw.five_levels;
			nest_seen.coherent |= hw.coherent;
			nest_seen.snoop |= hw.snoop;
		}
	}
	device_unlock(dev);
	return 0;
}

/**
 * kviommu_nest_host() - Say what the physical IOMMUs of this host can nest
 * @nest: Filled with what the IOMMU of any PCI device with a driver can; what was found
 *        once stays
 *
 * Another device may be behind an IOMMU that cannot: see kviommu_nest_check().
 *
 * Context: process context, may sleep.
 * Return: true if any can nest.
 */
bool kviommu_nest_host(struct kviommu_nest *nest)
{
	const struct iommu_device *last = NULL;

	guard(mutex)(&nest_seen_lock);
	bus_for_each_dev(&pci_bus_type, NULL, &last, nest_host_device);
	*nest = nest_seen;
	return nest->wanted;
}

/**
 * kviommu_nest_check() - Check whether a device's IOMMU can walk a guest's tables
 * @v: The device
 * @nest: What the guest was promised
 *
 * Context: process context, may sleep.
 * Return: 0 if it can, or if the guest has no such tables; -EMEDIUMTYPE if it cannot;
 * -ENOMEM.
 */
int kviommu_nest_check(struct kviommu_vfio *v, const struct kviommu_nest *nest)
{
	struct kviommu_nest hw;
	int ret;

	if (!nest->wanted)
		return 0;
	ret = nest_hardware(v->dev, &hw);
	if (ret)
		return ret;
	return hw.huge >= nest->huge && hw.five_levels >= nest->five_levels &&
	       hw.snoop >= nest->snoop && hw.coherent == nest->coherent ? 0 : -EMEDIUMTYPE;
}

/**
 * kviommu_nest_parent_alloc() - Allocate an empty second stage for nested domains
 * @v: A device that nested domains are to be attached to
 *
 * Context: process context, may sleep.
 * Return: the domain; an error of kviommu_hw_make_coherent() or of the IOMMU's driver.
 */
noinline struct iommu_domain *kviommu_nest_parent_alloc(struct kviommu_vfio *v)
{
	struct iommu_domain *domain;

	domain = iommu_paging_domain_alloc_flags(v->dev, IOMMU_HWPT_ALLOC_NEST_PARENT);
	return kviommu_hw_make_coherent(v, domain);
}
ALLOW_ERROR_INJECTION(kviommu_nest_parent_alloc, ERRNO);

/*
 * The driver copies its arguments from user space. So they are put on a page that the VMM
 * has mapped for a moment. The VMM might replace the mapping meanwhile, and choose other
 * arguments, for tables in its own guest's memory.
 */
static int nest_args_mmap(struct file *file, struct vm_area_struct *vma)
{
	if (vma->vm_flags & VM_WRITE || vma_pages(vma) != 1 || vma->vm_pgoff)
		return -EPERM;
	vm_flags_mod(vma, VM_DONTEXPAND | VM_DONTCOPY, VM_MAYWRITE);
	return vm_insert_page(vma, vma->vm_start, file->private_data);
}

static int nest_args_release(struct inode *inode, struct file *file)
{
	put_page(file->private_data);
	return 0;
}

static const struct file_operations nest_args_fops = {
	.owner = THIS_MODULE,
	.mmap = nest_args_mmap,
	.release = nest_args_release,
};

static struct iommu_domain *nest_alloc_by(struct kviommu_vfio *v,
					  struct iommu_domain *parent,
					  unsigned long uptr, size_t len)
{
	const struct iommu_ops *ops = v->dev->iommu->iommu_dev->ops;
	const struct iommu_user_data data = {
		.type = IOMMU_HWPT_DATA_VTD_S1,
		.uptr = (void __user *)uptr,
		.len = len,
	};
	struct iommu_domain *domain;

	domain = ops->domain_alloc_nested(v->dev, parent, 0, &data);
	/* iommufd does the same; without an owner it could not be attached. */
	if (!IS_ERR(domain))
		domain->owner = ops;
	return domain;
}

/**
 * kviommu_nest_alloc() - Allocate a domain for first-stage tables of the guest
 * @v: A device that the domain is to be attached to, for which kviommu_nest_check()
 *     returned 0
 * @parent: The second stage, of kviommu_nest_parent_alloc()
 * @root: Guest physical address of the root table
 * @levels: Number of levels of the tables, 4 or 5
 *
 * Context: process context of the VMM, may sleep; takes the VMM's mmap_lock for writing.
 * Return: the domain, to be freed before @parent; -EFAULT if the VMM interferes; -EINTR if
 * a fatal signal is pending; -ENOMEM;
 * an error of the IOMMU's driver.
 */
noinline struct iommu_domain *kviommu_nest_alloc(struct kviommu_vfio *v,
						 struct iommu_domain *parent, u64 root,
						 unsigned int levels)
{
	struct iommu_hwpt_vtd_s1 *args;
	struct iommu_domain *domain;
	struct page *page;
	struct file *file;
	unsigned long at;

	page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!page)
		return ERR_PTR(-ENOMEM);
	args = page_address(page);
	args->pgtbl_addr = root;
	args->addr_width = levels == 5 ? 57 : 48;
	file = anon_inode_getfile("[kviommu-nest]", &nest_args_fops, page, O_RDONLY);
	if (IS_ERR(file)) {
		put_page(page);
		return ERR_CAST(file);
	}
	at = vm_mmap(file, 0, PAGE_SIZE, PROT_READ, MAP_SHARED, 0);
	fput(file);
	/* The error may be -EAGAIN, of a VMM at its limit of locked memory. */
	if (IS_ERR_VALUE(at))
		return ERR_PTR((long)at == -EINTR ? -EINTR : -ENOMEM);
	domain = nest_alloc_by(v, parent, at, sizeof(*args));
	vm_munmap(at, PAGE_SIZE);
	return domain;
}
ALLOW_ERROR_INJECTION(kviommu_nest_alloc, ERRNO);

/**
 * kviommu_nest_flush() - Flush all that is cached of the guest's tables
 * @parent: The second stage of the domains whose tables the guest changed
 *
 * One flush of the domain-id of each domain that is nested in @parent, and of the devices'
 * own caches.
 *
 * Context: any; under the unit's map_lock.
 */
void kviommu_nest_flush(struct iommu_domain *parent)
{
	iommu_flush_iotlb_all(parent);
}

#else

/* The interface of older kernels to their drivers is another one. */
bool kviommu_nest_host(struct kviommu_nest *nest)
{
	*nest = (struct kviommu_nest){};
	return false;
}

int kviommu_nest_check(struct kviommu_vfio *v, const struct kviommu_nest *nest)
{
	return nest->wanted ? -EMEDIUMTYPE : 0;
}

struct iommu_domain *kviommu_nest_parent_alloc(struct kviommu_vfio *v)
{
	return ERR_PTR(-EOPNOTSUPP);
}

struct iommu_domain *kviommu_nest_alloc(struct kviommu_vfio *v,
					struct iommu_domain *parent, u64 root,
					unsigned int levels)
{
	return ERR_PTR(-EOPNOTSUPP);
}

void kviommu_nest_flush(struct iommu_domain *parent)
{
}

#endif
