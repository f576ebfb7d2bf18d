"""Agents that prove themselves by certificates, and the change of secrets by SIGHUP."""

import contextlib
import os
import signal
import socket
import subprocess
import time

import pytest

from certs import Authority, own
from veche import BUILD, TTL, Writer, wait

WITHIN = 10 * (TTL + 1)
DAY = 86400


def give(node, authority, cert, key):
    """Certificates in the place of the secret."""
    node.overrides |= {"raft.password": None, "raft.tls.cert": str(cert),
                       "raft.tls.key": str(key), "raft.tls.ca": str(authority.cert)}


def hang_up(node):
    """SIGHUP, and what the agent says to it."""
    node.write_config()
    before = len(node.log())
    node.process.send_signal(signal.SIGHUP)

    def said():
        new = node.log()[before:]
        answers = ("were changed. New", "was read again", "was not reloaded")
        return new if any(a in new for a in answers) else None

    return wait(said, WITHIN, f"{node.name} has read its configuration again")


def leader_of(c):
    for node in c.nodes.values():
        if node.running and node.status()["veche"]["raft_leader"]:
            return node.name
    return None


def links(c):
    """All agents that run hear all others that run."""
    running = [n for n in c.nodes.values() if n.running]
    return all(n.metric("veche_peers_connected") == len(running) - 1 for n in running)


@pytest.fixture
def authority(cluster):
    return Authority(cluster.dir)


@pytest.fixture
def secured(cluster, authority):
    """Two PostgreSQL nodes and a witness with certificates, running."""
    for node in cluster.nodes.values():
        give(node, authority, *authority.sign(node.name))
    cluster.start_and_wait()
    return cluster


def refusals(node, cause):
    return [l for l in node.log().splitlines() if f"refused. cause={cause} " in l]


def test_a_cluster_with_certificates_streams_and_fails_over(secured, report):
    primary, writer = secured.primary(), Writer(secured.postgres_nodes)
    writer.prepare()
    writer.start()
    writer.wait_rows(50)
    for node in secured.nodes.values():
        assert "wins over" not in node.log()
        left = node.metric("veche_certificate_expires_seconds") - time.time()
        assert DAY < left < 3 * DAY
    primary.kill()
    new = secured.wait_primary(WITHIN, other_than=primary)
    writer.wait_rows(50)
    primary.start()
    secured.wait_healthy()
    writer.stop()
    report(f"gap of {writer.longest_gap():.1f} s")
    assert new is secured.primary()
    for node in secured.nodes.values():
        assert "A connection was refused" not in node.log()


def come_back(c, node, authority, good):
    node.kill_agent()
    node.overrides = {}
    give(node, authority, *good)
    node.start()
    wait(lambda: links(c), WITHIN, f"{node.name} is back with a good certificate")


def test_who_has_no_good_certificate_stays_out(secured, authority):
    """The witness comes back with one bad certificate after the other: refused by the
    others, said once by each, while the two that are left go on."""
    primary, writer = secured.primary(), Writer(secured.postgres_nodes)
    witness, standby = secured["w1"], secured.standbys()[0]
    other = Authority(secured.dir, "other")
    writer.prepare()
    writer.start()
    good = authority.sign("w1")
    cases = [
        ("expired", lambda: give(witness, authority, *authority.sign("w1", clock="-10d")),
         "certificate has expired"),
        ("not yet valid", lambda: give(witness, authority, *authority.sign("w1", clock="+10d")),
         "certificate is not yet valid"),
        ("another CA", lambda: give(witness, other, *other.sign("w1")),
         "of a CA in raft.tls.ca"),
        ("no certificate", lambda: witness.overrides.update(
            {"raft.password": "a secret", "raft.tls": None}), "raft.tls is set here"),
        ("plain TCP", lambda: witness.overrides.update({"raft.password": None}),
         "it does not speak TLS as we do"),
    ]
    for name, prepare, text in cases:
        # Logged once in ten minutes for a cause and a place, and these have one in common.
        forgets = name in ("not yet valid", "another CA")
        if forgets:
            come_back(secured, witness, authority, good)
            standby.kill_agent()
            standby.start()
            wait(lambda: links(secured), WITHIN, "an agent that has refused nobody yet")
        witness.kill_agent()
        witness.overrides = {}
        prepare()
        before = {n: len(n.log()) for n in secured.postgres_nodes}
        witness.start()

        def refused(node, before=before, text=text):
            new = node.log()[before[node]:].splitlines()
            return [l for l in new if "A connection was refused." in l and text in l]

        for node in [standby] if forgets else secured.postgres_nodes:
            wait(lambda node=node: refused(node), WITHIN, f"{node.name} refuses: {name}")
        count = primary.metric("veche_peer_connections_refused_total")
        wait(lambda count=count: primary.metric("veche_peer_connections_refused_total") > count + 3,
             WITHIN, f"it is refused again and again: {name}")
        assert all(len(refused(n)) <= 2 for n in secured.postgres_nodes), name
        assert primary.metric("veche_peers_connected") == 1
        writer.wait_rows(20)
    come_back(secured, witness, authority, good)
    writer.stop()
    assert secured.primary() is primary


def test_plain_tcp_and_a_wrong_name(secured, authority):
    """A node with the certificate of another does not start; bytes that are not TLS are
    refused by a node that goes on."""
    witness = secured["w1"]
    with contextlib.closing(socket.create_connection((witness.host, witness.raft_port))) as s:
        s.sendall(b"GET / HTTP/1.1\r\n\r\n" + bytes(2000))
        wait(lambda: refusals(witness, "not-tls"), WITHIN, "the refusal of what is not TLS")
    witness.stop()
    give(witness, authority, *authority.sign("pg1"))
    witness.start()
    assert witness.process.wait(30) == 64
    assert 'it is for "pg1" and not for "w1"' in witness.log()
    cert, key = authority.sign("w1")
    key.chmod(0o640)
    give(witness, authority, cert, key)
    witness.start()
    assert witness.process.wait(30) == 64
    assert "run chmod 0600" in witness.log()


def checked(node):
    """What --validate-config says to the configuration of that node, and its exit code."""
    node.write_config()
    r = subprocess.run([BUILD / "src/veched", "--validate-config", "-i", node.config_path],
                       capture_output=True, text=True, timeout=30, check=False)
    return r.returncode, r.stdout + r.stderr


def test_the_check_of_a_configuration_opens_the_certificates(cluster, authority):
    node = cluster["w1"]
    give(node, authority, *authority.sign("w1"))
    assert checked(node) == (0, f"{node.config_path} is valid\n")

    give(node, authority, *authority.sign("w2"))
    code, said = checked(node)
    assert code == 64 and 'it is for "w2" and not for "w1"' in said
    cert, key = authority.sign("w1", clock="-10d")
    give(node, authority, cert, key)
    code, said = checked(node)
    assert code == 64 and "the certificate has expired" in said
    give(node, authority, cert, authority.sign("w1")[1])
    code, said = checked(node)
    assert code == 64 and "it is not the key of the certificate" in said
    give(node, authority, cert, cert.with_name("nothing.key"))
    code, said = checked(node)
    assert code == 64 and "nothing.key: No such file" in said
    cert, key = authority.sign("w1")
    give(node, authority, cert, key)
    if os.geteuid() == 0:  # Root reads it, the user of the agent does not.
        os.chown(key, 0, 0)
        code, said = checked(node)
        assert code == 64 and f"{key}: Permission denied" in said


@contextlib.contextmanager
def unchanged(c):
    """Inside, nothing happens to the cluster: no change of leader, no peer lost."""
    primary, leader = c.primary(), wait(lambda: leader_of(c), WITHIN, "a Raft leader")
    term = max(n.status()["veche"]["raft_term"] for n in c.nodes.values())
    before = {n: len(n.log()) for n in c.nodes.values()}
    writer = Writer(c.postgres_nodes)
    writer.prepare()
    writer.start()
    writer.wait_rows(20)
    yield writer
    writer.wait_rows(50)
    writer.stop()
    assert writer.errors == 0
    assert (c.primary(), leader_of(c)) == (primary, leader)
    assert max(n.status()["veche"]["raft_term"] for n in c.nodes.values()) == term
    for node, length in before.items():
        assert "Peer is down" not in node.log()[length:], node.name
    assert writer.missing(primary) == []


def test_a_secret_is_changed_node_by_node(cluster):
    for node in cluster.nodes.values():
        secret = cluster.dir / f"{node.name}.secret"
        secret.write_text("the first secret\n", encoding="utf-8")
        own(secret)
        node.overrides |= {"raft.password": None, "raft.password_file": str(secret)}
    cluster.start_and_wait()
    with unchanged(cluster):
        for node in cluster.nodes.values():
            (cluster.dir / f"{node.name}.secret").write_text("the next one\n", encoding="utf-8")
            assert "were changed" in hang_up(node)
    # Every connection anew, with the new one alone.
    for node in cluster.nodes.values():
        node.kill_agent()
        node.start()
        wait(lambda: links(cluster), WITHIN, f"{node.name} is back")
        cluster.wait_healthy()


def test_a_restart_in_the_middle_of_a_change(cluster):
    """One node has the new secret and two have not; each of those starts anew and finds
    the first, which knows both."""
    cluster.start_and_wait()
    first = cluster["w1"]
    old, cluster.secret = cluster.secret, "another secret"
    assert "were changed" in hang_up(first)
    cluster.secret = old
    for node in cluster.postgres_nodes:
        node.kill_agent()
        node.start()
        wait(lambda: links(cluster), WITHIN, f"{node.name} is back")
        cluster.wait_healthy()
    cluster.secret = "another secret"
    with unchanged(cluster):
        for node in cluster.postgres_nodes:
            assert "were changed" in hang_up(node)


def test_certificates_are_changed_node_by_node(secured, authority):
    with unchanged(secured):
        for node in secured.nodes.values():
            assert "was read again" in hang_up(node)
            give(node, authority, *authority.sign(node.name))
            assert "were changed" in hang_up(node)
    for node in secured.nodes.values():
        node.kill_agent()
        node.start()
        wait(lambda: links(secured), WITHIN, f"{node.name} is back")
        secured.wait_healthy()


def test_a_bad_file_is_refused_and_the_old_goes_on(secured, authority):
    node = secured["pg1"]
    good = dict(node.overrides)
    with unchanged(secured):
        give(node, authority, *authority.sign("pg1", clock="-10d"))
        assert "has expired" in hang_up(node)
        give(node, authority, authority.sign("pg1")[0], authority.sign("pg1")[1])
        assert "is not the key of the certificate" in hang_up(node)
        node.overrides = good | {"raft.tls.ca": "/nonexistent/ca.pem"}
        assert "raft.tls.ca /nonexistent/ca.pem: No such file" in hang_up(node)
        node.overrides = good | {"raft.self_addr": "nonsense:nonsense"}
        assert "raft.self_addr" in hang_up(node)
        node.overrides = {"raft.password": None}
        assert "was not reloaded" in hang_up(node)
    node.overrides = good
    other = secured["w1"]  # Its new connections find the old one in use.
    other.kill_agent()
    other.start()
    wait(lambda: links(secured), WITHIN, "w1 is back")
