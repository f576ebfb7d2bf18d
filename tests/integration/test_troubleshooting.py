"""The six troubles that operators of an installation like I3 write down, as they make
them. Each message names the cause and the remedy; docs/OPERATIONS.md has a section
for each, which is looked for here too.
"""

import os
import socket
import subprocess

import pytest

from veche import BUILD, ROOT, TTL, Cluster, eventually, wait

BIND = 66  # include/veche/exitcode.h
ELSEWHERE = "203.0.113.9"  # TEST-NET-3: nobody has it.


@pytest.fixture(scope="module")
def three(request):
    """Two PostgreSQL nodes and a witness; each test leaves them healthy."""
    with Cluster() as c:
        c.start_and_wait()
        before = request.session.testsfailed
        yield c
        c.failed = request.session.testsfailed > before


@pytest.fixture
def standby(three):
    """The standby, stopped; started again afterwards as it was."""
    node = three.standbys()[0]
    assert node.stop() == 0
    yield node
    node.kill()
    node.overrides.clear()
    node.start()
    three.wait_healthy()


def problem_of(node):
    assert node.running, f"exit code {node.process.returncode}: {node.log()}"
    return node.status()["veche"].get("problem", "")


def shows(node, *parts, seconds=60):
    """One problem has all these words, in its status and in its log."""

    def look():
        problem = problem_of(node)
        return all(p.lower() in problem.lower() for p in parts) and problem

    problem = wait(look, seconds, f"{node.name} shows {parts}")
    line = f'There is a problem. problem="{problem}"'
    wait(lambda: line in node.log(), 60, f"the log of {node.name} says so too")
    return problem


def test_each_case_has_its_section_in_operations():
    text = (ROOT / "docs/OPERATIONS.md").read_text(encoding="utf-8")
    for heading in (
        "The agent does not start",
        "The agent does not reach the others",
        "PostgreSQL does not start",
        "Replication does not work",
        "A failover does not happen",
        "HAProxy does not see the nodes",
    ):
        assert f"\n### {heading}\n" in text, heading


@pytest.mark.parametrize("key, port", [("raft.self_addr", "7400"), ("restapi.listen", "8008")])
def test_case_1_the_agent_does_not_start_on_an_address_of_another_machine(key, port):
    with Cluster() as c:
        node = c["pg1"]
        node.overrides["restapi.connect_address"] = f"{ELSEWHERE}:8008"
        node.overrides["postgresql.connect_address"] = f"{ELSEWHERE}:5432"
        node.overrides[key] = f"{ELSEWHERE}:{port}"
        node.start()
        assert node.process.wait(30) == BIND, node.log()
        (line,) = [x for x in node.log().splitlines() if "Cannot start" in x]
        for part in (key, f"{ELSEWHERE}:{port}", "Cannot assign requested address",
                     "this machine has no such address", "`ip address`"):  # fmt: skip
            assert part in line, (part, line)


def test_case_1_the_agent_does_not_start_on_a_port_that_is_taken():
    with Cluster() as c, socket.socket() as s:
        node = c["pg1"]
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", node.raft_port))
        s.listen()
        node.start()
        assert node.process.wait(30) == BIND, node.log()
        (line,) = [x for x in node.log().splitlines() if "Cannot start" in x]
        assert "Address already in use" in line and "ss -ltnp" in line, line


def test_case_2_a_new_agent_does_not_reach_the_others():
    with Cluster() as c:
        node = c["pg1"]
        node.start()
        problem = shows(node, "no cluster yet, all members are needed", "is veched running there")
        for other in (c["pg2"], c["w1"]):
            assert f"{other.host}:{other.raft_port} (connection refused)" in problem


def test_case_2_a_member_loses_the_majority(three):
    primary, standby = three.primary(), three.standbys()[0]
    others = [standby, three["w1"]]
    for node in others:
        node.kill()
    problem = shows(primary, "no majority, hears 1 of 3 voters", "is veched running there")
    for node in others:
        assert f"{node.host}:{node.raft_port}" in problem
    wait(lambda: primary.http("/primary").status == 503, 60, "the end of its lease")

    for node in others:
        node.start()
    three.wait_healthy()
    wait(lambda: problem_of(primary) == "", 60, "the problem to be over")


def test_case_3_rights_of_the_data_directory(three, standby):
    standby.data_dir.chmod(0o777)
    try:
        standby.start()
        shows(standby, "did not start", "invalid permissions", str(standby.data_dir), "0700")
        assert standby.stop() == 0
    finally:
        standby.data_dir.chmod(0o700)


def test_case_3_the_data_directory_belongs_to_somebody_else(three, standby):
    owner = standby.data_dir.stat()
    os.chown(standby.data_dir, 0, 0)
    try:
        standby.start()
        shows(standby, "Permission denied", str(standby.data_dir), "give it to the user")
        assert standby.stop() == 0
    finally:
        os.chown(standby.data_dir, owner.st_uid, owner.st_gid)


def test_case_3_the_reason_is_only_in_the_log_of_the_collector(three, standby):
    standby.overrides["postgresql.parameters.logging_collector"] = "on"
    standby.overrides["postgresql.parameters.log_directory"] = "log"
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", standby.pg_port))
        s.listen()
        standby.start()
        shows(standby, "did not start", "could not create any TCP/IP sockets")
        startup = standby.data_dir.parent / "data.veche-startup.log"
        assert "could not create any" not in startup.read_text(encoding="utf-8")
    three.wait_healthy()  # As soon as the port is free, without anybody's help.


def test_case_4_replication_does_not_work(three, standby):
    primary = three.primary()
    standby.overrides["postgresql.authentication"] = {
        **standby.config()["postgresql"]["authentication"],
        "replication": {"username": "replicator", "password": "wrong"},
    }
    standby.start()
    shows(
        standby,
        f"no WAL from {primary.host}:{primary.pg_port}",
        "give every node the same postgresql.authentication.replication",
        "password authentication failed",
    )
    assert standby.stop() == 0

    standby.overrides.clear()  # The remedy.
    standby.start()
    three.wait_healthy()
    wait(lambda: problem_of(standby) == "", 60, "the problem to be over")


def test_case_5_a_failover_does_not_happen(three, standby):
    standby.overrides["tags.nofailover"] = True
    standby.start()
    primary = three.wait_healthy()
    primary.kill()

    def refusal():
        for node in (standby, three["w1"]):
            veche = node.status()["veche"]
            if veche["cluster_rule"] == "no-candidate" and "nofailover" in veche["cluster_evidence"]:
                return node
        return None

    leader = wait(refusal, 10 * (TTL + 1), "a refusal that names the tag")

    def check():
        lines = leader.log().splitlines()
        line = [x for x in lines if "rule=no-candidate" in x and "Cluster:" in x][-1]
        assert f"{standby.name}: nofailover" in line
        assert "mend what the evidence names" in line

    eventually(check)

    standby.kill_agent()
    standby.overrides.clear()  # The remedy.
    standby.start()
    assert three.wait_primary() is standby
    primary.start()
    three.wait_healthy()


def test_case_6_haproxy_does_not_see_a_node_that_listens_on_loopback(tmp_path):
    path = tmp_path / "veche.yml"
    path.write_text(
        "scope: s\nname: w1\nmode: witness\nraft:\n  self_addr: 10.0.0.1:7400\n  password: x\n"
        "restapi:\n  listen: 127.0.0.1:8008\n",
        encoding="utf-8",
    )
    r = subprocess.run(
        [str(BUILD / "src/veched"), "--validate-config", "-i", str(path)],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert f"{path}:8:" in r.stderr, r.stderr
    assert "restapi.listen: nobody on another machine reaches 127.0.0.1:8008" in r.stderr
    assert "use 0.0.0.0" in r.stderr


def test_case_6_a_check_that_fails_says_why(three):
    primary, standby = three.primary(), three.standbys()[0]
    reply = standby.http("/primary")
    assert reply.status == 503
    assert reply.json["role"] == "replica" and reply.json["veche"]["node_rule"] == "standby"
    assert primary.http("/replica").json["role"] == "primary"
    assert standby.http("/replica").status == primary.http("/primary").status == 200
