/*
 * kviommu: units of the host kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_I386_KVIOMMU_H
#define HW_I386_KVIOMMU_H

#include "exec/memory.h"
#include "hw/pci/pci.h"
#include "system/iommufd.h"

typedef struct IntelIOMMUState IntelIOMMUState;
typedef struct KVIOMMUState KVIOMMUState;

/*
 * Numbers of the policy: name of the option, member of struct kviommu_policy,
 * bit. Those that both devices have as options, and those of either.
 */
#define KVIOMMU_COMMON_NUMBERS(X) \
    X("max-pins", max_pins, MAX_PINS) \
    X("max-idle-pins", max_idle_pins, MAX_IDLE_PINS) \
    X("idle-pin-ms", idle_pin_ms, IDLE_PIN_MS)
#define KVIOMMU_VTD_NUMBERS(X) \
    X("max-tables", max_tables, MAX_TABLES) \
    X("max-domains", max_domains, MAX_DOMAINS) \
    X("max-mapped", max_mapped, MAX_MAPPED) \
    X("max-stale", max_stale, MAX_STALE) \
    X("stale-us", stale_us, STALE_US) \
    X("poll-us-min", poll_us_min, POLL_US_MIN) \
    X("poll-us-max", poll_us_max, POLL_US_MAX)
#define KVIOMMU_TRACKER_NUMBERS(X) \
    X("unpin-ms", unpin_ms, UNPIN_MS) \
    X("unpin-pages", unpin_pages, UNPIN_PAGES)
#define KVIOMMU_NUMBERS(X) \
    KVIOMMU_COMMON_NUMBERS(X) \
    KVIOMMU_VTD_NUMBERS(X) \
    KVIOMMU_TRACKER_NUMBERS(X)

#define KVIOMMU_OPTION(_name, _field, _member) uint64_t _field;

/**
 * KVIOMMUOptions: policy that is wanted, as in struct kviommu_policy
 *
 * A name that is NULL and a number that is UINT64_MAX leave what the host's
 * administrator chose. Numbers that are no option of the device mean nothing.
 */
typedef struct KVIOMMUOptions {
    char *mode;
    char *strategy;
    KVIOMMU_NUMBERS(KVIOMMU_OPTION)
} KVIOMMUOptions;

#define DEFINE_KVIOMMU_OPTION(_name, _field, _member) \
    DEFINE_PROP_UINT64("kviommu-" _name, IntelIOMMUState, \
                       kviommu_options._field, UINT64_MAX),

/* The properties of an intel-iommu device with these options */
#define DEFINE_KVIOMMU_OPTIONS \
    DEFINE_PROP_STRING("kviommu-mode", IntelIOMMUState, \
                       kviommu_options.mode), \
    KVIOMMU_COMMON_NUMBERS(DEFINE_KVIOMMU_OPTION) \
    KVIOMMU_VTD_NUMBERS(DEFINE_KVIOMMU_OPTION) \
    DEFINE_PROP_STRING("kviommu-strategy", IntelIOMMUState, \
                       kviommu_options.strategy)

/**
 * kviommu_vtd_check_options: judge the options of an intel-iommu device
 *
 * To be called before the device's other options get their defaults. With
 * kviommu=on sets the options that are implied, and refuses those that do not
 * go together with it; without it refuses those that need it.
 *
 * Returns: false with @errp set if the options are refused.
 */
bool kviommu_vtd_check_options(IntelIOMMUState *s, Error **errp);

/**
 * kviommu_vtd_new: make the unit of an intel-iommu device
 *
 * Takes cap and ecap of @s from it.
 *
 * Returns: NULL with @errp set on failure.
 */
KVIOMMUState *kviommu_vtd_new(IntelIOMMUState *s, Error **errp);

/* What the guest sees in a register now */
uint32_t kviommu_read_long(KVIOMMUState *k, hwaddr reg);
uint64_t kviommu_read_quad(KVIOMMUState *k, hwaddr reg);

/**
 * kviommu_get_address_space: what VFIO is to map for an assigned device
 *
 * Returns: an address space without memory if there is a device at that place
 * that is to be behind the unit, NULL for others.
 */
AddressSpace *kviommu_get_address_space(KVIOMMUState *k, PCIBus *bus,
                                        int devfn);

/**
 * kviommu_attach_device: hand a device that VFIO just attached to the unit
 *
 * Returns: false with @errp set on failure; its DMA is blocked then.
 */
bool kviommu_attach_device(KVIOMMUState *k, PCIBus *bus, int devfn,
                           HostIOMMUDevice *hiod, Error **errp);

/* Take a device back if it is behind the unit; its DMA is blocked then */
void kviommu_detach_device(KVIOMMUState *k, PCIBus *bus, int devfn);

/* End QEMU if the assigned device @pdev did not get behind the unit */
void kviommu_require_device(KVIOMMUState *k, PCIDevice *pdev);

/* Put the unit back to its state after creation */
void kviommu_reset(KVIOMMUState *k);

#endif
