// SPDX-License-Identifier: GPL-2.0
/*
 * To be preloaded into a VMM (LD_PRELOAD): pretends that all devices but the first one are
 * behind a physical IOMMU that cannot walk a guest's tables, though the host has one that
 * can. The lab's hosts have only one IOMMU.
 */
#include <errno.h>
#include <linux/kviommu.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int ioctl(int fd, unsigned long request, ...)
{
	static int scalable, attached;
	const struct kviommu_create_vtd *vtd;
	const struct kviommu_create *create;
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (request == KVIOMMU_CREATE) {
		create = arg;
		vtd = (void *)(uintptr_t)create->data_uptr;
		scalable = vtd->ecap >> 43 & 1;		/* SMTS */
	} else if (request == KVIOMMU_ATTACH_DEVICE && attached++ && scalable) {
		errno = EMEDIUMTYPE;
		return -1;
	}
	return syscall(SYS_ioctl, fd, request, arg);
}
