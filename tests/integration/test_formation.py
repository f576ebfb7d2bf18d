"""How a cluster comes to be, and who is kept out of it."""

import hashlib
import itertools
import os
import random
import re
import shutil
import time

import pytest

from veche import TTL, Cluster, wait

WITNESSES = ("w1", "w2", "w3")
WITHIN = 10 * (TTL + 1)


@pytest.fixture
def witnesses(request):
    """Three witnesses, not started."""
    with Cluster(names=WITNESSES) as c:
        yield c
        c.failed = getattr(request.node, "failed_in_call", False)


def says(node, *texts):
    """Lines of the log that contain all of that."""
    return [line for line in node.log().splitlines() if all(t in line for t in texts)]


def wait_says(node, *texts, seconds=WITHIN):
    return wait(lambda: says(node, *texts), seconds, f"{node.name} to say {texts}")


def address(node):
    return f"{node.host}:{node.raft_port}"


def formed_ids(c):
    """Ids of the clusters that any node has begun to run."""
    lines = [line for n in c.nodes.values() if n.log_path.exists() for line in says(n, "phase two")]
    return {re.search(r"cluster=([0-9a-f]{16})", line)[1] for line in lines}


def wait_formed(c, nodes=None, seconds=WITHIN):
    """All have one Raft leader, know of each other and are up to date."""
    nodes = list(nodes or c.nodes.values())

    def formed():
        answers = [n.http("/cluster", timeout=5).json for n in nodes]
        return (
            sum(n.metric("veche_raft_leader") for n in nodes) == 1
            and all(a["veche"]["raft_has_leader"] for a in answers)
            and all({m["name"] for m in a["members"]} == set(c.nodes) for a in answers)
            and len({n.metric("veche_raft_applied_index") for n in nodes}) == 1
        )

    wait(formed, seconds, "a cluster of " + ", ".join(n.name for n in nodes))


def assert_not_formed(c):
    assert formed_ids(c) == set()
    for node in c.nodes.values():
        if node.running:
            assert node.http("/cluster").json["members"] == []


def test_three_witnesses_elect_replicate_and_restart(witnesses, report):
    c = witnesses
    since = time.monotonic()
    c.start()
    wait_formed(c)
    report(f"three witnesses are a cluster {time.monotonic() - since:.2f} s after their start")
    assert len(formed_ids(c)) == 1
    for node in c.nodes.values():
        assert node.http("/history").json == []
        table = node.ctl("list").stdout
        assert all(name in table for name in WITNESSES), table
        assert node.http("/primary").status == 503
    index = c["w1"].metric("veche_raft_applied_index")

    for node in c.nodes.values():
        assert node.stop() == 0
    since = time.monotonic()
    c.start()
    wait_formed(c)
    report(f"again {time.monotonic() - since:.2f} s after a restart of all")
    assert c["w1"].metric("veche_raft_applied_index") >= index

    for victim in c.nodes.values():
        victim.kill()
    c.start()
    wait_formed(c)
    leader = next(n for n in c.nodes.values() if n.metric("veche_raft_leader"))
    leader.kill()
    others = [n for n in c.nodes.values() if n is not leader]
    since = time.monotonic()
    wait_formed(c, others)
    report(f"another leader {time.monotonic() - since:.2f} s after SIGKILL of the leader")
    assert len(formed_ids(c)) == 1


@pytest.mark.parametrize("order", list(itertools.permutations(WITNESSES)), ids="-".join)
def test_members_may_start_in_any_order(witnesses, order):
    """Each starts when those before it have said for whom they wait."""
    c = witnesses
    started = []
    for name in order:
        missing = [address(n) for n in c.nodes.values() if n.name not in [*started, name]]
        c[name].start()
        started.append(name)
        for one in started if missing else []:
            wait(
                lambda n=c[one], m=missing: "waiting for an answer of " + ", ".join(sorted(m))
                in says(n, "No cluster yet.")[-1],
                WITHIN,
                f"{one} to wait for {missing}",
            )
        if missing:
            assert_not_formed(c)
    wait_formed(c)
    assert len(formed_ids(c)) == 1


def test_postgres_members_may_start_with_pauses(cluster):
    """The first two are long up and waiting when the last one comes."""
    c = cluster
    c["pg2"].start()
    wait_says(c["pg2"], "waiting for an answer of")
    c["w1"].start()
    wait_says(c["pg2"], "waiting for an answer of " + address(c["pg1"]) + '"')
    assert not c["pg2"].data_dir.exists() or os.listdir(c["pg2"].data_dir) == []
    c["pg1"].start()
    c.wait_healthy()
    assert len(formed_ids(c)) == 1


def test_lists_that_differ_are_refused(witnesses):
    c = witnesses
    odd = c["w2"]
    partners = [address(c["w1"]), address(c["w3"])]
    odd.overrides["raft.partner_addrs"] = [*partners, "127.0.0.1:9"]
    c.start()
    for node in c.nodes.values():
        line = wait_says(node, "error", "The cluster can not be formed", "another list")[0]
        assert "raft.partner_addrs together must be the same everywhere" in line
    assert says(c["w1"], "The cluster can not be formed", f"w2 ({address(odd)})")
    assert_not_formed(c)

    # As an operator would: correct the file, start that one again.
    del odd.overrides["raft.partner_addrs"]
    assert odd.stop() == 0
    odd.start()
    wait_formed(c)
    assert len(formed_ids(c)) == 1


def test_formation_goes_on_where_it_was_killed(witnesses):
    """Phase one is written by two members and can not be by the third; all are killed
    between the phases, and go on from there."""
    c = witnesses
    stuck = c["w2"]
    stuck.start()
    wait_says(stuck, "waiting for an answer of")
    c["w1"].start()
    wait_says(c["w1"], "waiting for an answer of " + address(c["w3"]) + '"')
    owner = os.stat(stuck.raft_dir)
    os.chown(stuck.raft_dir, 0, 0)
    os.chmod(stuck.raft_dir, 0o555)
    try:
        c["w3"].start()
        for node in (c["w1"], c["w3"]):
            wait_says(node, f"waiting for w2 ({address(stuck)}) to write phase one")
        wait_says(stuck, "The identity file can not be written, retrying")
        ids = {re.search(r"cluster=(\w+)", line)[1] for line in says(c["w1"], "phase one. ")}
        assert len(ids) == 1
        assert_not_formed(c)
        for node in (c["w1"], c["w3"]):
            node.kill()
            node.start()
        wait(
            lambda: all(len(says(c[n], "to write phase one")) >= 2 for n in ("w1", "w3")),
            WITHIN,
            "both to wait again",
        )
        assert_not_formed(c)
        for node in c.nodes.values():
            node.kill()
    finally:
        os.chmod(stuck.raft_dir, owner.st_mode & 0o7777)
        os.chown(stuck.raft_dir, owner.st_uid, owner.st_gid)
    c.start()
    wait_formed(c)
    assert formed_ids(c) == ids


def test_a_member_that_lost_its_disk_between_the_phases_is_refused(witnesses):
    c = witnesses
    lost = c["w2"]
    lost.start()
    wait_says(lost, "waiting for an answer of")
    owner = os.stat(lost.raft_dir)
    os.chown(lost.raft_dir, 0, 0)
    os.chmod(lost.raft_dir, 0o555)
    for name in ("w1", "w3"):
        c[name].start()
    for name in ("w1", "w3"):
        wait_says(c[name], f"waiting for w2 ({address(lost)}) to write phase one")
    lost.kill()
    shutil.rmtree(lost.raft_dir)
    lost.raft_dir.mkdir(0o700)
    os.chown(lost.raft_dir, owner.st_uid, owner.st_gid)
    lost.start()
    for name in ("w1", "w3"):
        wait_says(c[name], "came back as another node after phase one", "remove raft.data_dir")
    wait_says(lost, "has prepared a cluster with other nodes")
    assert_not_formed(c)


def test_kills_at_any_early_moment_leave_one_cluster(report):
    """Twenty rounds of SIGKILL within 300 ms of the start, in ten clusters: most are hit
    before or between the two phases."""
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    hit = {"before": 0, "between": 0, "after": 0}
    for _ in range(10):
        with Cluster(names=WITNESSES) as c:
            for _ in range(2):
                nodes = rng.sample(list(c.nodes.values()), 3)
                since = time.monotonic()
                for node in nodes:
                    node.start()
                longest = rng.choice([0.04, 0.08, 0.2])  # The moment is what is drawn here.
                for delay, node in sorted((rng.uniform(0, longest), n.name) for n in nodes):
                    time.sleep(max(0, delay - (time.monotonic() - since)))
                    c[node].kill()
                one = any(says(n, "phase one. ") for n in nodes)
                two = all(says(n, "phase two. ") for n in nodes)
                hit["after" if two else "between" if one else "before"] += 1
            early = formed_ids(c)
            c.start()
            wait_formed(c)
            ids = formed_ids(c)
            assert len(ids) <= 1 and early <= ids, f"seed {seed}"
    report(f"killed {hit}; seed {seed}")


def files_of(directory):
    """Contents of the files of a stopped PostgreSQL."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file() and not path.name.startswith("postmaster.")
    }


def test_a_wiped_majority_forms_no_second_cluster(cluster, report):
    """Two of three lost their Raft directories. The third has the truth; those two must
    neither make a cluster of their own nor touch data."""
    c = cluster
    c.start_and_wait()
    primary = c.primary()
    primary.sql("create table t as select generate_series(1, 1000) as n")
    standby = c.standbys()[0]
    wait(lambda: standby.sql_value("select count(*) from t") == 1000, 60, "rows on the standby")
    sysid = primary.status()["database_system_identifier"]
    ids = formed_ids(c)
    for node in (standby, primary, c["w1"]):
        assert node.stop() == 0

    for living in (c["w1"], primary):
        wiped = [n for n in c.nodes.values() if n is not living]
        for node in wiped:
            node.raft_dir.rename(node.dir / "raft.kept")
        before = {n.name: files_of(n.data_dir) for n in c.postgres_nodes}
        for node in c.nodes.values():
            node.log_path.unlink()
        c.start()
        for node in wiped:
            line = wait_says(node, "A cluster runs already and this node is not one of its")[0]
            # It may have heard of it by the other one that lost its state, and asked before.
            assert any(cluster_id in line for cluster_id in ids), (living.name, line)
        wait_says(living, "Started.")
        since = time.monotonic()
        wait(lambda s=since: time.monotonic() - s > TTL + 1, 60, "time enough for an election")
        assert formed_ids(c) == set(), "another cluster"
        assert all(n.running for n in c.nodes.values())
        assert c.primary() is None
        assert {m["name"] for m in living.http("/cluster").json["members"]} <= set(c.nodes)
        for node in c.nodes.values():
            node.kill()
        assert {n.name: files_of(n.data_dir) for n in c.postgres_nodes} == before
        for node in wiped:
            shutil.rmtree(node.raft_dir)
            (node.dir / "raft.kept").rename(node.raft_dir)

    # With the directories back the cluster is what it was.
    c.start_and_wait()
    assert c.primary().status()["database_system_identifier"] == sysid
    assert c.primary().sql_value("select count(*) from t") == 1000
    assert len(ids) == 1 and formed_ids(c) == set()
    report("refused with the witness and with a PostgreSQL node as the one that remembers")


def refusals(node, cause=None):
    return says(node, "A connection was refused", f"cause={cause}" if cause else "cause=")


def test_a_wrong_secret_is_refused_and_logged_once(witnesses):
    c = witnesses
    c.start()
    wait_formed(c)
    odd = c["w3"]
    assert odd.stop() == 0
    odd.overrides["raft.password"] = "not the secret"
    odd.start()
    others = [c["w1"], c["w2"]]
    for node in others:
        wait(lambda n=node: refusals(n, "wrong-secret"), WITHIN, f"{node.name} to refuse it")
    wait_formed(c, others)
    since = time.monotonic()
    wait(lambda: time.monotonic() - since > TTL, 60, "a dozen attempts")
    for node in c.nodes.values():
        assert 1 <= len(refusals(node)) <= 4, refusals(node)
        assert len(set(line.split("cause=")[1] for line in refusals(node))) == len(refusals(node))
        assert not any(c.secret in line or "not the secret" in line for line in says(node))
    assert odd.metric("veche_peers_connected") == 0

    del odd.overrides["raft.password"]
    assert odd.stop() == 0
    odd.start()
    wait_formed(c)


def test_a_node_of_another_scope_is_refused(witnesses):
    c = witnesses
    c.start()
    wait_formed(c)
    odd = c["w3"]
    assert odd.stop() == 0
    # Its own directory remembers where it belongs.
    odd.overrides["scope"] = "other"
    odd.start()
    assert odd.process.wait(WITHIN) == 65
    assert says(odd, "error", 'belongs to cluster "test", not to "other"')
    # Without it, it is a stranger.
    odd.raft_dir.rename(odd.dir / "raft.kept")
    shutil.rmtree(odd.runtime_dir)
    odd.start()
    others = [c["w1"], c["w2"]]
    for node in others:
        wait(lambda n=node: refusals(n), WITHIN, f"{node.name} to refuse it")
    wait_formed(c, others)
    assert odd.metric("veche_peers_connected") == 0
    assert odd.http("/cluster").json["members"] == []

    odd.kill()
    shutil.rmtree(odd.raft_dir)
    (odd.dir / "raft.kept").rename(odd.raft_dir)
    del odd.overrides["scope"]
    odd.start()
    wait_formed(c)


def test_a_node_of_another_cluster_is_refused(witnesses):
    """Same scope, same secret: only the cluster id tells."""
    c = witnesses
    c.start()
    wait_formed(c)
    with Cluster(names=WITNESSES) as other:
        other.secret = c.secret
        other.start()
        wait_formed(other)
        ours, stranger = c["w3"], other["w3"]
        assert ours.stop() == 0 and stranger.stop() == 0
        for node in (other["w1"], other["w2"]):
            node.kill()
        stranger.raft_port = ours.raft_port  # The stranger takes our node's place.
        stranger.overrides["raft.partner_addrs"] = [address(c["w1"]), address(c["w2"])]
        stranger.start()
        others = [c["w1"], c["w2"]]
        for node in others:
            wait(lambda n=node: refusals(n, "cluster"), WITHIN, f"{node.name} to refuse it")
        wait_formed(c, others)
        since = time.monotonic()
        wait(lambda: time.monotonic() - since > TTL, 60, "a dozen attempts")
        for node in others:
            assert 1 <= len(refusals(node)) <= 4, refusals(node)
            assert node.metric("veche_peers_connected") == 1
        assert stranger.metric("veche_peers_connected") == 0
        assert stranger.running
        stranger.kill()
    ours.start()
    wait_formed(c)
    assert len(formed_ids(c)) == 1
