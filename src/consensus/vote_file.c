/*
 * See vote_file.h. Two slots of a sector each, written in turns: a write that is
 * cut short leaves the other one. Each: u64 magic, number, term, vote, id, last index, u32
 * CRC-32C. The first version had neither id nor last index, and another magic.
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

#define VOTE_MAGIC_1  UINT64_C(0x45544f5645484356) /* "VCHEVOTE" */
#define VOTE_MAGIC    UINT64_C(0x32544f5645484356) /* "VCHEVOT2" */
#define SLOT_SIZE     512
#define RECORD_SIZE_1 (4 * 8)
#define RECORD_SIZE   (6 * 8)

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
    encode_u64(&e, f->id);
    encode_u64(&e, f->last_index);
    encode_u32(&e, crc32c(0, slot, RECORD_SIZE));
}

/* True and the record, if the slot is whole. */
static bool decode_slot(const uint8_t slot[SLOT_SIZE], struct vote_file *f)
{
    struct decoder d;
    uint64_t magic;

    decoder_init(&d, slot, SLOT_SIZE);
    magic = decode_u64(&d);
    f->number = decode_u64(&d);
    f->term = decode_u64(&d);
    f->vote = decode_u64(&d);
    if (magic == VOTE_MAGIC_1) {
        return decode_u32(&d) == crc32c(0, slot, RECORD_SIZE_1);
    }
    f->id = decode_u64(&d);
    f->last_index = decode_u64(&d);
    return magic == VOTE_MAGIC && decode_u32(&d) == crc32c(0, slot, RECORD_SIZE);
}

/* Synced, whole and under its name when it returns 0. */
static int make(int directory_fd, node_id id, struct err *err)
{
    struct vote_file none = {.id = id};
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
    struct vote_file found = {.fd = f->fd, .id = f->id};
    bool any = false;

    if (pread(f->fd, bytes, sizeof(bytes), 0) < 0) {
        (void)err_set_errno(err, errno, "cannot read %s", file_name); /* Told by the result. */
        return VOTE_FILE_FAILED;
    }
    for (size_t i = 0; i < 2; i++) {
        struct vote_file one = {.fd = f->fd, .id = f->id};

        if (decode_slot(bytes + i * SLOT_SIZE, &one) && (!any || one.number > found.number)) {
            found = one;
            any = true;
        }
    }
    if (!any) {
        (void)err_set(err, "%s holds no whole record of the vote", file_name); /* As above. */
        return VOTE_FILE_DAMAGED;
    }
    if (found.id != f->id) {
        (void)err_set(err, "%s is of another node", file_name); /* As above. */
        return VOTE_FILE_DAMAGED;
    }
    *f = found;
    return VOTE_FILE_OPEN;
}

/* -1 and errno ENOENT: there is none, and none may be made. */
static int open_or_make(const char *directory, node_id id, bool may_make, struct err *err)
{
    int directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error;
    int fd;

    if (directory_fd < 0) {
        (void)err_set_errno(err, errno, "cannot open %s", directory); /* fd says it. */
        errno = EIO;
        return -1;
    }
    fd = openat(directory_fd, file_name, O_RDWR | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && may_make && make(directory_fd, id, err) == 0) {
        fd = openat(directory_fd, file_name, O_RDWR | O_CLOEXEC);
    }
    error = errno;
    if (fd < 0) {
        (void)err_set_errno(err, error, "cannot open %s", file_name); /* As above. */
    }
    (void)close(directory_fd); /* Was only read. */
    errno = error;
    return fd;
}

static enum vote_file_open open_file(struct vote_file *f, const char *directory, bool may_make,
                                     struct err *err)
{
    f->fd = open_or_make(directory, f->id, may_make, err);
    if (f->fd >= 0) {
        return load(f, err);
    }
    if (errno != ENOENT) {
        return VOTE_FILE_FAILED;
    }
    (void)err_set(err, "%s is missing beside Raft's own state", file_name); /* Told by result. */
    return VOTE_FILE_DAMAGED;
}

enum vote_file_open vote_file_open(struct vote_file *f, const char *directory, node_id id,
                                   bool may_make, struct err *err)
{
    enum vote_file_open result;

    *f = (struct vote_file){.fd = -1, .id = id};
    result = open_file(f, directory, may_make, err);
    if (result != VOTE_FILE_OPEN) {
        (void)err_wrap(err, "the Raft directory %s", directory); /* Told by the result. */
        vote_file_close(f);
    }
    return result;
}

int vote_file_open_copy(struct vote_file *f, const char *directory, node_id id, struct err *err)
{
    char path[PATH_MAX];

    if (vote_file_open(f, directory, id, true, err) != VOTE_FILE_DAMAGED) {
        return f->fd >= 0 ? 0 : -1;
    }
    (void)snprintf(path, sizeof(path), "%s/%s", directory, file_name);
    (void)unlink(path); /* Else it can not be opened either. */
    return vote_file_open(f, directory, id, true, err) == VOTE_FILE_OPEN ? 0 : -1;
}

void vote_file_close(struct vote_file *f)
{
    if (f->fd >= 0) {
        (void)close(f->fd); /* Everything in it is durable. */
        f->fd = -1;
    }
}

void vote_file_give_up(struct vote_file *f)
{
    if (f->fd >= 0) {
        (void)!ftruncate(f->fd, 0); /* No whole record: it is made anew. */
        vote_file_close(f);
    }
}

int vote_file_save(struct vote_file *f, const struct vote_record *record, struct err *err)
{
    struct vote_file next = *f;
    uint8_t slot[SLOT_SIZE];

    if (f->fd < 0 || (f->term == record->term && f->vote == record->vote &&
                      f->last_index == record->last_index)) {
        return 0;
    }
    next.number++;
    next.term = record->term;
    next.vote = record->vote;
    next.last_index = record->last_index;
    encode_slot(&next, slot);
    if (pwrite(f->fd, slot, SLOT_SIZE, (off_t)(next.number % 2) * SLOT_SIZE) != SLOT_SIZE ||
        fdatasync(f->fd) != 0) {
        return err_set_errno(err, errno, "cannot write %s", file_name);
    }
    *f = next;
    return 0;
}

const char *vote_file_missing(const struct vote_file *f, const struct vote_record *loaded)
{
    if (f->fd < 0) {
        return NULL;
    }
    if (loaded->term < f->term) {
        return "the term is lower than one this node has been in";
    }
    if (loaded->term == f->term && f->vote != 0 && loaded->vote != f->vote) {
        return "a vote this node gave is not in the metadata";
    }
    if (loaded->last_index < f->last_index) {
        return "the end of the log, which this node has acknowledged, is missing";
    }
    return NULL;
}
