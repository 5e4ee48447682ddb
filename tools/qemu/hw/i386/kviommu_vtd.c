/*
 * kviommu: a unit of VT-d, of an intel-iommu device
 *
 * DMA of devices that QEMU itself emulates stays with intel_iommu.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <linux/iommufd.h>

#include "qemu/error-report.h"
#include "qapi/error.h"
#include "exec/address-spaces.h"
#include "hw/i386/apic_internal.h"
#include "hw/i386/intel_iommu.h"
#include "hw/qdev-core.h"
#include "hw/vfio/pci.h"
#include "hw/vfio/vfio-common.h"
#include "system/kvm.h"
#include "intel_iommu_internal.h"
#include "kviommu_internal.h"
#include "trace.h"

/* ECAP: what scalable mode is, for the guest and for QEMU's own devices */
#define KVIOMMU_ECAP_NESTED (VTD_ECAP_SMTS | VTD_ECAP_FLTS)
#define KVIOMMU_ECAP_SMPWCS (1ULL << 48)
/* A number, one less than the bits of a PASID */
#define KVIOMMU_ECAP_PSS_SHIFT 35
#define KVIOMMU_ECAP_PSS    (0x1fULL << KVIOMMU_ECAP_PSS_SHIFT)

/* Where the guest sees a device's PASID capability: the end of its config space */
#define KVIOMMU_PASID_CAP   (PCIE_CONFIG_SPACE_SIZE - PCI_EXT_CAP_PASID_SIZEOF)

typedef struct KVIOMMUVTDState {
    KVIOMMUState unit;
    IntelIOMMUState *iommu;
    struct kviommu_vtd_info info;
    struct kviommu_create_vtd args;
    uint32_t boot;      /* flags: what is reached until the guest translates */
    bool nested;        /* the guest is offered scalable mode */
    DeviceListener listener;
} KVIOMMUVTDState;

/* Options */

#define KVIOMMU_VTD_NUMBER(_name, _field, _member) \
    KVIOMMU_NUMBER("kviommu-" _name, _field, _member)

static const KVIOMMUNumber kviommu_vtd_numbers[] = {
    KVIOMMU_COMMON_NUMBERS(KVIOMMU_VTD_NUMBER)
    KVIOMMU_VTD_NUMBERS(KVIOMMU_VTD_NUMBER)
    {}
};

static const KVIOMMUOps kviommu_vtd_ops;

/* The option that was given first, or NULL */
static const char *kviommu_vtd_given_option(const IntelIOMMUState *s)
{
    if (s->kviommu_iommufd) {
        return "iommufd";
    }
    if (s->kviommu_boot) {
        return "kviommu-boot";
    }
    if (s->kviommu_nested != ON_OFF_AUTO_AUTO) {
        return "kviommu-nested";
    }
    if (s->kviommu_pasid != ON_OFF_AUTO_OFF) {
        return "kviommu-pasid";
    }
    if (s->kviommu_options.mode) {
        return "kviommu-mode";
    }
    if (s->kviommu_options.strategy) {
        return "kviommu-strategy";
    }
    return kviommu_given_number(&kviommu_vtd_ops, &s->kviommu_options);
}

/* The option that insists on scalable mode, or NULL */
static const char *kviommu_vtd_needs_nested(const IntelIOMMUState *s)
{
    return s->kviommu_pasid == ON_OFF_AUTO_ON ? "kviommu-pasid=on" :
           s->kviommu_nested == ON_OFF_AUTO_ON ? "kviommu-nested=on" : NULL;
}

bool kviommu_vtd_check_options(IntelIOMMUState *s, Error **errp)
{
    X86IOMMUState *x86_iommu = X86_IOMMU_DEVICE(s);
    const struct {
        bool refused;
        const char *option;
        const char *why;
    } options[] = {
        { x86_iommu->intr_supported == ON_OFF_AUTO_ON, "intremap=on",
          "the unit of the host kernel has no interrupt remapping" },
        { s->intr_eim == ON_OFF_AUTO_ON, "eim=on",
          "the unit of the host kernel has no interrupt remapping" },
        { s->scalable_mode, "x-scalable-mode=on",
          "kviommu-nested=on is what offers scalable mode" },
        { s->flts, "x-flts=on",
          "kviommu-nested=on is what offers first-stage translation" },
        { s->pasid, "x-pasid-mode=on",
          "kviommu-pasid=on is what offers PASIDs" },
        { x86_iommu->dt_supported, "device-iotlb=on",
          "the unit of the host kernel does not handle device IOTLBs" },
        { s->snoop_control, "snoop-control=on",
          "the unit decides by itself, from what the host's IOMMU can do" },
        { !s->dma_drain, "dma-drain=off",
          "the unit of the host kernel always drains" },
        { !s->dma_translation, "dma-translation=off",
          "translation is all that the unit is for" },
    };

    if (!s->kviommu_enabled) {
        const char *given = kviommu_vtd_given_option(s);

        if (given) {
            error_setg(errp, "%s needs kviommu=on", given);
        }
        return !given;
    }

    for (int i = 0; i < ARRAY_SIZE(options); i++) {
        if (options[i].refused) {
            error_setg(errp, "%s cannot be used together with kviommu=on: %s",
                       options[i].option, options[i].why);
            return false;
        }
    }
    if (!kvm_enabled()) {
        error_setg(errp, "kviommu=on needs KVM");
        error_append_hint(errp, "Start QEMU with -accel kvm.\n");
        return false;
    }
    if (!s->kviommu_iommufd) {
        error_setg(errp, "kviommu=on needs an iommufd object");
        error_append_hint(errp, "Use -object iommufd,id=iommufd0 "
                          "-device intel-iommu,kviommu=on,iommufd=iommufd0.\n");
        return false;
    }
    if (s->kviommu_pasid == ON_OFF_AUTO_ON &&
        s->kviommu_nested == ON_OFF_AUTO_OFF) {
        error_setg(errp, "kviommu-pasid=on needs kviommu-nested: only scalable "
                   "mode has PASIDs");
        return false;
    }
    if (kviommu_vtd_needs_nested(s) && s->aw_bits != VTD_HOST_AW_48BIT) {
        error_setg(errp, "%s needs aw-bits=48: first-stage tables of the guest "
                   "have four levels", kviommu_vtd_needs_nested(s));
        return false;
    }

    x86_iommu->intr_supported = ON_OFF_AUTO_OFF;
    s->caching_mode = true;
    return true;
}

/* Registers and interrupts */

uint32_t kviommu_read_long(KVIOMMUState *k, hwaddr reg)
{
    return le32_to_cpu(qatomic_read((uint32_t *)(k->page + reg)));
}

uint64_t kviommu_read_quad(KVIOMMUState *k, hwaddr reg)
{
    return le64_to_cpu(qatomic_read((uint64_t *)(k->page + reg)));
}

static void kviommu_vtd_send_msi(KVIOMMUState *k, hwaddr addr_reg,
                                 hwaddr data_reg)
{
    /* The upper address register follows the lower one */
    MSIMessage msi = {
        .address = kviommu_read_long(k, addr_reg) |
                   (uint64_t)kviommu_read_long(k, addr_reg + 4) << 32,
        .data = kviommu_read_long(k, data_reg),
    };

    trace_kviommu_send_msi(msi.address, msi.data);
    apic_get_class(NULL)->send_msi(&msi);
}

static void kviommu_vtd_fault_event(EventNotifier *n)
{
    KVIOMMUState *k = container_of(n, KVIOMMUState,
                                   events[KVIOMMU_EVENT_FAULT]);

    if (event_notifier_test_and_clear(n)) {
        kviommu_vtd_send_msi(k, DMAR_FEADDR_REG, DMAR_FEDATA_REG);
    }
}

static void kviommu_vtd_inval_completion_event(EventNotifier *n)
{
    KVIOMMUState *k = container_of(n, KVIOMMUState,
                                   events[KVIOMMU_EVENT_INVAL_COMPLETION]);

    if (event_notifier_test_and_clear(n)) {
        kviommu_vtd_send_msi(k, DMAR_IEADDR_REG, DMAR_IEDATA_REG);
    }
}

/* The unit */

/*
 * Choose whether the guest is offered scalable mode. That needs all of its
 * devices to be behind an IOMMU that can walk the guest's tables: here the host
 * says whether it has any, later the unit refuses devices behind another one.
 */
static bool kviommu_vtd_choose_nested(KVIOMMUVTDState *v, Error **errp)
{
    IntelIOMMUState *s = v->iommu;

    v->nested = s->kviommu_nested != ON_OFF_AUTO_OFF &&
                s->aw_bits == VTD_HOST_AW_48BIT &&
                (v->info.out_ecap & KVIOMMU_ECAP_NESTED) == KVIOMMU_ECAP_NESTED;
    if (kviommu_vtd_needs_nested(s) && !v->nested) {
        error_setg(errp, "%s: no IOMMU of this host can walk the tables of a "
                   "guest", kviommu_vtd_needs_nested(s));
        error_append_hint(errp, "It takes a VT-d unit with nested translation, "
                          "which the host's kernel uses "
                          "(intel_iommu=on,sm_on), and a device behind it that "
                          "has a driver.\n");
        return false;
    }
    if (s->kviommu_pasid == ON_OFF_AUTO_ON &&
        !(v->info.out_ecap & VTD_ECAP_PASID)) {
        error_setg(errp, "kviommu-pasid=on: this host cannot translate requests "
                   "with PASID by the tables of a guest");
        error_append_hint(errp, "Each of its IOMMUs that walk a guest's tables "
                          "has to have PASIDs, and its kernel has to be able "
                          "to attach them to these tables.\n");
        return false;
    }
    if (v->nested && s->kviommu_options.strategy &&
        strcmp(s->kviommu_options.strategy, "strict")) {
        warn_report("kviommu-strategy=%s has no effect on what the guest maps "
                    "in scalable mode, see kviommu-nested",
                    s->kviommu_options.strategy);
    }
    return true;
}

static void kviommu_vtd_set_args(KVIOMMUVTDState *v)
{
    IntelIOMMUState *s = v->iommu;

    /* The capabilities that QEMU knows: others may come with later modules */
    v->args = (struct kviommu_create_vtd) {
        .flags = v->boot,
        .aw_bits = s->aw_bits,
        .cap = VTD_CAP_PSI | VTD_CAP_SLLPS,
        .ecap = X86_IOMMU_DEVICE(s)->pt_supported ? VTD_ECAP_PT : 0,
    };

    /*
     * Of these the host may lack some, see below. No FS5LP: five levels would
     * be for more than aw_bits, and QEMU walks no more than four for its own
     * devices.
     */
    if (v->nested) {
        v->args.cap |= s->fs1gp ? VTD_CAP_FS1GP : 0;
        v->args.ecap |= KVIOMMU_ECAP_NESTED | KVIOMMU_ECAP_SMPWCS | VTD_ECAP_SC;
        if (s->kviommu_pasid != ON_OFF_AUTO_OFF) {
            v->args.ecap |= VTD_ECAP_PASID | KVIOMMU_ECAP_PSS;
        }
    }
    v->args.cap &= v->info.out_cap;
    v->args.ecap &= v->info.out_ecap;
    trace_kviommu_vtd(v->args.cap, v->args.ecap);
}

/* What the unit is like that there is now, for what QEMU translates itself */
static void kviommu_vtd_learn(KVIOMMUVTDState *v)
{
    IntelIOMMUState *s = v->iommu;

    s->cap = kviommu_read_quad(&v->unit, DMAR_CAP_REG);
    s->ecap = kviommu_read_quad(&v->unit, DMAR_ECAP_REG);
    s->scalable_mode = v->nested;
    s->flts = v->nested;
}

/*
 * Take a unit in legacy mode instead, in the same memory slot. Only before the
 * machine is complete: no device is attached then, but for a moment.
 */
static bool kviommu_vtd_fall_back(KVIOMMUVTDState *v, Error **errp)
{
    KVIOMMUState *k = &v->unit;
    int fd = kviommu_open(errp);

    if (fd < 0) {
        return false;
    }
    v->nested = false;
    kviommu_vtd_set_args(v);
    if (!kviommu_make(k, fd, errp)) {
        close(fd);
        return false;
    }
    close(k->fd);
    k->fd = fd;
    kviommu_vtd_learn(v);
    return kviommu_arm(k, errp);
}

/* PASIDs of assigned devices */

/* How many bits the guest's PASIDs of a device may have; 0: it has none */
static int kviommu_vtd_pasid_bits(KVIOMMUVTDState *v, VFIODevice *vdev)
{
    int unit_bits = ((v->args.ecap & KVIOMMU_ECAP_PSS) >>
                     KVIOMMU_ECAP_PSS_SHIFT) + 1;
    struct iommu_hw_info info = {
        .size = sizeof(info),
        .dev_id = vdev->devid,
    };

    if (!(v->args.ecap & VTD_ECAP_PASID) ||
        ioctl(v->unit.be->fd, IOMMU_GET_HW_INFO, &info)) {
        return 0;
    }
    /* out_max_pasid_log2, a byte that this header has no name for yet */
    return MIN(info.__reserved & 0xff, unit_bits);
}

/* The guest does not learn of the PASIDs that a device has. */
static void kviommu_vtd_hide_pasids(KVIOMMUVTDState *v, VFIODevice *vdev,
                                    const char *why)
{
    if (v->iommu->kviommu_pasid == ON_OFF_AUTO_ON &&
        !vdev->dev->hotplugged) {
        error_report("kviommu-pasid=on: device %s %s", vdev->name, why);
        exit(1);
    }
    warn_report("kviommu: device %s %s", vdev->name, why);
}

/*
 * VFIO hides the PASID capability, as the host's driver of the IOMMU is who
 * enables PASIDs: if that did, the guest gets a capability of its own.
 */
static void kviommu_vtd_device_realized(DeviceListener *listener,
                                        DeviceState *dev)
{
    KVIOMMUVTDState *v = container_of(listener, KVIOMMUVTDState, listener);
    VFIOPCIDevice *vpdev;
    PCIDevice *pdev;
    uint8_t *head;
    int bits, pos;

    if (!object_dynamic_cast(OBJECT(dev), TYPE_VFIO_PCI)) {
        return;
    }
    vpdev = VFIO_PCI(dev);
    pdev = PCI_DEVICE(dev);
    if (pci_device_iommu_address_space(pdev) != &v->unit.vfio_as) {
        return;
    }
    /* Those that are there from the start end QEMU later. */
    if (vpdev->vbasedev.mdev && dev->hotplugged) {
        error_report("kviommu: device %s is mediated, it cannot be behind the "
                     "unit: all of its DMA will fail", vpdev->vbasedev.name);
        return;
    }
    bits = kviommu_vtd_pasid_bits(v, &vpdev->vbasedev);
    if (!bits) {
        return;
    }
    if (!pci_is_express(pdev) || vpdev->config_size < PCIE_CONFIG_SPACE_SIZE) {
        kviommu_vtd_hide_pasids(v, &vpdev->vbasedev,
                                "is no PCI Express device for the guest: it "
                                "has no PASID capability there");
        return;
    }

    for (pos = PCI_CONFIG_SPACE_SIZE; pos;
         pos = PCI_EXT_CAP_NEXT(pci_get_long(pdev->config + pos))) {
        if (pos >= KVIOMMU_PASID_CAP) {
            kviommu_vtd_hide_pasids(v, &vpdev->vbasedev,
                                    "has no room for a PASID capability");
            return;
        }
    }
    /* As in VFIO: what begins the list may be a capability that is none */
    head = pdev->config + PCI_CONFIG_SPACE_SIZE;
    if (!pci_get_long(head)) {
        pci_set_long(head, PCI_EXT_CAP(0xffff, 0, 0));
        pci_set_long(vpdev->emulated_config_bits + PCI_CONFIG_SPACE_SIZE, ~0);
    }
    pcie_add_capability(pdev, PCI_EXT_CAP_ID_PASID, 1, KVIOMMU_PASID_CAP,
                        PCI_EXT_CAP_PASID_SIZEOF);
    if (pci_get_word(head) == 0xffff) {
        pci_set_word(head, 0);
    }
    pci_set_word(pdev->config + KVIOMMU_PASID_CAP + PCI_PASID_CAP, bits << 8);
    pci_set_word(pdev->config + KVIOMMU_PASID_CAP + PCI_PASID_CTRL, 0);
    pci_set_word(pdev->wmask + KVIOMMU_PASID_CAP + PCI_PASID_CTRL,
                 PCI_PASID_CTRL_ENABLE);
    memset(vpdev->emulated_config_bits + KVIOMMU_PASID_CAP, 0xff,
           PCI_EXT_CAP_PASID_SIZEOF);
    trace_kviommu_pasid(vpdev->vbasedev.name, bits);
}

/* Assigned devices */

static bool kviommu_vtd_covers(KVIOMMUState *k, PCIDevice *pdev)
{
    return true;
}

static const char *kviommu_vtd_refusal(KVIOMMUState *k, int err,
                                       const char **hint)
{
    KVIOMMUVTDState *v = container_of(k, KVIOMMUVTDState, unit);
    bool nested = v->nested;

    if (nested && (err == EMEDIUMTYPE || err == ENOMEM)) {
        *hint = "kviommu-nested=off gives the guest a unit in legacy mode.";
    }
    if (err == EMEDIUMTYPE) {
        return nested ?
               "the host's IOMMU of this device cannot walk the guest's "
               "tables as kviommu-nested promised, translates fewer bits than "
               "aw-bits, or cannot keep the device's DMA coherent with the "
               "CPU's caches" :
               "the host's IOMMU translates fewer bits than aw-bits, or cannot "
               "keep the device's DMA coherent with the CPU's caches";
    }
    if (err == ENOMEM && nested) {
        return "for kviommu-nested all of the guest's memory has to be pinned, "
               "which RLIMIT_MEMLOCK or the host's memory does not allow";
    }
    if (err == ENOMEM && v->boot) {
        return "for kviommu-boot all of the guest's memory has to be pinned, "
               "which RLIMIT_MEMLOCK or the host's memory does not allow";
    }
    return NULL;
}

/*
 * If @d is the device that cannot be behind a unit in scalable mode, and nobody
 * insists on that, the guest gets no such unit.
 */
static int kviommu_vtd_attach_first(KVIOMMUState *k, KVIOMMUDevice *d,
                                    int source_id, Error **errp)
{
    KVIOMMUVTDState *v = container_of(k, KVIOMMUVTDState, unit);
    Error *err = NULL;
    bool lacks_memory;
    int ret;

    if (v->iommu->kviommu_pasid == ON_OFF_AUTO_ON &&
        !kviommu_vtd_pasid_bits(v, d->vdev)) {
        error_setg(errp, "kviommu-pasid=on: device %s has no PASIDs",
                   d->vdev->name);
        error_append_hint(errp, "It has none, or the host's kernel has not "
                          "enabled or does not tell of them. kviommu-pasid=auto "
                          "takes it without.\n");
        return -ENOTSUP;
    }
    ret = kviommu_ioctl_attach(k, d, source_id, &err);
    lacks_memory = ret == -ENOMEM;
    if ((ret != -EMEDIUMTYPE && !lacks_memory) || !v->nested ||
        phase_check(PHASE_MACHINE_READY) ||
        kviommu_vtd_needs_nested(v->iommu)) {
        error_propagate(errp, err);
        return ret;
    }

    error_free(err);
    if (!kviommu_vtd_fall_back(v, errp)) {
        return ret;
    }
    ret = kviommu_ioctl_attach(k, d, source_id, errp);
    if (ret) {
        return ret;
    }
    if (lacks_memory) {
        info_report("kviommu-nested=auto: the guest gets a unit in legacy "
                    "mode, as not all of its memory can be pinned for "
                    "device %s", d->vdev->name);
    } else {
        info_report("kviommu-nested=auto: the guest gets a unit in legacy "
                    "mode, as the host's IOMMU of device %s cannot walk "
                    "the guest's tables as those of others can",
                    d->vdev->name);
    }
    return 0;
}

static const KVIOMMUOps kviommu_vtd_ops = {
    .device = TYPE_INTEL_IOMMU_DEVICE,
    .model = KVIOMMU_MODEL_VTD,
    .model_name = "VT-d",
    .numbers = kviommu_vtd_numbers,
    .events = {
        [KVIOMMU_EVENT_FAULT] = kviommu_vtd_fault_event,
        [KVIOMMU_EVENT_INVAL_COMPLETION] = kviommu_vtd_inval_completion_event,
        [KVIOMMU_EVENT_CONTROL] = kviommu_control_event,
        [KVIOMMU_EVENT_LIMIT] = kviommu_limit_event,
    },
    .covers = kviommu_vtd_covers,
    .refusal = kviommu_vtd_refusal,
    .attach_first = kviommu_vtd_attach_first,
};

KVIOMMUState *kviommu_vtd_new(IntelIOMMUState *s, Error **errp)
{
    KVIOMMUVTDState *v = g_new0(KVIOMMUVTDState, 1);
    KVIOMMUState *k = &v->unit;

    v->iommu = s;
    k->ops = &kviommu_vtd_ops;
    k->owner = OBJECT(s);
    k->be = s->kviommu_iommufd;
    k->options = &s->kviommu_options;
    k->aw_bits = s->aw_bits;
    k->args = &v->args;
    k->args_len = sizeof(v->args);
    k->fd = kviommu_open(errp);
    if (k->fd < 0 || !kviommu_get_info(k, &v->info, sizeof(v->info), errp) ||
        !kviommu_choose_boot(k, "kviommu-boot", s->kviommu_boot,
                             v->info.out_flags, &v->boot, errp) ||
        !kviommu_vtd_choose_nested(v, errp)) {
        return NULL;
    }
    kviommu_vtd_set_args(v);
    if (!kviommu_realize(k, get_system_memory(), Q35_HOST_BRIDGE_IOMMU_ADDR,
                         errp)) {
        return NULL;
    }
    kviommu_vtd_learn(v);
    v->listener.realize = kviommu_vtd_device_realized;
    device_listener_register(&v->listener);
    return k;
}
