/*
 * Good inputs, for a fuzzer to start from: `fuzz_seeds DIRECTORY` writes some
 * into DIRECTORY/<target>/. What the targets keep in tests/fuzz/corpus grew out
 * of these.
 */
#include "../unit/test_store_util.h"

#include <stdalign.h>
#include <sys/stat.h>

#include "base/codec.h"
#include "consensus/identity.h"
#include "lease.h"
#include "peer/peer_frame.h"
#include "peer/peer_message.h"
#include "peer/peer_preface.h"
#include "store/snapshot.h"

static const char *directory;
static int n_written;

static void put(const char *target, uint8_t first, const void *bytes, size_t size)
{
    char path[512];
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/%s", directory, target);
    (void)mkdir(path, 0755); /* Or it is there. */
    (void)snprintf(path, sizeof(path), "%s/%s/seed-%d", directory, target, n_written++);
    f = fopen(path, "we");
    if (f == NULL || fputc(first, f) == EOF || fwrite(bytes, 1, size, f) != size ||
        fclose(f) != 0) {
        perror(path);
        exit(1);
    }
}

static void put_store(struct rng *rng)
{
    static struct store store;
    static uint8_t log[65536];
    static uint8_t bytes[SNAPSHOT_SIZE_MAX];
    static struct command c;
    struct encoder e;
    struct err err;
    unsigned changes;
    int n;

    store_init(&store);
    encoder_init(&e, log, sizeof(log));
    for (int i = 0; i < 3 * COMMAND_KINDS; i++) {
        random_command(rng, (enum command_kind)(1 + i % (COMMAND_KINDS - 1)), &c);
        n = command_encode(&c, bytes, 4096, &err);
        if (n > 0 && (size_t)n + 2 < sizeof(log) - e.used) {
            encode_u16(&e, (uint16_t)n);
            encode_bytes(&e, bytes, (size_t)n);
            (void)store_apply(&store, (uint64_t)i + 1, &c, &changes);
        }
        if (i % 4 == 3 && e.used > 0) { /* Its first byte belongs to the first size. */
            put("command", log[0], log + 1, e.used - 1);
            encoder_init(&e, log, sizeof(log));
        }
    }
    n = snapshot_encode(&store, bytes, sizeof(bytes), &err);
    put("snapshot", (uint8_t)" pqt"[bytes[4]], bytes, (size_t)n); /* By its version. */
}

static void put_files(void)
{
    static alignas(8) uint8_t file[LEASE_FILE_SIZE];
    struct identity identity = {.id = 1,
                                .name = "pg1",
                                .phase = IDENTITY_MEMBER,
                                .cluster_id = 2,
                                .scope = "batman",
                                .n_members = 3,
                                .members = {1, 2, 3}};
    struct lease_image image = {.node_id = 1, .boot_id = {1, 2, 3}};
    uint8_t bytes[IDENTITY_SIZE_MAX];

    put("identity", 'p', bytes, identity_encode(&identity, bytes));
    lease_file_encode(file, &image);
    put("promise", 4, file, sizeof(file));
    lease_file_encode(file, &image);
    put("promise", 0, file, sizeof(file));
}

static void put_peer(void)
{
    uint8_t bytes[MESSAGE_SIZE];
    uint8_t stream[8192];
    size_t used = 1;
    struct preface preface = {.cluster_id = 1,
                              .scope = "batman",
                              .id = 7,
                              .instance = 8,
                              .process = 9,
                              .kind = LINK_RAFT,
                              .name = "pg2",
                              .address = "127.0.0.1:7401"};
    struct hello hello = {.id = 7, .name = "pg2", .n_members = 2, .members = {1, 2}};
    struct status status = {.id = 7, .name = "pg2", .n_heard = 2, .heard = {1, 2}};
    struct lease_renew renew = {.owner = 7, .epoch = 1, .round = 3};
    struct lease_grant grant = {.voter = 7, .epoch = 1, .n_sets = 2};
    struct positions positions = {.epoch = 1, .valid = true, .timeline = 2};
    struct proposal_result result = {.request = 1, .answered = true};
    struct refusal_message refusal = {.cause = CAUSE_SCOPE, .why = "another scope"};
    struct action_message action = {.request = 1, .action = PEER_RELOAD};
    struct outcome_message outcome = {.request = 1, .outcome = PEER_REFUSED, .text = "a.yml:3:1"};
    struct proposal proposal = {.request = 1, .leader = 2, .bytes = bytes, .size = 8};

#define MESSAGE(type, what)                                                            \
    do {                                                                               \
        size_t n_ = message_encode_##what(&(what), stream + used + FRAME_HEADER_SIZE); \
        put("message", (type)-1, stream + used + FRAME_HEADER_SIZE, n_);               \
        used += frame_seal(stream + used, type, n_, 0);                                \
    } while (0)
    put("preface", 1, bytes, preface_encode(&preface, bytes));
    MESSAGE(FRAME_HELLO, hello);
    MESSAGE(FRAME_STATUS, status);
    MESSAGE(FRAME_RENEW, renew);
    MESSAGE(FRAME_GRANT, grant);
    MESSAGE(FRAME_POSITIONS, positions);
    MESSAGE(FRAME_RESULT, result);
    MESSAGE(FRAME_REFUSE, refusal);
    MESSAGE(FRAME_PROPOSE, proposal);
    MESSAGE(FRAME_ACTION, action);
    MESSAGE(FRAME_OUTCOME, outcome);
    stream[0] = 10;                 /* Bytes a piece, less one. */
    put("frames", 2, stream, used); /* Phase peer. */
}

/* libraft's wire format (reference: uv_encoding.c): type, size of the header, header. */
static void put_raft(uint64_t type, const uint64_t *words, size_t n, const char *payload)
{
    uint8_t bytes[1024];
    struct encoder e;

    encoder_init(&e, bytes, sizeof(bytes));
    encode_u64(&e, type);
    encode_u64(&e, 8 * n);
    for (size_t i = 0; i < n; i++) {
        encode_u64(&e, words[i]);
    }
    encode_bytes(&e, payload, strlen(payload));
    put("raft_check", 6, bytes, e.used);
}

/* Of raft_recipe.h: zeros ask for what is good. */
static void put_recipes(void)
{
    static const uint8_t recipes[][48] = {
        {1, 3, 0, 200, 2},                      /* Three commands. */
        {1, 2, 0, 200, 2, 0, 0, 0, 0, 0, 0, 2}, /* Two lists of three members. */
        {1, 2, 0x80, 200, 2},                   /* As many rows as there may be. */
        {1, 2, 0x8a, 200, 2},                   /* A quarter of them. */
        {5, 2}, /* A snapshot, three members. The rest are numbers only. */
        {2},
        {3},
        {4},
        {6},
    };

    for (size_t i = 0; i < sizeof(recipes) / sizeof(recipes[0]); i++) {
        put("raft_check", 0x86, recipes[i], sizeof(recipes[i]));
    }
}

static void put_rafts(void)
{
    put_raft(1 | 2 << 16, (uint64_t[]){1, 1, 0, 0, 3}, 5, "");
    put_raft(2 | 1 << 16, (uint64_t[]){1, 1, 1}, 3, "");
    put_raft(3 | 1 << 16, (uint64_t[]){1, 1, 1, 0, 0}, 5, "");
    put_raft(3 | 1 << 16, (uint64_t[]){1, 1, 1, 0, 1, 1, 1 | UINT64_C(8) << 32}, 7, "12345678");
    put_raft(4 | 1 << 16, (uint64_t[]){1, 1, 1, 0}, 4, "");
    put_raft(5 | 1 << 16, (uint64_t[]){1, 1, 1, 1, 1, 8, 1, 8}, 8, "1234567812345678");
    put_raft(6 | 1 << 16, (uint64_t[]){1, 1, 1}, 3, "");
    put_recipes();
}

int main(int argc, char **argv)
{
    struct rng rng;

    if (argc != 2) {
        fputs("usage: fuzz_seeds DIRECTORY\n", stderr);
        return 2;
    }
    directory = argv[1];
    for (uint64_t seed = 0; seed < 8; seed++) {
        rng_seed(&rng, seed);
        put_store(&rng);
    }
    put_files();
    put_peer();
    put_rafts();
    return 0;
}
