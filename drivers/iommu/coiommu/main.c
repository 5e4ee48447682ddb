// SPDX-License-Identifier: GPL-2.0-only
/*
 * The PCI function by which guest and host talk, and the driver's life.
 */
#include <linux/cc_platform.h>
#include <linux/cleanup.h>
#include <linux/ioport.h>
#include <linux/kernel.h>
#include <linux/kref.h>
#include <linux/memory.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "coiommu.h"

#define REGS_BAR	0
#define SLOTS_BAR	2
#define LIST_BAR	4

static bool reprobe;
module_param(reprobe, bool, 0444);
MODULE_PARM_DESC(reprobe, "unbind drivers that were bound before from devices to be tracked, and bind them anew (default: refuse)");

/* There is one set of statistics, and one directory in debugfs. */
static unsigned long in_use;

static void coiommu_release(struct kref *ref)
{
	struct coiommu *co = container_of(ref, struct coiommu, ref);
	unsigned int cpu;

	coiommu_table_free(&co->table);
	for (cpu = 0; cpu < nr_cpu_ids; cpu++)
		free_page((unsigned long)co->batches[cpu]);
	kfree(co->batches);
	kfree(co);
}

/**
 * coiommu_put() - Drop a reference to the driver's state
 * @co: The driver's state
 *
 * Context: process context, may sleep.
 */
void coiommu_put(struct coiommu *co)
{
	kref_put(&co->ref, coiommu_release);
}

static struct coiommu *coiommu_alloc(void)
{
	unsigned int levels = DIV_ROUND_UP(MAX_PHYSMEM_BITS - PAGE_SHIFT - CO_LEAF_BITS, 9) + 1;
	struct coiommu *co = kzalloc(sizeof(*co), GFP_KERNEL);
	unsigned int cpu;

	if (!co)
		return NULL;
	kref_init(&co->ref);
	mutex_init(&co->lock);
	INIT_LIST_HEAD(&co->devices);
	co->batches = kcalloc(nr_cpu_ids, sizeof(*co->batches), GFP_KERNEL);
	if (!co->batches || coiommu_table_init(&co->table, levels)) {
		kfree(co->batches);
		kfree(co);
		return NULL;
	}
	for_each_possible_cpu(cpu) {
		co->batches[cpu] = (void *)get_zeroed_page(GFP_KERNEL);
		if (!co->batches[cpu]) {
			coiommu_put(co);
			return NULL;
		}
	}
	return co;
}

static int map_bars(struct coiommu *co)
{
	struct pci_dev *pdev = co->pdev;
	int ret;

	ret = pcim_enable_device(pdev);
	if (!ret)
		ret = pcim_request_all_regions(pdev, "coiommu");
	if (ret)
		return ret;
	if (pci_resource_len(pdev, REGS_BAR) < CO_TRIGGER + nr_cpu_ids ||
	    pci_resource_len(pdev, SLOTS_BAR) < nr_cpu_ids * sizeof(u64) ||
	    pci_resource_len(pdev, LIST_BAR) < (CO_LIST_MAX + 1) * sizeof(u16)) {
		pci_err(pdev, "BARs are too small for %u CPUs\n", nr_cpu_ids);
		return -ENODEV;
	}
	co->regs = pcim_iomap(pdev, REGS_BAR, 0);
	co->slots = pcim_iomap(pdev, SLOTS_BAR, 0);
	co->list = pcim_iomap(pdev, LIST_BAR, 0);
	return co->regs && co->slots && co->list ? 0 : -ENOMEM;
}

static int add_ram(struct resource *res, void *data)
{
	struct coiommu *co = data;

	return coiommu_table_add(&co->table, PHYS_PFN(res->start), PHYS_PFN(res->end));
}

static int memory_added(struct notifier_block *nb, unsigned long action, void *data)
{
	struct coiommu *co = container_of(nb, struct coiommu, memory_notifier);
	const struct memory_notify *arg = data;
	int ret;

	if (action != MEM_GOING_ONLINE)
		return NOTIFY_DONE;
	ret = coiommu_table_add(&co->table, arg->start_pfn,
				arg->start_pfn + arg->nr_pages - 1);
	if (ret)
		pci_err(co->pdev, "memory cannot be added to the tracking table: %d\n", ret);
	return notifier_from_errno(ret);
}

static int coiommu_start(struct pci_dev *pdev)
{
	struct coiommu *co;
	int ret;

	if (cc_platform_has(CC_ATTR_MEM_ENCRYPT)) {
		pci_err(pdev, "memory is encrypted: the host could not read the table\n");
		return -EOPNOTSUPP;
	}
	co = coiommu_alloc();
	if (!co)
		return -ENOMEM;
	co->pdev = pdev;
	pci_set_drvdata(pdev, co);
	ret = map_bars(co);
	if (ret)
		goto put;
	/* First, so that no memory is missed. */
	co->memory_notifier.notifier_call = memory_added;
	ret = register_memory_notifier(&co->memory_notifier);
	if (ret)
		goto put;
	ret = walk_iomem_res_desc(IORES_DESC_NONE, IORESOURCE_SYSTEM_RAM | IORESOURCE_BUSY, 0,
				  -1, co, add_ram);
	if (!ret)
		ret = coiommu_bind_start(co, reprobe);
	if (ret) {
		pci_err(pdev, "DMA is not tracked, all memory stays pinned: %d\n", ret);
		goto unregister;
	}
	coiommu_debugfs_add(co);
	return 0;

unregister:
	unregister_memory_notifier(&co->memory_notifier);
put:
	coiommu_put(co);
	return ret;
}

static int coiommu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	int ret;

	if (test_and_set_bit(0, &in_use)) {
		pci_err(pdev, "there is another one, of which alone devices are tracked\n");
		return -EBUSY;
	}
	ret = coiommu_start(pdev);
	if (ret)
		clear_bit(0, &in_use);
	return ret;
}

static void coiommu_remove(struct pci_dev *pdev)
{
	struct coiommu *co = pci_get_drvdata(pdev);

	coiommu_debugfs_remove(co);
	coiommu_bind_stop(co);
	unregister_memory_notifier(&co->memory_notifier);
	coiommu_put(co);
	clear_bit(0, &in_use);
}

/*
 * A next kernel, of kexec, may not know of tracking. (At a reboot the host pins all memory
 * anyway, and before power off it would do so for nothing.)
 */
static void coiommu_shutdown(struct pci_dev *pdev)
{
	struct coiommu *co = pci_get_drvdata(pdev);

	if (system_state != SYSTEM_RESTART)
		return;
	guard(mutex)(&co->lock);
	coiommu_deactivate(co, false);
}

/* The host may have forgotten the table when the guest resumes. */
static int coiommu_suspend(struct device *dev)
{
	struct coiommu *co = dev_get_drvdata(dev);

	guard(mutex)(&co->lock);
	if (!coiommu_deactivate(co, false))
		return -EIO;
	pci_info(co->pdev, "suspending: DMA is not tracked any more\n");
	return 0;
}

static const struct dev_pm_ops coiommu_pm_ops = {
	NOIRQ_SYSTEM_SLEEP_PM_OPS(coiommu_suspend, NULL)
};

static const struct pci_device_id coiommu_ids[] = {
	{ PCI_DEVICE_SUB(0x1234, 0xabcd, 0x1234, 0xabcd) },
	{ }
};
MODULE_DEVICE_TABLE(pci, coiommu_ids);

static struct pci_driver coiommu_driver = {
	.name = "coiommu",
	.id_table = coiommu_ids,
	.probe = coiommu_probe,
	.remove = coiommu_remove,
	.shutdown = coiommu_shutdown,
	.driver = {
		.pm = pm_sleep_ptr(&coiommu_pm_ops),
		/* Drivers of disks that are loaded next find it at work. */
		.probe_type = PROBE_FORCE_SYNCHRONOUS,
		/* It cannot be unbound while devices are tracked. */
		.suppress_bind_attrs = true,
	},
};
module_pci_driver(coiommu_driver);

MODULE_DESCRIPTION("Guest's driver for coIOMMU: tells the host which pages are in use for DMA");
MODULE_LICENSE("GPL");
