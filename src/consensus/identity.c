/*
 * The identity file, see identity.h. Format: u64 magic, u32 version, u32 size of
 * the body, u32 CRC-32C of these sixteen bytes and the body, then the body.
 *
 * A crash leaves the old file or the new one: the new one is complete on disk
 * before its name is.
 */
#include "consensus/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/codec.h"
#include "base/crc32c.h"
#include "base/str.h"

#define IDENTITY_MAGIC    UINT64_C(0x5449454448434556) /* "VECHDEIT" */
#define IDENTITY_VERSION  1
#define CRC_OFFSET        16
#define HEADER_SIZE       20

static const char file_name[] = "identity";
static const char temporary_name[] = "identity.new";

int identity_lock(const char *directory, struct err *err)
{
    int fd;

    if (mkdir(directory, 0700) != 0 && errno != EEXIST) {
        return err_set_errno(err, errno, "cannot create %s", directory);
    }
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return err_set_errno(err, errno, "cannot open %s", directory);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int error = errno;

        (void)close(fd); /* Holds nothing. */
        if (error == EWOULDBLOCK) {
            return err_set(err, "another veched uses %s", directory);
        }
        return err_set_errno(err, error, "cannot lock %s", directory);
    }
    return fd;
}

static void encode_body(struct encoder *e, const struct identity *identity)
{
    encode_u64(e, identity->id);
    encode_text(e, identity->name);
    encode_u8(e, (uint8_t)identity->phase);
    encode_u64(e, identity->cluster_id);
    encode_text(e, identity->scope);
    encode_u64(e, identity->highest_term);
    encode_u64(e, identity->longest_grant_ms);
    encode_u8(e, identity->n_members);
    for (uint8_t i = 0; i < identity->n_members; i++) {
        encode_u64(e, identity->members[i]);
    }
}

size_t identity_encode(const struct identity *identity, uint8_t data[IDENTITY_SIZE_MAX])
{
    struct encoder e;
    struct encoder head;
    uint32_t crc;

    PRE(identity->id != 0 && identity->n_members <= VOTERS_MAX);
    encoder_init(&e, data, IDENTITY_SIZE_MAX);
    encode_bytes(&e, &(uint8_t[HEADER_SIZE]){0}, HEADER_SIZE);
    encode_body(&e, identity);
    ASSERT(!e.failed);
    encoder_init(&head, data, HEADER_SIZE);
    encode_u64(&head, IDENTITY_MAGIC);
    encode_u32(&head, IDENTITY_VERSION);
    encode_u32(&head, (uint32_t)(e.used - HEADER_SIZE));
    crc = crc32c(0, data, CRC_OFFSET);
    encode_u32(&head, crc32c(crc, data + HEADER_SIZE, e.used - HEADER_SIZE));
    return e.used;
}

/* What a correct writer never writes, even with a good check sum. */
static const char *broken_part(const struct identity *identity)
{
    if (identity->id == 0) {
        return "id";
    }
    if ((identity->phase == IDENTITY_NEW) != (identity->cluster_id == 0)) {
        return "cluster id";
    }
    if (identity->n_members > VOTERS_MAX) {
        return "number of members";
    }
    for (uint8_t i = 1; i < identity->n_members; i++) {
        if (identity->members[i] <= identity->members[i - 1]) {
            return "order of members";
        }
    }
    return NULL;
}

static const char *decode_body(struct decoder *d, struct identity *identity)
{
    uint8_t phase;

    identity->id = decode_u64(d);
    decode_text(d, identity->name, sizeof(identity->name));
    phase = decode_u8(d);
    identity->cluster_id = decode_u64(d);
    decode_text(d, identity->scope, sizeof(identity->scope));
    identity->highest_term = decode_u64(d);
    identity->longest_grant_ms = decode_u64(d);
    identity->n_members = decode_u8(d);
    if (phase > IDENTITY_JOINING || identity->n_members > VOTERS_MAX) {
        return "phase or number of members";
    }
    identity->phase = (enum identity_phase)phase;
    for (uint8_t i = 0; i < identity->n_members; i++) {
        identity->members[i] = decode_u64(d);
    }
    return decoder_is_done(d) ? broken_part(identity) : "size";
}

int identity_decode(const uint8_t *data, size_t size, struct identity *ret_identity,
                    struct err *err)
{
    struct identity identity = {0};
    struct decoder d;
    uint64_t magic;
    uint32_t version;
    uint32_t body_size;
    uint32_t crc;
    const char *broken;

    decoder_init(&d, data, size);
    magic = decode_u64(&d);
    version = decode_u32(&d);
    body_size = decode_u32(&d);
    crc = decode_u32(&d);
    if (d.failed || magic != IDENTITY_MAGIC) {
        return err_set(err, "it is not an identity file (%zu bytes)", size);
    }
    if (body_size != size - HEADER_SIZE ||
        crc32c(crc32c(0, data, CRC_OFFSET), data + HEADER_SIZE, body_size) != crc) {
        return err_set(err, "its size or check sum is wrong");
    }
    if (version != IDENTITY_VERSION) {
        return err_set(err, "it is of version %" PRIu32 ", this Veche knows version %d", version,
                       IDENTITY_VERSION);
    }
    broken = decode_body(&d, &identity);
    if (broken != NULL) {
        return err_set(err, "its %s contradicts the rest", broken);
    }
    *ret_identity = identity;
    return 0;
}

/* Bytes read, or -1 with errno. */
static ssize_t read_all(int fd, uint8_t *data, size_t size)
{
    size_t used = 0;

    while (used < size) {
        ssize_t n = read(fd, data + used, size - used);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -1;
        }
        if (n == 0) {
            break;
        }
        used += (size_t)n;
    }
    return (ssize_t)used;
}

enum identity_load identity_load(const char *directory, struct identity *ret_identity,
                                 struct err *err)
{
    uint8_t data[IDENTITY_SIZE_MAX];
    char path[PATH_MAX];
    ssize_t n;
    int fd;

    if ((size_t)snprintf(path, sizeof(path), "%s/%s", directory, file_name) >= sizeof(path)) {
        (void)err_set(err, "the path of %s is too long", directory);
        return IDENTITY_FAILED;
    }
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        return IDENTITY_MISSING;
    }
    if (fd < 0) {
        (void)err_set_errno(err, errno, "cannot open %s", path);
        return IDENTITY_FAILED;
    }
    n = read_all(fd, data, sizeof(data));
    if (n < 0) {
        (void)err_set_errno(err, errno, "cannot read %s", path);
    }
    (void)close(fd); /* Was only read. */
    if (n < 0) {
        return IDENTITY_FAILED;
    }
    if (identity_decode(data, (size_t)n, ret_identity, err) != 0) {
        (void)err_wrap(err, "%s is damaged", path);
        return IDENTITY_DAMAGED;
    }
    return IDENTITY_LOADED;
}

static int write_synced(int directory_fd, const uint8_t *data, size_t size, struct err *err)
{
    int fd = openat(directory_fd, temporary_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t used = 0;
    int rv = 0;

    if (fd < 0) {
        return err_set_errno(err, errno, "cannot create %s", temporary_name);
    }
    while (used < size && rv == 0) {
        ssize_t n = write(fd, data + used, size - used);

        if (n >= 0) {
            used += (size_t)n;
        } else if (errno != EINTR) {
            rv = err_set_errno(err, errno, "cannot write %s", temporary_name);
        }
    }
    if (rv == 0 && fsync(fd) != 0) {
        rv = err_set_errno(err, errno, "cannot sync %s", temporary_name);
    }
    if (close(fd) != 0 && rv == 0) {
        rv = err_set_errno(err, errno, "cannot close %s", temporary_name);
    }
    return rv;
}

int identity_save(const char *directory, const struct identity *identity, struct err *err)
{
    uint8_t data[IDENTITY_SIZE_MAX];
    size_t size = identity_encode(identity, data);
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rv;

    PRE(broken_part(identity) == NULL);
    if (fd < 0) {
        return err_set_errno(err, errno, "cannot open %s", directory);
    }
    rv = write_synced(fd, data, size, err);
    if (rv == 0 && renameat(fd, temporary_name, fd, file_name) != 0) {
        rv = err_set_errno(err, errno, "cannot rename %s", temporary_name);
    }
    if (rv == 0 && fsync(fd) != 0) {
        rv = err_set_errno(err, errno, "cannot sync the directory");
    }
    (void)close(fd); /* Everything was synced, or has failed already. */
    return rv == 0 ? 0 : err_wrap(err, "saving the identity in %s", directory);
}
