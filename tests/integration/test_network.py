"""Broken links: each node has a network namespace of its own."""

import itertools
import time

import pytest

from netns import NetworkCluster
from veche import TTL, Writer, eventually, is_frozen, processes_of, wait

NAMES = ("pg1", "pg2", "w1")
WITHIN = 10 * (TTL + 1)


@pytest.fixture(scope="module")
def running():
    """One cluster for all tests of this file: each leaves it healthy."""
    with NetworkCluster(names=NAMES) as c:
        c.start_and_wait()
        Writer(c.postgres_nodes).prepare()
        yield c


@pytest.fixture
def c(running, request):
    running.wait_healthy().sql("truncate rows")
    running.writers = []
    yield running
    for writer in running.writers:
        writer.stop()
    running.network.heal()
    for node in running.nodes.values():
        running.network.plug(node.name)
        if not node.running:
            node.start()
    if getattr(request.node, "failed_in_call", False):
        running.print_logs()


def write(c, **options):
    writer = Writer(c.postgres_nodes, **options)
    c.writers.append(writer)
    writer.start()
    return writer


def leader_of(c):
    """The Raft leader that all nodes can be asked about; the newest if two think so."""
    known = [n.status()["veche"] | {"node": n} for n in c.nodes.values()]
    leaders = [s for s in known if s["raft_leader"]]
    return max(leaders, key=lambda s: s["raft_term"])["node"] if leaders else None


def make_leader(c, wanted):
    """Kills the agent of the Raft leader until the wanted one leads. PostgreSQL goes on:
    each agent is back within the lease."""
    for _ in range(30):
        leader = wait(lambda: leader_of(c), 30, "a Raft leader")
        if leader is wanted:
            return
        leader.kill_agent()
        leader.start()
        wait_links(c)
        wait(lambda: leader_of(c), WITHIN, "a Raft leader again")
        c.wait_healthy(60)  # Before the next: a lease without a Raft leader does not last.
    raise AssertionError(f"{wanted.name} was never elected")


def wait_links(c, seconds=20):
    wait(
        lambda: all(n.metric("veche_peers_connected") == 2 for n in c.nodes.values()),
        seconds,
        "all links",
    )


def wait_time_of_writes(writer, seconds, since):
    """Until a row is acknowledged that was sent so much later."""
    wait(
        lambda: writer.acknowledged[-1][1] > since + seconds,
        seconds + WITHIN,
        f"a row sent {seconds} s later",
    )


def assert_all_answer(c, primary):
    """Every node has contact with a majority, so it knows the cluster and says so."""
    for node in c.nodes.values():
        reply = node.http("/cluster", timeout=5)
        assert reply.status == 200
        roles = {m["name"]: m["role"] for m in reply.json["members"]}
        assert roles[primary.name] == "leader", (node.name, roles)
        assert set(roles) == set(NAMES), (node.name, roles)
        table = node.ctl("list").stdout
        assert all(name in table for name in NAMES), table


@pytest.mark.parametrize("leader", NAMES)
@pytest.mark.parametrize("link", list(itertools.combinations(NAMES, 2)), ids="-".join)
def test_a_cut_link_does_not_stop_the_writes(c, report, link, leader):
    make_leader(c, c[leader])
    primary = c.primary()
    postmaster = primary.postmaster_pid()
    writer = write(c)
    writer.wait_rows(20)
    since = time.monotonic()
    c.network.cut(*link)
    wait(
        lambda: all(c[end].metric("veche_peers_connected") == 1 for end in link),
        20,
        "the cut to be noticed",
    )
    noticed = time.monotonic()
    wait_time_of_writes(writer, 2 * TTL, since)

    eventually(lambda: assert_all_answer(c, primary))
    leaders = [n.name for n in c.nodes.values() if n.status()["veche"]["raft_leader"]]
    c.network.heal()
    healed = time.monotonic()
    wait_links(c)
    again = time.monotonic()
    c.wait_healthy(60)
    healthy = time.monotonic()
    writer.wait_rows(20)
    writer.stop()

    gap = writer.longest_gap(since)
    report(
        f"primary {primary.name}: longest write gap {gap:.3f} s; noticed after "
        f"{noticed - since:.1f} s; leading {','.join(leaders)}; linked again after "
        f"{again - healed:.1f} s, healthy after {healthy - healed:.1f} s"
    )
    assert gap < WITHIN
    assert c.primary() is primary and primary.postmaster_pid() == postmaster, "a failover"
    assert writer.errors == 0
    assert writer.missing(primary) == []


def test_a_switchover_asked_at_a_voter_cut_from_the_leader_is_answered(c, report):
    """The primary leads Raft and the witness does not hear it: leadership goes to the
    standby, which hears both, so that the witness learns what became of the request."""
    primary, standby = c.primary(), c.standbys()[0]
    make_leader(c, primary)
    assert c.primary() is primary
    c.network.cut(primary.name, "w1")
    wait(
        lambda: all(c[end].metric("veche_peers_connected") == 1 for end in (primary.name, "w1")),
        20,
        "the cut to be noticed",
    )
    since = time.monotonic()
    args = ("--leader", primary.name, "--candidate", standby.name, "--force")
    answer = c["w1"].ctl("switchover", *args, check=False)
    elapsed = time.monotonic() - since
    report(f"answered after {elapsed:.1f} s")
    assert elapsed < WITHIN
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert c.wait_primary() is standby
    wait(lambda: leader_of(c) is standby, WITHIN, "the best connected voter to lead")
    c.network.heal()
    wait_links(c)
    c.wait_healthy(60)


@pytest.mark.parametrize("source, to", [("pg1", "pg2"), ("w1", "primary"), ("primary", "w1")])
def test_a_link_cut_one_way_does_not_stop_the_writes(c, report, source, to):
    primary = c.primary()
    source, to = (primary.name if x == "primary" else x for x in (source, to))
    writer = write(c)
    writer.wait_rows(20)
    since = time.monotonic()
    c.network.cut_one_way(source, to)
    wait(
        lambda: all(c[end].metric("veche_peers_connected") == 1 for end in (source, to)),
        20,
        "both ends to notice the cut",
    )
    wait_time_of_writes(writer, 2 * TTL, since)
    eventually(lambda: assert_all_answer(c, primary))
    c.network.heal()
    wait_links(c)
    c.wait_healthy(60)
    writer.stop()

    gap = writer.longest_gap(since)
    report(f"from {source} to {to} cut, primary {primary.name}: longest write gap {gap:.3f} s")
    assert gap < WITHIN
    assert c.primary() is primary
    assert writer.errors == 0


def test_a_vanished_node_is_in_contact_again_soon(c, report):
    """No packet for 20 s, nobody is told."""
    primary, standby = c.primary(), c.standbys()[0]
    writer = write(c)
    writer.wait_rows(20)
    for victim, seconds in ((standby, 20), (c["w1"], 2 * TTL)):
        since = time.monotonic()
        others = [n for n in c.nodes.values() if n is not victim]
        c.network.unplug(victim.name)
        wait(
            lambda o=others: all(n.metric("veche_peers_connected") == 1 for n in o),
            20,
            "the loss to be noticed",
        )
        wait_time_of_writes(writer, seconds, since)
        gap = writer.longest_gap(since)
        c.network.plug(victim.name)
        back = time.monotonic()
        wait_links(c, 20)
        linked = time.monotonic() - back
        wait(
            lambda v=victim: v.metric("veche_raft_applied_index")
            >= max(n.metric("veche_raft_applied_index") for n in c.nodes.values()),
            20,
            "Raft's contact",
        )
        raft = time.monotonic() - back
        c.wait_healthy(60)
        report(
            f"{victim.name}: contact after {linked:.2f} s (within 2 s), Raft after {raft:.2f} s, "
            f"healthy after {time.monotonic() - back:.2f} s; longest write gap {gap:.3f} s"
        )
        assert linked < 20
    writer.stop()
    assert writer.errors == 0
    assert c.primary() is primary


def test_an_isolated_primary_stops_writing_before_another_one_writes(c, report):
    old, standby = c.primary(), c.standbys()[0]
    old_writer = write(c, pinned=old, pause=0.001)
    old_writer.wait_rows(200)
    new_writer = write(c, pinned=standby, pause=0.001, first=1_000_000)
    received = standby.sql_value("select max(id) from rows")

    c.network.cut(old.name, standby.name)
    c.network.cut(old.name, "w1")
    cut_at = time.monotonic()  # Until the second cut it had a majority.
    wait(lambda: new_writer.acknowledged, WITHIN, "writes on the other side")
    left = [] if is_frozen(old) else processes_of(old.data_dir)
    new_writer.wait_rows(200)
    first_sent = new_writer.acknowledged[0][1]
    first_received = new_writer.acknowledged[0][2]
    _, last_sent, last_received = old_writer.acknowledged[-1]
    report(
        f"last row of the isolated primary {last_sent - cut_at:.2f} s after the cut (ttl {TTL} "
        f"s), first row of the new one {first_received - cut_at:.2f} s after it"
    )
    assert left == [], "PostgreSQL still runs on the isolated node"
    assert last_sent - cut_at < TTL
    assert last_received < first_sent
    assert not old.is_primary()
    wait(standby.is_primary, WITHIN, "the new one to say so")
    # Without a majority it still answers, and names no primary of its own.
    assert old.http("/cluster").status == 200
    assert old.http("/liveness").status == 200
    assert old.http("/primary").status == 503

    c.network.heal()
    healed_at = time.monotonic()
    wait(lambda: old.status().get("replication_state") == "streaming", 60, "the old one back")
    c.wait_healthy(60)
    report(f"streaming as standby {time.monotonic() - healed_at:.2f} s after healing")
    new_writer.wait_rows(20)
    old_writer.stop()
    new_writer.stop()
    assert c.primary() is standby
    assert old.sql_value("select pg_is_in_recovery()")
    late = [n for n, _, got in old_writer.acknowledged if got >= first_sent]
    assert late == [], "acknowledged by the old primary after the new one's first row"
    lost = [n for n in old_writer.missing(standby) if n <= received]
    assert lost == [], "rows that the standby had received"
    assert new_writer.missing(standby) == []
