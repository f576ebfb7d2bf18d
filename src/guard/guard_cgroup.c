/*
 * See guard_cgroup.h, and Documentation/admin-guide/cgroup-v2.rst of the kernel.
 */
#include "guard/guard_cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/str.h"

/* ---- Where are we? ---- */

/* Reads a line of up to size - 1 characters; false at the end. */
static bool next_line(FILE *file, char *line, size_t size)
{
    if (fgets(line, (int)size, file) == NULL) {
        return false;
    }
    line[strcspn(line, "\n")] = '\0';
    return true;
}

/* Ours in the unified hierarchy: "0::/a/b". */
static int read_own_path(char *path, size_t size, struct err *err)
{
    char line[PATH_MAX + 8];
    FILE *file = fopen("/proc/self/cgroup", "re");
    bool found = false;

    while (file != NULL && !found && next_line(file, line, sizeof(line))) {
        found = str_starts_with(line, "0::/");
    }
    if (file != NULL) {
        (void)fclose(file); /* Only read. */
    }
    if (!found || !str_copy(path, size, line + 3)) {
        return err_set(err, "there is no cgroup v2");
    }
    return 0;
}

/* "31 23 0:28 ROOT MOUNT_POINT options ... - cgroup2 source options" */
static bool parse_mount(char *line, const char **root, const char **point)
{
    char *end = strstr(line, " - cgroup2 "), *at = line;

    if (end == NULL) {
        return false;
    }
    for (int i = 0; i < 3; i++) {
        at = strchr(at, ' ');
        if (at == NULL || at++ >= end) {
            return false;
        }
    }
    *root = at;
    at = strchr(at, ' ');
    if (at == NULL || at >= end) {
        return false;
    }
    *at++ = '\0';
    *point = at;
    at[strcspn(at, " ")] = '\0';
    return true;
}

/* The directory of our cgroup, as mounted. */
static int find_own_directory(char *dir, size_t size, struct err *err)
{
    char own[PATH_MAX], line[PATH_MAX * 2];
    const char *root, *point;
    FILE *file;
    bool found = false;

    if (read_own_path(own, sizeof(own), err) != 0) {
        return -1;
    }
    file = fopen("/proc/self/mountinfo", "re");
    while (file != NULL && !found && next_line(file, line, sizeof(line))) {
        size_t length;

        if (!parse_mount(line, &root, &point)) {
            continue;
        }
        length = str_equal(root, "/") ? 0 : strlen(root);
        found = strncmp(own, root, length) == 0 && (own[length] == '/' || own[length] == '\0') &&
                snprintf(dir, size, "%s%s", point, own + length) < (int)size;
    }
    if (file != NULL) {
        (void)fclose(file); /* Only read. */
    }
    return found ? 0 : err_set(err, "cgroup v2 is not mounted here");
}

/* ---- Making ours ---- */

/* An existing one is as good: of the guard before us. */
static int open_below(int parent_fd, const char *name, struct err *err)
{
    int fd;

    if (mkdirat(parent_fd, name, 0755) != 0 && errno != EEXIST) {
        return err_set_errno(err, errno, "not delegated: creating %s", name);
    }
    fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 ? fd : err_set_errno(err, errno, "opening %s", name);
}

static int open_file(int dir_fd, const char *name, int flags, struct err *err)
{
    int fd = openat(dir_fd, name, flags | O_CLOEXEC);

    return fd >= 0 ? fd : err_set_errno(err, errno, "opening %s", name);
}

static int enter(int procs_fd)
{
    return pwrite(procs_fd, "0", 1, 0) == 1 ? 0 : -1;
}

static int enter_guard(int parent_fd, struct err *err)
{
    int dir_fd = open_below(parent_fd, "guard", err), procs_fd, status;

    if (dir_fd < 0) {
        return -1;
    }
    procs_fd = open_file(dir_fd, "cgroup.procs", O_WRONLY, err);
    (void)close(dir_fd); /* A directory. */
    if (procs_fd < 0) {
        return -1;
    }
    status = enter(procs_fd) == 0 ? 0 : err_set_errno(err, errno, "entering guard");
    (void)close(procs_fd); /* Written at once, and looked at. */
    return status;
}

static int open_pg(struct guard_cgroup *c, int parent_fd, struct err *err)
{
    c->dir_fd = open_below(parent_fd, "pg", err);
    if (c->dir_fd < 0) {
        return -1;
    }
    if (flock(c->dir_fd, LOCK_EX | LOCK_NB) != 0) {
        return err_set_errno(err, errno, "another guard uses this cgroup");
    }
    c->procs_fd = open_file(c->dir_fd, "cgroup.procs", O_RDWR, err);
    c->freeze_fd = c->procs_fd < 0 ? -1 : open_file(c->dir_fd, "cgroup.freeze", O_RDWR, err);
    c->events_fd = c->freeze_fd < 0 ? -1 : open_file(c->dir_fd, "cgroup.events", O_RDONLY, err);
    c->kill_fd = openat(c->dir_fd, "cgroup.kill", O_WRONLY | O_CLOEXEC); /* Linux 5.14. */
    return c->events_fd >= 0 ? 0 : -1;
}

int guard_cgroup_init(struct guard_cgroup *c, struct err *err)
{
    char dir[PATH_MAX * 2];
    int parent_fd, status;

    *c = (struct guard_cgroup){false, -1, -1, -1, -1, -1};
    if (find_own_directory(dir, sizeof(dir), err) != 0) {
        return -1;
    }
    parent_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent_fd < 0) {
        return err_set_errno(err, errno, "opening %s", dir);
    }
    status = open_pg(c, parent_fd, err);
    if (status == 0 && !guard_cgroup_is_empty(c)) {
        status = err_set(err, "pg holds processes that are not ours");
    }
    if (status == 0) {
        status = enter_guard(parent_fd, err);
    }
    (void)close(parent_fd); /* A directory. */
    if (status == 0 && guard_cgroup_thaw(c) != 0) {
        status = err_set_errno(err, errno, "writing to cgroup.freeze");
    }
    c->is_usable = status == 0;
    return status == 0 ? 0 : err_wrap(err, "cgroup");
}

/* ---- Giving it away ---- */

/* As systemd marks it (systemd.resource-control(5), Delegate=). */
static bool is_delegated(int dir_fd)
{
    static const char *const names[] = {"trusted.delegate", "user.delegate"};
    char value[8];

    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        if (fgetxattr(dir_fd, names[i], value, sizeof(value)) == 1 && value[0] == '1') {
            return true;
        }
    }
    return false;
}

int guard_cgroup_give(uid_t uid, gid_t gid, struct err *err)
{
    /* Those of Documentation/admin-guide/cgroup-v2.rst, Model of Delegation. */
    static const char *const names[] = {".", "cgroup.procs", "cgroup.threads",
                                        "cgroup.subtree_control"};
    char dir[PATH_MAX * 2];
    int fd, status = 0;

    if (find_own_directory(dir, sizeof(dir), err) != 0) {
        return 0; /* The guard says so. */
    }
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || !is_delegated(fd)) {
        goto out;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(names) && status == 0; i++) {
        if (fchownat(fd, names[i], uid, gid, 0) != 0) {
            status = err_set_errno(err, errno, "giving %s/%s away", dir, names[i]);
        }
    }
out:
    if (fd >= 0) {
        (void)close(fd); /* A directory. */
    }
    return status;
}

/* ---- Using it ---- */

static ssize_t read_file(int fd, char *text, size_t size)
{
    ssize_t n = pread(fd, text, size - 1, 0);

    text[MAX(n, 0)] = '\0';
    return n;
}

bool guard_cgroup_is_empty(const struct guard_cgroup *c)
{
    char text[512];
    const char *found;

    /* Also of cgroups below it, if somebody made some. */
    if (read_file(c->events_fd, text, sizeof(text)) <= 0) {
        return false;
    }
    found = strstr(text, "populated ");
    return found != NULL && found[strlen("populated ")] == '0';
}

bool guard_cgroup_has(const struct guard_cgroup *c, pid_t pid)
{
    char text[4096];
    char *rest = text, *line;

    if (read_file(c->procs_fd, text, sizeof(text)) <= 0) {
        return false;
    }
    while ((line = strsep(&rest, "\n")) != NULL) {
        uint64_t number;

        if (str_to_u64(line, 1, INT32_MAX, &number) && (pid_t)number == pid) {
            return true;
        }
    }
    return false;
}

int guard_cgroup_enter(const struct guard_cgroup *c)
{
    return enter(c->procs_fd);
}

int guard_cgroup_freeze(const struct guard_cgroup *c)
{
    return pwrite(c->freeze_fd, "1", 1, 0) == 1 ? 0 : -1;
}

int guard_cgroup_thaw(const struct guard_cgroup *c)
{
    return pwrite(c->freeze_fd, "0", 1, 0) == 1 ? 0 : -1;
}

bool guard_cgroup_is_frozen(const struct guard_cgroup *c)
{
    char text[512];
    const char *found;

    if (read_file(c->events_fd, text, sizeof(text)) <= 0) {
        return false;
    }
    found = strstr(text, "frozen ");
    return found != NULL && found[strlen("frozen ")] == '1';
}

void guard_cgroup_kill(const struct guard_cgroup *c)
{
    if (c->kill_fd >= 0 && pwrite(c->kill_fd, "1", 1, 0) != 1) {
        return; /* The pidfds reach them too. */
    }
}
