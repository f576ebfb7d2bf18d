#!/usr/bin/env bash
# Checks the model with spin; README.md tells what it means.
#
#   run.sh CONFIGURATION             every state: passes if no assertion fails
#   run.sh CONFIGURATION MUTANT_x    one rule broken: passes if an assertion fails
#   run.sh CONFIGURATION REACH_x     the same for a sight that must occur
#   run.sh --list [--long]           what there is to run, one run a line
#
# No depth limit, no bitstate hashing, no partial order reduction: if the search
# was not complete, it failed. States and time are printed; of a mutant, a history
# that breaks a promise. MODEL_MEMORY is the limit in MB.
set -euo pipefail
source=$(cd "$(dirname "$0")" && pwd)/lease.pml
: "${CC:=cc}" "${MODEL_MEMORY:=3000}"

# Configuration, its definitions, what must fail in it by a shortest history, and
# what must fail by any: the shortest would take too long to find.
configurations() {
    cat <<'TABLE'
base||MUTANT_NO_QUARANTINE MUTANT_NO_CATCH_UP MUTANT_UNKNOWN_ROUND REACH_TAKEOVERS REACH_ROUNDS|REACH_ALL
release|-DRELEASE -DEPOCHS=2|MUTANT_RELEASE_BEFORE_STOP MUTANT_THAW_LATE REACH_REBOOTS REACH_RELEASE REACH_THAW|
ttl|-DTTLS -DEPOCHS=2 -DREBOOTS_ALL=1|MUTANT_OWN_TTL REACH_TTL REACH_LONG|MUTANT_UNWRITTEN MUTANT_LOWERED_AT_ONCE
sets|-DSETS -DTTL=1 -DVOTERS=5 -DEPOCHS=2 -DREBOOTS=0||MUTANT_OWN_SET MUTANT_HASTE REACH_DEAF REACH_HEARS
sets-back|-DSETS -DBACK -DLEVEL -DTTL=1 -DVOTERS=5 -DEPOCHS=2 -DREBOOTS=0||MUTANT_OWN_SET MUTANT_HASTE MUTANT_FAR_BEHIND REACH_DEAF
grow|-DSETS -DLAST_SET=2 -DTTL=1 -DVOTERS=5 -DEPOCHS=2 -DREBOOTS=0|MUTANT_OWN_SET|
shrink|-DSETS -DFIRST=2 -DTTL=1 -DVOTERS=5 -DEPOCHS=2 -DREBOOTS=0|MUTANT_OWN_SET|
slew|-DSLEW -DEPOCHS=2 -DREBOOTS=0|MUTANT_BOOTTIME_ALONE REACH_SLEW|MUTANT_OWNER_BOOTTIME_ALONE
suspend|-DSUSPEND -DEPOCHS=2 -DREBOOTS=0|MUTANT_OWNER_RAW_ALONE REACH_SUSPEND|
TABLE
}

# For tests/long.sh: finer time, more of everything.
long_configurations() {
    cat <<'TABLE'
base-plain|-DPLAIN -DAPPLY_AT_ANY_TIME||
base-reboots|-DREBOOTS=2||
base-time|-DTTL=3||
ttl-reboots|-DTTLS -DEPOCHS=2||
ttl-changes|-DTTLS -DEPOCHS=2 -DREBOOTS_ALL=1 -DCHANGES=3||
grow-plain|-DPLAIN -DSETS -DLAST_SET=2 -DTTL=1 -DVOTERS=5 -DEPOCHS=2 -DREBOOTS=0||
slew-reboots|-DSLEW -DEPOCHS=2 -DREBOOTS_ALL=1||
slew-epochs|-DSLEW -DREBOOTS=0||
suspend-epochs|-DSUSPEND||
TABLE
}

list() { # lines of a table
    local name definitions shortest any one
    while IFS='|' read -r name definitions shortest any; do
        printf '%s\n' "$name"
        for one in $shortest $any; do
            printf '%s %s\n' "$name" "$one"
        done
    done
}

definitions_of() { # configuration
    { configurations; long_configurations; } |
        awk -F'|' -v name="$1" '$1 == name { print $2; found = 1 } END { exit !found }'
}

by_any_history() { # configuration, what must fail
    { configurations; long_configurations; } |
        awk -F'|' -v name="$1" -v one="$2" \
            '$1 == name && index(" " $4 " ", " " one " ") { found = 1 } END { exit !found }'
}

fail() { printf 'model: %s\n' "$*" >&2; exit 1; }

number() { # what: the number before it in spin's report
    awk -v what="$1" 'index($0, what) { print $1; exit }' report
}

build() { # -Ox, spin's definitions, then pan's
    local optimize=$1 definitions=$2
    shift 2
    # shellcheck disable=SC2086
    spin -a $definitions lease.pml >spin.log 2>&1 || { cat spin.log; fail 'spin refused the model'; }
    $CC -w "$optimize" -DSAFETY -DNOREDUCE "-DMEMLIM=$MODEL_MEMORY" "$@" -o pan pan.c
}

# Depth first. Everything that was reached is checked; what can not be reached is
# an event that the model has in vain.
verify() { # definitions
    build -O2 "$1"
    ./pan -m1000000 >report || :
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

# Breadth first, the history found is a shortest one.
must_fail() { # definitions
    build -O1 "$1 -DBREADTH" -DBFS
    ./pan >report || :
    expect_failure "$1"
    cat history
    printf 'fails after %s events, the fewest\n' "$(wc -l <history)"
}

must_fail_somehow() { # definitions
    build -O1 "$1"
    ./pan -m1000000 >report || :
    expect_failure "$1"
    printf 'fails after %s events\n' "$(wc -l <history)"
}

expect_failure() { # definitions
    grep 'assertion violated' report || { cat report; fail 'no assertion failed'; }
    history "$1" >history
    [ -s history ] || fail 'the history can not be shown'
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
if [ $# -gt 1 ] && by_any_history "$1" "$2"; then
    must_fail_somehow "$definitions -D$2"
elif [ $# -gt 1 ]; then
    must_fail "$definitions -D$2"
else
    verify "$definitions"
fi
