/*
 * Who may change something over REST: Patroni's gates in its order, with its words; and
 * what of restapi: is refused when it is read.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/str.h"
#include "http/http_access.h"
#include "http/http_listen.h"
#include "http/http_names.h"

static struct store store;

static struct sockaddr_storage address(const char *text)
{
    struct sockaddr_storage s = {.ss_family = 0};

    if (strchr(text, ':') != NULL) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&s;

        v6->sin6_family = AF_INET6;
        assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
    } else if (text[0] != '\0') {
        struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&s;

        v4->sin_family = AF_INET;
        assert_int_equal(inet_pton(AF_INET, text, &v4->sin_addr), 1);
    }
    return s;
}

static void networks_hold_what_is_theirs(void **state)
{
    static const struct {
        const char *net, *address;
        bool has;
    } table[] = {
        {"10.0.0.1", "10.0.0.1", true},
        {"10.0.0.1", "10.0.0.2", false},
        {"10.0.0.0/8", "10.255.1.2", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"10.0.0.0/9", "10.127.0.1", true},
        {"10.0.0.0/9", "10.128.0.1", false},
        {"192.168.1.4/30", "192.168.1.7", true},
        {"192.168.1.4/30", "192.168.1.8", false},
        {"0.0.0.0/0", "1.2.3.4", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "2001:db8::1", true},
        {"2001:db8::/32", "2001:db8:1::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"::1", "::1", true},
        {"10.0.0.1", "::ffff:10.0.0.1", true},
        {"::ffff:10.0.0.0/104", "10.9.9.9", true},
        {"10.0.0.1", "", false},
    };
    static const char *const bad[] = {"",          "10.0.0",  "10.0.0.1/33", "10.0.0.1/-1",
                                      "10.0.0.1/", "::1/129", "pg1",         "10.0.0.1/8x",
                                      "1.2.3.4.5"};
    struct http_net net;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        struct sockaddr_storage a = address(table[i].address);

        assert_true(http_net_parse(table[i].net, &net));
        if (http_net_has(&net, (struct sockaddr *)&a) != table[i].has) {
            fail_msg("%s %s", table[i].net, table[i].address);
        }
    }
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        assert_false(http_net_parse(bad[i], &net));
    }
}

static void the_host_of_an_api_url_is_found(void **state)
{
    static const struct {
        const char *url, *host;
    } table[] = {
        {"http://10.0.0.1:8008/patroni", "10.0.0.1"},
        {"https://pg1.example:8008/patroni", "pg1.example"},
        {"http://[fd00::1]:8008/patroni", "fd00::1"},
        {"http://pg1/patroni", "pg1"},
        {"http:///patroni", NULL},
        {"pg1:8008", NULL},
    };
    char host[HOST_SIZE];

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        assert_int_equal(http_url_host(table[i].url, host, sizeof(host)), table[i].host != NULL);
        if (table[i].host != NULL) {
            assert_string_equal(host, table[i].host);
        }
    }
    assert_false(http_url_host("http://10.0.0.1:8008/", host, 8));
}

/* One of restapi:'s gates each, as bits. */
enum { LIST = 1, MEMBERS = 2, OPTIONAL = 4, REQUIRED = 8, BASIC = 16 };

static struct http_setup *setup_with(unsigned gates)
{
    struct kv_list allowlist = {0};
    struct http_settings settings = {.allowlist_include_members = (gates & MEMBERS) != 0,
                                     .username = (gates & BASIC) != 0 ? "admin" : NULL,
                                     .password = (gates & BASIC) != 0 ? "secret" : NULL};
    struct err err = {""};
    struct http_setup *s;

    if (gates & LIST) {
        kv_add(&allowlist, "10.1.0.0/16, 10.2.0.1", NULL);
        kv_add(&allowlist, "10.3.0.1", NULL);
        settings.allowlist = &allowlist;
    }
    s = http_setup_load(&settings, &err);
    assert_non_null(s);
    s->verify = gates & REQUIRED   ? HTTP_VERIFY_REQUIRED
                : gates & OPTIONAL ? HTTP_VERIFY_OPTIONAL
                                   : HTTP_VERIFY_NONE;
    kv_deinit(&allowlist);
    return s;
}

#define GOOD "Basic YWRtaW46c2VjcmV0"

static const struct gate_case {
    unsigned gates;
    const char *address; /* "" = the unix socket. */
    bool tls, certificate;
    const char *authorization;
    unsigned code; /* Of something that changes; */
    unsigned safe; /* of something that does not. */
    const char *text;
} gate_cases[] = {
    {0, "127.0.0.1", false, false, NULL, 0, 0, NULL},
    {0, "127.9.9.9", false, false, NULL, 0, 0, NULL},
    {0, "::1", false, false, NULL, 0, 0, NULL},
    {0, "::ffff:127.0.0.1", false, false, NULL, 0, 0, NULL},
    {0, "10.1.0.1", false, false, NULL, 403, 0, "run vechectl failover"},
    {0, "10.1.0.1", true, true, GOOD, 403, 0, "run vechectl failover"},
    {0, "::2", false, false, NULL, 403, 0, "Access is denied"},
    {LIST, "10.1.0.1", false, false, NULL, 0, 0, NULL},
    {LIST, "10.2.0.1", false, false, NULL, 0, 0, NULL},
    {LIST, "10.3.0.1", false, false, NULL, 0, 0, NULL},
    {LIST, "10.3.0.2", false, false, NULL, 403, 0, "Access is denied"},
    {LIST, "127.0.0.1", false, false, NULL, 403, 0, "Access is denied"},
    {LIST, "10.9.0.1", false, false, NULL, 403, 0, "Access is denied"},
    {MEMBERS, "10.9.0.1", false, false, NULL, 0, 0, NULL},
    {MEMBERS, "fd00::7", false, false, NULL, 0, 0, NULL},
    {MEMBERS, "10.1.0.1", false, false, NULL, 403, 0, "Access is denied"},
    {LIST | MEMBERS, "10.9.0.1", false, false, NULL, 0, 0, NULL},
    {OPTIONAL, "10.1.0.1", true, false, NULL, 403, 0, "client certificate required"},
    {OPTIONAL, "127.0.0.1", true, false, NULL, 403, 0, "client certificate required"},
    {OPTIONAL, "10.1.0.1", true, true, NULL, 0, 0, NULL},
    {OPTIONAL, "10.1.0.1", false, false, NULL, 403, 0, "run vechectl failover"},
    {REQUIRED, "10.1.0.1", true, false, NULL, 403, 403, "client certificate required"},
    {REQUIRED, "10.1.0.1", true, true, NULL, 0, 0, NULL},
    {BASIC, "127.0.0.1", false, false, NULL, 401, 0, "no auth header received"},
    {BASIC, "10.1.0.1", false, false, GOOD, 0, 0, NULL},
    {BASIC, "10.1.0.1", false, false, "Basic YWRtaW46c2VjcmV1", 401, 0, "not authenticated"},
    {BASIC, "10.1.0.1", false, false, GOOD "=", 401, 0, "not authenticated"},
    {BASIC, "10.1.0.1", false, false, "Basic YWRtaW46c2VjcmV", 401, 0, "not authenticated"},
    {BASIC, "10.1.0.1", false, false, "Basic ", 401, 0, "not authenticated"},
    {BASIC, "10.1.0.1", false, false, "", 401, 0, "not authenticated"},
    {BASIC, "10.1.0.1", false, false, "Bearer YWRtaW46c2VjcmV0", 401, 0, "not authenticated"},
    /* The order: allowlist, certificate, credentials. */
    {LIST | OPTIONAL | BASIC, "10.9.0.1", true, false, NULL, 403, 0, "Access is denied"},
    {LIST | OPTIONAL | BASIC, "10.1.0.1", true, false, NULL, 403, 0, "client certificate required"},
    {LIST | OPTIONAL | BASIC, "10.1.0.1", true, true, NULL, 401, 0, "no auth header received"},
    {LIST | OPTIONAL | BASIC, "10.1.0.1", true, true, GOOD, 0, 0, NULL},
    {LIST | REQUIRED | BASIC, "", false, false, NULL, 0, 0, NULL},
};

static void the_gates_stand_in_patronis_order(void **state)
{
    (void)state;
    store_init(&store);
    store.n_members = 2;
    (void)str_copy(store.members[0].api_url, HOST_SIZE, "http://10.9.0.1:8008/patroni");
    (void)str_copy(store.members[1].api_url, HOST_SIZE, "http://[fd00::7]:8008/patroni");
    for (size_t i = 0; i < ARRAY_LENGTH(gate_cases); i++) {
        const struct gate_case *g = &gate_cases[i];
        struct http_setup *s = setup_with(g->gates);
        struct http_client c = {.is_local = g->address[0] == '\0',
                                .has_tls = g->tls,
                                .has_certificate = g->certificate,
                                .address = address(g->address),
                                .authorization = g->authorization};
        struct http_refusal refusal = http_access_check(s, &store, NULL, &c, true);

        if (refusal.code != g->code || (g->text != NULL && strstr(refusal.text, g->text) == NULL)) {
            fail_msg("case %zu: %u %s", i, refusal.code, refusal.text);
        }
        assert_int_equal(http_access_check(s, &store, NULL, &c, false).code, g->safe);
        assert_int_equal(http_access_is_own(&c), g->address[0] == '\0' ||
                                                     strncmp(g->address, "127.", 4) == 0 ||
                                                     strcmp(g->address, "::1") == 0 ||
                                                     strcmp(g->address, "::ffff:127.0.0.1") == 0);
        http_setup_free(s);
    }
}

static void credentials_are_encoded_as_a_client_does(void **state)
{
    static const struct {
        const char *password, *encoded;
    } table[] = {{"", "YTo="},
                 {"b", "YTpi"},
                 {"bc", "YTpiYw=="},
                 {"bcd", "YTpiY2Q="},
                 {"\xff\xfe\xfd\xfc", "YTr//v38"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        const struct http_settings settings = {.username = "a", .password = table[i].password};
        struct http_setup *s = http_setup_load(&settings, NULL);

        assert_non_null(s);
        assert_string_equal(s->credentials, table[i].encoded);
        http_setup_free(s);
    }
}

static void expect_refused(const struct http_settings *settings, const char *part)
{
    struct err err = {""};

    assert_null(http_setup_load(settings, &err));
    if (strstr(err.text, part) == NULL) {
        fail_msg("%s, not: %s", err.text, part);
    }
}

static void what_is_wrong_is_refused_with_its_place(void **state)
{
    static const char *const bad[] = {"10.0.0.0/33", "ex(ample", "10.0.0", "a,b/c"};
    struct kv_list list = {0};
    char file[] = "/tmp/veche-access-XXXXXX";
    int fd = mkstemp(file);

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        kv_deinit(&list);
        kv_add(&list, bad[i], NULL);
        expect_refused(&(struct http_settings){.allowlist = &list}, "restapi.allowlist: got");
    }
    kv_deinit(&list);
    kv_add(&list, "X-A: b", "c");
    expect_refused(&(struct http_settings){.http_headers = &list}, "restapi.http_extra_headers");
    kv_deinit(&list);
    kv_add(&list, "content-length", "0");
    expect_refused(&(struct http_settings){.http_headers = &list}, "is the server's own");
    kv_deinit(&list);
    kv_add(&list, "X-A", "b\r\nX-B: c");
    expect_refused(&(struct http_settings){.http_headers = &list}, "no header of one line");
    kv_deinit(&list);

    assert_true(fd >= 0);
    expect_refused(&(struct http_settings){.certfile = "/nonexistent/c"},
                   "restapi.certfile: cannot open /nonexistent/c");
    expect_refused(&(struct http_settings){.certfile = file},
                   "restapi.certfile: /tmp/veche-access");
    assert_int_equal(write(fd, "rubbish", 7), 7);
    expect_refused(&(struct http_settings){.certfile = file}, "not a certificate with its key");
    expect_refused(&(struct http_settings){.certfile = file, .keyfile = "/nonexistent/k"},
                   "restapi.keyfile: cannot open");
    expect_refused(&(struct http_settings){.certfile = file, .verify = HTTP_VERIFY_OPTIONAL},
                   "needs restapi.cafile");
    (void)close(fd);
    (void)unlink(file);
}

static void headers_and_server_are_as_configured(void **state)
{
    static const char *const servers[] = {"Veche/" VECHE_VERSION " libmicrohttpd/",
                                          ("Veche/" VECHE_VERSION), "Veche"};
    struct kv_list http = {0}, https = {0};
    struct http_settings settings = {.http_headers = &http, .https_headers = &https};
    struct http_setup *s;

    (void)state;
    kv_add(&http, "X-A", "b");
    kv_add(&https, "Strict-Transport-Security", "max-age=1");
    for (unsigned i = 0; i < ARRAY_LENGTH(servers); i++) {
        settings.tokens = (enum http_tokens)i;
        s = http_setup_load(&settings, NULL);
        assert_non_null(s);
        assert_int_equal(s->headers.n, 1); /* Without TLS not those of TLS. */
        assert_string_equal(kv_get(&s->headers, "X-A"), "b");
        assert_true(str_starts_with(s->server, servers[i]));
        assert_true(i == 0 || strlen(s->server) == strlen(servers[i]));
        http_setup_free(s);
    }
    kv_deinit(&http);
    kv_deinit(&https);
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

static void on_late(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* A name of /etc/hosts: no name server is asked. */
static void a_host_name_stands_for_its_addresses(void **state)
{
    struct sockaddr_storage local = address("127.0.0.1"), other = address("10.0.0.1");
    struct kv_list wanted = {0};
    struct http_names *names;
    uv_timer_t timer;
    bool closed = false, late = false;
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    uv_timer_init(&loop, &timer);
    timer.data = &late;
    uv_timer_start(&timer, on_late, 30000, 0);
    names = http_names_new(&loop);
    kv_add(&wanted, "localhost", NULL);
    assert_false(http_names_has(names, "localhost", (struct sockaddr *)&local));

    http_names_want(names, &wanted, clock_ms());
    while (!late && !http_names_has(names, "localhost", (struct sockaddr *)&local)) {
        uv_run(&loop, UV_RUN_ONCE);
    }

    assert_false(late);
    assert_false(http_names_has(names, "localhost", (struct sockaddr *)&other));
    assert_false(http_names_has(names, "otherhost", (struct sockaddr *)&local));
    http_names_want(names, &wanted, clock_ms()); /* Nothing to do: no thread to wait for. */
    http_names_close(names, on_closed, &closed);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(closed);
    assert_int_equal(uv_loop_close(&loop), 0);
    kv_deinit(&wanted);
}

/* What is said meanwhile, on stderr; the caller frees. */
static char *said_of_ciphers(const char *ciphers, char *priorities, size_t size)
{
    struct http_settings settings = {.ciphers = ciphers};
    struct err err = {""};
    struct http_setup *s;
    int saved = dup(STDERR_FILENO), fds[2];
    char *text = xmalloc(2000);

    assert_int_equal(pipe(fds), 0);
    assert_true(dup2(fds[1], STDERR_FILENO) >= 0);
    s = http_setup_load(&settings, &err);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    (void)close(saved);
    (void)close(fds[1]);
    assert_true(read(fds[0], text, 1999) >= 0);
    (void)close(fds[0]);
    assert_non_null(s);
    assert_true(str_copy(priorities, size, s->priorities));
    http_setup_free(s);
    return text;
}

/* Patroni's are OpenSSL's: not taken for something else, and not refused. */
static void ciphers_of_openssl_are_answered_with_the_default(void **state)
{
    static const char *const openssl[] = {"ECDHE-RSA-AES256-GCM-SHA384:!SSLv1:!SSLv2",
                                          "HIGH:!aNULL:!MD5",
                                          "DEFAULT",
                                          "ALL:@STRENGTH",
                                          "TLS_AES_256_GCM_SHA384",
                                          "TLSv1.2+HIGH"};
    static const char *const gnutls[] = {"SECURE256:-VERS-ALL:+VERS-TLS1.3", "NORMAL", "PFS"};
    char fallback[200], priorities[200];
    char *said = said_of_ciphers(NULL, fallback, sizeof(fallback));

    (void)state;
    assert_string_equal(said, "");
    free(said);
    for (size_t i = 0; i < ARRAY_LENGTH(openssl); i++) {
        said = said_of_ciphers(openssl[i], priorities, sizeof(priorities));
        assert_string_equal(priorities, fallback);
        assert_non_null(strstr(said, " warning "));
        assert_non_null(strstr(said, "OpenSSL's lists are none"));
        assert_non_null(strstr(said, openssl[i]));
        free(said);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(gnutls); i++) {
        said = said_of_ciphers(gnutls[i], priorities, sizeof(priorities));
        assert_string_equal(priorities, gnutls[i]);
        assert_string_equal(said, "");
        free(said);
    }
}

/* Of a socket that listens the kernel tells its backlog so. */
static void as_many_connections_wait_as_are_configured(void **state)
{
    static const int backlogs[] = {7, 128}; /* Any kernel allows. */
    struct err err = {""};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(backlogs); i++) {
        int fd = http_listen_tcp("127.0.0.1:0", backlogs[i], &err);
        struct tcp_info info = {0};
        socklen_t size = sizeof(info);

        assert_true(fd >= 0);
        assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
        assert_int_equal(info.tcpi_sacked, backlogs[i]);
        (void)close(fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_hold_what_is_theirs),
        cmocka_unit_test(the_host_of_an_api_url_is_found),
        cmocka_unit_test(the_gates_stand_in_patronis_order),
        cmocka_unit_test(credentials_are_encoded_as_a_client_does),
        cmocka_unit_test(what_is_wrong_is_refused_with_its_place),
        cmocka_unit_test(ciphers_of_openssl_are_answered_with_the_default),
        cmocka_unit_test(as_many_connections_wait_as_are_configured),
        cmocka_unit_test(headers_and_server_are_as_configured),
        cmocka_unit_test(a_host_name_stands_for_its_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
