#!/usr/bin/env bash
# foster under podman: as its --init, as an image's ENTRYPOINT, in the images of Dockerfile.example and in pods.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
. "$here/images.sh"
top=$here/../..
# After an OOM kill conmon leaves an empty file "oom" in the directory that podman was started from.
cd "$work"

. "$here/podman-setup.sh"

run() { # OPTION... IMAGE WORD...
    local code=0
    podman run --rm "$@" >"$work/out" 2>&1 || code=$?
    echo $code
}
logged() { podman logs "$1" >"$work/out" 2>&1 && grep -q -- "$2" "$work/out"; } # CONTAINER TEXT
start() {                                                                        # TEXT OPTION... IMAGE WORD...
    podman run --detach --name app "${@:2}" >/dev/null
    until_true 'the container is ready' logged app "$1"
}
# Prints the exit code of a container that has been stopped, leaves what it said in $work/out, and removes it.
ended() { # [CONTAINER]
    podman wait "${1:-app}"
    podman logs "${1:-app}" >"$work/out" 2>&1
    podman rm --force --time 0 "${1:-app}" >/dev/null
}

# An image that holds a static program alone, and one with foster in front of it.
mkdir "$work/scratch"
install "$FOSTER" "$work/scratch/foster" && install "$FIXTURE" "$work/scratch/fixture"
printf 'FROM scratch\nCOPY fixture /fixture\nENV PATH=/\nUSER 65534:65534\n' |
    podman build -q --network none -t program -f - "$work/scratch" >/dev/null
printf 'FROM program\nCOPY foster /foster\nENTRYPOINT ["/foster", "--"]\nCMD ["fixture", "delay"]\n' |
    podman build -q --network none --pull=never -t under-foster -f - "$work/scratch" >/dev/null

# podman mounts it as /run/podman-init, by which name foster does as catatonit does.
init=(--init --init-path "$FOSTER")
is '--init: the exit code is the command'\''s' "$(run "${init[@]}" program fixture exit 7)" 7
is '--init: no such command, 1 as catatonit has it' "$(run "${init[@]}" program nonexistent)" 1
is '--init: killed by SIGSEGV' "$(run "${init[@]}" program fixture die 11)" 139
is '--init: 100 orphans are reaped' \
    "$(run "${init[@]}" program fixture orphans 100 1 apart) $(said '^reaped 100 zombies 0$')" '0 yes'
is '--init, with everything taken away' "$(run --read-only --cap-drop all --security-opt no-new-privileges \
    --pids-limit 20 "${init[@]}" program fixture orphans 3 1 apart)" 0
is '--init: out of memory' "$(run --memory 32m "${init[@]}" program fixture eat-memory) $(said "error: $OOM$")" '137 yes'
code=0
in_terminal "${PODMAN[@]}" run --rm -it "${init[@]}" program fixture exit 6 >"$work/out" 2>&1 || code=$?
is '--init, in a terminal' $code 6

start ready "${init[@]}" program fixture delay
podman stop --time 20 app >/dev/null
is 'stop --time: SIGTERM reaches the command' "$(ended)" 42
start ready "${init[@]}" --stop-signal USR2 program fixture delay
podman stop --time 20 app >/dev/null
is '--stop-signal USR2' "$(ended)" 7
start ready "${init[@]}" program fixture delay
podman kill --signal RTMIN+3 app >/dev/null
until_true 'the signal has arrived' logged app 'got 37'
podman kill --signal TERM app >/dev/null
is 'kill --signal RTMIN+3, then TERM' "$(ended)" 42
start 'stubborn got 15' "${init[@]}" --env FOSTER_GRACE=60s program fixture leave stubborn
podman stop --time 1 app >/dev/null 2>&1
is 'FOSTER_GRACE, stop --time 1: SIGKILL by podman' "$(ended)" 137

is 'ENTRYPOINT: no such command' "$(run under-foster nonexistent)" 127
start ready under-foster
podman exec app /foster --check >"$work/out" 2>&1 && code=0 || code=$?
is 'exec foster --check, in an image without a shell' "$code $(said '^healthy$')" '0 yes'
podman stop --time 20 app >/dev/null
is 'ENTRYPOINT of a FROM scratch image' "$(ended)" 42
start 'stubborn got 15' --env FOSTER_GRACE=1s under-foster fixture leave stubborn
is 'FOSTER_GRACE: foster kills what is left, with a line' "$(podman stop --time 20 app >/dev/null; ended)" 4

# From here on, the command lines of the documents, in which docker is podman with the images that are here.
docker() {
    case $1 in
    build) podman build --network none --pull=never "${BUILD_MOUNTS[@]}" "${@:2}" ;;
    *) podman "$@" ;;
    esac
}
import() { # NAME ROOT CHANGE...
    tar -C "$2" -cf "$work/image.tar" .
    podman import -q "${@:3}" "$work/image.tar" "$1" >/dev/null 2>&1
}
busybox_root "$work/busybox" && import busybox:1 "$work/busybox"
rust_root "$work/rust" && import rust:1-alpine "$work/rust" "${RUST_ENV[@]}"
python_root "$work/python" && import python:3-slim "$work/python" "${PYTHON_ENV[@]}"
build() { typed "docker build -f Dockerfile.example $1 \.$" >"$work/out" 2>&1 && echo built; } # OPTIONS
is 'Dockerfile.example, --target foster' "$(build '--target foster -t foster')" built
is 'it is the same version' "$(run foster --version) $(cat "$work/out")" "0 $("$FOSTER" --version)"
# For another machine, whose standard library the compiler has. The architecture is in the header of an ELF file. podman 4.3
# knows no BUILDPLATFORM.
build_for() { # ARCHITECTURE
    (cd "$top" && docker build --platform "linux/$1" --build-arg "BUILDPLATFORM=$(podman info -f '{{.Host.OS}}/{{.Host.Arch}}')" \
        -f Dockerfile.example --target foster -t "other:$1" . >"$work/out" 2>&1)
}
other=arm64 elf_machine=b700
if [ "$(uname -m)" = aarch64 ]; then other=amd64 elf_machine=3e00; fi
build_for $other && podman create --name other --platform linux/$other --pull=never other:$other >"$work/out" 2>&1 || true
# Not by pipes: podman does not end when nobody reads the rest.
mkdir "$work/other" && podman export -o "$work/other/image.tar" other && tar -C "$work/other" -xf "$work/other/image.tar" foster
is 'Dockerfile.example, for another machine' "$(od -A n -t x1 -j 18 -N 2 "$work/other/foster" | tr -d ' ')" $elf_machine
podman rm other >/dev/null 2>&1 || true
build_for mips64le && code=0 || code=$?
is 'Dockerfile.example, for a machine that it does not know' \
    "$code $(said '^Dockerfile.example builds nothing for mips64le$')" '1 yes'
is 'Dockerfile.example, --target foster-installer' \
    "$(build '--target foster-installer -t foster-installer') $(build '--target foster-installer -t foster-installer:1.0')" \
    'built built'
is 'Dockerfile.example' "$(build '-t app') $(build '-t app:1.0')" 'built built'
typed 'docker run -d --name app ' >/dev/null
until_true 'the server is up' logged app 'Booting worker'
typed 'docker exec app ' >"$work/out" 2>&1 && code=0 || code=$?
is 'its server is healthy' "$code $(said '^healthy$')" '0 yes'
typed 'docker stop app$' >/dev/null
is 'and stops gracefully' "$(ended) $(said 'Shutting down: Master')" '0 yes'

# The first Dockerfile of the README, as a reader pastes it.
sed -n '/^```dockerfile$/,/^```$/p' "$top/README.md" | sed '1d;/^```$/,$d' >"$work/scratch/README"
docker build -q -t pasted -f "$work/scratch/README" "$work/scratch" >"$work/out" 2>&1 && code=0 || code=$?
is "the README's Dockerfile" $code 0
podman run --detach --name app pasted >/dev/null
until_true 'the pasted server listens' podman exec app grep -q ':1F40 ' /proc/net/tcp
podman exec app cat /proc/1/cmdline /proc/1/environ | tr '\0' '\n' >"$work/out"
is 'foster is its PID 1, with a grace' "$(said '^foster$') $(said '^FOSTER_GRACE=')" 'yes yes'
podman stop app >/dev/null
is 'and it stops' "$(ended)" 143

start 'Booting worker' --health-cmd '["/usr/local/bin/foster", "--check"]' --health-interval disable app:1.0
podman healthcheck run app >/dev/null && code=0 || code=$?
typed 'docker inspect .*State.Health' >"$work/out"
is 'what the health probe has printed' "$code $(said '"healthy\\nzombies: 0 ')" '0 yes'
typed 'docker exec CONTAINER ' >"$work/out" 2>&1 && code=0 || code=$?
is 'the health probe by hand' "$code $(said '^healthy$')" '0 yes'
typed 'docker stop -t 30 app$' >/dev/null
is 'stop -t 30' "$(ended) $(said 'Shutting down: Master')" '0 yes'
typed 'docker info$' >"$work/out" && code=0 || code=$?
is 'info' $code 0
is 'ENTRYPOINT and CMD of an image' "$(typed 'docker inspect .*Entrypoint')" 'null ["python3"]'

# Another user, as docs/guide.md shows it.
is 'FOSTER_USER' "$(typed 'docker run .*FOSTER_USER')" 'uid=900(app) gid=900(app) groups=900(app)'
stand_in "$work/server" 'echo "uid $(id -u), groups $(id -G), in $PWD"'
as_user() { # COMMAND-LINE-BEFORE REGEX
    podman run --rm --user 0 -v "$work/server:/usr/local/bin/server:ro" --entrypoint sh app:1.0 -c "$1; $(taken "$2")" 2>&1
}
users='echo app:x:1000:1000::/: >/etc/passwd; printf "web:x:33:app\nstaff:x:34:app\n" >/etc/group'
is '-u app:web' "$(as_user "$users" 'foster -u app:web ')" 'uid 1000, groups 33, in /app'
is '-u 1000:1000' "$(as_user 'rm /etc/passwd /etc/group' 'foster -u 1000:1000 ')" 'uid 1000, groups 1000, in /app'
is '-u :web -C /srv' "$(as_user "$users; mkdir /srv" 'foster -u :web ')" 'uid 0, groups 33, in /srv'

# The probe, as docs/diagnostics.md shows it. Whoever asks has processes too, and runc takes some pids before the command has one.
masked() { sed -E 's/^(pids: )[0-9]+( of 2048.*, )[0-9.]+/\1N\2N/; s/^( *parent )[0-9]+/\1N/; s/^ *//'; }
check() { podman exec app sh -c "$(taken "$1")" | masked; } # REGEX
start 'runner [0-9]* ready' --pids-limit 2048 -v "$FIXTURE:/usr/local/bin/runner:ro" app:1.0 runner runner 1000
is '--check, with 1000 zombies' "$(check 'foster --check; echo \$\?$')" "$(shown 'foster --check; echo \$\?' | masked)"
podman kill --signal USR1 app >/dev/null
until_true 'the runner waits for its jobs' logged app mended
is '--check, with none' "$(check 'foster --check$')" "$(shown 'foster --check' | masked)"
podman stop app >/dev/null
is 'and the runner ends' "$(ended)" 42

# Images that have no init, as docs/guide.md shows it. What is installed is seen by this script alone.
mkdir "$work/local" && mount --bind "$work/local" /usr/local/bin
install "$FOSTER" /usr/local/bin/foster
typed 'install foster ' "$work/scratch"
listens() { podman exec "$(podman ps -q)" grep -q ':1F40 ' /proc/net/tcp 2>/dev/null; }
serve() { # REGEX; prints what PID 1 is, and the exit code after a stop
    local code=0 pid
    typed "$1" >"$work/out" 2>&1 &
    pid=$!
    until_true 'the server listens' listens
    podman exec "$(podman ps -q)" sha256sum /proc/1/exe | cut -d' ' -f1
    podman stop "$(podman ps -q)" >/dev/null
    wait $pid || code=$?
    echo $code
}
foster_and_143=$(sha256sum <"$FOSTER" | cut -d' ' -f1)$'\n'143
is 'run --init, by the name docker-init' "$(serve 'docker run --rm --init ')" "$foster_and_143"
is 'run --init --init-path' "$(serve 'podman run --rm --init --init-path ')" "$foster_and_143"

# The pods of docs/examples. podman 5 makes their pause container of docker-init, which is foster here. Without a network
# there are no ports. podman before 4.4 has no emptyDir: a volume of its own takes its place. And it removes an init container
# before it knows that this has ended, unless the pod says not to.
always='io.podman.annotations.init.container.type: always'
play() { # FILE
    sed -E -e '/^ *ports:$/,+1d' -e "s/^metadata:$/&\n  annotations: {$always}/" \
        -e 's/emptyDir: \{\}/persistentVolumeClaim: {claimName: empty}/' "$top/docs/examples/kubernetes/$1" >"$work/pod.yaml"
    podman kube play --network none "$work/pod.yaml" >"$work/out" 2>&1 || cat "$work/out"
}
first_of_pid_1() { podman exec "$1" cat /proc/1/cmdline | tr '\0' '\n' | head -1; } # CONTAINER

play deployment.yaml
# Up to podman 4 with a number.
app=$(podman ps --all --format '{{.Names}}' | grep -xE 'app-pod(-0)?-app')
until_true 'the deployment is ready' logged "$app" 'Booting worker'
is 'Deployment: foster is PID 1' "$(first_of_pid_1 "$app")" /usr/local/bin/foster
kubectl() { [ "$1 $2 $3" = 'exec deploy/app --' ] && podman exec "$app" "${@:4}"; }
typed 'kubectl exec ' >"$work/out" 2>&1 && code=0 || code=$?
is 'Deployment: the health probe by hand' "$code $(said '^healthy$')" '0 yes'
is 'Deployment: the liveness probe' "$(podman healthcheck run "$app" >/dev/null 2>&1 && echo ok)" ok
podman stop --time 30 "$app" >/dev/null
is 'Deployment: a stop, 5 s held back' "$(ended "$app") $(said 'Shutting down: Master')" '0 yes'

play copied.yaml
until_true 'the copied foster is there' logged copied-server 'Serving HTTP'
is 'copied into a volume: foster is PID 1' "$(first_of_pid_1 copied-server)" /opt/foster/foster
podman stop --time 30 copied-server >/dev/null
is 'copied into a volume: SIGTERM reaches the command' "$(ended copied-server)" 143

play shared.yaml
until_true 'the shared pod is ready' logged shared-app 'Booting worker'
is 'shared PID namespace: the pause process is PID 1' "$(first_of_pid_1 shared-app)" /catatonit
podman stop --time 30 shared-app >/dev/null
is 'shared PID namespace: the server stops' "$(ended shared-app) $(said 'Shutting down: Master')" '0 yes'
is 'shared PID namespace: the other container runs on' "$(podman exec shared-sidecar echo yes)" yes
podman stop --time 30 shared-sidecar >/dev/null
is 'shared PID namespace: and stops, killed by SIGTERM' "$(ended shared-sidecar)" 143
finished
