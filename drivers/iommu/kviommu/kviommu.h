/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kviommu: the object model, who locks what, and what each layer offers to
 * those above it.
 *
 *	vtd/		what the guest sees: registers, queue, tables, faults
 *	unit.c		a unit's life, policy (policy.c), polling (sidecore.c),
 *			devices (device.c)
 *	domain.c	guest domains and their shadows, by diff (merge.c), and
 *			what outlives an unmap (stale.c)
 *	pin.c		the pin cache, and access to guest memory through it
 *	host/		the only files that call KVM, VFIO and iommufd
 *
 * Locks, outermost first:
 *
 * unit->lock	(mutex) serializes everything that changes what the unit is or
 *		what the guest has told it: ioctls, register writes, devices and
 *		their bindings. Held across calls into VFIO and iommufd. Taken
 *		in vCPU context with kvm->srcu read-held, so nothing under it
 *		may wait for a grace period of that.
 * unit->map_lock (mutex) protects the pin cache, the list of domains, shadow
 *		copies and the contents of the host's iommu_domains: so it is
 *		held, too, while one is attached to a group or detached from it.
 *		The only lock that iommufd's unmap callback takes, which runs
 *		with locks of the IOAS held: so an IOAS must not be attached to
 *		a device or detached from it under map_lock.
 *
 * The mutex of an IOMMU group and the locks of IOMMU drivers are inside of map_lock.
 *
 * unit->poll_lock is outside of these, and of KVM's slots_lock. The spinlocks of
 * the polling threads (sidecore.c) are innermost.
 *
 * unit->events_lock (spinlock) protects the eventfds.
 *
 * To remove a file of sysfs or debugfs waits for who reads it, and takes these
 * locks: so none of them may be held.
 *
 * The VM's slots_lock is taken outside of unit->lock, if at all: a vCPU waits
 * for unit->lock while who holds slots_lock waits for the vCPU.
 *
 * The polling threads, which serve the units of many VMs, only try to take the
 * two: what does not work at once they leave to the unit's worker.
 *
 * unit->lock is taken killable in vCPU and ioctl context, and let go between
 * pieces of work, of some milliseconds each (unit->deadline). So is map_lock,
 * in a merge: but not within one leaf. A polling thread has it for a piece of work.
 */
#ifndef _KVIOMMU_H
#define _KVIOMMU_H

#include <linux/types.h>
#include <linux/atomic.h>
#include <linux/cache.h>
#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/timer.h>
#include <linux/xarray.h>
#include <uapi/linux/kviommu.h>

#include "compat.h"
#include "host/host.h"
#include "frontend.h"

struct chunk;
struct dentry;
struct device;
struct eventfd_ctx;
struct kviommu_node;
struct kviommu_poller;
struct mm_struct;
struct shrinker;
struct pid;
struct vhost_task;

/*
 * For what a guest can have us allocate. At the limit of the VMM's memory cgroup,
 * or of the host's memory, such an allocation fails, which has a way back; it
 * does not get a process killed, which has none.
 */
#define KVIOMMU_GFP		(GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL |	\
				 __GFP_NOWARN)

#define KVIOMMU_MAX_DEVICES	64
#define KVIOMMU_NR_EVENTS	4
#define KVIOMMU_RELEASE_BATCH	256
#define KVIOMMU_RELEASE_FRAMES	SZ_64K
#define KVIOMMU_SPARE_NODES	32

/**
 * struct kviommu_recent - A part of the pin cache that was looked up lately
 * @index: Its number
 * @chunk: The part itself; NULL if it is not known
 * @marked: It is known to be marked as one with idle pins
 */
struct kviommu_recent {
	unsigned long index;
	struct chunk *chunk;
	bool marked;
};

#define KVIOMMU_RECENT_BITS	6

/**
 * struct kviommu_pins - The pin cache of a unit (pin.c)
 * @chunks: By guest frame number / KVIOMMU_CHUNK_GFNS, the state of the pins
 *          of that many frames
 * @recent: Some of them, by a hash of that number
 * @pinned: Frames pinned
 * @idle: Those of @pinned that nothing uses
 * @newest: Those of @idle that are of the newest generation
 * @gen: Its number, see pin.c
 * @tick: Number of the tick
 * @ticking: There will be another one,
 * @tick_at: at this time, in jiffies
 * @wanted: How many of @idle the host wants back
 * @shrinker: Through it
 *
 * All but the last two under map_lock.
 */
struct kviommu_pins {
	struct xarray chunks;
	struct kviommu_recent recent[1 << KVIOMMU_RECENT_BITS];
	unsigned long pinned;
	unsigned long idle;
	unsigned long newest;
	u16 gen;
	u16 tick;
	bool ticking;
	unsigned long tick_at;
	atomic_long_t wanted;
	struct shrinker *shrinker;
};

/**
 * struct kviommu_release - Frames whose pins a flush will release
 * @gfn: First guest frame
 * @nr: How many
 */
struct kviommu_release {
	u64 gfn;
	u64 nr;
};

/**
 * struct kviommu_stale - What the guest unmapped and devices may reach (stale.c)
 * @ring: Translations that were kept, the oldest first; some are not stale any
 *        more
 * @size: How many entries it has: a power of two, or 0 if none is to be kept
 * @head: Where the next one comes, modulo @size
 * @tail: The oldest one, modulo @size
 * @kept: How many translations are kept now
 * @reused: How many were reused, of those whose end decides whether to go on
 * @ended: How many were not
 * @pause: How many more are not to be kept
 * @since: Since when there is something to be flushed that the guest takes to
 *         be gone, in ns; 0 if there is nothing
 * @hurry: The guest put something new where there was a translation before, so
 *         it has to wait for the flush
 *
 * All changed under map_lock.
 */
struct kviommu_stale {
	struct kviommu_stale_entry *ring;
	u32 size;
	u32 head;
	u32 tail;
	u32 kept;
	u32 reused;
	u32 ended;
	u32 pause;
	u64 since;
	bool hurry;
};

/**
 * struct kviommu_range - Addresses from @first to @last, inclusive
 * @first: The first one
 * @last: The last one
 */
struct kviommu_range {
	u64 first;
	u64 last;
};

/**
 * enum kviommu_poll_why - Why a unit begins to be polled, or ends it
 * @KVIOMMU_POLL_ASKED: The guest wrote to a register
 * @KVIOMMU_POLL_IDLE: It has not for a while
 * @KVIOMMU_POLL_STOPPED: An ioctl, or something that the guest has to clear
 * @KVIOMMU_POLL_MOVED: Another thread has less to do
 * @KVIOMMU_POLL_OFFLINE: The thread's CPU goes away
 * @KVIOMMU_POLL_OVERCOMMITTED: The thread's CPU has other things to do
 * @KVIOMMU_POLL_SUSPENDED: The host is about to sleep
 *
 * From KVIOMMU_POLL_MOVED on another thread is to have the unit, if there is one.
 */
enum kviommu_poll_why {
	KVIOMMU_POLL_ASKED,
	KVIOMMU_POLL_IDLE,
	KVIOMMU_POLL_STOPPED,
	KVIOMMU_POLL_MOVED,
	KVIOMMU_POLL_OFFLINE,
	KVIOMMU_POLL_OVERCOMMITTED,
	KVIOMMU_POLL_SUSPENDED,
};

/**
 * struct kviommu_unit - One virtual IOMMU: one open file of /dev/kviommu
 * @lock: See above
 * @map_lock: See above
 * @creating: KVIOMMU_CREATE is at work, or succeeded
 * @created: KVIOMMU_CREATE succeeded. Never cleared.
 * @mm: Address space of the VMM, which the VM keeps
 * @id: Number of the unit, for names in debugfs and traces
 * @kvm: The virtual machine, and the tracking of its writes
 * @access: The IOAS that maps guest physical addresses
 * @aw_bits: Width of the I/O virtual addresses
 * @page: The register page. A view for the guest: never read for decisions.
 * @devices: Devices attached, by kviommu_device.entry; under @lock
 * @groups: Their IOMMU groups, by kviommu_group.entry; under @lock
 * @worker: A thread of the VMM, which goes on with what a vCPU left because it
 *          took too long
 * @timer: Wakes it
 * @deferred: There is something for it to do
 * @fe: What the guest sees
 * @poll_busy: When it last had something to do while polled, in ns
 * @poll_ns: How long it is polled in vain
 * @abandoned: The worker was killed
 * @policy: What is in force; changed under both locks
 * @poll_lock: Held while it goes from trapping to polling, and back
 * @polled: Writes to the register page are not trapped; under @poll_lock and
 *          @lock
 * @poller: The thread that polls it, or NULL; under @last_poller's lock
 * @last_poller: The one that did last; changed under @poll_lock
 * @arming: What is trapped is left in the register page until all of that is taken;
 *          under @poll_lock
 * @poll_entry: In its list
 * @poll_node: The NUMA node from where that was asked for
 * @poll_why: Why the thread let go of it
 * @poll_since: Since when it is @polled, in ns; under @lock
 * @poll_asked: The guest wrote to a register since; under @lock
 * @in_poller: A polling thread is at work, which must neither wait nor allocate, and
 *             has @map_lock. Changed under both, and read under one of them.
 * @busy_since: When what the guest asked for was seen first, in ns; 0 if all is
 *              done; under @lock
 * @step_ns: When the piece of work under way began, in ns; under @lock
 * @deadline: When, in jiffies, it should end; under @lock
 * @closing: The unit is going away: stop work
 * @limited: A limit was hit, of which the VMM is to be told; under @lock
 * @events_lock: Protects @events
 * @events: An eventfd for each &enum kviommu_event, or NULL
 * @pins: The pin cache
 * @domains: All shadow domains, by kviommu_domain.entry; under @map_lock
 * @dirty: Something was unmapped since the last flush. Like @nr_release and
 *         @stale.kept it is changed under @map_lock and read without.
 * @release: Frames that wait for the next flush; under @map_lock
 * @nr_release: How many entries of @release are used
 * @frames: How many frames they are
 * @stale: What is, or was, to be kept
 * @serial: Of the domain made last
 * @nr_nodes: Nodes of all shadow copies; under @map_lock
 * @spare: Nodes that are kept for the next use; under @map_lock
 * @nr_spare: How many entries of @spare are used
 * @nr_chunks: Chunks of the pin cache
 * @stats: As in the UAPI. Each counter is changed under one of the two locks
 *         and read without.
 * @dev: Its device in sysfs
 * @vmm: The process that created it
 * @debugfs: Its directory there
 *
 * From @fe to the mode of @policy is all that a look of a polling thread reads of
 * this: one cache line, which nobody else writes to meanwhile. Once in a round the
 * thread also looks at @poller and @poll_entry.
 */
struct kviommu_unit {
	struct mutex lock;	/* see above */
	struct mutex map_lock;	/* see above */
	bool creating;
	bool created;
	struct mm_struct *mm;
	int id;
	struct kviommu_kvm kvm;
	struct kviommu_access access;
	unsigned int aw_bits;
	struct page *page;
	struct list_head devices;
	struct list_head groups;
	struct vhost_task *worker;
	struct timer_list timer;
	bool deferred;
	struct kviommu_frontend *fe ____cacheline_aligned_in_smp;
	u64 poll_busy;
	u64 poll_ns;
	bool abandoned;
	struct kviommu_policy policy;
	struct mutex poll_lock;	/* see above */
	bool polled;
	struct kviommu_poller *poller;
	struct kviommu_poller *last_poller;
	bool arming;
	struct list_head poll_entry;
	int poll_node;
	enum kviommu_poll_why poll_why;
	u64 poll_since;
	bool poll_asked;
	bool in_poller;
	u64 busy_since;
	u64 step_ns;
	unsigned long deadline;
	bool closing;
	bool limited;
	spinlock_t events_lock;	/* see above */
	struct eventfd_ctx *events[KVIOMMU_NR_EVENTS];
	struct kviommu_pins pins;
	struct list_head domains;
	bool dirty;
	struct kviommu_release release[KVIOMMU_RELEASE_BATCH];
	unsigned int nr_release;
	u64 frames;
	struct kviommu_stale stale;
	u64 serial;
	unsigned long nr_nodes;
	struct kviommu_node *spare[KVIOMMU_SPARE_NODES];
	unsigned int nr_spare;
	unsigned long nr_chunks;
	struct kviommu_stats stats;
	struct device *dev;
	struct pid *vmm;
	struct dentry *debugfs;
};

/* Readers take no lock; writers hold the counter's. */
#define kviommu_count(unit, stat, n)					\
	do {								\
		u64 *_stat = &(unit)->stats.out_##stat;			\
		WRITE_ONCE(*_stat, *_stat + (n));			\
	} while (0)

/* For what the guest maps in more than one place at a time */
#define KVIOMMU_NR_WALKS	4
#define KVIOMMU_WALK_LEVELS	4

/**
 * struct kviommu_walk - The way to a table of leaves of 4 KiB (merge.c)
 * @node: Its node, or NULL
 * @base: First I/O virtual address that it translates
 * @prot: The rights that the levels above give
 * @entry: The entries of the guest's tables that lead there, the root's first
 * @val: What they were
 */
struct kviommu_walk {
	struct kviommu_node *node;
	u64 base;
	unsigned int prot;
	const u64 *entry[KVIOMMU_WALK_LEVELS];
	u64 val[KVIOMMU_WALK_LEVELS];
};

/**
 * struct kviommu_domain - The shadow of one guest domain (domain.c)
 * @unit: The unit
 * @entry: In unit->domains, the oldest first
 * @serial: Tells it from all others that the unit had
 * @did: The guest's domain-id
 * @pgtbl: Guest physical address of the guest's root of the tables
 * @levels: Levels of the guest's tables: 3, 4 or 5
 * @hw: The host's domain that devices are attached to
 * @gather: What of @hw was unmapped since the last flush
 * @dirty: Something was
 * @root: The shadow copy
 * @walks: Ways through it, by the lowest bits of the table's number
 * @hw_tables: Where @hw may have tables, see kviommu_domain_count_tables()
 * @nr_hw_tables: How many
 * @coherent: @hw forces DMA to be coherent
 * @splits: Pages of @hw that were mapped by one call can be unmapped one by one
 * @refused_by: The physical IOMMU that was the last one not to take @hw
 * @reserved: What is not translated, whatever the guest says
 * @unbuilt: What the first merge has not come to yet, while @building; under
 *           unit->lock
 * @building: Nothing is attached before it is whole; under unit->lock
 * @users: How many IOMMU groups go through it, or wait for it; when there are
 *         none it is taken down, in pieces; under unit->lock
 *
 * The rest is under map_lock. Comes and goes under both locks. A guest domain
 * has more than one shadow when its devices are behind physical IOMMUs that do
 * not take the same iommu_domain.
 */
struct kviommu_domain {
	struct kviommu_unit *unit;
	struct list_head entry;
	u64 serial;
	u16 did;
	u64 pgtbl;
	unsigned int levels;
	struct iommu_domain *hw;
	struct iommu_iotlb_gather gather;
	bool dirty;
	struct kviommu_node *root;
	struct kviommu_walk walks[KVIOMMU_NR_WALKS];
	struct xarray hw_tables;
	unsigned long nr_hw_tables;
	bool coherent;
	bool splits;
	const void *refused_by;
	struct kviommu_reserved reserved;
	struct kviommu_range unbuilt;
	bool building;
	unsigned int users;
};

/**
 * struct kviommu_group - An IOMMU group of a unit's devices (device.c)
 * @unit: The unit
 * @entry: In unit->groups
 * @hw: The group in the host
 * @devices: The devices, by kviommu_device.group_entry
 * @bound: What its DMA goes through now
 * @domain: The shadow domain if @bound.type is KVIOMMU_BIND_DOMAIN
 * @next: A shadow domain that is being built for it
 * @failed: @bound is not what was last asked for
 * @unsettled: @bound is not yet what was last asked for
 *
 * Under unit->lock.
 */
struct kviommu_group {
	struct kviommu_unit *unit;
	struct list_head entry;
	struct kviommu_hwgroup hw;
	struct list_head devices;
	struct kviommu_binding bound;
	struct kviommu_domain *domain;
	struct kviommu_domain *next;
	bool failed;
	bool unsettled;
};

/**
 * struct kviommu_device - A device attached to a unit (device.c)
 * @unit: The unit
 * @entry: In unit->devices
 * @group_entry: In group->devices
 * @group: Its IOMMU group
 * @source_id: The requester ID that the guest knows it by
 * @host: The VFIO device
 * @wanted: What the guest wants its DMA to go through
 *
 * Under unit->lock.
 */
struct kviommu_device {
	struct kviommu_unit *unit;
	struct list_head entry;
	struct list_head group_entry;
	struct kviommu_group *group;
	u16 source_id;
	struct kviommu_vfio host;
	struct kviommu_binding wanted;
};

/**
 * struct kviommu_leaf - A leaf of a shadow copy (merge.c)
 * @iova: Its I/O virtual address
 * @size: How many bytes it covers
 * @guest: What the guest's tables say of these now; nothing if they have no such
 *         leaf
 * @gpa: What the shadow copy says: the guest physical address
 * @prot: And the rights; 0 if there is nothing
 * @mapped: The host's domain has it
 * @stale: Though the guest has removed it
 */
struct kviommu_leaf {
	u64 iova;
	u64 size;
	struct kviommu_entry guest;
	u64 gpa;
	u8 prot;
	bool mapped;
	bool stale;
};

/* pin.c */

void kviommu_map_lock(struct kviommu_unit *unit);
void kviommu_map_unlock(struct kviommu_unit *unit);
int kviommu_pin_get(struct kviommu_unit *unit, u64 gfn, unsigned int prot,
		    u64 *pfn);
void kviommu_pin_put_range(struct kviommu_unit *unit, u64 gfn, u64 nr);
bool kviommu_pin_revoke(struct kviommu_unit *unit, u64 first, u64 last);
int kviommu_pin_release(struct kviommu_unit *unit, struct kviommu_range *range,
			u64 *in_use);
void kviommu_pin_trim(struct kviommu_unit *unit, unsigned long max_idle);
void kviommu_pin_tidy(struct kviommu_unit *unit);
int kviommu_pin_start(struct kviommu_unit *unit);
void kviommu_pin_stop(struct kviommu_unit *unit);
u64 kviommu_pin_bytes(const struct kviommu_unit *unit);

static inline void kviommu_pin_put(struct kviommu_unit *unit, u64 gfn)
{
	kviommu_pin_put_range(unit, gfn, 1);
}

/* domain.c, merge.c */

struct kviommu_domain *kviommu_domain_attach(struct kviommu_group *group,
					     const struct kviommu_binding *b);
void kviommu_domain_put(struct kviommu_domain *domain);
int kviommu_domain_reap(struct kviommu_unit *unit, bool all);
void kviommu_domain_release(struct kviommu_domain *domain, u64 gfn, u64 nr);
int kviommu_domain_count_tables(struct kviommu_domain *domain, u64 iova,
				unsigned int level);
int kviommu_domain_reserved(const struct kviommu_domain *domain, u64 first,
			    u64 last);
void kviommu_unit_flush(struct kviommu_unit *unit);
int kviommu_refresh(struct kviommu_unit *unit, struct kviommu_progress *p);
void kviommu_revoke(struct kviommu_unit *unit, u64 first, u64 last);

int kviommu_merge(struct kviommu_domain *domain, struct kviommu_range *range,
		  bool refresh);
void kviommu_merge_revoke(struct kviommu_domain *domain, u64 first, u64 last);
bool kviommu_merge_end_stale(struct kviommu_domain *domain, u64 iova, u32 tag);
int kviommu_merge_drop(struct kviommu_domain *domain, bool whole);
u64 kviommu_merge_bytes(const struct kviommu_unit *unit);
void kviommu_merge_free(struct kviommu_unit *unit);
int kviommu_merge_next(const struct kviommu_domain *domain,
		       struct kviommu_leaf *leaf);

/* stale.c */

int kviommu_stale_alloc(struct kviommu_stale *stale,
			const struct kviommu_policy *policy);
void kviommu_stale_free(struct kviommu_stale *stale);
int kviommu_stale_keep(struct kviommu_domain *domain, u64 iova);
void kviommu_stale_dropped(struct kviommu_unit *unit);
void kviommu_stale_reuse(struct kviommu_domain *domain, u64 iova);
void kviommu_stale_flush(struct kviommu_unit *unit);
void kviommu_stale_flushed(struct kviommu_unit *unit);
void kviommu_stale_expire(struct kviommu_unit *unit);
bool kviommu_stale_end(struct kviommu_unit *unit);
u64 kviommu_stale_pages(const struct kviommu_unit *unit);

/* device.c */

int kviommu_device_attach(struct kviommu_unit *unit, int fd, u32 source_id);
int kviommu_device_detach(struct kviommu_unit *unit, u32 source_id);
int kviommu_device_settle(struct kviommu_unit *unit);
void kviommu_device_fault(struct kviommu_domain *domain, u64 iova, u8 reason);
void kviommu_device_destroy(struct kviommu_device *dev);

/* unit.c */

struct kviommu_unit *kviommu_unit_alloc(void);
void kviommu_unit_destroy(struct kviommu_unit *unit);
int kviommu_unit_create(struct kviommu_unit *unit, struct kviommu_create *cmd);
int kviommu_unit_arm(struct kviommu_unit *unit, u64 gpa);
int kviommu_unit_set_event(struct kviommu_unit *unit, u32 event, int fd);
int kviommu_unit_reset(struct kviommu_unit *unit);
int kviommu_unit_change_policy(struct kviommu_unit *unit, unsigned int offset,
			       const void *value, unsigned int size);
int kviommu_unit_refresh(struct kviommu_unit *unit);
int kviommu_unit_release_pins(struct kviommu_unit *unit,
			      struct kviommu_release_pins *cmd);
int kviommu_unit_settle(struct kviommu_unit *unit);
void kviommu_unit_defer(struct kviommu_unit *unit);
void kviommu_unit_wake(struct kviommu_unit *unit, u64 us);
bool kviommu_unit_poll(struct kviommu_unit *unit, bool all);
void kviommu_error(struct kviommu_unit *unit, const char *what, u64 addr,
		   int err);
void kviommu_unlock(struct kviommu_unit *unit);
void kviommu_unit_get_stats(struct kviommu_unit *unit,
			    struct kviommu_stats *stats);

/* policy.c */

void kviommu_policy_init(struct kviommu_policy *policy);
int kviommu_policy_check(const struct kviommu_policy *policy,
			 const struct kviommu_policy *now);

extern const char *const kviommu_mode_names[];
extern const char *const kviommu_strategy_names[];

/* sidecore.c */

bool kviommu_poll_wanted(struct kviommu_unit *unit);
void kviommu_poll_begin(struct kviommu_unit *unit);
int kviommu_poll_end(struct kviommu_unit *unit);
int kviommu_poll_trap(struct kviommu_unit *unit);
int kviommu_poll_arm(struct kviommu_unit *unit, u64 gfn);
void kviommu_poll_stop(struct kviommu_unit *unit);
int kviommu_poll_cpu(struct kviommu_unit *unit);
u64 kviommu_poll_time(const struct kviommu_unit *unit);
int kviommu_poll_init(void);
void kviommu_poll_exit(void);

/* sysfs.c */

int kviommu_sysfs_init(void);
void kviommu_sysfs_exit(void);
int kviommu_sysfs_add(struct kviommu_unit *unit);
void kviommu_sysfs_remove(struct kviommu_unit *unit);

/* debugfs.c */

void kviommu_debugfs_init(void);
void kviommu_debugfs_exit(void);
void kviommu_debugfs_add(struct kviommu_unit *unit);
void kviommu_debugfs_remove(struct kviommu_unit *unit);

#endif /* _KVIOMMU_H */
