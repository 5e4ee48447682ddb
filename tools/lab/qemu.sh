# SPDX-License-Identifier: GPL-2.0
# Shared by make-qemu and make-emulator: QEMU from Debian's source package, with patches.
# shellcheck shell=bash

qemu_source=$BUILD/src/qemu

qemu_unpack()
{
	[ ! -f "$qemu_source/.unpacked" ] || return 0
	say "unpacking QEMU's source package"
	rm -rf "$qemu_source" "$BUILD"/src/qemu_*
	logged "$BUILD/src/log-qemu" in_root apt-get update
	logged "$BUILD/src/log-qemu" in_root sh -c '
		cd build/src && apt-get source --download-only qemu &&
		dpkg-source --no-check -x qemu_*.dsc qemu'
	touch "$qemu_source/.unpacked"
}

# make_qemu NAME [-p PATCH]... [-c FILES TARGET]...: in build/NAME the source, patched and
# with each FILES (a file or directory) copied into its directory TARGET, is built and
# installed as root. Does nothing if nothing has changed. What is built second comes from the
# compilers' cache for the most part: both are configured alike, with what either needs, all
# paths are relative to build/NAME and there is no debug information with others. Debian's
# ccache stands in for gcc, not for cc.
make_qemu()
{
	local name=$1 out=$BUILD/$1 patches=() copies=() targets=() inputs new rom n
	shift
	while [ $# -gt 0 ]; do
		case $1 in
		-p) patches+=("$2"); shift 2 ;;
		-c) copies+=("$2") targets+=("$3"); shift 3 ;;
		esac
	done

	"$LAB/make-build-root"
	mkdir -p "$out" "$BUILD/src"
	exec 9>"$BUILD/src/qemu.lock"
	flock 9
	mapfile -t inputs < <(find "${patches[@]}" "${copies[@]}" -type f | sort)
	inputs+=("$0" "$LAB/qemu.sh")
	fresh "$out/.stamp" "${inputs[@]}" && return
	qemu_unpack

	# A fresh copy each time, but files that come out as they were keep their time,
	# so that only what changed is built again.
	new=$out/src.new
	rm -rf "$new"
	cp -a "$qemu_source" "$new"
	for n in "${patches[@]}"; do
		logged "$out/log-patch" in_root \
			patch -d "$new" -p1 --fuzz=0 --no-backup-if-mismatch -i "$n"
	done
	for n in "${!copies[@]}"; do cp -r "${copies[n]}" "$new/${targets[n]}"; done
	mkdir -p "$out/src"
	in_root rsync -rlpc --delete "$new/" "$out/src"
	rm -rf "$new"

	set -- --cc=gcc --prefix=/opt/qemu --target-list=x86_64-softmmu \
		--without-default-features --enable-kvm --enable-tcg --enable-plugins \
		--enable-attr --enable-virtfs --enable-vhost-kernel --enable-vhost-net \
		--disable-debug-info --disable-download --disable-install-blobs \
		--disable-docs --disable-tools --disable-user --disable-guest-agent
	if [ "$(cat "$out/build/.configured" 2>/dev/null)" != "$*" ]; then
		say "configuring QEMU for build/$name"
		rm -rf "$out/build"
		mkdir -p "$out/build"
		# shellcheck disable=SC2016 # the shell in there expands it
		logged "$out/log-config" in_root sh -c \
			'cd "build/$0/build" && ../src/configure "$@"' "$name" "$@"
		echo "$*" >"$out/build/.configured"
	fi
	say "building QEMU for build/$name"
	logged "$out/log" in_root env CCACHE_BASEDIR="$out" \
		ninja -C "build/$name/build" -j "$JOBS" qemu-system-x86_64

	# The boot programs are not in Debian's source: they come from its packages.
	new=$out/root.new
	rm -rf "$new"
	mkdir -p "$new"/{bin,share/qemu}
	cp "$out/build/qemu-system-x86_64" "$new/bin/"
	cp -L "$ROOT_BUILD"/usr/share/seabios/{bios-256k,vgabios-stdvga}.bin \
		"$ROOT_BUILD"/usr/share/qemu/{kvmvapic,linuxboot_dma,multiboot_dma,pvh}.bin \
		"$new/share/qemu/"
	for rom in "$ROOT_BUILD"/usr/share/qemu/efi-*.rom; do
		if [ -e "$rom" ]; then cp -L "$rom" "$new/share/qemu/"; fi
	done
	rm -rf "$out/root"
	mv "$new" "$out/root"
	stamp_of "${inputs[@]}" >"$out/.stamp"
	say "built QEMU for build/$name"
}
