#!/usr/bin/env bash
# The lease library configures, builds and tests without the rest of the tree,
# its model included; prints what the search of the model saw.
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp -r subprojects/lease "$dir/lease"
meson setup "$dir/build" "$dir/lease" >"$dir/log" 2>&1 || { cat "$dir/log"; exit 1; }
meson test -C "$dir/build" >"$dir/log" 2>&1 || {
    cat "$dir/log" "$dir/build/meson-logs/testlog.txt"
    exit 1
}
grep -E '^Ok: +[1-9]' "$dir/log" >/dev/null
grep -E '^model .*: all good$' "$dir/build/meson-logs/testlog.txt"
