"""What a node does whose Raft directory fails, is lost, is damaged or is not its own: the
table "Raft directory is" of the design, cell by cell."""

import contextlib
import os
import shutil

import pytest

from veche import TTL, Writer, wait

WITHIN = 10 * (TTL + 1)
RAFT_FAILED = 70


def says(node, *texts):
    """Lines of the log that contain all of that."""
    return [line for line in node.log().splitlines() if all(t in line for t in texts)]


def wait_says(node, *texts, seconds=WITHIN):
    return wait(lambda: says(node, *texts), seconds, f"{node.name} to say {texts}")


def veche(node):
    return node.status()["veche"]


@contextlib.contextmanager
def unwritable(node):
    """Nothing can be written to its Raft directory by a process that starts now."""
    directory = node.raft_dir / "raft"
    owner = os.stat(directory)
    os.chown(directory, 0, 0)
    os.chmod(directory, 0o555)
    try:
        yield
    finally:
        os.chmod(directory, owner.st_mode & 0o7777)
        os.chown(directory, owner.st_uid, owner.st_gid)


def start_writer(c):
    writer = Writer(c.postgres_nodes)
    writer.prepare()
    writer.start()
    writer.wait_rows(20)
    return writer


def node_of_role(c, role):
    return {"primary": c.primary(), "standby": c.standbys()[0], "witness": c["w1"]}[role]


def wait_without_raft(node):
    """It runs, says what is wrong, and that it has no part in Raft."""
    wait(lambda: veche(node)["raft_usable"] is False, WITHIN, f"{node.name} to answer")
    wait(lambda: veche(node).get("raft_problem"), WITHIN, f"{node.name} to say why")
    assert "goes on without its Raft vote" in veche(node)["problem"]
    assert says(node, "error", "Raft can not be started; this node goes on without its Raft vote")


@pytest.mark.parametrize("role", ["primary", "standby", "witness"])
def test_an_unwritable_directory_costs_the_raft_vote_only(cluster, report, role):
    """Row one, all three columns with a leader: continue, retry, say so loudly."""
    c = cluster
    c.start_and_wait()
    writer = start_writer(c)
    node, primary = node_of_role(c, role), c.primary()
    postmaster, epoch = primary.postmaster_pid(), primary.metric("veche_epoch")
    since = writer.acknowledged[-1][1]

    with unwritable(node):
        node.kill_agent()
        node.start()
        wait_without_raft(node)
        start = writer.acknowledged[-1][1]
        wait(
            lambda: writer.acknowledged[-1][1] > start + 4 * TTL,
            4 * TTL + WITHIN,
            "rows for long after the lease of before would have ended",
        )
        assert primary.is_primary()
        assert primary.http("/leader").status == 200
        assert veche(node)["raft_usable"] is False
        assert node.running

    wait(lambda: veche(node)["raft_usable"], WITHIN, "Raft to run again")
    assert says(node, "Raft runs again")
    assert "raft_problem" not in veche(node)
    c.wait_healthy()
    writer.wait_rows(20)
    writer.stop()
    report(f"{role} without its Raft directory: longest gap {writer.longest_gap(since):.3f} s")
    assert writer.errors == 0
    assert c.primary() is primary
    assert primary.postmaster_pid() == postmaster, "PostgreSQL was restarted"
    assert primary.metric("veche_epoch") == epoch
    assert writer.missing(primary) == []


def remove_state(node):
    shutil.rmtree(node.raft_dir / "raft")


def empty_state(node):
    for path in (node.raft_dir / "raft").iterdir():
        path.unlink()


def remove_all(node):
    """As a new disk would be: the identity is gone, too."""
    for path in node.raft_dir.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def flip_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def damage_log(node):
    """A bit in what was acknowledged: every closed segment."""
    segments = [p for p in (node.raft_dir / "raft").iterdir() if len(p.name) == 33]
    assert segments
    for path in segments:
        flip_bit(path)


def forget_term(node):
    """Metadata of the past: what was voted since is not in it."""
    for path in (node.raft_dir / "raft").glob("metadata*"):
        path.unlink()


LOSSES = [remove_state, empty_state, remove_all, damage_log, forget_term]


def raft_leads(node):
    return veche(node)["raft_leader"]


def wait_votes(c, node):
    """Its new id is a voter, after the old one was removed."""
    wait(lambda: veche(node)["raft_voter"], 2 * WITHIN, f"{node.name} to vote")
    assert any(says(n, "rule=voter-remove", f"{node.name} asks as") for n in c.nodes.values())
    c.wait_healthy()


@pytest.mark.parametrize("lose", LOSSES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("role", ["standby", "witness"])
def test_a_lost_directory_is_set_aside_and_the_node_rejoins(cluster, report, role, lose):
    """Row two, another node while the cluster has a leader: set aside, under a new id."""
    c = cluster
    c.start_and_wait()
    writer = start_writer(c)
    node, primary = node_of_role(c, role), c.primary()
    old = veche(node)["node_id"]
    epoch = primary.metric("veche_epoch")

    node.kill_agent()
    lose(node)
    node.start()
    wait(lambda: veche(node)["node_id"] != old, WITHIN, "a new id")
    wait_votes(c, node)
    assert veche(node)["raft_usable"] and "raft_problem" not in veche(node)
    if lose is not remove_all:
        kept = list(node.raft_dir.glob("raft.set-aside-*"))
        assert len(kept) == (0 if lose is remove_state else 1), "what was damaged is kept"
    assert c.primary() is primary and primary.metric("veche_epoch") == epoch
    assert writer.errors == 0

    # The new id votes: the node and the primary are a majority without the third.
    third = next(n for n in c.nodes.values() if n is not node and n is not primary)
    third.kill()
    writer.wait_rows(200)
    wait(lambda: raft_leads(node) or raft_leads(primary), WITHIN, "a leader of those two")
    writer.stop()
    assert writer.missing(primary) == []
    report(f"{role}: id {old} gave way to {veche(node)['node_id']}")
