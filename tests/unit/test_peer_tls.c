/*
 * Certificates and the change of secrets: who gets in, who does not and what is
 * said about it, what is refused at the start, and that nobody loses anybody
 * while nodes change one after the other.
 */
#include "test_peer_certs.h"

#include "peer/peer_frame.h"
#include "peer/peer_preface.h"
#include "peer/peer_tls.h"
#include "test_between.h"

static struct certs certs;

static int set_up(void **state)
{
    certs_init(&certs);
    return loop_up(state);
}

static int tear_down(void **state)
{
    certs_deinit(&certs);
    return loop_down(state);
}

/* A good certificate for n<number>. */
static struct peer_secrets good(unsigned number)
{
    char names[32];

    (void)snprintf(names, sizeof(names), "DNS:n%u", number);
    return make_secrets(&certs, &certs.ours, &(struct cert){.names = names});
}

static void start_with_certificates(struct node *n, unsigned n_nodes)
{
    mesh(n, n_nodes);
    for (unsigned i = 0; i < n_nodes; i++) {
        n[i].secrets = good(i);
        node_start(&n[i]);
    }
}

/* Each of the two has dialled the other. */
static bool are_both_ways(const struct node *a, const struct node *b)
{
    struct peer_link_info info[NODES];
    const struct node *ends[] = {a, b};

    for (int i = 0; i < 2; i++) {
        const struct node *other = ends[1 - i];
        size_t n = peer_links(ends[i]->peer, info, NODES);
        bool found = false;

        for (size_t k = 0; k < n; k++) {
            found = found ||
                    (info[k].id == other->options.id && info[k].up && info[k].problem[0] == '\0');
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

struct wish {
    int n;
    int fd;
};

static void on_raft(void *data, int fd)
{
    struct wish *w = data;

    w->n++;
    w->fd = fd;
}

/* As libraft does: tries again until there is a connection. */
static int connect_raft(struct node *a, struct node *b)
{
    int n_tries = 0;
    struct wish w;

    do {
        w = (struct wish){.fd = -1};
        peer_connect_raft(a->peer, b->options.id, on_raft, &w);
        WAIT_UNTIL(w.n == 1, LIVE_MS);
        n_tries++;
    } while (w.fd < 0 && n_tries < 5);
    assert_true(w.fd >= 0);
    (void)close(w.fd);
    return n_tries;
}

/* ---- In ------------------------------------------------------------------ */

static void nodes_with_certificates_are_in_contact(void **state)
{
    struct status status = {.id = 1000};
    struct node n[3];

    (void)state;
    start_with_certificates(n, 3);
    WAIT_UNTIL(are_both_ways(&n[0], &n[1]) && are_both_ways(&n[1], &n[2]), LIVE_MS);
    WAIT_UNTIL(are_both_ways(&n[0], &n[2]), LIVE_MS);
    (void)str_copy(status.name, sizeof(status.name), "n0");
    peer_send_status(n[0].peer, &status);
    WAIT_UNTIL(n[1].n_status == 1 && n[2].n_status == 1, LIVE_MS);
    assert_int_equal(connect_raft(&n[0], &n[1]), 1);
    for (int i = 0; i < 3; i++) {
        assert_between(peer_counters(n[i].peer).expires_s, time(NULL) + DAY - HOUR,
                       time(NULL) + DAY + HOUR);
        assert_int_equal(n[i].n_down, 0);
        assert_int_equal(peer_counters(n[i].peer).n_refused, 0);
    }
    for (int i = 0; i < 3; i++) {
        node_stop(&n[i]);
    }
}

/* A name among several, in other letters. */
static void a_certificate_may_carry_more_names(void **state)
{
    struct node n[2];

    (void)state;
    mesh(n, 2);
    n[0].secrets = good(0);
    n[1].secrets = make_secrets(&certs, &certs.ours,
                                &(struct cert){.names = "DNS:pg.example.org,IP:127.0.0.1,DNS:N1",
                                               .usage = "serverAuth,clientAuth"});
    node_start(&n[0]);
    node_start(&n[1]);
    WAIT_UNTIL(are_both_ways(&n[0], &n[1]), LIVE_MS);
    node_stop(&n[0]);
    node_stop(&n[1]);
}

/* ---- Out ----------------------------------------------------------------- */

/* n0 and n1 are good; n2 comes with those secrets, and both dial. What n0 says
 * of it is said once, although n2 comes again and again. */
static void check_outsider(const struct peer_secrets *secrets, const char *cause, const char *text)
{
    struct capture capture;
    struct node n[3];
    uint64_t end_ms;
    char *log;

    mesh(n, 3);
    for (unsigned i = 0; i < 2; i++) {
        n[i].secrets = good(i);
        node_start(&n[i]);
    }
    WAIT_UNTIL(are_both_ways(&n[0], &n[1]), LIVE_MS);
    n[2].secrets = *secrets;
    capture_start(&capture);
    node_start(&n[2]);
    end_ms = clock_ms() + LIVE_MS;
    while (peer_counters(n[0].peer).n_refused < 8 && clock_ms() < end_ms) {
        turn();
    }
    log = capture_stop(&capture);

    assert_true(peer_counters(n[0].peer).n_refused >= 8);
    if (strstr(log, cause) == NULL || strstr(log, text) == NULL) {
        fail_msg("expected \"%s\" and \"%s\" in:\n%s", cause, text, log);
    }
    /* n0 and n1 of n2 as who dials and as who is dialled, n2 of them: at most
     * two causes each way, each once. */
    assert_between(count(log, "A connection was refused"), 2, 12);
    assert_null(strstr(log, "repeated=1"));
    assert_int_equal(n[2].n_up + n[2].n_hello, 0);
    assert_int_equal(n[0].n_up, 1);
    assert_int_equal(n[0].n_down + n[1].n_down, 0);
    assert_true(are_both_ways(&n[0], &n[1]));
    free(log);
    for (int i = 0; i < 3; i++) {
        node_stop(&n[i]);
    }
}

static const char *both_cas(void)
{
    const char *path = new_path(&certs, "both.pem");
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, certs.ours.certificate), 1);
    assert_int_equal(PEM_write_X509(f, certs.other.certificate), 1);
    assert_int_equal(fclose(f), 0);
    return path;
}

/* One CA takes over from the other: all trust both before the first has a
 * certificate of the new one. */
static void certificates_of_two_cas_live_together(void **state)
{
    struct node n[2];

    (void)state;
    mesh(n, 2);
    n[0].secrets = good(0);
    n[1].secrets = make_secrets(&certs, &certs.other, &(struct cert){.names = "DNS:n1"});
    n[0].secrets.ca = n[1].secrets.ca = both_cas();
    node_start(&n[0]);
    node_start(&n[1]);
    WAIT_UNTIL(are_both_ways(&n[0], &n[1]), LIVE_MS);
    node_stop(&n[0]);
    node_stop(&n[1]);
}

static void another_ca_is_refused(void **state)
{
    struct peer_secrets s = make_secrets(&certs, &certs.other, &(struct cert){.names = "DNS:n2"});

    (void)state;
    check_outsider(&s, "cause=certificate peer=127.0.0.1:",
                   "its certificate is not good: unable to get local issuer certificate");
    s.ca = both_cas(); /* It takes ours, so it is for us to refuse its. */
    check_outsider(&s, "cause=certificate peer=127.0.0.1 ",
                   "its certificate is not good: unable to get local issuer certificate");
}

static void an_expired_certificate_is_refused(void **state)
{
    struct peer_secrets s = make_secrets(
        &certs, &certs.ours, &(struct cert){.names = "DNS:n2", .from = -2 * DAY, .until = -DAY});

    (void)state;
    check_outsider(&s, "cause=certificate peer=127.0.0.1 ", "certificate has expired");
    /* And it says so itself, at its start. */
    check_outsider(&s, "error", "raft.tls.cert: the certificate has expired; make a new one");
    check_outsider(&s, "cause=our-certificate", "does not take our certificate");
}

static void a_certificate_of_tomorrow_is_refused(void **state)
{
    struct peer_secrets s = make_secrets(
        &certs, &certs.ours, &(struct cert){.names = "DNS:n2", .from = DAY, .until = 2 * DAY});

    (void)state;
    check_outsider(&s, "cause=certificate peer=127.0.0.1 ", "certificate is not yet valid");
}

static void a_secret_does_not_replace_a_certificate(void **state)
{
    struct peer_secrets s = {.password = "a secret of the tests"};

    (void)state;
    check_outsider(&s, "cause=wrong-secret peer=127.0.0.1 ",
                   "it offers a secret that is none of ours; raft.tls is set here");
    check_outsider(&s,
                   "cause=wrong-secret peer=127.0.0.1:", "the other side takes no certificates");
}

static void plain_tcp_is_refused(void **state)
{
    struct peer_secrets s = {0};

    (void)state;
    check_outsider(&s, "cause=not-tls peer=127.0.0.1 ", "it does not speak TLS as we do");
}

/* A client of our own making, that speaks TLS as `secrets` say and introduces
 * itself as n1. Returns what the node says. */
static char *introduce_as_n1(struct node *n, const struct credentials_options *options)
{
    struct preface preface = {.cluster_id = CLUSTER,
                              .scope = "testscope-visible",
                              .id = 7,
                              .instance = 8,
                              .process = 9,
                              .name = "n1",
                              .address = "127.0.0.1:1"};
    uint8_t frame[PREFACE_SIZE + FRAME_OVERHEAD];
    size_t size = preface_encode(&preface, frame + FRAME_HEADER_SIZE);
    uint64_t end_ms = clock_ms() + LIVE_MS;
    int fd = dial_bare(port_of(n));
    enum tls_next next = TLS_MORE;
    enum peer_cause cause;
    struct capture capture;
    struct tls_context *c;
    struct tls *t;
    struct err err = {""};

    size = frame_seal(frame, FRAME_PREFACE, size, 0);
    c = tls_context_new(options, &err);
    assert_non_null(c);
    t = tls_new_client(c, 0, &err);
    capture_start(&capture);
    while (peer_counters(n->peer).n_refused == 0 && clock_ms() < end_ms) {
        struct strbuf wire = {0};
        char bytes[8192];
        ssize_t got;
        int r = 0;

        if (next == TLS_MORE) {
            next = tls_handshake(t, &cause, &err);
            if (next == TLS_OK) {
                r = tls_write(t, frame, size, &err);
            }
        }
        tls_take(t, &wire);
        (void)send(fd, wire.data, wire.length, MSG_NOSIGNAL);
        strbuf_deinit(&wire);
        turn();
        got = recv(fd, bytes, sizeof(bytes), 0);
        if (got > 0) {
            r = tls_feed(t, bytes, (size_t)got, &err);
        }
        assert_int_equal(r, 0);
    }
    tls_free(t);
    tls_context_unref(c);
    (void)close(fd);
    return capture_stop(&capture);
}

/* n2 has a good certificate, and says it is n1. */
static void a_node_can_not_take_another_name(void **state)
{
    struct peer_secrets s = good(2);
    struct credentials_options o = {
        .scope = "testscope-visible", .name = "n2", .cert = s.cert, .key = s.key, .ca = s.ca};
    struct node n;
    char *log;

    (void)state;
    node_init(&n, 0, free_port());
    n.secrets = good(0);
    node_start(&n);
    log = introduce_as_n1(&n, &o);
    if (strstr(log, "cause=wrong-name peer=127.0.0.1 ") == NULL ||
        strstr(log, "node \"n1\" has a certificate for \"n2\"") == NULL) {
        fail_msg("%s", log);
    }
    assert_int_equal(peer_counters(n.peer).n_refused, 1);
    assert_int_equal(n.n_up, 0);
    free(log);
    node_stop(&n);
}

/* TLS without any certificate of its own. */
static void no_certificate_is_refused(void **state)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(context);
    uint64_t end_ms = clock_ms() + LIVE_MS;
    struct capture capture;
    struct node n;
    char *log;
    int fd;

    (void)state;
    node_init(&n, 0, free_port());
    n.secrets = good(0);
    node_start(&n);
    fd = dial_bare(port_of(&n));
    assert_int_equal(SSL_set_fd(ssl, fd), 1);
    capture_start(&capture);
    while (peer_counters(n.peer).n_refused == 0 && clock_ms() < end_ms) {
        turn();
        (void)SSL_connect(ssl);
    }
    log = capture_stop(&capture);
    SSL_free(ssl);
    SSL_CTX_free(context);
    (void)close(fd);
    if (strstr(log, "cause=certificate") == NULL ||
        strstr(log, "it shows no certificate: raft.tls must be set there too") == NULL) {
        fail_msg("%s", log);
    }
    free(log);
    node_stop(&n);
}

/* ---- At the start -------------------------------------------------------- */

static void check_start_fails(const struct peer_secrets *s, const char *file, const char *text)
{
    struct err err = {""};
    struct tls_context *c = peer_load_secrets(s, "scope", "n0", &err);

    assert_null(c);
    if (strstr(err.text, text) == NULL || strstr(err.text, file) == NULL) {
        fail_msg("expected \"%s\" and \"%s\" in: %s", file, text, err.text);
    }
}

static void what_can_not_be_used_is_said_with_file_and_remedy(void **state)
{
    struct peer_secrets s = good(0);
    struct peer_secrets bad = s;
    EVP_PKEY *key = EVP_EC_gen("P-256");

    (void)state;
    bad.key = "/nonexistent/key.pem";
    check_start_fails(&bad, "raft.tls.key /nonexistent/key.pem", "No such file or directory");
    bad.key = certs.dir;
    check_start_fails(&bad, certs.dir, "not a regular file");
    bad.key = good(1).key;
    check_start_fails(&bad, bad.key, "it is not the key of the certificate in");
    assert_int_equal(chmod(bad.key, 0640), 0);
    check_start_fails(&bad, bad.key, "others may use it (mode 0640); run chmod 0600");
    assert_int_equal(chmod(bad.key, 0604), 0);
    check_start_fails(&bad, bad.key, "others may use it (mode 0604)");
    bad.key = write_key(&certs, key, "a passphrase");
    check_start_fails(&bad, bad.key, "no private key in PEM form without a passphrase");
    bad.key = s.cert;
    assert_int_equal(chmod(bad.key, 0600), 0);
    check_start_fails(&bad, bad.key, "no private key in PEM form");

    bad = s;
    bad.cert = write_text(&certs, "garbage", "no certificate\n");
    check_start_fails(&bad, bad.cert, "no usable certificate in PEM form");
    bad = s;
    bad.ca = bad.key;
    check_start_fails(&bad, bad.ca, "no CA certificate in PEM form");
    bad.ca = certs.other.path;
    check_start_fails(&bad, bad.cert, "not signed by a CA in");
    bad = good(1);
    check_start_fails(&bad, bad.cert, "it is for \"n1\" and not for \"n0\"");
    bad = make_secrets(&certs, &certs.ours, &(struct cert){0});
    check_start_fails(&bad, bad.cert, "it is for no DNS name and not for \"n0\"");
    bad = make_secrets(&certs, &certs.ours, &(struct cert){.names = "DNS:*"});
    check_start_fails(&bad, bad.cert, "and not for \"n0\"");
    bad =
        make_secrets(&certs, &certs.ours, &(struct cert){.names = "DNS:n0", .usage = "serverAuth"});
    check_start_fails(&bad, bad.cert, "its key usage does not allow both ends");
    EVP_PKEY_free(key);
}

/* ---- Changes ------------------------------------------------------------- */

static bool use(struct node *n, const struct peer_secrets *secrets)
{
    struct err err = {""};
    bool changed = false;
    struct tls_context *c = peer_load_secrets(secrets, n->options.scope, n->options.name, &err);

    if (c == NULL || peer_use_secrets(n->peer, c, &changed, &err) < 0) {
        fail_msg("%s", err.text);
    }
    n->secrets = *secrets; /* For its next start. */
    return changed;
}

/* Every connection anew: what is connected now was made with what is in use now. */
static void restart(struct node *n, struct node *nodes, int n_nodes)
{
    node_stop(n);
    node_start(n);
    for (int i = 0; i < n_nodes; i++) {
        if (&nodes[i] != n) {
            WAIT_UNTIL(are_both_ways(n, &nodes[i]), LIVE_MS);
        }
    }
}

/* From what all have to `next`, node by node: nobody loses anybody. While one
 * has changed, each of the others starts anew and finds all; so do Raft's
 * connections. */
static void check_rotation(struct node *n, const struct peer_secrets *next)
{
    for (int i = 0; i < 3; i++) {
        int n_down = n[0].n_down + n[1].n_down + n[2].n_down;

        assert_true(use(&n[i], &next[i]));
        for (int k = 0; k < 3; k++) {
            assert_true(are_both_ways(&n[i], &n[k]) || i == k);
            if (k != i) {
                assert_true(connect_raft(&n[i], &n[k]) <= 2);
                assert_true(connect_raft(&n[k], &n[i]) <= 2);
            }
        }
        assert_int_equal(n[0].n_down + n[1].n_down + n[2].n_down, n_down);
        if (i == 0) { /* The others start with the old one. */
            restart(&n[1], n, 3);
            restart(&n[2], n, 3);
        }
    }
    restart(&n[0], n, 3);
}

static void a_secret_changes_node_by_node(void **state)
{
    struct peer_secrets next = {.password = "the next secret"};
    struct node n[3];

    (void)state;
    mesh(n, 3);
    for (int i = 0; i < 3; i++) {
        node_start(&n[i]);
    }
    WAIT_UNTIL(are_both_ways(&n[0], &n[1]) && are_both_ways(&n[1], &n[2]), LIVE_MS);
    WAIT_UNTIL(are_both_ways(&n[0], &n[2]), LIVE_MS);
    check_rotation(n, (struct peer_secrets[]){next, next, next});
    for (int i = 0; i < 3; i++) {
        node_stop(&n[i]);
    }
}

static void certificates_change_node_by_node(void **state)
{
    struct node n[3];

    (void)state;
    start_with_certificates(n, 3);
    WAIT_UNTIL(are_both_ways(&n[0], &n[1]) && are_both_ways(&n[1], &n[2]), LIVE_MS);
    WAIT_UNTIL(are_both_ways(&n[0], &n[2]), LIVE_MS);
    check_rotation(n, (struct peer_secrets[]){good(0), good(1), good(2)});
    for (int i = 0; i < 3; i++) {
        node_stop(&n[i]);
    }
}

/* And back. */
static void a_secret_gives_way_to_certificates_node_by_node(void **state)
{
    struct peer_secrets secret = {.password = "the last secret"};
    struct node n[3];

    (void)state;
    mesh(n, 3);
    for (int i = 0; i < 3; i++) {
        node_start(&n[i]);
    }
    WAIT_UNTIL(are_both_ways(&n[0], &n[1]) && are_both_ways(&n[1], &n[2]), LIVE_MS);
    WAIT_UNTIL(are_both_ways(&n[0], &n[2]), LIVE_MS);
    check_rotation(n, (struct peer_secrets[]){good(0), good(1), good(2)});
    check_rotation(n, (struct peer_secrets[]){secret, secret, secret});
    for (int i = 0; i < 3; i++) {
        node_stop(&n[i]);
    }
}

/* The one before the previous is out. A reload without a change changes nothing. */
static void only_the_previous_secret_is_accepted(void **state)
{
    struct peer_secrets second = {.password = "the second secret"};
    struct peer_secrets third = {.password = "the third secret"};
    struct peer_secrets first;
    struct node n[3];

    (void)state;
    mesh(n, 3);
    first = n[0].secrets;
    node_start(&n[0]);
    assert_true(use(&n[0], &second));
    assert_false(use(&n[0], &second));
    n[1].secrets = first;
    node_start(&n[1]);
    WAIT_UNTIL(are_both_ways(&n[0], &n[1]), LIVE_MS);
    assert_true(use(&n[0], &third));
    assert_true(are_both_ways(&n[0], &n[1])); /* What is connected stays. */
    node_stop(&n[1]);
    node_start(&n[1]);
    n[2].secrets = second;
    node_start(&n[2]);
    WAIT_UNTIL(are_both_ways(&n[0], &n[2]), LIVE_MS);
    WAIT_UNTIL(peer_counters(n[0].peer).n_refused > 4, LIVE_MS);
    assert_false(are_up(&n[0], &n[1]));
    for (int i = 0; i < 3; i++) {
        node_stop(&n[i]);
    }
}

static void a_change_to_what_is_not_valid_is_refused(void **state)
{
    struct peer_secrets expired = make_secrets(
        &certs, &certs.ours, &(struct cert){.names = "DNS:n0", .from = -2 * DAY, .until = -DAY});
    struct tls_context *c;
    struct node n[2];
    struct err err = {""};
    bool changed;

    (void)state;
    start_with_certificates(n, 2);
    WAIT_UNTIL(are_both_ways(&n[0], &n[1]), LIVE_MS);
    c = peer_load_secrets(&expired, n[0].options.scope, "n0", &err);
    assert_non_null(c);
    assert_int_equal(peer_use_secrets(n[0].peer, c, &changed, &err), -1);
    assert_non_null(strstr(err.text, "has expired"));
    peer_free_secrets(c);
    restart(&n[1], n, 2); /* The old one goes on. */
    node_stop(&n[0]);
    node_stop(&n[1]);
}

static void without_a_secret_at_the_start_none_comes_later(void **state)
{
    struct peer_secrets s = {.password = "a secret"};
    struct tls_context *c;
    struct err err = {""};
    struct node n;
    bool changed;

    (void)state;
    node_init(&n, 0, free_port());
    n.secrets.password = NULL;
    node_start(&n);
    c = peer_load_secrets(&s, "scope", "n0", &err);
    assert_non_null(c);
    assert_int_equal(peer_use_secrets(n.peer, c, &changed, &err), -1);
    assert_non_null(strstr(err.text, "restart it"));
    peer_free_secrets(c);
    node_stop(&n);
}

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_with_certificates_are_in_contact),
        cmocka_unit_test(a_certificate_may_carry_more_names),
        cmocka_unit_test(certificates_of_two_cas_live_together),
        cmocka_unit_test(another_ca_is_refused),
        cmocka_unit_test(an_expired_certificate_is_refused),
        cmocka_unit_test(a_certificate_of_tomorrow_is_refused),
        cmocka_unit_test(a_secret_does_not_replace_a_certificate),
        cmocka_unit_test(plain_tcp_is_refused),
        cmocka_unit_test(a_node_can_not_take_another_name),
        cmocka_unit_test(no_certificate_is_refused),
        cmocka_unit_test(what_can_not_be_used_is_said_with_file_and_remedy),
        cmocka_unit_test(a_secret_changes_node_by_node),
        cmocka_unit_test(certificates_change_node_by_node),
        cmocka_unit_test(a_secret_gives_way_to_certificates_node_by_node),
        cmocka_unit_test(only_the_previous_secret_is_accepted),
        cmocka_unit_test(a_change_to_what_is_not_valid_is_refused),
        cmocka_unit_test(without_a_secret_at_the_start_none_comes_later),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}

int main(void)
{
    return run_in_place(run_all);
}
