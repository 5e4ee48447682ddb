/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kinds of units that behaviour tests are run with, and what can be expected
 * of all of them. After kselftest_harness.h.
 */
#ifndef SELFTEST_KVIOMMU_VARIANTS_H
#define SELFTEST_KVIOMMU_VARIANTS_H

#include "unit.h"

#define UNIT_VARIANT(fixture, name, _mode, _strategy, ...)		\
FIXTURE_VARIANT_ADD(fixture, name) {					\
	.config.mode = UNIT_MODE_##_mode,				\
	.config.strategy = KVIOMMU_STRATEGY_##_strategy,		\
	##__VA_ARGS__							\
}

/**
 * UNIT_MODES() - A variant of a fixture for each mode, of a strict unit
 * @fixture: The fixture, whose variants have a struct unit_config config
 *
 * What else the variants have can follow, as in an initializer.
 */
#define UNIT_MODES(fixture, ...)					\
UNIT_VARIANT(fixture, trap, TRAP, STRICT, ##__VA_ARGS__);		\
UNIT_VARIANT(fixture, sidecore, SIDECORE, STRICT, ##__VA_ARGS__);	\
UNIT_VARIANT(fixture, adaptive, ADAPTIVE, STRICT, ##__VA_ARGS__)

/**
 * UNIT_NESTED_MODES() - A variant for each mode, with nested translation
 * @fixture: The fixture, whose variants have a struct unit_config config
 *
 * For hosts that have it.
 */
#define UNIT_NESTED_MODES(fixture)					\
UNIT_VARIANT(fixture, nested_trap, TRAP, STRICT, .config.nested = true);	\
UNIT_VARIANT(fixture, nested_sidecore, SIDECORE, STRICT, .config.nested = true); \
UNIT_VARIANT(fixture, nested_adaptive, ADAPTIVE, STRICT, .config.nested = true)

/**
 * UNIT_VARIANTS() - UNIT_MODES(), and one for each of the other strategies
 * @fixture: The fixture, whose variants have a struct unit_config config
 */
#define UNIT_VARIANTS(fixture, ...)					\
UNIT_MODES(fixture, ##__VA_ARGS__);					\
UNIT_VARIANT(fixture, async, ADAPTIVE, ASYNC, ##__VA_ARGS__);		\
UNIT_VARIANT(fixture, deferred, ADAPTIVE, DEFERRED, ##__VA_ARGS__);	\
UNIT_VARIANT(fixture, optimistic, ADAPTIVE, OPTIMISTIC, ##__VA_ARGS__)

/* Translations that the guest made and removed, from scratch or reused */
#define MAPS(stats)	((stats).maps + (stats).reuses)
#define UNMAPS(stats)	((stats).unmaps + (stats).reuses)

/*
 * Counts that are exact while the guest's writes are trapped, or if the unit is
 * strict; else they are upper limits.
 */
#define EXPECT_TRAPS(u, n, seen) do {					\
	if ((u)->config.mode == UNIT_MODE_TRAP) {			\
		EXPECT_EQ(n, seen);					\
	} else {							\
		EXPECT_GE(n, seen);					\
	}								\
} while (0)
#define EXPECT_SYNCS(u, n, seen) do {					\
	if ((u)->config.strategy == KVIOMMU_STRATEGY_STRICT) {		\
		EXPECT_EQ(n, seen);					\
	} else {							\
		EXPECT_GE(n, seen);					\
	}								\
} while (0)

#endif
