/*
 * What a PostgreSQL that runs says about itself, for --generate-config. Blocking:
 * for a command, not for the agent's loop.
 */
#ifndef VECHE_PG_PG_DESCRIBE_H
#define VECHE_PG_PG_DESCRIBE_H

#include "base/err.h"
#include "base/kv.h"

struct pg_description {
    char *user, *password; /* Of the connection; password NULL = none was needed. */
    char *data_dir, *config_file, *bin_dir, *listen_addresses, *cluster_name;
    unsigned port;
    struct kv_list parameters;    /* That differ from their defaults, and are not the agent's. */
    struct kv_list recovery_conf; /* Of a standby: how it fetches WAL. */
    struct kv_list hba, ident;    /* Lines as keys, without comments. */
};

/* dsn: a connection string of libpq; NULL or "" = its defaults and PG* variables. 0, or -1 and
 * why; *ret is the caller's to deinit either way. */
MUST_USE int pg_describe(const char *dsn, struct pg_description *ret, struct err *err);
void pg_description_deinit(struct pg_description *d);

/* False: what is there is neither empty nor a database, or can not be read. err says which. */
bool pg_may_be_used(const char *data_dir, struct err *err);

enum pg_programs {
    PG_PROGRAMS_FIT,     /* Also when there is no data directory yet. */
    PG_PROGRAMS_MISSING, /* err says which, and where they were looked for. */
    PG_PROGRAMS_OTHER_VERSION,
};

/* Whether the programs are there, and can run the data directory. Starts one of them. */
enum pg_programs pg_judge_programs(const char *bin_dir, const struct kv_list *bin_names,
                                   const char *data_dir, struct err *err);

#endif
