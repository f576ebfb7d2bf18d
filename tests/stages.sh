# Shared by run.sh and long.sh, which source it: a stage is a function stage_NAME;
# what it tests is counted; `run_stages` runs the named ones and prints the sum.
# The caller has set `build`, and works in the top directory.
# shellcheck shell=bash
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

ended_well() { # pid log: of a command that runs beside others
    if wait "$1"; then tail -n 1 "$2"; else cat "$2"; return 1; fi
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

# Runs meson tests and counts what their own summary says. Most wait for a disk or a server,
# so more of them at a time than there are cores; those of the simulation do not.
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

# A machine on which nothing works is told so soon: each of its failures waits a minute or more.
run_pytest() { # args...
    local log="$build/pytest.log" xml="$build/pytest.xml"
    rm -f "$xml"
    VECHE_BUILD=$build /usr/bin/python3 -m pytest -p no:cacheprovider --durations=15 -ra --maxfail=20 \
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

# All of them but those that saturate the machine, which go by themselves.
run_integration() { # args...
    run_pytest -n 6 --dist loadgroup --ignore=tests/integration/test_no_false_alarm.py \
        --deselect tests/integration/test_guard.py::test_205_busy_processes_are_frozen_in_time \
        "$@" ${VECHE_PYTEST:-tests/integration}
}

# Cores and disk at their limits for that long: no failover and no freeze.
run_load() { # seconds
    VECHE_LOAD_SECONDS=$1 run_pytest tests/integration/test_no_false_alarm.py
}

# Every fuzz target for that long, two at a time; from the kept corpus, which is
# also a regression test.
run_fuzz() { # seconds
    local dir="$build-fuzz" target
    CC=clang check 'configure for fuzzing' configure "$dir" -Dwerror=true -Dfuzz=true \
        -Db_sanitize=address,undefined -Db_lundef=false &&
        check 'compile for fuzzing' ninja -C "$dir" --quiet fuzz || return
    find tests/fuzz -name 'fuzz_*.c' -printf '%f\n' | sed 's/^fuzz_//; s/\.c$//' | sort |
        xargs -P 2 -I TARGET sh -c \
            'tests/fuzz/run.sh "$1" TARGET "$2" >"$1/TARGET.out" 2>&1; echo $? >"$1/TARGET.rc"' \
            sh "$dir" "$1"
    for target in tests/fuzz/fuzz_*.c; do
        target=$(basename "$target" .c)
        target=${target#fuzz_}
        cat "$dir/$target.out"
        check "fuzz $target" test "$(cat "$dir/$target.rc")" = 0
    done
}

# Another script like this one: its last line is counted.
run_script() { # command...
    local log="$build/script.log" line
    mkdir -p "$build"
    "$@" 2>&1 | tee "$log"
    line=$(tail -n 1 "$log" | sed -nE 's/^([0-9]+) passed, ([0-9]+) failed$/\1 \2/p')
    # shellcheck disable=SC2086
    count ${line:-0 1}
}

run_stages() { # stage...
    local stage started
    say "dependencies"
    deploy/install-deps.sh --test || exit 1
    for stage in "$@"; do
        say "$stage"
        started=$SECONDS
        "stage_$stage"
        times+=("$stage $((SECONDS - started)) s")
    done
    say "time of each stage"
    printf '%s\n' "${times[@]}"
    printf '\n%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}
