#!/usr/bin/env bash
# Installs what is missing of the programs that the tests run, and starts no service of theirs: install.sh PROGRAM=PACKAGE...
# By program, not by package: a machine with another vendor's runc or podman keeps that.
set -euo pipefail
missing=()
for word in "$@"; do command -v "${word%=*}" >/dev/null || missing+=("${word#*=}"); done
[ ${#missing[@]} -gt 0 ] || exit 0
# Debian's way to say that nothing is to be started. One that is there already is the machine's own, and stays.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}"
