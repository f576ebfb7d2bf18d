"""PostgreSQL's own TLS, checked in full, with the other settings of the installations that meet there:
configuration apart from the data, the socket for the agent, libraries with settings of their own."""

import os
import pwd
import signal

import psycopg2
import pytest

from certs import Authority, own
from veche import SUPERUSER_PASSWORD, Cluster, wait

HBA = [
    "local all all scram-sha-256",
    "hostssl all all 127.0.0.0/8 scram-sha-256",
    "hostssl replication replicator 127.0.0.0/8 scram-sha-256",
]


def give(node, authority, san):
    cert, key = authority.sign(node.name, san=san)
    own(cert)
    config_dir = node.dir / "config"
    config_dir.mkdir()
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(config_dir, user.pw_uid, user.pw_gid)
    parameters = node.config()["postgresql"]["parameters"]
    node.overrides |= {
        "postgresql.config_dir": str(config_dir),
        "postgresql.pg_hba": HBA,
        "postgresql.parameters": {**parameters, "ssl": "on", "ssl_cert_file": str(cert),
                                  "ssl_key_file": str(key)},
    }
    for role in ("superuser", "replication", "rewind"):
        node.overrides |= {
            f"postgresql.authentication.{role}.sslmode": "verify-full",
            f"postgresql.authentication.{role}.sslrootcert": str(authority.cert),
        }


@pytest.fixture(scope="module")
def pair(request):
    parameters = {
        "shared_preload_libraries": "pg_stat_statements,auto_explain",
        "pg_stat_statements.max": 1000,
        "auto_explain.log_min_duration": "10s",
    }
    with Cluster(dcs={"postgresql": {"parameters": parameters}}) as c:
        authority = Authority(c.dir)
        authority.cert.chmod(0o644)
        for node in c.postgres_nodes:
            give(node, authority, f"IP:{node.host}")
        c["pg2"].overrides["postgresql.use_unix_socket"] = True
        c.start_and_wait()
        before = request.session.testsfailed
        yield c
        c.failed = request.session.testsfailed > before


def sessions(node, where):
    """(by TLS, over TCP) of sessions of that PostgreSQL."""
    return node.sql("select s.ssl, a.client_addr is not null from pg_stat_ssl s join"
                    f" pg_stat_activity a using (pid) where {where} and a.pid <> pg_backend_pid()")


def agents_sessions(node):
    return wait(lambda: sessions(node, "a.application_name like 'veche%' and a.usename = 'postgres'"),
                30, f"a session of the agent of {node.name}")


def test_standbys_and_agents_use_tls_checked_in_full(pair):
    primary, (standby,) = pair.primary(), pair.standbys()
    assert sessions(primary, "a.usename = 'replicator'") == [(True, True)]
    (conninfo,) = standby.sql("select conninfo from pg_stat_wal_receiver")[0]
    assert "sslmode=verify-full" in conninfo and "sslrootcert=" in conninfo
    assert all(s == (True, True) for s in agents_sessions(pair["pg1"]))
    assert all(s == (False, False) for s in agents_sessions(pair["pg2"]))  # The socket.
    with pytest.raises(psycopg2.OperationalError, match="no encryption"):
        psycopg2.connect(host=primary.host, port=primary.pg_port, user="postgres",
                         password=SUPERUSER_PASSWORD, sslmode="disable")


def test_configuration_apart_from_the_data_and_settings_of_libraries(pair):
    for node in pair.postgres_nodes:
        for name in ("config_file", "hba_file", "ident_file"):
            assert node.sql_value(f"show {name}").startswith(str(node.dir / "config"))
        assert node.sql_value("show pg_stat_statements.max") == "1000"
        assert node.sql_value("show auto_explain.log_min_duration") == "10s"
        assert node.sql_value("show shared_preload_libraries") == "pg_stat_statements,auto_explain"


def test_a_certificate_of_somebody_else_is_not_taken(pair):
    """The agent without the socket checks its own PostgreSQL too, and says what is wrong."""
    node, other = pair["pg1"], Authority(pair.dir, "other")
    good = node.overrides["postgresql.authentication.superuser.sslrootcert"]
    other.cert.chmod(0o644)

    def use(root):
        node.overrides["postgresql.authentication.superuser.sslrootcert"] = str(root)
        node.write_config()
        node.process.send_signal(signal.SIGHUP)

    use(other.cert)
    wait(lambda: "certificate verify failed" in node.log(), 30, "the certificate to be refused")
    use(good)
    wait(lambda: node.status().get("state") == "running" and agents_sessions(node), 60,
         "the agent to be let in again")
    pair.wait_healthy()
