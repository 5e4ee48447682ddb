// SPDX-License-Identifier: GPL-2.0
/* What a unit shows, and lets be changed, in sysfs, tracefs and debugfs. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <linux/netlink.h>

#include "kselftest_harness.h"
#include "require.h"
#include "unit.h"
#include "variants.h"

#define RUN(fn, ...) guest_run(&self->u.vm, fn, ##__VA_ARGS__)
#define DID 1
#define IOVA 0x200000UL
#define SPARE 0x400000UL

#define DEBUGFS "/sys/kernel/debug/kviommu"
#define TRACEFS "/sys/kernel/tracing"
#define PARAMETERS "/sys/module/kviommu/parameters/"

/* Read a file up to its end, piece by piece. Returns its length or -errno. */
static int read_all(int fd, char *text, size_t size, size_t piece)
{
	size_t len = 0;
	ssize_t n;

	while (len < size - 1) {
		n = read(fd, text + len, piece < size - 1 - len ? piece :
						size - 1 - len);
		if (n < 0)
			return -errno;
		if (!n)
			break;
		len += n;
	}
	text[len] = '\0';
	return len;
}

static int read_file(int dir, const char *name, char *text, size_t size)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC), n;

	if (fd < 0)
		return -errno;
	n = read_all(fd, text, size, size);
	close(fd);
	return n;
}

/* Returns 0 or an errno. */
static int write_bytes(int dir, const char *name, const char *bytes, size_t len)
{
	int fd = openat(dir, name, O_WRONLY | O_CLOEXEC), err = 0;
	ssize_t n;

	if (fd < 0)
		return errno;
	n = write(fd, bytes, len);
	if (n < 0)
		err = errno;
	else
		REQUIRE(n == len);
	close(fd);
	return err;
}

static int write_file(int dir, const char *name, const char *text)
{
	return write_bytes(dir, name, text, strlen(text));
}

static int write_number(int dir, const char *name, __u64 value)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu\n", value);
	return write_file(dir, name, text);
}

/* The file's one line without its end; this does not fail. */
static const char *line_of(int dir, const char *name)
{
	static __thread char text[4096];
	int n = read_file(dir, name, text, sizeof(text));

	if (n <= 0 || strchr(text, '\n') != text + n - 1)
		FATAL("%s: %d, \"%s\"", name, n, text);
	text[n - 1] = '\0';
	return text;
}

static __u64 number_in(int dir, const char *name)
{
	const char *line = line_of(dir, name);
	char *end;
	__u64 value = strtoull(line, &end, 10);

	if (*end || end == line)
		FATAL("%s: \"%s\"", name, line);
	return value;
}

/* The number of the unit of this process */
static int unit_id(void)
{
	int id = -1;

	while ((id = kviommu_sysfs_next(KVIOMMU_SYSFS, id)) >= 0) {
		int dir = kviommu_sysfs_open(KVIOMMU_SYSFS, id);
		bool ours;

		REQUIRE(dir >= 0);
		ours = number_in(dir, "pid") == getpid();
		close(dir);
		if (ours)
			return id;
	}
	FATAL("no unit of this process in sysfs");
}

FIXTURE(sysfs) {
	struct unit u;
	int id;
	int dir;
};

FIXTURE_VARIANT(sysfs) {
	struct unit_config config;
};

UNIT_VARIANT(sysfs, trap, TRAP, STRICT);
UNIT_VARIANT(sysfs, adaptive, ADAPTIVE, STRICT);

FIXTURE_SETUP(sysfs)
{
	unit_open_guest(&self->u, &variant->config, DID, IOVA);
	RUN(g_enable, true);
	self->id = unit_id();
	self->dir = kviommu_sysfs_open(KVIOMMU_SYSFS, self->id);
	ASSERT_LE(0, self->dir);
}

FIXTURE_TEARDOWN(sysfs)
{
	close(self->dir);
	unit_close(&self->u);
}

/* Counters never fall; the rest stays while the guest does nothing new. */
static bool between(__u64 a, __u64 value, __u64 b)
{
	return (a <= value && value <= b) || (b <= value && value <= a);
}

TEST_F(sysfs, statistics)
{
	const struct kviommu_field *f;
	struct kviommu_stats a, b, s;
	char path[64];
	unsigned int i;

	RUN(g_map, 0, SPARE, PAGE(1), 16, MAP_RW);
	RUN(g_unmap, 0, SPARE, 8, 0);
	a = unit_stats(&self->u);
	ASSERT_EQ(0, kviommu_sysfs_read(self->dir, NULL, &s));
	b = unit_stats(&self->u);
	EXPECT_LE(17, s.maps);
	EXPECT_EQ(9, s.mapped);
	for (f = kviommu_stats_fields; f->name; f++) {
		snprintf(path, sizeof(path), "statistics/%s", f->name);
		EXPECT_EQ(0, faccessat(self->dir, path, F_OK, 0)) TH_LOG("%s", path);
		EXPECT_TRUE(between(kviommu_field_value(f, &a),
				    kviommu_field_value(f, &s),
				    kviommu_field_value(f, &b))) TH_LOG("%s", path);
		EXPECT_EQ(EACCES, write_file(self->dir, path, "0"));
	}
	for (i = 0; i < KVIOMMU_LATENCY_BUCKETS; i++)
		EXPECT_TRUE(between(a.latency[i], s.latency[i],
				    b.latency[i]));
}

/* Whatever else is there can be read, too. */
TEST_F(sysfs, readable)
{
	const struct kviommu_field *f;
	struct kviommu_policy p, now = unit_policy(&self->u);
	char text[4096];
	struct dirent *e;
	struct stat st;
	DIR *dir;

	ASSERT_EQ(0, kviommu_sysfs_read(self->dir, &p, NULL));
	EXPECT_EQ(0, memcmp(&p, &now, sizeof(p)));
	for (f = kviommu_policy_fields; f->name; f++)
		EXPECT_EQ(kviommu_field_value(f, &now),
			  number_in(self->dir, f->name)) TH_LOG("%s", f->name);
	dir = fdopendir(openat(self->dir, ".", O_RDONLY | O_DIRECTORY));
	ASSERT_NE(NULL, dir);
	while ((e = readdir(dir))) {
		ASSERT_EQ(0, fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW));
		if (S_ISREG(st.st_mode) && strcmp(e->d_name, "uevent"))
			EXPECT_LT(1, read_file(dirfd(dir), e->d_name, text,
					       sizeof(text))) TH_LOG("%s", e->d_name);
	}
	closedir(dir);
}

TEST_F(sysfs, numbers)
{
	struct kviommu_policy p = unit_policy(&self->u), now, host = p;
	const struct kviommu_field *f;

	for (f = kviommu_policy_fields; f->name; f++) {
		__u64 *member = (void *)&p + f->offset, value = *member;

		for (*member = value / 2; ; *member = value) {
			EXPECT_EQ(0, write_number(self->dir, f->name, *member));
			WAIT_FOR(number_in(self->dir, f->name) == *member);
			now = unit_policy(&self->u);
			EXPECT_EQ(0, memcmp(&p, &now, sizeof(p))) TH_LOG("%s", f->name);
			if (*member == value)
				break;
		}
	}
	now = unit_policy(&self->u);
	EXPECT_EQ(0, memcmp(&host, &now, sizeof(host)));
	/* Without the end of a line, too; and the limit holds. */
	EXPECT_EQ(0, write_file(self->dir, "max_mapped", "1"));
	WAIT_FOR(unit_policy(&self->u).max_mapped == 1);
	RUN(g_map, 0, SPARE, PAGE(1), 1, MAP_RW);
	EXPECT_EQ(1, unit_stats(&self->u).mapped);
	EXPECT_EQ(1, unit_stats(&self->u).limits);
}

TEST_F(sysfs, names)
{
	struct kviommu_policy p = unit_policy(&self->u), now;
	__u32 i;

	for (i = 0; i <= KVIOMMU_MODE_ADAPTIVE; i++) {
		EXPECT_EQ(0, write_file(self->dir, "mode", kviommu_mode_name(i)));
		WAIT_FOR(!strcmp(kviommu_mode_name(i), line_of(self->dir, "mode")));
		p.mode = i;
		now = unit_policy(&self->u);
		EXPECT_EQ(0, memcmp(&p, &now, sizeof(p)));
	}
	EXPECT_EQ(0, write_file(self->dir, "mode", "trap\n"));
	WAIT_FOR(unit_policy(&self->u).mode == KVIOMMU_MODE_TRAP);
	p.mode = KVIOMMU_MODE_TRAP;
	for (i = 0; i <= KVIOMMU_STRATEGY_OPTIMISTIC; i++) {
		EXPECT_EQ(0, write_file(self->dir, "strategy", kviommu_strategy_name(i)));
		WAIT_FOR(!strcmp(kviommu_strategy_name(i), line_of(self->dir, "strategy")));
		p.strategy = i;
		now = unit_policy(&self->u);
		EXPECT_EQ(0, memcmp(&p, &now, sizeof(p)));
	}
}

/* A mode that was written is the one that is in force. */
TEST_F(sysfs, mode_in_force)
{
	const long cpus = sysconf(_SC_NPROCESSORS_CONF);
	int i;

	self->u.vm.g->polls = true;
	for (i = 0; i < 3; i++) {
		__u64 writes;
		int cpu;

		ASSERT_EQ(0, write_file(self->dir, "mode", "sidecore"));
		do {
			RUN(g_churn, SPARE, PAGE(9), 1);
			cpu = atoi(line_of(self->dir, "poll_cpu"));
		} while (cpu < 0);
		EXPECT_GT(cpus, cpu);
		EXPECT_EQ(1, number_in(self->dir, "statistics/polled"));
		ASSERT_EQ(0, write_file(self->dir, "mode", "trap"));
		WAIT_FOR(!strcmp("trap", line_of(self->dir, "mode")));
		WAIT_FOR(!number_in(self->dir, "statistics/polled"));
		EXPECT_STREQ("-1", line_of(self->dir, "poll_cpu"));
		writes = number_in(self->dir, "statistics/reg_writes");
		EXPECT_EQ(10, RUN(g_churn, SPARE, PAGE(9), 10));
		EXPECT_EQ(20, number_in(self->dir, "statistics/reg_writes") - writes);
	}
}

TEST_F(sysfs, bad_values)
{
	static const char *const names[] = {
		"\n", " ", "none", "0", "1", "-1", "TRAP", "Strict", "trapx", "tra",
		" trap", "trap ", "trap\n\n", "trap sidecore", "[trap]", "strict,async",
		"defaultx", " default", "Default",
	};
	static const char *const numbers[] = {
		"\n", " ", "x", "-1", "-0", "+", "1x", "1 ", " 1", "1\n\n", "1 2",
		"1\n2", "0x10", "1.5", "1e3", "1k", "18446744073709551616",
		"99999999999999999999999999999999", "-18446744073709551615",
		"defaults", "def",
	};
	struct kviommu_policy p = unit_policy(&self->u), now;
	const struct kviommu_field *f;
	int i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		EXPECT_EQ(EINVAL, write_file(self->dir, "mode", names[i]))
			TH_LOG("\"%s\"", names[i]);
		EXPECT_EQ(EINVAL, write_file(self->dir, "strategy", names[i]))
			TH_LOG("\"%s\"", names[i]);
	}
	/* What follows a zero byte counts. */
	EXPECT_EQ(EINVAL, write_bytes(self->dir, "mode", "trap\0x", 6));
	EXPECT_EQ(EINVAL, write_bytes(self->dir, "mode", "trap", 5));
	EXPECT_EQ(EINVAL, write_bytes(self->dir, "strategy", "async\n", 7));

	for (f = kviommu_policy_fields; f->name; f++) {
		const char *name = f->name;

		for (i = 0; i < ARRAY_SIZE(numbers); i++)
			EXPECT_EQ(EINVAL, write_file(self->dir, name, numbers[i]))
				TH_LOG("%s, number %d", name, i);
		EXPECT_EQ(EINVAL, write_bytes(self->dir, name, "1\0x", 3));
		EXPECT_EQ(EINVAL, write_bytes(self->dir, name, "1", 2));
	}
	EXPECT_EQ(EACCES, write_file(self->dir, "poll_cpu", "0"));
	EXPECT_EQ(EACCES, write_file(self->dir, "pid", "1"));
	now = unit_policy(&self->u);
	EXPECT_EQ(0, memcmp(&p, &now, sizeof(p)));
}

static void want(struct unit *u, const struct kviommu_policy *p)
{
	REQUIRE(!unit_set_policy(u, p));
}

#define WANT(u, _bit, _name, _value)					\
	want(u, &(struct kviommu_policy){				\
		.mask = KVIOMMU_POLICY_##_bit, ._name = _value })

static bool signalled(int efd)
{
	__u64 n;

	return read(efd, &n, sizeof(n)) == sizeof(n);
}

/*
 * What the administrator writes holds against the VMM, which is told; what that
 * wants is kept, and comes back.
 */
TEST_F(sysfs, administrator)
{
	int control = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct unit *u = &self->u;
	__u64 host = number_in(AT_FDCWD, PARAMETERS "max_pins");
	__u64 keep = number_in(AT_FDCWD, PARAMETERS "idle_pin_ms");

	ASSERT_EQ(0, unit_set_eventfd(u->fd, KVIOMMU_EVENT_CONTROL, control));
	signalled(control);

	/* Limits: the lower one of the two */
	WANT(u, MAX_PINS, max_pins, 1000);
	EXPECT_EQ(1000, unit_policy(u).max_pins);
	/* It knows what it did itself. */
	EXPECT_FALSE(signalled(control));
	ASSERT_EQ(0, write_file(self->dir, "max_pins", "500"));
	WAIT_FOR(unit_policy(u).max_pins == 500);
	EXPECT_TRUE(signalled(control));
	WANT(u, MAX_PINS, max_pins, 400);
	EXPECT_EQ(400, number_in(self->dir, "max_pins"));
	WANT(u, MAX_PINS, max_pins, ~0ULL);
	EXPECT_EQ(500, number_in(self->dir, "max_pins"));
	EXPECT_EQ(~0ULL, unit_wanted_policy(u).max_pins);
	/* More than other units get, and back */
	ASSERT_EQ(0, write_number(self->dir, "max_pins", host + 1));
	WAIT_FOR(number_in(self->dir, "max_pins") == host + 1);
	ASSERT_EQ(0, write_file(self->dir, "max_pins", "default\n"));
	WAIT_FOR(number_in(self->dir, "max_pins") == host);
	EXPECT_TRUE(signalled(control));
	/* The VMM did not ask for that. */
	ASSERT_EQ(0, write_file(self->dir, "max_tables", "100"));
	WAIT_FOR(unit_policy(u).max_tables == 100);
	EXPECT_FALSE(signalled(control));

	/* Others: the administrator's */
	WANT(u, STRATEGY, strategy, KVIOMMU_STRATEGY_DEFERRED);
	EXPECT_STREQ("deferred", line_of(self->dir, "strategy"));
	ASSERT_EQ(0, write_file(self->dir, "strategy", "strict"));
	WAIT_FOR(unit_policy(u).strategy == KVIOMMU_STRATEGY_STRICT);
	EXPECT_TRUE(signalled(control));
	WANT(u, STRATEGY, strategy, KVIOMMU_STRATEGY_ASYNC);
	EXPECT_EQ(KVIOMMU_STRATEGY_STRICT, unit_policy(u).strategy);
	EXPECT_EQ(KVIOMMU_STRATEGY_ASYNC, unit_wanted_policy(u).strategy);
	EXPECT_FALSE(signalled(control));
	ASSERT_EQ(0, write_file(self->dir, "strategy", "default"));
	WAIT_FOR(unit_policy(u).strategy == KVIOMMU_STRATEGY_ASYNC);
	EXPECT_TRUE(signalled(control));

	EXPECT_EQ(keep, unit_policy(u).idle_pin_ms);
	WANT(u, IDLE_PIN_MS, idle_pin_ms, keep + 1);
	EXPECT_EQ(keep + 1, number_in(self->dir, "idle_pin_ms"));
	ASSERT_EQ(0, write_number(self->dir, "idle_pin_ms", keep + 2));
	WAIT_FOR(unit_policy(u).idle_pin_ms == keep + 2);
	ASSERT_EQ(0, write_file(self->dir, "idle_pin_ms", "default"));
	WAIT_FOR(unit_policy(u).idle_pin_ms == keep + 1);

	/* The shortest time is never above the longest. */
	ASSERT_EQ(0, write_file(self->dir, "poll_us_min", "300"));
	ASSERT_EQ(0, write_file(self->dir, "poll_us_max", "200"));
	WAIT_FOR(number_in(self->dir, "poll_us_min") == 200);
	ASSERT_EQ(0, write_file(self->dir, "poll_us_max", "default"));
	WAIT_FOR(number_in(self->dir, "poll_us_min") == 300);

	/* A mode */
	signalled(control);
	ASSERT_EQ(0, write_file(self->dir, "mode", "trap"));
	WAIT_FOR(unit_policy(u).mode == KVIOMMU_MODE_TRAP);
	EXPECT_EQ(variant->config.mode != UNIT_MODE_TRAP, signalled(control));
	WANT(u, MODE, mode, KVIOMMU_MODE_SIDECORE);
	EXPECT_STREQ("trap", line_of(self->dir, "mode"));
	EXPECT_FALSE(signalled(control));
	ASSERT_EQ(0, write_file(self->dir, "mode", "default"));
	WAIT_FOR(unit_policy(u).mode == KVIOMMU_MODE_SIDECORE);
	EXPECT_TRUE(signalled(control));
	close(control);
}

static void set_modes(const char *modes)
{
	REQUIRE(!write_file(AT_FDCWD, PARAMETERS "modes", modes));
}

static __u32 modes_now(void)
{
	struct kviommu_info info;
	int fd = unit_open_file();

	REQUIRE(!kviommu_get_info(fd, &info));
	close(fd);
	return info.out_allowed_modes;
}

/* The modes that VMMs may choose from, for units that there are already */
TEST_F(sysfs, allowed_modes)
{
	static const char *const bad[] = {
		"\n", "none", "trap,", ",trap", "trap sidecore", "trap,,adaptive",
		"adaptivex", "trap\nx",
	};
	int control = eventfd(0, EFD_CLOEXEC);
	struct unit *u = &self->u;
	unsigned int i;
	__u64 n;

	EXPECT_STREQ("trap,sidecore,adaptive", line_of(AT_FDCWD, PARAMETERS "modes"));
	EXPECT_EQ(7, modes_now());
	WANT(u, MODE, mode, KVIOMMU_MODE_SIDECORE);
	EXPECT_EQ(KVIOMMU_MODE_SIDECORE, unit_policy(u).mode);
	ASSERT_EQ(0, unit_set_eventfd(u->fd, KVIOMMU_EVENT_CONTROL, control));
	ASSERT_EQ(0, unit_set_eventfd(u->fd, KVIOMMU_EVENT_CONTROL, -1));
	close(control);
	control = eventfd(0, EFD_CLOEXEC);
	ASSERT_EQ(0, unit_set_eventfd(u->fd, KVIOMMU_EVENT_CONTROL, control));

	set_modes("adaptive,trap\n");
	EXPECT_STREQ("trap,adaptive", line_of(AT_FDCWD, PARAMETERS "modes"));
	EXPECT_EQ(BIT(KVIOMMU_MODE_TRAP) | BIT(KVIOMMU_MODE_ADAPTIVE), modes_now());
	EXPECT_EQ(sizeof(n), read(control, &n, sizeof(n)));
	EXPECT_EQ(KVIOMMU_MODE_ADAPTIVE, unit_policy(u).mode);
	EXPECT_EQ(KVIOMMU_MODE_SIDECORE, unit_wanted_policy(u).mode);
	/* Trap always is allowed. */
	set_modes("sidecore");
	EXPECT_STREQ("trap,sidecore", line_of(AT_FDCWD, PARAMETERS "modes"));
	EXPECT_EQ(sizeof(n), read(control, &n, sizeof(n)));
	EXPECT_EQ(KVIOMMU_MODE_SIDECORE, unit_policy(u).mode);
	/* Not more than it asked for */
	WANT(u, MODE, mode, KVIOMMU_MODE_ADAPTIVE);
	EXPECT_EQ(KVIOMMU_MODE_TRAP, unit_policy(u).mode);
	set_modes("trap");
	for (i = 0; i <= KVIOMMU_MODE_ADAPTIVE; i++) {
		WANT(u, MODE, mode, i);
		EXPECT_EQ(KVIOMMU_MODE_TRAP, unit_policy(u).mode);
	}
	/* For one unit the administrator can say something else. */
	ASSERT_EQ(0, write_file(self->dir, "mode", "sidecore"));
	WAIT_FOR(unit_policy(u).mode == KVIOMMU_MODE_SIDECORE);
	ASSERT_EQ(0, write_file(self->dir, "mode", "default"));
	WAIT_FOR(unit_policy(u).mode == KVIOMMU_MODE_TRAP);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT_EQ(EINVAL, write_file(AT_FDCWD, PARAMETERS "modes", bad[i]))
			TH_LOG("%u", i);
	EXPECT_STREQ("trap", line_of(AT_FDCWD, PARAMETERS "modes"));
	set_modes("trap,sidecore,adaptive");
	WAIT_FOR(unit_policy(u).mode == KVIOMMU_MODE_ADAPTIVE);
	close(control);
}

static __u64 policy_member(struct unit *u, const struct kviommu_field *f)
{
	struct kviommu_policy now = unit_policy(u);

	return kviommu_field_value(f, &now);
}

/* Parameters of the module hold for units that there are already. */
TEST_F(sysfs, parameters)
{
	const struct kviommu_policy host = unit_policy(&self->u);
	const struct kviommu_field *f;
	struct kviommu_policy now;
	struct unit *u = &self->u;
	char path[128];

	for (f = kviommu_policy_fields; f->name; f++) {
		__u64 value = kviommu_field_value(f, &host), lower = value / 2;

		snprintf(path, sizeof(path), PARAMETERS "%s", f->name);
		EXPECT_EQ(value, number_in(AT_FDCWD, path)) TH_LOG("%s", f->name);
		ASSERT_EQ(0, write_number(AT_FDCWD, path, lower));
		WAIT_FOR(policy_member(u, f) == lower);
		ASSERT_EQ(0, write_number(AT_FDCWD, path, value));
		WAIT_FOR(policy_member(u, f) == value);
		now = unit_policy(u);
		EXPECT_EQ(0, memcmp(&now, &host, sizeof(now))) TH_LOG("%s", f->name);
	}
	/* What is wanted holds against them, where it may. */
	WANT(u, IDLE_PIN_MS, idle_pin_ms, 5);
	ASSERT_EQ(0, write_number(AT_FDCWD, PARAMETERS "idle_pin_ms", 7));
	ASSERT_EQ(0, write_number(AT_FDCWD, PARAMETERS "max_pins", 77));
	WAIT_FOR(unit_policy(u).max_pins == 77);
	EXPECT_EQ(5, unit_policy(u).idle_pin_ms);
	/* And they hold: */
	ASSERT_EQ(0, write_number(AT_FDCWD, PARAMETERS "max_pins", 0));
	WAIT_FOR(!unit_policy(u).max_pins);
	RUN(g_map, 0, SPARE, PAGE(1), 1, MAP_RW);
	EXPECT_EQ(1, unit_stats(u).limits);
	ASSERT_EQ(0, write_number(AT_FDCWD, PARAMETERS "max_pins", host.max_pins));
	ASSERT_EQ(0, write_number(AT_FDCWD, PARAMETERS "idle_pin_ms", host.idle_pin_ms));
	WAIT_FOR(unit_policy(u).max_pins == host.max_pins);
	ASSERT_EQ(0, unit_refresh(u));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, SPARE, PAGE(1)));
}

/* Each writer has a file of its own: none undoes what another wrote. */
#define WRITES 100
struct writer {
	int dir;
	const char *name;
};

static void *write_often(void *arg)
{
	struct writer *w = arg;
	unsigned int i;

	for (i = 1; i <= WRITES; i++) {
		REQUIRE(!write_number(w->dir, w->name, i));
		WAIT_FOR(number_in(w->dir, w->name) == i);
	}
	return NULL;
}

TEST_F(sysfs, changes_do_not_mix)
{
	struct writer w[] = {
		{ .dir = self->dir, .name = "max_pins" },
		{ .dir = self->dir, .name = "max_tables" },
	};
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, write_often, &w[0]));
	write_often(&w[1]);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(WRITES, unit_policy(&self->u).max_pins);
	EXPECT_EQ(WRITES, unit_policy(&self->u).max_tables);
}

static char state_of(pid_t pid)
{
	char path[64], state = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	REQUIRE(f && fscanf(f, "%*d (%*[^)]) %c", &state) == 1);
	fclose(f);
	return state;
}

/* The administrator waits for no VMM: what is written comes into force when that goes on. */
TEST_F(sysfs, vmm_stopped)
{
	const pid_t vmm = getpid();
	int status;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		WAIT_FOR(state_of(vmm) == 'T');
		REQUIRE(!write_number(self->dir, "max_pins", 7));
		REQUIRE(!write_file(self->dir, "mode", "trap"));
		status = number_in(self->dir, "max_pins") == 7;
		REQUIRE(!kill(vmm, SIGCONT));
		_exit(status);
	}
	ASSERT_EQ(0, raise(SIGSTOP));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	WAIT_FOR(unit_policy(&self->u).max_pins == 7);
	WAIT_FOR(unit_policy(&self->u).mode == KVIOMMU_MODE_TRAP);
}

/* What is left open of a unit that is gone reaches nothing. */
TEST_F(sysfs, gone)
{
	int dir, mode, stat, shadow, domains;
	char path[128], text[4096];

	mode = openat(self->dir, "mode", O_RDWR);
	stat = openat(self->dir, "statistics/maps", O_RDONLY);
	snprintf(path, sizeof(path), DEBUGFS "/%d", self->id);
	dir = open(path, O_RDONLY | O_DIRECTORY);
	shadow = openat(dir, "shadow", O_RDONLY);
	domains = openat(dir, "domains", O_RDONLY);
	ASSERT_LE(0, mode);
	ASSERT_LE(0, stat);
	ASSERT_LE(0, shadow);
	ASSERT_LE(0, domains);
	/* One is in the middle of it. */
	EXPECT_EQ(1, read(shadow, text, 1));

	unit_close(&self->u);
	EXPECT_EQ(-ENOENT, kviommu_sysfs_open(KVIOMMU_SYSFS, self->id));
	EXPECT_NE(0, access(path, F_OK));
	EXPECT_EQ(-ENODEV, read_all(mode, text, sizeof(text), sizeof(text)));
	EXPECT_EQ(-1, write(mode, "trap", 4));
	EXPECT_EQ(ENODEV, errno);
	EXPECT_EQ(-ENODEV, read_all(stat, text, sizeof(text), sizeof(text)));
	EXPECT_EQ(-EIO, read_all(shadow, text, sizeof(text), sizeof(text)));
	EXPECT_EQ(-EIO, read_all(domains, text, sizeof(text), sizeof(text)));
	EXPECT_EQ(-ENOENT, read_file(self->dir, "mode", text, sizeof(text)));
	close(mode);
	close(stat);
	close(shadow);
	close(domains);
	close(dir);

	/* Another unit is not taken for it. */
	unit_open_guest(&self->u, &variant->config, DID, IOVA);
	EXPECT_EQ(-ENOENT, read_file(self->dir, "mode", text, sizeof(text)));
}

/* Users of all files while units come and go */
static bool stop;

static void *use_files(void *arg)
{
	static const char *const files[] = {
		KVIOMMU_SYSFS "/kviommu%d/mode", KVIOMMU_SYSFS "/kviommu%d/pid",
		KVIOMMU_SYSFS "/kviommu%d/poll_cpu",
		KVIOMMU_SYSFS "/kviommu%d/statistics/maps",
		KVIOMMU_SYSFS "/kviommu%d/statistics/latency",
		DEBUGFS "/%d/domains", DEBUGFS "/%d/shadow",
	};
	const int *id = arg;
	char path[128], text[4096];
	unsigned int i;
	int n, err;

	while (!READ_ONCE(stop)) {
		for (i = 0; i < ARRAY_SIZE(files); i++) {
			snprintf(path, sizeof(path), files[i], *id);
			n = read_file(AT_FDCWD, path, text, sizeof(text));
			REQUIRE(n >= 0 || n == -ENOENT || n == -ENODEV || n == -EIO);
		}
		snprintf(path, sizeof(path), files[0], *id);
		err = write_file(AT_FDCWD, path, i++ % 2 ? "adaptive" : "sidecore");
		REQUIRE(!err || err == ENOENT || err == ENODEV);
		snprintf(path, sizeof(path), KVIOMMU_SYSFS "/kviommu%d/max_idle_pins",
			 *id);
		err = write_file(AT_FDCWD, path, "0");
		REQUIRE(!err || err == ENOENT || err == ENODEV);
	}
	return NULL;
}

TEST_F_TIMEOUT(sysfs, comes_and_goes, 600)
{
	pthread_t threads[2];
	int i;

	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, use_files, &self->id));
	for (i = 0; i < 5; i++) {
		self->u.vm.g->polls = true;
		RUN(g_churn, SPARE, PAGE(9), 20);
		unit_close(&self->u);
		unit_open_guest(&self->u, &variant->config, DID, IOVA);
		EXPECT_EQ(self->id, unit_id());
		RUN(g_enable, true);
	}
	WRITE_ONCE(stop, true);
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_join(threads[i], NULL));
}

static int listen_for_uevents(void)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			NETLINK_KOBJECT_UEVENT);

	REQUIRE(fd >= 0 && !bind(fd, (void *)&addr, sizeof(addr)));
	return fd;
}

/* The next one about a unit; or nothing */
static const char *uevent(int fd)
{
	static char text[8192];
	ssize_t n;

	for (;;) {
		n = recv(fd, text, sizeof(text) - 1, 0);
		if (n < 0 && errno == EAGAIN)
			return "";
		REQUIRE(n > 0);
		text[n] = '\0';
		if (strstr(text, "/kviommu/"))
			return text;
	}
}

/* A KVIOMMU_CREATE that fails takes the directory back, whoever reads in it. */
TEST_F_TIMEOUT(sysfs, create_fails, 600)
{
	int fd = unit_open_file(), other = self->id + 1, i;
	const int uevents = listen_for_uevents();
	pthread_t thread;
	char want[64];

	ASSERT_EQ(0, pthread_create(&thread, NULL, use_files, &other));
	for (i = 0; i < 200; i++)
		EXPECT_EQ(EINVAL, unit_create(fd, self->u.iommufd, self->u.iommufd,
					      self->u.ioas, &variant->config));
	EXPECT_EQ(-ENOENT, kviommu_sysfs_open(KVIOMMU_SYSFS, other));
	EXPECT_STREQ("", uevent(uevents));
	EXPECT_EQ(0, unit_create(fd, self->u.vm.fd, self->u.iommufd, self->u.ioas,
				 &variant->config));
	snprintf(want, sizeof(want), "add@/devices/virtual/kviommu/kviommu%d", other);
	EXPECT_STREQ(want, uevent(uevents));
	WRITE_ONCE(stop, true);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	i = kviommu_sysfs_open(KVIOMMU_SYSFS, other);
	EXPECT_LE(0, i);
	close(i);
	close(fd);
	snprintf(want, sizeof(want), "remove@/devices/virtual/kviommu/kviommu%d",
		 other);
	EXPECT_STREQ(want, uevent(uevents));
	close(uevents);
}

/* Two threads make a unit of one file: one of them does. */
struct maker {
	struct unit *u;
	int fd;
	int err;
};

static void *make_unit(void *arg)
{
	struct maker *m = arg;

	m->err = unit_create(m->fd, m->u->vm.fd, m->u->iommufd, m->u->ioas,
			     &m->u->config);
	return NULL;
}

TEST_F(sysfs, create_twice)
{
	struct maker m[2] = { { .u = &self->u }, { .u = &self->u } };
	pthread_t thread;
	int i;

	for (i = 0; i < 20; i++) {
		m[0].fd = unit_open_file();
		m[1].fd = m[0].fd;
		ASSERT_EQ(0, pthread_create(&thread, NULL, make_unit, &m[0]));
		make_unit(&m[1]);
		ASSERT_EQ(0, pthread_join(thread, NULL));
		EXPECT_EQ(EBUSY, m[0].err + m[1].err);
		close(m[0].fd);
	}
}

/* debugfs */

static int debugfs_open(const char *name, int id)
{
	char path[128];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), DEBUGFS "/%d/%s", id, name);
	fd = open(path, O_RDONLY);
	REQUIRE(fd >= 0 && !fstat(fd, &st) && (st.st_mode & 07777) == 0400);
	return fd;
}

/* The whole dump, in pieces; to be freed */
static char *dump(const char *name, int id, size_t piece)
{
	const size_t size = 16 << 20;
	int fd = debugfs_open(name, id), n;
	char *text = malloc(size);

	REQUIRE(text);
	n = read_all(fd, text, size, piece);
	if (n < 0)
		FATAL("%s: %s", name, strerror(-n));
	close(fd);
	return text;
}

/**
 * struct leaf - A line of the dump
 * @found: There is one
 */
struct leaf {
	bool found;
	unsigned int did;
	__u64 size;
	__u64 guest;
	char guest_prot[3];
	__u64 shadow;
	char shadow_prot[3];
	char state[8];
	__u64 host;
};

static const char leaf_format[] =
	"%llu did %u iova %llx size %llx guest %llx %2s shadow %llx %2s %7s host %llx\n";

static bool scan_leaf(const char *line, __u64 *iova, struct leaf *l)
{
	__u64 serial;

	return sscanf(line, leaf_format, &serial, &l->did, iova, &l->size,
		      &l->guest, l->guest_prot, &l->shadow, l->shadow_prot,
		      l->state, &l->host) == 10;
}

/* The only one at @iova */
static struct leaf leaf_at(int id, __u64 iova)
{
	char *text = dump("shadow", id, 100000), *line, *next;
	struct leaf l, at = {};

	for (line = text; *line; line = next + 1) {
		__u64 i;

		next = strchr(line, '\n');
		REQUIRE(next && scan_leaf(line, &i, &l));
		if (i > iova || iova - i >= l.size)
			continue;
		REQUIRE(!at.found && i == iova);
		at = l;
		at.found = true;
	}
	free(text);
	return at;
}

/* Where the host has our memory */
static __u64 host_address(void *va)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	__u64 entry;

	REQUIRE(pread(fd, &entry, 8, (uintptr_t)va / PAGE_SIZE * 8) == 8);
	close(fd);
	REQUIRE(entry >> 63);
	return (entry & (BIT(55) - 1)) * PAGE_SIZE;
}

/* What the host's tables say of it has to be true, too. */
static bool host_is_right(struct unit *u, const struct leaf *l)
{
	if (!strcmp(l->state, "missing"))
		return !l->host;
	return l->host == host_address(vm_hva(&u->vm, l->shadow));
}

#define EXPECT_LEAF(_gpa, _prot, _shadow_gpa, _shadow_prot, _state, iova) do {	\
	struct leaf _l = leaf_at(self->id, iova);				\
	EXPECT_TRUE(_l.found);							\
	EXPECT_EQ(DID, _l.did);							\
	EXPECT_EQ(PAGE_SIZE, _l.size);						\
	EXPECT_EQ(_gpa, _l.guest);						\
	EXPECT_STREQ(_prot, _l.guest_prot);					\
	EXPECT_EQ(_shadow_gpa, _l.shadow);					\
	EXPECT_STREQ(_shadow_prot, _l.shadow_prot);				\
	EXPECT_STREQ(_state, _l.state);						\
	EXPECT_TRUE(host_is_right(&self->u, &_l));				\
} while (0)

TEST_F(sysfs, shadow)
{
	__u64 *table;
	struct leaf l;

	EXPECT_LEAF(PAGE(0), "rw", PAGE(0), "rw", "mapped", IOVA);
	EXPECT_FALSE(leaf_at(self->id, SPARE).found);
	RUN(g_map, 0, SPARE, PAGE(1), 1, MAP_R);
	RUN(g_map, 0, SPARE + PAGE_SIZE, PAGE(2), 1, MAP_W);
	EXPECT_LEAF(PAGE(1), "r-", PAGE(1), "r-", "mapped", SPARE);
	EXPECT_LEAF(PAGE(2), "-w", PAGE(2), "-w", "mapped", SPARE + PAGE_SIZE);

	/* Written into the tables, and not invalidated */
	RUN(g_map_quiet, 0, SPARE, PAGE(3), 1, MAP_RW);
	EXPECT_LEAF(PAGE(3), "rw", PAGE(1), "r-", "mapped", SPARE);
	RUN(g_unmap_quiet, 0, SPARE, 1, 0);
	EXPECT_LEAF(0, "--", PAGE(1), "r-", "mapped", SPARE);
	RUN(g_map_quiet, 0, SPARE + 2 * PAGE_SIZE, PAGE(4), 1, MAP_RW);
	EXPECT_LEAF(PAGE(4), "rw", 0, "--", "missing", SPARE + 2 * PAGE_SIZE);

	/* Invalidated */
	RUN(g_flush_domain, 0);
	EXPECT_FALSE(leaf_at(self->id, SPARE).found);
	EXPECT_LEAF(PAGE(4), "rw", PAGE(4), "rw", "mapped", SPARE + 2 * PAGE_SIZE);
	RUN(g_unmap, 0, SPARE + PAGE_SIZE, 2, 0);
	EXPECT_FALSE(leaf_at(self->id, SPARE + PAGE_SIZE).found);

	/* A table that gives a right less, and is no longer the one that it was */
	RUN(g_map, 0, SPARE, PAGE(1), 1, MAP_RW);
	table = vm_hva(&self->u.vm, RUN(g_entry_gpa, 0, SPARE, LEAF_2M));
	*table &= ~MAP_W;
	EXPECT_LEAF(PAGE(1), "r-", PAGE(1), "rw", "mapped", SPARE);
	*table = GPA_TABLES | MAP_RW;
	EXPECT_LEAF(0, "--", PAGE(1), "rw", "mapped", SPARE);
	/* A leaf in its place */
	*table = HUGE(1) | MAP_R | VTD_SL_PS;
	EXPECT_LEAF(HUGE(1), "r-", PAGE(1), "rw", "mapped", SPARE);
	RUN(g_flush_domain, 0);
	l = leaf_at(self->id, SPARE);
	EXPECT_EQ(SZ_2M, l.size);
	EXPECT_EQ(HUGE(1), l.guest);
	EXPECT_EQ(HUGE(1), l.shadow);
	EXPECT_STREQ("r-", l.shadow_prot);
	EXPECT_STREQ("mapped", l.state);
	EXPECT_EQ(host_address(vm_hva(&self->u.vm, HUGE(1))), l.host);

	/* The guest has removed it, the unit keeps it for a while; and no longer. */
	ASSERT_EQ(0, write_number(self->dir, "stale_us", 1000000));
	ASSERT_EQ(0, write_file(self->dir, "strategy", "optimistic"));
	do {
		RUN(g_map, 0, IOVA + PAGE_SIZE, PAGE(1), 1, MAP_RW);
		RUN(g_unmap, 0, IOVA + PAGE_SIZE, 1, 0);
		l = leaf_at(self->id, IOVA + PAGE_SIZE);
	} while (!l.found);
	EXPECT_STREQ("stale", l.state);
	EXPECT_STREQ("--", l.guest_prot);
	EXPECT_EQ(PAGE(1), l.shadow);
	while (leaf_at(self->id, IOVA + PAGE_SIZE).found)
		;

	/* The IOAS loses the memory. */
	ASSERT_EQ(0, ioas_unmap(self->u.iommufd, self->u.ioas, 0, GPA_RAM_END));
	l = leaf_at(self->id, IOVA);
	EXPECT_TRUE(l.found);
	EXPECT_EQ(PAGE(0), l.shadow);
	EXPECT_STREQ("missing", l.state);
	EXPECT_EQ(0, l.host);
}

/* How many leaves of @did there are from @first to @last; each comes once. */
static unsigned int leaves(int id, size_t piece, __u64 first, __u64 last)
{
	char *text = dump("shadow", id, piece), *line, *next;
	__u64 iova, before = 0;
	unsigned int n = 0;
	struct leaf l;

	for (line = text; *line; line = next + 1) {
		next = strchr(line, '\n');
		REQUIRE(next && scan_leaf(line, &iova, &l));
		REQUIRE(iova > before);
		before = iova;
		n += iova >= first && iova <= last;
	}
	free(text);
	return n;
}

#define LARGE (16UL << 30)
static __u64 g_map_large(struct guest *g)
{
	__u64 i;

	for (i = 0; i < 4; i++)
		g_map(g, 0, LARGE + i * SZ_1G, PAGE(0), 1024, MAP_RW);
	return 0;
}

/* Many empty tables between two pages: there is much to be passed over. */
#define WIDE (32UL << 30)
static __u64 g_map_wide(struct guest *g)
{
	__u64 *table, i, empty = g_page(g) | MAP_RW;

	g_map_quiet(g, 0, WIDE, PAGE(1), 1, MAP_RW);
	table = g_entry(g, 0, WIDE, LEAF_2M);
	for (i = 1; i < 512; i++)
		WRITE_ONCE(table[i], i < 511 ? empty : table[0]);
	return g_flush_domain(g, 0);
}

static void *dump_often(void *arg)
{
	const int *id = arg;
	unsigned int i;

	for (i = 0; i < 3; i++)
		REQUIRE(leaves(*id, 100000, LARGE, WIDE - 1) == 4096);
	WRITE_ONCE(stop, true);
	return NULL;
}

TEST_F_TIMEOUT(sysfs, large_shadow, 600)
{
	pthread_t thread;

	RUN(g_map_large);
	RUN(g_map_wide);
	EXPECT_EQ(4096, leaves(self->id, 1000, LARGE, WIDE - 1));
	EXPECT_EQ(2, leaves(self->id, 1000, WIDE, ~0ULL));
	EXPECT_EQ(1, leaves(self->id, 100000, 0, LARGE - 1));
	/* While the guest goes on */
	ASSERT_EQ(0, pthread_create(&thread, NULL, dump_often, &self->id));
	do
		RUN(g_churn, SPARE, PAGE(9), 1);
	while (!READ_ONCE(stop));
	ASSERT_EQ(0, pthread_join(thread, NULL));
}

/* The line of the domain of that domain-id, without what is before that */
static const char *domain_line(int id, unsigned int did)
{
	static char line[256];
	char *text = dump("domains", id, 10), *from, find[32];

	snprintf(find, sizeof(find), " did %u ", did);
	from = strstr(text, find);
	snprintf(line, sizeof(line), "%s", from ? from + 1 : "none\n");
	*strchr(line, '\n') = '\0';
	free(text);
	return line;
}

TEST_F(sysfs, domains)
{
	char want[256];

	snprintf(want, sizeof(want),
		 "did %u pgtbl 0x%llx levels 4 groups 1 devices 0x%04x",
		 DID, self->u.vm.g->dom[0].root, SID(0));
	EXPECT_STREQ(want, domain_line(self->id, DID));
	unit_add_device(&self->u, 1, SID(1));
	EXPECT_STREQ(want, domain_line(self->id, DID));
	RUN(g_attach, SID(1), 0);
	snprintf(want, sizeof(want),
		 "did %u pgtbl 0x%llx levels 4 groups 2 devices 0x%04x 0x%04x",
		 DID, self->u.vm.g->dom[0].root, SID(0), SID(1));
	EXPECT_STREQ(want, domain_line(self->id, DID));

	RUN(g_detach, SID(1), DID);
	RUN(g_domain, 1, DID + 1, 3);
	RUN(g_attach, SID(1), 1);
	snprintf(want, sizeof(want),
		 "did %u pgtbl 0x%llx levels 3 groups 1 devices 0x%04x",
		 DID + 1, self->u.vm.g->dom[1].root, SID(1));
	EXPECT_STREQ(want, domain_line(self->id, DID + 1));
	RUN(g_detach, SID(0), DID);
	RUN(g_detach, SID(1), DID + 1);
	EXPECT_STREQ("none", domain_line(self->id, DID));
	EXPECT_STREQ("none", domain_line(self->id, DID + 1));
}

/* Trace events */

#define INSTANCE TRACEFS "/instances/kviommu"

static __u64 g_map_wrong(struct guest *g)
{
	/* An address beyond what the unit can reach */
	WRITE_ONCE(*g_entry(g, 0, SPARE, LEAF_4K), BIT(50) | MAP_RW);
	return g_flush_pages(g, 0, SPARE, 0);
}

static void trace_begin(void)
{
	REQUIRE(!mkdir(INSTANCE, 0700) || errno == EEXIST);
	REQUIRE(!write_file(AT_FDCWD, INSTANCE "/events/kviommu/enable", "1"));
}

static char *trace_end(void)
{
	const size_t size = 16 << 20;
	char *text = malloc(size);

	REQUIRE(text);
	REQUIRE(!write_file(AT_FDCWD, INSTANCE "/events/kviommu/enable", "0"));
	REQUIRE(read_file(AT_FDCWD, INSTANCE "/trace", text, size) > 0);
	REQUIRE(!rmdir(INSTANCE));
	return text;
}

#define EXPECT_TRACED(event, fmt, ...) do {				\
	char _want[256];						\
									\
	snprintf(_want, sizeof(_want), "kviommu_" event ": unit %d " fmt, \
		 self->id, ##__VA_ARGS__);				\
	EXPECT_NE(NULL, strstr(trace, _want)) TH_LOG("%s", _want);	\
} while (0)

TEST_F(sysfs, trace)
{
	const __u64 gfn = PAGE(77) / PAGE_SIZE;
	char *trace, find[512];
	struct dirent *e;
	__u64 pfn;
	DIR *dir;

	self->u.vm.g->polls = true;
	ASSERT_EQ(0, write_file(self->dir, "mode", "trap"));
	trace_begin();
	ASSERT_EQ(0, write_file(self->dir, "mode", "sidecore"));
	RUN(g_churn, SPARE, PAGE(9), 1);
	while (!number_in(self->dir, "statistics/polled"))
		RUN(g_churn, SPARE, PAGE(9), 1);
	ASSERT_EQ(0, write_file(self->dir, "mode", "trap"));
	RUN(g_map, 0, SPARE, PAGE(77), 1, MAP_W);
	pfn = host_address(vm_hva(&self->u.vm, PAGE(77))) / PAGE_SIZE;
	RUN(g_unmap, 0, SPARE, 1, 0);
	RUN(g_map_wrong);
	RUN(g_unmap, 0, SPARE, 1, 0);
	RUN(g_map, 0, SPARE, GPA_RAM_END, 1, MAP_RW);
	ASSERT_EQ(0, write_file(self->dir, "strategy", "optimistic"));
	RUN(g_map, 0, SPARE, PAGE(78), 1, MAP_RW);
	while (!number_in(self->dir, "statistics/reuses")) {
		RUN(g_unmap, 0, SPARE, 1, 0);
		RUN(g_map, 0, SPARE, PAGE(78), 1, MAP_RW);
	}
	RUN(g_detach, SID(0), DID);
	ASSERT_EQ(0, ioas_unmap(self->u.iommufd, self->u.ioas, 0, GPA_RAM_END));
	trace = trace_end();

	EXPECT_TRACED("poll", "polled, asked: error 0");
	EXPECT_TRACED("poll", "trapped, ");
	EXPECT_TRACED("policy", "mode trap strategy strict max_pins %llu",
		      unit_policy(&self->u).max_pins);
	EXPECT_TRACED("policy", "mode trap strategy optimistic");
	EXPECT_TRACED("reg_write", "offset 0x%03x len 4 val 0x", VTD_IQT);
	EXPECT_TRACED("descriptor", "0x%016lx:%016llx ret 0", SPARE,
		      VTD_QI_IOTLB | VTD_QI_SELECTIVE | VTD_QI_DID(DID));
	EXPECT_TRACED("pin", "gfn 0x%llx pfn 0x%llx", gfn, pfn);
	EXPECT_TRACED("map", "did %u iova 0x%lx gfn 0x%llx pages 1 -w", DID, SPARE,
		      gfn);
	EXPECT_TRACED("unmap", "did %u iova 0x%lx size 0x1000", DID, SPARE);
	EXPECT_TRACED("stale", "did %u iova 0x%lx kept", DID, SPARE);
	EXPECT_TRACED("stale", "did %u iova 0x%lx reused", DID, SPARE);
	EXPECT_TRACED("unpin", "gfn 0x%llx", gfn);
	EXPECT_TRACED("fault", "source_id 0x%04x addr 0x%lx reason 0x0c", SID(0),
		      SPARE);
	EXPECT_TRACED("error", "translation 0x%lx: error -%d", SPARE, ENOENT);
	EXPECT_TRACED("bind", "source_id 0x%04x blocked did 0", SID(0));
	/* There is none that does not show, but of a CPU that comes or goes. */
	dir = opendir(TRACEFS "/events/kviommu");
	ASSERT_NE(NULL, dir);
	while ((e = readdir(dir))) {
		if (strncmp(e->d_name, "kviommu_", 8) ||
		    !strcmp(e->d_name, "kviommu_poll_cpu"))
			continue;
		snprintf(find, sizeof(find), ": %s: unit", e->d_name);
		EXPECT_NE(NULL, strstr(trace, find)) TH_LOG("%s", e->d_name);
	}
	closedir(dir);
	free(trace);
}

TEST_HARNESS_MAIN
