// SPDX-License-Identifier: GPL-2.0-only
/*
 * A thread that polls and has to wait for its CPU has its guests wait, too, longer than
 * an exit takes: so it is to see how long it waits, and to rest.
 */
#include <linux/ktime.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/time64.h>

#include "poll.h"

static int set_wait(const char *value, const struct kernel_param *kp)
{
	return param_set_uint_minmax(value, kp, 1, 100);
}

static const struct kernel_param_ops wait_ops = {
	.set = set_wait,
	.get = param_get_uint,
};

static unsigned int wait_percent = 10;
module_param_cb(poll_wait, &wait_ops, &wait_percent, 0644);
MODULE_PARM_DESC(poll_wait, "How much of its time a thread that polls may wait for its CPU, in percent; 100: all of it");

static int set_rest(const char *value, const struct kernel_param *kp)
{
	return param_set_uint_minmax(value, kp, 1, 10000);
}

static const struct kernel_param_ops rest_ops = {
	.set = set_rest,
	.get = param_get_uint,
};

static unsigned int poll_rest_ms = 100;
module_param_cb(poll_rest_ms, &rest_ops, &poll_rest_ms, 0644);
MODULE_PARM_DESC(poll_rest_ms, "How long a thread that waited more does not poll, and a shared one not a unit beyond its budget, in ms; up to 64 times that if it happens again");

/* The time of which a thread may wait a part */
#define WAIT_WINDOW	(100 * NSEC_PER_MSEC)

/* How often the time to rest doubles at most */
#define REST_DOUBLINGS	6

/**
 * kviommu_poll_rest() - Begin to rest, as long as the host's parameter says
 * @b: The rest, which becomes longer if it is not the first one lately
 *
 * Context: any, by one at a time.
 */
void kviommu_poll_rest(struct kviommu_backoff *b)
{
	kviommu_backoff_fail(b, READ_ONCE(poll_rest_ms) * NSEC_PER_MSEC,
			     REST_DOUBLINGS);
}

/**
 * kviommu_meter_begin() - The calling thread begins to poll
 * @m: Its meter
 *
 * Context: the thread.
 */
void kviommu_meter_begin(struct kviommu_meter *m)
{
	m->read_at = ktime_get_ns();
	m->delay = kviommu_run_delay();
}

/**
 * kviommu_meter_over() - Say whether the calling thread waits too long for its CPU
 * @m: Its meter
 *
 * Then a guest that is trapped waits less. One wait that is too long is enough, or
 * many that are short.
 *
 * Context: the thread, now and then while it polls.
 * Return: true if it is to rest, until @m->rest is over.
 */
bool kviommu_meter_over(struct kviommu_meter *m)
{
	u64 now = ktime_get_ns(), delay = kviommu_run_delay();
	unsigned int percent = READ_ONCE(wait_percent);
	bool over;

	m->awake += now - m->read_at;
	m->read_at = now;
	m->waited += delay - m->delay;
	m->delay = delay;
	over = percent < 100 && m->waited > WAIT_WINDOW / 100 * percent;
	if (!over && m->awake < WAIT_WINDOW)
		return false;
	m->awake = 0;
	m->waited = 0;
	if (over)
		kviommu_poll_rest(&m->rest);
	return over;
}
