"""Wrong configurations, foreign directories, taken ports, killed agents.

After each of them: a clear message, a known exit code or an agent that goes on,
no crash, and not a byte of somebody's data changed.
"""

import contextlib
import hashlib
import os
import pathlib
import pwd
import socket
import subprocess
import time

import psycopg2
import pytest

from veche import (
    BUILD,
    PG_BIN,
    TTL,
    Cluster,
    Writer,
    free_port,
    processes_of,
    run_as_postgres,
    wait,
)

CONFIG, IDENTITY, BIND = 64, 65, 66  # include/veche/exitcode.h


# ---- Helpers


def content_of(directory):
    """Every path below with its kind, owner, mode and content."""
    found = {}
    for path in sorted(pathlib.Path(directory).rglob("*")):
        st = path.lstat()
        digest = ""
        if path.is_symlink():
            digest = os.readlink(path)
        elif path.is_file():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        found[str(path.relative_to(directory))] = (st.st_mode, st.st_uid, st.st_gid, digest)
    return found


def changed_data(before, after):
    """Paths of the database that differ; not the configuration the agent writes."""
    ours = ("base/", "global/", "pg_wal/", "pg_xact/", "pg_multixact/", "pg_tblspc/", "PG_VERSION")
    return {
        p
        for p in before.keys() | after.keys()
        if p.startswith(ours) and before.get(p) != after.get(p)
    }


def give_to_postgres(path):
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        for p in [path, *path.rglob("*")]:
            os.chown(p, user.pw_uid, user.pw_gid, follow_symlinks=False)


def ends_with(node, code, *parts, seconds=60):
    """The agent ends by itself with this code and says why."""
    assert node.process.wait(seconds) == code, node.log()
    why = next((x for x in node.log().splitlines() if "Cannot start" in x), "").lower()
    for part in parts:
        assert part.lower() in why, (part, node.log())
    assert_no_crash(node)


def says(node, *parts, seconds=60):
    """One line of its log holds all of these; the agent goes on."""

    def line():
        assert node.running, f"exit code {node.process.returncode}: {node.log()}"
        lines = node.log().splitlines()
        return next((x for x in lines if all(p.lower() in x.lower() for p in parts)), None)

    return wait(line, seconds, f"{node.name} says {parts}")


def assert_no_crash(node):
    log = node.log()
    for sign in ("Assertion", "assertion failed", "Sanitizer", "runtime error"):
        assert sign not in log, log
    for directory in (node.dir, node.raft_dir, node.runtime_dir, node.data_dir):
        assert not list(directory.glob("core*")), directory


def problem_of(node):
    assert node.running, f"exit code {node.process.returncode}: {node.log()}"
    return node.status()["veche"].get("problem", "")


def shows(node, part, seconds=60):
    """Its status and its log tell the problem in these words; the agent goes on."""
    says(node, 'problem="', part, seconds=seconds)
    return wait(
        lambda: part in problem_of(node) and problem_of(node),
        seconds,
        f"{node.name} shows {part!r}",
    )


@contextlib.contextmanager
def taken(port, host="127.0.0.1"):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((host, port))
        s.listen()
        yield


def initdb(directory):
    subprocess.run(
        [str(PG_BIN / "initdb"), "-D", str(directory), "-U", "postgres", "-N", "-A", "trust"],
        check=True,
        capture_output=True,
        cwd="/tmp",
        **run_as_postgres(),
    )


def sysid_of(directory):
    text = subprocess.run(
        [str(PG_BIN / "pg_controldata"), str(directory)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
        cwd="/tmp",
        **run_as_postgres(),
    ).stdout
    return next(x.split()[-1] for x in text.splitlines() if x.startswith("Database system ident"))


@pytest.fixture
def lonely():
    """A cluster of which only pg1 is ever started."""
    with Cluster() as c:
        yield c
        for node in c.nodes.values():
            if node.log_path.exists():
                assert_no_crash(node)


@pytest.fixture(scope="module")
def three(request):
    """Two PostgreSQL nodes and a witness; each test leaves them healthy."""
    with Cluster() as c:
        c.start_and_wait()
        before = request.session.testsfailed
        yield c
        c.failed = request.session.testsfailed > before


@pytest.fixture
def standby(three):
    """The standby, stopped; started again afterwards with its right configuration and data."""
    node = three.standbys()[0]
    primary = three.primary()
    epoch = primary.status()["veche"]["epoch"]
    assert node.stop() == 0
    node.log_path.write_bytes(b"")
    yield node
    node.kill()
    assert_no_crash(node)
    node.overrides.clear()
    # Whatever happened to this node, the primary was not disturbed by it.
    assert three.primary() is primary
    assert primary.status()["veche"]["epoch"] == epoch
    node.start()
    three.wait_healthy()


# ---- Configuration


@pytest.mark.parametrize(
    "text, where, part",
    [
        ("scope: [a\n", "2:1", "not valid YAML"),
        ("\tscope: a\n", "1:1", ""),
        ("scope: a\nname: n\nttl: \"\\q\"\n", "3:", ""),
        ("\x00\x01\x02\xff\xfe", "1:1", ""),
        ("- a\n- b\n", "1:1", ""),
        ("scope: a\nname: n\nraft:\n  self_addr: 5\n", "4:3", "raft.self_addr"),
        ("scope: a\nname: n\nrestapi:\n  listen: [1]\n", "4:3", "restapi.listen"),
        ("", "1:1", "missing"),
    ],
)
def test_garbage_in_the_configuration_is_told_with_its_place(tmp_path, text, where, part):
    path = tmp_path / "bad.yml"
    path.write_bytes(text.encode("latin-1"))
    for args in ([str(path)], ["--validate-config", str(path)]):
        r = subprocess.run(
            [str(BUILD / "src/veched"), *args], capture_output=True, text=True, timeout=30
        )
        assert r.returncode == CONFIG, r
        assert f"{path}:{where}" in r.stderr and part in r.stderr, r.stderr
        assert r.stdout == ""


def check(text, path, *flags):
    path.write_text(text, encoding="utf-8")
    r = subprocess.run([str(BUILD / "src/veched"), "--validate-config", *flags, str(path)],
                       capture_output=True, text=True, timeout=30, check=False)
    assert (r.returncode, r.stdout) == (CONFIG, ""), r
    return r.stderr.splitlines()


def test_every_error_of_a_configuration_is_told(tmp_path):
    path = tmp_path / "bad.yml"
    assert check("name: a b\nmode: witness\nraft: {self_addr: none:x}\n", path) == [
        f'veched: {path}:1:1: name: not a name, got "a b", expected 1 to 63 ASCII letters, digits, '
        "- _ or .",
        f'veched: {path}:3:8: raft.self_addr: not an address, got "none:x", expected host:port '
        "([::1]:port for IPv6)",
        f"veched: {path}:1:1: scope: missing, expected a name",
    ]
    with socket.socket() as raft, socket.socket() as rest:
        for s in (raft, rest):
            s.bind(("127.0.0.1", 0))
            s.listen()
        lines = check(
            "name: w\nscope: s\nmode: witness\n"
            f"raft: {{self_addr: '127.0.0.1:{raft.getsockname()[1]}'}}\n"
            f"restapi: {{listen: '127.0.0.1:{rest.getsockname()[1]}', certfile: /none}}\n", path)
    for line, part in zip(lines, ("restapi.certfile: ", "raft.bind_addr: nobody can listen",
                                  "restapi.listen: nobody can listen"), strict=True):
        assert line.startswith("veched: ") and part in line


def test_files_that_are_named_are_looked_at(tmp_path):
    path = tmp_path / "bad.yml"
    text = (
        "name: n\nscope: s\nraft: {self_addr: 127.0.0.1}\n"
        "restapi: {http_extra_headers: {X Y: z}}\n"
        "watchdog: {mode: required, device: /none/watchdog}\n"
        "postgresql:\n  listen: 127.0.0.1\n  data_dir: /usr\n  pgpass: /none/pgpass\n"
        "  config_dir: /dev/null/etc/main\n  custom_conf: /none/my.conf\n  authentication:\n    replication: {username: r}\n"
        "    superuser: {username: p, sslkey: /none/key, sslrootcert: system, sslcert: ''}\n")
    assert check(text, path, "-i") == [f"veched: {path}:{line}" for line in (
        '4:11: restapi.http_extra_headers: "X Y" is no header of one line, expected name: value',
        "14:30: postgresql.authentication.superuser.sslkey: /none/key: No such file or directory, "
        "expected a file that the agent's user may read",
        "9:3: postgresql.pgpass: /none: No such file or directory, expected a directory in which "
        "the agent's user may write",
        "10:3: postgresql.config_dir: /dev/null/etc/main: Not a directory, expected a directory in "
        "which the agent's user may write",
        "11:3: postgresql.custom_conf: /none/my.conf: No such file or directory, expected a file "
        "to include: without it PostgreSQL does not start",
        "5:28: watchdog.device: /none/watchdog: No such file or directory, expected a device that "
        "the agent's user may write to: mode is required",
        "8:3: postgresql.data_dir: /usr is not empty and not a database: no PG_VERSION, expected a "
        "database, an empty directory or none",
    )]


@pytest.mark.parametrize("arguments, said", [
    ([], "no FILE, and no VECHE_* or PATRONI_* in the environment"),
    (["a", "b"], "expected one FILE or directory, got several"),
    (["-i", "a"], "-i, --ignore-listen-port goes with --validate-config alone"),
    (["--print", "a"], "-p, --print goes with --validate-config alone"),
    (["--dsn", "x", "a"], "--dsn goes with --generate-config alone"),
    (["--validate-config", "--print-config", "a"], "two things to do, expected one of"),
    (["--frobnicate"], "'--frobnicate'"),
])
def test_a_wrong_argument_is_named(arguments, said):
    r = subprocess.run([BUILD / "src/veched", *arguments], capture_output=True, text=True,
                       env={"PATH": os.environ["PATH"]})
    assert (r.returncode, r.stdout) == (2, "")
    assert said in r.stderr and "Try veched --help." in r.stderr


@pytest.mark.parametrize("text, said", [
    ("ctl: 5", "{path}: ctl: wrong type, expected a section: ignored"),
    ("ctl: {insecur: on}", "{path}: ctl.insecur: unknown key, ignored"),
    ("ctl: {insecure: maybe}", 'ctl.insecure: got "maybe", expected on or off: taken as off'),
    ("ctl: {authentication: {username: a}}",
     "ctl.authentication: only a username, expected username and password"),
    ("restapi: {connect_address: 'a:b:1'}",
     'restapi.connect_address: not an address, got "a:b:1", expected host:port'),
    ("ctl: {insecure: off, authentication: {username: a, password: b}}", None),
    ("restapi: {connect_address: 127.0.0.3}", None),
    ("restapi: {listen: 127.0.0.3}", None),
])
def test_a_mistake_in_the_configuration_of_vechectl_is_told(tmp_path, text, said):
    path = tmp_path / "ctl.yml"
    path.write_text(f"{text}\nruntime_dir: {tmp_path}\n", encoding="utf-8")  # Of no agent.
    url = [] if "127.0.0.3" in text else ["--url", "http://127.0.0.1:1"]
    r = subprocess.run([BUILD / "src/vechectl", "-c", path, *url, "list"], capture_output=True,
                       text=True, timeout=60, env={"PATH": os.environ["PATH"]})
    warnings = [line for line in r.stderr.splitlines() if line.startswith("Warning")]
    assert warnings == ([f"Warning: {said.format(path=path)}"] if said else [])
    assert r.returncode == 4
    assert ("http://127.0.0.3:8008" in r.stderr) == ("127.0.0.3" in text)


def test_a_missing_configuration_is_told():
    r = subprocess.run(
        [str(BUILD / "src/veched"), "/nonexistent/veche.yml"], capture_output=True, text=True
    )
    assert r.returncode == CONFIG
    assert "/nonexistent/veche.yml" in r.stderr and "No such file" in r.stderr


# ---- Ports


@pytest.mark.parametrize("which", ["raft", "rest"])
def test_a_port_in_use_ends_the_agent(lonely, which):
    node = lonely["pg1"]
    port = node.raft_port if which == "raft" else node.api_port
    key = "raft." if which == "raft" else "restapi.listen"
    with taken(port):
        node.start()
        ends_with(node, BIND, key, f"127.0.0.1:{port}", "address already in use")
    assert not node.data_dir.exists()


def test_an_address_of_another_machine_ends_the_agent(lonely):
    node = lonely["pg1"]
    node.overrides["restapi.listen"] = "203.0.113.9:8008"
    node.start()
    ends_with(node, BIND, "restapi.listen", "203.0.113.9:8008", "cannot assign requested address")


def test_the_port_of_postgres_in_use_is_told_and_waited_for(three, standby):
    data = content_of(standby.data_dir)
    with taken(standby.pg_port):
        standby.start()
        says(standby, "FATAL", "could not create any TCP/IP sockets")
        assert standby.http("/patroni").status == 200
        shows(standby, "could not create any TCP/IP sockets")
        assert standby.http("/replica").status == 503
        assert changed_data(data, content_of(standby.data_dir)) == set()
    three.wait_healthy()  # As soon as the port is free, without anybody's help.


# ---- Directories


def unwritable(path):
    path.mkdir()
    path.chmod(0o555)
    if os.geteuid() == 0:
        os.chown(path, 0, 0)
    return path


@pytest.mark.parametrize(
    "key, words, code",
    [("raft.data_dir", "raft.data_dir", IDENTITY), ("runtime_dir", "runtime directory", CONFIG)],
    ids=["raft", "runtime"],
)
def test_an_unwritable_directory_ends_the_agent(lonely, key, words, code):
    node = lonely["pg1"]
    parent = unwritable(node.dir / "locked")
    node.overrides[key] = str(parent / "below")
    node.start()
    ends_with(node, code, words, str(parent / "below"), "permission denied")
    assert list(parent.iterdir()) == []


def test_an_unwritable_parent_of_the_data_directory_is_told(three, standby):
    parent = unwritable(standby.dir / "locked")
    standby.overrides["postgresql.data_dir"] = str(parent / "data")
    standby.start()
    says(standby, "ermission denied", str(parent))
    assert standby.http("/patroni").status == 200
    assert list(parent.iterdir()) == []


def test_a_raft_directory_in_use_ends_the_second_agent(three):
    node = three.standbys()[0]
    config = node.dir / "second.yml"
    text = node.config_path.read_text(encoding="utf-8")
    for port in (node.raft_port, node.api_port):
        text = text.replace(str(port), str(free_port()))
    config.write_text(text, encoding="utf-8")
    r = subprocess.run(
        [str(BUILD / "src/veched"), str(config)], capture_output=True, text=True, timeout=30
    )
    assert r.returncode == IDENTITY, r
    assert str(node.raft_dir) in r.stdout + r.stderr
    three.wait_healthy()
    assert node.ctl("list").returncode == 0  # Its unix socket is still its own.


@pytest.mark.parametrize("key, other", [("scope", "elsewhere"), ("name", "pg9")])
def test_the_raft_directory_of_another_node_or_cluster_is_refused(three, standby, key, other):
    raft = content_of(standby.raft_dir)
    own = three.scope if key == "scope" else standby.name
    standby.overrides[key] = other
    standby.start()
    ends_with(standby, IDENTITY, str(standby.raft_dir), f'"{own}"', f'"{other}"')
    assert content_of(standby.raft_dir) == raft


def test_files_that_are_not_postgresqls_are_left_alone(three, standby):
    foreign = standby.dir / "precious"
    (foreign / "photos").mkdir(parents=True)
    (foreign / "photos/one.jpg").write_bytes(os.urandom(1000))
    (foreign / "letter.txt").write_text("keep me", encoding="utf-8")
    give_to_postgres(foreign)
    before = content_of(foreign)
    standby.overrides["postgresql.data_dir"] = str(foreign)
    standby.start()
    says(standby, "rule=foreign-files")
    shows(standby, "not a database")
    wait(lambda: standby.http("/replica").status == 503, 60, "an answer")
    assert content_of(foreign) == before
    assert standby.stop() == 0
    assert content_of(foreign) == before


def test_the_data_directory_of_another_cluster_is_left_alone(three, standby):
    foreign = standby.dir / "foreign"
    initdb(foreign)
    before = content_of(foreign)
    standby.overrides["postgresql.data_dir"] = str(foreign)
    standby.start()
    ours = three.primary().status()["database_system_identifier"]
    says(standby, "rule=foreign-database", sysid_of(foreign), ours)
    wait(
        lambda: standby.status()["database_system_identifier"] == sysid_of(foreign),
        60,
        "its status to say whose it is",
    )
    assert processes_of(foreign) == []
    assert standby.stop() == 0
    assert content_of(foreign) == before


@pytest.mark.parametrize(
    "version, part",
    [
        ("14", "is of PostgreSQL 14"),
        ("14", "set postgresql.bin_dir to the programs of 14"),
        ("9.6", "no PG_VERSION"),
        ("99", "PostgreSQL 99"),
    ],
)
def test_a_data_directory_of_another_major_version_is_left_alone(three, standby, version, part):
    path = standby.data_dir / "PG_VERSION"
    own = path.read_text(encoding="utf-8")
    before = content_of(standby.data_dir)
    path.write_text(version + "\n", encoding="utf-8")
    try:
        standby.start()
        shows(standby, part)
        assert standby.http("/replica").status == 503
        assert standby.stop() == 0
    finally:
        path.write_text(own, encoding="utf-8")
    assert changed_data(before, content_of(standby.data_dir)) == set()


def test_missing_binaries_are_told(three, standby):
    data = content_of(standby.data_dir)
    nowhere = standby.dir / "no-such-bin"
    standby.overrides["postgresql.bin_dir"] = str(nowhere)
    standby.start()
    wait(
        lambda: not standby.running or str(nowhere) in standby.log(), 60, "a word of the directory"
    )
    if standby.running:
        assert standby.http("/patroni").status == 200
        assert standby.stop() == 0
    else:
        assert standby.process.returncode == CONFIG
    assert changed_data(data, content_of(standby.data_dir)) == set()


# ---- Passwords


def test_a_wrong_superuser_password_of_a_standby_is_told(three, standby, report):
    standby.overrides["postgresql.authentication"] = {
        **standby.config()["postgresql"]["authentication"],
        "superuser": {"username": "postgres", "password": "wrong"},
    }
    standby.start()
    report(f"it says: {shows(standby, 'password authentication failed')}")
    assert standby.http("/patroni").status == 200
    # PostgreSQL itself is fine and follows.
    primary = three.primary()
    wait(
        lambda: primary.sql_value("select count(*) from pg_stat_replication") == 1,
        60,
        "the standby to stream",
    )
    assert standby.running


def test_a_standby_with_a_wrong_replication_password_is_not_ready(three, standby):
    """The agent says that it does not stream, why, and what to look at."""
    standby.overrides["postgresql.authentication"] = {
        **standby.config()["postgresql"]["authentication"],
        "replication": {"username": "replicator", "password": "wrong"},
    }
    standby.start()
    name = three.primary().name
    shows(
        standby,
        f'does not stream from {name}: password authentication failed for user "replicator": '
        "check postgresql.authentication.replication",
    )
    wait(lambda: "not streaming" in standby.http("/readiness").text, 30, "the agent to see it")
    assert standby.http("/readiness").status == 503
    assert "replication_state" not in standby.status()

    def known_state():
        members = three.primary().http("/cluster").json["members"]
        return next(m["state"] for m in members if m["name"] == standby.name)

    wait(lambda: known_state() == "running", 30, "it to be listed so, not as streaming")
    assert standby.running


# ---- The primary under pressure


def test_full_connections_do_not_demote_the_primary(three, report):
    primary = three.primary()
    epoch = primary.status()["veche"]["epoch"]
    pid = primary.postmaster_pid()
    held = []

    def fill():
        with contextlib.suppress(psycopg2.OperationalError):
            while True:
                held.append(psycopg2.connect(primary.dsn()))  # The reserved ones as well.
        return True

    def wait_two_leases():
        since = time.monotonic()
        wait(lambda: time.monotonic() - since > 2 * TTL, 60, "two leases to pass")

    try:
        fill()
        wait_two_leases()
        assert primary.is_primary()
        # A restarted agent has to connect anew, and somebody else took its place.
        n_held = len(held)
        primary.kill_agent()
        wait(lambda: fill() and len(held) > n_held, 10, "the place of the killed agent")
        primary.start()
        wait(lambda: primary.http("/liveness").status == 200, 60, "the agent to answer")
        wait_two_leases()
        status = primary.status()
        report(
            f"{len(held)} connections held; the restarted agent says: state {status['state']}, "
            f"problem {status['veche'].get('problem')!r}; /primary "
            f"{primary.http('/primary').status}"
        )
        assert primary.postmaster_pid() == pid
        assert status["veche"]["epoch"] == epoch
    finally:
        for connection in held:
            connection.close()
    assert three.wait_healthy() is primary
    assert primary.postmaster_pid() == pid
    assert primary.status()["veche"]["epoch"] == epoch


def test_a_killed_agent_that_is_back_within_the_lease_is_not_noticed(three, report):
    for role, node in (("primary", three.primary()), ("standby", three.standbys()[0])):
        primary = three.primary()
        epoch = primary.status()["veche"]["epoch"]
        pid = node.postmaster_pid()
        writer = Writer(three.postgres_nodes, table=f"restarts_{role}")
        writer.prepare()
        writer.start()
        writer.wait_rows(50)
        since = time.monotonic()
        for _ in range(2):
            killed = time.monotonic()
            node.kill_agent()
            node.start()
            if role == "primary":
                wait(node.is_primary, 60, "the lease to be taken up again")
                back = time.monotonic() - killed
            else:
                wait(lambda: node.http("/replica").status == 200, 60, "the standby to answer")
                back = time.monotonic() - killed
            report(f"agent of the {role} back after {back:.2f} s (ttl {TTL} s)")
            seen = time.monotonic()
            wait(lambda: time.monotonic() - seen > TTL, 60, "a lease to pass")
            assert node.postmaster_pid() == pid
        errors = writer.errors
        writer.stop()
        report(f"longest gap between writes {writer.longest_gap(since):.3f} s, {errors} errors")
        assert errors == 0
        assert three.primary() is primary
        assert primary.status()["veche"]["epoch"] == epoch
        assert writer.missing(primary) == []
        three.wait_healthy()
