// SPDX-License-Identifier: GPL-2.0
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "require.h"
#include "vm.h"

#define CR0_PE		BIT(0)
#define CR0_MP		BIT(1)
#define CR0_ET		BIT(4)
#define CR0_NE		BIT(5)
#define CR0_PG		BIT(31)
#define CR4_PAE		BIT(5)
#define CR4_OSFXSR	BIT(9)
#define CR4_OSXMMEXCPT	BIT(10)
#define EFER_LME	BIT(8)
#define EFER_LMA	BIT(10)

#define PTE_P		BIT(0)
#define PTE_W		BIT(1)
#define PTE_PS		BIT(7)

/* How much of the guest's physical space its page tables map, at itself */
#define GUEST_SPACE	(8UL << 30)

/* Below the guest's MMIO: three pages that KVM wants on Intel */
#define TSS_ADDR	0xfffbd000UL

int vm_set_slot(struct vm *vm, int slot, __u64 gpa, void *hva, __u64 size,
		__u32 flags)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (unsigned long)hva,
	};

	return ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r);
}

static void build_page_tables(struct vm *vm)
{
	__u64 *pml4 = vm_hva(vm, GPA_PML4);
	__u64 *pdpt = pml4 + 512;
	__u64 *pd = pdpt + 512;
	unsigned long i;

	pml4[0] = (GPA_PML4 + PAGE_SIZE) | PTE_P | PTE_W;
	for (i = 0; i < GUEST_SPACE / SZ_1G; i++)
		pdpt[i] = (GPA_PML4 + (2 + i) * PAGE_SIZE) | PTE_P | PTE_W;
	for (i = 0; i < GUEST_SPACE / SZ_2M; i++)
		pd[i] = i * SZ_2M | PTE_P | PTE_W | PTE_PS;
}

static void set_cpuid(struct vm *vm, struct vcpu *vcpu)
{
	const int max = 256;
	struct kvm_cpuid2 *cpuid;

	cpuid = calloc(1, sizeof(*cpuid) + max * sizeof(cpuid->entries[0]));
	REQUIRE(cpuid);
	cpuid->nent = max;
	REQUIRE(!ioctl(vm->kvm, KVM_GET_SUPPORTED_CPUID, cpuid));
	REQUIRE(!ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid));
	free(cpuid);
}

static void set_long_mode(struct vcpu *vcpu)
{
	struct kvm_segment code = {
		.selector = 8, .limit = ~0U, .type = 11, .present = 1,
		.s = 1, .l = 1, .g = 1,
	};
	struct kvm_segment data = {
		.selector = 16, .limit = ~0U, .type = 3, .present = 1,
		.s = 1, .db = 1, .g = 1,
	};
	struct kvm_sregs s;

	REQUIRE(!ioctl(vcpu->fd, KVM_GET_SREGS, &s));
	s.cs = code;
	s.ds = data;
	s.es = data;
	s.fs = data;
	s.gs = data;
	s.ss = data;
	/* No exception is meant to happen: any ends as a shutdown. */
	s.idt.limit = 0;
	s.gdt.limit = 0;
	s.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_PG;
	s.cr3 = GPA_PML4;
	/* Compilers use SSE for plain copies. */
	s.cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	s.efer = EFER_LME | EFER_LMA;
	REQUIRE(!ioctl(vcpu->fd, KVM_SET_SREGS, &s));
}

static void create_vcpu(struct vm *vm, unsigned int cpu)
{
	struct vcpu *vcpu = &vm->vcpu[cpu];

	vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, cpu);
	REQUIRE(vcpu->fd >= 0);
	vcpu->run_size = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	vcpu->run = mmap(NULL, vcpu->run_size, PROT_READ | PROT_WRITE,
			 MAP_SHARED, vcpu->fd, 0);
	REQUIRE(vcpu->run != MAP_FAILED);
	set_cpuid(vm, vcpu);
	set_long_mode(vcpu);
}

void vm_open(struct vm *vm)
{
	unsigned long image = (unsigned long)__executable_start & -PAGE_SIZE;
	unsigned long image_end = ((unsigned long)_end + PAGE_SIZE - 1) & -PAGE_SIZE;
	unsigned int i;

	memset(vm, 0, sizeof(*vm));
	vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	REQUIRE(vm->kvm >= 0);
	vm->fd = ioctl(vm->kvm, KVM_CREATE_VM, 0);
	REQUIRE(vm->fd >= 0);
	/* Means nothing on AMD, and may be refused there. */
	ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_ADDR);

	vm->ram_fd = memfd_create("guest", MFD_CLOEXEC);
	REQUIRE(vm->ram_fd >= 0);
	REQUIRE(!ftruncate(vm->ram_fd, GPA_RAM_END));
	vm->ram = mmap(NULL, GPA_RAM_END, PROT_READ | PROT_WRITE, MAP_SHARED,
		       vm->ram_fd, 0);
	REQUIRE(vm->ram != MAP_FAILED);
	REQUIRE(!vm_set_slot(vm, VM_SLOT_RAM, 0, vm->ram, GPA_RAM_END, 0));
	/*
	 * Our own program, at the same address. Being linked there, guest
	 * functions need no loader and no relocation. Devices never see it.
	 */
	REQUIRE(image >= GPA_RAM_END && image_end <= GPA_BAR);
	REQUIRE(!vm_set_slot(vm, VM_SLOT_IMAGE, image, (void *)image,
			     image_end - image, 0));

	build_page_tables(vm);
	for (i = 0; i < GUEST_VCPUS; i++)
		create_vcpu(vm, i);

	vm->g = vm_hva(vm, GPA_GUEST);
	vm->g->regs = GPA_REGS;
	vm->g->next_page = GPA_TABLES;
}

void vm_close_kvm(struct vm *vm)
{
	unsigned int i;

	for (i = 0; i < GUEST_VCPUS; i++) {
		munmap(vm->vcpu[i].run, vm->vcpu[i].run_size);
		close(vm->vcpu[i].fd);
	}
	close(vm->fd);
}

void vm_close(struct vm *vm)
{
	vm_close_kvm(vm);
	close(vm->kvm);
	munmap(vm->ram, GPA_RAM_END);
	close(vm->ram_fd);
}

static void guest_died(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	struct kvm_regs r = { 0 };

	ioctl(vcpu->fd, KVM_GET_REGS, &r);
	if (run->exit_reason == KVM_EXIT_MMIO)
		FATAL("the VMM was asked for a %s at guest physical address 0x%llx, rip 0x%llx",
		      run->mmio.is_write ? "write" : "read",
		      run->mmio.phys_addr, r.rip);
	FATAL("the guest stopped: exit reason %u, rip 0x%llx", run->exit_reason,
	      r.rip);
}

/* Show those lines of a file that contain @word, after "# @name: ". */
static void show_file(const char *name, const char *path, const char *word)
{
	FILE *f = fopen(path, "r");
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, word))
			fprintf(stderr, "# %s: %s", name, line);
	if (f)
		fclose(f);
}

static void show_thread(const char *proc, const char *tid)
{
	static const char *const files[] = { "comm", "stat", "schedstat", "stack" };
	char path[300];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "%s/%s/%s", proc, tid, files[i]);
		show_file(tid, path, "");
	}
}

/* Of this process, and threads of the kernel that belong to the module or to KVM */
static void show_threads(const char *proc, const char *prefix)
{
	DIR *dir = opendir(proc);
	char path[300], comm[32];
	struct dirent *d;
	FILE *f;

	while (dir && (d = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s/comm", proc, d->d_name);
		f = isdigit(d->d_name[0]) ? fopen(path, "r") : NULL;
		if (!f)
			continue;
		if (fgets(comm, sizeof(comm), f) && !strncmp(comm, prefix, strlen(prefix)))
			show_thread(proc, d->d_name);
		fclose(f);
	}
	if (dir)
		closedir(dir);
}

/*
 * A guest waits for long: was something lost, or does a processor of the host stand still?
 * Grace periods need irq work (IWI) and the kernel's own workers.
 */
static void show_host(void)
{
	unsigned int i;

	fprintf(stderr, "# A guest waits. The host's threads, and interrupts one second apart:\n");
	show_threads("/proc/self/task", "");
	show_threads("/proc", "kviommu");
	show_threads("/proc", "kworker");
	show_threads("/proc", "rcu");
	for (i = 0; i < 2; i++) {
		show_file("interrupts", "/proc/interrupts", "CPU0");
		show_file("interrupts", "/proc/interrupts", "LOC:");
		show_file("interrupts", "/proc/interrupts", "RES:");
		show_file("interrupts", "/proc/interrupts", "CAL:");
		show_file("interrupts", "/proc/interrupts", "IWI:");
		sleep(1);
	}
}

bool vm_resume(struct vm *vm, unsigned int cpu)
{
	struct vcpu *vcpu = &vm->vcpu[cpu];
	struct kvm_run *run = vcpu->run;
	struct guest *g = vm->g;

run:
	while (ioctl(vcpu->fd, KVM_RUN, 0) < 0)
		REQUIRE(errno == EINTR ||
			(vm->starved && (errno == ENOMEM || errno == EFAULT)));
	if (run->exit_reason != KVM_EXIT_IO)
		guest_died(vcpu);
	switch (run->io.port) {
	case GUEST_PORT_SHOW:
		/* It takes memory. */
		if (!vm->starved)
			show_host();
		goto run;
	case GUEST_PORT_DONE:
		return true;
	case GUEST_PORT_SYNC:
		return false;
	case GUEST_PORT_ASSERT:
		fprintf(stderr, "# %s:%llu: in the guest, %s does not hold (0x%llx)\n",
			g->assert_file, g->assert_line, g->assert_expr,
			g->assert_got);
		_exit(KSFT_FAIL);
	default:
		guest_died(vcpu);
	}
	return false;
}

bool vm_start(struct vm *vm, unsigned int cpu, void *fn, const __u64 *args,
	      unsigned int nargs)
{
	struct guest_call *call = &vm->g->call[cpu];
	struct kvm_regs r = {
		.rip = (unsigned long)g_main,
		.rflags = 2,
		/* Aligned as a called function finds it */
		.rsp = GPA_STACKS + (cpu + 1) * GUEST_STACK - 8,
		.rdi = GPA_GUEST,
		.rsi = GPA_GUEST + offsetof(struct guest, call[cpu]),
	};

	REQUIRE(nargs <= GUEST_MAX_ARGS);
	call->fn = fn;
	memset(call->args, 0, sizeof(call->args));
	memcpy(call->args, args, nargs * sizeof(*args));
	REQUIRE(!ioctl(vm->vcpu[cpu].fd, KVM_SET_REGS, &r));
	return vm_resume(vm, cpu);
}

__u64 vm_call(struct vm *vm, unsigned int cpu, void *fn, const __u64 *args,
	      unsigned int nargs)
{
	if (!vm_start(vm, cpu, fn, args, nargs))
		FATAL("the guest stopped at g_sync(%llu)", vm->g->stage);
	return vm->g->call[cpu].ret;
}
