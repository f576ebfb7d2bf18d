/* Callbacks run, see hooks.h. */
#include "ops/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/codec.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/str.h"

#define FILE_SIZE  64
#define FILE_MAGIC UINT32_C(0x4B484356) /* "VCHK" */

struct call { /* What is to be run, or runs. */
    enum hook hook;
    enum hook_role role;
};

struct slot {
    struct hooks *hooks;
    enum pg_script script;
    struct pg_child *child; /* NULL: nothing runs. */
    struct call runs, next; /* next: when what runs was killed for it has ended. */
    uint64_t started_ms;
    const char *killed; /* Why; NULL = it was not. */
};

struct hooks {
    struct pg *pg;
    uint64_t instance;
    void *map; /* FILE_SIZE bytes; NULL = there is none. */
    struct hook_told told;
    struct call cut; /* Of the agent before us; run again unless something else follows. */
    struct slot main, reload;
    uint64_t leaving_ms; /* 0 = we stay. */
};

/* ---- What is remembered ---- */

/* What the next agent has to run again if nothing more comes. */
static const struct call *unfinished(const struct hooks *h)
{
    if (h->main.next.hook != HOOK_NONE) {
        return &h->main.next;
    }
    return h->main.runs.hook != HOOK_NONE ? &h->main.runs : &h->cut;
}

static void encode_memory(const struct hooks *h, struct encoder *e)
{
    const struct call *runs = unfinished(h);

    encode_u32(e, FILE_MAGIC);
    encode_u64(e, h->instance);
    encode_u8(e, (uint8_t)h->told.state);
    encode_u8(e, (uint8_t)h->told.role);
    encode_u64(e, (uint64_t)h->told.start_us);
    encode_u8(e, (uint8_t)runs->hook);
    encode_u8(e, (uint8_t)runs->role);
    encode_bool(e, h->reload.runs.hook != HOOK_NONE);
    encode_u32(e, crc32c(0, e->data, e->used));
}

/* Into memory that outlives the process; a process is not killed in the middle of it often
 * enough to matter: then the sum is wrong, and what runs is told once more. */
static void remember(const struct hooks *h)
{
    uint8_t bytes[FILE_SIZE] = {0};
    struct encoder e;

    if (h->map != NULL) {
        encoder_init(&e, bytes, sizeof(bytes));
        encode_memory(h, &e);
        ASSERT(!e.failed);
        memcpy(h->map, bytes, sizeof(bytes));
    }
}

static bool is_one_of(uint8_t value, int n)
{
    return value < n;
}

static void recall(struct hooks *h)
{
    struct decoder d;
    struct hook_told told;
    uint8_t state, role, hook, cut_role;
    bool is_ours, reload;
    size_t used;

    decoder_init(&d, h->map, FILE_SIZE);
    is_ours = decode_u32(&d) == FILE_MAGIC;
    is_ours = decode_u64(&d) == h->instance && is_ours;
    state = decode_u8(&d);
    role = decode_u8(&d);
    told.start_us = (int64_t)decode_u64(&d);
    hook = decode_u8(&d);
    cut_role = decode_u8(&d);
    reload = decode_bool(&d);
    used = d.used;
    if (!is_ours || d.failed || decode_u32(&d) != crc32c(0, h->map, used) ||
        !is_one_of(state, HOOK_STATES) || !is_one_of(role, HOOK_ROLES) || !is_one_of(hook, HOOKS) ||
        !is_one_of(cut_role, HOOK_ROLES)) {
        return;
    }
    told.state = (enum hook_state)state;
    told.role = (enum hook_role)role;
    h->told = told;
    h->cut = (struct call){(enum hook)hook, (enum hook_role)cut_role};
    if (h->cut.hook != HOOK_NONE) {
        log_warning("A callback was cut off by the end of the agent before: ending what is left "
                    "of it, it runs again unless another one follows. callback=%s role=%s left=%zu",
                    hook_name(h->cut.hook), hook_role_name(h->cut.role),
                    pg_script_sweep(h->pg, PG_SCRIPT_CALLBACK));
    }
    if (reload) {
        (void)pg_script_sweep(h->pg, PG_SCRIPT_RELOAD); /* It reads what is there anyway. */
    }
}

static int map_file(struct hooks *h, const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rv;

    if (fd < 0) {
        return -1;
    }
    /* A hole in a full file system would kill us at the first write. */
    rv = posix_fallocate(fd, 0, FILE_SIZE);
    if (rv == 0) {
        h->map = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        rv = h->map == MAP_FAILED ? errno : 0;
    }
    (void)close(fd); /* The mapping stays. */
    if (rv != 0) {
        h->map = NULL;
        errno = rv;
        return -1;
    }
    return 0;
}

struct hooks *hooks_new(struct pg *pg, const char *path, uint64_t instance)
{
    struct hooks *h = xmalloc(sizeof(*h));

    h->pg = pg;
    h->instance = instance;
    h->main = (struct slot){.hooks = h, .script = PG_SCRIPT_CALLBACK};
    h->reload = (struct slot){.hooks = h, .script = PG_SCRIPT_RELOAD};
    if (map_file(h, path) != 0) {
        log_warning("What callbacks were told can not be kept: an agent that starts again will "
                    "call on_start again. file=%s error=\"%s\"",
                    path, strerrordesc_np(errno));
    } else {
        recall(h);
    }
    return h;
}

/* ---- One slot ---- */

static void start(struct slot *slot, uint64_t now_ms);

static void log_end(const struct slot *slot, uint64_t now_ms, int status, const char *problem)
{
    unsigned long long ms = now_ms > slot->started_ms ? now_ms - slot->started_ms : 0;
    const char *name = hook_name(slot->runs.hook);
    const char *role = hook_role_name(slot->runs.role);

    if (slot->killed != NULL) {
        log_warning("Callback killed, with what it started. callback=%s role=%s ms=%llu why=\"%s\"",
                    name, role, ms, slot->killed);
    } else if (status != 0) {
        log_warning("Callback failed, it is not tried again. callback=%s role=%s ms=%llu "
                    "problem=\"%s\"",
                    name, role, ms, problem);
    } else {
        log_info("Callback done. callback=%s role=%s ms=%llu", name, role, ms);
    }
}

static void on_end(void *data, int status, const char *problem)
{
    struct slot *slot = data;
    uint64_t now_ms = clock_ms();

    slot->child = NULL;
    log_end(slot, now_ms, status, problem);
    if (slot->hooks->leaving_ms != 0 && slot->killed != NULL && slot->next.hook != HOOK_STOP) {
        return; /* It, or what was to follow it, stays on record for the next agent. */
    }
    slot->runs = slot->next;
    slot->next = (struct call){0};
    start(slot, now_ms);
    remember(slot->hooks);
}

/* slot->runs, if it is anything and there is a command for it. */
static void start(struct slot *slot, uint64_t now_ms)
{
    const struct pg_options *o = pg_options(slot->hooks->pg);
    const char *name = hook_name(slot->runs.hook);
    const char *role = hook_role_name(slot->runs.role);
    const char *command =
        slot->runs.hook != HOOK_NONE && o->callbacks != NULL ? kv_get(o->callbacks, name) : NULL;
    const char *const args[] = {name, role, o->scope, NULL};
    struct err err = {""};

    slot->killed = NULL;
    slot->started_ms = now_ms;
    if (command == NULL || command[0] == '\0') {
        slot->runs = (struct call){0};
        return;
    }
    slot->child =
        pg_script_start(slot->hooks->pg, slot->script, name, command, args, on_end, slot, &err);
    if (slot->child == NULL) {
        log_error("A callback can not be run. callback=%s role=%s problem=\"%s\"", name, role,
                  err.text);
        slot->runs = (struct call){0};
        return;
    }
    log_info("Callback started. callback=%s role=%s", name, role);
}

static void end(struct slot *slot, const char *why)
{
    if (slot->child != NULL && slot->killed == NULL) {
        slot->killed = why;
        pg_child_kill(slot->child);
    }
}

/* What runs makes room, and `call` follows as soon as it is reaped. */
static void call(struct slot *slot, struct call call, uint64_t now_ms)
{
    if (slot->child != NULL) {
        slot->next = call;
        end(slot, "another callback takes its place");
        return;
    }
    slot->runs = call;
    start(slot, now_ms);
}

static uint64_t watch(struct slot *slot, uint64_t now_ms)
{
    if (slot->child == NULL || slot->killed != NULL) {
        return UINT64_MAX;
    }
    if (now_ms >= slot->started_ms + HOOK_LIMIT_MS) {
        end(slot, "it took too long");
        return UINT64_MAX;
    }
    return slot->started_ms + HOOK_LIMIT_MS;
}

/* ---- All of them ---- */

/* Whether what was cut off still is what there is to say. */
static bool is_true(const struct call *cut, const struct hook_told *told,
                    const struct hook_seen *seen)
{
    bool is_of_end = cut->hook == HOOK_STOP || cut->role == HOOK_DEMOTED;

    return cut->hook != HOOK_NONE && cut->role == told->role &&
           seen->state == (is_of_end ? HOOK_SEEN_DOWN : HOOK_SEEN_UP);
}

uint64_t hooks_tick(struct hooks *h, const struct hook_seen *seen, uint64_t now_ms)
{
    const struct hook_rule *rule = hook_next(&h->told, seen);
    struct call next = {rule->hook, h->told.role};

    if (next.hook == HOOK_NONE && is_true(&h->cut, &h->told, seen)) {
        next = h->cut;
    }
    if (seen->state != HOOK_SEEN_UNCLEAR) {
        h->cut = (struct call){0};
    }
    if (next.hook != HOOK_NONE) {
        call(&h->main, next, now_ms);
    }
    remember(h);
    return MIN(watch(&h->main, now_ms), watch(&h->reload, now_ms));
}

void hooks_reloaded(struct hooks *h, uint64_t now_ms)
{
    if (h->told.role != HOOK_NO_ROLE) {
        call(&h->reload, (struct call){HOOK_RELOAD, h->told.role}, now_ms);
        remember(h);
    }
}

void hooks_leave(struct hooks *h, uint64_t now_ms)
{
    h->leaving_ms = h->leaving_ms != 0 ? h->leaving_ms : MAX(now_ms, 1);
    end(&h->reload, "the agent leaves");
    if (h->main.runs.hook != HOOK_STOP || now_ms >= h->leaving_ms + HOOK_LEAVE_MS) {
        end(&h->main, "the agent leaves");
    }
}

bool hooks_is_idle(const struct hooks *h)
{
    return h->main.child == NULL && h->reload.child == NULL;
}

void hooks_free(struct hooks *h)
{
    if (h == NULL) {
        return;
    }
    PRE(hooks_is_idle(h));
    if (h->map != NULL) {
        (void)munmap(h->map, FILE_SIZE); /* Cannot fail on our own mapping. */
    }
    free(h);
}
