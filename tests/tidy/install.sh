#!/usr/bin/env bash
# meson install puts all programs in place, and they run from there.
#   install.sh BUILD_DIRECTORY
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
meson install -C "$1" --no-rebuild --destdir "$dir" --quiet
veched=$(find "$dir" -type f -name veched)
vechectl=$(find "$dir" -type f -name vechectl)
guard=$(find "$dir" -type f -path '*/sbin/*' -name veche-guard)
[ -n "$guard" ] && [ -n "$veched" ] && [ -n "$vechectl" ]
"$veched" --version | grep -q '^veched '
"$guard" --version | grep -q '^veche-guard '
"$vechectl" --help | grep -q '^usage: vechectl '
# Completion and manual page, made of vechectl's table of commands.
[ -s "$(find "$dir" -path '*/man1/vechectl.1')" ]
for page in man5/veche.yml.5 man8/veched.8; do # Of the schema, of veched's options.
    grep -q '^\.TH VECHE' "$(find "$dir" -path "*/$page")"
done
bash -n "$(find "$dir" -name vechectl.bash)"
grep -q '^#compdef vechectl' "$(find "$dir" -name _vechectl)"
