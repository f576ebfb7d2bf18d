"""The section `watchdog:` under whole agents. No machine of a test has a watchdog: a FIFO
stands in (driver: testing), whose reader is told what a device would be told. When it is
fed is in tests/unit/test_guard_watchdog.c.
"""

import os
import pwd
import signal

import pytest

from veche import TTL, Cluster, eventually, processes_of, wait

REQUIRED = "watchdog.mode is required, and there is none: "


class Fifo:
    """A device, seen from behind; read() says what it was told since."""

    def __init__(self, path):
        user = pwd.getpwnam("postgres")
        os.mkfifo(path)
        os.chown(path, user.pw_uid, user.pw_gid)
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.told = ""

    def read(self):
        try:
            self.told += os.read(self.fd, 65536).decode()
        except BlockingIOError:
            pass
        told, self.told = self.told, ""
        return told

    def until(self, text):
        seen = ""

        def is_told():
            nonlocal seen
            seen += self.read()
            return text in seen

        wait(is_told, 60, f"{text!r} told to the watchdog")
        return seen


@pytest.fixture
def alone():
    with Cluster(names=("pg1",)) as c:
        yield c["pg1"]


def set_watchdog(node, **keys):
    node.overrides |= {f"watchdog.{key}": value for key, value in keys.items()}


def reload(node, **keys):
    set_watchdog(node, **keys)
    node.write_config()
    node.process.send_signal(signal.SIGHUP)


def guard_of(node):
    return node.status()["veche"]["guard"]


def assert_says(node, text):
    assert text in node.status()["veche"]["problem"]
    assert f'There is a problem. problem="{text}' in node.log()


def test_required_and_missing_makes_no_primary_until_it_is_there(alone):
    path = alone.dir / "watchdog"
    set_watchdog(alone, mode="required", device=str(path), driver="testing")
    alone.start()
    eventually(lambda: assert_says(alone, f"{REQUIRED}{path}: No such file or directory"))
    wait(lambda: "rule=no-bootstrap " in alone.log(), 60, "nobody to make a database")
    assert "without the watchdog it requires" in alone.log()
    assert not alone.data_dir.exists() or not os.listdir(alone.data_dir)

    device = Fifo(path)
    wait(alone.is_primary, 120, "a primary")
    assert device.until("1").startswith(f"Ctimeout={TTL // 2}\n1")
    device.until("1")
    assert guard_of(alone)["watchdog"] and alone.metric("veche_guard_watchdog_active") == 1
    assert "problem" not in alone.status()["veche"]

    reload(alone, mode="off")
    assert device.until("V").endswith("V")
    wait(lambda: not guard_of(alone)["watchdog"], 60, "no watchdog")
    assert alone.is_primary()
    reload(alone, mode="automatic")
    assert device.until("1").startswith("Ctimeout=")
    assert alone.stop() == 0
    assert device.until("V").endswith("V")


def test_automatic_does_without(alone):
    set_watchdog(alone, mode="automatic", device="/dev/does-not-exist")
    alone.start()
    wait(alone.is_primary, 120, "a primary")
    eventually(lambda: assert_does_without(alone))


def assert_does_without(node):
    assert "There is no watchdog. why=" in node.log()
    assert not guard_of(node)["watchdog"]
    assert "/dev/does-not-exist: No such file" in guard_of(node)["trouble"]
    assert node.status()["state"] == "running" and "problem" not in node.status()["veche"]


# What can be seen beforehand, and what only when it is opened.
@pytest.mark.parametrize("device, why, refused_by", [
    ("/dev/does-not-exist", "/dev/does-not-exist: No such file or directory",
     "pg2: no-watchdog (its watchdog.mode is required, and there is none"),
    ("/dev/null", "/dev/null is no watchdog", "promote failed 1 times: promote: arm: " + REQUIRED),
])  # fmt: skip
def test_a_standby_without_its_watchdog_takes_over_only_when_that_is_not_required(
    device, why, refused_by
):
    with Cluster() as c:
        set_watchdog(c["pg2"], mode="required", device=device)
        c.start_and_wait()
        assert c.primary() is c["pg1"]  # By its name, when nothing else tells them apart.
        c["pg1"].kill()
        logs = (c["pg2"], c["w1"])
        wait(lambda: any(refused_by in n.log() for n in logs), 60, "a refusal")
        eventually(lambda: assert_says(c["pg2"], REQUIRED + why))
        assert not c["pg2"].is_primary() and processes_of(c["pg2"].data_dir)
        assert c["pg2"].sql_value("select pg_is_in_recovery()")

        reload(c["pg2"], mode="automatic")
        wait(c["pg2"].is_primary, 120, "a primary")  # Promotions that failed back off to 60 s.
