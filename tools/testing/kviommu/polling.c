// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who polls a unit, and when does that end? The module's own code runs unchanged, on top of
 * the model of the host, with a model of an IOMMU whose guest does nothing but write: it
 * counts its requests in the first word of the register page, and each takes as long as a
 * test wants.
 *
 * There is one thread here. What other threads do at the same time is called from within
 * the one that polls: by counter_peek(), while it looks at a unit, or by cpu_relax(),
 * between two rounds.
 *
 * Prints TAP. A violated assertion (never()) ends the program.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>

#include "../../../drivers/iommu/kviommu/core/core.h"
#include "../../../drivers/iommu/kviommu/model/model.h"
#include "model.h"

#define NR_UNITS	4
#define BUDGET		(100 * NSEC_PER_USEC)	/* poll_budget_us */
#define REST		100UL			/* poll_rest_ms */
#define WAIT		(10 * NSEC_PER_MSEC)	/* poll_wait of a window */
#define WINDOW		100UL			/* in jiffies */
#define BALANCE		100UL			/* in jiffies */

static struct kviommu_unit *units[NR_UNITS], *unit;
static struct kviommu_poller *const first = &model_pollers[0], *const second = &model_pollers[1];

/* How long a request takes, in ns */
static u64 request_ns;

/* What other threads do during the next look, after a look at the page */
static void (*looked)(void);

static bool failed;

#define expect(cond)							\
	do {								\
		if (!(cond)) {						\
			printf("# %s:%d: %s\n", __FILE__, __LINE__, #cond); \
			failed = true;					\
		}							\
	} while (0)

/**
 * struct counter - The model
 * @model: The model as the unit knows it
 * @told: Number of requests that the model knows of
 * @done: Number of requests that are done
 * @snapshot: @told, when the snapshot is committed
 * @snapshot_taken: A snapshot was taken, and not committed yet
 * @polled: The page is polled
 * @status: The guest has a bit to clear, so the page cannot be polled.
 */
struct counter {
	struct kviommu_model model;
	u32 told;
	u32 done;
	u32 snapshot;
	bool snapshot_taken;
	bool polled;
	bool status;
};

#define to_counter(m)	container_of(m, struct counter, model)

static u32 *page(const struct kviommu_unit *u)
{
	return page_address(u->pages[0]);
}

static bool counter_pending(struct kviommu_model *model)
{
	return to_counter(model)->done != to_counter(model)->told;
}

static bool counter_run(struct kviommu_model *model, const struct kviommu_work *work)
{
	/* The guest never makes so many; but the model may have taken a wrong number of them. */
	never(to_counter(model)->told - to_counter(model)->done > 1000);
	do {
		shim_pass(request_ns);
		to_counter(model)->done++;
		kviommu_work_spend(work, KVIOMMU_BUDGET_LOOK);
	} while (counter_pending(model) && !kviommu_time_up(work));
	return counter_pending(model);
}

static void counter_reset(struct kviommu_model *model)
{
}

static int counter_resolve(struct kviommu_model *model, const struct kviommu_work *work,
			   u32 id, u32 pasid, struct kviommu_binding *b)
{
	return 0;
}

static void counter_destroy(struct kviommu_model *model)
{
	kfree(to_counter(model));
}

static const struct kviommu_model_ops counter_ops = {
	.pending = counter_pending,
	.run = counter_run,
	.reset = counter_reset,
	.resolve = counter_resolve,
	.destroy = counter_destroy,
};

static void counter_write(struct kviommu_model *model, unsigned int offset, const void *data,
			  unsigned int len)
{
	struct counter *c = to_counter(model);
	u32 *to = c->polled || c->snapshot_taken ? &c->snapshot : &c->told;

	memcpy(to, data, sizeof(*to));
}

static void counter_sync(struct kviommu_model *model, bool all)
{
	to_counter(model)->told = *page(model->unit);
}

static void counter_snapshot(struct kviommu_model *model)
{
	to_counter(model)->snapshot = *page(model->unit);
	to_counter(model)->snapshot_taken = true;
}

static void counter_commit(struct kviommu_model *model)
{
	to_counter(model)->told = to_counter(model)->snapshot;
	to_counter(model)->snapshot_taken = false;
}

static bool counter_peek(const struct kviommu_model *model, bool all)
{
	bool seen = *page(model->unit) != to_counter(model)->told, atomic = shim_atomic;
	void (*call)(void) = looked;

	if (call) {
		looked = NULL;
		shim_atomic = false;
		call();
		shim_atomic = atomic;
	}
	return seen;
}

static bool counter_pollable(const struct kviommu_model *model)
{
	return !to_counter(model)->status;
}

static void counter_set_polled(struct kviommu_model *model, bool on)
{
	to_counter(model)->polled = on;
}

static const struct kviommu_regpage_ops counter_page_ops = {
	.write = counter_write,
	.sync = counter_sync,
	.snapshot = counter_snapshot,
	.commit = counter_commit,
	.peek = counter_peek,
	.pollable = counter_pollable,
	.set_polled = counter_set_polled,
};

static struct kviommu_model *counter_create(struct kviommu_unit *u, const void *args)
{
	struct counter *c = kzalloc(sizeof(*c), GFP_KERNEL_ACCOUNT);

	if (!c)
		return ERR_PTR(-ENOMEM);
	u->aw_bits = 48;
	c->model.ops = &counter_ops;
	c->model.page_ops = &counter_page_ops;
	c->model.unit = u;
	return &c->model;
}

static const struct kviommu_model_kind counter_kind = {
	.id = 31,
	.pages = 1,
	.create = counter_create,
};

static bool all_done(const struct kviommu_unit *u)
{
	return to_counter(u->model)->done == *page(u);
}

/* The reasons for which the unit was trapped again, one digit for each, the last one last */
static unsigned int whys;

static void note_why(void)
{
	/* Not when polling begins */
	if (unit->kvm.tracked && unit->polled)
		whys = whys * 10 + unit->poll_why;
}

static void drain(struct kviommu_unit *u)
{
	while (!shim_task.killed && u->worker->fn(u->worker->data))
		;
}

/* The guest makes a request. */
static void guest_write(struct kviommu_unit *u)
{
	u32 val = ++*page(u);

	if (u->kvm.tracked)
		u->kvm.write(&u->kvm, 0, &val, sizeof(val));
}

/* The guest writes so often that polling begins if it may. Return: whether it does. */
static bool begin_polling(struct kviommu_unit *u)
{
	unsigned int i;
	u64 polls = u->stats.polls;

	for (i = 0; i < 4; i++)
		guest_write(u);
	drain(u);
	return u->stats.polls != polls;
}

static struct kviommu_unit *open_unit(unsigned int i)
{
	struct kviommu_create cmd = { .model = counter_kind.id };

	units[i] = kviommu_unit_alloc();
	if (!i) {
		unit = units[0];
		model_begin(unit);
	}
	never(kviommu_unit_create(units[i], &cmd, &counter_kind, NULL));
	drain(units[i]);
	never(kviommu_unit_arm(units[i], 0xfed90000 + i * PAGE_SIZE));
	return units[i];
}

static void set_mode(struct kviommu_unit *u, u32 mode)
{
	struct kviommu_policy policy = { .mask = KVIOMMU_POLICY_MODE, .mode = mode };

	never(kviommu_unit_set_wanted(u, &policy));
	drain(u);
}

/* The first thread polls a unit in sidecore mode. */
static void open_sidecore(unsigned int i)
{
	open_unit(i);
	model_pool_set_online(0, true);
	set_mode(units[i], KVIOMMU_MODE_SIDECORE);
	never(units[i]->poller != first);
}

static void begin_sidecore(void)
{
	open_sidecore(0);
	model_vcpu = note_why;
	whys = 0;
}

static void begin_adaptive(void)
{
	open_unit(0);
	model_vcpu = note_why;
	whys = 0;
}

static void begin_self(void)
{
	begin_adaptive();
	model_self_open = true;
}

static void close_units(void)
{
	unsigned int i;

	looked = NULL;
	shim_relaxed = NULL;
	request_ns = 0;
	model_vcpu = NULL;
	for (i = NR_UNITS; i--;) {
		if (units[i])
			kviommu_unit_destroy(units[i]);
		units[i] = NULL;
	}
	model_end();
}

/* What is left of a delay, in ms */
static unsigned long rest(const struct kviommu_backoff *b)
{
	return DIV_ROUND_UP(b->until - ktime_get_ns(), NSEC_PER_MSEC);
}

/* What other threads do after so many rounds */
static void (*happens)(void);
static unsigned int rounds_left;
/* The guest writes in each round. */
static bool busy;

static void one_round(void)
{
	/* Polling that goes on for ever would hang here. */
	never(time_after(jiffies, 100 * BALANCE));
	if (rounds_left && !--rounds_left)
		happens();
	if (busy)
		guest_write(unit);
}

/* Shared threads */

static void test_taken(void)
{
	model_pool_set_online(0, true);
	guest_write(unit);
	guest_write(unit);
	guest_write(unit);
	drain(unit);
	expect(!unit->polled && all_done(unit));
	guest_write(unit);
	drain(unit);
	expect(unit->poller == first && !unit->kvm.tracked && kviommu_poll_cpu(unit) == 0);
	guest_write(unit);
	expect(!all_done(unit));
	model_pool_run(0, 1);
	expect(all_done(unit) && unit->poller == first);
	model_pool_let_go();
	/* Whatever is written before it is trapped again is not lost. */
	guest_write(unit);
	expect(!all_done(unit));
	drain(unit);
	expect(all_done(unit) && unit->kvm.tracked && whys == KVIOMMU_POLL_IDLE);
	/* A thread that is parked is not bound to its CPU. */
	model_pool_set_online(0, false);
	shim_park = true;
	model_pool_run(0, 1);
	expect(!shim_park && !begin_polling(unit));
}

/* What the thread cannot do without waiting */
static void test_left_to_worker(void)
{
	unit->map_lock.held = true;
	guest_write(unit);
	model_pool_run(0, 1);
	unit->map_lock.held = false;
	expect(!all_done(unit) && unit->deferred && unit->poller == first);
	drain(unit);
	expect(all_done(unit) && unit->poller == first);
	/* Whoever holds the lock waits for the VMM: the thread comes again. */
	unit->lock.held = true;
	guest_write(unit);
	shim_rounds = 1;
	shim_atomic = true;
	kviommu_poller_thread(first);
	shim_atomic = false;
	unit->lock.held = false;
	expect(!all_done(unit) && !unit->deferred);
	model_pool_run(0, 1);
	expect(all_done(unit));
}

/* A look with work that takes this long, in ns */
static void look(u64 ns)
{
	request_ns = ns;
	guest_write(unit);
	model_pool_run(0, 1);
	drain(unit);
}

static void test_budget(void)
{
	unsigned int i;

	/* What does not fit is left to the worker. */
	request_ns = BUDGET + 1;
	for (i = 0; i < 3; i++)
		guest_write(unit);
	model_pool_run(0, 1);
	expect(to_counter(unit->model)->done == *page(unit) - 2);
	drain(unit);
	expect(all_done(unit) && unit->poller);
	look(BUDGET + 1);
	look(BUDGET + 1);
	expect(unit->poller && !whys);
	look(BUDGET + 1);
	expect(!unit->poller && unit->kvm.tracked && whys == KVIOMMU_POLL_BUDGET);
	expect(rest(&unit->pool_backoff) == REST - 1);
	/* During the rest it is trapped, and polled when the rest is over. */
	jiffies += REST - 2;
	request_ns = 0;
	guest_write(unit);
	drain(unit);
	expect(!unit->polled);
	jiffies++;
	guest_write(unit);
	drain(unit);
	expect(unit->poller);
	for (i = 0; i < 4; i++)
		look(BUDGET + 1);
	expect(!unit->poller && rest(&unit->pool_backoff) == 2 * REST - 1);
}

/* One look in nine may exceed the budget. */
static void test_budget_seldom(void)
{
	unsigned int i;

	for (i = 0; i < 9 * 20; i++)
		look(i % 9 ? BUDGET / 2 : BUDGET + 1);
	expect(unit->poller);
	for (i = 0; i < 8 * 40 && unit->poller; i++)
		look(i % 8 ? BUDGET / 2 : BUDGET + 1);
	expect(!unit->poller && whys == KVIOMMU_POLL_BUDGET);
}

/* The time for which the thread waits for its CPU is not the guest's. */
static void test_budget_waits(void)
{
	unsigned int i;
	u64 ns = unit->stats.pool_ns;

	shim_waits = true;
	for (i = 0; i < 8; i++)
		look(BUDGET + 1);
	expect(unit->poller && unit->stats.pool_ns == ns);
}

/* How long the thread waits for its CPU after each round, in ns */
static u64 wait_ns;

static void waits_once(void)
{
	shim_task.sched_info.run_delay += wait_ns;
	wait_ns = 0;
}

/* Let the first thread wait for its CPU once, in a window. */
static void run_waiting(u64 ns, unsigned int rounds)
{
	wait_ns = ns;
	model_pool_run(0, rounds);
	drain(unit);
}

static void test_waits(void)
{
	unsigned int i;

	shim_relaxed = waits_once;
	for (i = 0; i < 9; i++) {
		run_waiting(WAIT + 1, 2);
		expect(!unit->poller && unit->stats.overcommits == i + 1);
		expect(unit->poll_why == KVIOMMU_POLL_OVERCOMMITTED);
		expect(rest(&first->meter.rest) == (REST << min(i, 6U)) - 1);
		expect(unit->kvm.tracked && !kviommu_pool_usable(unit));
		jiffies += rest(&first->meter.rest);
		guest_write(unit);
		drain(unit);
		expect(unit->poller == first);
	}
}

static void test_waits_little(void)
{
	unsigned int i;

	shim_relaxed = waits_once;
	for (i = 0; i < 5; i++)
		run_waiting(WAIT, WINDOW + 2);
	expect(unit->poller);
	/* In one window they add up. */
	run_waiting(WAIT / 2, 2);
	expect(unit->poller);
	run_waiting(WAIT / 2 + 1, 2);
	expect(!unit->poller && whys == KVIOMMU_POLL_OVERCOMMITTED);
}

static void test_waits_no_limit(void)
{
	unsigned int *percent = shim_param_poll_wait, before = *percent;

	*percent = 100;
	shim_relaxed = waits_once;
	run_waiting(100 * WAIT, 2);
	expect(unit->poller);
	*percent = before;
}

/*
 * Another CPU takes the unit from the thread while that looks at it. The worker then does not
 * trap the writes as long as the look lasts, and does so afterwards.
 */
static void taken_away(void)
{
	model_pool_set_online(0, false);
	drain(unit);
	expect(!unit->poller && unit->polled && !unit->kvm.tracked && !unit->deferred);
}

static void test_taken_away(void)
{
	looked = taken_away;
	guest_write(unit);
	model_pool_run(0, 1);
	expect(!looked);
	drain(unit);
	expect(unit->kvm.tracked && all_done(unit) && whys == KVIOMMU_POLL_OFFLINE);
}

static void killed_waiting(void)
{
	shim_task.killed = true;
	expect(kviommu_poll_trap(unit) == -EINTR);
	shim_task.killed = false;
	expect(unit->polled && !unit->kvm.tracked);
}

/* A thread that is killed does not wait for the end of the look; the worker does the rest. */
static void test_remove_killed(void)
{
	looked = killed_waiting;
	model_pool_run(0, 1);
	drain(unit);
	expect(unit->kvm.tracked && whys == KVIOMMU_POLL_STOPPED);
}

/* Another thread, which runs while the first one waits for @back, and waits for @forth */
static sem_t forth, back;
static unsigned int slept;
static bool finished;

static void other_sleeps(void)
{
	slept++;
	sem_post(&back);
	sem_wait(&forth);
}

static void *other_traps(void *data)
{
	sem_wait(&forth);
	never(kviommu_poll_trap(unit));
	finished = true;
	sem_post(&back);
	return NULL;
}

static void let_other(void)
{
	if (finished)
		return;
	sem_post(&forth);
	sem_wait(&back);
}

static void other_begins(void)
{
	let_other();
	expect(slept == 1 && !unit->poller && unit->polled && !unit->kvm.tracked);
	/* For as long as it takes */
	let_other();
	expect(slept == 2 && !unit->kvm.tracked);
}

/* An ioctl that wants the writes to be trapped waits for the end of the look. */
static void test_remove_waits(void)
{
	pthread_t other;

	slept = 0;
	finished = false;
	sem_init(&forth, 0, 0);
	sem_init(&back, 0, 0);
	never(pthread_create(&other, NULL, other_traps, NULL));
	shim_slept = other_sleeps;
	looked = other_begins;
	guest_write(unit);
	model_pool_run(0, 1);
	expect(all_done(unit));
	let_other();
	never(pthread_join(other, NULL));
	shim_slept = NULL;
	expect(finished && slept == 2 && unit->kvm.tracked && whys == KVIOMMU_POLL_STOPPED);
	drain(unit);
	expect(unit->kvm.tracked);
}

/* Number of units that no thread polls, of which none is trapped yet */
static unsigned int nr_dropped(void)
{
	unsigned int i, n = 0;

	for (i = 0; i < NR_UNITS; i++)
		n += !units[i]->poller && units[i]->poll_why == KVIOMMU_POLL_MOVED;
	return n;
}

static void drain_all(void)
{
	unsigned int i;

	for (i = 0; i < NR_UNITS; i++)
		drain(units[i]);
}

static void begin_balance(void)
{
	unsigned int i;

	for (i = 0; i < NR_UNITS; i++)
		open_sidecore(i);
	never(first->nr != NR_UNITS);
}

static void test_balance(void)
{
	unsigned int i;

	model_pool_run(0, 1);
	expect(first->nr == 4);
	model_pool_set_online(1, true);
	model_pool_run(0, BALANCE);
	expect(first->nr == 3 && nr_dropped() == 1);
	/* At most one, as long as its worker has not given it to the other thread */
	model_pool_run(0, BALANCE - 1);
	expect(first->nr == 3 && nr_dropped() == 1);
	drain_all();
	expect(second->nr == 1 && !nr_dropped());
	model_pool_run(0, BALANCE);
	drain_all();
	expect(first->nr == 2 && second->nr == 2);
	for (i = 0; i < 3; i++) {
		model_pool_run(0, BALANCE);
		model_pool_run(1, BALANCE);
	}
	expect(first->nr == 2 && second->nr == 2 && !nr_dropped());
	for (i = 0; i < NR_UNITS; i++)
		guest_write(units[i]);
	model_pool_run(0, 1);
	model_pool_run(1, 1);
	for (i = 0; i < NR_UNITS; i++)
		expect(all_done(units[i]));
}

/* Where there is a limit a thread drops what exceeds it, one by one. */
static void test_balance_limit(void)
{
	unsigned int *limit = shim_param_poll_units, before = *limit, i;

	*limit = 2;
	for (i = 0; i < 4; i++) {
		model_pool_run(0, BALANCE);
		expect(first->nr == (i ? 2 : 3));
		drain_all();
	}
	expect(units[0]->kvm.tracked + units[1]->kvm.tracked + units[2]->kvm.tracked +
	       units[3]->kvm.tracked == 2);
	*limit = before;
}

/* A thread on the node of the VMM is better than one that is not. */
static void test_balance_node(void)
{
	model_pool_set_online(1, true);
	model_pool_run(0, BALANCE + 1);
	expect(first->nr == 1);
	second->node = 1;
	unit->poll_node = 1;
	shim_node = 1;
	model_pool_run(0, BALANCE);
	expect(!first->nr);
	drain(unit);
	expect(unit->poller == second && unit->poll_node == 1);
	shim_node = 0;
}

/* Units in adaptive mode are taken from shared threads if they may not have them any more. */
static void test_share(void)
{
	model_pool_set_online(0, true);
	expect(begin_polling(unit) && unit->poller == first);
	*shim_param_poll_share = false;
	shim_relaxed = one_round;
	unit->poll_idle_ns = NSEC_PER_MSEC * BALANCE * 10;
	model_pool_run(0, BALANCE + 1);
	expect(!unit->poller);
	drain(unit);
	/* Its worker went on until the guest was idle. */
	expect(whys == 10 * KVIOMMU_POLL_MOVED + KVIOMMU_POLL_IDLE);
	expect(unit->kvm.tracked && unit->stats.polls == 2);
}

/* The worker */

static void poll_until(unsigned int rounds, void (*what)(void))
{
	happens = what;
	rounds_left = rounds;
	shim_relaxed = one_round;
	busy = true;
	expect(begin_polling(unit) && !rounds_left);
	expect(!unit->self.on || shim_task.killed);
	shim_relaxed = NULL;
	busy = false;
}

static void guest_stops(void)
{
	busy = false;
}

static void test_self_idle(void)
{
	unsigned long began = jiffies;

	poll_until(50, guest_stops);
	expect(whys == KVIOMMU_POLL_IDLE && unit->kvm.tracked && all_done(unit));
	expect(jiffies - began >= 50 && jiffies - began < 60);
	expect(unit->stats.reg_writes == 4);
}

static void mode_changes(void)
{
	WRITE_ONCE(unit->policy.mode, KVIOMMU_MODE_SIDECORE);
}

/* Who changed the mode was killed before the end of polling. */
static void test_self_mode(void)
{
	poll_until(2, mode_changes);
	expect(whys == KVIOMMU_POLL_MOVED && unit->kvm.tracked);
}

static void policy_changes(void)
{
	WRITE_ONCE(unit->policy_outdated, true);
	guest_stops();
}

static void test_self_outdated(void)
{
	poll_until(2, policy_changes);
	expect(!unit->policy_outdated && unit->kvm.tracked);
	expect(whys == 10 * KVIOMMU_POLL_MOVED + KVIOMMU_POLL_IDLE);
}

static void unit_closes(void)
{
	WRITE_ONCE(unit->closing, true);
}

static void test_self_closing(void)
{
	poll_until(2, unit_closes);
	expect(!whys && unit->poll_why == KVIOMMU_POLL_STOPPED);
}

static void worker_gone(void)
{
	WRITE_ONCE(unit->abandoned, true);
}

static void test_self_abandoned(void)
{
	poll_until(2, worker_gone);
	expect(whys == KVIOMMU_POLL_STOPPED && unit->kvm.tracked);
	WRITE_ONCE(unit->abandoned, false);
}

static void status_set(void)
{
	to_counter(unit->model)->status = true;
}

static void test_self_status(void)
{
	poll_until(2, status_set);
	expect(whys == KVIOMMU_POLL_STATUS && unit->kvm.tracked);
	/* It stays trapped for a while. */
	to_counter(unit->model)->status = false;
	expect(!begin_polling(unit));
	jiffies += 10;
	expect(begin_polling(unit));
}

static void pool_opens(void)
{
	model_pool_set_online(0, true);
	rounds_left = 2 * BALANCE;
	happens = guest_stops;
}

static void test_self_to_pool(void)
{
	busy = true;
	shim_relaxed = one_round;
	happens = pool_opens;
	rounds_left = 2;
	expect(begin_polling(unit));
	expect(whys == KVIOMMU_POLL_MOVED && unit->poller == first && !unit->self.on);
	expect(!time_before(jiffies, BALANCE) && time_before(jiffies, BALANCE + 10));
	busy = false;
}

static void deferred_done(void)
{
	expect(!unit->deferred && unit->self.on);
	guest_stops();
}

static void work_deferred(void)
{
	kviommu_unit_defer(unit);
	happens = deferred_done;
	rounds_left = 1;
}

/* The worker does what is left to it, and polls on. */
static void test_self_deferred(void)
{
	poll_until(2, work_deferred);
	expect(whys == KVIOMMU_POLL_IDLE && unit->stats.polls == 1);
}

static void long_work_done(void)
{
	expect(all_done(unit) && unit->self.on);
}

static void long_work(void)
{
	unsigned int i;

	request_ns = 20 * NSEC_PER_MSEC;
	guest_stops();
	for (i = 0; i < 3; i++)
		guest_write(unit);
	/* After the round that sees it, and the next one */
	happens = long_work_done;
	rounds_left = 2;
}

/* It does all of what was asked for, in pieces, before the guest may seem idle. */
static void test_self_long_work(void)
{
	poll_until(2, long_work);
	expect(whys == KVIOMMU_POLL_IDLE && unit->stats.polls == 1);
}

static void signal_sent(void)
{
	shim_task.killed = true;
	guest_stops();
}

static void test_self_signal(void)
{
	poll_until(2, signal_sent);
	expect(unit->self.on && !whys);
	shim_task.killed = false;
	drain(unit);
	expect(!unit->self.on && whys == KVIOMMU_POLL_IDLE);
}

static void writes_trapped(void)
{
	never(kviommu_poll_trap(unit));
	expect(unit->kvm.tracked && !unit->self.on);
	guest_stops();
}

static void test_self_trapped(void)
{
	poll_until(2, writes_trapped);
	expect(whys == KVIOMMU_POLL_STOPPED && unit->stats.polls == 1);
}

/* Writes are trapped again, and KVM has stored one half of the next. */
static void trapped_halfway(void)
{
	writes_trapped();
	*page(unit) ^= 0x10000;
}

static void look_trapped(void)
{
	looked = trapped_halfway;
	guest_stops();
	guest_write(unit);
}

/* What the worker saw before the end of polling it leaves alone. */
static void test_self_trapped_in_look(void)
{
	poll_until(2, look_trapped);
	expect(!looked);
	*page(unit) ^= 0x10000;
	expect(all_done(unit) && whys == KVIOMMU_POLL_STOPPED);
}

static void cpu_taken(void)
{
	shim_task.sched_info.run_delay += WAIT + 1;
}

static void test_self_waits(void)
{
	unsigned int i;

	for (i = 0; i < 3; i++) {
		whys = 0;
		poll_until(1, cpu_taken);
		expect(whys == KVIOMMU_POLL_OVERCOMMITTED && unit->kvm.tracked);
		expect(rest(&unit->self.meter.rest) == REST << i);
		expect(!begin_polling(unit));
		jiffies += rest(&unit->self.meter.rest);
	}
}

static const struct {
	const char *name;
	void (*begin)(void);
	void (*run)(void);
} tests[] = {
	{ "taken", begin_adaptive, test_taken },
	{ "left_to_worker", begin_sidecore, test_left_to_worker },
	{ "budget", begin_sidecore, test_budget },
	{ "budget_seldom", begin_sidecore, test_budget_seldom },
	{ "budget_waits", begin_sidecore, test_budget_waits },
	{ "waits", begin_sidecore, test_waits },
	{ "waits_little", begin_sidecore, test_waits_little },
	{ "waits_no_limit", begin_sidecore, test_waits_no_limit },
	{ "taken_away", begin_sidecore, test_taken_away },
	{ "remove_killed", begin_sidecore, test_remove_killed },
	{ "remove_waits", begin_sidecore, test_remove_waits },
	{ "balance", begin_balance, test_balance },
	{ "balance_limit", begin_balance, test_balance_limit },
	{ "balance_node", begin_sidecore, test_balance_node },
	{ "share", begin_self, test_share },
	{ "self_idle", begin_self, test_self_idle },
	{ "self_mode", begin_self, test_self_mode },
	{ "self_outdated", begin_self, test_self_outdated },
	{ "self_closing", begin_self, test_self_closing },
	{ "self_abandoned", begin_self, test_self_abandoned },
	{ "self_status", begin_self, test_self_status },
	{ "self_to_pool", begin_self, test_self_to_pool },
	{ "self_deferred", begin_self, test_self_deferred },
	{ "self_long_work", begin_self, test_self_long_work },
	{ "self_signal", begin_self, test_self_signal },
	{ "self_trapped", begin_self, test_self_trapped },
	{ "self_trapped_in_look", begin_self, test_self_trapped_in_look },
	{ "self_waits", begin_self, test_self_waits },
};

int main(void)
{
	unsigned int i, bad = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("TAP version 13\n1..%zu\n", ARRAY_SIZE(tests));
	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		failed = false;
		tests[i].begin();
		tests[i].run();
		close_units();
		bad += failed;
		printf("%sok %u - polling.%s\n", failed ? "not " : "", i + 1, tests[i].name);
	}
	return bad ? 1 : 0;
}
