/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A model of the host, for one unit: the guest's memory and its IOAS, devices
 * behind two physical IOMMUs, and the IOMMU API. It stands for host/ of the
 * module, and dies when the module does what the host would not forgive.
 */
#ifndef _KVIOMMU_TEST_MODEL_H
#define _KVIOMMU_TEST_MODEL_H

#include "shim.h"

#define MODEL_DEVICES	4

/**
 * struct model_area - A range of guest memory that the IOAS has whole or not
 * @gfn: Its first frame
 * @nr: How many
 * @prot: KVIOMMU_READ and KVIOMMU_WRITE that the IOAS gives by default
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
	NR_AREAS,
};

extern const struct model_area model_areas[NR_AREAS];

struct kviommu_shadow;
struct kviommu_unit;
struct kviommu_work;

/* Each run of a test begins and ends so. */
void model_begin(struct kviommu_unit *unit);
void model_end(void);

/* Guest memory, as the guest's CPUs see it. */
void model_cpu_read(u64 gpa, void *buf, unsigned int len);
void model_cpu_write(u64 gpa, const void *buf, unsigned int len);
void model_cpu_fill(u64 gfn, u64 val, u64 step);

/* The IOAS; @variant chooses among host frames. */
void model_ioas_map(unsigned int area, unsigned int variant, unsigned int prot);
void model_ioas_unmap(unsigned int area);
bool model_ioas_mapped(unsigned int area);
bool model_ioas_lookup(u64 gfn, u64 *pfn, unsigned int *prot);
bool model_ioas_covers(u64 gfn, u64 nr, unsigned int prot);
bool model_ioas_read64(u64 gpa, u64 *val);

/* What a device's DMA goes through. */
enum model_path {
	PATH_BLOCKED,
	PATH_IOAS,
	PATH_DOMAIN,
};

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

/* A batch: guest memory does not change in it by another hand than the test's. */
void model_new_batch(void);

/*
 * Called when a translation is put back that was taken down in the same batch,
 * @size bytes at a time. Return: it had to be.
 */
extern bool (*model_excuse)(struct iommu_domain *domain, u64 iova, u64 size);

void model_check_hidden(void);
u64 model_unflushed(void);
void model_check_quiet(void);
u64 model_pinned(void);
u64 model_mapped(void);
u64 model_domains(void);

/* How much work one run may make; beyond that the VMM is killed. */
#define MODEL_BUDGET	3000000
void model_spend(unsigned long n);
void model_kill_after(unsigned long n);

/* Called when map_lock was let go. */
/* What is taken down now may come back at once. */
extern bool model_unchecked;
extern void (*model_map_lock_free)(void);

unsigned long shim_allocations(void);

/* The linker's names for a function that a test puts itself in front of */
int __real_kviommu_guest_write(struct kviommu_unit *unit, const struct kviommu_work *work,
			       u64 gpa, const void *buf, unsigned int len);
int __wrap_kviommu_guest_write(struct kviommu_unit *unit, const struct kviommu_work *work,
			       u64 gpa, const void *buf, unsigned int len);
bool __real_kviommu_shadow_end_stale(struct kviommu_shadow *shadow,
				     const struct kviommu_work *work, u64 iova, u32 tag);
bool __wrap_kviommu_shadow_end_stale(struct kviommu_shadow *shadow,
				     const struct kviommu_work *work, u64 iova, u32 tag);

/*
 * A thread that polls is there, a shared one or the unit's worker; the shared one has the
 * unit; it lets go of it.
 */
extern bool model_pool_open, model_self_open;
bool model_pool_has(void);
void model_pool_let_go(void);

#endif /* _KVIOMMU_TEST_MODEL_H */
