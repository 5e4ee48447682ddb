// SPDX-License-Identifier: GPL-2.0
#include <sys/mount.h>
#include <sys/stat.h>

#include "cgroup.h"
#include "pollers.h"
#include "require.h"

void cgroup_write(const char *file, const char *value)
{
	int err = file_put(file, value);

	if (err)
		FATAL("%s: %s", file, strerror(err));
}

unsigned long cgroup_read(const char *file, const char *format)
{
	unsigned long value = ~0UL;
	char line[128];
	FILE *f = fopen(file, "r");

	REQUIRE(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, format, &value) == 1)
			break;
	fclose(f);
	REQUIRE(value != ~0UL);
	return value;
}

void cgroup_enter(const char *controller, const char *limit)
{
	char text[64];

	REQUIRE(!mkdir(CGROUP_ROOT, 0755) || errno == EEXIST);
	REQUIRE(!mount("cgroup2", CGROUP_ROOT, "cgroup2", 0, NULL) || errno == EBUSY);
	snprintf(text, sizeof(text), "+%s", controller);
	cgroup_write(CGROUP_ROOT "/cgroup.subtree_control", text);
	REQUIRE(!mkdir(CGROUP, 0755) || errno == EEXIST);
	/* Another test may have left it in the middle. */
	snprintf(text, sizeof(text), CGROUP "/%s", limit);
	cgroup_write(text, "max");
	cgroup_write(CGROUP "/cgroup.procs", "0");
}

void cgroup_leave(void)
{
	cgroup_write(CGROUP_ROOT "/cgroup.procs", "0");
	REQUIRE(!rmdir(CGROUP));
	REQUIRE(!umount(CGROUP_ROOT));
}
