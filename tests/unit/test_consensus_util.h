/*
 * Several struct consensus on one loop, for the tests: each with its own thread
 * and directory, connected by socketpairs that the test can cut.
 */
#ifndef VECHE_TEST_CONSENSUS_UTIL_H
#define VECHE_TEST_CONSENSUS_UTIL_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/str.h"
#include "consensus/consensus.h"
#include "consensus/raft_check.h"
#include "test_child.h"

#define NODES_MAX   4
#define LIVENESS_MS SECONDS(40) /* Generous: the machine may be busy. */
#define ELECTION_MS 150

struct cluster;

struct node {
    struct cluster *cluster;
    struct consensus *consensus; /* NULL while it is down. */
    node_id id;
    char directory[256];
    struct store store;  /* As the agent would hold it. */
    uint64_t last_index; /* Of the last commit or restore. */
    unsigned n_commits;
    unsigned n_restores;
    struct consensus_leadership leadership;
    bool trouble;
    unsigned n_troubles;
    unsigned without;
    uint64_t lowest_term;
    bool has_state; /* An empty directory is a loss. */
    bool opened;    /* on_opened came. */
    enum consensus_opened how_opened;
    char problem[512];
    unsigned n_unreached; /* Connections it asked for in vain. */
};

struct link { /* A connection from one node to another, pumped and checked. */
    struct list node;
    struct cluster *cluster;
    size_t from;
    size_t to;
    uv_pipe_t in;  /* Bytes of the connecting node. */
    uv_pipe_t out; /* To the accepting node. */
    unsigned n_open;
    bool closing;
    struct raft_check check;
    struct strbuf held; /* Not passed yet. */
    uint8_t header[RAFT_CHECK_HEADER_MAX + 16];
};

struct cluster {
    uv_loop_t loop;
    uv_timer_t timer; /* Wakes up waiters. */
    char root[200];
    size_t n;
    struct node nodes[NODES_MAX];
    bool cut[NODES_MAX][NODES_MAX]; /* from, to */
    struct list links;              /* Of struct link. */
    uint64_t n_checked;             /* Bytes that went through. */
};

struct answer {
    bool arrived;
    struct propose_result result;
};

static inline void util_on_answer(void *data, const struct propose_result *result)
{
    struct answer *a = data;

    assert_false(a->arrived); /* Exactly once. */
    a->arrived = true;
    a->result = *result;
}

static inline void util_on_commit(void *data, uint64_t index, const struct command *c)
{
    struct node *n = data;
    unsigned changes = 0;

    assert_true(index > n->last_index);
    n->last_index = index;
    n->n_commits++;
    (void)store_apply(&n->store, index, c, &changes);
}

static inline void util_on_restore(void *data, const struct store *s)
{
    struct node *n = data;

    n->store = *s;
    n->last_index = s->applied_index;
    n->n_restores++;
}

static inline void util_on_leadership(void *data, const struct consensus_leadership *l)
{
    struct node *n = data;

    n->leadership = *l;
}

static inline void util_on_trouble(void *data, bool trouble, const char *what)
{
    struct node *n = data;

    assert_non_null(what);
    n->trouble = trouble;
    n->n_troubles++;
}

static inline void util_on_opened(void *data, enum consensus_opened result, const char *problem)
{
    struct node *n = data;

    assert_false(n->opened);
    assert_int_equal(result == CONSENSUS_OPENED, problem[0] == '\0');
    n->opened = true;
    n->how_opened = result;
    (void)snprintf(n->problem, sizeof(n->problem), "%s", problem);
}

static inline struct node *util_find(struct cluster *k, node_id id)
{
    for (size_t i = 0; i < k->n; i++) {
        if (k->nodes[i].id == id) {
            return &k->nodes[i];
        }
    }
    return NULL;
}

static inline void util_on_link_closed(uv_handle_t *handle)
{
    struct link *l = handle->data;

    if (--l->n_open == 0) {
        strbuf_deinit(&l->held);
        free(l);
    }
}

static inline void util_close_link(struct link *l)
{
    if (!l->closing) {
        l->closing = true;
        list_remove(&l->node);
        uv_close((uv_handle_t *)&l->in, util_on_link_closed);
        uv_close((uv_handle_t *)&l->out, util_on_link_closed);
    }
}

static inline void util_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static char bytes[65536]; /* Read callbacks come one at a time. */

    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(bytes, sizeof(bytes));
}

static inline void util_on_written(uv_write_t *write, int status)
{
    struct link *l = write->handle->data;

    free(write);
    if (status != 0) {
        util_close_link(l);
    }
}

static inline void util_pass(struct link *l, size_t size)
{
    uv_write_t *write = xmalloc(sizeof(*write) + size);
    uv_buf_t buf = uv_buf_init((char *)(write + 1), (unsigned)size);

    memcpy(buf.base, l->held.data, size);
    memmove(l->held.data, l->held.data + size, l->held.length - size);
    l->held.length -= size;
    l->cluster->n_checked += size;
    assert_int_equal(uv_write(write, (uv_stream_t *)&l->out, &buf, 1, util_on_written), 0);
}

static inline void util_on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct link *l = stream->data;
    uint64_t passed = 0;
    struct err err = {""};

    if (n < 0 || stream == (uv_stream_t *)&l->out) {
        util_close_link(l);
    } else if (n > 0) {
        if (raft_check_feed(&l->check, buf->base, (size_t)n, &passed, &err) != 0) {
            fail_msg("real traffic was refused: %s", err.text);
        }
        strbuf_add(&l->held, buf->base, (size_t)n);
        if (passed > 0) {
            util_pass(l, (size_t)passed);
        }
    }
}

static inline void util_open_pipe(struct link *l, uv_pipe_t *pipe, int fd)
{
    assert_int_equal(uv_pipe_init(&l->cluster->loop, pipe, 0), 0);
    pipe->data = l;
    l->n_open++;
    assert_int_equal(uv_pipe_open(pipe, fd), 0);
    assert_int_equal(uv_read_start((uv_stream_t *)pipe, util_on_alloc, util_on_read), 0);
}

static inline void util_on_connect(void *data, uint64_t request, node_id to)
{
    struct node *from = data;
    struct cluster *k = from->cluster;
    struct node *target = util_find(k, to);
    size_t f = (size_t)(from - k->nodes);
    struct link *l;
    int fds[2];

    if (target == NULL || target->consensus == NULL || k->cut[f][target - k->nodes]) {
        from->n_unreached++;
        consensus_connected(from->consensus, request, -1);
        return;
    }
    l = xmalloc(sizeof(*l));
    l->cluster = k;
    l->from = f;
    l->to = (size_t)(target - k->nodes);
    raft_check_init(&l->check, l->header);
    list_push_back(&k->links, &l->node);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    util_open_pipe(l, &l->in, fds[0]);
    consensus_connected(from->consensus, request, fds[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    util_open_pipe(l, &l->out, fds[0]);
    consensus_accept(target->consensus, from->id, fds[1]);
}

/* Closes what is open between the two; a cut link stays closed. */
static inline void util_break_links(struct cluster *k, size_t from, size_t to)
{
    for (struct list *it = k->links.next, *next; it != &k->links; it = next) {
        struct link *l = CONTAINER_OF(it, struct link, node);

        next = it->next;
        if (l->from == from && l->to == to) {
            util_close_link(l);
        }
    }
}

static inline void util_cut_link(struct cluster *k, size_t from, size_t to)
{
    k->cut[from][to] = true;
    util_break_links(k, from, to);
}

static inline void util_isolate(struct cluster *k, size_t i, bool cut)
{
    for (size_t j = 0; j < k->n; j++) {
        if (cut) {
            util_cut_link(k, i, j);
            util_cut_link(k, j, i);
        } else {
            k->cut[i][j] = false;
            k->cut[j][i] = false;
        }
    }
}

static inline struct consensus *util_new(struct node *n)
{
    struct consensus_options options = {
        .loop = &n->cluster->loop,
        .directory = n->directory,
        .id = n->id,
        .election_timeout_ms = ELECTION_MS,
        .lowest_term = n->lowest_term,
        .may_be_empty = !n->has_state,
        .without = n->without,
        .hooks = {.data = n,
                  .on_opened = util_on_opened,
                  .on_commit = util_on_commit,
                  .on_restore = util_on_restore,
                  .on_leadership = util_on_leadership,
                  .on_connect = util_on_connect,
                  .on_disk_trouble = util_on_trouble},
    };

    return consensus_new(&options);
}

/* Runs the loop until `condition` holds; fails the test if it never does. */
#define UTIL_WAIT(k, condition)                          \
    do {                                                 \
        uint64_t util_end_ms = clock_ms() + LIVENESS_MS; \
        while (!(condition)) {                           \
            if (clock_ms() > util_end_ms) {              \
                fail_msg("never: %s", #condition);       \
            }                                            \
            (void)uv_run(&(k)->loop, UV_RUN_ONCE);       \
        }                                                \
    } while (0)

/* Tries once; the node has a struct consensus. */
static inline enum consensus_opened util_open(struct node *n)
{
    n->opened = false;
    consensus_start(n->consensus);
    UTIL_WAIT(n->cluster, n->opened);
    return n->how_opened;
}

static inline void util_start_node(struct node *n)
{
    store_init(&n->store);
    n->last_index = 0;
    n->n_commits = 0;
    n->n_restores = 0;
    n->leadership = (struct consensus_leadership){0};
    n->consensus = util_new(n);
    if (util_open(n) != CONSENSUS_OPENED) {
        fail_msg("%s", n->problem);
    }
}

static inline void util_stop_node(struct node *n)
{
    struct cluster *k = n->cluster;

    consensus_free(n->consensus);
    n->consensus = NULL;
    n->leadership = (struct consensus_leadership){0};
    for (size_t j = 0; j < k->n; j++) {
        util_break_links(k, (size_t)(n - k->nodes), j);
        util_break_links(k, j, (size_t)(n - k->nodes));
    }
}

static inline void util_on_timer(uv_timer_t *timer)
{
    (void)timer; /* uv_run returns; that is all. */
}

/* Ids as random as real ones. */
static inline node_id util_id(size_t i)
{
    return UINT64_C(0x9e3779b97f4a7c15) * (i + 1);
}

static inline void util_init(struct cluster *k, size_t n, const char *root)
{
    memset(k, 0, sizeof(*k));
    list_init(&k->links);
    (void)snprintf(k->root, sizeof(k->root), "%s", root);
    assert_int_equal(uv_loop_init(&k->loop), 0);
    assert_int_equal(uv_timer_init(&k->loop, &k->timer), 0);
    assert_int_equal(uv_timer_start(&k->timer, util_on_timer, 10, 10), 0);
    k->n = n;
    for (size_t i = 0; i < n; i++) {
        struct node *node = &k->nodes[i];

        node->cluster = k;
        node->id = util_id(i);
        (void)snprintf(node->directory, sizeof(node->directory), "%s/n%zu", k->root, i);
        (void)mkdir(node->directory, 0700);
    }
}

static inline int util_compare_ids(const void *a, const void *b)
{
    node_id x = *(const node_id *)a;
    node_id y = *(const node_id *)b;

    return x < y ? -1 : x > y;
}

/* Bootstraps the first `n_voters` nodes as the only members. */
static inline void util_bootstrap(struct cluster *k, size_t n_voters)
{
    node_id ids[NODES_MAX];

    for (size_t i = 0; i < n_voters; i++) {
        ids[i] = k->nodes[i].id;
    }
    qsort(ids, n_voters, sizeof(ids[0]), util_compare_ids);
    for (size_t i = 0; i < n_voters; i++) {
        struct node *n = &k->nodes[i];
        struct consensus *c = util_new(n);

        n->opened = false;
        consensus_bootstrap(c, ids, n_voters);
        UTIL_WAIT(k, n->opened);
        if (n->how_opened != CONSENSUS_OPENED) {
            fail_msg("%s", n->problem);
        }
        consensus_free(c);
        n->has_state = true;
    }
}

static inline void util_deinit(struct cluster *k)
{
    for (size_t i = 0; i < k->n; i++) {
        util_stop_node(&k->nodes[i]);
    }
    uv_close((uv_handle_t *)&k->timer, NULL);
    assert_int_equal(uv_run(&k->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&k->loop), 0);
}

static inline void util_run_ms(struct cluster *k, uint64_t ms)
{
    uint64_t end_ms = clock_ms() + ms;

    while (clock_ms() < end_ms) {
        (void)uv_run(&k->loop, UV_RUN_ONCE);
    }
}

/* The leader that knows a majority follows: of the highest term. */
static inline struct node *util_leader(struct cluster *k)
{
    struct node *best = NULL;

    for (size_t i = 0; i < k->n; i++) {
        struct node *n = &k->nodes[i];

        if (n->consensus != NULL && n->leadership.is_leader &&
            (best == NULL || n->leadership.term > best->leadership.term)) {
            best = n;
        }
    }
    return best;
}

static inline struct propose_result util_propose_on(struct node *n, const struct command *c)
{
    struct answer answer = {0};

    consensus_propose(n->consensus, c, util_on_answer, &answer);
    assert_false(answer.arrived); /* Never before returning. */
    UTIL_WAIT(n->cluster, answer.arrived);
    return answer.result;
}

/* Proposes until it is done: leadership may move meanwhile. */
static inline struct propose_result util_propose(struct cluster *k, const struct command *c)
{
    uint64_t end_ms = clock_ms() + LIVENESS_MS;

    for (;;) {
        struct propose_result r;

        UTIL_WAIT(k, util_leader(k) != NULL);
        r = util_propose_on(util_leader(k), c);
        if (r.status == PROPOSE_DONE) {
            return r;
        }
        assert_true(clock_ms() < end_ms);
        util_run_ms(k, 20);
    }
}

static inline struct command *util_command(enum command_kind kind)
{
    struct command *c = xmalloc(sizeof(*c));

    c->kind = kind;
    return c;
}

static inline void util_create(struct cluster *k)
{
    struct command *c = util_command(COMMAND_CLUSTER_CREATE);
    struct propose_result r;

    c->cluster_create.cluster_id = 4711;
    (void)snprintf(c->cluster_create.scope, sizeof(c->cluster_create.scope), "test");
    r = util_propose(k, c);
    assert_true(r.result == APPLY_DONE || r.result == APPLY_UNCHANGED);
    free(c);
}

/* A ledger entry of its own, with a text whose length changes with number. */
static inline void util_fill_note(struct command *c, unsigned number)
{
    struct command_ledger_add *l = &c->ledger_add;
    size_t length = number % 23;

    memset(l, 0, sizeof(*l));
    l->time_us = number;
    (void)snprintf(l->node, sizeof(l->node), "pg1");
    (void)snprintf(l->rule, sizeof(l->rule), "rule-%u", number);
    (void)snprintf(l->result, sizeof(l->result), "refused");
    (void)snprintf(l->evidence, sizeof(l->evidence), "%u %.*s", number, (int)length,
                   "abcdefghijklmnopqrstuvwxyz");
}

/* Writes notes [from, to), some at a time. */
static inline void util_write_notes(struct cluster *k, unsigned from, unsigned to)
{
    struct command *c = util_command(COMMAND_LEDGER_ADD);
    struct answer answers[64];

    while (from < to) {
        unsigned n = MIN(to - from, (unsigned)ARRAY_LENGTH(answers));
        struct node *leader;
        bool done = true;

        UTIL_WAIT(k, util_leader(k) != NULL);
        leader = util_leader(k);
        memset(answers, 0, sizeof(answers));
        for (unsigned i = 0; i < n; i++) {
            util_fill_note(c, from + i);
            consensus_propose(leader->consensus, c, util_on_answer, &answers[i]);
        }
        for (unsigned i = 0; i < n; i++) {
            UTIL_WAIT(k, answers[i].arrived);
            done = done && answers[i].result.status == PROPOSE_DONE;
        }
        if (done) {
            from += n;
        } else {
            util_run_ms(k, 20);
        }
    }
    free(c);
}

static inline bool util_all_at(struct cluster *k, uint64_t index)
{
    for (size_t i = 0; i < k->n; i++) {
        if (k->nodes[i].consensus != NULL && k->nodes[i].last_index < index) {
            return false;
        }
    }
    return true;
}

/* Every running node has applied what the leader has. */
static inline void util_wait_same(struct cluster *k)
{
    struct answer answer;

    do {
        memset(&answer, 0, sizeof(answer));
        UTIL_WAIT(k, util_leader(k) != NULL);
        consensus_barrier(util_leader(k)->consensus, util_on_answer, &answer);
        UTIL_WAIT(k, answer.arrived);
    } while (answer.result.status != PROPOSE_DONE);
    UTIL_WAIT(k, util_all_at(k, answer.result.index));
}

static inline uint64_t util_directory_size(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    uint64_t sum = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        struct stat st;

        if (fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 && S_ISREG(st.st_mode)) {
            sum += (uint64_t)st.st_blocks * 512;
        }
    }
    (void)closedir(dir);
    return sum;
}

/* A running cluster of n with a cluster record, in a directory of its own. */
static inline void util_start(struct cluster *k, size_t n)
{
    char root[200];

    new_place(root, sizeof(root), "consensus");
    util_init(k, n, root);
    util_bootstrap(k, n);
    for (size_t i = 0; i < n; i++) {
        util_start_node(&k->nodes[i]);
    }
    util_create(k);
}

static inline void util_finish(struct cluster *k)
{
    util_deinit(k);
    remove_all(k->root);
}

#endif
