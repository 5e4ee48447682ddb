/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Devices of a unit, their IOMMU groups, and the translation that each goes through.
 *
 *	device.c	devices, and what the guest wants for them
 *	group.c		IOMMU groups, and what their DMA goes through
 */
#ifndef _KVIOMMU_DEVICE_H
#define _KVIOMMU_DEVICE_H

#include "../xlate/xlate.h"

/**
 * struct kviommu_group - An IOMMU group of a unit's devices
 * @unit: The unit
 * @entry: In unit->groups
 * @hw: The group in the host
 * @devices: The devices, by kviommu_device.group_entry
 * @xlate: What its DMA goes through now
 * @next: A translation that is being built for it, or NULL
 * @error: 0, or the error for which @xlate is not what was last asked for
 * @conflict: The guest wants different things for @devices
 * @unsettled: @xlate is not yet what was last asked for
 *
 * Under unit->lock.
 */
struct kviommu_group {
	struct kviommu_unit *unit;
	struct list_head entry;
	struct kviommu_hwgroup hw;
	struct list_head devices;
	struct kviommu_xlate *xlate;
	struct kviommu_xlate *next;
	int error;
	bool conflict;
	bool unsettled;
};

/**
 * struct kviommu_device - A device attached to a unit
 * @unit: The unit
 * @entry: In unit->devices
 * @group_entry: In group->devices
 * @group: Its IOMMU group
 * @source_id: The requester ID that the guest knows it by
 * @host: The VFIO device
 * @wanted: What the guest wants its DMA to go through
 *
 * Under unit->lock.
 */
struct kviommu_device {
	struct kviommu_unit *unit;
	struct list_head entry;
	struct list_head group_entry;
	struct kviommu_group *group;
	u16 source_id;
	struct kviommu_vfio host;
	struct kviommu_binding wanted;
};

static inline struct kviommu_device *kviommu_group_first(struct kviommu_group *group)
{
	return list_first_entry(&group->devices, struct kviommu_device, group_entry);
}

/* device.c */
int kviommu_device_attach(struct kviommu_unit *unit, const struct kviommu_work *work,
			  int fd, u32 source_id);
int kviommu_device_detach(struct kviommu_unit *unit, u32 source_id);
int kviommu_device_settle(struct kviommu_unit *unit, const struct kviommu_work *work);
int kviommu_rebind(struct kviommu_unit *unit, const struct kviommu_work *work, u16 sid,
		   u16 mask);
void kviommu_device_fault(struct kviommu_xlate *xlate, u64 iova,
			  enum kviommu_fault reason);
int kviommu_device_get(struct kviommu_unit *unit, struct kviommu_get_device *cmd);
void kviommu_device_destroy(struct kviommu_device *dev);

/* group.c */
int kviommu_group_update(struct kviommu_group *group, const struct kviommu_work *work);
int kviommu_group_join(struct kviommu_device *dev);
void kviommu_group_leave(struct kviommu_device *dev);

#endif /* _KVIOMMU_DEVICE_H */
