// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is said to the host: commands, and requests for frames.
 *
 * A request is put into the slot of a CPU, which is triggered, and waits with interrupts off
 * until the host has cleared the slot. Whether a frame was pinned is told by its word in the
 * table alone. All memory for it is there, as drivers map in interrupts as well.
 */
#include <linux/io.h>
#include <linux/iopoll.h>
#include <linux/irqflags.h>
#include <linux/rcupdate.h>
#include <linux/smp.h>

#include "coiommu.h"

#define TIMEOUT_US	(5 * USEC_PER_SEC)

/*
 * A command is done when the register has been read back, as 0. Return: false if the host has
 * not taken it.
 */
static bool command(struct coiommu *co, u64 what)
{
	writeq(what, co->regs + CO_COMMAND);
	return !readq(co->regs + CO_COMMAND);
}

/**
 * coiommu_activate() - Have the host track by the table
 * @co: The driver's state
 *
 * From then on devices reach only what the host was asked for.
 *
 * Context: process context, may sleep.
 * Return: 0; -ECANCELED if coiommu_deactivate() was called before; -EIO if the host does not
 * take commands.
 */
int coiommu_activate(struct coiommu *co)
{
	int ret = -ECANCELED;

	mutex_lock(&co->lock);
	if (co->tracking) {
		writeq(virt_to_phys(co->table.root), co->regs + CO_ROOT);
		writeq(co->table.levels, co->regs + CO_LEVELS);
		ret = command(co, CO_ACTIVATE) ? 0 : -EIO;
	}
	mutex_unlock(&co->lock);
	return ret;
}

/**
 * coiommu_deactivate() - Have the host let devices reach all memory again, for good
 * @co: The driver's state
 *
 * The registers are not used any more afterwards. Mappings that are made meanwhile may fail.
 *
 * Context: process context, may sleep.
 */
void coiommu_deactivate(struct coiommu *co)
{
	mutex_lock(&co->lock);
	if (co->tracking) {
		command(co, CO_DEACTIVATE);
		WRITE_ONCE(co->tracking, false);
		/* Those who ask have interrupts off. */
		synchronize_rcu();
	}
	mutex_unlock(&co->lock);
}

/**
 * coiommu_ask_begin() - Begin to ask for frames
 * @ask: Set up, for coiommu_ask_add()
 * @co: The driver's state
 * @bdf: Requester ID of the device that they are for
 *
 * Context: any but NMI. Interrupts are off until coiommu_ask_end().
 */
void coiommu_ask_begin(struct coiommu_ask *ask, struct coiommu *co, u16 bdf)
{
	local_irq_save(ask->flags);
	ask->co = co;
	ask->cpu = smp_processor_id();
	ask->batch = NULL;
	if (!READ_ONCE(co->tracking))
		return;
	/* After a timeout the host may still read the batch. */
	if (readq(co->slots + ask->cpu)) {
		coiommu_count(timeouts, 1);
		return;
	}
	ask->batch = co->batches[ask->cpu];
	ask->batch->bdf = bdf;
	ask->batch->nr = 0;
}

static void ask_send(struct coiommu_ask *ask)
{
	struct coiommu_batch *batch = ask->batch;
	struct coiommu *co = ask->co;
	u64 __iomem *slot = co->slots + ask->cpu;
	u64 value;

	if (batch->nr == 1)
		value = batch->pfn[0] << CO_SLOT_GFN_SHIFT | batch->bdf;
	else
		value = CO_SLOT_BATCH | virt_to_phys(batch);
	coiommu_count(requests, 1);
	coiommu_count(asked, batch->nr);
	writeq(value, slot);
	writeb(1, co->regs + CO_TRIGGER + ask->cpu);
	if (readq_poll_timeout_atomic(slot, value, !value, 1, TIMEOUT_US)) {
		coiommu_count(timeouts, 1);
		pr_err_ratelimited("coiommu: the host has not answered within 5 s\n");
		ask->batch = NULL;
		return;
	}
	batch->nr = 0;
}

/**
 * coiommu_ask_add() - Ask for those of some frames that are not pinned
 * @ask: Of coiommu_ask_begin()
 * @first: First frame number; all are marked
 * @last: Last frame number, inclusive
 *
 * Context: interrupts are off.
 */
void coiommu_ask_add(struct coiommu_ask *ask, unsigned long first, unsigned long last)
{
	for (; ask->batch && first <= last; first++) {
		if (coiommu_pinned(&ask->co->table, first))
			continue;
		ask->batch->pfn[ask->batch->nr++] = first;
		if (ask->batch->nr == CO_BATCH_MAX)
			ask_send(ask);
	}
}

/**
 * coiommu_ask_end() - Wait until the host has done what it was asked for
 * @ask: Of coiommu_ask_begin()
 *
 * coiommu_asked() tells then what has become of it.
 *
 * Context: interrupts are off, and afterwards as they were before.
 */
void coiommu_ask_end(struct coiommu_ask *ask)
{
	if (ask->batch && ask->batch->nr)
		ask_send(ask);
	local_irq_restore(ask->flags);
}

/**
 * coiommu_asked() - Check whether devices reach some frames that the host was asked for
 * @co: The driver's state
 * @first: First frame number; all are marked, unless tracking has ended
 * @last: Last frame number, inclusive
 *
 * Context: any.
 * Return: true if they do.
 */
bool coiommu_asked(struct coiommu *co, unsigned long first, unsigned long last)
{
	/* Then there may be frames without a word. */
	if (!READ_ONCE(co->tracking))
		return true;
	for (; first <= last; first++)
		if (!coiommu_pinned(&co->table, first))
			return !READ_ONCE(co->tracking);
	return true;
}

/**
 * coiommu_ask() - Ask for frames, and wait for the answer
 * @co: The driver's state
 * @bdf: Requester ID of the device that they are for
 * @first: First frame number; all are marked
 * @last: Last frame number, inclusive
 *
 * Context: any but NMI.
 * Return: true if devices reach them now.
 */
bool coiommu_ask(struct coiommu *co, u16 bdf, unsigned long first, unsigned long last)
{
	struct coiommu_ask ask;

	coiommu_ask_begin(&ask, co, bdf);
	coiommu_ask_add(&ask, first, last);
	coiommu_ask_end(&ask);
	return coiommu_asked(co, first, last);
}
