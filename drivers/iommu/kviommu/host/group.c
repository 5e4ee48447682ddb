// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an IOMMU group is attached to: an empty domain, another domain, or an IOAS.
 * It calls nothing but the rest of this folder, so that it also builds in userspace.
 */
#include <linux/list.h>
#include <linux/err.h>
#include <linux/mutex.h>

#include "host.h"

/* A device of the group: a group of ours is never without. */
static struct kviommu_vfio *first_of(struct kviommu_hwgroup *g)
{
	return list_first_entry(&g->devices, struct kviommu_vfio, entry);
}

/* Off what we attached the group to; then it is blocked. */
static void group_detach(struct kviommu_hwgroup *g)
{
	struct kviommu_vfio *v;

	list_for_each_entry(v, &g->devices, entry)
		kviommu_vfio_detach_ioas(v);
	mutex_lock(g->map_lock);
	if (g->domain)
		kviommu_hw_detach(g->domain, g->group, first_of(g));
	mutex_unlock(g->map_lock);
	g->domain = NULL;
}

static int group_attach(struct kviommu_hwgroup *g, struct iommu_domain *domain)
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
 * kviommu_hwgroup_init() - Take the IOMMU group of a device, blocked
 * @g: Where to
 * @v: The device, which becomes its first
 * @map_lock: What protects the domains that it will be attached to
 * @aw_bits: Width of the I/O virtual addresses to translate
 *
 * The group is attached to an empty domain of our own: that blocks its DMA,
 * proves that the physical IOMMU can translate for it, and keeps everybody
 * else from attaching it.
 *
 * Context: process context, not under map_lock.
 * Return: 0; -EBUSY if the group is attached; -EMEDIUMTYPE if the physical
 * IOMMU cannot do it; -ENOMEM.
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
	ret = group_attach(g, g->empty);
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
 * @v: The device, which from now on goes through what the group does
 * @ioas_id: The IOAS, if the group is in it
 *
 * Context: process context, not under map_lock.
 * Return: 0, or an error of VFIO_DEVICE_ATTACH_IOMMUFD_PT.
 */
int kviommu_hwgroup_add(struct kviommu_hwgroup *g, struct kviommu_vfio *v,
			u32 ioas_id)
{
	int ret = 0;

	if (first_of(g)->in_ioas)
		ret = kviommu_vfio_attach_ioas(v, ioas_id);
	if (!ret)
		list_add_tail(&v->entry, &g->devices);
	return ret;
}

/**
 * kviommu_hwgroup_del() - Remove a device from its group
 * @g: The group; blocked and given back if the device is its last
 * @v: The device
 *
 * Context: process context, not under map_lock.
 */
void kviommu_hwgroup_del(struct kviommu_hwgroup *g, struct kviommu_vfio *v)
{
	if (list_is_singular(&g->devices)) {
		group_detach(g);
		kviommu_hw_free(g->empty);
	} else {
		kviommu_vfio_detach_ioas(v);
	}
	list_del(&v->entry);
}

/**
 * kviommu_hwgroup_set_domain() - Let a group translate through a domain
 * @g: The group
 * @domain: The domain; NULL blocks its DMA
 *
 * There is no way from one domain to another but through the blocking one. A
 * VMM that attaches the group itself at that moment gets it, and we -EBUSY.
 *
 * Context: process context, not under map_lock.
 * Return: 0, or with the group blocked: -EINVAL if its IOMMU does not take
 * this domain; -EBUSY if somebody else attached the group; -ENOMEM.
 */
int kviommu_hwgroup_set_domain(struct kviommu_hwgroup *g,
			       struct iommu_domain *domain)
{
	int ret;

	group_detach(g);
	ret = group_attach(g, domain ?: g->empty);
	if (ret)
		group_attach(g, g->empty);
	return ret;
}

/**
 * kviommu_hwgroup_set_ioas() - Let a group reach an IOAS at its addresses
 * @g: The group
 * @ioas_id: The IOAS, all of which gets pinned
 *
 * Context: process context, not under map_lock.
 * Return: 0, or with the group blocked an error of
 * VFIO_DEVICE_ATTACH_IOMMUFD_PT.
 */
int kviommu_hwgroup_set_ioas(struct kviommu_hwgroup *g, u32 ioas_id)
{
	struct kviommu_vfio *v;
	int ret;

	group_detach(g);
	list_for_each_entry(v, &g->devices, entry) {
		ret = kviommu_vfio_attach_ioas(v, ioas_id);
		if (ret) {
			group_detach(g);
			group_attach(g, g->empty);
			return ret;
		}
	}
	return 0;
}

/**
 * kviommu_hwgroup_iommu() - Say which physical IOMMU a group is behind
 * @g: The group
 *
 * Context: under unit->lock.
 * Return: what tells it from others.
 */
const void *kviommu_hwgroup_iommu(struct kviommu_hwgroup *g)
{
	return kviommu_vfio_iommu(first_of(g));
}

/**
 * kviommu_hwgroup_enforces_coherency() - Say whether a group's IOMMU can force its
 *					  DMA to be coherent
 * @g: The group
 *
 * Context: under unit->lock.
 * Return: true if so.
 */
bool kviommu_hwgroup_enforces_coherency(struct kviommu_hwgroup *g)
{
	return kviommu_vfio_enforces_coherency(first_of(g));
}

/**
 * kviommu_hwgroup_alloc() - Make an empty domain that a group can use
 * @g: The group
 *
 * Context: process context, under unit->lock.
 * Return: the domain or an error of kviommu_hw_alloc().
 */
struct iommu_domain *kviommu_hwgroup_alloc(struct kviommu_hwgroup *g)
{
	return kviommu_hw_alloc(first_of(g));
}
