/*
 * A file to begin with: --generate-sample-config with what this machine is called,
 * --generate-config with what a PostgreSQL that runs told.
 */
#ifndef VECHE_CONF_CONF_SAMPLE_H
#define VECHE_CONF_CONF_SAMPLE_H

#include "base/kv.h"

struct conf_sample {
    const char *name, *scope;
    const char *host;          /* Where others reach this machine. */
    const char *raft_password; /* Drawn now. */
    const char *source;        /* Where the rest is from, for the first line. */

    /* PostgreSQL. */
    const char *listen_addresses;
    unsigned port;
    const char *data_dir, *bin_dir;
    const char *config_dir; /* NULL = data_dir. */
    const char *superuser, *superuser_password;
    struct kv_list parameters; /* Those that are the same on every node go to bootstrap.dcs. */
    struct kv_list recovery_conf;
    struct kv_list hba, ident; /* Lines as keys. */
};

void conf_print_sample(const struct conf_sample *s, FILE *out);

#endif
