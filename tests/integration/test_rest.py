"""The REST interface of running agents: codes, fields, limits and strangers."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import re
import resource
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
import urllib.request

import pytest

from plugin import CRITICAL, OK, UNKNOWN, Plugin
from test_tls import Authority
from veche import (
    BUILD,
    ROOT,
    TTL,
    Cluster,
    Writer,
    eventually,
    free_port,
    processes_of,
    wait,
    when_settled,
)

# Path -> code on the primary, a streaming standby, the witness.
CODES = {
    "/": (200, 503, 503),
    "/primary": (200, 503, 503),
    "/master": (200, 503, 503),
    "/leader": (200, 503, 503),
    "/read-write": (200, 503, 503),
    "/replica": (503, 200, 503),
    "/read-only": (200, 200, 503),
    "/quorum": (503, 503, 503),
    "/read-only-quorum": (200, 503, 503),
    "/standby-leader": (503, 503, 503),
    "/standby_leader": (503, 503, 503),
    "/primary/": (200, 503, 503),
    "/nothing": (503, 503, 503),
    "/xleader": (503, 503, 503),
    "/switchover": (503, 503, 503),
    "/health": (200, 200, 200),
    "/liveness": (200, 200, 200),
    "/readiness": (200, 200, 200),
    "/patroni": (200, 200, 200),
    "/cluster": (200, 200, 200),
    "/history": (200, 200, 200),
    "/config": (200, 200, 200),
    "/metrics": (200, 200, 200),
    "/replica?lag=100MB": (503, 200, 503),
    "/replica?replication_state=streaming": (503, 200, 503),
    "/replica?tag_zone=b": (503, 503, 503),
    "/readiness?lag=100MB&mode=apply": (200, 200, 200),
    "/master?anything=1": (200, 503, 503),
}
IDLE_CONNECTIONS = 1000


@pytest.fixture(scope="module")
def three(request):
    with Cluster() as c:
        # Reached from other addresses as well; loopback is the one that may do more.
        for node in c.nodes.values():
            node.overrides["restapi.listen"] = f"0.0.0.0:{node.api_port}"
        c.start_and_wait()
        before = request.session.testsfailed
        yield c
        c.failed = request.session.testsfailed > before


@pytest.fixture
def by_role(three):
    primary = three.wait_healthy()
    return {"primary": primary, "standby": three.standbys()[0], "witness": three["w1"]}


@pytest.fixture(scope="module")
def other_address():
    """An address of this machine that is not loopback; what is sent to it stays here."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))  # Nothing is sent: it chooses a source address.
            own = s.getsockname()[0]
        except OSError:
            own = "127.0.0.1"
    if not own.startswith("127."):
        yield own
        return
    subprocess.run(["ip", "address", "add", "198.51.100.7/32", "dev", "lo"], check=True)
    yield "198.51.100.7"
    subprocess.run(["ip", "address", "delete", "198.51.100.7/32", "dev", "lo"], check=True)


def raw(node, data, host="127.0.0.1", source="", seconds=60):
    """Sends bytes, returns all that comes until the other side closes or keeps quiet."""
    address = (host, node.api_port)
    with socket.create_connection(address, timeout=seconds, source_address=(source, 0)) as s:
        with contextlib.suppress(OSError):  # It may refuse before it has read all.
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(OSError):
            while chunk := s.recv(65536):
                answer += chunk
        return answer


def code_of(answer):
    found = re.match(rb"HTTP/1\.[01] (\d{3}) ", answer)
    return int(found[1]) if found else None


def request(method, path, body=b"", headers=()):
    lines = [f"{method} {path} HTTP/1.1", "Host: veche", "Connection: close", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def metrics_of(node):
    values = {}
    for line in node.http("/metrics").text.splitlines():
        if line and not line.startswith("#"):
            found = re.fullmatch(r'(\w+)\{((?:\w+="[^"]*",?)+)\} ([-+0-9.e]+)', line)
            assert found, line
            assert f'scope="{node.cluster.scope}"' in found[2]
            assert f'name="{node.name}"' in found[2]
            values[found[1]] = float(found[3])
    return values


# ---- Codes and fields


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@when_settled
def test_every_path_has_its_code_on_every_node(by_role, method):
    wrong = {}
    for path, codes in CODES.items():
        for (role, node), code in zip(by_role.items(), codes):
            reply = node.http(path, method)
            if reply.status != code:
                wrong[(path, role)] = (reply.status, code)
            if method != "GET":
                assert reply.body == b"", (path, role)
    assert wrong == {}


@when_settled
def test_a_check_without_host_in_http_1_0_is_answered(by_role):
    """What a bare `option httpchk` sends."""
    for role, code in (("primary", 200), ("standby", 503), ("witness", 503)):
        answer = raw(by_role[role], b"OPTIONS / HTTP/1.0\r\n\r\n")
        assert code_of(answer) == code
        assert answer.endswith(b"\r\n\r\n")


def test_what_nobody_knows_is_unavailable_and_what_nobody_can_do_not_supported(by_role):
    for node in by_role.values():
        assert node.http("/nothing").json["patroni"]["name"] == node.name
        # Asked with the words by which Patroni's client knows that something is missing.
        for method, path in (("POST", "/nothing"), ("POST", "/primary"), ("DELETE", "/config")):
            reply = node.http(path, method, {})
            assert (reply.status, reply.text) == (501, "Server does not support this operation")


@when_settled
def test_answers_are_of_http_1_1_and_say_how_old_they_are(by_role):
    """Several requests over one connection, each answer with its length."""
    for node in by_role.values():
        connection = http.client.HTTPConnection("127.0.0.1", node.api_port, timeout=60)
        local = None
        for method, path in (("GET", "/primary"), ("HEAD", "/patroni"), ("OPTIONS", "/replica")):
            connection.request(method, path)
            reply = connection.getresponse()
            body = reply.read()
            assert reply.version == 11 and reply.headers["Content-Length"] is not None
            assert (body == b"") == (method != "GET")
            if path != "/patroni":
                assert 0 <= int(reply.headers["X-Veche-Age-Ms"]) < 30000
            assert local in (None, connection.sock.getsockname())
            local = connection.sock.getsockname()
        connection.close()


def test_patroni_has_patronis_fields(by_role, three):
    def the_standby_only():  # The walsender of its pg_basebackup may still be seen.
        rows = by_role["primary"].status().get("replication", [])
        return [r["state"] for r in rows] == ["streaming"]

    wait(the_standby_only, 30, "one row of replication")
    primary = by_role["primary"].status()
    standby = by_role["standby"].status()
    witness = by_role["witness"].status()

    common = {
        "state", "role", "postmaster_start_time", "server_version", "xlog", "timeline",
        "database_system_identifier", "patroni",
    }  # fmt: skip
    assert common | {"replication"} <= primary.keys()
    assert common | {"replication_state"} <= standby.keys()
    assert primary["state"] == standby["state"] == "running"
    assert (primary["role"], standby["role"], witness["role"]) == ("primary", "replica", "witness")
    assert primary["xlog"].keys() == {"location"}
    assert standby["xlog"].keys() == {
        "received_location", "replayed_location", "replayed_timestamp", "paused",
    }  # fmt: skip
    assert [r.keys() for r in primary["replication"]] == [
        {"usename", "application_name", "client_addr", "state", "sync_state", "sync_priority"}
    ]
    assert primary["replication"][0]["application_name"] == by_role["standby"].name
    assert primary["patroni"] == {
        "version": "4.1.4", "scope": three.scope, "name": by_role["primary"].name,
    }  # fmt: skip
    assert primary["server_version"] >= 130000
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+\+00:00", primary["postmaster_start_time"]
    )
    sysid = by_role["primary"].sql_value(
        "select system_identifier::text from pg_control_system()"
    )
    assert primary["database_system_identifier"] == standby["database_system_identifier"] == sysid
    assert "server_version" not in witness and "xlog" not in witness


def test_cluster_history_and_config_are_alike_on_every_node(by_role):
    for node in by_role.values():
        cluster = node.http("/cluster").json
        members = {m["name"]: m for m in cluster["members"]}
        assert list(members) == sorted(members)
        leader = members[by_role["primary"].name]
        standby = members[by_role["standby"].name]
        assert (leader["role"], leader["state"]) == ("leader", "running")
        assert (standby["role"], standby["state"]) == ("replica", "streaming")
        assert {"lag", "lsn"}.isdisjoint(leader)
        assert {
            "api_url", "host", "port", "timeline",
            "receive_lag", "receive_lsn", "replay_lag", "replay_lsn", "lag", "lsn",
        } <= standby.keys()  # fmt: skip
        assert re.fullmatch(r"[0-9A-F]+/[0-9A-F]+", standby["lsn"])
        assert members["w1"]["role"] == "witness"
        assert cluster["scope"] == node.cluster.scope

    def shapes():
        return {(n.http("/history").text, n.http("/config").text) for n in by_role.values()}

    wait(lambda: len(shapes()) == 1, 30, "all nodes to have the same")
    history, config = map(json.loads, shapes().pop())
    assert all(len(row) in (4, 5) for row in history)
    assert config["ttl"] == 3


@when_settled
def test_metrics_can_be_parsed_and_agree_with_the_role(by_role):
    values = {role: metrics_of(node) for role, node in by_role.items()}
    assert [values[r]["patroni_primary"] for r in values] == [1, 0, 0]
    assert [values[r]["patroni_replica"] for r in values] == [0, 1, 0]
    assert [values[r]["patroni_postgres_running"] for r in values] == [1, 1, 0]
    assert [values[r]["veche_lease_live"] for r in values] == [1, 0, 0]
    assert values["primary"]["patroni_xlog_location"] > 0
    assert values["standby"]["patroni_xlog_replayed_location"] > 0
    assert sum(values[r]["veche_raft_leader"] for r in values) == 1
    for v in values.values():
        assert v["veche_members"] == 3
        assert v["veche_peers_connected"] == 2
        assert v["patroni_version"] == 40104
        assert v["veche_tick_duration_seconds_count"] > 0 < v["veche_dirty_to_act_seconds_count"]
        assert v["patroni_dcs_last_seen"] > 0 < v["veche_decisions_total"]
    assert values["primary"]["veche_lease_renewals_total"] > 0
    for node in by_role.values():
        text = node.http("/metrics").text
        names = re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE)
        assert len(names) == len(set(names))
        assert text.endswith("\n")


def labelled(node, name, label):
    """Values of a metric by that label."""
    lines = re.findall(rf'^{name}\{{(.*)\}} (.*)$', node.http("/metrics").text, re.MULTILINE)
    return {re.search(rf'{label}="([^"]*)"', labels)[1]: float(value) for labels, value in lines}


def assert_metrics_are_true(by_role, renewals):
    """Beside what the agents say elsewhere, and what can be counted from here."""
    nodes = list(by_role.values())
    values = [metrics_of(node) for node in nodes]
    told = [node.status()["veche"] for node in nodes]
    assert len({v["veche_raft_applied_index"] for v in values}) == 1
    for node, v, status in zip(nodes, values, told):
        assert v["veche_raft_term"] == status["raft_term"] == told[0]["raft_term"]
        assert v["veche_raft_leader"] == status["raft_leader"]
        assert v["veche_epoch"] == status["epoch"] == told[0]["epoch"]
        round_trips = labelled(node, "veche_peer_round_trip_seconds", "peer")
        assert set(round_trips) == {n.name for n in nodes} - {node.name}
        assert all(0 < seconds < 10 for seconds in round_trips.values())
        rules = labelled(node, 'veche_decisions_total(?={.*kind="node")', "rule")
        assert rules[status["node_rule"]] >= 1
        for name in ("veche_tick_duration_seconds", "veche_dirty_to_act_seconds"):
            buckets = labelled(node, f"{name}_bucket", "le")
            assert list(buckets.values()) == sorted(buckets.values())
            assert 0 < metrics_of(node)[f"{name}_sum"] < 60
    primary = values[0]
    assert primary["veche_guard_up"] == 1 and primary["veche_guard_frozen"] == 0
    assert primary["veche_lease_renewals_total"] > renewals  # It goes on.
    assert primary["veche_lease_rounds_total"] >= primary["veche_lease_renewals_total"]
    margins = primary["veche_lease_margin_seconds_count"]
    assert 0 < primary["veche_lease_margin_seconds_sum"] / margins <= TTL
    assert 0 < primary["veche_lease_remaining_seconds"] <= TTL


def test_metrics_tell_the_truth(by_role):
    renewals = by_role["primary"].metric("veche_lease_renewals_total")
    eventually(lambda: assert_metrics_are_true(by_role, renewals))


def without_positions(cluster):
    moving = ("lag", "lsn", "receive_lag", "receive_lsn", "replay_lag", "replay_lsn")
    veche = {k: v for k, v in cluster["veche"].items() if k != "dcs_last_seen"}
    members = [{k: v for k, v in m.items() if k not in moving} for m in cluster["members"]]
    return cluster | {"members": members, "veche": veche}


class Events:
    """A client of GET /events."""

    def __init__(self, node):
        self.socket = socket.create_connection(("127.0.0.1", node.api_port), timeout=60)
        self.socket.sendall(b"GET /events HTTP/1.0\r\n\r\n")
        self.file = self.socket.makefile("rb")
        self.last = None
        self.head = b""
        while not self.head.endswith(b"\r\n\r\n"):
            self.head += self.file.readline()

    def next(self):
        """Number and data of the next one; None at the end."""
        lines = {}
        for line in self.file:
            if line == b"\n" and b"data" in lines:
                assert lines[b"event"] == b"cluster"
                data = json.loads(lines[b"data"])
                before, self.last = self.last, without_positions(data)
                assert self.last != before  # Else there was nothing to tell.
                return int(lines[b"id"]), data
            key, _, value = line.rstrip(b"\n").partition(b": ")
            lines[key] = value
        return None

    def close(self):
        self.file.close()  # The socket is open as long as either is.
        self.socket.close()

    def until(self, fits):
        while (event := self.next()) is not None:
            if fits(event[1]):
                return event
        return None


def test_events_tell_what_changes(by_role):
    """First what is, then each change, on every node; a position that moves is none."""
    streams = [Events(node) for node in by_role.values() for _ in range(2)]
    for s in streams:
        assert s.head.startswith(b"HTTP/1.") and b"Content-Type: text/event-stream\r\n" in s.head
        assert {"members", "scope"} <= s.next()[1].keys()
    node = by_role["standby"]

    def positions():
        return [m.get("lsn") for m in node.http("/cluster").json["members"]]

    before = positions()
    by_role["primary"].sql("create table moves (); drop table moves")
    wait(lambda: positions() != before, 30, "positions that moved")
    try:
        assert node.http("/config", "PATCH", {"pause": True}).status == 200
        paused = [s.until(lambda c: c.get("pause")) for s in streams]
    finally:
        assert node.http("/config", "PATCH", {"pause": None}).status == 200
    resumed = [s.until(lambda c: "pause" not in c) for s in streams]
    assert all(a[0] < b[0] for a, b in zip(paused, resumed))
    for s in streams:
        s.close()
    for method in ("HEAD", "OPTIONS"):
        assert node.http("/events", method).body == b""
    eventually(lambda: assert_one_too_many(node))  # The places of those above are free again.


def test_the_status_page_shows_what_cluster_tells(by_role):
    golden = (pathlib.Path(__file__).parents[1] / "golden/http.txt").read_text(encoding="utf-8")
    for node in by_role.values():
        page = node.http("/ui")
        assert page.status == 200 and page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "EventSource('events')" in page.text and "//" not in page.text  # Nothing from afar.
        fields = re.findall(r"\b[mcs]\.([a-z_.]+)", page.text)
        words = {word for field in fields for word in field.split(".")} - {"map"}
        assert len(words) > 12
        assert not [word for word in words if f'"{word}":' not in golden]


def assert_one_too_many(node):
    many = [Events(node) for _ in range(33)]
    for m in many:
        m.close()
    assert [m.head.split()[1] for m in many] == [b"200"] * 32 + [b"503"]


def test_prometheus_scrapes_as_it_does_patroni(by_role, three):
    """Debian's own, with a configuration that knows nothing of Veche."""
    port = free_port()
    targets = [f"127.0.0.1:{n.api_port}" for n in by_role.values()]
    config = three.dir / "prometheus.yml"
    config.write_text(json.dumps({
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "patroni", "static_configs": [{"targets": targets}]}],
    }), encoding="utf-8")
    process = subprocess.Popen(
        ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={three.dir / 'tsdb'}",
         f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"])

    def value(query):
        url = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(query)}"
        with urllib.request.urlopen(url, timeout=10) as r:
            found = json.load(r)["data"]["result"]
        return float(found[0]["value"][1]) if found else None

    def scraped():
        scope = f'scope="{three.scope}"'
        return [value(q) for q in (
            "sum(up)",
            f"sum(patroni_primary{{{scope}}})",
            f'patroni_replica{{{scope},name="{by_role["standby"].name}"}}',
            f"count(patroni_postgres_timeline{{{scope}}} > 0)",
            f"max(patroni_xlog_location{{{scope}}}) > bool 0",
            f"histogram_quantile(0.5, sum(veche_tick_duration_seconds_bucket{{{scope}}}) by (le))"
            " < bool 1",
        )]

    try:
        wait(lambda: scraped() == [3, 1, 1, 2, 1, 1], 60, "all of it to be scraped")
    finally:
        process.kill()
        process.wait()


# ---- A monitoring plugin

# Service and options -> exit code on the primary, a streaming standby, the witness.
PLUGIN = [
    ("cluster_node_count", {"members": 3, "healthy": 2}, (OK, OK, OK)),
    ("cluster_node_count", {"members": 3, "healthy": 3}, (CRITICAL,) * 3),  # A witness is none.
    ("cluster_has_leader", {}, (OK, OK, OK)),
    ("cluster_has_replica", {"max_lag": 1 << 24}, (OK, OK, OK)),
    ("cluster_has_replica", {"replicas": 2}, (CRITICAL,) * 3),
    ("cluster_has_replica", {"sync": 1}, (CRITICAL,) * 3),
    ("cluster_is_in_maintenance", {}, (OK, OK, OK)),
    ("cluster_has_scheduled_action", {}, (OK, OK, OK)),
    ("node_is_alive", {}, (OK, OK, OK)),
    ("node_is_leader", {}, (OK, CRITICAL, CRITICAL)),
    ("node_is_leader", {"standby": True}, (CRITICAL,) * 3),
    ("node_is_primary", {}, (OK, CRITICAL, CRITICAL)),
    ("node_is_replica", {}, (CRITICAL, OK, CRITICAL)),
    ("node_is_replica", {"max_lag": "16MB"}, (CRITICAL, OK, CRITICAL)),
    ("node_is_replica", {"sync": False}, (CRITICAL, OK, CRITICAL)),
    ("node_is_replica", {"sync": True}, (CRITICAL,) * 3),
    ("node_is_pending_restart", {}, (OK, OK, OK)),
    ("node_patroni_version", {"version": "4.1.4"}, (OK, OK, OK)),
    ("node_tl_has_changed", {"timeline": 999}, (CRITICAL, CRITICAL, UNKNOWN)),
]


def plugin_of(node):
    return Plugin(f"http://127.0.0.1:{node.api_port}")


def says(nodes, service, code, **options):
    """All of them, soon: what is asked of one node the others hear a moment later."""
    codes = {}

    def all_say():
        codes.update({n.name: plugin_of(n).run(service, **options) for n in nodes})
        return set(codes.values()) == {code}

    try:
        wait(all_say, 60, f"{service} to be {code}")
    except AssertionError:
        raise AssertionError(f"{service} {options}: {codes}, expected {code}") from None


@when_settled
def test_a_monitoring_plugin_sees_what_it_sees_of_patroni(by_role):
    wrong = {}
    for service, options, codes in PLUGIN:
        for (role, node), code in zip(by_role.items(), codes):
            if (got := plugin_of(node).run(service, **options)) != code:
                wrong[(service, str(options), role)] = (got, code)
    assert wrong == {}
    urls = [f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{by_role['witness'].api_port}"]
    assert Plugin(*urls).run("cluster_has_leader") == OK  # The first one does not answer.


def test_a_monitoring_plugin_sees_what_changes(by_role, three):
    nodes = list(by_role.values())
    primary, standby, witness = nodes
    before = plugin_of(primary).config_hash()
    config = primary.http("/config").json
    says(nodes, "cluster_config_has_changed", OK, before=before)

    more = {"postgresql": {"parameters": {"max_connections": 123}}, "pause": True}
    assert standby.http("/config", "PATCH", more).status == 200
    at = {"schedule": "2100-01-01T00:00:00+00:00"}
    says(nodes, "cluster_config_has_changed", CRITICAL, before=before)
    says(nodes, "cluster_is_in_maintenance", CRITICAL)
    says([primary, standby], "node_is_pending_restart", CRITICAL)
    assert witness.http("/config", "PUT", config).status == 200
    says(nodes, "cluster_config_has_changed", OK, before=before)
    says(nodes, "cluster_is_in_maintenance", OK)
    says([primary, standby], "node_is_pending_restart", OK)

    assert standby.http("/restart", "POST", at).status == 202
    says(nodes, "cluster_has_scheduled_action", CRITICAL)
    assert standby.http("/restart", "DELETE").status == 200
    says(nodes, "cluster_has_scheduled_action", OK)

    timeline = primary.status()["timeline"]
    says([primary, standby], "node_tl_has_changed", OK, timeline=timeline)
    body = {"leader": primary.name, "candidate": standby.name}
    later = body | {"scheduled_at": at["schedule"]}
    for node in nodes:  # The newer one takes the place of the one before.
        assert node.http("/switchover", "POST", later).text == "Switchover scheduled"
    says(nodes, "cluster_has_scheduled_action", CRITICAL)
    assert primary.http("/switchover", "POST", body).status == 200
    says(nodes, "cluster_has_scheduled_action", OK)
    says([primary, standby], "node_tl_has_changed", CRITICAL, timeline=timeline)
    says(nodes, "cluster_has_replica", OK)
    says([primary], "node_is_replica", OK, max_lag="16MB")
    says([standby], "node_is_primary", OK)
    assert standby.status()["timeline"] == timeline + 1

    assert primary.stop() == 0
    try:
        says([standby, witness], "cluster_has_replica", CRITICAL)
        says([standby, witness], "cluster_node_count", CRITICAL, members=3, healthy=2)
        says([standby, witness], "cluster_has_leader", OK)
    finally:
        primary.start()
    three.wait_healthy()
    says(nodes, "cluster_has_replica", OK)


def state_told(node, of):
    members = {m["name"]: m for m in node.http("/cluster").json["members"]}
    return members[of.name]["state"]


@contextlib.contextmanager
def hanging_reload(node):
    """Asked for twice: a pipe that nobody writes to stands for a disk, until it answers after all."""
    text = node.config_path.read_text()
    node.config_path.unlink()
    os.mkfifo(node.config_path)
    try:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            two = [pool.submit(ask_socket, node, request("POST", "/reload")) for _ in range(2)]
            yield
            answers = [f.result() for f in two]
        for answer in answers:  # One is being served, one waits for the next.
            assert code_of(answer) == 503 and b"could not be read within 10 s" in answer, answer
        pipe = os.open(node.config_path, os.O_WRONLY | os.O_NONBLOCK)  # Somebody reads.
        node.config_path.unlink()
        node.write_config()  # For the next one.
        os.write(pipe, text.encode())
        os.close(pipe)
        assert code_of(ask_socket(node, request("POST", "/reload"))) == 202
    finally:
        with contextlib.suppress(OSError):  # Whoever still waits for it.
            os.close(os.open(node.config_path, os.O_WRONLY | os.O_NONBLOCK))
        node.config_path.unlink()
        node.write_config()


def test_a_standby_that_hangs_is_none(by_role, three):
    """Its processes are there; nobody is sent to it. Beside it, as both take 10 s: who asks for a
    reload of a configuration that can not be read is told so, and nothing else waits for it."""
    with hanging_reload(by_role["witness"]):
        see_a_standby_hang(by_role, three)


def see_a_standby_hang(by_role, three):
    standby = by_role["standby"]
    pids = processes_of(standby.data_dir)

    def signal_all(number):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    signal_all(signal.SIGSTOP)
    try:
        wait(lambda: standby.http("/replica").status == 503, 100, "it to be seen")
        codes = [standby.http(p).status for p in ("/health", "/readiness", "/async", "/read-only")]
        assert codes == [503] * 4
        assert standby.status()["state"] == "unknown"
        for node in by_role.values():
            wait(lambda: state_told(node, standby) == "unknown", 30, "all to tell it")
        row = [r for r in by_role["primary"].ctl("list").stdout.splitlines() if standby.name in r]
        assert len(row) == 1 and " unknown " in row[0] and "streaming" not in row[0], row
        assert standby.http("/liveness").status == 200  # The agent is well.
    finally:
        signal_all(signal.SIGCONT)
    wait(lambda: standby.http("/replica").status == 200, 60, "it to be back")
    for node in by_role.values():
        wait(lambda: state_told(node, standby) == "streaming", 30, "all to tell that")
    three.wait_healthy()


# ---- Who may do what


def test_what_changes_something_is_refused_from_another_address(by_role, other_address):
    node = by_role["standby"]
    before = by_role["primary"].name
    for path in ("/switchover", "/failover"):
        for body in (json.dumps({"leader": before, "candidate": node.name}).encode(), b""):
            answer = raw(node, request("POST", path, body), host=other_address)
            assert code_of(answer) == 403, answer
            assert b"Access is denied" in answer
            # A header does not make a stranger local.
            answer = raw(
                node,
                request("POST", path, body, ["X-Forwarded-For: 127.0.0.1"]),
                host=other_address,
            )
            assert code_of(answer) == 403, answer
    for method in ("PATCH", "PUT"):
        answer = raw(node, request(method, "/config", b'{"ttl": 20}'), host=other_address)
        assert code_of(answer) == 403 and b"Access is denied" in answer
    for path in ("/patroni", "/replica", "/cluster", "/config"):
        assert code_of(raw(node, request("GET", path), host=other_address)) == 200
    assert node.http("/config").json["ttl"] == 3
    assert by_role["primary"].is_primary()


def test_a_pooler_is_told_by_all_from_a_reload_on(by_role):
    """Where Patroni has it: `proxy_url` of the member's key."""
    node, other = by_role["standby"], by_role["witness"]

    def reload(address):
        node.overrides["postgresql.proxy_address"] = address
        node.write_config()
        assert code_of(ask_socket(node, request("POST", "/reload"))) == 202

    def told():
        members = {m["name"]: m for m in other.http("/cluster").json["members"]}
        assert not any("proxy_url" in m for name, m in members.items() if name != node.name)
        return members[node.name].get("proxy_url")

    try:
        reload("127.0.0.1:6432")
        wait(lambda: told() == "postgres://127.0.0.1:6432/postgres", 60, "the pooler to be told")
        key = other.ctl("store", f"members/{node.name}").stdout.splitlines()
        assert json.loads(key[1])["proxy_url"] == told(), key
    finally:
        reload(None)
    wait(lambda: told() is None, 60, "it to be told no more")


@contextlib.contextmanager
def restapi(node, **keys):
    """Other settings of restapi: on a node that runs; afterwards those of before."""
    before = dict(node.overrides)

    def reload(changes):
        node.overrides |= {f"restapi.{k}": v for k, v in changes.items()}
        node.write_config()
        return ask_socket(node, request("POST", "/reload"))

    try:
        answer = reload(keys)
        assert code_of(answer) == 202 and b"\r\n\r\nreload scheduled" in answer, answer
        yield reload
    finally:
        node.overrides = before
        node.write_config()
        assert code_of(ask_socket(node, request("POST", "/reload"))) == 202


def change(node, host, headers=()):
    return raw(node, request("POST", "/switchover", b"{}", headers), host=host)


def test_allowlist_and_password_count_from_a_reload_on(by_role, other_address):
    """Patroni's order and words; then all from before again."""
    node = by_role["witness"]
    headers = {"X-From": "a proxy"}
    password = {"username": "admin", "password": "secret"}
    good = ["Authorization: Basic YWRtaW46c2VjcmV0"]
    assert code_of(change(node, other_address)) == 403
    with restapi(node, allowlist=[f"{other_address}/32"], http_extra_headers=headers,
                 authentication=password, server_tokens="productonly") as reload:
        answer = change(node, other_address)
        assert code_of(answer) == 401 and answer.endswith(b"no auth header received")
        assert b'WWW-Authenticate: Basic realm="Patroni"\r\n' in answer
        assert b"X-From: a proxy\r\n" in answer and b"Server: Veche\r\n" in answer
        assert change(node, other_address, ["Authorization: Basic eDp5"]).endswith(
            b"not authenticated")
        assert code_of(change(node, other_address, good)) == 400  # In: what it asks for is wrong.
        command = b'{"postgresql": {"parameters": {"archive_command": "touch /tmp/x"}}}'
        answer = raw(node, request("PATCH", "/config", command, good), host=other_address)
        assert code_of(answer) == 403 and b"restapi.allow_commands" in answer, answer
        same = request("PATCH", "/config", b'{"ttl": 3}', good)
        assert code_of(raw(node, same, host=other_address)) == 200
        assert change(node, "127.0.0.1", good).endswith(b"\r\n\r\nAccess is denied")
        assert code_of(raw(node, request("GET", "/patroni"), host=other_address)) == 200

        answer = reload({"allowlist": ["10.0.0.0/99"]})
        assert code_of(answer) == 500 and b'restapi.allowlist: got "10.0.0.0/99"' in answer, answer
        assert code_of(change(node, other_address)) == 401  # As before.

        answer = reload({"allowlist": None, "authentication": None,
                         "allowlist_include_members": True})
        assert code_of(answer) == 202
        assert code_of(change(node, "127.0.0.1")) == 400  # Its own address is 127.0.0.1.
        assert change(node, other_address).endswith(b"\r\n\r\nAccess is denied")
    assert b"run vechectl failover" in change(node, other_address)


def open_tls(node, authority=None, client=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if authority else ssl.CERT_NONE
    if authority:
        context.load_verify_locations(authority.cert)
    if client:
        context.load_cert_chain(*client)
    c = http.client.HTTPSConnection("127.0.0.1", node.api_port, timeout=60, context=context)
    c.connect()
    return c


def ask_tls(connection, method="GET", path="/patroni", body=None):
    connection.request(method, path, body)
    reply = connection.getresponse()
    return reply.status, reply.read(), reply.headers


def handshake_refuses(node, client=None):
    """TLS 1.3 tells the client with the first thing it reads, if that is not lost on the way."""
    try:
        answer = ask_tls(open_tls(node, client=client))
    except TimeoutError:
        raise
    except OSError:
        return True
    raise AssertionError(answer)


def test_certificates_of_restapi_are_changed_while_it_runs(by_role, three):
    """Plain, TLS, another certificate, clients with certificates, plain; nobody is cut off."""
    node = by_role["witness"]
    authority, strangers = Authority(three.dir, "rest"), Authority(three.dir, "strangers")
    cert, key = authority.sign("w1")
    client = authority.sign("a client")
    plain = http.client.HTTPConnection("127.0.0.1", node.api_port, timeout=60)
    assert ask_tls(plain)[0] == 200
    events = Events(node)
    with restapi(node, certfile=str(cert), keyfile=str(key)) as reload:
        assert events.until(lambda c: False) is None  # It ends, to be asked for anew.
        status, _, headers = ask_tls(plain)  # Over the connection of before.
        assert (status, headers["Connection"]) == (200, "close")
        assert code_of(raw(node, request("GET", "/patroni"), seconds=2)) != 200
        first = open_tls(node, authority)
        serial = first.sock.getpeercert()["serialNumber"]
        assert ask_tls(first)[0] == 200
        told = f"https://127.0.0.1:{node.api_port}/patroni"
        wait(lambda: told in by_role["primary"].http("/cluster").text, 30, "others to be told so")

        cert, key = authority.sign("w1")
        assert code_of(reload({"certfile": str(cert), "keyfile": str(key)})) == 202
        assert ask_tls(first)[0] == 200
        second = open_tls(node, authority)
        assert second.sock.getpeercert()["serialNumber"] != serial
        assert ask_tls(second, "POST", "/switchover", b"{}")[0] == 400  # Of this machine.

        answer = reload({"keyfile": str(client[1])})  # Not of that certificate.
        assert code_of(answer) == 500 and b"not a certificate with its key" in answer, answer
        assert ask_tls(open_tls(node, authority))[0] == 200

        keys = {"keyfile": str(key), "cafile": str(authority.cert), "verify_client": "optional"}
        assert code_of(reload(keys)) == 202
        assert ask_tls(open_tls(node))[0] == 200
        refused = (403, b"client certificate required")
        assert ask_tls(open_tls(node), "POST", "/switchover", b"{}")[:2] == refused
        unfit = (
            strangers.sign("a client"),
            authority.sign("a server", usage="serverAuth"),  # Of a node, say.
            authority.sign("a client", clock="-10d"),  # Two days, long ago.
        )
        for shown in unfit:
            wrong = open_tls(node, client=shown)
            assert ask_tls(wrong, "POST", "/switchover", b"{}")[:2] == refused
        fitting = open_tls(node, client=authority.sign("a client", usage="clientAuth"))
        assert ask_tls(fitting, "POST", "/switchover", b"{}")[0] == 400
        assert ask_tls(open_tls(node, client=client), "POST", "/switchover", b"{}")[0] == 400
        older = open_tls(node)
        assert ask_tls(older)[0] == 200
        assert code_of(reload({"verify_client": "required"})) == 202
        assert ask_tls(older)[:2] == refused
        assert all(handshake_refuses(node, shown) for shown in (None, *unfit))
        assert ask_tls(open_tls(node, client=client))[0] == 200
        assert code_of(reload({"verify_client": "optional"})) == 202
        assert ask_tls(open_tls(node))[0] == 200
    assert node.http("/patroni").status == 200


def test_a_post_that_asks_for_nothing_sensible_is_refused_with_an_example(by_role):
    leader, standby = by_role["primary"].name, by_role["standby"].name
    cases = [
        # path, body, code, part of the answer
        ("/switchover", b"", 400, b'"leader": "pg1"'),
        ("/failover", b"", 400, b'"candidate": "pg2"'),
        ("/switchover", b"{", 400, b"not a JSON object"),
        ("/switchover", b"[1]", 400, b"not a JSON object"),
        ("/switchover", b"\xff\xfegarbage", 400, b"not a JSON object"),
        ("/switchover", b"{}", 400, b"only from a specific leader"),
        # Not the one that ends before it; nor none at all, which would be a restart now.
        ("/switchover", b'{"leader": "nobody"}\0}', 400, b"byte of zero"),
        ("/restart", b'\0{"role": "standby_leader"}', 400, b"byte of zero"),
        ("/switchover", b'{"leader": 7}', 400, b"member's name"),
        ("/switchover", json.dumps({"leader": "x" * 5000}).encode(), 400, b"member's name"),
        ("/switchover", b'{"leader": "nobody"}', 412, b"leader name does not match"),
        ("/switchover", {"leader": leader, "candidate": "nobody"}, 412, b"does not exist"),
        ("/switchover", {"leader": leader, "candidate": "w1"}, 412, b"does not exist"),
        ("/switchover", {"leader": leader, "candidate": leader}, 400, b"are the same"),
        ("/switchover", {"leader": standby}, 412, b"leader name does not match"),
        # As I3's operators send it: a failover without a candidate.
        ("/failover", {"leader": leader}, 400, b"only to a specific candidate"),
        ("/failover", {"candidate": leader}, 412, b"primary already"),
        ("/failover", {"candidate": "nobody"}, 412, b"does not exist"),
        ("/failover", {"candidate": standby, "scheduled_at": "2030-01-01T00:00"}, 400, b"schedul"),
    ]
    for node in by_role.values():
        for path, body, code, part in cases:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            answer = raw(node, request("POST", path, data))
            assert code_of(answer) == code and part in answer, (node.name, path, body, answer)
    assert by_role["primary"].is_primary()


def test_a_post_may_come_without_body_length_and_type(by_role):
    """As curl sends it by hand: `-X POST`, and `-d` with the type of a form (I3)."""
    node = by_role["standby"]
    url = f"http://127.0.0.1:{node.api_port}"

    def curl(*args):
        r = subprocess.run(["curl", "-s", "-w", "\n%{http_code}", "-X", *args],
                           capture_output=True, text=True, check=True, timeout=60)
        text, _, code = r.stdout.rpartition("\n")
        return int(code), text

    assert curl("POST", f"{url}/reload")[0] == 202
    assert curl("POST", f"{url}/reload", "-d", "")[0] == 202
    assert curl("POST", f"{url}/reload", "-H", "Transfer-Encoding: chunked", "-d", "{}")[0] == 202
    code, text = curl("POST", f"{url}/failover")
    assert code == 400 and 'send a JSON body such as {"candidate": "pg2"}' in text
    assert curl("POST", f"{url}/failover", "-d", '{"leader": "pg102"}')[0] == 400
    code, text = curl("POST", f"{url}/switchover", "-d", '{"leader": "pg102"}')
    assert (code, text) == (412, "leader name does not match")
    assert curl("DELETE", f"{url}/switchover") == (404, "no switchover is scheduled")
    for bare in (b"POST /reload HTTP/1.0\r\n\r\n", b"POST /reload HTTP/1.1\r\nHost: a\r\n\r\n"):
        assert code_of(raw(node, bare)) == 202


def test_the_configuration_is_changed_from_any_node(by_role):
    """Merged, whole, refused with a reason; the answer is what the node itself then shows."""
    before = by_role["primary"].http("/config").json
    for node in by_role.values():
        reply = node.http("/config", "PATCH", {"max_timelines_history": 7, "notes": {"x": 1}})
        assert reply.status == 200 and reply.headers["Content-Type"] == "application/json"
        assert reply.json == before | {"max_timelines_history": 7, "notes": {"x": 1}}
        assert reply.json == node.http("/config").json
        again = node.http("/config", "PATCH", {"max_timelines_history": "7"})
        assert (again.status, again.json) == (200, reply.json)
        less = node.http("/config", "PATCH", {"notes": None})
        assert less.json == before | {"max_timelines_history": 7}
        whole = node.http("/config", "PUT", before)
        assert (whole.status, whole.json) == (200, before)
    for body, part in (
        (b"", b"no body"),
        (b"{", b"not valid JSON"),
        (b"[1]", b"expected an object"),
        (b'{"ttl": 0}', b"ttl"),
        (b'{"synchronous_mode": "maybe"}', b"synchronous_mode"),
        (json.dumps({"slots": "x" * 70000}).encode(), b"64 KiB"),
    ):
        answer = raw(by_role["standby"], request("PATCH", "/config", body))
        assert code_of(answer) in (400, 413) and part in answer, answer
    wait(lambda: by_role["primary"].http("/config").json == before, 30, "the old one everywhere")


def test_a_change_takes_what_others_did_just_before_into_account(by_role):
    """Asked of one node after the other, each still a moment behind."""
    nodes = list(by_role.values())
    for i in range(30):
        on, off = nodes[i % 3], nodes[(i + 1) % 3]
        assert on.http("/config", "PATCH", {"check_timeline": True}).json["check_timeline"]
        assert "check_timeline" not in off.http("/config", "PATCH", {"check_timeline": None}).json


def test_what_another_node_was_told_just_before_is_taken_back(by_role):
    """A node that follows has it a moment later: it does not say that there is nothing."""
    nodes = list(by_role.values())
    later = {"leader": by_role["primary"].name, "scheduled_at": "2040-01-01T00:00Z"}

    def scheduled(node):
        reply = node.http("/switchover", "POST", later)
        assert (reply.status, reply.text) == (202, "Switchover scheduled")

    for i in range(6):
        on, off = nodes[i % 3], nodes[(i + 1) % 3]
        eventually(lambda on=on: scheduled(on))
        reply = off.http("/switchover", "DELETE")
        assert (reply.status, reply.text) == (200, "scheduled switchover deleted")
        reply = on.http("/switchover", "DELETE")
        assert (reply.status, reply.text) == (404, "no switchover is scheduled")


def test_changes_at_once_do_not_undo_each_other(by_role):
    """Compare-and-set: who is overtaken begins anew, and what was answered is there."""
    before = by_role["primary"].http("/config").json
    nodes = list(by_role.values())

    def change(i):
        return i, nodes[i % 3].http("/config", "PATCH", {"notes": {f"s{i}": i}}).status

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(change, range(24)))
    wait(lambda: len({n.http("/config").text for n in nodes}) == 1, 30, "one configuration")
    assert {status for _, status in answers} == {200}
    assert nodes[0].http("/config").json["notes"] == {f"s{i}": i for i in range(24)}
    assert nodes[0].http("/config", "PUT", before).json == before


# ---- Limits


def pids(c):
    return {n.name: n.process.pid for n in c.nodes.values() if n.running}


def test_too_much_is_refused(by_role, three):
    before = pids(three)
    node = by_role["primary"]
    fits = b'{"leader": "nobody"' + b" " * 60000 + b"}"
    assert code_of(raw(node, request("POST", "/switchover", fits))) == 412
    for size in (65537, 1 << 20, 8 << 20):
        answer = raw(node, request("POST", "/switchover", b"x" * size))
        assert code_of(answer) == 413, (size, answer[:200])
    # Announced, never sent.
    answer = raw(
        node,
        b"POST /switchover HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n",
        seconds=2,
    )
    assert code_of(answer) in (None, 400, 413)
    chunks = b"10000\r\n" + b"z" * 65536 + b"\r\n"
    answer = raw(
        node,
        request("POST", "/switchover", headers=["Transfer-Encoding: chunked"])
        + 3 * chunks
        + b"0\r\n\r\n",
    )
    assert code_of(answer) == 413
    for headers in (
        ["X-Long: " + "h" * 100000],
        [f"X-{n}: {n}" for n in range(20000)],
    ):
        assert code_of(raw(node, request("GET", "/patroni", headers=headers))) in (413, 431)
    assert code_of(raw(node, request("GET", "/" + "p" * 100000))) in (413, 414, 431)
    assert pids(three) == before and node.is_primary()


def test_garbage_on_the_port_harms_nobody(by_role, three):
    before = pids(three)
    random = os.urandom
    # A path that is cut where it is decoded would be taken for another one.
    for path in ("/%00", "/%00primary", "/primary%00x"):
        assert code_of(raw(by_role["primary"], request("GET", path))) == 503
    for node in by_role.values():
        for data in (
            b"",
            b"\r\n\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + random(500),  # TLS.
            b"\x00\x00\x00\x08\x04\xd2\x16\x2f",  # A client of PostgreSQL asking for TLS.
            b"GET /a%ff%zz HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
            b"POST /switchover HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n{}",
            b"POST /switchover HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n{",
            *[random(2000) for _ in range(20)],
        ):
            answer = raw(node, data, seconds=1)
            assert code_of(answer) != 200, (data[:40], answer[:200])
        assert node.http("/patroni").status == 200
    assert pids(three) == before and by_role["primary"].is_primary()


def read_fds(node):
    return len(os.listdir(f"/proc/{node.process.pid}/fd"))


def test_a_thousand_idle_connections_do_not_stop_the_agent(by_role, three, report):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    primary = by_role["primary"]
    epoch = primary.status()["veche"]["epoch"]
    writer = Writer(three.postgres_nodes)
    writer.prepare()
    writer.start()
    writer.wait_rows(50)
    quiet = writer.longest_gap()
    fds = read_fds(primary)

    since = time.monotonic()
    idle = []
    try:
        for _ in range(IDLE_CONNECTIONS):
            s = socket.socket()
            s.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                s.connect(("127.0.0.1", primary.api_port))
            idle.append(s)
        with_all = read_fds(primary)
        # They keep neither the unix socket nor clients of another address waiting, and
        # their own address only until the agent is tired of them.
        assert primary.ctl("list").returncode == 0
        asked = time.monotonic()
        answer = raw(primary, request("OPTIONS", "/master"), source="127.0.0.2", seconds=60)
        answered = time.monotonic() - asked
        assert code_of(answer) == 200
        wait(primary.is_primary, 60, "an answer for the address of the idle ones")
        same_address = time.monotonic() - since
        writer.wait_rows(300)
        # Others of the idle ones have taken the places of those it was tired of.
        assert wait(lambda: primary.status()["veche"]["epoch"], 60, "a status") == epoch
    finally:
        for s in idle:
            s.close()
    wait(lambda: read_fds(primary) < fds + 20, 60, "the connections to be let go")
    errors = writer.errors
    writer.stop()
    report(
        f"{IDLE_CONNECTIONS} idle connections ({with_all - fds} held by the agent): health "
        f"answer after {answered:.3f} s for another address, {same_address:.1f} s for their own; "
        f"longest gap between writes "
        f"{writer.longest_gap(since):.3f} s ({quiet:.3f} s before)"
    )
    assert errors == 0
    assert primary.status()["veche"]["epoch"] == epoch


def test_places_that_were_all_taken_are_free_again(by_role):
    """More connections than there are places, of many addresses, that end all at once."""
    node = by_role["witness"]

    idle = []
    for i in range(700):
        s = socket.socket()
        s.bind((f"127.0.3.{i // 50 + 1}", 0))
        s.settimeout(60 if i < 500 else 0)  # One after the other, as long as there are places.
        with contextlib.suppress(BlockingIOError):
            s.connect(("127.0.0.1", node.api_port))
        idle.append(s)
    wait(lambda: read_fds(node) > 500, 60, "all places to be taken")
    assert node.ctl("list").returncode == 0
    node.process.send_signal(signal.SIGSTOP)
    for s in idle:
        s.close()
    node.process.send_signal(signal.SIGCONT)  # It sees all of them end in one turn.
    assert code_of(raw(node, request("OPTIONS", "/"))) == 503


def test_many_answers_at_once(by_role, report):
    """More clients than a load balancer and a monitoring system make."""
    node = by_role["primary"]
    codes = []

    def ask():
        for _ in range(50):
            codes.append(node.http("/patroni").status)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    began = time.monotonic()
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    report(f"{len(codes)} answers in {time.monotonic() - began:.2f} s")
    assert codes == [200] * 800


# ---- The unix socket


def ask_socket(node, data):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(60)
        s.connect(str(node.runtime_dir / "veched.sock"))
        s.sendall(data)
        answer = b""
        while chunk := s.recv(65536):
            answer += chunk
        return answer


def test_the_unix_socket_answers_and_is_private(by_role):
    for node in by_role.values():
        answer = ask_socket(node, request("GET", "/patroni"))
        assert code_of(answer) == 200
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["patroni"]["name"] == node.name
        assert code_of(ask_socket(node, request("POST", "/switchover", b"{}"))) == 400
        directory = os.stat(node.runtime_dir)
        assert directory.st_mode & 0o077 == 0, oct(directory.st_mode)


def test_the_configurations_of_the_four_installations_are_valid():
    files = sorted((ROOT / "tests/golden/installations").glob("*.yml"))
    assert len(files) == 4
    for path in files:
        found = subprocess.run(
            [str(BUILD / "src/veched"), "--validate-config", "-i", str(path)],
            capture_output=True,
            text=True,
        )
        assert found.returncode == 0, found.stderr
        assert found.stdout == f"{path} is valid\n"
