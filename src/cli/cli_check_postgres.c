/*
 * check --postgres: what the members say of PostgreSQL, and settings with which it fails on
 * the day it matters.
 */
#include <mntent.h>

#include "cli/cli_check.h"

static const char *text_of(const json_t *value, char *text, size_t size)
{
    text[0] = '\0';
    if (json_is_string(value)) {
        (void)str_copy(text, size, json_string_value(value)); /* Cut is fine: for people. */
    } else if (json_is_integer(value)) {
        (void)snprintf(text, size, "%lld", (long long)json_integer_value(value));
    } else if (json_is_boolean(value)) {
        (void)str_copy(text, size, json_is_true(value) ? "on" : "off");
    }
    return text;
}

const char *check_parameter(const struct check *k, const char *name, char *text, size_t size)
{
    const json_t *local =
        json_object_get(json_object_get(k->cli->config.tree, "postgresql"), "parameters");
    const json_t *stored = json_object_get(json_object_get(k->config, "postgresql"), "parameters");
    const json_t *value = json_object_get(local, name);

    return text_of(value != NULL ? value : json_object_get(stored, name), text, size);
}

static int64_t number_of(const struct check *k, const char *name, int64_t preset)
{
    char text[64];
    int64_t value;

    return str_to_i64(check_parameter(k, name, text, sizeof(text)), 0, INT32_MAX, &value) ? value
                                                                                          : preset;
}

static int64_t count_standbys(const struct check *k)
{
    int64_t n = 0;
    size_t i;
    json_t *member;

    json_array_foreach(json_object_get(k->cluster, "members"), i, member)
    {
        n += cli_has_role(member, "replica");
    }
    return n;
}

/* Each standby has one, and a copy of the data (a new standby, a backup) has two. */
static void check_senders(struct check *k)
{
    int64_t senders = number_of(k, "max_wal_senders", 10);
    int64_t needed = count_standbys(k) + 2;

    if (senders < needed) {
        check_say(k, CHECK_WARNING,
                  "max_wal_senders %lld is too few for %lld standbys and a pg_basebackup: %lld "
                  "are needed (vechectl edit-config -p max_wal_senders=10)",
                  (long long)senders, (long long)(needed - 2), (long long)needed);
    } else {
        check_say(k, CHECK_OK, "max_wal_senders %lld", (long long)senders);
    }
}

/* One for each standby, and the permanent ones. */
static void check_slots(struct check *k)
{
    const json_t *permanent = json_object_get(k->config, "slots");
    int64_t slots = number_of(k, "max_replication_slots", 10);
    int64_t standbys = count_standbys(k), n = (int64_t)json_object_size(permanent);
    char level[64];
    const char *name;
    json_t *slot;

    if (slots < standbys + n) {
        check_say(
            k, CHECK_WARNING,
            "max_replication_slots %lld is too few for %lld standbys and %lld permanent slots",
            (long long)slots, (long long)standbys, (long long)n);
    }
    if (str_equal(check_parameter(k, "wal_level", level, sizeof(level)), "logical")) {
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)permanent, name, slot)
    {
        if (json_object_get(slot, "plugin") != NULL) {
            check_say(k, CHECK_WARNING,
                      "the slot %s is logical, and wal_level is not (vechectl edit-config -p "
                      "wal_level=logical)",
                      name);
        }
    }
}

/* Whether a directory is on a file system that other machines share. */
static bool is_shared(const char *path)
{
    FILE *mounts = setmntent("/proc/self/mounts", "r");
    const struct mntent *m;
    size_t longest = 0;
    bool shared = false;

    while (mounts != NULL && (m = getmntent(mounts)) != NULL) {
        size_t length = strlen(m->mnt_dir);

        if (length >= longest && strncmp(path, m->mnt_dir, length) == 0) {
            longest = length;
            shared = str_starts_with(m->mnt_type, "nfs") || str_starts_with(m->mnt_type, "cifs") ||
                     strstr(m->mnt_type, "ceph") != NULL || strstr(m->mnt_type, "gluster") != NULL;
        }
    }
    if (mounts != NULL) {
        (void)endmntent(mounts); /* Always 1. */
    }
    return shared;
}

/* The directory that cp copies to: "cp %p /DIR/%f" -> "/DIR/". False: no such command. */
static bool copies_to(const char *command, char *directory, size_t size)
{
    const char *copy = strstr(command, "cp ");
    const char *to = copy != NULL ? strstr(copy, "%p") : NULL;

    if (to == NULL || (copy != command && copy[-1] != ' ' && copy[-1] != '/') ||
        strchr(to, ':') != NULL) { /* scp, rsync host:... */
        return false;
    }
    to += 2 + strspn(to + 2, "\"' ");
    (void)str_copy(directory, MIN(size, strcspn(to, "%\"' ") + 1), to); /* Up to the name. */
    return directory[0] == '/';
}

static void check_archive(struct check *k)
{
    char mode[32];
    char command[512];
    char directory[256];

    check_parameter(k, "archive_mode", mode, sizeof(mode));
    check_parameter(k, "archive_command", command, sizeof(command));
    if (mode[0] == '\0' || str_equal(mode, "off") || str_equal(mode, "false")) {
        return;
    }
    if (command[0] == '\0') {
        check_say(k, CHECK_WARNING, "archive_mode is %s without archive_command: WAL piles up",
                  mode);
    }
    if (!copies_to(command, directory, sizeof(directory))) {
        return;
    }
    if (!is_shared(directory)) {
        check_say(k, CHECK_WARNING,
                  "archive_command copies to %s, a disk of each node alone: after a failover no "
                  "node has all of the archive, and no point in time can be recovered",
                  directory);
    }
    if (strstr(command, "test ! -f") == NULL && strstr(command, "cp -n") == NULL) {
        check_say(k, CHECK_WARNING,
                  "archive_command overwrites: put \"test ! -f %s%%f &&\" before cp", directory);
    }
}

static void check_pending(struct check *k)
{
    size_t i;
    json_t *member;

    json_array_foreach(json_object_get(k->cluster, "members"), i, member)
    {
        if (json_is_true(json_object_get(member, "pending_restart"))) {
            const char *name = "";
            json_t *reason;

            json_object_foreach(json_object_get(member, "pending_restart_reason"), name, reason)
            {
                break;
            }
            check_say(k, CHECK_WARNING, "%s waits for a restart (%s): vechectl restart --rolling",
                      cli_text(member, "name"), name);
        }
        if (str_ends_with(cli_text(member, "state"), "failed") ||
            str_equal(cli_text(member, "state"), "crashed")) {
            check_say(k, CHECK_CRITICAL, "PostgreSQL of %s: %s", cli_text(member, "name"),
                      cli_text(member, "state"));
        }
    }
}

void check_postgres(struct check *k)
{
    check_pending(k);
    check_senders(k);
    check_slots(k);
    check_archive(k);
    check_hba(k);
}
