/*
 * Stale lock files. PostgreSQL takes the pid in one for alive if kill(pid, 0) says so
 * (miscinit.c: CreateLockFile), which is also true of a zombie that init has not
 * reaped yet and of a stranger who got the number. There is one in the data directory
 * and one beside each socket, in the same format. A file of ours, that is, one that
 * names our data directory, is stale once no process of the directory is left, which
 * the caller has shown. PostgreSQL itself clears a file whose pid is free, but not one
 * that is empty: who was killed between creating and writing it leaves that.
 */
#include <sys/stat.h>
#include <time.h>

#include "base/str.h"
#include "pg/pg_internal.h"

#define EMPTY_S 10 /* Longer than anybody needs to write what was created. */

static bool is_same_dir(const char *dir, const char *data_path)
{
    char path[PATH_MAX];

    return realpath(dir, path) != NULL && str_equal(path, data_path);
}

/* Of our port and our user, and nobody is about to write it. */
static bool is_left_empty(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0 &&
           st.st_uid == geteuid() && st.st_mtime + EMPTY_S < time(NULL);
}

static int remove_if_ours(const char *path, const char *data_path, struct err *err)
{
    struct pg_pidfile lock;

    pg_look_lock_file(path, &lock);
    if (!is_left_empty(path) && (lock.pid == 0 || !is_same_dir(lock.data_dir, data_path))) {
        return 0;
    }
    return pg_file_remove(path, err);
}

static int remove_beside_socket(const char *dir, uint16_t port, const char *data_path,
                                struct err *err)
{
    char path[PATH_MAX + 32];

    if (dir[0] != '/') { /* None, or an abstract one, which has no lock file. */
        return 0;
    }
    (void)snprintf(path, sizeof(path), "%s/.s.PGSQL.%u.lock", dir, (unsigned)port);
    return remove_if_ours(path, data_path, err);
}

/* A list as unix_socket_directories has it. */
static int remove_beside_sockets(const char *dirs, uint16_t port, const char *data_path,
                                 struct err *err)
{
    int status = 0;

    while (*dirs != '\0' && status == 0) {
        char dir[PATH_MAX];
        size_t n, length;

        dirs += strspn(dirs, " \t\",");
        n = strcspn(dirs, "\",");
        for (length = n; length > 0 && dirs[length - 1] == ' '; length--) {
        }
        if (length > 0 && length < sizeof(dir)) {
            memcpy(dir, dirs, length);
            dir[length] = '\0';
            status = remove_beside_socket(dir, port, data_path, err);
        }
        dirs += n;
    }
    return status;
}

int pg_lock_remove_stale(const struct pg_options *o, const char *data_path, struct err *err)
{
    const char *configured =
        o->parameters != NULL ? kv_get(o->parameters, "unix_socket_directories") : NULL;
    struct pg_pidfile lock;
    char path[PATH_MAX];

    pg_look_pidfile(o->data_dir, &lock);
    (void)snprintf(path, sizeof(path), "%s/postmaster.pid", o->data_dir);
    if (remove_beside_socket(lock.socket_dir, lock.port, data_path, err) != 0 ||
        remove_beside_sockets(configured != NULL ? configured : "", o->port, data_path, err) != 0 ||
        remove_beside_sockets("/var/run/postgresql,/tmp", o->port, data_path, err) != 0) {
        return -1;
    }
    /* Last: it tells where the others are. A copied directory holds one that names
     * another directory; where it lies makes it ours. */
    return pg_file_remove(path, err);
}
