// SPDX-License-Identifier: GPL-2.0
/*
 * kexec load|crash LINUX INITRAMFS COMMAND-LINE: load a kernel, to be started by "kexec go" or
 * when the present one panics. For the guests, whose only other program is busybox.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

static int load(char **argv, unsigned long flags)
{
	int kernel = open_file(argv[2]), initramfs = open_file(argv[3]);

	if (syscall(SYS_kexec_file_load, kernel, initramfs, strlen(argv[4]) + 1, argv[4], flags))
		err(1, "kexec_file_load");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "go")) {
		syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
			LINUX_REBOOT_CMD_KEXEC, NULL);
		err(1, "reboot");
	}
	if (argc == 5 && !strcmp(argv[1], "load"))
		return load(argv, 0);
	if (argc == 5 && !strcmp(argv[1], "crash"))
		return load(argv, KEXEC_FILE_ON_CRASH);
	errx(2, "usage: kexec load|crash LINUX INITRAMFS COMMAND-LINE, or kexec go");
}
