/*
 * Values made of several scalars, see conf_walk.h: parameters, lines, options,
 * addresses, users. They keep the texts as they were written.
 */
#include "base/kv.h"
#include "base/str.h"
#include "conf/conf_scalar.h"
#include "conf/conf_walk.h"

static struct kv_list *list_at(const struct conf_walk *w, const struct conf_row *row)
{
    return (struct kv_list *)(void *)((char *)w->target + row->offset);
}

/* Complains about one entry, under its own name. */
static int fail_entry(const struct conf_walk *w, const struct conf_row *row,
                      const struct conf_node *node, const char *expected)
{
    char key[2 * CONF_KEY_SIZE];
    char got[100];

    (void)snprintf(key, sizeof(key), "%s%s%s%.100s", w->prefix, row->path,
                   node->key != NULL ? "." : "", node->key != NULL ? node->key : "");
    return conf_fail(w->diag, node, key, "wrong type, got %s, expected %s",
                     conf_show_value(w, row, node, got, sizeof(got)), expected);
}

/* Without the blanks around; in place. */
static char *trim(char *text)
{
    size_t length;

    text += strspn(text, " \t\n");
    for (length = strlen(text); length > 0 && strchr(" \t\n", text[length - 1]) != NULL;) {
        text[--length] = '\0';
    }
    return text;
}

/* "a,b" of a list of scalars. */
static int join(const struct conf_walk *w, const struct conf_row *row, const struct conf_node *list,
                struct strbuf *text)
{
    for (const struct conf_node *at = list->first; at != NULL; at = at->next) {
        if (at->kind != CONF_NODE_SCALAR) {
            return fail_entry(w, row, at, "a single value");
        }
        if (at != list->first) {
            strbuf_add_text(text, ",");
        }
        strbuf_add_text(text, at->text);
    }
    return 0;
}

static int add_parameter(const struct conf_walk *w, const struct conf_row *row,
                         const struct conf_node *node)
{
    struct strbuf text = {0};
    int rv = 0;

    switch (node->kind) {
    case CONF_NODE_NULL:
        return 0; /* As if it were not there. */
    case CONF_NODE_SCALAR:
        kv_set(list_at(w, row), node->key, node->text);
        return 0;
    case CONF_NODE_MAP:
        return fail_entry(w, row, node, "a single value");
    case CONF_NODE_LIST:
        rv = join(w, row, node, &text);
        if (rv == 0) {
            kv_set(list_at(w, row), node->key, text.data != NULL ? text.data : "");
        }
        strbuf_deinit(&text);
        return rv;
    }
    return 0;
}

static int set_parameters(const struct conf_walk *w, const struct conf_row *row,
                          const struct conf_node *node)
{
    int rv = 0;

    if (node->kind != CONF_NODE_MAP) {
        return conf_fail_value(w, row, node, "wrong type", "a section of name: value");
    }
    kv_deinit(list_at(w, row));
    for (const struct conf_node *at = node->first; at != NULL; at = at->next) {
        if (add_parameter(w, row, at) < 0) {
            rv = -1;
        }
    }
    return rv;
}

static int set_lines(const struct conf_walk *w, const struct conf_row *row,
                     const struct conf_node *node)
{
    int rv = 0;

    if (node->kind != CONF_NODE_LIST) {
        return conf_fail_value(w, row, node, "wrong type", "a list of lines");
    }
    kv_deinit(list_at(w, row));
    for (const struct conf_node *at = node->first; at != NULL; at = at->next) {
        if (at->kind == CONF_NODE_NULL) {
            continue;
        }
        if (at->kind == CONF_NODE_SCALAR) {
            kv_add(list_at(w, row), at->text, NULL);
        } else {
            rv = fail_entry(w, row, at, "a line (in quotes if it contains \": \")");
        }
    }
    return rv;
}

/* Texts with commas between them; blanks around are no part of one. */
static void add_words(struct kv_list *list, const char *text)
{
    char *copy = xstrdup(text);
    char *rest = copy;
    char *part;

    while ((part = strsep(&rest, ",")) != NULL) {
        part = trim(part);
        if (part[0] != '\0') {
            kv_add(list, part, NULL);
        }
    }
    free(copy);
}

static int set_words(const struct conf_walk *w, const struct conf_row *row,
                     const struct conf_node *node)
{
    if (node->kind == CONF_NODE_MAP) {
        return conf_fail_value(w, row, node, "wrong type", "a list, or words with commas");
    }
    if (node->kind == CONF_NODE_LIST) {
        return set_lines(w, row, node);
    }
    kv_deinit(list_at(w, row));
    add_words(list_at(w, row), node->text);
    return 0;
}

/* "--compress=9" is compress, too. A copy is a directory of plain files: the server may
 * compress on the way, from PostgreSQL 15 on, pg_basebackup itself may not. */
static bool is_refused(const struct conf_row *row, const char *option, const char *value)
{
    char name[64];
    size_t length;

    option += str_starts_with(option, "--") ? 2 : 0;
    length = strcspn(option, "=");
    if (length >= sizeof(name)) {
        return false;
    }
    memcpy(name, option, length);
    name[length] = '\0';
    if (value == NULL && option[length] == '=') {
        value = option + length + 1;
    }
    return conf_choice_find(row->choices, name, NULL) &&
           (strcmp(name, "compress") != 0 || value == NULL || !str_starts_with(value, "server-"));
}

static int add_option(const struct conf_walk *w, const struct conf_row *row,
                      const struct conf_node *node)
{
    const char *name = node->key != NULL ? node->key : node->text;
    const char *value = NULL;

    if (node->key != NULL && node->kind == CONF_NODE_SCALAR) {
        value = node->text;
    } else if (node->kind != CONF_NODE_SCALAR && node->kind != CONF_NODE_NULL) {
        return fail_entry(w, row, node, "option: value");
    }
    if (name == NULL) {
        return 0; /* An empty entry of the list. */
    }
    if (is_refused(row, name, value)) {
        conf_warn(w->diag, node, row->path, "%s is set by the agent itself, ignored", name);
        return 0;
    }
    kv_add(list_at(w, row), name, value);
    return 0;
}

/* A map of options, or one entry of the list: a scalar or a map. */
static int add_options(const struct conf_walk *w, const struct conf_row *row,
                       const struct conf_node *node)
{
    int rv = 0;

    if (node->kind != CONF_NODE_MAP) {
        return add_option(w, row, node);
    }
    for (const struct conf_node *at = node->first; at != NULL; at = at->next) {
        if (add_option(w, row, at) < 0) {
            rv = -1;
        }
    }
    return rv;
}

static int set_options(const struct conf_walk *w, const struct conf_row *row,
                       const struct conf_node *node)
{
    int rv = 0;

    kv_deinit(list_at(w, row));
    if (node->kind == CONF_NODE_MAP) {
        return add_options(w, row, node);
    }
    if (node->kind != CONF_NODE_LIST) {
        return conf_fail_value(w, row, node, "wrong type", "a list of options");
    }
    for (const struct conf_node *at = node->first; at != NULL; at = at->next) {
        if (add_options(w, row, at) < 0) {
            rv = -1;
        }
    }
    return rv;
}

static int add_address(const struct conf_walk *w, const struct conf_row *row,
                       const struct conf_node *place, const char *value)
{
    char **list = (char **)(void *)((char *)w->target + row->offset);
    size_t *n = (size_t *)(void *)((char *)w->target + row->second_offset);
    struct conf_node shown = *place;
    char text[300];

    if (!conf_normalize_address(value, row->min, text, sizeof(text))) {
        shown.text = (char *)value;
        return conf_fail_value(w, row, &shown, "not an address", "host:port ([::1]:port for IPv6)");
    }
    for (size_t i = 0; i < *n; i++) {
        if (strcmp(list[i], text) == 0) {
            return conf_fail(w->diag, place, row->path, "given twice, got \"%s\"", text);
        }
    }
    if (*n == CONF_PARTNERS_MAX) {
        return conf_fail(w->diag, place, row->path, "too many, expected at most %d addresses",
                         CONF_PARTNERS_MAX);
    }
    list[(*n)++] = xstrdup(text);
    return 0;
}

/* "a, b": blanks around are no part of an address. */
static int add_address_texts(const struct conf_walk *w, const struct conf_row *row,
                             const struct conf_node *node)
{
    char *copy = xstrdup(node->text);
    char *rest = copy;
    char *part;
    int rv = 0;

    while ((part = strsep(&rest, ",")) != NULL) {
        part = trim(part);
        if (part[0] != '\0' && add_address(w, row, node, part) < 0) {
            rv = -1;
        }
    }
    free(copy);
    return rv;
}

static int set_addresses(const struct conf_walk *w, const struct conf_row *row,
                         const struct conf_node *node)
{
    int rv = 0;

    if (node->kind == CONF_NODE_SCALAR) {
        return add_address_texts(w, row, node);
    }
    if (node->kind != CONF_NODE_LIST) {
        return conf_fail_value(w, row, node, "wrong type", "a list of host:port");
    }
    for (const struct conf_node *at = node->first; at != NULL; at = at->next) {
        if (at->kind != CONF_NODE_SCALAR) {
            rv = fail_entry(w, row, at, "host:port");
        } else if (add_address(w, row, at, at->text) < 0) {
            rv = -1;
        }
    }
    return rv;
}

/* Warned about only: the roles are made once, with a new cluster, which is refused then. Left out a
 * misspelt password would make a role that nobody can use, or one without. */
static void check_user(const struct conf_walk *w, const struct conf_row *row,
                       const struct conf_node *user, const char *options)
{
    const struct conf_node *place = conf_node_child(user, "options");
    char *copy = xstrdup(options);
    char *rest = copy;
    char *word;
    char key[2 * CONF_KEY_SIZE];

    (void)snprintf(key, sizeof(key), "%s%s.%.100s", w->prefix, row->path, user->key);
    while ((word = strsep(&rest, ", \t")) != NULL) { /* As op_roles.c takes them apart. */
        if (word[0] != '\0' && !conf_choice_find(row->choices, word, NULL)) {
            conf_warn(w->diag, place, key,
                      "not an option of a role, got \"%.60s\", expected createdb, createrole, "
                      "replication, superuser or the like: no new cluster is made with it",
                      word);
        }
    }
    free(copy);
    for (const struct conf_node *at = user->first; at != NULL; at = at->next) {
        if (strcmp(at->key, "password") != 0 && strcmp(at->key, "options") != 0) {
            conf_warn(w->diag, at, key,
                      "unknown key, ignored: %.60s; expected password and options", at->key);
        }
    }
}

/* "password\toption,option" */
static int add_user(const struct conf_walk *w, const struct conf_row *row,
                    const struct conf_node *node)
{
    const struct conf_node *password = conf_node_child(node, "password");
    const struct conf_node *options = conf_node_child(node, "options");
    struct strbuf text = {0};
    int rv = 0;

    if (node->kind != CONF_NODE_MAP && node->kind != CONF_NODE_NULL) {
        return fail_entry(w, row, node, "a section with password and options");
    }
    if (password != NULL && password->kind == CONF_NODE_SCALAR) {
        if (strchr(password->text, '\t') != NULL) {
            return conf_fail(w->diag, password, row->path, "a password contains a tab");
        }
        strbuf_add_text(&text, password->text);
    }
    strbuf_add_text(&text, "\t");
    if (options != NULL && options->kind == CONF_NODE_LIST) {
        rv = join(w, row, options, &text);
    } else if (options != NULL && options->kind == CONF_NODE_SCALAR) {
        strbuf_add_text(&text, options->text);
    }
    if (rv == 0) {
        check_user(w, row, node, strchr(text.data, '\t') + 1);
        kv_set(list_at(w, row), node->key, text.data);
    }
    strbuf_deinit(&text);
    return rv;
}

static int set_users(const struct conf_walk *w, const struct conf_row *row,
                     const struct conf_node *node)
{
    int rv = 0;

    if (node->kind != CONF_NODE_MAP) {
        return conf_fail_value(w, row, node, "wrong type", "a section of roles");
    }
    for (const struct conf_node *at = node->first; at != NULL; at = at->next) {
        if (add_user(w, row, at) < 0) {
            rv = -1;
        }
    }
    return rv;
}

static int set_list(const struct conf_walk *w, const struct conf_row *row,
                    const struct conf_node *node)
{
    if (row->type == CONF_PARAMETERS) {
        return set_parameters(w, row, node);
    }
    if (row->type == CONF_LINES) {
        return set_lines(w, row, node);
    }
    if (row->type == CONF_WORDS) {
        return set_words(w, row, node);
    }
    if (row->type == CONF_OPTIONS) {
        return set_options(w, row, node);
    }
    if (row->type == CONF_USERS) {
        return set_users(w, row, node);
    }
    PRE(row->type == CONF_ADDRESS_LIST);
    return set_addresses(w, row, node);
}

int conf_set_lists(const struct conf_walk *w, const struct conf_row *row,
                   const struct conf_node *node)
{
    struct kv_list checked = {0};
    struct conf_walk only_check = *w;
    struct conf_row row_of_list = *row;
    int rv;

    if (row->stored) {
        return set_list(w, row, node);
    }
    only_check.target = &checked;
    row_of_list.offset = 0;
    rv = set_list(&only_check, &row_of_list, node);
    kv_deinit(&checked);
    return rv;
}
