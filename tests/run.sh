#!/usr/bin/env bash
# Installs what is missing, builds, runs every test of the first tier, and ends
# with one line "N passed, N failed". A skipped test counts as failed.
#
#   tests/run.sh            everything
#   tests/run.sh unit sim   only these stages: tidy build unit sanitize clang fuzz sim integration load
set -uo pipefail
cd "$(dirname "$0")/.."

build=${VECHE_BUILD:-$PWD/build}
. tests/stages.sh

stage_tidy() {
    check tidy /usr/bin/python3 tests/tidy/tidy.py
    check 'an old libraft is refused' tests/tidy/old_raft.sh
    check 'the lease library stands alone' tests/tidy/lease_alone.sh
}

stage_build() {
    local started=$SECONDS
    check configure configure "$build" -Dwerror=true &&
        check compile compile "$build" &&
        check install tests/tidy/install.sh "$build" &&
        check 'systemd unit' tests/tidy/units.sh "$build"
    printf 'build: %d s\n' $((SECONDS - started))
}

# The lease library was tested by itself, in stage tidy.
stage_unit() { run_meson "$build" --num-processes 4 --no-suite sim --no-suite lease; }

stage_sanitize() {
    check 'configure with sanitizers' configure "$build-asan" -Dwerror=true \
        -Db_sanitize=address,undefined -Db_lundef=false &&
        check 'compile with sanitizers' compile "$build-asan"
    local -x UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
    run_meson "$build-asan" --num-processes 4 --no-suite sim --no-suite model -t 4
    # REST, whose parsers anybody reaches; long.sh runs all of them so. These wait most of the
    # time, the seeds do not.
    local build="$build-asan" seeds
    "$build/tests/sim/sim" --seeds 100 >"$build/seeds.log" 2>&1 &
    seeds=$!
    run_pytest tests/integration/test_rest.py
    check '100 seeds with sanitizers' ended_well "$seeds" "$build/seeds.log"
}

# For its warnings only, which are the same without optimization.
stage_clang() {
    CC=clang check 'configure with clang' configure "$build-clang" -Dwerror=true -Doptimization=0 &&
        check 'compile with clang' compile "$build-clang"
}

# A few seconds each; ten minutes each are in long.sh.
stage_fuzz() { run_fuzz 5; }

stage_sim() { run_meson "$build" --suite sim -v -t 10; }

stage_integration() { run_integration; }

# Two minutes; half an hour is in long.sh.
stage_load() { run_load 120; }

[ $# -gt 0 ] || set -- tidy build unit sanitize clang fuzz sim integration load
run_stages "$@"
