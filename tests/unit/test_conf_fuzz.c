/*
 * Damaged files: every truncation and many random changes of the samples must
 * end in a configuration or an error with words in it, never in a crash, a leak
 * (the sanitizers look) or in memory out of proportion.
 */
#include "test_conf_common.h"

#include <sys/resource.h>

#include "base/rng.h"
#include "conf/conf_local.h"
#include "conf/conf_migrate.h"

#define N_MUTATIONS 3000
#define GROWTH_KB   (400 * 1024) /* Over the whole run; nearly all of it is ASan's quarantine. */

static const char *const samples[] = {
    GOLDEN_DIR "/installations/i1.yml", GOLDEN_DIR "/installations/i2.yml",
    GOLDEN_DIR "/installations/i3.yml", GOLDEN_DIR "/installations/i4.yml",
    GOLDEN_DIR "/conf_full.yml",
};

static void ignore_warning(void *data, const char *text)
{
    (void)data;
    assert_true(text[0] != '\0');
}

static void load_bytes(const char *data, size_t size)
{
    struct err err = {.text = ""};
    struct conf_diag diag = {.warn = ignore_warning, .err = &err};
    struct conf_node *root = conf_yaml_parse("fuzz.yml", data, size, &diag);
    struct conf *c;

    if (root == NULL) {
        assert_true(strncmp(err.text, "fuzz.yml:", 9) == 0);
        return;
    }
    c = xmalloc(sizeof(*c));
    if (conf_local_read(root, c, &diag) < 0) {
        assert_true(strncmp(err.text, "fuzz.yml:", 9) == 0);
    } else {
        assert_non_null(c->name);
    }
    conf_free(c);
    conf_node_free(root);
}

static void parse_json(const char *text)
{
    struct err err = {.text = ""};
    struct conf_dynamic d;

    if (conf_dynamic_parse(text, &d, ignore_warning, NULL, &err) == 0) {
        conf_dynamic_deinit(&d);
    } else {
        assert_true(err.text[0] != '\0');
    }
}

static void every_truncation_is_survived(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(samples); i++) {
        char *text = read_file(samples[i]);

        assert_non_null(text);
        for (size_t size = 0; size <= strlen(text); size++) {
            char *exact = xmalloc(size + 1);

            memcpy(exact, text, size);
            load_bytes(exact, size);
            free(exact);
        }
        free(text);
    }
}

/* One change: a byte, a range removed, or a range doubled. */
static void mutate(struct rng *rng, struct strbuf *b)
{
    static const char odd[] = "\n\t :-[]{}#&*!|>'\"%@`,?<\\\xff\x80~0";
    size_t from = (size_t)rng_between(rng, 0, b->length - 1);
    size_t n = (size_t)rng_between(rng, 1, 40);
    char copy[64];

    n = MIN(n, b->length - from);
    switch (rng_between(rng, 0, 2)) {
    case 0:
        b->data[from] = odd[rng_between(rng, 0, sizeof(odd) - 2)];
        break;
    case 1:
        if (n < b->length) {
            memmove(b->data + from, b->data + from + n, b->length - from - n + 1);
            b->length -= n;
        }
        break;
    default:
        memcpy(copy, b->data + from, n);
        strbuf_add(b, copy, n);
        break;
    }
}

static void random_changes_are_survived(void **state)
{
    struct rng rng;
    struct rusage before;
    struct rusage after;

    (void)state;
    rng_seed(&rng, 9);
    assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
    for (size_t i = 0; i < N_MUTATIONS; i++) {
        char *text = read_file(samples[i % ARRAY_LENGTH(samples)]);
        struct strbuf b = {0};

        strbuf_add_text(&b, text);
        for (uint64_t k = rng_between(&rng, 1, 8); k > 0; k--) {
            mutate(&rng, &b);
        }
        load_bytes(b.data, b.length);
        strbuf_deinit(&b);
        free(text);
    }
    assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
    assert_true(after.ru_maxrss - before.ru_maxrss < GROWTH_KB);
}

/* What migrate calls good is good to an agent. */
static void migrate_bytes(const char *data, size_t size)
{
    struct kv_list none = {0};
    struct conf_migration m = {0};
    struct err err = {""};
    struct conf_diag diag = {.err = &err};
    struct conf_node *root = conf_yaml_parse("m.yml", data, size, &diag);

    if (root != NULL && conf_migrate_tree(root, &none, &m, &err) == 0) {
        struct conf_node *again = conf_yaml_parse("a.yml", m.json, strlen(m.json), &diag);
        struct conf *c = xmalloc(sizeof(*c));

        assert_non_null(again);
        if (conf_local_read(again, c, &diag) < 0) {
            print_message("%s\n%s\n", err.text, m.json);
            fail();
        }
        conf_free(c);
        conf_node_free(again);
    }
    assert_true(root == NULL || m.json != NULL || err.text[0] != '\0');
    conf_migration_deinit(&m);
    conf_node_free(root);
}

static void what_is_migrated_from_a_changed_file_is_valid(void **state)
{
    static const char *const files[] = {GOLDEN_DIR "/patroni/i2.yml", GOLDEN_DIR "/patroni/i4.yml",
                                        GOLDEN_DIR "/patroni/custom.yml"};
    struct rng rng;

    (void)state;
    rng_seed(&rng, 11);
    for (size_t i = 0; i < N_MUTATIONS; i++) {
        char *text = read_file(files[i % ARRAY_LENGTH(files)]);
        struct strbuf b = {0};

        assert_non_null(text);
        strbuf_add_text(&b, text);
        for (uint64_t k = rng_between(&rng, 0, 6); k > 0; k--) {
            mutate(&rng, &b);
        }
        if (strstr(b.data, "password_file") == NULL) {
            migrate_bytes(b.data, b.length);
        }
        strbuf_deinit(&b);
        free(text);
    }
}

static void changed_json_is_survived(void **state)
{
    struct rng rng;
    struct load l;

    (void)state;
    rng_seed(&rng, 10);
    load_path(&l, GOLDEN_DIR "/installations/i4.yml");
    assert_non_null(l.conf);
    for (size_t i = 0; i < N_MUTATIONS; i++) {
        struct strbuf b = {0};

        strbuf_add_text(&b, l.conf->bootstrap_dcs);
        for (uint64_t k = rng_between(&rng, 1, 3); k > 0; k--) {
            mutate(&rng, &b);
        }
        parse_json(b.data);
        strbuf_deinit(&b);
    }
    load_end(&l);
}

/* Made to explode: depth, width, length. Each ends within the bounds. */
static void hostile_files_are_refused_or_cheap(void **state)
{
    static const struct {
        const char *head, *unit;
    } cases[] = {
        {"a: ", "["},
        {"a: ", "{b: "},
        {"", "- "},
        {"a: [", "1,"},
        {"", "? "},
        {"a: ", "x"},
        {"a: '", "''"},
        {"a: ", "!"},
        {"", "\n"},
        {"a: |\n", " x\n"},
        {"", "#"},
        {"a: \"", "\\n"},
        {"", "- - - - - -\n"},
        {"raft: {partner_addrs: [", "h:1,"},
        {"", "--- \n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct strbuf b = {0};

        strbuf_add_text(&b, cases[i].head);
        while (b.length < 200 * 1000) {
            strbuf_add_text(&b, cases[i].unit);
        }
        load_bytes(b.data, b.length);
        strbuf_deinit(&b);
    }
}

/* The most keys that fit: comparing each with each must stay affordable. */
static void many_keys_are_read_in_reasonable_time(void **state)
{
    struct strbuf b = {0};
    struct err err = {""};
    struct conf_diag diag = {.err = &err};
    struct conf_node *root;

    (void)state;
    for (int i = 0; i < CONF_NODES_MAX / 2 - 10; i++) {
        strbuf_printf(&b, "k%d: 1\n", i);
    }
    root = conf_yaml_parse("many.yml", b.data, b.length, &diag);
    assert_non_null(root);
    conf_node_free(root);
    for (int i = 0; i < CONF_NODES_MAX; i++) {
        strbuf_printf(&b, "l%d: 1\n", i);
    }
    assert_null(conf_yaml_parse("many.yml", b.data, b.length, &diag));
    assert_non_null(strstr(err.text, "too many entries, expected at most 10000"));
    strbuf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_truncation_is_survived),
        cmocka_unit_test(random_changes_are_survived),
        cmocka_unit_test(what_is_migrated_from_a_changed_file_is_valid),
        cmocka_unit_test(changed_json_is_survived),
        cmocka_unit_test(hostile_files_are_refused_or_cheap),
        cmocka_unit_test(many_keys_are_read_in_reasonable_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
