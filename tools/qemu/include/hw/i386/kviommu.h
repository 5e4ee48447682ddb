/*
 * kviommu: the virtual IOMMU of the host kernel behind intel-iommu
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

/**
 * KVIOMMUOptions: policy of the unit, as struct kviommu_policy has it
 *
 * A name that is NULL and a number that is UINT64_MAX leave what the host's
 * administrator chose.
 */
typedef struct KVIOMMUOptions {
    char *mode;
    char *strategy;
    uint64_t max_pins;
    uint64_t max_idle_pins;
    uint64_t max_tables;
    uint64_t max_domains;
    uint64_t max_mapped;
    uint64_t max_stale;
    uint64_t stale_us;
    uint64_t idle_pin_ms;
} KVIOMMUOptions;

#define DEFINE_KVIOMMU_OPTION(_name, _state, _field) \
    DEFINE_PROP_UINT64("kviommu-" _name, _state, _field, UINT64_MAX)

/* The properties of a device with these options in @_field of @_state */
#define DEFINE_KVIOMMU_OPTIONS(_state, _field) \
    DEFINE_PROP_STRING("kviommu-mode", _state, _field.mode), \
    DEFINE_PROP_STRING("kviommu-strategy", _state, _field.strategy), \
    DEFINE_KVIOMMU_OPTION("max-pins", _state, _field.max_pins), \
    DEFINE_KVIOMMU_OPTION("max-idle-pins", _state, _field.max_idle_pins), \
    DEFINE_KVIOMMU_OPTION("max-tables", _state, _field.max_tables), \
    DEFINE_KVIOMMU_OPTION("max-domains", _state, _field.max_domains), \
    DEFINE_KVIOMMU_OPTION("max-mapped", _state, _field.max_mapped), \
    DEFINE_KVIOMMU_OPTION("max-stale", _state, _field.max_stale), \
    DEFINE_KVIOMMU_OPTION("stale-us", _state, _field.stale_us), \
    DEFINE_KVIOMMU_OPTION("idle-pin-ms", _state, _field.idle_pin_ms)

/**
 * kviommu_check_options: judge the options of an intel-iommu device
 *
 * To be called before the device's other options get their defaults. With
 * kviommu=on sets the options that are implied, and refuses those that do not
 * go together with it; without it refuses those that need it.
 *
 * Returns: false with @errp set if the options are refused.
 */
bool kviommu_check_options(IntelIOMMUState *s, Error **errp);

/**
 * kviommu_new: make the unit of this virtual machine
 *
 * Opens /dev/kviommu, creates the unit for this VM, takes cap and ecap of @s
 * from it, puts its register page into system memory and begins to keep the
 * IOAS of guest physical addresses in step with the memory map.
 *
 * Returns: NULL with @errp set on failure.
 */
KVIOMMUState *kviommu_new(IntelIOMMUState *s, Error **errp);

/* What the guest sees in a register now */
uint32_t kviommu_read_long(KVIOMMUState *k, hwaddr reg);
uint64_t kviommu_read_quad(KVIOMMUState *k, hwaddr reg);

/**
 * kviommu_get_address_space: what VFIO is to map for an assigned device
 *
 * Returns: an address space without memory if there is an assigned device at
 * that place, NULL for devices that QEMU emulates.
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

/* Take a device back from the unit; its DMA is blocked then */
void kviommu_detach_device(KVIOMMUState *k, PCIBus *bus, int devfn);

/* End QEMU if the assigned device @pdev did not get behind the unit */
void kviommu_require_device(KVIOMMUState *k, PCIDevice *pdev);

/* Put the unit back to its state after creation */
void kviommu_reset(KVIOMMUState *k);

#endif
