// SPDX-License-Identifier: GPL-2.0
/*
 * Each error of include/uapi/linux/kviommu.h, provoked, one at a time: all
 * else about the call is right.
 *
 * Not provoked: ENOSPC (it takes more devices than out_max_devices), ENOMEM,
 * EINTR.
 */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <linux/vfio.h>

#include "kselftest_harness.h"
#include "require.h"
#include "unit.h"

static const struct unit_config plain = { .mode = UNIT_MODE_TRAP };

/* All the ioctls, with an argument that is right as far as it can be. */
union any_arg {
	__u32 size;
	struct {
		__u32 size;
		__u32 flags;
	} head;
	struct kviommu_info info;
	struct kviommu_create create;
	struct kviommu_arm arm;
	struct kviommu_attach_device attach;
	struct kviommu_detach_device detach;
	struct kviommu_set_eventfd eventfd;
	struct kviommu_reset reset;
	struct kviommu_stats stats;
	struct kviommu_policy policy;
	struct kviommu_refresh refresh;
	struct kviommu_release_pins release_pins;
	__u8 bytes[4096];
};

static const struct call {
	const char *name;
	unsigned long cmd;
	/* Up to the end of the last member of the first version */
	__u32 size;
	bool needs_unit;
	bool writes;
} calls[] = {
	{ "GET_INFO", KVIOMMU_GET_INFO, sizeof(struct kviommu_info), false, true },
	{ "CREATE", KVIOMMU_CREATE, sizeof(struct kviommu_create), false, true },
	{ "ARM", KVIOMMU_ARM, sizeof(struct kviommu_arm), true, false },
	{ "ATTACH_DEVICE", KVIOMMU_ATTACH_DEVICE,
	  sizeof(struct kviommu_attach_device), true, false },
	{ "DETACH_DEVICE", KVIOMMU_DETACH_DEVICE,
	  sizeof(struct kviommu_detach_device), true, false },
	{ "SET_EVENTFD", KVIOMMU_SET_EVENTFD, sizeof(struct kviommu_set_eventfd),
	  true, false },
	{ "RESET", KVIOMMU_RESET, sizeof(struct kviommu_reset), true, false },
	{ "GET_STATS", KVIOMMU_GET_STATS, sizeof(struct kviommu_stats), true,
	  true },
	{ "SET_POLICY", KVIOMMU_SET_POLICY, sizeof(struct kviommu_policy), true,
	  false },
	{ "GET_POLICY", KVIOMMU_GET_POLICY, sizeof(struct kviommu_policy), true,
	  true },
	{ "REFRESH", KVIOMMU_REFRESH, sizeof(struct kviommu_refresh), true,
	  false },
	{ "RELEASE_PINS", KVIOMMU_RELEASE_PINS,
	  sizeof(struct kviommu_release_pins), true, true },
};

/* Run in a child, which has our files but not our address space. */
static int in_child(int (*fn)(void *arg), void *arg)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(fn(arg));
	REQUIRE(pid > 0);
	REQUIRE(waitpid(pid, &status, 0) == pid);
	REQUIRE(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int unit_ioctl_of(const struct call *c, int fd, void *arg)
{
	return unit_ioctl(fd, c->cmd, arg);
}

FIXTURE(uapi) {
	struct unit u;
	struct edu edu;
	int fd;
};

/* u is a whole unit without devices; edu is bound to its iommufd; fd is fresh. */
FIXTURE_SETUP(uapi)
{
	unit_open(&self->u, &plain);
	edu_open(&self->edu, 0);
	edu_bind(&self->edu, self->u.iommufd);
	self->fd = unit_open_file();
}

FIXTURE_TEARDOWN(uapi)
{
	close(self->fd);
	edu_close(&self->edu);
	unit_close(&self->u);
}

static void good_arg(FIXTURE_DATA(uapi) * self, const struct call *c,
		     union any_arg *arg)
{
	memset(arg, 0, sizeof(*arg));
	arg->size = c->size;
	switch (c->cmd) {
	case KVIOMMU_CREATE:
		arg->create.kvm_fd = self->u.vm.fd;
		arg->create.iommufd = self->u.iommufd;
		arg->create.ioas_id = self->u.ioas;
		arg->create.model = KVIOMMU_MODEL_VTD;
		arg->create.aw_bits = 48;
		break;
	case KVIOMMU_ARM:
		arg->arm.gpa = GPA_REGS;
		break;
	case KVIOMMU_ATTACH_DEVICE:
		arg->attach.device_fd = self->edu.fd;
		arg->attach.source_id = SID(0);
		break;
	case KVIOMMU_DETACH_DEVICE:
		arg->detach.source_id = SID(0);
		break;
	case KVIOMMU_SET_EVENTFD:
		arg->eventfd.event = KVIOMMU_EVENT_FAULT;
		arg->eventfd.fd = -1;
		break;
	case KVIOMMU_SET_POLICY:
		/* Nothing at all is what every host allows. */
		arg->policy.mode = KVIOMMU_MODE_TRAP;
		arg->policy.strategy = KVIOMMU_STRATEGY_STRICT;
		break;
	case KVIOMMU_RELEASE_PINS:
		arg->release_pins.gpa = PAGE(0);
		arg->release_pins.length = PAGE_SIZE;
		break;
	}
}

/* CREATE is right on a fresh file only, everything else on a unit's. */
static int fd_for(FIXTURE_DATA(uapi) * self, const struct call *c)
{
	return c->cmd == KVIOMMU_CREATE ? self->fd : self->u.fd;
}

TEST_F(uapi, info)
{
	struct kviommu_info info = { .size = sizeof(info) };

	/* Without a unit */
	ASSERT_EQ(0, unit_ioctl(self->fd, KVIOMMU_GET_INFO, &info));
	EXPECT_EQ(KVIOMMU_API_VERSION, info.out_api_version);
	EXPECT_TRUE(info.out_models & 1 << KVIOMMU_MODEL_VTD);
	EXPECT_TRUE(info.out_features & KVIOMMU_FEATURE_TRAP);
	EXPECT_LT(0, info.out_max_devices);
	EXPECT_EQ(PAGE_SIZE, info.out_page_size);
	/* And with one */
	EXPECT_EQ(0, unit_ioctl(self->u.fd, KVIOMMU_GET_INFO, &info));
}

/* Every good argument is one: or the other tests prove nothing. */
TEST_F(uapi, good_calls)
{
	union any_arg arg;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		good_arg(self, &calls[i], &arg);
		EXPECT_EQ(0, unit_ioctl_of(&calls[i], fd_for(self, &calls[i]), &arg))
			TH_LOG("%s", calls[i].name);
	}
}

TEST_F(uapi, unknown_ioctl)
{
	union any_arg arg = { .size = sizeof(arg) };

	EXPECT_EQ(ENOTTY, unit_ioctl(self->u.fd, _IO(KVIOMMU_TYPE, 0x7f), &arg));
	EXPECT_EQ(ENOTTY, unit_ioctl(self->u.fd,
				     _IO(KVIOMMU_TYPE, KVIOMMU_CMD_RELEASE_PINS + 1),
				      &arg));
	EXPECT_EQ(ENOTTY, unit_ioctl(self->u.fd, _IO(0x3b, KVIOMMU_CMD_ARM), &arg));
	EXPECT_EQ(ENOTTY, unit_ioctl(self->u.fd,
				     _IOWR(KVIOMMU_TYPE, KVIOMMU_CMD_ARM,
					   struct kviommu_arm), &arg));
	EXPECT_EQ(ENOTTY, unit_ioctl(self->fd, _IO(KVIOMMU_TYPE, 0x7f), &arg));
}

TEST_F(uapi, sizes)
{
	union any_arg arg;
	unsigned int i, n;

	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		const struct call *c = &calls[i];
		int fd = fd_for(self, c);

		good_arg(self, c, &arg);
		arg.size = 0;
		EXPECT_EQ(EINVAL, unit_ioctl_of(c, fd, &arg))
			TH_LOG("%s", c->name);
		arg.size = 4;
		EXPECT_EQ(EINVAL, unit_ioctl_of(c, fd, &arg))
			TH_LOG("%s", c->name);
		/* Cut the last mandatory member: for all but RESET more than
		 * size and flags.
		 */
		arg.size = c->size - 1;
		EXPECT_EQ(EINVAL, unit_ioctl_of(c, fd, &arg))
			TH_LOG("%s", c->name);

		/* Newer userspace that uses nothing new */
		good_arg(self, c, &arg);
		arg.size = c->size + 8;
		arg.bytes[c->size + 7] = 1;
		EXPECT_EQ(E2BIG, unit_ioctl_of(c, fd, &arg))
			TH_LOG("%s", c->name);
		arg.size = sizeof(arg);
		EXPECT_EQ(E2BIG, unit_ioctl_of(c, fd, &arg))
			TH_LOG("%s", c->name);
		arg.bytes[c->size + 7] = 0;
		/* As a page is more than any structure will be, this is right. */
		EXPECT_EQ(0, unit_ioctl_of(c, fd, &arg))
			TH_LOG("%s", c->name);
		/* Nothing is written beyond what the kernel knows. */
		for (n = c->size; n < sizeof(arg); n++)
			ASSERT_EQ(0, arg.bytes[n]);
	}
}

TEST_F(uapi, flags)
{
	union any_arg arg;
	unsigned int i;

	ASSERT_EQ(0, unit_attach(self->u.fd, self->edu.fd, SID(1)));
	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		const struct call *c = &calls[i];

		good_arg(self, c, &arg);
		arg.head.flags = BIT(31);
		EXPECT_EQ(EOPNOTSUPP, unit_ioctl_of(c, fd_for(self, c), &arg))
			TH_LOG("%s", c->name);
		good_arg(self, c, &arg);
		arg.head.flags = BIT(1);
		EXPECT_EQ(EOPNOTSUPP, unit_ioctl_of(c, fd_for(self, c), &arg))
			TH_LOG("%s", c->name);
	}
}

TEST_F(uapi, fault)
{
	void *page = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kviommu_stats stats = { .size = sizeof(stats) };
	union any_arg arg;
	unsigned int i;

	ASSERT_NE(MAP_FAILED, page);
	ASSERT_EQ(0, mprotect(page + PAGE_SIZE, PAGE_SIZE, PROT_NONE));
	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		const struct call *c = &calls[i];
		int fd = fd_for(self, c);

		EXPECT_EQ(EFAULT, unit_ioctl_of(c, fd, NULL))
			TH_LOG("%s", c->name);
		good_arg(self, c, &arg);
		/* The size can be read, the rest cannot. */
		memcpy(page + PAGE_SIZE - 4, &arg, 4);
		EXPECT_EQ(EFAULT, unit_ioctl_of(c, fd, page + PAGE_SIZE - 4))
			TH_LOG("%s", c->name);
		/* Nothing can be written. */
		if (!c->writes)
			continue;
		memcpy(page, &arg, c->size);
		ASSERT_EQ(0, mprotect(page, PAGE_SIZE, PROT_READ));
		EXPECT_EQ(EFAULT, unit_ioctl_of(c, fd, page))
			TH_LOG("%s", c->name);
		ASSERT_EQ(0, mprotect(page, PAGE_SIZE, PROT_READ | PROT_WRITE));
	}
	/* A CREATE that failed made no unit. */
	EXPECT_EQ(ENODEV, unit_ioctl(self->fd, KVIOMMU_GET_STATS, &stats));
	EXPECT_EQ(0, unit_create(self->fd, self->u.vm.fd, self->u.iommufd,
				 self->u.ioas, &plain, NULL));
}

TEST_F(uapi, no_unit_yet)
{
	union any_arg arg;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		const struct call *c = &calls[i];

		if (!c->needs_unit)
			continue;
		good_arg(self, c, &arg);
		EXPECT_EQ(ENODEV, unit_ioctl_of(c, self->fd, &arg))
			TH_LOG("%s", c->name);
	}
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
				   MAP_SHARED, self->fd, 0));
}

struct child_call {
	const struct call *c;
	union any_arg arg;
	int fd;
};

static int call_in_child(void *arg)
{
	struct child_call *cc = arg;

	return unit_ioctl(cc->fd, cc->c->cmd, &cc->arg);
}

TEST_F(uapi, other_process)
{
	struct child_call cc = { .fd = self->u.fd };
	unsigned int i;

	ASSERT_EQ(0, unit_attach(self->u.fd, self->edu.fd, SID(1)));
	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		cc.c = &calls[i];
		if (!cc.c->needs_unit)
			continue;
		good_arg(self, cc.c, &cc.arg);
		EXPECT_EQ(EPERM, in_child(call_in_child, &cc))
			TH_LOG("%s", cc.c->name);
	}
	/* Who needs no unit may ask. */
	cc.c = &calls[0];
	good_arg(self, cc.c, &cc.arg);
	EXPECT_EQ(0, in_child(call_in_child, &cc));
	/* And it did no harm. */
	EXPECT_EQ(0, unit_detach(self->u.fd, SID(1)));
}

/* CREATE */

TEST_F(uapi, create_twice)
{
	EXPECT_EQ(EBUSY, unit_create(self->u.fd, self->u.vm.fd, self->u.iommufd,
				     self->u.ioas, &plain, NULL));
}

TEST_F(uapi, create_bad_fds)
{
	struct vm *vm = &self->u.vm;
	int iommufd = self->u.iommufd;
	__u32 ioas = self->u.ioas;
	int other = eventfd(0, EFD_CLOEXEC);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	EXPECT_EQ(EBADF, unit_create(self->fd, -1, iommufd, ioas, &plain, NULL));
	EXPECT_EQ(EBADF, unit_create(self->fd, 1000, iommufd, ioas, &plain, NULL));
	EXPECT_EQ(EBADF, unit_create(self->fd, vm->fd, -1, ioas, &plain, NULL));
	EXPECT_EQ(EBADF, unit_create(self->fd, vm->fd, 1000, ioas, &plain, NULL));

	/* Files of KVM's own that are no virtual machine, and others */
	EXPECT_EQ(EINVAL, unit_create(self->fd, vm->kvm, iommufd, ioas, &plain, NULL));
	EXPECT_EQ(EINVAL, unit_create(self->fd, vm->vcpu[0].fd, iommufd, ioas, &plain, NULL));
	EXPECT_EQ(EINVAL, unit_create(self->fd, other, iommufd, ioas, &plain, NULL));
	EXPECT_EQ(EINVAL, unit_create(self->fd, null, iommufd, ioas, &plain, NULL));
	EXPECT_EQ(EINVAL, unit_create(self->fd, iommufd, iommufd, ioas, &plain, NULL));
	EXPECT_EQ(EINVAL, unit_create(self->fd, vm->fd, vm->fd, ioas, &plain, NULL));
	EXPECT_EQ(EINVAL, unit_create(self->fd, vm->fd, other, ioas, &plain, NULL));
	EXPECT_EQ(EINVAL, unit_create(self->fd, vm->fd, null, ioas, &plain, NULL));
	EXPECT_EQ(EINVAL, unit_create(self->fd, vm->fd, self->u.fd, ioas, &plain, NULL));

	/* None of this spoiled the file. */
	EXPECT_EQ(0, unit_create(self->fd, vm->fd, iommufd, ioas, &plain, NULL));
	close(other);
	close(null);
}

TEST_F(uapi, create_bad_values)
{
	union any_arg arg;
	const struct call *create = &calls[1];
	static const __u32 widths[] = { 0, 1, 38, 58, 64, ~0U };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(widths); i++) {
		good_arg(self, create, &arg);
		arg.create.aw_bits = widths[i];
		EXPECT_EQ(EINVAL, unit_ioctl_of(create, self->fd, &arg))
			TH_LOG("%s", create->name);
	}
	good_arg(self, create, &arg);
	arg.create.__reserved = 1;
	EXPECT_EQ(EINVAL, unit_ioctl_of(create, self->fd, &arg))
		TH_LOG("%s", create->name);
	good_arg(self, create, &arg);
	arg.create.model = 0;
	EXPECT_EQ(EOPNOTSUPP, unit_ioctl_of(create, self->fd, &arg))
		TH_LOG("%s", create->name);
	arg.create.model = 99;
	EXPECT_EQ(EOPNOTSUPP, unit_ioctl_of(create, self->fd, &arg))
		TH_LOG("%s", create->name);
	good_arg(self, create, &arg);
	arg.create.ioas_id = self->u.ioas + 100;
	EXPECT_EQ(ENOENT, unit_ioctl_of(create, self->fd, &arg))
		TH_LOG("%s", create->name);
	arg.create.ioas_id = 0;
	EXPECT_EQ(ENOENT, unit_ioctl_of(create, self->fd, &arg))
		TH_LOG("%s", create->name);

	good_arg(self, create, &arg);
	arg.create.aw_bits = 40;
	EXPECT_EQ(0, unit_ioctl_of(create, self->fd, &arg))
		TH_LOG("%s", create->name);
	EXPECT_NE(0, arg.create.out_cap);
	EXPECT_NE(0, arg.create.out_ecap);
}

/* Wider than this host's physical IOMMU */
TEST_F(uapi, attach_too_wide)
{
	struct unit_config wide = { .mode = UNIT_MODE_TRAP, .aw_bits = 57 };
	struct unit_config narrow = { .mode = UNIT_MODE_TRAP, .aw_bits = 48 };
	int other = unit_open_file();

	ASSERT_EQ(0, unit_create(self->fd, self->u.vm.fd, self->u.iommufd,
				 self->u.ioas, &wide, NULL));
	EXPECT_EQ(EMEDIUMTYPE, unit_attach(self->fd, self->edu.fd, SID(0)));
	/* That left it free. */
	ASSERT_EQ(0, unit_create(other, self->u.vm.fd, self->u.iommufd,
				 self->u.ioas, &narrow, NULL));
	EXPECT_EQ(0, unit_attach(other, self->edu.fd, SID(0)));
	close(other);
}

/* An object of the iommufd that is no IOAS */
TEST_F(uapi, create_device_id_as_ioas)
{
	struct vfio_device_bind_iommufd bind = {
		.argsz = sizeof(bind), .iommufd = self->u.iommufd,
	};
	struct edu edu;

	edu_open(&edu, 1);
	ASSERT_EQ(0, ioctl(edu.fd, VFIO_DEVICE_BIND_IOMMUFD, &bind));
	EXPECT_EQ(ENOENT, unit_create(self->fd, self->u.vm.fd, self->u.iommufd,
				      bind.out_devid, &plain, NULL));
	edu_close(&edu);
}

struct child_create {
	int fd;
	struct unit *u;
};

static int create_in_child(void *arg)
{
	struct child_create *cc = arg;

	return unit_create(cc->fd, cc->u->vm.fd, cc->u->iommufd, cc->u->ioas,
			   &plain, NULL);
}

TEST_F(uapi, create_other_process)
{
	struct child_create cc = { .fd = self->fd, .u = &self->u };

	EXPECT_EQ(EPERM, in_child(create_in_child, &cc));
	EXPECT_EQ(0, unit_create(self->fd, self->u.vm.fd, self->u.iommufd,
				 self->u.ioas, &plain, NULL));
}

/* ARM */

TEST_F(uapi, arm)
{
	EXPECT_EQ(EINVAL, unit_arm(self->u.fd, GPA_REGS + 1));
	EXPECT_EQ(EINVAL, unit_arm(self->u.fd, GPA_REGS + 0x88));
	/* No slot there, or out of any guest's space */
	EXPECT_EQ(EINVAL, unit_arm(self->u.fd, GPA_REGS + PAGE_SIZE));
	EXPECT_EQ(EINVAL, unit_arm(self->u.fd, BIT(62)));
	EXPECT_EQ(EINVAL, unit_arm(self->u.fd, -PAGE_SIZE));
	/* Without need */
	EXPECT_EQ(0, unit_arm(self->u.fd, GPA_REGS));
	EXPECT_EQ(0, unit_arm(self->u.fd, GPA_REGS));
	guest_run(&self->u.vm, g_setup, 0);
}

TEST_F(uapi, arm_read_only_slot)
{
	ASSERT_EQ(0, vm_set_slot(&self->u.vm, VM_SLOT_SPARE, GPA_REGS + 0x10000,
				 self->u.regs, PAGE_SIZE, KVM_MEM_READONLY));
	EXPECT_EQ(EINVAL, unit_arm(self->u.fd, GPA_REGS + 0x10000));
	/* The refusal left the unit where it was. */
	guest_run(&self->u.vm, g_setup, 0);
}

/* One page cannot show the registers of two units. */
TEST_F(uapi, arm_where_another_unit_is)
{
	struct vm *vm = &self->u.vm;
	void *regs;

	ASSERT_EQ(0, unit_create(self->fd, vm->fd, self->u.iommufd, self->u.ioas,
				 &plain, NULL));
	EXPECT_EQ(EBUSY, unit_arm(self->fd, GPA_REGS));
	guest_run(vm, g_setup, 0);
	/* At a place of its own it is welcome, and when the other has gone. */
	regs = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		    self->fd, 0);
	ASSERT_NE(MAP_FAILED, regs);
	ASSERT_EQ(0, vm_set_slot(vm, VM_SLOT_SPARE, GPA_REGS + 0x10000, regs,
				 PAGE_SIZE, 0));
	EXPECT_EQ(0, unit_arm(self->fd, GPA_REGS + 0x10000));
	guest_run(vm, g_flush_global);
	vm->g->regs = GPA_REGS + 0x10000;
	guest_run(vm, g_setup, 0);
	ASSERT_EQ(0, vm_set_slot(vm, VM_SLOT_REGS, GPA_REGS, self->u.regs, 0, 0));
	ASSERT_EQ(0, vm_set_slot(vm, VM_SLOT_SPARE, GPA_REGS + 0x10000, regs, 0, 0));
	ASSERT_EQ(0, vm_set_slot(vm, VM_SLOT_REGS, GPA_REGS, regs, PAGE_SIZE, 0));
	EXPECT_EQ(0, unit_arm(self->fd, GPA_REGS));
	vm->g->regs = GPA_REGS;
	guest_run(vm, g_flush_global);
}

TEST(arm_without_slot)
{
	struct unit_config config = { .no_arm = true };
	struct unit u;

	unit_open(&u, &config);
	EXPECT_EQ(EINVAL, unit_arm(u.fd, GPA_REGS));
	unit_map_regs(&u);
	guest_run(&u.vm, g_setup, 0);
	unit_close(&u);
}

/* ATTACH_DEVICE and DETACH_DEVICE */

TEST_F(uapi, attach_bad_fds)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int other = eventfd(0, EFD_CLOEXEC);
	int fd = self->u.fd;

	EXPECT_EQ(EBADF, unit_attach(fd, -1, SID(0)));
	EXPECT_EQ(EBADF, unit_attach(fd, 1000, SID(0)));
	EXPECT_EQ(EINVAL, unit_attach(fd, null, SID(0)));
	EXPECT_EQ(EINVAL, unit_attach(fd, other, SID(0)));
	EXPECT_EQ(EINVAL, unit_attach(fd, self->u.vm.fd, SID(0)));
	EXPECT_EQ(EINVAL, unit_attach(fd, self->u.iommufd, SID(0)));
	EXPECT_EQ(EINVAL, unit_attach(fd, fd, SID(0)));
	EXPECT_EQ(0, unit_attach(fd, self->edu.fd, SID(0)));
	close(null);
	close(other);
}

TEST_F(uapi, attach_unbound)
{
	struct edu edu;

	edu_open(&edu, 1);
	EXPECT_EQ(EINVAL, unit_attach(self->u.fd, edu.fd, SID(1)));
	edu_bind(&edu, self->u.iommufd);
	EXPECT_EQ(0, unit_attach(self->u.fd, edu.fd, SID(1)));
	edu_close(&edu);
}

TEST_F(uapi, attach_other_iommufd)
{
	int iommufd = iommufd_open();
	struct edu edu;

	edu_open(&edu, 1);
	edu_bind(&edu, iommufd);
	EXPECT_EQ(EXDEV, unit_attach(self->u.fd, edu.fd, SID(1)));
	edu_close(&edu);
	close(iommufd);
}

/* A group's file, and the device's file that one gets from a group */
TEST_F(uapi, attach_group)
{
	char path[64], bdf[32];
	unsigned int number;
	int group, fd;

	edu_find(1, path, bdf, &number);
	snprintf(path, sizeof(path), "/dev/vfio/%u", number);
	group = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, group) {
		TH_LOG("%s: %s", path, strerror(errno));
	}
	EXPECT_EQ(EINVAL, unit_attach(self->u.fd, group, SID(1)));

	/* iommufd in place of VFIO's container */
	ASSERT_EQ(0, ioctl(group, VFIO_GROUP_SET_CONTAINER, &self->u.iommufd));
	fd = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	ASSERT_LE(0, fd) {
		TH_LOG("%s: %s", bdf, strerror(errno));
	}
	EXPECT_EQ(EINVAL, unit_attach(self->u.fd, fd, SID(1)));
	close(fd);
	close(group);
}

TEST_F(uapi, attach_busy_in_ioas)
{
	__u32 ioas = ioas_alloc(self->u.iommufd);

	ASSERT_EQ(0, edu_attach_ioas(&self->edu, ioas));
	EXPECT_EQ(EBUSY, unit_attach(self->u.fd, self->edu.fd, SID(0)));
	/* It still works for its owner, and then for us. */
	ASSERT_EQ(0, edu_detach_ioas(&self->edu));
	EXPECT_EQ(0, unit_attach(self->u.fd, self->edu.fd, SID(0)));
	EXPECT_EQ(EBUSY, edu_attach_ioas(&self->edu, ioas));
	EXPECT_EQ(0, unit_detach(self->u.fd, SID(0)));
	EXPECT_EQ(0, edu_attach_ioas(&self->edu, ioas));
}

TEST_F(uapi, attach_busy_in_unit)
{
	int fd = self->u.fd;

	ASSERT_EQ(0, unit_attach(fd, self->edu.fd, SID(0)));
	/* In this unit, under another requester ID */
	EXPECT_EQ(EBUSY, unit_attach(fd, self->edu.fd, SID(1)));
	/* In another unit */
	ASSERT_EQ(0, unit_create(self->fd, self->u.vm.fd, self->u.iommufd,
				 self->u.ioas, &plain, NULL));
	EXPECT_EQ(EBUSY, unit_attach(self->fd, self->edu.fd, SID(0)));
	EXPECT_EQ(EBUSY, unit_attach(self->fd, self->edu.fd, SID(1)));
	/* What failed left nothing: it can be moved. */
	EXPECT_EQ(0, unit_detach(fd, SID(0)));
	EXPECT_EQ(0, unit_attach(self->fd, self->edu.fd, SID(1)));
	EXPECT_EQ(EBUSY, unit_attach(fd, self->edu.fd, SID(0)));
	EXPECT_EQ(ENOENT, unit_detach(fd, SID(0)));
	EXPECT_EQ(0, unit_detach(self->fd, SID(1)));
}

TEST_F(uapi, attach_source_id)
{
	struct edu edu;

	edu_open(&edu, 1);
	edu_bind(&edu, self->u.iommufd);
	EXPECT_EQ(EINVAL, unit_attach(self->u.fd, edu.fd, 0x10000));
	EXPECT_EQ(EINVAL, unit_attach(self->u.fd, edu.fd, ~0U));
	ASSERT_EQ(0, unit_attach(self->u.fd, self->edu.fd, 0xffff));
	EXPECT_EQ(EEXIST, unit_attach(self->u.fd, edu.fd, 0xffff));
	/* The refusal left it free. */
	EXPECT_EQ(0, unit_attach(self->u.fd, edu.fd, 0));
	EXPECT_EQ(2, unit_stats(&self->u).out_devices);
	EXPECT_EQ(0, unit_detach(self->u.fd, 0xffff));
	EXPECT_EQ(0, unit_detach(self->u.fd, 0));
	EXPECT_EQ(0, unit_stats(&self->u).out_devices);
	edu_close(&edu);
}

TEST_F(uapi, detach)
{
	struct kviommu_detach_device bad = {
		.size = sizeof(bad), .source_id = SID(0), .__reserved = 1,
	};
	int fd = self->u.fd;

	EXPECT_EQ(ENOENT, unit_detach(fd, SID(0)));
	ASSERT_EQ(0, unit_attach(fd, self->edu.fd, SID(0)));
	EXPECT_EQ(EINVAL, unit_ioctl(fd, KVIOMMU_DETACH_DEVICE, &bad));
	EXPECT_EQ(ENOENT, unit_detach(fd, SID(1)));
	EXPECT_EQ(0, unit_detach(fd, SID(0)));
	EXPECT_EQ(ENOENT, unit_detach(fd, SID(0)));
}

/* Attach and detach leave nothing behind that the next one trips over. */
TEST_F(uapi, attach_again_and_again)
{
	int i;

	for (i = 0; i < 50; i++) {
		ASSERT_EQ(0, unit_attach(self->u.fd, self->edu.fd, SID(i & 1)));
		ASSERT_EQ(0, unit_detach(self->u.fd, SID(i & 1)));
	}
}

/* SET_EVENTFD */

TEST_F(uapi, set_eventfd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int efd = eventfd(0, EFD_CLOEXEC);
	int fd = self->u.fd;
	__u32 event;

	for (event = KVIOMMU_EVENT_FAULT; event <= KVIOMMU_EVENT_LIMIT; event++) {
		EXPECT_EQ(EBADF, unit_set_eventfd(fd, event, 1000));
		EXPECT_EQ(EINVAL, unit_set_eventfd(fd, event, null));
		EXPECT_EQ(EINVAL, unit_set_eventfd(fd, event, self->u.vm.fd));
		EXPECT_EQ(0, unit_set_eventfd(fd, event, efd));
		/* Another in its place, none, none again */
		EXPECT_EQ(0, unit_set_eventfd(fd, event, efd));
		EXPECT_EQ(0, unit_set_eventfd(fd, event, -1));
		EXPECT_EQ(0, unit_set_eventfd(fd, event, -1));
		/* -1 is what says none, and nothing else */
		EXPECT_EQ(EBADF, unit_set_eventfd(fd, event, -2));
	}
	EXPECT_EQ(EOPNOTSUPP, unit_set_eventfd(fd, KVIOMMU_EVENT_LIMIT + 1, efd));
	EXPECT_EQ(EOPNOTSUPP, unit_set_eventfd(fd, ~0U, efd));
	close(null);
	close(efd);
}

/* SET_POLICY and GET_POLICY */

TEST_F(uapi, policy)
{
	struct kviommu_policy host = unit_policy(&self->u), p;
	unsigned int i;

	EXPECT_EQ(sizeof(host), host.size);
	EXPECT_EQ(0, host.flags);
	EXPECT_EQ(KVIOMMU_MODE_TRAP, host.mode);
	EXPECT_EQ(KVIOMMU_STRATEGY_STRICT, host.strategy);
	EXPECT_LT(0, host.max_pins);
	EXPECT_LT(0, host.max_tables);
	EXPECT_LT(0, host.max_domains);
	EXPECT_LE(host.max_idle_pins, host.max_pins);

	/* What is in force can be set; each limit can be lowered on its own, */
	EXPECT_EQ(0, unit_set_policy(&self->u, &host));
	for (i = 0; i < 4; i++) {
		__u64 *limit[] = { &p.max_pins, &p.max_idle_pins, &p.max_tables,
				   &p.max_domains };

		p = host;
		*limit[i] = i;
		EXPECT_EQ(0, unit_set_policy(&self->u, &p));
		*limit[i] = ~0ULL;
		p = unit_policy(&self->u);
		EXPECT_EQ(i, *limit[i]);
		/* raised again to the host's, and no further. */
		p = host;
		EXPECT_EQ(0, unit_set_policy(&self->u, &p));
		*limit[i] += 1;
		EXPECT_EQ(EINVAL, unit_set_policy(&self->u, &p));
		*limit[i] = ~0ULL;
		EXPECT_EQ(EINVAL, unit_set_policy(&self->u, &p));
	}
	/* A refusal changes nothing. */
	p = host;
	p.max_pins = 1;
	p.max_domains = host.max_domains + 1;
	EXPECT_EQ(EINVAL, unit_set_policy(&self->u, &p));
	p = unit_policy(&self->u);
	EXPECT_EQ(0, memcmp(&p, &host, sizeof(p)));

	p = host;
	p.mode = 99;
	EXPECT_EQ(EOPNOTSUPP, unit_set_policy(&self->u, &p));
	p = host;
	p.strategy = 99;
	EXPECT_EQ(EOPNOTSUPP, unit_set_policy(&self->u, &p));
}

/* RELEASE_PINS */

TEST_F(uapi, release_pins)
{
	static const struct {
		__u64 gpa;
		__u64 length;
		int err;
	} tries[] = {
		{ 0, 0, EINVAL },
		{ 1, PAGE_SIZE, EINVAL },
		{ PAGE(0) + PAGE_SIZE / 2, PAGE_SIZE, EINVAL },
		{ PAGE(0), PAGE_SIZE - 1, EINVAL },
		{ PAGE(0), PAGE_SIZE + 8, EINVAL },
		{ -PAGE_SIZE, 2 * PAGE_SIZE, EINVAL },
		{ PAGE_SIZE, -PAGE_SIZE + 1, EINVAL },
		{ -PAGE_SIZE, PAGE_SIZE, 0 },
		{ 0, -PAGE_SIZE, 0 },
		{ PAGE_SIZE, -PAGE_SIZE, 0 },
		/* Where there is no memory */
		{ GPA_RAM_END, SZ_1G, 0 },
	};
	unsigned int i;
	__u64 in_use;

	for (i = 0; i < ARRAY_SIZE(tries); i++) {
		in_use = 0;
		EXPECT_EQ(tries[i].err, -kviommu_release_pins(self->u.fd,
							      tries[i].gpa,
							      tries[i].length,
							      &in_use))
			TH_LOG("%u", i);
		EXPECT_EQ(0, in_use);
	}
}

/* GET_STATS and RESET */

TEST_F(uapi, stats_of_a_new_unit)
{
	struct kviommu_stats s = unit_stats(&self->u);

	EXPECT_EQ(0, s.out_reg_writes);
	EXPECT_EQ(0, s.out_descriptors);
	EXPECT_EQ(0, s.out_maps);
	EXPECT_EQ(0, s.out_unmaps);
	EXPECT_EQ(0, s.out_faults);
	EXPECT_EQ(0, s.out_errors);
	EXPECT_EQ(0, s.out_limits);
	EXPECT_EQ(0, s.out_pinned);
	EXPECT_EQ(0, s.out_mapped);
	EXPECT_EQ(0, s.out_domains);
	EXPECT_EQ(0, s.out_devices);
	EXPECT_EQ(0, s.out_identity_devices);
	ASSERT_EQ(0, unit_attach(self->u.fd, self->edu.fd, SID(0)));
	EXPECT_EQ(1, unit_stats(&self->u).out_devices);
	ASSERT_EQ(0, unit_reset(self->u.fd));
	EXPECT_EQ(1, unit_stats(&self->u).out_devices);
}

/* mmap */

static bool can_map(int fd, size_t size, int prot, int flags, off_t offset)
{
	void *p = mmap(NULL, size, prot, flags, fd, offset);

	if (p == MAP_FAILED)
		return false;
	munmap(p, size);
	return true;
}

TEST_F(uapi, mmap)
{
	const int rw = PROT_READ | PROT_WRITE;
	int fd = self->u.fd;
	__u32 *a, *b;

	EXPECT_TRUE(can_map(fd, PAGE_SIZE, rw, MAP_SHARED, 0));
	/* There is one page, at offset 0. */
	EXPECT_FALSE(can_map(fd, PAGE_SIZE, rw, MAP_SHARED, PAGE_SIZE));
	EXPECT_FALSE(can_map(fd, 2 * PAGE_SIZE, rw, MAP_SHARED, 0));
	EXPECT_FALSE(can_map(fd, PAGE_SIZE, rw, MAP_SHARED, BIT(40)));
	/* A private copy would take the guest's writes away from the unit. */
	EXPECT_FALSE(can_map(fd, PAGE_SIZE, rw, MAP_PRIVATE, 0));

	/* All mappings are of the same page. */
	a = mmap(NULL, PAGE_SIZE, rw, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, a);
	b = self->u.regs;
	EXPECT_EQ(*(__u64 *)(a + VTD_CAP / 4), self->u.cap);
	EXPECT_EQ(*(__u64 *)(b + VTD_CAP / 4), self->u.cap);
	WRITE_ONCE(a[VTD_FEDATA / 4], 0x1234);
	EXPECT_EQ(0x1234, READ_ONCE(b[VTD_FEDATA / 4]));
	munmap(a, PAGE_SIZE);

	/* Nor can it be made to outgrow the page. */
	a = mmap(NULL, PAGE_SIZE, rw, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, a);
	EXPECT_EQ(MAP_FAILED, mremap(a, PAGE_SIZE, 2 * PAGE_SIZE, MREMAP_MAYMOVE));
}

/* A unit's files outlive each other; the page outlives them all. */
TEST(mmap_outlives_file)
{
	struct unit u;
	__u32 *regs;

	unit_open(&u, &plain);
	regs = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, u.fd, 0);
	ASSERT_NE(MAP_FAILED, regs);
	unit_close(&u);
	EXPECT_NE(0, READ_ONCE(regs[VTD_CAP / 4]));
	WRITE_ONCE(regs[VTD_IQT / 4], 0x10);
	munmap(regs, PAGE_SIZE);
}

TEST_HARNESS_MAIN
