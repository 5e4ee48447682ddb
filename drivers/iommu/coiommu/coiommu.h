/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest's driver for coIOMMU: it tells the host which pages are in use for DMA of assigned
 * devices, so that the host has to pin no others.
 *
 *	main.c		the PCI function by which guest and host talk, and the driver's life
 *	table.c		the tracking table, which says how often each frame is mapped
 *	request.c	commands to the host, and requests for frames that are not pinned
 *	ops.c		DMA operations of tracked devices
 *	bind.c		which devices are tracked, and from when on
 *	debugfs.c	what an administrator can look at
 *
 * Locks, outermost first:
 *
 * the lock of a device that is being bound or unbound (of the driver core)
 * coiommu->lock (a mutex)
 *	Protects the list of tracked devices, and decides between a device that is being bound
 *	and a change of whether the host tracks. It is taken with a device's lock held, so no
 *	device may be bound or unbound under it.
 * coiommu_table.lock (a mutex)
 *	Serializes growing of the table.
 *
 * Mapping and unmapping take no lock. While the host is told that tracking ends, a mapping spins
 * until it has answered, maybe in an interrupt. The processor that tells the host must not be the
 * one that is interrupted so: it has its interrupts off.
 */
#ifndef _COIOMMU_H
#define _COIOMMU_H

#include <linux/device.h>
#include <linux/dma-map-ops.h>
#include <linux/kref.h>
#include <linux/notifier.h>
#include <linux/pci.h>
#include <linux/percpu-defs.h>

#include "table.h"

#ifndef CONFIG_ARCH_HAS_DMA_OPS
#error "coiommu: needs CONFIG_ARCH_HAS_DMA_OPS (of CONFIG_GART_IOMMU or CONFIG_XEN)"
#endif

struct dentry;

/* BAR 0: registers of 8 bytes, and a trigger of one byte for each CPU */
#define CO_ROOT		0x00
#define CO_COMMAND	0x08
#define CO_LEVELS	0x10
#define CO_TRIGGER	0x18

enum {
	CO_DEACTIVATE,
	CO_ACTIVATE,
};

/* BAR 2: a slot for each CPU. It has the address of a batch, or a frame and its device. */
#define CO_SLOT_BATCH		BIT_ULL(63)
#define CO_SLOT_GFN_SHIFT	16

/* BAR 4: number of devices, then their requester IDs */
#define CO_LIST_MAX		4095

#define CO_BATCH_MAX		((PAGE_SIZE - 2 * sizeof(u64)) / sizeof(u64))

/**
 * struct coiommu_batch - A request of several frames, as the host reads it; a page
 * @bdf: Requester ID of the device
 * @pad: 0
 * @nr: Number of frames
 * @pfn: Their numbers
 */
struct coiommu_batch {
	u16 bdf;
	u16 pad[3];
	u64 nr;
	u64 pfn[CO_BATCH_MAX];
};

/**
 * struct coiommu_stats - What one CPU has counted
 * @maps: Mappings that were to be made; those of a list one by one
 * @misses: Calls of the DMA API that found frames that were not pinned
 * @asked: Frames that the host was asked for
 * @requests: Requests by which it was asked
 * @failed: Calls that failed because the host did not pin what it was asked for
 * @timeouts: Requests that the host did not answer
 * @refused: Mappings that cannot be tracked: no RAM, or mapped too often
 * @bounced: Mappings through a bounce buffer
 * @underflows: Ends of mappings that nobody had made
 */
struct coiommu_stats {
	u64 maps;
	u64 misses;
	u64 asked;
	u64 requests;
	u64 failed;
	u64 timeouts;
	u64 refused;
	u64 bounced;
	u64 underflows;
};

DECLARE_PER_CPU(struct coiommu_stats, coiommu_stats);

#define coiommu_count(what, n)	this_cpu_add(coiommu_stats.what, n)

/**
 * struct coiommu - The driver's state for the PCI function
 * @ref: The function's driver has a reference, and so has each tracked device
 * @pdev: The function
 * @regs: BAR 0
 * @slots: BAR 2
 * @list: BAR 4
 * @tracking: What is mapped has to be pinned. Written under @lock: set before the host begins to
 *	track, with no listed device bound; cleared after it has ended, and stays clear then
 * @ending: The host is being told to end
 * @missed: Written under @lock: a listed device was bound when @tracking was not set
 * @table: The tracking table
 * @batches: A batch for each possible CPU
 * @lock: See above
 * @devices: Tracked devices, of &struct coiommu_device
 * @bus_notifier: Tells of PCI devices that are being bound
 * @memory_notifier: Tells of memory that is being added
 * @debugfs: Directory
 */
struct coiommu {
	struct kref ref;
	struct pci_dev *pdev;
	void __iomem *regs;
	u64 __iomem *slots;
	u16 __iomem *list;
	bool tracking;
	bool ending;
	bool missed;
	struct coiommu_table table;
	struct coiommu_batch **batches;
	struct mutex lock;	/* See "Locks" */
	struct list_head devices;
	struct notifier_block bus_notifier;
	struct notifier_block memory_notifier;
	struct dentry *debugfs;
};

/**
 * struct coiommu_device - A tracked device, from before its driver's probe to after its remove
 * @ops: Its DMA operations, by which this structure is found
 * @co: The driver's state
 * @limit: Highest address that it reaches without bounce buffer, as far as its mask allows
 * @bounced: There has been a mapping through a bounce buffer
 * @bdf: Requester ID
 * @dev: The device
 * @shadow: The same device without DMA operations: what is mapped for it is mapped directly
 * @entry: In &coiommu->devices
 */
struct coiommu_device {
	struct dma_map_ops ops;
	struct coiommu *co;
	u64 limit;
	bool bounced;
	u16 bdf;
	struct device *dev;
	struct device shadow;
	struct list_head entry;
};

static inline struct coiommu_device *to_coiommu_device(struct device *dev)
{
	return container_of(dev->dma_ops, struct coiommu_device, ops);
}

/**
 * struct coiommu_ask - Asking the host for frames, under way on this CPU
 * @co: The driver's state
 * @batch: Frames that will be asked for next; NULL if there is nobody to ask
 * @flags: Interrupt flags
 * @cpu: This CPU
 */
struct coiommu_ask {
	struct coiommu *co;
	struct coiommu_batch *batch;
	unsigned long flags;
	unsigned int cpu;
};

/* bind.c */
int coiommu_bind_start(struct coiommu *co, bool reprobe);
void coiommu_bind_stop(struct coiommu *co);

/* debugfs.c */
void coiommu_debugfs_add(struct coiommu *co);
void coiommu_debugfs_remove(struct coiommu *co);

/* main.c */
void coiommu_put(struct coiommu *co);

/* ops.c */
struct coiommu_device *coiommu_device_alloc(struct coiommu *co, struct device *dev);
void coiommu_device_free(struct coiommu_device *cd);

/* request.c */
int coiommu_activate(struct coiommu *co);
bool coiommu_deactivate(struct coiommu *co, bool gone);
bool coiommu_over(struct coiommu *co);
void coiommu_ask_begin(struct coiommu_ask *ask, struct coiommu *co, u16 bdf);
void coiommu_ask_add(struct coiommu_ask *ask, unsigned long first, unsigned long last);
void coiommu_ask_end(struct coiommu_ask *ask);
bool coiommu_asked(struct coiommu *co, unsigned long first, unsigned long last);
bool coiommu_ask(struct coiommu *co, u16 bdf, unsigned long first, unsigned long last);

#endif /* _COIOMMU_H */
