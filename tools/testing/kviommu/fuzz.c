// SPDX-License-Identifier: GPL-2.0-only
/*
 * A fuzzer for what a guest and its VMM can do to a unit. The input is a sequence of
 * actions. After some of them the guest invalidates everything, and then devices must
 * reach exactly the memory that the reference translator says.
 */
#include <stdlib.h>

#include "../../../drivers/iommu/kviommu/core/core.h"
#include "../../../drivers/iommu/kviommu/device/device.h"
#include "../../../drivers/iommu/kviommu/model/model.h"
#include "../../../drivers/iommu/kviommu/run/run.h"
#include "../../../drivers/iommu/kviommu/xlate/nested/nested.h"
#include "../../../drivers/iommu/kviommu/xlate/shadow/shadow.h"
#include "model.h"
#include "reference.h"

/* Frames that the guest of the test uses, all in AREA_TABLES */
#define GFN_ROOT	0x20
#define GFN_CONTEXT	0x21	/* of bus 0, then of bus 1, of which scalable mode has two */
#define GFN_QUEUE	0x28	/* up to 8 frames */
#define GFN_STATUS	0x30
#define GFN_CHECK_QUEUE	0x31
#define GFN_CHECK_STATUS 0x32
#define GFN_DIRECTORY	0x34	/* PASID directories, one for each device */
#define GFN_PASID	0x38	/* PASID tables, one for each device */

#define REG_VER		0x00
#define REG_CAP		0x08
#define REG_ECAP	0x10
#define REG_GCMD	0x18
#define REG_GSTS	0x1c
#define REG_RTADDR	0x20
#define REG_CCMD	0x28
#define REG_FSTS	0x34
#define REG_FECTL	0x38
#define REG_IQH		0x80
#define REG_IQT		0x88
#define REG_IQA		0x90
#define REG_ICS		0x9c
#define REG_IECTL	0xa0
#define REG_IVA		0xf0
#define REG_IOTLB	0xf8
#define REG_FRCD	0x220
#define REG_END		0x300

#define TE		BIT(31)
#define SRTP		BIT(30)
#define QIE		BIT(26)
#define IQE		BIT(4)

#define SL_RW		3ULL
#define SL_PS		BIT_ULL(7)

/* First-stage entries: present, writable, for users; large */
#define FS_PWU		7ULL
#define FS_PS		BIT_ULL(7)

/* RTADDR, scalable mode; IQA, descriptors of 256 bits */
#define TTM_SCALABLE	BIT_ULL(10)
#define DW		BIT_ULL(11)

/* CAP and ECAP of units with scalable mode */
#define CAP_FS1GP	BIT_ULL(56)
#define CAP_FS5LP	BIT_ULL(60)
#define ECAP_PT		BIT_ULL(6)
#define ECAP_SC		BIT_ULL(7)
#define ECAP_PSS	GENMASK_ULL(39, 35)
#define ECAP_PASID	BIT_ULL(40)
#define ECAP_SMTS	BIT_ULL(43)
#define ECAP_FSTS	BIT_ULL(47)
#define ECAP_SMPWCS	BIT_ULL(48)

#define MAX_TABLES	64

static const u16 sids[MODEL_DEVICES] = { 0x0008, 0x0009, 0x0108, 0x0190 };

static struct {
	const u8 *next;
	const u8 *end;
} in;

/* State of the test, and what the unit's state has to be */
static struct {
	struct kviommu_unit *unit;
	u8 *page;
	struct ref_unit ref;
	/* The expected RTADDR, GSTS.RTPS and GSTS.QIES, and IQA as QIE latched it */
	u64 rtaddr;
	bool rtps;
	bool qie;
	u64 iqa;
	u64 cap;
	u64 ecap;
	/* Writes to the register page are trapped. */
	bool armed;
	/* Bit 0: writes to IQT are polled; bit 1: others may hold map_lock meanwhile. */
	u8 polled;
	/* The source-id of a device, or -1 */
	int attached[MODEL_DEVICES];
	/* The IOAS or a limit changed, or something failed, since the last refresh. */
	bool stale;
	/* limits_hit() at the last check */
	u64 limits;
	/* The last argument of set_policy() */
	u8 strategy;
	/* At which unlock of map_lock from now on which area is unmapped; 0: never */
	unsigned int unlock_in;
	unsigned int unlock_area;
	/* Status data of the last check's wait descriptor */
	u32 sequence;
	/*
	 * The descriptors of the queue up to @head are known to be done. Those behind it were
	 * submitted when there had been @submitted requests of devices, or later.
	 */
	u64 head;
	u64 submitted;
	/* A status was written where tables may be. */
	bool scribbled;
	/* Number of guest domains after the last action */
	u64 domains;
} t;

/* Input */

static u8 get8(void)
{
	return in.next < in.end ? *in.next++ : 0;
}

static u64 get64(void)
{
	u64 val = 0;
	int i;

	for (i = 0; i < 64; i += 8)
		val |= (u64)get8() << i;
	return val;
}

/* Indices near both ends of a table are the likely ones. */
static unsigned int pick_index(void)
{
	u8 b = get8();

	if (b < 0xa0)
		return b & 7;
	if (b < 0xe0)
		return 511 - (b & 7);
	return (get8() << 1 | (b & 1)) & 511;
}

static u64 pick_iova(void)
{
	u64 iova = 0;
	int level;

	for (level = 0; level < (t.ref.max_levels > 4 ? 5 : 4); level++)
		iova |= (u64)pick_index() << (12 + 9 * level);
	return iova;
}

/* A frame for a table: usually one of a few frames in AREA_TABLES. */
static u64 pick_table(void)
{
	static const u64 others[] = {
		0x200, 0x201, 0x600, 0x610, 0x900, 0x40000, 0xfffffffffULL, 3,
	};
	u8 b = get8();

	return b < 0xe0 ? b & 15 : others[b & 7];
}

static u64 pick_frame(void)
{
	static const u64 bases[] = { 0x40, 0x200, 0x400, 0x5fc, 0x60e, 0x7fe };
	u8 b = get8();

	return bases[(b >> 5) % ARRAY_SIZE(bases)] + (b & 31);
}

static u64 pick_huge(void)
{
	static const u64 addrs[] = {
		0x200000, 0x400000, 0x600000, 0x40000000, 0x40200000, 0,
		0x800000, 0x7fe00000,
	};

	return addrs[get8() & 7];
}

static u64 pick_rights(void)
{
	u8 b = get8();

	return b < 0xc0 ? SL_RW : b & SL_RW;
}

static u64 pick_entry(void)
{
	u8 b = get8();

	switch (b & 15) {
	case 0:
		return 0;
	case 1 ... 5:
		return pick_table() << PAGE_SHIFT | pick_rights();
	case 6 ... 9:
		return pick_frame() << PAGE_SHIFT | pick_rights();
	case 10 ... 11:
		return pick_huge() | SL_PS | pick_rights();
	case 12:
		return 0x40000000ULL * (b >> 4 & 3) | SL_PS | pick_rights();
	case 13:
		return get64();
	case 14:
		return (pick_table() << PAGE_SHIFT | SL_RW) ^ BIT_ULL(get8() & 63);
	default:
		return (pick_frame() << PAGE_SHIFT | SL_RW) ^ BIT_ULL(get8() & 63);
	}
}

/* Guest memory */

/* Entries must not point to the memory that checks write to: it would be a table. */
static void cpu_write64(u64 gpa, u64 val)
{
	u64 gfn = (val & GENMASK_ULL(51, 12)) >> PAGE_SHIFT;

	if (gfn == GFN_CHECK_QUEUE || gfn == GFN_CHECK_STATUS)
		val ^= 0xf000;
	model_cpu_write(gpa, &val, sizeof(val));
}

static void cpu_write128(u64 gpa, u64 lo, u64 hi)
{
	cpu_write64(gpa, lo);
	cpu_write64(gpa + 8, hi);
}

bool ref_read64(uint64_t gpa, uint64_t *val)
{
	u64 v;

	if (!model_ioas_read64(gpa, &v))
		return false;
	*val = v;
	return true;
}

/* Registers */

static u32 reg32(unsigned int offset)
{
	u32 val;

	memcpy(&val, t.page + offset, sizeof(val));
	return val;
}

static u64 reg64(unsigned int offset)
{
	return reg32(offset) | (u64)reg32(offset + 4) << 32;
}

/* What the hardware reads of first-stage tables: memory that devices may read and write */
bool ref_walk64(uint64_t gpa, uint64_t *val)
{
	unsigned int prot;
	u64 pfn;

	return model_in_slot(gpa >> PAGE_SHIFT) &&
	       model_ioas_lookup(gpa >> PAGE_SHIFT, &pfn, &prot) &&
	       prot == (KVIOMMU_READ | KVIOMMU_WRITE) && ref_read64(gpa, val);
}

/* The queue, as it was when it was turned on */

static u64 queue_base(void)
{
	return t.iqa & ~0xfffULL;
}

static u64 queue_size(void)
{
	return 4096ULL << (t.iqa & 7);
}

static unsigned int desc_size(void)
{
	return t.ref.wide ? 32 : 16;
}

static u64 desc_next(u64 at)
{
	return (at + desc_size()) & (queue_size() - 1);
}

static void desc_read(u64 at, struct ref_descriptor *d)
{
	memset(d, 0, sizeof(*d));
	model_cpu_read(queue_base() + at, d->word, desc_size());
}

/* What the guest invalidates must be gone from the physical IOMMU when it has its status. */
static void desc_done(const struct ref_descriptor *d)
{
	struct ref_inval inval = ref_inval(d);
	struct kviommu_xlate *xlate;

	list_for_each_entry(xlate, &t.unit->xlates, entry)
		if (xlate->binding.type == KVIOMMU_BIND_NESTED &&
		    (inval.all || xlate->binding.did == inval.did))
			model_condemn(container_of(xlate, struct kviommu_nested, xlate)->hw,
				      inval.pasid, inval.first, inval.last, inval.leaves,
				      t.submitted);
}

/* The unit has moved the head: take note of the descriptors before it. */
static void queue_follow(void)
{
	u64 head = reg64(REG_IQH);
	struct ref_descriptor d;
	unsigned int n;

	if (!t.armed || !t.ref.scalable)
		return;
	for (n = 0; t.head != head && n < queue_size() / desc_size(); n++) {
		desc_read(t.head, &d);
		desc_done(&d);
		t.head = desc_next(t.head);
	}
	t.head = head;
}

/*
 * The unit is about to write a status. All that the guest has invalidated before the wait
 * descriptor must be gone; after it nothing of that is left to be looked for.
 */
static void queue_wait_done(u64 gpa, u32 data)
{
	u64 at = t.head, tail = reg64(REG_IQT);
	struct ref_descriptor d;
	unsigned int n;

	/* While the page is not armed it shows what the guest likes. */
	for (n = 0; t.armed && at != tail && n < queue_size() / desc_size(); n++) {
		desc_read(at, &d);
		at = desc_next(at);
		desc_done(&d);
		if ((d.word[0] & 0x2f) != 0x25)
			continue;
		/* It may have been overwritten by the status before. */
		if ((d.word[1] & (BIT_ULL(48) - 1)) != gpa || d.word[0] >> 32 != data)
			break;
		model_check_condemned();
		return;
	}
	model_pardon();
}

/* The unit writes nothing to guest memory but the status of a wait descriptor. */
int __wrap_kviommu_guest_write(struct kviommu_unit *unit, const struct kviommu_work *work,
			       u64 gpa, const void *buf, unsigned int len)
{
	int ret;

	/* No cache holds unmapped translations, or no more than the policy allows. */
	if (t.unit->policy.strategy == KVIOMMU_STRATEGY_STRICT) {
		model_check_quiet();
		never(t.unit->shadows.stale.kept);
	} else {
		model_check_hidden();
	}
	never(model_unflushed() + t.unit->shadows.stale.kept > t.unit->policy.max_stale);
	/* Without stale translations no time is kept since when there are some. */
	never(t.unit->shadows.stale.since && !t.unit->shadows.dirty &&
	      !t.unit->shadows.nr_release && !t.unit->shadows.stale.kept);
	if (t.ref.scalable)
		queue_wait_done(gpa, *(const u32 *)buf);
	t.scribbled |= gpa >> PAGE_SHIFT != GFN_STATUS &&
		       gpa >> PAGE_SHIFT != GFN_CHECK_STATUS;
	ret = __real_kviommu_guest_write(unit, work, gpa, buf, len);
	model_new_batch();
	return ret;
}

/*
 * The guest removed the translation in an earlier batch: it may be taken down and then
 * mapped again within this one.
 */
bool __wrap_kviommu_shadow_end_stale(struct kviommu_shadow *shadow,
				     const struct kviommu_work *work, u64 iova, u32 tag)
{
	bool ret;

	model_unchecked = true;
	ret = __real_kviommu_shadow_end_stale(shadow, work, iova, tag);
	model_unchecked = false;
	return ret;
}

static void ref_write32(unsigned int offset, u32 val)
{
	switch (offset) {
	case REG_RTADDR:
		t.rtaddr = (t.rtaddr & ~0xffffffffULL) | (val & ~0x3ffU);
		break;
	case REG_RTADDR + 4:
		t.rtaddr = (t.rtaddr & 0xffffffff) | (u64)val << 32;
		break;
	}
}

static void ref_gcmd(u32 val)
{
	if (val & SRTP) {
		t.ref.rtaddr = t.rtaddr;
		t.rtps = true;
	}
	if (val & QIE && !t.qie) {
		t.iqa = reg64(REG_IQA);
		t.ref.wide = t.ref.scalable && t.iqa & DW;
		t.head = 0;
		t.submitted = model_requests();
	}
	t.qie = val & QIE;
	t.ref.te = val & TE;
}

/* Offsets without a register read as 0. */
static void check_reserved(void)
{
	static const u16 ranges[][2] = {
		{ 0x04, 0x08 }, { 0x30, 0x34 }, { 0x48, 0x80 },
		{ 0x98, 0x9c }, { 0xb0, 0xf0 }, { 0x100, 0x220 },
		{ 0x2a0, PAGE_SIZE },
	};
	static const u8 zeroes[PAGE_SIZE];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ranges); i++)
		never(memcmp(t.page + ranges[i][0], zeroes,
			     ranges[i][1] - ranges[i][0]));
}

/* What must hold for the registers at any time */
static void check_registers(void)
{
	/* Work that takes long goes on in the worker. */
	bool busy = t.unit->deferred || shim_task.killed;
	u32 fsts = reg32(REG_FSTS), gsts = reg32(REG_GSTS), ectl;
	bool pending = false;
	unsigned int i, j;
	u64 frcd;

	never(reg32(REG_VER) != 0x10);
	never(reg64(REG_CAP) != t.cap || reg64(REG_ECAP) != t.ecap);
	/* It is marked while the unit is polled, which a worker that is killed does not end. */
	never(reg32(REG_GCMD) && !shim_task.killed);
	never((gsts & ~TE) != ((t.rtps ? SRTP : 0) | (t.qie ? QIE : 0)));
	never(!busy && !(gsts & TE) == t.ref.te);
	never(reg64(REG_RTADDR) != t.rtaddr);
	never(!busy && (reg64(REG_CCMD) | reg64(REG_IOTLB)) >> 63);
	never(fsts & ~0xff13U);
	for (i = 0; i < 8; i++) {
		frcd = reg64(REG_FRCD + 16 * i + 8);
		pending |= frcd >> 63;
		/* A requester has at most one record. */
		for (j = 0; j < i && frcd >> 63; j++)
			never((frcd ^ reg64(REG_FRCD + 16 * j + 8)) << 48 == 0 &&
			      reg64(REG_FRCD + 16 * j + 8) >> 63);
	}
	never(!!(fsts & 2) != pending);
	never((fsts >> 8) > 7);
	never(reg32(REG_ICS) & ~1U);
	for (i = REG_FECTL; i <= REG_IECTL; i += REG_IECTL - REG_FECTL) {
		ectl = reg32(i);
		never(ectl & ~(3U << 30));
		/* An event is only pending while it is masked. */
		never(ectl == 1U << 30);
	}
	never(reg64(REG_IQH) & ~0x7fff0ULL);
	never(t.qie && t.ref.wide && reg64(REG_IQH) & 0x10);
	never(reg64(REG_IQT) & ~0x7fff0ULL);
	/* Bits of IQA that are reserved */
	never(reg64(REG_IQA) & (t.ref.scalable ? 0x7f8 : 0xff8));
	check_reserved();
}

/* The faults that a unit has recorded */

/**
 * struct faults - What was wrong with the entries of each device
 * @fault: Reason, or 0
 * @quiet: It was not to be reported.
 */
struct faults {
	u8 fault[MODEL_DEVICES];
	bool quiet[MODEL_DEVICES];
};

static struct faults take_faults(void)
{
	struct kviommu_device *dev;
	struct faults f = {};
	unsigned int d;

	list_for_each_entry(dev, &t.unit->devices, entry)
		for (d = 0; d < MODEL_DEVICES; d++)
			if (t.attached[d] == dev->source_id) {
				f.fault[d] = dev->wanted.fault;
				f.quiet[d] = dev->wanted.quiet;
			}
	return f;
}

static bool has_record(u16 sid)
{
	unsigned int i;

	for (i = 0; i < 8; i++)
		if (reg64(REG_FRCD + 16 * i + 8) >> 63 &&
		    (reg64(REG_FRCD + 16 * i + 8) & 0xffff) == sid)
			return true;
	return false;
}

/* What was found to be wrong with a device's entries is recorded, if it is something new. */
static void check_recorded(const struct faults *before, const struct faults *now)
{
	unsigned int d;

	for (d = 0; d < MODEL_DEVICES; d++)
		if (now->fault[d] && !now->quiet[d] &&
		    (now->fault[d] != before->fault[d] || before->quiet[d]))
			never(!has_record(t.attached[d]) && !(reg32(REG_FSTS) & 1));
}

/* The unit says of each device what is wrong. */
static void check_faults(void)
{
	struct faults now = take_faults();
	struct ref_context ctx;
	unsigned int d;

	for (d = 0; d < MODEL_DEVICES; d++) {
		if (t.attached[d] < 0)
			continue;
		ctx = ref_context(&t.ref, t.attached[d], 0);
		never(now.fault[d] != ctx.fault);
		never(now.fault[d] && now.quiet[d] != ctx.quiet);
	}
}

/**
 * struct records - The fault recording registers, and what may change them
 * @hi: Their upper halves
 * @faults: What is wrong with each device
 * @failed: Number of calls that were made to fail
 */
struct records {
	u64 hi[8];
	struct faults faults;
	unsigned int failed;
};

static struct records take_records(void)
{
	struct records r = { .faults = take_faults(), .failed = shim_fail.failed };
	unsigned int i;

	for (i = 0; i < 8; i++)
		r.hi[i] = reg64(REG_FRCD + 16 * i + 8);
	t.scribbled = false;
	return r;
}

/*
 * A new record about entries that lead to tables must be what the reference says of these
 * entries now. Reason 3 may also be about a table.
 */
static void check_records(const struct records *before)
{
	struct faults now = take_faults();
	struct ref_context ctx;
	unsigned int i, d;
	u64 hi;

	/* While the unit is polled records are not shown. */
	if (shim_task.killed)
		return;
	check_recorded(&before->faults, &now);
	if (t.scribbled || before->failed != shim_fail.failed || t.unlock_in)
		return;
	for (i = 0; i < 8; i++) {
		hi = reg64(REG_FRCD + 16 * i + 8);
		if (!(hi >> 63) || before->hi[i] >> 63 || (hi >> 32 & 0xff) < 8 ||
		    (hi >> 32 & 0xff) == 0xc)
			continue;
		for (d = 0; d < MODEL_DEVICES && t.attached[d] != (hi & 0xffff); d++)
			;
		never(d == MODEL_DEVICES);
		ctx = ref_context(&t.ref, hi, hi >> 31 & 1 ? hi >> 40 & 0xfffff : 0);
		never(ctx.fault != (hi >> 32 & 0xff));
		never(ctx.quiet);
		/* A read, of no address */
		never(!(hi >> 62 & 1) || reg64(REG_FRCD + 16 * i));
	}
}

static void drain_worker(void)
{
	struct vhost_task *worker = t.unit->worker;

	while (!shim_task.killed && worker->fn(worker->data))
		;
	if (!shim_task.killed && !t.unit->polled)
		queue_follow();
}

/*
 * Polling is to begin. What had ended it may have been so recently that it would not: then
 * the guest has waited that long.
 */
static void poll_ask(void)
{
	struct kviommu_unit *unit = t.unit;

	while (!kviommu_backoff_over(&unit->trap_backoff) ||
	       !kviommu_backoff_over(&unit->pool_backoff))
		jiffies++;
	unit->poll_asked = true;
	kviommu_unit_defer(unit);
	drain_worker();
}

/* Let a shared thread poll the unit. Return: whether it does. */
static bool poll_begin(void)
{
	model_pool_set_online(0, true);
	poll_ask();
	if (!model_pool_has())
		model_pool_set_online(0, false);
	return model_pool_has();
}

/*
 * The shared thread takes what the guest has written and hands the unit back.
 * @busy: map_lock is held by another thread.
 */
static void poll_once(bool busy)
{
	struct kviommu_unit *unit = t.unit;

	unit->map_lock.held = busy;
	model_pool_run(0, 1);
	if (busy)
		unit->map_lock.held = false;
	drain_worker();
	never(unit->polled != model_pool_has() && !shim_task.killed);
	model_pool_let_go();
	drain_worker();
	never(unit->polled && !shim_task.killed);
	model_pool_set_online(0, false);
}

/* Let the unit's worker poll. Return: whether it polled. */
static bool self_poll(void)
{
	u64 polls = t.unit->stats.polls;

	model_self_open = true;
	poll_ask();
	model_self_open = false;
	never(t.unit->polled && !shim_task.killed);
	return t.unit->stats.polls != polls;
}

static void reg_write(unsigned int offset, u64 val, unsigned int len)
{
	bool frozen = t.qie && reg32(REG_FSTS) & IQE;
	struct kviommu_unit *unit = t.unit;
	u64 head = reg64(REG_IQH);
	struct records records = take_records();
	unsigned int unlock_in = t.unlock_in;
	bool polled, self, te = t.ref.te;
	unsigned int i;

	if (offset + len > PAGE_SIZE)
		return;
	if (t.head == (reg64(REG_IQT) & (queue_size() - 1)))
		t.submitted = model_requests();
	polled = t.armed && offset == REG_IQT && t.polled &&
		 unit->model->page_ops->pollable(unit->model);
	self = polled && val & 0x20;
	if (polled && !self)
		polled = poll_begin();
	model_new_batch();
	/* KVM stores to the page before it reports the write. */
	memcpy(t.page + offset, &val, len);
	if (!t.armed)
		return;
	if (offset % 4 == 0 && (len == 4 || len == 8) &&
	    offset + len <= REG_END) {
		for (i = 0; i < len; i += 4)
			ref_write32(offset + i, val >> (8 * i));
		for (i = 0; i < len; i += 4)
			if (offset + i == REG_GCMD)
				ref_gcmd(val >> (8 * i));
	}
	if (polled && !self)
		poll_once(t.polled & 2 && val & 0x40);
	else if (!self || !self_poll())
		unit->kvm.write(&unit->kvm, offset, &val, len);
	queue_follow();
	check_registers();
	if (frozen && reg32(REG_FSTS) & IQE && offset > REG_GSTS)
		never(reg64(REG_IQH) != head);
	/* An area that left the IOAS meanwhile may have been there for the unit. */
	if (unlock_in)
		return;
	check_records(&records);
	/* All devices were looked at. */
	if (te != t.ref.te && !unit->deferred && !shim_task.killed && !t.scribbled &&
	    records.failed == shim_fail.failed)
		check_faults();
}

static void arm_unit(void)
{
	u32 gcmd = reg32(REG_GCMD);

	model_new_batch();
	ref_write32(REG_RTADDR, reg32(REG_RTADDR));
	ref_write32(REG_RTADDR + 4, reg32(REG_RTADDR + 4));
	if (gcmd)
		ref_gcmd(gcmd);
	never(kviommu_unit_arm(t.unit, 0xfed90000));
	t.armed = true;
	check_registers();
}

static void run_worker(void)
{
	model_new_batch();
	do {
		drain_worker();
	} while (!shim_task.killed && shim_timer_expire(&t.unit->timer));
	/* The timer ends stale translations that were kept. */
	never(!shim_task.killed && t.unit->shadows.stale.kept);
	if (!shim_task.killed)
		model_check_quiet();
}

/* The queue */

/**
 * struct expect - The expected state of the queue
 * @known: The state can be predicted
 * @head: Value of IQH
 * @error: Value of FSTS.IQE
 */
struct expect {
	bool known;
	u64 head;
	bool error;
};

static bool status_writable(u64 addr)
{
	unsigned int prot;
	u64 pfn;

	return model_ioas_lookup(addr >> PAGE_SHIFT, &pfn, &prot) &&
	       prot & KVIOMMU_WRITE &&
	       (addr & (PAGE_SIZE - 1)) <= PAGE_SIZE - sizeof(u32);
}

/* How far will the queue come if IQT becomes @tail? */
static struct expect expect_queue(u64 tail)
{
	struct expect e = { .head = reg64(REG_IQH) };
	u64 base = queue_base(), size = queue_size();
	struct ref_descriptor d;
	unsigned int i;
	u64 hi;

	tail &= 0x7fff0;
	if (!t.armed || !t.qie || reg32(REG_FSTS) & IQE || tail >= size ||
	    shim_fail.times || t.unlock_in || shim_jiffies_step ||
	    t.unit->deferred || base != GFN_QUEUE << PAGE_SHIFT)
		return e;
	/* The tail points into the middle of a descriptor. */
	if (tail & (desc_size() - 1)) {
		e.error = true;
		e.known = true;
		return e;
	}
	for (; e.head != tail; e.head = desc_next(e.head)) {
		for (i = 0; i < desc_size(); i += 8)
			if (!model_ioas_read64(base + e.head + i, &hi))
				return e;
		desc_read(e.head, &d);
		e.error = !ref_descriptor_valid(&t.ref, &d);
		/* A wait descriptor with a status */
		if (!e.error && (d.word[0] & 0x2f) == 0x25) {
			/* Beyond the host address width bits are ignored. */
			hi = d.word[1] & (BIT_ULL(48) - 1);
			if (hi - base < size)
				return e;
			e.error = !status_writable(hi);
		}
		if (e.error)
			break;
	}
	e.known = true;
	return e;
}

static void write_tail(u64 tail)
{
	struct expect e = expect_queue(tail);

	reg_write(REG_IQT, tail, 8);
	if (!e.known || shim_task.killed)
		return;
	never(reg64(REG_IQH) != e.head);
	never(!(reg32(REG_FSTS) & IQE) != !e.error);
}

/* Invalidations: by the queue if it is on, else by registers */

/* Write a descriptor to the queue as IQA says that it is. Return: the place of the next. */
static u64 queue_put(u64 at, u64 lo, u64 hi)
{
	u64 iqa = reg64(REG_IQA), size = 4096ULL << (iqa & 7);

	at &= size - 1;
	cpu_write128((iqa & ~0xfffULL) + at, lo, hi);
	if (!t.ref.wide)
		return (at + 16) & (size - 1);
	cpu_write128((iqa & ~0xfffULL) + at + 16, 0, 0);
	return (at + 32) & (size - 1);
}

static void queue_add(u64 lo, u64 hi)
{
	write_tail(queue_put(reg64(REG_IQT), lo, hi));
}

/* Registers invalidate nothing, and say so, in other modes than legacy. */
static bool registers_refused(void)
{
	return t.armed && !t.qie && t.ref.rtaddr & 3 << 10 && !shim_task.killed;
}

static void inval_context(unsigned int gran, u16 did, u16 sid, unsigned int fm)
{
	if (t.qie)
		queue_add(1 | gran << 4 | (u64)did << 16 | (u64)sid << 32 |
			  (u64)fm << 48, 0);
	else
		reg_write(REG_CCMD, 1ULL << 63 | (u64)gran << 61 |
			  (u64)fm << 32 | (u64)sid << 16 | did, 8);
	run_worker();
	if (registers_refused())
		never(reg64(REG_CCMD) >> 59 & 3);
}

static void inval_iotlb(unsigned int gran, u16 did, u64 iva)
{
	if (t.qie) {
		queue_add(2 | gran << 4 | (u64)did << 16, iva);
		return;
	}
	reg_write(REG_IVA, iva, 8);
	reg_write(REG_IOTLB, 1ULL << 63 | (u64)gran << 60 | (u64)did << 32, 8);
	run_worker();
	if (registers_refused())
		never(reg64(REG_IOTLB) >> 57 & 3);
}

static void queue_wait(u64 addr, u32 data, unsigned int flags)
{
	if (t.qie)
		queue_add(5 | flags << 4 | (u64)data << 32, addr);
}

/* The check */

static bool domain_context(struct iommu_domain *hw, struct ref_context *ctx)
{
	struct kviommu_xlate *xlate;

	list_for_each_entry(xlate, &t.unit->xlates, entry) {
		if (xlate->binding.type != KVIOMMU_BIND_DOMAIN || to_shadow(xlate)->hw != hw)
			continue;
		*ctx = (struct ref_context){
			.type = REF_TABLES,
			.did = xlate->binding.did,
			.levels = xlate->binding.levels,
			.root = xlate->binding.root,
		};
		return true;
	}
	return false;
}

static u64 limits_hit(void)
{
	return t.unit->stats.limits;
}

static unsigned int leaf_prot(const struct ref_leaf *leaf)
{
	return (leaf->read ? KVIOMMU_READ : 0) |
	       (leaf->write ? KVIOMMU_WRITE : 0);
}

/* Does the IOAS map all of a leaf, with sufficient rights? */
static bool leaf_in_memory(const struct ref_leaf *leaf)
{
	u64 gfn = leaf->gpa >> PAGE_SHIFT, end = gfn + (leaf->size >> PAGE_SHIFT), pfn;
	unsigned int prot;

	for (; gfn < end; gfn++)
		if (!model_ioas_lookup(gfn, &pfn, &prot) ||
		    (leaf_prot(leaf) | KVIOMMU_READ) & ~prot)
			return false;
	return true;
}

/* A leaf may be unmapped if a table takes its place that differs from it in part. */
static bool leaf_became_table(struct iommu_domain *hw, u64 iova, u64 size)
{
	u64 base = iova & ~(size - 1), i;
	struct ref_leaf leaf, piece;
	struct ref_context ctx;

	/* At a limit a leaf that was mapped in part is unmapped again. */
	if (limits_hit() != t.limits)
		return true;
	if (!domain_context(hw, &ctx) || !ref_walk(&t.ref, &ctx, iova, &leaf))
		return false;
	/* So is a leaf that is found to reach beyond memory. */
	if (leaf.size >= size)
		return !leaf_in_memory(&leaf);
	/* The table may have been out of reach. */
	if (t.stale || shim_fail.failed)
		return true;
	for (i = base; i < base + size; i += size / 512)
		if (!ref_walk(&t.ref, &ctx, i, &piece) ||
		    piece.size != size / 512 || piece.read != leaf.read ||
		    piece.write != leaf.write ||
		    piece.gpa - piece.iova != leaf.gpa - leaf.iova)
			return true;
	return false;
}

/**
 * struct check - A comparison of a domain with the guest's tables
 * @domain: The domain of the host
 * @ctx: The guest's tables
 * @seen: Number of leaves of the guest that were compared
 * @complete: Nothing that the guest maps may be missing
 * @nested: The hardware walks the tables, so the domain has none.
 */
struct check {
	struct iommu_domain *domain;
	struct ref_context ctx;
	unsigned int seen;
	bool complete;
	bool nested;
};

/* Does the device reach at @iova what the guest's tables say? */
static void check_iova(const struct check *c, u64 iova)
{
	struct model_piece piece;
	struct ref_leaf leaf;
	unsigned int prot;
	bool there = model_translate(c->domain, iova, &piece);
	u64 gfn, pfn;

	if (!ref_walk(&t.ref, &c->ctx, iova, &leaf) ||
	    (c->domain && model_reserved(c->domain, iova))) {
		never(there);
		return;
	}
	gfn = (leaf.gpa + iova - leaf.iova) >> PAGE_SHIFT;
	if (there) {
		never(!model_ioas_lookup(gfn, &pfn, &prot));
		never(piece.pfn + ((iova - piece.iova) >> PAGE_SHIFT) !=
			    pfn);
		never(piece.prot != leaf_prot(&leaf));
		never(piece.prot & ~prot);
		return;
	}
	/*
	 * Where the guest has no memory slots a leaf is missing as a whole, or not at all. The
	 * unit only maps memory that it can pin for reading.
	 */
	prot = leaf_prot(&leaf) | KVIOMMU_READ;
	never(c->complete && model_ioas_covers(gfn, 1, prot) &&
	      (model_in_slot(gfn) || model_ioas_covers(leaf.gpa >> PAGE_SHIFT,
						       leaf.size >> PAGE_SHIFT, prot)));
}

/* As check_iova(), for a device whose requests the hardware translates by first-stage tables */
static void check_walk(const struct check *c, u64 iova)
{
	struct model_piece piece;
	bool there = model_walk(c->domain, iova, &piece), is;
	struct ref_leaf leaf;
	unsigned int prot;
	u64 gfn = 0, pfn;

	is = ref_walk(&t.ref, &c->ctx, iova, &leaf);
	if (is) {
		gfn = (leaf.gpa + iova - leaf.iova) >> PAGE_SHIFT;
		is = model_in_slot(gfn) && model_ioas_lookup(gfn, &pfn, &prot) &&
		     prot == (KVIOMMU_READ | KVIOMMU_WRITE);
	}
	never(there && !is);
	never(is && !there && c->complete);
	if (!there)
		return;
	never(piece.pfn != pfn);
	never(piece.prot != leaf_prot(&leaf));
}

static void check_page(const struct check *c, u64 iova)
{
	if (c->nested)
		check_walk(c, iova);
	else
		check_iova(c, iova);
}

static void check_range(const struct check *c, u64 iova, u64 size)
{
	check_page(c, iova);
	if (size == PAGE_SIZE)
		return;
	check_page(c, iova + size / 2 + size / 64);
	check_page(c, iova + size - PAGE_SIZE);
}

static bool check_leaf(const struct ref_leaf *leaf, void *data)
{
	struct check *c = data;

	check_range(c, leaf->iova, leaf->size);
	return ++c->seen < 1024;
}

static void check_tables(struct check *c)
{
	struct model_piece piece;
	unsigned int n;
	u64 iova = 0;

	for (n = 0; n < 512 && model_next(c->domain, iova, &piece); n++) {
		check_range(c, piece.iova, piece.size);
		iova = piece.iova + piece.size;
	}
	ref_leaves(&t.ref, &c->ctx, check_leaf, c);
	for (n = 0; n < 8; n++)
		check_iova(c, pick_iova());
}

static void check_nested(struct check *c)
{
	unsigned int n, levels;
	u64 root;

	model_nested(c->domain, &root, &levels);
	never(c->ctx.type != REF_FIRST_STAGE);
	never(root != c->ctx.root || levels != c->ctx.levels);
	ref_leaves(&t.ref, &c->ctx, check_leaf, c);
	for (n = 0; n < 8; n++) {
		root = pick_iova();
		check_walk(c, root);
		check_walk(c, ref_canonical(root, levels));
	}
}

/* What a group is bound to: its devices have to agree, or they are blocked. */
static struct ref_context group_context(unsigned int device)
{
	struct ref_context all = { REF_BLOCKED }, one;
	unsigned int d;

	for (d = 0; d < MODEL_DEVICES; d++) {
		if (t.attached[d] < 0 || !model_same_group(d, device))
			continue;
		one = ref_context(&t.ref, t.attached[d], 0);
		if (one.type == REF_BLOCKED)
			continue;
		if (all.type != REF_BLOCKED &&
		    (one.type != all.type || one.did != all.did ||
		     one.levels != all.levels || one.root != all.root))
			return (struct ref_context){ REF_BLOCKED };
		all = one;
	}
	return all;
}

static void check_frame(const struct kviommu_parent *parent, u64 gfn, bool complete)
{
	struct model_piece piece;
	unsigned int prot;
	u64 pfn;
	bool is;

	is = model_in_slot(gfn) && model_ioas_lookup(gfn, &pfn, &prot) &&
	     prot == (KVIOMMU_READ | KVIOMMU_WRITE);
	if (!model_translate(parent->domain, PFN_PHYS(gfn), &piece)) {
		never(is && complete && parent->users);
		return;
	}
	never(!model_ioas_lookup(gfn, &pfn, &prot));
	never(piece.pfn + gfn - (piece.iova >> PAGE_SHIFT) != pfn);
	never(piece.prot != (KVIOMMU_READ | KVIOMMU_WRITE) || piece.prot != prot);
}

/* A second stage has all memory that devices may read and write, and nothing else. */
static void check_second_stage(const struct kviommu_parent *parent, bool complete)
{
	/* First frame, last, and how many to leave out between two */
	static const u64 parts[][3] = {
		{ 0, 0x820 }, { 0x40000, 0x40440 }, { 0x40440, 0x80000, 0x1ff },
		{ 0x7fff0, 0x80010 }, { 0xffffffffeULL, 0x1000000000ULL },
	};
	unsigned int i;
	u64 gfn;

	for (i = 0; i < ARRAY_SIZE(parts); i++)
		for (gfn = parts[i][0]; gfn < parts[i][1]; gfn += 1 + parts[i][2])
			check_frame(parent, gfn, complete);
}

/* Domains whose tables were compared */
struct seen {
	struct iommu_domain *domain[16];
	unsigned int nr;
};

/* The domain was not compared yet, nor were so many others. */
static bool is_new(struct seen *seen, struct iommu_domain *domain)
{
	unsigned int i;

	for (i = 0; i < seen->nr; i++)
		if (seen->domain[i] == domain)
			return false;
	if (seen->nr == ARRAY_SIZE(seen->domain))
		return false;
	seen->domain[seen->nr++] = domain;
	return true;
}

/* The tables of a PASID, or guest physical addresses, or nothing */
static void check_pasid(struct kviommu_device *dev, unsigned int device, u32 pasid,
			bool complete, struct seen *seen)
{
	struct check c = {
		.domain = model_pasid_domain(device, pasid),
		.ctx = ref_context(&t.ref, dev->source_id, pasid),
		.complete = complete,
		.nested = true,
	};
	unsigned int levels;
	u64 root;

	if (!c.domain) {
		never(complete && model_has_pasid(device, pasid) &&
		      c.ctx.type != REF_BLOCKED);
	} else if (model_is_second(c.domain)) {
		never(c.ctx.type != REF_IDENTITY);
	} else {
		model_nested(c.domain, &root, &levels);
		never(c.ctx.type != REF_FIRST_STAGE);
		never(root != c.ctx.root || levels != c.ctx.levels);
		if (is_new(seen, c.domain))
			check_nested(&c);
	}
}

/* Requests with PASID: those that the unit knows reach what they should, others nothing. */
static void check_pasids(bool complete)
{
	struct kviommu_device *dev;
	struct seen seen = { .nr = 0 };
	struct kviommu_pasid *p;
	unsigned int d, n = 0;
	unsigned long i;

	list_for_each_entry(dev, &t.unit->devices, entry) {
		for (d = 0; t.attached[d] != dev->source_id; d++)
			;
		xa_for_each(&dev->pasids, i, p) {
			n += p->attached;
			check_pasid(dev, d, p->pasid, complete, &seen);
		}
	}
	never(n != model_pasids());
}

static void check_devices(bool complete)
{
	struct check c = { .complete = complete };
	struct iommu_domain *last = NULL;
	struct kviommu_parent *parent, *other;
	struct ref_context bound;
	unsigned int d;

	list_for_each_entry(parent, &t.unit->nested.parents, entry) {
		check_second_stage(parent, complete);
		/* There is no other one for this kind of IOMMU. */
		list_for_each_entry(other, &t.unit->nested.parents, entry)
			never(other != parent && kviommu_same_kind(&parent->kind, &other->kind));
	}
	check_pasids(complete);

	for (d = 0; d < MODEL_DEVICES; d++) {
		if (t.attached[d] < 0)
			continue;
		c.domain = model_domain(d);
		c.ctx = group_context(d);
		c.seen = 0;
		c.nested = false;
		switch (model_path(d)) {
		case PATH_IOAS:
			never(c.ctx.type != REF_IDENTITY);
			break;
		case PATH_DOMAIN:
			never(c.ctx.type != REF_TABLES);
			never(!domain_context(c.domain, &bound));
			never(bound.did != c.ctx.did);
			break;
		case PATH_NESTED:
			c.nested = true;
			if (c.domain != last)
				check_nested(&c);
			last = c.domain;
			continue;
		case PATH_BLOCKED:
			never(complete && (c.ctx.type == REF_IDENTITY ||
					   c.ctx.type == REF_FIRST_STAGE));
			break;
		}
		/* Devices often share a domain: check it once. */
		if (!c.domain || c.domain != last)
			check_tables(&c);
		last = c.domain;
	}
}

/* And KVIOMMU_GET_DEVICE says so of each PASID. */
static void check_pasids_bound(struct kviommu_device *dev, unsigned int device)
{
	struct kviommu_get_device get = { .source_id = dev->source_id };
	struct iommu_domain *domain;
	struct kviommu_pasid *p;
	unsigned long i;

	mutex_lock(&t.unit->lock);
	never(kviommu_device_get(t.unit, &get));
	xa_for_each(&dev->pasids, i, p) {
		domain = model_pasid_domain(device, i);
		never(p->pasid != i || !domain != !p->attached);
		never(p->attached && domain !=
		      container_of(p->xlate, struct kviommu_nested, xlate)->hw);
		never(get.out_next_pasid != i);
		get.pasid = i;
		never(kviommu_device_get(t.unit, &get));
		never(!domain != (get.out_in_force == KVIOMMU_DMA_BLOCKED));
		never(get.out_wanted == KVIOMMU_DMA_BLOCKED && get.out_error);
		never(get.out_wanted != KVIOMMU_DMA_BLOCKED && !domain && !get.out_error);
	}
	never(get.out_next_pasid);
	mutex_unlock(&t.unit->lock);
}

/* A device's DMA goes through the translation that the unit has recorded for it. */
static void check_bound(void)
{
	struct kviommu_device *dev;
	unsigned int d;

	/* Limits that are lowered later take nothing away. */
	never(t.unit->stats.domains > max(t.domains, t.unit->policy.max_domains));
	t.domains = t.unit->stats.domains;

	list_for_each_entry(dev, &t.unit->devices, entry) {
		const struct kviommu_group *group = dev->group;

		for (d = 0; t.attached[d] != dev->source_id; d++)
			never(d == MODEL_DEVICES - 1);
		switch (group->xlate->binding.type) {
		case KVIOMMU_BIND_BLOCKED:
			never(model_path(d) != PATH_BLOCKED);
			break;
		case KVIOMMU_BIND_IDENTITY:
			never(model_path(d) != PATH_IOAS);
			break;
		case KVIOMMU_BIND_DOMAIN:
			never(model_domain(d) != to_shadow(group->xlate)->hw);
			break;
		case KVIOMMU_BIND_NESTED:
			never(model_path(d) != PATH_NESTED);
			never(model_domain(d) != container_of(group->xlate,
							      struct kviommu_nested,
							      xlate)->hw);
			break;
		case KVIOMMU_BIND_TRACKED:
		case KVIOMMU_NR_BINDINGS:
			never(true);
		}
		check_pasids_bound(dev, d);
	}
	never(t.unit->stats.pasids != model_pasids());
	never(t.unit->nr_pasids > KVIOMMU_MAX_PASIDS);
}

static void check_stats(void)
{
	struct kviommu_stats stats = {};
	unsigned int d, n = 0;

	mutex_lock(&t.unit->lock);
	kviommu_unit_get_stats(t.unit, &stats);
	kviommu_unlock(t.unit);
	never(stats.pinned != model_pinned());
	never(stats.mapped != model_mapped());
	never(!t.ref.scalable && stats.nested_devices);
	never(stats.domains > model_domains());
	never(stats.pinned_peak < stats.pinned);
	for (d = 0; d < MODEL_DEVICES; d++)
		n += t.attached[d] >= 0;
	never(stats.devices != n);
}

/* @strategy: bits 1:0 are the strategy, bits 3:2 select the limit of stale pages. */
static void set_policy(u64 pins, u64 idle, u64 tables, u64 domains, u8 strategy)
{
	static const u64 max_stale[] = { 4096, 8, 0, 100 };
	struct kviommu_policy policy = {
		.mask = KVIOMMU_POLICY_ALL,
		.mode = KVIOMMU_MODE_ADAPTIVE,
		.strategy = strategy & 3,
		.max_stale = max_stale[strategy >> 2 & 3],
		.stale_us = 10000,
		.idle_pin_ms = 1000,
		.max_pins = pins,
		.max_idle_pins = idle,
		.max_tables = tables,
		.max_domains = domains,
		.max_mapped = SZ_256M,
	};
	int ret;

	ret = kviommu_unit_set_wanted(t.unit, &policy);
	/* The ring of stale translations may have to be allocated. */
	never(ret && !shim_task.killed && !(ret == -ENOMEM && shim_fail.failed));
}

static void refresh_unit(void)
{
	int ret;

	model_new_batch();
	ret = kviommu_unit_refresh(t.unit);
	never(ret && !shim_task.killed);
}

/* The guest sees that register-based invalidations are done as requested: globally. */
static void invalidate_by_registers(void)
{
	inval_context(1, 0, 0, 0);
	never((reg64(REG_CCMD) >> 59 & 3) != 1 && !shim_task.killed);
	inval_iotlb(1, 0, 0);
	never((reg64(REG_IOTLB) >> 57 & 3) != 1 && !shim_task.killed);
}

static void invalidate_by_queue(u32 gsts, bool wide)
{
	u64 queue = GFN_CHECK_QUEUE << PAGE_SHIFT;
	u64 status_gpa = GFN_CHECK_STATUS << PAGE_SHIFT, status = 0;
	u32 sequence = t.sequence + 1;
	u64 desc[] = {
		1 | 1 << 4, 0,
		7 | 3 << 4, 0,
		2 | 1 << 4, 0,
		5 | 1 << 5 | (u64)sequence << 32, status_gpa,
	};
	bool scalable = t.ref.rtaddr & TTM_SCALABLE;
	unsigned int size = wide ? 32 : 16, i;
	u64 zeroes[2] = {}, at = 0;

	reg_write(REG_FSTS, IQE, 4);
	reg_write(REG_IQA, queue | (wide ? DW : 0), 8);
	reg_write(REG_IQT, 0, 8);
	model_cpu_write(status_gpa, &status, sizeof(status));
	for (i = 0; i < ARRAY_SIZE(desc); i += 2) {
		/* Only scalable mode has that. */
		if ((desc[i] & 15) == 7 && !scalable)
			continue;
		model_cpu_write(queue + at, &desc[i], 16);
		if (wide)
			model_cpu_write(queue + at + 16, zeroes, 16);
		at += size;
	}
	reg_write(REG_GCMD, gsts | QIE, 4);
	reg_write(REG_IQT, at, 8);
	run_worker();
	if (shim_task.killed)
		return;
	never(reg32(REG_FSTS) & IQE);
	never(reg64(REG_IQH) != at);
	model_cpu_read(status_gpa, &status, sizeof(status));
	never(status != sequence);
	t.sequence = sequence;
}

static bool tables_mapped(void)
{
	u64 pfn;
	unsigned int prot;

	return model_ioas_lookup(GFN_CHECK_QUEUE, &pfn, &prot) &&
	       prot == (KVIOMMU_READ | KVIOMMU_WRITE);
}

static void check_all(void)
{
	u8 b = get8();
	bool by_queue = b & 1;
	unsigned long step = shim_jiffies_step;
	bool scalable;
	u64 limits;

	shim_jiffies_step = 0;
	t.stale |= shim_fail.failed || limits_hit() != t.limits;
	shim_fail = (struct shim_fail){};
	t.unlock_in = 0;
	set_policy(SZ_256M, 1024, MAX_TABLES, 64, 0);
	if (!t.armed)
		arm_unit();
	run_worker();
	limits = limits_hit();
	/* In an unsupported translation table mode nothing can be invalidated. */
	if (!ref_mode_valid(&t.ref)) {
		reg_write(REG_RTADDR, t.ref.rtaddr & ~0xfffULL, 8);
		reg_write(REG_GCMD, SRTP | (t.ref.te ? TE : 0), 4);
	}
	reg_write(REG_GCMD, t.ref.te ? TE : 0, 4);
	scalable = t.ref.rtaddr & TTM_SCALABLE;
	if (scalable && !tables_mapped()) {
		/* There is no other way in scalable mode. */
		model_ioas_unmap(AREA_TABLES);
		model_ioas_map(AREA_TABLES, 0, KVIOMMU_READ | KVIOMMU_WRITE);
		t.stale = true;
	}
	if (scalable || (by_queue && tables_mapped()))
		invalidate_by_queue(t.ref.te ? TE : 0, scalable || (t.ref.scalable && b & 2));
	else
		invalidate_by_registers();
	if (t.stale && !shim_task.killed) {
		limits = limits_hit();
		refresh_unit();
	}
	if (shim_task.killed)
		return;
	model_check_quiet();
	never(model_cached());
	check_registers();
	check_faults();
	check_stats();
	check_devices(limits_hit() == limits);
	/* Large leaves that hit a limit are not tried again without a refresh. */
	t.stale = limits_hit() != limits;
	t.limits = limits_hit();
	set_policy(SZ_256M, 1024, MAX_TABLES, 64, t.strategy);
	shim_jiffies_step = step;
}

/* While map_lock is dropped for a moment an area may leave the IOAS, by a thread that may wait. */
static void map_lock_free(void)
{
	bool atomic = shim_atomic;

	if (!t.unlock_in || --t.unlock_in)
		return;
	shim_atomic = false;
	model_new_batch();
	model_ioas_unmap(t.unlock_area);
	model_new_batch();
	shim_atomic = atomic;
	t.stale = true;
}

/* Actions */

static void do_entry(void)
{
	u64 gpa = pick_table() << PAGE_SHIFT | pick_index() << 3;

	cpu_write64(gpa, pick_entry());
}

/* Fill a table with entries that a leaf of the next higher level could replace. */
static void do_fill(void)
{
	u64 gfn = pick_table(), rights = pick_rights();
	u8 b = get8();

	if (b & 1)
		model_cpu_fill(gfn, 0x40000000 | SL_PS | rights, SZ_2M);
	else
		model_cpu_fill(gfn, pick_huge() | rights, SZ_4K);
	if (b & 2)
		cpu_write64(gfn << PAGE_SHIFT | pick_index() << 3, pick_entry());
}

static void do_copy_table(void)
{
	u64 from = pick_table(), to = pick_table(), val;
	unsigned int i;

	for (i = 0; i < PAGE_SIZE; i += sizeof(val)) {
		model_cpu_read((from << PAGE_SHIFT) + i, &val, sizeof(val));
		model_cpu_write((to << PAGE_SHIFT) + i, &val, sizeof(val));
	}
}

static void do_clear_table(void)
{
	model_cpu_fill(pick_table(), 0, 0);
}

static void do_root(void)
{
	u8 b = get8();
	u64 lo = (GFN_CONTEXT + (b & 1)) << PAGE_SHIFT | 1, hi = 0;

	if (b & 0x40)
		lo ^= BIT_ULL(get8() & 63);
	if (b & 0x80)
		hi ^= BIT_ULL(get8() & 63);
	cpu_write128(GFN_ROOT << PAGE_SHIFT | (b >> 1 & 1) << 4, lo, hi);
}

static void do_context(void)
{
	u8 b = get8();
	u16 sid = sids[b & 3];
	u64 lo = pick_table() << PAGE_SHIFT | 1, hi;

	b = get8();
	hi = (b & 1 ? 1 : t.ref.max_levels > 4 ? 3 : 2) | (u64)(1 + (b >> 1 & 3)) << 8;
	if ((b & 0x18) == 0x18)
		lo |= 2 << 2;
	if (b & 0x20)
		lo |= 2;
	if (b & 0x40)
		lo ^= BIT_ULL(get8() & 63);
	if (b & 0x80)
		hi ^= BIT_ULL(get8() & 63);
	cpu_write128((GFN_CONTEXT + (sid >> 8)) << PAGE_SHIFT |
		     (sid & 0xff) << 4, lo, hi);
}

/* Set up the unit as a driver does: all devices, a chain of tables, maybe the queue. */
static void do_set_up(void)
{
	u8 b = get8();
	unsigned int d, levels = b & 1 ? 3 : b & 0x40 ? t.ref.max_levels : 4;

	for (d = 0; d < MODEL_DEVICES; d++)
		cpu_write128((GFN_CONTEXT + (sids[d] >> 8)) << PAGE_SHIFT |
			     (sids[d] & 0xff) << 4,
			     (b & 2 ? d & 1 : 0ULL) << PAGE_SHIFT | 1,
			     (levels - 2) | (1 + (b & 2 ? d & 1 : 0)) << 8);
	cpu_write128(GFN_ROOT << PAGE_SHIFT, GFN_CONTEXT << PAGE_SHIFT | 1, 0);
	cpu_write128(GFN_ROOT << PAGE_SHIFT | 16,
		     (GFN_CONTEXT + 1) << PAGE_SHIFT | 1, 0);
	for (d = 0; d < levels; d++)
		cpu_write64(d << PAGE_SHIFT,
			    (d + 1ULL) << PAGE_SHIFT | SL_RW);
	cpu_write64((levels - 1) << PAGE_SHIFT, 0x40 << PAGE_SHIFT | SL_RW);
	cpu_write64(4 << PAGE_SHIFT, 0x41 << PAGE_SHIFT | SL_RW);
	/* Tables that point to themselves: more tables than the limit allows */
	for (d = 2; b & 8 && d < 6; d++)
		cpu_write64(d << 3, SL_RW);
	reg_write(REG_RTADDR, GFN_ROOT << PAGE_SHIFT, 8);
	reg_write(REG_GCMD, SRTP, 4);
	if (b & 4) {
		/* Guests that have scalable mode turned off use long descriptors all the same. */
		reg_write(REG_IQA, GFN_QUEUE << PAGE_SHIFT | (b >> 4 & 3) |
			  (t.ref.scalable && b & 0x80 ? DW : 0), 8);
		reg_write(REG_IQT, 0, 8);
		reg_write(REG_GCMD, QIE, 4);
	}
	reg_write(REG_GCMD, TE | (b & 4 ? QIE : 0), 4);
}

static void do_register(void)
{
	static const u16 offsets[] = {
		REG_GCMD, REG_GSTS, REG_RTADDR, REG_RTADDR + 4, REG_CCMD,
		REG_CCMD + 4, REG_FSTS, REG_FECTL, REG_IQH, REG_IQT, REG_IQA,
		REG_ICS, REG_IECTL, REG_IOTLB + 4, REG_FRCD + 12, REG_FRCD + 8,
	};
	u8 b = get8();
	unsigned int len = b & 0x10 ? 8 : 4;
	unsigned int offset = offsets[b & 15];

	if (b & 0x20)
		offset = (offset + 4 * get8()) & 0xffc;
	if (b & 0x40)
		offset ^= get8();
	if (b & 0x80)
		len = 1 + (get8() & 7);
	reg_write(offset, get64(), len);
}

static void do_gcmd(void)
{
	static const u32 commands[] = { TE, QIE, SRTP, 1 << 29 };
	u8 b = get8();
	u32 val = (t.ref.te ? TE : 0) | (t.qie ? QIE : 0);

	reg_write(REG_GCMD, val ^ commands[b & 3], 4);
}

static void do_rtaddr(void)
{
	u8 b = get8();
	u64 val = GFN_ROOT << PAGE_SHIFT;

	if (b & 0x80)
		val ^= BIT_ULL(get8() & 63);
	reg_write(REG_RTADDR, val, 8);
	if (b & 0x40)
		reg_write(REG_GCMD, SRTP | (t.ref.te ? TE : 0) |
			  (t.qie ? QIE : 0), 4);
}

static void do_queue(void)
{
	u8 b = get8();

	reg_write(REG_IQA, (GFN_QUEUE << PAGE_SHIFT) | (b & 3), 8);
	reg_write(REG_IQT, (u64)(b >> 4) << 4, 8);
}

static void do_tail(void)
{
	write_tail((u64)get8() << 4 | (u64)(get8() & 3) << 12);
}

/* Write a descriptor to the queue, but not the tail. */
static void do_descriptor(void)
{
	u64 lo, hi;
	u8 b = get8();

	lo = (b & 15) | (u64)(b >> 4) << 4;
	hi = b & 0x80 ? get64() : pick_iova();
	if (get8() & 1)
		lo |= (u64)(get8() & 7) << 16;
	else
		lo = (lo & 0xff) | get64() << 8;
	cpu_write128((reg64(REG_IQA) & ~0xfffULL) + (get8() & 15) * 16, lo, hi);
}

static void do_submit(void)
{
	u64 lo = get8();

	if (lo & 0x80)
		lo ^= BIT_ULL(get8() & 63);
	queue_add(lo, get8() & 1 ? get64() : 0);
}

/* Many descriptors at once: more than one step or one vCPU exit handles */
static void do_burst(void)
{
	unsigned int n = get8() & 0x7f, kinds = get8();
	u64 iqa = reg64(REG_IQA), iqt = reg64(REG_IQT);
	u64 size = 4096ULL << (iqa & 7), iova = pick_iova();
	u64 lo, hi;

	for (; n; n--, iova += SZ_2M) {
		lo = 5 | 1 << 5 | (u64)n << 32;
		hi = GFN_STATUS << PAGE_SHIFT;
		if (kinds >> (n & 7) & 1) {
			lo = 2 | 3 << 4 | 1 << 16;
			hi = (iova & ~0xfffULL) | (n & 15);
		}
		iqt &= size - 1;
		cpu_write128((iqa & ~0xfffULL) + iqt, lo, hi);
		iqt += 16;
	}
	write_tail(iqt & (size - 1));
}

/* Mask or unmask an event; both are masked after reset. */
static void do_mask(void)
{
	u8 b = get8();

	reg_write(b & 1 ? REG_FECTL : REG_IECTL, b & 2 ? BIT(31) : 0, 4);
}

#define NR_SAMPLES	16

/**
 * struct sample - A page near an invalidation, and its state before
 * @iova: I/O virtual address of the page
 * @there: The page was mapped
 * @piece: The mapping, if there was one
 */
struct sample {
	u64 iova;
	bool there;
	struct model_piece piece;
};

static struct kviommu_shadow *find_shadow(unsigned int did)
{
	struct kviommu_xlate *xlate;

	list_for_each_entry(xlate, &t.unit->xlates, entry)
		if (xlate->binding.type == KVIOMMU_BIND_DOMAIN && xlate->binding.did == did)
			return to_shadow(xlate);
	return NULL;
}

/* Pages at both ends of the large page around @iova */
static void take_samples(struct kviommu_shadow *shadow, u64 iova,
			 struct sample *samples)
{
	u64 base = ALIGN_DOWN(iova, SZ_2M);
	unsigned int i;

	for (i = 0; i < NR_SAMPLES; i++) {
		struct sample *s = &samples[i];

		s->iova = base + (i < 8 ? i : 504 + i - 8) * PAGE_SIZE;
		s->there = model_translate(shadow->hw, s->iova, &s->piece);
	}
}

/* A mapping that was right before the invalidation and still is must not be lost. */
static void check_samples(const struct check *c, const struct sample *samples)
{
	const struct sample *s;
	struct ref_leaf leaf;
	unsigned int prot;
	u64 gfn, pfn;

	for (s = samples; s < samples + NR_SAMPLES; s++) {
		if (!s->there || !ref_walk(&t.ref, &c->ctx, s->iova, &leaf))
			continue;
		gfn = (leaf.gpa + s->iova - leaf.iova) >> PAGE_SHIFT;
		if (leaf_prot(&leaf) == s->piece.prot &&
		    model_ioas_lookup(gfn, &pfn, &prot) &&
		    pfn == s->piece.pfn +
			   ((s->iova - s->piece.iova) >> PAGE_SHIFT))
			check_iova(c, s->iova);
	}
}

/* After a page-selective invalidation the range must follow the guest's tables. */
static void check_invalidated(struct kviommu_shadow *shadow, u64 first,
			      u64 size, const struct sample *samples)
{
	struct check c = {};
	unsigned int n;

	/* What is kept under optimistic is gone when the timer has expired: check_all(). */
	if (t.unit->deferred || t.unit->shadows.stale.kept || shim_task.killed || !t.armed ||
	    (t.qie && (reg64(REG_IQH) != reg64(REG_IQT) ||
		       reg32(REG_FSTS) & IQE)))
		return;
	domain_context(shadow->hw, &c.ctx);
	c.complete = !t.stale && !shim_fail.failed && limits_hit() == t.limits;
	c.domain = shadow->hw;
	check_range(&c, first, size);
	for (n = 1; n < 8; n++)
		check_iova(&c, first + ((size / 8 * n) & PAGE_MASK));
	if (c.complete)
		check_samples(&c, samples);
}

static void inval_pages(unsigned int did, u64 iova, unsigned int am)
{
	struct kviommu_shadow *shadow = find_shadow(did);
	struct sample samples[NR_SAMPLES];
	unsigned int unlock_in = t.unlock_in;
	u64 size = PAGE_SIZE << am;

	if (shadow)
		take_samples(shadow, iova, samples);
	inval_iotlb(3, did, (iova & PAGE_MASK) | am);
	/* An area left the IOAS meanwhile, maybe with a table that had been read already. */
	if (unlock_in && !t.unlock_in)
		return;
	if (shadow && shadow == find_shadow(did) && am <= 18)
		check_invalidated(shadow, iova & ~(size - 1), size, samples);
}

static void do_psi(void)
{
	u8 b = get8();

	inval_pages(1 + (b & 1), pick_iova(), b >> 3);
	if (b & 2)
		queue_wait(GFN_STATUS << PAGE_SHIFT, 1, 2);
}

/*
 * In the table of level 2 that do_set_up() made, write a leaf, a table that is equal to
 * that leaf, or a table that differs from it in one entry.
 */
static void do_split(void)
{
	u8 b = get8();
	u64 slot = b & 7, leaf = pick_huge(), table = 8 + (b >> 3 & 3);
	u64 gpa = (b & 0x20 ? 2 : 1) << PAGE_SHIFT | slot << 3;
	u64 rights = b & 0x40 ? pick_rights() : SL_RW;
	unsigned int index = pick_index();

	b = get8();
	if (b & 0x40) {
		cpu_write64(gpa, leaf | SL_PS | pick_rights());
		inval_iotlb(1, 0, 0);
	}
	if (b & 1) {
		cpu_write64(gpa, leaf | SL_PS | rights);
	} else {
		model_cpu_fill(table, leaf | rights, SZ_4K);
		if (b & 2)
			cpu_write64(table << PAGE_SHIFT | index << 3,
				    pick_entry());
		cpu_write64(gpa, table << PAGE_SHIFT | SL_RW);
	}
	if (b & 4)
		inval_pages(1 + (b >> 3 & 1), slot * SZ_2M + index * PAGE_SIZE,
			    b & 0x10 ? 0 : 9);
	if (b & 0x20)
		inval_iotlb(1, 0, 0);
	if (b & 0x80) {
		cpu_write64(gpa, leaf | SL_PS | rights);
		inval_pages(1 + (b >> 3 & 1), slot * SZ_2M, 9);
	}
}

static void do_iotlb(void)
{
	u8 b = get8();

	inval_iotlb(b & 3, b >> 2 & 3, pick_iova() | (b >> 4));
}

static void do_inval_context(void)
{
	u8 b = get8();

	inval_context(b & 3, b >> 2 & 3, sids[b >> 4 & 3], b >> 6);
}

static void do_wait(void)
{
	u8 b = get8();
	u64 addr = b & 0x80 ? pick_table() << PAGE_SHIFT | pick_index() << 3 :
			      GFN_STATUS << PAGE_SHIFT;

	queue_wait(addr, b & 0x40 ? pick_entry() : 1, b & 7);
}

/* How many frames second stages have outside of an area, at its borders and elsewhere */
static unsigned int frames_beside(unsigned int area)
{
	struct kviommu_parent *parent;
	struct model_piece piece;
	unsigned int n = 0;
	u64 gfn;

	list_for_each_entry(parent, &t.unit->nested.parents, entry)
		for (gfn = 0; gfn < 0x800; gfn++)
			n += gfn - model_areas[area].gfn >= model_areas[area].nr &&
			     model_translate(parent->domain, PFN_PHYS(gfn), &piece);
	return n;
}

static void do_ioas(void)
{
	u8 b = get8();
	unsigned int area = (b & 15) % AREA_FEW;
	unsigned int prot = model_areas[area].prot;
	unsigned int beside = frames_beside(area), failed = shim_fail.failed;
	bool another = t.unlock_in;

	model_new_batch();
	t.stale = true;
	model_ioas_unmap(area);
	/* What is left of a block stays, if nothing fails. */
	never(frames_beside(area) != beside && shim_fail.failed == failed && !another);
	if (b & 0x10)
		return;
	/* Second stages may have all areas, also those that have fewer rights by default. */
	if (t.ref.scalable && (b & 0x60) == 0x60)
		prot = KVIOMMU_READ | KVIOMMU_WRITE;
	else if (b & 0x40)
		prot = 1 + (b >> 7);
	else if (t.ref.scalable && area == AREA_HUGE)
		model_huge_slot(b & 0x80);
	model_ioas_map(area, b >> 5 & 1, prot);
}

static bool unit_has(u32 sid)
{
	struct kviommu_device *dev;

	list_for_each_entry(dev, &t.unit->devices, entry)
		if (dev->source_id == sid)
			return true;
	return false;
}

static int attach_device(int fd, unsigned int d, u32 sid)
{
	struct kviommu_parent *parent;
	bool before = unit_has(sid);
	u64 limits = limits_hit();
	int ret = kviommu_unit_attach(t.unit, fd, sid);

	never(ret == -EINTR && !shim_task.killed);
	/* What cannot be attached, also for want of memory, leaves nothing. */
	never(ret && ret != -EINTR && !before && unit_has(sid));
	/* A VMM that is killed does not learn what became of it. */
	if (!ret || (ret == -EINTR && !before && unit_has(sid)))
		t.attached[d] = sid;
	/* All of memory was there to be pinned, and is. */
	if (!ret && !t.stale && !shim_fail.failed && limits == limits_hit())
		list_for_each_entry(parent, &t.unit->nested.parents, entry)
			check_second_stage(parent, true);
	return ret;
}

static void detach_device(u32 sid)
{
	bool before = unit_has(sid);
	unsigned int d;
	int ret = kviommu_unit_detach(t.unit, sid);

	never(ret == -EINTR && !shim_task.killed);
	never(!ret && (!before || unit_has(sid)));
	for (d = 0; d < MODEL_DEVICES && before && !unit_has(sid); d++)
		if (t.attached[d] == sid)
			t.attached[d] = -1;
}

static void do_device(void)
{
	u8 b = get8();
	unsigned int d = b & 3, s = b >> 2 & 3;

	model_new_batch();
	if (b & 0x80)
		attach_device(b & 0x40 ? 99 : d, d, sids[s]);
	else
		detach_device(sids[s]);
}

static void do_policy(void)
{
	u8 b = get8();

	t.stale = true;
	t.strategy = b >> 4;
	set_policy(b & 1 ? SZ_256M : get8(), b & 2 ? 1024 : get8(),
		   b & 4 ? MAX_TABLES : get8() & 15,
		   b & 8 ? 64 : get8() & 3, t.strategy);
}

static void do_refresh(void)
{
	refresh_unit();
}

/* Second stages that no device needs any more have gone. */
static void check_users(void)
{
	struct kviommu_parent *parent;

	list_for_each_entry(parent, &t.unit->nested.parents, entry)
		never(!parent->users);
}

/* Release idle pins. As many pins must be left as the unit says are in use. */
static void release_pins(u64 gfn, u64 nr)
{
	struct kviommu_release_pins cmd = {
		.gpa = gfn << PAGE_SHIFT, .length = nr << PAGE_SHIFT,
	};
	bool whole = !gfn, identity = false, changes = t.unlock_in;
	struct kviommu_parent *parent;
	unsigned int d;

	for (d = 0; d < MODEL_DEVICES; d++)
		identity |= model_path(d) == PATH_IOAS;
	/* All memory is reached by second stages, but for those that no device needs. */
	list_for_each_entry(parent, &t.unit->nested.parents, entry)
		identity |= parent->users;
	model_new_batch();
	if (kviommu_unit_release_pins(t.unit, &cmd)) {
		never(!shim_task.killed);
		return;
	}
	check_users();
	never(cmd.out_in_use > cmd.length >> PAGE_SHIFT);
	never(whole && !identity && !changes && cmd.out_in_use != model_pinned());
	never(identity && cmd.out_in_use != cmd.length >> PAGE_SHIFT);
	never(whole && t.unit->pins.idle);
}

static void do_reset(void)
{
	model_new_batch();
	/* Nothing stays pinned but for devices that may reach all of memory. */
	if (!kviommu_unit_reset(t.unit)) {
		check_users();
		never(list_empty(&t.unit->nested.parents) && model_pinned());
	}
	t.rtaddr = 0;
	t.ref.rtaddr = 0;
	t.ref.te = false;
	t.rtps = false;
	t.qie = false;
}

static void do_fail(void)
{
	t.stale |= shim_fail.failed;
	shim_fail.after = get8();
	/* Fail soon, or in the middle of something long. */
	if (shim_fail.after & 0x80)
		shim_fail.after &= 7;
	shim_fail.times = 1 + (get8() & 15);
}

static void do_unlock(void)
{
	t.unlock_in = 1 + (get8() & 15);
	t.unlock_area = get8() % AREA_FEW;
}

/* The VMM deletes the page's memory slot: writes are not trapped until it arms again. */
static void do_disarm(void)
{
	t.unit->kvm.removed(&t.unit->kvm);
	t.armed = false;
}

static void do_arm(void)
{
	arm_unit();
}

static void do_event(void)
{
	u8 b = get8();

	mutex_lock(&t.unit->lock);
	kviommu_set_event(t.unit, b & 7, (b >> 3 & 7) - 1);
	kviommu_unlock(t.unit);
}

static void do_time(void)
{
	u8 b = get8();

	shim_jiffies_step = b & 63;
	if (b & 0x40)
		release_pins(b & 0x80 ? 0x40 : 0, b & 0x80 ? 64 : BIT(52) - 1);
}

static void do_kill_or_poll(void)
{
	u8 b = get8();

	if (b & 0x80)
		model_kill_after((b & 0x7f) + 1);
	else
		t.polled = b & 3;
}

/* Actions of guests that know scalable mode */

static u64 pick_first_stage(void)
{
	u8 b = get8();

	switch (b & 15) {
	case 0 ... 1:
		return 0;
	case 2 ... 5:
		return pick_table() << PAGE_SHIFT | FS_PWU;
	case 6 ... 9:
		return pick_frame() << PAGE_SHIFT | FS_PWU;
	case 10:
		return pick_frame() << PAGE_SHIFT | (b >> 4 & 7);
	case 11:
		return pick_huge() | FS_PS | FS_PWU;
	case 12:
		return 0x40000000ULL * (b >> 4 & 3) | FS_PS | FS_PWU;
	case 13:
		return get64();
	default:
		return ((b & 1 ? pick_table() : pick_frame()) << PAGE_SHIFT | FS_PWU) ^
		       BIT_ULL(get8() & 63);
	}
}

/* An address in the chain of tables that do_sm_set_up() makes, or any other */
static u64 pick_near(void)
{
	u8 b = get8();

	if (b < 0xe0)
		return (u64)(b & 7) << PAGE_SHIFT | (u64)(b >> 6 & 1) << 21;
	return ref_canonical(pick_iova(), b & 1 && t.ref.fs_5lp ? 5 : 4);
}

static u64 sm_context_table(u16 sid)
{
	return (u64)(GFN_CONTEXT + (sid >> 8) + (sid >> 7 & 1)) << PAGE_SHIFT;
}

static u64 sm_context(u16 sid)
{
	return sm_context_table(sid) + (sid & 0x7f) * 32;
}

/* The half of a root entry that is for the device */
static u64 sm_root(u16 sid)
{
	return (GFN_ROOT << PAGE_SHIFT) + (sid >> 8) * 16 + (sid >> 7 & 1) * 8;
}

/* All entries that lead a device to tables with their root in frame @root */
static void sm_device(unsigned int d, u64 root, unsigned int levels, u16 did)
{
	unsigned int i;

	cpu_write64(sm_root(sids[d]), sm_context_table(sids[d]) | 1);
	cpu_write128(sm_context(sids[d]), (u64)(GFN_DIRECTORY + d) << PAGE_SHIFT | 1, 0);
	cpu_write128(sm_context(sids[d]) + 16, 0, 0);
	cpu_write64((u64)(GFN_DIRECTORY + d) << PAGE_SHIFT, (u64)(GFN_PASID + d) << PAGE_SHIFT | 1);
	for (i = 0; i < 64; i += 8)
		cpu_write64(((u64)(GFN_PASID + d) << PAGE_SHIFT) + i, 0);
	cpu_write64(((u64)(GFN_PASID + d) << PAGE_SHIFT) + 8, did);
	cpu_write64(((u64)(GFN_PASID + d) << PAGE_SHIFT) + 16,
		    root << PAGE_SHIFT | (levels == 5 ? 1 << 2 : 0));
	cpu_write64((u64)(GFN_PASID + d) << PAGE_SHIFT, 1 | 1 << 6);
}

/* Set up the unit as a driver does: all devices, a chain of tables, the queue. */
static void do_sm_set_up(void)
{
	u8 b = get8();
	unsigned int d, levels = b & 1 && t.ref.fs_5lp ? 5 : 4;

	for (d = 0; d < MODEL_DEVICES; d++)
		sm_device(d, b & 2 ? d & 1 : 0, levels, 1 + (b & 4 ? d & 1 : 0));
	for (d = 0; d < levels; d++)
		cpu_write64(d << PAGE_SHIFT, (d + 1ULL) << PAGE_SHIFT | FS_PWU);
	cpu_write64((levels - 2) << PAGE_SHIFT | 8, 8ULL << PAGE_SHIFT | FS_PWU);
	for (d = 0; d < 8; d++) {
		cpu_write64((levels - 1) << PAGE_SHIFT | d << 3,
			    (0x40ULL + d) << PAGE_SHIFT | FS_PWU);
		cpu_write64(8 << PAGE_SHIFT | d << 3, (0x3fcULL + d) << PAGE_SHIFT | FS_PWU);
	}
	reg_write(REG_RTADDR, GFN_ROOT << PAGE_SHIFT | TTM_SCALABLE, 8);
	reg_write(REG_GCMD, SRTP, 4);
	reg_write(REG_IQA, GFN_QUEUE << PAGE_SHIFT | DW | (b >> 4 & 1), 8);
	reg_write(REG_IQT, 0, 8);
	reg_write(REG_GCMD, QIE, 4);
	reg_write(REG_GCMD, TE | QIE, 4);
}

/* A root, context, directory or PASID table entry of a device: right, absent or wrong */
static void do_sm_entry(void)
{
	u8 b = get8();
	unsigned int d = b & 3, words = 1;
	u64 gpa;

	switch (b >> 2 & 3) {
	case 0:
		gpa = sm_root(sids[d]);
		break;
	case 1:
		gpa = sm_context(sids[d]);
		words = 4;
		break;
	case 2:
		gpa = (u64)(GFN_DIRECTORY + d) << PAGE_SHIFT;
		break;
	default:
		gpa = (u64)(GFN_PASID + d) << PAGE_SHIFT;
		words = 8;
	}
	if (b & 0x80) {
		u64 at = gpa + get8() % words * 8, val;

		model_cpu_read(at, &val, sizeof(val));
		cpu_write64(at, b & 0x40 ? 0 : val ^ BIT_ULL(get8() & 63));
		return;
	}
	sm_device(d, pick_table(), b & 0x10 && t.ref.fs_5lp ? 5 : 4, 1 + (b >> 5 & 3));
}

/* The unit has read the entries of a device as they are now. */
static bool device_agrees(unsigned int d)
{
	static const enum kviommu_binding_type types[] = {
		[REF_BLOCKED] = KVIOMMU_BIND_BLOCKED,
		[REF_IDENTITY] = KVIOMMU_BIND_IDENTITY,
		[REF_TABLES] = KVIOMMU_BIND_DOMAIN,
		[REF_FIRST_STAGE] = KVIOMMU_BIND_NESTED,
	};
	struct kviommu_device *dev;
	struct ref_context ctx;

	list_for_each_entry(dev, &t.unit->devices, entry) {
		if (t.attached[d] != dev->source_id)
			continue;
		ctx = ref_context(&t.ref, dev->source_id, 0);
		return dev->wanted.type == types[ctx.type] && dev->wanted.fault == ctx.fault &&
		       (ctx.type == REF_IDENTITY ||
			(dev->wanted.did == ctx.did && dev->wanted.root == ctx.root &&
			 dev->wanted.levels == ctx.levels));
	}
	return false;
}

/* The queue is on, with nothing in it, and nothing is in the way of what comes. */
static bool queue_idle(void)
{
	return t.armed && t.qie && t.ref.wide && t.ref.te && !shim_task.killed &&
	       t.ref.rtaddr & TTM_SCALABLE && ref_mode_valid(&t.ref) &&
	       !(reg32(REG_FSTS) & IQE) && reg64(REG_IQH) == reg64(REG_IQT) &&
	       !shim_fail.times && !shim_jiffies_step && !t.unlock_in && !t.unit->deferred &&
	       queue_base() == GFN_QUEUE << PAGE_SHIFT &&
	       (reg64(REG_IQA) & ~0xfffULL) == queue_base();
}

/*
 * Queue the invalidations after which the unit looks at the device's PASID table entry again:
 * for the domain-id that the entry had before and the one that it has now, or for all.
 */
static void sm_pasid_changed(unsigned int d, u16 before, u16 now, bool all)
{
	if (all) {
		queue_add(7 | 3 << 4, 0);
	} else {
		queue_add(7 | 1 << 4 | (u64)before << 16, 0);
		queue_add(7 | 1 << 4 | (u64)now << 16, 0);
	}
	queue_wait(GFN_STATUS << PAGE_SHIFT, 1, 2);
	never(queue_idle() && !device_agrees(d));
}

/*
 * What a PASID table entry selects: pass-through, a type, tables, a domain; and maybe the
 * unit is told.
 */
static void do_sm_pasid(void)
{
	u8 b = get8(), how = get8();
	unsigned int d = b & 3;
	u64 pte = (u64)(GFN_PASID + d) << PAGE_SHIFT, before, now;
	bool agrees = device_agrees(d) && queue_idle();

	model_cpu_read(pte + 8, &before, sizeof(before));
	if (b & 4)
		cpu_write64(pte, 1 | (b & 8 ? 4 : get8() & 7) << 6);
	else
		cpu_write64(pte, 1 | 1 << 6);
	if (b & 0x10)
		cpu_write64(pte + 8, 1 + (b >> 5 & 3));
	if (b & 0x80)
		cpu_write64(pte + 16, pick_table() << PAGE_SHIFT | (get8() & 1 ? 4 : 0));
	model_cpu_read(pte + 8, &now, sizeof(now));
	if (how & 1 && agrees)
		sm_pasid_changed(d, before, now, how & 2);
}

static void do_sm_root(void)
{
	u8 b = get8();
	u64 mode = b & 0x40 ? (u64)(b >> 4 & 3) << 10 : TTM_SCALABLE;

	reg_write(REG_RTADDR, GFN_ROOT << PAGE_SHIFT | mode, 8);
	if (b & 0x80)
		reg_write(REG_GCMD, SRTP | (t.ref.te ? TE : 0) | (t.qie ? QIE : 0), 4);
}

static void do_fs_entry(void)
{
	u64 gpa = pick_table() << PAGE_SHIFT | pick_index() << 3;

	cpu_write64(gpa, pick_first_stage());
}

static void do_fs_fill(void)
{
	u64 gfn = pick_table();
	u8 b = get8();

	if (b & 1)
		model_cpu_fill(gfn, 0x40000000 | FS_PS | FS_PWU, SZ_2M);
	else
		model_cpu_fill(gfn, pick_huge() | (b & 4 ? b >> 3 & 7 : FS_PWU), SZ_4K);
	if (b & 2)
		cpu_write64(gfn << PAGE_SHIFT | pick_index() << 3, pick_first_stage());
}

static void do_request(void)
{
	u8 b = get8();
	unsigned int n;

	for (n = 0; n <= (b >> 2 & 7); n++)
		model_request(b & 3, 0, pick_near());
}

static void sm_wait(u8 how)
{
	queue_wait(GFN_STATUS << PAGE_SHIFT, how, how & 1 ? 2 : how & 2 ? 3 : 6);
}

static void inval_first_stage(unsigned int did, u64 iova, unsigned int am, bool leaves)
{
	if (am > 63)
		queue_add(6 | 2 << 4 | (u64)did << 16, 0);
	else
		queue_add(6 | 3 << 4 | (u64)did << 16, (iova & PAGE_MASK) | (leaves ? BIT(6) : 0) |
			  am);
}

/*
 * What a driver does to unmap pages that a device has used: change entries in the tables
 * that do_sm_set_up() made, invalidate, wait.
 */
static void do_sm_unmap(void)
{
	u8 b = get8();
	u64 table = b & 8 ? 8 : b & 0x10 ? 4 : 3, slot = b & 7;
	u64 iova = slot << PAGE_SHIFT | (b & 8 ? SZ_2M : 0);
	unsigned int d;

	for (d = 0; d < MODEL_DEVICES; d++)
		model_request(d, 0, iova);
	cpu_write64(table << PAGE_SHIFT | slot << 3, b & 0x20 ? pick_first_stage() : 0);
	b = get8();
	/* Both domains, one of them, or all at once, with requests meanwhile or without */
	if (!t.qie || !t.ref.wide)
		return;
	switch (b & 3) {
	case 0:
		inval_first_stage(1, iova, 0, b & 4);
		inval_first_stage(2, iova, b >> 6, b & 4);
		break;
	case 1:
		inval_first_stage(1 + (b >> 2 & 1), iova, 64, false);
		break;
	case 2:
		queue_add(2 | 1 << 4, 0);
		break;
	default:
		inval_first_stage(1 + (b >> 2 & 1), iova, b >> 4, false);
	}
	if (b & 8)
		for (d = 0; d < MODEL_DEVICES; d++)
			model_request(d, 0, iova);
	sm_wait(b);
}

/* Pages here and there that devices have used go, with one wait for all of them. */
static void do_sm_batch(void)
{
	unsigned int n = 1 + (get8() & 7), d;
	u64 at = reg64(REG_IQT), iova, table;

	for (; n; n--) {
		u8 b = get8();

		iova = (u64)(b & 7) << PAGE_SHIFT | (b & 8 ? SZ_2M : 0);
		table = b & 8 ? 8 : b & 0x10 ? 4 : 3;
		for (d = 0; d < MODEL_DEVICES; d++)
			model_request(d, 0, iova);
		cpu_write64(table << PAGE_SHIFT | (b & 7) << 3, 0);
		/* One page, or four; domains 1 and 2 */
		at = queue_put(at, 6 | 3 << 4 | (u64)(1 + (b >> 5 & 1)) << 16,
			       iova | (b & 0x40 ? 2 : 0) | (b & 0x80 ? BIT(6) : 0));
	}
	at = queue_put(at, 5 | 1 << 5 | 7ULL << 32, GFN_STATUS << PAGE_SHIFT);
	if (t.qie && t.ref.wide)
		write_tail(at);
}

static void do_piotlb(void)
{
	u8 b = get8();
	u64 lo = 6 | (b & 1 ? 3 : 2) << 4 | (u64)(1 + (b >> 1 & 1)) << 16, hi = 0;

	if (b & 4)
		lo |= (u64)(get8() & 3) << 32;
	if (b & 1)
		hi = (pick_near() & PAGE_MASK) | (get8() & 0x7f);
	if (b & 8)
		lo ^= BIT_ULL(get8() & 63);
	if (b & 0x10)
		hi ^= BIT_ULL(get8() & 63);
	if (!t.qie)
		return;
	queue_add(lo, hi);
	if (b & 0x20)
		sm_wait(b >> 6);
}

static void do_pasid_cache(void)
{
	u8 b = get8();
	u64 lo = 7 | (b & 3) << 4 | (u64)(b >> 2 & 3) << 16;

	if (b & 0x10)
		lo ^= BIT_ULL(get8() & 63);
	if (!t.qie)
		return;
	queue_add(lo, b & 0x20 ? BIT_ULL(get8() & 63) : 0);
	if (b & 0x40)
		sm_wait(b);
}

/* Any descriptor, with any bits in its upper half */
static void do_sm_descriptor(void)
{
	u64 base = reg64(REG_IQA) & ~0xfffULL, lo = get8(), at;
	u8 b = get8();

	if (b & 1)
		lo |= (u64)(get8() & 7) << 16;
	if (b & 2)
		lo ^= BIT_ULL(get8() & 63);
	at = queue_put(reg64(REG_IQT), lo, b & 4 ? get64() : pick_near());
	if (b & 8 && t.ref.wide)
		cpu_write64(base + ((at - 32) & (queue_size() - 1)) + (b & 0x10 ? 16 : 24),
			    BIT_ULL(get8() & 63));
	if (b & 0x20)
		at ^= 16;
	if (b & 0x40)
		write_tail(at);
}

/* Many descriptors at once, as do_burst() */
static void do_sm_burst(void)
{
	unsigned int n = get8() & 0x7f, kinds = get8(), d;
	u64 at = reg64(REG_IQT), iova = pick_near();

	for (d = 0; d < MODEL_DEVICES; d++)
		model_request(d, 0, iova);
	for (; n; n--, iova += PAGE_SIZE) {
		if (kinds >> (n & 7) & 1)
			at = queue_put(at, 6 | 3 << 4 | (u64)(1 + (n & 1)) << 16,
				       (iova & PAGE_MASK) | (n & 15));
		else if (n % 5)
			at = queue_put(at, 5 | 1 << 5 | (u64)n << 32, GFN_STATUS << PAGE_SHIFT);
		else
			at = queue_put(at, 7 | 1 << 4 | 1 << 16, 0);
	}
	write_tail(at);
}

static void do_sm_queue(void)
{
	u8 b = get8();

	reg_write(REG_IQA, (GFN_QUEUE << PAGE_SHIFT) | (b & 1) | (b & 8 ? 0 : DW), 8);
	reg_write(REG_IQT, (u64)(b >> 4) << 4, 8);
	if (b & 2) {
		reg_write(REG_GCMD, t.ref.te ? TE : 0, 4);
		reg_write(REG_GCMD, QIE | (t.ref.te ? TE : 0), 4);
	}
}

/* Actions of guests that know PASIDs */

/* Those of the set-up, such as have the same entries, and such as no device has */
static u32 pick_pasid(void)
{
	static const u32 pasids[] = { 1, 2, 3, 0x41, 0x7f, 0x80, 0x2000, 0 };
	u8 b = get8();

	return b < 0xc0 ? 1 + (b & 3) : b < 0xf8 ? pasids[b & 7] : (u32)get64() & 0xfffff;
}

/* The entry that leads to a PASID of a device, if it is one of the directory's first frame */
static u64 pasid_entry(unsigned int d, u32 pasid)
{
	return ((u64)(GFN_PASID + d) << PAGE_SHIFT) + (pasid & 63) * 64;
}

static void pasid_write(unsigned int d, u32 pasid, u64 type, u16 did, u64 root,
			unsigned int levels)
{
	u64 at = pasid_entry(d, pasid);
	unsigned int i;

	for (i = 0; i < 64; i += 8)
		cpu_write64(at + i, 0);
	cpu_write64(at + 8, did);
	cpu_write64(at + 16, root << PAGE_SHIFT | (levels == 5 ? 1 << 2 : 0));
	if (type)
		cpu_write64(at, 1 | type << 6);
	/* All entries of the directory lead to the same table. */
	if (pasid < 512 * 64)
		cpu_write64(((u64)(GFN_DIRECTORY + d) << PAGE_SHIFT) + (pasid >> 6) * 8,
			    (u64)(GFN_PASID + d) << PAGE_SHIFT | 1);
}

/* The unit has read the entries of a PASID of all devices as they are now. */
static bool pasid_agrees(u32 pasid)
{
	static const struct kviommu_binding none;
	const struct kviommu_binding *b;
	struct kviommu_device *dev;
	struct kviommu_pasid *p;
	struct ref_context ctx;

	list_for_each_entry(dev, &t.unit->devices, entry) {
		p = xa_load(&dev->pasids, pasid);
		b = p ? &p->wanted : &none;
		ctx = ref_context(&t.ref, dev->source_id, pasid);
		if (b->fault != ctx.fault || b->did != ctx.did || b->root != ctx.root ||
		    b->levels != ctx.levels ||
		    b->type != (ctx.type == REF_BLOCKED ? KVIOMMU_BIND_BLOCKED :
							  KVIOMMU_BIND_NESTED))
			return false;
	}
	return true;
}

/* Tell the unit that the entry of a PASID has changed, as @how says; it has to notice. */
static void pasid_changed(u32 pasid, u16 did, u8 how)
{
	bool idle = queue_idle();

	switch (how & 7) {
	case 0:
		return;
	case 1:
		queue_add(7 | 3 << 4, 0);
		break;
	case 2:
		queue_add(1 | 1 << 4, 0);
		break;
	default:
		queue_add(7 | 1 << 4 | (u64)did << 16 | (u64)pasid << 32, 0);
		if (how & 8)
			queue_add(6 | 2 << 4 | (u64)did << 16 | (u64)pasid << 32, 0);
	}
	queue_wait(GFN_STATUS << PAGE_SHIFT, 1, 2);
	/* Those that are not known are not found by what is for all. */
	never(idle && (how & 7) > 2 && queue_idle() && pasid && !(pasid >> t.ref.pasid_bits) &&
	      !shim_fail.failed && t.unit->nr_pasids < KVIOMMU_MAX_PASIDS &&
	      !pasid_agrees(pasid));
}

/* Give each device PASIDs 1 to 3, with what the input's bits say, and announce them. */
static void do_pasid_set_up(void)
{
	u8 b = get8();
	unsigned int d, levels = b & 1 && t.ref.fs_5lp ? 5 : 4;
	u32 pasid;

	for (d = 0; d < MODEL_DEVICES; d++) {
		cpu_write64(sm_context(sids[d]), (u64)(GFN_DIRECTORY + d) << PAGE_SHIFT |
			    (b >> 4 & 7) << 9 | 1 << 3 | 1);
		for (pasid = 1; pasid < 4; pasid++)
			pasid_write(d, pasid, pasid == 3 && b & 2 ? 4 : 1,
				    1 + (b & 4 ? pasid & 1 : 0), b & 8 ? pasid & 1 : 0, levels);
	}
	queue_add(1 | 1 << 4, 0);
	for (pasid = 1; pasid < 4; pasid++)
		pasid_changed(pasid, 1, 3);
}

/* An entry of a PASID: tables, pass-through, nothing, or any bit */
static void do_pasid_entry(void)
{
	u8 b = get8(), how = get8();
	u32 pasid = pick_pasid();
	unsigned int d = b & 3, levels = b & 0x10 && t.ref.fs_5lp ? 5 : 4;
	u16 did = 1 + (b >> 5 & 3);
	u64 at = pasid_entry(d, pasid), val;

	if (how & 0x40) {
		at += (get8() & 7) * 8;
		model_cpu_read(at, &val, sizeof(val));
		cpu_write64(at, val ^ BIT_ULL(get8() & 63));
	} else {
		pasid_write(d, pasid, how & 0x80 ? (how >> 4 & 3) * 2 : 1, did, pick_table(),
			    levels);
	}
	pasid_changed(pasid, did, how);
}

/* Whether a device has PASIDs, and how many its directory is for */
static void do_pasid_context(void)
{
	u8 b = get8();
	unsigned int d = b & 3;
	u64 gpa = sm_context(sids[d]), val;

	model_cpu_read(gpa, &val, sizeof(val));
	val &= ~(u64)(7 << 9 | 1 << 3);
	cpu_write64(gpa, val | (b >> 2 & 7) << 9 | (b & 0x20 ? 1 << 3 : 0));
	if (b & 0x80)
		queue_add(1 | (b & 0x40 ? 1 : 3) << 4 | (u64)sids[d] << 32, 0);
	if (b & 0x80)
		sm_wait(b);
}

static void do_pasid_request(void)
{
	u8 b = get8();
	u32 pasid = pick_pasid();
	unsigned int n;

	for (n = 0; n <= (b >> 2 & 7); n++)
		model_request(b & 3, pasid, pick_near());
}

/* Pages that devices have used with PASIDs go, as in do_sm_unmap(). */
static void do_pasid_unmap(void)
{
	u8 b = get8(), how = get8();
	u64 table = b & 8 ? 8 : b & 0x10 ? 4 : 3, slot = b & 7;
	u64 iova = slot << PAGE_SHIFT | (b & 8 ? SZ_2M : 0);
	u64 at = reg64(REG_IQT), lo;
	u32 pasid;
	unsigned int d;

	for (d = 0; d < MODEL_DEVICES; d++)
		for (pasid = 0; pasid < 4; pasid++)
			model_request(d, pasid, iova);
	cpu_write64(table << PAGE_SHIFT | slot << 3, b & 0x20 ? pick_first_stage() : 0);
	for (pasid = how & 1; pasid < 4; pasid++) {
		lo = 6 | (how & 2 ? 2 : 3) << 4 | (u64)(1 + (how >> 2 & 1)) << 16;
		at = queue_put(at, lo | (u64)pasid << 32, how & 2 ? 0 :
			       iova | (how & 8 ? BIT(6) : 0) | (how & 0x10 ? 1 : 0));
	}
	at = queue_put(at, 5 | 1 << 5 | 7ULL << 32, GFN_STATUS << PAGE_SHIFT);
	if (t.qie && t.ref.wide)
		write_tail(at);
}

/* Many PASIDs in a row are announced, more than there may be, or they go. */
static void do_pasid_many(void)
{
	u8 b = get8();
	u32 pasid = 8 + (b & 15) * 96, last = pasid + 96;
	u64 at = reg64(REG_IQT);

	for (; pasid < last; pasid++) {
		pasid_write(b >> 4 & 1, pasid, b & 0x80 ? 0 : 1, 1 + (pasid & 1), pasid & 3, 4);
		at = queue_put(at, 7 | 1 << 4 | 1 << 16 | (u64)pasid << 32, 0);
	}
	at = queue_put(at, 5 | 1 << 5 | 7ULL << 32, GFN_STATUS << PAGE_SHIFT);
	if (t.qie && t.ref.wide)
		write_tail(at);
}

static void (* const pasid_actions[])(void) = {
	do_pasid_set_up, do_pasid_entry, do_pasid_entry, do_pasid_context, do_pasid_request,
	do_pasid_unmap, do_pasid_unmap, do_pasid_many,
};

static_assert(ARRAY_SIZE(pasid_actions) == 8);

static void (* const sm_actions[])(void) = {
	do_sm_set_up, do_entry, do_sm_entry, do_sm_entry, do_sm_entry, do_sm_entry,
	do_sm_pasid, do_sm_pasid, do_sm_pasid, do_sm_root, do_fs_entry, do_fs_entry,
	do_fs_entry, do_fs_entry, do_fs_fill, do_fs_fill, do_copy_table, do_clear_table,
	do_request, do_request, do_request, do_sm_unmap, do_sm_unmap, do_sm_unmap,
	do_sm_unmap, do_piotlb, do_piotlb, do_sm_batch, do_pasid_cache, do_pasid_cache,
	do_sm_descriptor, do_sm_descriptor, do_sm_burst, do_sm_batch, do_sm_queue, do_tail,
	do_inval_context, do_iotlb, do_wait, do_wait, do_ioas, do_ioas, do_ioas, do_device,
	do_device, do_policy, do_refresh, do_reset, do_fail, do_unlock, do_disarm, do_arm,
	do_event, do_time, do_kill_or_poll, run_worker, check_all, check_all, check_all,
	do_register, do_gcmd, do_mask, do_set_up, do_context,
};

/* As for actions[] below */
static_assert(ARRAY_SIZE(sm_actions) == 64);

static void (* const actions[])(void) = {
	do_entry, do_entry, do_entry, do_entry, do_entry, do_entry, do_fill,
	do_copy_table, do_clear_table, do_root, do_context, do_context,
	do_set_up, do_register, do_register, do_gcmd, do_rtaddr, do_queue,
	do_tail, do_descriptor, do_submit, do_psi, do_psi, do_psi, do_iotlb,
	do_iotlb, do_inval_context, do_inval_context, do_wait, do_wait, do_ioas,
	do_ioas, do_device, do_device, do_policy, do_refresh, do_reset, do_fail,
	do_unlock, do_disarm, do_arm, do_event, do_time, do_kill_or_poll, run_worker,
	check_all, check_all, check_all, do_burst, do_burst, do_split, do_split,
	do_split, do_split, do_mask, do_entry, do_entry, do_entry, do_psi,
	do_iotlb, do_context, do_wait, do_fail, do_ioas,
};

/* A change of this number would change the meaning of all inputs of the corpus. */
static_assert(ARRAY_SIZE(actions) == 64);

/* PASIDs: of as many bits as the host has, or fewer */
static void choose_pasids(struct kviommu_create_vtd *vtd)
{
	unsigned int bits = t.strategy & 0x20 ? 7 : 20;

	model_nest[0].pasid_bits = 20;
	model_nest[1].pasid_bits = 20;
	vtd->ecap |= ECAP_PASID | (bits - 1ULL) << 35;
}

/* What the host can nest, and what of it the guest is to see. Return: what else it is not. */
static u64 choose_nested(struct kviommu_create_vtd *vtd)
{
	u8 b = get8();

	vtd->aw_bits = b & 1 ? 57 : 48;
	model_nest[0] = (struct kviommu_nest){
		.wanted = true,
		.coherent = b & 2,
		.snoop = b & 4,
		.huge = b & 8,
		.five_levels = b & 1,
	};
	model_nest[1] = model_nest[0];
	model_nest[1].wanted = !(b & 0x10);
	vtd->cap = (b & 8 ? CAP_FS1GP : 0) | (b & 1 ? CAP_FS5LP : 0);
	vtd->ecap = ECAP_SMTS | ECAP_FSTS | (b & 4 ? ECAP_SC : 0) | (b & 2 ? ECAP_SMPWCS : 0);
	/* Less than the host has, or than one of its IOMMUs has */
	if (b & 0x20)
		vtd->cap = 0;
	if (b & 0x40) {
		model_nest[1].snoop = false;
		model_nest[1].coherent = false;
	}
	return b & 0x80 ? ECAP_PT : 0;
}

static bool create_unit(void)
{
	static const u8 widths[] = { 39, 40, 48, 48, 57, 49, 48, 48 };
	u8 b = get8();
	struct kviommu_create cmd = { .model = KVIOMMU_MODEL_VTD };
	struct kviommu_vtd_info info = {}, nested;
	struct kviommu_create_vtd vtd = {
		.aw_bits = widths[b & 7],
		.flags = b & 8 ? KVIOMMU_VTD_BOOT_IDENTITY : 0,
	};
	u64 without = 0;
	unsigned int d;
	int ret;

	memset(&t, 0, sizeof(t));
	t.unit = kviommu_unit_alloc();
	never(IS_ERR(t.unit));
	model_begin(t.unit);
	model_excuse = leaf_became_table;
	model_map_lock_free = map_lock_free;
	if (b & 0x10)
		shim_fail = (struct shim_fail){ get8() & 7, 1, 0 };
	kviommu_vtd.get_info(&info);
	/* Seven of the eight are legacy units. */
	if ((b & 7) == 7) {
		without = choose_nested(&vtd);
		/* If it lacks memory the first time, it has it the second time. */
		while (kviommu_vtd.get_info(&nested))
			never(!shim_fail.failed);
		vtd.cap &= nested.out_cap;
		vtd.ecap &= nested.out_ecap;
	}
	t.strategy = b & 0x80 ? get8() : 0;
	if ((b & 7) == 7 && t.strategy & 0x10)
		choose_pasids(&vtd);
	vtd.cap |= info.out_cap;
	vtd.ecap |= info.out_ecap & ~without;
	ret = kviommu_unit_create(t.unit, &cmd, &kviommu_vtd, &vtd);
	shim_fail = (struct shim_fail){};
	if (ret)
		return false;
	t.page = page_address(t.unit->pages[0]);
	t.cap = reg64(REG_CAP);
	t.ecap = reg64(REG_ECAP);
	t.ref.mgaw = vtd.aw_bits;
	t.ref.max_levels = vtd.aw_bits > 48 ? 5 : vtd.aw_bits > 39 ? 4 : 3;
	t.ref.boot_identity = vtd.flags;
	t.ref.pt = vtd.ecap & ECAP_PT;
	t.ref.sc = vtd.ecap & ECAP_SC;
	t.ref.scalable = vtd.ecap & ECAP_SMTS;
	t.ref.smpwc = vtd.ecap & ECAP_SMPWCS;
	/* The hardware takes leaves of 1 GiB if it can, even if FS1GP is not offered. */
	t.ref.fs_1g = model_nest[0].huge;
	t.ref.fs_5lp = vtd.cap & CAP_FS5LP;
	if (vtd.ecap & ECAP_PASID)
		t.ref.pasid_bits = (vtd.ecap & ECAP_PSS) / (ECAP_PSS & -ECAP_PSS) + 1;
	never(!(t.ecap & ECAP_SMTS) != !t.ref.scalable);
	for (d = 0; d < MODEL_DEVICES; d++)
		t.attached[d] = -1;
	set_policy(SZ_256M, 1024, MAX_TABLES, 64, t.strategy);
	arm_unit();
	for (d = 0; b & 0x20 && d < MODEL_DEVICES; d++) {
		ret = attach_device(d, d, sids[d]);
		/* What is promised all IOMMUs have that nest. */
		never(ret && !(!model_nest[1].wanted && ret == -EMEDIUMTYPE));
	}
	if (b & 0x40)
		(t.ref.scalable ? do_sm_set_up : do_set_up)();
	return true;
}

int fuzz_one_input(const u8 *data, size_t size);

int fuzz_one_input(const u8 *data, size_t size)
{
	unsigned int n;
	u8 a;

	in.next = data;
	in.end = data + size;
	if (create_unit()) {
		check_bound();
		for (n = 0; n < 200 && in.next < in.end; n++) {
			if (shim_task.killed)
				break;
			a = get8();
			if (t.ref.pasid_bits && a & 0x40)
				pasid_actions[a & 7]();
			else
				(t.ref.scalable ? sm_actions : actions)[a & 63]();
			check_bound();
		}
		if (!shim_task.killed)
			check_all();
	}
	/* Closing the unit must work without failures. */
	shim_fail = (struct shim_fail){};
	t.unlock_in = 0;
	kviommu_unit_destroy(t.unit);
	model_end();
	return 0;
}
