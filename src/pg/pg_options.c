/*
 * A deep copy of struct pg_options, counted. The caller's strings may go as soon as
 * it likes; a job on the thread keeps the copy it started with.
 */
#include "pg/pg_internal.h"

static char *copy_text(const char *text)
{
    return text != NULL ? xstrdup(text) : NULL;
}

static const struct kv_list *copy_list(const struct kv_list *list)
{
    struct kv_list *copy;

    if (list == NULL) {
        return NULL;
    }
    copy = xmalloc(sizeof(*copy));
    kv_copy(copy, list);
    return copy;
}

static void free_text(const char *text)
{
    free((void *)(uintptr_t)text);
}

static void free_list(const struct kv_list *list)
{
    struct kv_list *own = (struct kv_list *)(uintptr_t)list;

    if (own != NULL) {
        kv_deinit(own);
        free(own);
    }
}

static void copy_credentials(struct pg_credentials *c)
{
    c->user = copy_text(c->user);
    c->password = copy_text(c->password);
    c->ssl = copy_list(c->ssl);
}

static void free_credentials(struct pg_credentials *c)
{
    free_text(c->user);
    free_text(c->password);
    free_list(c->ssl);
}

struct pg_opts *pg_opts_copy(const struct pg_options *options)
{
    struct pg_opts *opts = xmalloc(sizeof(*opts));
    struct pg_options *o = &opts->o;

    *o = *options;
    o->name = copy_text(o->name);
    o->scope = copy_text(o->scope);
    o->data_dir = copy_text(o->data_dir);
    o->config_dir = copy_text(o->config_dir != NULL ? o->config_dir : options->data_dir);
    o->bin_dir = copy_text(o->bin_dir != NULL ? o->bin_dir : "");
    o->bin_names = copy_list(o->bin_names);
    o->listen_addresses = copy_text(o->listen_addresses != NULL ? o->listen_addresses : "");
    o->connect_host = copy_text(o->connect_host);
    o->database = copy_text(o->database != NULL ? o->database : "postgres");
    o->pgpass = copy_text(o->pgpass);
    copy_credentials(&o->superuser);
    copy_credentials(&o->replication);
    copy_credentials(&o->rewind);
    o->parameters = copy_list(o->parameters);
    o->hba = copy_list(o->hba);
    o->ident = copy_list(o->ident);
    o->primary_parameters = copy_list(o->primary_parameters);
    o->primary_hba = copy_list(o->primary_hba);
    o->primary_ident = copy_list(o->primary_ident);
    o->recovery_conf = copy_list(o->recovery_conf);
    o->slots = copy_list(o->slots);
    o->ignore_slots = copy_list(o->ignore_slots);
    o->bootstrap_recovery = copy_list(o->bootstrap_recovery);
    o->replica_methods = copy_list(o->replica_methods);
    o->replica_settings = copy_list(o->replica_settings);
    o->custom_conf = copy_text(o->custom_conf);
    o->config_base_name =
        copy_text(o->config_base_name != NULL ? o->config_base_name : "postgresql");
    o->callbacks = copy_list(o->callbacks);
    o->pre_promote = copy_text(o->pre_promote);
    o->before_stop = copy_text(o->before_stop);
    opts->n_refs = 1;
    return opts;
}

struct pg_opts *pg_opts_hold(struct pg_opts *opts)
{
    opts->n_refs++;
    return opts;
}

void pg_opts_release(struct pg_opts *opts)
{
    struct pg_options *o;

    if (opts == NULL || --opts->n_refs > 0) {
        return;
    }
    o = &opts->o;
    free_text(o->name);
    free_text(o->scope);
    free_text(o->data_dir);
    free_text(o->config_dir);
    free_text(o->bin_dir);
    free_list(o->bin_names);
    free_text(o->listen_addresses);
    free_text(o->connect_host);
    free_text(o->database);
    free_text(o->pgpass);
    free_credentials(&o->superuser);
    free_credentials(&o->replication);
    free_credentials(&o->rewind);
    free_list(o->parameters);
    free_list(o->hba);
    free_list(o->ident);
    free_list(o->primary_parameters);
    free_list(o->primary_hba);
    free_list(o->primary_ident);
    free_list(o->recovery_conf);
    free_list(o->slots);
    free_list(o->ignore_slots);
    free_list(o->bootstrap_recovery);
    free_list(o->replica_methods);
    free_list(o->replica_settings);
    free_text(o->custom_conf);
    free_text(o->config_base_name);
    free_list(o->callbacks);
    free_text(o->pre_promote);
    free_text(o->before_stop);
    free(opts);
}

const char *pg_program(const struct pg_options *o, const char *program)
{
    const char *name = o->bin_names != NULL ? kv_get(o->bin_names, program) : NULL;

    return name != NULL && name[0] != '\0' ? name : program;
}

void pg_options_of_role(const struct pg_options *o, bool as_standby, struct pg_options *ret_options)
{
    *ret_options = *o;
    if (as_standby) {
        return;
    }
    if (o->primary_parameters != NULL) {
        ret_options->parameters = o->primary_parameters;
    }
    if (o->primary_hba != NULL) {
        ret_options->hba = o->primary_hba;
    }
    if (o->primary_ident != NULL) {
        ret_options->ident = o->primary_ident;
    }
}
