/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A model of the host, for one unit: the guest's memory and its IOAS, devices behind
 * two physical IOMMUs, and the IOMMU API. It replaces host/ of the module and what creates shared
 * polling threads, and ends the program (never()) if the module breaks a rule of the host.
 */
#ifndef _KVIOMMU_TEST_MODEL_H
#define _KVIOMMU_TEST_MODEL_H

#include "shim.h"
#include "../../../drivers/iommu/kviommu/host/host.h"
#include "../../../drivers/iommu/kviommu/run/poll.h"

#define MODEL_DEVICES	4

/* PASIDs that a device has, if it has a group for itself; its IOMMU has more. */
#define MODEL_PASIDS	0x80

/**
 * struct model_area - A range of guest memory that the IOAS maps as a whole or not at all
 * @gfn: First guest frame of the area
 * @nr: Number of frames
 * @prot: Rights that the IOAS gives by default: KVIOMMU_READ, KVIOMMU_WRITE
 */
struct model_area {
	u64 gfn;
	u64 nr;
	unsigned int prot;
};

enum {
	AREA_TABLES,
	AREA_LOW,
	AREA_CONTIGUOUS,
	AREA_SCATTERED,
	AREA_READ_ONLY,
	AREA_WRITE_ONLY,
	AREA_REST,
	AREA_HUGE,
	AREA_TOP,
	AREA_FEW,
	AREA_ODD,
	NR_AREAS,
};

extern const struct model_area model_areas[NR_AREAS];

struct kviommu_shadow;
struct kviommu_unit;
struct kviommu_work;

/* Called at the begin and the end of each run of a test */
void model_begin(struct kviommu_unit *unit);
void model_end(void);

/* Access to guest memory by the guest's CPUs */
void model_cpu_read(u64 gpa, void *buf, unsigned int len);
void model_cpu_write(u64 gpa, const void *buf, unsigned int len);
void model_cpu_fill(u64 gfn, u64 val, u64 step);

/* The IOAS; @variant 0 or 1 selects the host frames of an area. */
void model_ioas_map(unsigned int area, unsigned int variant, unsigned int prot);
void model_ioas_unmap(unsigned int area);
bool model_ioas_mapped(unsigned int area);
bool model_ioas_lookup(u64 gfn, u64 *pfn, unsigned int *prot);
bool model_ioas_covers(u64 gfn, u64 nr, unsigned int prot);
bool model_ioas_read64(u64 gpa, u64 *val);

/* What a device's DMA goes through */
enum model_path {
	PATH_BLOCKED,
	PATH_IOAS,
	PATH_DOMAIN,
	PATH_NESTED,
};

/**
 * struct model_piece - A leaf of a domain's tables
 * @iova: First I/O virtual address
 * @size: Size in bytes
 * @pfn: First host frame
 * @prot: IOMMU_READ and IOMMU_WRITE
 */
struct model_piece {
	u64 iova;
	u64 size;
	u64 pfn;
	unsigned int prot;
};

enum model_path model_path(unsigned int device);
struct iommu_domain *model_domain(unsigned int device);
bool model_translate(struct iommu_domain *domain, u64 iova,
		     struct model_piece *piece);
bool model_next(struct iommu_domain *domain, u64 iova,
		struct model_piece *piece);
bool model_reserved(struct iommu_domain *domain, u64 iova);
bool model_same_group(unsigned int a, unsigned int b);

/*
 * What the physical IOMMUs of the host can nest: the first and the third, which are of one
 * kind; the second one. Reset by model_end(). model_nest_starved: there is no memory to find out.
 */
extern struct kviommu_nest model_nest[2];
extern bool model_nest_starved;

/* The VM has a memory slot for the frame; with @all, for all of AREA_HUGE. */
bool model_in_slot(u64 gfn);
void model_huge_slot(bool all);

/* A memory slot of which the IOAS has AREA_FEW and AREA_ODD alone, if a test maps them */
#define MODEL_ODD_SLOT	0x90000
#define MODEL_ODD_NR	0x8000

/* Errors of mapping in second stages, as for model_nest */
extern int model_map_error[2];

/* Calls of kviommu_access_pin_range() */
extern unsigned long model_range_pins;

/* Called by cond_resched() while neither lock of the unit is held */
extern void (*model_unlocked_resched)(void);

/* The first-stage tables of a nested domain */
void model_nested(struct iommu_domain *domain, u64 *root, unsigned int *levels);

/* What the walk of the physical IOMMU finds in a nested domain, with nothing cached */
bool model_walk(struct iommu_domain *domain, u64 iova, struct model_piece *piece);

/*
 * PASIDs: whether a device can have one, which domain it is attached to, or NULL, and
 * whether that is a second stage; how many are attached.
 */
bool model_has_pasid(unsigned int device, u32 pasid);
struct iommu_domain *model_pasid_domain(unsigned int device, u32 pasid);
bool model_is_second(struct iommu_domain *domain);
unsigned int model_pasids(void);

/*
 * A device makes a request, with PASID if that is not 0, and the IOMMU caches what it finds
 * of first-stage tables. model_requests(): how many there were.
 */
void model_request(unsigned int device, u32 pasid, u64 iova);
u64 model_requests(void);
unsigned int model_cached(void);

/*
 * The guest has invalidated what is cached of a nested domain in a range, by the request
 * number @before or earlier, for @pasid, or all if it is negative; with @leaves, of leaves
 * alone. When it sees that done nothing
 * of it may be there any more. model_pardon(): it is not known what the guest invalidated.
 */
void model_condemn(struct iommu_domain *domain, int pasid, u64 first, u64 last, bool leaves,
		   u64 before);
void model_pardon(void);
void model_check_condemned(void);

/* Begin a new batch: within a batch nothing changes guest memory but the test. */
void model_new_batch(void);

/*
 * Called when a translation is mapped again that was unmapped in the same batch by a
 * call for @size bytes. Return: whether that was necessary.
 */
extern bool (*model_excuse)(struct iommu_domain *domain, u64 iova, u64 size);

void model_check_hidden(void);
u64 model_unflushed(void);
void model_check_quiet(void);
u64 model_pinned(void);
u64 model_mapped(void);
u64 model_domains(void);

/*
 * Work (calls that pin, map, unmap or attach to the IOAS) that one run may do before the
 * VMM's thread is killed. model_revive(): another thread of the VMM goes on.
 */
#define MODEL_BUDGET	3000000
void model_spend(unsigned long n);
void model_kill_after(unsigned long n);
void model_revive(void);

/* Devices cannot be attached to the IOAS: the VMM has reached its limit of locked memory. */
extern bool model_ioas_full;

/* Translations that are unmapped while this is set may be mapped again in the batch. */
extern bool model_unchecked;
/* Called when map_lock was released */
extern void (*model_map_lock_free)(void);

unsigned long shim_allocations(void);

/* The linker's names (--wrap) of functions that a test intercepts */
int __real_kviommu_guest_write(struct kviommu_unit *unit, const struct kviommu_work *work,
			       u64 gpa, const void *buf, unsigned int len);
int __wrap_kviommu_guest_write(struct kviommu_unit *unit, const struct kviommu_work *work,
			       u64 gpa, const void *buf, unsigned int len);
bool __real_kviommu_shadow_end_stale(struct kviommu_shadow *shadow,
				     const struct kviommu_work *work, u64 iova, u32 tag);
bool __wrap_kviommu_shadow_end_stale(struct kviommu_shadow *shadow,
				     const struct kviommu_work *work, u64 iova, u32 tag);

int __real_kviommu_pool_add(struct kviommu_unit *unit);
int __wrap_kviommu_pool_add(struct kviommu_unit *unit);
int __real_kviommu_pool_remove(struct kviommu_unit *unit, bool killable);
int __wrap_kviommu_pool_remove(struct kviommu_unit *unit, bool killable);
bool __real_kviommu_self_usable(const struct kviommu_unit *unit);
bool __wrap_kviommu_self_usable(const struct kviommu_unit *unit);
int __real_kviommu_self_begin(struct kviommu_unit *unit);
int __wrap_kviommu_self_begin(struct kviommu_unit *unit);

/*
 * The shared threads, of which none is online at first, and units in adaptive mode may be
 * polled by them; the worker of the unit may poll it.
 */
#define MODEL_POLLERS	2

extern struct kviommu_poller model_pollers[MODEL_POLLERS];
extern bool *const shim_param_poll_share;
extern void *const shim_param_poll_units, *const shim_param_poll_wait;
extern bool model_self_open;

/* The CPU of a thread goes online, or offline; run its thread for some rounds. */
void model_pool_set_online(unsigned int i, bool online);
void model_pool_run(unsigned int i, unsigned int rounds);

/*
 * A shared thread has the unit; the first one runs until it has found the unit, in adaptive
 * mode, to be idle.
 */
bool model_pool_has(void);
void model_pool_let_go(void);

/* What a vCPU does while the module waits for writes in progress, or NULL */
extern void (*model_vcpu)(void);

/* The unit's directory in sysfs cannot be made, after root has written to a file in it. */
extern bool model_sysfs_fails;

#endif /* _KVIOMMU_TEST_MODEL_H */
