// SPDX-License-Identifier: GPL-2.0-only
/*
 * The model of the host: pins, mappings of domains, mappings that a device may still
 * have cached after an unmap, what each device's DMA goes through, and what the physical
 * IOMMU has cached of the guest's first-stage tables.
 */
#include <stdalign.h>
#include <stdlib.h>

#include "../../../drivers/iommu/kviommu/core/core.h"
#include "../../../drivers/iommu/kviommu/run/run.h"
#include "../../../drivers/iommu/kviommu/xlate/shadow/shadow.h"
#include "model.h"

#if defined(__SANITIZE_ADDRESS__)
#define MODEL_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MODEL_ASAN
#endif
#endif

#ifdef MODEL_ASAN
#include <sanitizer/asan_interface.h>
#define forbid(p, n)	__asan_poison_memory_region(p, n)
#define allow(p, n)	__asan_unpoison_memory_region(p, n)
#else
#define forbid(p, n)	((void)(p), (void)(n))
#define allow(p, n)	((void)(p), (void)(n))
#endif

const struct model_area model_areas[NR_AREAS] = {
	[AREA_TABLES]	  = { 0x000, 0x040, KVIOMMU_READ | KVIOMMU_WRITE },
	[AREA_LOW]	  = { 0x040, 0x1c0, KVIOMMU_READ | KVIOMMU_WRITE },
	[AREA_CONTIGUOUS] = { 0x200, 0x200, KVIOMMU_READ | KVIOMMU_WRITE },
	[AREA_SCATTERED]  = { 0x400, 0x200, KVIOMMU_READ | KVIOMMU_WRITE },
	[AREA_READ_ONLY]  = { 0x600, 0x010, KVIOMMU_READ },
	[AREA_WRITE_ONLY] = { 0x610, 0x010, KVIOMMU_WRITE },
	[AREA_REST]	  = { 0x620, 0x1e0, KVIOMMU_READ | KVIOMMU_WRITE },
	[AREA_HUGE]	  = { 0x40000, 0x40000, KVIOMMU_READ | KVIOMMU_WRITE },
	[AREA_TOP]	  = { 0xfffffffffULL, 1, KVIOMMU_READ | KVIOMMU_WRITE },
	/* Near the begin of a slot; and far from it, with no begin or end of a piece */
	[AREA_FEW]	  = { MODEL_ODD_SLOT + 0x1f3, 5, KVIOMMU_READ | KVIOMMU_WRITE },
	[AREA_ODD]	  = { MODEL_ODD_SLOT + 0x5009, 0x2e, KVIOMMU_READ | KVIOMMU_WRITE },
};

/**
 * struct page - A page of the host
 * @va: Value of page_address() while the page is pinned
 * @pins: Number of pins of this page alone through the IOAS
 * @block_pins: Number of pins of ranges with this page
 * @maps: Number of mappings to the page in all domains but second stages
 * @block_maps: Number of mappings to the page in second stages
 * @stale: Number of mappings that were unmapped and not flushed since
 * @cached: Number of entries of the caches of first-stage tables that lead to it, or were
 *          read from it
 * @prot: Rights that the IOAS gave when the page was pinned
 */
struct page {
	void *va;
	u32 pins;
	u32 block_pins;
	u32 maps;
	u32 block_maps;
	u32 stale;
	u32 cached;
	u32 prot;
};

#define NR_PFNS		0xd2000
#define LOW_FRAMES	0x800

static struct page pages[NR_PFNS];
static struct page reg_pages[KVIOMMU_MAX_PAGES];

/* Contents of the low frames, of the last frame (AREA_TOP), and one page for all others */
static alignas(PAGE_SIZE) u8 contents[LOW_FRAMES + 2][PAGE_SIZE];
static bool frame_used[LOW_FRAMES + 2];

static struct {
	bool mapped;
	unsigned int variant;
	unsigned int prot;
	u64 pins;
} areas[NR_AREAS];

static struct kviommu_unit *unit;
static unsigned long budget;
static u32 batch;
static u64 mapped, block_mapped, stale_pages, pinned, nr_domains;

bool (*model_excuse)(struct iommu_domain *domain, u64 iova, u64 size);
void (*model_map_lock_free)(void);
bool model_unchecked;
bool model_ioas_full;
struct kviommu_nest model_nest[2];
bool model_nest_starved;
int model_map_error[2];
unsigned long model_range_pins;
void (*model_unlocked_resched)(void);

void shim_unlocked(struct mutex *lock)
{
	if (unit && lock == &unit->map_lock && model_map_lock_free)
		model_map_lock_free();
}

void cond_resched(void)
{
	void (*call)(void) = model_unlocked_resched;

	jiffies += shim_jiffies_step;
	if (!call || unit->lock.held || unit->map_lock.held)
		return;
	model_unlocked_resched = NULL;
	call();
}

void model_spend(unsigned long n)
{
	budget = budget > n ? budget - n : 0;
	if (!budget)
		shim_task.killed = true;
}

void model_kill_after(unsigned long n)
{
	budget = min_t(unsigned long, budget, n);
}

void model_revive(void)
{
	budget = MODEL_BUDGET;
	shim_task.killed = false;
}

void model_new_batch(void)
{
	batch++;
}

/* Guest memory */

static unsigned int frame_index(u64 gfn)
{
	if (gfn < LOW_FRAMES)
		return gfn;
	return LOW_FRAMES + (gfn == model_areas[AREA_TOP].gfn);
}

static unsigned int area_of(u64 gfn)
{
	unsigned int a;

	for (a = 0; a < NR_AREAS; a++)
		if (gfn - model_areas[a].gfn < model_areas[a].nr)
			break;
	return a;
}

static u64 pfn_of(unsigned int a, u64 gfn)
{
	bool other = areas[a].variant;
	u64 i = gfn - model_areas[a].gfn;

	switch (a) {
	case AREA_SCATTERED:
		/* Runs of 16 frames; or one run of all, aligned. */
		return other ? 0x20400 + i : 0x10000 + model_areas[a].gfn +
		       (i / 16 * 5 % 32) * 16 + i % 16;
	case AREA_HUGE:
		/* Aligned for pages of 1 GiB; or not even for pages of 2 MiB. */
		return other ? 0x90001 + i : 0x40000 + i;
	case AREA_TOP:
		return 0x30000 + other;
	case AREA_FEW:
	case AREA_ODD:
		return 0x31000 * a / AREA_FEW + i;
	}
	return other ? 0x21001 + gfn : 0x10000 + gfn;
}

/*
 * Not instrumented by the sanitizer: for all other code frames that are not pinned are
 * poisoned.
 */
__attribute__((no_sanitize("address")))
static void copy_unchecked(u8 *to, const u8 *from, unsigned int len)
{
	while (len--) {
		*to++ = *from++;
		/* Keep the compiler from making this a memcpy(). */
		__asm__("" ::: "memory");
	}
}

static u8 *frame_content(u64 gpa)
{
	unsigned int i = frame_index(gpa >> PAGE_SHIFT);

	frame_used[i] = true;
	return contents[i] + offset_in_page(gpa);
}

static bool is_ram(u64 gpa)
{
	return area_of(gpa >> PAGE_SHIFT) < NR_AREAS;
}

void model_cpu_read(u64 gpa, void *buf, unsigned int len)
{
	memset(buf, 0, len);
	if (is_ram(gpa) && offset_in_page(gpa) + len <= PAGE_SIZE)
		copy_unchecked(buf, frame_content(gpa), len);
}

void model_cpu_write(u64 gpa, const void *buf, unsigned int len)
{
	if (is_ram(gpa) && offset_in_page(gpa) + len <= PAGE_SIZE)
		copy_unchecked(frame_content(gpa), buf, len);
}

void model_cpu_fill(u64 gfn, u64 val, u64 step)
{
	unsigned int i;

	for (i = 0; i < PAGE_SIZE / sizeof(val); i++, val += step)
		model_cpu_write((gfn << PAGE_SHIFT) + i * sizeof(val), &val,
				sizeof(val));
}

bool model_ioas_mapped(unsigned int a)
{
	return areas[a].mapped;
}

bool model_ioas_lookup(u64 gfn, u64 *pfn, unsigned int *prot)
{
	unsigned int a = area_of(gfn);

	if (a == NR_AREAS || !areas[a].mapped)
		return false;
	*pfn = pfn_of(a, gfn);
	*prot = areas[a].prot;
	return true;
}

/* Whether the IOAS gives all rights of @prot in all of a range */
bool model_ioas_covers(u64 gfn, u64 nr, unsigned int prot)
{
	u64 end = gfn + nr;
	unsigned int a;

	for (; gfn < end; gfn = model_areas[a].gfn + model_areas[a].nr) {
		a = area_of(gfn);
		if (a == NR_AREAS || !areas[a].mapped || prot & ~areas[a].prot)
			return false;
	}
	return true;
}

bool model_ioas_read64(u64 gpa, u64 *val)
{
	unsigned int prot;
	u64 pfn;

	if (!model_ioas_lookup(gpa >> PAGE_SHIFT, &pfn, &prot) ||
	    !(prot & KVIOMMU_READ))
		return false;
	copy_unchecked((u8 *)val, frame_content(gpa), sizeof(*val));
	return true;
}

void model_ioas_map(unsigned int a, unsigned int variant, unsigned int prot)
{
	if (areas[a].mapped)
		return;
	areas[a].mapped = true;
	areas[a].variant = variant;
	areas[a].prot = prot;
}

void model_ioas_unmap(unsigned int a)
{
	u64 first = model_areas[a].gfn << PAGE_SHIFT;

	if (!areas[a].mapped)
		return;
	/* iommufd calls each access that has pins in the range. */
	if (areas[a].pins)
		unit->access.unmap(&unit->access, first, first - 1 +
				   (model_areas[a].nr << PAGE_SHIFT));
	never(areas[a].pins);
	areas[a].mapped = false;
}

/* host/iommufd.c */

int kviommu_access_get(struct kviommu_access *a, int iommufd, u32 ioas_id)
{
	if (shim_should_fail())
		return -ENOMEM;
	a->ioas_id = ioas_id;
	a->access = (void *)a;
	return 0;
}

void kviommu_access_put(struct kviommu_access *a)
{
	if (!a->access)
		return;
	never(unit->map_lock.held);
	a->unmap(a, 0, ULONG_MAX);
	never(pinned);
	a->access = NULL;
}

/*
 * iommufd has a record for each call that pins a range and each area that the call was
 * about, and takes back no part of one.
 */
struct pin_record {
	u64 gfn;
	u64 nr;
	unsigned int users;
};

static struct pin_record *records;
static size_t nr_records, max_records;

static struct pin_record *record_find(u64 gfn, u64 nr)
{
	size_t i;

	for (i = 0; i < nr_records; i++)
		if (records[i].gfn == gfn && records[i].nr == nr)
			return &records[i];
	return NULL;
}

static void record_add(u64 gfn, u64 nr)
{
	struct pin_record *r = record_find(gfn, nr);

	if (r) {
		r->users++;
		return;
	}
	if (nr_records == max_records) {
		max_records = 2 * max_records + 64;
		records = realloc(records, max_records * sizeof(*records));
	}
	records[nr_records++] = (struct pin_record){ gfn, nr, 1 };
}

static void record_del(u64 gfn, u64 nr)
{
	struct pin_record *r = record_find(gfn, nr);

	never(!r);
	if (!--r->users)
		*r = records[--nr_records];
}

/* A page has lost a pin. It must be unmapped and flushed before it is unpinned. */
static void page_unpinned(struct page *p)
{
	never(!p->pins && p->maps);
	never(p->block_maps > p->block_pins);
	never(!p->block_pins && p->cached);
	never(!p->pins && !p->block_pins && p->stale);
}

static int ioas_check(u64 gfn, bool write, u64 *pfn)
{
	unsigned int prot;

	if (!model_ioas_lookup(gfn, pfn, &prot))
		return -ENOENT;
	if (!(prot & (write ? KVIOMMU_WRITE : KVIOMMU_READ)))
		return -EPERM;
	return shim_should_fail() ? -ENOMEM : 0;
}

int kviommu_access_pin(struct kviommu_access *a, u64 gfn, bool write,
		       struct page **page)
{
	unsigned int i = frame_index(gfn);
	struct page *p;
	u64 pfn;
	int ret;

	never(shim_atomic);
	model_spend(1);
	/* A thread that is being killed gets no page of its process. */
	if (shim_task.killed)
		return -EINTR;
	ret = ioas_check(gfn, write, &pfn);
	if (ret)
		return ret;
	p = &pages[pfn];
	if (!p->pins++) {
		p->va = contents[i];
		p->prot = areas[area_of(gfn)].prot;
		frame_used[i] = true;
		if (i < LOW_FRAMES)
			allow(contents[i], PAGE_SIZE);
		pinned++;
	}
	areas[area_of(gfn)].pins++;
	*page = p;
	return 0;
}

void kviommu_access_unpin(struct kviommu_access *a, u64 gfn)
{
	unsigned int area = area_of(gfn);
	struct page *p;

	never(area == NR_AREAS || !areas[area].mapped);
	p = &pages[pfn_of(area, gfn)];
	never(!p->pins);
	areas[area].pins--;
	p->pins--;
	page_unpinned(p);
	if (p->pins)
		return;
	pinned--;
	if (frame_index(gfn) < LOW_FRAMES)
		forbid(p->va, PAGE_SIZE);
	p->va = NULL;
}

/* The part of a range of frames that is in the area of the first of them */
static u64 range_in_area(u64 gfn, u64 nr)
{
	unsigned int a = area_of(gfn);

	return a == NR_AREAS ? 0 :
	       min_t(u64, nr, model_areas[a].gfn + model_areas[a].nr - gfn);
}

int kviommu_access_pin_range(struct kviommu_access *a, u64 gfn, u64 nr,
			     struct page **array)
{
	u64 i, n, pfn;

	never(shim_atomic || !unit->map_lock.held);
	model_spend(1 + nr / 16);
	model_range_pins++;
	if (shim_task.killed)
		return -EINTR;
	if (shim_should_fail())
		return shim_fail.failed % 3 ? -ENOMEM : -EFAULT;
	for (i = 0; i < nr; i++) {
		unsigned int prot;

		if (!model_ioas_lookup(gfn + i, &pfn, &prot))
			return -ENOENT;
		if (prot != (KVIOMMU_READ | KVIOMMU_WRITE))
			return -EPERM;
		array[i] = &pages[pfn];
	}
	for (i = 0; i < nr; i++) {
		array[i]->block_pins++;
		array[i]->prot = KVIOMMU_READ | KVIOMMU_WRITE;
		areas[area_of(gfn + i)].pins++;
	}
	pinned += nr;
	for (; nr; gfn += n, nr -= n) {
		n = range_in_area(gfn, nr);
		record_add(gfn, n);
	}
	return 0;
}

void kviommu_access_unpin_range(struct kviommu_access *a, u64 gfn, u64 nr)
{
	u64 n;

	never(!unit->map_lock.held);
	pinned -= nr;
	for (; nr; gfn += n, nr -= n) {
		unsigned int area = area_of(gfn);
		u64 i;

		n = range_in_area(gfn, nr);
		never(!n || !areas[area].mapped);
		record_del(gfn, n);
		areas[area].pins -= n;
		for (i = gfn; i < gfn + n; i++) {
			struct page *p = &pages[pfn_of(area, i)];

			never(!p->block_pins);
			p->block_pins--;
			page_unpinned(p);
		}
	}
}

int kviommu_access_rw(struct kviommu_access *a, u64 gpa, void *buf,
		      unsigned int len, bool write)
{
	u64 pfn;
	int ret = ioas_check(gpa >> PAGE_SHIFT, write, &pfn);

	if (ret)
		return ret;
	never(offset_in_page(gpa) + len > PAGE_SIZE);
	if (write)
		copy_unchecked(frame_content(gpa), buf, len);
	else
		copy_unchecked(buf, frame_content(gpa), len);
	return 0;
}

struct page *alloc_page(gfp_t gfp)
{
	unsigned int i;

	for (i = 0; reg_pages[i].va; i++)
		never(i == ARRAY_SIZE(reg_pages) - 1);
	reg_pages[i].va = (void *)get_zeroed_page(gfp);
	return reg_pages[i].va ? &reg_pages[i] : NULL;
}

void put_page(struct page *page)
{
	never(page < reg_pages || page >= reg_pages + ARRAY_SIZE(reg_pages));
	free_page((unsigned long)page->va);
	page->va = NULL;
}

unsigned long page_to_pfn(const struct page *page)
{
	return page - pages;
}

struct page *pfn_to_page(unsigned long pfn)
{
	never(pfn >= NR_PFNS);
	return &pages[pfn];
}

/* The huge area is one folio. */
unsigned long folio_nr_pages(const struct folio *folio)
{
	unsigned long pfn = page_to_pfn((const struct page *)folio);

	return pfn >= SZ_256K && pfn < 2 * SZ_256K ? SZ_256K : 1;
}

void *page_address(const struct page *page)
{
	never(!page->va);
	return page->va;
}

/* The physical IOMMU: tables of 5 levels, with leaves at the lowest three */

#define HW_LEVELS	5
#define HW_PROT		(IOMMU_READ | IOMMU_WRITE)
#define HW_CALL_SHIFT	2	/* of a leaf taken down: log2 of size / 4 KiB */
#define HW_CALL		GENMASK_ULL(7, 2)

/**
 * struct hw_table - A table of the physical IOMMU
 * @leaf: Host address and rights of each entry that is a leaf, else 0
 * @was: The leaf that was unmapped last at each entry, with HW_CALL
 * @when: The batch in which it was unmapped
 * @call: The call of kviommu_hw_map() that made each leaf
 * @sub: Tables of the next lower level
 * @live: Number of leaves in this table and those below it
 */
struct hw_table {
	u64 leaf[512];
	u64 was[512];
	u32 when[512];
	u32 call[512];
	struct hw_table *sub[512];
	u64 live;
};

/**
 * struct hw_stale - Pages that were unmapped and not flushed since
 * @iova: First I/O virtual address
 * @pfn: First host frame
 * @nr: Number of pages
 */
struct hw_stale {
	u64 iova;
	u64 pfn;
	u64 nr;
};

/**
 * struct hw_domain - A domain of the IOMMU API
 * @domain: The part that the module sees
 * @iommu: Number of the physical IOMMU that the domain belongs to
 * @attached: Number of IOMMU groups that are attached
 * @root: The root table
 * @stale: Array of pages that were unmapped and not flushed since
 * @nr_stale: Number of entries used in @stale
 * @max_stale: Number of entries allocated in @stale
 * @second: It may be the second stage of nested domains.
 * @children: Number of domains that are nested in it
 * @parent: The second stage of a nested domain; else NULL
 * @gpa: Guest physical address of the first-stage root table of a nested domain
 * @levels: Number of levels of its first-stage tables
 */
struct hw_domain {
	struct iommu_domain domain;
	unsigned int iommu;
	unsigned int attached;
	struct hw_table *root;
	struct hw_stale *stale;
	size_t nr_stale;
	size_t max_stale;
	bool second;
	unsigned int children;
	struct hw_domain *parent;
	u64 gpa;
	unsigned int levels;
};

/**
 * struct hw_pasid - A PASID of a device that is attached
 * @device: Number of the device
 * @pasid: The PASID
 * @domain: The domain
 */
struct hw_pasid {
	unsigned int device;
	u32 pasid;
	struct hw_domain *domain;
};

static struct hw_pasid hw_pasids[KVIOMMU_MAX_PASIDS];
static unsigned int nr_hw_pasids;

struct iommu_group {
	unsigned int iommu;
	struct hw_domain *domain;
	unsigned int in_ioas;
};

struct vfio_device {
	unsigned int refs;
};

static struct vfio_device vfio_devices[MODEL_DEVICES];
static struct iommu_group groups[] = { { 0 }, { 1 }, { 0 } };
static const unsigned int group_of[MODEL_DEVICES] = { 0, 1, 2, 2 };

/* Index in model_nest */
static unsigned int iommu_kind(unsigned int iommu)
{
	return iommu == 1;
}

static struct hw_domain *to_hw(struct iommu_domain *domain)
{
	return container_of(domain, struct hw_domain, domain);
}

static unsigned int hw_shift(unsigned int level)
{
	return PAGE_SHIFT + 9 * (level - 1);
}

static unsigned int hw_index(u64 iova, unsigned int level)
{
	return iova >> hw_shift(level) & 511;
}

static void hw_free_table(struct hw_table *t)
{
	unsigned int i;

	for (i = 0; i < 512; i++)
		if (t->sub[i])
			hw_free_table(t->sub[i]);
	free(t);
}

/* For each call of kviommu_hw_map() in this run, how many of its pages are mapped */
static u32 *hw_calls, nr_hw_calls, max_hw_calls;

static u32 hw_new_call(void)
{
	if (nr_hw_calls == max_hw_calls) {
		max_hw_calls = 2 * max_hw_calls + 1024;
		hw_calls = realloc(hw_calls, max_hw_calls * sizeof(*hw_calls));
	}
	hw_calls[nr_hw_calls] = 0;
	return nr_hw_calls++;
}

static u64 hw_entry(u64 pfn, unsigned int prot)
{
	return PFN_PHYS(pfn) | prot;
}

/* A leaf is mapped where the same leaf, or part of it, was unmapped in this batch. */
static void hw_check_back(struct hw_domain *d, struct hw_table *t, u64 iova,
			  unsigned int level, u64 entry)
{
	unsigned int i = hw_index(iova, level), n;

	/* What is left of a block of a second stage comes back. */
	if (d->second)
		return;
	if (t->when[i] == batch && (t->was[i] & ~HW_CALL) == entry)
		never(!model_excuse ||
		      !model_excuse(&d->domain, iova, PAGE_SIZE <<
				    FIELD_GET(HW_CALL, t->was[i])));
	for (n = 0; t->sub[i] && n < 512; n++)
		hw_check_back(d, t->sub[i],
			      iova + ((u64)n << hw_shift(level - 1)), level - 1,
			      entry + ((u64)n << hw_shift(level - 1)));
}

/* A leaf is mapped where a larger leaf with equal contents was unmapped in this batch. */
static void hw_check_part(struct hw_domain *d, struct hw_table *t, u64 iova,
			  unsigned int level, u64 entry)
{
	unsigned int i = hw_index(iova, level);
	u64 offset = iova & ((1ULL << hw_shift(level)) - 1);

	if (!d->second && t->when[i] == batch && t->was[i] &&
	    (t->was[i] & ~HW_CALL) + offset == entry)
		never(!model_excuse ||
		      !model_excuse(&d->domain, iova, PAGE_SIZE <<
				    FIELD_GET(HW_CALL, t->was[i])));
}

static void hw_map(struct hw_domain *d, u64 iova, u64 pfn, unsigned int level,
		   unsigned int prot, u32 call)
{
	u64 i, nr = 1ULL << (hw_shift(level) - PAGE_SHIFT);
	struct hw_table *t = d->root;
	unsigned int l, n;

	for (l = HW_LEVELS; l > level; l--) {
		n = hw_index(iova, l);
		/* Nothing may be mapped over an existing mapping. */
		never(t->leaf[n]);
		hw_check_part(d, t, iova, l, hw_entry(pfn, prot));
		t->live++;
		if (!t->sub[n])
			t->sub[n] = calloc(1, sizeof(*t));
		t = t->sub[n];
	}
	n = hw_index(iova, level);
	never(t->leaf[n]);
	never(t->sub[n] && t->sub[n]->live);
	hw_check_back(d, t, iova, level, hw_entry(pfn, prot));
	if (t->sub[n])
		hw_free_table(t->sub[n]);
	t->sub[n] = NULL;
	t->leaf[n] = hw_entry(pfn, prot);
	t->call[n] = call;
	hw_calls[call] += nr;
	t->live++;
	for (i = pfn; i < pfn + nr; i++) {
		/* Only pinned pages may be mapped, with rights that the IOAS gives. */
		never(prot & ~pages[i].prot);
		if (d->second) {
			never(pages[i].block_maps == pages[i].block_pins);
			pages[i].block_maps++;
		} else {
			never(!pages[i].pins);
			pages[i].maps++;
		}
	}
	*(d->second ? &block_mapped : &mapped) += nr;
}

static void hw_add_stale(struct hw_domain *d, u64 iova, u64 pfn, u64 nr)
{
	struct hw_stale *s = d->nr_stale ? &d->stale[d->nr_stale - 1] : NULL;
	u64 i;

	for (i = pfn; i < pfn + nr; i++)
		pages[i].stale++;
	stale_pages += nr;
	if (s && s->iova + PFN_PHYS(s->nr) == iova && s->pfn + s->nr == pfn) {
		s->nr += nr;
		return;
	}
	if (d->nr_stale == d->max_stale) {
		d->max_stale = d->max_stale ? 2 * d->max_stale : 64;
		d->stale = realloc(d->stale, d->max_stale * sizeof(*d->stale));
	}
	d->stale[d->nr_stale++] = (struct hw_stale){ iova, pfn, nr };
}

/*
 * Remove the leaf at @iova, of at most @size bytes; @call is the size that the caller
 * unmaps in all. Return: the size of the leaf in bytes, or 0 if there is none.
 */
static u64 hw_unmap(struct hw_domain *d, u64 iova, u64 size, u64 call, u32 *last)
{
	struct hw_table *t = d->root, *path[HW_LEVELS + 1];
	unsigned int l, n;
	u64 i, pfn, nr;

	for (l = HW_LEVELS;; l--) {
		n = hw_index(iova, l);
		path[l] = t;
		if (t->leaf[n])
			break;
		t = t->sub[n];
		if (!t)
			return 0;
	}
	nr = 1ULL << (hw_shift(l) - PAGE_SHIFT);
	/* A leaf is unmapped as a whole or not at all. */
	never(iova & (PFN_PHYS(nr) - 1));
	never(PFN_PHYS(nr) > size);
	pfn = (t->leaf[n] & ~(u64)HW_PROT) >> PAGE_SHIFT;
	t->was[n] = t->leaf[n] |
		    FIELD_PREP(HW_CALL, __builtin_ctzll(call) - PAGE_SHIFT);
	t->when[n] = model_unchecked ? 0 : batch;
	t->leaf[n] = 0;
	/* This IOMMU cannot unmap in parts what one call has mapped. */
	if (d->iommu == 1 && t->call[n] != *last) {
		never(hw_calls[*last]);
		*last = t->call[n];
	}
	hw_calls[t->call[n]] -= nr;
	for (; l <= HW_LEVELS; l++)
		path[l]->live--;
	for (i = pfn; i < pfn + nr; i++) {
		u32 *maps = d->second ? &pages[i].block_maps : &pages[i].maps;

		never(!*maps);
		--*maps;
	}
	*(d->second ? &block_mapped : &mapped) -= nr;
	hw_add_stale(d, iova, pfn, nr);
	return PFN_PHYS(nr);
}

/* host/domain.c */

int kviommu_hw_map(struct iommu_domain *domain, u64 iova, u64 pfn, u64 nr, int prot,
		   struct mm_struct *payer)
{
	u64 size = nr << PAGE_SHIFT, paddr = pfn << PAGE_SHIFT, piece;
	struct hw_domain *d = to_hw(domain);
	u32 call = hw_new_call();
	unsigned int level;

	never(!unit->map_lock.held);
	never(!size || (iova | paddr | size) & (PAGE_SIZE - 1));
	never(iova + size - 1 > domain->geometry.aperture_end);
	never(!(prot & HW_PROT));
	never(d->parent);
	/* Some hardware must not have read-only entries in a second stage. */
	never(d->second && prot != HW_PROT);
	/* A polling thread, which may not wait, names the mm that is charged. */
	never(shim_atomic != !!payer);
	if (shim_should_fail())
		return -ENOMEM;
	if (d->second && model_map_error[iommu_kind(d->iommu)])
		return model_map_error[iommu_kind(d->iommu)];
	for (; size; size -= piece, iova += piece, paddr += piece) {
		for (level = 3; level > 1; level--) {
			piece = 1ULL << hw_shift(level);
			if (piece <= size && !((iova | paddr) & (piece - 1)))
				break;
		}
		piece = 1ULL << hw_shift(level);
		model_spend(1);
		hw_map(d, iova, paddr >> PAGE_SHIFT, level, prot & HW_PROT, call);
	}
	return 0;
}

u64 kviommu_hw_unmap(struct iommu_domain *domain, u64 iova, u64 size,
		     struct kviommu_unflushed *u)
{
	struct hw_domain *d = to_hw(domain);
	u32 last = hw_new_call();
	u64 done = 0, n;

	never(!unit->map_lock.held);
	while (done < size) {
		n = hw_unmap(d, iova + done, size - done, size, &last);
		if (!n)
			break;
		model_spend(1);
		done += n;
	}
	never(hw_calls[last]);
	u->first = min(u->first, iova);
	u->last = max(u->last, iova + size - 1);
	return done;
}

static void hw_flush(struct hw_domain *d, u64 first, u64 last)
{
	size_t i, left = 0;
	u64 pfn;

	for (i = 0; i < d->nr_stale; i++) {
		struct hw_stale *s = &d->stale[i];

		if (s->iova < first || s->iova + PFN_PHYS(s->nr) - 1 > last) {
			d->stale[left++] = *s;
			continue;
		}
		for (pfn = s->pfn; pfn < s->pfn + s->nr; pfn++)
			pages[pfn].stale--;
		stale_pages -= s->nr;
	}
	d->nr_stale = left;
}

/* What the physical IOMMU has cached of first-stage tables */

/**
 * struct cached - What the physical IOMMU has cached of a nested domain, for one group
 * @d: The domain
 * @group: The group
 * @pasid: The PASID of requests that it is for; 0: those without
 * @iova: First address that the entry is for
 * @size: Size in bytes: a page, or for @table what one table of leaves is for
 * @table: The entry leads to a table of leaves at @gpa, else to the page there
 * @gpa: Guest physical address
 * @pfn: The frame of the host that @gpa is in
 * @write: It gives the right to write
 * @born: Number of requests before the one that cached it
 * @condemned: The guest has invalidated it
 */
struct cached {
	struct hw_domain *d;
	struct iommu_group *group;
	u32 pasid;
	u64 iova;
	u64 size;
	bool table;
	u64 gpa;
	u64 pfn;
	bool write;
	u64 born;
	bool condemned;
};

#define MAX_CACHED	64

static struct cached cached[MAX_CACHED];
static unsigned int nr_cached;
static u64 requests;

/* With @group, what belongs to @pasid */
static void cache_drop(struct hw_domain *d, struct hw_domain *parent,
		       struct iommu_group *group, u32 pasid)
{
	unsigned int i, left = 0;

	for (i = 0; i < nr_cached; i++) {
		struct cached *c = &cached[i];

		if ((d && c->d != d) || (parent && c->d->parent != parent) ||
		    (group && (c->group != group || c->pasid != pasid)))
			cached[left++] = *c;
		else
			pages[c->pfn].cached--;
	}
	nr_cached = left;
}

static void cache_add(struct cached c)
{
	if (nr_cached == MAX_CACHED)
		return;
	c.born = requests;
	pages[c.pfn].cached++;
	cached[nr_cached++] = c;
}

static struct cached *cache_find(const struct cached *c, u64 iova, bool table)
{
	unsigned int i;

	for (i = 0; i < nr_cached; i++)
		if (cached[i].d == c->d && cached[i].group == c->group &&
		    cached[i].pasid == c->pasid && cached[i].table == table &&
		    iova - cached[i].iova < cached[i].size)
			return &cached[i];
	return NULL;
}

/* Translate a guest physical address by the second stage. */
static bool hw_second_stage(struct hw_domain *d, u64 gpa, u64 *pfn)
{
	u64 gfn = gpa >> PAGE_SHIFT, is;
	struct model_piece piece;
	unsigned int prot;

	if (!model_translate(&d->parent->domain, gpa, &piece))
		return false;
	*pfn = piece.pfn + ((gpa - piece.iova) >> PAGE_SHIFT);
	/* It leads to memory of the IOAS, and to nothing else. */
	never(!model_ioas_lookup(gfn, &is, &prot) || is != *pfn ||
	      prot != (KVIOMMU_READ | KVIOMMU_WRITE));
	return true;
}

#define FS_P		BIT_ULL(0)
#define FS_RW		BIT_ULL(1)
#define FS_US		BIT_ULL(2)
#define FS_PS		BIT_ULL(7)
#define FS_ADDR		GENMASK_ULL(51, 12)

/*
 * Walk first-stage tables from @table at @level down. @c has the rights so far, and gets
 * those of all, and the page. Return: whether there is one.
 */
static bool hw_first_stage(struct cached *c, u64 table, unsigned int level, u64 iova,
			   struct cached *above)
{
	struct hw_domain *d = c->d;
	u64 e, pfn, size;

	for (;; level--) {
		size = 1ULL << hw_shift(level);
		if (!hw_second_stage(d, table, &pfn))
			return false;
		if (level == 1 && above)
			*above = (struct cached){
				d, c->group, c->pasid, iova & ~(512 * size - 1), 512 * size, true,
				table, pfn, c->write,
			};
		model_cpu_read(table + hw_index(iova, level) * 8, &e, sizeof(e));
		if ((e & (FS_P | FS_US)) != (FS_P | FS_US) || e & GENMASK_ULL(51, 48))
			return false;
		c->write = c->write && e & FS_RW;
		if (level == 1 || e & FS_PS)
			break;
		table = e & FS_ADDR;
	}
	/* Which leaves are too large is the same for all of its IOMMUs. */
	if (level > (model_nest[iommu_kind(d->parent->iommu)].huge ? 3 : 2) ||
	    (level > 1 && e & (size - 1) & GENMASK_ULL(51, 13)))
		return false;
	c->iova = iova & PAGE_MASK;
	c->size = PAGE_SIZE;
	c->table = false;
	c->gpa = ((e & FS_ADDR & ~(size - 1)) | (iova & (size - 1))) & PAGE_MASK;
	return hw_second_stage(d, c->gpa, &c->pfn);
}

/* Addresses are sign-extended, and interrupts are not translated. */
static bool hw_first_stage_has(const struct hw_domain *d, u64 iova)
{
	u64 upper = iova >> (hw_shift(d->levels + 1) - 1);

	return (!upper || upper == U64_MAX >> (hw_shift(d->levels + 1) - 1)) &&
	       iova >> 20 != 0xfee;
}

bool model_walk(struct iommu_domain *domain, u64 iova, struct model_piece *piece)
{
	struct cached c = { .d = to_hw(domain), .write = true };

	if (!hw_first_stage_has(c.d, iova) ||
	    !hw_first_stage(&c, c.d->gpa, c.d->levels, iova, NULL))
		return false;
	*piece = (struct model_piece){
		.iova = c.iova, .size = PAGE_SIZE, .pfn = c.pfn,
		.prot = IOMMU_READ | (c.write ? IOMMU_WRITE : 0),
	};
	return true;
}

static struct hw_pasid *pasid_find(unsigned int device, u32 pasid)
{
	unsigned int i;

	for (i = 0; i < nr_hw_pasids; i++)
		if (hw_pasids[i].device == device && hw_pasids[i].pasid == pasid)
			return &hw_pasids[i];
	return NULL;
}

void model_request(unsigned int device, u32 pasid, u64 iova)
{
	struct iommu_group *group = &groups[group_of[device]];
	struct cached c = { .group = group, .pasid = pasid, .write = true }, above = {};
	struct hw_pasid *p = pasid_find(device, pasid);
	struct hw_domain *d = group->domain;
	struct cached *hit;

	if (pasid)
		d = p ? p->domain : NULL;
	c.d = d;
	requests++;
	if (!d || !d->parent || !hw_first_stage_has(d, iova) || cache_find(&c, iova, false))
		return;
	hit = cache_find(&c, iova, true);
	if (hit) {
		c.write = hit->write;
		if (hw_first_stage(&c, hit->gpa, 1, iova, NULL))
			cache_add(c);
		return;
	}
	if (!hw_first_stage(&c, d->gpa, d->levels, iova, &above))
		return;
	cache_add(c);
	if (above.d)
		cache_add(above);
}

u64 model_requests(void)
{
	return requests;
}

void model_condemn(struct iommu_domain *domain, int pasid, u64 first, u64 last, bool leaves,
		   u64 before)
{
	struct cached *c;

	for (c = cached; c < cached + nr_cached; c++)
		if (&c->d->domain == domain && (pasid < 0 || c->pasid == pasid) &&
		    c->born <= before && !(leaves && c->table) && c->iova <= last &&
		    c->iova + c->size - 1 >= first)
			c->condemned = true;
}

void model_pardon(void)
{
	struct cached *c;

	for (c = cached; c < cached + nr_cached; c++)
		c->condemned = false;
}

void model_check_condemned(void)
{
	struct cached *c;

	for (c = cached; c < cached + nr_cached; c++)
		never(c->condemned);
}

unsigned int model_cached(void)
{
	return nr_cached;
}

void kviommu_hw_unmap_sync(struct iommu_domain *domain, u64 iova, u64 size)
{
	struct kviommu_unflushed u = { .first = U64_MAX };

	never(kviommu_hw_unmap(domain, iova, size, &u) != size);
	hw_flush(to_hw(domain), u.first, u.last);
	cache_drop(NULL, to_hw(domain), NULL, 0);
}

void kviommu_hw_sync(struct iommu_domain *domain, struct kviommu_unflushed *u)
{
	never(!unit->map_lock.held);
	hw_flush(to_hw(domain), u->first, u->last);
	if (to_hw(domain)->second)
		cache_drop(NULL, to_hw(domain), NULL, 0);
	kviommu_hw_all_flushed(u);
}

static struct hw_domain *hw_alloc(unsigned int iommu)
{
	struct hw_domain *d;

	if (shim_should_fail())
		return ERR_PTR(-ENOMEM);
	d = calloc(1, sizeof(*d));
	d->domain.geometry.aperture_end = (1ULL << 57) - 1;
	d->domain.pgsize_bitmap = SZ_4K | SZ_2M | 1 << 30;
	d->iommu = iommu;
	d->root = calloc(1, sizeof(*d->root));
	nr_domains++;
	return d;
}

static void hw_drop_leaves(struct hw_table *t, unsigned int level)
{
	u64 nr = 1ULL << (hw_shift(level) - PAGE_SHIFT), pfn, n;
	unsigned int i;

	for (i = 0; t->live && i < 512; i++) {
		if (t->sub[i])
			hw_drop_leaves(t->sub[i], level - 1);
		if (!t->leaf[i])
			continue;
		pfn = (t->leaf[i] & ~(u64)HW_PROT) >> PAGE_SHIFT;
		for (n = 0; n < nr; n++)
			pages[pfn + n].maps--;
		mapped -= nr;
	}
}

void kviommu_hw_free(struct iommu_domain *domain)
{
	struct hw_domain *d = to_hw(domain);

	never(d->attached);
	never(d->children);
	never(d->second && d->root->live);
	if (d->parent)
		d->parent->children--;
	cache_drop(d, NULL, NULL, 0);
	hw_flush(d, 0, U64_MAX);
	hw_drop_leaves(d->root, HW_LEVELS);
	hw_free_table(d->root);
	free(d->stale);
	free(d);
	nr_domains--;
}

/* host/vfio.c */

int kviommu_vfio_get(struct kviommu_vfio *v, int fd,
		     const struct kviommu_access *a)
{
	if ((size_t)fd >= MODEL_DEVICES)
		return -EBADF;
	v->vdev = &vfio_devices[fd];
	v->group = &groups[group_of[fd]];
	/*
	 * With narrow addresses, and with nested translation, there is a third IOMMU, of the same
	 * kind as the first.
	 */
	if (v->group == &groups[0])
		v->group->iommu = unit->aw_bits < 48 || unit->nest.wanted ? 2 : 0;
	v->vdev->refs++;
	return 0;
}

void kviommu_vfio_put(struct kviommu_vfio *v)
{
	unsigned int i;

	never(!v->vdev->refs);
	never(v->in_ioas);
	for (i = 0; i < nr_hw_pasids; i++)
		never(&vfio_devices[hw_pasids[i].device] == v->vdev);
	v->vdev->refs--;
}

bool kviommu_hw_splits(struct iommu_domain *domain)
{
	return to_hw(domain)->iommu != 1;
}

bool kviommu_vfio_enforces_coherency(struct kviommu_vfio *v)
{
	return v->group->iommu == 1;
}

const void *kviommu_vfio_iommu(struct kviommu_vfio *v)
{
	static const char iommus[3];

	return &iommus[v->group->iommu];
}

struct iommu_domain *kviommu_hw_alloc(struct kviommu_vfio *v)
{
	struct hw_domain *d = hw_alloc(v->group->iommu);

	return IS_ERR(d) ? (void *)d : &d->domain;
}

int kviommu_vfio_attach_ioas(struct kviommu_vfio *v, u32 ioas_id)
{
	never(!unit->lock.held);
	/* iommufd's unmap callback may wait for map_lock. */
	never(unit->map_lock.held);
	never(v->in_ioas || v->group->domain);
	model_spend(1);
	if (shim_task.killed)
		return -EINTR;
	if (model_ioas_full || shim_should_fail())
		return -ENOMEM;
	v->in_ioas = true;
	v->group->in_ioas++;
	return 0;
}

void kviommu_vfio_detach_ioas(struct kviommu_vfio *v)
{
	never(unit->map_lock.held);
	if (!v->in_ioas)
		return;
	v->in_ioas = false;
	v->group->in_ioas--;
}

int kviommu_hw_attach(struct iommu_domain *domain, struct iommu_group *group)
{
	never(!unit->lock.held || !unit->map_lock.held);
	never(group->domain || group->in_ioas);
	/* Only second stages are the same for one kind of IOMMU. */
	if (to_hw(domain)->parent)
		never(iommu_kind(to_hw(domain)->parent->iommu) != iommu_kind(group->iommu));
	else if (to_hw(domain)->iommu != group->iommu)
		return -EINVAL;
	if (shim_should_fail())
		return -ENOMEM;
	to_hw(domain)->attached++;
	group->domain = to_hw(domain);
	return 0;
}

void kviommu_hw_detach(struct iommu_domain *domain, struct iommu_group *group,
		       struct kviommu_vfio *v)
{
	never(!unit->map_lock.held);
	never(group->in_ioas || v->group != group);
	never(group->domain != to_hw(domain));
	cache_drop(NULL, NULL, group, 0);
	group->domain->attached--;
	group->domain = NULL;
}

bool model_has_pasid(unsigned int device, u32 pasid)
{
	/* Groups 0 and 1 have one device each. */
	return group_of[device] < 2 && pasid < MODEL_PASIDS;
}

struct iommu_domain *model_pasid_domain(unsigned int device, u32 pasid)
{
	struct hw_pasid *p = pasid_find(device, pasid);

	return p ? &p->domain->domain : NULL;
}

bool model_is_second(struct iommu_domain *domain)
{
	return to_hw(domain)->second;
}

unsigned int model_pasids(void)
{
	return nr_hw_pasids;
}

int kviommu_hw_attach_pasid(struct iommu_domain *domain, struct kviommu_vfio *v, u32 pasid)
{
	unsigned int device = v->vdev - vfio_devices;

	never(!unit->lock.held || !unit->map_lock.held || shim_atomic);
	never(!pasid || pasid >> model_nest[0].pasid_bits || pasid_find(device, pasid));
	never(!to_hw(domain)->second && !to_hw(domain)->parent);
	if (!model_has_pasid(device, pasid))
		return -EOPNOTSUPP;
	if (to_hw(domain)->iommu != v->group->iommu)
		return -EINVAL;
	if (shim_should_fail())
		return -ENOMEM;
	never(nr_hw_pasids == ARRAY_SIZE(hw_pasids));
	hw_pasids[nr_hw_pasids++] = (struct hw_pasid){ device, pasid, to_hw(domain) };
	to_hw(domain)->attached++;
	return 0;
}

void kviommu_hw_detach_pasid(struct iommu_domain *domain, struct kviommu_vfio *v, u32 pasid)
{
	struct hw_pasid *p = pasid_find(v->vdev - vfio_devices, pasid);

	never(!unit->map_lock.held || !p || p->domain != to_hw(domain));
	cache_drop(NULL, NULL, v->group, pasid);
	p->domain->attached--;
	*p = hw_pasids[--nr_hw_pasids];
}

/* Reserved by the second physical IOMMU: a page, half a large page, a large page */
static const struct kviommu_reserved reserved = {
	.nr = 3,
	.range = {
		{ 0x5000, 0x5fff, true },
		{ 0x600000, 0x6fffff, false },
		{ 0x40200000, 0x403fffff, false },
	},
};

bool model_reserved(struct iommu_domain *domain, u64 iova)
{
	unsigned int i;

	if (to_hw(domain)->iommu == 1)
		for (i = 0; i < reserved.nr; i++)
			if (iova >= reserved.range[i].first &&
			    iova <= reserved.range[i].last)
				return true;
	return false;
}

int kviommu_hw_check(struct iommu_domain *domain, unsigned int aw_bits)
{
	return 0;
}

int kviommu_hw_reserved(struct iommu_group *group, struct kviommu_reserved *r)
{
	memset(r, 0, sizeof(*r));
	if (group->iommu == 1)
		*r = reserved;
	return 0;
}

phys_addr_t kviommu_hw_phys(struct iommu_domain *domain, u64 iova)
{
	struct model_piece piece;

	return model_translate(domain, iova, &piece) ?
	       PFN_PHYS(piece.pfn) + iova - piece.iova : 0;
}

/* host/nest.c */

int kviommu_nest_host(struct kviommu_nest *nest)
{
	*nest = model_nest[0];
	if (model_nest_starved || (nest->wanted && shim_should_fail()))
		return -ENOMEM;
	if (model_nest[1].wanted)
		kviommu_nest_limit(nest, &model_nest[1]);
	return 0;
}

int kviommu_nest_check(struct kviommu_vfio *v, const struct kviommu_nest *nest)
{
	unsigned int kind = iommu_kind(v->group->iommu);

	if (!nest->wanted)
		return 0;
	if (shim_should_fail())
		return -ENOMEM;
	v->kind = (struct kviommu_iommu_kind){ 7, kind };
	return kviommu_nest_missing(&model_nest[kind], nest) ? -EMEDIUMTYPE : 0;
}

struct iommu_domain *kviommu_nest_parent_alloc(struct kviommu_vfio *v)
{
	struct hw_domain *d;

	never(!unit->lock.held || unit->map_lock.held || shim_atomic);
	never(!model_nest[iommu_kind(v->group->iommu)].wanted);
	d = hw_alloc(v->group->iommu);
	if (IS_ERR(d))
		return (void *)d;
	d->second = true;
	return &d->domain;
}

int kviommu_nest_args_map(struct kviommu_nest_args *a)
{
	never(a->at || shim_atomic);
	if (shim_should_fail())
		return -ENOMEM;
	a->at = PAGE_SIZE;
	return 0;
}

void kviommu_nest_args_unmap(struct kviommu_nest_args *a)
{
	a->at = 0;
}

struct iommu_domain *kviommu_nest_alloc(struct kviommu_nest_args *a,
					struct kviommu_vfio *v,
					struct iommu_domain *parent, u64 root,
					unsigned int levels)
{
	struct hw_domain *d;

	never(!unit->lock.held || unit->map_lock.held || shim_atomic);
	never(!to_hw(parent)->second || !a->at);
	never(iommu_kind(to_hw(parent)->iommu) != iommu_kind(v->group->iommu));
	never(levels != 4 && !(levels == 5 && model_nest[0].five_levels));
	never(root & ~FS_ADDR);
	model_spend(1);
	d = hw_alloc(v->group->iommu);
	if (IS_ERR(d))
		return (void *)d;
	d->parent = to_hw(parent);
	d->parent->children++;
	d->gpa = root;
	d->levels = levels;
	return &d->domain;
}

int kviommu_nest_flush(struct kviommu_nest_args *a, struct iommu_domain *domain,
		       const struct kviommu_range *range, unsigned int nr)
{
	unsigned int i, left = 0;

	never(!unit->map_lock.held || !to_hw(domain)->parent || !a->at);
	never(!nr || nr > KVIOMMU_NEST_RANGES);
	/* A shared thread has no address space; a VMM may have unmapped the page. */
	if (shim_atomic)
		return -ESRCH;
	if (shim_should_fail())
		return -EFAULT;
	for (; nr; nr--, range++, left = 0) {
		never(range->first > range->last || range->first & ~PAGE_MASK ||
		      ~range->last & ~PAGE_MASK);
		for (i = 0; i < nr_cached; i++) {
			struct cached *c = &cached[i];

			if (&c->d->domain != domain || c->iova > range->last ||
			    c->iova + c->size - 1 < range->first)
				cached[left++] = *c;
			else
				pages[c->pfn].cached--;
		}
		nr_cached = left;
	}
	return 0;
}

void kviommu_nest_flush_all(struct iommu_domain *parent)
{
	never(!unit->map_lock.held || !to_hw(parent)->second);
	cache_drop(NULL, to_hw(parent), NULL, 0);
}

/*
 * host/kvm.c, core/sysfs.c and core/debugfs.c. The VM has memory slots for all of its
 * memory but for most of the large area; the borders of areas are not those of slots.
 */

static struct kviommu_memory slots[] = {
	{ 0, LOW_FRAMES }, { 0x40000, 0x433 }, { MODEL_ODD_SLOT, MODEL_ODD_NR },
	{ 0xfffffffffULL, 1 },
};

void model_huge_slot(bool all)
{
	slots[1].nr = all ? model_areas[AREA_HUGE].nr : 0x433;
}

bool model_in_slot(u64 gfn)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(slots); i++)
		if (gfn - slots[i].gfn < slots[i].nr)
			return true;
	return false;
}

bool kviommu_kvm_memory(struct kviommu_kvm *k, u64 gfn, struct kviommu_memory *m)
{
	unsigned int i;

	never(shim_atomic);
	for (i = 0; i < ARRAY_SIZE(slots); i++) {
		if (slots[i].gfn + slots[i].nr <= gfn)
			continue;
		m->gfn = max(gfn, slots[i].gfn);
		m->nr = slots[i].gfn + slots[i].nr - m->gfn;
		return true;
	}
	return false;
}

int kviommu_kvm_get(struct kviommu_kvm *k, int fd)
{
	k->gfn = KVIOMMU_NO_GFN;
	if (fd < 0)
		return -EBADF;
	return shim_should_fail() ? -ENOMEM : 0;
}

int kviommu_kvm_arm(struct kviommu_kvm *k, u64 gfn)
{
	never(unit->lock.held);
	k->gfn = gfn;
	return 0;
}

int kviommu_kvm_track(struct kviommu_kvm *k, bool on)
{
	never(unit->lock.held);
	if (k->gfn == KVIOMMU_NO_GFN)
		return -ENODEV;
	k->tracked = on;
	return 0;
}

void (*model_vcpu)(void);

void kviommu_kvm_wait_writes(struct kviommu_kvm *k)
{
	never(unit->lock.held || unit->map_lock.held);
	if (model_vcpu)
		model_vcpu();
}

void kviommu_kvm_put(struct kviommu_kvm *k)
{
}

void kviommu_kvm_stop(struct kviommu_kvm *k)
{
	never(unit->lock.held);
	k->gfn = KVIOMMU_NO_GFN;
}

/*
 * run/pool_cpus.c: the shared threads, of two CPUs. They run when a test wants it. Units are
 * handed to those who poll as the module's own code does it; here are only rules for that.
 */

struct kviommu_poller model_pollers[MODEL_POLLERS];
bool model_self_open;

static void pollers_begin(void)
{
	static struct task_struct threads[MODEL_POLLERS];
	unsigned int i;

	INIT_LIST_HEAD(&kviommu_pollers);
	for (i = 0; i < MODEL_POLLERS; i++) {
		struct kviommu_poller *p = &model_pollers[i];

		*p = (struct kviommu_poller){ .cpu = i, .task = &threads[i] };
		spin_lock_init(&p->lock);
		INIT_LIST_HEAD(&p->units);
		list_add_tail(&p->entry, &kviommu_pollers);
	}
	kviommu_pool_suspended = false;
	*shim_param_poll_share = true;
	model_self_open = false;
}

static void pollers_end(void)
{
	struct kviommu_poller *p;

	for (p = model_pollers; p < model_pollers + MODEL_POLLERS; p++)
		never(p->nr || !list_empty(&p->units) || p->current_unit || p->lock.held);
	never(shim_task.migration_disabled);
}

bool kviommu_pool_any(void)
{
	unsigned int i;

	for (i = 0; i < MODEL_POLLERS; i++)
		if (model_pollers[i].online)
			return true;
	return false;
}

void model_pool_set_online(unsigned int i, bool online)
{
	struct kviommu_poller *p = &model_pollers[i];

	spin_lock(&p->lock);
	p->online = online;
	if (!online)
		kviommu_poller_release(p, KVIOMMU_POLL_OFFLINE);
	spin_unlock(&p->lock);
}

void model_pool_run(unsigned int i, unsigned int rounds)
{
	struct kviommu_poller *p = &model_pollers[i];

	never(unit->poll_lock.held);
	shim_rounds = rounds;
	shim_atomic = true;
	never(kviommu_poller_thread(p));
	shim_atomic = false;
	never(p->current_unit || unit->lock.held);
}

bool model_pool_has(void)
{
	return unit->poller;
}

void model_pool_let_go(void)
{
	unsigned int i;

	for (i = 0; model_pool_has(); i++) {
		never(i == 1000);
		model_pool_run(0, 1);
	}
}

int __wrap_kviommu_pool_add(struct kviommu_unit *u)
{
	/* What the thread sees from now on has to be all that the guest has written. */
	never(!u->poll_lock.held || !u->polled || u->kvm.tracked || u->self.on);
	return shim_should_fail() ? -EAGAIN : __real_kviommu_pool_add(u);
}

int __wrap_kviommu_pool_remove(struct kviommu_unit *u, bool killable)
{
	/* A thread that looks at the unit may wait for nobody, but the caller waits for it. */
	never(!u->poll_lock.held || u->lock.held || u->map_lock.held);
	return __real_kviommu_pool_remove(u, killable);
}

bool __wrap_kviommu_self_usable(const struct kviommu_unit *u)
{
	return model_self_open && __real_kviommu_self_usable(u);
}

int __wrap_kviommu_self_begin(struct kviommu_unit *u)
{
	never(!u->poll_lock.held || !u->polled || u->kvm.tracked || u->poller);
	return model_self_open ? __real_kviommu_self_begin(u) : -EAGAIN;
}

bool model_sysfs_fails;

int kviommu_sysfs_add(struct kviommu_unit *u)
{
	struct kviommu_policy trap = {
		.mask = KVIOMMU_POLICY_MODE,
		.mode = KVIOMMU_MODE_TRAP,
	};

	never(u->lock.held);
	if (!model_sysfs_fails)
		return shim_should_fail() ? -ENOMEM : 0;
	/* Root has written one of the files, before they are removed again. */
	kviommu_unit_set_admin(u, &trap, KVIOMMU_POLICY_MODE);
	return -ENOMEM;
}

void kviommu_sysfs_remove(struct kviommu_unit *u)
{
	never(u->lock.held);
}

void kviommu_debugfs_add(struct kviommu_unit *u)
{
}

void kviommu_debugfs_remove(struct kviommu_unit *u)
{
}

/* Queries of tests */

enum model_path model_path(unsigned int device)
{
	struct iommu_group *g = &groups[group_of[device]];

	if (g->in_ioas)
		return PATH_IOAS;
	if (g->domain && g->domain->parent)
		return PATH_NESTED;
	return g->domain && g->domain->root->live ? PATH_DOMAIN : PATH_BLOCKED;
}

bool model_same_group(unsigned int a, unsigned int b)
{
	return group_of[a] == group_of[b];
}

static bool hw_find(struct hw_table *t, u64 base, unsigned int level, u64 iova,
		    struct model_piece *piece)
{
	unsigned int i = iova > base ? (iova - base) >> hw_shift(level) : 0;

	for (; t->live && i < 512; i++) {
		u64 start = base + ((u64)i << hw_shift(level));

		if (t->sub[i] &&
		    hw_find(t->sub[i], start, level - 1, iova, piece))
			return true;
		if (!t->leaf[i])
			continue;
		*piece = (struct model_piece){
			.iova = start,
			.size = 1ULL << hw_shift(level),
			.pfn = (t->leaf[i] & ~(u64)HW_PROT) >> PAGE_SHIFT,
			.prot = t->leaf[i] & HW_PROT,
		};
		return true;
	}
	return false;
}

struct iommu_domain *model_domain(unsigned int device)
{
	struct iommu_group *g = &groups[group_of[device]];

	return g->domain ? &g->domain->domain : NULL;
}

void model_nested(struct iommu_domain *domain, u64 *root, unsigned int *levels)
{
	*root = to_hw(domain)->gpa;
	*levels = to_hw(domain)->levels;
}

/* The first leaf that contains @iova or lies behind it */
bool model_next(struct iommu_domain *domain, u64 iova,
		struct model_piece *piece)
{
	return domain && iova >> 57 == 0 &&
	       hw_find(to_hw(domain)->root, 0, HW_LEVELS, iova, piece);
}

bool model_translate(struct iommu_domain *domain, u64 iova,
		     struct model_piece *piece)
{
	return model_next(domain, iova, piece) && piece->iova <= iova;
}

/* Everything that was unmapped must have been flushed. */
void model_check_quiet(void)
{
	never(stale_pages);
}

/* Pages that were not flushed must not hide a new mapping at the same address. */
void model_check_hidden(void)
{
	struct kviommu_xlate *xlate;
	struct model_piece piece;
	size_t i;
	u64 n;

	list_for_each_entry(xlate, &unit->xlates, entry) {
		struct kviommu_shadow *shadow = to_shadow(xlate);
		struct hw_domain *d;

		if (xlate->binding.type != KVIOMMU_BIND_DOMAIN)
			continue;
		d = to_hw(shadow->hw);
		for (i = 0; i < d->nr_stale; i++)
			for (n = 0; n < d->stale[i].nr; n++)
				never(model_translate(shadow->hw,
						      d->stale[i].iova +
						      PFN_PHYS(n), &piece));
	}
}

/* Number of pages that were unmapped and not flushed since */
u64 model_unflushed(void)
{
	return stale_pages;
}

u64 model_pinned(void)
{
	return pinned;
}

u64 model_mapped(void)
{
	return mapped;
}

u64 model_domains(void)
{
	return nr_domains;
}

void model_begin(struct kviommu_unit *u)
{
	static bool begun;
	unsigned int i;

	unit = u;
	budget = MODEL_BUDGET;
	nr_hw_calls = 0;
	requests = 0;
	model_huge_slot(false);
	batch = 1;
	jiffies = 0;
	shim_jiffies_step = 0;
	shim_ns = 0;
	shim_ns_step = 0;
	shim_waits = false;
	pollers_begin();
	shim_fail = (struct shim_fail){};
	shim_task.killed = false;
	for (i = 0; !begun && i < LOW_FRAMES; i++)
		forbid(contents[i], PAGE_SIZE);
	begun = true;
	for (i = 0; i < NR_AREAS; i++) {
		memset(&areas[i], 0, sizeof(areas[i]));
		if (i < AREA_FEW)
			model_ioas_map(i, 0, model_areas[i].prot);
	}
}

void model_end(void)
{
	unsigned int i;

	never(pinned || mapped || block_mapped || stale_pages || nr_domains);
	never(nr_records || nr_cached || nr_hw_pasids);
	never(shim_allocations());
	pollers_end();
	memset(model_nest, 0, sizeof(model_nest));
	for (i = 0; i < NR_AREAS; i++)
		never(areas[i].pins);
	for (i = 0; i < MODEL_DEVICES; i++)
		never(vfio_devices[i].refs);
	for (i = 0; i < ARRAY_SIZE(groups); i++)
		never(groups[i].domain || groups[i].in_ioas);
	for (i = 0; i < LOW_FRAMES + 2; i++) {
		if (!frame_used[i])
			continue;
		allow(contents[i], PAGE_SIZE);
		memset(contents[i], 0, PAGE_SIZE);
		if (i < LOW_FRAMES)
			forbid(contents[i], PAGE_SIZE);
		frame_used[i] = false;
	}
	unit = NULL;
}
