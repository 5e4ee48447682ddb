/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The part of the kernel's API that the portable files of kviommu use, for one thread in
 * userspace. Each kernel header that they include includes this file.
 */
#ifndef _KVIOMMU_SHIM_H
#define _KVIOMMU_SHIM_H

#include <asm/types.h>
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>
#include <string.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;
typedef u64 __le64;
typedef u64 phys_addr_t;
typedef u64 gpa_t;
typedef u64 gfn_t;
#define gfp_t		unsigned int

#define __aligned_u64	__u64
/* There are no cache lines here. */
#define __aligned(bytes)
#define ____cacheline_aligned_in_smp
#define U16_MAX		((u16)~0U)
#define U64_MAX		((u64)~0ULL)
#define U32_MAX			((u32)~0U)

#define le64_to_cpu(x)	((u64)(x))
#define cpu_to_le64(x)	((__le64)(x))

/* A bug was found: print it and abort. */
noreturn void shim_bug(const char *file, int line, const char *what);

#define shim_die(what)		shim_bug(__FILE__, __LINE__, what)
#define never(cond)						\
	do {								\
		if (cond)						\
			shim_die(#cond);				\
	} while (0)
#define WARN_ON_ONCE(cond)						\
	({								\
		bool _warn = (cond);					\
									\
		if (_warn)						\
			shim_die("WARN: " #cond);			\
		_warn;							\
	})

/*
 * Injected failures: after @after successful calls the next @times calls fail. @failed
 * counts them.
 */
struct shim_fail {
	unsigned int after;
	unsigned int times;
	unsigned int failed;
};

extern struct shim_fail shim_fail;
bool shim_should_fail(void);

/* bits, sizes, arithmetic */
#define BIT(n)			(1UL << (n))
#define BIT_ULL(n)		(1ULL << (n))
#define GENMASK(h, l)		((~0UL >> (63 - (h))) & (~0UL << (l)))
#define GENMASK_ULL(h, l)	((~0ULL >> (63 - (h))) & (~0ULL << (l)))
#define LIST_HEAD(name)		struct list_head name = { &(name), &(name) }
#define __ffs64(x)		__builtin_ctzll(x)
#define __ffs(x)		((unsigned int)__builtin_ctzl(x))
#define offsetofend(type, member)	(offsetof(type, member) + sizeof(((type *)0)->member))
#define FIELD_GET(mask, val)						\
	({								\
		u64 _mask = (mask);					\
									\
		((val) & _mask) >> __builtin_ctzll(_mask);		\
	})
#define FIELD_PREP(mask, val)						\
	({								\
		u64 _mask = (mask);					\
									\
		((u64)(val) << __builtin_ctzll(_mask)) & _mask;		\
	})
#define lower_32_bits(n)	((u32)(n))
#define upper_32_bits(n)	((u32)((n) >> 32))

#define SZ_1K			0x400
#define SZ_4K			0x1000
#define SZ_64K			0x10000
#define SZ_256K		0x40000
#define SZ_2M			0x200000
#define SZ_1M			0x00100000
#define SZ_256M			0x10000000

/* A weak hash, so that there are collisions */
#define hash_long(x, bits)	((x) & ((1UL << (bits)) - 1))
#define fls64(x)	((x) ? 64 - __builtin_clzll(x) : 0)
#define DIV_ROUND_UP(n, d)	(((n) + (d) - 1) / (d))
#define check_add_overflow(a, b, d)	__builtin_add_overflow(a, b, d)
#define roundup_pow_of_two(x)	((x) <= 1 ? 1UL : 1UL << fls64((x) - 1))

#define ALIGN_DOWN(x, a)	((x) & ~((__typeof__(x))(a) - 1))
#define IS_ALIGNED(x, a)	(!((x) & ((__typeof__(x))(a) - 1)))
#define array_index_nospec(i, size)	((i) % (size))
#define ARRAY_SIZE(array)	(sizeof(array) / sizeof(*(array)))

#define min_t(type, x, y)						\
	({								\
		type _x = (x);						\
		type _y = (y);						\
									\
		_x < _y ? _x : _y;					\
	})
#define max(x, y)							\
	({								\
		__typeof__(x) _x = (x);					\
		__typeof__(y) _y = (y);					\
									\
		_x > _y ? _x : _y;					\
	})
#define min(x, y)							\
	({								\
		__typeof__(x) _min_x = (x);				\
		__typeof__(y) _min_y = (y);				\
									\
		_min_x < _min_y ? _min_x : _min_y;			\
	})
#define clamp(val, lo, hi)		min(max(val, lo), hi)
#define min3(x, y, z)		min_t(u64, min_t(u64, x, y), z)
#define umin(x, y)		min_t(u64, x, y)
#define umax(x, y)		((u64)(x) > (u64)(y) ? (u64)(x) : (u64)(y))
#define swap(a, b)							\
	do {								\
		__typeof__(a) *_a = &(a), *_b = &(b), _t = *_a;		\
									\
		*_a = *_b;						\
		*_b = _t;						\
	} while (0)
#define ALIGN(x, a)		(((x) + (a) - 1) / (a) * (a))
#define fallthrough		__attribute__((__fallthrough__))
#define likely(x)		__builtin_expect(!!(x), 1)
#define unlikely(x)		__builtin_expect(!!(x), 0)
#define xchg(p, v)		__atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)
#define cmpxchg(p, old, v)	__sync_val_compare_and_swap(p, old, v)
#define container_of_const	container_of

#define container_of(ptr, type, member)					\
	((type *)((char *)(ptr) - offsetof(type, member)))

#define READ_ONCE(x)		__atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, v)	__atomic_store_n(&(x), v, __ATOMIC_RELAXED)
/* A barrier that no other thread needs: there is none. */
#define smp_store_release(p, v)	__atomic_store_n(p, v, __ATOMIC_RELEASE)
/* Likewise */
#define smp_load_acquire(p)	__atomic_load_n(p, __ATOMIC_ACQUIRE)

#define get_unaligned(p)						\
	({								\
		__typeof__(*(p)) _v;					\
									\
		memcpy(&_v, (const void *)(p), sizeof(_v));		\
		_v;							\
	})

/* bitmaps */
#define BITS_PER_LONG		64
#define DECLARE_BITMAP(name, bits)					\
	unsigned long name[((bits) + BITS_PER_LONG - 1) / BITS_PER_LONG]

static inline void bitmap_zero(unsigned long *map, unsigned int bits)
{
	memset(map, 0, (bits + BITS_PER_LONG - 1) / BITS_PER_LONG * 8);
}

static inline void bitmap_or(unsigned long *to, const unsigned long *a, const unsigned long *b,
			     unsigned int bits)
{
	unsigned int i;

	for (i = 0; i < (bits + BITS_PER_LONG - 1) / BITS_PER_LONG; i++)
		to[i] = a[i] | b[i];
}

static inline bool test_bit(unsigned int bit, const unsigned long *map)
{
	return map[bit / 64] >> bit % 64 & 1;
}

static inline void __set_bit(unsigned int n, unsigned long *map)
{
	map[n / BITS_PER_LONG] |= BIT(n % BITS_PER_LONG);
}

static inline unsigned int shim_next_bit(const unsigned long *map,
					 unsigned int bits, unsigned int n)
{
	while (n < bits && !(map[n / BITS_PER_LONG] & BIT(n % BITS_PER_LONG)))
		n++;
	return n;
}

static inline bool bitmap_empty(const unsigned long *map, unsigned int bits)
{
	return shim_next_bit(map, bits, 0) >= bits;
}

static inline void __clear_bit(unsigned int n, unsigned long *map)
{
	map[n / BITS_PER_LONG] &= ~BIT(n % BITS_PER_LONG);
}

#define find_next_bit(map, bits, n)	shim_next_bit(map, bits, n)

#define for_each_set_bit(n, map, bits)					\
	for ((n) = shim_next_bit(map, bits, 0); (n) < (bits);		\
	     (n) = shim_next_bit(map, bits, (n) + 1))

/* errors in pointers */
static inline void *ERR_PTR(long err)
{
	return (void *)err;
}

static inline bool IS_ERR(const void *ptr)
{
	return (unsigned long)ptr >= (unsigned long)-4095L;
}

static inline long PTR_ERR(const void *ptr)
{
	return (long)ptr;
}

static inline void *ERR_CAST(const void *ptr)
{
	return (void *)ptr;
}

/* lists */
struct list_head {
	struct list_head *next, *prev;
};

static inline void INIT_LIST_HEAD(struct list_head *list)
{
	list->next = list;
	list->prev = list;
}

static inline void list_add(struct list_head *entry, struct list_head *head)
{
	entry->next = head->next;
	entry->prev = head;
	head->next->prev = entry;
	head->next = entry;
}

static inline void list_add_tail(struct list_head *entry,
				 struct list_head *head)
{
	list_add(entry, head->prev);
}

static inline void list_del(struct list_head *entry)
{
	entry->next->prev = entry->prev;
	entry->prev->next = entry->next;
	entry->next = NULL;
	entry->prev = NULL;
}

static inline void list_del_init(struct list_head *entry)
{
	list_del(entry);
	INIT_LIST_HEAD(entry);
}

static inline void list_move_tail(struct list_head *entry, struct list_head *head)
{
	list_del(entry);
	list_add_tail(entry, head);
}

static inline bool list_empty(const struct list_head *head)
{
	return head->next == head;
}

static inline bool list_is_singular(const struct list_head *head)
{
	return !list_empty(head) && head->next == head->prev;
}

#define list_entry(ptr, type, member)	container_of(ptr, type, member)
#define list_first_entry(head, type, member)				\
	list_entry((head)->next, type, member)
#define shim_entry(ptr, pos, member)					\
	list_entry(ptr, __typeof__(*(pos)), member)
#define list_for_each_entry(pos, head, member)				\
	for ((pos) = shim_entry((head)->next, pos, member);		\
	     &(pos)->member != (head);					\
	     (pos) = shim_entry((pos)->member.next, pos, member))
#define list_for_each_entry_rcu(pos, head, member, ...)			\
	list_for_each_entry(pos, head, member)
#define list_for_each_entry_safe(pos, n, head, member)			\
	for ((pos) = shim_entry((head)->next, pos, member),		\
	     (n) = shim_entry((pos)->member.next, pos, member);		\
	     &(pos)->member != (head);					\
	     (pos) = (n), (n) = shim_entry((n)->member.next, n, member))

/* Allocating or sleeping is a bug now. */
extern bool shim_atomic;

/* locks: with one thread, locking a lock that is held is a deadlock, and a bug */
struct mutex {
	bool held;
};

#define spinlock_t		struct mutex
#define guard(kind)		shim_guard_##kind
#define scoped_guard(kind, lock)					\
	for (bool shim_once = (kind##_lock(lock), true); shim_once;	\
	     shim_once = (kind##_unlock(lock), false))
#define shim_guard_mutex(lock)						\
	struct mutex *shim_guarded __attribute__((__cleanup__(shim_unguard), __unused__)) = \
		shim_guard(lock)

void shim_unlocked(struct mutex *lock);

static inline void mutex_init(struct mutex *lock)
{
	lock->held = false;
}

static inline void mutex_destroy(struct mutex *lock)
{
	never(lock->held);
}

static inline void mutex_lock(struct mutex *lock)
{
	never(lock->held || shim_atomic);
	lock->held = true;
}

static inline bool mutex_trylock(struct mutex *lock)
{
	if (lock->held)
		return false;
	lock->held = true;
	return true;
}

static inline int mutex_lock_killable(struct mutex *lock)
{
	mutex_lock(lock);
	return 0;
}

static inline void mutex_unlock(struct mutex *lock)
{
	never(!lock->held);
	lock->held = false;
	shim_unlocked(lock);
}

static inline struct mutex *shim_guard(struct mutex *lock)
{
	mutex_lock(lock);
	return lock;
}

static inline void shim_unguard(struct mutex **lock)
{
	mutex_unlock(*lock);
}

#define DEFINE_SPINLOCK(name)		struct mutex name
#define spin_lock_init(lock)		mutex_init(lock)
#define spinlock_lock(lock)		spin_lock(lock)
#define spinlock_unlock(lock)		spin_unlock(lock)
#define lockdep_assert_held(lock)	never(!(lock)->held)

static inline void spin_lock(spinlock_t *lock)
{
	never(lock->held);
	lock->held = true;
}

static inline void spin_unlock(spinlock_t *lock)
{
	never(!lock->held);
	lock->held = false;
}

/* tasks, time, work */
struct mm_struct;

/* One task stands for all threads, so they wait for their CPUs together. */
struct task_struct {
	struct mm_struct *mm;
	bool killed;
	struct {
		u64 run_delay;
	} sched_info;
	unsigned int migration_disabled;
};

extern struct task_struct shim_task;

/*
 * The clock, in jiffies of a millisecond and @shim_ns: each call of cond_resched() takes
 * @shim_jiffies_step, each of cpu_relax() one jiffy, and each reading @shim_ns_step.
 */
extern unsigned long jiffies, shim_jiffies_step;
extern u64 shim_ns, shim_ns_step;
extern bool shim_waits;
void shim_pass(u64 ns);
u64 ktime_get_ns(void);

#define current			(&shim_task)
#define signal_pending(task)	((task)->killed)
#define fatal_signal_pending(task) ((task)->killed)
#define time_after(a, b)	((long)((b) - (a)) < 0)
#define msecs_to_jiffies(ms)	((unsigned long)(ms))
#define jiffies_to_msecs(n)	((unsigned int)(n))
#define time_before(a, b)	time_after(b, a)
#define time_after_eq(a, b)	(!time_before(a, b))
#define USEC_PER_MSEC		1000UL
#define usecs_to_jiffies(us)	(((unsigned long)(us) + 999) / 1000)
#define jiffies_to_usecs(j)	((unsigned int)((j) * 1000))
#define USEC_PER_SEC		1000000UL
#define NSEC_PER_USEC		1000UL
#define NSEC_PER_MSEC		1000000ULL

/* The unit's timer, which only runs in shim_timer_expire() */
struct timer_list {
	void (*fn)(struct timer_list *timer);
	unsigned long expires;
	bool pending;
};

#define timer_setup(t, f, flags)	((void)(flags), (t)->fn = (f))
#define timer_shutdown_sync(t)						\
	(*(t) = (struct timer_list){})
#define timer_delete_sync(t)		((void)((t)->pending = false))
#define timer_reduce(t, when)						\
do {									\
	if ((t)->fn && (!(t)->pending || time_after((t)->expires, (when)))) {	\
		(t)->expires = (when);					\
		(t)->pending = true;					\
	}								\
} while (0)

bool shim_timer_expire(struct timer_list *timer);

void cond_resched(void);

/* The unit's worker, which only runs when a test calls @fn */
struct vhost_task {
	bool (*fn)(void *data);
	void *data;
};

struct vhost_task *vhost_task_create(bool (*fn)(void *),
				     void (*handle_sigkill)(void *), void *data,
				     const char *name);
void vhost_task_stop(struct vhost_task *task);

#define TASK_COMM_LEN			16
#define need_resched()			false
#define schedule()			((void)0)
#define __set_current_state(state)	((void)(state))
#define set_current_state(state)	((void)(state))
#define TASK_RUNNING			0
#define TASK_INTERRUPTIBLE		1
#define vhost_task_start(task)		((void)(task))
/* The worker has been made, and not been stopped. */
#define vhost_task_wake(task)		never(!(task)->fn)

/*
 * A shared thread, which runs when a test calls its function: for @shim_rounds rounds, each
 * of which ends with cpu_relax(). If @shim_park is set it is parked in the first one.
 */
extern unsigned int shim_rounds;
extern bool shim_park;
/* What other threads do between two rounds of a thread that polls, or NULL */
extern void (*shim_relaxed)(void);
/* What they do while a thread sleeps; to sleep without that is a bug, as nobody ends it. */
extern void (*shim_slept)(void);

#define kthread_should_stop()		(!shim_rounds)
#define kthread_should_park()		shim_park
#define wake_up_process(task)		never(!(task))
#define migrate_disable()		((void)current->migration_disabled++)
#define migrate_enable()		((void)current->migration_disabled--)
#define local_irq_disable()		((void)0)
#define local_irq_enable()		((void)0)
#define rcu_momentary_eqs()		((void)0)
#define cond_resched_tasks_rcu_qs()	((void)0)
#define NUMA_NO_NODE			(-1)
#define numa_node_id()			shim_node
#define SMP_CACHE_BYTES			64

/* The node of the CPU that runs everything but the shared threads */
extern int shim_node;

void kthread_parkme(void);
void cpu_relax(void);
long schedule_timeout_killable(long timeout);
#define schedule_timeout_uninterruptible(timeout)	schedule_timeout_killable(timeout)

#define atomic_t			u32
#define atomic_or(n, a)			((void)(*(a) |= (n)))
#define atomic_andnot(n, a)		((void)(*(a) &= ~(n)))
/* A barrier that no other thread needs, either */
#define smp_mb__before_atomic()		((void)0)

#define atomic_long_t			struct shim_atomic_long

struct shim_atomic_long {
	long val;
};

#define atomic_long_read(a)		((a)->val)
#define atomic_long_add(n, a)		((void)((a)->val += (n)))

static inline long atomic_long_xchg(atomic_long_t *a, long val)
{
	long old = a->val;

	a->val = val;
	return old;
}

/* The host never calls the shrinker. */
struct shrink_control {
	unsigned long nr_to_scan;
};

struct shrinker {
	unsigned long (*count_objects)(struct shrinker *shrinker,
				       struct shrink_control *sc);
	unsigned long (*scan_objects)(struct shrinker *shrinker,
				      struct shrink_control *sc);
	void *private_data;
};

#define SHRINK_EMPTY			(~0UL - 1)
#define SHRINK_STOP			(~0UL)
#define shrinker_alloc(...)		kzalloc(sizeof(struct shrinker), 0)
#define shrinker_register(s)		((void)(s))
#define shrinker_free(s)		kfree(s)

/* memory */
#define PAGE_SHIFT		12
#define PAGE_SIZE		BIT(PAGE_SHIFT)
#define PAGE_MASK		(~(PAGE_SIZE - 1))
#define PAGE_ALIGNED(addr)	IS_ALIGNED(addr, PAGE_SIZE)
#define PFN_PHYS(pfn)		((phys_addr_t)(pfn) << PAGE_SHIFT)
#define PHYS_PFN(addr)		((unsigned long)((addr) >> PAGE_SHIFT))
#define offset_in_page(p)	((unsigned long)(p) & ~PAGE_MASK)

#define kvmalloc_array(n, size, gfp)	kzalloc((n) * (size), gfp)
#define kvfree(p)			kfree(p)

#define GFP_KERNEL		0
#define GFP_KERNEL_ACCOUNT	1
#define __GFP_ZERO		2
#define __GFP_RETRY_MAYFAIL	4
#define __GFP_NOWARN		8
#define __GFP_NOFAIL		0
#define __GFP_ACCOUNT		16
#define GFP_NOWAIT		32

#define ALLOW_ERROR_INJECTION(fn, type)

struct folio;
struct page;
struct mem_cgroup;

void *kzalloc(size_t size, gfp_t gfp);
void kfree(const void *p);
unsigned long get_zeroed_page(gfp_t gfp);
void free_page(unsigned long addr);
struct page *alloc_page(gfp_t gfp);
void put_page(struct page *page);
unsigned long page_to_pfn(const struct page *page);
struct page *pfn_to_page(unsigned long pfn);
/* A folio is named by any of its pages. */
#define page_folio(page)	((struct folio *)(page))
unsigned long folio_nr_pages(const struct folio *folio);
void *page_address(const struct page *page);

static inline struct mem_cgroup *get_mem_cgroup_from_mm(struct mm_struct *mm)
{
	return NULL;
}

static inline void mem_cgroup_put(struct mem_cgroup *memcg)
{
}

static inline struct mem_cgroup *set_active_memcg(struct mem_cgroup *memcg)
{
	return NULL;
}

struct ida {
	int next;
};

#define DEFINE_IDA(name)	struct ida name

static inline int ida_alloc(struct ida *ida, gfp_t gfp)
{
	return ida->next++;
}

static inline void ida_free(struct ida *ida, unsigned int id)
{
	ida->next--;
}

/* An xarray is a sorted array here. */
struct shim_xa_item {
	unsigned long index;
	void *entry;
	bool mark;
};

struct xarray {
	struct shim_xa_item *items;
	size_t nr;
	size_t max;
};

#define XA_MARK_0		0
#define XA_PRESENT		8
#define XA_FLAGS_ACCOUNT	0
#define xa_mk_value(v)		((void *)(((unsigned long)(v) << 1) | 1))
#define xa_err(entry)							\
	({								\
		const void *_entry = (entry);				\
									\
		IS_ERR(_entry) ? (int)PTR_ERR(_entry) : 0;		\
	})

void xa_init(struct xarray *xa);
void xa_init_flags(struct xarray *xa, gfp_t flags);
void *xa_load(struct xarray *xa, unsigned long index);
void *xa_store(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp);
void *xa_erase(struct xarray *xa, unsigned long index);
void *xa_find(struct xarray *xa, unsigned long *index, unsigned long max,
	      int filter);
bool xa_get_mark(struct xarray *xa, unsigned long index, int mark);
void xa_set_mark(struct xarray *xa, unsigned long index, int mark);
void xa_clear_mark(struct xarray *xa, unsigned long index, int mark);
void *shim_xa_after(struct xarray *xa, unsigned long *index,
		    unsigned long max, int filter);
void xa_destroy(struct xarray *xa);

#define xa_for_each_range(xa, index, entry, start, last)		\
	for ((index) = (start),						\
	     (entry) = xa_find(xa, &(index), last, XA_PRESENT); (entry);	\
	     (entry) = shim_xa_after(xa, &(index), last, XA_PRESENT))
#define xa_for_each(xa, index, entry)					\
	xa_for_each_range(xa, index, entry, 0, ULONG_MAX)
#define xa_for_each_marked(xa, index, entry, filter)			\
	for ((index) = 0,						\
	     (entry) = xa_find(xa, &(index), ULONG_MAX, filter); (entry); \
	     (entry) = shim_xa_after(xa, &(index), ULONG_MAX, filter))

/* A maple tree is an array of ranges here, in no order. */
struct shim_range {
	unsigned long first;
	unsigned long last;
	void *entry;
};

struct maple_tree {
	struct shim_range *ranges;
	size_t nr;
};

struct ma_state {
	struct maple_tree *tree;
	unsigned long index;
	unsigned long last;
};

#define MA_STATE(name, mt, first, end)					\
	struct ma_state name = { .tree = (mt), .index = (first), .last = (end) }
#define mas_lock(mas)		((void)(mas))
#define mas_unlock(mas)		((void)(mas))

void mt_init(struct maple_tree *mt);
int mtree_store_range(struct maple_tree *mt, unsigned long first, unsigned long last,
		      void *entry, gfp_t gfp);
/* Only to forget a range that was stored */
int mas_store_gfp(struct ma_state *mas, void *entry, gfp_t gfp);
/* Only the first call on a state, which finds the first range from there on */
void *mas_find(struct ma_state *mas, unsigned long max);

/* IOMMU API: the types that the shared headers need */
#define IOMMU_READ		1
#define IOMMU_WRITE		2
#define IOMMU_CACHE		4

struct device;
struct iommu_domain;

struct iommu_domain_geometry {
	u64 aperture_start;
	u64 aperture_end;
};

struct iommu_ops;

struct iommu_domain {
	const struct iommu_ops *owner;
	struct iommu_domain_geometry geometry;
	unsigned long pgsize_bitmap;
};

struct iommu_iotlb_gather {
	unsigned long start;
	unsigned long end;
	struct list_head freelist;
};

static inline void iommu_iotlb_gather_init(struct iommu_iotlb_gather *gather)
{
	*gather = (struct iommu_iotlb_gather){ .start = ULONG_MAX };
}

/* for inline functions of host/compat.h that are not called here */
#define IOMMU_HWPT_ALLOC_NEST_PARENT	1

struct iommu_user_data;

struct iommu_ops {
	struct iommu_domain *(*domain_alloc_user)(struct device *dev, u32 flags,
						  struct iommu_domain *parent,
						  const struct iommu_user_data *data);
};

struct iommu_domain *iommu_paging_domain_alloc(struct device *dev);
size_t iommu_unmap_fast(struct iommu_domain *domain, unsigned long iova, size_t size,
			struct iommu_iotlb_gather *gather);

/* eventfds: a file descriptor n is the n-th of a few counters */
struct eventfd_ctx {
	unsigned int refs;
	u64 count;
};

struct eventfd_ctx *eventfd_ctx_fdget(int fd);
void eventfd_ctx_put(struct eventfd_ctx *ctx);
void eventfd_signal(struct eventfd_ctx *ctx);

/* KVM */
struct kvm_page_track_notifier_node {
	int unused;
};

/* modules and traces */
/* A test that wants to change a parameter declares shim_param_NAME, of the pointer's type. */
#define module_param(name, type, ...)					\
	type *const shim_param_##name = &(name)
#define MODULE_PARM_DESC(...)		static_assert(1)
#define module_param_cb(name, ops, arg, perm)				\
	void *const shim_param_##name = (arg);				\
	static const void *const param_##name[] __used = {		\
		ops, arg, (void *)(perm)				\
	}
#define param_set_uint_minmax(...)	(-EINVAL)

struct kernel_param {
	void *arg;
};

struct kernel_param_ops {
	int (*set)(const char *value, const struct kernel_param *kp);
	int (*get)(char *buffer, const struct kernel_param *kp);
};

static inline int param_get_uint(char *buf, const struct kernel_param *kp)
{
	return -EINVAL;
}

#define __sysfs_match_string(...)	(-EINVAL)
#define kstrtou64(...)			(-EINVAL)
#define sysfs_emit_at(...)		0
#define sysfs_emit			__builtin_sprintf
#define snprintf			__builtin_snprintf

#define TP_PROTO(...)			__VA_ARGS__
#define TRACE_EVENT(name, proto, ...)					\
	static inline void trace_##name(proto)				\
	{								\
	}

#endif /* _KVIOMMU_SHIM_H */
