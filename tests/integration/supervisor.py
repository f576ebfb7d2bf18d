"""What systemd does with veched.service, where none runs: reads the unit file, and starts,
restarts, stops and signals an agent as systemd 252 would.

Only what the unit relies on is here: the main process, what outlives it, and who is started
again after what end. A setting that is not known is an error, not a difference.
"""

import contextlib
import os
import signal
import threading
import time

from veche import ROOT, guards_of, processes_of, wait

UNIT = ROOT / "deploy/systemd/veched.service"
UNITS_OF_TIME = {"ms": 0.001, "s": 1, "min": 60}


def read_unit(path=UNIT):
    """Setting -> value; of one that is given twice the last counts."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return dict(line.split("=", 1) for line in lines if "=" in line and line[0] not in "#;")


def seconds(text):
    """100ms, 5s, 600"""
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    return float(number) * UNITS_OF_TIME[text[len(number) :] or "s"]


class Supervisor(threading.Thread):
    """Of one node's agent. state: inactive, active, auto-restart, stopping or failed."""

    START_LIMIT = 5  # Starts in StartLimitIntervalSec; 0 = no limit.

    def __init__(self, node):
        super().__init__(daemon=True, name=f"supervisor of {node.name}")
        unit = read_unit()
        assert unit["KillMode"] == "process", "others are not known here"
        assert unit["Restart"] in ("always", "no"), "others are not known here"
        self.node = node
        self.restarts = unit["Restart"] == "always"
        self.restart_delay = seconds(unit["RestartSec"])
        self.restart_signal = signal.Signals[unit.get("RestartKillSignal", "SIGTERM")]
        self.stop_timeout = seconds(unit["TimeoutStopSec"])
        self.limit_interval = seconds(unit.get("StartLimitIntervalSec", "10s"))
        self.prevented = set(map(int, unit.get("RestartPreventExitStatus", "").split()))
        self.state = "inactive"
        self.ended = []  # (when, exit status) of every main process; negative: its signal.
        self.started = []  # When.
        self.changed = threading.Condition()
        self.quitting = False

    def run(self):
        """Waits for main processes, as it waits for SIGCHLD."""
        while not self.quitting:
            with self.changed:
                self.changed.wait_for(lambda: self.quitting or self.state == "active")
                main = self.node.process
            if not self.quitting:
                status = main.wait()
                self.on_end(status)

    def on_end(self, status):
        with self.changed:
            self.ended.append((time.monotonic(), status))
            if self.quitting:
                return
            if self.state == "stopping":
                self.become("inactive")
            elif not self.restarts or status in self.prevented:
                self.become("failed" if status != 0 else "inactive")
            else:
                self.become("auto-restart")
                self.changed.wait_for(lambda: self.state != "auto-restart", self.restart_delay)
                if self.state == "auto-restart":
                    self.start_main()

    def become(self, state):
        self.state = state
        self.changed.notify_all()

    def start_main(self):
        recent = [t for t in self.started if t > time.monotonic() - self.limit_interval]
        if self.limit_interval > 0 and len(recent) >= self.START_LIMIT:
            self.become("failed")
            return
        self.started.append(time.monotonic())
        self.node.start()
        self.become("active")

    # -- systemctl

    def begin(self):
        """systemctl start"""
        with self.changed:
            if self.state not in ("active", "auto-restart"):
                self.start_main()

    def stop(self, first=signal.SIGTERM):
        """systemctl stop. During the delay before a restart there is no main process, and
        nobody else is signalled: KillMode=process."""
        with self.changed:
            if self.state == "auto-restart":
                self.become("inactive")
            if self.state != "active":
                return
            self.become("stopping")
            self.node.process.send_signal(first)
            if not self.changed.wait_for(lambda: self.state == "inactive", self.stop_timeout):
                self.node.process.kill()
                self.changed.wait_for(lambda: self.state == "inactive")

    def restart(self):
        """systemctl restart: a stop with another signal, and at once a start."""
        self.stop(self.restart_signal)
        self.begin()

    def kill(self, number, whom="all"):
        """systemctl kill: without --kill-whom=main every process of the unit's cgroup."""
        others = [*guards_of(self.node.runtime_dir), *processes_of(self.node.data_dir)]
        for pid in [self.node.process.pid, *(others if whom == "all" else [])]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    # -- for tests

    def wait_state(self, state, limit=60):
        wait(lambda: self.state == state, limit, f"{self.node.name} is {state}")

    def wait_restarts(self, n, limit=60):
        """Until it was started so often, all in all."""
        wait(lambda: len(self.started) >= n, limit, f"start {n} of {self.node.name}")

    def quit(self):
        with self.changed:
            self.quitting = True
            self.become("inactive")
