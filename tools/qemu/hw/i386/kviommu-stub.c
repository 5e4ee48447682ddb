/*
 * kviommu: stubs for builds without KVM, VFIO or iommufd
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "hw/i386/intel_iommu.h"
#include "hw/i386/kviommu.h"

bool kviommu_vtd_check_options(IntelIOMMUState *s, Error **errp)
{
    if (s->kviommu_enabled) {
        error_setg(errp, "kviommu=on: this QEMU was built without KVM, VFIO "
                   "or iommufd");
        return false;
    }
    return true;
}

KVIOMMUState *kviommu_vtd_new(IntelIOMMUState *s, Error **errp)
{
    g_assert_not_reached();
}

uint32_t kviommu_read_long(KVIOMMUState *k, hwaddr reg)
{
    g_assert_not_reached();
}

uint64_t kviommu_read_quad(KVIOMMUState *k, hwaddr reg)
{
    g_assert_not_reached();
}

AddressSpace *kviommu_get_address_space(KVIOMMUState *k, PCIBus *bus,
                                        int devfn)
{
    g_assert_not_reached();
}

bool kviommu_attach_device(KVIOMMUState *k, PCIBus *bus, int devfn,
                           HostIOMMUDevice *hiod, Error **errp)
{
    g_assert_not_reached();
}

void kviommu_detach_device(KVIOMMUState *k, PCIBus *bus, int devfn)
{
    g_assert_not_reached();
}

void kviommu_require_device(KVIOMMUState *k, PCIDevice *pdev)
{
    g_assert_not_reached();
}

void kviommu_reset(KVIOMMUState *k)
{
    g_assert_not_reached();
}
