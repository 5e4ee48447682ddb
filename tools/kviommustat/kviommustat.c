// SPDX-License-Identifier: GPL-2.0
/* What the units of a host are doing: see kviommustat.1. */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>

#include "kviommu.h"

#define EXIT_USAGE	2

enum format {
	FORMAT_TEXT,
	FORMAT_CSV,
	FORMAT_CSV_HEADER,
	FORMAT_JSON,
};

/**
 * struct unit - A unit, as it was read last and the time before
 * @next: The one of the next higher number
 * @number: Its number in sysfs
 * @dir: Its directory there
 * @pid: The process that has it, or 0
 * @seen: When it was read, in ns
 * @policy: What was in force
 * @stats: What it had counted
 * @before: What it had counted the time before; all 0 if there was none
 * @seconds: What passed between the two, or 0
 */
struct unit {
	struct unit *next;
	int number;
	int dir;
	int pid;
	__u64 seen;
	struct kviommu_policy policy;
	struct kviommu_stats stats;
	struct kviommu_stats before;
	double seconds;
};

static const char *sysfs = KVIOMMU_SYSFS;
static int only_unit = -1;
static struct unit *units;

static __u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* False if it is gone. */
static bool unit_read(struct unit *u)
{
	__u64 now = now_ns();
	int ret;

	u->before = u->stats;
	u->seconds = u->seen ? (now - u->seen) / 1e9 : 0;
	u->seen = now;
	ret = kviommu_sysfs_read(u->dir, &u->policy, &u->stats);
	if (ret && ret != -ENODEV) {
		errno = -ret;
		err(EXIT_FAILURE, "unit %d", u->number);
	}
	return !ret;
}

/* A new one in front of *link, if it is not gone already */
static void unit_add(struct unit **link, int number)
{
	struct unit *u;
	int dir;

	dir = kviommu_sysfs_open(sysfs, number);
	if (dir < 0)
		return;
	u = calloc(1, sizeof(*u));
	if (!u)
		err(EXIT_FAILURE, NULL);
	u->number = number;
	u->dir = dir;
	u->pid = kviommu_sysfs_pid(dir);
	if (u->pid < 0)
		u->pid = 0;
	if (!unit_read(u)) {
		close(dir);
		free(u);
		return;
	}
	u->next = *link;
	*link = u;
}

static void unit_drop(struct unit **link)
{
	struct unit *u = *link;

	*link = u->next;
	close(u->dir);
	free(u);
}

/* Read those that are there still, then look for others. */
static void read_all(void)
{
	struct unit **link = &units;
	int number = -1;

	while (*link) {
		if (unit_read(*link))
			link = &(*link)->next;
		else
			unit_drop(link);
	}
	link = &units;
	while ((number = kviommu_sysfs_next(sysfs, number)) >= 0) {
		while (*link && (*link)->number < number)
			link = &(*link)->next;
		if (*link && (*link)->number == number)
			continue;
		if (only_unit < 0 || only_unit == number)
			unit_add(link, number);
	}
}

static __u64 delta(const struct unit *u, size_t offset)
{
	const struct kviommu_field field = { .offset = offset };

	return kviommu_field_value(&field, &u->stats) -
	       kviommu_field_value(&field, &u->before);
}

/* The difference to the time before; of all there was if it is the first time */
#define DELTA(u, name)	delta(u, offsetof(struct kviommu_stats, name))

static void latency_delta(const struct unit *u, __u64 *latency)
{
	unsigned int i;

	for (i = 0; i < KVIOMMU_LATENCY_BUCKETS; i++)
		latency[i] = DELTA(u, latency[i]);
}

/* In percent, or below 0 if there were no lookups */
static double hit_percent(const struct unit *u)
{
	__u64 hits = DELTA(u, pin_hits), all = hits + DELTA(u, pin_misses);

	return all ? 100.0 * hits / all : -1;
}

/* In percent of one CPU, or below 0 if nothing is known yet */
static double poll_percent(const struct unit *u)
{
	return u->seconds ? DELTA(u, polled_ns) / u->seconds / 1e7 : -1;
}

/* One value of a record. An empty one is not known. */
static void emit(enum format format, const char *key, const char *fmt, ...)
{
	static bool more;
	char value[512];
	va_list args;

	if (!key) {
		more = false;
		return;
	}
	va_start(args, fmt);
	vsnprintf(value, sizeof(value), fmt, args);
	va_end(args);
	switch (format) {
	case FORMAT_TEXT:
		if (*value)
			printf("%-20s %s\n", key, value);
		break;
	case FORMAT_CSV:
		printf("%s%s", more ? "," : "", value);
		break;
	case FORMAT_CSV_HEADER:
		printf("%s%s", more ? "," : "", key);
		break;
	case FORMAT_JSON:
		printf("%s\"%s\":%s", more ? "," : "", key,
		       *value ? value : "null");
		break;
	}
	more = true;
}

static void emit_name(enum format format, const char *key, const char *name)
{
	emit(format, key, format == FORMAT_JSON ? "\"%s\"" : "%s", name);
}

/* Less than 0 stands for what is not known. */
static void emit_double(enum format format, const char *key, double value)
{
	emit(format, key, value < 0 ? "" : "%.3f", value);
}

static void emit_percentile(enum format format, const char *key,
			    const __u64 *latency, unsigned int percent)
{
	int bucket = kviommu_latency_percentile(latency, percent);
	bool known = bucket >= 0 && bucket < KVIOMMU_LATENCY_BUCKETS - 1;

	emit(format, key, known ? "%llu" : "", kviommu_latency_limit(bucket));
}

static void emit_latency(enum format format, const __u64 *latency)
{
	char list[KVIOMMU_LATENCY_BUCKETS * 21 + 3], key[16];
	const char *separator = format == FORMAT_JSON ? "," : " ";
	unsigned int i;
	int n = 0;

	for (i = 0; i < KVIOMMU_LATENCY_BUCKETS; i++) {
		if (format == FORMAT_CSV || format == FORMAT_CSV_HEADER) {
			snprintf(key, sizeof(key), "latency_%u", i);
			emit(format, key, "%llu", latency[i]);
		}
		n += snprintf(list + n, sizeof(list) - n, "%s%llu",
			      i ? separator : "", latency[i]);
	}
	if (format == FORMAT_TEXT)
		emit(format, "latency", "%s", list);
	else if (format == FORMAT_JSON)
		emit(format, "latency", "[%s]", list);
}

static void record(enum format format, const struct unit *u)
{
	const struct kviommu_field *field;
	__u64 latency[KVIOMMU_LATENCY_BUCKETS];
	struct timespec ts;
	char key[64];

	clock_gettime(CLOCK_REALTIME, &ts);
	latency_delta(u, latency);
	if (format == FORMAT_JSON)
		putchar('{');
	emit(format, NULL, "");
	emit(format, "time", "%lld.%03ld", (long long)ts.tv_sec,
	     ts.tv_nsec / 1000000);
	emit(format, "unit", "%d", u->number);
	emit(format, "pid", "%d", u->pid);
	emit_name(format, "mode", kviommu_mode_name(u->policy.mode));
	emit_name(format, "strategy", kviommu_strategy_name(u->policy.strategy));
	emit(format, "interval", u->seconds ? "%.6f" : "", u->seconds);
	for (field = kviommu_stats_fields; field->name; field++)
		emit(format, field->name, "%llu",
		     kviommu_field_value(field, &u->stats));
	for (field = kviommu_stats_fields; field->name; field++) {
		if (field->level)
			continue;
		snprintf(key, sizeof(key), "%s_per_s", field->name);
		emit_double(format, key, u->seconds ?
			    delta(u, field->offset) / u->seconds : -1);
	}
	emit_double(format, "hit_percent", hit_percent(u));
	emit_double(format, "poll_percent", poll_percent(u));
	emit_percentile(format, "p50_below_ns", latency, 50);
	emit_percentile(format, "p99_below_ns", latency, 99);
	emit_latency(format, u->stats.latency);
	puts(format == FORMAT_JSON ? "}" : "");
}

static void header(enum format format)
{
	static const struct unit none;

	if (format == FORMAT_CSV)
		record(FORMAT_CSV_HEADER, &none);
}

static void flush(void)
{
	if (fflush(stdout))
		err(EXIT_FAILURE, "standard output");
}

/* The live view */

static const char *nice_ns(__u64 ns, char *text)
{
	static const char *const scale[] = { "ns", "us", "ms", "s" };
	double value = ns;
	unsigned int i;

	for (i = 0; value >= 1000 && i < 3; i++)
		value /= 1000;
	sprintf(text, value < 10 ? "%.1f%s" : "%.0f%s", value, scale[i]);
	return text;
}

static const char *nice_percentile(const __u64 *latency, unsigned int percent,
				   char *text)
{
	int bucket = kviommu_latency_percentile(latency, percent);
	char ns[32];

	if (bucket < 0)
		return "-";
	/* Of the last it is only known that it is no less than the one before. */
	if (bucket == KVIOMMU_LATENCY_BUCKETS - 1)
		sprintf(text, ">%s", nice_ns(kviommu_latency_limit(bucket - 1), ns));
	else
		sprintf(text, "<%s", nice_ns(kviommu_latency_limit(bucket), ns));
	return text;
}

static void rate(FILE *out, const struct unit *u, int width, __u64 delta)
{
	if (u->seconds)
		fprintf(out, " %*.0f", width, delta / u->seconds);
	else
		fprintf(out, " %*s", width, "-");
}

static void percent(FILE *out, double value)
{
	if (value < 0)
		fprintf(out, " %5s", "-");
	else
		fprintf(out, " %5.1f", value);
}

/* Lines of 80 columns, in tables of their own */
static void traffic_line(FILE *out, const struct unit *u)
{
	__u64 latency[KVIOMMU_LATENCY_BUCKETS];
	char text[32];

	latency_delta(u, latency);
	fprintf(out, "%4d %6d %-8s %-10s", u->number, u->pid,
		kviommu_mode_name(u->policy.mode),
		kviommu_strategy_name(u->policy.strategy));
	rate(out, u, 8, DELTA(u, maps));
	rate(out, u, 8, DELTA(u, unmaps));
	rate(out, u, 8, DELTA(u, descriptors));
	rate(out, u, 7, DELTA(u, reg_writes));
	fprintf(out, " %6s", nice_percentile(latency, 50, text));
	fprintf(out, " %6s\n", nice_percentile(latency, 99, text));
}

static void memory_line(FILE *out, const struct unit *u)
{
	fprintf(out, "%4d %9llu %8llu %9llu", u->number, u->stats.pinned,
		u->stats.idle, u->stats.mapped);
	rate(out, u, 8, DELTA(u, pin_misses));
	percent(out, hit_percent(u));
	fprintf(out, " %8llu", u->stats.stale);
	rate(out, u, 8, DELTA(u, reuses));
	rate(out, u, 7, DELTA(u, polls));
	percent(out, poll_percent(u));
	fputc('\n', out);
}

/* The guest, coIOMMU's, has asked for something since the unit was made. */
static bool tracks(const struct unit *u)
{
	return u->stats.asked || u->stats.tracked_devices;
}

static void tracked_line(FILE *out, const struct unit *u)
{
	fprintf(out, "%4d %8llu %9llu", u->number, u->stats.tracked_devices,
		u->stats.tracked);
	rate(out, u, 8, DELTA(u, asked));
	rate(out, u, 10, DELTA(u, refused));
	rate(out, u, 10, DELTA(u, unpinned));
	fputc('\n', out);
}

#define BAR	40

static void bars(FILE *out, const struct unit *u)
{
	__u64 latency[KVIOMMU_LATENCY_BUCKETS], most = 0, all = 0;
	int i, first = -1, last = -1;
	char text[32];

	latency_delta(u, latency);
	for (i = 0; i < KVIOMMU_LATENCY_BUCKETS; i++) {
		if (!latency[i])
			continue;
		if (first < 0)
			first = i;
		last = i;
		all += latency[i];
		if (latency[i] > most)
			most = latency[i];
	}
	if (!all)
		return;
	fprintf(out, "\nunit %d: the queue was handled %llu times, in\n",
		u->number, all);
	for (i = first; i <= last; i++) {
		int length = (latency[i] * BAR + most - 1) / most;

		if (i < KVIOMMU_LATENCY_BUCKETS - 1)
			fprintf(out, "  < %-6s", nice_ns(kviommu_latency_limit(i), text));
		else
			fprintf(out, "  %-8s", "more");
		fprintf(out, " |%.*s%*s| %llu\n", length,
			"########################################",
			BAR - length, "", latency[i]);
	}
}

static void frame(FILE *out, double interval)
{
	const struct unit *u;
	unsigned int n = 0, tracking = 0;

	for (u = units; u; u = u->next) {
		n++;
		tracking += tracks(u);
	}
	fprintf(out, "kviommustat: %u unit%s, every %g s\n\n", n,
		n == 1 ? "" : "s", interval);
	fprintf(out, "%4s %6s %-8s %-10s %8s %8s %8s %7s %6s %6s\n", "UNIT", "PID",
		"MODE", "STRATEGY", "MAPS/s", "UNMAPS/s", "INVAL/s", "EXITS/s",
		"P50", "P99");
	for (u = units; u; u = u->next)
		traffic_line(out, u);
	fprintf(out, "\n%4s %9s %8s %9s %8s %5s %8s %8s %7s %5s\n", "UNIT", "PINNED",
		"IDLE", "MAPPED", "PINS/s", "HIT%", "STALE", "REUSES/s", "POLLS/s",
		"POLL%");
	for (u = units; u; u = u->next)
		memory_line(out, u);
	if (tracking)
		fprintf(out, "\n%4s %8s %9s %8s %10s %10s\n", "UNIT", "DEVICES", "TRACKED",
			"ASKS/s", "REFUSALS/s", "UNPINS/s");
	for (u = units; u; u = u->next)
		if (tracks(u))
			tracked_line(out, u);
	for (u = units; u; u = u->next)
		bars(out, u);
}

static struct termios termios_before;

static void terminal_restore(void)
{
	tcsetattr(STDIN_FILENO, TCSANOW, &termios_before);
}

/* Have keys come at once; true if there are keys. */
static bool terminal_keys(void)
{
	struct termios t;

	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &t))
		return false;
	termios_before = t;
	atexit(terminal_restore);
	t.c_lflag &= ~(ICANON | ECHO);
	tcsetattr(STDIN_FILENO, TCSANOW, &t);
	return true;
}

/* As much of the text as the terminal has room for, in place of what is there */
static void show_on_terminal(const char *text)
{
	struct winsize size = {};
	int rows, columns;

	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	rows = size.ws_row ?: 24;
	columns = size.ws_col ?: 80;
	fputs("\033[H", stdout);
	while (*text && rows-- > 1) {
		int length = strcspn(text, "\n");

		printf("%.*s\033[K\n", length < columns ? length : columns, text);
		text += length + !!text[length];
	}
	fputs("\033[J", stdout);
}

static void show(bool terminal, double interval)
{
	size_t size;
	char *text;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		err(EXIT_FAILURE, NULL);
	frame(out, interval);
	if (fclose(out))
		err(EXIT_FAILURE, NULL);
	if (terminal)
		show_on_terminal(text);
	else
		printf("%s\n", text);
	free(text);
}

/* Time */

/* What ends it can be read from there. */
static int catch_signals(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd < 0)
		err(EXIT_FAILURE, NULL);
	return fd;
}

/* Wait until then; false if the user wants an end. */
static bool wait_until(__u64 then, bool keys, int signals)
{
	struct pollfd in[2] = {
		{ .fd = signals, .events = POLLIN },
		{ .fd = keys ? STDIN_FILENO : -1, .events = POLLIN },
	};
	__u64 now;

	while ((now = now_ns()) < then) {
		struct timespec left = {
			.tv_sec = (then - now) / 1000000000,
			.tv_nsec = (then - now) % 1000000000,
		};
		char key;

		if (ppoll(in, 2, &left, NULL) <= 0)
			continue;
		if (in[0].revents)
			return false;
		if (read(STDIN_FILENO, &key, 1) != 1)
			in[1].fd = -1;
		else if (key == 'q')
			return false;
	}
	return true;
}

/* Options */

static const struct option options[] = {
	{ "interval", required_argument, NULL, 'i' },
	{ "count", required_argument, NULL, 'n' },
	{ "unit", required_argument, NULL, 'u' },
	{ "log", no_argument, NULL, 'l' },
	{ "once", no_argument, NULL, '1' },
	{ "format", required_argument, NULL, 'f' },
	{ "sysfs", required_argument, NULL, 's' },
	{ "help", no_argument, NULL, 'h' },
	{}
};

static void print_help(FILE *out)
{
	fputs("usage: kviommustat [option]...\n"
	      "Show what the virtual IOMMUs of this host's guests are doing.\n"
	      "  -i, --interval SECONDS  how often, 1 by default\n"
	      "  -n, --count N           end after so many intervals\n"
	      "  -u, --unit N            only unit N\n"
	      "  -l, --log               a record for each interval and unit\n"
	      "  -1, --once              a record for each unit; with -i, of one interval\n"
	      "  -f, --format FORMAT     of records: csv (for a log), text (for -1) or json\n"
	      "      --sysfs DIR         read DIR in place of " KVIOMMU_SYSFS "\n"
	      "  -h, --help              this text\n"
	      "The key q or ctrl-C ends it.\n", out);
}

static noreturn void bad_usage(const char *why)
{
	if (why)
		warnx("%s", why);
	print_help(stderr);
	exit(EXIT_USAGE);
}

static double number(const char *text, double min, double max, const char *why)
{
	char *end;
	double n = strtod(text, &end);

	/* Written so that what is not a number is refused, too. */
	if (end == text || *end || !(n >= min && n <= max))
		bad_usage(why);
	return n;
}

static long whole(const char *text, long min, const char *why)
{
	double n = number(text, min, 1000000000, why);

	if (n != (long)n)
		bad_usage(why);
	return n;
}

static enum format format_number(const char *name)
{
	if (!strcmp(name, "text"))
		return FORMAT_TEXT;
	if (!strcmp(name, "csv"))
		return FORMAT_CSV;
	if (!strcmp(name, "json"))
		return FORMAT_JSON;
	bad_usage("formats are text, csv and json");
}

/**
 * struct config - What is asked for
 * @interval: In seconds, or 0
 * @count: How many intervals, or 0
 * @log: A record for each interval
 * @once: One only
 * @format: The records', or -1
 */
struct config {
	double interval;
	long count;
	bool log;
	bool once;
	int format;
};

static void parse(int argc, char **argv, struct config *c)
{
	int option;

	while ((option = getopt_long(argc, argv, "i:n:u:l1f:h", options,
				     NULL)) >= 0) {
		switch (option) {
		case 'i':
			c->interval = number(optarg, 0.01, 86400,
					     "an interval is 0.01 to 86400 seconds");
			break;
		case 'n':
			c->count = whole(optarg, 1, "a count is 1 or more");
			break;
		case 'u':
			only_unit = whole(optarg, 0, "a unit is a number from 0 on");
			break;
		case 'l':
			c->log = true;
			break;
		case '1':
			c->once = true;
			break;
		case 'f':
			c->format = format_number(optarg);
			break;
		case 's':
			sysfs = optarg;
			break;
		case 'h':
			print_help(stdout);
			exit(EXIT_SUCCESS);
		default:
			bad_usage(NULL);
		}
	}
	if (optind < argc)
		bad_usage("there are options only");
	if (c->log && c->once)
		bad_usage("--log or --once");
	if (c->count && c->once)
		bad_usage("--count is not for --once");
	if (c->format >= 0 && !c->log && !c->once)
		bad_usage("--format is for --log and --once");
	if (c->format < 0)
		c->format = c->log ? FORMAT_CSV : FORMAT_TEXT;
	if (!c->interval && !c->once)
		c->interval = 1;
}

static void once(const struct config *c, int signals)
{
	const struct unit *u;

	if (c->interval) {
		if (!wait_until(now_ns() + c->interval * 1e9, false, signals))
			return;
		read_all();
	}
	if (only_unit >= 0 && !units)
		errx(EXIT_FAILURE, "there is no unit %d", only_unit);
	header(c->format);
	for (u = units; u; u = u->next)
		record(c->format, u);
}

static void again_and_again(const struct config *c, int signals)
{
	bool terminal = !c->log && isatty(STDOUT_FILENO);
	bool keys = terminal && terminal_keys();
	__u64 then = now_ns(), step = c->interval * 1e9;
	const struct unit *u;
	long n;

	if (c->log)
		header(c->format);
	if (terminal) {
		fputs("\033[2J", stdout);
		show(true, c->interval);
	}
	for (n = 0; !c->count || n < c->count; n++) {
		__u64 now = now_ns();

		flush();
		then = then + step > now ? then + step : now + step;
		if (!wait_until(then, keys, signals))
			break;
		read_all();
		if (!c->log)
			show(terminal, c->interval);
		/* Of one that was not there before there is no interval yet. */
		for (u = units; c->log && u; u = u->next)
			if (u->seconds)
				record(c->format, u);
	}
}

int main(int argc, char **argv)
{
	struct config c = { .format = -1 };
	int ret, signals;

	parse(argc, argv, &c);
	ret = kviommu_sysfs_next(sysfs, -1);
	if (ret < 0 && ret != -ENODEV) {
		errno = -ret;
		err(EXIT_FAILURE, "%s%s", sysfs, ret == -ENOENT ?
		    " (is the module loaded?)" : "");
	}
	signals = catch_signals();
	read_all();
	if (c.once)
		once(&c, signals);
	else
		again_and_again(&c, signals);
	flush();
	return EXIT_SUCCESS;
}
