#!/usr/bin/env bash
# Unpacks Debian's packages, with what they depend on, and installs none: unpack.sh FOLDER PACKAGE...
# So no service of theirs is started, now or at the next boot, no file format is registered with the kernel, and the machine
# stays as it was. What is installed already is not fetched, and is run from where it is. Needs no root: what apt knows of
# the packages lies beside FOLDER, in apt. FOLDER/bin has a script for each program, which shows it its libraries.
set -euo pipefail
mkdir -p "$(dirname -- "$1")"
folder=$(realpath -- "$1")
shift
apt=$(dirname -- "$folder")/apt
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
options=(-qq -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o "APT::Sandbox::User=$(id -un)")
# Small: no translations, compressed lists, and no second form of them.
options+=(-o Acquire::Languages=none -o Acquire::GzipIndexes=true -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
# Moved to its name when it is whole.
new=$folder.new
rm -rf -- "$new"
mkdir -p -- "$new/debs"
cd -- "$new/debs"
apt-get "${options[@]}" update
apt-get "${options[@]}" install --simulate --no-install-recommends "$@" | awk '/^Inst/ { print $2 }' |
    xargs -r apt-get "${options[@]}" download
find . -name '*.deb' -exec dpkg -x {} "$new" \;
cd /
rm -r -- "$new/debs"
mkdir -p -- "$new/bin" "$new/usr/bin"
# fish looks there whether it has been moved.
ln -s ../etc "$new/usr/etc"
# Some packages still have their libraries in /lib.
libraries=$folder/usr/lib/$(uname -m)-linux-gnu:$folder/lib/$(uname -m)-linux-gnu
for program in "$new"/usr/bin/*; do
    [[ -x $program ]] || continue
    name=${program##*/}
    printf '#!/bin/sh\nLD_LIBRARY_PATH=%q exec %q "$@"\n' "$libraries" "$folder/usr/bin/$name" \
        >"$new/bin/$name"
    chmod 755 "$new/bin/$name"
done
rm -rf -- "$folder"
mv -- "$new" "$folder"
