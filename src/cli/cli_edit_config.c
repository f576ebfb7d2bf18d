/*
 * edit-config: changes the dynamic configuration, by -s and -p, by a file, or in
 * an editor. Shows what would change, asks, and sends it for the version that
 * was shown: merged (PATCH), or the whole in its place (PUT).
 */
#include <unistd.h>

#include "cli/cli.h"

#define PARAMETERS "postgresql.parameters."

struct edit {
    json_t *before; /* The configuration as it is. */
    char etag[128]; /* Its version; "" if the agent tells none. */
    json_t *change;
    bool replace;  /* change stands for all of it. */
    char file[64]; /* Of the editor; "" = none. Kept when its text comes to nothing. */
};

/* A value of YAML, as patronictl reads it: "on", "[a, b]", nothing removes. A parameter stays as it
 * was typed. What is no YAML is a text ("%m [%p]"), unless it was to be a list or a section. NULL
 * with the reason printed. */
static json_t *parse_value(const char *path, const char *text)
{
    const char *key = str_starts_with(path, PARAMETERS) ? "parameters" : "value";
    struct strbuf yaml = {0};
    struct err err = {""};
    json_t *root;
    json_t *value;
    char *json;

    strbuf_printf(&yaml, "%s:\n  ", key);
    for (const char *p = text; *p != '\0'; p++) {
        strbuf_add(&yaml, p, 1);
        strbuf_add_text(&yaml, *p == '\n' ? "  " : "");
    }
    json = conf_json_of_yaml(path, yaml.data, &err);
    strbuf_deinit(&yaml);
    if (json == NULL && (text[0] == '{' || text[0] == '[')) {
        cli_error("%s=%s: no list or section of YAML", path, text);
        return NULL;
    }
    root = json != NULL ? json_loads(json, 0, NULL) : NULL;
    value = root != NULL ? json_incref(json_object_get(root, key)) : json_string(text);
    json_decref(root);
    free(json);
    return value;
}

/* Puts the value at "a.b.c", with maps on the way; a parameter's name may have dots.
 * False if that is no path. */
static bool put(json_t *patch, const char *path, json_t *value)
{
    const char *parameter = str_starts_with(path, PARAMETERS) ? path + strlen(PARAMETERS) : NULL;
    char key[256];

    for (const char *dot; path != parameter && (dot = strchr(path, '.')) != NULL; path = dot + 1) {
        size_t length = (size_t)(dot - path);
        json_t *child;

        (void)str_copy(key, MIN(length + 1, sizeof(key)), path); /* Cut at the dot. */
        child = json_object_get(patch, key);
        if (!json_is_object(child)) {
            child = json_object();
            (void)json_object_set_new(patch, key, child); /* Only memory can fail. */
        }
        if (length == 0 || length >= sizeof(key)) {
            path = ".";
            break;
        }
        patch = child;
    }
    if (path[0] == '\0' || path[0] == '.') {
        json_decref(value);
        return false;
    }
    return json_object_set_new(patch, path, value) == 0;
}

/* -s and -p over what there is. False with the reason printed. */
static bool add_settings(const struct cli *c, json_t *patch)
{
    for (size_t i = 0; i < c->settings.n; i++) {
        const struct kv *s = &c->settings.items[i];

        json_t *value = parse_value(s->key, s->value);

        if (value == NULL) {
            return false;
        }
        if (!put(patch, s->key, value)) {
            cli_error("\"%s\": a path such as postgresql.use_slots is needed", s->key);
            return false;
        }
    }
    return true;
}

/* ---- Files and the editor ---- */

/* Whole, to free; NULL with the reason printed. */
static char *read_stream(FILE *in, const char *name)
{
    struct strbuf text = {0};
    char part[4096];
    size_t n;

    strbuf_add_text(&text, "");
    while ((n = fread(part, 1, sizeof(part), in)) > 0) {
        strbuf_add(&text, part, n);
    }
    if (!ferror(in) && strlen(text.data) == text.length) {
        return text.data;
    }
    cli_error("%s %s", name, ferror(in) ? "can not be read" : "contains a zero byte");
    strbuf_deinit(&text);
    return NULL;
}

/* A map of YAML. Nothing at all is a mistake, a pipe that broke or an editor that lost it: only
 * {} says that there is to be nothing. NULL with the reason printed. */
static json_t *parse_map(const char *name, const char *text)
{
    struct err err = {""};
    char *json = conf_json_of_yaml(name, text, &err);
    json_t *value = json != NULL ? json_loads(json, 0, NULL) : NULL;

    free(json);
    if (value == NULL) {
        cli_error("%s", err.text);
    } else if (json_object_size(value) == 0 && strchr(text, '{') == NULL) {
        cli_error("%s is empty, expected a configuration ({} is an empty one)", name);
        json_decref(value);
        value = NULL;
    }
    return value;
}

/* "-" is the standard input. NULL with the reason printed. */
static json_t *read_yaml(const char *path)
{
    FILE *in = str_equal(path, "-") ? stdin : fopen(path, "r");
    const char *name = in == stdin ? "standard input" : path;
    char *text;
    json_t *value;

    if (in == NULL) {
        cli_error("%s can not be opened", path);
        return NULL;
    }
    text = read_stream(in, name);
    if (in != stdin) {
        (void)fclose(in); /* Only read from. */
    }
    value = text != NULL ? parse_map(name, text) : NULL;
    free(text);
    return value;
}

static bool write_file(struct edit *e, const char *scope)
{
    char *text = cli_yaml_text(e->before);
    FILE *out;
    int fd;
    bool fine;

    (void)snprintf(e->file, sizeof(e->file), "/tmp/%.20s-config-XXXXXX.yml", scope);
    fd = mkstemps(e->file, 4);
    out = fd >= 0 ? fdopen(fd, "w") : NULL;
    fine = out != NULL && fputs(text, out) >= 0;
    if (out == NULL || fclose(out) != 0 || !fine) {
        cli_error("%s can not be written", e->file);
        (void)unlink(e->file); /* Nothing of anybody's is in it. */
        e->file[0] = '\0';
        fine = false;
    }
    free(text);
    return fine;
}

/* The whole as the editor leaves it. NULL with the reason printed. */
static json_t *ask_editor(struct edit *e, const char *scope)
{
    char *argv[] = {"/bin/sh",
                    "-c",
                    "exec ${EDITOR:-$(command -v editor || command -v vi || echo vi)} \"$1\"",
                    "edit-config",
                    e->file,
                    NULL};
    json_t *value;
    int code;

    if (!write_file(e, scope)) {
        return NULL;
    }
    code = cli_run(argv, NULL);
    if (code != 0) {
        cli_error("the editor ended with %d: nothing was changed; set EDITOR to one that works",
                  code);
        return NULL;
    }
    value = read_yaml(e->file);
    if (value == NULL) {
        fprintf(stderr, "What you wrote is in %s; edit-config --replace %s takes it\n", e->file,
                e->file);
        e->file[0] = '\0';
    }
    return value;
}

/* What flags say, before anybody is asked; e->change stays NULL for the editor. -1, or an
 * exit code with the reason printed. */
static int take_flags(const struct cli *c, struct edit *e)
{
    const char *path = c->replace != NULL ? c->replace : c->apply;

    e->replace = c->replace != NULL;
    if (c->replace != NULL && c->apply != NULL) {
        cli_error("--apply and --replace exclude each other");
        return VECHE_EXIT_USAGE;
    }
    if (path == NULL && c->settings.n == 0) {
        if (getenv("EDITOR") == NULL && !isatty(STDIN_FILENO)) {
            cli_error("give -s PATH=VALUE, -p PARAMETER=VALUE, --apply FILE or --replace FILE; an "
                      "editor needs a terminal, or EDITOR");
            return VECHE_EXIT_USAGE;
        }
        return -1;
    }
    e->change = path != NULL ? read_yaml(path) : json_object();
    return e->change != NULL && add_settings(c, e->change) ? -1 : VECHE_EXIT_USAGE;
}

static int take_editor(struct edit *e, const char *scope)
{
    if (e->change == NULL) {
        e->replace = true;
        e->change = ask_editor(e, scope);
    }
    return e->change != NULL ? -1 : VECHE_EXIT_FAILED;
}

/* ---- What it comes to ---- */

static void print_warning(void *data, const char *text)
{
    (void)data;
    fprintf(stderr, "Warning: %s\n", text);
}

/* What the agent would make of it, by the same function. NULL with the reason printed. */
static json_t *preview(const struct edit *e)
{
    struct err err = {""};
    char *before = json_dumps(e->before, 0);
    char *change = json_dumps(e->change, 0);
    char *after = conf_dynamic_change(before, change, e->replace, print_warning, NULL, &err);
    json_t *result = after != NULL ? cli_sorted(json_loads(after, 0, NULL)) : NULL;

    if (after == NULL) {
        cli_error("%s", err.text);
    }
    free(before);
    free(change);
    free(after);
    return result;
}

static bool show_difference(const struct edit *e, const json_t *after, FILE *out)
{
    char *old = cli_yaml_text(e->before);
    char *new = cli_yaml_text(after);
    bool differs = cli_print_difference(old, new, out);

    free(old);
    free(new);
    return differs;
}

static bool may_go_on(const struct cli *c)
{
    if (c->force) {
        return true;
    }
    if (!isatty(STDIN_FILENO)) {
        fputs("Use --force option to apply changes\n", stderr);
        return false;
    }
    return cli_confirm("Apply these changes?");
}

/* ---- The request ---- */

static int judge(const struct cli_reply *reply)
{
    if (reply->code == 200) {
        puts("Configuration changed");
    } else if (reply->code == 409 || reply->code == 412) {
        cli_error("the configuration was changed by someone else meanwhile: nothing was changed, "
                  "look at it and edit it again (%ld, %s)",
                  reply->code, cli_reply_text(reply));
    } else {
        cli_error("the configuration was not changed: %ld, %s", reply->code, cli_reply_text(reply));
    }
    return cli_exit_code(reply->code);
}

/* An agent takes no empty configuration in the place of one, as Patroni's does not: what is
 * there is taken away by name. */
static json_t *removal_of_all(const struct edit *e)
{
    json_t *change = json_object();
    const char *key;
    json_t *value;

    json_object_foreach(e->before, key, value)
    {
        json_object_set_new(change, key, json_null());
    }
    return change;
}

static int send_change(const struct cli *c, const struct edit *e)
{
    bool empties = e->replace && json_object_size(e->change) == 0;
    json_t *change = empties ? removal_of_all(e) : json_incref(e->change);
    char *text = json_dumps(change, 0);
    struct cli_reply reply;
    int code;

    ASSERT(text != NULL);
    json_decref(change);
    code = cli_request_if(c, e->replace && !empties ? "PUT" : "PATCH", "/config", text, e->etag,
                          &reply)
               ? judge(&reply)
               : cli_unreachable(&reply);
    cli_reply_deinit(&reply);
    free(text);
    return code;
}

static int change(const struct cli *c, const struct edit *e)
{
    json_t *after = preview(e);
    int code = VECHE_EXIT_OK;

    if (after == NULL) {
        return VECHE_EXIT_REFUSED;
    }
    if (!show_difference(e, after, c->quiet ? NULL : stdout)) {
        fputs(c->quiet ? "" : "Not changed\n", stdout);
    } else {
        fflush(stdout);
        code = may_go_on(c) ? send_change(c, e) : VECHE_EXIT_FAILED;
    }
    json_decref(after);
    return code;
}

static int get_config(const struct cli *c, struct edit *e)
{
    struct cli_reply reply;
    int code = -1;

    if (!cli_request(c, "GET", "/config", NULL, &reply)) {
        code = cli_unreachable(&reply);
    } else {
        e->before = cli_sorted(json_loads(cli_reply_text(&reply), 0, NULL));
        (void)str_copy(e->etag, sizeof(e->etag), reply.etag); /* Same size. */
        if (reply.code != 200 || e->before == NULL) {
            cli_error("/config: %ld %s", reply.code, cli_reply_text(&reply));
            code = VECHE_EXIT_FAILED;
        }
    }
    cli_reply_deinit(&reply);
    return code;
}

/* The editor's text goes away only when it came to what it should. */
static void end_editor(const struct edit *e, int code)
{
    if (e->file[0] != '\0' && code == VECHE_EXIT_OK) {
        (void)unlink(e->file); /* In /tmp: another's broom takes it else. */
    } else if (e->file[0] != '\0') {
        fprintf(stderr, "What you wrote is in %s\n", e->file);
    }
}

int cli_edit_config(struct cli *c, int argc, char **argv)
{
    struct edit e = {0};
    json_t *cluster = NULL;
    int code = take_flags(c, &e);

    if (code < 0) {
        cluster = cli_get_whole_cluster(c, argc, argv, &code);
    }
    if (cluster != NULL) {
        code = get_config(c, &e);
        code = code < 0 ? take_editor(&e, cli_text(cluster, "scope")) : code;
        code = code < 0 ? change(c, &e) : code;
    }
    end_editor(&e, code);
    json_decref(e.before);
    json_decref(e.change);
    json_decref(cluster);
    return code;
}
