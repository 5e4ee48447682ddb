/*
 * kviommu: the virtual IOMMU of the host kernel behind intel-iommu
 *
 * The host kernel emulates the remapping unit: its registers, its invalidation
 * queue and the translation of assigned devices. What is left to do here:
 *
 *  - put the register page where the guest looks for it, as a memory slot;
 *  - keep an IOAS of guest physical addresses in step with the memory map; the
 *    kernel pins from it what the guest maps for DMA, and nothing else;
 *  - hand the devices over that VFIO opened, under the requester ID that the
 *    guest knows them by;
 *  - raise the unit's own interrupts.
 *
 * DMA of devices that QEMU itself emulates stays with intel_iommu.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/kviommu.h>
#include <linux/vfio.h>

#include "qemu/error-report.h"
#include "qemu/event_notifier.h"
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "exec/address-spaces.h"
#include "hw/i386/apic_internal.h"
#include "hw/i386/intel_iommu.h"
#include "hw/i386/kviommu.h"
#include "hw/pci/pci_bridge.h"
#include "hw/pci/pci_bus.h"
#include "hw/qdev-core.h"
#include "hw/vfio/pci.h"
#include "hw/vfio/vfio-common.h"
#include "migration/blocker.h"
#include "system/iommufd.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "intel_iommu_internal.h"
#include "trace.h"

#define KVIOMMU_DEV         "/dev/kviommu"
#define KVIOMMU_NO_SOURCE   (-1)

/* ECAP: what scalable mode is, for the guest and for QEMU's own devices */
#define KVIOMMU_ECAP_NESTED (VTD_ECAP_SMTS | VTD_ECAP_FLTS)
#define KVIOMMU_ECAP_SMPWCS (1ULL << 48)

/* A part of guest physical address space that is RAM */
typedef struct KVIOMMURange {
    hwaddr start;
    hwaddr last;
    void *host;
    bool readonly;
} KVIOMMURange;

typedef struct KVIOMMUDevice {
    VFIODevice *vdev;
    PCIBus *bus;
    uint8_t devfn;
    int source_id;      /* as the unit knows it, or KVIOMMU_NO_SOURCE */
    bool warned;        /* the guest may cause failures: report only one */
    bool blocked_reported;
    QLIST_ENTRY(KVIOMMUDevice) next;
} KVIOMMUDevice;

struct KVIOMMUState {
    IntelIOMMUState *iommu;
    int fd;
    struct kviommu_vtd_info info;
    bool nested;        /* the guest is offered scalable mode */
    IOMMUFDBackend *be;
    uint32_t ioas_id;

    void *page;
    MemoryRegion page_mr;
    bool arm_pending;

    MemoryListener listener;
    GArray *wanted;     /* KVIOMMURange: what the memory map has */
    GArray *mapped;     /* KVIOMMURange: what the IOAS has */
    Error *error;       /* of the listener, until kviommu_new() returns */
    bool initialized;

    MemoryRegion vfio_root;
    MemoryRegion vfio_ir;
    AddressSpace vfio_as;
    QLIST_HEAD(, KVIOMMUDevice) devices;
    Notifier bus_num_notifier;

    EventNotifier events[KVIOMMU_EVENT_LIMIT + 1];
    Error *migration_blocker;
};

/* Options */

static const char *const kviommu_modes[] = {
    [KVIOMMU_MODE_TRAP] = "trap",
    [KVIOMMU_MODE_SIDECORE] = "sidecore",
    [KVIOMMU_MODE_ADAPTIVE] = "adaptive",
};

static const char *const kviommu_strategies[] = {
    [KVIOMMU_STRATEGY_STRICT] = "strict",
    [KVIOMMU_STRATEGY_ASYNC] = "async",
    [KVIOMMU_STRATEGY_DEFERRED] = "deferred",
    [KVIOMMU_STRATEGY_OPTIMISTIC] = "optimistic",
};

#define KVIOMMU_NUMBER(_name, _field, _member) \
    { "kviommu-" _name, offsetof(KVIOMMUOptions, _field), \
      offsetof(struct kviommu_policy, _field), KVIOMMU_POLICY_##_member },

static const struct {
    const char *name;
    size_t option;
    size_t policy;
    uint64_t member;
} kviommu_numbers[] = {
    KVIOMMU_NUMBERS(KVIOMMU_NUMBER)
};

static uint64_t kviommu_number(const KVIOMMUOptions *o, int i)
{
    return *(const uint64_t *)((const char *)o + kviommu_numbers[i].option);
}

/* The option that was given first, or NULL */
static const char *kviommu_given_option(const KVIOMMUOptions *o)
{
    if (o->mode) {
        return "kviommu-mode";
    }
    if (o->strategy) {
        return "kviommu-strategy";
    }
    for (int i = 0; i < ARRAY_SIZE(kviommu_numbers); i++) {
        if (kviommu_number(o, i) != UINT64_MAX) {
            return kviommu_numbers[i].name;
        }
    }
    return NULL;
}

static bool kviommu_choose(const char *option, const char *value,
                           const char *const *names, int nr, uint32_t *choice,
                           Error **errp)
{
    for (int i = 0; value && i < nr; i++) {
        if (!strcmp(value, names[i])) {
            *choice = i;
            return true;
        }
    }
    if (value) {
        error_setg(errp, "%s=%s: no such one", option, value);
    }
    return !value;
}

bool kviommu_check_options(IntelIOMMUState *s, Error **errp)
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
          "the unit of the host kernel translates no requests with PASID" },
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
        const char *given = s->kviommu_iommufd ? "iommufd" :
                            s->kviommu_boot_identity ? "kviommu-boot-identity" :
                            s->kviommu_nested != ON_OFF_AUTO_AUTO ?
                            "kviommu-nested" :
                            kviommu_given_option(&s->kviommu_options);

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
    if (s->kviommu_nested == ON_OFF_AUTO_ON &&
        s->aw_bits != VTD_HOST_AW_48BIT) {
        error_setg(errp, "kviommu-nested=on needs aw-bits=48: first-stage "
                   "tables of the guest have four levels");
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

static void kviommu_send_msi(KVIOMMUState *k, hwaddr addr_reg, hwaddr data_reg)
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

static void kviommu_fault_event(EventNotifier *n)
{
    if (event_notifier_test_and_clear(n)) {
        kviommu_send_msi(container_of(n, KVIOMMUState,
                                      events[KVIOMMU_EVENT_FAULT]),
                         DMAR_FEADDR_REG, DMAR_FEDATA_REG);
    }
}

static void kviommu_inval_completion_event(EventNotifier *n)
{
    if (event_notifier_test_and_clear(n)) {
        kviommu_send_msi(container_of(n, KVIOMMUState,
                                      events[KVIOMMU_EVENT_INVAL_COMPLETION]),
                         DMAR_IEADDR_REG, DMAR_IEDATA_REG);
    }
}

/* Why a device's DMA does not go through what the guest wants */
static const char *kviommu_blocked_reason(const struct kviommu_get_device *d)
{
    switch (d->out_error) {
    case EXDEV:
        return "the guest wants different things for devices that share an "
               "IOMMU group of the host";
    case EDQUOT:
        return "a limit of the unit's policy is reached";
    case ENOMEM:
        return "the host's memory, the memory cgroup or RLIMIT_MEMLOCK is "
               "exhausted";
    default:
        return strerror(d->out_error);
    }
}

static void kviommu_report_blocked(KVIOMMUState *k, KVIOMMUDevice *d)
{
    struct kviommu_get_device get = {
        .size = sizeof(get),
        .source_id = d->source_id,
    };

    if (d->source_id == KVIOMMU_NO_SOURCE ||
        ioctl(k->fd, KVIOMMU_GET_DEVICE, &get)) {
        return;
    }
    trace_kviommu_device(d->vdev->name, get.out_wanted, get.out_in_force,
                         get.out_error, get.out_fault);
    if (d->blocked_reported) {
        return;
    }
    if (get.out_fault) {
        warn_report("kviommu: DMA of device %s is blocked: what the guest "
                    "asks for is invalid, VT-d fault reason 0x%x",
                    d->vdev->name, get.out_fault);
        d->blocked_reported = true;
    } else if (get.out_error && get.out_error != EINPROGRESS) {
        warn_report("kviommu: DMA of device %s is blocked: %s", d->vdev->name,
                    kviommu_blocked_reason(&get));
        d->blocked_reported = true;
    }
}

static void kviommu_control_event(EventNotifier *n)
{
    KVIOMMUState *k = container_of(n, KVIOMMUState,
                                   events[KVIOMMU_EVENT_CONTROL]);
    KVIOMMUDevice *d;

    if (event_notifier_test_and_clear(n)) {
        QLIST_FOREACH(d, &k->devices, next) {
            kviommu_report_blocked(k, d);
        }
    }
}

static void kviommu_limit_event(EventNotifier *n)
{
    if (event_notifier_test_and_clear(n)) {
        warn_report_once("kviommu: DMA of the guest is blocked for lack of "
                         "memory or at a limit; see RLIMIT_MEMLOCK, the memory "
                         "cgroup and the unit's policy in /sys/class/kviommu");
    }
}

static EventNotifierHandler *const kviommu_handlers[] = {
    [KVIOMMU_EVENT_FAULT] = kviommu_fault_event,
    [KVIOMMU_EVENT_INVAL_COMPLETION] = kviommu_inval_completion_event,
    [KVIOMMU_EVENT_CONTROL] = kviommu_control_event,
    [KVIOMMU_EVENT_LIMIT] = kviommu_limit_event,
};

static void kviommu_cleanup_events(KVIOMMUState *k, int nr)
{
    for (int i = 0; i < nr; i++) {
        event_notifier_set_handler(&k->events[i], NULL);
        event_notifier_cleanup(&k->events[i]);
    }
}

static bool kviommu_init_events(KVIOMMUState *k, Error **errp)
{
    for (int i = 0; i < ARRAY_SIZE(k->events); i++) {
        int ret = event_notifier_init(&k->events[i], 0);

        if (ret < 0) {
            error_setg_errno(errp, -ret, "kviommu: cannot make an eventfd");
            kviommu_cleanup_events(k, i);
            return false;
        }
        event_notifier_set_handler(&k->events[i], kviommu_handlers[i]);
    }
    return true;
}

static bool kviommu_set_events(KVIOMMUState *k, int fd, Error **errp)
{
    for (int i = 0; i < ARRAY_SIZE(k->events); i++) {
        struct kviommu_set_eventfd set = {
            .size = sizeof(set),
            .event = i,
            .fd = event_notifier_get_fd(&k->events[i]),
        };

        if (ioctl(fd, KVIOMMU_SET_EVENTFD, &set)) {
            error_setg_errno(errp, errno, "kviommu: cannot set event %d", i);
            return false;
        }
    }
    return true;
}

/* The IOAS of guest physical addresses */

static void kviommu_listener_error(KVIOMMUState *k, Error *err)
{
    if (k->initialized) {
        /* The guest goes on; DMA to what is missing is blocked */
        error_report_err(err);
    } else if (!k->error) {
        k->error = err;
    } else {
        error_free(err);
    }
}

static bool kviommu_section_range(MemoryRegionSection *section,
                                  KVIOMMURange *range)
{
    const hwaddr page = qemu_real_host_page_size();
    hwaddr start = section->offset_within_address_space;
    hwaddr end, offset;

    /*
     * Memory of devices cannot be pinned, so DMA from one assigned device to
     * another is not possible. Memory that is private to a confidential guest
     * is none that QEMU could offer.
     */
    if (!memory_region_is_ram(section->mr) ||
        memory_region_is_ram_device(section->mr) ||
        memory_region_is_protected(section->mr)) {
        return false;
    }

    end = QEMU_ALIGN_DOWN(start + int128_get64(section->size), page);
    offset = QEMU_ALIGN_UP(start, page) - start;
    start += offset;
    offset += section->offset_within_region;
    if (start >= end || !QEMU_IS_ALIGNED(offset, page)) {
        trace_kviommu_skip(memory_region_name(section->mr),
                           section->offset_within_address_space);
        return false;
    }

    range->start = start;
    range->last = end - 1;
    range->host = memory_region_get_ram_ptr(section->mr) + offset;
    range->readonly = section->readonly || section->mr->readonly;
    return true;
}

static void kviommu_region_add(MemoryListener *listener,
                               MemoryRegionSection *section)
{
    KVIOMMUState *k = container_of(listener, KVIOMMUState, listener);
    KVIOMMURange range;

    if (section->mr == &k->page_mr) {
        k->arm_pending = true;
    } else if (kviommu_section_range(section, &range)) {
        g_array_append_val(k->wanted, range);
    }
}

static void kviommu_region_del(MemoryListener *listener,
                               MemoryRegionSection *section)
{
    KVIOMMUState *k = container_of(listener, KVIOMMUState, listener);
    KVIOMMURange range;

    if (section->mr == &k->page_mr) {
        k->arm_pending = false;
        return;
    }
    if (!kviommu_section_range(section, &range)) {
        return;
    }
    for (int i = 0; i < k->wanted->len; i++) {
        KVIOMMURange *w = &g_array_index(k->wanted, KVIOMMURange, i);

        if (w->start == range.start && w->host == range.host) {
            g_array_remove_index_fast(k->wanted, i);
            return;
        }
    }
}

static bool kviommu_is_wanted(KVIOMMUState *k, const KVIOMMURange *m)
{
    for (int i = 0; i < k->wanted->len; i++) {
        KVIOMMURange *w = &g_array_index(k->wanted, KVIOMMURange, i);

        if (w->start <= m->start && m->last <= w->last) {
            return w->host + (m->start - w->start) == m->host &&
                   w->readonly == m->readonly;
        }
    }
    return false;
}

static void kviommu_map(KVIOMMUState *k, const KVIOMMURange *w,
                        hwaddr start, hwaddr last)
{
    KVIOMMURange m = {
        .start = start,
        .last = last,
        .host = w->host + (start - w->start),
        .readonly = w->readonly,
    };
    int ret;

    /*
     * An IOAS gives back whole mappings only. Firmware and guests open and
     * close parts of the first MiB, so a mapping must not cross its end, or
     * all of RAM would be unmapped for it.
     */
    if (start < MiB && last >= MiB) {
        kviommu_map(k, w, start, MiB - 1);
        kviommu_map(k, w, MiB, last);
        return;
    }

    trace_kviommu_map(start, last, m.host, m.readonly);
    ret = iommufd_backend_map_dma(k->be, k->ioas_id, start, last - start + 1,
                                  m.host, m.readonly);
    if (ret) {
        Error *err = NULL;

        error_setg_errno(&err, -ret, "kviommu: cannot offer guest memory "
                         "0x%"HWADDR_PRIx"-0x%"HWADDR_PRIx" for DMA",
                         start, last);
        kviommu_listener_error(k, err);
    }
    /* Also if that failed: to unmap it is harmless, to try forever is not */
    g_array_append_val(k->mapped, m);
}

static void kviommu_map_missing(KVIOMMUState *k, const KVIOMMURange *w)
{
    hwaddr start = w->start;

    while (start <= w->last) {
        hwaddr next = w->last + 1, cont = next;

        /* What is still mapped inside of @w was found to be as @w wants it */
        for (int i = 0; i < k->mapped->len; i++) {
            KVIOMMURange *m = &g_array_index(k->mapped, KVIOMMURange, i);

            if (m->start >= start && m->start < next) {
                next = m->start;
                cont = m->last + 1;
            }
        }
        if (next > start) {
            kviommu_map(k, w, start, next - 1);
        }
        start = cont;
    }
}

/* Have the kernel track the register page; its memory slot must be there. */
static bool kviommu_arm(KVIOMMUState *k, Error **errp)
{
    struct kviommu_arm arm = {
        .size = sizeof(arm),
        .gpa = Q35_HOST_BRIDGE_IOMMU_ADDR,
    };

    trace_kviommu_arm(arm.gpa);
    if (ioctl(k->fd, KVIOMMU_ARM, &arm)) {
        error_setg_errno(errp, errno, "kviommu: the kernel cannot track the "
                         "register page");
        return false;
    }
    return true;
}

static void kviommu_commit(MemoryListener *listener)
{
    KVIOMMUState *k = container_of(listener, KVIOMMUState, listener);
    struct kviommu_refresh refresh = { .size = sizeof(refresh) };
    guint kept;

    /*
     * The memory core takes a section away and adds it anew when something
     * beside it changes. Apply the difference only: what stays as it is may be
     * the target of DMA at this moment.
     */
    for (int i = k->mapped->len - 1; i >= 0; i--) {
        KVIOMMURange *m = &g_array_index(k->mapped, KVIOMMURange, i);
        int ret;

        if (kviommu_is_wanted(k, m)) {
            continue;
        }
        trace_kviommu_unmap(m->start, m->last);
        ret = iommufd_backend_unmap_dma(k->be, k->ioas_id, m->start,
                                        m->last - m->start + 1);
        if (ret) {
            error_report("kviommu: cannot take guest memory 0x%"HWADDR_PRIx
                         "-0x%"HWADDR_PRIx" back from DMA: %s",
                         m->start, m->last, strerror(-ret));
        }
        g_array_remove_index_fast(k->mapped, i);
    }
    kept = k->mapped->len;
    for (int i = 0; i < k->wanted->len; i++) {
        KVIOMMURange w = g_array_index(k->wanted, KVIOMMURange, i);

        kviommu_map_missing(k, &w);
    }

    /* The guest may have mapped for DMA what was not there until now */
    if (k->initialized && k->mapped->len > kept) {
        trace_kviommu_refresh();
        if (ioctl(k->fd, KVIOMMU_REFRESH, &refresh)) {
            error_report("kviommu: cannot refresh the guest's translations: "
                         "%s", strerror(errno));
        }
    }

    /*
     * KVM tracks the page as long as its memory slot exists. KVM's listener,
     * which has made the slot in its own commit, comes before this one.
     */
    if (k->arm_pending) {
        Error *err = NULL;

        k->arm_pending = false;
        if (!kviommu_arm(k, &err)) {
            kviommu_listener_error(k, err);
        }
    }
}

/* The unit */

/* Return: a file that can become a unit, or -1 with @errp set */
static int kviommu_open(Error **errp)
{
    int fd = qemu_open_old(KVIOMMU_DEV, O_RDWR);

    if (fd >= 0) {
        return fd;
    }

    switch (errno) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
        error_setg_errno(errp, errno, "cannot open " KVIOMMU_DEV ": the "
                         "kernel module kviommu is not loaded");
        error_append_hint(errp, "Load it on the host: modprobe kviommu.\n");
        break;
    case EACCES:
    case EPERM:
        error_setg_errno(errp, errno, "cannot open " KVIOMMU_DEV ": no "
                         "permission");
        error_append_hint(errp, "Give the user that QEMU runs as access to "
                          "it, as to /dev/kvm, /dev/iommu and the "
                          "files in /dev/vfio/devices.\n");
        break;
    default:
        error_setg_errno(errp, errno, "cannot open " KVIOMMU_DEV);
        break;
    }
    return -1;
}

static bool kviommu_check_host(KVIOMMUState *k, Error **errp)
{
    struct kviommu_info info = { .size = sizeof(info) };

    if (ioctl(k->fd, KVIOMMU_GET_INFO, &info)) {
        error_setg_errno(errp, errno, "cannot ask " KVIOMMU_DEV " what it "
                         "offers");
        return false;
    }
    if (!(info.out_models & (1 << KVIOMMU_MODEL_VTD))) {
        error_setg(errp, "the kernel module kviommu does not offer VT-d");
        return false;
    }
    info.model = KVIOMMU_MODEL_VTD;
    info.data_len = sizeof(k->info);
    info.data_uptr = (uintptr_t)&k->info;
    if (ioctl(k->fd, KVIOMMU_GET_INFO, &info)) {
        error_setg_errno(errp, errno, "cannot ask " KVIOMMU_DEV " what VT-d "
                         "it offers");
        return false;
    }
    if (info.out_page_size != qemu_real_host_page_size()) {
        error_setg(errp, "kviommu's register page of %u bytes is no page of "
                   "the host", info.out_page_size);
        return false;
    }
    return true;
}

/*
 * Choose whether the guest is offered scalable mode. That needs all of its
 * devices to be behind an IOMMU that can walk the guest's tables: here the host
 * says whether it has any, later the unit refuses devices behind another one.
 */
static bool kviommu_choose_nested(KVIOMMUState *k, Error **errp)
{
    IntelIOMMUState *s = k->iommu;

    k->nested = s->kviommu_nested != ON_OFF_AUTO_OFF &&
                s->aw_bits == VTD_HOST_AW_48BIT &&
                (k->info.out_ecap & KVIOMMU_ECAP_NESTED) == KVIOMMU_ECAP_NESTED;
    if (s->kviommu_nested == ON_OFF_AUTO_ON && !k->nested) {
        error_setg(errp, "kviommu-nested=on: no IOMMU of this host can walk "
                   "the tables of a guest");
        error_append_hint(errp, "It takes a VT-d unit with nested translation, "
                          "which the host's kernel uses "
                          "(intel_iommu=on,sm_on), and a device behind it that "
                          "has a driver.\n");
        return false;
    }
    return true;
}

static bool kviommu_create(KVIOMMUState *k, int fd, Error **errp)
{
    IntelIOMMUState *s = k->iommu;
    /* The capabilities that QEMU knows: others may come with later modules */
    struct kviommu_create_vtd vtd = {
        .flags = s->kviommu_boot_identity ? KVIOMMU_VTD_BOOT_IDENTITY : 0,
        .aw_bits = s->aw_bits,
        .cap = VTD_CAP_PSI | VTD_CAP_SLLPS,
        .ecap = X86_IOMMU_DEVICE(s)->pt_supported ? VTD_ECAP_PT : 0,
    };
    struct kviommu_create create = {
        .size = sizeof(create),
        .kvm_fd = kvm_state->vmfd,
        .iommufd = k->be->fd,
        .ioas_id = k->ioas_id,
        .model = KVIOMMU_MODEL_VTD,
        .data_len = sizeof(vtd),
        .data_uptr = (uintptr_t)&vtd,
    };

    /*
     * Of these the host may lack some, see below. No FS5LP: five levels would be
     * for more than aw_bits, and QEMU walks no more than four for its own devices.
     */
    if (k->nested) {
        vtd.cap |= s->fs1gp ? VTD_CAP_FS1GP : 0;
        vtd.ecap |= KVIOMMU_ECAP_NESTED | KVIOMMU_ECAP_SMPWCS | VTD_ECAP_SC;
    }
    vtd.cap &= k->info.out_cap;
    vtd.ecap &= k->info.out_ecap;
    trace_kviommu_create(vtd.cap, vtd.ecap);
    if (!ioctl(fd, KVIOMMU_CREATE, &create)) {
        return true;
    }

    switch (errno) {
    case EOPNOTSUPP:
        error_setg_errno(errp, errno, "kviommu cannot serve this virtual "
                         "machine: its memory or registers are encrypted, or "
                         "the kernel module does not know an option");
        break;
    case EINVAL:
        error_setg_errno(errp, errno, "kviommu cannot serve this virtual "
                         "machine: it knows neither this KVM and iommufd, nor "
                         "aw-bits=%u", s->aw_bits);
        break;
    default:
        error_setg_errno(errp, errno, "kviommu cannot serve this virtual "
                         "machine");
        break;
    }
    return false;
}

static bool kviommu_set_policy(KVIOMMUState *k, int fd, Error **errp)
{
    const KVIOMMUOptions *o = &k->iommu->kviommu_options;
    struct kviommu_policy policy = { .size = sizeof(policy) };

    if (!kviommu_choose("kviommu-mode", o->mode, kviommu_modes,
                        ARRAY_SIZE(kviommu_modes), &policy.mode, errp) ||
        !kviommu_choose("kviommu-strategy", o->strategy, kviommu_strategies,
                        ARRAY_SIZE(kviommu_strategies), &policy.strategy,
                        errp)) {
        return false;
    }
    policy.mask = (o->mode ? KVIOMMU_POLICY_MODE : 0) |
                  (o->strategy ? KVIOMMU_POLICY_STRATEGY : 0);
    for (int i = 0; i < ARRAY_SIZE(kviommu_numbers); i++) {
        uint64_t *number = (void *)((char *)&policy + kviommu_numbers[i].policy);

        if (kviommu_number(o, i) != UINT64_MAX) {
            policy.mask |= kviommu_numbers[i].member;
            *number = kviommu_number(o, i);
        }
    }
    if (policy.mask && ioctl(fd, KVIOMMU_SET_POLICY, &policy)) {
        error_setg_errno(errp, errno, "kviommu refuses the policy that the "
                         "kviommu-* options ask for");
        error_append_hint(errp, "kviommu-poll-us-min must not be above "
                          "kviommu-poll-us-max, and the kernel module has to "
                          "know the option.\n");
        return false;
    }
    if (k->nested && policy.strategy != KVIOMMU_STRATEGY_STRICT) {
        warn_report("kviommu-strategy=%s has no effect on what the guest maps "
                    "in scalable mode, see kviommu-nested", o->strategy);
    }
    return true;
}

static bool kviommu_map_page(KVIOMMUState *k, int fd, Error **errp)
{
    IntelIOMMUState *s = k->iommu;
    void *page = mmap(k->page, qemu_real_host_page_size(),
                      PROT_READ | PROT_WRITE,
                      MAP_SHARED | (k->page ? MAP_FIXED : 0), fd, 0);

    if (page == MAP_FAILED) {
        error_setg_errno(errp, errno, "cannot map kviommu's register page");
        return false;
    }
    k->page = page;
    s->cap = kviommu_read_quad(k, DMAR_CAP_REG);
    s->ecap = kviommu_read_quad(k, DMAR_ECAP_REG);
    /* For what QEMU translates itself */
    s->scalable_mode = k->nested;
    s->flts = k->nested;
    return true;
}

/* Make @fd the unit: the one that there was ends with its file. */
static bool kviommu_make(KVIOMMUState *k, int fd, Error **errp)
{
    return kviommu_create(k, fd, errp) && kviommu_set_policy(k, fd, errp) &&
           kviommu_set_events(k, fd, errp) && kviommu_map_page(k, fd, errp);
}

/*
 * Take a unit in legacy mode instead, in the same memory slot. Only before the
 * machine is complete: no device is attached then, but for a moment.
 */
static bool kviommu_fall_back(KVIOMMUState *k, Error **errp)
{
    int fd = kviommu_open(errp);

    if (fd < 0) {
        return false;
    }
    k->nested = false;
    if (!kviommu_make(k, fd, errp)) {
        close(fd);
        return false;
    }
    close(k->fd);
    k->fd = fd;
    return kviommu_arm(k, errp);
}

/* Assigned devices */

AddressSpace *kviommu_get_address_space(KVIOMMUState *k, PCIBus *bus,
                                        int devfn)
{
    PCIDevice *pdev = bus->devices[devfn];

    return object_dynamic_cast(OBJECT(pdev), TYPE_VFIO_PCI) ? &k->vfio_as
                                                             : NULL;
}

static KVIOMMUDevice *kviommu_find_device(KVIOMMUState *k, PCIBus *bus,
                                          int devfn)
{
    KVIOMMUDevice *d;

    QLIST_FOREACH(d, &k->devices, next) {
        if (d->bus == bus && d->devfn == devfn) {
            return d;
        }
    }
    return NULL;
}

static bool kviommu_source_id_used(KVIOMMUState *k, int source_id)
{
    KVIOMMUDevice *d;

    QLIST_FOREACH(d, &k->devices, next) {
        if (d->source_id == source_id) {
            return true;
        }
    }
    return false;
}

/*
 * The requester ID that @d has now: none behind a bridge without a number, and
 * none while the machine is put together. The first reset attaches the devices
 * then. VFIO must attach them all before, which it cannot do if another device
 * of the same IOMMU group is behind the unit already.
 */
static int kviommu_source_id(KVIOMMUDevice *d)
{
    int bus_num = pci_bus_num(d->bus);

    if (!phase_check(PHASE_MACHINE_READY) ||
        (!bus_num && !pci_bus_is_root(d->bus))) {
        return KVIOMMU_NO_SOURCE;
    }
    return PCI_BUILD_BDF(bus_num, d->devfn);
}

/* Return: 0, or a negative errno with @errp set */
static int kviommu_ioctl_attach(KVIOMMUState *k, KVIOMMUDevice *d,
                                int source_id, Error **errp)
{
    struct kviommu_attach_device attach = {
        .size = sizeof(attach),
        .device_fd = d->vdev->fd,
        .source_id = source_id,
    };
    const char *why = "";
    int ret;

    trace_kviommu_attach(d->vdev->name, source_id);
    if (!ioctl(k->fd, KVIOMMU_ATTACH_DEVICE, &attach)) {
        d->source_id = source_id;
        return 0;
    }

    ret = -errno;
    switch (-ret) {
    case EBUSY:
        why = ": it, or another device of its IOMMU group, is in use elsewhere";
        break;
    case EXDEV:
        why = ": it is bound to another iommufd";
        break;
    case EEXIST:
        why = ": the unit has another device of that requester ID";
        break;
    case ENOSPC:
        why = ": the unit has as many devices as it takes";
        break;
    case EMEDIUMTYPE:
        why = k->nested ?
              ": the host's IOMMU of this device cannot walk the guest's "
              "tables as kviommu-nested promised, translates fewer bits than "
              "aw-bits, or cannot keep the device's DMA coherent with the "
              "CPU's caches" :
              ": the host's IOMMU translates fewer bits than aw-bits, or "
              "cannot keep the device's DMA coherent with the CPU's caches";
        break;
    case ENOMEM:
        if (k->nested) {
            why = ": for kviommu-nested all of the guest's memory has to be "
                  "pinned, which RLIMIT_MEMLOCK or the host's memory does not "
                  "allow";
        }
        break;
    case EINVAL:
        why = ": it is no VFIO device that is bound to an iommufd";
        break;
    }
    error_setg_errno(errp, -ret, "kviommu cannot take device %s%s",
                     d->vdev->name, why);
    if ((ret == -EMEDIUMTYPE || ret == -ENOMEM) && k->nested) {
        error_append_hint(errp, "kviommu-nested=off gives the guest a unit "
                          "in legacy mode.\n");
    }
    return ret;
}

static void kviommu_ioctl_detach(KVIOMMUState *k, KVIOMMUDevice *d)
{
    struct kviommu_detach_device detach = {
        .size = sizeof(detach),
        .source_id = d->source_id,
    };

    if (d->source_id == KVIOMMU_NO_SOURCE) {
        return;
    }
    trace_kviommu_detach(d->vdev->name, d->source_id);
    if (ioctl(k->fd, KVIOMMU_DETACH_DEVICE, &detach)) {
        error_report("kviommu cannot give device %s back: %s", d->vdev->name,
                     strerror(errno));
    }
    d->source_id = KVIOMMU_NO_SOURCE;
}

/* Unpin the guest's memory: no device is left that might need all of it. */
static void kviommu_release_pins(KVIOMMUState *k)
{
    struct kviommu_release_pins release = {
        .size = sizeof(release),
        .length = 1ULL << 52,
    };

    if (ioctl(k->fd, KVIOMMU_RELEASE_PINS, &release)) {
        error_report("kviommu cannot release the guest's memory: %s",
                     strerror(errno));
    }
}

/*
 * Attach each device under the requester ID that it has now. Two devices may
 * have the same one while the guest hands out bus numbers (SeaBIOS gives all
 * bridges the same one first); then one of them has to wait.
 */
static void kviommu_update_source_ids(KVIOMMUState *k)
{
    KVIOMMUDevice *d;

    QLIST_FOREACH(d, &k->devices, next) {
        if (d->source_id != kviommu_source_id(d)) {
            kviommu_ioctl_detach(k, d);
        }
    }
    QLIST_FOREACH(d, &k->devices, next) {
        int source_id = kviommu_source_id(d);
        Error *err = NULL;

        if (d->source_id != source_id &&
            !kviommu_source_id_used(k, source_id) &&
            kviommu_ioctl_attach(k, d, source_id, &err)) {
            if (d->warned) {
                error_free(err);
            } else {
                d->warned = true;
                error_report_err(err);
            }
        }
    }
}

/*
 * Called in the exit of the vCPU that wrote the number, so the device is known
 * by the new one before the guest goes on. A bridge also loses its number by a
 * reset, which is not reported: the devices behind it are reset by it as well,
 * and are not heard of until the guest numbers the bridge again.
 */
static void kviommu_bus_num_changed(Notifier *n, void *bus)
{
    kviommu_update_source_ids(container_of(n, KVIOMMUState,
                                           bus_num_notifier));
}

/*
 * VFIO's own detach, in its tear-down of the device, finds nothing to do later.
 * So there is no way back from here, and none that is needed: VFIO's IOAS is
 * empty, the device's DMA would be blocked as well if it were attached again.
 */
static bool kviommu_vfio_detach(VFIODevice *vdev, Error **errp)
{
    struct vfio_device_detach_iommufd_pt detach = { .argsz = sizeof(detach) };

    if (ioctl(vdev->fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach)) {
        error_setg_errno(errp, errno, "cannot detach %s from VFIO's IOAS",
                         vdev->name);
        return false;
    }
    return true;
}

/*
 * Attach @d for the first time. If it is the one that cannot be behind a unit in
 * scalable mode, and nobody insists on that, the guest gets no such unit.
 */
static bool kviommu_attach_first(KVIOMMUState *k, KVIOMMUDevice *d,
                                 int source_id, Error **errp)
{
    Error *err = NULL;
    int ret = kviommu_ioctl_attach(k, d, source_id, &err);

    if ((ret == -EMEDIUMTYPE || ret == -ENOMEM) && k->nested &&
        !phase_check(PHASE_MACHINE_READY) &&
        k->iommu->kviommu_nested == ON_OFF_AUTO_AUTO) {
        error_free(err);
        if (!kviommu_fall_back(k, errp) ||
            kviommu_ioctl_attach(k, d, source_id, errp)) {
            return false;
        }
        if (ret == -ENOMEM) {
            info_report("kviommu-nested=auto: the guest gets a unit in legacy "
                        "mode, as not all of its memory can be pinned for "
                        "device %s", d->vdev->name);
        } else {
            info_report("kviommu-nested=auto: the guest gets a unit in legacy "
                        "mode, as the host's IOMMU of device %s cannot walk "
                        "the guest's tables as those of others can",
                        d->vdev->name);
        }
        return true;
    }
    error_propagate(errp, err);
    return !ret;
}

bool kviommu_attach_device(KVIOMMUState *k, PCIBus *bus, int devfn,
                           HostIOMMUDevice *hiod, Error **errp)
{
    KVIOMMUDevice *d;
    VFIODevice *vdev;
    int source_id, probe_id;

    if (!object_dynamic_cast(OBJECT(hiod), TYPE_HOST_IOMMU_DEVICE_IOMMUFD)) {
        error_setg(errp, "kviommu needs the device to be opened through "
                   "iommufd");
        error_append_hint(errp, "Give the vfio-pci device the same iommufd= "
                          "option as the intel-iommu device.\n");
        return false;
    }
    vdev = hiod->agent;
    if (vdev->iommufd != k->be) {
        error_setg(errp, "kviommu needs the device to use the same iommufd "
                   "object as the intel-iommu device");
        return false;
    }
    if (hiod->aliased_bus != bus || hiod->aliased_devfn != devfn) {
        error_setg(errp, "kviommu cannot tell devices behind a conventional "
                   "PCI bridge apart");
        error_append_hint(errp, "Plug the device into pcie.0 or a "
                          "pcie-root-port.\n");
        return false;
    }

    if (!kviommu_vfio_detach(vdev, errp)) {
        return false;
    }

    d = g_new0(KVIOMMUDevice, 1);
    d->vdev = vdev;
    d->bus = bus;
    d->devfn = devfn;
    d->source_id = KVIOMMU_NO_SOURCE;

    /*
     * If the device has to wait for its ID try any free one, so that the user
     * learns now, rather than when the guest runs, if it cannot be attached at
     * all.
     */
    source_id = kviommu_source_id(d);
    if (kviommu_source_id_used(k, source_id)) {
        source_id = KVIOMMU_NO_SOURCE;
    }
    probe_id = source_id;
    if (probe_id == KVIOMMU_NO_SOURCE) {
        for (probe_id = UINT16_MAX; kviommu_source_id_used(k, probe_id);) {
            probe_id--;
        }
    }
    if (!kviommu_attach_first(k, d, probe_id, errp)) {
        g_free(d);
        return false;
    }
    if (source_id == KVIOMMU_NO_SOURCE) {
        kviommu_ioctl_detach(k, d);
    }
    QLIST_INSERT_HEAD(&k->devices, d, next);
    return true;
}

void kviommu_detach_device(KVIOMMUState *k, PCIBus *bus, int devfn)
{
    KVIOMMUDevice *d = kviommu_find_device(k, bus, devfn);

    if (!d) {
        return;
    }
    kviommu_ioctl_detach(k, d);
    QLIST_REMOVE(d, next);
    g_free(d);
    if (k->nested && QLIST_EMPTY(&k->devices)) {
        kviommu_release_pins(k);
    }
    /* Its requester ID may be what another one waits for */
    kviommu_update_source_ids(k);
}

void kviommu_require_device(KVIOMMUState *k, PCIDevice *pdev)
{
    PCIBus *bus = pci_get_bus(pdev);

    if (kviommu_find_device(k, bus, pdev->devfn) ||
        pci_bus_bypass_iommu(bus)) {
        return;
    }
    error_report("vfio-pci device %s is not behind kviommu: it is mediated, or "
                 "comes before the intel-iommu device on the command line",
                 VFIO_PCI(pdev)->vbasedev.name);
    exit(1);
}

/* Life of the unit */

KVIOMMUState *kviommu_new(IntelIOMMUState *s, Error **errp)
{
    KVIOMMUState *k = g_new0(KVIOMMUState, 1);
    int ret;

    k->iommu = s;
    k->be = s->kviommu_iommufd;
    QLIST_INIT(&k->devices);
    k->fd = kviommu_open(errp);
    if (k->fd < 0 || !kviommu_check_host(k, errp) ||
        !kviommu_choose_nested(k, errp)) {
        goto err_open;
    }

    /*
     * The unit may hold a page that the guest has freed. If it were discarded
     * and came back as another page, DMA would still go to the old one.
     */
    ret = ram_block_discard_disable(true);
    if (ret) {
        error_setg_errno(errp, -ret, "kviommu=on cannot be used together with "
                         "devices that give guest memory back to the host");
        goto err_open;
    }

    error_setg(&k->migration_blocker, "kviommu cannot be migrated yet");
    if (migrate_add_blocker(&k->migration_blocker, errp) < 0) {
        goto err_blocker;
    }

    if (!iommufd_backend_connect(k->be, errp)) {
        goto err_connect;
    }
    if (!iommufd_backend_alloc_ioas(k->be, &k->ioas_id, errp)) {
        goto err_ioas;
    }
    if (!kviommu_init_events(k, errp)) {
        goto err_events;
    }
    if (!kviommu_make(k, k->fd, errp)) {
        goto err_make;
    }
    memory_region_init_ram_device_ptr(&k->page_mr, OBJECT(s), "kviommu",
                                      qemu_real_host_page_size(), k->page);
    memory_region_add_subregion(get_system_memory(),
                                Q35_HOST_BRIDGE_IOMMU_ADDR, &k->page_mr);

    k->wanted = g_array_new(false, false, sizeof(KVIOMMURange));
    k->mapped = g_array_new(false, false, sizeof(KVIOMMURange));
    k->listener = (MemoryListener) {
        .name = "kviommu",
        .region_add = kviommu_region_add,
        .region_del = kviommu_region_del,
        .commit = kviommu_commit,
        /* Commit after KVM */
        .priority = MEMORY_LISTENER_PRIORITY_ACCEL + 1,
    };
    memory_listener_register(&k->listener, &address_space_memory);
    if (k->error) {
        /* The region is in use now: leave it all to the exit of QEMU */
        memory_listener_unregister(&k->listener);
        memory_region_del_subregion(get_system_memory(), &k->page_mr);
        error_propagate(errp, k->error);
        return NULL;
    }
    k->initialized = true;

    /*
     * What VFIO sees of the guest is empty, so it maps and pins nothing, but
     * for the address range of interrupts, where QEMU sends a device's MSIs.
     */
    memory_region_init(&k->vfio_root, OBJECT(s), "kviommu-vfio", UINT64_MAX);
    memory_region_init_alias(&k->vfio_ir, OBJECT(s), "kviommu-vfio-ir",
                             &s->mr_ir, 0, memory_region_size(&s->mr_ir));
    memory_region_add_subregion(&k->vfio_root, VTD_INTERRUPT_ADDR_FIRST,
                                &k->vfio_ir);
    address_space_init(&k->vfio_as, &k->vfio_root, "kviommu-vfio");
    k->bus_num_notifier.notify = kviommu_bus_num_changed;
    pci_bridge_add_bus_num_notifier(&k->bus_num_notifier);
    return k;

err_make:
    kviommu_cleanup_events(k, ARRAY_SIZE(k->events));
err_events:
    /* The unit holds the IOAS */
    close(k->fd);
    k->fd = -1;
    iommufd_backend_free_id(k->be, k->ioas_id);
err_ioas:
    iommufd_backend_disconnect(k->be);
err_connect:
    migrate_del_blocker(&k->migration_blocker);
err_blocker:
    ram_block_discard_disable(false);
err_open:
    if (k->fd >= 0) {
        close(k->fd);
    }
    g_free(k);
    return NULL;
}

void kviommu_reset(KVIOMMUState *k)
{
    struct kviommu_reset reset = { .size = sizeof(reset) };

    trace_kviommu_reset();
    if (ioctl(k->fd, KVIOMMU_RESET, &reset)) {
        error_report("kviommu cannot be reset: %s", strerror(errno));
    }
    /* The reset has also taken the bridges' bus numbers away */
    kviommu_update_source_ids(k);
}
