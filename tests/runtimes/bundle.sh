# Sourced: an OCI bundle that has foster, the fixture and nothing else; read-only, no user's, without a capability.

make_bundle() { # DIR
    mkdir -p "$1"/rootfs/{proc,dev,sys}
    install -m 755 "$FOSTER" "$1/rootfs/foster"
    install -m 755 "$FIXTURE" "$1/rootfs/fixture"
    echo 'not a program' >"$1/rootfs/text"
    # As the kubelet makes it: the container's user can write it, wherever root's files are read-only.
    install -m 666 /dev/null "$1/termination-log"
}

# What the container is to run, and in how much memory.
configure() { # DIR TERMINAL(true|false) WORD...
    local dir=$1 terminal=$2 words
    shift 2
    words=$(printf '"%s",' "$@")
    cat >"$dir/config.json" <<CONFIG
{
  "ociVersion": "1.0.2",
  "process": {
    "terminal": $terminal,
    "user": {"uid": 65534, "gid": 65534},
    "args": [${words%,}],
    "env": ["PATH=/", "FOSTER_TERMINATION_LOG=/dev/termination-log"],
    "cwd": "/",
    "noNewPrivileges": true
  },
  "root": {"path": "rootfs", "readonly": true},
  "mounts": [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
    {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]},
    {"destination": "/dev/termination-log", "type": "bind", "source": "$dir/termination-log", "options": ["bind", "rw"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
    {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}
  ],
  "linux": {
    "cgroupsPath": "/$cgroup/app",
    "resources": {"memory": {"limit": ${MEMORY:-67108864}, "swap": ${MEMORY:-67108864}}, "pids": {"limit": 1200}},
    "namespaces": [
      {"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}, {"type": "cgroup"}
    ]
  }
}
CONFIG
}
