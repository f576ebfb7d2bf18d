#!/usr/bin/env bash
# Installs what Veche needs from Debian's own packages: to run (--run), to build
# (--build) or to build and test (--test, the default). Safe to run again.
#
# Debian 12 has an old libraft, which Veche refuses; a newer one is in
# bookworm-backports. That suite is added from the mirror that is already
# configured on this machine, and only libraft is taken from it. Debian 13 has
# all that is needed.
#
# Debian's PostgreSQL package creates and starts a cluster of its own when it is
# installed. Veche manages PostgreSQL itself, so that is switched off first; a
# cluster that exists already is left alone.
set -euo pipefail

what=${1:---test}
run_packages=(libuv1 libpq5 libyaml-0-2 libmicrohttpd12 libgnutls30 libjansson4 libssl3 libcurl4 postgresql)
build_packages=(build-essential meson ninja-build pkg-config libuv1-dev libpq-dev libyaml-dev
    libmicrohttpd-dev libgnutls28-dev libjansson-dev libssl-dev libcurl4-openssl-dev libcmocka-dev)
test_packages=(python3 python3-pytest python3-pytest-xdist
    python3-psycopg2 python3-psycopg postgresql haproxy iproute2 nftables clang
    libclang-rt-dev prometheus clang-format util-linux e2fsprogs procps curl openssl faketime debootstrap spin
    systemd)

say() { printf 'install-deps: %s\n' "$*"; }
fail() { printf 'install-deps: %s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "root is needed to install packages: run this as root or install sudo"
    fi
}

apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0 "$@"; }

status_is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# From Debian 13 on a library with times in its interface has another name (libcurl4t64).
installed() { status_is_installed "$1" || status_is_installed "$1t64"; }

missing() { # package...: those that are not installed, one a line
    local package
    for package in "$@"; do
        installed "$package" || printf '%s\n' "$package"
    done
}

codename() { (. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}"); }

raft_is_new_enough() { # runtime or -dev package
    local version
    version=$(dpkg-query -W -f '${Version}' "$1" 2>/dev/null) || return 1
    dpkg --compare-versions "$version" ge 0.22.1
}

raft_is_available() {
    local version
    version=$(apt-cache madison libraft-dev 2>/dev/null | awk '{print $3}' | sort -V | tail -n 1)
    [ -n "$version" ] && dpkg --compare-versions "$version" ge 0.22.1
}

# The mirror this machine takes its Debian release from.
configured_mirror() {
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
        awk -v release="$1" '$2 == release && !found++ { print $1 }'
}

add_backports() {
    local uri name
    local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    name=$(codename)
    [ "$name" = bookworm ] || fail "libraft >= 0.22.1 is not available for '$name'"
    uri=$(configured_mirror "$name")
    [ -n "$uri" ] || fail "no mirror for $name is configured in /etc/apt; add one first"
    say "adding $name-backports from the configured mirror"
    {
        printf 'Types: deb\nURIs: %s\nSuites: %s-backports\nComponents: main\n' "$uri" "$name"
        if [ -e "$keyring" ]; then
            printf 'Signed-By: %s\n' "$keyring"
        fi
    } | as_root tee /etc/apt/sources.list.d/veche-backports.sources >/dev/null
    apt update
}

install_raft() {
    local packages=("$@")
    local package ok=1
    for package in "${packages[@]}"; do
        raft_is_new_enough "$package" || ok=0
    done
    [ "$ok" = 0 ] || return 0
    raft_is_available || { apt update; raft_is_available || add_backports; }
    if [ "$(codename)" = bookworm ]; then
        apt install -y --no-install-recommends -t bookworm-backports "${packages[@]}"
    else
        apt install -y --no-install-recommends "${packages[@]}"
    fi
}

# Must stand before PostgreSQL's package is unpacked for the first time.
forbid_default_cluster() {
    local dir=/etc/postgresql-common/createcluster.d
    if [ -n "$(missing postgresql)" ] && [ ! -e $dir/veche.conf ]; then
        as_root mkdir -p $dir
        printf '# Veche creates and starts its own clusters.\ncreate_main_cluster = false\nstart_conf = manual\n' |
            as_root tee $dir/veche.conf >/dev/null
    fi
}

# The tests want its programs only; its service would listen on port 9090 from now on.
forbid_prometheus() {
    local unit=/etc/systemd/system/prometheus.service
    if [ -n "$(missing prometheus)" ] && [ ! -e $unit ] && [ ! -L $unit ]; then
        as_root mkdir -p "${unit%/*}"
        as_root ln -s /dev/null $unit
    fi
}

case $what in
--run) wanted=("${run_packages[@]}") raft=(libraft0) ;;
--build) wanted=("${build_packages[@]}") raft=(libraft-dev) ;;
--test) wanted=("${build_packages[@]}" "${test_packages[@]}") raft=(libraft-dev) ;;
*) fail "unknown option '$what'; use --run, --build or --test" ;;
esac

command -v apt-get >/dev/null || fail "this script needs Debian's apt-get"
forbid_default_cluster
[ "$what" != --test ] || forbid_prometheus
mapfile -t needed < <(missing "${wanted[@]}")
if [ "${#needed[@]}" -gt 0 ]; then
    say "installing ${needed[*]}"
    apt update
    apt install -y --no-install-recommends "${needed[@]}"
fi
install_raft "${raft[@]}"
say "everything needed is installed"
