/*
 * The guard in answers: under "veche" of GET /patroni, and the metrics veche_guard_*.
 */
#include <jansson.h>

#include "http/http_routes.h"

const char *http_fenced(const struct view *view)
{
    if (!view->guard.is_up || view->guard.is_disarmed) {
        return "no";
    }
    return view->guard.is_whole || !view->pg.postmaster_alive ? "yes" : "partly";
}

void http_add_guard(json_t *veche, const struct view *view)
{
    const struct view_guard *g = &view->guard;
    json_t *o;

    if (view->self.status.mode == MODE_WITNESS) {
        return;
    }
    json_object_set_new(veche, "fenced", json_string(http_fenced(view)));
    json_object_set_new(veche, "frozen", json_boolean(view->pg.frozen));
    o = json_pack("{s:b, s:s, s:b, s:b, s:b}", "up", g->is_up, "freezes_by",
                  g->freezes_by_cgroup ? "cgroup" : "SIGSTOP", "realtime", g->is_realtime, "locked",
                  g->locked_bytes > 0, "watchdog", g->watchdog_is_active);
    json_object_set_new(o, "phase", json_string(g->is_up ? g->phase : "unknown"));
    if (g->trouble[0] != '\0') {
        json_object_set_new(o, "trouble", http_text(g->trouble));
    }
    json_object_set_new(veche, "guard", o);
}

static void add_margins(struct strbuf *b, const struct view *v)
{
    static const double bounds[GUARD_MARGINS] = VIEW_GUARD_MARGINS;
    static const char name[] = "veche_lease_margin_seconds";
    const struct view_guard *g = &v->guard;
    const char *scope = v->conf.scope, *node = v->self.status.name;

    strbuf_printf(b,
                  "# HELP %s What was left of the deadline when the guard confirmed the next one.\n"
                  "# TYPE %s histogram\n",
                  name, name);
    for (size_t i = 0; i < GUARD_MARGINS; i++) {
        strbuf_printf(b, "%s_bucket{scope=\"%s\",name=\"%s\",le=\"%g\"} %llu\n", name, scope, node,
                      bounds[i], (unsigned long long)g->margins[i]);
    }
    strbuf_printf(b, "%s_bucket{scope=\"%s\",name=\"%s\",le=\"+Inf\"} %llu\n", name, scope, node,
                  (unsigned long long)g->n_margins);
    strbuf_printf(b, "%s_sum{scope=\"%s\",name=\"%s\"} %.9g\n", name, scope, node,
                  g->sum_margins_s);
    strbuf_printf(b, "%s_count{scope=\"%s\",name=\"%s\"} %llu\n", name, scope, node,
                  (unsigned long long)g->n_margins);
}

/* clang-format off */
void http_add_guard_metrics(struct strbuf *b, const struct view *v)
{
    const struct view_guard *g = &v->guard;
    const char *fenced = http_fenced(v);
    const struct http_metric metrics[] = {
        {"veche_guard_up", "gauge", "Value is 1 if the guard answers, 0 otherwise.", g->is_up},
        {"veche_guard_fenced", "gauge", "Whether PostgreSQL is fenced: 1 yes, 0.5 partly (the guard did not start it), 0 no.", fenced[0] == 'y' ? 1 : fenced[0] == 'p' ? 0.5 : 0},
        {"veche_guard_frozen", "gauge", "Value is 1 if PostgreSQL is frozen because the lease ran out, 0 otherwise.", v->pg.frozen},
        {"veche_guard_trouble", "gauge", "Value is 1 if the guard may not do all it would like to, 0 otherwise; /patroni says what.", g->trouble[0] != '\0'},
        {"veche_guard_watchdog_active", "gauge", "Value is 1 if the guard feeds a watchdog, 0 otherwise.", g->watchdog_is_active},
        {"veche_guard_locked_bytes", "gauge", "Memory that the guard has locked.", (double)g->locked_bytes},
        {"veche_guard_lost_total", "counter", "Guards that went away under this agent.", (double)g->n_lost},
        {"veche_guard_freezes_total", "counter", "Freezes of PostgreSQL.", (double)g->n_freezes},
        {"veche_guard_thaws_total", "counter", "Freezes that ended with the lease.", (double)g->n_thaws},
        {"veche_guard_kills_total", "counter", "Times that PostgreSQL was killed by the guard.", (double)g->n_kills},
        {"veche_guard_late_seconds", "gauge", "Worst end of a freeze minus its deadline; negative is in time, 0 without a freeze.", g->measured ? (double)g->late_ns_max / 1e9 : 0},
    };

    if (v->self.status.mode == MODE_WITNESS) {
        return;
    }
    http_add_metrics(b, v, metrics, ARRAY_LENGTH(metrics));
    add_margins(b, v);
}
/* clang-format on */
