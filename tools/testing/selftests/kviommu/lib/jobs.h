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

#define MAX_JOBS 8

/**
 * struct job - A process that does a part of the tests
 * @argv: This program's arguments but the first, which choose them; then NULL
 * @argc: How many there are
 * @out: What it prints
 * @pid: The process
 */
struct job {
	char **argv;
	int argc;
	FILE *out;
	pid_t pid;
};

static inline void job_add(struct job *job, const char *fixture,
			   const char *variant, const char *test)
{
	job->argv = realloc(job->argv, (job->argc + 3) * sizeof(char *));
	REQUIRE(job->argv);
	if (!job->argc)
		job->argv[job->argc++] = "job";
	REQUIRE(asprintf(&job->argv[job->argc++], "-r%s.%s%s%s", fixture,
			 variant, *variant ? "." : "", test) > 0);
	job->argv[job->argc] = NULL;
}

/* Those of all tests that our own arguments choose, one after the other */
static inline void jobs_deal_out(struct job *job, unsigned int jobs, int argc,
				 char **argv)
{
	struct __fixture_variant_metadata none = { .name = "" }, *v;
	struct __fixture_metadata *f;
	struct __test_metadata *t;
	unsigned int i = 0;

	for (f = __fixture_list; f; f = f->next)
		for (v = f->variant ?: &none; v; v = v->next)
			for (t = f->tests; t; t = t->next)
				if (test_enabled(argc, argv, f, v, t))
					job_add(&job[i++ % jobs], f->name,
						v->name, t->name);
}

/* A program of its own: the harness shares its state with what it forks. */
static inline void job_start(struct job *job, unsigned int device)
{
	char text[16];

	job->out = tmpfile();
	REQUIRE(job->out);
	job->pid = fork();
	REQUIRE(job->pid >= 0);
	if (job->pid)
		return;
	REQUIRE(dup2(fileno(job->out), 1) == 1 && dup2(fileno(job->out), 2) == 2);
	snprintf(text, sizeof(text), "%u", device);
	setenv("KVIOMMU_DEVICE", text, 1);
	unsetenv("KVIOMMU_JOBS");
	execv("/proc/self/exe", job->argv);
	FATAL("%s", strerror(errno));
}

static inline int job_end(struct job *job)
{
	int status, c;

	REQUIRE(waitpid(job->pid, &status, 0) == job->pid);
	rewind(job->out);
	while ((c = getc(job->out)) != EOF)
		putchar(c);
	fclose(job->out);
	return status;
}

int main(int argc, char **argv)
{
	const char *env = getenv("KVIOMMU_JOBS");
	unsigned int jobs = env ? strtoul(env, NULL, 0) : 1, i;
	struct job job[MAX_JOBS] = { 0 };
	int ret;

	if (jobs < 2)
		return test_harness_run(argc, argv);
	REQUIRE(jobs <= MAX_JOBS);
	ret = test_harness_argv_check(argc, argv);
	if (ret != KSFT_PASS)
		return ret;
	jobs_deal_out(job, jobs, argc, argv);
	for (i = 0; i < jobs && job[i].argc; i++)
		job_start(&job[i], edu_count() / jobs * i);
	for (i = 0; i < jobs && job[i].argc; i++)
		if (job_end(&job[i]))
			ret = KSFT_FAIL;
	return ret;
}

#endif
