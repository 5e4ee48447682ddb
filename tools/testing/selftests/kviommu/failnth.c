// SPDX-License-Identifier: GPL-2.0
/*
 * All that can fail does, one after the other: each allocation that an ioctl
 * or the guest's register write leads to (of the thread that makes it, in any
 * part of the kernel), and each call of KVM, VFIO, iommufd and the IOMMU API
 * that the module marks with ALLOW_ERROR_INJECTION(). What failed is told as
 * documented, can be done again, and leaves nothing behind; and at no time does
 * a device reach what it must not.
 *
 * Needs a kernel with fault injection.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "kselftest_harness.h"
#include "require.h"
#include "unit.h"

#define FAULT_DIR	"/sys/kernel/debug/"
#define RUN(fn, ...)	guest_run(&u->vm, fn, ##__VA_ARGS__)

#define DID	1
#define IOVA	0x200000UL	/* leads to PAGE(0), whatever happens elsewhere */
#define NEW(n)	((n) * SZ_1G)	/* where no tables are, the host's included */
#define REGS2	(GPA_REGS + 0x10000UL)

/* All calls from the n-th on, as good as for ever */
#define ALWAYS	100000

/**
 * struct failure - What is to fail
 * @times: How many calls of the module's into the host in a row; 0 stands for
 *         one allocation
 * @err: What the calls return
 */
struct failure {
	int times;
	int err;
};

static void write_file(const char *name, const char *value)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), FAULT_DIR "%s", name);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		FATAL("%s: %s (is fault injection built in?)", path,
		      strerror(errno));
	if (write(fd, value, strlen(value)) != strlen(value))
		FATAL("%s: %s", path, strerror(errno));
	close(fd);
}

static void write_number(const char *name, long value)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", value);
	write_file(name, text);
}

static long read_number(const char *name)
{
	char path[256];
	long value;
	FILE *f;

	snprintf(path, sizeof(path), FAULT_DIR "%s", name);
	f = fopen(path, "r");
	REQUIRE(f);
	REQUIRE(fscanf(f, "%ld", &value) == 1);
	fclose(f);
	return value;
}

/* Every function of the module that is marked */
static void inject_calls(int err)
{
	FILE *f = fopen(FAULT_DIR "error_injection/list", "r");
	char line[256], fn[64], name[128], value[32];
	unsigned int n = 0;

	REQUIRE(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63s [kviommu]", fn) != 1 ||
		    !strstr(line, "[kviommu]"))
			continue;
		snprintf(name, sizeof(name), "kviommu:%s", fn);
		write_file("fail_function/inject", name);
		snprintf(name, sizeof(name), "fail_function/kviommu:%s/retval", fn);
		/* Unsigned, it will have it. */
		snprintf(value, sizeof(value), "0x%lx", -(long)err);
		write_file(name, value);
		n++;
	}
	fclose(f);
	REQUIRE(n);
}

static void inject_setup(const struct failure *what)
{
	static const char *const kinds[] = {
		"failslab", "fail_page_alloc", "fail_function",
	};
	char name[64];
	unsigned int i;

	for (i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%s/verbose", kinds[i]);
		write_number(name, 0);
	}
	write_file("failslab/ignore-gfp-wait", "N");
	write_file("fail_page_alloc/ignore-gfp-wait", "N");
	write_number("fail_page_alloc/min-order", 0);
	write_number("fail_function/times", 0);
	write_number("fail_function/probability", 100);
	write_file("fail_function/inject", "\n");
	if (what->times)
		inject_calls(what->err);
}

/**
 * struct fails - What fails now
 * @u: The unit, with one device
 * @what: The kind of failures
 * @fd: The thread's fail-nth
 * @limit: Eventfd of KVIOMMU_EVENT_LIMIT
 * @control: Of KVIOMMU_EVENT_CONTROL
 * @n: Which is to fail
 * @hit: It did; there may be more than @n of them
 * @injected: How many did
 * @seen: How many of these had a consequence that can be seen
 * @before: Counters of the unit before
 */
struct fails {
	struct unit *u;
	struct failure what;
	int fd;
	int limit;
	int control;
	unsigned int n;
	bool hit;
	unsigned int injected;
	unsigned int seen;
	struct kviommu_stats before;
};

static __u64 signals(int fd)
{
	__u64 n;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

/* From here on the n-th fails. */
static void fail_begin(struct fails *f)
{
	char n[16];

	signals(f->limit);
	signals(f->control);
	f->before = unit_stats(f->u);
	f->u->vm.starved = true;
	if (f->what.times) {
		write_number("fail_function/space", f->n);
		write_number("fail_function/times", f->what.times);
		return;
	}
	snprintf(n, sizeof(n), "%u", f->n);
	REQUIRE(pwrite(f->fd, n, strlen(n), 0) == strlen(n));
}

/* What the guest did not get is counted, and told if the host lacked memory. */
static int fail_end(struct fails *f, int err)
{
	struct kviommu_stats now;
	__u64 errors, limits;
	char left[16] = "";

	if (f->what.times) {
		f->hit = read_number("fail_function/times") < f->what.times;
		write_number("fail_function/times", 0);
	} else {
		REQUIRE(pread(f->fd, left, sizeof(left) - 1, 0) > 0);
		REQUIRE(pwrite(f->fd, "0", 1, 0) == 1);
		f->hit = !atoi(left);
	}
	f->u->vm.starved = false;
	now = unit_stats(f->u);
	errors = now.errors - f->before.errors;
	limits = now.limits - f->before.limits;
	if (err && err != f->what.err)
		FATAL("failure %u: %s", f->n, strerror(err));
	if ((err || errors) && !f->hit)
		FATAL("failure %u was none, but %d, %llu errors", f->n, err,
		      errors);
	if (limits != (f->what.err == ENOMEM ? errors : 0) ||
	    !limits != !signals(f->limit))
		FATAL("failure %u: %llu errors, %llu of them at a limit", f->n,
		      errors, limits);
	f->injected += f->hit;
	f->seen += err || errors;
	return err;
}

/* Its value is 0 or the errno that is documented. */
#define FAILING(call) ({ fail_begin(f); fail_end(f, call); })

static bool again(struct fails *f)
{
	if (f->n == 1) {
		f->injected = 0;
		f->seen = 0;
		return true;
	}
	if (!f->hit)
		ksft_print_msg("%u failed, %u of them seen\n", f->injected,
			       f->seen);
	return f->hit;
}

/*
 * The statement that follows, with the first thing that can fail failing, then
 * the second, ... until there were fewer than that. MOST leaves some out where
 * there are very many that are alike.
 */
#define EACH_FAILURE for (f->n = 1; again(f); f->n++)
#define MOST_FAILURES for (f->n = 1; again(f); f->n += f->n < 8 ? 1 : f->n / 2)

/* Domain 0 translates IOVA; device 0 is in it, and translation on. */
static void start_guest(struct unit *u)
{
	u->vm.g->next_page = GPA_TABLES;
	RUN(g_setup, 0);
	RUN(g_domain, 0, DID, 4);
	RUN(g_map, 0, IOVA, PAGE(0), 1, MAP_RW);
	RUN(g_attach, SID(0), 0);
	RUN(g_enable, true);
}

/* The number of faults recorded; they are taken note of. */
static __u64 g_take_faults(struct guest *g)
{
	__u64 cap = g_read64(g, VTD_CAP), n = 0, i;

	for (i = 0; i < VTD_CAP_NFR(cap); i++) {
		__u64 at = VTD_CAP_FRO(cap) + 16 * i + 12;

		if (!(g_read32(g, at) & BIT(31)))
			continue;
		g_write32(g, at, BIT(31));
		n++;
	}
	g_write32(g, VTD_FSTS, VTD_FSTS_PFO);
	return n;
}

static __u64 g_flush_all(struct guest *g)
{
	g_flush_context_global(g);
	return g_flush_global(g);
}

/* Take all of 1 GiB away, tables included. */
static __u64 g_clean(struct guest *g, __u64 d, __u64 iova, __u64 pages)
{
	*g_entry(g, d, iova, LEAF_1G) = 0;
	g_flush_domain(g, d);
	g->next_page = pages;
	return 0;
}

/*
 * The device gets to the page. Or else it is blocked, errors were counted, and
 * with another try it does: by what the guest can do or, for a leaf that is
 * large and every other time, by KVIOMMU_REFRESH. Return: it did at once.
 */
static bool reaches(struct fails *f, __u64 iova, __u64 gpa, bool large)
{
	struct unit *u = f->u;
	enum dma_result res = dma_write(u, 0, iova, gpa);

	if (res == DMA_REACHED)
		return true;
	if (res != DMA_BLOCKED ||
	    unit_stats(u).errors == f->before.errors)
		FATAL("failure %u: 0x%llx: %u, no error counted", f->n, iova,
		      res);
	if (f->n % 2 && !large)
		RUN(g_flush_all);
	else
		REQUIRE(!unit_refresh(u));
	RUN(g_take_faults);
	if (dma_write(u, 0, iova, gpa) != DMA_REACHED)
		FATAL("failure %u: 0x%llx: not there when tried again", f->n,
		      iova);
	return false;
}

static bool blocked(struct fails *f, __u64 iova, __u64 gpa)
{
	return dma_write(f->u, 0, iova, gpa) == DMA_BLOCKED;
}

FIXTURE(failnth) {
	struct unit u;
	struct fails f;
	struct kviommu_policy policy;
	long host_pins;
	__u64 pages;
};

FIXTURE_VARIANT(failnth) {
	struct unit_config config;
	struct failure what;
};

FIXTURE_VARIANT_ADD(failnth, allocation) {
	.config = { .mode = UNIT_MODE_TRAP },
	.what = { .err = ENOMEM },
};

FIXTURE_VARIANT_ADD(failnth, call_enomem) {
	.config = { .mode = UNIT_MODE_TRAP },
	.what = { .err = ENOMEM, .times = 1 },
};

FIXTURE_VARIANT_ADD(failnth, call_eio) {
	.config = { .mode = UNIT_MODE_TRAP },
	.what = { .err = EIO, .times = 1 },
};

FIXTURE_VARIANT_ADD(failnth, calls_eio) {
	.config = { .mode = UNIT_MODE_TRAP },
	.what = { .err = EIO, .times = ALWAYS },
};

/* A unit with a guest and one device. Returns: its policy. */
static struct kviommu_policy open_fails(struct fails *f, struct unit *u,
					const struct unit_config *config,
					const struct failure *what)
{
	struct kviommu_policy policy;
	char path[64];

	unit_open(u, config);
	unit_add_device(u, 0, SID(0));
	/* Kernels that can do this are slow: work may be left to a worker. */
	u->vm.g->polls = true;
	start_guest(u);
	/* So that every use of a page is a call that can fail */
	policy = unit_policy(u);
	policy.max_idle_pins = 0;
	REQUIRE(!unit_set_policy(u, &policy));

	f->u = u;
	f->what = *what;
	f->limit = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	f->control = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	REQUIRE(!unit_set_eventfd(u->fd, KVIOMMU_EVENT_LIMIT, f->limit));
	REQUIRE(!unit_set_eventfd(u->fd, KVIOMMU_EVENT_CONTROL, f->control));
	snprintf(path, sizeof(path), "/proc/self/task/%ld/fail-nth",
		 syscall(SYS_gettid));
	f->fd = open(path, O_RDWR | O_CLOEXEC);
	REQUIRE(f->fd >= 0);
	inject_setup(&f->what);
	return policy;
}

/* Nothing stays, and the device is good for another process. */
static void close_fails(struct fails *f, long pins)
{
	int status;
	pid_t pid;

	write_file("fail_function/inject", "\n");
	unit_close(f->u);
	close(f->limit);
	close(f->control);
	close(f->fd);
	REQUIRE(!pinned_kib());
	REQUIRE(pins == host_pins());
	pid = fork();
	if (!pid)
		_exit(!device_is_free(0));
	REQUIRE(waitpid(pid, &status, 0) == pid);
	REQUIRE(!status);
}

FIXTURE_SETUP(failnth)
{
	self->host_pins = host_pins();
	self->policy = open_fails(&self->f, &self->u, &variant->config, &variant->what);
	self->pages = self->u.vm.g->next_page;
}

FIXTURE_TEARDOWN(failnth)
{
	close_fails(&self->f, self->host_pins);
}

/* The ioctls */

TEST_F_TIMEOUT(failnth, open, 600)
{
	struct fails *f = &self->f;
	int fd;

	EACH_FAILURE {
		fd = -1;
		FAILING((fd = open("/dev/kviommu", O_RDWR)) < 0 ? errno : 0);
		if (fd >= 0)
			close(fd);
	}
}

TEST_F_TIMEOUT(failnth, create, 600)
{
	const struct unit_config *config = &variant->config;
	struct fails *f = &self->f;
	struct unit *u = f->u;
	int fd;

	EACH_FAILURE {
		fd = unit_open_file();
		if (FAILING(unit_create(fd, u->vm.fd, u->iommufd, u->ioas,
					config)))
			ASSERT_EQ(0, unit_create(fd, u->vm.fd, u->iommufd,
						 u->ioas, config));
		ASSERT_EQ(EBUSY, unit_create(fd, u->vm.fd, u->iommufd, u->ioas,
					     config));
		close(fd);
	}
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
}

static int map_regs(int fd, void **p)
{
	*p = mmap(NULL, PAGE_SIZE, PROT_READ, MAP_SHARED, fd, 0);
	return *p == MAP_FAILED ? errno : 0;
}

TEST_F_TIMEOUT(failnth, mmap, 600)
{
	struct fails *f = &self->f;
	void *p;

	EACH_FAILURE {
		if (FAILING(map_regs(f->u->fd, &p)))
			ASSERT_EQ(0, map_regs(f->u->fd, &p));
		ASSERT_EQ(0, memcmp(p, f->u->regs, PAGE_SIZE));
		munmap(p, PAGE_SIZE);
	}
}

/* The guest's writes at the page are noticed. */
static bool regs_work(struct unit *u, __u64 gpa)
{
	__u64 n = unit_stats(u).reg_writes;

	/* The one write, without others to wait for it. */
	u->vm.g->polls = false;
	RUN(g_poke32, gpa - GPA_REGS + VTD_IEDATA, n);
	u->vm.g->polls = true;
	return unit_stats(u).reg_writes == n + 1;
}

TEST_F_TIMEOUT(failnth, arm, 600)
{
	struct fails *f = &self->f;
	struct unit *u = f->u;

	EACH_FAILURE {
		/* A slot that is deleted takes it along. */
		ASSERT_EQ(0, vm_set_slot(&u->vm, VM_SLOT_REGS, 0, NULL, 0, 0));
		ASSERT_EQ(0, vm_set_slot(&u->vm, VM_SLOT_REGS, GPA_REGS,
					 u->regs, PAGE_SIZE, 0));
		if (FAILING(unit_arm(u->fd, GPA_REGS)))
			ASSERT_EQ(0, unit_arm(u->fd, GPA_REGS));
		ASSERT_TRUE(regs_work(u, GPA_REGS));
	}
}

/* If it does not get to another place it stays where it is. */
TEST_F_TIMEOUT(failnth, arm_elsewhere, 600)
{
	struct fails *f = &self->f;
	struct unit *u = f->u;

	ASSERT_EQ(0, vm_set_slot(&u->vm, VM_SLOT_SPARE, REGS2, u->regs,
				 PAGE_SIZE, 0));
	EACH_FAILURE {
		if (FAILING(unit_arm(u->fd, REGS2))) {
			ASSERT_TRUE(regs_work(u, GPA_REGS));
			ASSERT_EQ(0, unit_arm(u->fd, REGS2));
		}
		ASSERT_TRUE(regs_work(u, REGS2));
		ASSERT_EQ(0, unit_arm(u->fd, GPA_REGS));
		ASSERT_TRUE(regs_work(u, GPA_REGS));
	}
}

TEST_F_TIMEOUT(failnth, attach, 1200)
{
	struct fails *f = &self->f;
	struct unit *u = f->u;
	struct edu *edu = &u->dev[0];

	ASSERT_EQ(0, unit_detach(u->fd, SID(0)));
	EACH_FAILURE {
		if (FAILING(unit_attach(u->fd, edu->fd, SID(0)))) {
			/* VFIO has it as it was: free. */
			ASSERT_EQ(0, edu_attach_ioas(edu, u->ioas));
			ASSERT_EQ(0, edu_detach_ioas(edu));
			ASSERT_EQ(0, unit_stats(u).devices);
			ASSERT_EQ(0, unit_stats(u).domains);
			ASSERT_EQ(0, unit_attach(u->fd, edu->fd, SID(0)));
			ASSERT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
		} else {
			/* The guest is told, or else the VMM. */
			if (!unit_stats(u).domains && !RUN(g_take_faults))
				ASSERT_LT(0, signals(f->control));
			reaches(f, IOVA, PAGE(0), false);
		}
		ASSERT_EQ(EBUSY, edu_attach_ioas(edu, u->ioas));
		ASSERT_EQ(0, unit_detach(u->fd, SID(0)));
		ASSERT_EQ(0, unit_stats(u).mapped);
	}
	ASSERT_LT(0, f->seen);
}

TEST_F_TIMEOUT(failnth, detach, 1200)
{
	struct fails *f = &self->f;
	struct unit *u = f->u;

	EACH_FAILURE {
		/* No failure leaves the unit with the device. */
		ASSERT_EQ(0, FAILING(unit_detach(u->fd, SID(0))));
		ASSERT_TRUE(blocked(f, IOVA, PAGE(0)));
		ASSERT_EQ(0, unit_stats(u).domains);
		ASSERT_EQ(0, edu_attach_ioas(&u->dev[0], u->ioas));
		ASSERT_EQ(0, edu_detach_ioas(&u->dev[0]));
		ASSERT_EQ(0, unit_attach(u->fd, u->dev[0].fd, SID(0)));
		ASSERT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	}
}

TEST_F_TIMEOUT(failnth, reset, 1200)
{
	struct fails *f = &self->f;
	struct unit *u = f->u;

	EACH_FAILURE {
		ASSERT_EQ(0, FAILING(unit_reset(u->fd)));
		ASSERT_TRUE(blocked(f, IOVA, PAGE(0)));
		ASSERT_EQ(0, unit_stats(u).pinned);
		ASSERT_EQ(0, unit_stats(u).domains);
		ASSERT_EQ(0, RUN(g_peek32, VTD_GSTS));
		start_guest(u);
		ASSERT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	}
}

TEST_F_TIMEOUT(failnth, refresh, 1200)
{
	struct kviommu_policy full = self->policy;
	struct fails *f = &self->f;
	struct unit *u = f->u;

	EACH_FAILURE {
		__u64 iova = NEW(f->n);

		full.max_pins = unit_stats(u).pinned;
		ASSERT_EQ(0, unit_set_policy(u, &full));
		RUN(g_map, 0, iova, PAGE(1), 1, MAP_RW);
		ASSERT_TRUE(blocked(f, iova, PAGE(1)));
		ASSERT_EQ(0, unit_set_policy(u, &self->policy));
		ASSERT_EQ(0, FAILING(unit_refresh(u)));
		reaches(f, iova, PAGE(1), false);
		ASSERT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
		RUN(g_clean, 0, iova, self->pages);
		ASSERT_TRUE(blocked(f, iova, PAGE(1)));
	}
}

#define NR_OTHERS 7
static int others(struct fails *f, const struct kviommu_policy *policy,
		  unsigned int which)
{
	struct kviommu_policy p = { .size = sizeof(p) };
	struct kviommu_info info = { .size = sizeof(info) };
	struct kviommu_get_device device;
	struct unit *u = f->u;

	switch (which) {
	case 0:
		return unit_set_policy(u, policy);
	case 1:
		return unit_ioctl(u->fd, KVIOMMU_GET_POLICY, &p);
	case 2:
		return unit_ioctl(u->fd, KVIOMMU_GET_INFO, &info);
	case 3:
		return unit_get_device(u, SID(0), &device);
	case 4:
		return unit_set_eventfd(u->fd, KVIOMMU_EVENT_FAULT, f->control);
	case 5:
		return unit_set_bus_master(u, SID(0), true);
	default:
		unit_stats(u);
		return 0;
	}
}

/* What needs nothing that could fail */
TEST_F_TIMEOUT(failnth, others, 600)
{
	struct fails *f = &self->f;
	unsigned int i;

	for (i = 0; i < NR_OTHERS; i++) {
		EACH_FAILURE {
			ASSERT_EQ(0, FAILING(others(f, &self->policy, i)));
			ASSERT_EQ(0, others(f, &self->policy, i));
		}
	}
	EXPECT_EQ(DMA_REACHED, dma_write(f->u, 0, IOVA, PAGE(0)));
}

static int open_stats(struct unit *u, int *fd)
{
	*fd = kviommu_open_stats(u->fd);
	return *fd < 0 ? -*fd : 0;
}

TEST_F_TIMEOUT(failnth, stats, 600)
{
	struct fails *f = &self->f;
	int fd;

	EACH_FAILURE {
		if (FAILING(open_stats(f->u, &fd)))
			ASSERT_EQ(0, open_stats(f->u, &fd));
		close(fd);
	}
}

/* The guest's register writes */

/* Wait for the queue to be done or to stop. Returns FSTS. */
static __u64 g_await(struct guest *g)
{
	unsigned long n;

	for (n = 0; READ_ONCE(g->status) != g->seq; n++) {
		if (g_read32(g, VTD_FSTS) & VTD_FSTS_IQE)
			break;
		G_ASSERT_GOT(g, g_patient(n), g_read32(g, VTD_FSTS));
	}
	return g_read32(g, VTD_FSTS);
}

/* As g_flush(), with a stop before the unit is told. */
static __u64 g_tell(struct guest *g)
{
	g->seq++;
	g_queue(g, VTD_QI_WAIT | VTD_QI_WAIT_SW | VTD_QI_WAIT_DATA(g->seq),
		(__u64)&g->status);
	g_sync(g, 0);
	g_queue_tail(g);
	return g_await(g);
}

static __u64 g_go_on(struct guest *g)
{
	g_write32(g, VTD_FSTS, VTD_FSTS_IQE);
	return g_await(g);
}

static __u64 tell_pages(struct guest *g, __u64 d, __u64 iova, __u64 am)
{
	g_queue(g, VTD_QI_IOTLB | VTD_QI_SELECTIVE | VTD_QI_DID(g->dom[d].did),
		(iova & ~((PAGE_SIZE << am) - 1)) | VTD_QI_HI_AM(am));
	return g_tell(g);
}

static __u64 tell_domain(struct guest *g, __u64 d)
{
	g_queue(g, VTD_QI_IOTLB | VTD_QI_DOMAIN | VTD_QI_DID(g->dom[d].did), 0);
	return g_tell(g);
}

static __u64 tell_global(struct guest *g)
{
	g_queue(g, VTD_QI_IOTLB | VTD_QI_GLOBAL, 0);
	return g_tell(g);
}

static __u64 tell_enable(struct guest *g, __u64 on)
{
	__u32 cmd = g_read32(g, VTD_GSTS) & VTD_GSTS_STICKY;
	unsigned long n;

	cmd = on ? cmd | VTD_GCMD_TE : cmd & ~VTD_GCMD_TE;
	g_sync(g, 0);
	g_write32(g, VTD_GCMD, cmd);
	/* Whatever becomes of the devices, the command is obeyed. */
	for (n = 0; (g_read32(g, VTD_GSTS) ^ cmd) >> 31; n++)
		G_ASSERT(g, g_patient(n));
	return 0;
}

/*
 * A guest function that stops where it is to tell the unit goes on, while
 * something fails. If the queue stops the guest can have it go on: then all of
 * it is done. Return: how many faults the guest was told of.
 */
static unsigned int act_end(struct fails *f)
{
	struct unit *u = f->u;
	unsigned int faults;
	__u64 fsts, counted;

	fail_begin(f);
	REQUIRE(vm_resume(&u->vm, 0));
	fail_end(f, 0);
	fsts = u->vm.g->call[0].ret;
	counted = unit_stats(u).faults - f->before.faults;
	faults = RUN(g_take_faults);
	if (fsts & VTD_FSTS_IQE) {
		if (unit_stats(u).errors == f->before.errors)
			FATAL("failure %u: the queue stopped for nothing", f->n);
		counted--;
		if (RUN(g_go_on) & VTD_FSTS_IQE)
			FATAL("failure %u: the queue did not go on", f->n);
	}
	/* Those of one device get one record. */
	if (faults != !!counted)
		FATAL("failure %u: %u fault records for %llu", f->n, faults,
		      counted);
	return faults + !!(fsts & VTD_FSTS_IQE);
}

#define ACT(fn, ...) ({							\
	if (guest_start(&u->vm, fn, ##__VA_ARGS__))			\
		FATAL("the guest did not stop");			\
	act_end(f);							\
})

TEST_F_TIMEOUT(failnth, map_pages, 2400)
{
	struct fails *f = &self->f;
	struct unit *u = f->u;
	unsigned int faults;

	EACH_FAILURE {
		__u64 iova = NEW(f->n);

		RUN(g_map_quiet, 0, iova, PAGE(10), 1, MAP_RW);
		RUN(g_map_quiet, 0, iova + PAGE_SIZE, PAGE(20), 1, MAP_R);
		RUN(g_map_quiet, 0, iova + 2 * PAGE_SIZE, PAGE(30), 2, MAP_RW);
		faults = ACT(tell_pages, 0, iova, 2);
		ASSERT_TRUE(blocked(f, iova + PAGE_SIZE, PAGE(20)));
		if (!reaches(f, iova, PAGE(10), false))
			ASSERT_LT(0, faults);
		if (!reaches(f, iova + 3 * PAGE_SIZE, PAGE(31), false))
			ASSERT_LT(0, faults);
		RUN(g_flush_pages, 0, iova, 2);
		ASSERT_EQ(5, unit_stats(u).mapped);
		ASSERT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
		RUN(g_clean, 0, iova, self->pages);
		ASSERT_EQ(1, unit_stats(u).mapped);
		ASSERT_TRUE(blocked(f, iova, PAGE(10)));
	}
	ASSERT_LT(0, f->seen);
}

TEST_F_TIMEOUT(failnth, unmap_pages, 2400)
{
	struct fails *f = &self->f;
	struct unit *u = f->u;
	__u64 iova = NEW(1);

	EACH_FAILURE {
		RUN(g_map, 0, iova, PAGE(10), 4, MAP_RW);
		ASSERT_EQ(DMA_REACHED, dma_write(u, 0, iova, PAGE(10)));
		RUN(g_unmap_quiet, 0, iova, 3, 0);
		ACT(tell_pages, 0, iova, 2);
		ASSERT_TRUE(blocked(f, iova, PAGE(10)));
		ASSERT_TRUE(blocked(f, iova + 2 * PAGE_SIZE, PAGE(12)));
		ASSERT_EQ(DMA_REACHED,
			  dma_write(u, 0, iova + 3 * PAGE_SIZE, PAGE(13)));
		ASSERT_EQ(2, unit_stats(u).mapped);
	}
}

/* Other pages at the same addresses */
TEST_F_TIMEOUT(failnth, remap_pages, 2400)
{
	struct fails *f = &self->f;
	struct unit *u = f->u;
	__u64 iova = NEW(1);

	EACH_FAILURE {
		RUN(g_map, 0, iova, PAGE(10), 2, MAP_RW);
		RUN(g_map_quiet, 0, iova, PAGE(20), 2, MAP_RW);
		ACT(tell_pages, 0, iova, 1);
		ASSERT_TRUE(blocked(f, iova, PAGE(10)));
		reaches(f, iova, PAGE(20), false);
		reaches(f, iova + PAGE_SIZE, PAGE(21), false);
	}
}

TEST_F_TIMEOUT(failnth, large_leaf, 2400)
{
	struct fails *f = &self->f;
	struct unit *u = f->u;

	MOST_FAILURES {
		__u64 iova = NEW(f->n % 500 + 1);

		RUN(g_map_quiet, 0, iova, HUGE(1), 1, MAP_RW | MAP_LEAF(LEAF_2M));
		ACT(tell_domain, 0);
		reaches(f, iova, HUGE(1), true);
		ASSERT_EQ(513, unit_stats(u).mapped);
		ASSERT_EQ(DMA_REACHED, dma_write(u, 0, iova + SZ_2M - PAGE_SIZE,
						 HUGE(2) - PAGE_SIZE));
		ASSERT_TRUE(blocked(f, iova + SZ_2M, HUGE(2)));
		RUN(g_clean, 0, iova, self->pages);
		ASSERT_TRUE(blocked(f, iova, HUGE(1)));
	}
}

/* A table in place of a large leaf, which differs from it in a page */
TEST_F_TIMEOUT(failnth, split_leaf, 2400)
{
	struct fails *f = &self->f;
	struct unit *u = f->u;

	MOST_FAILURES {
		__u64 iova = NEW(f->n % 500 + 1);

		RUN(g_map, 0, iova, HUGE(1), 1, MAP_RW | MAP_LEAF(LEAF_2M));
		RUN(g_map_quiet, 0, iova, HUGE(1), 512, MAP_RW);
		RUN(g_map_quiet, 0, iova, PAGE(10), 1, MAP_RW);
		ACT(tell_pages, 0, iova, 9);
		ASSERT_TRUE(blocked(f, iova, HUGE(1)));
		reaches(f, iova, PAGE(10), false);
		reaches(f, iova + SZ_2M - PAGE_SIZE, HUGE(2) - PAGE_SIZE, false);
		RUN(g_flush_domain, 0);
		ASSERT_EQ(513, unit_stats(u).mapped);
		RUN(g_clean, 0, iova, self->pages);
		ASSERT_TRUE(blocked(f, iova, PAGE(10)));
	}
}

/* A large leaf in place of a table, of which it has some pages */
TEST_F_TIMEOUT(failnth, join_leaf, 2400)
{
	struct fails *f = &self->f;
	struct unit *u = f->u;

	MOST_FAILURES {
		__u64 iova = NEW(f->n % 500 + 1);

		RUN(g_map, 0, iova, HUGE(1), 8, MAP_RW);
		RUN(g_map_quiet, 0, iova, HUGE(1), 1, MAP_RW | MAP_LEAF(LEAF_2M));
		ACT(tell_pages, 0, iova, 9);
		/* What did not change was never away. */
		ASSERT_EQ(DMA_REACHED, dma_write(u, 0, iova, HUGE(1)));
		reaches(f, iova + SZ_2M - PAGE_SIZE, HUGE(2) - PAGE_SIZE, true);
		ASSERT_EQ(0, unit_refresh(u));
		ASSERT_EQ(513, unit_stats(u).mapped);
		RUN(g_clean, 0, iova, self->pages);
		ASSERT_TRUE(blocked(f, iova, HUGE(1)));
	}
}

/* Changes in two places, which one invalidation covers */
static void change(struct unit *u, unsigned int n)
{
	RUN(g_map, 0, NEW(n), PAGE(10), 1, MAP_RW);
	RUN(g_unmap_quiet, 0, NEW(n), 1, 0);
	RUN(g_map_quiet, 0, NEW(n + 1), PAGE(20), 1, MAP_RW);
}

static void check_change(struct fails *f, __u64 pages)
{
	struct unit *u = f->u;

	REQUIRE(blocked(f, NEW(f->n), PAGE(10)));
	REQUIRE(dma_write(u, 0, IOVA, PAGE(0)) == DMA_REACHED);
	reaches(f, NEW(f->n + 1), PAGE(20), false);
	RUN(g_clean, 0, NEW(f->n), u->vm.g->next_page);
	RUN(g_clean, 0, NEW(f->n + 1), pages);
}

TEST_F_TIMEOUT(failnth, invalidate_domain, 2400)
{
	struct fails *f = &self->f;
	struct unit *u = f->u;

	EACH_FAILURE {
		change(u, f->n);
		ACT(tell_domain, 0);
		check_change(f, self->pages);
	}
}

TEST_F_TIMEOUT(failnth, invalidate_global, 2400)
{
	struct fails *f = &self->f;
	struct unit *u = f->u;

	EACH_FAILURE {
		change(u, f->n);
		ACT(tell_global);
		check_change(f, self->pages);
	}
}

/*
 * What device 0 goes through, as the guest says it in one mode: the tests of it are the same in
 * both. The first three change the device's entry and tell the unit nothing.
 */
struct entry {
	__u64 (*domain)(struct guest *g, __u64 d);
	__u64 (*none)(struct guest *g);
	__u64 (*pass_through)(struct guest *g);
	/* After a change that domain d has to do with; and from one domain to another */
	__u64 (*tell)(struct guest *g, __u64 d);
	__u64 (*tell_change)(struct guest *g, __u64 d);
};

static void check_new(struct __test_metadata *_metadata, struct fails *f,
		      const struct entry *e)
{
	struct unit *u = f->u;

	EACH_FAILURE {
		RUN(g_detach, SID(0), DID);
		ASSERT_TRUE(blocked(f, IOVA, PAGE(0)));
		RUN(e->domain, 0);
		ACT(e->tell, 0);
		reaches(f, IOVA, PAGE(0), false);
		ASSERT_EQ(1, unit_stats(u).domains);
	}
}

/* From one domain to another */
static void check_other(struct __test_metadata *_metadata, struct fails *f,
			const struct entry *e)
{
	struct unit *u = f->u;

	RUN(g_domain, 1, DID + 1, 4);
	RUN(g_map, 1, IOVA, PAGE(1), 1, MAP_RW);
	EACH_FAILURE {
		RUN(e->domain, 1);
		ACT(e->tell_change, 1);
		ASSERT_TRUE(blocked(f, IOVA, PAGE(0)));
		reaches(f, IOVA, PAGE(1), false);
		ASSERT_EQ(1, unit_stats(u).domains);
		RUN(g_attach, SID(0), 0);
		ASSERT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	}
}

static void check_cleared(struct __test_metadata *_metadata, struct fails *f,
			  const struct entry *e)
{
	struct unit *u = f->u;

	EACH_FAILURE {
		RUN(e->none);
		ACT(e->tell, 0);
		ASSERT_TRUE(blocked(f, IOVA, PAGE(0)));
		ASSERT_EQ(0, unit_stats(u).domains);
		RUN(g_attach, SID(0), 0);
		ASSERT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	}
}

static void check_pass_through(struct __test_metadata *_metadata, struct fails *f,
			       const struct entry *e)
{
	struct unit *u = f->u;

	EACH_FAILURE {
		RUN(e->pass_through);
		ACT(e->tell, 0);
		ASSERT_TRUE(blocked(f, IOVA, PAGE(0)));
		reaches(f, PAGE(3), PAGE(3), false);
		ASSERT_EQ(1, unit_stats(u).identity_devices);
		RUN(g_attach, SID(0), 0);
		ASSERT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	}
}

static void check_enable(struct __test_metadata *_metadata, struct fails *f)
{
	struct unit *u = f->u;

	EACH_FAILURE {
		RUN(g_enable, false);
		ASSERT_TRUE(blocked(f, IOVA, PAGE(0)));
		ACT(tell_enable, true);
		reaches(f, IOVA, PAGE(0), false);
	}
	ASSERT_LT(0, f->seen);
}

static __u64 context_domain(struct guest *g, __u64 d)
{
	return g_context_quiet(g, SID(0), g->dom[d].root | VTD_CE_P,
			       VTD_CE_HI_AW(g->dom[d].levels) |
			       VTD_CE_HI_DID(g->dom[d].did));
}

static __u64 context_none(struct guest *g)
{
	return g_context_quiet(g, SID(0), 0, 0);
}

static __u64 context_pass_through(struct guest *g)
{
	return g_context_quiet(g, SID(0), VTD_CE_P | VTD_CE_T_PT,
			       VTD_CE_HI_AW(4) | VTD_CE_HI_DID(DID));
}

/* By device; the domain does not matter */
static __u64 tell_context(struct guest *g, __u64 d)
{
	g_queue(g, VTD_QI_CC | VTD_QI_SELECTIVE | VTD_QI_CC_SID(SID(0)), 0);
	g_queue(g, VTD_QI_IOTLB | VTD_QI_GLOBAL, 0);
	return g_tell(g);
}

static __u64 tell_contexts(struct guest *g, __u64 d)
{
	g_queue(g, VTD_QI_CC | VTD_QI_GLOBAL, 0);
	g_queue(g, VTD_QI_IOTLB | VTD_QI_GLOBAL, 0);
	return g_tell(g);
}

static const struct entry context = {
	.domain = context_domain,
	.none = context_none,
	.pass_through = context_pass_through,
	.tell = tell_context,
	.tell_change = tell_contexts,
};

TEST_F_TIMEOUT(failnth, context_new, 2400)
{
	check_new(_metadata, &self->f, &context);
}

TEST_F_TIMEOUT(failnth, context_change, 2400)
{
	check_other(_metadata, &self->f, &context);
}

TEST_F_TIMEOUT(failnth, context_cleared, 2400)
{
	check_cleared(_metadata, &self->f, &context);
}

TEST_F_TIMEOUT(failnth, pass_through, 2400)
{
	check_pass_through(_metadata, &self->f, &context);
}

TEST_F_TIMEOUT(failnth, enable, 2400)
{
	check_enable(_metadata, &self->f);
}

TEST_F_TIMEOUT(failnth, disable, 2400)
{
	struct fails *f = &self->f;
	struct unit *u = f->u;

	EACH_FAILURE {
		ACT(tell_enable, false);
		ASSERT_TRUE(blocked(f, IOVA, PAGE(0)));
		ASSERT_EQ(0, unit_stats(u).domains);
		RUN(g_enable, true);
		ASSERT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	}
}

/* What fails for a guest whose tables the physical IOMMU walks: of hosts that nest */
FIXTURE(nested) {
	struct unit u;
	struct fails f;
	long host_pins;
};

FIXTURE_VARIANT(nested) {
	struct unit_config config;
	struct failure what;
};

FIXTURE_VARIANT_ADD(nested, allocation) {
	.config = { .mode = UNIT_MODE_TRAP, .nested = true, .pasid_bits = 20 },
	.what = { .err = ENOMEM },
};

FIXTURE_VARIANT_ADD(nested, call_enomem) {
	.config = { .mode = UNIT_MODE_TRAP, .nested = true, .pasid_bits = 20 },
	.what = { .err = ENOMEM, .times = 1 },
};

FIXTURE_VARIANT_ADD(nested, call_eio) {
	.config = { .mode = UNIT_MODE_TRAP, .nested = true, .pasid_bits = 20 },
	.what = { .err = EIO, .times = 1 },
};

FIXTURE_VARIANT_ADD(nested, calls_eio) {
	.config = { .mode = UNIT_MODE_TRAP, .nested = true, .pasid_bits = 20 },
	.what = { .err = EIO, .times = ALWAYS },
};

FIXTURE_SETUP(nested)
{
	self->host_pins = host_pins();
	open_fails(&self->f, &self->u, &variant->config, &variant->what);
}

FIXTURE_TEARDOWN(nested)
{
	close_fails(&self->f, self->host_pins);
}

/* All of the guest's memory is in the second stage. */
static bool all_there(struct unit *u)
{
	return unit_stats(u).pinned >= GPA_RAM_END / PAGE_SIZE;
}

TEST_F_TIMEOUT(nested, create, 600)
{
	const struct unit_config *config = &variant->config;
	struct fails *f = &self->f;
	struct unit *u = f->u;
	int fd;

	EACH_FAILURE {
		fd = unit_open_file();
		if (FAILING(unit_create(fd, u->vm.fd, u->iommufd, u->ioas, config)))
			ASSERT_EQ(0, unit_create(fd, u->vm.fd, u->iommufd, u->ioas, config));
		close(fd);
	}
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
}

/*
 * A device has all of the guest's memory pinned. What the IOAS has but cannot be pinned, other
 * than for want of memory, is left out, with an error counted.
 */
TEST_F_TIMEOUT(nested, attach, 2400)
{
	struct fails *f = &self->f;
	struct unit *u = f->u;
	struct edu *edu = &u->dev[0];
	__u64 in_use;

	MOST_FAILURES {
		ASSERT_EQ(0, unit_detach(u->fd, SID(0)));
		/* From the beginning */
		ASSERT_EQ(0, kviommu_release_pins(u->fd, 0, GPA_RAM_END, &in_use));
		ASSERT_FALSE(all_there(u));
		if (FAILING(unit_attach(u->fd, edu->fd, SID(0)))) {
			ASSERT_EQ(0, unit_stats(u).devices);
			ASSERT_EQ(0, unit_stats(u).domains);
			ASSERT_FALSE(all_there(u));
			ASSERT_EQ(0, unit_attach(u->fd, edu->fd, SID(0)));
			ASSERT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
		} else {
			if (!all_there(u)) {
				ASSERT_LT(f->before.errors, unit_stats(u).errors);
				ASSERT_EQ(0, unit_refresh(u));
			}
			reaches(f, IOVA, PAGE(0), true);
		}
		ASSERT_TRUE(all_there(u));
	}
	ASSERT_LT(0, f->seen);
}

TEST_F_TIMEOUT(nested, detach, 1200)
{
	struct fails *f = &self->f;
	struct unit *u = f->u;

	EACH_FAILURE {
		ASSERT_EQ(0, FAILING(unit_detach(u->fd, SID(0))));
		ASSERT_TRUE(blocked(f, IOVA, PAGE(0)));
		ASSERT_EQ(0, unit_stats(u).domains);
		ASSERT_EQ(0, unit_attach(u->fd, u->dev[0].fd, SID(0)));
		ASSERT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	}
}

TEST_F_TIMEOUT(nested, reset, 1200)
{
	struct fails *f = &self->f;
	struct unit *u = f->u;

	EACH_FAILURE {
		ASSERT_EQ(0, FAILING(unit_reset(u->fd)));
		ASSERT_TRUE(blocked(f, IOVA, PAGE(0)));
		ASSERT_EQ(0, unit_stats(u).domains);
		start_guest(u);
		ASSERT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	}
}

/* The IOAS has lost all memory, and got it back. */
TEST_F_TIMEOUT(nested, refresh, 2400)
{
	struct fails *f = &self->f;
	struct unit *u = f->u;

	MOST_FAILURES {
		ASSERT_EQ(0, ioas_unmap(u->iommufd, u->ioas, 0, GPA_RAM_END));
		ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, 0, u->vm.ram, GPA_RAM_END, IOAS_RW));
		ASSERT_TRUE(blocked(f, IOVA, PAGE(0)));
		ASSERT_EQ(0, FAILING(unit_refresh(u)));
		if (!all_there(u)) {
			ASSERT_LT(f->before.errors, unit_stats(u).errors);
			ASSERT_EQ(0, unit_refresh(u));
		}
		ASSERT_TRUE(all_there(u));
		/* What the guest has for the device may be what could not be read. */
		reaches(f, IOVA, PAGE(0), true);
	}
}

/*
 * The IOAS loses a page in the middle of a block. What is left of that may get lost, but comes
 * back without the VMM.
 */
TEST_F_TIMEOUT(nested, ioas_unmap, 2400)
{
	struct fails *f = &self->f;
	struct unit *u = f->u;
	__u64 at = PAGE(100);
	int err;

	ASSERT_EQ(0, ioas_unmap(u->iommufd, u->ioas, 0, GPA_RAM_END));
	ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, 0, u->vm.ram, at, IOAS_RW));
	ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, at + PAGE_SIZE, u->vm.ram + at + PAGE_SIZE,
			      GPA_RAM_END - at - PAGE_SIZE, IOAS_RW));
	RUN(g_map, 0, IOVA + PAGE_SIZE, at, 2, MAP_RW);
	EACH_FAILURE {
		ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, at, u->vm.ram + at, PAGE_SIZE,
				      IOAS_RW));
		ASSERT_EQ(0, unit_refresh(u));
		ASSERT_EQ(DMA_REACHED, dma_write(u, 0, IOVA + PAGE_SIZE, at));
		err = FAILING(ioas_unmap(u->iommufd, u->ioas, at, PAGE_SIZE));
		if (err)
			ASSERT_EQ(0, ioas_unmap(u->iommufd, u->ioas, at, PAGE_SIZE));
		ASSERT_TRUE(blocked(f, IOVA + PAGE_SIZE, at));
		WAIT_FOR(dma_write(u, 0, IOVA + 2 * PAGE_SIZE, at + PAGE_SIZE) == DMA_REACHED);
		WAIT_FOR(dma_write(u, 0, IOVA, PAGE(0)) == DMA_REACHED);
	}
}

static __u64 tell_piotlb(struct guest *g, __u64 d, __u64 iova)
{
	g_queue(g, VTD_QI_PIOTLB | VTD_QI_PIOTLB_PAGES | VTD_QI_DID(g->dom[d].did), iova);
	return g_tell(g);
}

static __u64 pasid_domain(struct guest *g, __u64 d)
{
	return g_pasid_entry_quiet(g, SID(0), VTD_SM_PTE_P |
				   VTD_SM_PTE_PGTT(VTD_SM_PGTT_FIRST_STAGE),
				   g->dom[d].did, g->dom[d].root);
}

static __u64 pasid_none(struct guest *g)
{
	return g_pasid_entry_quiet(g, SID(0), 0, 0, 0);
}

static __u64 pasid_pass_through(struct guest *g)
{
	return g_pasid_entry_quiet(g, SID(0), VTD_SM_PTE_P | VTD_SM_PTE_PGTT(VTD_SM_PGTT_PT),
				   DID, 0);
}

static __u64 tell_pasid(struct guest *g, __u64 d)
{
	g_queue(g, VTD_QI_PASID_CACHE | VTD_QI_PC_PASID | VTD_QI_DID(g->dom[d].did), 0);
	g_queue(g, VTD_QI_PIOTLB | VTD_QI_PIOTLB_PASID | VTD_QI_DID(g->dom[d].did), 0);
	return g_tell(g);
}

static const struct entry pasid = {
	.domain = pasid_domain,
	.none = pasid_none,
	.pass_through = pasid_pass_through,
	.tell = tell_pasid,
	.tell_change = tell_pasid,
};

TEST_F_TIMEOUT(nested, pasid_new, 2400)
{
	check_new(_metadata, &self->f, &pasid);
	ASSERT_LT(0, self->f.seen);
}

TEST_F_TIMEOUT(nested, pasid_change, 2400)
{
	check_other(_metadata, &self->f, &pasid);
}

TEST_F_TIMEOUT(nested, pasid_cleared, 2400)
{
	check_cleared(_metadata, &self->f, &pasid);
}

TEST_F_TIMEOUT(nested, pass_through, 2400)
{
	check_pass_through(_metadata, &self->f, &pasid);
}

TEST_F_TIMEOUT(nested, enable, 2400)
{
	check_enable(_metadata, &self->f);
}

#define PASID 5

/* Domain 1 is for requests with PASID, which are what the device makes from now on. */
static void start_pasid(struct unit *u)
{
	RUN(g_domain, 1, DID + 1, 4);
	RUN(g_map, 1, IOVA, PAGE(1), 1, MAP_RW);
	RUN(g_pasid_enable, SID(0), VTD_SM_CE_PASIDE);
	RUN(g_dma_pasid, 0, PASID);
}

static __u64 tell_of_pasid(struct guest *g, __u64 did)
{
	g_queue(g, VTD_QI_PASID_CACHE | VTD_QI_PC_PASID | VTD_QI_DID(did) |
		VTD_QI_PASID(PASID), 0);
	return g_tell(g);
}

/* One that was not remembered has to be announced again. */
TEST_F_TIMEOUT(nested, with_pasid_new, 2400)
{
	struct fails *f = &self->f;
	struct unit *u = f->u;

	start_pasid(u);
	EACH_FAILURE {
		RUN(g_pasid_detach, SID(0), PASID, 1, DID + 1);
		ASSERT_TRUE(blocked(f, IOVA, PAGE(1)));
		ASSERT_EQ(1, unit_stats(u).domains);
		RUN(g_pasid_write, SID(0), PASID, VTD_SM_PTE_P |
		    VTD_SM_PTE_PGTT(f->n & 1 ? VTD_SM_PGTT_FIRST_STAGE : VTD_SM_PGTT_PT),
		    DID + 1, f->n & 1 ? u->vm.g->dom[1].root : 0);
		ACT(tell_of_pasid, DID + 1);
		if (!unit_stats(u).pasids) {
			ASSERT_LT(f->before.errors, unit_stats(u).errors);
			ASSERT_TRUE(blocked(f, IOVA, PAGE(1)));
			RUN(g_flush_pasid_of, DID + 1, PASID);
		}
		ASSERT_EQ(1, unit_stats(u).pasids);
		ASSERT_EQ(DMA_REACHED, f->n & 1 ? dma_write(u, 0, IOVA, PAGE(1)) :
					dma_write(u, 0, PAGE(30), PAGE(30)));
	}
	ASSERT_LT(0, f->seen);
	RUN(g_dma_pasid, 0, 0);
	ASSERT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
}

TEST_F_TIMEOUT(nested, with_pasid_change, 2400)
{
	struct fails *f = &self->f;
	struct unit *u = f->u;

	start_pasid(u);
	EACH_FAILURE {
		RUN(g_pasid_attach, SID(0), PASID, 1, 0);
		ASSERT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
		RUN(g_pasid_write, SID(0), PASID, VTD_SM_PTE_P |
		    VTD_SM_PTE_PGTT(VTD_SM_PGTT_FIRST_STAGE), DID + 1, u->vm.g->dom[1].root);
		ACT(tell_of_pasid, DID);
		ASSERT_TRUE(blocked(f, IOVA, PAGE(0)));
		/* It is known, so a try for all of them is enough. */
		reaches(f, IOVA, PAGE(1), true);
		ASSERT_EQ(2, unit_stats(u).domains);
	}
	RUN(g_dma_pasid, 0, 0);
}

TEST_F_TIMEOUT(nested, with_pasid_cleared, 2400)
{
	struct fails *f = &self->f;
	struct unit *u = f->u;

	start_pasid(u);
	EACH_FAILURE {
		RUN(g_pasid_attach, SID(0), PASID, 1, 1);
		ASSERT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(1)));
		RUN(g_pasid_write, SID(0), PASID, 0, 0, 0);
		ACT(tell_of_pasid, DID + 1);
		ASSERT_TRUE(blocked(f, IOVA, PAGE(1)));
		ASSERT_EQ(0, unit_stats(u).pasids);
		ASSERT_EQ(1, unit_stats(u).domains);
	}
	RUN(g_dma_pasid, 0, 0);
}

/* What the guest unmaps is gone whatever fails. */
TEST_F_TIMEOUT(nested, invalidate, 2400)
{
	struct fails *f = &self->f;
	struct unit *u = f->u;

	EACH_FAILURE {
		RUN(g_map, 0, NEW(1), PAGE(10), 1, MAP_RW);
		ASSERT_EQ(DMA_REACHED, dma_write(u, 0, NEW(1), PAGE(10)));
		RUN(g_unmap_quiet, 0, NEW(1), 1, 0);
		ACT(tell_piotlb, 0, NEW(1));
		ASSERT_TRUE(blocked(f, NEW(1), PAGE(10)));
		ASSERT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
	}
}

TEST_HARNESS_MAIN
