/*
 * See guard_logic.h. The moves between phases:
 *
 *   EMPTY -> OPEN, ARMED           started or adopted
 *   OPEN -> ARMED                  armed with may_write
 *   ARMED -> FREEZING -> FROZEN    what is left is less than a freeze may take
 *   OPEN, ARMED <-> DISARMED       armed with unfenced (pause), and with may_write again
 *   FREEZING, FROZEN -> ARMED      the two ways out: a live lease of the same epoch,
 *   any -> KILLING                 or death
 *   any -> EMPTY                   no process is left
 */
#include "guard/guard_logic.h"

/* Less than that is not worth a wait: it counts as due. Keeps waits, of which each is at
 * most 90 % of the rest, from becoming ever shorter. */
#define DUE_NS     NS_PER_MS
#define INSTANT_NS UINT64_C(1000)

static const char *const phase_names[GUARD_PHASES] = {
    [GUARD_EMPTY] = "empty",       [GUARD_OPEN] = "open",     [GUARD_ARMED] = "armed",
    [GUARD_FREEZING] = "freezing", [GUARD_FROZEN] = "frozen", [GUARD_KILLING] = "killing",
    [GUARD_DISARMED] = "disarmed",
};

static const char *const verdict_names[GUARD_VERDICTS] = {
    [GUARD_ACCEPTED] = "accepted",
    [GUARD_REFUSED_MALFORMED] = "malformed",
    [GUARD_REFUSED_EPOCH] = "lower epoch",
    [GUARD_REFUSED_CLOSED] = "closed epoch",
    [GUARD_REFUSED_INSTANCE] = "other instance",
    [GUARD_REFUSED_FAR] = "further away than ttl",
    [GUARD_REFUSED_OVER] = "over",
    [GUARD_REFUSED_NO_LEASE] = "no lease",
    [GUARD_REFUSED_RUNS] = "runs already",
    [GUARD_REFUSED_KILLING] = "killing",
};

static const char *const why_names[GUARD_WHYS] = {
    [GUARD_WHY_NONE] = "none",           [GUARD_WHY_LATE] = "late",
    [GUARD_WHY_CONTINUED] = "continued", [GUARD_WHY_EPOCH] = "epoch",
    [GUARD_WHY_ORDER] = "order",         [GUARD_WHY_AGE] = "age",
    [GUARD_WHY_SIGNAL] = "signal",       [GUARD_WHY_ORPHANED] = "orphaned",
};

const char *guard_phase_name(enum guard_phase phase)
{
    return (size_t)phase < GUARD_PHASES ? phase_names[phase] : "unknown";
}

const char *guard_verdict_name(enum guard_verdict verdict)
{
    return (size_t)verdict < GUARD_VERDICTS ? verdict_names[verdict] : "unknown";
}

const char *guard_why_name(enum guard_why why)
{
    return (size_t)why < GUARD_WHYS ? why_names[why] : "unknown";
}

/* ---- State ---- */

static bool is_fenced(const struct guard_logic *g)
{
    return g->phase == GUARD_FREEZING || g->phase == GUARD_FROZEN;
}

/* May what runs take writes, or has it been stopped in the middle of one? */
static bool is_writer(const struct guard_logic *g)
{
    return g->phase == GUARD_ARMED || g->phase == GUARD_DISARMED || is_fenced(g);
}

static void check(const struct guard_logic *g)
{
    ASSERT(IMPLIES(g->phase == GUARD_ARMED || is_fenced(g), g->may_write));
    ASSERT(IMPLIES(g->phase == GUARD_OPEN || g->phase == GUARD_DISARMED, !g->may_write));
    ASSERT((g->phase == GUARD_KILLING) == (g->why != GUARD_WHY_NONE));
    ASSERT(g->kill_after_ns > 0);
}

static void move(struct guard_logic *g, enum guard_phase phase, enum guard_why why)
{
    g->phase = phase;
    g->why = why;
    g->acted = false;
    check(g);
}

static void kill_all(struct guard_logic *g, enum guard_why why)
{
    PRE(g->phase != GUARD_EMPTY && why != GUARD_WHY_NONE);
    if (g->phase != GUARD_KILLING) { /* The first reason stays. */
        g->n_kills++;
        move(g, GUARD_KILLING, why);
    }
}

void guard_logic_init(struct guard_logic *g, uint64_t kill_after_ns)
{
    *g = (struct guard_logic){.kill_after_ns = kill_after_ns};
    check(g);
}

uint64_t guard_logic_left_ns(const struct guard_logic *g, struct clock_pair now)
{
    return g->epoch <= g->closed_epoch ? 0 : clock_pair_left_ns(g->deadline, now);
}

/* How long before the deadline a freeze begins. Not more than half a ttl, whatever was
 * seen: it would begin again right after each thaw. */
static uint64_t lead_ns(const struct guard_logic *g)
{
    uint64_t twice = g->freeze_ns_max > UINT64_MAX / 2 ? UINT64_MAX : 2 * g->freeze_ns_max;
    uint64_t least = MAX(GUARD_FREEZE_LEAD_NS, g->ttl_ns / GUARD_FREEZE_LEAD_PART);

    return MAX(least, MIN(twice, g->ttl_ns / 2));
}

/* Until the freeze must begin; 0 = now. */
static uint64_t calm_ns(const struct guard_logic *g, struct clock_pair now)
{
    uint64_t left = guard_logic_left_ns(g, now), lead = lead_ns(g) + DUE_NS;

    return left > lead ? left - lead : 0;
}

/* ---- The agent's word ---- */

static bool is_well_formed(const struct guard_arm *arm)
{
    return arm->epoch != 0 && arm->instance != 0 && arm->ttl_ns >= GUARD_TTL_NS_MIN &&
           arm->ttl_ns <= GUARD_TTL_NS_MAX && !(arm->may_write && arm->unfenced);
}

static bool is_far(const struct guard_arm *arm, struct clock_pair now)
{
    struct clock_pair most = clock_pair_add(now, arm->ttl_ns);

    return arm->deadline.raw_ns > most.raw_ns || arm->deadline.boot_ns > most.boot_ns;
}

/* Another epoch came while this one's writes may be half done: stopped, past the
 * deadline, or without one. Between the two somebody else may have been primary. */
static bool is_overtaken(const struct guard_logic *g, struct clock_pair now,
                         const struct guard_arm *arm)
{
    return is_writer(g) && arm->epoch > g->epoch &&
           (is_fenced(g) || g->phase == GUARD_DISARMED || guard_logic_left_ns(g, now) == 0);
}

static enum guard_verdict judge(const struct guard_logic *g, struct clock_pair now,
                                const struct guard_arm *arm)
{
    if (!is_well_formed(arm)) {
        return GUARD_REFUSED_MALFORMED;
    }
    if (g->instance != 0 && arm->instance != g->instance) {
        return GUARD_REFUSED_INSTANCE;
    }
    if (arm->epoch <= g->closed_epoch) {
        return GUARD_REFUSED_CLOSED;
    }
    if (arm->epoch < g->epoch) {
        return GUARD_REFUSED_EPOCH;
    }
    if (is_far(arm, now)) {
        return GUARD_REFUSED_FAR;
    }
    if (g->phase == GUARD_KILLING || is_overtaken(g, now, arm)) {
        return GUARD_REFUSED_KILLING;
    }
    return clock_pair_left_ns(arm->deadline, now) == 0 ? GUARD_REFUSED_OVER : GUARD_ACCEPTED;
}

/* An older round may be told after a younger one: the deadline does not go back. */
static void accept(struct guard_logic *g, struct clock_pair now, const struct guard_arm *arm)
{
    if (arm->epoch > g->epoch ||
        clock_pair_left_ns(arm->deadline, now) > clock_pair_left_ns(g->deadline, now)) {
        g->deadline = arm->deadline;
    }
    g->instance = arm->instance;
    g->epoch = arm->epoch;
    g->ttl_ns = arm->ttl_ns;
    g->may_write = g->phase == GUARD_EMPTY ? arm->may_write : g->may_write || arm->may_write;
    if (arm->unfenced && (g->phase == GUARD_OPEN || g->phase == GUARD_ARMED)) {
        g->may_write = false;
        move(g, GUARD_DISARMED, GUARD_WHY_NONE); /* What is frozen is thawed first, by this. */
    } else if ((g->phase == GUARD_OPEN || g->phase == GUARD_DISARMED) && g->may_write) {
        move(g, GUARD_ARMED, GUARD_WHY_NONE);
    }
}

enum guard_verdict guard_logic_on_arm(struct guard_logic *g, struct clock_pair now,
                                      const struct guard_arm *arm)
{
    enum guard_verdict verdict = judge(g, now, arm);

    if (verdict == GUARD_ACCEPTED) {
        accept(g, now, arm);
    } else {
        g->n_refused++;
    }
    if (verdict == GUARD_REFUSED_KILLING && arm->epoch > g->epoch) {
        g->epoch = arm->epoch; /* The lower one never comes back. */
        g->deadline = (struct clock_pair){0};
        kill_all(g, GUARD_WHY_EPOCH);
    }
    check(g);
    return verdict;
}

void guard_logic_on_close(struct guard_logic *g, uint64_t epoch)
{
    g->closed_epoch = MAX(g->closed_epoch, epoch);
    if (is_writer(g) && g->epoch <= g->closed_epoch) {
        kill_all(g, GUARD_WHY_EPOCH);
    }
    check(g);
}

enum guard_verdict guard_logic_on_start(struct guard_logic *g, struct clock_pair now,
                                        bool as_primary)
{
    enum guard_verdict verdict = GUARD_ACCEPTED;

    if (g->phase == GUARD_KILLING) {
        verdict = GUARD_REFUSED_KILLING;
    } else if (g->phase != GUARD_EMPTY) {
        verdict = GUARD_REFUSED_RUNS;
    } else if (as_primary && (!g->may_write || calm_ns(g, now) == 0)) {
        verdict = GUARD_REFUSED_NO_LEASE;
    }
    if (verdict != GUARD_ACCEPTED) {
        g->n_refused++;
        return verdict;
    }
    g->may_write = as_primary;
    move(g, as_primary ? GUARD_ARMED : GUARD_OPEN, GUARD_WHY_NONE);
    return verdict;
}

void guard_logic_on_adopt(struct guard_logic *g, bool may_write)
{
    if (g->phase == GUARD_EMPTY || (g->phase == GUARD_OPEN && may_write)) {
        g->may_write = may_write;
        move(g, may_write ? GUARD_ARMED : GUARD_OPEN, GUARD_WHY_NONE);
    }
}

void guard_logic_on_kill(struct guard_logic *g, enum guard_why why)
{
    PRE(why == GUARD_WHY_EPOCH || why == GUARD_WHY_ORDER || why == GUARD_WHY_SIGNAL ||
        why == GUARD_WHY_ORPHANED);
    if (why == GUARD_WHY_EPOCH) {
        g->closed_epoch = MAX(g->closed_epoch, g->epoch);
    }
    if (g->phase != GUARD_EMPTY && (why != GUARD_WHY_SIGNAL || is_fenced(g))) {
        kill_all(g, why);
    }
    check(g);
}

/* ---- PostgreSQL ---- */

void guard_logic_on_gone(struct guard_logic *g)
{
    g->may_write = false;
    g->freeze_began = g->frozen_at = g->frozen_deadline = (struct clock_pair){0};
    move(g, GUARD_EMPTY, GUARD_WHY_NONE);
}

/* Positive as soon as it is past the deadline on one of the clocks. */
static int64_t late_ns(struct clock_pair at, struct clock_pair deadline)
{
    int64_t raw = (int64_t)(at.raw_ns - deadline.raw_ns);
    int64_t boot = (int64_t)(at.boot_ns - deadline.boot_ns);

    return MAX(raw, boot);
}

static void on_all_stopped(struct guard_logic *g, struct clock_pair now)
{
    g->frozen_at = now;
    g->frozen_deadline = g->deadline;
    g->freeze_ns_max = MAX(g->freeze_ns_max, clock_pair_elapsed_ns(g->freeze_began, now));
    if (g->deadline.raw_ns != 0) {
        int64_t late = late_ns(now, g->deadline);

        g->late_ns_max = g->measured ? MAX(g->late_ns_max, late) : late;
        g->measured = true;
    }
    if (guard_logic_left_ns(g, now) == 0) {
        kill_all(g, GUARD_WHY_LATE); /* It ran at the deadline. */
    } else {
        move(g, GUARD_FROZEN, GUARD_WHY_NONE);
    }
}

void guard_logic_on_looked(struct guard_logic *g, struct clock_pair now,
                           const struct guard_look *look)
{
    PRE(look->n_running <= look->n);
    if (g->phase == GUARD_FREEZING && look->n_running == 0) {
        on_all_stopped(g, now);
    } else if (g->phase == GUARD_FROZEN && look->n_running > 0) {
        kill_all(g, GUARD_WHY_CONTINUED);
    }
    if (is_fenced(g)) {
        g->acted_at = now;
    }
    check(g);
}

/* ---- Step ---- */

static uint64_t most_of(uint64_t ns)
{
    return ns - (ns + 9) / 10;
}

/* Asks for `action` once a period; *ret_wake_ns becomes the rest of the period, if that is
 * sooner. */
static enum guard_action once_in(struct guard_logic *g, struct clock_pair now,
                                 enum guard_action action, uint64_t period_ns,
                                 uint64_t *ret_wake_ns)
{
    uint64_t elapsed = g->acted ? clock_pair_elapsed_ns(g->acted_at, now) : UINT64_MAX;

    if (elapsed >= period_ns) {
        g->acted = true;
        g->acted_at = now;
        elapsed = 0;
    } else {
        action = GUARD_DO_NOTHING;
    }
    *ret_wake_ns = MIN(*ret_wake_ns, period_ns - elapsed);
    return action;
}

static enum guard_action step_armed(struct guard_logic *g, struct clock_pair now,
                                    uint64_t *ret_wake_ns)
{
    uint64_t calm = calm_ns(g, now);

    if (calm > 0) {
        *ret_wake_ns = MAX(most_of(calm), INSTANT_NS);
        return GUARD_DO_NOTHING;
    }
    g->n_freezes++;
    g->freeze_began = now;
    move(g, GUARD_FREEZING, GUARD_WHY_NONE);
    *ret_wake_ns = 0;
    return GUARD_DO_FREEZE;
}

static enum guard_action thaw(struct guard_logic *g, uint64_t *ret_wake_ns)
{
    g->n_thaws++;
    move(g, GUARD_ARMED, GUARD_WHY_NONE);
    *ret_wake_ns = 0;
    return GUARD_DO_THAW;
}

static enum guard_action step_killing(struct guard_logic *g, struct clock_pair now,
                                      uint64_t *ret_wake_ns)
{
    return once_in(g, now, GUARD_DO_KILL, GUARD_KILL_AGAIN_NS, ret_wake_ns);
}

static enum guard_action step_freezing(struct guard_logic *g, struct clock_pair now,
                                       uint64_t *ret_wake_ns)
{
    uint64_t left = guard_logic_left_ns(g, now);

    if (calm_ns(g, now) > 0) {
        return thaw(g, ret_wake_ns);
    }
    /* It was asked to stop before that: one look, which also tells how late it was. */
    if (left < INSTANT_NS && g->acted) {
        kill_all(g, GUARD_WHY_LATE);
        return step_killing(g, now, ret_wake_ns);
    }
    *ret_wake_ns = most_of(left);
    return once_in(g, now, GUARD_DO_LOOK, GUARD_LOOK_FREEZING_NS, ret_wake_ns);
}

static enum guard_action step_frozen(struct guard_logic *g, struct clock_pair now,
                                     uint64_t *ret_wake_ns)
{
    uint64_t age = clock_pair_elapsed_ns(g->freeze_began, now);

    if (age >= g->kill_after_ns) {
        kill_all(g, GUARD_WHY_AGE);
        return step_killing(g, now, ret_wake_ns);
    }
    if (calm_ns(g, now) > 0) {
        return thaw(g, ret_wake_ns);
    }
    *ret_wake_ns = MAX(most_of(g->kill_after_ns - age), INSTANT_NS);
    return once_in(g, now, GUARD_DO_LOOK, GUARD_LOOK_FROZEN_NS, ret_wake_ns);
}

enum guard_action guard_logic_step(struct guard_logic *g, struct clock_pair now,
                                   uint64_t *ret_wake_ns)
{
    *ret_wake_ns = UINT64_MAX;
    switch (g->phase) {
    case GUARD_EMPTY:
    case GUARD_OPEN:
    case GUARD_DISARMED:
        return GUARD_DO_NOTHING;
    case GUARD_ARMED:
        return step_armed(g, now, ret_wake_ns);
    case GUARD_FREEZING:
        return step_freezing(g, now, ret_wake_ns);
    case GUARD_FROZEN:
        return step_frozen(g, now, ret_wake_ns);
    case GUARD_KILLING:
        return step_killing(g, now, ret_wake_ns);
    }
    ASSERT(false);
    return GUARD_DO_NOTHING;
}
