// SPDX-License-Identifier: GPL-2.0
/*
 * The polling threads: CPUs that come and go, that have other things to do, or
 * nothing. Loads the module itself, with parameters. Everything else runs on CPU 0.
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "require.h"
#include "variants.h"

#define DID 1
#define IOVA 0x200000UL
#define SPARE 0x400000UL
#define PARAMETERS "/sys/module/kviommu/parameters/"
#define TRACEFS "/sys/kernel/tracing/"
#define LONG "poll_us_max=100000"
#define HOGS 4

/* Returns 0 or an errno. */
static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	int err = 0;

	REQUIRE(fd >= 0);
	if (write(fd, text, strlen(text)) < 0)
		err = errno;
	close(fd);
	return err;
}

static char *get(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n, len = 0;

	REQUIRE(fd >= 0);
	while ((n = read(fd, text + len, size - 1 - len)) > 0)
		len += n;
	close(fd);
	text[len] = '\0';
	return text;
}

static void set_cpu(unsigned int cpu, bool online)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/online", cpu);
	REQUIRE(!put(path, online ? "1" : "0"));
}

static void move_thread(pid_t pid, unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	REQUIRE(!sched_setaffinity(pid, sizeof(set), &set));
}

static void run_on(unsigned int cpu)
{
	move_thread(0, cpu);
}

/* Returns 0 or an errno. */
static int load(const char *parameters)
{
	int fd = open("kviommu.ko", O_RDONLY | O_CLOEXEC), err;

	REQUIRE(fd >= 0);
	err = syscall(SYS_finit_module, fd, parameters, 0) ? errno : 0;
	close(fd);
	return err;
}

static void unload(void)
{
	/* A process that has just ended may take a moment to let go of it. */
	while (syscall(SYS_delete_module, "kviommu", O_NONBLOCK) &&
	       errno != ENOENT)
		REQUIRE(errno == EAGAIN);
}

static void reload(const char *parameters)
{
	unload();
	REQUIRE(!load(parameters));
}

/* A thread of the host by its name, below a directory of processes or threads */
static pid_t find_thread(const char *dir, const char *name)
{
	char path[300], comm[32];
	struct dirent *d;
	pid_t pid = 0;
	DIR *all = opendir(dir);

	REQUIRE(all);
	while (!pid && (d = readdir(all))) {
		if (d->d_name[0] < '1' || d->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "%s/%s/comm", dir, d->d_name);
		/* It may have ended. */
		if (access(path, R_OK))
			continue;
		get(path, comm, sizeof(comm));
		comm[strcspn(comm, "\n")] = '\0';
		if (!strcmp(comm, name))
			pid = atoi(d->d_name);
	}
	closedir(all);
	if (!pid)
		FATAL("there is no thread %s", name);
	return pid;
}

static pid_t poller(unsigned int cpu)
{
	char name[32];

	snprintf(name, sizeof(name), "kviommu-poll/%u", cpu);
	return find_thread("/proc", name);
}

/* Of /proc/PID/stat, which counts from 1: 3 is the state, 39 the processor. */
static const char *stat_field(pid_t pid, unsigned int n)
{
	static char text[1024];
	char path[64], *p;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	p = strrchr(get(path, text, sizeof(text)), ')');
	REQUIRE(p);
	for (p += 2; n > 3; n--)
		p = strchr(p, ' ') + 1;
	return p;
}

static char thread_state(pid_t pid)
{
	return *stat_field(pid, 3);
}

/* How long it has run, in ns: each time that it is woken adds to it. */
static unsigned long thread_time(pid_t pid)
{
	char path[64], text[128];

	snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
	return strtoul(get(path, text, sizeof(text)), NULL, 10);
}

/* The CPU on which the n-th unit is polled, or -1 */
static int polled_on(unsigned int n)
{
	char path[64], text[32];

	snprintf(path, sizeof(path), "/sys/class/kviommu/kviommu%u/poll_cpu", n);
	return atoi(get(path, text, sizeof(text)));
}

static void wait_for_cpu(struct unit *u, unsigned int n, int cpu)
{
	/* A guest that writes, so that one that is trapped goes on. */
	while (polled_on(n) != cpu)
		guest_run(&u->vm, g_churn, SPARE, PAGE(9), 1);
}

/* Guests that are in their steady state */
static void open_units(struct unit *u, unsigned int nr, enum unit_mode mode)
{
	const struct unit_config config = { .mode = mode };
	struct kviommu_policy p;
	unsigned int i;

	for (i = 0; i < nr; i++, u++) {
		if (i) {
			unit_open(u, &config);
			guest_run(&u->vm, g_setup, 0);
			guest_run(&u->vm, g_domain, 0, DID, 4);
		} else {
			unit_open_guest(u, &config, DID, IOVA);
		}
		guest_run(&u->vm, g_enable, true);
		/*
		 * Nothing for the worker to do by itself; and a guest that has to
		 * wait for a CPU is not idle.
		 */
		p = unit_policy(u);
		p.idle_pin_ms = 0;
		p.poll_us_min = p.poll_us_max;
		REQUIRE(!unit_set_policy(u, &p));
	}
}

static void *run_guest(void *arg)
{
	struct unit *u = arg;

	guest_run(&u->vm, g_churn, SPARE, PAGE(9), ~0UL);
	return NULL;
}

static pthread_t start_guest(struct unit *u)
{
	pthread_t thread;

	WRITE_ONCE(u->vm.g->stop, 0);
	REQUIRE(!pthread_create(&thread, NULL, run_guest, u));
	return thread;
}

static void stop_guest(struct unit *u, pthread_t thread)
{
	WRITE_ONCE(u->vm.g->stop, 1);
	REQUIRE(!pthread_join(thread, NULL));
	WRITE_ONCE(u->vm.g->stop, 0);
}

/* It maps and unmaps so many times more. */
static void wait_for_guest(struct unit *u, unsigned long pairs)
{
	__u64 end = READ_ONCE(u->vm.g->count) + pairs;

	while (READ_ONCE(u->vm.g->count) < end)
		sched_yield();
}

/* Processes that want all of a CPU */
static void start_hogs(pid_t *hogs, unsigned int cpu)
{
	unsigned int i;

	for (i = 0; i < HOGS; i++) {
		hogs[i] = fork();
		REQUIRE(hogs[i] >= 0);
		if (hogs[i])
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run_on(cpu);
		for (;;)
			asm volatile("pause");
	}
}

static void stop_hogs(pid_t *hogs)
{
	unsigned int i;
	int status;

	for (i = 0; i < HOGS; i++) {
		REQUIRE(!kill(hogs[i], SIGKILL));
		REQUIRE(waitpid(hogs[i], &status, 0) == hogs[i]);
	}
}

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
	reload("");
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

	reload("poll_cpus=1 poll_wait=100 " LONG);
	pid = poller(1);
	REQUIRE(!put(TRACEFS "trace", ""));
	snprintf(filter, sizeof(filter), "common_pid == %d", pid);
	REQUIRE(!put(TRACEFS "events/kviommu/kviommu_descriptor/filter", filter));
	REQUIRE(!put(TRACEFS "events/kviommu/kviommu_descriptor/enable", "1"));
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
		a = unit_stats_now(u);
		EXPECT_EQ(0, a.polled);
		wait_for_guest(u, 20);
		EXPECT_LE(38, unit_stats_now(u).reg_writes - a.reg_writes);
		EXPECT_EQ(a.polls, unit_stats_now(u).polls);
		set_cpu(1, true);
	}
	while (polled_on(0) != 1)
		;
	stop_guest(u, guest);
	REQUIRE(!put(TRACEFS "events/kviommu/kviommu_descriptor/enable", "0"));
	REQUIRE(!put(TRACEFS "events/kviommu/kviommu_descriptor/filter", "0"));
	get(TRACEFS "per_cpu/cpu1/trace", trace, sizeof(trace));
	EXPECT_TRUE(strstr(trace, "kviommu_descriptor:"));
	get(TRACEFS "per_cpu/cpu0/trace", trace, sizeof(trace));
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

	reload("poll_cpus=0-1 poll_wait=100 " LONG);
	open_units(u, 2, variant->mode);
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
	reload("poll_cpus=0-1 poll_wait=100 " LONG);
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
	unload();
	EXPECT_EQ(0, load("poll_cpus=1"));
}

/* The CPU has other things to do: trapped, until it has not. */
TEST_F_TIMEOUT(sidecore, overcommitted, 600)
{
	struct unit *u = self->u;
	struct kviommu_stats a;
	pthread_t guest;
	pid_t hogs[HOGS];

	reload("poll_cpus=1 poll_rest_ms=10000 " LONG);
	open_units(u, 1, variant->mode);
	guest = start_guest(u);
	while (polled_on(0) != 1)
		;
	a = unit_stats_now(u);
	start_hogs(hogs, 1);
	while (unit_stats_now(u).overcommits == a.overcommits)
		;
	/* For 10 s it is trapped. */
	wait_for_guest(u, 3);
	a = unit_stats_now(u);
	EXPECT_EQ(0, a.polled);
	wait_for_guest(u, 20);
	EXPECT_LE(38, unit_stats_now(u).reg_writes - a.reg_writes);
	EXPECT_EQ(a.polls, unit_stats_now(u).polls);
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
	struct unit *u = self->u;
	struct kviommu_stats a;
	pthread_t guest;
	pid_t hogs[HOGS];

	reload("poll_cpus=0-1 poll_rest_ms=10000 " LONG);
	open_units(u, 1, variant->mode);
	start_hogs(hogs, 1);
	guest = start_guest(u);
	while (unit_stats_now(u).overcommits < 2)
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

	reload("poll_cpus=1 poll_wait=100 " LONG);
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
		reload("poll_cpus=1 poll_wait=100 " LONG);
		open_units(u, 1, variant->mode);
		wait_for_cpu(u, 0, 1);
		was[0] = unit_stats_now(u).polled_ns;
		guest_run(&u->vm, g_idle, 1000);
		was[1] = unit_stats_now(u).polled_ns;
		EXPECT_LT(was[0], was[1]);
		unit_close(u);
		return;
	}
	reload("poll_cpus=1");
	open_units(u, 1, variant->mode);
	pid[0] = poller(1);
	pid[1] = find_thread("/proc/self/task", "kviommu");
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

	reload("poll_cpus=1 poll_wait=100 poll_us_max=1000000");
	open_units(u, 1, variant->mode);
	/* Changing the mode may have it polled any moment; after once it is done. */
	unit_poll(u);
	while (adaptive && unit_stats_now(u).polled)
		;
	REQUIRE(!put(TRACEFS "trace", ""));
	REQUIRE(!put(TRACEFS "events/kviommu/kviommu_reg_write/enable", "1"));
	REQUIRE(!put(TRACEFS "events/kviommu/kviommu_poll/enable", "1"));
	for (i = 0; i < 2; i++) {
		REQUIRE(!put(TRACEFS "trace_marker", "busy\n"));
		while (!unit_stats_now(u).polled)
			guest_run(&u->vm, g_churn, SPARE, PAGE(9), 1);
		guest_run(&u->vm, g_churn, SPARE, PAGE(9), 100);
		REQUIRE(!put(TRACEFS "trace_marker", "idle\n"));
		while (adaptive && unit_stats_now(u).polled)
			;
		guest_run(&u->vm, g_idle, 100000);
	}
	REQUIRE(!put(TRACEFS "events/kviommu/kviommu_reg_write/enable", "0"));
	REQUIRE(!put(TRACEFS "events/kviommu/kviommu_poll/enable", "0"));
	get(TRACEFS "trace", trace, sizeof(trace));
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

	reload("poll_cpus=1 poll_wait=100 " LONG);
	REQUIRE(!put("/sys/module/suspend/parameters/pm_test_delay", "1"));
	REQUIRE(!put("/sys/power/pm_test", "freezer"));
	REQUIRE(!put(TRACEFS "events/sched/sched_switch/filter",
		     "prev_comm == \"kviommu-poll/1\" || next_comm == \"kviommu-poll/1\""));
	open_units(u, 1, variant->mode);
	guest = start_guest(u);
	for (i = 0; i < 3; i++) {
		while (polled_on(0) != 1)
			sched_yield();
		wait_for_guest(u, 3);
		REQUIRE(!put(TRACEFS "trace", ""));
		for (n = 0; n < 2; n++)
			REQUIRE(!put(events[n], "1"));
		ASSERT_EQ(0, put("/sys/power/state", "freeze"));
		for (n = 0; n < 2; n++)
			REQUIRE(!put(events[n], "0"));
		get(TRACEFS "trace", trace, sizeof(trace));
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
	REQUIRE(!put(TRACEFS "events/sched/sched_switch/filter", "0"));
	REQUIRE(!put("/sys/power/pm_test", "none"));
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

/* A thread for each NUMA node, and a unit is polled on that of its VMM. */
TEST_F_TIMEOUT(sidecore, nodes, 600)
{
	struct unit *u = self->u;
	struct kviommu_policy p;
	cpu_set_t set;
	char name[32];
	int n, cpu;

	reload("poll_wait=100 " LONG);
	for (n = 0; n < 2; n++) {
		snprintf(name, sizeof(name), "kviommu-poll:%d", n);
		/* It says so itself, when it first runs. */
		do {
			REQUIRE(!sched_getaffinity(find_thread("/proc", name), sizeof(set),
						   &set));
			for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
				if (CPU_ISSET(cpu, &set) && !on_node(cpu, n))
					break;
		} while (cpu < CPU_SETSIZE);
		EXPECT_LT(0, CPU_COUNT(&set));
	}
	for (n = 0; n < 2; n++) {
		/* Its worker, too, inherits that. */
		run_on(cpu_of(n));
		open_units(u, 1, variant->mode);
		EXPECT_TRUE(on_node(wait_until_polled(u), n));
		/* It moves, and is polled there the next time. */
		run_on(cpu_of(!n));
		move_thread(find_thread("/proc/self/task", "kviommu"), cpu_of(!n));
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

/* A command of 0 is one like others. */
static __u64 g_all_off(struct guest *g)
{
	unsigned long n;

	g_write32(g, VTD_GCMD, 0);
	for (n = 0; g_read32(g, VTD_GSTS) & (VTD_GCMD_TE | VTD_GCMD_QIE); n++)
		G_ASSERT(g, n < PATIENCE);
	return 0;
}

TEST_F_TIMEOUT(sidecore, command_of_zero, 600)
{
	struct unit *u = self->u;
	int i;

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

/* Good values are taken, bad ones refused, and nothing changes. */
TEST(parameters)
{
	static const struct {
		const char *name;
		const char *good[3];
		const char *bad[3];
	} parameters[] = {
		{ PARAMETERS "poll_wait", { "1", "100", "10" }, { "0", "101", "x" } },
		{ PARAMETERS "poll_rest_ms", { "1", "10000", "100" },
		  { "0", "10001", "-1" } },
		{ PARAMETERS "poll_nice", { "-20", "19", "5" }, { "-21", "20", "" } },
		{ PARAMETERS "mode", { "trap", "sidecore", "adaptive" }, { "traps", "0", "" } },
		{ PARAMETERS "strategy", { "async", "optimistic", "strict" },
		  { "Strict", "-1", "" } },
	};
	char text[32];
	pid_t pid;
	int i, k;

	reload("poll_cpus=1 poll_nice=3");
	pid = poller(1);
	EXPECT_EQ(3, getpriority(PRIO_PROCESS, pid));
	for (i = 0; i < ARRAY_SIZE(parameters); i++) {
		for (k = 0; k < 3; k++) {
			EXPECT_EQ(0, put(parameters[i].name, parameters[i].good[k]));
			EXPECT_EQ(EINVAL, put(parameters[i].name, *parameters[i].bad[k] ?
					      parameters[i].bad[k] : "a"));
			get(parameters[i].name, text, sizeof(text));
			text[strcspn(text, "\n")] = 0;
			EXPECT_STREQ(parameters[i].good[k], text);
		}
	}
	EXPECT_EQ(5, getpriority(PRIO_PROCESS, pid));
	unload();
	/* No such CPU, no list */
	EXPECT_EQ(EINVAL, load("poll_cpus=x"));
	EXPECT_EQ(ERANGE, load("poll_cpus=0,8000"));
	EXPECT_EQ(EINVAL, load("mode=none"));
	EXPECT_EQ(0, load(""));
}

/* What a unit begins with, if its VMM says nothing */
TEST(defaults)
{
	static const char *const parameters[][2] = {
		{ PARAMETERS "max_pins", "11" }, { PARAMETERS "max_idle_pins", "12" },
		{ PARAMETERS "max_tables", "13" }, { PARAMETERS "max_domains", "14" },
		{ PARAMETERS "max_mapped", "15" }, { PARAMETERS "max_stale", "16" },
		{ PARAMETERS "stale_us", "17" }, { PARAMETERS "idle_pin_ms", "18" },
		{ PARAMETERS "poll_us_min", "300" }, { PARAMETERS "poll_us_max", "200" },
	};
	static const struct unit_config config = { .no_arm = true };
	struct kviommu_policy p;
	struct unit u = {};
	unsigned int i;

	reload("mode=sidecore strategy=deferred");
	for (i = 0; i < ARRAY_SIZE(parameters); i++)
		ASSERT_EQ(0, put(parameters[i][0], parameters[i][1]));
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
	reload("");
}

TEST_HARNESS_MAIN
