/*
 * The node's file: what is refused and with which words, what is warned about,
 * and what the rest means.
 */
#include "test_conf_common.h"

#define X60          "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define LONG_NAME    X60 X60 X60 X60
#define BASE_NAME_63 X60 "abc"

static void bad_files_are_refused_with_place_key_value_and_expectation(void **state)
{
    static const struct {
        const char *yaml;
        const char *error;
    } cases[] = {
        /* Not YAML, or YAML we do not take. */
        {"a: [1\n", "t.yml:2:1: not valid YAML: did not find expected ',' or ']'"},
        {"a: 'x\n", "t.yml:2:1: not valid YAML: found unexpected end of stream"},
        {"\ta: 1\n", "t.yml:1:1: not valid YAML: found character that cannot start any token"},
        {"a: \xff\n", "t.yml:1:1: not valid YAML: invalid leading UTF-8 octet"},
        {"a: \"x\\0y\"\n", "t.yml:1:4: a text contains a zero byte"},
        {"- a\n", "t.yml:1:1: not a configuration, got a list, expected sections"},
        {"word\n", "t.yml:1:1: not a configuration, got \"word\", expected sections"},
        {"name: a\nscope: b\nname: c\n", "t.yml:3:1: name: given twice, first at t.yml:1:1"},
        {"raft: {a: 1, b: 2, a: 3}\n", "t.yml:1:20: raft.a: given twice, first at t.yml:1:8"},
        {"a: !!int 1\n", "t.yml:1:4: YAML tags are not supported, expected the value alone"},
        {"a: !!set {b}\n", "t.yml:1:4: YAML tags are not supported, expected the value alone"},
        {"a: !!map []\n", "t.yml:1:4: YAML tags are not supported, expected the value alone"},
        {"a: 1\n---\nb: 2\n", "t.yml:2:1: a second YAML document, expected one"},
        {"? [a]\n: 1\n", "t.yml:1:3: a key is a list or a section, expected a name"},
        {"'': 1\n", "t.yml:1:1: empty key, expected a name"},
        {"a: [[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]\n",
         "t.yml:1:19: nested too deep, expected at most 16 levels"},

        /* Missing. */
        {"", "t.yml:1:1: name: missing, expected a name"},
        {"# only comments\n", "t.yml:1:1: name: missing, expected a name"},
        {"name: a\n", "t.yml:1:1: scope: missing, expected a name"},
        {"name:\nscope: s\n", "t.yml:1:1: name: missing, expected a name"},
        {"name: a\nscope: s\n", "t.yml:1:1: raft.self_addr: missing, expected host:port"},
        {"name: a\nscope: s\nraft:\n", "t.yml:3:1: raft.self_addr: missing, expected host:port"},
        {"name: a\nscope: s\nraft:\n  self_addr: 127.0.0.1\n",
         "t.yml:1:1: postgresql.listen: missing, expected host:port"},
        {"name: a\nscope: s\nraft:\n  self_addr: 127.0.0.1\npostgresql:\n  listen: h:1\n",
         "t.yml:5:1: postgresql.data_dir: missing, expected a directory"},
        {"name: a\nscope: s\nraft:\n  self_addr: 127.0.0.1\npostgresql:\n  listen: h:1\n"
         "  data_dir: /d\n  authentication:\n    superuser:\n      username: p\n",
         "t.yml:8:3: postgresql.authentication.replication.username: missing, expected a text"},

        /* Values. */
        {"name: a b\n", "t.yml:1:1: name: not a name, got \"a b\", expected 1 to 63 ASCII "
                        "letters, digits, - _ or ."},
        {"name: ..\n", "t.yml:1:1: name: not a name, got \"..\", expected 1 to 63 ASCII letters, "
                       "digits, - _ or ."},
        {"name: [a]\n", "t.yml:1:1: name: wrong type, got a list, expected a single value"},
        {"name: __patroni_strict_sync_replica_placeholder__\n"
         "scope: s\n"
         "raft: {self_addr: 127.0.0.1}\nmode: witness\n",
         "t.yml:1:1: name: reserved, got \"__patroni_strict_sync_replica_placeholder__\", expected "
         "another name"},
        {GOOD "log: {level: \"\\e[31m\\nX\"}\n",
         "t.yml:11:7: log.level: not a known value, got \"?[31m?X\", expected DEBUG, INFO, "
         "WARNING, WARN, ERROR, FATAL or CRITICAL"},
        {GOOD "  config_base_name: a/b\n",
         "t.yml:11:3: postgresql.config_base_name: not the name of a file, got \"a/b\", expected "
         "1 to 63 bytes without /"},
        {GOOD "  config_base_name: ''\n",
         "t.yml:11:3: postgresql.config_base_name: not the name of a file, got \"\", expected 1 to "
         "63 bytes without /"},
        {GOOD "  config_base_name: " BASE_NAME_63 "x\n",
         "t.yml:11:3: postgresql.config_base_name: not the name of a file, got \"" BASE_NAME_63
         "x\", expected 1 to 63 bytes without /"},
        {GOOD "    rewind: {sslmode: always}\n",
         "t.yml:11:14: postgresql.authentication.rewind.sslmode: not a known value, got "
         "\"always\", expected disable, allow, prefer, require, verify-ca or verify-full"},
        {GOOD "restapi: {authentication: {username: '', password: ''}}\n",
         "t.yml:11:11: restapi.authentication: an empty username, expected username and password"},
        {GOOD "restapi: {authentication: {username: a, password: ''}}\n",
         "t.yml:11:11: restapi.authentication: an empty password, expected username and password"},
        {GOOD "restapi: {authentication: {username: 'a:b', password: c}}\n",
         "t.yml:11:28: restapi.authentication.username: not possible, got a colon in it, expected "
         "a name without: HTTP puts one behind it"},
        {GOOD "tags: {replicatefrom: [n2]}\n",
         "t.yml:11:8: tags.replicatefrom: not a name, got a list, expected the name of a member"},
        {GOOD
         "runtime_dir: /run/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "aaaaaaaaaaaaaaaaaaaa\n",
         "t.yml:11:1: runtime_dir: too long for a socket in it, got 96 characters, expected at "
         "most "
         "95"},
        {"mode: observer\n",
         "t.yml:1:1: mode: not a known value, got \"observer\", expected postgres or witness"},
        {"log: DEBUG\n", "t.yml:1:1: log: wrong type, got \"DEBUG\", expected a section"},
        /* A password in the wrong place is told to nobody. */
        {"raft: hunter2\n", "t.yml:1:1: raft: wrong type, got a text, expected a section"},
        {"restapi:\n  authentication: admin:hunter2\n",
         "t.yml:2:3: restapi.authentication: wrong type, got a text, expected a section"},
        {"postgresql:\n  authentication:\n    superuser: hunter2\n",
         "t.yml:3:5: postgresql.authentication.superuser: wrong type, got a text, expected a "
         "section"},
        {"bootstrap: {users: hunter2}\n",
         "t.yml:1:13: bootstrap.users: wrong type, got a text, expected a section of roles"},
        {"bootstrap: {users: {admin: hunter2}}\n",
         "t.yml:1:21: bootstrap.users.admin: wrong type, got a text, expected a section with "
         "password and options"},
        {"log:\n  level: LOUD\n",
         "t.yml:2:3: log.level: not a known value, got \"LOUD\", expected DEBUG, INFO, WARNING, "
         "WARN, ERROR, FATAL or CRITICAL"},
        {"log: {file_num: many}\n",
         "t.yml:1:7: log.file_num: not a number, got \"many\", expected a whole number"},
        {"log: {mode: 01000}\n",
         "t.yml:1:7: log.mode: out of range, got \"01000\", expected 0 to 511"},
        {"raft:\n  self_addr: a:b\n",
         "t.yml:2:3: raft.self_addr: not an address, got \"a:b\", expected host:port "
         "([::1]:port for IPv6)"},
        {"raft:\n  partner_addrs: [a, 'b:x']\n",
         "t.yml:2:22: raft.partner_addrs: not an address, got \"b:x\", expected host:port "
         "([::1]:port for IPv6)"},
        {"raft:\n  partner_addrs: a, b:x\n",
         "t.yml:2:3: raft.partner_addrs: not an address, got \"b:x\", expected host:port "
         "([::1]:port for IPv6)"},
        {"raft:\n  partner_addrs: a, a:7400\n",
         "t.yml:2:3: raft.partner_addrs: given twice, got \"a:7400\""},
        {"raft:\n  partner_addrs: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q\n",
         "t.yml:2:3: raft.partner_addrs: too many, expected at most 16 addresses"},
        {"raft:\n  partner_addrs: {a: 1}\n",
         "t.yml:2:3: raft.partner_addrs: wrong type, got a section, expected a list of host:port"},
        {"raft:\n  partner_addrs: [[a]]\n",
         "t.yml:2:19: raft.partner_addrs: wrong type, got a list, expected host:port"},
        {WITNESS "restapi:\n  listen: 8008\n",
         "t.yml:7:3: restapi.listen: not an address, got \"8008\", expected host:port "
         "([::1]:port for IPv6)"},
        {WITNESS "restapi:\n  authentication:\n    username: u\n",
         "t.yml:7:3: restapi.authentication: only a username, expected username and password"},
        {WITNESS "restapi: {connect_address: '0.0.0.0:8008'}\n",
         "t.yml:6:11: restapi.connect_address: not reachable for others, got \"0.0.0.0:8008\", "
         "expected an address of this machine"},
        {GOOD "  connect_address: '*:5432'\n",
         "t.yml:11:3: postgresql.connect_address: not reachable for others, got \"*:5432\", "
         "expected an address of this machine"},
        {"name: w\nscope: s\nmode: witness\nraft: {self_addr: 10.0.0.1, password: x}\n"
         "restapi: {connect_address: localhost}\n",
         "t.yml:5:11: restapi.connect_address: not reachable for others, got \"localhost:8008\", "
         "expected an address of this machine"},
        {WITNESS "watchdog: {mode: sometimes}\n",
         "t.yml:6:12: watchdog.mode: not a known value, got \"sometimes\", expected off, "
         "automatic, required, auto, require, disable, disabled, on, true, false, yes or no"},
        {WITNESS "watchdog: {safety_margin: -2}\n",
         "t.yml:6:12: watchdog.safety_margin: out of range, got \"-2\", expected -1 to 3600"},
        {"postgresql: {listen: 'a,,b:1'}\n",
         "t.yml:1:14: postgresql.listen: not an address, got \"a,,b:1\", expected host,host:port"},
        {"postgresql: {connect_address: 'a:99999'}\n",
         "t.yml:1:14: postgresql.connect_address: not an address, got \"a:99999\", expected "
         "host:port ([::1]:port for IPv6)"},
        {"postgresql: {use_unix_socket: maybe}\n",
         "t.yml:1:14: postgresql.use_unix_socket: not a boolean, got \"maybe\", expected on or "
         "off"},
        {"postgresql: {parameters: [a]}\n",
         "t.yml:1:14: postgresql.parameters: wrong type, got a list, expected a section of name: "
         "value"},
        {"postgresql: {parameters: {a: {b: 1}}}\n",
         "t.yml:1:27: postgresql.parameters.a: wrong type, got a section, expected a single "
         "value"},
        {"postgresql: {parameters: {a: [[b]]}}\n",
         "t.yml:1:31: postgresql.parameters: wrong type, got a list, expected a single value"},
        {"postgresql: {pg_hba: host all}\n",
         "t.yml:1:14: postgresql.pg_hba: wrong type, got \"host all\", expected a list of lines"},
        {"postgresql: {pg_hba: [{a: b}]}\n",
         "t.yml:1:23: postgresql.pg_hba: wrong type, got a section, expected a line (in quotes if "
         "it contains \": \")"},
        {"postgresql: {basebackup: fast}\n",
         "t.yml:1:14: postgresql.basebackup: wrong type, got \"fast\", expected a list of "
         "options"},
        {"bootstrap: {initdb: [[a]]}\n",
         "t.yml:1:22: bootstrap.initdb: wrong type, got a list, expected option: value"},
        {"bootstrap: {users: [a]}\n",
         "t.yml:1:13: bootstrap.users: wrong type, got a list, expected a section of roles"},
        {"bootstrap: {dcs: 3}\n",
         "t.yml:1:13: bootstrap.dcs: wrong type, got \"3\", expected a section"},
        {WITNESS "bootstrap:\n  dcs:\n    ttl: 0.5\n",
         "t.yml:8:5: bootstrap.dcs.ttl: out of range, got \"0.5\", expected 1 to 3600 seconds"},
        {WITNESS "bootstrap:\n  dcs:\n    postgresql:\n      use_slots: 3\n",
         "t.yml:9:7: bootstrap.dcs.postgresql.use_slots: not a boolean, got \"3\", expected on or "
         "off"},
        {"tags: [a]\n", "t.yml:1:1: tags: wrong type, got a list, expected a section"},
        {WITNESS "tags: {nofailover: perhaps}\n",
         "t.yml:6:8: tags.nofailover: not a boolean, got \"perhaps\", expected on or off"},
        {WITNESS "tags: {failover_priority: high}\n",
         "t.yml:6:8: tags.failover_priority: not a number, got \"high\", expected a whole number"},

        /* The secret and the addresses together. */
        {"name: a\nscope: s\nmode: witness\nraft:\n  self_addr: 0.0.0.0:7400\n",
         "t.yml:5:3: raft.self_addr: not reachable for others, got \"0.0.0.0:7400\", expected one "
         "address"},
        {"name: a\nscope: s\nmode: witness\nraft:\n  self_addr: 10.0.0.1:7400\n",
         "t.yml:4:1: raft.password: missing, expected a secret (or raft.password_file, or "
         "raft.tls) because "
         "10.0.0.1:7400 is not a loopback address"},
        {WITNESS "  partner_addrs: [127.0.0.2, pg2]\n",
         "t.yml:4:1: raft.password: missing, expected a secret (or raft.password_file, or "
         "raft.tls) because "
         "pg2:7400 is not a loopback address"},
        {WITNESS "  password: ''\n", "t.yml:6:3: raft.password: empty, expected a secret"},
        {WITNESS "  password: a\n  password_file: b\n",
         "t.yml:7:3: raft.password_file: raft.password is given too, expected one of them"},
        {WITNESS "  password_file: /nonexistent/secret\n",
         "t.yml:6:3: raft.password_file: /nonexistent/secret can not be opened: No such file or "
         "directory"},
        {WITNESS "  password_file: /dev/null\n",
         "t.yml:6:3: raft.password_file: no secret in the first line of /dev/null, expected one"},
        {WITNESS "  tls: {cert: /c, key: /k}\n",
         "t.yml:6:3: raft.tls.ca: missing, expected cert, key and ca together"},
        {WITNESS "  tls: {ca: /a}\n",
         "t.yml:6:3: raft.tls.cert: missing, expected cert, key and ca together"},
    };
    int n_wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct load l;

        load_text(&l, cases[i].yaml);
        n_wrong += differs(cases[i].yaml, l.conf != NULL ? "loaded" : l.err.text, cases[i].error);
        load_end(&l);
    }
    assert_int_equal(n_wrong, 0);
}

/* Of every kind one: nobody wants to run it as often as there are mistakes. */
static void every_error_of_a_file_is_told_the_first_is_the_reason(void **state)
{
    static const char text[] = "name: a b\n"
                               "raft:\n"
                               "  self_addr: 10.0.0.1\n"
                               "  bind_addr: a:b\n"
                               "  partner_addrs: [a, 'b:x', [c], 'd:y', a]\n"
                               "  tls: {cert: c}\n"
                               "restapi:\n"
                               "  listen: 8008\n"
                               "  connect_address: 0.0.0.0:1\n"
                               "  authentication: {username: u}\n"
                               "postgresql:\n"
                               "  use_unix_socket: perhaps\n"
                               "  listen: h:1\n"
                               "  parameters: {a: {b: 1}, c: 1, d: {e: 1}}\n"
                               "  pg_hba: [{a: b}, fine, [c]]\n"
                               "  authentication: none\n"
                               "tags: {nofailover: perhaps, failover_priority: much, "
                               "clonefrom: often}\n"
                               "bootstrap:\n"
                               "  dcs: {ttl: 0.5, loop_wait: long}\n"
                               "  users: {x: 1, y: 2}\n"
                               "  initdb: [[a], {b: {c: d}}]\n";
    static const char *const told[] = {
        "1:1: name: not a name",
        "4:3: raft.bind_addr: not an address",
        "5:22: raft.partner_addrs: not an address, got \"b:x\"",
        "5:29: raft.partner_addrs: wrong type",
        "5:34: raft.partner_addrs: not an address, got \"d:y\"",
        "5:41: raft.partner_addrs: given twice",
        "8:3: restapi.listen: not an address",
        "12:3: postgresql.use_unix_socket: not a boolean",
        "14:16: postgresql.parameters.a: wrong type",
        "14:33: postgresql.parameters.d: wrong type",
        "15:12: postgresql.pg_hba: wrong type",
        "15:26: postgresql.pg_hba: wrong type",
        "16:3: postgresql.authentication: wrong type",
        "20:11: bootstrap.users.x: wrong type",
        "20:17: bootstrap.users.y: wrong type",
        "21:12: bootstrap.initdb: wrong type",
        "21:18: bootstrap.initdb.b: wrong type",
        "1:1: scope: missing",
        "11:1: postgresql.data_dir: missing",
        "6:3: raft.tls.key: missing",
        "10:3: restapi.authentication: only a username",
        "9:3: restapi.connect_address: not reachable",
        "17:8: tags.nofailover: not a boolean",
        "17:29: tags.failover_priority: not a number",
        "17:54: tags.clonefrom: not a boolean",
        "19:9: bootstrap.dcs.ttl: out of range",
        "19:19: bootstrap.dcs.loop_wait: not a duration",
    };
    struct load l;
    char *rest, *line;
    size_t n = 0;

    (void)state;
    load_text(&l, text);
    assert_null(l.conf);
    assert_true(str_starts_with(load_errors(&l), l.err.text));
    rest = l.errors.data;
    while ((line = strsep(&rest, "\n")) != NULL && line[0] != '\0') {
        assert_true(n < ARRAY_LENGTH(told));
        if (!str_starts_with(line, "t.yml:") || !str_starts_with(line + 6, told[n])) {
            fail_msg("%zu: \"%s\" is not \"%s\"", n, line, told[n]);
        }
        n++;
    }
    assert_int_equal(n, ARRAY_LENGTH(told));
    load_end(&l);
}

/* Whatever it goes on with after it. */
static void one_error_anywhere_is_enough(void **state)
{
    static const char *const texts[] = {
        GOOD "  parameters: {a: {b: 1}, c: 1}\n",
        GOOD "  parameters: {a: [[b]], c: 1}\n",
        GOOD "  pg_hba: [[a], b]\n",
        GOOD "  basebackup: [[a], b]\n",
        GOOD "  basebackup: {a: [b], c: d}\n",
        GOOD "  use_unix_socket: perhaps\n",
        GOOD "  recovery_conf: none\npostgresql_: 1\n",
        WITNESS "  partner_addrs: ['a:b', localhost]\n",
        WITNESS "  partner_addrs: a:b,localhost\n",
        WITNESS "  partner_addrs: [[a], localhost]\n",
        WITNESS "  tls: {cert: c, key: k}\n",
        WITNESS "  password: ''\n",
        WITNESS "log: {static_fields: {a: [[b]]}}\n",
        WITNESS "restapi: {connect_address: 0.0.0.0}\n",
        WITNESS "bootstrap: {users: {a: b, c: {password: d}}}\n",
        WITNESS "bootstrap: {initdb: [[a], b]}\n",
        WITNESS "bootstrap: {dcs: {ttl: 0, loop_wait: 1}}\n",
        WITNESS "bootstrap: {dcs: {standby_cluster: {host: a}}}\n",
        WITNESS "tags: {nofailover: a, failover_priority: 1}\n",
        WITNESS "tags: {nosync: false, sync_priority: a}\n",
        WITNESS "tags: {noloadbalance: a, nostream: false}\n",
    };
    struct load l;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        load_text(&l, texts[i]);
        if (l.conf != NULL || l.errors.data == NULL || l.err.text[0] == '\0' ||
            strchr(l.errors.data, '\n') != strrchr(l.errors.data, '\n')) {
            fail_msg("%s: \"%s\", not one error", texts[i], load_errors(&l));
        }
        load_end(&l);
    }
}

static void what_is_odd_but_harmless_is_warned_about(void **state)
{
    static const struct {
        const char *yaml;
        const char *warnings;
    } cases[] = {
        {GOOD, ""},
        {WITNESS, ""},
        {GOOD "log: {dir: ''}\nrestapi: {certfile: '', cafile: ''}\n", ""},
        {GOOD "restapi: {verify_client: required, cafile: /c, keyfile: /k}\n",
         "t.yml:11:48: restapi.keyfile: has no effect without restapi.certfile: no TLS, and nobody "
         "is asked for a certificate\n"
         "t.yml:11:36: restapi.cafile: has no effect without restapi.certfile: no TLS, and nobody "
         "is asked for a certificate\n"
         "t.yml:11:11: restapi.verify_client: has no effect without restapi.certfile: no TLS, and "
         "nobody is asked for a certificate\n"},
        {GOOD "restapi: {verify_client: required, cafile: /c, keyfile: /k, certfile: /d}\n", ""},
        {GOOD "restapi: {verify_client: none}\n", ""},
        {GOOD "  use_unix_socket_repl: off\n", ""},
        {GOOD "  use_unix_socket_repl: on\n",
         "t.yml:11:3: postgresql.use_unix_socket_repl: has no effect: the agent has no local "
         "replication sessions: it asks its own server in ordinary ones\n"},
        {GOOD "bootstrap: {users: {a: {pasword: p, options: [createdb, NoLogin]}}}\n",
         "t.yml:11:25: bootstrap.users.a: unknown key, ignored: pasword; expected password and "
         "options\n"},
        {GOOD "bootstrap: {users: {a: {password: p, options: 'createdb\tLOGIN, bypassrls'}}}\n",
         ""},
        {GOOD "bootstrap: {users: {a: {password: p, options: [createdb, fly high]}}}\n",
         "t.yml:11:38: bootstrap.users.a: not an option of a role, got \"fly\", expected createdb, "
         "createrole, replication, superuser or the like: no new cluster is made with it\n"
         "t.yml:11:38: bootstrap.users.a: not an option of a role, got \"high\", expected "
         "createdb, "
         "createrole, replication, superuser or the like: no new cluster is made with it\n"},
        {GOOD "  config_base_name: my größe\n", ""},
        {GOOD "  config_base_name: " BASE_NAME_63 "\n", ""},
        {GOOD "bootstrap: {dcs: {synchronous_mode: quorum}}\n",
         "t.yml:11:19: bootstrap.dcs.synchronous_mode: quorum commit is not there yet, taken as "
         "on: "
         "one standby by name\n"},
        {GOOD "tags: {replicatefrom: n1}\n",
         "t.yml:11:8: tags.replicatefrom: ignored, it is this node's own name\n"},
        {GOOD "  parameters: {data_directory: /x, Max_Connections: 9, 'a b': c, a.b: d}\n"
              "  parameters_primary: {max_connections: 9, work_mem: 1MB, primary_conninfo: x}\n"
              "  recovery_conf: {restore_command: x, recovery_target_time: y, work_mem: 1MB}\n",
         "t.yml:12:24: postgresql.parameters_primary.max_connections: ignored, it is the same on "
         "every node: belongs into bootstrap.dcs\n"
         "t.yml:12:59: postgresql.parameters_primary.primary_conninfo: ignored, the agent itself "
         "sets it\n"
         "t.yml:11:16: postgresql.parameters.data_directory: ignored, the agent derives it from "
         "other keys\n"
         "t.yml:11:36: postgresql.parameters.Max_Connections: ignored, it is the same on every "
         "node: belongs into bootstrap.dcs\n"
         "t.yml:11:56: postgresql.parameters.a b: not the name of a parameter, ignored\n"
         "t.yml:13:39: postgresql.recovery_conf.recovery_target_time: ignored, the agent itself "
         "sets it\n"
         "t.yml:13:64: postgresql.recovery_conf.work_mem: no parameter of recovery, ignored: "
         "belongs into postgresql.parameters\n"},
        {WITNESS "bootstrap:\n  dcs:\n    synchronous_mode: on\n    master_start_timeout: 1\n"
                 "    primary_start_timeout: 2\n    postgresql:\n      pgpass: /p\n"
                 "      parameters: {max_connections: 262144, synchronous_standby_names: a}\n"
                 "      parameters_replica: {wal_level: logical}\n",
         "t.yml:9:5: bootstrap.dcs.master_start_timeout: ignored, because "
         "bootstrap.dcs.primary_start_timeout is given\n"
         "t.yml:12:7: bootstrap.dcs.postgresql.pgpass: ignored here, belongs into the node's own "
         "file\n"
         "t.yml:14:28: bootstrap.dcs.postgresql.parameters_replica.wal_level: ignored, it is the "
         "same on every node: belongs into postgresql.parameters\n"
         "t.yml:13:45: bootstrap.dcs.postgresql.parameters.synchronous_standby_names: ignored, "
         "with synchronous_mode the agent sets it\n"
         "t.yml:13:20: bootstrap.dcs.postgresql.parameters.max_connections: not possible, got "
         "\"262144\", using 100\n"},
        {WITNESS "  tls: {cert: /c, key: /k, ca: /a}\n", ""},
        {WITNESS "  password: a\n  tls: {cert: /c, key: /k, ca: /a}\n",
         "t.yml:7:3: raft.tls: wins over raft.password, which is not used\n"},
        {WITNESS "loop_wait: 10\n", "t.yml:6:1: loop_wait: ignored here, belongs into "
                                    "bootstrap.dcs (later: the store's configuration)\n"},
        {WITNESS "tag: {}\n", "t.yml:6:1: tag: unknown key, ignored; did you mean tags?\n"},
        {WITNESS "data_dir: x\n",
         "t.yml:6:1: data_dir: unknown key, ignored; did you mean raft.data_dir?\n"},
        {WITNESS "frobnicate: x\n", "t.yml:6:1: frobnicate: unknown key, ignored\n"},
        {GOOD "  listn: x\n",
         "t.yml:11:3: postgresql.listn: unknown key, ignored; did you mean postgresql.listen?\n"},
        {WITNESS "etcd: {host: 'a:1'}\nconsul:\nzookeeper: [a]\nexhibitor: x\nkubernetes: {}\n",
         "t.yml:6:1: etcd: not used: raft: takes its place\n"
         "t.yml:7:1: consul: not used: raft: takes its place\n"
         "t.yml:8:1: zookeeper: not used: raft: takes its place\n"
         "t.yml:9:1: exhibitor: not used: raft: takes its place\n"
         "t.yml:10:1: kubernetes: not used: raft: takes its place\n"},
        {WITNESS "citus: {group: 0}\n",
         "t.yml:6:1: citus: has no effect: Citus is not supported\n"},
        {WITNESS "postgresql:\n  nonsense: [\n  ]\n",
         "t.yml:6:1: postgresql: ignored, because mode is witness\n"},
        {WITNESS "watchdog:\n  mode: required\n  device: /dev/w\n  safety_margin: -1\n", ""},
        {WITNESS "watchdog:\n  mode: on\n  driver: testing\n",
         "t.yml:8:3: watchdog.driver: of a test: nothing resets this machine\n"},
        {WITNESS "watchdog:\n  driver: testing\n", ""},
        {WITNESS "watchdog:\n  mode: off\n", ""},
        {WITNESS "watchdog:\n  mode: \"off\"\n", ""},
        {WITNESS "log: {type: json, format: x, dir: /l, level: warn}\n",
         "t.yml:6:19: log.format: has no effect: our lines have one form\n"},
        {GOOD "  callbacks:\n    on_start: /x\n  pre_promote: /y\n  before_stop: /z\n", ""},
        {GOOD "  create_replica_methods: [wal_g, basebackup]\n  wal_g: {command: x}\n", ""},
        {GOOD "  create_replica_methods: wal_g, basebackup\n  wal_g: {command: x}\n", ""},
        {GOOD "  create_replica_method: [basebackup]\n", ""},
        {GOOD "  create_replica_methods: [a]\n  a: {command: x, no_leader: off}\n", ""},
        {GOOD "  create_replica_methods: [a]\n  a: {command: x, no_leader: on}\n",
         "t.yml:12:19: postgresql.a: no_leader has no effect, the method waits for a primary: of "
         "an "
         "old backup alone a standby could take over without what was acknowledged\n"},
        {GOOD "  wal_g: {command: x}\n", "t.yml:11:3: postgresql.wal_g: unknown key, ignored\n"},
        {GOOD "bootstrap:\n  method: mine\n  mine: {command: x}\n", ""},
        {GOOD "  bin_name: {pg_ctl: pg_ctl_17, initdb: initdb17}\n",
         "t.yml:11:14: postgresql.bin_name.pg_ctl: has no effect: pg_ctl is not run: what it does "
         "the agent does itself\n"},
        {GOOD "  superuser: {username: old}\n",
         "t.yml:11:3: postgresql.superuser: ignored, because "
         "postgresql.authentication.superuser is given\n"},
        {GOOD "bootstrap:\n  initdb:\n  - pwfile: x\n  - encoding: UTF8\n",
         "t.yml:13:5: bootstrap.initdb: pwfile is set by the agent itself, ignored\n"},
        {GOOD "  basebackup: [{compress: 5}, {compress: server-lz4}, '--compress=server-zstd:3', "
              "--compress=9, compress, {max-rate: 1M}]\n",
         "t.yml:11:17: postgresql.basebackup: compress is set by the agent itself, ignored\n"
         "t.yml:11:83: postgresql.basebackup: --compress=9 is set by the agent itself, ignored\n"
         "t.yml:11:97: postgresql.basebackup: compress is set by the agent itself, ignored\n"},
        {WITNESS "tags: {nofailover: true, failover_priority: 2}\n",
         "t.yml:6:26: tags: Conflicting configuration between nofailover: True and "
         "failover_priority: 2. Defaulting to nofailover: True\n"},
        {WITNESS "tags: {nofailover: false, failover_priority: 0}\n",
         "t.yml:6:27: tags: Conflicting configuration between nofailover: False and "
         "failover_priority: 0. Defaulting to nofailover: False\n"},
        {WITNESS "tags: {nosync: true, sync_priority: 1}\n",
         "t.yml:6:22: tags: Conflicting configuration between nosync: True and sync_priority: 1. "
         "Defaulting to nosync: True\n"},
        {WITNESS "bootstrap:\n  dcs: {ttl: 20, loop_wait: 10, retry_timeout: 10}\n",
         "t.yml:7:9: bootstrap.dcs.ttl: loop_wait + 2 * retry_timeout must not exceed ttl, got 10 "
         "+ 2 * 10 > 20 s; using loop_wait 1 and retry_timeout 9\n"},
        {WITNESS "bootstrap:\n  dcs: {slots: {a: {typ: x}}, standby_cluster: {primary_slot_name: "
                 "x}, wat: 1}\n",
         "t.yml:7:21: bootstrap.dcs.slots: typ is not known there, ignored\n"
         "t.yml:7:49: bootstrap.dcs.standby_cluster: accepted, but not acted on yet: "
         "primary_slot_name\n"
         "t.yml:7:72: bootstrap.dcs.wat: unknown key, ignored\n"},
        {WITNESS "bootstrap:\n  dcs:\n    postgresql:\n      parameters:\n        port: 1\n",
         "t.yml:10:9: bootstrap.dcs.postgresql.parameters.port: ignored, the agent derives it "
         "from other keys\n"},
        {"scope: s\nname: n\nmode: witness\nraft: {self_addr: '10.0.0.1:1', password: x}\n"
         "restapi: {listen: '127.0.0.1:8008'}\n",
         "t.yml:5:11: restapi.listen: nobody on another machine reaches 127.0.0.1:8008, HAProxy "
         "would see this node down; use 0.0.0.0 or an address of this machine\n"},
        {WITNESS "raft_:\n", "t.yml:6:1: raft_: unknown key, ignored; did you mean raft?\n"},
    };
    int n_wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct load l;

        load_text(&l, cases[i].yaml);
        n_wrong += differs(cases[i].yaml, l.err.text, "");
        n_wrong += differs(cases[i].yaml, load_warnings(&l), cases[i].warnings);
        load_end(&l);
    }
    assert_int_equal(n_wrong, 0);
}

static void parameters_keep_their_scalars_exactly(void **state)
{
    /* What a YAML reader would turn into other things must reach PostgreSQL as
     * it was typed, from the node's file and from bootstrap.dcs alike. */
    static const char *const pairs[][2] = {
        {"on", "on"},
        {"off", "off"},
        {"\"on\"", "on"},
        {"'off'", "off"},
        {"True", "True"},
        {"true", "true"},
        {"yes", "yes"},
        {"16MB", "16MB"},
        {"30s", "30s"},
        {"0.7", "0.7"},
        {"0.70", "0.70"},
        {"1.1", "1.1"},
        {"007", "007"},
        {"0x10", "0x10"},
        {"1_000", "1_000"},
        {"1e3", "1e3"},
        {"12:30:45", "12:30:45"},
        {"2020-04-23 23:17:53", "2020-04-23 23:17:53"},
        {"'%m [%p] %q%u@%d '", "%m [%p] %q%u@%d "},
        {"''", ""},
        {"-1", "-1"},
        {"+1", "+1"},
        {"9223372036854775808", "9223372036854775808"},
        {"cp %p /a/%f", "cp %p /a/%f"},
        {"[a, b]", "a,b"},
        {"'null'", "null"},
        {"\"\\u00fc\"", "\xc3\xbc"},
        {".5", ".5"},
        {"nan", "nan"},
        {"0", "0"},
        {"-0", "-0"},
        {"0.1", "0.1"},
        {"100000000000.5", "100000000000.5"},
    };
    struct conf_dynamic d;
    struct strbuf yaml = {0};
    struct load l;
    struct err err;

    (void)state;
    strbuf_add_text(&yaml, GOOD "  parameters:\n");
    for (size_t i = 0; i < ARRAY_LENGTH(pairs); i++) {
        strbuf_printf(&yaml, "    p%zu: %s\n", i, pairs[i][0]);
    }
    strbuf_add_text(&yaml, "bootstrap:\n  dcs:\n    postgresql:\n      parameters:\n");
    for (size_t i = 0; i < ARRAY_LENGTH(pairs); i++) {
        strbuf_printf(&yaml, "        p%zu: %s\n", i, pairs[i][0]);
    }

    load_text(&l, yaml.data);

    assert_string_equal(l.err.text, "");
    assert_int_equal(conf_dynamic_parse(l.conf->bootstrap_dcs, &d, NULL, NULL, &err), 0);
    for (size_t i = 0; i < ARRAY_LENGTH(pairs); i++) {
        char key[32];

        (void)snprintf(key, sizeof(key), "p%zu", i);
        assert_string_equal(kv_get(&l.conf->pg_parameters, key), pairs[i][1]);
        assert_string_equal(kv_get(&d.parameters, key), pairs[i][1]);
    }
    conf_dynamic_deinit(&d);
    strbuf_deinit(&yaml);
    load_end(&l);
}

/* The store would cut them. */
static void what_the_store_has_no_room_for_is_refused(void **state)
{
    static const struct {
        const char *before, *behind, *key;
        size_t most; /* Letters that fit. */
    } rows[] = {
        {"tags: {a: ", "}", "tags: too long", CONF_TAGS_LENGTH - 8},
        {"tags: {replicatefrom: ", "}", "tags.replicatefrom: not a name", CONF_SOURCE_LENGTH},
        {"restapi: {connect_address: '", ":8008'}", "restapi.connect_address: too long",
         CONF_ADDRESS_LENGTH - 5},
        {"postgresql: {connect_address: '", ":5432'}", "postgresql.connect_address: too long",
         CONF_ADDRESS_LENGTH - 5},
        {"raft: {self_addr: '", ":7400', password: x}", "raft.self_addr: too long",
         CONF_ADDRESS_LENGTH - 5},
    };

    (void)state;
    assert_int_equal(mkdir("l", 0700), 0);
    write_file("l/1.yml", GOOD);
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        for (size_t more = 0; more <= 1; more++) {
            char letters[CONF_TAGS_LENGTH + 1];
            struct strbuf yaml = {0};
            struct load l;

            memset(letters, 'x', sizeof(letters));
            letters[rows[i].most + more] = '\0';
            strbuf_printf(&yaml, "%s%s%s\n", rows[i].before, letters, rows[i].behind);
            write_file("l/2.yml", yaml.data);
            load_path(&l, "l");
            print_message("  %s %zu\n", rows[i].key, rows[i].most + more);
            assert_int_equal(l.conf != NULL, more == 0);
            assert_true(more == 0 || strstr(l.err.text, rows[i].key) != NULL);
            load_end(&l);
            strbuf_deinit(&yaml);
        }
    }
    (void)unlink("l/1.yml");
    (void)unlink("l/2.yml");
    assert_int_equal(rmdir("l"), 0);
}

static void addresses_to_listen_on_have_one_port(void **state)
{
    static const struct {
        const char *text;
        const char *addresses; /* NULL = refused. */
        uint16_t port;
        bool warns;
    } cases[] = {
        {"a,b:5433", "a,b", 5433, false},
        {"a, b :5433", NULL, 0, false},
        {"a , b:5433", "a,b", 5433, false},
        {"*", "*", 5432, false},
        {"[::1]:5433", "::1", 5433, false},
        {"[::1],10.0.0.1:5433", "::1,10.0.0.1", 5433, false},
        {"10.0.0.1,[::1]:5433", "10.0.0.1,::1", 5433, false},
        {"a:5433,b:5434", NULL, 0, false},
        {"a:5433,b", NULL, 0, false},
        {"a:5433,b,c:5434", NULL, 0, false},
        {"a:5433,b:5433", "a,b", 5433, true},
        {"a:5432, b", "a,b", 5432, true},
        {"10.0.0.1:5433 ,[::1]:5433,b:5433", "10.0.0.1,::1,b", 5433, true},
        {"[::1]:5433,b:5433", "::1,b", 5433, true},
        {":5433,b:5433", NULL, 0, false},
        {"*:5433,a:x,b:5433", NULL, 0, false},
        {"a,,b", NULL, 0, false},
        {",b", NULL, 0, false},
        {"[],b", NULL, 0, false},
        {"[[a]:1", NULL, 0, false},
        {"a]:1", NULL, 0, false},
        {"[[a],b:1", NULL, 0, false},
        {"a c,b", NULL, 0, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct strbuf yaml = {0};
        struct load l;

        print_message("  listen \"%s\"\n", cases[i].text);
        strbuf_printf(&yaml, "postgresql: {listen: '%s'}\n", cases[i].text);
        assert_int_equal(mkdir("l", 0700), 0);
        write_file("l/1.yml", GOOD);
        write_file("l/2.yml", yaml.data);
        load_path(&l, "l");
        assert_int_equal(l.conf != NULL, cases[i].addresses != NULL);
        if (l.conf != NULL) {
            assert_int_equal(strstr(load_warnings(&l), "one port counts for all") != NULL,
                             cases[i].warns);
            assert_string_equal(l.conf->pg_listen_addresses, cases[i].addresses);
            assert_int_equal(l.conf->pg_port, cases[i].port);
        }
        load_end(&l);
        strbuf_deinit(&yaml);
        (void)unlink("l/1.yml");
        (void)unlink("l/2.yml");
        assert_int_equal(rmdir("l"), 0);
    }
}

static void the_watchdog_is_as_written(void **state)
{
    static const struct {
        const char *written;
        enum conf_watchdog mode;
    } rows[] = {
        {"required", CONF_WATCHDOG_REQUIRED},
        {"require", CONF_WATCHDOG_REQUIRED},
        {"Required", CONF_WATCHDOG_REQUIRED},
        {"automatic", CONF_WATCHDOG_AUTOMATIC},
        {"auto", CONF_WATCHDOG_AUTOMATIC},
        {"on", CONF_WATCHDOG_AUTOMATIC},
        {"true", CONF_WATCHDOG_AUTOMATIC},
        {"yes", CONF_WATCHDOG_AUTOMATIC},
        {"off", CONF_WATCHDOG_OFF},
        {"false", CONF_WATCHDOG_OFF},
        {"no", CONF_WATCHDOG_OFF},
        {"disable", CONF_WATCHDOG_OFF},
        {"disabled", CONF_WATCHDOG_OFF},
    };
    struct load l;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        char text[300];

        (void)snprintf(text, sizeof(text),
                       GOOD "watchdog: {mode: %s, device: /dev/w, safety_margin: -1}\n",
                       rows[i].written);
        load_text(&l, text);
        assert_string_equal(l.err.text, "");
        assert_int_equal(conf_watchdog(l.conf), rows[i].mode);
        assert_string_equal(l.conf->watchdog_device, "/dev/w");
        assert_int_equal(l.conf->watchdog_safety_margin, -1);
        load_end(&l);
    }
    load_text(&l, GOOD);
    assert_int_equal(conf_watchdog(l.conf), CONF_WATCHDOG_OFF);
    assert_string_equal(l.conf->watchdog_device, "/dev/watchdog");
    assert_int_equal(l.conf->watchdog_safety_margin, 5);
    load_end(&l);
}

static void a_section_of_comments_is_empty(void **state)
{
    struct load l;

    (void)state;
    load_text(&l, GOOD "  parameters:\n"
                       "    # nothing\n"
                       "  pg_hba:\n"
                       "  callbacks:\n"
                       "bootstrap:\n"
                       "  dcs:\n"
                       "  # nothing either\n"
                       "tags:\n"
                       "log: ~\n"
                       "watchdog: null\n");

    assert_non_null(l.conf);
    assert_string_equal(load_warnings(&l), "");
    assert_int_equal(l.conf->pg_parameters.n, 0);
    assert_string_equal(l.conf->bootstrap_dcs, "{}");
    assert_string_equal(l.conf->tags_json, "{}");
    assert_true(l.conf->has_bootstrap);
    assert_string_equal(l.conf->log_level, "INFO");
    load_end(&l);
}

static void defaults_follow_from_other_keys(void **state)
{
    struct load l;

    (void)state;
    load_text(&l, "name: n1\nscope: s\n"
                  "raft: {self_addr: '[::1]'}\n"
                  "postgresql:\n"
                  "  listen: '*:5433'\n"
                  "  data_dir: /d\n"
                  "  superuser: {username: postgres, password: 123}\n"
                  "  replication: {username: repl, sslmode: verify-full}\n");

    assert_string_equal(l.err.text, "");
    assert_string_equal(l.conf->runtime_dir, "/run/veche/s-n1");
    assert_string_equal(l.conf->namespace, "/service");
    assert_string_equal(l.conf->raft_self_addr, "[::1]:7400");
    assert_string_equal(l.conf->raft_bind_addr, "[::1]:7400");
    assert_string_equal(l.conf->raft_data_dir, "/var/lib/veche/s-n1");
    assert_null(l.conf->raft_password);
    assert_string_equal(l.conf->restapi_listen, "0.0.0.0:8008");
    assert_string_equal(l.conf->restapi_connect_address, "[::1]:8008");
    assert_string_equal(l.conf->pg_listen_addresses, "*");
    assert_int_equal(l.conf->pg_port, 5433);
    assert_string_equal(l.conf->pg_connect_host, "::1");
    assert_int_equal(l.conf->pg_connect_port, 5433);
    assert_string_equal(l.conf->pg_config_dir, "/d");
    assert_string_equal(l.conf->pg_bin_dir, "");
    assert_string_equal(l.conf->pg_pgpass, "/run/veche/s-n1/pgpass");
    assert_string_equal(l.conf->pg_database, "postgres");
    assert_string_equal(l.conf->superuser.password, "123");
    assert_string_equal(kv_get(&l.conf->replication.ssl, "sslmode"), "verify-full");
    assert_null(l.conf->rewind.username);
    assert_int_equal(l.conf->failover_priority, 1);
    assert_false(l.conf->has_bootstrap);
    load_end(&l);
}

static void a_witness_needs_no_postgresql(void **state)
{
    struct load l;

    (void)state;
    load_text(&l, WITNESS "  partner_addrs: 127.0.0.1:7400, 127.0.0.1:7401 ,127.0.0.1:7402\n");

    assert_non_null(l.conf);
    assert_int_equal(l.conf->mode, CONF_MODE_WITNESS);
    assert_int_equal(l.conf->n_raft_partners, 2);
    assert_string_equal(l.conf->raft_partner_addrs[0], "127.0.0.1:7401");
    assert_string_equal(l.conf->raft_partner_addrs[1], "127.0.0.1:7402");
    assert_null(l.conf->pg_data_dir);
    assert_null(l.conf->pg_listen_addresses);
    load_end(&l);
}

static void the_secret_is_the_first_line_of_its_file(void **state)
{
    struct load l;

    (void)state;
    write_file("secret", "top secret\r\nmore\n");
    assert_int_equal(chmod("secret", 0640), 0);

    load_text(&l, WITNESS "  password_file: secret\n");

    assert_non_null(l.conf);
    assert_string_equal(l.conf->raft_password, "top secret");
    assert_string_equal(load_warnings(&l), "t.yml:6:3: raft.password_file: others may read secret "
                                           "(mode 0640), expected 0600\n");
    load_end(&l);

    assert_int_equal(chmod("secret", 0600), 0);
    load_text(&l, WITNESS "  password_file: secret\n");
    assert_string_equal(load_warnings(&l), "");
    load_end(&l);
    assert_int_equal(unlink("secret"), 0);
}

static void tags_keep_their_types(void **state)
{
    struct load l;

    (void)state;
    load_text(&l, WITNESS "tags:\n"
                          "  failover_priority: '0'\n"
                          "  clonefrom: yes\n"
                          "  replicatefrom: pg2\n"
                          "  rack: 7\n"
                          "  room: '7'\n"
                          "  nosync: off\n");

    assert_non_null(l.conf);
    assert_true(l.conf->nofailover);
    assert_int_equal(l.conf->failover_priority, 0);
    assert_true(l.conf->clonefrom);
    assert_false(l.conf->nosync);
    assert_string_equal(l.conf->replicatefrom, "pg2");
    assert_string_equal(l.conf->tags_json,
                        "{\"clonefrom\":true,\"failover_priority\":\"0\",\"rack\":7,"
                        "\"replicatefrom\":\"pg2\",\"room\":\"7\"}");
    load_end(&l);
}

/* So that a table of members and tag_clonefrom=false answer as Patroni's do. */
static void flags_that_are_off_are_no_tags(void **state)
{
    static const struct {
        const char *tags, *json;
    } table[] = {
        {"{nofailover: false, noloadbalance: no, clonefrom: off, nosync: false, nostream: }", "{}"},
        {"{nofailover: false, failover_priority: 0}",
         "{\"failover_priority\":0,\"nofailover\":false}"},
        {"{nosync: false, sync_priority: 2}", "{\"nosync\":false,\"sync_priority\":2}"},
        {"{nofailover: true, mine: false}", "{\"mine\":false,\"nofailover\":true}"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        struct load l;
        char text[512];

        (void)snprintf(text, sizeof(text), WITNESS "tags: %s\n", table[i].tags);
        load_text(&l, text);
        assert_non_null(l.conf);
        assert_string_equal(l.conf->tags_json, table[i].json);
        load_end(&l);
    }
}

/* What is of no use to others is told to nobody, and no reason not to start. */
static void a_pooler_that_others_can_not_use_is_not_told(void **state)
{
    static const struct {
        const char *yaml;
        const char *address; /* NULL = dropped. */
        const char *warnings;
    } rows[] = {
        {"  proxy_address: '*:6432'\n", NULL,
         "t.yml:10:3: postgresql.proxy_address: ignored, others could not use it, got \"*:6432\", "
         "expected an address of this machine\n"},
        {"  proxy_address: localhost\n", NULL,
         "t.yml:10:3: postgresql.proxy_address: ignored, others could not use it, got "
         "\"localhost:5432\", expected an address of this machine\n"},
        {"  proxy_address: 127.0.0.1:6432\n", NULL,
         "t.yml:10:3: postgresql.proxy_address: ignored, others could not use it, got "
         "\"127.0.0.1:6432\", expected an address of this machine\n"},
        {"  proxy_address: a\n  database: " LONG_NAME "\n", NULL,
         "t.yml:10:3: postgresql.proxy_address: ignored, too long with postgresql.database, "
         "expected less than 256 bytes as postgres://host:port/database\n"},
        {"  proxy_address: 10.0.0.1:6432\n", "10.0.0.1:6432", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        char yaml[1000];
        struct load l;

        (void)snprintf(yaml, sizeof(yaml),
                       "name: n\nscope: s\nraft: {self_addr: 10.0.0.1, password: x}\n"
                       "postgresql:\n  listen: '*:5432'\n  data_dir: /d\n  authentication:\n"
                       "    superuser: {username: a}\n    replication: {username: b}\n%s",
                       rows[i].yaml);
        load_text(&l, yaml);
        assert_non_null(l.conf);
        assert_string_equal(load_warnings(&l), rows[i].warnings);
        if (rows[i].address != NULL) {
            assert_string_equal(l.conf->pg_proxy_address, rows[i].address);
        } else {
            assert_null(l.conf->pg_proxy_address);
        }
        load_end(&l);
    }
}

static void users_and_options_keep_their_order(void **state)
{
    struct load l;

    (void)state;
    load_text(&l, GOOD "  basebackup: [verbose, max-rate: 100M]\n"
                       "bootstrap:\n"
                       "  initdb: {encoding: UTF8, data-checksums: }\n"
                       "  post_init: /x\n"
                       "  users:\n"
                       "    b: {password: p, options: [createdb, createrole]}\n"
                       "    a:\n");

    assert_non_null(l.conf);
    assert_string_equal(l.conf->pg_basebackup.items[0].key, "verbose");
    assert_null(l.conf->pg_basebackup.items[0].value);
    assert_string_equal(kv_get(&l.conf->pg_basebackup, "max-rate"), "100M");
    assert_string_equal(kv_get(&l.conf->bootstrap_initdb, "encoding"), "UTF8");
    assert_true(kv_has(&l.conf->bootstrap_initdb, "data-checksums"));
    assert_string_equal(l.conf->bootstrap_post_bootstrap, "/x");
    assert_string_equal(l.conf->bootstrap_users.items[0].key, "b");
    assert_string_equal(kv_get(&l.conf->bootstrap_users, "b"), "p\tcreatedb,createrole");
    assert_string_equal(kv_get(&l.conf->bootstrap_users, "a"), "\t");
    load_end(&l);
}

static void a_directory_is_merged_in_the_order_of_names(void **state)
{
    struct load l;

    (void)state;
    assert_int_equal(mkdir("d", 0700), 0);
    load_path(&l, "d");
    assert_string_equal(l.err.text, "d: no file *.yml or *.yaml, expected a configuration");
    load_end(&l);
    write_file("d/10.yml", WITNESS "log: {level: DEBUG}\nnamespace: /a/\ntags: {nosync: true}\n");
    write_file("d/20.yaml", "name: other\nlog:\nraft: {bind_addr: '127.0.0.1:1'}\n"
                            "tags: {clonefrom: true}\n");
    write_file("d/30.txt", "name: [\n");
    write_file("d/.40.yml", "name: [\n");

    load_path(&l, "d");

    assert_string_equal(l.err.text, "");
    assert_string_equal(l.conf->name, "other");
    assert_string_equal(l.conf->log_level, "INFO"); /* The null took DEBUG away. */
    assert_string_equal(l.conf->namespace, "/a/");
    assert_string_equal(l.conf->raft_self_addr, "127.0.0.1:7400");
    assert_string_equal(l.conf->raft_bind_addr, "127.0.0.1:1");
    assert_true(l.conf->nosync && l.conf->clonefrom);
    load_end(&l);

    write_file("d/20.yaml", "name: a b\n");
    load_path(&l, "d");
    assert_string_equal(l.err.text, "d/20.yaml:1:1: name: not a name, got \"a b\", expected 1 to "
                                    "63 ASCII letters, digits, - _ or .");
    load_end(&l);
    assert_int_equal(unlink("d/10.yml") + unlink("d/20.yaml") + unlink("d/30.txt") +
                         unlink("d/.40.yml") + rmdir("d"),
                     0);
}

static void what_can_not_be_read_is_named(void **state)
{
    struct strbuf big = {0};
    struct load l;

    (void)state;
    load_path(&l, "missing.yml");
    assert_string_equal(l.err.text, "missing.yml: can not be opened: No such file or directory");
    load_end(&l);

    while (big.length <= (1 << 20)) {
        strbuf_add_text(&big, "# a line that says nothing at all, many times over\n");
    }
    load_text(&l, big.data);
    assert_string_equal(l.err.text, "t.yml: too large, got more than 1 MB");
    load_end(&l);
    strbuf_deinit(&big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_files_are_refused_with_place_key_value_and_expectation),
        cmocka_unit_test(every_error_of_a_file_is_told_the_first_is_the_reason),
        cmocka_unit_test(one_error_anywhere_is_enough),
        cmocka_unit_test(what_is_odd_but_harmless_is_warned_about),
        cmocka_unit_test(parameters_keep_their_scalars_exactly),
        cmocka_unit_test(what_the_store_has_no_room_for_is_refused),
        cmocka_unit_test(addresses_to_listen_on_have_one_port),
        cmocka_unit_test(the_watchdog_is_as_written),
        cmocka_unit_test(a_section_of_comments_is_empty),
        cmocka_unit_test(defaults_follow_from_other_keys),
        cmocka_unit_test(a_witness_needs_no_postgresql),
        cmocka_unit_test(the_secret_is_the_first_line_of_its_file),
        cmocka_unit_test(tags_keep_their_types),
        cmocka_unit_test(flags_that_are_off_are_no_tags),
        cmocka_unit_test(a_pooler_that_others_can_not_use_is_not_told),
        cmocka_unit_test(users_and_options_keep_their_order),
        cmocka_unit_test(a_directory_is_merged_in_the_order_of_names),
        cmocka_unit_test(what_can_not_be_read_is_named),
    };

    return cmocka_run_group_tests(tests, enter_scratch, leave_scratch);
}
