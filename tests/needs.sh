#!/usr/bin/env bash
# Sees to what make needs: needs.sh [--only-say] WHAT=PACKAGE[,PACKAGE...]...
#
# WHAT is looked for, and the packages, of Debian's and Ubuntu's, are installed where it is missing:
#   sh            a program. By program, not by package: a machine with another vendor's podman keeps that.
#   libc.so       a file of the C compiler's
#   python3:venv  a module of Python's
# With `root:` before it, it is for what only root can run: it is not looked for where root cannot be had. With `?` behind
# it, it is done without where there is no such package.
#
# Where nothing can be installed, or Rust is missing, one line says all that is missing, and how to get it.
set -euo pipefail

# As root: installs packages, and nothing that they merely recommend; starts no service.
if [[ ${1-} == --install ]]; then
    shift
    # Debian's way to say that no service is to be started. One that is there already is the machine's own, and stays.
    policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        trap 'rm -f $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy
    fi
    apt-get update -qq
    known=()
    for package in "$@"; do
        if [[ $package == *\? ]]; then
            apt-cache show "${package%\?}" >/dev/null 2>&1 || continue
        fi
        known+=("${package%\?}")
    done
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${known[@]}" >/dev/null
    exit
fi

only_say=
if [[ ${1-} == --only-say ]]; then
    only_say=1
    shift
fi

# An ordinary user's PATH is without these.
PATH=$PATH:/usr/sbin:/sbin
has() {
    case $1 in
        *:*) command -v "${1%%:*}" >/dev/null && "${1%%:*}" -c "import ${1#*:}" &>/dev/null ;;
        # The compiler answers with the whole path where it has the file.
        *.so) command -v cc >/dev/null && [[ $(cc -print-file-name="$1") == /* ]] ;;
        *) command -v "$1" >/dev/null ;;
    esac
}
is_root() { ((EUID == 0)); }
# Without a terminal nobody could type a password.
has_sudo() { command -v sudo >/dev/null && { [[ -t 0 ]] || sudo -n true &>/dev/null; }; }

missing=()
for word in "$@"; do
    what=${word%=*} package=${word#*=}
    if [[ $what == root:* ]]; then
        is_root || has_sudo || continue
        what=${what#root:}
    fi
    has "$what" || missing+=("$package")
done
# Named once, though two things may be in it.
mapfile -t missing < <(printf '%s\n' "${missing[@]//,/$'\n'}" | sed '/^$/d' | awk '!seen[$0]++')
must=()
for package in "${missing[@]}"; do [[ $package == *\? ]] || must+=("$package"); done

rust=
if ! command -v cargo >/dev/null || ! command -v rustup >/dev/null; then
    rust="Rust, from rustup (https://rustup.rs)"
    # As in the shell in which it has just been installed.
    if [[ -x $HOME/.cargo/bin/rustup ]]; then rust="Rust in PATH (. ~/.cargo/env)"; fi
fi

can_install=
if [[ -z $only_say ]] && command -v apt-get >/dev/null; then
    if is_root || has_sudo; then can_install=1; fi
fi
if [[ -z $rust && ${#missing[@]} -gt 0 && -n $can_install ]]; then
    echo "installing ${missing[*]%\?}" >&2
    as_root=()
    is_root || as_root=(sudo)
    exec "${as_root[@]}" bash "$0" --install "${missing[@]}"
fi
if [[ -n $rust || ${#must[@]} -gt 0 ]]; then
    line=${rust:-}
    if ((${#must[@]})); then
        line+="${rust:+; }packages (as root: apt-get update && apt-get install --no-install-recommends ${must[*]})"
    fi
    echo "missing: $line" >&2
    exit 1
fi
