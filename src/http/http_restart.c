/*
 * Restarts: what waits for one.
 */
#include <jansson.h>

#include "http/http_routes.h"

/* Values were cut to size: half a character at the end is no JSON. */
static json_t *text_of(const char *value)
{
    json_t *text = json_string(value);

    return text != NULL ? text : json_string("?");
}

void http_add_pending(json_t *object, const struct status *status)
{
    const struct pending_restart *p = &status->pending;
    json_t *reasons;

    if (p->n == 0) {
        return;
    }
    reasons = json_object();
    for (uint32_t i = 0; i < p->n; i++) {
        const struct pending_setting *s = &p->settings[i];
        json_t *reason = json_object();

        json_object_set_new(reason, "old_value", text_of(s->old_value));
        json_object_set_new(reason, "new_value", text_of(s->new_value));
        json_object_set_new(reasons, s->name, reason);
    }
    json_object_set_new(object, "pending_restart", json_true());
    json_object_set_new(object, "pending_restart_reason", reasons);
}
