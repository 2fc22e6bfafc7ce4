#!/usr/bin/env bash
# foster under a cgroup v2 alone, as on today's hosts: a container of crun's in a virtual machine that has nothing else.
# $KERNEL is a kernel image. Emulated: a /dev/kvm in a virtual machine may open and then hang.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/bundle.sh"
trap 'rm -rf "$work"' EXIT

machine=$work/machine
mkdir -p "$machine"/{bin,proc,sys,dev,tmp,run}
cp -L "$(command -v busybox)" "$machine/bin/busybox" && ln -s busybox "$machine/bin/sh"
crun=$(command -v crun)
for file in "$crun" $(ldd "$crun" | grep -o '/[^ ]*'); do install -D "$file" "$machine$file"; done
make_bundle "$machine/bundle"
cgroup=foster
# A container for each: the paths in the configuration are those in the machine.
for words in 'eat-memory' 'orphans 100 1 apart' 'runner 1000'; do
    name=${words%% *}
    mkdir -p "$machine/bundle/$name" && ln -s ../rootfs "$machine/bundle/$name/rootfs"
    MEMORY=67108864 configure "$machine/bundle/$name" false /foster -- fixture $words
    sed -i "s|$machine/bundle/$name/termination-log|/bundle/termination-log|" "$machine/bundle/$name/config.json"
done
cat >"$machine/init" <<INIT
#!/bin/sh
export PATH=/bin:$(dirname "$crun")
alias b=busybox
b mount -t proc proc /proc; b mount -t sysfs sysfs /sys; b mount -t devtmpfs dev /dev
b mount -t tmpfs tmpfs /run; b mount -t cgroup2 cgroup2 /sys/fs/cgroup
run() { crun run --no-pivot -b /bundle/\$1 app </dev/null 2>&1; echo "\$1: exit code \$?"; }
run eat-memory; b cat /bundle/termination-log
run orphans
crun run --no-pivot -b /bundle/runner app </dev/null >/run/out 2>&1 &
until b grep -q ready /run/out; do b sleep 0.1; done
crun exec app /foster --check; echo "check: exit code \$?"
crun kill app TERM; wait \$!; echo "runner: exit code \$?"
b poweroff -f
INIT
chmod 755 "$machine/init"
(cd "$machine" && find . | busybox cpio -o -H newc 2>/dev/null) >"$work/initrd"
timeout 240 qemu-system-x86_64 -accel tcg -cpu max -m 512 -nodefaults -no-user-config -display none -serial stdio -no-reboot \
    -kernel "$KERNEL" -initrd "$work/initrd" -append 'console=ttyS0 quiet loglevel=1 panic=-1' </dev/null 2>&1 |
    tr -d '\r' >"$work/out" || true
sed 's/^/# /' "$work/out"
is 'the exit code after an OOM kill' "$(said '^eat-memory: exit code 137$')" yes
is 'the error line' "$(said "^foster\[1\]: error: $OOM$")" yes
is 'the termination log' "$(said "^foster: $OOM$") $(said '^foster: finished: exit code 137;')" 'yes yes'
is '100 orphans are reaped' "$(said '^reaped 100 zombies 0$') $(said '^orphans: exit code 0$')" 'yes yes'
is 'the health probe: pids.max of the container' "$(said '^pids: .* of 1200 \(cgroup pids.max\)') $(said '^check: exit code 1$')" 'yes yes'
is 'a stop' "$(said '^runner: exit code 42$')" yes
finished
