/*
 * What an operator asks of a member by way of the agent of another one, and is no matter of the
 * store: to read its configuration again. It goes over the peer port, which proves who asks, so
 * the member's REST interface need not be open to anybody; what became of it comes back.
 */
#include "agent/agent_state.h"
#include "base/log.h"
#include "base/str.h"
#include "veche/api.h"

#define PASSED_LIMIT_MS SECONDS(30) /* Files are read there, maybe from a slow disk. */

struct passed {               /* Asked of another agent. */
    struct list list;         /* In agent.passed. */
    struct http_action *http; /* NULL: it was answered, this agent stops. */
    char member[NAME_SIZE];
};

/* ---- For another member ---- */

static void on_outcome(void *data, enum peer_outcome outcome, const char *text)
{
    static const struct {
        unsigned code;
        const char *text; /* Of ours; "" = what the other agent says. */
    } answers[] = {
        [PEER_DONE] = {202, ""},
        [PEER_REFUSED] = {500, ""},
        [PEER_BUSY] = {503, ""},
        [PEER_NOT_SENT] = {VECHE_CODE_NOT_PASSED, "is not connected to this one"},
        [PEER_UNKNOWN] = {503, "was told, and has not answered: look at its log"},
    };
    struct passed *p = data;
    char ours[NAME_SIZE + 128];

    (void)snprintf(ours, sizeof(ours), "the agent of %s %s", p->member, answers[outcome].text);
    if (p->http != NULL) {
        http_action_end(p->http, answers[outcome].code,
                        answers[outcome].text[0] != '\0' ? ours : text);
    }
    list_remove(&p->list);
    free(p);
}

static node_id find_member(const struct agent *a, const char *name)
{
    for (uint32_t i = 0; i < a->n_peers; i++) {
        if (a->peers[i].connected && str_equal(a->peers[i].status.name, name)) {
            return a->peers[i].status.id;
        }
    }
    return 0; /* Nobody's: it is not sent. */
}

static void pass_on(struct agent *a, struct http_action *http, const char *member)
{
    struct passed *p = xmalloc(sizeof(*p));

    p->http = http;
    (void)str_copy(p->member, sizeof(p->member), member); /* Cut: then it is no member's. */
    list_push_back(&a->passed, &p->list);
    peer_act(a->peer, find_member(a, member), PEER_RELOAD, PASSED_LIMIT_MS, on_outcome, p);
}

/* ---- Here ---- */

static void on_reloaded(void *data, const struct reload_result *result)
{
    struct strbuf text = {0};

    agent_describe_reload(result, &text);
    http_action_end(data, result->taken ? 202 : result->hangs ? 503 : 500, text.data);
    strbuf_deinit(&text);
}

void agent_on_reload(void *data, struct http_action *http, const char *member)
{
    struct agent *a = data;

    if (member != NULL && !str_equal(member, a->conf->name)) {
        pass_on(a, http, member);
    } else if (!agent_reload(a, on_reloaded, http)) {
        http_action_end(http, 503, "too many wait for a reload already, or the agent stops");
    }
}

struct task { /* Another agent asked it of us. */
    struct agent *agent;
    uint64_t token;
};

static void on_task_done(void *data, const struct reload_result *result)
{
    struct task *t = data;
    struct strbuf text = {0};
    enum peer_outcome outcome = result->taken ? PEER_DONE : PEER_REFUSED;

    agent_describe_reload(result, &text);
    if (t->agent->peer != NULL) {
        peer_answer_action(t->agent->peer, t->token, result->hangs ? PEER_BUSY : outcome,
                           text.data);
    }
    strbuf_deinit(&text);
    free(t);
}

void agent_on_action(void *data, uint64_t token, const char *from, enum peer_action action)
{
    struct agent *a = data;
    struct task *t = xmalloc(sizeof(*t));

    PRE(action == PEER_RELOAD); /* There is no other. */
    log_info("A reload is asked for by way of another agent. from=%s", from);
    *t = (struct task){a, token};
    if (!agent_reload(a, on_task_done, t)) {
        peer_answer_action(a->peer, token, PEER_BUSY,
                           "too many wait for a reload already, or the agent stops");
        free(t);
    }
}

void agent_passed_close(struct agent *a)
{
    LIST_FOREACH (it, &a->passed) {
        CONTAINER_OF(it, struct passed, list)->http = NULL; /* http/ answers when it closes. */
    }
}
