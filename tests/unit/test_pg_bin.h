/*
 * Where PostgreSQL's programs are, for tests with a real server: VECHE_PG_BIN, or
 * the newest major version that Debian's packages have installed.
 */
#ifndef VECHE_TESTS_TEST_PG_BIN_H
#define VECHE_TESTS_TEST_PG_BIN_H

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Two versions may stand side by side; the last by number wins. */
static inline const char *pg_bin_dir(void)
{
    static char dir[200];
    const char *chosen = getenv("VECHE_PG_BIN");
    glob_t found = {0};
    long newest = 0;

    if (dir[0] != '\0') {
        return dir;
    }
    (void)snprintf(dir, sizeof(dir), "%s", chosen != NULL ? chosen : "no PostgreSQL is installed");
    if (chosen == NULL && glob("/usr/lib/postgresql/*/bin", 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            long major = strtol(found.gl_pathv[i] + sizeof("/usr/lib/postgresql"), NULL, 10);

            if (major > newest) {
                newest = major;
                (void)snprintf(dir, sizeof(dir), "%s", found.gl_pathv[i]);
            }
        }
    }
    globfree(&found);
    return dir;
}

/* Its major version, as the directory says: /usr/lib/postgresql/17/bin. */
static inline unsigned pg_bin_major(void)
{
    const char *text = strstr(pg_bin_dir(), "postgresql/");

    return text != NULL ? (unsigned)strtoul(text + strlen("postgresql/"), NULL, 10) : 0;
}

#endif
