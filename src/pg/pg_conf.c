/*
 * Rendering of postgresql.conf, pg_hba.conf, pg_ident.conf and the password file.
 * Pure: text out of options. What goes into a file is quoted here, so that no value,
 * however hostile, becomes a line of its own.
 */
#include "base/log.h"
#include "base/str.h"
#include "pg/pg_internal.h"

/* Sections of the service file, for sslpassword alone. */
#define SERVICE_REPLICATION "veche-replication"
#define SERVICE_REWIND      "veche-rewind"

static const char header[] =
    "# Written by Veche at every start and reload: changes made here are lost.\n"
    "# Change the configuration of the agent or of the cluster instead.\n";

bool pg_conf_is_ours(const char *text)
{
    return str_starts_with(text, header);
}

/* A string of guc-file.l: quotes and backslashes doubled, no raw line end. */
static void add_quoted(struct strbuf *out, const char *value)
{
    strbuf_add_text(out, "'");
    for (const char *at = value; *at != '\0'; at++) {
        if (*at == '\'' || *at == '\\') {
            strbuf_add(out, at, 1);
            strbuf_add(out, at, 1);
        } else if (*at == '\n') {
            strbuf_add_text(out, "\\n");
        } else if (*at == '\r') {
            strbuf_add_text(out, "\\r");
        } else {
            strbuf_add(out, at, 1);
        }
    }
    strbuf_add_text(out, "'");
}

static void add_setting(struct strbuf *out, const char *name, const char *value)
{
    strbuf_printf(out, "%s = ", name);
    add_quoted(out, value);
    strbuf_add_text(out, "\n");
}

/* From behind the first quote to the last one of the line. */
static void add_unquoted(struct strbuf *out, const char *text, const char *end)
{
    for (; text < end; text++) {
        if (text[0] == '\\' && (text[1] == 'n' || text[1] == 'r')) {
            strbuf_add_text(out, text[1] == 'n' ? "\n" : "\r");
            text++;
        } else {
            text += *text == '\'' || *text == '\\' ? 1 : 0; /* Doubled. */
            strbuf_add(out, text, 1);
        }
    }
}

void pg_conf_parse(const char *text, struct kv_list *settings)
{
    for (const char *end; *text != '\0'; text = end + (*end == '\n' ? 1 : 0)) {
        size_t n = strcspn(text, " \n");
        struct strbuf name = {0}, value = {0};

        end = text + strcspn(text, "\n");
        if (n > 0 && str_starts_with(text + n, " = '") && end[-1] == '\'') {
            strbuf_add(&name, text, n);
            strbuf_add_text(&value, "");
            add_unquoted(&value, text + n + strlen(" = '"), end - 1);
            kv_set(settings, name.data, value.data);
        }
        strbuf_deinit(&name);
        strbuf_deinit(&value);
    }
}

/* ---- Connection strings ---- */

/* A value of a libpq connection string. */
static void add_conninfo(struct sbuf *b, const char *name, const char *value)
{
    bool plain = value[0] != '\0' && strpbrk(value, " \t\r\n'\\=") == NULL;

    sbuf_printf(b, "%s%s=", b->length > 0 ? " " : "", name);
    if (plain) {
        sbuf_add(b, value);
        return;
    }
    sbuf_add(b, "'");
    for (const char *at = value; *at != '\0'; at++) {
        if (*at == '\'' || *at == '\\') {
            sbuf_add(b, "\\");
        }
        sbuf_printf(b, "%c", *at);
    }
    sbuf_add(b, "'");
}

static bool is_secret(const char *name)
{
    return str_equal(name, "password") || str_equal(name, "sslpassword");
}

struct purpose { /* Of a connection. */
    const struct pg_credentials *who;
    const char *application;
    const char *more;    /* Behind the rest. */
    const char *service; /* Has sslpassword, for a command line; NULL = it is in the text, for a
                          * file that nobody else reads. */
};

/* libpq takes it from nowhere else: there is no variable of it. */
static void add_sslpassword(struct sbuf *b, const struct pg_options *o, const struct purpose *p)
{
    const char *value = p->who->ssl != NULL ? kv_get(p->who->ssl, "sslpassword") : NULL;

    if (value == NULL || value[0] == '\0') {
        return;
    }
    if (p->service == NULL) {
        add_conninfo(b, "sslpassword", value);
    } else if (o->pgpass != NULL) {
        add_conninfo(b, "service", p->service);
    }
}

static const char *conninfo_as(const struct pg_options *o, const struct purpose *p,
                               const struct upstream *upstream, char *text, size_t size)
{
    static const char *const preferred[] = {"sslmode", "gssencmode", "channel_binding"};
    const struct pg_credentials *c = p->who;
    struct sbuf b;
    char port[8];

    sbuf_init(&b, text, size);
    (void)snprintf(port, sizeof(port), "%u", (unsigned)upstream->port);
    add_conninfo(&b, "user", c->user != NULL ? c->user : "");
    if (o->pgpass != NULL) {
        add_conninfo(&b, "passfile", o->pgpass);
    }
    add_conninfo(&b, "host", upstream->host);
    add_conninfo(&b, "port", port);
    add_conninfo(&b, "dbname", o->database);
    add_conninfo(&b, "application_name", p->application);
    for (size_t i = 0; c->ssl != NULL && i < c->ssl->n; i++) {
        if (c->ssl->items[i].value != NULL && !is_secret(c->ssl->items[i].key)) {
            add_conninfo(&b, c->ssl->items[i].key, c->ssl->items[i].value);
        }
    }
    add_sslpassword(&b, o, p);
    for (size_t i = 0; i < ARRAY_LENGTH(preferred); i++) {
        if (c->ssl == NULL || !kv_has(c->ssl, preferred[i])) {
            add_conninfo(&b, preferred[i], "prefer");
        }
    }
    sbuf_add(&b, p->more);
    if (b.truncated) {
        (void)str_copy(text, size, "host=/dev/null"); /* Half of one may lead anywhere. */
    }
    return text;
}

const char *pg_conf_conninfo(const struct pg_options *o, const struct upstream *upstream,
                             char *text, size_t size)
{
    const struct purpose p = {&o->replication, o->name, "", NULL};

    return conninfo_as(o, &p, upstream, text, size);
}

/* A source that vanished is noticed; one that was demoted is refused. */
const char *pg_rewind_conninfo(const struct pg *pg, const struct upstream *upstream, char *text,
                               size_t size)
{
    const struct pg_options *o = &pg->opts->o;
    const struct purpose p = {&o->rewind, o->name,
                              " target_session_attrs='read-write' keepalives_idle='10'"
                              " keepalives_interval='5' tcp_user_timeout='30000'",
                              SERVICE_REWIND};

    return conninfo_as(o, &p, upstream, text, size);
}

const char *pg_conninfo(const struct pg *pg, const struct upstream *upstream, char *text,
                        size_t size)
{
    const struct pg_options *o = &pg->opts->o;
    const struct purpose p = {&o->replication, o->name, "", SERVICE_REPLICATION};

    return conninfo_as(o, &p, upstream, text, size);
}

const char *pg_clone_conninfo(const struct pg *pg, const struct upstream *upstream, char *text,
                              size_t size)
{
    const struct pg_options *o = &pg->opts->o;
    char application[NAME_SIZE + 8];
    const struct purpose p = {&o->replication, application, "", SERVICE_REPLICATION};

    (void)snprintf(application, sizeof(application), "%s (copy)", o->name); /* No member's name. */
    return conninfo_as(o, &p, upstream, text, size);
}

/* ---- The service file ---- */

/* libpq cuts blanks off its end. */
static void add_service(struct strbuf *out, const char *service, const struct pg_credentials *c)
{
    const char *value = c->ssl != NULL ? kv_get(c->ssl, "sslpassword") : NULL;

    if (value == NULL || value[0] == '\0') {
        return;
    }
    if (strpbrk(value, "\r\n") != NULL || strchr(" \t\v\f", value[strlen(value) - 1]) != NULL) {
        log_warning("An sslpassword holds a line end or ends in a blank, leaving it out: neither "
                    "pg_basebackup nor pg_rewind can be given it.");
        value = "";
    }
    strbuf_printf(out, "[%s]\nsslpassword=%s\n", service, value);
}

void pg_service_file(const struct pg *pg, struct strbuf *ret_path, struct strbuf *ret_text)
{
    const struct pg_options *o = &pg->opts->o;

    if (o->pgpass == NULL) {
        return;
    }
    add_service(ret_text, SERVICE_REPLICATION, &o->replication);
    add_service(ret_text, SERVICE_REWIND, &o->rewind);
    if (ret_text->length > 0) {
        strbuf_printf(ret_path, "%s.service", o->pgpass);
    }
}

/* ---- postgresql.conf ---- */

const char *pg_sync_text(const struct sync_wait *wait, char *text, size_t size)
{
    switch (wait->kind) {
    case SYNC_WAIT_FOREVER:
        (void)snprintf(text, size, "\"%s\"", PG_SYNC_PLACEHOLDER);
        break;
    case SYNC_WAIT_NAME: /* A member's name: nothing in it needs to be escaped. */
        PRE(name_is_valid(wait->name));
        (void)snprintf(text, size, "\"%s\"", wait->name);
        break;
    case SYNC_WAIT_USER:
    case SYNC_WAIT_KEEP:
    case SYNC_WAIT_NOBODY:
    case SYNC_WAIT_OTHER:
        text[0] = '\0';
        break;
    }
    return text;
}

/* A postmaster that starts its server anew after a crash would let clients in before
 * commits wait again: it ends instead, and is started with clients kept out. */
static void set_sync(const struct pg_render *r, struct kv_list *params)
{
    char text[NAME_SIZE + 8];

    if (r->start->sync.kind != SYNC_WAIT_USER) {
        kv_set(params, "synchronous_standby_names",
               pg_sync_text(&r->start->sync, text, sizeof(text)));
        kv_set(params, "restart_after_crash", "off");
    }
}

static void add_includes(const struct pg_render *r, struct strbuf *out)
{
    struct strbuf name = {0};

    if (r->o->custom_conf != NULL) {
        strbuf_add_text(&name, r->o->custom_conf);
    } else if (r->has_base) {
        strbuf_printf(&name, "%s.base.conf", r->o->config_base_name);
    }
    if (name.length > 0) {
        strbuf_add_text(out, "include ");
        add_quoted(out, name.data);
        strbuf_add_text(out, "\n");
    }
    strbuf_add_text(out, "\n");
    strbuf_deinit(&name);
}

static void add_files(const struct pg_render *r, const struct kv_list *params, struct strbuf *out)
{
    char path[PATH_MAX];

    if (!kv_has(params, "hba_file")) {
        (void)snprintf(path, sizeof(path), "%s/pg_hba.conf", r->o->config_dir);
        add_setting(out, "hba_file", path);
    }
    if (!kv_has(params, "ident_file")) {
        (void)snprintf(path, sizeof(path), "%s/pg_ident.conf", r->o->config_dir);
        add_setting(out, "ident_file", path);
    }
}

/* Commands for replay may stand among the parameters or in recovery_conf. A copy that is not
 * complete yet does not wait. */
static void add_recovery_given(const struct pg_start *start, const struct kv_list *list,
                               struct strbuf *out)
{
    for (size_t i = 0; list != NULL && i < list->n; i++) {
        const struct kv *p = &list->items[i];

        if (p->value != NULL && pg_param_classify(p->key) == PG_PARAM_RECOVERY &&
            !(start->unfinished && str_equal(p->key, "recovery_min_apply_delay"))) {
            add_setting(out, p->key, p->value);
        }
    }
}

static bool is_recovery_name(const char *name)
{
    enum pg_param_class class = pg_param_classify(name);

    return class == PG_PARAM_RECOVERY || class == PG_PARAM_OWN;
}

/* Of a backup: as bootstrap says, with its targets. Where the files that came with it count as
 * well nothing is set beside that: it would stand over theirs. */
static void add_own_recovery(const struct pg_render *r, struct strbuf *out)
{
    const struct kv_list *given = r->o->bootstrap_recovery;

    strbuf_add_text(out, "\n# Recovery of a backup\n");
    for (size_t i = 0; given != NULL && i < given->n; i++) {
        const struct kv *p = &given->items[i];

        if (!is_recovery_name(p->key)) {
            log_warning("No parameter of a recovery, leaving it out: it belongs into "
                        "postgresql.parameters. section=bootstrap.recovery_conf name=%s",
                        p->key);
        } else if (p->value != NULL) {
            add_setting(out, p->key, p->value);
        }
    }
    if (!r->start->keeps_recovery &&
        (given == NULL || !kv_has(given, "recovery_target_timeline"))) {
        add_setting(out, "recovery_target_timeline", "latest");
    }
}

static void add_recovery(const struct pg_render *r, struct strbuf *out)
{
    static const char *const blanks[] = {"recovery_target", "recovery_target_lsn",
                                         "recovery_target_name", "recovery_target_time",
                                         "recovery_target_xid"};
    const struct upstream *upstream = &r->start->upstream;
    bool follows = r->start->as_standby && upstream->name[0] != '\0';
    char text[2048], slot[NAME_SIZE];

    if (r->start->recovers) {
        add_own_recovery(r, out);
        return;
    }
    strbuf_add_text(out, "\n# Recovery\n");
    for (size_t i = 0; i < ARRAY_LENGTH(blanks); i++) {
        add_setting(out, blanks[i], "");
    }
    add_setting(out, "recovery_target_timeline", "latest");
    /* Set in every case: what the included file says must not come through. */
    add_setting(out, "primary_conninfo",
                follows ? pg_conf_conninfo(r->o, upstream, text, sizeof(text)) : "");
    add_setting(out, "primary_slot_name",
                follows && r->o->use_slots ? slot_name(r->o->name, slot, sizeof(slot)) : "");
    add_recovery_given(r->start, r->o->parameters, out);
    add_recovery_given(r->start, r->o->recovery_conf, out);
}

void pg_conf_render(const struct pg_render *r, struct strbuf *out)
{
    struct kv_list params = {0};

    pg_params_plain(r->o, r->major, r->names, &params);
    set_sync(r, &params);
    (void)pg_params_controlled(r->o, r->control, false, &params); /* The start logs. */
    if (r->socket_dir != NULL && !kv_has(&params, "unix_socket_directories")) {
        kv_add(&params, "unix_socket_directories", r->socket_dir);
    }
    kv_sort(&params);
    strbuf_add_text(out, header);
    add_includes(r, out);
    for (size_t i = 0; i < params.n; i++) {
        add_setting(out, params.items[i].key, params.items[i].value);
    }
    add_files(r, &params, out);
    add_recovery(r, out);
    kv_deinit(&params);
}

/* ---- pg_hba.conf, pg_ident.conf ---- */

void pg_conf_render_closed_hba(const struct pg_options *o, struct strbuf *out)
{
    const char *user = o->superuser.user != NULL ? o->superuser.user : "postgres";
    const char *method = o->superuser.password != NULL ? "scram-sha-256" : "trust";
    static const char *const types[] = {"local all ", "host all "};
    static const char *const origins[] = {" ", " samehost "};

    strbuf_add_text(out, "# Until this database is complete.\n");
    for (size_t i = 0; i < ARRAY_LENGTH(types); i++) {
        strbuf_add_text(out, types[i]);
        strbuf_add_text(out, "\"");
        for (const char *c = user; *c != '\0'; c++) {
            strbuf_add_text(out, *c == '"' ? "\"" : ""); /* Doubled inside quotes. */
            strbuf_add(out, c, 1);
        }
        strbuf_printf(out, "\"%s%s\n", origins[i], method);
    }
}

void pg_conf_render_lines(const struct kv_list *lines, const char *what, struct strbuf *out)
{
    strbuf_add_text(out, header);
    for (size_t i = 0; i < lines->n; i++) {
        const char *line = lines->items[i].key;

        if (strpbrk(line, "\r\n") != NULL) {
            log_warning("A line of %s holds a line end, leaving it out. line=%s", what, line);
            continue;
        }
        strbuf_printf(out, "%s\n", line);
    }
}

/* ---- The password file ---- */

/* libpq-pgpass: ':' and '\' are escaped. */
static void add_pgpass_field(struct strbuf *out, const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == ':' || *at == '\\') {
            strbuf_add_text(out, "\\");
        }
        strbuf_add(out, at, 1);
    }
}

static void add_pgpass_line(const struct pg_credentials *c, struct strbuf *out)
{
    if (c->user == NULL || c->password == NULL || c->password[0] == '\0') {
        return;
    }
    if (strpbrk(c->user, "\r\n") != NULL || strpbrk(c->password, "\r\n") != NULL) {
        log_warning("A user name or password holds a line end, leaving it out of the password "
                    "file.");
        return;
    }
    /* Any host: a new primary is followed by a reload, without a new file. */
    strbuf_add_text(out, "*:*:*:");
    add_pgpass_field(out, c->user);
    strbuf_add_text(out, ":");
    add_pgpass_field(out, c->password);
    strbuf_add_text(out, "\n");
}

void pg_conf_render_pgpass(const struct pg_options *o, struct strbuf *out)
{
    strbuf_add_text(out, "# Written by Veche.\n");
    add_pgpass_line(&o->replication, out);
    if (!str_equal(o->rewind.user, o->replication.user)) {
        add_pgpass_line(&o->rewind, out);
    }
    if (!str_equal(o->superuser.user, o->replication.user) &&
        !str_equal(o->superuser.user, o->rewind.user)) {
        add_pgpass_line(&o->superuser, out);
    }
}

/* ---- postgresql.auto.conf ---- */

/* It is read after postgresql.conf and would win (guc.c); pg_basebackup -R and ALTER
 * SYSTEM put recovery parameters there. */
bool pg_conf_strip_auto(const char *text, bool sync, struct strbuf *out)
{
    bool stripped = false;

    while (*text != '\0') {
        size_t n = strcspn(text, "\n");
        size_t blanks = strspn(text, " \t");
        size_t length = strcspn(text + blanks, " \t=\n");
        char name[64] = "";
        enum pg_param_class class;

        n += text[n] == '\n' ? 1 : 0;
        if (length < sizeof(name)) {
            memcpy(name, text + blanks, length);
            name[length] = '\0';
        }
        class = pg_param_classify(name);
        if (class == PG_PARAM_RECOVERY || class == PG_PARAM_OWN ||
            (sync && (str_equal(name, "synchronous_standby_names") ||
                      str_equal(name, "restart_after_crash")))) {
            stripped = true;
        } else {
            strbuf_add(out, text, n);
        }
        text += n;
    }
    return stripped;
}
