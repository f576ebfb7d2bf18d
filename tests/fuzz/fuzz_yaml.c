/*
 * A configuration file. What is taken is printed, and what is printed is read
 * again to the same print. Taken for Patroni's, what becomes of it is valid.
 */
#include "fuzz.h"

#include "base/str.h"
#include "conf/conf_local.h"
#include "conf/conf_migrate.h"

static void on_warning(void *data, const char *text)
{
    (void)data;
    REQUIRE(text[0] != '\0');
}

static struct conf *load(const char *text, size_t size, struct err *err)
{
    struct conf_diag diag = {.warn = on_warning, .err = err};
    struct conf_node *root = conf_yaml_parse("f.yml", text, size, &diag);
    struct conf *c = NULL;

    if (root != NULL) {
        c = xmalloc(sizeof(*c));
        if (conf_local_read(root, c, &diag) < 0) {
            conf_free(c);
            c = NULL;
        }
        conf_node_free(root);
    }
    if (c == NULL) {
        REQUIRE(str_starts_with(err->text, "f.yml:"));
    }
    return c;
}

static char *print(const struct conf *c, size_t *ret_size)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_size);

    REQUIRE(out != NULL);
    conf_print(c, out);
    REQUIRE(fclose(out) == 0);
    return text;
}

static void migrate(const char *text, size_t size)
{
    struct kv_list none = {0};
    struct conf_migration m = {0};
    struct err err = {""};
    struct conf_diag diag = {.warn = on_warning, .err = &err};
    struct conf_node *root = conf_yaml_parse("f.yml", text, size, &diag);
    struct conf *c;

    if (root != NULL && conf_migrate_tree(root, &none, &m, &err) == 0) {
        c = load(m.json, strlen(m.json), &err);
        if (c == NULL) {
            fprintf(stderr, "%s\n%s\n", err.text, m.json);
        }
        REQUIRE(c != NULL);
        conf_free(c);
    } else {
        REQUIRE(err.text[0] != '\0');
    }
    conf_migration_deinit(&m);
    conf_node_free(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {""};
    struct conf *c;
    struct conf *other;
    uint8_t *copy;
    char *first;
    char *second;
    size_t n;

    if (memmem(data, size, "password_file", 13) != NULL) {
        return 0; /* It would open files of this machine. */
    }
    copy = fuzz_copy(data, size);
    migrate((const char *)copy, size);
    c = load((const char *)copy, size, &err);
    free(copy);
    if (c == NULL) {
        return 0;
    }
    first = print(c, &n);
    other = load(first, n, &err);
    if (other == NULL) {
        fprintf(stderr, "%s\n%s\n", err.text, first);
    }
    REQUIRE(other != NULL);
    second = print(other, &n);
    if (strcmp(first, second) != 0) {
        fprintf(stderr, "---- first\n%s\n---- second\n%s\n", first, second);
    }
    REQUIRE(strcmp(first, second) == 0);
    free(first);
    free(second);
    conf_free(c);
    conf_free(other);
    return 0;
}
