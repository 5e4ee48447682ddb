// SPDX-License-Identifier: GPL-2.0-only
/*
 * VFIO: devices behind their file descriptors, and in an IOAS.
 */
#include <linux/cdev.h>
#include <linux/error-injection.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/mutex.h>
#include <linux/vfio.h>

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
 * kviommu_vfio_attach_ioas() - Let a device reach an IOAS at its addresses
 * @v: The device
 * @ioas_id: The IOAS, all of which iommufd pins
 *
 * Through VFIO, so that its idea of the device stays right.
 *
 * Context: process context, not under map_lock.
 * Return: 0; -EBUSY if the VMM attached it; an error of VFIO_DEVICE_ATTACH_IOMMUFD_PT.
 */
int kviommu_vfio_attach_ioas(struct kviommu_vfio *v, u32 ioas_id)
{
	int ret = -EBUSY;

	mutex_lock(&v->vdev->dev_set->lock);
	if (!v->vdev->iommufd_attached)
		ret = v->vdev->ops->attach_ioas(v->vdev, &ioas_id);
	mutex_unlock(&v->vdev->dev_set->lock);
	v->in_ioas = !ret;
	return ret;
}
ALLOW_ERROR_INJECTION(kviommu_vfio_attach_ioas, ERRNO);

/**
 * kviommu_vfio_detach_ioas() - Undo kviommu_vfio_attach_ioas(), if it was done
 * @v: The device
 *
 * Context: process context, not under map_lock.
 */
void kviommu_vfio_detach_ioas(struct kviommu_vfio *v)
{
	if (!v->in_ioas)
		return;
	mutex_lock(&v->vdev->dev_set->lock);
	v->vdev->ops->detach_ioas(v->vdev);
	mutex_unlock(&v->vdev->dev_set->lock);
	v->in_ioas = false;
}
