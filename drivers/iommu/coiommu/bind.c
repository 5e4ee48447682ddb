// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which devices are tracked: those that the host lists, from before their driver's probe to
 * after the last of its managed resources is freed.
 *
 * While the host tracks, a device reaches only what was asked for. So all listed devices have
 * to be tracked, or none: a device that a driver had before, or that cannot be tracked, ends
 * it for all.
 */
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

static bool is_tracked(const struct coiommu *co, const struct device *dev)
{
	const struct coiommu_device *cd;

	lockdep_assert_held(&co->lock);
	list_for_each_entry(cd, &co->devices, entry)
		if (cd->dev == dev)
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
	mutex_lock(&co->lock);
	list_add_tail(&cd->entry, &co->devices);
	mutex_unlock(&co->lock);
	set_dma_ops(dev, &cd->ops);
	return NULL;
}

static int being_bound(struct notifier_block *nb, unsigned long action, void *data)
{
	struct coiommu *co = container_of(nb, struct coiommu, bus_notifier);
	struct device *dev = data;
	const char *why;

	if (action != BUS_NOTIFY_BIND_DRIVER || !READ_ONCE(co->tracking) || !listed(co, dev))
		return NOTIFY_DONE;
	why = track(co, dev);
	if (!why) {
		dev_info(dev, "coiommu: DMA is tracked\n");
		return NOTIFY_OK;
	}
	/* The driver's probe cannot be stopped from here. */
	dev_err(dev, "coiommu: DMA cannot be tracked: %s. All memory is pinned from now on.\n",
		why);
	coiommu_deactivate(co);
	return NOTIFY_OK;
}

/*
 * Take a listed device from a driver that had it before, or complain of that.
 * Return: true if the device has no such driver any more.
 */
static bool take_over(struct coiommu *co, struct device *dev, bool reprobe)
{
	bool before;

	device_lock(dev);
	mutex_lock(&co->lock);
	before = dev->driver && !is_tracked(co, dev);
	mutex_unlock(&co->lock);
	if (before && !reprobe)
		dev_err(dev, "coiommu: the driver %s was bound before, so nothing is tracked: load coiommu earlier, or with reprobe=1\n",
			dev->driver->name);
	device_unlock(dev);
	if (before && reprobe) {
		dev_info(dev, "coiommu: binding the driver anew\n");
		device_release_driver(dev);
	}
	return !before || reprobe;
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

/* Let drivers have those listed devices that have none. */
static void attach_all(struct coiommu *co)
{
	struct pci_dev *pdev = NULL;

	for_each_pci_dev(pdev)
		if (listed(co, &pdev->dev) && device_attach(&pdev->dev) < 0)
			dev_warn(&pdev->dev, "coiommu: no driver could be bound\n");
}

/**
 * coiommu_bind_start() - Begin to track
 * @co: The driver's state, with a table of all RAM
 * @reprobe: Bind drivers anew that were bound before
 *
 * Devices that are bound while this goes on are tracked, and cannot map anything before the
 * host tracks, too. Should their probe fail for that they are bound once more.
 *
 * Context: process context, may sleep; may not be called with a device's lock held, but the
 * function's.
 * Return: 0; -EBUSY if a device was bound before; -ECANCELED if one cannot be tracked; -EIO if
 * the host does not answer. After an error nothing is tracked.
 */
int coiommu_bind_start(struct coiommu *co, bool reprobe)
{
	struct pci_dev *pdev = NULL;
	int ret;

	co->tracking = true;
	co->bus_notifier.notifier_call = being_bound;
	ret = bus_register_notifier(&pci_bus_type, &co->bus_notifier);
	if (ret)
		return ret;
	for_each_pci_dev(pdev)
		if (listed(co, &pdev->dev) && !take_over(co, &pdev->dev, reprobe))
			ret = -EBUSY;
	if (!ret)
		ret = coiommu_activate(co);
	if (!ret && !host_answers(co))
		ret = -EIO;
	if (ret == -EIO)
		pci_err(co->pdev, "the host does not do what it is asked for\n");
	if (ret)
		coiommu_bind_stop(co);
	attach_all(co);
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
	coiommu_deactivate(co);
}
