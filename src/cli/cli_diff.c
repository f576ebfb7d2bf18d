/*
 * A unified difference of two texts, by their longest common subsequence of
 * lines. Configurations are short: the table of all pairs is no matter.
 */
#include "cli/cli.h"

#define LINES_MAX 2000 /* More than a configuration has. */
#define CONTEXT   3

struct lines {
    char *text;
    size_t n;
    const char *at[LINES_MAX + 1];
};

static void split(struct lines *l, const char *text)
{
    char *save = NULL;

    l->text = xstrdup(text);
    l->n = 0;
    for (char *line = strtok_r(l->text, "\n", &save); line != NULL && l->n < LINES_MAX;
         line = strtok_r(NULL, "\n", &save)) {
        l->at[l->n++] = line;
    }
}

struct change { /* A line of the difference. */
    char sign;  /* ' ', '-', '+' */
    const char *line;
    size_t old, new; /* Lines before it, on either side. */
};

struct diff {
    struct lines old, new;
    uint16_t *common; /* [i][k]: length of the rest that old[i..] and new[k..] share. */
    struct change changes[2 * LINES_MAX];
    size_t n;
};

static uint16_t *cell(const struct diff *d, size_t i, size_t k)
{
    return &d->common[i * (d->new.n + 1) + k];
}

static void find_common(struct diff *d)
{
    d->common = xmalloc((d->old.n + 1) * (d->new.n + 1) * sizeof(uint16_t));
    for (size_t i = d->old.n; i-- > 0;) {
        for (size_t k = d->new.n; k-- > 0;) {
            *cell(d, i, k) = str_equal(d->old.at[i], d->new.at[k])
                                 ? (uint16_t)(*cell(d, i + 1, k + 1) + 1)
                                 : MAX(*cell(d, i + 1, k), *cell(d, i, k + 1));
        }
    }
}

static void add_change(struct diff *d, char sign, const char *line, size_t old, size_t new)
{
    d->changes[d->n++] = (struct change){sign, line, old, new};
}

static void list_changes(struct diff *d)
{
    size_t i = 0;
    size_t k = 0;

    while (i < d->old.n || k < d->new.n) {
        if (i < d->old.n && k < d->new.n &&str_equal(d->old.at[i], d->new.at[k])) {
            add_change(d, ' ', d->old.at[i], i, k);
            i++;
            k++;
        } else if (i < d->old.n && (k == d->new.n || *cell(d, i + 1, k) >= *cell(d, i, k + 1))) {
            add_change(d, '-', d->old.at[i], i, k);
            i++;
        } else {
            add_change(d, '+', d->new.at[k], i, k);
            k++;
        }
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

static void print_hunk(const struct diff *d, size_t from, size_t to, FILE *out)
{
    size_t n_old = 0;
    size_t n_new = 0;
    const struct change *first = &d->changes[from];

    for (size_t i = from; i < to; i++) {
        n_old += d->changes[i].sign != '+';
        n_new += d->changes[i].sign != '-';
    }
    fprintf(out, "@@ -%zu,%zu +%zu,%zu @@\n", first->old + (n_old > 0), n_old,
            first->new + (n_new > 0), n_new);
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
    free(d->old.text);
    free(d->new.text);
    free(d->common);
    free(d);
    return differs;
}
