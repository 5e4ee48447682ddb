// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM: the virtual machine behind a file descriptor, and the tracking of the guest's
 * writes to the register page.
 */
#include <linux/dcache.h>
#include <linux/error-injection.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kvm_host.h>
#include <linux/list.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/string.h>

#include "host.h"

/*
 * All armed VMs, under armed_lock. Two units must not share one register page, and
 * KVM's counter of the users that track a page is small.
 */
static DEFINE_MUTEX(armed_lock);
static LIST_HEAD(armed);

/*
 * Newer kernels do not export KVM's own test, file_is_kvm(), to this module. Only KVM
 * creates anonymous inodes of this name with operations that one of its vendor modules
 * owns.
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

static void vm_track_write(gpa_t gpa, const u8 *new, int bytes,
			   struct kvm_page_track_notifier_node *node)
{
	struct kviommu_kvm *k = container_of(node, struct kviommu_kvm, node);

	/* KVM calls this for every emulated write of the VM, split at page boundaries. */
	if (likely(gpa_to_gfn(gpa) != READ_ONCE(k->gfn)))
		return;
	k->write(k, offset_in_page(gpa), new, bytes);
}

/* The memory slot of a frame as seen outside of SMM; NULL while it is being deleted. */
static struct kvm_memory_slot *vm_live_slot(struct kvm *kvm, u64 gfn)
{
	struct kvm_memory_slot *slot;

	lockdep_assert_held(&kvm->slots_lock);

	slot = __gfn_to_memslot(__kvm_memslots(kvm, 0), gfn);
	return slot && !(slot->flags & KVM_MEMSLOT_INVALID) ? slot : NULL;
}

/* Check whether a slot is registers of a device that the VMM has mapped, which are no RAM. */
static bool slot_is_mmio(struct kvm *kvm, const struct kvm_memory_slot *slot)
{
	struct vm_area_struct *vma;
	bool mmio;

	mmap_read_lock(kvm->mm);
	vma = vma_lookup(kvm->mm, slot->userspace_addr);
	mmio = vma && vma->vm_flags & (VM_IO | VM_PFNMAP);
	mmap_read_unlock(kvm->mm);
	return mmio;
}

/**
 * kviommu_kvm_memory() - Find guest memory that the guest may write
 * @k: The virtual machine
 * @gfn: Guest frame number to begin at
 * @m: Filled with the first range from @gfn on that one memory slot covers
 *
 * Memory slots may come and go meanwhile; they say where to look for memory in the IOAS,
 * and no more. Those of registers of assigned devices, which may be large, are left out.
 *
 * Context: process context, not under the VM's slots_lock; takes the VMM's mmap_lock.
 * Return: false if there is no more memory.
 */
bool kviommu_kvm_memory(struct kviommu_kvm *k, u64 gfn, struct kviommu_memory *m)
{
	struct kvm_memslot_iter iter;
	bool found = false;
	int idx;

	idx = srcu_read_lock(&k->kvm->srcu);
	kvm_for_each_memslot_in_gfn_range(&iter, __kvm_memslots(k->kvm, 0), gfn, U64_MAX) {
		struct kvm_memory_slot *slot = iter.slot;

		if (slot->flags & KVM_MEM_READONLY)
			continue;
		/* The iterator begins with the slot below @gfn, too. */
		if (slot->base_gfn + slot->npages <= gfn || slot_is_mmio(k->kvm, slot))
			continue;
		m->gfn = max(gfn, slot->base_gfn);
		m->nr = slot->base_gfn + slot->npages - m->gfn;
		found = true;
		break;
	}
	srcu_read_unlock(&k->kvm->srcu, idx);
	return found;
}

static void vm_set_armed(struct kviommu_kvm *k, u64 gfn)
{
	guard(mutex)(&armed_lock);
	if (gfn == KVIOMMU_NO_GFN)
		list_del_init(&k->armed);
	else
		list_add(&k->armed, &armed);
	WRITE_ONCE(k->gfn, gfn);
}

static bool vm_gfn_is_armed(struct kviommu_kvm *k, u64 gfn)
{
	struct kviommu_kvm *other;

	guard(mutex)(&armed_lock);
	list_for_each_entry(other, &armed, armed)
		if (other != k && other->kvm == k->kvm && other->gfn == gfn)
			return true;
	return false;
}

static void vm_track_remove_region(gfn_t gfn, unsigned long nr_pages,
				   struct kvm_page_track_notifier_node *node)
{
	struct kviommu_kvm *k = container_of(node, struct kviommu_kvm, node);

	if (k->gfn == KVIOMMU_NO_GFN || k->gfn < gfn ||
	    k->gfn - gfn >= nr_pages)
		return;
	/* The deleted slot may be one of SMM; then the page is still tracked. */
	if (vm_live_slot(k->kvm, k->gfn))
		return;
	/* KVM drops the tracking together with the slot. */
	k->tracked = false;
	vm_set_armed(k, KVIOMMU_NO_GFN);
	k->removed(k);
}

/*
 * KVM holds a reference to the VM until the notifier is unregistered. Registration
 * reads the memory slots, and its caller must hold kvm->srcu to keep them.
 */
static noinline int vm_register_notifier(struct kviommu_kvm *k)
{
	int idx = srcu_read_lock(&k->kvm->srcu);
	int ret = kvm_page_track_register_notifier(k->kvm, &k->node);

	srcu_read_unlock(&k->kvm->srcu, idx);
	return ret;
}
ALLOW_ERROR_INJECTION(vm_register_notifier, ERRNO);

static noinline int vm_track_gfn(struct kvm *kvm, u64 gfn)
{
	return kvm_write_track_add_gfn(kvm, gfn);
}
ALLOW_ERROR_INJECTION(vm_track_gfn, ERRNO);

/**
 * kviommu_kvm_get() - Take a reference to a virtual machine by its file descriptor
 * @k: The structure to fill; the caller has set @k->write and @k->removed
 * @fd: The file descriptor of the VM
 *
 * Context: process context of the VMM, no locks; may sleep.
 * Return: 0; -EBADF; -EINVAL if @fd is no virtual machine; -EPERM if the VM belongs to
 * another process; -EOPNOTSUPP if its writes cannot be tracked; -ENOMEM.
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

	k->node.track_write = vm_track_write;
	k->node.track_remove_region = vm_track_remove_region;
	k->gfn = KVIOMMU_NO_GFN;
	INIT_LIST_HEAD(&k->armed);
	k->kvm = kvm;
	ret = vm_register_notifier(k);
	if (ret)
		goto put_file;
	k->file = file;
	return 0;

put_file:
	fput(file);
	return ret;
}

static void vm_disarm(struct kviommu_kvm *k)
{
	u64 gfn = k->gfn;

	lockdep_assert_held(&k->kvm->slots_lock);

	if (gfn == KVIOMMU_NO_GFN)
		return;
	vm_set_armed(k, KVIOMMU_NO_GFN);
	if (k->tracked)
		kvm_write_track_remove_gfn(k->kvm, gfn);
	k->tracked = false;
}

/**
 * kviommu_kvm_arm() - Track the guest's writes to a page
 * @k: The virtual machine
 * @gfn: Guest frame number of the page; on success it replaces the page that was
 *       tracked before
 *
 * Context: process context, may sleep; not under unit->lock: a vCPU may wait for
 * unit->lock while the holder of the VM's slots_lock waits for that vCPU.
 * Return: 0, also if @gfn is already armed, tracked or not; -EINVAL if there is no
 * memory slot or a read-only one; -EBUSY if another unit has its registers there;
 * -EINTR; an error of KVM's page tracking.
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
	slot = vm_live_slot(k->kvm, gfn);
	if (!slot || slot->flags & KVM_MEM_READONLY)
		goto unlock;
	ret = -EBUSY;
	if (vm_gfn_is_armed(k, gfn))
		goto unlock;
	ret = vm_track_gfn(k->kvm, gfn);
	if (ret)
		goto unlock;
	vm_disarm(k);
	vm_set_armed(k, gfn);
	k->tracked = true;
unlock:
	mutex_unlock(&k->kvm->slots_lock);
	return ret;
}

/**
 * kviommu_kvm_track() - Suspend or resume the tracking of the armed page
 * @k: The virtual machine
 * @on: true to track writes, false to let them go untracked
 *
 * Context: process context, may sleep; not under unit->lock, as kviommu_kvm_arm().
 * Return: 0; -ENODEV if no page is armed; -EINTR; an error of KVM's page tracking.
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
	ret = on ? vm_track_gfn(k->kvm, k->gfn) :
		   kvm_write_track_remove_gfn(k->kvm, k->gfn);
	if (!ret)
		k->tracked = on;
unlock:
	mutex_unlock(&k->kvm->slots_lock);
	return ret;
}

/**
 * kviommu_kvm_wait_writes() - Wait for all trapped writes in progress
 * @k: The virtual machine
 *
 * KVM stores a vCPU's write byte by byte before it calls @k->write, so a reader of the
 * page may see part of a write. When this function returns, all writes whose emulation
 * had begun before are completely in the page, and @k->write has been called for them.
 *
 * Context: process context, may sleep; without any lock that an exit of a vCPU may wait
 * for.
 */
void kviommu_kvm_wait_writes(struct kviommu_kvm *k)
{
	/* One read-side section covers the check for tracking, the store and @k->write. */
	synchronize_srcu_expedited(&k->kvm->srcu);
}

/**
 * kviommu_kvm_stop() - End the tracking of a virtual machine's writes
 * @k: The virtual machine
 *
 * Waits until no vCPU is in @k->write any more. kviommu_kvm_put() has to follow.
 *
 * Context: process context, may sleep; without any lock that @k->write or @k->removed
 * takes.
 */
void kviommu_kvm_stop(struct kviommu_kvm *k)
{
	mutex_lock(&k->kvm->slots_lock);
	vm_disarm(k);
	mutex_unlock(&k->kvm->slots_lock);
	kvm_page_track_unregister_notifier(k->kvm, &k->node);
}

/**
 * kviommu_kvm_put() - Drop the reference to a virtual machine
 * @k: The virtual machine, after kviommu_kvm_stop()
 *
 * Context: process context, may sleep.
 */
void kviommu_kvm_put(struct kviommu_kvm *k)
{
	fput(k->file);
	k->file = NULL;
}
