# SPDX-License-Identifier: GPL-2.0
# Shared by the guests' first process, its tasks and programs; /lib.sh in the guest.
# shellcheck shell=busybox

uptime_ms() { awk '{ printf "%d\n", $1 * 1000 }' /proc/uptime; }

# await SECONDS COMMAND...: until COMMAND succeeds, false if it never does.
await()
{
	local end=$(($(uptime_ms) + $1 * 1000))
	shift
	until "$@"; do
		[ "$(uptime_ms)" -lt "$end" ] || return 1
		usleep 50000
	done
}
