// SPDX-License-Identifier: GPL-2.0-only
/*
 * DMA operations of tracked devices. What a device reaches without a bounce buffer is mapped
 * at its physical address, which is all there is to do. The rest is left to the kernel's
 * direct mapping, which is not exported: it is reached by a second device, the shadow, that
 * shares all with the real one but has no operations. What is tracked is the address that the
 * device gets, and so a bounce buffer in place of the memory behind it.
 */
#include <linux/mm.h>
#include <linux/pfn.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/swiotlb.h>

#include "coiommu.h"

#ifndef DMA_ATTR_MMIO
#define DMA_ATTR_MMIO	0
#endif

DEFINE_PER_CPU(struct coiommu_stats, coiommu_stats);

/*
 * Not all frames were found pinned, or there was an error. Without tracking it does not matter
 * whether a mapping is counted, nor what unmark_failed() finds.
 */
static int mark_failed(struct coiommu_device *cd, int ret, unsigned long first,
		       unsigned long last)
{
	struct coiommu *co = cd->co;

	if (ret < 0) {
		if (coiommu_over(co))
			return 0;
		coiommu_count(refused, 1);
		dev_err_ratelimited(cd->dev, "DMA to frames %#lx to %#lx cannot be tracked: %s\n",
				    first, last, ret == -EFAULT ? "no RAM" :
				    "mapped too often");
		return ret == -EFAULT ? -EIO : -ENOMEM;
	}
	coiommu_count(misses, 1);
	if (coiommu_ask(co, cd->bdf, first, last))
		return 0;
	coiommu_unmark_range(&co->table, first, last);
	coiommu_count(failed, 1);
	dev_warn_ratelimited(cd->dev, "the host does not pin frames %#lx to %#lx\n", first, last);
	return -ENOMEM;
}

static int co_mark(struct coiommu_device *cd, dma_addr_t dma, size_t size)
{
	unsigned long first = PHYS_PFN(dma), last = PHYS_PFN(dma + size - 1);
	int ret = coiommu_mark(&cd->co->table, first, last);

	coiommu_count(maps, 1);
	return likely(!ret) ? 0 : mark_failed(cd, ret, first, last);
}

static noinline void unmark_failed(struct coiommu_device *cd, dma_addr_t dma, size_t size)
{
	if (!READ_ONCE(cd->co->tracking))
		return;
	coiommu_count(underflows, 1);
	dev_err_ratelimited(cd->dev, "unmaps %#zx bytes at %pad, which are not mapped\n", size,
			    &dma);
}

static __always_inline void co_unmark(struct coiommu_device *cd, dma_addr_t dma, size_t size)
{
	if (unlikely(!coiommu_unmark(&cd->co->table, PHYS_PFN(dma), PHYS_PFN(dma + size - 1))))
		unmark_failed(cd, dma, size);
}

/* A bounce buffer is in use: from now on syncs are needed. */
static void note_bounce(struct coiommu_device *cd)
{
	WRITE_ONCE(cd->bounced, true);
	dma_reset_need_sync(cd->dev);
	coiommu_count(bounced, 1);
}

static dma_addr_t direct_map(struct coiommu_device *cd, phys_addr_t phys, size_t size,
			     enum dma_data_direction dir, unsigned long attrs)
{
#ifdef COIOMMU_HAVE_MAP_PHYS
	return dma_map_phys(&cd->shadow, phys, size, dir, attrs);
#else
	return dma_map_page_attrs(&cd->shadow, pfn_to_page(PHYS_PFN(phys)),
				  offset_in_page(phys), size, dir, attrs);
#endif
}

static void direct_unmap(struct coiommu_device *cd, dma_addr_t dma, size_t size,
			 enum dma_data_direction dir, unsigned long attrs)
{
#ifdef COIOMMU_HAVE_MAP_PHYS
	dma_unmap_phys(&cd->shadow, dma, size, dir, attrs);
#else
	dma_unmap_page_attrs(&cd->shadow, dma, size, dir, attrs);
#endif
}

/* Map what the device does not reach, or not directly. */
static noinline dma_addr_t map_bounced(struct coiommu_device *cd, phys_addr_t phys, size_t size,
				       enum dma_data_direction dir, unsigned long attrs)
{
	dma_addr_t dma = direct_map(cd, phys, size, dir, attrs);

	if (dma == DMA_MAPPING_ERROR)
		return dma;
	if (dma != phys)
		note_bounce(cd);
	if (!co_mark(cd, dma, size))
		return dma;
	direct_unmap(cd, dma, size, dir, attrs | DMA_ATTR_SKIP_CPU_SYNC);
	return DMA_MAPPING_ERROR;
}

static noinline dma_addr_t map_failed(struct coiommu_device *cd, int ret, phys_addr_t phys,
				      size_t size)
{
	return mark_failed(cd, ret, PHYS_PFN(phys), PHYS_PFN(phys + size - 1)) ?
		DMA_MAPPING_ERROR : phys;
}

static __always_inline dma_addr_t co_map(struct device *dev, phys_addr_t phys, size_t size,
					 enum dma_data_direction dir, unsigned long attrs)
{
	struct coiommu_device *cd = to_coiommu_device(dev);
	phys_addr_t last = phys + size - 1;
	int ret;

	if (unlikely(last > *dev->dma_mask || last > cd->limit))
		return map_bounced(cd, phys, size, dir, attrs);
	coiommu_count(maps, 1);
	ret = coiommu_mark(&cd->co->table, PHYS_PFN(phys), PHYS_PFN(last));
	return likely(!ret) ? phys : map_failed(cd, ret, phys, size);
}

static __always_inline void co_unmap(struct device *dev, dma_addr_t dma, size_t size,
				     enum dma_data_direction dir, unsigned long attrs)
{
	struct coiommu_device *cd = to_coiommu_device(dev);

	if (unlikely(READ_ONCE(cd->bounced)))
		direct_unmap(cd, dma, size, dir, attrs);
	co_unmark(cd, dma, size);
}

/*
 * Memory of other devices. There is no way to ask the host for it, and what a tracked device
 * was not asked for it does not reach.
 */
static noinline bool mmio_refused(struct coiommu_device *cd, phys_addr_t phys)
{
	if (coiommu_over(cd->co))
		return false;
	coiommu_count(refused, 1);
	dev_err_ratelimited(cd->dev, "DMA to other devices (%pap) is not possible\n", &phys);
	return true;
}

#ifdef COIOMMU_HAVE_MAP_PHYS
static dma_addr_t co_map_phys(struct device *dev, phys_addr_t phys, size_t size,
			      enum dma_data_direction dir, unsigned long attrs)
{
	struct coiommu_device *cd = to_coiommu_device(dev);

	if (likely(!(attrs & DMA_ATTR_MMIO)))
		return co_map(dev, phys, size, dir, attrs);
	if (mmio_refused(cd, phys))
		return DMA_MAPPING_ERROR;
	return dma_map_phys(&cd->shadow, phys, size, dir, attrs);
}

static void co_unmap_phys(struct device *dev, dma_addr_t dma, size_t size,
			  enum dma_data_direction dir, unsigned long attrs)
{
	if (likely(!(attrs & DMA_ATTR_MMIO)))
		co_unmap(dev, dma, size, dir, attrs);
}
#else
static dma_addr_t co_map_page(struct device *dev, struct page *page, unsigned long offset,
			      size_t size, enum dma_data_direction dir, unsigned long attrs)
{
	return co_map(dev, page_to_phys(page) + offset, size, dir, attrs);
}

static void co_unmap_page(struct device *dev, dma_addr_t dma, size_t size,
			  enum dma_data_direction dir, unsigned long attrs)
{
	co_unmap(dev, dma, size, dir, attrs);
}

static dma_addr_t co_map_resource(struct device *dev, phys_addr_t phys, size_t size,
				  enum dma_data_direction dir, unsigned long attrs)
{
	struct coiommu_device *cd = to_coiommu_device(dev);

	if (mmio_refused(cd, phys))
		return DMA_MAPPING_ERROR;
	return dma_map_resource(&cd->shadow, phys, size, dir, attrs);
}
#endif

static unsigned long sg_first_frame(struct scatterlist *sg)
{
	return PHYS_PFN(sg_dma_address(sg));
}

static unsigned long sg_last_frame(struct scatterlist *sg)
{
	return PHYS_PFN(sg_dma_address(sg) + sg_dma_len(sg) - 1);
}

/* Ask for all of a list at once, so that it costs one exit. */
static bool sg_ask(struct coiommu_device *cd, struct scatterlist *sgl, int nents)
{
	struct coiommu_ask ask;
	struct scatterlist *sg;
	int i;

	coiommu_count(misses, 1);
	coiommu_ask_begin(&ask, cd->co, cd->bdf);
	for_each_sg(sgl, sg, nents, i)
		coiommu_ask_add(&ask, sg_first_frame(sg), sg_last_frame(sg));
	coiommu_ask_end(&ask);
	for_each_sg(sgl, sg, nents, i)
		if (!coiommu_asked(cd->co, sg_first_frame(sg), sg_last_frame(sg)))
			return false;
	return true;
}

static int sg_mark(struct coiommu_device *cd, struct scatterlist *sgl, int nents)
{
	const struct coiommu_table *t = &cd->co->table;
	struct scatterlist *sg;
	int i, n, ret = 0, one;

	for_each_sg(sgl, sg, nents, n) {
		one = coiommu_mark(t, sg_first_frame(sg), sg_last_frame(sg));
		if (one >= 0) {
			ret |= one;
			continue;
		}
		one = mark_failed(cd, one, sg_first_frame(sg), sg_last_frame(sg));
		if (one) {
			ret = one;
			goto undo;
		}
	}
	coiommu_count(maps, nents);
	if (!ret || sg_ask(cd, sgl, nents))
		return 0;
	coiommu_count(failed, 1);
	dev_warn_ratelimited(cd->dev, "the host does not pin what is in a list of %d\n", nents);
	ret = -ENOMEM;
undo:
	for_each_sg(sgl, sg, n, i)
		coiommu_unmark_range(t, sg_first_frame(sg), sg_last_frame(sg));
	return ret;
}

static int co_map_sg(struct device *dev, struct scatterlist *sgl, int nents,
		     enum dma_data_direction dir, unsigned long attrs)
{
	struct coiommu_device *cd = to_coiommu_device(dev);
	/* dma_map_sg_attrs() would lose the error's number. */
	struct sg_table sgt = { .sgl = sgl, .nents = nents, .orig_nents = nents };
	struct scatterlist *sg;
	int i, ret;

	ret = dma_map_sgtable(&cd->shadow, &sgt, dir, attrs);
	if (ret)
		return ret;
	for_each_sg(sgl, sg, sgt.nents, i)
		if (sg_dma_address(sg) != sg_phys(sg))
			note_bounce(cd);
	ret = sg_mark(cd, sgl, sgt.nents);
	if (!ret)
		return sgt.nents;
	dma_unmap_sgtable(&cd->shadow, &sgt, dir, attrs | DMA_ATTR_SKIP_CPU_SYNC);
	return ret;
}

/* The direct mapping does not merge: as many entries are mapped as there are. */
static void co_unmap_sg(struct device *dev, struct scatterlist *sgl, int nents,
			enum dma_data_direction dir, unsigned long attrs)
{
	struct coiommu_device *cd = to_coiommu_device(dev);
	struct scatterlist *sg;
	int i;

	if (unlikely(READ_ONCE(cd->bounced)))
		dma_unmap_sg_attrs(&cd->shadow, sgl, nents, dir, attrs);
	for_each_sg(sgl, sg, nents, i)
		co_unmark(cd, sg_dma_address(sg), sg_dma_len(sg));
}

/* Drivers set the mask before they allocate. */
static struct device *alloc_shadow(struct coiommu_device *cd)
{
	cd->shadow.coherent_dma_mask = cd->dev->coherent_dma_mask;
	return &cd->shadow;
}

static void *co_alloc(struct device *dev, size_t size, dma_addr_t *dma, gfp_t gfp,
		      unsigned long attrs)
{
	struct coiommu_device *cd = to_coiommu_device(dev);
	void *va = dma_alloc_attrs(alloc_shadow(cd), size, dma, gfp, attrs);

	if (va && co_mark(cd, *dma, size)) {
		dma_free_attrs(&cd->shadow, size, va, *dma, attrs);
		return NULL;
	}
	return va;
}

/* The count goes down before the frames are somebody else's. */
static void co_free(struct device *dev, size_t size, void *va, dma_addr_t dma,
		    unsigned long attrs)
{
	struct coiommu_device *cd = to_coiommu_device(dev);

	co_unmark(cd, dma, size);
	dma_free_attrs(&cd->shadow, size, va, dma, attrs);
}

static struct page *co_alloc_pages(struct device *dev, size_t size, dma_addr_t *dma,
				   enum dma_data_direction dir, gfp_t gfp)
{
	struct coiommu_device *cd = to_coiommu_device(dev);
	struct page *page = dma_alloc_pages(alloc_shadow(cd), size, dma, dir, gfp);

	if (page && co_mark(cd, *dma, size)) {
		dma_free_pages(&cd->shadow, size, page, *dma, dir);
		return NULL;
	}
	return page;
}

static void co_free_pages(struct device *dev, size_t size, struct page *page, dma_addr_t dma,
			  enum dma_data_direction dir)
{
	struct coiommu_device *cd = to_coiommu_device(dev);

	co_unmark(cd, dma, size);
	dma_free_pages(&cd->shadow, size, page, dma, dir);
}

static int co_mmap(struct device *dev, struct vm_area_struct *vma, void *va, dma_addr_t dma,
		   size_t size, unsigned long attrs)
{
	return dma_mmap_attrs(&to_coiommu_device(dev)->shadow, vma, va, dma, size, attrs);
}

static int co_get_sgtable(struct device *dev, struct sg_table *sgt, void *va, dma_addr_t dma,
			  size_t size, unsigned long attrs)
{
	return dma_get_sgtable_attrs(&to_coiommu_device(dev)->shadow, sgt, va, dma, size, attrs);
}

static void co_sync_single_for_cpu(struct device *dev, dma_addr_t dma, size_t size,
				   enum dma_data_direction dir)
{
	struct coiommu_device *cd = to_coiommu_device(dev);

	if (unlikely(READ_ONCE(cd->bounced)))
		dma_sync_single_for_cpu(&cd->shadow, dma, size, dir);
}

static void co_sync_single_for_device(struct device *dev, dma_addr_t dma, size_t size,
				      enum dma_data_direction dir)
{
	struct coiommu_device *cd = to_coiommu_device(dev);

	if (unlikely(READ_ONCE(cd->bounced)))
		dma_sync_single_for_device(&cd->shadow, dma, size, dir);
}

static void co_sync_sg_for_cpu(struct device *dev, struct scatterlist *sgl, int nents,
			       enum dma_data_direction dir)
{
	struct coiommu_device *cd = to_coiommu_device(dev);

	if (unlikely(READ_ONCE(cd->bounced)))
		dma_sync_sg_for_cpu(&cd->shadow, sgl, nents, dir);
}

static void co_sync_sg_for_device(struct device *dev, struct scatterlist *sgl, int nents,
				  enum dma_data_direction dir)
{
	struct coiommu_device *cd = to_coiommu_device(dev);

	if (unlikely(READ_ONCE(cd->bounced)))
		dma_sync_sg_for_device(&cd->shadow, sgl, nents, dir);
}

/* The kernel's answer for direct mappings is behind the setter of the coherent mask. */
static int co_dma_supported(struct device *dev, u64 mask)
{
	return !dma_set_coherent_mask(&to_coiommu_device(dev)->shadow, mask);
}

static u64 co_get_required_mask(struct device *dev)
{
	return dma_get_required_mask(&to_coiommu_device(dev)->shadow);
}

static size_t co_max_mapping_size(struct device *dev)
{
	return dma_max_mapping_size(&to_coiommu_device(dev)->shadow);
}

static const struct dma_map_ops co_ops = {
	.alloc = co_alloc,
	.free = co_free,
	.alloc_pages_op = co_alloc_pages,
	.free_pages = co_free_pages,
	.mmap = co_mmap,
	.get_sgtable = co_get_sgtable,
#ifdef COIOMMU_HAVE_MAP_PHYS
	.map_phys = co_map_phys,
	.unmap_phys = co_unmap_phys,
#else
	.map_page = co_map_page,
	.unmap_page = co_unmap_page,
	.map_resource = co_map_resource,
#endif
	.map_sg = co_map_sg,
	.unmap_sg = co_unmap_sg,
	.sync_single_for_cpu = co_sync_single_for_cpu,
	.sync_single_for_device = co_sync_single_for_device,
	.sync_sg_for_cpu = co_sync_sg_for_cpu,
	.sync_sg_for_device = co_sync_sg_for_device,
	.dma_supported = co_dma_supported,
	.get_required_mask = co_get_required_mask,
	.max_mapping_size = co_max_mapping_size,
};

static void shadow_release(struct device *shadow)
{
	kfree(container_of(shadow, struct coiommu_device, shadow));
}

/**
 * coiommu_device_alloc() - Make what a tracked device needs
 * @co: The driver's state
 * @dev: The device, a PCI function whose bus maps addresses one to one, being bound
 *
 * Context: process context, may sleep.
 * Return: the tracked device, of which &coiommu_device.ops can be set as @dev's; NULL if there
 * is no memory.
 */
struct coiommu_device *coiommu_device_alloc(struct coiommu *co, struct device *dev)
{
	struct coiommu_device *cd = kzalloc(sizeof(*cd), GFP_KERNEL);
	struct device *shadow;

	if (!cd)
		return NULL;
	cd->ops = co_ops;
	cd->co = co;
	cd->dev = dev;
	cd->bdf = pci_dev_id(to_pci_dev(dev));
	shadow = &cd->shadow;
	device_initialize(shadow);
	shadow->release = shadow_release;
	if (dev_set_name(shadow, "coiommu-%s", dev_name(dev))) {
		put_device(shadow);
		return NULL;
	}
	shadow->dma_mask = dev->dma_mask;
	shadow->dma_parms = dev->dma_parms;
	shadow->bus_dma_limit = dev->bus_dma_limit;
	set_dev_node(shadow, dev_to_node(dev));
#ifdef CONFIG_SWIOTLB
	shadow->dma_io_tlb_mem = dev->dma_io_tlb_mem;
#endif
#ifdef CONFIG_DMA_CMA
	shadow->cma_area = dev->cma_area;
#endif
	cd->limit = dev->bus_dma_limit ?: U64_MAX;
	if (is_swiotlb_force_bounce(shadow))
		cd->limit = 0;
	return cd;
}

/**
 * coiommu_device_free() - Free a tracked device
 * @cd: The tracked device, whose operations nobody uses any more
 *
 * Context: process context.
 */
void coiommu_device_free(struct coiommu_device *cd)
{
	put_device(&cd->shadow);
}
