/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The members of struct kviommu_policy in one list. Module parameters, sysfs files, the
 * trace event and the computation of the policy in force (core/policy.c) are all
 * generated from it.
 */
#ifndef _KVIOMMU_POLICY_H
#define _KVIOMMU_POLICY_H

#include <linux/sizes.h>
#include <linux/time64.h>
#include <linux/types.h>
#include <uapi/linux/kviommu.h>

/* X(value, number, name), for each mode and each strategy */
#define KVIOMMU_MODES(X)						\
	X(KVIOMMU_MODE_TRAP, 0, "trap"),				\
	X(KVIOMMU_MODE_SIDECORE, 1, "sidecore"),			\
	X(KVIOMMU_MODE_ADAPTIVE, 2, "adaptive")

#define KVIOMMU_STRATEGIES(X)						\
	X(KVIOMMU_STRATEGY_STRICT, 0, "strict"),			\
	X(KVIOMMU_STRATEGY_ASYNC, 1, "async"),				\
	X(KVIOMMU_STRATEGY_DEFERRED, 2, "deferred"),			\
	X(KVIOMMU_STRATEGY_OPTIMISTIC, 3, "optimistic")

/**
 * enum kviommu_policy_kind - How the value in force is chosen, see core/policy.c
 * @KVIOMMU_KIND_ALLOWED: A choice among those that the administrator allows
 * @KVIOMMU_KIND_CHOICE: A free choice
 * @KVIOMMU_KIND_LIMIT: A number that the VMM can only lower
 * @KVIOMMU_KIND_VALUE: A number that the VMM can set
 */
enum kviommu_policy_kind {
	KVIOMMU_KIND_ALLOWED,
	KVIOMMU_KIND_CHOICE,
	KVIOMMU_KIND_LIMIT,
	KVIOMMU_KIND_VALUE,
};

#define KVIOMMU_US_MAX		(3600ULL * USEC_PER_SEC)	/* no sum of these overflows */

/*
 * X(name, bit, kind, list of choices or greatest number, default of the module parameter,
 * description of the module parameter)
 */
#define KVIOMMU_POLICY_MEMBERS(X)					\
	X(mode, MODE, ALLOWED, KVIOMMU_MODES, KVIOMMU_MODE_ADAPTIVE,	\
	  "Default mode of a unit: trap, sidecore or adaptive")		\
	X(strategy, STRATEGY, CHOICE, KVIOMMU_STRATEGIES,		\
	  KVIOMMU_STRATEGY_STRICT,					\
	  "Default strategy of a unit: strict, async, deferred or optimistic") \
	X(max_pins, MAX_PINS, LIMIT, U64_MAX, SZ_256M,			\
	  "Maximum number of guest pages that one unit may have pinned") \
	X(max_idle_pins, MAX_IDLE_PINS, LIMIT, U64_MAX, 4096,		\
	  "Maximum number of unused pages that one unit may keep pinned") \
	X(max_tables, MAX_TABLES, LIMIT, U64_MAX, SZ_64K,		\
	  "Maximum number of guest tables that one unit may follow")	\
	X(max_domains, MAX_DOMAINS, LIMIT, U64_MAX, 1024,		\
	  "Maximum number of guest domains of one unit")		\
	X(max_mapped, MAX_MAPPED, LIMIT, U64_MAX, SZ_256M,		\
	  "Maximum number of pages that all translations of one unit may cover") \
	X(max_stale, MAX_STALE, LIMIT, U64_MAX, 4096,			\
	  "Maximum number of mappings of one unit that may outlive their unmap") \
	X(stale_us, STALE_US, LIMIT, KVIOMMU_US_MAX, 10000,		\
	  "Maximum time for which a mapping may outlive its unmap, in us") \
	X(idle_pin_ms, IDLE_PIN_MS, VALUE, U64_MAX, 10000,		\
	  "Time for which an unused page stays pinned, in ms; 0: no limit") \
	X(poll_us_min, POLL_US_MIN, VALUE, KVIOMMU_US_MAX, 200,		\
	  "Minimum idle time after which polling of an adaptive unit ends, in us") \
	X(poll_us_max, POLL_US_MAX, LIMIT, KVIOMMU_US_MAX, 4000,	\
	  "Maximum idle time after which polling of an adaptive unit ends, in us") \
	X(unpin_ms, UNPIN_MS, VALUE, U64_MAX, 4000,			\
	  "Time for which a page of a coIOMMU guest stays pinned unused, in ms; 0: no limit") \
	X(unpin_pages, UNPIN_PAGES, LIMIT, U64_MAX, SZ_64K,		\
	  "Maximum number of such pages of one unit that are unpinned in unpin_ms")

#define KVIOMMU_POLICY_BIT(name, bit, ...)	| KVIOMMU_POLICY_##bit

/* Mask bits of all members */
#define KVIOMMU_POLICY_ALL	(0ULL KVIOMMU_POLICY_MEMBERS(KVIOMMU_POLICY_BIT))

#endif /* _KVIOMMU_POLICY_H */
