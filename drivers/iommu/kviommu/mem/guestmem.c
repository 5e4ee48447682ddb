// SPDX-License-Identifier: GPL-2.0-only
/*
 * Access of the host to guest memory, through the pin cache.
 */
#include <linux/mm.h>
#include <linux/string.h>
#include <linux/unaligned.h>

#include "pins.h"

/*
 * As a kviommu_pin_get() with a kviommu_pin_put() to follow, at which nothing else
 * happens: of a frame that is pinned, with the rights known. Return: where it is, or
 * NULL.
 */
static void *guest_page(struct kviommu_unit *unit, u64 gfn, bool write)
{
	struct chunk *chunk = chunk_find(unit, gfn);
	struct pin *p;

	if (!chunk)
		return NULL;
	p = &chunk->pins[gfn % CHUNK_GFNS];
	if (!pin_knows(p, write ? KVIOMMU_WRITE : KVIOMMU_READ))
		return NULL;
	kviommu_count(unit, pin_hits, 1);
	if (p->idle && p->uses != pin_stamp(&unit->pins)) {
		pin_end_idle(unit, p);
		pin_make_idle(unit, p, gfn);
	}
	return page_address(pfn_to_page(p->pfn));
}

static void guest_copy(void *va, void *buf, unsigned int len, bool write)
{
	if (write && len == sizeof(u32) && IS_ALIGNED((unsigned long)va, len))
		/* Pairs with the guest's load of the status. */
		smp_store_release((u32 *)va, get_unaligned((u32 *)buf));
	else if (write)
		memcpy(va, buf, len);
	else
		memcpy(buf, va, len);
}

/* Within one page. */
static int guest_rw_page(struct kviommu_unit *unit, const struct kviommu_work *work,
			 u64 gpa, void *buf, unsigned int len, bool write)
{
	unsigned int prot = write ? KVIOMMU_WRITE : KVIOMMU_READ;
	u64 gfn = gpa >> PAGE_SHIFT;
	void *va = guest_page(unit, gfn, write);
	u64 pfn;
	int ret;

	if (likely(va)) {
		guest_copy(va + offset_in_page(gpa), buf, len, write);
		return 0;
	}
	ret = kviommu_pin_get(unit, work, gfn, prot, &pfn);
	/* Limits are for what devices reach: registers have to work on. */
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
	if (ret && ret != -EAGAIN)
		kviommu_error(unit, "guest memory", gpa, ret);
	return ret;
}

/**
 * kviommu_guest_read() - Read guest memory
 * @unit: The unit
 * @work: The piece of work that this is part of
 * @gpa: Guest physical address
 * @buf: Where to
 * @len: How many bytes
 *
 * Context: process context, under unit->lock and map_lock.
 * Return: 0, or an error of kviommu_pin_get().
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
 * @buf: Where from
 * @len: How many bytes
 *
 * A store of 4 aligned bytes is seen whole, after all earlier stores.
 *
 * Context: process context, under unit->lock and map_lock.
 * Return: 0, or an error of kviommu_pin_get().
 */
int kviommu_guest_write(struct kviommu_unit *unit, const struct kviommu_work *work,
			u64 gpa, const void *buf, unsigned int len)
{
	return guest_rw(unit, work, gpa, (void *)buf, len, true);
}
