/*
 * kviommu: what the devices share that have a unit of the host kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_I386_KVIOMMU_INTERNAL_H
#define HW_I386_KVIOMMU_INTERNAL_H

#include <linux/kviommu.h>

#include "qemu/event_notifier.h"
#include "exec/memory.h"
#include "hw/i386/kviommu.h"
#include "hw/pci/pci.h"
#include "migration/blocker.h"
#include "system/iommufd.h"

#define KVIOMMU_NO_SOURCE   (-1)
#define KVIOMMU_NR_EVENTS   (KVIOMMU_EVENT_LIMIT + 1)

typedef struct VFIODevice VFIODevice;

/* An assigned device that is behind the unit */
typedef struct KVIOMMUDevice {
    VFIODevice *vdev;
    PCIBus *bus;
    uint8_t devfn;
    int source_id;      /* as the unit knows it, or KVIOMMU_NO_SOURCE */
    bool bus_master;    /* as the unit knows it */
    bool warned;        /* the guest may cause failures: report only one */
    bool blocked_reported;
    QLIST_ENTRY(KVIOMMUDevice) next;
} KVIOMMUDevice;

/* A number of the policy that is an option of the device */
typedef struct KVIOMMUNumber {
    const char *name;
    size_t option;              /* offset in KVIOMMUOptions */
    size_t policy;              /* offset in struct kviommu_policy */
    uint64_t member;            /* one of enum kviommu_policy_member */
} KVIOMMUNumber;

#define KVIOMMU_NUMBER(_name, _field, _member) \
    { _name, offsetof(KVIOMMUOptions, _field), \
      offsetof(struct kviommu_policy, _field), KVIOMMU_POLICY_##_member },

/**
 * KVIOMMUOps: what the device that has the unit does in its own way
 * @device: its name on the command line, for messages
 * @model: one of enum kviommu_model_type
 * @model_name: the same, for messages
 * @numbers: those of the policy that are options, up to one without a name
 * @events: what is to be done when an event is signalled, or NULL
 * @covers: whether the assigned device @pdev is to be behind the unit
 * @map_pages: map what the unit has besides the register page, or NULL. Returns
 *             false with @errp set and nothing mapped.
 * @refusal: why the unit may refuse a device, or block it, with the error @err,
 *           as a message says it after a colon, or NULL; may set @hint
 * @attach_first: attach a device for the first time; NULL: with no way out if
 *                it is refused. Returns 0 or a negative errno with @errp set.
 */
typedef struct KVIOMMUOps {
    const char *device;
    uint32_t model;
    const char *model_name;
    const KVIOMMUNumber *numbers;
    EventNotifierHandler *events[KVIOMMU_NR_EVENTS];
    bool (*covers)(KVIOMMUState *k, PCIDevice *pdev);
    bool (*map_pages)(KVIOMMUState *k, Error **errp);
    const char *(*refusal)(KVIOMMUState *k, int err, const char **hint);
    int (*attach_first)(KVIOMMUState *k, KVIOMMUDevice *d, int source_id,
                        Error **errp);
} KVIOMMUOps;

/**
 * KVIOMMUState: a unit of the host kernel
 *
 * To be allocated by itself, and not to be freed once kviommu_realize() has
 * begun. Set by the device before that: all up to @boot_master.
 */
struct KVIOMMUState {
    const KVIOMMUOps *ops;
    Object *owner;              /* the device */
    IOMMUFDBackend *be;
    const KVIOMMUOptions *options;
    uint8_t aw_bits;
    const void *args;           /* the model's blob for KVIOMMU_CREATE */
    size_t args_len;
    bool boot_master;           /* the unit wants to know of bus mastering */

    int fd;
    uint32_t ioas_id;

    void *page;                 /* the register page */
    MemoryRegion page_mr;
    bool arm_pending;
    hwaddr arm_gpa;

    MemoryListener listener;
    GArray *wanted;     /* KVIOMMURange: what the memory map has */
    GArray *mapped;     /* KVIOMMURange: what the IOAS has */
    Error *error;       /* of the listener, until kviommu_realize() returns */
    bool initialized;
    bool started;       /* the devices were attached for the first time */

    MemoryRegion vfio_root;
    MemoryRegion vfio_msi;
    AddressSpace vfio_as;
    QLIST_HEAD(, KVIOMMUDevice) devices;
    Notifier bus_num_notifier;

    EventNotifier events[KVIOMMU_NR_EVENTS];
    Error *migration_blocker;
};

/**
 * kviommu_given_number: the option of a number of the policy that was given
 *
 * Returns: NULL if there is none.
 */
const char *kviommu_given_number(const KVIOMMUOps *ops,
                                 const KVIOMMUOptions *o);

/**
 * kviommu_open: open a file that can become a unit
 *
 * Returns: the file descriptor, or -1 with @errp set.
 */
int kviommu_open(Error **errp);

/**
 * kviommu_get_info: ask the host what it has of the model of k->ops
 * @info: filled in, the blob of KVIOMMU_GET_INFO, of @len bytes
 *
 * Returns: false with @errp set on failure, or if it has no such model.
 */
bool kviommu_get_info(KVIOMMUState *k, void *info, size_t len, Error **errp);

/**
 * kviommu_make: make the file @fd the unit, and its page the register page
 *
 * If there was another unit it ends with its file.
 */
bool kviommu_make(KVIOMMUState *k, int fd, Error **errp);

/**
 * kviommu_choose_boot: what devices reach while the guest has translation off
 * @option: the name of the option for it, for messages
 * @value: its value, or NULL
 * @offered: flags that the model has
 * @flags: set to those that are wanted, for both models
 *
 * Returns: false with @errp set if there is no such choice.
 */
bool kviommu_choose_boot(KVIOMMUState *k, const char *option,
                         const char *value, uint32_t offered, uint32_t *flags,
                         Error **errp);

/* Have the kernel track the register page; its memory slot must be there. */
bool kviommu_arm(KVIOMMUState *k, Error **errp);

/**
 * kviommu_realize: make the unit of this virtual machine
 * @parent: where the register page is in, at @offset
 *
 * Creates the unit in k->fd, puts its register page into the guest's memory and
 * begins to keep the IOAS of guest physical addresses in step with the memory
 * map.
 *
 * Returns: false with @errp set on failure.
 */
bool kviommu_realize(KVIOMMUState *k, MemoryRegion *parent, hwaddr offset,
                     Error **errp);

/* Attach @d. Returns: 0, or a negative errno with @errp set */
int kviommu_ioctl_attach(KVIOMMUState *k, KVIOMMUDevice *d, int source_id,
                         Error **errp);

/* Events that all models have */
void kviommu_control_event(EventNotifier *n);
void kviommu_limit_event(EventNotifier *n);

#endif
