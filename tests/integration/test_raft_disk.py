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
