/*
 * The guard (src/guard) between the lease, PostgreSQL and the tick.
 *
 * Order that matters (design.md section 5.1): after every counted round the guard is
 * armed, and only what it has confirmed counts as lease; an epoch is closed there before
 * its release is proposed; whoever is about to become a primary is so under a deadline
 * that the guard has confirmed. Agent and guard watch each other: a guard that owes an
 * answer for ttl/6 gets no new rounds, and before the deadline that it confirmed last
 * PostgreSQL is killed here, and the guard too; one that is gone takes PostgreSQL with it
 * in the same turn of the loop.
 *
 * Pause: only a decision that saw the mark in the store (decision.disarm) makes an arm say
 * `unfenced`. A primary that is paused is not killed for want of a guard.
 */
#include <errno.h>
#include <limits.h>
#include <sys/wait.h>

#include "agent/agent_state.h"
#include "base/log.h"
#include "base/str.h"

#define PROGRAM          "veche-guard"
#define PATIENCE_MS      2000 /* At the start, for the first answer. */
#define LOOK_MS          20
#define PING_MS          1000
#define ADOPT_AFTER_MS   200 /* What the guard starts it tells of sooner. */
#define ADOPT_AGAIN_MS   1000
#define REFUSED_AGAIN_MS 50
#define MARGIN_NS_MIN    UINT64_C(100000000)

static struct clock_pair pair_of(struct lease_time t)
{
    return (struct clock_pair){t.raw_ns, t.boot_ns};
}

static void forget_confirmed(struct agent *a)
{
    struct guarding *g = &a->guarding;

    g->confirmed_epoch = 0;
    g->confirmed_deadline = (struct clock_pair){0};
    g->confirmed_write = false;
    g->armed_deadline = (struct clock_pair){0};
    g->armed_write = false;
    g->armed_unfenced = false;
    g->n_unfenced_asked = 0;
}

/* The store showed the mark to this process, or to the one before it that told the guard. */
static bool is_paused(const struct agent *a)
{
    return a->decision.disarm || (a->guarding.phase == GUARD_DISARMED && !a->caught_up);
}

/* ---- Continue (design.md section 5) ---- */

/*
 * What the guard attests goes on: same epoch, same instance, with its deadline, if
 * PostgreSQL runs under it; the voters judge every round as ever. An epoch that was
 * given up was closed there before, and is marked as released in our promise file.
 */
static void continue_lease(struct agent *a, const struct guard_state *s)
{
    const struct guard_logic *l = &s->logic;
    struct lease_time now = agent_lease_now();
    struct agent_kept kept;

    if (l->epoch == 0 || l->epoch <= l->closed_epoch || l->instance != a->runtime.instance ||
        l->phase == GUARD_EMPTY || l->phase == GUARD_KILLING || !l->may_write ||
        !agent_kept_decode(&s->kept, &kept) || kept.node_id != a->identity.id ||
        l->epoch <= a->voter.image.released_epoch || lease_owner_epoch(&a->owner) != 0 ||
        lease_owner_is_settled(&a->owner)) {
        return;
    }
    lease_owner_on_ttl(&a->owner, kept.ttl_ns);
    lease_owner_on_sets(&a->owner, &kept.sets[0], kept.n_sets > 1 ? &kept.sets[1] : NULL);
    lease_owner_continue(&a->owner, now, l->epoch,
                         (struct lease_time){l->deadline.raw_ns, l->deadline.boot_ns}, l->ttl_ns);
    a->continued = true;
    a->guarding.confirmed_epoch = l->epoch;
    a->guarding.confirmed_deadline = l->deadline;
    a->guarding.confirmed_write = true;
    log_info("Going on with the lease of before the restart, as the guard attests. epoch=%llu "
             "left_ms=%llu phase=%s",
             (unsigned long long)l->epoch,
             (unsigned long long)(lease_owner_remaining_ns(&a->owner, now) / NS_PER_MS),
             guard_phase_name(l->phase));
}

/* ---- What the guard says ---- */

static void on_up(void *data, const struct guard_state *s)
{
    struct agent *a = data;

    log_info("The guard is there. pid=%d phase=%s epoch=%llu postmaster=%d freezer=%s "
             "realtime=%d locked_kb=%llu",
             (int)s->guard_pid, guard_phase_name(s->logic.phase),
             (unsigned long long)s->logic.epoch, (int)s->postmaster,
             s->may_freeze ? "cgroup" : "SIGSTOP", s->is_realtime,
             (unsigned long long)s->locked_bytes / 1024);
    if (s->trouble[0] != '\0') {
        log_warning("The guard may not do all it would like to; it works without. trouble=\"%s\"",
                    s->trouble);
    }
    a->guarding.phase = s->logic.phase;
    a->guarding.n_unfenced_asked = 0; /* It reads nothing more of an older connection. */
    a->guarding.confirmed_write = a->guarding.confirmed_write && s->logic.may_write;
    a->guarding.end_asked = false;
    if (agent_guard_unfenced_epoch(a) != 0) {
        a->guarding.fresh_mark = agent_guard_unfenced_epoch(a);
    }
    agent_watch_tell(a);
    continue_lease(a, s);
    agent_mark_dirty(a);
}

static void on_state(void *data, const struct guard_state *s)
{
    struct agent *a = data;
    struct guarding *g = &a->guarding;

    if (s->logic.phase != g->phase) {
        g->phase = s->logic.phase;
        log_info("The guard: %s. epoch=%llu", guard_phase_name(s->logic.phase),
                 (unsigned long long)s->logic.epoch);
    }
    if (s->logic.phase != GUARD_EMPTY) {
        g->replacing = false; /* Something was started before it heard of it: it stays. */
    }
    if (s->logic.phase == GUARD_EMPTY && !s->logic.may_write && g->confirmed_write) {
        g->confirmed_write = false; /* That went with the last process: to be armed anew. */
        g->armed_write = false;
    }
    agent_mark_dirty(a);
}

static void note_margin(struct agent *a, const struct guard_armed *answer)
{
    static const double bounds[GUARD_MARGINS] = VIEW_GUARD_MARGINS;
    struct view_guard *v = &a->guarding.seen;
    double left_s = (double)clock_pair_left_ns(a->guarding.confirmed_deadline, answer->now) / 1e9;

    if (a->guarding.confirmed_epoch != answer->epoch) {
        return; /* The first of an epoch. */
    }
    v->n_margins++;
    v->sum_margins_s += left_s;
    for (size_t i = 0; i < GUARD_MARGINS; i++) {
        v->margins[i] += left_s <= bounds[i] ? 1 : 0;
    }
}

static void on_armed(void *data, const struct guard_arm *asked, const struct guard_armed *answer)
{
    struct agent *a = data;
    struct guarding *g = &a->guarding;

    g->n_unfenced_asked -= asked->unfenced ? MIN(g->n_unfenced_asked, 1) : 0;
    if (answer->verdict != GUARD_ACCEPTED) {
        if (answer->verdict != g->refused) {
            log_warning("The guard does not accept a deadline. epoch=%llu why=\"%s\"",
                        (unsigned long long)asked->epoch, guard_verdict_name(answer->verdict));
        }
        g->refused = answer->verdict;
        g->refused_ms = clock_ms();
        g->armed_deadline = (struct clock_pair){0}; /* Tried again soon. */
        if (answer->verdict == GUARD_REFUSED_CLOSED &&
            asked->epoch == lease_owner_epoch(&a->owner)) {
            agent_lease_give_up(a); /* Taken before the guard could say so. */
        }
        return;
    }
    g->refused = GUARD_ACCEPTED;
    note_margin(a, answer);
    g->confirmed_write = asked->may_write;
    g->confirmed_epoch = answer->epoch;
    g->confirmed_deadline = answer->deadline;
    agent_mark_dirty(a);
}

static void on_ended(void *data, const struct guard_ended *ended)
{
    int status = ended->wait_status; /* -1 = not known. */
    bool exited = status >= 0 && WIFEXITED(status), died = status >= 0 && WIFSIGNALED(status);

    log_info("The postmaster was reaped. pid=%d code=%d signal=%d left=%u", (int)ended->pid,
             exited ? WEXITSTATUS(status) : -1, died ? WTERMSIG(status) : 0, ended->n_left);
    agent_mark_dirty(data);
}

static void on_event(void *data, const struct guard_event *event)
{
    static const enum log_level levels[] = {[GUARD_LEVEL_INFO] = LOG_INFO,
                                            [GUARD_LEVEL_WARNING] = LOG_WARNING,
                                            [GUARD_LEVEL_ERROR] = LOG_ERROR};
    size_t level = (size_t)event->level;
    char at[CLOCK_TEXT_SIZE];

    (void)data;
    log_write(level < ARRAY_LENGTH(levels) ? levels[level] : LOG_ERROR, "Guard: %s at=%s",
              event->text, clock_format_iso(event->wall_us, at, sizeof(at)));
}

/* PostgreSQL is not fenced by anybody now. */
static void on_gone(void *data)
{
    struct agent *a = data;
    struct guarding *g = &a->guarding;
    bool paused = is_paused(a), is_as_told = g->replacing;
    uint32_t n_left;

    g->phase = GUARD_EMPTY;
    g->replacing = false;
    forget_confirmed(a);
    if (a->closing || g->leaving) {
        return;
    }
    agent_mark_dirty(a);
    g->n_lost += is_as_told ? 0 : 1;
    if (paused) {
        log_error("The guard is gone, starting another one. Paused: PostgreSQL is not killed for "
                  "it, but ends with the guard that started it.");
        return;
    }
    n_left = pg_kill_all(a->pg);
    if (is_as_told && n_left == 0) {
        log_info("The guard has ended, as it was told to.");
        return;
    }
    log_error("The guard is gone: killing PostgreSQL, which nobody would stop at its deadline, and "
              "starting another guard. left=%u",
              n_left);
}

/* ---- Arming ---- */

/* What the guard holds as one that may write stays so until it is gone; an agent that has
 * just started does not know yet what runs, and must not think less of it. */
static bool wants_write(const struct agent *a)
{
    const struct guard_client *client = a->guarding.client;
    const struct guard_logic *held = &guard_client_state(client)->logic;

    return a->guarding.op_arms || a->decision.node.may_write ||
           (guard_client_is_up(client) && held->phase != GUARD_EMPTY && held->may_write);
}

static bool wants_unfenced(const struct agent *a)
{
    return a->decision.disarm && guard_client_can_disarm(a->guarding.client);
}

static bool is_as_asked(const struct guarding *g, const struct guard_arm *arm)
{
    return g->armed_epoch == arm->epoch && g->armed_write == arm->may_write &&
           g->armed_unfenced == arm->unfenced && g->armed_deadline.raw_ns == arm->deadline.raw_ns &&
           g->armed_deadline.boot_ns == arm->deadline.boot_ns;
}

/* Each refusal is a line in the log. */
static bool waits_after_refusal(const struct guarding *g, uint64_t now_ms)
{
    return g->refused != GUARD_ACCEPTED && now_ms < g->refused_ms + REFUSED_AGAIN_MS;
}

void agent_guard_arm(struct agent *a)
{
    struct guarding *g = &a->guarding;
    struct guard_arm arm = {.epoch = lease_owner_epoch(&a->owner),
                            .instance = a->runtime.instance,
                            .ttl_ns = lease_owner_term_ns(&a->owner),
                            .deadline = pair_of(lease_owner_deadline(&a->owner))};
    struct guard_kept kept;

    if (g->client == NULL) {
        return;
    }
    arm.unfenced = wants_unfenced(a);
    arm.may_write = !arm.unfenced && wants_write(a);
    if (arm.epoch == 0 || arm.deadline.raw_ns == 0 || is_as_asked(g, &arm) ||
        waits_after_refusal(g, clock_ms())) {
        return;
    }
    agent_kept_encode(a, &kept);
    if (guard_client_arm(g->client, &arm, &kept)) {
        g->armed_epoch = arm.epoch;
        g->armed_deadline = arm.deadline;
        g->armed_write = arm.may_write;
        g->armed_unfenced = arm.unfenced;
        g->n_unfenced_asked += arm.unfenced ? 1 : 0;
        g->said_ms = clock_ms();
    }
}

bool agent_guard_has_closed(const struct agent *a, uint64_t epoch)
{
    const struct guarding *g = &a->guarding;

    return g->client != NULL && guard_client_is_up(g->client) &&
           epoch <= guard_client_state(g->client)->logic.closed_epoch;
}

void agent_guard_close_epoch(struct agent *a, uint64_t epoch)
{
    if (a->guarding.client != NULL) {
        (void)guard_client_close_epoch(a->guarding.client, epoch); /* Else it is gone, or dead. */
        forget_confirmed(a);
    }
}

uint64_t agent_guard_confirmed_ns(struct agent *a, struct lease_time now)
{
    const struct guarding *g = &a->guarding;
    uint64_t left_ns = lease_owner_remaining_ns(&a->owner, now);

    if (g->client == NULL || g->confirmed_epoch == 0 ||
        g->confirmed_epoch != lease_owner_epoch(&a->owner)) {
        return 0;
    }
    left_ns = MIN(left_ns, clock_pair_left_ns(g->confirmed_deadline, pair_of(now)));
    return left_ns - MIN(left_ns, GUARD_SECOND_LINE_NS);
}

static bool is_armed_for_primary(struct agent *a)
{
    const struct guarding *g = &a->guarding;
    const struct guard_state *s = guard_client_state(g->client);

    return g->confirmed_write && guard_client_is_up(g->client) &&
           agent_guard_confirmed_ns(a, agent_lease_now()) > 0 &&
           (!a->view.pg.postmaster_alive || s->logic.phase == GUARD_ARMED) &&
           (g->watch.told.mode != GUARD_WATCHDOG_REQUIRED || s->watchdog_is_active);
}

/* pg_guard.arm: also asks for it. */
static int arm_for_primary(void *data, struct err *err)
{
    struct agent *a = data;

    if (!agent_watch_lets(a, err)) {
        return -1;
    }
    a->guarding.op_arms = true;
    agent_guard_arm(a);
    return is_armed_for_primary(a) ? 1 : 0;
}

struct pg_guard agent_guard_for_pg(struct agent *a)
{
    return (struct pg_guard){.launch = agent_guard_launch, .arm = arm_for_primary, .data = a};
}

/* ---- Watching ---- */

/* Found running, started by something else than this guard. Whether it may write the next
 * arm says. */
static void adopt(struct agent *a, uint64_t now_ms)
{
    struct guarding *g = &a->guarding;
    const struct guard_state *s = guard_client_state(g->client);
    pid_t pid = pg_postmaster_pid(a->pg);

    if (pid == 0 || g->launch != NULL || !guard_client_is_up(g->client) ||
        s->logic.phase != GUARD_EMPTY) {
        g->strange_since_ms = 0;
        return;
    }
    if (g->strange_since_ms == 0) {
        g->strange_since_ms = now_ms;
    }
    if (now_ms >= g->strange_since_ms + ADOPT_AFTER_MS && now_ms >= g->adopt_again_ms) {
        g->adopt_again_ms = now_ms + ADOPT_AGAIN_MS;
        log_warning("PostgreSQL was not started by the guard: the guard watches it from now on; "
                    "that it ends with the guard holds from its next start on. pid=%d",
                    (int)pid);
        (void)guard_client_adopt(g->client, pid, false); /* Else the next time. */
        (void)guard_client_ping(g->client);
    }
}

static uint64_t limit_ns(const struct agent *a)
{
    return a->dynamic.ttl_ms * NS_PER_MS / 6;
}

/* Is it high time? Without a deadline that it confirmed nothing hurries. */
static bool must_end_guard(struct agent *a, uint64_t silent_ns)
{
    const struct guarding *g = &a->guarding;
    uint64_t left_ns;

    if (g->confirmed_epoch == 0 || !g->confirmed_write) {
        return silent_ns > MAX(a->dynamic.ttl_ms * NS_PER_MS, PATIENCE_MS * NS_PER_MS);
    }
    left_ns = clock_pair_left_ns(g->confirmed_deadline, clock_pair_now());
    return left_ns <= MAX(limit_ns(a), MARGIN_NS_MIN);
}

static void watch(struct agent *a)
{
    struct guarding *g = &a->guarding;
    uint64_t silent_ns = guard_client_silent_ns(g->client, clock_pair_now());
    bool is_silent = silent_ns > limit_ns(a);

    if (is_silent != g->is_silent) {
        g->is_silent = is_silent;
        log_warning(is_silent ? "The guard owes an answer: the lease is not renewed before it "
                                "comes. ms=%llu"
                              : "The guard answers again. ms=%llu",
                    (unsigned long long)(silent_ns / NS_PER_MS));
    }
    if (!is_silent || g->end_asked || is_paused(a) || !must_end_guard(a, silent_ns) ||
        !guard_client_has_process(g->client)) {
        return;
    }
    g->end_asked = true;
    log_error("The guard does not answer: killing PostgreSQL before its deadline, and the guard. "
              "ms=%llu left=%u",
              (unsigned long long)(silent_ns / NS_PER_MS), pg_kill_all(a->pg));
    guard_client_end_guard(g->client);
}

static void ping(struct agent *a, uint64_t now_ms)
{
    struct guarding *g = &a->guarding;

    if (now_ms >= g->said_ms + PING_MS && guard_client_ping(g->client)) {
        g->said_ms = now_ms;
    }
}

/* A guard that was made for another owner is of no use, and one of the version before has
 * done its work (docs/decisions/0010): it goes when nothing runs. */
static void replace_if_useless(struct agent *a)
{
    struct guarding *g = &a->guarding;
    bool is_outdated = guard_client_is_outdated(g->client);

    if ((g->refused != GUARD_REFUSED_INSTANCE && !is_outdated) || g->replacing ||
        g->launch != NULL || is_paused(a) || !guard_client_is_up(g->client) ||
        guard_client_state(g->client)->logic.phase != GUARD_EMPTY) {
        return;
    }
    g->refused = GUARD_ACCEPTED;
    g->replacing = guard_client_leave(g->client); /* Else the next time. */
    log_info("Nothing of PostgreSQL runs: another guard takes the place of one %s.",
             is_outdated ? "of an older version" : "that was made for another owner");
}

/* What is frozen and lost gets no second chance. */
static void follow_decision(struct agent *a)
{
    const struct node_decision *d = &a->decision.node;

    if (a->view.pg.frozen && d->action == ACTION_FENCE && d->kill) {
        (void)guard_client_kill(a->guarding.client,
                                a->stopping_since_ms != 0 ? GUARD_WHY_ORDER : GUARD_WHY_EPOCH);
    }
}

static bool op_makes_primary(const struct agent *a)
{
    return a->view.op.running == ACTION_PROMOTE || a->view.op.running == ACTION_START_PRIMARY ||
           a->view.op.running == ACTION_BOOTSTRAP;
}

uint64_t agent_guard_tick(struct agent *a, uint64_t now_ms)
{
    struct guarding *g = &a->guarding;

    if (g->client == NULL) {
        return UINT64_MAX;
    }
    g->op_arms = g->op_arms && op_makes_primary(a);
    follow_decision(a);
    agent_guard_arm(a);
    adopt(a, now_ms);
    replace_if_useless(a);
    agent_watch_look(a, now_ms);
    watch(a);
    ping(a, now_ms);
    agent_guard_try_launch(a, now_ms);
    if (g->launch != NULL || g->is_silent || g->refused != GUARD_ACCEPTED ||
        !guard_client_is_up(g->client)) {
        return now_ms + LOOK_MS;
    }
    return now_ms + limit_ns(a) / NS_PER_MS; /* Until silence would be too long. */
}

bool agent_guard_lets_renew(const struct agent *a)
{
    return a->guarding.client == NULL || !a->guarding.is_silent;
}

/* ---- What is seen of it ---- */

/* Certainly: it says so, and nothing on its way says otherwise. */
bool agent_guard_is_armed(const struct agent *a)
{
    const struct guarding *g = &a->guarding;
    enum guard_phase phase;

    if (g->client == NULL || !guard_client_is_up(g->client) || g->n_unfenced_asked > 0) {
        return false;
    }
    phase = guard_client_state(g->client)->logic.phase;
    return phase == GUARD_ARMED || phase == GUARD_FREEZING || phase == GUARD_FROZEN;
}

/*
 * What was proposed to take a mark back may be applied late. So only a mark counts that was
 * made here and now: not one of before this process, unless the guard was disarmed by it.
 */
void agent_guard_on_mark(struct agent *a, bool was_unfenced)
{
    const struct store_primary *p = &a->store.primary;

    if (!a->caught_up) {
        return; /* The past is told again: what the guard attests stands. */
    }
    if (!p->unfenced) {
        a->guarding.fresh_mark = 0;
    } else if (!was_unfenced) {
        a->guarding.fresh_mark = p->epoch;
    }
}

void agent_guard_on_propose(struct agent *a, const struct command *c)
{
    if (c->kind == COMMAND_EPOCH_UNFENCED && !c->epoch_unfenced.unfenced) {
        a->guarding.fresh_mark = 0;
    }
}

uint64_t agent_guard_unfenced_epoch(const struct agent *a)
{
    const struct guarding *g = &a->guarding;
    const struct guard_logic *l;

    if (g->client == NULL) {
        return 0;
    }
    l = &guard_client_state(g->client)->logic;
    return g->phase == GUARD_DISARMED && l->instance == a->runtime.instance ? l->epoch : 0;
}

void agent_guard_fill(struct agent *a, struct view *view)
{
    struct guarding *g = &a->guarding;
    const struct guard_state *s;

    if (g->client == NULL) {
        return;
    }
    s = guard_client_state(g->client);
    view->guard = g->seen;
    view->guard.is_up = guard_client_is_up(g->client);
    view->guard.n_lost = g->n_lost;
    view->guard.is_disarmed = s->logic.phase == GUARD_DISARMED;
    view->guard.is_whole = view->guard.is_up && s->postmaster != 0 && !s->adopted;
    view->guard.freezes_by_cgroup = s->may_freeze;
    view->guard.is_realtime = s->is_realtime;
    view->guard.watchdog_is_active = s->watchdog_is_active;
    view->guard.locked_bytes = s->locked_bytes;
    view->guard.n_freezes = s->logic.n_freezes;
    view->guard.n_thaws = s->logic.n_thaws;
    view->guard.n_kills = s->logic.n_kills;
    view->guard.measured = s->logic.measured;
    view->guard.late_ns_max = s->logic.late_ns_max;
    (void)str_copy(view->guard.phase, sizeof(view->guard.phase), guard_phase_name(s->logic.phase));
    (void)str_copy(view->guard.trouble, sizeof(view->guard.trouble),
                   view->guard.is_up ? s->trouble : guard_client_problem(g->client));
    view->pg.frozen =
        view->guard.is_up && (s->logic.phase == GUARD_FREEZING || s->logic.phase == GUARD_FROZEN);
}

/* ---- Life ---- */

/* Beside this program; in a build directory it is in the folder of its sources. */
static void program_path(char *path, size_t size)
{
    char self[PATH_MAX - sizeof("/guard/" PROGRAM)];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;

    self[MAX(n, 0)] = '\0';
    slash = strrchr(self, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    (void)snprintf(path, size, "%s/" PROGRAM, self);
    if (access(path, X_OK) != 0) {
        (void)snprintf(path, size, "%s/guard/" PROGRAM, self);
    }
}

void agent_guard_open(struct agent *a)
{
    const struct conf *c = a->conf;
    char program[PATH_MAX], data_dir[PATH_MAX];
    struct guard_client_options o = {
        .loop = &a->loop,
        .directory = c->runtime_dir,
        .program = program,
        .name = c->name,
        .data_dir = data_dir,
        .kill_after_ns = c->guard_kill_after_ms * NS_PER_MS,
        .node_id = a->identity.id,
        .hooks = {on_up, on_state, on_armed, on_ended, on_event, on_gone},
        .data = a,
    };

    if (c->mode == CONF_MODE_WITNESS) {
        return;
    }
    program_path(program, sizeof(program));
    if (realpath(c->pg_data_dir, data_dir) == NULL) {
        (void)str_copy(data_dir, sizeof(data_dir), c->pg_data_dir); /* Checked by conf. */
    }
    (void)agent_watch_configure(a, c);
    a->guarding.client = guard_client_new(&o); /* Tells it on_up. */
}

bool agent_guard_is_ready(struct agent *a, uint64_t now_ms)
{
    struct guarding *g = &a->guarding;

    if (g->client == NULL) {
        return true;
    }
    guard_client_drain(g->client);
    g->is_ready =
        g->is_ready || guard_client_is_up(g->client) || now_ms >= a->started_ms + PATIENCE_MS;
    return g->is_ready;
}

void agent_guard_close(struct agent *a, void (*cb)(void *data), void *data)
{
    struct guarding *g = &a->guarding;
    struct guard_client *client = g->client;

    if (a->stopping_since_ms != 0 && guard_client_is_up(client) &&
        guard_client_state(client)->logic.phase == GUARD_EMPTY) {
        g->leaving = true;
        (void)guard_client_leave(client); /* It stays then, and the next agent finds it. */
    }
    agent_guard_end_launch(a);
    g->client = NULL;
    guard_client_close(client, cb, data);
}
