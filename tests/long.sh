#!/usr/bin/env bash
# The second tier: what takes too long for every change. Run before an issue is
# closed; ends with one line "N passed, N failed", as run.sh does.
#
#   tests/long.sh              everything, a few hours
#   tests/long.sh kills lxc    only these stages: asan kills faults load fuzz rewind model sim lxc debian13 next
set -uo pipefail
cd "$(dirname "$0")/.."

build=${VECHE_BUILD:-$PWD/build}
. tests/stages.sh

need_build() {
    check configure configure "$build" -Dwerror=true && check compile compile "$build"
}

# The integration tests again, every agent with ASan and UBSan.
stage_asan() {
    check 'configure with sanitizers' configure "$build-asan" -Dwerror=true \
        -Db_sanitize=address,undefined -Db_lundef=false &&
        check 'compile with sanitizers' compile "$build-asan" || return
    local build="$build-asan"
    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 run_integration
}

# Every row of every step table, before and after, agent and node; random moments.
stage_kills() {
    need_build
    VECHE_KILL_POINTS=all VECHE_KILL_RANDOM=40 run_pytest tests/integration/test_kill_points.py
}

# Ten minutes each.
stage_fuzz() { run_fuzz 600; }

# Every fault with clients that go on writing to the old primary, and mixtures of them.
stage_faults() {
    need_build
    VECHE_FAULTS=all VECHE_FAULT_MIXTURES=20 run_pytest tests/integration/test_second_writer.py
}

# Half an hour at the machine's limits.
stage_load() {
    need_build
    run_load 1800
    run_pytest tests/integration/test_guard.py::test_205_busy_processes_are_frozen_in_time
}

# A database of some GB.
stage_rewind() {
    need_build
    VECHE_REWIND_MB=3000 run_pytest tests/integration/test_rewind.py
}

# The larger worlds of the lease's model, one after the other.
stage_model() {
    local run
    while read -r run; do
        # shellcheck disable=SC2086
        check "model $run" env MODEL_MEMORY=12000 subprojects/lease/model/run.sh $run
    done < <(subprojects/lease/model/run.sh --list --long)
}

stage_sim() {
    need_build
    check '10,000 seeds' "$build/tests/sim/sim" --seeds 10000
    check '3,000 seeds, synchronous' "$build/tests/sim/sim" --sync --seeds 3000
}

# No real-time priority, no locked memory, no cgroups to write to.
stage_lxc() {
    need_build
    # One is about what is denied here.
    VECHE_UNPRIVILEGED=1 run_integration --deselect \
        tests/integration/test_agent_restart.py::test_an_isolated_primary_in_a_delegated_cgroup_is_frozen_by_its_freezer
}

# Debian 13 with PostgreSQL 17, and the release after it with the next PostgreSQL.
stage_debian13() { run_script tests/debian13.sh; }
stage_next() { run_script tests/debian13.sh --suite forky; }

[ $# -gt 0 ] || set -- asan kills faults load fuzz rewind model sim lxc debian13 next
run_stages "$@"
