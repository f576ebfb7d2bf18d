/*
 * The preface, see peer_preface.h. Magic and version stand first and are
 * judged first: of what another version wrote nothing else is read.
 */
#include "peer/peer_preface.h"

#include <inttypes.h>

#include "base/codec.h"
#include "veche/format.h"

size_t preface_encode(const struct preface *preface, uint8_t buffer[PREFACE_SIZE])
{
    struct encoder e;

    encoder_init(&e, buffer, PREFACE_SIZE);
    encode_u64(&e, VECHE_PEER_MAGIC);
    encode_u16(&e, VECHE_PEER_VERSION);
    encode_u64(&e, preface->cluster_id);
    encode_text(&e, preface->scope);
    encode_u64(&e, preface->id);
    encode_u64(&e, preface->instance);
    encode_u64(&e, preface->process);
    encode_u8(&e, (uint8_t)preface->kind);
    encode_text(&e, preface->name);
    encode_text(&e, preface->address);
    POST(!e.failed);
    return e.used;
}

static bool decode_rest(struct decoder *d, struct preface *p)
{
    uint8_t kind;

    p->cluster_id = decode_u64(d);
    decode_text(d, p->scope, sizeof(p->scope));
    p->id = decode_u64(d);
    p->instance = decode_u64(d);
    p->process = decode_u64(d);
    kind = decode_u8(d);
    decode_text(d, p->name, sizeof(p->name));
    decode_text(d, p->address, sizeof(p->address));
    p->kind = kind == LINK_RAFT ? LINK_RAFT : LINK_PEER;
    return decoder_is_done(d) && kind <= LINK_RAFT && p->id != 0 && name_is_valid(p->scope) &&
           name_is_valid(p->name);
}

static enum peer_cause judge(const struct preface *ours, const struct preface *theirs,
                             struct err *err)
{
    if (strcmp(ours->scope, theirs->scope) != 0) {
        (void)err_set(err, "scope \"%s\" met scope \"%s\"", ours->scope, theirs->scope);
        return CAUSE_SCOPE;
    }
    if (ours->id == theirs->id) {
        (void)err_set(err, "two nodes run as \"%s\" (id %016" PRIx64 "), the other at %s",
                      ours->name, ours->id, theirs->address);
        return CAUSE_TWIN;
    }
    if (!preface_is_hello_only(ours, theirs) && ours->cluster_id != theirs->cluster_id) {
        (void)err_set(err, "cluster %016" PRIx64 " met cluster %016" PRIx64 ", node \"%s\"",
                      ours->cluster_id, theirs->cluster_id, theirs->name);
        return CAUSE_CLUSTER;
    }
    if (theirs->kind == LINK_RAFT && preface_is_hello_only(ours, theirs)) {
        (void)err_set(err, "a Raft connection, and no common cluster yet");
        return CAUSE_KIND;
    }
    return CAUSE_NONE;
}

enum peer_cause preface_judge(const struct preface *ours, const void *bytes, size_t size,
                              struct preface *ret, bool *ret_is_self, struct err *err)
{
    struct preface theirs = {0};
    struct decoder d;
    enum peer_cause cause;
    uint16_t version;

    decoder_init(&d, bytes, size);
    if (decode_u64(&d) != VECHE_PEER_MAGIC || d.failed) {
        (void)err_set(err, "the preface does not begin as one of ours");
        return CAUSE_MALFORMED;
    }
    version = decode_u16(&d);
    if (d.failed || version != VECHE_PEER_VERSION) {
        (void)err_set(err, "protocol version %u met version %u", VECHE_PEER_VERSION, version);
        return CAUSE_VERSION;
    }
    if (!decode_rest(&d, &theirs)) {
        (void)err_set(err, "the preface is malformed");
        return CAUSE_MALFORMED;
    }
    *ret_is_self = theirs.id == ours->id && theirs.process == ours->process;
    cause = judge(ours, &theirs, err);
    if (cause == CAUSE_NONE) {
        *ret = theirs;
    }
    return cause;
}

bool preface_is_hello_only(const struct preface *ours, const struct preface *theirs)
{
    return ours->cluster_id == 0 || theirs->cluster_id == 0;
}
