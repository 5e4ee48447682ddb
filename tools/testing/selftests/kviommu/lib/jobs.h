/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Programs that can do their tests side by side: DMA is mostly waiting. With
 * KVIOMMU_JOBS=n the tests are dealt out to n processes, which share the devices
 * of the host out among them. Nothing in such a program may look at the host as a
 * whole. After kselftest_harness.h, and in place of its main().
 */
#ifndef SELFTEST_KVIOMMU_JOBS_H
#define SELFTEST_KVIOMMU_JOBS_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "device.h"
#include "require.h"

static inline void jobs_keep_share(unsigned int job, unsigned int jobs)
{
	struct __fixture_metadata *f;
	struct __test_metadata **t;
	unsigned int i = 0;

	for (f = __fixture_list; f; f = f->next)
		for (t = &f->tests; *t; )
			if (i++ % jobs == job)
				t = &(*t)->next;
			else
				*t = (*t)->next;
}

static inline pid_t jobs_start(unsigned int job, unsigned int jobs, FILE *out,
			       int argc, char **argv)
{
	char device[16];
	pid_t pid = fork();

	REQUIRE(pid >= 0);
	if (pid)
		return pid;
	REQUIRE(dup2(fileno(out), 1) == 1 && dup2(fileno(out), 2) == 2);
	snprintf(device, sizeof(device), "%u", edu_count() / jobs * job);
	setenv("KVIOMMU_DEVICE", device, 1);
	jobs_keep_share(job, jobs);
	exit(test_harness_run(argc, argv));
}

int main(int argc, char **argv)
{
	const char *env = getenv("KVIOMMU_JOBS");
	unsigned int jobs = env ? strtoul(env, NULL, 0) : 1, i;
	int status, ret = KSFT_PASS, c;
	FILE *out[8];
	pid_t pid[8];

	if (jobs < 2)
		return test_harness_run(argc, argv);
	REQUIRE(jobs <= 8);
	for (i = 0; i < jobs; i++) {
		out[i] = tmpfile();
		REQUIRE(out[i]);
		pid[i] = jobs_start(i, jobs, out[i], argc, argv);
	}
	for (i = 0; i < jobs; i++) {
		REQUIRE(waitpid(pid[i], &status, 0) == pid[i]);
		if (status)
			ret = KSFT_FAIL;
		rewind(out[i]);
		while ((c = getc(out[i])) != EOF)
			putchar(c);
		fclose(out[i]);
	}
	return ret;
}

#endif
