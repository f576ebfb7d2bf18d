"""A rewind under faults: a long crash recovery, a source that is gone half way, and who
needs none (S5, S7, L1). The ordinary course is in test_rewind.py."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest

from test_kill_points import Point, arm, mark_of, state_of, stop_file, wait_stopped
from veche import PG_BIN, Cluster, wait

ROWS = 20000  # That only the old primary has.
LOST = "select count(*) from kept where what = 'lost'"


@contextlib.contextmanager
def rewind_cluster(names=("pg1", "pg2", "w1"), dcs=None, **overrides):
    c = Cluster(names=names, dcs={"maximum_lag_on_failover": 1 << 40, **(dcs or {})})
    c.make_nodes()
    for node in c.postgres_nodes:
        node.overrides.update(overrides)
        node.env["VECHE_TEST_STOP_FILE"] = str(stop_file(node))
    with c:
        c.start_and_wait()
        yield c


def signal_receiver(standby, signum):
    """The WAL receiver of a standby: stopped, it gets nothing and says nothing."""
    pid = standby.sql_value("select pid from pg_stat_wal_receiver")
    os.kill(pid, signum)
    return pid


def fill(c, megabytes):
    """A table nobody touches again, and one that goes on; checkpoints in between."""
    primary = c.primary()
    primary.sql("create table kept (id bigserial primary key, what text, filler text)")
    primary.sql("create table untouched (id bigint, filler text)")
    step = 50000  # Rows of about 1 kB.
    for first in range(0, megabytes * 1000, step):
        primary.sql(
            "insert into untouched select i, repeat(md5(i::text), 30) "
            "from generate_series(%s, %s) i",
            first,
            min(first + step, megabytes * 1000) - 1,
        )
        primary.sql("checkpoint")
    primary.sql("insert into kept (what) select 'before' from generate_series(1, 1000)")
    primary.sql("vacuum (freeze, analyze) untouched")  # No hint bit is left to be set.
    primary.sql("checkpoint")


def positions_are_equal(c):
    primary, standby = c.primary(), c.standbys()[0]
    here = primary.sql_value("select pg_current_wal_lsn()")
    return standby.sql_value("select pg_last_wal_replay_lsn() >= %s::pg_lsn", here)


def diverge(c, rows=ROWS, checkpoints=True):
    """Rows that only the primary has, then it dies. Returns it, who took over, and the end."""
    primary, standby = c.primary(), c.standbys()[0]
    wait(lambda: positions_are_equal(c), 120, "the standby to have everything")
    receiver = signal_receiver(standby, signal.SIGSTOP)
    for _ in range(2):  # More than one checkpoint behind the fork.
        primary.sql(
            "insert into kept (what, filler) select 'lost', repeat('l', 500) "
            "from generate_series(1, %s)",
            rows // 2,
        )
        if checkpoints:
            primary.sql("checkpoint")
    end = primary.sql_value("select pg_current_wal_flush_lsn()")
    primary.kill()
    os.kill(receiver, signal.SIGKILL)  # Not continued: it would take what is in its socket.
    assert c.wait_primary(60, other_than=primary) is standby
    assert standby.sql_value(LOST) == 0
    standby.sql("insert into kept (what) select 'after' from generate_series(1, 1000)")
    return primary, standby, end


def sequences(node, name):
    return len(re.findall(rf"Sequence started\. sequence={name} ", node.log()))


def assert_rejoined(c, old, new):
    c.wait_healthy(180)
    assert c.primary() is new
    wait(lambda: positions_are_equal(c), 60, "the old primary to have everything")
    query = "select count(*), md5(string_agg(id || what, ',' order by id)) from kept"
    assert old.sql(query) == new.sql(query)
    assert old.sql_value(LOST) == 0
    assert not mark_of(old).exists()


def test_a_long_crash_recovery_is_not_cut_short():
    """A single-user server has no postmaster, and is nothing left over that may write."""
    with rewind_cluster() as c:
        fill(c, 20)
        old, new, _ = diverge(c, rows=20 * ROWS, checkpoints=False)
        offset = len(old.log())
        old.start()
        assert_rejoined(c, old, new)
        said = old.log()[offset:]
        assert "recover" not in "".join(re.findall(r"Sequence cancelled\. .*", said)), said
        assert len(re.findall(r"Sequence started\. sequence=rewind ", said)) == 1


def cut_off_and_fail_over(c, old, new):
    """old is half rewound from new; then new is gone and a third one is primary."""
    point = Point("rewind: configure", "before", "agent")
    arm(old, point)
    old.start()
    wait_stopped(old, point)
    old.kill_agent()
    new.kill()
    return c.wait_primary(60, other_than=new)


@pytest.mark.parametrize("allowed", [False, True])
def test_a_rewind_whose_source_is_gone_is_a_stated_condition(allowed):
    """Half of its data is of a timeline that may have ended earlier: only a clone helps."""
    dcs = {"postgresql": {"remove_data_directory_on_rewind_failure": allowed}}
    with rewind_cluster(names=("pg1", "pg2", "pg3", "w1", "w2"), dcs=dcs) as c:
        fill(c, 20)
        standbys = c.standbys()
        old = c.primary()
        wait(lambda: positions_are_equal(c), 60, "the standby to have everything")
        pids = [signal_receiver(s, signal.SIGSTOP) for s in standbys]
        old.sql("insert into kept (what) select 'lost' from generate_series(1, 2000)")
        old.kill()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        new = c.wait_primary(60, other_than=old)
        c.wait_healthy(60)
        third = cut_off_and_fail_over(c, old, new)

        old.start()
        if allowed:
            c.wait_healthy(120)
            assert sequences(old, "clone") >= 1
            assert old.sql_value(LOST) == third.sql_value(LOST)
            return
        c.wait_primary(60)
        wait(
            lambda: "empty the data directory" in old.status()["veche"]["problem"],
            60,
            "the condition, and what ends it",
        )
        assert "empty the data directory" in old.log()
        assert mark_of(old).exists(), "it must not look like a database"
        assert "postmaster_start_time" not in old.status()
        listed = third.ctl("list", "--format", "json").stdout
        assert "streaming" not in [m["State"] for m in json.loads(listed) if m["Member"] == old.name]


def test_who_is_behind_the_fork_just_follows():
    """A standby that had less when the other was promoted has nothing to give up."""
    with rewind_cluster(names=("pg1", "pg2", "pg3")) as c:
        fill(c, 20)
        old = c.primary()
        behind = c.standbys()[0]
        wait(lambda: positions_are_equal(c), 60, "the standby to have everything")
        behind.kill()
        old.sql("insert into kept (what) select 'more' from generate_series(1, 2000)")
        other = next(n for n in c.standbys() if n is not behind)
        wait(
            lambda: other.sql_value("select count(*) from kept where what = 'more'") == 2000,
            60,
            "the rows on the other standby",
        )
        old.kill()
        assert behind.process.poll() is not None
        behind.start()
        new = c.wait_primary(60, other_than=old)
        assert new is other
        c.wait_healthy(60)
        assert sequences(behind, "rewind") == 0
        assert behind.sql_value("select count(*) from kept where what = 'more'") == 2000


def losses_told(node):
    return node.log().count("rule=diverged-wal")


def record_of(node):
    (directory,) = pathlib.Path(f"{node.data_dir}.diverged").iterdir()
    return (directory / "RECORD").read_text()


def test_a_loss_is_told_by_the_next_agent_when_the_first_one_could_not():
    """There is no majority from before the rewind is through until its agent is killed. The
    primary is one still: its lease lasts."""
    with rewind_cluster(names=("pg1", "pg2", "w1", "w2", "w3"), dcs={"ttl": 20}) as c:
        fill(c, 20)
        old, new, _ = diverge(c)
        point = Point("rewind: dry run", "before", "agent")
        arm(old, point)
        old.start()
        wait_stopped(old, point)
        witnesses = [n for n in c.nodes.values() if n not in (old, new)]
        offset = len(new.log())
        for node in witnesses:
            node.kill_agent()
        wait(
            lambda: "Raft leadership changed. leader=0" in new.log()[offset:],
            60,
            "nobody to take a proposal",
        )
        os.kill(old.process.pid, signal.SIGCONT)
        wait(lambda: "Sequence done. sequence=rewind" in old.log(), 60, "the rewind to end")
        old.kill_agent()
        assert "told=" not in record_of(old)

        for node in [*witnesses, old]:
            node.start()
        c.wait_healthy(60)
        witness = c["w1"]
        wait(lambda: losses_told(witness) > 0, 60, "the loss on record on another node")
        wait(lambda: "told=" in record_of(old), 60, "the record to say so")

        # Once: not by the agent after that one, either.
        old.kill_agent()
        old.start()
        c.wait_healthy(60)
        assert_rejoined(c, old, new)
        assert losses_told(witness) == 1


def segments_kept(node):
    (directory,) = pathlib.Path(f"{node.data_dir}.diverged").iterdir()
    return [p.name for p in directory.iterdir() if re.fullmatch(r"[0-9A-F]{24}", p.name)]


@pytest.mark.parametrize("step", ["configure", "trim"])
def test_little_room_for_diverged_wal_costs_no_rewind(step):
    """diverged_keep bounds what stays. What a rewind needs to be done again is there while
    it may be cut off, and goes when it is through, by whoever lives then."""
    with rewind_cluster(**{"postgresql.diverged_keep": 0}) as c:
        fill(c, 20)
        old, new, _ = diverge(c)
        point = Point(f"rewind: {step}", "before", "agent")
        arm(old, point)
        old.start()
        wait_stopped(old, point)
        assert len(segments_kept(old)) > 1
        old.kill_agent()
        old.start()
        assert_rejoined(c, old, new)
        assert sequences(old, "clone") == 0
        assert sequences(old, "rewind") == (2 if step == "configure" else 1)
        assert "Diverged WAL is kept in part" in old.log()
        wait(lambda: segments_kept(old) == [], 60, "the bound to hold")
        assert "bytes=" in record_of(old)


def test_an_archive_command_does_not_outlive_its_agent_into_the_next_rewind():
    """It hangs on the old primary alone, and only while that is rewound."""
    command = "if test -e hang; then echo $$ > hung; exec sleep 600; fi; test ! -e stuck"
    parameters = {"archive_mode": "on", "archive_command": command}
    with rewind_cluster(dcs={"postgresql": {"parameters": parameters}}) as c:
        fill(c, 20)
        old = c.primary()
        stuck, hang, hung = (old.data_dir / name for name in ("stuck", "hang", "hung"))
        stuck.touch()
        old, new, _ = diverge(c)
        hang.touch()
        old.start()
        wait(lambda: hung.exists() and hung.read_text().strip(), 60, "the archive_command")
        pid = int(hung.read_text())
        old.kill_agent()
        assert state_of(pid) not in (None, "Z"), "it would not have been left"

        hang.unlink()
        stuck.unlink()
        old.start()
        wait(lambda: state_of(pid) in (None, "Z"), 60, "an end of what was left")
        assert_rejoined(c, old, new)
        said = old.log()
        assert said.index("Killing what an earlier agent left") < said.index("Diverged WAL is kept")


def cut_off_before_the_start(node):
    """The rewind is through, but for its end; the agent is dead. Returns its mark."""
    point = Point("rewind: configure", "before", "agent")
    arm(node, point)
    node.start()
    wait_stopped(node, point)
    node.kill_agent()
    return mark_of(node)


def wait_stated(node, obstacle):
    """Nothing was touched, and what there is to do is said."""
    offset = len(node.log())
    node.start()
    wait(lambda: obstacle in node.log()[offset:], 60, f"the log to say: {obstacle}")
    wait(
        lambda: "empty the data directory" in node.status()["veche"]["problem"],
        60,
        "the condition, and what ends it",
    )
    said = node.log()[offset:]
    assert "rule=diverged " in said
    assert "PostgreSQL starts." not in said
    assert "sequence=rewind" not in said
    assert mark_of(node).exists()
    node.kill_agent()


def test_a_rewind_that_can_not_be_done_again_is_a_stated_condition():
    """The machine was restarted in it; or what was kept for it is gone. Then the same with
    a clone allowed."""
    with rewind_cluster() as c:
        fill(c, 20)
        old, new, _ = diverge(c)
        mark = cut_off_before_the_start(old)

        text = mark.read_text(encoding="utf-8")
        other_boot, n = re.subn(r"(?m)^boot=.*$", "boot=of-another-boot", text)
        assert n == 1
        mark.write_text(other_boot, encoding="utf-8")
        wait_stated(old, "cut off by a restart of the machine")

        mark.write_text(text, encoding="utf-8")
        shutil.rmtree(f"{old.data_dir}.diverged")
        wait_stated(old, "what was kept to do it again is gone")

        setting = "postgresql.remove_data_directory_on_rewind_failure=true"
        new.ctl("edit-config", "--force", "-s", setting)
        mark.write_text(other_boot, encoding="utf-8")
        offset = len(old.log())
        old.start()
        assert_rejoined(c, old, new)
        assert "rule=diverged-clone" in old.log()[offset:]


def lose_a_standby(c):
    victim = c.standbys()[0]
    victim.kill()
    shutil.rmtree(victim.data_dir)
    return victim


def lose_the_primary(c):
    return diverge(c)[0]


@pytest.mark.parametrize("sequence", ["clone", "rewind"])
def test_the_mark_alone_tells_that_what_looks_whole_is_not(sequence):
    """Cut off when all files are there: nothing but the mark keeps it from being started."""
    with rewind_cluster() as c:
        fill(c, 20)
        victim = lose_a_standby(c) if sequence == "clone" else lose_the_primary(c)
        point = Point(f"{sequence}: configure", "before", "agent")
        arm(victim, point)
        victim.start()
        wait_stopped(victim, point)
        victim.kill_agent()
        told = subprocess.run(
            [PG_BIN / "pg_controldata", "-D", victim.data_dir],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "Database system identifier" in told.stdout and "WARNING" not in told.stdout
        assert (victim.data_dir / "PG_VERSION").exists()

        offset = len(victim.log())
        victim.start()
        c.wait_healthy(60)
        begun = re.findall(r"Sequence started\. sequence=(\S+)", victim.log()[offset:])
        assert next(s for s in begun if s not in ("fence", "clean-up", "stop")) == sequence


def test_the_crash_recovery_keeps_the_wal_that_the_rewind_reads():
    """Nothing else would: it is archived, there are no slots, wal_keep_size is one segment."""
    parameters = {
        "wal_keep_size": "16MB",
        "archive_mode": "on",
        "archive_command": "test -n %p",
    }
    dcs = {"postgresql": {"use_slots": False, "parameters": parameters}}
    with rewind_cluster(dcs=dcs) as c:
        fill(c, 20)
        assert c.primary().sql_value("show wal_keep_size") == "16MB"
        assert c.primary().sql("select 1 from pg_replication_slots") == []
        old, new, _ = diverge(c, rows=8 * ROWS, checkpoints=False)
        for ready in (old.data_dir / "pg_wal/archive_status").glob("*.ready"):
            ready.rename(ready.with_suffix(".done"))  # As if there had been more time.
        old.start()
        assert_rejoined(c, old, new)
        assert sequences(old, "rewind") == 1
        assert len(segments_kept(old)) > 4
