// SPDX-License-Identifier: GPL-2.0
/*
 * scale MODE...: no test, a part of "make bench". What a guest's mapping and unmapping
 * of a page costs by how much else there is: live translations, devices in the same
 * domain, units side by side; what invalidations over live translations cost; what the
 * unit's own memory is. Prints lines "metric config value unit".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "kselftest_harness.h"
#include "require.h"
#include "unit.h"

#define DID		1
#define IOVA		0x200000UL

/*
 * Live translations, and the memory that they lead to: with more of the first than
 * pages of the second each page has several.
 */
#define LIVE_IOVA	BIT_ULL(39)
#define HIGH_SIZE	SZ_1G
#define LIVE_TABLES	GPA_HIGH
#define LIVE_MEMORY	(GPA_HIGH + 8 * SZ_2M)
#define LIVE_PAGES	((HIGH_SIZE - 8 * SZ_2M) / PAGE_SIZE)
#define LIVE_PD(i)	(LIVE_TABLES + (1 + (i)) * PAGE_SIZE)
#define LIVE_PT(i)	(LIVE_TABLES + (8 + (i)) * PAGE_SIZE)

static const char *name;

/* Write live translations number @from to @to, with the tables that they need. */
static __u64 g_live(struct guest *g, __u64 from, __u64 to)
{
	__u64 n;

	for (n = from; n < to; n++) {
		__u64 *pdpt = (__u64 *)LIVE_TABLES, *pd = (__u64 *)LIVE_PD(n >> 18);
		__u64 *pt = (__u64 *)LIVE_PT(n >> 9);

		WRITE_ONCE(pt[n & 511], (LIVE_MEMORY + n % LIVE_PAGES * PAGE_SIZE) | MAP_RW);
		WRITE_ONCE(pd[(n >> 9) & 511], (__u64)pt | MAP_RW);
		WRITE_ONCE(pdpt[n >> 18], (__u64)pd | MAP_RW);
	}
	WRITE_ONCE(*g_entry(g, 0, LIVE_IOVA, 4), LIVE_TABLES | MAP_RW);
	return 0;
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static void print(const char *metric, unsigned long n, double value, const char *unit)
{
	printf("%s.%lu kviommu-%s-strict %.3f %s\n", metric, n, name, value, unit);
	fflush(stdout);
}

/* How long one of them takes, at best of some turns: others have this host, too. */
static double pair_us(struct unit *u, unsigned long pairs)
{
	double best = 0, us;
	int turn;

	for (turn = 0; turn < 5; turn++) {
		us = now_us();
		guest_run(&u->vm, g_churn, IOVA + PAGE_SIZE, PAGE(1), pairs);
		us = (now_us() - us) / pairs;
		best = turn && best < us ? best : us;
	}
	return best;
}

static double flush_us(struct unit *u, bool global)
{
	double best = 0, us;
	int turn;

	for (turn = 0; turn < 3; turn++) {
		us = now_us();
		if (global)
			guest_run(&u->vm, g_flush_global);
		else
			guest_run(&u->vm, g_flush_domain, 0);
		us = now_us() - us;
		best = turn && best < us ? best : us;
	}
	return best;
}

static void start(struct unit *u, enum unit_mode mode, unsigned int device)
{
	const struct unit_config config = { .mode = mode };

	unit_open(u, &config);
	unit_add_device(u, device, SID(0));
	guest_run(&u->vm, g_setup, 0);
	guest_run(&u->vm, g_domain, 0, DID, 4);
	guest_run(&u->vm, g_map, 0, IOVA, PAGE(0), 1, MAP_RW);
	guest_run(&u->vm, g_attach, SID(0), 0);
	guest_run(&u->vm, g_enable, true);
	/* What takes long is answered late in trap mode, too. */
	u->vm.g->polls = true;
}

static void measure_live(enum unit_mode mode)
{
	struct unit u;
	__u64 n, had = 0;
	void *high;

	start(&u, mode, 0);
	high = mmap(NULL, HIGH_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(high != MAP_FAILED);
	REQUIRE(!vm_set_slot(&u.vm, VM_SLOT_HIGH, GPA_HIGH, high, HIGH_SIZE, 0));
	REQUIRE(!ioas_map(u.iommufd, u.ioas, GPA_HIGH, high, HIGH_SIZE, IOAS_RW));
	for (n = 1000; n <= 1000000; n *= 10) {
		__u64 bytes;

		guest_run(&u.vm, g_live, had, n);
		had = n;
		guest_run(&u.vm, g_flush_domain, 0);
		REQUIRE(unit_stats_now(&u).mapped == n + 1);
		bytes = unit_stats_now(&u).table_bytes;
		print("live.pair", n, pair_us(&u, 1000), "us");
		print("live.flush_domain", n, flush_us(&u, false), "us");
		print("live.flush_global", n, flush_us(&u, true), "us");
		print("live.module_share", n, 100.0 * bytes / (n * PAGE_SIZE), "%");
	}
	unit_close(&u);
	munmap(high, HIGH_SIZE);
}

static void measure_devices(enum unit_mode mode)
{
	struct unit u;
	unsigned int i;

	start(&u, mode, 0);
	for (i = 1; i <= GUEST_MAX_DEVICES; i++) {
		if (!(i & (i - 1)))
			print("devices.pair", i, pair_us(&u, 1000), "us");
		if (i == GUEST_MAX_DEVICES)
			break;
		unit_add_device(&u, i, SID(i));
		guest_run(&u.vm, g_attach, SID(i), 0);
	}
	unit_close(&u);
}

/* @count VMs at once; the slowest of them counts. */
static void measure_units(enum unit_mode mode, unsigned int count)
{
	struct shared {
		unsigned int ready;
		double us[GUEST_MAX_DEVICES];
	} *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double worst = 0;
	unsigned int i;

	REQUIRE(shared != MAP_FAILED);
	for (i = 0; i < count; i++) {
		pid_t pid = fork();

		REQUIRE(pid >= 0);
		if (!pid) {
			struct unit u;

			start(&u, mode, i);
			__atomic_add_fetch(&shared->ready, 1, __ATOMIC_SEQ_CST);
			while (__atomic_load_n(&shared->ready, __ATOMIC_SEQ_CST) < count)
				usleep(1000);
			shared->us[i] = pair_us(&u, 1000);
			/* Until here the others are not to be alone. */
			__atomic_add_fetch(&shared->ready, 1, __ATOMIC_SEQ_CST);
			while (__atomic_load_n(&shared->ready, __ATOMIC_SEQ_CST) < 2 * count)
				guest_run(&u.vm, g_churn, IOVA + PAGE_SIZE, PAGE(1), 100);
			unit_close(&u);
			_exit(0);
		}
	}
	for (i = 0; i < count; i++) {
		int status;

		REQUIRE(wait(&status) > 0 && !status);
	}
	for (i = 0; i < count; i++)
		worst = shared->us[i] > worst ? shared->us[i] : worst;
	print("units.pair", count, worst, "us");
	munmap(shared, sizeof(*shared));
}

int main(int argc, char **argv)
{
	unsigned int n;
	int i;

	for (i = 1; i < argc; i++) {
		enum unit_mode mode = !strcmp(argv[i], "trap") ? UNIT_MODE_TRAP :
				      !strcmp(argv[i], "sidecore") ? UNIT_MODE_SIDECORE :
				      UNIT_MODE_ADAPTIVE;

		name = argv[i];
		measure_live(mode);
		measure_devices(mode);
		for (n = 1; n <= 4; n *= 2)
			measure_units(mode, n);
	}
	return 0;
}
