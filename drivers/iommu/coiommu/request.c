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
#include <linux/lockdep.h>
#include <linux/rcupdate.h>
#include <linux/smp.h>

#include "coiommu.h"

#define TIMEOUT_US	(5 * USEC_PER_SEC)

/*
 * A command is done when the register has been read back, as 0. Where nothing answers that may be
 * 0 as well, but not the root. Return: false if the host has not taken it.
 */
static bool command(struct coiommu *co, u64 what)
{
	writeq(what, co->regs + CO_COMMAND);
	return !readq(co->regs + CO_COMMAND) &&
		readq(co->regs + CO_ROOT) == virt_to_phys(co->table.root);
}

/**
 * coiommu_activate() - Have the host track by the table
 * @co: The driver's state
 *
 * From then on devices reach only what the host was asked for.
 *
 * Context: process context, under co->lock; may sleep.
 * Return: 0; -EIO if the host does not take commands.
 */
int coiommu_activate(struct coiommu *co)
{
	lockdep_assert_held(&co->lock);
	writeq(virt_to_phys(co->table.root), co->regs + CO_ROOT);
	writeq(co->table.levels, co->regs + CO_LEVELS);
	WRITE_ONCE(co->tracking, true);
	return command(co, CO_ACTIVATE) ? 0 : -EIO;
}

/**
 * coiommu_deactivate() - Have the host let devices reach all memory again, for good
 * @co: The driver's state
 * @gone: Go on as if the host had done that if it has not, as the registers go away
 *
 * The registers are not used any more afterwards, unless it fails without @gone.
 *
 * Context: process context, under co->lock; may sleep.
 * Return: false if the host has not taken the command, and so still tracks.
 */
bool coiommu_deactivate(struct coiommu *co, bool gone)
{
	unsigned long flags;
	bool done;

	lockdep_assert_held(&co->lock);
	if (!co->tracking)
		return true;
	/* What waits in coiommu_over() must not interrupt this. */
	local_irq_save(flags);
	WRITE_ONCE(co->ending, true);
	/*
	 * DEACTIVATE is 0, which memory shows, too, if the host does not see what is written
	 * there. Another ACTIVATE changes nothing, and tells.
	 */
	done = command(co, CO_ACTIVATE) && command(co, CO_DEACTIVATE);
	if (done || gone)
		WRITE_ONCE(co->tracking, false);
	/* Who finds this finds what has become of @tracking. */
	smp_store_release(&co->ending, false);
	local_irq_restore(flags);
	/* Those who ask have interrupts off. */
	synchronize_rcu();
	if (!done)
		pr_err("coiommu: the host does not take the command to end tracking\n");
	return done;
}

/**
 * coiommu_over() - Check whether devices reach all memory, as the host tracks no more
 * @co: The driver's state
 *
 * While the host puts an end to it, it pins nothing that it is asked for, and devices do not
 * reach all memory yet. Then this waits. Callers often must not sleep, and the processor that
 * the host does it for runs nothing else as long.
 *
 * Context: any but NMI.
 * Return: true if they do.
 */
bool coiommu_over(struct coiommu *co)
{
	smp_cond_load_acquire(&co->ending, !VAL);
	return !READ_ONCE(co->tracking);
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
 * Context: any but NMI; waits if tracking is being ended.
 * Return: true if they do.
 */
bool coiommu_asked(struct coiommu *co, unsigned long first, unsigned long last)
{
	/* Then there may be frames without a word. */
	if (!READ_ONCE(co->tracking))
		return true;
	for (; first <= last; first++)
		if (!coiommu_pinned(&co->table, first))
			return coiommu_over(co);
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
