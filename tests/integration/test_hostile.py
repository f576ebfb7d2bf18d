"""Streams between the agents that are flipped, cut, delayed, doubled, reordered, stalled,
with TLS (where a fault ends the connection) and in plain TCP (where it reaches the frames).

The faults are drawn from a seed, which is printed; VECHE_HOSTILE_SEED sets it.
"""

import contextlib
import json
import os
import random
import time

import psycopg2
import pytest

from proxy import FAULTS, Proxy
from veche import TTL, Cluster, Writer, wait

WITHIN = 10 * (TTL + 1)
RSS_MAX = 32 << 20  # Growth of an agent that is harmed;
RSS_MAX_ASAN = 512 << 20  # with ASan, which keeps freed memory for a while.
HARM_SECONDS = float(os.environ.get("VECHE_HOSTILE_SECONDS", 4))


def rss(node):
    with open(f"/proc/{node.process.pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def rss_max(node):
    with open(f"/proc/{node.process.pid}/maps", encoding="ascii", errors="replace") as f:
        return RSS_MAX_ASAN if "libasan" in f.read() else RSS_MAX


def descriptors(node):
    return len(os.listdir(f"/proc/{node.process.pid}/fd"))


def links(c):
    return all(n.metric("veche_peers_connected") == len(c.nodes) - 1 for n in c.nodes.values())


class Hostile:
    """A cluster behind the proxy, and what must hold of it all the time."""

    def __init__(self, cluster, proxy):
        self.cluster, self.proxy = cluster, proxy
        self.writer = Writer(cluster.postgres_nodes)
        self.writer.prepare()
        self.writer.start()
        self.replicated = set()  # Rows seen on a standby: never to vanish.
        self.pids = {n: n.process.pid for n in cluster.nodes.values()}
        self.memory = {n: rss(n) for n in cluster.nodes.values()}
        self.rss_max = rss_max(cluster["w1"])
        self.growth = 0

    def look_at_standbys(self):
        for node in self.cluster.postgres_nodes:
            with contextlib.suppress(psycopg2.Error):
                rows = node.sql("select id from rows where pg_is_in_recovery() "
                                "order by id desc limit 1000")
                self.replicated |= {row[0] for row in rows}

    def check(self):
        """No crash, no second primary, bounded memory and descriptors."""
        primaries = [n for n in self.cluster.postgres_nodes if n.is_primary()]
        assert len(primaries) <= 1, primaries
        self.look_at_standbys()
        for node, pid in self.pids.items():
            assert node.running and node.process.pid == pid, f"{node.name} ended"
            self.growth = max(self.growth, rss(node) - self.memory[node])
            assert self.growth < self.rss_max, node.name
            assert descriptors(node) < 200, node.name

    def harm_for(self, seconds, faults, rate, victims):
        before = sum(self.proxy.count.values())
        self.proxy.harm(faults, rate, victims)
        end = time.monotonic() + seconds
        while time.monotonic() < end or sum(self.proxy.count.values()) < before + 3:
            assert time.monotonic() < end + WITHIN, "nothing was there to be harmed"
            self.check()
            time.sleep(0.1)

    def heal(self):
        """Everything is well again: the seconds that took."""
        self.proxy.heal()
        start = time.monotonic()
        wait(lambda: links(self.cluster), WITHIN, "all links are back")
        taken = time.monotonic() - start
        self.cluster.wait_healthy(2 * WITHIN)
        self.writer.wait_rows(20)
        self.check()
        return taken

    def finish(self):
        """No row is missing that a standby had (replication is asynchronous here), and all
        nodes know the same."""
        self.writer.stop()
        primary = self.cluster.wait_healthy(2 * WITHIN)
        acknowledged = {n for n, _, _ in self.writer.acknowledged}
        assert len(self.replicated & acknowledged) > 100
        lost = set(self.writer.missing(primary))
        assert lost & self.replicated == set()
        for node in self.cluster.standbys():
            wait(lambda node=node: set(self.writer.missing(node)) == lost, WITHIN,
                 "the standby has what the primary has")
        wait(lambda: len({knowledge(n) for n in self.cluster.nodes.values()}) == 1, WITHIN,
             "all nodes know the same")
        for node in self.cluster.nodes.values():
            assert "Sanitizer" not in node.log() and "runtime error" not in node.log()
        return len(lost)


def knowledge(node):
    """Of the replicated state, what REST tells and what does not change by itself."""
    members = [{k: v for k, v in m.items() if k in ("name", "api_url", "host", "port", "tags")}
               for m in node.http("/cluster").json["members"]]
    veche = node.status()["veche"]
    return json.dumps([node.http("/history").json, node.http("/config").json, members,
                       veche["epoch"]], sort_keys=True)


@pytest.fixture(params=["tls", "plain"], scope="module")
def world(request):
    seed = int(os.environ.get("VECHE_HOSTILE_SEED", random.randrange(1 << 32)))
    with Cluster() as cluster:
        for node in cluster.nodes.values():
            if request.param == "plain":
                node.overrides["raft.password"] = None
        with Proxy(cluster, seed) as proxy:
            cluster.start_and_wait()
            hostile = Hostile(cluster, proxy)
            hostile.seed = seed
            yield hostile
            print(f"rows given up in failovers: {hostile.finish()}")


@pytest.fixture(autouse=True)
def logs(request, world, capsys):
    with capsys.disabled():
        print(f"\n  seed [{request.node.name}]: {world.seed}", flush=True)
    yield
    if getattr(request.node, "failed_in_call", False):
        world.cluster.print_logs()


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_at_the_streams_of_the_witness(world, report, fault):
    """Two of three are unharmed: the primary does not even notice."""
    primary = world.cluster.primary()
    witness = world.cluster["w1"]
    since = time.monotonic()
    world.harm_for(HARM_SECONDS, [fault], 0.2, [witness])
    taken = world.heal()
    assert world.cluster.primary() is primary
    assert world.writer.longest_gap(since) < WITHIN
    report(f"{world.proxy.count[fault]} times, back after {taken:.1f} s")


@pytest.mark.parametrize("who", ["primary", "standby"])
def test_all_faults_at_the_streams_of_one_node(world, report, who):
    """A majority is unharmed: whoever of it has to takes over, and there is a primary."""
    cluster = world.cluster
    victim = cluster.primary() if who == "primary" else cluster.standbys()[0]
    since = time.monotonic()
    world.harm_for(2 * HARM_SECONDS, FAULTS, 0.3, [victim])
    world.writer.wait_rows(1, WITHIN)  # Still, or again.
    taken = world.heal()
    gap = world.writer.longest_gap(since)
    assert gap < WITHIN
    report(f"gap of {gap:.1f} s, back after {taken:.1f} s, "
           f"faults {world.proxy.count}")


def test_all_faults_at_all_streams(world, report):
    """Nobody has to be writable now; nothing may be wrong, and then all is well again."""
    world.harm_for(2 * HARM_SECONDS, FAULTS, 0.2, world.cluster.nodes.values())
    taken = world.heal()
    report(f"back after {taken:.1f} s, faults {world.proxy.count}, "
           f"an agent grew by up to {world.growth >> 10} kB")
