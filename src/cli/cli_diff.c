/*
 * A unified difference of two texts, by their longest common subsequence of
 * lines. What they share at both ends needs no table of pairs; where the rest
 * of both is long (a pg_hba of thousands of lines) it is shown as replaced.
 */
#include "cli/cli.h"

#define PAIRS_MAX (4 * 1000 * 1000) /* Of the table: 16 MB. */
#define CONTEXT   3

struct lines {
    char *text;
    size_t n;
    const char **at;
};

static void split(struct lines *l, const char *text)
{
    char *save = NULL;
    size_t n = 1;

    for (const char *p = text; *p != '\0'; p++) {
        n += *p == '\n';
    }
    l->text = xstrdup(text);
    l->at = xmalloc(n * sizeof(l->at[0]));
    l->n = 0;
    for (char *line = strtok_r(l->text, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        l->at[l->n++] = line;
    }
}

static void free_lines(struct lines *l)
{
    free(l->text);
    free(l->at);
}

struct change { /* A line of the difference. */
    char sign;  /* ' ', '-', '+' */
    const char *line;
    size_t old, new; /* Lines before it, on either side. */
};

struct diff {
    struct lines old, new;
    size_t head, tail; /* Lines that both share at the beginning and at the end. */
    uint32_t *common;  /* [i][k]: length of what the rests behind both share; NULL = not known. */
    size_t n_old, n_new;
    struct change *changes;
    size_t n;
};

static uint32_t *cell(const struct diff *d, size_t i, size_t k)
{
    return &d->common[i * (d->n_new + 1) + k];
}

static bool is_same(const struct diff *d, size_t i, size_t k)
{
    return str_equal(d->old.at[d->head + i], d->new.at[d->head + k]);
}

static void find_ends(struct diff *d)
{
    size_t n = MIN(d->old.n, d->new.n);

    while (d->head < n && str_equal(d->old.at[d->head], d->new.at[d->head])) {
        d->head++;
    }
    while (d->tail < n - d->head &&
           str_equal(d->old.at[d->old.n - d->tail - 1], d->new.at[d->new.n - d->tail - 1])) {
        d->tail++;
    }
    d->n_old = d->old.n - d->head - d->tail;
    d->n_new = d->new.n - d->head - d->tail;
}

static void find_common(struct diff *d)
{
    if ((d->n_old + 1) * (d->n_new + 1) > PAIRS_MAX) {
        return;
    }
    d->common = xmalloc((d->n_old + 1) * (d->n_new + 1) * sizeof(d->common[0]));
    for (size_t i = d->n_old; i-- > 0;) {
        for (size_t k = d->n_new; k-- > 0;) {
            *cell(d, i, k) = is_same(d, i, k) ? *cell(d, i + 1, k + 1) + 1
                                              : MAX(*cell(d, i + 1, k), *cell(d, i, k + 1));
        }
    }
}

/* Of the old lines from i and the new ones from k: what comes next. */
static char next_sign(const struct diff *d, size_t i, size_t k)
{
    if (i == d->n_old) {
        return '+';
    }
    if (k == d->n_new || d->common == NULL) {
        return '-';
    }
    if (is_same(d, i, k)) {
        return ' ';
    }
    return *cell(d, i + 1, k) >= *cell(d, i, k + 1) ? '-' : '+';
}

static void add_change(struct diff *d, char sign, size_t *i, size_t *k)
{
    const char *line = sign == '+' ? d->new.at[*k] : d->old.at[*i];

    d->changes[d->n++] = (struct change){sign, line, *i, *k};
    *i += sign != '+';
    *k += sign != '-';
}

static void list_changes(struct diff *d)
{
    size_t i = 0;
    size_t k = 0;

    d->changes = xmalloc((d->old.n + d->new.n) * sizeof(d->changes[0]));
    while (i < d->head) {
        add_change(d, ' ', &i, &k);
    }
    while (i - d->head < d->n_old || k - d->head < d->n_new) {
        add_change(d, next_sign(d, i - d->head, k - d->head), &i, &k);
    }
    while (i < d->old.n) {
        add_change(d, ' ', &i, &k);
    }
}

/* The end of the hunk that begins at `from`: changes less than two contexts apart are one. */
static size_t end_of_hunk(const struct diff *d, size_t from)
{
    size_t last = from;

    for (size_t i = from; i < d->n && i <= last + 2 * CONTEXT; i++) {
        last = d->changes[i].sign != ' ' ? i : last;
    }
    return MIN(last + CONTEXT + 1, d->n);
}

/* "3,2"; a single line has no number behind it. */
static void print_range(FILE *out, char sign, size_t before, size_t n)
{
    fprintf(out, "%c%zu", sign, before + (n > 0));
    if (n != 1) {
        fprintf(out, ",%zu", n);
    }
    fputc(' ', out);
}

static void print_hunk(const struct diff *d, size_t from, size_t to, FILE *out)
{
    size_t n_old = 0;
    size_t n_new = 0;
    const struct change *first = &d->changes[from];

    for (size_t i = from; i < to; i++) {
        n_old += d->changes[i].sign != '+';
        n_new += d->changes[i].sign != '-';
    }
    fputs("@@ ", out);
    print_range(out, '-', first->old, n_old);
    print_range(out, '+', first->new, n_new);
    fputs("@@\n", out);
    for (size_t i = from; i < to; i++) {
        char sign = d->changes[i].sign;
        const char *colour = sign == ' ' ? "" : sign == '+' ? CLI_GREEN : CLI_RED;

        fprintf(out, "%s%c%s%s\n", cli_colour(out, colour), sign, d->changes[i].line,
                colour[0] != '\0' ? cli_colour(out, CLI_RESET) : "");
    }
}

bool cli_print_difference(const char *old, const char *new, FILE *out)
{
    struct diff *d = xmalloc(sizeof(*d));
    bool differs = false;

    split(&d->old, old);
    split(&d->new, new);
    find_ends(d);
    find_common(d);
    list_changes(d);
    for (size_t i = 0; i < d->n; i++) {
        if (d->changes[i].sign != ' ') {
            size_t end = end_of_hunk(d, i);

            if (!differs && out != NULL) {
                fputs("--- before\n+++ after\n", out);
            }
            differs = true;
            if (out != NULL) {
                print_hunk(d, i > CONTEXT ? i - CONTEXT : 0, end, out);
            }
            i = end - 1;
        }
    }
    free_lines(&d->old);
    free_lines(&d->new);
    free(d->common);
    free(d->changes);
    free(d);
    return differs;
}
