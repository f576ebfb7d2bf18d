/*
 * Peers that are friends: they find each other, messages arrive, proposals
 * travel, connections break and come back, Raft streams are pumped.
 */
#include "test_between.h"
#include "test_peer_lib.h"

static void make_hello(const struct node *n, struct hello *ret)
{
    *ret = (struct hello){.id = n->options.id, .n_members = 2, .members = {1, 2}};
    (void)str_copy(ret->name, sizeof(ret->name), n->options.name);
    (void)str_copy(ret->address, sizeof(ret->address), n->address);
}

static struct status make_status(const struct node *n)
{
    struct status s = {.id = n->options.id, .raft_term = 4};

    (void)str_copy(s.name, sizeof(s.name), n->options.name);
    return s;
}

static void start_two(struct node *nodes)
{
    mesh(nodes, 2);
    node_start(&nodes[0]);
    node_start(&nodes[1]);
    WAIT_UNTIL(are_up(&nodes[0], &nodes[1]), LIVE_MS);
}

struct outcome {
    int n;
    bool answered;
    bool has_result;
    struct peer_result result;
};

static void on_outcome(void *data, bool answered, const struct peer_result *result)
{
    struct outcome *o = data;

    o->n++;
    o->answered = answered;
    o->has_result = result != NULL;
    if (result != NULL) {
        o->result = *result;
    }
}

static void flow(const char *password)
{
    struct node nodes[2];
    struct node *a = &nodes[0];
    struct node *b = &nodes[1];
    struct hello hello;
    struct status status;
    struct lease_renew renew = {.epoch = 3, .instance = 4, .round = 5, .duration_ns = 6};
    struct lease_grant grant = {.epoch = 3, .instance = 4, .round = 5, .granted_ns = 6};
    struct outcome outcome = {0};
    struct peer_link_info info[4];

    mesh(nodes, 2);
    a->secrets.password = password;
    b->secrets.password = password;
    node_start(a);
    make_hello(a, &hello);
    peer_set_hello(a->peer, &hello);
    node_start(b);
    WAIT_UNTIL(are_up(a, b) && b->n_hello > 0, LIVE_MS);
    assert_string_equal(b->hello.address, a->address);

    status = make_status(a);
    peer_send_status(a->peer, &status);
    renew.owner = a->options.id;
    peer_send_renew(a->peer, &renew);
    WAIT_UNTIL(b->n_status > 0 && b->n_renew > 0, LIVE_MS);
    grant.voter = b->options.id;
    peer_send_grant(b->peer, a->options.id, &grant);
    peer_ask_positions(b->peer, 17);
    peer_propose(a->peer, b->options.id, "command!", 8, on_outcome, &outcome);
    assert_int_equal(outcome.n, 0);
    WAIT_UNTIL(a->n_grant > 0 && b->n_positions > 0 && outcome.n > 0, LIVE_MS);
    assert_int_equal(b->renew.round, 5);
    assert_int_equal(a->grant.granted_ns, 6);
    assert_int_equal(b->positions.epoch, 17);
    assert_int_equal(b->positions.flushed, 77);
    assert_int_equal(b->proposal_size, 8);
    assert_true(outcome.answered && outcome.result.result == 7 && outcome.result.index == 8);
    peer_propose(a->peer, b->options.id, NULL, 0, on_outcome, &outcome);
    WAIT_UNTIL(outcome.n == 2, LIVE_MS);
    assert_true(b->is_barrier);

    WAIT_UNTIL(peer_links(a->peer, info, 4) == 1 && info[0].rtt_us > 0, LIVE_MS);
    assert_true(info[0].up);
    assert_string_equal(info[0].name, "n1");
    assert_int_equal(a->n_up, 1);
    assert_int_equal(a->n_down + b->n_down, 0);
    node_stop(a);
    WAIT_UNTIL(b->n_down == 1, LIVE_MS);
    node_stop(b);
}

static void two_peers_talk_over_tls(void **state)
{
    (void)state;
    flow("a secret");
}

static void two_peers_talk_in_plain_on_loopback(void **state)
{
    (void)state;
    flow(NULL);
}

static void a_large_proposal_arrives(void **state)
{
    static uint8_t command[PEER_PROPOSAL_MAX];
    struct node nodes[2];
    struct outcome outcome = {0};

    (void)state;
    start_two(nodes);
    command[0] = 0x5a;

    peer_propose(nodes[0].peer, nodes[1].options.id, command, sizeof(command), on_outcome,
                 &outcome);

    WAIT_UNTIL(outcome.n == 1, LIVE_MS);
    assert_true(outcome.answered && outcome.result.index == sizeof(command));
    assert_int_equal(nodes[1].proposal_first, 0x5a);
    node_stop(&nodes[0]);
    node_stop(&nodes[1]);
}

/* A and C do not know each other; both know B. */
static void a_proposal_goes_through_a_node_that_hears_the_leader(void **state)
{
    struct node n[3];
    struct outcome outcome = {0};
    struct status status;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        node_init(&n[i], i, free_port());
    }
    node_dials(&n[0], n[1].address);
    node_dials(&n[1], n[0].address);
    node_dials(&n[1], n[2].address);
    node_dials(&n[2], n[1].address);
    for (unsigned i = 0; i < 3; i++) {
        node_start(&n[i]);
    }
    WAIT_UNTIL(are_up(&n[0], &n[1]) && are_up(&n[1], &n[2]), LIVE_MS);

    /* Nobody says that it hears the leader: nothing happens. */
    peer_propose(n[0].peer, n[2].options.id, "x", 1, on_outcome, &outcome);
    WAIT_UNTIL(outcome.n == 1, LIVE_MS);
    assert_false(outcome.answered || outcome.has_result);

    status = make_status(&n[1]);
    status.n_heard = 2;
    status.heard[0] = n[1].options.id;
    status.heard[1] = n[2].options.id;
    peer_send_status(n[1].peer, &status);
    WAIT_UNTIL(n[0].n_status == 1, LIVE_MS);
    peer_propose(n[0].peer, n[2].options.id, "relayed", 7, on_outcome, &outcome);
    WAIT_UNTIL(outcome.n == 2, LIVE_MS);
    assert_true(outcome.answered && outcome.result.index == 7);
    assert_int_equal(n[2].n_propose, 1);
    assert_int_equal(n[1].n_propose, 0);

    /* The relay lost the leader: nobody could take it. */
    node_stop(&n[2]);
    WAIT_UNTIL(!peer_is_up(n[1].peer, n[2].options.id), LIVE_MS);
    peer_propose(n[0].peer, n[2].options.id, "lost", 4, on_outcome, &outcome);
    WAIT_UNTIL(outcome.n == 3, LIVE_MS);
    assert_false(outcome.answered || outcome.has_result);
    node_stop(&n[0]);
    node_stop(&n[1]);
}

static void a_proposal_without_an_answer_ends_as_unknown(void **state)
{
    struct node nodes[2];
    struct outcome late = {0};
    struct outcome broken = {0};
    struct outcome nobody = {0};
    uint64_t start_ms;

    (void)state;
    start_two(nodes);
    nodes[1].is_mute = true;
    start_ms = clock_ms();
    peer_propose(nodes[0].peer, nodes[1].options.id, "x", 1, on_outcome, &late);
    WAIT_UNTIL(late.n == 1, LIVE_MS);
    assert_true(clock_ms() - start_ms >= 4900);
    assert_true(!late.answered && late.has_result && late.result.status == 3);

    peer_propose(nodes[0].peer, nodes[1].options.id, "x", 1, on_outcome, &broken);
    WAIT_UNTIL(nodes[1].n_propose == 2, LIVE_MS);
    node_stop(&nodes[1]);
    WAIT_UNTIL(broken.n == 1, LIVE_MS);
    assert_true(!broken.answered && broken.has_result && broken.result.status == 3);

    peer_propose(nodes[0].peer, nodes[1].options.id, "x", 1, on_outcome, &nobody);
    assert_int_equal(nobody.n, 0);
    WAIT_UNTIL(nobody.n == 1, LIVE_MS);
    assert_false(nobody.answered || nobody.has_result);
    node_stop(&nodes[0]);
}

struct told { /* What became of an action. */
    int n;
    enum peer_outcome outcome;
    char text[PEER_OUTCOME_TEXT];
};

static void on_told(void *data, enum peer_outcome outcome, const char *text)
{
    struct told *t = data;

    t->n++;
    t->outcome = outcome;
    (void)str_copy(t->text, sizeof(t->text), text);
}

static void reload(struct node *from, const struct node *to, uint64_t limit_ms, struct told *told)
{
    int n = told->n;

    peer_act(from->peer, to->options.id, PEER_RELOAD, limit_ms, on_told, told);
    assert_int_equal(told->n, n); /* Never before returning. */
}

static void an_action_comes_back_with_what_became_of_it(void **state)
{
    struct node n[2];
    struct told told = {0};
    char long_text[2 * PEER_OUTCOME_TEXT];

    (void)state;
    start_two(n);
    reload(&n[0], &n[1], LIVE_MS, &told);
    WAIT_UNTIL(told.n == 1, LIVE_MS);
    assert_int_equal(told.outcome, PEER_REFUSED);
    assert_string_equal(told.text, "pg.yml:3:1: ttl");
    assert_int_equal(n[1].action, PEER_RELOAD);
    assert_string_equal(n[1].action_from, "n0");

    /* What nobody asked, and what is said twice, is nothing; a long text is cut. */
    n[1].is_mute = true;
    memset(long_text, 'x', sizeof(long_text));
    long_text[sizeof(long_text) - 1] = '\0';
    reload(&n[0], &n[1], LIVE_MS, &told);
    WAIT_UNTIL(n[1].n_action == 2, LIVE_MS);
    peer_answer_action(n[1].peer, n[1].token + 1, PEER_BUSY, "nobody asked that");
    peer_answer_action(n[1].peer, n[1].token, PEER_DONE, long_text);
    peer_answer_action(n[1].peer, n[1].token, PEER_BUSY, "said twice");
    WAIT_UNTIL(told.n == 2, LIVE_MS);
    assert_int_equal(told.outcome, PEER_DONE);
    assert_int_equal(strlen(told.text), PEER_OUTCOME_TEXT - 1);
    run_for(50);
    assert_int_equal(told.n, 2);
    node_stop(&n[0]);
    node_stop(&n[1]);
}

static void an_action_without_an_answer_ends_as_unknown(void **state)
{
    struct node n[2];
    struct told late = {0}, broken = {0}, nobody = {0}, ours = {0};
    uint64_t start_ms;

    (void)state;
    start_two(n);
    n[1].is_mute = true;
    start_ms = clock_ms();
    reload(&n[0], &n[1], LIVE_MS, &broken);
    reload(&n[0], &n[1], 300, &late);
    WAIT_UNTIL(late.n == 1, LIVE_MS);
    assert_true(clock_ms() - start_ms >= 290);
    assert_int_equal(late.outcome, PEER_UNKNOWN);
    assert_int_equal(broken.n, 0);
    peer_answer_action(n[1].peer, n[1].token, PEER_DONE, "too late");

    node_stop(&n[1]);
    WAIT_UNTIL(broken.n == 1, LIVE_MS);
    assert_int_equal(broken.outcome, PEER_UNKNOWN);
    WAIT_UNTIL(!peer_is_up(n[0].peer, n[1].options.id), LIVE_MS);
    reload(&n[0], &n[1], LIVE_MS, &nobody);
    WAIT_UNTIL(nobody.n == 1, LIVE_MS);
    assert_int_equal(nobody.outcome, PEER_NOT_SENT);

    node_start(&n[1]); /* We stop while one is under way, and one not even sent. */
    WAIT_UNTIL(are_up(&n[0], &n[1]), LIVE_MS);
    reload(&n[0], &n[1], LIVE_MS, &ours);
    peer_act(n[0].peer, 77, PEER_RELOAD, LIVE_MS, on_told, &nobody);
    node_stop(&n[0]);
    assert_int_equal(ours.n, 1);
    assert_int_equal(ours.outcome, PEER_UNKNOWN);
    assert_int_equal(nobody.n, 2);
    assert_int_equal(late.n, 1);
    node_stop(&n[1]);
}

/* A node that asks and asks does not fill our memory. */
static void so_many_actions_wait_and_no_more(void **state)
{
    struct node n[2];
    struct told told[20] = {{0}};
    int n_busy = 0;

    (void)state;
    start_two(n);
    n[1].is_mute = true;
    for (size_t i = 0; i < ARRAY_LENGTH(told); i++) {
        reload(&n[0], &n[1], LIVE_MS, &told[i]);
    }
    WAIT_UNTIL(told[ARRAY_LENGTH(told) - 1].n == 1, LIVE_MS);
    for (size_t i = 0; i < ARRAY_LENGTH(told); i++) {
        n_busy += told[i].n == 1 && told[i].outcome == PEER_BUSY;
    }
    assert_int_equal(n_busy, 4);
    assert_int_equal(n[1].n_action, 16);
    peer_answer_action(n[1].peer, n[1].token, PEER_DONE, "");
    n[1].is_mute = false;
    reload(&n[0], &n[1], LIVE_MS, &told[0]); /* There is room again. */
    WAIT_UNTIL(told[0].n == 1 && told[0].outcome == PEER_REFUSED, LIVE_MS);
    node_stop(&n[0]);
    node_stop(&n[1]);
}

/* Without a common cluster only hello passes; with it, everything. */
static void before_the_cluster_is_formed_only_hello_passes(void **state)
{
    struct node nodes[2];
    struct status status;
    struct hello hello;

    (void)state;
    mesh(nodes, 2);
    nodes[0].options.cluster_id = 0;
    nodes[1].options.cluster_id = 0;
    node_start(&nodes[0]);
    node_start(&nodes[1]);
    make_hello(&nodes[0], &hello);
    WAIT_UNTIL(are_up(&nodes[0], &nodes[1]), LIVE_MS);
    peer_set_hello(nodes[0].peer, &hello);
    status = make_status(&nodes[0]);
    peer_send_status(nodes[0].peer, &status);
    WAIT_UNTIL(nodes[1].n_hello > 0, LIVE_MS);
    run_for(50);
    assert_int_equal(nodes[1].n_status, 0);

    peer_set_cluster_id(nodes[0].peer, CLUSTER);
    WAIT_UNTIL(are_up(&nodes[0], &nodes[1]), LIVE_MS); /* One side has it: hello still passes. */
    peer_set_cluster_id(nodes[1].peer, CLUSTER);
    assert_false(peer_is_up(nodes[1].peer, nodes[0].options.id));
    WAIT_UNTIL(are_up(&nodes[0], &nodes[1]), LIVE_MS);
    peer_send_status(nodes[0].peer, &status);
    WAIT_UNTIL(nodes[1].n_status > 0, LIVE_MS);
    node_stop(&nodes[0]);
    node_stop(&nodes[1]);
}

/* One link may hold an older hello back for longer than another needs for a newer one:
 * the last word on every link is the newest. Found as a formation that waited for ever. */
static void the_last_hello_on_every_link_is_the_newest(void **state)
{
    struct node nodes[2];
    struct hello hello;
    int n_links;

    (void)state;
    mesh(nodes, 2);
    nodes[0].options.cluster_id = 0;
    nodes[1].options.cluster_id = 0;
    node_start(&nodes[0]);
    make_hello(&nodes[0], &hello);
    peer_set_hello(nodes[0].peer, &hello);
    node_start(&nodes[1]);
    WAIT_UNTIL(nodes[1].n_hello == 2, LIVE_MS); /* Each dialled the other. */
    n_links = nodes[1].n_hello;
    hello.proposed_cluster_id = 5;
    peer_set_hello(nodes[0].peer, &hello);
    WAIT_UNTIL(nodes[1].n_hello == 2 * n_links, LIVE_MS);
    assert_int_equal(nodes[1].hello.proposed_cluster_id, 5);
    node_stop(&nodes[0]);
    node_stop(&nodes[1]);
}

/* The network between two nodes drops everything, without a word, and heals. */
static void a_peer_behind_a_silent_network_is_noticed_and_back_within_2_s(void **state)
{
    static struct proxy to[2];
    struct node n[2];
    uint64_t start_ms;
    uint64_t noticed_ms;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        node_init(&n[i], i, free_port());
        proxy_start(&to[i], port_of(&n[i]));
    }
    node_dials(&n[0], to[1].address);
    node_dials(&n[1], to[0].address);
    node_start(&n[0]);
    node_start(&n[1]);
    WAIT_UNTIL(are_up(&n[0], &n[1]), LIVE_MS);

    for (int round = 0; round < 3; round++) {
        start_ms = clock_ms();
        proxy_set_silent(&to[0], true);
        proxy_set_silent(&to[1], true);
        WAIT_UNTIL(!peer_is_up(n[0].peer, n[1].options.id) &&
                       !peer_is_up(n[1].peer, n[0].options.id),
                   LIVE_MS);
        noticed_ms = clock_ms() - start_ms;
        run_for(1500 + 400 * (uint64_t)round);
        start_ms = clock_ms();
        proxy_set_silent(&to[0], false);
        proxy_set_silent(&to[1], false);
        WAIT_UNTIL(are_up(&n[0], &n[1]), LIVE_MS);
        print_message("silence noticed after %llu ms (limit %d), back %llu ms after it ended\n",
                      (unsigned long long)noticed_ms, TIMEOUT_MS,
                      (unsigned long long)(clock_ms() - start_ms));
    }
    node_stop(&n[0]);
    node_stop(&n[1]);
    proxy_stop(&to[0]);
    proxy_stop(&to[1]);
}

static void a_peer_that_restarts_is_back_at_once(void **state)
{
    struct node nodes[2];
    uint64_t start_ms;

    (void)state;
    start_two(nodes);
    node_stop(&nodes[1]);
    WAIT_UNTIL(nodes[0].n_down == 1, LIVE_MS);
    run_for(1000);

    start_ms = clock_ms();
    node_start(&nodes[1]);
    WAIT_UNTIL(are_up(&nodes[0], &nodes[1]), LIVE_MS);

    print_message("in contact %llu ms after the restart\n",
                  (unsigned long long)(clock_ms() - start_ms));
    assert_int_equal(nodes[0].n_up, 2);
    node_stop(&nodes[0]);
    node_stop(&nodes[1]);
}

/* The machine of n1 dies behind a silent network and boots at once, under a new
 * instance, at the same address: it must not be refused as its own twin for long. */
static void a_node_with_a_new_instance_replaces_its_dead_self(void **state)
{
    static struct proxy proxy;
    struct node n[3];
    uint64_t start_ms;

    (void)state;
    mesh(n, 2);
    n[0].options.n_partners = 0;
    n[0].options.user_timeout_ms = 3000;
    n[1].options.user_timeout_ms = 3000;
    n[1].options.n_partners = 0;
    proxy_start(&proxy, port_of(&n[0]));
    node_dials(&n[1], proxy.address);
    node_start(&n[0]);
    node_start(&n[1]);
    WAIT_UNTIL(are_up(&n[0], &n[1]), LIVE_MS);
    proxy_set_silent(&proxy, true);
    node_init(&n[2], 1, free_port());
    n[2].options.instance = 77;
    node_dials(&n[2], n[0].address);

    start_ms = clock_ms();
    node_start(&n[2]);
    WAIT_UNTIL(peer_is_up(n[2].peer, n[0].options.id), LIVE_MS);

    print_message("replaced its dead self in %llu ms, dead limit 3000\n",
                  (unsigned long long)(clock_ms() - start_ms));
    WAIT_UNTIL(n[0].n_up == 2, LIVE_MS);
    assert_int_equal(n[0].n_down, 1);
    node_stop(&n[2]);
    node_stop(&n[1]);
    node_stop(&n[0]);
    proxy_stop(&proxy);
}

static void partners_by_name_are_found(void **state)
{
    struct node n[2];
    char address[64];

    (void)state;
    node_init(&n[0], 0, free_port());
    node_init(&n[1], 1, free_port());
    (void)snprintf(address, sizeof(address), "localhost:%u", port_of(&n[1]));
    node_dials(&n[0], address);
    node_dials(&n[0], "no-such-host.invalid:7400");
    node_start(&n[0]);
    node_start(&n[1]);

    WAIT_UNTIL(are_up(&n[0], &n[1]), LIVE_MS);

    node_stop(&n[0]);
    node_stop(&n[1]);
}

/* ---- Raft streams -------------------------------------------------------- */

#define STREAM_SIZE ((size_t)10 * 1024 * 1024)

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

static uint8_t stream_byte(size_t at, int salt)
{
    return (uint8_t)((at * 2654435761u + (size_t)salt) >> 13);
}

struct way { /* One direction of a stream. */
    int from, to;
    int salt;
    size_t sent, received;
};

static void push(struct way *w)
{
    uint8_t bytes[8192];
    size_t n = MIN(sizeof(bytes), STREAM_SIZE - w->sent);
    ssize_t r;

    for (size_t i = 0; i < n; i++) {
        bytes[i] = stream_byte(w->sent + i, w->salt);
    }
    r = n > 0 ? send(w->from, bytes, n, 0) : 0;
    w->sent += r > 0 ? (size_t)r : 0;
}

static void pull(struct way *w, size_t limit)
{
    uint8_t bytes[16384];
    ssize_t r = recv(w->to, bytes, MIN(sizeof(bytes), limit), 0);

    for (ssize_t i = 0; i < r; i++) {
        assert_int_equal(bytes[i], stream_byte(w->received + (size_t)i, w->salt));
    }
    w->received += r > 0 ? (size_t)r : 0;
}

static struct wish open_raft(struct node *a, struct node *b)
{
    struct wish w = {0};

    peer_connect_raft(a->peer, b->options.id, on_raft, &w);
    assert_int_equal(w.n, 0);
    WAIT_UNTIL(w.n == 1 && b->n_raft > 0, LIVE_MS);
    assert_true(w.fd >= 0);
    return w;
}

/* Through a proxy that keeps what passes. The reader of one side sleeps for a
 * while: what is under way must stay bounded, and nothing may be lost. */
static void a_raft_stream_carries_10_mib_both_ways_and_waits_for_a_slow_reader(void **state)
{
    static struct proxy proxy;
    static const char secret_text[] = "testscope-visible";
    struct node n[2];
    struct wish w;
    struct way there;
    struct way back;
    size_t n_ahead;

    (void)state;
    node_init(&n[0], 0, free_port());
    node_init(&n[1], 1, free_port());
    n[0].options.user_timeout_ms = 5000;
    n[1].options.user_timeout_ms = 5000;
    proxy_start(&proxy, port_of(&n[1]));
    node_dials(&n[0], proxy.address);
    node_start(&n[0]);
    node_start(&n[1]);
    WAIT_UNTIL(are_up(&n[0], &n[1]), LIVE_MS);
    w = open_raft(&n[0], &n[1]);
    there = (struct way){.from = w.fd, .to = n[1].raft_fd, .salt = 1};
    back = (struct way){.from = n[1].raft_fd, .to = w.fd, .salt = 2};

    for (uint64_t end_ms = clock_ms() + 1500; clock_ms() < end_ms;) {
        push(&there); /* Nobody reads. */
        turn();
    }
    n_ahead = there.sent;
    for (uint64_t end_ms = clock_ms() + LIVE_MS;
         clock_ms() < end_ms &&
         (there.received < STREAM_SIZE - 1 || back.received < STREAM_SIZE - 1);) {
        push(&there);
        push(&back);
        pull(&there, 16384);
        pull(&back, 16384);
        (void)uv_run(loop, UV_RUN_NOWAIT);
    }

    /* The fake check holds the last byte of a piece back. */
    assert_true(there.received >= STREAM_SIZE - 1);
    assert_true(back.received >= STREAM_SIZE - 1);
    print_message("%zu KiB were under way while nobody read\n", n_ahead / 1024);
    assert_true(n_ahead < STREAM_SIZE * 8 / 10); /* Most of it in kernel buffers. */
    assert_true(proxy.n_seen > 100000);
    assert_null(memmem(proxy.seen, proxy.n_seen, secret_text, strlen(secret_text)));
    (void)close(w.fd);
    node_stop(&n[0]);
    node_stop(&n[1]);
    proxy_stop(&proxy);
}

static void the_end_of_a_raft_stream_reaches_the_other_side(void **state)
{
    struct node nodes[2];
    struct wish w;

    (void)state;
    start_two(nodes);
    w = open_raft(&nodes[0], &nodes[1]);
    (void)close(w.fd);
    WAIT_UNTIL(is_ended(nodes[1].raft_fd), LIVE_MS);

    w = open_raft(&nodes[0], &nodes[1]);
    WAIT_UNTIL(nodes[1].n_raft == 2, LIVE_MS);
    (void)close(nodes[1].raft_fd);
    nodes[1].raft_fd = -1;
    WAIT_UNTIL(is_ended(w.fd), LIVE_MS);
    (void)close(w.fd);
    assert_true(are_up(&nodes[0], &nodes[1]));
    node_stop(&nodes[0]);
    node_stop(&nodes[1]);
}

static void what_the_check_refuses_never_reaches_libraft(void **state)
{
    struct node nodes[2];
    struct wish w;
    char byte;
    ssize_t r;

    (void)state;
    start_two(nodes);
    nodes[1].check_refuses = true;
    w = open_raft(&nodes[0], &nodes[1]);

    assert_int_equal(send(w.fd, "poison", 6, 0), 6);

    WAIT_UNTIL((r = recv(nodes[1].raft_fd, &byte, 1, 0)) >= 0, LIVE_MS);
    assert_int_equal(r, 0); /* The end, and nothing before. */
    WAIT_UNTIL(is_ended(w.fd), LIVE_MS);
    WAIT_UNTIL(peer_counters(nodes[1].peer).n_refused > 0, LIVE_MS);
    assert_int_equal(peer_counters(nodes[1].peer).n_refused, 1);
    assert_true(are_up(&nodes[0], &nodes[1]));
    (void)close(w.fd);
    node_stop(&nodes[0]);
    node_stop(&nodes[1]);
}

static void a_raft_connection_to_nobody_is_told_as_such(void **state)
{
    struct node nodes[2];
    struct wish unknown = {0};
    struct wish gone = {0};
    struct wish closing = {0};

    (void)state;
    start_two(nodes);
    peer_connect_raft(nodes[0].peer, 4711, on_raft, &unknown);
    assert_int_equal(unknown.n, 0);
    WAIT_UNTIL(unknown.n == 1, LIVE_MS);
    assert_int_equal(unknown.fd, -1);

    node_stop(&nodes[1]);
    peer_connect_raft(nodes[0].peer, nodes[1].options.id, on_raft, &gone);
    WAIT_UNTIL(gone.n == 1, LIVE_MS);
    assert_int_equal(gone.fd, -1);

    peer_connect_raft(nodes[0].peer, nodes[1].options.id, on_raft, &closing);
    node_stop(&nodes[0]);
    assert_int_equal(closing.n, 1);
    assert_int_equal(closing.fd, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_peers_talk_over_tls),
        cmocka_unit_test(two_peers_talk_in_plain_on_loopback),
        cmocka_unit_test(a_large_proposal_arrives),
        cmocka_unit_test(a_proposal_goes_through_a_node_that_hears_the_leader),
        cmocka_unit_test(a_proposal_without_an_answer_ends_as_unknown),
        cmocka_unit_test(an_action_comes_back_with_what_became_of_it),
        cmocka_unit_test(an_action_without_an_answer_ends_as_unknown),
        cmocka_unit_test(so_many_actions_wait_and_no_more),
        cmocka_unit_test(before_the_cluster_is_formed_only_hello_passes),
        cmocka_unit_test(the_last_hello_on_every_link_is_the_newest),
        cmocka_unit_test(a_peer_behind_a_silent_network_is_noticed_and_back_within_2_s),
        cmocka_unit_test(a_peer_that_restarts_is_back_at_once),
        cmocka_unit_test(a_node_with_a_new_instance_replaces_its_dead_self),
        cmocka_unit_test(partners_by_name_are_found),
        cmocka_unit_test(a_raft_stream_carries_10_mib_both_ways_and_waits_for_a_slow_reader),
        cmocka_unit_test(the_end_of_a_raft_stream_reaches_the_other_side),
        cmocka_unit_test(what_the_check_refuses_never_reaches_libraft),
        cmocka_unit_test(a_raft_connection_to_nobody_is_told_as_such),
    };

    return cmocka_run_group_tests(tests, loop_up, loop_down);
}
