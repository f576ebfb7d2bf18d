"""Single files of a node that can not be read or written, and a disk that is full, under
whole agents: no acknowledged row is lost, the cluster stays writable, the node says what is
wrong and comes back by itself."""

import contextlib
import shutil
import time

import pytest

from disks import Faults, fill, small_disk
from test_raft_disk import (
    RAFT_FAILED,
    WITHIN,
    flip_bit,
    node_of_role,
    raft_leads,
    says,
    start_writer,
    veche,
    wait_says,
    wait_votes,
    wait_without_raft,
)
from veche import TTL, Cluster, wait

CONFIG_EXIT = 64
IDENTITY_EXIT = 65


@pytest.fixture
def faulty(request):
    """A cluster whose agents' disks can be made to fail."""
    with Cluster() as c:
        c.faults = {name: Faults(node) for name, node in c.nodes.items()}
        yield c
        c.failed = getattr(request.node, "failed_in_call", False)


def restart_when_it_ends(node):
    """The position of a primary that writes goes through the log every ten seconds; the agent
    that meets the failure ends, and the next is started at once, as by the service manager."""
    wait(lambda: not node.running, 10 * WITHIN, "the agent to meet the failure")
    assert node.process.returncode == RAFT_FAILED
    node.start()
    assert says(node, "error", "Raft can not go on here")


def check_goes_on_without_vote(c, node, writer):
    """It runs, says so, and rows are acknowledged for longer than any lease of before."""
    wait_without_raft(node)
    start = writer.acknowledged[-1][1]
    wait(
        lambda: writer.acknowledged[-1][1] > start + 2 * TTL,
        2 * TTL + WITHIN,
        "rows while one node has no Raft vote",
    )
    assert node.running


@pytest.mark.parametrize(
    ("role", "rule"),
    [
        ("primary", "write EIO raft/raft/open-"),
        ("primary", "write ENOSPC raft/raft/open-"),
        ("standby", "write EIO raft/raft/veche-vote"),
        ("witness", "all EIO raft/raft/metadata"),
    ],
)
def test_a_file_that_fails_costs_the_raft_vote_only(faulty, role, rule):
    """An undurable log, vote or record of it ends the agent; the next one goes on without its
    Raft vote, and takes part again when the disk is well."""
    c = faulty
    c.start_and_wait()
    writer = start_writer(c)
    node, primary = node_of_role(c, role), c.primary()
    postmaster, epoch = primary.postmaster_pid(), primary.metric("veche_epoch")
    id_before = veche(node)["node_id"]

    c.faults[node.name].set(rule)
    if "metadata" in rule:  # Written when the term changes, read at the start.
        node.kill_agent()
        node.start()
    else:
        restart_when_it_ends(node)
    check_goes_on_without_vote(c, node, writer)
    assert c.primary() is primary
    assert not veche(node)["raft_usable"] and not raft_leads(node)

    c.faults[node.name].clear()
    wait(lambda: veche(node)["raft_usable"], WITHIN, "Raft to run again")
    wait_says(node, "Raft runs again")
    c.wait_healthy()
    writer.wait_rows(20)
    writer.stop()
    assert writer.errors == 0 and writer.missing(primary) == []
    assert veche(node)["node_id"] == id_before, "what was written once is not lost"
    assert c.primary() is primary and primary.postmaster_pid() == postmaster
    assert primary.metric("veche_epoch") == epoch


@pytest.mark.parametrize("pattern", ["raft/raft/0000", "raft/raft/veche-vote"])
def test_what_can_not_be_read_at_the_start_is_no_loss(faulty, pattern):
    """A failing disk is waited for: the state on it may be whole."""
    c = faulty
    c.start_and_wait()
    node = c["w1"]
    before = veche(node)["node_id"]
    assert node.stop() == 0  # Closes its segments.
    c.faults["w1"].set(f"read EIO {pattern}")
    node.start()
    wait_without_raft(node)
    assert not says(node, "never votes again")
    c.faults["w1"].clear()
    wait(lambda: veche(node)["raft_usable"], WITHIN, "Raft to run again")
    assert veche(node)["node_id"] == before and list(node.raft_dir.glob("raft.set-aside*")) == []


def test_an_identity_that_can_not_be_read_or_written(faulty):
    """The copy in runtime_dir says who we are, so a primary goes on; what is to be written is
    written when the disk takes it."""
    c = faulty
    c.start_and_wait()
    writer = start_writer(c)
    node = c.primary()
    before, postmaster = veche(node)["node_id"], node.postmaster_pid()
    term = veche(node)["raft_term"]

    node.kill_agent()
    c.faults[node.name].set("all EIO raft/identity")
    node.start()
    wait_says(node, "error", "The identity file can not be read, going on with its copy")
    wait(lambda: veche(node)["raft_usable"], WITHIN, "Raft to run")
    assert veche(node)["node_id"] == before
    leader = wait(lambda: next((n for n in c.nodes.values() if raft_leads(n)), None), 30, "a leader")
    if leader is node:
        leader = None
    else:
        leader.kill_agent()  # A new term is to be remembered.
        leader.start()
    wait(lambda: veche(node)["raft_term"] > term, WITHIN, "a new term")
    wait_says(node, "error", "The identity file can not be written, retrying")

    c.faults[node.name].clear()
    written = (node.raft_dir / "identity").stat().st_mtime
    wait(
        lambda: (node.raft_dir / "identity").stat().st_mtime >= written
        and (node.raft_dir / "identity").read_bytes() == (node.runtime_dir / "identity").read_bytes(),
        WITHIN,
        "the identity to be written",
    )
    c.wait_healthy()
    writer.wait_rows(20)
    writer.stop()
    assert writer.errors == 0 and writer.missing(node) == []
    assert node.postmaster_pid() == postmaster


def test_a_damaged_identity_is_written_again_in_the_same_boot(cluster):
    """The copy in runtime_dir says as much as the file did: a primary goes on."""
    c = cluster
    c.start_and_wait()
    writer = start_writer(c)
    node = c.primary()
    before, postmaster = veche(node)["node_id"], node.postmaster_pid()
    whole = (node.raft_dir / "identity").read_bytes()
    node.kill_agent()
    flip_bit(node.raft_dir / "identity")
    node.start()
    wait_says(node, "error", "The identity file can not be read, going on with its copy", "damaged")
    wait(lambda: veche(node)["raft_usable"], WITHIN, "Raft to run")
    assert veche(node)["node_id"] == before
    wait(lambda: (node.raft_dir / "identity").read_bytes() == whole, WITHIN, "it to be whole again")
    c.wait_healthy()
    writer.wait_rows(20)
    writer.stop()
    assert writer.errors == 0 and writer.missing(node) == []
    assert node.postmaster_pid() == postmaster


def test_a_damaged_identity_after_a_reboot_ends_the_start_and_says_what_to_do(cluster):
    """Nobody knows who this node was: an operator moves the directory away."""
    c = cluster
    c.start_and_wait()
    node = c["w1"]
    before = veche(node)["node_id"]
    node.kill_agent()
    shutil.rmtree(node.runtime_dir)
    flip_bit(node.raft_dir / "identity")
    node.start()
    wait(lambda: not node.running, WITHIN, "the agent to end")
    assert node.process.returncode == IDENTITY_EXIT
    assert says(node, "error", "Cannot start", "identity is damaged", "move that directory away")
    node.raft_dir.rename(node.dir / "moved")
    node.start()
    wait(lambda: veche(node)["node_id"] != before, WITHIN, "a new id")
    wait_votes(c, node)


def test_a_promise_file_that_can_not_be_opened_ends_the_start(faulty):
    """Without it nothing may be granted; the others are a majority."""
    c = faulty
    c.start_and_wait()
    writer = start_writer(c)
    node = c["w1"]
    node.kill_agent()
    c.faults["w1"].set("all EIO run/promise")
    node.start()
    wait(lambda: not node.running, WITHIN, "the agent to end")
    assert node.process.returncode == CONFIG_EXIT
    assert says(node, "error", "Cannot start", "promise file", "Input/output error")
    writer.wait_rows(50)
    c.faults["w1"].clear()
    node.start()
    c.wait_healthy()
    writer.stop()
    assert writer.errors == 0 and writer.missing(c.primary()) == []


@contextlib.contextmanager
def small_disks(c):
    """Each Raft directory on a file system of its own."""
    with contextlib.ExitStack() as stack:
        try:
            for node in c.nodes.values():
                node.raft_dir = stack.enter_context(small_disk(node.dir / "small")) / "raft"
            yield
        finally:
            for node in c.nodes.values():
                node.kill()


def test_a_full_disk_costs_the_raft_vote_of_that_node_only(cluster):
    """One after the other: witness, standby, primary. Each is restarted on a full disk."""
    c = cluster
    with small_disks(c):
        c.start_and_wait()
        writer = start_writer(c)
        primary = c.primary()
        postmaster, epoch = primary.postmaster_pid(), primary.metric("veche_epoch")
        for role in ("witness", "standby", "primary"):
            node = node_of_role(c, role)
            before = veche(node)["node_id"]
            fill(node.dir / "small")
            start = time.monotonic()
            wait(lambda start=start: time.monotonic() > start + 1, 30, "it to run on a full disk")
            assert node.running and c.primary() is primary
            node.kill_agent()
            node.start()
            check_goes_on_without_vote(c, node, writer)
            assert says(node, "error", "no space left") or says(node, "error", "No space left")
            for name in ("filler", "filler2"):
                (node.dir / "small" / name).unlink()
            wait(lambda node=node: veche(node)["raft_usable"], WITHIN, f"Raft of {node.name}")
            assert veche(node)["node_id"] == before
            c.wait_healthy()
        writer.stop()
        assert writer.errors == 0 and writer.missing(primary) == []
        assert c.primary() is primary and primary.postmaster_pid() == postmaster
        assert primary.metric("veche_epoch") == epoch
