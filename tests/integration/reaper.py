"""Ends what a test process leaves behind, however it ended.

A test cleans up behind itself, also when it is interrupted. But a process that is
killed does not: pytest-xdist, when it is told to stop, kills a worker that is in the
middle of a test. So every test process has a reaper, told through a pipe what there
is; when the pipe closes, it ends what was not taken back. It outlives what ends its
test process: a session of its own, and it ignores the signals that ask to stop.

    add dir PATH      processes, mounts and files of a cluster
    add netns PREFIX  network namespaces whose names begin so
    add cgroup PATH   what is in it, and those below it
    drop ...          the test has cleaned that up itself
"""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time


class Reaper:
    """The test process's end of the pipe; the other is started at the first `add`."""

    def __init__(self):
        self.process = None
        self.owner = None  # Who started it: a fork starts one of its own.

    def _say(self, line):
        if self.process is None or self.owner != os.getpid():
            self.owner = os.getpid()
            self.process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,  # Closed on exec: no agent keeps it open.
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                text=True,
            )
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def add(self, kind, what):
        self._say(f"add {kind} {what}")

    def drop(self, kind, what):
        self._say(f"drop {kind} {what}")


reaper = Reaper()


def belongs(pid, directory):
    """Whether it works in the directory, was started for it or with a file of it."""
    proc = pathlib.Path("/proc") / pid
    for read in (
        lambda: os.readlink(proc / "cwd").encode() + b"/",
        lambda: (proc / "cmdline").read_bytes(),
        lambda: (proc / "environ").read_bytes(),
    ):
        with contextlib.suppress(OSError):
            if directory.encode() + b"/" in read():
                return True
    return False


def kill_all(directory):
    """Until none is left: one may have started another meanwhile."""
    for _ in range(200):
        pids = [p for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()]
        pids = [p for p in pids if belongs(p, directory)]
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.05)


def quietly(*command):
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def mounts_in(directory):
    """The last one first."""
    lines = pathlib.Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return [t for t in reversed([line.split()[1] for line in lines]) if t.startswith(directory + "/")]


def reap_dir(directory):
    for place in mounts_in(directory):
        quietly("fsfreeze", "--unfreeze", place)  # Else who writes there can not be killed.
    kill_all(directory)
    for place in mounts_in(directory):
        quietly("umount", place)
    if not os.environ.get("VECHE_KEEP"):
        shutil.rmtree(directory, ignore_errors=True)


def reap_netns(prefix):
    for name in os.listdir("/run/netns"):
        if name.startswith(prefix):
            quietly("ip", "netns", "del", name)


def reap_cgroup(path):
    """Frozen or not: what is killed ends."""
    for place in sorted(pathlib.Path(path).glob("**/"), reverse=True):  # The innermost first.
        for _ in range(200):
            with contextlib.suppress(OSError):
                for pid in (place / "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(OSError):
                (place / "cgroup.freeze").write_text("0")
            with contextlib.suppress(OSError):
                place.rmdir()
            if not place.exists():
                break
            time.sleep(0.05)


def main():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    there = []
    for line in sys.stdin:
        verb, kind, what = line.rstrip("\n").split(" ", 2)
        if verb == "add":
            there.append((kind, what))
        else:
            there.remove((kind, what))
    for kind, what in reversed(there):  # A cluster was added after its network.
        with contextlib.suppress(OSError):
            {"dir": reap_dir, "netns": reap_netns, "cgroup": reap_cgroup}[kind](what)


if __name__ == "__main__":
    main()
