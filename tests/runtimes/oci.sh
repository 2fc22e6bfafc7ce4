#!/usr/bin/env bash
# foster as PID 1 of an OCI runtime's containers, in which there is nothing but a static program: oci.sh crun|runc
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/bundle.sh"
runtime=$1
bundle=$work/bundle

oci() { "$runtime" --root "$work/state" "$@"; }
trap 'oci delete --force app >/dev/null 2>&1 || true; remove_cgroups; rm -rf "$work"' EXIT

# Runs the container to its end, with what it says in $work/out, and prints its exit code.
run() { # WORD...
    configure "$bundle" false "$@"
    local code=0
    oci run --bundle "$bundle" app >"$work/out" 2>&1 || code=$?
    echo $code
}

# Starts it, and waits until it has said something.
start() { # WORD...
    : >"$work/out"
    configure "$bundle" false "$@"
    oci run --bundle "$bundle" app <&0 >>"$work/out" 2>&1 &
    until_true "the container is ready" grep -q ready "$work/out"
}

# Waits for the end of what start started.
ended() { code=0; wait $! || code=$?; }

make_bundle "$bundle"
is 'the exit code is the command'\''s' "$(run /foster -- fixture exit 7)" 7
is 'no such command: 127' "$(run /foster -- nonexistent)" 127
is 'not executable: 126' "$(run /foster -- /text)" 126
is 'a bad option: 125' "$(run /foster --nonsense)" 125
is 'killed by SIGSEGV: 139' "$(run /foster -- fixture die 11)" 139
run /foster -v -- fixture exit 0 >/dev/null
is 'foster is PID 1' "$(said '^foster\[1\]: info: started command fixture as pid ')" yes
is '100 orphans are reaped' "$(run /foster -- fixture orphans 100 1 apart) $(said '^reaped 100 zombies 0$')" '0 yes'
is 'a daemon that the command left is stopped' \
    "$(run /foster -- fixture leave setsid daemon) $(said '^setsid got 15$') $(said '^daemon got 15$')" '4 yes yes'
is 'one that does not end is killed' "$(run /foster -k1 -- fixture leave stubborn) $(said 'SIGKILL')" '4 yes'
configure "$bundle" true /foster -- fixture exit 6
code=0; in_terminal "$runtime" --root "$work/state" run --bundle "$bundle" app >"$work/out" 2>&1 || code=$?
is 'in a terminal' $code 6

# Not one that ends by any signal: runc 1.1 passes on its own SIGURG, by which Go takes turns between goroutines.
start /foster -- fixture delay
oci kill app TERM
ended
is 'a signal of the runtime'\''s reaches the command' $code 42

start /foster -- fixture runner 1000
oci exec app /foster --check >"$work/check" 2>&1 && healthy=0 || healthy=$?
is 'the health probe, a second process in the container' \
    "$healthy $(grep -c '^zombies: 1000 (limit 100)$' "$work/check")" '1 1'
oci kill app USR1
until_true 'the runner is mended' grep -q mended "$work/out"
oci exec app /foster --check >"$work/check" 2>&1 && healthy=0 || healthy=$?
is 'and healthy again' $healthy 0
oci kill app TERM
ended
is 'it stops' $code 42

: >"$bundle/termination-log"
MEMORY=33554432
is 'out of memory: 137' "$(run /foster -- fixture eat-memory)" 137
is 'out of memory: the error line' "$(said "^foster\[1\]: error: $OOM$")" yes
cp "$bundle/termination-log" "$work/out"
is 'out of memory: the termination log' "$(said "^foster: $OOM$") $(said '^foster: finished: exit code 137;')" 'yes yes'
finished
