/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * kviommu: a virtual IOMMU for KVM guests, emulated in the host kernel.
 */
#ifndef _UAPI_LINUX_KVIOMMU_H
#define _UAPI_LINUX_KVIOMMU_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define KVIOMMU_TYPE		(0xB9)
#define KVIOMMU_API_VERSION	1

/**
 * DOC: General ioctl format
 *
 * One open file of /dev/kviommu is one virtual IOMMU (a unit) of one virtual
 * machine. Every ioctl but KVIOMMU_GET_INFO and KVIOMMU_CREATE needs a unit
 * that was created, and must come from the process that created it.
 *
 * Each ioctl takes a pointer to a structure whose first member is its size in
 * bytes as userspace knows it, at most 4096; the structures may grow at their end.
 * Members whose names begin with ``out_``, and others that say so, are set by the kernel
 * when the call succeeds. Of a structure that has such members, all from the first of
 * them on may be written to, also if the call fails: then, and where there are inputs
 * among them, with what was there before. What is before that, and a structure without
 * such members, is only read.
 *
 * What depends on the model of the unit is in a structure of its own, a blob,
 * which the call's structure points to: data_uptr is its address, data_len its
 * size in bytes as userspace knows it, at most 4096. It grows in the same way.
 *
 * These errors mean the same in every ioctl:
 *
 *  - ENOTTY: the ioctl is not known.
 *  - E2BIG: the structure or the blob is larger than known here and not zero
 *    beyond that.
 *  - EINVAL: the structure or the blob is too small, a reserved member is not
 *    zero, or a value is outside what is documented.
 *  - EOPNOTSUPP: a flag, a bit of a mask, or a value of an enumeration, that is
 *    not known or not supported on this host.
 *  - EFAULT: the structure or the blob cannot be read or, if it has ``out_`` members,
 *    written. Nothing was done, unless userspace changed the mapping meanwhile.
 *  - ENODEV: the unit has not been created yet.
 *  - EPERM: the caller's address space is not the one that created the unit.
 *  - ENOMEM: the host's memory, or the caller's memory cgroup, is exhausted.
 *  - EINTR: a fatal signal is pending.
 */

/**
 * DOC: Rules for extending
 *
 * The version of this interface is KVIOMMU_API_VERSION, for ever. What may differ
 * between two modules is found by the masks of KVIOMMU_GET_INFO, and whether there
 * is a call by ENOTTY. What programs rely on is kept by these rules:
 *
 *  - A structure grows at its end only, by members for which 0 means what was done
 *    before there was the member. The kernel takes the structure as it was first
 *    (the smallest size) and as it will be (if what it does not know is zero).
 *  - Enumerations get new values and masks new bits. Those that userspace may pass to
 *    the kernel show in a mask of KVIOMMU_GET_INFO, or of its blob; a new flag of a
 *    call in kviommu_info.out_features. The kernel refuses a value or a bit that it
 *    does not know with EOPNOTSUPP. Those that only the kernel writes (&enum
 *    kviommu_dma, &enum kviommu_pin_scope) show in no mask.
 *  - A reserved member is refused unless it is 0, until it gets a meaning that 0
 *    does not change.
 *  - A number, a bit, a name of a statistic or a member is never used again for
 *    something else.
 *  - Userspace ignores what it does not know in what the kernel writes: bits of
 *    masks, values of enumerations, names of statistics.
 */
enum {
	KVIOMMU_CMD_BASE = 0x00,
	KVIOMMU_CMD_GET_INFO = KVIOMMU_CMD_BASE,
	KVIOMMU_CMD_CREATE = 0x01,
	KVIOMMU_CMD_ARM = 0x02,
	KVIOMMU_CMD_ATTACH_DEVICE = 0x03,
	KVIOMMU_CMD_DETACH_DEVICE = 0x04,
	KVIOMMU_CMD_SET_EVENTFD = 0x05,
	KVIOMMU_CMD_RESET = 0x06,
	KVIOMMU_CMD_GET_STATS_FD = 0x07,
	KVIOMMU_CMD_SET_POLICY = 0x08,
	KVIOMMU_CMD_GET_POLICY = 0x09,
	KVIOMMU_CMD_REFRESH = 0x0a,
	KVIOMMU_CMD_RELEASE_PINS = 0x0b,
	KVIOMMU_CMD_GET_DEVICE = 0x0c,
	KVIOMMU_CMD_SET_BUS_MASTER = 0x0d,
};

/**
 * enum kviommu_model_type - What the guest sees
 * @KVIOMMU_MODEL_VTD: Intel VT-d remapping hardware, legacy mode and, where the host
 *                     can, scalable mode, with caching mode and queued invalidation,
 *                     without interrupt remapping. The register page is one page of 4 KiB. The
 *                     blobs are &struct kviommu_create_vtd and &struct
 *                     kviommu_vtd_info.
 * @KVIOMMU_MODEL_COIOMMU: The host's side of coIOMMU: a guest that remaps nothing says
 *                     which of its pages are in use for DMA, and only these are pinned.
 *                     Beside the register page it has two pages of requests and two that
 *                     list the devices. The blobs are &struct kviommu_create_coiommu and
 *                     &struct kviommu_coiommu_info.
 */
enum kviommu_model_type {
	KVIOMMU_MODEL_VTD = 1,
	KVIOMMU_MODEL_COIOMMU = 2,
};

/**
 * enum kviommu_features - Bits of kviommu_info.out_features
 * @KVIOMMU_FEATURE_GET_PASID: There is kviommu_get_device.pasid
 */
enum kviommu_features {
	KVIOMMU_FEATURE_GET_PASID = 1 << 0,
};

/**
 * struct kviommu_info - ioctl(KVIOMMU_GET_INFO)
 * @size: sizeof(struct kviommu_info)
 * @flags: Must be 0
 * @out_api_version: KVIOMMU_API_VERSION, which is 1 and stays so: do not compare
 *                   it, look at the masks
 * @out_models: Bit (1 << model) for each &enum kviommu_model_type supported
 * @out_features: Mask of &enum kviommu_features: what differs between modules and has
 *                no other mask, as flags of calls that the first module did not have
 * @out_max_devices: How many devices one unit takes
 * @out_page_size: Size in bytes of the register page, for mmap() at offset 0
 * @out_modes: Bit (1 << mode) for each &enum kviommu_mode that a VMM may ask for
 * @out_strategies: Bit (1 << strategy) for each &enum kviommu_strategy
 * @out_events: Bit (1 << event) for each &enum kviommu_event
 * @model: 0, or one of &enum kviommu_model_type: then @data_uptr is filled in, too
 * @out_policy: Mask of &enum kviommu_policy_member: the members of &struct
 *              kviommu_policy that this host knows
 * @data_len: Size in bytes of what @data_uptr points to. Replaced by the size of
 *            the blob as the kernel knows it. Of the two the smaller one is
 *            written, and the rest set to zero.
 * @out_allowed_modes: Those of @out_modes that the host would put into force now.
 *                     The administrator can change that at any time, and set a mode
 *                     for one unit that is not among them.
 * @data_uptr: Where to write what there is to know of @model: for
 *             KVIOMMU_MODEL_VTD a &struct kviommu_vtd_info, for
 *             KVIOMMU_MODEL_COIOMMU a &struct kviommu_coiommu_info
 *
 * What this host offers. Needs no unit. @data_len and @data_uptr are not looked at
 * if @model is 0.
 *
 * Errors beside the general ones:
 *
 *  - EOPNOTSUPP: @model is neither 0 nor one of those of @out_models.
 */
struct kviommu_info {
	__u32 size;
	__u32 flags;
	__u32 out_api_version;
	__u32 out_models;
	__aligned_u64 out_features;
	__u32 out_max_devices;
	__u32 out_page_size;
	__u32 out_modes;
	__u32 out_strategies;
	__u32 out_events;
	__u32 model;
	__aligned_u64 out_policy;
	__u32 data_len;
	__u32 out_allowed_modes;
	__aligned_u64 data_uptr;
};

#define KVIOMMU_GET_INFO _IO(KVIOMMU_TYPE, KVIOMMU_CMD_GET_INFO)

/**
 * enum kviommu_vtd_flags - Bits of kviommu_create_vtd.flags
 * @KVIOMMU_VTD_BOOT_IDENTITY: While the guest has translation disabled, devices
 *                             reach all of the IOAS at the guest physical address,
 *                             which pins all of it. For firmware that boots from
 *                             an assigned device. Without this flag such DMA is
 *                             blocked.
 * @KVIOMMU_VTD_BOOT_MASTER: KVIOMMU_VTD_BOOT_IDENTITY, with which it goes, holds only for
 *                           devices for which KVIOMMU_SET_BUS_MASTER says that the guest
 *                           has turned bus mastering on
 */
enum kviommu_vtd_flags {
	KVIOMMU_VTD_BOOT_IDENTITY = 1 << 0,
	KVIOMMU_VTD_BOOT_MASTER = 1 << 1,
};

/**
 * struct kviommu_vtd_info - What a unit of KVIOMMU_MODEL_VTD can be given
 * @out_aw_bits_min: The smallest kviommu_create_vtd.aw_bits
 * @out_aw_bits_max: The largest one
 * @out_flags: Mask of &enum kviommu_vtd_flags
 * @__reserved: Is set to 0
 * @out_cap: Bits of the capability register that kviommu_create_vtd.cap may have:
 *           PSI (bit 39), and of SLLPS pages of 2 MiB (bit 34) and 1 GiB (bit 35)
 * @out_ecap: Bits of the extended capability register that kviommu_create_vtd.ecap
 *            may have: PT (bit 6)
 *
 * Written by KVIOMMU_GET_INFO.
 *
 * Where a physical IOMMU of this host can walk tables of a guest (VT-d with nested
 * translation), @out_ecap also has SMTS (bit 43) and FSTS (47), and @out_cap and
 * @out_ecap have what all such IOMMUs can of FS1GP (bit 56) and FS5LP (60) of CAP, SC (7)
 * and SMPWCS (48) of ECAP: a device behind any of them is taken. An IOMMU is known if it has a
 * PCI device with a driver. IOMMU_GET_HW_INFO of iommufd says the same of the IOMMU of one
 * device.
 *
 * If the kernel can attach PASIDs to such tables, too, @out_ecap has PASID (bit 40), and in
 * bits 39:35 the greatest PSS: that is a number, one less than the bits of a PASID, and no
 * mask.
 */
struct kviommu_vtd_info {
	__u32 out_aw_bits_min;
	__u32 out_aw_bits_max;
	__u32 out_flags;
	__u32 __reserved;
	__aligned_u64 out_cap;
	__aligned_u64 out_ecap;
};

/**
 * struct kviommu_create_vtd - What a unit of KVIOMMU_MODEL_VTD is to be like
 * @flags: Mask of &enum kviommu_vtd_flags
 * @aw_bits: Width in bits of the I/O virtual addresses, from 39 (tables of 3
 *           levels) to 57; from 40 on tables may have 4 levels too, from 49 on 5
 * @cap: Which of kviommu_vtd_info.out_cap the guest is to see. Without PSI a
 *       page-selective invalidation is done as a domain-selective one; without a
 *       size of SLLPS the page-size bit is reserved at that level of the tables.
 * @ecap: Which of kviommu_vtd_info.out_ecap the guest is to see. Without PT the
 *        translation type of pass-through is a reserved one. SMTS and FSTS go together;
 *        without them none of FS1GP, FS5LP, SC, SMPWCS and PASID may be set. With PASID
 *        (bit 40) PSS (bits 39:35) may be any number up to that of out_ecap; else it has to
 *        be 0.
 *
 * The blob of KVIOMMU_CREATE. What the guest sees does not depend on anything else:
 * not on what a later module may offer, so a virtual machine finds the same again
 * when it is started anew. All that the guest sees stands in CAP and ECAP of the
 * register page.
 *
 * With SMTS and FSTS the guest may use scalable mode, with first-stage translation and
 * pass-through, for requests without PASID and, with PASID, for those with one. The physical
 * IOMMU walks its first-stage tables itself, so the guest does not say what it maps, and all
 * of its memory that the IOAS lets devices read and write is pinned by KVIOMMU_ATTACH_DEVICE,
 * whatever the guest then uses.
 * After the last device was detached KVIOMMU_RELEASE_PINS or KVIOMMU_RESET unpins it. Memory
 * is looked for where the virtual machine has memory slots; after memory was added call
 * KVIOMMU_REFRESH. Within a slot, more than 2 MiB behind its begin and other memory of the
 * IOAS, memory is found only if it has 64 KiB that are aligned so. The unit maps a page of its
 * own into the VMM's address space, by which arguments get to the IOMMU's driver: the VMM may
 * see it but not write it. Each device has to be behind a physical IOMMU that can what @cap
 * and @ecap say: others are refused by KVIOMMU_ATTACH_DEVICE. A strategy other than strict has
 * no effect on first-stage tables. Faults of the walk are seen by the host, not by the guest.
 *
 * A device makes requests with PASID if it has a PASID capability, which VFIO does not show: the
 * VMM gives the guest one, with no more bits than the device and PSS have. The host's driver of
 * the IOMMU enables it. PASIDs of a device that is not alone in its IOMMU group are blocked, and
 * so are those beyond the first 1024 that the guest of a unit uses at once.
 */
struct kviommu_create_vtd {
	__u32 flags;
	__u32 aw_bits;
	__aligned_u64 cap;
	__aligned_u64 ecap;
};

/**
 * enum kviommu_coiommu_flags - Bits of kviommu_create_coiommu.flags
 * @KVIOMMU_COIOMMU_BOOT_IDENTITY: While the guest has not activated its table, devices
 *                                 reach all of the IOAS at the guest physical address,
 *                                 which pins all of it: for firmware, and for guests that
 *                                 do not know of coIOMMU. Without this flag such DMA is
 *                                 blocked.
 * @KVIOMMU_COIOMMU_BOOT_MASTER: KVIOMMU_COIOMMU_BOOT_IDENTITY, with which it goes, holds only
 *                               for devices for which KVIOMMU_SET_BUS_MASTER says that the
 *                               guest has turned bus mastering on
 */
enum kviommu_coiommu_flags {
	KVIOMMU_COIOMMU_BOOT_IDENTITY = 1 << 0,
	KVIOMMU_COIOMMU_BOOT_MASTER = 1 << 1,
};

/**
 * struct kviommu_coiommu_info - What a unit of KVIOMMU_MODEL_COIOMMU has, and can be given
 * @out_flags: Mask of &enum kviommu_coiommu_flags
 * @out_aw_bits_min: The smallest kviommu_create_coiommu.aw_bits
 * @out_aw_bits_max: The largest one
 * @out_cpus_max: The largest kviommu_create_coiommu.cpus
 * @out_notify_offset: Where mmap() finds the notify map, in bytes
 * @out_notify_size: Its size in bytes
 * @out_topology_offset: Where mmap() finds the list of devices, which it maps for reading
 *                       only, in bytes
 * @out_topology_size: Its size in bytes
 *
 * Written by KVIOMMU_GET_INFO. The register page, for the first page of BAR 0, is at offset
 * 0; the notify map is BAR 2, the list of devices BAR 4.
 */
struct kviommu_coiommu_info {
	__u32 out_flags;
	__u32 out_aw_bits_min;
	__u32 out_aw_bits_max;
	__u32 out_cpus_max;
	__aligned_u64 out_notify_offset;
	__aligned_u64 out_notify_size;
	__aligned_u64 out_topology_offset;
	__aligned_u64 out_topology_size;
};

/**
 * struct kviommu_create_coiommu - What a unit of KVIOMMU_MODEL_COIOMMU is to be like
 * @flags: Mask of &enum kviommu_coiommu_flags
 * @aw_bits: Width in bits of the guest physical addresses that devices are to reach, from
 *           39 to 52
 * @cpus: How many CPUs the guest may have, at least 1: requests in slots from that number
 *        on are not carried out
 * @__reserved: Must be 0
 *
 * The blob of KVIOMMU_CREATE. The registers, the requests and the table in guest memory are
 * those of the coIOMMU device of crosvm. The guest activates a table that has one word for
 * each page. Then devices reach only what is pinned, at the guest physical address. A guest
 * that maps a page for DMA counts that in its word. If the word does not say that the page is
 * pinned, the guest asks for it; it never says when it has no use for it any more. The unit
 * unpins what has not been in use for kviommu_policy.unpin_ms, at kviommu_policy.max_pins,
 * when the host lacks memory, and by KVIOMMU_RELEASE_PINS; but never what the word says is in
 * use.
 *
 * The unit has no interrupt and no fault. Mode and strategy of the policy have no effect.
 */
struct kviommu_create_coiommu {
	__u32 flags;
	__u32 aw_bits;
	__u32 cpus;
	__u32 __reserved;
};

/**
 * struct kviommu_create - ioctl(KVIOMMU_CREATE)
 * @size: sizeof(struct kviommu_create)
 * @flags: Must be 0
 * @kvm_fd: File descriptor of the KVM virtual machine
 * @iommufd: File descriptor of the iommufd context
 * @ioas_id: ID of an IOAS of @iommufd that maps guest physical addresses to
 *           the VMM's memory. It may be empty, and may change at any time. No
 *           device may be attached to it by the VMM: that would pin all of the
 *           guest's memory.
 * @model: One of &enum kviommu_model_type
 * @data_len: Size in bytes of what @data_uptr points to
 * @__reserved: Must be 0
 * @data_uptr: The blob of @model: for KVIOMMU_MODEL_VTD a &struct
 *             kviommu_create_vtd, for KVIOMMU_MODEL_COIOMMU a &struct
 *             kviommu_create_coiommu
 *
 * Make this file a unit of that virtual machine. The unit keeps references to
 * the three objects until the file is closed. If the call fails the file is as it
 * was before: it may be tried again.
 *
 * Errors beside the general ones:
 *
 *  - EBUSY: this file is a unit already, or another thread makes it one.
 *  - EBADF: @kvm_fd or @iommufd is not an open file.
 *  - EINVAL: @kvm_fd is no KVM virtual machine, @iommufd no iommufd, the
 *    blob's aw_bits or cpus is none of the documented values, or its capabilities or flags
 *    do not go together.
 *  - EPERM: the virtual machine belongs to another process.
 *  - EAGAIN: the unit needs a thread, and one more is not allowed: by RLIMIT_NPROC, by
 *    the pids controller of a control group, or by the host (threads-max).
 *  - ENOENT: the iommufd has no IOAS of that ID.
 *  - EOPNOTSUPP: an unknown model, a flag or a capability that the model does not
 *    offer, or the virtual machine is of a type whose memory is encrypted or whose
 *    registers are protected (SEV, SEV-ES, SNP, TDX, software-protected): its
 *    tables could not be read, nor its writes emulated.
 */
struct kviommu_create {
	__u32 size;
	__u32 flags;
	__s32 kvm_fd;
	__s32 iommufd;
	__u32 ioas_id;
	__u32 model;
	__u32 data_len;
	__u32 __reserved;
	__aligned_u64 data_uptr;
};

#define KVIOMMU_CREATE _IO(KVIOMMU_TYPE, KVIOMMU_CMD_CREATE)

/**
 * struct kviommu_arm - ioctl(KVIOMMU_ARM)
 * @size: sizeof(struct kviommu_arm)
 * @flags: Must be 0
 * @gpa: Guest physical address of the register page, page aligned
 *
 * Start handling the guest's accesses to the register page. The VMM has
 * mapped the page with mmap() and made that mapping a KVM memory slot (not a
 * read-only one) at @gpa. The call does not check that the slot holds that page; if
 * it holds something else the guest sees no registers.
 *
 * While the unit exists KVM refuses to move a memory slot of its virtual machine:
 * delete it and make it anew. When the slot of the register page is deleted,
 * handling ends and KVIOMMU_EVENT_CONTROL is signalled; this is to be called again
 * when the slot was made, at the same or another address. Doing so without need is
 * harmless. What the guest wrote meanwhile is handled as far as the page still
 * differs from the registers: the last value of each register counts, and a write of
 * the value that is there already is lost. So the VMM should not let the guest run
 * then.
 *
 * Errors beside the general ones:
 *
 *  - EINVAL: @gpa is not page aligned, or no memory slot covers it, or a
 *    read-only one.
 *  - ENXIO: the model has no register page.
 *  - EBUSY: another unit has its register page there.
 */
struct kviommu_arm {
	__u32 size;
	__u32 flags;
	__aligned_u64 gpa;
};

#define KVIOMMU_ARM _IO(KVIOMMU_TYPE, KVIOMMU_CMD_ARM)

/**
 * struct kviommu_attach_device - ioctl(KVIOMMU_ATTACH_DEVICE)
 * @size: sizeof(struct kviommu_attach_device)
 * @flags: Must be 0
 * @device_fd: File descriptor of the VFIO device (of its character device, not
 *             of a group), bound to the unit's iommufd
 * @source_id: Requester ID that the guest knows the device by: bus number in
 *             bits 15:8, device and function in bits 7:0
 *
 * Put a device behind the unit. From then on its DMA goes through what the
 * guest's tables say for @source_id; while the guest has translation disabled, or
 * has no context entry for the device, it is blocked. Allowed at any time, also
 * while the guest runs.
 *
 * The unit keeps the device open until it is detached or the unit is closed.
 * Meanwhile VFIO refuses to attach it, or another one of its IOMMU group,
 * elsewhere (EBUSY). Only while the device is in pass-through does VFIO itself hold
 * it on the IOAS, and does not stop userspace from changing that.
 *
 * Devices of one IOMMU group belong to one unit, each attached by a call. The
 * physical IOMMU cannot give them different translations: while the guest wants
 * different ones for them, all are blocked.
 *
 * Success means that the device is behind the unit. If what the guest wants for
 * it cannot be done, its DMA is blocked, KVIOMMU_EVENT_CONTROL is signalled,
 * KVIOMMU_GET_DEVICE says why, and KVIOMMU_REFRESH tries again, as does the next
 * context invalidation of the guest for it.
 *
 * Errors beside the general ones:
 *
 *  - EBADF: @device_fd is not an open file.
 *  - EINVAL: @device_fd is no VFIO device cdev of a physical device, or not
 *    the descriptor that was bound to an iommufd, or @source_id has bits
 *    beyond 15:0.
 *  - EXDEV: the device is bound to another iommufd.
 *  - EBUSY: the device is attached to an IOAS, to a page table or to a unit, or
 *    another device of its IOMMU group is, but not to this unit.
 *  - EEXIST: another device of this unit has @source_id.
 *  - ENOSPC: the unit has kviommu_info.out_max_devices devices.
 *  - ENOMEM: also if not all of the guest's memory can be pinned, which a unit with
 *    kviommu_create_vtd.ecap does for its devices.
 *  - EMEDIUMTYPE: the physical IOMMU cannot translate as the guest may ask
 *    for: its address width is below the unit's, it has no pages of 4 KiB, it cannot walk
 *    the guest's tables as kviommu_create_vtd.cap and .ecap promise, it
 *    reserves more than 16 ranges of addresses, or it says that it can force DMA
 *    to be coherent but does not. A unit of fewer kviommu_create_vtd.aw_bits may
 *    do.
 *  - what else the IOMMU's driver says when the device's group is attached to
 *    a domain.
 */
struct kviommu_attach_device {
	__u32 size;
	__u32 flags;
	__s32 device_fd;
	__u32 source_id;
};

#define KVIOMMU_ATTACH_DEVICE _IO(KVIOMMU_TYPE, KVIOMMU_CMD_ATTACH_DEVICE)

/**
 * struct kviommu_detach_device - ioctl(KVIOMMU_DETACH_DEVICE)
 * @size: sizeof(struct kviommu_detach_device)
 * @flags: Must be 0
 * @source_id: Requester ID of the device
 * @__reserved: Must be 0
 *
 * Take a device away from the unit, at any time; its DMA is blocked when this
 * returns, unless the unit keeps another device of its IOMMU group: the physical
 * IOMMU cannot tell them apart. So reset such a device before.
 *
 * Errors beside the general ones:
 *
 *  - ENOENT: the unit has no device of that requester ID.
 */
struct kviommu_detach_device {
	__u32 size;
	__u32 flags;
	__u32 source_id;
	__u32 __reserved;
};

#define KVIOMMU_DETACH_DEVICE _IO(KVIOMMU_TYPE, KVIOMMU_CMD_DETACH_DEVICE)

/**
 * enum kviommu_dma - What the DMA of a device goes through
 * @KVIOMMU_DMA_BLOCKED: Nothing: it reaches no memory
 * @KVIOMMU_DMA_IDENTITY: The IOAS: it reaches all of the guest's memory
 * @KVIOMMU_DMA_TRANSLATED: Tables of the guest
 * @KVIOMMU_DMA_TRACKED: The pages that the guest has asked for, at their guest physical
 *                       addresses
 */
enum kviommu_dma {
	KVIOMMU_DMA_BLOCKED = 0,
	KVIOMMU_DMA_IDENTITY = 1,
	KVIOMMU_DMA_TRANSLATED = 2,
	KVIOMMU_DMA_TRACKED = 3,
};

/**
 * enum kviommu_pin_scope - What is pinned because of a device
 * @KVIOMMU_PINS_NOTHING: Nothing
 * @KVIOMMU_PINS_MAPPED: The pages that are mapped for it
 * @KVIOMMU_PINS_ALL: All of the IOAS
 */
enum kviommu_pin_scope {
	KVIOMMU_PINS_NOTHING = 0,
	KVIOMMU_PINS_MAPPED = 1,
	KVIOMMU_PINS_ALL = 2,
};

/**
 * struct kviommu_get_device - ioctl(KVIOMMU_GET_DEVICE)
 * @size: sizeof(struct kviommu_get_device)
 * @flags: Must be 0
 * @source_id: Requester ID of the device
 * @out_wanted: One of &enum kviommu_dma: what the guest wants its DMA to go through
 * @out_in_force: One of &enum kviommu_dma: what it goes through
 * @out_error: Why the device does not have what @out_wanted says, or 0 if it has, or
 *             if that is KVIOMMU_DMA_BLOCKED (its DMA goes through the same as that of
 *             the other devices of its IOMMU group then): EINPROGRESS while the
 *             translation is being built; EXDEV if the guest wants different things
 *             for devices of the group, which are all blocked then; else the
 *             errno of the last attempt, for instance EDQUOT (a limit of the
 *             policy), ENOMEM (the host's memory, the memory cgroup or
 *             RLIMIT_MEMLOCK), or one of the IOMMU's driver
 * @out_fault: If the guest asks for something invalid, the reason for it as the
 *             model numbers these (VT-d: fault reason of the context entry), else
 *             0; @out_wanted is KVIOMMU_DMA_BLOCKED then
 * @out_pins: One of &enum kviommu_pin_scope: what is pinned because of it
 * @out_pinned: How many pages of 4 KiB are mapped for it, if that is
 *              KVIOMMU_PINS_MAPPED, else 0. Devices that share a guest domain share
 *              these, and so do all that are tracked behind one physical IOMMU.
 * @pasid: 0, or a PASID: then all that is said is about the device's requests with it,
 *         else about those without PASID
 * @out_next_pasid: The next greater PASID of the device that the unit knows of, or 0 if
 *                  there is none: so all are found by beginning with a @pasid of 0
 *
 * The state of a device that is attached to the unit. When KVIOMMU_EVENT_CONTROL
 * is signalled, it says for each device what became of what the guest wants.
 *
 * A PASID is known from when the guest has announced it until its entry is not present any
 * more. One that does not go through the guest's tables but reaches guest physical addresses
 * is KVIOMMU_DMA_IDENTITY, though it reaches no memory that devices may only read.
 *
 * Errors beside the general ones:
 *
 *  - ENOENT: the unit has no device of that requester ID, or does not know of @pasid.
 */
struct kviommu_get_device {
	__u32 size;
	__u32 flags;
	__u32 source_id;
	__u32 out_wanted;
	__u32 out_in_force;
	__u32 out_error;
	__u32 out_fault;
	__u32 out_pins;
	__aligned_u64 out_pinned;
	__u32 pasid;
	__u32 out_next_pasid;
};

#define KVIOMMU_GET_DEVICE _IO(KVIOMMU_TYPE, KVIOMMU_CMD_GET_DEVICE)

/**
 * struct kviommu_set_bus_master - ioctl(KVIOMMU_SET_BUS_MASTER)
 * @size: sizeof(struct kviommu_set_bus_master)
 * @flags: Must be 0
 * @source_id: Requester ID of the device
 * @on: 1 if the guest has bus mastering of the device on, that is bit 2 of the command
 *      register of its PCI configuration space, which is the VMM's; 0 if not
 *
 * It is off when a device is attached, and after KVIOMMU_RESET. With KVIOMMU_VTD_BOOT_MASTER or
 * KVIOMMU_COIOMMU_BOOT_MASTER the unit needs to know: while the guest has translation disabled,
 * or no table active, a device whose bus mastering is on reaches all of the IOAS, which pins all
 * of it, and others are blocked. So if the guest turns on translation or tracking before it uses
 * its devices, its memory is never pinned as a whole. Otherwise this has no effect.
 *
 * Call it when the guest has written the bit, before its vCPU goes on, and before the device
 * itself gets it. It takes as long as it takes to pin or unpin the memory. Success means that
 * the unit knows it: what becomes of the device KVIOMMU_GET_DEVICE says, as after
 * KVIOMMU_ATTACH_DEVICE.
 *
 * Errors beside the general ones:
 *
 *  - EINVAL: @on is neither 0 nor 1.
 *  - ENOENT: the unit has no device of that requester ID.
 */
struct kviommu_set_bus_master {
	__u32 size;
	__u32 flags;
	__u32 source_id;
	__u32 on;
};

#define KVIOMMU_SET_BUS_MASTER _IO(KVIOMMU_TYPE, KVIOMMU_CMD_SET_BUS_MASTER)

/**
 * enum kviommu_event - Events of a unit
 * @KVIOMMU_EVENT_FAULT: The guest is due the fault event interrupt, whose
 *                       message is in FEADDR, FEUADDR and FEDATA of the
 *                       register page. The unit looks at the mask bit by itself:
 *                       the event of a masked interrupt comes when the guest
 *                       unmasks it.
 * @KVIOMMU_EVENT_INVAL_COMPLETION: The guest is due the invalidation
 *                       completion event interrupt (IEADDR, IEUADDR, IEDATA).
 * @KVIOMMU_EVENT_CONTROL: Something that the VMM should look at: the guest
 *                       wrote the message registers of one of the interrupts,
 *                       the state of translation changed, a device could not
 *                       be given what the guest wants for it, or what the guest asks
 *                       for is invalid (see
 *                       KVIOMMU_GET_DEVICE), what is in force of the policy that
 *                       the VMM asked for changed (see KVIOMMU_GET_POLICY), or the
 *                       register page's memory slot is gone.
 * @KVIOMMU_EVENT_LIMIT: A translation that the guest asked for could not be
 *                       made for lack of memory or at a limit; see the statistic
 *                       "limits" and KVIOMMU_REFRESH.
 */
enum kviommu_event {
	KVIOMMU_EVENT_FAULT = 0,
	KVIOMMU_EVENT_INVAL_COMPLETION = 1,
	KVIOMMU_EVENT_CONTROL = 2,
	KVIOMMU_EVENT_LIMIT = 3,
};

/**
 * struct kviommu_set_eventfd - ioctl(KVIOMMU_SET_EVENTFD)
 * @size: sizeof(struct kviommu_set_eventfd)
 * @flags: Must be 0
 * @event: One of &enum kviommu_event
 * @fd: An eventfd, signalled for each such event, or -1 for none. It replaces the
 *      one that was set before. The VMM may make it an irqfd of the virtual
 *      machine, or wait for it itself.
 *
 * An event while there is no eventfd for it is remembered: it is signalled, once,
 * as soon as an eventfd is set. KVIOMMU_RESET forgets interrupts that were not
 * signalled.
 *
 * Errors beside the general ones:
 *
 *  - EBADF: @fd is not an open file.
 *  - EINVAL: @fd is no eventfd.
 */
struct kviommu_set_eventfd {
	__u32 size;
	__u32 flags;
	__u32 event;
	__s32 fd;
};

#define KVIOMMU_SET_EVENTFD _IO(KVIOMMU_TYPE, KVIOMMU_CMD_SET_EVENTFD)

/**
 * struct kviommu_reset - ioctl(KVIOMMU_RESET)
 * @size: sizeof(struct kviommu_reset)
 * @flags: Must be 0
 *
 * Put the registers back to their state after creation, drop all translations
 * and pins, but for those that kviommu_create_vtd.ecap asks for. Devices stay
 * attached, their DMA is as before the guest enabled translation, or activated its
 * table, with bus mastering off (KVIOMMU_SET_BUS_MASTER). Eventfds, the armed address,
 * the policy and the statistics stay. For the reset of the virtual machine, while its
 * vCPUs do not run.
 */
struct kviommu_reset {
	__u32 size;
	__u32 flags;
};

#define KVIOMMU_RESET _IO(KVIOMMU_TYPE, KVIOMMU_CMD_RESET)

/**
 * struct kviommu_get_stats_fd - ioctl(KVIOMMU_GET_STATS_FD)
 * @size: sizeof(struct kviommu_get_stats_fd)
 * @flags: Must be 0
 *
 * Returns a file descriptor to read the statistics of the unit from. It is closed
 * on exec, and may be given to another process. What is read there has the binary
 * format of KVM's statistics: a struct kvm_stats_header of <linux/kvm.h>, which
 * says where the rest is: the name of the unit in sysfs, a struct kvm_stats_desc for
 * each statistic, with name, type and unit, and the values. All but the values stays
 * the same, so that pread() of the values is all that has to be done again. The
 * values of one read are of one moment.
 *
 * Reading fails with ENODEV when the unit is closed: the descriptor does not keep
 * the unit.
 *
 * Documentation/ABI/testing/sysfs-class-kviommu describes each statistic. Programs
 * look for the names that they know; a later module may have others, and lack some.
 *
 * Errors beside the general ones:
 *
 *  - EMFILE, ENFILE: there are too many open files.
 */
struct kviommu_get_stats_fd {
	__u32 size;
	__u32 flags;
};

#define KVIOMMU_GET_STATS_FD _IO(KVIOMMU_TYPE, KVIOMMU_CMD_GET_STATS_FD)

/**
 * enum kviommu_mode - How the guest's register writes are noticed
 * @KVIOMMU_MODE_TRAP: In the exit of the vCPU that writes
 * @KVIOMMU_MODE_SIDECORE: By a thread of the host that polls the register page,
 *                         once translation and queue are enabled. Until then,
 *                         and while there is a fault or an event that the guest
 *                         has to clear, they are trapped.
 * @KVIOMMU_MODE_ADAPTIVE: As KVIOMMU_MODE_SIDECORE while the guest is busy, by a thread
 *                         of the VMM or, if the administrator allows it, of the host; and
 *                         trapped when it has not written for a while
 */
enum kviommu_mode {
	KVIOMMU_MODE_TRAP = 0,
	KVIOMMU_MODE_SIDECORE = 1,
	KVIOMMU_MODE_ADAPTIVE = 2,
};

/**
 * enum kviommu_strategy - When an unmap is complete for the guest
 * @KVIOMMU_STRATEGY_STRICT: When no device reaches memory through the old
 *                           translation any more
 * @KVIOMMU_STRATEGY_ASYNC: When the translation is gone from the tables; the
 *                          flush of the physical IOTLB follows at once, but is
 *                          not waited for
 * @KVIOMMU_STRATEGY_DEFERRED: As KVIOMMU_STRATEGY_ASYNC, but one flush is for
 *                          all that was unmapped within kviommu_policy.stale_us,
 *                          or for kviommu_policy.max_stale pages
 * @KVIOMMU_STRATEGY_OPTIMISTIC: When the guest said so: a translation of 4 KiB is
 *                          kept for kviommu_policy.stale_us in the hope that the
 *                          guest asks for the same again, but no more than
 *                          kviommu_policy.max_stale of them; none for a while if
 *                          it seldom does
 *
 * All but the first weaken the protection of the guest from its own devices, for
 * the time and the number of pages that the policy says, and no other. Memory
 * stays pinned as long as a device may reach it, and a translation that the
 * guest changes to another one is flushed before the guest goes on.
 */
enum kviommu_strategy {
	KVIOMMU_STRATEGY_STRICT = 0,
	KVIOMMU_STRATEGY_ASYNC = 1,
	KVIOMMU_STRATEGY_DEFERRED = 2,
	KVIOMMU_STRATEGY_OPTIMISTIC = 3,
};

/**
 * enum kviommu_policy_member - Bits of kviommu_policy.mask
 * @KVIOMMU_POLICY_MODE: kviommu_policy.mode
 * @KVIOMMU_POLICY_STRATEGY: kviommu_policy.strategy
 * @KVIOMMU_POLICY_MAX_PINS: kviommu_policy.max_pins
 * @KVIOMMU_POLICY_MAX_IDLE_PINS: kviommu_policy.max_idle_pins
 * @KVIOMMU_POLICY_MAX_TABLES: kviommu_policy.max_tables
 * @KVIOMMU_POLICY_MAX_DOMAINS: kviommu_policy.max_domains
 * @KVIOMMU_POLICY_MAX_MAPPED: kviommu_policy.max_mapped
 * @KVIOMMU_POLICY_MAX_STALE: kviommu_policy.max_stale
 * @KVIOMMU_POLICY_STALE_US: kviommu_policy.stale_us
 * @KVIOMMU_POLICY_IDLE_PIN_MS: kviommu_policy.idle_pin_ms
 * @KVIOMMU_POLICY_POLL_US_MIN: kviommu_policy.poll_us_min
 * @KVIOMMU_POLICY_POLL_US_MAX: kviommu_policy.poll_us_max
 * @KVIOMMU_POLICY_UNPIN_MS: kviommu_policy.unpin_ms
 * @KVIOMMU_POLICY_UNPIN_PAGES: kviommu_policy.unpin_pages
 */
enum kviommu_policy_member {
	KVIOMMU_POLICY_MODE = 1 << 0,
	KVIOMMU_POLICY_STRATEGY = 1 << 1,
	KVIOMMU_POLICY_MAX_PINS = 1 << 2,
	KVIOMMU_POLICY_MAX_IDLE_PINS = 1 << 3,
	KVIOMMU_POLICY_MAX_TABLES = 1 << 4,
	KVIOMMU_POLICY_MAX_DOMAINS = 1 << 5,
	KVIOMMU_POLICY_MAX_MAPPED = 1 << 6,
	KVIOMMU_POLICY_MAX_STALE = 1 << 7,
	KVIOMMU_POLICY_STALE_US = 1 << 8,
	KVIOMMU_POLICY_IDLE_PIN_MS = 1 << 9,
	KVIOMMU_POLICY_POLL_US_MIN = 1 << 10,
	KVIOMMU_POLICY_POLL_US_MAX = 1 << 11,
	KVIOMMU_POLICY_UNPIN_MS = 1 << 12,
	KVIOMMU_POLICY_UNPIN_PAGES = 1 << 13,
};

/**
 * enum kviommu_set_policy_flags - Bits of kviommu_policy.flags, to set it
 * @KVIOMMU_SET_POLICY_UNSET: The VMM has no wish any more for the members in @mask;
 *                            their values are ignored
 */
enum kviommu_set_policy_flags {
	KVIOMMU_SET_POLICY_UNSET = 1 << 0,
};

/**
 * enum kviommu_get_policy_flags - Bits of kviommu_policy.flags, to get it
 * @KVIOMMU_GET_POLICY_WANTED: Say what the VMM asked for, not what is in force
 */
enum kviommu_get_policy_flags {
	KVIOMMU_GET_POLICY_WANTED = 1 << 0,
};

/**
 * struct kviommu_policy - ioctl(KVIOMMU_SET_POLICY), ioctl(KVIOMMU_GET_POLICY)
 * @size: sizeof(struct kviommu_policy)
 * @flags: To set it: mask of &enum kviommu_set_policy_flags. To get it: mask of &enum
 *         kviommu_get_policy_flags
 * @mask: Mask of &enum kviommu_policy_member. To set it: the members to set, all
 *        others are ignored. To get it: is replaced by all members that the kernel
 *        knows, or, with KVIOMMU_GET_POLICY_WANTED, by those that the VMM has set;
 *        others are 0 then. What it and the members after it were is ignored then,
 *        and always will be.
 * @mode: One of &enum kviommu_mode
 * @strategy: One of &enum kviommu_strategy
 * @max_pins: How many guest pages of 4 KiB the unit may have pinned. Locked
 *            memory is limited by RLIMIT_MEMLOCK as well.
 * @max_idle_pins: How many of them may be pages that nothing uses any more,
 *                 kept for the next use
 * @max_tables: How many tables of the guest the unit may follow, and how many
 *              tables the physical IOMMU's domains may have for it; each takes
 *              about 4 KiB of the host's memory. The latter are kept until
 *              their domain goes away, though the guest unmaps what they were
 *              for.
 * @max_domains: How many guest domains there may be
 * @max_mapped: How many pages of 4 KiB all translations together may cover; a
 *              page counts as often as it is translated
 * @max_stale: How many pages of 4 KiB may wait for being taken down, or for the
 *             flush, though the guest has removed their translations
 * @stale_us: How long they may, in microseconds; it can take a little more, until
 *            a thread of the VMM gets CPU time
 * @idle_pin_ms: How long an idle pin is kept, in milliseconds; 0: for ever
 * @poll_us_min: How long at least an adaptive unit is polled without finding
 *               anything before it is trapped again, in microseconds
 * @poll_us_max: How long at most
 * @unpin_ms: How long a page that a guest of coIOMMU has asked for stays pinned without
 *            being in use, in milliseconds, up to twice as long; 0: until a limit, the host's
 *            lack of memory or KVIOMMU_RELEASE_PINS asks for it
 * @unpin_pages: How many such pages are unpinned for their age in @unpin_ms at most
 *
 * KVIOMMU_SET_POLICY says what the VMM wants; KVIOMMU_GET_POLICY says what is in
 * force. What is in force follows from what the VMM wants, what the administrator
 * of the host set for this unit in sysfs, and the parameters of the module; and it
 * follows anew when one of these changes, at any time:
 *
 *  - Limits (@max_pins, @max_idle_pins, @max_tables, @max_domains, @max_mapped,
 *    @max_stale, @stale_us, @poll_us_max, @unpin_pages): the smaller one of what the VMM wants and
 *    what the administrator set for the unit, or else the module's parameter.
 *  - @strategy, @idle_pin_ms, @poll_us_min and @unpin_ms: what the administrator set for the
 *    unit; if nothing, what the VMM wants; if nothing, the parameter. Of @poll_us_min
 *    no more than @poll_us_max is in force.
 *  - @mode: the same, but a mode that the VMM wants must be one that the
 *    administrator allows (the parameter "modes"), and one that is possible now. If
 *    it is not, a sidecore unit is adaptive, and if that is not allowed trapped; an
 *    adaptive unit is trapped.
 *
 * Of @stale_us, @poll_us_min and @poll_us_max no more than an hour is ever in force,
 * whoever sets more.
 *
 * So the VMM can want what is not allowed now; it comes into force when it is.
 * When something that the VMM wants comes into force, or no longer is,
 * KVIOMMU_EVENT_CONTROL is signalled, unless that is by the VMM's own call.
 *
 * What exists already stays when a limit is lowered below it, but for idle pins and
 * stale translations.
 *
 * Errors of KVIOMMU_SET_POLICY beside the general ones, on which nothing changes:
 *
 *  - EINVAL: both are set, and @poll_us_min is above @poll_us_max; or @mask names
 *    a member that is beyond @size.
 *  - EOPNOTSUPP: an unknown bit of @mask, mode or strategy.
 */
struct kviommu_policy {
	__u32 size;
	__u32 flags;
	__aligned_u64 mask;
	__u32 mode;
	__u32 strategy;
	__aligned_u64 max_pins;
	__aligned_u64 max_idle_pins;
	__aligned_u64 max_tables;
	__aligned_u64 max_domains;
	__aligned_u64 max_mapped;
	__aligned_u64 max_stale;
	__aligned_u64 stale_us;
	__aligned_u64 idle_pin_ms;
	__aligned_u64 poll_us_min;
	__aligned_u64 poll_us_max;
	__aligned_u64 unpin_ms;
	__aligned_u64 unpin_pages;
};

#define KVIOMMU_SET_POLICY _IO(KVIOMMU_TYPE, KVIOMMU_CMD_SET_POLICY)
#define KVIOMMU_GET_POLICY _IO(KVIOMMU_TYPE, KVIOMMU_CMD_GET_POLICY)

/**
 * struct kviommu_refresh - ioctl(KVIOMMU_REFRESH)
 * @size: sizeof(struct kviommu_refresh)
 * @flags: Must be 0
 *
 * Try again what could not be translated, because the IOAS had no such memory,
 * or a limit was reached: to be called after memory was added to the IOAS at
 * addresses that the guest may have in use, or a limit was raised. Otherwise
 * such a translation is tried again when the guest changes it or, if it is of
 * 4 KiB, invalidates it; but not many of them at once. That goes for parts of large
 * leaves, too, that the IOAS lost and got back. Translations that exist are not
 * touched.
 *
 * All of the guest's memory, as nested translation needs it, is looked for again each second if
 * there was not enough memory or a limit was reached, without this ioctl.
 *
 * A guest of coIOMMU whose pages the IOAS has lost is told so, unless it has parked the unit.
 * Call this after such memory was added again, before the guest may use it.
 *
 * What cannot be translated this time counts as an error again, and signals
 * KVIOMMU_EVENT_LIMIT again if a limit was the reason: do not call this just because
 * of that event, but when there is something to be had.
 */
struct kviommu_refresh {
	__u32 size;
	__u32 flags;
};

#define KVIOMMU_REFRESH _IO(KVIOMMU_TYPE, KVIOMMU_CMD_REFRESH)

/**
 * struct kviommu_release_pins - ioctl(KVIOMMU_RELEASE_PINS)
 * @size: sizeof(struct kviommu_release_pins)
 * @flags: Must be 0
 * @gpa: Guest physical address of the first page, in bytes, a multiple of 4096
 * @length: How many bytes, a multiple of 4096 and not 0
 * @out_in_use: How many pages of 4 KiB of these are in use and stay pinned
 *
 * Give pins of guest memory back now, whose pages the VMM is about to discard or
 * to replace: for those that the guest gave to a balloon, or reported to be free.
 * When this returns no page of the range is pinned that nothing uses, and all
 * translations of the unit that the guest removed are taken down and flushed, so
 * that they use none.
 *
 * A page is in use if a translation leads to it, or if it is a table of the guest
 * that the unit follows. A page that a guest of coIOMMU has asked for is in use if its
 * word in the table says so, or while the guest has parked the unit. The VMM should not
 * discard pages of a range where there are such: devices would go on with the memory of
 * before, not with that which the guest sees. It may ask for smaller ranges to find out
 * which they are, but for pages that it gave away a guest has no reason to have any. When
 * a device
 * reaches the whole IOAS (the statistic "identity_devices" is not 0), or might by first-stage
 * tables (of a unit that has scalable mode, and a device), all of the range counts as in use,
 * also what the IOAS does not have.
 *
 * The answer holds as long as the guest maps no page of the range. The range may
 * be larger than what the IOAS has, or have been unmapped from it.
 *
 * Errors beside the general ones:
 *
 *  - EINVAL: @gpa or @length is not a multiple of 4096, @length is 0, or the range
 *    goes beyond the end of 64 bits.
 */
struct kviommu_release_pins {
	__u32 size;
	__u32 flags;
	__aligned_u64 gpa;
	__aligned_u64 length;
	__aligned_u64 out_in_use;
};

#define KVIOMMU_RELEASE_PINS _IO(KVIOMMU_TYPE, KVIOMMU_CMD_RELEASE_PINS)

#endif /* _UAPI_LINUX_KVIOMMU_H */
