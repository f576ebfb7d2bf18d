"""A Veche cluster of real agents and real PostgreSQL for the tests.

Every cluster lives in a directory of its own, on free ports of loopback, and
ends with its test, also when that is interrupted. Nothing here sleeps for a
fixed time: `wait` polls for the event with a generous bound.
"""

import collections
import contextlib
import functools
import json
import os
import pathlib
import pwd
import random
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

import psycopg
import psycopg2
from psycopg import pq

from reaper import reaper
from shm import private_memory

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("VECHE_BUILD", ROOT / "build"))
PG_BIN = pathlib.Path(
    os.environ.get("VECHE_PG_BIN")
    or sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))[-1].parent
)
SUPERUSER_PASSWORD = "super secret"
SANITIZED = 99  # What a sanitizer ends a process with; no exit code of ours.
CRASHES = {SANITIZED} | {
    -s for s in (signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV)
}
TTL = 3


def sanitizer_options(report):
    """Environment for a program built with sanitizers; any other does not look at it."""
    ours = f"exitcode={SANITIZED}:log_path={report}"
    return {
        name: ":".join(filter(None, [os.environ.get(name), preset, ours]))
        for name, preset in (
            ("ASAN_OPTIONS", "detect_leaks=0"),  # Agents mostly end by SIGKILL.
            ("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1"),
        )
    }


def run_as_postgres():
    """Arguments of a subprocess that must not be root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class Ports:
    """Gives away ports of loopback, also when several test processes run side by side.

    A process owns whole blocks of ports. That is known by the name of an abstract
    unix socket, which the kernel frees with the process, however it ends. A port is
    given away long before its agent binds it, so trying to bind is not enough.
    """

    FIRST, BLOCK, BLOCKS = 20000, 200, 60  # Below the range of outgoing connections.

    def __init__(self):
        self.lock = threading.Lock()
        self.claims = []  # Sockets, kept open.
        self.ports = []

    def _claim(self):
        for block in random.sample(range(self.BLOCKS), self.BLOCKS):
            claim = socket.socket(socket.AF_UNIX)
            try:
                claim.bind(f"\0veche-test-ports-{block}")
            except OSError:
                claim.close()
                continue
            self.claims.append(claim)
            first = self.FIRST + block * self.BLOCK
            return random.sample(range(first, first + self.BLOCK), self.BLOCK)
        raise RuntimeError("no free block of ports")

    def take(self):
        with self.lock:
            while True:
                if not self.ports:
                    self.ports = self._claim()
                port = self.ports.pop()
                with socket.socket() as s:
                    with contextlib.suppress(OSError):
                        s.bind(("127.0.0.1", port))
                        return port


_ports = Ports()


def free_port():
    """A port nobody uses, and no process of these tests has been given."""
    return _ports.take()


def wait(condition, seconds, what):
    """Polls until condition() is true; returns its value. An exception counts as no."""
    deadline = time.monotonic() + seconds
    last = None
    while time.monotonic() < deadline:
        try:
            value = condition()
            if value:
                return value
            last = value
        except Exception as error:  # Not there yet; told below if it stays so.
            last = error
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what} (last: {last!r})")


def eventually(check, seconds=30):
    """Until check() passes: for what is asserted of observations, which are up to a
    loop_wait old, and of a ledger that reaches each node in its own time. Never for
    what must not be so even for a moment."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return check()
        except (AssertionError, LookupError, OSError):
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.05)


def when_settled(test):
    """A test that only reads what agents show: all of it holds at one moment, soon."""

    @functools.wraps(test)
    def patient(*args, **kwargs):
        return eventually(lambda: test(*args, **kwargs))

    return patient


def processes_of(data_dir):
    """Pids of living processes whose working directory is the data directory."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            cwd = os.readlink(f"/proc/{entry}/cwd")
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as f:
                state = f.read().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if cwd == str(data_dir) and state not in "ZX":
            found.append(int(entry))
    return found


def guards_of(runtime_dir):
    """Pids of the living guards of a runtime directory."""
    found = []
    for entry in os.listdir("/proc"):
        arguments = command_line(entry).split(b"\0") if entry.isdigit() else []
        if len(arguments) > 1 and pathlib.Path(os.fsdecode(arguments[0])).name == "veche-guard":
            if os.fsdecode(arguments[1]) == str(runtime_dir):
                found.append(int(entry))
    return found


def states_of(pids):
    """Their letters in /proc/PID/stat."""
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            text = pathlib.Path(f"/proc/{pid}/stat").read_text(errors="replace")
            found.add(text.rpartition(")")[2].split()[0])
    return found


def is_frozen(node):
    """PostgreSQL of the node: by SIGSTOP, or by the cgroup that it runs in."""
    pids = processes_of(node.data_dir)
    if not pids:
        return False
    if states_of(pids) <= {"T", "t", "D"}:
        return True
    lines = pathlib.Path(f"/proc/{pids[0]}/cgroup").read_text().splitlines()
    mine = next(line.rpartition(":")[2] for line in lines if line.startswith("0::"))
    for root in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
        events = pathlib.Path(f"{root}{mine}/cgroup.events")
        if events.exists():
            return "frozen 1" in events.read_text()
    return False


def command_line(pid):
    """Its arguments, or what PostgreSQL shows instead; empty if it has just ended."""
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


class Reply:
    """An HTTP answer, whatever its code."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)


class Node:
    """One agent, its directories, ports and PostgreSQL."""

    def __init__(self, cluster, name, witness=False, host="127.0.0.1", netns=None):
        self.cluster, self.name, self.witness = cluster, name, witness
        self.host, self.netns = host, netns
        self.dir = cluster.dir / name
        self.data_dir = cluster.pg_dir / name / "data"
        self.raft_dir = self.dir / "raft"
        self.runtime_dir = self.dir / "run"
        fixed = netns is not None  # A host of its own: the usual ports.
        self.raft_port = 7400 if fixed else free_port()
        self.api_port = 8008 if fixed else free_port()
        self.pg_port = 5432 if fixed else free_port()
        self.process = None
        self.program = BUILD / "src/veched"
        self.log_path = self.dir / "veched.log"
        self.env = {}
        self.cgroup = None  # The agent is started in it.
        self.unprivileged = bool(os.environ.get("VECHE_UNPRIVILEGED"))
        self.ended_with = []  # Exit codes of agents that were started anew since.
        self.overrides = {}  # Dotted key -> value, for tests of odd configurations.
        for directory in (self.dir, self.data_dir.parent):
            directory.mkdir()
            directory.chmod(0o755)
            if os.geteuid() == 0:
                user = pwd.getpwnam("postgres")
                os.chown(directory, user.pw_uid, user.pw_gid)

    # -- configuration

    def config(self):
        c = {
            "scope": self.cluster.scope,
            "name": self.name,
            "runtime_dir": str(self.runtime_dir),
            "raft": {
                "self_addr": f"{self.host}:{self.raft_port}",
                "partner_addrs": [
                    f"{n.host}:{n.raft_port}" for n in self.cluster.nodes.values() if n is not self
                ],
                "data_dir": str(self.raft_dir),
                "password": self.cluster.secret,
            },
            "restapi": {
                "listen": f"{self.host}:{self.api_port}",
                "connect_address": f"{self.host}:{self.api_port}",
            },
        }
        if self.witness:
            c["mode"] = "witness"
        else:
            c["bootstrap"] = {
                "dcs": self.cluster.dcs,
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, "data-checksums"],
            }
            c["postgresql"] = {
                "listen": f"{self.host}:{self.pg_port}",
                "connect_address": f"{self.host}:{self.pg_port}",
                "data_dir": str(self.data_dir),
                "bin_dir": str(PG_BIN),
                "pgpass": str(self.dir / "pgpass"),
                "authentication": {
                    "superuser": {"username": "postgres", "password": SUPERUSER_PASSWORD},
                    "replication": {"username": "replicator", "password": "repl secret"},
                    "rewind": {"username": "rewinder", "password": "rewind secret"},
                },
                "pg_hba": [
                    "local all all scram-sha-256",
                    "host all all 0.0.0.0/0 scram-sha-256",
                    "host replication replicator 0.0.0.0/0 scram-sha-256",
                ],
                "parameters": {
                    "unix_socket_directories": str(self.dir),
                    "shared_buffers": "16MB",
                    "max_connections": 50,
                    "fsync": "on",
                },
            }
        for key, value in self.overrides.items():
            section = c
            *path, last = key.split(".")
            for part in path:
                section = section.setdefault(part, {})
            if value is None:
                section.pop(last, None)
            else:
                section[last] = value
        return c

    @property
    def config_path(self):
        return self.dir / "veche.yml"

    def write_config(self):
        # JSON is YAML, and needs no library to write.
        self.config_path.write_text(json.dumps(self.config(), indent=2), encoding="utf-8")

    # -- processes

    def start(self):
        assert not self.running
        if self.process is not None:
            self.ended_with.append(self.process.returncode)
        self.write_config()
        env = dict(self.env)
        preload = env.pop("LD_PRELOAD", None)
        command = [str(self.program), str(self.config_path)]
        if preload:  # Into the agent, not into what comes before it.
            command = ["env", f"LD_PRELOAD={preload}"] + command
        if self.unprivileged:
            command = [str(pathlib.Path(__file__).with_name("unprivileged.sh"))] + command
        if self.netns:
            command = ["ip", "netns", "exec", self.netns] + command
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=self.enter_cgroup if self.cgroup is not None else None,
                # A PATH as systemd gives it: nothing of PostgreSQL is found by chance.
                env={
                    **os.environ,
                    **sanitizer_options(self.dir / "sanitizer"),
                    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                    "VECHE_TEST_NODE": f"{self.dir}/",  # Inherited: the reaper looks for it.
                    **env,
                },
            )

    def enter_cgroup(self):
        (self.cgroup / "cgroup.procs").write_text("0")

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill_agent(self):
        """SIGKILL of the agent alone; PostgreSQL goes on until the guard freezes it."""
        if self.running:
            self.process.kill()
            self.process.wait()

    def kill_postgres(self):
        for _ in range(100):
            pids = processes_of(self.data_dir)
            if not pids:
                return
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        raise AssertionError(f"processes of {self.data_dir} do not die")

    def guard_pid(self):
        """Of its guard: there is one."""
        (pid,) = guards_of(self.runtime_dir)
        return pid

    def kill_guard(self):
        for pid in guards_of(self.runtime_dir):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait(lambda: not guards_of(self.runtime_dir), 30, "the end of the guard")

    def kill(self):
        """SIGKILL of everything of this node, as at once as can be."""
        agent = [self.process] if self.running else []
        for pid in [p.pid for p in agent] + guards_of(self.runtime_dir):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)  # No reaction in between.
        self.kill_postgres()
        for process in agent:
            process.kill()
            process.wait()
        self.kill_guard()
        self.kill_postgres()

    def stop(self, seconds=60):
        """SIGTERM, as systemd would."""
        self.process.terminate()
        return self.process.wait(seconds)

    def postmaster_pid(self):
        return int((self.data_dir / "postmaster.pid").read_text(encoding="utf-8").split()[0])

    def log(self):
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def crashes(self):
        """What sanitizers said of its agents, their guards and commands, and agents that
        ended as no agent may."""
        last = [self.process.poll()] if self.process is not None else []
        codes = [c for c in [*self.ended_with, *last] if c in CRASHES]
        reports = [p.read_text(errors="replace") for p in sorted(self.dir.glob("sanitizer.*"))]
        return reports + [f"the agent of {self.name} ended with {c}" for c in codes]

    # -- what it says

    def http(self, path, method="GET", body=None, headers=None, timeout=60):
        request = urllib.request.Request(
            f"http://{self.host}:{self.api_port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers=headers or {},
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as r:
                return Reply(r.status, r.headers, r.read())
        except urllib.error.HTTPError as error:
            return Reply(error.code, error.headers, error.read())

    def status(self):
        return self.http("/patroni", timeout=5).json

    def metric(self, name):
        for line in self.http("/metrics", timeout=5).text.splitlines():
            if line.startswith(name + "{"):
                return float(line.rpartition(" ")[2])
        raise KeyError(name)

    def is_primary(self):
        try:
            return self.http("/primary", timeout=5).status == 200
        except OSError:
            return False

    def ctl(self, *args, check=True, timeout=90):
        r = subprocess.run(
            [str(BUILD / "src/vechectl"), "-c", str(self.config_path), *args],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**os.environ, **sanitizer_options(self.dir / "sanitizer")},
        )
        if check and r.returncode != 0:
            raise AssertionError(f"vechectl {args}: {r.returncode}: {r.stdout}{r.stderr}")
        return r

    # -- SQL

    def dsn(self, **more):
        options = {
            "host": self.host,
            "port": self.pg_port,
            "user": "postgres",
            "password": SUPERUSER_PASSWORD,
            "dbname": "postgres",
            "connect_timeout": 3,
            **more,
        }
        return " ".join(f"{k}='{v}'" for k, v in options.items())

    def sql(self, statement, *args):
        connection = psycopg2.connect(self.dsn())
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, args or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def sql_value(self, statement, *args):
        return self.sql(statement, *args)[0][0]


class Watch(threading.Thread):
    """Asks all the time who is primary: never two at one moment (S1), whatever the test
    is about. One that says so with the same epoch before and after another one said so
    was primary at that moment as well."""

    def __init__(self, nodes):
        super().__init__(daemon=True)
        self.nodes = nodes
        self.found = []
        self.stopping = threading.Event()

    def run(self):
        while not self.stopping.wait(0.2):
            self.look()

    def look(self):
        epochs = {node.name: self.epoch_of(node) for node in self.nodes}
        primaries = [n for n in self.nodes if epochs[n.name] is not None]
        for earlier in primaries[:-1]:
            if self.epoch_of(earlier) == epochs[earlier.name]:
                self.found.append(f"two primaries at one moment, with their epochs: {epochs}")

    @staticmethod
    def epoch_of(node):
        """Of a node that is primary; None of any other."""
        try:
            reply = node.http("/primary", timeout=1)
            return reply.json["veche"]["epoch"] if reply.status == 200 else None
        except Exception:  # No answer, or half of one: it is being killed.
            return None


def mount_memory(place):
    """PostgreSQL's directories are made and copied hundreds of times: their fsyncs are
    what the tests would wait for. Raft's are on the disk. VECHE_TEST_DISK=1: both are."""
    if os.environ.get("VECHE_TEST_DISK") or os.geteuid() != 0:
        return False
    return subprocess.run(("mount", "-t", "tmpfs", "-o", "mode=755", "veche", place), check=False).returncode == 0


class Cluster:
    """Nodes by name. `with Cluster(...) as c:` starts nothing by itself."""

    def __init__(self, names=("pg1", "pg2", "w1"), dcs=None, scope="test", place=None):
        private_memory()
        parent = os.environ.get("VECHE_TEST_DIR", "/tmp")
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="veche-test-", dir=place or parent))
        self.dir.chmod(0o755)
        reaper.add("dir", self.dir)
        self.pg_dir = self.dir / "pg"
        self.pg_dir.mkdir()
        self.pg_dir.chmod(0o755)
        self.in_memory = place is None and not os.environ.get("VECHE_KEEP") and mount_memory(self.pg_dir)
        self.scope = scope
        self.secret = "secret " + os.urandom(12).hex()
        self.dcs = {
            "ttl": TTL,
            "loop_wait": 1,
            "retry_timeout": 1,
            "maximum_lag_on_failover": 1048576,
            **(dcs or {}),
        }
        self.nodes = {}
        self.names = names
        self.watch = None
        self.failed = False  # Set by the fixture, so that the logs are shown.

    def make_nodes(self, **options):
        for name in self.names:
            self.nodes[name] = Node(self, name, witness=name.startswith("w"), **options)

    def __enter__(self):
        if not self.nodes:
            self.make_nodes()
        return self

    def __exit__(self, kind, value, trace):
        if self.watch is not None:
            self.watch.stopping.set()
        for node in self.nodes.values():
            with contextlib.suppress(Exception):
                node.kill()
        wrong = [text for node in self.nodes.values() for text in node.crashes()]
        wrong += self.watch.found if self.watch is not None else []
        failed = self.failed or kind is not None or bool(wrong)
        if failed:
            self.print_logs()
        if failed and os.environ.get("VECHE_KEEP"):
            print(f"kept: {self.dir}")
        else:
            if self.in_memory:
                subprocess.run(("umount", "--lazy", self.pg_dir), check=False)
            shutil.rmtree(self.dir, ignore_errors=True)
        reaper.drop("dir", self.dir)
        if wrong and kind is None:
            raise AssertionError("found beside the test:\n" + "\n".join(wrong))

    def print_logs(self, lines=60):
        for node in self.nodes.values():
            if node.log_path.exists():
                print(f"---- {node.name}")
                print("\n".join(node.log().splitlines()[-lines:]))

    def __getitem__(self, name):
        return self.nodes[name]

    @property
    def postgres_nodes(self):
        return [n for n in self.nodes.values() if not n.witness]

    def start(self):
        for node in self.nodes.values():
            node.start()
        if self.watch is None and len(self.postgres_nodes) > 1:
            self.watch = Watch(self.postgres_nodes)
            self.watch.start()

    def start_and_wait(self, seconds=120):
        self.start()
        return self.wait_healthy(seconds)

    # -- what is so

    def primary(self):
        found = [n for n in self.postgres_nodes if n.running and n.is_primary()]
        assert len(found) <= 1, f"more than one primary: {[n.name for n in found]}"
        return found[0] if found else None

    def standbys(self):
        primary = self.primary()
        return [n for n in self.postgres_nodes if n is not primary]

    def wait_primary(self, seconds=60, other_than=None):
        def new_primary():
            p = self.primary()
            return p if p is not None and p is not other_than else None

        return wait(new_primary, seconds, "a primary")

    def wait_healthy(self, seconds=120):
        """A writable primary, every other running PostgreSQL node streams from it, and
        every running agent has heard so."""

        def healthy():
            primary = self.primary()
            if primary is None:
                return None
            standbys = [n for n in self.postgres_nodes if n.running and n is not primary]
            states = {n.name: "streaming" for n in standbys} | {primary.name: "running"}
            streams = all(n.status().get("replication_state") == "streaming" for n in standbys)
            heard = all(sees(n, states, primary) for n in self.nodes.values() if n.running)
            return primary if streams and heard else None

        def sees(node, states, primary):
            members = {m["name"]: m for m in node.http("/cluster", timeout=5).json["members"]}
            return members[primary.name]["role"] == "leader" and all(
                members[name]["state"] == state for name, state in states.items()
            )

        return wait(healthy, seconds, "a primary with all standbys streaming")


class Writer(threading.Thread):
    """Writes numbered rows through whoever is primary; remembers each acknowledgement.

    Connects to all nodes with target_session_attrs=read-write unless pinned.
    """

    def __init__(self, nodes, table="rows", pause=0.005, pinned=None, first=1):
        super().__init__(daemon=True)
        self.nodes, self.table, self.pause = list(nodes), table, pause
        self.pinned = pinned
        self.acknowledged = []  # (id, sent, received)
        self.errors = 0
        self.stopping = threading.Event()
        self.next_id = first

    def dsn(self):
        nodes = [self.pinned] if self.pinned else self.nodes
        return (
            f"host={','.join(n.host for n in nodes)} port={','.join(str(n.pg_port) for n in nodes)} "
            f"user=postgres password='{SUPERUSER_PASSWORD}' dbname=postgres connect_timeout=2 "
            "target_session_attrs=read-write tcp_user_timeout=2000 keepalives_idle=1 "
            "keepalives_interval=1 keepalives_count=2"
        )

    def prepare(self):
        with contextlib.closing(psycopg2.connect(self.dsn())) as c:
            c.autocommit = True
            with c.cursor() as cursor:
                cursor.execute(
                    f"create table if not exists {self.table} (id bigint primary key, node int)"
                )

    def run(self):
        connection = None
        while not self.stopping.is_set():
            try:
                if connection is None:
                    connection = psycopg2.connect(self.dsn())
                    connection.autocommit = True
                number = self.next_id
                self.next_id += 1
                sent = time.monotonic()
                with connection.cursor() as cursor:
                    cursor.execute(
                        f"insert into {self.table} values (%s, inet_server_port())", (number,)
                    )
                self.acknowledged.append((number, sent, time.monotonic()))
                self.stopping.wait(self.pause)
            except psycopg2.Error:
                self.errors += 1
                if connection is not None:
                    with contextlib.suppress(Exception):
                        connection.close()
                    connection = None
                self.stopping.wait(0.01)
        if connection is not None:
            connection.close()

    def stop(self):
        self.stopping.set()
        self.join(30)
        assert not self.is_alive(), "the writer hangs"

    def longest_gap(self, since=0.0):
        """Longest time between two acknowledgements, in seconds."""
        times = [t for _, _, t in self.acknowledged if t >= since]
        assert len(times) >= 2, "no two acknowledgements to measure between"
        return max(b - a for a, b in zip(times, times[1:]))

    def missing(self, node):
        there = {row[0] for row in node.sql(f"select id from {self.table}")}
        return sorted(n for n, _, _ in self.acknowledged if n not in there)

    def wait_rows(self, more, seconds=60):
        start = len(self.acknowledged)
        wait(lambda: len(self.acknowledged) >= start + more, seconds, f"{more} more rows")


class PipelineWriter(threading.Thread):
    """Inserts numbered rows with many statements in flight, each a transaction.

    In libpq's pipeline mode a statement commits at its own Sync. The server sends the
    statement's result before, so the answer to the Sync is the acknowledgement.
    """

    DEPTH = 32

    def __init__(self, node, table="pipelined"):
        super().__init__(daemon=True)
        self.node, self.table = node, table
        self.next_id = 1
        self.acknowledged = []
        self.unanswered = []  # For each connection that broke: how many were in flight.
        self.stopping = threading.Event()

    def prepare(self):
        self.node.sql(f"create table {self.table} (id bigint primary key)")

    def run(self):
        while not self.stopping.is_set():
            connection = pq.PGconn.connect(self.node.dsn().encode())
            if connection.status == pq.ConnStatus.OK:
                self._insert(connection)
            connection.finish()
            self.stopping.wait(0.05)

    def _insert(self, connection):
        """Until the connection breaks or the test ends."""
        connection.nonblocking = 1
        connection.enter_pipeline_mode()
        in_flight = collections.deque()
        try:
            while in_flight or not self.stopping.is_set():
                self._send(connection, in_flight)
                writable = [connection.socket] if connection.flush() else []
                select.select([connection.socket], writable, [], 1)
                connection.consume_input()
                self._receive(connection, in_flight)
        except psycopg.OperationalError:
            self.unanswered.append(len(in_flight))

    def _send(self, connection, in_flight):
        statement = f"insert into {self.table} values ($1)".encode()
        while len(in_flight) < self.DEPTH and not self.stopping.is_set():
            connection.send_query_params(statement, [b"%d" % self.next_id])
            connection.pipeline_sync()
            in_flight.append(self.next_id)
            self.next_id += 1

    def _receive(self, connection, in_flight):
        """A result, none as a separator, then the answer to the Sync; again."""
        while in_flight and not connection.is_busy():
            result = connection.get_result()
            if result is None:
                continue
            if result.status == pq.ExecStatus.PIPELINE_SYNC:
                self.acknowledged.append(in_flight.popleft())
            elif result.status != pq.ExecStatus.COMMAND_OK:
                raise psycopg.OperationalError(result.error_message.decode())

    def stop(self):
        self.stopping.set()
        self.join(30)
        assert not self.is_alive(), "the pipelining writer hangs"

    def wait_rows(self, more, seconds=60):
        start = len(self.acknowledged)
        wait(lambda: len(self.acknowledged) >= start + more, seconds, f"{more} more rows")

    def missing(self, node):
        there = {row[0] for row in node.sql(f"select id from {self.table}")}
        return sorted(set(self.acknowledged) - there)
