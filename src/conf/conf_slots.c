/*
 * slots and ignore_slots of the dynamic configuration into lists: name and
 * "type\tdatabase\tplugin". Written as Patroni reads them.
 */
#include "base/kv.h"
#include "base/str.h"
#include "conf/conf_walk.h"

#define PERMANENT_MAX    16
#define IGNORED_MAX      32
#define NAME_MAX_SIZE    63 /* Of PostgreSQL's names. */
#define NAME_CHARS       "abcdefghijklmnopqrstuvwxyz0123456789_"
#define PLUGIN_CHARS     NAME_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZ$-."
#define TYPES            "physical|logical"
#define IGNORED_EXPECTED "a list of {name, type, database, plugin}"

enum { NAME, TYPE, DATABASE, PLUGIN, CLUSTER_TYPE, FIELDS };

/* One entry; NULL = not given. */
struct entry {
    const char *fields[FIELDS];
};

static struct kv_list *list_at(const struct conf_walk *w, const struct conf_row *row)
{
    return (struct kv_list *)(void *)((char *)w->target + row->offset);
}

static const char *full_key(const struct conf_walk *w, const struct conf_row *row, char *key)
{
    (void)snprintf(key, 2 * CONF_KEY_SIZE, "%s%s", w->prefix, row->path);
    return key;
}

static int fail_number(const struct conf_walk *w, const struct conf_row *row,
                       const struct conf_node *node, int max)
{
    char key[2 * CONF_KEY_SIZE];

    return conf_fail(w->diag, node, full_key(w, row, key), "too many, expected at most %d", max);
}

/* Of a value in an entry: under the names of both. */
static int fail_at(const struct conf_walk *w, const struct conf_row *row, const char *entry,
                   const struct conf_node *node, const char *expected)
{
    char key[2 * CONF_KEY_SIZE], got[100];

    (void)snprintf(key, sizeof(key), "%s%s%s%.70s%s%.70s", w->prefix, row->path,
                   entry != NULL ? "." : "", entry != NULL ? entry : "",
                   node->key != NULL && node->key != entry ? "." : "",
                   node->key != NULL && node->key != entry ? node->key : "");
    return conf_fail(w->diag, node, key, "not usable, got %s, expected %s",
                     conf_node_show(node, got, sizeof(got)), expected);
}

static bool is_of(const char *text, const char *characters)
{
    size_t length = strlen(text);

    return length >= 1 && length <= NAME_MAX_SIZE && strspn(text, characters) == length;
}

static bool is_plain(const char *text)
{
    bool plain = text[0] != '\0' && strlen(text) <= NAME_MAX_SIZE;

    for (; *text != '\0'; text++) {
        plain = plain && (unsigned char)*text >= ' ';
    }
    return plain;
}

static bool is_good(size_t field, const char *text)
{
    switch (field) {
    case TYPE:
        return conf_choice_find(TYPES, text, NULL);
    case PLUGIN:
        return is_of(text, PLUGIN_CHARS);
    case CLUSTER_TYPE:
        return conf_choice_find("primary|standby", text, NULL);
    default:
        return is_plain(text);
    }
}

static int read_field(const struct conf_walk *w, const struct conf_row *row, const char *name,
                      const struct conf_node *node, struct entry *e)
{
    static const struct {
        const char *key, *expected;
    } known[FIELDS] = {
        [NAME] = {"name", "the name of a slot"},
        [TYPE] = {"type", "physical or logical"},
        [DATABASE] = {"database", "the name of a database"},
        [PLUGIN] = {"plugin", "the name of an output plugin, such as pgoutput"},
        [CLUSTER_TYPE] = {"cluster_type", "primary or standby"},
    };
    bool permanent = name != NULL;
    char key[2 * CONF_KEY_SIZE];

    for (size_t i = permanent ? TYPE : NAME; i < (permanent ? FIELDS : CLUSTER_TYPE); i++) {
        if (strcmp(node->key, known[i].key) != 0) {
            continue;
        }
        if (node->kind == CONF_NODE_NULL) {
            return 0;
        }
        if (node->kind != CONF_NODE_SCALAR || !is_good(i, node->text)) {
            return fail_at(w, row, name, node, known[i].expected);
        }
        e->fields[i] = node->text;
        return 0;
    }
    conf_warn(w->diag, node, full_key(w, row, key), "%.100s is not known there, ignored",
              node->key);
    return 0;
}

static int read_entry(const struct conf_walk *w, const struct conf_row *row, const char *name,
                      const struct conf_node *node, struct entry *e)
{
    int rv = 0;

    *e = (struct entry){{NULL}};
    for (const struct conf_node *at = node->first; at != NULL; at = at->next) {
        if (read_field(w, row, name, at, e) < 0) {
            rv = -1;
        }
    }
    return rv;
}

static bool says(const char *text, const char *word)
{
    return text != NULL && conf_choice_find(word, text, NULL);
}

static void add(struct kv_list *list, const char *name, const char *type, const struct entry *e)
{
    struct strbuf text = {0};

    strbuf_printf(&text, "%s\t%s\t%s", type, e->fields[DATABASE] != NULL ? e->fields[DATABASE] : "",
                  e->fields[PLUGIN] != NULL ? e->fields[PLUGIN] : "");
    kv_add(list, name, text.data);
    strbuf_deinit(&text);
}

/* With database and plugin it is logical, unless it says something else. */
static int add_permanent(const struct conf_walk *w, const struct conf_row *row,
                         const struct conf_node *node)
{
    struct kv_list *list = list_at(w, row);
    struct entry e = {{NULL}};
    bool number =
        node->kind == CONF_NODE_SCALAR && strspn(node->text, "0123456789") == strlen(node->text);
    char key[2 * CONF_KEY_SIZE];
    bool whole, logical;

    if (!is_of(node->key, NAME_CHARS)) {
        return conf_fail(w->diag, node, full_key(w, row, key),
                         "not the name of a slot, got \"%.100s\", expected at most 63 lower case "
                         "letters, digits and _",
                         node->key);
    }
    if (node->kind == CONF_NODE_LIST || (node->kind == CONF_NODE_SCALAR && !number)) {
        return fail_at(w, row, node->key, node, "a section with type, database and plugin");
    }
    if (node->kind == CONF_NODE_MAP && read_entry(w, row, node->key, node, &e) < 0) {
        return -1;
    }
    whole = e.fields[DATABASE] != NULL && e.fields[PLUGIN] != NULL;
    logical = e.fields[TYPE] != NULL ? says(e.fields[TYPE], "logical") : whole;
    if (logical && !whole) {
        return fail_at(w, row, node->key, node, "database and plugin, as it is logical");
    }
    if (list->n == PERMANENT_MAX) {
        return fail_number(w, row, node, PERMANENT_MAX);
    }
    if (says(e.fields[CLUSTER_TYPE], "standby")) {
        (void)snprintf(key, sizeof(key), "%s%s.%.70s", w->prefix, row->path, node->key);
        conf_warn(w->diag, node, key,
                  "accepted, but not acted on yet: it is for standby clusters alone");
    } else {
        add(list, node->key, logical ? "logical" : "physical",
            logical ? &e : &(struct entry){{NULL}});
    }
    return 0;
}

static int set_permanent(const struct conf_walk *w, const struct conf_row *row,
                         const struct conf_node *node)
{
    int rv = 0;

    if (node->kind != CONF_NODE_MAP) {
        return conf_fail_value(w, row, node, "wrong type",
                               "a section of name: {type, database, plugin}");
    }
    for (const struct conf_node *at = node->first; at != NULL; at = at->next) {
        if (add_permanent(w, row, at) < 0) {
            rv = -1;
        }
    }
    return rv;
}

static int add_ignored(const struct conf_walk *w, const struct conf_row *row,
                       const struct conf_node *node)
{
    struct kv_list *list = list_at(w, row);
    char key[2 * CONF_KEY_SIZE];
    struct entry e;

    if (node->kind != CONF_NODE_MAP) {
        return fail_at(w, row, NULL, node, IGNORED_EXPECTED);
    }
    if (read_entry(w, row, NULL, node, &e) < 0) {
        return -1;
    }
    if (node->first == NULL) {
        conf_warn(w->diag, node, full_key(w, row, key),
                  "an empty entry fits every slot: none is ever dropped, nor spoken of");
    }
    if (list->n == IGNORED_MAX) {
        return fail_number(w, row, node, IGNORED_MAX);
    }
    add(list, e.fields[NAME] != NULL ? e.fields[NAME] : "",
        says(e.fields[TYPE], "logical") ? "logical"
        : e.fields[TYPE] != NULL        ? "physical"
                                        : "",
        &e);
    return 0;
}

static int set_ignored(const struct conf_walk *w, const struct conf_row *row,
                       const struct conf_node *node)
{
    int rv = 0;

    if (node->kind != CONF_NODE_LIST) {
        return conf_fail_value(w, row, node, "wrong type", IGNORED_EXPECTED);
    }
    for (const struct conf_node *at = node->first; at != NULL; at = at->next) {
        if (add_ignored(w, row, at) < 0) {
            rv = -1;
        }
    }
    return rv;
}

int conf_set_slots(const struct conf_walk *w, const struct conf_row *row,
                   const struct conf_node *node)
{
    PRE(row->stored);
    kv_deinit(list_at(w, row));
    return row->type == CONF_SLOTS ? set_permanent(w, row, node) : set_ignored(w, row, node);
}
