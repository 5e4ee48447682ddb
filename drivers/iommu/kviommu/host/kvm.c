// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM: the virtual machine behind a file descriptor, and the tracking of the
 * guest's writes to the register page.
 */
#include <linux/dcache.h>
#include <linux/error-injection.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kvm_host.h>
#include <linux/list.h>
#include <linux/magic.h>
#include <linux/mutex.h>
#include <linux/string.h>

#include "host.h"

/*
 * Registers of one page cannot be those of two units, and KVM's count of who
 * tracks a page is small: all that are armed, under armed_lock.
 */
static DEFINE_MUTEX(armed_lock);
static LIST_HEAD(armed);

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
	if (!owner)
		return IS_BUILTIN(CONFIG_KVM_INTEL) ||
		       IS_BUILTIN(CONFIG_KVM_AMD);
	return !strcmp(module_name(owner), "kvm_intel") ||
	       !strcmp(module_name(owner), "kvm_amd");
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

/* The slot that guests outside of SMM see there, if it is not being deleted. */
static struct kvm_memory_slot *live_slot(struct kvm *kvm, u64 gfn)
{
	struct kvm_memory_slot *slot;

	lockdep_assert_held(&kvm->slots_lock);

	slot = __gfn_to_memslot(__kvm_memslots(kvm, 0), gfn);
	return slot && !(slot->flags & KVM_MEMSLOT_INVALID) ? slot : NULL;
}

static void set_armed(struct kviommu_kvm *k, u64 gfn)
{
	guard(mutex)(&armed_lock);
	if (gfn == KVIOMMU_NO_GFN)
		list_del_init(&k->armed);
	else
		list_add(&k->armed, &armed);
	WRITE_ONCE(k->gfn, gfn);
}

static bool taken(struct kviommu_kvm *k, u64 gfn)
{
	struct kviommu_kvm *other;

	guard(mutex)(&armed_lock);
	list_for_each_entry(other, &armed, armed)
		if (other != k && other->kvm == k->kvm && other->gfn == gfn)
			return true;
	return false;
}

static void track_remove_region(gfn_t gfn, unsigned long nr_pages,
				struct kvm_page_track_notifier_node *node)
{
	struct kviommu_kvm *k = container_of(node, struct kviommu_kvm, node);

	if (k->gfn == KVIOMMU_NO_GFN || k->gfn < gfn ||
	    k->gfn - gfn >= nr_pages)
		return;
	/* A slot of SMM there was not the one. */
	if (live_slot(k->kvm, k->gfn))
		return;
	/* The slot takes its tracking with it. */
	k->tracked = false;
	set_armed(k, KVIOMMU_NO_GFN);
	k->removed(k);
}

/*
 * Takes a reference to the VM until it is unregistered. Looks at the memory
 * slots, but leaves it to us to keep them.
 */
static noinline int register_notifier(struct kviommu_kvm *k)
{
	int idx = srcu_read_lock(&k->kvm->srcu);
	int ret = kvm_page_track_register_notifier(k->kvm, &k->node);

	srcu_read_unlock(&k->kvm->srcu, idx);
	return ret;
}
ALLOW_ERROR_INJECTION(register_notifier, ERRNO);

static noinline int track_gfn(struct kvm *kvm, u64 gfn)
{
	return kvm_write_track_add_gfn(kvm, gfn);
}
ALLOW_ERROR_INJECTION(track_gfn, ERRNO);

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
	if (kvm->arch.vm_type != KVM_X86_DEFAULT_VM ||
	    kvm->arch.has_protected_state || kvm->arch.has_private_mem)
		goto put_file;

	k->node.track_write = track_write;
	k->node.track_remove_region = track_remove_region;
	k->gfn = KVIOMMU_NO_GFN;
	INIT_LIST_HEAD(&k->armed);
	k->kvm = kvm;
	ret = register_notifier(k);
	if (ret)
		goto put_file;
	k->file = file;
	return 0;

put_file:
	fput(file);
	return ret;
}

static void disarm(struct kviommu_kvm *k)
{
	u64 gfn = k->gfn;

	lockdep_assert_held(&k->kvm->slots_lock);

	if (gfn == KVIOMMU_NO_GFN)
		return;
	set_armed(k, KVIOMMU_NO_GFN);
	if (k->tracked)
		kvm_write_track_remove_gfn(k->kvm, gfn);
	k->tracked = false;
}

/**
 * kviommu_kvm_arm() - Track the guest's writes to a page
 * @k: The virtual machine
 * @gfn: Guest frame number of the page. If that succeeds, what was tracked
 *       before no longer is.
 *
 * Context: process context, not under unit->lock: a vCPU may wait for that while
 * who holds the VM's slots_lock waits for the vCPU.
 * Return: 0, also if that is armed already, and tracked or not; -EINVAL if there is no
 * memory slot, or a read-only one; -EBUSY if another unit has its registers there;
 * -EINTR.
 */
int kviommu_kvm_arm(struct kviommu_kvm *k, u64 gfn)
{
	struct kvm_memory_slot *slot;
	int ret = 0;

	if (mutex_lock_killable(&k->kvm->slots_lock))
		return -EINTR;
	if (k->gfn == gfn)
		goto unlock;
	ret = -EINVAL;
	slot = live_slot(k->kvm, gfn);
	if (!slot || slot->flags & KVM_MEM_READONLY)
		goto unlock;
	ret = -EBUSY;
	if (taken(k, gfn))
		goto unlock;
	ret = track_gfn(k->kvm, gfn);
	if (ret)
		goto unlock;
	disarm(k);
	set_armed(k, gfn);
	k->tracked = true;
unlock:
	mutex_unlock(&k->kvm->slots_lock);
	return ret;
}

/**
 * kviommu_kvm_track() - Stop tracking the page that is armed, or go on with it
 * @k: The virtual machine
 * @on: Track it
 *
 * Context: process context, not under unit->lock, as kviommu_kvm_arm().
 * Return: 0; -ENODEV if none is armed; -EINTR.
 */
int kviommu_kvm_track(struct kviommu_kvm *k, bool on)
{
	int ret = -ENODEV;

	if (mutex_lock_killable(&k->kvm->slots_lock))
		return -EINTR;
	if (k->gfn == KVIOMMU_NO_GFN)
		goto unlock;
	ret = 0;
	if (k->tracked == on)
		goto unlock;
	ret = on ? track_gfn(k->kvm, k->gfn) :
		   kvm_write_track_remove_gfn(k->kvm, k->gfn);
	if (!ret)
		k->tracked = on;
unlock:
	mutex_unlock(&k->kvm->slots_lock);
	return ret;
}

/**
 * kviommu_kvm_wait_writes() - Wait for the trapped writes that are under way
 * @k: The virtual machine
 *
 * KVM stores what a vCPU writes, byte by byte, before it tells us; whoever looks at
 * the page meanwhile may find a part of it. When this returns all writes that KVM had
 * begun to emulate before are in the page, and were told of.
 *
 * Context: process context, with no lock held that an exit of a vCPU may wait for.
 */
void kviommu_kvm_wait_writes(struct kviommu_kvm *k)
{
	/* To emulate, a vCPU looks at what is tracked, stores, and tells: a reader. */
	synchronize_srcu_expedited(&k->kvm->srcu);
}

/**
 * kviommu_kvm_stop() - End the tracking of a virtual machine's writes
 * @k: The virtual machine
 *
 * Waits until no vCPU is in @k->write any more: may be called with no lock held
 * that @k->write or @k->removed take. kviommu_kvm_put() has to follow.
 */
void kviommu_kvm_stop(struct kviommu_kvm *k)
{
	mutex_lock(&k->kvm->slots_lock);
	disarm(k);
	mutex_unlock(&k->kvm->slots_lock);
	kvm_page_track_unregister_notifier(k->kvm, &k->node);
}

/**
 * kviommu_kvm_put() - Give a virtual machine back
 * @k: The virtual machine, whose tracking was ended
 */
void kviommu_kvm_put(struct kviommu_kvm *k)
{
	fput(k->file);
	k->file = NULL;
}
