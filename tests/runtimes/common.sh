# What the scripts beside this one share. tests/suite/runtimes.rs starts each as root, as PID 1 of a PID namespace, with a
# mount and a network namespace of its own: nothing that it starts or mounts outlives it, and no network is touched.
# $FOSTER and $FIXTURE (tests/fixtures/fixture) are static programs, so that an image needs nothing else.
set -euo pipefail
work=$(mktemp -d)
cgroup=foster-test-$(basename "$work")
checks=0
failed=0
# Nothing to read, for all that follows. Not /dev/null: crun makes the container's user the owner of what its stdin is, and
# that file is the machine's.
exec < <(:)

# crun before 1.9 refuses to run where a cgroup v2 tree with controllers stands beside the v1 trees.
if grep -qs . /sys/fs/cgroup/unified/cgroup.controllers; then umount /sys/fs/cgroup/unified; fi

# Reports one check, as TAP has it. $work/out is what the container has said.
is() { # WHAT GOT WANTED
    checks=$((checks + 1))
    if [ "$2" = "$3" ]; then
        echo "ok $checks - $1"
    else
        failed=1
        echo "not ok $checks - $1: got '$2', not '$3'"
        [ ! -s "$work/out" ] || sed 's/^/    # /' "$work/out"
    fi
}

# The same for a line of the container's: prints yes, or no.
said() { if grep -qE -- "$1" "$work/out"; then echo yes; else echo no; fi; } # REGEX

# The command lines of the documents that are this script's to run are in the file $TYPED, as tests/suite/commands.rs has
# collected them. One that is left over at the end is a failure.
: >"$work/typed"
# Prints the one that matches, as it stands there. CONTAINER stands for a name.
taken() { # REGEX
    local line
    line=$(cut -f1 "$TYPED" | grep -E -- "^$1" || true)
    if [ -z "$line" ] || [ "$(wc -l <<<"$line")" != 1 ]; then
        echo "not ok - not one line of the documents is like $1: $line" >&2
        return 1
    fi
    echo "$line" >>"$work/typed"
    echo "${line/CONTAINER/app}"
}
# Runs it, in the project's directory or another one.
typed() { # REGEX [DIR]
    local line
    line=$(taken "$1") || return
    (cd "${2:-$(dirname "$0")/../..}" && eval "$line")
}
# What the document shows below it.
shown() { printf '%b\n' "$(grep -E -- "^$1"$'\t' "$TYPED" | cut -f2)"; } # REGEX

until_true() { # WHAT COMMAND...
    local what=$1 end=$((SECONDS + 60))
    shift
    until "$@"; do
        if [ $SECONDS -ge $end ]; then
            echo "not ok - deadline: $what"
            [ ! -s "$work/out" ] || sed 's/^/    # /' "$work/out"
            exit 1
        fi
        sleep 0.05
    done
}

# Runs a command in a terminal of its own.
in_terminal() {
    python3 -c 'import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))' "$@"
}

finished() {
    if [ -s "$TYPED" ]; then
        is 'every command line of the documents' "$(cut -f1 "$TYPED" | grep -vxF -f "$work/typed")" ''
    fi
    echo "1..$checks" && exit $failed
}

# A process that was killed leaves its cgroup a moment after its end, so twice.
remove_cgroups() {
    for _ in 1 2; do find /sys/fs/cgroup -depth -type d -path "*/$cgroup*" -exec rmdir {} + 2>/dev/null || sleep 0.1; done
}

# The reason of an OOM kill, in foster's error line and in the termination log.
OOM="out of memory \\(oom_kill rose by 1\\): command \\S*fixture was killed by SIGKILL \\(signal 9\\); ran .*, pid [0-9]+"
