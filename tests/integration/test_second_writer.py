"""Never a second writer (S1), and nothing lost that must not be: every fault on real
processes, with clients that go on writing to the node that was primary.

Each fault runs with three clients (any node, only the old primary, through HAProxy) and
with a crowd of connections to the old primary that were opened before, and that all try
to write after the other node has taken over.
"""

import contextlib
import dataclasses
import os
import random
import signal
import time
import typing

import pytest

from clients import Client, Clients, Crowd, HAProxy, anywhere, count_by, only, wait_rows
from netns import NetworkCluster
from veche import TTL, command_line, wait

WITHIN = 10 * (TTL + 1)
SEED = int(os.environ.get("VECHE_FAULT_SEED", "0")) or random.randrange(1, 1 << 31)
MIXTURES = int(os.environ.get("VECHE_FAULT_MIXTURES", "1"))


# ---- Faults ----


def guard_pid(node):
    wanted = str(node.runtime_dir).encode()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            line = command_line(int(entry))
            if b"veche-guard" in line.split(b"\0")[0] and wanted in line:
                return int(entry)
    raise LookupError(f"{node.name} has no guard")


@contextlib.contextmanager
def stopped(*pids):
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def power_off(c, node):
    """The link first, so that nobody gets a reset."""
    c.network.unplug(node.name)
    node.kill()
    with contextlib.suppress(LookupError, ProcessLookupError):
        os.kill(guard_pid(node), signal.SIGKILL)
    yield
    c.network.plug(node.name)
    node.start()


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


def agent_stopped(seconds):
    @contextlib.contextmanager
    def fault(_, node):
        with stopped(node.process.pid):
            time.sleep(seconds)  # The fault itself: what it lasts, not a wait for something.
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
    node.start()


@contextlib.contextmanager
def agent_killed_and_back(_, node):
    node.kill_agent()
    node.start()
    yield


@contextlib.contextmanager
def guard_killed(_, node):
    os.kill(guard_pid(node), signal.SIGKILL)
    yield


@contextlib.contextmanager
def guard_hangs(_, node):
    with stopped(guard_pid(node)):
        yield


@contextlib.contextmanager
def agent_and_guard_killed(_, node):
    guard = guard_pid(node)
    os.kill(guard, signal.SIGKILL)
    node.kill_agent()
    yield
    node.start()


@contextlib.contextmanager
def postmaster_killed(_, node):
    os.kill(node.postmaster_pid(), signal.SIGKILL)
    yield


@contextlib.contextmanager
def postmaster_hangs(_, node):
    with stopped(node.postmaster_pid()):
        yield


@contextlib.contextmanager
def two_agents_killed(c, node):
    others = [n for n in c.nodes.values() if n is not node]
    for other in others:
        other.kill_agent()
    yield
    for other in others:
        other.start()


@contextlib.contextmanager
def rolling_restart(c, node):
    for other in [*(n for n in c.nodes.values() if n is not node), node]:
        other.kill_agent()
        other.start()
        wait(other.status, WITHIN, f"{other.name} answers")
    yield


@dataclasses.dataclass
class Fault:
    name: str
    run: typing.Callable
    takes_over: typing.Optional[bool]  # Does the other node? None: it may.


FAULTS = [
    Fault("power-off", power_off, True),
    Fault("partition", partition, True),
    Fault("one-way-out", one_way(True), True),
    Fault("one-way-in", one_way(False), True),
    Fault("agent-stopped-0.1s", agent_stopped(0.1), False),
    Fault("agent-stopped-1s", agent_stopped(1), False),
    Fault("agent-stopped-20s", agent_stopped(20), True),
    Fault("agent-hangs", agent_hangs, True),
    Fault("agent-killed", agent_killed, True),
    Fault("agent-killed-and-back", agent_killed_and_back, False),
    Fault("guard-killed", guard_killed, None),
    Fault("guard-hangs", guard_hangs, None),
    Fault("agent-and-guard-killed", agent_and_guard_killed, True),
    Fault("postmaster-killed", postmaster_killed, None),
    Fault("postmaster-hangs", postmaster_hangs, None),
    Fault("two-agents-killed", two_agents_killed, None),
    Fault("rolling-restart", rolling_restart, False),
]
BY_NAME = {f.name: f for f in FAULTS}

# In every run; all of them in tests/long.sh.
SAMPLE = {
    "async": ("agent-killed", "agent-killed-and-back"),
    "sync": ("partition", "guard-hangs"),
}
ALL = os.environ.get("VECHE_FAULTS") == "all"

MODES = {
    "async": {},
    "sync": {"synchronous_mode": True, "maximum_lag_on_failover": 0},
}


# ---- One run ----


@contextlib.contextmanager
def cluster_of(mode):
    with NetworkCluster(dcs=MODES[mode]) as c:
        for node in c.postgres_nodes:
            node.overrides["postgresql.parameters.max_connections"] = None
        c.dcs.setdefault("postgresql", {})["parameters"] = {"max_connections": 200}
        c.start_and_wait()
        yield c


class Run:
    """The clients of one fault, and what is said of them at the end."""

    def __init__(self, c):
        self.c, self.old = c, c.primary()
        self.clients = Clients(c)
        self.clients.prepare()
        self.any = self.clients.add(Client(self.clients, "any", anywhere(c)))
        self.pinned = self.clients.add(
            Client(self.clients, "pinned", only(self.old), netns=self.old.netns)
        )
        self.crowd = self.clients.add(Crowd(self.clients, self.old))
        assert self.crowd.opened.wait(60)

    def through(self, proxy):
        self.proxied = self.clients.add(Client(self.clients, "haproxy", proxy.dsn))
        for client in (self.any, self.pinned, self.proxied):
            wait_rows(self.clients, client, 50)

    def timeline(self):
        return max(r.timeline for r in self.clients.acknowledged)

    def wait_take_over(self, timeline):
        wait(lambda: self.timeline() > timeline, WITHIN, "rows of a next primary")

    def fire(self):
        """After a take-over: the crowd, and time for its answers to come."""
        self.crowd.fire()
        wait_rows(self.clients, self.any, 200)

    def check(self, mode, report, name, since):
        c, clients = self.c, self.clients
        primary = c.wait_healthy(120)
        wait_rows(clients, self.any, 50)
        clients.stop()
        lost = clients.lost(primary)
        overlaps = clients.overlaps()
        gap = clients.longest_gap(self.any, since)
        margins = [m for m in (frozen_minus_deadline(n) for n in c.postgres_nodes) if m]
        worst = f"{max(margins):.3f} s" if margins else "none was frozen"
        report(
            f"{name} {mode}: gap {gap:.2f} s; acknowledged {count_by(clients.acknowledged, 'node')}; "
            f"lost {len(lost)}, overlapping {len(overlaps)}; frozen-at minus deadline: {worst}"
        )
        assert overlaps == []
        assert clients.unexplained(lost, primary) == []
        assert all(m < 0 for m in margins), margins
        if mode == "sync":
            assert lost == []
        elif lost:
            wait(
                lambda: any("rule=diverged-wal" in n.log() for n in c.nodes.values()),
                WITHIN,
                "the loss in the ledger",
            )


def frozen_minus_deadline(node):
    """In seconds; negative is in time. 0: its guard has not frozen anything."""
    try:
        return node.metric("veche_guard_late_seconds")
    except OSError:  # No answer: it was killed a moment ago.
        return 0


def suffer(c, fault, mode, report):
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(HAProxy(c))
        run = Run(c)
        stack.callback(run.clients.stop)
        run.through(proxy)
        timeline, since = run.timeline(), time.monotonic()
        postmaster = run.old.postmaster_pid()
        with fault.run(c, run.old):
            if fault.takes_over:
                run.wait_take_over(timeline)
                run.fire()
            elif fault.takes_over is None:
                settle(run, timeline, since)
            else:
                wait_rows(run.clients, run.any, 400)
        run.check(mode, report, fault.name, since)
        if fault.takes_over is False:
            assert c.primary() is run.old and run.old.postmaster_pid() == postmaster


def settle(run, timeline, since):
    """Until two ttl later, when a take-over would have happened; then as after one."""
    wait(lambda: time.monotonic() > since + 2 * TTL + 2, WITHIN, "time to take over")
    if run.timeline() > timeline:
        run.fire()


def chosen():
    return [(m, f.name) for m in MODES for f in FAULTS if ALL or f.name in SAMPLE[m]]


@pytest.fixture(scope="module")
def clusters():
    """One for each mode, made when it is wanted first."""
    with contextlib.ExitStack() as stack:
        made = {}

        def get(mode):
            if mode not in made:
                stack.close()  # One at a time: each lends its network to this thread.
                made.clear()
                made[mode] = stack.enter_context(cluster_of(mode))
            return made[mode]

        yield get


@pytest.mark.parametrize("mode, name", chosen())
def test_no_second_writer(clusters, mode, name, report):
    c, fault = clusters(mode), BY_NAME[name]
    c.wait_healthy(120)
    suffer(c, fault, mode, report)


# ---- Mixtures ----


@pytest.mark.parametrize("number", range(MIXTURES))
@pytest.mark.parametrize("mode", list(MODES) if ALL else ["async"])
def test_a_mixture_of_faults(clusters, mode, number, report):
    """Two or three at once, at the primary; the seed is printed."""
    c = clusters(mode)
    seed = SEED + number
    rng = random.Random(seed)
    names = rng.sample(
        ["partition", "one-way-out", "one-way-in", "agent-hangs", "guard-hangs", "postmaster-hangs"],
        rng.choice((2, 3)),
    )
    report(f"VECHE_FAULT_SEED={seed}: {', '.join(names)}")

    @contextlib.contextmanager
    def mixture(cluster, node):
        with contextlib.ExitStack() as stack:
            for name in names:
                stack.enter_context(BY_NAME[name].run(cluster, node))
            yield

    c.wait_healthy(120)
    suffer(c, Fault("+".join(names), mixture, None), mode, report)
