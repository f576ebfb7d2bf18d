"""A test process that is killed leaves nothing behind."""

import os
import pathlib
import signal
import subprocess
import sys

import shm
from bare_guard import UNIFIED
from reaper import belongs
from veche import wait

CHILD = """
from veche import Cluster, wait

c = Cluster()
c.make_nodes()
c.start()
c.wait_primary()
print(c.dir, flush=True)
wait(lambda: False, 600, "the end")
"""


def processes_for(directory):
    pids = [p for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()]
    return [p for p in pids if belongs(p, directory)]


def test_a_killed_test_process_leaves_no_cluster_behind():
    """As pytest-xdist does to a worker in the middle of a test."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD],
        cwd=pathlib.Path(__file__).parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        directory = child.stdout.readline().strip()
        assert directory
        assert len(processes_for(directory)) > 3, "three agents, a PostgreSQL"
        os.kill(child.pid, signal.SIGKILL)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    wait(lambda: not processes_for(directory), 30, "its processes to end")
    wait(lambda: not os.path.exists(directory), 30, "its directory to go")


FROZEN_CHILD = """
import os, pathlib, subprocess, sys
from reaper import reaper

path = pathlib.Path(sys.argv[1])
path.mkdir()
reaper.add("cgroup", path)
(path / "pg").mkdir()
child = subprocess.Popen(["sleep", "600"])
(path / "pg" / "cgroup.procs").write_text(str(child.pid))
(path / "pg" / "cgroup.freeze").write_text("1")
print("frozen", flush=True)
sys.stdin.read()
"""


def test_a_killed_test_process_leaves_no_cgroup_behind():
    path = UNIFIED / f"veche-reap-{os.getpid()}"
    child = subprocess.Popen(
        [sys.executable, "-c", FROZEN_CHILD, path],
        cwd=pathlib.Path(__file__).parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout.readline() == "frozen\n"
        assert (path / "pg" / "cgroup.procs").read_text().split()
        os.kill(child.pid, signal.SIGKILL)
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()
    wait(lambda: not path.exists(), 30, "its cgroup to go")


def test_a_killed_postgresql_leaves_its_shared_memory_to_the_tests_alone():
    """4096 identifiers are all that a machine has: see shm.private_memory."""
    inside = os.readlink("/proc/self/ns/ipc"), os.stat("/dev/shm").st_dev
    assert all(mine != theirs for mine, theirs in zip(inside, shm.OUTSIDE))
