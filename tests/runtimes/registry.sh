#!/usr/bin/env bash
# The release's images as their users have them: copied into a registry on 127.0.0.1, looked at, pulled for each platform, and
# run. $DIST is what packaging/release has made, $REGISTRY Debian's docker-registry.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
. "$here/podman-setup.sh"
# The network namespace is this script's own, and nothing in it is up.
busybox ip link set lo up

version=$("$FOSTER" --version | cut -d' ' -f2)
address=127.0.0.1:5000
cat >"$work/registry.yml" <<CONFIG
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: "$address"}
CONFIG
"$REGISTRY" serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
until_true 'the registry is up' bash -c ": </dev/tcp/${address/://}" 2>/dev/null

# The document's line, with a name for IMAGE, to a registry without a certificate. And once more for the other image.
for name in foster foster-installer; do
    line=$(taken 'skopeo copy ')
    (cd "$DIST" && skopeo() { command skopeo "$@" --dest-tls-verify=false >"$work/out"; } &&
        line=${line/foster-image/$name-image} && eval "${line/IMAGE/$address/$name:$version}")
done
skopeo inspect --raw --tls-verify=false "docker://$address/foster:$version" >"$work/out"
platforms='import json, sys
for one in json.load(sys.stdin)["manifests"]:
    print("/".join(one["platform"][key] for key in ("architecture", "variant") if key in one["platform"]))'
is 'the platforms' "$(python3 -c "$platforms" <"$work/out")" "$(grep -v '^#' "$here/../../packaging/architectures" | awk '{ print $3 }')"
skopeo inspect --tls-verify=false "docker://$address/foster:$version" >"$work/out"
is 'the annotations' "$(said '"org.opencontainers.image.version": "'"$version"'"') $(said '"org.opencontainers.image.source": "https://')" 'yes yes'

pull() { podman pull -q --tls-verify=false --platform "linux/$2" "$address/$1:$version" 2>"$work/out"; } # NAME PLATFORM
# A foreign program is run by an emulator that is mounted into its container. Nothing is registered with the kernel.
run() { # ID PROGRAM OPTION... [-- WORD...]
    local id=$1 program=$2 options=() entrypoint=("$2")
    shift 2
    while [ $# -gt 0 ] && [ "$1" != -- ]; do options+=("$1"); shift; done
    [ $# -eq 0 ] || shift
    if [ "$emulator" != - ]; then
        options+=(-v "$(command -v "$emulator"):/emulator:ro")
        entrypoint=(/emulator)
        set -- "$program" "$@"
    fi
    podman run --rm "${options[@]}" --entrypoint "${entrypoint[0]}" "$id" "$@"
}
while read -r arch _ platform _ _ _ emulator _; do
    id=$(pull foster "$platform")
    podman create --name content "$id" >/dev/null 2>&1
    podman export content | tar -x -C "$work" foster
    podman export content | tar -t >"$work/out"
    is "$arch: the image has the release's file" "$(cmp "$work/foster" "$DIST/foster-$arch" && echo same) $(said '^foster$')" 'same yes'
    podman rm content >/dev/null
    is "$arch: it runs" "$(run "$id" /foster -- --version 2>"$work/out")" "foster $version"
    code=0
    run "$id" /foster -- -- /nonexistent >"$work/out" 2>&1 || code=$?
    # The emulator makes a fork of foster's vfork, in which a failed exec leaves its exit code alone.
    [ "$emulator" != - ] || is "$arch: as PID 1 it says what it cannot start" "$(said '^foster\[1\]: error: .*/nonexistent')" yes
    is "$arch: as PID 1, no such command" $code 127

    id=$(pull foster-installer "$platform")
    mkdir "$work/volume-$arch"
    run "$id" /bin/cp -v "$work/volume-$arch:/opt/foster" -- /foster /opt/foster/foster >"$work/out" 2>&1 || true
    is "$arch: the installer copies it" "$(cmp "$work/volume-$arch/foster" "$DIST/foster-$arch" && test -x "$work/volume-$arch/foster" && echo same)" same
    podman rmi --force --all >/dev/null 2>&1
done < <(grep -v '^#' "$here/../../packaging/architectures")

# As a user has it: a line in a Dockerfile, and the pod's own words for the installer.
mkdir "$work/context" "$work/volume"
install "$FIXTURE" "$work/context/fixture"
printf '%s\n' 'FROM scratch' "COPY --from=$address/foster:$version /foster /foster" 'COPY fixture /fixture' \
    'ENTRYPOINT ["/foster", "--"]' 'CMD ["/fixture", "orphans", "10", "1", "apart"]' >"$work/context/Dockerfile"
podman build -q --tls-verify=false --network none -t app "$work/context" >"$work/out" 2>&1 || true
podman run --rm app >"$work/out" 2>&1 && code=0 || code=$?
is 'COPY --from' "$code $(said '^reaped 10 zombies 0$')" '0 yes'
podman run --rm --entrypoint cp -v "$work/volume:/opt/foster" --tls-verify=false "$address/foster-installer:$version" \
    /foster /opt/foster >"$work/out" 2>&1 || true
is 'the installer, by the words of docs/examples, into a directory' "$("$work/volume/foster" --version)" "foster $version"
podman run --rm --tls-verify=false "$address/foster-installer:$version" >"$work/out" 2>&1 && code=0 || code=$?
is 'the installer, without a destination' "$code $(said '^cp: usage: cp FROM TO$')" '2 yes'
finished
