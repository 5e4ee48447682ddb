// SPDX-License-Identifier: GPL-2.0-only
/*
 * What did not go well is not repeated for a while, and for longer each time that it
 * happens again soon.
 */
#include <linux/ktime.h>

#include "run.h"

/**
 * kviommu_backoff_over() - Say whether it may be tried again
 * @b: The backoff
 *
 * Context: any; without a lock, a hint.
 * Return: true if so.
 */
bool kviommu_backoff_over(const struct kviommu_backoff *b)
{
	return ktime_get_ns() >= READ_ONCE(b->until);
}

/**
 * kviommu_backoff_fail() - It did not go well
 * @b: The backoff, all 0 at first
 * @base: How long not to try it again, in ns, if it went well before
 * @max: How often that may double
 *
 * The time doubles if it happens again within twice the last one, and halves for each
 * such time that it goes well.
 *
 * Context: any, by one at a time.
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
