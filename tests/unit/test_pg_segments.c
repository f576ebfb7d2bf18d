/* What is kept of WAL that is given up: from where on, which segments, which go first. */
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "pg/pg_fork.h"
#include "pg/pg_kept.h"
#include "pg/pg_segments.h"

#define MB UINT64_C(0x100000)

/* ---- The fork ---- */

static void known_end(struct store *s, uint32_t timeline, lsn_t lsn, const char *by)
{
    struct store_history *h = &s->history[s->n_history++];

    h->timeline = timeline;
    h->lsn = lsn;
    (void)str_copy(h->new_primary, sizeof(h->new_primary), by);
}

static void declared(struct store *s, uint32_t timeline, uint32_t parent, lsn_t lsn, const char *by)
{
    s->line = (struct store_line){.timeline = timeline, .parent = parent, .lsn = lsn};
    (void)str_copy(s->line.owner, sizeof(s->line.owner), by);
}

static void own_end(struct pg_history *h, uint32_t timeline, lsn_t lsn)
{
    h->lines[h->n++] = (struct pg_history_line){.timeline = timeline, .lsn = lsn};
}

static struct pg_fork fork_of(const struct store *s, uint32_t timeline, const struct pg_history *h)
{
    struct pg_line line;

    pg_line_of(s, &line);
    return pg_fork_find(&line, timeline, h);
}

struct fork_case {
    struct store *store;
    struct pg_history own;
};

static int enter_fork(void **state)
{
    struct fork_case *c = calloc(1, sizeof(*c));

    c->store = calloc(1, sizeof(*c->store));
    *state = c;
    return 0;
}

static int leave_fork(void **state)
{
    struct fork_case *c = *state;

    free(c->store);
    free(c);
    return 0;
}

static void assert_fork(struct pg_fork fork, uint32_t timeline, lsn_t lsn)
{
    assert_int_equal(fork.timeline, timeline);
    assert_true(fork.lsn == lsn);
}

static void a_former_primary_was_left_where_its_timeline_ended(void **state)
{
    struct fork_case *c = *state;

    assert_fork(fork_of(c->store, 1, &c->own), 1, 0); /* Nobody has told anything. */
    declared(c->store, 2, 1, 9 * MB, "pg2");
    assert_fork(fork_of(c->store, 1, &c->own), 1, 9 * MB); /* Not later than that. */
    known_end(c->store, 1, 10 * MB, "pg2");
    assert_fork(fork_of(c->store, 1, &c->own), 1, 10 * MB);
}

/* pg2 went from 1 to 2 at 10 MB and died before pg3 had any of that; pg3 went from 1, where
 * it had 8 MB, to 3. */
static void a_timeline_that_the_cluster_never_had_is_left_at_its_own_switch_point(void **state)
{
    struct fork_case *c = *state;

    own_end(&c->own, 1, 10 * MB);
    declared(c->store, 3, 1, 12 * MB, "pg3");
    assert_fork(fork_of(c->store, 2, &c->own), 1, 10 * MB);
    declared(c->store, 3, 1, 8 * MB, "pg3");
    assert_fork(fork_of(c->store, 2, &c->own), 1, 8 * MB);

    known_end(c->store, 1, 10 * MB, "pg2"); /* It told so itself. */
    assert_fork(fork_of(c->store, 2, &c->own), 1, 8 * MB);
    c->store->n_history = 0;
    known_end(c->store, 1, 8 * MB + 40, "pg3"); /* From its history file. */
    assert_fork(fork_of(c->store, 2, &c->own), 1, 8 * MB + 40);

    /* Without a history file of its own it can not be told. */
    c->own.n = 0;
    assert_fork(fork_of(c->store, 2, &c->own), 2, 0);
}

static void what_was_told_of_a_line_that_was_left_does_not_count(void **state)
{
    /* 1 - 2 - 3 was left; 4 forks from 1. */
    struct fork_case *c = *state;

    own_end(&c->own, 1, 10 * MB);
    own_end(&c->own, 2, 20 * MB);
    known_end(c->store, 1, 8 * MB, "pg3");
    known_end(c->store, 2, 20 * MB, "pg1");
    declared(c->store, 4, 1, 8 * MB, "pg3");
    assert_fork(fork_of(c->store, 3, &c->own), 1, 8 * MB);
    assert_fork(fork_of(c->store, 2, &c->own), 1, 8 * MB);
}

static void a_child_of_what_goes_on_was_left_where_it_began(void **state)
{
    struct fork_case *c = *state;

    own_end(&c->own, 1, 10 * MB);
    declared(c->store, 1, 0, 0, "pg1");
    assert_fork(fork_of(c->store, 2, &c->own), 1, 10 * MB);
}

static void nobody_knows_where_the_same_timeline_went_two_ways(void **state)
{
    struct fork_case *c = *state;

    own_end(&c->own, 1, 10 * MB);
    known_end(c->store, 1, 10 * MB, "pg2");
    declared(c->store, 2, 1, 10 * MB, "pg2");
    assert_fork(fork_of(c->store, 2, &c->own), 2, 0);
}

/* ---- Which segments ---- */

#define SEGMENT (16 * MB)

struct list {
    struct pg_segments s;
    char text[512];
};

static struct list list_of(const char *words)
{
    struct list l = {.s = {.size = SEGMENT}};
    char copy[512], *word, *rest = copy;

    assert_true(str_copy(copy, sizeof(copy), words));
    while ((word = strsep(&rest, " ")) != NULL) {
        struct pg_segment item = {.waits = word[0] == '!'};
        unsigned timeline, number;

        assert_int_equal(sscanf(word, item.waits ? "!%u:%u" : "%u:%u", &timeline, &number), 2);
        item.timeline = timeline;
        item.number = number;
        l.s.items = xrealloc(l.s.items, (l.s.n + 1) * sizeof(item));
        l.s.items[l.s.n++] = item;
    }
    return l;
}

static const char *text_of(struct list *l)
{
    struct sbuf b;

    sbuf_init(&b, l->text, sizeof(l->text));
    for (size_t i = 0; i < l->s.n; i++) {
        sbuf_printf(&b, "%s%s%u:%u", i > 0 ? " " : "", l->s.items[i].waits ? "!" : "",
                    l->s.items[i].timeline, (unsigned)l->s.items[i].number);
    }
    return l->text;
}

static void assert_selected(const char *from, const struct pg_kept *kept, size_t n_lost,
                            const char *to)
{
    struct list l = list_of(from);

    assert_int_equal(pg_segments_select(&l.s, kept), n_lost);
    assert_string_equal(text_of(&l), to);
    free(l.s.items);
}

static void from_the_fork_on_upwards_then_what_is_before_it(void **state)
{
    struct pg_kept kept = {.timeline = 2, .from_timeline = 2, .from = 5 * SEGMENT + 9};

    (void)state;
    kept.to = 7 * SEGMENT + 1;
    assert_selected("2:3 2:4 1:3 2:5 2:6 2:7 2:8 2:9 3:5 1:5", &kept, 3, "2:5 2:6 2:7 2:4 2:3 1:3");
    kept.to = 0; /* Where it ends is not known. */
    assert_selected("2:4 2:5 2:9 3:9", &kept, 2, "2:5 2:9 2:4");
}

static void all_timelines_since_the_fork_are_given_up(void **state)
{
    /* The cluster left timeline 2 in segment 5; ours went on to 3 in 7, and to 4 in 9. */
    struct pg_kept kept = {.timeline = 4, .from_timeline = 2, .from = 5 * SEGMENT + 9};

    (void)state;
    kept.to = 9 * SEGMENT + 1;
    assert_selected("4:9 3:9 3:8 3:7 2:7 2:6 2:5 2:4 1:6 1:4", &kept, 7,
                    "2:5 2:6 3:7 2:7 3:8 4:9 3:9 2:4 1:4");
}

static void without_a_known_fork_the_newest_come_first(void **state)
{
    struct pg_kept kept = {.timeline = 2, .from_timeline = 2, .to = 7 * SEGMENT};

    (void)state;
    assert_selected("1:1 1:2 1:5 2:5 2:6 2:7 2:8", &kept, 6, "2:7 2:6 2:5 1:5 1:2 1:1");
}

static void what_waits_for_the_archive_is_worth_keeping_wherever_it_is(void **state)
{
    struct pg_kept kept = {.timeline = 2, .from_timeline = 2, .from = 5 * SEGMENT};
    struct list l = list_of("!1:6 !1:2 1:3 2:4 2:5 !2:6 2:7 2:8");

    (void)state;
    assert_int_equal(pg_segments_select(&l.s, &kept), 5);
    assert_string_equal(text_of(&l), "2:5 !2:6 !1:6 2:7 2:8 2:4 1:3 !1:2");
    pg_segments_cut(&l.s, 2);
    assert_string_equal(text_of(&l), "2:5 !2:6 !1:6 2:7 !1:2");
    pg_segments_cut(&l.s, 0);
    assert_string_equal(text_of(&l), "!2:6 !1:6 !1:2");
    free(l.s.items);
}

static void nothing_is_nothing(void **state)
{
    struct pg_kept kept = {.timeline = 2, .from = 5 * SEGMENT, .to = 6 * SEGMENT};
    struct pg_segments none = {0};

    (void)state;
    assert_int_equal(pg_segments_select(&none, &kept), 0);
    pg_segments_cut(&none, 3);
    assert_int_equal(none.n, 0);
}

/* ---- What stays of a directory ---- */

static char root[64];

static int enter(void **state)
{
    (void)state;
    (void)str_copy(root, sizeof(root), "/tmp/veche-segments-XXXXXX");
    return mkdtemp(root) != NULL ? 0 : -1;
}

static int leave(void **state)
{
    char command[128];

    (void)state;
    (void)snprintf(command, sizeof(command), "rm -rf %s", root);
    return system(command);
}

static const char *segment_path(unsigned timeline, unsigned number, const char *suffix)
{
    static char path[PATH_MAX];

    (void)snprintf(path, sizeof(path), "%s/k-tl%u/%08X%08X%08X%s", root, timeline, timeline, 0U,
                   number, suffix);
    return path;
}

static void put(const char *path, off_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0); /* Without blocks. */
    assert_int_equal(close(fd), 0);
}

static void put_segments(struct pg_kept *kept, unsigned first, unsigned last)
{
    (void)snprintf(kept->path, sizeof(kept->path), "%s/k-tl%u", root, kept->timeline);
    assert_int_equal(mkdir(kept->path, 0700), 0);
    for (unsigned i = first; i <= last; i++) {
        put(segment_path(kept->timeline, i, ""), MB);
    }
}

static void assert_stay(const struct pg_kept *kept, const char *numbers)
{
    char text[128];
    struct sbuf b;

    sbuf_init(&b, text, sizeof(text));
    for (unsigned i = 0; i < 20; i++) {
        if (access(segment_path(kept->timeline, i, ""), F_OK) == 0) {
            sbuf_printf(&b, "%u ", i);
        }
    }
    assert_string_equal(text, numbers);
}

static void what_is_before_the_fork_goes_and_what_exceeds_the_bound(void **state)
{
    struct pg_kept kept = {.timeline = 2, .from_timeline = 2, .from = 3 * MB + 5, .to = 8 * MB - 1};
    struct err err = {""};

    (void)state;
    put_segments(&kept, 1, 7);
    assert_int_equal(pg_kept_trim(&kept, root, 100 * MB, &err), 0);
    assert_stay(&kept, "3 4 5 6 7 ");
    assert_int_equal(pg_kept_trim(&kept, root, 3 * MB, &err), 0);
    assert_stay(&kept, "3 4 5 ");
    assert_int_equal(pg_kept_trim(&kept, root, 0, &err), 0);
    assert_stay(&kept, "");
}

static void without_a_known_fork_the_newest_stay(void **state)
{
    struct pg_kept kept = {.timeline = 2, .from_timeline = 2, .to = 8 * MB - 1};
    struct err err = {""};

    (void)state;
    put_segments(&kept, 1, 7);
    assert_int_equal(pg_kept_trim(&kept, root, 3 * MB, &err), 0);
    assert_stay(&kept, "5 6 7 ");
}

static void what_waits_for_the_archive_stays_whatever_the_bound(void **state)
{
    struct pg_kept kept = {.timeline = 2, .from_timeline = 2, .from = 4 * MB, .to = 8 * MB - 1};
    struct err err = {""};

    (void)state;
    put_segments(&kept, 1, 7);
    put(segment_path(2, 2, ".ready"), 0);
    put(segment_path(2, 4, ".ready"), 0);
    assert_int_equal(pg_kept_trim(&kept, root, 2 * MB, &err), 0);
    assert_stay(&kept, "2 4 5 6 ");
    assert_int_equal(pg_kept_trim(&kept, root, 0, &err), 0);
    assert_stay(&kept, "2 4 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_former_primary_was_left_where_its_timeline_ended,
                                        enter_fork, leave_fork),
        cmocka_unit_test_setup_teardown(
            a_timeline_that_the_cluster_never_had_is_left_at_its_own_switch_point, enter_fork,
            leave_fork),
        cmocka_unit_test_setup_teardown(what_was_told_of_a_line_that_was_left_does_not_count,
                                        enter_fork, leave_fork),
        cmocka_unit_test_setup_teardown(a_child_of_what_goes_on_was_left_where_it_began, enter_fork,
                                        leave_fork),
        cmocka_unit_test_setup_teardown(nobody_knows_where_the_same_timeline_went_two_ways,
                                        enter_fork, leave_fork),
        cmocka_unit_test(from_the_fork_on_upwards_then_what_is_before_it),
        cmocka_unit_test(all_timelines_since_the_fork_are_given_up),
        cmocka_unit_test(without_a_known_fork_the_newest_come_first),
        cmocka_unit_test(what_waits_for_the_archive_is_worth_keeping_wherever_it_is),
        cmocka_unit_test(nothing_is_nothing),
        cmocka_unit_test_setup_teardown(what_is_before_the_fork_goes_and_what_exceeds_the_bound,
                                        enter, leave),
        cmocka_unit_test_setup_teardown(without_a_known_fork_the_newest_stay, enter, leave),
        cmocka_unit_test_setup_teardown(what_waits_for_the_archive_stays_whatever_the_bound, enter,
                                        leave),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
