// SPDX-License-Identifier: GPL-2.0-only
/*
 * VFIO and the IOMMU API: a device behind its file descriptor, and the domain
 * that its group is attached to.
 */
#include <linux/cdev.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/vfio.h>

#include "host.h"

/* All devices that units hold: a group belongs to one unit at a time. */
static DEFINE_MUTEX(held_lock);
static LIST_HEAD(held);

static int hold(struct kviommu_vfio *v)
{
	struct kviommu_vfio *other;

	guard(mutex)(&held_lock);
	list_for_each_entry(other, &held, entry)
		if (other->group == v->group)
			return -EBUSY;
	list_add(&v->entry, &held);
	return 0;
}

static void unhold(struct kviommu_vfio *v)
{
	guard(mutex)(&held_lock);
	list_del(&v->entry);
}

/*
 * A VFIO device cdev can be open several times, but is bound through one of
 * the files, and unbound when that is closed: so it must be that one we hold.
 * VFIO refuses all access through the others.
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
 * Context: process context.
 * Return: 0; -EBADF; -EINVAL if it is no VFIO device cdev that is bound;
 * -EXDEV if it is bound to another iommufd; -EBUSY if it is attached, or a
 * unit holds a device of its group.
 */
int kviommu_vfio_get(struct kviommu_vfio *v, int fd,
		     const struct kviommu_access *a)
{
	struct vfio_device *vdev;
	struct file *file = fget(fd);
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
	ret = hold(v);
	if (ret)
		goto put_group;
	return 0;

put_group:
	iommu_group_put(v->group);
put_file:
	fput(file);
	return ret;
}

/**
 * kviommu_vfio_put() - Give a device back; it is attached to nothing of ours
 * @v: The device
 */
void kviommu_vfio_put(struct kviommu_vfio *v)
{
	unhold(v);
	iommu_group_put(v->group);
	fput(v->file);
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
	struct iommu_domain *domain = iommu_paging_domain_alloc(v->dev);

	if (IS_ERR(domain))
		return domain;
	/*
	 * KVM ignores the guest's cache control where VFIO says that the
	 * IOMMU enforces coherency: then it has to.
	 */
	if (device_iommu_capable(v->dev, IOMMU_CAP_ENFORCE_CACHE_COHERENCY) &&
	    (!domain->ops->enforce_cache_coherency ||
	     !domain->ops->enforce_cache_coherency(domain))) {
		iommu_domain_free(domain);
		return ERR_PTR(-EMEDIUMTYPE);
	}
	return domain;
}

/**
 * kviommu_vfio_probe() - See whether a device can be translated for
 * @v: The device
 * @aw_bits: Width of the I/O virtual addresses
 *
 * Tries with an empty domain.
 *
 * Return: 0; -EMEDIUMTYPE if the physical IOMMU cannot do it; -EBUSY if
 * somebody attached the group; -ENOMEM.
 */
int kviommu_vfio_probe(struct kviommu_vfio *v, unsigned int aw_bits)
{
	struct iommu_domain *domain = kviommu_vfio_alloc_domain(v);
	int ret;

	if (IS_ERR(domain))
		return PTR_ERR(domain);
	ret = -EMEDIUMTYPE;
	if (domain->geometry.aperture_end < (1ULL << aw_bits) - 1 ||
	    !(domain->pgsize_bitmap & SZ_4K))
		goto free;
	ret = kviommu_vfio_attach(v, domain);
	if (!ret)
		kviommu_vfio_detach(v, domain);
free:
	iommu_domain_free(domain);
	return ret;
}

/**
 * kviommu_vfio_attach() - Let a device's group translate through a domain
 * @v: The device, whose group is on its blocking domain
 * @domain: The domain
 *
 * Return: 0; -EINVAL if the device's IOMMU does not take this domain; -EBUSY if
 * somebody else attached the group; -ENOMEM.
 */
int kviommu_vfio_attach(struct kviommu_vfio *v, struct iommu_domain *domain)
{
	return iommu_attach_group(domain, v->group);
}

/**
 * kviommu_vfio_detach() - Block a device's DMA
 * @v: The device
 * @domain: The domain that kviommu_vfio_attach() attached it to
 */
void kviommu_vfio_detach(struct kviommu_vfio *v, struct iommu_domain *domain)
{
	/* Only what is ours: a group whose owner changed has moved on. */
	if (iommu_get_domain_for_dev(v->dev) == domain)
		iommu_detach_group(domain, v->group);
}

/**
 * kviommu_vfio_attach_ioas() - Let a device reach an IOAS at its addresses
 * @v: The device, attached to nothing
 * @ioas_id: The IOAS, all of which gets pinned
 *
 * Through VFIO, so that its idea of the device stays right.
 *
 * Context: process context, not under map_lock.
 * Return: 0, or an error of VFIO_DEVICE_ATTACH_IOMMUFD_PT.
 */
int kviommu_vfio_attach_ioas(struct kviommu_vfio *v, u32 ioas_id)
{
	int ret = -EBUSY;

	mutex_lock(&v->vdev->dev_set->lock);
	if (!v->vdev->iommufd_attached)
		ret = v->vdev->ops->attach_ioas(v->vdev, &ioas_id);
	mutex_unlock(&v->vdev->dev_set->lock);
	return ret;
}

/**
 * kviommu_vfio_detach_ioas() - Undo kviommu_vfio_attach_ioas()
 * @v: The device
 *
 * Context: process context, not under map_lock.
 */
void kviommu_vfio_detach_ioas(struct kviommu_vfio *v)
{
	mutex_lock(&v->vdev->dev_set->lock);
	v->vdev->ops->detach_ioas(v->vdev);
	mutex_unlock(&v->vdev->dev_set->lock);
}
