"""What a node does whose Raft directory fails, is lost, is damaged or is not its own: the
table "Raft directory is" of the design, cell by cell."""

import contextlib
import os
import shutil
import subprocess
import time

import pytest

from disks import Disk
from veche import TTL, Cluster, Node, Writer, wait

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
    wait(
        lambda: "goes on without its Raft vote" in veche(node)["problem"],
        WITHIN,
        "the problem to be shown",
    )
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
        says_primary = primary.http("/primary")
        assert says_primary.status == 200 and says_primary.json["veche"]["epoch"] == epoch
        assert "cluster_unlocked" not in says_primary.json
        assert primary.http("/leader").status == 200
        assert veche(node)["raft_usable"] is False
        assert node.running

    wait(lambda: veche(node)["raft_usable"], WITHIN, "Raft to run again")
    wait_says(node, "Raft runs again")
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


@pytest.mark.parametrize("lose", [remove_state, damage_log], ids=lambda f: f.__name__)
def test_an_owner_that_lost_its_directory_continues_and_rejoins_later(cluster, lose):
    """Row two, the owner of a live lease: it continues; when its lease has ended it comes in
    under a new id."""
    c = cluster
    c.start_and_wait()
    writer = start_writer(c)
    old, postmaster = c.primary(), c.primary().postmaster_pid()
    id_before, epoch = veche(old)["node_id"], old.metric("veche_epoch")

    old.kill_agent()
    lose(old)
    old.start()
    wait_says(old, "error", "The Raft state of this node is lost")
    start = writer.acknowledged[-1][1]
    wait(
        lambda: writer.acknowledged[-1][1] > start + 4 * TTL,
        4 * TTL + WITHIN,
        "rows for long after the lease of before would have ended",
    )
    assert writer.errors == 0
    assert old.postmaster_pid() == postmaster and old.is_primary()
    assert veche(old)["node_id"] == id_before and not veche(old)["raft_usable"]
    assert all(n.metric("veche_epoch") == epoch for n in c.nodes.values() if n is not old)

    writer.stop()
    for node in c.postgres_nodes:  # Replication is asynchronous: what only one has may be lost.
        wait(lambda node=node: writer.missing(node) == [], WITHIN, "every row on every node")
    old.kill_postgres()
    new = c.wait_primary(WITHIN, other_than=old)
    wait(lambda: veche(old)["node_id"] != id_before, WITHIN, "a new id")
    wait_votes(c, old)
    row = "insert into rows values (0) on conflict do nothing"
    wait(lambda: c.primary().sql(row) == [], WITHIN, "another row")
    assert writer.missing(new) == []
    assert len(list(old.raft_dir.glob("raft.set-aside-*"))) == (lose is damage_log)


def stop_all(c):
    for node in (*c.standbys(), c.primary(), c["w1"]):
        if node.running:
            assert node.stop() == 0


def test_without_a_leader_an_unwritable_directory_is_waited_for(cluster):
    """Row one, no leader: the same as with one; nobody is primary meanwhile."""
    c = cluster
    c.start_and_wait()
    primary, standby = c.primary(), c.standbys()[0]
    primary.sql("create table t as select generate_series(1, 100) as n")
    stop_all(c)
    with unwritable(standby), unwritable(c["w1"]):
        c.start()
        for node in (standby, c["w1"]):
            wait_without_raft(node)
        wait_says(primary, "Started.")
        assert all(n.running for n in c.nodes.values()) and c.primary() is None
    c.wait_healthy()
    assert c.primary().sql_value("select count(*) from t") == 100


@pytest.mark.parametrize("lose", [remove_state, damage_log], ids=lambda f: f.__name__)
def test_without_a_leader_a_lost_directory_is_left_alone(cluster, lose):
    """Row two, no leader: no part is taken in Raft, nothing is touched, it is explained; with
    the directories back the cluster is what it was."""
    c = cluster
    c.start_and_wait()
    primary, lost = c.primary(), [c.standbys()[0], c["w1"]]
    primary.sql("create table t as select generate_series(1, 100) as n")
    stop_all(c)
    ids = {}
    for node in lost:
        ids[node.name] = (node.raft_dir / "identity").read_bytes()
        shutil.copytree(node.raft_dir / "raft", node.dir / "kept")
        lose(node)
    c.start()
    for node in lost:
        wait_says(node, "error", "never votes again under its id", "without one nothing is touched")
    start = time.monotonic()
    wait(lambda: time.monotonic() - start > TTL + 1, 60, "time enough for an election")
    assert all(n.running for n in c.nodes.values()) and c.primary() is None
    for node in lost:
        assert "never votes again" in veche(node)["problem"]
        assert (node.raft_dir / "identity").read_bytes() == ids[node.name]
        assert list(node.raft_dir.glob("raft.set-aside-*")) == []
        node.kill_agent()
        shutil.rmtree(node.raft_dir / "raft", ignore_errors=True)
        (node.dir / "kept").rename(node.raft_dir / "raft")
        for path in [node.raft_dir / "raft", *(node.raft_dir / "raft").iterdir()]:
            os.chown(path, os.stat(node.dir).st_uid, os.stat(node.dir).st_gid)
        node.start()
    c.wait_healthy()
    assert c.primary().sql_value("select count(*) from t") == 100


def elect_another(c):
    """Raises the term: whoever leads is started again."""
    leader = wait(lambda: next(n for n in c.nodes.values() if raft_leads(n)), 30, "a Raft leader")
    term = veche(leader)["raft_term"]
    leader.kill_agent()
    wait(
        lambda: any(n.running and raft_leads(n) for n in c.nodes.values()), WITHIN, "another leader"
    )
    leader.start()
    wait(lambda: veche(leader)["raft_term"] > term, WITHIN, "it to know the new term")


def give_back(node, source, target):
    """As a restored backup: to whom it belonged."""
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(source, target)
    owner = os.stat(node.dir)
    for path in [target, *target.rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid)


WITNESSES = ("w1", "w2", "w3")


@pytest.fixture
def witnesses(request):
    with Cluster(names=WITNESSES) as c:
        yield c
        c.failed = getattr(request.node, "failed_in_call", False)


def wait_formed(c):
    wait(
        lambda: sum(raft_leads(n) for n in c.nodes.values()) == 1
        and all(veche(n)["raft_voter"] for n in c.nodes.values())
        and all(len(n.http("/cluster").json["members"]) == 3 for n in c.nodes.values()),
        WITHIN,
        "a cluster",
    )


@pytest.mark.parametrize("what", ["raft", "."], ids=["raft-state", "with-identity"])
def test_a_restored_backup_of_before_is_not_believed(witnesses, what):
    """Its terms are of the past, and so are its votes: as a damaged one."""
    c = witnesses
    c.start()
    wait_formed(c)
    node = c["w2"]
    old = veche(node)["node_id"]
    node.kill_agent()
    shutil.copytree(node.raft_dir, node.dir / "backup")
    node.start()
    wait_formed(c)
    for _ in range(2):
        elect_another(c)
    wait_formed(c)
    node.kill_agent()
    give_back(node, node.dir / "backup" / what, node.raft_dir / what)
    node.start()
    wait_says(node, "error", "The Raft state of this node is lost", "the term is lower")
    wait(lambda: veche(node)["node_id"] != old, 2 * WITHIN, "a new id")
    wait_formed(c)


def test_a_cloned_node_is_kept_out(witnesses):
    """The same id twice: whoever was there first stays, and both sides say so."""
    c = witnesses
    c.start()
    wait_formed(c)
    clone = Node(c, "clone", witness=True)
    original = c["w2"]
    shutil.copytree(original.raft_dir, clone.raft_dir)
    for path in [clone.raft_dir, *clone.raft_dir.rglob("*")]:
        os.chown(path, os.stat(clone.dir).st_uid, os.stat(clone.dir).st_gid)
    clone.overrides["name"] = "w2"
    try:
        clone.start()
        wait_says(clone, "two nodes run as")
        wait(
            lambda: any(says(n, "two nodes run as") for n in c.nodes.values()),
            WITHIN,
            "one of the others to say so, too",
        )
        wait_formed(c)
        assert not raft_leads(clone)
        assert original.metric("veche_peers_connected") == 2
    finally:
        clone.kill()


def assert_takes_no_part(node, before):
    wait(lambda: "met cluster" in veche(node).get("problem", ""), WITHIN, "its own problem")
    assert not veche(node)["raft_leader"]
    assert (node.raft_dir / "identity").read_bytes() == before
    assert list(node.raft_dir.glob("raft.set-aside-*")) == []
    assert node.metric("veche_peers_connected") == 0


def test_a_directory_of_another_cluster_is_refused(witnesses):
    """Row three: it takes no part, whoever it is, and nothing of it is touched; nor where its
    vote would make the majority."""
    c = witnesses
    c.start()
    wait_formed(c)
    node = c["w2"]
    node.kill_agent()
    node.raft_dir.rename(node.dir / "own")
    with Cluster(names=WITNESSES) as other:
        other.secret = c.secret
        other.start()
        wait_formed(other)
        other["w2"].kill_agent()
        give_back(node, other["w2"].raft_dir, node.raft_dir)
    before = (node.raft_dir / "identity").read_bytes()
    node.start()
    wait(
        lambda: any(says(n, "A connection was refused", "cluster") for n in c.nodes.values()),
        WITHIN,
        "a refusal",
    )
    assert_takes_no_part(node, before)
    others = [n for n in c.nodes.values() if n is not node]
    wait(lambda: sum(raft_leads(n) for n in others) == 1, WITHIN, "a leader of the other two")

    node.kill_agent()
    c["w3"].kill_agent()
    wait(lambda: not raft_leads(c["w1"]), WITHIN, "w1 to be alone")
    node.start()
    assert_takes_no_part(node, before)  # Longer than an election takes.
    assert not raft_leads(c["w1"])

    node.kill_agent()
    give_back(node, node.dir / "own", node.raft_dir)
    node.start()
    c["w3"].start()
    wait_formed(c)


def test_an_owner_with_a_directory_of_another_cluster_is_fenced(cluster):
    """Row three, the owner: under a foreign identity it has no lease. Its PostgreSQL is stopped,
    another one takes over, and no row is acknowledged by the old one from then on."""
    c = cluster
    c.start_and_wait()
    old = c.primary()
    with Cluster(names=(old.name, "w1", "w2")) as other:
        other.secret = c.secret
        other.start()
        wait(lambda: other[old.name].is_primary(), 2 * WITHIN, "the other cluster")
        other[old.name].kill()
        give_back(old, other[old.name].raft_dir, old.dir / "foreign")
    writer = start_writer(c)
    old.kill_agent()
    old.raft_dir.rename(old.dir / "own")
    (old.dir / "foreign").rename(old.raft_dir)
    before = (old.raft_dir / "identity").read_bytes()
    old.start()
    new = c.wait_primary(WITHIN, other_than=old)
    seen = time.monotonic()
    writer.wait_rows(50)
    assert not old.is_primary() and old.metric("veche_lease_live") == 0
    assert any(says(n, "A connection was refused", "cluster") for n in c.nodes.values())
    assert (old.raft_dir / "identity").read_bytes() == before

    old.kill_agent()
    give_back(old, old.dir / "own", old.raft_dir)
    old.start()
    c.wait_healthy()
    writer.stop()
    assert c.primary() is new
    lost = set(writer.missing(new))  # Asynchronous: what the standby had not received.
    assert all(received < seen for row, _, received in writer.acknowledged if row in lost)


def test_a_disk_that_fails_while_it_is_written_costs_the_raft_vote_only(cluster, report):
    """The file system under the primary's Raft state gives up: the agent ends rather than go on
    with an undurable vote, and the next one goes on without it."""
    c = cluster
    disk = Disk(c.dir, "disk-of-pg1")
    try:
        for node in c.postgres_nodes:
            node.raft_dir = (disk.place if node.name == "pg1" else node.dir) / "raft"
        c.start_and_wait()
        node = c["pg1"]
        if c.primary() is not node:
            assert c["w1"].http("/switchover", "POST", {"leader": "pg2"}).status == 200
            wait(lambda: c.primary() is node, WITHIN, "pg1 to be primary")
            c.wait_healthy()
        writer = start_writer(c)
        postmaster, epoch = node.postmaster_pid(), node.metric("veche_epoch")
        subprocess.run(["mount", "-o", "remount,abort", disk.place], check=False)
        wait(lambda: not node.running, 60, "the agent to meet the failure")
        assert node.process.returncode == RAFT_FAILED
        node.start()
        wait_without_raft(node)
        writer.wait_rows(500)
        writer.stop()
        assert writer.errors == 0 and c.primary() is node
        assert node.postmaster_pid() == postmaster and node.metric("veche_lease_live") == 1
        assert all(n.metric("veche_epoch") == epoch for n in c.nodes.values() if n is not node)
        assert writer.missing(node) == []
    finally:
        for node in c.nodes.values():
            node.kill()
        disk.close()
