// SPDX-License-Identifier: GPL-2.0
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "require.h"
#include "unit.h"

int unit_open_file(void)
{
	int fd = kviommu_open();

	if (fd < 0)
		FATAL("/dev/kviommu: %s (is the module loaded?)", strerror(-fd));
	return fd;
}

int unit_ioctl(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) < 0 ? errno : 0;
}

int unit_create(int fd, int kvm_fd, int iommufd, __u32 ioas,
		const struct unit_config *config)
{
	struct kviommu_vtd_info info;
	struct kviommu_create create = {
		.kvm_fd = kvm_fd,
		.iommufd = iommufd,
		.ioas_id = ioas,
	};
	struct kviommu_create_vtd vtd = {
		.flags = config->flags,
		.aw_bits = config->aw_bits ?: 48,
	};
	int ret;

	ret = kviommu_get_vtd_info(fd, &info);
	if (ret)
		return -ret;
	vtd.cap = info.out_cap & ~config->cap_without;
	vtd.ecap = info.out_ecap & ~config->ecap_without;
	if (!config->nested) {
		vtd.cap &= ~(VTD_CAP_FS1GP | VTD_CAP_FS5LP);
		vtd.ecap &= ~VTD_ECAP_SCALABLE;
	}
	/* Without PASIDs unless they are wanted; more than the host has are refused. */
	vtd.ecap &= ~(VTD_ECAP_PASID | VTD_ECAP_PSS);
	if (config->pasid_bits)
		vtd.ecap |= VTD_ECAP_PASID | VTD_ECAP_PASID_BITS(config->pasid_bits);
	return -kviommu_create_vtd(fd, &create, &vtd);
}

struct kviommu_policy unit_policy(struct unit *u)
{
	struct kviommu_policy p;

	REQUIRE(!kviommu_get_policy(u->fd, &p));
	return p;
}

struct kviommu_policy unit_wanted_policy(struct unit *u)
{
	struct kviommu_policy p;

	REQUIRE(!kviommu_get_wanted_policy(u->fd, &p));
	return p;
}

struct kviommu_stats unit_stats_now(struct unit *u)
{
	struct kviommu_stats stats;

	REQUIRE(!kviommu_read_stats(u->stats_fd, &stats));
	return stats;
}

struct kviommu_stats unit_stats(struct unit *u)
{
	if (u->config.strategy != KVIOMMU_STRATEGY_STRICT)
		unit_wait_stale(u);
	return unit_stats_now(u);
}

void unit_wait_stale(struct unit *u)
{
	int patience = 10000;

	while (unit_stats_now(u).stale) {
		REQUIRE(patience--);
		usleep(1000);
	}
}

void unit_show(struct unit *u)
{
	if (!u->vm.g->polls)
		return;
	guest_run(&u->vm, g_settle);
	REQUIRE(!unit_arm(u->fd, u->vm.g->regs));
}

bool unit_flush_polled(struct unit *u)
{
	struct kviommu_stats a, b;

	a = unit_stats_now(u);
	guest_run(&u->vm, g_flush);
	b = unit_stats_now(u);
	return b.polled && (u->config.mode == UNIT_MODE_ADAPTIVE ||
				a.reg_writes == b.reg_writes);
}

void unit_poll(struct unit *u)
{
	while (u->vm.g->polls && guest_run(&u->vm, g_pollable) &&
	       !unit_flush_polled(u))
		;
}

unsigned int unit_workers(pid_t tid[], unsigned int max)
{
	char path[64], name[32], end;
	unsigned int n = 0, id;
	struct dirent *e;
	DIR *dir = opendir("/proc/self/task");
	FILE *f;

	REQUIRE(dir);
	while ((e = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/self/task/%.20s/comm", e->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		/* Not kviommu-poll/CPU */
		if (fgets(name, sizeof(name), f) &&
		    sscanf(name, "kviommu-%u%c", &id, &end) == 2 && end == '\n') {
			if (n < max)
				tid[n] = atoi(e->d_name);
			n++;
		}
		fclose(f);
	}
	closedir(dir);
	return n;
}

unsigned long unit_wakeups(pid_t tid)
{
	unsigned long n = ~0UL;
	char line[128];
	FILE *f;

	snprintf(line, sizeof(line), "/proc/self/task/%d/status", tid);
	f = fopen(line, "r");
	REQUIRE(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "voluntary_ctxt_switches: %lu", &n) == 1)
			break;
	fclose(f);
	REQUIRE(n != ~0UL);
	return n;
}

void unit_map_regs(struct unit *u)
{
	REQUIRE(!vm_set_slot(&u->vm, VM_SLOT_REGS, GPA_REGS, u->regs, PAGE_SIZE, 0));
	REQUIRE(!unit_arm(u->fd, GPA_REGS));
}

/* How many pieces of the host's memory these pages are */
static unsigned int pieces(const __u8 *mem, unsigned int n)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	unsigned long page = (unsigned long)mem / PAGE_SIZE;
	__u64 entry, last = 0;
	unsigned int i, count = 0;

	REQUIRE(fd >= 0);
	for (i = 0; i < n; i++, page++) {
		REQUIRE(pread(fd, &entry, 8, page * 8) == 8);
		/* The frame's number */
		entry &= BIT(55) - 1;
		REQUIRE(entry);
		count += entry != last + 1;
		last = entry;
	}
	close(fd);
	return count;
}

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

void *unit_high_memory(struct unit *u, size_t size)
{
	unsigned int i;
	__u8 *mem = mmap(NULL, size + SZ_2M, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	REQUIRE(mem != MAP_FAILED);
	mem = (void *)(((unsigned long)mem + SZ_2M - 1) & -SZ_2M);
	memset(mem, 1, size);
	/* Memory may be in pieces that somebody uses just now. */
	for (i = 0; i < 100 && madvise(mem, size, MADV_COLLAPSE); i++)
		usleep(10000);
	REQUIRE(pieces(mem, size / PAGE_SIZE) <= size / SZ_2M);
	REQUIRE(!vm_set_slot(&u->vm, VM_SLOT_HIGH, GPA_HIGH, mem, size, 0));
	REQUIRE(!ioas_map(u->iommufd, u->ioas, GPA_HIGH, mem, size, IOAS_RW));
	return mem;
}

void unit_open(struct unit *u, const struct unit_config *config)
{
	const struct kviommu_policy policy = {
		.mask = KVIOMMU_POLICY_MODE | KVIOMMU_POLICY_STRATEGY,
		.mode = config->mode,
		.strategy = config->strategy,
	};
	int err;

	memset(u, 0, sizeof(*u));
	u->config = *config;
	vm_open(&u->vm);
	u->iommufd = iommufd_open();
	u->ioas = ioas_alloc(u->iommufd);
	if (!config->no_ram)
		REQUIRE(!ioas_map(u->iommufd, u->ioas, 0, u->vm.ram,
				  GPA_RAM_END, IOAS_RW));
	u->fd = unit_open_file();
	err = unit_create(u->fd, u->vm.fd, u->iommufd, u->ioas, config);
	if (err)
		FATAL("KVIOMMU_CREATE: %s", strerror(err));
	u->stats_fd = kviommu_open_stats(u->fd);
	if (u->stats_fd < 0)
		FATAL("KVIOMMU_GET_STATS_FD: %s", strerror(-u->stats_fd));
	REQUIRE(!unit_set_policy(u, &policy));
	REQUIRE(!kviommu_map_regs(u->fd, &u->regs, NULL));
	u->cap = READ_ONCE(*(__u64 *)(u->regs + VTD_CAP));
	u->ecap = READ_ONCE(*(__u64 *)(u->regs + VTD_ECAP));
	u->vm.g->scalable = config->nested;
	u->vm.g->polls = policy.mode != KVIOMMU_MODE_TRAP;
	if (!config->no_arm)
		unit_map_regs(u);
}

static int ready[2];

void unit_ready(void)
{
	REQUIRE(write(ready[1], "", 1) == 1);
}

void unit_kill(void (*vmm)(const void *arg), const void *arg)
{
	long pins = host_pins();
	int status;
	pid_t pid;
	char c;

	REQUIRE(!pipe(ready));
	pid = fork();
	REQUIRE(pid >= 0);
	if (!pid) {
		vmm(arg);
		for (;;)
			pause();
	}
	close(ready[1]);
	/* Nothing to be read is a VMM that failed. */
	REQUIRE(read(ready[0], &c, 1) == 1);
	close(ready[0]);
	REQUIRE(!kill(pid, SIGKILL));
	REQUIRE(waitpid(pid, &status, 0) == pid);
	REQUIRE(WIFSIGNALED(status));
	if (host_pins() != pins)
		FATAL("%ld frames stay pinned", host_pins() - pins);
}

unsigned int unit_open_device(struct unit *u, unsigned int n, __u32 sid)
{
	unsigned int i = u->ndev++;
	struct edu *edu = &u->dev[i];
	__u64 gpa = GPA_BAR + i * GPA_BAR_STEP;

	REQUIRE(i < GUEST_MAX_DEVICES);
	edu_open(edu, n);
	edu_bind(edu, u->iommufd);
	edu_know(edu);
	REQUIRE(!vm_set_slot(&u->vm, VM_SLOT_BAR + i, gpa, edu->bar,
			     edu->bar_size, 0));
	u->vm.g->bar[i] = gpa;
	u->vm.g->bar_end = u->ndev;
	u->sid[i] = sid;
	return i;
}

unsigned int unit_add_device(struct unit *u, unsigned int n, __u32 sid)
{
	unsigned int i = unit_open_device(u, n, sid);
	int err = unit_attach(u->fd, u->dev[i].fd, sid);

	if (err)
		FATAL("KVIOMMU_ATTACH_DEVICE of %s: %s", u->dev[i].bdf,
		      strerror(err));
	return i;
}

void unit_open_guest(struct unit *u, const struct unit_config *config,
		     unsigned int did, __u64 iova)
{
	unit_open(u, config);
	unit_add_device(u, 0, SID(0));
	guest_run(&u->vm, g_setup, 0);
	guest_run(&u->vm, g_domain, 0, did, 4);
	guest_run(&u->vm, g_map, 0, iova, PAGE(0), 1, MAP_RW);
	guest_run(&u->vm, g_attach, SID(0), 0);
}

void unit_close(struct unit *u)
{
	unsigned int i;

	/* As QEMU's exit does it, more or less: the lifecycle tests do others. */
	for (i = 0; i < u->ndev; i++)
		edu_close(&u->dev[i]);
	munmap(u->regs, PAGE_SIZE);
	close(u->stats_fd);
	close(u->fd);
	close(u->iommufd);
	vm_close(&u->vm);
}

static enum dma_result compare(const void *got, const void *want, __u64 len)
{
	const __u32 *g = got, *w = want;
	__u64 i, same = 0;

	for (i = 0; i < len / 4; i++)
		same += g[i] == w[i];
	if (same == len / 4)
		return DMA_REACHED;
	return same ? DMA_GARBLED : DMA_BLOCKED;
}

void dma_run(struct unit *u, unsigned int dev, bool to_ram, __u64 iova,
	     __u64 off, __u64 len)
{
	guest_run(&u->vm, g_dma_start, dev, to_ram, iova, off, len);
	edu_wait(&u->dev[dev]);
}

static bool has_stale(struct unit *u)
{
	return u->config.strategy != KVIOMMU_STRATEGY_STRICT &&
	       unit_stats_now(u).stale;
}

static enum dma_result write_once(struct unit *u, unsigned int dev, __u64 iova,
				  void *mem, __u64 len)
{
	__u8 before[EDU_PATTERN_SIZE];
	enum dma_result res;

	REQUIRE(len <= EDU_PATTERN_SIZE);
	fill_unique(mem, len);
	memcpy(before, mem, len);
	dma_run(u, dev, EDU_TO_RAM, iova, 0, len);
	res = compare(mem, u->dev[dev].pattern, len);
	/* Something else than what the device sent is as bad. */
	if (res == DMA_BLOCKED && memcmp(mem, before, len))
		return DMA_GARBLED;
	return res;
}

enum dma_result dma_write_now(struct unit *u, unsigned int dev, __u64 iova,
			      __u64 gpa)
{
	return write_once(u, dev, iova, vm_hva(&u->vm, gpa), DMA_LEN);
}

enum dma_result dma_write_to(struct unit *u, unsigned int dev, __u64 iova,
			     void *mem, __u64 len)
{
	bool stale = has_stale(u);
	enum dma_result res = write_once(u, dev, iova, mem, len);

	if (!stale || res == DMA_BLOCKED)
		return res;
	unit_wait_stale(u);
	return write_once(u, dev, iova, mem, len);
}

enum dma_result dma_write_len(struct unit *u, unsigned int dev, __u64 iova,
			      __u64 gpa, __u64 len)
{
	return dma_write_to(u, dev, iova, vm_hva(&u->vm, gpa), len);
}

enum dma_result dma_write(struct unit *u, unsigned int dev, __u64 iova,
			  __u64 gpa)
{
	return dma_write_len(u, dev, iova, gpa, DMA_LEN);
}

static enum dma_result read_once(struct unit *u, unsigned int dev, __u64 iova,
				 __u64 gpa, __u64 bounce, __u64 bounce_gpa,
				 __u64 len)
{
	void *mem = vm_hva(&u->vm, gpa), *back = vm_hva(&u->vm, bounce_gpa);
	__u8 before[EDU_BUF_SIZE - EDU_PATTERN_SIZE];

	REQUIRE(len <= sizeof(before));
	fill_unique(mem, len);
	dma_run(u, dev, EDU_FROM_RAM, iova, EDU_PATTERN_SIZE, len);
	fill_unique(back, len);
	memcpy(before, back, len);
	dma_run(u, dev, EDU_TO_RAM, bounce, EDU_PATTERN_SIZE, len);
	/* Without a way back nothing is known: do not take that for blocked. */
	if (!memcmp(back, before, len))
		FATAL("device %u does not reach the bounce page", dev);
	return compare(back, mem, len);
}

enum dma_result dma_read_len(struct unit *u, unsigned int dev, __u64 iova,
			     __u64 gpa, __u64 bounce, __u64 bounce_gpa,
			     __u64 len)
{
	bool stale = has_stale(u);
	enum dma_result res = read_once(u, dev, iova, gpa, bounce, bounce_gpa, len);

	if (!stale || res == DMA_BLOCKED)
		return res;
	unit_wait_stale(u);
	return read_once(u, dev, iova, gpa, bounce, bounce_gpa, len);
}

enum dma_result dma_read(struct unit *u, unsigned int dev, __u64 iova,
			 __u64 gpa, __u64 bounce, __u64 bounce_gpa)
{
	return dma_read_len(u, dev, iova, gpa, bounce, bounce_gpa, DMA_LEN);
}
