#!/usr/bin/env bash
# Builds and tests Veche on Debian 13 (PostgreSQL 17), or on another release, in
# a root of its own: the machine is left as it is.
#
#   tests/debian13.sh                      stages build, unit, sim, integration
#   tests/debian13.sh --suite forky unit   another release, only these stages
#   VECHE_ROOT=DIR tests/debian13.sh       keeps the root there and uses it again
#   VECHE_PYTEST="FILE -k NAME" ...         only these of the integration tests
#
# The mirror is the one this machine is configured for. proc, dev and sys are
# mounted in a mount namespace, and everything runs in a process namespace: both
# end with this script, however it ends. Needs root.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'debian13: %s\n' "$*"; }
fail() { printf 'debian13: %s\n' "$*" >&2; exit 1; }

# Runs inside the namespaces.
run_inside() { # root stage...
    local root=$1
    shift
    # The new root is that of the namespace, not a chroot in it: paths in /proc are
    # then the same for who looks from another mount namespace (ip netns exec).
    mount --rbind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount --rbind /sys "$root/sys"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
    cd "$root"
    mkdir -p .old-root
    pivot_root . .old-root
    umount -l /.old-root
    exec env -i HOME=/root LANG=C.UTF-8 TERM=dumb PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        VECHE_BUILD=/veche-build VECHE_KEEP="${VECHE_KEEP:-}" VECHE_PYTEST="${VECHE_PYTEST:-}" \
        /veche/tests/run.sh "$@"
}

if [ "${1:-}" = --inside ]; then
    shift
    run_inside "$@"
fi

suite=trixie
if [ "${1:-}" = --suite ]; then
    suite=${2:?--suite needs a name}
    shift 2
fi
[ $# -gt 0 ] || set -- build unit sim integration

# The mirror this machine takes its own release from; it has the others too.
configured_mirror() {
    local release
    release=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
        awk -v release="$release" '$2 == release && !found++ { print $1 }'
}

make_root() { # root
    local mirror script=/usr/share/debootstrap/scripts/$suite
    mirror=$(configured_mirror)
    [ -n "$mirror" ] || fail "no mirror for this machine's release is configured in /etc/apt"
    [ -e "$script" ] || script=/usr/share/debootstrap/scripts/sid # A release newer than the tool.
    say "making a root of $suite in $1"
    rm -rf "$1.partial"
    mkdir -p "$1.partial"
    debootstrap --variant=minbase --include=ca-certificates "$suite" "$1.partial" "$mirror" "$script" \
        >"$1.log" 2>&1 || { tail -n 20 "$1.log"; fail "debootstrap of $suite failed"; }
    # Testing's index is good for a week only; a mirror that is older will do to test on.
    printf 'Acquire::Check-Valid-Until "false";\n' >"$1.partial/etc/apt/apt.conf.d/90old-mirror"
    rm -rf "$1"
    mv "$1.partial" "$1"
}

# What is committed and what is not yet, but nothing that was built.
copy_source() { # root
    rm -rf "$1/veche"
    mkdir -p "$1/veche"
    git ls-files -z --cached --others --exclude-standard |
        while IFS= read -r -d '' file; do
            if [ -e "$file" ]; then printf '%s\0' "$file"; fi # Not what was just deleted.
        done | tar -c --null -T - | tar -x -C "$1/veche" --no-same-owner
}

[ "$(id -u)" = 0 ] || fail "root is needed to make and enter a root directory"
command -v debootstrap >/dev/null || fail "debootstrap is missing: install the package of that name"

root=${VECHE_ROOT:-}
if [ -z "$root" ]; then
    root=$(mktemp -d "${TMPDIR:-/tmp}/veche-$suite-XXXXXX")
    trap 'rm -rf --one-file-system "$root" "$root.partial" "$root.log"' EXIT
    trap 'exit 130' INT TERM HUP
    chmod 755 "$root"
fi
[ -e "$root/etc/debian_version" ] || make_root "$root"
copy_source "$root"
unshare --mount --pid --fork --kill-child --propagation private "$0" --inside "$root" "$@"
