"""Pause and resume of the cluster: nothing is decided, PostgreSQL is left alone, and the
guard lets go of the primary; then everything is as before."""

import contextlib
import os
import signal
import subprocess

import pytest

from veche import BUILD, is_frozen, processes_of, wait


def veche(node):
    return node.status()["veche"]


def guard_phase(node):
    return veche(node)["guard"]["phase"]


def write(node, count=1):
    for _ in range(count):
        node.sql("insert into rows default values")
    return node.sql_value("select count(*) from rows")


@pytest.fixture
def paused(cluster):
    """A cluster whose primary writes, paused; its name is `primary`."""
    cluster.start_and_wait()
    primary = cluster.primary()
    primary.sql("create table rows (n int generated always as identity)")
    said = primary.ctl("pause", "--wait").stdout
    assert "Success: cluster management is paused" in said
    return cluster, primary


def ctl_typed(node, typed, *args):
    """vechectl with an answer on its standard input."""
    return subprocess.run(
        [str(BUILD / "src/vechectl"), "-c", str(node.config_path), *args],
        input=typed + "\n",
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def resume(cluster, node):
    assert "resumed" in node.ctl("resume", "--wait").stdout
    primary = cluster.wait_primary()
    wait(lambda: guard_phase(primary) == "armed", 30, "an armed guard")
    wait(lambda: veche(primary)["fenced"] == "yes", 30, "its word in the status")
    return primary


def raft_leader(nodes):
    found = [n for n in nodes if n.running and veche(n)["raft_leader"]]
    return found[0] if len(found) == 1 else None


def cluster_rule(nodes):
    leader = raft_leader(nodes)
    return veche(leader)["cluster_rule"] if leader else None


def no_lease(node):
    return not veche(node)["lease_live"]


def test_pause_is_shown_and_resume_fences_again(paused):
    cluster, primary = paused
    wait(lambda: veche(primary)["fenced"] == "no", 30, "the guard's word in its status")
    assert primary.status()["pause"] is True
    assert guard_phase(primary) == "disarmed"
    answer = primary.http("/cluster").json
    assert answer["pause"] is True and answer["veche"]["unfenced"] is True
    assert "Maintenance mode: on" in primary.ctl("list").stdout
    assert primary.metric("patroni_is_paused") == 1
    again = primary.ctl("pause", check=False)
    assert again.returncode == 1 and "Error: Cluster is already paused" in again.stderr

    assert resume(cluster, primary) is primary
    assert "pause" not in primary.status() and "pause" not in primary.http("/cluster").json
    assert "Maintenance mode" not in primary.ctl("list").stdout
    assert primary.metric("patroni_is_paused") == 0
    again = primary.ctl("resume", check=False)
    assert again.returncode == 1 and "Error: Cluster is not paused" in again.stderr
    primary.kill_agent()
    # Without real-time priority the guard may come too late for more than to kill it.
    wait(lambda: is_frozen(primary) or not processes_of(primary.data_dir), 30, "it is fenced")
    primary.start()
    cluster.wait_healthy()


def test_an_agent_that_leaves_or_dies_while_paused_leaves_postgres_writing(paused):
    cluster, primary = paused
    others = [n for n in cluster.nodes.values() if n is not primary]
    postmaster, guard = primary.postmaster_pid(), primary.guard_pid()

    for end in (primary.stop, primary.kill_agent):
        end()
        wait(lambda: cluster_rule(others) == "unfenced", 30, "a leader beside it")
        wait(lambda: all("cluster_unlocked" in n.status() for n in others), 30, "no lease")
        rows = write(primary, 20)
        assert not is_frozen(primary)
        assert not any(n.is_primary() for n in others if not n.witness)
        primary.start()
        wait(primary.is_primary, 30, "the primary, known again")
        wait(lambda: veche(primary)["lease_live"], 30, "its lease")
        assert write(primary) == rows + 1
    assert (primary.postmaster_pid(), primary.guard_pid()) == (postmaster, guard)
    assert resume(cluster, primary) is primary
    assert primary.postmaster_pid() == postmaster
    cluster.wait_healthy()


def test_without_a_majority_a_paused_primary_goes_on(paused):
    cluster, primary = paused
    others = [n for n in cluster.nodes.values() if n is not primary]
    postmaster = primary.postmaster_pid()
    for node in others:
        node.kill_agent()
    wait(lambda: no_lease(primary), 30, "the end of the lease")

    rows = write(primary, 20)
    assert primary.is_primary()
    wait(lambda: veche(primary)["node_rule"] == "paused-unfenced", 30, "the rule by which")
    primary.kill_agent()
    primary.start()  # Nobody tells it anything but its guard.
    wait(primary.is_primary, 30, "the primary, by the word of its guard")
    wait(lambda: veche(primary)["node_rule"] == "continue", 30, "the rule by which")
    assert write(primary) == rows + 1
    assert primary.ctl("resume", check=False).returncode != 0

    for node in others:
        node.start()
    wait(lambda: veche(primary)["lease_live"], 60, "the lease")
    assert resume(cluster, primary) is primary
    assert write(primary) == rows + 2
    assert primary.postmaster_pid() == postmaster
    cluster.wait_healthy()


def test_a_postmaster_that_dies_while_paused_is_started_after_resume(paused):
    cluster, primary = paused
    (standby,) = cluster.standbys()
    rows = write(primary, 5)
    with contextlib.suppress(ProcessLookupError):
        os.kill(primary.postmaster_pid(), signal.SIGKILL)

    def is_down(node):
        return node.status()["state"] != "running" and veche(node)["node_rule"] == "paused"

    wait(lambda: is_down(primary), 30, "the end of PostgreSQL")
    primary.kill_agent()
    primary.start()  # Nor does an agent that starts, up to date.
    wait(lambda: is_down(primary) and veche(primary)["lease_live"], 60, "a look at it")
    assert not standby.is_primary()
    assert primary.status()["state"] != "running"

    assert primary.ctl("resume", "--wait").returncode == 0
    assert cluster.wait_healthy() is primary
    assert write(primary) == rows + 1
    wait(lambda: guard_phase(primary) == "armed", 30, "an armed guard")


def test_a_paused_cluster_switches_over_to_a_named_member_only(paused):
    cluster, primary = paused
    (standby,) = cluster.standbys()
    answer = primary.http("/switchover", method="POST", body={"leader": primary.name})
    assert answer.status == 400
    assert answer.text == "Switchover is possible only to a specific candidate in a paused state"
    rows = write(primary, 5)

    primary.ctl("switchover", "--candidate", standby.name, "--force")
    assert cluster.wait_healthy() is standby  # The old one is a standby, paused or not.
    wait(lambda: guard_phase(standby) == "disarmed", 30, "a guard that has let go")
    assert standby.status()["pause"] is True
    assert write(standby) == rows + 1
    assert resume(cluster, standby) is standby


def test_from_an_unfenced_primary_only_an_operators_word_leads_on(paused):
    cluster, primary = paused
    (standby,) = cluster.standbys()
    others = [n for n in cluster.nodes.values() if n is not primary]
    refused = ctl_typed(standby, primary.name, "failover", "--primary-is-dead", primary.name)
    assert refused.returncode == 3 and "is heard: ask for a switchover" in refused.stderr
    primary.kill()  # Its machine is gone.

    def is_resumed():  # Whoever led Raft may be the one that is gone: asked again then.
        return "pause" not in standby.status() or not standby.ctl("resume", check=False).returncode

    wait(is_resumed, 60, "the end of the pause")
    wait(lambda: cluster_rule(others) == "unfenced-owner-gone", 60, "why nobody takes over")

    order = ("failover", "--candidate", standby.name, "--force")
    refused = standby.ctl(*order, check=False)
    assert refused.returncode != 0
    assert f"vechectl failover --primary-is-dead {primary.name}" in refused.stderr
    word = (*order, "--primary-is-dead", primary.name)
    assert ctl_typed(standby, "yes", *word).returncode == 1
    assert not standby.is_primary()

    def is_done():  # The standby may hear of its end later than the leader.
        done = ctl_typed(standby, primary.name, *word)
        assert done.returncode == 0 or "is heard" in done.stderr, done.stdout + done.stderr
        return done.returncode == 0

    wait(is_done, 60, "the word")
    assert cluster.wait_primary() is standby
    primary.start()
    assert cluster.wait_healthy() is standby
