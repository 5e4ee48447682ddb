// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an IOMMU group is attached to: its empty domain, another domain, or an IOAS.
 * This file calls only the rest of this folder, so that it also builds in userspace.
 */
#include <linux/list.h>
#include <linux/err.h>
#include <linux/mutex.h>

#include "host.h"

/* Any device of the group; a group always has one. */
static struct kviommu_vfio *hwgroup_first_device(struct kviommu_hwgroup *g)
{
	return list_first_entry(&g->devices, struct kviommu_vfio, entry);
}

/* Detach the group from its domain or IOAS. The IOMMU core then blocks its DMA. */
static void hwgroup_detach(struct kviommu_hwgroup *g)
{
	struct kviommu_vfio *v;

	list_for_each_entry(v, &g->devices, entry)
		kviommu_vfio_detach_ioas(v);
	mutex_lock(g->map_lock);
	if (g->domain)
		kviommu_hw_detach(g->domain, g->group, hwgroup_first_device(g));
	mutex_unlock(g->map_lock);
	g->domain = NULL;
}

static int hwgroup_attach(struct kviommu_hwgroup *g, struct iommu_domain *domain)
{
	int ret;

	mutex_lock(g->map_lock);
	ret = kviommu_hw_attach(domain, g->group);
	mutex_unlock(g->map_lock);
	if (!ret)
		g->domain = domain;
	return ret;
}

/**
 * kviommu_hwgroup_init() - Take over the IOMMU group of a device, with its DMA blocked
 * @g: The structure to fill
 * @v: The device, which becomes the first of the group
 * @map_lock: The lock that protects the domains to be attached, see
 *            struct kviommu_hwgroup
 * @aw_bits: Width of the I/O virtual addresses to translate, in bits
 *
 * The group is attached to an empty domain. That blocks its DMA, proves that the
 * physical IOMMU can translate for it, and keeps others from attaching it.
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 * Return: 0; -EBUSY if the group is attached; -EMEDIUMTYPE if the physical IOMMU
 * cannot translate such addresses for it; -ENOMEM.
 */
int kviommu_hwgroup_init(struct kviommu_hwgroup *g, struct kviommu_vfio *v,
			 struct mutex *map_lock, unsigned int aw_bits)
{
	int ret;

	g->group = v->group;
	g->map_lock = map_lock;
	g->empty = kviommu_hw_alloc(v);
	if (IS_ERR(g->empty))
		return PTR_ERR(g->empty);
	INIT_LIST_HEAD(&g->devices);
	list_add(&v->entry, &g->devices);
	ret = kviommu_hw_reserved(g->group, &g->reserved);
	if (!ret)
		ret = kviommu_hw_check(g->empty, aw_bits);
	if (ret)
		goto free;
	ret = hwgroup_attach(g, g->empty);
	if (!ret)
		return 0;
	if (ret == -EINVAL)
		ret = -EMEDIUMTYPE;

free:
	kviommu_hw_free(g->empty);
	return ret;
}

/**
 * kviommu_hwgroup_add() - Add a device to its group
 * @g: The group
 * @v: The device, which gets the group's current translation
 * @ioas_id: The IOAS to attach the device to if the group is in it
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 * Return: 0, or an error of VFIO_DEVICE_ATTACH_IOMMUFD_PT.
 */
int kviommu_hwgroup_add(struct kviommu_hwgroup *g, struct kviommu_vfio *v,
			u32 ioas_id)
{
	int ret = 0;

	if (hwgroup_first_device(g)->in_ioas)
		ret = kviommu_vfio_attach_ioas(v, ioas_id);
	if (!ret)
		list_add_tail(&v->entry, &g->devices);
	return ret;
}

/**
 * kviommu_hwgroup_del() - Remove a device from its group
 * @g: The group, which is detached and released with its last device
 * @v: The device
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 */
void kviommu_hwgroup_del(struct kviommu_hwgroup *g, struct kviommu_vfio *v)
{
	if (list_is_singular(&g->devices)) {
		hwgroup_detach(g);
		kviommu_hw_free(g->empty);
	} else {
		kviommu_vfio_detach_ioas(v);
	}
	list_del(&v->entry);
}

/**
 * kviommu_hwgroup_set_domain() - Attach a group to a domain
 * @g: The group
 * @domain: The domain; NULL blocks the group's DMA
 *
 * The IOMMU API has no way from one domain to another but through the blocking domain.
 * If the VMM attaches the group itself at that moment, it gets the group and this
 * function fails with -EBUSY.
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 * Return: 0; on error the group is blocked: -EINVAL if its IOMMU does not support
 * @domain; -EBUSY if the group was attached by another owner; -ENOMEM.
 */
int kviommu_hwgroup_set_domain(struct kviommu_hwgroup *g,
			       struct iommu_domain *domain)
{
	int ret;

	hwgroup_detach(g);
	ret = hwgroup_attach(g, domain ?: g->empty);
	if (ret)
		hwgroup_attach(g, g->empty);
	return ret;
}

/**
 * kviommu_hwgroup_set_ioas() - Attach all devices of a group to an IOAS
 * @g: The group
 * @ioas_id: The IOAS, all of which iommufd pins
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 * Return: 0, or an error of VFIO_DEVICE_ATTACH_IOMMUFD_PT, with the group blocked.
 */
int kviommu_hwgroup_set_ioas(struct kviommu_hwgroup *g, u32 ioas_id)
{
	struct kviommu_vfio *v;
	int ret;

	hwgroup_detach(g);
	list_for_each_entry(v, &g->devices, entry) {
		ret = kviommu_vfio_attach_ioas(v, ioas_id);
		if (ret) {
			hwgroup_detach(g);
			hwgroup_attach(g, g->empty);
			return ret;
		}
	}
	return 0;
}

/**
 * kviommu_hwgroup_set_pasid() - Attach a PASID of a group to a domain
 * @g: The group
 * @pasid: The PASID, which is attached to nothing
 * @domain: The domain
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 * Return: 0, or an error of kviommu_hw_attach_pasid(), with the PASID blocked.
 */
int kviommu_hwgroup_set_pasid(struct kviommu_hwgroup *g, u32 pasid,
			      struct iommu_domain *domain)
{
	int ret;

	mutex_lock(g->map_lock);
	ret = kviommu_hw_attach_pasid(domain, hwgroup_first_device(g), pasid);
	mutex_unlock(g->map_lock);
	return ret;
}

/**
 * kviommu_hwgroup_clear_pasid() - Undo kviommu_hwgroup_set_pasid(), which blocks the PASID
 * @g: The group
 * @pasid: The PASID
 * @domain: The domain that it is attached to
 *
 * Context: process context, may sleep; under unit->lock, not under map_lock.
 */
void kviommu_hwgroup_clear_pasid(struct kviommu_hwgroup *g, u32 pasid,
				 struct iommu_domain *domain)
{
	mutex_lock(g->map_lock);
	kviommu_hw_detach_pasid(domain, hwgroup_first_device(g), pasid);
	mutex_unlock(g->map_lock);
}

/**
 * kviommu_hwgroup_iommu() - Identify the physical IOMMU of a group
 * @g: The group
 *
 * Context: under unit->lock.
 * Return: an opaque pointer, the same for all groups behind the same IOMMU.
 */
const void *kviommu_hwgroup_iommu(struct kviommu_hwgroup *g)
{
	return kviommu_vfio_iommu(hwgroup_first_device(g));
}

/**
 * kviommu_hwgroup_kind() - Get the kind of the physical IOMMU of a group
 * @g: The group, of a unit that promises nested translation
 *
 * Context: under unit->lock.
 * Return: the kind, of any device of the group.
 */
const struct kviommu_iommu_kind *kviommu_hwgroup_kind(struct kviommu_hwgroup *g)
{
	return &hwgroup_first_device(g)->kind;
}

/**
 * kviommu_hwgroup_enforces_coherency() - Check whether a group's DMA can be forced coherent
 * @g: The group
 *
 * Context: process context, under unit->lock.
 * Return: true if the group's IOMMU can force DMA to be coherent.
 */
bool kviommu_hwgroup_enforces_coherency(struct kviommu_hwgroup *g)
{
	return kviommu_vfio_enforces_coherency(hwgroup_first_device(g));
}

/**
 * kviommu_hwgroup_alloc() - Allocate an empty domain for a group
 * @g: The group
 *
 * Context: process context, may sleep; under unit->lock.
 * Return: the domain, or an error of kviommu_hw_alloc().
 */
struct iommu_domain *kviommu_hwgroup_alloc(struct kviommu_hwgroup *g)
{
	return kviommu_hw_alloc(hwgroup_first_device(g));
}

/**
 * kviommu_hwgroup_nest_parent_alloc() - Allocate an empty second stage for a group
 * @g: The group
 *
 * Context: process context, may sleep; under unit->lock.
 * Return: the domain, or an error of kviommu_nest_parent_alloc().
 */
struct iommu_domain *kviommu_hwgroup_nest_parent_alloc(struct kviommu_hwgroup *g)
{
	return kviommu_nest_parent_alloc(hwgroup_first_device(g));
}

/**
 * kviommu_hwgroup_nest_alloc() - Allocate a nested domain for a group
 * @g: The group
 * @a: The page of arguments
 * @parent: Its second stage
 * @root: Guest physical address of the guest's first-stage root table
 * @levels: Number of levels of the first-stage tables
 *
 * Context: process context of the VMM, may sleep; under unit->lock, not under map_lock.
 * Return: the domain, or an error of kviommu_nest_alloc().
 */
struct iommu_domain *kviommu_hwgroup_nest_alloc(struct kviommu_hwgroup *g,
						struct kviommu_nest_args *a,
						struct iommu_domain *parent, u64 root,
						unsigned int levels)
{
	return kviommu_nest_alloc(a, hwgroup_first_device(g), parent, root, levels);
}
