/*
 * Parsing timeline history files. A line is "<parent timeline>\t<lsn>\t<reason>";
 * timelines and positions only grow; '#' starts a comment (readTimeLineHistory).
 */
#include "pg/pg_history.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/str.h"

#define LINE_SIZE 1024

static const char *skip_blanks(const char *text)
{
    while (*text == ' ' || *text == '\t') {
        text++;
    }
    return text;
}

/* Copies the next word into word; returns what is behind it. */
static const char *take_word(const char *text, char *word, size_t size)
{
    size_t n = strcspn(text, " \t");

    if (n >= size) {
        n = size - 1;
    }
    memcpy(word, text, n);
    word[n] = '\0';
    return skip_blanks(text + n);
}

static bool parse_line(const char *text, struct pg_history_line *line)
{
    char word[LSN_TEXT_SIZE];
    uint64_t timeline;

    text = take_word(text, word, sizeof(word));
    if (!str_to_u64(word, 1, UINT32_MAX, &timeline)) {
        return false;
    }
    text = take_word(text, word, sizeof(word));
    if (!lsn_parse(word, &line->lsn)) {
        return false;
    }
    line->timeline = (uint32_t)timeline;
    (void)str_copy(line->reason, sizeof(line->reason), text); /* For people; cut is fine. */
    return true;
}

/* Copies the line at *text and moves *text behind it. False at the end. */
static bool next_line(const char **text, char *line, size_t size)
{
    size_t n = strcspn(*text, "\n");

    if (**text == '\0') {
        return false;
    }
    memcpy(line, *text, MIN(n, size - 1));
    line[MIN(n, size - 1)] = '\0';
    *text += n + ((*text)[n] == '\n' ? 1 : 0);
    return true;
}

/* Calls fn for every line. False if the text is not a history file. */
static bool parse_lines(const char *text,
                        void (*fn)(void *data, const struct pg_history_line *line), void *data)
{
    char buffer[LINE_SIZE];
    struct pg_history_line last = {0}, line = {0};

    while (next_line(&text, buffer, sizeof(buffer))) {
        const char *start = skip_blanks(buffer);

        if (*start == '\0' || *start == '#' || *start == '\r') {
            continue;
        }
        if (!parse_line(start, &line) || line.timeline <= last.timeline || line.lsn < last.lsn) {
            return false;
        }
        last = line;
        fn(data, &line);
    }
    return true;
}

struct search {
    uint32_t timeline; /* 0 = any. */
    struct pg_history_line found;
};

static void on_line_search(void *data, const struct pg_history_line *line)
{
    struct search *search = data;

    if (search->timeline == 0 || line->timeline == search->timeline) {
        search->found = *line;
    }
}

bool pg_history_parse(const char *text, uint32_t timeline, struct pg_history_line *ret_line)
{
    struct search search = {.timeline = timeline};

    if (!parse_lines(text, on_line_search, &search) || search.found.timeline == 0) {
        return false;
    }
    *ret_line = search.found;
    return true;
}

static void on_line_keep(void *data, const struct pg_history_line *line)
{
    struct pg_history *h = data;

    if (h->n == HISTORY_MAX) {
        memmove(&h->lines[0], &h->lines[1], (HISTORY_MAX - 1) * sizeof(h->lines[0]));
        h->n--;
    }
    h->lines[h->n++] = *line;
}

bool pg_history_parse_all(const char *text, uint32_t timeline, struct pg_history *ret_history)
{
    struct pg_history *h = ret_history;

    h->timeline = 0;
    h->n = 0;
    if (!parse_lines(text, on_line_keep, h) || h->n == 0 ||
        h->lines[h->n - 1].timeline >= timeline) {
        return false;
    }
    h->timeline = timeline;
    return true;
}

static ssize_t read_file(const char *path, char *text, size_t size, int64_t *ret_time_us)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    ssize_t n = -1;

    if (fd < 0) {
        return -1;
    }
    if (fstat(fd, &st) == 0) {
        *ret_time_us = (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000;
        n = read(fd, text, size - 1);
    }
    (void)close(fd); /* Only read. */
    if (n >= 0) {
        text[n] = '\0';
    }
    return n;
}

int pg_history_read(const char *data_dir, uint32_t timeline, struct pg_history *ret_history,
                    struct err *err)
{
    char path[4096];
    char *text = xmalloc(PG_HISTORY_FILE_SIZE_MAX);
    int status = 0;

    (void)snprintf(path, sizeof(path), "%s/pg_wal/%08X.history", data_dir, timeline);
    ret_history->timeline = 0;
    if (read_file(path, text, PG_HISTORY_FILE_SIZE_MAX, &ret_history->time_us) < 0) {
        status = err_set_errno(err, errno, "reading %s", path);
    } else if (!pg_history_parse_all(text, timeline, ret_history)) {
        status = err_set(err, "%s is not the history of timeline %u", path, timeline);
    }
    free(text);
    return status;
}
