/*
 * The two tables of reconciliation: which steps an action has, and what
 * becomes of a running sequence when something else is decided. Pure; the
 * second one is repeated in the test, cell by cell.
 */
#include "ops/ops_internal.h"

/* clang-format off */
static const struct {
    const struct seq_step *steps;
    bool urgent;
    bool backs_off;
} actions[ACTIONS] = {
    /*                       steps                   urgent backs off */
    [ACTION_BOOTSTRAP]     = {op_bootstrap_steps,     false, true},
    [ACTION_CLONE]         = {op_clone_steps,         false, true},
    [ACTION_REWIND]        = {op_rewind_steps,        false, true},
    [ACTION_START_PRIMARY] = {op_start_primary_steps, false, true},
    [ACTION_START_STANDBY] = {op_start_standby_steps, false, true},
    [ACTION_PREPARE]       = {op_prepare_steps,       false, true},
    [ACTION_PROMOTE]       = {op_promote_steps,       false, true},
    [ACTION_FOLLOW]        = {op_follow_steps,        false, true},
    [ACTION_CHECKPOINT]    = {op_checkpoint_steps,    false, true},
    [ACTION_STOP]          = {op_stop_steps,          false, false},
    [ACTION_FENCE]         = {op_fence_steps,         true,  false},
    [ACTION_CLEAN_UP]      = {op_clean_up_steps,      true,  false},
};

/*
 * Row: what runs. Column: what is decided.
 *
 * FENCE and CLEAN_UP wait for nobody, and nobody stops them before PostgreSQL
 * is gone. A clean stop that has signalled can only be waited for, or cut
 * short by a fence. A promotion that has been signalled cannot be taken back:
 * cancelling it stops the server (op_promote.c), so what comes after it in
 * good order waits. The same holds for the last steps of bootstrap, clone and
 * start, in which PostgreSQL already looks as if it needed the next thing.
 * Only pre_promote ends when nothing at all is decided: without the lease it is not to go on.
 */
#define K OP_KEEP
#define C OP_CANCEL
#define E OP_CANCEL_EARLY
#define X OP_CUT
static const enum op_relation relations[ACTIONS][ACTIONS] = {
    /*                       none boot clone rwnd sprim sstby prep prom foll chkp stop fence clean */
    [ACTION_NONE]          = {K,   C,   C,    C,   C,    C,    C,   C,   C,   C,   C,   X,    X},
    [ACTION_BOOTSTRAP]     = {K,   K,   C,    C,   C,    C,    C,   C,   C,   K,   C,   X,    X},
    [ACTION_CLONE]         = {K,   C,   K,    C,   C,    K,    C,   C,   K,   K,   C,   X,    X},
    [ACTION_REWIND]        = {K,   C,   C,    K,   C,    K,    C,   C,   K,   K,   C,   X,    X},
    [ACTION_START_PRIMARY] = {K,   C,   C,    C,   K,    C,    K,   K,   C,   K,   C,   X,    X},
    [ACTION_START_STANDBY] = {K,   C,   C,    C,   C,    K,    C,   C,   C,   K,   C,   X,    X},
    [ACTION_PREPARE]       = {C,   C,   C,    C,   C,    C,    K,   C,   C,   C,   C,   X,    X},
    [ACTION_PROMOTE]       = {K,   C,   C,    C,   C,    C,    K,   K,   C,   K,   C,   X,    X},
    [ACTION_FOLLOW]        = {K,   C,   C,    C,   C,    C,    C,   C,   K,   C,   C,   X,    X},
    [ACTION_CHECKPOINT]    = {K,   C,   C,    C,   C,    C,    C,   C,   C,   K,   C,   X,    X},
    [ACTION_STOP]          = {K,   E,   E,    E,   E,    E,    E,   E,   E,   E,   K,   X,    X},
    [ACTION_FENCE]         = {K,   K,   K,    K,   K,    K,    K,   K,   K,   K,   K,   K,    K},
    [ACTION_CLEAN_UP]      = {K,   K,   K,    K,   K,    K,    K,   K,   K,   K,   K,   X,    K},
};
#undef K
#undef C
#undef E
#undef X
/* clang-format on */

enum op_relation op_relation(enum node_action running, enum node_action decided)
{
    PRE(running < ACTIONS);
    PRE(decided < ACTIONS);

    return relations[running][decided];
}

bool op_is_urgent(enum node_action action)
{
    PRE(action < ACTIONS);

    return actions[action].urgent;
}

bool op_backs_off(enum node_action action)
{
    PRE(action < ACTIONS);

    return actions[action].backs_off;
}

const struct seq_step *op_steps(enum node_action action)
{
    PRE(action < ACTIONS);
    PRE(actions[action].steps != NULL);

    return actions[action].steps;
}
