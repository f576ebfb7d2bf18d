/*
 * libpq's asynchronous connect and query on a uv loop, see pg_conn.h.
 *
 * Happy path: start -> poll until PGRES_POLLING_OK -> send -> read until the last
 * result -> answer; the session stays open for the next statement. Ways to fail:
 * the server refuses (its SQLSTATE tells why, which libpq puts into the message of
 * a failed connect only in verbose mode), the socket breaks, the deadline passes.
 *
 * libpq may close its socket and open another at every step of the connect, often
 * under the same number. epoll forgets a closed descriptor, libuv does not know:
 * so the poll handle is made anew for each step.
 */
#include "pg/pg_conn.h"

#include "base/clock.h"
#include "base/str.h"

#define PARAMS_MAX 32

struct pg_conn {
    uv_loop_t *loop;
    PGconn *pq;       /* NULL = no session. */
    uv_poll_t *poll;  /* On its socket while something is awaited; on the heap. */
    uv_timer_t timer; /* The deadline, or an answer that is ready. */
    bool connecting;
    bool reached; /* Somebody took the connection. */
    bool busy;    /* cb is owed. */
    bool warned;  /* The server warned of something since the statement began. */
    bool timer_closed;
    enum pg_answer ready; /* Answer to give from the timer; NONE = it is the deadline. */
    char text[TEXT_SIZE];
    PGresult *result; /* The last one of the statement so far. */
    char *sql;
    pg_conn_cb cb;
    void *data;
    bool closing;
    void (*close_cb)(void *data);
    void *close_data;
};

static void on_connect_event(uv_poll_t *poll, int status, int events);
static void on_query_event(uv_poll_t *poll, int status, int events);

const char *pg_answer_name(enum pg_answer answer)
{
    static const char *const names[] = {"nothing asked yet",     "ok",
                                        "connection refused",    "not accepting connections yet",
                                        "authentication failed", "no connection left",
                                        "connection lost",       "no answer in time",
                                        "statement failed"};

    return (size_t)answer < ARRAY_LENGTH(names) ? names[answer] : "?";
}

/* ---- The handle on the socket ---- */

static void on_poll_closed(uv_handle_t *handle)
{
    free(handle);
}

static void stop_poll(struct pg_conn *c)
{
    if (c->poll != NULL) {
        (void)uv_poll_stop(c->poll); /* Now: the descriptor may be gone in a moment. */
        uv_close((uv_handle_t *)c->poll, on_poll_closed);
        c->poll = NULL;
    }
}

static bool start_poll(struct pg_conn *c, int events, uv_poll_cb cb)
{
    int fd = PQsocket(c->pq);

    stop_poll(c);
    if (fd < 0) {
        return false;
    }
    c->poll = xmalloc(sizeof(*c->poll));
    c->poll->data = c;
    if (uv_poll_init(c->loop, c->poll, fd) != 0) {
        free(c->poll);
        c->poll = NULL;
        return false;
    }
    return uv_poll_start(c->poll, events, cb) == 0;
}

static void drop_session(struct pg_conn *c)
{
    stop_poll(c);
    PQfinish(c->pq);
    c->pq = NULL;
    c->connecting = false;
    c->reached = false;
    PQclear(c->result);
    c->result = NULL;
}

/* ---- Ending a statement ---- */

/* Gives the answer. Last thing a callback does: cb may start the next statement. */
static void answer_now(struct pg_conn *c, enum pg_answer answer, const PGresult *result,
                       const char *text)
{
    pg_conn_cb cb = c->cb;

    PRE(c->busy);
    (void)uv_timer_stop(&c->timer);
    c->busy = false;
    c->cb = NULL;
    free(c->sql);
    c->sql = NULL;
    cb(c->data, answer, result, text);
}

static void fail(struct pg_conn *c, enum pg_answer answer, const char *text)
{
    (void)str_copy(c->text, sizeof(c->text), text);
    drop_session(c);
    answer_now(c, answer, NULL, c->text);
}

static void on_timer(uv_timer_t *timer)
{
    struct pg_conn *c = timer->data;
    enum pg_answer answer = c->ready;

    c->ready = PG_ANSWER_NONE;
    if (answer == PG_ANSWER_NONE) {
        fail(c, PG_ANSWER_TIMEOUT, "no answer in time");
    } else {
        answer_now(c, answer, NULL, c->text);
    }
}

/* As fail, but from the next turn of the loop. */
static void fail_later(struct pg_conn *c, enum pg_answer answer, const char *text)
{
    (void)str_copy(c->text, sizeof(c->text), text);
    drop_session(c);
    c->ready = answer;
    (void)uv_timer_start(&c->timer, on_timer, 0, 0);
}

/* ---- What an error means ---- */

bool pg_conn_find_sqlstate(const char *message, char *state, size_t size, const char **ret_text)
{
    PRE(size > 5);
    for (const char *at = strstr(message, ":  "); at != NULL; at = strstr(at + 1, ":  ")) {
        const char *code = at + 3;

        if (strspn(code, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 && code[5] == ':') {
            memcpy(state, code, 5);
            state[5] = '\0';
            *ret_text = code + 6 + strspn(code + 6, " ");
            return true;
        }
    }
    return false;
}

static enum pg_answer classify(const char *state)
{
    if (str_equal(state, "57P03")) { /* cannot_connect_now */
        return PG_ANSWER_STARTING;
    }
    if (str_starts_with(state, "28") || str_starts_with(state, "42") ||
        str_starts_with(state, "3D")) { /* Password, pg_hba.conf, rights, no such database. */
        return PG_ANSWER_AUTH;
    }
    if (str_equal(state, "53300")) { /* too_many_connections */
        return PG_ANSWER_FULL;
    }
    return PG_ANSWER_LOST; /* Among them 57P01 and 57P02: shut down while we connected. */
}

/* The first line, without what libpq puts around it. */
static enum pg_answer explain_connect(const struct pg_conn *c, char *text, size_t size)
{
    const char *message = PQerrorMessage(c->pq);
    const char *start = message;
    char state[8], line[TEXT_SIZE];
    enum pg_answer answer = c->reached ? PG_ANSWER_LOST : PG_ANSWER_REFUSED;

    if (pg_conn_find_sqlstate(message, state, sizeof(state), &start)) {
        answer = classify(state);
    } else if (PQconnectionNeedsPassword(c->pq)) {
        answer = PG_ANSWER_AUTH;
    }
    (void)str_copy(line, sizeof(line), start); /* For people; cut is fine. */
    line[strcspn(line, "\n")] = '\0';
    (void)str_copy(text, size, line);
    return answer;
}

/* ---- Connecting ---- */

struct params {
    size_t n;
    const char *names[PARAMS_MAX + 1];
    const char *values[PARAMS_MAX + 1];
};

static void add(struct params *p, const char *name, const char *value)
{
    if (value != NULL && value[0] != '\0' && p->n < PARAMS_MAX) {
        p->names[p->n] = name;
        p->values[p->n] = value;
        p->n++;
    }
}

/* Nothing we do ourselves is worth a line in the server's log, and no commit of
 * ours waits for a standby. */
static const char session_options[] =
    "-c log_statement=none -c log_min_duration_statement=-1 -c log_duration=off "
    "-c search_path=pg_catalog -c synchronous_commit=local -c lock_timeout=0 "
    "-c idle_in_transaction_session_timeout=0 -c datestyle=ISO -c statement_timeout=";

static void fill_params(const struct pg_conn_target *t, const char *port, const char *options,
                        struct params *p)
{
    bool unix_socket = t->socket_dir[0] != '\0';

    add(p, "host", unix_socket ? t->socket_dir : t->host);
    add(p, "hostaddr", unix_socket ? NULL : t->address);
    add(p, "port", port);
    add(p, "dbname", t->database);
    add(p, "user", t->user);
    add(p, "password", t->password);
    /* Never a password we were not given; libpq warns of a file that is none, and is
     * quiet about one that can not be. */
    add(p, "passfile", "/dev/null/none");
    add(p, "gssencmode", "disable");
    for (size_t i = 0; t->ssl != NULL && i < t->ssl->n; i++) {
        add(p, t->ssl->items[i].key, t->ssl->items[i].value);
    }
    add(p, "application_name", "veche");
    add(p, "client_encoding", "UTF8");
    add(p, "options", options);
    p->names[p->n] = NULL;
    p->values[p->n] = NULL;
}

/* Nobody reads it; but a commit that did not wait to the end says so by a warning. */
static void on_notice(void *data, const PGresult *result)
{
    struct pg_conn *c = data;

    c->warned = c->warned ||
                str_equal(PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED), "WARNING");
}

static void start_session(struct pg_conn *c, const struct pg_conn_target *t, uint64_t timeout_ms)
{
    struct params p = {0};
    char port[8], options[512], text[TEXT_SIZE];

    (void)snprintf(port, sizeof(port), "%u", (unsigned)t->port);
    (void)snprintf(options, sizeof(options), "%s%llu", session_options,
                   (unsigned long long)timeout_ms);
    fill_params(t, port, options, &p);
    c->pq = PQconnectStartParams(p.names, p.values, 0);
    if (c->pq == NULL) {
        fail_later(c, PG_ANSWER_LOST, "out of memory");
        return;
    }
    (void)PQsetErrorVerbosity(c->pq, PQERRORS_VERBOSE);
    (void)PQsetNoticeReceiver(c->pq, on_notice, c);
    c->connecting = true;
    /* The first wait is always for writing, as PQconnectPoll's manual says. */
    if (PQstatus(c->pq) == CONNECTION_BAD || !start_poll(c, UV_WRITABLE, on_connect_event)) {
        enum pg_answer answer = explain_connect(c, text, sizeof(text));

        fail_later(c, answer, text);
    }
}

/* ---- The statement ---- */

static void send_more(struct pg_conn *c)
{
    int left = PQflush(c->pq);

    if (left < 0 || !start_poll(c, UV_READABLE | (left > 0 ? UV_WRITABLE : 0), on_query_event)) {
        fail(c, PG_ANSWER_LOST, "the connection broke while sending");
    }
}

static bool send_statement(struct pg_conn *c)
{
    return PQsetnonblocking(c->pq, 1) == 0 && PQsendQuery(c->pq, c->sql) == 1;
}

static void on_connect_event(uv_poll_t *poll, int status, int events)
{
    struct pg_conn *c = poll->data;
    PostgresPollingStatusType next;
    char text[TEXT_SIZE];
    enum pg_answer answer;

    (void)events;
    (void)status; /* PQconnectPoll finds out by itself. */
    stop_poll(c);
    next = PQconnectPoll(c->pq);
    c->reached = c->reached || PQstatus(c->pq) == CONNECTION_AWAITING_RESPONSE ||
                 PQstatus(c->pq) == CONNECTION_AUTH_OK;
    if (next == PGRES_POLLING_READING && start_poll(c, UV_READABLE, on_connect_event)) {
        return;
    }
    if (next == PGRES_POLLING_WRITING && start_poll(c, UV_WRITABLE, on_connect_event)) {
        return;
    }
    if (next == PGRES_POLLING_OK && send_statement(c)) {
        c->connecting = false;
        send_more(c);
        return;
    }
    answer = explain_connect(c, text, sizeof(text));
    fail(c, answer, text);
}

static void finish_statement(struct pg_conn *c)
{
    PGresult *result = c->result;
    ExecStatusType status = PQresultStatus(result);
    /* query_canceled: by statement_timeout, nobody else knows of this session. */
    bool timed_out = str_equal(PQresultErrorField(result, PG_DIAG_SQLSTATE), "57014");
    char text[TEXT_SIZE];

    stop_poll(c);
    c->result = NULL;
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
        answer_now(c, PG_ANSWER_OK, result, "");
        PQclear(result);
        return;
    }
    (void)str_copy(text, sizeof(text), PQresultErrorMessage(result));
    if (PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) != NULL) {
        (void)str_copy(text, sizeof(text), PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
    }
    PQclear(result);
    if (PQstatus(c->pq) == CONNECTION_BAD) {
        fail(c, PG_ANSWER_LOST, text);
    } else {
        answer_now(c, timed_out ? PG_ANSWER_TIMEOUT : PG_ANSWER_ERROR, NULL, text);
    }
}

/* Keeps the last result, or the first that failed: what follows is its echo. */
static void keep_result(struct pg_conn *c, PGresult *result)
{
    ExecStatusType status = PQresultStatus(c->result);

    if (c->result != NULL && status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        PQclear(result);
        return;
    }
    PQclear(c->result);
    c->result = result;
}

static void on_query_event(uv_poll_t *poll, int status, int events)
{
    struct pg_conn *c = poll->data;
    int left;

    (void)events;
    if (status != 0 || PQconsumeInput(c->pq) != 1) {
        fail(c, PG_ANSWER_LOST, "the connection broke");
        return;
    }
    left = PQflush(c->pq);
    while (PQisBusy(c->pq) == 0) {
        PGresult *result = PQgetResult(c->pq);

        if (result == NULL) {
            finish_statement(c);
            return;
        }
        if (PQresultStatus(result) == PGRES_COPY_IN || PQresultStatus(result) == PGRES_COPY_OUT ||
            PQresultStatus(result) == PGRES_COPY_BOTH) {
            PQclear(result);
            fail(c, PG_ANSWER_ERROR, "COPY is not for this session");
            return;
        }
        keep_result(c, result);
    }
    if (left < 0 ||
        uv_poll_start(poll, UV_READABLE | (left > 0 ? UV_WRITABLE : 0), on_query_event) != 0) {
        fail(c, PG_ANSWER_LOST, "the connection broke");
    }
}

/* ---- Public ---- */

struct pg_conn *pg_conn_new(uv_loop_t *loop)
{
    struct pg_conn *c = xmalloc(sizeof(*c));

    c->loop = loop;
    ASSERT(uv_timer_init(loop, &c->timer) == 0);
    c->timer.data = c;
    return c;
}

bool pg_conn_is_busy(const struct pg_conn *c)
{
    return c->busy;
}

bool pg_conn_is_open(const struct pg_conn *c)
{
    return c->pq != NULL && !c->connecting;
}

bool pg_conn_is_warned(const struct pg_conn *c)
{
    return c->warned;
}

void pg_conn_query(struct pg_conn *c, const struct pg_conn_target *target, const char *sql,
                   uint64_t deadline_ms, pg_conn_cb cb, void *data)
{
    PRE(!c->busy && !c->closing && cb != NULL);
    c->busy = true;
    c->warned = false;
    c->cb = cb;
    c->data = data;
    c->sql = xstrdup(sql);
    c->ready = PG_ANSWER_NONE;
    uv_update_time(c->loop);
    /* The server's own limit, if it can act, comes first and leaves the session. */
    (void)uv_timer_start(&c->timer, on_timer, deadline_ms + deadline_ms / 4 + 50, 0);
    if (c->pq == NULL) {
        start_session(c, target, deadline_ms);
    } else if (PQstatus(c->pq) == CONNECTION_BAD || !send_statement(c) || PQflush(c->pq) < 0 ||
               !start_poll(c, UV_READABLE | UV_WRITABLE, on_query_event)) {
        fail_later(c, PG_ANSWER_LOST, "the connection broke");
    }
}

void pg_conn_reset(struct pg_conn *c)
{
    if (c->busy) {
        fail_later(c, PG_ANSWER_LOST, "the session was dropped");
    } else {
        drop_session(c);
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct pg_conn *c = handle->data;

    c->close_cb(c->close_data);
    free(c);
}

void pg_conn_close(struct pg_conn *c, void (*cb)(void *data), void *data)
{
    PRE(!c->closing);
    c->closing = true;
    c->close_cb = cb;
    c->close_data = data;
    drop_session(c);
    free(c->sql);
    c->sql = NULL;
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}
