/*
 * The runtime directory: what a node remembers within one boot. The instance
 * (drawn once per boot) and the promise file live here, on tmpfs in a normal
 * installation. Both carry the boot id, so that a directory that survived a
 * reboot is recognised and begun anew.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "agent/agent_state.h"
#include "base/codec.h"
#include "base/crc32c.h"

#define INSTANCE_MAGIC UINT32_C(0x49484356) /* "VCHI" */
#define INSTANCE_SIZE  (4 + 16 + 8 + 4)
#define PATH_SIZE      1024

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int parse_boot_id(const char *text, uint8_t boot_id[16])
{
    size_t n = 0;

    for (; *text != '\0' && n < 32; text++) {
        int value = hex_value(*text);

        if (value >= 0) {
            boot_id[n / 2] = (uint8_t)(boot_id[n / 2] << 4 | value);
            n++;
        }
    }
    return n == 32 ? 0 : -1;
}

static int read_boot_id(uint8_t boot_id[16], struct err *err)
{
    static const char path[] = "/proc/sys/kernel/random/boot_id";
    char text[64] = "";
    FILE *file = fopen(path, "re");

    if (file == NULL) {
        return err_set_errno(err, errno, "cannot read %s", path);
    }
    if (fgets(text, sizeof(text), file) == NULL || parse_boot_id(text, boot_id) != 0) {
        (void)fclose(file); /* Was only read. */
        return err_set(err, "%s does not hold a boot id: \"%s\"", path, text);
    }
    (void)fclose(file); /* Was only read. */
    return 0;
}

/* Returns the instance of this boot, or 0 if the file is not good for it. */
static uint64_t load_instance(const char *path, const uint8_t boot_id[16])
{
    uint8_t bytes[INSTANCE_SIZE];
    struct decoder d;
    uint64_t instance;
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return 0;
    }
    n = read(fd, bytes, sizeof(bytes));
    (void)close(fd); /* Was only read. */
    if (n != (ssize_t)sizeof(bytes)) {
        return 0;
    }
    decoder_init(&d, bytes, sizeof(bytes));
    if (decode_u32(&d) != INSTANCE_MAGIC || memcmp(decode_bytes(&d, 16), boot_id, 16) != 0) {
        return 0;
    }
    instance = decode_u64(&d);
    return decode_u32(&d) == crc32c(0, bytes, INSTANCE_SIZE - 4) ? instance : 0;
}

static int save_instance(const char *path, const uint8_t boot_id[16], uint64_t instance,
                         struct err *err)
{
    char temporary[PATH_SIZE + 8];
    uint8_t bytes[INSTANCE_SIZE];
    struct encoder e;
    int fd;
    ssize_t n;

    encoder_init(&e, bytes, sizeof(bytes));
    encode_u32(&e, INSTANCE_MAGIC);
    encode_bytes(&e, boot_id, 16);
    encode_u64(&e, instance);
    encode_u32(&e, crc32c(0, bytes, e.used));
    (void)snprintf(temporary, sizeof(temporary), "%s.new", path);
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return err_set_errno(err, errno, "cannot write %s", temporary);
    }
    n = write(fd, bytes, sizeof(bytes));
    if (close(fd) != 0 || n != (ssize_t)sizeof(bytes) || rename(temporary, path) != 0) {
        return err_set_errno(err, errno, "cannot write %s", path);
    }
    return 0;
}

static int make_directory(const char *directory, struct err *err)
{
    char path[PATH_SIZE];

    if (strlen(directory) >= sizeof(path) - 32) {
        return err_set(err, "runtime_dir is too long: %s", directory);
    }
    (void)snprintf(path, sizeof(path), "%s", directory);
    for (char *p = path + 1; *p != '\0'; p++) {
        if (*p == '/') {
            *p = '\0';
            (void)mkdir(path, 0755); /* The last one, below, is judged. */
            *p = '/';
        }
    }
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return err_set_errno(err, errno, "cannot create the runtime directory %s", directory);
    }
    if (access(path, W_OK | X_OK) != 0) {
        return err_set_errno(err, errno, "the runtime directory %s is not writable", directory);
    }
    return 0;
}

static int map_promise(struct runtime *r, const char *path, struct err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int rv;

    if (fd < 0) {
        return err_set_errno(err, errno, "cannot open the promise file %s", path);
    }
    /* A hole in a full file system would kill us at the first write. */
    rv = posix_fallocate(fd, 0, LEASE_FILE_SIZE);
    if (rv != 0) {
        (void)close(fd); /* The first error counts. */
        return err_set_errno(err, rv, "cannot make room for the promise file %s", path);
    }
    r->promise = mmap(NULL, LEASE_FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd); /* The mapping stays. */
    if (r->promise == MAP_FAILED) {
        r->promise = NULL;
        return err_set_errno(err, errno, "cannot map the promise file %s", path);
    }
    return 0;
}

int runtime_open(struct runtime *r, const char *directory, struct err *err)
{
    char path[PATH_SIZE];

    *r = (struct runtime){0};
    if (make_directory(directory, err) != 0 || read_boot_id(r->boot_id, err) != 0) {
        return -1;
    }
    (void)snprintf(path, sizeof(path), "%s/instance", directory);
    r->instance = load_instance(path, r->boot_id);
    r->same_boot = r->instance != 0;
    if (!r->same_boot) {
        r->instance = rng_system();
        if (save_instance(path, r->boot_id, r->instance, err) != 0) {
            return -1;
        }
    }
    (void)snprintf(path, sizeof(path), "%s/promise", directory);
    return map_promise(r, path, err);
}

void runtime_close(struct runtime *r)
{
    if (r->promise != NULL) {
        (void)munmap(r->promise, LEASE_FILE_SIZE); /* Cannot fail on our own mapping. */
        r->promise = NULL;
    }
}
