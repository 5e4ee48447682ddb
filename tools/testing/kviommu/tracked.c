// SPDX-License-Identifier: GPL-2.0-only
/*
 * coIOMMU against a model of its guest: guests that keep to the rules, and some that do not, do
 * random things, while the VMM changes memory, limits and devices. The module's own code runs
 * unchanged on top of the model of the host, which finds a page that is unpinned while a device
 * may reach it. After each step it must hold that
 *
 * - what the guest has mapped, and found pinned, is reached by all devices;
 * - devices reach what is pinned for them, where the IOAS has it, and nothing else;
 * - what is pinned is no more than the limit, or than there was when that was lowered, and one
 *   table;
 * - each slot is 0.
 *
 * Prints TAP. KVIOMMU_SEED repeats a run, KVIOMMU_STEPS makes it longer.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../../../drivers/iommu/kviommu/core/core.h"
#include "../../../drivers/iommu/kviommu/device/device.h"
#include "../../../drivers/iommu/kviommu/mem/mem.h"
#include "../../../drivers/iommu/kviommu/model/coiommu/coiommu.h"
#include "../../../drivers/iommu/kviommu/model/model.h"
#include "../../../drivers/iommu/kviommu/run/run.h"
#include "../../../drivers/iommu/kviommu/xlate/tracked/tracked.h"
#include "model.h"

#define NR_GFNS		0x800
#define GUEST_CPUS		4
#define NR_DEVICES	3
#define LEVELS		3
#define STEPS		400
#define RUNS		20

/* Frames of the guest's tables: the root, one below, two with words; another four later */
#define TABLES		0x10
#define NR_TABLES	4
#define BATCH_GFN	0x20

static struct kviommu_unit *unit;
static u64 seed;

/**
 * struct guest - What the guest knows
 * @root: Frame number of its root table
 * @active: It has activated that
 * @parked: How often it has parked the unit
 * @uses: How often it has mapped each frame, and found it pinned
 * @wild: It does not keep to the rules any more
 */
static struct guest {
	u64 root;
	bool active;
	unsigned int parked;
	unsigned int uses[NR_GFNS];
	bool wild;
} guest;

/* Which devices the unit has, and which of them are bus masters */
static bool attached[NR_DEVICES], master[NR_DEVICES];
static u64 pins_allowed;

static u64 pick(u64 n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % n;
}

static void put64(u64 gpa, u64 val)
{
	model_cpu_write(gpa, &val, sizeof(val));
}

static u64 word_gpa(u64 gfn)
{
	return PFN_PHYS(guest.root + 2 + (gfn >> DTT_WORD_BITS)) +
	       (gfn & (DTT_WORDS - 1)) * sizeof(u32);
}

static u32 word(u64 gfn)
{
	u32 val;

	model_cpu_read(word_gpa(gfn), &val, sizeof(val));
	return val;
}

static void put_word(u64 gfn, u32 val)
{
	model_cpu_write(word_gpa(gfn), &val, sizeof(val));
}

/* A vCPU's thread is killed on the way; another one goes on. */
static void drain_worker(void)
{
	struct vhost_task *worker = unit->worker;

	do {
		if (shim_task.killed)
			model_revive();
	} while (worker->fn(worker->data));
}

static void reg_write(unsigned int offset, u64 val, unsigned int len)
{
	memcpy((u8 *)page_address(unit->pages[0]) + offset, &val, len);
	unit->kvm.write(&unit->kvm, offset, &val, len);
	if (shim_task.killed)
		drain_worker();
}

static void command(u64 cmd)
{
	reg_write(CO_COMMAND, cmd, 8);
	/* It is done when it has been read back. */
	never(unit->must_finish);
	never(*(u64 *)((u8 *)page_address(unit->pages[0]) + CO_COMMAND));
}

static void make_table(u64 root)
{
	unsigned int i;

	for (i = 0; i < NR_TABLES; i++)
		model_cpu_fill(root + i, 0, 0);
	put64(PFN_PHYS(root), PFN_PHYS(root + 1) | 1);
	for (i = 0; i < 2; i++)
		put64(PFN_PHYS(root + 1) + 8 * i, PFN_PHYS(root + 2 + i) | 1);
	guest.root = root;
}

static void activate(u64 root)
{
	if (root != guest.root || !guest.active)
		make_table(root);
	memset(guest.uses, 0, sizeof(guest.uses));
	reg_write(CO_ROOT, PFN_PHYS(root), 8);
	reg_write(CO_LEVELS, LEVELS, 8);
	command(CO_ACTIVATE);
	guest.active = true;
}

static void deactivate(void)
{
	command(CO_DEACTIVATE);
	never(unit->tracked.pinned);
	guest.active = false;
	memset(guest.uses, 0, sizeof(guest.uses));
}

static bool in_set(u64 gfn)
{
	struct tracked_leaf *leaf = xa_load(&unit->tracked.leaves, gfn >> DTT_WORD_BITS);

	return leaf && test_bit(gfn & (DTT_WORDS - 1), leaf->pinned);
}

/* What is said of frames, in a table that is there and not parked, is so. */
static void check_words(void)
{
	u64 gfn;

	for (gfn = 0; gfn < NR_GFNS; gfn++)
		never(in_set(gfn) != !!(word(gfn) & DTT_PINNED));
}

/* The guest activates the same table again: frames whose words still say pinned are pinned. */
static void reactivate(void)
{
	u64 gfn;

	shim_fail = (struct shim_fail){ .after = pick(8), .times = 1 + pick(8) };
	command(CO_DEACTIVATE);
	shim_fail = (struct shim_fail){};
	check_words();
	for (gfn = 0; gfn < NR_GFNS; gfn++)
		for (; guest.uses[gfn]; guest.uses[gfn]--)
			put_word(gfn, word(gfn) - 1);
	command(CO_ACTIVATE);
	never(unit->tracked.pinned);
}

static void park(void)
{
	command(CO_PARK);
	guest.parked++;
}

static void unpark(void)
{
	command(CO_UNPARK);
	guest.parked -= !!guest.parked;
}

static void ask(unsigned int cpu, u64 value)
{
	u64 *slot = (u64 *)page_address(unit->pages[CO_SLOTS_PAGE + cpu / 512]) + cpu % 512;

	WRITE_ONCE(*slot, value);
	reg_write(CO_TRIGGER + cpu, 1, 1);
	drain_worker();
	never(READ_ONCE(*slot));
}

static unsigned int any_device(void)
{
	unsigned int d = pick(NR_DEVICES);

	return attached[d] ? d : attached[0] ? 0 : attached[1] ? 1 : 2;
}

static void count(u64 gfn)
{
	put_word(gfn, (word(gfn) + 1) | DTT_ACCESSED);
}

/* The guest looks for what was pinned, and gives up all if something was not. */
static void mapped(u64 first, u64 nr)
{
	bool all = true;
	u64 gfn;

	for (gfn = first; gfn < first + nr; gfn++)
		all &= !!(word(gfn) & DTT_PINNED);
	for (gfn = first; gfn < first + nr; gfn++) {
		if (all)
			guest.uses[gfn]++;
		else
			put_word(gfn, word(gfn) - 1);
	}
}

static void map_one(void)
{
	u64 gfn = 0x40 + pick(NR_GFNS - 0x40);

	count(gfn);
	if (!(word(gfn) & DTT_PINNED))
		ask(pick(GUEST_CPUS), gfn << CO_SLOT_GFN_SHIFT | any_device());
	mapped(gfn, 1);
}

static void map_batch(void)
{
	u64 nr = 1 + pick(100), first = 0x40 + pick(NR_GFNS - 0x40 - nr), i;

	for (i = 0; i < nr; i++) {
		count(first + i);
		put64(PFN_PHYS(BATCH_GFN) + 8 * (2 + i), first + i);
	}
	put64(PFN_PHYS(BATCH_GFN), any_device());
	put64(PFN_PHYS(BATCH_GFN) + 8, nr);
	ask(pick(GUEST_CPUS), CO_SLOT_BATCH | PFN_PHYS(BATCH_GFN));
	mapped(first, nr);
}

static void unmap_some(void)
{
	unsigned int n = 1 + pick(8);
	u64 i, gfn = pick(NR_GFNS);

	for (i = 0; i < NR_GFNS && n; i++, gfn = (gfn + 1) % NR_GFNS) {
		if (!guest.uses[gfn])
			continue;
		guest.uses[gfn]--;
		put_word(gfn, word(gfn) - 1);
		n--;
	}
}

static void set_policy(u64 member, u64 val)
{
	struct kviommu_policy p = { .mask = member };

	if (member == KVIOMMU_POLICY_MAX_PINS)
		p.max_pins = val;
	else if (member == KVIOMMU_POLICY_UNPIN_MS)
		p.unpin_ms = val;
	else
		p.unpin_pages = val;
	never(kviommu_unit_set_wanted(unit, &p));
	drain_worker();
}

/* Pages that the guest has given away and does not use are released, others are in use. */
static void balloon(void)
{
	u64 gfn = pick(NR_GFNS), nr = min_t(u64, 1 + pick(64), NR_GFNS - gfn), used = 0, i;
	struct kviommu_release_pins cmd = {
		.gpa = PFN_PHYS(gfn), .length = PFN_PHYS(nr),
	};
	bool identity = false;
	unsigned int d;

	for (i = 0; i < nr; i++)
		used += !!guest.uses[gfn + i];
	for (d = 0; d < NR_DEVICES; d++)
		identity |= attached[d] && model_path(d) == PATH_IOAS;
	never(kviommu_unit_release_pins(unit, &cmd));
	if (identity)
		never(cmd.out_in_use != nr);
	else
		never(cmd.out_in_use < used && !guest.wild);
	if (!identity && !guest.parked && !guest.wild && guest.active)
		never(cmd.out_in_use != used);
	for (i = 0; i < nr && !guest.parked && guest.active; i++)
		if (!guest.uses[gfn + i])
			never(word(gfn + i) & DTT_PINNED && !guest.wild);
}

/*
 * The IOAS loses memory that holds no table, so what is mapped there is lost. While it is parked
 * the guest would not be told.
 */
static void change_memory(void)
{
	static const unsigned int changeable[] = {
		AREA_LOW, AREA_CONTIGUOUS, AREA_SCATTERED, AREA_REST,
	};
	unsigned int a = changeable[pick(ARRAY_SIZE(changeable))];
	const struct model_area *area = &model_areas[a];
	u64 gfn;

	if (!model_ioas_mapped(a)) {
		model_ioas_map(a, pick(2), pick(4) ? area->prot : KVIOMMU_READ);
		return;
	}
	if (guest.parked)
		return;
	model_ioas_unmap(a);
	drain_worker();
	for (gfn = area->gfn; gfn < area->gfn + area->nr; gfn++) {
		if (!guest.wild && guest.active)
			never(word(gfn) & DTT_PINNED);
		for (; guest.uses[gfn]; guest.uses[gfn]--)
			put_word(gfn, word(gfn) - 1);
	}
}

static void change_device(void)
{
	unsigned int d = pick(NR_DEVICES);

	if (attached[d])
		never(kviommu_unit_detach(unit, d));
	else
		never(kviommu_unit_attach(unit, d, d));
	attached[d] = !attached[d];
	master[d] = false;
}

static void change_master(void)
{
	unsigned int d = pick(NR_DEVICES);

	/* A device that could not be given all memory is blocked, until that can be had. */
	shim_fail = (struct shim_fail){ .after = pick(4), .times = pick(2) };
	never(kviommu_unit_set_bus_master(unit, d, !master[d]) != (attached[d] ? 0 : -ENOENT));
	shim_fail = (struct shim_fail){};
	never(kviommu_unit_refresh(unit));
	master[d] = attached[d] && !master[d];
}

/* Bits that only the host writes, and slots and batches of any kind */
static void go_wild(void)
{
	unsigned int i;

	guest.wild = true;
	memset(guest.uses, 0, sizeof(guest.uses));
	for (i = 0; i < 20; i++)
		put_word(pick(NR_GFNS), pick(2) ? seed : (u32)seed & (DTT_PINNED | 3));
	ask(pick(8), pick(2) ? seed : CO_SLOT_BATCH | pick(PFN_PHYS(NR_GFNS)));
	put64(PFN_PHYS(guest.root + pick(2)) + 8 * pick(3),
	      pick(2) ? seed : PFN_PHYS(pick(NR_GFNS)) | 1);
}

static void reset(void)
{
	never(kviommu_unit_reset(unit));
	memset(master, 0, sizeof(master));
	guest.active = false;
	guest.parked = 0;
	guest.wild = false;
	never(unit->tracked.pinned || unit->tracked.nr_leaves);
	activate(TABLES);
}

/* KVM has stored a command, but not reported it yet, when the unit looks once more. */
static void park_seen(void)
{
	u64 cmd = CO_PARK;

	memcpy((u8 *)page_address(unit->pages[0]) + CO_COMMAND, &cmd, sizeof(cmd));
	mutex_lock(&unit->lock);
	unit->model->page_ops->snapshot(unit->model);
	mutex_unlock(&unit->lock);
	park();
}

static void any_command(void)
{
	switch (pick(5)) {
	case 0:
		park();
		break;
	case 1:
		unpark();
		break;
	case 2:
		deactivate();
		break;
	case 3:
		park_seen();
		break;
	default:
		activate(guest.root ^ NR_TABLES);
	}
}

/* Commands that are trapped meanwhile are done when the guest goes on, as all others. */
static void arm(void)
{
	model_vcpu = any_command;
	never(kviommu_unit_arm(unit, 0xfed90000));
	model_vcpu = NULL;
	drain_worker();
}

static void step(void)
{
	switch (pick(32)) {
	case 0:
		balloon();
		break;
	case 1:
		change_memory();
		break;
	case 2:
		change_device();
		break;
	case 3:
		set_policy(KVIOMMU_POLICY_MAX_PINS, pick(2) ? 1 << 20 : 8 + pick(200));
		break;
	case 4:
		set_policy(KVIOMMU_POLICY_UNPIN_MS, pick(4) * 10);
		break;
	case 5:
		set_policy(KVIOMMU_POLICY_UNPIN_PAGES, pick(2) ? U64_MAX : pick(20));
		break;
	case 6:
		park();
		break;
	case 7:
	case 8:
		unpark();
		break;
	case 9:
		if (guest.wild || !pick(4))
			reset();
		break;
	case 10:
		if (!pick(4))
			deactivate();
		else if (guest.active && !guest.parked && !guest.wild)
			reactivate();
		break;
	case 11:
		if (!guest.active || (!pick(4) && !guest.wild))
			activate(guest.root ^ NR_TABLES);
		break;
	case 12:
		atomic_long_add(pick(100), &unit->pins.wanted);
		kviommu_unit_defer(unit);
		drain_worker();
		break;
	case 13:
		if (!pick(8))
			go_wild();
		break;
	case 14:
		shim_fail = (struct shim_fail){ .after = pick(8), .times = 1 + pick(3) };
		map_batch();
		shim_fail = (struct shim_fail){};
		break;
	case 15:
		model_kill_after(pick(40));
		map_batch();
		model_revive();
		/* A table may be left idle, with one of the two rights that it needs. */
		pins_allowed += pins_allowed != U64_MAX;
		break;
	case 16 ... 19:
		unmap_some();
		break;
	case 20 ... 22:
		if (shim_timer_expire(&unit->timer))
			drain_worker();
		break;
	case 23 ... 25:
		map_batch();
		break;
	case 26:
		if (!pick(8))
			arm();
		break;
	case 27:
		change_master();
		break;
	default:
		map_one();
	}
}

static void check_device(unsigned int d)
{
	struct iommu_domain *domain = model_domain(d);
	struct model_piece piece;
	unsigned int prot;
	u64 gfn, pfn;

	if (!guest.active) {
		never(model_path(d) != (master[d] ? PATH_IOAS : PATH_BLOCKED));
		return;
	}
	never(model_path(d) == PATH_IOAS);
	for (gfn = 0; gfn < NR_GFNS; gfn++) {
		bool reached = model_path(d) == PATH_DOMAIN &&
			       model_translate(domain, PFN_PHYS(gfn), &piece);

		/* What a physical IOMMU reserves a device that comes later does not reach. */
		if (domain && model_reserved(domain, PFN_PHYS(gfn))) {
			never(reached);
			continue;
		}
		never(reached != in_set(gfn));
		/* A wild guest has taken what it wrote itself for pinned. */
		never(guest.uses[gfn] && !reached && !guest.wild);
		if (!reached)
			continue;
		never(!model_ioas_lookup(gfn, &pfn, &prot) || piece.pfn != pfn);
		never(piece.prot != (IOMMU_READ | IOMMU_WRITE) || prot != 3);
	}
}

static void check(void)
{
	const struct kviommu_tracked_state *s = &unit->tracked;
	u64 gfn, pins, n = 0;
	unsigned int d;

	for (gfn = 0; gfn < NR_GFNS; gfn++) {
		n += in_set(gfn);
		/* A guest that keeps to the rules knows what is pinned, unless it is parked. */
		if (guest.active && !guest.wild && !guest.parked)
			never(in_set(gfn) != !!(word(gfn) & DTT_PINNED));
	}
	/* A wild one may have found memory beyond what is looked at here. */
	never(guest.wild ? n > s->pinned : n != s->pinned);
	never(s->parked != guest.parked);
	pins = unit->pins.pinned - (s->dtt.words && !in_set(s->dtt.window));
	pins_allowed = max(min_t(u64, pins_allowed, pins), unit->policy.max_pins);
	never(pins > pins_allowed);
	for (d = 0; d < NR_DEVICES; d++)
		if (attached[d])
			check_device(d);
	model_check_quiet();
}

static void begin(void)
{
	struct kviommu_create_coiommu args = {
		.flags = KVIOMMU_COIOMMU_BOOT_IDENTITY | KVIOMMU_COIOMMU_BOOT_MASTER,
		.aw_bits = 48,
		.cpus = GUEST_CPUS,
	};
	struct kviommu_create cmd = { .model = KVIOMMU_MODEL_COIOMMU };
	unsigned int d;

	guest = (struct guest){};
	unit = kviommu_unit_alloc();
	model_begin(unit);
	model_unchecked = true;
	never(kviommu_unit_create(unit, &cmd, &kviommu_coiommu, &args));
	drain_worker();
	never(kviommu_unit_arm(unit, 0xfed90000));
	for (d = 0; d < NR_DEVICES; d++) {
		attached[d] = d < 2;
		if (attached[d])
			never(kviommu_unit_attach(unit, d, d));
		master[d] = false;
	}
	pins_allowed = U64_MAX;
	activate(TABLES);
}

static void end(void)
{
	kviommu_unit_destroy(unit);
	model_unchecked = false;
	model_end();
}

static void random_steps(u64 steps)
{
	begin();
	while (steps--) {
		model_new_batch();
		step();
		check();
	}
	end();
}

/* Tables with words of their own frames: as tables they are pinned beyond the limit. */
static void tables_for_dma(void)
{
	const unsigned int limit = 8;
	u64 gfn;

	begin();
	set_policy(KVIOMMU_POLICY_MAX_PINS, limit);
	for (gfn = 0x200; gfn < 0x200 + 4 * limit; gfn++) {
		put64(PFN_PHYS(guest.root + 1), PFN_PHYS(gfn) | 1);
		model_cpu_fill(gfn, 0, 0);
		/* In use, so that it is not unpinned. */
		model_cpu_write(PFN_PHYS(gfn) + gfn * sizeof(u32), &(u32){ 1 }, sizeof(u32));
		ask(0, gfn << CO_SLOT_GFN_SHIFT | any_device());
		never(unit->tracked.pinned > limit);
	}
	never(!unit->tracked.pinned);
	end();
}

/* Nothing grows old: the worker has nothing to do when its timer has expired. */
static void begin_still(void)
{
	begin();
	set_policy(KVIOMMU_POLICY_UNPIN_MS, 0);
}

/* Nothing is left in the pin cache but what is in use, so no table is. */
static void forget_tables(void)
{
	struct kviommu_release_pins cmd = { .length = PFN_PHYS(NR_GFNS) };

	never(kviommu_unit_release_pins(unit, &cmd));
	never(unit->pins.pinned != unit->tracked.pinned);
	while (shim_timer_expire(&unit->timer))
		drain_worker();
}

/* Besides, there is no memory. */
static void starve(void)
{
	forget_tables();
	shim_fail = (struct shim_fail){ .times = 1000000 };
}

static void feed(void)
{
	never(!shim_fail.failed);
	shim_fail = (struct shim_fail){};
}

static void use_area(unsigned int area)
{
	u64 gfn;

	for (gfn = model_areas[area].gfn; gfn < model_areas[area].gfn + 8; gfn++) {
		count(gfn);
		ask(0, gfn << CO_SLOT_GFN_SHIFT | any_device());
		mapped(gfn, 1);
		never(!guest.uses[gfn]);
	}
}

/* What the guest cannot be told of stays as it is, until it can be told. */
static void deactivate_without_memory(void)
{
	u64 pinned;

	begin_still();
	use_area(AREA_CONTIGUOUS);
	use_area(AREA_SCATTERED);
	pinned = unit->tracked.pinned;
	starve();
	command(CO_DEACTIVATE);
	feed();
	check_words();
	never(unit->tracked.pinned != pinned);
	drain_worker();
	check_words();
	memset(guest.uses, 0, sizeof(guest.uses));
	command(CO_ACTIVATE);
	never(unit->tracked.pinned);
	check();
	use_area(AREA_CONTIGUOUS);
	check();

	/* It goes with another table, and with the unit. */
	starve();
	command(CO_DEACTIVATE);
	feed();
	guest.active = false;
	activate(guest.root ^ NR_TABLES);
	never(unit->tracked.pinned);
	check();
	use_area(AREA_CONTIGUOUS);
	starve();
	command(CO_DEACTIVATE);
	feed();
	end();
}

/* The VMM's thread is killed before it is told, and another one goes on. */
static void deactivate_killed(void)
{
	unsigned long n;

	for (n = 0; n < 50; n++) {
		begin_still();
		use_area(AREA_CONTIGUOUS);
		forget_tables();
		model_kill_after(n);
		command(CO_DEACTIVATE);
		model_revive();
		drain_worker();
		check_words();
		never(unit->tracked.pinned);
		end();
	}
}

static void lose(unsigned int area)
{
	u64 gfn;

	model_ioas_unmap(area);
	for (gfn = model_areas[area].gfn; gfn < model_areas[area].gfn + 8; gfn++)
		guest.uses[gfn] = 0;
}

/* The IOAS takes memory away. */
static void lost(void)
{
	u64 next = model_areas[AREA_CONTIGUOUS].gfn + 1;

	/* With the table at hand the guest is told before. */
	begin_still();
	use_area(AREA_CONTIGUOUS);
	lose(AREA_CONTIGUOUS);
	check_words();
	model_ioas_map(AREA_CONTIGUOUS, 0, KVIOMMU_READ | KVIOMMU_WRITE);

	/* Else when there is memory */
	use_area(AREA_CONTIGUOUS);
	starve();
	lose(AREA_CONTIGUOUS);
	drain_worker();
	feed();
	never(!(word(next) & DTT_PINNED));
	never(!shim_timer_expire(&unit->timer));
	drain_worker();
	check_words();
	model_ioas_map(AREA_CONTIGUOUS, 0, KVIOMMU_READ | KVIOMMU_WRITE);

	/* When the guest asks for another frame of the table */
	use_area(AREA_CONTIGUOUS);
	forget_tables();
	lose(AREA_CONTIGUOUS);
	model_ioas_map(AREA_CONTIGUOUS, 0, KVIOMMU_READ | KVIOMMU_WRITE);
	never(!(word(next) & DTT_PINNED));
	WRITE_ONCE(unit->deferred, false);
	ask(0, (next - 1) << CO_SLOT_GFN_SHIFT | any_device());
	check_words();

	/* When the VMM asks for it */
	use_area(AREA_CONTIGUOUS);
	forget_tables();
	lose(AREA_CONTIGUOUS);
	never(!(word(next) & DTT_PINNED));
	never(kviommu_unit_refresh(unit));
	check_words();
	drain_worker();
	check();
	end();
}

int main(void)
{
	const char *env = getenv("KVIOMMU_SEED"), *steps = getenv("KVIOMMU_STEPS");
	u64 first = env ? strtoull(env, NULL, 0) : 1;
	u64 nr = steps ? strtoull(steps, NULL, 0) : STEPS, i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("TAP version 13\n1..5\n");
	for (i = 0; i < (env ? 1 : RUNS); i++) {
		seed = (first + i) * 0x9e3779b97f4a7c15ULL;
		printf("# KVIOMMU_SEED=%llu\n", (unsigned long long)(first + i));
		random_steps(nr);
	}
	printf("ok 1 - tracked.random # %llu runs of %llu steps\n", (unsigned long long)i,
	       (unsigned long long)nr);
	tables_for_dma();
	printf("ok 2 - tracked.tables_for_dma\n");
	deactivate_without_memory();
	printf("ok 3 - tracked.deactivate_without_memory\n");
	deactivate_killed();
	printf("ok 4 - tracked.deactivate_killed\n");
	lost();
	printf("ok 5 - tracked.lost\n");
	return 0;
}
