"""Clients that record what was acknowledged to them, and the checks over it.

A row counts as acknowledged when its statement is complete without a warning that the
wait for the standby was cancelled. A client that gives up waiting goes on with another
connection, as applications do; what it left is watched to the end: an acknowledgement
that comes late is one as well.
"""

import collections
import contextlib
import dataclasses
import itertools
import select
import subprocess
import threading
import time

import psycopg
from psycopg import pq

from netns import set_namespace
from veche import SUPERUSER_PASSWORD, free_port, wait

TABLE = "acknowledged"
PATIENCE = 2.0  # Seconds a client waits for an answer.


@dataclasses.dataclass
class Row:
    id: int
    client: str
    sent: float
    node: str = ""  # Who acknowledged it,
    timeline: int = 0  # on which timeline,
    lsn: int = 0  # from where in the WAL on; its commit is behind that,
    xid: int = 0  # by which transaction (32 bits),
    received: float = 0.0  # and when. 0 = never.
    next_lsn: int = 0  # Of the client's next row there: this one's commit is before it.


def parse_lsn(text):
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def statement(number, seconds=0):
    """Inserts the row and says what is to be known of it, after so much time."""
    source = f"select {number} from pg_sleep({seconds})" if seconds else f"values ({number})"
    return (
        f"insert into {TABLE} {source} returning pg_current_wal_insert_lsn(),"
        " ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int,"
        " pg_current_xact_id()"
    ).encode()


class Session:
    """A connection with at most one insert under way."""

    def __init__(self, dsn, names):
        self.warned = False
        self.row = None
        self.result = None
        self.pg = pq.PGconn.connect(dsn.encode())
        if self.pg.status != pq.ConnStatus.OK:
            message = self.pg.error_message.decode(errors="replace")
            self.pg.finish()
            raise psycopg.OperationalError(message)
        self.pg.notice_handler = self._notice
        found = self.pg.exec_(b"select host(inet_server_addr()), inet_server_port()")
        address = (found.get_value(0, 0), found.get_value(0, 1)) if found.ntuples else None
        self.node = names.get(tuple(v.decode() for v in address)) if address else None
        if self.node is None:
            self.pg.finish()
            raise psycopg.OperationalError("not one of the nodes")

    def _notice(self, result):
        if b"canceling" in (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b""):
            self.warned = True

    def send(self, row, seconds=0):
        self.row, self.result, self.warned = row, None, False
        self.pg.send_query(statement(row.id, seconds))

    def take(self):
        """Whether the statement has ended; raises if the connection has."""
        self.pg.consume_input()
        while not self.pg.is_busy():
            result = self.pg.get_result()
            if result is None:  # Ready for the next: what came before counts now.
                self._acknowledge()
                return True
            self.result = result
        return False

    def _acknowledge(self):
        if self.result is None or self.result.status != pq.ExecStatus.TUPLES_OK or self.warned:
            return
        self.row.lsn = parse_lsn(self.result.get_value(0, 0).decode())
        self.row.timeline = int(self.result.get_value(0, 1))
        self.row.xid = int(self.result.get_value(0, 2)) & 0xFFFFFFFF
        self.row.node, self.row.received = self.node, time.monotonic()

    def wait(self, seconds):
        end = time.monotonic() + seconds
        while not self.take():
            left = end - time.monotonic()
            if left <= 0:
                return False
            select.select([self.pg.socket], [], [], left)
        return True

    def close(self):
        self.pg.finish()


class Pipeline(Session):
    """A connection with many inserts under way, each a transaction of its own: it is
    acknowledged by the answer to its Sync, which comes after the result."""

    def __init__(self, dsn, names):
        super().__init__(dsn, names)
        self.pg.nonblocking = 1
        self.pg.enter_pipeline_mode()
        self.in_flight = collections.deque()

    def send(self, row, seconds=0):
        self.in_flight.append(row)
        self.pg.send_query_params(statement(row.id, seconds), None)
        self.pg.pipeline_sync()

    def take(self):
        """Whether all of them have ended."""
        self.pg.flush()
        self.pg.consume_input()
        while self.in_flight and not self.pg.is_busy():
            result = self.pg.get_result()
            if result is None:
                continue
            if result.status == pq.ExecStatus.PIPELINE_SYNC:
                self.row = self.in_flight.popleft()
                self._acknowledge()
                self.result, self.warned = None, False
            else:
                self.result = result
        return not self.in_flight


class Clients:
    """All clients of one run, what they sent and what they left behind."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.names = {(n.host, str(n.pg_port)): n.name for n in cluster.postgres_nodes}
        self.ids = itertools.count(1)
        self.rows = []
        self.rows_of = collections.defaultdict(list)
        self.left = []  # Sessions that still wait for an answer.
        self.clients = []
        self.stopping = threading.Event()
        self.collector = threading.Thread(target=self.collect, daemon=True, name="collector")
        self.collector.start()

    def prepare(self):
        primary = self.cluster.primary()
        # What an earlier run left: pg_sleep() goes by the wall clock, which may have jumped back.
        primary.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            f" where query like 'insert into {TABLE}%' and pid <> pg_backend_pid()"
        )
        primary.sql(f"drop table if exists {TABLE}")
        primary.sql(f"create table {TABLE} (id bigint primary key)")

    def new_row(self, client):
        row = Row(next(self.ids), client, time.monotonic())
        self.rows.append(row)
        self.rows_of[client].append(row)
        return row

    def add(self, client):
        self.clients.append(client)
        client.start()
        return client

    def of(self, client):
        return self.rows_of[client.name]

    @property
    def acknowledged(self):
        return [r for r in list(self.rows) if r.received]

    def collect(self):
        """All the time, so that what arrives late is known to have arrived then."""
        while not self.stopping.wait(0.02):
            self.collect_late()

    def collect_late(self):
        """What arrives after all; never waits."""
        for session in list(self.left):
            with contextlib.suppress(psycopg.Error):
                if not session.take():
                    continue
            self.left.remove(session)
            session.close()

    def stop(self):
        self.stopping.set()
        for client in self.clients:
            client.join(30)
            assert not client.is_alive(), f"{client.name} hangs"
        self.collector.join(30)
        self.collect_late()
        while self.left:
            self.left.pop().close()

    # -- what must be so

    def first_of_writers(self):
        """(Timeline, node) -> when its first acknowledgement was received."""
        first = {}
        for row in self.acknowledged:
            key = row.timeline, row.node
            first[key] = min(first.get(key, row.received), row.received)
        return first

    @staticmethod
    def next_after(row, first):
        """First acknowledgements of those who wrote after this row's writer: on a newer
        timeline, or on one that another node has called the same and began later."""
        began = first[row.timeline, row.node]
        return [
            at
            for (timeline, node), at in first.items()
            if timeline > row.timeline
            or (timeline == row.timeline and node != row.node and at > began)
        ]

    def overlaps(self):
        """Rows sent to one writer after the next one's first acknowledgement, and
        acknowledged all the same (S1)."""
        first = self.first_of_writers()
        return [
            row
            for row in self.acknowledged
            if any(row.sent > at for at in self.next_after(row, first))
        ]

    def late(self):
        """Rows sent before the next writer's first acknowledgement whose own came after
        it, with that moment: were they delayed, or committed then?"""
        first = self.first_of_writers()
        found = []
        for row in self.acknowledged:
            at = min(self.next_after(row, first), default=None)
            if at is not None and row.sent <= at < row.received:
                found.append((row, at))
        return found

    def lost(self, node):
        there = {row[0] for row in node.sql(f"select id from {TABLE}")}
        return [row for row in self.acknowledged if row.id not in there]

    def unexplained(self, lost, node):
        """Lost rows whose commit was before the end of their timeline, as the survivor's
        history has it: they had been received."""
        ends = timeline_ends(node)
        return [r for r in lost if r.next_lsn and r.next_lsn <= ends.get(r.timeline, 1 << 64)]

    def longest_gap(self, client, since):
        all_times = sorted(r.received for r in self.of(client) if r.received)
        before = [t for t in all_times if t < since][-1:]  # The gap may begin at once.
        times = before + [t for t in all_times if t >= since]
        assert len(times) > 1, f"{client.name} wrote nothing"
        return max(b - a for a, b in zip(times, times[1:]))


def timeline_ends(node):
    """Timeline -> where it ended, from the history file of the node's own."""
    timeline = node.sql_value("select timeline_id from pg_control_checkpoint()")
    if timeline == 1:
        return {}
    text = node.sql_value("select pg_read_file('pg_wal/' || lpad(upper(to_hex(%s)), 8, '0') || '.history')", timeline)
    fields = [line.split() for line in text.splitlines() if line.strip()]
    return {int(f[0]): parse_lsn(f[1]) for f in fields}


class Client(threading.Thread):
    """Inserts a row, waits, the next; leaves a connection that does not answer."""

    session = Session

    def __init__(self, clients, name, dsn, netns=None, pause=0.005):
        super().__init__(daemon=True, name=name)
        self.clients, self.dsn, self.netns, self.pause = clients, dsn, netns, pause
        self.tries = []  # When a write, or a connection to write, was tried.

    def run(self):
        if self.netns is not None:
            with open(f"/run/netns/{self.netns}", "rb") as f:
                set_namespace(f.fileno())
        while not self.clients.stopping.is_set():
            self.tries.append(time.monotonic())
            try:
                self.use(self.session(self.dsn, self.clients.names))
            except psycopg.Error:
                self.clients.stopping.wait(0.02)

    def send(self, session, rows):
        """False: nothing came for long. Whoever looks at the end may find it still open."""
        try:
            for row in rows:
                session.send(row)
            if session.wait(PATIENCE):
                return True
        except psycopg.Error:
            session.close()
            raise
        self.clients.left.append(session)
        return False

    def use(self, session):
        last = None
        while not self.clients.stopping.is_set():
            row = self.clients.new_row(self.name)
            self.tries.append(row.sent)
            if not self.send(session, [row]):
                return
            if not row.received:  # Refused: a standby, or a warning.
                session.close()
                self.clients.stopping.wait(0.05)
                return
            if last is not None and last.timeline == row.timeline:
                last.next_lsn = row.lsn
            last = row
            self.clients.stopping.wait(self.pause)
        session.close()


class PipelineClient(Client):
    """Sends many inserts, waits for all of them, the next."""

    session = Pipeline
    DEPTH = 16

    def use(self, session):
        while not self.clients.stopping.is_set():
            rows = [self.clients.new_row(self.name) for _ in range(self.DEPTH)]
            self.tries += [row.sent for row in rows]
            if not self.send(session, rows):
                return
            for row, following in zip(rows, rows[1:]):
                if row.received and following.received and row.timeline == following.timeline:
                    row.next_lsn = following.lsn
            if not rows[-1].received:  # Refused: a standby, or a warning.
                break
            self.clients.stopping.wait(self.pause)
        session.close()
        self.clients.stopping.wait(0.05)


class PatientClient(Client):
    """Its statement takes SECONDS, longer than a lease; it waits for each to the end."""

    SECONDS = 5

    def use(self, session):
        while not self.clients.stopping.is_set():
            row = self.clients.new_row(self.name)
            self.tries.append(row.sent)
            try:
                session.send(row, self.SECONDS)
                while not session.wait(0.2) and not self.clients.stopping.is_set():
                    pass
            except psycopg.Error:
                session.close()
                raise
            if not row.received:
                break
        session.close()
        self.clients.stopping.wait(0.2)


def options(more=""):
    return (
        f"user=postgres password='{SUPERUSER_PASSWORD}' dbname=postgres connect_timeout=2 "
        f"tcp_user_timeout=2000 keepalives_idle=1 keepalives_interval=1 keepalives_count=2 {more}"
    )


def anywhere(cluster):
    nodes = cluster.postgres_nodes
    return (
        f"host={','.join(n.host for n in nodes)} port={','.join(str(n.pg_port) for n in nodes)} "
        + options("target_session_attrs=read-write")
    )


def only(node):
    return f"host={node.host} port={node.pg_port} " + options()


class Crowd(threading.Thread):
    """Connections to one node, opened before anything happens and used after another has
    taken over: the writes that nobody may acknowledge any more. They are not made anew:
    where their server was killed, it is for the pinned client to try."""

    SIZE = 120

    def __init__(self, clients, node):
        super().__init__(daemon=True, name="crowd")
        self.clients, self.node = clients, node
        self.netns = node.netns
        self.sessions = []
        self.opened, self.go, self.fired = (threading.Event() for _ in range(3))
        self.tried = 0

    def run(self):
        if self.netns is not None:
            with open(f"/run/netns/{self.netns}", "rb") as f:
                set_namespace(f.fileno())
        while len(self.sessions) < self.SIZE and not self.clients.stopping.is_set():
            with contextlib.suppress(psycopg.Error):
                self.sessions.append(Session(only(self.node), self.clients.names))
        self.opened.set()
        while not self.go.wait(0.1):
            if self.clients.stopping.is_set():
                for session in self.sessions:
                    session.close()
                return
        self.send_all()
        self.fired.set()

    def send_all(self):
        for session in self.sessions:
            try:
                session.pg.consume_input()  # An end that came long ago is told.
                session.send(self.clients.new_row(self.name))
                session.pg.flush()
            except psycopg.Error:  # Its server was killed.
                session.close()
                continue
            self.tried += 1  # It is on its way.
            self.clients.left.append(session)

    def fire(self):
        assert self.opened.wait(60), "the crowd did not get its connections"
        self.go.set()
        assert self.fired.wait(60), "the crowd could not send"


class HAProxy:
    """One before all data nodes, as deploy/haproxy/primary-only.cfg, checking once a second."""

    def __init__(self, cluster):
        self.port = free_port()
        self.path = cluster.dir / "clients-haproxy.cfg"
        servers = "\n".join(
            f"    server {n.name} {n.host}:{n.pg_port} maxconn 100 check port {n.api_port}"
            for n in cluster.postgres_nodes
        )
        self.path.write_text(
            "defaults\n    mode tcp\n    timeout connect 2s\n    timeout client 1m\n"
            "    timeout server 1m\n"
            f"listen postgres\n    bind 127.0.0.1:{self.port}\n    option httpchk\n"
            "    default-server inter 1s fall 2 rise 2 on-marked-down shutdown-sessions\n"
            f"{servers}\n",
            encoding="utf-8",
        )

    def __enter__(self):
        with open(self.path.with_suffix(".log"), "wb") as log:
            self.process = subprocess.Popen(
                ["haproxy", "-db", "-f", str(self.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(self, kind, value, trace):
        self.process.kill()
        self.process.wait()

    @property
    def dsn(self):
        return f"host=127.0.0.1 port={self.port} " + options()


def wait_rows(clients, client, more, seconds=60):
    start = len([r for r in clients.of(client) if r.received])
    wait(
        lambda: len([r for r in clients.of(client) if r.received]) >= start + more,
        seconds,
        f"{more} more rows of {client.name}",
    )


def count_by(rows, key):
    return dict(collections.Counter(getattr(r, key) for r in rows))
