// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A plugin of the emulating QEMU that counts what the host executes for one thing
 * that its guest does. The guest tells where that begins by the instruction
 * nopl 0x6b766d00+N(%rax), with N the number of it, and 0 for its end.
 *
 * Between two marks everything counts that the marking processor executes but the
 * guest's own instructions: those from VMRUN to the one after it, where the host
 * goes on. Now and then an interrupt of the host makes a difference. So what is
 * between two marks is kept by its total: the one that is seen most often is the
 * cost, and one sample of it says where the instructions are.
 *
 * What other processors of the host execute meanwhile is added up. For that they need
 * threads of their own: QEMU 10.0 takes them for one another if they share one.
 *
 * The mark 15 names, by its address in RAX, a function of the host whose calls on other
 * processors are counted, each from its first instruction to its return: what a polling
 * thread does for the guest, without the looks that find nothing. Such a call is kept as
 * what is between two marks, under POLLED plus the mark that the guest was at.
 *
 * With out=FILE the results go there when QEMU ends, as lines of text:
 *	total N INSTRUCTIONS TIMES EXITS
 *	block N ADDRESS INSTRUCTIONS		of the total seen most often, in order
 *	other N ADDRESS INSTRUCTIONS		on other processors, of all samples
 */
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <qemu-plugin.h>

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

#define NR_MARKS	16
#define POLLED		8
#define NAME_FUNCTION	15
#define MAX_CPUS	8
#define MAX_BLOCKS	1000000
#define MAX_TOTALS	1000

/* A translation block: instructions that are executed one after the other */
struct block {
	uint64_t addr;
	uint64_t next;		/* the instruction after it */
	unsigned int nr;
	bool vmrun;		/* its last one */
	struct block *older;
	uint64_t others[NR_MARKS];
};

struct total {
	uint64_t nr;
	unsigned int exits;
	unsigned int times;
	struct block **blocks;
	unsigned int nr_blocks;
};

static struct total totals[NR_MARKS][MAX_TOTALS];
static unsigned int nr_totals[NR_MARKS];
static struct block *newest;
static char *out;

/* What is under way */
static int cpu = -1;
static unsigned int mark;
static uint64_t resume;		/* the guest runs, until here */
static uint64_t vmrun_next;	/* where that is: KVM has but one VMRUN for such guests */
static struct block *blocks[MAX_BLOCKS];
static unsigned int nr_blocks, exits;
static uint64_t nr;

/* The function whose calls are counted; the call that is under way, of one processor */
static uint64_t function;
static struct block *last_block[MAX_CPUS];
static struct {
	int cpu;
	uint64_t end;
	unsigned int mark;
	uint64_t nr;
	struct block *blocks[MAX_BLOCKS];
	unsigned int nr_blocks;
} call = { .cpu = -1 };

static void add_sample(unsigned int at, uint64_t sum, unsigned int nr_exits,
		       struct block **first, unsigned int n)
{
	struct total *t;
	unsigned int i;

	for (i = 0; i < nr_totals[at]; i++) {
		t = &totals[at][i];
		if (t->nr == sum) {
			t->times++;
			return;
		}
	}
	if (i == MAX_TOTALS)
		return;
	t = &totals[at][nr_totals[at]++];
	*t = (struct total){ .nr = sum, .times = 1, .exits = nr_exits };
	t->nr_blocks = n;
	t->blocks = g_memdup2(first, n * sizeof(*first));
}

static uint64_t read_rax(void)
{
	__auto_type registers = qemu_plugin_get_registers();
	__auto_type value = g_byte_array_new();
	uint64_t rax = 0;

	for (guint i = 0; i < registers->len; i++) {
		qemu_plugin_reg_descriptor *d =
			&g_array_index(registers, qemu_plugin_reg_descriptor, i);

		if (!strcmp(d->name, "rax") &&
		    qemu_plugin_read_register(d->handle, value) == sizeof(rax))
			memcpy(&rax, value->data, sizeof(rax));
	}
	g_byte_array_free(value, true);
	g_array_free(registers, true);
	return rax;
}

static void named(unsigned int vcpu, void *data)
{
	function = read_rax();
}

static void marked(unsigned int vcpu, void *data)
{
	if (cpu >= 0 && cpu != (int)vcpu)
		return;
	if (mark && nr_blocks < MAX_BLOCKS)
		add_sample(mark, nr, exits, blocks, nr_blocks);
	mark = GPOINTER_TO_UINT(data);
	cpu = mark ? (int)vcpu : -1;
	nr = 0;
	nr_blocks = 0;
	exits = 0;
	/* It is the guest who says so. */
	resume = vmrun_next;
}

static void executed_elsewhere(int vcpu, struct block *b)
{
	struct block *last = last_block[vcpu];

	last_block[vcpu] = b;
	if (call.cpu < 0) {
		if (G_LIKELY(b->addr != function) || !mark || !last)
			return;
		call.cpu = vcpu;
		call.end = last->next;
		call.mark = POLLED + mark;
		call.nr = 0;
		call.nr_blocks = 0;
	} else if (call.cpu != vcpu) {
		return;
	} else if (b->addr == call.end) {
		if (call.nr_blocks < MAX_BLOCKS)
			add_sample(call.mark, call.nr, 0, call.blocks, call.nr_blocks);
		call.cpu = -1;
		return;
	}
	call.nr += b->nr;
	if (call.nr_blocks < MAX_BLOCKS)
		call.blocks[call.nr_blocks++] = b;
}

static void executed(unsigned int vcpu, void *data)
{
	struct block *b = data;

	if (G_UNLIKELY(b->vmrun))
		vmrun_next = b->next;
	if (G_UNLIKELY(mark) && (int)vcpu != cpu)
		b->others[mark]++;
	if (function && (int)vcpu != cpu && vcpu < MAX_CPUS)
		executed_elsewhere(vcpu, b);
	if (G_LIKELY((int)vcpu != cpu) || (resume && b->addr != resume))
		return;
	resume = b->vmrun ? b->next : 0;
	exits += b->vmrun;
	nr += b->nr;
	if (nr_blocks < MAX_BLOCKS)
		blocks[nr_blocks++] = b;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	struct block *b = g_new0(struct block, 1);
	struct qemu_plugin_insn *insn = NULL;
	uint8_t code[7];
	unsigned int i;
	size_t n = 0;

	b->addr = qemu_plugin_tb_vaddr(tb);
	b->nr = qemu_plugin_tb_n_insns(tb);
	for (i = 0; i < b->nr; i++) {
		insn = qemu_plugin_tb_get_insn(tb, i);
		n = qemu_plugin_insn_data(insn, code, sizeof(code));
		if (n != 7 || memcmp(code, "\x0f\x1f\x80", 3) ||
		    memcmp(code + 4, "mvk", 3) || code[3] >= NR_MARKS)
			continue;
		if (code[3] == NAME_FUNCTION)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, named,
							       QEMU_PLUGIN_CB_R_REGS, NULL);
		else
			qemu_plugin_register_vcpu_insn_exec_cb(insn, marked,
							       QEMU_PLUGIN_CB_NO_REGS,
							       GUINT_TO_POINTER(code[3]));
	}
	b->vmrun = n == 3 && !memcmp(code, "\x0f\x01\xd8", 3);
	b->next = qemu_plugin_insn_vaddr(insn) + n;
	/* Processors with threads of their own translate at the same time. */
	b->older = newest;
	while (!__atomic_compare_exchange_n(&newest, &b->older, b, false,
					    __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, QEMU_PLUGIN_CB_NO_REGS, b);
}

static void write_mark(FILE *f, int n)
{
	struct total *t, *most = NULL;
	unsigned int i;

	for (i = 0; i < nr_totals[n]; i++) {
		t = &totals[n][i];
		if (!most || t->times > most->times)
			most = t;
		fprintf(f, "total %d %lu %u %u\n", n, t->nr, t->times, t->exits);
	}
	for (i = 0; most && i < most->nr_blocks; i++)
		fprintf(f, "block %d %016lx %u\n", n,
			most->blocks[i]->addr, most->blocks[i]->nr);
	for (struct block *b = newest; b; b = b->older)
		if (b->others[n])
			fprintf(f, "other %d %016lx %lu\n", n,
				b->addr, b->others[n] * b->nr);
}

static void finish(qemu_plugin_id_t id, void *data)
{
	FILE *f = fopen(out, "w");

	if (!f)
		return;
	for (int n = 1; n < NR_MARKS; n++)
		write_mark(f, n);
	fclose(f);
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id,
					   const qemu_info_t *info, int argc,
					   char **argv)
{
	for (int i = 0; i < argc; i++)
		if (g_str_has_prefix(argv[i], "out="))
			out = g_strdup(argv[i] + 4);
	if (!out)
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, finish, NULL);
	return 0;
}
