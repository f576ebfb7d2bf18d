"""After a reboot the others say whether a node's Raft state is the last one it had
(docs/decisions/0011)."""

import shutil

import pytest

from test_raft_disk import (
    WITHIN,
    WITNESSES,
    elect_another,
    give_back,
    raft_leads,
    says,
    veche,
    wait_formed,
    wait_says,
)
from veche import Cluster, wait


@pytest.fixture
def witnesses(request):
    with Cluster(names=WITNESSES) as c:
        yield c
        c.failed = getattr(request.node, "failed_in_call", False)


def reboot(node, backup=None):
    """What it had in memory is gone; and its Raft directory is that of before, if there is one."""
    node.kill_agent()
    shutil.rmtree(node.runtime_dir)
    if backup is not None:
        give_back(node, backup, node.raft_dir)
    node.start()


def make_backup(c, node):
    node.kill_agent()
    shutil.copytree(node.raft_dir, node.dir / "backup")
    node.start()
    wait_formed(c)
    return node.dir / "backup"


def test_a_machine_restored_as_a_whole_is_noticed_by_the_others(witnesses):
    """State and identity fit each other, and nothing on the machine knows better."""
    c = witnesses
    c.start()
    wait_formed(c)
    node = c["w2"]
    old = veche(node)["node_id"]
    backup = make_backup(c, node)
    elect_another(c)
    wait_formed(c)
    reboot(node, backup)
    wait_says(node, "error", "The Raft state of this node is lost", "another member knows of more")
    older = "a Raft state that is older than the one it had"
    wait(lambda: any(says(n, older) for n in c.nodes.values()), WITHIN, "another one to say so")
    wait(lambda: veche(node)["node_id"] != old, 2 * WITHIN, "a new id")
    wait_formed(c)
    assert not says(node, "Not all members that may know more")


def test_a_reboot_is_no_loss(witnesses):
    """Each in turn, under its id; then two at once, who have nobody but each other."""
    c = witnesses
    c.start()
    wait_formed(c)
    ids = {name: veche(node)["node_id"] for name, node in c.nodes.items()}
    for node in c.nodes.values():
        reboot(node)
        wait_says(node, "the others are asked whether this Raft state is the last one")
        wait_formed(c)
        assert not says(node, "Not all members that may know more")
    c["w1"].kill()
    for name in ("w2", "w3"):
        reboot(c[name])
    wait(lambda: any(raft_leads(c[n]) for n in ("w2", "w3")), WITHIN, "a leader of the two")
    for name in ("w2", "w3"):
        assert says(c[name], "Not all members that may know more of this node's Raft state")
    c["w1"].start()
    wait_formed(c)
    assert ids == {name: veche(node)["node_id"] for name, node in c.nodes.items()}


def test_a_restarted_agent_asks_nobody(witnesses):
    """In the same boot the runtime directory knows."""
    c = witnesses
    c.start()
    wait_formed(c)
    for node in c.nodes.values():
        node.kill_agent()
        node.start()
        wait_formed(c)
        assert not says(node, "the others are asked")
