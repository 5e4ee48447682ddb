// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which devices are tracked: those that the host lists, from before their driver's probe to
 * after the last of its managed resources is freed.
 *
 * While the host tracks, a device reaches only what was asked for. So all listed devices have
 * to be tracked, or none: a device that a driver had before, or that cannot be tracked, ends
 * it for all.
 */
#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/dma-map-ops.h>
#include <linux/io.h>
#include <linux/iommu-dma.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "coiommu.h"

/* Return: the number of devices that the host lists at the moment. */
static unsigned int list_len(const struct coiommu *co)
{
	return min(readw(co->list), CO_LIST_MAX);
}

static bool listed(const struct coiommu *co, struct device *dev)
{
	struct pci_dev *pdev = to_pci_dev(dev);
	u16 bdf = pci_dev_id(pdev);
	unsigned int i;

	if (pci_domain_nr(pdev->bus) != pci_domain_nr(co->pdev->bus))
		return false;
	/* When a device is removed those behind it move towards the beginning, so from the end. */
	for (i = list_len(co); i; i--)
		if (readw(co->list + i) == bdf)
			return true;
	return false;
}

/*
 * The last managed resource of the device that is freed but one, as it was the second one. The
 * very first one puts the module, from outside of it.
 */
static void untrack(void *data)
{
	struct coiommu_device *cd = data;
	struct coiommu *co = cd->co;

	set_dma_ops(cd->dev, NULL);
	mutex_lock(&co->lock);
	list_del(&cd->entry);
	mutex_unlock(&co->lock);
	coiommu_device_free(cd);
	coiommu_put(co);
}

/* Return: why the device cannot be tracked, or NULL. */
static const char *track(struct coiommu *co, struct device *dev)
{
	struct coiommu_device *cd;

	if (use_dma_iommu(dev))
		return "it is behind an IOMMU of the guest";
	if (get_dma_ops(dev))
		return "it has DMA operations of its own";
	if (dev->dma_range_map)
		return "its bus does not map addresses one to one";
	if (!try_module_get(THIS_MODULE))
		return "the module is being unloaded";
	/* By the address of one of its functions: when untrack() has returned, all of it may go. */
	if (devm_add_action_or_reset(dev, symbol_put_addr, untrack))
		return "no memory";
	cd = coiommu_device_alloc(co, dev);
	if (!cd)
		return "no memory";
	if (devm_add_action(dev, untrack, cd)) {
		coiommu_device_free(cd);
		return "no memory";
	}
	kref_get(&co->ref);
	list_add_tail(&cd->entry, &co->devices);
	set_dma_ops(dev, &cd->ops);
	return NULL;
}

static int being_bound(struct notifier_block *nb, unsigned long action, void *data)
{
	struct coiommu *co = container_of(nb, struct coiommu, bus_notifier);
	struct device *dev = data;
	const char *why;

	if (action != BUS_NOTIFY_BIND_DRIVER || !listed(co, dev))
		return NOTIFY_DONE;
	/* If the host is just being told to track, its answer is awaited here, before the probe. */
	guard(mutex)(&co->lock);
	if (!co->tracking) {
		co->missed = true;
		return NOTIFY_DONE;
	}
	why = track(co, dev);
	if (!why) {
		dev_info(dev, "coiommu: DMA is tracked\n");
		return NOTIFY_OK;
	}
	/* The driver's probe cannot be stopped from here. */
	dev_err(dev, "coiommu: DMA cannot be tracked: %s. %s\n", why,
		coiommu_deactivate(co, false) ? "All memory is pinned from now on." :
		"So there will be none.");
	return NOTIFY_OK;
}

/*
 * Take a listed device from a driver that has it, and note its requester ID in @taken; without
 * that, complain. Return: true if the device has no driver any more.
 */
static bool take(struct device *dev, unsigned long *taken)
{
	bool bound;

	device_lock(dev);
	bound = dev->driver;
	if (bound && !taken)
		dev_err(dev, "coiommu: the driver %s was bound before, so nothing is tracked: load coiommu earlier, or with reprobe=1\n",
			dev->driver->name);
	device_unlock(dev);
	if (bound && taken) {
		dev_info(dev, "coiommu: binding the driver anew\n");
		__set_bit(pci_dev_id(to_pci_dev(dev)), taken);
		device_release_driver(dev);
	}
	return !bound || taken;
}

/* Take all listed devices. Return: 0 or -EBUSY. */
static int take_all(struct coiommu *co, unsigned long *taken)
{
	struct pci_dev *pdev = NULL;
	int ret = 0;

	mutex_lock(&co->lock);
	co->missed = false;
	mutex_unlock(&co->lock);
	for_each_pci_dev(pdev)
		if (listed(co, &pdev->dev) && !take(&pdev->dev, taken))
			ret = -EBUSY;
	return ret;
}

/* Let drivers have the devices again that were taken. */
static void give_back(struct coiommu *co, const unsigned long *taken)
{
	struct pci_dev *pdev = NULL;

	for_each_pci_dev(pdev)
		if (listed(co, &pdev->dev) && test_bit(pci_dev_id(pdev), taken) &&
		    device_attach(&pdev->dev) < 0)
			dev_warn(&pdev->dev, "coiommu: no driver could be bound\n");
}

/* Check whether the host pins what it is asked for. */
static bool host_answers(struct coiommu *co)
{
	unsigned long pfn = PHYS_PFN(virt_to_phys(co->table.root));
	bool answers;

	if (!list_len(co))
		return true;
	if (coiommu_mark(&co->table, pfn, pfn) < 0)
		return false;
	answers = coiommu_ask(co, readw(co->list + 1), pfn, pfn);
	coiommu_unmark(&co->table, pfn, pfn);
	return answers;
}

/*
 * Have the host track. Return: 0; -EAGAIN if a device was bound since all were taken; -EIO if the
 * host does not answer.
 */
static int begin(struct coiommu *co)
{
	guard(mutex)(&co->lock);
	if (co->missed)
		return -EAGAIN;
	if (!coiommu_activate(co) && host_answers(co))
		return 0;
	pci_err(co->pdev, "the host does not do what it is asked for\n");
	coiommu_deactivate(co, true);
	return -EIO;
}

/**
 * coiommu_bind_start() - Begin to track
 * @co: The driver's state, with a table of all RAM
 * @reprobe: Bind drivers anew that were bound before
 *
 * No listed device has a driver when the host begins, and what is being bound at that time waits
 * until it has begun. A device that is bound before that is as one that was bound all along.
 *
 * Context: process context, may sleep; may not be called with a device's lock held, but the
 * function's.
 * Return: 0; -EBUSY if a device was bound before; -EIO if the host does not answer; another error
 * number. After an error nothing is tracked.
 */
int coiommu_bind_start(struct coiommu *co, bool reprobe)
{
	unsigned long *taken = bitmap_zalloc(U16_MAX + 1, GFP_KERNEL);
	int ret;

	if (!taken)
		return -ENOMEM;
	co->bus_notifier.notifier_call = being_bound;
	ret = bus_register_notifier(&pci_bus_type, &co->bus_notifier);
	if (ret)
		goto free;
	do {
		ret = take_all(co, reprobe ? taken : NULL) ?: begin(co);
	} while (ret == -EAGAIN);
	if (ret)
		coiommu_bind_stop(co);
	give_back(co, taken);
free:
	bitmap_free(taken);
	return ret;
}

/**
 * coiommu_bind_stop() - Do not track any more
 * @co: The driver's state
 *
 * Devices that are bound keep their operations until they are unbound.
 *
 * Context: process context, may sleep.
 */
void coiommu_bind_stop(struct coiommu *co)
{
	bus_unregister_notifier(&pci_bus_type, &co->bus_notifier);
	guard(mutex)(&co->lock);
	coiommu_deactivate(co, true);
}
