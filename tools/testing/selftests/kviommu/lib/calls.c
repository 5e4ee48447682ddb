// SPDX-License-Identifier: GPL-2.0
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "calls.h"
#include "require.h"

#define TRACE "/sys/kernel/tracing/instances/kviommu-calls/"

static void put(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_TRUNC | O_CLOEXEC);

	REQUIRE(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

void calls_begin(void)
{
	rmdir(TRACE);
	REQUIRE(!mkdir(TRACE, 0700));
	put(TRACE "events/iommu/map/enable", "1");
	put(TRACE "events/iommu/unmap/enable", "1");
}

void calls_end(void)
{
	put(TRACE "events/iommu/enable", "0");
	REQUIRE(!rmdir(TRACE));
}

static unsigned int count(const char *event, __u64 iova)
{
	FILE *f = fopen(TRACE "trace", "r");
	char line[1024], where[64];
	unsigned int n = 0;

	REQUIRE(f);
	/* All but the last five digits */
	snprintf(where, sizeof(where), "iova=0x%011llx", iova >> 20);
	while (fgets(line, sizeof(line), f))
		if (strstr(line, event) && strstr(line, where))
			n++;
	fclose(f);
	return n;
}

unsigned int calls_map(__u64 iova)
{
	return count(" map: ", iova);
}

unsigned int calls_unmap(__u64 iova)
{
	return count(" unmap: ", iova);
}
