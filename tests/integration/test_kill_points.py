"""Every row of every step table, interrupted (S5).

A point is a row and a moment: right before its `run`, right after it, when what
the row does is under way. There the agent stops itself (src/ops/op_stop_point.c);
then the agent alone, or all that runs on the node, gets SIGKILL, and is started
again. Each time the cluster converges: one primary, everybody streams, every row
is there, and nothing half made was ever started.

The rows come from the program (`test_ops_table --print`), so a new row is covered
as it is added, and a sequence that no scenario here drives is a failure.

By default each row is interrupted once, in turns before or after and agent or
node; VECHE_KILL_POINTS=all takes the full product and VECHE_KILL_RANDOM=N kills
at N random moments (VECHE_KILL_SEED repeats them).
"""

import contextlib
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import threading
import time

import psycopg2
import pytest

from veche import (
    BUILD,
    PG_BIN,
    Cluster,
    command_line,
    guards_of,
    is_frozen,
    processes_of,
    run_as_postgres,
    wait,
)

SEED = int(os.environ.get("VECHE_KILL_SEED", random.randrange(1 << 32)))
REMAKES = ("bootstrap", "clone", "rewind")  # What may follow on a directory that is marked.
# Rows that do something only where an operator's command makes the data directory.
OF_METHODS = {
    *(f"bootstrap: {step}" for step in (
        "method", "verify", "configure recovery", "arm recovery", "recover", "wait for recovery",
        "stop recovery",
    )),
    *(f"clone: {step}" for step in (
        "passwords", "verify", "ask position", "catch up", "unmark copy", "open",
    )),
}  # fmt: skip


# ---- Points


class Point:
    def __init__(self, row, when, who):
        self.row, self.when, self.who = row, when, who
        self.sequence, self.step = row.split(": ", 1)

    @property
    def name(self):
        return f"{self.row}: {self.when}"

    def __str__(self):
        return f"{self.row}, {self.when}, {self.who}".replace(" ", "-")


def rows():
    program = BUILD / "tests/unit/test_ops_table"
    r = subprocess.run([program, "--print"], capture_output=True, text=True, check=True)
    return r.stdout.splitlines()


def chosen_points():
    kinds = [(when, who) for who in ("agent", "node") for when in ("before", "after")]
    if os.environ.get("VECHE_KILL_POINTS") == "all":
        return [Point(row, *kind) for row in rows() for kind in kinds]
    return [Point(row, *kinds[i % len(kinds)]) for i, row in enumerate(rows())]


# ---- A node that stops where it is told


def stop_file(node):
    return node.dir / "stop-at"


def arm(node, point):
    stop_file(node).write_text(point.name, encoding="utf-8")
    if os.geteuid() == 0:
        st = node.dir.stat()
        os.chown(stop_file(node), st.st_uid, st.st_gid)


def state_of(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()[0]


def wait_stopped(node, point):
    wait(
        lambda: not stop_file(node).exists() and state_of(node.process.pid) == "T",
        60,
        f"{node.name} reaches {point.name}",
    )


def processes_of_node(node):
    """Whatever works for it: by what it was started with, or where it stands."""
    mark = str(node.dir).encode() + b"/"
    found = set(processes_of(node.data_dir))
    for entry in filter(str.isdigit, os.listdir("/proc")):
        line = command_line(entry)
        if mark in line and b"vechectl" not in line and state_of(entry) not in (None, "Z", "X"):
            found.add(int(entry))
    return found


def strays(node):
    """What works for it and is neither its agent, PostgreSQL nor its guard."""
    known = {*processes_of(node.data_dir), *guards_of(node.runtime_dir), node.process.pid}
    return processes_of_node(node) - known


def kill_node(node):
    """As a power cut would: nobody reacts to the end of another."""
    for signum in (signal.SIGSTOP, signal.SIGKILL):
        for _ in range(2):  # Who was forked meanwhile.
            for pid in processes_of_node(node):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signum)
    node.process.wait()
    wait(lambda: not processes_of_node(node), 60, f"{node.name} is dead")


def kill(node, who):
    if who == "node":
        kill_node(node)
    else:
        node.kill_agent()


def mark_of(node):
    return node.data_dir.parent / "data.veche-incomplete"


def is_marked_by(point):
    """Between these two rows the directory is no database, and must not look like one."""
    names = [row.split(": ", 1)[1] for row in rows() if row.startswith(point.sequence + ": ")]
    if "mark" not in names:
        return False
    last = "unmark"
    if point.row in OF_METHODS:  # Then the mark stays until it runs.
        last = "unmark copy" if point.sequence == "clone" else "unmark scripted"
    at, begin, end = names.index(point.step), names.index("mark"), names.index(last)
    return begin < at < end or (at == end and point.when == "before")


def check_start_after(node, log_offset, was_marked):
    """What was marked is made anew before anything is started from it."""
    text = node.log_path.read_bytes()[log_offset:].decode(errors="replace")
    begun = [s for s in re.findall(r"Sequence started\. sequence=(\S+)", text)
             if s not in ("fence", "clean-up", "stop")]
    if was_marked:
        assert begun and begun[0] in REMAKES, begun


# ---- Convergence


class Rows:
    """Numbered rows, each acknowledged and then seen on every standby."""

    def __init__(self, c):
        self.n = 0
        self.c = c
        c.primary().sql("create table if not exists kept (id bigint primary key, filler text)")

    def add(self, n=20):
        wait(lambda: self.insert(n), 120, "the primary to take rows")
        self.n += n
        self.wait_everywhere()

    def insert(self, n):
        """May be done again: on a busy machine a connection takes longer than it waits."""
        self.c.wait_primary().sql(
            "insert into kept select i, repeat('x', 200) from generate_series(%s, %s) i "
            "on conflict do nothing",
            self.n + 1,
            self.n + n,
        )
        return True

    def wait_everywhere(self):
        for node in self.c.postgres_nodes:
            wait(lambda node=node: self.are_on(node), 60, f"all {self.n} rows on {node.name}")

    def are_on(self, node):
        return node.sql("select count(*), max(id) from kept") == [(self.n, self.n or None)]


def wait_converged(c, kept):
    for node in c.nodes.values():
        assert node.running, f"{node.name} ended: {node.log()[-2000:]}"
    c.wait_healthy(90)
    for node in c.postgres_nodes:  # Not catching up any more, nothing under way.
        wait(
            lambda node=node: node.status()["veche"]["node_rule"] in ("primary", "standby"),
            60,
            f"{node.name} has nothing left to do",
        )
    # A switchover that was interrupted goes on: by now it may be another one.
    wait(
        lambda: not c.primary().sql_value("select pg_is_in_recovery()"),
        60,
        "a primary that takes writes",
    )
    kept.wait_everywhere()
    for node in c.postgres_nodes:
        assert not mark_of(node).exists(), f"{mark_of(node)} stays"
        # A fork that has not reached its exec yet looks like one for a moment.
        wait(lambda node=node: not strays(node), 60, f"nothing on {node.name} outlives its agent")


def assert_data_is_sound(c):
    """Checksums of every page, and the index against its table."""
    primary = c.primary()
    primary.sql("create extension if not exists amcheck")
    primary.sql("select bt_index_check('kept_pkey', true)")
    for node in c.postgres_nodes:  # One at a time: alone it would lose its lease meanwhile.
        assert node.stop(120) == 0, node.name
        r = subprocess.run(
            [str(PG_BIN / "pg_checksums"), "--check", "-D", str(node.data_dir)],
            capture_output=True,
            text=True,
            check=False,
            cwd="/tmp",
            **run_as_postgres(),
        )
        assert r.returncode == 0, r.stdout + r.stderr
        node.start()
        c.wait_healthy()


def new_cluster(names):
    c = Cluster(names=names, dcs={"ttl": 2})
    c.make_nodes()
    for node in c.nodes.values():
        node.env["VECHE_TEST_STOP_FILE"] = str(stop_file(node))
        for command in ("pre_promote", "before_stop"):  # Else their rows are never reached.
            node.overrides[f"postgresql.{command}"] = f"test -d {node.dir}/"
    return c


# ---- Scenarios: each arms a node, brings it to the point, and yields the victim


@contextlib.contextmanager
def clone(c, point):
    victim = random.choice(c.standbys())
    victim.kill()
    shutil.rmtree(victim.data_dir)
    arm(victim, point)
    victim.start()
    yield victim


@contextlib.contextmanager
def clone_by_method(c, point):
    victim = random.choice(c.standbys())
    victim.kill()
    shutil.rmtree(victim.data_dir)
    command = f'for a in "$@"; do case "$a" in --conn*) s=${{a#*=}};; esac; done; {PG_BIN}/pg_basebackup'
    command += f' --checkpoint=fast --no-password -D "{victim.data_dir}" -d "$s" #'
    victim.overrides |= {
        "postgresql.create_replica_methods": ["mine"],
        "postgresql.mine": {"command": command},
    }
    arm(victim, point)
    victim.start()
    yield victim
    for key in ("postgresql.create_replica_methods", "postgresql.mine"):
        del victim.overrides[key]  # Not its other commands, of which there are rows, too.


@contextlib.contextmanager
def start_standby(c, point):
    victim = random.choice(c.standbys())
    victim.kill()
    arm(victim, point)
    victim.start()
    yield victim


@contextlib.contextmanager
def restart_in_place(c, point):
    victim = c.primary()
    arm(victim, point)
    os.kill(victim.postmaster_pid(), signal.SIGKILL)
    yield victim


@contextlib.contextmanager
def dead_postmaster(c, point):
    """Leaves a busy backend behind, which does not notice by itself."""
    victim = c.primary()
    busy = psycopg2.connect(victim.dsn())
    with busy.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        pid = cursor.fetchone()[0]

    def count():
        with contextlib.suppress(psycopg2.Error), busy.cursor() as cursor:
            cursor.execute("select count(*) from generate_series(1, 1000000000)")

    threading.Thread(target=count, daemon=True).start()
    wait(
        lambda: victim.sql_value("select state from pg_stat_activity where pid = %s", pid)
        == "active",
        60,
        "the busy backend",
    )
    arm(victim, point)
    os.kill(victim.postmaster_pid(), signal.SIGKILL)
    yield victim


@contextlib.contextmanager
def switching_over(c, candidate, victim):
    """A switchover under way, asked for at a node that is not about to be killed."""
    asked = next(n for n in c.postgres_nodes if n is not victim)
    command = [
        str(BUILD / "src/vechectl"), "-c", str(asked.config_path),
        "switchover", "--leader", c.primary().name, "--candidate", candidate.name, "--force",
    ]  # fmt: skip
    asking = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        # Done, or refused because it was cut off: it does not stay pending.
        try:
            asking.wait(120)
        finally:
            asking.kill()
            asking.wait()


@contextlib.contextmanager
def demote(c, point):
    victim = c.primary()
    arm(victim, point)
    with switching_over(c, random.choice(c.standbys()), victim):
        yield victim


@contextlib.contextmanager
def leave(c, point):
    """The agent is told to stop, as systemd does."""
    victim = c.primary() if point.when == "before" else random.choice(c.standbys())
    arm(victim, point)
    victim.process.terminate()
    yield victim


@contextlib.contextmanager
def promote(c, point):
    victim = random.choice(c.standbys())
    arm(victim, point)
    with switching_over(c, victim, victim):
        yield victim


@contextlib.contextmanager
def follow(c, point):
    candidate = random.choice(c.standbys())
    victim = next(n for n in c.standbys() if n is not candidate)
    arm(victim, point)
    with switching_over(c, candidate, victim):
        yield victim


def freeze_primary(c):
    """The agents of all others hang; the guard of the primary freezes its PostgreSQL. One
    that gets no processor in time kills instead: then once more."""
    for _ in range(5):
        victim = c.primary()
        others = [n.process for n in c.nodes.values() if n is not victim]
        for process in others:
            process.send_signal(signal.SIGSTOP)
        wait(lambda v=victim: is_frozen(v) or not processes_of(v.data_dir), 60, "it is fenced")
        if is_frozen(victim):
            return victim, others
        for process in others:
            process.send_signal(signal.SIGCONT)
        c.wait_healthy(120)
    raise AssertionError("nothing was frozen in time")


@contextlib.contextmanager
def lose_the_lease(c, point):
    """Told to stop while its PostgreSQL is frozen the victim fences."""
    victim, others = freeze_primary(c)
    arm(victim, point)
    victim.process.terminate()
    try:
        yield victim
    finally:
        for process in others:
            process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def come_back_diverged(c, point):
    """A primary dies with WAL that nobody else has; another one is promoted."""
    victim = c.primary()
    senders = [
        pid
        for pid in processes_of(victim.data_dir)
        if b"walsender" in command_line(pid)
    ]
    assert len(senders) == 2
    for pid in senders:
        os.kill(pid, signal.SIGSTOP)
    victim.sql("create table if not exists lost (id int)")
    victim.sql("insert into lost select generate_series(1, 100)")
    kill_node(victim)
    c.wait_primary(60, other_than=victim)
    arm(victim, point)
    victim.start()
    yield victim


SCENARIOS = {
    "clone": [clone],
    "clone: copy": [clone, clone_by_method],
    **{row: [clone_by_method] for row in OF_METHODS},
    "rewind": [come_back_diverged],
    "start-standby": [start_standby],
    "start-primary": [restart_in_place],
    "clean-up": [dead_postmaster],
    "stop": [demote, leave],
    "pre-promote": [promote],
    "promote": [promote],
    "checkpoint": [promote],
    "follow": [follow],
    "follow: end receiver": [promote],  # Only who is to be promoted follows nobody.
    "fence": [lose_the_lease],
}


# ---- Tests


class Shared:
    """One cluster for many points; a new one after a failure."""

    def __init__(self):
        self.cluster = self.kept = None

    def get(self):
        if self.cluster is None:
            self.cluster = new_cluster(("pg1", "pg2", "pg3"))
            self.cluster.start_and_wait()
            self.kept = Rows(self.cluster)
        return self.cluster, self.kept

    def drop(self, failed):
        if self.cluster is not None:
            c, self.cluster = self.cluster, None
            c.failed = failed
            c.__exit__(None, None, None)


@pytest.fixture(scope="module")
def shared():
    s = Shared()
    yield s
    s.drop(False)


@pytest.fixture
def three(shared):
    try:
        c, kept = shared.get()
        kept.add()
        yield c, kept
    except BaseException:
        shared.drop(True)
        raise


@pytest.fixture(autouse=True)
def dropped_after_failure(request, shared):
    yield
    if getattr(request.node, "failed_in_call", False):
        shared.drop(True)


def interrupt(node, point):
    wait_stopped(node, point)
    kill(node, point.who)
    marked = mark_of(node).exists()
    if is_marked_by(point):
        assert marked, "what is half made looks like a database"
    return node.log_path.stat().st_size, marked


def points_but_bootstrap():
    return [p for p in chosen_points() if p.sequence != "bootstrap"]


def test_every_sequence_has_a_scenario():
    driven = set(SCENARIOS) | {"bootstrap"}
    assert set(rows()) >= OF_METHODS
    assert {row.split(": ", 1)[0] for row in rows()} <= driven


@pytest.mark.parametrize("point", points_but_bootstrap(), ids=str)
def test_a_row_interrupted_converges(three, point):
    c, kept = three
    scenarios = SCENARIOS.get(point.row) or SCENARIOS[point.sequence]
    for scenario in scenarios:
        for tries_left in (2, 1, 0):  # The guard may have killed what the agent was to kill.
            try:
                with scenario(c, point) as victim:
                    offset, marked = interrupt(victim, point)
                    victim.start()
                break
            except AssertionError as error:
                if point.sequence != "clean-up" or "reaches" not in str(error) or not tries_left:
                    raise
                wait_converged(c, kept)
        wait_converged(c, kept)
        check_start_after(victim, offset, marked)
        kept.add()


def restore(node):
    """Of a backup, with a recovery."""
    backup = node.dir / "backup"
    initdb = [str(PG_BIN / "initdb"), "-D", str(backup), "--no-sync", "--data-checksums"]
    subprocess.run(initdb, check=True, capture_output=True, cwd="/tmp", **run_as_postgres())
    return {
        "bootstrap.method": "mine",
        "bootstrap.mine": {
            "command": f'cp -a "{backup}/." "{node.data_dir}" #',
            "recovery_conf": {"restore_command": "false"},
        },
    }


@pytest.mark.parametrize(
    "point", [p for p in chosen_points() if p.sequence == "bootstrap"], ids=str
)
def test_a_bootstrap_interrupted_makes_one_database(point):
    """The witnesses make it quick: one PostgreSQL, and a majority without it."""
    with new_cluster(("pg1", "w1", "w2")) as c:
        victim = c["pg1"]
        victim.overrides["bootstrap.post_bootstrap"] = (
            f"{PG_BIN}/psql -Xqc 'create table if not exists by_script ()' -d"
        )
        if point.row in OF_METHODS:
            victim.overrides |= restore(victim)
        arm(victim, point)
        c.start()
        offset, marked = interrupt(victim, point)
        victim.start()

        primary = c.wait_primary(90)
        check_start_after(primary, offset, marked)
        kept = Rows(c)
        kept.add()
        assert primary.sql_value("select count(*) from by_script") == 0
        wait(lambda: not mark_of(primary).exists(), 60, "the mark to go")
        assert not (primary.data_dir.parent / "data.veche-secret").exists(), "a file with passwords stays"


@pytest.mark.parametrize("number", range(int(os.environ.get("VECHE_KILL_RANDOM", "2"))))
def test_a_random_moment_converges(three, number, report):
    c, kept = three
    chance = random.Random(SEED + number)
    scenario = chance.choice(sorted({s for many in SCENARIOS.values() for s in many},
                                    key=lambda s: s.__name__))
    who, delay = chance.choice(["agent", "node"]), chance.uniform(0, 3)
    report(f"seed {SEED} number {number}: {scenario.__name__}, {who}, after {delay:.3f} s")

    with scenario(c, Point("none: none", "never", who)) as victim:
        time.sleep(delay)  # The moment itself; nothing is waited for.
        if victim.running:
            kill(victim, who)
        victim.start()
    wait_converged(c, kept)


def test_the_data_of_every_node_is_sound_after_all_that(three):
    c, kept = three
    wait_converged(c, kept)
    assert_data_is_sound(c)


def test_a_copy_whose_agent_was_killed_leaves_nobody_behind(three):
    """pg_basebackup ends with its agent, its receiver of WAL does not by itself."""
    c, kept = three
    victim = c.standbys()[0]
    victim.kill()
    shutil.rmtree(victim.data_dir)
    victim.overrides["postgresql.basebackup"] = [{"max-rate": "1M"}]
    victim.start()
    wait(lambda: len(strays(victim)) == 2, 60, "a copy that takes long, and its receiver")
    victim.kill_agent()
    wait(lambda: len(strays(victim)) <= 1, 60, "pg_basebackup to end")
    left = strays(victim)  # None, if its connection was lost just then.

    del victim.overrides["postgresql.basebackup"]
    victim.start()
    wait_converged(c, kept)

    assert all(state_of(pid) in (None, "Z") for pid in left)
    # Before the next copy began; else it would have written into that.
    assert "Killing what an earlier agent left" in victim.log() or not left
    wait(
        lambda: c.primary().sql("select * from pg_replication_slots where temporary") == [],
        120,
        "its slot to go",
    )
