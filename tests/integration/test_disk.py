"""The disk under the Raft state: it stalls, and it must not fill."""

import os
import time

import pytest

from disks import Disk, end_on_disks
from veche import TTL, Cluster, Writer, wait

WITHIN = 10 * (TTL + 1)
FROZEN = 60


class DiskCluster(Cluster):
    """Every node's Raft directory is on a disk of its own."""

    def __init__(self, **options):
        super().__init__(**options)
        self.disks = {}

    def __enter__(self):
        super().__enter__()
        try:
            for node in self.nodes.values():
                disk = Disk(self.dir, f"disk-{node.name}")
                self.disks[node.name] = disk
                node.raft_dir = disk.place / "raft"
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind, value, trace):
        end_on_disks(self.nodes.values(), self.disks.values())
        for disk in self.disks.values():
            disk.close()
        super().__exit__(kind, value, trace)


@pytest.fixture
def c(request):
    with DiskCluster() as cluster:
        yield cluster
        cluster.failed = getattr(request.node, "failed_in_call", False)


def size_on_disk(directory):
    """Bytes, and bytes allocated."""
    found = [os.stat(os.path.join(d, f)) for d, _, files in os.walk(directory) for f in files]
    return sum(s.st_size for s in found), sum(s.st_blocks * 512 for s in found)


def ask_switchover(node, primary):
    """The answer; None from a node that does not know the cluster yet."""
    reply = node.http("/switchover", "POST", {"leader": primary.name})
    return None if reply.status == 503 else reply


def leads(node):
    return node.status()["veche"]["raft_leader"]


def make_witness_leader(c):
    for _ in range(30):
        leader = wait(lambda: next(n for n in c.nodes.values() if leads(n)), 30, "a Raft leader")
        if leader.witness:
            return
        leader.kill_agent()
        leader.start()
        wait(lambda: any(leads(n) for n in c.nodes.values()), WITHIN, "a Raft leader again")
        c.wait_healthy(60)
    raise AssertionError("the witness was never elected")


def frozen_for(c, report, writer, node, seconds):
    """The node's disk hangs that long; nothing may come of it."""
    primary, leader = c.primary(), [n.name for n in c.nodes.values() if leads(n)]
    postmaster, epoch = primary.postmaster_pid(), primary.metric("veche_epoch")
    since = time.monotonic()
    c.disks[node.name].freeze()
    wait(
        lambda: writer.acknowledged[-1][1] > since + seconds,
        seconds + WITHIN,
        f"a row sent after {seconds} s",
    )
    for n in c.nodes.values():  # A hanging disk does not keep anybody from answering.
        assert n.http("/cluster", timeout=5).status == 200
        assert n.http("/liveness", timeout=5).status == 200
    assert primary.metric("veche_lease_live") == 1
    thawed = time.monotonic()
    c.disks[node.name].thaw()
    c.wait_healthy(60)
    wait(
        lambda: node.metric("veche_raft_applied_index")
        >= max(n.metric("veche_raft_applied_index") for n in c.nodes.values()),
        WITHIN,
        f"{node.name} to have caught up",
    )
    healthy = time.monotonic()
    writer.wait_rows(20)
    report(
        f"disk of {node.name} frozen for {seconds} s (primary {primary.name}, Raft leader "
        f"{','.join(leader)}): longest write gap {writer.longest_gap(since):.3f} s, healthy "
        f"{healthy - thawed:.2f} s after the thaw"
    )
    assert writer.errors == 0
    assert c.primary() is primary
    assert primary.postmaster_pid() == postmaster, "PostgreSQL was restarted"
    assert primary.metric("veche_epoch") == epoch


def test_a_frozen_raft_disk_does_not_stop_the_writes(c, report):
    c.start_and_wait()
    writer = Writer(c.postgres_nodes)
    writer.prepare()
    writer.start()
    writer.wait_rows(20)
    frozen_for(c, report, writer, c.primary(), FROZEN)
    frozen_for(c, report, writer, c.standbys()[0], 2 * TTL)
    make_witness_leader(c)
    frozen_for(c, report, writer, c["w1"], 2 * TTL)
    writer.stop()
    assert writer.missing(c.primary()) == []


def test_raft_state_stays_small(c, report):
    """Many commands, and many restarts, each of which begins new segments."""
    c.start_and_wait()
    for round_number in range(20):
        primary, standby = c.primary(), c.standbys()[0]
        reply = wait(lambda p=primary: ask_switchover(c["w1"], p), 30, "the witness to take it")
        assert reply.status == 200, reply.text
        assert c.wait_healthy() is standby
        if round_number % 2 == 0:
            c["w1"].kill_agent()
            c["w1"].start()
    sizes = {n.name: size_on_disk(n.raft_dir) for n in c.nodes.values()}
    report(
        "Raft state after 20 switchovers and 10 restarts of the witness, bytes (allocated): "
        + ", ".join(f"{name} {size} ({blocks})" for name, (size, blocks) in sizes.items())
    )
    assert all(max(size) < 8 << 20 for size in sizes.values())
