# SPDX-License-Identifier: GPL-2.0
# Runs Linux guests in the emulated host and measures them, for demo-host and bench-host.
# What is measured becomes lines "METRIC CONFIG VALUE UNIT" in /lab/metrics. CONFIG is
# what the guest has for a virtual IOMMU:
#   none                  no virtual IOMMU
#   qemu-intel            QEMU's intel-iommu
#   qemu-virtio-strict, -lazy  QEMU's virtio-iommu; which of the two the guest is told
#   kviommu               as QEMU has it by default
#   kviommu-MODE-STRATEGY
# shellcheck shell=busybox

# What those who source this may choose: the guest's kernel, its tasks (the last one is
# steps), and whether all exits are counted, which costs something, or only in between.
guest_kind=lab guest_tasks=steps always_traced=0

sys=/sys/class/kviommu

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

# tracing_on 0|1: the counters that cost something
tracing_on()
{
	echo "$1" >"$tracing/instances/viommu_kvm/events/kvm/kvm_page_fault/enable"
	echo "$1" >"$tracing/instances/all_user/events/kvm/kvm_userspace_exit/enable"
}

# load_kviommu: the last processor is there to poll, the others are for all else.
load_kviommu()
{
	poll=$(($(nproc) - 1))
	if [ $poll = 0 ]; then
		poll=''
	else
		taskset -p "$(printf %x $(((1 << poll) - 1)))" $$ >/dev/null
	fi
	insmod /lab/kviommu.ko poll_cpus=$poll || fail "kviommu.ko does not load"
	: >/lab/metrics
	set_up_counters
	tracing_on $always_traced
}

unload_kviommu() { rmmod kviommu || fail "kviommu.ko cannot be unloaded"; }

# await_disk: until the host's own driver has the NVMe disk
await_disk()
{
	for _ in $(seq 100); do
		[ ! -b /dev/nvme0n1 ] || return 0
		usleep 100000
	done
	fail "the host's nvme driver did not take the disk"
}

# virtual_iommu CONFIG BDF...: QEMU's arguments for a guest with these devices
virtual_iommu()
{
	kviommu=intel-iommu,aw-bits=48,kviommu=on,iommufd=iommufd0
	case $1 in
	none) iommu='' ;;
	qemu-intel) iommu=intel-iommu,aw-bits=48,caching-mode=on,intremap=off ;;
	qemu-virtio-*) iommu=virtio-iommu-pci,aw-bits=48 ;;
	kviommu) iommu=$kviommu ;;
	kviommu-*-*)
		iommu=${1#kviommu-}
		iommu=$kviommu,kviommu-mode=${iommu%-*},kviommu-strategy=${iommu#*-}
		case $1 in *-strict) ;; *) iommu=$iommu,kviommu-max-stale=500 ;; esac
		;;
	*) fail "no configuration $1" ;;
	esac
	echo "-object iommufd,id=iommufd0" ${iommu:+-device "$iommu"}
	shift
	for bdf; do echo "-device vfio-pci,host=$bdf,iommufd=iommufd0"; done
}

# Words of the guest's command line
append_of()
{
	case $1 in
	qemu-*-strict) echo iommu.strict=1 ;;
	qemu-*-lazy) echo iommu.strict=0 ;;
	esac
}

# state: what is counted in the host, a line "NAME VALUE UNIT" for each.
state()
{
	for file in $sys/kviommu*/statistics/*; do
		name=${file##*/}
		[ ! -e "$file" ] || [ "$name" = latency ] || echo "$name $(cat "$file") count"
	done
	echo "exits_user_unit $(counted viommu_user) count"
	echo "exits_kvm_unit $(counted viommu_kvm) count"
	echo "exits_user_all $(counted all_user) count"
	echo "exits_kvm_all $(cat /sys/kernel/debug/kvm/"$pid"-*/exits) count"
	# utime has the guest's in it.
	awk '{ sub(/.*\) /, ""); printf "cpu_guest %d ms\ncpu_vmm %d ms\ncpu_kernel %d ms\n",
		10 * $41, 10 * ($12 - $41), 10 * $13 }' "/proc/$pid/stat"
	for thread in $(pgrep -f '^kviommu-poll' || pgrep kviommu-poll); do
		cat "/proc/$thread/stat"
	done | awk '{ sub(/.*\) /, ""); n += $12 + $13 } END { printf "cpu_poll %d ms\n", 10 * n }'
}

# since_step PREFIX CONFIG NAME...: what was counted since the step began
since_step()
{
	prefix=$1 config=$2
	shift 2
	state >/tmp/state.end
	awk -v prefix="$prefix" -v config="$config" -v names=" $* " '
		NR == FNR { begin[$1] = $2; next }
		names == "  " || index(names, " " $1 " ") {
			print prefix "." $1, config, $2 - begin[$1], $3
		}' /tmp/state.begin /tmp/state.end >>/lab/metrics
}

# The host's side of a guest's steps
# ----------------------------------
# /tmp/steps has a line for each, the first one is what is under way. A step is begun when
# the guest asks for one, and it ends when it asks again, with "failed" if it could not do
# it. What begin_STEP prints is what the guest does. These and end_STEP are functions of
# who sources this, who has "step PID HOW" called when it is run with these arguments.

step()
{
	pid=$1
	[ ! -s /tmp/under-way ] || end_step "$2"
	tracing_on $always_traced
	# shellcheck disable=SC2046
	set -- $(sed -n 1p /tmp/steps)
	echo "$1" >/tmp/under-way
	kind=$1
	shift
	"begin_$kind" "$@"
}

# end_step [failed]: what is under way is done, or is not to be had.
end_step()
{
	how=$1
	# shellcheck disable=SC2046
	set -- $(sed -n 1p /tmp/steps)
	sed -i 1d /tmp/steps
	if [ "$how" = failed ]; then
		metric "failed.$1" "$2" 1 count
	else
		kind=$1
		shift
		"end_$kind" "$@"
	fi
}

# losses: how many guests died and steps failed until now
losses() { grep -cE '^(guests_died|failed\.)' /lab/metrics; }

begin_end() { echo end; }

# run_guest NAME CONFIG MIB VCPUS BDF...: a guest that does /tmp/steps. What it says of
# what it measured becomes metrics. If it dies another one goes on with the step that it
# was at, but with none that two died of. False if not all was done at once.
run_guest()
{
	name=$1 config=$2 memory=$3 vcpus=$4 died_of='' before=$(losses)
	shift 4
	bind-vfio "$@" >/dev/null
	echo end >>/tmp/steps
	while :; do
		: >/tmp/under-way
		status=0
		# shellcheck disable=SC2046
		guest -k "$guest_kind" -n "$name" -m "$memory" -t 900 -c "$0 step" \
			-a "tasks=$guest_tasks earlycon=uart8250,io,0x3f8 $(append_of "$config")" -- \
			-smp "$vcpus" $(virtual_iommu "$config" "$@") || status=$?
		tracing_on $always_traced
		# What belongs to a step that it did not end is not used.
		tr -d '\r' <"/lab/$name.log" | awk '
			/^RESULT checkpoint=step/ { printf "%s", lines }
			/^RESULT checkpoint=/ { lines = "" }
			sub(/^RESULT metric=/, "") {
				sub(/\[ *[0-9.]*\].*/, "")	# the kernel may go on in the line
				lines = lines $0 "\n"
			}' >>/lab/metrics
		[ $status -lt 2 ] || fail "$name"
		[ $status = 1 ] || break
		metric guests_died "$config" 1 count
		cp "/lab/$name.log" "/lab/$name.died.$(losses)"
		step=$(sed -n 1p /tmp/steps)
		[ "${step:-end}" != end ] || break
		if [ "$step" = "$died_of" ]; then
			end_step failed
		fi
		died_of=$step
	done
	[ "$(losses)" = "$before" ]
}
