// SPDX-License-Identifier: GPL-2.0
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/kvm.h>

#include "kviommu.h"

static int call(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) ? -errno : 0;
}

/**
 * kviommu_open() - Open /dev/kviommu, for one unit
 *
 * Return: a file descriptor, closed on exec, or a negative errno; ENOENT if the
 * module is not loaded.
 */
int kviommu_open(void)
{
	int fd = open("/dev/kviommu", O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/**
 * kviommu_get_info() - KVIOMMU_GET_INFO: what the host offers
 * @fd: From kviommu_open()
 * @info: Where to; need not be initialized
 *
 * Return: 0 or a negative errno.
 */
int kviommu_get_info(int fd, struct kviommu_info *info)
{
	*info = (struct kviommu_info){ .size = sizeof(*info) };
	return call(fd, KVIOMMU_GET_INFO, info);
}

static int model_info(int fd, __u32 model, void *info, __u32 size)
{
	struct kviommu_info general = {
		.size = sizeof(general),
		.model = model,
		.data_len = size,
		.data_uptr = (uintptr_t)info,
	};

	return call(fd, KVIOMMU_GET_INFO, &general);
}

/**
 * kviommu_get_vtd_info() - KVIOMMU_GET_INFO: what a VT-d unit can be given
 * @fd: From kviommu_open()
 * @info: Where to; need not be initialized
 *
 * Return: 0 or a negative errno; EOPNOTSUPP if the module has no VT-d.
 */
int kviommu_get_vtd_info(int fd, struct kviommu_vtd_info *info)
{
	return model_info(fd, KVIOMMU_MODEL_VTD, info, sizeof(*info));
}

/**
 * kviommu_get_coiommu_info() - KVIOMMU_GET_INFO: what a coIOMMU unit has and can be given
 * @fd: From kviommu_open()
 * @info: Where to; need not be initialized
 *
 * Return: 0 or a negative errno; EOPNOTSUPP if the module has no coIOMMU.
 */
int kviommu_get_coiommu_info(int fd, struct kviommu_coiommu_info *info)
{
	return model_info(fd, KVIOMMU_MODEL_COIOMMU, info, sizeof(*info));
}

/**
 * kviommu_create() - KVIOMMU_CREATE: make the file a unit
 * @fd: From kviommu_open()
 * @create: What it is to be like, but for the size
 *
 * Return: 0 or a negative errno.
 */
int kviommu_create(int fd, struct kviommu_create *create)
{
	create->size = sizeof(*create);
	return call(fd, KVIOMMU_CREATE, create);
}

/**
 * kviommu_create_vtd() - KVIOMMU_CREATE: make the file a VT-d unit
 * @fd: From kviommu_open()
 * @create: Its virtual machine and IOAS; size, model and blob are filled in
 * @vtd: What it is to be like
 *
 * Return: 0 or a negative errno.
 */
int kviommu_create_vtd(int fd, struct kviommu_create *create,
		       struct kviommu_create_vtd *vtd)
{
	create->model = KVIOMMU_MODEL_VTD;
	create->data_len = sizeof(*vtd);
	create->data_uptr = (uintptr_t)vtd;
	return kviommu_create(fd, create);
}

/**
 * kviommu_create_coiommu() - KVIOMMU_CREATE: make the file a coIOMMU unit
 * @fd: From kviommu_open()
 * @create: Its virtual machine and IOAS; size, model and blob are filled in
 * @coiommu: What it is to be like
 *
 * Notify map and list of devices are mapped with mmap() as kviommu_get_coiommu_info() says.
 *
 * Return: 0 or a negative errno.
 */
int kviommu_create_coiommu(int fd, struct kviommu_create *create,
			   struct kviommu_create_coiommu *coiommu)
{
	create->model = KVIOMMU_MODEL_COIOMMU;
	create->data_len = sizeof(*coiommu);
	create->data_uptr = (uintptr_t)coiommu;
	return kviommu_create(fd, create);
}

/**
 * kviommu_map_regs() - Map the register page
 * @fd: A unit
 * @regs: Where its address goes, for a memory slot of the guest and for munmap()
 * @size: Where its size in bytes goes, or NULL
 *
 * Return: 0 or a negative errno.
 */
int kviommu_map_regs(int fd, void **regs, size_t *size)
{
	struct kviommu_info info;
	void *page;
	int err;

	err = kviommu_get_info(fd, &info);
	if (err)
		return err;
	page = mmap(NULL, info.out_page_size, PROT_READ | PROT_WRITE,
		    MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return -errno;
	*regs = page;
	if (size)
		*size = info.out_page_size;
	return 0;
}

/**
 * kviommu_arm() - KVIOMMU_ARM: handle the guest's accesses to the register page
 * @fd: A unit
 * @gpa: Guest physical address of the memory slot that holds the page
 *
 * Return: 0 or a negative errno.
 */
int kviommu_arm(int fd, __u64 gpa)
{
	struct kviommu_arm arm = { .size = sizeof(arm), .gpa = gpa };

	return call(fd, KVIOMMU_ARM, &arm);
}

/**
 * kviommu_attach() - KVIOMMU_ATTACH_DEVICE: put a device behind the unit
 * @fd: A unit
 * @device_fd: The VFIO device, bound to the unit's iommufd
 * @source_id: Requester ID that the guest knows it by
 *
 * Return: 0 or a negative errno.
 */
int kviommu_attach(int fd, int device_fd, __u32 source_id)
{
	struct kviommu_attach_device attach = {
		.size = sizeof(attach),
		.device_fd = device_fd,
		.source_id = source_id,
	};

	return call(fd, KVIOMMU_ATTACH_DEVICE, &attach);
}

/**
 * kviommu_detach() - KVIOMMU_DETACH_DEVICE: take a device away, and block it
 * @fd: A unit
 * @source_id: Requester ID that the guest knows it by
 *
 * Return: 0 or a negative errno.
 */
int kviommu_detach(int fd, __u32 source_id)
{
	struct kviommu_detach_device detach = {
		.size = sizeof(detach),
		.source_id = source_id,
	};

	return call(fd, KVIOMMU_DETACH_DEVICE, &detach);
}

/**
 * kviommu_get_device() - KVIOMMU_GET_DEVICE: what a device's DMA goes through
 * @fd: A unit
 * @source_id: Requester ID that the guest knows it by
 * @device: Where to; need not be initialized
 *
 * Return: 0 or a negative errno.
 */
int kviommu_get_device(int fd, __u32 source_id, struct kviommu_get_device *device)
{
	return kviommu_get_pasid(fd, source_id, 0, device);
}

/**
 * kviommu_get_pasid() - KVIOMMU_GET_DEVICE: what requests of a device with a PASID go through
 * @fd: A unit
 * @source_id: Requester ID that the guest knows it by
 * @pasid: The PASID, or 0 for its requests without
 * @device: Where to; need not be initialized. All PASIDs are found by calling this with
 *          device->out_next_pasid of the call before, from 0 on, until that is 0.
 *
 * Return: 0 or a negative errno; ENOENT if the unit does not know of the PASID; E2BIG if the
 * module has not KVIOMMU_FEATURE_GET_PASID.
 */
int kviommu_get_pasid(int fd, __u32 source_id, __u32 pasid,
		      struct kviommu_get_device *device)
{
	*device = (struct kviommu_get_device){
		.size = sizeof(*device),
		.source_id = source_id,
		.pasid = pasid,
	};
	return call(fd, KVIOMMU_GET_DEVICE, device);
}

/**
 * kviommu_set_bus_master() - KVIOMMU_SET_BUS_MASTER: say whether a device is a bus master
 * @fd: A unit
 * @source_id: Requester ID that the guest knows it by
 * @on: The guest has its bus mastering on
 *
 * Return: 0 or a negative errno.
 */
int kviommu_set_bus_master(int fd, __u32 source_id, bool on)
{
	struct kviommu_set_bus_master set = {
		.size = sizeof(set),
		.source_id = source_id,
		.on = on,
	};

	return call(fd, KVIOMMU_SET_BUS_MASTER, &set);
}

/**
 * kviommu_set_eventfd() - KVIOMMU_SET_EVENTFD: be told of events
 * @fd: A unit
 * @event: One of enum kviommu_event
 * @event_fd: An eventfd, or -1 for none
 *
 * Return: 0 or a negative errno.
 */
int kviommu_set_eventfd(int fd, __u32 event, int event_fd)
{
	struct kviommu_set_eventfd set = {
		.size = sizeof(set),
		.event = event,
		.fd = event_fd,
	};

	return call(fd, KVIOMMU_SET_EVENTFD, &set);
}

/**
 * kviommu_reset() - KVIOMMU_RESET: put the unit back to how it began
 * @fd: A unit
 *
 * Return: 0 or a negative errno.
 */
int kviommu_reset(int fd)
{
	struct kviommu_reset reset = { .size = sizeof(reset) };

	return call(fd, KVIOMMU_RESET, &reset);
}

/**
 * kviommu_get_policy() - KVIOMMU_GET_POLICY: read what is in force
 * @fd: A unit
 * @policy: Where to; need not be initialized
 *
 * Return: 0 or a negative errno.
 */
int kviommu_get_policy(int fd, struct kviommu_policy *policy)
{
	*policy = (struct kviommu_policy){ .size = sizeof(*policy) };
	return call(fd, KVIOMMU_GET_POLICY, policy);
}

/**
 * kviommu_get_wanted_policy() - KVIOMMU_GET_POLICY: read what was asked for
 * @fd: A unit
 * @policy: Where to; need not be initialized
 *
 * Return: 0 or a negative errno.
 */
int kviommu_get_wanted_policy(int fd, struct kviommu_policy *policy)
{
	*policy = (struct kviommu_policy){
		.size = sizeof(*policy),
		.flags = KVIOMMU_GET_POLICY_WANTED,
	};
	return call(fd, KVIOMMU_GET_POLICY, policy);
}

/**
 * kviommu_set_policy() - KVIOMMU_SET_POLICY: say what is wanted
 * @fd: A unit
 * @policy: The mask of the members to set, and these; or, with KVIOMMU_SET_POLICY_UNSET
 *          in its flags, of those that are not wanted any more
 *
 * Return: 0 or a negative errno.
 */
int kviommu_set_policy(int fd, const struct kviommu_policy *policy)
{
	struct kviommu_policy p = *policy;

	p.size = sizeof(p);
	return call(fd, KVIOMMU_SET_POLICY, &p);
}

/**
 * kviommu_refresh() - KVIOMMU_REFRESH: try again what could not be translated
 * @fd: A unit
 *
 * Return: 0 or a negative errno.
 */
int kviommu_refresh(int fd)
{
	struct kviommu_refresh refresh = { .size = sizeof(refresh) };

	return call(fd, KVIOMMU_REFRESH, &refresh);
}

/**
 * kviommu_release_pins() - KVIOMMU_RELEASE_PINS: give back what nothing uses
 * @fd: A unit
 * @gpa: Guest physical address of the first page
 * @length: How many bytes, in whole pages of 4 KiB
 * @in_use: How many pages are in use and stay pinned, set if 0 is returned; may be NULL
 *
 * Return: 0 or a negative errno.
 */
int kviommu_release_pins(int fd, __u64 gpa, __u64 length, __u64 *in_use)
{
	struct kviommu_release_pins release = {
		.size = sizeof(release), .gpa = gpa, .length = length,
	};
	int ret = call(fd, KVIOMMU_RELEASE_PINS, &release);

	if (in_use && !ret)
		*in_use = release.out_in_use;
	return ret;
}

static const char *const modes[] = {
	[KVIOMMU_MODE_TRAP] = "trap",
	[KVIOMMU_MODE_SIDECORE] = "sidecore",
	[KVIOMMU_MODE_ADAPTIVE] = "adaptive",
};

static const char *const strategies[] = {
	[KVIOMMU_STRATEGY_STRICT] = "strict",
	[KVIOMMU_STRATEGY_ASYNC] = "async",
	[KVIOMMU_STRATEGY_DEFERRED] = "deferred",
	[KVIOMMU_STRATEGY_OPTIMISTIC] = "optimistic",
};

#define COUNT(array)	(sizeof(array) / sizeof((array)[0]))

static int number_of(const char *const *names, size_t count, const char *name)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (!strcmp(names[i], name))
			return i;
	return -EINVAL;
}

/**
 * kviommu_mode_name() - Name a mode
 * @mode: One of enum kviommu_mode
 *
 * Return: its name, or NULL if it is none.
 */
const char *kviommu_mode_name(__u32 mode)
{
	return mode < COUNT(modes) ? modes[mode] : NULL;
}

/**
 * kviommu_mode_number() - Find a mode by its name
 * @name: "trap", "sidecore" or "adaptive"
 *
 * Return: one of enum kviommu_mode, or -EINVAL.
 */
int kviommu_mode_number(const char *name)
{
	return number_of(modes, COUNT(modes), name);
}

/**
 * kviommu_strategy_name() - Name a strategy
 * @strategy: One of enum kviommu_strategy
 *
 * Return: its name, or NULL if it is none.
 */
const char *kviommu_strategy_name(__u32 strategy)
{
	return strategy < COUNT(strategies) ? strategies[strategy] : NULL;
}

/**
 * kviommu_strategy_number() - Find a strategy by its name
 * @name: "strict", "async", "deferred" or "optimistic"
 *
 * Return: one of enum kviommu_strategy, or -EINVAL.
 */
int kviommu_strategy_number(const char *name)
{
	return number_of(strategies, COUNT(strategies), name);
}

#define COUNTER(name) \
	{ #name, offsetof(struct kviommu_stats, name), false, 0 }
#define LEVEL(name) \
	{ #name, offsetof(struct kviommu_stats, name), true, 0 }

const struct kviommu_field kviommu_stats_fields[] = {
	COUNTER(reg_writes),
	COUNTER(descriptors),
	COUNTER(batches),
	COUNTER(maps),
	COUNTER(unmaps),
	COUNTER(syncs),
	COUNTER(faults),
	COUNTER(errors),
	COUNTER(pin_hits),
	COUNTER(pin_misses),
	LEVEL(pinned),
	LEVEL(pinned_peak),
	LEVEL(mapped),
	LEVEL(domains),
	LEVEL(devices),
	LEVEL(identity_devices),
	LEVEL(nested_devices),
	LEVEL(table_bytes),
	COUNTER(limits),
	LEVEL(iommu_tables),
	COUNTER(polls),
	LEVEL(polled),
	COUNTER(polled_ns),
	COUNTER(overcommits),
	LEVEL(idle),
	COUNTER(reclaims),
	LEVEL(stale),
	LEVEL(stale_peak),
	LEVEL(stale_ns_max),
	COUNTER(reuses),
	COUNTER(pool_ns),
	LEVEL(pasids),
	COUNTER(asked),
	COUNTER(refused),
	COUNTER(unpinned),
	LEVEL(tracked),
	LEVEL(tracked_devices),
	{}
};

/* All of them? */
static_assert(offsetof(struct kviommu_stats, latency) ==
	      (COUNT(kviommu_stats_fields) - 1) * sizeof(__u64),
	      "a member of struct kviommu_stats has no name");

#define POLICY(name, member) \
	{ #name, offsetof(struct kviommu_policy, name), true, KVIOMMU_POLICY_##member }

const struct kviommu_field kviommu_policy_fields[] = {
	POLICY(max_pins, MAX_PINS),
	POLICY(max_idle_pins, MAX_IDLE_PINS),
	POLICY(max_tables, MAX_TABLES),
	POLICY(max_domains, MAX_DOMAINS),
	POLICY(max_mapped, MAX_MAPPED),
	POLICY(max_stale, MAX_STALE),
	POLICY(stale_us, STALE_US),
	POLICY(idle_pin_ms, IDLE_PIN_MS),
	POLICY(poll_us_min, POLL_US_MIN),
	POLICY(poll_us_max, POLL_US_MAX),
	POLICY(unpin_ms, UNPIN_MS),
	POLICY(unpin_pages, UNPIN_PAGES),
	{}
};

static __u64 *value_in(const struct kviommu_field *field, void *from)
{
	return (__u64 *)((char *)from + field->offset);
}

/**
 * kviommu_field_value() - Read one of the fields
 * @field: An entry of kviommu_stats_fields or kviommu_policy_fields
 * @from: A struct kviommu_stats or struct kviommu_policy
 *
 * Return: its value.
 */
__u64 kviommu_field_value(const struct kviommu_field *field, const void *from)
{
	return *value_in(field, (void *)from);
}

/* Exactly so many bytes */
static int read_at(int fd, void *to, size_t size, off_t offset)
{
	ssize_t n = pread(fd, to, size, offset);

	if (n < 0)
		return -errno;
	return (size_t)n == size ? 0 : -EBADMSG;
}

/* More than this is no statistics of a unit. */
#define MAX_NAME	256
#define MAX_STATS	4096

/* Where the value of that name goes; NULL if it is not known */
static __u64 *stat_place(struct kviommu_stats *stats, const char *name)
{
	const struct kviommu_field *f;

	for (f = kviommu_stats_fields; f->name; f++)
		if (!strcmp(name, f->name))
			return value_in(f, stats);
	return NULL;
}

/*
 * Take the i-th bucket of the module, which may have another number of them. Its last one,
 * and those beyond ours, are for what took longest, and so is our last one.
 */
static void add_latency(struct kviommu_stats *stats, size_t i, bool last, __u64 value)
{
	if (last || i >= KVIOMMU_LATENCY_BUCKETS)
		i = KVIOMMU_LATENCY_BUCKETS - 1;
	stats->latency[i] += value;
}

/* From the values, as the descriptors say that they lie there */
static int take_stats(const struct kvm_stats_header *header, const char *desc,
		      const __u64 *data, size_t size, struct kviommu_stats *stats)
{
	size_t i, n, step = sizeof(struct kvm_stats_desc) + header->name_size;
	const __u64 *value;
	__u64 *to;

	for (i = 0; i < header->num_desc; i++, desc += step) {
		const struct kvm_stats_desc *d = (const void *)desc;
		const char *name = desc + sizeof(*d);

		if (!memchr(name, 0, header->name_size) || d->offset % sizeof(*data) ||
		    d->offset + d->size * sizeof(*data) > size)
			return -EBADMSG;
		value = data + d->offset / sizeof(*data);
		to = stat_place(stats, name);
		if (to && d->size)
			*to = *value;
		for (n = 0; !strcmp(name, "latency") && n < d->size; n++)
			add_latency(stats, n, n + 1 == d->size, value[n]);
	}
	return 0;
}

/**
 * kviommu_open_stats() - KVIOMMU_GET_STATS_FD: open the statistics of a unit
 * @fd: A unit
 *
 * Return: a file descriptor for kviommu_read_stats(), closed on exec, or a negative
 * errno.
 */
int kviommu_open_stats(int fd)
{
	struct kviommu_get_stats_fd get = { .size = sizeof(get) };
	int ret = ioctl(fd, KVIOMMU_GET_STATS_FD, &get);

	return ret < 0 ? -errno : ret;
}

/**
 * kviommu_read_stats() - Read the statistics of a unit
 * @stats_fd: From kviommu_open_stats(), of this process or another
 * @stats: Where to; need not be initialized. What the module does not count is 0.
 *
 * Return: 0; -ENODEV if the unit was closed; -EBADMSG if that is no such file; or
 * another negative errno.
 */
int kviommu_read_stats(int stats_fd, struct kviommu_stats *stats)
{
	struct kvm_stats_header header;
	size_t desc_size, data_size = 0;
	__u64 *data = NULL;
	char *desc;
	__u32 i;
	int err;

	*stats = (struct kviommu_stats){};
	err = read_at(stats_fd, &header, sizeof(header), 0);
	if (err)
		return err;
	if (!header.name_size || header.name_size > MAX_NAME ||
	    header.num_desc > MAX_STATS)
		return -EBADMSG;
	desc_size = sizeof(struct kvm_stats_desc) + header.name_size;
	desc = malloc(header.num_desc * desc_size);
	if (!desc)
		return -ENOMEM;
	err = read_at(stats_fd, desc, header.num_desc * desc_size,
		      header.desc_offset);
	for (i = 0; !err && i < header.num_desc; i++) {
		const struct kvm_stats_desc *d = (const void *)(desc + i * desc_size);

		if (data_size < d->offset + d->size * sizeof(*data))
			data_size = d->offset + d->size * sizeof(*data);
	}
	if (!err)
		data = malloc(data_size);
	if (!err && !data)
		err = -ENOMEM;
	if (!err)
		err = read_at(stats_fd, data, data_size, header.data_offset);
	if (!err)
		err = take_stats(&header, desc, data, data_size, stats);
	free(data);
	free(desc);
	return err;
}

/**
 * kviommu_get_stats() - Read the statistics of a unit, once
 * @fd: A unit
 * @stats: As for kviommu_read_stats()
 *
 * To read them often, keep what kviommu_open_stats() returns.
 *
 * Return: 0 or a negative errno.
 */
int kviommu_get_stats(int fd, struct kviommu_stats *stats)
{
	int stats_fd = kviommu_open_stats(fd), err;

	if (stats_fd < 0)
		return stats_fd;
	err = kviommu_read_stats(stats_fd, stats);
	close(stats_fd);
	return err;
}

/**
 * kviommu_latency_limit() - What a bucket of kviommu_stats.latency stands for
 * @bucket: Its index
 *
 * Return: whatever is counted there took less, in ns; the last has no such limit,
 * but ULLONG_MAX.
 */
__u64 kviommu_latency_limit(unsigned int bucket)
{
	return bucket < KVIOMMU_LATENCY_BUCKETS - 1 ? 1000ULL << bucket :
						      ULLONG_MAX;
}

/**
 * kviommu_latency_percentile() - Find a percentile of latencies
 * @latency: As kviommu_stats.latency, of which there are
 *           KVIOMMU_LATENCY_BUCKETS
 * @percent: Which one, from 1 to 100
 *
 * Return: the bucket that it falls into, -ENODATA if all are empty.
 */
int kviommu_latency_percentile(const __u64 *latency, unsigned int percent)
{
	__u64 total = 0, seen = 0;
	int i;

	for (i = 0; i < KVIOMMU_LATENCY_BUCKETS; i++)
		total += latency[i];
	for (i = 0; i < KVIOMMU_LATENCY_BUCKETS; i++) {
		seen += latency[i];
		if (seen && seen * 100 >= total * percent)
			return i;
	}
	return -ENODATA;
}

/* The number of the unit whose directory has that name, or -1 */
static int unit_number(const char *name)
{
	int number, end;

	if (sscanf(name, "kviommu%d%n", &number, &end) != 1 || name[end])
		return -1;
	return number;
}

/**
 * kviommu_sysfs_next() - Go through all units that there are
 * @sysfs: KVIOMMU_SYSFS, or a directory like it
 * @unit: The number of the one before, or -1
 *
 * Return: the lowest number of a unit beyond that; -ENODEV if there is none,
 * -ENOENT if there is no such directory (the module is not loaded), or another
 * negative errno.
 */
int kviommu_sysfs_next(const char *sysfs, int unit)
{
	DIR *dir = opendir(sysfs);
	struct dirent *entry;
	int next = -ENODEV;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		int n = unit_number(entry->d_name);

		if (n > unit && (next < 0 || n < next))
			next = n;
	}
	closedir(dir);
	return next;
}

/**
 * kviommu_sysfs_open() - Open the directory of a unit
 * @sysfs: KVIOMMU_SYSFS, or a directory like it
 * @unit: Number of the unit
 *
 * The directory stays that of the same unit: when it is gone, and there is
 * another of that number, that is not taken for it.
 *
 * Return: a file descriptor, closed on exec, or a negative errno; ENOENT if there
 * is no such unit.
 */
int kviommu_sysfs_open(const char *sysfs, int unit)
{
	char path[PATH_MAX];
	int fd;

	if (snprintf(path, sizeof(path), "%s/kviommu%d", sysfs, unit) >=
	    (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The attribute as a string, without the end of its line */
static int read_text(int dir, const char *prefix, const char *name, char *text,
		     size_t size)
{
	char path[64];
	ssize_t n;
	int fd, err;

	snprintf(path, sizeof(path), "%s%s", prefix, name);
	fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, size);
	err = -errno;
	close(fd);
	if (n < 0)
		return err;
	if (!n || (size_t)n == size || text[n - 1] != '\n')
		return -EBADMSG;
	text[n - 1] = '\0';
	return 0;
}

static int read_number(int dir, const char *prefix, const char *name, __u64 *number)
{
	char text[32], *end;
	int err;

	err = read_text(dir, prefix, name, text, sizeof(text));
	if (err)
		return err;
	*number = strtoull(text, &end, 10);
	return end == text || *end ? -EBADMSG : 0;
}

/* Numbers, separated by blanks */
static int read_latency(int dir, const char *prefix, struct kviommu_stats *stats)
{
	char text[4096], *next = text, *end;
	__u64 value;
	size_t i;
	int err;

	err = read_text(dir, prefix, "latency", text, sizeof(text));
	if (err)
		return err;
	for (i = 0;; i++, next = end + 1) {
		value = strtoull(next, &end, 10);
		if (end == next || (*end && *end != ' '))
			return -EBADMSG;
		add_latency(stats, i, !*end, value);
		if (!*end)
			return 0;
	}
}

static int read_name(int dir, const char *name, int (*number)(const char *),
		     __u32 *value)
{
	char text[32];
	int n;

	n = read_text(dir, "", name, text, sizeof(text));
	if (n)
		return n;
	n = number(text);
	if (n < 0)
		return -EBADMSG;
	*value = n;
	return 0;
}

#define STATISTICS	"statistics/"

/* @mask: If not NULL, gets those that were there */
static int read_fields(int dir, const char *prefix,
		       const struct kviommu_field *fields, void *to, __u64 *mask)
{
	for (; fields->name; fields++) {
		int err = read_number(dir, prefix, fields->name, value_in(fields, to));

		if (!err && mask)
			*mask |= fields->member;

		/* An older module does not have it; or the unit goes away. */
		if (err && err != -ENOENT)
			return err;
	}
	return 0;
}

/**
 * kviommu_sysfs_read() - Read policy and statistics of any unit in sysfs
 * @dir: From kviommu_sysfs_open()
 * @policy: Where to, or NULL. What an older module does not show is 0, and not in
 *          its mask.
 * @stats: The same; the values are not all of the same moment
 *
 * Return: 0; -ENODEV if the unit is gone; -EBADMSG if something is not as
 * documented; or another negative errno.
 */
int kviommu_sysfs_read(int dir, struct kviommu_policy *policy,
		       struct kviommu_stats *stats)
{
	int err = 0;

	if (policy) {
		*policy = (struct kviommu_policy){
			.size = sizeof(*policy),
			.mask = KVIOMMU_POLICY_MODE | KVIOMMU_POLICY_STRATEGY,
		};
		err = read_name(dir, "mode", kviommu_mode_number, &policy->mode);
		if (!err)
			err = read_name(dir, "strategy", kviommu_strategy_number,
					&policy->strategy);
		if (!err)
			err = read_fields(dir, "", kviommu_policy_fields, policy,
					  &policy->mask);
	}
	if (stats && !err) {
		*stats = (struct kviommu_stats){};
		err = read_fields(dir, STATISTICS, kviommu_stats_fields, stats,
				  NULL);
		if (!err)
			err = read_latency(dir, STATISTICS, stats);
	}
	/*
	 * Of a unit's files this one goes first: as long as it is there, what is
	 * not there was never there.
	 */
	if (!err && faccessat(dir, "mode", F_OK, 0))
		err = -ENODEV;
	return err == -ENOENT ? -ENODEV : err;
}

/**
 * kviommu_sysfs_pid() - Tell the process that has a unit
 * @dir: From kviommu_sysfs_open()
 *
 * Return: its ID, 0 if it is none of the caller's PID namespace; or a negative
 * errno.
 */
int kviommu_sysfs_pid(int dir)
{
	__u64 pid;
	int err;

	err = read_number(dir, "", "pid", &pid);
	return err ?: (int)pid;
}
