/*
 * See guard_packet.h.
 */
#include "guard/guard_packet.h"

#include <assert.h>

#define KILL_AFTER_NS_MAX UINT64_C(86400000000000) /* A day. */

static size_t size_of_kind(uint16_t kind)
{
    switch (kind) {
    case GUARD_HELLO:
        return sizeof(struct guard_hello);
    case GUARD_ARM:
        return sizeof(struct guard_arm_message);
    case GUARD_CLOSE:
        return sizeof(struct guard_close);
    case GUARD_START:
        return offsetof(struct guard_start, texts); /* At least. */
    case GUARD_ADOPT:
        return sizeof(struct guard_adopt);
    case GUARD_KILL:
        return sizeof(struct guard_kill);
    case GUARD_LEAVE:
        return sizeof(struct guard_header);
    case GUARD_WATCH:
        return sizeof(struct guard_watch);
    default:
        return 0;
    }
}

/* A bool that is neither 0 nor 1 must not be read as one. */
static bool is_bool(const union guard_packet *p, size_t offset)
{
    return (unsigned char)p->bytes[offset] <= 1;
}

static const char *fault_of_hello(const struct guard_hello *h)
{
    if (h->kill_after_ns == 0 || h->kill_after_ns > KILL_AFTER_NS_MAX) {
        return "kill_after is out of bounds";
    }
    return memchr(h->data_dir, '\0', sizeof(h->data_dir)) == NULL ? "an endless text" : NULL;
}

static const char *fault_of_arm(const union guard_packet *p)
{
    if (p->arm.kept.size > GUARD_KEPT_SIZE) {
        return "more to keep than there is room for";
    }
    return is_bool(p, offsetof(struct guard_arm_message, arm.may_write)) &&
                   is_bool(p, offsetof(struct guard_arm_message, arm.unfenced))
               ? NULL
               : "a bad flag";
}

/* Reading it as the enumeration comes after this. */
static const char *fault_of_kill(const union guard_packet *p)
{
    uint32_t why;

    static_assert(sizeof(why) == sizeof(p->kill.why), "an enumeration is an int");
    memcpy(&why, &p->bytes[offsetof(struct guard_kill, why)], sizeof(why));
    return why == GUARD_WHY_EPOCH || why == GUARD_WHY_ORDER ? NULL : "an unknown reason";
}

static const char *fault_of_watch(const union guard_packet *p)
{
    uint32_t mode;

    static_assert(sizeof(mode) == sizeof(p->watch.mode), "an enumeration is an int");
    memcpy(&mode, &p->bytes[offsetof(struct guard_watch, mode)], sizeof(mode));
    if (mode >= GUARD_WATCHDOG_MODES || p->watch.safety_margin_s < -1) {
        return "an unknown mode or margin";
    }
    if (!is_bool(p, offsetof(struct guard_watch, is_testing))) {
        return "a bad flag";
    }
    return memchr(p->watch.path, '\0', sizeof(p->watch.path)) == NULL ? "an endless text" : NULL;
}

static const char *fault_of_start(const union guard_packet *p, size_t size)
{
    const struct guard_start *s = &p->start;
    size_t at = offsetof(struct guard_start, texts);
    uint32_t n = 0;

    if (!is_bool(p, offsetof(struct guard_start, as_primary))) {
        return "a bad flag";
    }
    if (s->n_args < 2 || s->n_args > GUARD_ARGS_MAX || s->n_env > GUARD_ENV_MAX) {
        return "no program, or too many arguments";
    }
    while (at < size) {
        const char *end = memchr(&p->bytes[at], '\0', size - at);

        if (end == NULL) {
            return "an endless text";
        }
        at = (size_t)(end - p->bytes) + 1;
        n++;
    }
    if (n != s->n_args + s->n_env) {
        return "not as many texts as it says";
    }
    return s->texts[0] == '/' ? NULL : "the path of the program does not begin with a slash";
}

static const char *fault_of_header(const struct guard_header *h, size_t size)
{
    if (size < sizeof(*h)) {
        return "too short";
    }
    if (h->magic != VECHE_GUARD_MAGIC) {
        return "not of Veche";
    }
    if (h->size != size || size > GUARD_PACKET_MAX) {
        return "not of the size it says";
    }
    return h->version == VECHE_GUARD_VERSION ? NULL : "of another version";
}

bool guard_packet_is_of_other_version(const union guard_packet *packet, size_t size)
{
    const struct guard_header *h = &packet->header;

    return size >= sizeof(*h) && h->magic == VECHE_GUARD_MAGIC && h->size == size &&
           h->version != VECHE_GUARD_VERSION;
}

const char *guard_packet_fault(const union guard_packet *packet, size_t size)
{
    const char *fault = fault_of_header(&packet->header, size);
    size_t expected;

    if (fault != NULL) {
        return fault;
    }
    expected = size_of_kind(packet->header.kind);
    if (expected == 0) {
        return "of an unknown kind";
    }
    if (size < expected || (size > expected && packet->header.kind != GUARD_START)) {
        return "not of the size of its kind";
    }
    switch (packet->header.kind) {
    case GUARD_HELLO:
        return fault_of_hello(&packet->hello);
    case GUARD_ARM:
        return fault_of_arm(packet);
    case GUARD_START:
        return fault_of_start(packet, size);
    case GUARD_ADOPT:
        if (!is_bool(packet, offsetof(struct guard_adopt, may_write))) {
            return "a bad flag";
        }
        return packet->adopt.pid > 1 ? NULL : "no process";
    case GUARD_KILL:
        return fault_of_kill(packet);
    case GUARD_WATCH:
        return fault_of_watch(packet);
    default:
        return NULL;
    }
}

void guard_packet_texts(union guard_packet *packet, struct guard_texts *ret)
{
    struct guard_start *s = &packet->start;
    char *at = s->texts;

    PRE(s->n_args >= 2 && s->n_args <= GUARD_ARGS_MAX && s->n_env <= GUARD_ENV_MAX);
    ret->path = at;
    for (uint32_t i = 1; i < s->n_args; i++) {
        at += strlen(at) + 1;
        ret->argv[i - 1] = at;
    }
    ret->argv[s->n_args - 1] = NULL;
    for (uint32_t i = 0; i < s->n_env; i++) {
        at += strlen(at) + 1;
        ret->env[i] = at;
    }
    ret->env[s->n_env] = NULL;
}
