// SPDX-License-Identifier: GPL-2.0
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <linux/capability.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include "device.h"
#include "guest.h"
#include "require.h"

#define VFIO_DEVS	"/sys/bus/pci/drivers/vfio-pci/*/vfio-dev/vfio*"

static unsigned long read_hex(const char *dir, const char *name)
{
	char path[512];
	unsigned long v;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "r");
	REQUIRE(f);
	REQUIRE(fscanf(f, "%lx", &v) == 1);
	fclose(f);
	return v;
}

void edu_find(unsigned int n, char path[64], char bdf[32], unsigned int *group)
{
	char dir[256], link[256];
	unsigned int found = 0;
	ssize_t len;
	glob_t g;
	size_t i;

	if (glob(VFIO_DEVS, 0, NULL, &g))
		g.gl_pathc = 0;
	for (i = 0; i < g.gl_pathc; i++) {
		/* .../vfio-pci/0000:00:04.0/vfio-dev/vfio0 */
		char *name = strrchr(g.gl_pathv[i], '/') + 1;
		char *end = strstr(g.gl_pathv[i], "/vfio-dev/");

		snprintf(dir, sizeof(dir), "%.*s",
			 (int)(end - g.gl_pathv[i]), g.gl_pathv[i]);
		if (read_hex(dir, "vendor") != EDU_VENDOR ||
		    read_hex(dir, "device") != EDU_DEVICE)
			continue;
		if (found++ < n)
			continue;
		snprintf(path, 64, "/dev/vfio/devices/%s", name);
		snprintf(bdf, 32, "%.31s", strrchr(dir, '/') + 1);
		snprintf(dir + strlen(dir), sizeof(dir) - strlen(dir),
			 "/iommu_group");
		len = readlink(dir, link, sizeof(link) - 1);
		REQUIRE(len > 0);
		link[len] = 0;
		*group = strtoul(strrchr(link, '/') + 1, NULL, 10);
		break;
	}
	globfree(&g);
	if (found <= n)
		FATAL("%u edu devices are bound to vfio-pci, this test needs %u",
		      found, n + 1);
}

void fill_unique(void *buf, size_t size)
{
	static __u32 calls;
	struct timespec t;
	__u32 seed, *p;

	clock_gettime(CLOCK_MONOTONIC, &t);
	seed = (t.tv_nsec ^ getpid() << 20) * 2654435761u + ++calls * 0x9e3779b1u;
	for (p = buf; size; size -= sizeof(*p)) {
		seed = seed * 1664525u + 1013904223u;
		*p++ = seed | 1;
	}
}

void edu_open(struct edu *edu, unsigned int n)
{
	unsigned int group;
	char path[64];

	memset(edu, 0, sizeof(*edu));
	edu_find(n, path, edu->bdf, &group);
	edu->iommufd = -1;
	edu->fd = open(path, O_RDWR | O_CLOEXEC);
	if (edu->fd < 0)
		FATAL("%s: %s", path, strerror(errno));
}

void edu_wait(struct edu *edu)
{
	struct timespec t = { .tv_nsec = 1000000 };
	int patience = 10000;

	while (edu_dma_busy(edu->bar)) {
		REQUIRE(patience--);
		nanosleep(&t, NULL);
	}
}

__u32 vfio_bind(int fd, int iommufd)
{
	struct vfio_device_bind_iommufd bind = {
		.argsz = sizeof(bind), .iommufd = iommufd,
	};

	REQUIRE(!ioctl(fd, VFIO_DEVICE_BIND_IOMMUFD, &bind));
	return bind.out_devid;
}

void vfio_command(int fd, __u16 bits)
{
	struct vfio_region_info config = {
		.argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	__u16 cmd;

	REQUIRE(!ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &config));
	REQUIRE(pread(fd, &cmd, 2, config.offset + PCI_COMMAND) == 2);
	cmd |= bits;
	REQUIRE(pwrite(fd, &cmd, 2, config.offset + PCI_COMMAND) == 2);
}

void *vfio_map_bar(int fd, size_t *size)
{
	struct vfio_region_info bar = {
		.argsz = sizeof(bar), .index = VFIO_PCI_BAR0_REGION_INDEX,
	};
	void *p;

	REQUIRE(!ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &bar));
	p = mmap(NULL, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		 bar.offset);
	REQUIRE(p != MAP_FAILED);
	*size = bar.size;
	return p;
}

void edu_bind(struct edu *edu, int iommufd)
{
	edu->devid = vfio_bind(edu->fd, iommufd);
	edu->iommufd = iommufd;
	vfio_command(edu->fd, PCI_COMMAND_MEMORY);
	edu->bar = vfio_map_bar(edu->fd, &edu->bar_size);
	REQUIRE((READ_ONCE(*(__u32 *)(edu->bar + EDU_ID)) & 0xff) == EDU_ID_MAGIC);
	/* It knows no reset: what a former owner started is to come to nothing. */
	edu_wait(edu);
	edu_write64(edu->bar, EDU_DMA_PASID, 0);
	vfio_command(edu->fd, PCI_COMMAND_MASTER);
}

void edu_dma(struct edu *edu, bool to_ram, __u64 iova, __u64 off, __u64 len)
{
	edu_dma_start(edu->bar, to_ram, iova, off, len);
	edu_wait(edu);
}

/* What tests know of the devices' buffers: each runs in a child of the program. */
static struct seeded {
	char bdf[32];
	bool valid;
	__u8 pattern[EDU_PATTERN_SIZE];
} *seeded;

#define MAX_SEEDED 16

static void __attribute__((constructor)) share_seeded(void)
{
	seeded = mmap(NULL, MAX_SEEDED * sizeof(*seeded), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	REQUIRE(seeded != MAP_FAILED);
}

static struct seeded *find_seeded(const char *bdf)
{
	unsigned int i;

	for (i = 0; i < MAX_SEEDED; i++) {
		if (!seeded[i].bdf[0])
			snprintf(seeded[i].bdf, sizeof(seeded[i].bdf), "%s", bdf);
		if (!strcmp(seeded[i].bdf, bdf))
			return &seeded[i];
	}
	FATAL("more than %u devices", MAX_SEEDED);
}

void edu_know(struct edu *edu)
{
	struct seeded *s = find_seeded(edu->bdf);

	if (s->valid)
		memcpy(edu->pattern, s->pattern, EDU_PATTERN_SIZE);
	else
		edu_seed(edu);
}

void edu_seed(struct edu *edu)
{
	struct seeded *s = find_seeded(edu->bdf);
	__u32 ioas = ioas_alloc(edu->iommufd);
	void *page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	REQUIRE(page != MAP_FAILED);
	fill_unique(page, EDU_PATTERN_SIZE);
	memcpy(edu->pattern, page, EDU_PATTERN_SIZE);
	s->valid = false;
	REQUIRE(!ioas_map(edu->iommufd, ioas, 0x10000, page, PAGE_SIZE, IOAS_RW));
	REQUIRE(!edu_attach_ioas(edu, ioas));
	edu_dma(edu, EDU_FROM_RAM, 0x10000, 0, EDU_BUF_SIZE);
	/* And see that it is there, so that no later test can blame the device. */
	memset(page, 0, PAGE_SIZE);
	edu_dma(edu, EDU_TO_RAM, 0x10000, 0, EDU_BUF_SIZE);
	REQUIRE(!memcmp(page, edu->pattern, EDU_PATTERN_SIZE));
	memcpy(s->pattern, page, EDU_PATTERN_SIZE);
	s->valid = true;
	REQUIRE(!edu_detach_ioas(edu));
	iommufd_destroy(edu->iommufd, ioas);
	munmap(page, PAGE_SIZE);
}

void edu_close(struct edu *edu)
{
	if (edu->bar)
		munmap(edu->bar, edu->bar_size);
	edu->bar = NULL;
	if (edu->fd >= 0)
		close(edu->fd);
	edu->fd = -1;
}

bool device_is_free(unsigned int n)
{
	int iommufd = iommufd_open();
	struct edu edu;

	edu_open(&edu, n);
	edu_bind(&edu, iommufd);
	/* Attaches it to an IOAS, and has it read and write there. */
	edu_seed(&edu);
	edu_close(&edu);
	close(iommufd);
	return true;
}

int edu_attach_ioas(struct edu *edu, __u32 ioas)
{
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach), .pt_id = ioas,
	};

	if (ioctl(edu->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach))
		return errno;
	return 0;
}

int edu_detach_ioas(struct edu *edu)
{
	struct vfio_device_detach_iommufd_pt detach = { .argsz = sizeof(detach) };

	if (ioctl(edu->fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach))
		return errno;
	return 0;
}

int iommufd_open(void)
{
	int fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);

	REQUIRE(fd >= 0);
	return fd;
}

__u32 ioas_alloc(int iommufd)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };

	REQUIRE(!ioctl(iommufd, IOMMU_IOAS_ALLOC, &alloc));
	return alloc.out_ioas_id;
}

int ioas_map(int iommufd, __u32 ioas, __u64 iova, void *va, __u64 size,
	     __u32 rights)
{
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | rights,
		.ioas_id = ioas,
		.user_va = (unsigned long)va,
		.length = size,
		.iova = iova,
	};

	return ioctl(iommufd, IOMMU_IOAS_MAP, &map) ? errno : 0;
}

int ioas_unmap(int iommufd, __u32 ioas, __u64 iova, __u64 size)
{
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap),
		.ioas_id = ioas,
		.iova = iova,
		.length = size,
	};

	return ioctl(iommufd, IOMMU_IOAS_UNMAP, &unmap) ? errno : 0;
}

void iommufd_destroy(int iommufd, __u32 id)
{
	struct iommu_destroy destroy = { .size = sizeof(destroy), .id = id };

	REQUIRE(!ioctl(iommufd, IOMMU_DESTROY, &destroy));
}

long host_pins(void)
{
	int refresh = open("/proc/sys/vm/stat_refresh", O_WRONLY);
	FILE *f = fopen("/proc/vmstat", "r");
	long value, pins = 0;
	char name[64];

	/* The counters of each CPU are added up at leisure otherwise. */
	REQUIRE(refresh >= 0 && write(refresh, "1", 1) == 1);
	close(refresh);
	REQUIRE(f);
	while (fscanf(f, "%63s %ld", name, &value) == 2) {
		if (!strcmp(name, "nr_foll_pin_acquired"))
			pins += value;
		else if (!strcmp(name, "nr_foll_pin_released"))
			pins -= value;
	}
	fclose(f);
	return pins;
}

unsigned long pinned_kib(void)
{
	unsigned long kib = ~0UL;
	char line[128];
	FILE *f = fopen("/proc/self/status", "r");

	REQUIRE(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "VmPin: %lu", &kib) == 1)
			break;
	fclose(f);
	REQUIRE(kib != ~0UL);
	return kib;
}

void limit_locked_memory(unsigned long bytes)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct rlimit limit = { .rlim_cur = bytes, .rlim_max = bytes };
	struct __user_cap_data_struct data[2];

	REQUIRE(!setrlimit(RLIMIT_MEMLOCK, &limit));
	REQUIRE(!syscall(SYS_capget, &head, data));
	data[0].effective &= ~BIT(CAP_IPC_LOCK);
	REQUIRE(!syscall(SYS_capset, &head, data));
}
