// SPDX-License-Identifier: GPL-2.0-only
/*
 * The policy in force for a unit. It is computed from the members that the VMM has set,
 * from those that the administrator has set for the unit (sysfs), and from the module
 * parameters, and computed anew when any of these changes.
 */
#include <linux/array_size.h>
#include <linux/bits.h>
#include <linux/kstrtox.h>
#include <linux/list.h>
#include <linux/minmax.h>
#include <linux/moduleparam.h>
#include <linux/spinlock.h>
#include <linux/stddef.h>
#include <linux/string.h>

#include "core.h"
#include "../run/run.h"

#define NAME(value, number, name)	[value] = name

static const char *const mode_names[] = { KVIOMMU_MODES(NAME), NULL };
static const char *const strategy_names[] = { KVIOMMU_STRATEGIES(NAME), NULL };

/* For each kind of member: its names of choices, if any, and its greatest value */
#define NAMES_KVIOMMU_MODES		mode_names
#define NAMES_KVIOMMU_STRATEGIES	strategy_names
#define NAMES_ALLOWED(choices)		NAMES_##choices
#define NAMES_CHOICE(choices)		NAMES_##choices
#define NAMES_LIMIT(most)		NULL
#define NAMES_VALUE(most)		NULL
#define MOST_ALLOWED(choices)		(ARRAY_SIZE(NAMES_##choices) - 2)
#define MOST_CHOICE(choices)		(ARRAY_SIZE(NAMES_##choices) - 2)
#define MOST_LIMIT(most)		(most)
#define MOST_VALUE(most)		(most)

#define INDEX(name, ...)		INDEX_##name,
enum { KVIOMMU_POLICY_MEMBERS(INDEX) NR_MEMBERS };

#define MEMBER(_name, _bit, _kind, _most, ...)				\
	[INDEX_##_name] = {						\
		.bit = KVIOMMU_POLICY_##_bit,				\
		.kind = KVIOMMU_KIND_##_kind,				\
		.names = NAMES_##_kind(_most),				\
		.most = MOST_##_kind(_most),				\
		.offset = offsetof(struct kviommu_policy, _name),	\
	},

/**
 * struct member - Description of a member of struct kviommu_policy
 * @bit: Bit of the member in kviommu_policy.mask
 * @kind: The rule by which the value in force is chosen
 * @names: Names of the values of a choice, which is a u32; NULL for a number, a u64
 * @most: The greatest value that can be in force
 * @offset: Offset of the member in struct kviommu_policy, in bytes
 */
struct member {
	u64 bit;
	enum kviommu_policy_kind kind;
	const char *const *names;
	u64 most;
	unsigned int offset;
};

static const struct member members[] = { KVIOMMU_POLICY_MEMBERS(MEMBER) };

#define IN_ORDER(_name, _bit, ...)					\
	static_assert(KVIOMMU_POLICY_##_bit == BIT(INDEX_##_name));

/* policy_member_of() uses the number of a mask bit as an index of members[]. */
KVIOMMU_POLICY_MEMBERS(IN_ORDER)

/* The module parameters, in the order of members[] */
#define DEFAULT(_name, _bit, _kind, _most, _default, ...)		\
	[INDEX_##_name] = _default,

static u64 param_values[] = { KVIOMMU_POLICY_MEMBERS(DEFAULT) };

/* Bitmap of the modes that the administrator allows; trap is always allowed. */
static u32 allowed_modes = BIT(ARRAY_SIZE(mode_names) - 1) - 1;

/* All units, by kviommu_unit.policy_entry */
static LIST_HEAD(policy_units);
static DEFINE_SPINLOCK(policy_units_lock);

static u64 policy_get_member(const struct kviommu_policy *policy, const struct member *m)
{
	const void *at = (const void *)policy + m->offset;

	return m->names ? READ_ONCE(*(const u32 *)at) : READ_ONCE(*(const u64 *)at);
}

static void policy_set_member(struct kviommu_policy *policy, const struct member *m,
			      u64 value)
{
	void *at = (void *)policy + m->offset;

	if (m->names)
		WRITE_ONCE(*(u32 *)at, value);
	else
		WRITE_ONCE(*(u64 *)at, value);
}

static int policy_parse_value(const struct member *m, const char *text, u64 *value)
{
	int ret;

	if (!m->names)
		return kstrtou64(text, 10, value) ? -EINVAL : 0;
	ret = __sysfs_match_string(m->names, -1, text);
	*value = ret;
	return ret < 0 ? -EINVAL : 0;
}

static int policy_print_value(const struct member *m, char *buf, u64 value)
{
	return m->names ? sysfs_emit(buf, "%s\n", m->names[value]) :
			  sysfs_emit(buf, "%llu\n", value);
}

static int policy_param_set(const char *text, const struct kernel_param *kp)
{
	u64 *value = kp->arg, new;
	int ret;

	ret = policy_parse_value(&members[value - param_values], text, &new);
	if (ret)
		return ret;
	WRITE_ONCE(*value, new);
	kviommu_policy_host_changed();
	return 0;
}

static int policy_param_get(char *buf, const struct kernel_param *kp)
{
	u64 *value = kp->arg;

	return policy_print_value(&members[value - param_values], buf, READ_ONCE(*value));
}

static const struct kernel_param_ops param_ops = {
	.set = policy_param_set,
	.get = policy_param_get,
};

#define PARAMETER(_name, _bit, _kind, _most, _default, _description)	\
	module_param_cb(_name, &param_ops, &param_values[INDEX_##_name], 0644);	\
	MODULE_PARM_DESC(_name, _description);

KVIOMMU_POLICY_MEMBERS(PARAMETER)

static int policy_modes_set(const char *text, const struct kernel_param *kp)
{
	u32 modes = BIT(KVIOMMU_MODE_TRAP);
	unsigned int i;
	size_t n;

	for (;; text += n + 1) {
		n = strcspn(text, ",\n");
		for (i = 0; mode_names[i]; i++)
			if (strlen(mode_names[i]) == n &&
			    !strncmp(mode_names[i], text, n))
				break;
		if (!mode_names[i])
			return -EINVAL;
		modes |= BIT(i);
		if (text[n] != ',')
			break;
	}
	if (text[n] && text[n + 1])
		return -EINVAL;
	WRITE_ONCE(allowed_modes, modes);
	kviommu_policy_host_changed();
	return 0;
}

static int policy_modes_get(char *buf, const struct kernel_param *kp)
{
	u32 modes = READ_ONCE(allowed_modes);
	unsigned int i;
	int n = 0;

	for (i = 0; mode_names[i]; i++)
		if (modes & BIT(i))
			n += sysfs_emit_at(buf, n, "%s%s", n ? "," : "", mode_names[i]);
	return n + sysfs_emit_at(buf, n, "\n");
}

static const struct kernel_param_ops modes_ops = {
	.set = policy_modes_set,
	.get = policy_modes_get,
};

module_param_cb(modes, &modes_ops, NULL, 0644);
MODULE_PARM_DESC(modes, "Modes that VMMs may choose, separated by commas; trap is always allowed");

/**
 * kviommu_policy_modes() - Get the modes that a VMM may choose at present
 *
 * Context: any.
 * Return: bitmap of &enum kviommu_mode.
 */
u32 kviommu_policy_modes(void)
{
	u32 modes = READ_ONCE(allowed_modes);

	return kviommu_pool_any() ? modes : modes & ~BIT(KVIOMMU_MODE_SIDECORE);
}

/* Return @mode, or if it is not allowed or not possible, the mode to use instead. */
static u32 policy_allowed_mode(u32 mode, bool by_administrator)
{
	u32 modes = by_administrator ? ~0U : READ_ONCE(allowed_modes);

	if (!kviommu_pool_any())
		modes &= ~BIT(KVIOMMU_MODE_SIDECORE);
	if (mode == KVIOMMU_MODE_SIDECORE && !(modes & BIT(mode)))
		mode = KVIOMMU_MODE_ADAPTIVE;
	return modes & BIT(mode) ? mode : KVIOMMU_MODE_TRAP;
}

static u64 policy_value_in_force(const struct member *m, const struct kviommu_policy *wanted,
				 const struct kviommu_policy *admin)
{
	bool by_administrator = admin->mask & m->bit;
	u64 value = by_administrator ? policy_get_member(admin, m) :
		    READ_ONCE(param_values[m - members]);

	if (wanted->mask & m->bit) {
		if (m->kind == KVIOMMU_KIND_LIMIT)
			value = min(value, policy_get_member(wanted, m));
		else if (!by_administrator)
			value = policy_get_member(wanted, m);
	}
	if (m->kind == KVIOMMU_KIND_ALLOWED)
		value = policy_allowed_mode(value, by_administrator);
	return min(value, m->most);
}

/**
 * kviommu_policy_in_force() - Compute the policy in force
 * @policy: The result, with all members set
 * @wanted: The policy of the VMM, of which only the members in its mask are set
 * @admin: The policy of the administrator for this unit, of which only the members in its
 *         mask are set
 *
 * Context: any.
 */
void kviommu_policy_in_force(struct kviommu_policy *policy,
			     const struct kviommu_policy *wanted,
			     const struct kviommu_policy *admin)
{
	unsigned int i;

	*policy = (struct kviommu_policy){ .mask = KVIOMMU_POLICY_ALL };
	for (i = 0; i < NR_MEMBERS; i++)
		policy_set_member(policy, &members[i],
				  policy_value_in_force(&members[i], wanted, admin));
	policy->poll_us_min = min(policy->poll_us_min, policy->poll_us_max);
}

/**
 * kviommu_policy_check() - Check whether a policy of a VMM is valid
 * @policy: The policy; only the members in its mask are checked, and if it unsets them
 *          no values
 *
 * Context: any.
 * Return: 0; -EOPNOTSUPP if a member or a choice is not known; -EINVAL if poll_us_min is
 * greater than poll_us_max.
 */
int kviommu_policy_check(const struct kviommu_policy *policy)
{
	const u64 both = KVIOMMU_POLICY_POLL_US_MIN | KVIOMMU_POLICY_POLL_US_MAX;
	unsigned int i;

	if (policy->mask & ~KVIOMMU_POLICY_ALL)
		return -EOPNOTSUPP;
	if (policy->flags & KVIOMMU_SET_POLICY_UNSET)
		return 0;
	for (i = 0; i < NR_MEMBERS; i++)
		if (policy->mask & members[i].bit && members[i].names &&
		    policy_get_member(policy, &members[i]) > members[i].most)
			return -EOPNOTSUPP;
	if ((policy->mask & both) == both && policy->poll_us_min > policy->poll_us_max)
		return -EINVAL;
	return 0;
}

/**
 * kviommu_policy_within() - Say which members a structure of some size has
 * @size: Its size in bytes
 *
 * Context: any.
 * Return: mask of &enum kviommu_policy_member.
 */
u64 kviommu_policy_within(u32 size)
{
	unsigned int i;
	u64 mask = 0;

	for (i = 0; i < NR_MEMBERS; i++)
		if (members[i].offset + (members[i].names ? sizeof(u32) : sizeof(u64)) <= size)
			mask |= members[i].bit;
	return mask;
}

/**
 * kviommu_policy_take() - Set or unset members of a policy by another one
 * @to: The policy to change
 * @from: The policy whose mask names the members: they are copied, or cleared if its flags
 *        say KVIOMMU_SET_POLICY_UNSET
 *
 * Context: any.
 */
void kviommu_policy_take(struct kviommu_policy *to, const struct kviommu_policy *from)
{
	bool unset = from->flags & KVIOMMU_SET_POLICY_UNSET;
	unsigned int i;

	for (i = 0; i < NR_MEMBERS; i++)
		if (from->mask & members[i].bit)
			policy_set_member(to, &members[i], unset ? 0 :
					  policy_get_member(from, &members[i]));
	if (unset)
		to->mask &= ~from->mask;
	else
		to->mask |= from->mask;
}

/**
 * kviommu_policy_changes() - Compare two policies
 * @a: A policy with all members set
 * @b: A policy with all members set
 *
 * Context: any.
 * Return: mask of the members that differ, of &enum kviommu_policy_member.
 */
u64 kviommu_policy_changes(const struct kviommu_policy *a,
			   const struct kviommu_policy *b)
{
	unsigned int i;
	u64 mask = 0;

	for (i = 0; i < NR_MEMBERS; i++)
		if (policy_get_member(a, &members[i]) != policy_get_member(b, &members[i]))
			mask |= members[i].bit;
	return mask;
}

static const struct member *policy_member_of(u64 bit)
{
	return &members[__ffs64(bit)];
}

/**
 * kviommu_policy_parse() - Parse a member of a policy
 * @policy: The policy to change; the member is added to its mask
 * @bit: Mask bit of the member
 * @text: A decimal number, or the name of a choice; it may end with a newline
 *
 * Context: any.
 * Return: 0 or -EINVAL.
 */
int kviommu_policy_parse(struct kviommu_policy *policy, u64 bit, const char *text)
{
	u64 value;

	if (policy_parse_value(policy_member_of(bit), text, &value))
		return -EINVAL;
	policy_set_member(policy, policy_member_of(bit), value);
	policy->mask |= bit;
	return 0;
}

/**
 * kviommu_policy_print() - Print a member of a policy as one line of text
 * @policy: The policy
 * @bit: Mask bit of the member
 * @buf: Buffer of PAGE_SIZE bytes
 *
 * Context: any.
 * Return: the length of the line, in bytes.
 */
int kviommu_policy_print(const struct kviommu_policy *policy, u64 bit, char *buf)
{
	const struct member *m = policy_member_of(bit);

	return policy_print_value(m, buf, policy_get_member(policy, m));
}

/**
 * kviommu_policy_host_changed() - Renew the policies of all units after a host's change
 *
 * The module parameters or the availability of shared threads have changed. Each unit's
 * worker recomputes its policy some time later. The caller cannot do it, as it would have
 * to wait for VMMs.
 *
 * Context: any that may take a spinlock.
 */
void kviommu_policy_host_changed(void)
{
	struct kviommu_unit *unit;

	spin_lock(&policy_units_lock);
	list_for_each_entry(unit, &policy_units, policy_entry) {
		WRITE_ONCE(unit->policy_outdated, true);
		kviommu_unit_defer(unit);
	}
	spin_unlock(&policy_units_lock);
}

/**
 * kviommu_policy_add() - Begin to renew a unit's policy after changes of the host
 * @unit: The unit, which is fully set up
 *
 * kviommu_unit_renew_policy() has to follow, as earlier changes may have been missed.
 *
 * Context: process context.
 */
void kviommu_policy_add(struct kviommu_unit *unit)
{
	spin_lock(&policy_units_lock);
	list_add_tail(&unit->policy_entry, &policy_units);
	spin_unlock(&policy_units_lock);
}

/**
 * kviommu_policy_remove() - Stop renewing a unit's policy after changes of the host
 * @unit: The unit, whose worker has not been stopped yet
 *
 * Context: process context.
 */
void kviommu_policy_remove(struct kviommu_unit *unit)
{
	spin_lock(&policy_units_lock);
	list_del(&unit->policy_entry);
	spin_unlock(&policy_units_lock);
}
