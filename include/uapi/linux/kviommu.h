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
 * bytes as userspace knows it; the structures may grow at their end. Members
 * whose names begin with out_ are written by the kernel.
 *
 * These errors mean the same in every ioctl:
 *
 *  - ENOTTY: the ioctl is not known.
 *  - E2BIG: the structure is larger than known here and not zero beyond that.
 *  - EINVAL: the structure is too small, a reserved member is not zero, or a
 *    value is outside what is documented.
 *  - EOPNOTSUPP: a flag, or a value of an enumeration, that is not known or
 *    not supported on this host.
 *  - EFAULT: the structure cannot be read or written.
 *  - ENODEV: the unit has not been created yet.
 *  - EPERM: the caller's address space is not the one that created the unit.
 *  - ENOMEM: the host's memory, or the caller's memory cgroup, is exhausted.
 *  - EINTR: a fatal signal is pending.
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
	KVIOMMU_CMD_GET_STATS = 0x07,
	KVIOMMU_CMD_SET_POLICY = 0x08,
	KVIOMMU_CMD_GET_POLICY = 0x09,
	KVIOMMU_CMD_REFRESH = 0x0a,
	KVIOMMU_CMD_RELEASE_PINS = 0x0b,
};

/**
 * enum kviommu_model_type - What the guest sees
 * @KVIOMMU_MODEL_VTD: Intel VT-d remapping hardware, legacy mode, with caching
 *                     mode and queued invalidation, without interrupt
 *                     remapping. The register page is one page of 4 KiB.
 */
enum kviommu_model_type {
	KVIOMMU_MODEL_VTD = 1,
};

/**
 * enum kviommu_info_features - Bits of kviommu_info.out_features
 * @KVIOMMU_FEATURE_TRAP: Trap mode: the guest's register writes are handled in
 *                        the vCPU's own exit, in the kernel.
 * @KVIOMMU_FEATURE_POLL: Sidecore and adaptive mode: the register page is plain
 *                        memory of the guest that a thread of the host polls.
 */
enum kviommu_info_features {
	KVIOMMU_FEATURE_TRAP = 1 << 0,
	KVIOMMU_FEATURE_POLL = 1 << 1,
};

/**
 * struct kviommu_info - ioctl(KVIOMMU_GET_INFO)
 * @size: sizeof(struct kviommu_info)
 * @flags: Must be 0
 * @out_api_version: KVIOMMU_API_VERSION of this module
 * @out_models: Bit (1 << model) for each &enum kviommu_model_type supported
 * @out_features: Mask of &enum kviommu_info_features
 * @out_max_devices: How many devices one unit takes
 * @out_page_size: Size in bytes of the register page, for mmap() at offset 0
 *
 * What this host offers. Needs no unit.
 */
struct kviommu_info {
	__u32 size;
	__u32 flags;
	__u32 out_api_version;
	__u32 out_models;
	__aligned_u64 out_features;
	__u32 out_max_devices;
	__u32 out_page_size;
};

#define KVIOMMU_GET_INFO _IO(KVIOMMU_TYPE, KVIOMMU_CMD_GET_INFO)

/**
 * enum kviommu_create_flags - Bits of kviommu_create.flags
 * @KVIOMMU_CREATE_BOOT_IDENTITY: While the guest has translation disabled,
 *                                devices reach all of the IOAS at the guest
 *                                physical address, which pins all of it. For
 *                                firmware that boots from an assigned device.
 *                                Without this flag such DMA is blocked.
 */
enum kviommu_create_flags {
	KVIOMMU_CREATE_BOOT_IDENTITY = 1 << 0,
};

/**
 * struct kviommu_create - ioctl(KVIOMMU_CREATE)
 * @size: sizeof(struct kviommu_create)
 * @flags: Mask of &enum kviommu_create_flags
 * @kvm_fd: File descriptor of the KVM virtual machine
 * @iommufd: File descriptor of the iommufd context
 * @ioas_id: ID of an IOAS of @iommufd that maps guest physical addresses to
 *           the VMM's memory. No device may be attached to it by the VMM:
 *           that would pin all of the guest's memory.
 * @model: One of &enum kviommu_model_type
 * @aw_bits: Width in bits of the I/O virtual addresses, from 39 (tables of 3
 *           levels) to 57; from 40 on tables may have 4 levels too, from 49 on 5
 * @__reserved: Must be 0
 * @out_cap: The capability register that the guest will see
 * @out_ecap: The extended capability register that the guest will see
 *
 * Make this file a unit of that virtual machine. The unit keeps references to
 * the three objects until the file is closed.
 *
 * Errors beside the general ones:
 *
 *  - EBUSY: this file is a unit already, or another thread makes it one.
 *  - EBADF: @kvm_fd or @iommufd is not an open file.
 *  - EINVAL: @kvm_fd is no KVM virtual machine, @iommufd no iommufd, or
 *    @aw_bits is none of the documented values.
 *  - EPERM: the virtual machine belongs to another process.
 *  - ENOENT: the iommufd has no IOAS of that ID.
 *  - EOPNOTSUPP: an unknown model, or the virtual machine is of a type whose
 *    memory is encrypted or whose registers are protected: its tables could not
 *    be read, nor its writes emulated.
 */
struct kviommu_create {
	__u32 size;
	__u32 flags;
	__s32 kvm_fd;
	__s32 iommufd;
	__u32 ioas_id;
	__u32 model;
	__u32 aw_bits;
	__u32 __reserved;
	__aligned_u64 out_cap;
	__aligned_u64 out_ecap;
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
 * read-only one) at @gpa. To be called again whenever the slot was deleted and
 * made anew, at the same or another address; doing so without need is
 * harmless. What the guest wrote meanwhile is handled as far as the page
 * still shows it, but the VMM should not let the guest run then.
 *
 * Errors beside the general ones:
 *
 *  - EINVAL: @gpa is not page aligned, or no memory slot covers it, or a
 *    read-only one.
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
 * guest's tables say for @source_id. Allowed at any time, also while the guest
 * runs. The unit keeps the device open until it is detached or the unit is
 * closed; meanwhile userspace must not attach it to anything else. Devices of
 * one IOMMU group belong to one unit; while the guest wants different things for
 * them, all are blocked.
 *
 * Success means that the device is behind the unit. If what the guest wants for
 * it cannot be done, its DMA is blocked, KVIOMMU_EVENT_CONTROL is signalled, and
 * KVIOMMU_REFRESH tries again.
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
 *  - EMEDIUMTYPE: the physical IOMMU cannot translate as the guest may ask
 *    for: its address width is below the unit's, it has no pages of 4 KiB, or
 *    it says that it can force DMA to be coherent but does not. A unit of
 *    fewer kviommu_create.aw_bits may do.
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
 * Take a device away from the unit; its DMA is blocked when this returns, unless
 * the unit keeps another device of its IOMMU group: the physical IOMMU cannot
 * tell them apart.
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
 * enum kviommu_event - Events of a unit
 * @KVIOMMU_EVENT_FAULT: The guest is due the fault event interrupt, whose
 *                       message is in FEADDR, FEUADDR and FEDATA of the
 *                       register page.
 * @KVIOMMU_EVENT_INVAL_COMPLETION: The guest is due the invalidation
 *                       completion event interrupt (IEADDR, IEUADDR, IEDATA).
 * @KVIOMMU_EVENT_CONTROL: Something that the VMM should look at: the guest
 *                       wrote the message registers of one of the interrupts,
 *                       the state of translation changed, a device could not
 *                       be given what the guest wants for it, or the register
 *                       page's memory slot is gone.
 * @KVIOMMU_EVENT_LIMIT: A translation that the guest asked for could not be
 *                       made for lack of memory or at a limit; see
 *                       kviommu_stats.out_limits and KVIOMMU_REFRESH.
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
 * @fd: An eventfd, signalled for each such event, or -1 for none. The VMM may
 *      make it an irqfd of the virtual machine, or wait for it itself.
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
 * and pins. Devices stay attached, their DMA is as before the guest enabled
 * translation. For the reset of the virtual machine.
 */
struct kviommu_reset {
	__u32 size;
	__u32 flags;
};

#define KVIOMMU_RESET _IO(KVIOMMU_TYPE, KVIOMMU_CMD_RESET)

#define KVIOMMU_LATENCY_BUCKETS	20

/**
 * struct kviommu_stats - ioctl(KVIOMMU_GET_STATS)
 * @size: sizeof(struct kviommu_stats)
 * @flags: Must be 0
 * @out_reg_writes: Register writes of the guest that were handled
 * @out_descriptors: Invalidation descriptors of the guest that were handled
 * @out_batches: Times that descriptors were fetched from the queue
 * @out_maps: Translations entered into shadow tables, in leaf entries
 * @out_unmaps: Translations removed from shadow tables, in leaf entries
 * @out_syncs: Flushes of a physical IOTLB
 * @out_faults: Faults and queue errors reported to the guest, or lost to
 *              overflow
 * @out_errors: What the guest asked for and did not get: translations to memory
 *              that is no guest RAM, lacks the permission, or could not be
 *              pinned or mapped; devices that stay blocked; queues and tables
 *              that cannot be read
 * @out_pin_hits: Lookups in the pin cache that found the page pinned
 * @out_pin_misses: Lookups that had to pin the page
 * @out_pinned: Guest pages of 4 KiB pinned by the unit now
 * @out_pinned_peak: The highest value of @out_pinned
 * @out_mapped: Pages of 4 KiB mapped now, in all shadow tables
 * @out_domains: Guest domains that have a shadow domain now
 * @out_devices: Devices attached now
 * @out_identity_devices: Devices of those that reach the whole IOAS, because
 *                        the guest uses pass-through. The IOAS is pinned by
 *                        iommufd then; that is not part of @out_pinned.
 * @out_table_bytes: Memory of the host used for shadow copies, spare tables of
 *                   such, and pin cache
 * @out_limits: Those of @out_errors that a limit or lack of memory caused
 * @out_iommu_tables: Tables that the physical IOMMU's domains may have by now;
 *                    they are kept until a domain goes away
 * @out_polls: How often the unit went from trapping to polling
 * @out_polled: 1 while the guest's register writes are polled, 0 while they are
 *              trapped; the first of those that are polled may be trapped besides
 * @out_polled_ns: How long it was polled, in ns
 * @out_overcommits: How often that ended because the CPU of the polling thread had
 *                   other things to do
 * @out_idle: Pages of @out_pinned that nothing uses
 * @out_reclaims: Idle pins that were given back for their age, for memory
 *                pressure, or because the VMM asked
 * @out_stale: Pages of 4 KiB whose translation the guest removed, and that are
 *             not yet taken down and flushed
 * @out_stale_peak: The highest value of @out_stale
 * @out_stale_ns_max: The longest time after which one was taken down and flushed,
 *                    in ns
 * @out_reuses: Translations that were kept, and asked for again
 * @out_pool_ns: How much time shared polling threads spent on what the guest asked for,
 *               in ns
 * @out_latency: How often it took how long from the moment that descriptors in
 *               the queue were seen until all were handled: in element n less than
 *               2^(n + 10) ns, in the last one whatever took longer
 */
struct kviommu_stats {
	__u32 size;
	__u32 flags;
	__aligned_u64 out_reg_writes;
	__aligned_u64 out_descriptors;
	__aligned_u64 out_batches;
	__aligned_u64 out_maps;
	__aligned_u64 out_unmaps;
	__aligned_u64 out_syncs;
	__aligned_u64 out_faults;
	__aligned_u64 out_errors;
	__aligned_u64 out_pin_hits;
	__aligned_u64 out_pin_misses;
	__aligned_u64 out_pinned;
	__aligned_u64 out_pinned_peak;
	__aligned_u64 out_mapped;
	__aligned_u64 out_domains;
	__aligned_u64 out_devices;
	__aligned_u64 out_identity_devices;
	__aligned_u64 out_table_bytes;
	__aligned_u64 out_limits;
	__aligned_u64 out_iommu_tables;
	__aligned_u64 out_polls;
	__aligned_u64 out_polled;
	__aligned_u64 out_polled_ns;
	__aligned_u64 out_overcommits;
	__aligned_u64 out_idle;
	__aligned_u64 out_reclaims;
	__aligned_u64 out_stale;
	__aligned_u64 out_stale_peak;
	__aligned_u64 out_stale_ns_max;
	__aligned_u64 out_reuses;
	__aligned_u64 out_pool_ns;
	__aligned_u64 out_latency[KVIOMMU_LATENCY_BUCKETS];
};

#define KVIOMMU_GET_STATS _IO(KVIOMMU_TYPE, KVIOMMU_CMD_GET_STATS)

/**
 * enum kviommu_mode - How the guest's register writes are noticed
 * @KVIOMMU_MODE_TRAP: In the exit of the vCPU that writes
 * @KVIOMMU_MODE_SIDECORE: By a thread of the host that polls the register page,
 *                         once translation and queue are enabled. Until then,
 *                         and while there is a fault or an event that the guest
 *                         has to clear, they are trapped.
 * @KVIOMMU_MODE_ADAPTIVE: As KVIOMMU_MODE_SIDECORE while the guest is busy, and
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
 * struct kviommu_policy - ioctl(KVIOMMU_SET_POLICY), ioctl(KVIOMMU_GET_POLICY)
 * @size: sizeof(struct kviommu_policy)
 * @flags: Must be 0
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
 * @poll_us_min: How long at least an adaptive unit is polled in vain before it is
 *               trapped again, in microseconds
 * @poll_us_max: How long at most
 *
 * KVIOMMU_SET_POLICY takes all values at once, KVIOMMU_GET_POLICY says what is
 * in force. All begin at the defaults of the host (parameters of the module).
 * The limits, and the times @stale_us and @poll_us_max, can only be lowered below
 * those of the host, of which @idle_pin_ms is none. What exists already stays when
 * a limit is lowered below it, but for idle pins and stale translations.
 *
 * Errors beside the general ones:
 *
 *  - EINVAL: a limit is above the host's, or @poll_us_min above @poll_us_max.
 *  - EOPNOTSUPP: an unknown mode or strategy.
 */
struct kviommu_policy {
	__u32 size;
	__u32 flags;
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
 * 4 KiB, invalidates it; but not many of them at once.
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
 * that the unit follows. The VMM should not discard pages of a range where there
 * are such: devices would go on with the memory of before, not with that which
 * the guest sees. It may ask for smaller ranges to find out which they are, but
 * for pages that it gave away a guest has no reason to have any. When a device
 * reaches the whole IOAS (kviommu_stats.out_identity_devices is not 0) all of the
 * range counts as in use, also what the IOAS does not have.
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
