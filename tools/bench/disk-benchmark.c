// SPDX-License-Identifier: GPL-2.0
/*
 * disk-benchmark NAME MS DEVICE OPERATION:KIB:DEPTH...: read or write blocks of that
 * many KiB with so many requests under way, past the page cache, for MS milliseconds
 * each, after half of that which does not count; print rates as "RESULT
 * metric=OPERATION.KIBk.qDEPTH NAME VALUE MB/s".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"

#define MAX_DEPTH 256

/* One after the other, from the beginning again at the end */
static void submit(aio_context_t context, struct iocb *cb, unsigned long long size)
{
	static unsigned long long next;

	if (next + cb->aio_nbytes > size)
		next = 0;
	cb->aio_offset = next;
	next += cb->aio_nbytes;
	if (syscall(SYS_io_submit, context, 1, &cb) != 1)
		die("io_submit");
}

/* Returns MB/s. */
static double run(int fd, unsigned long long size, bool is_write, unsigned int bytes,
		  unsigned int depth, double seconds)
{
	struct io_event events[MAX_DEPTH];
	struct iocb cbs[MAX_DEPTH] = { 0 };
	unsigned long long done = 0;
	aio_context_t context = 0;
	unsigned int i, flying;
	double begin, end;
	char *buffers;

	if (posix_memalign((void **)&buffers, 4096, (size_t)bytes * depth))
		die("posix_memalign");
	memset(buffers, 0x5a, (size_t)bytes * depth);
	if (syscall(SYS_io_setup, depth, &context))
		die("io_setup");
	begin = now();
	for (i = 0; i < depth; i++) {
		cbs[i].aio_lio_opcode = is_write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
		cbs[i].aio_fildes = fd;
		cbs[i].aio_buf = (unsigned long)(buffers + (size_t)i * bytes);
		cbs[i].aio_nbytes = bytes;
		cbs[i].aio_data = i;
		submit(context, &cbs[i], size);
	}
	for (flying = depth; flying; ) {
		int n = syscall(SYS_io_getevents, context, 1, depth, events, NULL);
		bool more = now() - begin < seconds;

		if (n < 1)
			die("io_getevents");
		for (i = 0; i < (unsigned int)n; i++) {
			if (events[i].res != (long long)bytes) {
				errno = events[i].res < 0 ? -events[i].res : EIO;
				die("transfer");
			}
			done += bytes;
			if (more)
				submit(context, &cbs[events[i].data], size);
			else
				flying--;
		}
	}
	end = now();
	syscall(SYS_io_destroy, context);
	free(buffers);
	return done / (end - begin) / 1e6;
}

int main(int argc, char **argv)
{
	unsigned long long size;
	unsigned int kib, depth;
	char operation[8];
	double seconds;
	int fd, i;

	if (argc < 5) {
		fprintf(stderr, "usage: disk-benchmark NAME MS DEVICE OPERATION:KIB:DEPTH...\n");
		return 2;
	}
	fd = open(argv[3], O_RDWR | O_DIRECT);
	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &size))
		die(argv[3]);
	for (i = 4; i < argc; i++) {
		if (sscanf(argv[i], "%7[a-z]:%u:%u", operation, &kib, &depth) != 3 ||
		    !kib || !depth || depth > MAX_DEPTH) {
			fprintf(stderr, "disk-benchmark: %s?\n", argv[i]);
			return 2;
		}
		seconds = atof(argv[2]) / 1000;
		run(fd, size, !strcmp(operation, "write"), kib << 10, depth, seconds / 2);
		printf("\nRESULT metric=%s.%uk.q%u %s %.3f MB/s\n", operation, kib, depth, argv[1],
		       run(fd, size, !strcmp(operation, "write"), kib << 10, depth, seconds));
		fflush(stdout);
	}
	return 0;
}
