// SPDX-License-Identifier: GPL-2.0
/*
 * Guests that do what they can to break the unit, and VMMs that are killed at
 * any moment. Nothing is asserted of what such a guest sees; but the host stays
 * silent (its log is judged by who runs this), no memory stays pinned, and
 * unit and devices work again for who uses them rightly.
 *
 * KVIOMMU_SEED repeats a run, KVIOMMU_STEPS and KVIOMMU_KILLS make it longer.
 */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "kselftest_harness.h"
#include "require.h"
#include "variants.h"

#define IOVA	0x10000
#define DID	1

/* Pages for tables and queues, hostile or not */
#define POOL		(GPA_TABLES + 0x100000)
#define POOL_PAGES	16

static unsigned long env(const char *name, unsigned long otherwise)
{
	const char *value = getenv(name);

	return value ? strtoul(value, NULL, 0) : otherwise;
}

static __u64 seed(void)
{
	__u64 s = env("KVIOMMU_SEED", 0);

	if (!s)
		s = time(NULL) * 1000003UL + getpid();
	ksft_print_msg("KVIOMMU_SEED=%llu\n", s);
	return s;
}

/* xorshift64 */
static __u64 next(__u64 *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static __u64 pick(__u64 *s, __u64 n)
{
	return (next(s) >> 16) % n;
}

/*
 * Where entries, roots and queues may point: never to the guest's own code and
 * state, which a device would overwrite.
 */
static __u64 hostile_gpa(__u64 *s)
{
	switch (pick(s, 8)) {
	case 0:
	case 1:
	case 2:
	case 3:
		return POOL + pick(s, POOL_PAGES) * PAGE_SIZE;
	case 4:
	case 5:
		return PAGE(pick(s, 512));
	case 6:
		return HUGE(pick(s, 4));
	default:
		return (next(s) & (BIT_ULL(52) - PAGE_SIZE)) | BIT_ULL(34);
	}
}

/* Of a first-stage entry if the guest is in scalable mode: bit 2 is U/S there. */
static __u64 hostile_entry(struct guest *g, __u64 *s)
{
	__u64 e = hostile_gpa(s) | pick(s, 4) | (g->scalable && pick(s, 8) ? BIT_ULL(2) : 0);

	if (!pick(s, 4))
		return 0;
	if (!pick(s, 6))	/* a superpage, of 1 GiB above all RAM */
		e = (pick(s, 2) ? HUGE(pick(s, 4)) : BIT_ULL(40)) | pick(s, 4) |
		    BIT_ULL(7);
	if (!pick(s, 16))
		e ^= BIT_ULL(pick(s, 12)) & ~BIT_ULL(7);
	if (!pick(s, 16))
		e |= BIT_ULL(52 + pick(s, 12));
	return e;
}

static void hostile_store(struct guest *g, __u64 *s)
{
	__u64 page = POOL + pick(s, POOL_PAGES) * PAGE_SIZE;
	__u64 i = pick(s, 2) ? pick(s, 4) : pick(s, 512);

	WRITE_ONCE(((__u64 *)page)[i], hostile_entry(g, s));
}

static __u64 hostile_desc_lo(__u64 *s)
{
	__u64 did = pick(s, 4) << 16, gran = (pick(s, 8) ? 1 + pick(s, 3) : 0) << 4;

	switch (pick(s, 8)) {
	case 0:
		return 1 | gran | did | pick(s, 64) << 32;	/* context */
	case 1:
	case 2:
	case 3:
	case 4:
		return 2 | gran | did;				/* IOTLB */
	case 5:
		return 5 | pick(s, 8) << 4 | next(s) << 32;	/* wait */
	case 6:
		return pick(s, 16) | gran | did;
	default:
		return next(s);
	}
}

/* Descriptors of scalable mode, or of any mode */
static __u64 hostile_sm_desc_lo(__u64 *s)
{
	__u64 did = pick(s, 4) << 16, pasid = pick(s, 2) ? 0 : pick(s, 4) << 32;

	switch (pick(s, 8)) {
	case 0 ... 3:
		return 6 | (pick(s, 16) ? 2 + pick(s, 2) : 0) << 4 | did | pasid;
	case 4:
		return 7 | pick(s, 4) << 4 | did | pasid;
	default:
		return hostile_desc_lo(s);
	}
}

static void hostile_queue(struct guest *g, __u64 *s)
{
	__u64 iqa = g_read64(g, VTD_IQA), base = iqa & ~(PAGE_SIZE - 1);
	/* What the guest's driver wants it to have; the unit may have latched another width. */
	__u64 size = iqa & VTD_IQA_DW ? 32 : 16, slots = PAGE_SIZE / size;
	__u64 n = 1 + pick(s, 20), tail = g_read32(g, VTD_IQT) / size;
	__u64 *desc, i;

	/* Where it says the queue is, if the guest can reach that. */
	if (base < POOL || base >= POOL + POOL_PAGES * PAGE_SIZE)
		base = POOL;
	for (i = 0; i < n; i++) {
		desc = (__u64 *)(base + (tail + i) % slots * size);
		WRITE_ONCE(desc[0], g->scalable ? hostile_sm_desc_lo(s) : hostile_desc_lo(s));
		WRITE_ONCE(desc[1], pick(s, 8) ? PAGE(pick(s, 512)) +
			   (pick(s, 4) ? pick(s, 24) : 0) : next(s));
		if (size == 16)
			continue;
		WRITE_ONCE(desc[2], pick(s, 32) ? 0 : next(s));
		WRITE_ONCE(desc[3], pick(s, 32) ? 0 : next(s));
	}
	g_write32(g, VTD_IQT, pick(s, 16) ? (tail + n) % slots * size : next(s));
}

static void hostile_register(struct guest *g, __u64 *s)
{
	__u64 offset = pick(s, 2) ? pick(s, 0x300) & ~3ULL : pick(s, 0xff8);
	__u64 gcmd = VTD_GCMD_TE | VTD_GCMD_QIE;

	switch (pick(s, 8)) {
	case 0:		/* mostly on */
		g_write32(g, VTD_GCMD, pick(s, 4) ? gcmd : next(s));
		break;
	case 1:
		g_write64(g, VTD_RTADDR, hostile_gpa(s) |
			  (g->scalable && pick(s, 4) ? VTD_RTADDR_SCALABLE : 0));
		g_write32(g, VTD_GCMD, gcmd | VTD_GCMD_SRTP);
		break;
	case 2:
		g_write64(g, VTD_IQA, hostile_gpa(s) | (pick(s, 4) ? 0 : pick(s, 8)));
		break;
	case 3:
		g_write32(g, VTD_FSTS, ~0U);
		break;
	case 4:
		g_write64(g, VTD_CCMD, next(s) | VTD_CCMD_ICC);
		break;
	case 5:
		g_write64(g, 0xf8, next(s) | VTD_IOTLB_IVT);
		break;
	case 6:
		if (pick(s, 2))
			g_write64(g, offset, next(s));
		else
			g_write32(g, offset, next(s));
		break;
	default:
		WRITE_ONCE(*(__u8 *)(g->regs + offset), next(s));
	}
}

#define POOL_PAGE(n)	(POOL + (n) * PAGE_SIZE)

/* A word of an entry that is 0, but now and then wrong */
static __u64 hostile_word(__u64 *s)
{
	return pick(s, 64) ? 0 : BIT_ULL(pick(s, 64));
}

/*
 * What leads device n to tables of the pool in scalable mode; pages 2 and 3 are queues. With
 * PASIDs these are 0 to 3, and some behind them have the same entries.
 */
static void hostile_sm_device(struct guest *g, __u64 *s, __u64 n)
{
	bool pasids = g_read64(g, VTD_ECAP) & VTD_ECAP_PASID;
	__u64 *root = (__u64 *)POOL_PAGE(0);
	__u64 *ctx = (__u64 *)POOL_PAGE(1) + SID(n) * 4;
	__u64 *directory = (__u64 *)POOL_PAGE(4 + n), *pte = (__u64 *)POOL_PAGE(6 + n), i;

	WRITE_ONCE(root[0], POOL_PAGE(1) | 1);
	WRITE_ONCE(ctx[0], (__u64)directory | 1 |
		   (pasids && pick(s, 8) ? VTD_SM_CE_PASIDE | VTD_SM_CE_PDTS(pick(s, 8)) : 0));
	for (i = 1; i < 4; i++)
		WRITE_ONCE(ctx[i], hostile_word(s));
	WRITE_ONCE(directory[pasids ? pick(s, 4) : 0], (__u64)pte | 1);
	WRITE_ONCE(directory[0], (__u64)pte | 1);
	if (pasids)
		pte += pick(s, 4) * 8;
	WRITE_ONCE(pte[1], pick(s, 4) | hostile_word(s));
	WRITE_ONCE(pte[2], POOL_PAGE(pick(s, POOL_PAGES)) | hostile_word(s));
	for (i = 3; i < 8; i++)
		WRITE_ONCE(pte[i], hostile_word(s));
	WRITE_ONCE(pte[0], 1 | (pick(s, 8) ? 1 : pick(s, 8)) << 6);
}

/* As a driver would, but with tables of the pool: so that there is something. */
static void hostile_driver(struct guest *g, __u64 *s)
{
	__u64 *root = (__u64 *)POOL, *ctx = (__u64 *)(POOL + PAGE_SIZE), n;

	WRITE_ONCE(root[0], (__u64)ctx | 1);
	WRITE_ONCE(root[1], 0);
	for (n = 0; n < 2; n++) {
		if (g->scalable) {
			hostile_sm_device(g, s, n);
			continue;
		}
		WRITE_ONCE(ctx[SID(n) * 2], (POOL + pick(s, POOL_PAGES) * PAGE_SIZE) |
			   (pick(s, 8) ? 1 : 9));
		WRITE_ONCE(ctx[SID(n) * 2 + 1], pick(s, 4) << 8 | (1 + pick(s, 2)));
	}
	g_write32(g, VTD_GCMD, 0);
	g_write32(g, VTD_FSTS, ~0U);
	g_write64(g, VTD_RTADDR, (__u64)root | (g->scalable ? VTD_RTADDR_SCALABLE : 0));
	g_write64(g, VTD_IQA, POOL + (2 + pick(s, 2)) * PAGE_SIZE +
		  (g->scalable ? VTD_IQA_DW : 0));
	g_write32(g, VTD_IQT, 0);
	g_write32(g, VTD_GCMD, VTD_GCMD_SRTP);
	g_write32(g, VTD_GCMD, VTD_GCMD_QIE);
	g_write32(g, VTD_GCMD, VTD_GCMD_QIE | VTD_GCMD_TE);
}

/* @cpu 0 has the devices. */
static __u64 hostile(struct guest *g, __u64 cpu, __u64 s)
{
	__u64 n;

	for (n = 0; !READ_ONCE(g->stop); n++) {
		if (!pick(&s, 64))
			hostile_driver(g, &s);
		switch (pick(&s, 16)) {
		case 0 ... 7:
			hostile_store(g, &s);
			break;
		case 8 ... 12:
			hostile_queue(g, &s);
			break;
		case 13:
		case 14:
			hostile_register(g, &s);
			break;
		default:
			if (cpu || g_dma_busy(g, n % 2))
				break;
			g_dma_pasid(g, n % 2, pick(&s, 4));
			g_dma_start(g, n % 2, pick(&s, 2), pick(&s, 4) ? pick(&s, 4) << 21 :
				    next(&s), EDU_PATTERN_SIZE, DMA_LEN);
		}
		WRITE_ONCE(g->count, g->count + 1);
	}
	return n;
}

struct hostile_vcpu {
	struct unit *u;
	unsigned int cpu;
	__u64 seed;
};

static void *run_hostile(void *arg)
{
	struct hostile_vcpu *h = arg;

	guest_run_on(&h->u->vm, h->cpu, hostile, h->cpu, h->seed);
	return NULL;
}

static void start_guest(struct unit *u)
{
	struct vm *vm = &u->vm;

	guest_run(vm, g_setup, 0);
	guest_run(vm, g_domain, 0, DID, 4);
	guest_run(vm, g_map, 0, IOVA, PAGE(0), 1, MAP_RW);
	guest_run(vm, g_attach, SID(0), 0);
	guest_run(vm, g_enable, true);
}

/*
 * What a device or a status word writes becomes tables, so in the long run they
 * point anywhere. Not to the guest's own page tables and stacks: a guest that
 * shoots itself proves nothing.
 */
static void map_ram(struct unit *u)
{
	static const __u64 areas[][2] = {
		{ GPA_GUEST, GPA_STACKS }, { GPA_QUEUE, GPA_RAM_END },
	};
	unsigned int i;

	for (i = 0; i < 2; i++)
		REQUIRE(!ioas_map(u->iommufd, u->ioas, areas[i][0],
				  vm_hva(&u->vm, areas[i][0]),
				  areas[i][1] - areas[i][0], IOAS_RW));
}

static void open_vmm(struct unit *u, const struct unit_config *config)
{
	struct unit_config bare = *config;
	struct kviommu_vtd_info info;
	int fd = unit_open_file();

	bare.no_ram = true;
	/* Not every host that nests has PASIDs. */
	REQUIRE(!kviommu_get_vtd_info(fd, &info));
	close(fd);
	if (config->nested && info.out_ecap & VTD_ECAP_PASID)
		bare.pasid_bits = 20;
	unit_open(u, &bare);
	map_ram(u);
	unit_add_device(u, 0, SID(0));
	unit_add_device(u, 1, SID(1));
}

FIXTURE(hostile) {
	struct unit u;
	long pins;
};

FIXTURE_VARIANT(hostile) {
	struct unit_config config;
};

UNIT_VARIANTS(hostile);

FIXTURE_SETUP(hostile)
{
	self->pins = host_pins();
}

FIXTURE_TEARDOWN(hostile)
{
}

/* Guests in scalable mode, on hosts that nest */
FIXTURE(scalable) {
	struct unit u;
	long pins;
};

FIXTURE_VARIANT(scalable) {
	struct unit_config config;
};

UNIT_MODES(scalable, .config.nested = true);

FIXTURE_SETUP(scalable)
{
	self->pins = host_pins();
}

FIXTURE_TEARDOWN(scalable)
{
}

/* It was no mere noise: a guest that is polled runs ahead of the unit. */
static bool worked(struct unit *u, __u64 steps)
{
	struct kviommu_stats stats = unit_stats_now(u);

	/* What a guest maps in first-stage tables nobody sees. */
	return stats.descriptors > steps / 500 &&
	       (u->config.nested ? stats.syncs > steps / 3000 : stats.maps > steps / 500);
}

/* Two vCPUs against the unit, while the VMM changes what is below it. */
static void against_guest(struct unit *u, const struct unit_config *config)
{
	__u64 s = seed(), steps = env("KVIOMMU_STEPS", 30000);
	struct hostile_vcpu h[GUEST_VCPUS];
	pthread_t thread[GUEST_VCPUS];
	struct kviommu_policy policy;
	struct kviommu_stats stats;
	unsigned int i, round = 0;
	__u64 seen = 0;

	open_vmm(u, config);
	start_guest(u);
	policy = unit_policy(u);
	policy.max_tables = 100;
	REQUIRE(!unit_set_policy(u, &policy));
	for (i = 0; i < GUEST_VCPUS; i++) {
		h[i] = (struct hostile_vcpu){ u, i, next(&s) };
		REQUIRE(!pthread_create(&thread[i], NULL, run_hostile, &h[i]));
	}
	while (READ_ONCE(u->vm.g->count) < steps || !worked(u, steps)) {
		/* Something every so many steps of the guest */
		if (READ_ONCE(u->vm.g->count) < seen + steps / 50) {
			usleep(1000);
			continue;
		}
		seen = READ_ONCE(u->vm.g->count);
		switch (round++ % 4) {
		case 0:
			REQUIRE(!ioas_unmap(u->iommufd, u->ioas, 0, GPA_RAM_END));
			map_ram(u);
			break;
		case 1:
			REQUIRE(!unit_refresh(u));
			break;
		case 2:
			REQUIRE(!unit_detach(u->fd, SID(1)));
			REQUIRE(!unit_attach(u->fd, u->dev[1].fd, SID(1)));
			break;
		default:
			unit_stats(u);
			policy.max_pins = pick(&s, 2) ? 8 + pick(&s, 64) : 100000;
			REQUIRE(!unit_set_policy(u, &policy));
		}
	}
	WRITE_ONCE(u->vm.g->stop, 1);
	for (i = 0; i < GUEST_VCPUS; i++)
		REQUIRE(!pthread_join(thread[i], NULL));
	/* A device at work would not take another order. */
	for (i = 0; i < u->ndev; i++) {
		while (guest_run(&u->vm, g_dma_busy, i))
			usleep(1000);
		guest_run(&u->vm, g_dma_pasid, i, 0);
	}

	/* Nothing of it is left. */
	stats = unit_stats(u);
	ksft_print_msg("maps %llu unmaps %llu descriptors %llu faults %llu\n",
		       stats.maps, stats.unmaps, stats.descriptors,
		       stats.faults);
	policy.max_pins = 100000;
	REQUIRE(!unit_set_policy(u, &policy));
	REQUIRE(!unit_reset(u->fd));
	stats = unit_stats(u);
	/* But what units that offer scalable mode keep for their devices. */
	REQUIRE((!stats.pinned || u->config.nested) && !stats.mapped && !stats.domains);
	/* The loop may have ended after the IOAS got its memory anew, and before a REFRESH. */
	REQUIRE(!unit_refresh(u));
	start_guest(u);
	REQUIRE(dma_write(u, 0, IOVA, PAGE(0)) == DMA_REACHED);
	unit_close(u);
}

TEST_F_TIMEOUT(hostile, guest, 1200)
{
	against_guest(&self->u, &variant->config);
	EXPECT_EQ(self->pins, host_pins());
}

TEST_F_TIMEOUT(scalable, guest, 2400)
{
	against_guest(&self->u, &variant->config);
	EXPECT_EQ(self->pins, host_pins());
}

struct hostile_vmm {
	const struct unit_config *config;
	__u64 seed;
};

/* A VMM whose guest is at it */
static void hostile_vmm(const void *arg)
{
	const struct hostile_vmm *vmm = arg;
	struct hostile_vcpu h[GUEST_VCPUS];
	pthread_t thread[GUEST_VCPUS];
	__u64 s = vmm->seed, moment;
	struct unit u;
	unsigned int i;

	open_vmm(&u, vmm->config);
	start_guest(&u);
	for (i = 0; i < GUEST_VCPUS; i++) {
		h[i] = (struct hostile_vcpu){ &u, i, next(&s) };
		REQUIRE(!pthread_create(&thread[i], NULL, run_hostile, &h[i]));
	}
	/* The moment is told by the guest's progress, not by time. */
	moment = pick(&s, 200);
	while (READ_ONCE(u.vm.g->count) < moment)
		usleep(100);
	unit_ready();
	pthread_join(thread[0], NULL);
}

static void kill_vmms(struct unit *u, const struct unit_config *config)
{
	unsigned long kills = env("KVIOMMU_KILLS", 50), i;
	struct hostile_vmm vmm = { .config = config };
	__u64 s = seed();

	for (i = 0; i < kills; i++) {
		vmm.seed = next(&s);
		unit_kill(hostile_vmm, &vmm);
	}
	/* And the devices work for the next one. */
	open_vmm(u, config);
	start_guest(u);
	REQUIRE(dma_write(u, 0, IOVA, PAGE(0)) == DMA_REACHED);
	unit_close(u);
}

TEST_F_TIMEOUT(hostile, vmm_killed, 1200)
{
	kill_vmms(&self->u, &variant->config);
	EXPECT_EQ(self->pins, host_pins());
}

TEST_F_TIMEOUT(scalable, vmm_killed, 2400)
{
	kill_vmms(&self->u, &variant->config);
	EXPECT_EQ(self->pins, host_pins());
}

TEST_HARNESS_MAIN
