// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is in force for a unit. It follows from what its VMM wants, from what the
 * administrator set for the unit (sysfs), and from parameters of the module; and
 * follows anew when one of them changes.
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

/* What the member's list of choices is called here; of a number there is none. */
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
 * struct member - A member of struct kviommu_policy
 * @bit: In its mask
 * @kind: How it comes into force
 * @names: Of a choice, which is a u32: its values' names; NULL for a number, a u64
 * @most: The greatest value that can be in force
 * @offset: Where it is
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

/* See member_of(). */
KVIOMMU_POLICY_MEMBERS(IN_ORDER)

/* The parameters of the module, in the same order */
#define DEFAULT(_name, _bit, _kind, _most, _default, ...)		\
	[INDEX_##_name] = _default,

static u64 host[] = { KVIOMMU_POLICY_MEMBERS(DEFAULT) };

/* Modes that the administrator allows; trap always is one of them. */
static u32 host_modes = BIT(ARRAY_SIZE(mode_names) - 1) - 1;

static LIST_HEAD(units);
static DEFINE_SPINLOCK(units_lock);

static u64 get_member(const struct kviommu_policy *policy, const struct member *m)
{
	const void *at = (const void *)policy + m->offset;

	return m->names ? READ_ONCE(*(const u32 *)at) : READ_ONCE(*(const u64 *)at);
}

static void set_member(struct kviommu_policy *policy, const struct member *m,
		       u64 value)
{
	void *at = (void *)policy + m->offset;

	if (m->names)
		WRITE_ONCE(*(u32 *)at, value);
	else
		WRITE_ONCE(*(u64 *)at, value);
}

static int parse_member(const struct member *m, const char *text, u64 *value)
{
	int ret;

	if (!m->names)
		return kstrtou64(text, 10, value) ? -EINVAL : 0;
	ret = __sysfs_match_string(m->names, -1, text);
	*value = ret;
	return ret < 0 ? -EINVAL : 0;
}

static int print_value(const struct member *m, char *buf, u64 value)
{
	return m->names ? sysfs_emit(buf, "%s\n", m->names[value]) :
			  sysfs_emit(buf, "%llu\n", value);
}

static int param_set(const char *text, const struct kernel_param *kp)
{
	u64 *value = kp->arg, new;
	int ret;

	ret = parse_member(&members[value - host], text, &new);
	if (ret)
		return ret;
	WRITE_ONCE(*value, new);
	kviommu_policy_host_changed();
	return 0;
}

static int param_get(char *buf, const struct kernel_param *kp)
{
	u64 *value = kp->arg;

	return print_value(&members[value - host], buf, READ_ONCE(*value));
}

static const struct kernel_param_ops param_ops = {
	.set = param_set,
	.get = param_get,
};

#define PARAMETER(_name, _bit, _kind, _most, _default, _description)	\
	module_param_cb(_name, &param_ops, &host[INDEX_##_name], 0644);	\
	MODULE_PARM_DESC(_name, _description);

KVIOMMU_POLICY_MEMBERS(PARAMETER)

static int modes_set(const char *text, const struct kernel_param *kp)
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
	WRITE_ONCE(host_modes, modes);
	kviommu_policy_host_changed();
	return 0;
}

static int modes_get(char *buf, const struct kernel_param *kp)
{
	u32 modes = READ_ONCE(host_modes);
	unsigned int i;
	int n = 0;

	for (i = 0; mode_names[i]; i++)
		if (modes & BIT(i))
			n += sysfs_emit_at(buf, n, "%s%s", n ? "," : "", mode_names[i]);
	return n + sysfs_emit_at(buf, n, "\n");
}

static const struct kernel_param_ops modes_ops = {
	.set = modes_set,
	.get = modes_get,
};

module_param_cb(modes, &modes_ops, NULL, 0644);
MODULE_PARM_DESC(modes, "Modes that VMMs may choose from, separated by commas; trap always is one");

/**
 * kviommu_policy_modes() - Say which modes a VMM may choose now
 *
 * Context: any.
 * Return: mask of 1 << &enum kviommu_mode.
 */
u32 kviommu_policy_modes(void)
{
	u32 modes = READ_ONCE(host_modes);

	return kviommu_pool_any() ? modes : modes & ~BIT(KVIOMMU_MODE_SIDECORE);
}

/* The next best one, if @mode is not allowed or not possible */
static u32 allowed_mode(u32 mode, bool by_administrator)
{
	u32 modes = by_administrator ? ~0U : READ_ONCE(host_modes);

	if (!kviommu_pool_any())
		modes &= ~BIT(KVIOMMU_MODE_SIDECORE);
	if (mode == KVIOMMU_MODE_SIDECORE && !(modes & BIT(mode)))
		mode = KVIOMMU_MODE_ADAPTIVE;
	return modes & BIT(mode) ? mode : KVIOMMU_MODE_TRAP;
}

static u64 value_in_force(const struct member *m, const struct kviommu_policy *wanted,
			  const struct kviommu_policy *admin)
{
	bool by_administrator = admin->mask & m->bit;
	u64 value = by_administrator ? get_member(admin, m) :
		    READ_ONCE(host[m - members]);

	if (wanted->mask & m->bit) {
		if (m->kind == KVIOMMU_KIND_LIMIT)
			value = min(value, get_member(wanted, m));
		else if (!by_administrator)
			value = get_member(wanted, m);
	}
	if (m->kind == KVIOMMU_KIND_ALLOWED)
		value = allowed_mode(value, by_administrator);
	return min(value, m->most);
}

/**
 * kviommu_policy_in_force() - Say what follows from what is wanted and allowed
 * @policy: What is to be in force: all members
 * @wanted: What the VMM wants: the members of its mask
 * @admin: What the administrator set for the unit: the members of its mask
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
		set_member(policy, &members[i],
			   value_in_force(&members[i], wanted, admin));
	policy->poll_us_min = min(policy->poll_us_min, policy->poll_us_max);
}

/**
 * kviommu_policy_check() - Say whether a VMM may want that
 * @policy: The members of its mask
 *
 * Context: any.
 * Return: 0; -EOPNOTSUPP if a member or a choice is not known; -EINVAL if it
 * contradicts itself.
 */
int kviommu_policy_check(const struct kviommu_policy *policy)
{
	const u64 both = KVIOMMU_POLICY_POLL_US_MIN | KVIOMMU_POLICY_POLL_US_MAX;
	unsigned int i;

	if (policy->mask & ~KVIOMMU_POLICY_ALL)
		return -EOPNOTSUPP;
	for (i = 0; i < NR_MEMBERS; i++)
		if (policy->mask & members[i].bit && members[i].names &&
		    get_member(policy, &members[i]) > members[i].most)
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
 * kviommu_policy_take() - Take over some members of a policy
 * @to: Where to; they are in its mask then
 * @from: The members of its mask
 *
 * Context: any.
 */
void kviommu_policy_take(struct kviommu_policy *to, const struct kviommu_policy *from)
{
	unsigned int i;

	for (i = 0; i < NR_MEMBERS; i++)
		if (from->mask & members[i].bit)
			set_member(to, &members[i], get_member(from, &members[i]));
	to->mask |= from->mask;
}

/**
 * kviommu_policy_changes() - Say what differs between two policies
 * @a: All members
 * @b: All members
 *
 * Context: any.
 * Return: mask of &enum kviommu_policy_member.
 */
u64 kviommu_policy_changes(const struct kviommu_policy *a,
			   const struct kviommu_policy *b)
{
	unsigned int i;
	u64 mask = 0;

	for (i = 0; i < NR_MEMBERS; i++)
		if (get_member(a, &members[i]) != get_member(b, &members[i]))
			mask |= members[i].bit;
	return mask;
}

static const struct member *member_of(u64 bit)
{
	return &members[__ffs64(bit)];
}

/**
 * kviommu_policy_parse() - Read a member from text
 * @policy: Where to
 * @bit: The member
 * @text: A number, or the name of a choice; it may end with a newline
 *
 * Context: any.
 * Return: 0 or -EINVAL.
 */
int kviommu_policy_parse(struct kviommu_policy *policy, u64 bit, const char *text)
{
	u64 value;

	if (parse_member(member_of(bit), text, &value))
		return -EINVAL;
	set_member(policy, member_of(bit), value);
	policy->mask |= bit;
	return 0;
}

/**
 * kviommu_policy_print() - Write a member as text, in one line
 * @policy: The policy
 * @bit: The member
 * @buf: A page
 *
 * Context: any.
 * Return: the length of the line.
 */
int kviommu_policy_print(const struct kviommu_policy *policy, u64 bit, char *buf)
{
	return print_value(member_of(bit), buf, get_member(policy, member_of(bit)));
}

/**
 * kviommu_policy_host_changed() - What the host allows or can do has changed
 *
 * Each unit's worker puts into force what follows from that, some time later: to
 * wait for a unit here would be to wait for its VMM.
 *
 * Context: any that may take a spinlock.
 */
void kviommu_policy_host_changed(void)
{
	struct kviommu_unit *unit;

	spin_lock(&units_lock);
	list_for_each_entry(unit, &units, policy_entry) {
		WRITE_ONCE(unit->policy_outdated, true);
		kviommu_unit_defer(unit);
	}
	spin_unlock(&units_lock);
}

/**
 * kviommu_policy_add() - Have a unit follow what the host allows
 * @unit: The unit, which is whole
 *
 * What changed before does not come to it: kviommu_unit_renew_policy() is to follow.
 *
 * Context: process context, no locks.
 */
void kviommu_policy_add(struct kviommu_unit *unit)
{
	spin_lock(&units_lock);
	list_add_tail(&unit->policy_entry, &units);
	spin_unlock(&units_lock);
}

/**
 * kviommu_policy_remove() - Let a unit no longer follow what the host allows
 * @unit: The unit; its worker is still there
 *
 * Context: process context.
 */
void kviommu_policy_remove(struct kviommu_unit *unit)
{
	spin_lock(&units_lock);
	list_del(&unit->policy_entry);
	spin_unlock(&units_lock);
}
