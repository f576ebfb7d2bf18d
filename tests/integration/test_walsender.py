"""A standby whose old connection lives on at the primary, without anybody at its other end."""

import contextlib
import time

import psycopg2
from psycopg2.extras import PhysicalReplicationConnection

from veche import TTL, wait

WITHIN = 10 * (TTL + 1)


def senders(primary, name):
    return primary.sql(
        "select pid, state from pg_stat_replication where application_name = %s", name
    )


def squat(primary, name):
    """Streams to nobody from the member's slot, in its name, and never times out."""
    position = primary.sql_value("select pg_current_wal_flush_lsn()::text")
    connection = psycopg2.connect(
        primary.dsn(
            user="replicator",
            password="repl secret",
            application_name=name,
            options="-c wal_sender_timeout=0",
        ),
        connection_factory=PhysicalReplicationConnection,
    )
    connection.cursor().start_replication(slot_name=name, start_lsn=position)
    return connection


def test_a_stale_walsender_does_not_keep_a_standby_from_streaming(cluster, report):
    cluster.start_and_wait()
    primary = cluster.primary()
    (standby,) = cluster.standbys()
    standby.kill()
    wait(lambda: not senders(primary, standby.name), WITHIN, "the old connection ended")
    with contextlib.closing(squat(primary, standby.name)):
        (stale,) = wait(
            lambda: [s for s in senders(primary, standby.name) if s[1] == "streaming"],
            WITHIN,
            "the stale WAL sender streams",
        )
        standby.start()
        start = time.monotonic()
        # Asked at the primary: a WAL receiver calls itself streaming from its start, before the slot is its own.
        wait(
            lambda: [
                pid
                for pid, state in senders(primary, standby.name)
                if state == "streaming" and pid != stale[0]
            ],
            WITHIN,
            "the standby streams",
        )
        taken = time.monotonic() - start
        assert stale[0] not in [pid for pid, _ in senders(primary, standby.name)]
        assert "ending that WAL sender" in primary.log()
    assert cluster.wait_healthy() is primary  # No failover for it.
    report(f"the standby streamed {taken:.1f} s after its start")
