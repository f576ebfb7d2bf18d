"""The README's quick start, as a new user runs it."""

import os
import pathlib
import re
import signal
import subprocess
import time

from veche import BUILD, ROOT, wait


def take_interrupts():
    """As from a terminal: a shell that starts with SIGINT ignored could not trap it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def demo(args):
    return subprocess.Popen(
        [str(ROOT / "deploy/demo.sh"), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "VECHE_BUILD": str(BUILD)},
        preexec_fn=take_interrupts,
    )


def processes_in(directory):
    """Pids of processes that work in the directory or have it in their arguments."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                cwd = os.readlink(f"/proc/{entry}/cwd")
                arguments = pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().decode()
            except OSError:
                continue
            if cwd.startswith(directory) or directory in arguments:
                found.append(int(entry))
    return found


def test_demo_fails_over_and_loses_nothing(report):
    process = demo(["--failover"])
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    found = re.search(r"Write gap: ([0-9.]+) s\. Acknowledged rows: (\d+), missing: 0\.", output)
    assert found, output
    assert "is a standby again" in output
    report(f"write gap {found[1]} s, {found[2]} rows, none missing")


def test_demo_runs_until_interrupted_and_leaves_nothing():
    process = demo([])
    output = ""
    deadline = time.monotonic() + 240
    while "Stop:" not in output:
        assert time.monotonic() < deadline, output
        line = process.stdout.readline()
        assert line, output
        output += line
    directory = re.search(r"in (/\S+veche-demo-\w+)\.", output)[1]
    assert "streaming" in output and "psql" in output
    assert processes_in(directory)

    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=120)

    wait(lambda: not processes_in(directory), 30, "the demo's processes to be gone")
    assert not os.path.exists(directory)
