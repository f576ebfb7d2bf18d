"""Agents as in an unprivileged container: no real-time priority, no locked memory,
no raised limits, cgroups that can only be read.

`VECHE_UNPRIVILEGED=1` runs every other integration test this way; this one shows
that the denial is real, and that the essence works, in each run.
"""

import os
import pathlib
import re
import subprocess

import pytest

from veche import TTL, Cluster, Writer, processes_of, wait

# linux/capability.h
DENIED = {"IPC_LOCK": 14, "SYS_RAWIO": 17, "SYS_ADMIN": 21, "SYS_NICE": 23, "SYS_RESOURCE": 24}


@pytest.fixture
def denied():
    with Cluster() as c:
        for node in c.nodes.values():
            node.unprivileged = True
        yield c


def status_of(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def limit_of(pid, name):
    text = pathlib.Path(f"/proc/{pid}/limits").read_text(encoding="utf-8")
    return re.search(rf"^{name}\s+(\S+)\s+(\S+)", text, re.M).groups()


def assert_denied(pid):
    bounding = int(status_of(pid)["CapBnd"], 16)
    assert {name for name, bit in DENIED.items() if bounding >> bit & 1} == set()
    assert limit_of(pid, "Max realtime priority") == ("0", "0")
    assert limit_of(pid, "Max locked memory") == ("0", "0")
    r = subprocess.run(
        ["nsenter", "-t", str(pid), "-m", "sh", "-c",
         "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $d/veche-test && echo made; done"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "made" not in r.stdout and r.stderr.count("Read-only file system") >= 1, r


def test_without_privileges_a_cluster_forms_fails_over_and_heals(denied):
    c = denied
    c.start_and_wait()
    for node in c.nodes.values():
        assert_denied(node.process.pid)
    for node in c.postgres_nodes:
        assert processes_of(node.data_dir)
        assert_denied(node.postmaster_pid())
    writer = Writer(c.postgres_nodes)
    writer.prepare()
    writer.start()
    writer.wait_rows(20)

    primary = c.primary()
    primary.kill()
    c.wait_primary(10 * (TTL + 1), other_than=primary)
    writer.wait_rows(20)
    primary.start()
    c.wait_healthy()
    assert primary.stop() == 0
    writer.stop()

    for node in c.nodes.values():
        assert "Assertion" not in node.log()
    assert os.path.isdir("/sys/fs/cgroup")  # Ours is as it was.
