/*
 * kviommu: units of the host kernel, whatever the guest sees of them
 *
 * The host kernel emulates what the guest drives the unit by, and translates
 * for assigned devices. What is left to do here:
 *
 *  - put the register page where the guest looks for it, as a memory slot;
 *  - keep an IOAS of guest physical addresses in step with the memory map; the
 *    kernel pins from it what the guest uses for DMA, and nothing else;
 *  - hand the devices over that VFIO opened, under the requester ID that the
 *    guest knows them by.
 *
 * kviommu_vtd.c and kviommu_tracker.c are the devices that have a unit.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/kviommu.h>
#include <linux/vfio.h>

#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "exec/address-spaces.h"
#include "hw/pci/pci_bridge.h"
#include "hw/pci/pci_bus.h"
#include "hw/qdev-core.h"
#include "hw/vfio/pci.h"
#include "hw/vfio/vfio-common.h"
#include "migration/vmstate.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "cpu.h"
#include "kviommu_internal.h"
#include "trace.h"

#define KVIOMMU_DEV         "/dev/kviommu"

/* A part of guest physical address space that is RAM */
typedef struct KVIOMMURange {
    hwaddr start;
    hwaddr last;
    void *host;
    bool readonly;
} KVIOMMURange;

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

static const char *const kviommu_boots[] = { "block", "auto", "identity" };

static uint64_t kviommu_number(const KVIOMMUOptions *o, const KVIOMMUNumber *n)
{
    return *(const uint64_t *)((const char *)o + n->option);
}

const char *kviommu_given_number(const KVIOMMUOps *ops,
                                 const KVIOMMUOptions *o)
{
    const KVIOMMUNumber *n;

    for (n = ops->numbers; n->name; n++) {
        if (kviommu_number(o, n) != UINT64_MAX) {
            return n->name;
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

/* Both models have the same flags for it. */
QEMU_BUILD_BUG_ON((int)KVIOMMU_COIOMMU_BOOT_IDENTITY !=
                  (int)KVIOMMU_VTD_BOOT_IDENTITY ||
                  (int)KVIOMMU_COIOMMU_BOOT_MASTER !=
                  (int)KVIOMMU_VTD_BOOT_MASTER);

bool kviommu_choose_boot(KVIOMMUState *k, const char *option,
                         const char *value, uint32_t offered, uint32_t *flags,
                         Error **errp)
{
    static const uint32_t boot_flags[] = {
        0,
        KVIOMMU_VTD_BOOT_IDENTITY | KVIOMMU_VTD_BOOT_MASTER,
        KVIOMMU_VTD_BOOT_IDENTITY,
    };
    uint32_t choice = 0;

    if (!kviommu_choose(option, value ?: "auto", kviommu_boots,
                        ARRAY_SIZE(kviommu_boots), &choice, errp)) {
        return false;
    }
    /* Without what auto needs nothing is reached, either */
    *flags = (boot_flags[choice] & ~offered) ? 0 : boot_flags[choice];
    k->boot_master = *flags & KVIOMMU_VTD_BOOT_MASTER;
    return true;
}

/* Events */

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

/* Of requests without PASID, if @get says nothing of one, or of those with it */
static void kviommu_report_requests(KVIOMMUDevice *d,
                                    const struct kviommu_get_device *get)
{
    g_autofree char *which = NULL;

    if (!get->out_fault && (!get->out_error || get->out_error == EINPROGRESS)) {
        return;
    }
    which = get->pasid ? g_strdup_printf(" with PASID %u", get->pasid) :
                         g_strdup("");
    if (get->out_fault) {
        warn_report("kviommu: DMA of device %s%s is blocked: what the guest "
                    "asks for is invalid, VT-d fault reason 0x%x",
                    d->vdev->name, which, get->out_fault);
    } else {
        warn_report("kviommu: DMA of device %s%s is blocked: %s",
                    d->vdev->name, which, kviommu_blocked_reason(get));
    }
    d->blocked_reported = true;
}

static void kviommu_report_blocked(KVIOMMUState *k, KVIOMMUDevice *d)
{
    struct kviommu_get_device get = {
        .size = sizeof(get),
        .source_id = d->source_id,
    };

    if (d->source_id == KVIOMMU_NO_SOURCE) {
        return;
    }
    do {
        get.pasid = get.out_next_pasid;
        if (ioctl(k->fd, KVIOMMU_GET_DEVICE, &get)) {
            return;
        }
        trace_kviommu_device(d->vdev->name, get.pasid, get.out_wanted,
                             get.out_in_force, get.out_error, get.out_fault);
        if (d->blocked_reported) {
            return;
        }
        kviommu_report_requests(d, &get);
    } while (get.out_next_pasid);
}

void kviommu_control_event(EventNotifier *n)
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

void kviommu_limit_event(EventNotifier *n)
{
    if (event_notifier_test_and_clear(n)) {
        warn_report_once("kviommu: DMA of the guest is blocked for lack of "
                         "memory or at a limit; see RLIMIT_MEMLOCK, the memory "
                         "cgroup and the unit's policy in /sys/class/kviommu");
    }
}

static void kviommu_cleanup_events(KVIOMMUState *k, int nr)
{
    for (int i = 0; i < nr; i++) {
        if (k->ops->events[i]) {
            event_notifier_set_handler(&k->events[i], NULL);
            event_notifier_cleanup(&k->events[i]);
        }
    }
}

static bool kviommu_init_events(KVIOMMUState *k, Error **errp)
{
    for (int i = 0; i < KVIOMMU_NR_EVENTS; i++) {
        int ret;

        if (!k->ops->events[i]) {
            continue;
        }
        ret = event_notifier_init(&k->events[i], 0);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "kviommu: cannot make an eventfd");
            kviommu_cleanup_events(k, i);
            return false;
        }
        event_notifier_set_handler(&k->events[i], k->ops->events[i]);
    }
    return true;
}

static bool kviommu_set_events(KVIOMMUState *k, int fd, Error **errp)
{
    for (int i = 0; i < KVIOMMU_NR_EVENTS; i++) {
        struct kviommu_set_eventfd set = {
            .size = sizeof(set),
            .event = i,
        };

        if (!k->ops->events[i]) {
            continue;
        }
        set.fd = event_notifier_get_fd(&k->events[i]);
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
        k->arm_gpa = section->offset_within_address_space;
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

bool kviommu_arm(KVIOMMUState *k, Error **errp)
{
    struct kviommu_arm arm = {
        .size = sizeof(arm),
        .gpa = k->arm_gpa,
    };

    trace_kviommu_arm(arm.gpa);
    if (ioctl(k->fd, KVIOMMU_ARM, &arm)) {
        error_setg_errno(errp, errno, "kviommu: the kernel cannot track the "
                         "register page");
        return false;
    }
    return true;
}

/*
 * Let the unit know whether the guest has turned bus mastering of @d on. Until
 * it translates, or tracks, that decides whether all of its memory is pinned.
 */
static void kviommu_update_bus_master(KVIOMMUState *k, KVIOMMUDevice *d)
{
    PCIDevice *pdev = d->bus->devices[d->devfn];
    struct kviommu_set_bus_master set = {
        .size = sizeof(set),
        .source_id = d->source_id,
    };

    if (!k->boot_master || d->source_id == KVIOMMU_NO_SOURCE || !pdev) {
        return;
    }
    set.on = !!(pci_get_word(pdev->config + PCI_COMMAND) & PCI_COMMAND_MASTER);
    if (set.on == d->bus_master) {
        return;
    }
    trace_kviommu_bus_master(d->vdev->name, set.on);
    if (ioctl(k->fd, KVIOMMU_SET_BUS_MASTER, &set)) {
        error_report("kviommu cannot be told that device %s is a bus master or "
                     "not: %s", d->vdev->name, strerror(errno));
    }
    d->bus_master = set.on;
}

static void kviommu_commit(MemoryListener *listener)
{
    KVIOMMUState *k = container_of(listener, KVIOMMUState, listener);
    struct kviommu_refresh refresh = { .size = sizeof(refresh) };
    KVIOMMUDevice *d;
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

    /*
     * A device's own address space follows the bit in its command register, and
     * a change of any address space ends here.
     */
    QLIST_FOREACH(d, &k->devices, next) {
        kviommu_update_bus_master(k, d);
    }
}

/* The unit */

int kviommu_open(Error **errp)
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
                         "kernel module kviommu is not loaded, or QEMU has a "
                         "/dev of its own");
        error_append_hint(errp, "Load it on the host: modprobe kviommu. "
                          "libvirt gives QEMU only the devices that "
                          "cgroup_device_acl in qemu.conf names.\n");
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

bool kviommu_get_info(KVIOMMUState *k, void *data, size_t len, Error **errp)
{
    struct kviommu_info info = { .size = sizeof(info) };

    if (ioctl(k->fd, KVIOMMU_GET_INFO, &info)) {
        error_setg_errno(errp, errno, "cannot ask " KVIOMMU_DEV " what it "
                         "offers");
        return false;
    }
    if (!(info.out_models & (1 << k->ops->model))) {
        error_setg(errp, "the kernel module kviommu does not offer %s",
                   k->ops->model_name);
        return false;
    }
    info.model = k->ops->model;
    info.data_len = len;
    info.data_uptr = (uintptr_t)data;
    if (ioctl(k->fd, KVIOMMU_GET_INFO, &info)) {
        error_setg_errno(errp, errno, "cannot ask " KVIOMMU_DEV " what %s it "
                         "offers", k->ops->model_name);
        return false;
    }
    if (info.out_page_size != qemu_real_host_page_size()) {
        error_setg(errp, "kviommu's register page of %u bytes is no page of "
                   "the host", info.out_page_size);
        return false;
    }
    return true;
}

static bool kviommu_create(KVIOMMUState *k, int fd, Error **errp)
{
    struct kviommu_create create = {
        .size = sizeof(create),
        .kvm_fd = kvm_state->vmfd,
        .iommufd = k->be->fd,
        .ioas_id = k->ioas_id,
        .model = k->ops->model,
        .data_len = k->args_len,
        .data_uptr = (uintptr_t)k->args,
    };

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
                         "addresses of %u bits", k->aw_bits);
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
    const KVIOMMUOptions *o = k->options;
    struct kviommu_policy policy = { .size = sizeof(policy) };
    const KVIOMMUNumber *n;

    if (!kviommu_choose("kviommu-mode", o->mode, kviommu_modes,
                        ARRAY_SIZE(kviommu_modes), &policy.mode, errp) ||
        !kviommu_choose("kviommu-strategy", o->strategy, kviommu_strategies,
                        ARRAY_SIZE(kviommu_strategies), &policy.strategy,
                        errp)) {
        return false;
    }
    policy.mask = (o->mode ? KVIOMMU_POLICY_MODE : 0) |
                  (o->strategy ? KVIOMMU_POLICY_STRATEGY : 0);
    for (n = k->ops->numbers; n->name; n++) {
        uint64_t *number = (void *)((char *)&policy + n->policy);

        if (kviommu_number(o, n) != UINT64_MAX) {
            policy.mask |= n->member;
            *number = kviommu_number(o, n);
        }
    }
    if (policy.mask && ioctl(fd, KVIOMMU_SET_POLICY, &policy)) {
        error_setg_errno(errp, errno, "kviommu refuses the policy that the "
                         "options of %s ask for", k->ops->device);
        error_append_hint(errp, "The kernel module has to know the option, and "
                          "a minimum must not be above its maximum.\n");
        return false;
    }
    return true;
}

static bool kviommu_map_page(KVIOMMUState *k, int fd, Error **errp)
{
    void *page = mmap(k->page, qemu_real_host_page_size(),
                      PROT_READ | PROT_WRITE,
                      MAP_SHARED | (k->page ? MAP_FIXED : 0), fd, 0);

    if (page == MAP_FAILED) {
        error_setg_errno(errp, errno, "cannot map kviommu's register page");
        return false;
    }
    k->page = page;
    return true;
}

bool kviommu_make(KVIOMMUState *k, int fd, Error **errp)
{
    return kviommu_create(k, fd, errp) && kviommu_set_policy(k, fd, errp) &&
           kviommu_set_events(k, fd, errp) && kviommu_map_page(k, fd, errp) &&
           (!k->ops->map_pages || k->ops->map_pages(k, errp));
}

/* Assigned devices */

AddressSpace *kviommu_get_address_space(KVIOMMUState *k, PCIBus *bus,
                                        int devfn)
{
    PCIDevice *pdev = bus->devices[devfn];

    return object_dynamic_cast(OBJECT(pdev), TYPE_VFIO_PCI) &&
           k->ops->covers(k, pdev) ? &k->vfio_as : NULL;
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

/* Say why the unit does not take @d, or cannot give it what it is to have */
static void kviommu_refuse(KVIOMMUState *k, KVIOMMUDevice *d, int err,
                           Error **errp)
{
    const char *why, *hint = NULL;

    switch (err) {
    case EBUSY:
        why = "it, or another device of its IOMMU group, is in use elsewhere";
        break;
    case EXDEV:
        why = "it is bound to another iommufd";
        break;
    case EEXIST:
        why = "the unit has another device of that requester ID";
        break;
    case ENOSPC:
        why = "the unit has as many devices as it takes";
        break;
    case EINVAL:
        why = "it is no VFIO device that is bound to an iommufd";
        break;
    default:
        why = k->ops->refusal(k, err, &hint);
        break;
    }
    error_setg_errno(errp, err, "kviommu cannot take device %s%s%s",
                     d->vdev->name, why ? ": " : "", why ?: "");
    if (hint) {
        error_append_hint(errp, "%s\n", hint);
    }
}

int kviommu_ioctl_attach(KVIOMMUState *k, KVIOMMUDevice *d, int source_id,
                         Error **errp)
{
    struct kviommu_attach_device attach = {
        .size = sizeof(attach),
        .device_fd = d->vdev->fd,
        .source_id = source_id,
    };
    int ret;

    trace_kviommu_attach(d->vdev->name, source_id);
    if (ioctl(k->fd, KVIOMMU_ATTACH_DEVICE, &attach)) {
        ret = -errno;
        kviommu_refuse(k, d, -ret, errp);
        return ret;
    }
    d->source_id = source_id;
    d->bus_master = false;
    kviommu_update_bus_master(k, d);
    return 0;
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

/*
 * Check that @d, which the unit has taken, has what it is to have: it is
 * blocked for instance if all of the guest's memory cannot be pinned for it.
 */
static bool kviommu_is_served(KVIOMMUState *k, KVIOMMUDevice *d, Error **errp)
{
    struct kviommu_get_device get = {
        .size = sizeof(get),
        .source_id = d->source_id,
    };

    if (ioctl(k->fd, KVIOMMU_GET_DEVICE, &get)) {
        error_setg_errno(errp, errno, "kviommu does not tell of device %s",
                         d->vdev->name);
        return false;
    }
    if (get.out_error && get.out_error != EINPROGRESS) {
        kviommu_refuse(k, d, get.out_error, errp);
        return false;
    }
    return true;
}

/* Unpin what nothing uses: no device is left that might need it. */
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
 * Attach each device under the requester ID that it has now. When the machine
 * starts a failure ends QEMU: all of the guest's memory is there then, and all
 * of the devices, as they were not when the first ones were tried. Two devices may
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

        if (d->source_id == source_id ||
            kviommu_source_id_used(k, source_id)) {
            continue;
        }
        if (!kviommu_ioctl_attach(k, d, source_id, &err) &&
            (k->started || kviommu_is_served(k, d, &err))) {
            continue;
        }
        if (!k->started) {
            error_report_err(err);
            exit(1);
        }
        if (d->warned) {
            error_free(err);
        } else {
            d->warned = true;
            error_report_err(err);
        }
    }
    k->started |= phase_check(PHASE_MACHINE_READY);
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

bool kviommu_attach_device(KVIOMMUState *k, PCIBus *bus, int devfn,
                           HostIOMMUDevice *hiod, Error **errp)
{
    KVIOMMUDevice *d;
    VFIODevice *vdev;
    int source_id, probe_id, ret;

    if (!object_dynamic_cast(OBJECT(hiod), TYPE_HOST_IOMMU_DEVICE_IOMMUFD)) {
        error_setg(errp, "kviommu needs the device to be opened through "
                   "iommufd");
        error_append_hint(errp, "Give the vfio-pci device the same iommufd= "
                          "option as the %s device.\n", k->ops->device);
        return false;
    }
    vdev = hiod->agent;
    if (vdev->iommufd != k->be) {
        error_setg(errp, "kviommu needs the device to use the same iommufd "
                   "object as the %s device", k->ops->device);
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
    ret = k->ops->attach_first ? k->ops->attach_first(k, d, probe_id, errp) :
                                 kviommu_ioctl_attach(k, d, probe_id, errp);
    if (ret) {
        g_free(d);
        return false;
    }
    if (!kviommu_is_served(k, d, errp)) {
        kviommu_ioctl_detach(k, d);
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
    if (QLIST_EMPTY(&k->devices)) {
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
                 "comes before the %s device on the command line",
                 VFIO_PCI(pdev)->vbasedev.name, k->ops->device);
    exit(1);
}

/* Life of the unit */

/*
 * The blocker keeps a machine from being saved, this also from taking the state
 * of one that was saved without kviommu.
 */
static const VMStateDescription kviommu_vmstate = {
    .name = "kviommu",
    .unmigratable = 1,
};

bool kviommu_realize(KVIOMMUState *k, MemoryRegion *parent, hwaddr offset,
                     Error **errp)
{
    int ret;

    QLIST_INIT(&k->devices);

    /*
     * The unit may hold a page that the guest has freed. If it were discarded
     * and came back as another page, DMA would still go to the old one.
     */
    ret = ram_block_discard_disable(true);
    if (ret) {
        error_setg_errno(errp, -ret, "kviommu cannot be used together with "
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
    memory_region_init_ram_device_ptr(&k->page_mr, k->owner, "kviommu",
                                      qemu_real_host_page_size(), k->page);
    memory_region_add_subregion(parent, offset, &k->page_mr);

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
        memory_region_del_subregion(parent, &k->page_mr);
        error_propagate(errp, k->error);
        return false;
    }
    k->initialized = true;
    vmstate_register_any(NULL, &kviommu_vmstate, k);

    /*
     * What VFIO sees of the guest is empty, so it maps and pins nothing, but
     * for the address range of interrupts, where QEMU sends a device's MSIs.
     */
    memory_region_init(&k->vfio_root, k->owner, "kviommu-vfio", UINT64_MAX);
    memory_region_init_alias(&k->vfio_msi, k->owner, "kviommu-vfio-msi",
                             get_system_memory(), APIC_DEFAULT_ADDRESS,
                             APIC_SPACE_SIZE);
    memory_region_add_subregion(&k->vfio_root, APIC_DEFAULT_ADDRESS,
                                &k->vfio_msi);
    address_space_init(&k->vfio_as, &k->vfio_root, "kviommu-vfio");
    k->bus_num_notifier.notify = kviommu_bus_num_changed;
    pci_bridge_add_bus_num_notifier(&k->bus_num_notifier);
    return true;

err_make:
    if (k->page) {
        munmap(k->page, qemu_real_host_page_size());
    }
    kviommu_cleanup_events(k, KVIOMMU_NR_EVENTS);
err_events:
    /* The unit holds the IOAS, and ends with its file and that one's mappings */
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
    return false;
}

void kviommu_reset(KVIOMMUState *k)
{
    struct kviommu_reset reset = { .size = sizeof(reset) };
    KVIOMMUDevice *d;

    trace_kviommu_reset();
    if (ioctl(k->fd, KVIOMMU_RESET, &reset)) {
        error_report("kviommu cannot be reset: %s", strerror(errno));
    }
    QLIST_FOREACH(d, &k->devices, next) {
        d->bus_master = false;
        kviommu_update_bus_master(k, d);
    }
    /* The reset has also taken the bridges' bus numbers away */
    kviommu_update_source_ids(k);
}
