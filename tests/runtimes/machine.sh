#!/usr/bin/env bash
# foster on another architecture's own kernel: a virtual machine that has Debian's kernel, busybox, foster and the fixture.
# Under qemu-user a vfork is a fork, there is no subreaper, and the system calls are this machine's; here all of that is real.
#   machine.sh ARCH, with $FOREIGN (what tests/foreign.sh has unpacked), $BUILDS (cargo's target/) and $MACHINES (qemu-system-*)
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
trap 'rm -rf "$work"' EXIT

arch=$1
read -r _ target _ debian _ < <(grep "^$arch " "$here/../../packaging/architectures")
case $arch in
armv7) qemu=(qemu-system-arm -M virt -cpu max) console=ttyAMA0 ;;
aarch64) qemu=(qemu-system-aarch64 -M virt -cpu max) console=ttyAMA0 ;;
s390x) qemu=(qemu-system-s390x -M s390-ccw-virtio -cpu max) console=ttysclp0 ;;
ppc64le) qemu=(qemu-system-ppc64 -M pseries -cpu POWER9 -machine 'cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off') console=hvc0 ;;
esac

machine=$work/machine
mkdir -p "$machine"/{bin,dev,etc,proc,sys,tmp}
install "$FOREIGN/$debian/bin/busybox" "$machine/bin/busybox"
for name in sh id sleep cat unshare; do ln -s busybox "$machine/bin/$name"; done
install "$BUILDS/$target/release/foster" "$BUILDS/$target/release/examples/"{fixture,unit} "$machine/bin"
echo 'app:x:100000:200000::/:/bin/sh' >"$machine/etc/passwd"
printf '%s\n' 'a:x:1500:app' 'b:x:1600:app' 'c:x:170000:app' >"$machine/etc/group"
echo "/dev/$console" >"$machine/etc/terminal"
cat >"$machine/init" <<'INIT'
#!/bin/sh
export PATH=/bin
read -r terminal </etc/terminal
busybox mount -t proc proc /proc; busybox mount -t devtmpfs dev /dev
# The kernel's last line may have no end.
echo
scene() { echo "== $1"; shift; "$@" </dev/null 2>&1; echo "code $?"; }
one='unshare --pid --fork --mount-proc'
scene orphans $one foster -vv -- fixture orphans 100 2 apart
scene subreaper foster -vv --wait sh -c '(sh -c "exit 23" &)'
scene not-found foster nonexistent
scene not-executable $one foster /etc/passwd
scene user foster -u app sh -c 'echo $(id -u) $(id -g) $(id -G)'
scene queue foster fixture queue 1000
scene leftovers $one foster --grace=1s -- fixture leave plain setsid stubborn
scene killed foster fixture die 36
scene figures foster -vv --wait sh -c '(sh -c "i=0; while [ \$i -lt 60000 ]; do i=\$((i+1)); done; exit 7" &)'
scene unit unit sys::
echo '== terminal'
# The first terminal that a session's leader opens is its own.
busybox setsid sh -c "exec foster fixture state <$terminal >$terminal 2>&1"
echo "code $?"
echo '== end'
busybox poweroff -f
INIT
chmod 755 "$machine/init"
(cd "$machine" && find . | busybox cpio -o -H newc 2>/dev/null) >"$work/initrd"
kernel=$(find "$FOREIGN/$debian/boot" -name 'vmlinu[xz]-*')
timeout 240 "$MACHINES/bin/${qemu[0]}" -L "$MACHINES/usr/share/qemu" "${qemu[@]:1}" -accel tcg -m 512 -nodefaults \
    -no-user-config -display none -serial stdio -no-reboot -kernel "$kernel" -initrd "$work/initrd" \
    -append "console=$console quiet loglevel=1 panic=-1" </dev/null 2>&1 | tr -d '\r' >"$work/said" || true
cp "$work/said" "$work/out"
sed 's/^/# /' "$work/said"

# What one scene has said, up to the next.
scene() { sed -n "/^== $1\$/,/^== /p" "$work/said" >"$work/out"; } # NAME
is 'it came to its end' "$(said '^== end$')" yes
scene orphans
is '200 orphans are reaped' "$(said '^reaped 200 zombies 0$') $(said '^code 0$')" 'yes yes'
is 'each of them is said' "$(grep -c 'debug: reaped orphan ' "$work/out")" 200
scene subreaper
is 'a subreaper reaps too' "$(said 'reaped orphan .*: exited with status 23,') $(said 'cannot become a subreaper')" 'yes no'
scene not-found
is 'what the child could not execute its parent says' "$(said 'error: .*nonexistent.*') $(said '^code 127$')" 'yes yes'
scene not-executable
is 'also as PID 1' "$(said 'error: .*/etc/passwd') $(said '^code 126$')" 'yes yes'
scene user
is 'another user, with all groups' "$(said '^100000 200000 200000 1500 1600 170000$')" yes
scene queue
is 'queued signals keep their values' "$(said '^in order 1000$') $(said '^code 0$')" 'yes yes'
scene leftovers
is 'leftovers are stopped and then killed' "$(said '^plain got 15$') $(said 'SIGKILL to 1 process: ') $(said '^code 4$')" 'yes yes yes'
scene killed
is 'a real-time signal ends the command, and foster' "$(said '^code 164$')" yes
scene figures
is 'what an orphan used' "$(said 'exited with status 7, .* CPU [0-9.]*[1-9][0-9.]* s, max RSS [1-9]')" yes
scene unit
is 'the unit tests of the system calls' "$(said '^test result: ok\. [1-9][0-9]* passed; 0 failed; 0 ignored;') $(said '^code 0$')" 'yes yes'
scene terminal
is 'the command gets the terminal' "$(said 'terminal: in the foreground')" yes
finished
