"""Where the configuration comes from, and what a reload makes of it; one node for all of it."""

import os
import pathlib
import pwd
import signal
import socket
import subprocess

import pytest

from veche import BUILD, SUPERUSER_PASSWORD, Cluster, free_port, guards_of, processes_of, wait

PASSWORD = "from the environment, nowhere else"


@pytest.fixture(scope="module")
def alone(request):
    with Cluster(names=("pg1",)) as c:
        node = c["pg1"]
        # Over the file, of which these would not do.
        node.overrides |= {"log.level": "ERROR", "postgresql.authentication.rewind.password": "wrong"}
        node.env |= {
            "PATRONI_LOG_LEVEL": "DEBUG",
            "VECHE_LOG_LEVEL": "INFO",
            "PATRONI_REWIND_PASSWORD": PASSWORD,
        }
        c.start_and_wait()
        before = request.session.testsfailed
        yield node
        c.failed = request.session.testsfailed > before


def hang_up(node):
    """SIGHUP; what the agent says to it."""
    node.write_config()
    before = len(node.log())
    node.process.send_signal(signal.SIGHUP)

    def said():
        new = node.log()[before:]
        return new if "was read again" in new or "was not reloaded" in new else None

    return wait(said, 30, "the end of the reload")


def test_no_child_has_what_the_environment_gave(alone):
    pids = {alone.process.pid, *guards_of(alone.runtime_dir), *processes_of(alone.data_dir)}
    assert len(pids) > 3
    for pid in pids:
        for name in ("environ", "cmdline"):
            try:
                text = pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
            except FileNotFoundError:
                continue  # A process of PostgreSQL that ended.
            assert PASSWORD.encode() not in text
            if pid != alone.process.pid:
                assert b"PATRONI_" not in text
    assert PASSWORD not in alone.log()
    assert PASSWORD in (alone.dir / "pgpass").read_text(encoding="utf-8")


def test_a_reload_takes_all_or_nothing_and_names_what_waits(alone):
    alone.overrides |= {"tags": {"rack": "7"}, "restapi.request_queue_size": 9,
                        "guard.kill_after": 31}
    said = hang_up(alone)
    assert 'was read again. changed="tags"' in said
    assert 'keys="restapi.request_queue_size, guard.kill_after"' in said
    wait(lambda: alone.status().get("tags", {}).get("rack") == "7", 30, "the tag to be told")

    alone.overrides |= {"tags": {"rack": "8"}, "watchdog.mode": "sometimes"}
    said = hang_up(alone)
    assert "veche.yml:" in said and "watchdog.mode: not a known value" in said
    assert alone.status()["tags"]["rack"] == "7"

    alone.overrides |= {"watchdog.mode": "off"}
    assert 'changed="tags"' in hang_up(alone)
    wait(lambda: alone.status()["tags"]["rack"] == "8", 30, "the tag to be told")


def test_lines_that_postgresql_does_not_take_are_told(alone):
    lines = alone.config()["postgresql"]["pg_hba"]
    said = "does not take the lines of pg_hba.conf"
    alone.overrides["postgresql.pg_hba"] = [*lines, "hst all all 10.0.0.0/8 trust"]
    hang_up(alone)
    wait(lambda: said in alone.log() and 'invalid connection type "hst"' in alone.log(), 60, said)
    del alone.overrides["postgresql.pg_hba"]
    hang_up(alone)
    wait(lambda: alone.sql_value("SELECT count(*) FROM pg_hba_file_rules") == len(lines), 30, "lines")


def test_the_log_is_in_files_from_a_reload_on(alone):
    """Reloads are the lines: in the file, on stderr while it can not be written, in it again."""
    logs, away = alone.dir / "logs", alone.dir / "away"
    file = logs / "veched.log"
    logs.mkdir()
    logs.chmod(0o777)
    said = "The configuration was read again."

    def reload():
        assert alone.http("/reload", "POST").status == 202

    def in_file(text):
        return file.exists() and text in file.read_text(encoding="utf-8")

    alone.overrides |= {"log.dir": str(logs), "log.mode": "0604"}
    alone.write_config()
    reload()
    wait(lambda: in_file(said), 30, "the line in the file")
    assert 'changed="log.dir, log.mode"' in file.read_text(encoding="utf-8")
    assert file.stat().st_mode & 0o777 == 0o604
    before = alone.log()

    logs.rename(away)
    reload()
    wait(lambda: said in alone.log()[len(before):], 30, "the line on stderr")
    assert alone.log().count("The log can not be written, its lines go to stderr until") == 1
    away.rename(logs)

    def written_again():
        reload()
        return in_file("The log is written again; lines meanwhile went to stderr.")

    wait(written_again, 30, "the lines in the file again")
    wait(lambda: alone.status()["logger_records_lost"] >= 1, 30, "how many were not in the file")
    del alone.overrides["log.dir"], alone.overrides["log.mode"]
    assert 'changed="log.dir, log.mode"' in hang_up(alone)


def test_a_later_edit_of_bootstrap_dcs_is_said_once(alone):
    said = "bootstrap.dcs of the file is not what counts"
    assert said not in alone.log()
    dcs = alone.config()["bootstrap"]["dcs"]
    alone.overrides["bootstrap.dcs"] = {**dcs, "ttl": dcs["ttl"] + 1}
    hang_up(alone)
    wait(lambda: said in alone.log(), 30, "the difference to be told")
    assert 'differs="ttl"' in alone.log()
    hang_up(alone)
    assert alone.log().count(said) == 1


def veched(*arguments, **options):
    return subprocess.run((BUILD / "src/veched", *map(str, arguments)), capture_output=True,
                          text=True, timeout=60, check=False, **options)


def test_a_configuration_is_made_from_a_postgresql_that_runs(alone, tmp_path):
    made = tmp_path / "made.yml"
    dsn = f"host=127.0.0.1 port={alone.pg_port} user=postgres password='{SUPERUSER_PASSWORD}'"
    done = veched("--generate-config", "--dsn", dsn, made)
    assert (done.returncode, done.stderr) == (0, "")
    text = made.read_text(encoding="utf-8")
    dcs, _, local = text.partition("\npostgresql:\n")
    assert "        wal_keep_size: 128MB\n" in dcs and "wal_keep_size" not in local
    assert f"  data_dir: {alone.data_dir}\n" in local
    assert f'listen: "127.0.0.1:{alone.pg_port}"' in local
    assert "    shared_buffers: 16MB\n" in local and "    - \"local all all scram-sha-256\"\n" in local
    assert "primary_conninfo" not in text and "hba_file" not in text
    assert made.stat().st_mode & 0o777 == 0o600

    checked = veched("--validate-config", "--ignore-listen-port", "--print", made)
    assert checked.returncode == 0, checked.stderr
    assert "shared_buffers: 16MB" in checked.stdout and SUPERUSER_PASSWORD not in checked.stdout
    again = veched("--generate-config", "--dsn", dsn, made)
    assert again.returncode == 1 and "File exists" in again.stderr

    taken = veched("--validate-config", made)
    assert taken.returncode == 64
    assert f"{made}:" in taken.stderr and "postgresql.listen: nobody can listen on" in taken.stderr


def test_what_can_not_be_generated_or_checked_is_said(alone, tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))  # Nobody listens there.
        done = veched("--generate-config", "--dsn", f"host=127.0.0.1 port={s.getsockname()[1]}",
                      tmp_path / "none.yml")
    assert done.returncode == 1 and "cannot connect to PostgreSQL" in done.stderr
    assert not (tmp_path / "none.yml").exists()
    dsn = f"host=127.0.0.1 port={alone.pg_port} dbname=postgres user=replicator password='repl secret'"
    done = veched("--generate-config", "--dsn", dsn)
    assert done.returncode == 1 and done.stdout == ""
    assert "superuser" in done.stderr or "permission denied" in done.stderr
    assert veched("--print-config", "-p", alone.config_path).returncode == 2
    assert veched("--validate-config").returncode == 2


def test_a_sample_is_valid(tmp_path):
    sample = tmp_path / "sample.yml"
    assert veched("--generate-sample-config", sample).returncode == 0
    checked = veched("--validate-config", "-i", sample)
    assert checked.returncode == 0, checked.stderr
    assert veched("--generate-sample-config").stdout.startswith("# A sample.")


def fresh_machine(tmp_path, before="true", after="true", more=""):
    """A witness with its defaults as root, in /var/lib and /run that are empty."""
    name = f"w{os.getpid()}"
    path = tmp_path / "veche.yml"
    path.write_text(
        f"{{scope: s, name: {name}, mode: witness, raft: {{self_addr: '127.0.0.1:{free_port()}'}},"
        f" restapi: {{listen: '127.0.0.1:{free_port()}'}}{more}}}\n",
        encoding="utf-8",
    )
    script = f"mount -t tmpfs none /var/lib && mount -t tmpfs none /run && {before} && "
    script += f'timeout -s KILL 30 "$@"; {after}' if after != "true" else 'exec "$@"'
    return name, ["unshare", "--mount", "sh", "-c", script, "sh", BUILD / "src/veched", path]


def test_as_root_it_makes_what_only_root_can_make(tmp_path):
    """The directories of the defaults, on a machine where nobody made them before."""
    name, command = fresh_machine(tmp_path)
    log = tmp_path / "log"
    with open(log, "wb") as out:
        agent = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    try:
        user = pwd.getpwnam("postgres").pw_uid
        for place in (f"var/lib/veche/s-{name}", f"run/veche/s-{name}"):
            directory = pathlib.Path(f"/proc/{agent.pid}/root", place)
            wait(lambda d=directory: any(d.iterdir()), 30, f"files in {place}")
            assert directory.stat().st_uid == user
            assert directory.stat().st_mode & 0o777 == 0o700
    except AssertionError as error:
        raise AssertionError(log.read_text(encoding="utf-8")) from error
    finally:
        agent.kill()
        agent.wait()


@pytest.mark.parametrize(
    "trap",
    [
        "mkdir /var/lib/veche && ln -s /run/victim /var/lib/veche/s-$NAME",
        "ln -s /run /var/lib/veche && mkdir /run/s-$NAME && mv /run/victim /run/s-$NAME/victim",
        "mkdir /var/lib/veche && chown postgres /var/lib/veche && mkdir /var/lib/veche/s-$NAME",
    ],
    ids=["a link", "a link on the way", "a parent of others"],
)
def test_as_root_it_gives_away_nothing_but_its_own(tmp_path, trap):
    """Who may write below may put anything there: root gives that to nobody."""
    look = "stat -Lc 'owner %u' /var/lib/veche/s-$NAME"
    before = "mkdir /run/victim && NAME=w" + str(os.getpid()) + f" && {trap}"
    _, command = fresh_machine(tmp_path, before, look)
    ended = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    assert "owner 0" in ended.stdout, ended.stdout + ended.stderr
    assert "Permission denied" in ended.stdout + ended.stderr


@pytest.mark.parametrize("place", ["/run/others", "/run/veche/.", "/run/veche/.."])
def test_as_root_it_does_not_give_away_what_was_there(tmp_path, place):
    """Whoever writes the configuration is not root by that."""
    before = "mkdir -p /run/others /run/veche /var/lib/veche && chmod 755 /run"
    look = f"stat -Lc 'owner %u' {place}"
    _, command = fresh_machine(tmp_path, before, look, f", runtime_dir: {place}")
    ended = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    assert "owner 0" in ended.stdout, ended.stdout + ended.stderr
    assert "Permission denied" in ended.stdout + ended.stderr
