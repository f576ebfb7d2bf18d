/*
 * Callbacks: the table of transitions, cell by cell and as a whole, and commands that
 * really run. No PostgreSQL is started: what is seen of it the test says.
 */
#include "test_ops_world.h"

#include "ops/hooks.h"
#include "pg/pg_processes.h"

#define BOOT  UINT64_C(7)
#define SOON  SECONDS(60) /* Only a bound: everything here takes milliseconds. */
#define FIRST 1000        /* When servers started. */
#define OTHER 2000

/* ---- The table ---- */

#define UNCLEAR                    \
    {                              \
        .state = HOOK_SEEN_UNCLEAR \
    }
#define UP(r, s)                                               \
    {                                                          \
        .state = HOOK_SEEN_UP, .role = HOOK_##r, .start_us = s \
    }
#define UP_RESTARTS(r, s)                                                        \
    {                                                                            \
        .state = HOOK_SEEN_UP, .role = HOOK_##r, .start_us = s, .restarts = true \
    }
#define DOWN(...)                            \
    {                                        \
        .state = HOOK_SEEN_DOWN, __VA_ARGS__ \
    }
#define TOLD(s, r)                                                  \
    {                                                               \
        .state = HOOK_TOLD_##s, .role = HOOK_##r, .start_us = FIRST \
    }

static void each_transition_has_its_callback(void **state)
{
    static const struct {
        struct hook_told before;
        struct hook_seen seen;
        const char *call; /* "" = none. */
        enum hook_state after;
    } rows[] = {
        /* clang-format off */
        {TOLD(NOTHING, NO_ROLE),   UNCLEAR,                        "",                       HOOK_TOLD_NOTHING},
        {TOLD(NOTHING, NO_ROLE),   DOWN(.leads = false),           "",                       HOOK_TOLD_NOTHING},
        {TOLD(NOTHING, NO_ROLE),   UP(PRIMARY, OTHER),             "on_start primary",       HOOK_TOLD_UP},
        {TOLD(NOTHING, NO_ROLE),   UP(REPLICA, OTHER),             "on_start replica",       HOOK_TOLD_UP},
        {TOLD(UP, PRIMARY),        UNCLEAR,                        "",                       HOOK_TOLD_UP},
        {TOLD(UP, PRIMARY),        UP(PRIMARY, FIRST),             "",                       HOOK_TOLD_UP},
        {TOLD(UP, REPLICA),        UP(REPLICA, FIRST),             "",                       HOOK_TOLD_UP},
        {TOLD(UP, REPLICA),        UP(PRIMARY, FIRST),             "on_role_change primary", HOOK_TOLD_UP},
        {TOLD(UP, PRIMARY),        UP(REPLICA, OTHER),             "on_role_change replica", HOOK_TOLD_UP},
        {TOLD(UP, PRIMARY),        UP(PRIMARY, OTHER),             "on_start primary",       HOOK_TOLD_UP},
        {TOLD(UP, PRIMARY),        UP_RESTARTS(PRIMARY, FIRST),    "",                       HOOK_TOLD_UP},
        {TOLD(UP, PRIMARY),        UP_RESTARTS(PRIMARY, OTHER),    "on_restart primary",     HOOK_TOLD_UP},
        {TOLD(UP, PRIMARY),        UP_RESTARTS(REPLICA, OTHER),    "on_role_change replica", HOOK_TOLD_UP},
        {TOLD(UP, PRIMARY),        DOWN(.stopped = true),          "on_stop primary",        HOOK_TOLD_STOPPED},
        {TOLD(UP, REPLICA),        DOWN(.stopped = true),          "on_stop replica",        HOOK_TOLD_STOPPED},
        {TOLD(UP, PRIMARY),        DOWN(.stopped = true, .restarts = true, .leads = true), "", HOOK_TOLD_RESTARTING},
        {TOLD(UP, REPLICA),        DOWN(.stopped = true, .restarts = true), "",              HOOK_TOLD_RESTARTING},
        {TOLD(UP, PRIMARY),        DOWN(.leads = true),            "",                       HOOK_TOLD_GONE},
        {TOLD(UP, PRIMARY),        DOWN(.leads = false),           "on_role_change demoted", HOOK_TOLD_GONE},
        {TOLD(UP, REPLICA),        DOWN(.leads = false),           "",                       HOOK_TOLD_GONE},
        {TOLD(STOPPED, PRIMARY),   DOWN(.stopped = true),          "",                       HOOK_TOLD_STOPPED},
        {TOLD(STOPPED, PRIMARY),   UP(PRIMARY, OTHER),             "on_start primary",       HOOK_TOLD_UP},
        {TOLD(STOPPED, PRIMARY),   UP(REPLICA, OTHER),             "on_role_change replica", HOOK_TOLD_UP},
        {TOLD(STOPPED, REPLICA),   UP(REPLICA, OTHER),             "on_start replica",       HOOK_TOLD_UP},
        {TOLD(RESTARTING, PRIMARY),DOWN(.leads = true),            "",                       HOOK_TOLD_RESTARTING},
        {TOLD(RESTARTING, PRIMARY),DOWN(.leads = false),           "on_role_change demoted", HOOK_TOLD_GONE},
        {TOLD(RESTARTING, PRIMARY),UP(PRIMARY, OTHER),             "on_restart primary",     HOOK_TOLD_UP},
        {TOLD(RESTARTING, REPLICA),UP(REPLICA, OTHER),             "on_restart replica",     HOOK_TOLD_UP},
        {TOLD(RESTARTING, PRIMARY),UP(REPLICA, OTHER),             "on_role_change replica", HOOK_TOLD_UP},
        {TOLD(GONE, PRIMARY),      DOWN(.leads = true),            "",                       HOOK_TOLD_GONE},
        {TOLD(GONE, PRIMARY),      DOWN(.leads = false),           "on_role_change demoted", HOOK_TOLD_GONE},
        {TOLD(GONE, PRIMARY),      UP(PRIMARY, OTHER),             "on_start primary",       HOOK_TOLD_UP},
        {TOLD(GONE, REPLICA),      UP(REPLICA, OTHER),             "on_start replica",       HOOK_TOLD_UP},
        {TOLD(GONE, DEMOTED),      DOWN(.leads = false),           "",                       HOOK_TOLD_GONE},
        {TOLD(GONE, DEMOTED),      UP(REPLICA, OTHER),             "on_role_change replica", HOOK_TOLD_UP},
        {TOLD(GONE, DEMOTED),      UP(PRIMARY, OTHER),             "on_role_change primary", HOOK_TOLD_UP},
        /* clang-format on */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct hook_told told = rows[i].before;
        const struct hook_rule *rule = hook_next(&told, &rows[i].seen);
        char call[64] = "";

        if (rule->hook != HOOK_NONE) {
            (void)snprintf(call, sizeof(call), "%s %s", hook_name(rule->hook),
                           hook_role_name(told.role));
        }
        assert_string_equal(call, rows[i].call);
        assert_int_equal(told.state, rows[i].after);
    }
}

static bool used[64];

static void check_transition(const struct hook_told *before, const struct hook_seen *seen)
{
    struct hook_told told = *before;
    const struct hook_rule *rule = hook_next(&told, seen);
    bool is_start = rule->hook == HOOK_START || rule->hook == HOOK_RESTART;

    used[rule - hook_rules] = true;
    if (seen->state == HOOK_SEEN_UNCLEAR) {
        assert_int_equal(rule->hook, HOOK_NONE);
        assert_memory_equal(&told, before, sizeof(told));
    }
    if (is_start) { /* A change of role is told alone. */
        assert_true(before->state == HOOK_TOLD_NOTHING || before->role == seen->role);
    }
    if (seen->state == HOOK_SEEN_UP) {
        assert_int_equal(told.role, seen->role);
        assert_int_equal(rule->hook == HOOK_ROLE_CHANGE,
                         before->state != HOOK_TOLD_NOTHING && before->role != seen->role);
    }
    for (int i = 0; i < 2; i++) { /* Nothing is told again, and it comes to rest. */
        rule = hook_next(&told, seen);
        assert_true(rule->hook == HOOK_NONE || (i == 0 && rule->hook == HOOK_ROLE_CHANGE));
    }
    if (seen->state == HOOK_SEEN_DOWN && !seen->leads) { /* Nobody is left in the belief. */
        assert_true(told.role != HOOK_PRIMARY || told.state == HOOK_TOLD_STOPPED);
    }
}

static void check_seen(const struct hook_told *before)
{
    for (unsigned bits = 0; bits < 8; bits++) {
        struct hook_seen seen = {
            .state = HOOK_SEEN_DOWN, .stopped = bits & 1, .restarts = bits & 2, .leads = bits & 4};

        check_transition(before, &seen);
        seen.state = HOOK_SEEN_UNCLEAR;
        check_transition(before, &seen);
        seen.state = HOOK_SEEN_UP;
        for (int role = HOOK_PRIMARY; role <= HOOK_REPLICA; role++) {
            seen.role = (enum hook_role)role;
            seen.start_us = FIRST;
            check_transition(before, &seen);
            seen.start_us = OTHER;
            check_transition(before, &seen);
        }
    }
}

static void every_transition_keeps_to_the_lines(void **state)
{
    (void)state;
    for (int s = 0; s < HOOK_STATES; s++) {
        for (int role = 0; role < HOOK_ROLES; role++) {
            bool can_be = (s == HOOK_TOLD_NOTHING) == (role == HOOK_NO_ROLE) &&
                          !(role == HOOK_DEMOTED && s != HOOK_TOLD_GONE);

            if (can_be) {
                check_seen(&(struct hook_told){(enum hook_state)s, (enum hook_role)role, FIRST});
            }
        }
    }
    for (size_t i = 0; i < hook_rules_n; i++) {
        assert_true(used[i]);
    }
}

/* ---- Commands that run ---- */

static struct kv_list callbacks;
static const struct hook_seen up_primary = UP(PRIMARY, FIRST), up_replica = UP(REPLICA, FIRST),
                              down = DOWN(.stopped = true);

static const char *path_of(const char *name)
{
    static char paths[4][PATH_MAX + 64];
    static unsigned at;
    char *path = paths[at++ % 4];

    (void)snprintf(path, sizeof(paths[0]), "%s/%s", w->a.dir, name);
    return path;
}

static struct hooks *new_hooks(const char *file, uint64_t boot)
{
    return hooks_new(w->a.pg, path_of(file), boot);
}

/* The command is given to a shell; $D in it is the directory of this test. It works there:
 * what a test that failed leaves is found by that. */
static void set_callback(const char *hook, const char *command)
{
    char text[2 * PATH_MAX];

    (void)snprintf(text, sizeof(text), "D=%s; cd $D; f() { %s; }; f", w->a.dir, command);
    kv_set(&callbacks, hook, text);
    w->a.options.callbacks = &callbacks;
    pg_set_options(w->a.pg, &w->a.options);
}

static void see_once(struct hooks *h, const struct hook_seen *seen)
{
    (void)hooks_tick(h, seen, clock_ms());
}

static void wait_quiet(struct hooks *h)
{
    uint64_t until_ms = clock_ms() + SOON;

    while (!hooks_is_idle(h)) {
        assert_true(clock_ms() < until_ms);
        turn();
    }
}

static void wait_file(const char *name)
{
    uint64_t until_ms = clock_ms() + SOON;

    while (access(path_of(name), F_OK) != 0) {
        assert_true(clock_ms() < until_ms);
        turn();
    }
}

static const char *text_of(const char *name)
{
    static char text[16384];
    FILE *f = fopen(path_of(name), "re");

    text[0] = '\0';
    if (f != NULL) {
        text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
        (void)fclose(f);
    }
    return text;
}

static void wait_gone(const char *name)
{
    pid_t pid = (pid_t)strtol(text_of(name), NULL, 10);
    uint64_t until_ms = clock_ms() + SOON;

    assert_true(pid > 1);
    while (kill(pid, 0) == 0 && !pg_process_is_zombie(pid)) {
        assert_true(clock_ms() < until_ms);
        turn();
    }
}

static bool runs(const char *name)
{
    pid_t pid = (pid_t)strtol(text_of(name), NULL, 10);

    return pid > 1 && kill(pid, 0) == 0 && !pg_process_is_zombie(pid);
}

static void copy_file(const char *from, const char *to)
{
    char bytes[256];
    FILE *f = fopen(path_of(from), "re");
    size_t n = f != NULL ? fread(bytes, 1, sizeof(bytes), f) : 0;

    assert_true(n > 0);
    (void)fclose(f);
    f = fopen(path_of(to), "we");
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    (void)fclose(f);
}

static int setup_hooks(void **state)
{
    callbacks = (struct kv_list){0};
    return setup(state);
}

static int teardown_hooks(void **state)
{
    int rv = teardown(state);

    kv_deinit(&callbacks);
    return rv;
}

static void a_command_is_told_action_role_and_scope_and_no_secret(void **state)
{
    struct hooks *h = new_hooks("told", BOOT);

    (void)state;
    assert_int_equal(setenv("PGPASSWORD", "s3cret", 1), 0);
    assert_int_equal(setenv("PATRONI_SUPERUSER_PASSWORD", "s3cret", 1), 0);
    set_callback("on_start", "echo \"$*\" > $D/args; env > $D/env");
    see_once(h, &up_primary);
    wait_quiet(h);

    assert_string_equal(text_of("args"), "on_start primary test\n");
    assert_non_null(strstr(text_of("env"), "PATH="));
    assert_null(strstr(text_of("env"), "s3cret"));
    hooks_free(h);
}

static void what_has_no_command_is_passed_over(void **state)
{
    struct hooks *h = new_hooks("told", BOOT);

    (void)state;
    set_callback("on_role_change", "echo \"$*\" >> $D/args");
    see_once(h, &up_replica);
    assert_true(hooks_is_idle(h));
    see_once(h, &up_primary);
    wait_quiet(h);
    see_once(h, &up_primary);
    assert_true(hooks_is_idle(h));

    assert_string_equal(text_of("args"), "on_role_change primary test\n");
    hooks_free(h);
}

static void a_command_that_fails_or_is_missing_harms_nobody(void **state)
{
    struct hooks *h = new_hooks("told", BOOT);

    (void)state;
    set_callback("on_start", "/nowhere/at-all");
    set_callback("on_stop", "exit 3");
    see_once(h, &up_primary);
    wait_quiet(h);
    see_once(h, &down);
    wait_quiet(h);
    see_once(h, &down);

    assert_true(hooks_is_idle(h)); /* Not tried again. */
    hooks_free(h);
}

/* Also what has left its process group, and what lost its parent. */
#define FAMILY                                                           \
    "(setsid sh -c 'echo $$ > $0/left; exec sleep 600' $D &); "         \
    "sh -c 'echo $$ > $0/child; exec sleep 600' $D & "                  \
    "while [ ! -s $D/left ] || [ ! -s $D/child ]; do sleep 0.01; done; " \
    "echo $$ > $D/self.new; mv $D/self.new $D/self; wait"

static void a_new_command_kills_the_one_that_runs_with_its_children(void **state)
{
    struct hooks *h = new_hooks("told", BOOT);

    (void)state;
    set_callback("on_start", FAMILY);
    set_callback("on_role_change", "echo \"$*\" > $D/args");
    see_once(h, &up_replica);
    wait_file("self");
    assert_true(runs("left") && runs("child") && runs("self"));
    see_once(h, &up_primary);
    wait_quiet(h);

    assert_string_equal(text_of("args"), "on_role_change primary test\n");
    assert_false(runs("self"));
    wait_gone("child");
    wait_gone("left");
    hooks_free(h);
}

static void on_reload_has_a_slot_of_its_own(void **state)
{
    struct hooks *h = new_hooks("told", BOOT);

    (void)state;
    set_callback("on_start", FAMILY);
    set_callback("on_reload", "echo \"$*\" >> $D/args; echo $$ > $D/first; "
                              "mv $D/first $D/reload; exec sleep 600");
    hooks_reloaded(h, clock_ms()); /* Nothing is told before the first start. */
    assert_true(hooks_is_idle(h));
    see_once(h, &up_replica);
    wait_file("self");
    hooks_reloaded(h, clock_ms());
    wait_file("reload");
    assert_true(runs("self") && runs("left") && runs("child"));
    assert_int_equal(rename(path_of("reload"), path_of("before")), 0);
    hooks_reloaded(h, clock_ms());
    wait_file("reload");

    assert_false(runs("before"));
    assert_true(runs("reload") && runs("self"));
    assert_string_equal(text_of("args"), "on_reload replica test\non_reload replica test\n");
    hooks_leave(h, clock_ms());
    wait_quiet(h);
    hooks_free(h);
}

static void one_that_never_ends_is_killed(void **state)
{
    struct hooks *h = new_hooks("told", BOOT);
    uint64_t now_ms = clock_ms();

    (void)state;
    set_callback("on_start", FAMILY);
    assert_int_equal(hooks_tick(h, &up_replica, now_ms), now_ms + HOOK_LIMIT_MS);
    wait_file("self");
    (void)hooks_tick(h, &up_replica, now_ms + HOOK_LIMIT_MS - 1);
    turn();
    assert_true(runs("self"));
    (void)hooks_tick(h, &up_replica, now_ms + HOOK_LIMIT_MS);
    wait_quiet(h);

    wait_gone("left");
    hooks_free(h);
}

static void its_output_is_bounded_in_the_log(void **state)
{
    struct hooks *h = new_hooks("told", BOOT);
    int log = open(path_of("log"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int before = dup(STDERR_FILENO);
    const char *text;
    unsigned n = 0;

    (void)state;
    assert_true(log >= 0 && before >= 0 && dup2(log, STDERR_FILENO) >= 0);
    set_callback("on_start",
                 "i=0; while [ $i -lt 300 ]; do echo line-$i; i=$((i+1)); done; exit 5");
    see_once(h, &up_replica);
    wait_quiet(h);
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    (void)close(before);
    (void)close(log);

    text = text_of("log");
    assert_non_null(strstr(text, "Callback failed"));
    assert_non_null(strstr(text, "ended with code 5"));
    assert_non_null(strstr(text, "line-299")); /* The last lines are in the reason. */
    assert_null(strstr(text, "on_start: line-200"));
    for (const char *at = text; (at = strstr(at, "on_start: line-")) != NULL; at++) {
        n++;
    }
    assert_true(n >= 10 && n <= 100);
    hooks_free(h);
}

/* ---- An agent after another ---- */

static void an_agent_beside_a_running_server_tells_nothing_again(void **state)
{
    struct hooks *h = new_hooks("told", BOOT);
    const struct hook_seen other = UP(PRIMARY, OTHER);

    (void)state;
    set_callback("on_start", "echo \"$*\" >> $D/args");
    see_once(h, &up_primary);
    wait_quiet(h);
    hooks_free(h);
    h = new_hooks("told", BOOT);
    see_once(h, &(struct hook_seen)UNCLEAR);
    see_once(h, &up_primary);
    assert_true(hooks_is_idle(h));
    assert_string_equal(text_of("args"), "on_start primary test\n");

    /* It was started again while no agent ran. */
    hooks_free(h);
    h = new_hooks("told", BOOT);
    see_once(h, &other);
    wait_quiet(h);
    assert_string_equal(text_of("args"), "on_start primary test\non_start primary test\n");

    /* What another boot was told does not count. */
    hooks_free(h);
    h = new_hooks("told", BOOT + 1);
    see_once(h, &other);
    wait_quiet(h);
    assert_int_equal(strlen(text_of("args")), 3 * strlen("on_start primary test\n"));
    hooks_free(h);
}

static void what_happened_while_no_agent_ran_is_told_by_the_next(void **state)
{
    struct hooks *h = new_hooks("told", BOOT);
    const struct hook_seen gone = DOWN(.leads = false);

    (void)state;
    set_callback("on_role_change", "echo \"$*\" >> $D/args");
    see_once(h, &up_primary);
    hooks_free(h);
    h = new_hooks("told", BOOT);
    see_once(h, &gone); /* The guard has killed it. */
    wait_quiet(h);

    assert_string_equal(text_of("args"), "on_role_change demoted test\n");
    hooks_free(h);
}

/* A file that is damaged counts as none. */
static void a_memory_that_is_damaged_is_none(void **state)
{
    struct hooks *h = new_hooks("told", BOOT);
    FILE *f;

    (void)state;
    set_callback("on_start", "echo \"$*\" >> $D/args");
    see_once(h, &up_primary);
    wait_quiet(h);
    hooks_free(h);
    f = fopen(path_of("told"), "r+e");
    assert_non_null(f);
    assert_int_equal(fseek(f, 13, SEEK_SET), 0);
    assert_int_equal(fputc(HOOK_DEMOTED, f), HOOK_DEMOTED);
    (void)fclose(f);
    h = new_hooks("told", BOOT);
    see_once(h, &up_primary);
    wait_quiet(h);

    assert_string_equal(text_of("args"), "on_start primary test\non_start primary test\n");
    hooks_free(h);
}

/* The agent before was killed: its memory, and what it had started, are still there. */
static void what_was_cut_off_is_ended_and_runs_again(void **state)
{
    struct hooks *killed = new_hooks("told", BOOT);
    struct hooks *h;

    (void)state;
    set_callback("on_role_change", FAMILY);
    see_once(killed, &up_replica);
    see_once(killed, &up_primary);
    wait_file("self");
    copy_file("told", "kept");
    set_callback("on_role_change", "echo \"$*\" >> $D/args");
    h = new_hooks("kept", BOOT);
    wait_gone("left");
    wait_gone("child");
    wait_quiet(killed);
    see_once(h, &(struct hook_seen)UNCLEAR);
    assert_true(hooks_is_idle(h)); /* Not before it is clear what there is. */
    see_once(h, &up_primary);
    wait_quiet(h);
    see_once(h, &up_primary);
    wait_quiet(h);

    assert_string_equal(text_of("args"), "on_role_change primary test\n");
    hooks_free(killed);
    hooks_free(h);
}

static void what_was_cut_off_and_is_not_true_any_more_is_left(void **state)
{
    struct hooks *killed = new_hooks("told", BOOT);
    struct hooks *h;

    (void)state;
    set_callback("on_start", FAMILY);
    see_once(killed, &up_primary);
    wait_file("self");
    copy_file("told", "kept");
    set_callback("on_start", "echo \"$*\" >> $D/args");
    set_callback("on_role_change", "echo \"$*\" >> $D/args");
    h = new_hooks("kept", BOOT);
    wait_quiet(killed);
    see_once(h, &(struct hook_seen)DOWN(.leads = true));
    assert_true(hooks_is_idle(h));
    see_once(h, &(struct hook_seen)UP(REPLICA, OTHER));
    wait_quiet(h);

    assert_string_equal(text_of("args"), "on_role_change replica test\n");
    hooks_free(killed);
    hooks_free(h);
}

static void who_leaves_lets_on_stop_end_and_nothing_else(void **state)
{
    struct hooks *h = new_hooks("told", BOOT);

    (void)state;
    set_callback("on_start", FAMILY);
    set_callback("on_stop", "while [ ! -e $D/go ]; do sleep 0.01; done; echo \"$*\" > $D/args");
    see_once(h, &up_replica);
    wait_file("self");
    see_once(h, &down);
    hooks_leave(h, clock_ms());
    while (runs("self")) {
        turn();
    }
    hooks_leave(h, clock_ms());
    (void)fclose(fopen(path_of("go"), "we"));
    wait_quiet(h);
    assert_string_equal(text_of("args"), "on_stop replica test\n");
    hooks_free(h);

    /* Any other is for the next agent; on_stop too, when its time is over. */
    assert_int_equal(unlink(path_of("go")), 0);
    h = new_hooks("told", BOOT);
    see_once(h, &up_replica);
    see_once(h, &down);
    turn();
    hooks_leave(h, clock_ms());
    turn();
    assert_false(hooks_is_idle(h));
    hooks_leave(h, clock_ms() + HOOK_LEAVE_MS);
    wait_quiet(h);
    hooks_free(h);
    (void)fclose(fopen(path_of("go"), "we"));
    assert_int_equal(unlink(path_of("args")), 0);
    h = new_hooks("told", BOOT);
    see_once(h, &down);
    wait_quiet(h);
    assert_string_equal(text_of("args"), "on_stop replica test\n");
    hooks_free(h);
}

#define on_hooks(test) cmocka_unit_test_setup_teardown(test, setup_hooks, teardown_hooks)

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_transition_has_its_callback),
        cmocka_unit_test(every_transition_keeps_to_the_lines),
        on_hooks(a_command_is_told_action_role_and_scope_and_no_secret),
        on_hooks(what_has_no_command_is_passed_over),
        on_hooks(a_command_that_fails_or_is_missing_harms_nobody),
        on_hooks(a_new_command_kills_the_one_that_runs_with_its_children),
        on_hooks(on_reload_has_a_slot_of_its_own),
        on_hooks(one_that_never_ends_is_killed),
        on_hooks(its_output_is_bounded_in_the_log),
        on_hooks(an_agent_beside_a_running_server_tells_nothing_again),
        on_hooks(what_happened_while_no_agent_ran_is_told_by_the_next),
        on_hooks(a_memory_that_is_damaged_is_none),
        on_hooks(what_was_cut_off_is_ended_and_runs_again),
        on_hooks(what_was_cut_off_and_is_not_true_any_more_is_left),
        on_hooks(who_leaves_lets_on_stop_end_and_nothing_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return run_in_world(run_all);
}
