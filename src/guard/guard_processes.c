/*
 * See guard_processes.h.
 */
#include "guard/guard_processes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "base/str.h"

#define FRESH_NS  (50 * NS_PER_MS)
#define HOLD_NS   (5 * NS_PER_MS)
#define DEPTH_MAX 64 /* Of a chain of parents; also ends a loop that a race made. */

/* ---- Reading ---- */

/* The number at *at, which is moved behind it and the blank that must follow. */
static bool take_number(const char **at, uint64_t *ret)
{
    const char *c = *at;
    uint64_t n = 0;

    for (; *c >= '0' && *c <= '9'; c++) {
        n = n * 10 + (uint64_t)(*c - '0');
    }
    if (c == *at || *c != ' ') {
        return false;
    }
    *at = c + 1;
    *ret = n;
    return true;
}

static bool take_pid(const char **at, pid_t *ret)
{
    uint64_t n;

    if (!take_number(at, &n) || n > INT32_MAX) {
        return false;
    }
    *ret = (pid_t)n;
    return true;
}

static const char *skip_fields(const char *at, int n)
{
    for (; n > 0 && at != NULL; n--) {
        at = strchr(at, ' ');
        at = at != NULL ? at + 1 : NULL;
    }
    return at;
}

/* "pid (name) state ppid ... start ...", start is the 18th after ppid. Blanks and anything
 * else may be in the name. Not by sscanf: this is done for each process every millisecond
 * of a freeze, and what is linked is locked in memory. */
bool guard_process_parse(const char *text, struct guard_process *ret)
{
    const char *name_end = strrchr(text, ')'), *at;
    struct guard_process p = {0};
    uint64_t start;

    if (name_end == NULL || !take_pid(&text, &p.pid) || p.pid == 0 || text[0] != '(' ||
        name_end[1] != ' ' || name_end[2] == '\0' || name_end[3] != ' ') {
        return false;
    }
    p.state = name_end[2];
    at = name_end + 4;
    if (!take_pid(&at, &p.ppid)) {
        return false;
    }
    at = skip_fields(at, 17);
    if (at == NULL || !take_number(&at, &start)) {
        return false;
    }
    p.start = (uint32_t)start;
    *ret = p;
    return true;
}

static bool read_process(const struct guard_processes *p, const char *pid,
                         struct guard_process *ret)
{
    char path[32], text[1024];
    ssize_t n;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/stat", pid);
    fd = openat(p->proc_fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    n = read(fd, text, sizeof(text) - 1);
    (void)close(fd); /* Only read. */
    text[MAX(n, 0)] = '\0';
    return guard_process_parse(text, ret);
}

static bool read_pid(const struct guard_processes *p, pid_t pid, struct guard_process *ret)
{
    char text[16];

    (void)snprintf(text, sizeof(text), "%d", (int)pid);
    return read_process(p, text, ret);
}

static bool is_dead(const struct guard_process *process)
{
    return process->state == 'Z' || process->state == 'X' || process->state == 'x';
}

static bool is_stopped(const struct guard_process *process)
{
    return process->state == 'T' || process->waits || (process->state == 'D' && process->told) ||
           (process->state == 't' && process->held);
}

static int compare_pids(const void *a, const void *b)
{
    const struct guard_process *left = a, *right = b;

    return left->pid < right->pid ? -1 : left->pid > right->pid;
}

static const struct guard_process *find(const struct guard_process *list, size_t n, pid_t pid)
{
    const struct guard_process key = {.pid = pid};

    return bsearch(&key, list, n, sizeof(key), compare_pids);
}

static const struct guard_process *find_known(const struct guard_process *list, size_t n,
                                              const struct guard_process *process)
{
    const struct guard_process *found = find(list, n, process->pid);

    return found != NULL && found->start == process->start ? found : NULL;
}

/* ours is still of the scan before. */
static void take_name(struct guard_processes *p, const char *name)
{
    struct guard_process *process = &p->all[p->n_all];
    const struct guard_process *was;

    if (name[0] < '1' || name[0] > '9') {
        return;
    }
    if (p->n_all == GUARD_PROCESSES_MAX) {
        p->overflow = true;
        return;
    }
    if (!read_process(p, name, process)) {
        return;
    }
    was = find_known(p->ours, p->n_ours, process);
    process->known = was != NULL;
    process->told = was != NULL && was->told;
    process->waits = was != NULL && was->waits;
    process->held = was != NULL && was->held;
    p->n_all++;
}

/* The kernel lists them by ascending number. */
static void read_all(struct guard_processes *p)
{
    long n;

    p->n_all = 0;
    p->overflow = lseek(p->proc_fd, 0, SEEK_SET) != 0;
    while ((n = syscall(SYS_getdents64, p->proc_fd, p->names, sizeof(p->names))) > 0) {
        for (long at = 0; at < n;) {
            const struct dirent64 *entry = (const struct dirent64 *)(const void *)&p->names[at];

            take_name(p, entry->d_name);
            at += entry->d_reclen;
        }
    }
    p->overflow |= n < 0;
}

/* ---- Whose are they? ---- */

/* Where cwd or exe leads. Only the name is read: a look at the file itself might wait for a
 * disk or a server. False also for who may not be looked into: another user's is not
 * PostgreSQL's. */
static bool read_link(const struct guard_processes *p, pid_t pid, const char *name,
                      char ret[PATH_MAX])
{
    static const char deleted[] = " (deleted)"; /* A program that was upgraded. */
    char path[32];
    ssize_t n;

    (void)snprintf(path, sizeof(path), "%d/%s", (int)pid, name);
    n = readlinkat(p->proc_fd, path, ret, PATH_MAX - 1);
    if (n <= 0) {
        return false;
    }
    ret[n] = '\0';
    if (n >= (ssize_t)sizeof(deleted) && str_equal(&ret[n + 1] - sizeof(deleted), deleted)) {
        ret[(size_t)n + 1 - sizeof(deleted)] = '\0';
    }
    return true;
}

static bool leads_to(const struct guard_processes *p, pid_t pid, const char *name,
                     const char *where)
{
    char target[PATH_MAX];

    return read_link(p, pid, name, target) && str_equal(target, where);
}

void guard_processes_adopt(struct guard_processes *p, pid_t pid)
{
    p->adopted = pid;
    p->by_place = false;
    p->place.is_known = pid != 0 && read_link(p, pid, "cwd", p->place.directory) &&
                        read_link(p, pid, "exe", p->place.program);
}

void guard_processes_orphan(struct guard_processes *p)
{
    p->adopted = 0;
    p->by_place = p->place.is_known;
}

/* Somebody's shell may stand in the data directory: only who runs its program as well. */
static bool is_left_behind(const struct guard_processes *p, const struct guard_process *process)
{
    return p->by_place && leads_to(p, process->pid, "cwd", p->place.directory) &&
           leads_to(p, process->pid, "exe", p->place.program);
}

static bool descends(const struct guard_processes *p, const struct guard_process *at)
{
    for (int depth = 0; at != NULL && depth < DEPTH_MAX; depth++) {
        if (at->pid == p->self) {
            return depth > 0;
        }
        if (at->pid == p->adopted || at->known) {
            return true;
        }
        at = find(p->all, p->n_all, at->ppid);
    }
    return false;
}

size_t guard_processes_scan(struct guard_processes *p)
{
    p->read_at = clock_pair_now();
    read_all(p);
    p->n_ours = 0;
    for (size_t i = 0; i < p->n_all; i++) {
        const struct guard_process *process = &p->all[i];

        if (is_dead(process) || (!descends(p, process) && !is_left_behind(p, process))) {
            continue;
        }
        if (p->n_ours == GUARD_OURS_MAX) {
            p->overflow = true;
            break;
        }
        p->ours[p->n_ours++] = *process;
    }
    return p->n_ours;
}

void guard_processes_refresh(struct guard_processes *p, bool only_running)
{
    size_t n = 0;

    p->read_at = clock_pair_now();
    for (size_t i = 0; i < p->n_ours; i++) {
        struct guard_process now, was = p->ours[i];

        if (only_running && is_stopped(&was)) {
            p->ours[n++] = was;
        } else if (read_pid(p, was.pid, &now) && now.start == was.start && !is_dead(&now)) {
            now.told = was.told;
            now.waits = was.waits;
            now.held = was.held;
            p->ours[n++] = now;
        }
    }
    p->n_ours = n;
}

/* ---- Signals ---- */

int guard_pidfd_open(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0); /* Close-on-exec by itself. */
}

/* The numbers do not come round within FRESH_NS. After that the one may have been used
 * again, and who it is, is looked at, after the pidfd was opened. */
static void signal_one(const struct guard_processes *p, const struct guard_process *process,
                       int signal_number)
{
    bool is_fresh = clock_pair_elapsed_ns(p->read_at, clock_pair_now()) < FRESH_NS;
    int fd = guard_pidfd_open(process->pid);
    struct guard_process now;

    if (fd < 0) {
        return; /* Gone. */
    }
    if (is_fresh || (read_pid(p, process->pid, &now) && now.start == process->start)) {
        (void)syscall(SYS_pidfd_send_signal, fd, signal_number, NULL, 0); /* Gone is as good. */
    }
    (void)close(fd); /* A pidfd. */
}

/* `first` before all others, since it is the one that starts new ones. */
static void for_each(struct guard_processes *p, pid_t first,
                     void (*cb)(struct guard_processes *p, struct guard_process *process))
{
    for (size_t i = 0; i < p->n_ours; i++) {
        if (p->ours[i].pid == first) {
            cb(p, &p->ours[i]);
        }
    }
    for (size_t i = 0; i < p->n_ours; i++) {
        if (p->ours[i].pid != first) {
            cb(p, &p->ours[i]);
        }
    }
}

static void stop_one(struct guard_processes *p, struct guard_process *process)
{
    /* Who was told and runs still, is waiting for a processor. */
    if (!is_stopped(process) && !process->told) {
        signal_one(p, process, SIGSTOP);
        process->told = true;
    }
}

void guard_processes_stop(struct guard_processes *p, pid_t first)
{
    for_each(p, first, stop_one);
}

void guard_processes_mark_waiting(struct guard_processes *p)
{
    for (size_t i = 0; i < p->n_ours; i++) {
        struct guard_process *process = &p->ours[i];

        process->waits =
            process->told && (process->state == 'D' || (process->waits && process->state != 'T'));
    }
}

void guard_processes_stop_waiting(struct guard_processes *p)
{
    for (size_t i = 0; i < p->n_ours; i++) {
        if (p->ours[i].waits) {
            signal_one(p, &p->ours[i], SIGSTOP);
        }
    }
}

/* ---- Holding ---- */

/* By its number, as there is no such call for a pidfd: it is fresh, see signal_one. Who has
 * stopped is in a stop of the tracer's when this returns. */
static void hold_one(struct guard_processes *p, struct guard_process *process)
{
    if (ptrace(PTRACE_SEIZE, process->pid, NULL, (void *)PTRACE_O_EXITKILL) == 0) {
        process->held = true;
        process->state = 't';
    } else if (errno != ESRCH) { /* That one is gone. */
        p->hold_errnum = errno;
    }
}

void guard_processes_hold(struct guard_processes *p)
{
    struct clock_pair began = clock_pair_now();

    p->hold_errnum = 0;
    for (size_t i = 0; i < p->n_ours; i++) {
        struct clock_pair now = clock_pair_now();

        if (clock_pair_elapsed_ns(began, now) >= HOLD_NS ||
            clock_pair_elapsed_ns(p->read_at, now) >= FRESH_NS) {
            return; /* The next look goes on. */
        }
        if (p->ours[i].state == 'T' && !p->ours[i].held) {
            hold_one(p, &p->ours[i]);
        }
    }
}

void guard_processes_release(struct guard_processes *p)
{
    for (size_t i = 0; i < p->n_ours; i++) {
        if (p->ours[i].held) {
            (void)ptrace(PTRACE_DETACH, p->ours[i].pid, NULL, NULL); /* Gone is as good. */
            p->ours[i].held = false;
        }
    }
}

/* ---- To all ---- */

static void continue_one(struct guard_processes *p, struct guard_process *process)
{
    signal_one(p, process, SIGCONT);
}

static void kill_one(struct guard_processes *p, struct guard_process *process)
{
    signal_one(p, process, SIGKILL);
}

void guard_processes_signal(struct guard_processes *p, int signal_number, pid_t first)
{
    PRE(signal_number == SIGCONT || signal_number == SIGKILL);
    for_each(p, first, signal_number == SIGCONT ? continue_one : kill_one);
}

void guard_processes_forget_told(struct guard_processes *p)
{
    for (size_t i = 0; i < p->n_ours; i++) {
        p->ours[i].told = p->ours[i].waits = false;
    }
}

/* ---- Looks ---- */

struct guard_look guard_processes_look(const struct guard_processes *p)
{
    struct guard_look look = {.n = (uint32_t)p->n_ours};

    for (size_t i = 0; i < p->n_ours; i++) {
        look.n_running += !is_stopped(&p->ours[i]);
    }
    if (p->overflow) { /* There are some that nobody looked at. */
        look.n++;
        look.n_running++;
    }
    return look;
}

uint32_t guard_processes_n_waiting(const struct guard_processes *p)
{
    uint32_t n = 0;

    for (size_t i = 0; i < p->n_ours; i++) {
        n += p->ours[i].state == 'D';
    }
    return n;
}

int guard_processes_init(struct guard_processes *p, struct err *err)
{
    p->proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    p->self = getpid();
    return p->proc_fd >= 0 ? 0 : err_set_errno(err, errno, "opening /proc");
}
