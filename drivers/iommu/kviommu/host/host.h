/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host's subsystems as the rest of the module uses them. Only the files
 * of this directory call KVM, VFIO and iommufd, and only compat.h knows that
 * kernels differ.
 *
 * What can fail there for more reasons than a lack of memory stands in functions
 * of its own, with ALLOW_ERROR_INJECTION(): tests make each call of them fail.
 */
#ifndef _KVIOMMU_HOST_H
#define _KVIOMMU_HOST_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/srcu.h>
#include <linux/kvm_types.h>
#include <asm/kvm_page_track.h>

#include "compat.h"

struct device;
struct file;
struct iommu_domain;
struct iommu_group;
struct iommu_iotlb_gather;
struct iommufd_access;
struct iommufd_ctx;
struct mm_struct;
struct page;
struct vfio_device;

/**
 * struct kviommu_kvm - A virtual machine whose writes to one page are tracked
 * @file: Its file: a reference to the VM alone would not keep kvm_intel or
 *        kvm_amd loaded
 * @kvm: The VM
 * @node: Our end of KVM's write tracking
 * @gfn: Guest frame number of the page, KVIOMMU_NO_GFN while not armed; changed
 *       under the VM's slots_lock
 * @tracked: Writes are; changed under the VM's slots_lock
 * @armed: In the list of all that are
 * @write: Called for each write to the page, in vCPU context, may sleep
 * @removed: Called when the memory slot under the page is deleted; the VM's
 *           slots_lock is held
 */
struct kviommu_kvm {
	struct file *file;
	struct kvm *kvm;
	struct kvm_page_track_notifier_node node;
	u64 gfn;
	bool tracked;
	struct list_head armed;
	void (*write)(struct kviommu_kvm *k, unsigned int offset,
		      const void *data, unsigned int len);
	void (*removed)(struct kviommu_kvm *k);
};

#define KVIOMMU_NO_GFN	(~0ULL)

int kviommu_kvm_get(struct kviommu_kvm *k, int fd);
int kviommu_kvm_arm(struct kviommu_kvm *k, u64 gfn);
int kviommu_kvm_track(struct kviommu_kvm *k, bool on);
void kviommu_kvm_wait_writes(struct kviommu_kvm *k);
void kviommu_kvm_stop(struct kviommu_kvm *k);
void kviommu_kvm_put(struct kviommu_kvm *k);

/**
 * struct kviommu_access - Access to guest memory through an IOAS
 * @ictx: The iommufd
 * @access: Our user of the IOAS
 * @ioas_id: Its ID
 * @unmap: Called when a range of guest physical addresses goes away, in bytes,
 *         both inclusive. All pins in it must be gone when it returns.
 */
struct kviommu_access {
	struct iommufd_ctx *ictx;
	struct iommufd_access *access;
	u32 ioas_id;
	void (*unmap)(struct kviommu_access *a, u64 first, u64 last);
};

int kviommu_access_get(struct kviommu_access *a, int iommufd, u32 ioas_id);
void kviommu_access_put(struct kviommu_access *a);
int kviommu_access_pin(struct kviommu_access *a, u64 gfn, bool write,
		       struct page **page);
int kviommu_access_rw(struct kviommu_access *a, u64 gpa, void *buf,
		      unsigned int len, bool write);
void kviommu_access_unpin(struct kviommu_access *a, u64 gfn);

/**
 * struct kviommu_vfio - A VFIO device
 * @file: Its character device, which keeps it open and bound
 * @vdev: The device
 * @dev: The physical device
 * @group: Its IOMMU group
 * @entry: In kviommu_hwgroup.devices
 * @in_ioas: We attached it to an IOAS
 */
struct kviommu_vfio {
	struct file *file;
	struct vfio_device *vdev;
	struct device *dev;
	struct iommu_group *group;
	struct list_head entry;
	bool in_ioas;
};

int kviommu_vfio_get(struct kviommu_vfio *v, int fd,
		     const struct kviommu_access *a);
void kviommu_vfio_put(struct kviommu_vfio *v);
int kviommu_vfio_attach_ioas(struct kviommu_vfio *v, u32 ioas_id);
void kviommu_vfio_detach_ioas(struct kviommu_vfio *v);
bool kviommu_vfio_enforces_coherency(struct kviommu_vfio *v);
const void *kviommu_vfio_iommu(struct kviommu_vfio *v);

/* More ranges than any firmware was seen to ask for, for one device */
#define KVIOMMU_MAX_RESERVED	16

/**
 * struct kviommu_reserved - I/O virtual addresses that a physical IOMMU does not
 *			     translate for a group, or keeps for itself
 * @nr: How many ranges
 * @range: The ranges
 * @range.first: First address, the first of a page
 * @range.last: Last address, inclusive, the last of a page
 * @range.msi: Not 0: requests to it are interrupts
 *
 * Compared as a whole, so without padding.
 */
struct kviommu_reserved {
	u64 nr;
	struct {
		u64 first;
		u64 last;
		u64 msi;
	} range[KVIOMMU_MAX_RESERVED];
};

struct iommu_domain *kviommu_hw_alloc(struct kviommu_vfio *v);
bool kviommu_hw_splits(struct iommu_domain *domain);
int kviommu_hw_check(struct iommu_domain *domain, unsigned int aw_bits);
int kviommu_hw_reserved(struct iommu_group *group, struct kviommu_reserved *r);
int kviommu_hw_attach(struct iommu_domain *domain, struct iommu_group *group);
void kviommu_hw_detach(struct iommu_domain *domain, struct iommu_group *group,
		       struct kviommu_vfio *v);
void kviommu_hw_free(struct iommu_domain *domain);
int kviommu_hw_map(struct iommu_domain *domain, u64 iova, u64 pfn, u64 nr, int prot,
		   struct mm_struct *payer);
u64 kviommu_hw_unmap(struct iommu_domain *domain, u64 iova, u64 size,
		     struct iommu_iotlb_gather *gather);
void kviommu_hw_sync(struct iommu_domain *domain, struct iommu_iotlb_gather *gather);
phys_addr_t kviommu_hw_phys(struct iommu_domain *domain, u64 iova);

/**
 * struct kviommu_hwgroup - An IOMMU group: devices that the physical IOMMU
 *                          cannot tell apart, so they share what they go through
 * @group: The group
 * @map_lock: That of the unit, for @domain. Held while @group is attached to it or
 *            detached: drivers modify the tables and the list of flush targets here,
 *            without a lock against concurrent map and unmap.
 * @devices: Those of its devices that the unit has, by kviommu_vfio.entry
 * @empty: A domain without translations, for while it is blocked
 * @domain: The domain it is attached to, NULL while devices are in an IOAS
 * @reserved: What must not be translated for it
 *
 * Under unit->lock.
 */
struct kviommu_hwgroup {
	struct iommu_group *group;
	struct mutex *map_lock;	/* see above */
	struct list_head devices;
	struct iommu_domain *empty;
	struct iommu_domain *domain;
	struct kviommu_reserved reserved;
};

int kviommu_hwgroup_init(struct kviommu_hwgroup *g, struct kviommu_vfio *v,
			 struct mutex *map_lock, unsigned int aw_bits);
int kviommu_hwgroup_add(struct kviommu_hwgroup *g, struct kviommu_vfio *v,
			u32 ioas_id);
void kviommu_hwgroup_del(struct kviommu_hwgroup *g, struct kviommu_vfio *v);
int kviommu_hwgroup_set_domain(struct kviommu_hwgroup *g,
			       struct iommu_domain *domain);
int kviommu_hwgroup_set_ioas(struct kviommu_hwgroup *g, u32 ioas_id);
const void *kviommu_hwgroup_iommu(struct kviommu_hwgroup *g);
bool kviommu_hwgroup_enforces_coherency(struct kviommu_hwgroup *g);
struct iommu_domain *kviommu_hwgroup_alloc(struct kviommu_hwgroup *g);

#endif /* _KVIOMMU_HOST_H */
