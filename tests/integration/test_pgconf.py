"""What reaches the running PostgreSQL: its parameters, restarts, new copies; one cluster for all.

It speaks TLS only, agents and standbys check certificate and name (verify-full) and show
certificates of their own, the files of PostgreSQL are not in its data directory, and one agent
takes the unix socket, as the installations of reference have it.
"""

import datetime
import signal

import psycopg2
import pytest

from certs import Authority, own
from veche import SUPERUSER_PASSWORD, Cluster, processes_of, wait

KEY_PASSWORD = "of the #1 key"
HBA = [
    "local all postgres scram-sha-256",
    "hostssl template1 postgres 0.0.0.0/0 cert",  # The agent's sessions.
    "hostssl all postgres 0.0.0.0/0 scram-sha-256",
    "hostssl replication replicator 0.0.0.0/0 cert",
    "hostssl postgres,template1 rewinder 0.0.0.0/0 cert",
]


def give_certificates(c):
    """Each server one for its address, each role one for its name, and users that ask for it."""
    ca = Authority(c.dir)
    ca.cert.chmod(0o644)
    Authority(c.dir, "stranger").cert.chmod(0o644)
    for node in c.postgres_nodes:
        cert, key = ca.sign(node.name, san=f"IP:{node.host}")
        own(cert)
        config = node.config()["postgresql"]
        roles = {user: credentials | shown(ca, credentials["username"])
                 for user, credentials in config["authentication"].items()}
        node.overrides |= {
            "postgresql.config_dir": str(node.data_dir.parent / "etc"),
            "postgresql.database": "template1",
            "postgresql.use_unix_socket": node.name == "pg2",
            "postgresql.pg_hba": HBA,
            "postgresql.parameters": config["parameters"]
            | {
                "ssl": "on",
                "ssl_cert_file": str(cert),
                "ssl_key_file": str(key),
                "ssl_ca_file": str(ca.cert),
                "wal_retrieve_retry_interval": "500ms",
                "shared_preload_libraries": "pg_stat_statements,auto_explain",
                "pg_stat_statements.max": 1000,
                "auto_explain.log_min_duration": "10s",
            },
            "postgresql.authentication": roles,
        }


def shown(ca, role):
    """What that role checks, and shows; its key has a password."""
    cert, key = ca.sign(role, subject=role, password=KEY_PASSWORD)
    own(cert)
    return {"sslmode": "verify-full", "sslrootcert": str(ca.cert), "sslcert": str(cert),
            "sslkey": str(key), "sslpassword": KEY_PASSWORD}


@pytest.fixture(scope="module")
def pair(request):
    with Cluster() as c:
        give_certificates(c)
        c.start_and_wait()
        before = request.session.testsfailed
        yield c
        c.failed = request.session.testsfailed > before


def patch(node, postgresql):
    reply = node.http("/config", "PATCH", {"postgresql": postgresql})
    assert reply.status == 200, reply.text


def set_here(node, **parameters):
    """In the node's own file, then SIGHUP."""
    node.overrides["postgresql.parameters"].update(parameters)
    hang_up(node)


def hang_up(node):
    node.write_config()
    node.process.send_signal(signal.SIGHUP)


def problem(node):
    return node.status()["veche"].get("problem", "")


def show(node, name):
    return node.sql_value(f"show {name}")


def of_member(node, asked):
    members = asked.http("/cluster").json["members"]
    return next(m for m in members if m["name"] == node.name)


def reasons(node, asked=None):
    """Of a restart that is pending on that node, as it tells or as another one does."""
    if asked is None:
        return node.status().get("pending_restart_reason", {})
    return of_member(node, asked).get("pending_restart_reason", {})


def sessions(node, of):
    """Of those of the server: whether they are encrypted, come over the socket, and as whom the
    client's certificate has them."""
    rows = node.sql(
        "select s.ssl, a.client_addr is null, s.client_dn from pg_stat_ssl s"
        f" join pg_stat_activity a using (pid) where {of}"
    )
    return set(rows)


def agents(node):
    return sessions(node, "a.application_name = 'veche'")


def walsenders(node):
    return sessions(node, "a.backend_type = 'walsender'")


def test_agents_and_standbys_check_certificates_and_show_theirs(pair):
    primary, (standby,) = pair.primary(), pair.standbys()
    for node in (primary, standby):
        over_tls = {(True, False, "/CN=postgres")}
        expected = {(False, True, None)} if node.name == "pg2" else over_tls
        wait(lambda n=node, e=expected: agents(n) == e, 30, "the agent's own session")
    wait(lambda: walsenders(primary) == {(True, False, "/CN=replicator")}, 30, "the standby")
    with pytest.raises(psycopg2.OperationalError, match="no encryption"):
        psycopg2.connect(host=primary.host, port=primary.pg_port, user="postgres",
                         password=SUPERUSER_PASSWORD, sslmode="disable")


def test_configuration_apart_from_the_data_and_settings_of_libraries(pair):
    for node in pair.postgres_nodes:
        assert not (node.data_dir / "postgresql.base.conf").exists()
        for name in ("config_file", "hba_file", "ident_file"):
            assert show(node, name).startswith(f"{node.data_dir.parent}/etc/")
        assert show(node, "pg_stat_statements.max") == "1000"
        assert show(node, "auto_explain.log_min_duration") == "10s"
        assert show(node, "shared_preload_libraries") == "pg_stat_statements,auto_explain"


def test_a_certificate_of_a_stranger_is_not_taken(pair):
    """The standby that streams, and the agent that takes no socket, of its own PostgreSQL."""
    standby, agent = pair.standbys()[0], pair["pg1"]
    good = {n.name: n.overrides["postgresql.authentication"] for n in (standby, agent)}
    stranger = {"sslrootcert": str(pair.dir / "stranger.pem")}
    for node in {standby, agent}:
        node.overrides["postgresql.authentication"] = {
            user: credentials | stranger for user, credentials in good[node.name].items()}
        hang_up(node)
    wait(lambda: "certificate verify failed" in problem(standby), 60, "the stranger to be refused")
    wait(lambda: "certificate verify failed" in agent.log(), 60, "the agent to refuse it")
    for node in {standby, agent}:
        node.overrides["postgresql.authentication"] = good[node.name]
        hang_up(node)
    wait(lambda: agents(agent) == {(True, False, "/CN=postgres")}, 60, "the agent to be let in")
    pair.wait_healthy()


def test_a_change_takes_effect_everywhere_and_names_what_waits(pair):
    primary, (standby,) = pair.primary(), pair.standbys()
    patch(primary, {"parameters": {"work_mem": "7MB", "max_connections": 60}})
    expected = {"max_connections": {"old_value": "100", "new_value": "60"}}
    for node, other in ((primary, standby), (standby, primary)):
        wait(lambda n=node: show(n, "work_mem") == "7MB", 30, "work_mem to be changed")
        wait(lambda n=node: reasons(n) == expected, 30, "what waits for a restart")
        wait(lambda n=node, o=other: reasons(n, o) == expected, 30, "the other one to tell it")
        assert node.status()["pending_restart"] is True
    patch(primary, {"parameters": {"max_connections": None}})
    for node in (primary, standby):
        wait(lambda n=node: "pending_restart" not in n.status(), 30, "nothing to be pending")


def test_the_nodes_own_file_takes_effect_on_sighup(pair):
    primary, (standby,) = pair.primary(), pair.standbys()
    set_here(standby, work_mem="9MB", shared_buffers="24MB")
    wait(lambda: show(standby, "work_mem") == "9MB", 30, "work_mem to be changed")
    assert show(primary, "work_mem") != "9MB"
    wait(
        lambda: reasons(standby)
        == {"shared_buffers": {"old_value": "16MB", "new_value": "24MB"}},
        30,
        "what waits for a restart",
    )


def test_sections_of_a_role_follow_a_switchover(pair):
    primary, (standby,) = pair.primary(), pair.standbys()
    patch(
        primary,
        {
            "parameters_primary": {"log_min_duration_statement": "1234"},
            "parameters_replica": {"log_min_duration_statement": "4321"},
        },
    )
    wait(lambda: show(primary, "log_min_duration_statement") == "1234ms", 30, "the primary's")
    wait(lambda: show(standby, "log_min_duration_statement") == "4321ms", 30, "the standby's")
    primary.ctl("switchover", "--leader", primary.name, "--candidate", standby.name, "--force")
    wait(lambda: show(standby, "log_min_duration_statement") == "1234ms", 30, "the new primary's")
    wait(lambda: show(primary, "log_min_duration_statement") == "4321ms", 60, "the new standby's")


def soon(seconds):
    """As people write a time to come."""
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return at.isoformat(timespec="milliseconds")


def started(node):
    return node.status().get("postmaster_start_time")


def restart(node, code=200, **body):
    reply = node.http("/restart", "POST", body)
    assert reply.status == code, reply.text
    return reply.text


def epoch(node):
    return node.status()["veche"]["epoch"]


def test_a_restart_brings_what_was_pending_into_force_and_keeps_the_lease(pair):
    primary, (standby,) = pair.primary(), pair.standbys()
    before = epoch(primary)
    patch(primary, {"parameters": {"max_connections": 61}})
    for node in (standby, primary):
        wait(lambda n=node: "max_connections" in reasons(n), 30, "a restart to be pending")
    was = started(standby)
    assert "not a primary" in restart(standby, 503, role="primary")
    assert started(standby) == was
    expected = {"max_connections": {"old_value": "100", "new_value": "61"}}
    assert restart(standby, restart_pending=True) == "restarted successfully"
    assert started(standby) not in (was, None)
    # Less than what the primary has: the standby keeps that until it has replayed the change.
    wait(lambda: reasons(standby) == expected, 30, "what it was raised to to show")
    was = started(primary)
    assert restart(primary, restart_pending=True) == "restarted successfully"
    assert started(primary) not in (was, None)
    assert show(primary, "max_connections") == "61"
    lsn = primary.sql_value("select pg_current_wal_lsn()")
    replayed = f"select pg_last_wal_replay_lsn() >= '{lsn}'"
    wait(lambda: standby.sql_value(replayed), 30, "the standby to have replayed it")
    assert restart(standby) == "restarted successfully"
    wait(lambda: show(standby, "max_connections") == "61", 30, "the standby to have it, too")
    wait(lambda: "max_connections" not in reasons(primary), 30, "nothing to be pending")
    assert "no restart is pending" in restart(primary, 503, restart_pending=True)
    assert epoch(primary) == before
    assert pair.wait_healthy() is primary


def test_a_paused_primary_can_be_restarted(pair):
    primary = pair.primary()
    before = epoch(primary)
    primary.ctl("pause", "--wait")
    assert "paused" in restart(primary, 500, schedule=soon(60))
    was = started(primary)
    assert restart(primary) == "restarted successfully"
    assert started(primary) not in (was, None)
    primary.ctl("resume", "--wait")
    assert pair.wait_healthy() is primary
    assert epoch(primary) == before


def test_a_scheduled_restart_outlives_its_agent_and_can_be_taken_back(pair):
    primary, (standby,) = pair.primary(), pair.standbys()
    assert restart(standby, 202, schedule=soon(3600)) == "Restart scheduled"
    assert "already scheduled" in restart(standby, 409, schedule=soon(60))
    wait(lambda: of_member(standby, primary)["scheduled_restart"]["schedule"], 10, "it to show")
    assert standby.http("/restart", "DELETE").text == "scheduled restart deleted"
    assert standby.http("/restart", "DELETE").status == 404

    was = started(standby)
    restart(standby, 202, schedule=soon(4), role="replica")
    standby.kill_agent()
    standby.start()
    wait(lambda: started(standby) not in (was, None), 60, "the scheduled restart")
    wait(lambda: "scheduled_restart" not in standby.status(), 30, "it to be done")
    pair.wait_healthy()


def readable_by_others(node):
    """Files of the node that hold the password of the keys, and that others may read."""
    files = (p for p in node.dir.rglob("*") if p.is_file() and p != node.config_path)
    return [p for p in files if KEY_PASSWORD.encode() in p.read_bytes()
            and p.stat().st_mode & 0o077]


def test_a_standby_is_copied_anew(pair):
    primary, (standby,) = pair.primary(), pair.standbys()
    assert "I am the leader" in primary.http("/reinitialize", "POST", {}).text
    mark = standby.data_dir / "veche-test-mark"
    mark.write_text("of the copy before", encoding="utf-8")
    patch(primary, {"basebackup": ["verbose"]})
    reply = standby.http("/reinitialize", "POST", {"force": False})
    assert (reply.status, reply.text) == (200, "reinitialize started")
    pair.wait_healthy()
    assert not mark.exists()
    assert "pg_basebackup: base backup completed" in standby.log()  # The cluster's options.
    # With certificates whose keys have a password, which is shown to nobody.
    service = standby.dir / "pgpass.service"
    assert service.read_text(encoding="utf-8").count(f"sslpassword={KEY_PASSWORD}\n") == 2
    assert "The tablespaces of the source are not known" not in standby.log()
    assert KEY_PASSWORD not in standby.sql("select conninfo from pg_stat_wal_receiver")[0][0]
    for node in (primary, standby):
        assert readable_by_others(node) == []
        assert KEY_PASSWORD not in node.log()
        for pid in processes_of(node.data_dir):
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                assert KEY_PASSWORD.encode() not in f.read()


def test_a_scheduled_switchover_happens_or_is_taken_back(pair):
    primary, (standby,) = pair.primary(), pair.standbys()
    wish = {"leader": primary.name, "candidate": standby.name}
    reply = primary.http("/switchover", "POST", {**wish, "scheduled_at": soon(3600)})
    assert (reply.status, reply.text) == (202, "Switchover scheduled")
    shown = wait(lambda: standby.http("/cluster").json["scheduled_switchover"], 10, "it to show")
    assert (shown["from"], shown["to"]) == (primary.name, standby.name)
    assert standby.http("/switchover", "DELETE").text == "scheduled switchover deleted"
    assert standby.http("/switchover", "DELETE").status == 404
    wait(lambda: "scheduled_switchover" not in primary.http("/cluster").json, 10, "it to be gone")
    reply = standby.http("/switchover", "POST", {**wish, "scheduled_at": soon(2)})
    assert reply.status == 202
    assert pair.wait_primary(60, other_than=primary) is standby
