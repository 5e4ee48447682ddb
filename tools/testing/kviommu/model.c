// SPDX-License-Identifier: GPL-2.0-only
/*
 * The model of the host: pins, mappings of domains, mappings that a device may still
 * have cached after an unmap, and what each device's DMA goes through.
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
};

/**
 * struct page - A page of the host
 * @va: Value of page_address() while the page is pinned
 * @pins: Number of pins through the IOAS
 * @maps: Number of mappings to the page in all domains
 * @stale: Number of mappings that were unmapped and not flushed since
 * @prot: Rights that the IOAS gave when the page was pinned
 */
struct page {
	void *va;
	u32 pins;
	u32 maps;
	u32 stale;
	u32 prot;
};

#define NR_PFNS		0xd2000
#define LOW_FRAMES	0x800

static struct page pages[NR_PFNS];
static struct page reg_page;

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
static u64 mapped, stale_pages, pinned, nr_domains;

bool (*model_excuse)(struct iommu_domain *domain, u64 iova, u64 size);
void (*model_map_lock_free)(void);
bool model_unchecked;
bool model_ioas_full;

void shim_unlocked(struct mutex *lock)
{
	if (unit && lock == &unit->map_lock && model_map_lock_free)
		model_map_lock_free();
}

void cond_resched(void)
{
	jiffies += shim_jiffies_step;
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
	if (--p->pins)
		return;
	/* A page must be unmapped and flushed before it is unpinned. */
	never(p->maps);
	never(p->stale);
	pinned--;
	if (frame_index(gfn) < LOW_FRAMES)
		forbid(p->va, PAGE_SIZE);
	p->va = NULL;
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
	reg_page.va = (void *)get_zeroed_page(gfp);
	return reg_page.va ? &reg_page : NULL;
}

void put_page(struct page *page)
{
	never(page != &reg_page);
	free_page((unsigned long)reg_page.va);
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
 */
struct hw_domain {
	struct iommu_domain domain;
	unsigned int iommu;
	unsigned int attached;
	struct hw_table *root;
	struct hw_stale *stale;
	size_t nr_stale;
	size_t max_stale;
};

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

	if (t->when[i] == batch && t->was[i] &&
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
		never(!pages[i].pins);
		never(prot & ~pages[i].prot);
		pages[i].maps++;
	}
	mapped += nr;
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
		never(!pages[i].maps);
		pages[i].maps--;
	}
	mapped -= nr;
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
	/* A polling thread, which may not wait, names the mm that is charged. */
	never(shim_atomic != !!payer);
	if (shim_should_fail())
		return -ENOMEM;
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

void kviommu_hw_sync(struct iommu_domain *domain, struct kviommu_unflushed *u)
{
	never(!unit->map_lock.held);
	hw_flush(to_hw(domain), u->first, u->last);
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
	/* With narrow addresses there is a third IOMMU, of the same kind as the first. */
	if (v->group == &groups[0])
		v->group->iommu = unit->aw_bits < 48 ? 2 : 0;
	v->vdev->refs++;
	return 0;
}

void kviommu_vfio_put(struct kviommu_vfio *v)
{
	never(!v->vdev->refs);
	never(v->in_ioas);
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
	if (to_hw(domain)->iommu != group->iommu)
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
	group->domain->attached--;
	group->domain = NULL;
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
	return 0;
}

/* host/nest.c: this host cannot, so no guest can make a nested translation. */

bool kviommu_nest_host(struct kviommu_nest *nest)
{
	*nest = (struct kviommu_nest){};
	return false;
}

bool kviommu_nest_fits(struct kviommu_vfio *v, const struct kviommu_nest *nest)
{
	return !nest->wanted;
}

struct iommu_domain *kviommu_nest_parent_alloc(struct kviommu_vfio *v)
{
	never(true);
	return NULL;
}

int kviommu_nest_args_map(struct kviommu_nest_args *a)
{
	never(true);
	return 0;
}

void kviommu_nest_args_unmap(struct kviommu_nest_args *a)
{
}

struct iommu_domain *kviommu_nest_alloc(struct kviommu_nest_args *a,
					struct kviommu_vfio *v,
					struct iommu_domain *parent, u64 root,
					unsigned int levels)
{
	never(true);
	return NULL;
}

int kviommu_nest_flush(struct kviommu_nest_args *a, struct iommu_domain *domain,
		       const struct kviommu_range *range, unsigned int nr)
{
	never(true);
	return 0;
}

void kviommu_nest_flush_all(struct iommu_domain *parent)
{
	never(true);
}

void kviommu_hw_unmap_sync(struct iommu_domain *domain, u64 iova, u64 size)
{
	never(true);
}

int kviommu_access_pin_range(struct kviommu_access *a, u64 gfn, u64 nr,
			     struct page **array)
{
	never(true);
	return -ENOENT;
}

void kviommu_access_unpin_range(struct kviommu_access *a, u64 gfn, u64 nr)
{
	never(true);
}

/* host/kvm.c, core/sysfs.c and core/debugfs.c */

bool kviommu_kvm_memory(struct kviommu_kvm *k, u64 gfn, struct kviommu_memory *m)
{
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

void kviommu_kvm_wait_writes(struct kviommu_kvm *k)
{
	never(unit->lock.held || unit->map_lock.held);
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
 * run/self.c and run/pool.c: the unit's worker polls while model_self_open is set, and one
 * shared thread takes units while model_pool_open is set.
 */

bool model_pool_open, model_self_open;
static bool pool_has;

bool kviommu_pool_any(void)
{
	return model_pool_open;
}

bool kviommu_pool_usable(const struct kviommu_unit *u)
{
	return model_pool_open;
}

int kviommu_pool_add(struct kviommu_unit *u)
{
	never(!u->poll_lock.held || !u->polled || u->kvm.tracked);
	if (!model_pool_open || shim_should_fail())
		return -EAGAIN;
	pool_has = true;
	return 0;
}

bool kviommu_pool_has(struct kviommu_unit *u)
{
	never(!u->poll_lock.held);
	return pool_has;
}

int kviommu_pool_remove(struct kviommu_unit *u, bool killable)
{
	never(!u->poll_lock.held || u->lock.held);
	pool_has = false;
	return 0;
}

bool model_pool_has(void)
{
	return pool_has;
}

void model_pool_let_go(void)
{
	pool_has = false;
	WRITE_ONCE(unit->poll_why, KVIOMMU_POLL_IDLE);
	kviommu_unit_defer(unit);
}

bool kviommu_self_usable(const struct kviommu_unit *u)
{
	return model_self_open;
}

int kviommu_self_begin(struct kviommu_unit *u)
{
	never(!u->poll_lock.held || !u->polled || u->kvm.tracked);
	if (!model_self_open)
		return -EAGAIN;
	u->self.on = true;
	return 0;
}

int kviommu_self_end(struct kviommu_unit *u)
{
	never(!u->poll_lock.held || u->lock.held);
	u->self.on = false;
	return 0;
}

/* The worker takes what the guest has written, if anything, and stops polling. */
void kviommu_self_poll(struct kviommu_unit *u)
{
	struct kviommu_work work;

	never(u->lock.held || !u->self.on);
	mutex_lock(&u->lock);
	kviommu_work_begin(&work);
	if (u->model->page_ops->peek(u->model, false))
		kviommu_poll_step(u, &work, false);
	kviommu_unlock(u);
	u->self.on = false;
	WRITE_ONCE(u->poll_why, KVIOMMU_POLL_IDLE);
	kviommu_unit_defer(u);
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
	never(kviommu_unit_set_admin(u, &trap, KVIOMMU_POLICY_MODE));
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
		struct hw_domain *d = to_hw(shadow->hw);

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
	batch = 1;
	jiffies = 0;
	shim_jiffies_step = 0;
	shim_fail = (struct shim_fail){};
	shim_task.killed = false;
	for (i = 0; !begun && i < LOW_FRAMES; i++)
		forbid(contents[i], PAGE_SIZE);
	begun = true;
	for (i = 0; i < NR_AREAS; i++) {
		memset(&areas[i], 0, sizeof(areas[i]));
		model_ioas_map(i, 0, model_areas[i].prot);
	}
}

void model_end(void)
{
	unsigned int i;

	never(pinned || mapped || stale_pages || nr_domains);
	never(shim_allocations());
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
