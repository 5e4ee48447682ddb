// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM: the virtual machine behind a file descriptor, and the tracking of the
 * guest's writes to the register page.
 */
#include <linux/dcache.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kvm_host.h>
#include <linux/magic.h>
#include <linux/string.h>
#include <linux/unaligned.h>

#include "host.h"

/*
 * KVM's own test (file_is_kvm()) is not exported to us by newer kernels. Only
 * KVM makes anonymous inodes of this name whose operations are owned by one of
 * its vendor modules.
 */
static bool file_is_vm(struct file *file)
{
	struct module *owner = file->f_op->owner;

	if (file_inode(file)->i_sb->s_magic != ANON_INODE_FS_MAGIC ||
	    strcmp(file->f_path.dentry->d_name.name, "kvm-vm"))
		return false;
	return owner && (!strcmp(module_name(owner), "kvm_intel") ||
			 !strcmp(module_name(owner), "kvm_amd"));
}

static void track_write(gpa_t gpa, const u8 *new, int bytes,
			struct kvm_page_track_notifier_node *node)
{
	struct kviommu_kvm *k = container_of(node, struct kviommu_kvm, node);

	/* Called for every emulated write of the VM; KVM splits at pages. */
	if (likely(gpa_to_gfn(gpa) != READ_ONCE(k->gfn)))
		return;
	k->write(k, offset_in_page(gpa), new, bytes);
}

static void track_remove_region(gfn_t gfn, unsigned long nr_pages,
				struct kvm_page_track_notifier_node *node)
{
	struct kviommu_kvm *k = container_of(node, struct kviommu_kvm, node);
	u64 armed = READ_ONCE(k->gfn);

	if (armed == KVIOMMU_NO_GFN || armed < gfn || armed - gfn >= nr_pages)
		return;
	/* The slot takes its tracking with it. */
	WRITE_ONCE(k->gfn, KVIOMMU_NO_GFN);
	k->removed(k);
}

/**
 * kviommu_kvm_get() - Take a virtual machine by its file descriptor
 * @k: Where to; @k->write and @k->removed are set by the caller
 * @fd: The file descriptor
 *
 * Context: process context of the VMM, no locks.
 * Return: 0; -EBADF; -EINVAL if it is no virtual machine; -EPERM if it is
 * another process's; -EOPNOTSUPP if its writes cannot be tracked; -ENOMEM.
 */
int kviommu_kvm_get(struct kviommu_kvm *k, int fd)
{
	struct file *file = fget(fd);
	struct kvm *kvm;
	int ret;

	if (!file)
		return -EBADF;
	ret = -EINVAL;
	if (!file_is_vm(file))
		goto put_file;
	kvm = file->private_data;
	ret = -EPERM;
	if (kvm->mm != current->mm)
		goto put_file;
	/* KVM cannot emulate a write that it cannot decode. */
	ret = -EOPNOTSUPP;
	if (kvm->arch.has_protected_state || kvm->arch.has_private_mem)
		goto put_file;

	k->node.track_write = track_write;
	k->node.track_remove_region = track_remove_region;
	k->gfn = KVIOMMU_NO_GFN;
	/* Takes a reference to the VM until it is unregistered. */
	ret = kvm_page_track_register_notifier(kvm, &k->node);
	if (ret)
		goto put_file;
	k->kvm = kvm;
	k->file = file;
	return 0;

put_file:
	fput(file);
	return ret;
}

static void disarm(struct kviommu_kvm *k)
{
	u64 gfn = k->gfn;

	WRITE_ONCE(k->gfn, KVIOMMU_NO_GFN);
	if (gfn != KVIOMMU_NO_GFN)
		kvm_write_track_remove_gfn(k->kvm, gfn);
}

/**
 * kviommu_kvm_arm() - Track the guest's writes to a page
 * @k: The virtual machine
 * @gfn: Guest frame number of the page. What was tracked before no longer is.
 *
 * Context: process context, under unit->lock.
 * Return: 0, or -EINVAL if there is no memory slot.
 */
int kviommu_kvm_arm(struct kviommu_kvm *k, u64 gfn)
{
	int ret;

	if (k->gfn == gfn)
		return 0;
	disarm(k);
	ret = kvm_write_track_add_gfn(k->kvm, gfn);
	if (!ret)
		WRITE_ONCE(k->gfn, gfn);
	return ret;
}

/**
 * kviommu_kvm_put() - Give a virtual machine back
 * @k: The virtual machine, or one that kviommu_kvm_get() never filled
 *
 * Waits until no vCPU is in @k->write any more: may be called with no lock held
 * that @k->write or @k->removed take.
 */
void kviommu_kvm_put(struct kviommu_kvm *k)
{
	if (!k->file)
		return;
	disarm(k);
	kvm_page_track_unregister_notifier(k->kvm, &k->node);
	fput(k->file);
	k->file = NULL;
}
