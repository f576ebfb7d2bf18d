/*
 * Physical slots for the other members, so that a standby that was away finds the
 * WAL it needs. Kept on standbys too, where they reserve nothing until somebody
 * streams from them: after a promotion every member finds its slot at once.
 *
 * A slot is dropped only if this process has seen its member in the store and sees
 * it no more, and nobody uses it: others may have made slots for themselves. Not while
 * the cluster is paused: that waits for the resume.
 */
#include <inttypes.h>

#include "base/clock.h"
#include "base/str.h"
#include "pg/pg_internal.h"

#define STATEMENT_MS   5000
#define ADVANCE_BEHIND (UINT64_C(64) * 1024 * 1024)
#define FAILURE_LOG_MS 60000

/* Patroni's rule, so that names stay what they were. */
const char *pg_slot_name(const char *member, char *text, size_t size)
{
    struct sbuf b;

    PRE(size >= NAME_SIZE);
    sbuf_init(&b, text, NAME_SIZE);
    for (const char *at = member; *at != '\0'; at++) {
        unsigned char ch = (unsigned char)*at;

        if ((ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == '_') {
            sbuf_printf(&b, "%c", ch);
        } else if (ch >= 'A' && ch <= 'Z') {
            sbuf_printf(&b, "%c", ch - 'A' + 'a');
        } else if (ch == '-' || ch == '.') {
            sbuf_add(&b, "_");
        } else {
            sbuf_printf(&b, "u%04x", ch);
        }
    }
    return text;
}

static const struct pg_slot *find_slot(const struct pg *pg, const char *name)
{
    for (uint32_t i = 0; i < pg->row.n_slots; i++) {
        if (str_equal(pg->row.slots[i].name, name)) {
            return &pg->row.slots[i];
        }
    }
    return NULL;
}

static bool wants_slot(const struct pg *pg, const struct store_member *m)
{
    char name[NAME_SIZE], own[NAME_SIZE];

    (void)pg_slot_name(m->name, name, sizeof(name));
    (void)pg_slot_name(pg->opts->o.name, own, sizeof(own));
    return m->mode == MODE_POSTGRES && !m->nostream && !str_equal(name, own);
}

static void remember(struct pg *pg, const char *name)
{
    for (uint32_t i = 0; i < pg->n_known_slots; i++) {
        if (str_equal(pg->known_slots[i], name)) {
            return;
        }
    }
    if (pg->n_known_slots < PG_SLOTS_MAX) {
        (void)str_copy(pg->known_slots[pg->n_known_slots++], NAME_SIZE, name);
    }
}

static bool is_wanted(const struct pg *pg, const struct store *store, const char *name)
{
    char text[NAME_SIZE];

    for (uint32_t i = 0; i < store->n_members; i++) {
        if (wants_slot(pg, &store->members[i]) &&
            str_equal(pg_slot_name(store->members[i].name, text, sizeof(text)), name)) {
            return true;
        }
    }
    return false;
}

/* Slot names hold nothing that would have to be quoted. */
static void add_wanted(struct pg *pg, const char *name, struct strbuf *sql)
{
    const struct pg_slot *slot = find_slot(pg, name);
    const struct pg_row *r = &pg->row;

    if (slot == NULL) {
        strbuf_printf(sql,
                      "SELECT pg_create_physical_replication_slot('%s', %s) WHERE NOT EXISTS "
                      "(SELECT 1 FROM pg_replication_slots WHERE slot_name = '%s');",
                      name, r->in_recovery ? "false" : "true", name);
    } else if (r->in_recovery && slot->physical && !slot->active && slot->restart != 0 &&
               slot->restart + ADVANCE_BEHIND < r->replayed) {
        /* From when this node was primary; nobody moves it here, and WAL piles up. */
        strbuf_printf(sql,
                      "SELECT pg_replication_slot_advance('%s', pg_last_wal_replay_lsn()) FROM "
                      "pg_replication_slots WHERE slot_name = '%s' AND NOT active;",
                      name, name);
    }
}

static void add_unwanted(struct pg *pg, const struct store *store, struct strbuf *sql)
{
    uint32_t n_left = 0;

    for (uint32_t i = 0; i < pg->n_known_slots; i++) {
        const char *name = pg->known_slots[i];
        const struct pg_slot *slot = find_slot(pg, name);
        bool wanted = is_wanted(pg, store, name);

        if (!wanted && slot != NULL && slot->physical && !slot->active) {
            strbuf_printf(sql,
                          "SELECT pg_drop_replication_slot('%s') FROM pg_replication_slots WHERE "
                          "slot_name = '%s' AND NOT active;",
                          name, name);
        }
        if (wanted || slot != NULL) {
            memmove(pg->known_slots[n_left++], name, NAME_SIZE);
        }
    }
    pg->n_known_slots = n_left;
}

static void on_synced(void *data, int status, const char *problem)
{
    struct pg *pg = data;
    uint64_t dropped;

    pg->slots_busy = false;
    pg->slots_round = pg->round;
    if (status != 0 && log_limit_passes(&pg->slots_limit, clock_ms(), FAILURE_LOG_MS, &dropped)) {
        log_warning("Setting up replication slots failed, trying again. reason=%s", problem);
    }
}

void pg_sync_slots(struct pg *pg, const struct store *store, bool paused)
{
    struct strbuf sql = {0};
    char name[NAME_SIZE];

    if (!pg->opts->o.use_slots || pg->slots_busy || !pg->has_row || pg->closing ||
        pg->answer != PG_ANSWER_OK || pg->observing || pg->round <= pg->slots_round) {
        return;
    }
    for (uint32_t i = 0; i < store->n_members; i++) {
        if (wants_slot(pg, &store->members[i])) {
            (void)pg_slot_name(store->members[i].name, name, sizeof(name));
            remember(pg, name);
            add_wanted(pg, name, &sql);
        }
    }
    if (!paused) {
        add_unwanted(pg, store, &sql);
    }
    if (sql.length > 0) {
        pg->slots_busy = true;
        pg_execute(pg, sql.data, STATEMENT_MS, on_synced, pg);
    }
    strbuf_deinit(&sql);
}

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
