/* SPDX-License-Identifier: GPL-2.0 */
/* Assigned edu devices through VFIO's character devices and iommufd. */
#ifndef SELFTEST_KVIOMMU_DEVICE_H
#define SELFTEST_KVIOMMU_DEVICE_H

#include <stddef.h>
#include <linux/iommufd.h>
#include <linux/types.h>

#include "edu.h"

/**
 * struct edu - An edu device that is ours
 * @bdf: Its PCI address
 * @fd: Its VFIO character device
 * @iommufd: What it is bound to
 * @devid: Its name there
 * @bar: Its registers
 * @pattern: What the first EDU_PATTERN_SIZE bytes of its buffer hold, never
 *           zeros, different for each device and each run. No test may have it
 *           read to there.
 */
#define EDU_PATTERN_SIZE	(EDU_BUF_SIZE / 2)
struct edu {
	char bdf[32];
	int fd;
	int iommufd;
	__u32 devid;
	void *bar;
	size_t bar_size;
	__u8 pattern[EDU_PATTERN_SIZE];
};

/* Fill with words that are not 0 and differ from those of any other call. */
void fill_unique(void *buf, size_t size);

/* Of any VFIO device: bind it, and return its name there; set bits of its command
 * register; map BAR 0.
 */
__u32 vfio_bind(int fd, int iommufd);
void vfio_command(int fd, __u16 bits);
void *vfio_map_bar(int fd, size_t *size);

/* Path below /dev of the n-th edu device that is bound to vfio-pci, its PCI
 * address, its IOMMU group. Too few devices end the test as failed.
 */
void edu_find(unsigned int n, char path[64], char bdf[32], unsigned int *group);

/* Open the n-th device; bind it to an iommufd and enable it. */
void edu_open(struct edu *edu, unsigned int n);
void edu_bind(struct edu *edu, int iommufd);
/* Give its buffer the pattern, through an IOAS of its own. */
void edu_seed(struct edu *edu);
/* The same unless an earlier test of this program did: DMA takes its time. */
void edu_know(struct edu *edu);
void edu_close(struct edu *edu);

/*
 * The device belongs to nobody: another iommufd, possibly of another process,
 * can have it, and its DMA works there, and nowhere else. Ends the test as
 * failed if not.
 */
bool device_is_free(unsigned int n);

/* These return 0 or an errno. */
int edu_attach_ioas(struct edu *edu, __u32 ioas);
int edu_detach_ioas(struct edu *edu);

/* Wait for the end of a transfer, and let others have the processor meanwhile. */
void edu_wait(struct edu *edu);
/* Drive its DMA engine from here, to the end of the transfer. */
void edu_dma(struct edu *edu, bool to_ram, __u64 iova, __u64 off, __u64 len);

int iommufd_open(void);
__u32 ioas_alloc(int iommufd);
/* Return 0 or an errno. */
int ioas_map(int iommufd, __u32 ioas, __u64 iova, void *va, __u64 size,
	     __u32 rights);
int ioas_unmap(int iommufd, __u32 ioas, __u64 iova, __u64 size);
void iommufd_destroy(int iommufd, __u32 id);

/* Frames that are pinned in the whole host; KiB of this process's that are */
long host_pins(void);
unsigned long pinned_kib(void);

/* No right to lock more memory than this, for good */
void limit_locked_memory(unsigned long bytes);

#define IOAS_RW (IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE)

#endif
