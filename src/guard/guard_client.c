/*
 * See guard_client.h. A connection is one uv_poll on the socket and one on the guard's
 * pidfd. States: no connection (the timer tries again) -> hello sent -> up.
 */
#include "guard/guard_client.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "base/log.h"
#include "base/str.h"

#define RETRY_MS       10   /* A spawned guard needs a moment until it listens. */
#define FAULT_MS       1000 /* It is not one we understand: that will hardly change. */
#define SPAWN_AGAIN_MS 1000 /* It ended, or can not be run: not faster than that. */
#define SPAWN_LIMIT_MS 5000 /* It does not listen: killed, for another one. */
#define ARMS_MAX       16   /* Unanswered. */
#define FDS_MAX        2

struct arm_asked {
    uint32_t sequence;
    struct guard_arm arm;
    struct clock_pair sent;
};

struct guard_client {
    struct guard_client_options o; /* Texts are ours. */
    bool closing;
    unsigned n_open; /* Handles. */
    void (*close_cb)(void *data);
    void *close_data;
    uv_timer_t timer; /* Connects, soon. */

    /* The guard. */
    int fd; /* -1 = no connection. */
    uv_poll_t *poll;
    pid_t pid;
    int pidfd; /* -1 = none known. */
    uv_poll_t *pid_poll;
    bool is_up;
    struct clock_pair down_since; /* 0 = up, or closing. */
    uv_process_t *spawned;        /* While one that we spawned lives; NULL = none does. */
    uint64_t spawned_ms;
    uint16_t version; /* Of the protocol that is spoken with it. */
    char problem[GUARD_TEXT_SIZE];
    struct guard_state state;

    /* Questions. */
    uint32_t sequence;
    uint32_t hello_sequence; /* Unanswered; 0 = none. */
    struct clock_pair hello_sent;
    struct arm_asked arms[ARMS_MAX]; /* Oldest first. */
    size_t n_arms;
    uint32_t start_sequence; /* Unanswered; 0 = none. */
    guard_started_cb start_cb;
    void *start_data;
};

static void look_for_guard(struct guard_client *c);

/* ---- Handles ---- */

static void on_closed(uv_handle_t *handle)
{
    struct guard_client *c = handle->data;
    void (*cb)(void *data) = c->close_cb;
    void *data = c->close_data;

    if (handle != (uv_handle_t *)&c->timer) {
        free(handle);
    }
    if (--c->n_open > 0 || !c->closing) {
        return;
    }
    free((char *)(uintptr_t)c->o.directory);
    free((char *)(uintptr_t)c->o.program);
    free((char *)(uintptr_t)c->o.name);
    free((char *)(uintptr_t)c->o.data_dir);
    free(c);
    cb(data);
}

static uv_poll_t *watch(struct guard_client *c, int fd, uv_poll_cb cb)
{
    uv_poll_t *poll = xmalloc(sizeof(*poll));

    ASSERT(uv_poll_init(c->o.loop, poll, fd) == 0);
    ASSERT(uv_poll_start(poll, UV_READABLE, cb) == 0);
    poll->data = c;
    c->n_open++;
    return poll;
}

static void unwatch(uv_poll_t **poll, int *fd)
{
    if (*poll != NULL) {
        uv_close((uv_handle_t *)*poll, on_closed);
        *poll = NULL;
    }
    if (*fd >= 0) {
        (void)close(*fd); /* A socket or a pidfd. */
        *fd = -1;
    }
}

static void on_timer(uv_timer_t *timer)
{
    look_for_guard(timer->data);
}

static void look_again(struct guard_client *c, uint64_t ms)
{
    if (!c->closing) {
        uv_timer_start(&c->timer, on_timer, ms, 0);
    }
}

static void end_start(struct guard_client *c, const struct guard_started *started, int pidfd)
{
    guard_started_cb cb = c->start_cb;

    c->start_cb = NULL;
    c->start_sequence = 0;
    if (cb != NULL) {
        cb(c->start_data, started, pidfd);
    } else if (pidfd >= 0) {
        (void)close(pidfd); /* Nobody asked. */
    }
}

/* The connection ends; the guard, and what we know of it, may live on. */
static void disconnect(struct guard_client *c)
{
    if (c->fd < 0) {
        return;
    }
    unwatch(&c->poll, &c->fd);
    c->is_up = false;
    c->n_arms = 0;
    c->hello_sequence = 0;
    if (c->down_since.raw_ns == 0) {
        c->down_since = clock_pair_now();
    }
    end_start(c, NULL, -1);
    look_again(c, RETRY_MS);
}

/* Nobody of ours is on the other side any more. */
static void on_pidfd(uv_poll_t *poll, int status, int events)
{
    struct guard_client *c = poll->data;

    (void)status;
    (void)events;
    guard_client_drain(c); /* Its last words. */
    unwatch(&c->pid_poll, &c->pidfd);
    c->pid = 0;
    disconnect(c);
    c->o.hooks.on_gone(c->o.data);
}

/* ---- What it says ---- */

static void break_off(struct guard_client *c, const char *why)
{
    log_error("The guard is not understood, connecting anew. pid=%d why=\"%s\"", (int)c->pid, why);
    disconnect(c);
    look_again(c, FAULT_MS);
}

static void take_state(struct guard_client *c, const struct guard_state *s)
{
    bool is_first = !c->is_up;

    c->state = *s;
    c->state.trouble[sizeof(c->state.trouble) - 1] = '\0';
    if (s->header.sequence == c->hello_sequence) {
        c->hello_sequence = 0;
    }
    c->is_up = true;
    c->down_since = (struct clock_pair){0};
    c->problem[0] = '\0';
    if (is_first) {
        c->o.hooks.on_up(c->o.data, &c->state);
    } else {
        c->o.hooks.on_state(c->o.data, &c->state);
    }
}

/* Answers come in the order of the questions: older ones are not answered any more. */
static void take_armed(struct guard_client *c, const struct guard_armed *answer)
{
    for (size_t i = 0; i < c->n_arms; i++) {
        if (c->arms[i].sequence == answer->header.sequence) {
            struct guard_arm asked = c->arms[i].arm;

            c->n_arms -= i + 1;
            memmove(c->arms, &c->arms[i + 1], c->n_arms * sizeof(c->arms[0]));
            c->o.hooks.on_armed(c->o.data, &asked, answer);
            return;
        }
    }
}

static void take_event(struct guard_client *c, const struct guard_event *event)
{
    struct guard_event copy = *event;

    copy.text[sizeof(copy.text) - 1] = '\0';
    c->o.hooks.on_event(c->o.data, &copy);
}

static void take_started(struct guard_client *c, const struct guard_started *started, int *pidfd)
{
    struct guard_started copy = *started;

    copy.step[sizeof(copy.step) - 1] = '\0';
    if (started->header.sequence == c->start_sequence) {
        int fd = *pidfd;

        *pidfd = -1;
        end_start(c, &copy, fd);
    }
}

/* A packet, and where it fits into a struct of what may come. */
union packet {
    struct guard_header header;
    struct guard_state state;
    struct guard_armed armed;
    struct guard_started started;
    struct guard_ended ended;
    struct guard_event event;
};

static size_t size_of_kind(uint16_t kind)
{
    switch (kind) {
    case GUARD_STATE:
        return sizeof(struct guard_state);
    case GUARD_ARMED_AS:
        return sizeof(struct guard_armed);
    case GUARD_STARTED:
        return sizeof(struct guard_started);
    case GUARD_ENDED:
        return sizeof(struct guard_ended);
    case GUARD_EVENT:
        return sizeof(struct guard_event);
    default:
        return 0;
    }
}

/* NULL: it is one of ours. Else why not, in text if it takes more than a constant. */
static const char *fault_of(const union packet *p, size_t size, uint16_t version, char *text,
                            size_t text_size)
{
    const struct guard_header *h = &p->header;

    if (size < sizeof(*h) || h->magic != VECHE_GUARD_MAGIC) {
        return "that is no guard of Veche";
    }
    if (h->version != version) { /* A bare header, after our hello. */
        (void)snprintf(text, text_size,
                       "it speaks version %u of the protocol, this agent %d and %d: it is "
                       "replaced, and PostgreSQL below it started anew",
                       h->version, VECHE_GUARD_VERSION, GUARD_VERSION_BEFORE);
        return text;
    }
    return h->size != size || size != size_of_kind(h->kind) ? "a packet has a wrong size" : NULL;
}

/* A guard of before the upgrade (docs/decisions/0010). The packets are the same in both
 * versions; what the older one does not know is not asked of it. */
static bool is_of_version_before(const struct guard_client *c, const union packet *p, size_t size)
{
    return size == sizeof(p->header) && p->header.magic == VECHE_GUARD_MAGIC &&
           p->header.kind == GUARD_STATE && p->header.version == GUARD_VERSION_BEFORE &&
           c->version != GUARD_VERSION_BEFORE;
}

static void speak_version_before(struct guard_client *c)
{
    log_info("The guard is of an older version, going on in its protocol. pid=%d version=%d",
             (int)c->pid, GUARD_VERSION_BEFORE);
    c->version = GUARD_VERSION_BEFORE;
    disconnect(c);
}

static void take(struct guard_client *c, const union packet *p, size_t size, int *pidfd)
{
    char text[GUARD_TEXT_SIZE - 32];
    const char *fault = fault_of(p, size, c->version, text, sizeof(text));

    if (is_of_version_before(c, p, size)) {
        speak_version_before(c);
        return;
    }
    if (fault != NULL) {
        (void)snprintf(c->problem, sizeof(c->problem), "the guard, pid %d: %s", (int)c->pid, fault);
        break_off(c, fault);
        return;
    }
    switch (p->header.kind) {
    case GUARD_STATE:
        take_state(c, &p->state);
        return;
    case GUARD_ARMED_AS:
        take_armed(c, &p->armed);
        return;
    case GUARD_STARTED:
        take_started(c, &p->started, pidfd);
        return;
    case GUARD_ENDED:
        c->o.hooks.on_ended(c->o.data, &p->ended);
        return;
    default:
        take_event(c, &p->event);
        return;
    }
}

/* The first descriptor, others are closed; -1 = none. */
static int take_fds(struct msghdr *m)
{
    int found = -1;

    for (struct cmsghdr *at = CMSG_FIRSTHDR(m); at != NULL; at = CMSG_NXTHDR(m, at)) {
        int fds[FDS_MAX];
        size_t n = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        n = MIN(n, FDS_MAX);
        memcpy(fds, CMSG_DATA(at), n * sizeof(int));
        for (size_t i = 0; i < n; i++) {
            if (found < 0) {
                found = fds[i];
            } else {
                (void)close(fds[i]); /* Not asked for. */
            }
        }
    }
    return found;
}

/* False when nothing is there now, or nobody. */
static bool receive(struct guard_client *c)
{
    static union packet packet; /* Too big for a stack; only the loop's thread is here. */
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control;
    struct iovec part = {&packet, sizeof(packet)};
    struct msghdr m = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(c->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_TRUNC);
    int fd;

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    if (n <= 0) {
        disconnect(c);
        return false;
    }
    fd = take_fds(&m);
    take(c, &packet, (size_t)n, &fd);
    if (fd >= 0) {
        (void)close(fd); /* Nobody took it. */
    }
    return true;
}

void guard_client_drain(struct guard_client *c)
{
    while (c->fd >= 0 && receive(c)) {
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    guard_client_drain(poll->data);
}

/* ---- Asking ---- */

static void fill_header(struct guard_client *c, struct guard_header *h, enum guard_kind kind,
                        size_t size)
{
    c->sequence = c->sequence == UINT32_MAX ? 1 : c->sequence + 1;
    *h = (struct guard_header){.magic = VECHE_GUARD_MAGIC,
                               .version = c->version,
                               .kind = (uint16_t)kind,
                               .size = (uint32_t)size,
                               .sequence = c->sequence};
}

static int send_packet(struct guard_client *c, const void *packet, size_t size, const int *fds,
                       size_t n_fds)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control = {.bytes = {0}};
    struct iovec part = {(void *)(uintptr_t)packet, size};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};

    if (n_fds > 0) {
        struct cmsghdr *head = &control.align;

        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(head), fds, n_fds * sizeof(int));
    }
    /* A guard that does not read fills the buffer: it is silent then anyway. */
    return sendmsg(c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size ? 0 : -1;
}

static bool send_plain(struct guard_client *c, const void *packet, size_t size)
{
    return c->is_up && send_packet(c, packet, size, NULL, 0) == 0;
}

static bool say_hello(struct guard_client *c)
{
    struct guard_hello hello = {.kill_after_ns = c->o.kill_after_ns, .node_id = c->o.node_id};

    (void)str_copy(hello.data_dir, sizeof(hello.data_dir), c->o.data_dir); /* Checked by conf. */
    fill_header(c, &hello.header, GUARD_HELLO, sizeof(hello));
    if (c->hello_sequence == 0) { /* Else the older one is what it owes an answer to. */
        c->hello_sent = clock_pair_now();
    }
    c->hello_sequence = hello.header.sequence;
    return send_packet(c, &hello, sizeof(hello), NULL, 0) == 0;
}

bool guard_client_ping(struct guard_client *c)
{
    return c->is_up && c->hello_sequence == 0 && say_hello(c);
}

bool guard_client_arm(struct guard_client *c, const struct guard_arm *arm,
                      const struct guard_kept *kept)
{
    struct guard_arm_message m = {.arm = *arm, .kept = *kept};

    PRE(!arm->unfenced || guard_client_can_disarm(c));
    if (!c->is_up || c->n_arms == ARMS_MAX) {
        return false;
    }
    fill_header(c, &m.header, GUARD_ARM, sizeof(m));
    c->arms[c->n_arms++] = (struct arm_asked){m.header.sequence, *arm, clock_pair_now()};
    return send_plain(c, &m, sizeof(m)); /* Not sent is not answered: it counts as silence. */
}

bool guard_client_close_epoch(struct guard_client *c, uint64_t epoch)
{
    struct guard_close m = {.epoch = epoch};

    fill_header(c, &m.header, GUARD_CLOSE, sizeof(m));
    return send_plain(c, &m, sizeof(m));
}

bool guard_client_adopt(struct guard_client *c, pid_t postmaster, bool may_write)
{
    struct guard_adopt m = {.pid = (int32_t)postmaster, .may_write = may_write};

    fill_header(c, &m.header, GUARD_ADOPT, sizeof(m));
    return send_plain(c, &m, sizeof(m));
}

bool guard_client_kill(struct guard_client *c, enum guard_why why)
{
    struct guard_kill m = {.why = why};

    fill_header(c, &m.header, GUARD_KILL, sizeof(m));
    return send_plain(c, &m, sizeof(m));
}

bool guard_client_watch(struct guard_client *c, const struct guard_watch *watch)
{
    struct guard_watch m = *watch;

    fill_header(c, &m.header, GUARD_WATCH, sizeof(m));
    return send_plain(c, &m, sizeof(m));
}

bool guard_client_leave(struct guard_client *c)
{
    struct guard_header m;

    fill_header(c, &m, GUARD_LEAVE, sizeof(m));
    return send_plain(c, &m, sizeof(m));
}

/* ---- Starting PostgreSQL ---- */

static int add_texts(struct guard_start *m, size_t *used, const char *const *texts, uint32_t *n)
{
    for (; *texts != NULL; texts++) {
        size_t size = strlen(*texts) + 1;

        if (*used + size > GUARD_PACKET_MAX) {
            return -1;
        }
        memcpy((char *)m + *used, *texts, size);
        *used += size;
        ++*n;
    }
    return 0;
}

static int send_start(struct guard_client *c, const struct guard_client_start *start, int cwd_fd,
                      struct err *err)
{
    struct guard_start *m = xmalloc(GUARD_PACKET_MAX);
    const char *const path[] = {start->path, NULL};
    const int fds[FDS_MAX] = {start->output_fd, cwd_fd};
    size_t used = offsetof(struct guard_start, texts);
    int status = -1;

    m->as_primary = start->as_primary;
    m->uid = (uint32_t)geteuid();
    m->gid = (uint32_t)getegid();
    if (add_texts(m, &used, path, &m->n_args) != 0 ||
        add_texts(m, &used, start->argv, &m->n_args) != 0 ||
        add_texts(m, &used, start->env, &m->n_env) != 0) {
        (void)err_set(err, "command line and environment are too long");
    } else {
        fill_header(c, &m->header, GUARD_START, used);
        status = send_packet(c, m, used, fds, FDS_MAX);
        c->start_sequence = m->header.sequence;
        if (status != 0) {
            (void)err_set_errno(err, errno, "the guard can not be asked");
        }
    }
    free(m);
    return status;
}

int guard_client_start(struct guard_client *c, const struct guard_client_start *start,
                       guard_started_cb cb, void *data, struct err *err)
{
    int cwd_fd, status;

    PRE(cb != NULL);
    if (!c->is_up) {
        return err_set(err, "there is no guard%s%s", c->problem[0] != '\0' ? ": " : "", c->problem);
    }
    if (c->start_sequence != 0) {
        return err_set(err, "the guard is already asked to start it");
    }
    cwd_fd = open(start->cwd, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (cwd_fd < 0) {
        return err_set_errno(err, errno, "%s", start->cwd);
    }
    status = send_start(c, start, cwd_fd, err);
    (void)close(cwd_fd); /* The guard has its own. */
    if (status != 0) {
        c->start_sequence = 0;
        return -1;
    }
    c->start_cb = cb;
    c->start_data = data;
    return 0;
}

/* ---- Finding and spawning ---- */

static void on_spawned_exit(uv_process_t *process, int64_t code, int signal_number)
{
    struct guard_client *c = process->data;

    log_warning("A guard that this agent spawned has ended. pid=%d code=%d signal=%d", process->pid,
                (int)code, signal_number);
    uv_close((uv_handle_t *)process, on_closed);
    c->spawned = NULL;
}

/* A session of its own: it outlives us. */
static int spawn(struct guard_client *c)
{
    char *args[] = {(char *)(uintptr_t)c->o.program, (char *)(uintptr_t)c->o.directory,
                    (char *)(uintptr_t)c->o.name, NULL};
    uv_stdio_container_t stdio[] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = STDOUT_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
    };
    uv_process_options_t options = {
        .file = c->o.program,
        .args = args,
        .cwd = "/",
        .flags = UV_PROCESS_DETACHED,
        .stdio = stdio,
        .stdio_count = 3,
        .exit_cb = on_spawned_exit,
    };
    uv_process_t *process = xmalloc(sizeof(*process));
    int rv = uv_spawn(c->o.loop, process, &options);

    process->data = c;
    c->n_open++;
    if (rv != 0) {
        uv_close((uv_handle_t *)process, on_closed);
        return rv;
    }
    log_info("Spawned a guard. pid=%d", process->pid);
    c->spawned = process;
    return 0;
}

static void spawn_unless_just_done(struct guard_client *c)
{
    uint64_t now_ms = clock_ms();
    int rv;

    if (c->spawned != NULL && now_ms >= c->spawned_ms + SPAWN_LIMIT_MS) {
        (void)uv_process_kill(c->spawned, SIGKILL); /* Gone is as good. */
    }
    if (c->o.program == NULL || c->spawned != NULL ||
        (c->spawned_ms != 0 && now_ms < c->spawned_ms + SPAWN_AGAIN_MS)) {
        return;
    }
    c->spawned_ms = now_ms;
    rv = spawn(c);
    if (rv != 0) {
        (void)snprintf(c->problem, sizeof(c->problem), "%.120s can not be run: %s", c->o.program,
                       uv_strerror(rv));
        log_error("The guard can not be started, PostgreSQL will not be either. program=%s why=%s",
                  c->o.program, uv_strerror(rv));
    }
}

/* Who listens there. It may be the guard that we knew. */
static void know_process(struct guard_client *c)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);

    if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.pid == c->pid) {
        return;
    }
    unwatch(&c->pid_poll, &c->pidfd);
    c->pid = peer.pid;
    c->version = VECHE_GUARD_VERSION;
    c->pidfd = (int)syscall(SYS_pidfd_open, peer.pid, 0);
    if (c->pidfd >= 0) {
        c->pid_poll = watch(c, c->pidfd, on_pidfd);
    }
}

static int connect_to_guard(struct guard_client *c)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", c->o.directory,
                     GUARD_SOCKET_NAME);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || n >= (int)sizeof(address.sun_path) ||
        connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        if (fd >= 0) {
            (void)close(fd); /* Never connected. */
        }
        return -1;
    }
    return fd;
}

static void look_for_guard(struct guard_client *c)
{
    if (c->closing || c->fd >= 0) {
        return;
    }
    c->fd = connect_to_guard(c);
    if (c->fd < 0) {
        if (c->pidfd < 0) { /* Else it lives, and is busy. */
            spawn_unless_just_done(c);
        }
        look_again(c, RETRY_MS);
        return;
    }
    c->poll = watch(c, c->fd, on_readable);
    know_process(c);
    if (c->pidfd < 0 || !say_hello(c)) {
        disconnect(c);
    }
}

void guard_client_end_guard(struct guard_client *c)
{
    if (c->pidfd >= 0) {
        (void)syscall(SYS_pidfd_send_signal, c->pidfd, SIGKILL, NULL, 0); /* Gone is as good. */
    }
}

/* ---- Life ---- */

bool guard_client_has_process(const struct guard_client *c)
{
    return c->pidfd >= 0;
}

bool guard_client_is_up(const struct guard_client *c)
{
    return c->is_up;
}

bool guard_client_can_disarm(const struct guard_client *c)
{
    return c->version > GUARD_VERSION_BEFORE;
}

bool guard_client_is_outdated(const struct guard_client *c)
{
    return c->is_up && c->version != VECHE_GUARD_VERSION && c->spawned == NULL;
}

const struct guard_state *guard_client_state(const struct guard_client *c)
{
    return &c->state;
}

const char *guard_client_problem(const struct guard_client *c)
{
    return c->problem;
}

uint64_t guard_client_silent_ns(const struct guard_client *c, struct clock_pair now)
{
    uint64_t silent_ns = 0;

    if (!c->is_up) {
        return clock_pair_elapsed_ns(c->down_since, now);
    }
    if (c->hello_sequence != 0) {
        silent_ns = clock_pair_elapsed_ns(c->hello_sent, now);
    }
    if (c->n_arms > 0) {
        silent_ns = MAX(silent_ns, clock_pair_elapsed_ns(c->arms[0].sent, now));
    }
    return silent_ns;
}

struct guard_client *guard_client_new(const struct guard_client_options *options)
{
    struct guard_client *c = xmalloc(sizeof(*c));

    c->o = *options;
    c->o.directory = xstrdup(options->directory);
    c->o.program = options->program != NULL ? xstrdup(options->program) : NULL;
    c->o.name = xstrdup(options->name);
    c->o.data_dir = xstrdup(options->data_dir);
    c->fd = -1;
    c->pidfd = -1;
    c->version = VECHE_GUARD_VERSION;
    c->down_since = clock_pair_now();
    uv_timer_init(options->loop, &c->timer);
    c->timer.data = c;
    c->n_open = 1;
    look_for_guard(c);
    return c;
}

void guard_client_close(struct guard_client *c, void (*cb)(void *data), void *data)
{
    PRE(!c->closing);
    c->closing = true;
    c->close_cb = cb;
    c->close_data = data;
    disconnect(c);
    unwatch(&c->pid_poll, &c->pidfd);
    if (c->spawned != NULL) {
        uv_close((uv_handle_t *)c->spawned, on_closed); /* It lives on. */
        c->spawned = NULL;
    }
    uv_close((uv_handle_t *)&c->timer, on_closed);
}
