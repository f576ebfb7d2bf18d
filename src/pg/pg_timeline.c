/*
 * Numbers of timelines. A promotion takes the first number behind its own that has
 * no history file (timeline.c: findNewestTimeLine), so the numbers that are to be
 * left out get a file without lines. Standbys ask for every file in between, so
 * the files stay. But a server that starts in recovery takes the last file for its
 * target, and one without lines would not be its child: those are removed first.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "pg/pg_internal.h"

static const char placeholder[] = "# reserved by Veche: this number is left out\n";

static void path_of(const char *data_dir, uint32_t timeline, char *path, size_t size)
{
    (void)snprintf(path, size, "%s/pg_wal/%08X.history", data_dir, timeline);
}

static bool exists(const char *data_dir, uint32_t timeline)
{
    char path[PATH_MAX];

    path_of(data_dir, timeline, path, sizeof(path));
    return access(path, F_OK) == 0;
}

static bool is_placeholder(const char *data_dir, uint32_t timeline)
{
    char path[PATH_MAX];
    char *text;
    bool is;

    path_of(data_dir, timeline, path, sizeof(path));
    text = pg_file_read(path, sizeof(placeholder));
    is = text != NULL && str_equal(text, placeholder);
    free(text);
    return is;
}

/* Whoever recovers from the archive looks for the numbers one by one, too. Whether there is
 * one is PostgreSQL's to know, not our parameters': without one nobody looks at this. */
static void tell_archiver(const char *data_dir, uint32_t timeline)
{
    char path[PATH_MAX];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/pg_wal/archive_status/%08X.history.ready", data_dir,
                   timeline);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0) {
        (void)close(fd); /* Empty. */
    } else {
        log_warning("A history file will not be archived. timeline=%u error=\"%s\"", timeline,
                    strerror(errno));
    }
}

static int write_placeholder(const struct pg_options *o, uint32_t timeline, struct err *err)
{
    char path[PATH_MAX];

    path_of(o->data_dir, timeline, path, sizeof(path));
    if (pg_file_write(path, placeholder, strlen(placeholder), 0600, err) != 0) {
        return -1;
    }
    tell_archiver(o->data_dir, timeline);
    return 0;
}

uint32_t pg_timeline_taken(const char *data_dir, uint32_t timeline)
{
    uint32_t taken = 0;

    while (exists(data_dir, timeline)) {
        taken = timeline++;
    }
    return taken;
}

int pg_timeline_reserve(const struct pg_options *o, uint32_t own, uint32_t timeline,
                        struct err *err)
{
    if (own == 0 || timeline <= own || timeline - own > PG_PROMOTE_GAP_MAX) {
        return err_set(err, "cannot go from timeline %u to timeline %u", own, timeline);
    }
    for (uint32_t t = own + 1; t < timeline; t++) {
        if (!exists(o->data_dir, t) && write_placeholder(o, t, err) != 0) {
            return -1;
        }
    }
    return 0;
}

int pg_timeline_release(const char *data_dir, uint32_t own, struct err *err)
{
    char path[PATH_MAX];
    uint32_t last = own;

    while (exists(data_dir, last + 1)) {
        last++;
    }
    for (; last > own && is_placeholder(data_dir, last); last--) {
        path_of(data_dir, last, path, sizeof(path));
        if (pg_file_remove(path, err) != 0) {
            return -1;
        }
    }
    return 0;
}
