"""What is told about PostgreSQL."""

import psycopg2
import pytest

from veche import wait


def test_a_first_start_tells_of_no_problem(cluster):
    """What is being made was not cut off."""
    cluster.start_and_wait()
    for node in cluster.postgres_nodes:
        log = node.log()
        assert "sequence=bootstrap" in log or "sequence=clone" in log
        assert "was cut off" not in log


@pytest.mark.parametrize("configured", [True, False])
def test_clients_wait_until_post_bootstrap_has_ended(cluster, configured):
    """What they wrote before could still be discarded with the database."""
    go = cluster.postgres_nodes[0].dir / "go"
    for node in cluster.postgres_nodes:
        node.overrides["bootstrap.post_bootstrap"] = (
            f"touch {node.dir}/started; while [ ! -e {go} ]; do sleep 0.1; done; true"
        )
        if not configured:
            node.overrides["postgresql.pg_hba"] = None  # initdb's file, and lines of ours.
    cluster.start()

    def runs_script():
        return next((n for n in cluster.postgres_nodes if (n.dir / "started").exists()), None)

    node = wait(runs_script, 60, "the script to run")
    with pytest.raises(psycopg2.OperationalError, match="no pg_hba.conf entry"):
        psycopg2.connect(node.dsn(user="rewinder", password="rewind secret"))
    assert node.http("/primary").status == 503
    assert node.http("/").status == 503

    go.touch()
    cluster.wait_primary(60)
    wait(lambda: node.sql_value("select 1") == 1, 30, "it to answer")
    psycopg2.connect(node.dsn(user="rewinder", password="rewind secret")).close()
    cluster.wait_healthy()
