/*
 * pg_hba.conf of a primary that has just started in a synchronous mode: standbys may
 * come in, and we, and nobody else, until commits are known to wait again. A client
 * would see what no standby has, and might get acknowledgements before the setting is
 * in force.
 */
#include "base/str.h"
#include "pg/pg_internal.h"

#define FIELD_MAX 1024

/* The next field of a line: up to a blank outside of quotes; a list goes on behind its
 * comma. Returns what follows. */
static const char *take_field(const char *at, char *field, size_t size)
{
    size_t n = 0;
    bool quoted = false;

    at += strspn(at, " \t");
    for (; *at != '\0' && *at != '\n' && *at != '\r'; at++) {
        bool blank = *at == ' ' || *at == '\t';

        quoted = *at == '"' ? !quoted : quoted;
        if (blank && !quoted && (n == 0 || field[n - 1] != ',')) {
            break;
        }
        if ((!blank || quoted) && n + 1 < size) {
            field[n++] = *at;
        }
    }
    field[n] = '\0';
    return at;
}

/* Whether a list has that word. */
static bool list_has(const char *list, const char *word)
{
    size_t length = strlen(word);

    for (const char *at = list; *at != '\0';) {
        size_t n = strcspn(at, ",");
        bool quoted = n == length + 2 && at[0] == '"' && at[n - 1] == '"';

        if ((n == length && strncmp(at, word, length) == 0) ||
            (quoted && strncmp(at + 1, word, length) == 0)) {
            return true;
        }
        at += n + (at[n] == ',' ? 1 : 0);
    }
    return false;
}

static bool is_record(const char *type)
{
    return str_equal(type, "local") || str_starts_with(type, "host");
}

/* "all", our name, and what only the server can tell: groups, files, patterns. */
static bool may_mean(const char *users, const char *user)
{
    return list_has(users, "all") || list_has(users, user) || strpbrk(users, "+@/") != NULL;
}

static void add_name(struct strbuf *out, const char *name)
{
    strbuf_add_text(out, "\"");
    for (; *name != '\0'; name++) {
        strbuf_add_text(out, *name == '"' ? "\"" : ""); /* Doubled inside quotes. */
        strbuf_add(out, name, 1);
    }
    strbuf_add_text(out, "\"");
}

/* A line for replication stays; one that could let us in is narrowed to us. */
static void add_line(const struct pg_options *o, const char *line, size_t length,
                     struct strbuf *out)
{
    const char *user = o->superuser.user != NULL ? o->superuser.user : "postgres";
    char type[FIELD_MAX], databases[FIELD_MAX], users[FIELD_MAX];
    const char *rest = take_field(line, type, sizeof(type));

    rest = take_field(rest, databases, sizeof(databases));
    rest = take_field(rest, users, sizeof(users));
    if (!is_record(type)) {
        return;
    }
    if (list_has(databases, "replication")) {
        strbuf_add(out, line, length);
        strbuf_add_text(out, "\n");
    } else if (o->superuser.password == NULL && may_mean(users, user)) {
        strbuf_printf(out, "%s %s ", type, databases); /* `rest` begins with a blank. */
        add_name(out, user);
        strbuf_add(out, rest, (size_t)(line + length - rest));
        strbuf_add_text(out, "\n");
    }
}

void pg_gate_render(const struct pg_options *o, const char *lines, struct strbuf *out)
{
    static const char *const kinds[][2] = {{"local all ", " md5\n"},
                                           {"host all ", " samehost md5\n"}};
    const char *user = o->superuser.user != NULL ? o->superuser.user : "postgres";

    strbuf_add_text(out, PG_GATE_HEADER);
    for (size_t i = 0; o->superuser.password != NULL && i < ARRAY_LENGTH(kinds); i++) {
        strbuf_add_text(out, kinds[i][0]); /* md5 also takes a SCRAM verifier. */
        add_name(out, user);
        strbuf_add_text(out, kinds[i][1]);
    }
    while (*lines != '\0') {
        size_t n = strcspn(lines, "\r\n");

        add_line(o, lines, n, out);
        lines += n;
        lines += strspn(lines, "\r\n");
    }
}

bool pg_gate_is_closed(const struct pg_options *o)
{
    char path[PATH_MAX];
    char *text;
    bool closed;

    (void)snprintf(path, sizeof(path), "%s/pg_hba.conf", o->config_dir);
    text = pg_file_read(path, PG_TEXT_FILE_MAX);
    closed = text != NULL && str_starts_with(text, PG_GATE_HEADER);
    free(text);
    return closed;
}
