// SPDX-License-Identifier: GPL-2.0
/*
 * Two virtual machines whose RAM together is more than the host has, with a device
 * each: only what the devices use is pinned, the rest can be swapped out. With
 * devices that reach all of their RAM, all of that is pinned, and the second one
 * cannot start. The host has a disk for swap, at virtio-blk.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "require.h"
#include "unit.h"

#define SWAP "/dev/vda"
#define DID 1
#define IOVA 0x200000UL
#define FROM 0x400000UL
#define TO 0x401000UL
#define ROUNDS 60
#define NR_WORDS 8

/* A line of /proc/meminfo, in bytes */
static unsigned long memory(const char *what)
{
	FILE *f = fopen("/proc/meminfo", "r");
	unsigned long kib;
	char name[64];

	REQUIRE(f);
	while (fscanf(f, "%63[^:]: %lu%*[^\n]\n", name, &kib) == 2) {
		if (!strcmp(name, what)) {
			fclose(f);
			return kib << 10;
		}
	}
	FATAL("no %s", what);
}

static unsigned long swapped(void)
{
	return memory("SwapTotal") - memory("SwapFree");
}

/* The header of a swap device, which the kernel has no name for in its UAPI */
static void make_swap(void)
{
	int fd = open(SWAP, O_RDWR | O_CLOEXEC);
	__u32 head[PAGE_SIZE / 4] = { 0 };
	off_t size;

	REQUIRE(fd >= 0);
	size = lseek(fd, 0, SEEK_END);
	REQUIRE(size > 0);
	/* Version and last page, behind 1024 bytes for a boot loader */
	head[256] = 1;
	head[257] = size / PAGE_SIZE - 1;
	memcpy((void *)head + PAGE_SIZE - 10, "SWAPSPACE2", 10);
	REQUIRE(pwrite(fd, head, PAGE_SIZE, 0) == PAGE_SIZE);
	REQUIRE(!fsync(fd));
	close(fd);
	REQUIRE(!swapon(SWAP, 0));
}

/* A page says which it was at first; and where in the page it says so differs. */
static inline __u64 *words(void *page, __u64 n)
{
	return (__u64 *)page + n % 500;
}

static inline __u64 word(__u64 n, __u64 i)
{
	return (n * NR_WORDS + i + 1) * 0x9e3779b97f4a7c15ULL;
}

static __u64 g_fill(struct guest *g, __u64 gpa, __u64 pages)
{
	__u64 n, i;

	for (n = 0; n < pages; n++)
		for (i = 0; i < NR_WORDS; i++)
			WRITE_ONCE(words((void *)(gpa + n * PAGE_SIZE), n)[i],
				   word(n, i));
	return 0;
}

/* Have the device copy from page to page: what moves is where they say it. */
static __u64 g_copy(struct guest *g, __u64 from, __u64 to, __u64 offset)
{
	const __u64 len = NR_WORDS * sizeof(__u64);

	g_map(g, 0, FROM, from, 1, MAP_R);
	g_map(g, 0, TO, to, 1, MAP_RW);
	g_dma(g, 0, EDU_FROM_RAM, FROM + offset, EDU_BUF_SIZE / 2, len);
	g_dma(g, 0, EDU_TO_RAM, TO + offset, EDU_BUF_SIZE / 2, len);
	g_unmap(g, 0, FROM, 1, 0);
	return g_unmap(g, 0, TO, 1, 0);
}

/**
 * struct machine - A virtual machine with more RAM than it ought to have
 * @u: Its unit, with a device
 * @ram: Its RAM at GPA_HIGH
 * @pages: How many pages that are
 * @from: For each of them, of which page it has the contents
 */
struct machine {
	struct unit u;
	__u8 *ram;
	__u64 pages;
	__u32 *from;
};

static void *allocate(unsigned long size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	REQUIRE(p != MAP_FAILED);
	return p;
}

/* In pieces, as the limit of locked memory is looked at for each of them. */
static void map_ram(int iommufd, __u32 ioas, __u8 *ram, __u64 size)
{
	__u64 done, n;

	for (done = 0; done < size; done += n) {
		n = size - done < 8 * SZ_2M ? size - done : 8 * SZ_2M;
		REQUIRE(!ioas_map(iommufd, ioas, GPA_HIGH + done, ram + done, n,
				  IOAS_RW));
	}
}

static void start(struct machine *m, unsigned int device, __u64 size)
{
	const struct unit_config config = { .mode = UNIT_MODE_ADAPTIVE };
	__u64 n;

	m->pages = size / PAGE_SIZE;
	m->ram = allocate(size);
	m->from = allocate(m->pages * sizeof(*m->from));
	for (n = 0; n < m->pages; n++)
		m->from[n] = n;
	unit_open(&m->u, &config);
	REQUIRE(!vm_set_slot(&m->u.vm, VM_SLOT_HIGH, GPA_HIGH, m->ram, size, 0));
	map_ram(m->u.iommufd, m->u.ioas, m->ram, size);
	unit_add_device(&m->u, device, SID(0));
	guest_run(&m->u.vm, g_setup, 0);
	guest_run(&m->u.vm, g_domain, 0, DID, 4);
	guest_run(&m->u.vm, g_map, 0, IOVA, PAGE(0), 1, MAP_RW);
	guest_run(&m->u.vm, g_attach, SID(0), 0);
	guest_run(&m->u.vm, g_enable, true);
	guest_run(&m->u.vm, g_fill, GPA_HIGH, m->pages);
}

static void check_page(struct machine *m, __u64 n)
{
	const __u64 *w = words(m->ram + n * PAGE_SIZE, m->from[n]);
	__u64 i, got;

	for (i = 0; i < NR_WORDS; i++) {
		got = READ_ONCE(w[i]);
		if (got != word(m->from[n], i))
			FATAL("page %llu: 0x%llx is not what page %u had",
			      n, got, m->from[n]);
	}
}

/* Buffers all over the place, most of them swapped out by then */
static void work(struct machine *m)
{
	unsigned int round;
	__u64 from, to;

	for (round = 0; round < ROUNDS; round++) {
		from = random() % m->pages;
		to = random() % m->pages;
		if (from == to)
			continue;
		guest_run(&m->u.vm, g_copy, GPA_HIGH + from * PAGE_SIZE,
			  GPA_HIGH + to * PAGE_SIZE,
			  m->from[from] % 500 * sizeof(__u64));
		m->from[to] = m->from[from];
		check_page(m, to);
	}
}

static void finish(struct machine *m)
{
	struct kviommu_stats s = unit_stats(&m->u);
	__u64 n;

	REQUIRE(!s.errors && !s.limits);
	REQUIRE(s.maps >= 2 * ROUNDS - 2);
	/* At no time was more pinned than for the buffers and what is kept. */
	REQUIRE(s.pinned_peak < m->pages / 20);
	for (n = 0; n < m->pages; n++)
		check_page(m, n);
	unit_close(&m->u);
}

/* A device that reaches all of the RAM, as without a virtual IOMMU */
static int start_pinned(unsigned int device, __u64 size)
{
	__u8 *ram = allocate(size);
	struct edu edu;
	__u32 ioas;

	edu_open(&edu, device);
	edu_bind(&edu, iommufd_open());
	ioas = ioas_alloc(edu.iommufd);
	map_ram(edu.iommufd, ioas, ram, size);
	return edu_attach_ioas(&edu, ioas);
}

FIXTURE(overcommit) {
	__u64 host;
	__u64 ram;
	int go[2];
	int ready[2];
};

FIXTURE_SETUP(overcommit)
{
	self->host = memory("MemTotal");
	self->ram = self->host * 2 / 3 & -SZ_2M;
	make_swap();
	limit_locked_memory(self->host / 5 * 4);
	ASSERT_EQ(0, pipe(self->go));
	ASSERT_EQ(0, pipe(self->ready));
}

FIXTURE_TEARDOWN(overcommit)
{
	EXPECT_EQ(0, swapoff(SWAP));
}

/* One child after the other comes to the point where it says so. */
static pid_t run_child(FIXTURE_DATA(overcommit) * self, unsigned int device,
		       char (*child)(FIXTURE_DATA(overcommit) * self,
				     unsigned int device), char *answer)
{
	pid_t pid = fork();

	REQUIRE(pid >= 0);
	if (!pid) {
		close(self->go[1]);
		*answer = child(self, device);
		_exit(*answer);
	}
	if (read(self->ready[0], answer, 1) != 1)
		FATAL("machine %u did not start", device);
	return pid;
}

/* Wait until the parent closes its end. */
static void stop_here(FIXTURE_DATA(overcommit) * self, char answer)
{
	char c;

	REQUIRE(write(self->ready[1], &answer, 1) == 1);
	REQUIRE(!read(self->go[0], &c, 1));
}

static char behind_unit(FIXTURE_DATA(overcommit) * self, unsigned int device)
{
	struct machine m;

	start(&m, device, self->ram);
	stop_here(self, 0);
	work(&m);
	finish(&m);
	return 0;
}

static char all_pinned(FIXTURE_DATA(overcommit) * self, unsigned int device)
{
	stop_here(self, start_pinned(device, self->ram));
	return 0;
}

static void let_go(FIXTURE_DATA(overcommit) * self, const pid_t pid[2])
{
	int i, status;

	close(self->go[1]);
	for (i = 0; i < 2; i++) {
		REQUIRE(waitpid(pid[i], &status, 0) == pid[i]);
		if (!WIFEXITED(status) || WEXITSTATUS(status))
			FATAL("machine %d: status 0x%x", i, status);
	}
}

TEST_F_TIMEOUT(overcommit, pinned_by_vfio, 900)
{
	pid_t pid[2];
	char answer;

	pid[0] = run_child(self, 0, all_pinned, &answer);
	EXPECT_EQ(0, answer);
	pid[1] = run_child(self, 1, all_pinned, &answer);
	EXPECT_EQ(ENOMEM, answer);
	let_go(self, pid);
}

/* If memory had run out the kernel had killed one of them, and said so. */
TEST_F_TIMEOUT(overcommit, behind_units, 900)
{
	pid_t pid[2];
	char answer;

	pid[0] = run_child(self, 0, behind_unit, &answer);
	EXPECT_EQ(0, answer);
	pid[1] = run_child(self, 1, behind_unit, &answer);
	EXPECT_EQ(0, answer);
	/* Both are there, so a good part is not in memory. */
	EXPECT_LT(2 * self->ram - self->host, swapped());
	TH_LOG("host_mib=%llu ram_mib=%llu swapped_mib=%lu", self->host >> 20,
	       self->ram >> 20, swapped() >> 20);
	let_go(self, pid);
}

TEST_HARNESS_MAIN
