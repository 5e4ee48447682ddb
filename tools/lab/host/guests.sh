# SPDX-License-Identifier: GPL-2.0
# Runs Linux guests in the emulated host and measures them, for demo-host and bench-host.
# Results are lines "METRIC CONFIG VALUE UNIT" in /lab/metrics. CONFIG is the virtual IOMMU
# of the guest:
#   none                  no virtual IOMMU
#   qemu-intel            QEMU's intel-iommu
#   qemu-virtio-strict, -lazy  QEMU's virtio-iommu, with iommu.strict=1 or 0 in the guest
#   qemu-nested-strict, -lazy  intel-iommu of Debian's newer QEMU, with nested translation
#   kviommu               kviommu with QEMU's defaults
#   kviommu-MODE-STRATEGY kviommu with this mode and strategy
#   kviommu-nested-KIND-HOW  kviommu in scalable mode, for the guest's kernel KIND, which is
#                         strict, lazy, in legacy mode (smoff) or in pass-through (pt),
#                         or is offered PASIDs (pasid); or (lesser) there is no such mode, as
#                         one of its devices cannot
#   nested-strict, -lazy  kviommu in scalable mode, with iommu.strict=1 or 0 in the guest
#   coiommu               kviommu-tracker, and a guest that does not know of it
#   coiommu-driver, -bounce  kviommu-tracker, and a guest with coiommu.ko; with all DMA through
#                         bounce buffers
#   coiommu-builtin       the same with a kernel whose other drivers are built in
#   coiommu-tracked       one of the two, as the guest's kernel is
# shellcheck shell=busybox

# Settings of the scripts that source this: the guest's kernel, its tasks (the last one is
# steps), more words of its command line, more arguments for its QEMU, and whether all exits are
# counted at any time.
# Counting slows the guest down, so by default it is on only where tracing_on is called.
guest_kind=lab guest_tasks=steps guest_append='' guest_qemu='' always_traced=0

sys=/sys/class/kviommu

tracing=/sys/kernel/tracing
page=0xfed90000		# address of q35's VT-d unit; demo-host checks it in guests' logs

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

# counted NAME: number of events since the last reset, including those that the buffer has
# lost
counted()
{
	cat $tracing/instances/"$1"/per_cpu/cpu*/stats |
		awk '/^(entries|overrun|dropped events):/ { n += $NF } END { print n + 0 }'
}

# tracker_page: the address of coIOMMU's registers, which is where the guest has put that BAR
tracker_page()
{
	tr -d '\r' <"$guest_log" | sed -n 's/^RESULT tracker=\(0x.*\)/\1/p' | tail -n 1
}

# count_page ADDRESS: count exits that the register page at this address causes
count_page()
{
	# A read causes two events: count only the one before the exit (type 0), not type 1.
	counter viommu_user kvm_mmio "type != 1 && gpa >= $(($1)) && gpa < $(($1 + 4096))"
	counter viommu_kvm kvm_page_fault \
		"fault_address >= $(($1)) && fault_address < $(($1 + 4096))"
}

set_up_counters()
{
	count_page $page
	counter all_user kvm_userspace_exit 'reason >= 0'
}

reset_counters()
{
	for dir in "$tracing"/instances/*; do echo >"$dir/trace"; done
}

# tracing_on 0|1: disable or enable the counters that slow the guest down
tracing_on()
{
	echo "$1" >"$tracing/instances/viommu_kvm/events/kvm/kvm_page_fault/enable"
	echo "$1" >"$tracing/instances/all_user/events/kvm/kvm_userspace_exit/enable"
}

# load_kviommu: load the module. Its polling thread gets the last processor, and all else
# runs on the others.
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

# release_worker: let the unit's worker, which polls in adaptive mode, run on all processors,
# also those that this script itself may not use.
# Else it would share those of the guest, while the one that sidecore mode has for polling
# does nothing.
release_worker()
{
	for unit in "$sys"/kviommu*; do
		[ -e "$unit" ] || return 0
		for task in /proc/"$(cat "$unit/pid")"/task/*; do
			[ "$(cat "$task/comm")" = "kviommu-${unit##*/kviommu}" ] || continue
			taskset -p "$(printf %x $(((1 << $(nproc --all)) - 1)))" "${task##*/}" >/dev/null
		done
	done
}

unload_kviommu() { rmmod kviommu || fail "kviommu.ko cannot be unloaded"; }

# host_nic: of two network cards that are connected to each other the host keeps one; $nic is
# the other one, for guests.
host_nic()
{
	nic=$(find-pci 8086:10d3 | sed -n 2p)
	eth=$(ls "/sys/bus/pci/devices/$(find-pci 8086:10d3 | sed -n 1p)/net")
	ip addr add 10.9.0.1/24 dev "$eth"
	ip link set "$eth" up
}

# await_disk: wait until the host's own driver has the NVMe disk
await_disk()
{
	for _ in $(seq 100); do
		[ ! -b /dev/nvme0n1 ] || return 0
		usleep 100000
	done
	fail "the host's nvme driver did not take the disk"
}

# await_value FILE VALUE: wait until the file has this value
await_value()
{
	for _ in $(seq 600); do
		[ "$(cat "$1")" != "$2" ] || return 0
		usleep 100000
	done
	return 1
}

# virtual_iommu CONFIG BDF...: QEMU's arguments for a guest with these devices
virtual_iommu()
{
	kviommu=intel-iommu,aw-bits=48,kviommu=on,iommufd=iommufd0
	case $1 in
	none) iommu='' ;;
	qemu-intel) iommu=intel-iommu,aw-bits=48,caching-mode=on,intremap=off ;;
	qemu-virtio-*) iommu=virtio-iommu-pci,aw-bits=48 ;;
	qemu-nested-*)
		iommu=intel-iommu,scalable-mode=on,fsts=on,caching-mode=on,intremap=off
		;;
	kviommu) iommu=$kviommu,kviommu-nested=off ;;
	nested-*) iommu=$kviommu,kviommu-nested=on ;;
	coiommu | coiommu-*) iommu="kviommu-tracker,iommufd=iommufd0" ;;
	kviommu-nested-*-lesser) iommu=$kviommu ;;
	kviommu-nested-*-pasid) iommu=$kviommu,kviommu-nested=on,kviommu-pasid=auto ;;
	kviommu-nested-*) iommu=$kviommu,kviommu-nested=on ;;
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
	qemu-*-strict | *nested-*strict) echo iommu.strict=1 ;;
	qemu-*-lazy | *nested-*lazy | *nested-*-pasid) echo iommu.strict=0 ;;
	kviommu-nested-*-smoff) echo intel_iommu=on,sm_off ;;
	kviommu-nested-*-pt) echo iommu=pt ;;
	coiommu-driver) echo coiommu= ;;
	coiommu-bounce) echo coiommu= swiotlb=force ;;
	coiommu-builtin) echo coiommu=reprobe=1 ;;
	coiommu-tracked)
		case $guest_kind in lab) echo coiommu=reprobe=1 ;; *) echo coiommu= ;; esac
		;;
	esac
}

# qemu_of CONFIG: the QEMU for it
qemu_of()
{
	case $1 in
	qemu-nested-*) echo /usr/bin/qemu-system-x86_64 ;;
	*) echo qemu-system-x86_64 ;;
	esac
}

# state: print all counters of the host, a line "NAME VALUE UNIT" for each.
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
	# utime (field 12) includes the guest's time (field 41).
	awk '{ sub(/.*\) /, ""); printf "cpu_guest %d ms\ncpu_vmm %d ms\ncpu_kernel %d ms\n",
		10 * $41, 10 * ($12 - $41), 10 * $13 }' "/proc/$pid/stat"
	for thread in $(pgrep -f '^kviommu-poll' || pgrep kviommu-poll); do
		cat "/proc/$thread/stat"
	done | awk '{ sub(/.*\) /, ""); n += $12 + $13 } END { printf "cpu_poll %d ms\n", 10 * n }'
}

# since_step PREFIX CONFIG NAME...: write the increase of these counters since the step
# began as metrics; of all counters if no NAME is given
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
# /tmp/steps has a line for each step that is left; the first one is the present step. A
# step begins when the guest asks for one, and ends when the guest asks again, with "failed"
# if it could not do the step. begin_STEP prints the command that the guest runs. The script
# that sources this defines begin_STEP and end_STEP, and calls "step PID HOW" when it is run
# with these arguments.

# step PID [failed]: end the present step, and print the command of the next one
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

# end_step [failed]: the present step has ended, or has failed.
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

# losses: number of guests that died and steps that failed so far
losses() { grep -cE '^(guests_died|failed\.)' /lab/metrics; }

begin_end() { echo end; }

# run_guest NAME CONFIG MIB VCPUS BDF...: run a guest that does /tmp/steps. Its results
# become metrics. If it dies, another guest continues with the same step, or with the next
# one if the step has killed two guests. Fails if a guest died or a step failed.
run_guest()
{
	name=$1 config=$2 memory=$3 vcpus=$4 died_of='' before=$(losses)
	shift 4
	export guest_log="/lab/$name.log"	# for begin_STEP and end_STEP
	bind-vfio "$@" >/dev/null
	echo end >>/tmp/steps
	while :; do
		: >/tmp/under-way
		status=0
		# shellcheck disable=SC2046,SC2086
		guest -q "$(qemu_of "$config")" -k "$guest_kind" -n "$name" -m "$memory" -t 900 \
			-c "$0 step" \
			-a "tasks=$guest_tasks earlycon=uart8250,io,0x3f8 $(append_of "$config") $guest_append" -- \
			-smp "$vcpus" $(virtual_iommu "$config" "$@") $guest_qemu || status=$?
		tracing_on $always_traced
		# Results of a step that the guest did not finish are dropped.
		tr -d '\r' <"/lab/$name.log" | awk '
			/^RESULT checkpoint=step/ { printf "%s", lines }
			/^RESULT checkpoint=/ { lines = "" }
			sub(/^RESULT metric=/, "") {
				sub(/\[ *[0-9.]*\].*/, "")	# cut a kernel message in the same line
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
