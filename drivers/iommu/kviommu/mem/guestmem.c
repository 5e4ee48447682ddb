// SPDX-License-Identifier: GPL-2.0-only
/*
 * The unit's own access to guest memory, through the pin cache.
 */
#include <linux/mm.h>
#include <linux/string.h>
#include <linux/unaligned.h>

#include "pins.h"

/*
 * The fast path: equivalent to kviommu_pin_get() followed by kviommu_pin_put(), for a
 * frame that is already pinned with the right known. Return the kernel address of the
 * page; NULL if the slow path is needed.
 */
static void *guest_pinned_page(struct kviommu_unit *unit, u64 gfn, bool write)
{
	struct chunk *chunk = chunk_find(unit, gfn);
	struct pin *p;

	if (!chunk)
		return NULL;
	p = &chunk->pins[gfn % CHUNK_GFNS];
	if (!pin_has_rights(p, write ? KVIOMMU_WRITE : KVIOMMU_READ))
		return NULL;
	kviommu_count(unit, pin_hits, 1);
	if (p->idle && p->uses != pin_idle_stamp(&unit->pins)) {
		pin_clear_idle(unit, p);
		pin_set_idle(unit, p, gfn);
	}
	return page_address(pfn_to_page(p->pfn));
}

static void guest_copy(void *va, void *buf, unsigned int len, bool write)
{
	if (write && len == sizeof(u32) && IS_ALIGNED((unsigned long)va, len))
		/* Pairs with the guest's load of the status word. */
		smp_store_release((u32 *)va, get_unaligned((u32 *)buf));
	else if (write)
		memcpy(va, buf, len);
	else
		memcpy(buf, va, len);
}

/* Access guest memory that does not cross a page boundary. */
static int guest_rw_page(struct kviommu_unit *unit, const struct kviommu_work *work,
			 u64 gpa, void *buf, unsigned int len, bool write)
{
	unsigned int prot = write ? KVIOMMU_WRITE : KVIOMMU_READ;
	u64 gfn = gpa >> PAGE_SHIFT;
	void *va = guest_pinned_page(unit, gfn, write);
	u64 pfn;
	int ret;

	if (likely(va)) {
		guest_copy(va + offset_in_page(gpa), buf, len, write);
		return 0;
	}
	ret = kviommu_pin_get(unit, work, gfn, prot, &pfn);
	/* The limits are for DMA; the unit's own accesses must not fail at them. */
	if (ret == -EDQUOT || ret == -ENOMEM)
		return kviommu_access_rw(&unit->access, gpa, buf, len, write);
	if (ret)
		return ret;
	va = page_address(pfn_to_page(pfn));
	guest_copy(va + offset_in_page(gpa), buf, len, write);
	kviommu_pin_put(unit, work, gfn);
	return 0;
}

static int guest_rw(struct kviommu_unit *unit, const struct kviommu_work *work,
		    u64 gpa, void *buf, unsigned int len, bool write)
{
	unsigned int n;
	int ret = 0;

	lockdep_assert_held(&unit->map_lock);

	for (; len && !ret; gpa += n, buf += n, len -= n) {
		n = min_t(unsigned int, len, PAGE_SIZE - offset_in_page(gpa));
		ret = guest_rw_page(unit, work, gpa, buf, n, write);
	}
	if (ret && !kviommu_unfinished(ret))
		kviommu_error(unit, "guest memory", gpa, ret);
	return ret;
}

/**
 * kviommu_guest_read() - Read guest memory
 * @unit: The unit
 * @work: The piece of work that this is part of
 * @gpa: Guest physical address
 * @buf: Buffer to copy to
 * @len: Length in bytes
 *
 * An error other than -EAGAIN and -EINTR is also counted and traced.
 *
 * Context: process context, under unit->lock and map_lock; may sleep if @work may wait.
 * Return: 0, or an error of kviommu_pin_get() or kviommu_access_rw().
 */
int kviommu_guest_read(struct kviommu_unit *unit, const struct kviommu_work *work,
		       u64 gpa, void *buf, unsigned int len)
{
	return guest_rw(unit, work, gpa, buf, len, false);
}

/**
 * kviommu_guest_write() - Write guest memory
 * @unit: The unit
 * @work: The piece of work that this is part of
 * @gpa: Guest physical address
 * @buf: Buffer to copy from
 * @len: Length in bytes
 *
 * The guest sees a write of 4 aligned bytes as a whole, and after all earlier writes.
 * An error other than -EAGAIN and -EINTR is also counted and traced.
 *
 * Context: process context, under unit->lock and map_lock; may sleep if @work may wait.
 * Return: 0, or an error of kviommu_pin_get() or kviommu_access_rw().
 */
int kviommu_guest_write(struct kviommu_unit *unit, const struct kviommu_work *work,
			u64 gpa, const void *buf, unsigned int len)
{
	return guest_rw(unit, work, gpa, (void *)buf, len, true);
}

/**
 * kviommu_guest_map() - Get at a page of guest memory, to read and write it for a while
 * @unit: The unit
 * @work: The piece of work that this is part of
 * @gfn: Guest frame number
 * @va: Set to the page's address in the kernel, which holds until kviommu_pin_put()
 *
 * For atomic operations, which are possible on pinned pages alone. The limit of pins is for
 * DMA: it does not hold for this page.
 *
 * Context: process context, under map_lock; may sleep if @work may wait.
 * Return: 0, or an error of kviommu_pin_get().
 */
int kviommu_guest_map(struct kviommu_unit *unit, const struct kviommu_work *work, u64 gfn,
		      void **va)
{
	const unsigned int prot = KVIOMMU_READ | KVIOMMU_WRITE;
	u64 pfn;
	int ret;

	ret = kviommu_pin_get(unit, work, gfn, prot, &pfn);
	/* Idle pins have gone by now. */
	if (ret == -EDQUOT)
		ret = kviommu_pin_get(unit, work, gfn, prot | KVIOMMU_BEYOND_LIMIT, &pfn);
	if (!ret)
		*va = page_address(pfn_to_page(pfn));
	return ret;
}
