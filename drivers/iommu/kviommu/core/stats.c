// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVIOMMU_GET_STATS_FD: a file in the binary format of KVM's statistics, see
 * Documentation/virt/kvm/api.rst of the kernel.
 *
 * A KVM statistics file holds a reference to the virtual machine. A file here holds none
 * to the unit: it may be passed to a monitoring process, which must not delay the release
 * of devices when the VMM exits.
 */
#include <linux/anon_inodes.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/kvm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/stddef.h>

#include "core.h"
#include "../host/compat.h"

/**
 * struct kviommu_stats_source - The connection from open files to their unit
 * @ref: Reference count: one for each file, one for the unit
 * @lock: Protects @unit; outside of unit->lock
 * @unit: The unit, or NULL if it was closed
 * @id: Number of the unit
 */
struct kviommu_stats_source {
	struct kref ref;
	struct mutex lock;	/* see above */
	struct kviommu_unit *unit;
	int id;
};

/* Size of a name in the file, including padding, in bytes */
#define NAME_SIZE	32

/* As struct kvm_stats_desc, whose name is a flexible array in older kernels */
struct stat_desc {
	__u32 flags;
	__s16 exponent;
	__u16 size;
	__u32 offset;
	__u32 bucket_size;
	char name[NAME_SIZE];
};

static_assert(offsetof(struct stat_desc, name) ==
	      offsetof(struct kvm_stats_desc, name));

#define STAT_BASE_NONE		KVM_STATS_BASE_POW10
#define STAT_BASE_BOOLEAN	KVM_STATS_BASE_POW10
#define STAT_BASE_SECONDS	KVM_STATS_BASE_POW10
#define STAT_BASE_BYTES		KVM_STATS_BASE_POW2

#define DESC(_name, _type, _unit, _exponent)				\
	{								\
		.flags = KVM_STATS_TYPE_##_type | KVM_STATS_UNIT_##_unit | \
			 STAT_BASE_##_unit,				\
		.exponent = _exponent,					\
		.size = sizeof_field(struct kviommu_stats, _name) / sizeof(u64), \
		.offset = offsetof(struct kviommu_stats, _name),	\
		.name = #_name,						\
	},

static const struct stat_desc descs[] = { KVIOMMU_STATS(DESC) };

/* The contents of a file */
struct stats_file {
	struct kvm_stats_header header;
	char id[NAME_SIZE];
	struct stat_desc desc[ARRAY_SIZE(descs)];
	struct kviommu_stats data;
};

/**
 * struct stats_reader - An open file
 * @source: The connection to the unit
 * @lock: Protects @file
 * @file: Buffer for the contents, so that reading allocates no memory
 */
struct stats_reader {
	struct kviommu_stats_source *source;
	struct mutex lock;	/* see above */
	struct stats_file file;
};

static int stats_fill(struct stats_file *f, struct kviommu_stats_source *source)
{
	struct kviommu_unit *unit;

	f->header = (struct kvm_stats_header){
		.name_size = NAME_SIZE,
		.num_desc = ARRAY_SIZE(descs),
		.id_offset = offsetof(struct stats_file, id),
		.desc_offset = offsetof(struct stats_file, desc),
		.data_offset = offsetof(struct stats_file, data),
	};
	snprintf(f->id, sizeof(f->id), "kviommu%d", source->id);
	memcpy(f->desc, descs, sizeof(descs));

	if (mutex_lock_killable(&source->lock))
		return -EINTR;
	unit = source->unit;
	if (!unit || mutex_lock_killable(&unit->lock)) {
		mutex_unlock(&source->lock);
		return unit ? -EINTR : -ENODEV;
	}
	kviommu_unit_get_stats(unit, &f->data);
	kviommu_unlock(unit);
	mutex_unlock(&source->lock);
	return 0;
}

static ssize_t stats_read(struct file *file, char __user *buf, size_t n, loff_t *pos)
{
	struct stats_reader *r = file->private_data;
	ssize_t ret;

	if (mutex_lock_killable(&r->lock))
		return -EINTR;
	ret = stats_fill(&r->file, r->source);
	/* Copying to the reader may block for long, so no lock of the unit is held here. */
	if (!ret)
		ret = simple_read_from_buffer(buf, n, pos, &r->file, sizeof(r->file));
	mutex_unlock(&r->lock);
	return ret;
}

static void stats_source_free(struct kref *ref)
{
	struct kviommu_stats_source *source =
		container_of(ref, struct kviommu_stats_source, ref);

	mutex_destroy(&source->lock);
	kfree(source);
}

static void stats_reader_free(struct stats_reader *r)
{
	kref_put(&r->source->ref, stats_source_free);
	mutex_destroy(&r->lock);
	kfree(r);
}

static int stats_release(struct inode *inode, struct file *file)
{
	stats_reader_free(file->private_data);
	return 0;
}

static const struct file_operations stats_fops = {
	.owner = THIS_MODULE,
	.read = stats_read,
	.release = stats_release,
	.llseek = noop_llseek,
};

/* Find or create the connection of a unit; NULL if there is no memory. */
static struct kviommu_stats_source *stats_source_of(struct kviommu_unit *unit)
{
	struct kviommu_stats_source *source = unit->stats_source;

	lockdep_assert_held(&unit->lock);

	if (source)
		return source;
	source = kzalloc_obj(*source, GFP_KERNEL_ACCOUNT);
	if (!source)
		return NULL;
	kref_init(&source->ref);
	mutex_init(&source->lock);
	source->unit = unit;
	source->id = unit->id;
	unit->stats_source = source;
	return source;
}

/**
 * kviommu_stats_open() - Open a file of a unit's statistics, for KVIOMMU_GET_STATS_FD
 * @unit: The unit
 *
 * Context: process context of the VMM, under unit->lock; may sleep.
 * Return: a file descriptor; -ENOMEM; an error of get_unused_fd_flags() or of
 * anon_inode_getfile_fmode().
 */
int kviommu_stats_open(struct kviommu_unit *unit)
{
	struct kviommu_stats_source *source = stats_source_of(unit);
	struct stats_reader *r;
	struct file *file;
	int fd;

	if (!source)
		return -ENOMEM;
	r = kzalloc_obj(*r, GFP_KERNEL_ACCOUNT);
	if (!r)
		return -ENOMEM;
	kref_get(&source->ref);
	r->source = source;
	mutex_init(&r->lock);
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		goto free;
	file = anon_inode_getfile_fmode("kviommu-stats", &stats_fops, r, O_RDONLY,
					FMODE_PREAD);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		fd = PTR_ERR(file);
		goto free;
	}
	fd_install(fd, file);
	return fd;

free:
	stats_reader_free(r);
	return fd;
}

/**
 * kviommu_stats_end() - Disconnect all statistics files from a unit
 * @unit: The unit, which is about to be destroyed; later reads fail with -ENODEV
 *
 * Context: process context, no locks; may sleep.
 */
void kviommu_stats_end(struct kviommu_unit *unit)
{
	struct kviommu_stats_source *source = unit->stats_source;

	if (!source)
		return;
	mutex_lock(&source->lock);
	source->unit = NULL;
	mutex_unlock(&source->lock);
	kref_put(&source->ref, stats_source_free);
}
