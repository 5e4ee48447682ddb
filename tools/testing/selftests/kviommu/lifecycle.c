// SPDX-License-Identifier: GPL-2.0
/*
 * Whatever order things end in, the devices come out of it blocked, free for
 * others, and no memory stays pinned.
 *
 * Unloading of the module is tested with the file that KVIOMMU_KO names, by
 * default kviommu.ko beside this program.
 */
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>

#include "kselftest_harness.h"
#include "require.h"
#include "variants.h"

#define IOVA 0x10000
#define DID 1

static const struct unit_config plain = { .mode = UNIT_MODE_TRAP };

/* Domain 0 maps IOVA to PAGE(0), device 0 is in it, translation on. */
static void start_guest(struct unit *u)
{
	struct vm *vm = &u->vm;

	guest_run(vm, g_setup, 0);
	guest_run(vm, g_domain, 0, DID, 4);
	guest_run(vm, g_map, 0, IOVA, PAGE(0), 1, MAP_RW);
	guest_run(vm, g_attach, SID(0), 0);
	guest_run(vm, g_enable, true);
}

/* A unit without RAM: the test maps that in the IOAS. */
static void open_bare(struct unit *u, const struct unit_config *config)
{
	struct unit_config bare = *config;

	bare.no_ram = true;
	unit_open(u, &bare);
}

/* What a VMM has open, and the order in which it lets go */
enum file {
	UNIT,
	VM,
	IOMMUFD,
	DEVICE,
	NR_FILES,
};

static const char *const file_names[] = { "unit", "vm", "iommufd", "device" };

FIXTURE(order) {
	struct unit u;
};

FIXTURE_VARIANT(order) {
	struct unit_config config;
};

UNIT_VARIANTS(order);

FIXTURE_SETUP(order)
{
	unit_open(&self->u, &variant->config);
	unit_add_device(&self->u, 0, SID(0));
	start_guest(&self->u);
}

FIXTURE_TEARDOWN(order)
{
	/* The tests close everything; what remains goes with the process. */
}

/* The same with nested translation, on hosts that have it */
FIXTURE(nested) {
	struct unit u;
};

FIXTURE_VARIANT(nested) {
	struct unit_config config;
};

UNIT_MODES(nested, .config.nested = true);

FIXTURE_SETUP(nested)
{
	unit_open(&self->u, &variant->config);
	unit_add_device(&self->u, 0, SID(0));
	start_guest(&self->u);
}

FIXTURE_TEARDOWN(nested)
{
}

/*
 * The unit lives as long as its file is open or mapped. Other memory takes the
 * mapping's place at once, so that the guest finds something there.
 */
static void close_unit(struct unit *u)
{
	close(u->fd);
	REQUIRE(mmap(u->regs, PAGE_SIZE, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == u->regs);
}

static void close_one(struct unit *u, enum file file)
{
	switch (file) {
	case UNIT:
		close_unit(u);
		break;
	case VM:
		vm_close_kvm(&u->vm);
		break;
	case IOMMUFD:
		close(u->iommufd);
		break;
	case DEVICE:
		close(u->dev[0].fd);
		break;
	default:
		break;
	}
}

/* The n-th of the permutations of the files */
static void permutation(unsigned int n, enum file order[NR_FILES])
{
	unsigned int left = NR_FILES, i;
	enum file rest[NR_FILES] = { UNIT, VM, IOMMUFD, DEVICE };

	for (i = 0; i < NR_FILES; i++) {
		unsigned int pick = n % left;

		order[i] = rest[pick];
		n /= left;
		rest[pick] = rest[--left];
	}
}

static __u64 touch(struct guest *g, __u64 n)
{
	g_map_quiet(g, 0, IOVA + (n + 1) * PAGE_SIZE, PAGE(n + 1), 1, MAP_RW);
	g_queue(g, VTD_QI_IOTLB | VTD_QI_GLOBAL, 0);
	return g_queue_tail(g);
}

/* All 24 orders, in a child each, as a file that is closed stays closed. */
static void close_in_any(struct __test_metadata *_metadata, struct unit *u,
			 const struct unit_config *config)
{
	enum file order[NR_FILES];
	bool alive = true;
	unsigned int n, i;
	int status;
	pid_t pid;

	unit_close(u);
	for (n = 0; n < 24; n++) {
		permutation(n, order);
		pid = fork();
		if (!pid) {
			unit_open(u, config);
			unit_add_device(u, 0, SID(0));
			start_guest(u);
			/* A mapping of a device's registers keeps its file. */
			munmap(u->dev[0].bar, u->dev[0].bar_size);
			vm_set_slot(&u->vm, VM_SLOT_BAR, GPA_BAR, NULL, 0, 0);
			for (i = 0; i < NR_FILES; i++) {
				close_one(u, order[i]);
				if (order[i] == VM)
					alive = false;
				/* A guest that is still there writes. */
				if (alive)
					guest_run(&u->vm, touch, i);
			}
			REQUIRE(!pinned_kib());
			/* Free in this very process, which is still alive */
			REQUIRE(device_is_free(0));
			_exit(0);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status)
			TH_LOG("order %s %s %s %s", file_names[order[0]],
			       file_names[order[1]], file_names[order[2]],
			       file_names[order[3]]);
		EXPECT_TRUE(device_is_free(0));
	}
}

TEST_F_TIMEOUT(order, close_in_any, 900)
{
	close_in_any(_metadata, &self->u, &variant->config);
}

TEST_F_TIMEOUT(nested, close_in_any, 900)
{
	close_in_any(_metadata, &self->u, &variant->config);
}

/* The guest at work on a unit whose file is closed under it */
static __u64 busy(struct guest *g)
{
	while (!READ_ONCE(g->stop)) {
		g_map_quiet(g, 0, IOVA + PAGE_SIZE, PAGE(1), 1, MAP_RW);
		g_queue(g, VTD_QI_IOTLB | VTD_QI_DOMAIN |
			VTD_QI_DID(g->dom[0].did), 0);
		g_queue_tail(g);
		g_unmap_quiet(g, 0, IOVA + PAGE_SIZE, 1, 0);
		g_queue(g, VTD_QI_IOTLB | VTD_QI_GLOBAL, 0);
		g_queue_tail(g);
		WRITE_ONCE(g->count, g->count + 1);
	}
	return 0;
}

static void *run_busy(void *arg)
{
	struct unit *u = arg;

	guest_run(&u->vm, busy);
	return NULL;
}

static void wait_for_steps(struct guest *g, unsigned int n)
{
	__u64 seen = READ_ONCE(g->count);

	while (READ_ONCE(g->count) < seen + n)
		usleep(1000);
}

static void wait_for_progress(struct guest *g)
{
	wait_for_steps(g, 20);
}

static void unit_closed_while_guest_works(struct __test_metadata *_metadata, struct unit *u)
{
	void *page = vm_hva(&u->vm, PAGE(0));
	struct edu *edu = &u->dev[0];
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, run_busy, u));
	wait_for_progress(u->vm.g);
	close_unit(u);
	/* The guest writes to plain memory now, and is none the wiser. */
	wait_for_progress(u->vm.g);
	memset(page, 0, DMA_LEN);
	edu_dma(edu, EDU_TO_RAM, IOVA, 0, DMA_LEN);
	EXPECT_NE(0, memcmp(page, edu->pattern, DMA_LEN));
	EXPECT_EQ(0, pinned_kib());
	WRITE_ONCE(u->vm.g->stop, 1);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	/* The device is still bound here and can be used again. */
	edu_seed(edu);
}

static void detach_while_guest_works(struct __test_metadata *_metadata, struct unit *u)
{
	void *page = vm_hva(&u->vm, PAGE(0));
	struct edu *edu = &u->dev[0];
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, run_busy, u));
	wait_for_progress(u->vm.g);
	ASSERT_EQ(0, unit_detach(u->fd, SID(0)));
	memset(page, 0, DMA_LEN);
	edu_dma(edu, EDU_TO_RAM, IOVA, 0, DMA_LEN);
	EXPECT_NE(0, memcmp(page, edu->pattern, DMA_LEN));
	edu_seed(edu);
	wait_for_progress(u->vm.g);
	WRITE_ONCE(u->vm.g->stop, 1);
	ASSERT_EQ(0, pthread_join(thread, NULL));
}

static void reset_while_guest_works(struct __test_metadata *_metadata, struct unit *u)
{
	pthread_t thread;
	int i;

	ASSERT_EQ(0, pthread_create(&thread, NULL, run_busy, u));
	for (i = 0; i < 20; i++) {
		wait_for_progress(u->vm.g);
		ASSERT_EQ(0, unit_reset(u->fd));
	}
	WRITE_ONCE(u->vm.g->stop, 1);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, unit_stats(u).mapped);
	start_guest(u);
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
}

TEST_F(order, unit_closed_while_guest_works)
{
	unit_closed_while_guest_works(_metadata, &self->u);
}

TEST_F(order, detach_while_guest_works)
{
	detach_while_guest_works(_metadata, &self->u);
}

TEST_F(order, reset_while_guest_works)
{
	reset_while_guest_works(_metadata, &self->u);
}

TEST_F(nested, unit_closed_while_guest_works)
{
	unit_closed_while_guest_works(_metadata, &self->u);
}

TEST_F(nested, detach_while_guest_works)
{
	detach_while_guest_works(_metadata, &self->u);
}

TEST_F(nested, reset_while_guest_works)
{
	reset_while_guest_works(_metadata, &self->u);
}

/* As busy(), and each answer is there at once. */
static __u64 careful(struct guest *g)
{
	while (!READ_ONCE(g->stop)) {
		g_map(g, 0, IOVA + PAGE_SIZE, PAGE(1), 1, MAP_RW);
		g_unmap(g, 0, IOVA + PAGE_SIZE, 1, 0);
		g_write32(g, VTD_FEDATA, g->seq);
		G_ASSERT(g, g_read32(g, VTD_FEDATA) == g->seq);
		G_ASSERT_GOT(g, !g_read32(g, VTD_FSTS), g_read32(g, VTD_FSTS));
		WRITE_ONCE(g->count, g->count + 1);
	}
	return 0;
}

static void *run_careful(void *arg)
{
	struct unit *u = arg;

	guest_run(&u->vm, careful);
	return NULL;
}

/* What needs no standstill of the guest does it no harm. */
TEST_F_TIMEOUT(order, ioctls_while_guest_works, 300)
{
	struct kviommu_policy host = unit_policy(&self->u), low;
	struct kviommu_stats a, b;
	pthread_t thread;
	int i;

	/* The guest's pages are pinned before limits begin to fall. */
	low = host;
	low.max_idle_pins = 0;
	a = unit_stats(&self->u);
	ASSERT_EQ(0, pthread_create(&thread, NULL, run_careful, &self->u));
	for (i = 0; i < 100; i++) {
		wait_for_progress(self->u.vm.g);
		ASSERT_EQ(0, unit_arm(self->u.fd, GPA_REGS));
		ASSERT_EQ(0, unit_refresh(&self->u));
		ASSERT_EQ(0, unit_set_policy(&self->u, i & 1 ? &host : &low));
		ASSERT_EQ(0, unit_set_eventfd(self->u.fd, KVIOMMU_EVENT_CONTROL, -1));
	}
	WRITE_ONCE(self->u.vm.g->stop, 1);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	b = unit_stats(&self->u);
	EXPECT_EQ(self->u.vm.g->count, MAPS(b) - MAPS(a));
	EXPECT_EQ(self->u.vm.g->count, UNMAPS(b) - UNMAPS(a));
	EXPECT_EQ(0, b.errors);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* Memory that the VMM takes away while translations lead there */
TEST_F(order, ioas_unmapped)
{
	struct unit *u = &self->u;
	struct kviommu_stats a, b;
	double begin;

	unit_close(u);
	open_bare(u, &variant->config);
	ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, 0, u->vm.ram, GPA_HUGE, IOAS_RW));
	ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, GPA_HUGE, vm_hva(&u->vm, GPA_HUGE),
			      GPA_RAM_END - GPA_HUGE, IOAS_RW));
	unit_add_device(u, 0, SID(0));
	start_guest(u);
	guest_run(&u->vm, g_map, 0, 0x200000, HUGE(0), 3, MAP_RW);
	guest_run(&u->vm, g_map, 0, 0x40000000, HUGE(1), 1, MAP_RW | MAP_LEAF(LEAF_2M));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, 0x200000, HUGE(0)));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, 0x40000000, HUGE(1)));
	a = unit_stats(u);

	begin = seconds();
	ASSERT_EQ(0, ioas_unmap(u->iommufd, u->ioas, GPA_HUGE, GPA_RAM_END - GPA_HUGE));
	EXPECT_LT(seconds() - begin, 5);
	b = unit_stats(u);
	EXPECT_EQ(3 + 512, a.mapped - b.mapped);
	EXPECT_EQ(3 + 512, a.pinned - b.pinned);
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, 0x200000, HUGE(0)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, 0x40000000, HUGE(1)));
	/* What leads elsewhere is not the worse for it. */
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));

	/* The guest does not know; its next invalidation finds nothing there. */
	guest_run(&u->vm, g_flush_domain, 0);
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, 0x200000, HUGE(0)));
	/* The memory comes back, in other places; the guest maps it again. */
	ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, GPA_HUGE, vm_hva(&u->vm, HUGE(1)),
			      SZ_2M, IOAS_RW));
	guest_run(&u->vm, g_unmap, 0, 0x200000, 3, 0);
	guest_run(&u->vm, g_map, 0, 0x200000, HUGE(0), 1, MAP_RW);
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, 0x200000, HUGE(1)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, 0x200000, HUGE(0)));
}

/* The guest need do nothing for its memory to be back when the VMM says so. */
TEST_F(order, ioas_refreshed)
{
	struct unit *u = &self->u;

	unit_close(u);
	open_bare(u, &variant->config);
	ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, 0, u->vm.ram, GPA_HUGE, IOAS_RW));
	unit_add_device(u, 0, SID(0));
	start_guest(u);
	guest_run(&u->vm, g_map, 0, 0x200000, HUGE(0), 3, MAP_RW);
	guest_run(&u->vm, g_map, 0, 0x40000000, HUGE(1), 1, MAP_RW | MAP_LEAF(LEAF_2M));
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, 0x200000, HUGE(0)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, 0x40000000, HUGE(1)));
	/* Nothing to be had: no harm done */
	EXPECT_EQ(0, unit_refresh(u));
	EXPECT_EQ(1, unit_stats(u).mapped);

	ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, GPA_HUGE, vm_hva(&u->vm, GPA_HUGE),
			      GPA_RAM_END - GPA_HUGE, IOAS_RW));
	EXPECT_EQ(0, unit_refresh(u));
	EXPECT_EQ(1 + 3 + 512, unit_stats(u).mapped);
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, 0x200000, HUGE(0)));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, 0x40000000, HUGE(1)));

	/* Away and back, elsewhere */
	ASSERT_EQ(0, ioas_unmap(u->iommufd, u->ioas, GPA_HUGE, GPA_RAM_END - GPA_HUGE));
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, 0x200000, HUGE(0)));
	ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, GPA_HUGE, vm_hva(&u->vm, HUGE(1)),
			      SZ_2M, IOAS_RW));
	EXPECT_EQ(0, unit_refresh(u));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, 0x200000, HUGE(1)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, 0x200000, HUGE(0)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, 0x40000000, HUGE(1)));
}

/* The guest's tables and queue themselves go away. */
TEST_F(order, ioas_unmapped_under_tables)
{
	struct unit *u = &self->u;

	ASSERT_EQ(0, ioas_unmap(u->iommufd, u->ioas, 0, GPA_RAM_END));
	EXPECT_EQ(0, unit_stats(u).pinned);
	EXPECT_EQ(0, unit_stats(u).mapped);
	EXPECT_EQ(DMA_BLOCKED, dma_write(u, 0, IOVA, PAGE(0)));
	/* The queue is nowhere: an error as any other */
	guest_run(&u->vm, g_queue, VTD_QI_IOTLB | VTD_QI_GLOBAL, 0);
	guest_run(&u->vm, g_poke32, VTD_IQT, u->vm.g->tail * 16);
	EXPECT_EQ(VTD_FSTS_IQE, guest_run(&u->vm, g_peek32, VTD_FSTS));
	ASSERT_EQ(0, ioas_map(u->iommufd, u->ioas, 0, u->vm.ram, GPA_RAM_END, IOAS_RW));
	guest_run(&u->vm, g_poke32, VTD_FSTS, VTD_FSTS_IQE);
	EXPECT_EQ(0, guest_run(&u->vm, g_peek32, VTD_FSTS));
	guest_run(&u->vm, g_flush_global);
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
}

/* All of the guest's RAM but its tables and queue: the VMM can take that by itself. */
static int map_data(struct unit *u)
{
	return ioas_map(u->iommufd, u->ioas, GPA_DATA, vm_hva(&u->vm, GPA_DATA),
			GPA_RAM_END - GPA_DATA, IOAS_RW);
}

static int unmap_data(struct unit *u)
{
	return ioas_unmap(u->iommufd, u->ioas, GPA_DATA, GPA_RAM_END - GPA_DATA);
}

static void open_with_data(struct unit *u, const struct unit_config *config)
{
	open_bare(u, config);
	REQUIRE(!ioas_map(u->iommufd, u->ioas, 0, u->vm.ram, GPA_DATA, IOAS_RW));
	REQUIRE(!map_data(u));
	unit_add_device(u, 0, SID(0));
	start_guest(u);
}

/* The VMM takes memory away and gives it back while the guest maps there. */
TEST_F_TIMEOUT(order, ioas_unmapped_while_guest_works, 300)
{
	struct unit *u = &self->u;
	pthread_t thread;
	int i;

	unit_close(u);
	open_with_data(u, &variant->config);
	ASSERT_EQ(0, pthread_create(&thread, NULL, run_busy, u));
	for (i = 0; i < 50; i++) {
		ASSERT_EQ(0, unmap_data(u));
		ASSERT_EQ(0, map_data(u));
		wait_for_progress(u->vm.g);
	}
	WRITE_ONCE(u->vm.g->stop, 1);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	guest_run(&u->vm, g_flush_global);
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, IOVA, PAGE(0)));
}

/* Beyond the first GiB, where tables of all levels are needed */
#define FAR	0xc0000000
#define NR_FAR	256

static void *run_attach_again(void *arg)
{
	struct unit *u = arg;

	guest_run(&u->vm, g_attach_again, SID(0), DID);
	return NULL;
}

/*
 * The VMM takes memory away just as a device is attached to a domain that leads there:
 * drivers of the host may then rearrange its tables, or flush for devices that it has.
 */
TEST_F_TIMEOUT(order, ioas_unmapped_while_guest_attaches, 300)
{
	struct unit *u = &self->u;
	unsigned int revoked = 0;
	pthread_t thread;
	__u64 mapped;
	bool look;
	int i;

	unit_close(u);
	open_with_data(u, &variant->config);
	guest_run(&u->vm, g_map, 0, FAR, PAGE(0), NR_FAR, MAP_RW);
	ASSERT_EQ(0, pthread_create(&thread, NULL, run_attach_again, u));
	for (i = 0; i < 300; i++) {
		/* To look takes time: not each time, or the phase is never right. */
		look = i % 2;
		mapped = look ? unit_stats_now(u).mapped : 0;
		ASSERT_EQ(0, unmap_data(u));
		revoked += look && unit_stats_now(u).mapped < mapped;
		ASSERT_EQ(0, map_data(u));
		wait_for_steps(u->vm.g, 1);
	}
	WRITE_ONCE(u->vm.g->stop, 1);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	ksft_print_msg("%u times of %d there was something to be revoked\n", revoked, i / 2);
	EXPECT_LT(2, revoked);
	guest_run(&u->vm, g_flush_global);
	EXPECT_EQ(1 + NR_FAR, unit_stats(u).mapped);
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, FAR, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, dma_write(u, 0, FAR + (NR_FAR - 1) * PAGE_SIZE,
					 PAGE(NR_FAR - 1)));
}

/* The VMM rebuilds its memory map, as QEMU does when a PCI BAR moves. */
TEST_F(order, slot_created_anew)
{
	struct vm *vm = &self->u.vm;
	int i;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, vm_set_slot(vm, VM_SLOT_REGS, GPA_REGS, self->u.regs, 0, 0));
		unit_map_regs(&self->u);
		guest_run(vm, g_map, 0, IOVA + PAGE_SIZE, PAGE(1 + i), 1, MAP_RW);
		EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA + PAGE_SIZE,
						 PAGE(1 + i)));
	}
	/* At another address; at the old one there is nothing any more */
	ASSERT_EQ(0, vm_set_slot(vm, VM_SLOT_REGS, GPA_REGS, self->u.regs, 0, 0));
	ASSERT_EQ(0, vm_set_slot(vm, VM_SLOT_REGS, GPA_REGS + 0x10000,
				 self->u.regs, PAGE_SIZE, 0));
	EXPECT_EQ(EINVAL, unit_arm(self->u.fd, GPA_REGS));
	ASSERT_EQ(0, unit_arm(self->u.fd, GPA_REGS + 0x10000));
	vm->g->regs = GPA_REGS + 0x10000;
	guest_run(vm, g_unmap, 0, IOVA, 1, 0);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, IOVA, PAGE(0)));
	/* Another slot that comes and goes is none of the unit's business. */
	ASSERT_EQ(0, vm_set_slot(vm, VM_SLOT_SPARE, GPA_REGS, vm->ram, PAGE_SIZE, 0));
	ASSERT_EQ(0, vm_set_slot(vm, VM_SLOT_SPARE, GPA_REGS, vm->ram, 0, 0));
	guest_run(vm, g_map, 0, IOVA, PAGE(0), 1, MAP_RW);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));
}

/*
 * A guest that is let run between the new slot and ARM, against advice: what
 * the registers still show is not lost, and what they must show is repaired.
 */
static __u64 write_unseen(struct guest *g)
{
	g_write32(g, VTD_IQT, g->tail * 16);
	return g_write64(g, VTD_CAP, 0);
}

TEST_F(order, writes_before_arm)
{
	struct vm *vm = &self->u.vm;

	ASSERT_EQ(0, vm_set_slot(vm, VM_SLOT_REGS, GPA_REGS, self->u.regs, 0, 0));
	ASSERT_EQ(0, vm_set_slot(vm, VM_SLOT_REGS, GPA_REGS, self->u.regs, PAGE_SIZE, 0));
	guest_run(vm, g_queue, VTD_QI_WAIT | VTD_QI_WAIT_SW | VTD_QI_WAIT_DATA(77),
		  GPA_GUEST + offsetof(struct guest, status));
	guest_run(vm, write_unseen);
	/* A polling thread may still look at the page, in whichever slot it is. */
	if (variant->config.mode == UNIT_MODE_TRAP)
		EXPECT_NE(77, vm->g->status);
	ASSERT_EQ(0, unit_arm(self->u.fd, GPA_REGS));
	EXPECT_EQ(77, vm->g->status);
	EXPECT_EQ(self->u.cap, guest_run(vm, g_peek64, VTD_CAP));
	guest_run(vm, g_flush_global);
}

/* A VMM that dies at work */

/* A VMM with two devices whose guest is at work */
static void busy_vmm(const void *config)
{
	pthread_t thread;
	struct unit u;

	unit_open(&u, config);
	unit_add_device(&u, 0, SID(0));
	unit_add_device(&u, 1, SID(1));
	start_guest(&u);
	guest_run(&u.vm, g_attach, SID(1), 0);
	REQUIRE(!pthread_create(&thread, NULL, run_busy, &u));
	wait_for_progress(u.vm.g);
	unit_ready();
	pthread_join(thread, NULL);
}

TEST_F_TIMEOUT(order, vmm_killed, 600)
{
	int i;

	unit_close(&self->u);
	for (i = 0; i < 5; i++) {
		unit_kill(busy_vmm, &variant->config);
		/* At once, not some time later */
		EXPECT_TRUE(device_is_free(0));
		EXPECT_TRUE(device_is_free(1));
	}
}

/* A VMM that just exits, with DMA under way */
static void exit_during_dma(struct __test_metadata *_metadata, struct unit *u,
			    const struct unit_config *config)
{
	int i, status;
	pid_t pid;

	unit_close(u);
	for (i = 0; i < 5; i++) {
		pid = fork();
		if (!pid) {
			unit_open(u, config);
			unit_add_device(u, 0, SID(0));
			start_guest(u);
			guest_run(&u->vm, g_dma_start, 0, EDU_TO_RAM, IOVA,
				  0, EDU_PATTERN_SIZE);
			_exit(0);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_EQ(0, status);
		EXPECT_TRUE(device_is_free(0));
	}
}

TEST_F_TIMEOUT(order, exit_during_dma, 300)
{
	exit_during_dma(_metadata, &self->u, &variant->config);
}

TEST_F_TIMEOUT(nested, exit_during_dma, 300)
{
	exit_during_dma(_metadata, &self->u, &variant->config);
}

/* Nothing is pinned before the guest maps, and nothing after the end. */
TEST(pins_are_given_back)
{
	struct unit u;

	ASSERT_EQ(0, pinned_kib());
	unit_open(&u, &plain);
	unit_add_device(&u, 0, SID(0));
	EXPECT_EQ(0, pinned_kib());
	start_guest(&u);
	guest_run(&u.vm, g_map, 0, 0x40000000, HUGE(1), 1, MAP_RW | MAP_LEAF(LEAF_2M));
	EXPECT_LE(2048, pinned_kib());
	EXPECT_EQ(pinned_kib() / 4, unit_stats(&u).pinned);
	ASSERT_EQ(0, unit_reset(u.fd));
	EXPECT_EQ(0, pinned_kib());
	start_guest(&u);
	EXPECT_LT(0, pinned_kib());
	unit_close(&u);
	EXPECT_EQ(0, pinned_kib());
}

/*
 * A VMM's limit holds for what its guest has pinned, and pins that are kept
 * without need do not stand in the way of others.
 */
TEST(locked_memory_limit)
{
	struct kviommu_stats s;
	struct unit u;

	limit_locked_memory(256 * PAGE_SIZE);
	unit_open(&u, &plain);
	unit_add_device(&u, 0, SID(0));
	start_guest(&u);
	guest_run(&u.vm, g_map, 0, 0x200000, PAGE(100), 200, MAP_RW);
	EXPECT_EQ(0, unit_stats(&u).errors);
	guest_run(&u.vm, g_unmap, 0, 0x200000, 200, 0);
	/* Others than those that may still be in the cache */
	guest_run(&u.vm, g_map, 0, 0x200000, PAGE(400), 200, MAP_RW);
	s = unit_stats(&u);
	EXPECT_EQ(0, s.errors);
	EXPECT_EQ(201, s.mapped);
	EXPECT_EQ(DMA_REACHED, dma_write(&u, 0, 0x200000 + 199 * PAGE_SIZE, PAGE(599)));
	/* More than the limit: an error for each, and no harm to the rest */
	guest_run(&u.vm, g_map, 0, 0x400000, PAGE(700), 200, MAP_RW);
	s = unit_stats(&u);
	EXPECT_LT(100, s.errors);
	EXPECT_GE(256, s.pinned);
	EXPECT_EQ(DMA_REACHED, dma_write(&u, 0, 0x200000 + 199 * PAGE_SIZE, PAGE(599)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&u, 0, 0x400000 + 199 * PAGE_SIZE, PAGE(899)));
	/* Room again: what is mapped anew is there. */
	guest_run(&u.vm, g_unmap, 0, 0x200000, 200, 0);
	guest_run(&u.vm, g_unmap, 0, 0x400000, 200, 0);
	guest_run(&u.vm, g_map, 0, 0x400000, PAGE(700), 200, MAP_RW);
	EXPECT_EQ(s.errors, unit_stats(&u).errors);
	EXPECT_EQ(DMA_REACHED, dma_write(&u, 0, 0x400000 + 199 * PAGE_SIZE, PAGE(899)));
	unit_close(&u);
	EXPECT_EQ(0, pinned_kib());
}

/* The module */

static int load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return -1;
	ret = syscall(SYS_finit_module, fd, "", 0);
	close(fd);
	return ret;
}

TEST(module_unload)
{
	char self[256] = "", *ko = getenv("KVIOMMU_KO"), beside[300];
	struct unit u;
	int fd;

	if (!ko) {
		ASSERT_LT(0, readlink("/proc/self/exe", self, sizeof(self) - 1));
		snprintf(beside, sizeof(beside), "%s/kviommu.ko", dirname(self));
		ko = beside;
	}
	if (access(ko, R_OK))
		SKIP(return, "no %s to load again", ko);

	/* In use: by a file that is no unit yet, and by a unit */
	fd = unit_open_file();
	EXPECT_EQ(-1, syscall(SYS_delete_module, "kviommu", O_NONBLOCK));
	EXPECT_EQ(EWOULDBLOCK, errno);
	close(fd);
	unit_open(&u, &plain);
	unit_add_device(&u, 0, SID(0));
	start_guest(&u);
	EXPECT_EQ(-1, syscall(SYS_delete_module, "kviommu", O_NONBLOCK));
	EXPECT_EQ(EWOULDBLOCK, errno);
	EXPECT_EQ(DMA_REACHED, dma_write(&u, 0, IOVA, PAGE(0)));
	unit_close(&u);

	ASSERT_EQ(0, syscall(SYS_delete_module, "kviommu", O_NONBLOCK));
	EXPECT_EQ(-1, access("/dev/kviommu", F_OK));
	EXPECT_TRUE(device_is_free(0));
	ASSERT_EQ(0, load(ko));
	unit_open(&u, &plain);
	unit_add_device(&u, 0, SID(0));
	start_guest(&u);
	EXPECT_EQ(DMA_REACHED, dma_write(&u, 0, IOVA, PAGE(0)));
	unit_close(&u);
}

/* A mapping of the register page alone keeps the page, not the module busy
 * for ever: it has the file, and so the module, until it is gone.
 */
TEST(module_held_by_mapping)
{
	struct unit u;
	void *regs;

	unit_open(&u, &plain);
	regs = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, u.fd, 0);
	ASSERT_NE(MAP_FAILED, regs);
	unit_close(&u);
	EXPECT_EQ(-1, syscall(SYS_delete_module, "kviommu", O_NONBLOCK));
	EXPECT_EQ(EWOULDBLOCK, errno);
	munmap(regs, PAGE_SIZE);
}

TEST_HARNESS_MAIN
