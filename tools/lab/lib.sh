# SPDX-License-Identifier: GPL-2.0
# Shared by the lab's scripts: where things are, progress, the build root.
# shellcheck shell=bash

set -euo pipefail

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
LAB=$TOP/tools/lab
BUILD=$TOP/build
ROOT_BUILD=$BUILD/root-build
ROOT_HOST=$BUILD/root-host
JOBS=${JOBS:-$(nproc)}
SUITE=trixie

say() { printf '[%4ds] %s\n' "$SECONDS" "$*" >&2; }
die() { printf 'lab: %s\n' "$*" >&2; exit 1; }

# logged LOG COMMAND...: run with all output in LOG and a sign of life on
# stderr every 20 s; on failure show the end of the log.
logged()
{
	local log=$1 pid rc=0 n=0
	shift
	mkdir -p "$(dirname "$log")"
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.5
		n=$((n + 1))
		if [ $((n % 40)) = 0 ]; then
			say "  ... $(tail -n 1 "$log" | cut -c 1-100)"
		fi
	done
	wait "$pid" || rc=$?
	if [ "$rc" != 0 ]; then
		tail -n 40 "$log" >&2
		die "'$*' failed ($rc), whole log: $log"
	fi
}

# The archive that this machine's own apt uses for Debian's packages.
mirror()
{
	local m
	m=$(debian_archive)
	# A fresh machine has no lists yet that say which archive is Debian's.
	[ -n "$m" ] || m=$(apt-get update >&2; debian_archive)
	[ -n "$m" ] || die "apt knows no Debian archive"
	echo "${m%/}"
}
debian_archive()
{
	apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' \
		'Created-By: Packages' 2>/dev/null |
		sed -n 's/^Debian|Debian|//p' | sort -u | sed -n 1p
}

# in_root COMMAND...: run in the build root, which sees this tree at the same
# path, in the tree's top directory. The compilers' cache goes by the dependencies that
# the compiler writes: for a file that it does not have yet, to preprocess it first would
# take four tenths of the time to compile it.
in_root()
{
	unshare --mount --propagation private bash -ec '
		root=$1 top=$2
		shift 2
		mkdir -p "$root$top"
		mount --bind "$top" "$root$top"
		mount -t proc proc "$root/proc"
		mount --rbind /dev "$root/dev"
		mount --rbind /sys "$root/sys"
		exec chroot "$root" /usr/bin/env -i \
			HOME=/root TERM=dumb LC_ALL=C.UTF-8 \
			PATH=/usr/lib/ccache:/usr/sbin:/usr/bin:/sbin:/bin \
			CCACHE_DIR="$top/build/ccache" CCACHE_DEPEND=1 \
			bash -c '\''cd "$0" && exec "$@"'\'' "$top" "$@"
	' in_root "$ROOT_BUILD" "$TOP" "$@"
}

# fresh STAMP FILE...: true if STAMP exists and records just these files.
stamp_of() { cat "$@" | sha256sum | cut -d ' ' -f 1; }
fresh()
{
	local stamp=$1
	shift
	[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(stamp_of "$@")" ]
}

# tap NAME COMMAND...: one test in TAP on stdout; all that COMMAND prints is
# kept in build/check/NAME.log and its end shown if it fails.
tap_n=0 tap_failed=0
tap()
{
	local name=$1 log pid rc=0 begin=$SECONDS
	shift
	log=$BUILD/check/$name.log
	mkdir -p "$BUILD/check"
	say "$name"
	tap_n=$((tap_n + 1))
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	wait "$pid" || rc=$?
	if [ "$rc" = 0 ]; then
		echo "ok $tap_n - $name # $((SECONDS - begin)) s"
	else
		tail -n 40 "$log" | sed 's/^/# /'
		echo "not ok $tap_n - $name # status $rc"
		tap_failed=$((tap_failed + 1))
	fi
}
tap_end()
{
	echo "1..$tap_n"
	echo "$((tap_n - tap_failed)) passed, $tap_failed failed"
	[ "$tap_failed" = 0 ]
}

# part NAME COMMAND...: one of several that print TAP and, as last line, "N passed, N
# failed", which they are added up by. What it prints is kept in build/part-NAME.log.
parts_passed=0 parts_failed=0
part()
{
	local log=$BUILD/part-$1.log line rc=0
	shift
	mkdir -p "$BUILD"
	"$@" | tee "$log" | sed '/^[0-9]* passed, [0-9]* failed$/d' || rc=$?
	line=$(tail -n 1 "$log" | grep -E '^[0-9]+ passed, [0-9]+ failed$') ||
		line="0 passed, 1 failed"
	parts_passed=$((parts_passed + ${line%% *}))
	line=${line#*, }
	parts_failed=$((parts_failed + ${line%% *}))
	[ "$rc" = 0 ] || [ "${line%% *}" != 0 ] || parts_failed=$((parts_failed + 1))
}
parts_end()
{
	echo "$parts_passed passed, $parts_failed failed"
	[ "$parts_failed" = 0 ]
}
