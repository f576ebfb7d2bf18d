/*
 * GET /ui: the status page. What `vechectl list -w` draws, in a browser: each event of /events is
 * the text of /cluster, shown as it comes. Everything it needs is in it, it changes nothing, and
 * what members say is only ever put there as text.
 */
#include "http/http_routes.h"

static const char page[] =
    "<!doctype html>\n"
    "<html lang=\"en\">\n"
    "<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n"
    "<title>Veche</title>\n"
    "<style>\n"
    "body { font: 16px/1.5 sans-serif; margin: 2em; color-scheme: light dark }\n"
    "table { border-collapse: collapse }\n"
    "th, td { text-align: left; padding: .3em 1em; border-bottom: 1px solid }\n"
    "tr.leader td { font-weight: bold }\n"
    "</style>\n"
    "<h1 id=\"scope\">Veche</h1>\n"
    "<p id=\"note\">connecting ...</p>\n"
    "<table><thead><tr><th>Member<th>Host<th>Role<th>State<th>TL<th>Receive lag<th>Replay lag"
    "<th></thead><tbody id=\"members\"></tbody></table>\n"
    "<script>\n"
    "const at = id => document.getElementById(id);\n"
    "const known = x => x === undefined ? '' : x;\n"
    "const size = x => typeof x === 'number' ? (x / 1048576).toFixed(x < 1048576 ? 1 : 0) + ' MB'"
    " : known(x);\n"
    "function remarks(m) {\n"
    "  const r = [];\n"
    "  if (m.operation) r.push(m.operation);\n"
    "  if (m.pending_restart) r.push('pending restart');\n"
    "  if (m.scheduled_restart) r.push('restart at ' + m.scheduled_restart.schedule);\n"
    "  for (const [tag, value] of Object.entries(m.tags || {})) r.push(tag + ': ' + value);\n"
    "  return r.join(', ');\n"
    "}\n"
    "function row(m) {\n"
    "  const tr = document.createElement('tr');\n"
    "  tr.className = m.role;\n"
    "  for (const x of [m.name, m.host ? m.host + ':' + m.port : '', m.role, m.state,\n"
    "                   known(m.timeline), size(m.receive_lag), size(m.replay_lag), remarks(m)])\n"
    "    tr.appendChild(document.createElement('td')).textContent = x;\n"
    "  return tr;\n"
    "}\n"
    "function show(c) {\n"
    "  const s = c.scheduled_switchover;\n"
    "  const notes = [];\n"
    "  if (c.pause) notes.push('Automatic failover is paused.');\n"
    "  const to = s && s.to ? ' to ' + s.to : '';\n"
    "  if (s) notes.push('Switchover at ' + s.at + ' from ' + s.from + to + '.');\n"
    "  if (c.veche && !c.veche.raft_has_leader) notes.push('No majority of the agents.');\n"
    "  notes.push('As ' + (c.veche ? c.veche.answered_by : 'the agent') + ' sees it, '\n"
    "             + new Date().toLocaleTimeString() + '.');\n"
    "  at('scope').textContent = document.title = c.scope;\n"
    "  at('note').textContent = notes.join(' ');\n"
    "  at('members').replaceChildren(...c.members.map(row));\n"
    "}\n"
    "const events = new EventSource('events');\n"
    "events.addEventListener('cluster', e => show(JSON.parse(e.data)));\n"
    "events.onerror = () => at('note').textContent =\n"
    "  'The agent does not answer: what is shown is old.';\n"
    "</script>\n"
    "</html>\n";

void http_handle_page(const struct http_request *r, struct http_reply *reply)
{
    (void)r;
    reply->code = 200;
    reply->content_type = "text/html; charset=utf-8";
    strbuf_add_text(&reply->body, page);
}
