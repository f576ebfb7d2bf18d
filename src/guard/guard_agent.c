/*
 * What the agent asks, and what it is told.
 */
#include <errno.h>

#include "base/str.h"
#include "guard/guard_internal.h"

/* ---- Telling ---- */

struct guard_header guard_agent_header(enum guard_kind kind, size_t size, uint32_t sequence)
{
    return (struct guard_header){.magic = VECHE_GUARD_MAGIC,
                                 .version = VECHE_GUARD_VERSION,
                                 .kind = (uint16_t)kind,
                                 .size = (uint32_t)size,
                                 .sequence = sequence};
}

void guard_agent_tell(struct guard *g, const void *packet, size_t size, int fd)
{
    struct guard_peer *agent = g->channel.agent;

    if (agent == NULL || guard_channel_send(agent, packet, size, fd) || errno == EPIPE ||
        errno == ECONNRESET) {
        return; /* It has hung up: what it said before is still to be read. */
    }
    guard_channel_close(&g->channel, agent);
    guard_log(g, GUARD_LEVEL_WARNING,
              "The agent does not read what it is told, it may connect again. pid=%d",
              (int)agent->pid);
}

void guard_agent_tell_state(struct guard *g, uint32_t sequence)
{
    struct guard_state state = {
        .header = guard_agent_header(GUARD_STATE, sizeof(state), sequence),
        .guard_pid = (int32_t)getpid(),
        .logic = g->logic,
        .now = clock_pair_now(),
        .postmaster = (int32_t)g->postmaster.pid,
        .adopted = g->postmaster.adopted,
        .may_freeze = g->cgroup.is_usable,
        .is_realtime = g->privileges.is_realtime,
        .is_locked = g->privileges.is_locked,
        .locked_bytes = g->privileges.locked_bytes,
        .watchdog_is_active = g->watchdog.is_active,
        .kept = g->kept,
    };

    if (g->postmaster.pid != 0) {
        state.may_freeze = g->fence.has_cgroup;
    }
    (void)snprintf(state.watchdog_problem, sizeof(state.watchdog_problem), "%.127s",
                   g->watchdog.problem.text);
    (void)snprintf(state.trouble, sizeof(state.trouble), "%.100s%s%.150s", g->watchdog.problem.text,
                   g->watchdog.problem.text[0] != '\0' && g->trouble[0] != '\0' ? "; " : "",
                   g->trouble);
    guard_agent_tell(g, &state, sizeof(state), -1);
}

void guard_agent_tell_events(struct guard *g)
{
    const struct guard_event *event;

    if (g->channel.agent == NULL) {
        return;
    }
    if (guard_channel_all_read(g->channel.agent)) {
        guard_events_all_read(&g->events);
    }
    while (g->channel.agent != NULL && (event = guard_events_next(&g->events)) != NULL) {
        guard_events_sent(&g->events);
        guard_agent_tell(g, event, sizeof(*event), -1);
    }
}

/* ---- Asked ---- */

static void on_hello(struct guard *g, struct guard_peer *peer)
{
    const struct guard_hello *hello = &g->received.packet.hello;
    bool is_new = g->channel.agent != peer;

    g->logic.kill_after_ns = hello->kill_after_ns;
    g->node_id = hello->node_id;
    (void)str_copy(g->data_dir, sizeof(g->data_dir), hello->data_dir); /* As long. */
    guard_channel_set_agent(&g->channel, peer);
    if (is_new) {
        guard_events_new_agent(&g->events);
    }
    guard_agent_tell_state(g, hello->header.sequence);
    if (is_new && g->postmaster.pid != 0) {
        guard_log(g, GUARD_LEVEL_INFO, "An agent took over. pid=%d phase=%s epoch=%llu",
                  (int)peer->pid, guard_phase_name(g->logic.phase),
                  (unsigned long long)g->logic.epoch);
    }
}

static void on_arm(struct guard *g)
{
    const struct guard_arm_message *m = &g->received.packet.arm;
    struct clock_pair now = clock_pair_now();
    struct guard_armed armed = {
        .header = guard_agent_header(GUARD_ARMED_AS, sizeof(armed), m->header.sequence)};

    armed.verdict = guard_logic_on_arm(&g->logic, now, &m->arm);
    if (armed.verdict == GUARD_ACCEPTED) {
        g->kept = m->kept;
    } else {
        guard_log(g, GUARD_LEVEL_WARNING,
                  "A deadline was refused. why=\"%s\" epoch=%llu armed_epoch=%llu phase=%s",
                  guard_verdict_name(armed.verdict), (unsigned long long)m->arm.epoch,
                  (unsigned long long)g->logic.epoch, guard_phase_name(g->logic.phase));
    }
    armed.epoch = g->logic.epoch;
    armed.deadline = g->logic.deadline;
    armed.now = now;
    guard_agent_tell(g, &armed, sizeof(armed), -1);
}

static void refuse_start(struct guard *g, uint32_t sequence, enum guard_verdict verdict)
{
    struct guard_started started = {
        .header = guard_agent_header(GUARD_STARTED, sizeof(started), sequence),
        .verdict = verdict,
    };

    guard_log(g, GUARD_LEVEL_WARNING, "PostgreSQL is not started. why=\"%s\" phase=%s",
              guard_verdict_name(verdict), guard_phase_name(g->logic.phase));
    guard_agent_tell(g, &started, sizeof(started), -1);
}

static void on_start(struct guard *g)
{
    const struct guard_start *m = &g->received.packet.start;
    struct guard_child child = {.texts = &g->texts,
                                .uid = m->uid,
                                .gid = m->gid,
                                .null_fd = g->null_fd,
                                .output_fd = g->received.fds[0],
                                .cwd_fd = g->received.fds[1]};
    enum guard_verdict verdict = GUARD_REFUSED_MALFORMED;

    if (child.output_fd >= 0 && child.cwd_fd >= 0) {
        /* The one before may be between its end and the pipe's. */
        verdict = g->starting.exec_fd >= 0
                      ? GUARD_REFUSED_RUNS
                      : guard_logic_on_start(&g->logic, clock_pair_now(), m->as_primary);
    }
    if (verdict != GUARD_ACCEPTED) {
        refuse_start(g, m->header.sequence, verdict);
        return;
    }
    guard_packet_texts(&g->received.packet, &g->texts);
    guard_postgres_start(g, m->header.sequence, &child);
}

static void on_adopt(struct guard *g)
{
    const struct guard_adopt *m = &g->received.packet.adopt;

    if (g->logic.phase != GUARD_KILLING && guard_postgres_adopt(g, m->pid)) {
        guard_logic_on_adopt(&g->logic, m->may_write);
    }
    guard_agent_tell_state(g, m->header.sequence);
}

static void on_kill(struct guard *g)
{
    guard_logic_on_kill(&g->logic, g->received.packet.kill.why);
    if (g->logic.phase == GUARD_EMPTY) {
        guard_agent_tell_state(g, g->received.packet.header.sequence);
    }
}

/* Another device takes the place of an active one at once, if that can be stopped. */
static void on_watch(struct guard *g)
{
    const struct guard_watch *m = &g->received.packet.watch;
    struct guard_watchdog *w = &g->watchdog;
    bool is_other = w->is_testing != m->is_testing || !str_equal(w->path, m->path);

    w->mode = m->mode;
    w->safety_margin_s = m->safety_margin_s;
    w->tried = false;
    w->problem.text[0] = '\0';
    if (is_other) {
        guard_watchdog_end(w, &g->watchdog_device);
    }
    if (is_other && !w->is_active) {
        w->is_testing = m->is_testing;
        (void)str_copy(w->path, sizeof(w->path), m->path); /* As long. */
        g->watchdog_device = guard_watchdog_device(&g->watchdog_fd, w->is_testing);
    }
}

static void on_leave(struct guard *g)
{
    if (g->logic.phase == GUARD_EMPTY) {
        g->leaving = true;
    } else {
        guard_agent_tell_state(g, g->received.packet.header.sequence);
    }
}

static void take(struct guard *g, struct guard_peer *peer)
{
    switch (g->received.packet.header.kind) {
    case GUARD_HELLO:
        on_hello(g, peer);
        return;
    case GUARD_ARM:
        on_arm(g);
        return;
    case GUARD_CLOSE:
        guard_logic_on_close(&g->logic, g->received.packet.close.epoch);
        return;
    case GUARD_START:
        on_start(g);
        return;
    case GUARD_ADOPT:
        on_adopt(g);
        return;
    case GUARD_KILL:
        on_kill(g);
        return;
    case GUARD_WATCH:
        on_watch(g);
        return;
    default:
        on_leave(g);
        return;
    }
}

static void refuse(struct guard *g, struct guard_peer *peer, const char *fault)
{
    struct guard_header version = guard_agent_header(GUARD_STATE, sizeof(version), 0);

    if (guard_packet_is_of_other_version(&g->received.packet, g->received.size) &&
        !guard_channel_send(peer, &version, sizeof(version), -1)) {
        fault = "of another version, and it does not read";
    }
    guard_channel_close(&g->channel, peer);
    guard_log(g, GUARD_LEVEL_WARNING,
              "A packet is not in order, connection closed. pid=%d why=\"%s\"", (int)peer->pid,
              fault);
}

void guard_agent_read(struct guard *g, struct guard_peer *peer)
{
    const char *fault;

    switch (guard_channel_receive(peer, &g->received)) {
    case GUARD_NOTHING_NOW:
        return;
    case GUARD_CLOSED:
        guard_channel_close(&g->channel, peer);
        return;
    case GUARD_RECEIVED:
        break;
    }
    fault = guard_packet_fault(&g->received.packet, g->received.size);
    if (fault == NULL && peer != g->channel.agent &&
        g->received.packet.header.kind != GUARD_HELLO) {
        fault = "no hello came before it";
    }
    if (fault != NULL) {
        refuse(g, peer, fault);
    } else {
        take(g, peer);
    }
    guard_channel_close_fds(&g->received);
}
