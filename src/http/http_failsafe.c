/*
 * GET and POST /failsafe. Patroni asks every member there when its store is gone. Here the
 * lease asks a majority all the time, so nobody ever sends one; who watches it sees the members.
 */
#include <jansson.h>

#include "http/http_routes.h"

bool http_failsafe_is_on(const char *config)
{
    json_t *dynamic = config != NULL ? json_loads(config, 0, NULL) : NULL;
    bool on = http_is_yes(json_object_get(dynamic, "failsafe_mode"));

    json_decref(dynamic);
    return on;
}

void http_handle_failsafe(const struct http_request *r, struct http_reply *reply)
{
    const struct store *store = r->view->store;
    json_t *members;

    if (!http_failsafe_is_on(r->config)) {
        http_reply_text(reply, 502, "failsafe_mode is off");
        return;
    }
    members = json_object();
    for (uint32_t i = 0; i < store->n_members; i++) {
        if (store->members[i].mode == MODE_POSTGRES) {
            json_object_set_new(members, store->members[i].name,
                                json_string(store->members[i].api_url));
        }
    }
    http_reply_json(reply, members);
}

void http_handle_failsafe_post(const struct http_request *r, struct http_reply *reply)
{
    (void)r;
    http_reply_text(reply, 502,
                    "there is no failsafe mode: a majority of the members keeps the lease");
}
