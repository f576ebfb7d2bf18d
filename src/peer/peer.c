/*
 * The public functions, and the start and end of it all; see peer.h and, for
 * what is where, peer_internal.h.
 */
#include "peer/peer.h"

#include <errno.h>
#include <netinet/in.h>

#include "peer/peer_internal.h"
#include "peer/peer_message.h"

#define BACKLOG    64
#define RESOLVE_MS 2000 /* For a bind address that is a name. */

/* ---- Start --------------------------------------------------------------- */

/* Without a secret nothing may leave this machine, nor come from elsewhere. */
static int check_loopback(const struct peer *p, const struct peer_address *bind_address,
                          const struct peer_address *self, struct err *err)
{
    const struct peer_address *wrong = NULL;

    for (size_t i = p->n_partners; i > 0; i--) {
        if (!address_is_loopback(&p->partners[i - 1].address)) {
            wrong = &p->partners[i - 1].address;
        }
    }
    wrong = address_is_loopback(self) ? wrong : self;
    wrong = address_is_loopback(bind_address) ? wrong : bind_address;
    if (wrong == NULL) {
        return 0;
    }
    return err_set(
        err,
        "without raft.password or raft.tls only loopback addresses are allowed, and \"%s\" is "
        "none",
        wrong->text);
}

static int bind_to(const struct sockaddr_storage *address, int *ret_fd)
{
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    int off = 0;
    int r = 0;

    if (fd < 0) {
        return -errno;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        (address->ss_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0) ||
        bind(fd, (const struct sockaddr *)address, sockaddr_length(address)) < 0 ||
        listen(fd, BACKLOG) < 0) {
        r = -errno;
        (void)close(fd); /* Never used. */
        return r;
    }
    *ret_fd = fd;
    return 0;
}

/* "*": both families, or only IPv4 where there is no IPv6. */
static int bind_to_any(uint16_t port, int *ret_fd)
{
    struct sockaddr_storage any = {.ss_family = AF_INET6};
    int r;

    sockaddr_set_port(&any, port);
    r = bind_to(&any, ret_fd);
    if (r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL) {
        any = (struct sockaddr_storage){.ss_family = AF_INET};
        sockaddr_set_port(&any, port);
        r = bind_to(&any, ret_fd);
    }
    return r;
}

/* The socket is bound before any handle exists: a failure leaves nothing behind. */
static int open_listener(struct peer *p, const struct peer_address *address, int *ret_fd,
                         struct err *err)
{
    struct sockaddr_storage to = address->numeric;
    int r;

    if (!address->is_numeric && !address->is_any &&
        resolver_wait(p->resolver, address->host, address->port, RESOLVE_MS, &to, err) < 0) {
        return err_wrap(err, "cannot listen on %s", address->text);
    }
    r = address->is_any ? bind_to_any(address->port, ret_fd) : bind_to(&to, ret_fd);
    if (r < 0) {
        return err_set_listen(err, -r, address->text);
    }
    return 0;
}

static int start_listening(struct peer *p, int fd, struct err *err)
{
    int r = uv_tcp_init(p->loop, &p->listener);

    ASSERT(r == 0);
    p->listener.data = p;
    peer_opened(p);
    r = uv_tcp_open(&p->listener, fd);
    if (r < 0) {
        (void)close(fd); /* Never used. */
    } else {
        r = uv_listen((uv_stream_t *)&p->listener, BACKLOG, peer_on_connection);
    }
    return r == 0 ? 0 : err_set(err, "cannot listen: %s", uv_strerror(r));
}

static void set_preface(struct peer *p, const struct peer_options *options)
{
    struct preface *f = &p->preface;

    PRE(options->id != 0 && name_is_valid(options->name) && name_is_valid(options->scope));
    f->id = options->id;
    f->instance = options->instance;
    f->process = rng_system();
    f->cluster_id = options->cluster_id;
    (void)str_copy(f->scope, sizeof(f->scope), options->scope);      /* Valid: fits. */
    (void)str_copy(f->name, sizeof(f->name), options->name);         /* Valid: fits. */
    (void)str_copy(f->address, sizeof(f->address), p->self_address); /* Same size. */
}

/* What needs no handle but the resolver's. */
static int prepare(struct peer *p, const struct peer_options *options, int *ret_fd, struct err *err)
{
    struct peer_address bind_address;
    struct peer_address self;

    if (address_parse(options->bind_address, &bind_address, err) < 0) {
        return err_wrap(err, "bind");
    }
    if (address_parse(options->self_address, &self, err) < 0) {
        return err_wrap(err, "own");
    }
    (void)str_copy(p->self_address, sizeof(p->self_address), self.text); /* Same size. */
    set_preface(p, options);
    if (dial_init(p, options, err) < 0) {
        return -1;
    }
    if (p->tls == NULL && check_loopback(p, &bind_address, &self, err) < 0) {
        return -1;
    }
    p->resolver = resolver_new(options->loop, err);
    if (p->resolver == NULL) {
        return -1;
    }
    return open_listener(p, &bind_address, ret_fd, err);
}

static void free_memory(struct peer *p)
{
    tls_context_unref(p->tls);
    free(p->partners);
    free(p->settings.wire_buffer);
    free(p->settings.plain_buffer);
    free(p);
}

static void ignore(void *data)
{
    (void)data;
}

static void start(struct peer *p)
{
    int r = uv_timer_init(p->loop, &p->soon_timer);

    ASSERT(r == 0);
    p->soon_timer.data = p;
    peer_opened(p);
    peer_opened(p); /* The resolver. */
    p->settings = (struct link_settings){.loop = p->loop,
                                         .tls = p->tls,
                                         .user_timeout_ms = p->settings.user_timeout_ms,
                                         .events = &peer_link_events,
                                         .wire_buffer = xmalloc(LINK_READ_SIZE),
                                         .plain_buffer = xmalloc(LINK_READ_SIZE)};
    forward_init(p);
    acting_init(p);
    dial_start(p);
}

/* A certificate that is not valid now is no reason not to start: a new one may
 * come by SIGHUP, and meanwhile the node tells what is wrong. */
static void warn_if_not_valid(const struct peer *p)
{
    struct err why;

    if (p->tls != NULL && !credentials_are_valid_now(tls_context_credentials(p->tls), &why)) {
        log_error("No other node will talk to this one. why=\"%s\"", why.text);
    }
}

struct peer *peer_new(const struct peer_options *options, struct err *err)
{
    struct peer *p = xmalloc(sizeof(*p));
    int fd;

    PRE(options->user_timeout_ms > 0);
    PRE(options->hooks.on_raft_stream == NULL || options->hooks.raft_check_new != NULL);
    p->loop = options->loop;
    p->hooks = options->hooks;
    p->tls = options->secrets;
    p->settings.user_timeout_ms = options->user_timeout_ms;
    rng_seed(&p->rng, options->seed);
    list_init(&p->links);
    list_init(&p->soon);
    if (prepare(p, options, &fd, err) < 0) {
        if (p->resolver != NULL) {
            resolver_close(p->resolver, ignore, NULL);
        }
        free_memory(p);
        return NULL;
    }
    warn_if_not_valid(p);
    start(p);
    if (start_listening(p, fd, err) < 0) {
        peer_close(p, ignore, NULL);
        return NULL;
    }
    return p;
}

/* ---- Secrets ------------------------------------------------------------- */

struct tls_context *peer_load_secrets(const struct peer_secrets *secrets, const char *scope,
                                      const char *name, struct err *err)
{
    struct credentials_options o = {.scope = scope,
                                    .name = name,
                                    .password = secrets->password,
                                    .cert = secrets->cert,
                                    .key = secrets->key,
                                    .ca = secrets->ca};

    return tls_context_new(&o, err);
}

int peer_check_secrets(const struct tls_context *c, struct err *err)
{
    return credentials_are_valid_now(tls_context_credentials(c), err) ? 0 : -1;
}

void peer_free_secrets(struct tls_context *c)
{
    tls_context_unref(c);
}

int peer_use_secrets(struct peer *p, struct tls_context *c, bool *ret_changed, struct err *err)
{
    if (p->tls == NULL) {
        return err_set(err, "the agent was started without a secret: restart it to use one");
    }
    if (!credentials_are_valid_now(tls_context_credentials(c), err)) {
        return -1;
    }
    *ret_changed = tls_context_succeed(c, p->tls);
    if (!*ret_changed) {
        tls_context_unref(c);
        return 0;
    }
    tls_context_unref(p->tls); /* Connections of it keep it. */
    p->tls = c;
    p->settings.tls = c;
    for (size_t i = 0; i < p->n_partners; i++) {
        p->partners[i].proof = 0;
    }
    for (size_t i = 0; i < p->n_nodes; i++) {
        p->nodes[i].proof = 0;
    }
    dial_now(p);
    return 0;
}

bool peer_has_secrets(const struct peer *p)
{
    return p->tls != NULL;
}

/* ---- Soon ---------------------------------------------------------------- */

static void run_soon(struct peer *p)
{
    struct list due;

    /* Those that come while these run, come in the next turn. */
    list_init(&due);
    while (!list_is_empty(&p->soon)) {
        struct list *first = p->soon.next;

        list_remove(first);
        list_push_back(&due, first);
    }
    while (!list_is_empty(&due)) {
        struct soon *s = CONTAINER_OF(due.next, struct soon, list);

        list_remove(&s->list);
        s->run(p, s->arg);
        free(s);
    }
}

static void on_soon(uv_timer_t *timer)
{
    run_soon(timer->data);
}

void peer_soon(struct peer *p, void (*run)(struct peer *p, void *arg), void *arg)
{
    struct soon *s = xmalloc(sizeof(*s));
    int r;

    s->run = run;
    s->arg = arg;
    list_push_back(&p->soon, &s->list);
    if (!p->is_closing) {
        r = uv_timer_start(&p->soon_timer, on_soon, 0, 0);
        ASSERT(r == 0);
    }
}

/* ---- Messages ------------------------------------------------------------ */

/* To every node, on its best link. */
static void send_to_all(struct peer *p, enum frame_type type, const uint8_t *payload, size_t size)
{
    for (size_t i = 0; i < p->n_nodes; i++) {
        struct peer_link *link = peer_find_link(p, p->nodes[i].id);

        if (link != NULL && !link->hello_only) {
            link_send(link, type, payload, size);
        }
    }
}

static void send_to(struct peer *p, node_id to, enum frame_type type, const uint8_t *payload,
                    size_t size)
{
    struct peer_link *link = peer_find_link(p, to);

    if (link != NULL && !link->hello_only) {
        link_send(link, type, payload, size);
    }
}

/* On every link, not the best one of each node only: links overtake each other, and the
 * last hello that comes in by any of them must not be one of before. */
void peer_set_hello(struct peer *p, const struct hello *hello)
{
    uint8_t buffer[MESSAGE_SIZE];
    size_t size = message_encode_hello(hello, buffer);

    PRE(hello->id == p->preface.id);
    p->hello = *hello;
    p->has_hello = true;
    LIST_FOREACH (it, &p->links) {
        struct peer_link *link = CONTAINER_OF(it, struct peer_link, list);

        if (link->state == LINK_UP && link->kind == LINK_PEER) {
            link_send(link, FRAME_HELLO, buffer, size);
        }
    }
}

void peer_set_cluster_id(struct peer *p, uint64_t cluster_id)
{
    if (cluster_id == p->preface.cluster_id) {
        return;
    }
    p->preface.cluster_id = cluster_id;
    LIST_FOREACH (it, &p->links) {
        struct peer_link *link = CONTAINER_OF(it, struct peer_link, list);

        link->redial_now = true;
        link_close(link, CAUSE_NONE, "the cluster id changed");
    }
    dial_now(p);
}

bool peer_is_up(const struct peer *p, node_id id)
{
    return peer_find_link(p, id) != NULL;
}

void peer_send_status(struct peer *p, const struct status *status)
{
    uint8_t buffer[MESSAGE_SIZE];

    PRE(status->id == p->preface.id);
    send_to_all(p, FRAME_STATUS, buffer, message_encode_status(status, buffer));
}

void peer_send_renew(struct peer *p, const struct lease_renew *renew)
{
    uint8_t buffer[MESSAGE_SIZE];

    PRE(renew->owner == p->preface.id);
    send_to_all(p, FRAME_RENEW, buffer, message_encode_renew(renew, buffer));
}

void peer_send_grant(struct peer *p, node_id to, const struct lease_grant *grant)
{
    uint8_t buffer[MESSAGE_SIZE];

    PRE(grant->voter == p->preface.id);
    send_to(p, to, FRAME_GRANT, buffer, message_encode_grant(grant, buffer));
}

void peer_ask_positions(struct peer *p, uint64_t epoch)
{
    uint8_t buffer[MESSAGE_SIZE];

    send_to_all(p, FRAME_ASK_POSITIONS, buffer, message_encode_number(epoch, buffer));
}

void peer_answer_positions(struct peer *p, node_id to, const struct positions *positions)
{
    uint8_t buffer[MESSAGE_SIZE];

    send_to(p, to, FRAME_POSITIONS, buffer, message_encode_positions(positions, buffer));
}

/* ---- Raft ---------------------------------------------------------------- */

struct raft_wish { /* Answered by "not reachable". */
    peer_raft_cb cb;
    void *data;
};

static void refuse_raft(struct peer *p, void *arg)
{
    struct raft_wish *wish = arg;

    (void)p;
    wish->cb(wish->data, -1);
    free(wish);
}

void peer_connect_raft(struct peer *p, node_id to, peer_raft_cb cb, void *data)
{
    const struct peer_node *node = peer_find_node(p, to);
    struct sockaddr_storage address;
    struct peer_link *link;
    struct err err;

    PRE(cb != NULL && p->hooks.raft_check_new != NULL);
    if (p->is_closing || p->preface.cluster_id == 0 || !dial_find(p, to, &address)) {
        struct raft_wish *wish = xmalloc(sizeof(*wish));

        *wish = (struct raft_wish){.cb = cb, .data = data};
        peer_soon(p, refuse_raft, wish);
        return;
    }
    link = peer_add_link(p, LINK_RAFT);
    link->expected = to;
    link->proof = node != NULL ? node->proof : 0;
    link->raft_cb = cb;
    link->raft_data = data;
    (void)sockaddr_format(&address, link->where, sizeof(link->where));
    if (link_dial(link, &address, &err) < 0) {
        link_close(link, CAUSE_NONE, "%s", err.text);
    }
}

/* ---- What there is ------------------------------------------------------- */

static void describe(const struct peer *p, node_id id, struct peer_link_info *info)
{
    const struct peer_link *link = peer_find_link(p, id);

    info->id = id;
    info->up = link != NULL;
    info->rtt_us = link != NULL ? link->rtt_us : 0;
}

static bool is_partner(const struct peer *p, node_id id)
{
    for (size_t i = 0; i < p->n_partners; i++) {
        if (p->partners[i].id == id) {
            return true;
        }
    }
    return false;
}

size_t peer_links(const struct peer *p, struct peer_link_info *infos, size_t n_max)
{
    size_t n = 0;

    for (size_t i = 0; i < p->n_partners && n < n_max; i++) {
        const struct partner *partner = &p->partners[i];

        if (partner->is_self) {
            continue;
        }
        infos[n] = (struct peer_link_info){0};
        describe(p, partner->id, &infos[n]);
        (void)str_copy(infos[n].address, sizeof(infos[n].address), partner->address.text);
        (void)str_copy(infos[n].name, sizeof(infos[n].name), partner->name);
        (void)str_copy(infos[n].problem, sizeof(infos[n].problem), partner->problem);
        n++;
    }
    for (size_t i = 0; i < p->n_nodes && n < n_max; i++) {
        const struct peer_node *node = &p->nodes[i];

        if (!is_partner(p, node->id)) {
            infos[n] = (struct peer_link_info){0};
            describe(p, node->id, &infos[n]);
            (void)str_copy(infos[n].address, sizeof(infos[n].address), node->address);
            (void)str_copy(infos[n].name, sizeof(infos[n].name), node->name);
            n++;
        }
    }
    return n;
}

struct peer_counters peer_counters(const struct peer *p)
{
    struct peer_counters c = {.n_refused = p->refusals.n_total,
                              .expires_s =
                                  p->tls != NULL ? tls_context_credentials(p->tls)->expires_s : 0};

    LIST_FOREACH (it, &p->links) {
        const struct peer_link *link = CONTAINER_OF(it, struct peer_link, list);

        c.n_connections++;
        if (!link->dialled && !link->was_up) {
            c.n_strangers++;
        }
    }
    return c;
}

/* ---- End ----------------------------------------------------------------- */

void peer_opened(struct peer *p)
{
    p->n_open++;
}

static void finish(struct peer *p)
{
    void (*cb)(void *data) = p->close_cb;
    void *data = p->close_data;

    run_soon(p); /* Every callback comes once, also now. */
    free_memory(p);
    cb(data);
}

void peer_gone(struct peer *p)
{
    PRE(p->n_open > 0);
    if (--p->n_open == 0) {
        ASSERT(p->is_closing);
        finish(p);
    }
}

void peer_handle_gone(uv_handle_t *handle)
{
    peer_gone(handle->data);
}

static void on_resolver_gone(void *data)
{
    peer_gone(data);
}

void peer_close(struct peer *p, void (*cb)(void *data), void *data)
{
    PRE(!p->is_closing && cb != NULL);
    p->is_closing = true;
    p->close_cb = cb;
    p->close_data = data;
    uv_close((uv_handle_t *)&p->listener, peer_handle_gone);
    uv_close((uv_handle_t *)&p->soon_timer, peer_handle_gone);
    forward_close(p);
    acting_close(p);
    dial_close(p);
    resolver_close(p->resolver, on_resolver_gone, p);
    LIST_FOREACH (it, &p->links) {
        link_close(CONTAINER_OF(it, struct peer_link, list), CAUSE_NONE, "we are closing");
    }
}
