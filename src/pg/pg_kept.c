/* What was kept of diverged WAL, as directories, see pg_kept.h. */
#include "pg/pg_kept.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "pg/pg_internal.h"
#include "pg/pg_segments.h"

#define COPY_SIZE (1 << 20)
#define TOLD      "told=ledger\n" /* The last line of RECORD, when it was. */

void pg_kept_base(const char *data_dir, char *path, size_t size)
{
    size_t length = strlen(data_dir);

    while (length > 1 && data_dir[length - 1] == '/') {
        length--;
    }
    (void)snprintf(path, size, "%.*s.diverged", (int)length, data_dir);
}

/* ---- Copying ---- */

static int copy_bytes(int in, int out, const char *to, struct err *err)
{
    char *buffer = xmalloc(COPY_SIZE);
    ssize_t n, written;
    int status = 0;

    while (status == 0 && (n = read(in, buffer, COPY_SIZE)) != 0) {
        written = n > 0 ? write(out, buffer, (size_t)n) : -1;
        if (n < 0 || written != n) {
            errno = n >= 0 && written >= 0 ? ENOSPC : errno; /* A short write. */
            status = err_set_errno(err, errno, "writing %s", to);
        }
    }
    if (status == 0 && fsync(out) != 0) {
        status = err_set_errno(err, errno, "syncing %s", to);
    }
    free(buffer);
    return status;
}

int pg_kept_copy(const char *from, const char *to, struct err *err)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = -1;
    int status;

    if (in >= 0) { /* Not before: what is there is not emptied for nothing. */
        out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    }
    if (in < 0 || out < 0) {
        status = err_set_errno(err, errno, "copying %s to %s", from, to);
    } else {
        status = copy_bytes(in, out, to, err);
    }
    if (in >= 0) {
        (void)close(in); /* Only read. */
    }
    if (out >= 0 && close(out) != 0 && status == 0) {
        status = err_set_errno(err, errno, "closing %s", to);
    }
    return status;
}

/* ---- Finding ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of the directories of base, oldest first; the caller frees them. */
static size_t list_dirs(const char *base, char ***ret_names)
{
    DIR *dir = opendir(base);
    const struct dirent *entry;
    char **names = NULL;
    size_t n = 0;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.' && strstr(entry->d_name, "-tl") != NULL) {
            names = xrealloc(names, (n + 1) * sizeof(*names));
            names[n++] = xstrdup(entry->d_name);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir); /* Only read. */
    }
    if (n > 0) {
        qsort(names, n, sizeof(*names), by_name);
    }
    *ret_names = names;
    return n;
}

static void free_names(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(names[i]);
    }
    free(names);
}

static bool is_part(const char *name)
{
    size_t length = strlen(name);

    return length > strlen(PG_KEPT_PART) &&
           str_equal(name + length - strlen(PG_KEPT_PART), PG_KEPT_PART);
}

bool pg_kept_find(const char *base, pg_kept_is is, const void *data, char *ret_path, size_t size)
{
    char path[PATH_MAX], **names;
    size_t n = list_dirs(base, &names);
    bool found = false;

    for (size_t i = n; i > 0 && !found; i--) {
        if (!is_part(names[i - 1]) &&
            snprintf(path, sizeof(path), "%s/%s", base, names[i - 1]) < (int)sizeof(path)) {
            found = is(path, data) && str_copy(ret_path, size, path);
        }
    }
    free_names(names, n);
    return found;
}

static uint64_t number_of(const char *text, const char *key)
{
    const char *at = strstr(text, key);

    return at != NULL ? strtoull(at + strlen(key), NULL, 10) : 0;
}

static lsn_t lsn_of(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    char word[LSN_TEXT_SIZE];
    lsn_t lsn = 0;

    if (at != NULL) {
        (void)snprintf(word, sizeof(word), "%s", at + strlen(key));
        word[strcspn(word, "\n")] = '\0';
        if (!lsn_parse(word, &lsn)) {
            lsn = 0; /* Not known. */
        }
    }
    return lsn;
}

bool pg_kept_read(const char *dir, struct pg_kept *ret)
{
    char path[PATH_MAX + 8];
    char *text;

    (void)snprintf(path, sizeof(path), "%s/RECORD", dir);
    text = pg_file_read(path, PG_KEPT_RECORD_MAX);
    if (text == NULL) {
        return false;
    }
    memset(ret, 0, sizeof(*ret));
    (void)str_copy(ret->path, sizeof(ret->path), dir); /* It was opened. */
    ret->sysid = number_of(text, "system_identifier=");
    ret->timeline = (uint32_t)number_of(text, "timeline=");
    ret->from = lsn_of(text, "from=");
    ret->to = lsn_of(text, "to=");
    ret->from_timeline = (uint32_t)number_of(text, "from_timeline=");
    ret->bytes = number_of(text, "bytes=");
    ret->told = strstr(text, TOLD) != NULL;
    free(text);
    return true;
}

int pg_kept_note_told(const char *dir, struct err *err)
{
    char path[PATH_MAX + 8];
    struct strbuf out = {0};
    char *text;
    int status;

    (void)snprintf(path, sizeof(path), "%s/RECORD", dir);
    text = pg_file_read(path, PG_KEPT_RECORD_MAX);
    if (text == NULL) {
        return err_set_errno(err, errno, "reading %s", path);
    }
    strbuf_printf(&out, "%s%s", text, TOLD);
    status = pg_file_write(path, out.data, out.length, 0600, err);
    strbuf_deinit(&out);
    free(text);
    return status;
}

/* ---- Making room ---- */

/* Of the WAL that counts. */
static uint64_t size_of(const char *path)
{
    struct pg_segments s = {0};
    struct err ignored; /* What can not be read can not be removed. */
    uint64_t size = 0;

    if (pg_segments_list(path, path, &s, &ignored) == 0) {
        for (size_t i = 0; i < s.n; i++) {
            size += s.items[i].waits ? 0 : s.size;
        }
    }
    free(s.items);
    return size;
}

/* RECORD goes last: as long as something is there, it says what. */
static int remove_dir(const char *path, struct err *err)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;

    if (dir == NULL) {
        return err_set_errno(err, errno, "opening %s", path);
    }
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.' && !str_equal(entry->d_name, "RECORD")) {
            (void)unlinkat(dirfd(dir), entry->d_name, 0); /* rmdir below says if it stayed. */
        }
    }
    (void)unlinkat(dirfd(dir), "RECORD", 0);
    (void)closedir(dir); /* Only read. */
    return rmdir(path) == 0 ? 0 : err_set_errno(err, errno, "removing %s", path);
}

/* What it was of stays on record. */
static int remove_wal(const char *dir, struct err *err)
{
    char path[PATH_MAX + PG_SEGMENT_NAME_SIZE];
    struct pg_segments s = {0};
    int status = pg_segments_list(dir, dir, &s, err);

    for (size_t i = 0; i < s.n && status == 0; i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", dir, s.items[i].name);
        if (!s.items[i].waits && unlink(path) != 0) {
            status = err_set_errno(err, errno, "removing %s", path);
        }
    }
    free(s.items);
    return status;
}

static bool has_waiting(const char *dir)
{
    struct pg_segments s = {0};
    struct err ignored;
    bool has = pg_segments_list(dir, dir, &s, &ignored) != 0; /* Who knows. */

    for (size_t i = 0; i < s.n && !has; i++) {
        has = s.items[i].waits;
    }
    free(s.items);
    return has;
}

static int make_room_of(const char *dir, struct err *err)
{
    struct pg_kept kept;
    bool goes = pg_kept_read(dir, &kept) && kept.told && !has_waiting(dir);

    log_warning("Diverged WAL that was kept is removed: newer needs the room of diverged_keep. "
                "directory=%s bytes=%llu record=%s",
                dir, (unsigned long long)size_of(dir), goes ? "removed" : "stays");
    return goes ? remove_dir(dir, err) : remove_wal(dir, err);
}

int pg_kept_remove_found(const char *base, pg_kept_is is, const void *data, const char *why,
                         struct err *err)
{
    char path[PATH_MAX], **names;
    size_t n = list_dirs(base, &names);
    int status = 0;

    for (size_t i = 0; i < n && status == 0; i++) {
        (void)snprintf(path, sizeof(path), "%.3800s/%s", base, names[i]);
        if (!is_part(names[i]) && is(path, data)) {
            log_warning("Diverged WAL that was kept is removed: %s. directory=%s", why, path);
            status = remove_dir(path, err);
        }
    }
    free_names(names, n);
    return status;
}

int pg_kept_remove_parts(const char *base, struct err *err)
{
    char path[PATH_MAX], **names;
    size_t n = list_dirs(base, &names);
    int status = 0;

    for (size_t i = 0; i < n && status == 0; i++) {
        if (is_part(names[i])) {
            (void)snprintf(path, sizeof(path), "%.3800s/%s", base, names[i]);
            log_warning("Diverged WAL that was kept is removed: its copy was cut off. directory=%s",
                        path);
            status = remove_dir(path, err);
        }
    }
    free_names(names, n);
    return status;
}

int pg_kept_make_room(const char *base, const char *newest, uint64_t limit, struct err *err)
{
    char path[PATH_MAX], **names;
    size_t n = list_dirs(base, &names);
    uint64_t total = 0, size;
    int status = 0;

    for (size_t i = 0; i < n; i++) {
        (void)snprintf(path, sizeof(path), "%.3800s/%s", base, names[i]);
        total += size_of(path);
    }
    for (size_t i = 0; i < n && status == 0 && total > limit; i++) {
        (void)snprintf(path, sizeof(path), "%.3800s/%s", base, names[i]);
        size = size_of(path);
        if (size > 0 && !str_equal(path, newest)) {
            total -= MIN(total, size);
            status = make_room_of(path, err);
        }
    }
    free_names(names, n);
    return status;
}
