/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host's subsystems as the rest of the module uses them. Only the files of this
 * folder call KVM, VFIO, iommufd and the IOMMU API, and only compat.h depends on the
 * kernel version.
 *
 * Calls into these subsystems that can fail for reasons other than a lack of memory
 * have a function of their own, marked with ALLOW_ERROR_INJECTION(), so that tests can
 * make each of them fail.
 */
#ifndef _KVIOMMU_HOST_H
#define _KVIOMMU_HOST_H

#include <linux/iommu.h>
#include <linux/limits.h>
#include <linux/list.h>
#include <linux/minmax.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/types.h>
#include <linux/srcu.h>
#include <linux/kvm_types.h>
#include <asm/kvm_page_track.h>

#include "compat.h"

struct device;
struct file;
struct iommu_domain;
struct iommu_group;
struct iommufd_access;
struct iommufd_ctx;
struct mm_struct;
struct page;
struct vfio_device;

/**
 * struct kviommu_range - An inclusive range of addresses or frame numbers
 * @first: First address or number
 * @last: Last address or number, inclusive
 */
struct kviommu_range {
	u64 first;
	u64 last;
};

/**
 * struct kviommu_kvm - A virtual machine whose writes to one page are tracked
 * @file: The VM's file. A reference to the VM alone would not keep kvm_intel or
 *        kvm_amd loaded.
 * @kvm: The VM
 * @node: The notifier node registered with KVM's page tracking
 * @gfn: Guest frame number of the tracked page; KVIOMMU_NO_GFN while not armed.
 *       Changed under the VM's slots_lock and armed_lock, read without a lock.
 * @tracked: KVM currently tracks writes to @gfn; changed under the VM's slots_lock
 * @armed: Entry in the list of all armed VMs, under armed_lock
 * @write: Called for each trapped write to the page, with its offset and length in
 *         bytes. Context: vCPU, with kvm->srcu read-held; may sleep.
 * @removed: Called when the memory slot under the page is deleted. Context: the VM's
 *           slots_lock is held.
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

/**
 * struct kviommu_memory - A range of guest memory
 * @gfn: First guest frame number
 * @nr: Number of frames
 */
struct kviommu_memory {
	u64 gfn;
	u64 nr;
};

bool kviommu_kvm_memory(struct kviommu_kvm *k, u64 gfn, struct kviommu_memory *m);
int kviommu_kvm_get(struct kviommu_kvm *k, int fd);
int kviommu_kvm_arm(struct kviommu_kvm *k, u64 gfn);
int kviommu_kvm_track(struct kviommu_kvm *k, bool on);
void kviommu_kvm_wait_writes(struct kviommu_kvm *k);
void kviommu_kvm_stop(struct kviommu_kvm *k);
void kviommu_kvm_put(struct kviommu_kvm *k);

/**
 * struct kviommu_access - Access to guest memory through an IOAS
 * @ictx: The iommufd context
 * @access: The iommufd access object that is attached to the IOAS
 * @ioas_id: ID of the IOAS
 * @unmap: Called when the IOAS unmaps guest physical addresses, from @first to @last
 *         in bytes, inclusive. All pins in the range must be released when it returns.
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
int kviommu_access_pin_range(struct kviommu_access *a, u64 gfn, u64 nr,
			     struct page **pages);
void kviommu_access_unpin_range(struct kviommu_access *a, u64 gfn, u64 nr);
int kviommu_access_rw(struct kviommu_access *a, u64 gpa, void *buf,
		      unsigned int len, bool write);
void kviommu_access_unpin(struct kviommu_access *a, u64 gfn);

/**
 * struct kviommu_iommu_kind - What a physical IOMMU that nests says of itself
 * @cap: Its capability register
 * @ecap: Its extended capability register
 *
 * IOMMUs for which both are equal are of one kind: what is made for one serves the others.
 */
struct kviommu_iommu_kind {
	u64 cap;
	u64 ecap;
};

/**
 * kviommu_same_kind() - Check whether two physical IOMMUs are of one kind
 * @a: An IOMMU
 * @b: Another one
 *
 * Context: any.
 * Return: true if they are.
 */
static inline bool kviommu_same_kind(const struct kviommu_iommu_kind *a,
				     const struct kviommu_iommu_kind *b)
{
	return a->cap == b->cap && a->ecap == b->ecap;
}

/**
 * struct kviommu_vfio - A VFIO device
 * @file: The file of the device's cdev; the reference keeps the device open and bound
 * @vdev: The VFIO device
 * @dev: The physical device
 * @group: The IOMMU group of @dev
 * @entry: Entry in kviommu_hwgroup.devices
 * @in_ioas: kviommu_vfio_attach_ioas() has attached the device to an IOAS
 * @kind: The kind of its physical IOMMU, of kviommu_nest_check(); unused unless the guest
 *        was promised nested translation
 */
struct kviommu_vfio {
	struct file *file;
	struct vfio_device *vdev;
	struct device *dev;
	struct iommu_group *group;
	struct list_head entry;
	bool in_ioas;
	struct kviommu_iommu_kind kind;
};

int kviommu_vfio_get(struct kviommu_vfio *v, int fd,
		     const struct kviommu_access *a);
void kviommu_vfio_put(struct kviommu_vfio *v);
int kviommu_vfio_attach_ioas(struct kviommu_vfio *v, u32 ioas_id);
void kviommu_vfio_detach_ioas(struct kviommu_vfio *v);
bool kviommu_vfio_enforces_coherency(struct kviommu_vfio *v);
const void *kviommu_vfio_iommu(struct kviommu_vfio *v);

/* More reserved ranges than any firmware is known to report for one device */
#define KVIOMMU_MAX_RESERVED	16

/**
 * struct kviommu_reserved - I/O virtual addresses that must not be translated for a group
 * @nr: Number of ranges
 * @range: The ranges that the physical IOMMU does not translate, or reserves
 * @range.first: First address of the range, page aligned
 * @range.last: Last address of the range, inclusive, at the end of a page
 * @range.msi: Not 0 if requests to the range are interrupts
 *
 * Compared with memcmp(), so it must have no padding and be zero beyond @nr.
 */
struct kviommu_reserved {
	u64 nr;
	struct {
		u64 first;
		u64 last;
		u64 msi;
	} range[KVIOMMU_MAX_RESERVED];
};

/**
 * struct kviommu_unflushed - What was unmapped from a domain and is not flushed yet
 * @gather: The same for the domain's driver
 * @first: Lowest I/O virtual address that was unmapped
 * @last: Highest I/O virtual address that was unmapped; less than @first if there is none
 */
struct kviommu_unflushed {
	struct iommu_iotlb_gather gather;
	u64 first;
	u64 last;
};

/**
 * kviommu_hw_all_flushed() - Record that nothing of a domain waits for a flush
 * @u: The record
 *
 * Context: any.
 */
static inline void kviommu_hw_all_flushed(struct kviommu_unflushed *u)
{
	iommu_iotlb_gather_init(&u->gather);
	u->first = U64_MAX;
	u->last = 0;
}

/**
 * kviommu_hw_last() - Get the last I/O virtual address that a domain can translate
 * @domain: The domain
 *
 * Context: any.
 * Return: the address.
 */
static inline u64 kviommu_hw_last(const struct iommu_domain *domain)
{
	return domain->geometry.aperture_end;
}

/**
 * kviommu_hw_has_2m() - Check whether a domain can map 2 MiB pages
 * @domain: The domain
 *
 * Context: any.
 * Return: true if it can.
 */
static inline bool kviommu_hw_has_2m(const struct iommu_domain *domain)
{
	return domain->pgsize_bitmap & SZ_2M;
}

struct iommu_domain *kviommu_hw_make_coherent(struct kviommu_vfio *v,
					      struct iommu_domain *domain);
struct iommu_domain *kviommu_hw_alloc(struct kviommu_vfio *v);
bool kviommu_hw_splits(struct iommu_domain *domain);
int kviommu_hw_check(struct iommu_domain *domain, unsigned int aw_bits);
int kviommu_hw_reserved(struct iommu_group *group, struct kviommu_reserved *r);
int kviommu_hw_attach(struct iommu_domain *domain, struct iommu_group *group);
void kviommu_hw_detach(struct iommu_domain *domain, struct iommu_group *group,
		       struct kviommu_vfio *v);
int kviommu_hw_attach_pasid(struct iommu_domain *domain, struct kviommu_vfio *v, u32 pasid);
void kviommu_hw_detach_pasid(struct iommu_domain *domain, struct kviommu_vfio *v, u32 pasid);
void kviommu_hw_free(struct iommu_domain *domain);
int kviommu_hw_map(struct iommu_domain *domain, u64 iova, u64 pfn, u64 nr, int prot,
		   struct mm_struct *payer);
u64 kviommu_hw_unmap(struct iommu_domain *domain, u64 iova, u64 size,
		     struct kviommu_unflushed *u);
void kviommu_hw_unmap_sync(struct iommu_domain *domain, u64 iova, u64 size);
void kviommu_hw_sync(struct iommu_domain *domain, struct kviommu_unflushed *u);
phys_addr_t kviommu_hw_phys(struct iommu_domain *domain, u64 iova);

/**
 * struct kviommu_nest - What a guest may put into first-stage tables that the physical
 * IOMMU walks, and expects of the walk
 * @wanted: The guest has such tables; the others have a meaning only then
 * @huge: Leaves of 1 GiB
 * @five_levels: Tables of 5 levels
 * @coherent: The walk snoops caches, so the guest does not write its tables back to memory.
 *            A guest that was not promised that does it also where it is not needed.
 * @snoop: The guest may ask for DMA that snoops caches whatever the device says
 * @pasid_bits: Bits of the PASIDs that requests may have; 0 if they may have none
 */
struct kviommu_nest {
	bool wanted;
	bool huge;
	bool five_levels;
	bool coherent;
	bool snoop;
	u8 pasid_bits;
};

/**
 * kviommu_nest_limit() - Leave out what an IOMMU lacks
 * @nest: What some IOMMUs can, reduced to what @hw can as well
 * @hw: Another IOMMU that nests
 *
 * Context: any.
 */
static inline void kviommu_nest_limit(struct kviommu_nest *nest, const struct kviommu_nest *hw)
{
	nest->huge &= hw->huge;
	nest->five_levels &= hw->five_levels;
	nest->coherent &= hw->coherent;
	nest->snoop &= hw->snoop;
	nest->pasid_bits = min(nest->pasid_bits, hw->pasid_bits);
}

/**
 * kviommu_nest_missing() - Find what an IOMMU lacks of what a guest was promised
 * @hw: What the IOMMU can
 * @nest: What the guest was promised
 *
 * Context: any.
 * Return: a name for it, or NULL if nothing is missing.
 */
static inline const char *kviommu_nest_missing(const struct kviommu_nest *hw,
					       const struct kviommu_nest *nest)
{
	if (!hw->wanted)
		return "nested translation";
	if (hw->huge < nest->huge)
		return "FS1GP";
	if (hw->five_levels < nest->five_levels)
		return "FS5LP";
	if (hw->snoop < nest->snoop)
		return "SC";
	if (hw->coherent < nest->coherent)
		return "SMPWCS";
	if (hw->pasid_bits < nest->pasid_bits)
		return hw->pasid_bits ? "PASIDs of so many bits" : "PASIDs";
	return NULL;
}

/* Ranges of one domain that are flushed one by one */
#define KVIOMMU_NEST_RANGES	4

/**
 * struct kviommu_nest_args - A page by which arguments get to the IOMMU's driver
 * @file: What the VMM has mapped; NULL if the unit has no such page
 * @args: The arguments
 * @mm: Address space of the VMM
 * @at: Address of the page in it
 */
struct kviommu_nest_args {
	struct file *file;
	struct nest_args *args;
	struct mm_struct *mm;
	unsigned long at;
};

int kviommu_nest_init(void);
void kviommu_nest_exit(void);
int kviommu_nest_host(struct kviommu_nest *nest);
int kviommu_nest_check(struct kviommu_vfio *v, const struct kviommu_nest *nest);
struct iommu_domain *kviommu_nest_parent_alloc(struct kviommu_vfio *v);
int kviommu_nest_args_map(struct kviommu_nest_args *a);
void kviommu_nest_args_unmap(struct kviommu_nest_args *a);
struct iommu_domain *kviommu_nest_alloc(struct kviommu_nest_args *a,
					struct kviommu_vfio *v,
					struct iommu_domain *parent, u64 root,
					unsigned int levels);
int kviommu_nest_flush(struct kviommu_nest_args *a, struct iommu_domain *domain,
		       const struct kviommu_range *range, unsigned int nr);
void kviommu_nest_flush_all(struct iommu_domain *parent);

/**
 * struct kviommu_hwgroup - An IOMMU group
 * @group: The IOMMU group
 * @map_lock: The unit's map_lock, which protects the contents of @domain. Held while
 *            @group is attached to a domain or detached from it: drivers modify the
 *            tables and the list of flush targets there, without a lock against
 *            concurrent map and unmap.
 * @devices: The unit's devices in the group, by kviommu_vfio.entry; never empty
 * @empty: A domain without translations, attached while DMA is to be blocked
 * @domain: The domain that the group is attached to; NULL if it is attached to none, as
 *          while its devices are in an IOAS
 * @reserved: The addresses that must not be translated for the group
 *
 * The physical IOMMU cannot isolate the devices of a group from each other, so they
 * share one translation. All members are under unit->lock.
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
int kviommu_hwgroup_set_pasid(struct kviommu_hwgroup *g, u32 pasid,
			      struct iommu_domain *domain);
void kviommu_hwgroup_clear_pasid(struct kviommu_hwgroup *g, u32 pasid,
				 struct iommu_domain *domain);
const void *kviommu_hwgroup_iommu(struct kviommu_hwgroup *g);
const struct kviommu_iommu_kind *kviommu_hwgroup_kind(struct kviommu_hwgroup *g);
bool kviommu_hwgroup_enforces_coherency(struct kviommu_hwgroup *g);
struct iommu_domain *kviommu_hwgroup_alloc(struct kviommu_hwgroup *g);
struct iommu_domain *kviommu_hwgroup_nest_parent_alloc(struct kviommu_hwgroup *g);
struct iommu_domain *kviommu_hwgroup_nest_alloc(struct kviommu_hwgroup *g,
						struct kviommu_nest_args *a,
						struct iommu_domain *parent, u64 root,
						unsigned int levels);

#endif /* _KVIOMMU_HOST_H */
