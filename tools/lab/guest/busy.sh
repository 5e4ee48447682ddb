# SPDX-License-Identifier: GPL-2.0
# Shared by programs of guests that restart or suspend; /busy.sh there. Keeps the disk at work, so
# that there is DMA under way.
# shellcheck shell=busybox

# shellcheck source=guest/lib.sh
. /lib.sh

# completed FIELD: how many reads (1) or writes (5) of the disk are done
completed() { awk -v n="$1" '{ print $n }' /sys/block/nvme0n1/stat; }
grown() { [ "$(completed 1)" -gt "$reads" ] && [ "$(completed 5)" -gt "$writes" ]; }

# working: whether reads and writes of the disk are done, within a minute
working()
{
	reads=$(completed 1) writes=$(completed 5)
	await 60 grown
}

# received NUMBER: whether the network card has received more packets
received() { [ "$(cat /sys/class/net/eth0/statistics/rx_packets)" -gt "$1" ]; }

# again COMMAND...: until it fails, or there is /tmp/idle
again()
{
	until [ -e /tmp/idle ]; do
		"$@" 2>/dev/null || return 1
	done
}

# busy MIB: read the disk's first MIB and write to those behind them, again and again. The copy that
# the host wants afterwards is not there by then. The network card is ready to receive.
busy()
{
	rm -f /tmp/idle
	again dd if=/dev/nvme0n1 of=/dev/null bs=64k count=$(($1 * 16)) iflag=direct &
	reader=$!
	again dd if=/dev/zero of=/dev/nvme0n1 bs=64k seek=$(($1 * 16)) count=$(($1 * 16)) \
		oflag=direct conv=notrunc &
	writer=$!
	ifconfig eth0 10.9.0.2 netmask 255.255.255.0 up
	working
}

# idle: end that. False if an error of the disk has ended it before.
idle()
{
	: >/tmp/idle
	ifconfig eth0 down
	wait "$reader" && wait "$writer"
}
