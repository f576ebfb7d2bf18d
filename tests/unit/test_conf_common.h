/*
 * For the tests of src/conf: loads a YAML text as the file t.yml of a scratch
 * directory, and keeps every warning.
 */
#ifndef VECHE_TEST_CONF_COMMON_H
#define VECHE_TEST_CONF_COMMON_H

/* cmocka.h wants these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/stat.h>

#include "base/str.h"
#include "conf/conf.h"

#define TEST_FILE "t.yml"

/* A file that loads without a warning; `more` is put behind it. */
#define GOOD                                \
    "name: n1\n"                            \
    "scope: s\n"                            \
    "raft:\n"                               \
    "  self_addr: 127.0.0.1:7400\n"         \
    "postgresql:\n"                         \
    "  listen: 127.0.0.1:5432\n"            \
    "  data_dir: /d\n"                      \
    "  authentication:\n"                   \
    "    superuser: {username: postgres}\n" \
    "    replication: {username: repl}\n"

#define WITNESS       \
    "name: w\n"       \
    "scope: s\n"      \
    "mode: witness\n" \
    "raft:\n"         \
    "  self_addr: 127.0.0.1:7400\n"

struct load {
    struct conf *conf; /* NULL = failed. */
    struct err err;
    struct strbuf warnings; /* A line each. */
    struct strbuf errors;   /* Likewise. */
};

static inline void keep_warning(void *data, const char *text)
{
    struct load *l = data;

    strbuf_add_text(&l->warnings, text);
    strbuf_add_text(&l->warnings, "\n");
}

static inline void keep_error(void *data, const char *text)
{
    struct load *l = data;

    strbuf_add_text(&l->errors, text);
    strbuf_add_text(&l->errors, "\n");
}

static inline void write_file(const char *path, const char *text)
{
    FILE *out = fopen(path, "we");

    assert_non_null(out);
    assert_int_equal(fwrite(text, 1, strlen(text), out), strlen(text));
    assert_int_equal(fclose(out), 0);
}

/* NULL when it can not be read; the caller frees. */
static inline char *read_file(const char *path)
{
    struct strbuf b = {0};
    char data[4096];
    size_t n;
    FILE *in = fopen(path, "re");

    if (in == NULL) {
        return NULL;
    }
    strbuf_add_text(&b, "");
    while ((n = fread(data, 1, sizeof(data), in)) > 0) {
        strbuf_add(&b, data, n);
    }
    (void)fclose(in);
    return b.data;
}

static inline void load_path(struct load *l, const char *path)
{
    const struct conf_told told = {keep_warning, keep_error, l};

    *l = (struct load){0};
    l->conf = conf_load_told(path, NULL, &told, &l->err);
}

static inline void load_text(struct load *l, const char *text)
{
    write_file(TEST_FILE, text);
    load_path(l, TEST_FILE);
}

static inline void load_end(struct load *l)
{
    conf_free(l->conf);
    strbuf_deinit(&l->warnings);
    strbuf_deinit(&l->errors);
}

static inline const char *load_warnings(const struct load *l)
{
    return l->warnings.data != NULL ? l->warnings.data : "";
}

static inline const char *load_errors(const struct load *l)
{
    return l->errors.data != NULL ? l->errors.data : "";
}

/* For tables: says every row that differs, not just the first. Returns 1 then. */
static inline int differs(const char *input, const char *got, const char *expected)
{
    if (strcmp(got, expected) == 0) {
        return 0;
    }
    print_message("--- input:\n%s--- got:\n%s\n--- expected:\n%s\n", input, got, expected);
    return 1;
}

/* Group set-up: the scratch directory becomes the working directory. */
static inline int enter_scratch(void **state)
{
    char *path = xstrdup("/tmp/test_conf_XXXXXX");

    if (mkdtemp(path) == NULL || chdir(path) < 0) {
        free(path);
        return -1;
    }
    *state = path;
    return 0;
}

static inline int leave_scratch(void **state)
{
    char *path = *state;

    (void)unlink(TEST_FILE);
    if (chdir("/") < 0 || (rmdir(path) < 0 && errno != ENOENT)) {
        free(path);
        return -1;
    }
    free(path);
    return 0;
}

#endif
