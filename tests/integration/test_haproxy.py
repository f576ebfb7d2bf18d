"""HAProxy with the examples of deploy/haproxy: each port reaches the right node.

The three examples run beside each other, so that one failover and one switchover
serve them all: two data nodes with a witness as in primary-only.cfg and
on-the-data-nodes.cfg, and three data nodes as in three-data-nodes.cfg.
"""

import contextlib
import os
import re
import subprocess
import threading
import time

import psycopg2
import pytest

from veche import (
    ROOT,
    SUPERUSER_PASSWORD,
    Cluster,
    free_port,
    wait,
    when_settled,
)

EXAMPLES = ROOT / "deploy/haproxy"
# Checks every 3 s, three to fall, four to rise; the lease before; then a slow machine.
ROUTED_WITHIN = 90


class Proxy:
    """One HAProxy in the foreground, with an example of ours on free ports."""

    def __init__(self, cluster, example):
        self.cluster, self.example = cluster, example
        self.ports = {}  # Of the example -> ours.
        self.config_path = cluster.dir / example
        self.log_path = cluster.dir / f"{example}.log"
        self.config_path.write_text(self.render(), encoding="utf-8")
        self.process = None

    def render(self):
        text = (EXAMPLES / self.example).read_text(encoding="utf-8")

        def bind(found):
            port = self.ports.setdefault(int(found[1]), free_port())
            return f"bind 127.0.0.1:{port}"

        def server(found):
            node = self.cluster[found[1]]
            return (
                f"server {node.name} {node.host}:{node.pg_port} "
                f"maxconn 100 check port {node.api_port}"
            )

        text, n_binds = re.subn(r"bind \*:(\d+)", bind, text)
        text, n_servers = re.subn(
            r"server (\w+) \1:5432 maxconn 100 check port 8008", server, text
        )
        assert n_binds >= 2 and n_servers >= 2
        assert n_servers == len(re.findall(r"^    server ", text, re.MULTILINE))
        text = text.replace("/run/haproxy/", f"{self.cluster.dir}/{self.example}.")
        if os.geteuid() != 0:  # Only root can become somebody else.
            text = re.sub(r"^    (user|group) .*\n", "", text, flags=re.MULTILINE)
        return text

    def start(self):
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                ["haproxy", "-db", "-f", str(self.config_path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def ask(self, port):
        """(port of the PostgreSQL behind, whether it is in recovery), over a new connection."""
        connection = psycopg2.connect(
            host="127.0.0.1",
            port=self.ports[port],
            user="postgres",
            password=SUPERUSER_PASSWORD,
            dbname="postgres",
            connect_timeout=3,
        )
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute("select inet_server_port(), pg_is_in_recovery()")
            return cursor.fetchone()

    def wait_writes_reach(self, node):
        wait(
            lambda: self.ask(5000) == (node.pg_port, False),
            ROUTED_WITHIN,
            f"port 5000 of {self.example} leads to {node.name}",
        )

    def wait_reads_reach(self, nodes):
        ports = {n.pg_port for n in nodes}

        def fine():
            reached = {self.ask(5001) for _ in range(2 * len(ports))}
            return reached == {(port, True) for port in ports}

        names = " ".join(n.name for n in nodes)
        wait(fine, ROUTED_WITHIN, f"port 5001 of {self.example} leads to {names}")

    @property
    def has_reads(self):
        return 5001 in self.ports


class ProxyWriter(threading.Thread):
    """Inserts through port 5000 of a proxy, reconnecting as an application would."""

    def __init__(self, proxy, table):
        super().__init__(daemon=True)
        self.proxy, self.table = proxy, table
        self.acknowledged = []  # (id, when)
        self.read_only = 0  # Inserts that reached a standby.
        self.stopping = threading.Event()

    def run(self):
        number = 0
        while not self.stopping.is_set():
            with contextlib.suppress(psycopg2.Error):
                connection = psycopg2.connect(
                    f"host=127.0.0.1 port={self.proxy.ports[5000]} user=postgres dbname=postgres "
                    f"password='{SUPERUSER_PASSWORD}' connect_timeout=2 tcp_user_timeout=2000"
                )
                with contextlib.closing(connection), connection.cursor() as cursor:
                    connection.autocommit = True
                    while not self.stopping.is_set():
                        number += 1
                        try:
                            cursor.execute(f"insert into {self.table} values (%s)", (number,))
                        except psycopg2.errors.ReadOnlySqlTransaction:
                            self.read_only += 1
                            break
                        self.acknowledged.append((number, time.monotonic()))
                        self.stopping.wait(0.02)
            self.stopping.wait(0.05)

    def stop(self):
        self.stopping.set()
        self.join(30)
        assert not self.is_alive(), "the writer hangs"

    def wait_rows(self, more):
        start = len(self.acknowledged)
        wait(
            lambda: len(self.acknowledged) >= start + more,
            ROUTED_WITHIN,
            f"{more} more rows through {self.proxy.example}",
        )

    def gap(self, since):
        times = [t for _, t in self.acknowledged if t >= since - 1]
        return max(b - a for a, b in zip(times, times[1:]))


@pytest.fixture(
    scope="module",
    params=[
        (("pg1", "pg2", "w1"), ("primary-only.cfg", "on-the-data-nodes.cfg")),
        (("pg1", "pg2", "pg3"), ("three-data-nodes.cfg",)),
    ],
    ids=["two-and-witness", "three"],
)
def setup(request):
    names, examples = request.param
    with Cluster(names=names) as c:
        proxies = [Proxy(c, example) for example in examples]
        try:
            c.start()
            for proxy in proxies:
                proxy.start()
            c.wait_healthy()
            yield c, proxies
        finally:
            for proxy in proxies:
                proxy.stop()


def assert_routed(c, proxies):
    primary = c.wait_healthy()
    standbys = [n for n in c.postgres_nodes if n is not primary]
    for proxy in proxies:
        proxy.wait_writes_reach(primary)
        if proxy.has_reads:
            proxy.wait_reads_reach(standbys)


def start_writers(c, proxies, prefix):
    writers = [ProxyWriter(p, f"{prefix}_{n}") for n, p in enumerate(proxies)]
    for writer in writers:
        c.primary().sql(f"create table {writer.table} (id bigint primary key)")
        writer.start()
    for writer in writers:
        writer.wait_rows(10)
    return writers


def finish_writers(c, writers, since, report, what):
    """Ends the writers; yields for each the acknowledged rows that are not there."""
    for writer in writers:
        writer.wait_rows(10)
        writer.stop()
        there = {row[0] for row in c.wait_primary().sql(f"select id from {writer.table}")}
        report(
            f"{writer.proxy.example}: write gap {writer.gap(since):.1f} s through {what}, "
            f"{writer.read_only} inserts reached a standby"
        )
        yield {n for n, _ in writer.acknowledged} - there


def test_every_example_is_valid_for_haproxy(setup):
    _, proxies = setup
    for proxy in proxies:
        found = subprocess.run(
            ["haproxy", "-c", "-f", str(proxy.config_path)], capture_output=True, text=True
        )
        assert found.returncode == 0, found.stderr
        assert "ALERT" not in found.stderr and "WARNING" not in found.stderr, found.stderr


def test_ports_lead_to_the_right_nodes(setup):
    assert_routed(*setup)


def test_a_switchover_moves_both_ports(setup, report):
    c, proxies = setup
    assert_routed(c, proxies)
    primary, standby = c.primary(), c.standbys()[0]
    writers = start_writers(c, proxies, "switched")

    since = time.monotonic()
    primary.ctl("switchover", "--leader", primary.name, "--candidate", standby.name, "--force")
    for missing in finish_writers(c, writers, since, report, "the switchover"):
        assert missing == set()  # A switchover loses nothing.
    assert c.wait_healthy() is standby
    assert_routed(c, proxies)


def test_a_failover_moves_both_ports(setup, report):
    c, proxies = setup
    assert_routed(c, proxies)
    primary = c.primary()
    writers = start_writers(c, proxies, "failed")

    since = time.monotonic()
    primary.kill()
    new = c.wait_primary(60, other_than=primary)
    report(f"promoted after {time.monotonic() - since:.1f} s")
    for proxy in proxies:
        proxy.wait_writes_reach(new)
        report(f"{proxy.example}: writes reach {new.name} {time.monotonic() - since:.1f} s after")
    list(finish_writers(c, writers, since, report, "the failover"))
    others = [n for n in c.postgres_nodes if n not in (primary, new)]
    for proxy in proxies:
        if proxy.has_reads and others:
            proxy.wait_reads_reach(others)

    primary.start()
    assert_routed(c, proxies)


@when_settled
def test_without_synchronous_standbys_all_are_asynchronous(setup):
    c, _ = setup
    primary = c.primary()
    for node in c.nodes.values():
        is_async = node is not primary and not node.witness
        for path in ("/sync", "/synchronous"):
            assert node.http(path, "OPTIONS").status == 503
        for path in ("/async", "/asynchronous"):
            assert node.http(path, "OPTIONS").status == (200 if is_async else 503)
