/*
 * veched: reads its arguments and configuration, gives up root, runs the agent.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "agent/agent.h"
#include "base/log.h"
#include "base/str.h"
#include "consensus/consensus.h"
#include "guard/guard_cgroup.h"
#include "guard/guard_oom.h"
#include "veche/exitcode.h"

#define MEMLOCK_BYTES (64U << 20)
#define LOG_END_MS    1000       /* For the last lines, on a disk that hangs. */
#define RUN_AS        "postgres" /* PostgreSQL refuses to run as root. */

enum job {
    JOB_RUN,
    JOB_VALIDATE,
    JOB_PRINT,
    JOB_SAMPLE,
    JOB_GENERATE,
};

struct arguments {
    enum job job;
    const char *path;  /* NULL = none: what the environment has, or stdout. */
    bool ignore_ports; /* -i */
    bool print;        /* -p */
    char *dsn;         /* A copy: the argument itself was overwritten. */
};

/* For --help and veched(8). */
static const struct {
    const char *name, *help;
} flags[] = {
    {"--validate-config", "check the configuration: its keys, the files and programs it names, and "
                          "that its ports are free; exit 0 or 64"},
    {"-i, --ignore-listen-port", "with it: not the ports, since the agent runs"},
    {"-p, --print", "with it: print the configuration when it is valid"},
    {"--print-config", "print it with all defaults, secrets masked"},
    {"--generate-config", "write one (to FILE, which must not be there) for the PostgreSQL that "
                          "runs, asked as a superuser"},
    {"--dsn DSN", "with it: the connection string; without it PG* variables and libpq's defaults"},
    {"--generate-sample-config", "write one to begin with"},
    {"--print-reference", "print the reference of all settings as Markdown"},
    {"--print-manual PAGE", "print veche.yml(5) or veched(8) as man reads it; PAGE: 5 or 8"},
    {"--version", "print the version"},
    {"-h, --help", "print this"},
};

static void usage(FILE *out)
{
    fputs(
        "usage: veched [OPTION...] [FILE]\n"
        "\n"
        "Runs a Veche agent with the configuration in FILE (or a directory of *.yml), and over it\n"
        "the variables VECHE_* and PATRONI_* of the environment; or, and then exits:\n",
        out);
    for (size_t i = 0; i < ARRAY_LENGTH(flags); i++) {
        fprintf(out, "  %-26s %s\n", flags[i].name, flags[i].help);
    }
    fputs("Started as root it goes on as the user " RUN_AS ".\n", out);
}

static void print_hyphens(const char *text)
{
    for (; *text != '\0'; text++) {
        printf(*text == '-' ? "\\%c" : "%c", *text);
    }
}

static void print_manual(void)
{
    printf(".TH VECHED 8 \"\" \"Veche " VECHE_VERSION "\" \"Veche\"\n.SH NAME\n"
           "veched \\- agent of a Veche cluster of PostgreSQL servers\n.SH SYNOPSIS\n"
           ".B veched\n[\\fIOPTION\\fR...] [\\fIFILE\\fR]\n.SH DESCRIPTION\n"
           "Runs on every node of a cluster, with PostgreSQL or as a witness, and sees to it that "
           "one\n"
           "of them is primary. FILE is its configuration, veche.yml(5), or a directory of them.\n"
           "Started as root it goes on as the user " RUN_AS ".\n.SH OPTIONS\n");
    for (size_t i = 0; i < ARRAY_LENGTH(flags); i++) {
        printf(".TP\n\\fB");
        print_hyphens(flags[i].name);
        printf("\\fR\n");
        print_hyphens(flags[i].help);
        putchar('\n');
    }
    printf(
        ".SH SIGNALS\n.TP\nSIGHUP\nThe configuration is read again.\n"
        ".TP\nSIGTERM, SIGINT\nPostgreSQL is stopped, its lease given away, and the agent ends.\n"
        ".TP\nSIGUSR1\nThe agent ends and leaves PostgreSQL alone, for another that takes over.\n"
        ".SH EXIT STATUS\n0 done; 1 failed; 2 usage; 64 the configuration is wrong; 65 a "
        "directory\n"
        "is another node's, or damaged; 66 an address can not be used; 70 the Raft state could\n"
        "not be made durable; 71 the log is of a newer Veche.\n"
        ".SH SEE ALSO\nvechectl(1), veche.yml(5)\n");
}

static int print_page(const char *page)
{
    if (strcmp(page, "5") == 0) {
        conf_print_manual(stdout);
        return VECHE_EXIT_OK;
    }
    if (strcmp(page, "8") == 0) {
        print_manual();
        return VECHE_EXIT_OK;
    }
    fprintf(stderr, "veched: there is no page %s, expected 5 or 8\n", page);
    return VECHE_EXIT_USAGE;
}

static void on_warning(void *data, const char *text)
{
    (void)data;
    log_warning("%s", text);
}

static void print_warning(void *data, const char *text)
{
    (void)data;
    fprintf(stderr, "warning: %s\n", text);
}

static void print_error(void *data, const char *text)
{
    unsigned *n_errors = data;

    (*n_errors)++;
    fprintf(stderr, "veched: %s\n", text);
}

#define RUNTIME_PARENT "/run/veche"
#define STATE_PARENT   "/var/lib/veche"

/* Nobody but root can put another directory, or a link, in the place of what is in there. */
static bool is_roots(const char *path)
{
    char real[PATH_MAX];
    struct stat st;

    return realpath(path, real) != NULL && str_equal(real, path) && lstat(path, &st) == 0 &&
           S_ISDIR(st.st_mode) && st.st_uid == 0 && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* Where they are unless configured, only root may create the runtime directory and raft's, and
 * what they are in: `path` below `top`. One that is elsewhere is the operator's to make. */
static int give_directory(const char *top, const char *path, const struct passwd *user)
{
    char parent[PATH_MAX];
    char *last;
    bool is_ours; /* Nobody else makes anything in there. */
    int fd, rc;

    if (!str_starts_with(path, top) || !str_copy(parent, sizeof(parent), path)) {
        return 0;
    }
    last = strrchr(parent, '/'); /* `top` has one. */
    if (last[1] == '\0' || str_equal(last, "/.") || str_equal(last, "/..")) {
        return 0;
    }
    *last = '\0';
    is_ours = str_equal(parent, RUNTIME_PARENT) || str_equal(parent, STATE_PARENT);
    if (is_ours) {
        (void)mkdir(parent, 0755); /* Judged below. */
    }
    if (!is_roots(parent) || (mkdir(path, 0700) != 0 && (errno != EEXIST || !is_ours))) {
        return 0; /* What is missing or forbidden the agent says. */
    }
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return 0; /* The same. */
    }
    rc = fchown(fd, user->pw_uid, user->pw_gid);
    if (rc != 0) {
        log_error("Cannot give %s to \"" RUN_AS "\": %s", path, strerror(errno));
    }
    (void)close(fd);
    return rc;
}

/* libpq, and what PostgreSQL runs, look for files at home: in root's nobody else may. */
static int become(const struct passwd *user)
{
    if (setenv("HOME", user->pw_dir, 1) != 0 || setenv("USER", RUN_AS, 1) != 0 ||
        setenv("LOGNAME", RUN_AS, 1) != 0 || initgroups(RUN_AS, user->pw_gid) != 0 ||
        setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0) {
        log_error("Cannot become \"" RUN_AS "\": %s", strerror(errno));
        return -1;
    }
    /* libpq looks for certificates below HOME, and takes one of root's that it may not read for
     * a failure. Only memory can fail. */
    (void)setenv("HOME", user->pw_dir, 1);
    (void)setenv("USER", RUN_AS, 1);
    (void)setenv("LOGNAME", RUN_AS, 1);
    return 0;
}

static int give_up_root(const struct conf *conf)
{
    const struct passwd *user;
    struct err err = {""};

    if (geteuid() != 0) {
        return 0;
    }
    errno = 0;
    user = getpwnam(RUN_AS);
    if (user == NULL) {
        if (conf->mode == CONF_MODE_WITNESS) {
            return 0; /* No PostgreSQL here, and no such user. */
        }
        log_error("Cannot give up root: there is no user \"" RUN_AS "\"");
        return -1;
    }
    if (give_directory("/run/", conf->runtime_dir, user) != 0 ||
        give_directory(STATE_PARENT "/", conf->raft_data_dir, user) != 0) {
        return -1;
    }
    if (guard_cgroup_give(user->pw_uid, user->pw_gid, &err) != 0) {
        log_warning("PostgreSQL will be frozen by signals: %s", err.text);
    }
    return become(user);
}

/* With the eyes of who will read the files. */
static int validate(const struct conf *conf, const struct arguments *args)
{
    const struct passwd *user = geteuid() == 0 ? getpwnam(RUN_AS) : NULL;
    unsigned n_errors = 0;
    const struct conf_told told = {print_warning, print_error, &n_errors};

    if (user != NULL && become(user) != 0) {
        return VECHE_EXIT_CONFIG;
    }
    agent_check_files(conf, &told);
    agent_check_postgres(conf, &told);
    if (!args->ignore_ports) {
        agent_check_ports(conf, &told);
    }
    if (n_errors > 0) {
        return VECHE_EXIT_CONFIG;
    }
    if (args->print) {
        conf_print(conf, stdout);
    } else {
        printf("%s is valid\n",
               args->path != NULL ? args->path : "The environment's configuration");
    }
    return VECHE_EXIT_OK;
}

/*
 * What the guard, which this process starts later, may then do without root: lock its
 * memory, run ahead of others, not be chosen when memory runs out. The last is allowed
 * down to what root wrote last; the descriptor stays writable when we are not root.
 */
static int allow_guard(void)
{
    const struct rlimit ahead = {1, 1}, locked = {MEMLOCK_BYTES, MEMLOCK_BYTES};
    int fd;

    if (geteuid() != 0) {
        return -1;
    }
    (void)setrlimit(RLIMIT_RTPRIO, &ahead);   /* Of a container may be refused, and all of this: */
    (void)setrlimit(RLIMIT_MEMLOCK, &locked); /* the guard then says what it may not do. */
    fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t n = write(fd, "-1000", 5);

        (void)n;
    }
    return fd;
}

/* The agent is not protected, and so nothing is that it starts but the guard: neither by
 * allow_guard nor by the unit's OOMScoreAdjust. What it was raised to stays. */
static void keep_own_score(int oom_fd, int score)
{
    char text[16];
    int n = snprintf(text, sizeof(text), "%d", MAX(score, 0));
    bool done =
        oom_fd >= 0 ? write(oom_fd, text, (size_t)n) == n : guard_oom_raise(&guard_oom_own) == 0;

    if (!done) {
        log_warning("Cannot give up the protection from the OOM killer: %s", strerror(errno));
    }
    if (oom_fd >= 0) {
        (void)close(oom_fd); /* Written. */
    }
}

static int run(struct conf *conf)
{
    const struct log_file_options log = conf_log_file(conf);
    struct err err = {""};
    int score = 0, oom_fd, code;

    (void)guard_oom_own.read(NULL, &score); /* Else as if it were usual. */
    oom_fd = allow_guard();
    if (give_up_root(conf) != 0) {
        return VECHE_EXIT_CONFIG;
    }
    keep_own_score(oom_fd, score);
    if (log_file_configure(&log, &err) < 0) {
        log_warning("The log stays on stderr. error=\"%s\"", err.text);
    }
    code = agent_run(conf);
    log_file_close(LOG_END_MS);
    return code;
}

static int work(const struct arguments *args, const struct kv_list *env)
{
    struct err err = {""};
    char fields[LOG_FIELDS_SIZE];
    unsigned n_errors = 0;
    const struct conf_told told = {args->job == JOB_RUN ? on_warning : print_warning, print_error,
                                   &n_errors};
    struct conf *conf = conf_load_told(args->path, env, &told, &err);
    int code = VECHE_EXIT_OK;

    if (conf == NULL && n_errors == 0) {
        print_error(&n_errors, err.text);
    }
    if (conf == NULL) {
        return VECHE_EXIT_CONFIG;
    }
    if (args->job == JOB_PRINT) {
        conf_print(conf, stdout);
    } else if (args->job == JOB_VALIDATE) {
        code = validate(conf, args);
    } else {
        log_init(conf->name, conf_log_level(conf));
        if (conf_log_json(conf, fields, sizeof(fields))) {
            log_set_json(fields);
        }
        consensus_prepare_process();
        code = run(conf);
    }
    conf_free(conf);
    return code;
}

/* To the file, which must not be there, 0600 for its secrets; or to stdout. */
static int generate(const struct arguments *args)
{
    struct err err = {""};
    FILE *out = stdout;
    int rv;

    if (args->path != NULL) {
        int fd = open(args->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

        out = fd >= 0 ? fdopen(fd, "w") : NULL;
    }
    if (out == NULL) {
        fprintf(stderr, "veched: cannot write %s: %s\n", args->path, strerror(errno));
        return VECHE_EXIT_FAILED;
    }
    rv = args->job == JOB_SAMPLE ? agent_print_sample(out, &err)
                                 : agent_generate_config(args->dsn, out, &err);
    if (rv == 0 && (fflush(out) != 0 || (out != stdout && fclose(out) != 0))) {
        rv = err_set_errno(&err, errno, "cannot write");
    } else if (rv != 0 && out != stdout) {
        (void)fclose(out);        /* Empty, and not to stay: */
        (void)unlink(args->path); /* it was made just now. */
    }
    if (rv != 0) {
        fprintf(stderr, "veched: %s\n", err.text);
    }
    return rv == 0 ? VECHE_EXIT_OK : VECHE_EXIT_FAILED;
}

/* ps shows arguments; a connection string may have a password. */
static char *take_secret(char *argument)
{
    char *copy = xstrdup(argument);

    explicit_bzero(argument, strlen(argument));
    return copy;
}

static int take_job(struct arguments *args, enum job job)
{
    if (args->job != JOB_RUN && args->job != job) {
        fprintf(stderr, "veched: two things to do, expected one of --validate-config, "
                        "--print-config, --generate-config, --generate-sample-config\n"
                        "Try veched --help.\n");
        return VECHE_EXIT_USAGE;
    }
    args->job = job;
    return -1;
}

/* Returns an exit code, or -1 to go on. */
static int take_option(struct arguments *args, int option)
{
    switch (option) {
    case 'v':
        return take_job(args, JOB_VALIDATE);
    case 'c':
        return take_job(args, JOB_PRINT);
    case 's':
        return take_job(args, JOB_SAMPLE);
    case 'g':
        return take_job(args, JOB_GENERATE);
    case 'd':
        free(args->dsn);
        args->dsn = take_secret(optarg);
        return -1;
    case 'i':
        args->ignore_ports = true;
        return -1;
    case 'p':
        args->print = true;
        return -1;
    case 'r':
        conf_print_reference(stdout);
        return VECHE_EXIT_OK;
    case 'm':
        return print_page(optarg);
    case 'V':
        printf("veched %s\n", VECHE_VERSION);
        return VECHE_EXIT_OK;
    case 'h':
        usage(stdout);
        return VECHE_EXIT_OK;
    default: /* getopt has said which. */
        fprintf(stderr, "Try veched --help.\n");
        return VECHE_EXIT_USAGE;
    }
}

/* What is wrong with the arguments together; n_left have no dash. NULL = nothing. */
static const char *judge(const struct arguments *args, int n_left, const struct kv_list *env)
{
    bool generates = args->job == JOB_SAMPLE || args->job == JOB_GENERATE;

    if (n_left > 1) {
        return "expected one FILE or directory, got several";
    }
    if (n_left == 0 && !generates && env->n == 0) {
        return "no FILE, and no VECHE_* or PATRONI_* in the environment: expected a configuration";
    }
    if ((args->ignore_ports || args->print) && args->job != JOB_VALIDATE) {
        return args->print ? "-p, --print goes with --validate-config alone"
                           : "-i, --ignore-listen-port goes with --validate-config alone";
    }
    return args->dsn != NULL && args->job != JOB_GENERATE
               ? "--dsn goes with --generate-config alone"
               : NULL;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"validate-config", no_argument, NULL, 'v'},
        {"ignore-listen-port", no_argument, NULL, 'i'},
        {"print", no_argument, NULL, 'p'},
        {"print-config", no_argument, NULL, 'c'},
        {"generate-sample-config", no_argument, NULL, 's'},
        {"generate-config", no_argument, NULL, 'g'},
        {"dsn", required_argument, NULL, 'd'},
        {"print-reference", no_argument, NULL, 'r'},
        {"print-manual", required_argument, NULL, 'm'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct arguments args = {.job = JOB_RUN};
    struct kv_list env = {0};
    const char *wrong;
    int code = -1;
    int option;

    while (code < 0 && (option = getopt_long(argc, argv, "hip", options, NULL)) != -1) {
        code = take_option(&args, option);
    }
    conf_env_take(&env); /* No child ever gets it. */
    if (code < 0 && (wrong = judge(&args, argc - optind, &env)) != NULL) {
        fprintf(stderr, "veched: %s\nTry veched --help.\n", wrong);
        code = VECHE_EXIT_USAGE;
    }
    args.path = optind < argc ? argv[optind] : NULL;
    if (code < 0) {
        code = args.job == JOB_SAMPLE || args.job == JOB_GENERATE ? generate(&args)
                                                                  : work(&args, &env);
    }
    kv_deinit(&env);
    free(args.dsn);
    return code;
}
