/*
 * The server itself, over its unix socket: clients that do not read, or send a byte now and
 * then, keep neither memory nor places, and nobody waits for them. Its clock is put on by the
 * test.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "http/http_server.h"
#include "test_between.h"

#define TURN_MS  30000        /* As in http_daemon.c. */
#define UNSENT   (256 * 1024) /* As in http_events.c, of one listener. */
#define N_EVENTS 200
#define N_DEAF   8

static uv_loop_t loop;
static struct http *http;
static struct store store;
static struct view view;
static struct decision decision;
static struct http_stats stats;
static struct http_action *reload; /* Waits for an answer. */
static char reload_of[NAME_SIZE];  /* Whose; "" = of this node. */
static enum command_kind commands[4];
static size_t n_commands;
static bool is_under_way;
static uint64_t ahead_ms; /* The clock of the server, before the real one. */
static char directory[] = "/tmp/veche-http-XXXXXX";
static char path[64];

uint64_t __real_clock_ms(void);
uint64_t __wrap_clock_ms(void);

uint64_t __wrap_clock_ms(void)
{
    return __real_clock_ms() + ahead_ms;
}

bool __wrap_http_access_is_own(const struct http_client *c);

/* 127.0.0.1 is this machine; all other loopback addresses stand for others. */
bool __wrap_http_access_is_own(const struct http_client *c)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)&c->address;

    return c->is_local ||
           (in->sin_family == AF_INET && in->sin_addr.s_addr == htonl(INADDR_LOOPBACK));
}

static const struct view *get_view(void *data)
{
    (void)data;
    return &view;
}

static const struct decision *get_decision(void *data)
{
    (void)data;
    return &decision;
}

static const char *get_config(void *data)
{
    (void)data;
    return "{}";
}

static const struct http_stats *get_stats(void *data)
{
    (void)data;
    return &stats;
}

/* Stands for the agent and the store, which do as they are told, at once: an answer may come
 * before the request is put aside. */
static void on_request(void *data, struct http_action *action, const struct command *command)
{
    (void)data;
    assert_true(n_commands < ARRAY_LENGTH(commands));
    commands[n_commands++] = command->kind;
    if (command->kind == COMMAND_REQUEST_END && !is_under_way) {
        store.request.id = 0;
    }
    http_action_end(action, is_under_way ? 409 : 200, is_under_way ? "under way" : "done");
}

static int change_config(void *data, const char *body, bool replace, struct command *ret_command,
                         struct err *err)
{
    (void)data;
    (void)replace;
    (void)ret_command;
    return err_set(err, "%s could not be read", body);
}

static void on_reload(void *data, struct http_action *action, const char *member)
{
    (void)data;
    reload = action;
    (void)str_copy(reload_of, sizeof(reload_of), member != NULL ? member : "");
}

/* A cluster whose description has some 10 kB. */
static void fill_store(void)
{
    store_init(&store);
    store.primary.epoch = 1;
    for (uint32_t i = 0; i < MEMBERS_MAX; i++) {
        struct store_member *m = &store.members[store.n_members++];

        m->id = i + 1;
        m->mode = MODE_POSTGRES;
        (void)snprintf(m->name, sizeof(m->name), "pg%02u", i);
        (void)snprintf(m->tags, sizeof(m->tags), "{\"long\": \"%0*u\"}", TAGS_SIZE - 20, i);
    }
    view = (struct view){.now_ms = clock_ms(), .wall_us = 1, .store = &store};
    view.self.started_ms = view.now_ms;
    view.raft.caught_up = true;
    view.conf.ttl_ms = 600000;
    (void)str_copy(view.self.status.name, NAME_SIZE, "pg00");
    (void)str_copy(view.self.member.tags, sizeof(view.self.member.tags), "{}");
    decision.node.rule = decision.cluster.rule = "test-rule";
}

static const char *listen_at = "127.0.0.1:0";

static int open_server(void **state)
{
    static const struct http_settings settings;
    struct err err = {""};
    struct http_options options = {.loop = &loop,
                                   .listen = listen_at,
                                   .unix_socket = path,
                                   .setup = http_setup_load(&settings, &err),
                                   .hooks = {.view = get_view,
                                             .decision = get_decision,
                                             .config = get_config,
                                             .stats = get_stats,
                                             .change_config = change_config,
                                             .on_request = on_request,
                                             .on_reload = on_reload}};

    (void)state;
    ahead_ms = 0;
    fill_store();
    assert_int_equal(uv_loop_init(&loop), 0);
    (void)str_copy(directory, sizeof(directory), "/tmp/veche-http-XXXXXX");
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof(path), "%s/sock", directory);
    http = http_new(&options, &err);
    assert_non_null(http);
    return 0;
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

static int close_server(void **state)
{
    bool closed = false;

    (void)state;
    http_close(http, on_closed, &closed);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(closed);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(rmdir(directory), 0);
    return 0;
}

static int connect_client(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    assert_true(str_copy(address.sun_path, sizeof(address.sun_path), path));
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static in_port_t port_of_server(void)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(http->tcp->daemon, MHD_DAEMON_INFO_LISTEN_FD);
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);

    assert_non_null(info);
    assert_int_equal(getsockname(info->listen_fd, (struct sockaddr *)&address, &length), 0);
    return address.ss_family == AF_INET6
               ? ((const struct sockaddr_in6 *)(const void *)&address)->sin6_port
               : ((const struct sockaddr_in *)(const void *)&address)->sin_port;
}

/* From 127.0.0.n. */
static int connect_from(uint32_t n)
{
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + n)};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = port_of_server(),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (const struct sockaddr *)&from, sizeof(from)), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static void send_all(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* The loop does what there is to do. */
static void turn(void)
{
    for (int i = 0; i < 3; i++) {
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    }
}

/* What there is to be read; false: the other side has ended. */
static bool take(int fd, struct strbuf *b)
{
    char block[65536];
    ssize_t n;

    while ((n = recv(fd, block, sizeof(block), 0)) > 0) {
        strbuf_add(b, block, (size_t)n);
    }
    return n < 0 && errno == EAGAIN;
}

/* Until it has ended, or (text) that stands in it. */
static bool read_until(int fd, struct strbuf *b, const char *text)
{
    for (uint64_t end_ms = __real_clock_ms() + 60000; __real_clock_ms() < end_ms;) {
        bool is_open = take(fd, b);

        if (text != NULL && b->length > 0 && strstr(b->data, text) != NULL) {
            return true;
        }
        if (!is_open) {
            return text == NULL;
        }
        turn();
        (void)poll(NULL, 0, 1);
    }
    return false;
}

/* Of all servers, as every second. */
static void look(void)
{
    turn();
    LIST_FOREACH (at, &http->servers) {
        http_daemon_look(CONTAINER_OF(at, struct server, node), clock_ms());
    }
    turn();
}

static bool is_open(int fd)
{
    struct strbuf b = {0};
    bool open = take(fd, &b);

    strbuf_deinit(&b);
    return open;
}

/* ---- Events ---- */

static size_t memory(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

static int listen_to_events(void)
{
    int fd = connect_client();

    send_all(fd, "GET /events HTTP/1.0\r\n\r\n");
    turn();
    return fd;
}

/* Asks for events; what is answered has `answer` in it. */
static int ask_for_events(int fd, const char *answer)
{
    struct strbuf text = {0};

    send_all(fd, "GET /events HTTP/1.0\r\n\r\n");
    assert_true(read_until(fd, &text, answer));
    strbuf_deinit(&text);
    return fd;
}

static bool is_let(int fd)
{
    struct strbuf text = {0};
    bool let;

    send_all(fd, "GET /events HTTP/1.0\r\n\r\n");
    assert_true(read_until(fd, &text, "\r\n\r\n"));
    let = strstr(text.data, "too many") == NULL && strstr(text.data, " 200 ") != NULL;
    strbuf_deinit(&text);
    (void)close(fd);
    return let;
}

/* 8 of an address of others, 24 of all of them, and 32. */
static void nobody_takes_all_places_of_those_who_listen(void **state)
{
    int others[24];
    int own[8];
    size_t n = 0;

    (void)state;
    for (uint32_t address = 2; address <= 4; address++) {
        for (int i = 0; i < 8; i++) {
            others[n++] = ask_for_events(connect_from(address), "event: cluster");
        }
        if (address < 4) { /* It has its share, the next one has its own. */
            (void)close(ask_for_events(connect_from(address), "too many of your address"));
        }
    }
    (void)close(ask_for_events(connect_from(5), "\r\n\r\ntoo many listen already"));
    for (int i = 0; i < 8; i++) {
        own[i] = ask_for_events(i % 4 == 3 ? connect_client() : connect_from(1), "event: cluster");
    }
    (void)close(ask_for_events(connect_client(), "\r\n\r\ntoo many listen already"));
    (void)close(others[0]); /* Its place is free for anybody, as soon as the end is seen. */
    for (int i = 0; !is_let(connect_from(5)); i++) {
        assert_true(i < 60000);
        (void)poll(NULL, 0, 1);
    }
    for (size_t i = 1; i < n; i++) {
        (void)close(others[i]);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(own); i++) {
        (void)close(own[i]);
    }
}

/* All of it: N_EVENTS times 10 kB. */
static void tell_many(int reader, struct strbuf *last)
{
    char wanted[32];

    for (unsigned i = 0; i < N_EVENTS; i++) {
        store.primary.epoch++;
        (void)snprintf(wanted, sizeof(wanted), "\"epoch\": %u,", (unsigned)store.primary.epoch);
        http_on_tick(http);
        last->length = 0;
        assert_true(read_until(reader, last, wanted)); /* None is missing. */
    }
}

static void a_listener_that_never_reads_costs_nobody_anything(void **state)
{
    int reader = listen_to_events();
    int deaf[N_DEAF];
    struct strbuf text = {0};
    size_t before, after;

    (void)state;
    for (size_t i = 0; i < N_DEAF; i++) {
        deaf[i] = listen_to_events();
    }
    assert_true(read_until(reader, &text, "\"epoch\": 1,"));
    before = memory();
    tell_many(reader, &text);
    after = memory();
    assert_true(after < before + N_DEAF * UNSENT);
    ahead_ms += TURN_MS;
    look();
    for (size_t i = 0; i < N_DEAF; i++) { /* Their places are free again. */
        assert_false(is_open(deaf[i]));
        (void)close(deaf[i]);
    }
    text.length = 0;
    store.primary.epoch++;
    http_on_tick(http);
    assert_true(read_until(reader, &text, "event: cluster"));
    (void)close(reader);
    strbuf_deinit(&text);
}

/* What is not read is with the server, not in the socket. */
static void shrink_sockets(void)
{
    const struct server *s = CONTAINER_OF(http->servers.prev, struct server, node);
    int size = 8192;

    assert_true(s->is_unix && !list_is_empty(&s->places));
    for (const struct list *at = s->places.next; at != &s->places; at = at->next) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(
            CONTAINER_OF(at, struct place, node)->connection, MHD_CONNECTION_INFO_CONNECTION_FD);

        assert_non_null(info);
        assert_int_equal(setsockopt(info->connect_fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)),
                         0);
    }
}

/* So many bytes, and no more. */
static void read_some(int fd, size_t left)
{
    char block[4096];

    for (uint64_t end_ms = __real_clock_ms() + 60000; left > 0 && __real_clock_ms() < end_ms;) {
        ssize_t n = recv(fd, block, MIN(left, sizeof(block)), 0);

        assert_true(n > 0 || (n < 0 && errno == EAGAIN));
        left -= n > 0 ? (size_t)n : 0;
        turn();
    }
    assert_int_equal(left, 0);
}

/* One that is always behind, but never too far. */
static void a_listener_that_lags_costs_no_more_as_time_goes_by(void **state)
{
    int fd = listen_to_events();
    struct strbuf text = {0};
    size_t size, before = 0;

    (void)state;
    assert_true(read_until(fd, &text, "}\n\n"));
    size = strlen(strstr(text.data, "\r\n\r\n") + 4);
    assert_between(size, 8000, 16000); /* One of them. */
    shrink_sockets();
    for (unsigned i = 0; i < 4 * N_EVENTS; i++) {
        store.primary.epoch++;
        http_on_tick(http);
        turn();
        if (i < 10) { /* So far behind. */
            before = memory();
        } else {
            read_some(fd, size);
        }
    }
    assert_true(memory() < before + 2 * UNSENT);
    assert_true(is_open(fd));
    (void)close(fd);
    strbuf_deinit(&text);
}

/* ---- Time ---- */

static void who_sends_a_byte_now_and_then_loses_the_place(void **state)
{
    static const char *const begun[] = {
        "",
        "GET /pat",
        "GET /patroni HTTP/1.1\r\nX-Long: ",
        "POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{",
        "POST /reload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(begun); i++) {
        int fd = connect_client();

        send_all(fd, begun[i]);
        turn();
        ahead_ms += TURN_MS - 5000;
        look();
        assert_true(is_open(fd));
        if (i > 0) {
            send_all(fd, "x");
        }
        ahead_ms += 5000;
        look();
        assert_false(is_open(fd));
        (void)close(fd);
    }
}

static void who_does_not_read_the_answer_loses_the_place(void **state)
{
    int fd = connect_client();

    (void)state;
    for (size_t i = 0; i < 20; i++) { /* More than fits into the socket. */
        send_all(fd, "GET /cluster HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for (size_t i = 0; i < 50; i++) {
        turn();
    }
    ahead_ms += TURN_MS;
    look();
    assert_false(is_open(fd)); /* After what was there to be read. */
    (void)close(fd);
}

/* Each request has a time of its own; who waits for the cluster, or listens, has any. */
static void who_is_not_slow_keeps_the_place(void **state)
{
    int often = connect_client(), waiting = connect_client(), listening = listen_to_events();
    struct strbuf text = {0};

    (void)state;
    reload = NULL;
    send_all(waiting, "POST /reload HTTP/1.1\r\nHost: a\r\n\r\n");
    for (int i = 0; i < 5; i++) {
        send_all(often, "GET /liveness HTTP/1.1\r\nHost: a\r\n\r\n");
        text.length = 0;
        assert_true(read_until(often, &text, "\r\n\r\n"));
        ahead_ms += TURN_MS - 5000;
        look();
    }
    assert_true(is_open(often) && is_open(waiting) && is_open(listening));
    assert_non_null(reload);
    http_action_end(reload, 202, "reload scheduled");
    text.length = 0;
    assert_true(read_until(waiting, &text, "reload scheduled"));
    ahead_ms += TURN_MS;
    look();
    assert_false(is_open(often) || is_open(waiting));
    assert_true(is_open(listening));
    (void)close(often);
    (void)close(waiting);
    (void)close(listening);
    strbuf_deinit(&text);
}

/* Of this node, or of another one by way of this. */
static void a_reload_is_of_the_member_that_is_named(void **state)
{
    static const struct {
        const char *path, *member;
    } table[] = {{"/reload", ""}, {"/members/pg2/reload", "pg2"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        struct strbuf text = {0};
        char request[128];
        int fd = connect_client();

        (void)snprintf(request, sizeof(request), "POST %s HTTP/1.1\r\nHost: a\r\n\r\n",
                       table[i].path);
        reload = NULL;
        send_all(fd, request);
        for (int turns = 0; reload == NULL && turns < 1000; turns++) {
            look();
        }
        assert_non_null(reload);
        assert_string_equal(reload_of, table[i].member);
        http_action_end(reload, 500, "pg2.yml:3:1: ttl");
        assert_true(read_until(fd, &text, "pg2.yml:3:1: ttl"));
        assert_int_equal(strstr(text.data, "X-Veche-Member: pg2\r\n") != NULL, i == 1);
        strbuf_deinit(&text);
        (void)close(fd);
    }
}

/* ---- Forms of requests ---- */

#define EXPECT "POST /failover HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"

/* As load balancers, proxies, scripts and old clients write them. */
static void requests_come_in_many_forms(void **state)
{
    static const struct {
        const char *request, *answer;
    } table[] = {
        {"OPTIONS / HTTP/1.0\r\n\r\n", " 503 Service Unavailable"},
        {"OPTIONS / HTTP/1.0\n\n", " 503 Service Unavailable"},
        {"HEAD /liveness HTTP/1.0\r\nUser-Agent: HAProxy\r\n\r\n", " 200 OK"},
        {"GET /liveness HTTP/1.1\r\nHost: a\r\n\r\n", " 200 OK"},
        {"GET http://pg1:8008/liveness?a=b HTTP/1.1\r\nHost: pg1:8008\r\n\r\n", " 200 OK"},
        {"OPTIONS /liveness HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", " 200 OK"},
        {"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\nGET /liveness HTTP/1.1\r\nHost: a\r\n\r\n",
         " 200 OK"},
        {"GET /members/pg2/primary HTTP/1.1\r\nHost: a\r\n\r\n", " 503 Service Unavailable"},
        {"POST /members/pg2/switchover HTTP/1.1\r\nHost: a\r\n\r\n", " 501 Not Implemented"},
        {"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", " 501 Not Implemented"},
        {EXPECT "Content-Length: 2\r\n\r\n", " 100 Continue"},
        {EXPECT "Content-Length: 2\r\n\r\n{}", "only to a specific candidate"},
        {EXPECT "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
         "only to a specific candidate"},
        {"POST /failover HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n",
         "The request has no body"},
        {"POST /failover HTTP/1.1\r\nHost: a\r\nContent-Length: "
         "22\r\n\r\n{\"candidate\":\"pg\\u0000\"}",
         "not a JSON object"},
        {"PATCH /config HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n{\"\xff",
         "could not be read"},
        {"POST /restart HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", " 400 Bad Request"},
        {"GET /primary\r\n\r\n", " 400 Bad Request"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        struct strbuf answer = {0};
        int fd = connect_client();

        send_all(fd, table[i].request);
        if (!read_until(fd, &answer, table[i].answer)) {
            fail_msg("%s: %s", table[i].request, answer.length > 0 ? answer.data : "-");
        }
        (void)close(fd);
        strbuf_deinit(&answer);
    }
}

/* ---- Addresses ---- */

static int open_everywhere(void **state)
{
    int rv;

    listen_at = "*:0";
    rv = open_server(state);
    listen_at = "127.0.0.1:0";
    return rv;
}

/* -1: there is no such family here. */
static int connect_loopback(int family)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = port_of_server()};
    struct sockaddr_in6 v6 = {
        .sin6_family = AF_INET6, .sin6_port = v4.sin_port, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    const struct sockaddr *address =
        family == AF_INET6 ? (const struct sockaddr *)&v6 : (const struct sockaddr *)&v4;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, address, family == AF_INET6 ? sizeof(v6) : sizeof(v4)) != 0) {
        assert_true(family == AF_INET6 && errno != ECONNREFUSED);
        return -1;
    }
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

/* "*" is every address, of both kinds, and its own is still its own. */
static void a_star_listens_to_both_kinds_of_addresses(void **state)
{
    static const int families[] = {AF_INET, AF_INET6};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(families); i++) {
        struct strbuf answer = {0};
        int fd = connect_loopback(families[i]);

        if (fd >= 0) {
            send_all(fd, "POST /switchover HTTP/1.0\r\n\r\n");
            assert_true(read_until(fd, &answer, "The request has no body"));
            (void)close(fd);
        }
        strbuf_deinit(&answer);
    }
}

/* ---- Two steps ---- */

static void a_request_that_replaces_another_is_handled_again(void **state)
{
    static const char text[] = "POST /failover HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n"
                               "{\"candidate\":\"pg01\"}";
    struct strbuf answer = {0};
    int fd = connect_client();

    (void)state;
    for (int i = 0; i < 2; i++) {
        is_under_way = i == 1;
        n_commands = 0;
        store.request = (struct store_request){.id = 9, .kind = REQUEST_SWITCHOVER, .at_us = 2};
        answer.length = 0;
        send_all(fd, text);
        assert_true(read_until(fd, &answer, is_under_way ? "under way" : "done"));
        assert_int_equal(n_commands, is_under_way ? 1 : 2);
        assert_int_equal(commands[0], COMMAND_REQUEST_END);
        assert_true(is_under_way || commands[1] == COMMAND_REQUEST_SET);
    }
    (void)close(fd);
    strbuf_deinit(&answer);
}

#define server_test(name) cmocka_unit_test_setup_teardown(name, open_server, close_server)

int main(void)
{
    const struct CMUnitTest tests[] = {
        server_test(nobody_takes_all_places_of_those_who_listen),
        server_test(a_listener_that_never_reads_costs_nobody_anything),
        server_test(a_listener_that_lags_costs_no_more_as_time_goes_by),
        server_test(who_sends_a_byte_now_and_then_loses_the_place),
        server_test(who_does_not_read_the_answer_loses_the_place),
        server_test(who_is_not_slow_keeps_the_place),
        server_test(a_reload_is_of_the_member_that_is_named),
        cmocka_unit_test_setup_teardown(a_star_listens_to_both_kinds_of_addresses, open_everywhere,
                                        close_server),
        server_test(requests_come_in_many_forms),
        server_test(a_request_that_replaces_another_is_handled_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
