/*
 * The file of conf_sample.h, with comments where somebody has to fill in something.
 */
#include "conf/conf_sample.h"

#include "conf/conf_controlled.h"
#include "conf/conf_print.h"

static void print_key(const char *key, const char *value, int depth, const char *comment, FILE *out)
{
    (void)fprintf(out, "%*s%s: ", depth * 2, "", key);
    conf_print_text(value, out);
    (void)fprintf(out, "%s%s\n", comment[0] != '\0' ? "  # " : "", comment);
}

/* Those of every node, or those of this one. */
static void print_parameters(const struct kv_list *list, bool of_all, int depth, FILE *out)
{
    bool any = false;

    for (size_t i = 0; i < list->n; i++) {
        if (conf_is_controlled(list->items[i].key) != of_all) {
            continue;
        }
        if (!any) {
            (void)fprintf(out, "%*sparameters:\n", depth * 2, "");
            any = true;
        }
        print_key(list->items[i].key, list->items[i].value, depth + 1, "", out);
    }
}

static void print_lines(const char *key, const struct kv_list *list, FILE *out)
{
    if (list->n == 0) {
        return;
    }
    (void)fprintf(out, "  %s:\n", key);
    for (size_t i = 0; i < list->n; i++) {
        (void)fputs("    - ", out);
        conf_print_text(list->items[i].key, out);
        (void)fputc('\n', out);
    }
}

static void print_address(const char *key, const struct conf_sample *s, unsigned port, int depth,
                          const char *comment, FILE *out)
{
    char text[300];

    (void)snprintf(text, sizeof(text), strchr(s->host, ':') != NULL ? "[%s]:%u" : "%s:%u", s->host,
                   port);
    print_key(key, text, depth, comment, out);
}

static void print_cluster(const struct conf_sample *s, FILE *out)
{
    (void)fprintf(out, "# %s. All keys: veche.yml(5).\n", s->source);
    (void)fputs("# Check it with: veched --validate-config FILE\n\n", out);
    print_key("scope", s->scope, 0, "The cluster's name, the same on every node.", out);
    print_key("name", s->name, 0, "This node's, unique in the cluster.", out);
    (void)fputs("\nraft:\n", out);
    print_address("self_addr", s, 7400, 1, "Where the others reach this node.", out);
    (void)fputs(
        "  partner_addrs: []  # self_addr of the others; at least three nodes in all, one of "
        "them\n                     # may be a witness: mode: witness, and no "
        "postgresql:.\n",
        out);
    print_key("password", s->raft_password, 1, "The same on every node: copy it.", out);
    (void)fputs("\nrestapi:\n  listen: 0.0.0.0:8008\n", out);
    print_address("connect_address", s, 8008, 1, "", out);
    (void)fputs("\nbootstrap:\n  dcs:  # Read once; then: vechectl edit-config.\n    ttl: 3\n"
                "    postgresql:\n      use_pg_rewind: true\n      use_slots: true\n",
                out);
    print_parameters(&s->parameters, true, 3, out);
    (void)fputs("  initdb:\n    - encoding: UTF8\n    - data-checksums\n", out);
}

static void print_postgresql(const struct conf_sample *s, FILE *out)
{
    char listen[1100];

    (void)snprintf(listen, sizeof(listen), "%s:%u", s->listen_addresses, s->port);
    (void)fputs("\npostgresql:\n", out);
    print_key("listen", listen, 1, "", out);
    print_address("connect_address", s, s->port, 1, "", out);
    print_key("data_dir", s->data_dir, 1, "", out);
    if (s->config_dir != NULL) {
        print_key("config_dir", s->config_dir, 1, "", out);
    }
    print_key("bin_dir", s->bin_dir, 1, "", out);
    (void)fputs("  authentication:\n    superuser:\n", out);
    print_key("username", s->superuser, 3, "", out);
    print_key("password", s->superuser_password, 3, "", out);
    (void)fputs("    replication:\n      username: replicator\n      password: change-me\n", out);
    print_parameters(&s->parameters, false, 1, out);
    if (s->recovery_conf.n > 0) {
        (void)fputs("  recovery_conf:\n", out);
    }
    for (size_t i = 0; i < s->recovery_conf.n; i++) {
        print_key(s->recovery_conf.items[i].key, s->recovery_conf.items[i].value, 2, "", out);
    }
    print_lines("pg_hba", &s->hba, out);
    print_lines("pg_ident", &s->ident, out);
}

void conf_print_sample(const struct conf_sample *s, FILE *out)
{
    print_cluster(s, out);
    print_postgresql(s, out);
    (void)fputs("\ntags:\n  nofailover: false\n  noloadbalance: false\n  clonefrom: false\n"
                "  nosync: false\n",
                out);
}
