#!/usr/bin/env bash
# Installs what is missing, builds, runs every test of the first tier, and ends
# with one line "N passed, N failed". A skipped test counts as failed.
#
#   tests/run.sh            everything
#   tests/run.sh unit sim   only these stages: tidy build unit sanitize clang sim integration
set -uo pipefail
cd "$(dirname "$0")/.."

stages=${*:-tidy build unit sanitize clang sim integration}
build=${VECHE_BUILD:-$PWD/build}
passed=0
failed=0
times=()

say() { printf '\n== %s\n' "$*"; }

count() { # passed failed
    passed=$((passed + $1))
    failed=$((failed + $2))
}

check() { # name command...: one test that is a command
    local name=$1
    shift
    if "$@"; then
        count 1 0
    else
        printf 'FAILED: %s\n' "$name"
        count 0 1
    fi
}

configure() { # directory option...
    local dir=$1
    shift
    if [ -d "$dir/meson-info" ]; then
        meson configure "$dir" "$@" >/dev/null
    else
        meson setup "$dir" "$@" >"$dir.setup.log" 2>&1 || {
            cat "$dir.setup.log"
            return 1
        }
    fi
}

compile() { ninja -C "$1" --quiet; }

# Runs meson tests and counts what their own summary says.
run_meson() { # directory args...
    local dir=$1
    shift
    local log="$dir/run.log"
    meson test -C "$dir" --no-rebuild --print-errorlogs "$@" >"$log" 2>&1
    local rv=$?
    local ok bad
    ok=$(awk '/^Ok:/ {print $2}' "$log")
    bad=$(awk '/^(Fail|Skipped|Timeout|Unexpected Pass|Expected Fail):/ {n += $NF} END {print n + 0}' "$log")
    if [ -z "$ok" ] || { [ "$rv" != 0 ] && [ "$bad" = 0 ]; }; then
        ok=0
        bad=1
    fi
    [ "$bad" = 0 ] || cat "$log"
    grep -E '^ *[0-9]+/[0-9]+ ' "$log" | sed 's/  */ /g' || :
    count "$ok" "$bad"
}

run_pytest() { # args...
    local log="$build/pytest.log" xml="$build/pytest.xml"
    rm -f "$xml"
    VECHE_BUILD=$build /usr/bin/python3 -m pytest -p no:cacheprovider --durations=15 -ra \
        --junit-xml="$xml" "$@" 2>&1 | tee "$log"
    local line
    line=$(/usr/bin/python3 - "$xml" <<'PY'
import sys, xml.etree.ElementTree as tree
try:
    suite = tree.parse(sys.argv[1]).getroot().find("testsuite")
    n = {k: int(suite.get(k)) for k in ("tests", "failures", "errors", "skipped")}
    bad = n["failures"] + n["errors"] + n["skipped"]
    print(n["tests"] - bad, bad if n["tests"] else 1)
except (OSError, tree.ParseError, AttributeError):
    print(0, 1)
PY
    )
    # shellcheck disable=SC2086
    count $line
}

stage_tidy() {
    check tidy /usr/bin/python3 tests/tidy/tidy.py
    check 'an old libraft is refused' tests/tidy/old_raft.sh
    check 'the lease library stands alone' tests/tidy/lease_alone.sh
}

stage_build() {
    local started=$SECONDS
    check configure configure "$build" -Dwerror=true &&
        check compile compile "$build" &&
        check install tests/tidy/install.sh "$build"
    printf 'build: %d s\n' $((SECONDS - started))
}

# The lease library was tested by itself, in stage tidy.
stage_unit() { run_meson "$build" --no-suite sim --no-suite lease; }

stage_sanitize() {
    check 'configure with sanitizers' configure "$build-asan" -Dwerror=true \
        -Db_sanitize=address,undefined -Db_lundef=false &&
        check 'compile with sanitizers' compile "$build-asan"
    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 run_meson "$build-asan" --no-suite sim -t 4
}

stage_clang() {
    CC=clang check 'configure with clang' configure "$build-clang" -Dwerror=true &&
        check 'compile with clang' compile "$build-clang"
}

stage_sim() { run_meson "$build" --suite sim -v -t 10; }

stage_integration() { run_pytest tests/integration; }

say "dependencies"
deploy/install-deps.sh --test || exit 1
for stage in $stages; do
    say "$stage"
    started=$SECONDS
    "stage_$stage"
    times+=("$stage $((SECONDS - started)) s")
done

say "time of each stage"
printf '%s\n' "${times[@]}"
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
