/*
 * veche.yml(5), from the schema: what conf_reference.c says in Markdown, for man.
 */
#include "base/str.h"
#include "conf/conf.h"
#include "conf/conf_reference.h"

/* '-' is a hyphen to troff unless escaped, and a '.' or "'" at the start a request. */
static void print_text(const char *text, FILE *out)
{
    (void)fputs(text[0] == '.' || text[0] == '\'' ? "\\&" : "", out);
    for (; *text != '\0'; text++) {
        if (*text == '\\') {
            (void)fputs("\\e", out);
        } else {
            (void)fprintf(out, *text == '-' ? "\\%c" : "%c", *text);
        }
    }
}

static void print_default(const struct conf_row *row, FILE *out)
{
    if (row->need != CONF_OPTIONAL) {
        (void)fputs(row->need == CONF_NEEDED ? "; needed" : "; needed unless witness", out);
    } else if (row->derived != NULL || (row->fallback != NULL && row->fallback[0] != '\0')) {
        (void)fputs("; default: ", out);
        print_text(row->derived != NULL ? row->derived : row->fallback, out);
    }
}

static void print_range(const struct conf_row *row, FILE *out)
{
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);

    ASSERT(memory != NULL);
    conf_reference_range(row, memory);
    (void)fclose(memory); /* To memory. */
    if (size > 0) {
        (void)fputs("; ", out);
        print_text(text, out);
    }
    free(text);
}

static const char *change_of(const struct conf_row *row)
{
    static const char *const texts[] = {
        [CONF_RESTART] = "; a change waits for a restart of the agent",
        [CONF_RELOAD] = "",
        [CONF_ONCE] = "; read once",
    };

    return row->effect == CONF_USED && row->type != CONF_ALIAS ? texts[row->reload] : "";
}

static void print_row(const struct conf_row *row, bool dynamic, FILE *out)
{
    static const char *const states[] = {
        [CONF_USED] = "",
        [CONF_LATER] = "; nothing acts on it yet",
        [CONF_SILENT] = "; always so",
        [CONF_NO_EFFECT] = "; no effect",
        [CONF_OTHER_STORE] = "; ignored",
        [CONF_LOCAL_ONLY] = "; ignored here",
    };

    (void)fputs(".TP\n\\fB", out);
    print_text(row->path, out);
    (void)fprintf(out, "\\fR (%s", conf_reference_type(row));
    print_default(row, out);
    print_range(row, out);
    (void)fprintf(out, "%s%s)\n", states[row->effect], dynamic ? "" : change_of(row));
    print_text(row->help, out);
    if (row->type == CONF_ALIAS) {
        (void)fputs(" of \\fB", out);
        print_text(row->choices, out);
        (void)fputs("\\fR", out);
    }
    (void)fputs(".\n", out);
}

static void print_schema(const struct conf_schema *schema, bool dynamic, FILE *out)
{
    for (size_t i = 0; i < schema->n_rows; i++) {
        const struct conf_row *row = &schema->rows[i];

        if (row->type == CONF_SECTION) {
            (void)fputs(".SS ", out);
            print_text(row->path, out);
            (void)fputs(":\n", out);
            print_text(row->help, out);
            (void)fputs(".\n", out);
        } else {
            print_row(row, dynamic, out);
        }
    }
}

void conf_print_manual(FILE *out)
{
    (void)fputs(
        ".TH VECHE.YML 5 \"\" \"Veche " VECHE_VERSION "\" \"Veche\"\n"
        ".SH NAME\nveche.yml \\- configuration of a Veche agent\n"
        ".SH DESCRIPTION\n"
        "YAML: one file, or a directory of which all *.yml and *.yaml are read in the order of\n"
        "their names, a later one over the earlier ones; a key without a value removes it. The\n"
        "keys are Patroni's, with \\fBraft:\\fR in the place of a store. Booleans: on, off, yes,\n"
        "no, true, false. Durations: seconds, or a number with ms, s, min, h, d. Sizes: bytes, or\n"
        "a number with kB, MB, GB, TB. Anchors, aliases and merge keys work within a file of at\n"
        "most 10,000 entries and 1 MB of text, written out. Not accepted: a key given twice, tags\n"
        "other than !!str, more than one document.\n"
        ".PP\nA change of the file is taken over at a reload (SIGHUP, \\fBvechectl reload\\fR), "
        "whole\n"
        "or not at all, but where a restart is named.\n"
        ".SH THE FILE\n",
        out);
    print_schema(&conf_schema_local, false, out);
    (void)fputs(
        ".SH DYNAMIC CONFIGURATION\n"
        "Of the whole cluster, kept by the agents; \\fBbootstrap.dcs\\fR is its beginning, and\n"
        "\\fBvechectl edit\\-config\\fR changes it.\n",
        out);
    print_schema(&conf_schema_dynamic, true, out);
    (void)fputs(
        ".SH ENVIRONMENT\n"
        "Variables stand over the file: \\fBVECHE_\\fR, or after it \\fBPATRONI_\\fR, and the key "
        "in\n"
        "capitals with _ for its dots, for \\fBname\\fR, \\fBscope\\fR, \\fBnamespace\\fR and the "
        "keys\n"
        "of \\fBlog\\fR, \\fBrestapi\\fR, \\fBctl\\fR and \\fBraft\\fR: VECHE_RESTAPI_LISTEN. "
        "Shorter:\n"
        "VECHE_RESTAPI_USERNAME and VECHE_CTL_USERNAME (and _PASSWORD), VECHE_SUPERUSER_...,\n"
        "VECHE_REPLICATION_... and VECHE_REWIND_... for \\fBpostgresql.authentication\\fR,\n"
        "VECHE_POSTGRESQL_BIN_... for \\fBbin_name\\fR; of \\fBpostgresql\\fR LISTEN, "
        "CONNECT_ADDRESS,\n"
        "PROXY_ADDRESS, DATA_DIR, CONFIG_DIR, PGPASS and BIN_DIR. VECHE_CONFIGURATION is a whole\n"
        "file, and then all there is. No child of the agent gets any of them.\n"
        ".SH SEE ALSO\nveched(8), vechectl(1)\n",
        out);
}
