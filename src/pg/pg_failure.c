/*
 * Why the server could not start, or does not stream: its last FATAL line, from what it
 * wrote before the collector of logs took over, or from the collector's file. For the
 * thread.
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

/* Behind the first of these words in the line, or NULL. They are in the languages the
 * message catalogues of our users come in. */
static const char *find_word(const char *line, const char *const *words)
{
    for (; *words != NULL; words++) {
        const char *at = strstr(line, *words);

        if (at != NULL) {
            return at;
        }
    }
    return NULL;
}

/* 2: says why, from *ret_text on, without the time and pid in front: the same reason is
 * the same text. 1: the last line at least, for want of a better one. */
static int rank(const char *line, const char **ret_text)
{
    static const char *const fatal[] = {"FATAL:", "PANIC:", "ВАЖНО:", "ПАНИКА:", NULL};
    const char *at = find_word(line, fatal);

    *ret_text = at != NULL ? at : line;
    if (at != NULL) {
        return 2;
    }
    return strspn(line, " \t\r") < strlen(line) ? 1 : 0;
}

/* What PostgreSQL adds to a reason: what to do, as a rule. */
static const char *more_of(const char *line)
{
    static const char *const words[] = {"DETAIL:", "HINT:", "ПОДРОБНОСТИ:", "ПОДСКАЗКА:", NULL};
    const char *at = find_word(line, words);

    return at != NULL ? strchr(at, ':') + 1 + strspn(strchr(at, ':') + 1, " ") : NULL;
}

bool pg_failure_find(const char *log, char *text, size_t size)
{
    int best = 0;
    bool found = false;
    bool follows = false; /* The line before is of the reason that was taken. */

    while (*log != '\0') {
        size_t n = strcspn(log, "\n");
        char line[1024];
        const char *what, *more;
        int r;

        memcpy(line, log, MIN(n, sizeof(line) - 1));
        line[MIN(n, sizeof(line) - 1)] = '\0';
        r = rank(line, &what);
        more = follows ? more_of(line) : NULL;
        if (more != NULL) {
            struct sbuf b = {text, size, strlen(text), false};

            sbuf_printf(&b, "; %s", more); /* For people; cut is fine. */
        } else if (r > 0 && r >= best) {
            best = r;
            found = r == 2;
            (void)str_copy(text, size, what); /* For people; cut is fine. */
        }
        follows = more != NULL || (r == 2 && best == 2);
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

/* ---- log_destination csvlog ---- */

enum { /* Columns (PostgreSQL 13 and later; those before have no more, but at the end). */
       CSV_SEVERITY = 11,
       CSV_MESSAGE = 13,
       CSV_DETAIL = 14,
       CSV_HINT = 15,
       CSV_COLUMNS,
};

/* Copies one field to `text`, its lines as one; returns the end of it: a comma, the end of
 * the record, or of all. */
static const char *csv_field(const char *at, struct strbuf *text)
{
    bool quoted = *at == '"';

    at += quoted;
    while (*at != '\0' && (quoted || (*at != ',' && *at != '\n'))) {
        if (quoted && at[0] == '"' && at[1] != '"') {
            quoted = false;
            at++;
            continue;
        }
        at += quoted && at[0] == '"'; /* Doubled. */
        strbuf_add(text, *at == '\n' ? " " : at, 1);
        at++;
    }
    return at;
}

/* One record as the lines that the server writes into other logs; returns what is behind it. */
static const char *csv_record(const char *at, struct strbuf *plain)
{
    struct strbuf fields[CSV_COLUMNS] = {0};
    size_t n = 0;

    for (bool more = true; more; at += more) {
        struct strbuf rest = {0};

        at = csv_field(at, n < CSV_COLUMNS ? &fields[n] : &rest);
        strbuf_deinit(&rest);
        n++;
        more = *at == ',';
    }
    if (n > CSV_MESSAGE && fields[CSV_MESSAGE].length > 0) {
        strbuf_printf(plain, "%s:  %s\n",
                      fields[CSV_SEVERITY].length > 0 ? fields[CSV_SEVERITY].data : "",
                      fields[CSV_MESSAGE].data);
    }
    if (n > CSV_DETAIL && fields[CSV_DETAIL].length > 0) {
        strbuf_printf(plain, "DETAIL:  %s\n", fields[CSV_DETAIL].data);
    }
    if (n > CSV_HINT && fields[CSV_HINT].length > 0) {
        strbuf_printf(plain, "HINT:  %s\n", fields[CSV_HINT].data);
    }
    for (size_t i = 0; i < CSV_COLUMNS; i++) {
        strbuf_deinit(&fields[i]);
    }
    return at + (*at != '\0');
}

char *pg_failure_of_csv(const char *csv)
{
    struct strbuf plain = {0};

    strbuf_add_text(&plain, "");
    while (*csv != '\0') {
        bool is_record = *csv >= '0' && *csv <= '9'; /* Else the rest of one that was cut. */

        if (is_record) {
            csv = csv_record(csv, &plain);
        } else {
            csv += strcspn(csv, "\n");
            csv += *csv != '\0';
        }
    }
    return plain.data;
}

/* The end of the collector's file, as lines; NULL without one. On the heap. */
static char *read_collector(const char *path)
{
    char *text = read_tail(path);
    char *plain;

    if (text == NULL || !str_ends_with(path, ".csv")) {
        return text;
    }
    plain = pg_failure_of_csv(text);
    free(text);
    return plain;
}

static const char *const fatal_words[] = {"FATAL:", "ВАЖНО:", NULL};

/* walreceiver.c and libpqwalreceiver.c: what its FATAL lines have in common, and what
 * those of clients of this server do not have; in the languages of find_word. Without a
 * hit nothing is told beyond that it does not stream. */
static const char *const receiver_words[] = {
    "the primary server", "WAL stream",       "of the primary",  "primary and standby",
    "главному серверу",   "главного сервера", "главном сервере", "главном и резервном",
    "поток WAL",          "потока WAL",       "трансляцию WAL",  NULL};

static bool is_of_receiver(const char *line)
{
    return find_word(line, fatal_words) != NULL && find_word(line, receiver_words) != NULL;
}

/* The primary's own words stand last: "... failed: FATAL:  password ...". */
static const char *skip_prefixes(const char *line)
{
    static const char *const marks[] = {"FATAL:", "ERROR:", "ВАЖНО:", "ОШИБКА:"};
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
    log = read_collector(path);
    if (log != NULL) {
        found = pg_failure_find_receiver(log, text, size);
    }
    free(log);
    return found;
}

/* ---- Why a standby does not stream ---- */

/* Words of PostgreSQL's, and what to do. */
static const struct {
    const char *word;
    const char *remedy;
} stream_remedies[] = {
    {"password authentication failed",
     "give every node the same postgresql.authentication.replication"},
    {"no pg_hba.conf entry", "add a line for replication to postgresql.pg_hba"},
    {"already been removed", "empty this data directory, it is then cloned anew"},
    {"onnection refused", "see that its port is open and its address right"},
    {"timeout expired", "see that no firewall is between"},
    {"не прошёл проверку подлинности",
     "give every node the same postgresql.authentication.replication"},
    {"в pg_hba.conf нет записи", "add a line for replication to postgresql.pg_hba"},
    {"уже удалён", "empty this data directory, it is then cloned anew"},
    {"В соединении отказано", "see that its port is open and its address right"}, /* libc */
    {"тайм-аут", "see that no firewall is between"},
};

/* The heart of "FATAL:  could not connect to the primary server: connection to server at
 * ... failed: FATAL:  password ...": there is not room for all. */
static const char *heart_of(const char *line)
{
    static const char *const before[] = {
        "FATAL:", " failed: ", "ВАЖНО:", "ОШИБКА:", " не удалось: "};

    for (size_t i = 0; i < ARRAY_LENGTH(before); i++) {
        for (const char *at; (at = strstr(line, before[i])) != NULL;) {
            line = at + strlen(before[i]);
        }
    }
    return line + strspn(line, " ");
}

static void describe_stream(const char *line, char *text, size_t size)
{
    const char *remedy = "PostgreSQL says";

    for (size_t i = 0; i < ARRAY_LENGTH(stream_remedies); i++) {
        if (strstr(line, stream_remedies[i].word) != NULL) {
            remedy = stream_remedies[i].remedy;
        }
    }
    (void)snprintf(text, size, "%s: %s", remedy, heart_of(line));
}

bool pg_failure_find_stream(char *log, char *text, size_t size)
{
    const char *last = NULL;
    char *rest = NULL;

    for (char *line = strtok_r(log, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        last = is_of_receiver(line) ? line : last; /* It tries again: the last one is fresh. */
    }
    if (last != NULL) {
        describe_stream(last, text, size);
    }
    return last != NULL;
}

void pg_failure_read_stream(const struct pg_options *o, char *text, size_t size)
{
    char path[PATH_MAX];
    char *log = NULL;
    bool found = false;

    if (collector_path(o->data_dir, path, sizeof(path))) {
        log = read_collector(path);
        found = log != NULL && pg_failure_find_stream(log, text, size);
        free(log);
    }
    pg_file_beside(o->data_dir, "startup.log", path, sizeof(path));
    log = found ? NULL : read_tail(path);
    if (!found && (log == NULL || !pg_failure_find_stream(log, text, size))) {
        (void)str_copy(text, size, "the log of PostgreSQL may say why");
    }
    free(log);
}

/* ---- Why it did not start ---- */

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
    log = read_collector(path);
    found = log != NULL && pg_failure_find(log, from_collector, sizeof(from_collector));
    if (found) {
        (void)str_copy(text, size, from_collector); /* For people; cut is fine. */
    }
    free(log);
    return found;
}
