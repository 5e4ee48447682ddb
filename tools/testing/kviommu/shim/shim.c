// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's memory allocator, xarray, timer and eventfds. Allocations are counted, and
 * fail when a test wants them to.
 */
#include <stdio.h>
#include <stdlib.h>

#include "shim.h"
#include "../model.h"

struct shim_fail shim_fail;
struct task_struct shim_task;
unsigned long jiffies, shim_jiffies_step;
u64 shim_ns, shim_ns_step;
bool shim_waits, shim_park;
unsigned int shim_rounds;
int shim_node;
void (*shim_relaxed)(void);
void (*shim_slept)(void);

static unsigned long allocations;
static struct eventfd_ctx eventfds[4];

void shim_bug(const char *file, int line, const char *what)
{
	fprintf(stderr, "kviommu: bug at %s:%d: %s\n", file, line, what);
	abort();
}

bool shim_should_fail(void)
{
	if (!shim_fail.times)
		return false;
	if (shim_fail.after) {
		shim_fail.after--;
		return false;
	}
	shim_fail.times--;
	shim_fail.failed++;
	return true;
}

unsigned long shim_allocations(void)
{
	return allocations;
}

bool shim_atomic;

void *kzalloc(size_t size, gfp_t gfp)
{
	void *p = shim_should_fail() ? NULL : calloc(1, size);

	never(shim_atomic);
	if (p)
		allocations++;
	return p;
}

void kfree(const void *p)
{
	if (p)
		allocations--;
	free((void *)p);
}

unsigned long get_zeroed_page(gfp_t gfp)
{
	void *p = shim_should_fail() ? NULL : aligned_alloc(PAGE_SIZE, PAGE_SIZE);

	never(shim_atomic);
	if (!p)
		return 0;
	allocations++;
	memset(p, 0, PAGE_SIZE);
	return (unsigned long)p;
}

void free_page(unsigned long addr)
{
	kfree((void *)addr);
}

struct eventfd_ctx *eventfd_ctx_fdget(int fd)
{
	if ((size_t)fd >= ARRAY_SIZE(eventfds))
		return ERR_PTR(-EBADF);
	eventfds[fd].refs++;
	allocations++;
	return &eventfds[fd];
}

void eventfd_ctx_put(struct eventfd_ctx *ctx)
{
	never(!ctx->refs);
	ctx->refs--;
	allocations--;
}

void eventfd_signal(struct eventfd_ctx *ctx)
{
	never(!ctx->refs);
	ctx->count++;
}

/* The position of the first item whose index is @index or greater */
static size_t xa_at(const struct xarray *xa, unsigned long index)
{
	size_t lo = 0, hi = xa->nr;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (xa->items[mid].index < index)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

void xa_init(struct xarray *xa)
{
	*xa = (struct xarray){};
}

void xa_init_flags(struct xarray *xa, gfp_t flags)
{
	xa_init(xa);
}

void *xa_load(struct xarray *xa, unsigned long index)
{
	size_t i = xa_at(xa, index);

	return i < xa->nr && xa->items[i].index == index ?
	       xa->items[i].entry : NULL;
}

void *xa_store(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp)
{
	size_t i = xa_at(xa, index);
	void *old = NULL;

	if (i < xa->nr && xa->items[i].index == index) {
		old = xa->items[i].entry;
		xa->items[i].entry = entry;
		return old;
	}
	if (shim_should_fail())
		return ERR_PTR(-ENOMEM);
	if (xa->nr == xa->max) {
		xa->max = xa->max ? 2 * xa->max : 16;
		xa->items = realloc(xa->items, xa->max * sizeof(*xa->items));
	}
	memmove(xa->items + i + 1, xa->items + i,
		(xa->nr - i) * sizeof(*xa->items));
	xa->items[i] = (struct shim_xa_item){ index, entry, false };
	xa->nr++;
	return NULL;
}

void *xa_erase(struct xarray *xa, unsigned long index)
{
	size_t i = xa_at(xa, index);
	void *old;

	if (i == xa->nr || xa->items[i].index != index)
		return NULL;
	old = xa->items[i].entry;
	xa->nr--;
	memmove(xa->items + i, xa->items + i + 1,
		(xa->nr - i) * sizeof(*xa->items));
	/* As in the kernel, an empty array needs no xa_destroy(). */
	if (!xa->nr)
		xa_destroy(xa);
	return old;
}

void *xa_find(struct xarray *xa, unsigned long *index, unsigned long max,
	      int filter)
{
	size_t i = xa_at(xa, *index);

	while (i < xa->nr && filter == XA_MARK_0 && !xa->items[i].mark)
		i++;
	if (i == xa->nr || xa->items[i].index > max)
		return NULL;
	*index = xa->items[i].index;
	return xa->items[i].entry;
}

static void xa_mark(struct xarray *xa, unsigned long index, bool mark)
{
	size_t i = xa_at(xa, index);

	if (i < xa->nr && xa->items[i].index == index)
		xa->items[i].mark = mark;
}

bool xa_get_mark(struct xarray *xa, unsigned long index, int mark)
{
	size_t i = xa_at(xa, index);

	return i < xa->nr && xa->items[i].index == index && xa->items[i].mark;
}

void xa_set_mark(struct xarray *xa, unsigned long index, int mark)
{
	xa_mark(xa, index, true);
}

void xa_clear_mark(struct xarray *xa, unsigned long index, int mark)
{
	xa_mark(xa, index, false);
}

void *shim_xa_after(struct xarray *xa, unsigned long *index,
		    unsigned long max, int filter)
{
	if (*index == ULONG_MAX)
		return NULL;
	++*index;
	return xa_find(xa, index, max, filter);
}

void xa_destroy(struct xarray *xa)
{
	free(xa->items);
	xa_init(xa);
}

void mt_init(struct maple_tree *mt)
{
	*mt = (struct maple_tree){};
}

int mtree_store_range(struct maple_tree *mt, unsigned long first, unsigned long last,
		      void *entry, gfp_t gfp)
{
	if (shim_should_fail())
		return -ENOMEM;
	mt->ranges = realloc(mt->ranges, (mt->nr + 1) * sizeof(*mt->ranges));
	mt->ranges[mt->nr++] = (struct shim_range){ first, last, entry };
	return 0;
}

int mas_store_gfp(struct ma_state *mas, void *entry, gfp_t gfp)
{
	struct maple_tree *mt = mas->tree;
	size_t i;

	for (i = 0; i < mt->nr && mt->ranges[i].first != mas->index; i++)
		;
	if (i < mt->nr)
		mt->ranges[i] = mt->ranges[--mt->nr];
	if (!mt->nr) {
		free(mt->ranges);
		mt->ranges = NULL;
	}
	return 0;
}

void *mas_find(struct ma_state *mas, unsigned long max)
{
	struct maple_tree *mt = mas->tree;
	struct shim_range *found = NULL;
	size_t i;

	for (i = 0; i < mt->nr; i++)
		if (mt->ranges[i].last >= mas->index && mt->ranges[i].first <= max &&
		    (!found || mt->ranges[i].first < found->first))
			found = &mt->ranges[i];
	if (!found)
		return NULL;
	mas->index = found->first;
	mas->last = found->last;
	return found->entry;
}

/* Let time pass until the timer expires. Return: false if it was not pending. */
bool shim_timer_expire(struct timer_list *timer)
{
	if (!timer->pending)
		return false;
	if (time_after(timer->expires, jiffies))
		jiffies = timer->expires;
	timer->pending = false;
	timer->fn(timer);
	return true;
}

/* Let time pass, which the thread spends waiting for its CPU if @shim_waits is set. */
void shim_pass(u64 ns)
{
	if (shim_waits)
		shim_task.sched_info.run_delay += ns;
	ns += shim_ns;
	jiffies += ns / NSEC_PER_MSEC;
	shim_ns = ns % NSEC_PER_MSEC;
}

u64 ktime_get_ns(void)
{
	shim_pass(shim_ns_step);
	return jiffies * NSEC_PER_MSEC + shim_ns + 1;
}

void cpu_relax(void)
{
	jiffies++;
	if (shim_rounds)
		shim_rounds--;
	if (shim_relaxed)
		shim_relaxed();
}

void kthread_parkme(void)
{
	/* It could not leave its CPU. */
	never(shim_task.migration_disabled);
	shim_park = false;
}

long schedule_timeout_killable(long timeout)
{
	never(shim_atomic || !shim_slept);
	jiffies += timeout;
	shim_slept();
	return 0;
}

struct vhost_task *vhost_task_create(bool (*fn)(void *),
				     void (*handle_sigkill)(void *), void *data,
				     const char *name)
{
	struct vhost_task *task;

	if (shim_should_fail())
		return ERR_PTR(-ENOMEM);
	task = calloc(1, sizeof(*task));
	*task = (struct vhost_task){ .fn = fn, .data = data };
	return task;
}

/* Waits for the worker, which may be doing its work just then. */
void vhost_task_stop(struct vhost_task *task)
{
	while (!shim_task.killed && task->fn(task->data))
		;
	free(task);
}
