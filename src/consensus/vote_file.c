/*
 * See vote_file.h. Two slots of a sector each, written in turns: a write that is
 * cut short leaves the other one. Each: u64 magic, number, term, vote, u32 CRC-32C.
 * The file is made whole beside its place and renamed, so one slot at least is
 * whole ever after.
 */
#include "consensus/vote_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "base/codec.h"
#include "base/crc32c.h"

#define VOTE_MAGIC  UINT64_C(0x45544f5645484356) /* "VCHEVOTE" */
#define SLOT_SIZE   512
#define RECORD_SIZE (4 * 8)

static const char file_name[] = "veche-vote";
static const char temporary_name[] = "veche-vote.new";

static void encode_slot(const struct vote_file *f, uint8_t slot[SLOT_SIZE])
{
    struct encoder e;

    memset(slot, 0, SLOT_SIZE);
    encoder_init(&e, slot, SLOT_SIZE);
    encode_u64(&e, VOTE_MAGIC);
    encode_u64(&e, f->number);
    encode_u64(&e, f->term);
    encode_u64(&e, f->vote);
    encode_u32(&e, crc32c(0, slot, RECORD_SIZE));
}

/* True and the record, if the slot is whole. */
static bool decode_slot(const uint8_t slot[SLOT_SIZE], struct vote_file *f)
{
    struct decoder d;
    bool is_magic;

    decoder_init(&d, slot, SLOT_SIZE);
    is_magic = decode_u64(&d) == VOTE_MAGIC;
    f->number = decode_u64(&d);
    f->term = decode_u64(&d);
    f->vote = decode_u64(&d);
    return is_magic && decode_u32(&d) == crc32c(0, slot, RECORD_SIZE);
}

/* Synced, whole and under its name when it returns 0. */
static int make(int directory_fd, struct err *err)
{
    struct vote_file none = {.number = 0};
    uint8_t bytes[2 * SLOT_SIZE] = {0};
    int fd = openat(directory_fd, temporary_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool written;

    if (fd < 0) {
        return err_set_errno(err, errno, "cannot create %s", temporary_name);
    }
    encode_slot(&none, bytes);
    written = write(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes) && fsync(fd) == 0;
    if (close(fd) != 0 || !written ||
        renameat(directory_fd, temporary_name, directory_fd, file_name) != 0 ||
        fsync(directory_fd) != 0) {
        return err_set_errno(err, errno, "cannot make %s", file_name);
    }
    return 0;
}

/* A file that was cut reads as zeros where it ends: no record. */
static enum vote_file_open load(struct vote_file *f, struct err *err)
{
    uint8_t bytes[2 * SLOT_SIZE] = {0};
    struct vote_file found = {.fd = f->fd};
    bool any = false;

    if (pread(f->fd, bytes, sizeof(bytes), 0) < 0) {
        (void)err_set_errno(err, errno, "cannot read %s", file_name); /* Told by the result. */
        return VOTE_FILE_FAILED;
    }
    for (size_t i = 0; i < 2; i++) {
        struct vote_file one = {.fd = f->fd};

        if (decode_slot(bytes + i * SLOT_SIZE, &one) && (!any || one.number > found.number)) {
            found = one;
            any = true;
        }
    }
    if (!any) {
        (void)err_set(err, "%s holds no whole record of the vote", file_name); /* As above. */
        return VOTE_FILE_DAMAGED;
    }
    *f = found;
    return VOTE_FILE_OPEN;
}

static int open_or_make(const char *directory, struct err *err)
{
    int directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd;

    if (directory_fd < 0) {
        return err_set_errno(err, errno, "cannot open %s", directory);
    }
    fd = openat(directory_fd, file_name, O_RDWR | O_CLOEXEC);
    if (fd < 0 && errno != ENOENT) {
        (void)err_set_errno(err, errno, "cannot open %s", file_name); /* fd says it. */
    } else if (fd < 0 && make(directory_fd, err) == 0) {
        fd = openat(directory_fd, file_name, O_RDWR | O_CLOEXEC);
        if (fd < 0) {
            (void)err_set_errno(err, errno, "cannot open %s", file_name); /* As above. */
        }
    }
    (void)close(directory_fd); /* Was only read. */
    return fd;
}

enum vote_file_open vote_file_open(struct vote_file *f, const char *directory, struct err *err)
{
    enum vote_file_open result;

    *f = (struct vote_file){.fd = open_or_make(directory, err)};
    result = f->fd >= 0 ? load(f, err) : VOTE_FILE_FAILED;
    if (result != VOTE_FILE_OPEN) {
        (void)err_wrap(err, "the Raft directory %s", directory); /* Told by the result. */
        vote_file_close(f);
    }
    return result;
}

void vote_file_close(struct vote_file *f)
{
    if (f->fd >= 0) {
        (void)close(f->fd); /* Everything in it is durable. */
        f->fd = -1;
    }
}

int vote_file_save(struct vote_file *f, uint64_t term, node_id vote, struct err *err)
{
    struct vote_file next = {.fd = f->fd, .number = f->number + 1, .term = term, .vote = vote};
    uint8_t slot[SLOT_SIZE];

    if (f->fd < 0 || (f->term == term && f->vote == vote)) {
        return 0;
    }
    encode_slot(&next, slot);
    if (pwrite(f->fd, slot, SLOT_SIZE, (off_t)(next.number % 2) * SLOT_SIZE) != SLOT_SIZE ||
        fdatasync(f->fd) != 0) {
        return err_set_errno(err, errno, "cannot write %s", file_name);
    }
    *f = next;
    return 0;
}

bool vote_file_is_newer(const struct vote_file *f, uint64_t term, node_id vote)
{
    return f->fd >= 0 && (term < f->term || (term == f->term && f->vote != 0 && vote != f->vote));
}
