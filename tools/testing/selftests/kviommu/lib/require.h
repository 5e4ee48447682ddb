/* SPDX-License-Identifier: GPL-2.0 */
/* For what must hold in the library, outside of any test's reach. */
#ifndef SELFTEST_KVIOMMU_REQUIRE_H
#define SELFTEST_KVIOMMU_REQUIRE_H

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kselftest.h"

/* For hosts that are slow: with 30 s these fail that do nothing wrong. */
#ifdef TEST_TIMEOUT_DEFAULT
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 300
#endif

/* End the test's process as failed, with a line of TAP diagnostics. */
#define FATAL(fmt, ...) do {						\
	fprintf(stderr, "# %s:%d: " fmt "\n", __FILE__, __LINE__,	\
		##__VA_ARGS__);						\
	_exit(KSFT_FAIL);						\
} while (0)

#define REQUIRE(cond) do {						\
	if (!(cond))							\
		FATAL("%s does not hold (%s)", #cond, strerror(errno));	\
} while (0)

/* For what a thread of the host brings about: it may take a moment. */
#define WAIT_FOR(cond) do {						\
	const time_t _end = time(NULL) + 30;				\
									\
	while (!(cond)) {						\
		if (time(NULL) >= _end)					\
			FATAL("not in 30 s: %s", #cond);		\
		usleep(1000);						\
	}								\
} while (0)

#endif
