// SPDX-License-Identifier: GPL-2.0-only
/*
 * /sys/kernel/debug/kviommu/<unit>/: the domains of a unit, and a comparison of their
 * shadows with the guest's tables. See Documentation/ABI/testing/debugfs-kviommu.
 */
#include <linux/debugfs.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>

#include "core.h"
#include "../device/device.h"

static struct dentry *debugfs_root;

static void *domains_start(struct seq_file *m, loff_t *pos)
{
	struct kviommu_unit *unit = m->private;

	if (mutex_lock_killable(&unit->lock))
		return ERR_PTR(-EINTR);
	/* The list changes only under both unit->lock and map_lock, so one is enough. */
	return seq_list_start(&unit->xlates, *pos);
}

static void *domains_next(struct seq_file *m, void *v, loff_t *pos)
{
	struct kviommu_unit *unit = m->private;

	return seq_list_next(v, &unit->xlates, pos);
}

static void domains_stop(struct seq_file *m, void *v)
{
	struct kviommu_unit *unit = m->private;

	if (!IS_ERR(v))
		kviommu_unlock(unit);
}

static int domains_show(struct seq_file *m, void *v)
{
	struct kviommu_xlate *xlate = list_entry(v, struct kviommu_xlate, entry);
	const struct kviommu_binding *b = &xlate->binding;
	struct kviommu_device *dev;
	struct kviommu_pasid *p;
	unsigned long i;

	seq_printf(m, "%llu did %u pgtbl 0x%llx levels %u groups %u devices",
		   xlate->serial, b->did, b->root, b->levels, xlate->users);
	list_for_each_entry(dev, &xlate->unit->devices, entry) {
		if (dev->group->xlate == xlate)
			seq_printf(m, " 0x%04x", dev->source_id);
		xa_for_each(&dev->pasids, i, p)
			if (p->xlate == xlate)
				seq_printf(m, " 0x%04x.%u", dev->source_id, p->pasid);
	}
	seq_putc(m, '\n');
	return 0;
}

static const struct seq_operations domains_sops = {
	.start = domains_start,
	.next = domains_next,
	.stop = domains_stop,
	.show = domains_show,
};
DEFINE_SEQ_ATTRIBUTE(domains);

/**
 * struct shadow_iter - Position of a reader of the file "shadow"
 * @unit: The unit
 * @serial: Serial number of the current translation
 * @did: Domain-id of the current translation
 * @leaf: The current leaf
 */
struct shadow_iter {
	struct kviommu_unit *unit;
	u64 serial;
	u16 did;
	struct kviommu_leaf leaf;
};

/*
 * Search the next leaf in one translation, for a bounded time. Return values are those of
 * kviommu_xlate_ops.next.
 */
static int shadow_look(struct shadow_iter *s)
{
	struct kviommu_xlate *xlate;
	int ret = 0;

	list_for_each_entry(xlate, &s->unit->xlates, entry) {
		if (xlate->serial < s->serial)
			continue;
		if (xlate->serial > s->serial)
			s->leaf.iova = 0;
		s->serial = xlate->serial;
		ret = xlate->ops->next ? xlate->ops->next(xlate, &s->leaf) : 0;
		if (ret > 0) {
			s->did = xlate->binding.did;
		} else if (!ret) {
			s->serial++;
			s->leaf.iova = 0;
			ret = -EAGAIN;
		}
		break;
	}
	return ret;
}

/* Find the first leaf at or after @s. No lock is held between two leaves. */
static void *shadow_find(struct shadow_iter *s)
{
	int ret;

	do {
		cond_resched();
		if (READ_ONCE(s->unit->closing))
			return ERR_PTR(-ENODEV);
		if (fatal_signal_pending(current) ||
		    mutex_lock_killable(&s->unit->lock))
			return ERR_PTR(-EINTR);
		mutex_lock(&s->unit->map_lock);
		ret = shadow_look(s);
		mutex_unlock(&s->unit->map_lock);
		kviommu_unlock(s->unit);
	} while (ret == -EAGAIN);
	return ret ? s : NULL;
}

static void *shadow_start(struct seq_file *m, loff_t *pos)
{
	struct shadow_iter *s = m->private;

	if (!*pos) {
		s->serial = 0;
		s->leaf.iova = 0;
	}
	return shadow_find(s);
}

static void *shadow_next(struct seq_file *m, void *v, loff_t *pos)
{
	struct shadow_iter *s = v;

	++*pos;
	s->leaf.iova += s->leaf.size;
	return shadow_find(s);
}

static void shadow_stop(struct seq_file *m, void *v)
{
}

static void shadow_show_entry(struct seq_file *m, const char *name, u64 gpa, u8 prot)
{
	seq_printf(m, " %s 0x%llx %s%s", name, gpa,
		   prot & KVIOMMU_READ ? "r" : "-",
		   prot & KVIOMMU_WRITE ? "w" : "-");
}

static int shadow_show(struct seq_file *m, void *v)
{
	const struct shadow_iter *s = v;

	seq_printf(m, "%llu did %u iova 0x%llx size 0x%llx", s->serial, s->did,
		   s->leaf.iova, s->leaf.size);
	shadow_show_entry(m, "guest", s->leaf.guest.addr, s->leaf.guest.prot);
	shadow_show_entry(m, "shadow", s->leaf.gpa, s->leaf.prot);
	seq_printf(m, " %s host %pa\n", !s->leaf.mapped ? "missing" :
		   s->leaf.stale ? "stale" : "mapped", &s->leaf.host);
	return 0;
}

static const struct seq_operations shadow_sops = {
	.start = shadow_start,
	.next = shadow_next,
	.stop = shadow_stop,
	.show = shadow_show,
};

static int shadow_open(struct inode *inode, struct file *file)
{
	struct shadow_iter *s = __seq_open_private(file, &shadow_sops, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->unit = inode->i_private;
	return 0;
}

static const struct file_operations shadow_fops = {
	.owner = THIS_MODULE,
	.open = shadow_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.release = seq_release_private,
};

/**
 * kviommu_debugfs_add() - Create the directory of a unit
 * @unit: The unit, which is fully set up
 *
 * Without debugfs this does nothing.
 *
 * Context: process context, no locks; may sleep.
 */
void kviommu_debugfs_add(struct kviommu_unit *unit)
{
	char name[16];

	snprintf(name, sizeof(name), "%d", unit->id);
	unit->debugfs = debugfs_create_dir(name, debugfs_root);
	debugfs_create_file("domains", 0400, unit->debugfs, unit, &domains_fops);
	debugfs_create_file("shadow", 0400, unit->debugfs, unit, &shadow_fops);
}

/**
 * kviommu_debugfs_remove() - Remove the directory of a unit, and wait for readers
 * @unit: The unit
 *
 * Context: process context, no locks that a reader takes; may sleep.
 */
void kviommu_debugfs_remove(struct kviommu_unit *unit)
{
	debugfs_remove_recursive(unit->debugfs);
}

/**
 * kviommu_debugfs_init() - Create the directory for all units
 *
 * Context: process context; may sleep.
 */
void kviommu_debugfs_init(void)
{
	debugfs_root = debugfs_create_dir("kviommu", NULL);
}

/**
 * kviommu_debugfs_exit() - Remove the directory for all units
 *
 * Context: process context; may sleep.
 */
void kviommu_debugfs_exit(void)
{
	debugfs_remove_recursive(debugfs_root);
}
