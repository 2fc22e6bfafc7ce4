#!/usr/bin/env bash
# Unpacks Debian's kernel and its static busybox for other architectures, and installs neither: foreign.sh FOLDER
# FOLDER/ARMHF/boot and FOLDER/ARMHF/bin, for example. tests/runtimes/machine.sh starts virtual machines from them.
set -euo pipefail
mkdir -p "$(dirname -- "$1")"
folder=$(realpath -- "$1")
# Only Debian's mirrors have all of them. Elsewhere FOLDER stays empty, and the test says so.
if ! grep -qx 'ID=debian' /etc/os-release; then
    mkdir -p -- "$folder"
    exit
fi
kernels=(linux-image-armmp:armhf linux-image-cloud-arm64:arm64 linux-image-s390x:s390x linux-image-powerpc64le:ppc64el)
new=$folder.new
rm -rf -- "$new"
mkdir -p -- "$new/apt/lists/partial" "$new/apt/cache/archives/partial" "$new/debs"
options=(-qq -o "Dir::State::Lists=$new/apt/lists" -o "Dir::Cache=$new/apt/cache" -o "APT::Sandbox::User=$(id -un)")
options+=(-o Acquire::Languages=none -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
options+=(-o "APT::Architectures::=$(dpkg --print-architecture)")
for kernel in "${kernels[@]}"; do options+=(-o "APT::Architectures::=${kernel#*:}"); done
cd -- "$new/debs"
# A mirror may have no security updates for one of them, which is no reason to have none of the others.
apt-get "${options[@]}" update || true
for kernel in "${kernels[@]}"; do
    # The package without a version depends on the one that has the kernel.
    versioned=$(apt-cache "${options[@]}" depends "$kernel" | awk '/Depends: linux-image-/ { print $2; exit }')
    apt-get "${options[@]}" download "$versioned" "busybox-static:${kernel#*:}"
done
for deb in *.deb; do
    dpkg -x "$deb" "$new/whole"
    into=$new/$(dpkg -f "$deb" Architecture)
    mkdir -p "$into/boot" "$into/bin"
    find "$new/whole/boot" -name 'vmlinu[xz]-*' -exec mv {} "$into/boot" \; 2>/dev/null || true
    if [[ -e $new/whole/bin/busybox ]]; then mv "$new/whole/bin/busybox" "$into/bin"; fi
    rm -rf "$new/whole"
done
cd /
rm -rf -- "$new/debs" "$new/apt" "$folder"
mv -- "$new" "$folder"
