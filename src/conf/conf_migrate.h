/*
 * A configuration of Patroni made one of Veche, for `vechectl migrate`: what another
 * store needed makes room for raft:, older spellings become the newer ones, and what has
 * no meaning here goes; each of these is a note that says why.
 */
#ifndef VECHE_CONF_CONF_MIGRATE_H
#define VECHE_CONF_CONF_MIGRATE_H

#include "base/err.h"
#include "base/kv.h"

enum conf_note {
    CONF_NOTE_CHANGED, /* It is written another way. */
    CONF_NOTE_DROPPED, /* It is not in the result. */
    CONF_NOTE_CHECK,   /* Somebody has to look, or to fill in something. */
    CONF_NOTES,
};

struct conf_migration {
    char *json;                       /* The result, keys in their order. */
    struct kv_list notes[CONF_NOTES]; /* As keys: "file:line:column: key: why". */
};

/* partners: host or host:port of every node, as keys; empty = guessed from the store's hosts. 0,
 * or -1 and why; *ret is the caller's to deinit either way. The result has been read as an agent
 * would. */
MUST_USE int conf_migrate(const char *path, const struct kv_list *partners,
                          struct conf_migration *ret, struct err *err);
/* The same with a tree, which is changed. Private to src/conf and its tests. */
struct conf_node;
MUST_USE int conf_migrate_tree(struct conf_node *root, const struct kv_list *partners,
                               struct conf_migration *ret, struct err *err);
void conf_migration_deinit(struct conf_migration *m);

#endif
