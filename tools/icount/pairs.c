// SPDX-License-Identifier: GPL-2.0
/*
 * pairs [nested-]trap|sidecore|adaptive N PAGES [FUNCTION]: a guest of the selftests' VMM maps
 * and unmaps so many pages, at once, N times, and marks where each begins for plugin.c. Leaves
 * the host's symbols in ./symbols, and prints how long a pair took. FUNCTION is one of the
 * host whose calls plugin.c is to count. With nested- the guest is in scalable mode.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "require.h"
#include "unit.h"

#define IOVA	0x200000UL
#define DID	1

/* See plugin.c. */
static void name_function(unsigned long address)
{
	asm volatile("nopl 0x6b766d0f(%0)" : : "a" (address) : "memory");
}

#define MARK(n)	({ asm volatile("nopl 0x6b766d00+%c0(%%rax)" : : "i" (n) : "memory"); })

static __u64 g_pairs(struct guest *g, __u64 n, __u64 pages)
{
	for (; n; n--) {
		MARK(1);
		g_map(g, 0, IOVA, GPA_HIGH, pages, MAP_RW);
		MARK(2);
		g_unmap(g, 0, IOVA, pages, 0);
		MARK(0);
	}
	return 0;
}

static void save_symbols(void)
{
	FILE *in = fopen("/proc/kallsyms", "r"), *out = fopen("symbols", "w");
	char line[1024];

	REQUIRE(in && out);
	while (fgets(line, sizeof(line), in))
		REQUIRE(fputs(line, out) >= 0);
	REQUIRE(!fclose(out));
	fclose(in);
}

static unsigned long find_symbol(const char *name)
{
	FILE *in = fopen("symbols", "r");
	unsigned long address;
	char line[1024], found[256];

	REQUIRE(in);
	while (fgets(line, sizeof(line), in)) {
		if (sscanf(line, "%lx %*c %255s", &address, found) != 2 ||
		    strcmp(found, name))
			continue;
		fclose(in);
		return address;
	}
	FATAL("the host has no function %s", name);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

int main(int argc, char **argv)
{
	unsigned long n, pages;
	double begin;
	struct unit_config config = { .mode = UNIT_MODE_TRAP };
	const char *mode = argv[1];
	struct unit u;

	if (argc < 4 || argc > 5)
		FATAL("pairs [nested-]trap|sidecore|adaptive N PAGES [FUNCTION]");
	if (!strncmp(mode, "nested-", 7)) {
		config.nested = true;
		mode += 7;
	}
	if (!strcmp(mode, "sidecore"))
		config.mode = UNIT_MODE_SIDECORE;
	if (!strcmp(mode, "adaptive"))
		config.mode = UNIT_MODE_ADAPTIVE;
	unit_open_guest(&u, &config, DID, IOVA);
	guest_run(&u.vm, g_enable, true);
	guest_run(&u.vm, g_unmap, 0, IOVA, 1, 0);
	unit_poll(&u);
	/* Pages are as many calls as they are pieces of the host's memory. */
	unit_high_memory(&u, SZ_2M);
	REQUIRE(!unit_refresh(&u));
	save_symbols();
	if (argc == 5)
		name_function(find_symbol(argv[4]));
	n = strtoul(argv[2], NULL, 0);
	pages = strtoul(argv[3], NULL, 0);
	begin = now();
	guest_run(&u.vm, g_pairs, n, pages);
	printf("%s: %.0f ns\n", argv[1], (now() - begin) / n);
	unit_close(&u);
	return 0;
}
