"""A machine at its limits is no reason for a failover, nor for a freeze."""

import contextlib
import os
import pathlib
import re
import subprocess
import time

from veche import Cluster, PG_BIN, SUPERUSER_PASSWORD, TTL, run_as_postgres, wait

SECONDS = int(os.environ.get("VECHE_LOAD_SECONDS", "120"))
PRESSURE = 50  # "some avg10" of /proc/pressure/cpu, in percent.


def cpu_pressure():
    text = pathlib.Path("/proc/pressure/cpu").read_text(encoding="ascii")
    return float(re.search(r"some avg10=([\d.]+)", text)[1])


@contextlib.contextmanager
def running(*command, env=None):
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, **(env or {})},
        **run_as_postgres(),
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


def histogram(node):
    """Upper bound in seconds -> how many margins were at most that."""
    text = node.http("/metrics").text
    found = re.findall(r'^veche_lease_margin_seconds_bucket\{.*le="([^"]+)".*\} (\d+)', text, re.M)
    return {float(le): int(n) for le, n in found}


def shown(buckets):
    """How many margins were in each bucket: "1.5: 3, 2: 8, ..."."""
    parts = []
    before = 0
    for le, n in sorted(buckets.items()):
        if n > before:
            parts.append(f"{le:g}: {n - before}")
        before = n
    return ", ".join(parts)


def test_load_is_no_reason_for_a_failover(report):
    with Cluster(place="/tmp") as c:  # All of it on the disk that is kept busy.
        c.start_and_wait()
        primary = c.primary()
        postmaster, epoch = primary.postmaster_pid(), primary.status()["veche"]["epoch"]
        bench = {"PGPASSWORD": SUPERUSER_PASSWORD}
        where = ("-h", primary.host, "-p", str(primary.pg_port), "-U", "postgres")
        subprocess.run(
            [PG_BIN / "pgbench", "-q", "-i", "-s", "2", *where, "postgres"],
            env={**os.environ, **bench},
            check=True,
            capture_output=True,
        )
        cpus = str(2 * os.cpu_count())
        # Where the Raft directories are: they share its queue of writes.
        storm = ("stress-ng", "--hdd", "1", "--hdd-bytes", "64M", "--hdd-opts", "fsync,sync")
        pressures = []
        with (
            running("stress-ng", "--cpu", cpus),
            running(*storm, "--temp-path", str(primary.dir)),
            running(PG_BIN / "pgbench", "-c", "8", "-T", str(SECONDS + 60), *where, "postgres", env=bench),
        ):
            wait(lambda: cpu_pressure() >= PRESSURE, 60, f"pressure of {PRESSURE} %")
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                time.sleep(1)  # How long it is watched is what is tested.
                pressures.append(cpu_pressure())
                assert primary.status()["veche"]["epoch"] == epoch, "a failover"
        buckets = histogram(primary)
        freezes = primary.metric("veche_guard_freezes_total")
        report(
            f"{SECONDS} s: PSI cpu some avg10 {min(pressures):.0f} to {max(pressures):.0f} %; freezes "
            f"{freezes:.0f}; what was left of a lease of {TTL} s, number by upper bound: {shown(buckets)}"
        )
        assert min(pressures[10:]) >= PRESSURE, "the machine was not busy enough"
        assert freezes == 0
        assert c.wait_healthy(60) is primary
        assert primary.postmaster_pid() == postmaster
        assert primary.status()["veche"]["epoch"] == epoch
