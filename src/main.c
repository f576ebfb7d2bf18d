/*
 * veched: reads its arguments and configuration, gives up root, runs the agent.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "agent/agent.h"
#include "base/log.h"
#include "consensus/consensus.h"
#include "guard/guard_cgroup.h"
#include "veche/exitcode.h"

#define MEMLOCK_BYTES (64U << 20)
#define RUN_AS        "postgres" /* PostgreSQL refuses to run as root. */

static void usage(FILE *out)
{
    fputs("usage: veched [--validate-config | --print-config] FILE\n"
          "       veched --print-reference | --version | --help\n"
          "\n"
          "Runs a Veche agent with the configuration in FILE (or a directory of *.yml).\n"
          "  --validate-config   check the configuration, open its certificates, and exit\n"
          "  --print-config      print it with all defaults, secrets masked, and exit\n"
          "  --print-reference   print the reference of all settings as Markdown\n"
          "Started as root it goes on as the user " RUN_AS ".\n",
          out);
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

/* The runtime directory is often below /run, where only root may create it. */
static int give_directory(const char *path, const struct passwd *user)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return 0; /* Its parent is missing or forbidden: the agent says so. */
    }
    return chown(path, user->pw_uid, user->pw_gid);
}

static int become(const struct passwd *user)
{
    if (initgroups(RUN_AS, user->pw_gid) != 0 || setgid(user->pw_gid) != 0 ||
        setuid(user->pw_uid) != 0) {
        log_error("Cannot become \"" RUN_AS "\": %s", strerror(errno));
        return -1;
    }
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
    if (strncmp(conf->runtime_dir, "/run/", 5) == 0) {
        (void)mkdir("/run/veche", 0755); /* Judged below. */
        if (give_directory(conf->runtime_dir, user) != 0) {
            log_error("Cannot give %s to \"" RUN_AS "\": %s", conf->runtime_dir, strerror(errno));
            return -1;
        }
    }
    if (guard_cgroup_give(user->pw_uid, user->pw_gid, &err) != 0) {
        log_warning("PostgreSQL will be frozen by signals: %s", err.text);
    }
    return become(user);
}

/* With the eyes of who will read the files. */
static int validate(const char *path, const struct conf *conf)
{
    const struct passwd *user = geteuid() == 0 ? getpwnam(RUN_AS) : NULL;
    struct err err = {""};

    if ((user != NULL && become(user) != 0) || agent_check_files(conf, &err) != 0) {
        fprintf(stderr, "veched: %s\n", err.text);
        return VECHE_EXIT_CONFIG;
    }
    printf("%s is valid\n", path);
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
    if (fd >= 0 && write(fd, "-1000", 5) < 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static void keep_own_score(int oom_fd)
{
    if (oom_fd >= 0) {
        if (write(oom_fd, "0", 1) < 0) {
            log_warning("Cannot give up the protection from the OOM killer: %s", strerror(errno));
        }
        (void)close(oom_fd); /* Written. */
    }
}

enum job {
    JOB_RUN,
    JOB_VALIDATE,
    JOB_PRINT,
};

static int run(struct conf *conf)
{
    int oom_fd = allow_guard();

    if (give_up_root(conf) != 0) {
        return VECHE_EXIT_CONFIG;
    }
    keep_own_score(oom_fd);
    return agent_run(conf);
}

/* path NULL: what the environment has is all there is. */
static int work(const char *path, const struct kv_list *env, enum job job)
{
    struct err err = {""};
    struct conf *conf =
        conf_load_with(path, env, job == JOB_RUN ? on_warning : print_warning, NULL, &err);
    int code = VECHE_EXIT_OK;

    if (conf == NULL) {
        fprintf(stderr, "veched: %s\n", err.text);
        return VECHE_EXIT_CONFIG;
    }
    if (job == JOB_PRINT) {
        conf_print(conf, stdout);
    } else if (job == JOB_VALIDATE) {
        code = validate(path != NULL ? path : "the environment's configuration", conf);
    } else {
        log_init(conf->name, conf_log_level(conf));
        consensus_prepare_process();
        code = run(conf);
    }
    conf_free(conf);
    return code;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"validate-config", no_argument, NULL, 'v'},
        {"print-config", no_argument, NULL, 'p'},
        {"print-reference", no_argument, NULL, 'r'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    enum job job = JOB_RUN;
    struct kv_list env = {0};
    int c;

    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (c) {
        case 'v':
            job = JOB_VALIDATE;
            break;
        case 'p':
            job = JOB_PRINT;
            break;
        case 'r':
            conf_print_reference(stdout);
            return VECHE_EXIT_OK;
        case 'V':
            printf("veched %s\n", VECHE_VERSION);
            return VECHE_EXIT_OK;
        case 'h':
            usage(stdout);
            return VECHE_EXIT_OK;
        default:
            usage(stderr);
            return VECHE_EXIT_USAGE;
        }
    }
    conf_env_take(&env); /* No child ever gets it. */
    if (argc - optind > 1 || (optind == argc && env.n == 0)) {
        usage(stderr);
        return VECHE_EXIT_USAGE;
    }
    c = work(argv[optind], &env, job);
    kv_deinit(&env);
    return c;
}
