/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Between a front-end (what the guest sees) and the unit. A front-end calls
 * nothing of the host but what stands here, so that it also builds in
 * userspace.
 */
#ifndef _KVIOMMU_FRONTEND_H
#define _KVIOMMU_FRONTEND_H

#include <linux/types.h>

#define KVIOMMU_READ	1
#define KVIOMMU_WRITE	2

struct kviommu_unit;
struct kviommu_frontend;

/**
 * enum kviommu_bind_type - What a device's DMA goes through
 * @KVIOMMU_BIND_BLOCKED: Nothing: it is blocked
 * @KVIOMMU_BIND_IDENTITY: The IOAS: it reaches all guest memory
 * @KVIOMMU_BIND_DOMAIN: Tables of the guest
 */
enum kviommu_bind_type {
	KVIOMMU_BIND_BLOCKED,
	KVIOMMU_BIND_IDENTITY,
	KVIOMMU_BIND_DOMAIN,
};

/**
 * struct kviommu_binding - What the guest wants a device's DMA to go through
 * @type: One of &enum kviommu_bind_type
 * @did: Domain-id
 * @levels: Levels of the tables
 * @pgtbl: Guest physical address of the root of the tables
 * @quiet: The guest wants no faults reported
 * @fault: Not 0: the guest asks for something invalid, for this reason
 *
 * All but @fault and @type are 0 unless it is KVIOMMU_BIND_DOMAIN.
 */
struct kviommu_binding {
	enum kviommu_bind_type type;
	u16 did;
	u8 levels;
	u64 pgtbl;
	bool quiet;
	u8 fault;
};

/**
 * struct kviommu_frontend_ops - What a front-end does for the unit
 * @write: The guest wrote @len bytes at @offset of the register page, where they
 *         stand already. What that asks for is left to @run, if it can take long; if
 *         that is polled, or not yet over (see @poll), to @sync or @adopt.
 * @sync: The guest may have written anything that the register page now shows, and
 *        nothing is being trapped. Unless @all, and if there is no command, only the
 *        tail of the queue is taken, and the rest is left for later.
 * @note: Note what the page shows; and what @write is told from then on, which is left
 *        to @adopt
 * @adopt: Take what was noted as what the guest wrote
 * @peek: May be called without a lock: the page is not as it was left. Unless
 *        @all, only where a guest asks for something is looked at.
 * @pollable: Nothing is lost if writes are not seen but for what the page shows
 *            after them
 * @poll: From now on that may be so; or, it is over. In between what cannot be
 *        told by state is not shown, and its events wait.
 * @pending: There is work left
 * @run: Do a bounded piece of it: see kviommu_time_up(). Return: there is more.
 * @reset: Put the registers into their initial state
 * @resolve: Say what the guest wants for the device @source_id
 * @fault: An entry of the guest's tables is invalid, for the @reason that
 *         @kviommu_frontend.decode gave
 * @destroy: Free the front-end
 *
 * All in process context and under unit->lock.
 */
struct kviommu_frontend_ops {
	void (*write)(struct kviommu_frontend *fe, unsigned int offset,
		      const void *data, unsigned int len);
	void (*sync)(struct kviommu_frontend *fe, bool all);
	void (*note)(struct kviommu_frontend *fe);
	void (*adopt)(struct kviommu_frontend *fe);
	bool (*peek)(const struct kviommu_frontend *fe, bool all);
	bool (*pollable)(const struct kviommu_frontend *fe);
	void (*poll)(struct kviommu_frontend *fe, bool on);
	bool (*pending)(struct kviommu_frontend *fe);
	bool (*run)(struct kviommu_frontend *fe);
	void (*reset)(struct kviommu_frontend *fe);
	void (*resolve)(struct kviommu_frontend *fe, u16 source_id,
			struct kviommu_binding *b);
	void (*fault)(struct kviommu_frontend *fe, u16 source_id, u64 iova,
		      u8 reason);
	void (*destroy)(struct kviommu_frontend *fe);
};

/**
 * struct kviommu_entry - An entry of a guest's table, decoded
 * @prot: KVIOMMU_READ and KVIOMMU_WRITE that the entry gives, 0 if it is not
 *        present
 * @leaf: It is a leaf, not a pointer to a table
 * @fault: Not 0: the entry is invalid for this reason of the format
 * @addr: Guest physical address of the page or table
 */
struct kviommu_entry {
	u8 prot;
	bool leaf;
	u8 fault;
	u64 addr;
};

/**
 * struct kviommu_frontend - What the guest sees
 * @ops: Its operations
 * @unit: The unit it belongs to
 * @decode: Decode an entry of the tables of a domain that stands at @level:
 *          1 is the last
 * @fault_root: Reason of a fault if the first table cannot be read
 * @fault_table: Reason if another one cannot be
 * @fault_read: Reason if memory to be read cannot be had
 * @fault_write: Reason if memory to be written cannot be had
 */
struct kviommu_frontend {
	const struct kviommu_frontend_ops *ops;
	struct kviommu_unit *unit;
	void (*decode)(const struct kviommu_frontend *fe, u64 val,
		       unsigned int level, struct kviommu_entry *e);
	u8 fault_root;
	u8 fault_table;
	u8 fault_read;
	u8 fault_write;
};

/* What the unit does for a front-end; process context, under unit->lock. */

/**
 * enum kviommu_signal - What a front-end tells the VMM
 * @KVIOMMU_SIGNAL_FAULT: The fault event is due
 * @KVIOMMU_SIGNAL_INVAL: The invalidation completion event is due
 * @KVIOMMU_SIGNAL_CONTROL: The VMM should look at the registers
 * @KVIOMMU_SIGNAL_LIMIT: Something could not be done for want of resources
 */
enum kviommu_signal {
	KVIOMMU_SIGNAL_FAULT,
	KVIOMMU_SIGNAL_INVAL,
	KVIOMMU_SIGNAL_CONTROL,
	KVIOMMU_SIGNAL_LIMIT,
};

int kviommu_guest_read(struct kviommu_unit *unit, u64 gpa, void *buf,
		       unsigned int len);
int kviommu_guest_write(struct kviommu_unit *unit, u64 gpa, const void *buf,
			unsigned int len);
void kviommu_signal(struct kviommu_unit *unit, enum kviommu_signal what);

/**
 * struct kviommu_progress - How far an invalidation has come
 * @serial: The domain that it is at
 * @first: First I/O virtual address of it that is left
 * @last: Last one, inclusive
 *
 * All 0 before it begins, and when it is done.
 */
struct kviommu_progress {
	u64 serial;
	u64 first;
	u64 last;
};

int kviommu_rebind(struct kviommu_unit *unit, u16 sid, u16 mask);
int kviommu_invalidate(struct kviommu_unit *unit, int did, u64 first,
		       u64 last, struct kviommu_progress *p);
void kviommu_flush(struct kviommu_unit *unit);
bool kviommu_time_up(struct kviommu_unit *unit);
int kviommu_resched(struct kviommu_unit *unit);

/* Counters of the UAPI that a front-end keeps. */
void kviommu_count_descriptors(struct kviommu_unit *unit, unsigned int n);
void kviommu_count_fault(struct kviommu_unit *unit);

/* The front-ends. */

struct kviommu_frontend *kviommu_vtd_create(struct kviommu_unit *unit,
					    int unit_id, void *page,
					    unsigned int aw_bits,
					    bool boot_identity, u64 *cap,
					    u64 *ecap);

#endif /* _KVIOMMU_FRONTEND_H */
