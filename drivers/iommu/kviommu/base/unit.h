/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The unit, which all layers above host/ share.
 *
 * The folders are layers. From the bottom to the top:
 *
 *	host/	the only callers of KVM, VFIO, iommufd and the IOMMU API
 *	base/	this file, errors and events, trace events
 *	mem/	which guest pages are pinned, access to guest memory
 *	source/	what the guest says of an I/O virtual address
 *	xlate/	what a device's DMA goes through: the translations
 *	device/	devices, their groups, and the translation of each
 *	model/	what the guest sees
 *	run/	who does a unit's work: the vCPU's exit, the unit's worker, polling
 *	core/	a unit's life, its ioctls, its policy, what an operator sees
 *
 * A file calls functions of its own folder and of those below, and includes their
 * headers. What is above is reached through the tables of operations of models,
 * sources and translations, and through struct kviommu_upcalls.
 * tools/check/layers proves it.
 */

/**
 * DOC: Locks
 *
 * Outermost first:
 *
 * ``unit->poll_lock`` (a mutex)
 *   Held while a unit goes from trapping to polling and back. It is taken outside of
 *   KVM's ``slots_lock``, too.
 *
 * ``unit->lock`` (a mutex)
 *   Serializes everything that changes what the unit is or what the guest has told it:
 *   ioctls, register writes, devices and their translations. It is held across calls
 *   into VFIO and iommufd, so VFIO's ``dev_set->lock`` is taken inside of it. vCPUs take
 *   it with ``kvm->srcu`` read-held, so nothing under it may wait for a grace period of
 *   that.
 *
 * ``unit->map_lock`` (a mutex)
 *   Protects the pin cache, the list of translations, shadow copies and the contents of
 *   the host's iommu_domains; so it is also held while a domain is attached to a group
 *   or detached from it. It is the only lock that iommufd's unmap callback takes, which
 *   runs with locks of the IOAS held: so a device must not be attached to an IOAS or
 *   detached from it under map_lock. Inside of it are the locks of iommufd and the VMM's
 *   ``mmap_lock``, which pinning takes, and the mutex of an IOMMU group and the locks of
 *   IOMMU drivers.
 *
 * ``unit->events_lock`` (a spinlock, innermost)
 *   Protects the eventfds.
 *
 * The spinlock of a shared polling thread (innermost)
 *   Protects the list of its units. Threads of VMMs take it, too, so it is never held for
 *   long. The polling thread does not hold it while it looks at a unit; closing the unit
 *   waits until that look is over.
 *
 * A piece of the guest's work runs under unit->lock and map_lock, both: see run/step.c.
 * kviommu_rebind() releases map_lock while it attaches devices, and so does a merge now
 * and then.
 *
 * unit->lock is taken killable in vCPU and ioctl context, and released between pieces of
 * work, of some milliseconds each (&struct kviommu_work). So is map_lock in a merge, but
 * not within one leaf. A shared polling thread, which serves the units of many VMs, only
 * tries to take the two, and leaves what does not work at once to the unit's worker. It
 * holds map_lock for a whole piece of work.
 *
 * The VM's ``slots_lock`` is taken outside of unit->lock, if at all: a vCPU waits for
 * unit->lock while the holder of slots_lock waits for the vCPU. The unit's notifier in KVM
 * is unregistered with no lock held: that waits for vCPUs, which may want unit->lock.
 *
 * Removing a file of sysfs or debugfs waits for its readers, which take these locks: so
 * none of them may be held.
 */
#ifndef _KVIOMMU_UNIT_H
#define _KVIOMMU_UNIT_H

#include <linux/types.h>
#include <linux/atomic.h>
#include <linux/cache.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/timer.h>
#include <linux/xarray.h>
#include <uapi/linux/kviommu.h>

#include "policy.h"
#include "stats.h"
#include "../host/host.h"

struct chunk;
struct dentry;
struct device;
struct eventfd_ctx;
struct kviommu_model;
struct kviommu_node;
struct kviommu_poller;
struct kviommu_stats_source;
struct kviommu_unit;
struct kviommu_xlate;
struct mm_struct;
struct shrinker;
struct pid;
struct vhost_task;

#define KVIOMMU_READ	1
#define KVIOMMU_WRITE	2

/*
 * For what a guest can have us allocate. At the limit of the VMM's memory cgroup,
 * or of the host's memory, such an allocation fails, which has a way back; it
 * does not get a process killed, which has none.
 */
#define KVIOMMU_GFP		(GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL |	\
				 __GFP_NOWARN)

#define KVIOMMU_MAX_DEVICES	64
#define KVIOMMU_NR_EVENTS	(KVIOMMU_EVENT_LIMIT + 1)
#define KVIOMMU_RELEASE_BATCH	256
#define KVIOMMU_RELEASE_FRAMES	SZ_64K
#define KVIOMMU_SPARE_NODES	32

/**
 * enum kviommu_fault - Why a translation cannot be had, in no model's terms
 * @KVIOMMU_FAULT_NONE: It can
 * @KVIOMMU_FAULT_ROOT: The first table of the guest cannot be read
 * @KVIOMMU_FAULT_TABLE: Another table of the guest cannot be read
 * @KVIOMMU_FAULT_ENTRY: An entry of a table is invalid
 * @KVIOMMU_FAULT_READ: Memory to be read cannot be had
 * @KVIOMMU_FAULT_WRITE: Memory to be written cannot be had
 */
enum kviommu_fault {
	KVIOMMU_FAULT_NONE,
	KVIOMMU_FAULT_ROOT,
	KVIOMMU_FAULT_TABLE,
	KVIOMMU_FAULT_ENTRY,
	KVIOMMU_FAULT_READ,
	KVIOMMU_FAULT_WRITE,
};

/**
 * struct kviommu_work - A piece of work under way, and what it may do
 * @began: When it began, in ns of ktime_get_ns()
 * @deadline: When, in jiffies, it should end
 * @whole: It has no deadline, and does not stop before its end
 * @may_wait: It may sleep for memory and for the VMM, as a thread of the VMM may.
 *            If not, whatever needs that fails with -EAGAIN and is left to the
 *            unit's worker. Memory is charged to the VMM in either case.
 */
struct kviommu_work {
	u64 began;
	unsigned long deadline;
	bool whole;
	bool may_wait;
};

/* For what has to be done in one go, by a thread that may sleep. */
extern const struct kviommu_work kviommu_work_whole;

/**
 * struct kviommu_upcalls - What lower layers ask of upper ones
 * @wake: Have the unit's worker look for what has grown too old, or is left to do,
 *        in at most so many microseconds; 0: now. Context: any that may take a
 *        spinlock.
 * @fault: A translation of the guest cannot be had at this I/O virtual address;
 *         tell the guest. Context: under unit->lock and map_lock.
 * @renew_policy: What the host allows or can do has changed: put in force what follows
 *                from it. Context: the unit's worker, no locks.
 */
struct kviommu_upcalls {
	void (*wake)(struct kviommu_unit *unit, u64 us);
	void (*fault)(struct kviommu_xlate *xlate, u64 iova,
		      enum kviommu_fault reason);
	void (*renew_policy)(struct kviommu_unit *unit);
};

/**
 * enum kviommu_binding_type - What the guest wants a device's DMA to go through
 * @KVIOMMU_BIND_BLOCKED: Nothing: it is blocked
 * @KVIOMMU_BIND_IDENTITY: The IOAS: it reaches all guest memory
 * @KVIOMMU_BIND_DOMAIN: Translations of the guest
 * @KVIOMMU_NR_BINDINGS: How many there are
 */
enum kviommu_binding_type {
	KVIOMMU_BIND_BLOCKED,
	KVIOMMU_BIND_IDENTITY,
	KVIOMMU_BIND_DOMAIN,
	KVIOMMU_NR_BINDINGS,
};

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
 * struct kviommu_pins - The pin cache of a unit (mem/)
 * @chunks: By guest frame number / KVIOMMU_CHUNK_GFNS, the state of the pins
 *          of that many frames
 * @recent: Some of them, by a hash of that number
 * @pinned: Frames pinned
 * @idle: Those of @pinned that nothing uses
 * @newest: Those of @idle that are of the newest generation
 * @gen: Its number, see pin.c
 * @tick: Number of the tick
 * @ticking: A tick is scheduled
 * @tick_at: Its time, in jiffies
 * @nr_chunks: How many entries of @chunks there are
 * @wanted: How many of @idle the host wants back
 * @shrinker: The registered shrinker, through which it says so
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
	unsigned long nr_chunks;
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
 * struct kviommu_stale - What the guest unmapped and devices may reach (xlate/shadow/stale.c)
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
 * @must_flush: The guest put something new where there was a translation before, so
 *              it has to wait for the flush
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
	bool must_flush;
};

/**
 * struct kviommu_shadows - What the shadows of a unit share (xlate/shadow/)
 * @dirty: Something was unmapped since the last flush. Like @nr_release and
 *         @stale.kept it is changed under map_lock and read without.
 * @release: Frames that wait for the next flush
 * @nr_release: How many entries of @release are used
 * @release_frames: How many frames they are
 * @stale: What is, or was, to be kept
 * @nr_nodes: Nodes of all shadow copies
 * @spare: Nodes that are kept for the next use
 * @nr_spare: How many entries of @spare are used
 *
 * All under map_lock.
 */
struct kviommu_shadows {
	bool dirty;
	struct kviommu_release release[KVIOMMU_RELEASE_BATCH];
	unsigned int nr_release;
	u64 release_frames;
	struct kviommu_stale stale;
	unsigned long nr_nodes;
	struct kviommu_node *spare[KVIOMMU_SPARE_NODES];
	unsigned int nr_spare;
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
 * @up: What lower layers ask of upper ones
 * @creating: KVIOMMU_CREATE is at work, or succeeded
 * @created: KVIOMMU_CREATE succeeded. Never cleared.
 * @mm: Address space of the VMM, which the VM keeps
 * @id: Number of the unit, for names in debugfs and traces
 * @kvm: The virtual machine, and the tracking of its writes
 * @access: The IOAS that maps guest physical addresses
 * @aw_bits: Width of the I/O virtual addresses
 * @page: The register page, a view for the guest that is never read for
 *        decisions; NULL if the model has none
 * @devices: Devices attached, by kviommu_device.entry; under @lock
 * @groups: Their IOMMU groups, by kviommu_group.entry; under @lock
 * @worker: A thread of the VMM, which goes on with what a vCPU left because it
 *          took too long
 * @timer: Wakes it
 * @deferred: There is something for it to do
 * @model: What the guest sees
 * @poll_busy_at: When it last had something to do while polled, in ns
 * @poll_ns: For how long it is polled without finding anything to do
 * @abandoned: The worker was killed
 * @policy: What is in force; changed under @lock and @map_lock
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
 * @busy_since: When what the guest asked for was seen first, in ns; 0 if all is
 *              done; under @lock
 * @closing: The unit is going away: stop work
 * @limited: A limit was hit, of which the VMM is to be told; under @lock
 * @policy_wanted: What the VMM wants: the members of its mask; under @lock
 * @policy_admin: What the administrator set for the unit: the members of its mask;
 *                under @lock
 * @policy_entry: In the list of all units, see core/policy.c
 * @policy_outdated: What the host allows may have changed since @policy was set
 * @events_lock: Protects @events and @events_missed
 * @events: An eventfd for each &enum kviommu_event, or NULL
 * @events_missed: Bits of events for which there was no eventfd
 * @pins: The pin cache
 * @xlates: All translations that come and go, by kviommu_xlate.entry; under
 *          @map_lock
 * @fixed: Those that are always there, by &enum kviommu_binding_type
 * @xlate_serial: Number of the translation made last
 * @shadows: What all shadows share
 * @stats: Each counter is changed under one of the two locks and read without.
 * @stats_source: What KVIOMMU_GET_STATS_FD's files have of the unit, or NULL; under
 *                @lock
 * @dev: Its device in sysfs
 * @vmm: The process that created it
 * @debugfs: Its directory there
 *
 * From @model to the mode of @policy is all that a look of a polling thread reads of
 * this: one cache line, which nobody else writes to meanwhile. Once in a round the
 * thread also looks at @poller and @poll_entry.
 */
struct kviommu_unit {
	struct mutex lock;	/* see above */
	struct mutex map_lock;	/* see above */
	const struct kviommu_upcalls *up;
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
	struct kviommu_model *model ____cacheline_aligned_in_smp;
	u64 poll_busy_at;
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
	u64 busy_since;
	bool closing;
	bool limited;
	struct kviommu_policy policy_wanted;
	struct kviommu_policy policy_admin;
	struct list_head policy_entry;
	bool policy_outdated;
	spinlock_t events_lock;	/* see above */
	struct eventfd_ctx *events[KVIOMMU_NR_EVENTS];
	unsigned long events_missed;
	struct kviommu_pins pins;
	struct list_head xlates;
	struct kviommu_xlate *fixed[KVIOMMU_NR_BINDINGS];
	u64 xlate_serial;
	struct kviommu_shadows shadows;
	struct kviommu_stats stats;
	struct kviommu_stats_source *stats_source;
	struct device *dev;
	struct pid *vmm;
	struct dentry *debugfs;
};

/* Readers take no lock; writers hold the counter's. */
#define kviommu_count(unit, stat, n)					\
	do {								\
		u64 *_stat = &(unit)->stats.stat;			\
		WRITE_ONCE(*_stat, *_stat + (n));			\
	} while (0)

static inline void kviommu_wake(struct kviommu_unit *unit, u64 us)
{
	unit->up->wake(unit, us);
}

/**
 * kviommu_time_up() - Say whether the time for a piece of work is up
 * @work: The piece of work
 *
 * Context: any.
 * Return: true if so: do what has begun, but begin nothing more.
 */
static inline bool kviommu_time_up(const struct kviommu_work *work)
{
	return !work->whole && time_after(jiffies, work->deadline);
}

int kviommu_resched(struct kviommu_unit *unit, const struct kviommu_work *work);
void kviommu_signal(struct kviommu_unit *unit, enum kviommu_event event);
int kviommu_set_event(struct kviommu_unit *unit, u32 event, int fd);
void kviommu_forget_interrupts(struct kviommu_unit *unit);
void kviommu_error(struct kviommu_unit *unit, const char *what, u64 addr, int err);
void kviommu_unlock(struct kviommu_unit *unit);

#endif /* _KVIOMMU_UNIT_H */
