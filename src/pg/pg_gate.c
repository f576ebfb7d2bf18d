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

static const char *superuser_of(const struct pg_options *o)
{
    return o->superuser.user != NULL ? o->superuser.user : "postgres";
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

/* Who needs the lines of the file: pg_rewind of a member that must come back before
 * anything is proven; and we, if there is no password to write lines of our own with. */
static bool is_needed(const struct pg_options *o, const char *user)
{
    return user != NULL && (o->superuser.password == NULL || !str_equal(user, superuser_of(o)));
}

static void add_narrowed(const char *type, const char *databases, const char *users,
                         const char *user, const char *rest, size_t length, struct strbuf *out)
{
    if (may_mean(users, user)) {
        strbuf_printf(out, "%s %s ", type, databases);
        add_name(out, user);
        strbuf_add(out, rest, length); /* Begins with a blank. */
        strbuf_add_text(out, "\n");
    }
}

/* A line for replication stays; one that could let one of ours in is narrowed to it. */
static void add_line(const struct pg_options *o, const char *line, size_t length,
                     struct strbuf *out)
{
    const char *ours[] = {superuser_of(o), o->rewind.user};
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
        return;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(ours); i++) {
        if (is_needed(o, ours[i]) && (i == 0 || !str_equal(ours[0], ours[i]))) {
            add_narrowed(type, databases, users, ours[i], rest, (size_t)(line + length - rest),
                         out);
        }
    }
}

void pg_gate_render(const struct pg_options *o, const char *lines, struct strbuf *out)
{
    static const char *const kinds[][2] = {{"local all ", " md5\n"},
                                           {"host all ", " samehost md5\n"}};
    strbuf_add_text(out, PG_GATE_HEADER);
    for (size_t i = 0; o->superuser.password != NULL && i < ARRAY_LENGTH(kinds); i++) {
        strbuf_add_text(out, kinds[i][0]); /* md5 also takes a SCRAM verifier. */
        add_name(out, superuser_of(o));
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
