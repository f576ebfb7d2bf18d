/*
 * From a path to struct conf: one file, or every *.yml and *.yaml of a
 * directory in the order of their names, later ones over earlier ones.
 */
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "base/kv.h"
#include "base/str.h"
#include "conf/conf_env.h"
#include "conf/conf_local.h"
#include "conf/conf_walk.h"

#define FILES_MAX 64 /* In a directory. */

static int list_files(const char *path, struct kv_list *names, const struct conf_diag *diag)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    int rv = 0;

    if (dir == NULL) {
        return err_set_errno(diag->err, errno, "%s: can not be opened", path);
    }
    while (rv == 0 && (entry = readdir(dir)) != NULL) {
        bool wanted = str_ends_with(entry->d_name, ".yml") || str_ends_with(entry->d_name, ".yaml");

        if (!wanted || entry->d_name[0] == '.') {
            continue;
        }
        if (names->n == FILES_MAX) {
            rv = err_set(diag->err, "%s: too many files, expected at most %d", path, FILES_MAX);
        } else {
            kv_add(names, entry->d_name, NULL);
        }
    }
    (void)closedir(dir); /* Only read from. */
    kv_sort(names);
    if (rv == 0 && names->n == 0) {
        rv = err_set(diag->err, "%s: no file *.yml or *.yaml, expected a configuration", path);
    }
    return rv;
}

static struct conf_node *read_directory(const char *path, const struct conf_diag *diag)
{
    struct kv_list names = {0};
    struct conf_node *root = NULL;

    if (list_files(path, &names, diag) < 0) {
        kv_deinit(&names);
        return NULL;
    }
    for (size_t i = 0; i < names.n; i++) {
        struct strbuf file = {0};
        struct conf_node *part;

        strbuf_printf(&file, "%s/%s", path, names.items[i].key);
        part = conf_yaml_read(file.data, diag);
        strbuf_deinit(&file);
        if (part == NULL) {
            conf_node_free(root);
            root = NULL;
            break;
        }
        if (root == NULL) {
            root = part;
        } else {
            conf_node_merge(root, part);
        }
    }
    kv_deinit(&names);
    return root;
}

struct conf_node *conf_tree_read(const char *path, const struct conf_diag *diag)
{
    struct stat st;

    if (stat(path, &st) < 0) {
        (void)err_set_errno(diag->err, errno, "%s: can not be opened", path);
        return NULL;
    }
    return S_ISDIR(st.st_mode) ? read_directory(path, diag) : conf_yaml_read(path, diag);
}

/* The tree that has it all: of the file, and over it of the environment. */
static struct conf_node *read_all(const char *path, const struct kv_list *env,
                                  const struct conf_diag *diag)
{
    struct conf_walk renames = {&conf_schema_local, NULL, "", diag};
    const char *name;
    const char *whole = conf_env_whole(env, &name);
    struct conf_node *root;

    if (whole != NULL) {
        return conf_yaml_parse(name, whole, strlen(whole), diag);
    }
    root = path != NULL ? conf_tree_read(path, diag) : conf_node_new(CONF_NODE_MAP, "environment");
    if (root == NULL) {
        return NULL;
    }
    conf_walk_rename(&renames, root); /* Or a variable would hide what is written the older way. */
    if (conf_env_merge(env, root, diag) < 0) {
        conf_node_free(root);
        return NULL;
    }
    return root;
}

/* For conf_fail_at: the tree is gone by then, and the file may be one that root alone can read. */
static void note_places(const struct conf_node *root, struct conf *c)
{
    for (size_t i = 0; i < conf_schema_local.n_rows; i++) {
        const char *path = conf_schema_local.rows[i].path;
        const struct conf_node *node = conf_node_find(root, path);
        char place[CONF_KEY_SIZE];

        if (node != NULL) {
            conf_node_place(node, place, sizeof(place));
            kv_add(&c->places, path, place);
        }
    }
}

struct conf *conf_load(const char *path, conf_warning_cb warn, void *data, struct err *err)
{
    return conf_load_with(path, NULL, warn, data, err);
}

struct conf *conf_load_with(const char *path, const struct kv_list *env, conf_warning_cb warn,
                            void *data, struct err *err)
{
    return conf_load_told(path, env, &(struct conf_told){.warn = warn, .data = data}, err);
}

struct conf *conf_load_told(const char *path, const struct kv_list *env,
                            const struct conf_told *told, struct err *err)
{
    struct conf_diag diag = {told->warn, told->data, err_clear(err), told->fail};
    struct conf_node *root = read_all(path, env, &diag);
    struct conf *c;

    if (root == NULL) {
        return NULL;
    }
    c = xmalloc(sizeof(*c));
    conf_replace(&c->path, path);
    if (env != NULL) {
        kv_copy(&c->env, env);
    }
    note_places(root, c);
    if (conf_local_read(root, c, &diag) < 0) {
        conf_free(c);
        c = NULL;
    }
    conf_node_free(root);
    return c;
}

int conf_fail_at(const struct conf *c, const char *key, struct err *err, const char *format, ...)
{
    const char *place = kv_get(&c->places, key);
    char text[ERR_TEXT_SIZE];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args); /* Cut when too long. */
    va_end(args);
    return err_set(err, "%s%s%s: %s", place != NULL ? place : "", place != NULL ? ": " : "", key,
                   text);
}

void conf_place_error(const struct conf *c, struct err *err)
{
    size_t length = strcspn(err->text, ":, ");
    char key[CONF_KEY_SIZE];
    const char *place;

    if (length < sizeof(key)) {
        (void)snprintf(key, sizeof(key), "%.*s", (int)length, err->text); /* Fits. */
        place = kv_get(&c->places, key);
        if (place != NULL) {
            (void)err_wrap(err, "%s", place); /* Still the same failure. */
        }
    }
}

void conf_free(struct conf *c)
{
    if (c == NULL) {
        return;
    }
    conf_walk_deinit(&conf_schema_local, c);
    conf_replace(&c->path, NULL);
    kv_deinit(&c->env);
    kv_deinit(&c->places);
    conf_replace(&c->replicatefrom, NULL);
    free(c);
}
