"""The agent and the guard go away, each in its way, under a client that writes.

A restarted agent goes on with what its guard attests (L2). One that stays away, or a guard
that does, costs the node its PostgreSQL in time: no write is acknowledged on it after
another node's first.
"""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from bare_guard import UNIFIED, VERSION
from proxy import Proxy
from reaper import reap_cgroup, reaper
from veche import (
    BUILD,
    TTL,
    Cluster,
    Writer,
    command_line,
    guards_of,
    is_frozen,
    processes_of,
    run_as_postgres,
    states_of,
    wait,
)

RESTARTS = int(os.environ.get("VECHE_RESTARTS", "20"))
KILL_AFTER = 4


@pytest.fixture
def pair(request):
    """Primary, standby, witness; what is frozen is killed after KILL_AFTER seconds."""
    with Cluster() as c:
        for node in c.postgres_nodes:
            node.overrides["guard.kill_after"] = KILL_AFTER
        c.start_and_wait()
        yield c
        c.failed = getattr(request.node, "failed_in_call", False)


def start_writer(nodes, table, pinned=None):
    writer = Writer(nodes, table=table, pinned=pinned)
    writer.start()
    return writer


def wait_fenced(node):
    """Until it is frozen; False if it was killed. A guard without real-time priority may get
    no processor in time, on a machine that has none to give: what still runs at the deadline
    is killed, and that is as good for everybody else."""
    wait(lambda: is_frozen(node) or not processes_of(node.data_dir), 10 * TTL, "it is fenced")
    return is_frozen(node)


def lateness(node):
    """Of each freeze in its log, in ms after the deadline: negative is in time."""
    return [int(us) / 1000 for us in re.findall(r"late_us=(-?\d+)", node.log())]


class Rivals:
    """A client of each node: what the old primary acknowledges after the first
    acknowledgement of the new one would be a second writer's."""

    def __init__(self, c):
        self.old, (self.new,) = c.primary(), c.standbys()
        first = Writer([self.old], table="rivals", pinned=self.old)
        first.prepare()
        wait(lambda: self.new.sql("select 1 from rivals") == [], 60, "the table on the standby")
        self.writers = {
            # Ids apart: what is not replicated must not stand in the other's way.
            self.old: Writer([self.old], table="rivals", pinned=self.old),
            self.new: Writer([self.new], table="rivals", pinned=self.new, first=10**9),
        }
        for writer in self.writers.values():
            writer.start()
        self.writers[self.old].wait_rows(50)

    def stop(self):
        """Ends both; the gap between the last write of the old and the first of the new."""
        for writer in self.writers.values():
            writer.stop()
        old, new = (self.writers[n].acknowledged for n in (self.old, self.new))
        assert old and new
        first = min(received for _, _, received in new)
        assert [n for n, sent, _ in old if sent > first] == []
        before = [received for _, sent, received in old if sent <= first]
        return first - max(before)

    def wait_takeover(self, seconds=10 * (TTL + 1)):
        self.writers[self.new].wait_rows(20, seconds)


# ---- L2


def by_kill(node, _):
    node.kill_agent()


def by_signal(node, _):
    node.process.send_signal(signal.SIGUSR1)
    assert node.process.wait(30) == 0


def by_upgrade(node, i):
    """Another copy of the programs, as a package puts it there."""
    place = node.dir / f"bin-{i}"
    place.mkdir()
    place.chmod(0o755)
    shutil.copy(BUILD / "src/veched", place)
    shutil.copy(BUILD / "src/guard/veche-guard", place)
    node.program = place / "veched"
    by_signal(node, i)


def writing(cluster, rows):
    """A client of any node that has so many rows acknowledged, and goes on."""
    writer = Writer(cluster.postgres_nodes)
    writer.prepare()
    writer.start()
    writer.wait_rows(rows)
    return writer


class SlowConnections(Proxy):
    """Who dials reaches nobody for a moment."""

    async def serve(self, *args):
        await asyncio.sleep(0.05)
        await super().serve(*args)


def test_restarts_faster_than_renewals_do_not_end_the_lease(cluster, report):
    """A renewal comes every ttl/6, and the first round of these agents reaches nobody: their
    peers are not connected yet. They are killed a moment after they are, for two ttls."""
    with SlowConnections(cluster, 1):
        cluster.start_and_wait()
        primary = cluster.primary()
        writer = writing(cluster, 100)
        epoch = primary.http("/primary").json["veche"]["epoch"]
        since, n = time.monotonic(), 0

        while time.monotonic() - since < 2 * TTL:
            by_kill(primary, n)
            ups = primary.log().count("Peer is up.")
            primary.start()
            wait(lambda: primary.log().count("Peer is up.") >= ups + 2, 60, "both peers")
            time.sleep(0.05)  # The moment; the next renewal is ten times as far.
            n += 1
        writer.wait_rows(100)
        writer.stop()

        report(f"{n} restarts in {time.monotonic() - since:.1f} s, errors {writer.errors}")
        assert writer.errors == 0
        assert primary.http("/primary").json["veche"]["epoch"] == epoch


@pytest.mark.parametrize("leave", [by_kill, by_signal, by_upgrade])
def test_twenty_restarts_of_the_primarys_agent_are_no_event(cluster, report, leave):
    cluster.start_and_wait()
    primary = cluster.primary()
    writer = writing(cluster, 100)
    postmaster, guard = primary.postmaster_pid(), primary.guard_pid()
    epoch = primary.http("/primary").json["veche"]["epoch"]
    since = time.monotonic()

    for i in range(RESTARTS):
        leave(primary, i)
        primary.start()
        wait(primary.is_primary, 60, "the agent says again that it is primary")
        writer.wait_rows(20)
    cluster.wait_healthy()
    writer.wait_rows(50)
    writer.stop()

    report(
        f"{RESTARTS} restarts in {time.monotonic() - since:.1f} s, {len(writer.acknowledged)} rows, "
        f"errors {writer.errors}, longest gap {1000 * writer.longest_gap(since - 0.1):.0f} ms"
    )
    assert writer.errors == 0
    assert cluster.primary() is primary
    assert primary.http("/primary").json["veche"]["epoch"] == epoch
    assert (primary.postmaster_pid(), primary.guard_pid()) == (postmaster, guard)
    assert writer.missing(primary) == []


def use_version(node, version):
    """Programs that speak that version of the protocol between agent and guard, and the one
    before it."""
    place = node.dir / f"version-{version}"
    place.mkdir()
    place.chmod(0o755)
    for name, ours in (("veched", "src/veched"), ("veche-guard", "src/guard/veche-guard")):
        other = BUILD / f"tests/lib/{name}-{version}"
        shutil.copy(BUILD / ours if version == VERSION else other, place / name)
    node.program = place / "veched"


def test_the_next_version_uses_this_ones_guard_until_postgres_ends(pair):
    """docs/decisions/0010: who lets go of the postmaster loses too much."""
    node = pair.primary()
    writer = writing(pair, 20)
    postmaster, guard = node.postmaster_pid(), node.guard_pid()
    use_version(node, VERSION + 1)
    by_signal(node, 0)
    node.start()
    wait(node.is_primary, 60, "the agent says again that it is primary")
    writer.wait_rows(50)
    assert writer.errors == 0
    assert (node.postmaster_pid(), node.guard_pid()) == (postmaster, guard)
    assert f"going on in its protocol. pid={guard} version={VERSION}" in node.log()

    node.kill_postgres()
    wait(lambda: guards_of(node.runtime_dir) not in ([], [guard]), 60, "another guard")
    pair.wait_healthy()
    assert "another guard takes the place of one of an older version" in node.log()
    assert "The guard has ended, as it was told to." in node.log()
    writer.wait_rows(20)
    writer.stop()
    assert node.guard_pid() != guard
    assert protocol_of(node.guard_pid()) == VERSION + 1


def protocol_of(pid):
    text = subprocess.run([f"/proc/{pid}/exe", "--version"], capture_output=True, text=True,
                          check=True).stdout  # fmt: skip
    return int(text.rpartition(" ")[2])


@pytest.mark.parametrize("older, newer", [(VERSION, VERSION + 2), (VERSION + 1, VERSION)])
def test_a_guard_of_a_strange_version_is_replaced_together_with_postgres(older, newer):
    """Two versions apart, or newer: nobody can move its deadline, so PostgreSQL would be frozen
    anyway. It is started anew under a guard that is understood."""
    with Cluster() as c:
        for node in c.nodes.values():
            use_version(node, older)
        c.start_and_wait()
        node = c.primary()
        writer = Writer(c.postgres_nodes)
        writer.prepare()
        writer.start()
        writer.wait_rows(20)
        guard = node.guard_pid()
        use_version(node, newer)
        by_signal(node, 0)
        node.start()
        wait(lambda: guards_of(node.runtime_dir) not in ([], [guard]), 60, "another guard")
        c.wait_healthy()
        assert f"it speaks version {older} of the protocol, this agent {newer}" in node.log()
        assert "The guard does not answer: killing PostgreSQL" in node.log()
        assert protocol_of(node.guard_pid()) == newer
        writer.wait_rows(20)
        writer.stop()


def test_a_stop_ends_postgres_and_the_guard(pair):
    """SIGTERM is not a restart."""
    primary = pair.primary()

    assert primary.stop() == 0
    assert processes_of(primary.data_dir) == []
    wait(lambda: guards_of(primary.runtime_dir) == [], 30, "the end of the guard")
    pair.wait_primary(60, other_than=primary)
    primary.start()
    pair.wait_healthy()


# ---- The agent stays away


def test_a_dead_agents_primary_is_frozen_and_killed_and_another_promoted(pair, report):
    rivals = Rivals(pair)
    old = rivals.old

    old.kill_agent()
    wait_fenced(old)
    rivals.wait_takeover()
    assert pair.wait_primary() is rivals.new
    wait(lambda: processes_of(old.data_dir) == [], 10 * KILL_AFTER, "the frozen one is killed")
    gap = rivals.stop()

    old.start()
    pair.wait_healthy()
    report(
        f"{gap:.2f} s between the last write of the old primary and the first of the new; "
        f"frozen at minus deadline, ms: {lateness(old)}"
    )
    assert old.sql_value("select pg_is_in_recovery()")


def test_a_stopped_agents_primary_is_frozen_and_comes_back_as_standby(pair, report):
    rivals = Rivals(pair)
    old = rivals.old

    old.process.send_signal(signal.SIGSTOP)
    rivals.wait_takeover()
    old.process.send_signal(signal.SIGCONT)
    wait(lambda: not old.is_primary() and pair.wait_healthy(), 120, "a standby that streams")
    gap = rivals.stop()

    report(f"{gap:.2f} s between the last write of the old primary and the first of the new")
    assert pair.primary() is rivals.new


def test_an_agent_stopped_for_less_than_the_lease_is_no_event(pair, report):
    primary = pair.primary()
    writer = writing(pair, 50)
    postmaster = primary.postmaster_pid()

    for pause in (0.1, 0.5, 1.0):
        primary.process.send_signal(signal.SIGSTOP)
        time.sleep(pause)  # Is what the test is about.
        primary.process.send_signal(signal.SIGCONT)
        writer.wait_rows(50)
    writer.stop()

    report(f"errors {writer.errors}, longest gap {1000 * writer.longest_gap():.0f} ms")
    assert writer.errors == 0
    assert pair.primary() is primary and primary.postmaster_pid() == postmaster


# ---- The guard goes away


def test_a_dead_guard_takes_postgres_with_it(pair, report):
    rivals = Rivals(pair)
    old, guard, postmaster = rivals.old, rivals.old.guard_pid(), rivals.old.postmaster_pid()
    pids = processes_of(old.data_dir)

    os.kill(guard, signal.SIGKILL)
    started = time.monotonic()
    wait(lambda: not set(pids) & set(processes_of(old.data_dir)), 30, "none of them is left")
    ended = time.monotonic()
    healthy = pair.wait_healthy()
    rivals.writers[healthy].wait_rows(20)
    for writer in rivals.writers.values():
        writer.stop()

    report(f"no process left {1000 * (ended - started):.0f} ms after SIGKILL of the guard")
    assert old.guard_pid() != guard
    assert old.postmaster_pid() != postmaster
    assert "The guard is gone: killing PostgreSQL" in old.log()


def test_a_stopped_guard_is_replaced_and_postgres_killed_before_its_deadline(pair, report):
    rivals = Rivals(pair)
    old, guard = rivals.old, rivals.old.guard_pid()
    pids = processes_of(old.data_dir)

    os.kill(guard, signal.SIGSTOP)
    stopped = time.monotonic()
    wait(lambda: not set(pids) & set(processes_of(old.data_dir)), 10 * TTL, "none is left")
    ended = time.monotonic()
    healthy = pair.wait_healthy()
    rivals.writers[healthy].wait_rows(20)
    for writer in rivals.writers.values():
        writer.stop()

    report(f"no process left {ended - stopped:.2f} s after SIGSTOP of the guard (ttl {TTL} s)")
    assert old.guard_pid() != guard
    assert "The guard does not answer: killing PostgreSQL" in old.log()
    old_rows = rivals.writers[old].acknowledged
    new_rows = rivals.writers[rivals.new].acknowledged
    if new_rows and healthy is rivals.new:
        first = min(received for _, _, received in new_rows)
        assert [n for n, sent, _ in old_rows if sent > first] == []


def test_a_server_that_the_guard_did_not_start_is_adopted(pair):
    """Started by hand while no agent ran; nothing of it is restarted for that."""
    standby = pair.standbys()[0]
    arguments = [os.fsdecode(a) for a in command_line(standby.postmaster_pid()).split(b"\0")[:-1]]
    assert standby.status()["veche"]["fenced"] == "yes"
    assert standby.stop() == 0

    with open(standby.dir / "by-hand.log", "wb") as log:
        server = subprocess.Popen(
            arguments, cwd=standby.data_dir, stdout=log, stderr=log, **run_as_postgres()
        )
    lock_file = standby.data_dir / "postmaster.pid"
    try:
        wait(lambda: "ready" in lock_file.read_text(encoding="utf-8"), 60, "it runs")
        standby.start()
        wait(lambda: standby.status()["veche"]["fenced"] == "partly", 60, "it is adopted")
        pair.wait_healthy()
        assert standby.postmaster_pid() == server.pid
        assert standby.stop() == 0
        assert processes_of(standby.data_dir) == []
    finally:
        server.kill()
        server.wait()


# ---- The majority goes away


def test_two_of_three_agents_down_freeze_the_primary_and_one_thaws_it(report):
    with Cluster() as c:
        c.start_and_wait()
        primary, standby = c.primary(), c.standbys()[0]
        writer = Writer([primary], pinned=primary)
        writer.prepare()
        writer.start()
        writer.wait_rows(50)
        postmaster = primary.postmaster_pid()
        epoch = primary.status()["veche"]["epoch"]

        c["w1"].kill_agent()
        standby.kill_agent()
        frozen = wait_fenced(primary)
        frozen_at = time.monotonic()
        wait(lambda: not primary.is_primary(), 30, "the agent to hear of it")
        if frozen:
            wait(lambda: "frozen" in primary.status()["veche"]["problem"], 30, "it is said")
        rows = len(writer.acknowledged)
        c["w1"].start()
        wait(lambda: not is_frozen(primary), 60, "PostgreSQL is thawed")
        writer.wait_rows(20)
        writer.stop()

        report(
            f"frozen for {time.monotonic() - frozen_at:.1f} s after {rows} rows; errors "
            f"{writer.errors}; longest gap {writer.longest_gap():.2f} s; frozen at minus "
            f"deadline, ms: {lateness(primary)}"
        )
        wait(primary.is_primary, 60, "its agent to say so")
        taken = primary.status()["veche"]["epoch"] != epoch
        if taken:  # The witness came back after the deadline, and the leader was quicker to judge.
            assert "rule=take-over" in primary.log() and "The lease is over. epoch=1" in primary.log()
        elif frozen:
            assert writer.errors == 0
            assert primary.postmaster_pid() == postmaster
        standby.start()
        c.wait_healthy()


def test_a_stop_while_frozen_kills(report):
    """Let go in any other way a backend that is past its commit would say so."""
    with Cluster() as c:
        c.start_and_wait()
        primary, standby = c.primary(), c.standbys()[0]
        writer = Writer([primary], pinned=primary)
        writer.prepare()
        writer.start()
        writer.wait_rows(50)
        c["w1"].kill_agent()
        standby.kill_agent()
        frozen = wait_fenced(primary)
        # An answer of before may be read late.
        wait(lambda: time.monotonic() - writer.acknowledged[-1][2] > 1, 30, "writes to end")
        rows = len(writer.acknowledged)
        asked = time.monotonic()
        primary.process.terminate()
        wait(lambda: processes_of(primary.data_dir) == [], 60, "none of them is left")
        report(f"killed {1000 * (time.monotonic() - asked):.0f} ms after SIGTERM")
        assert len(writer.acknowledged) == rows
        assert not frozen or "rule=frozen-stop" in primary.log()
        writer.stop()


def test_a_release_that_got_lost_is_made_good(cluster, report):
    """The primary is told to stop while nobody can commit its release, and killed before it
    has gone: its guard has closed the epoch that the store still gives it."""
    cluster.start_and_wait()
    primary = cluster.primary()
    others = [n for n in cluster.nodes.values() if n is not primary]
    for node in others:
        node.kill_agent()
    primary.process.terminate()
    wait(lambda: "epoch-release" in primary.log(), 10 * TTL, "the release is proposed")
    primary.kill_agent()
    since = time.monotonic()
    for node in [primary, *others]:
        node.start()
    cluster.wait_healthy()
    report(f"healthy {time.monotonic() - since:.1f} s after the start")


# ---- The freezer


@pytest.fixture
def delegated():
    """A directory of cgroups as a service manager gives it to a unit: Delegate=yes."""
    path = UNIFIED / f"veche-agent-{os.getpid()}"
    path.mkdir()
    reaper.add("cgroup", path)
    os.setxattr(path, "trusted.delegate", b"1")
    yield path
    reap_cgroup(path)
    assert not path.exists()
    reaper.drop("cgroup", path)


def test_an_isolated_primary_in_a_delegated_cgroup_is_frozen_by_its_freezer(delegated, pair):
    c = pair
    node, (other,) = c.primary(), c.standbys()
    assert node.stop() == 0  # Its unit gets Delegate=yes.
    node.cgroup = delegated
    node.start()
    c.wait_healthy()
    if c.primary() is not node:
        c["w1"].ctl("switchover", "--candidate", node.name, "--force")
        c.wait_primary(60, other_than=other)
        c.wait_healthy()
    pids, pg = processes_of(node.data_dir), delegated / "pg"
    assert re.findall(r"frozen_by=(\w+)", node.log())[-1] == "cgroup"
    assert set(pids) <= set(map(int, (pg / "cgroup.procs").read_text().split()))
    assert guards_of(node.runtime_dir) == [int((delegated / "guard/cgroup.procs").read_text())]
    assert node.status()["veche"]["guard"]["freezes_by"] == "cgroup"

    for far in (other, c["w1"]):
        far.kill_agent()
    wait(lambda: "frozen 1" in (pg / "cgroup.events").read_text(), 10 * TTL, "the freezer")
    assert not states_of(pids) & {"T"}  # Not by a signal.
    wait(lambda: node.status()["veche"]["frozen"], 10 * TTL, "its agent says so")
    wait(lambda: re.search(r"PostgreSQL is frozen\. .*by=cgroup", node.log()), 30, "its guard says how")
    assert all(ms < 0 for ms in lateness(node))
    wait(lambda: "PostgreSQL is killed. why=age" in node.log(), 10 * KILL_AFTER, "its end")
    wait(lambda: "populated 0" in (pg / "cgroup.events").read_text(), 30, "nothing left")
    for far in (other, c["w1"]):
        far.start()
    c.wait_healthy()
    assert "frozen 0" in (pg / "cgroup.events").read_text()
    assert node.stop() == 0
    wait(lambda: not guards_of(node.runtime_dir), 30, "the guard's end")
