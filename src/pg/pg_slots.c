/*
 * Replication slots: what core/slots.c decides of each is done here, one statement after
 * the other in a session of its own, beside everything else. Logical slots are made in a
 * lane of their own: PostgreSQL waits for every transaction that runs before one begins.
 *
 * What was wanted once by this process is known to be ours, and dropped when it is not
 * wanted any more; what nobody here knows is only reported.
 */
#include <inttypes.h>

#include "base/clock.h"
#include "base/str.h"
#include "core/slots.h"
#include "pg/pg_internal.h"

#define STATEMENT_MS  5000
#define LOGICAL_MS    SECONDS(25)
#define LOGICAL_LIMIT "20s" /* PostgreSQL's own, so that none waits on without us. */
#define RETRY_MS      SECONDS(10)
#define STEP_MS       2000
#define CREEP_MS      SECONDS(60) /* Each is a session more in PostgreSQL's log. */
#define STEPS_MAX     (SLOTS_WANTED_MAX + PG_SLOTS_MAX)

struct step {
    enum slot_action action;
    struct slot_spec spec;
    bool is_member;
    const char *why;
    lsn_t told; /* Logical: what its consumer had, also of another primary; 0 = not known. */
    char *sql;
};

/* Belongs to the statement under way. */
struct pg_slots_run {
    struct pg *pg;
    enum pg_slots_lane lane;
    uint32_t n, at;
    struct step steps[STEPS_MAX];
};

/* ---- The configuration ---- */

static enum slot_type type_of(const char *text)
{
    return str_equal(text, "physical")  ? SLOT_PHYSICAL
           : str_equal(text, "logical") ? SLOT_LOGICAL
                                        : SLOT_ANY;
}

/* "type\tdatabase\tplugin", checked by conf; what is not there is empty. */
static void parse_spec(const char *text, struct slot_spec *spec)
{
    char type[NAME_SIZE];
    char *const fields[] = {type, spec->database, spec->plugin};

    type[0] = '\0';
    for (size_t i = 0; i < ARRAY_LENGTH(fields) && text != NULL; i++) {
        size_t n = strcspn(text, "\t");

        memcpy(fields[i], text, MIN(n, (size_t)NAME_SIZE - 1));
        fields[i][MIN(n, (size_t)NAME_SIZE - 1)] = '\0';
        text += n + (text[n] == '\t');
    }
    spec->type = type_of(type);
}

static uint32_t parse_specs(const struct kv_list *list, struct slot_spec *specs, uint32_t n_max)
{
    uint32_t n = 0;

    for (size_t i = 0; list != NULL && i < list->n && n < n_max; i++) {
        struct slot_spec *s = &specs[n++];

        *s = (struct slot_spec){0};
        (void)str_copy(s->name, sizeof(s->name), list->items[i].key); /* Checked by conf. */
        parse_spec(list->items[i].value, s);
    }
    return n;
}

static void configured(const struct pg *pg, struct slots_conf *conf)
{
    const struct pg_options *o = &pg->opts->o;

    conf->n_permanent = parse_specs(o->slots, conf->permanent, SLOTS_PERMANENT_MAX);
    conf->n_ignored = parse_specs(o->ignore_slots, conf->ignored, SLOTS_IGNORED_MAX);
}

bool pg_slots_has_logical(const struct pg_options *o)
{
    bool found = false;

    for (size_t i = 0; o->use_slots && o->slots != NULL && i < o->slots->n; i++) {
        found = found || strncmp(o->slots->items[i].value, "logical", strlen("logical")) == 0;
    }
    return found;
}

/* ---- What is remembered ---- */

static const struct slot_seen *find_seen(const struct pg *pg, const char *name)
{
    for (uint32_t i = 0; i < pg->row.n_slots; i++) {
        if (str_equal(pg->row.slots[i].spec.name, name)) {
            return &pg->row.slots[i];
        }
    }
    return NULL;
}

static struct pg_known_slot *find_known(struct pg *pg, const char *name)
{
    for (uint32_t i = 0; i < pg->slots.n_known; i++) {
        if (str_equal(pg->slots.known[i].name, name)) {
            return &pg->slots.known[i];
        }
    }
    return NULL;
}

static void remember(struct pg *pg, const struct slot_wanted *wanted)
{
    struct pg_known_slot *known = find_known(pg, wanted->spec.name);

    if (known == NULL && pg->slots.n_known < PG_SLOTS_MAX) {
        known = &pg->slots.known[pg->slots.n_known++];
        *known = (struct pg_known_slot){0};
        (void)str_copy(known->name, sizeof(known->name), wanted->spec.name);
    }
    if (known != NULL) {
        known->type = wanted->spec.type;
        known->told = wanted->lsn != 0 ? wanted->lsn : known->told; /* By the primary. */
    }
}

/* What is neither wanted nor there any more. */
static void forget(struct pg *pg, const struct slots_wanted *wanted)
{
    uint32_t n_left = 0;

    for (uint32_t i = 0; i < pg->slots.n_known; i++) {
        struct pg_known_slot *known = &pg->slots.known[i];

        if (find_seen(pg, known->name) != NULL || slots_find(wanted, known->name) != NULL) {
            pg->slots.known[n_left++] = *known;
        }
    }
    pg->slots.n_known = n_left;
}

/* Each text once; what has been told longest ago is forgotten first. */
static bool is_news(struct pg *pg, const char *name, const char *text)
{
    struct pg_slots *s = &pg->slots;
    uint64_t hash = UINT64_C(14695981039346656037);

    for (const char *at = name; *at != '\0'; at++) {
        hash = (hash ^ (unsigned char)*at) * UINT64_C(1099511628211);
    }
    for (const char *at = text; *at != '\0'; at++) {
        hash = (hash ^ (unsigned char)*at) * UINT64_C(1099511628211);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(s->told); i++) {
        if (s->told[i] == hash) {
            return false;
        }
    }
    s->told[s->n_told++ % ARRAY_LENGTH(s->told)] = hash;
    return true;
}

/* ---- Statements ---- */

/* Safe whatever standard_conforming_strings says. */
static void add_literal(struct strbuf *sql, const char *text)
{
    strbuf_printf(sql, "E'");
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\') {
            strbuf_printf(sql, "%c", *text);
        }
        strbuf_printf(sql, "%c", *text);
    }
    strbuf_printf(sql, "'");
}

static void add_if_idle(struct strbuf *sql, const char *name)
{
    strbuf_printf(sql, " FROM pg_replication_slots WHERE NOT active AND slot_name = ");
    add_literal(sql, name);
}

static void add_if_missing(struct strbuf *sql, const char *name)
{
    strbuf_printf(sql, " WHERE NOT EXISTS (SELECT 1 FROM pg_replication_slots WHERE slot_name = ");
    add_literal(sql, name);
    strbuf_printf(sql, ")");
}

/* What was decided of a standby does not hold once it is promoted. */
static void add_drop(struct strbuf *sql, const struct slot_spec *spec, bool in_recovery)
{
    strbuf_printf(sql, "SELECT pg_drop_replication_slot(slot_name)");
    add_if_idle(sql, spec->name);
    strbuf_printf(sql, " AND pg_is_in_recovery() = %s;", in_recovery ? "true" : "false");
}

static void add_create_physical(struct strbuf *sql, const char *name)
{
    strbuf_printf(sql, "SELECT pg_create_physical_replication_slot(");
    add_literal(sql, name);
    strbuf_printf(sql, ", true)"); /* Reserves WAL from now on. */
    add_if_missing(sql, name);
    strbuf_printf(sql, ";");
}

static void add_create_logical(struct strbuf *sql, const struct slot_spec *spec, uint32_t major)
{
    strbuf_printf(sql, "SET statement_timeout = '" LOGICAL_LIMIT "';"
                       "SELECT pg_create_logical_replication_slot(");
    add_literal(sql, spec->name);
    strbuf_printf(sql, ", ");
    add_literal(sql, spec->plugin);
    /* Neither temporary nor two-phase, but for failover. */
    strbuf_printf(sql, major >= SLOTS_MAJOR_SYNCS ? ", false, false, true)" : ")");
    add_if_missing(sql, spec->name);
    strbuf_printf(sql, " AND NOT pg_is_in_recovery();");
}

static void add_advance(struct strbuf *sql, const char *name, lsn_t to)
{
    char text[LSN_TEXT_SIZE];

    (void)lsn_format(to, text, sizeof(text));
    strbuf_printf(sql, "SELECT pg_replication_slot_advance(slot_name, '%s')", text);
    add_if_idle(sql, name);
    strbuf_printf(sql, " AND restart_lsn < '%s';", text);
}

void pg_slots_sql(const struct slot_spec *spec, const struct slot_decision *d, bool in_recovery,
                  uint32_t major, struct strbuf *sql)
{
    switch (d->action) {
    case SLOT_KEEP:
        break;
    case SLOT_CREATE:
        if (spec->type == SLOT_LOGICAL) {
            add_create_logical(sql, spec, major);
        } else {
            add_create_physical(sql, spec->name);
        }
        break;
    case SLOT_REMAKE:
        add_drop(sql, spec, in_recovery);
        add_create_physical(sql, spec->name);
        break;
    case SLOT_DROP:
        add_drop(sql, spec, in_recovery);
        break;
    case SLOT_ADVANCE:
        add_advance(sql, spec->name, d->to);
        break;
    }
}

/* ---- One after the other ---- */

static void run_step(struct pg_slots_run *run);

static void end_run(struct pg_slots_run *run)
{
    struct pg_slots *s = &run->pg->slots;

    s->runs[run->lane] = NULL;
    s->round = run->pg->round; /* Only a later observation shows what was done. */
    for (uint32_t i = 0; i < run->n; i++) {
        free(run->steps[i].sql);
    }
    free(run);
}

static void say_failed(struct pg_slots_run *run, const struct step *step, const char *problem)
{
    struct pg_slots *s = &run->pg->slots;

    s->again_ms[run->lane] = clock_ms() + RETRY_MS;
    if (is_news(run->pg, step->spec.name, problem)) {
        log_warning("A replication slot could not be dealt with: put right what PostgreSQL says, "
                    "it is tried again every %d s. slot=%s action=%s problem=\"%s\"",
                    (int)(RETRY_MS / 1000), step->spec.name, slot_action_name(step->action),
                    problem);
    }
}

static void say_made_logical(const struct step *step)
{
    char told[LSN_TEXT_SIZE];

    if (step->told != 0) {
        log_warning(
            "A permanent logical replication slot was made again, after a failover or because "
            "its WAL was lost: what was committed before does not come out of it, so its "
            "consumers may have to copy anew. slot=%s database=%s plugin=%s consumer_had=%s",
            step->spec.name, step->spec.database, step->spec.plugin,
            lsn_format(step->told, told, sizeof(told)));
    } else {
        log_info("A permanent logical replication slot was made: what was committed before does "
                 "not come out of it. slot=%s database=%s plugin=%s",
                 step->spec.name, step->spec.database, step->spec.plugin);
    }
}

static void say_done(const struct step *step)
{
    if (step->action == SLOT_DROP || step->action == SLOT_REMAKE) {
        log_info("A replication slot was %s. slot=%s why=\"%s\"",
                 step->action == SLOT_DROP ? "dropped" : "made again", step->spec.name, step->why);
    } else if (step->action == SLOT_CREATE && step->spec.type == SLOT_LOGICAL) {
        say_made_logical(step);
    } else if (step->action == SLOT_CREATE && !step->is_member) {
        log_info("A permanent replication slot was made. slot=%s", step->spec.name);
    }
}

static void on_step(void *data, int status, const char *problem)
{
    struct pg_slots_run *run = data;
    const struct step *step = &run->steps[run->at++];

    if (status == 0) {
        say_done(step);
    } else if (!run->pg->closing) {
        say_failed(run, step, problem);
    }
    if (run->pg->closing || run->at == run->n) {
        end_run(run);
    } else {
        run_step(run);
    }
}

static void run_step(struct pg_slots_run *run)
{
    const struct step *step = &run->steps[run->at];
    bool logical = run->lane == PG_SLOTS_LOGICAL;

    pg_execute_in(run->pg, logical ? step->spec.database : NULL, step->sql,
                  logical ? LOGICAL_MS : STATEMENT_MS, on_step, run);
}

/* ---- What is to be done ---- */

static void add_step(struct pg *pg, struct pg_slots_run *runs[PG_SLOTS_LANES],
                     const struct slot_question *q, const struct slot_decision *d)
{
    const struct slot_spec *spec = q->wanted != NULL ? &q->wanted->spec : &q->seen->spec;
    const struct pg_known_slot *known = find_known(pg, spec->name);
    bool logical = d->action == SLOT_CREATE && spec->type == SLOT_LOGICAL;
    enum pg_slots_lane lane = logical ? PG_SLOTS_LOGICAL : PG_SLOTS_PHYSICAL;
    struct pg_slots_run *run = runs[lane];
    struct strbuf sql = {0};
    struct step *step;

    if (pg->slots.runs[lane] != NULL || clock_ms() < pg->slots.again_ms[lane]) {
        return; /* Soon. */
    }
    if (run == NULL) {
        run = runs[lane] = xmalloc(sizeof(*run));
        run->pg = pg;
        run->lane = lane;
    }
    PRE(run->n < STEPS_MAX);
    pg_slots_sql(spec, d, pg->row.in_recovery, pg->row.version / 10000, &sql);
    step = &run->steps[run->n++];
    *step = (struct step){.action = d->action,
                          .spec = *spec,
                          .is_member = q->wanted != NULL && q->wanted->is_member,
                          .why = d->why,
                          .told = known != NULL ? known->told : 0,
                          .sql = sql.data};
}

static void say_trouble(struct pg *pg, const struct slot_question *q, const struct slot_decision *d)
{
    const char *name = q->seen->spec.name;

    if (is_news(pg, name, d->rule)) {
        log_write(q->wanted != NULL ? LOG_WARNING : LOG_INFO,
                  "A replication slot is left as it is: %s. slot=%s rule=%s", d->why, name,
                  d->rule);
    }
}

static void say_claimed_twice(struct pg *pg, const struct slot_wanted *w)
{
    if (w->also[0] != '\0' && is_news(pg, w->spec.name, w->also)) {
        log_warning("Two claim one replication slot: a member's slot goes before one of \"slots\", "
                    "rename the other. slot=%s kept_for=%s refused=%s",
                    w->spec.name, w->is_member ? "member" : "slots", w->also);
    }
}

static void judge(struct pg *pg, struct pg_slots_run *runs[PG_SLOTS_LANES],
                  const struct slot_place *place, struct slot_question *q)
{
    struct slot_decision d;

    slot_decide(place, q, &d);
    if (d.is_trouble) {
        say_trouble(pg, q, &d);
    }
    if (d.action != SLOT_KEEP) {
        add_step(pg, runs, q, &d);
    }
    pg->slots.moved = pg->slots.moved || d.action == SLOT_ADVANCE;
}

static void judge_all(struct pg *pg, const struct slot_place *place, const struct slots_conf *conf,
                      const struct slots_wanted *wanted, struct pg_slots_run *runs[PG_SLOTS_LANES])
{
    for (uint32_t i = 0; i < pg->row.n_slots; i++) { /* Drops make room. */
        const struct slot_seen *seen = &pg->row.slots[i];
        struct pg_known_slot *known = find_known(pg, seen->spec.name);
        struct slot_question q = {.wanted = slots_find(wanted, seen->spec.name),
                                  .seen = seen,
                                  .is_known = known != NULL && known->type == seen->spec.type,
                                  .is_ignored = slots_ignore(conf, seen)};

        if (known != NULL && seen->confirmed != 0) {
            known->told = seen->confirmed;
        }
        judge(pg, runs, place, &q);
    }
    for (uint32_t i = 0; i < wanted->n; i++) {
        struct slot_question q = {.wanted = &wanted->items[i]};

        say_claimed_twice(pg, q.wanted);
        if (find_seen(pg, q.wanted->spec.name) == NULL) {
            judge(pg, runs, place, &q);
        }
    }
}

static bool is_ready(const struct pg *pg)
{
    return pg->opts->o.use_slots && pg->opts->o.is_settled && pg->has_row && !pg->closing &&
           pg->answer == PG_ANSWER_OK && !pg->observing && pg->round > pg->slots.round;
}

/* After a time in which nobody looked (no server, a machine that was suspended) nobody was
 * heard either: absence begins anew. */
static uint64_t watched_since(struct pg *pg, const struct view *view)
{
    struct pg_slots *s = &pg->slots;

    if (s->since_ms == 0 || view->now_ms > s->looked_ms + MAX(view->conf.ttl_ms, SECONDS(10))) {
        s->since_ms = view->now_ms;
    }
    s->looked_ms = view->now_ms;
    return s->since_ms;
}

void pg_sync_slots(struct pg *pg, const struct view *view)
{
    struct pg_slots *s = &pg->slots;
    struct pg_slots_run *runs[PG_SLOTS_LANES] = {NULL};
    struct slot_place place = {.own = pg->opts->o.name,
                               .since_ms = watched_since(pg, view),
                               .in_recovery = pg->row.in_recovery,
                               .paused = view->conf.pause,
                               .major = pg->row.version / 10000,
                               .end = pg->row.in_recovery ? pg->row.replayed : pg->row.flushed,
                               .may_step = clock_ms() >= s->advanced_ms + STEP_MS,
                               .may_creep = clock_ms() >= s->advanced_ms + CREEP_MS};
    struct slots_conf conf;
    struct slots_wanted wanted;

    if (!is_ready(pg) || s->runs[PG_SLOTS_PHYSICAL] != NULL) {
        return;
    }
    configured(pg, &conf);
    slots_want(view, &conf, &place, &wanted);
    for (uint32_t i = 0; i < wanted.n; i++) {
        remember(pg, &wanted.items[i]);
    }
    forget(pg, &wanted);
    s->moved = false;
    judge_all(pg, &place, &conf, &wanted, runs);
    s->advanced_ms = s->moved ? clock_ms() : s->advanced_ms;
    for (int lane = 0; lane < PG_SLOTS_LANES; lane++) {
        if (runs[lane] != NULL) {
            s->runs[lane] = runs[lane];
            run_step(runs[lane]);
        }
    }
}

/* ---- What is told ---- */

void pg_slots_fill(const struct pg *pg, struct status *status)
{
    struct slots_conf conf;

    status->n_slots = 0;
    if (pg->row.in_recovery || !pg->opts->o.use_slots) {
        return;
    }
    configured(pg, &conf);
    for (uint32_t i = 0; i < conf.n_permanent; i++) {
        const struct slot_seen *seen = find_seen(pg, conf.permanent[i].name);
        struct status_slot *out = &status->slots[status->n_slots];

        if (seen != NULL && seen->spec.type == conf.permanent[i].type && !seen->lost) {
            *out = (struct status_slot){.lsn = seen->spec.type == SLOT_LOGICAL ? seen->confirmed
                                                                               : seen->restart};
            (void)str_copy(out->name, sizeof(out->name), seen->spec.name);
            status->n_slots++;
        }
    }
}

/* ---- WAL senders that are left over ---- */

static void on_terminated(void *data, int status, const char *problem)
{
    (void)data;
    if (status != 0) {
        log_warning("Ending a stale WAL sender failed, trying again after the ttl. reason=%s",
                    problem);
    }
}

/* By age, as one that began later may be the member's new one. */
void pg_terminate_walsender(struct pg *pg, const char *member, uint64_t age_ms)
{
    struct strbuf sql = {0};

    if (pg->closing) {
        return;
    }
    strbuf_printf(&sql, "SELECT pg_terminate_backend(pid) FROM pg_stat_replication "
                        "WHERE application_name = ");
    add_literal(&sql, member);
    strbuf_printf(&sql, " AND backend_start < now() - interval '%" PRIu64 " milliseconds'", age_ms);
    pg_execute(pg, sql.data, STATEMENT_MS, on_terminated, pg);
    strbuf_deinit(&sql);
}
