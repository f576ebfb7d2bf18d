"""A node whose WAL diverged comes back by pg_rewind; what it gives up is kept."""

import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

import pytest

from test_kill_points import Point, arm, state_of, stop_file, wait_stopped
from veche import PG_BIN, Cluster, processes_of, wait

# Of the database that is rewound; tests/long.sh asks for some GB.
MEGABYTES = int(os.environ.get("VECHE_REWIND_MB", "300"))
ROW = 1000


def lsn(text):
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def title_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # It has ended.
        return b""


def receivers_of(node):
    return [p for p in processes_of(node.data_dir) if b"walreceiver" in title_of(p)]


def fill(node, table, megabytes):
    """With checkpoints in between."""
    node.sql(f"create table if not exists {table} (id bigserial primary key, t text)")
    for done in range(0, megabytes, 100):
        n = min(100, megabytes - done) * 1000000 // ROW
        node.sql(
            f"insert into {table} (t) select repeat(md5(i::text), {ROW // 32}) "
            f"from generate_series(1, {n}) i"
        )
        node.sql("checkpoint")


def lose_wal(c, rows=80000):
    """The primary writes what the standby never gets, and dies. Returns it, how many
    rows it had acknowledged, and where its WAL was when the standby stopped."""
    primary, standby = c.primary(), c.standbys()[0]
    primary.sql("create table lost (id int, t text)")
    wait(lambda: standby.sql("select to_regclass('lost')")[0][0], 60, "the table on the standby")
    (receiver,) = receivers_of(standby)
    os.kill(receiver, signal.SIGSTOP)  # What the kernel holds for it, it gets.
    try:
        primary.sql(
            f"insert into lost select i, repeat('x', 500) from generate_series(1, {rows}) i"
        )
        primary.sql("checkpoint")
        primary.sql("insert into lost select i, 'late' from generate_series(1, 1000) i")
        primary.kill()
    finally:
        if os.path.exists(f"/proc/{receiver}"):
            os.kill(receiver, signal.SIGCONT)
    assert c.wait_primary(120, other_than=primary) is standby
    return primary, standby


def kept_of(node):
    base = pathlib.Path(f"{node.data_dir}.diverged")
    found = []
    for directory in sorted(base.iterdir()):
        assert not directory.name.endswith(".part")
        record = dict(
            line.split("=", 1) for line in (directory / "RECORD").read_text().splitlines()
        )
        found.append((directory, record))
    return found


def bin_dir(node):
    return node.sql_value("select setting from pg_config() where name = 'BINDIR'")


def log_since(node, offset):
    return node.log()[offset:]


@pytest.fixture
def pair(request):
    with Cluster(dcs={"maximum_lag_on_failover": 1 << 40}) as c:
        c.start_and_wait()
        before = request.session.testsfailed
        yield c
        c.failed = request.session.testsfailed > before


def start_again(c, node):
    offset = len(node.log())
    node.start()
    return offset


def wait_rewound(c, node, offset):
    """The standby streams a moment before its agent has seen that."""
    c.wait_healthy()
    wait(lambda: "Sequence done. sequence=rewind" in log_since(node, offset), 60, "the end of it")


def same_data(c, *tables):
    primary, standby = c.primary(), c.standbys()[0]
    target = primary.sql_value("select pg_current_wal_flush_lsn()::text")
    wait(
        lambda: standby.sql_value("select pg_last_wal_replay_lsn() >= %s", target),
        60,
        "the standby to replay",
    )
    for table in tables:
        question = f"select count(*), md5(string_agg(md5(x::text), '' order by id)) from {table} x"
        assert primary.sql(question) == standby.sql(question)


def test_a_former_primary_is_rewound_and_what_it_gives_up_is_kept(pair, report):
    c = pair
    fill(c.primary(), "big", MEGABYTES)
    c.primary().sql("create table untouched as select i from generate_series(1, 1000) i")
    c.primary().sql("checkpoint")
    c.wait_healthy()
    old = c.primary()
    path = old.sql_value("select pg_relation_filepath('untouched')")
    inode = os.stat(f"{old.data_dir}/{path}").st_ino

    old, new = lose_wal(c)
    survived = new.sql_value("select count(*) from lost")
    assert survived < 81000
    new.sql("insert into big (t) select 'after' from generate_series(1, 1000)")
    began = time.monotonic()
    offset = start_again(c, old)
    wait_rewound(c, old, offset)
    report(f"rewound a database of {MEGABYTES} MB in {time.monotonic() - began:.1f} s")

    log = log_since(old, offset)
    assert "pg_rewind: Done!" in log or "pg_rewind: done" in log.lower()
    assert "sequence=clone" not in log
    assert os.stat(f"{old.data_dir}/{path}").st_ino == inode
    same_data(c, "big", "lost")
    assert old.sql_value("select count(*) from lost") == survived

    ((directory, record),) = kept_of(old)
    assert int(record["bytes"]) == lsn(record["to"]) - lsn(record["from"]) > 20_000_000
    assert record["segments_not_kept"] == "0"
    told = subprocess.run(
        [f"{bin_dir(old)}/pg_waldump", "-p", str(directory), "-t", record["timeline"],
         "-s", record["from"], "-r", "Heap"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    inserted = len(re.findall(r"desc: INSERT", told.stdout))
    assert inserted >= 1000, told.stderr  # Those after the checkpoint, one by one, or more.
    names = {p.name[8:] for p in directory.iterdir() if re.fullmatch(r"[0-9A-F]{24}", p.name)}
    first = min(names)
    assert lsn(record["from"]) >> 24 == int(first[:8], 16) << 8 | int(first[8:], 16)
    wait(
        lambda: "rule=diverged-wal" in c["w1"].log() and record["to"] in c["w1"].log(),
        60,
        "the loss on record on another node",
    )


def pg_rewind_of(node):
    """The agent's child, also when it has ended and the agent, which is stopped, has not seen it."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            text = pathlib.Path(f"/proc/{entry}/stat").read_text(encoding="utf-8")
        except OSError:
            continue
        if "(pg_rewind) " in text and int(text.rpartition(")")[2].split()[1]) == node.process.pid:
            return int(entry)
    return None


def kill_in_pg_rewind(c, node, mark):
    """False if it was quicker than this."""
    point = Point("rewind: rewind", "after", "agent")
    arm(node, point)
    offset = start_again(c, node)
    wait_stopped(node, point)
    pid = wait(lambda: pg_rewind_of(node), 60, "pg_rewind")
    os.kill(pid, signal.SIGSTOP)
    state = wait(lambda: next((s for s in "TZ" if s == state_of(pid)), None), 60, "it to stop")
    assert mark.exists()
    node.kill()
    assert mark.exists()
    assert "PostgreSQL starts." not in log_since(node, offset)
    return state == "T"


def test_a_rewind_that_is_killed_is_done_again(pair):
    """Every process of the node is killed while pg_rewind works, twice."""
    c = pair
    fill(c.primary(), "big", 200)
    c.wait_healthy()
    old, new = lose_wal(c)
    new.sql("update big set t = 'other' where id % 50 = 0")
    mark = pathlib.Path(f"{old.data_dir}.veche-incomplete")
    old.env["VECHE_TEST_STOP_FILE"] = str(stop_file(old))
    n_kills = 0
    for _ in range(6):
        n_kills += kill_in_pg_rewind(c, old, mark)
        if n_kills == 2:
            break
    assert n_kills == 2
    offset = start_again(c, old)
    wait_rewound(c, old, offset)
    log = log_since(old, offset)
    assert "sequence=clone" not in log
    assert not mark.exists()
    same_data(c, "big", "lost")
    assert len(kept_of(old)) == 1  # Not once for every try.


def problem_of(node):
    return node.status()["veche"].get("problem", "")


def test_what_can_not_be_rewound_waits_for_an_operator(report):
    """use_pg_rewind is off: nothing is touched, and everybody is told."""
    with Cluster(
        dcs={"maximum_lag_on_failover": 1 << 40, "postgresql": {"use_pg_rewind": False}}
    ) as c:
        c.start_and_wait()
        old, new = lose_wal(c, rows=40000)
        before = os.stat(f"{old.data_dir}/global/pg_control").st_mtime_ns
        old.start()
        wait(lambda: "can not be rewound" in problem_of(old), 60, "the condition to be shown")
        assert "can not be rewound" in old.log()
        assert os.stat(f"{old.data_dir}/global/pg_control").st_mtime_ns == before
        assert old.stop() == 0
        # The remedy it names.
        subprocess.run(["rm", "-rf", str(old.data_dir)], check=True)
        old.start()
        c.wait_healthy()
        same_data(c, "lost")


def test_configuration_may_have_it_discarded():
    with Cluster(
        dcs={
            "maximum_lag_on_failover": 1 << 40,
            "postgresql": {
                "use_pg_rewind": False,
                "remove_data_directory_on_diverged_timelines": True,
            },
        }
    ) as c:
        c.start_and_wait()
        old, new = lose_wal(c, rows=40000)
        offset = start_again(c, old)
        c.wait_healthy()
        assert "rule=diverged-clone" in log_since(old, offset)
        ((directory, record),) = kept_of(old)
        assert record["from"] != "0/0"
        assert any(re.fullmatch(r"[0-9A-F]{24}", p.name) for p in directory.iterdir())


def test_a_rewind_that_can_not_work_ends_in_a_stated_condition():
    """The old primary's WAL since the fork is gone: pg_rewind can not read it."""
    with Cluster(dcs={"maximum_lag_on_failover": 1 << 40}) as c:
        c.start_and_wait()
        old, new = lose_wal(c, rows=40000)
        wal = pathlib.Path(old.data_dir, "pg_wal")
        segments = sorted(p.name for p in wal.iterdir() if re.fullmatch(r"[0-9A-F]{24}", p.name))
        for name in segments[:-1]:
            (wal / name).unlink()
        old.start()
        wait(lambda: "rewind:" in problem_of(old), 60, "the failure to be shown")
        wait(lambda: "rule=rewind-given-up" in old.log(), 300, "an end of trying")
        wait(lambda: "pg_rewind failed too often" in problem_of(old), 60, "the condition shown")
        assert "PostgreSQL starts." not in old.log().split("sequence=rewind", 1)[1]
        # Kept, in case; but it is all there, and nobody is told that it was lost.
        ((_, record),) = kept_of(old)
        assert "told" not in record
        for node in c.nodes.values():
            assert "rule=diverged-wal" not in node.log()


@pytest.fixture
def open_dir():
    with tempfile.TemporaryDirectory(prefix="veche-archive-") as name:
        os.chmod(name, 0o777)  # Everybody's: agents are not root.
        yield pathlib.Path(name)


def waiting_of(node):
    status = node.data_dir / "pg_wal/archive_status"
    return sorted(p.stem for p in status.glob("*.ready") if re.fullmatch(r"[0-9A-F]{24}", p.stem))


def test_wal_that_waits_for_the_archive_gets_there_first(open_dir):
    """The archive was down until the former primary came back, and refuses one file then. Its
    command is none of our parameters."""
    archive, up, bad = open_dir / "archive %1", open_dir / "up", open_dir / "bad"
    for directory in (archive, bad):
        directory.mkdir()
        directory.chmod(0o777)
    command = (
        f"test -e {up} && test ! -e {bad}/%f && cp %p '{str(archive).replace('%', '%%')}/%f'"
    )
    with Cluster(
        dcs={
            "maximum_lag_on_failover": 1 << 40,
            "postgresql": {"parameters": {"archive_mode": "on"}},
        }
    ) as c:
        c.start_and_wait()
        for node in c.postgres_nodes:
            quoted = command.replace("'", "''")
            node.sql(f"alter system set archive_command = '{quoted}'")
            node.sql("select pg_reload_conf()")
        old, new = lose_wal(c, rows=60000)
        assert not list(archive.iterdir())
        refused, *others = waiting_of(old)
        (bad / refused).touch()
        up.touch()
        offset = start_again(c, old)
        wait_rewound(c, old, offset)
        ((directory, record),) = kept_of(old)
        fork = lsn(record["from"]) >> 24
        assert others and set(others) <= {p.name for p in archive.iterdir()}
        assert any(int(name[16:], 16) > fork for name in others)

        # The cluster lost it, and the archive has no other way to it.
        assert int(refused[16:], 16) < fork and not (archive / refused).exists()
        assert {p.stem for p in directory.glob("*.ready")} == {refused}
        assert (directory / refused).stat().st_size == 16 << 20
        log = log_since(old, offset)
        assert "WAL that waited for the archive did not get there" in log and refused in log


def redo_segment_of(node):
    told = subprocess.run(
        [PG_BIN / "pg_controldata", "-D", node.data_dir], capture_output=True, text=True, check=True
    ).stdout
    return re.search(r"REDO WAL file: +([0-9A-F]{24})", told).group(1)


def test_wal_that_only_the_archive_has_is_read_there(open_dir):
    """Everything before the last checkpoint is gone from the old primary's pg_wal, that is
    also what it wrote since the fork."""
    up = open_dir / "up"  # Not before the fork: the standby would take from there what it lacks.
    parameters = {
        "archive_mode": "on",
        "archive_command": f"cp %p {open_dir}/%f",
        "restore_command": f"test -e {up} && cp {open_dir}/%f %p",
    }
    c = Cluster(
        dcs={"maximum_lag_on_failover": 1 << 40, "postgresql": {"parameters": parameters}}
    )
    c.make_nodes()
    for node in c.postgres_nodes:
        node.overrides["postgresql.rewind"] = ["progress"]
    with c:
        c.start_and_wait()
        old, new = lose_wal(c)
        up.touch()
        wal = old.data_dir / "pg_wal"
        gone = [
            p for p in wal.iterdir()
            if re.fullmatch(r"[0-9A-F]{24}", p.name) and p.name < redo_segment_of(old)
        ]  # fmt: skip
        assert len(gone) > 1
        for segment in gone:
            if not (open_dir / segment.name).exists():  # It was to be archived yet.
                (open_dir / segment.name).write_bytes(segment.read_bytes())
                (open_dir / segment.name).chmod(0o644)
            segment.unlink()
        offset = start_again(c, old)
        wait_rewound(c, old, offset)
        log = log_since(old, offset)
        assert "sequence=clone" not in log
        assert "kB (100%) copied" in log  # What postgresql.rewind asks for.
        same_data(c, "lost")
        ((_, record),) = kept_of(old)
        assert f"{lsn(record['from']) >> 24:08X}" in {p.name[16:] for p in gone}, "not needed"
