/*
 * kviommu-tracker: the coIOMMU device, whose unit is in the host kernel
 *
 * A guest that remaps nothing keeps a table of the pages that are in use for
 * DMA, and asks for those that are not pinned. The PCI function is the one that
 * crosvm has, so that drivers for it work:
 *
 *   BAR 0  registers: the unit's register page, and a second page that is empty
 *   BAR 2  requests, a slot for each CPU of the guest
 *   BAR 4  the devices that are tracked, which the guest may only read
 *
 * All of these are pages of the unit. Assigned devices that it covers go
 * through the unit; emulated ones, and assigned ones that it does not cover,
 * reach memory as without it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/mman.h>

#include "qemu/error-report.h"
#include "qemu/host-utils.h"
#include "qapi/error.h"
#include "exec/address-spaces.h"
#include "hw/boards.h"
#include "hw/i386/pc.h"
#include "hw/i386/x86.h"
#include "hw/pci/pci_bus.h"
#include "hw/qdev-properties.h"
#include "hw/vfio/pci.h"
#include "system/kvm.h"
#include "system/system.h"
#include "kviommu_internal.h"
#include "trace.h"

#define TYPE_KVIOMMU_TRACKER "kviommu-tracker"
OBJECT_DECLARE_SIMPLE_TYPE(KVIOMMUTracker, KVIOMMU_TRACKER)

#define TRACKER_VENDOR_ID   0x1234
#define TRACKER_DEVICE_ID   0xabcd
#define TRACKER_REVISION    0x10
#define TRACKER_CLASS       0xffff  /* other, other */
#define TRACKER_BAR_SIZE    0x2000

struct KVIOMMUTracker {
    PCIDevice parent_obj;

    IOMMUFDBackend *iommufd;
    char *boot;
    char *devices;
    KVIOMMUOptions options;

    char **covered;             /* IDs of devices, or NULL: all */
    KVIOMMUState *unit;
    struct kviommu_coiommu_info info;
    struct kviommu_create_coiommu args;
    Notifier machine_done;

    void *requests_pages;
    void *topology_pages;
    MemoryRegion registers;
    MemoryRegion requests;
    MemoryRegion topology;
};

/* Options */

static const KVIOMMUNumber tracker_numbers[] = {
    KVIOMMU_COMMON_NUMBERS(KVIOMMU_NUMBER)
    KVIOMMU_TRACKER_NUMBERS(KVIOMMU_NUMBER)
    {}
};

static bool tracker_check_options(KVIOMMUTracker *t, Error **errp)
{
    PCIBus *bus = pci_get_bus(PCI_DEVICE(t));
    Object *machine = qdev_get_machine();

    if (!kvm_enabled()) {
        error_setg(errp, "kviommu-tracker needs KVM");
        error_append_hint(errp, "Start QEMU with -accel kvm.\n");
        return false;
    }
    if (!t->iommufd) {
        error_setg(errp, "kviommu-tracker needs an iommufd object");
        error_append_hint(errp, "Use -object iommufd,id=iommufd0 "
                          "-device kviommu-tracker,iommufd=iommufd0.\n");
        return false;
    }
    /* A reset of a bus below would reset the unit while the guest runs. */
    if (!object_dynamic_cast(machine, TYPE_PC_MACHINE) ||
        bus != PC_MACHINE(machine)->pcibus) {
        error_setg(errp, "kviommu-tracker has to be on the first PCI bus of a "
                   "machine of type q35 or pc");
        return false;
    }
    if (bus->iommu_ops) {
        error_setg(errp, "kviommu-tracker cannot be used together with a "
                   "virtual IOMMU, or another kviommu-tracker: the kernel "
                   "module does not track devices behind one yet");
        return false;
    }
    return true;
}

/* How many bits it takes to address all the memory that the guest may have */
static unsigned int tracker_address_bits(void)
{
    MachineState *ms = MACHINE(qdev_get_machine());
    X86MachineState *x86ms = X86_MACHINE(ms);
    uint64_t end = x86ms->above_4g_mem_start + x86ms->above_4g_mem_size;

    if (ms->device_memory) {
        end = MAX(end, ms->device_memory->base +
                       memory_region_size(&ms->device_memory->mr));
    }
    return 64 - clz64(end - 1);
}

static bool tracker_set_args(KVIOMMUTracker *t, Error **errp)
{
    unsigned int bits = tracker_address_bits();

    t->args = (struct kviommu_create_coiommu) {
        .aw_bits = MAX(bits, t->info.out_aw_bits_min),
        .cpus = MACHINE(qdev_get_machine())->smp.max_cpus,
    };
    if (!kviommu_choose_boot(t->unit, "boot", t->boot, t->info.out_flags,
                             &t->args.flags, errp)) {
        return false;
    }
    if (bits > t->info.out_aw_bits_max) {
        error_setg(errp, "kviommu-tracker: the guest's memory takes addresses "
                   "of %u bits, the kernel module has %u", bits,
                   t->info.out_aw_bits_max);
        return false;
    }
    if (t->args.cpus > t->info.out_cpus_max) {
        error_setg(errp, "kviommu-tracker: the guest may have %u CPUs, the "
                   "kernel module serves %u", t->args.cpus,
                   t->info.out_cpus_max);
        return false;
    }
    if (t->info.out_notify_size != TRACKER_BAR_SIZE ||
        t->info.out_topology_size != TRACKER_BAR_SIZE) {
        error_setg(errp, "kviommu-tracker: the kernel module's pages are not "
                   "those of this device");
        return false;
    }
    trace_kviommu_tracker(t->args.aw_bits, t->args.cpus, t->args.flags);
    return true;
}

/* Assigned devices */

static bool tracker_covers(KVIOMMUState *k, PCIDevice *pdev)
{
    KVIOMMUTracker *t = KVIOMMU_TRACKER(k->owner);
    const char *id = DEVICE(pdev)->id;

    return !t->covered ||
           (id && g_strv_contains((const gchar *const *)t->covered, id));
}

static const char *tracker_refusal(KVIOMMUState *k, int err, const char **hint)
{
    KVIOMMUTracker *t = KVIOMMU_TRACKER(k->owner);

    if (err == EMEDIUMTYPE) {
        return "the host's IOMMU translates fewer bits than the guest's memory "
               "takes, or cannot keep the device's DMA coherent with the CPU's "
               "caches";
    }
    if (err == ENOMEM && t->args.flags & KVIOMMU_COIOMMU_BOOT_IDENTITY) {
        *hint = "boot=block pins nothing then, and blocks the device's DMA.";
        return "all of the guest's memory has to be pinned until the guest "
               "says what it uses, which RLIMIT_MEMLOCK or the host's memory "
               "does not allow";
    }
    return NULL;
}

static void *tracker_map(KVIOMMUState *k, uint64_t offset, int prot,
                         Error **errp)
{
    void *pages = mmap(NULL, TRACKER_BAR_SIZE, prot, MAP_SHARED, k->fd, offset);

    if (pages == MAP_FAILED) {
        error_setg_errno(errp, errno, "kviommu-tracker: cannot map pages of "
                         "the unit");
        return NULL;
    }
    return pages;
}

static bool tracker_map_pages(KVIOMMUState *k, Error **errp)
{
    KVIOMMUTracker *t = KVIOMMU_TRACKER(k->owner);

    t->requests_pages = tracker_map(k, t->info.out_notify_offset,
                                    PROT_READ | PROT_WRITE, errp);
    if (!t->requests_pages) {
        return false;
    }
    t->topology_pages = tracker_map(k, t->info.out_topology_offset, PROT_READ,
                                    errp);
    if (!t->topology_pages) {
        munmap(t->requests_pages, TRACKER_BAR_SIZE);
        return false;
    }
    return true;
}

static const KVIOMMUOps tracker_ops = {
    .device = TYPE_KVIOMMU_TRACKER,
    .model = KVIOMMU_MODEL_COIOMMU,
    .model_name = "coIOMMU",
    .numbers = tracker_numbers,
    .events = {
        [KVIOMMU_EVENT_CONTROL] = kviommu_control_event,
        [KVIOMMU_EVENT_LIMIT] = kviommu_limit_event,
    },
    .covers = tracker_covers,
    .map_pages = tracker_map_pages,
    .refusal = tracker_refusal,
};

static AddressSpace *tracker_get_address_space(PCIBus *bus, void *opaque,
                                               int devfn)
{
    KVIOMMUTracker *t = opaque;

    return kviommu_get_address_space(t->unit, bus, devfn) ?:
           &address_space_memory;
}

static bool tracker_set_iommu_device(PCIBus *bus, void *opaque, int devfn,
                                     HostIOMMUDevice *hiod, Error **errp)
{
    KVIOMMUTracker *t = opaque;

    return !tracker_covers(t->unit, bus->devices[devfn]) ||
           kviommu_attach_device(t->unit, bus, devfn, hiod, errp);
}

static void tracker_unset_iommu_device(PCIBus *bus, void *opaque, int devfn)
{
    KVIOMMUTracker *t = opaque;

    kviommu_detach_device(t->unit, bus, devfn);
}

static const PCIIOMMUOps tracker_iommu_ops = {
    .get_address_space = tracker_get_address_space,
    .set_iommu_device = tracker_set_iommu_device,
    .unset_iommu_device = tracker_unset_iommu_device,
};

static int tracker_check_device(Object *child, void *opaque)
{
    KVIOMMUTracker *t = opaque;

    if (object_dynamic_cast(child, TYPE_VFIO_PCI) &&
        tracker_covers(t->unit, PCI_DEVICE(child))) {
        kviommu_require_device(t->unit, PCI_DEVICE(child));
    }
    return 0;
}

static void tracker_machine_done(Notifier *n, void *unused)
{
    KVIOMMUTracker *t = container_of(n, KVIOMMUTracker, machine_done);

    if (pci_get_bus(PCI_DEVICE(t))->iommu_ops != &tracker_iommu_ops) {
        error_report("kviommu-tracker cannot be used together with a virtual "
                     "IOMMU: the kernel module does not track devices behind "
                     "one yet");
        exit(1);
    }
    object_child_foreach_recursive(object_get_root(), tracker_check_device, t);
    for (char **id = t->covered; id && *id; id++) {
        if (!qdev_find_recursive(sysbus_get_default(), *id)) {
            warn_report("kviommu-tracker: there is no device %s yet", *id);
        }
    }
}

/* Pages */

static uint64_t tracker_empty_read(void *opaque, hwaddr addr, unsigned int size)
{
    return 0;
}

static uint64_t tracker_topology_read(void *opaque, hwaddr addr,
                                      unsigned int size)
{
    return ldn_le_p(memory_region_get_ram_ptr(opaque) + addr, size);
}

static void tracker_ignore_write(void *opaque, hwaddr addr, uint64_t value,
                                 unsigned int size)
{
}

static const MemoryRegionOps tracker_empty_ops = {
    .read = tracker_empty_read,
    .write = tracker_ignore_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid.max_access_size = 8,
};

static const MemoryRegionOps tracker_topology_ops = {
    .read = tracker_topology_read,
    .write = tracker_ignore_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = {
        .max_access_size = 8,
        .unaligned = true,
    },
    .impl = {
        .max_access_size = 8,
        .unaligned = true,
    },
};

static void tracker_init_pages(KVIOMMUTracker *t)
{
    memory_region_init_ram_device_ptr(&t->requests, OBJECT(t),
                                      "kviommu-tracker-requests",
                                      TRACKER_BAR_SIZE, t->requests_pages);
    memory_region_init_ram_device_ptr(&t->topology, OBJECT(t),
                                      "kviommu-tracker-topology",
                                      TRACKER_BAR_SIZE, t->topology_pages);
    /*
     * A store of the guest comes here, as the memory slot is read-only. That of
     * a RAM device would be done, into pages that QEMU has mapped for reading
     * only.
     */
    t->topology.ops = &tracker_topology_ops;
    memory_region_set_readonly(&t->topology, true);
}

static void tracker_register_bars(KVIOMMUTracker *t)
{
    const uint8_t type = PCI_BASE_ADDRESS_SPACE_MEMORY |
                         PCI_BASE_ADDRESS_MEM_TYPE_64 |
                         PCI_BASE_ADDRESS_MEM_PREFETCH;
    PCIDevice *pdev = PCI_DEVICE(t);

    pci_register_bar(pdev, 0, type, &t->registers);
    pci_register_bar(pdev, 2, type, &t->requests);
    pci_register_bar(pdev, 4, type, &t->topology);
}

/* The device */

static void tracker_realize(PCIDevice *pdev, Error **errp)
{
    KVIOMMUTracker *t = KVIOMMU_TRACKER(pdev);
    KVIOMMUState *k;

    if (!tracker_check_options(t, errp)) {
        return;
    }
    k = t->unit = g_new0(KVIOMMUState, 1);
    k->ops = &tracker_ops;
    k->owner = OBJECT(t);
    k->be = t->iommufd;
    k->options = &t->options;
    k->args = &t->args;
    k->args_len = sizeof(t->args);
    k->fd = kviommu_open(errp);
    if (k->fd < 0 || !kviommu_get_info(k, &t->info, sizeof(t->info), errp) ||
        !tracker_set_args(t, errp)) {
        if (k->fd >= 0) {
            close(k->fd);
        }
        g_clear_pointer(&t->unit, g_free);
        return;
    }
    k->aw_bits = t->args.aw_bits;
    memory_region_init_io(&t->registers, OBJECT(t), &tracker_empty_ops, NULL,
                          "kviommu-tracker-registers", TRACKER_BAR_SIZE);
    /* Nothing may fail after that: it cannot be undone. */
    if (!kviommu_realize(k, &t->registers, 0, errp)) {
        return;
    }
    if (t->devices) {
        t->covered = g_strsplit(t->devices, ":", -1);
    }
    tracker_init_pages(t);
    tracker_register_bars(t);
    pci_setup_iommu(pci_get_bus(pdev), &tracker_iommu_ops, t);
    t->machine_done.notify = tracker_machine_done;
    qemu_add_machine_init_done_notifier(&t->machine_done);
}

static void tracker_reset_exit(Object *obj, ResetType type)
{
    /* As the last of the reset: no device does DMA any more */
    kviommu_reset(KVIOMMU_TRACKER(obj)->unit);
}

#define DEFINE_TRACKER_OPTION(_name, _field, _member) \
    DEFINE_PROP_UINT64(_name, KVIOMMUTracker, options._field, UINT64_MAX),

static const Property tracker_properties[] = {
    DEFINE_PROP_LINK("iommufd", KVIOMMUTracker, iommufd, TYPE_IOMMUFD_BACKEND,
                     IOMMUFDBackend *),
    DEFINE_PROP_STRING("boot", KVIOMMUTracker, boot),
    DEFINE_PROP_STRING("devices", KVIOMMUTracker, devices),
    KVIOMMU_COMMON_NUMBERS(DEFINE_TRACKER_OPTION)
    KVIOMMU_TRACKER_NUMBERS(DEFINE_TRACKER_OPTION)
};

static void tracker_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    PCIDeviceClass *pc = PCI_DEVICE_CLASS(klass);
    ResettableClass *rc = RESETTABLE_CLASS(klass);

    pc->realize = tracker_realize;
    pc->vendor_id = pc->subsystem_vendor_id = TRACKER_VENDOR_ID;
    pc->device_id = pc->subsystem_id = TRACKER_DEVICE_ID;
    pc->revision = TRACKER_REVISION;
    pc->class_id = TRACKER_CLASS;
    rc->phases.exit = tracker_reset_exit;
    dc->desc = "coIOMMU: pins only what the guest says is in use for DMA";
    dc->hotpluggable = false;
    device_class_set_props(dc, tracker_properties);
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
}

static const TypeInfo tracker_info = {
    .name = TYPE_KVIOMMU_TRACKER,
    .parent = TYPE_PCI_DEVICE,
    .instance_size = sizeof(KVIOMMUTracker),
    .class_init = tracker_class_init,
    .interfaces = (InterfaceInfo[]) {
        { INTERFACE_CONVENTIONAL_PCI_DEVICE },
        { }
    },
};

static void tracker_register_types(void)
{
    type_register_static(&tracker_info);
}

type_init(tracker_register_types)
