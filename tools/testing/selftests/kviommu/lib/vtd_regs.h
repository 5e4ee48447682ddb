/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Registers and in-memory structures of Intel VT-d remapping hardware in
 * legacy mode and in scalable mode, named as in the "Intel Virtualization Technology for Directed
 * I/O" specification.
 */
#ifndef SELFTEST_KVIOMMU_VTD_REGS_H
#define SELFTEST_KVIOMMU_VTD_REGS_H

#include "bits.h"

/* Registers: offsets in the register page */
#define VTD_VER			0x00
#define VTD_CAP			0x08
#define VTD_ECAP		0x10
#define VTD_GCMD		0x18
#define VTD_GSTS		0x1c
#define VTD_RTADDR		0x20
#define VTD_CCMD		0x28
#define VTD_FSTS		0x34
#define VTD_FECTL		0x38
#define VTD_FEDATA		0x3c
#define VTD_FEADDR		0x40
#define VTD_FEUADDR		0x44
#define VTD_IQH			0x80
#define VTD_IQT			0x88
#define VTD_IQA			0x90
#define VTD_ICS			0x9c
#define VTD_IECTL		0xa0
#define VTD_IEDATA		0xa4
#define VTD_IEADDR		0xa8
#define VTD_IEUADDR		0xac

/* CAP */
#define VTD_CAP_ND(c)		((c) & 7)
#define VTD_CAP_AFL		BIT_ULL(3)
#define VTD_CAP_RWBF		BIT_ULL(4)
#define VTD_CAP_PLMR		BIT_ULL(5)
#define VTD_CAP_PHMR		BIT_ULL(6)
#define VTD_CAP_CM		BIT_ULL(7)
#define VTD_CAP_SAGAW(c)	(((c) >> 8) & 0x1f)
#define VTD_CAP_MGAW(c)		(((c) >> 16) & 0x3f)
#define VTD_CAP_FRO(c)		((((c) >> 24) & 0x3ff) * 16)
#define VTD_CAP_SLLPS(c)	(((c) >> 34) & 0xf)
#define VTD_CAP_PSI		BIT_ULL(39)
#define VTD_CAP_NFR(c)		((((c) >> 40) & 0xff) + 1)
#define VTD_CAP_MAMV(c)		(((c) >> 48) & 0x3f)
#define VTD_CAP_FS1GP		BIT_ULL(56)
#define VTD_CAP_FS5LP		BIT_ULL(60)

/* ECAP */
#define VTD_ECAP_C		BIT_ULL(0)
#define VTD_ECAP_QI		BIT_ULL(1)
#define VTD_ECAP_DT		BIT_ULL(2)
#define VTD_ECAP_IR		BIT_ULL(3)
#define VTD_ECAP_EIM		BIT_ULL(4)
#define VTD_ECAP_PT		BIT_ULL(6)
#define VTD_ECAP_IRO(e)		((((e) >> 8) & 0x3ff) * 16)
#define VTD_ECAP_SC		BIT_ULL(7)
#define VTD_ECAP_PSS		(31ULL << 35)
#define VTD_ECAP_PASID_BITS(bits) (((bits) - 1ULL) << 35)
#define VTD_ECAP_PASID		BIT_ULL(40)
#define VTD_ECAP_SMTS		BIT_ULL(43)
#define VTD_ECAP_FSTS		BIT_ULL(47)
#define VTD_ECAP_SMPWCS		BIT_ULL(48)
/* What comes with scalable mode and belongs to no other */
#define VTD_ECAP_SCALABLE	(VTD_ECAP_SC | VTD_ECAP_SMTS | VTD_ECAP_FSTS | \
				 VTD_ECAP_SMPWCS | VTD_ECAP_PSS | VTD_ECAP_PASID)

/* GCMD, and the same bits in GSTS */
#define VTD_GCMD_TE		BIT(31)
#define VTD_GCMD_SRTP		BIT(30)
#define VTD_GCMD_SFL		BIT(29)
#define VTD_GCMD_EAFL		BIT(28)
#define VTD_GCMD_WBF		BIT(27)
#define VTD_GCMD_QIE		BIT(26)
#define VTD_GCMD_IRE		BIT(25)
#define VTD_GCMD_SIRTP		BIT(24)
#define VTD_GCMD_CFI		BIT(23)
/* What software takes over from GSTS when it writes GCMD: no one-shot bits */
#define VTD_GSTS_STICKY		(VTD_GCMD_TE | VTD_GCMD_EAFL | VTD_GCMD_QIE | \
				 VTD_GCMD_IRE | VTD_GCMD_CFI)

/* CCMD */
#define VTD_CCMD_ICC		BIT_ULL(63)
#define VTD_CCMD_GLOBAL		BIT_ULL(61)
#define VTD_CCMD_DOMAIN		(2ULL << 61)
#define VTD_CCMD_DEVICE		(3ULL << 61)
#define VTD_CCMD_CAIG(c)	(((c) >> 59) & 3)

/* IOTLB and IVA, at ECAP.IRO */
#define VTD_IVA			0
#define VTD_IOTLB		8
#define VTD_IOTLB_IVT		BIT_ULL(63)
#define VTD_IOTLB_GLOBAL	BIT_ULL(60)
#define VTD_IOTLB_DSI		(2ULL << 60)
#define VTD_IOTLB_PSI		(3ULL << 60)
#define VTD_IOTLB_IAIG(c)	(((c) >> 57) & 3)
#define VTD_IOTLB_DID(did)	((__u64)(did) << 32)

/* FSTS */
#define VTD_FSTS_PFO		BIT(0)
#define VTD_FSTS_PPF		BIT(1)
#define VTD_FSTS_IQE		BIT(4)
#define VTD_FSTS_ICE		BIT(5)
#define VTD_FSTS_ITE		BIT(6)

/* FECTL and IECTL */
#define VTD_ECTL_IM		BIT(31)
#define VTD_ECTL_IP		BIT(30)

/* Upper half of a fault recording register */
#define VTD_FRCD_F		BIT_ULL(63)
#define VTD_FRCD_PV(f)		(((f) >> 40) & 0xfffff)
#define VTD_FRCD_FR(f)		(((f) >> 32) & 0xff)
#define VTD_FRCD_PP		BIT_ULL(31)

#define VTD_ICS_IWC		BIT(0)

/* Invalidation descriptors of 128 bits, the low half where not said */
#define VTD_QI_CC		0x1ULL
#define VTD_QI_IOTLB		0x2ULL
#define VTD_QI_WAIT		0x5ULL
#define VTD_QI_G(g)		((__u64)(g) << 4)
#define VTD_QI_GLOBAL		VTD_QI_G(1)
#define VTD_QI_DOMAIN		VTD_QI_G(2)
#define VTD_QI_SELECTIVE	VTD_QI_G(3)
#define VTD_QI_DID(did)		((__u64)(did) << 16)
#define VTD_QI_CC_SID(sid)	((__u64)(sid) << 32)
#define VTD_QI_WAIT_IF		BIT_ULL(4)
#define VTD_QI_WAIT_SW		BIT_ULL(5)
#define VTD_QI_WAIT_DATA(v)	((__u64)(v) << 32)
#define VTD_QI_HI_AM(am)	((__u64)(am))
#define VTD_QI_HI_IH		BIT_ULL(6)

/* Root and context entries of 128 bits, the low half where not said */
#define VTD_RE_P		BIT_ULL(0)
#define VTD_CE_P		BIT_ULL(0)
#define VTD_CE_T_PT		(2ULL << 2)
#define VTD_CE_HI_AW(levels)	((__u64)(levels) - 2)
#define VTD_CE_HI_DID(did)	((__u64)(did) << 8)

/* Scalable mode: the low 64 bits of each entry where not said */
#define VTD_RTADDR_SCALABLE	BIT_ULL(10)
#define VTD_IQA_DW		BIT_ULL(11)
#define VTD_SM_CE_P		BIT_ULL(0)
#define VTD_SM_CE_FPD		BIT_ULL(1)
#define VTD_SM_CE_PASIDE	BIT_ULL(3)
#define VTD_SM_CE_PDTS(n)	((__u64)(n) << 9)
#define VTD_SM_PDE_P		BIT_ULL(0)
#define VTD_SM_PTE_P		BIT_ULL(0)
#define VTD_SM_PTE_FPD		BIT_ULL(1)
#define VTD_SM_PTE_PGTT(t)	((__u64)(t) << 6)
#define VTD_SM_PGTT_FIRST_STAGE	1
#define VTD_SM_PGTT_SECOND_STAGE 2
#define VTD_SM_PGTT_PT		4
/* Bits 127:64 and 191:128 */
#define VTD_SM_PTE_1_DID(did)	((__u64)(did))
#define VTD_SM_PTE_2_5_LEVEL	BIT_ULL(2)

/* Descriptors of scalable mode, of 256 bits */
#define VTD_QI_PIOTLB		0x6ULL
#define VTD_QI_PASID_CACHE	0x7ULL
#define VTD_QI_PIOTLB_PASID	VTD_QI_G(2)
#define VTD_QI_PIOTLB_PAGES	VTD_QI_G(3)
#define VTD_QI_PC_DOMAIN	VTD_QI_G(0)
#define VTD_QI_PC_PASID		VTD_QI_G(1)
#define VTD_QI_PC_GLOBAL	VTD_QI_G(3)
#define VTD_QI_PASID(p)		((__u64)(p) << 32)

/* First-stage entries; present is where R of second-level ones is, writable where W is. */
#define VTD_FS_P		BIT_ULL(0)
#define VTD_FS_W		BIT_ULL(1)
#define VTD_FS_US		BIT_ULL(2)
#define VTD_FS_A		BIT_ULL(5)
#define VTD_FS_D		BIT_ULL(6)

/* Second-level entries */
#define VTD_SL_R		BIT_ULL(0)
#define VTD_SL_W		BIT_ULL(1)
#define VTD_SL_PS		BIT_ULL(7)
#define VTD_SL_ADDR		0x000ffffffffff000ULL

#endif
