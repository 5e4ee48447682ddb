// SPDX-License-Identifier: GPL-2.0
/*
 * What PCI Express devices can do beyond DMA: be virtual functions of another
 * one (those of QEMU's igb, a network card), be reset while they are behind
 * a unit, and translate addresses themselves (ATS; QEMU's virtio-rng).
 */
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "kselftest_harness.h"
#include "pollers.h"
#include "require.h"
#include "variants.h"

#define RUN(u, fn, ...) guest_run(&(u)->vm, fn, ##__VA_ARGS__)
#define NR_VFS 2

/* Registers of a virtual function, see Intel's data sheet of the 82576 */
#define VF_MBMEM	0x0800
#define VF_MAILBOX	0x0c40
#define VF_MAILBOX_REQ		BIT(0)
#define VF_MAILBOX_ACK		BIT(1)
#define VF_MAILBOX_VFU		BIT(2)
#define VF_MSG_RESET		1
#define VF_MSG_TYPE(v)		((v) & 0xff)
#define VF_MSG_REPLY(v)		((v) >> 30)	/* yes or no: it is done anyway */
#define VF_TDBAL	0x3800
#define VF_TDBAH	0x3804
#define VF_TDLEN	0x3808
#define VF_TDH		0x3810
#define VF_TDT		0x3818
#define VF_TXDCTL	0x3828
#define VF_TXDCTL_ENABLE	BIT(25)

/* Its descriptors: one that only tells it something, and to say when it did */
#define DESC_SIZE	16
#define DESC_CONTEXT	(BIT(29) | BIT(21))
#define DESC_REPORT	BIT(27)
#define DESC_DONE	BIT(0)
#define RING_SIZE	8

/**
 * struct vf - A virtual function
 * @bdf: Its PCI address
 * @fd: Its VFIO device
 * @bar: Its registers
 * @bar_size: Their size
 */
struct vf {
	char bdf[32];
	int fd;
	void *bar;
	size_t bar_size;
};

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) != strlen(text))
		FATAL("%s: %s", path, strerror(errno));
	close(fd);
}

static __u32 vf_read(struct vf *vf, __u32 reg)
{
	return READ_ONCE(*(__u32 *)(vf->bar + reg));
}

static void vf_write(struct vf *vf, __u32 reg, __u32 v)
{
	WRITE_ONCE(*(__u32 *)(vf->bar + reg), v);
}

/* The directory of the physical function */
static const char *pf(void)
{
	static char path[128];
	glob_t g;

	if (path[0])
		return path;
	if (glob("/sys/bus/pci/drivers/igb/0*", 0, NULL, &g))
		FATAL("no igb device, this test needs one");
	snprintf(path, sizeof(path), "%s", g.gl_pathv[0]);
	globfree(&g);
	return path;
}

static bool has_carrier(void)
{
	char path[192], c = '0';
	glob_t g;
	int fd;

	snprintf(path, sizeof(path), "%s/net/*/carrier", pf());
	REQUIRE(!glob(path, 0, NULL, &g));
	fd = open(g.gl_pathv[0], O_RDONLY | O_CLOEXEC);
	globfree(&g);
	REQUIRE(fd >= 0);
	/* While the interface is down it cannot be read. */
	if (read(fd, &c, 1) != 1)
		c = '0';
	close(fd);
	return c == '1';
}

static void set_numvfs(unsigned int n)
{
	char path[192], text[16];

	snprintf(path, sizeof(path), "%s/sriov_numvfs", pf());
	snprintf(text, sizeof(text), "%u", n);
	write_file(path, text);
}

/*
 * When the link comes up the driver tells all functions, over whatever else is
 * in their mailboxes: have that behind us.
 */
static void make_vfs(void)
{
	char path[192];

	snprintf(path, sizeof(path), "%s/virtfn%u", pf(), NR_VFS - 1);
	if (!access(path, F_OK))
		return;
	set_numvfs(NR_VFS);
	WAIT_FOR(has_carrier());
}

/* Have the physical function's driver let it work. */
static void vf_start(struct vf *vf)
{
	vf_write(vf, VF_MAILBOX, VF_MAILBOX_VFU);
	vf_write(vf, VF_MBMEM, VF_MSG_RESET);
	vf_write(vf, VF_MAILBOX, VF_MAILBOX_REQ);
	WAIT_FOR(VF_MSG_REPLY(vf_read(vf, VF_MBMEM)));
	REQUIRE(VF_MSG_TYPE(vf_read(vf, VF_MBMEM)) == VF_MSG_RESET);
	vf_write(vf, VF_MAILBOX, VF_MAILBOX_ACK);
}

/* Have vfio-pci take a device, from the driver that it may have, and open it. */
static int open_bound(const char *bdf)
{
	char path[256], driver[256] = "";
	glob_t g;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", bdf);
	write_file(path, "vfio-pci");
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", bdf);
	if (readlink(path, driver, sizeof(driver) - 1) < 0 || !strstr(driver, "/vfio-pci")) {
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver/unbind", bdf);
		if (driver[0])
			write_file(path, bdf);
		write_file("/sys/bus/pci/drivers_probe", bdf);
	}
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev/vfio*", bdf);
	if (glob(path, 0, NULL, &g))
		FATAL("vfio-pci did not take %s", bdf);
	snprintf(path, sizeof(path), "/dev/vfio/devices/%s",
		 strrchr(g.gl_pathv[0], '/') + 1);
	globfree(&g);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		FATAL("%s: %s", path, strerror(errno));
	return fd;
}

static void vf_open(struct vf *vf, unsigned int n, int iommufd)
{
	char path[256], link[256];
	ssize_t len;

	snprintf(path, sizeof(path), "%s/virtfn%u", pf(), n);
	len = readlink(path, link, sizeof(link) - 1);
	REQUIRE(len > 0);
	link[len] = 0;
	snprintf(vf->bdf, sizeof(vf->bdf), "%.31s", strrchr(link, '/') + 1);
	vf->fd = open_bound(vf->bdf);
	vfio_bind(vf->fd, iommufd);
	vfio_command(vf->fd, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	vf->bar = vfio_map_bar(vf->fd, &vf->bar_size);
	vf_start(vf);
}

static void vf_close(struct vf *vf)
{
	if (vf->fd < 0)
		return;
	munmap(vf->bar, vf->bar_size);
	close(vf->fd);
	vf->fd = -1;
}

/* A ring of descriptors at @iova, none of them for it yet */
static void vf_set_ring(struct vf *vf, __u64 iova)
{
	vf_write(vf, VF_TXDCTL, 0);
	vf_write(vf, VF_TDBAL, iova);
	vf_write(vf, VF_TDBAH, iova >> 32);
	vf_write(vf, VF_TDLEN, RING_SIZE * DESC_SIZE);
	vf_write(vf, VF_TDH, 0);
	vf_write(vf, VF_TDT, 0);
	vf_write(vf, VF_TXDCTL, VF_TXDCTL_ENABLE);
}

static void fill_ring(__u32 *desc)
{
	int i;

	fill_unique(desc, RING_SIZE * DESC_SIZE);
	for (i = 0; i < RING_SIZE; i++, desc += DESC_SIZE / 4) {
		desc[2] = DESC_CONTEXT | DESC_REPORT;
		desc[3] &= ~DESC_DONE;
	}
}

/*
 * Have it read a descriptor at @iova, where @gpa should be, and write it back as
 * done. If it could not read that it should report, it would not write.
 */
static enum dma_result vf_dma_once(struct vf *vf, struct unit *u, __u64 iova,
				   __u64 gpa)
{
	__u32 *desc = vm_hva(&u->vm, gpa), before[RING_SIZE * DESC_SIZE / 4];

	fill_ring(desc);
	memcpy(before, desc, sizeof(before));
	vf_set_ring(vf, iova);
	vf_write(vf, VF_TDT, 1);
	/* It does so before it looks at another register. */
	REQUIRE(vf_read(vf, VF_TDH) == 1);
	if (!memcmp(desc, before, sizeof(before)))
		return DMA_BLOCKED;
	before[3] |= DESC_DONE;
	return memcmp(desc, before, sizeof(before)) ? DMA_GARBLED : DMA_REACHED;
}

/* What it reaches only because it is stale does not count, as in dma_write(). */
static enum dma_result vf_dma(struct vf *vf, struct unit *u, __u64 iova,
			      __u64 gpa)
{
	bool stale = unit_stats_now(u).stale;
	enum dma_result res = vf_dma_once(vf, u, iova, gpa);

	if (!stale || res == DMA_BLOCKED)
		return res;
	unit_wait_stale(u);
	return vf_dma_once(vf, u, iova, gpa);
}

FIXTURE(vfs) {
	struct unit u;
	struct vf vf[NR_VFS];
};

FIXTURE_VARIANT(vfs) {
	struct unit_config config;
};

UNIT_VARIANTS(vfs);
UNIT_NESTED_MODES(vfs);

FIXTURE_SETUP(vfs)
{
	int i;

	make_vfs();
	unit_open(&self->u, &variant->config);
	RUN(&self->u, g_setup, 0);
	for (i = 0; i < NR_VFS; i++) {
		vf_open(&self->vf[i], i, self->u.iommufd);
		RUN(&self->u, g_domain, i, DID + i, 4);
		RUN(&self->u, g_map, i, IOVA, PAGE(i), 1, MAP_RW);
		RUN(&self->u, g_attach, SID(i), i);
		ASSERT_EQ(0, unit_attach(self->u.fd, self->vf[i].fd, SID(i)));
	}
	RUN(&self->u, g_enable, true);
}

FIXTURE_TEARDOWN(vfs)
{
	vf_close(&self->vf[0]);
	vf_close(&self->vf[1]);
	unit_close(&self->u);
}

/* Each goes through its own domain, though the card is one. */
TEST_F(vfs, two_domains)
{
	struct unit *u = &self->u;
	struct vf *vf = self->vf;

	EXPECT_EQ(2, unit_stats(u).domains);
	EXPECT_EQ(DMA_REACHED, vf_dma(&vf[0], u, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, vf_dma(&vf[1], u, IOVA, PAGE(1)));
	EXPECT_EQ(DMA_BLOCKED, vf_dma(&vf[0], u, IOVA, PAGE(1)));
	EXPECT_EQ(DMA_BLOCKED, vf_dma(&vf[1], u, IOVA, PAGE(0)));
	/* What is gone for one is not for the other. */
	RUN(u, g_unmap, 0, IOVA, 1, 0);
	EXPECT_EQ(DMA_BLOCKED, vf_dma(&vf[0], u, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, vf_dma(&vf[1], u, IOVA, PAGE(1)));
	RUN(u, g_map, 0, IOVA, PAGE(2), 1, MAP_RW);
	EXPECT_EQ(DMA_REACHED, vf_dma(&vf[0], u, IOVA, PAGE(2)));
	EXPECT_EQ(DMA_BLOCKED, vf_dma(&vf[0], u, IOVA, PAGE(0)));
	/* One of them is taken away. */
	ASSERT_EQ(0, unit_detach(u->fd, SID(1)));
	EXPECT_EQ(DMA_BLOCKED, vf_dma(&vf[1], u, IOVA, PAGE(1)));
	EXPECT_EQ(DMA_REACHED, vf_dma(&vf[0], u, IOVA, PAGE(2)));
	/* Without translation nothing is reached. */
	RUN(u, g_enable, false);
	EXPECT_EQ(DMA_BLOCKED, vf_dma(&vf[0], u, IOVA, PAGE(2)));
	EXPECT_EQ(DMA_BLOCKED, vf_dma(&vf[0], u, PAGE(2), PAGE(2)));
}

/* One for each of two virtual machines */
TEST_F(vfs, two_units)
{
	struct unit *u = &self->u, other;
	struct vf *vf = self->vf;

	ASSERT_EQ(0, unit_detach(u->fd, SID(1)));
	vf_close(&vf[1]);
	unit_open(&other, &variant->config);
	vf_open(&vf[1], 1, other.iommufd);
	RUN(&other, g_setup, 0);
	RUN(&other, g_domain, 0, DID, variant->config.nested ? 4 : 3);
	RUN(&other, g_map, 0, IOVA, PAGE(0), 1, MAP_RW);
	RUN(&other, g_attach, SID(0), 0);
	RUN(&other, g_enable, true);
	ASSERT_EQ(0, unit_attach(other.fd, vf[1].fd, SID(0)));

	EXPECT_EQ(DMA_REACHED, vf_dma(&vf[0], u, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, vf_dma(&vf[0], &other, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, vf_dma(&vf[1], &other, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, vf_dma(&vf[1], u, IOVA, PAGE(0)));
	RUN(&other, g_unmap, 0, IOVA, 1, 0);
	EXPECT_EQ(DMA_BLOCKED, vf_dma(&vf[1], &other, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, vf_dma(&vf[0], u, IOVA, PAGE(0)));
	vf_close(&vf[1]);
	unit_close(&other);
	EXPECT_EQ(DMA_REACHED, vf_dma(&vf[0], u, IOVA, PAGE(0)));
}

/**
 * struct hammer - A thread that has a function make DMA as often as it can
 * @vf: The function
 * @thread: The thread
 * @stop: It is to end
 * @rounds: How often it did
 */
struct hammer {
	struct vf *vf;
	pthread_t thread;
	bool stop;
	unsigned long rounds;
};

static void *hammer_thread(void *arg)
{
	struct hammer *h = arg;
	unsigned int n;

	for (n = 1; !READ_ONCE(h->stop); n++) {
		vf_write(h->vf, VF_TDT, n % RING_SIZE);
		WRITE_ONCE(h->rounds, h->rounds + 1);
	}
	return NULL;
}

static void wait_rounds(struct hammer *h, unsigned long n)
{
	unsigned long begin = READ_ONCE(h->rounds);

	WAIT_FOR(READ_ONCE(h->rounds) - begin >= n);
}

static void hammer_start(struct hammer *h, struct vf *vf)
{
	*h = (struct hammer){ .vf = vf };
	REQUIRE(!pthread_create(&h->thread, NULL, hammer_thread, h));
	wait_rounds(h, 10);
}

static void hammer_stop(struct hammer *h)
{
	WRITE_ONCE(h->stop, true);
	REQUIRE(!pthread_join(h->thread, NULL));
}

static void vf_reset(struct vf *vf)
{
	REQUIRE(!ioctl(vf->fd, VFIO_DEVICE_RESET));
}

static void vf_reset_sysfs(struct vf *vf)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/reset", vf->bdf);
	write_file(path, "1");
}

/*
 * Reset while it works and the guest changes its mind: what holds after is what
 * the guest said last, and the other function did not notice.
 */
static void check_reset(struct __test_metadata *_metadata, struct unit *u,
			struct vf *vf, void (*reset)(struct vf *vf))
{
	struct kviommu_stats before, after;
	struct hammer h;

	EXPECT_EQ(DMA_REACHED, vf_dma(&vf[0], u, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, vf_dma(&vf[1], u, IOVA, PAGE(1)));
	before = unit_stats(u);

	/* DMA while it is reset */
	fill_ring(vm_hva(&u->vm, PAGE(0)));
	vf_set_ring(&vf[0], IOVA);
	hammer_start(&h, &vf[0]);
	reset(&vf[0]);
	wait_rounds(&h, 10);
	hammer_stop(&h);
	EXPECT_EQ(DMA_REACHED, vf_dma(&vf[1], u, IOVA, PAGE(1)));
	vf_start(&vf[0]);
	EXPECT_EQ(DMA_REACHED, vf_dma(&vf[0], u, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, vf_dma(&vf[0], u, IOVA, PAGE(1)));
	after = unit_stats(u);
	EXPECT_EQ(before.pinned, after.pinned);
	EXPECT_EQ(before.mapped, after.mapped);
	EXPECT_EQ(before.domains, after.domains);
	EXPECT_EQ(before.errors, after.errors);

	/* What the guest changed before the reset stays changed. */
	RUN(u, g_unmap, 0, IOVA, 1, 0);
	RUN(u, g_map, 0, IOVA + PAGE_SIZE, PAGE(3), 1, MAP_RW);
	reset(&vf[0]);
	vf_start(&vf[0]);
	EXPECT_EQ(DMA_BLOCKED, vf_dma(&vf[0], u, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, vf_dma(&vf[0], u, IOVA + PAGE_SIZE, PAGE(3)));
	/* And it can be changed after. */
	RUN(u, g_detach, SID(0), DID);
	EXPECT_EQ(DMA_BLOCKED, vf_dma(&vf[0], u, IOVA + PAGE_SIZE, PAGE(3)));
	reset(&vf[0]);
	vf_start(&vf[0]);
	EXPECT_EQ(DMA_BLOCKED, vf_dma(&vf[0], u, IOVA + PAGE_SIZE, PAGE(3)));
	RUN(u, g_attach, SID(0), 1);
	EXPECT_EQ(DMA_REACHED, vf_dma(&vf[0], u, IOVA, PAGE(1)));
}

TEST_F(vfs, function_level_reset)
{
	check_reset(_metadata, &self->u, self->vf, vf_reset);
}

TEST_F(vfs, reset_by_sysfs)
{
	check_reset(_metadata, &self->u, self->vf, vf_reset_sysfs);
}

/* The host takes the functions away, which waits for the unit to let them go. */
TEST_F(vfs, taken_away)
{
	struct unit *u = &self->u;
	struct vf *vf = self->vf;
	char path[128];
	int status;
	pid_t pid;

	EXPECT_EQ(DMA_REACHED, vf_dma(&vf[0], u, IOVA, PAGE(0)));
	pid = fork();
	if (!pid) {
		/* What it inherited would keep the devices. */
		vf_close(&vf[0]);
		vf_close(&vf[1]);
		close(u->fd);
		set_numvfs(0);
		_exit(0);
	}
	/* It has begun when the directory of one is gone. */
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev",
		 vf[0].bdf);
	WAIT_FOR(access(path, F_OK));
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	EXPECT_EQ(DMA_REACHED, vf_dma(&vf[0], u, IOVA, PAGE(0)));
	ASSERT_EQ(0, unit_detach(u->fd, SID(0)));
	ASSERT_EQ(0, unit_detach(u->fd, SID(1)));
	vf_close(&vf[0]);
	vf_close(&vf[1]);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, unit_stats(u).devices);
}

FIXTURE(hot_reset) {
	struct unit u;
};

FIXTURE_VARIANT(hot_reset) {
	struct unit_config config;
};

UNIT_VARIANTS(hot_reset);
UNIT_NESTED_MODES(hot_reset);

FIXTURE_SETUP(hot_reset)
{
	unit_open(&self->u, &variant->config);
	unit_add_device(&self->u, 0, SID(0));
	RUN(&self->u, g_setup, 0);
	RUN(&self->u, g_domain, 0, DID, 4);
	RUN(&self->u, g_map, 0, IOVA, PAGE(0), 1, MAP_RW);
	RUN(&self->u, g_attach, SID(0), 0);
	RUN(&self->u, g_enable, true);
}

FIXTURE_TEARDOWN(hot_reset)
{
	unit_close(&self->u);
}

/* The whole bus below a root port, with a transfer under way */
TEST_F(hot_reset, translations_hold)
{
	struct vfio_pci_hot_reset reset = { .argsz = sizeof(reset) };
	struct unit *u = &self->u;
	struct kviommu_stats before, after;

	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	before = unit_stats(u);
	RUN(u, g_dma_start, 0, EDU_TO_RAM, IOVA, 0, DMA_LEN);
	ASSERT_EQ(0, ioctl(u->dev[0].fd, VFIO_DEVICE_PCI_HOT_RESET, &reset));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, IOVA, PAGE(1)));
	after = unit_stats(u);
	EXPECT_EQ(before.pinned, after.pinned);
	EXPECT_EQ(before.mapped, after.mapped);
	EXPECT_EQ(before.errors, after.errors);

	RUN(u, g_unmap, 0, IOVA, 1, 0);
	ASSERT_EQ(0, ioctl(u->dev[0].fd, VFIO_DEVICE_PCI_HOT_RESET, &reset));
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, IOVA, PAGE(0)));
	RUN(u, g_map, 0, IOVA, PAGE(2), 1, MAP_RW);
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(2)));
}

/**
 * struct rng - A virtio-rng
 * @bdf: Its PCI address
 * @fd: Its VFIO device
 * @bar: Its registers
 * @bar_size: Their size
 * @common: The registers that all virtio devices have
 * @notify: Where its queue 0 is told that there is a buffer
 */
struct rng {
	char bdf[32];
	int fd;
	void *bar;
	size_t bar_size;
	struct virtio_pci_common_cfg *common;
	__u16 *notify;
};

#define RNG_ID		"0x1af4\n0x1044\n"
/* Where its ring is; what the tests are about is another page. */
#define RING_IOVA	(IOVA + SZ_2M)
#define RING_PAGE	PAGE(60)
#define RING_ENTRIES	4

static void rng_find(char bdf[32])
{
	char path[256], id[32];
	glob_t g;
	size_t i;

	REQUIRE(!glob("/sys/bus/pci/devices/*", 0, NULL, &g));
	for (i = 0; i < g.gl_pathc; i++) {
		snprintf(path, sizeof(path), "%s/vendor", g.gl_pathv[i]);
		file_get(path, id, sizeof(id));
		snprintf(path, sizeof(path), "%s/device", g.gl_pathv[i]);
		file_get(path, id + strlen(id), sizeof(id) - strlen(id));
		if (strcmp(id, RNG_ID))
			continue;
		snprintf(bdf, 32, "%.31s", strrchr(g.gl_pathv[i], '/') + 1);
		globfree(&g);
		return;
	}
	FATAL("no virtio-rng, this test needs one");
}

static void rng_map(struct rng *rng, unsigned int bar)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = bar };

	if (rng->bar)
		return;
	REQUIRE(!ioctl(rng->fd, VFIO_DEVICE_GET_REGION_INFO, &info));
	rng->bar_size = info.size;
	rng->bar = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, rng->fd,
			info.offset);
	REQUIRE(rng->bar != MAP_FAILED);
}

static void rng_open(struct rng *rng, int iommufd)
{
	struct vfio_region_info config = {
		.argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	struct virtio_pci_notify_cap cap;
	__u32 notify = 0, factor = 0;
	__u8 at;

	*rng = (struct rng){};
	rng_find(rng->bdf);
	rng->fd = open_bound(rng->bdf);
	vfio_bind(rng->fd, iommufd);
	vfio_command(rng->fd, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	REQUIRE(!ioctl(rng->fd, VFIO_DEVICE_GET_REGION_INFO, &config));
	REQUIRE(pread(rng->fd, &at, 1, config.offset + PCI_CAPABILITY_LIST) == 1);
	for (; at; at = cap.cap.cap_next) {
		REQUIRE(pread(rng->fd, &cap, sizeof(cap), config.offset + at) == sizeof(cap));
		if (cap.cap.cap_vndr != PCI_CAP_ID_VNDR)
			continue;
		if (cap.cap.cfg_type == VIRTIO_PCI_CAP_COMMON_CFG) {
			rng_map(rng, cap.cap.bar);
			rng->common = rng->bar + cap.cap.offset;
		} else if (cap.cap.cfg_type == VIRTIO_PCI_CAP_NOTIFY_CFG) {
			notify = cap.cap.offset;
			factor = cap.notify_off_multiplier;
		}
	}
	REQUIRE(rng->common && notify);
	WRITE_ONCE(rng->common->queue_select, 0);
	rng->notify = rng->bar + notify + factor * READ_ONCE(rng->common->queue_notify_off);
}

static void rng_close(struct rng *rng)
{
	munmap(rng->bar, rng->bar_size);
	close(rng->fd);
}

/* Have it write to @iova. It has taken note, but may not have done it. */
static struct vring_used *rng_start(struct rng *rng, struct unit *u, __u64 iova)
{
	struct virtio_pci_common_cfg *c = rng->common;
	struct vring ring;

	WRITE_ONCE(c->device_status, 0);
	WAIT_FOR(!READ_ONCE(c->device_status));
	WRITE_ONCE(c->device_status, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	WRITE_ONCE(c->guest_feature_select, 0);
	WRITE_ONCE(c->guest_feature, 0);
	WRITE_ONCE(c->guest_feature_select, 1);
	WRITE_ONCE(c->guest_feature,
		   BIT(VIRTIO_F_VERSION_1 - 32) | BIT(VIRTIO_F_ACCESS_PLATFORM - 32));
	WRITE_ONCE(c->device_status, READ_ONCE(c->device_status) | VIRTIO_CONFIG_S_FEATURES_OK);
	REQUIRE(READ_ONCE(c->device_status) & VIRTIO_CONFIG_S_FEATURES_OK);

	memset(vm_hva(&u->vm, RING_PAGE), 0, PAGE_SIZE);
	vring_init(&ring, RING_ENTRIES, vm_hva(&u->vm, RING_PAGE), 64);
	ring.desc[0] = (struct vring_desc){
		.addr = iova, .len = DMA_LEN, .flags = VRING_DESC_F_WRITE,
	};
	ring.avail->idx = 1;
	WRITE_ONCE(c->queue_select, 0);
	WRITE_ONCE(c->queue_size, RING_ENTRIES);
	WRITE_ONCE(c->queue_desc_lo, RING_IOVA);
	WRITE_ONCE(c->queue_desc_hi, 0);
	WRITE_ONCE(c->queue_avail_lo, RING_IOVA + ((void *)ring.avail - (void *)ring.desc));
	WRITE_ONCE(c->queue_avail_hi, 0);
	WRITE_ONCE(c->queue_used_lo, RING_IOVA + ((void *)ring.used - (void *)ring.desc));
	WRITE_ONCE(c->queue_used_hi, 0);
	WRITE_ONCE(c->queue_enable, 1);
	WRITE_ONCE(c->device_status, READ_ONCE(c->device_status) | VIRTIO_CONFIG_S_DRIVER_OK);
	WRITE_ONCE(*rng->notify, 0);
	return ring.used;
}

/* Have it write to @iova, where @gpa should be, whatever it takes for random. */
static enum dma_result rng_dma(struct rng *rng, struct unit *u, __u64 iova, __u64 gpa)
{
	void *mem = vm_hva(&u->vm, gpa);
	struct vring_used *used;
	__u8 before[DMA_LEN];

	fill_unique(mem, DMA_LEN);
	memcpy(before, mem, DMA_LEN);
	used = rng_start(rng, u, iova);
	WAIT_FOR(READ_ONCE(used->idx) == 1);
	return memcmp(mem, before, DMA_LEN) ? DMA_REACHED : DMA_BLOCKED;
}

static void rng_reset(struct rng *rng)
{
	REQUIRE(!ioctl(rng->fd, VFIO_DEVICE_RESET));
}

FIXTURE(ats) {
	struct unit u;
	struct rng rng;
};

FIXTURE_VARIANT(ats) {
	struct unit_config config;
};

UNIT_MODES(ats);
UNIT_NESTED_MODES(ats);

FIXTURE_SETUP(ats)
{
	struct unit *u = &self->u;

	unit_open(u, &variant->config);
	rng_open(&self->rng, u->iommufd);
	RUN(u, g_setup, 0);
	RUN(u, g_domain, 0, DID, 4);
	RUN(u, g_map, 0, IOVA, PAGE(0), 2, MAP_RW);
	RUN(u, g_map, 0, RING_IOVA, RING_PAGE, 1, MAP_RW);
	RUN(u, g_attach, SID(0), 0);
	RUN(u, g_enable, true);
	ASSERT_EQ(0, unit_attach(u->fd, self->rng.fd, SID(0)));
}

FIXTURE_TEARDOWN(ats)
{
	rng_close(&self->rng);
	unit_close(&self->u);
}

#define FLUSHES TRACEFS "events/intel_iommu/cache_tag_flush_range/enable"

/* How often the host had the device drop what it had cached, since its trace was emptied */
static unsigned int device_tlb_flushes(const char *bdf)
{
	static char trace[1 << 20];
	unsigned int n = 0;
	char *line;

	file_get(TRACEFS "trace", trace, sizeof(trace));
	for (line = strtok(trace, "\n"); line; line = strtok(NULL, "\n"))
		n += strstr(line, "cache_tag_flush_range:") && strstr(line, bdf) &&
		     strstr(line, "devtlb");
	return n;
}

/* Whether the host lets the device ask for translations, by the control register of ATS */
static bool ats_enabled(const char *bdf)
{
	unsigned char config[4096] = {};
	unsigned int at = 0x100;
	char path[64];
	__u32 header;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", bdf);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	REQUIRE(fd >= 0 && read(fd, config, sizeof(config)) == sizeof(config));
	close(fd);
	for (; at; at = header >> 20) {
		memcpy(&header, config + at, sizeof(header));
		if ((header & 0xffff) == PCI_EXT_CAP_ID_ATS)
			return config[at + PCI_ATS_CTRL + 1] & (PCI_ATS_CTRL_ENABLE >> 8);
	}
	FATAL("%s has no ATS", bdf);
}

/*
 * What a guest unmaps goes from the device's own cache, too, though it does not ask for it. For
 * tables of the guest 6.12 does not turn ATS on.
 */
TEST_F(ats, device_tlb)
{
	struct unit *u = &self->u;
	struct rng *rng = &self->rng;
	struct utsname uts;
	bool ats;

	EXPECT_EQ(DMA_REACHED, rng_dma(rng, u, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, rng_dma(rng, u, IOVA + PAGE_SIZE, PAGE(1)));
	ats = ats_enabled(rng->bdf);
	ASSERT_EQ(0, uname(&uts));
	EXPECT_TRUE(ats || (u->config.nested && !strncmp(uts.release, "6.12.", 5)));
	ASSERT_EQ(0, file_put(TRACEFS "trace", ""));
	ASSERT_EQ(0, file_put(FLUSHES, "1"));
	RUN(u, g_unmap, 0, IOVA, 1, 0);
	ASSERT_EQ(0, file_put(FLUSHES, "0"));
	EXPECT_EQ(ats, device_tlb_flushes(rng->bdf) > 0);
	EXPECT_EQ(DMA_BLOCKED, rng_dma(rng, u, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, rng_dma(rng, u, IOVA + PAGE_SIZE, PAGE(1)));
	/* While it reaches nothing, not even its ring */
	RUN(u, g_detach, SID(0), DID);
	rng_start(rng, u, IOVA + PAGE_SIZE);
	RUN(u, g_attach, SID(0), 0);
	EXPECT_EQ(DMA_REACHED, rng_dma(rng, u, IOVA + PAGE_SIZE, PAGE(1)));
	EXPECT_EQ(0, unit_stats(u).errors);
}

/* The host blocks such a device while it is reset, and puts it back. */
TEST_F(ats, reset)
{
	struct unit *u = &self->u;
	struct rng *rng = &self->rng;
	struct kviommu_get_device d;
	int i;

	for (i = 0; i < 3; i++) {
		rng_start(rng, u, IOVA);
		rng_reset(rng);
		EXPECT_EQ(DMA_REACHED, rng_dma(rng, u, IOVA, PAGE(0)));
		/* What is changed before and after it */
		RUN(u, g_unmap, 0, IOVA, 1, 0);
		rng_reset(rng);
		EXPECT_EQ(DMA_BLOCKED, rng_dma(rng, u, IOVA, PAGE(0)));
		EXPECT_EQ(DMA_REACHED, rng_dma(rng, u, IOVA + PAGE_SIZE, PAGE(1)));
		RUN(u, g_map, 0, IOVA, PAGE(0), 1, MAP_RW);
		EXPECT_EQ(DMA_REACHED, rng_dma(rng, u, IOVA, PAGE(0)));
	}
	ASSERT_EQ(0, unit_get_device(u, SID(0), &d));
	EXPECT_EQ(KVIOMMU_DMA_TRANSLATED, d.out_in_force);
	EXPECT_EQ(0, unit_stats(u).errors);
}

static void *run_attach_again(void *arg)
{
	guest_run(&((struct unit *)arg)->vm, g_attach_again, SID(0), DID);
	return NULL;
}

/* The guest changes what the device goes through just then: it may be blocked for a while. */
TEST_F_TIMEOUT(ats, reset_while_guest_attaches, 120)
{
	struct unit *u = &self->u;
	struct rng *rng = &self->rng;
	struct kviommu_get_device d;
	pthread_t guest;
	__u64 seen;
	int i;

	ASSERT_EQ(0, pthread_create(&guest, NULL, run_attach_again, u));
	for (i = 0; i < 30; i++) {
		seen = READ_ONCE(u->vm.g->count);
		rng_reset(rng);
		WAIT_FOR(READ_ONCE(u->vm.g->count) != seen);
	}
	WRITE_ONCE(u->vm.g->stop, 1);
	ASSERT_EQ(0, pthread_join(guest, NULL));
	ksft_print_msg("%llu times attached, %llu errors\n", u->vm.g->count,
		       unit_stats(u).errors);
	WAIT_FOR(!unit_get_device(u, SID(0), &d) && d.out_in_force == KVIOMMU_DMA_TRANSLATED);
	EXPECT_EQ(DMA_REACHED, rng_dma(rng, u, IOVA, PAGE(0)));
	RUN(u, g_unmap, 0, IOVA, 1, 0);
	EXPECT_EQ(DMA_BLOCKED, rng_dma(rng, u, IOVA, PAGE(0)));
}

TEST_HARNESS_MAIN
