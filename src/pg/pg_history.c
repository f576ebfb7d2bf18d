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

bool pg_history_parse(const char *text, uint32_t timeline, struct pg_history_line *ret_line)
{
    char buffer[LINE_SIZE];
    struct pg_history_line last = {0}, line = {0}, found = {0};

    while (next_line(&text, buffer, sizeof(buffer))) {
        const char *start = skip_blanks(buffer);

        if (*start == '\0' || *start == '#' || *start == '\r') {
            continue;
        }
        if (!parse_line(start, &line) || line.timeline <= last.timeline || line.lsn < last.lsn) {
            return false;
        }
        last = line;
        if (timeline == 0 || line.timeline == timeline) {
            found = line;
        }
    }
    if (found.timeline == 0) {
        return false;
    }
    *ret_line = found;
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

int pg_history_read(const char *data_dir, uint32_t timeline, struct pg_history_line *ret_line,
                    int64_t *ret_time_us, struct err *err)
{
    char path[4096];
    char *text = xmalloc(PG_HISTORY_FILE_SIZE_MAX);
    int64_t time_us = 0;
    int status = 0;

    (void)snprintf(path, sizeof(path), "%s/pg_wal/%08X.history", data_dir, timeline);
    if (read_file(path, text, PG_HISTORY_FILE_SIZE_MAX, &time_us) < 0) {
        status = err_set_errno(err, errno, "reading %s", path);
    } else if (!pg_history_parse(text, 0, ret_line) || ret_line->timeline >= timeline) {
        status = err_set(err, "%s is not the history of timeline %u", path, timeline);
    } else {
        *ret_time_us = time_us;
    }
    free(text);
    return status;
}
