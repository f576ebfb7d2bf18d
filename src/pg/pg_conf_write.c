/*
 * Bringing the configuration files to disk for a start, on the thread. Every step
 * may be interrupted and done again: files are replaced whole, the original is
 * renamed only while there is no renamed original.
 */
#include <errno.h>
#include <sys/stat.h>

#include "base/str.h"
#include "pg/pg_internal.h"

#define DEBIAN_SOCKET_DIR "/var/run/postgresql"
#define HBA_KEPT          "pg_hba.conf.veche-open"

struct conf_work {
    struct pg_work work; /* First: freed through it. */
    struct pg_start start;
    bool changed;      /* The files are not what they were. */
    uint32_t timeline; /* Of the last checkpoint of a stopped server; 0 = none. */
};

static void path_of(const char *dir, const char *name, char *path, size_t size)
{
    (void)snprintf(path, size, "%s/%s", dir, name);
}

/* Renames the original once, so that ours can take its name. */
static int keep_original(const struct pg_options *o, bool *ret_has_base, struct err *err)
{
    char conf[PATH_MAX], base[PATH_MAX], name[NAME_SIZE + 16];
    char *text;
    int status = 0;

    (void)snprintf(name, sizeof(name), "%.63s.conf", o->config_base_name);
    path_of(o->config_dir, name, conf, sizeof(conf));
    (void)snprintf(name, sizeof(name), "%.63s.base.conf", o->config_base_name);
    path_of(o->config_dir, name, base, sizeof(base));
    if (access(base, F_OK) == 0) {
        *ret_has_base = true;
        return 0;
    }
    *ret_has_base = false;
    text = pg_file_read(conf, PG_TEXT_FILE_MAX);
    if (text == NULL && errno != ENOENT) {
        return err_set_errno(err, errno, "reading %s", conf);
    }
    if (text != NULL && !pg_conf_is_ours(text)) {
        if (rename(conf, base) != 0) {
            status = err_set_errno(err, errno, "renaming %s to %s", conf, base);
        }
        *ret_has_base = status == 0;
    }
    free(text);
    return status;
}

/* Whether a file sets that parameter: "name =" or "name value", not in a comment. */
static bool file_sets(const char *text, const char *name)
{
    size_t length = strlen(name);

    while (*text != '\0') {
        const char *start = text + strspn(text, " \t");

        if (strncmp(start, name, length) == 0 && strchr(" \t=", start[length]) != NULL &&
            start[length] != '\0') {
            return true;
        }
        text += strcspn(text, "\n");
        text += *text == '\n' ? 1 : 0;
    }
    return false;
}

/* Debian's packages are built to put the socket where only their user may; another
 * user's server would not start. NULL = leave it. */
static const char *choose_socket_dir(const struct pg_options *o, bool has_base)
{
    char path[PATH_MAX], name[NAME_SIZE + 16];
    char *text = NULL;
    bool set;

    if (access(DEBIAN_SOCKET_DIR, W_OK) == 0) {
        return NULL;
    }
    (void)snprintf(name, sizeof(name), "%.63s.base.conf", o->config_base_name);
    path_of(o->config_dir, name, path, sizeof(path));
    if (o->custom_conf != NULL) {
        text = pg_file_read(o->custom_conf, PG_TEXT_FILE_MAX);
    } else if (has_base) {
        text = pg_file_read(path, PG_TEXT_FILE_MAX);
    }
    set = text != NULL && file_sets(text, "unix_socket_directories");
    free(text);
    return set ? NULL : "/tmp";
}

static int write_text(const char *dir, const char *name, const struct strbuf *text, mode_t mode,
                      struct err *err)
{
    char path[PATH_MAX];

    path_of(dir, name, path, sizeof(path));
    return pg_file_write(path, text->data != NULL ? text->data : "", text->length, mode, err);
}

static int write_postgresql_conf(const struct conf_work *w, const struct pg_options *o,
                                 struct err *err)
{
    const struct pg_start *start = &w->start;
    struct pg_render r = {.o = o,
                          .start = start,
                          .major = pg_look_major(o->data_dir),
                          .names = &w->work.pg->names};
    struct pg_control control;
    struct strbuf out = {0};
    char name[NAME_SIZE + 16];
    struct err ignored;
    int status;

    if (keep_original(o, &r.has_base, err) != 0) {
        return -1;
    }
    if (start->as_standby && pg_control_read(o->data_dir, &control, &ignored) == 0) {
        r.control = &control; /* The start itself reads it again, and must. */
    }
    r.socket_dir = choose_socket_dir(o, r.has_base);
    pg_conf_render(&r, &out);
    (void)snprintf(name, sizeof(name), "%.63s.conf", o->config_base_name);
    status = write_text(o->config_dir, name, &out, 0600, err);
    strbuf_deinit(&out);
    return status;
}

/* A configured list replaces the file, unless the parameter points elsewhere. */
static int write_lines(const struct pg_options *o, const struct kv_list *lines,
                       const char *parameter, const char *name, struct err *err)
{
    struct strbuf out = {0};
    int status;

    if (lines == NULL || lines->n == 0 ||
        (o->parameters != NULL && kv_has(o->parameters, parameter))) {
        return 0;
    }
    pg_conf_render_lines(lines, name, &out);
    status = write_text(o->config_dir, name, &out, 0600, err);
    strbuf_deinit(&out);
    return status;
}

static int rename_in(const char *dir, const char *from, const char *to, struct err *err)
{
    char from_path[PATH_MAX], to_path[PATH_MAX];

    path_of(dir, from, from_path, sizeof(from_path));
    path_of(dir, to, to_path, sizeof(to_path));
    if (rename(from_path, to_path) != 0 && errno != ENOENT) {
        return err_set_errno(err, errno, "renaming %s to %s", from_path, to_path);
    }
    return 0;
}

static int write_closed(const struct pg_options *o, const struct strbuf *out, struct err *err)
{
    bool configured = o->hba != NULL && o->hba->n > 0;
    char path[PATH_MAX];

    path_of(o->config_dir, HBA_KEPT, path, sizeof(path));
    /* What is there already may be a closed one, and the original waits. */
    if (!configured && access(path, F_OK) != 0 &&
        rename_in(o->config_dir, "pg_hba.conf", HBA_KEPT, err) != 0) {
        return -1;
    }
    return write_text(o->config_dir, "pg_hba.conf", out, 0600, err);
}

/* The lines that count when the gate is open. */
static char *read_open_hba(const struct pg_options *o)
{
    struct strbuf lines = {0};
    char path[PATH_MAX];
    char *text;

    if (o->hba != NULL && o->hba->n > 0) {
        pg_conf_render_lines(o->hba, "pg_hba.conf", &lines);
        return lines.data;
    }
    path_of(o->config_dir, HBA_KEPT, path, sizeof(path));
    text = pg_file_read(path, PG_TEXT_FILE_MAX);
    if (text != NULL) {
        return text;
    }
    path_of(o->config_dir, "pg_hba.conf", path, sizeof(path));
    return pg_file_read(path, PG_TEXT_FILE_MAX);
}

static int write_gate(const struct pg_options *o, struct err *err)
{
    char *lines = read_open_hba(o);
    struct strbuf out = {0};
    int status;

    pg_gate_render(o, lines != NULL ? lines : "", &out);
    status = write_closed(o, &out, err);
    strbuf_deinit(&out);
    free(lines);
    return status;
}

/*
 * A database that is not finished admits the superuser from this host and nobody
 * else. PostgreSQL's own file, when none is configured, waits under another name and
 * comes back with the next write. A crash in between leaves a marked directory, which
 * is made anew.
 */
static int write_hba(const struct pg_options *o, const struct pg_start *start, struct err *err)
{
    bool configured = o->hba != NULL && o->hba->n > 0;
    struct strbuf out = {0};
    int status;

    if (o->parameters != NULL && kv_has(o->parameters, "hba_file")) {
        return 0;
    }
    if (start->closed && !start->unfinished) {
        return write_gate(o, err);
    }
    if (!start->unfinished) {
        return configured ? write_lines(o, o->hba, "hba_file", "pg_hba.conf", err)
                          : rename_in(o->config_dir, HBA_KEPT, "pg_hba.conf", err);
    }
    pg_conf_render_closed_hba(o, &out);
    status = write_closed(o, &out, err);
    strbuf_deinit(&out);
    return status;
}

/* initdb and a clone leave theirs in the data directory: where the configuration is kept
 * apart and has none yet, it begins with that. */
static int fetch_missing(const struct pg_options *o, const char *name, struct err *err)
{
    char path[PATH_MAX], from[PATH_MAX];
    char *text;
    int status = 0;

    path_of(o->config_dir, name, path, sizeof(path));
    path_of(o->data_dir, name, from, sizeof(from));
    if (str_equal(o->config_dir, o->data_dir) || access(path, F_OK) == 0) {
        return 0;
    }
    text = pg_file_read(from, PG_TEXT_FILE_MAX);
    if (text != NULL) {
        status = pg_file_write(path, text, strlen(text), 0600, err);
    }
    free(text);
    return status; /* Neither here nor there: PostgreSQL will say so. */
}

static int write_pgpass(const struct pg_options *o, struct err *err)
{
    struct strbuf out = {0};
    int status;

    if (o->pgpass == NULL) {
        return 0;
    }
    pg_conf_render_pgpass(o, &out);
    status = pg_file_write(o->pgpass, out.data, out.length, 0600, err);
    if (out.data != NULL) {
        explicit_bzero(out.data, out.size);
    }
    strbuf_deinit(&out);
    return status;
}

static void run_write_passwords(struct pg_job *job)
{
    struct pg_work *work = CONTAINER_OF(job, struct pg_work, job);

    work->status = write_pgpass(&work->opts->o, &work->err);
}

void pg_write_passwords(struct pg *pg, pg_done_cb cb, void *data)
{
    struct pg_work *work = xmalloc(sizeof(*work));

    pg_work_submit(pg, work, run_write_passwords, pg_work_done, cb, data);
}

static int strip_auto_conf(const struct pg_options *o, bool sync, struct err *err)
{
    char path[PATH_MAX];
    struct strbuf out = {0};
    char *text;
    int status = 0;

    path_of(o->data_dir, "postgresql.auto.conf", path, sizeof(path));
    text = pg_file_read(path, PG_TEXT_FILE_MAX);
    if (text == NULL) {
        return errno == ENOENT ? 0 : err_set_errno(err, errno, "reading %s", path);
    }
    if (pg_conf_strip_auto(text, sync, &out)) {
        status = write_text(o->data_dir, "postgresql.auto.conf", &out, 0600, err);
    }
    strbuf_deinit(&out);
    free(text);
    return status;
}

/* A recovery that ends: also what was made to be a standby takes writes in the end. */
static int write_recovery_signal(const struct pg_options *o, const struct pg_start *start,
                                 struct err *err)
{
    bool wanted = o->bootstrap_recovery != NULL && o->bootstrap_recovery->n > 0;
    char path[PATH_MAX], standby[PATH_MAX];

    path_of(o->data_dir, "recovery.signal", path, sizeof(path));
    path_of(o->data_dir, "standby.signal", standby, sizeof(standby));
    wanted = wanted ||
             (start->keeps_recovery && (access(path, F_OK) == 0 || access(standby, F_OK) == 0));
    if (pg_file_remove(standby, err) != 0) {
        return -1;
    }
    return wanted ? pg_file_write(path, "", 0, 0600, err) : pg_file_remove(path, err);
}

static int write_signal_files(const struct pg_options *o, const struct pg_start *start,
                              struct err *err)
{
    char path[PATH_MAX];

    if (start->recovers) {
        return write_recovery_signal(o, start, err);
    }
    path_of(o->data_dir, "recovery.signal", path, sizeof(path));
    if (pg_file_remove(path, err) != 0) {
        return -1;
    }
    path_of(o->data_dir, "standby.signal", path, sizeof(path));
    if (!start->as_standby) {
        return pg_file_remove(path, err);
    }
    return access(path, F_OK) == 0 ? 0 : pg_file_write(path, "", 0, 0600, err);
}

/* The signal file before the configuration: cut off in between, it is a standby that
 * follows the wrong one, or none, and never a primary by accident; and the other way
 * round for a start as primary. */
static int write_all_files(const struct conf_work *w, const struct pg_options *o, struct err *err)
{
    pg_file_make_dirs(o->config_dir); /* Apart from the data none need be there. */
    if (w->start.as_standby && write_signal_files(o, &w->start, err) != 0) {
        return -1;
    }
    if (fetch_missing(o, "pg_hba.conf", err) != 0 || fetch_missing(o, "pg_ident.conf", err) != 0 ||
        write_pgpass(o, err) != 0 || write_postgresql_conf(w, o, err) != 0 ||
        write_hba(o, &w->start, err) != 0 ||
        write_lines(o, o->ident, "ident_file", "pg_ident.conf", err) != 0 ||
        (!w->start.keeps_recovery &&
         strip_auto_conf(o, w->start.sync.kind != SYNC_WAIT_USER, err) != 0)) {
        return -1;
    }
    return w->start.as_standby ? 0 : write_signal_files(o, &w->start, err);
}

static void mix_file(const char *dir, const char *name, uint64_t *hash)
{
    char path[PATH_MAX];
    char *text;

    path_of(dir, name, path, sizeof(path));
    text = pg_file_read(path, PG_TEXT_FILE_MAX);
    *hash *= UINT64_C(1099511628211); /* FNV-1a; a missing file counts as well. */
    for (const char *at = text; at != NULL && *at != '\0'; at++) {
        *hash = (*hash ^ (uint8_t)*at) * UINT64_C(1099511628211);
    }
    free(text);
}

/* Of what PostgreSQL reads when it is told to. */
static uint64_t fingerprint(const struct pg_options *o)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    char name[NAME_SIZE + 16];

    (void)snprintf(name, sizeof(name), "%.63s.conf", o->config_base_name);
    mix_file(o->config_dir, name, &hash);
    mix_file(o->config_dir, "pg_hba.conf", &hash);
    mix_file(o->config_dir, "pg_ident.conf", &hash);
    mix_file(o->data_dir, "postgresql.auto.conf", &hash);
    return hash;
}

static void run_write(struct pg_job *job)
{
    struct conf_work *w = CONTAINER_OF(job, struct conf_work, work.job);
    struct pg_options o;
    uint64_t before;

    pg_options_of_role(&w->work.opts->o, w->start.as_standby, &o);
    before = fingerprint(&o);
    w->work.status = write_all_files(w, &o, &w->work.err);
    w->changed = fingerprint(&o) != before;
    if (w->work.status == 0 && w->start.as_standby && w->timeline != 0) {
        w->work.status = pg_timeline_release(w->work.opts->o.data_dir, w->timeline, &w->work.err);
    }
    if (w->work.status != 0) {
        (void)err_wrap(&w->work.err, "writing the configuration of PostgreSQL");
    }
}

static void on_written(struct pg_job *job)
{
    struct conf_work *w = CONTAINER_OF(job, struct conf_work, work.job);

    if (w->work.status == 0) {
        w->work.pg->written = w->start;
        w->work.pg->written_revision = w->work.opts->revision;
        w->work.pg->has_written = true;
    }
    w->work.pg->unread = w->work.pg->unread || w->changed; /* Also of what was half done. */
    pg_work_done(job);
}

void pg_write_conf(struct pg *pg, const struct pg_start *start, pg_done_cb cb, void *data)
{
    struct conf_work *w = xmalloc(sizeof(*w));

    w->start = *start;
    w->timeline = pg->postmaster.pid == 0 && pg->disk.has_control ? pg->disk.control.timeline : 0;
    pg_work_submit(pg, &w->work, run_write, on_written, cb, data);
}
