/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Devices of a unit, their IOMMU groups, and the translation that each group uses.
 *
 *	device.c	devices, and the binding that the guest wants for each
 *	group.c		IOMMU groups, and the translation that each is attached to
 *	pasid.c		PASIDs of devices, and the translation that each is attached to
 */
#ifndef _KVIOMMU_DEVICE_H
#define _KVIOMMU_DEVICE_H

#include "../xlate/xlate.h"

/**
 * struct kviommu_group - An IOMMU group of a unit's devices
 * @unit: The unit
 * @entry: Link in unit->groups
 * @hw: The group in the host
 * @devices: List of its devices that are attached to the unit, linked by
 *           kviommu_device.group_entry
 * @xlate: The translation that the group's DMA goes through now
 * @next: A translation that is being built for the group, or NULL
 * @error: Negative errno for which the group is blocked instead of using the binding
 *         that was last wanted; 0 if there was no error
 * @conflict: The guest wants different bindings for @devices
 * @unsettled: @xlate does not yet follow the binding that was last wanted
 *
 * Protected by unit->lock.
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
 * struct kviommu_pasid - A PASID of a device
 * @pasid: The PASID
 * @wanted: The binding that the guest wants for requests with it
 * @xlate: The translation that they go through, or that is being built for them; NULL if
 *         they are blocked
 * @error: Negative errno for which they are blocked instead of using @wanted, or 0
 * @attached: They go through @xlate
 * @unsettled: @xlate does not yet follow @wanted
 *
 * Protected by unit->lock.
 */
struct kviommu_pasid {
	u32 pasid;
	struct kviommu_binding wanted;
	struct kviommu_xlate *xlate;
	int error;
	bool attached;
	bool unsettled;
};

/**
 * struct kviommu_device - A device attached to a unit
 * @unit: The unit
 * @entry: Link in unit->devices
 * @group_entry: Link in group->devices
 * @group: The device's IOMMU group
 * @source_id: The requester ID that the guest knows the device by
 * @serial: Serial number, unique among all devices that the unit ever had
 * @host: The VFIO device
 * @bus_master: The VMM says that the guest has its bus mastering on
 * @wanted: The binding that the guest wants for the device's requests without PASID
 * @pasids: The known PASIDs, each a &struct kviommu_pasid
 * @pasids_unsettled: Some of @pasids may be unsettled
 *
 * Protected by unit->lock.
 */
struct kviommu_device {
	struct kviommu_unit *unit;
	struct list_head entry;
	struct list_head group_entry;
	struct kviommu_group *group;
	u16 source_id;
	u64 serial;
	struct kviommu_vfio host;
	bool bus_master;
	struct kviommu_binding wanted;
	struct xarray pasids;
	bool pasids_unsettled;
};

/**
 * kviommu_group_first() - Get the device that stands for a group in traces and errors
 * @group: The group, which has at least one device
 *
 * Context: under unit->lock; does not sleep.
 * Return: the device that was attached first.
 */
static inline struct kviommu_device *kviommu_group_first(struct kviommu_group *group)
{
	return list_first_entry(&group->devices, struct kviommu_device, group_entry);
}

/* device.c */
struct kviommu_device *kviommu_device_find(struct kviommu_unit *unit, u32 source_id);
int kviommu_device_attach(struct kviommu_unit *unit, const struct kviommu_work *work,
			  int fd, u32 source_id, u64 *serial);
int kviommu_device_fill(struct kviommu_unit *unit, const struct kviommu_work *work,
			u64 serial);
int kviommu_device_detach(struct kviommu_unit *unit, const struct kviommu_work *work,
			  u32 source_id);
int kviommu_device_settle(struct kviommu_unit *unit, const struct kviommu_work *work);
bool kviommu_device_busy(struct kviommu_unit *unit, int was, int ret);
bool kviommu_device_retry(struct kviommu_unit *unit, const struct kviommu_work *work);
int kviommu_rebind(struct kviommu_unit *unit, const struct kviommu_work *work, u16 sid,
		   u16 mask, struct kviommu_progress *p);
int kviommu_rebind_pasid(struct kviommu_unit *unit, const struct kviommu_work *work,
			 u32 pasid, struct kviommu_progress *p);
void kviommu_device_fault(struct kviommu_xlate *xlate, u64 iova,
			  enum kviommu_fault reason);
int kviommu_device_get(struct kviommu_unit *unit, struct kviommu_get_device *cmd);
void kviommu_device_destroy(struct kviommu_device *dev, const struct kviommu_work *work);

/* group.c */
int kviommu_group_update(struct kviommu_group *group, const struct kviommu_work *work);
int kviommu_group_join(struct kviommu_device *dev);
void kviommu_group_leave(struct kviommu_device *dev, const struct kviommu_work *work);

/* pasid.c */
int kviommu_pasid_announced(struct kviommu_device *dev, const struct kviommu_work *work,
			    u32 pasid);
int kviommu_pasid_get(struct kviommu_device *dev, struct kviommu_get_device *cmd);
int kviommu_pasids_resolve(struct kviommu_device *dev, const struct kviommu_work *work);
void kviommu_pasids_retry(struct kviommu_device *dev);
int kviommu_pasids_update(struct kviommu_device *dev, const struct kviommu_work *work);
void kviommu_pasids_drop(struct kviommu_device *dev);
void kviommu_invalidate_pasid(struct kviommu_unit *unit, const struct kviommu_work *work,
			      u16 did, u32 pasid, u64 first, u64 last);

#endif /* _KVIOMMU_DEVICE_H */
