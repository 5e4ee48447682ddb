/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between the kernels we build for. KVIOMMU_HAVE_* are found by
 * probes in the Makefile.
 */
#ifndef _KVIOMMU_COMPAT_H
#define _KVIOMMU_COMPAT_H

#include <linux/module.h>
#include <linux/slab.h>

/* The namespace became a string in 6.13. */
#ifdef KVIOMMU_HAVE_STRING_NS
#define KVIOMMU_IMPORT_NS(ns)	MODULE_IMPORT_NS(#ns)
#else
#define KVIOMMU_IMPORT_NS(ns)	MODULE_IMPORT_NS(ns)
#endif

/* Since 7.0. */
#ifndef kzalloc_obj
#define kzalloc_obj(obj, gfp)	kzalloc(sizeof(obj), gfp)
#endif

#endif /* _KVIOMMU_COMPAT_H */
