/* SPDX-License-Identifier: GPL-2.0 */
/* A virtual machine whose vCPUs, in long mode, run C functions. */
#ifndef SELFTEST_KVIOMMU_VM_H
#define SELFTEST_KVIOMMU_VM_H

#include <stddef.h>
#include <linux/kvm.h>

#include "guest.h"

/* KVM's memory slots */
enum vm_slot {
	VM_SLOT_RAM,
	VM_SLOT_IMAGE,
	VM_SLOT_REGS,
	VM_SLOT_HIGH,
	VM_SLOT_BAR,
	VM_SLOT_SPARE = VM_SLOT_BAR + GUEST_MAX_DEVICES,
};

/**
 * struct vcpu - A processor of a virtual machine
 * @fd: Its file
 * @run: What KVM shares with us of it
 */
struct vcpu {
	int fd;
	struct kvm_run *run;
	size_t run_size;
};

/**
 * struct vm - A virtual machine
 * @kvm: /dev/kvm
 * @fd: The virtual machine
 * @vcpu: Its processors; tests use the first if they do not say otherwise
 * @ram: The guest's RAM, at guest physical address 0
 * @ram_fd: The memory behind @ram
 * @g: The guest's own state, in @ram
 * @starved: KVM may lack memory: then try again
 */
struct vm {
	int kvm;
	int fd;
	struct vcpu vcpu[GUEST_VCPUS];
	__u8 *ram;
	int ram_fd;
	struct guest *g;
	bool starved;
};

/* The linker's: where this program begins and ends */
extern char __executable_start[], _end[];

void vm_open(struct vm *vm);
void vm_close(struct vm *vm);
/* Only the machine and its vCPUs, not its RAM */
void vm_close_kvm(struct vm *vm);

/* Set a memory slot; of size 0, delete it. Returns 0 or -1 with errno. */
int vm_set_slot(struct vm *vm, int slot, __u64 gpa, void *hva, __u64 size,
		__u32 flags);

static inline void *vm_hva(struct vm *vm, __u64 gpa)
{
	return vm->ram + gpa;
}

/*
 * vm_start() and vm_resume() return true when the guest function ended, with
 * its result in vm->g->call[cpu].ret, and false when it stands at a g_sync().
 * Anything else that the guest does ends the test's process as failed: also any
 * access that KVM would hand to the VMM.
 */
bool vm_start(struct vm *vm, unsigned int cpu, void *fn, const __u64 *args,
	      unsigned int nargs);
bool vm_resume(struct vm *vm, unsigned int cpu);
__u64 vm_call(struct vm *vm, unsigned int cpu, void *fn, const __u64 *args,
	      unsigned int nargs);

/**
 * guest_run_on() - Run a guest function to its end
 * @vm: The virtual machine
 * @cpu: Which of its vCPUs
 * @fn: A function whose first argument is the struct guest
 *
 * The call in sizeof() is never made, it has the compiler check the arguments.
 *
 * Return: what @fn returned
 */
#define guest_run_on(vm, cpu, fn, ...)					\
	((void)sizeof(fn((struct guest *)NULL, ##__VA_ARGS__)),		\
	 vm_call(vm, cpu, fn,						\
		 (const __u64 []){ 0, ##__VA_ARGS__ } + 1,		\
		 sizeof((const __u64 []){ 0, ##__VA_ARGS__ }) / 8 - 1))

#define guest_run(vm, fn, ...)	guest_run_on(vm, 0, fn, ##__VA_ARGS__)

/* The same up to its end or to its first g_sync(): see vm_start(). */
#define guest_start(vm, fn, ...)					\
	((void)sizeof(fn((struct guest *)NULL, ##__VA_ARGS__)),		\
	 vm_start(vm, 0, fn,						\
		  (const __u64 []){ 0, ##__VA_ARGS__ } + 1,		\
		  sizeof((const __u64 []){ 0, ##__VA_ARGS__ }) / 8 - 1))

#endif
