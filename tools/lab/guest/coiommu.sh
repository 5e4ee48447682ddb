# SPDX-License-Identifier: GPL-2.0
# Shared by the tests of coiommu in guests; /coiommu.sh there. tools/lab/check knows the tests of
# a program before it is run, by its lines "check TEST ...".
# shellcheck shell=busybox

# shellcheck source=guest/lib.sh
. /lib.sh

stats=/sys/kernel/debug/coiommu/statistics

stat() { awk -v n="$1" '$1 == n { print $2 }' $stats; }
said() { dmesg | grep -q "$1"; }

# test_driver PARAMETER...: run the tests of the driver for the edu device
test_driver()
{
	dmesg -c >/dev/null
	insmod /modules/coiommu_test.ko "$@" || return 1
	dmesg | grep 'coiommu_test:'
	said 'coiommu_test: done' && ! said 'coiommu_test: not ok'
}

# check TEST COMMAND...: one test
check()
{
	what=$1 value=1
	shift
	"$@" || value=0
	echo "$what $value" | tee -a /tmp/coiommu-results
	[ $value = 1 ] || [ ! -e $stats ] || cat $stats
}

# print_results NAME: a metric for each test, at the end, as messages of the kernel get into lines
# of others
print_results()
{
	echo
	sed "s/\(.*\) \(.*\)/RESULT metric=coiommu.\1 $1 \2 bool/" /tmp/coiommu-results
	rm /tmp/coiommu-results
}
