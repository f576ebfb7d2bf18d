/*
 * Work-arounds for libraft, see workarounds.h. Versions are those of
 * RAFT_VERSION_NUMBER; when a release mends one of them its test with
 * "without" stops failing, and the function can go.
 *
 * The public vtable `struct raft_io` is where most of them sit: our functions
 * stand in front of the library's own.
 */
#include "consensus/workarounds.h"

#include "base/codec.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/str.h"
#include "consensus/durable.h"
#include "veche/exitcode.h"

#define ENTRY_HEADER_SIZE 8

static struct consensus_thread *thread_of(struct raft_io *io)
{
    return CONTAINER_OF(io, struct consensus_thread, io);
}

static bool has(const struct consensus_thread *t, enum consensus_without workaround)
{
    return (t->shared->without & workaround) == 0;
}

void consensus_fail_stop(int exit_code, const char *what, const char *why)
{
    log_set_sink(NULL); /* Nobody would write it to a file any more. */
    log_error("Raft can not go on here, the agent stops at once; PostgreSQL goes on and the next "
              "agent adopts it. what=\"%s\" why=\"%s\"",
              what, why);
    _exit(exit_code);
}

/* R2, 2200 to 2201: after a failed write of the log a timer of something else is
 * started, whose callback reads wild memory disk_retry later. The library tells
 * of the failure in a trace only, so the trace is where we stop in good order. */
static void stop_on_failed_log_write(struct raft_tracer *tracer, int type, const void *data)
{
    const struct raft_tracer_info *info = data;
    const struct consensus_thread *t = tracer->impl;

    if (type != RAFT_TRACER_DIAGNOSTIC) {
        return;
    }
    if (has(t, CONSENSUS_WITHOUT_RETRY) &&
        str_starts_with(info->diagnostic.message, "retry failed write")) {
        consensus_fail_stop(VECHE_EXIT_RAFT_FAILED, "the log can not be written",
                            info->diagnostic.message);
    }
    if (info->diagnostic.level <= 3) {
        log_debug("libraft: %s", info->diagnostic.message);
    }
}

static void drop_message(struct raft_message *m)
{
    if (m->type == RAFT_APPEND_ENTRIES && m->append_entries.n_entries > 0) {
        raft_free(m->append_entries.entries[0].batch);
        raft_free(m->append_entries.entries);
    } else if (m->type == RAFT_INSTALL_SNAPSHOT) {
        raft_configuration_close(&m->install_snapshot.conf);
        raft_free(m->install_snapshot.data.base);
    }
}

static bool copy_configuration(const struct raft_configuration *from, struct raft_configuration *to)
{
    int rv = 0;

    raft_configuration_init(to);
    for (unsigned i = 0; i < from->n && rv == 0; i++) {
        const struct raft_server *s = &from->servers[i];

        rv = raft_configuration_add(to, s->id, s->address, s->role);
    }
    if (rv != 0) {
        raft_configuration_close(to);
    }
    return rv == 0;
}

/* R1 again: a membership entry that arrives while the one before it is not applied
 * yet takes that one's place, which is then never taken for committed, nor gone back
 * to: the node may go on with members of two changes ago. But a leader proposes one
 * only when it has committed the one before, and that is what the library itself goes
 * by when it reads its log. Nothing is reported until it is so, and no snapshot taken. */
static void receive_second_change(struct consensus_thread *t, struct raft_message *m)
{
    struct raft *r = &t->raft;
    raft_index before = r->configuration_uncommitted_index;
    struct raft_configuration overtaken;

    if (!copy_configuration(&r->configuration, &overtaken)) {
        drop_message(m); /* The leader sends it again. */
        return;
    }
    t->holds_reports = true;
    raft_set_snapshot_threshold(r, UINT_MAX);
    t->original.recv(&t->io, m);
    t->holds_reports = false;
    raft_set_snapshot_threshold(r, SNAPSHOT_THRESHOLD);
    if (r->configuration_uncommitted_index > before) {
        raft_configuration_close(&r->configuration_committed);
        r->configuration_committed = overtaken;
        r->configuration_committed_index = before;
    } else {
        raft_configuration_close(&overtaken);
    }
    if (t->running) {
        thread_report_leadership(t);
    }
}

static void receive_whole(struct consensus_thread *t, struct raft_message *m)
{
    const struct raft_append_entries *a = &m->append_entries;

    if (has(t, CONSENSUS_WITHOUT_BOTH) && t->raft.configuration_uncommitted_index != 0 &&
        m->type == RAFT_APPEND_ENTRIES && a->n_entries > 0 &&
        a->entries[0].type == RAFT_CHANGE) {
        receive_second_change(t, m);
    } else {
        t->original.recv(&t->io, m);
    }
}

/* Passes on entries [from, to) of m, in memory of their own. False: no memory. */
static bool receive_part(struct consensus_thread *t, const struct raft_message *m, unsigned from,
                         unsigned to)
{
    const struct raft_append_entries *whole = &m->append_entries;
    struct raft_message part = *m;
    struct raft_entry *entries = raft_calloc(to - from, sizeof(*entries));
    size_t size = 0;
    uint8_t *batch;

    for (unsigned i = from; i < to; i++) {
        size += whole->entries[i].buf.len;
    }
    batch = raft_malloc(size);
    if (entries == NULL || batch == NULL) {
        raft_free(entries);
        raft_free(batch);
        return false;
    }
    part.append_entries.entries = entries;
    part.append_entries.n_entries = to - from;
    if (from > 0) {
        part.append_entries.prev_log_index += from;
        part.append_entries.prev_log_term = whole->entries[from - 1].term;
    }
    for (unsigned i = from; i < to; i++) {
        struct raft_entry *e = &entries[i - from];

        *e = whole->entries[i];
        memcpy(batch, whole->entries[i].buf.base, e->buf.len);
        e->buf.base = batch;
        batch += e->buf.len;
    }
    batch = entries[0].buf.base;
    for (unsigned i = 0; i < to - from; i++) {
        entries[i].batch = batch;
    }
    receive_whole(t, &part);
    return true;
}

/* R1, 2200 and newer: a membership entry that arrives behind others in one
 * message is taken for the first of them. The node then writes snapshots with
 * the members of before, and after a restart counts another majority than the
 * rest. So each such entry is made the first of a message of its own; that is
 * what the leader might have sent as well. */
static bool needs_split(const struct raft_message *m)
{
    const struct raft_append_entries *a = &m->append_entries;

    for (unsigned i = 1; m->type == RAFT_APPEND_ENTRIES && i < a->n_entries; i++) {
        if (a->entries[i].type == RAFT_CHANGE) {
            return true;
        }
    }
    return false;
}

static void receive_split(struct consensus_thread *t, struct raft_message *m)
{
    const struct raft_append_entries *a = &m->append_entries;
    unsigned from = 0;

    for (unsigned i = 1; i <= a->n_entries; i++) {
        if (i == a->n_entries || a->entries[i].type == RAFT_CHANGE) {
            if (!receive_part(t, m, from, i)) {
                break; /* The rest counts as lost; the leader sends it again. */
            }
            from = i;
        }
    }
    drop_message(m);
}

/* R3, 2200 to 2201: a snapshot received while one is being taken is followed
 * through a null pointer, one received while another is installed is leaked. Both
 * are dropped instead; the leader sends it again. */
static bool meets_own_snapshot(const struct consensus_thread *t, const struct raft_message *m)
{
    return m->type == RAFT_INSTALL_SNAPSHOT &&
           (t->raft.legacy.snapshot_taking || t->raft.snapshot.installing);
}

static void receive(struct raft_io *io, struct raft_message *m)
{
    struct consensus_thread *t = thread_of(io);

    if (has(t, CONSENSUS_WITHOUT_R3) && meets_own_snapshot(t, m)) {
        log_info("A snapshot was received while another is being written; waiting for it to be "
                 "sent again.");
        drop_message(m);
    } else if (has(t, CONSENSUS_WITHOUT_R1) && needs_split(m)) {
        receive_split(t, m);
    } else {
        receive_whole(t, m);
    }
}

static int start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
    struct consensus_thread *t = thread_of(io);

    t->original.recv = recv;
    t->listens = true;
    return t->original.start(io, msecs, tick, receive);
}

void workaround_io(struct consensus_thread *t)
{
    struct raft_io *io = &t->io;

    t->original.start = io->start;
    io->start = start;
    durable_io(t);

    t->tracer = (struct raft_tracer){.impl = t, .version = 2, .emit = stop_on_failed_log_write};
    raft_uv_set_tracer(io, &t->tracer);
    /* Throwing away damaged segments loses acknowledged entries: refuse instead. */
    raft_uv_set_auto_recovery(io, !has(t, CONSENSUS_WITHOUT_REFUSAL));
    if (has(t, CONSENSUS_WITHOUT_CONNECT_RETRY)) {
        /* A peer that comes back is missed for a second otherwise. */
        raft_uv_set_connect_retry_delay(io, CONNECT_RETRY_MS);
    }
    raft_uv_set_disk_retry(io, DISK_RETRY_MS);
    if (has(t, CONSENSUS_WITHOUT_SIZES)) {
        raft_uv_set_segment_size(io, SEGMENT_SIZE); /* Three of 8 MiB lie ready otherwise. */
    }
}

void workaround_settings(struct consensus_thread *t)
{
    struct raft *r = &t->raft;

    r->tracer = &t->tracer;
    if (has(t, CONSENSUS_WITHOUT_SIZES)) {
        /* The default of 4 MiB can never be met by segments of 1 MiB. */
        raft_set_capacity_threshold(r, CAPACITY_MIN_KB);
    }
    raft_set_snapshot_threshold(r, SNAPSHOT_THRESHOLD);
    raft_set_snapshot_trailing(r, SNAPSHOT_TRAILING);
    raft_set_install_snapshot_timeout(r, INSTALL_TIMEOUT_MS);
    /* Election first: setting the heartbeat looks at it. */
    raft_set_election_timeout(r, t->shared->election_timeout_ms);
    raft_set_heartbeat_timeout(r, MAX(t->shared->election_timeout_ms / 10, 1));
    /* A member that was cut off comes back with no higher term, and deposes nobody. */
    raft_set_pre_vote(r, has(t, CONSENSUS_WITHOUT_PRE_VOTE));
}

/* All versions: an entry that is empty or no multiple of eight long is written,
 * acknowledged, and taken for damage after the next restart. */
void *workaround_pad_entry(const struct consensus_thread *t, const void *bytes, size_t size,
                           size_t *ret_size)
{
    size_t padded = ENTRY_HEADER_SIZE + size;
    struct encoder e;
    uint8_t *data;

    PRE(size > 0 && size <= PROPOSAL_SIZE_MAX);
    if (has(t, CONSENSUS_WITHOUT_PADDING)) {
        padded = (padded + 7) / 8 * 8;
    }
    data = raft_calloc(1, padded);
    if (data == NULL) {
        return NULL;
    }
    encoder_init(&e, data, padded);
    encode_u32(&e, (uint32_t)size);
    encode_u32(&e, crc32c(0, bytes, size));
    encode_bytes(&e, bytes, size);
    POST(!e.failed);
    *ret_size = padded;
    return data;
}

int workaround_unpad_entry(const struct raft_buffer *buf, const void **ret_bytes, size_t *ret_size)
{
    struct decoder d;
    uint32_t size;
    uint32_t crc;
    const uint8_t *bytes;

    decoder_init(&d, buf->base, buf->len);
    size = decode_u32(&d);
    crc = decode_u32(&d);
    bytes = decode_bytes(&d, size);
    if (d.failed || size == 0 || crc32c(0, bytes, size) != crc) {
        return -1;
    }
    *ret_bytes = bytes;
    *ret_size = size;
    return 0;
}
