/*
 * See pg_spawn.h. Between fork and exec only what is async-signal-safe is called:
 * other threads may have held any lock at the fork (signal-safety(7)).
 */
#include "pg/pg_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/str.h"
#include "pg/pg_processes.h"

#define CLOSE_FDS_MAX 65536

/* ---- Environment ---- */

/* Ours, the service manager's, and libpq's defaults: the walreceiver of PostgreSQL
 * is a libpq client and would take a PGHOST or PGPASSWORD of ours for its own. */
static bool is_dropped(const char *entry)
{
    static const char *const prefixes[] = {
        "VECHE_", "PATRONI_",       "NOTIFY_SOCKET=",  "WATCHDOG_", "LISTEN_",
        "PG",     "INVOCATION_ID=", "JOURNAL_STREAM=", "MAINPID=",
    };
    static const char *const kept[] = {"PGTZ=", "PG_OOM_ADJUST_", "PG_COLOR"};

    for (size_t i = 0; i < ARRAY_LENGTH(kept); i++) {
        if (str_starts_with(entry, kept[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < ARRAY_LENGTH(prefixes); i++) {
        if (str_starts_with(entry, prefixes[i])) {
            return true;
        }
    }
    return false;
}

static bool is_overridden(const char *entry, const struct kv_list *env)
{
    size_t length = strcspn(entry, "=");

    for (size_t i = 0; env != NULL && i < env->n; i++) {
        if (strlen(env->items[i].key) == length && strncmp(entry, env->items[i].key, length) == 0) {
            return true;
        }
    }
    return false;
}

char **pg_spawn_environment(const struct kv_list *env)
{
    size_t n = 0, n_max = 1 + (env != NULL ? env->n : 0);
    char **result;

    for (char **entry = environ; *entry != NULL; entry++) {
        n_max++;
    }
    result = xmalloc(n_max * sizeof(*result));
    for (char **entry = environ; *entry != NULL; entry++) {
        if (!is_dropped(*entry) && !is_overridden(*entry, env)) {
            result[n++] = xstrdup(*entry);
        }
    }
    for (size_t i = 0; env != NULL && i < env->n; i++) {
        const struct kv *item = &env->items[i];
        struct strbuf b = {0};

        if (item->value != NULL) {
            strbuf_printf(&b, "%s=%s", item->key, item->value);
            result[n++] = b.data;
        }
    }
    result[n] = NULL;
    return result;
}

void pg_spawn_free_environment(char **environment)
{
    for (char **entry = environment; entry != NULL && *entry != NULL; entry++) {
        free(*entry);
    }
    free(environment);
}

/* ---- Finding the program ---- */

static bool is_program(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static int find_in_path(const char *name, char *path, size_t size, struct err *err)
{
    const char *dirs = getenv("PATH");

    while (dirs != NULL && *dirs != '\0') {
        int length = (int)strcspn(dirs, ":");

        if (snprintf(path, size, "%.*s/%s", length, dirs, name) < (int)size && is_program(path)) {
            return 0;
        }
        dirs += length + (dirs[length] == ':' ? 1 : 0);
    }
    return err_set(err, "%s is not in PATH; set postgresql.bin_dir", name);
}

int pg_spawn_find(const char *bin_dir, const char *name, char *path, size_t size, struct err *err)
{
    bool has_slash = strchr(name, '/') != NULL;

    if (!has_slash && (bin_dir == NULL || bin_dir[0] == '\0')) {
        return find_in_path(name, path, size, err);
    }
    if (snprintf(path, size, "%s%s%s", has_slash ? "" : bin_dir, has_slash ? "" : "/", name) >=
        (int)size) {
        return err_set(err, "the path of %s is too long", name);
    }
    if (!is_program(path)) {
        return err_set(err, "%s is missing or is not a program we may run", path);
    }
    return 0;
}

/* ---- The child's side of the fork ---- */

struct child_side {
    const struct pg_spawn *spawn;
    char **environment;
    int null_fd;
    int exec_fd;
    pid_t parent;
};

NORETURN static void give_up(const struct child_side *c, const char *what, int errnum)
{
    const char *why = strerrordesc_np(errnum);

    /* The output is where people look; failures to write have nobody to tell. */
    if (write(STDERR_FILENO, what, strlen(what)) < 0 || write(STDERR_FILENO, ": ", 2) < 0 ||
        write(STDERR_FILENO, why, strlen(why)) < 0 || write(STDERR_FILENO, "\n", 1) < 0 ||
        write(c->exec_fd, &errnum, sizeof(errnum)) < 0) {
        _exit(126);
    }
    _exit(127);
}

static void reset_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int s = 1; s <= SIGRTMAX; s++) {
        (void)sigaction(s, &action, NULL); /* Fails for KILL and STOP, as it should. */
    }
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void close_others(void)
{
    if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) == 0) {
        return;
    }
    for (int fd = 3; fd < CLOSE_FDS_MAX; fd++) { /* Linux before 5.11. */
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
}

/* Scheduling class, niceness and the OOM score, as a fresh process has them. Not
 * being allowed to is no reason not to start. */
static void reset_priority(void)
{
    struct sched_param param = {0};
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    (void)sched_setscheduler(0, SCHED_OTHER, &param);
    if (getpriority(PRIO_PROCESS, 0) < 0) {
        (void)setpriority(PRIO_PROCESS, 0, 0);
    }
    if (fd >= 0) {
        if (write(fd, "0", 1) < 0) {
            (void)close(fd);
            return;
        }
        (void)close(fd);
    }
}

NORETURN static void become(const struct child_side *c)
{
    const struct pg_spawn *s = c->spawn;

    reset_signals();
    if (s->outlives_us) {
        (void)setsid();
    } else {
        (void)setpgid(0, 0);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != c->parent) {
            _exit(126); /* It died before it could be asked for. */
        }
    }
    reset_priority();
    (void)umask(077);
    if (dup2(c->null_fd, STDIN_FILENO) < 0 || dup2(s->output_fd, STDOUT_FILENO) < 0 ||
        dup2(s->output_fd, STDERR_FILENO) < 0) {
        give_up(c, "redirecting the output", errno);
    }
    close_others();
    if (s->cwd != NULL && chdir(s->cwd) != 0) {
        give_up(c, s->cwd, errno);
    }
    (void)execve(s->path, (char *const *)(uintptr_t)s->argv, c->environment);
    give_up(c, s->path, errno);
}

/* ---- Our side ---- */

static int fork_child(const struct pg_spawn *spawn, int pipe_fds[2], struct pg_spawned *ret,
                      struct err *err)
{
    struct child_side c = {.spawn = spawn, .exec_fd = pipe_fds[1], .parent = getpid()};
    sigset_t all, old;
    pid_t pid;
    int status = 0;

    c.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (c.null_fd < 0) {
        return err_set_errno(err, errno, "opening /dev/null");
    }
    c.environment = pg_spawn_environment(spawn->env);
    /* Blocked over the fork: no handler of ours may run in the child. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    pid = fork();
    if (pid == 0) {
        become(&c);
    }
    if (pid < 0) {
        status = err_set_errno(err, errno, "fork");
    }
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    pg_spawn_free_environment(c.environment);
    (void)close(c.null_fd); /* /dev/null. */
    ret->pid = pid;
    return status;
}

int pg_spawn(const struct pg_spawn *spawn, struct pg_spawned *ret, struct err *err)
{
    struct pg_spawned spawned = {.pidfd = -1};
    int pipe_fds[2];

    /* PostgreSQL's programs refuse root; some only after they made files as root. */
    if (geteuid() == 0) {
        return err_set(err, "PostgreSQL refuses to run as root: run the agent as the user who "
                            "owns the data directory");
    }
    if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) != 0) {
        return err_set_errno(err, errno, "pipe");
    }
    if (fork_child(spawn, pipe_fds, &spawned, err) != 0) {
        (void)close(pipe_fds[0]);
        (void)close(pipe_fds[1]);
        return -1;
    }
    if (!spawn->outlives_us) {
        (void)setpgid(spawned.pid, spawned.pid); /* Whoever is first: the group exists now. */
    }
    (void)close(pipe_fds[1]);
    spawned.exec_fd = pipe_fds[0];
    /* The child was not waited for yet, so the number is still its own. */
    spawned.pidfd = pg_pidfd_open(spawned.pid);
    ASSERT(spawned.pidfd >= 0);
    *ret = spawned;
    return 0;
}
