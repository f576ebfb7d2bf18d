/*
 * check: findings of its sections, counted and told in one way. Private to the files of check.
 */
#ifndef VECHE_CLI_CLI_CHECK_H
#define VECHE_CLI_CLI_CHECK_H

#include "cli/cli.h"

enum check_level { /* Exit codes of monitoring plugins. */
                   CHECK_OK = 0,
                   CHECK_WARNING = 1,
                   CHECK_CRITICAL = 2,
                   CHECK_UNKNOWN = 3,
};

struct check {
    const struct cli *cli;
    const json_t *cluster;
    const json_t *config; /* Dynamic configuration; NULL = not known. */
    json_t *statuses;     /* What each member's agent answered, by name; null = nothing. */
    const char *section;  /* Whose findings come. */
    enum check_level worst;
    size_t n[4];        /* Findings by level. */
    char first[512];    /* The first of the worst. */
    struct strbuf text; /* All that is shown. */
};

void check_say(struct check *k, enum check_level level, const char *format, ...) PRINTF_LIKE(3, 4);

/* The text of a parameter of PostgreSQL, from the file or the store; "" = neither. */
const char *check_parameter(const struct check *k, const char *name, char *text, size_t size);

/* Sections. */
void check_store(struct check *k); /* cli_check.c */
void check_cluster(struct check *k);
void check_agent(struct check *k);
void check_postgres(struct check *k); /* cli_check_postgres.c */
void check_hba(struct check *k);      /* cli_check_hba.c, of postgres */
void check_proxy(struct check *k);    /* cli_check_files.c */
void check_services(struct check *k);

#endif
