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
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/vfio.h>

#include "host.h"

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
	lockdep_assert_held(&vdev->dev_set->lock);

	if (!vdev->iommufd_device)
		return -EINVAL;
	if (iommufd_device_to_ictx(vdev->iommufd_device) != a->ictx)
		return -EXDEV;
	if (vdev->iommufd_attached)
		return -EBUSY;
	return 0;
}

/* Off what we attached the device to; then its group is blocked. */
static void detach(struct kviommu_vfio *v)
{
	if (v->in_ioas)
		v->vdev->ops->detach_ioas(v->vdev);
	/* Only what is ours: a group whose owner changed has moved on. */
	else if (v->domain && iommu_get_domain_for_dev(v->dev) == v->domain)
		iommu_detach_group(v->domain, v->group);
	v->in_ioas = false;
	v->domain = NULL;
}

static int attach(struct kviommu_vfio *v, struct iommu_domain *domain)
{
	int ret = iommu_attach_group(domain, v->group);

	if (!ret)
		v->domain = domain;
	return ret;
}

/**
 * kviommu_vfio_get() - Take a VFIO device by its file descriptor
 * @v: Where to
 * @fd: File descriptor of its character device
 * @a: The iommufd it must be bound to
 * @aw_bits: Width of the I/O virtual addresses to translate
 *
 * The device's group is attached to an empty domain of our own: that blocks
 * its DMA, proves that the physical IOMMU can translate for it, and keeps
 * everybody else from attaching it.
 *
 * Context: process context, not under map_lock.
 * Return: 0; -EBADF; -EINVAL if it is no VFIO device cdev that is bound;
 * -EXDEV if it is bound to another iommufd; -EBUSY if its group is attached;
 * -EMEDIUMTYPE if the physical IOMMU cannot do it; -ENOMEM.
 */
int kviommu_vfio_get(struct kviommu_vfio *v, int fd,
		     const struct kviommu_access *a, unsigned int aw_bits)
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
	v->file = file;
	v->vdev = vdev;
	v->dev = vdev->dev;
	v->group = iommu_group_get(vdev->dev);
	if (!v->group) {
		ret = -EINVAL;
		goto put_file;
	}

	mutex_lock(&vdev->dev_set->lock);
	ret = check_binding(vdev, a);
	if (ret)
		goto unlock;
	v->empty = kviommu_vfio_alloc_domain(v);
	if (IS_ERR(v->empty)) {
		ret = PTR_ERR(v->empty);
		goto unlock;
	}
	ret = -EMEDIUMTYPE;
	if (v->empty->geometry.aperture_end < (1ULL << aw_bits) - 1 ||
	    !(v->empty->pgsize_bitmap & SZ_4K))
		goto free_empty;
	ret = attach(v, v->empty);
	if (ret)
		goto free_empty;
	mutex_unlock(&vdev->dev_set->lock);
	return 0;

free_empty:
	iommu_domain_free(v->empty);
unlock:
	mutex_unlock(&vdev->dev_set->lock);
	iommu_group_put(v->group);
put_file:
	fput(file);
	return ret;
}

/**
 * kviommu_vfio_put() - Give a device back, blocked and attached to nothing
 * @v: The device
 *
 * Context: process context, not under map_lock.
 */
void kviommu_vfio_put(struct kviommu_vfio *v)
{
	mutex_lock(&v->vdev->dev_set->lock);
	detach(v);
	mutex_unlock(&v->vdev->dev_set->lock);
	iommu_domain_free(v->empty);
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
 * kviommu_vfio_set_domain() - Let a device translate through a domain
 * @v: The device
 * @domain: The domain; NULL blocks its DMA
 *
 * There is no way from one domain to another but through the blocking one;
 * VFIO's lock keeps others from getting in between.
 *
 * Context: process context, not under map_lock.
 * Return: 0, or with the device blocked: -EINVAL if its IOMMU does not take
 * this domain; -EBUSY if somebody else attached the group; -ENOMEM.
 */
int kviommu_vfio_set_domain(struct kviommu_vfio *v,
			    struct iommu_domain *domain)
{
	int ret;

	mutex_lock(&v->vdev->dev_set->lock);
	detach(v);
	ret = attach(v, domain ?: v->empty);
	if (ret)
		attach(v, v->empty);
	mutex_unlock(&v->vdev->dev_set->lock);
	return ret;
}

/**
 * kviommu_vfio_set_ioas() - Let a device reach an IOAS at its addresses
 * @v: The device
 * @ioas_id: The IOAS, all of which gets pinned
 *
 * Through VFIO, so that its idea of the device stays right.
 *
 * Context: process context, not under map_lock.
 * Return: 0, or with the device blocked an error of
 * VFIO_DEVICE_ATTACH_IOMMUFD_PT.
 */
int kviommu_vfio_set_ioas(struct kviommu_vfio *v, u32 ioas_id)
{
	int ret;

	mutex_lock(&v->vdev->dev_set->lock);
	detach(v);
	ret = v->vdev->iommufd_attached ? -EBUSY :
	      v->vdev->ops->attach_ioas(v->vdev, &ioas_id);
	if (ret)
		attach(v, v->empty);
	else
		v->in_ioas = true;
	mutex_unlock(&v->vdev->dev_set->lock);
	return ret;
}
