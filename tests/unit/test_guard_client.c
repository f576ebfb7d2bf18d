/*
 * The agent's side of the guard against a fake one: a child process that plays a script
 * on the socket, so that it can also be stopped and killed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/str.h"
#include "guard/guard_client.h"
#include "test_child.h"

#define LIMIT_MS 60000

struct world {
    char dir[80];
    char path[128];
    pid_t guard;
    uv_loop_t loop;
    struct guard_client *client;
    /* What was told. */
    unsigned n_up, n_state, n_armed, n_ended, n_gone, n_started;
    struct guard_state state;
    struct guard_arm asked;
    struct guard_armed armed;
    struct guard_event event;
    struct guard_ended ended;
    struct guard_started started;
    bool was_lost; /* The start's answer was that the guard is. */
    int pidfd;
    bool closed;
};

/* ---- The fake guard, in a child ---- */

typedef void (*script)(int fd);

static void expect_kind(int fd, enum guard_kind kind, void *packet, size_t size)
{
    ssize_t n = recv(fd, packet, size, 0);

    if (n < (ssize_t)sizeof(struct guard_header) ||
        ((struct guard_header *)packet)->kind != (uint16_t)kind) {
        _exit(9);
    }
}

static void fill(struct guard_header *h, enum guard_kind kind, size_t size, uint32_t sequence)
{
    *h = (struct guard_header){VECHE_GUARD_MAGIC, VECHE_GUARD_VERSION, (uint16_t)kind,
                               (uint32_t)size, sequence};
}

static void say(int fd, const void *packet, size_t size)
{
    if (send(fd, packet, size, MSG_NOSIGNAL) != (ssize_t)size) {
        _exit(8);
    }
}

static void answer_hello(int fd)
{
    struct guard_hello hello;
    struct guard_state state = {.guard_pid = getpid(), .postmaster = 4711};

    expect_kind(fd, GUARD_HELLO, &hello, sizeof(hello));
    if (hello.header.size != sizeof(hello) || hello.node_id != 5 ||
        hello.kill_after_ns != 30000 * NS_PER_MS || strcmp(hello.data_dir, "/data") != 0) {
        _exit(7);
    }
    fill(&state.header, GUARD_STATE, sizeof(state), hello.header.sequence);
    state.kept.size = 3;
    memcpy(state.kept.bytes, "abc", 3);
    say(fd, &state, sizeof(state));
}

static void wait_for_end(int fd)
{
    char byte;

    while (recv(fd, &byte, 1, 0) > 0) {
    }
}

static void play_well(int fd)
{
    struct guard_arm_message m;
    struct guard_armed armed = {.verdict = GUARD_ACCEPTED, .epoch = 7};
    struct guard_event event = {.level = GUARD_LEVEL_WARNING};

    answer_hello(fd);
    (void)memset(event.text, 'x', sizeof(event.text)); /* Without its 0. */
    fill(&event.header, GUARD_EVENT, sizeof(event), 0);
    say(fd, &event, sizeof(event));
    expect_kind(fd, GUARD_ARM, &m, sizeof(m));
    expect_kind(fd, GUARD_ARM, &m, sizeof(m)); /* Only the second one is answered. */
    fill(&armed.header, GUARD_ARMED_AS, sizeof(armed), m.header.sequence);
    armed.deadline = m.arm.deadline;
    say(fd, &armed, sizeof(armed));
    wait_for_end(fd);
}

static void play_mute(int fd)
{
    answer_hello(fd);
    wait_for_end(fd);
}

static void play_other_version(int fd)
{
    struct guard_hello hello;
    struct guard_state state = {.guard_pid = getpid()};

    expect_kind(fd, GUARD_HELLO, &hello, sizeof(hello));
    fill(&state.header, GUARD_STATE, sizeof(state), hello.header.sequence);
    state.header.version = VECHE_GUARD_VERSION + 2;
    say(fd, &state, sizeof(state));
    wait_for_end(fd);
}

/* A guard of before the upgrade: as play_well, in the protocol of its time. */
static bool refused_once;
static void play_version_before(int fd)
{
    struct guard_hello hello;
    struct guard_arm_message m;
    struct guard_state state = {.guard_pid = getpid()};

    expect_kind(fd, GUARD_HELLO, &hello, sizeof(hello));
    if (!refused_once) {
        refused_once = true;
        fill(&state.header, GUARD_STATE, sizeof(state.header), 0);
        state.header.version = GUARD_VERSION_BEFORE;
        say(fd, &state, sizeof(state.header));
        return;
    }
    fill(&state.header, GUARD_STATE, sizeof(state), hello.header.sequence);
    state.header.version = GUARD_VERSION_BEFORE;
    say(fd, &state, sizeof(state));
    expect_kind(fd, GUARD_ARM, &m, sizeof(m));
    if (hello.header.version != GUARD_VERSION_BEFORE || m.header.version != GUARD_VERSION_BEFORE) {
        _exit(6);
    }
    state.logic.phase = GUARD_ARMED;
    state.header.sequence = 0;
    say(fd, &state, sizeof(state));
    wait_for_end(fd);
}

static void play_garbage(int fd)
{
    struct guard_hello hello;

    expect_kind(fd, GUARD_HELLO, &hello, sizeof(hello));
    say(fd, "no guard says that", 18);
    wait_for_end(fd);
}

static void play_short_packet(int fd)
{
    struct guard_armed armed = {.verdict = GUARD_ACCEPTED};

    answer_hello(fd);
    fill(&armed.header, GUARD_ARMED_AS, sizeof(armed), 2);
    say(fd, &armed, sizeof(armed) - 8);
    wait_for_end(fd);
}

/* Checks what it was sent, and answers with a pidfd of itself. */
static void play_start(int fd)
{
    static union {
        struct guard_start start;
        char bytes[GUARD_PACKET_MAX];
    } packet;
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control = {.bytes = {0}};
    struct iovec part = {&packet, sizeof(packet)};
    struct msghdr m = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control)};
    struct guard_started started = {.verdict = GUARD_ACCEPTED, .pid = getpid()};
    static const char texts[] = "/bin/postgres\0postgres\0-D\0A=b";
    int fds[2];
    ssize_t n;

    answer_hello(fd);
    n = recvmsg(fd, &m, 0);
    if (n != (ssize_t)(offsetof(struct guard_start, texts) + sizeof(texts)) ||
        memcmp(packet.start.texts, texts, sizeof(texts)) != 0 || packet.start.n_args != 3 ||
        packet.start.n_env != 1 || !packet.start.as_primary ||
        control.head.cmsg_len != CMSG_LEN(2 * sizeof(int))) {
        _exit(6);
    }
    memcpy(fds, CMSG_DATA(&control.head), sizeof(fds));
    if (write(fds[0], "hello", 5) != 5) {
        _exit(5);
    }
    fill(&started.header, GUARD_STARTED, sizeof(started), packet.start.header.sequence);
    part = (struct iovec){&started, sizeof(started)};
    control.head.cmsg_len = CMSG_LEN(sizeof(int));
    m = (struct msghdr){.msg_iov = &part,
                        .msg_iovlen = 1,
                        .msg_control = &control,
                        .msg_controllen = CMSG_SPACE(sizeof(int))};
    if (sendmsg(fd, &m, 0) < 0) {
        _exit(4);
    }
    wait_for_end(fd);
}

static void play_ended(int fd)
{
    struct guard_ended ended = {.pid = 4711, .wait_status = 256, .n_left = 2};

    answer_hello(fd);
    fill(&ended.header, GUARD_ENDED, sizeof(ended), 0);
    say(fd, &ended, sizeof(ended));
    _exit(0);
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    (void)unlink(path);
    (void)str_copy(address.sun_path, sizeof(address.sun_path), path);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 8) != 0) {
        _exit(3);
    }
    return fd;
}

/* Returns when it listens. Each connection gets the script from its start. */
static pid_t fake_guard(const char *path, script play)
{
    int ready[2];
    char byte;
    pid_t pid;

    assert_int_equal(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        int listener = listen_at(path);

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)close(ready[0]);
        (void)close(ready[1]);
        for (;;) {
            int fd = accept(listener, NULL, NULL);

            play(fd);
            (void)close(fd);
        }
    }
    (void)close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 0); /* Its end is closed. */
    (void)close(ready[0]);
    return pid;
}

/* ---- What the client tells ---- */

static void on_up(void *data, const struct guard_state *state)
{
    struct world *w = data;

    w->n_up++;
    w->state = *state;
}

static void on_state(void *data, const struct guard_state *state)
{
    struct world *w = data;

    w->n_state++;
    w->state = *state;
}

static void on_armed(void *data, const struct guard_arm *asked, const struct guard_armed *answer)
{
    struct world *w = data;

    w->n_armed++;
    w->asked = *asked;
    w->armed = *answer;
}

static void on_ended(void *data, const struct guard_ended *ended)
{
    struct world *w = data;

    w->n_ended++;
    w->ended = *ended;
}

static void on_event(void *data, const struct guard_event *event)
{
    ((struct world *)data)->event = *event;
}

static void on_gone(void *data)
{
    ((struct world *)data)->n_gone++;
}

static void on_started(void *data, const struct guard_started *started, int pidfd)
{
    struct world *w = data;

    w->n_started++;
    w->was_lost = started == NULL;
    w->pidfd = pidfd;
    if (started != NULL) {
        w->started = *started;
    }
}

static void on_closed(void *data)
{
    ((struct world *)data)->closed = true;
}

static struct world *world_new(script play)
{
    struct world *w = xmalloc(sizeof(*w));
    struct guard_client_options o = {
        .loop = &w->loop,
        .directory = w->dir,
        .name = "pg1",
        .data_dir = "/data",
        .kill_after_ns = 30000 * NS_PER_MS,
        .node_id = 5,
        .hooks = {on_up, on_state, on_armed, on_ended, on_event, on_gone},
        .data = w,
    };

    new_place(w->dir, sizeof(w->dir), "guard");
    (void)snprintf(w->path, sizeof(w->path), "%s/" GUARD_SOCKET_NAME, w->dir);
    w->guard = fake_guard(w->path, play);
    w->pidfd = -1;
    assert_int_equal(uv_loop_init(&w->loop), 0);
    w->client = guard_client_new(&o);
    return w;
}

static void turn(struct world *w)
{
    (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    (void)poll(NULL, 0, 1);
}

#define until(w, condition)                        \
    do {                                           \
        uint64_t until_ms = clock_ms() + LIMIT_MS; \
        while (!(condition)) {                     \
            if (clock_ms() > until_ms) {           \
                fail_msg("never: " #condition);    \
            }                                      \
            turn(w);                               \
        }                                          \
    } while (0)

static void end_guard(struct world *w)
{
    if (w->guard > 0) {
        (void)kill(w->guard, SIGKILL);
        (void)waitpid(w->guard, NULL, 0);
        w->guard = 0;
    }
}

static void world_free(struct world *w)
{
    guard_client_close(w->client, on_closed, w);
    until(w, w->closed);
    assert_int_equal(uv_loop_close(&w->loop), 0); /* No handle is left. */
    end_guard(w);
    (void)unlink(w->path);
    (void)rmdir(w->dir);
    free(w);
}

/* ---- Tests ---- */

static const struct guard_arm some_arm = {
    .epoch = 7, .instance = 8, .ttl_ns = 3000000000, .deadline = {1000, 2000}, .may_write = true};

static void it_hears_what_the_guard_holds_and_confirms(void **state)
{
    struct world *w = world_new(play_well);
    struct guard_arm second = some_arm;
    struct guard_kept kept = {.size = 0};

    (void)state;
    assert_false(guard_client_is_up(w->client));
    assert_false(guard_client_arm(w->client, &some_arm, &kept)); /* Too early. */
    until(w, w->n_up == 1);
    assert_true(guard_client_is_up(w->client));
    assert_int_equal(w->state.postmaster, 4711);
    assert_int_equal(w->state.kept.size, 3);
    assert_int_equal(guard_client_silent_ns(w->client, clock_pair_now()), 0);
    until(w, w->event.text[0] == 'x');
    assert_int_equal(strlen(w->event.text), GUARD_TEXT_SIZE - 1);

    second.deadline.raw_ns = 1500;
    assert_true(guard_client_arm(w->client, &some_arm, &kept));
    assert_true(guard_client_silent_ns(w->client, clock_pair_now()) > 0);
    assert_true(guard_client_arm(w->client, &second, &kept));
    until(w, w->n_armed == 1);
    assert_int_equal(w->asked.deadline.raw_ns, 1500);
    assert_int_equal(w->armed.deadline.raw_ns, 1500);
    assert_int_equal(guard_client_silent_ns(w->client, clock_pair_now()), 0);
    world_free(w);
}

static void silence_is_counted_from_the_oldest_question(void **state)
{
    /* It answered hello and then never again. */
    struct world *w = world_new(play_mute);
    struct guard_kept kept = {.size = 0};
    struct clock_pair before = clock_pair_now();
    uint64_t silent_ns;
    unsigned n = 0;

    (void)state;
    until(w, w->n_up == 1);
    assert_true(guard_client_arm(w->client, &some_arm, &kept));
    until(w, guard_client_silent_ns(w->client, clock_pair_now()) > 50 * NS_PER_MS);
    assert_true(guard_client_arm(w->client, &some_arm, &kept));
    silent_ns = guard_client_silent_ns(w->client, clock_pair_now());
    assert_true(silent_ns > 50 * NS_PER_MS);
    assert_true(silent_ns <= clock_pair_elapsed_ns(before, clock_pair_now()));
    while (guard_client_arm(w->client, &some_arm, &kept)) {
        n++;
        assert_true(n < 1000); /* It does not keep an endless list. */
    }
    assert_true(w->n_armed == 0 && w->n_gone == 0);
    world_free(w);
}

static void a_ping_is_one_question_at_a_time(void **state)
{
    struct world *w = world_new(play_mute);

    (void)state;
    until(w, w->n_up == 1);
    assert_true(guard_client_ping(w->client));
    assert_false(guard_client_ping(w->client));
    until(w, guard_client_silent_ns(w->client, clock_pair_now()) > 20 * NS_PER_MS);
    world_free(w);
}

static void death_is_told_once_and_the_next_guard_is_found(void **state)
{
    struct world *w = world_new(play_mute);

    (void)state;
    until(w, w->n_up == 1);
    end_guard(w);
    until(w, w->n_gone == 1);
    assert_false(guard_client_is_up(w->client));
    assert_true(guard_client_silent_ns(w->client, clock_pair_now()) > 0);
    w->guard = fake_guard(w->path, play_mute);
    until(w, w->n_up == 2);
    assert_int_equal(w->n_gone, 1);
    assert_int_equal(w->state.guard_pid, w->guard);
    world_free(w);
}

static void a_stopped_guard_is_silent_and_can_be_ended(void **state)
{
    struct world *w = world_new(play_mute);

    (void)state;
    until(w, w->n_up == 1);
    assert_int_equal(kill(w->guard, SIGSTOP), 0);
    assert_true(guard_client_ping(w->client));
    until(w, guard_client_silent_ns(w->client, clock_pair_now()) > 20 * NS_PER_MS);
    guard_client_end_guard(w->client);
    until(w, w->n_gone == 1);
    world_free(w);
}

static void another_version_is_named_and_not_used(void **state)
{
    struct world *w = world_new(play_other_version);

    (void)state;
    until(w, guard_client_problem(w->client)[0] != '\0');
    assert_non_null(strstr(guard_client_problem(w->client), "version"));
    assert_true(w->n_up == 0 && !guard_client_is_up(w->client));
    assert_false(guard_client_kill(w->client, GUARD_WHY_ORDER));
    until(w, guard_client_silent_ns(w->client, clock_pair_now()) > 30 * NS_PER_MS);
    world_free(w);
}

static void the_version_before_is_spoken_and_nothing_new_asked_of_it(void **state)
{
    /* The guard outlived an upgrade of the agent (docs/decisions/0010). */
    struct world *w = world_new(play_version_before);
    struct guard_arm arm = {.epoch = 3, .instance = 1, .ttl_ns = GUARD_TTL_NS_MIN};
    struct guard_kept kept = {.size = 0};

    (void)state;
    assert_true(guard_client_can_disarm(w->client));
    until(w, w->n_up == 1);
    assert_int_equal(w->state.guard_pid, w->guard);
    assert_false(guard_client_can_disarm(w->client));
    assert_true(guard_client_arm(w->client, &arm, &kept));
    until(w, w->n_state == 1 && w->state.logic.phase == GUARD_ARMED);
    world_free(w);
}

static void garbage_is_no_guard(void **state)
{
    struct world *w = world_new(play_garbage);

    (void)state;
    until(w, guard_client_problem(w->client)[0] != '\0');
    assert_int_equal(w->n_up, 0);
    world_free(w);
}

static void a_packet_of_a_wrong_size_ends_the_connection(void **state)
{
    /* Nothing of it is taken; a new connection begins with hello. */
    struct world *w = world_new(play_short_packet);

    (void)state;
    until(w, w->n_up >= 2);
    assert_int_equal(w->n_armed, 0);
    assert_int_equal(w->n_gone, 0);
    world_free(w);
}

static void postgres_is_started_with_its_output_and_seen_by_a_pidfd(void **state)
{
    struct world *w = world_new(play_start);
    const char *const argv[] = {"postgres", "-D", NULL};
    const char *const env[] = {"A=b", NULL};
    struct guard_client_start start = {
        .as_primary = true, .path = "/bin/postgres", .argv = argv, .env = env, .cwd = "/tmp"};
    struct err err = {""};
    char text[16] = "";
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    start.output_fd = fds[1];
    assert_int_equal(guard_client_start(w->client, &start, on_started, w, &err), -1);
    until(w, w->n_up == 1);
    assert_int_equal(guard_client_start(w->client, &start, on_started, w, &err), 0);
    assert_int_equal(guard_client_start(w->client, &start, on_started, w, &err), -1);
    until(w, w->n_started == 1);
    assert_false(w->was_lost);
    assert_int_equal(w->started.pid, w->guard);
    assert_true(w->pidfd >= 0);
    assert_int_equal(read(fds[0], text, sizeof(text)), 5);
    assert_string_equal(text, "hello");
    (void)close(w->pidfd);
    (void)close(fds[0]);
    (void)close(fds[1]);
    world_free(w);
}

static void a_start_is_answered_when_the_guard_dies(void **state)
{
    struct world *w = world_new(play_mute);
    const char *const none[] = {NULL};
    struct guard_client_start start = {
        .path = "/bin/postgres", .argv = none, .env = none, .cwd = "/", .output_fd = 2};
    struct err err = {""};

    (void)state;
    until(w, w->n_up == 1);
    assert_int_equal(guard_client_start(w->client, &start, on_started, w, &err), 0);
    end_guard(w);
    until(w, w->n_started == 1);
    assert_true(w->was_lost && w->pidfd == -1);
    world_free(w);
}

static void last_words_are_heard(void **state)
{
    /* It says that the postmaster ended, and is gone. */
    struct world *w = world_new(play_ended);

    (void)state;
    until(w, w->n_gone == 1);
    assert_int_equal(w->n_up, 1);
    assert_int_equal(w->ended.pid, 4711);
    assert_int_equal(w->ended.n_left, 2);
    (void)waitpid(w->guard, NULL, 0);
    w->guard = 0;
    world_free(w);
}

static void a_program_that_is_missing_is_a_problem(void **state)
{
    struct world w = {.dir = "/tmp/veche-no-such-directory"};
    struct guard_client_options o = {
        .loop = &w.loop,
        .directory = w.dir,
        .program = "/tmp/veche-no-such-directory/veche-guard",
        .name = "pg1",
        .data_dir = "/data",
        .hooks = {on_up, on_state, on_armed, on_ended, on_event, on_gone},
        .data = &w,
    };

    (void)state;
    assert_int_equal(uv_loop_init(&w.loop), 0);
    w.client = guard_client_new(&o);
    assert_non_null(strstr(guard_client_problem(w.client), "can not be run"));
    guard_client_close(w.client, on_closed, &w);
    until(&w, w.closed);
    assert_int_equal(uv_loop_close(&w.loop), 0);
}

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_hears_what_the_guard_holds_and_confirms),
        cmocka_unit_test(silence_is_counted_from_the_oldest_question),
        cmocka_unit_test(a_ping_is_one_question_at_a_time),
        cmocka_unit_test(death_is_told_once_and_the_next_guard_is_found),
        cmocka_unit_test(a_stopped_guard_is_silent_and_can_be_ended),
        cmocka_unit_test(another_version_is_named_and_not_used),
        cmocka_unit_test(the_version_before_is_spoken_and_nothing_new_asked_of_it),
        cmocka_unit_test(garbage_is_no_guard),
        cmocka_unit_test(a_packet_of_a_wrong_size_ends_the_connection),
        cmocka_unit_test(postgres_is_started_with_its_output_and_seen_by_a_pidfd),
        cmocka_unit_test(a_start_is_answered_when_the_guard_dies),
        cmocka_unit_test(last_words_are_heard),
        cmocka_unit_test(a_program_that_is_missing_is_a_problem),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return run_in_place(run_all);
}
