// SPDX-License-Identifier: GPL-2.0-only
/*
 * Nested translation by the calls that a hypervisor's module makes, for the selftest
 * "nested": that finds out with them whether the lab's emulated IOMMU does what VT-d
 * hardware does. Nothing here is part of kviommu. It is for root in the lab's host: a
 * process that may open the device has any of its pages pinned, without limit.
 */
#include <linux/cdev.h>
#include <linux/cleanup.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>
#include <uapi/linux/iommufd.h>

#include "nested_test.h"

/* A page of the second stage, pinned while it is mapped */
struct nested_page {
	struct list_head node;
	struct page *page;
	u64 gpa;
	u64 size;
};

/**
 * struct nested_test - What an open file has
 * @lock: Serializes its ioctls, protects all of the rest
 * @vfio: File of the device, so that it stays bound; NULL before NESTED_TEST_DEVICE
 * @dev: The device
 * @group: The device's group
 * @ops: Those of its IOMMU's driver
 * @parent: Second-stage domain
 * @nested: First-stage domain in it, or NULL
 * @attached: The one of both that the group is attached to, or NULL
 * @pages: What is mapped in @parent, struct nested_page
 */
struct nested_test {
	struct mutex lock; /* see above */
	struct file *vfio;
	struct device *dev;
	struct iommu_group *group;
	const struct iommu_ops *ops;
	struct iommu_domain *parent;
	struct iommu_domain *nested;
	struct iommu_domain *attached;
	struct list_head pages;
};

/* The domain that was attached before must be detached first: the core says -EBUSY. */
static int nested_attach(struct nested_test *t, struct iommu_domain *domain)
{
	int ret;

	if (t->attached)
		iommu_detach_group(t->attached, t->group);
	t->attached = NULL;
	if (!domain)
		return 0;
	ret = iommu_attach_group(domain, t->group);
	if (!ret)
		t->attached = domain;
	return ret;
}

static int nested_device(struct nested_test *t, int fd)
{
	struct file *file __free(fput) = fget(fd);
	struct iommu_domain *parent;
	struct vfio_device *vdev;

	if (!file)
		return -EBADF;
	if (t->vfio)
		return -EBUSY;
	if (!vfio_file_is_valid(file) || !file_inode(file)->i_cdev)
		return -EINVAL;
	vdev = container_of(file_inode(file)->i_cdev, struct vfio_device, cdev);

	parent = iommu_paging_domain_alloc_flags(vdev->dev, IOMMU_HWPT_ALLOC_NEST_PARENT);
	if (IS_ERR(parent))
		return PTR_ERR(parent);
	if (device_iommu_capable(vdev->dev, IOMMU_CAP_ENFORCE_CACHE_COHERENCY) &&
	    !parent->ops->enforce_cache_coherency(parent)) {
		iommu_domain_free(parent);
		return -EMEDIUMTYPE;
	}
	t->parent = parent;
	t->dev = vdev->dev;
	t->group = iommu_group_get(vdev->dev);
	t->ops = vdev->dev->iommu->iommu_dev->ops;
	t->vfio = no_free_ptr(file);
	return 0;
}

static int nested_map(struct nested_test *t, const struct nested_test_map *map)
{
	struct nested_page *p __free(kfree) = kzalloc(sizeof(*p), GFP_KERNEL);
	int prot = IOMMU_CACHE, ret;

	if (!p)
		return -ENOMEM;
	if (map->rights & NESTED_TEST_R)
		prot |= IOMMU_READ;
	if (map->rights & NESTED_TEST_W)
		prot |= IOMMU_WRITE;
	ret = pin_user_pages_fast(map->va, 1, FOLL_WRITE | FOLL_LONGTERM, &p->page);
	if (ret < 0)
		return ret;
	p->gpa = map->gpa;
	p->size = map->size;
	/* Of a larger page the first one is pinned, and with it all */
	ret = -EINVAL;
	if (ret && folio_size(page_folio(p->page)) >= p->size &&
	    IS_ALIGNED(page_to_phys(p->page) | p->gpa, p->size) &&
	    t->parent->pgsize_bitmap & p->size)
		ret = iommu_map(t->parent, p->gpa, page_to_phys(p->page), p->size, prot,
				GFP_KERNEL);
	if (ret) {
		unpin_user_page(p->page);
		return ret;
	}
	list_add(&p->node, &t->pages);
	retain_and_null_ptr(p);
	return 0;
}

static int nested_unmap(struct nested_test *t, struct nested_page *p)
{
	size_t unmapped = iommu_unmap(t->parent, p->gpa, p->size);

	list_del(&p->node);
	unpin_user_page(p->page);
	if (unmapped != p->size)
		pr_err("nested_test: %zu bytes of %llu unmapped\n", unmapped, p->size);
	kfree(p);
	return 0;
}

static int nested_unmap_at(struct nested_test *t, const struct nested_test_map *map)
{
	struct nested_page *p;

	list_for_each_entry(p, &t->pages, node)
		if (p->gpa == map->gpa && p->size == map->size)
			return nested_unmap(t, p);
	return -ENOENT;
}

/* The IOMMU's driver copies the table from the process. */
static int nested_first_stage(struct nested_test *t, void __user *s1)
{
	struct iommu_user_data data = {
		.type = IOMMU_HWPT_DATA_VTD_S1,
		.uptr = s1,
		.len = sizeof(struct iommu_hwpt_vtd_s1),
	};
	struct iommu_domain *domain;
	int ret;

	if (!t->ops->domain_alloc_nested)
		return -EOPNOTSUPP;
	domain = t->ops->domain_alloc_nested(t->dev, t->parent, 0, &data);
	if (IS_ERR(domain))
		return PTR_ERR(domain);
	/* As iommufd does: no domain is attached whose owner is not the device's driver. */
	domain->owner = t->ops;
	ret = nested_attach(t, domain);
	if (ret) {
		iommu_domain_free(domain);
		return ret;
	}
	if (t->nested)
		iommu_domain_free(t->nested);
	t->nested = domain;
	return 0;
}

static int nested_attach_by(struct nested_test *t, unsigned long which)
{
	switch (which) {
	case NESTED_TEST_NOTHING:
		return nested_attach(t, NULL);
	case NESTED_TEST_PARENT:
		return nested_attach(t, t->parent);
	case NESTED_TEST_NESTED:
		return t->nested ? nested_attach(t, t->nested) : -ENOENT;
	default:
		return -EINVAL;
	}
}

static int nested_invalidate(struct nested_test *t, void __user *invalidation)
{
	struct iommu_user_data_array array = {
		.type = IOMMU_HWPT_INVALIDATE_DATA_VTD_S1,
		.uptr = invalidation,
		.entry_len = sizeof(struct iommu_hwpt_vtd_s1_invalidate),
		.entry_num = 1,
	};

	if (!t->nested)
		return -ENOENT;
	return t->nested->ops->cache_invalidate_user(t->nested, &array);
}

static long nested_test_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct nested_test *t = file->private_data;
	struct nested_test_map map;

	guard(mutex)(&t->lock);
	if (cmd == NESTED_TEST_DEVICE)
		return nested_device(t, arg);
	if (!t->vfio)
		return -ENODEV;

	switch (cmd) {
	case NESTED_TEST_MAP:
	case NESTED_TEST_UNMAP:
		if (copy_from_user(&map, (void __user *)arg, sizeof(map)))
			return -EFAULT;
		return cmd == NESTED_TEST_MAP ? nested_map(t, &map) :
						nested_unmap_at(t, &map);
	case NESTED_TEST_FIRST_STAGE:
		return nested_first_stage(t, (void __user *)arg);
	case NESTED_TEST_ATTACH:
		return nested_attach_by(t, arg);
	case NESTED_TEST_INVALIDATE:
		return nested_invalidate(t, (void __user *)arg);
	case NESTED_TEST_FLUSH:
		iommu_flush_iotlb_all(t->parent);
		return 0;
	default:
		return -ENOTTY;
	}
}

static int nested_test_open(struct inode *inode, struct file *file)
{
	struct nested_test *t = kzalloc(sizeof(*t), GFP_KERNEL);

	if (!t)
		return -ENOMEM;
	mutex_init(&t->lock);
	INIT_LIST_HEAD(&t->pages);
	file->private_data = t;
	return 0;
}

static int nested_test_release(struct inode *inode, struct file *file)
{
	struct nested_test *t = file->private_data;
	struct nested_page *p, *next;

	if (t->vfio) {
		nested_attach(t, NULL);
		/* Children before their parent, which has to be empty */
		if (t->nested)
			iommu_domain_free(t->nested);
		list_for_each_entry_safe(p, next, &t->pages, node)
			nested_unmap(t, p);
		iommu_domain_free(t->parent);
		iommu_group_put(t->group);
		fput(t->vfio);
	}
	kfree(t);
	return 0;
}

static const struct file_operations nested_test_fops = {
	.owner = THIS_MODULE,
	.open = nested_test_open,
	.release = nested_test_release,
	.unlocked_ioctl = nested_test_ioctl,
};

static struct miscdevice nested_test_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "nested_test",
	.fops = &nested_test_fops,
};
module_misc_device(nested_test_misc);

MODULE_DESCRIPTION("Test of nested translation by the host's IOMMU");
MODULE_LICENSE("GPL");
