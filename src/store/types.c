/*
 * Names of the words in types.h, and the text forms of positions and names.
 */
#include "store/types.h"

#include <inttypes.h>

const char *node_mode_name(enum node_mode mode)
{
    switch (mode) {
    case MODE_POSTGRES:
        return "postgres";
    case MODE_WITNESS:
        return "witness";
    }
    return "?";
}

static const struct {
    const char *name;
    int number; /* In Patroni's metric patroni_postgres_state. */
} pg_states[] = {
    /* clang-format off */
    [PG_STATE_UNKNOWN]          = {"unknown",                   -1},
    [PG_STATE_INITIALIZING]     = {"initializing new cluster",  0},
    [PG_STATE_INITDB_FAILED]    = {"initdb failed",             1},
    [PG_STATE_CREATING_REPLICA] = {"creating replica",          4},
    [PG_STATE_RUNNING]          = {"running",                   5},
    [PG_STATE_STARTING]         = {"starting",                  6},
    [PG_STATE_START_FAILED]     = {"start failed",              8},
    [PG_STATE_RESTARTING]       = {"restarting",                9},
    [PG_STATE_STOPPING]         = {"stopping",                  11},
    [PG_STATE_STOPPED]          = {"stopped",                   12},
    [PG_STATE_STOP_FAILED]      = {"stop failed",               13},
    [PG_STATE_CRASHED]          = {"crashed",                   14},
    /* clang-format on */
};
_Static_assert(ARRAY_LENGTH(pg_states) == PG_STATE_MAX + 1, "every state has a row");

const char *pg_state_name(enum pg_state state)
{
    return (uint32_t)state <= PG_STATE_MAX ? pg_states[state].name : "?";
}

int pg_state_number(enum pg_state state)
{
    return (uint32_t)state <= PG_STATE_MAX ? pg_states[state].number : -1;
}

const char *pg_role_name(enum pg_role role)
{
    switch (role) {
    case PG_ROLE_UNKNOWN:
        return "unknown";
    case PG_ROLE_PRIMARY:
        return "primary";
    case PG_ROLE_STANDBY:
        return "replica";
    case PG_ROLE_UNINITIALIZED:
        return "uninitialized";
    case PG_ROLE_NONE:
        return "witness";
    }
    return "?";
}

const char *data_state_name(enum data_state state)
{
    switch (state) {
    case DATA_UNKNOWN:
        return "unknown";
    case DATA_EMPTY:
        return "empty";
    case DATA_VALID:
        return "valid";
    case DATA_INCOMPLETE:
        return "incomplete";
    case DATA_FOREIGN:
        return "foreign";
    case DATA_REWINDING:
        return "rewinding";
    }
    return "?";
}

const char *init_state_name(enum init_state state)
{
    switch (state) {
    case INIT_NONE:
        return "none";
    case INIT_RUNNING:
        return "running";
    case INIT_DONE:
        return "done";
    }
    return "?";
}

const char *promise_state_name(enum promise_state state)
{
    switch (state) {
    case PROMISE_NONE:
        return "none";
    case PROMISE_LIVE:
        return "live";
    case PROMISE_QUARANTINE:
        return "quarantine";
    }
    return "?";
}

const char *request_kind_name(enum request_kind kind)
{
    switch (kind) {
    case REQUEST_NONE:
        return "none";
    case REQUEST_SWITCHOVER:
        return "switchover";
    case REQUEST_FAILOVER:
        return "failover";
    case REQUEST_RESTART:
        return "restart";
    case REQUEST_REINIT:
        return "reinit";
    }
    return "?";
}

const char *lsn_format(lsn_t lsn, char *text, size_t size)
{
    PRE(size >= LSN_TEXT_SIZE);
    (void)snprintf(text, size, "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn >> 32), (uint32_t)lsn);
    return text;
}

/* One to eight hexadecimal digits; advances *text behind them. */
static bool parse_half(const char **text, uint32_t *ret_half)
{
    uint32_t half = 0;
    int n = 0;

    for (; n < 9; n++, (*text)++) {
        char ch = **text;

        if (ch >= '0' && ch <= '9') {
            half = half << 4 | (uint32_t)(ch - '0');
        } else if (ch >= 'A' && ch <= 'F') {
            half = half << 4 | (uint32_t)(ch - 'A' + 10);
        } else if (ch >= 'a' && ch <= 'f') {
            half = half << 4 | (uint32_t)(ch - 'a' + 10);
        } else {
            break;
        }
    }
    *ret_half = half;
    return n >= 1 && n <= 8;
}

bool lsn_parse(const char *text, lsn_t *ret_lsn)
{
    uint32_t high;
    uint32_t low;

    if (!parse_half(&text, &high) || *text++ != '/' || !parse_half(&text, &low) || *text != '\0') {
        return false;
    }
    *ret_lsn = (lsn_t)high << 32 | low;
    return true;
}

static bool is_name_char(char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
           ch == '-' || ch == '_' || ch == '.';
}

bool name_is_valid(const char *name)
{
    size_t length = strnlen(name, NAME_SIZE);

    if (length == 0 || length >= NAME_SIZE || name[0] == '.' || name[0] == '-') {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (!is_name_char(name[i])) {
            return false;
        }
    }
    return true;
}
