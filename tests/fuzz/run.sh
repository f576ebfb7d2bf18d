#!/usr/bin/env bash
# Runs one fuzz target for some seconds, beginning with its kept corpus. What it
# finds new goes to BUILD/fuzz/TARGET, a crash to BUILD/fuzz/TARGET.crash-*.
#
#   tests/fuzz/run.sh BUILD TARGET SECONDS
#   tests/fuzz/run.sh --merge BUILD TARGET   what was found, minimised, into the kept corpus
set -euo pipefail
cd "$(dirname "$0")"

merge=no
if [ "${1:-}" = --merge ]; then
    merge=yes
    shift
fi
build=${1:?build directory} target=${2:?target} seconds=${3:-5}
program=$build/tests/fuzz/fuzz_$target
found=$build/fuzz/$target
mkdir -p "$found" "corpus/$target"

if [ $merge = yes ]; then
    small=$(mktemp -d)
    trap 'rm -rf "$small"' EXIT
    "$program" -set_cover_merge=1 -use_counters=0 -max_len=4096 "$small" "corpus/$target" "$found" >"$found.merge.log" 2>&1
    for f in "corpus/$target"/{regression,seed}-*; do # Chosen by hand: stay.
        if [ -e "$f" ]; then cp "$f" "$small/"; fi
    done
    rm -rf "corpus/$target"
    cp -r "$small" "corpus/$target"
    chmod 0755 "corpus/$target"
    exit
fi

dictionary=()
if [ -e "$target.dict" ]; then dictionary=(-dict="$target.dict"); fi
log=$found.log
if UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 "$program" -max_total_time="$seconds" \
    -max_len=16384 -timeout=20 -rss_limit_mb=1024 -use_value_profile=1 -print_final_stats=1 \
    -entropic_scale_per_exec_time=1 \
    -artifact_prefix="$found.crash-" "${dictionary[@]}" "$found" "corpus/$target" >"$log" 2>&1; then
    awk -v t="$target" '/stat::number_of_executed_units/ {n = $2} /cov: / {for (i = 1; i < NF; i++)
        if ($i == "cov:") c = $(i + 1)} END {printf "fuzz %s: %d executions, coverage %d\n", t, n, c}' "$log"
else
    tail -n 40 "$log"
    exit 1
fi
