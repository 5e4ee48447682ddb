// SPDX-License-Identifier: GPL-2.0
/*
 * The shared threads that poll: CPUs that come and go, that have other things to do, or
 * nothing; and guests that take too much of their time. Everything else runs on CPU 0.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "pollers.h"
#include "require.h"
#include "variants.h"

/* The emulator's processors stand still now and then: no look is too long for that. */
#define SHARED "poll_share=1 poll_budget_us=1000000 "
#define LONG "poll_us_max=100000"
#define VERY_LONG "poll_us_max=10000000"

FIXTURE(sidecore) {
	struct unit u[2];
};

FIXTURE_VARIANT(sidecore) {
	enum unit_mode mode;
};

FIXTURE_VARIANT_ADD(sidecore, sidecore) {
	.mode = UNIT_MODE_SIDECORE,
};

FIXTURE_VARIANT_ADD(sidecore, adaptive) {
	.mode = UNIT_MODE_ADAPTIVE,
};

FIXTURE_SETUP(sidecore)
{
	run_on(0);
}

/* Also after a test that failed */
FIXTURE_TEARDOWN_PARENT(sidecore)
{
	set_cpu(1, true);
	module_reload("");
}

/*
 * A busy guest while the only CPU to poll on goes away and comes back: it is
 * trapped meanwhile, and the thread does nothing on any other CPU.
 */
TEST_F_TIMEOUT(sidecore, only_cpu, 600)
{
	struct unit *u = self->u;
	static char trace[1 << 20];
	struct kviommu_stats a;
	pthread_t guest;
	char filter[64];
	pid_t pid;
	int i;

	module_reload(SHARED "poll_cpus=1 poll_wait=100 " LONG);
	pid = poller(1);
	REQUIRE(!file_put(TRACEFS "trace", ""));
	snprintf(filter, sizeof(filter), "common_pid == %d", pid);
	REQUIRE(!file_put(TRACEFS "events/kviommu/kviommu_descriptor/filter", filter));
	REQUIRE(!file_put(TRACEFS "events/kviommu/kviommu_descriptor/enable", "1"));
	open_units(u, 1, variant->mode);
	guest = start_guest(u);
	for (i = 0; i < 5; i++) {
		while (polled_on(0) != 1)
			;
		wait_for_guest(u, 3);
		set_cpu(1, false);
		EXPECT_EQ('P', thread_state(pid));
		EXPECT_EQ(-1, polled_on(0));
		wait_for_guest(u, 3);
		/* An adaptive one is its own worker's then. */
		EXPECT_TRUE(variant->mode == UNIT_MODE_ADAPTIVE || stays_trapped(u));
		EXPECT_EQ(-1, polled_on(0));
		set_cpu(1, true);
	}
	while (polled_on(0) != 1)
		;
	stop_guest(u, guest);
	REQUIRE(!file_put(TRACEFS "events/kviommu/kviommu_descriptor/enable", "0"));
	REQUIRE(!file_put(TRACEFS "events/kviommu/kviommu_descriptor/filter", "0"));
	file_get(TRACEFS "per_cpu/cpu1/trace", trace, sizeof(trace));
	EXPECT_TRUE(strstr(trace, "kviommu_descriptor:"));
	file_get(TRACEFS "per_cpu/cpu0/trace", trace, sizeof(trace));
	EXPECT_FALSE(strstr(trace, "kviommu_descriptor:"));
	a = unit_stats_now(u);
	EXPECT_EQ(0, a.errors);
	EXPECT_EQ(0, a.overcommits);
	unit_close(u);
}

/* Units go to the thread that is left, and one comes back when there is another. */
TEST_F_TIMEOUT(sidecore, two_cpus, 600)
{
	struct unit *u = self->u;
	pthread_t guest[2];
	int i, n;

	module_reload(SHARED "poll_cpus=0-1 poll_wait=100 " LONG);
	open_units(u, 2, variant->mode);
	/* Their workers, too, can be told apart. */
	EXPECT_NE(worker(0), worker(1));
	for (n = 0; n < 2; n++)
		guest[n] = start_guest(&u[n]);
	for (i = 0; i < 3; i++) {
		/* Each has its own, also if both began with the same. */
		while (polled_on(0) + polled_on(1) != 1)
			sched_yield();
		set_cpu(1, false);
		for (n = 0; n < 2; n++) {
			while (polled_on(n) != 0)
				sched_yield();
			wait_for_guest(&u[n], 3);
		}
		set_cpu(1, true);
	}
	for (n = 0; n < 2; n++) {
		stop_guest(&u[n], guest[n]);
		EXPECT_EQ(0, unit_stats_now(&u[n]).errors);
		unit_close(&u[n]);
	}
}

/* A CPU that is not there when the module is loaded, and comes later */
TEST_F_TIMEOUT(sidecore, cpu_comes_later, 600)
{
	struct unit *u = self->u;
	int n;

	set_cpu(1, false);
	module_reload(SHARED "poll_cpus=0-1 poll_wait=100 " LONG);
	EXPECT_EQ('P', thread_state(poller(1)));
	EXPECT_EQ('S', thread_state(poller(0)));
	open_units(u, 2, variant->mode);
	for (n = 0; n < 2; n++)
		wait_for_cpu(&u[n], n, 0);
	set_cpu(1, true);
	EXPECT_NE('P', thread_state(poller(1)));
	for (n = 0; polled_on(0) != 1 && polled_on(1) != 1; n = !n)
		guest_run(&u[n].vm, g_churn, SPARE, PAGE(9), 1);
	unit_close(&u[1]);
	unit_close(&u[0]);
	/* The module goes while its thread's CPU is away. */
	set_cpu(1, false);
	module_unload();
	EXPECT_EQ(0, module_load("poll_cpus=1"));
}

/* The CPU has other things to do: trapped, until it has not. */
TEST_F_TIMEOUT(sidecore, overcommitted, 600)
{
	const bool adaptive = variant->mode == UNIT_MODE_ADAPTIVE;
	struct unit *u = self->u;
	struct kviommu_stats a;
	pthread_t guest;
	pid_t hogs[HOGS];

	module_reload(SHARED "poll_cpus=1 poll_rest_ms=10000 " LONG);
	open_units(u, 1, variant->mode);
	guest = start_guest(u);
	while (polled_on(0) != 1)
		;
	a = unit_stats_now(u);
	start_hogs(hogs, 1);
	/* Of an adaptive one the worker, too, has to wait: for the guest itself. */
	while (unit_stats_now(u).overcommits - a.overcommits < 1 + adaptive)
		;
	/* For 10 s it is trapped. */
	EXPECT_TRUE(stays_trapped(u));
	stop_hogs(hogs);
	while (polled_on(0) != 1)
		;
	stop_guest(u, guest);
	EXPECT_EQ(0, unit_stats_now(u).errors);
	unit_close(u);
}

/* There is another CPU to poll on, but the guest itself keeps that busy. */
TEST_F_TIMEOUT(sidecore, all_overcommitted, 600)
{
	const bool adaptive = variant->mode == UNIT_MODE_ADAPTIVE;
	struct unit *u = self->u;
	struct kviommu_stats a;
	pthread_t guest;
	pid_t hogs[HOGS];

	module_reload(SHARED "poll_cpus=0-1 poll_rest_ms=10000 " LONG);
	open_units(u, 1, variant->mode);
	start_hogs(hogs, 1);
	guest = start_guest(u);
	while (unit_stats_now(u).overcommits < 2 + adaptive)
		;
	wait_for_guest(u, 3);
	a = unit_stats_now(u);
	EXPECT_EQ(0, a.polled);
	EXPECT_LE(2, a.polls);
	wait_for_guest(u, 20);
	EXPECT_LE(38, unit_stats_now(u).reg_writes - a.reg_writes);
	stop_hogs(hogs);
	stop_guest(u, guest);
	unit_close(u);
}

/* An administrator who wants to poll all the same */
TEST_F_TIMEOUT(sidecore, never_overcommitted, 600)
{
	struct unit *u = self->u;
	pthread_t guest;
	pid_t hogs[HOGS];

	module_reload(SHARED "poll_cpus=1 poll_wait=100 " LONG);
	open_units(u, 1, variant->mode);
	guest = start_guest(u);
	start_hogs(hogs, 1);
	wait_for_guest(u, 20);
	EXPECT_EQ(0, unit_stats_now(u).overcommits);
	while (polled_on(0) != 1)
		;
	stop_hogs(hogs);
	stop_guest(u, guest);
	unit_close(u);
}

/* Nobody is woken for a guest that does nothing. */
static __u64 g_idle(struct guest *g, __u64 n)
{
	while (n--)
		g_read32(g, VTD_GSTS);
	return 0;
}

TEST_F_TIMEOUT(sidecore, idle, 600)
{
	struct unit *u = self->u;
	unsigned long was[2];
	pid_t pid[2];
	int i, n;

	if (variant->mode != UNIT_MODE_ADAPTIVE) {
		/* There the thread never sleeps, but time is counted in both. */
		module_reload(SHARED "poll_cpus=1 poll_wait=100 " LONG);
		open_units(u, 1, variant->mode);
		wait_for_cpu(u, 0, 1);
		was[0] = unit_stats_now(u).polled_ns;
		guest_run(&u->vm, g_idle, 1000);
		was[1] = unit_stats_now(u).polled_ns;
		EXPECT_LT(was[0], was[1]);
		unit_close(u);
		return;
	}
	module_reload(SHARED "poll_cpus=1");
	open_units(u, 1, variant->mode);
	pid[0] = poller(1);
	pid[1] = worker(0);
	for (i = 0; i < 3; i++) {
		guest_run(&u->vm, g_churn, SPARE, PAGE(9), 10);
		do {
			while (unit_stats_now(u).polled)
				;
			for (n = 0; n < 2; n++)
				while (thread_state(pid[n]) != 'S')
					;
		} while (unit_stats_now(u).polled);
		for (n = 0; n < 2; n++)
			was[n] = thread_time(pid[n]);
		was[1] += unit_stats_now(u).polled_ns;
		guest_run(&u->vm, g_idle, 2000000);
		EXPECT_EQ(was[0], thread_time(pid[0]));
		EXPECT_EQ(was[1], thread_time(pid[1]) +
			  unit_stats_now(u).polled_ns);
	}
	unit_close(u);
}

/* The letters of a trace's events: w a write trapped, P polled, T trapped again */
static void spell(char *trace, char *word, size_t size)
{
	static const struct {
		const char *event;
		char letter;
	} events[] = {
		{ "kviommu_reg_write:", 'w' },
		{ " polled, asked", 'P' },
		{ " trapped, idle", 'T' },
		{ " trapped, ", '?' },
		{ "tracing_mark_write: busy", 'B' },
		{ "tracing_mark_write: idle", 'I' },
	};
	size_t n = 0, i;
	char *line;

	for (line = strtok(trace, "\n"); line; line = strtok(NULL, "\n")) {
		for (i = 0; i < ARRAY_SIZE(events); i++)
			if (strstr(line, events[i].event))
				break;
		/* Several writes are as one. */
		if (i == ARRAY_SIZE(events) ||
		    (n && events[i].letter == 'w' && word[n - 1] == 'w'))
			continue;
		REQUIRE(n < size - 1);
		word[n++] = events[i].letter;
	}
	word[n] = '\0';
}

/* To the thread a guest that has to wait for a CPU is idle for a while. */
static void forget_pauses(char *word)
{
	char *p;

	while ((p = strstr(word, "PTwP")))
		memmove(p, p + 3, strlen(p + 3) + 1);
}

/* Busy, idle, busy: no exit while it is polled, nothing at all while idle */
TEST_F_TIMEOUT(sidecore, busy_idle_busy, 600)
{
	const bool adaptive = variant->mode == UNIT_MODE_ADAPTIVE;
	struct unit *u = self->u;
	static char trace[1 << 20];
	char word[256];
	int i;

	module_reload(SHARED "poll_cpus=1 poll_wait=100 poll_us_max=1000000");
	open_units(u, 1, variant->mode);
	/* Changing the mode may have it polled any moment; after once it is done. */
	unit_poll(u);
	while (adaptive && unit_stats_now(u).polled)
		;
	REQUIRE(!file_put(TRACEFS "trace", ""));
	REQUIRE(!file_put(TRACEFS "events/kviommu/kviommu_reg_write/enable", "1"));
	REQUIRE(!file_put(TRACEFS "events/kviommu/kviommu_poll/enable", "1"));
	for (i = 0; i < 2; i++) {
		REQUIRE(!file_put(TRACEFS "trace_marker", "busy\n"));
		while (!unit_stats_now(u).polled)
			guest_run(&u->vm, g_churn, SPARE, PAGE(9), 1);
		guest_run(&u->vm, g_churn, SPARE, PAGE(9), 100);
		REQUIRE(!file_put(TRACEFS "trace_marker", "idle\n"));
		while (adaptive && unit_stats_now(u).polled)
			;
		guest_run(&u->vm, g_idle, 100000);
	}
	REQUIRE(!file_put(TRACEFS "events/kviommu/kviommu_reg_write/enable", "0"));
	REQUIRE(!file_put(TRACEFS "events/kviommu/kviommu_poll/enable", "0"));
	file_get(TRACEFS "trace", trace, sizeof(trace));
	spell(trace, word, sizeof(word));
	forget_pauses(word);
	EXPECT_STREQ(adaptive ? "BwPITBwPIT" : "BIBI", word);
	unit_close(u);
}

/*
 * The host sleeps while the guest is busy: nobody polls then, and the guest goes on
 * after it. Here only processes are frozen, for a second.
 */
TEST_F_TIMEOUT(sidecore, suspend, 600)
{
	static const char * const events[] = {
		TRACEFS "events/power/suspend_resume/enable",
		TRACEFS "events/sched/sched_switch/enable",
	};
	struct unit *u = self->u;
	static char trace[1 << 20];
	char *frozen, *thawed, *last, *p;
	pthread_t guest;
	int i, n;

	module_reload(SHARED "poll_cpus=1 poll_wait=100 " LONG);
	suspend_begin();
	REQUIRE(!file_put(TRACEFS "events/sched/sched_switch/filter",
			  "prev_comm == \"kviommu-poll/1\" || next_comm == \"kviommu-poll/1\""));
	open_units(u, 1, variant->mode);
	guest = start_guest(u);
	for (i = 0; i < 3; i++) {
		while (polled_on(0) != 1)
			sched_yield();
		wait_for_guest(u, 3);
		REQUIRE(!file_put(TRACEFS "trace", ""));
		for (n = 0; n < 2; n++)
			REQUIRE(!file_put(events[n], "1"));
		ASSERT_EQ(0, suspend_host());
		for (n = 0; n < 2; n++)
			REQUIRE(!file_put(events[n], "0"));
		file_get(TRACEFS "trace", trace, sizeof(trace));
		frozen = strstr(trace, "freeze_processes[0] end");
		thawed = strstr(trace, "thaw_processes[0] begin");
		ASSERT_TRUE(frozen && thawed && frozen < thawed);
		*thawed = '\0';
		/* The last thing that it did was to go to sleep, maybe before. */
		last = NULL;
		for (p = strstr(trace, "sched_switch:"); p; p = strstr(p + 1, "sched_switch:"))
			last = p;
		ASSERT_TRUE(last || variant->mode == UNIT_MODE_ADAPTIVE);
		p = last ? strchr(last, '\n') : NULL;
		if (p)
			*p = '\0';
		EXPECT_TRUE(!last || strstr(last, "prev_comm=kviommu-poll/1"));
		EXPECT_TRUE(!last || strstr(last, "prev_state=S"));
		wait_for_guest(u, 20);
	}
	while (polled_on(0) != 1)
		sched_yield();
	stop_guest(u, guest);
	REQUIRE(!file_put(TRACEFS "events/sched/sched_switch/filter", "0"));
	suspend_end();
	EXPECT_EQ(0, unit_stats_now(u).errors);
	EXPECT_EQ(0, unit_stats_now(u).overcommits);
	unit_close(u);
}

static bool on_node(unsigned int cpu, unsigned int node)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/node%u", cpu, node);
	return !access(path, F_OK);
}

/* Returns: the CPU. */
static int wait_until_polled(struct unit *u)
{
	int cpu;

	do
		guest_run(&u->vm, g_churn, SPARE, PAGE(9), 1);
	while ((cpu = polled_on(0)) < 0);
	return cpu;
}

/* The first CPU of the node */
static unsigned int cpu_of(unsigned int node)
{
	unsigned int cpu;

	for (cpu = 0; !on_node(cpu, node); cpu++)
		if (cpu > 64)
			FATAL("the host has no node %u with CPUs", node);
	return cpu;
}

/* Threads on each NUMA node, and a unit is polled on that of its VMM. */
TEST_F_TIMEOUT(sidecore, nodes, 600)
{
	struct unit *u = self->u;
	struct kviommu_policy p;
	int n;

	module_reload(SHARED "poll_cpus=all poll_wait=100 " LONG);
	for (n = 0; n < 2; n++) {
		/* Its worker, too, inherits that. */
		run_on(cpu_of(n));
		open_units(u, 1, variant->mode);
		EXPECT_TRUE(on_node(wait_until_polled(u), n));
		/* It moves, and is polled there the next time. */
		run_on(cpu_of(!n));
		move_thread(worker(0), cpu_of(!n));
		p = unit_policy(u);
		p.mode = KVIOMMU_MODE_TRAP;
		REQUIRE(!unit_set_policy(u, &p));
		EXPECT_EQ(-1, polled_on(0));
		p.mode = variant->mode;
		REQUIRE(!unit_set_policy(u, &p));
		EXPECT_TRUE(on_node(wait_until_polled(u), !n));
		unit_close(u);
	}
}

/* How many interrupts a CPU has had: "LOC:" of its timer, "RES:" to schedule */
static unsigned long interrupts_of(unsigned int cpu, const char *what)
{
	static char text[1 << 16];
	unsigned long n;
	char *p;

	p = strstr(file_get("/proc/interrupts", text, sizeof(text)), what);
	REQUIRE(p);
	p += strlen(what);
	do
		n = strtoul(p, &p, 10);
	while (cpu--);
	return n;
}

#define GRACE_PERIODS	10

/* Have grace periods of RCU: the kernel waits for some when a probe is taken out. */
static void grace_periods(void)
{
	REQUIRE(!file_put(TRACEFS "kprobe_events", "p:kviommu_test do_sys_openat2"));
	REQUIRE(!file_put(TRACEFS "events/kprobes/kviommu_test/enable", "1"));
	REQUIRE(!file_put(TRACEFS "events/kprobes/kviommu_test/enable", "0"));
	REQUIRE(!file_put(TRACEFS "kprobe_events", ""));
}

/*
 * CPU 1 is isolated (isolcpus, nohz_full): the thread is there as it is named, nothing else
 * is, so there is no tick. Grace periods of RCU do not wait for it, of which the kernel
 * would complain after 3 s (rcupdate.rcu_cpu_stall_timeout), nor need they ask its CPU to
 * schedule, as they do if it does not report quiescent states.
 */
TEST_F_TIMEOUT(sidecore, isolated_cpu, 600)
{
	struct unit *u = self->u;
	unsigned long own, others, asked;
	pid_t hogs[HOGS];
	char text[16];
	int i;

	file_get("/sys/devices/system/cpu/nohz_full", text, sizeof(text));
	ASSERT_STREQ("1\n", text);
	file_get("/sys/devices/system/cpu/isolated", text, sizeof(text));
	ASSERT_STREQ("1\n", text);
	module_reload(SHARED "poll_cpus=1 poll_wait=100 poll_us_max=100000000");
	open_units(u, 1, variant->mode);
	ASSERT_EQ(1, wait_until_polled(u));
	start_hogs(hogs, 0);
	own = interrupts_of(1, "LOC:");
	others = interrupts_of(0, "LOC:");
	while (interrupts_of(0, "LOC:") < others + 2000)
		usleep(100000);
	own = interrupts_of(1, "LOC:") - own;
	others = interrupts_of(0, "LOC:") - others;
	stop_hogs(hogs);
	asked = interrupts_of(1, "RES:");
	for (i = 0; i < GRACE_PERIODS; i++)
		grace_periods();
	asked = interrupts_of(1, "RES:") - asked;
	ksft_print_msg("%lu ticks there, %lu elsewhere; asked to schedule %lu times\n", own,
		       others, asked);
	EXPECT_GT(others / 4, own);
	EXPECT_GT(4 * GRACE_PERIODS, asked);
	EXPECT_EQ(1, polled_on(0));
	EXPECT_EQ(200, guest_run(&u->vm, g_churn, SPARE, PAGE(9), 200));
	EXPECT_EQ(1, polled_on(0));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	EXPECT_EQ(0, unit_stats_now(u).errors);
	unit_close(u);
}

/* A command of 0 is one like others. */
static __u64 g_all_off(struct guest *g)
{
	unsigned long n;

	g_write32(g, VTD_GCMD, 0);
	for (n = 0; g_read32(g, VTD_GSTS) & (VTD_GCMD_TE | VTD_GCMD_QIE); n++)
		G_ASSERT(g, g_patient(n));
	return 0;
}

TEST_F_TIMEOUT(sidecore, command_of_zero, 600)
{
	struct unit *u = self->u;
	int i;

	module_reload(SHARED "poll_cpus=1 poll_wait=100");
	open_units(u, 1, variant->mode);
	for (i = 0; i < 5; i++) {
		unit_poll(u);
		EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
		guest_run(&u->vm, g_churn, SPARE, PAGE(9), 1);
		guest_run(&u->vm, g_all_off);
		EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, IOVA, PAGE(0)));
		guest_run(&u->vm, g_queue_on, 0);
		guest_run(&u->vm, g_enable, true);
	}
	unit_close(u);
}

static void busy_wait_for_cpu(int cpu)
{
	while (polled_on(0) != cpu)
		sched_yield();
}

/* CPUs are named, and no longer, while the guest is busy: it goes on. */
TEST_F_TIMEOUT(sidecore, cpus_at_run_time, 600)
{
	struct unit *u = self->u;
	pthread_t guest;
	int i;

	module_reload(SHARED "poll_wait=100 " LONG);
	EXPECT_STREQ("", parameter("poll_cpus"));
	open_units(u, 1, variant->mode);
	guest = start_guest(u);
	for (i = 0; i < 5; i++) {
		wait_for_guest(u, 3);
		EXPECT_FALSE(has_poller(0) || has_poller(1));
		EXPECT_EQ(-1, polled_on(0));
		ASSERT_EQ(0, set_parameter("poll_cpus", "1"));
		busy_wait_for_cpu(1);
		/* Another one; what cannot be changes nothing. */
		ASSERT_EQ(0, set_parameter("poll_cpus", "0"));
		EXPECT_FALSE(has_poller(1));
		busy_wait_for_cpu(0);
		EXPECT_EQ(EINVAL, set_parameter("poll_cpus", "1,x"));
		EXPECT_EQ(ERANGE, set_parameter("poll_cpus", "1,7"));
		EXPECT_FALSE(has_poller(1));
		EXPECT_TRUE(has_poller(0));
		wait_for_guest(u, 3);
		/* One that is away, comes, goes, and is named no longer */
		set_cpu(1, false);
		ASSERT_EQ(0, set_parameter("poll_cpus", "1"));
		EXPECT_EQ('P', thread_state(poller(1)));
		EXPECT_EQ(-1, polled_on(0));
		wait_for_guest(u, 3);
		set_cpu(1, true);
		busy_wait_for_cpu(1);
		set_cpu(1, false);
		ASSERT_EQ(0, set_parameter("poll_cpus", "\n"));
		set_cpu(1, true);
	}
	stop_guest(u, guest);
	EXPECT_EQ(0, unit_stats_now(u).errors);
	unit_close(u);
}

/* Those that a thread has no room for are trapped, or polled by their own workers. */
TEST_F_TIMEOUT(sidecore, limit_of_units, 600)
{
	struct unit *u = self->u;
	int i, n, other;

	module_reload(SHARED "poll_cpus=1 poll_units=1 poll_wait=100 " VERY_LONG);
	open_units(u, 2, variant->mode);
	for (i = 0; i < 3; i++) {
		for (n = 0; polled_on(0) != 1 && polled_on(1) != 1; n = !n)
			guest_run(&u[n].vm, g_churn, SPARE, PAGE(9), 1);
		other = polled_on(0) == 1;
		guest_run(&u[other].vm, g_churn, SPARE, PAGE(9), 20);
		EXPECT_EQ(-1, polled_on(other));
		ASSERT_EQ(0, set_parameter("poll_units", "2"));
		while (polled_on(0) != 1 || polled_on(1) != 1)
			for (n = 0; n < 2; n++)
				wait_for_cpu(&u[n], n, 1);
		ASSERT_EQ(0, set_parameter("poll_units", "1"));
		for (n = 0; polled_on(0) == 1 && polled_on(1) == 1; n = !n)
			guest_run(&u[n].vm, g_churn, SPARE, PAGE(9), 1);
	}
	for (n = 0; n < 2; n++) {
		EXPECT_EQ(0, unit_stats_now(&u[n]).errors);
		unit_close(&u[n]);
	}
}

/* Batches of invalidations, of much that changes each */
#define TABLES 14
static __u64 g_dense(struct guest *g, __u64 gpa)
{
	__u64 table, i;

	for (i = 0; !READ_ONCE(g->stop); i++) {
		for (table = 0; table < TABLES; table++) {
			__u64 iova = SPARE + (table + 1) * SZ_2M;

			if (i % 2)
				g_unmap_quiet(g, 0, iova, 512, 0);
			else
				g_map_quiet(g, 0, iova, gpa, 512, MAP_RW);
			g_queue(g, VTD_QI_IOTLB | VTD_QI_SELECTIVE |
				VTD_QI_DID(g->dom[0].did), iova | VTD_QI_HI_AM(9));
		}
		g_flush(g);
		WRITE_ONCE(g->count, i);
	}
	return i;
}

static void *run_dense(void *arg)
{
	struct unit *u = arg;

	guest_run(&u->vm, g_dense, PAGE(0));
	return NULL;
}

/* A guest that takes much of the thread's time has to go; another one does not notice. */
TEST_F_TIMEOUT(sidecore, budget, 600)
{
	struct unit *u = self->u, *quiet = u + 1;
	static char trace[1 << 20];
	struct kviommu_stats a, b;
	pthread_t guest[2];

	module_reload("poll_share=1 poll_budget_us=5000 poll_cpus=1 poll_wait=100 " VERY_LONG);
	open_units(u, 2, variant->mode);
	wait_for_cpu(u, 0, 1);
	guest[1] = start_guest(quiet);
	while (polled_on(1) != 1)
		sched_yield();
	wait_for_guest(quiet, 3);
	REQUIRE(!file_put(TRACEFS "trace", ""));
	REQUIRE(!file_put(TRACEFS "events/kviommu/kviommu_poll/enable", "1"));
	a = unit_stats_now(quiet);
	ASSERT_EQ(0, pthread_create(&guest[0], NULL, run_dense, u));
	while (polled_on(0) == 1)
		sched_yield();
	wait_for_guest(quiet, 100);
	b = unit_stats_now(quiet);
	EXPECT_EQ(1, polled_on(1));
	EXPECT_EQ(a.polls, b.polls);
	EXPECT_EQ(a.reg_writes, b.reg_writes);
	EXPECT_LT(a.pool_ns, b.pool_ns);
	/* It comes back. */
	stop_guest(u, guest[0]);
	wait_for_cpu(u, 0, 1);
	stop_guest(quiet, guest[1]);
	REQUIRE(!file_put(TRACEFS "events/kviommu/kviommu_poll/enable", "0"));
	file_get(TRACEFS "trace", trace, sizeof(trace));
	EXPECT_TRUE(strstr(trace, "unit 0 trapped, budget"));
	EXPECT_FALSE(strstr(trace, "unit 1 "));
	EXPECT_EQ(0, unit_stats_now(u).errors);
	unit_close(quiet);
	unit_close(u);
}

/* What the administrator no longer allows ends at once, also if the VMM is stopped. */
TEST_F_TIMEOUT(sidecore, stopped, 600)
{
	struct unit *u = self->u;
	int pipes[2], status;
	pid_t pid;
	char c = 0;

	module_reload(SHARED "poll_cpus=1 poll_wait=100 " VERY_LONG);
	ASSERT_EQ(0, pipe(pipes));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		open_units(u, 1, variant->mode);
		wait_for_cpu(u, 0, 1);
		REQUIRE(write(pipes[1], &c, 1) == 1);
		for (;;)
			pause();
	}
	close(pipes[1]);
	ASSERT_EQ(1, read(pipes[0], &c, 1));
	ASSERT_EQ(0, kill(pid, SIGSTOP));
	ASSERT_EQ(pid, waitpid(pid, &status, WUNTRACED));
	ASSERT_TRUE(WIFSTOPPED(status));
	EXPECT_EQ(1, polled_on(0));
	ASSERT_EQ(0, set_parameter("modes", "trap"));
	while (polled_on(0) == 1 || thread_state(poller(1)) != 'S')
		sched_yield();
	ASSERT_EQ(0, set_parameter("modes", "trap,sidecore,adaptive"));
	ASSERT_EQ(0, kill(pid, SIGCONT));
	while (polled_on(0) != 1)
		sched_yield();
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(device_is_free(0));
}

/* Good values are taken, bad ones refused, and nothing changes. */
TEST(parameters)
{
	static const struct {
		const char *name;
		const char *good[3];
		const char *bad[3];
	} parameters[] = {
		{ "poll_wait", { "1", "100", "10" }, { "0", "101", "x" } },
		{ "poll_rest_ms", { "1", "10000", "100" }, { "0", "10001", "-1" } },
		{ "poll_nice", { "-20", "19", "5" }, { "-21", "20", "" } },
		{ "poll_budget_us", { "1", "1000000", "100" }, { "0", "1000001", "x" } },
		{ "poll_units", { "1", "65536", "64" }, { "0", "65537", "-1" } },
		{ "poll_share", { "Y", "N", "Y" }, { "2", "-1", "x" } },
		{ "poll_cpus", { "0", "0-1", "1" }, { "x", "1-0", "0,,x" } },
		{ "mode", { "trap", "sidecore", "adaptive" }, { "traps", "0", "" } },
		{ "strategy", { "async", "optimistic", "strict" },
		  { "Strict", "-1", "" } },
	};
	int i, k;

	module_reload("poll_cpus=1 poll_nice=3");
	EXPECT_EQ(3, getpriority(PRIO_PROCESS, poller(1)));
	for (i = 0; i < ARRAY_SIZE(parameters); i++) {
		for (k = 0; k < 3; k++) {
			const char *bad = parameters[i].bad[k];

			EXPECT_EQ(0, set_parameter(parameters[i].name,
						   parameters[i].good[k]));
			EXPECT_EQ(EINVAL, set_parameter(parameters[i].name,
							*bad ? bad : "a"))
				TH_LOG("%s=%s", parameters[i].name, bad);
			EXPECT_STREQ(parameters[i].good[k], parameter(parameters[i].name));
		}
	}
	EXPECT_EQ(ERANGE, set_parameter("poll_cpus", "0,8000"));
	EXPECT_STREQ("1", parameter("poll_cpus"));
	EXPECT_EQ(5, getpriority(PRIO_PROCESS, poller(1)));
	EXPECT_FALSE(has_poller(0));
	module_unload();
	/* No such CPU, no list */
	EXPECT_EQ(EINVAL, module_load("poll_cpus=x"));
	EXPECT_EQ(ERANGE, module_load("poll_cpus=0,7"));
	EXPECT_EQ(ERANGE, module_load("poll_cpus=0,8000"));
	EXPECT_EQ(EINVAL, module_load("mode=none"));
	EXPECT_EQ(0, module_load(""));
}

/* What a unit begins with, if its VMM says nothing */
TEST(defaults)
{
	static const char *const parameters[][2] = {
		{ "max_pins", "11" }, { "max_idle_pins", "12" },
		{ "max_tables", "13" }, { "max_domains", "14" },
		{ "max_mapped", "15" }, { "max_stale", "16" },
		{ "stale_us", "17" }, { "idle_pin_ms", "18" },
		{ "poll_us_min", "300" }, { "poll_us_max", "200" },
	};
	static const struct unit_config config = { .no_arm = true };
	struct kviommu_policy p;
	struct unit u = {};
	unsigned int i;

	module_reload("poll_cpus=1 mode=sidecore strategy=deferred");
	for (i = 0; i < ARRAY_SIZE(parameters); i++)
		ASSERT_EQ(0, set_parameter(parameters[i][0], parameters[i][1]));
	vm_open(&u.vm);
	u.iommufd = iommufd_open();
	u.ioas = ioas_alloc(u.iommufd);
	u.fd = unit_open_file();
	ASSERT_EQ(0, unit_create(u.fd, u.vm.fd, u.iommufd, u.ioas, &config));
	p = unit_policy(&u);
	EXPECT_EQ(KVIOMMU_MODE_SIDECORE, p.mode);
	EXPECT_EQ(KVIOMMU_STRATEGY_DEFERRED, p.strategy);
	EXPECT_EQ(11, p.max_pins);
	EXPECT_EQ(12, p.max_idle_pins);
	EXPECT_EQ(13, p.max_tables);
	EXPECT_EQ(14, p.max_domains);
	EXPECT_EQ(15, p.max_mapped);
	EXPECT_EQ(16, p.max_stale);
	EXPECT_EQ(17, p.stale_us);
	EXPECT_EQ(18, p.idle_pin_ms);
	/* Not more than the greatest */
	EXPECT_EQ(200, p.poll_us_min);
	EXPECT_EQ(200, p.poll_us_max);
	close(u.fd);
	close(u.iommufd);
	vm_close(&u.vm);
	module_reload("");
}

TEST_HARNESS_MAIN
