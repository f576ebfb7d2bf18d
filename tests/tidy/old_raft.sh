#!/usr/bin/env bash
# An older libraft must be refused when the build is configured, with the reason.
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
printf 'Name: raft\nDescription: an old one\nVersion: 0.15.0\nLibs: -lraft\nCflags:\n' >"$dir/raft.pc"
if PKG_CONFIG_PATH=$dir meson setup "$dir/build" >"$dir/log" 2>&1; then
    echo "libraft 0.15.0 was accepted"
    exit 1
fi
grep -q 'libraft 0.15.0 is too old, 0.22.1 or newer is needed' "$dir/log" || {
    cat "$dir/log"
    exit 1
}
