// SPDX-License-Identifier: GPL-2.0-only
/*
 * VT-d registers: what the guest may write to each, and what a write does.
 */
#include <linux/bitfield.h>
#include <linux/build_bug.h>
#include <linux/err.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "../../host/compat.h"
#include "vtd.h"
#include "../model.h"

/**
 * vtd_set64() - Set a 64-bit register, and update the page that the guest sees
 * @vtd: The unit
 * @offset: Offset of the register in the page, in bytes
 * @val: The new value
 *
 * Context: under unit->lock; does not sleep.
 */
void vtd_set64(struct vtd *vtd, unsigned int offset, u64 val)
{
	vtd_set32(vtd, offset, lower_32_bits(val));
	vtd_set32(vtd, offset + 4, upper_32_bits(val));
}

static void vtd_root_latch(struct vtd *vtd)
{
	vtd->root = vtd_get64(vtd, VTD_RTADDR);
	/* If translation is being enabled, it is with the new tables. */
	vtd->te_progress = (struct kviommu_progress){};
	vtd_set32(vtd, VTD_GSTS, vtd_get32(vtd, VTD_GSTS) | VTD_GSTS_RTPS);
}

/* Carry out a change of GCMD.TE. Return: false if the next step has to go on with it. */
static bool vtd_te_run(struct vtd *vtd, const struct kviommu_work *work)
{
	u32 gsts = vtd_get32(vtd, VTD_GSTS) & ~VTD_GSTS_TES;

	if (kviommu_rebind(vtd->model.unit, work, 0, U16_MAX, &vtd->te_progress))
		return false;
	/* With translation off, fault recording starts over at the first register. */
	if (!vtd->te)
		vtd->next_frcd = 0;
	vtd->te_changed = false;
	vtd_set32(vtd, VTD_GSTS, gsts | (vtd->te ? VTD_GSTS_TES : 0));
	kviommu_signal(vtd->model.unit, KVIOMMU_EVENT_CONTROL);
	return true;
}

/*
 * Commands for features that the capabilities do not report (fault logs, write buffers,
 * interrupt remapping) are ignored, and their status stays 0.
 */
static void vtd_gcmd_written(struct vtd *vtd)
{
	u32 gcmd = vtd_get32(vtd, VTD_GCMD);
	u32 changed = gcmd ^ vtd_get32(vtd, VTD_GSTS);

	/* GCMD is write-only and reads as 0. */
	vtd_set32(vtd, VTD_GCMD, 0);

	/*
	 * RTPS stays set after the first SRTP. So while polled a driver may take the next
	 * SRTP for done before it was seen, and overwrite it in GCMD with a command that
	 * changes TE or QIE: then only the new RTADDR shows that there was one.
	 */
	if (gcmd & VTD_GCMD_SRTP ||
	    (vtd->polled && changed & (VTD_GCMD_TE | VTD_GCMD_QIE) &&
	     vtd_get64(vtd, VTD_RTADDR) != vtd->root))
		vtd_root_latch(vtd);
	if (changed & VTD_GCMD_QIE) {
		if (gcmd & VTD_GCMD_QIE)
			vtd_queue_enable(vtd);
		else
			vtd_queue_disable(vtd);
	}
	if (vtd->te != !!(gcmd & VTD_GCMD_TE)) {
		vtd->te_changed = true;
		vtd->te_progress = (struct kviommu_progress){};
	}
	vtd->te = gcmd & VTD_GCMD_TE;
}

/* The VMM reads the message of an event from the page when it gets this event. */
static void vtd_msg_written(struct vtd *vtd)
{
	kviommu_signal(vtd->model.unit, KVIOMMU_EVENT_CONTROL);
}

/* Descriptors of 256 bits belong to scalable mode. */
static void vtd_iqa_written(struct vtd *vtd)
{
	if (!vtd_has_scalable(vtd))
		vtd_set32(vtd, VTD_IQA, vtd_get32(vtd, VTD_IQA) & ~(u32)VTD_IQA_DW);
}

#define REG(_offset, _rw, _w1c, _written)				\
	[(_offset) / sizeof(u32)] = {					\
		.rw = (_rw),						\
		.w1c = (_w1c),						\
		.written = (_written),					\
	}
#define RW(offset, rw, written)		REG(offset, rw, 0, written)
#define W1C(offset, w1c, written)	REG(offset, 0, w1c, written)
#define FRCD(n)								\
	W1C(VTD_FRCD + 16 * (n) + 12, upper_32_bits(VTD_FRCD_F),	\
	    vtd_frcd_written)

#define CCMD_RW	(VTD_CCMD_ICC | VTD_CCMD_CIRG | VTD_CCMD_FM | VTD_CCMD_SID | \
		 VTD_CCMD_DID)
#define IOTLB_RW (VTD_IOTLB_IVT | VTD_IOTLB_IIRG | VTD_IOTLB_DR | \
		  VTD_IOTLB_DW | VTD_IOTLB_DID)

const struct vtd_reg vtd_regs[VTD_REGS_SIZE / sizeof(u32)] = {
	RW(VTD_GCMD, ~0U, vtd_gcmd_written),
	RW(VTD_RTADDR, lower_32_bits(VTD_RTADDR_RTA | VTD_RTADDR_TTM), NULL),
	RW(VTD_RTADDR + 4, ~0U, NULL),
	/* A request that the guest replaces before it is done begins anew. */
	RW(VTD_CCMD, lower_32_bits(CCMD_RW), vtd_inval_forget),
	RW(VTD_CCMD + 4, upper_32_bits(CCMD_RW), vtd_inval_forget),
	W1C(VTD_FSTS, VTD_FSTS_W1C, vtd_fsts_written),
	RW(VTD_FECTL, VTD_ECTL_IM, vtd_fectl_written),
	RW(VTD_FEDATA, ~0U, vtd_msg_written),
	RW(VTD_FEADDR, ~3U, vtd_msg_written),
	RW(VTD_FEUADDR, ~0U, vtd_msg_written),
	RW(VTD_IQT, VTD_IQT_QT, NULL),
	RW(VTD_IQA, lower_32_bits(VTD_IQA_IQA | VTD_IQA_DW | VTD_IQA_QS),
	   vtd_iqa_written),
	RW(VTD_IQA + 4, ~0U, NULL),
	W1C(VTD_ICS, VTD_ICS_IWC, vtd_ics_written),
	RW(VTD_IECTL, VTD_ECTL_IM, vtd_iectl_written),
	RW(VTD_IEDATA, ~0U, vtd_msg_written),
	RW(VTD_IEADDR, ~3U, vtd_msg_written),
	RW(VTD_IEUADDR, ~0U, vtd_msg_written),
	RW(VTD_IVA, lower_32_bits(VTD_IVA_ADDR | VTD_IVA_IH | VTD_IVA_AM), vtd_inval_forget),
	RW(VTD_IVA + 4, ~0U, vtd_inval_forget),
	RW(VTD_IOTLB, lower_32_bits(IOTLB_RW), vtd_inval_forget),
	RW(VTD_IOTLB + 4, upper_32_bits(IOTLB_RW), vtd_inval_forget),
	FRCD(0), FRCD(1), FRCD(2), FRCD(3), FRCD(4), FRCD(5), FRCD(6), FRCD(7),
};

static_assert(VTD_NR_FRCD == 8);

static bool vtd_pending(struct kviommu_model *model)
{
	struct vtd *vtd = to_vtd(model);

	return vtd->te_changed || vtd_inval_pending(vtd) ||
	       vtd_queue_pending(vtd);
}

static bool vtd_run(struct kviommu_model *model, const struct kviommu_work *work)
{
	struct vtd *vtd = to_vtd(model);

	if (vtd->te_changed && !vtd_te_run(vtd, work))
		return true;
	if (vtd_inval_pending(vtd) && !vtd_inval_run(vtd, work))
		return true;
	if (vtd_queue_pending(vtd))
		vtd_queue_run(vtd, work);
	return vtd_queue_pending(vtd);
}

#define AW_BITS_MIN	39
#define AW_BITS_MAX	57

#define VTD_FLAGS	(KVIOMMU_VTD_BOOT_IDENTITY | KVIOMMU_VTD_BOOT_MASTER)

/* Capabilities that a VMM may leave out */
#define CAP_CHOICE	(VTD_CAP_PSI | VTD_CAP_SLLPS_2M | VTD_CAP_SLLPS_1G)
#define ECAP_CHOICE	VTD_ECAP_PT

/*
 * Capabilities of scalable mode: they describe the physical IOMMU, which walks the guest's
 * first-stage tables.
 */
#define CAP_NESTED	(VTD_CAP_FS1GP | VTD_CAP_FS5LP)
#define ECAP_NESTED	(VTD_ECAP_SMTS | VTD_ECAP_FSTS | VTD_ECAP_SMPWCS | VTD_ECAP_SC | \
			 VTD_ECAP_PASID | VTD_ECAP_PSS)

static u64 vtd_cap(const struct vtd *vtd, u64 choice)
{
	u64 sagaw = VTD_CAP_SAGAW_39;

	if (vtd->levels_max >= 4)
		sagaw |= VTD_CAP_SAGAW_48;
	if (vtd->levels_max >= 5)
		sagaw |= VTD_CAP_SAGAW_57;
	/* MAMV belongs to page-selective invalidation. */
	if (choice & VTD_CAP_PSI)
		choice |= VTD_CAP_MAMV(VTD_MAMV);
	return VTD_CAP_ND_16BIT | VTD_CAP_CM | sagaw | VTD_CAP_MGAW(vtd->mgaw) |
	       VTD_CAP_FRO(VTD_FRCD) | VTD_CAP_NFR(VTD_NR_FRCD) | VTD_CAP_DWD |
	       VTD_CAP_DRD | choice;
}

static void vtd_reset(struct kviommu_model *model)
{
	struct vtd *vtd = to_vtd(model);
	u64 cap = vtd_get64(vtd, VTD_CAP), ecap = vtd_get64(vtd, VTD_ECAP);

	memset(vtd->regs, 0, sizeof(vtd->regs));
	vtd_set32(vtd, VTD_VER, 0x10);
	vtd_set64(vtd, VTD_CAP, cap);
	vtd_set64(vtd, VTD_ECAP, ecap);
	vtd_set32(vtd, VTD_FECTL, VTD_ECTL_IM);
	vtd_set32(vtd, VTD_IECTL, VTD_ECTL_IM);
	vtd->te = false;
	vtd->te_changed = false;
	vtd->te_progress = (struct kviommu_progress){};
	vtd->held_events = 0;
	vtd->waits_for_ics = false;
	vtd->root = 0;
	vtd_inval_forget(vtd);
	vtd->next_frcd = 0;
	vtd_page_reset(vtd);
}

static void vtd_destroy(struct kviommu_model *model)
{
	kfree(to_vtd(model));
}

static const struct kviommu_model_ops vtd_ops = {
	.pending = vtd_pending,
	.run = vtd_run,
	.reset = vtd_reset,
	.resolve = vtd_resolve,
	.fault = vtd_fault,
	.destroy = vtd_destroy,
};

/* The capabilities of scalable mode that stand for what a physical IOMMU can nest */
static void vtd_nest_caps(const struct kviommu_nest *nest, u64 *cap, u64 *ecap)
{
	*cap = 0;
	*ecap = 0;
	if (!nest->wanted)
		return;
	*cap = (nest->huge ? VTD_CAP_FS1GP : 0) | (nest->five_levels ? VTD_CAP_FS5LP : 0);
	*ecap = VTD_ECAP_SMTS | VTD_ECAP_FSTS | (nest->coherent ? VTD_ECAP_SMPWCS : 0) |
		(nest->snoop ? VTD_ECAP_SC : 0);
	if (nest->pasid_bits)
		*ecap |= VTD_ECAP_PASID | FIELD_PREP(VTD_ECAP_PSS, nest->pasid_bits - 1);
}

/* What the capabilities that a VMM wants promise to the guest. Return: 0 or an error. */
static int vtd_nest_wanted(const struct kviommu_create_vtd *args, struct kviommu_nest *nest)
{
	const u64 both = VTD_ECAP_SMTS | VTD_ECAP_FSTS;
	u64 cap = args->cap & CAP_NESTED, ecap = args->ecap & ECAP_NESTED;
	u64 host_cap, host_ecap;
	struct kviommu_nest host;
	int ret;

	*nest = (struct kviommu_nest){};
	if (!cap && !ecap)
		return 0;
	ret = kviommu_nest_host(&host);
	if (ret)
		return ret;
	vtd_nest_caps(&host, &host_cap, &host_ecap);
	/* PSS is a number: any up to that of the host */
	if (cap & ~host_cap || ecap & ~(host_ecap | VTD_ECAP_PSS) ||
	    (ecap & VTD_ECAP_PSS) > (host_ecap & VTD_ECAP_PSS))
		return -EOPNOTSUPP;
	if ((ecap & both) != both || (ecap & VTD_ECAP_PSS && !(ecap & VTD_ECAP_PASID)))
		return -EINVAL;
	nest->wanted = true;
	nest->huge = cap & VTD_CAP_FS1GP;
	nest->five_levels = cap & VTD_CAP_FS5LP;
	nest->coherent = ecap & VTD_ECAP_SMPWCS;
	nest->snoop = ecap & VTD_ECAP_SC;
	if (ecap & VTD_ECAP_PASID)
		nest->pasid_bits = FIELD_GET(VTD_ECAP_PSS, ecap) + 1;
	return 0;
}

static int vtd_get_info(void *data)
{
	struct kviommu_vtd_info *info = data;
	struct kviommu_nest nest;
	u64 cap, ecap;
	int ret;

	ret = kviommu_nest_host(&nest);
	if (ret)
		return ret;
	vtd_nest_caps(&nest, &cap, &ecap);
	info->out_aw_bits_min = AW_BITS_MIN;
	info->out_aw_bits_max = AW_BITS_MAX;
	info->out_flags = VTD_FLAGS;
	info->out_cap = CAP_CHOICE | cap;
	info->out_ecap = ECAP_CHOICE | ecap;
	return 0;
}

static struct kviommu_model *vtd_create(struct kviommu_unit *unit, const void *data)
{
	const struct kviommu_create_vtd *args = data;
	struct kviommu_nest nest;
	struct vtd *vtd;
	int ret;

	if (args->flags & ~VTD_FLAGS ||
	    args->cap & ~(CAP_CHOICE | CAP_NESTED) ||
	    args->ecap & ~(ECAP_CHOICE | ECAP_NESTED))
		return ERR_PTR(-EOPNOTSUPP);
	ret = vtd_nest_wanted(args, &nest);
	if (ret)
		return ERR_PTR(ret);
	if (args->flags == KVIOMMU_VTD_BOOT_MASTER || args->aw_bits < AW_BITS_MIN ||
	    args->aw_bits > AW_BITS_MAX)
		return ERR_PTR(-EINVAL);
	vtd = kzalloc_obj(*vtd, GFP_KERNEL_ACCOUNT);
	if (!vtd)
		return ERR_PTR(-ENOMEM);
	vtd->model.ops = &vtd_ops;
	vtd->model.page_ops = &vtd_page_ops;
	vtd->model.unit = unit;
	vtd->source.ops = &kviommu_radix_ops;
	vtd->source.decode = vtd_decode;
	vtd->page = page_address(unit->pages[0]);
	vtd->haw = 48;
	unit->aw_bits = args->aw_bits;
	unit->boot_master = args->flags & KVIOMMU_VTD_BOOT_MASTER;
	unit->nest = nest;
	vtd->mgaw = args->aw_bits;
	vtd->levels_max = args->aw_bits > 48 ? 5 : args->aw_bits > 39 ? 4 : 3;
	/* At level 1 PS is ignored, not reserved. */
	vtd->leaf_levels = BIT(1) | (args->cap & VTD_CAP_SLLPS_2M ? BIT(2) : 0) |
		     (args->cap & VTD_CAP_SLLPS_1G ? BIT(3) : 0);
	/*
	 * Without device-TLBs TM is reserved, and SNP without snoop control. With it SNP asks
	 * for what all DMA is, coherent.
	 */
	vtd->sl_rsvd = VTD_SL_TM | (args->ecap & VTD_ECAP_SC ? 0 : VTD_SL_SNP) |
		       (VTD_SL_ADDR & vtd_beyond_haw(vtd));
	vtd->boot_identity = args->flags & KVIOMMU_VTD_BOOT_IDENTITY;
	vtd_set64(vtd, VTD_CAP, vtd_cap(vtd, args->cap));
	vtd_set64(vtd, VTD_ECAP, VTD_ECAP_C | VTD_ECAP_QI | VTD_ECAP_IRO(VTD_IVA) |
		  args->ecap);
	vtd_reset(&vtd->model);
	return &vtd->model;
}

static_assert(sizeof(struct kviommu_create_vtd) <= KVIOMMU_MODEL_BLOB_MAX);
static_assert(sizeof(struct kviommu_vtd_info) <= KVIOMMU_MODEL_BLOB_MAX);

const struct kviommu_model_kind kviommu_vtd = {
	.id = KVIOMMU_MODEL_VTD,
	.pages = 1,
	.args_min = offsetofend(struct kviommu_create_vtd, ecap),
	.args_size = sizeof(struct kviommu_create_vtd),
	.info_size = sizeof(struct kviommu_vtd_info),
	.get_info = vtd_get_info,
	.create = vtd_create,
};
