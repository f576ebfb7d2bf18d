"""Synchronous modes on real PostgreSQL: no acknowledged row is lost (S2)."""

import contextlib
import os
import signal
import threading
import time

import psycopg2
import pytest

from veche import TTL, Cluster, Writer, wait

APP_PASSWORD = "app secret"


def sync_cluster(**dcs):
    return Cluster(dcs={"synchronous_mode": True, **dcs})


def role_of(c, name, asked=None):
    node = asked or c[name]
    return next(m["role"] for m in node.http("/cluster").json["members"] if m["name"] == name)


def wait_sync(c, seconds=60):
    """Until the store names the standby; returns primary and standby."""
    primary = c.wait_healthy()
    (standby,) = c.standbys()
    wait(lambda: role_of(c, standby.name, primary) == "sync_standby", seconds, "a sync standby")
    return primary, standby


class SyncWriter(Writer):
    """An acknowledgement that comes with a warning counts as none."""

    def run(self):
        connection = None
        while not self.stopping.is_set():
            try:
                if connection is None:
                    connection = psycopg2.connect(self.dsn())
                    connection.autocommit = True
                number = self.next_id
                self.next_id += 1
                sent = time.monotonic()
                with connection.cursor() as cursor:
                    cursor.execute(
                        f"insert into {self.table} values (%s, inet_server_port())", (number,)
                    )
                if connection.notices:
                    del connection.notices[:]
                else:
                    self.acknowledged.append((number, sent, time.monotonic()))
                self.stopping.wait(self.pause)
            except psycopg2.Error:
                self.errors += 1
                if connection is not None:
                    with contextlib.suppress(Exception):
                        connection.close()
                    connection = None
                self.stopping.wait(0.01)
        if connection is not None:
            connection.close()


def start_writer(c):
    writer = SyncWriter(c.postgres_nodes)
    writer.prepare()
    writer.start()
    writer.wait_rows(20)
    return writer


def test_no_acknowledged_row_is_missing_after_the_primarys_node_is_killed(report):
    # The bound of installation I2: a confirmed standby is exempt from it.
    with sync_cluster(maximum_lag_on_failover=0) as c:
        c.start()
        primary, standby = wait_sync(c)
        wait(lambda: standby.http("/sync").status == 200, 60, "the standby to know it, too")
        assert standby.http("/async").status == 503
        assert primary.http("/sync").status == 503
        assert standby.status()["sync_standby"] is True
        assert "Sync Standby" in primary.ctl("list").stdout
        writer = start_writer(c)

        killed_at = time.monotonic()
        primary.kill()
        assert c.wait_primary(10 * (TTL + 1), other_than=primary) is standby
        writer.wait_rows(20)
        report(f"write gap {writer.longest_gap(killed_at - 1):.2f} s")
        primary.start()
        assert wait_sync(c) == (standby, primary)
        writer.wait_rows(20)
        writer.stop()
        assert writer.missing(standby) == []


def refusal(c):
    """Why the Raft leader of the moment chooses nobody."""
    for node in c.nodes.values():
        if node.running:
            veche = node.status()["veche"]
            if veche["cluster_rule"] == "no-candidate":
                return veche["cluster_evidence"]
    return ""


def test_without_its_standby_on_goes_on_alone_and_nobody_else_may_lead(report):
    with sync_cluster() as c:
        c.start()
        primary, standby = wait_sync(c)
        writer = start_writer(c)

        killed_at = time.monotonic()
        standby.kill()
        writer.wait_rows(20)
        report(f"write gap {writer.longest_gap(killed_at - 1):.2f} s until degraded")
        assert primary.sql_value("show synchronous_standby_names") == ""

        primary.kill()
        standby.start()
        why = f"{standby.name}: sync (not in the synchronous set of {primary.name})"
        wait(lambda: why in refusal(c), 60, "the refusal, with its reason")
        assert not standby.is_primary()

        primary.start()
        assert wait_sync(c) == (primary, standby)
        writer.wait_rows(20)
        writer.stop()
        assert writer.missing(primary) == []


def test_an_asynchronous_member_is_refused_with_a_reason():
    with sync_cluster() as c:
        c["pg2"].overrides["tags"] = {"nosync": True}
        c["pg1"].overrides["tags"] = {"nosync": True}
        c.start()
        primary = c.wait_healthy()
        (standby,) = c.standbys()
        why = f"not in the synchronous set of {primary.name}"

        wait(lambda: standby.http("/async").status == 200, 60, "an asynchronous standby")
        primary.sql("create table t (id int)")  # Commits do not wait.
        alone = "no synchronous standby"
        wait(lambda: alone in primary.status()["veche"].get("problem", ""), 60, "the problem")
        refused = primary.ctl("switchover", "--candidate", standby.name, "--force", check=False)
        assert refused.returncode != 0 and why in refused.stdout + refused.stderr
        primary.kill()
        wait(lambda: why in refusal(c), 60, "the refusal, with its reason")
        assert not standby.is_primary()


def waiting_commits(node):
    return node.sql_value("select count(*) from pg_stat_activity where wait_event = 'SyncRep'")


def test_strict_waits_for_its_standby():
    with sync_cluster(synchronous_mode_strict=True) as c:
        c.start()
        primary, standby = wait_sync(c)
        writer = start_writer(c)

        standby.kill()
        wait(lambda: waiting_commits(primary) > 0, 60, "a commit that waits")
        wait(lambda: primary.sql_value("select count(*) from pg_stat_replication") == 0, 60, "gone")
        acknowledged = len(writer.acknowledged)
        # Longer than mode `on` would wait, by the agent's own clock.
        look = "select extract(epoch from now() - query_start) > 5 from pg_stat_activity"
        wait(lambda: primary.sql_value(look + " where wait_event = 'SyncRep'"), 60, "5 s of waiting")
        assert len(writer.acknowledged) == acknowledged
        assert role_of(c, standby.name, primary) == "sync_standby"

        standby.start()
        writer.wait_rows(20)
        writer.stop()
        assert writer.missing(primary) == []
        primary.kill()
        assert c.wait_primary(10 * (TTL + 1), other_than=primary) is standby
        assert writer.missing(standby) == []


def insert_and_wait(dsn):
    """A commit that nobody acknowledges."""
    with contextlib.suppress(psycopg2.Error), contextlib.closing(psycopg2.connect(dsn)) as k:
        k.autocommit = True
        k.cursor().execute("insert into t values (1)")


def can_connect(dsn):
    with contextlib.closing(psycopg2.connect(dsn)):
        return True


def test_a_primary_with_waiting_commits_lets_clients_in_only_when_it_is_proven():
    with sync_cluster(synchronous_mode_strict=True) as c:
        c.start()
        primary, standby = wait_sync(c)
        primary.sql("create table t (id int)")
        primary.sql(f"create role app login password '{APP_PASSWORD}'")
        app = primary.dsn(user="app", password=APP_PASSWORD)
        assert can_connect(app)
        standby.kill()
        inserting = threading.Thread(target=insert_and_wait, args=(primary.dsn(),))
        inserting.start()
        wait(lambda: waiting_commits(primary) > 0, 60, "a commit that waits")
        os.kill(primary.postmaster_pid(), signal.SIGKILL)
        inserting.join(30)

        # It is there after crash recovery, and no standby has it: nobody may see it.
        wait(lambda: primary.sql_value("select count(*) from t") == 1, 60, "the restart in place")
        with pytest.raises(psycopg2.OperationalError, match="pg_hba.conf"):
            psycopg2.connect(app)
        assert not primary.is_primary()
        wait(lambda: "kept out" in primary.status()["veche"].get("problem", ""), 60, "the reason")

        standby.start()
        wait(lambda: can_connect(app), 60, "clients are let in")
        assert wait_sync(c) == (primary, standby)
        wait(lambda: standby.sql_value("select count(*) from t") == 1, 60, "the row there too")


def test_a_switchover_and_a_killed_agent_lose_nothing(report):
    with sync_cluster() as c:
        c.start()
        primary, standby = wait_sync(c)
        writer = start_writer(c)

        # The next agent finds all as it was, and touches nothing.
        lines = primary.log().count("Telling PostgreSQL")
        postmaster = primary.postmaster_pid()
        killed_at = time.monotonic()
        primary.kill_agent()
        primary.start()
        wait(lambda: primary.is_primary(), 60, "the primary again")
        assert wait_sync(c) == (primary, standby)
        writer.wait_rows(100)
        report(f"write gap {writer.longest_gap(killed_at - 1):.2f} s with a killed agent")
        assert primary.postmaster_pid() == postmaster
        assert primary.log().count("Telling PostgreSQL") == lines

        primary.ctl("switchover", "--candidate", standby.name, "--force")
        assert wait_sync(c) == (standby, primary)
        writer.wait_rows(20)
        standby.ctl("switchover", "--candidate", primary.name, "--force")
        assert wait_sync(c) == (primary, standby)
        writer.wait_rows(20)
        writer.stop()
        assert writer.missing(primary) == []


def change_config(node, **values):
    reply = node.http("/config", "PATCH", values)
    assert reply.status == 200, reply.text


def names_of(node):
    return node.sql_value("show synchronous_standby_names")


def test_modes_are_switched_at_run_time():
    """off, on, strict, on, off, asked of different nodes, under a client that writes."""
    with Cluster() as c:
        c.start()
        primary = c.wait_healthy()
        (standby,) = c.standbys()
        writer = start_writer(c)
        postmaster = primary.postmaster_pid()
        assert names_of(primary) == "" and standby.http("/async").status == 200

        change_config(standby, synchronous_mode=True)
        assert wait_sync(c) == (primary, standby)
        wait(lambda: standby.name in names_of(primary), 60, "the standby's name")
        wait(lambda: standby.http("/sync").status == 200, 60, "a sync standby")
        writer.wait_rows(20)

        # Without the standby `on` goes on alone, strict does not.
        change_config(c["w1"], synchronous_mode_strict=True)
        standby.kill()
        wait(lambda: waiting_commits(primary) > 0, 60, "a commit that waits")
        assert role_of(c, standby.name, primary) == "sync_standby"
        acknowledged = len(writer.acknowledged)
        change_config(primary, synchronous_mode_strict=None)
        wait(lambda: len(writer.acknowledged) > acknowledged + 20, 60, "the degradation")
        wait(lambda: role_of(c, standby.name, primary) != "sync_standby", 60, "it to be shown")
        change_config(primary, synchronous_mode_strict=True)
        wait(lambda: waiting_commits(primary) > 0, 60, "a commit that waits, nobody being there")
        standby.start()
        assert wait_sync(c) == (primary, standby)
        writer.wait_rows(20)

        change_config(primary, synchronous_mode=False, synchronous_mode_strict=None)
        wait(lambda: names_of(primary) == "", 60, "no name")
        wait(lambda: standby.http("/async").status == 200, 60, "an asynchronous standby")
        wait(lambda: names_of(standby) == "", 60, "no placeholder on the standby")
        writer.wait_rows(20)

        # On again: its promise is whole, whatever was acknowledged between.
        change_config(standby, synchronous_mode="on")
        assert wait_sync(c) == (primary, standby)
        writer.wait_rows(20)
        assert primary.postmaster_pid() == postmaster
        primary.kill()
        assert c.wait_primary(10 * (TTL + 1), other_than=primary) is standby
        writer.wait_rows(20)
        writer.stop()
        assert writer.missing(standby) == []


def test_the_standby_is_chosen_by_priority_and_by_lag():
    parameters = {"wal_sender_timeout": "60s"}  # Who is stopped below still streams.
    with Cluster(
        names=("pg1", "pg2", "pg3"),
        dcs={
            "synchronous_mode": True,
            "maximum_lag_on_syncnode": "4MB",
            "postgresql": {"parameters": parameters},
        },
    ) as c:
        for priority, node in enumerate(c.nodes.values(), 1):
            node.overrides["tags"] = {"sync_priority": priority}
        c.start()
        primary = c.wait_healthy()
        second, first = sorted(c.standbys(), key=lambda node: node.name)

        def named(node):
            return role_of(c, node.name, primary) == "sync_standby"

        wait(lambda: named(first), 60, "the largest priority")
        writer = start_writer(c)
        r = primary.ctl("restart", first.name, "--force")
        assert r.returncode == 0, r
        assert f"an operator asked for a restart of {first.name}" in primary.log()
        wait(lambda: named(first), 60, "it to be named again after its restart")
        writer.wait_rows(20)

        first.kill()
        wait(lambda: named(second), 60, "the next one")
        writer.wait_rows(20)
        first.start()
        wait(lambda: named(first), 60, "the largest priority again")
        assert f"{first.name} has sync_priority" in primary.log()
        assert "bytes behind" not in primary.log()

        receiver = first.sql_value("select pid from pg_stat_wal_receiver")
        os.kill(receiver, signal.SIGSTOP)
        try:
            primary.sql("set synchronous_commit = off; create table filler as"
                        " select i, repeat('x', 500) from generate_series(1, 20000) i")
            wait(lambda: named(second), 60, "the one that does not lag")
            assert "maximum_lag_on_syncnode is 4194304" in primary.log()
            writer.wait_rows(20)
        finally:
            os.kill(receiver, signal.SIGCONT)
        wait(lambda: named(first), 60, "the largest priority once more")
        writer.wait_rows(20)
        primary.kill()
        assert c.wait_primary(10 * (TTL + 1), other_than=primary) is first
        writer.wait_rows(20)
        writer.stop()
        assert writer.missing(first) == []


# What the agent tells PostgreSQL on the way: nobody, the placeholder, the standby.
@pytest.mark.parametrize("told", ["nobody", "placeholder", "standby"])
def test_an_agent_killed_on_the_way_leaves_nothing_half_done(told):
    """The agent is killed as soon as it says that; the next one finds its way, and at
    the end nothing that was acknowledged is missing on the standby."""
    with sync_cluster() as c:
        c.start()
        primary, standby = wait_sync(c)
        writer = start_writer(c)
        value = {"nobody": "names=''", "placeholder": "__patroni", "standby": f'"{standby.name}"'}

        def times_told(what):
            lines = [text for text in primary.log().splitlines() if "Telling PostgreSQL" in text]
            return sum(value[what] in text for text in lines)

        for _ in range(2):
            before = {what: times_told(what) for what in value}
            standby.kill()
            if told != "nobody":
                wait(lambda: times_told("nobody") > before["nobody"], 60, "the degradation")
                standby.start()
            wait(lambda: times_told(told) > before[told], 60, f"{told} to be told")
            primary.kill_agent()
            primary.start()
            if told == "nobody":
                standby.start()
            assert wait_sync(c) == (primary, standby)
        writer.wait_rows(20)
        primary.kill()
        assert c.wait_primary(10 * (TTL + 1), other_than=primary) is standby
        writer.wait_rows(20)
        writer.stop()
        assert writer.missing(standby) == []
