/*
 * The agent's side of consensus: requests in flight, the queue to the thread,
 * the callbacks. See consensus.h for what is promised.
 *
 * Requests live here until they are answered; the thread only sees a pointer it
 * hands back. So consensus_free can answer what a hanging thread will not.
 */
#include "consensus/consensus.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "base/codec.h"
#include "base/log.h"
#include "base/str.h"
#include "consensus/workarounds.h"

#define REQUESTS_MAX 256
#define STOP_WAIT_NS (SECONDS(1) * NS_PER_MS)

struct request {
    struct list node; /* In consensus.requests. */
    consensus_propose_cb cb;
    void *data;
};

struct consensus {
    struct consensus_shared *shared;
    struct consensus_hooks hooks;
    struct list requests; /* Not answered yet. */
    size_t n_requests;
    bool threaded;          /* A thread runs, or hangs. */
    struct command command; /* Being decoded or encoded. */
    uint8_t bytes[COMMAND_SIZE_MAX];
};

void consensus_prepare_process(void)
{
    const char *size = getenv("UV_THREADPOOL_SIZE");
    uint64_t n = 0;
    char text[24];

    if (size == NULL || !str_to_u64(size, THREAD_POOL_MIN, 1024, &n)) {
        (void)snprintf(text, sizeof(text), "%d", THREAD_POOL_MIN);
        (void)setenv("UV_THREADPOOL_SIZE", text, 1); /* Fails for lack of memory only. */
    }
    (void)signal(SIGPIPE, SIG_IGN); /* A closed connection is an error code. */
}

static struct consensus_shared *shared_new(const struct consensus_options *options)
{
    struct consensus_shared *s = xmalloc(sizeof(*s));
    int rv = uv_mutex_init(&s->mutex);

    ASSERT(rv == 0);
    rv = uv_cond_init(&s->changed);
    ASSERT(rv == 0);
    queue_init(&s->in);
    queue_init(&s->out);
    s->refs = 1;
    s->directory = xstrdup(options->directory);
    s->copy_directory = options->copy_directory != NULL ? xstrdup(options->copy_directory) : NULL;
    s->id = options->id;
    s->election_timeout_ms = (unsigned)options->election_timeout_ms;
    s->lowest_term = options->lowest_term;
    s->may_be_empty = options->may_be_empty;
    s->without = options->without;
    return s;
}

static void shared_ref(struct consensus_shared *s)
{
    uv_mutex_lock(&s->mutex);
    s->refs++;
    uv_mutex_unlock(&s->mutex);
}

void consensus_shared_unref(struct consensus_shared *s)
{
    unsigned refs;

    uv_mutex_lock(&s->mutex);
    PRE(s->refs > 0);
    refs = --s->refs;
    uv_mutex_unlock(&s->mutex);
    if (refs > 0) {
        return;
    }
    queue_deinit(&s->in);
    queue_deinit(&s->out);
    uv_cond_destroy(&s->changed);
    uv_mutex_destroy(&s->mutex);
    free(s->directory);
    free(s->copy_directory);
    free(s);
}

static void answer(struct consensus *c, struct request *request,
                   const struct propose_result *result)
{
    consensus_propose_cb cb = request->cb;
    void *data = request->data;

    list_remove(&request->node);
    c->n_requests--;
    free(request);
    cb(data, result);
}

static void deliver_commit(struct consensus *c, const struct item *item)
{
    struct err err = {""};
    int rv = command_decode(item->bytes, item->size, &c->command, &err);

    ASSERT(rv == 0); /* The thread decoded and applied it. */
    c->hooks.on_commit(c->hooks.data, item->number, &c->command);
}

/* A thread that failed, or has bootstrapped, ends by itself. */
static void deliver_opened(struct consensus *c, const struct item *item)
{
    bool runs = item->opened == CONSENSUS_OPENED && c->shared->n_first == 0;

    c->threaded = runs;
    c->hooks.on_opened(c->hooks.data, item->opened, item->bytes);
}

static void deliver(struct consensus *c, struct item *item)
{
    switch (item->kind) {
    case ITEM_COMMIT:
        deliver_commit(c, item);
        break;
    case ITEM_RESTORE:
        c->hooks.on_restore(c->hooks.data, item->bytes);
        break;
    case ITEM_RESULT:
        answer(c, item->request, &item->result);
        break;
    case ITEM_CONNECT:
        c->hooks.on_connect(c->hooks.data, item->number, item->id);
        break;
    case ITEM_LEADERSHIP:
        c->hooks.on_leadership(c->hooks.data, &item->leadership);
        break;
    case ITEM_TROUBLE:
        c->hooks.on_disk_trouble(c->hooks.data, item->trouble, item->bytes);
        break;
    case ITEM_OPENED:
        deliver_opened(c, item);
        break;
    case ITEM_PROPOSE:
    case ITEM_BARRIER:
    case ITEM_TRANSFER:
    case ITEM_ACCEPT:
    case ITEM_CONNECTED:
    case ITEM_ADD:
    case ITEM_REMOVE:
    case ITEM_STOP:
        PRE(false); /* Goes the other way. */
        break;
    }
}

static void on_items(uv_async_t *async)
{
    struct consensus *c = async->data;
    struct list items;

    list_init(&items);
    queue_take(&c->shared->out, &items);
    while (!list_is_empty(&items)) {
        struct item *item = CONTAINER_OF(items.next, struct item, node);

        list_remove(&item->node);
        deliver(c, item);
        item_free(item);
    }
}

struct consensus *consensus_new(const struct consensus_options *options)
{
    struct consensus *c = xmalloc(sizeof(*c));

    PRE(options->id != 0);
    PRE(options->election_timeout_ms >= 10 && options->election_timeout_ms <= MINUTES(1));
    c->shared = shared_new(options);
    c->hooks = options->hooks;
    list_init(&c->requests);
    queue_open(&c->shared->out, options->loop, on_items, c);
    return c;
}

/* The metadata file: format, version, term, vote; 0 when it does not hold a term. */
static uint64_t read_term(int directory_fd, const char *name)
{
    uint8_t bytes[32];
    struct decoder d;
    int fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0) {
        return 0;
    }
    n = read(fd, bytes, sizeof(bytes));
    (void)close(fd); /* Was only read. */
    if (n != (ssize_t)sizeof(bytes)) {
        return 0;
    }
    decoder_init(&d, bytes, sizeof(bytes));
    (void)decode_u64(&d); /* Format. */
    (void)decode_u64(&d); /* Version. */
    return decode_u64(&d);
}

static bool is_raft_state(int directory_fd, const char *name)
{
    if (str_equal(name, "metadata1") || str_equal(name, "metadata2")) {
        return read_term(directory_fd, name) > 0;
    }
    return str_starts_with(name, "snapshot-") || str_starts_with(name, "open-") ||
           (strlen(name) == 33 && name[16] == '-'); /* <first>-<last>, 16 digits each. */
}

int consensus_directory_state(const char *directory, bool *ret_has_state, struct err *err)
{
    DIR *dir = opendir(directory);
    struct dirent *entry;
    bool found = false;
    int error;

    if (dir == NULL && errno == ENOENT) {
        *ret_has_state = false;
        return 0;
    }
    if (dir == NULL) {
        return err_set_errno(err, errno, "cannot open %s", directory);
    }
    errno = 0;
    while (!found && (entry = readdir(dir)) != NULL) {
        found = is_raft_state(dirfd(dir), entry->d_name);
        errno = 0;
    }
    error = errno;
    (void)closedir(dir); /* Was only read. */
    if (error != 0) {
        return err_set_errno(err, error, "cannot read %s", directory);
    }
    *ret_has_state = found;
    return 0;
}

/* The thread takes no signals: the agent's loop does. */
static void spawn(struct consensus *c)
{
    struct consensus_shared *s = c->shared;
    struct consensus_thread *t = consensus_thread_new(s);
    pthread_t thread;
    sigset_t all;
    sigset_t old;
    int rv;

    PRE(!c->threaded);
    s->ended = false;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old); /* Fails on a wrong argument only. */
    shared_ref(s);
    rv = pthread_create(&thread, NULL, consensus_thread_main, t);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rv != 0) {
        struct err err = {""};

        (void)err_set_errno(&err, rv, "cannot make the consensus thread"); /* Told below. */
        consensus_thread_free(t);
        consensus_shared_unref(s);
        consensus_push_opened(s, CONSENSUS_UNUSABLE, &err);
        return;
    }
    c->threaded = true;
    (void)pthread_detach(thread); /* Its end is seen through shared.ended. */
}

void consensus_bootstrap(struct consensus *c, const node_id *ids, size_t n)
{
    PRE(n >= 1 && n <= VOTERS_MAX);
    c->shared->n_first = n;
    memcpy(c->shared->first, ids, n * sizeof(ids[0]));
    spawn(c);
}

void consensus_start(struct consensus *c)
{
    c->shared->n_first = 0;
    spawn(c);
}

static struct request *request_new(struct consensus *c, consensus_propose_cb cb, void *data)
{
    struct request *request = xmalloc(sizeof(*request));

    request->cb = cb;
    request->data = data;
    list_push_back(&c->requests, &request->node);
    c->n_requests++;
    return request;
}

/* Answers from the loop, as everybody is promised. */
static void answer_later(struct consensus *c, struct request *request,
                         const struct propose_result *result)
{
    struct item *item = item_new(ITEM_RESULT);
    bool pushed;

    item->request = request;
    item->result = *result;
    pushed = queue_push(&c->shared->out, item);
    PRE(pushed); /* A callback of consensus_free must not ask again. */
}

/* Takes over item. */
static void submit(struct consensus *c, struct item *item, consensus_propose_cb cb, void *data)
{
    struct request *request = request_new(c, cb, data);
    struct propose_result refused = {.status = PROPOSE_NOT_LEADER};

    item->request = request;
    if (c->n_requests > REQUESTS_MAX) {
        item_free(item);
        refused.status = PROPOSE_BUSY;
        answer_later(c, request, &refused);
    } else if (!queue_push(&c->shared->in, item)) {
        answer_later(c, request, &refused);
    }
}

static void submit_bytes(struct consensus *c, const void *bytes, size_t size,
                         consensus_propose_cb cb, void *data)
{
    struct item *item = item_new(ITEM_PROPOSE);

    item->bytes = xmalloc(size);
    memcpy(item->bytes, bytes, size);
    item->size = size;
    submit(c, item, cb, data);
}

static void refuse_value(struct consensus *c, const struct err *err, consensus_propose_cb cb,
                         void *data)
{
    struct propose_result refused = {.status = PROPOSE_DONE, .result = APPLY_REFUSED_VALUE};

    log_warning("A command that is not fit for the log was refused. error=\"%s\"", err->text);
    answer_later(c, request_new(c, cb, data), &refused);
}

void consensus_propose(struct consensus *c, const struct command *command, consensus_propose_cb cb,
                       void *data)
{
    struct err err = {""};
    int size = command_encode(command, c->bytes, sizeof(c->bytes), &err);

    if (size < 0) {
        refuse_value(c, &err, cb, data);
    } else {
        submit_bytes(c, c->bytes, (size_t)size, cb, data);
    }
}

/* What is in the log must be applied by everybody: garbage in it would stop the
 * whole cluster, so nothing gets in that can not be decoded here. */
void consensus_propose_bytes(struct consensus *c, const void *bytes, size_t size,
                             consensus_propose_cb cb, void *data)
{
    struct err err = {""};

    if (size > COMMAND_SIZE_MAX || command_decode(bytes, size, &c->command, &err) != 0) {
        refuse_value(c, &err, cb, data);
    } else {
        submit_bytes(c, bytes, size, cb, data);
    }
}

void consensus_barrier(struct consensus *c, consensus_propose_cb cb, void *data)
{
    submit(c, item_new(ITEM_BARRIER), cb, data);
}

static void submit_change(struct consensus *c, enum item_kind kind, node_id id,
                          consensus_propose_cb cb, void *data)
{
    struct item *item = item_new(kind);

    item->id = id;
    submit(c, item, cb, data);
}

void consensus_leadership_now(const struct consensus *c, struct consensus_leadership *ret)
{
    queue_leadership(&c->shared->out, ret);
}

void consensus_transfer(struct consensus *c, node_id to)
{
    struct item *item = item_new(ITEM_TRANSFER);

    item->id = to;
    (void)queue_push(&c->shared->in, item); /* Not running: nothing to hand over. */
}

void consensus_accept(struct consensus *c, node_id from, int fd)
{
    struct item *item = item_new(ITEM_ACCEPT);

    item->id = from;
    item->fd = fd;
    (void)queue_push(&c->shared->in, item); /* Not running: fd is closed, the peer tries again. */
}

void consensus_connected(struct consensus *c, uint64_t request, int fd)
{
    struct item *item = item_new(ITEM_CONNECTED);

    item->number = request;
    item->fd = fd;
    (void)queue_push(&c->shared->in, item); /* As above. */
}

void consensus_add_voter(struct consensus *c, node_id id, consensus_propose_cb cb, void *data)
{
    submit_change(c, ITEM_ADD, id, cb, data);
}

void consensus_remove_voter(struct consensus *c, node_id id, consensus_propose_cb cb, void *data)
{
    submit_change(c, ITEM_REMOVE, id, cb, data);
}

/* A thread that waits for a frozen disk is left behind; it never touches the
 * agent again, because both queues are closed. */
static void stop_thread(struct consensus_shared *s)
{
    uv_mutex_lock(&s->mutex);
    s->stopping = true;
    uv_mutex_unlock(&s->mutex);
    (void)queue_push(&s->in, item_new(ITEM_STOP)); /* Closed: it ends, or sees `stopping`. */
    uv_mutex_lock(&s->mutex);
    while (!s->ended && uv_cond_timedwait(&s->changed, &s->mutex, STOP_WAIT_NS) == 0) {
    }
    if (!s->ended) {
        log_warning("The consensus thread hangs in its disk, leaving it behind. directory=%s",
                    s->directory);
    }
    uv_mutex_unlock(&s->mutex);
}

static void on_out_closed(uv_handle_t *handle)
{
    struct consensus_queue *q = CONTAINER_OF((uv_async_t *)handle, struct consensus_queue, async);

    consensus_shared_unref(CONTAINER_OF(q, struct consensus_shared, out));
}

void consensus_free(struct consensus *c)
{
    struct propose_result unknown = {.status = PROPOSE_UNKNOWN};

    if (c == NULL) {
        return;
    }
    if (c->threaded) {
        stop_thread(c->shared);
    }
    queue_close(&c->shared->out, on_out_closed);
    while (!list_is_empty(&c->requests)) {
        answer(c, CONTAINER_OF(c->requests.next, struct request, node), &unknown);
    }
    free(c);
}
