/*
 * The roles of a new database as one statement for a stand-alone backend:
 * superuser, replication, rewind, and bootstrap.users. Names and passwords are
 * the user's, so they appear only as literals; format() makes identifiers of
 * them inside the server.
 */
#include "ops/ops_internal.h"

#include <strings.h>

#define OPTION_SIZE 32

/* An escape string. '$' and the newline are written as their codes, so that no text
 * can end the dollar quotes or the statement around it. */
static void add_literal(struct strbuf *sql, const char *text)
{
    strbuf_add_text(sql, "E'");
    for (; *text != '\0'; text++) {
        if (*text == '$' || *text == '\n') {
            strbuf_printf(sql, "\\x%02x", (unsigned)*text);
        } else {
            if (*text == '\'' || *text == '\\') {
                strbuf_add(sql, text, 1); /* Doubled. */
            }
            strbuf_add(sql, text, 1);
        }
    }
    strbuf_add_text(sql, "'");
}

/* `statement` has one %I. */
static void add_for_role(struct strbuf *sql, const char *statement, const char *name)
{
    strbuf_printf(sql, "EXECUTE format('%s', ", statement);
    add_literal(sql, name);
    strbuf_add_text(sql, ");\n");
}

static void add_role(struct strbuf *sql, const char *name, const char *attributes,
                     const char *password)
{
    strbuf_add_text(sql, "IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = ");
    add_literal(sql, name);
    strbuf_add_text(sql, ") THEN ");
    add_for_role(sql, "CREATE ROLE %I", name);
    strbuf_add_text(sql, "END IF;\nEXECUTE format('ALTER ROLE %I WITH ");
    strbuf_add_text(sql, attributes);
    if (password != NULL && password[0] != '\0') {
        strbuf_add_text(sql, " PASSWORD %L', ");
        add_literal(sql, name);
        strbuf_add_text(sql, ", ");
        add_literal(sql, password);
    } else {
        strbuf_add_text(sql, "', ");
        add_literal(sql, name);
    }
    strbuf_add_text(sql, ");\n");
}

/* What pg_rewind calls on its source. */
static void add_rewind_grants(struct strbuf *sql, const char *name)
{
    static const char *const functions[] = {
        "pg_ls_dir(text, boolean, boolean)",
        "pg_stat_file(text, boolean)",
        "pg_read_binary_file(text)",
        "pg_read_binary_file(text, bigint, bigint, boolean)",
    };
    char statement[TEXT_SIZE];

    for (size_t i = 0; i < ARRAY_LENGTH(functions); i++) {
        (void)snprintf(statement, sizeof(statement),
                       "GRANT EXECUTE ON FUNCTION pg_catalog.%s TO %%I", functions[i]); /* Fits. */
        add_for_role(sql, statement, name);
    }
}

/* The words that may become SQL as they are. */
static const char *attribute_of(const char *option)
{
    static const char *const words[] = {
        "SUPERUSER",  "CREATEDB",     "CREATEROLE",    "INHERIT",     "LOGIN",
        "NOLOGIN",    "REPLICATION",  "BYPASSRLS",     "NOINHERIT",   "NOSUPERUSER",
        "NOCREATEDB", "NOCREATEROLE", "NOREPLICATION", "NOBYPASSRLS",
    };

    for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
        if (strcasecmp(option, words[i]) == 0) {
            return words[i];
        }
    }
    return NULL;
}

/* One option of a comma-separated list, without blanks; returns what follows. */
static const char *next_option(const char *list, char *option, size_t size)
{
    size_t length;

    list += strspn(list, ", \t");
    length = strcspn(list, ", \t");
    (void)snprintf(option, size, "%.*s", (int)MIN(length, size - 1), list); /* Cut: not a word. */
    return list + length;
}

static int add_user(struct strbuf *sql, const char *name, const char *value, struct err *err)
{
    const char *options = value != NULL ? strchr(value, '\t') : NULL;
    char password[ERR_TEXT_SIZE];
    char text[TEXT_SIZE];
    char option[OPTION_SIZE];
    struct sbuf attributes;
    bool is_login_named = false;

    sbuf_init(&attributes, text, sizeof(text));
    while (options != NULL && *options != '\0') {
        const char *word;

        options = next_option(options, option, sizeof(option));
        if (option[0] == '\0') {
            break;
        }
        word = attribute_of(option);
        if (word == NULL || attributes.truncated) {
            return err_set(err, "bootstrap.users: %s: option \"%s\" is not known", name, option);
        }
        is_login_named = is_login_named || str_ends_with(word, "LOGIN");
        sbuf_printf(&attributes, " %s", word);
    }
    if (!is_login_named) {
        sbuf_add(&attributes, " LOGIN");
    }
    (void)snprintf(password, sizeof(password), "%.*s",
                   value != NULL ? (int)strcspn(value, "\t") : 0, value != NULL ? value : "");
    add_role(sql, name, attributes.data, password);
    explicit_bzero(password, sizeof(password));
    return 0;
}

int op_roles_sql(const struct pg_options *pg, const struct kv_list *users, struct strbuf *ret_sql,
                 struct err *err)
{
    const char *superuser = pg->superuser.user != NULL ? pg->superuser.user : "postgres";

    strbuf_add_text(ret_sql, "DO $veche$ BEGIN\n");
    for (size_t i = 0; users != NULL && i < users->n; i++) {
        if (add_user(ret_sql, users->items[i].key, users->items[i].value, err) != 0) {
            return -1;
        }
    }
    /* After the users': whatever they say of these three, they keep what they need. */
    add_role(ret_sql, superuser, "LOGIN SUPERUSER", pg->superuser.password);
    if (pg->replication.user != NULL && !str_equal(pg->replication.user, superuser)) {
        add_role(ret_sql, pg->replication.user, "LOGIN REPLICATION", pg->replication.password);
    }
    if (pg->rewind.user != NULL && !str_equal(pg->rewind.user, superuser)) {
        add_role(ret_sql, pg->rewind.user, "LOGIN", pg->rewind.password);
        add_rewind_grants(ret_sql, pg->rewind.user);
    }
    strbuf_add_text(ret_sql, "END $veche$;\n\n");
    return 0;
}
