# SPDX-License-Identifier: GPL-2.0
# Shared by what measures guests in the emulated host: metrics, counters of exits,
# and QEMU's arguments for each virtual IOMMU.
# shellcheck shell=busybox

tracing=/sys/kernel/tracing
page=0xfed90000		# where q35 has its VT-d unit; compared with what guests see

metric() { echo "$@" >>/lab/metrics; }
fail() { echo "${0##*/}: $*" >&2; exit 1; }

# counter NAME EVENT FILTER: count matching events in a buffer of their own.
counter()
{
	dir=$tracing/instances/$1
	mkdir -p "$dir"
	echo 64 >"$dir/buffer_size_kb"
	echo "$3" >"$dir/events/kvm/$2/filter" || fail "no counter $1"
	echo 1 >"$dir/events/kvm/$2/enable"
}

# What was counted since the last reset, also what the buffer no longer holds.
counted()
{
	cat $tracing/instances/"$1"/per_cpu/cpu*/stats |
		awk '/^(entries|overrun|dropped events):/ { n += $NF } END { print n + 0 }'
}

set_up_counters()
{
	# Of the two events of a read only the one before the exit (type 0).
	counter viommu_user kvm_mmio "type != 1 && gpa >= $((page)) && gpa < $((page + 4096))"
	counter viommu_kvm kvm_page_fault \
		"fault_address >= $((page)) && fault_address < $((page + 4096))"
	counter all_user kvm_userspace_exit 'reason >= 0'
}

reset_counters()
{
	for dir in "$tracing"/instances/*; do echo >"$dir/trace"; done
}

# virtual_iommu CONFIG BDF...: QEMU's arguments for a guest with these devices. CONFIG
# is none; qemu, QEMU's intel-iommu; virtio-strict or virtio-lazy, QEMU's virtio-iommu
# (which of the two its guest is told); or kviommu, perhaps in a mode or, polled, under
# a strategy: trap, sidecore, optimistic.
virtual_iommu()
{
	kviommu=intel-iommu,aw-bits=48,kviommu=on,iommufd=iommufd0
	case $1 in
	none) iommu='' ;;
	qemu) iommu=intel-iommu,aw-bits=48,caching-mode=on,intremap=off ;;
	virtio-*) iommu=virtio-iommu-pci,aw-bits=48 ;;
	kviommu) iommu=$kviommu ;;
	trap | sidecore) iommu=$kviommu,kviommu-mode=$1 ;;
	optimistic) iommu=$kviommu,kviommu-mode=sidecore,kviommu-strategy=$1,kviommu-max-stale=500 ;;
	*) fail "no configuration $1" ;;
	esac
	echo "-object iommufd,id=iommufd0" ${iommu:+-device "$iommu"}
	shift
	for bdf; do echo "-device vfio-pci,host=$bdf,iommufd=iommufd0"; done
}
