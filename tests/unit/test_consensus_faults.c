/*
 * Disks that fail and processes that are killed, with the real libraft. What may
 * end the process happens in a child: this program again, told a scenario, a
 * directory and the work-arounds to leave out.
 */
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "test_between.h"
#include "test_consensus_util.h"
#include "veche/exitcode.h"

#define KILLS         3
#define DIRECTORY_MAX (8 * 1024 * 1024)

static struct cluster k;

/* Files of this process may not grow beyond size any more. */
static void limit_files(rlim_t size)
{
    struct rlimit limit = {size, size};

    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void open_cluster(const char *root, size_t n, unsigned without, bool is_new)
{
    util_init(&k, n, root);
    for (size_t i = 0; i < n; i++) {
        k.nodes[i].without = without;
    }
    if (is_new) {
        util_bootstrap(&k, n);
    }
    for (size_t i = 0; i < n; i++) {
        util_start_node(&k.nodes[i]);
    }
    util_create(&k);
}

static uint64_t highest_term(void)
{
    uint64_t term = 0;

    for (size_t i = 0; i < k.n; i++) {
        term = MAX(term, k.nodes[i].leadership.term);
    }
    return term;
}

/* A new term must be written, and can not be. */
static void child_term(const char *root, unsigned without)
{
    struct node *old;
    uint64_t term;

    open_cluster(root, 3, without, true);
    old = util_leader(&k);
    term = old->leadership.term;
    limit_files(0);
    util_isolate(&k, (size_t)(old - k.nodes), true);
    UTIL_WAIT(&k, highest_term() > term);
    util_run_ms(&k, 500);
    _exit(0); /* Goes on in a term that is on no disk. */
}

/* The log must be written, and can not be. */
static void child_log(const char *root, unsigned without)
{
    struct command *c = util_command(COMMAND_LEDGER_ADD);
    struct answer answers[200];

    open_cluster(root, 1, without, true);
    limit_files(8192);
    memset(answers, 0, sizeof(answers));
    for (unsigned i = 0; i < ARRAY_LENGTH(answers); i++) {
        util_fill_note(c, i);
        consensus_propose(k.nodes[0].consensus, c, util_on_answer, &answers[i]);
    }
    util_run_ms(&k, 60000); /* It ends before. */
    free(c);
}

/* Commands of all lengths are written, and read again. */
static void child_padding(const char *root, unsigned without)
{
    open_cluster(root, 1, without, true);
    util_write_notes(&k, 0, 50);
    util_stop_node(&k.nodes[0]);
    util_start_node(&k.nodes[0]);
    util_wait_same(&k);
    assert_true(k.nodes[0].store.n_ledger >= 50);
    util_deinit(&k);
}

static void fill_disk(const char *path)
{
    static const char zeros[4096];
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    while (write(fd, zeros, sizeof(zeros)) > 0) {
    }
    assert_int_equal(errno, ENOSPC);
    (void)close(fd);
}

static enum propose_status write_big(unsigned revision)
{
    struct command *c = util_command(COMMAND_CONFIG_SET);
    struct answer answer = {0};

    c->config_set.expect_revision = revision;
    memset(c->config_set.config, 'x', 200 * 1024);
    consensus_propose(k.nodes[0].consensus, c, util_on_answer, &answer);
    UTIL_WAIT(&k, answer.arrived);
    free(c);
    return answer.result.status;
}

static void write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    (void)close(fd);
}

/* As root, or as anybody where user namespaces are allowed. */
static void enter_mount_namespace(void)
{
    char users[64];
    char groups[64];

    (void)snprintf(users, sizeof(users), "0 %u 1", (unsigned)getuid());
    (void)snprintf(groups, sizeof(groups), "0 %u 1", (unsigned)getgid());
    if (unshare(CLONE_NEWNS) != 0) {
        assert_int_equal(unshare(CLONE_NEWUSER | CLONE_NEWNS), 0);
        write_text("/proc/self/uid_map", users);
        write_text("/proc/self/setgroups", "deny");
        write_text("/proc/self/gid_map", groups);
    }
}

/* A file system of its own that is full, and later is not. */
static void child_full(const char *root, unsigned without)
{
    char filler[256];
    uint64_t end_ms = clock_ms() + LIVENESS_MS;
    unsigned n = 0;

    enter_mount_namespace();
    assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    assert_int_equal(mount("tmpfs", root, "tmpfs", 0, "size=16m"), 0);
    open_cluster(root, 1, without, true);
    (void)snprintf(filler, sizeof(filler), "%s/filler", root);
    util_run_ms(&k, 500); /* Segments are made ready meanwhile. */
    fill_disk(filler);

    while (write_big(n) != PROPOSE_BUSY) {
        n++;
        assert_true(n < 100);
    }
    UTIL_WAIT(&k, k.nodes[0].trouble);
    assert_int_equal(unlink(filler), 0);
    UTIL_WAIT(&k, !k.nodes[0].trouble);
    while (write_big(n) != PROPOSE_DONE) {
        util_run_ms(&k, 50);
        assert_true(clock_ms() < end_ms);
    }
    assert_int_equal(k.nodes[0].n_troubles, 2);
    util_deinit(&k);
}

/* Writes notes one by one and says which of them are acknowledged, until killed. */
static void child_write(const char *root, unsigned without)
{
    struct command *c = util_command(COMMAND_LEDGER_ADD);

    open_cluster(root, 3, without, false);
    for (unsigned i = 0;; i++) {
        util_fill_note(c, i);
        if (util_propose(&k, c).result == APPLY_DONE) {
            (void)!write(STDOUT_FILENO, &i, sizeof(i));
        }
    }
}

static unsigned n_files_open(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        n++;
    }
    (void)closedir(dir);
    return n;
}

/* The identity file says this node has been in a later term. */
static void child_past(const char *root, unsigned without)
{
    struct node *n = &k.nodes[0];
    unsigned n_open = 0;

    open_cluster(root, 1, without, true);
    util_stop_node(n);
    n->lowest_term = 1000;
    n->consensus = util_new(n);
    for (unsigned i = 0; i < 20; i++) { /* Trying again does no harm. */
        assert_int_equal(util_open(n), CONSENSUS_DAMAGED);
        assert_non_null(strstr(n->problem, "the term is lower"));
        n_open = i == 0 ? n_files_open() : n_open;
    }
    assert_int_equal(n_files_open(), n_open);
    util_deinit(&k);
}

static void child_unusable(const char *root, unsigned without)
{
    struct node *n = &k.nodes[0];
    char metadata[300];
    FILE *f;

    open_cluster(root, 1, without, true);
    util_stop_node(&k.nodes[0]);
    (void)snprintf(metadata, sizeof(metadata), "%s/metadata1", k.nodes[0].directory);
    f = fopen(metadata, "w");
    assert_non_null(f);
    (void)fprintf(f, "%064d", 0);
    (void)fclose(f);

    n->consensus = util_new(n);
    assert_int_equal(util_open(n), CONSENSUS_DAMAGED);
    assert_non_null(strstr(n->problem, n->directory));
    util_deinit(&k);
}

/* A file whose opening for writing never returns: a frozen disk. */
static void freeze(const struct node *n)
{
    char path[300];

    for (unsigned i = 1; i <= 2; i++) {
        (void)snprintf(path, sizeof(path), "%s/metadata%u", n->directory, i);
        (void)unlink(path);
        assert_int_equal(mkfifo(path, 0600), 0);
    }
}

/* One node's disk freezes in the middle of an election. */
static void child_frozen(const char *root, unsigned without)
{
    struct answer answer = {0};
    struct node *leader;
    struct node *frozen;
    uint64_t before_ms;

    open_cluster(root, 3, without, true);
    leader = util_leader(&k);
    frozen = leader == &k.nodes[0] ? &k.nodes[1] : &k.nodes[0];
    freeze(frozen);
    util_stop_node(leader);
    util_run_ms(&k, 2000); /* It was asked for a vote, and hangs in writing it. */
    util_start_node(leader);
    util_write_notes(&k, 0, 5); /* The other two go on. */

    consensus_barrier(frozen->consensus, util_on_answer, &answer);
    util_run_ms(&k, 500);
    assert_false(answer.arrived);
    before_ms = clock_ms();
    util_stop_node(frozen);
    assert_true(answer.arrived);
    assert_int_equal(answer.result.status, PROPOSE_UNKNOWN);
    assert_true(clock_ms() - before_ms < 30000); /* Not for the disk, which hangs for ever. */
    util_write_notes(&k, 5, 10);
    _exit(0); /* Its thread hangs for ever. */
}

/* Path of the newest closed segment (<first>-<last>) of the node. */
static void newest_segment(const struct node *n, char *path, size_t size)
{
    DIR *dir = opendir(n->directory);
    struct dirent *entry;
    char name[64] = "";

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        if (strlen(entry->d_name) == 33 && entry->d_name[16] == '-' &&
            strcmp(entry->d_name, name) > 0) {
            (void)snprintf(name, sizeof(name), "%.33s", entry->d_name);
        }
    }
    (void)closedir(dir);
    assert_true(name[0] != '\0');
    (void)snprintf(path, size, "%s/%s", n->directory, name);
}

static void flip_bit(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat st;
    uint8_t byte;

    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(pread(fd, &byte, 1, st.st_size / 2), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, st.st_size / 2), 1);
    (void)close(fd);
}

/* A bit of the acknowledged log is wrong: 0 when that is an error, 3 when the node
 * goes on without what was acknowledged. */
static void child_damaged(const char *root, unsigned without)
{
    struct node *n = &k.nodes[0];
    char segment[600];

    open_cluster(root, 1, without, true);
    util_write_notes(&k, 0, 50);
    util_stop_node(&k.nodes[0]); /* Closes the segment. */
    newest_segment(&k.nodes[0], segment, sizeof(segment));
    flip_bit(segment);

    store_init(&n->store);
    n->last_index = 0;
    n->consensus = util_new(n);
    if (util_open(n) == CONSENSUS_DAMAGED) {
        assert_non_null(strstr(n->problem, n->directory));
        assert_int_equal(access(segment, F_OK), 0); /* Kept, for who wants to look. */
        util_deinit(&k);
        return;
    }
    UTIL_WAIT(&k, k.nodes[0].leadership.is_leader);
    util_create(&k); /* Whatever of the log is left is applied when this is. */
    _exit(k.nodes[0].store.n_ledger < 50 ? 3 : 1);
}

static const struct {
    const char *name;
    void (*run)(const char *root, unsigned without);
} scenarios[] = {
    {"term", child_term},         {"log", child_log},       {"padding", child_padding},
    {"full", child_full},         {"frozen", child_frozen}, {"past", child_past},
    {"unusable", child_unusable}, {"write", child_write},   {"damaged", child_damaged},
};

static pid_t start_child(const char *scenario, const char *root, unsigned without, int out)
{
    pid_t pid = fork();
    char number[16];

    if (pid == 0) {
        (void)snprintf(number, sizeof(number), "%u", without);
        if (out >= 0) {
            (void)dup2(out, STDOUT_FILENO);
        }
        (void)execl("/proc/self/exe", "test", scenario, root, number, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    return pid;
}

/* The exit code, or minus the signal. */
static int wait_for(pid_t pid)
{
    int status = 0;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int run_child(const char *scenario, unsigned without)
{
    char root[200];
    int code;

    new_place(root, sizeof(root), "consensus");
    code = wait_for(start_child(scenario, root, without, -1));
    remove_all(root);
    return code;
}

static void a_term_that_can_not_be_written_ends_the_process(void **state)
{
    (void)state;
    assert_int_equal(run_child("term", 0), VECHE_EXIT_RAFT_FAILED);
    /* Without it the library goes on, or what it then reads makes it crash. */
    assert_int_not_equal(run_child("term", CONSENSUS_WITHOUT_STOP | CONSENSUS_WITHOUT_RETRY),
                         VECHE_EXIT_RAFT_FAILED);
}

static void a_log_that_can_not_be_written_ends_the_process(void **state)
{
    int code;

    (void)state;
    assert_int_equal(run_child("log", 0), VECHE_EXIT_RAFT_FAILED);
    code = run_child("log", CONSENSUS_WITHOUT_RETRY); /* Reads wild memory. */
    assert_true(code != 0 && code != VECHE_EXIT_RAFT_FAILED);
}

static void commands_of_odd_length_survive_a_restart(void **state)
{
    (void)state;
    assert_int_equal(run_child("padding", 0), 0);
    assert_int_not_equal(run_child("padding", CONSENSUS_WITHOUT_PADDING), 0);
}

static void a_full_disk_is_busy_and_recovers(void **state)
{
    (void)state;
    assert_int_equal(run_child("full", 0), 0);
}

static void a_directory_of_the_past_is_refused(void **state)
{
    (void)state;
    assert_int_equal(run_child("past", 0), 0);
}

static void an_unusable_directory_is_an_error_not_a_crash(void **state)
{
    (void)state;
    assert_int_equal(run_child("unusable", 0), 0);
}

static void a_damaged_closed_segment_is_refused_not_thrown_away(void **state)
{
    (void)state;
    assert_int_equal(run_child("damaged", 0), 0);
    assert_int_equal(run_child("damaged", CONSENSUS_WITHOUT_REFUSAL | CONSENSUS_WITHOUT_TOLD), 3);
}

/* A follower is cut off for many election timeouts and comes back. Returns by how
 * much the term rose. */
static uint64_t terms_a_return_costs(unsigned without)
{
    struct node *leader;
    struct node *away;
    uint64_t term;
    bool deposed;

    util_start(&k, 3);
    for (size_t i = 0; i < 3; i++) {
        util_stop_node(&k.nodes[i]);
        k.nodes[i].without = without;
        util_start_node(&k.nodes[i]);
    }
    util_write_notes(&k, 0, 3);
    util_wait_same(&k);
    leader = util_leader(&k);
    away = leader == &k.nodes[0] ? &k.nodes[1] : &k.nodes[0];
    term = leader->leadership.term;
    util_isolate(&k, (size_t)(away - k.nodes), true);
    UTIL_WAIT(&k, away->leadership.leader == 0); /* It has noticed, and stands for election. */
    util_run_ms(&k, (uint64_t)10 * ELECTION_MS);
    util_isolate(&k, (size_t)(away - k.nodes), false);
    util_write_notes(&k, 3, 6);
    util_wait_same(&k);
    deposed = util_leader(&k) != leader;
    term = highest_term() - term;
    util_finish(&k);
    assert_true(term > 0 || !deposed);
    return term;
}

/* On a busy machine a leader may be lost for other reasons: then again. */
static void a_member_that_was_cut_off_deposes_nobody(void **state)
{
    unsigned n_tries = 0;

    (void)state;
    while (terms_a_return_costs(0) > 0) {
        assert_true(++n_tries < 20);
    }
    assert_true(terms_a_return_costs(CONSENSUS_WITHOUT_PRE_VOTE) > 0);
}

#define TRIES 6 /* The library's delay of a second makes these take five seconds. */

/* How long a leader takes for that many attempts to reach a member that is down. */
static uint64_t attempts_take_ms(unsigned without)
{
    struct node *leader;
    struct node *down;
    uint64_t since_ms;
    unsigned n;

    util_start(&k, 2);
    for (size_t i = 0; i < 2; i++) {
        util_stop_node(&k.nodes[i]);
        k.nodes[i].without = without;
        util_start_node(&k.nodes[i]);
    }
    UTIL_WAIT(&k, util_leader(&k) != NULL);
    leader = util_leader(&k);
    down = leader == &k.nodes[0] ? &k.nodes[1] : &k.nodes[0];
    util_stop_node(down);
    n = leader->n_unreached;
    UTIL_WAIT(&k, leader->n_unreached > n);
    since_ms = clock_ms();
    UTIL_WAIT(&k, leader->n_unreached > n + TRIES);
    since_ms = clock_ms() - since_ms;
    util_start_node(down);
    UTIL_WAIT(&k, util_leader(&k) != NULL);
    util_finish(&k);
    return since_ms;
}

static void a_member_that_is_down_is_called_often(void **state)
{
    (void)state;
    /* Of the tries of a busy machine the quickest counts. */
    for (int i = 0; attempts_take_ms(0) >= (TRIES - 1) * SECONDS(1); i++) {
        assert_true(i < 5);
    }
    assert_true(attempts_take_ms(CONSENSUS_WITHOUT_CONNECT_RETRY) >= (TRIES - 1) * SECONDS(1));
}

static void a_frozen_disk_delays_neither_the_loop_nor_the_others(void **state)
{
    (void)state;
    assert_int_equal(run_child("frozen", 0), 0);
}

static void acknowledged_commands_survive_kill_9_of_all(void **state)
{
    char root[200];
    unsigned n_acknowledged = 0;

    (void)state;
    new_place(root, sizeof(root), "consensus");
    util_init(&k, 3, root);
    util_bootstrap(&k, 3);
    util_deinit(&k);
    for (unsigned round = 0; round < KILLS; round++) {
        int fds[2];
        unsigned number;
        pid_t pid;

        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        pid = start_child("write", root, 0, fds[1]);
        (void)close(fds[1]);
        for (unsigned i = 0; i < 40 + 30 * round; i++) {
            assert_int_equal(read(fds[0], &number, sizeof(number)), sizeof(number));
            n_acknowledged++;
        }
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(wait_for(pid), -SIGKILL);
        while (read(fds[0], &number, sizeof(number)) == (ssize_t)sizeof(number)) {
            n_acknowledged++;
        }
        (void)close(fds[0]);

        open_cluster(root, 3, 0, false);
        util_wait_same(&k);
        for (size_t i = 0; i < 3; i++) {
            assert_true(k.nodes[i].store.n_ledger >= n_acknowledged);
        }
        util_deinit(&k);
    }
    remove_all(root);
}

static uint64_t largest_directory(unsigned without)
{
    uint64_t largest = 0;

    util_start(&k, 1);
    util_stop_node(&k.nodes[0]);
    k.nodes[0].without = without;
    util_start_node(&k.nodes[0]);
    util_write_notes(&k, 0, without == 0 ? 5000 : 10);
    for (unsigned i = 0; i < 20; i++) {
        util_run_ms(&k, 50);
        largest = MAX(largest, util_directory_size(k.nodes[0].directory));
    }
    util_finish(&k);
    return largest;
}

static void five_thousand_commands_stay_below_eight_megabytes(void **state)
{
    (void)state;
    assert_between(largest_directory(0), 1, DIRECTORY_MAX);
    assert_true(largest_directory(CONSENSUS_WITHOUT_SIZES) > DIRECTORY_MAX);
}

static int run_scenario(char **argv)
{
    for (size_t i = 0; i < ARRAY_LENGTH(scenarios); i++) {
        if (strcmp(argv[1], scenarios[i].name) == 0) {
            scenarios[i].run(argv[2], (unsigned)strtoul(argv[3], NULL, 10));
            return 0;
        }
    }
    return 126;
}

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_term_that_can_not_be_written_ends_the_process),
        cmocka_unit_test(a_log_that_can_not_be_written_ends_the_process),
        cmocka_unit_test(commands_of_odd_length_survive_a_restart),
        cmocka_unit_test(a_full_disk_is_busy_and_recovers),
        cmocka_unit_test(a_directory_of_the_past_is_refused),
        cmocka_unit_test(an_unusable_directory_is_an_error_not_a_crash),
        cmocka_unit_test(a_damaged_closed_segment_is_refused_not_thrown_away),
        cmocka_unit_test(a_member_that_was_cut_off_deposes_nobody),
        cmocka_unit_test(a_member_that_is_down_is_called_often),
        cmocka_unit_test(a_frozen_disk_delays_neither_the_loop_nor_the_others),
        cmocka_unit_test(acknowledged_commands_survive_kill_9_of_all),
        cmocka_unit_test(five_thousand_commands_stay_below_eight_megabytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    log_init("test", getenv("VECHE_TEST_DEBUG") != NULL ? LOG_DEBUG : LOG_ERROR);
    consensus_prepare_process();
    return argc == 4 ? run_scenario(argv) : run_in_place(run_all);
}
