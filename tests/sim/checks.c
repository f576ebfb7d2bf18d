/* What the checkers share: the first complaint of a seed. */
#include "checks.h"

#include <stdarg.h>
#include <stdlib.h>

#include "trace.h"

static char last_failure[400];

struct sim_checks *checks_new(void)
{
    struct sim_checks *c = xmalloc(sizeof(*c));

    c->main_node = SIM_NOBODY;
    last_failure[0] = '\0';
    return c;
}

void checks_free(struct sim_checks *c)
{
    free(c);
}

bool checks_failed(const struct sim_checks *c)
{
    return c->failed;
}

const char *checks_last_failure(void)
{
    return last_failure;
}

void checks_fail(struct sim *s, const struct sim_node *n, const char *format, ...)
{
    char text[300];
    va_list args;

    if (s->checks->failed) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    s->checks->failed = true;
    (void)snprintf(last_failure, sizeof(last_failure), "%u.%06u %s %s",
                   (unsigned)(s->now_us / SIM_S), (unsigned)(s->now_us % SIM_S),
                   n != NULL ? n->name : "", text);
    TRACE(s, n, "VIOLATION %s", text);
}

bool checks_wants_faults(const struct sim *s)
{
    return s->stats.faults < SIM_FAULTS_MIN && s->options.seconds >= 120;
}

void checks_count_faults(struct sim *s)
{
    if (checks_wants_faults(s)) {
        checks_fail(s, NULL, "only %u faults were injected", (unsigned)s->stats.faults);
    }
}
