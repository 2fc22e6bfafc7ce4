#!/usr/bin/env bash
# make demo: one job and one server, each first as PID 1 itself and then under foster. Needs python3 and util-linux, no
# root: everything runs in user and PID namespaces of its own, as a container does, and nothing is left behind.
set -euo pipefail

foster=${1:?usage: docs/demo.sh PATH_TO_FOSTER}
foster=$(realpath -- "$foster")
in_container=(unshare --user --map-root-user --pid --fork --mount-proc --kill-child --)

if ! "${in_container[@]}" true 2>/dev/null; then
    echo "demo: no user and PID namespace can be made here (unshare --user --pid), so there is nothing to show" >&2
    exit 1
fi
# The interpreter itself: what is called python3 may be a wrapper script, and the demo is about who is whose parent.
python=$(python3 -c 'import sys; print(sys.executable)')

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
trap 'exit 130' INT
trap 'exit 143' TERM

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
    indent "$scratch/err" >&2
    exit 1
}

# Starts a container in the background and waits until its output has a word that says that it is ready. Not named
# otherwise, its PID 1 is what is signalled, by the number that it has outside.
start() {
    local ready=$1
    shift
    : >"$scratch/out"
    # PYTHONUNBUFFERED: or the word waits in a buffer.
    PYTHONUNBUFFERED=1 "${in_container[@]}" "$@" >"$scratch/out" 2>"$scratch/err" &
    container=$!
    must_poll 10 grep -q -- "$ready" "$scratch/out"
    pid1=$(tr -d ' ' <"/proc/$container/task/$container/children")
    ((pid1 > 1))
}
ended() { ! kill -0 "$container" 2>/dev/null; }
# Waits for the end, and says the exit code.
exit_code() {
    must_poll 10 ended
    local code=0
    wait "$container" || code=$?
    container=
    indent "$scratch/err"
    echo "   exit code $code"
}

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

title "1. A job that leaves orphans, as PID 1 itself: nobody reaps them"
echo "   \$ python3 job.py"
"${in_container[@]}" "$python" "$scratch/job.py" >"$scratch/out" 2>"$scratch/err"
indent "$scratch/out"

title "2. The same job under foster, -vv: each is reaped, and said in full"
echo "   \$ foster -vv -- python3 job.py"
"${in_container[@]}" "$foster" -vv -- "$python" "$scratch/job.py" >"$scratch/out" 2>"$scratch/err"
indent "$scratch/err"
indent "$scratch/out"

# Any port that is free, on the loopback address, and an empty directory: it only has to run.
mkdir "$scratch/empty"
server=("$python" -m http.server 0 --bind 127.0.0.1 --directory "$scratch/empty")

title "3. A server as PID 1 itself is sent SIGTERM from outside, as 'docker stop' does"
echo "   \$ python3 -m http.server"
start Serving "${server[@]}"
kill -TERM "$pid1"
if poll 2 ended; then
    echo "   it has ended"
else
    echo "   2 s later it still runs: for PID 1 the kernel drops a signal that it has no handler for"
fi
stop_container

title "4. The same server under foster, -v: the signal reaches it (143 is 128 + 15, SIGTERM)"
echo "   \$ foster -v -- python3 -m http.server"
start Serving "$foster" -v -- "${server[@]}"
kill -TERM "$pid1"
exit_code

# Ends in its own way when asked to, as a server does that first finishes its requests.
cat >"$scratch/graceful.py" <<'EOF'
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("ready")
signal.pause()
EOF
title "5. A program that handles SIGTERM, asked by a shell in the container, as 'docker exec' does"
echo "   \$ foster -v -- python3 graceful.py"
start ready "$foster" -v -- "$python" "$scratch/graceful.py"
# The shell stays, so that foster finds its name in /proc, until the namespace ends and it along with that.
{ nsenter --target "$pid1" --user --preserve-credentials --pid -- sh -c 'kill -TERM 1; sleep 5; :'; } 2>/dev/null || true
exit_code

echo
