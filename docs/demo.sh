#!/usr/bin/env bash
# make demo: what is lost when a container is stopped, without an init, under tini if that is installed, and under foster;
# then orphans, and who asked. Needs python3 and util-linux, no root: everything runs in user and PID namespaces of its own,
# as a container does, and nothing is left behind.
set -euo pipefail

foster=${1:?usage: docs/demo.sh PATH_TO_FOSTER}
foster=$(realpath -- "$foster")
in_container=(unshare --user --map-root-user --pid --fork --mount-proc --kill-child --)

if ! "${in_container[@]}" true 2>/dev/null; then
    echo "demo: no user and PID namespace can be made here (unshare --user --pid), so there is nothing to show" >&2
    exit 1
fi
scratch=$(mktemp -d)
container=
# Ends what runs, if something does: --kill-child takes the namespace's PID 1 along, and the kernel all else in it.
stop_container() {
    if [[ -n $container ]]; then
        kill -KILL "$container" 2>/dev/null || true
        wait "$container" 2>/dev/null || true
        container=
    fi
}
clean_up() {
    stop_container
    rm -rf -- "$scratch"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM

# The interpreter itself: what is called python3 may be a wrapper script, and the demo is about who is whose parent.
mkdir "$scratch/bin"
ln -s "$(python3 -c 'import sys; print(sys.executable)')" "$scratch/bin/python3"
# Both, and the stand-in for npm below, are found in every container.
export PATH=$scratch/bin:$PATH
# Or what a server prints would wait in a buffer.
export PYTHONUNBUFFERED=1

title() { printf '\n== %s\n' "$*"; }
indent() { sed 's/^/   /' "$1"; }

# poll SECONDS COMMAND...: until the command succeeds; fails when it has not by then.
poll() {
    local tries=$(($1 * 50))
    shift
    until "$@"; do
        if ((--tries < 0)); then return 1; fi
        sleep 0.02
    done
}
must_poll() {
    poll "$@" && return
    echo "demo: waited in vain for: ${*:2}" >&2
    indent "$scratch/out" >&2
    exit 1
}

# Starts a container in the background and waits until its output has a word that says that it is ready. Not named
# otherwise, its PID 1 is what is signalled, by the number that it has outside.
start() {
    local ready=$1
    shift
    : >"$scratch/out"
    "${in_container[@]}" "$@" >"$scratch/out" 2>&1 &
    container=$!
    must_poll 10 grep -q -- "$ready" "$scratch/out"
    pid1=$(tr -d ' ' <"/proc/$container/task/$container/children")
    ((pid1 > 1))
}
ended() { ! kill -0 "$container" 2>/dev/null; }
# Waits for the end, and prints what was said and the exit code.
exit_code() {
    must_poll 10 ended
    local code=0
    wait "$container" || code=$?
    container=
    indent "$scratch/out"
    echo "   exit code $code"
}
# As docker stop: SIGTERM to PID 1, and after 10 s SIGKILL. Here that comes after 2 s.
docker_stop() {
    kill -TERM "$pid1"
    if poll 2 ended; then
        exit_code
        return
    fi
    indent "$scratch/out"
    echo "   2 s after the SIGTERM all of it still runs; 'docker stop' would wait 10 s, and then SIGKILL it"
    stop_container
}

# A server that has something to lose: what it was given is in memory, until it is asked to stop.
cat >"$scratch/server.py" <<'EOF'
import signal, sys, time

def stop(*_):
    print("server: got SIGTERM, writes the orders to the disk")
    time.sleep(0.5)
    with open(sys.argv[1], "w") as orders:
        orders.write("3")
    print("server: stopped")
    sys.exit(0)

signal.signal(signal.SIGTERM, stop)
print("server: 3 orders in memory")
while True:
    signal.pause()
EOF
# As many images have it: no exec before the last line, so the shell stays, and it is the shell that gets the signal.
cat >"$scratch/entrypoint.sh" <<EOF
cd /
python3 "$scratch/server.py" "$scratch/orders"
EOF
# What npm start does: it runs the line of package.json in a shell. At a SIGTERM it ends, and the server hears of nothing.
cat >"$scratch/bin/npm" <<EOF
#!/bin/sh
sh -c 'python3 "$scratch/server.py" "$scratch/orders"; :'
:
EOF
chmod +x "$scratch/bin/npm"

# stop_server COMMAND...: starts the server in this way and stops it; then, what became of the orders.
stop_server() {
    rm -f -- "$scratch/orders"
    start "orders in memory" "$@"
    docker_stop
    if [[ -e $scratch/orders ]]; then
        echo "   => the 3 orders are on the disk"
    else
        echo "   => the 3 orders are LOST: the server was killed without being asked"
    fi
}
under_tini() {
    if ! command -v tini >/dev/null; then
        printf '\n   (tini is not installed here; under it the orders are lost too)\n'
        return
    fi
    printf '\n   $ tini -- %s\n' "$1"
    stop_server tini -- "${@:2}"
}
under_foster() {
    printf '\n   $ foster -v -- %s\n' "$1"
    stop_server "$foster" -v -- "${@:2}"
}

title "1. A server behind a shell script is stopped, as 'docker stop' does it"
echo "   \$ sh entrypoint.sh          # its last line: python3 server.py"
stop_server sh "$scratch/entrypoint.sh"
under_tini "sh entrypoint.sh" sh "$scratch/entrypoint.sh"
under_foster "sh entrypoint.sh" sh "$scratch/entrypoint.sh"

title "2. The same with 'npm start', which has a shell start the server (a script plays npm here)"
under_tini "npm start" npm start
under_foster "npm start" npm start

# Four workers, each double-forked: its parent ends at once, and it belongs to PID 1. Two fail, two are killed. Then
# the job counts the zombies in its /proc, after 2 s at most for somebody to reap them.
cat >"$scratch/job.py" <<'EOF'
import os, signal, time

def state(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(") ")[2][0]
    except OSError:
        return "gone"

def poll(seconds, done):
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        time.sleep(0.01)

def zombies():
    return [pid for pid in os.listdir("/proc") if pid.isdigit() and state(pid) == "Z"]

workers = []
for number in range(4):
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        if os.fork() == 0:
            with open("/proc/self/comm", "w") as comm:
                comm.write(f"worker-{number}")
            os.write(writer, str(os.getpid()).encode())
            if number % 2 == 0:
                os._exit(23)
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(0)
    os.waitpid(parent, 0)
    workers.append(os.read(reader, 16).decode())
poll(5, lambda: all(state(pid) in ("Z", "gone") for pid in workers))
poll(2, lambda: not zombies())
print(f"the job: pid {os.getpid()}; its workers have ended; zombies in /proc: {len(zombies())}")
EOF

title "3. A job that leaves orphans, as PID 1 itself: nobody reaps them"
echo "   \$ python3 job.py"
"${in_container[@]}" python3 "$scratch/job.py" | sed 's/^/   /'

title "4. The same job under foster, -vv: each is reaped, and how it ended is printed"
echo "   \$ foster -vv -- python3 job.py"
"${in_container[@]}" "$foster" -vv -- python3 "$scratch/job.py" 2>&1 | sed 's/^/   /'

# Ends in its own way when asked to, as a server does that first finishes its requests.
cat >"$scratch/graceful.py" <<'EOF'
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("ready")
signal.pause()
EOF
title "5. A program that handles SIGTERM, asked by a shell in the container, as 'docker exec' does"
echo "   \$ foster -v -- python3 graceful.py"
start ready "$foster" -v -- python3 "$scratch/graceful.py"
# The shell stays, so that foster finds its name in /proc, until the namespace ends and it along with that.
{ nsenter --target "$pid1" --user --preserve-credentials --pid -- sh -c 'kill -TERM 1; sleep 5; :'; } 2>/dev/null || true
exit_code

echo
