#!/usr/bin/env bash
# foster as the init of a Docker Engine: its docker-init, and an image's ENTRYPOINT. The engine is this script's own: it has
# no network, no bridge and no firewall rule, keeps everything in a scratch directory, and ends with the script.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/images.sh"
export DOCKER_HOST=unix://$work/docker.sock DOCKER_CONFIG=$work/client DOCKER_BUILDKIT=0
engine='' made_etc=''
stop_engine() {
    if [ -n "$engine" ]; then
        docker ps -aq 2>/dev/null | xargs -r docker rm -f >/dev/null 2>&1 || true
        kill "$engine" && wait "$engine" || true
    fi
    remove_cgroups
    umount /etc/docker /usr/local/bin 2>/dev/null || true
    [ -z "$made_etc" ] || rmdir /etc/docker
    rm -rf "$work"
}
trap stop_engine EXIT

# The engine is started as docs/guide.md says; what makes it this script's own stands in its configuration. Mounts are the
# script's own as well: what is installed into /usr/local/bin is seen by nobody else.
mkdir -p "$work/bin" "$work/client" "$work/scratch" && mount --bind "$work/bin" /usr/local/bin
install "$FOSTER" "$work/scratch/foster" && install "$FIXTURE" "$work/scratch/fixture"
typed 'install foster ' "$work/scratch"
[ -d /etc/docker ] || { mkdir /etc/docker && made_etc=yes; }
mount -t tmpfs tmpfs /etc/docker
# 1: what it would set otherwise needs a privilege that may be missing, and 0 counts as not set.
cat >/etc/docker/daemon.json <<CONF
{
  "hosts": ["$DOCKER_HOST"], "data-root": "$work/data", "exec-root": "$work/exec", "pidfile": "$work/pid",
  "cgroup-parent": "/$cgroup", "storage-driver": "overlay2", "oom-score-adjust": 1, "log-level": "warn",
  "bridge": "none", "iptables": false, "ip6tables": false, "ip-forward": false, "ip-masq": false, "userland-proxy": false
}
CONF
dockerd=$(taken 'dockerd ')
$dockerd </dev/null >"$work/out" 2>&1 &
engine=$!
until_true 'the engine is up' docker version >/dev/null 2>&1

run() { # OPTION... IMAGE WORD...
    local code=0
    docker run --rm --network none "$@" >"$work/out" 2>&1 || code=$?
    echo $code
}
logged() { docker logs "$1" >"$work/out" 2>&1 && grep -q -- "$2" "$work/out"; } # CONTAINER TEXT
start() {                                                                       # TEXT OPTION... IMAGE WORD...
    docker run --detach --name app --network none "${@:2}" >/dev/null
    until_true 'the container is ready' logged app "$1"
}
ended() {
    docker wait app
    docker logs app >"$work/out" 2>&1
    docker rm --force app >/dev/null
}

printf 'FROM scratch\nCOPY fixture /fixture\nENV PATH=/\nUSER 65534:65534\n' >"$work/scratch/program"
printf 'FROM program\nCOPY foster /foster\nHEALTHCHECK --interval=1s CMD ["/foster", "--check"]\n%s\n' \
    'ENTRYPOINT ["/foster", "--"]' >"$work/scratch/under-foster"
for image in program under-foster; do
    docker build -q --network none -t $image -f "$work/scratch/$image" "$work/scratch" >"$work/out" 2>&1
done

typed 'docker info' >"$work/out" 2>/dev/null
echo "# docker info: $(grep 'init version' "$work/out" | sed 's/^ *//'); the machine: $(grep 'Cgroup Version' "$work/out" | sed 's/^ *//')"
is 'docker info knows its version' "$(said '^ *init version: N/A')" no
is '--init: the exit code is the command'\''s' "$(run --init program fixture exit 7)" 7

python_root "$work/python" && tar -C "$work/python" -c . | docker import "${PYTHON_ENV[@]}" - python:3-slim >/dev/null
typed 'docker run --rm --init ' >"$work/out" 2>&1 &
server=$!
listens() { docker exec "$(docker ps -q)" grep -q ':1F40 ' /proc/net/tcp >/dev/null 2>&1; }
until_true 'the server listens' listens
docker stop "$(docker ps -q)" >/dev/null
code=0 && wait $server || code=$?
is '--init: a server in an image without foster' $code 143
is '--init: no such command' "$(run --init program nonexistent)" 127
is '--init: killed by SIGSEGV' "$(run --init program fixture die 11)" 139
is '--init: 100 orphans are reaped' \
    "$(run --init program fixture orphans 100 1 apart) $(said '^reaped 100 zombies 0$')" '0 yes'
is '--init, with everything taken away' "$(run --read-only --cap-drop all --security-opt no-new-privileges \
    --pids-limit 20 --init program fixture orphans 3 1 apart)" 0
is '--init: out of memory' "$(run --memory 32m --init program fixture eat-memory) $(said "error: $OOM$")" '137 yes'
code=0
in_terminal docker run --rm -it --network none --init program fixture exit 6 >"$work/out" 2>&1 || code=$?
is '--init -it' $code 6
start ready --init program fixture delay
docker stop -t 20 app >/dev/null
is 'stop: SIGTERM reaches the command' "$(ended)" 42
start ready --init --stop-signal USR2 program fixture delay
docker stop -t 20 app >/dev/null
is '--stop-signal USR2' "$(ended)" 7
start ready under-foster fixture delay
docker exec app /foster --check >"$work/out" 2>&1 && code=0 || code=$?
is 'exec foster --check, in an image without a shell' "$code $(said '^healthy$')" '0 yes'
healthy() { [ "$(docker inspect --format '{{.State.Health.Status}}' app)" = healthy ]; }
until_true 'the HEALTHCHECK has been run' healthy
is 'HEALTHCHECK' "$(docker inspect --format '{{.State.Health.Status}}' app)" healthy
docker stop -t 20 app >/dev/null
is 'ENTRYPOINT of a FROM scratch image' "$(ended)" 42
is 'ENTRYPOINT and --init, both' "$(run --init under-foster fixture orphans 100 1 apart)" 0
start 'stubborn got 15' --env FOSTER_GRACE=1s under-foster fixture leave stubborn
docker stop -t 20 app >/dev/null
is 'FOSTER_GRACE: foster kills what is left' "$(ended) $(said 'SIGKILL')" '4 yes'
finished
