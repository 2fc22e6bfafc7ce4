# Sourced: a podman that has a storage of its own in $work, runs containers by runc, and leaves nothing behind.

# Storage of its own. The limits on files and processes that podman would raise need a privilege that may be missing.
cat >"$work/containers.conf" <<CONF
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
netns = "none"
log_driver = "k8s-file"
# As dockerd has it from its command line.
init_path = "/usr/local/bin/docker-init"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
CONF
export CONTAINERS_CONF=$work/containers.conf
# podman 5 would warn of it at each call, on stderr.
export PODMAN_IGNORE_CGROUPSV1_WARNING=1
PODMAN=(podman --root "$work/storage" --runroot "$work/run" --tmpdir "$work/tmp" --storage-driver overlay)
podman() { command "${PODMAN[@]}" "$@"; }
clean_up() {
    podman pod rm --all --force --time 0 >/dev/null 2>&1 || true
    podman rm --all --force --time 0 >/dev/null 2>&1 || true
    umount "$work/storage/overlay" 2>/dev/null || true
    # Those that another podman still uses are not empty, and stay.
    find /sys/fs/cgroup -depth -type d -path '*/libpod_parent*' -exec rmdir {} + 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT
