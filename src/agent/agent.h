/*
 * The agent: owns every module, passes them to each other as hooks, and runs
 * the loop. The only place, with main, that knows everybody.
 */
#ifndef VECHE_AGENT_AGENT_H
#define VECHE_AGENT_AGENT_H

#include "base/err.h"
#include "conf/conf.h"

/* Runs until SIGTERM or SIGINT was served. Returns a code of veche/exitcode.h,
 * the reason of a failure is logged. The configuration stays the caller's. */
int agent_run(struct conf *conf);

/* What no schema can say, each thing that is wrong is told. Opens what the configuration names,
 * as the start does: certificates. */
void agent_check_files(const struct conf *conf, const struct conf_told *told);
/* Whether every port of it could be listened on now. */
void agent_check_ports(const struct conf *conf, const struct conf_told *told);
/* PostgreSQL's programs against the data directory; that they are missing is a warning. */
void agent_check_postgres(const struct conf *conf, const struct conf_told *told);

/* A file to begin with: of this machine; of the PostgreSQL that dsn (NULL: libpq's defaults)
 * leads to. 0, or -1 and why; nothing is written then. */
MUST_USE int agent_print_sample(FILE *out, struct err *err);
MUST_USE int agent_generate_config(const char *dsn, FILE *out, struct err *err);

#endif
