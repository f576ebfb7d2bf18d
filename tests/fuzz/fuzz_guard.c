/*
 * Packets of an agent, as the guard judges them, and lines of /proc/PID/stat.
 *
 * Whatever is accepted is used: texts of a start are walked, flags are read.
 */
#include "guard/guard_packet.h"
#include "guard/guard_processes.h"

#include "fuzz.h"

static void use_start(union guard_packet *packet, size_t size)
{
    static struct guard_texts texts;
    size_t n_args = 0, n_env = 0;

    guard_packet_texts(packet, &texts);
    REQUIRE(texts.path == packet->start.texts && texts.path[0] == '/');
    while (texts.argv[n_args] != NULL) {
        REQUIRE(texts.argv[n_args] + strlen(texts.argv[n_args]) < packet->bytes + size);
        n_args++;
    }
    while (texts.env[n_env] != NULL) {
        REQUIRE(texts.env[n_env] + strlen(texts.env[n_env]) < packet->bytes + size);
        n_env++;
    }
    REQUIRE(n_args + 1 == packet->start.n_args && n_env == packet->start.n_env);
}

static void use(union guard_packet *packet, size_t size)
{
    struct guard_logic logic;
    struct clock_pair now = {1000, 1000};

    guard_logic_init(&logic, UINT64_C(1000000000));
    switch (packet->header.kind) {
    case GUARD_ARM:
        REQUIRE(guard_logic_on_arm(&logic, now, &packet->arm.arm) < GUARD_VERDICTS);
        return;
    case GUARD_START:
        use_start(packet, size);
        return;
    case GUARD_ADOPT:
        guard_logic_on_adopt(&logic, packet->adopt.may_write);
        return;
    case GUARD_KILL:
        guard_logic_on_kill(&logic, packet->kill.why);
        return;
    default:
        return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static union guard_packet packet;
    struct guard_process process;
    char text[1024];

    if (size > GUARD_PACKET_MAX) {
        return 0;
    }
    memcpy(packet.bytes, data, size);
    if (size >= sizeof(struct guard_header)) { /* So that what is behind it is reached. */
        packet.header.magic = VECHE_GUARD_MAGIC;
        packet.header.version = VECHE_GUARD_VERSION;
        packet.header.size = (uint32_t)size;
    }
    if (guard_packet_fault(&packet, size) == NULL) {
        use(&packet, size);
    }
    if (size < sizeof(text)) {
        memcpy(text, data, size);
        text[size] = '\0';
        if (guard_process_parse(text, &process)) {
            REQUIRE(process.pid > 0 && process.ppid >= 0);
        }
    }
    return 0;
}
