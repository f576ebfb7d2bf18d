/*
 * The tablespaces of a clone, on the thread. pg_basebackup fills their directories
 * before it makes the links to them, so what it leaves behind when it is killed is
 * found by no link. The mark (pg_mark.c) therefore lists, before anything is copied,
 * where they will be: "major=15" and "tablespace=<identity> <path>" lines.
 *
 * Listed is only what is ours to fill: a directory that is empty, or that the data
 * directory links to already, or that the mark of the try before has listed. Emptied is
 * only what is listed, is that very directory still (nothing was mounted over it), and of
 * that only what PostgreSQL of that major version puts there.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/str.h"
#include "pg/pg_internal.h"

#define ANSWER_SIZE_MAX (64 * 1024)
#define LIST_SIZE_MAX   (PG_MARK_SIZE_MAX - 4 * PATH_MAX) /* The rest of the mark needs some. */

/* Every tablespace that lies outside of the data directory. A path that a mark can not
 * hold is left out. */
const char pg_spaces_sql[] =
    "SELECT 'major=' || pg_catalog.current_setting('server_version_num')::int / 10000 "
    "UNION ALL SELECT 'space=' || l FROM (SELECT pg_catalog.pg_tablespace_location(oid) AS l "
    "FROM pg_catalog.pg_tablespace) t WHERE l COLLATE \"C\" ~ '^/[ -~]*$'";

const char *pg_spaces_answer(const struct pg *pg, char *path, size_t size)
{
    pg_file_beside(pg->opts->o.data_dir, "tablespaces", path, size);
    return path;
}

static const char *after(const char *line, const char *key)
{
    return str_starts_with(line, key) ? line + strlen(key) : NULL;
}

/* Cuts the first line off. NULL at the end. */
static char *next_line(char **text)
{
    char *line = *text;
    size_t n;

    if (line == NULL || *line == '\0') {
        return NULL;
    }
    n = strcspn(line, "\n");
    *text = line + n + (line[n] != '\0' ? 1 : 0);
    line[n] = '\0';
    return line;
}

/* ---- postgresql.basebackup: tablespace-mapping ---- */

/* Any beginning of a long option's name is taken for it (getopt_long). */
static const char *mapping_of(const struct kv *option)
{
    const char *name = option->key + (str_starts_with(option->key, "--") ? 2 : 0);
    size_t n = strcspn(name, "=");

    if (n == 0 || strncmp("tablespace-mapping", name, n) != 0) {
        return NULL;
    }
    return name[n] == '=' ? name + n + 1 : option->value != NULL ? option->value : "";
}

static bool is_plain_path(const char *path)
{
    return path[0] == '/' && strstr(path, "//") == NULL && strstr(path, "/.") == NULL;
}

/* OLD=NEW, in which "\=" stands for "=" (pg_basebackup.c: tablespace_list_append). */
static bool split_mapping(const char *text, char from[PATH_MAX], char to[PATH_MAX])
{
    char *side = from;
    size_t n = 0;

    from[0] = to[0] = '\0';
    for (; *text != '\0' && n < PATH_MAX - 1; text++) {
        if (*text == '=' && side == from) {
            side = to;
            n = 0;
            continue;
        }
        text += text[0] == '\\' && text[1] == '=' ? 1 : 0;
        side[n++] = *text;
        side[n] = '\0';
    }
    n = strlen(from);
    while (n > 1 && from[n - 1] == '/') {
        from[--n] = '\0';
    }
    return *text == '\0' && is_plain_path(from) && is_plain_path(to);
}

/* Where pg_basebackup will put it. False: not known, so nothing is said of it. */
static bool map_path(const struct kv_list *options, const char *path, char to[PATH_MAX])
{
    char from[PATH_MAX], mapped[PATH_MAX];

    for (size_t i = 0; i < options->n; i++) {
        const char *mapping = mapping_of(&options->items[i]);

        if (mapping != NULL && !split_mapping(mapping, from, mapped)) {
            return false;
        }
        if (mapping != NULL && str_equal(from, path)) {
            return str_copy(to, PATH_MAX, mapped);
        }
    }
    return str_copy(to, PATH_MAX, path);
}

/* ---- What is listed ---- */

static bool is_empty(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    bool empty = dir != NULL;

    while (empty && (entry = readdir(dir)) != NULL) {
        empty = str_equal(entry->d_name, ".") || str_equal(entry->d_name, "..");
    }
    if (dir != NULL) {
        (void)closedir(dir); /* Only read. */
    }
    return empty;
}

/* Emptied with the data directory, so it is ours. */
static bool is_linked(const char *data_dir, const struct stat *wanted)
{
    char path[PATH_MAX];
    const struct dirent *entry;
    struct stat st;
    bool found = false;
    DIR *dir;

    (void)snprintf(path, sizeof(path), "%s/pg_tblspc", data_dir);
    dir = opendir(path);
    while (dir != NULL && !found && (entry = readdir(dir)) != NULL) {
        found = entry->d_name[0] != '.' && fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 &&
                st.st_dev == wanted->st_dev && st.st_ino == wanted->st_ino;
    }
    if (dir != NULL) {
        (void)closedir(dir); /* Only read. */
    }
    return found;
}

/* Once only: the try before may have listed the same. */
static void add_line(struct strbuf *list, const char *line)
{
    if ((list->data == NULL || strstr(list->data, line) == NULL) && list->length < LIST_SIZE_MAX) {
        strbuf_add_text(list, line);
    }
}

static void list_space(const char *data_dir, const char *path, struct strbuf *list)
{
    size_t n = strlen(data_dir);
    char id[PG_FILE_ID_SIZE], line[PATH_MAX + PG_FILE_ID_SIZE + 16];
    struct stat st;

    if (strncmp(path, data_dir, n) == 0 && (path[n] == '/' || path[n] == '\0')) {
        return; /* Goes with the rest. */
    }
    if (stat(path, &st) != 0 && errno == ENOENT) {
        pg_file_make_dirs(path);
    }
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() && path[1] != '\0' &&
        (is_empty(path) || is_linked(data_dir, &st))) {
        pg_file_id(AT_FDCWD, path, 0, id, sizeof(id));
        (void)snprintf(line, sizeof(line), "tablespace=%s %s\n", id, path);
        add_line(list, line);
    }
}

void pg_spaces_carry(const char *old_mark, struct strbuf *list)
{
    char *text = pg_file_read(old_mark, PG_MARK_SIZE_MAX);
    char *rest = text;
    const char *line;

    while ((line = next_line(&rest)) != NULL) {
        if (after(line, "major=") != NULL || after(line, "tablespace=") != NULL) {
            strbuf_printf(list, "%s\n", line);
        }
    }
    free(text);
}

void pg_spaces_list(const char *data_dir, const struct kv_list *options, struct strbuf *list)
{
    char answer[PATH_MAX], path[PATH_MAX], major[32];
    const char *line, *value;
    char *text, *rest;

    pg_file_beside(data_dir, "tablespaces", answer, sizeof(answer));
    text = pg_file_read(answer, ANSWER_SIZE_MAX);
    (void)unlink(answer); /* The next one is written anew. */
    rest = text;
    while ((line = next_line(&rest)) != NULL) {
        value = after(line, "space=");
        if (value != NULL && map_path(options, value, path)) {
            list_space(data_dir, path, list);
        } else if (after(line, "major=") != NULL) {
            (void)snprintf(major, sizeof(major), "%s\n", line); /* Short. */
            add_line(list, major);
        }
    }
    free(text);
}

/* ---- What is emptied ---- */

static int empty_space(const char *line, uint32_t major, struct err *err)
{
    char id[PG_FILE_ID_SIZE];
    const char *path = strchr(line, ' ');
    struct stat st;
    int fd;

    if (path == NULL || path[1] != '/' || path[2] == '\0') {
        return 0;
    }
    path++;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return 0; /* It went, or can not be read: pg_basebackup says so. */
    }
    pg_file_id(fd, "", AT_EMPTY_PATH, id, sizeof(id));
    if (id[0] == '\0' || (size_t)(path - 1 - line) != strlen(id) ||
        strncmp(line, id, strlen(id)) != 0 || fstat(fd, &st) != 0 || st.st_uid != geteuid()) {
        (void)close(fd);
        log_warning("A tablespace of a clone that was cut off is another directory now; it is left "
                    "alone. directory=\"%s\"",
                    path);
        return 0;
    }
    return pg_remove_version(fd, major, err) == 0 ? 0 : err_wrap(err, "emptying %s", path);
}

int pg_spaces_empty(const char *data_dir, struct err *err)
{
    char mark[PATH_MAX], why[TEXT_SIZE];
    uint64_t major = 0;
    const char *line, *value;
    char *text, *rest;
    int status = 0;

    if (pg_mark_look(data_dir, why, sizeof(why)) != PG_MARK_OURS) {
        return 0;
    }
    pg_file_beside(data_dir, "incomplete", mark, sizeof(mark));
    text = pg_file_read(mark, PG_MARK_SIZE_MAX);
    rest = text;
    while (status == 0 && (line = next_line(&rest)) != NULL) {
        if ((value = after(line, "major=")) != NULL && !str_to_u64(value, 1, 1000, &major)) {
            major = 0;
        }
        value = after(line, "tablespace=");
        if (value != NULL && major != 0) {
            status = empty_space(value, (uint32_t)major, err);
        }
    }
    free(text);
    return status;
}
