/* Segments of WAL in a directory, see pg_segments.h. */
#include "pg/pg_segments.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"

#define WAL_ID_SIZE UINT64_C(0x100000000)

/* ---- Finding them ---- */

static bool parse_name(const char *name, uint64_t size, struct pg_segment *ret)
{
    unsigned timeline, high, low;

    if (strlen(name) != PG_SEGMENT_NAME_SIZE - 1 ||
        strspn(name, "0123456789ABCDEF") != PG_SEGMENT_NAME_SIZE - 1 ||
        sscanf(name, "%8X%8X%8X", &timeline, &high, &low) != 3) {
        return false;
    }
    (void)str_copy(ret->name, sizeof(ret->name), name); /* Just checked. */
    ret->timeline = timeline;
    ret->number = (uint64_t)high * (WAL_ID_SIZE / size) + low;
    return true;
}

static bool is_segment_size(off_t size)
{
    return size >= 1 << 20 && size <= 1 << 30 && (size & (size - 1)) == 0;
}

static bool is_ready(const char *ready_dir, const char *name)
{
    char path[PATH_MAX + PG_SEGMENT_NAME_SIZE + 8];

    (void)snprintf(path, sizeof(path), "%s/%s.ready", ready_dir, name);
    return access(path, F_OK) == 0;
}

int pg_segments_list(const char *dir_path, const char *ready_dir, struct pg_segments *ret,
                     struct err *err)
{
    DIR *dir = opendir(dir_path);
    const struct dirent *entry;
    struct pg_segment segment;
    struct stat st;

    if (dir == NULL) {
        return err_set_errno(err, errno, "opening %s", dir_path);
    }
    while ((entry = readdir(dir)) != NULL) {
        if (!parse_name(entry->d_name, WAL_ID_SIZE, &segment) ||
            fstatat(dirfd(dir), entry->d_name, &st, 0) != 0 || !is_segment_size(st.st_size)) {
            continue;
        }
        ret->size = (uint64_t)st.st_size;
        (void)parse_name(entry->d_name, ret->size, &segment); /* With the number, now. */
        segment.waits = is_ready(ready_dir, segment.name);
        ret->items = xrealloc(ret->items, (ret->n + 1) * sizeof(segment));
        ret->items[ret->n++] = segment;
    }
    (void)closedir(dir); /* Only read. */
    return 0;
}

/* ---- Which are worth it ---- */

/* What is before it goes behind what is after it, and is in the other order. */
struct order {
    uint64_t fork_number; /* UINT64_MAX: not known, all are before it. */
};

static int compare(const void *a, const void *b, void *data)
{
    const struct pg_segment *x = a, *y = b;
    const struct order *order = data;
    bool x_after = x->number >= order->fork_number, y_after = y->number >= order->fork_number;

    if (x_after != y_after) {
        return x_after ? -1 : 1;
    }
    if (x->number == y->number) {
        return x->timeline > y->timeline ? -1 : 1;
    }
    return (x->number < y->number) == x_after ? -1 : 1;
}

size_t pg_segments_select(struct pg_segments *s, const struct pg_kept *kept)
{
    uint64_t end_number = s->n > 0 ? kept->to / s->size : 0;
    uint64_t fork_number = s->n > 0 ? kept->from / s->size : 0;
    uint32_t fork_timeline = kept->from_timeline != 0 ? kept->from_timeline : kept->timeline;
    struct order order = {.fork_number = kept->from != 0 ? fork_number : UINT64_MAX};
    size_t n = 0, n_lost = 0;

    for (size_t i = 0; i < s->n; i++) {
        const struct pg_segment *item = &s->items[i];
        bool lost = item->number >= fork_number;
        bool is_ours = item->timeline <= kept->timeline &&
                       (!lost || kept->from == 0 || item->timeline >= fork_timeline) &&
                       (kept->to == 0 || item->number <= end_number);

        if (is_ours || item->waits) {
            n_lost += lost ? 1 : 0;
            s->items[n++] = *item;
        }
    }
    s->n = n;
    if (n > 0) {
        qsort_r(s->items, s->n, sizeof(s->items[0]), compare, &order);
    }
    return n_lost;
}

void pg_segments_cut(struct pg_segments *s, size_t n)
{
    size_t n_kept = 0, n_counted = 0;

    for (size_t i = 0; i < s->n; i++) {
        bool fits = !s->items[i].waits && n_counted < n;

        n_counted += fits ? 1 : 0;
        if (fits || s->items[i].waits) {
            s->items[n_kept++] = s->items[i];
        }
    }
    s->n = n_kept;
}
