// SPDX-License-Identifier: GPL-2.0-only
/*
 * The meter of a polling thread. While the thread waits for its CPU its guests wait, too,
 * and longer than an exit would take. So the thread measures how long it waits, and if
 * that is too long it does not poll for a while.
 */
#include <linux/ktime.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/time64.h>

#include "poll.h"

static unsigned int wait_percent = 10;
KVIOMMU_POLL_PARAM(poll_wait, wait_percent, 1, 100);
MODULE_PARM_DESC(poll_wait, "Share of its time that a polling thread may wait for its CPU, in percent; 100: no limit");

static unsigned int poll_rest_ms = 100;
KVIOMMU_POLL_PARAM(poll_rest_ms, poll_rest_ms, 1, 10000);
MODULE_PARM_DESC(poll_rest_ms, "Pause before a thread that exceeded poll_wait polls again, and before a shared thread polls a unit again that exceeded poll_budget_us, in ms; up to 64 times that if it happens again");

/* Window in which the share of waiting is limited, in ns of polling */
#define WAIT_WINDOW	(100 * NSEC_PER_MSEC)

/* Maximum number of doublings of poll_rest_ms */
#define REST_DOUBLINGS	6

/**
 * kviommu_poll_rest() - Begin a pause of poll_rest_ms, or longer after recent pauses
 * @b: The backoff that holds the pause
 *
 * Context: any; the caller serializes calls for the same @b.
 */
void kviommu_poll_rest(struct kviommu_backoff *b)
{
	kviommu_backoff_fail(b, READ_ONCE(poll_rest_ms) * NSEC_PER_MSEC,
			     REST_DOUBLINGS);
}

/**
 * kviommu_meter_begin() - Start to measure when the calling thread begins to poll
 * @m: The thread's meter
 *
 * Context: the polling thread.
 */
void kviommu_meter_begin(struct kviommu_meter *m)
{
	m->read_at = ktime_get_ns();
	m->delay = kviommu_run_delay();
}

/**
 * kviommu_meter_over() - Check whether the calling thread waits too long for its CPU
 * @m: The thread's meter
 *
 * If it does, a trapped guest would wait less. One long wait exceeds the limit, and so
 * do many short ones within one window.
 *
 * Context: the polling thread, once in each round.
 * Return: true if the thread must stop polling until @m->rest is over.
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
