// SPDX-License-Identifier: GPL-2.0-only
/*
 * Backoff: after a failure something is not tried again for a while. The delay doubles if
 * the next failure follows soon.
 */
#include <linux/ktime.h>

#include "run.h"

/**
 * kviommu_backoff_over() - Check whether the delay of a backoff is over
 * @b: The backoff
 *
 * Context: any; the result is a hint if kviommu_backoff_fail() may run concurrently.
 * Return: true if another try is allowed.
 */
bool kviommu_backoff_over(const struct kviommu_backoff *b)
{
	return ktime_get_ns() >= READ_ONCE(b->until);
}

/**
 * kviommu_backoff_fail() - Begin the delay after a failure
 * @b: The backoff, zeroed before its first use
 * @base: Delay after the first failure, in ns
 * @max: Maximum number of doublings of @base
 *
 * The next delay would be twice as long. It halves each time that its length passes,
 * counted from the end of the present delay, without a failure.
 *
 * Context: any; the caller serializes calls for the same @b.
 */
void kviommu_backoff_fail(struct kviommu_backoff *b, u64 base, unsigned int max)
{
	u64 now = ktime_get_ns(), well = now - min(now, b->until);

	while (b->doublings && well >= base << b->doublings) {
		well -= base << b->doublings;
		b->doublings--;
	}
	WRITE_ONCE(b->until, now + (base << b->doublings));
	b->doublings = min(b->doublings + 1, max);
}
