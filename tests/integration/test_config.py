"""Where the configuration comes from, and what a reload makes of it; one node for all of it."""

import pathlib
import signal

import pytest

from veche import Cluster, guards_of, processes_of, wait

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
