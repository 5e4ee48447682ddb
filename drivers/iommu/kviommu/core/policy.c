// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the host's administrator allows a unit, and where it begins: parameters
 * of the module.
 */
#include <linux/array_size.h>
#include <linux/minmax.h>
#include <linux/moduleparam.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include "core.h"

/* By the numbers of the UAPI; a NULL at the end. */
const char *const kviommu_mode_names[] = {
	[KVIOMMU_MODE_TRAP] = "trap",
	[KVIOMMU_MODE_SIDECORE] = "sidecore",
	[KVIOMMU_MODE_ADAPTIVE] = "adaptive",
	NULL
};

const char *const kviommu_strategy_names[] = {
	[KVIOMMU_STRATEGY_STRICT] = "strict",
	[KVIOMMU_STRATEGY_ASYNC] = "async",
	[KVIOMMU_STRATEGY_DEFERRED] = "deferred",
	[KVIOMMU_STRATEGY_OPTIMISTIC] = "optimistic",
	NULL
};

/* A parameter that is one of some names */
struct choice {
	const char *const *names;
	u32 value;
};

static int choice_set(const char *value, const struct kernel_param *kp)
{
	struct choice *choice = kp->arg;
	int i = __sysfs_match_string(choice->names, -1, value);

	if (i < 0)
		return i;
	WRITE_ONCE(choice->value, i);
	return 0;
}

static int choice_get(char *buffer, const struct kernel_param *kp)
{
	const struct choice *choice = kp->arg;

	return sysfs_emit(buffer, "%s\n",
			  choice->names[READ_ONCE(choice->value)]);
}

static const struct kernel_param_ops choice_ops = {
	.set = choice_set,
	.get = choice_get,
};

static struct choice mode = {
	kviommu_mode_names, KVIOMMU_MODE_ADAPTIVE
};
module_param_cb(mode, &choice_ops, &mode, 0644);
MODULE_PARM_DESC(mode, "How a unit begins: trap, sidecore or adaptive");

static struct choice strategy = {
	kviommu_strategy_names, KVIOMMU_STRATEGY_STRICT
};
module_param_cb(strategy, &choice_ops, &strategy, 0644);
MODULE_PARM_DESC(strategy, "How a unit begins: strict, async, deferred or optimistic");

static unsigned long max_pins = SZ_256M;
module_param(max_pins, ulong, 0644);
MODULE_PARM_DESC(max_pins, "Guest pages that one unit may have pinned");

static unsigned long max_idle_pins = 4096;
module_param(max_idle_pins, ulong, 0644);
MODULE_PARM_DESC(max_idle_pins, "Pages of those that may be unused");

static unsigned long idle_pin_ms = 10000;
module_param(idle_pin_ms, ulong, 0644);
MODULE_PARM_DESC(idle_pin_ms, "How long one that is unused is kept, in ms; 0: for ever");

static unsigned long max_mapped = SZ_256M;
module_param(max_mapped, ulong, 0644);
MODULE_PARM_DESC(max_mapped, "Pages that all translations of one unit may cover");

static unsigned long max_tables = SZ_64K;
module_param(max_tables, ulong, 0644);
MODULE_PARM_DESC(max_tables, "Tables of the guest that one unit may follow");

static unsigned long max_domains = 1024;
module_param(max_domains, ulong, 0644);
MODULE_PARM_DESC(max_domains, "Guest domains that one unit may have");

static unsigned long max_stale = 4096;
module_param(max_stale, ulong, 0644);
MODULE_PARM_DESC(max_stale, "Translations of one unit that may outlive their unmap");

static unsigned long stale_us = 10000;
module_param(stale_us, ulong, 0644);
MODULE_PARM_DESC(stale_us, "How long they may, in us");

static unsigned long poll_us_min = 200;
module_param(poll_us_min, ulong, 0644);
MODULE_PARM_DESC(poll_us_min, "How long at least to poll an adaptive unit in vain, in us");

static unsigned long poll_us_max = 4000;
module_param(poll_us_max, ulong, 0644);
MODULE_PARM_DESC(poll_us_max, "How long at most");

/**
 * kviommu_policy_init() - The policy that a unit begins with
 * @policy: Where to; size and flags become 0
 */
void kviommu_policy_init(struct kviommu_policy *policy)
{
	*policy = (struct kviommu_policy){
		.mode = READ_ONCE(mode.value),
		.strategy = READ_ONCE(strategy.value),
		.max_pins = READ_ONCE(max_pins),
		.max_idle_pins = READ_ONCE(max_idle_pins),
		.max_tables = READ_ONCE(max_tables),
		.max_domains = READ_ONCE(max_domains),
		.max_mapped = READ_ONCE(max_mapped),
		.max_stale = READ_ONCE(max_stale),
		.stale_us = READ_ONCE(stale_us),
		.idle_pin_ms = READ_ONCE(idle_pin_ms),
		.poll_us_max = READ_ONCE(poll_us_max),
	};
	policy->poll_us_min = umin(READ_ONCE(poll_us_min), policy->poll_us_max);
}

/**
 * kviommu_policy_check() - Say whether a policy may be put in force
 * @policy: The policy
 * @now: The one that is
 *
 * What was granted stays so when the administrator lowers a parameter.
 *
 * Return: 0, -EOPNOTSUPP or -EINVAL as KVIOMMU_SET_POLICY.
 */
int kviommu_policy_check(const struct kviommu_policy *policy,
			 const struct kviommu_policy *now)
{
	struct kviommu_policy host;

	if (policy->mode > KVIOMMU_MODE_ADAPTIVE ||
	    policy->strategy > KVIOMMU_STRATEGY_OPTIMISTIC)
		return -EOPNOTSUPP;
	kviommu_policy_init(&host);
	if (policy->max_pins > max(host.max_pins, now->max_pins) ||
	    policy->max_idle_pins > max(host.max_idle_pins, now->max_idle_pins) ||
	    policy->max_tables > max(host.max_tables, now->max_tables) ||
	    policy->max_domains > max(host.max_domains, now->max_domains) ||
	    policy->max_mapped > max(host.max_mapped, now->max_mapped) ||
	    policy->max_stale > max(host.max_stale, now->max_stale) ||
	    policy->stale_us > max(host.stale_us, now->stale_us) ||
	    policy->poll_us_max > max(host.poll_us_max, now->poll_us_max) ||
	    policy->poll_us_min > policy->poll_us_max)
		return -EINVAL;
	return 0;
}
