/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QEMU's edu device, see docs/specs/edu.rst there: the registers of its DMA
 * engine, driven by the guest or by the host alike.
 */
#ifndef SELFTEST_KVIOMMU_EDU_H
#define SELFTEST_KVIOMMU_EDU_H

#include <stdbool.h>
#include <linux/types.h>

#define EDU_VENDOR		0x1234
#define EDU_DEVICE		0x11e8

#define EDU_ID			0x00
#define EDU_ID_MAGIC		0xed
#define EDU_DMA_SRC		0x80
#define EDU_DMA_DST		0x88
#define EDU_DMA_COUNT		0x90
#define EDU_DMA_CMD		0x98
#define EDU_DMA_RUN		0x1
#define EDU_DMA_TO_RAM		0x2
/* Of the lab's edu-pasid: the PASID that requests have, if EDU_DMA_TAGGED is set */
#define EDU_DMA_PASID		0xa0
#define EDU_DMA_TAGGED		0x80000000

/* The device's memory as its DMA engine addresses it */
#define EDU_BUF			0x40000
#define EDU_BUF_SIZE		4096UL

static inline void edu_write64(void *bar, __u64 reg, __u64 v)
{
	asm volatile("movq %0, (%1)" : : "r" (v), "r" (bar + reg) : "memory");
}

static inline __u64 edu_read64(void *bar, __u64 reg)
{
	__u64 v;

	asm volatile("movq (%1), %0" : "=r" (v) : "r" (bar + reg) : "memory");
	return v;
}

/* The transfer happens some 100 ms later; the device then clears its bit. */
static inline void edu_dma_start(void *bar, bool to_ram, __u64 iova, __u64 off,
				 __u64 len)
{
	__u64 buf = EDU_BUF + off;

	edu_write64(bar, EDU_DMA_SRC, to_ram ? buf : iova);
	edu_write64(bar, EDU_DMA_DST, to_ram ? iova : buf);
	edu_write64(bar, EDU_DMA_COUNT, len);
	edu_write64(bar, EDU_DMA_CMD,
		    EDU_DMA_RUN | (to_ram ? EDU_DMA_TO_RAM : 0));
}

static inline bool edu_dma_busy(void *bar)
{
	return edu_read64(bar, EDU_DMA_CMD) & EDU_DMA_RUN;
}

#endif
