/*
 * Peers that are no friends, clients that are no peers: refused, logged once,
 * bounded; and the good ones go on undisturbed.
 */
#include "test_peer_lib.h"

#include <openssl/ssl.h>

#include "base/codec.h"
#include "peer/peer_frame.h"
#include "peer/peer_link.h"
#include "peer/peer_preface.h"

static void start_good(struct node *n)
{
    mesh(n, 2);
    node_start(&n[0]);
    node_start(&n[1]);
    WAIT_UNTIL(are_up(&n[0], &n[1]), LIVE_MS);
}

static void stop_good(struct node *n)
{
    assert_true(are_up(&n[0], &n[1]));
    assert_int_equal(n[0].n_down + n[1].n_down, 0);
    node_stop(&n[0]);
    node_stop(&n[1]);
}

static uint64_t n_refused(const struct node *n)
{
    return peer_counters(n->peer).n_refused;
}

/* A third node that differs by one option dials the first good one, several
 * times, and the good one dials it. Each side logs the cause once. */
struct stranger {
    const char *password, *scope;
    uint64_t cluster_id, instance;
    node_id id;
    const char *cause, *text; /* What the good node logs. */
};

static void check_stranger(const struct stranger *s)
{
    struct node n[3];
    struct capture capture;
    char *log;

    start_good(n);
    node_init(&n[2], 2, free_port());
    n[2].secrets.password = s->password != NULL ? s->password : n[2].secrets.password;
    n[2].options.scope = s->scope != NULL ? s->scope : n[2].options.scope;
    n[2].options.cluster_id = s->cluster_id != 0 ? s->cluster_id : CLUSTER;
    n[2].options.id = s->id != 0 ? s->id : n[2].options.id;
    node_dials(&n[2], n[0].address);

    capture_start(&capture);
    node_start(&n[2]);
    for (uint64_t end_ms = clock_ms() + LIVE_MS; n_refused(&n[0]) < 4 && clock_ms() < end_ms;) {
        turn();
    }
    log = capture_stop(&capture);

    assert_true(n_refused(&n[0]) >= 4);
    if (count(log, s->cause) != 1 || strstr(log, s->text) == NULL) {
        fail_msg("expected once \"%s\" and \"%s\" in:\n%s", s->cause, s->text, log);
    }
    /* The other side's line. Nothing else was logged. */
    assert_int_equal(count(log, "A connection was refused"), 2);
    assert_int_equal(n[2].n_up + n[2].n_hello + n[2].n_status, 0);
    assert_int_equal(n[0].n_up, 1);
    free(log);
    node_stop(&n[2]);
    stop_good(n);
}

static void another_secret_is_refused(void **state)
{
    (void)state;
    check_stranger(&(struct stranger){.password = "another secret",
                                      .cause = "cause=wrong-secret peer=127.0.0.1 ",
                                      .text = "does not know our secret"});
}

static void another_scope_is_refused(void **state)
{
    (void)state;
    check_stranger(&(struct stranger){.scope = "another-scope",
                                      .cause = "cause=wrong-secret peer=127.0.0.1 ",
                                      .text = "raft.password and scope must be the same"});
}

static void another_cluster_is_refused(void **state)
{
    (void)state;
    check_stranger(&(struct stranger){.cluster_id = 0xdead,
                                      .cause = "cause=cluster peer=127.0.0.1 ",
                                      .text = "met cluster 000000000000dead"});
}

/* n2 says it is the node that is connected already as n1. */
static void the_second_of_two_twins_is_refused(void **state)
{
    (void)state;
    check_stranger(&(struct stranger){
        .id = 1001, .cause = "cause=twin peer=127.0.0.1 ", .text = "two nodes run as \"n2\""});
}

/* n2 says it is n0, to n0. Both log it. */
static void our_own_twin_is_refused(void **state)
{
    (void)state;
    check_stranger(&(struct stranger){
        .id = 1000, .cause = "cause=twin peer=127.0.0.1 ", .text = "two nodes run as \"n0\""});
}

static void a_node_that_dials_itself_by_another_name_says_nothing(void **state)
{
    struct node n;
    char address[64];

    (void)state;
    node_init(&n, 0, free_port());
    (void)snprintf(address, sizeof(address), "localhost:%u", port_of(&n));
    node_dials(&n, address);
    node_dials(&n, n.address);
    node_start(&n);
    run_for(500);

    assert_int_equal(n.n_up, 0);
    assert_int_equal(n_refused(&n), 0);
    assert_int_equal(peer_links(n.peer, NULL, 0), 0);
    node_stop(&n);
}

/* ---- Clients that are no peers ------------------------------------------- */

/* Sends these bytes a few times; the connection ends, one line is logged. */
static void check_bytes(const void *bytes, size_t size, const char *cause)
{
    struct node n[2];
    struct capture capture;
    char *log;

    start_good(n);
    capture_start(&capture);
    for (int i = 0; i < 5; i++) {
        int fd = dial_bare(port_of(&n[0]));
        uint64_t end_ms = clock_ms() + LIVE_MS;

        (void)send(fd, bytes, size, MSG_NOSIGNAL);
        while (!is_ended(fd) && clock_ms() < end_ms) {
            turn();
        }
        (void)close(fd);
    }
    run_for(20);
    log = capture_stop(&capture);
    if (n_refused(&n[0]) != 5 || count(log, "A connection was refused") != 1 ||
        strstr(log, cause) == NULL) {
        fail_msg("expected one %s in:\n%s", cause, log);
    }
    free(log);
    stop_good(n);
}

static void plain_text_and_garbage_are_refused(void **state)
{
    static const char http[] = "GET /primary HTTP/1.0\r\n\r\n";
    static uint8_t garbage[70000];
    struct rng rng;

    (void)state;
    check_bytes(http, strlen(http), "cause=not-tls");
    rng_seed(&rng, 3);
    for (size_t i = 0; i < sizeof(garbage); i++) {
        garbage[i] = (uint8_t)rng_next(&rng);
    }
    check_bytes(garbage, 512, "cause=not-tls");
    check_bytes(garbage, sizeof(garbage), "cause=not-tls");
    /* A TLS record as long as can be, of a handshake message of 16 MiB. */
    memcpy(garbage, "\x16\x03\x01\x3f\xff\x01\xff\xff\xff", 9);
    check_bytes(garbage, sizeof(garbage), "cause=not-tls");
}

/* A plain peer where TLS is due sends a good preface, in the clear. */
static void a_preface_in_the_clear_is_refused(void **state)
{
    uint8_t bytes[PREFACE_SIZE + FRAME_OVERHEAD];
    struct preface preface = {
        .cluster_id = CLUSTER, .scope = "testscope-visible", .id = 7, .name = "n3"};
    size_t size = preface_encode(&preface, bytes + FRAME_HEADER_SIZE);

    (void)state;
    check_bytes(bytes, frame_seal(bytes, FRAME_PREFACE, size, 0), "cause=not-tls");
}

static void tls_without_a_shared_secret_is_refused(void **state)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    struct node n[2];
    struct capture capture;
    char *log;

    (void)state;
    start_good(n);
    capture_start(&capture);
    for (int i = 0; i < 4; i++) {
        int fd = dial_bare(port_of(&n[0]));
        SSL *ssl = SSL_new(context);
        uint64_t end_ms = clock_ms() + LIVE_MS;
        int r;

        /* The last one is TLS 1.2. */
        assert_int_equal(SSL_set_max_proto_version(ssl, i < 3 ? 0 : TLS1_2_VERSION), 1);
        assert_int_equal(SSL_set_fd(ssl, fd), 1);
        do {
            turn();
            r = SSL_connect(ssl);
        } while (r != 1 && SSL_get_error(ssl, r) == SSL_ERROR_WANT_READ && clock_ms() < end_ms);
        assert_int_not_equal(r, 1);
        SSL_free(ssl);
        (void)close(fd);
    }
    run_for(20);
    log = capture_stop(&capture);
    SSL_CTX_free(context);
    if (n_refused(&n[0]) != 4 || count(log, "A connection was refused") != 1 ||
        strstr(log, "cause=no-secret") == NULL) {
        fail_msg("%s", log);
    }
    free(log);
    stop_good(n);
}

/* Says nothing, or one byte now and then: closed at the deadline. */
static void silent_and_slow_clients_are_closed_at_the_deadline(void **state)
{
    struct node n[2];
    struct capture capture;
    uint64_t start_ms;
    int silent;
    int slow;
    char *log;

    (void)state;
    start_good(n);
    capture_start(&capture);
    silent = dial_bare(port_of(&n[0]));
    slow = dial_bare(port_of(&n[0]));
    start_ms = clock_ms();
    (void)send(slow, "\x16\x03\x01\x02\x00\x01", 6, MSG_NOSIGNAL);
    while (n_refused(&n[0]) < 2 && clock_ms() < start_ms + LIVE_MS) {
        (void)send(slow, "\x00", 1, MSG_NOSIGNAL);
        run_for(100);
    }
    log = capture_stop(&capture);
    print_message("closed after %llu ms\n", (unsigned long long)(clock_ms() - start_ms));

    assert_int_equal(n_refused(&n[0]), 2);
    assert_true(is_ended(silent) && is_ended(slow));
    assert_int_equal(count(log, "cause=slow"), 1);
    free(log);
    (void)close(silent);
    (void)close(slow);
    stop_good(n);
}

/* Many that say nothing: the oldest go, there are never more than the bound,
 * and a good peer gets in beside them. */
static void a_crowd_of_silent_clients_is_bounded(void **state)
{
    struct node n[3];
    struct capture capture;
    int fds[200];
    char *log;

    (void)state;
    start_good(n);
    node_init(&n[2], 2, free_port());
    node_dials(&n[2], n[0].address);
    capture_start(&capture);
    for (size_t i = 0; i < ARRAY_LENGTH(fds); i++) {
        fds[i] = dial_bare(port_of(&n[0]));
        turn();
        assert_true(peer_counters(n[0].peer).n_strangers <= 32 + 8); /* Closing ones included. */
    }
    node_start(&n[2]);
    for (uint64_t end_ms = clock_ms() + LIVE_MS; !are_up(&n[0], &n[2]) && clock_ms() < end_ms;) {
        turn();
    }
    log = capture_stop(&capture);

    assert_true(are_up(&n[0], &n[2]));
    assert_true(peer_counters(n[0].peer).n_strangers <= 32);
    assert_int_equal(count(log, "cause=crowded"), 1);
    for (size_t i = 0; i < ARRAY_LENGTH(fds); i++) {
        (void)close(fds[i]);
    }
    free(log);
    assert_int_equal(n[0].n_down, 0);
    node_stop(&n[2]);
    WAIT_UNTIL(n[0].n_down == 1, LIVE_MS); /* That one. */
    n[0].n_down = 0;
    stop_good(n);
}

/* ---- Authenticated, and wrong -------------------------------------------- */

/* In plain TCP on loopback everybody is authenticated: frames by hand. */
static void check_frames(const void *bytes, size_t size)
{
    struct node n[2];
    uint8_t hail[PREFACE_SIZE + 2 * FRAME_OVERHEAD];
    struct preface preface = {.cluster_id = CLUSTER,
                              .scope = "testscope-visible",
                              .id = 7,
                              .instance = 8,
                              .process = 9,
                              .name = "n3",
                              .address = "127.0.0.1:1"};
    size_t preface_size = preface_encode(&preface, hail + FRAME_HEADER_SIZE);
    int fd;

    mesh(n, 2);
    n[0].secrets.password = NULL;
    n[1].secrets.password = NULL;
    node_start(&n[0]);
    node_start(&n[1]);
    WAIT_UNTIL(are_up(&n[0], &n[1]), LIVE_MS);
    preface_size = frame_seal(hail, FRAME_PREFACE, preface_size, 0);
    (void)frame_seal(hail + preface_size, FRAME_WELCOME, 0, 1);
    fd = dial_bare(port_of(&n[0]));
    assert_true(send(fd, hail, preface_size + FRAME_OVERHEAD, MSG_NOSIGNAL) > 0);
    WAIT_UNTIL(peer_is_up(n[0].peer, 7), LIVE_MS);

    (void)send(fd, bytes, size, MSG_NOSIGNAL);
    WAIT_UNTIL(!peer_is_up(n[0].peer, 7), LIVE_MS);
    WAIT_UNTIL(is_ended(fd), LIVE_MS);

    WAIT_UNTIL(n_refused(&n[0]) == 1, LIVE_MS);
    (void)close(fd);
    assert_int_equal(n[0].n_down, 1); /* That one. */
    n[0].n_down = 0;
    stop_good(n);
}

static void frames_out_of_bounds_end_the_connection(void **state)
{
    static const uint8_t oversize[] = {0xff, 0xff, 0xff, 0x7f, FRAME_PROPOSE, 1, 2, 3};
    static const uint8_t unknown[] = {1, 0, 0, 0, 200};
    static const uint8_t preface[] = {1, 0, 0, 0, FRAME_PREFACE};
    uint8_t status[FRAME_OVERHEAD + 3] = {0};
    static const uint8_t raft[] = {4, 0, 0, 0, FRAME_RAFT_DATA, 1, 2, 3};

    (void)state;
    check_frames(oversize, sizeof(oversize));
    check_frames(unknown, sizeof(unknown));
    check_frames(preface, sizeof(preface));
    check_frames(status, frame_seal(status, FRAME_STATUS, 3, 2)); /* No status of that size. */
    check_frames(raft, sizeof(raft));
}

/* A renewal in the name of another node. */
static void a_peer_can_not_speak_for_another(void **state)
{
    uint8_t bytes[FRAME_OVERHEAD + 48];
    struct encoder e;

    (void)state;
    encoder_init(&e, bytes + FRAME_HEADER_SIZE, 48);
    encode_u64(&e, 1);
    encode_u64(&e, 1001); /* Not 7. */
    for (int i = 0; i < 4; i++) {
        encode_u64(&e, 1);
    }
    check_frames(bytes, frame_seal(bytes, FRAME_RENEW, 48, 2));
}

/* Random bytes after a good preface, in frames of every kind. */
static void random_frames_never_crash(void **state)
{
    enum frame_type type;
    struct rng rng;
    uint8_t bytes[300];
    size_t size;

    (void)state;
    rng_seed(&rng, 4);
    for (int i = 0; i < 8; i++) {
        for (size_t k = 0; k < sizeof(bytes); k++) {
            bytes[k] = (uint8_t)rng_next(&rng);
        }
        type = (enum frame_type)rng_between(&rng, FRAME_STATUS, FRAME_GRANT);
        size = rng_between(&rng, 1, MIN(frame_payload_max(type), (size_t)200));
        (void)frame_seal(bytes, type, size, 2);
        check_frames(bytes, sizeof(bytes));
    }
}

/* ---- Addresses that can not be used -------------------------------------- */

static void check_new_fails(struct node *n, const char *text)
{
    struct err err = {0};

    assert_null(node_new(n, &err));
    if (strstr(err.text, text) == NULL) {
        fail_msg("expected \"%s\" in \"%s\"", text, err.text);
    }
}

static void an_address_that_can_not_be_used_is_named(void **state)
{
    struct node taken;
    struct node n;
    char text[128];

    (void)state;
    node_init(&taken, 0, free_port());
    node_start(&taken);
    node_init(&n, 1, free_port());
    n.options.bind_address = taken.address;
    (void)snprintf(text, sizeof(text),
                   "cannot listen on %s: Address already in use; `ss -ltnp` names", taken.address);
    check_new_fails(&n, text);
    n.options.bind_address = "pg1";
    check_new_fails(&n, "address \"pg1\": expected host:port");
    n.options.bind_address = "no-such-host.invalid:7400";
    check_new_fails(&n, "cannot listen on no-such-host.invalid:7400");
    n.options.bind_address = n.address;
    n.options.self_address = "127.0.0.1:99999";
    check_new_fails(&n, "127.0.0.1:99999");
    node_stop(&taken);
}

static void without_a_secret_only_loopback_is_allowed(void **state)
{
    struct node n;

    (void)state;
    node_init(&n, 0, free_port());
    n.secrets.password = NULL;
    n.options.bind_address = "0.0.0.0:7400";
    check_new_fails(&n, "\"0.0.0.0:7400\"");
    n.options.bind_address = "*:7400";
    check_new_fails(&n, "\"*:7400\"");
    n.options.bind_address = n.address;
    n.options.self_address = "192.0.2.1:7400";
    check_new_fails(&n, "\"192.0.2.1:7400\"");
    n.options.self_address = n.address;
    node_dials(&n, "pg2.example.org:7400");
    check_new_fails(&n, "\"pg2.example.org:7400\"");
}

/* Any address of the machine, over both families. */
static void every_address_can_be_listened_on(void **state)
{
    static const char *const forms[] = {"*:%u", "[::]:%u", "0.0.0.0:%u", "localhost:%u"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(forms); i++) {
        struct node n[2];
        char text[64];

        mesh(n, 2);
        (void)snprintf(text, sizeof(text), forms[i], port_of(&n[0]));
        n[0].options.bind_address = text;
        n[0].options.n_partners = 0;
        node_start(&n[0]);
        node_start(&n[1]);
        WAIT_UNTIL(i == 3 || are_up(&n[0], &n[1]), LIVE_MS); /* localhost may be ::1 only. */
        node_stop(&n[0]);
        node_stop(&n[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_secret_is_refused),
        cmocka_unit_test(another_scope_is_refused),
        cmocka_unit_test(another_cluster_is_refused),
        cmocka_unit_test(the_second_of_two_twins_is_refused),
        cmocka_unit_test(our_own_twin_is_refused),
        cmocka_unit_test(a_node_that_dials_itself_by_another_name_says_nothing),
        cmocka_unit_test(plain_text_and_garbage_are_refused),
        cmocka_unit_test(a_preface_in_the_clear_is_refused),
        cmocka_unit_test(tls_without_a_shared_secret_is_refused),
        cmocka_unit_test(silent_and_slow_clients_are_closed_at_the_deadline),
        cmocka_unit_test(a_crowd_of_silent_clients_is_bounded),
        cmocka_unit_test(frames_out_of_bounds_end_the_connection),
        cmocka_unit_test(a_peer_can_not_speak_for_another),
        cmocka_unit_test(random_frames_never_crash),
        cmocka_unit_test(an_address_that_can_not_be_used_is_named),
        cmocka_unit_test(without_a_secret_only_loopback_is_allowed),
        cmocka_unit_test(every_address_can_be_listened_on),
    };

    return cmocka_run_group_tests(tests, loop_up, loop_down);
}
