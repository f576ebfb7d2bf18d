"""The agents under what stands for systemd (`supervisor.py`), as the unit file says it: a
restart is no event, a stop is a clean one, and an agent that ends is back at once.
"""

import re
import signal
import socket
import subprocess

import pytest

from supervisor import Supervisor
from veche import PG_BIN, Cluster, Writer, guards_of, processes_of, run_as_postgres, wait

KILL_AFTER = 2


@pytest.fixture(scope="module")
def units():
    """Name -> supervisor; all agents are started by theirs."""
    with Cluster() as c:
        for node in c.postgres_nodes:
            node.overrides["guard.kill_after"] = KILL_AFTER
        found = {n.name: Supervisor(n) for n in c.nodes.values()}
        for unit in found.values():
            unit.start()
            unit.begin()
        try:
            yield c, found
        finally:
            for unit in found.values():
                unit.quit()


@pytest.fixture
def primary(units):
    """The primary's unit, with a client that writes to any node."""
    c, found = units
    for unit in found.values():
        unit.begin()
    node = c.wait_healthy()
    writer = Writer(c.postgres_nodes)
    writer.prepare()
    writer.next_id = 1 + (node.sql_value("select max(id) from rows") or 0)
    writer.start()
    writer.wait_rows(20)
    yield found[node.name], writer
    writer.stop()


def processes_of_primary(node):
    return node.postmaster_pid(), node.guard_pid()


def epoch_of(node):
    return node.http("/primary").json["veche"]["epoch"]


class Event:
    """What must be as before when a client was not to notice anything."""

    def __init__(self, unit, writer):
        self.node, self.writer = unit.node, writer
        self.processes, self.epoch = processes_of_primary(self.node), epoch_of(self.node)

    def assert_none(self):
        wait(self.node.is_primary, 60, "it says again that it is primary")
        self.writer.wait_rows(20)
        assert processes_of_primary(self.node) == self.processes
        # 0 until what the agent has in its log is applied.
        assert wait(lambda: epoch_of(self.node), 60, "an epoch") == self.epoch
        assert self.writer.errors == 0


def test_a_restart_of_the_unit_is_no_event(primary, report):
    unit, writer = primary
    event = Event(unit, writer)
    for _ in range(2):
        agent = unit.node.process.pid
        unit.restart()
        assert unit.node.process.pid != agent and unit.ended[-1][1] == 0
        event.assert_none()
    report(f"longest gap {1000 * writer.longest_gap():.0f} ms")


def test_a_killed_agent_is_back_by_itself(primary, report):
    unit, writer = primary
    event, n = Event(unit, writer), len(unit.started)
    unit.kill(signal.SIGKILL, whom="main")
    unit.wait_restarts(n + 1)
    ended, status = unit.ended[-1]
    assert status == -signal.SIGKILL
    event.assert_none()
    report(f"started {1000 * (unit.started[-1] - ended):.0f} ms after its end")


def test_a_kill_of_the_whole_unit_reaches_postgres(primary):
    """What OPERATIONS.md warns of. It is back by itself after that as well."""
    unit, writer = primary
    postmaster, guard = processes_of_primary(unit.node)
    unit.kill(signal.SIGKILL)
    wait(lambda: guards_of(unit.node.runtime_dir) not in ([], [guard]), 60, "another guard")
    unit.node.cluster.wait_healthy()
    assert unit.node.postmaster_pid() != postmaster
    writer.wait_rows(20)


def test_a_stop_of_the_unit_stops_postgres_cleanly(primary):
    unit, writer = primary
    n = len(unit.started)
    unit.stop()
    assert unit.ended[-1][1] == 0
    assert processes_of(unit.node.data_dir) == []
    wait(lambda: not guards_of(unit.node.runtime_dir), 30, "the guard's end")
    control = subprocess.run([PG_BIN / "pg_controldata", unit.node.data_dir], check=True,
                             capture_output=True, text=True, **run_as_postgres()).stdout  # fmt: skip
    assert "shut down" in next(line for line in control.splitlines() if "cluster state" in line)
    writer.wait_rows(20)  # On the other node.
    assert (unit.state, len(unit.started)) == ("inactive", n)


def test_an_address_that_comes_later_is_found(units):
    c, found = units
    unit = found["w1"]
    unit.begin()
    unit.stop()
    n = len(unit.started)
    with socket.create_server((unit.node.host, unit.node.api_port)):
        unit.begin()
        unit.wait_restarts(n + 7)  # More than systemd's own limit.
        assert {status for _, status in unit.ended[n:]} == {66}
    wait(lambda: unit.node.status(), 60, "it answers")


def test_a_wrong_configuration_is_not_tried_again(units):
    c, found = units
    unit = found["w1"]
    unit.begin()
    unit.stop()
    n = len(unit.started)
    unit.node.overrides["mode"] = "nobody"
    try:
        unit.begin()
        unit.wait_state("failed")
        assert unit.ended[-1][1] == 64 and len(unit.started) == n + 1
    finally:
        del unit.node.overrides["mode"]
    unit.begin()
    wait(lambda: unit.node.status(), 60, "it answers")


def test_a_stop_before_the_restart_leaves_it_to_the_guard(primary):
    """The agent has died, and the unit is stopped before the next one begins: nobody is
    told. PostgreSQL is frozen when its lease is over, and killed; the guard stays."""
    unit, writer = primary
    guard = unit.node.guard_pid()
    delay, unit.restart_delay = unit.restart_delay, 600
    try:
        unit.kill(signal.SIGKILL, whom="main")
        unit.wait_state("auto-restart")
        unit.stop()
    finally:
        unit.restart_delay = delay
    assert unit.state == "inactive" and processes_of(unit.node.data_dir) != []
    wait(lambda: not processes_of(unit.node.data_dir), 60, "the guard has killed it")
    assert guards_of(unit.node.runtime_dir) == [guard]
    writer.wait_rows(20)  # On the other node.
    unit.begin()
    killed = r"PostgreSQL is killed\. why=(age|late)"  # Of which the next agent is told.
    wait(lambda: re.search(killed, unit.node.log()), 60, "why it was")
