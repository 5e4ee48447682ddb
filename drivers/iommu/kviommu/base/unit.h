/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The unit: the structures that all layers above host/ share, and the locking rules.
 *
 * The folders are layers. From the bottom to the top:
 *
 *	host/	the only callers of KVM, VFIO, iommufd and the IOMMU API
 *	base/	this file, errors and events, trace events
 *	mem/	the pin cache, access to guest memory
 *	source/	the guest's mappings, decoded from the form in which it keeps them
 *	xlate/	translations: what a device's DMA goes through
 *	device/	devices, their IOMMU groups, and the translation of each
 *	model/	the emulated IOMMU, as the guest sees it
 *	run/	the contexts that do a unit's work: vCPU exits, its worker, polling
 *	core/	a unit's life, its ioctls, its policy, sysfs and debugfs
 *
 * A file calls functions of its own folder and of lower ones, and includes their
 * headers. It reaches higher layers only through the operations of models, sources
 * and translations, and through struct kviommu_upcalls. tools/check/layers enforces
 * this.
 */

/**
 * DOC: Locks
 *
 * Outermost first:
 *
 * ``unit->poll_lock`` (a mutex)
 *   Held while a unit switches between trapping and polling, and so across a grace period
 *   of ``kvm->srcu``: a thread that takes it waits for the VM's vCPUs. It is outside of KVM's
 *   ``slots_lock``, too.
 *
 * ``unit->lock`` (a mutex)
 *   Serializes all changes of the unit's state and of the guest's requests to it:
 *   ioctls, register writes, devices and their translations. It is held across calls
 *   into VFIO and iommufd, so VFIO's ``dev_set->lock`` is inside of it. vCPUs take it
 *   with ``kvm->srcu`` read-held, so its holder must not wait for a grace period of
 *   that.
 *
 * ``unit->map_lock`` (a mutex)
 *   Protects the pin cache, the list of translations, shadow copies and the contents of
 *   the host's iommu_domains. It is therefore also held while an iommu_domain is
 *   attached to a group or detached from it. It is the only lock that iommufd's unmap
 *   callback takes. That callback runs with locks of the IOAS held, so a device must not
 *   be attached to an IOAS or detached from it under map_lock. The locks that iommufd
 *   takes to pin a page are inside of it, with the VMM's ``mmap_lock`` and ``kvm->srcu``
 *   (read-held), and so are the mutex of an IOMMU group and the locks of IOMMU drivers.
 *
 * ``unit->events_lock`` (a spinlock, innermost)
 *   Protects the eventfds.
 *
 * The spinlock of a shared polling thread (innermost)
 *   Protects the list of the units that the thread polls. Threads of VMMs take it, too,
 *   so it is never held for long. The polling thread drops it while it looks at a unit;
 *   closing the unit waits until that look is over, and so do, killably, the ioctls after
 *   which the unit is trapped. A worker that polls looks under unit->lock, so whatever
 *   ends that takes this lock.
 *
 * The guest's work is done under both unit->lock and map_lock: see run/step.c.
 * kviommu_rebind() drops map_lock while it attaches devices, and a long merge drops it
 * from time to time.
 *
 * Four locks are not part of that order. The lock of a unit's connection to files of
 * statistics (core/stats.c) is outside of unit->lock. The spinlock of the list of all units
 * (core/policy.c), the mutex of the list of shared threads (run/pool_cpus.c) and that of
 * the armed pages (host/kvm.c, inside of KVM's slots_lock) protect these lists alone.
 *
 * vCPUs and ioctls take unit->lock killably, unless they switch between trapping and
 * polling, and drop it between pieces of work of some
 * milliseconds each (&struct kviommu_work). A merge also drops map_lock, but not within
 * one leaf. A shared polling thread, which serves the units of many VMs, only tries to
 * take both locks, and leaves what it cannot do at once to the unit's worker. It holds
 * map_lock for a whole piece of work.
 *
 * The VM's ``slots_lock`` must not be taken under unit->lock: a vCPU may wait for
 * unit->lock while the holder of slots_lock waits for that vCPU. The unit's notifier in
 * KVM is unregistered with no lock held: that waits for vCPUs, which may want unit->lock.
 *
 * The removal of a sysfs or debugfs file waits for its readers, which take these locks,
 * so the caller must not hold any of them.
 */
#ifndef _KVIOMMU_UNIT_H
#define _KVIOMMU_UNIT_H

#include <linux/types.h>
#include <linux/atomic.h>
#include <linux/cache.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/timer.h>
#include <linux/xarray.h>
#include <uapi/linux/kviommu.h>

#include "policy.h"
#include "stats.h"
#include "tracked.h"
#include "work.h"
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
/* Of kviommu_pin_get(): the limit of pins, which is for DMA, does not count */
#define KVIOMMU_BEYOND_LIMIT	4

/*
 * For allocations that a guest can cause. At the limit of the VMM's memory cgroup or of
 * the host's memory they fail, which every caller can handle, instead of invoking the
 * OOM killer.
 */
#define KVIOMMU_GFP		(GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL |	\
				 __GFP_NOWARN)

#define KVIOMMU_MAX_DEVICES	64
#define KVIOMMU_MAX_PASIDS	1024	/* of all devices of a unit */
#define KVIOMMU_MAX_PAGES	5	/* pages of a model that the VMM may map */
#define KVIOMMU_NR_EVENTS	(KVIOMMU_EVENT_LIMIT + 1)
#define KVIOMMU_RELEASE_BATCH	256	/* ranges of frames that may wait for a flush */
#define KVIOMMU_RELEASE_FRAMES	SZ_64K	/* frames that may wait for a flush */
#define KVIOMMU_SPARE_NODES	32	/* unused nodes of shadow copies that are kept */

/**
 * enum kviommu_fault - Why an address cannot be translated, in terms of no model
 * @KVIOMMU_FAULT_NONE: No fault
 * @KVIOMMU_FAULT_ROOT: The guest's root table cannot be read
 * @KVIOMMU_FAULT_TABLE: A lower table of the guest cannot be read
 * @KVIOMMU_FAULT_ENTRY: An entry of a table is invalid
 * @KVIOMMU_FAULT_READ: A page that the guest maps readable cannot be mapped
 * @KVIOMMU_FAULT_WRITE: A page that the guest maps writable cannot be mapped
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
 * struct kviommu_upcalls - Functions of upper layers that lower layers call
 * @wake: Make the unit's worker look for expired or pending work within the given time
 *        in microseconds; 0 for immediately. Context: any that may take a spinlock.
 * @fault: Report to the guest that this I/O virtual address cannot be translated.
 *         Context: under unit->lock and map_lock.
 * @renew_policy: Recompute the policy in force after a change of the host's limits or
 *                capabilities. Context: the unit's worker, no locks.
 */
struct kviommu_upcalls {
	void (*wake)(struct kviommu_unit *unit, u64 us);
	void (*fault)(struct kviommu_xlate *xlate, u64 iova,
		      enum kviommu_fault reason);
	void (*renew_policy)(struct kviommu_unit *unit);
};

/**
 * enum kviommu_binding_type - The kind of translation that the guest selects for a device
 * @KVIOMMU_BIND_BLOCKED: All DMA is blocked
 * @KVIOMMU_BIND_IDENTITY: DMA addresses are guest physical addresses, through the IOAS
 * @KVIOMMU_BIND_DOMAIN: DMA is translated by tables of the guest, merged into a shadow
 * @KVIOMMU_BIND_NESTED: DMA is translated by tables of the guest that the physical IOMMU
 *                       walks
 * @KVIOMMU_BIND_TRACKED: DMA addresses are guest physical addresses, of the pages that the
 *                        guest has asked for
 * @KVIOMMU_NR_BINDINGS: Number of kinds
 */
enum kviommu_binding_type {
	KVIOMMU_BIND_BLOCKED,
	KVIOMMU_BIND_IDENTITY,
	KVIOMMU_BIND_DOMAIN,
	KVIOMMU_BIND_NESTED,
	KVIOMMU_BIND_TRACKED,
	KVIOMMU_NR_BINDINGS,
};

/**
 * struct kviommu_recent - A recently used chunk of the pin cache
 * @index: Index of the chunk in kviommu_pins.chunks
 * @chunk: The chunk; NULL if none is cached
 * @marked: The chunk is known to be marked in kviommu_pins.chunks as having idle pins
 */
struct kviommu_recent {
	unsigned long index;
	struct chunk *chunk;
	bool marked;
};

#define KVIOMMU_RECENT_BITS	6

/**
 * struct kviommu_pins - The pin cache of a unit (mem/)
 * @chunks: The state of the pins, in chunks, by guest frame number / CHUNK_GFNS
 * @recent: Recently used chunks, by a hash of their index
 * @pinned: Number of pinned frames
 * @idle: Number of pinned frames without a user
 * @newest: Number of idle frames in the newest generation
 * @gen: Number of the newest generation, see mem/idle.c
 * @tick: Number of ticks that have passed
 * @ticking: The next tick is scheduled
 * @tick_at: Time of the next tick, in jiffies
 * @nr_chunks: Number of entries in @chunks
 * @wanted: Number of idle pins that the shrinker has asked the worker to release
 * @shrinker: The registered shrinker
 *
 * All members but the last two are under map_lock.
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
 * struct kviommu_release - Guest frames whose pins the next flush releases
 * @gfn: First guest frame number
 * @nr: Number of frames
 */
struct kviommu_release {
	u64 gfn;
	u64 nr;
};

/**
 * struct kviommu_stale - Mappings that outlive the guest's unmap (xlate/shadow/stale.c)
 * @ring: Kept mappings, the oldest first; includes entries that are no longer stale
 * @size: Number of entries in @ring: a power of two, or 0 if no mappings are kept
 * @head: Index of the next entry to fill, modulo @size
 * @tail: Index of the oldest entry, modulo @size
 * @kept: Number of mappings kept at present
 * @reused: Mappings of the present window that the guest mapped again
 * @ended: Mappings of the present window that ended without being reused
 * @pause: Number of further unmaps for which no mapping is kept
 * @since: Time of the oldest unmap that waits for a flush, in ns of ktime_get_ns();
 *         0 if there is none
 * @must_flush: The guest has replaced a mapping, so its invalidation must not complete
 *              before the flush
 *
 * All members are changed under map_lock.
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
 * struct kviommu_shadows - What all shadows of a unit share (xlate/shadow/); under map_lock
 * @dirty: A mapping was unmapped since the last flush. Like @nr_release and
 *         @stale.kept, it is changed under map_lock and also read without.
 * @release: Frames whose pins the next flush releases
 * @nr_release: Number of used entries in @release
 * @release_frames: Total number of frames in @release
 * @stale: Mappings that outlive the guest's unmap
 * @nr_nodes: Number of nodes in all shadow copies
 * @spare: Unused nodes, kept for tables that the guest adds later
 * @nr_spare: Number of used entries in @spare
 * @lost: One of them has &kviommu_shadow.lost
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
	bool lost;
};

/**
 * struct kviommu_nested_state - State that all nested translations of a unit share
 * (xlate/nested/)
 * @parents: The second stages, by kviommu_parent.entry; under map_lock, and changed under
 *           unit->lock as well
 * @unflushed: The translations whose tables the guest has changed since the last flush, by
 *             kviommu_nested.unflushed_entry; under map_lock
 * @pinned: Number of frames that the second stages have pinned, in all; under map_lock
 * @errors: Errors at a time when unit->lock could not be had, which kviommu_error() needs;
 *          under map_lock
 * @limits: How many of them were at a limit; under map_lock
 * @args: A page by which arguments get to the IOMMU's driver: those of a new domain are
 *        under unit->lock, those of a flush under map_lock
 */
struct kviommu_nested_state {
	struct list_head parents;
	struct list_head unflushed;
	u64 pinned;
	u64 errors;
	u64 limits;
	struct kviommu_nest_args args;
};

/**
 * enum kviommu_poll_why - The reason why polling of a unit begins or ends
 * @KVIOMMU_POLL_ASKED: The guest writes to registers, so polling begins
 * @KVIOMMU_POLL_IDLE: The guest has not written to a register for a while
 * @KVIOMMU_POLL_STOPPED: An ioctl needs the unit to be trapped
 * @KVIOMMU_POLL_STATUS: The guest has a status bit to clear, or disabled something that
 *                       polling needs
 * @KVIOMMU_POLL_MOVED: The unit is to be polled by another thread, or what the administrator
 *                      allows has changed
 * @KVIOMMU_POLL_OFFLINE: The thread's CPU goes offline or is no longer one to poll on
 * @KVIOMMU_POLL_OVERCOMMITTED: The thread waits too long for its CPU
 * @KVIOMMU_POLL_SUSPENDED: The host is about to be suspended
 * @KVIOMMU_POLL_BUDGET: The unit used too much of a shared thread's time
 *
 * After KVIOMMU_POLL_MOVED and all later reasons another thread continues to poll the
 * unit, if there is one.
 */
enum kviommu_poll_why {
	KVIOMMU_POLL_ASKED,
	KVIOMMU_POLL_IDLE,
	KVIOMMU_POLL_STOPPED,
	KVIOMMU_POLL_STATUS,
	KVIOMMU_POLL_MOVED,
	KVIOMMU_POLL_OFFLINE,
	KVIOMMU_POLL_OVERCOMMITTED,
	KVIOMMU_POLL_SUSPENDED,
	KVIOMMU_POLL_BUDGET,
};

/**
 * struct kviommu_backoff - A delay before something that failed is tried again
 * @until: Time at which it may be tried again, in ns of ktime_get_ns()
 * @doublings: Number of doublings of the delay for the next failure
 */
struct kviommu_backoff {
	u64 until;
	unsigned int doublings;
};

/**
 * struct kviommu_meter - Measures how long a polling thread waits for its CPU
 * @read_at: Time of the last reading, in ns of ktime_get_ns()
 * @delay: Total time that the thread had waited at the last reading, in ns
 * @awake: Time that the thread has polled in the present window, in ns
 * @waited: Time that the thread has waited in the present window, in ns
 * @rest: The delay before a thread that waited too long may poll again
 *
 * Only the polling thread accesses it, but for the time in @rest.
 */
struct kviommu_meter {
	u64 read_at;
	u64 delay;
	u64 awake;
	u64 waited;
	struct kviommu_backoff rest;
};

/**
 * struct kviommu_self - The polling of a unit by its own worker
 * @on: The worker polls the unit. Set under unit->poll_lock; cleared by the worker, or
 *      under unit->poll_lock and unit->lock by others.
 * @round: Number of looks at the registers
 * @balance_at: Time of the next check whether a shared thread has room for the unit, in
 *              jiffies
 * @meter: Measures how long the worker waits for its CPU
 */
struct kviommu_self {
	bool on;
	unsigned int round;
	unsigned long balance_at;
	struct kviommu_meter meter;
};

/**
 * struct kviommu_unit - One virtual IOMMU: one open file of /dev/kviommu
 * @lock: Serializes changes of the unit, see the top of this file
 * @map_lock: Protects mappings and pins, see the top of this file
 * @up: Functions of upper layers
 * @creating: KVIOMMU_CREATE is in progress or has succeeded
 * @created: KVIOMMU_CREATE has succeeded; never cleared
 * @mm: Address space of the VMM; the VM holds the reference
 * @id: Number of the unit, for the name of @worker, sysfs, debugfs and trace events
 * @kvm: The virtual machine, and the tracking of its writes
 * @access: The IOAS that maps guest physical addresses
 * @aw_bits: Width of the I/O virtual addresses, in bits
 * @boot_master: While the guest has translation off, devices that are no bus masters are
 *               blocked
 * @pages: The pages that the VMM may map: the register page, which the guest reads and the
 *         unit never trusts, if the model has one, and further ones of the model
 * @nr_pages: Number of used entries in @pages
 * @nr_writable: Number of them, from the first one on, that may be mapped for writing
 * @devices: Attached devices, by kviommu_device.entry; under @lock
 * @device_serial: Serial number of the device that was attached last; under @lock
 * @groups: IOMMU groups of the devices, by kviommu_group.entry; under @lock
 * @nr_pasids: Number of PASIDs that are known of all devices; under @lock
 * @worker: A thread of the VMM that polls in adaptive mode, does what others leave to it,
 *          releases idle pins, flushes stale mappings, and renews the policy
 * @timer: Timer that wakes @worker
 * @deferred: There is work for @worker
 * @model: The emulated IOMMU
 * @poll_busy_at: Time at which polling last found work, in ns of ktime_get_ns()
 * @poll_idle_ns: Time without work after which polling ends, in ns; changed under @lock
 * @abandoned: No thread does deferred work: @worker was killed or stopped, or is not there yet
 * @policy_outdated: What the administrator wants may have changed since @policy was computed
 * @policy: The policy in force; changed under @lock and @map_lock
 * @poll_lock: Held while the unit switches between trapping and polling
 * @polled: Writes to the register page are polled and not trapped; under @poll_lock and
 *          @lock
 * @self: The polling of the unit by @worker
 * @poller: The shared thread that polls the unit, or NULL; under @last_poller's lock
 * @last_poller: The last shared thread that polled the unit; changed under @poll_lock
 * @arming: The register page is being moved by KVIOMMU_ARM: trapped writes are left in
 *          the snapshot until it is committed; under @poll_lock
 * @poll_entry: Entry in the list of units of @poller
 * @poll_node: The worker's NUMA node when @poller was chosen
 * @poll_why: The reason why the last polling thread stopped. Whoever ends polling sets it,
 *            without a common lock: of two reasons at the same time either may be read.
 * @poll_since: Time at which @polled was set, in ns of ktime_get_ns(); under @lock
 * @poll_asked: The guest writes to registers often, so polling may begin; under @lock
 * @trapped_at: Time of the last trapped write, in ns of ktime_get_ns(); only in adaptive mode,
 *              under @lock
 * @trapped_often: Number of trapped writes in succession that came soon after one another;
 *                 under @lock
 * @trap_backoff: The delay before the unit is polled again, after its state required
 *                trapping; under @lock
 * @pool_backoff: The delay before a shared thread polls the unit again, after the unit
 *                used too much of a thread's time; under @lock
 * @overuse: Score of recent looks that used too much of a shared thread's time, see
 *           poll_over_budget(); under @lock
 * @busy_since: Time at which the oldest unfinished work of the guest was seen, in ns of
 *              ktime_get_ns(); 0 if there is none; under @lock
 * @busy_at: When to try again to attach what was refused with -EBUSY, in jiffies, or 0
 * @busy_tries: Number of such tries in succession
 * @busy_trying: One is not complete; this and the two before are under @lock
 * @closing: The unit is being destroyed, so work has to stop
 * @must_finish: A vCPU that has written to the register page must not go on before the model
 *               has done all, as the guest does not look whether that is so. Changed by the
 *               model under @lock.
 * @limited: A limit was hit and KVIOMMU_EVENT_LIMIT is to be signalled; under @lock
 * @policy_wanted: The policy members that the VMM has set; under @lock
 * @admin_lock: Protects @policy_admin, as the administrator waits for no holder of @lock
 * @policy_admin: The policy members that the administrator has set for this unit
 * @policy_entry: Entry in the list of all units, see core/policy.c
 * @events_lock: Protects @events and @events_missed
 * @events: An eventfd for each &enum kviommu_event, or NULL
 * @events_missed: Bitmap of events that occurred without an eventfd
 * @pins: The pin cache
 * @xlates: All dynamic translations, by kviommu_xlate.entry; under @map_lock
 * @fixed: The permanent translations, by &enum kviommu_binding_type
 * @xlate_serial: Serial number of the newest translation
 * @invalidated: Bitmap of the types of bindings (&enum kviommu_binding_type) of which the
 *               guest has invalidated something since the last
 *               kviommu_invalidate_complete(); under @map_lock
 * @shadows: State that all shadows share
 * @nested: State that all nested translations share
 * @tracked: State that all tracked translations share
 * @nest: What the guest was promised of nested translation; constant once created
 * @stats: The statistics; each counter is changed under @lock or @map_lock and read
 *         without
 * @stats_source: The connection to files of KVIOMMU_GET_STATS_FD, or NULL; under @lock
 * @dev: Device of the unit in sysfs
 * @vmm: The process that created the unit
 * @debugfs: Directory of the unit in debugfs
 *
 * A polling thread that finds nothing to do reads only the members from @model to the
 * mode of @policy. They share one cache line that nobody writes while the unit is
 * idle. Once in a round the thread also reads @poller and @poll_entry.
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
	bool boot_master;
	struct page *pages[KVIOMMU_MAX_PAGES];
	unsigned int nr_pages;
	unsigned int nr_writable;
	struct list_head devices;
	u64 device_serial;
	struct list_head groups;
	unsigned int nr_pasids;
	struct vhost_task *worker;
	struct timer_list timer;
	bool deferred;
	struct kviommu_model *model ____cacheline_aligned_in_smp;
	u64 poll_busy_at;
	u64 poll_idle_ns;
	bool abandoned;
	bool policy_outdated;
	struct kviommu_policy policy;
	struct mutex poll_lock;	/* see above */
	bool polled;
	struct kviommu_self self;
	struct kviommu_poller *poller;
	struct kviommu_poller *last_poller;
	bool arming;
	struct list_head poll_entry;
	int poll_node;
	enum kviommu_poll_why poll_why;
	u64 poll_since;
	bool poll_asked;
	u64 trapped_at;
	unsigned int trapped_often;
	struct kviommu_backoff trap_backoff;
	struct kviommu_backoff pool_backoff;
	unsigned int overuse;
	u64 busy_since;
	unsigned long busy_at;
	unsigned int busy_tries;
	bool busy_trying;
	bool closing;
	bool must_finish;
	bool limited;
	struct kviommu_policy policy_wanted;
	spinlock_t admin_lock;	/* see above */
	struct kviommu_policy policy_admin;
	struct list_head policy_entry;
	spinlock_t events_lock;	/* see above */
	struct eventfd_ctx *events[KVIOMMU_NR_EVENTS];
	unsigned long events_missed;
	struct kviommu_pins pins;
	struct list_head xlates;
	struct kviommu_xlate *fixed[KVIOMMU_NR_BINDINGS];
	u64 xlate_serial;
	unsigned long invalidated;
	struct kviommu_shadows shadows;
	struct kviommu_nested_state nested;
	struct kviommu_tracked_state tracked;
	struct kviommu_nest nest;
	struct kviommu_stats stats;
	struct kviommu_stats_source *stats_source;
	struct device *dev;
	struct pid *vmm;
	struct dentry *debugfs;
};

/**
 * kviommu_count() - Change a counter of a unit's statistics
 * @unit: The unit
 * @stat: Member of struct kviommu_stats
 * @n: Number to add
 *
 * Context: under the lock that protects the counter; readers take no lock.
 */
#define kviommu_count(unit, stat, n)					\
	do {								\
		u64 *_stat = &(unit)->stats.stat;			\
		WRITE_ONCE(*_stat, *_stat + (n));			\
	} while (0)

/**
 * kviommu_wake() - Make the unit's worker look for expired or pending work
 * @unit: The unit
 * @us: Time until then, at most, in microseconds; 0: at once
 *
 * Context: any that may take a spinlock.
 */
static inline void kviommu_wake(struct kviommu_unit *unit, u64 us)
{
	unit->up->wake(unit, us);
}

int kviommu_resched(struct kviommu_unit *unit, const struct kviommu_work *work);
void kviommu_signal(struct kviommu_unit *unit, enum kviommu_event event);
int kviommu_set_event(struct kviommu_unit *unit, u32 event, int fd);
void kviommu_forget_interrupts(struct kviommu_unit *unit);
void kviommu_error(struct kviommu_unit *unit, const char *what, u64 addr, int err);
void kviommu_unlock(struct kviommu_unit *unit);

#endif /* _KVIOMMU_UNIT_H */
