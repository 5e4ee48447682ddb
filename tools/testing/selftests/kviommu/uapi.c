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
#include <linux/kvm.h>
#include <linux/vfio.h>

#include "kselftest_harness.h"
#include "require.h"
#include "unit.h"

#define IOVA	0x200000UL

/* The name of the tests: uapi_grown.c has another. */
#ifndef UAPI
#define UAPI uapi
#endif
#define FIXTURE_OF(name)		FIXTURE(name)
#define FIXTURE_DATA_OF(name)		FIXTURE_DATA(name)
#define FIXTURE_SETUP_OF(name)		FIXTURE_SETUP(name)
#define FIXTURE_TEARDOWN_OF(name)	FIXTURE_TEARDOWN(name)

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
	struct kviommu_get_stats_fd stats_fd;
	struct kviommu_policy policy;
	struct kviommu_refresh refresh;
	struct kviommu_release_pins release_pins;
	struct kviommu_get_device device;
	struct kviommu_set_bus_master bus_master;
	__u8 bytes[4096];
};

/* The first version of a structure ends with that member. */
#define FIRST(type, last)	((__u32)(size_t)(1 + &((struct type *)0)->last))

static const struct call {
	const char *name;
	unsigned long cmd;
	/* Of the first version */
	__u32 size;
	bool needs_unit;
	/* Offset of the first member that is written, or 0 */
	__u32 out;
} calls[] = {
	{ "GET_INFO", KVIOMMU_GET_INFO, FIRST(kviommu_info, data_uptr), false,
	  offsetof(struct kviommu_info, out_api_version) },
	{ "CREATE", KVIOMMU_CREATE, FIRST(kviommu_create, data_uptr), false, 0 },
	{ "ARM", KVIOMMU_ARM, FIRST(kviommu_arm, gpa), true, 0 },
	{ "ATTACH_DEVICE", KVIOMMU_ATTACH_DEVICE,
	  FIRST(kviommu_attach_device, source_id), true, 0 },
	{ "GET_DEVICE", KVIOMMU_GET_DEVICE, FIRST(kviommu_get_device, out_pinned),
	  true, offsetof(struct kviommu_get_device, out_wanted) },
	{ "SET_BUS_MASTER", KVIOMMU_SET_BUS_MASTER, FIRST(kviommu_set_bus_master, on), true,
	  0 },
	{ "DETACH_DEVICE", KVIOMMU_DETACH_DEVICE,
	  FIRST(kviommu_detach_device, __reserved), true, 0 },
	{ "SET_EVENTFD", KVIOMMU_SET_EVENTFD, FIRST(kviommu_set_eventfd, fd), true,
	  0 },
	{ "RESET", KVIOMMU_RESET, FIRST(kviommu_reset, flags), true, 0 },
	{ "GET_STATS_FD", KVIOMMU_GET_STATS_FD, FIRST(kviommu_get_stats_fd, flags),
	  true, 0 },
	{ "SET_POLICY", KVIOMMU_SET_POLICY, FIRST(kviommu_policy, poll_us_max), true,
	  0 },
	{ "GET_POLICY", KVIOMMU_GET_POLICY, FIRST(kviommu_policy, poll_us_max), true,
	  offsetof(struct kviommu_policy, mask) },
	{ "REFRESH", KVIOMMU_REFRESH, FIRST(kviommu_refresh, flags), true, 0 },
	{ "RELEASE_PINS", KVIOMMU_RELEASE_PINS,
	  FIRST(kviommu_release_pins, out_in_use), true,
	  offsetof(struct kviommu_release_pins, out_in_use) },
};

/* What CREATE points to, if nothing else is said */
static const struct kviommu_create_vtd plain_vtd = { .aw_bits = 48 };

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
	int ret = ioctl(fd, c->cmd, arg);

	if (ret > 0)
		close(ret);
	return ret < 0 ? errno : 0;
}

FIXTURE_OF(UAPI) {
	struct unit u;
	struct edu edu;
	int fd;
};

/* u is a whole unit without devices; edu is bound to its iommufd; fd is fresh. */
FIXTURE_SETUP_OF(UAPI)
{
	unit_open(&self->u, &plain);
	edu_open(&self->edu, 0);
	edu_bind(&self->edu, self->u.iommufd);
	self->fd = unit_open_file();
}

FIXTURE_TEARDOWN_OF(UAPI)
{
	close(self->fd);
	edu_close(&self->edu);
	unit_close(&self->u);
}

static void good_arg(FIXTURE_DATA_OF(UAPI) * self, const struct call *c,
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
		arg->create.data_len = sizeof(plain_vtd);
		arg->create.data_uptr = (uintptr_t)&plain_vtd;
		break;
	case KVIOMMU_ARM:
		arg->arm.gpa = GPA_REGS;
		break;
	case KVIOMMU_ATTACH_DEVICE:
		arg->attach.device_fd = self->edu.fd;
		arg->attach.source_id = SID(0);
		break;
	case KVIOMMU_GET_DEVICE:
		arg->device.source_id = SID(0);
		break;
	case KVIOMMU_SET_BUS_MASTER:
		arg->bus_master.source_id = SID(0);
		arg->bus_master.on = 1;
		break;
	case KVIOMMU_DETACH_DEVICE:
		arg->detach.source_id = SID(0);
		break;
	case KVIOMMU_SET_EVENTFD:
		arg->eventfd.event = KVIOMMU_EVENT_FAULT;
		arg->eventfd.fd = -1;
		break;
	case KVIOMMU_SET_POLICY:
		arg->policy.mask = KVIOMMU_POLICY_MODE | KVIOMMU_POLICY_STRATEGY |
				   KVIOMMU_POLICY_MAX_PINS |
				   KVIOMMU_POLICY_POLL_US_MIN;
		arg->policy.mode = KVIOMMU_MODE_TRAP;
		arg->policy.strategy = KVIOMMU_STRATEGY_STRICT;
		arg->policy.max_pins = 1000;
		break;
	case KVIOMMU_RELEASE_PINS:
		arg->release_pins.gpa = PAGE(0);
		arg->release_pins.length = PAGE_SIZE;
		break;
	}
}

/* CREATE is right on a fresh file only, everything else on a unit's. */
static int fd_for(FIXTURE_DATA_OF(UAPI) * self, const struct call *c)
{
	return c->cmd == KVIOMMU_CREATE ? self->fd : self->u.fd;
}

TEST_F(UAPI, info)
{
	struct kviommu_info info = { .size = sizeof(info) };

	/* Without a unit */
	ASSERT_EQ(0, unit_ioctl(self->fd, KVIOMMU_GET_INFO, &info));
	EXPECT_EQ(1, info.out_api_version);
	EXPECT_EQ(BIT(KVIOMMU_MODEL_VTD) | BIT(KVIOMMU_MODEL_COIOMMU), info.out_models);
	EXPECT_EQ(KVIOMMU_FEATURE_GET_PASID, info.out_features);
	EXPECT_LT(0, info.out_max_devices);
	EXPECT_EQ(PAGE_SIZE, info.out_page_size);
	EXPECT_EQ(BIT(KVIOMMU_MODE_TRAP) | BIT(KVIOMMU_MODE_SIDECORE) |
		  BIT(KVIOMMU_MODE_ADAPTIVE), info.out_modes);
	EXPECT_EQ(info.out_modes, info.out_allowed_modes);
	EXPECT_EQ(BIT(KVIOMMU_STRATEGY_OPTIMISTIC + 1) - 1, info.out_strategies);
	EXPECT_EQ(BIT(KVIOMMU_EVENT_LIMIT + 1) - 1, info.out_events);
	/* Each member of the structure has a bit, in their order. */
	EXPECT_EQ(2 * KVIOMMU_POLICY_UNPIN_PAGES - 1, info.out_policy);
	/* And with one */
	EXPECT_EQ(0, unit_ioctl(self->u.fd, KVIOMMU_GET_INFO, &info));
}

/* What is said of a model goes into a buffer of any size. */
TEST_F(UAPI, info_of_model)
{
	const __u32 size = FIRST(kviommu_vtd_info, out_ecap);
	struct kviommu_info info = { .size = sizeof(info) };
	struct kviommu_vtd_info vtd;
	__u8 buf[256], whole[256];
	unsigned int n;
	__u32 known;

	memset(buf, 0x55, sizeof(buf));
	info.data_len = sizeof(buf);
	info.data_uptr = (uintptr_t)buf;
	/* Of none */
	ASSERT_EQ(0, unit_ioctl(self->fd, KVIOMMU_GET_INFO, &info));
	EXPECT_EQ(0x55, buf[0]);
	EXPECT_EQ(sizeof(buf), info.data_len);

	info.model = KVIOMMU_MODEL_VTD;
	ASSERT_EQ(0, unit_ioctl(self->fd, KVIOMMU_GET_INFO, &info));
	known = info.data_len;
	EXPECT_LE(size, known);
	memcpy(whole, buf, sizeof(buf));
	for (n = known; n < sizeof(buf); n++)
		EXPECT_EQ(0, buf[n]);
	memcpy(&vtd, buf, sizeof(vtd));
	EXPECT_EQ(39, vtd.out_aw_bits_min);
	EXPECT_EQ(57, vtd.out_aw_bits_max);
	EXPECT_EQ(KVIOMMU_VTD_BOOT_IDENTITY | KVIOMMU_VTD_BOOT_MASTER, vtd.out_flags);
	EXPECT_EQ(VTD_CAP_PSI | BIT_ULL(34) | BIT_ULL(35), vtd.out_cap);
	EXPECT_EQ(VTD_ECAP_PT, vtd.out_ecap);
	for (n = 0; n < known; n += 4) {
		memset(buf, 0x55, sizeof(buf));
		info.data_len = n;
		ASSERT_EQ(0, unit_ioctl(self->fd, KVIOMMU_GET_INFO, &info));
		EXPECT_EQ(known, info.data_len);
		EXPECT_EQ(0, memcmp(buf, whole, n));
		EXPECT_EQ(0x55, buf[n]);
	}
	/* No structure is larger than a page. */
	info.data_len = PAGE_SIZE + 1;
	EXPECT_EQ(E2BIG, unit_ioctl(self->fd, KVIOMMU_GET_INFO, &info));
	info.data_len = ~0U;
	EXPECT_EQ(E2BIG, unit_ioctl(self->fd, KVIOMMU_GET_INFO, &info));
	info.data_len = sizeof(buf);
	info.data_uptr = 0;
	EXPECT_EQ(EFAULT, unit_ioctl(self->fd, KVIOMMU_GET_INFO, &info));
	info.data_uptr = (uintptr_t)buf;
	info.model = 99;
	EXPECT_EQ(EOPNOTSUPP, unit_ioctl(self->fd, KVIOMMU_GET_INFO, &info));
	info.model = ~0U;
	EXPECT_EQ(EOPNOTSUPP, unit_ioctl(self->fd, KVIOMMU_GET_INFO, &info));
}

/* Every good argument is one: or the other tests prove nothing. */
TEST_F(UAPI, good_calls)
{
	union any_arg arg;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		good_arg(self, &calls[i], &arg);
		EXPECT_EQ(0, unit_ioctl_of(&calls[i], fd_for(self, &calls[i]), &arg))
			TH_LOG("%s", calls[i].name);
	}
}

TEST_F(UAPI, unknown_ioctl)
{
	union any_arg arg = { .size = sizeof(arg) };

	EXPECT_EQ(ENOTTY, unit_ioctl(self->u.fd, _IO(KVIOMMU_TYPE, 0x7f), &arg));
	EXPECT_EQ(ENOTTY, unit_ioctl(self->u.fd,
				     _IO(KVIOMMU_TYPE, KVIOMMU_CMD_SET_BUS_MASTER + 1),
				      &arg));
	EXPECT_EQ(ENOTTY, unit_ioctl(self->u.fd, _IO(0x3b, KVIOMMU_CMD_ARM), &arg));
	EXPECT_EQ(ENOTTY, unit_ioctl(self->u.fd,
				     _IOWR(KVIOMMU_TYPE, KVIOMMU_CMD_ARM,
					   struct kviommu_arm), &arg));
	EXPECT_EQ(ENOTTY, unit_ioctl(self->fd, _IO(KVIOMMU_TYPE, 0x7f), &arg));
}

TEST_F(UAPI, sizes)
{
	union any_arg arg;
	unsigned int i, n, known;

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

		/*
		 * Newer userspace: what the kernel does not know has to be 0. It may
		 * know more than the first version.
		 */
		good_arg(self, c, &arg);
		arg.head.flags = BIT(31);
		for (known = c->size; known < c->size + 64; known++) {
			arg.size = known + 1;
			arg.bytes[known] = 1;
			if (unit_ioctl_of(c, fd, &arg) == E2BIG)
				break;
			arg.bytes[known] = 0;
		}
		arg.head.flags = 0;
		EXPECT_GT(c->size + 64, known)
			TH_LOG("%s", c->name);
		arg.size = sizeof(arg);
		EXPECT_EQ(E2BIG, unit_ioctl_of(c, fd, &arg))
			TH_LOG("%s", c->name);
		arg.bytes[known] = 0;
		arg.size = sizeof(arg) + 1;
		EXPECT_EQ(E2BIG, unit_ioctl_of(c, fd, &arg))
			TH_LOG("%s", c->name);
		arg.size = sizeof(arg);
		arg.bytes[sizeof(arg) - 1] = 1;
		EXPECT_EQ(E2BIG, unit_ioctl_of(c, fd, &arg))
			TH_LOG("%s", c->name);
		arg.bytes[sizeof(arg) - 1] = 0;
		/* As a page is more than any structure will be, this is right. */
		EXPECT_EQ(0, unit_ioctl_of(c, fd, &arg))
			TH_LOG("%s", c->name);
		/* Nothing is written beyond what the kernel knows. */
		for (n = known; n < sizeof(arg); n++)
			ASSERT_EQ(0, arg.bytes[n]);
	}
}

TEST_F(UAPI, flags)
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

TEST_F(UAPI, fault)
{
	void *page = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kviommu_policy policy = { .size = sizeof(policy) };
	union any_arg arg;
	unsigned int i;

	ASSERT_NE(MAP_FAILED, page);
	ASSERT_EQ(0, unit_attach(self->u.fd, self->edu.fd, SID(1)));
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
		if (!c->out)
			continue;
		memcpy(page, &arg, c->size);
		ASSERT_EQ(0, mprotect(page, PAGE_SIZE, PROT_READ));
		EXPECT_EQ(EFAULT, unit_ioctl_of(c, fd, page))
			TH_LOG("%s", c->name);
		ASSERT_EQ(0, mprotect(page, PAGE_SIZE, PROT_READ | PROT_WRITE));
	}
	/* A CREATE that failed made no unit. */
	EXPECT_EQ(ENODEV, unit_ioctl(self->fd, KVIOMMU_GET_POLICY, &policy));
	EXPECT_EQ(0, unit_create(self->fd, self->u.vm.fd, self->u.iommufd,
				 self->u.ioas, &plain));
}

/* What the kernel does not write to may be constant. */
TEST_F(UAPI, constant)
{
	void *page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned int i;

	ASSERT_NE(MAP_FAILED, page);
	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		const struct call *c = &calls[i];

		if (c->out)
			continue;
		good_arg(self, c, page);
		ASSERT_EQ(0, mprotect(page, PAGE_SIZE, PROT_READ));
		EXPECT_EQ(0, unit_ioctl_of(c, fd_for(self, c), page))
			TH_LOG("%s", c->name);
		ASSERT_EQ(0, mprotect(page, PAGE_SIZE, PROT_READ | PROT_WRITE));
	}
}

/* So may be what is before the first member that the kernel writes to. */
TEST_F(UAPI, constant_inputs)
{
	void *page = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	union any_arg arg;
	unsigned int i;

	ASSERT_NE(MAP_FAILED, page);
	ASSERT_EQ(0, unit_attach(self->u.fd, self->edu.fd, SID(0)));
	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		const struct call *c = &calls[i];

		if (!c->out)
			continue;
		good_arg(self, c, &arg);
		memcpy(page + PAGE_SIZE - c->out, &arg, c->size);
		ASSERT_EQ(0, mprotect(page, PAGE_SIZE, PROT_READ));
		EXPECT_EQ(0, unit_ioctl_of(c, self->u.fd, page + PAGE_SIZE - c->out))
			TH_LOG("%s", c->name);
		ASSERT_EQ(0, mprotect(page, PAGE_SIZE, PROT_READ | PROT_WRITE));
	}
}

TEST_F(UAPI, no_unit_yet)
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

TEST_F(UAPI, other_process)
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

TEST_F(UAPI, create_twice)
{
	EXPECT_EQ(EBUSY, unit_create(self->u.fd, self->u.vm.fd, self->u.iommufd,
				     self->u.ioas, &plain));
}

TEST_F(UAPI, create_bad_fds)
{
	struct vm *vm = &self->u.vm;
	int iommufd = self->u.iommufd;
	__u32 ioas = self->u.ioas;
	int other = eventfd(0, EFD_CLOEXEC);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	EXPECT_EQ(EBADF, unit_create(self->fd, -1, iommufd, ioas, &plain));
	EXPECT_EQ(EBADF, unit_create(self->fd, 1000, iommufd, ioas, &plain));
	EXPECT_EQ(EBADF, unit_create(self->fd, vm->fd, -1, ioas, &plain));
	EXPECT_EQ(EBADF, unit_create(self->fd, vm->fd, 1000, ioas, &plain));

	/* Files of KVM's own that are no virtual machine, and others */
	EXPECT_EQ(EINVAL, unit_create(self->fd, vm->kvm, iommufd, ioas, &plain));
	EXPECT_EQ(EINVAL, unit_create(self->fd, vm->vcpu[0].fd, iommufd, ioas, &plain));
	EXPECT_EQ(EINVAL, unit_create(self->fd, other, iommufd, ioas, &plain));
	EXPECT_EQ(EINVAL, unit_create(self->fd, null, iommufd, ioas, &plain));
	EXPECT_EQ(EINVAL, unit_create(self->fd, iommufd, iommufd, ioas, &plain));
	EXPECT_EQ(EINVAL, unit_create(self->fd, vm->fd, vm->fd, ioas, &plain));
	EXPECT_EQ(EINVAL, unit_create(self->fd, vm->fd, other, ioas, &plain));
	EXPECT_EQ(EINVAL, unit_create(self->fd, vm->fd, null, ioas, &plain));
	EXPECT_EQ(EINVAL, unit_create(self->fd, vm->fd, self->u.fd, ioas, &plain));

	/* None of this spoiled the file. */
	EXPECT_EQ(0, unit_create(self->fd, vm->fd, iommufd, ioas, &plain));
	close(other);
	close(null);
}

TEST_F(UAPI, create_bad_values)
{
	union any_arg arg;
	const struct call *create = &calls[1];

	good_arg(self, create, &arg);
	arg.create.__reserved = 1;
	EXPECT_EQ(EINVAL, unit_ioctl_of(create, self->fd, &arg));
	good_arg(self, create, &arg);
	arg.create.model = 0;
	EXPECT_EQ(EOPNOTSUPP, unit_ioctl_of(create, self->fd, &arg));
	arg.create.model = 99;
	EXPECT_EQ(EOPNOTSUPP, unit_ioctl_of(create, self->fd, &arg));
	arg.create.model = ~0U;
	EXPECT_EQ(EOPNOTSUPP, unit_ioctl_of(create, self->fd, &arg));
	good_arg(self, create, &arg);
	arg.create.ioas_id = self->u.ioas + 100;
	EXPECT_EQ(ENOENT, unit_ioctl_of(create, self->fd, &arg));
	arg.create.ioas_id = 0;
	EXPECT_EQ(ENOENT, unit_ioctl_of(create, self->fd, &arg));
	good_arg(self, create, &arg);
	EXPECT_EQ(0, unit_ioctl_of(create, self->fd, &arg));
}

/* A CREATE with that blob: an errno */
static int create_with(FIXTURE_DATA_OF(UAPI) * self, const void *blob, __u32 size)
{
	union any_arg arg;

	good_arg(self, &calls[1], &arg);
	arg.create.data_len = size;
	arg.create.data_uptr = (uintptr_t)blob;
	return unit_ioctl_of(&calls[1], self->fd, &arg);
}

TEST_F(UAPI, create_blob)
{
	const __u32 size = FIRST(kviommu_create_vtd, ecap);
	static const __u32 widths[] = { 0, 1, 38, 58, 64, ~0U };
	union {
		struct kviommu_create_vtd vtd;
		__u8 bytes[4096];
	} b;
	unsigned int i, known;

	memset(&b, 0, sizeof(b));
	b.vtd.aw_bits = 40;
	EXPECT_EQ(EINVAL, create_with(self, &b, 0));
	EXPECT_EQ(EINVAL, create_with(self, &b, size - 1));
	EXPECT_EQ(E2BIG, create_with(self, &b, ~0U));
	EXPECT_EQ(EFAULT, create_with(self, NULL, size));
	EXPECT_EQ(EFAULT, create_with(self, (void *)-4096UL, size));
	b.vtd.flags = BIT(31);
	for (known = size; known < size + 64; known++) {
		b.bytes[known] = 1;
		if (create_with(self, &b, known + 1) == E2BIG)
			break;
		b.bytes[known] = 0;
	}
	b.vtd.flags = 0;
	EXPECT_GT(size + 64, known);
	EXPECT_EQ(E2BIG, create_with(self, &b, sizeof(b)));
	b.bytes[known] = 0;

	for (i = 0; i < ARRAY_SIZE(widths); i++) {
		b.vtd.aw_bits = widths[i];
		EXPECT_EQ(EINVAL, create_with(self, &b, size)) TH_LOG("%u", i);
	}
	b.vtd.aw_bits = 40;
	/* All that is not said to be there is none. */
	b.vtd.flags = KVIOMMU_VTD_BOOT_MASTER << 1;
	EXPECT_EQ(EOPNOTSUPP, create_with(self, &b, size));
	/* It says something of the other flag. */
	b.vtd.flags = KVIOMMU_VTD_BOOT_MASTER;
	EXPECT_EQ(EINVAL, create_with(self, &b, size));
	b.vtd.flags = 0;
	for (i = 0; i < 64; i++) {
		struct kviommu_vtd_info info;

		ASSERT_EQ(0, kviommu_get_vtd_info(self->fd, &info));
		b.vtd.cap = BIT_ULL(i) & ~info.out_cap;
		b.vtd.ecap = 0;
		if (b.vtd.cap)
			EXPECT_EQ(EOPNOTSUPP, create_with(self, &b, size));
		b.vtd.cap = 0;
		b.vtd.ecap = BIT_ULL(i) & ~info.out_ecap;
		if (b.vtd.ecap)
			EXPECT_EQ(EOPNOTSUPP, create_with(self, &b, size));
	}
	b.vtd.ecap = 0;
	EXPECT_EQ(0, create_with(self, &b, sizeof(b)));
}

/* Context entry: a type of translation that is reserved, or not there */
#define FR_CONTEXT_INVALID	0x03
/* Paging entry: a bit that is reserved */
#define FR_PAGING_RSVD		0x0c

static __u8 fault_reason(struct unit *u)
{
	__u64 at = VTD_CAP_FRO(u->cap) +
		   16 * (guest_run(&u->vm, g_peek32, VTD_FSTS) >> 8 & 0xff);
	__u64 hi = guest_run(&u->vm, g_peek64, at + 8);

	guest_run(&u->vm, g_poke32, at + 12, BIT(31));
	return hi >> 63 ? hi >> 32 & 0xff : 0;
}

/* What the VMM leaves out the guest does not see, and does not get. */
TEST(capabilities)
{
	static const struct unit_config least = {
		.cap_without = ~0ULL, .ecap_without = ~0ULL,
	};
	struct kviommu_get_device d;
	struct kviommu_stats s;
	struct unit u;

	unit_open_guest(&u, &least, 1, IOVA);
	EXPECT_EQ(0, u.cap & VTD_CAP_PSI);
	EXPECT_EQ(0, VTD_CAP_MAMV(u.cap));
	EXPECT_EQ(0, VTD_CAP_SLLPS(u.cap));
	EXPECT_EQ(0, u.ecap & VTD_ECAP_PT);
	EXPECT_TRUE(u.cap & VTD_CAP_CM);
	EXPECT_TRUE(u.ecap & VTD_ECAP_QI);
	guest_run(&u.vm, g_enable, true);
	EXPECT_EQ(DMA_REACHED, dma_write(&u, 0, IOVA, PAGE(0)));

	/* A page-selective invalidation is done as one of the domain. */
	guest_run(&u.vm, g_map_quiet, 0, 2 * IOVA, PAGE(1), 1, MAP_RW);
	guest_run(&u.vm, g_flush_pages, 0, IOVA, 0);
	EXPECT_EQ(DMA_REACHED, dma_write(&u, 0, 2 * IOVA, PAGE(1)));

	/* No large pages */
	s = unit_stats(&u);
	guest_run(&u.vm, g_map, 0, 0x40000000, HUGE(0), 1, MAP_RW | MAP_LEAF(LEAF_2M));
	EXPECT_EQ(FR_PAGING_RSVD, fault_reason(&u));
	guest_run(&u.vm, g_map, 0, 0x8000000000 - SZ_1G, 0, 1, MAP_RW | MAP_LEAF(LEAF_1G));
	EXPECT_EQ(FR_PAGING_RSVD, fault_reason(&u));
	EXPECT_EQ(s.mapped, unit_stats(&u).mapped);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&u, 0, 0x40000000, HUGE(0)));

	/* No pass-through */
	guest_run(&u.vm, g_detach, SID(0), 1);
	guest_run(&u.vm, g_attach_pt, SID(0), 1);
	EXPECT_EQ(FR_CONTEXT_INVALID, fault_reason(&u));
	ASSERT_EQ(0, unit_get_device(&u, SID(0), &d));
	EXPECT_EQ(KVIOMMU_DMA_BLOCKED, d.out_wanted);
	EXPECT_EQ(FR_CONTEXT_INVALID, d.out_fault);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&u, 0, PAGE(0), PAGE(0)));

	/* A reset does not bring it. */
	ASSERT_EQ(0, unit_reset(u.fd));
	EXPECT_EQ(u.cap, READ_ONCE(*(__u64 *)(u.regs + VTD_CAP)));
	EXPECT_EQ(u.ecap, READ_ONCE(*(__u64 *)(u.regs + VTD_ECAP)));
	unit_close(&u);
}

/* Wider than this host's physical IOMMU */
TEST_F(UAPI, attach_too_wide)
{
	struct unit_config wide = { .mode = UNIT_MODE_TRAP, .aw_bits = 57 };
	struct unit_config narrow = { .mode = UNIT_MODE_TRAP, .aw_bits = 48 };
	int other = unit_open_file();

	ASSERT_EQ(0, unit_create(self->fd, self->u.vm.fd, self->u.iommufd,
				 self->u.ioas, &wide));
	EXPECT_EQ(EMEDIUMTYPE, unit_attach(self->fd, self->edu.fd, SID(0)));
	/* That left it free. */
	ASSERT_EQ(0, unit_create(other, self->u.vm.fd, self->u.iommufd,
				 self->u.ioas, &narrow));
	EXPECT_EQ(0, unit_attach(other, self->edu.fd, SID(0)));
	close(other);
}

/* An object of the iommufd that is no IOAS */
TEST_F(UAPI, create_device_id_as_ioas)
{
	struct vfio_device_bind_iommufd bind = {
		.argsz = sizeof(bind), .iommufd = self->u.iommufd,
	};
	struct edu edu;

	edu_open(&edu, 1);
	ASSERT_EQ(0, ioctl(edu.fd, VFIO_DEVICE_BIND_IOMMUFD, &bind));
	EXPECT_EQ(ENOENT, unit_create(self->fd, self->u.vm.fd, self->u.iommufd,
				      bind.out_devid, &plain));
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
			   &plain);
}

TEST_F(UAPI, create_other_process)
{
	struct child_create cc = { .fd = self->fd, .u = &self->u };

	EXPECT_EQ(EPERM, in_child(create_in_child, &cc));
	EXPECT_EQ(0, unit_create(self->fd, self->u.vm.fd, self->u.iommufd,
				 self->u.ioas, &plain));
}

/* ARM */

TEST_F(UAPI, arm)
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

TEST_F(UAPI, arm_read_only_slot)
{
	ASSERT_EQ(0, vm_set_slot(&self->u.vm, VM_SLOT_SPARE, GPA_REGS + 0x10000,
				 self->u.regs, PAGE_SIZE, KVM_MEM_READONLY));
	EXPECT_EQ(EINVAL, unit_arm(self->u.fd, GPA_REGS + 0x10000));
	/* The refusal left the unit where it was. */
	guest_run(&self->u.vm, g_setup, 0);
}

/* One page cannot show the registers of two units. */
TEST_F(UAPI, arm_where_another_unit_is)
{
	struct vm *vm = &self->u.vm;
	void *regs;

	ASSERT_EQ(0, unit_create(self->fd, vm->fd, self->u.iommufd, self->u.ioas,
				 &plain));
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

TEST_F(UAPI, attach_bad_fds)
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

TEST_F(UAPI, attach_unbound)
{
	struct edu edu;

	edu_open(&edu, 1);
	EXPECT_EQ(EINVAL, unit_attach(self->u.fd, edu.fd, SID(1)));
	edu_bind(&edu, self->u.iommufd);
	EXPECT_EQ(0, unit_attach(self->u.fd, edu.fd, SID(1)));
	edu_close(&edu);
}

TEST_F(UAPI, attach_other_iommufd)
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
TEST_F(UAPI, attach_group)
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

TEST_F(UAPI, attach_busy_in_ioas)
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

TEST_F(UAPI, attach_busy_in_unit)
{
	int fd = self->u.fd;

	ASSERT_EQ(0, unit_attach(fd, self->edu.fd, SID(0)));
	/* In this unit, under another requester ID */
	EXPECT_EQ(EBUSY, unit_attach(fd, self->edu.fd, SID(1)));
	/* In another unit */
	ASSERT_EQ(0, unit_create(self->fd, self->u.vm.fd, self->u.iommufd,
				 self->u.ioas, &plain));
	EXPECT_EQ(EBUSY, unit_attach(self->fd, self->edu.fd, SID(0)));
	EXPECT_EQ(EBUSY, unit_attach(self->fd, self->edu.fd, SID(1)));
	/* What failed left nothing: it can be moved. */
	EXPECT_EQ(0, unit_detach(fd, SID(0)));
	EXPECT_EQ(0, unit_attach(self->fd, self->edu.fd, SID(1)));
	EXPECT_EQ(EBUSY, unit_attach(fd, self->edu.fd, SID(0)));
	EXPECT_EQ(ENOENT, unit_detach(fd, SID(0)));
	EXPECT_EQ(0, unit_detach(self->fd, SID(1)));
}

TEST_F(UAPI, attach_source_id)
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
	EXPECT_EQ(2, unit_stats(&self->u).devices);
	EXPECT_EQ(0, unit_detach(self->u.fd, 0xffff));
	EXPECT_EQ(0, unit_detach(self->u.fd, 0));
	EXPECT_EQ(0, unit_stats(&self->u).devices);
	edu_close(&edu);
}

TEST_F(UAPI, detach)
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
TEST_F(UAPI, attach_again_and_again)
{
	int i;

	for (i = 0; i < 50; i++) {
		ASSERT_EQ(0, unit_attach(self->u.fd, self->edu.fd, SID(i & 1)));
		ASSERT_EQ(0, unit_detach(self->u.fd, SID(i & 1)));
	}
}

/* SET_EVENTFD */

TEST_F(UAPI, set_eventfd)
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

static __u64 signals(int efd)
{
	__u64 n;

	return read(efd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

/* What happened before anybody could be told is told as soon as somebody can be. */
TEST_F(UAPI, events_are_remembered)
{
	int efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct unit *u = &self->u;

	/* The message registers, and translation on and off */
	guest_run(&u->vm, g_setup, 0);
	guest_run(&u->vm, g_poke32, VTD_FEDATA, 0x41);
	guest_run(&u->vm, g_enable, true);
	ASSERT_EQ(0, unit_set_eventfd(u->fd, KVIOMMU_EVENT_CONTROL, efd));
	EXPECT_EQ(1, signals(efd));
	/* Once: */
	ASSERT_EQ(0, unit_set_eventfd(u->fd, KVIOMMU_EVENT_CONTROL, -1));
	ASSERT_EQ(0, unit_set_eventfd(u->fd, KVIOMMU_EVENT_CONTROL, efd));
	EXPECT_EQ(0, signals(efd));
	ASSERT_EQ(0, unit_set_eventfd(u->fd, KVIOMMU_EVENT_CONTROL, -1));
	guest_run(&u->vm, g_enable, false);
	/* Others are not mixed up with it. */
	ASSERT_EQ(0, unit_set_eventfd(u->fd, KVIOMMU_EVENT_LIMIT, efd));
	EXPECT_EQ(0, signals(efd));
	ASSERT_EQ(0, unit_set_eventfd(u->fd, KVIOMMU_EVENT_CONTROL, efd));
	EXPECT_EQ(1, signals(efd));

	/* An interrupt that was due before a reset is not afterwards. */
	guest_run(&u->vm, g_poke32, VTD_FECTL, 0);
	guest_run(&u->vm, g_queue, 0xf, 0);
	guest_run(&u->vm, g_poke32, VTD_IQT, u->vm.g->tail * 16);
	EXPECT_EQ(VTD_FSTS_IQE, guest_run(&u->vm, g_peek32, VTD_FSTS));
	ASSERT_EQ(0, unit_reset(u->fd));
	ASSERT_EQ(0, unit_set_eventfd(u->fd, KVIOMMU_EVENT_FAULT, efd));
	EXPECT_EQ(0, signals(efd));
	close(efd);
}

/* GET_DEVICE */

#define EXPECT_DEVICE(_wanted, _in_force, _error, _fault, _pins, _pinned, sid) do { \
	struct kviommu_get_device _d;					\
									\
	ASSERT_EQ(0, unit_get_device(&self->u, sid, &_d));		\
	EXPECT_EQ(KVIOMMU_DMA_##_wanted, _d.out_wanted);		\
	EXPECT_EQ(KVIOMMU_DMA_##_in_force, _d.out_in_force);		\
	EXPECT_EQ(_error, _d.out_error);				\
	EXPECT_EQ(_fault, _d.out_fault);				\
	EXPECT_EQ(KVIOMMU_PINS_##_pins, _d.out_pins);			\
	EXPECT_EQ(_pinned, _d.out_pinned);				\
} while (0)

TEST_F(UAPI, device_state)
{
	const struct kviommu_policy none = { .mask = KVIOMMU_POLICY_MAX_DOMAINS };
	const struct kviommu_policy some = {
		.mask = KVIOMMU_POLICY_MAX_DOMAINS, .max_domains = 10,
	};
	struct vm *vm = &self->u.vm;
	struct kviommu_get_device d;

	EXPECT_EQ(ENOENT, unit_get_device(&self->u, SID(0), &d));
	ASSERT_EQ(0, unit_attach(self->u.fd, self->edu.fd, SID(0)));
	EXPECT_EQ(ENOENT, unit_get_device(&self->u, SID(1), &d));
	EXPECT_EQ(ENOENT, unit_get_device(&self->u, SID(0) + 0x10000, &d));
	/* Translation is off. */
	EXPECT_DEVICE(BLOCKED, BLOCKED, 0, 0, NOTHING, 0, SID(0));
	guest_run(vm, g_setup, 0);
	guest_run(vm, g_domain, 0, 1, 4);
	guest_run(vm, g_map, 0, IOVA, PAGE(0), 3, MAP_RW);
	guest_run(vm, g_enable, true);
	/* There is no context entry. */
	EXPECT_DEVICE(BLOCKED, BLOCKED, 0, 0, NOTHING, 0, SID(0));
	guest_run(vm, g_attach, SID(0), 0);
	EXPECT_DEVICE(TRANSLATED, TRANSLATED, 0, 0, MAPPED, 3, SID(0));
	/* PASIDs, of which such a unit knows none: see scalable.c */
	EXPECT_EQ(ENOENT, unit_get_pasid(&self->u, SID(0), 1, &d));
	EXPECT_EQ(ENOENT, unit_get_pasid(&self->u, SID(0), ~0U, &d));
	ASSERT_EQ(0, unit_get_pasid(&self->u, SID(0), 0, &d));
	EXPECT_EQ(KVIOMMU_DMA_TRANSLATED, d.out_in_force);
	EXPECT_EQ(0, d.out_next_pasid);
	guest_run(vm, g_map, 0, 0x40000000, HUGE(0), 1, MAP_RW | MAP_LEAF(LEAF_2M));
	EXPECT_DEVICE(TRANSLATED, TRANSLATED, 0, 0, MAPPED, 3 + 512, SID(0));
	guest_run(vm, g_unmap, 0, IOVA, 2, 0);
	guest_run(vm, g_unmap, 0, 0x40000000, 1, MAP_LEAF(LEAF_2M));
	EXPECT_DEVICE(TRANSLATED, TRANSLATED, 0, 0, MAPPED, 1, SID(0));
	guest_run(vm, g_detach, SID(0), 1);
	EXPECT_DEVICE(BLOCKED, BLOCKED, 0, 0, NOTHING, 0, SID(0));
	guest_run(vm, g_attach_pt, SID(0), 2);
	EXPECT_DEVICE(IDENTITY, IDENTITY, 0, 0, ALL, 0, SID(0));

	/* What cannot be done: the reason, until it can. */
	guest_run(vm, g_detach, SID(0), 2);
	ASSERT_EQ(0, unit_set_policy(&self->u, &none));
	guest_run(vm, g_attach, SID(0), 0);
	EXPECT_DEVICE(TRANSLATED, BLOCKED, EDQUOT, 0, NOTHING, 0, SID(0));
	ASSERT_EQ(0, unit_set_policy(&self->u, &some));
	EXPECT_DEVICE(TRANSLATED, BLOCKED, EDQUOT, 0, NOTHING, 0, SID(0));
	ASSERT_EQ(0, unit_refresh(&self->u));
	EXPECT_DEVICE(TRANSLATED, TRANSLATED, 0, 0, MAPPED, 1, SID(0));

	/* Something invalid: a type of translation that there is not */
	guest_run(vm, g_context_quiet, SID(0), 3 << 2 | VTD_CE_P, VTD_CE_HI_AW(4));
	guest_run(vm, g_flush_context, SID(0), 1);
	EXPECT_DEVICE(BLOCKED, BLOCKED, 0, 0x3, NOTHING, 0, SID(0));
	ASSERT_EQ(0, unit_reset(self->u.fd));
	EXPECT_DEVICE(BLOCKED, BLOCKED, 0, 0, NOTHING, 0, SID(0));
	ASSERT_EQ(0, unit_detach(self->u.fd, SID(0)));
	EXPECT_EQ(ENOENT, unit_get_device(&self->u, SID(0), &d));
}

/* SET_BUS_MASTER */

TEST_F(UAPI, bus_master)
{
	struct kviommu_set_bus_master set = {
		.size = sizeof(set), .source_id = SID(0), .on = 1,
	};
	int fd = self->u.fd;

	EXPECT_EQ(ENOENT, unit_ioctl(fd, KVIOMMU_SET_BUS_MASTER, &set));
	ASSERT_EQ(0, unit_attach(fd, self->edu.fd, SID(0)));
	EXPECT_EQ(0, unit_ioctl(fd, KVIOMMU_SET_BUS_MASTER, &set));
	set.on = 2;
	EXPECT_EQ(EINVAL, unit_ioctl(fd, KVIOMMU_SET_BUS_MASTER, &set));
	set.on = 0;
	set.flags = 1;
	EXPECT_EQ(EOPNOTSUPP, unit_ioctl(fd, KVIOMMU_SET_BUS_MASTER, &set));
	set.flags = 0;
	set.source_id += 0x10000;
	EXPECT_EQ(ENOENT, unit_ioctl(fd, KVIOMMU_SET_BUS_MASTER, &set));
	/* Of a unit without the flag it changes nothing. */
	EXPECT_DEVICE(BLOCKED, BLOCKED, 0, 0, NOTHING, 0, SID(0));
}

/* SET_POLICY and GET_POLICY */

TEST_F(UAPI, policy)
{
	struct kviommu_info info = { .size = sizeof(info) };
	struct kviommu_policy host = unit_policy(&self->u), p, now;
	const struct kviommu_field *f;

	ASSERT_EQ(0, unit_ioctl(self->fd, KVIOMMU_GET_INFO, &info));
	EXPECT_EQ(sizeof(host), host.size);
	EXPECT_EQ(0, host.flags);
	EXPECT_EQ(info.out_policy, host.mask);
	EXPECT_EQ(KVIOMMU_MODE_TRAP, host.mode);
	EXPECT_EQ(KVIOMMU_STRATEGY_STRICT, host.strategy);
	EXPECT_LT(0, host.max_pins);
	EXPECT_LT(0, host.max_tables);
	EXPECT_LT(0, host.max_domains);
	EXPECT_LE(host.max_idle_pins, host.max_pins);
	/* What unit_open() asked for */
	p = unit_wanted_policy(&self->u);
	EXPECT_EQ(KVIOMMU_POLICY_MODE | KVIOMMU_POLICY_STRATEGY, p.mask);
	EXPECT_EQ(KVIOMMU_MODE_TRAP, p.mode);
	EXPECT_EQ(0, p.max_pins);

	/* What is in force can be set. */
	EXPECT_EQ(0, unit_set_policy(&self->u, &host));
	now = unit_policy(&self->u);
	EXPECT_EQ(0, memcmp(&now, &host, sizeof(now)));
	/* Each on its own: what stands in the others is nothing. */
	for (f = kviommu_policy_fields; f->name; f++) {
		__u64 *member = (void *)&p + f->offset, value = kviommu_field_value(f, &host);

		memset(&p, 0xff, FIRST(kviommu_policy, poll_us_max));
		p.flags = 0;
		p.mask = f->member;
		*member = value / 2;
		EXPECT_EQ(0, unit_set_policy(&self->u, &p)) TH_LOG("%s", f->name);
		now = unit_policy(&self->u);
		EXPECT_EQ(value / 2, kviommu_field_value(f, &now)) TH_LOG("%s", f->name);
		/* All of the others are as they were. */
		p = host;
		*member = value / 2;
		if (f->member == KVIOMMU_POLICY_POLL_US_MAX && p.poll_us_min > value / 2)
			p.poll_us_min = value / 2;
		EXPECT_EQ(0, memcmp(&now, &p, sizeof(now))) TH_LOG("%s", f->name);
		EXPECT_EQ(0, unit_set_policy(&self->u, &host));
	}
	/* More than the host gives can be wanted; it does not come into force. */
	for (f = kviommu_policy_fields; f->name; f++) {
		__u64 *member = (void *)&p + f->offset, value;

		p = (struct kviommu_policy){ .mask = f->member };
		*member = ~0ULL;
		EXPECT_EQ(0, unit_set_policy(&self->u, &p)) TH_LOG("%s", f->name);
		now = unit_policy(&self->u);
		p = unit_wanted_policy(&self->u);
		EXPECT_EQ(~0ULL, *member) TH_LOG("%s", f->name);
		value = kviommu_field_value(f, &host);
		if (f->member == KVIOMMU_POLICY_IDLE_PIN_MS ||
		    f->member == KVIOMMU_POLICY_UNPIN_MS)
			value = ~0ULL;
		if (f->member == KVIOMMU_POLICY_POLL_US_MIN)
			value = host.poll_us_max;
		EXPECT_EQ(value, kviommu_field_value(f, &now)) TH_LOG("%s", f->name);
	}
	p = unit_wanted_policy(&self->u);
	EXPECT_EQ(info.out_policy, p.mask);
	/* Each wish can be withdrawn, whatever stands in the members then. */
	for (f = kviommu_policy_fields; f->name; f++) {
		__u64 *member = (void *)&p + f->offset, left = unit_wanted_policy(&self->u).mask;

		memset(&p, 0xff, FIRST(kviommu_policy, poll_us_max));
		p.flags = KVIOMMU_SET_POLICY_UNSET;
		p.mask = f->member;
		EXPECT_EQ(0, unit_set_policy(&self->u, &p)) TH_LOG("%s", f->name);
		p = unit_wanted_policy(&self->u);
		EXPECT_EQ(left & ~f->member, p.mask) TH_LOG("%s", f->name);
		EXPECT_EQ(0, *member) TH_LOG("%s", f->name);
	}
	p = (struct kviommu_policy){
		.flags = KVIOMMU_SET_POLICY_UNSET,
		.mask = KVIOMMU_POLICY_MODE | KVIOMMU_POLICY_STRATEGY,
	};
	EXPECT_EQ(0, unit_set_policy(&self->u, &p));
	EXPECT_EQ(0, unit_wanted_policy(&self->u).mask);
	/* What is in force is the host's then: the mode as well, which unit_open() wanted. */
	now = unit_policy(&self->u);
	host.mode = KVIOMMU_MODE_ADAPTIVE;
	EXPECT_EQ(0, memcmp(&now, &host, sizeof(now)));
}

TEST_F(UAPI, policy_bad_values)
{
	struct kviommu_policy host = unit_policy(&self->u), p, now;
	struct kviommu_policy wanted = unit_wanted_policy(&self->u);
	unsigned int i;

	for (i = 0; i < 64; i++) {
		p = (struct kviommu_policy){ .mask = BIT_ULL(i) & ~host.mask };
		if (p.mask)
			EXPECT_EQ(EOPNOTSUPP, unit_set_policy(&self->u, &p));
	}
	p = (struct kviommu_policy){ .mask = KVIOMMU_POLICY_MODE, .mode = 99 };
	EXPECT_EQ(EOPNOTSUPP, unit_set_policy(&self->u, &p));
	p = (struct kviommu_policy){ .mask = KVIOMMU_POLICY_STRATEGY, .strategy = 99 };
	EXPECT_EQ(EOPNOTSUPP, unit_set_policy(&self->u, &p));
	/* One that is wrong, and nothing of it is done. */
	p = host;
	p.max_pins = 1;
	p.poll_us_min = 2;
	p.poll_us_max = 1;
	EXPECT_EQ(EINVAL, unit_set_policy(&self->u, &p));
	p.poll_us_max = 2;
	p.mode = KVIOMMU_MODE_ADAPTIVE + 1;
	EXPECT_EQ(EOPNOTSUPP, unit_set_policy(&self->u, &p));
	now = unit_policy(&self->u);
	EXPECT_EQ(0, memcmp(&now, &host, sizeof(now)));
	now = unit_wanted_policy(&self->u);
	EXPECT_EQ(0, memcmp(&now, &wanted, sizeof(now)));
	/* An unknown bit is refused when members are unset, too, and so is an unknown flag. */
	p = (struct kviommu_policy){ .flags = KVIOMMU_SET_POLICY_UNSET, .mask = ~host.mask };
	EXPECT_EQ(EOPNOTSUPP, unit_set_policy(&self->u, &p));
	p = host;
	p.flags = KVIOMMU_SET_POLICY_UNSET << 1;
	EXPECT_EQ(EOPNOTSUPP, unit_set_policy(&self->u, &p));
}

/* RELEASE_PINS */

TEST_F(UAPI, release_pins)
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

/* GET_STATS_FD and RESET */

TEST_F(UAPI, stats_of_a_new_unit)
{
	struct kviommu_stats s = unit_stats(&self->u);

	EXPECT_EQ(0, s.reg_writes);
	EXPECT_EQ(0, s.descriptors);
	EXPECT_EQ(0, s.maps);
	EXPECT_EQ(0, s.unmaps);
	EXPECT_EQ(0, s.faults);
	EXPECT_EQ(0, s.errors);
	EXPECT_EQ(0, s.limits);
	EXPECT_EQ(0, s.pinned);
	EXPECT_EQ(0, s.mapped);
	EXPECT_EQ(0, s.domains);
	EXPECT_EQ(0, s.devices);
	EXPECT_EQ(0, s.identity_devices);
	ASSERT_EQ(0, unit_attach(self->u.fd, self->edu.fd, SID(0)));
	EXPECT_EQ(1, unit_stats(&self->u).devices);
	ASSERT_EQ(0, unit_reset(self->u.fd));
	EXPECT_EQ(1, unit_stats(&self->u).devices);
}

/* The file is as KVM's are: read by what stands in it, in pieces of any size. */
TEST_F(UAPI, stats_file)
{
	static char whole[65536], again[65536];
	struct kvm_stats_header *h = (void *)whole;
	int fd = kviommu_open_stats(self->u.fd);
	unsigned int i, known = 0;
	ssize_t size, n, at;
	char id[32];

	ASSERT_LE(0, fd);
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
	EXPECT_EQ(O_RDONLY, fcntl(fd, F_GETFL) & O_ACCMODE);
	EXPECT_EQ(-1, write(fd, whole, 1));
	size = pread(fd, whole, sizeof(whole), 0);
	ASSERT_LT(sizeof(*h), size);
	ASSERT_GT(sizeof(whole), size);
	EXPECT_EQ(0, h->flags);
	EXPECT_EQ(0, pread(fd, again, 1, size));
	/* Its name is that in sysfs. */
	i = kviommu_sysfs_next(KVIOMMU_SYSFS, -1);
	snprintf(id, sizeof(id), "kviommu%u", i);
	EXPECT_STREQ(id, whole + h->id_offset);
	for (i = 0; i < h->num_desc; i++) {
		struct kvm_stats_desc *d = (void *)(whole + h->desc_offset +
			i * (sizeof(*d) + h->name_size));
		const struct kviommu_field *f;

		EXPECT_NE(NULL, memchr(d->name, 0, h->name_size));
		EXPECT_GE(size, h->data_offset + d->offset + d->size * 8);
		EXPECT_GE(KVM_STATS_TYPE_MAX, d->flags & KVM_STATS_TYPE_MASK);
		EXPECT_GE(KVM_STATS_UNIT_MAX, d->flags & KVM_STATS_UNIT_MASK);
		if (!strcmp(d->name, "latency")) {
			EXPECT_EQ(KVM_STATS_TYPE_LOG_HIST, d->flags & KVM_STATS_TYPE_MASK);
			EXPECT_EQ(KVIOMMU_LATENCY_BUCKETS, d->size);
			known++;
			continue;
		}
		EXPECT_EQ(1, d->size);
		for (f = kviommu_stats_fields; f->name; f++) {
			if (strcmp(f->name, d->name))
				continue;
			known++;
			EXPECT_EQ(f->level, (d->flags & KVM_STATS_TYPE_MASK) !=
				  KVM_STATS_TYPE_CUMULATIVE) TH_LOG("%s", f->name);
		}
	}
	EXPECT_EQ(h->num_desc, known);
	/* The library knows all of them. */
	for (i = 0; kviommu_stats_fields[i].name; i++)
		;
	EXPECT_EQ(i + 1, known);

	for (at = 0; at < size; at += n) {
		n = pread(fd, again + at, 7, at);
		ASSERT_LT(0, n);
	}
	EXPECT_EQ(0, memcmp(again, whole, size));
	/* By read(), too */
	EXPECT_EQ(size, read(fd, again, sizeof(again)));
	EXPECT_EQ(0, read(fd, again, sizeof(again)));
	EXPECT_EQ(-1, pread(fd, (void *)-4096UL, 1, 0));
	EXPECT_EQ(EFAULT, errno);
	close(fd);
}

static int read_stats_in_child(void *arg)
{
	struct kviommu_stats s;

	return -kviommu_read_stats(*(int *)arg, &s);
}

/* It may be given away, and says so when the unit is gone. */
TEST(stats_file_without_unit)
{
	struct kviommu_stats s;
	struct unit u;
	int fd, other;

	unit_open(&u, &plain);
	fd = kviommu_open_stats(u.fd);
	other = kviommu_open_stats(u.fd);
	ASSERT_LE(0, fd);
	ASSERT_LE(0, other);
	EXPECT_EQ(0, in_child(read_stats_in_child, &fd));
	close(other);
	EXPECT_EQ(0, kviommu_read_stats(fd, &s));
	unit_close(&u);
	EXPECT_EQ(-ENODEV, kviommu_sysfs_next(KVIOMMU_SYSFS, -1));
	EXPECT_EQ(-ENODEV, kviommu_read_stats(fd, &s));
	EXPECT_EQ(ENODEV, in_child(read_stats_in_child, &fd));
	close(fd);
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

TEST_F(UAPI, mmap)
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
