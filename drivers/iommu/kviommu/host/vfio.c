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
 * A VFIO device cdev can be open several times, but it is bound through one of the
 * files and unbound when that file is closed, so a reference to that file is needed.
 * VFIO has no function to ask for it, but it refuses to read through any other file;
 * a read of 0 bytes has no effect on the device.
 */
static bool vdev_file_is_bound(struct file *file)
{
	loff_t pos = 0;

	return file->f_op->read && !file->f_op->read(file, NULL, 0, &pos);
}

static struct vfio_device *vdev_of_file(struct file *file)
{
	struct inode *inode = file_inode(file);

	/* Device files obtained through a VFIO group do not belong to the cdev. */
	if (!vfio_file_is_valid(file) || vfio_file_is_group(file) ||
	    !S_ISCHR(inode->i_mode) || !inode->i_cdev)
		return ERR_PTR(-EINVAL);
	if (!vdev_file_is_bound(file))
		return ERR_PTR(-EINVAL);
	return container_of(inode->i_cdev, struct vfio_device, cdev);
}

/* The device must be bound to the unit's iommufd and not be attached. */
static int vdev_check_binding(struct vfio_device *vdev,
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
 * kviommu_vfio_get() - Take a reference to a VFIO device by its file descriptor
 * @v: The structure to fill
 * @fd: File descriptor of the device's cdev
 * @a: The access to the iommufd that the device must be bound to
 *
 * Context: process context, may sleep; not under map_lock.
 * Return: 0; -EBADF; -EINVAL if @fd is not a VFIO device cdev through which the device
 * is bound, or the device has no IOMMU group; -EXDEV if it is bound to another iommufd;
 * -EBUSY if it is attached.
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
	ret = vdev_check_binding(vdev, a);
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
 * kviommu_vfio_put() - Drop the reference to a VFIO device
 * @v: The device, which is in no struct kviommu_hwgroup any more
 *
 * Context: process context, may sleep.
 */
void kviommu_vfio_put(struct kviommu_vfio *v)
{
	iommu_group_put(v->group);
	fput(v->file);
}

/**
 * kviommu_vfio_enforces_coherency() - Check whether a device's DMA can be forced coherent
 * @v: The device
 *
 * KVM ignores the guest's cache control unless noncoherent DMA is possible, so where
 * the physical IOMMU can enforce coherency it has to.
 *
 * Context: process context.
 * Return: true if the device's IOMMU can force DMA to be coherent.
 */
bool kviommu_vfio_enforces_coherency(struct kviommu_vfio *v)
{
	return device_iommu_capable(v->dev, IOMMU_CAP_ENFORCE_CACHE_COHERENCY);
}

/**
 * kviommu_vfio_iommu() - Identify the physical IOMMU of a device
 * @v: The device
 *
 * Context: any.
 * Return: an opaque pointer, the same for all devices behind the same IOMMU.
 */
const void *kviommu_vfio_iommu(struct kviommu_vfio *v)
{
	return v->dev->iommu->iommu_dev;
}

/**
 * kviommu_vfio_attach_ioas() - Attach a device to an IOAS
 * @v: The device
 * @ioas_id: The IOAS, all of which iommufd pins
 *
 * Goes through VFIO, which keeps its own record of whether the device is attached.
 *
 * Context: process context, may sleep; not under map_lock.
 * Return: 0; -EBUSY if the VMM has attached the device; an error of
 * VFIO_DEVICE_ATTACH_IOMMUFD_PT.
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
 * kviommu_vfio_detach_ioas() - Undo kviommu_vfio_attach_ioas(), if it was called
 * @v: The device
 *
 * Context: process context, may sleep; not under map_lock.
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
