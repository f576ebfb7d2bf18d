/*
 * check of files on this machine: HAProxy, keepalived, services that would start PostgreSQL
 * behind the agent's back. Only read; of a file nothing is known but its lines.
 */
#include <glob.h>

#include "cli/cli_check.h"

#define WORDS_MAX       32
#define LINE_MAX_LENGTH 2048

struct section { /* Of haproxy.cfg: listen, frontend, backend, defaults. */
    char kind[16], name[128];
    char method[16], path[256]; /* Of the check; "" = none told. */
    bool httpchk, shutdown_sessions;
    size_t n_servers, n_unchecked;
};

struct proxy { /* While haproxy.cfg is read. */
    struct check *check;
    const char *file;
    struct section now, defaults;
    size_t n_sections; /* With servers of PostgreSQL. */
};

/* Words up to a comment; their number. */
static size_t split(char *line, char *words[WORDS_MAX])
{
    char *save = NULL;
    size_t n = 0;

    line[strcspn(line, "#\n")] = '\0';
    for (char *word = strtok_r(line, " \t", &save); word != NULL && n < WORDS_MAX;
         word = strtok_r(NULL, " \t", &save)) {
        words[n++] = word;
    }
    return n;
}

static bool has_word(char *const words[], size_t n, const char *word)
{
    for (size_t i = 0; i < n; i++) {
        if (str_equal(words[i], word)) {
            return true;
        }
    }
    return false;
}

/* ---- The check's path ---- */

static bool is_in(const char *path, const char *const list[], size_t n)
{
    char word[256];

    (void)str_copy(word, MIN(sizeof(word), strcspn(path, "?") + 1), path); /* Its query aside. */
    for (size_t i = 0; i < n; i++) {
        if (str_equal(word, list[i])) {
            return true;
        }
    }
    return false;
}

static void judge_path(const struct proxy *p, const struct section *s, const char *path)
{
    static const char *const routed[] = {"/",
                                         "/primary",
                                         "/master",
                                         "/read-write",
                                         "/leader",
                                         "/sync",
                                         "/synchronous",
                                         "/async",
                                         "/asynchronous",
                                         "/replica",
                                         "/quorum",
                                         "/read-only",
                                         "/standby-leader",
                                         "/standby_leader",
                                         "/read-only-sync",
                                         "/read-only-synchronous",
                                         "/read-only-quorum"};
    static const char *const everywhere[] = {"/patroni", "/cluster", "/history", "/config",
                                             "/metrics"};
    static const char *const alive[] = {"/health", "/liveness", "/readiness"};

    if (is_in(path, routed, ARRAY_LENGTH(routed))) {
        check_say(p->check, CHECK_OK, "%s: %s asks %s", p->file, s->name, path);
    } else if (is_in(path, everywhere, ARRAY_LENGTH(everywhere))) {
        check_say(p->check, CHECK_CRITICAL,
                  "%s: %s asks %s, which is 200 on every node: writes reach standbys; use "
                  "/primary, for reads /replica",
                  p->file, s->name, path);
    } else if (is_in(path, alive, ARRAY_LENGTH(alive))) {
        check_say(p->check, CHECK_WARNING,
                  "%s: %s asks %s, which does not tell primary and standbys apart: use /primary, "
                  "for reads /replica",
                  p->file, s->name, path);
    } else {
        check_say(p->check, CHECK_WARNING, "%s: %s asks %s, which no agent knows: 503 everywhere",
                  p->file, s->name, path);
    }
}

static void end_section(struct proxy *p)
{
    const struct section *s = &p->now;
    const char *path = s->path[0] != '\0' ? s->path : p->defaults.path;

    if (str_equal(s->kind, "defaults")) {
        p->defaults = *s;
    }
    if (s->n_servers == 0 || (!str_equal(s->kind, "listen") && !str_equal(s->kind, "backend"))) {
        return;
    }
    p->n_sections++;
    if (!s->httpchk && !p->defaults.httpchk) {
        check_say(p->check, CHECK_CRITICAL,
                  "%s: %s has no option httpchk: it takes every node that listens for the primary",
                  p->file, s->name);
        return;
    }
    judge_path(p, s, path[0] != '\0' ? path : "/");
    if (s->n_unchecked > 0) {
        check_say(p->check, CHECK_WARNING, "%s: %s has %zu servers without \"check\"", p->file,
                  s->name, s->n_unchecked);
    }
    if (!s->shutdown_sessions && !p->defaults.shutdown_sessions) {
        check_say(p->check, CHECK_WARNING,
                  "%s: %s lacks \"default-server on-marked-down shutdown-sessions\": clients stay "
                  "connected to what was the primary",
                  p->file, s->name);
    }
}

/* ---- Lines ---- */

static bool begins_section(const char *word)
{
    static const char *const kinds[] = {"global",  "defaults", "listen", "frontend",
                                        "backend", "userlist", "peers",  "resolvers",
                                        "cache",   "program",  "ring",   "mailers"};

    return is_in(word, kinds, ARRAY_LENGTH(kinds));
}

/* "option httpchk", "... /path", "... OPTIONS /path [HTTP/1.1]" */
static void take_httpchk(struct section *s, char *const words[], size_t n)
{
    s->httpchk = true;
    for (size_t i = 2; i < n; i++) {
        if (words[i][0] == '/') {
            (void)str_copy(s->path, sizeof(s->path), words[i]); /* Cut is fine. */
            return;
        }
    }
}

/* "http-check send meth OPTIONS uri /primary" */
static void take_http_check(struct section *s, char *const words[], size_t n)
{
    for (size_t i = 1; i + 1 < n; i++) {
        if (str_equal(words[i], "uri")) {
            (void)str_copy(s->path, sizeof(s->path), words[i + 1]); /* As above. */
        }
    }
}

static void take_line(struct proxy *p, char *const words[], size_t n)
{
    struct section *s = &p->now;
    bool server = str_equal(words[0], "server");

    if (n > 1 && str_equal(words[0], "option") && str_equal(words[1], "httpchk")) {
        take_httpchk(s, words, n);
    } else if (str_equal(words[0], "http-check")) {
        take_http_check(s, words, n);
    } else if (n > 3 && str_equal(words[0], "stats") && str_equal(words[1], "admin") &&
               str_equal(words[3], "TRUE")) {
        check_say(p->check, CHECK_WARNING,
                  "%s: \"stats admin if TRUE\": whoever reaches the page can take servers out",
                  p->file);
    }
    if ((server || str_equal(words[0], "default-server")) &&
        has_word(words, n, "shutdown-sessions")) {
        s->shutdown_sessions = true;
    }
    if (str_equal(words[0], "default-server") && has_word(words, n, "check")) {
        s->n_unchecked = 0;
    }
    if (server) {
        s->n_servers++;
        s->n_unchecked += !has_word(words, n, "check");
    }
}

static void begin_section(struct proxy *p, char *const words[], size_t n)
{
    end_section(p);
    p->now = (struct section){0};
    (void)str_copy(p->now.kind, sizeof(p->now.kind), words[0]);                    /* Short. */
    (void)str_copy(p->now.name, sizeof(p->now.name), n > 1 ? words[1] : words[0]); /* Cut. */
}

/* Each line's words to `take`. False if there is no such file. */
static bool read_lines(const char *path, void (*take)(void *data, char *const words[], size_t n),
                       void *data)
{
    FILE *in = fopen(path, "r");
    char line[LINE_MAX_LENGTH];
    char *words[WORDS_MAX];

    if (in == NULL) {
        return false;
    }
    while (fgets(line, sizeof(line), in) != NULL) {
        size_t n = split(line, words);

        if (n > 0) {
            take(data, words, n);
        }
    }
    (void)fclose(in); /* Only read from. */
    return true;
}

static void take_haproxy(void *data, char *const words[], size_t n)
{
    struct proxy *p = data;

    if (begins_section(words[0])) {
        begin_section(p, words, n);
    } else {
        take_line(p, words, n);
    }
}

/* False if there is no such file. */
static bool check_haproxy(struct check *k, const char *path)
{
    struct proxy p = {.check = k, .file = path};

    if (!read_lines(path, take_haproxy, &p)) {
        return false;
    }
    end_section(&p);
    if (p.n_sections == 0) {
        check_say(k, CHECK_WARNING, "%s has no section with servers", path);
    }
    return true;
}

/* ---- keepalived ---- */

struct keepalived {
    bool source, peer, root;
};

static void take_keepalived(void *data, char *const words[], size_t n)
{
    struct keepalived *v = data;

    v->source = v->source || str_equal(words[0], "unicast_src_ip");
    v->peer = v->peer || str_equal(words[0], "unicast_peer");
    v->root =
        v->root || (n > 1 && str_equal(words[0], "script_user") && str_equal(words[1], "root"));
}

static bool check_keepalived(struct check *k, const char *path)
{
    struct keepalived v = {0};

    if (!read_lines(path, take_keepalived, &v)) {
        return false;
    }
    if (v.source && !v.peer) {
        check_say(k, CHECK_WARNING,
                  "%s: unicast_src_ip without unicast_peer: it still speaks by multicast", path);
    }
    if (v.root) {
        check_say(k, CHECK_WARNING,
                  "%s: script_user root: the check needs none of its rights, use keepalived_script",
                  path);
    }
    check_say(k, CHECK_OK, "%s was read", path);
    return true;
}

static void under_root(const struct check *k, const char *path, char *text, size_t size)
{
    (void)snprintf(text, size, "%s%s", k->cli->root != NULL ? k->cli->root : "", path);
}

void check_proxy(struct check *k)
{
    const char *given = k->cli->haproxy;
    char haproxy[512];
    char keepalived[512];
    bool found;

    under_root(k, "/etc/haproxy/haproxy.cfg", haproxy, sizeof(haproxy));
    under_root(k, "/etc/keepalived/keepalived.conf", keepalived, sizeof(keepalived));
    found = check_haproxy(k, given != NULL ? given : haproxy);
    found = (given == NULL && check_keepalived(k, keepalived)) || found;
    if (!found && k->cli->check_proxy) { /* Elsewhere there may be none. */
        check_say(k, CHECK_UNKNOWN, "%s can not be read", given != NULL ? given : haproxy);
    }
}

/* ---- Services ---- */

static void check_service(struct check *k, const char *pattern, const char *why)
{
    char path[512];
    char wants[256];
    glob_t found;

    (void)snprintf(wants, sizeof(wants), "/etc/systemd/system/*.wants/%s", pattern);
    under_root(k, wants, path, sizeof(path));
    if (glob(path, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            const char *name = strrchr(found.gl_pathv[i], '/') + 1;

            check_say(k, CHECK_WARNING, "%s is enabled: %s; systemctl disable --now %s", name, why,
                      name);
        }
    }
    globfree(&found);
}

void check_services(struct check *k)
{
    check_service(k, "postgresql*.service",
                  "it starts PostgreSQL behind the agent's back, which freezes it");
    check_service(k, "patroni*.service", "only one of Patroni and Veche may rule PostgreSQL");
}
