/* Terms, votes and replication of the log's model; see sim_log.c. */
#include "sim_raft_model.h"

#include "checks.h"
#include "sim_node.h"
#include "trace.h"

#define HEARTBEAT_US (100 * SIM_MS)
#define ELECTION_US  (1000 * SIM_MS)
#define TICK_US      (20 * SIM_MS)
#define BATCH_MAX    32

enum message_kind {
    MESSAGE_VOTE,
    MESSAGE_VOTED,
    MESSAGE_APPEND,
    MESSAGE_APPENDED,
    MESSAGE_TIMEOUT_NOW,
};

struct message {
    enum message_kind kind;
    node_id from, to; /* A node that lost its disk is another one from then on. */
    uint64_t term;
    bool is_pre_vote, is_transfer, granted;
    uint32_t last_index; /* Of VOTE; of APPEND: the entry before the first. */
    uint64_t last_term;
    uint32_t commit;
    uint32_t match; /* Of APPENDED: durable up to here; refused: try again behind this. */
    uint32_t n;
    struct model_entry entries[BATCH_MAX];
};

static void on_message(struct sim *s, const struct sim_event *e);

static struct model_node *node_of(struct sim *s, const struct sim_node *n)
{
    return &s->log->nodes[n->i];
}

static uint64_t term_at(const struct model_node *m, uint32_t index)
{
    return index > 0 ? m->entries[index - 1].term : 0;
}

static uint32_t majority(const struct model_node *m)
{
    return m->voters.n / 2u + 1;
}

static bool votes(struct sim *s, struct sim_node *n)
{
    return lease_voter_set_has(&node_of(s, n)->voters, n->id);
}

/* What a majority is counted from. */
static bool binds(const struct message *r)
{
    return (r->kind == MESSAGE_VOTE && !r->is_pre_vote) ||
           (r->kind == MESSAGE_VOTED && r->granted && !r->is_pre_vote) ||
           (r->kind == MESSAGE_APPENDED && r->granted);
}

static void send(struct sim *s, struct sim_node *n, node_id to, const struct message *content)
{
    size_t size = offsetof(struct message, entries) + content->n * sizeof(content->entries[0]);
    struct message *copy = xmalloc(size);

    if (binds(content)) {
        check_s6_voice(s, n);
    }
    memcpy(copy, content, size);
    copy->from = n->id;
    copy->to = to;
    sim_send(
        s,
        &(struct sim_message){
            .from = n->i, .to = sim_index_of(to), .fn = on_message, .data = copy, .ordered = true});
}

static void send_to_others(struct sim *s, struct sim_node *n, const struct message *content)
{
    const struct lease_voter_set *voters = &node_of(s, n)->voters;

    for (uint8_t v = 0; v < voters->n; v++) {
        if (voters->ids[v] != n->id) {
            send(s, n, voters->ids[v], content);
        }
    }
}

static void reset_election(struct sim *s, struct model_node *m)
{
    m->election_at_us = s->now_us + sim_between(s, ELECTION_US, 2 * ELECTION_US);
}

/* ---- Voters ---- */

static const struct lease_voter_set *change_at(const struct sim *s, const struct model_node *m,
                                               uint32_t index)
{
    return &s->log->commands[m->entries[index - 1].command].voters;
}

void model_voters_at(const struct sim *s, const struct sim_node *n, uint32_t last,
                     struct lease_voter_set *ret_set)
{
    const struct model_node *m = &s->log->nodes[n->i];

    while (last > 0 && change_at(s, m, last)->n == 0) {
        last--;
    }
    *ret_set = (struct lease_voter_set){.n = 0};
    if (last > 0) {
        *ret_set = *change_at(s, m, last);
        ret_set->index = last;
    } else if (m->knows_first) {
        ret_set->index = 1;
        for (int i = 0; i < s->n_nodes; i++) {
            ret_set->ids[ret_set->n++] = sim_first_id(i);
        }
    }
}

/* They count from the moment on in which they are in the log. */
static void note_voters(struct sim *s, struct sim_node *n)
{
    struct model_node *m = node_of(s, n);

    model_voters_at(s, n, m->n, &m->voters);
    sim_node_on_leadership(s, n);
}

/* ---- Roles ---- */

static void step_down(struct sim *s, struct sim_node *n, uint64_t term)
{
    struct model_node *m = node_of(s, n);

    if (m->role == MODEL_LEADER) {
        TRACE(s, n, "raft: steps down, term %u", (unsigned)m->term);
        model_forget_proposals(s, n);
    }
    if (term > m->term) {
        m->term = term;
        m->voted_for = SIM_NOBODY;
    }
    m->role = MODEL_FOLLOWER;
    m->leader = SIM_NOBODY;
    m->verified = 0;
    reset_election(s, m);
    sim_node_on_leadership(s, n);
}

static void replicate_to(struct sim *s, struct sim_node *n, node_id id)
{
    struct model_node *m = node_of(s, n);
    int to = sim_index_of(id);
    struct message r = {.kind = MESSAGE_APPEND, .term = m->term, .commit = m->commit};

    r.last_index = m->next[to] - 1;
    r.last_term = term_at(m, r.last_index);
    for (uint32_t i = m->next[to]; i <= m->n && r.n < BATCH_MAX; i++) {
        r.entries[r.n++] = m->entries[i - 1];
    }
    m->next[to] += r.n; /* Optimistic; a refusal or the next silence resets it. */
    send(s, n, id, &r);
}

static void advance_commit(struct sim *s, struct sim_node *n)
{
    struct model_node *m = node_of(s, n);

    for (uint32_t index = m->durable; index > m->commit && term_at(m, index) == m->term; index--) {
        uint32_t have = 0;

        for (uint8_t v = 0; v < m->voters.n; v++) {
            node_id id = m->voters.ids[v];

            have += id == n->id || m->match[sim_index_of(id)] >= index ? 1u : 0u;
        }
        if (have >= majority(m)) {
            m->commit = index;
            model_apply(s, n);
            return;
        }
    }
}

/* A follower applies what the leader says is committed and its own disk has. */
static void follow_commit(struct sim *s, struct sim_node *n)
{
    struct model_node *m = node_of(s, n);

    if (MIN(m->leader_commit, m->durable) > m->commit) {
        m->commit = MIN(m->leader_commit, m->durable);
        model_apply(s, n);
    }
}

static void on_flushed(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];
    struct model_node *m = node_of(s, n);
    uint32_t index = (uint32_t)e->number;
    uint64_t term = *(const uint64_t *)e->data;

    if (index > m->n || term_at(m, index) != term) {
        return; /* Cut off meanwhile. */
    }
    m->durable = MAX(m->durable, index);
    if (m->role == MODEL_LEADER) {
        advance_commit(s, n);
    } else if (m->leader != SIM_NOBODY) {
        send(s, n, s->nodes[m->leader]->id,
             &(struct message){.kind = MESSAGE_APPENDED,
                               .term = m->term,
                               .granted = true,
                               .match = MIN(m->durable, m->verified)});
        follow_commit(s, n);
    }
}

/* Flushes everything up to the end of the log, in its time. */
static void flush(struct sim *s, struct sim_node *n)
{
    struct model_node *m = node_of(s, n);
    uint64_t *term = xmalloc(sizeof(*term));
    uint64_t after = sim_between(s, 300, 4000);

    *term = term_at(m, m->n);
    if (n->disk_stalled_until_us > s->now_us) {
        after += n->disk_stalled_until_us - s->now_us;
    }
    sim_after(s, after,
              &(struct sim_event){.fn = on_flushed,
                                  .node = n->i,
                                  .from = SIM_NOBODY,
                                  .life = n->life,
                                  .number = m->n,
                                  .data = term});
}

static void replicate(struct sim *s, struct sim_node *n)
{
    const struct lease_voter_set *voters = &node_of(s, n)->voters;

    for (uint8_t v = 0; v < voters->n; v++) {
        if (voters->ids[v] != n->id) {
            replicate_to(s, n, voters->ids[v]);
        }
    }
}

void model_append_own(struct sim *s, struct sim_node *n, uint32_t command)
{
    struct model_node *m = node_of(s, n);

    ASSERT(m->role == MODEL_LEADER);
    ASSERT(m->n < MODEL_ENTRIES_MAX);
    m->entries[m->n++] = (struct model_entry){m->term, command};
    if (s->log->commands[command].voters.n > 0) {
        note_voters(s, n);
    }
    flush(s, n);
    replicate(s, n);
}

/* One change at a time, and none before an entry of the leader's own term is committed. */
void model_change_voters(struct sim *s, struct sim_node *n, node_id remove, node_id add)
{
    struct model_node *m = node_of(s, n);
    struct model_command change = {.proposal = {.from = SIM_NOBODY}};

    if (m->role != MODEL_LEADER || m->commit < m->voters.index ||
        term_at(m, m->commit) != m->term) {
        return;
    }
    for (uint8_t v = 0; v < m->voters.n; v++) {
        if (m->voters.ids[v] != remove) {
            change.voters.ids[change.voters.n++] = m->voters.ids[v];
        }
    }
    if (add != 0) {
        int i = sim_index_of(add);

        change.voters.ids[change.voters.n++] = add;
        m->next[i] = m->n + 1;
        m->match[i] = 0;
        m->contact_us[i] = s->now_us;
        s->stats.new_ids++;
    }
    TRACE(s, n, "raft: voters change, %u without %llx, with %llx", change.voters.n,
          (unsigned long long)remove, (unsigned long long)add);
    check_s6_voters(s, n, &change.voters);
    ASSERT(s->log->n_commands < MODEL_COMMANDS_MAX);
    s->log->commands[s->log->n_commands] = change;
    model_append_own(s, n, s->log->n_commands++);
}

static void become_leader(struct sim *s, struct sim_node *n)
{
    struct model_node *m = node_of(s, n);

    TRACE(s, n, "raft: leader, term %u", (unsigned)m->term);
    s->stats.elections++;
    m->role = MODEL_LEADER;
    m->leader = n->i;
    for (int i = 0; i < s->n_nodes; i++) {
        m->next[i] = m->n + 1;
        m->match[i] = 0;
        m->contact_us[i] = s->now_us;
    }
    model_append_own(s, n, 0);
    sim_node_on_leadership(s, n);
}

static void campaign(struct sim *s, struct sim_node *n, bool is_pre_vote, bool is_transfer)
{
    struct model_node *m = node_of(s, n);

    m->role = MODEL_CANDIDATE;
    m->is_pre_vote = is_pre_vote;
    m->leader = SIM_NOBODY;
    m->votes = 1u << n->i;
    if (!is_pre_vote) {
        m->term++;
        m->voted_for = n->i;
    }
    reset_election(s, m);
    send_to_others(s, n,
                   &(struct message){.kind = MESSAGE_VOTE,
                                     .term = m->term + (is_pre_vote ? 1 : 0),
                                     .is_pre_vote = is_pre_vote,
                                     .is_transfer = is_transfer,
                                     .last_index = m->n,
                                     .last_term = term_at(m, m->n)});
    sim_node_on_leadership(s, n);
}

/* ---- Messages ---- */

static void on_vote(struct sim *s, struct sim_node *n, const struct message *r)
{
    struct model_node *m = node_of(s, n);
    bool has_leader = m->role == MODEL_LEADER ||
                      (m->leader != SIM_NOBODY && s->now_us < m->heard_leader_us + ELECTION_US);
    bool up_to_date = r->last_term > term_at(m, m->n) ||
                      (r->last_term == term_at(m, m->n) && r->last_index >= m->n);
    struct message answer = {.kind = MESSAGE_VOTED, .is_pre_vote = r->is_pre_vote};
    int from = sim_index_of(r->from);

    if (has_leader && !r->is_transfer) {
        return;
    }
    if (!r->is_pre_vote && r->term > m->term) {
        step_down(s, n, r->term);
    }
    answer.granted = votes(s, n) && up_to_date && r->term >= m->term &&
                     (r->is_pre_vote || m->voted_for == SIM_NOBODY || m->voted_for == from);
    answer.term = answer.granted ? r->term : m->term;
    if (answer.granted && !r->is_pre_vote) {
        m->voted_for = from;
        reset_election(s, m);
    }
    send(s, n, r->from, &answer);
}

static void on_voted(struct sim *s, struct sim_node *n, const struct message *r)
{
    struct model_node *m = node_of(s, n);
    uint64_t term = m->term + (m->is_pre_vote ? 1 : 0);

    if (!r->granted && r->term > m->term) {
        step_down(s, n, r->term); /* Two that are left would ask in vain for ever. */
        return;
    }
    if (m->role != MODEL_CANDIDATE || r->is_pre_vote != m->is_pre_vote || r->term != term ||
        !r->granted || !lease_voter_set_has(&m->voters, r->from)) {
        return;
    }
    m->votes |= 1u << sim_index_of(r->from);
    if ((uint32_t)__builtin_popcount(m->votes) < majority(m)) {
        return;
    }
    if (m->is_pre_vote) {
        campaign(s, n, false, false);
    } else {
        become_leader(s, n);
    }
}

/* Puts the leader's entries where they belong; what contradicts them goes. */
static void take_entries(struct sim *s, struct sim_node *n, const struct message *r)
{
    struct model_node *m = node_of(s, n);
    bool changed = false;
    bool voters_changed = !m->knows_first;

    for (uint32_t i = 0; i < r->n; i++) {
        uint32_t index = r->last_index + 1 + i;

        if (index <= m->n && term_at(m, index) == r->entries[i].term) {
            continue;
        }
        ASSERT(index > m->commit); /* What is committed is never cut off. */
        ASSERT(index <= MODEL_ENTRIES_MAX);
        m->n = index;
        m->durable = MIN(m->durable, index - 1);
        m->entries[index - 1] = r->entries[i];
        voters_changed =
            voters_changed || index <= m->voters.index || change_at(s, m, index)->n > 0;
        changed = true;
    }
    if (changed) {
        m->knows_first = true;
        flush(s, n);
    }
    if (changed && voters_changed) {
        note_voters(s, n);
    }
}

static void on_append(struct sim *s, struct sim_node *n, const struct message *r)
{
    struct model_node *m = node_of(s, n);
    struct message answer = {.kind = MESSAGE_APPENDED, .term = m->term};
    int from = sim_index_of(r->from);

    if (r->term < m->term) {
        send(s, n, r->from, &answer);
        return;
    }
    if (r->term > m->term || m->role != MODEL_FOLLOWER) {
        step_down(s, n, r->term);
    }
    if (m->leader != from) {
        m->leader = from;
        m->verified = 0;
        sim_node_on_leadership(s, n);
    }
    m->heard_leader_us = s->now_us;
    reset_election(s, m);
    answer.term = m->term;
    answer.granted = r->last_index <= m->n && term_at(m, r->last_index) == r->last_term;
    if (!answer.granted) {
        answer.match = MIN(m->commit, r->last_index);
        send(s, n, r->from, &answer);
        return;
    }
    take_entries(s, n, r);
    m->verified = MAX(m->verified, r->last_index + r->n);
    answer.match = MIN(m->durable, m->verified);
    send(s, n, r->from, &answer);
    m->leader_commit = MAX(m->leader_commit, MIN(r->commit, r->last_index + r->n));
    follow_commit(s, n);
}

static void on_appended(struct sim *s, struct sim_node *n, const struct message *r)
{
    struct model_node *m = node_of(s, n);
    int from = sim_index_of(r->from);

    if (r->term > m->term) {
        step_down(s, n, r->term);
        return;
    }
    if (m->role != MODEL_LEADER || r->term < m->term || !lease_voter_set_has(&m->voters, r->from)) {
        return;
    }
    m->contact_us[from] = s->now_us;
    if (!r->granted) {
        m->next[from] = r->match + 1;
        replicate_to(s, n, r->from);
        return;
    }
    m->match[from] = MAX(m->match[from], r->match);
    advance_commit(s, n);
    if (m->next[from] <= m->n) {
        replicate_to(s, n, r->from);
    }
}

static void on_message(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];
    const struct message *r = e->data;

    if (node_of(s, n)->role == MODEL_DOWN || r->to != n->id) {
        return;
    }
    switch (r->kind) {
    case MESSAGE_VOTE:
        on_vote(s, n, r);
        break;
    case MESSAGE_VOTED:
        on_voted(s, n, r);
        break;
    case MESSAGE_APPEND:
        on_append(s, n, r);
        break;
    case MESSAGE_APPENDED:
        on_appended(s, n, r);
        break;
    case MESSAGE_TIMEOUT_NOW:
        if (r->term == node_of(s, n)->term && node_of(s, n)->role == MODEL_FOLLOWER &&
            votes(s, n)) {
            campaign(s, n, false, true);
        }
        break;
    }
}

/* ---- Time ---- */

static bool has_contact(struct sim *s, struct sim_node *n)
{
    struct model_node *m = node_of(s, n);
    uint32_t have = 0;

    for (uint8_t v = 0; v < m->voters.n; v++) {
        node_id id = m->voters.ids[v];

        have += id == n->id || s->now_us < m->contact_us[sim_index_of(id)] + ELECTION_US ? 1u : 0u;
    }
    return have >= majority(m);
}

static void heartbeat(struct sim *s, struct sim_node *n)
{
    struct model_node *m = node_of(s, n);

    for (int i = 0; i < s->n_nodes; i++) {
        if (i == n->i) {
            continue;
        }
        if (s->now_us > m->contact_us[i] + 3 * HEARTBEAT_US) {
            m->next[i] = m->match[i] + 1; /* What was sent may be lost. */
        }
    }
    replicate(s, n);
}

static void on_tick(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];
    struct model_node *m = node_of(s, n);
    struct sim_event next = {.fn = on_tick, .node = n->i, .from = SIM_NOBODY, .life = n->life};

    if (m->role == MODEL_LEADER) {
        next.number = e->number + 1;
        if (!has_contact(s, n)) {
            step_down(s, n, m->term);
        } else if (e->number % (HEARTBEAT_US / TICK_US) == 0) {
            heartbeat(s, n);
        }
    } else if (s->now_us >= m->election_at_us && votes(s, n)) {
        campaign(s, n, true, false);
    }
    sim_after(s, TICK_US, &next);
}

void model_start(struct sim *s, struct sim_node *n)
{
    model_voters_at(s, n, node_of(s, n)->n, &node_of(s, n)->voters);
    reset_election(s, node_of(s, n));
    sim_after(
        s, TICK_US,
        &(struct sim_event){.fn = on_tick, .node = n->i, .from = SIM_NOBODY, .life = n->life});
}

void model_transfer(struct sim *s, struct sim_node *from, int to)
{
    struct model_node *m = node_of(s, from);

    if (m->role != MODEL_LEADER || m->match[to] < m->commit) {
        return;
    }
    TRACE(s, from, "raft: hands leadership to %s", s->nodes[to]->name);
    s->stats.transfers++;
    send(s, from, s->nodes[to]->id,
         &(struct message){.kind = MESSAGE_TIMEOUT_NOW, .term = m->term});
}
