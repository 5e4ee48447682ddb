// SPDX-License-Identifier: GPL-2.0
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "pollers.h"
#include "require.h"

#define PARAMETERS "/sys/module/kviommu/parameters/"

int file_put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	int err = 0;

	REQUIRE(fd >= 0);
	if (write(fd, text, strlen(text)) < 0)
		err = errno;
	close(fd);
	return err;
}

char *file_get(const char *path, char *text, size_t size)
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

int set_parameter(const char *name, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), PARAMETERS "%s", name);
	return file_put(path, value);
}

const char *parameter(const char *name)
{
	static char text[128];
	char path[128];

	snprintf(path, sizeof(path), PARAMETERS "%s", name);
	file_get(path, text, sizeof(text));
	text[strcspn(text, "\n")] = '\0';
	return text;
}

void set_cpu(unsigned int cpu, bool online)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/online", cpu);
	REQUIRE(!file_put(path, online ? "1" : "0"));
}

void move_thread(pid_t pid, unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	REQUIRE(!sched_setaffinity(pid, sizeof(set), &set));
}

void run_on(unsigned int cpu)
{
	move_thread(0, cpu);
}

int module_load(const char *parameters)
{
	int fd = open("kviommu.ko", O_RDONLY | O_CLOEXEC), err;

	REQUIRE(fd >= 0);
	err = syscall(SYS_finit_module, fd, parameters, 0) ? errno : 0;
	close(fd);
	return err;
}

void module_unload(void)
{
	/* A process that has just ended may take a moment to let go of it. */
	while (syscall(SYS_delete_module, "kviommu", O_NONBLOCK) &&
	       errno != ENOENT)
		REQUIRE(errno == EAGAIN);
}

void module_reload(const char *parameters)
{
	module_unload();
	REQUIRE(!module_load(parameters));
}

pid_t look_for_thread(const char *dir, const char *name)
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
		file_get(path, comm, sizeof(comm));
		comm[strcspn(comm, "\n")] = '\0';
		if (!strcmp(comm, name))
			pid = atoi(d->d_name);
	}
	closedir(all);
	return pid;
}

pid_t find_thread(const char *dir, const char *name)
{
	pid_t pid = look_for_thread(dir, name);

	if (!pid)
		FATAL("there is no thread %s", name);
	return pid;
}

pid_t worker(unsigned int n)
{
	char name[32];

	snprintf(name, sizeof(name), "kviommu-%u", n);
	return find_thread("/proc/self/task", name);
}

static const char *poller_name(unsigned int cpu)
{
	static char name[32];

	snprintf(name, sizeof(name), "kviommu-poll/%u", cpu);
	return name;
}

bool has_poller(unsigned int cpu)
{
	return look_for_thread("/proc", poller_name(cpu));
}

pid_t poller(unsigned int cpu)
{
	return find_thread("/proc", poller_name(cpu));
}

/* Of /proc/PID/stat, which counts from 1: 3 is the state, 39 the processor. */
static const char *stat_field(pid_t pid, unsigned int n)
{
	static char text[1024];
	char path[64], *p;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	p = strrchr(file_get(path, text, sizeof(text)), ')');
	REQUIRE(p);
	for (p += 2; n > 3; n--)
		p = strchr(p, ' ') + 1;
	return p;
}

char thread_state(pid_t pid)
{
	return *stat_field(pid, 3);
}

unsigned long thread_time(pid_t pid)
{
	char path[64], text[128];

	snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
	return strtoul(file_get(path, text, sizeof(text)), NULL, 10);
}

int polled_on(unsigned int n)
{
	char path[64], text[32];

	snprintf(path, sizeof(path), "/sys/class/kviommu/kviommu%u/poll_cpu", n);
	return atoi(file_get(path, text, sizeof(text)));
}

void wait_for_cpu(struct unit *u, unsigned int n, int cpu)
{
	/* A guest that writes, so that one that is trapped goes on. */
	while (polled_on(n) != cpu)
		guest_run(&u->vm, g_churn, SPARE, PAGE(9), 1);
}

void open_units(struct unit *u, unsigned int nr, enum unit_mode mode)
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
		p.mask = KVIOMMU_POLICY_IDLE_PIN_MS | KVIOMMU_POLICY_POLL_US_MIN;
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

pthread_t start_guest(struct unit *u)
{
	pthread_t thread;

	WRITE_ONCE(u->vm.g->stop, 0);
	REQUIRE(!pthread_create(&thread, NULL, run_guest, u));
	return thread;
}

void stop_guest(struct unit *u, pthread_t thread)
{
	WRITE_ONCE(u->vm.g->stop, 1);
	REQUIRE(!pthread_join(thread, NULL));
	WRITE_ONCE(u->vm.g->stop, 0);
}

void wait_for_guest(struct unit *u, unsigned long pairs)
{
	__u64 end = READ_ONCE(u->vm.g->count) + pairs;

	while (READ_ONCE(u->vm.g->count) < end)
		sched_yield();
}

bool stays_trapped(struct unit *u)
{
	struct kviommu_stats a, b;

	wait_for_guest(u, 3);
	a = unit_stats_now(u);
	wait_for_guest(u, 20);
	b = unit_stats_now(u);
	if (!a.polled && a.polls == b.polls && b.reg_writes - a.reg_writes >= 38)
		return true;
	printf("# polled %llu, then %llu times more, %llu writes trapped\n", a.polled,
	       b.polls - a.polls, b.reg_writes - a.reg_writes);
	return false;
}

void suspend_begin(void)
{
	REQUIRE(!file_put("/sys/module/suspend/parameters/pm_test_delay", "1"));
	REQUIRE(!file_put("/sys/power/pm_test", "freezer"));
}

int suspend_host(void)
{
	return file_put("/sys/power/state", "freeze");
}

void suspend_end(void)
{
	REQUIRE(!file_put("/sys/power/pm_test", "none"));
}

void start_hogs(pid_t *hogs, unsigned int cpu)
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

void stop_hogs(pid_t *hogs)
{
	unsigned int i;
	int status;

	for (i = 0; i < HOGS; i++) {
		REQUIRE(!kill(hogs[i], SIGKILL));
		REQUIRE(waitpid(hogs[i], &status, 0) == hogs[i]);
	}
}
