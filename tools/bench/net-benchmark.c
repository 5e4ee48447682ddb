// SPDX-License-Identifier: GPL-2.0
/*
 * net-benchmark server: serve clients on the TCP port, for ever.
 * net-benchmark client NAME MS ADDRESS OPERATION...: for MS milliseconds each "send" a
 * stream, have one sent ("receive"), or send a byte and wait for its answer ("request"),
 * and print rates as "RESULT metric=net_OPERATION NAME VALUE UNIT".
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"

#define PORT	5001

static char buf[65536];

static int open_socket(struct sockaddr_in *addr, const char *address)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	if (fd < 0)
		die("socket");
	addr->sin_family = AF_INET;
	addr->sin_port = htons(PORT);
	addr->sin_addr.s_addr = inet_addr(address);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	return fd;
}

/* The first byte says what the client wants. */
static void serve_one(int fd)
{
	int on = 1;
	char kind;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (read(fd, &kind, 1) != 1)
		return;
	switch (kind) {
	case 's':
		while (read(fd, buf, sizeof(buf)) > 0)
			;
		break;
	case 'r':
		while (write(fd, buf, sizeof(buf)) > 0)
			;
		break;
	default:
		while (write(fd, &kind, 1) == 1 && read(fd, &kind, 1) == 1)
			;
	}
}

static void serve(void)
{
	struct sockaddr_in addr = { 0 };
	int listener = open_socket(&addr, "0.0.0.0"), fd;

	signal(SIGPIPE, SIG_IGN);
	if (bind(listener, (void *)&addr, sizeof(addr)) || listen(listener, 8))
		die("listen");
	for (;;) {
		fd = accept(listener, NULL, NULL);
		if (fd < 0)
			die("accept");
		serve_one(fd);
		close(fd);
	}
}

/*
 * Returns bytes, or answers, a second; half of @seconds more goes before that. Negative
 * if the emulator's network stands still.
 */
static double run(int fd, char kind, double seconds)
{
	unsigned long long done = 0;
	const struct timeval patience = { .tv_sec = 20 };
	double begin = now() + seconds / 2, end;
	ssize_t n;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)))
		die("setsockopt");

	if (write(fd, &kind, 1) != 1)
		die("write");
	do {
		n = kind == 's' ? write(fd, buf, sizeof(buf)) :
		    read(fd, buf, kind == 'r' ? sizeof(buf) : 1);
		if (n < 0 && errno == EAGAIN)
			return -1;
		if (n <= 0)
			die("transfer");
		if (kind == 'q' && write(fd, buf, 1) != 1)
			die("write");
		end = now();
		if (end > begin)
			done += n;
	} while (end - begin < seconds);
	return done / (end - begin);
}

int main(int argc, char **argv)
{
	char kind;
	int i;

	if (argc == 2 && !strcmp(argv[1], "server"))
		serve();
	if (argc < 6) {
		fprintf(stderr, "usage: net-benchmark server\n"
			"       net-benchmark client NAME MS ADDRESS OPERATION...\n");
		return 2;
	}
	for (i = 5; i < argc; i++) {
		struct sockaddr_in addr = { 0 };
		int fd = open_socket(&addr, argv[4]);
		double rate;

		kind = !strcmp(argv[i], "send") ? 's' : !strcmp(argv[i], "receive") ? 'r' : 'q';
		if (connect(fd, (void *)&addr, sizeof(addr)))
			die("connect");
		rate = run(fd, kind, atof(argv[3]) / 1000);
		close(fd);
		if (rate < 0) {
			fprintf(stderr, "net-benchmark: %s stands still\n", argv[i]);
			continue;
		}
		printf("\nRESULT metric=net_%s %s %.3f %s\n", argv[i], argv[2],
		       kind == 'q' ? rate : rate / 1e6, kind == 'q' ? "1/s" : "MB/s");
		fflush(stdout);
	}
	return 0;
}
