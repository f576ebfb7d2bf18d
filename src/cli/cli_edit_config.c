/*
 * edit-config: changes the dynamic configuration by -s PATH=VALUE and -p
 * PARAMETER=VALUE. Shows what would change, asks, and sends it as PATCH /config.
 */
#include <unistd.h>

#include "cli/cli.h"

#define LINES_MAX  4096 /* Of a configuration as YAML. */
#define PARAMETERS "postgresql.parameters."

struct lines {
    char *text;
    size_t n;
    const char *at[LINES_MAX];
};

/* Numbers, booleans, null and JSON are what they are; all else is text. */
static json_t *parse_value(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);

    return value != NULL ? value : json_string(text);
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

static json_t *build_patch(const struct cli *c)
{
    json_t *patch = json_object();

    for (size_t i = 0; i < c->settings.n; i++) {
        const struct kv *s = &c->settings.items[i];

        if (!put(patch, s->key, parse_value(s->value))) {
            fprintf(stderr, "Error: \"%s\": a path such as postgresql.use_slots is needed\n",
                    s->key);
            json_decref(patch);
            return NULL;
        }
    }
    return patch;
}

/* ---- The difference ---- */

static void lines_init(struct lines *l, const json_t *value)
{
    size_t size;
    FILE *out = open_memstream(&l->text, &size);
    char *save = NULL;

    ASSERT(out != NULL);
    cli_yaml_print(value, out);
    ASSERT(fclose(out) == 0);
    l->n = 0;
    for (char *line = strtok_r(l->text, "\n", &save); line != NULL && l->n < LINES_MAX;
         line = strtok_r(NULL, "\n", &save)) {
        l->at[l->n++] = line;
    }
}

/* Both are sorted alike, so what was removed or added is found by looking ahead. */
static size_t find_line(const struct lines *l, size_t from, const char *line)
{
    while (from < l->n && !str_equal(l->at[from], line)) {
        from++;
    }
    return from;
}

static bool print_difference(const struct lines *old, const struct lines *new)
{
    bool differs = false;
    size_t i = 0;
    size_t k = 0;

    while (i < old->n || k < new->n) {
        size_t in_new = i < old->n ? find_line(new, k, old->at[i]) : new->n;
        size_t in_old = k < new->n ? find_line(old, i, new->at[k]) : old->n;

        if (i < old->n && k < new->n &&in_new == k) {
            i++;
            k++;
            continue;
        }
        differs = true;
        if (in_new == new->n ? i < old->n : in_old < old->n && in_old - i < in_new - k) {
            printf("-%s\n", old->at[i++]);
        } else {
            printf("+%s\n", new->at[k++]);
        }
    }
    return differs;
}

static void print_warning(void *data, const char *text)
{
    (void)data;
    fprintf(stderr, "Warning: %s\n", text);
}

/* What the agent would make of it, by the same function. NULL with the reason printed. */
static json_t *preview(const json_t *config, const json_t *patch)
{
    struct err err = {""};
    char *before = json_dumps(config, 0);
    char *change = json_dumps(patch, 0);
    char *after = conf_dynamic_change(before, change, false, print_warning, NULL, &err);
    json_t *result = after != NULL ? json_loads(after, 0, NULL) : NULL;

    if (after == NULL) {
        fprintf(stderr, "Error: %s\n", err.text);
    }
    free(before);
    free(change);
    free(after);
    return result;
}

static bool show_difference(const json_t *before, const json_t *after)
{
    static struct lines old, new;
    bool differs;

    lines_init(&old, before);
    lines_init(&new, after);
    differs = print_difference(&old, &new);
    free(old.text);
    free(new.text);
    return differs;
}

/* ---- The request ---- */

static bool may_go_on(const struct cli *c)
{
    char answer[16];

    if (c->force) {
        return true;
    }
    if (!isatty(STDIN_FILENO)) {
        fputs("Use --force option to apply changes\n", stderr);
        return false;
    }
    fputs("Apply these changes? [y/N]: ", stdout);
    fflush(stdout);
    return fgets(answer, sizeof(answer), stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y');
}

static int send_patch(const struct cli *c, const json_t *patch)
{
    char *text = json_dumps(patch, 0);
    struct cli_reply reply;
    int code = VECHE_EXIT_OK;

    ASSERT(text != NULL);
    if (!cli_request(c, "PATCH", "/config", text, &reply)) {
        fprintf(stderr, "Error: no agent answered (%s)\n", reply.tried);
        code = VECHE_EXIT_UNREACHABLE;
    } else if (reply.code == 200) {
        puts("Configuration changed");
        if (json_object_get(patch, "postgresql") != NULL) {
            puts("PostgreSQL takes over parameters and rules of access when it is next started");
        }
    } else {
        fprintf(stderr, "Error: the configuration was not changed: %ld, %s\n", reply.code,
                reply.body.data != NULL ? reply.body.data : "");
        code = reply.code == 400 || reply.code == 403 ? VECHE_EXIT_REFUSED : VECHE_EXIT_FAILED;
    }
    cli_reply_deinit(&reply);
    free(text);
    return code;
}

static int change(const struct cli *c, const json_t *patch)
{
    int code;
    json_t *before = cli_get_json(c, "/config", &code);
    json_t *after;

    if (before == NULL) {
        return code;
    }
    after = preview(before, patch);
    if (after == NULL) {
        code = VECHE_EXIT_REFUSED;
    } else if (!show_difference(before, after)) {
        puts("Not changed");
    } else {
        code = may_go_on(c) ? send_patch(c, patch) : VECHE_EXIT_FAILED;
    }
    json_decref(before);
    json_decref(after);
    return code;
}

int cli_edit_config(struct cli *c, int argc, char **argv)
{
    json_t *patch = build_patch(c);
    int code = VECHE_EXIT_USAGE;

    (void)argc;
    (void)argv;
    if (patch != NULL && json_object_size(patch) == 0) {
        fputs("Error: give -s PATH=VALUE or -p PARAMETER=VALUE; VALUE null removes it\n", stderr);
    } else if (patch != NULL) {
        code = change(c, patch);
    }
    json_decref(patch);
    return code;
}
