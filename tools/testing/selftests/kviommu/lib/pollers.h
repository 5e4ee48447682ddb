/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For tests of who polls: they load the module themselves, with parameters, and look at
 * its threads and at the host's CPUs.
 */
#ifndef SELFTEST_KVIOMMU_POLLERS_H
#define SELFTEST_KVIOMMU_POLLERS_H

#include <pthread.h>

#include "unit.h"

/* The domain of the guests of open_units(), what they have mapped, and what they use */
#define DID 1
#define IOVA 0x200000UL
#define SPARE 0x400000UL

#define TRACEFS "/sys/kernel/tracing/"
#define HOGS 4

/* Returns 0 or an errno. */
int file_put(const char *path, const char *text);
char *file_get(const char *path, char *text, size_t size);

/* kviommu.ko of the working directory. These return 0 or an errno. */
int module_load(const char *parameters);
void module_reload(const char *parameters);
void module_unload(void);
int set_parameter(const char *name, const char *value);
/* Its value, until the next call */
const char *parameter(const char *name);

void set_cpu(unsigned int cpu, bool online);
void move_thread(pid_t pid, unsigned int cpu);
/* The calling thread, and those that it makes */
void run_on(unsigned int cpu);

/* A thread by its name, below a directory of processes or threads; 0: there is none. */
pid_t look_for_thread(const char *dir, const char *name);
pid_t find_thread(const char *dir, const char *name);
/* The worker of the n-th unit, if that is one of this process */
pid_t worker(unsigned int n);
/* The shared thread of a CPU */
bool has_poller(unsigned int cpu);
pid_t poller(unsigned int cpu);
char thread_state(pid_t pid);
/* How long it has run, in ns: each time that it is woken adds to it. */
unsigned long thread_time(pid_t pid);

/* The CPU on which a shared thread polls the n-th unit, or -1 */
int polled_on(unsigned int n);
/* The guest writes until that is so. */
void wait_for_cpu(struct unit *u, unsigned int n, int cpu);

/* Guests that are in their steady state */
void open_units(struct unit *u, unsigned int nr, enum unit_mode mode);
/* One that maps and unmaps a page in a thread */
pthread_t start_guest(struct unit *u);
void stop_guest(struct unit *u, pthread_t thread);
/* It does so that many times more. */
void wait_for_guest(struct unit *u, unsigned long pairs);
/* Whether the unit of such a guest is trapped, and is not polled for a while */
bool stays_trapped(struct unit *u);

/* Processes that want all of a CPU */
void start_hogs(pid_t *hogs, unsigned int cpu);
void stop_hogs(pid_t *hogs);

/* Freezes all processes, for a second. Returns 0 or an errno. */
int suspend_host(void);
void suspend_begin(void);
void suspend_end(void);

#endif
