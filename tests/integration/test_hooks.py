"""Commands of the operator: callbacks, pre_promote, before_stop; one cluster for all tests.

Each test knows all that was told before it: what came once too often is found by the next.
"""

import os
import re
import signal
import stat
import subprocess

import pytest

from veche import BUILD, Cluster, is_frozen, processes_of, wait

CALLBACKS = ("on_start", "on_stop", "on_restart", "on_reload", "on_role_change")

# Its arguments become one line of `told`.
TELL = """#!/bin/sh
test ! -e "$(dirname "$0")/slow" || sleep 1
echo "$*" >> "$(dirname "$0")/told"
"""
# No promotion while there is a file `refuse`.
ASK = """#!/bin/sh
echo asked >> "$(dirname "$0")/asked"
test ! -e "$(dirname "$0")/refuse"
"""
# Hangs while there is a file `hang`.
DRAIN = """#!/bin/sh
echo $$ > "$(dirname "$0")/draining"
while test -e "$(dirname "$0")/hang"; do sleep 0.05; done
rm "$(dirname "$0")/draining"
"""
# Fails when something is told while the database is made; it runs by then, and is seen to.
MAKE = """#!/bin/sh
sleep 0.5
test ! -e "$(dirname "$0")/told"
"""


def give_commands(node):
    for name, text in (("tell", TELL), ("ask", ASK), ("drain", DRAIN), ("make", MAKE)):
        path = node.dir / name
        path.write_text(text, encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    node.overrides |= {
        "postgresql.parameters": node.config()["postgresql"]["parameters"]
        | {"wal_retrieve_retry_interval": "200ms"},
        "postgresql.callbacks": {name: str(node.dir / "tell") for name in CALLBACKS},
        "bootstrap.post_bootstrap": str(node.dir / "make"),
        "postgresql.pre_promote": str(node.dir / "ask"),
        "postgresql.before_stop": str(node.dir / "drain"),
    }


@pytest.fixture(scope="module")
def told(request):
    """The cluster, and what each node is expected to have been told."""
    with Cluster() as c:
        for node in c.postgres_nodes:
            give_commands(node)
        c.start_and_wait()
        before = request.session.testsfailed
        yield c, {node.name: [] for node in c.postgres_nodes}
        c.failed = request.session.testsfailed > before


def lines_of(node, name="told"):
    path = node.dir / name
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def called(node):
    """What its agents called; all of it is written, but for what made room for the next."""
    log = node.log()
    lines = [f"{hook} {role} test" for hook, role in
             re.findall(r"Callback started\. callback=(\S+) role=(\S+)", log)]
    n_killed = log.count("Callback killed, with what it started.")
    wait(lambda: len(lines_of(node)) >= len(lines) - n_killed, 30, f"{node.name} to have been told")
    assert set(lines_of(node)) <= set(lines)
    return lines


def expect(told, node, *more):
    """All that it was told, from the beginning."""
    _, lines = told
    lines[node.name] += more
    wait(
        lambda: len(called(node)) >= len(lines[node.name]),
        60,
        f"{node.name} to be told {more}, not {lines_of(node)[-3:]}",
    )
    assert called(node) == lines[node.name]


def switch_over(old, new, is_under_way):
    """Asked again while it is refused: right after another one nobody may be ready yet."""
    command = [str(BUILD / "src/vechectl"), "-c", str(old.config_path), "switchover", "test",
               "--leader", old.name, "--candidate", new.name, "--force"]  # fmt: skip
    asking = None

    def ask():
        nonlocal asking
        if is_under_way():
            return True
        if asking is None or asking.poll() is not None:
            asking = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return False

    wait(ask, 60, f"{old.name} to hand over")
    return asking


def test_the_first_start_is_told_once_the_database_is_made(told):
    c, _ = told
    primary, (standby,) = c.primary(), c.standbys()
    expect(told, primary, "on_start primary test")
    expect(told, standby, "on_start replica test")


def test_a_reload_is_told_whether_or_not_something_changed(told):
    primary, (standby,) = told[0].primary(), told[0].standbys()
    standby.overrides["postgresql.parameters"]["work_mem"] = "5MB"
    for node in (primary, standby):
        node.write_config()
        node.ctl("reload", "test", node.name, "--force")
    expect(told, primary, "on_reload primary test")
    expect(told, standby, "on_reload replica test")


def test_a_restart_is_told_as_one(told):
    primary, (standby,) = told[0].primary(), told[0].standbys()
    primary.ctl("restart", "test", primary.name, "--force")
    expect(told, primary, "on_restart primary test")
    assert told[0].wait_healthy() is primary
    expect(told, standby)


def test_an_agent_that_comes_back_tells_nothing_again(told):
    primary = told[0].primary()
    pid = primary.postmaster_pid()
    primary.kill_agent()
    primary.start()
    told[0].wait_healthy()
    assert primary.postmaster_pid() == pid
    primary.ctl("reload", "test", primary.name, "--force")  # Told after whatever else there is.
    expect(told, primary, "on_reload primary test")


def test_a_switchover_is_told_as_a_change_of_role(told):
    c = told[0]
    old, (new,) = c.primary(), c.standbys()
    switch_over(old, new, new.is_primary).wait(90)
    assert c.wait_healthy() is new
    expect(told, old, "on_stop primary test", "on_role_change replica test")
    expect(told, new, "on_role_change primary test")
    assert lines_of(new, "asked") == ["asked"] and not lines_of(old, "asked")


def test_who_refuses_a_promotion_lets_the_other_one_have_it(told):
    c = told[0]
    old, (candidate,) = c.primary(), c.standbys()
    (candidate.dir / "refuse").touch()
    switch_over(old, candidate, lambda: lines_of(candidate, "asked")).wait(90)
    wait(lambda: len(lines_of(old, "asked")) == 2, 60, "the former primary to be asked")
    assert c.wait_healthy() is old
    assert "pre_promote ended with code 1" in candidate.log()
    (candidate.dir / "refuse").unlink()
    assert called(candidate) == told[1][candidate.name]
    expect(
        told, old, "on_stop primary test", "on_role_change replica test", "on_role_change primary test"
    )


def test_before_stop_that_hangs_does_not_hold_up_the_guard(told):
    c = told[0]
    primary, (standby,) = c.primary(), c.standbys()
    (primary.dir / "hang").touch()
    asking = switch_over(primary, standby, lambda: lines_of(primary, "draining"))
    try:
        (pid,) = lines_of(primary, "draining")
        standby.process.send_signal(signal.SIGSTOP)
        c["w1"].process.send_signal(signal.SIGSTOP)
        # Without real-time priority it may come too late for more than to kill it.
        wait(
            lambda: is_frozen(primary) or not processes_of(primary.data_dir),
            50,
            "the guard to fence PostgreSQL",
        )
        os.kill(int(pid), 0)  # Still there: nobody has waited for it.
    finally:
        (primary.dir / "hang").unlink()
        for node in (standby, c["w1"]):
            node.process.send_signal(signal.SIGCONT)
        asking.wait(90)
    c.wait_healthy()


def test_the_end_of_the_agent_is_told_before_it_has_ended(told):
    (standby,) = told[0].standbys()
    (standby.dir / "slow").touch()
    assert standby.stop() == 0
    assert lines_of(standby)[-1] == "on_stop replica test"
