// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/kviommu: one open file is one unit. See include/uapi/linux/kviommu.h.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#include "core.h"
#include "../device/device.h"
#include "../model/model.h"
#include "../run/run.h"

static const struct kviommu_model_kind *model_find_kind(u32 id)
{
	unsigned int i;

	for (i = 0; kviommu_models[i]; i++)
		if (kviommu_models[i]->id == id)
			return kviommu_models[i];
	return NULL;
}

static u32 model_mask(void)
{
	unsigned int i;
	u32 mask = 0;

	for (i = 0; kviommu_models[i]; i++)
		mask |= BIT(kviommu_models[i]->id);
	return mask;
}

/* Copy as much as the buffer has room for. Bytes of it beyond the blob are zeroed. */
static int ioctl_get_model_info(struct kviommu_info *cmd)
{
	const struct kviommu_model_kind *kind = model_find_kind(cmd->model);
	void __user *data = u64_to_user_ptr(cmd->data_uptr);
	u64 info[KVIOMMU_MODEL_BLOB_MAX / sizeof(u64)] = {};
	int ret;
	u32 n;

	if (!kind)
		return -EOPNOTSUPP;
	if (cmd->data_len > PAGE_SIZE)
		return -E2BIG;
	ret = kind->get_info(info);
	if (ret)
		return ret;
	n = min(cmd->data_len, kind->info_size);
	if (copy_to_user(data, info, n) || clear_user(data + n, cmd->data_len - n))
		return -EFAULT;
	cmd->data_len = kind->info_size;
	return 0;
}

static int ioctl_get_info(struct kviommu_unit *unit, void *arg)
{
	struct kviommu_info *cmd = arg;

	if (cmd->flags)
		return -EOPNOTSUPP;
	cmd->out_api_version = KVIOMMU_API_VERSION;
	cmd->out_models = model_mask();
	cmd->out_features = KVIOMMU_FEATURE_GET_PASID;
	cmd->out_max_devices = KVIOMMU_MAX_DEVICES;
	cmd->out_page_size = PAGE_SIZE;
	cmd->out_modes = BIT(KVIOMMU_MODE_ADAPTIVE + 1) - 1;
	cmd->out_allowed_modes = kviommu_policy_modes();
	cmd->out_strategies = BIT(KVIOMMU_STRATEGY_OPTIMISTIC + 1) - 1;
	cmd->out_events = BIT(KVIOMMU_NR_EVENTS) - 1;
	cmd->out_policy = KVIOMMU_POLICY_ALL;
	return cmd->model ? ioctl_get_model_info(cmd) : 0;
}

static int ioctl_create(struct kviommu_unit *unit, void *arg)
{
	struct kviommu_create *cmd = arg;
	const struct kviommu_model_kind *kind = model_find_kind(cmd->model);
	u64 args[KVIOMMU_MODEL_BLOB_MAX / sizeof(u64)];
	int ret;

	if (cmd->flags)
		return -EOPNOTSUPP;
	if (cmd->__reserved)
		return -EINVAL;
	if (!kind)
		return -EOPNOTSUPP;
	/* The blob is extensible in the same way as the structures of the ioctls. */
	if (cmd->data_len < kind->args_min)
		return -EINVAL;
	if (cmd->data_len > PAGE_SIZE)
		return -E2BIG;
	ret = copy_struct_from_user(args, kind->args_size,
				    u64_to_user_ptr(cmd->data_uptr), cmd->data_len);
	if (ret)
		return ret;
	if (xchg(&unit->creating, true))
		return -EBUSY;
	ret = kviommu_unit_create(unit, cmd, kind, args);
	if (!ret)
		return 0;
	/* Publishes the unit as it is left here to the next KVIOMMU_CREATE. */
	smp_store_release(&unit->creating, false);
	return ret;
}

static int ioctl_arm(struct kviommu_unit *unit, void *arg)
{
	struct kviommu_arm *cmd = arg;

	if (cmd->flags)
		return -EOPNOTSUPP;
	return kviommu_unit_arm(unit, cmd->gpa);
}

static int ioctl_attach_device(struct kviommu_unit *unit, void *arg)
{
	struct kviommu_attach_device *cmd = arg;

	if (cmd->flags)
		return -EOPNOTSUPP;
	return kviommu_unit_attach(unit, cmd->device_fd, cmd->source_id);
}

static int ioctl_detach_device(struct kviommu_unit *unit, void *arg)
{
	struct kviommu_detach_device *cmd = arg;

	if (cmd->flags)
		return -EOPNOTSUPP;
	if (cmd->__reserved)
		return -EINVAL;
	return kviommu_unit_detach(unit, cmd->source_id);
}

static int ioctl_set_eventfd(struct kviommu_unit *unit, void *arg)
{
	struct kviommu_set_eventfd *cmd = arg;

	if (cmd->flags)
		return -EOPNOTSUPP;
	return kviommu_set_event(unit, cmd->event, cmd->fd);
}

static int ioctl_reset(struct kviommu_unit *unit, void *arg)
{
	struct kviommu_reset *cmd = arg;

	if (cmd->flags)
		return -EOPNOTSUPP;
	return kviommu_unit_reset(unit);
}

static int ioctl_get_stats_fd(struct kviommu_unit *unit, void *arg)
{
	struct kviommu_get_stats_fd *cmd = arg;

	if (cmd->flags)
		return -EOPNOTSUPP;
	return kviommu_stats_open(unit);
}

static int ioctl_set_policy(struct kviommu_unit *unit, void *arg)
{
	struct kviommu_policy *cmd = arg;

	if (cmd->flags & ~KVIOMMU_SET_POLICY_UNSET)
		return -EOPNOTSUPP;
	/* A member that the VMM's structure ends before is none that it can mean. */
	if (cmd->mask & KVIOMMU_POLICY_ALL & ~kviommu_policy_within(cmd->size))
		return -EINVAL;
	return kviommu_unit_set_wanted(unit, cmd);
}

static int ioctl_get_policy(struct kviommu_unit *unit, void *arg)
{
	struct kviommu_policy *cmd = arg;
	u64 within = kviommu_policy_within(cmd->size);

	if (cmd->flags & ~KVIOMMU_GET_POLICY_WANTED)
		return -EOPNOTSUPP;
	/* What is before the mask is not copied to the VMM. */
	*cmd = cmd->flags & KVIOMMU_GET_POLICY_WANTED ? unit->policy_wanted : unit->policy;
	cmd->mask &= within;
	return 0;
}

static int ioctl_get_device(struct kviommu_unit *unit, void *arg)
{
	struct kviommu_get_device *cmd = arg;

	if (cmd->flags)
		return -EOPNOTSUPP;
	return kviommu_device_get(unit, cmd);
}

static int ioctl_set_bus_master(struct kviommu_unit *unit, void *arg)
{
	struct kviommu_set_bus_master *cmd = arg;

	if (cmd->flags)
		return -EOPNOTSUPP;
	if (cmd->on > 1)
		return -EINVAL;
	return kviommu_unit_set_bus_master(unit, cmd->source_id, cmd->on);
}

static int ioctl_refresh(struct kviommu_unit *unit, void *arg)
{
	struct kviommu_refresh *cmd = arg;

	if (cmd->flags)
		return -EOPNOTSUPP;
	return kviommu_unit_refresh(unit);
}

static int ioctl_release_pins(struct kviommu_unit *unit, void *arg)
{
	struct kviommu_release_pins *cmd = arg;

	if (cmd->flags)
		return -EOPNOTSUPP;
	return kviommu_unit_release_pins(unit, cmd);
}

union cmd_buffer {
	struct kviommu_info info;
	struct kviommu_create create;
	struct kviommu_arm arm;
	struct kviommu_attach_device attach_device;
	struct kviommu_detach_device detach_device;
	struct kviommu_set_eventfd set_eventfd;
	struct kviommu_reset reset;
	struct kviommu_get_stats_fd get_stats_fd;
	struct kviommu_policy policy;
	struct kviommu_refresh refresh;
	struct kviommu_release_pins release_pins;
	struct kviommu_get_device get_device;
	struct kviommu_set_bus_master set_bus_master;
};

#define OP_EARLY	BIT(0)
#define OP_UNLOCKED	BIT(1)

/**
 * struct ioctl_op - An ioctl
 * @size: Size of the argument structure in this version of the module, in bytes
 * @min_size: Size of the first version of the argument structure, in bytes
 * @flags: OP_EARLY: needs no created unit; OP_UNLOCKED: takes its own locks
 * @out: Offset of the first member that the ioctl sets, in bytes: what is before it is
 *       never copied back. 0 if it sets none.
 * @execute: Execute the ioctl, under unit->lock unless OP_UNLOCKED is set. Return a
 *           negative errno, 0 or a file descriptor.
 */
struct ioctl_op {
	unsigned int size;
	unsigned int min_size;
	unsigned int flags;
	unsigned int out;
	int (*execute)(struct kviommu_unit *unit, void *arg);
};

#define IOCTL_OP(_cmd, _fn, _struct, _last, _flags, ...)		\
	[_IOC_NR(_cmd) - KVIOMMU_CMD_BASE] = {				\
		.size = sizeof(_struct) +				\
			BUILD_BUG_ON_ZERO(sizeof(union cmd_buffer) <	\
					  sizeof(_struct)),		\
		.min_size = offsetofend(_struct, _last),		\
		.flags = _flags,					\
		.execute = _fn,						\
		__VA_ARGS__						\
	}

static const struct ioctl_op ioctl_ops[] = {
	IOCTL_OP(KVIOMMU_GET_INFO, ioctl_get_info, struct kviommu_info,
		 data_uptr, OP_EARLY | OP_UNLOCKED,
		 .out = offsetof(struct kviommu_info, out_api_version)),
	IOCTL_OP(KVIOMMU_CREATE, ioctl_create, struct kviommu_create,
		 data_uptr, OP_EARLY | OP_UNLOCKED),
	IOCTL_OP(KVIOMMU_ARM, ioctl_arm, struct kviommu_arm, gpa,
		 OP_UNLOCKED),
	IOCTL_OP(KVIOMMU_ATTACH_DEVICE, ioctl_attach_device,
		 struct kviommu_attach_device, source_id, OP_UNLOCKED),
	IOCTL_OP(KVIOMMU_DETACH_DEVICE, ioctl_detach_device,
		 struct kviommu_detach_device, __reserved, OP_UNLOCKED),
	IOCTL_OP(KVIOMMU_SET_EVENTFD, ioctl_set_eventfd,
		 struct kviommu_set_eventfd, fd, 0),
	IOCTL_OP(KVIOMMU_RESET, ioctl_reset, struct kviommu_reset, flags,
		 OP_UNLOCKED),
	IOCTL_OP(KVIOMMU_GET_STATS_FD, ioctl_get_stats_fd,
		 struct kviommu_get_stats_fd, flags, 0),
	IOCTL_OP(KVIOMMU_SET_POLICY, ioctl_set_policy, struct kviommu_policy,
		 poll_us_max, OP_UNLOCKED),
	IOCTL_OP(KVIOMMU_GET_POLICY, ioctl_get_policy, struct kviommu_policy,
		 poll_us_max, 0, .out = offsetof(struct kviommu_policy, mask)),
	IOCTL_OP(KVIOMMU_REFRESH, ioctl_refresh, struct kviommu_refresh, flags,
		 OP_UNLOCKED),
	IOCTL_OP(KVIOMMU_RELEASE_PINS, ioctl_release_pins,
		 struct kviommu_release_pins, out_in_use, OP_UNLOCKED,
		 .out = offsetof(struct kviommu_release_pins, out_in_use)),
	IOCTL_OP(KVIOMMU_GET_DEVICE, ioctl_get_device, struct kviommu_get_device,
		 out_pinned, 0, .out = offsetof(struct kviommu_get_device, out_wanted)),
	IOCTL_OP(KVIOMMU_SET_BUS_MASTER, ioctl_set_bus_master,
		 struct kviommu_set_bus_master, on, OP_UNLOCKED),
};

static int ioctl_execute(struct kviommu_unit *unit, const struct ioctl_op *op,
			 void *arg)
{
	int ret;

	if (!(op->flags & OP_EARLY)) {
		/* Pairs with the release in kviommu_unit_create(). */
		if (!smp_load_acquire(&unit->created))
			return -ENODEV;
		if (unit->mm != current->mm)
			return -EPERM;
	}
	if (op->flags & OP_UNLOCKED)
		return op->execute(unit, arg);
	if (mutex_lock_killable(&unit->lock))
		return -EINTR;
	ret = op->execute(unit, arg);
	kviommu_unlock(unit);
	return ret;
}

/* Copy what the ioctl sets to the VMM, as far as its structure has room for it. */
static int ioctl_copy_out(const struct ioctl_op *op, void __user *uarg, u32 usize,
			  const union cmd_buffer *buf)
{
	if (!op->out)
		return 0;
	return copy_to_user(uarg + op->out, (const void *)buf + op->out,
			    min(usize, op->size) - op->out) ? -EFAULT : 0;
}

static long kviommu_ioctl(struct file *file, unsigned int cmd,
			  unsigned long arg)
{
	unsigned int nr = _IOC_NR(cmd) - KVIOMMU_CMD_BASE;
	void __user *uarg = (void __user *)arg;
	const struct ioctl_op *op;
	union cmd_buffer buf;
	u32 usize;
	int ret;

	if (nr >= ARRAY_SIZE(ioctl_ops) ||
	    cmd != _IO(KVIOMMU_TYPE, KVIOMMU_CMD_BASE + nr))
		return -ENOTTY;
	op = &ioctl_ops[nr];
	if (get_user(usize, (u32 __user *)uarg))
		return -EFAULT;
	if (usize < op->min_size)
		return -EINVAL;
	if (usize > PAGE_SIZE)
		return -E2BIG;
	ret = copy_struct_from_user(&buf, op->size, uarg, usize);
	if (ret)
		return ret;
	/* Each command begins with it. The VMM may have changed it since it was checked. */
	buf.info.size = usize;
	/* If the result cannot be copied back, fail before the ioctl has any effect. */
	ret = ioctl_copy_out(op, uarg, usize, &buf);
	if (ret)
		return ret;
	ret = ioctl_execute(file->private_data, op, &buf);
	return ret < 0 ? ret : ioctl_copy_out(op, uarg, usize, &buf) ?: ret;
}

static int kviommu_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long i, first = vma->vm_pgoff, nr = vma_pages(vma);
	struct kviommu_unit *unit = file->private_data;
	int ret = 0;

	/* KVM writes through a mapping, and all mappings have to show the same page. */
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	/* Pairs with the release in kviommu_unit_create(). */
	if (!smp_load_acquire(&unit->created))
		return -ENODEV;
	if (unit->mm != current->mm)
		return -EPERM;
	if (!unit->nr_pages)
		return -ENXIO;
	if (first >= unit->nr_pages || nr > unit->nr_pages - first)
		return -EINVAL;
	if (first + nr > unit->nr_writable) {
		if (vma->vm_flags & VM_WRITE)
			return -EACCES;
		vm_flags_clear(vma, VM_MAYWRITE);
	}
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTCOPY);
	for (i = 0; i < nr && !ret; i++)
		ret = vm_insert_page(vma, vma->vm_start + (i << PAGE_SHIFT),
				     unit->pages[first + i]);
	return ret;
}

static int kviommu_open(struct inode *inode, struct file *file)
{
	struct kviommu_unit *unit = kviommu_unit_alloc();

	if (IS_ERR(unit))
		return PTR_ERR(unit);
	file->private_data = unit;
	return 0;
}

static int kviommu_release(struct inode *inode, struct file *file)
{
	struct kviommu_unit *unit = file->private_data;

	kviommu_stats_end(unit);
	kviommu_unit_destroy(unit);
	return 0;
}

static const struct file_operations kviommu_fops = {
	.owner = THIS_MODULE,
	.open = kviommu_open,
	.release = kviommu_release,
	.unlocked_ioctl = kviommu_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = kviommu_mmap,
};

static struct miscdevice kviommu_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "kviommu",
	.fops = &kviommu_fops,
};

static int __init kviommu_init(void)
{
	int ret;

	ret = kviommu_nest_init();
	if (ret)
		return ret;
	ret = kviommu_poll_init(kviommu_policy_host_changed);
	if (ret)
		goto nest_exit;
	ret = kviommu_sysfs_init();
	if (ret)
		goto poll_exit;
	kviommu_debugfs_init();
	ret = misc_register(&kviommu_misc);
	if (!ret)
		return 0;
	kviommu_debugfs_exit();
	kviommu_sysfs_exit();
poll_exit:
	kviommu_poll_exit();
nest_exit:
	kviommu_nest_exit();
	return ret;
}
module_init(kviommu_init);

static void __exit kviommu_exit(void)
{
	misc_deregister(&kviommu_misc);
	kviommu_poll_exit();
	kviommu_debugfs_exit();
	kviommu_sysfs_exit();
	kviommu_nest_exit();
}
module_exit(kviommu_exit);

MODULE_DESCRIPTION("Virtual IOMMU for KVM guests, emulated in the kernel");
MODULE_LICENSE("GPL");
#ifdef KVIOMMU_VERSION
MODULE_VERSION(KVIOMMU_VERSION);
#endif
