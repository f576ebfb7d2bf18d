#!/usr/bin/env bash
# Checks the model with spin; README.md tells what it means.
#
#   run.sh CONFIGURATION             every state: passes if no assertion fails
#   run.sh CONFIGURATION MUTANT_x    one rule broken: passes if an assertion fails
#   run.sh CONFIGURATION REACH_x     the same for a sight that must occur
#   run.sh --list [--long]           what there is to run, one run a line
#
# No depth limit, no bitstate hashing, no partial order reduction: if the search
# was not complete, it failed. States and time are printed; of a mutant, the
# shortest history that breaks a promise. MODEL_MEMORY is the limit in MB.
set -euo pipefail
source=$(cd "$(dirname "$0")" && pwd)/lease.pml
: "${CC:=cc}" "${MODEL_MEMORY:=3000}"

# Configuration, its definitions, then what must fail in it.
configurations() {
    cat <<'TABLE'
base|-DAPPLY_AT_ANY_TIME|MUTANT_NO_QUARANTINE MUTANT_NO_CATCH_UP MUTANT_UNKNOWN_ROUND REACH_TAKEOVERS REACH_REBOOTS REACH_ROUNDS
release|-DRELEASE -DEPOCHS=2 -DREBOOTS_ALL=1|MUTANT_RELEASE_BEFORE_STOP MUTANT_THAW_LATE REACH_REBOOTS REACH_RELEASE REACH_THAW
TABLE
}

# For tests/long.sh: finer time, more of everything.
long_configurations() {
    cat <<'TABLE'
base-reboots|-DREBOOTS=2|
base-time|-DTTL=3|
release-reboots|-DRELEASE -DEPOCHS=2|
release-epochs|-DRELEASE -DREBOOTS=0|
TABLE
}

list() { # lines of a table
    local name definitions failing one
    while IFS='|' read -r name definitions failing; do
        printf '%s\n' "$name"
        for one in $failing; do
            printf '%s %s\n' "$name" "$one"
        done
    done
}

definitions_of() { # configuration
    { configurations; long_configurations; } |
        awk -F'|' -v name="$1" '$1 == name { print $2; found = 1 } END { exit !found }'
}

fail() { printf 'model: %s\n' "$*" >&2; exit 1; }

number() { # what: the number before it in spin's report
    awk -v what="$1" 'index($0, what) { print $1; exit }' report
}

build() { # spin's definitions, then pan's
    local definitions=$1
    shift
    # shellcheck disable=SC2086
    spin -a $definitions lease.pml >spin.log 2>&1 || { cat spin.log; fail 'spin refused the model'; }
    $CC -w -O2 -DSAFETY -DNOREDUCE -DCOLLAPSE "-DMEMLIM=$MODEL_MEMORY" "$@" -o pan pan.c
}

# Depth first. Everything that was reached is checked; what can not be reached is
# an event that the model has in vain.
verify() { # definitions
    build "$1"
    ./pan -m5000000 >report || :
    grep -q '^Full statespace search' report || fail 'this was no full search'
    grep -Eqi 'too small|bit statespace|out of memory|aborted|truncated|not completed' report &&
        { cat report; fail 'the search is incomplete'; }
    grep -q 'errors: 0$' report || { history "$1"; fail 'an assertion failed'; }
    grep 'lease.pml:' report | grep -v -e '-end-' && fail 'there are events that never happen'
    printf '%s states, %s transitions, %s MB, %s s: all good\n' "$(number 'states, stored')" \
        "$(number 'transitions (=')" "$(number 'total actual memory')" \
        "$(awk '/elapsed time/ { print $4 }' report)"
}

history() { # definitions
    # shellcheck disable=SC2086
    spin -t $1 lease.pml | sed -n 's/^ *> /    /p'
}

# Breadth first, so that the history found is a shortest one.
must_fail() { # definitions
    build "$1" -DBFS
    ./pan >report || :
    grep 'assertion violated' report || { cat report; fail 'no assertion failed'; }
    history "$1" >history
    cat history
    printf 'fails after %s events, the fewest; %s states\n' "$(wc -l <history)" \
        "$(number 'states, stored')"
}

if [ "${1:-}" = --list ]; then
    if [ "${2:-}" = --long ]; then long_configurations; else configurations; fi | list
    exit
fi
name=${1:?configuration}
definitions=$(definitions_of "$name") || fail "there is no configuration '$name'"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp "$source" "$dir"
cd "$dir"
printf 'model %s: ' "$*"
if [ $# -gt 1 ]; then
    must_fail "$definitions -D$2"
else
    verify "$definitions"
fi
