/*
 * docs/CONFIG.md, from the schema. The file is compared with this output by a
 * test, so that it can not go stale.
 */
#include "conf/conf_reference.h"
#include "base/str.h"
#include "conf/conf.h"

static const char intro[] =
    "# Configuration reference\n"
    "\n"
    "Generated from the schema in src/conf; do not edit. `veched --validate-config FILE` checks a\n"
    "file, `veched --print-config FILE` shows what is in force.\n"
    "\n"
    "The keys are Patroni's, plus `raft:` in the place of a store. A file of Patroni works after\n"
    "a `raft:` section was added; sections of other stores are ignored with a warning, and so are\n"
    "keys that nothing acts on yet. The configuration is one file, or a directory: then all its\n"
    "`*.yml` and `*.yaml` files are read in the order of their names, a later one over the "
    "earlier\n"
    "ones, and a key without a value removes it.\n"
    "\n"
    "Keys of the sections `log`, `restapi`, `ctl`, `raft` and of `postgresql` those that "
    "Patroni's\n"
    "users have there may also come from the environment: `VECHE_RESTAPI_LISTEN` or, after it,\n"
    "`PATRONI_RESTAPI_LISTEN` is `restapi.listen`; `VECHE_SUPERUSER_PASSWORD`,\n"
    "`VECHE_REPLICATION_...`, `VECHE_REWIND_...` are the roles of `postgresql.authentication`.\n"
    "`VECHE_CONFIGURATION` is a whole file: then it is all there is. The order: environment, over\n"
    "the node's file, over the cluster's dynamic configuration, over the defaults. What was read "
    "is\n"
    "taken out of the environment: no child gets it.\n"
    "\n"
    "- Booleans: `on`, `off`, `yes`, `no`, `true`, `false`, with or without quotes.\n"
    "- Durations: seconds, fractions allowed, or a number with `ms`, `s`, `min`, `h`, `d`.\n"
    "- Sizes: bytes, or a number with `kB`, `MB`, `GB`, `TB`.\n"
    "- PostgreSQL's parameters are passed on exactly as written.\n"
    "- YAML's anchors (`&name`), aliases (`*name`) and merge keys (`<<: *name`, or a list of them: "
    "an\n"
    "  own key wins, then the earlier of the list) work within a file; with all written out it "
    "may\n"
    "  have 10,000 entries and 1 MB of text. Messages name the place that wrote the value.\n"
    "- Not accepted: a key given twice, tags other than `!!str`, more than one document.\n"
    "\n"
    "Column *state*: `used`; `later`: accepted, with a warning that nothing acts on it yet;\n"
    "`no effect`: accepted, with a warning that says why it needs none; `always so`: what it asks\n"
    "for is the case anyway; `ignored`, with a warning that says where it belongs. Column "
    "*change*: `reload` (SIGHUP), `restart` (of the "
    "agent),\n"
    "`once` (when the cluster is first made).\n";

const char *conf_reference_type(const struct conf_row *row)
{
    static const char *const names[] = {
        [CONF_SECTION] = "section",
        [CONF_ALIAS] = "alias",
        [CONF_TEXT] = "text",
        [CONF_SECRET] = "secret",
        [CONF_NAME] = "name",
        [CONF_PATH] = "path",
        [CONF_BOOL] = "boolean",
        [CONF_INT] = "number",
        [CONF_BYTES] = "size",
        [CONF_DURATION] = "duration",
        [CONF_CHOICE] = "choice",
        [CONF_MODE] = "choice",
        [CONF_LOG_LEVEL] = "choice",
        [CONF_SYNC_MODE] = "choice",
        [CONF_ADDRESS] = "address",
        [CONF_ADDRESS_LIST] = "addresses",
        [CONF_LISTEN] = "addresses",
        [CONF_HOST_PORT] = "address",
        [CONF_PARAMETERS] = "name: value",
        [CONF_LINES] = "lines",
        [CONF_WORDS] = "words",
        [CONF_OPTIONS] = "options",
        [CONF_ENTRY] = "text",
        [CONF_USERS] = "roles",
        [CONF_METHODS] = "section",
        [CONF_TAGS] = "name: value",
        [CONF_DCS] = "section",
        [CONF_SLOTS] = "slots",
        [CONF_IGNORED] = "list",
        [CONF_ANY] = "any",
    };

    return names[row->type];
}

static bool has_choices(const struct conf_row *row)
{
    return (row->type == CONF_ENTRY && row->choices != NULL) || row->type == CONF_CHOICE ||
           row->type == CONF_MODE || row->type == CONF_LOG_LEVEL || row->type == CONF_SYNC_MODE;
}

/* "off, on, quorum", "1 to 3600 s", "0 to 4096". */
void conf_reference_range(const struct conf_row *row, FILE *out)
{
    bool ranged = row->type == CONF_INT || row->type == CONF_BYTES || row->type == CONF_DURATION;

    if (has_choices(row)) {
        for (const char *at = row->choices; *at != '\0'; at++) {
            (void)fprintf(out, *at == '|' ? ", " : "%c", *at);
        }
    } else if (ranged && row->max == INT64_MAX) {
        (void)fprintf(out, "%lld or more", (long long)row->min);
    } else if (ranged && row->max > 0 && row->type == CONF_DURATION) {
        (void)fprintf(out, "%g to %.10g s", (double)row->min / 1000, (double)row->max / 1000);
    } else if (ranged && row->max > 0) {
        (void)fprintf(out, "%lld to %lld", (long long)row->min, (long long)row->max);
    }
}

static void print_default(const struct conf_row *row, FILE *out)
{
    if (row->need == CONF_NEEDED) {
        (void)fputs("*needed*", out);
    } else if (row->need == CONF_NEEDED_POSTGRES) {
        (void)fputs("*needed unless witness*", out);
    } else if (row->derived != NULL) {
        bool is_value = strchr(row->derived, ' ') == NULL;

        (void)fprintf(out, is_value ? "`%s`" : "%s", row->derived);
    } else if (row->fallback != NULL && row->fallback[0] != '\0') {
        (void)fprintf(out, "`%s`", row->fallback);
    }
}

static const char *state_name(const struct conf_row *row)
{
    switch (row->effect) {
    case CONF_USED:
        return "used";
    case CONF_LATER:
        return "later";
    case CONF_SILENT:
        return "always so";
    case CONF_NO_EFFECT:
        return "no effect";
    case CONF_OTHER_STORE:
    case CONF_LOCAL_ONLY:
        return "ignored";
    }
    return "";
}

static const char *change_name(const struct conf_row *row, bool dynamic)
{
    if (row->effect != CONF_USED || row->type == CONF_ALIAS || dynamic) {
        return "";
    }
    switch (row->reload) {
    case CONF_RESTART:
        return "restart";
    case CONF_RELOAD:
        return "reload";
    case CONF_ONCE:
        return "once";
    }
    return "";
}

static void print_row(const struct conf_row *row, bool dynamic, FILE *out)
{
    (void)fprintf(out, "| `%s` | %s | ", row->path, conf_reference_type(row));
    print_default(row, out);
    (void)fputs(" | ", out);
    conf_reference_range(row, out);
    (void)fprintf(out, " | %s |", state_name(row));
    if (!dynamic) {
        (void)fprintf(out, " %s |", change_name(row, dynamic));
    }
    (void)fprintf(out, " %s", row->help);
    if (row->type == CONF_ALIAS) {
        (void)fprintf(out, " of `%s`", row->choices);
    } else if (row->type == CONF_OPTIONS) {
        (void)fputs("; the agent itself sets: ", out);
        for (const char *at = row->choices; *at != '\0'; at++) {
            (void)fprintf(out, *at == '|' ? ", " : "%c", *at);
        }
    }
    (void)fputs(" |\n", out);
}

static void print_head(bool dynamic, FILE *out)
{
    (void)fputs(dynamic ? "\n| key | type | default | range | state | meaning |\n"
                          "|---|---|---|---|---|---|\n"
                        : "\n| key | type | default | range | state | change | meaning |\n"
                          "|---|---|---|---|---|---|---|\n",
                out);
}

static void print_schema(const struct conf_schema *schema, bool dynamic, FILE *out)
{
    bool in_table = false;

    (void)fprintf(out, "\n## %s\n", schema->title);
    for (size_t i = 0; i < schema->n_rows; i++) {
        const struct conf_row *row = &schema->rows[i];

        if (row->type == CONF_SECTION) {
            (void)fprintf(out, "\n### `%s:`\n%s.\n", row->path, row->help);
            in_table = false;
            continue;
        }
        if (!in_table) {
            print_head(dynamic, out);
            in_table = true;
        }
        print_row(row, dynamic, out);
    }
}

void conf_print_reference(FILE *out)
{
    (void)fputs(intro, out);
    print_schema(&conf_schema_local, false, out);
    print_schema(&conf_schema_dynamic, true, out);
}
