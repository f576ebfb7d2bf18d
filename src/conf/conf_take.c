/*
 * A configuration that was read again, and the one that runs: what the schema says
 * can change without a restart changes hands, key by key; the rest is named.
 */
#include "base/kv.h"
#include "base/str.h"
#include "conf/conf.h"
#include "conf/conf_schema.h"

struct taking {
    struct conf *running, *fresh;
    struct strbuf *changed, *restart;
    bool without_postgresql; /* One of them is a witness, and has none. */
};

static void *at(struct conf *c, size_t offset)
{
    return (char *)c + offset;
}

static void swap_bytes(void *a, void *b, size_t size)
{
    char copy[sizeof(struct kv_list)];

    PRE(size <= sizeof(copy));
    memcpy(copy, a, size);
    memcpy(a, b, size);
    memcpy(b, copy, size);
}

static bool same_lists(const struct kv_list *a, const struct kv_list *b)
{
    bool same = a->n == b->n;

    for (size_t i = 0; same && i < a->n; i++) {
        same = str_equal(a->items[i].key, b->items[i].key) &&
               str_equal(a->items[i].value, b->items[i].value);
    }
    return same;
}

static bool same_addresses(const struct conf *a, const struct conf *b)
{
    bool same = a->n_raft_partners == b->n_raft_partners;

    for (size_t i = 0; same && i < a->n_raft_partners; i++) {
        same = str_equal(a->raft_partner_addrs[i], b->raft_partner_addrs[i]);
    }
    return same;
}

/* Of one entry of a list that several keys share. */
static void take_entry(const struct taking *t, const struct conf_row *row)
{
    const char *key = strrchr(row->path, '.') + 1;
    struct kv_list *running = at(t->running, row->offset);
    const char *value = kv_get(at(t->fresh, row->offset), key);

    if (value != NULL) {
        kv_set(running, key, value);
    } else {
        kv_remove(running, key);
    }
}

static bool same_entry(const struct taking *t, const struct conf_row *row)
{
    const char *key = strrchr(row->path, '.') + 1;

    return str_equal(kv_get(at(t->running, row->offset), key),
                     kv_get(at(t->fresh, row->offset), key));
}

static void take_port(const struct taking *t, const struct conf_row *row)
{
    swap_bytes(at(t->running, row->second_offset), at(t->fresh, row->second_offset),
               sizeof(uint16_t));
}

/* The flags that were made of them. */
static void take_tags(const struct taking *t)
{
    struct conf *a = t->running;
    struct conf *b = t->fresh;

    swap_bytes(&a->nofailover, &b->nofailover, sizeof(bool));
    swap_bytes(&a->noloadbalance, &b->noloadbalance, sizeof(bool));
    swap_bytes(&a->clonefrom, &b->clonefrom, sizeof(bool));
    swap_bytes(&a->nosync, &b->nosync, sizeof(bool));
    swap_bytes(&a->nostream, &b->nostream, sizeof(bool));
    swap_bytes(&a->failover_priority, &b->failover_priority, sizeof(uint32_t));
    swap_bytes(&a->sync_priority, &b->sync_priority, sizeof(uint32_t));
    swap_bytes(&a->replicatefrom, &b->replicatefrom, sizeof(char *));
}

enum shape { /* How a value lies in the struct. */
             SHAPE_NONE,
             SHAPE_TEXT,
             SHAPE_TEXT_AND_PORT,
             SHAPE_LIST,
             SHAPE_ENTRY,
             SHAPE_ADDRESSES,
             SHAPE_BOOL,
             SHAPE_MODE,
             SHAPE_NUMBER, /* 8 bytes. */
};

static enum shape shape_of(enum conf_type type)
{
    static const enum shape shapes[] = {
        [CONF_TEXT] = SHAPE_TEXT,
        [CONF_SECRET] = SHAPE_TEXT,
        [CONF_NAME] = SHAPE_TEXT,
        [CONF_PATH] = SHAPE_TEXT,
        [CONF_BOOL] = SHAPE_BOOL,
        [CONF_INT] = SHAPE_NUMBER,
        [CONF_BYTES] = SHAPE_NUMBER,
        [CONF_DURATION] = SHAPE_NUMBER,
        [CONF_CHOICE] = SHAPE_TEXT,
        [CONF_MODE] = SHAPE_MODE,
        [CONF_LOG_LEVEL] = SHAPE_TEXT,
        [CONF_ADDRESS] = SHAPE_TEXT,
        [CONF_ADDRESS_LIST] = SHAPE_ADDRESSES,
        [CONF_LISTEN] = SHAPE_TEXT_AND_PORT,
        [CONF_HOST_PORT] = SHAPE_TEXT_AND_PORT,
        [CONF_PARAMETERS] = SHAPE_LIST,
        [CONF_LINES] = SHAPE_LIST,
        [CONF_WORDS] = SHAPE_LIST,
        [CONF_OPTIONS] = SHAPE_LIST,
        [CONF_ENTRY] = SHAPE_ENTRY,
        [CONF_USERS] = SHAPE_LIST,
        [CONF_METHODS] = SHAPE_LIST,
        [CONF_TAGS] = SHAPE_TEXT,
        [CONF_DCS] = SHAPE_TEXT,
        [CONF_SLOTS] = SHAPE_LIST,
        [CONF_IGNORED] = SHAPE_LIST,
        [CONF_ANY] = SHAPE_NONE,
    };

    return shapes[type];
}

static size_t size_of(enum shape shape)
{
    static const size_t sizes[] = {
        [SHAPE_TEXT] = sizeof(char *),         [SHAPE_TEXT_AND_PORT] = sizeof(char *),
        [SHAPE_LIST] = sizeof(struct kv_list), [SHAPE_BOOL] = sizeof(bool),
        [SHAPE_MODE] = sizeof(enum conf_mode), [SHAPE_NUMBER] = sizeof(int64_t),
    };

    return sizes[shape];
}

static bool is_same(const struct taking *t, const struct conf_row *row, enum shape shape)
{
    const void *a = at(t->running, row->offset);
    const void *b = at(t->fresh, row->offset);

    if (shape == SHAPE_TEXT || shape == SHAPE_TEXT_AND_PORT) {
        bool same_text = str_equal(*(char *const *)a, *(char *const *)b);

        return same_text && (shape == SHAPE_TEXT ||
                             memcmp(at(t->running, row->second_offset),
                                    at(t->fresh, row->second_offset), sizeof(uint16_t)) == 0);
    }
    if (shape == SHAPE_LIST) {
        return same_lists(a, b);
    }
    if (shape == SHAPE_ENTRY) {
        return same_entry(t, row);
    }
    if (shape == SHAPE_ADDRESSES) {
        return same_addresses(t->running, t->fresh);
    }
    return memcmp(a, b, size_of(shape)) == 0;
}

static void take_row(const struct taking *t, const struct conf_row *row, enum shape shape)
{
    PRE(shape != SHAPE_ADDRESSES && shape != SHAPE_MODE && shape != SHAPE_NONE);
    if (shape == SHAPE_ENTRY) {
        take_entry(t, row);
        return;
    }
    swap_bytes(at(t->running, row->offset), at(t->fresh, row->offset), size_of(shape));
    if (shape == SHAPE_TEXT_AND_PORT) {
        take_port(t, row);
    }
    if (row->type == CONF_TAGS) {
        take_tags(t);
    }
}

static void add_name(struct strbuf *names, const char *name)
{
    strbuf_add_text(names, names->length > 0 ? ", " : "");
    strbuf_add_text(names, name);
}

void conf_take(struct conf *running, struct conf *fresh, struct strbuf *ret_changed,
               struct strbuf *ret_restart)
{
    struct taking t = {running, fresh, ret_changed, ret_restart,
                       running->mode != fresh->mode || running->mode == CONF_MODE_WITNESS};

    strbuf_add_text(ret_changed, "");
    strbuf_add_text(ret_restart, "");
    for (size_t i = 0; i < conf_schema_local.n_rows; i++) {
        const struct conf_row *row = &conf_schema_local.rows[i];
        enum shape shape = shape_of(row->type);

        if (!row->stored || (t.without_postgresql && str_starts_with(row->path, "postgresql.")) ||
            is_same(&t, row, shape)) {
            continue;
        }
        if (row->reload == CONF_RELOAD) {
            take_row(&t, row, shape);
        }
        if (row->reload != CONF_ONCE) {
            add_name(row->reload == CONF_RELOAD ? ret_changed : ret_restart, row->path);
        }
    }
    swap_bytes(&running->bootstrap_dcs, &fresh->bootstrap_dcs, sizeof(char *));
}
