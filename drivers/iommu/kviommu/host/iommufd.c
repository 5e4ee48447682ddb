// SPDX-License-Identifier: GPL-2.0-only
/*
 * iommufd: access to the guest's memory through the IOAS that maps guest
 * physical addresses to the VMM's memory.
 */
#include <linux/error-injection.h>
#include <linux/iommufd.h>
#include <linux/mm.h>

#include "compat.h"
#include "host.h"

KVIOMMU_IMPORT_NS(IOMMUFD);

static void access_unmap(void *data, unsigned long iova, unsigned long length)
{
	struct kviommu_access *a = data;
	unsigned long last;

	/* A length of ULONG_MAX stands for the whole IOAS. */
	if (check_add_overflow(iova, length - 1, &last))
		last = ULONG_MAX;
	a->unmap(a, iova, last);
}

static const struct iommufd_access_ops access_ops = {
	.needs_pin_pages = 1,
	.unmap = access_unmap,
};

static noinline struct iommufd_access *access_create(struct iommufd_ctx *ictx,
						     struct kviommu_access *a)
{
	u32 id;

	return iommufd_access_create(ictx, &access_ops, a, &id);
}
ALLOW_ERROR_INJECTION(access_create, ERRNO);

static noinline int access_attach(struct iommufd_access *access, u32 ioas_id)
{
	return iommufd_access_attach(access, ioas_id);
}
ALLOW_ERROR_INJECTION(access_attach, ERRNO);

/**
 * kviommu_access_get() - Become a user of an IOAS
 * @a: The structure to fill; the caller has set @a->unmap
 * @iommufd: File descriptor of the iommufd
 * @ioas_id: ID of the IOAS
 *
 * Context: process context, may sleep; not under map_lock.
 * Return: 0; -EBADF; -EINVAL if @iommufd is no iommufd; -ENOENT if there is no such
 * IOAS; -ENOMEM.
 */
int kviommu_access_get(struct kviommu_access *a, int iommufd, u32 ioas_id)
{
	struct iommufd_access *access;
	struct iommufd_ctx *ictx;
	int ret;

	ictx = iommufd_ctx_from_fd(iommufd);
	if (IS_ERR(ictx)) {
		/* iommufd returns -EBADFD for a file that is not its own. */
		ret = PTR_ERR(ictx);
		return ret == -EBADFD ? -EINVAL : ret;
	}

	access = access_create(ictx, a);
	if (IS_ERR(access)) {
		ret = PTR_ERR(access);
		goto put_ctx;
	}
	ret = access_attach(access, ioas_id);
	if (ret)
		goto destroy;
	a->ictx = ictx;
	a->access = access;
	a->ioas_id = ioas_id;
	return 0;

destroy:
	iommufd_access_destroy(access);
put_ctx:
	iommufd_ctx_put(ictx);
	return ret;
}

/**
 * kviommu_access_put() - Stop using an IOAS
 * @a: The access; nothing is done if kviommu_access_get() did not succeed
 *
 * Context: process context, may sleep; not under map_lock. Calls @a->unmap for the
 * whole IOAS.
 */
void kviommu_access_put(struct kviommu_access *a)
{
	if (!a->access)
		return;
	iommufd_access_destroy(a->access);
	iommufd_ctx_put(a->ictx);
	a->access = NULL;
}

/**
 * kviommu_access_pin() - Pin one page of guest memory
 * @a: The access
 * @gfn: Guest frame number
 * @write: true if the page will be written, false if it will be read
 * @page: Set to the pinned page
 *
 * Each success must be balanced by a call of kviommu_access_unpin(). iommufd charges
 * the page to the VMM's locked memory.
 *
 * Context: process context, may sleep; may take the VMM's mmap_lock and fault.
 * Return: 0; -ENOENT if the IOAS has no such memory; -EPERM if it denies such access;
 * -ENOMEM, also at the limit of locked memory; other errors of
 * pin_user_pages_remote().
 */
int kviommu_access_pin(struct kviommu_access *a, u64 gfn, bool write,
		       struct page **page)
{
	int ret;

	if (gfn > ULONG_MAX >> PAGE_SHIFT)
		return -ENOENT;
	ret = iommufd_access_pin_pages(a->access, gfn << PAGE_SHIFT, PAGE_SIZE,
				       page, write ? IOMMUFD_ACCESS_RW_WRITE :
				       IOMMUFD_ACCESS_RW_READ);
	/* The range is being unmapped, or is MMIO of another device. */
	return ret == -EINVAL ? -ENOENT : ret;
}
ALLOW_ERROR_INJECTION(kviommu_access_pin, ERRNO);

/**
 * kviommu_access_pin_range() - Pin pages of guest memory that devices may read and write
 * @a: The access
 * @gfn: First guest frame number
 * @nr: Number of frames
 * @pages: Array of @nr, filled with the pinned pages
 *
 * Each success must be balanced by kviommu_access_unpin_range() for the same range; if
 * the IOAS unmaps a part of the range, by calls for the parts that its areas divide it
 * into. iommufd keeps a record for each call, not for each page.
 *
 * Context: process context, may sleep; may take the VMM's mmap_lock and fault.
 * Return: as kviommu_access_pin(), with nothing pinned on error.
 */
int kviommu_access_pin_range(struct kviommu_access *a, u64 gfn, u64 nr,
			     struct page **pages)
{
	unsigned long iova = gfn << PAGE_SHIFT, length = nr << PAGE_SHIFT;
	int ret;

	if (gfn + nr - 1 > ULONG_MAX >> PAGE_SHIFT)
		return -ENOENT;
	ret = iommufd_access_pin_pages(a->access, iova, length, pages,
				       IOMMUFD_ACCESS_RW_WRITE);
	if (!ret) {
		/*
		 * What may be written need not be readable. To ask for that, too, is to count
		 * in the records that are there now.
		 */
		ret = iommufd_access_pin_pages(a->access, iova, length, pages,
					       IOMMUFD_ACCESS_RW_READ);
		iommufd_access_unpin_pages(a->access, iova, length);
	}
	/* As for kviommu_access_pin() */
	return ret == -EINVAL ? -ENOENT : ret;
}
ALLOW_ERROR_INJECTION(kviommu_access_pin_range, ERRNO);

/**
 * kviommu_access_unpin_range() - Undo one kviommu_access_pin_range()
 * @a: The access
 * @gfn: First guest frame number
 * @nr: Number of frames
 *
 * Context: process context, may sleep.
 */
void kviommu_access_unpin_range(struct kviommu_access *a, u64 gfn, u64 nr)
{
	iommufd_access_unpin_pages(a->access, gfn << PAGE_SHIFT, nr << PAGE_SHIFT);
}

/**
 * kviommu_access_rw() - Copy from or to guest memory without a pin
 * @a: The access
 * @gpa: Guest physical address
 * @buf: The host's buffer
 * @len: Length in bytes
 * @write: true to write guest memory, false to read it
 *
 * Much slower than an access through a pinned page.
 *
 * Context: process context, may sleep; may take the VMM's mmap_lock and fault.
 * Return: as kviommu_access_pin().
 */
int kviommu_access_rw(struct kviommu_access *a, u64 gpa, void *buf,
		      unsigned int len, bool write)
{
	return iommufd_access_rw(a->access, gpa, buf, len,
				 write ? IOMMUFD_ACCESS_RW_WRITE :
				 IOMMUFD_ACCESS_RW_READ);
}
ALLOW_ERROR_INJECTION(kviommu_access_rw, ERRNO);

/**
 * kviommu_access_unpin() - Undo one kviommu_access_pin()
 * @a: The access
 * @gfn: Guest frame number
 *
 * Context: process context, may sleep.
 */
void kviommu_access_unpin(struct kviommu_access *a, u64 gfn)
{
	iommufd_access_unpin_pages(a->access, gfn << PAGE_SHIFT, PAGE_SIZE);
}
