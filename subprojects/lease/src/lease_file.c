/*
 * The promise file: what a voter must remember when its process restarts within
 * one boot of the machine. It is mapped from tmpfs and never synced.
 *
 * Two slots of 64 words of 64 bits, written in turns: number n goes to slot n % 2.
 *   word 0       mark: WHOLE, BUSY, 0 (never used), anything else (void)
 *   word 1       number, from 1
 *   words 2..61  node id, boot id, the image (see put_image), zeros
 *   word 62      its level_index
 *   word 63      CRC32C of words 1..62
 * A write stores BUSY, then number, content and CRC, then WHOLE.
 *
 * Why the older slot may be used when the newer was cut short. An older slot may
 * miss a promise, so in general it proves nothing. But the answer that carries a
 * promise is queued only after its slot is WHOLE. The process that dies in a
 * write leaves a prefix of its stores (memory outlives it, and a stopped thread
 * has done what comes before in program order and nothing of what comes
 * after). So its slot says BUSY, its promise was told to nobody, and every
 * earlier promise is in the other slot, which it did not touch. BUSY beside a
 * whole slot is therefore a write that promised nothing. Everything else that
 * is not as written (a whole mark with a wrong CRC, a void mark, numbers that
 * are not neighbours, an empty slot beside number 2 or more) has another cause, the
 * lost slot may have been told, and the verdict is DAMAGED: quarantine.
 *
 * Power loss empties tmpfs: EMPTY, or another boot. Nor do promises of another
 * node id or boot say anything about ours.
 */
#include "lease_internal.h"

#include <string.h>

#define SLOT_WORDS 64
#define WORD_MARK  0
#define WORD_SEQ   1
#define WORD_DATA  2
#define WORD_CRC   (SLOT_WORDS - 1)
/* Once zero: what the first releases wrote, and that is what it says: nothing is known. */
#define WORD_LEVEL (WORD_CRC - 1)

#define SET_WORDS   (2 + LEASE_VOTERS_MAX)
#define IMAGE_WORDS (3 + 6 + 4 + 1 + 2 * SET_WORDS)

#define MARK_WHOLE UINT64_C(0x3165736165657256) /* Format 1. */
#define MARK_BUSY  UINT64_C(0xb5a1c3e7960f2d48)
#define MARK_VOID  UINT64_C(0x6a09e667f3bcc908)

_Static_assert(2 * SLOT_WORDS * sizeof(uint64_t) == LEASE_FILE_SIZE, "two slots fill the file");
_Static_assert(WORD_DATA + IMAGE_WORDS <= WORD_LEVEL, "an image fits a slot");

enum slot_state {
    SLOT_ZERO,
    SLOT_BUSY,
    SLOT_WHOLE,
    SLOT_BAD,
};

static const char *const file_verdict_names[] = {
    [LEASE_FILE_GOOD] = "good",
    [LEASE_FILE_EMPTY] = "empty",
    [LEASE_FILE_OTHER_BOOT] = "other boot",
    [LEASE_FILE_OTHER_NODE] = "other node",
    [LEASE_FILE_DAMAGED] = "damaged",
};

const char *lease_file_verdict_name(enum lease_file_verdict verdict)
{
    return (unsigned)verdict <= LEASE_FILE_DAMAGED ? file_verdict_names[verdict] : "unknown";
}

/* CRC32C (Castagnoli), reflected, four bits at a time. */
static uint32_t crc32c(const void *data, size_t size)
{
    static const uint32_t table[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    const uint8_t *bytes = data;
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        crc = (crc >> 4) ^ table[crc & 15];
        crc = (crc >> 4) ^ table[crc & 15];
    }
    return ~crc;
}

static uint32_t slot_crc(const uint64_t slot[SLOT_WORDS])
{
    return crc32c(&slot[WORD_SEQ], (WORD_CRC - WORD_SEQ) * sizeof(slot[0]));
}

static void put_image(uint64_t *w, const struct lease_image *m)
{
    *w++ = m->node_id;
    memcpy(w, m->boot_id, sizeof(m->boot_id));
    w += 2;
    *w++ = m->promise.epoch;
    *w++ = m->promise.owner;
    *w++ = m->promise.instance;
    *w++ = m->promise.granted_ns;
    *w++ = m->promise.until.raw_ns;
    *w++ = m->promise.until.boot_ns;
    *w++ = m->highest_epoch;
    *w++ = m->highest_owner;
    *w++ = m->highest_instance;
    *w++ = m->released_epoch;
    *w++ = m->n_sets;
    for (uint8_t s = 0; s < m->n_sets; s++) {
        *w++ = m->sets[s].index;
        *w++ = m->sets[s].n;
        memcpy(w, m->sets[s].ids, m->sets[s].n * sizeof(*w));
        w += LEASE_VOTERS_MAX;
    }
}

/* Returns false for what put_image() cannot have written. */
static bool get_image(const uint64_t *w, struct lease_image *m)
{
    uint64_t n_sets;

    memset(m, 0, sizeof(*m));
    m->node_id = *w++;
    memcpy(m->boot_id, w, sizeof(m->boot_id));
    w += 2;
    m->promise.epoch = *w++;
    m->promise.owner = *w++;
    m->promise.instance = *w++;
    m->promise.granted_ns = *w++;
    m->promise.until.raw_ns = *w++;
    m->promise.until.boot_ns = *w++;
    m->highest_epoch = *w++;
    m->highest_owner = *w++;
    m->highest_instance = *w++;
    m->released_epoch = *w++;
    n_sets = *w++;
    if (n_sets > 2) {
        return false;
    }
    m->n_sets = (uint8_t)n_sets;
    for (uint8_t s = 0; s < m->n_sets; s++, w += LEASE_VOTERS_MAX) {
        m->sets[s].index = *w++;
        if (*w > LEASE_VOTERS_MAX) {
            return false;
        }
        m->sets[s].n = (uint8_t)*w++;
        memcpy(m->sets[s].ids, w, m->sets[s].n * sizeof(*w));
    }
    return lease_sets_are_valid(m->sets, m->n_sets) && m->promise.epoch <= m->highest_epoch &&
           m->released_epoch <= m->highest_epoch;
}

static enum slot_state judge_slot(const uint64_t *slots, unsigned which)
{
    static const uint64_t zeros[SLOT_WORDS];
    const uint64_t *slot = &slots[which * SLOT_WORDS];

    if (slot[WORD_MARK] == MARK_BUSY) {
        return SLOT_BUSY;
    }
    if (memcmp(slot, zeros, sizeof(zeros)) == 0) {
        return SLOT_ZERO;
    }
    if (slot[WORD_MARK] == MARK_WHOLE && slot[WORD_CRC] == slot_crc(slot) && slot[WORD_SEQ] != 0 &&
        slot[WORD_SEQ] % 2 == which) {
        return SLOT_WHOLE;
    }
    return SLOT_BAD;
}

/* The slot that holds everything that was ever told; or why there is none. */
static enum lease_file_verdict find_slot(const uint64_t *slots, const uint64_t **ret_slot)
{
    enum slot_state states[2] = {judge_slot(slots, 0), judge_slot(slots, 1)};
    const uint64_t *a = slots;
    const uint64_t *b = &slots[SLOT_WORDS];

    if (states[0] == SLOT_BAD || states[1] == SLOT_BAD) {
        return LEASE_FILE_DAMAGED;
    }
    if (states[0] == SLOT_WHOLE && states[1] == SLOT_WHOLE) {
        *ret_slot = a[WORD_SEQ] > b[WORD_SEQ] ? a : b;
        return a[WORD_SEQ] + 1 == b[WORD_SEQ] || b[WORD_SEQ] + 1 == a[WORD_SEQ]
                   ? LEASE_FILE_GOOD
                   : LEASE_FILE_DAMAGED;
    }
    if (states[0] != SLOT_WHOLE && states[1] != SLOT_WHOLE) {
        return states[0] == SLOT_BUSY ? LEASE_FILE_DAMAGED : LEASE_FILE_EMPTY;
    }
    *ret_slot = states[0] == SLOT_WHOLE ? a : b;
    if (states[0] == SLOT_BUSY || states[1] == SLOT_BUSY) {
        return LEASE_FILE_GOOD; /* Cut short: see the head comment. */
    }
    return (*ret_slot)[WORD_SEQ] == 1 ? LEASE_FILE_GOOD : LEASE_FILE_DAMAGED;
}

static enum lease_file_verdict decode(const uint64_t *slots, uint64_t node_id,
                                      const uint8_t boot_id[16], const uint64_t **ret_slot,
                                      struct lease_image *ret_image)
{
    struct lease_image image;
    enum lease_file_verdict verdict = find_slot(slots, ret_slot);

    if (verdict != LEASE_FILE_GOOD) {
        return verdict;
    }
    if (!get_image(&(*ret_slot)[WORD_DATA], &image)) {
        return LEASE_FILE_DAMAGED;
    }
    image.level_index = (*ret_slot)[WORD_LEVEL];
    if (memcmp(image.boot_id, boot_id, sizeof(image.boot_id)) != 0) {
        return LEASE_FILE_OTHER_BOOT;
    }
    if (image.node_id != node_id) {
        return LEASE_FILE_OTHER_NODE;
    }
    *ret_image = image;
    return LEASE_FILE_GOOD;
}

static void check_file(const void *file)
{
    LEASE_ASSERT(file != NULL && (uintptr_t)file % _Alignof(uint64_t) == 0);
}

enum lease_file_verdict lease_file_decode(const void *file, uint64_t node_id,
                                          const uint8_t boot_id[16], struct lease_image *ret_image)
{
    const uint64_t *slot;

    check_file(file);
    return decode(file, node_id, boot_id, &slot, ret_image);
}

/* Makes both slots empty. Void marks come first: at no point in between may one
 * old slot look like the last of a good file. */
static void clear(volatile uint64_t *slots)
{
    slots[WORD_MARK] = MARK_VOID;
    slots[SLOT_WORDS + WORD_MARK] = MARK_VOID;
    for (size_t i = 2 * SLOT_WORDS; i > 0; i--) {
        slots[i - 1] = 0;
    }
}

void lease_file_encode(void *file, const struct lease_image *image)
{
    uint64_t next[SLOT_WORDS] = {0};
    const uint64_t *last;
    struct lease_image ignored;
    volatile uint64_t *slot; /* Volatile keeps the stores in their order. */

    check_file(file);
    LEASE_ASSERT(lease_sets_are_valid(image->sets, image->n_sets));

    if (decode(file, image->node_id, image->boot_id, &last, &ignored) == LEASE_FILE_GOOD &&
        last[WORD_SEQ] < UINT64_MAX) { /* No number follows that one; nobody counts so far. */
        next[WORD_SEQ] = last[WORD_SEQ] + 1;
    } else {
        clear(file);
        next[WORD_SEQ] = 1;
    }
    put_image(&next[WORD_DATA], image);
    next[WORD_LEVEL] = image->level_index;
    next[WORD_CRC] = slot_crc(next);

    slot = (volatile uint64_t *)file + (next[WORD_SEQ] % 2) * SLOT_WORDS;
    slot[WORD_MARK] = MARK_BUSY;
    for (size_t i = WORD_SEQ; i < SLOT_WORDS; i++) {
        slot[i] = next[i];
    }
    slot[WORD_MARK] = MARK_WHOLE;
}
