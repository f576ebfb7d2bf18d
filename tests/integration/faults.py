"""What may go wrong on a cluster of real processes, one function a fault.

A fault hurts `node`, which is primary at that moment, when it is entered; its end heals it.
Between, the test waits for what becomes of it. Faults can be nested, so each of them bears
with what another one has done to the node already.
"""

import contextlib
import dataclasses
import os
import signal
import sys
import time
import typing

from disks import Disk, Faults, end_on_disks, fill, small_disk
from netns import NetworkCluster
from test_raft_disk import RAFT_FAILED, veche, wait_without_raft
from veche import TTL, command_line, guards_of, is_frozen, processes_of, states_of, wait

WITHIN = 10 * (TTL + 1)
HOUR = 3600


def kill_quietly(pid, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def start(node):
    if not node.running:
        node.start()


def postmasters(node):
    """Its pid in a list; none: it does not run."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        pid = node.postmaster_pid()
        if b"postgres" in command_line(pid):
            return [pid]
    return []


def is_fenced(node):
    return is_frozen(node) or not processes_of(node.data_dir)


@contextlib.contextmanager
def stopped(*pids):
    for pid in pids:
        kill_quietly(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            kill_quietly(pid, signal.SIGCONT)


# ---- Machine and network ----


@contextlib.contextmanager
def power_off(c, node):
    """The link first, so that nobody gets a reset."""
    c.network.unplug(node.name)
    node.kill()
    yield
    c.network.plug(node.name)
    start(node)


@contextlib.contextmanager
def partition(c, node):
    for other in c.nodes.values():
        if other is not node:
            c.network.cut(node.name, other.name)
    yield
    c.network.heal()


def one_way(outward):
    @contextlib.contextmanager
    def fault(c, node):
        for other in c.nodes.values():
            if other is not node:
                ends = (node.name, other.name) if outward else (other.name, node.name)
                c.network.cut_one_way(*ends)
        yield
        c.network.heal()

    return fault


# ---- Agent ----


def agent_stopped(seconds):
    """Whatever becomes of it, it goes on after that time."""

    @contextlib.contextmanager
    def fault(_, node):
        end = time.monotonic() + seconds
        with stopped(node.process.pid):
            if seconds > TTL:
                yield
            # The fault itself: what it lasts, not a wait for something.
            time.sleep(max(0, end - time.monotonic()))
        if seconds <= TTL:
            yield

    return fault


@contextlib.contextmanager
def agent_hangs(_, node):
    with stopped(node.process.pid):
        yield


@contextlib.contextmanager
def agent_killed(_, node):
    node.kill_agent()
    yield
    start(node)


@contextlib.contextmanager
def agent_killed_and_back(_, node):
    node.kill_agent()
    start(node)
    yield


@contextlib.contextmanager
def two_agents_killed(c, node):
    others = [n for n in c.nodes.values() if n is not node]
    for other in others:
        other.kill_agent()
    yield
    for other in others:
        start(other)


@contextlib.contextmanager
def rolling_restart(c, node):
    for other in [*(n for n in c.nodes.values() if n is not node), node]:
        other.kill_agent()
        start(other)
        wait(other.status, WITHIN, f"{other.name} answers")
    yield


@contextlib.contextmanager
def stop_while_frozen(c, node):
    """As the service manager stops the unit."""
    with partition(c, node):
        wait(lambda: is_fenced(node), WITHIN, "it is frozen")
        if node.running:
            node.process.terminate()
        wait(lambda: not processes_of(node.data_dir), WITHIN, "PostgreSQL is gone")
        yield
    if node.process.poll() is None:
        node.process.wait(10 * WITHIN)
    start(node)


# ---- Guard ----


@contextlib.contextmanager
def guard_killed(_, node):
    for pid in guards_of(node.runtime_dir):
        kill_quietly(pid, signal.SIGKILL)
    yield


@contextlib.contextmanager
def guard_hangs(_, node):
    with stopped(*guards_of(node.runtime_dir)):
        yield


@contextlib.contextmanager
def agent_and_guard_killed(_, node):
    for pid in guards_of(node.runtime_dir):
        kill_quietly(pid, signal.SIGKILL)
    node.kill_agent()
    yield
    start(node)


# ---- PostgreSQL ----


@contextlib.contextmanager
def postmaster_killed(_, node):
    for pid in postmasters(node):
        kill_quietly(pid, signal.SIGKILL)
    yield


@contextlib.contextmanager
def postmaster_hangs(_, node):
    with stopped(*postmasters(node)):
        yield


@contextlib.contextmanager
def stray_sigcont(_, node):
    """To all that is frozen, when they have something to acknowledge that they must not."""
    with stopped(node.process.pid):
        yield
        if not is_frozen(node):
            return  # Killed meanwhile, or thawed by an agent that is back (mixtures).
        pids = processes_of(node.data_dir)
        for pid in pids:
            kill_quietly(pid, signal.SIGCONT)
        wait(
            lambda: is_frozen(node) or not set(pids) & set(processes_of(node.data_dir)),
            WITHIN,
            "what was continued is stopped or killed",
        )


@contextlib.contextmanager
def backends_in_d(c, node):
    """The disk under its database hangs, and so do all who write to it; then the node is cut
    off. The disk goes on when another one is primary."""
    disk = c.disks[node.name]
    disk.freeze()
    try:
        wait(
            lambda: "D" in states_of(processes_of(node.data_dir)) or not postmasters(node),
            WITHIN,
            "somebody hangs in the kernel",
        )
        with partition(c, node):
            yield
            disk.thaw()
            wait(
                lambda: "D" not in states_of(processes_of(node.data_dir)),
                WITHIN,
                "nobody hangs in the kernel any more",
            )
    finally:
        disk.thaw()


# ---- Disk of the Raft state ----


@contextlib.contextmanager
def raft_disk_full(_, node):
    """A restarted agent can not even make room for a segment."""
    place = node.dir / "small"
    fill(place)
    try:
        node.kill_agent()
        start(node)
        wait_without_raft(node)
        yield
    finally:
        for name in ("filler", "filler2"):
            (place / name).unlink(missing_ok=True)
    wait(lambda: veche(node)["raft_usable"], 2 * WITHIN, "Raft to run again")


@contextlib.contextmanager
def raft_disk_fails(c, node):
    """The agent ends when it meets that, and is started again as by the service manager."""
    c.faults[node.name].set("write EIO raft/raft/open-", "write EIO raft/raft/veche-vote")
    try:
        # The primary's position goes through the log every ten seconds.
        wait(lambda: not node.running, 10 * WITHIN, "the agent to meet the failure")
        assert node.process.returncode == RAFT_FAILED
        start(node)
        wait_without_raft(node)
        yield
    finally:
        c.faults[node.name].clear()
    wait(lambda: veche(node)["raft_usable"], 2 * WITHIN, "Raft to run again")


# ---- Wall clock ----


class Clock:
    """The wall clock of one node: of its agent and PostgreSQL. All others of the kernel's
    clocks stay what they are. The guard is linked statically, and reads the wall clock only
    to say when it said something."""

    LIBRARY = "/usr/$LIB/faketime/libfaketimeMT.so.1"

    def __init__(self, node):
        self.node = node
        self.path = node.dir / "clock"
        self.set(0)
        before = node.env.get("LD_PRELOAD")
        node.env = {
            **node.env,
            "LD_PRELOAD": " ".join(filter(None, [before, self.LIBRARY])),
            "VECHE_PRELOAD_CHILDREN": self.LIBRARY,
            "FAKETIME_TIMESTAMP_FILE": str(self.path),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def set(self, seconds):
        new = self.path.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.chmod(0o644)
        new.rename(self.path)

    def offset(self):
        """What PostgreSQL of the node says, in seconds."""
        return float(self.node.sql_value("select extract(epoch from clock_timestamp())")) - time.time()

    def is_under(self, pid):
        with open(f"/proc/{pid}/maps", encoding="utf-8") as f:
            return "libfaketimeMT" in f.read()

    def jump(self, seconds):
        self.set(seconds)
        if not self.node.witness:
            wait(lambda: abs(self.offset() - seconds) < 60, WITHIN, "PostgreSQL sees the jump")


def clock_jumps(role):
    """An hour ahead, an hour back, and right again."""

    @contextlib.contextmanager
    def fault(c, primary):
        node = {
            "primary": primary,
            "standby": next(n for n in c.postgres_nodes if n is not primary),
            "witness": next(n for n in c.nodes.values() if n.witness),
        }[role]
        clock = c.clocks[node.name]
        pids = [node.process.pid, *([] if node.witness else postmasters(node))]
        assert all(clock.is_under(pid) for pid in pids)
        try:
            for seconds in (HOUR, -HOUR, 0):
                clock.jump(seconds)
                time.sleep(2 * TTL)  # What it lasts.
            yield
        finally:
            clock.set(0)

    return fault


class RiggedCluster(NetworkCluster):
    """Its nodes have disks that can be frozen and filled, files that can fail, and wall
    clocks of their own."""

    def __init__(self, **options):
        super().__init__(**options)
        self.disks, self.faults, self.clocks = {}, {}, {}
        self.mounts = contextlib.ExitStack()

    def __enter__(self):
        super().__enter__()
        try:
            for node in self.nodes.values():
                self.rig(node)
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def rig(self, node):
        node.raft_dir = self.mounts.enter_context(small_disk(node.dir / "small")) / "raft"
        self.faults[node.name] = Faults(node)
        self.clocks[node.name] = Clock(node)
        if not node.witness:
            self.disks[node.name] = disk = Disk(self.dir, f"disk-{node.name}", megabytes=2048)
            self.mounts.callback(disk.close)
            node.data_dir = disk.place / "data"

    def __exit__(self, kind, value, trace):
        end_on_disks(self.nodes.values(), self.disks.values())
        self.mounts.close()
        super().__exit__(kind, value, trace)


# ---- All of them ----


@dataclasses.dataclass(frozen=True)
class Fault:
    name: str
    run: typing.Callable
    takes_over: typing.Optional[bool]  # Does the other node? None: it may.
    rigged: bool = False  # Needs the disks and clocks of a RiggedCluster.
    stage: int = 0  # In a mixture: lower ones first, as higher ones take away what they need.
    # What of the node is gone meanwhile: S1 is not promised with both.
    hurts: frozenset = frozenset()
    excludes: tuple = ()  # Names of what it does not go together with.
    delays: bool = False  # Answers may be on their way for as long as it lasts.
    quiet: bool = False  # Nobody is even frozen.


AGENT, GUARD = frozenset({"agent"}), frozenset({"guard"})

FAULTS = [
    Fault("power-off", power_off, True, stage=6, hurts=AGENT | GUARD, delays=True),
    Fault("partition", partition, True, stage=2),
    Fault("one-way-out", one_way(True), True, stage=2),
    Fault("one-way-in", one_way(False), True, stage=2),
    Fault("agent-stopped-0.1s", agent_stopped(0.1), False, stage=4, hurts=AGENT),
    Fault("agent-stopped-1s", agent_stopped(1), False, stage=4, hurts=AGENT),
    Fault("agent-stopped-20s", agent_stopped(20), True, stage=4, hurts=AGENT),
    Fault("agent-stopped-60s", agent_stopped(60), True, stage=4, hurts=AGENT),
    Fault("agent-hangs", agent_hangs, True, stage=4, hurts=AGENT),
    Fault("agent-killed", agent_killed, True, stage=4, hurts=AGENT),
    Fault("agent-killed-and-back", agent_killed_and_back, False, stage=4, hurts=AGENT),
    Fault("guard-killed", guard_killed, None, stage=5, hurts=GUARD),
    Fault("guard-hangs", guard_hangs, None, stage=5, hurts=GUARD),
    Fault("agent-and-guard-killed", agent_and_guard_killed, True, stage=5, hurts=AGENT | GUARD),
    Fault("postmaster-killed", postmaster_killed, None, stage=3),
    Fault("postmaster-hangs", postmaster_hangs, None, stage=3),
    Fault("two-agents-killed", two_agents_killed, None, stage=4),
    Fault("rolling-restart", rolling_restart, False, stage=4, hurts=AGENT),
    Fault("stop-while-frozen", stop_while_frozen, True, stage=4, hurts=AGENT),
    Fault("stray-sigcont", stray_sigcont, True, stage=4, hurts=AGENT),
    # Who hangs in the kernel can not be killed.
    Fault("backends-in-d", backends_in_d, True, rigged=True, stage=1, excludes=("power-off", "stop-while-frozen")),
    Fault("raft-disk-full", raft_disk_full, False, rigged=True, hurts=AGENT, excludes=("raft-disk-fails",), quiet=True),
    Fault("raft-disk-fails", raft_disk_fails, False, rigged=True, hurts=AGENT, quiet=True),
    *(
        Fault(f"clock-jumps-{role}", clock_jumps(role), False, rigged=True, quiet=True)
        for role in ("primary", "standby", "witness")
    ),
]
BY_NAME = {f.name: f for f in FAULTS}
QUICK = [f for f in FAULTS if not f.rigged and not f.name.endswith(("-20s", "-60s"))]


def may_go_together(faults):
    """Nobody is without agent and guard at once, but by what ends both of them."""
    hurting = [f.hurts for f in faults if f.hurts]
    names = {f.name for f in faults}
    return (len(hurting) <= 1 or all(h == AGENT for h in hurting)) and not any(
        names & set(f.excludes) for f in faults
    )


def draw(rng, all_of):
    """Two or three of them, in the order in which they are entered."""
    while True:
        found = rng.sample(all_of, rng.choice((2, 3)))
        if may_go_together(found):
            return sorted(found, key=lambda f: f.stage)


def mixture(faults, rng):
    """All at once, or one soon after the other."""
    pauses = [rng.choice((0, 0, rng.uniform(0, TTL))) for _ in faults]

    @contextlib.contextmanager
    def run(c, node):
        with contextlib.ExitStack() as stack:
            for fault, pause in zip(faults, pauses):
                stack.enter_context(fault.run(c, node))
                time.sleep(pause)  # Of the seed.
            yield

    return Fault(
        "+".join(f.name for f in faults),
        run,
        None,
        delays=any(f.delays for f in faults),
    )
