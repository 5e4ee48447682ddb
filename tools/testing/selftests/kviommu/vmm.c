// SPDX-License-Identifier: GPL-2.0
/*
 * What the other tests rest on, without a unit: guest functions run, see what
 * the host wrote, drive an assigned device, and that device reaches memory.
 */
#include "kselftest_harness.h"
#include "unit.h"

FIXTURE(vmm) {
	struct vm vm;
};

FIXTURE_SETUP(vmm)
{
	vm_open(&self->vm);
}

FIXTURE_TEARDOWN(vmm)
{
	vm_close(&self->vm);
}

static __u64 global = 1;

static __u64 add_all(struct guest *g, __u64 a, __u64 b, __u64 c, __u64 d,
		     __u64 e)
{
	g->count = a;
	return a + 10 * b + 100 * c + 1000 * d + 10000 * e + global;
}

TEST_F(vmm, arguments_and_result)
{
	ASSERT_EQ(54322, guest_run(&self->vm, add_all, 1, 2, 3, 4, 5));
	ASSERT_EQ(1, self->vm.g->count);
	/* Guest and host have one image. */
	global = 0x100000000;
	ASSERT_EQ(0x100000000 + 7, guest_run(&self->vm, add_all, 7, 0, 0, 0, 0));
}

static __u64 two_stages(struct guest *g)
{
	g->count = 1;
	g_sync(g, 1);
	G_ASSERT(g, g->count == 2);
	g_sync(g, 2);
	return 3;
}

TEST_F(vmm, sync)
{
	ASSERT_FALSE(guest_start(&self->vm, two_stages));
	ASSERT_EQ(1, self->vm.g->stage);
	ASSERT_EQ(1, self->vm.g->count);
	self->vm.g->count = 2;
	ASSERT_FALSE(vm_resume(&self->vm, 0));
	ASSERT_EQ(2, self->vm.g->stage);
	ASSERT_TRUE(vm_resume(&self->vm, 0));
	ASSERT_EQ(3, self->vm.g->call[0].ret);
}

static __u64 fails(struct guest *g)
{
	G_ASSERT_GOT(g, global == 2, global);
	return 0;
}

static __u64 touches_nothing(struct guest *g, __u64 gpa)
{
	return READ_ONCE(*(__u32 *)gpa);
}

/* What a test must not miss: the process ends, as failed. */
static int outcome_of(bool asserts)
{
	struct vm vm;
	int status;
	pid_t pid = fork();

	if (!pid) {
		vm_open(&vm);
		if (asserts)
			guest_run(&vm, fails);
		else
			guest_run(&vm, touches_nothing, GPA_REGS);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

TEST_F(vmm, failures_are_seen)
{
	ASSERT_EQ(KSFT_FAIL, outcome_of(false));
	ASSERT_EQ(KSFT_FAIL, outcome_of(true));
}

FIXTURE(device) {
	struct vm vm;
	struct edu edu[2];
	int iommufd;
	__u32 ioas;
};

FIXTURE_SETUP(device)
{
	int i;

	vm_open(&self->vm);
	self->iommufd = iommufd_open();
	self->ioas = ioas_alloc(self->iommufd);
	for (i = 0; i < 2; i++) {
		edu_open(&self->edu[i], i);
		edu_bind(&self->edu[i], self->iommufd);
		edu_seed(&self->edu[i]);
		ASSERT_EQ(0, vm_set_slot(&self->vm, VM_SLOT_BAR + i,
					 GPA_BAR + i * GPA_BAR_STEP,
					 self->edu[i].bar,
					 self->edu[i].bar_size, 0));
		self->vm.g->bar[i] = GPA_BAR + i * GPA_BAR_STEP;
	}
	self->vm.g->bar_end = 2;
	ASSERT_EQ(0, ioas_map(self->iommufd, self->ioas, 0, self->vm.ram,
			      GPA_RAM_END, IOAS_RW));
}

FIXTURE_TEARDOWN(device)
{
	edu_close(&self->edu[0]);
	edu_close(&self->edu[1]);
	close(self->iommufd);
	vm_close(&self->vm);
}

TEST_F(device, guest_drives_dma)
{
	__u8 *page = vm_hva(&self->vm, PAGE(0));
	int i;

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, edu_attach_ioas(&self->edu[i], self->ioas));
		memset(page, 0, PAGE_SIZE);
		guest_run(&self->vm, g_dma, i, EDU_TO_RAM, PAGE(0), 0,
			  EDU_PATTERN_SIZE);
		ASSERT_EQ(0, memcmp(page, self->edu[i].pattern,
				    EDU_PATTERN_SIZE));
		ASSERT_EQ(0, edu_detach_ioas(&self->edu[i]));
	}
	ASSERT_NE(0, memcmp(self->edu[0].pattern, self->edu[1].pattern,
			    EDU_PATTERN_SIZE));
}

TEST_F(device, unattached_is_blocked)
{
	__u8 *page = vm_hva(&self->vm, PAGE(0));

	memset(page, 0, PAGE_SIZE);
	guest_run(&self->vm, g_dma, 0, EDU_TO_RAM, PAGE(0), 0, DMA_LEN);
	ASSERT_NE(0, memcmp(page, self->edu[0].pattern, DMA_LEN));
}

TEST_HARNESS_MAIN
