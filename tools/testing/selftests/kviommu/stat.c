// SPDX-License-Identifier: GPL-2.0
/*
 * kviommustat, which the working directory has: on files of our own, and on units
 * with guests, whose figures are known; and the names of libkviommu.
 */
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <termios.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "require.h"
#include "unit.h"

#define PROGRAM "./kviommustat"
#define DID 1
#define IOVA 0x200000UL
#define SPARE 0x400000UL

/* A kviommustat that is running, and what it prints */
struct run {
	pid_t pid;
	FILE *out;
};

static pid_t start_on(int in, int out, const char *sysfs,
		      const char *const *options)
{
	const char *argv[16] = { PROGRAM, "--sysfs", sysfs };
	pid_t pid = fork();
	int n = 3;

	REQUIRE(pid >= 0);
	if (pid)
		return pid;
	while (n < 15 && *options)
		argv[n++] = *options++;
	REQUIRE(dup2(in, 0) == 0 && dup2(out, 1) == 1 && dup2(out, 2) == 2);
	execv(PROGRAM, (char **)argv);
	FATAL("%s: %s", PROGRAM, strerror(errno));
}

static struct run start(const char *sysfs, const char *const *options)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), ends[2];
	struct run run;

	REQUIRE(null >= 0 && !pipe2(ends, O_CLOEXEC));
	run.pid = start_on(null, ends[1], sysfs, options);
	close(null);
	close(ends[1]);
	run.out = fdopen(ends[0], "r");
	REQUIRE(run.out);
	return run;
}

/* Start it with these options. */
#define START(sysfs, ...) \
	start(sysfs, (const char *const []){ __VA_ARGS__, NULL })

static int exit_status(pid_t pid)
{
	int status;

	REQUIRE(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Its exit status, after all that it had still to say */
static int end(struct run *run)
{
	char line[4096];

	while (fgets(line, sizeof(line), run->out))
		;
	fclose(run->out);
	return exit_status(run->pid);
}

#define LINE 4096

static void next_line(struct run *run, char line[LINE])
{
	if (!fgets(line, LINE, run->out))
		FATAL("%s ended, with status %d", PROGRAM, exit_status(run->pid));
	line[strcspn(line, "\n")] = '\0';
}

/* A value of a record in JSON; what is not known is NAN. */
static double json(const char *line, const char *key)
{
	const char *at;
	char name[64];

	snprintf(name, sizeof(name), "\"%s\":", key);
	at = strstr(line, name);
	if (!at)
		FATAL("no %s in %s", key, line);
	at += strlen(name);
	return strncmp(at, "null", 4) ? strtod(at, NULL) : NAN;
}

/* A value of a record in CSV, found by the line of names */
static double csv(const char *names, const char *line, const char *key)
{
	size_t length = strlen(key);

	for (;;) {
		size_t n = strcspn(names, ","), m = strcspn(line, ",");

		if (n == length && !strncmp(names, key, n))
			return m ? strtod(line, NULL) : NAN;
		if (!names[n] || !line[m])
			FATAL("no %s in the record", key);
		names += n + 1;
		line += m + 1;
	}
}

/* As many values as names */
static bool whole(const char *names, const char *line)
{
	int n = 0;

	for (; *names; names++)
		n += *names == ',';
	for (; *line; line++)
		n -= *line == ',';
	return !n;
}

/* The value in a line of text, which begins with its name */
static __u64 text(const char *line, const char *name)
{
	size_t length = strlen(name);

	if (strncmp(line, name, length) || line[length] != ' ')
		FATAL("%s in place of %s", line, name);
	return strtoull(line + length, NULL, 10);
}

static void next_of(struct run *run, int unit, char line[LINE])
{
	do
		next_line(run, line);
	while (json(line, "unit") != unit);
}

/* So many records of a unit, one after the other, without any of another: */
static void alone(struct run *run, int unit, int times)
{
	char line[LINE];
	int n = 0;

	while (n < times) {
		next_line(run, line);
		n = json(line, "unit") == unit ? n + 1 : 0;
	}
}

TEST(names)
{
	int i;

	for (i = KVIOMMU_MODE_TRAP; i <= KVIOMMU_MODE_ADAPTIVE; i++)
		EXPECT_EQ(i, kviommu_mode_number(kviommu_mode_name(i)));
	EXPECT_EQ(NULL, kviommu_mode_name(i));
	EXPECT_EQ(-EINVAL, kviommu_mode_number("strict"));
	EXPECT_STREQ("adaptive", kviommu_mode_name(KVIOMMU_MODE_ADAPTIVE));
	for (i = KVIOMMU_STRATEGY_STRICT; i <= KVIOMMU_STRATEGY_OPTIMISTIC; i++)
		EXPECT_EQ(i, kviommu_strategy_number(kviommu_strategy_name(i)));
	EXPECT_EQ(NULL, kviommu_strategy_name(i));
	EXPECT_EQ(-EINVAL, kviommu_strategy_number("trap"));
	EXPECT_STREQ("deferred", kviommu_strategy_name(KVIOMMU_STRATEGY_DEFERRED));
}

TEST(percentiles)
{
	__u64 latency[KVIOMMU_LATENCY_BUCKETS] = {};

	EXPECT_EQ(-ENODATA, kviommu_latency_percentile(latency, 50));
	latency[3] = 50;
	latency[7] = 49;
	EXPECT_EQ(3, kviommu_latency_percentile(latency, 1));
	EXPECT_EQ(3, kviommu_latency_percentile(latency, 50));
	EXPECT_EQ(7, kviommu_latency_percentile(latency, 51));
	latency[KVIOMMU_LATENCY_BUCKETS - 1] = 1;
	EXPECT_EQ(7, kviommu_latency_percentile(latency, 99));
	EXPECT_EQ(KVIOMMU_LATENCY_BUCKETS - 1,
		  kviommu_latency_percentile(latency, 100));
	EXPECT_EQ(1000, kviommu_latency_limit(0));
	EXPECT_EQ(1000ULL << 18, kviommu_latency_limit(KVIOMMU_LATENCY_BUCKETS - 2));
	EXPECT_EQ(~0ULL, kviommu_latency_limit(KVIOMMU_LATENCY_BUCKETS - 1));
}

/* Files as those in sysfs */
FIXTURE(tree) {
	char dir[32];
};

/* Whole or not at all, as in sysfs */
static void put(const char *dir, const char *unit, const char *file,
		const char *value)
{
	char path[128], tmp[64];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s/%s", dir, unit, file);
	snprintf(tmp, sizeof(tmp), "%s/tmp", dir);
	f = fopen(tmp, "w");
	REQUIRE(f);
	fprintf(f, "%s\n", value);
	REQUIRE(!fclose(f));
	REQUIRE(!rename(tmp, path));
}

static void put_stat(const char *dir, const char *unit, const char *name,
		     __u64 value)
{
	char file[64], text[32];

	snprintf(file, sizeof(file), "statistics/%s", name);
	snprintf(text, sizeof(text), "%llu", value);
	put(dir, unit, file, text);
}

/* A unit whose n-th statistic is base + n; it appears when all of it is there. */
static void add_unit(const char *dir, const char *unit, __u64 base)
{
	const struct kviommu_field *f;
	char path[64], last[64];
	int n;

	snprintf(path, sizeof(path), "%s/new", dir);
	snprintf(last, sizeof(last), "%s/%s", dir, unit);
	REQUIRE(!mkdir(path, 0755));
	strcat(path, "/statistics");
	REQUIRE(!mkdir(path, 0755));
	put(dir, "new", "mode", "sidecore");
	put(dir, "new", "strategy", "deferred");
	put(dir, "new", "pid", "4711");
	for (f = kviommu_policy_fields; f->name; f++)
		put(dir, "new", f->name, "10");
	for (f = kviommu_stats_fields, n = 0; f->name; f++, n++)
		put_stat(dir, "new", f->name, base + n);
	put(dir, "new", "statistics/latency",
	    "0 0 0 0 20 0 0 0 0 0 60 0 0 0 0 0 0 20 0 0");
	*strrchr(path, '/') = '\0';
	REQUIRE(!rename(path, last));
}

/* The kernel takes the mode away first, too. */
static void remove_unit(const char *dir, const char *unit)
{
	char command[128];

	snprintf(command, sizeof(command), "rm %s/%s/mode && rm -r %s/%s",
		 dir, unit, dir, unit);
	REQUIRE(!system(command));
}

FIXTURE_SETUP(tree)
{
	snprintf(self->dir, sizeof(self->dir), "/tmp/stat-XXXXXX");
	ASSERT_NE(NULL, mkdtemp(self->dir));
	add_unit(self->dir, "kviommu3", 1000);
}

FIXTURE_TEARDOWN(tree)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -r %s", self->dir);
	ASSERT_EQ(0, system(command));
}

/* What a module counts in another number of buckets */
TEST_F(tree, buckets)
{
	static const struct {
		const char *text;
		int ret;
		__u64 first, second, last;
	} cases[] = {
		{ "7", 0, 0, 0, 7 },
		{ "7 8", 0, 7, 0, 8 },
		{ "7 8 9", 0, 7, 8, 9 },
		{ "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20", 0, 1, 2, 20 },
		{ "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21", 0, 1, 2, 41 },
		{ .text = "", .ret = -EBADMSG },
		{ .text = "1 ", .ret = -EBADMSG },
		{ .text = "1,2", .ret = -EBADMSG },
	};
	int dir = kviommu_sysfs_open(self->dir, 3);
	struct kviommu_stats s;
	unsigned int i;

	ASSERT_LE(0, dir);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		put(self->dir, "kviommu3", "statistics/latency", cases[i].text);
		EXPECT_EQ(cases[i].ret, kviommu_sysfs_read(dir, NULL, &s))
			TH_LOG("%s", cases[i].text);
		if (cases[i].ret)
			continue;
		EXPECT_EQ(cases[i].first, s.latency[0]);
		EXPECT_EQ(cases[i].second, s.latency[1]);
		EXPECT_EQ(cases[i].last, s.latency[KVIOMMU_LATENCY_BUCKETS - 1]);
	}
	close(dir);
}

TEST_F(tree, totals)
{
	const struct kviommu_field *f;
	char line[LINE], names[LINE];
	struct run run;
	__u64 value;
	int n;

	put_stat(self->dir, "kviommu3", "pin_hits", 3);
	put_stat(self->dir, "kviommu3", "pin_misses", 1);
	/* As text */
	run = START(self->dir, "--once");
	do
		next_line(&run, line);
	while (strncmp(line, "reg_writes ", 11));
	for (f = kviommu_stats_fields, n = 0; f->name; f++, n++) {
		value = text(line, f->name);
		if (strncmp(f->name, "pin_", 4))
			EXPECT_EQ(1000 + n, value);
		next_line(&run, line);
	}
	EXPECT_EQ(0, end(&run));
	/* In JSON */
	run = START(self->dir, "--once", "--format", "json");
	next_line(&run, line);
	EXPECT_EQ(0, end(&run));
	EXPECT_EQ(3, json(line, "unit"));
	EXPECT_EQ(4711, json(line, "pid"));
	EXPECT_NE(NULL, strstr(line, "\"mode\":\"sidecore\",\"strategy\":\"deferred\","));
	EXPECT_EQ(1000, json(line, "reg_writes"));
	EXPECT_EQ(1004, json(line, "unmaps"));
	EXPECT_EQ(75, json(line, "hit_percent"));
	EXPECT_EQ(1000 << 10, json(line, "p50_below_ns"));
	EXPECT_EQ(1000 << 17, json(line, "p99_below_ns"));
	EXPECT_NE(NULL, strstr(line, "\"latency\":[0,0,0,0,20,0,0,0,0,0,60,0,0,0,0,0,0,20,0,0]}"));
	EXPECT_TRUE(isnan(json(line, "interval")));
	EXPECT_TRUE(isnan(json(line, "maps_per_s")));
	EXPECT_TRUE(isnan(json(line, "poll_percent")));
	/* In CSV */
	run = START(self->dir, "--once", "--format", "csv");
	next_line(&run, names);
	next_line(&run, line);
	EXPECT_EQ(0, end(&run));
	EXPECT_TRUE(whole(names, line));
	EXPECT_EQ(3, csv(names, line, "unit"));
	for (f = kviommu_stats_fields; f->name; f++)
		if (strncmp(f->name, "pin_", 4))
			EXPECT_EQ(1000 + (f - kviommu_stats_fields),
				  csv(names, line, f->name));
	EXPECT_EQ(60, csv(names, line, "latency_10"));
	EXPECT_TRUE(isnan(csv(names, line, "maps_per_s")));
}

/* What the records say in sum is what was added. */
TEST_F(tree, rates)
{
	double maps = 0, polled = 0, interval;
	char names[LINE], line[LINE];
	struct run run;

	run = START(self->dir, "--log", "-i", "0.05");
	next_line(&run, names);
	put_stat(self->dir, "kviommu3", "maps", 1003 + 500000);
	put_stat(self->dir, "kviommu3", "polled_ns", 1000000000);
	do {
		next_line(&run, line);
		ASSERT_TRUE(whole(names, line));
		interval = csv(names, line, "interval");
		EXPECT_LE(0.05, interval);
		maps += csv(names, line, "maps_per_s") * interval;
		polled += csv(names, line, "poll_percent") * interval;
		EXPECT_EQ(0, csv(names, line, "unmaps_per_s"));
	} while (csv(names, line, "polled_ns") != 1000000000);
	EXPECT_EQ(503, (long)(maps / 1000 + 3.5));
	EXPECT_EQ(100, (long)(polled + 0.5));
	kill(run.pid, SIGTERM);
	EXPECT_EQ(0, end(&run));
}

TEST_F(tree, units_come_and_go)
{
	char line[LINE];
	struct run run;
	int i;

	run = START(self->dir, "-l", "-f", "json", "-i", "0.02");
	next_of(&run, 3, line);
	for (i = 0; i < 2; i++) {
		add_unit(self->dir, "kviommu12", 1000000);
		next_of(&run, 12, line);
		EXPECT_EQ(1000000, json(line, "reg_writes"));
		EXPECT_EQ(0, json(line, "reg_writes_per_s"));
		if (i)
			break;
		remove_unit(self->dir, "kviommu12");
		alone(&run, 3, 5);
	}
	/* Another one, which has counted less, takes its place unseen. */
	kill(run.pid, SIGSTOP);
	REQUIRE(waitpid(run.pid, &i, WUNTRACED) == run.pid && WIFSTOPPED(i));
	remove_unit(self->dir, "kviommu12");
	add_unit(self->dir, "kviommu12", 1000);
	kill(run.pid, SIGCONT);
	do
		next_of(&run, 12, line);
	while (json(line, "reg_writes") != 1000);
	EXPECT_EQ(0, json(line, "reg_writes_per_s"));
	remove_unit(self->dir, "kviommu12");
	/* The last one, too: nothing to tell of, until there is one again */
	remove_unit(self->dir, "kviommu3");
	add_unit(self->dir, "kviommu4", 1);
	next_of(&run, 4, line);
	alone(&run, 4, 5);
	kill(run.pid, SIGINT);
	EXPECT_EQ(0, end(&run));
}

/* What is read while it goes away is not taken for the truth. */
TEST_F(tree, half_gone)
{
	int dir = kviommu_sysfs_open(self->dir, 3);
	struct kviommu_policy policy;
	struct kviommu_stats stats;
	char path[64];

	ASSERT_LE(0, dir);
	EXPECT_EQ(-ENODEV, kviommu_sysfs_next(self->dir, 3));
	EXPECT_EQ(3, kviommu_sysfs_next(self->dir, -1));
	EXPECT_EQ(0, kviommu_sysfs_read(dir, &policy, &stats));
	EXPECT_EQ(KVIOMMU_MODE_SIDECORE, policy.mode);
	EXPECT_EQ(KVIOMMU_STRATEGY_DEFERRED, policy.strategy);
	EXPECT_EQ(10, policy.poll_us_max);
	EXPECT_EQ(1003, stats.maps);
	snprintf(path, sizeof(path), "%s/kviommu3/mode", self->dir);
	ASSERT_EQ(0, unlink(path));
	EXPECT_EQ(-ENODEV, kviommu_sysfs_read(dir, NULL, &stats));
	EXPECT_EQ(-ENODEV, kviommu_sysfs_read(dir, &policy, &stats));
	close(dir);
	EXPECT_EQ(-ENOENT, kviommu_sysfs_open(self->dir, 4));
	EXPECT_EQ(-ENOENT, kviommu_sysfs_next("/tmp/there/is/none", -1));
}

TEST_F(tree, one_unit_of_many)
{
	char names[LINE], line[LINE];
	struct run run;
	int i;

	add_unit(self->dir, "kviommu4", 1);
	run = START(self->dir, "-l", "-u", "4", "-i", "0.02", "-n", "5");
	next_line(&run, names);
	for (i = 0; i < 5; i++) {
		next_line(&run, line);
		EXPECT_EQ(4, csv(names, line, "unit"));
	}
	EXPECT_EQ(NULL, fgets(line, sizeof(line), run.out));
	EXPECT_EQ(0, end(&run));
}

TEST_F(tree, older_module)
{
	char command[128], line[LINE];
	struct run run;

	snprintf(command, sizeof(command), "rm %s/kviommu3/statistics/reuses",
		 self->dir);
	ASSERT_EQ(0, system(command));
	run = START(self->dir, "-1", "-f", "json");
	next_line(&run, line);
	EXPECT_EQ(0, json(line, "reuses"));
	EXPECT_EQ(1000, json(line, "reg_writes"));
	EXPECT_EQ(0, end(&run));
}

TEST_F(tree, exit_status)
{
	struct run run;
	int i;

	static const char *const wrong[][4] = {
		{ "--bogus" }, { "word" }, { "-i", "0" }, { "-i", "1x" },
		{ "-i", "nan" }, { "-n", "0" }, { "-u", "-1" }, { "-u", "1.5" },
		{ "-l", "-1" }, { "-1", "-n", "2" }, { "-f", "csv" },
		{ "-l", "-f", "xml" }, { "-i" },
	};

	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		run = start(self->dir, wrong[i]);
		EXPECT_EQ(2, end(&run))
			TH_LOG("%s %s", wrong[i][0], wrong[i][1] ?: "");
	}
	run = START(self->dir, "--help");
	EXPECT_EQ(0, end(&run));
	run = START(self->dir, "-1", "-u", "3");
	EXPECT_EQ(0, end(&run));
	run = START(self->dir, "-1", "-u", "4");
	EXPECT_EQ(1, end(&run));
	run = START("/tmp/there/is/none", "-1");
	EXPECT_EQ(1, end(&run));
	put(self->dir, "kviommu3", "mode", "hyperactive");
	run = START(self->dir, "-1");
	EXPECT_EQ(1, end(&run));
	put(self->dir, "kviommu3", "mode", "trap");
	put(self->dir, "kviommu3", "statistics/latency", "1 2 x");
	run = START(self->dir, "-1");
	EXPECT_EQ(1, end(&run));
}

/* The live view in a pipe, and on a terminal until someone presses q */
TEST_F(tree, live)
{
	int terminal, ours, n = 0, saw = 0;
	struct termios before, after;
	char line[LINE], seen[256];
	struct pollfd readable;
	struct run run;

	run = START(self->dir, "-n", "1", "-i", "0.02");
	next_line(&run, line);
	EXPECT_STREQ("kviommustat: 1 unit, every 0.02 s", line);
	do
		next_line(&run, line);
	while (strncmp(line, "   3 ", 5));
	EXPECT_NE(NULL, strstr(line, "4711 sidecore deferred "));
	EXPECT_EQ(0, end(&run));

	/* What a guest of coIOMMU has asked for */
	put(self->dir, "kviommu3", "statistics/tracked_devices", "2");
	put(self->dir, "kviommu3", "statistics/tracked", "345");
	run = START(self->dir, "-n", "1", "-i", "0.02");
	do
		next_line(&run, line);
	while (!strstr(line, "ASKS/s"));
	next_line(&run, line);
	EXPECT_NE(NULL, strstr(line, "   3        2       345 "));
	EXPECT_EQ(0, end(&run));

	ours = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	ASSERT_LE(0, ours);
	ASSERT_EQ(0, grantpt(ours));
	ASSERT_EQ(0, unlockpt(ours));
	terminal = open(ptsname(ours), O_RDWR | O_NOCTTY | O_CLOEXEC);
	ASSERT_LE(0, terminal);
	ASSERT_EQ(0, tcgetattr(terminal, &before));
	run.pid = start_on(terminal, terminal, self->dir,
			   (const char *const []){ "-i", "0.02", NULL });
	/* Three times from the top, then keys: of two only q is one. */
	while (saw < 3) {
		ASSERT_EQ(1, read(ours, seen, 1));
		n = seen[0] == "\033[H"[n] ? n + 1 : 0;
		if (n == 3) {
			saw++;
			n = 0;
		}
	}
	ASSERT_EQ(2, write(ours, "xq", 2));
	/* It must not wait for us to read. */
	readable = (struct pollfd){ .fd = ours, .events = POLLIN };
	while (waitpid(run.pid, &n, WNOHANG) == 0)
		if (poll(&readable, 1, 10) > 0)
			ASSERT_LT(0, read(ours, seen, sizeof(seen)));
	EXPECT_TRUE(WIFEXITED(n) && !WEXITSTATUS(n));
	ASSERT_EQ(0, tcgetattr(terminal, &after));
	EXPECT_EQ(before.c_lflag, after.c_lflag);
	close(terminal);
	close(ours);
}

/* Units of guests */
FIXTURE(stat) {
	struct unit u;
	int unit;
};

FIXTURE_VARIANT(stat) {
	struct unit_config config;
};

FIXTURE_VARIANT_ADD(stat, trap) {
	.config = { .mode = UNIT_MODE_TRAP },
};

FIXTURE_VARIANT_ADD(stat, sidecore) {
	.config = { .mode = UNIT_MODE_SIDECORE },
};

FIXTURE_VARIANT_ADD(stat, adaptive) {
	.config = { .mode = UNIT_MODE_ADAPTIVE },
};

FIXTURE_SETUP(stat)
{
	struct kviommu_policy policy;

	unit_open_guest(&self->u, &variant->config, DID, IOVA);
	guest_run(&self->u.vm, g_enable, true);
	/* Nothing but the guest is to change anything. */
	policy = unit_policy(&self->u);
	policy.idle_pin_ms = 0;
	ASSERT_EQ(0, unit_set_policy(&self->u, &policy));
	self->unit = kviommu_sysfs_next(KVIOMMU_SYSFS, -1);
	ASSERT_LE(0, self->unit);
	ASSERT_EQ(-ENODEV, kviommu_sysfs_next(KVIOMMU_SYSFS, self->unit));
}

FIXTURE_TEARDOWN(stat)
{
	unit_close(&self->u);
}

/* Whether it is polled, and for how long, changes by itself. */
static bool changes(const struct kviommu_field *f)
{
	return !strncmp(f->name, "poll", 4) || !strcmp(f->name, "overcommits");
}

TEST_F(stat, agrees_with_the_ioctl)
{
	const struct kviommu_field *f;
	char names[LINE], row[LINE], line[LINE], list[LINE], key[32];
	struct kviommu_stats s, after;
	struct run run;
	__u64 value;
	int i;

	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));
	guest_run(&self->u.vm, g_churn, SPARE, PAGE(3), 20);
	guest_run(&self->u.vm, g_map, 0, SPARE, PAGE(4), 5, MAP_RW);
	s = unit_stats(&self->u);
	run = START(KVIOMMU_SYSFS, "-1", "-f", "csv");
	next_line(&run, names);
	next_line(&run, row);
	EXPECT_EQ(0, end(&run));
	run = START(KVIOMMU_SYSFS, "-1", "-f", "json");
	next_line(&run, line);
	EXPECT_EQ(0, end(&run));
	run = START(KVIOMMU_SYSFS, "-1");
	do
		next_line(&run, list);
	while (strncmp(list, "reg_writes ", 11));
	after = unit_stats(&self->u);

	EXPECT_EQ(self->unit, json(line, "unit"));
	EXPECT_EQ(getpid(), json(line, "pid"));
	snprintf(key, sizeof(key), "\"mode\":\"%s\",",
		 kviommu_mode_name(variant->config.mode));
	EXPECT_NE(NULL, strstr(line, key));
	EXPECT_LT(24, s.maps);
	EXPECT_EQ(6, s.mapped);
	for (f = kviommu_stats_fields; f->name; f++) {
		__u64 first = kviommu_field_value(f, &s);
		__u64 last = kviommu_field_value(f, &after);

		value = text(list, f->name);
		next_line(&run, list);
		if (changes(f) && f->level)
			continue;
		EXPECT_TRUE(changes(f) || first == last) TH_LOG("%s", f->name);
		EXPECT_LE(first, json(line, f->name)) TH_LOG("%s", f->name);
		EXPECT_GE(last, json(line, f->name)) TH_LOG("%s", f->name);
		EXPECT_LE(first, csv(names, row, f->name)) TH_LOG("%s", f->name);
		EXPECT_GE(last, csv(names, row, f->name)) TH_LOG("%s", f->name);
		EXPECT_LE(first, value) TH_LOG("%s", f->name);
		EXPECT_GE(last, value) TH_LOG("%s", f->name);
	}
	for (i = 0; i < KVIOMMU_LATENCY_BUCKETS; i++) {
		snprintf(key, sizeof(key), "latency_%d", i);
		EXPECT_EQ(s.latency[i], csv(names, row, key));
	}
	EXPECT_LT(0, s.pin_misses);
	EXPECT_GT(0.001, fabs(json(line, "hit_percent") - 100.0 * s.pin_hits /
			      (s.pin_hits + s.pin_misses)));
	EXPECT_EQ(0, end(&run));
}

TEST_F(stat, log)
{
	struct kviommu_stats before, after;
	char names[LINE], line[LINE];
	double maps = 0, expected;
	struct run run;

	run = START(KVIOMMU_SYSFS, "-l", "-i", "0.1");
	next_line(&run, names);
	/* It has read once now, before the first line. */
	before = unit_stats(&self->u);
	guest_run(&self->u.vm, g_churn, SPARE, PAGE(3), 500);
	after = unit_stats(&self->u);
	expected = after.maps - before.maps;
	EXPECT_LE(500, expected);
	do {
		next_line(&run, line);
		EXPECT_EQ(self->unit, csv(names, line, "unit"));
		maps += csv(names, line, "maps_per_s") *
			csv(names, line, "interval");
	} while (csv(names, line, "maps") < after.maps);
	EXPECT_LE(expected - 1, maps);
	EXPECT_GE(expected + 1, maps);
	kill(run.pid, SIGTERM);
	EXPECT_EQ(0, end(&run));
}

TEST_F(stat, second_unit)
{
	char line[LINE];
	struct unit u;
	struct run run;
	int unit, i;

	run = START(KVIOMMU_SYSFS, "-l", "-f", "json", "-i", "0.05");
	for (i = 0; i < 3; i++) {
		unit_open(&u, &variant->config);
		unit = kviommu_sysfs_next(KVIOMMU_SYSFS, self->unit);
		ASSERT_LT(self->unit, unit);
		next_of(&run, unit, line);
		EXPECT_EQ(0, json(line, "maps"));
		EXPECT_EQ(0, json(line, "devices"));
		unit_close(&u);
		alone(&run, self->unit, 5);
	}
	kill(run.pid, SIGINT);
	EXPECT_EQ(0, end(&run));
}

TEST_HARNESS_MAIN
