"""Permanent slots, slots to be left alone, slots of members that are gone: one cluster for all."""

import pytest

from veche import TTL, Cluster, wait

WITHIN = 10 * (TTL + 1)
SLOTS = {
    "backup": {"type": "physical"},
    "cdc": {"type": "logical", "database": "postgres", "plugin": "pgoutput"},
}


@pytest.fixture(scope="module")
def pair(request):
    dcs = {"slots": SLOTS, "postgresql": {"parameters": {"wal_level": "logical"}}}
    with Cluster(dcs=dcs) as c:
        c.start_and_wait()
        before = request.session.testsfailed
        yield c
        c.failed = request.session.testsfailed > before


def slots(node):
    return {name for (name,) in node.sql("select slot_name from pg_replication_slots")}


def place(node, name="backup"):
    """As a number; None: it reserves nothing."""
    return node.sql_value(
        "select restart_lsn - '0/0' from pg_replication_slots where slot_name = %s", name
    )


def patch(node, change):
    reply = node.http("/config", "PATCH", change)
    assert reply.status == 200, reply.text


def synchronizes(node):
    """PostgreSQL 17 and newer: the logical slot is on the standbys, too."""
    return node.sql_value("select current_setting('server_version_num')::int") >= 170000


def has(node, *names):
    if "cdc" not in names and synchronizes(node):
        names += ("cdc",)  # Each standby has it.
    wait(lambda: slots(node) == set(names), WITHIN, f"{node.name} to have the slots {names}")


def is_synchronized(primary, standby):
    """It is kept from the time on at which its consumer moves, and WAL has a place to begin at."""
    primary.sql("select pg_log_standby_snapshot()")
    primary.sql("select pg_replication_slot_advance('cdc', pg_current_wal_flush_lsn())")
    return standby.sql_value(
        "select synced and failover and not temporary from pg_replication_slots"
        " where slot_name = 'cdc'"
    )


def rows_of(node):
    """What comes out of the logical slot next."""
    return node.sql_value(
        "select count(*) from pg_logical_slot_peek_binary_changes('cdc', null, null,"
        " 'proto_version', '1', 'publication_names', 'everything')"
        " where get_byte(data, 0) = ascii('I')"
    )


def test_permanent_slots_are_kept_where_the_primary_has_them(pair):
    primary, (standby,) = pair.primary(), pair.standbys()
    has(primary, standby.name, "backup", "cdc")
    has(standby, primary.name, "backup")
    said = primary.log()
    assert "replication slot was made. slot=backup" in said
    assert f"replication slot was made. slot={standby.name}" not in said  # No news.
    primary.sql("create table t as select generate_series(1, 10000) i")
    primary.sql("select pg_switch_wal()")  # One segment is not needed any more.
    primary.sql("insert into t select generate_series(1, 10000)")
    primary.sql("select pg_replication_slot_advance('backup', pg_current_wal_flush_lsn())")
    primary.sql("insert into t select generate_series(1, 10000)")
    moved = place(primary)
    wait(lambda: place(standby) == moved, WITHIN, "the standby's to follow")
    assert place(primary) == moved


def test_what_is_ignored_and_what_is_nobodys_is_not_dropped(pair):
    primary, (standby,) = pair.primary(), pair.standbys()
    patch(primary, {"slots": {"other": {}}, "ignore_slots": [{"name": "other"}]})
    primary.sql("select pg_create_physical_replication_slot('nobodys', true)")
    has(primary, standby.name, "backup", "cdc", "other", "nobodys")
    has(standby, primary.name, "backup", "other")
    patch(primary, {"slots": {"other": None, "more": {}}})
    has(primary, standby.name, "backup", "cdc", "other", "nobodys", "more")
    has(standby, primary.name, "backup", "other", "more")  # The change came here, too.
    patch(primary, {"slots": {"more": None}, "ignore_slots": None})
    has(primary, standby.name, "backup", "cdc", "nobodys")
    has(standby, primary.name, "backup")
    primary.sql("select pg_drop_replication_slot('nobodys')")
    said = [line for line in primary.log().splitlines() if "slot=nobodys" in line]
    assert len(said) == 1 and "rule=slot-unknown" in said[0]


def test_a_new_primary_has_them_and_the_old_ones_for_as_long_as_configured(pair):
    primary, (standby,) = pair.primary(), pair.standbys()
    survives = synchronizes(primary)
    primary.sql("create publication everything for all tables")
    if survives:
        wait(lambda: is_synchronized(primary, standby), WITHIN, "the logical slot there")
    kept = place(standby)
    primary.sql("create table u (i int)")
    primary.sql("insert into u select generate_series(1, 7)")
    end = primary.sql_value("select pg_current_wal_flush_lsn()")
    wait(lambda: standby.sql_value("select pg_last_wal_replay_lsn() >= %s", end), WITHIN, "replay")
    primary.kill()
    assert pair.wait_primary(other_than=primary) is standby
    has(standby, primary.name, "backup", "cdc")
    assert place(standby) == kept
    assert place(standby, primary.name) is not None  # WAL is kept for it.
    made_again = "logical replication slot was made again"
    if survives:
        assert rows_of(standby) == 7
        assert made_again not in standby.log()
    else:
        wait(lambda: made_again in standby.log(), WITHIN, "it to be said that rows are missed")
        assert rows_of(standby) == 0

    patch(standby, {"member_slots_ttl": "1s"})
    has(standby, "backup", "cdc")
    patch(standby, {"member_slots_ttl": None})
    has(standby, primary.name, "backup", "cdc")

    primary.start()
    pair.wait_healthy()
    has(primary, standby.name, "backup")  # The logical one of before is gone, or PostgreSQL's own.
    has(standby, primary.name, "backup", "cdc")


def test_an_agent_that_has_just_started_takes_no_slot_for_nobodys(pair):
    primary, (standby,) = pair.primary(), pair.standbys()
    standby.kill_agent()
    before = len(standby.log())
    standby.start()
    wait(lambda: "The local state is up to date" in standby.log()[before:], WITHIN, "its state")
    patch(primary, {"slots": {"later": {}}})
    has(standby, primary.name, "backup", "later")  # Since then it has looked at them all.
    assert "rule=slot-" not in standby.log()[before:]
    patch(primary, {"slots": {"later": None}})
    has(standby, primary.name, "backup")
