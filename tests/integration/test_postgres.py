"""What is told about PostgreSQL."""

from veche import wait


def test_a_first_start_tells_of_no_problem(cluster):
    """What is being made was not cut off."""
    cluster.start_and_wait()
    for node in cluster.postgres_nodes:
        log = node.log()
        assert "sequence=bootstrap" in log or "sequence=clone" in log
        assert "was cut off" not in log
