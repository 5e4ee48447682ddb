/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Registers and structures of the Intel VT-d specification that legacy mode and, of
 * scalable mode, first-stage translation and pass-through use, by their names there.
 */
#ifndef _KVIOMMU_VTD_SPEC_H
#define _KVIOMMU_VTD_SPEC_H

#include <linux/bits.h>
#include <linux/types.h>

/* Offsets of registers */
#define VTD_VER		0x00
#define VTD_CAP		0x08
#define VTD_ECAP	0x10
#define VTD_GCMD	0x18
#define VTD_GSTS	0x1c
#define VTD_RTADDR	0x20
#define VTD_CCMD	0x28
#define VTD_FSTS	0x34
#define VTD_FECTL	0x38
#define VTD_FEDATA	0x3c
#define VTD_FEADDR	0x40
#define VTD_FEUADDR	0x44
#define VTD_IQH		0x80
#define VTD_IQT		0x88
#define VTD_IQA		0x90
#define VTD_ICS		0x9c
#define VTD_IECTL	0xa0
#define VTD_IEDATA	0xa4
#define VTD_IEADDR	0xa8
#define VTD_IEUADDR	0xac
/* The offsets that this unit reports in ECAP.IRO and CAP.FRO */
#define VTD_IVA		0xf0
#define VTD_IOTLB	0xf8
#define VTD_FRCD	0x220
#define VTD_NR_FRCD	8
#define VTD_REGS_SIZE	0x300

/* CAP */
#define VTD_CAP_ND_16BIT	6ULL
#define VTD_CAP_CM		BIT_ULL(7)
#define VTD_CAP_SAGAW_39	BIT_ULL(9)
#define VTD_CAP_SAGAW_48	BIT_ULL(10)
#define VTD_CAP_SAGAW_57	BIT_ULL(11)
#define VTD_CAP_MGAW(bits)	((u64)((bits) - 1) << 16)
#define VTD_CAP_FRO(offset)	((u64)(offset) / 16 << 24)
#define VTD_CAP_SLLPS_2M	BIT_ULL(34)
#define VTD_CAP_SLLPS_1G	BIT_ULL(35)
#define VTD_CAP_PSI		BIT_ULL(39)
#define VTD_CAP_NFR(n)		((u64)((n) - 1) << 40)
#define VTD_CAP_MAMV(bits)	((u64)(bits) << 48)
#define VTD_CAP_DWD		BIT_ULL(54)
#define VTD_CAP_DRD		BIT_ULL(55)
#define VTD_CAP_FS1GP		BIT_ULL(56)
#define VTD_CAP_FS5LP		BIT_ULL(60)
#define VTD_MAMV		18

/* ECAP */
#define VTD_ECAP_C		BIT_ULL(0)
#define VTD_ECAP_QI		BIT_ULL(1)
#define VTD_ECAP_PT		BIT_ULL(6)
#define VTD_ECAP_SC		BIT_ULL(7)
#define VTD_ECAP_NEST		BIT_ULL(26)
#define VTD_ECAP_PSS		GENMASK_ULL(39, 35)
#define VTD_ECAP_PASID		BIT_ULL(40)
#define VTD_ECAP_SMTS		BIT_ULL(43)
#define VTD_ECAP_SSTS		BIT_ULL(46)
#define VTD_ECAP_FSTS		BIT_ULL(47)
#define VTD_ECAP_SMPWCS		BIT_ULL(48)
#define VTD_ECAP_IRO(offset)	((u64)(offset) / 16 << 8)

/* GCMD and GSTS */
#define VTD_GCMD_TE		BIT(31)
#define VTD_GCMD_SRTP		BIT(30)
#define VTD_GCMD_QIE		BIT(26)
#define VTD_GSTS_TES		BIT(31)
#define VTD_GSTS_RTPS		BIT(30)
#define VTD_GSTS_QIES		BIT(26)

/* RTADDR */
#define VTD_RTADDR_RTA		GENMASK_ULL(63, 12)
#define VTD_RTADDR_TTM		GENMASK_ULL(11, 10)
#define VTD_TTM_LEGACY		0
#define VTD_TTM_SCALABLE	1

/* CCMD */
#define VTD_CCMD_ICC		BIT_ULL(63)
#define VTD_CCMD_CIRG		GENMASK_ULL(62, 61)
#define VTD_CCMD_CAIG		GENMASK_ULL(60, 59)
#define VTD_CCMD_FM		GENMASK_ULL(33, 32)
#define VTD_CCMD_SID		GENMASK_ULL(31, 16)
#define VTD_CCMD_DID		GENMASK_ULL(15, 0)

/* IOTLB and IVA */
#define VTD_IOTLB_IVT		BIT_ULL(63)
#define VTD_IOTLB_IIRG		GENMASK_ULL(61, 60)
#define VTD_IOTLB_IAIG		GENMASK_ULL(58, 57)
#define VTD_IOTLB_DR		BIT_ULL(49)
#define VTD_IOTLB_DW		BIT_ULL(48)
#define VTD_IOTLB_DID		GENMASK_ULL(47, 32)
#define VTD_IVA_ADDR		GENMASK_ULL(63, 12)
#define VTD_IVA_IH		BIT_ULL(6)
#define VTD_IVA_AM		GENMASK_ULL(5, 0)

/* Granularity of invalidations, the same in registers and descriptors */
#define VTD_GRAN_GLOBAL		1
#define VTD_GRAN_DOMAIN		2
#define VTD_GRAN_PAGE		3	/* of the IOTLB */
#define VTD_GRAN_DEVICE		3	/* of the context-cache */

/* FSTS */
#define VTD_FSTS_PFO		BIT(0)
#define VTD_FSTS_PPF		BIT(1)
#define VTD_FSTS_IQE		BIT(4)
#define VTD_FSTS_ICE		BIT(5)
#define VTD_FSTS_ITE		BIT(6)
#define VTD_FSTS_FRI		GENMASK(15, 8)
#define VTD_FSTS_W1C \
	(VTD_FSTS_PFO | VTD_FSTS_IQE | VTD_FSTS_ICE | VTD_FSTS_ITE)
#define VTD_FSTS_PENDING	(VTD_FSTS_W1C | VTD_FSTS_PPF)

/* FECTL, IECTL and ICS */
#define VTD_ECTL_IM		BIT(31)
#define VTD_ECTL_IP		BIT(30)
#define VTD_ICS_IWC		BIT(0)

/* Upper half of a fault recording register */
#define VTD_FRCD_F		BIT_ULL(63)
#define VTD_FRCD_T_READ		BIT_ULL(62)
#define VTD_FRCD_PV		GENMASK_ULL(59, 40)
#define VTD_FRCD_FR		GENMASK_ULL(39, 32)
#define VTD_FRCD_PP		BIT_ULL(31)
#define VTD_FRCD_SID		GENMASK_ULL(15, 0)

/* IQT and IQA */
#define VTD_IQT_QT		GENMASK_ULL(18, 4)
#define VTD_IQA_IQA		GENMASK_ULL(63, 12)
#define VTD_IQA_DW		BIT_ULL(11)
#define VTD_IQA_QS		GENMASK_ULL(2, 0)

/* Root entry, lower half; the upper half is reserved */
#define VTD_ROOT_P		BIT_ULL(0)
#define VTD_ROOT_RSVD		GENMASK_ULL(11, 1)
#define VTD_ROOT_CTP		GENMASK_ULL(63, 12)

/* Context entry, lower half */
#define VTD_CTX_P		BIT_ULL(0)
#define VTD_CTX_FPD		BIT_ULL(1)
#define VTD_CTX_TT		GENMASK_ULL(3, 2)
#define VTD_CTX_RSVD_LO		GENMASK_ULL(11, 4)
#define VTD_CTX_SLPTPTR		GENMASK_ULL(63, 12)
#define VTD_TT_UNTRANSLATED	0
#define VTD_TT_PASS_THROUGH	2
/* Upper half */
#define VTD_CTX_AW		GENMASK_ULL(2, 0)
#define VTD_CTX_DID		GENMASK_ULL(23, 8)
#define VTD_CTX_RSVD_HI		(GENMASK_ULL(63, 24) | BIT_ULL(7))

/* Scalable-mode root entry: both halves are like the lower one of legacy mode. */

/* Scalable-mode context entry of 256 bits, bits 63:0; all others are reserved */
#define VTD_SM_CTX_P		BIT_ULL(0)
#define VTD_SM_CTX_FPD		BIT_ULL(1)
/* Reserved without ECAP.PASID */
#define VTD_SM_CTX_PASIDE	BIT_ULL(3)
#define VTD_SM_CTX_PDTS		GENMASK_ULL(11, 9)
#define VTD_SM_CTX_PASIDDIRPTR	GENMASK_ULL(63, 12)
/* DTE and PRE are reserved as the capabilities do not report what they are for. */
#define VTD_SM_CTX_RSVD		(GENMASK_ULL(8, 4) | BIT_ULL(2))

/* Scalable-mode PASID directory entry */
#define VTD_PDE_P		BIT_ULL(0)
#define VTD_PDE_FPD		BIT_ULL(1)
#define VTD_PDE_SMPTBLPTR	GENMASK_ULL(63, 12)
#define VTD_PDE_RSVD		GENMASK_ULL(11, 2)

/* Scalable-mode PASID table entry of 512 bits, bits 63:0 */
#define VTD_PTE_P		BIT_ULL(0)
#define VTD_PTE_FPD		BIT_ULL(1)
#define VTD_PTE_PGTT		GENMASK_ULL(8, 6)
#define VTD_PTE_RSVD0		GENMASK_ULL(11, 10)
#define VTD_PGTT_FIRST_STAGE	1
#define VTD_PGTT_PASS_THROUGH	4
/* Bits 127:64; PWSNP and PGSNP are reserved without SMPWCS and SC. */
#define VTD_PTE_DID		GENMASK_ULL(15, 0)
#define VTD_PTE_PWSNP		BIT_ULL(23)
#define VTD_PTE_PGSNP		BIT_ULL(24)
#define VTD_PTE_RSVD1		GENMASK_ULL(22, 16)
/* Bits 191:128. Of the bits below FSPM, and of SMEP and EAFE, no capability is reported. */
#define VTD_PTE_FSPM		GENMASK_ULL(3, 2)
#define VTD_PTE_FSPTPTR		GENMASK_ULL(63, 12)
#define VTD_PTE_RSVD2		(GENMASK_ULL(1, 0) | BIT_ULL(4) | GENMASK_ULL(11, 6))
#define VTD_FSPM_4_LEVEL	0
#define VTD_FSPM_5_LEVEL	1

/* Second-level paging entries */
#define VTD_SL_R		BIT_ULL(0)
#define VTD_SL_W		BIT_ULL(1)
#define VTD_SL_PS		BIT_ULL(7)
#define VTD_SL_SNP		BIT_ULL(11)
#define VTD_SL_TM		BIT_ULL(62)
#define VTD_SL_ADDR		GENMASK_ULL(51, 12)

/* Fault reasons of legacy mode */
#define VTD_FR_CONTEXT_INVALID		0x03
#define VTD_FR_WRITE			0x05
#define VTD_FR_READ			0x06
#define VTD_FR_PAGING_ACCESS		0x07
#define VTD_FR_ROOT_TABLE_ACCESS	0x08
#define VTD_FR_CONTEXT_TABLE_ACCESS	0x09
#define VTD_FR_ROOT_RSVD		0x0a
#define VTD_FR_CONTEXT_RSVD		0x0b
#define VTD_FR_PAGING_RSVD		0x0c
/* In any mode: RTADDR selects a translation table mode that is not supported */
#define VTD_FR_ROOT_MODE		0x30

/* Fault reasons of scalable mode */
#define VTD_FR_SM_ROOT_ACCESS		0x38
#define VTD_FR_SM_ROOT_RSVD		0x3a
#define VTD_FR_SM_CONTEXT_ACCESS	0x40
#define VTD_FR_SM_CONTEXT_RSVD		0x42
#define VTD_FR_SM_DIRECTORY_ACCESS	0x50
#define VTD_FR_SM_DIRECTORY_RSVD	0x52
#define VTD_FR_SM_PASID_ACCESS		0x58
#define VTD_FR_SM_PASID_RSVD		0x5a
#define VTD_FR_SM_PASID_INVALID		0x5b

/*
 * Invalidation descriptors of 128 bits, lower half. Those of 256 bits are the same, with
 * an upper half that is reserved.
 */
#define VTD_DESC_TYPE		(GENMASK_ULL(11, 9) | GENMASK_ULL(3, 0))
#define VTD_DESC_CONTEXT	1
#define VTD_DESC_IOTLB		2
#define VTD_DESC_WAIT		5
#define VTD_DESC_PIOTLB		6
#define VTD_DESC_PASID_CACHE	7

#define VTD_DESC_GRAN		GENMASK_ULL(5, 4)

#define VTD_CC_DID		GENMASK_ULL(31, 16)
#define VTD_CC_SID		GENMASK_ULL(47, 32)
#define VTD_CC_FM		GENMASK_ULL(49, 48)
#define VTD_CC_RSVD_LO		(GENMASK_ULL(63, 50) | GENMASK_ULL(15, 6))

#define VTD_IOTLB_DESC_DW	BIT_ULL(6)
#define VTD_IOTLB_DESC_DR	BIT_ULL(7)
#define VTD_IOTLB_DESC_DID	GENMASK_ULL(31, 16)
#define VTD_IOTLB_DESC_RSVD_LO	(GENMASK_ULL(63, 32) | GENMASK_ULL(15, 8))
/* Upper half: as in IVA */
#define VTD_IOTLB_DESC_RSVD_HI	GENMASK_ULL(11, 7)

/* PASID-based IOTLB invalidation; the upper half is as in IVA */
#define VTD_PIOTLB_DID		GENMASK_ULL(31, 16)
#define VTD_PIOTLB_PASID	GENMASK_ULL(51, 32)
#define VTD_PIOTLB_RSVD_LO	(GENMASK_ULL(63, 52) | GENMASK_ULL(15, 6))
#define VTD_PIOTLB_RSVD_HI	GENMASK_ULL(11, 7)
#define VTD_PIOTLB_GRAN_PASID	2
#define VTD_PIOTLB_GRAN_PAGE	3

/* PASID-cache invalidation */
#define VTD_PC_DID		GENMASK_ULL(31, 16)
#define VTD_PC_PASID		GENMASK_ULL(51, 32)
#define VTD_PC_RSVD_LO		(GENMASK_ULL(63, 52) | GENMASK_ULL(15, 6))
#define VTD_PC_GRAN_DOMAIN	0
#define VTD_PC_GRAN_PASID	1
#define VTD_PC_GRAN_GLOBAL	3

#define VTD_WAIT_IF		BIT_ULL(4)
#define VTD_WAIT_SW		BIT_ULL(5)
#define VTD_WAIT_FN		BIT_ULL(6)
#define VTD_WAIT_DATA		GENMASK_ULL(63, 32)
#define VTD_WAIT_RSVD_LO	GENMASK_ULL(31, 7)
#define VTD_WAIT_RSVD_HI	GENMASK_ULL(1, 0)

/**
 * struct vtd_entry - A root entry, a context entry or an invalidation descriptor
 * @lo: Bits 63:0
 * @hi: Bits 127:64
 */
struct vtd_entry {
	__le64 lo;
	__le64 hi;
};

#endif /* _KVIOMMU_VTD_SPEC_H */
