/* SPDX-License-Identifier: GPL-2.0 */
/* A virtual machine with a unit and its devices, ready for the guest. */
#ifndef SELFTEST_KVIOMMU_UNIT_H
#define SELFTEST_KVIOMMU_UNIT_H

#include <sys/ioctl.h>
#include <kviommu.h>

#include "device.h"
#include "vm.h"

/**
 * enum unit_mode - How a unit handles the guest's register writes
 * @UNIT_MODE_TRAP: In the vCPU's own exit
 * @UNIT_MODE_SIDECORE: By a thread that polls the register page
 * @UNIT_MODE_ADAPTIVE: By that while the guest is busy, else in the exit
 *
 * Every behaviour test runs once in each, as a variant of its fixture, see
 * UNIT_VARIANTS() in variants.h.
 */
enum unit_mode {
	UNIT_MODE_TRAP = KVIOMMU_MODE_TRAP,
	UNIT_MODE_SIDECORE = KVIOMMU_MODE_SIDECORE,
	UNIT_MODE_ADAPTIVE = KVIOMMU_MODE_ADAPTIVE,
};

/**
 * struct unit_config - What a unit is to be like
 * @mode: See &enum unit_mode
 * @strategy: See &enum kviommu_strategy
 * @aw_bits: 39 to 57; 0 means 48
 * @flags: Of struct kviommu_create_vtd
 * @cap_without: What its guest is not to see of what CAP can have
 * @ecap_without: The same of ECAP
 * @nested: Offer the guest scalable mode, which it uses, so that the physical IOMMU walks
 *          its tables: needs a host with tools/lab/run -i nested
 * @pasid_bits: Offer such a guest PASIDs of so many bits, if not 0
 * @no_ram: Leave it to the test to map RAM in the IOAS
 * @no_arm: Do not create the register page's slot, do not arm
 */
struct unit_config {
	enum unit_mode mode;
	enum kviommu_strategy strategy;
	unsigned int aw_bits;
	unsigned int flags;
	__u64 cap_without;
	__u64 ecap_without;
	bool nested;
	unsigned int pasid_bits;
	bool no_ram;
	bool no_arm;
};

/**
 * struct unit - A unit with everything around it
 * @config: What it was opened with
 * @vm: The virtual machine
 * @iommufd: The iommufd
 * @ioas: Its IOAS of guest physical addresses
 * @fd: The open file of /dev/kviommu
 * @stats_fd: Its statistics
 * @regs: The register page, mapped
 * @dev: The devices behind the unit, which the guest sees as @sid
 * @ndev: How many there are
 * @cap: The capability register
 * @ecap: The extended capability register
 */
struct unit {
	struct unit_config config;
	struct vm vm;
	int iommufd;
	__u32 ioas;
	int fd;
	int stats_fd;
	void *regs;
	struct edu dev[GUEST_MAX_DEVICES];
	__u32 sid[GUEST_MAX_DEVICES];
	unsigned int ndev;
	__u64 cap;
	__u64 ecap;
};

/* The requester ID of the n-th device, unless a test wants another */
#define SID(n)	(0x0010 + 8 * (n))

int unit_open_file(void);

void unit_open(struct unit *u, const struct unit_config *config);
void unit_close(struct unit *u);
/* A unit whose guest has device 0 in its domain 0, where iova leads to PAGE(0);
 * all it lacks is TE.
 */
void unit_open_guest(struct unit *u, const struct unit_config *config,
		     unsigned int did, __u64 iova);

/*
 * Open edu device number n of the host, bind it, put its registers into the
 * guest, attach it to the unit. Returns its index in u->dev and for the guest.
 */
unsigned int unit_add_device(struct unit *u, unsigned int n, __u32 sid);
/* The same but for the last step */
unsigned int unit_open_device(struct unit *u, unsigned int n, __u32 sid);

/* The calls as the library makes them; but they return 0 or an errno. */
int unit_ioctl(int fd, unsigned long cmd, void *arg);
int unit_create(int fd, int kvm_fd, int iommufd, __u32 ioas,
		const struct unit_config *config);

static inline int unit_arm(int fd, __u64 gpa)
{
	return -kviommu_arm(fd, gpa);
}

static inline int unit_attach(int fd, int device_fd, __u32 sid)
{
	return -kviommu_attach(fd, device_fd, sid);
}

static inline int unit_detach(int fd, __u32 sid)
{
	return -kviommu_detach(fd, sid);
}

static inline int unit_reset(int fd)
{
	return -kviommu_reset(fd);
}

static inline int unit_set_eventfd(int fd, __u32 event, int event_fd)
{
	return -kviommu_set_eventfd(fd, event, event_fd);
}

static inline int unit_set_policy(struct unit *u,
				  const struct kviommu_policy *policy)
{
	return -kviommu_set_policy(u->fd, policy);
}

static inline int unit_get_device(struct unit *u, __u32 sid,
				  struct kviommu_get_device *device)
{
	return -kviommu_get_device(u->fd, sid, device);
}

static inline int unit_set_bus_master(struct unit *u, __u32 sid, bool on)
{
	return -kviommu_set_bus_master(u->fd, sid, on);
}

static inline int unit_get_pasid(struct unit *u, __u32 sid, __u32 pasid,
				 struct kviommu_get_device *device)
{
	return -kviommu_get_pasid(u->fd, sid, pasid, device);
}

static inline int unit_refresh(struct unit *u)
{
	return -kviommu_refresh(u->fd);
}

/* These do not fail. */
struct kviommu_stats unit_stats_now(struct unit *u);
/* The same when all that the guest has removed is gone, as it is at once if strict */
struct kviommu_stats unit_stats(struct unit *u);
struct kviommu_policy unit_policy(struct unit *u);
struct kviommu_policy unit_wanted_policy(struct unit *u);

/* What a device may still reach though the guest has removed it is gone. */
void unit_wait_stale(struct unit *u);
/*
 * What is cleared by writing 1, and is not shown while the unit is polled, is
 * shown when this returns, and the events for it were signalled.
 */
void unit_show(struct unit *u);
/*
 * The guest waits for nothing. Returns: whether the unit is polled, and that was not
 * trapped, as it is until the page is not tracked any more; an adaptive one may be
 * trapped again soon.
 */
bool unit_flush_polled(struct unit *u);
/* The threads of this process that are workers of units. Returns: how many there are. */
unsigned int unit_workers(pid_t tid[], unsigned int max);
/* How often such a thread went to sleep */
unsigned long unit_wakeups(pid_t tid);
/* The unit is polled, if that is its mode and what the guest has done lets it. */
void unit_poll(struct unit *u);

/*
 * Have @vmm run in a process of its own, which is killed as soon as it calls
 * unit_ready(): of what it had pinned nothing is left then.
 */
void unit_kill(void (*vmm)(const void *arg), const void *arg);
void unit_ready(void);

/* The register page as a slot of the guest, and handled */
void unit_map_regs(struct unit *u);

/*
 * Guest memory at GPA_HIGH, of which the host has each 2 MiB in one piece; it stays for
 * as long as the process does. Returns where we have it.
 */
void *unit_high_memory(struct unit *u, size_t size);

/**
 * enum dma_result - What became of a DMA
 * @DMA_REACHED: All of it arrived
 * @DMA_BLOCKED: Nothing of it arrived
 * @DMA_GARBLED: Neither
 */
enum dma_result {
	DMA_REACHED,
	DMA_BLOCKED,
	DMA_GARBLED,
};

/* Have the guest make device dev do a transfer, and wait for its end. */
void dma_run(struct unit *u, unsigned int dev, bool to_ram, __u64 iova,
	     __u64 off, __u64 len);
/*
 * Have the guest make device dev write to iova, and look at the guest's RAM at
 * gpa, which gets fresh contents before. If it arrives, but there were stale
 * translations, it is done once more when these are gone, and that counts.
 */
enum dma_result dma_write(struct unit *u, unsigned int dev, __u64 iova,
			  __u64 gpa);
/* The same without a second look */
enum dma_result dma_write_now(struct unit *u, unsigned int dev, __u64 iova,
			      __u64 gpa);
enum dma_result dma_write_len(struct unit *u, unsigned int dev, __u64 iova,
			      __u64 gpa, __u64 len);
/*
 * Have it read from iova; gpa is where what it ought to read stands. To see
 * what it got it writes to bounce, an IOVA that leads to bounce_gpa.
 */
enum dma_result dma_read(struct unit *u, unsigned int dev, __u64 iova,
			 __u64 gpa, __u64 bounce, __u64 bounce_gpa);
enum dma_result dma_read_len(struct unit *u, unsigned int dev, __u64 iova,
			     __u64 gpa, __u64 bounce, __u64 bounce_gpa,
			     __u64 len);
/* The same with any memory of ours in place of the guest's RAM */
enum dma_result dma_write_to(struct unit *u, unsigned int dev, __u64 iova,
			     void *mem, __u64 len);

#define DMA_LEN 64

#endif
