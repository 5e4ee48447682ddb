// SPDX-License-Identifier: GPL-2.0-only
/*
 * Do the interfaces between the module's layers hold? The module's own code runs
 * unchanged, on top of the model of the host, with one of two test doubles that exist only
 * in this file:
 *
 * - an IOMMU model without a register page: the guest queues requests and kicks, and its
 *   mappings are a list of intervals. Its translations are shadows. (DOUBLES=MODEL)
 * - a translation back-end that records its calls and returns what a test asks for, used
 *   by the VT-d model. (DOUBLES=XLATE)
 *
 * Prints TAP. A violated assertion (never()) ends the program.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../../../drivers/iommu/kviommu/core/core.h"
#include "../../../drivers/iommu/kviommu/device/device.h"
#include "../../../drivers/iommu/kviommu/mem/mem.h"
#include "../../../drivers/iommu/kviommu/model/model.h"
#include "../../../drivers/iommu/kviommu/run/run.h"
#include "../../../drivers/iommu/kviommu/xlate/xlate.h"
#include "model.h"

#define MODEL	1
#define XLATE	2

#define MAX_REQUESTS	16
#define MAX_MAPS	16
#define NR_DOMAINS	2
#define NR_ENDPOINTS	2

static struct kviommu_unit *unit;

/* A model without a register page */

/* Bytes from I/O virtual address @first to @last, mapped to @gpa and on with @prot */
struct interval {
	u64 first;
	u64 last;
	u64 gpa;
	u8 prot;
};

/**
 * struct kick_domain - A domain of the guest, with its mappings
 * @source: The mappings as a source for shadows
 * @maps: The mapped intervals, which do not overlap
 * @nr: Number of entries used in @maps
 */
struct kick_domain {
	struct kviommu_source source;
	struct interval maps[MAX_MAPS];
	unsigned int nr;
};

enum kick_what { KICK_ATTACH, KICK_MAP, KICK_UNMAP };

/**
 * struct kick_request - A request of the guest
 * @what: The kind of request
 * @endpoint: The endpoint that KICK_ATTACH attaches
 * @domain: Domain-id; -1 in KICK_ATTACH detaches the endpoint
 * @map: The interval that KICK_MAP or KICK_UNMAP is about
 * @begun: The model's state was changed, but the invalidation is not complete
 */
struct kick_request {
	enum kick_what what;
	u32 endpoint;
	int domain;
	struct interval map;
	bool begun;
};

/**
 * struct kick_model - The model
 * @model: The model as the unit knows it
 * @domains: The domains, by domain-id
 * @attached: Domain-id of each endpoint, or -1
 * @queue: Ring of requests
 * @head: Index of the next request to handle, modulo MAX_REQUESTS
 * @tail: Index where the guest puts the next request, modulo MAX_REQUESTS
 * @progress: Progress of the request at @head
 * @faults: Number of faults that were reported to the guest
 */
struct kick_model {
	struct kviommu_model model;
	struct kick_domain domains[NR_DOMAINS];
	int attached[NR_ENDPOINTS];
	struct kick_request queue[MAX_REQUESTS];
	unsigned int head;
	unsigned int tail;
	struct kviommu_progress progress;
	unsigned int faults;
};

static struct kick_model *to_kick(struct kviommu_model *model)
{
	return container_of(model, struct kick_model, model);
}

static int intervals_get_table(const struct kviommu_source *source,
			       struct kviommu_unit *u, const struct kviommu_work *work,
			       u64 addr, const void **table)
{
	*table = source;
	return 0;
}

static void intervals_put_table(const struct kviommu_source *source,
				struct kviommu_unit *u, const struct kviommu_work *work,
				u64 addr)
{
}

/* A leaf if one interval covers the entry, a table if one covers part of it. */
static void intervals_entry(const struct kviommu_source *source, const void *table,
			    unsigned int i, u64 iova, unsigned int level,
			    struct kviommu_entry *e)
{
	const struct kick_domain *d = container_of(source, struct kick_domain, source);
	u64 size = 1ULL << (PAGE_SHIFT + KVIOMMU_ENTRY_BITS * (level - 1)), gpa;
	const struct interval *map;

	*e = (struct kviommu_entry){};
	for (map = d->maps; map < d->maps + d->nr; map++) {
		if (map->last < iova || map->first > iova + size - 1)
			continue;
		gpa = map->gpa + iova - map->first;
		e->leaf = level <= 3 && map->first <= iova &&
			  map->last >= iova + size - 1 && !(gpa & (size - 1));
		e->prot = e->leaf ? map->prot : KVIOMMU_READ | KVIOMMU_WRITE;
		e->addr = e->leaf ? gpa : 0;
		return;
	}
}

static const struct kviommu_source_ops intervals_ops = {
	.get_table = intervals_get_table,
	.put_table = intervals_put_table,
	.entry = intervals_entry,
};

/* Remove what the intervals of a domain have in common with a range. */
static void intervals_unmap(struct kick_domain *d, u64 first, u64 last)
{
	unsigned int i;

	for (i = 0; i < d->nr; i++) {
		struct interval *map = &d->maps[i], rest = *map;

		if (map->last < first || map->first > last)
			continue;
		if (map->last > last) {
			never(d->nr == MAX_MAPS);
			rest.first = last + 1;
			rest.gpa += rest.first - map->first;
			d->maps[d->nr++] = rest;
		}
		if (map->first < first)
			map->last = first - 1;
		else
			d->maps[i--] = d->maps[--d->nr];
	}
}

static void kick_begin(struct kick_model *kick, struct kick_request *r)
{
	struct kick_domain *d;

	if (r->what == KICK_ATTACH) {
		kick->attached[r->endpoint] = r->domain;
	} else {
		d = &kick->domains[r->domain];
		intervals_unmap(d, r->map.first, r->map.last);
		never(d->nr == MAX_MAPS);
		if (r->what == KICK_MAP)
			d->maps[d->nr++] = r->map;
	}
	r->begun = true;
}

static bool kick_pending(struct kviommu_model *model)
{
	return to_kick(model)->head != to_kick(model)->tail;
}

static bool kick_run(struct kviommu_model *model, const struct kviommu_work *work)
{
	struct kick_model *kick = to_kick(model);
	struct kick_request *r = &kick->queue[kick->head % MAX_REQUESTS];
	int ret;

	if (!r->begun)
		kick_begin(kick, r);
	if (r->what == KICK_ATTACH)
		ret = kviommu_rebind(model->unit, work, r->endpoint, 0, &kick->progress);
	else
		ret = kviommu_invalidate(model->unit, work, r->domain, r->map.first,
					 r->map.last, &kick->progress);
	kviommu_invalidate_complete(model->unit, work);
	if (!ret)
		kick->head++;
	return kick_pending(model);
}

static void kick_reset(struct kviommu_model *model)
{
	struct kick_model *kick = to_kick(model);
	unsigned int i;

	kick->head = kick->tail;
	kick->progress = (struct kviommu_progress){};
	for (i = 0; i < NR_DOMAINS; i++)
		kick->domains[i] = (struct kick_domain){
			.source = { .ops = &intervals_ops },
		};
	for (i = 0; i < NR_ENDPOINTS; i++)
		kick->attached[i] = -1;
}

static int kick_resolve(struct kviommu_model *model, const struct kviommu_work *work,
			u32 id, u32 pasid, struct kviommu_binding *b)
{
	struct kick_model *kick = to_kick(model);

	*b = (struct kviommu_binding){ KVIOMMU_BIND_BLOCKED };
	if (id >= NR_ENDPOINTS || kick->attached[id] < 0)
		return 0;
	b->type = KVIOMMU_BIND_DOMAIN;
	b->did = kick->attached[id];
	b->levels = 4;
	b->source = &kick->domains[b->did].source;
	return 0;
}

static void kick_fault(struct kviommu_model *model, u32 id, u64 iova,
		       enum kviommu_fault reason)
{
	never(id >= NR_ENDPOINTS || !reason);
	to_kick(model)->faults++;
}

static void kick_destroy(struct kviommu_model *model)
{
	kfree(to_kick(model));
}

static const struct kviommu_model_ops kick_ops = {
	.pending = kick_pending,
	.run = kick_run,
	.reset = kick_reset,
	.resolve = kick_resolve,
	.fault = kick_fault,
	.destroy = kick_destroy,
};

static struct kviommu_model *kick_create(struct kviommu_unit *u, const void *args)
{
	struct kick_model *kick = kzalloc(sizeof(*kick), GFP_KERNEL_ACCOUNT);

	if (!kick)
		return ERR_PTR(-ENOMEM);
	u->aw_bits = 48;
	kick->model.ops = &kick_ops;
	kick->model.unit = u;
	kick_reset(&kick->model);
	return &kick->model;
}

static const struct kviommu_model_kind kick_kind = { .id = 31, .create = kick_create };

const struct kviommu_model_kind *const kviommu_models[] = {
	&kviommu_vtd, &kick_kind, NULL
};

/* A translation back-end that records its calls */

/* Where the guest of the VT-d model expects the status of its wait descriptors */
#define STATUS		0x4000ULL

enum xlate_call { CREATE = 1, FITS, BUILD, ATTACH, INVALIDATE, COMPLETE, REVOKE, DROP };

/**
 * struct record - A call of the back-end
 * @what: The operation that was called
 * @first: The first argument: an I/O virtual address, guest frame, serial or domain-id
 * @last: The last address or frame, or the root table
 * @may_wait: The piece of work that the call was part of could wait; true if the call has
 *            no such argument
 */
struct record {
	enum xlate_call what;
	u64 first;
	u64 last;
	bool may_wait;
};

static struct record records[64];
static unsigned int nr_records;

/* The next @times calls of @what return @ret, but for the first @skip. */
static struct {
	enum xlate_call what;
	int ret;
	unsigned int times;
	unsigned int skip;
} answer;

/* The first DROP of each translation returns -EAGAIN. */
static bool drop_slowly;

/* What the wait descriptor that is being handled writes as status; 0 if there is none */
static u32 status_due;

static int record_call(enum xlate_call what, const struct kviommu_work *work, u64 first,
		       u64 last)
{
	never(nr_records == ARRAY_SIZE(records));
	records[nr_records++] = (struct record){ what, first, last, !work || work->may_wait };
	if (answer.what != what || !answer.times)
		return 0;
	if (answer.skip) {
		answer.skip--;
		return 0;
	}
	answer.times--;
	return answer.ret;
}

/* Number of calls of an operation since the last clear_records() */
static unsigned int nr_calls(enum xlate_call what)
{
	unsigned int i, n = 0;

	for (i = 0; i < nr_records; i++)
		n += records[i].what == what;
	return n;
}

/* Whether the last call of an operation was for this */
static bool last_call(enum xlate_call what, u64 first, u64 last)
{
	unsigned int i = nr_records;

	while (i && records[i - 1].what != what)
		i--;
	return i && records[i - 1].first == first && records[i - 1].last == last;
}

/* Whether these operations were called in this order, maybe with others in between */
static bool records_in_order(const enum xlate_call *what, unsigned int nr)
{
	unsigned int i, n = 0;

	for (i = 0; i < nr_records && n < nr; i++)
		n += records[i].what == what[n];
	return n == nr;
}

#define called_in_order(...)						\
	records_in_order((const enum xlate_call[]){ __VA_ARGS__ },	\
			 ARRAY_SIZE(((const enum xlate_call[]){ __VA_ARGS__ })))

static void clear_records(void)
{
	nr_records = 0;
}

/* Number of these calls in which the work could not wait */
static unsigned int nr_hasty_calls(enum xlate_call what)
{
	unsigned int i, n = 0;

	for (i = 0; i < nr_records; i++)
		n += records[i].what == what && !records[i].may_wait;
	return n;
}

/**
 * struct recorder - A translation of the recording back-end
 * @xlate: The generic part
 * @dropping: DROP was called
 */
struct recorder {
	struct kviommu_xlate xlate;
	bool dropping;
};

/* The locks under which all operations are called but the three below map_lock */
static void check_locks(void)
{
	never(!unit->lock.held || unit->map_lock.held);
}

static struct kviommu_xlate *recorder_create(struct kviommu_unit *u,
					     struct kviommu_hwgroup *hw,
					     const struct kviommu_binding *b)
{
	struct recorder *recorder;
	int ret = record_call(CREATE, NULL, b->did, b->root);

	check_locks();
	if (ret)
		return ERR_PTR(ret);
	recorder = kzalloc(sizeof(*recorder), GFP_KERNEL_ACCOUNT);
	return recorder ? &recorder->xlate : ERR_PTR(-ENOMEM);
}

static bool recorder_fits(const struct kviommu_xlate *xlate, struct kviommu_hwgroup *hw)
{
	check_locks();
	return !record_call(FITS, NULL, xlate->serial, 0);
}

static int recorder_build(struct kviommu_xlate *xlate, const struct kviommu_work *work)
{
	check_locks();
	never(!work->may_wait);
	return record_call(BUILD, work, xlate->unbuilt.first, xlate->unbuilt.last);
}

static int recorder_attach(struct kviommu_xlate *xlate, struct kviommu_hwgroup *hw)
{
	int ret;

	check_locks();
	ret = kviommu_hwgroup_set_domain(hw, NULL);
	return record_call(ATTACH, NULL, xlate->serial, 0) ?: ret;
}

static int recorder_invalidate(struct kviommu_xlate *xlate,
			       const struct kviommu_work *work,
			       struct kviommu_range *range, bool refresh)
{
	never(!unit->lock.held || !unit->map_lock.held);
	return record_call(INVALIDATE, work, range->first, range->last);
}

static bool recorder_complete(struct kviommu_unit *u, const struct kviommu_work *work)
{
	u32 status;

	never(!unit->lock.held || !unit->map_lock.held);
	/* The guest may go on when it finds the status: it must not be there before this. */
	if (status_due) {
		model_cpu_read(STATUS, &status, sizeof(status));
		never(status == status_due);
	}
	record_call(COMPLETE, work, 0, 0);
	return false;
}

static void recorder_revoke(struct kviommu_unit *u, u64 first, u64 last)
{
	never(!unit->map_lock.held);
	record_call(REVOKE, NULL, first, last);
}

static int recorder_drop(struct kviommu_xlate *xlate, const struct kviommu_work *work)
{
	struct recorder *recorder = container_of(xlate, struct recorder, xlate);
	int ret = record_call(DROP, work, xlate->serial, 0);
	bool first = !recorder->dropping;

	check_locks();
	never(!work->may_wait);
	recorder->dropping = true;
	if (ret || (first && drop_slowly))
		return ret ?: -EAGAIN;
	mutex_lock(&unit->map_lock);
	list_del(&xlate->entry);
	mutex_unlock(&unit->map_lock);
	kfree(recorder);
	return 0;
}

/* Not constant: a test changes what it pins. */
static struct kviommu_xlate_ops recorder_ops = {
	.pins = KVIOMMU_PINS_MAPPED,
	.create = recorder_create,
	.fits = recorder_fits,
	.build = recorder_build,
	.attach = recorder_attach,
	.invalidate = recorder_invalidate,
	.complete = recorder_complete,
	.revoke = recorder_revoke,
	.drop = recorder_drop,
};

const struct kviommu_xlate_ops *const kviommu_backends[KVIOMMU_NR_BINDINGS] = {
	[KVIOMMU_BIND_BLOCKED] = &kviommu_blocked_ops,
	[KVIOMMU_BIND_IDENTITY] = &kviommu_identity_ops,
	[KVIOMMU_BIND_DOMAIN] = (DOUBLES == XLATE) ? &recorder_ops : &kviommu_shadow_ops,
	[KVIOMMU_BIND_NESTED] = &kviommu_nested_ops,
	[KVIOMMU_BIND_TRACKED] = &kviommu_tracked_ops,
};

/* What both doubles need */

/**
 * struct test - A test
 * @name: Its name
 * @run: The test, which has a unit with two devices
 * @begin: Opens the unit; NULL for begin_test()
 */
struct test {
	const char *name;
	void (*run)(void);
	void (*begin)(void);
};

static bool failed;

#define expect(cond)							\
	do {								\
		if (!(cond)) {						\
			printf("# %s:%d: %s\n", __FILE__, __LINE__, #cond); \
			failed = true;					\
		}							\
	} while (0)

/* A thread that is killed on the way leaves the rest to another one. */
static bool was_killed;

static void go_on_if_killed(void)
{
	if (!shim_task.killed)
		return;
	was_killed = true;
	model_revive();
}

static void drain_worker(void)
{
	struct vhost_task *worker = unit->worker;

	do
		go_on_if_killed();
	while (worker->fn(worker->data));
}

static void open_unit(const struct kviommu_model_kind *kind, const void *args)
{
	struct kviommu_create cmd = { .model = kind->id };

	unit = kviommu_unit_alloc();
	model_begin(unit);
	never(kviommu_unit_create(unit, &cmd, kind, args));
	drain_worker();
}

static void close_unit(void)
{
	kviommu_unit_destroy(unit);
	model_end();
}

static int attach_device(int fd, u32 id)
{
	return kviommu_unit_attach(unit, fd, id);
}

static void detach_device(u32 id)
{
	never(kviommu_unit_detach(unit, id));
}

/* The guest of the VT-d model */

#define GCMD		0x18
#define GSTS		0x1c
#define RTADDR		0x20
#define CCMD		0x28
#define FSTS		0x34
#define IQH		0x80
#define IQT		0x88
#define IQA		0x90
#define IOTLB		0xf8
#define TE		BIT(31)
#define SRTP		BIT(30)
#define QIE		BIT(26)
#define ROOT		0x1000ULL
#define CONTEXT		0x2000ULL
#define QUEUE		0x3000ULL
#define TABLES		0x5000ULL

#define CONTEXT_GLOBAL		(1 | 1 << 4)
#define IOTLB_PAGE(did)		(2 | 3 << 4 | (u64)(did) << 16)

static unsigned int queue_tail;

/* A shared thread looks at the registers instead of the writes being trapped. */
static bool polled;

static void put64(u64 gpa, u64 val)
{
	model_cpu_write(gpa, &val, sizeof(val));
}

static u32 reg_read(unsigned int offset)
{
	u32 val;

	memcpy(&val, (u8 *)page_address(unit->pages[0]) + offset, sizeof(val));
	return val;
}

/* The guest writes, and the thread that sees it first does what it can. */
static void reg_store(unsigned int offset, u64 val, unsigned int len)
{
	model_new_batch();
	memcpy((u8 *)page_address(unit->pages[0]) + offset, &val, len);
	if (polled)
		model_pool_run(0, 1);
	else
		unit->kvm.write(&unit->kvm, offset, &val, len);
}

static void reg_write(unsigned int offset, u64 val, unsigned int len)
{
	reg_store(offset, val, len);
	drain_worker();
}

/* Set the guest's context entry of device 0.fn to a domain, or clear it if @did is 0. */
static void put_context(unsigned int fn, u16 did)
{
	put64(CONTEXT + 16 * fn + 8, did << 8 | 2);
	put64(CONTEXT + 16 * fn, did ? TABLES | 1 : 0);
}

static void put_pass_through(unsigned int fn)
{
	put64(CONTEXT + 16 * fn + 8, 2);
	put64(CONTEXT + 16 * fn, 2 << 2 | 1);
}

static void queue_add(u64 lo, u64 hi)
{
	put64(QUEUE + 16 * queue_tail, lo);
	put64(QUEUE + 16 * queue_tail + 8, hi);
	queue_tail = (queue_tail + 1) % 256;
}

/* Submit the queue with a wait descriptor. Return: whether its status was written. */
static bool flush_queue(void)
{
	static u32 data;
	u32 status;

	status_due = ++data;
	queue_add(5 | 1 << 5 | (u64)data << 32, STATUS);
	reg_write(IQT, queue_tail * 16, 4);
	model_cpu_read(STATUS, &status, sizeof(status));
	status_due = 0;
	return status == data;
}

static bool invalidate_context(void)
{
	queue_add(CONTEXT_GLOBAL, 0);
	return flush_queue();
}

/* From here on a shared thread polls, for which queue and status are pinned already. */
static void poll_begin(void)
{
	expect(flush_queue());
	model_pool_set_online(0, true);
	unit->policy.mode = KVIOMMU_MODE_SIDECORE;
	unit->poll_asked = true;
	kviommu_unit_defer(unit);
	drain_worker();
	never(!model_pool_has());
	polled = true;
}

static void poll_end(void)
{
	polled = false;
	model_pool_set_online(0, false);
	drain_worker();
}

static void begin_vtd(void)
{
	struct kviommu_create_vtd vtd = { .aw_bits = 48 };
	struct kviommu_vtd_info info = {};

	kviommu_vtd.get_info(&info);
	vtd.cap = info.out_cap;
	vtd.ecap = info.out_ecap;
	open_unit(&kviommu_vtd, &vtd);
	never(kviommu_unit_arm(unit, 0xfed90000));
	never(attach_device(0, 0) || attach_device(1, 1));
	queue_tail = 0;
	put64(ROOT, CONTEXT | 1);
	put_context(0, 0);
	put_context(1, 0);
	reg_write(RTADDR, ROOT, 8);
	reg_write(GCMD, SRTP, 4);
	reg_write(IQA, QUEUE, 8);
	reg_write(GCMD, QIE, 4);
	was_killed = false;
}

static void enable_translation(void)
{
	put_context(0, 7);
	reg_write(GCMD, TE | QIE, 4);
	expect(reg_read(GSTS) & TE);
}

#define HOUR	3600000UL	/* in jiffies of the shim */

/* Do one step; @more: whether it should leave work. */
static void do_step(bool more)
{
	mutex_lock(&unit->lock);
	expect(kviommu_step(unit) == more);
	kviommu_unlock(unit);
}

/* How much work took longer than the latencies that are told apart */
static u64 slow_work(void)
{
	return unit->stats.latency[KVIOMMU_LATENCY_BUCKETS - 1];
}

#if DOUBLES == MODEL

/* The guest queues a request and kicks, and the worker handles it. */
static void submit_request(struct kick_request r)
{
	struct kick_model *kick = to_kick(unit->model);

	model_new_batch();
	kick->queue[kick->tail++ % MAX_REQUESTS] = r;
	kviommu_unit_defer(unit);
	drain_worker();
	expect(!kick_pending(unit->model));
}

static void attach_endpoint(u32 endpoint, int domain)
{
	submit_request((struct kick_request){ KICK_ATTACH, endpoint, domain });
}

static void guest_map(int domain, u64 iova, u64 size, u64 gpa, u8 prot)
{
	submit_request((struct kick_request){
		KICK_MAP, 0, domain, { iova, iova + size - 1, gpa, prot }
	});
}

static void guest_unmap(int domain, u64 iova, u64 size)
{
	submit_request((struct kick_request){
		KICK_UNMAP, 0, domain, { iova, iova + size - 1 }
	});
}

/* The host frame that device @d reaches at @iova with @prot, or 0 */
static u64 device_pfn(unsigned int d, u64 iova, unsigned int prot)
{
	struct iommu_domain *domain = model_domain(d);
	struct model_piece piece;

	if (!domain || !model_translate(domain, iova, &piece) || piece.prot != prot)
		return 0;
	return piece.pfn + ((iova - piece.iova) >> PAGE_SHIFT);
}

static u64 pfn_of(u64 gpa)
{
	unsigned int prot;
	u64 pfn;

	return model_ioas_lookup(gpa >> PAGE_SHIFT, &pfn, &prot) ? pfn : 0;
}

#define RW	(KVIOMMU_READ | KVIOMMU_WRITE)
#define IOVA	0x40000000ULL
#define LARGE	(model_areas[AREA_CONTIGUOUS].gfn << PAGE_SHIFT)
#define SCATTERED	(model_areas[AREA_SCATTERED].gfn << PAGE_SHIFT)

static void begin_test(void)
{
	open_unit(&kick_kind, NULL);
	never(attach_device(0, 0) || attach_device(1, 1));
}

static void test_no_page(void)
{
	expect(!unit->nr_pages);
	expect(kviommu_unit_arm(unit, 0xfed90000) == -ENXIO);
	/* Without a page the unit is not polled. */
	model_pool_set_online(0, true);
	model_self_open = true;
	unit->poll_asked = true;
	kviommu_unit_defer(unit);
	drain_worker();
	expect(!unit->polled && !model_pool_has());
	expect(!kviommu_unit_reset(unit));
}

static void test_map_unmap(void)
{
	guest_map(0, IOVA, PAGE_SIZE, LARGE, RW);
	expect(!model_pinned());
	attach_endpoint(0, 0);
	expect(model_path(0) == PATH_DOMAIN && device_pfn(0, IOVA, RW) == pfn_of(LARGE));
	expect(model_path(1) == PATH_BLOCKED);
	guest_map(0, IOVA + PAGE_SIZE, 2 * PAGE_SIZE, LARGE + 0x10000, KVIOMMU_READ);
	expect(device_pfn(0, IOVA + 2 * PAGE_SIZE, IOMMU_READ) == pfn_of(LARGE + 0x11000));
	guest_unmap(0, IOVA, 2 * PAGE_SIZE);
	model_check_quiet();
	expect(!device_pfn(0, IOVA, RW) && !device_pfn(0, IOVA + PAGE_SIZE, IOMMU_READ));
	expect(device_pfn(0, IOVA + 2 * PAGE_SIZE, IOMMU_READ));
	expect(model_mapped() == 1);
	attach_endpoint(0, -1);
	expect(model_path(0) == PATH_BLOCKED && !model_mapped());
}

/* Unmapping part of a large page may unmap the rest, which is mapped again at once. */
static bool large_page_split(struct iommu_domain *domain, u64 iova, u64 size)
{
	return size == SZ_2M;
}

/* One interval becomes a large page of the host, part of which can be unmapped. */
static void test_large(void)
{
	struct model_piece piece;

	attach_endpoint(0, 0);
	guest_map(0, IOVA, SZ_2M, LARGE, RW);
	expect(model_translate(model_domain(0), IOVA + 0x1000, &piece) &&
	       piece.size == SZ_2M);
	model_excuse = large_page_split;
	guest_unmap(0, IOVA + 0x7000, PAGE_SIZE);
	model_excuse = NULL;
	expect(!device_pfn(0, IOVA + 0x7000, RW));
	expect(device_pfn(0, IOVA + 0x6000, RW) == pfn_of(LARGE + 0x6000));
	expect(device_pfn(0, IOVA + 0x8000, RW) == pfn_of(LARGE + 0x8000));
	expect(model_mapped() == 511);
}

/* The devices are behind different physical IOMMUs: one domain has two shadows. */
static void test_shared(void)
{
	attach_endpoint(0, 1);
	attach_endpoint(1, 1);
	guest_map(1, IOVA, PAGE_SIZE, LARGE, RW);
	expect(device_pfn(0, IOVA, RW) && device_pfn(0, IOVA, RW) == device_pfn(1, IOVA, RW));
	expect(model_mapped() == 2 && model_pinned() == 1);
	detach_device(0);
	expect(model_mapped() == 1 && device_pfn(1, IOVA, RW));
}

static void test_revoked(void)
{
	attach_endpoint(0, 0);
	guest_map(0, IOVA, 4 * PAGE_SIZE, LARGE, RW);
	model_unchecked = true;
	model_ioas_unmap(AREA_CONTIGUOUS);
	expect(!model_pinned() && !model_mapped());
	model_ioas_map(AREA_CONTIGUOUS, 0, RW);
	never(kviommu_unit_refresh(unit));
	model_unchecked = false;
	expect(device_pfn(0, IOVA, RW) == pfn_of(LARGE) && model_mapped() == 4);
}

/* Memory that cannot be pinned is reported to the guest as a fault of the model. */
static void test_fault(void)
{
	struct kick_model *kick = to_kick(unit->model);

	attach_endpoint(0, 0);
	guest_map(0, IOVA, PAGE_SIZE, LARGE, RW);
	unit->policy.max_pins = unit->pins.pinned;
	guest_map(0, IOVA + PAGE_SIZE, PAGE_SIZE, LARGE + 0x5000, RW);
	expect(kick->faults == 1 && !device_pfn(0, IOVA + PAGE_SIZE, RW));
	/* An address without memory is no fault: it may be a register of a device. */
	unit->policy.max_pins = U64_MAX;
	guest_map(0, IOVA + 2 * PAGE_SIZE, PAGE_SIZE, 1ULL << 45, RW);
	expect(kick->faults == 1);
}

static void test_reset(void)
{
	attach_endpoint(0, 0);
	guest_map(0, IOVA, SZ_2M, LARGE, RW);
	never(kviommu_unit_reset(unit));
	expect(model_path(0) == PATH_BLOCKED && !model_mapped() && !model_pinned());
}

/* The guest's tables with the level that has @iova in each, the last in TABLES + 0x3000 */
#define PTE(iova)	(TABLES + 0x3000 + ((iova) >> 12 & 511) * 8)
#define PDE(iova)	(TABLES + 0x2000 + ((iova) >> 21 & 511) * 8)

static void put_tables(void)
{
	put64(TABLES + (IOVA >> 39 & 511) * 8, (TABLES + 0x1000) | RW);
	put64(TABLES + 0x1000 + (IOVA >> 30 & 511) * 8, (TABLES + 0x2000) | RW);
	put64(PDE(IOVA), (TABLES + 0x3000) | RW);
	put64(PTE(IOVA), LARGE | RW);
}

static bool invalidate_page(u64 iova)
{
	queue_add(IOTLB_PAGE(7), iova);
	return flush_queue();
}

/* A guest that uses all that a thread may be killed in */
static void busy_guest(void)
{
	put_tables();
	enable_translation();
	expect(device_pfn(0, IOVA, RW) == pfn_of(LARGE));
	put64(PTE(IOVA), (LARGE + 0x5000) | RW);
	expect(invalidate_page(IOVA) && device_pfn(0, IOVA, RW) == pfn_of(LARGE + 0x5000));
	/* The table becomes a large leaf, which becomes a table that says the same. */
	put64(PDE(IOVA), LARGE | 1 << 7 | RW);
	expect(invalidate_page(IOVA) && device_pfn(0, IOVA, RW) == pfn_of(LARGE));
	model_cpu_fill((TABLES + 0x4000) >> PAGE_SHIFT, LARGE | RW, PAGE_SIZE);
	put64(PDE(IOVA), (TABLES + 0x4000) | RW);
	expect(invalidate_page(IOVA) && device_pfn(0, IOVA + 0x5000, RW) == pfn_of(LARGE + 0x5000));
	/* All of the leaf is replaced, also what the guest does not invalidate. */
	put64(TABLES + 0x5000 + 8 * 3, SCATTERED | RW);
	put64(TABLES + 0x5000 + 8 * 300, (SCATTERED + 0x9000) | RW);
	put64(PDE(IOVA), (TABLES + 0x5000) | RW);
	expect(invalidate_page(IOVA));
	expect(device_pfn(0, IOVA + 3 * PAGE_SIZE, RW) == pfn_of(SCATTERED));
	expect(device_pfn(0, IOVA + 300 * PAGE_SIZE, RW) == pfn_of(SCATTERED + 0x9000));
	expect(model_mapped() == 2);
	put_pass_through(0);
	expect(invalidate_context() && model_path(0) == PATH_IOAS);
	put_context(0, 7);
	expect(invalidate_context());
	expect(device_pfn(0, IOVA + 3 * PAGE_SIZE, RW) == pfn_of(SCATTERED));
}

/* Wherever a thread is killed, the next one goes on, and the guest sees no error. */
static void test_killed(void)
{
	unsigned long n;

	for (n = 1;; n++) {
		model_kill_after(n);
		busy_guest();
		expect(!unit->stats.errors && !reg_read(FSTS));
		if (failed)
			printf("# killed after %lu\n", n);
		if (failed || !was_killed)
			break;
		close_unit();
		begin_vtd();
	}
}

/* A device that cannot be attached, as the thread is killed, gets back what it had. */
static void test_killed_in_attach(void)
{
	put_tables();
	enable_translation();
	/* Pins the queue, so that the attach is the first to notice. */
	expect(flush_queue());
	put_pass_through(0);
	queue_add(CONTEXT_GLOBAL, 0);
	model_kill_after(1);
	reg_store(IQT, queue_tail * 16, 4);
	expect(shim_task.killed);
	expect(model_path(0) == PATH_DOMAIN && device_pfn(0, IOVA, RW) == pfn_of(LARGE));
	drain_worker();
	expect(model_path(0) == PATH_IOAS && !unit->stats.errors);
}

/* A reset drops what is left of the guest's work, and the time at which that began. */
static void test_reset_while_busy(void)
{
	struct kick_model *kick = to_kick(unit->model);

	kick->tail += 2;
	do_step(true);
	never(kviommu_unit_reset(unit));
	jiffies += HOUR;
	guest_map(0, IOVA, PAGE_SIZE, LARGE, RW);
	expect(unit->stats.latency[0] == 1 && !slow_work());
}

static const struct test tests[] = {
	{ "model.no_page", test_no_page },
	{ "model.map_unmap", test_map_unmap },
	{ "model.large", test_large },
	{ "model.shared", test_shared },
	{ "model.revoked", test_revoked },
	{ "model.fault", test_fault },
	{ "model.reset", test_reset },
	{ "model.reset_while_busy", test_reset_while_busy },
	/* The VT-d model: its tables are in guest memory, which has to be pinned. */
	{ "vtd.killed", test_killed, begin_vtd },
	{ "vtd.killed_in_attach", test_killed_in_attach, begin_vtd },
};

#else

static void begin_test(void)
{
	begin_vtd();
	clear_records();
	answer.times = 0;
	drop_slowly = false;
	recorder_ops.pins = KVIOMMU_PINS_MAPPED;
}

static void test_enable(void)
{
	enable_translation();
	expect(called_in_order(CREATE, BUILD, ATTACH));
	expect(nr_calls(CREATE) == 1 && records[0].first == 7 && records[0].last == TABLES);
	expect(nr_calls(BUILD) == 1 && nr_calls(ATTACH) == 1);
}

/*
 * A page is invalidated, then the batch is completed, and then the status is written, which
 * recorder_complete() checks.
 */
static void test_invalidate(void)
{
	if (!polled)
		enable_translation();
	clear_records();
	queue_add(IOTLB_PAGE(7), 0x123000 | 1);
	expect(flush_queue());
	expect(nr_calls(INVALIDATE) == 1 && called_in_order(INVALIDATE, COMPLETE));
	expect(records[0].first == 0x122000 && records[0].last == 0x123fff);
	expect(nr_hasty_calls(INVALIDATE) == polled && nr_hasty_calls(COMPLETE) == polled);
	/* An invalidation of another domain */
	clear_records();
	queue_add(IOTLB_PAGE(8), 0x123000);
	expect(flush_queue() && !nr_calls(INVALIDATE));
}

/*
 * Work that does not fit into one step goes on in the next, while the guest waits. What a
 * shared thread leaves goes on in the worker, which may wait.
 */
static void test_again(void)
{
	if (!polled) {
		answer = (typeof(answer)){ BUILD, -EAGAIN, 3 };
		enable_translation();
		expect(nr_calls(BUILD) == 4 && nr_calls(CREATE) == 1 && nr_calls(ATTACH) == 1);
	}
	clear_records();
	answer = (typeof(answer)){ INVALIDATE, -EAGAIN, 2 };
	queue_add(IOTLB_PAGE(7), 0x123000);
	expect(flush_queue() && nr_calls(INVALIDATE) == 3);
	expect(nr_hasty_calls(INVALIDATE) == polled && records[0].may_wait == !polled);
	clear_records();
	answer = (typeof(answer)){ DROP, -EAGAIN, 2 };
	put_context(0, 0);
	expect(invalidate_context() && nr_calls(DROP) == 3);
}

static void test_invalidate_polled(void)
{
	enable_translation();
	poll_begin();
	test_invalidate();
	poll_end();
}

/* A shared thread notices that its time is up, also where there is nothing to do. */
static void test_budget(void)
{
	unsigned int i;

	enable_translation();
	poll_begin();
	for (i = 0; i < 100; i++)
		queue_add(IOTLB_PAGE(9), 0x123000);
	shim_ns_step = NSEC_PER_MSEC / 5;
	reg_store(IQT, queue_tail * 16, 4);
	i = reg_read(IQT) - reg_read(IQH);
	expect(i > 50 * 16);
	shim_ns_step = 0;
	drain_worker();
	expect(reg_read(IQH) == queue_tail * 16);
	poll_end();
}

static void test_again_polled(void)
{
	enable_translation();
	poll_begin();
	test_again();
	poll_end();
}

/*
 * A translation to which no group can be attached is tried once for each request, however
 * many steps it takes to get rid of it.
 */
static void test_attach_fails(void)
{
	answer = (typeof(answer)){ ATTACH, -EBUSY, UINT_MAX };
	drop_slowly = true;
	enable_translation();
	expect(nr_calls(CREATE) == 1 && nr_calls(ATTACH) == 1 && nr_calls(DROP) == 2);
	clear_records();
	expect(invalidate_context());
	expect(nr_calls(CREATE) == 1 && nr_calls(ATTACH) == 1 && nr_calls(DROP) == 2);
	clear_records();
	never(kviommu_unit_refresh(unit));
	expect(nr_calls(CREATE) == 1 && nr_calls(ATTACH) == 1 && nr_calls(DROP) == 2);
	/* Without the queue, by a register */
	reg_write(GCMD, TE, 4);
	clear_records();
	reg_write(CCMD, 5ULL << 61, 8);
	expect(!(reg_read(CCMD + 4) >> 31));
	expect(nr_calls(CREATE) == 1 && nr_calls(ATTACH) == 1 && nr_calls(DROP) == 2);
	clear_records();
	never(kviommu_unit_reset(unit));
	expect(!nr_calls(CREATE) && !nr_calls(ATTACH));
}

/* Have the worker do what is due in an hour. */
static void an_hour_later(void)
{
	jiffies += HOUR;
	shim_timer_expire(&unit->timer);
	drain_worker();
}

static bool attached(void)
{
	struct kviommu_group *group = list_first_entry(&unit->groups, struct kviommu_group, entry);

	return group->xlate->binding.type == KVIOMMU_BIND_DOMAIN && !group->error;
}

/*
 * While a device is being reset it cannot be attached: that is tried again, some times, and
 * counted once.
 */
static void test_attach_busy(void)
{
	u64 errors = unit->stats.errors;
	unsigned int i;

	answer = (typeof(answer)){ ATTACH, -EBUSY, 2 };
	enable_translation();
	expect(nr_calls(ATTACH) == 1 && !attached());
	drain_worker();
	expect(nr_calls(ATTACH) == 1);
	an_hour_later();
	expect(nr_calls(ATTACH) == 2 && !attached());
	expect(unit->stats.errors == errors + 1);
	an_hour_later();
	expect(nr_calls(ATTACH) == 3 && attached());
	an_hour_later();
	expect(nr_calls(ATTACH) == 3);
	/* In the end it is given up. */
	clear_records();
	answer = (typeof(answer)){ ATTACH, -EBUSY, UINT_MAX };
	put_context(1, 7);
	expect(invalidate_context());
	for (i = 0; i < 30; i++)
		an_hour_later();
	expect(nr_calls(ATTACH) > 5 && nr_calls(ATTACH) < 20);
	expect(unit->stats.errors == errors + 2);
	never(unit->timer.pending);
}

/* The same of the IOAS, to which iommufd fails to attach only after it has pinned much */
static void test_identity_fails(void)
{
	u64 errors = unit->stats.errors;

	enable_translation();
	drop_slowly = true;
	model_ioas_full = true;
	clear_records();
	put_pass_through(0);
	expect(invalidate_context() && nr_calls(DROP) == 2);
	expect(unit->stats.errors == errors + 1 && model_path(0) == PATH_BLOCKED);
	model_ioas_full = false;
	expect(invalidate_context() && model_path(0) == PATH_IOAS);
}

/* The guest submits what is queued, and one step is done of it, which is not all. */
static void submit_half(void)
{
	u32 tail = queue_tail * 16;

	answer = (typeof(answer)){ INVALIDATE, -EAGAIN, 1 };
	mutex_lock(&unit->lock);
	unit->model->page_ops->write(unit->model, IQT, &tail, sizeof(tail));
	kviommu_unlock(unit);
	do_step(true);
	expect(nr_calls(INVALIDATE) == 1 && records[0].first == 0x123000);
}

/*
 * The guest replaces what is half done: what was begun is completed, as its progress is of no
 * use for anything else. But after the queue was off the guest means what is there.
 */
static void test_replaced(void)
{
	put_context(1, 8);
	enable_translation();
	clear_records();
	queue_add(IOTLB_PAGE(8), 0x123000);
	submit_half();
	/* A domain that this is beyond */
	put64(QUEUE + 16 * (queue_tail - 1), IOTLB_PAGE(7));
	kviommu_unit_defer(unit);
	drain_worker();
	expect(nr_calls(INVALIDATE) == 2 && reg_read(IQH) == queue_tail * 16);

	clear_records();
	queue_add(IOTLB_PAGE(7), 0x123000);
	submit_half();
	reg_store(GCMD, TE, 4);
	reg_store(IQT, 0, 4);
	reg_store(GCMD, TE | QIE, 4);
	queue_tail = 0;
	queue_add(IOTLB_PAGE(7), 0x456000);
	expect(flush_queue() && nr_calls(INVALIDATE) == 2);
	expect(last_call(INVALIDATE, 0x456000, 0x456fff));
}

/* A request by register that replaces one is done from its beginning, for both domains. */
static void test_replaced_register(void)
{
	u64 iotlb = 1ULL << 63 | 1ULL << 60;	/* IVT, global */

	put_context(1, 8);
	enable_translation();
	reg_write(GCMD, TE, 4);
	clear_records();
	answer = (typeof(answer)){ INVALIDATE, -EAGAIN, 1, .skip = 1 };
	mutex_lock(&unit->lock);
	unit->model->page_ops->write(unit->model, IOTLB, &iotlb, sizeof(iotlb));
	kviommu_unlock(unit);
	do_step(true);
	expect(nr_calls(INVALIDATE) == 2);
	reg_write(IOTLB, iotlb, 8);
	expect(nr_calls(INVALIDATE) == 4 && !(reg_read(IOTLB + 4) >> 31));
}

/* A request that comes while another one is being done is not taken for that one. */
static void test_disable_meanwhile(void)
{
	answer = (typeof(answer)){ BUILD, -EAGAIN, UINT_MAX };
	put_context(0, 7);
	/* The vCPU's time is up after one step. */
	shim_jiffies_step = 100;
	reg_store(GCMD, TE | QIE, 4);
	expect(nr_calls(BUILD) == 1 && !(reg_read(GSTS) & TE));
	reg_store(GCMD, QIE, 4);
	answer.times = 0;
	drain_worker();
	expect(!nr_calls(ATTACH) && nr_calls(DROP) == 1 && !(reg_read(GSTS) & TE));
}

/* The guest disables the queue with work left: what comes an hour later did not take it. */
static void test_withdrawn(void)
{
	enable_translation();
	clear_records();
	queue_add(IOTLB_PAGE(7), 0x123000);
	submit_half();
	expect(unit->busy_since);
	reg_write(GCMD, TE, 4);
	jiffies += HOUR;
	reg_write(IQT, 0, 4);
	reg_write(GCMD, TE | QIE, 4);
	queue_tail = 0;
	queue_add(IOTLB_PAGE(7), 0x123000);
	expect(flush_queue() && !slow_work());
}

/* A second device of a domain shares its translation, if that fits and is not refused. */
static void test_shared(void)
{
	enable_translation();
	clear_records();
	put_context(1, 7);
	expect(invalidate_context() && called_in_order(FITS, ATTACH) && !nr_calls(CREATE));
	clear_records();
	put_context(0, 0);
	expect(invalidate_context() && !nr_calls(DROP));
	put_context(1, 0);
	expect(invalidate_context() && nr_calls(DROP) == 1);
}

static void test_refused(void)
{
	enable_translation();
	clear_records();
	answer = (typeof(answer)){ ATTACH, -EINVAL, 1 };
	put_context(1, 7);
	expect(invalidate_context() && called_in_order(FITS, ATTACH, CREATE, BUILD, ATTACH));
	/* The translation is not tried again for that physical IOMMU. */
	put_context(1, 0);
	expect(invalidate_context());
	clear_records();
	put_context(1, 7);
	expect(invalidate_context() && !nr_calls(FITS) && called_in_order(CREATE, BUILD, ATTACH));
}

static void test_does_not_fit(void)
{
	enable_translation();
	clear_records();
	answer = (typeof(answer)){ FITS, 1, 1 };
	put_context(1, 7);
	expect(invalidate_context() && called_in_order(FITS, CREATE, BUILD, ATTACH));
	expect(nr_calls(ATTACH) == 1);
}

/* An error blocks the device, and is counted. */
static void test_error(void)
{
	u64 errors = unit->stats.errors;

	answer = (typeof(answer)){ CREATE, -EDQUOT, 1 };
	enable_translation();
	expect(nr_calls(CREATE) == 1 && !nr_calls(ATTACH) && model_path(0) == PATH_BLOCKED);
	expect(unit->stats.errors == errors + 1 && unit->stats.limits == 1);
	never(kviommu_unit_refresh(unit));
	expect(nr_calls(CREATE) == 2 && nr_calls(ATTACH) == 1);
}

/*
 * revoke() is called for memory that leaves the IOAS if some of its pins are in use, and
 * always if the back-end may use memory that it has not pinned through the cache.
 */
static void test_revoke(void)
{
	u64 gfn = model_areas[AREA_LOW].gfn, pfn;

	enable_translation();
	mutex_lock(&unit->map_lock);
	never(kviommu_pin_get(unit, &kviommu_work_whole, gfn, KVIOMMU_READ, &pfn));
	mutex_unlock(&unit->map_lock);
	clear_records();
	kviommu_revoke(unit, gfn + 1, gfn + 2);
	expect(!nr_calls(REVOKE));
	kviommu_revoke(unit, gfn, gfn + 2);
	expect(nr_calls(REVOKE) == 1 && records[0].first == gfn &&
	       records[0].last == gfn + 2);
	clear_records();
	recorder_ops.pins = KVIOMMU_PINS_ALL;
	kviommu_revoke(unit, gfn + 1, gfn + 2);
	expect(nr_calls(REVOKE) == 1 && records[0].first == gfn + 1);
	mutex_lock(&unit->map_lock);
	kviommu_pin_put(unit, &kviommu_work_whole, gfn);
	mutex_unlock(&unit->map_lock);
}

/* KVIOMMU_CREATE fails twice: after root has written a file in sysfs, and then earlier. */
static void test_create_again(void)
{
	struct kviommu_create_vtd vtd = { .aw_bits = 48 };
	struct kviommu_create cmd = { .model = KVIOMMU_MODEL_VTD };

	close_unit();
	unit = kviommu_unit_alloc();
	model_begin(unit);
	model_sysfs_fails = true;
	expect(kviommu_unit_create(unit, &cmd, &kviommu_vtd, &vtd) == -ENOMEM);
	model_sysfs_fails = false;
	/* It may also have been stopped before it did what it was woken for. */
	unit->deferred = true;
	cmd.kvm_fd = -1;
	expect(kviommu_unit_create(unit, &cmd, &kviommu_vtd, &vtd) == -EBADF);
	cmd.kvm_fd = 0;
	never(kviommu_unit_create(unit, &cmd, &kviommu_vtd, &vtd));
	drain_worker();
	/* What root set did not survive the failure. */
	expect(unit->policy.mode == KVIOMMU_MODE_ADAPTIVE);
}

/*
 * Second stages, which are the module's own: devices 0, 2 and 3 are behind two physical IOMMUs
 * of one kind, device 1 behind one of another kind.
 */

#define NESTED_ECAP	(BIT_ULL(43) | BIT_ULL(47))
#define MEMORY		(LOW_GFNS - 0x20 + HUGE_GFNS + 1)
#define LOW_GFNS	0x800	/* of which 0x20 are not for reading and writing */
#define HUGE_GFNS	0x433

static void begin_nested(void)
{
	struct kviommu_create_vtd vtd = { .aw_bits = 48, .ecap = NESTED_ECAP };

	model_nest[0].wanted = true;
	model_nest[1].wanted = true;
	open_unit(&kviommu_vtd, &vtd);
}

static unsigned int nr_parents(void)
{
	struct list_head *entry;
	unsigned int n = 0;

	for (entry = unit->nested.parents.next; entry != &unit->nested.parents; entry = entry->next)
		n++;
	return n;
}

/* IOMMUs of one kind have one second stage, which has memory pinned once. */
static void test_one_kind(void)
{
	never(attach_device(0, 0));
	expect(nr_parents() == 1 && unit->nested.pinned == MEMORY);
	never(attach_device(2, 2));
	expect(nr_parents() == 1 && unit->nested.pinned == MEMORY);
	never(attach_device(1, 1));
	expect(nr_parents() == 2 && unit->nested.pinned == 2 * MEMORY);
	/* It stays as long as one of the devices does. */
	detach_device(0);
	never(kviommu_unit_reset(unit));
	expect(nr_parents() == 2 && unit->nested.pinned == 2 * MEMORY);
	detach_device(2);
	never(kviommu_unit_reset(unit));
	expect(nr_parents() == 1 && unit->nested.pinned == MEMORY);
}

/* Another thread has begun KVIOMMU_REFRESH, and finds memory that cannot be mapped. */
static void begin_refresh(unsigned int kind)
{
	model_ioas_unmap(AREA_LOW);
	model_ioas_map(AREA_LOW, 0, KVIOMMU_READ | KVIOMMU_WRITE);
	kviommu_backends_refill(unit);
	model_map_error[kind] = -ENOMEM;
}

/* What cannot be mapped for the IOMMU of one device is no matter for another one. */
static void test_other_fill_fails(void)
{
	never(attach_device(1, 1));
	begin_refresh(1);
	expect(!attach_device(0, 0));
	expect(unit->stats.devices == 2 && unit->nested.pinned > MEMORY);
	model_map_error[1] = 0;
	never(kviommu_unit_refresh(unit));
	expect(unit->nested.pinned == 2 * MEMORY);
}

static void replace_device(void)
{
	detach_device(7);
	never(attach_device(2, 7));
	begin_refresh(0);
}

/* While a device waits for memory another one takes its place, and what fails is not about it. */
static void test_fill_replaced(void)
{
	model_unlocked_resched = replace_device;
	expect(!attach_device(0, 7));
	expect(!model_unlocked_resched && unit->stats.devices == 1);
	model_map_error[0] = 0;
	never(kviommu_unit_refresh(unit));
	expect(unit->nested.pinned == MEMORY);
}

/* CREATE and GET_INFO say that memory lacks, not that the host cannot nest. */
static void test_no_memory_to_look(void)
{
	struct kviommu_create_vtd vtd = { .aw_bits = 48, .ecap = NESTED_ECAP };
	struct kviommu_create cmd = { .model = KVIOMMU_MODEL_VTD };
	struct kviommu_vtd_info info;

	close_unit();
	unit = kviommu_unit_alloc();
	model_begin(unit);
	model_nest[0].wanted = true;
	model_nest_starved = true;
	expect(kviommu_vtd.get_info(&info) == -ENOMEM);
	expect(kviommu_unit_create(unit, &cmd, &kviommu_vtd, &vtd) == -ENOMEM);
	model_nest_starved = false;
	expect(!kviommu_vtd.get_info(&info) && (info.out_ecap & NESTED_ECAP) == NESTED_ECAP);
	never(kviommu_unit_create(unit, &cmd, &kviommu_vtd, &vtd));
}

/* What only one kind of IOMMU can is not offered. */
static void test_common(void)
{
	const u64 cap = BIT_ULL(56) | BIT_ULL(60), ecap = BIT_ULL(7) | BIT_ULL(48);
	struct kviommu_create_vtd vtd = { .aw_bits = 48, .cap = cap, .ecap = NESTED_ECAP | ecap };
	struct kviommu_create cmd = { .model = KVIOMMU_MODEL_VTD };
	struct kviommu_vtd_info info;
	unsigned int i;

	close_unit();
	unit = kviommu_unit_alloc();
	model_begin(unit);
	for (i = 0; i < 2; i++)
		model_nest[i] = (struct kviommu_nest){ true, true, true, true, true };
	never(kviommu_vtd.get_info(&info));
	expect((info.out_cap & cap) == cap && (info.out_ecap & ecap) == ecap);
	model_nest[0] = (struct kviommu_nest){ true, true, false, true, false };
	model_nest[1] = (struct kviommu_nest){ true, false, true, true, true };
	never(kviommu_vtd.get_info(&info));
	expect(!(info.out_cap & cap) && (info.out_ecap & ecap) == BIT_ULL(48));
	expect(kviommu_unit_create(unit, &cmd, &kviommu_vtd, &vtd) == -EOPNOTSUPP);
	vtd.cap = 0;
	vtd.ecap = NESTED_ECAP;
	never(kviommu_unit_create(unit, &cmd, &kviommu_vtd, &vtd));
	/* A guest that is promised less can do with more, also of the coherent walk. */
	expect(!attach_device(0, 0) && !attach_device(1, 1));
	/* Another IOMMU may turn out to be lesser. */
	model_nest[0].wanted = false;
	expect(attach_device(2, 2) == -EMEDIUMTYPE);
}

static unsigned long refresh_pins(void)
{
	unsigned long before = model_range_pins;

	never(kviommu_unit_refresh(unit));
	return model_range_pins - before;
}

/*
 * In a hole of the IOAS memory is looked for in pieces, and what is found is taken to its
 * first and its last frame. Near the begin of a slot each frame is looked at.
 */
static void test_hole(void)
{
	unsigned long hole;
	unsigned int area;

	never(attach_device(0, 0));
	hole = refresh_pins();
	/* All frames of one block, at the begin of the slot and behind the other parts of memory */
	expect(hole < 63 * MODEL_ODD_NR / 512 + 4 * 1024);
	model_ioas_map(AREA_FEW, 0, KVIOMMU_READ | KVIOMMU_WRITE);
	refresh_pins();
	expect(unit->nested.pinned == MEMORY + model_areas[AREA_FEW].nr);
	model_ioas_map(AREA_ODD, 0, KVIOMMU_READ | KVIOMMU_WRITE);
	refresh_pins();
	expect(unit->nested.pinned == MEMORY + model_areas[AREA_FEW].nr + model_areas[AREA_ODD].nr);
	model_ioas_unmap(AREA_FEW);
	model_ioas_unmap(AREA_ODD);
	expect(unit->nested.pinned == MEMORY);
	/* The same at the very begin */
	for (area = AREA_TABLES; area <= AREA_REST; area++)
		model_ioas_unmap(area);
	expect(refresh_pins() < hole + 1024 + 3 * 63);
}

static const struct test tests[] = {
	{ "nested.one_kind", test_one_kind, begin_nested },
	{ "nested.other_fill_fails", test_other_fill_fails, begin_nested },
	{ "nested.fill_replaced", test_fill_replaced, begin_nested },
	{ "nested.no_memory_to_look", test_no_memory_to_look, begin_nested },
	{ "nested.common", test_common, begin_nested },
	{ "nested.hole", test_hole, begin_nested },
	{ "xlate.enable", test_enable },
	{ "xlate.invalidate", test_invalidate },
	{ "xlate.again", test_again },
	{ "xlate.invalidate_polled", test_invalidate_polled },
	{ "xlate.again_polled", test_again_polled },
	{ "xlate.budget", test_budget },
	{ "xlate.attach_fails", test_attach_fails },
	{ "xlate.attach_busy", test_attach_busy },
	{ "xlate.identity_fails", test_identity_fails },
	{ "xlate.replaced", test_replaced },
	{ "xlate.replaced_register", test_replaced_register },
	{ "xlate.disable_meanwhile", test_disable_meanwhile },
	{ "xlate.withdrawn", test_withdrawn },
	{ "xlate.shared", test_shared },
	{ "xlate.refused", test_refused },
	{ "xlate.does_not_fit", test_does_not_fit },
	{ "xlate.error", test_error },
	{ "xlate.revoke", test_revoke },
	{ "xlate.create_again", test_create_again },
};

#endif

int main(void)
{
	unsigned int i, bad = 0;

	printf("TAP version 13\n1..%zu\n", ARRAY_SIZE(tests));
	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		failed = false;
		if (tests[i].begin)
			tests[i].begin();
		else
			begin_test();
		tests[i].run();
		close_unit();
		bad += failed;
		printf("%sok %u - doubles.%s\n", failed ? "not " : "", i + 1,
		       tests[i].name);
	}
	return bad ? 1 : 0;
}
