/*
 * Why the server could not start: its last FATAL line, from what it wrote before the
 * collector of logs took over, or from the collector's file. For the thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/str.h"
#include "pg/pg_internal.h"

#define TAIL_SIZE    16384
#define LOG_SIZE_MAX (32 * 1024 * 1024)

/* The end of a file; NULL if it can not be read. On the heap. */
static char *read_tail(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char *text;
    off_t end;
    ssize_t n;

    if (fd < 0) {
        return NULL;
    }
    end = lseek(fd, 0, SEEK_END);
    text = xmalloc(TAIL_SIZE + 1);
    n = pread(fd, text, TAIL_SIZE, MAX(end - TAIL_SIZE, 0));
    (void)close(fd); /* Only read. */
    text[MAX(n, 0)] = '\0';
    return text;
}

/*
 * Without a collector the server writes into the file of its start for as long as
 * it lives. Copied and cut rather than renamed: it has the file open for appending
 * and would go on writing into the old one.
 */
void pg_failure_rotate(const struct pg_options *o)
{
    char path[PATH_MAX], old_path[PATH_MAX];
    struct stat st;
    ssize_t n = 1;
    int from, to;

    pg_file_beside(o->data_dir, "startup.log", path, sizeof(path));
    pg_file_beside(o->data_dir, "startup.log.1", old_path, sizeof(old_path));
    if (stat(path, &st) != 0 || st.st_size < LOG_SIZE_MAX) {
        return;
    }
    from = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    to = open(old_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    while (from >= 0 && to >= 0 && n > 0) {
        n = copy_file_range(from, NULL, to, NULL, LOG_SIZE_MAX, 0);
    }
    if (from >= 0) {
        (void)!ftruncate(from, 0); /* Else again next time. */
        (void)close(from);
    }
    if (to >= 0) {
        (void)close(to); /* Good to have, no more. */
    }
}

/* In the languages the message catalogues of our users come in; without a hit the
 * last line is told. */
static int rank(const char *line)
{
    static const char *const fatal[] = {"FATAL:", "PANIC:", "ВАЖНО:", "ПАНИКА:"};

    for (size_t i = 0; i < ARRAY_LENGTH(fatal); i++) {
        if (strstr(line, fatal[i]) != NULL) {
            return 2;
        }
    }
    return strspn(line, " \t\r") < strlen(line) ? 1 : 0;
}

bool pg_failure_find(const char *log, char *text, size_t size)
{
    int best = 0;
    bool found = false;

    while (*log != '\0') {
        size_t n = strcspn(log, "\n");
        char line[1024];
        int r;

        memcpy(line, log, MIN(n, sizeof(line) - 1));
        line[MIN(n, sizeof(line) - 1)] = '\0';
        r = rank(line);
        if (r > 0 && r >= best) {
            best = r;
            found = r == 2;
            (void)str_copy(text, size, line); /* For people; cut is fine. */
        }
        log += n + (log[n] == '\n' ? 1 : 0);
    }
    return found;
}

/* current_logfiles (syslogger.c): "stderr log/postgresql.log", a line a format;
 * relative to the data directory. */
static bool collector_path(const char *data_dir, char *path, size_t size)
{
    char list_path[PATH_MAX];
    char *list, *name;

    (void)snprintf(list_path, sizeof(list_path), "%s/current_logfiles", data_dir);
    list = pg_file_read(list_path, 8192);
    if (list == NULL) {
        return false;
    }
    list[strcspn(list, "\n")] = '\0';
    name = strchr(list, ' ');
    if (name != NULL) {
        name++;
        (void)snprintf(path, size, "%s%s%s", name[0] == '/' ? "" : data_dir,
                       name[0] == '/' ? "" : "/", name);
    }
    free(list);
    return name != NULL;
}

/* walreceiver.c and libpqwalreceiver.c: what its FATAL lines have in common, and what
 * those of clients of this server do not have. English only: without a hit nothing is
 * told beyond that it does not stream. */
static bool is_of_receiver(const char *line)
{
    static const char *const words[] = {"the primary server", "WAL stream", "of the primary",
                                        "primary and standby"};

    if (strstr(line, "FATAL:") == NULL) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
        if (strstr(line, words[i]) != NULL) {
            return true;
        }
    }
    return false;
}

/* The primary's own words stand last: "... failed: FATAL:  password ...". */
static const char *skip_prefixes(const char *line)
{
    static const char *const marks[] = {"FATAL:", "ERROR:"};
    const char *text = line;

    for (size_t i = 0; i < ARRAY_LENGTH(marks); i++) {
        for (const char *at = strstr(text, marks[i]); at != NULL; at = strstr(text, marks[i])) {
            text = at + strlen(marks[i]);
        }
    }
    return text + strspn(text, " ");
}

bool pg_failure_find_receiver(const char *log, char *text, size_t size)
{
    bool found = false;

    while (*log != '\0') {
        size_t n = strcspn(log, "\n");
        char line[1024];

        memcpy(line, log, MIN(n, sizeof(line) - 1));
        line[MIN(n, sizeof(line) - 1)] = '\0';
        if (is_of_receiver(line)) {
            found = true;
            (void)str_copy(text, size, skip_prefixes(line)); /* For people; cut is fine. */
        }
        log += n + (log[n] == '\n' ? 1 : 0);
    }
    return found;
}

/* With a collector everything after the start stands in its file. */
bool pg_failure_receiver(const struct pg_options *o, char *text, size_t size)
{
    char path[PATH_MAX];
    bool found = false;
    char *log;

    text[0] = '\0';
    if (!collector_path(o->data_dir, path, sizeof(path))) {
        pg_file_beside(o->data_dir, "startup.log", path, sizeof(path));
    }
    log = read_tail(path);
    if (log != NULL) {
        found = pg_failure_find_receiver(log, text, size);
    }
    free(log);
    return found;
}

bool pg_failure_read(const struct pg_options *o, char *text, size_t size)
{
    char path[PATH_MAX], from_collector[TEXT_SIZE];
    char *log;
    bool found = false;

    text[0] = '\0';
    pg_file_beside(o->data_dir, "startup.log", path, sizeof(path));
    log = read_tail(path);
    if (log != NULL) {
        found = pg_failure_find(log, text, size);
    }
    free(log);
    if (found || !collector_path(o->data_dir, path, sizeof(path))) {
        return found;
    }
    log = read_tail(path);
    found = log != NULL && pg_failure_find(log, from_collector, sizeof(from_collector));
    if (found) {
        (void)str_copy(text, size, from_collector); /* For people; cut is fine. */
    }
    free(log);
    return found;
}
