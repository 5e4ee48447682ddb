// SPDX-License-Identifier: GPL-2.0-only
/*
 * Shadow domains: one for each guest domain that devices use (and each kind
 * of physical IOMMU), and the flush that ends every change of them.
 */
#include <linux/atomic.h>
#include <linux/iommu.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "kviommu.h"
#include "trace.h"

/* Unmap much, then flush once: so the driver must not flush by itself. */
static void gather_init(struct kviommu_domain *domain)
{
	iommu_iotlb_gather_init(&domain->gather);
	domain->gather.queued = true;
	domain->dirty = false;
}

/**
 * kviommu_unit_flush() - Flush what was unmapped, then release its pins
 * @unit: The unit
 *
 * When this returns no device reaches what was unmapped before.
 *
 * Context: under map_lock, may sleep.
 */
void kviommu_unit_flush(struct kviommu_unit *unit)
{
	struct kviommu_domain *domain;
	unsigned int i;

	lockdep_assert_held(&unit->map_lock);

	if (!unit->dirty && !unit->nr_release)
		return;
	list_for_each_entry(domain, &unit->domains, entry) {
		if (!domain->dirty)
			continue;
		iommu_iotlb_sync(domain->hw, &domain->gather);
		gather_init(domain);
		kviommu_count(unit, syncs, 1);
	}
	for (i = 0; i < unit->nr_release; i++)
		kviommu_pin_put_range(unit, unit->release[i].gfn,
				      unit->release[i].nr);
	WRITE_ONCE(unit->nr_release, 0);
	unit->frames = 0;
	kviommu_stale_flushed(unit);
	/* Pairs with the acquire in kviommu_flush(). */
	smp_store_release(&unit->dirty, false);
}

/**
 * kviommu_domain_release() - Release pins after the next flush
 * @domain: The domain that they were unmapped from
 * @gfn: First guest frame number
 * @nr: How many frames
 *
 * Context: under map_lock, may sleep; flushes if too much waits already.
 */
void kviommu_domain_release(struct kviommu_domain *domain, u64 gfn, u64 nr)
{
	struct kviommu_unit *unit = domain->unit;
	struct kviommu_release *r = unit->release + unit->nr_release;

	unit->frames += nr;
	if (unit->nr_release && r[-1].gfn + r[-1].nr == gfn) {
		r[-1].nr += nr;
	} else {
		r->gfn = gfn;
		r->nr = nr;
		WRITE_ONCE(unit->nr_release, unit->nr_release + 1);
	}
	if (unit->nr_release == KVIOMMU_RELEASE_BATCH ||
	    unit->frames >= KVIOMMU_RELEASE_FRAMES)
		kviommu_unit_flush(unit);
}

/**
 * kviommu_domain_count_tables() - Account for a table of the host's domain
 * @domain: The domain
 * @iova: An address that it translates
 * @level: Level of its entries
 *
 * The host's driver keeps a table, once made, even if it is empty: mostly for the
 * life of its domain, or until all that it translates is unmapped by one call.
 * Without a limit a guest that wanders through its addresses would collect them. The
 * few that kviommu_vfio_domain_splits() may leave are not counted.
 *
 * Context: under map_lock, may sleep.
 * Return: 0, -EDQUOT, -ENOMEM, or -EAGAIN if that is for the worker.
 */
int kviommu_domain_count_tables(struct kviommu_domain *domain, u64 iova,
				unsigned int level)
{
	struct kviommu_unit *unit = domain->unit;
	unsigned long index = (iova >> (PAGE_SHIFT + 9 * level)) |
			      (unsigned long)level << 56;
	int ret;

	if (xa_load(&domain->hw_tables, index))
		return 0;
	if (unit->in_poller)
		return -EAGAIN;
	if (unit->stats.out_iommu_tables >= unit->policy.max_tables)
		return -EDQUOT;
	ret = xa_err(xa_store(&domain->hw_tables, index, xa_mk_value(1),
			      KVIOMMU_GFP));
	if (ret)
		return ret;
	domain->nr_hw_tables++;
	kviommu_count(unit, iommu_tables, 1);
	return 0;
}

/**
 * kviommu_domain_reserved() - Say whether the host reserves a range of addresses
 * @domain: The domain
 * @first: First I/O virtual address, that of a page
 * @last: Last one, inclusive
 *
 * Context: any.
 * Return: 0; -EPERM if all of it is for interrupts, which no table translates
 * anyway; -ERANGE if all of it is reserved otherwise; 1 if a part of it is, which
 * a page is never.
 */
int kviommu_domain_reserved(const struct kviommu_domain *domain, u64 first,
			    u64 last)
{
	const struct kviommu_reserved *r = &domain->reserved;
	int ret = 0;
	unsigned int i;

	for (i = 0; i < r->nr; i++) {
		if (first >= r->range[i].first && last <= r->range[i].last)
			return r->range[i].msi ? -EPERM : -ERANGE;
		if (first <= r->range[i].last && last >= r->range[i].first)
			ret = 1;
	}
	return ret;
}

/* In pieces, unless @whole: as kviommu_merge_drop(). */
static int domain_destroy(struct kviommu_domain *domain, bool whole)
{
	struct kviommu_unit *unit = domain->unit;
	int ret;

	mutex_lock(&unit->map_lock);
	ret = kviommu_merge_drop(domain, whole);
	kviommu_unit_flush(unit);
	if (ret) {
		mutex_unlock(&unit->map_lock);
		return ret;
	}
	list_del(&domain->entry);
	iommu_domain_free(domain->hw);
	xa_destroy(&domain->hw_tables);
	kviommu_count(unit, iommu_tables, -domain->nr_hw_tables);
	kviommu_count(unit, domains, -1);
	mutex_unlock(&unit->map_lock);
	kfree(domain);
	return 0;
}

/* An empty one, to be built. */
static struct kviommu_domain *domain_create(struct kviommu_device *dev,
					    const struct kviommu_binding *b)
{
	struct kviommu_unit *unit = dev->unit;
	struct kviommu_domain *domain;
	int ret;

	if (unit->stats.out_domains >= unit->policy.max_domains)
		return ERR_PTR(-EDQUOT);
	domain = kzalloc_obj(*domain, KVIOMMU_GFP);
	if (!domain)
		return ERR_PTR(-ENOMEM);
	domain->unit = unit;
	domain->did = b->did;
	domain->pgtbl = b->pgtbl;
	domain->levels = b->levels;
	domain->reserved = dev->group->hw.reserved;
	domain->hw = kviommu_vfio_alloc_domain(&dev->host);
	if (IS_ERR(domain->hw)) {
		ret = PTR_ERR(domain->hw);
		kfree(domain);
		return ERR_PTR(ret);
	}
	domain->coherent = kviommu_vfio_enforces_coherency(&dev->host);
	domain->splits = kviommu_vfio_domain_splits(domain->hw);
	xa_init_flags(&domain->hw_tables, XA_FLAGS_ACCOUNT);
	gather_init(domain);
	domain->unbuilt.last = U64_MAX;
	domain->building = true;
	domain->users = 1;

	mutex_lock(&unit->map_lock);
	domain->serial = ++unit->serial;
	list_add_tail(&domain->entry, &unit->domains);
	kviommu_count(unit, domains, 1);
	mutex_unlock(&unit->map_lock);
	return domain;
}

/* Whole before a device uses it: nothing has to fault. */
static int domain_build(struct kviommu_domain *domain)
{
	struct kviommu_unit *unit = domain->unit;
	int ret;

	if (!domain->building)
		return 0;
	mutex_lock(&unit->map_lock);
	ret = kviommu_merge(domain, &domain->unbuilt, true);
	kviommu_unit_flush(unit);
	mutex_unlock(&unit->map_lock);
	domain->building = ret;
	return ret;
}

static bool domain_is(const struct kviommu_domain *domain,
		      const struct kviommu_binding *b)
{
	return domain->did == b->did && domain->pgtbl == b->pgtbl &&
	       domain->levels == b->levels;
}

/*
 * It was tried in vain, and what the group is to go through is not there yet: so it
 * goes on with what it had, if that can be.
 */
static void attach_bound(struct kviommu_group *group)
{
	int ret = 0;

	if (group->bound.type == KVIOMMU_BIND_DOMAIN)
		ret = kviommu_hwgroup_set_domain(&group->hw, group->domain->hw);
	else if (group->bound.type == KVIOMMU_BIND_IDENTITY)
		ret = kviommu_hwgroup_set_ioas(&group->hw,
					       group->unit->access.ioas_id);
	if (!ret)
		return;
	if (group->domain)
		kviommu_domain_put(group->domain);
	group->domain = NULL;
	group->bound = (struct kviommu_binding){ KVIOMMU_BIND_BLOCKED };
}

/* Attach the group to a shadow that there is. */
static struct kviommu_domain *attach_existing(struct kviommu_group *group,
					      struct kviommu_device *dev,
					      const struct kviommu_binding *b,
					      bool *refused)
{
	const void *iommu = kviommu_vfio_iommu(&dev->host);
	struct kviommu_domain *domain;
	int ret;

	/* Domains come and go under both locks. */
	list_for_each_entry(domain, &group->unit->domains, entry) {
		if (!domain->users || domain->building || !domain_is(domain, b) ||
		    domain->refused_by == iommu ||
		    domain->coherent != kviommu_vfio_enforces_coherency(&dev->host) ||
		    memcmp(&domain->reserved, &group->hw.reserved,
			   sizeof(domain->reserved)))
			continue;
		ret = kviommu_hwgroup_set_domain(&group->hw, domain->hw);
		if (!ret) {
			domain->users++;
			return domain;
		}
		/* -EINVAL: it is of another physical IOMMU. */
		if (ret != -EINVAL)
			return ERR_PTR(ret);
		domain->refused_by = iommu;
		*refused = true;
	}
	return NULL;
}

/* Make one for the group, which goes on with the old one until it is whole. */
static struct kviommu_domain *attach_new(struct kviommu_group *group,
					 struct kviommu_device *dev,
					 const struct kviommu_binding *b)
{
	struct kviommu_domain *domain = group->next;
	int ret;

	if (domain && !domain_is(domain, b)) {
		group->next = NULL;
		kviommu_domain_put(domain);
		domain = NULL;
	}
	if (!domain) {
		/* What is on its way out is not to count against the limits. */
		ret = kviommu_domain_reap(group->unit, false);
		if (ret)
			return ERR_PTR(ret);
		domain = domain_create(dev, b);
		if (IS_ERR(domain))
			return domain;
		group->next = domain;
	}
	ret = domain_build(domain);
	if (!ret)
		ret = kviommu_hwgroup_set_domain(&group->hw, domain->hw);
	if (ret)
		return ERR_PTR(ret);
	group->next = NULL;
	return domain;
}

/**
 * kviommu_domain_attach() - Let a group translate through a guest domain
 * @group: The group
 * @b: The guest domain
 *
 * Uses the shadow that there is, or makes one.
 *
 * Context: under unit->lock, not under map_lock.
 * Return: the domain, to be given to kviommu_domain_put(), or an error of
 * kviommu_vfio_alloc_domain() or kviommu_hwgroup_set_domain(), -EDQUOT or
 * -ENOMEM. -EAGAIN when the time for this step is up and -EINTR if a fatal
 * signal is pending: the group is what it was, and this is to be called again.
 */
struct kviommu_domain *kviommu_domain_attach(struct kviommu_group *group,
					     const struct kviommu_binding *b)
{
	struct kviommu_device *dev = list_first_entry(&group->devices,
						      struct kviommu_device,
						      group_entry);
	struct kviommu_domain *domain;
	bool refused = false;

	lockdep_assert_held(&group->unit->lock);

	domain = attach_existing(group, dev, b, &refused);
	if (domain)
		return domain;
	domain = attach_new(group, dev, b);
	if (refused && (domain == ERR_PTR(-EAGAIN) || domain == ERR_PTR(-EINTR)))
		attach_bound(group);
	return domain;
}

/**
 * kviommu_domain_put() - A group translates through a domain no longer
 * @domain: The domain that kviommu_domain_attach() gave
 *
 * Context: under unit->lock. After the last one kviommu_domain_reap() has to
 * follow.
 */
void kviommu_domain_put(struct kviommu_domain *domain)
{
	domain->users--;
}

/**
 * kviommu_domain_reap() - Free the domains that nothing goes through any more
 * @unit: The unit
 * @all: Do not stop before the end
 *
 * Context: under unit->lock, not under map_lock.
 * Return: 0, or unless @all -EAGAIN or -EINTR, as kviommu_merge().
 */
int kviommu_domain_reap(struct kviommu_unit *unit, bool all)
{
	struct kviommu_domain *domain, *next;
	int ret;

	list_for_each_entry_safe(domain, next, &unit->domains, entry) {
		if (domain->users)
			continue;
		ret = domain_destroy(domain, all);
		if (ret)
			return ret;
	}
	return 0;
}

static int invalidate(struct kviommu_unit *unit, int did, u64 first, u64 last,
		      bool refresh, struct kviommu_progress *p)
{
	struct kviommu_domain *domain;
	struct kviommu_range range;
	int ret;

	lockdep_assert_held(&unit->lock);

	list_for_each_entry(domain, &unit->domains, entry) {
		if ((did >= 0 && domain->did != did) || !domain->users ||
		    domain->serial < p->serial)
			continue;
		range.first = domain->serial == p->serial ? p->first : first;
		range.last = domain->serial == p->serial ? p->last : last;
		kviommu_map_lock(unit);
		ret = kviommu_merge(domain, &range, refresh);
		kviommu_map_unlock(unit);
		if (ret) {
			*p = (struct kviommu_progress){ domain->serial,
							range.first, range.last };
			return ret;
		}
		if (kviommu_time_up(unit)) {
			*p = (struct kviommu_progress){ domain->serial + 1,
							first, last };
			return -EAGAIN;
		}
	}
	*p = (struct kviommu_progress){};
	return 0;
}

/**
 * kviommu_invalidate() - The guest says that it changed its tables
 * @unit: The unit
 * @did: Of domains with this domain-id, or of all if negative
 * @first: First I/O virtual address of the change
 * @last: Last one, inclusive
 * @p: How far it has come
 *
 * Old translations may live on until kviommu_flush().
 *
 * Context: process context, under unit->lock.
 * Return: 0; -EAGAIN when the time for this step is up, to be called again in
 * the next one; -EINTR if a fatal signal is pending.
 */
int kviommu_invalidate(struct kviommu_unit *unit, int did, u64 first,
		       u64 last, struct kviommu_progress *p)
{
	return invalidate(unit, did, first, last, false, p);
}

/**
 * kviommu_flush() - End a batch of kviommu_invalidate()
 * @unit: The unit
 *
 * When this returns no device reaches memory through an old translation, or for
 * no longer than the strategy of the unit allows.
 *
 * Context: process context, under unit->lock.
 */
void kviommu_flush(struct kviommu_unit *unit)
{
	/*
	 * What was unmapped under unit->lock is not seen as flushed too early; what
	 * others take down meanwhile is theirs to flush.
	 */
	if (!smp_load_acquire(&unit->dirty) && !READ_ONCE(unit->nr_release) &&
	    !READ_ONCE(unit->stale.kept))
		return;
	kviommu_map_lock(unit);
	kviommu_stale_flush(unit);
	kviommu_map_unlock(unit);
}

/**
 * kviommu_refresh() - Try all again that could not be translated
 * @unit: The unit
 * @p: How far it has come
 *
 * Context: process context, under unit->lock.
 * Return: as kviommu_invalidate().
 */
int kviommu_refresh(struct kviommu_unit *unit, struct kviommu_progress *p)
{
	int ret = invalidate(unit, -1, 0, U64_MAX, true, p);

	kviommu_flush(unit);
	return ret;
}

/**
 * kviommu_revoke() - Let go of a range of guest memory
 * @unit: The unit
 * @first: First guest frame number
 * @last: Last guest frame number, inclusive
 *
 * When this returns no frame of the range is pinned.
 *
 * Context: process context; the IOAS's locks may be held.
 */
void kviommu_revoke(struct kviommu_unit *unit, u64 first, u64 last)
{
	struct kviommu_domain *domain;

	mutex_lock(&unit->map_lock);
	if (kviommu_pin_revoke(unit, first, last)) {
		list_for_each_entry(domain, &unit->domains, entry)
			kviommu_merge_revoke(domain, first, last);
		kviommu_unit_flush(unit);
		kviommu_pin_revoke(unit, first, last);
	}
	mutex_unlock(&unit->map_lock);
}
