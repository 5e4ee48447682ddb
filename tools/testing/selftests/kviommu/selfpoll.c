// SPDX-License-Identifier: GPL-2.0
/*
 * Units that are polled by their own workers, which are threads of their VMMs: nobody
 * else's time is used, and they stop when the VMM does. Everything else runs on CPU 0.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "cgroup.h"
#include "kselftest_harness.h"
#include "pollers.h"
#include "require.h"

#define LONG "poll_wait=100 poll_us_max=100000"
/* It does not come to an end because the guest does nothing. */
#define VERY_LONG "poll_wait=100 poll_us_max=100000000"

FIXTURE(selfpoll) {
	struct unit u;
};

FIXTURE_SETUP(selfpoll)
{
	run_on(0);
}

FIXTURE_TEARDOWN_PARENT(selfpoll)
{
	module_reload("");
}

static void open_adaptive(struct unit *u)
{
	open_units(u, 1, UNIT_MODE_ADAPTIVE);
	move_thread(worker(0), 1);
}

static __u64 process_ns(void)
{
	struct timespec t;

	REQUIRE(!clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t));
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* Without any CPU to poll on it is polled, and that is the VMM's own time. */
TEST_F_TIMEOUT(selfpoll, own_time, 600)
{
	struct unit *u = &self->u;
	static char trace[1 << 20];
	struct kviommu_stats a, b;
	unsigned long ran;
	char filter[64];
	__u64 ns;

	module_reload(LONG);
	EXPECT_FALSE(has_poller(0) || has_poller(1));
	open_adaptive(u);
	unit_poll(u);
	REQUIRE(!file_put(TRACEFS "trace", ""));
	snprintf(filter, sizeof(filter), "common_pid == %d", worker(0));
	REQUIRE(!file_put(TRACEFS "events/kviommu/kviommu_descriptor/filter", filter));
	REQUIRE(!file_put(TRACEFS "events/kviommu/kviommu_descriptor/enable", "1"));
	a = unit_stats_now(u);
	ran = thread_time(worker(0));
	ns = process_ns();
	EXPECT_EQ(500, guest_run(&u->vm, g_churn, SPARE, PAGE(9), 500));
	EXPECT_EQ(-1, polled_on(0));
	b = unit_stats_now(u);
	EXPECT_LT(a.polled_ns, b.polled_ns);
	/* To it a guest that has to wait for a CPU looks idle. */
	EXPECT_GE(500, b.reg_writes - a.reg_writes);
	EXPECT_EQ(2000, b.descriptors - a.descriptors);
	ran = thread_time(worker(0)) - ran;
	ns = process_ns() - ns;
	EXPECT_LT(0, ran);
	EXPECT_LE(ran, ns);
	REQUIRE(!file_put(TRACEFS "events/kviommu/kviommu_descriptor/enable", "0"));
	REQUIRE(!file_put(TRACEFS "events/kviommu/kviommu_descriptor/filter", "0"));
	file_get(TRACEFS "trace", trace, sizeof(trace));
	EXPECT_TRUE(strstr(trace, "kviommu_descriptor:"));
	EXPECT_EQ(0, b.errors);
	EXPECT_EQ(0, b.overcommits);
	EXPECT_EQ(0, b.pool_ns);
	unit_close(u);
}

/* What the VMM's control group may have (cpu.max) is all that its units' workers take. */
TEST_F_TIMEOUT(selfpoll, cpu_max, 600)
{
	struct unit *u = &self->u;
	unsigned long ran, periods;

	module_reload(VERY_LONG);
	cgroup_enter("cpu", "cpu.max");
	open_adaptive(u);
	unit_poll(u);
	periods = cgroup_read(CGROUP "/cpu.stat", "nr_periods %lu");
	ran = thread_time(worker(0));
	/* A fifth of one CPU's time */
	cgroup_write(CGROUP "/cpu.max", "20000 100000");
	/* The worker, which polls all the time, is the only one that wants it. */
	while (cgroup_read(CGROUP "/cpu.stat", "nr_periods %lu") < periods + 50)
		usleep(100000);
	ran = thread_time(worker(0)) - ran;
	periods = cgroup_read(CGROUP "/cpu.stat", "nr_periods %lu") - periods;
	ksft_print_msg("%lu us in %lu periods\n", ran / 1000, periods);
	EXPECT_LT(0, cgroup_read(CGROUP "/cpu.stat", "nr_throttled %lu"));
	EXPECT_LT(0, ran);
	EXPECT_GT(periods * 40000000, ran);
	/* It is slow, but the guest has all that it asks for. */
	EXPECT_EQ(20, guest_run(&u->vm, g_churn, SPARE, PAGE(9), 20));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	EXPECT_EQ(0, unit_stats_now(u).errors);
	unit_close(u);
	cgroup_leave();
}

/* Sidecore mode is for shared threads, and there is none: the unit is an adaptive one. */
TEST_F_TIMEOUT(selfpoll, no_shared_threads, 600)
{
	struct unit *u = &self->u;
	unsigned long ran;
	int i;

	module_reload(LONG);
	open_units(u, 1, UNIT_MODE_SIDECORE);
	move_thread(worker(0), 1);
	EXPECT_EQ(KVIOMMU_MODE_SIDECORE, unit_wanted_policy(u).mode);
	ASSERT_EQ(KVIOMMU_MODE_ADAPTIVE, unit_policy(u).mode);
	/* Its own worker polls it. */
	while (!unit_stats_now(u).polled)
		guest_run(&u->vm, g_churn, SPARE, PAGE(9), 1);
	ran = thread_time(worker(0));
	for (i = 0; i < 20; i++) {
		EXPECT_EQ(5, guest_run(&u->vm, g_churn, SPARE, PAGE(9), 5));
		EXPECT_EQ(-1, polled_on(0));
	}
	EXPECT_LT(ran, thread_time(worker(0)));
	EXPECT_EQ(0, unit_stats_now(u).pool_ns);
	EXPECT_FALSE(has_poller(0) || has_poller(1));
	EXPECT_EQ(0, unit_stats_now(u).errors);
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	unit_close(u);
}

/* New limits of the idle time hold while the unit is polled, and do not end that. */
TEST_F_TIMEOUT(selfpoll, idle_time_changes, 600)
{
	struct unit *u = &self->u;
	struct kviommu_policy p;
	struct kviommu_stats a;

	module_reload(VERY_LONG);
	open_adaptive(u);
	unit_poll(u);
	a = unit_stats_now(u);
	p = unit_policy(u);
	p.poll_us_max /= 2;
	p.poll_us_min = p.poll_us_max;
	ASSERT_EQ(0, unit_set_policy(u, &p));
	EXPECT_EQ(1, unit_stats_now(u).polled);
	/* The guest does nothing, and this is much less than the 50 s of before. */
	p.poll_us_min = 1000;
	p.poll_us_max = 1000;
	ASSERT_EQ(0, unit_set_policy(u, &p));
	usleep(10 * 1000 * 1000);
	EXPECT_EQ(0, unit_stats_now(u).polled);
	EXPECT_EQ(a.polls, unit_stats_now(u).polls);
	unit_close(u);
}

static __u64 g_wait_for_events(struct guest *g, __u64 n)
{
	for (; n; n--) {
		g_map_quiet(g, 0, SPARE, PAGE(9), 1, MAP_RW);
		g_queue(g, VTD_QI_WAIT | VTD_QI_WAIT_IF | VTD_QI_WAIT_SW |
			VTD_QI_WAIT_DATA(g->seq), (__u64)&g->status);
		g_write32(g, VTD_IQT, g->tail * 16);
		while (!(g_read32(g, VTD_ICS) & VTD_ICS_IWC))
			asm volatile("pause");
		g_write32(g, VTD_ICS, VTD_ICS_IWC);
		while (g_read32(g, VTD_ICS) & VTD_ICS_IWC)
			asm volatile("pause");
	}
	return 0;
}

/* What has to be trapped for each event is not polled in between all the time. */
TEST_F_TIMEOUT(selfpoll, hysteresis, 600)
{
	struct unit *u = &self->u;
	__u64 polls;

	module_reload(LONG);
	open_adaptive(u);
	unit_poll(u);
	polls = unit_stats_now(u).polls;
	guest_run(&u->vm, g_wait_for_events, 600);
	/* Not for each of them: the slower the host, the more often its rest is over. */
	EXPECT_GE(150, unit_stats_now(u).polls - polls);
	/* It is again when that is over. */
	unit_poll(u);
	EXPECT_EQ(0, unit_stats_now(u).errors);
	unit_close(u);
}

/* To poll a guest that writes now and then would cost more than its traps. */
TEST_F_TIMEOUT(selfpoll, now_and_then, 600)
{
	struct unit *u = &self->u;
	__u64 polls;
	int i;

	module_reload("poll_wait=100 poll_us_max=1000");
	open_adaptive(u);
	unit_poll(u);
	polls = unit_stats_now(u).polls;
	for (i = 0; i < 50; i++) {
		usleep(10000);
		guest_run(&u->vm, g_flush);
	}
	/* Once if it was asked for before */
	EXPECT_GE(1, unit_stats_now(u).polls - polls);
	unit_poll(u);
	unit_close(u);
}

/* The worker's CPU has other things to do: trapped, for 10 s. */
TEST_F_TIMEOUT(selfpoll, overcommitted, 600)
{
	struct unit *u = &self->u;
	pthread_t guest;
	pid_t hogs[HOGS];

	module_reload("poll_rest_ms=10000 poll_us_max=100000");
	open_adaptive(u);
	guest = start_guest(u);
	while (!unit_stats_now(u).polls)
		sched_yield();
	start_hogs(hogs, 1);
	while (!unit_stats_now(u).overcommits)
		sched_yield();
	EXPECT_TRUE(stays_trapped(u));
	stop_hogs(hogs);
	while (!unit_stats_now(u).polled)
		sched_yield();
	stop_guest(u, guest);
	EXPECT_EQ(0, unit_stats_now(u).errors);
	unit_close(u);
}

/* The host sleeps while the guest is busy. */
TEST_F_TIMEOUT(selfpoll, suspend, 600)
{
	struct unit *u = &self->u;
	pthread_t guest;
	int i;

	module_reload(VERY_LONG);
	suspend_begin();
	open_adaptive(u);
	guest = start_guest(u);
	for (i = 0; i < 3; i++) {
		while (!unit_stats_now(u).polled)
			sched_yield();
		wait_for_guest(u, 3);
		/* EBUSY if it would not be frozen */
		EXPECT_EQ(0, suspend_host());
		wait_for_guest(u, 20);
	}
	stop_guest(u, guest);
	suspend_end();
	EXPECT_EQ(0, unit_stats_now(u).errors);
	unit_close(u);
}

/* A VMM that is stopped by a signal does not go on to poll. */
TEST_F_TIMEOUT(selfpoll, stopped, 600)
{
	struct unit *u = &self->u;
	int pipes[2], status, i;
	unsigned long was;
	pid_t pid, tid;

	module_reload(VERY_LONG);
	ASSERT_EQ(0, pipe(pipes));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		open_adaptive(u);
		unit_poll(u);
		tid = worker(0);
		REQUIRE(write(pipes[1], &tid, sizeof(tid)) == sizeof(tid));
		for (;;)
			pause();
	}
	close(pipes[1]);
	ASSERT_EQ(sizeof(tid), read(pipes[0], &tid, sizeof(tid)));
	for (i = 0; i < 3; i++) {
		/* It polls: it runs all the time. */
		was = thread_time(tid);
		while (thread_time(tid) == was)
			sched_yield();
		ASSERT_EQ(0, kill(pid, SIGSTOP));
		ASSERT_EQ(pid, waitpid(pid, &status, WUNTRACED));
		ASSERT_TRUE(WIFSTOPPED(status));
		while (thread_state(tid) != 'T')
			sched_yield();
		ASSERT_EQ(0, kill(pid, SIGCONT));
	}
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(device_is_free(0));
}

TEST_HARNESS_MAIN
