"""Data directories that an operator's commands make: the first database, and standbys."""

import pathlib
import re
import subprocess

import pytest

from veche import PG_BIN, Cluster, run_as_postgres, wait

ARGUMENTS = """#!/bin/sh
for a in "$@"; do case "$a" in
  --datadir=*) data=${a#*=};; --connstring=*) source=${a#*=};; --from=*) from=${a#*=};;
esac; done
"""


def script(node, name, text):
    path = node.dir / name
    path.write_text(ARGUMENTS + text, encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def run(*command, **more):
    subprocess.run(
        command, check=True, capture_output=True, text=True, cwd="/tmp", **run_as_postgres(), **more
    )


def make_backup(node):
    """A database that was shut down: what a restore would lay there."""
    backup = node.dir / "backup"
    run(str(PG_BIN / "initdb"), "-D", str(backup), "-U", "postgres", "--no-sync", "--data-checksums")
    run(
        str(PG_BIN / "postgres"), "--single", "-D", str(backup), "postgres",
        input="create table restored as select 42 as i\n",
    )  # fmt: skip
    return backup


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as c:
        for node in c.postgres_nodes:
            node.overrides |= {
                "bootstrap.method": "restore",
                "bootstrap.restore": {
                    "command": script(node, "restore", 'cp -a "$from/." "$data"\n'),
                    "from": str(make_backup(node)),
                    "recovery_conf": {"restore_command": "cp /nowhere/%f %p"},
                },
                "postgresql.create_replica_methods": ["broken", "basebackup"],
                "postgresql.broken": {"command": "echo no such backup; exit 7 #"},
            }
        c.start_and_wait()
        yield c


@pytest.fixture(autouse=True)
def failed(request, cluster):
    yield
    cluster.failed = cluster.failed or getattr(request.node, "failed_in_call", False)


def rows(node):
    return node.sql("select i from restored order by i")


def test_the_first_database_is_what_a_command_restored(cluster):
    primary = cluster.wait_healthy()
    control = subprocess.run(
        [str(PG_BIN / "pg_controldata"), str(primary.dir / "backup")],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip

    assert rows(primary) == [(42,)]  # By the password that the configuration has.
    sysid = primary.sql_value("select system_identifier::text from pg_control_system()")
    assert f"Database system identifier:           {sysid}\n" in control
    # The recovery went its own way from where the backup ended.
    assert primary.sql_value("select timeline_id from pg_control_checkpoint()") == 2
    assert all(n.status()["database_system_identifier"] == sysid for n in cluster.postgres_nodes)


def test_a_method_that_fails_is_followed_by_the_next(cluster):
    cluster.wait_healthy()
    (standby,) = cluster.standbys()

    log = standby.log()
    assert 'problem="method broken: echo no such backup; exit 7 #: sh ended with code 7: no such backup"' in log

    def ends():  # It streams a moment before the sequence has seen that.
        return re.findall(r"Sequence (failed|done).* sequence=clone ", standby.log())

    wait(lambda: ends()[-1] == "done", 60, "its end")
    assert "failed" in ends()  # The second one is pg_basebackup.
    assert rows(standby) == [(42,)]


def copies(node):
    made = node.dir / "made"
    return made.read_text(encoding="utf-8").count("--role=replica") if made.exists() else 0


def test_a_standby_is_made_by_a_command_unless_an_order_says_otherwise(cluster):
    primary = cluster.wait_healthy()
    (standby,) = cluster.standbys()
    copy = f'echo "$@" >> "{standby.dir}/made"; env >> "{standby.dir}/made"\n'
    copy += f'exec {PG_BIN}/pg_basebackup --checkpoint=fast -w -D "$data" -d "$source"\n'
    standby.overrides |= {
        "postgresql.create_replica_methods": ["mine"],
        "postgresql.mine": {"command": script(standby, "copy", copy)},
    }
    standby.write_config()
    assert standby.http("/reload", "POST").status == 202
    wait(lambda: "postgresql.<method>" in standby.log(), 60, "the new method to be known")

    primary.ctl("reinit", standby.name, "--force", "--wait")
    cluster.wait_healthy()
    assert copies(standby) == 1
    text = (standby.dir / "made").read_text(encoding="utf-8")
    assert f"--scope=test --role=replica --datadir={standby.data_dir} --connstring=" in text
    assert "repl secret" not in text and "PGPASSFILE=" in text
    mark = standby.data_dir.parent / "data.veche-incomplete"
    wait(lambda: not mark.exists(), 60, "the mark to go")

    primary.sql("insert into restored values (43)")
    wait(lambda: rows(standby) == [(42,), (43,)], 60, "the row on the standby")
    marker = standby.data_dir / "left-from-before"
    marker.write_text("")
    primary.ctl("reinit", standby.name, "--from-leader", "--force", "--wait")
    cluster.wait_healthy()
    assert not marker.exists()
    assert copies(standby) == 1
    assert rows(standby) == [(42,), (43,)]


def test_a_copy_that_runs_gives_way_to_another_one_by_force_only(cluster):
    primary = cluster.wait_healthy()
    (standby,) = cluster.standbys()
    pids = standby.dir / "pids"
    standby.overrides |= {
        "postgresql.create_replica_methods": ["hanging"],
        "postgresql.hanging": {
            "command": script(standby, "hang", f'echo $$ >> "{pids}"\nexec sleep 3600\n')
        },
    }
    standby.write_config()
    primary.ctl("reload", standby.name, "--force")
    primary.ctl("reinit", standby.name, "--force")
    wait(lambda: pids.exists() and pids.read_text().endswith("\n"), 60, "the copy to hang")

    for node in cluster.postgres_nodes:  # By the member itself, and by way of another one.
        path = "/reinitialize" if node is standby else f"/members/{standby.name}/reinitialize"
        r = node.http(path, "POST", {})
        assert r.status == 503 and r.body == b"clone already in progress", r
    primary.ctl("pause", "--wait")  # No rule goes on with what was cut off then.
    r = primary.ctl("reinit", standby.name, "--from-leader", "--force", "--wait")
    assert f"Reinitialize is completed on: {standby.name}" in r.stdout, r
    primary.ctl("resume", "--wait")
    cluster.wait_healthy()
    (pid,) = pids.read_text().split()
    assert not pathlib.Path(f"/proc/{pid}").exists()
    assert rows(standby) == [(42,), (43,)]
