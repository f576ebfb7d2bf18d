"""An agent of paper: it answers vechectl what a test wants it to, and remembers what it was asked."""

import contextlib
import copy
import http.server
import json
import os
import pathlib
import re
import subprocess
import threading

from veche import BUILD, sanitizer_options

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "ctl.txt"

API = "http://10.0.0.%d:8008/patroni"

MEMBERS = [
    {
        "name": "pg0", "role": "leader", "state": "running", "api_url": API % 1,
        "host": "10.0.0.1", "port": 5432, "timeline": 3, "pending_restart": True,
        "pending_restart_reason": {"max_connections": {"old_value": "100", "new_value": "101"}},
        "tags": {"clonefrom": True},
    },
    {
        "name": "pg1", "role": "sync_standby", "state": "streaming", "api_url": API % 2,
        "host": "10.0.0.2", "port": 5432, "timeline": 3,
        "proxy_url": "postgres://10.0.0.2:6432/postgres",
        "scheduled_restart": {"schedule": "2026-08-01T10:00:00+00:00", "postgres_version": "15.9"},
        "receive_lag": 96, "receive_lsn": "0/4000088", "replay_lag": 2109096,
        "replay_lsn": "0/3DFD240", "lag": 96, "lsn": "0/4000088",
    },
    {
        "name": "pg2", "role": "replica", "state": "stopped", "api_url": API % 3,
        "host": "10.0.0.3", "port": 5432, "receive_lag": "unknown", "receive_lsn": "unknown",
        "replay_lag": "unknown", "replay_lsn": "unknown", "lag": "unknown", "lsn": "unknown",
    },
]  # fmt: skip

WITNESS = {"name": "w", "role": "witness", "state": "running", "api_url": API % 4}

VECHE = {
    "system_identifier": "7277694203142172922", "init": "done", "epoch": 5, "owner": "pg0",
    "answered_by": "pg0", "raft_has_leader": True,
}  # fmt: skip

CONFIG = {
    "ttl": 30, "loop_wait": 10, "retry_timeout": 10, "maximum_lag_on_failover": 1048576,
    "postgresql": {"use_slots": True, "parameters": {"max_connections": 100}},
}  # fmt: skip

HISTORY = [
    [1, 25623960, "no recovery target specified", "2026-08-01T10:00:00.000000+00:00", "pg1"],
    [2, 50331976, "no recovery target specified"],
]


def plain_members():
    """A healthy cluster with nothing special: pg0 leads, pg1 and pg2 stream."""
    members = copy.deepcopy(MEMBERS)
    for key in ("pending_restart", "pending_restart_reason", "tags"):
        members[0].pop(key)
    members[1].pop("scheduled_restart")
    for member in members[1:]:
        member.update(
            role="replica", state="streaming", timeline=3, receive_lag=0, receive_lsn="0/4000088",
            replay_lag=0, replay_lsn="0/4000088", lag=0, lsn="0/4000088",
        )  # fmt: skip
    return members


class Agent:
    """`replies` by "METHOD /path": (code, body), or a function of the request's body that makes
    one. What is for a member ("POST /members/pg1/restart") is passed on if `relays`."""

    def __init__(self, members=None, relays=True, name="pg0"):
        self.cluster = {
            "members": copy.deepcopy(members if members is not None else MEMBERS),
            "scope": "batman",
            "veche": dict(VECHE),
        }
        self.config = copy.deepcopy(CONFIG)
        self.relays = relays
        self.name = name
        self.asked = []  # "METHOD /path body", changes only.
        self.headers = []
        self.replies = {
            "GET /cluster": lambda _: (200, self.cluster),
            "GET /config": lambda _: (200, self.config),
            "GET /history": (200, HISTORY),
            "GET /patroni": lambda _: (200, self.status(self.name)),
        }
        self.etag = '"7"'
        self.events = None  # An Event: there is a stream, and a change when it is set.
        self.listening = threading.Event()
        agent = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                if self.path == "/events" and agent.events is not None:
                    return self.stream()
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length).decode()
                code, text, headers = agent.answer(self.command, self.path, body, self.headers)
                if code == 0:  # Hangs up.
                    self.close_connection = True
                    return
                data = text.encode() if isinstance(text, str) else json.dumps(text).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(data)))
                for key, value in headers.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(data)

            def stream(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(b"event: cluster\ndata: {}\n\n")
                agent.listening.set()
                agent.events.wait(30)  # Set by the test, or its end.
                with contextlib.suppress(OSError):  # Let go already.
                    self.wfile.write(b"event: cluster\ndata: {}\n\n")

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = answer

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        if self.events is not None:
            self.events.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def member(self, name):
        return next(m for m in self.cluster["members"] if m["name"] == name)

    def status(self, name):
        return {
            "state": "running", "role": "replica", "server_version": 170005,
            "patroni": {"version": "4.1.4", "scope": "batman", "name": name},
            "veche": {"version": "0.1.0"}, "timeline": 3,
            **({"pause": True} if self.cluster.get("pause") else {}),
        }  # fmt: skip

    def answer(self, method, path, body, headers):
        self.headers.append(headers)
        if method != "GET":
            self.asked.append(f"{method} {path} {body}".rstrip())
        passed = re.match(r"/members/([^/]+)(/.*)$", path)
        more = {"ETag": self.etag} if path == "/config" and self.etag else {}
        if passed and not self.relays:
            return 404, "not found", {}
        if passed:
            more["X-Veche-Member"] = passed[1]
            if passed[2] == "/patroni" and f"{method} {path}" not in self.replies:
                return 200, self.status(passed[1]), more
        reply = self.replies.get(f"{method} {path}", (404, "not found"))
        code, text = reply(body) if callable(reply) else reply
        return code, text, more


def environment(**more):
    return {
        **{k: v for k, v in os.environ.items()
           if not k.startswith(("VECHE_", "PATRONI_")) and "CONFIG_FILE" not in k
           and k not in ("EDITOR", "NO_COLOR", "TERM")},
        "HOME": "/nonexistent",
        "TZ": "UTC",
        **sanitizer_options("stderr"),
        **more,
    }  # fmt: skip


def vechectl(*args, answers="", **env):
    return subprocess.run(
        [str(BUILD / "src/vechectl"), *args],
        capture_output=True,
        text=True,
        timeout=90,
        input=answers,
        env=environment(**env),
        check=False,
    )
