"""Failover, switchover and restart on real PostgreSQL."""

import contextlib
import os
import re
import signal
import threading
import time

import psycopg2
import pytest

from veche import TTL, Cluster, PipelineWriter, Writer, command_line, processes_of, wait


def start_with_writer(c):
    c.start_and_wait()
    writer = Writer(c.postgres_nodes)
    writer.prepare()
    writer.start()
    writer.wait_rows(20)
    return writer


ROWS_NOT_REPLAYED = 1000  # Of about 2 kB each.


def assert_nothing_lost(c, writer, received):
    """Every acknowledged row that the standby had received at the fault is there."""
    missing = [n for n in writer.missing(c.primary()) if n <= received]
    assert missing == []


def test_standby_is_promoted_when_the_primary_node_is_killed(cluster, report):
    writer = start_with_writer(cluster)
    primary, standby = cluster.primary(), cluster.standbys()[0]
    wait(
        lambda: standby.sql_value("select count(*) from rows") >= 20, 60, "rows on the standby"
    )

    received = standby.sql_value("select max(id) from rows")
    killed_at = time.monotonic()
    primary.kill()
    cluster.wait_primary(10 * (TTL + 1), other_than=primary)
    promoted_at = time.monotonic()
    writer.wait_rows(20)
    writer.stop()

    report(
        f"promoted {promoted_at - killed_at:.2f} s after SIGKILL (ttl + 1 = {TTL + 1} s); "
        f"write gap {writer.longest_gap(killed_at - 1):.2f} s"
    )
    assert cluster.primary() is standby
    assert_nothing_lost(cluster, writer, received)

    primary.start()
    cluster.wait_healthy()
    assert primary.sql_value("select pg_is_in_recovery()")


def test_rows_received_but_not_replayed_survive(cluster, report):
    cluster.start_and_wait()
    primary, standby = cluster.primary(), cluster.standbys()[0]
    primary.sql("create table kept (id int primary key, t text)")
    wait(lambda: standby.sql("select * from kept") == [], 60, "the table on the standby")
    standby.sql("select pg_wal_replay_pause()")

    # More than maximum_lag_on_failover, so that only what was received can count.
    with contextlib.closing(psycopg2.connect(primary.dsn())) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for number in range(1, ROWS_NOT_REPLAYED + 1):
                cursor.execute("insert into kept values (%s, repeat('x', 1900))", (number,))
    end = primary.sql_value("select pg_current_wal_insert_lsn()")
    received = "select pg_last_wal_receive_lsn() >= %s::pg_lsn"
    wait(lambda: standby.sql_value(received, end), 60, "all rows received")

    def known_behind(node):
        members = node.http("/cluster").json["members"]
        return next(m["replay_lag"] for m in members if m["name"] == standby.name)

    bound = cluster.dcs["maximum_lag_on_failover"]
    for judge in (standby, cluster["w1"]):
        wait(lambda: known_behind(judge) > bound, 60, f"{judge.name} to know of the rows")
    behind = known_behind(standby)
    assert standby.sql_value("select count(*) from kept") == 0

    killed_at = time.monotonic()
    primary.kill()
    assert cluster.wait_primary(10 * (TTL + 1), other_than=primary) is standby
    report(
        f"promoted {time.monotonic() - killed_at:.2f} s after SIGKILL, "
        f"{behind} bytes received and not replayed then"
    )
    there = [row[0] for row in standby.sql("select id from kept order by id")]
    assert there == list(range(1, ROWS_NOT_REPLAYED + 1))


def test_a_killed_postmaster_is_restarted_in_place(cluster, report):
    writer = start_with_writer(cluster)
    primary = cluster.primary()
    postmaster = primary.postmaster_pid()

    def long_statement():
        connection = psycopg2.connect(primary.dsn())
        with connection.cursor() as cursor:
            with pytest.raises(psycopg2.Error):
                cursor.execute("select count(*) from generate_series(1, 1000000000)")

    busy = threading.Thread(target=long_statement, daemon=True)
    busy.start()
    pipelining = PipelineWriter(primary)
    pipelining.prepare()
    pipelining.start()
    pipelining.wait_rows(1000)
    running = "select pid from pg_stat_activity where state = 'active' and query like %s"
    long_pid = wait(
        lambda: primary.sql_value(running, "select count(*) from generate_series%"), 60, "it to run"
    )
    backends = set(processes_of(primary.data_dir)) - {postmaster}
    assert long_pid in backends

    killed_at = time.monotonic()
    os.kill(postmaster, signal.SIGKILL)
    wait(lambda: primary.postmaster_pid() != postmaster, 60, "another postmaster")
    assert not backends & set(processes_of(primary.data_dir)), "a left-over backend lives"
    wait(primary.is_primary, 60, "the restart in place")
    writer.wait_rows(20)
    pipelining.wait_rows(1000)
    pipelining.stop()
    writer.stop()

    report(
        f"write gap {writer.longest_gap(killed_at - 1):.2f} s after SIGKILL of the postmaster; "
        f"in flight in the pipeline then: {pipelining.unanswered}"
    )
    assert max(pipelining.unanswered) > 1, "nothing was pipelined"
    assert pipelining.missing(primary) == []
    assert cluster.primary() is primary
    assert writer.missing(primary) == []


def lease_remaining_ms(node):
    return node.status()["veche"]["lease_remaining_ms"]


def test_the_end_of_a_postmaster_is_noticed_at_once(report):
    """By its exit: the next look after a loop_wait would be too late, three times over."""
    with Cluster() as c:
        primary = c.start_and_wait()
        slow = {"ttl": 240, "loop_wait": 120, "retry_timeout": 60}
        assert primary.http("/config", "PATCH", slow).status == 200
        wait(lambda: lease_remaining_ms(primary) > 120_000, 60, "a lease as long as that")
        assert primary.metric("veche_guard_freezes_total") == 0, "the lease of before ran out"
        primary.sql("create table kept (id int primary key)")

        def accepted_by_another(postmaster, number):
            if primary.postmaster_pid() == postmaster:
                return False
            primary.sql("insert into kept values (%s) on conflict do nothing", number)
            return True

        for number in range(3):
            postmaster = primary.postmaster_pid()
            killed_at = time.monotonic()
            os.kill(postmaster, signal.SIGKILL)
            wait(lambda: accepted_by_another(postmaster, number), 40, "a write after the restart")
            report(f"a write {time.monotonic() - killed_at:.2f} s after SIGKILL of the postmaster")
            # A kill before its start is done would be a failed start, and another node's turn.
            done = "Sequence done. sequence=start-primary"
            wait(lambda: primary.log().count(done) == number + 1, 60, "the restart to be done")
        assert primary.sql("select id from kept order by id") == [(0,), (1,), (2,)]


def committed(node, what):
    """Commands of this kind that were done, as the node's log tells: (index, text)."""
    line = re.compile(rf'Committed\. index=(\d+) result="done" command="({what} .*)')
    return [(int(index), text) for index, text in line.findall(node.log())]


def assert_epoch_was_released(node, epoch, owner):
    """The epoch's owner let go of it, and only then it was followed by another."""

    def of_epoch(what, text):
        return [i for i, t in committed(node, what) if f" expect_epoch={epoch} " in t and text in t]

    releases = of_epoch("epoch-release", f" node={owner.name} rule=stop-release ")
    takes = of_epoch("epoch-take", f" owner={node.name} ")
    assert len(releases) == 1 and len(takes) == 1, (releases, takes)
    assert releases[0] < takes[0]


def test_a_stopped_agent_releases_its_epoch(cluster, report):
    writer = start_with_writer(cluster)
    primary = cluster.primary()
    epoch = primary.status()["veche"]["epoch"]

    stopped_at = time.monotonic()
    assert primary.stop() == 0
    cluster.wait_primary(10 * TTL, other_than=primary)
    writer.wait_rows(20)
    writer.stop()

    report(f"write gap {writer.longest_gap(stopped_at - 1):.2f} s after SIGTERM of the agent")
    assert processes_of(primary.data_dir) == []
    assert writer.missing(cluster.primary()) == []
    assert_epoch_was_released(cluster.primary(), epoch, primary)

    def known_state():
        members = cluster.primary().http("/cluster").json["members"]
        return next(m["state"] for m in members if m["name"] == primary.name)

    wait(lambda: known_state() == "stopped", 30, "the new primary to know it as stopped")

    primary.start()
    cluster.wait_healthy()


def raft_leader(c):
    for node in c.nodes.values():
        if node.running and node.status()["veche"]["raft_leader"]:
            return node
    return None


def wait_raft_leader(c):
    return wait(lambda: raft_leader(c), 60, "a Raft leader")


def move_raft_leadership_off(c, primary):
    """Restarts the primary's agent, within the lease, until another node leads: that one."""
    while (leader := wait_raft_leader(c)) is primary:
        primary.kill_agent()
        primary.start()
        wait(primary.is_primary, 60, "the restarted agent to hold the lease")
    return leader


def test_writes_go_on_when_a_member_that_is_not_primary_is_killed(cluster, report):
    writer = start_with_writer(cluster)
    primary, standby = cluster.primary(), cluster.standbys()[0]
    leader = move_raft_leadership_off(cluster, primary)
    epoch = primary.status()["veche"]["epoch"]

    for what, victim in [("Raft leader", leader), ("witness", cluster["w1"]), ("standby", standby)]:
        since = time.monotonic()
        victim.kill()
        writer.wait_rows(200)
        gap = writer.longest_gap(since - 1)
        report(f"longest gap {gap:.3f} s after SIGKILL of the {what}")
        assert gap < 10
        assert primary.status()["veche"]["epoch"] == epoch, "a failover hides in it"
        victim.start()
        cluster.wait_healthy()
        wait(lambda: victim.http("/health").status == 200, 60, f"{victim.name} is back")
    errors = writer.errors
    writer.stop()
    assert errors == 0
    assert cluster.primary() is primary


def test_a_primary_without_majority_stops_writing_and_comes_back(cluster, report):
    writer = start_with_writer(cluster)
    primary, standby = cluster.primary(), cluster.standbys()[0]

    standby.kill()
    cluster["w1"].kill()
    killed_at = time.monotonic()
    wait(lambda: not primary.is_primary(), 10 * TTL, "it to say so")
    wait(lambda: time.monotonic() - writer.acknowledged[-1][2] > 1.0, 10 * TTL, "writes to end")
    last = writer.acknowledged[-1][1]  # When it was sent: an answer may be read late.
    report(f"last write {last - killed_at:.2f} s after the majority was lost (ttl {TTL} s)")
    assert last - killed_at < TTL

    cluster["w1"].start()
    cluster.wait_primary(60)
    writer.wait_rows(20)
    writer.stop()
    assert writer.missing(cluster.primary()) == []
    standby.start()
    cluster.wait_healthy()


def test_the_whole_cluster_is_killed_and_comes_back(cluster):
    writer = start_with_writer(cluster)
    writer.stop()
    sysid = cluster.primary().status()["database_system_identifier"]
    for node in cluster.nodes.values():
        node.kill()

    cluster.start_and_wait()

    assert cluster.primary().status()["database_system_identifier"] == sysid
    assert writer.missing(cluster.primary()) == []


def test_a_standby_too_far_behind_is_not_promoted(report):
    with Cluster(dcs={"maximum_lag_on_failover": 1024}) as c:
        c.start_and_wait()
        primary, standby = c.primary(), c.standbys()[0]
        primary.sql("create table big (t text)")
        wait(lambda: standby.sql("select * from big") == [], 60, "the table on the standby")
        postmaster = standby.postmaster_pid()
        receivers = [
            p
            for p in processes_of(standby.data_dir)
            if b"walreceiver" in command_line(p)
        ]
        assert len(receivers) == 1
        os.kill(receivers[0], signal.SIGSTOP)  # It receives nothing more.
        try:
            primary.sql("insert into big select repeat('x', 500) from generate_series(1, 20000)")
            # The others have to have heard how far the primary is.
            wait(
                lambda: any(
                    isinstance(m.get("lag"), int) and m["lag"] > 1 << 20
                    for m in c["w1"].http("/cluster").json["members"]
                ),
                30,
                "the lag to be known",
            )
            primary.kill()
            wait(
                lambda: any(
                    "rule=no-candidate" in line and "lag" in line
                    for node in (standby, c["w1"])
                    for line in node.log().splitlines()
                ),
                10 * (TTL + 1),
                "a refusal that names the lag",
            )
            assert standby.sql_value("select pg_is_in_recovery()")
            assert standby.postmaster_pid() == postmaster
            assert c.primary() is None
        finally:
            if os.path.exists(f"/proc/{receivers[0]}"):
                os.kill(receivers[0], signal.SIGCONT)
        primary.start()
        c.wait_healthy()
        assert c.primary().sql_value("select count(*) from big") == 20000


@pytest.mark.parametrize("by", ["ctl", "rest"])
def test_switchover_to_a_named_node_and_to_any(cluster, report, by):
    writer = start_with_writer(cluster)
    gaps = []
    for round_number in range(10 if by == "ctl" else 2):
        primary, standby = cluster.primary(), cluster.standbys()[0]
        since = time.monotonic()
        if by == "ctl":
            args = ["--candidate", standby.name] if round_number % 2 == 0 else []
            cluster["w1"].ctl("switchover", "--leader", primary.name, *args, "--force")
        else:
            body = {"leader": primary.name}
            if round_number % 2 == 0:
                body["candidate"] = standby.name
            reply = standby.http("/switchover", "POST", body)
            assert reply.status == 200, reply.text
            assert reply.text == f'Successfully switched over to "{standby.name}"'
        assert cluster.wait_healthy() is standby
        writer.wait_rows(20)
        gaps.append(writer.longest_gap(since))
    writer.stop()
    report("write gaps of switchovers: " + " ".join(f"{g:.2f}" for g in gaps) + " s")
    assert writer.missing(cluster.primary()) == []


def test_ttl_is_changed_at_run_time(report):
    """A longer lease and a shorter one again: no write fails, and each is what counts."""
    with Cluster() as c:
        c.start_and_wait()
        primary = c.primary()
        epoch = primary.status()["veche"]["epoch"]
        writer = Writer(c.postgres_nodes)
        writer.prepare()
        writer.start()
        writer.wait_rows(50)

        def change(node, ttl):
            assert node.http("/config", "PATCH", {"ttl": ttl}).status == 200

        change(c["w1"], 3 * TTL)
        wait(lambda: lease_remaining_ms(primary) > 1000 * (TTL + 1), 60, "a longer lease")
        writer.wait_rows(50)
        change(c.standbys()[0], TTL)
        wait(lambda: lease_remaining_ms(primary) <= 1000 * TTL, 60, "a shorter one")
        writer.wait_rows(50)
        assert writer.errors == 0
        assert primary.status()["veche"]["epoch"] == epoch
        assert primary.metric("veche_guard_freezes_total") == 0

        killed_at = time.monotonic()
        primary.kill()
        c.wait_primary(10 * (TTL + 1), other_than=primary)
        report(f"promoted {time.monotonic() - killed_at:.2f} s after SIGKILL with ttl {TTL} s again")
        writer.wait_rows(20)
        writer.stop()


def test_the_configuration_is_changed_while_raft_leaders_are_killed():
    """Asked of the primary without a pause: every change is answered, and is there."""
    with Cluster() as c:
        c.start_and_wait()
        primary = c.primary()
        stop = threading.Event()
        answers = []

        def change():
            while not stop.is_set():
                value = len(answers) + 1
                answers.append(primary.http("/config", "PATCH", {"max_timelines_history": value}))

        thread = threading.Thread(target=change)
        thread.start()
        try:
            for _ in range(3):
                leader = wait_raft_leader(c)
                if leader is primary:
                    primary.ctl("switchover", "--force")
                    primary = c.wait_healthy()
                before = len(answers)
                wait(lambda: len(answers) > before + 20, 60, "changes")
                leader.kill_agent()
                before = len(answers)
                wait(lambda: len(answers) > before + 20, 60, "changes without it")
                leader.start()
                c.wait_healthy()
        finally:
            stop.set()
            thread.join(60)
        assert {reply.status for reply in answers} == {200}
        assert primary.http("/config").json["max_timelines_history"] == len(answers)
