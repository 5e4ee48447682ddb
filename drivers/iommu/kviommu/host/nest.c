// SPDX-License-Identifier: GPL-2.0-only
/*
 * Nested translation: domains in which the physical IOMMU walks first-stage tables of the
 * guest, and translates their addresses, and where they lead to, by a second stage of the
 * host, the parent. Of the host's drivers only that of VT-d has domains for the guest's
 * tables in this form.
 */
#include <linux/anon_inodes.h>
#include <linux/bitfield.h>
#include <linux/device.h>
#include <linux/error-injection.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/iommu.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "host.h"

/* Capability registers of VT-d hardware */
#define HW_CAP_FS1GP	BIT_ULL(56)
#define HW_CAP_FS5LP	BIT_ULL(60)
#define HW_ECAP_SC	BIT_ULL(7)
#define HW_ECAP_PSS	GENMASK_ULL(39, 35)
#define HW_ECAP_PASID	BIT_ULL(40)
#define HW_ECAP_SMPWCS	BIT_ULL(48)
/* NEST, SMTS, SSTS and FSTS */
#define HW_ECAP_NESTS	(BIT_ULL(26) | BIT_ULL(43) | BIT_ULL(46) | BIT_ULL(47))

/* PASIDs have no more bits in requests, whatever PSS says. */
#define PASID_BITS	20ULL

static const struct iommu_ops *nest_ops(struct device *dev)
{
	return dev->iommu->iommu_dev->ops;
}

/*
 * Say what the physical IOMMU of a device, which has a driver, can nest, and of which kind it
 * is if it can. Return: 0, also with nothing in @nest if it cannot, but for @pasid_bits if it has
 * PASIDs; -ENOMEM.
 */
static int nest_hardware(struct device *dev, struct kviommu_nest *nest,
			 struct kviommu_iommu_kind *kind)
{
	const struct iommu_ops *ops;
	enum iommu_hw_info_type type = IOMMU_HW_INFO_TYPE_NONE;
	struct iommu_hw_info_vtd *info;
	struct iommu_domain *domain;
	u32 length;
	u64 bits;

	*nest = (struct kviommu_nest){};
	if (!dev->iommu || !dev->iommu->iommu_dev)
		return 0;
	ops = nest_ops(dev);
	if (!ops->hw_info)
		return 0;
	info = ops->hw_info(dev, &length, &type);
	if (IS_ERR(info))
		return PTR_ERR(info) == -ENOMEM ? -ENOMEM : 0;
	if (type != IOMMU_HW_INFO_TYPE_INTEL_VTD || length < sizeof(*info))
		goto free;
	bits = FIELD_GET(HW_ECAP_PSS, info->ecap_reg) + 1;
	if (info->ecap_reg & HW_ECAP_PASID && kviommu_compat_nests_pasids())
		nest->pasid_bits = min(bits, PASID_BITS);
	if ((info->ecap_reg & HW_ECAP_NESTS) == HW_ECAP_NESTS) {
		*kind = (struct kviommu_iommu_kind){ info->cap_reg, info->ecap_reg };
		nest->wanted = true;
		nest->huge = info->cap_reg & HW_CAP_FS1GP;
		nest->five_levels = info->cap_reg & HW_CAP_FS5LP;
		nest->coherent = info->ecap_reg & HW_ECAP_SMPWCS;
		nest->snoop = info->ecap_reg & HW_ECAP_SC;
	}
free:
	kfree(info);
	if (!nest->wanted)
		return 0;
	/* The hardware may be able to and the host not use it, as with intel_iommu=sm_off. */
	domain = kviommu_compat_parent_alloc(dev, ops);
	if (PTR_ERR_OR_ZERO(domain) == -ENOMEM)
		return -ENOMEM;
	nest->wanted = !IS_ERR(domain);
	if (nest->wanted)
		iommu_domain_free(domain);
	return 0;
}

/*
 * What all IOMMUs of this host can that were seen to nest. Those of busy devices are not seen
 * yet. The driver gives tables of PASIDs the size that the one with the fewest PASIDs has, nesting
 * or not, and warns of PASIDs beyond.
 */
static DEFINE_MUTEX(nest_seen_lock);
static struct kviommu_nest nest_seen;
static u8 nest_fewest_pasids = PASID_BITS;

/* There may be an IOMMU that was not seen yet. */
static bool nest_unseen = true;

static int nest_host_device(struct device *dev, void *data)
{
	const struct iommu_device **last = data;
	struct kviommu_iommu_kind kind;
	struct kviommu_nest hw;
	int ret = 0;

	/* A device with a driver, whose lock is held, keeps its IOMMU. */
	if (!device_trylock(dev)) {
		WRITE_ONCE(nest_unseen, true);
		return 0;
	}
	if (dev->driver && dev->iommu && dev->iommu->iommu_dev != *last) {
		*last = dev->iommu->iommu_dev;
		ret = nest_hardware(dev, &hw, &kind);
		if (!ret && hw.pasid_bits)
			nest_fewest_pasids = min(nest_fewest_pasids, hw.pasid_bits);
		if (!ret && hw.wanted) {
			if (!nest_seen.wanted)
				nest_seen = hw;
			kviommu_nest_limit(&nest_seen, &hw);
		}
	}
	device_unlock(dev);
	return ret;
}

/**
 * kviommu_nest_host() - Say what the physical IOMMUs of this host can nest
 * @nest: Filled with what all those can that nest and have a PCI device with a driver, so that
 *        a guest that is promised that can have a device behind any of them. What one was once
 *        found to lack stays left out.
 *
 * Another device may be behind an IOMMU that cannot: see kviommu_nest_check().
 *
 * Looks at devices only if one was bound to a driver since the last time: it takes their locks,
 * and resets of other VMMs' devices fail, or are passed over, while a lock is held.
 *
 * Context: process context, may sleep.
 * Return: 0, also if none can nest; -ENOMEM.
 */
int kviommu_nest_host(struct kviommu_nest *nest)
{
	const struct iommu_device *last = NULL;
	int ret = 0;

	guard(mutex)(&nest_seen_lock);
	if (xchg(&nest_unseen, false))
		ret = bus_for_each_dev(&pci_bus_type, NULL, &last, nest_host_device);
	if (ret)
		WRITE_ONCE(nest_unseen, true);
	*nest = nest_seen;
	nest->pasid_bits = min(nest->pasid_bits, nest_fewest_pasids);
	return ret;
}

static int nest_bus_event(struct notifier_block *nb, unsigned long event, void *data)
{
	if (event == BUS_NOTIFY_BOUND_DRIVER)
		WRITE_ONCE(nest_unseen, true);
	return NOTIFY_DONE;
}

static struct notifier_block nest_bus_notifier = { .notifier_call = nest_bus_event };

/**
 * kviommu_nest_init() - Begin to notice that devices are bound to drivers
 *
 * Context: process context, may sleep.
 * Return: 0 or an error of bus_register_notifier().
 */
int kviommu_nest_init(void)
{
	return bus_register_notifier(&pci_bus_type, &nest_bus_notifier);
}

/**
 * kviommu_nest_exit() - Undo kviommu_nest_init()
 *
 * Context: process context, may sleep.
 */
void kviommu_nest_exit(void)
{
	bus_unregister_notifier(&pci_bus_type, &nest_bus_notifier);
}

/**
 * kviommu_nest_check() - Check whether a device's IOMMU can walk a guest's tables
 * @v: The device, of which @v->kind is filled in if the guest was promised anything
 * @nest: What the guest was promised
 *
 * If not, the host's log says what is in the way.
 *
 * Context: process context, may sleep.
 * Return: 0 if it can, or if the guest has no such tables; -EMEDIUMTYPE if it cannot;
 * -ENOMEM.
 */
int kviommu_nest_check(struct kviommu_vfio *v, const struct kviommu_nest *nest)
{
	struct kviommu_nest hw;
	const char *missing;
	int ret;

	if (!nest->wanted)
		return 0;
	ret = nest_hardware(v->dev, &hw, &v->kind);
	if (ret)
		return ret;
	missing = kviommu_nest_missing(&hw, nest);
	if (!missing)
		return 0;
	dev_notice_ratelimited(v->dev, "kviommu: its IOMMU lacks %s, which the guest was promised\n",
			       missing);
	return -EMEDIUMTYPE;
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
	return kviommu_hw_make_coherent(v, kviommu_compat_parent_alloc(v->dev,
								       nest_ops(v->dev)));
}
ALLOW_ERROR_INJECTION(kviommu_nest_parent_alloc, ERRNO);

/*
 * The driver copies its arguments from user space. So they are on a page that the VMM has
 * mapped and cannot write. The VMM might replace the mapping, and choose other arguments
 * then, for tables and addresses of its own guest.
 */
struct nest_args {
	struct iommu_hwpt_vtd_s1 alloc;
	struct iommu_hwpt_vtd_s1_invalidate flush[KVIOMMU_NEST_RANGES];
};

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

/**
 * kviommu_nest_args_map() - Put the page of arguments into the VMM's address space
 * @a: Filled with what the other functions need
 *
 * Context: process context of the VMM, may sleep; takes its mmap_lock for writing.
 * Return: 0; -ENOMEM, also if the VMM is at a limit of its address space; -EINTR.
 */
int kviommu_nest_args_map(struct kviommu_nest_args *a)
{
	struct page *page;

	page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!page)
		return -ENOMEM;
	a->file = anon_inode_getfile("[kviommu-nest]", &nest_args_fops, page, O_RDONLY);
	if (IS_ERR(a->file)) {
		put_page(page);
		a->file = NULL;
		return -ENOMEM;
	}
	a->args = page_address(page);
	a->mm = current->mm;
	a->at = vm_mmap(a->file, 0, PAGE_SIZE, PROT_READ, MAP_SHARED, 0);
	if (!IS_ERR_VALUE(a->at))
		return 0;
	fput(a->file);
	a->file = NULL;
	/* The error may be -EAGAIN, of a VMM at its limit of locked memory. */
	return (long)a->at == -EINTR ? -EINTR : -ENOMEM;
}

/**
 * kviommu_nest_args_unmap() - Take the page of arguments out of the VMM's address space
 * @a: As kviommu_nest_args_map() left it; nothing is done if it was not called or failed
 *
 * Another process that closes the unit, or an exit of the VMM, leaves the page where it is:
 * it goes with the address space.
 *
 * Context: process context, may sleep; takes the VMM's mmap_lock for writing.
 */
void kviommu_nest_args_unmap(struct kviommu_nest_args *a)
{
	struct vm_area_struct *vma;
	bool there;

	if (!a->file)
		return;
	if (a->mm == current->mm) {
		mmap_read_lock(a->mm);
		vma = vma_lookup(a->mm, a->at);
		there = vma && vma->vm_file == a->file && vma->vm_start == a->at;
		mmap_read_unlock(a->mm);
		if (there)
			vm_munmap(a->at, PAGE_SIZE);
	}
	fput(a->file);
	a->file = NULL;
}

/**
 * kviommu_nest_alloc() - Allocate a domain for first-stage tables of the guest
 * @a: The page of arguments
 * @v: A device that the domain is to be attached to, for which kviommu_nest_check()
 * @parent: The second stage, of kviommu_nest_parent_alloc()
 * @root: Guest physical address of the root table
 * @levels: Number of levels of the tables, 4 or 5
 *
 * Context: process context of the VMM, may sleep; under unit->lock, which protects the
 * arguments.
 * Return: the domain, to be freed before @parent; -EFAULT if the VMM has unmapped the page;
 * -ENOMEM; an error of the IOMMU's driver.
 */
noinline struct iommu_domain *kviommu_nest_alloc(struct kviommu_nest_args *a,
						 struct kviommu_vfio *v,
						 struct iommu_domain *parent, u64 root,
						 unsigned int levels)
{
	const struct iommu_user_data data = {
		.type = IOMMU_HWPT_DATA_VTD_S1,
		.uptr = (void __user *)(a->at + offsetof(struct nest_args, alloc)),
		.len = sizeof(a->args->alloc),
	};
	struct iommu_domain *domain;

	a->args->alloc.pgtbl_addr = root;
	a->args->alloc.addr_width = levels == 5 ? 57 : 48;
	/* What the VMM has put in place of the page must not make this wait. */
	pagefault_disable();
	domain = kviommu_compat_nested_alloc(v->dev, nest_ops(v->dev), parent, &data);
	pagefault_enable();
	return domain;
}
ALLOW_ERROR_INJECTION(kviommu_nest_alloc, ERRNO);

/**
 * kviommu_nest_flush() - Flush what is cached of ranges of the guest's tables
 * @a: The page of arguments
 * @domain: The domain for these tables
 * @range: Ranges of I/O virtual addresses, with bits 11:0 of the first 0, of the last 1
 * @nr: Number of ranges, KVIOMMU_NEST_RANGES at most
 *
 * One flush by page, or of all if the range is, of the IOTLB for each range and physical
 * IOMMU, and of the devices' own caches.
 *
 * Context: any; under the unit's map_lock, which protects the arguments; does not sleep.
 * Return: 0; an error if not all was flushed, as the thread is none of the VMM's, the VMM
 * has unmapped the page, or the driver cannot: the caller has to use
 * kviommu_nest_flush_all().
 */
int kviommu_nest_flush(struct kviommu_nest_args *a, struct iommu_domain *domain,
		       const struct kviommu_range *range, unsigned int nr)
{
	struct iommu_user_data_array array = {
		.type = IOMMU_HWPT_INVALIDATE_DATA_VTD_S1,
		.uptr = (void __user *)(a->at + offsetof(struct nest_args, flush)),
		.entry_len = sizeof(a->args->flush[0]),
		.entry_num = nr,
	};
	unsigned int i;
	int ret;

	if (current->mm != a->mm)
		return -ESRCH;
	for (i = 0; i < nr; i++) {
		bool all = !range[i].first && range[i].last == U64_MAX;

		if (all && !kviommu_compat_flushes_all())
			return -EOPNOTSUPP;
		a->args->flush[i].addr = range[i].first;
		a->args->flush[i].npages = all ? U64_MAX :
			((range[i].last - range[i].first) >> PAGE_SHIFT) + 1;
	}
	pagefault_disable();
	ret = domain->ops->cache_invalidate_user(domain, &array);
	pagefault_enable();
	return ret;
}

/**
 * kviommu_nest_flush_all() - Flush all that is cached of the guest's tables
 * @parent: The second stage of the domains whose tables the guest changed
 *
 * One flush of the domain-id of each domain that is nested in @parent, and of the devices'
 * own caches.
 *
 * Context: any; under the unit's map_lock.
 */
void kviommu_nest_flush_all(struct iommu_domain *parent)
{
	iommu_flush_iotlb_all(parent);
}
