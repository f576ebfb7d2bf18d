/*
 * The state machine libraft drives: commands are decoded and applied to the
 * thread's own copy of the store, and sent on to the agent, which applies the
 * same commands to its copy. Never fails: what can not be applied stops the
 * process, since going on would part this node from the others.
 *
 * The result of an apply travels in the pointer libraft keeps for it: nothing
 * to allocate, so nothing to leak on followers, who have nobody to hand it to.
 */
#include "base/log.h"
#include "consensus/workarounds.h"
#include "store/snapshot.h"
#include "veche/exitcode.h"

static void stop_on_bad_command(int rv, uint64_t index, const struct err *err)
{
    log_error("A committed command can not be applied. index=%llu error=\"%s\"",
              (unsigned long long)index, err->text);
    if (rv == COMMAND_NEWER_VERSION) {
        consensus_fail_stop(VECHE_EXIT_NEWER, "the log holds a command of a newer Veche",
                            "install the newer version on this node");
    }
    consensus_fail_stop(VECHE_EXIT_RAFT_FAILED, "the log is damaged", err->text);
}

static void post_commit(struct consensus_thread *t, uint64_t index, const void *bytes, size_t size)
{
    struct item *item = item_new(ITEM_COMMIT);

    item->number = index;
    item->bytes = xmalloc(size);
    memcpy(item->bytes, bytes, size);
    item->size = size;
    queue_push_commit(&t->shared->out, item, t->store);
}

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
    struct consensus_thread *t = fsm->data;
    uint64_t index = raft_last_applied(&t->raft) + 1; /* Moves only after we return. */
    const void *bytes = NULL;
    size_t size = 0;
    struct err err = {""};
    unsigned changes = 0;
    int rv;

    if (workaround_unpad_entry(buf, &bytes, &size) != 0) {
        (void)err_set(&err, "wrong size or check sum"); /* Its result is for callers. */
        stop_on_bad_command(-1, index, &err);
    }
    rv = command_decode(bytes, size, t->command, &err);
    if (rv != 0) {
        stop_on_bad_command(rv, index, &err);
    }
    ASSERT(index > t->store->applied_index);
    *result = (void *)(uintptr_t)store_apply(t->store, index, t->command, &changes);
    post_commit(t, index, bytes, size);
    return 0;
}

static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
    struct consensus_thread *t = fsm->data;
    struct raft_buffer *buf = raft_malloc(sizeof(*buf));
    struct err err = {""};
    int size;

    if (buf == NULL) {
        return RAFT_NOMEM;
    }
    buf->base = raft_malloc(SNAPSHOT_SIZE_MAX);
    if (buf->base == NULL) {
        raft_free(buf);
        return RAFT_NOMEM;
    }
    size = snapshot_encode(t->store, buf->base, SNAPSHOT_SIZE_MAX, &err);
    if (size < 0) {
        log_error("A snapshot can not be made, the log is kept. error=\"%s\"", err.text);
        raft_free(buf->base);
        raft_free(buf);
        return RAFT_TOOBIG;
    }
    buf->len = (size_t)size;
    *bufs = buf;
    *n_bufs = 1;
    return 0;
}

static int fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buf)
{
    struct consensus_thread *t = fsm->data;
    struct item *item;
    struct err err = {""};

    if (snapshot_decode(buf->base, buf->len, t->store, &err) != 0) {
        if (t->running) { /* Sent by the leader; libraft would go on without it. */
            consensus_fail_stop(VECHE_EXIT_RAFT_FAILED, "a snapshot can not be restored", err.text);
        }
        log_error("The snapshot in the Raft directory is damaged. error=\"%s\"", err.text);
        return RAFT_CORRUPT;
    }
    raft_free(buf->base);
    item = item_new(ITEM_RESTORE);
    item->size = sizeof(*t->store);
    item->bytes = xmalloc(item->size);
    memcpy(item->bytes, t->store, item->size);
    (void)queue_push(&t->shared->out, item); /* Closed: nobody wants it any more. */
    return 0;
}

void thread_init_fsm(struct consensus_thread *t)
{
    t->fsm = (struct raft_fsm){
        .version = 2, /* Required; without snapshot_finalize libraft frees the buffers. */
        .data = t,
        .apply = fsm_apply,
        .snapshot = fsm_snapshot,
        .restore = fsm_restore,
    };
}
