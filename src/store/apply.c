/*
 * store_apply(): the table from a command to its function, and what holds
 * around every one of them. The functions are in apply_primary.c (epochs),
 * apply_sync.c (the synchronous state and WAL positions) and apply_other.c.
 */
#include "store/apply.h"

#include "store/apply_internal.h"

/* clang-format off */
#define APPLY_GENERATE(enumerator, name, text) \
    static enum apply_result run_##name(struct apply *a, const struct command *c) \
    { \
        return apply_##name(a, &c->name); \
    }
COMMANDS(APPLY_GENERATE)
#undef APPLY_GENERATE

static enum apply_result (*const appliers[COMMAND_KINDS])(struct apply *a,
                                                          const struct command *c) = {
#define APPLY_ROW(enumerator, name, text) [COMMAND_##enumerator] = run_##name,
    COMMANDS(APPLY_ROW)
#undef APPLY_ROW
};

static const char *const result_names[APPLY_RESULTS] = {
    [APPLY_DONE]             = "done",
    [APPLY_UNCHANGED]        = "unchanged",
    [APPLY_REFUSED_EPOCH]    = "refused: epoch moved",
    [APPLY_REFUSED_SYNC]     = "refused: synchronous state moved or forbids it",
    [APPLY_REFUSED_STATE]    = "refused: not possible in this state",
    [APPLY_REFUSED_REVISION] = "refused: configuration changed meanwhile",
    [APPLY_REFUSED_BUSY]     = "refused: another request is pending",
    [APPLY_REFUSED_LIMIT]    = "refused: table is full",
    [APPLY_REFUSED_VALUE]    = "refused: bad value",
};
/* clang-format on */

enum apply_result store_apply(struct store *s, uint64_t index, const struct command *c,
                              unsigned *ret_changes)
{
    struct apply a = {.s = s, .index = index};
    uint64_t epoch_before = s->primary.epoch;
    enum apply_result result = APPLY_REFUSED_STATE;

    PRE(index > s->applied_index);
    PRE(command_broken_field(c) == NULL);
    if (s->cluster.id != 0 || c->kind == COMMAND_CLUSTER_CREATE) {
        result = appliers[c->kind](&a, c);
    }
    s->applied_index = index;
    *ret_changes = a.changes;
    POST((result == APPLY_DONE) == (a.changes != 0));
    POST(s->primary.epoch == epoch_before || s->primary.epoch == epoch_before + 1); /* S3. */
    POST(store_broken_invariant(s) == NULL);
    return result;
}

const char *apply_result_name(enum apply_result result)
{
    return (uint32_t)result < APPLY_RESULTS ? result_names[result] : "?";
}

bool apply_result_is_refusal(enum apply_result result)
{
    return result != APPLY_DONE && result != APPLY_UNCHANGED;
}

void put_text(char *dst, size_t size, const char *src)
{
    size_t length;

    (void)str_copy(dst, size, src); /* Fits, or is evidence that may be cut. */
    length = strlen(dst);
    memset(dst + length, 0, size - length);
}

const struct store_member *find_postgres(const struct store *s, const char *name)
{
    const struct store_member *m = store_find_member(s, name);

    return m != NULL && m->mode == MODE_POSTGRES ? m : NULL;
}
