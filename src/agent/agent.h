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

/* Opens what the configuration names, as the start does: certificates. 0, or -1 and what
 * is wrong. */
MUST_USE int agent_check_files(const struct conf *conf, struct err *err);

#endif
