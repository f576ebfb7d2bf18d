"""Never a second writer (S1), and nothing lost that must not be: every fault on real
processes, with clients that go on writing to the node that was primary.

Each fault runs with five clients (any node; only the old primary, row by row, pipelining, and
with a long statement; through HAProxy) and with a crowd of connections to the old primary that
were opened before, and that all try to write after the other node has taken over.
"""

import contextlib
import json
import os
import random
import re
import time

import pytest

from clients import (
    Client,
    Clients,
    Crowd,
    HAProxy,
    PatientClient,
    PipelineClient,
    anywhere,
    count_by,
    only,
    wait_rows,
)
from faults import BY_NAME, FAULTS, QUICK, WITHIN, RiggedCluster, draw, mixture
from kept_wal import commit_time
from netns import NetworkCluster
from veche import TTL, wait

CHOICE = os.environ.get("VECHE_FAULTS", "")
# Every change sees the same mixture; who chooses faults draws others.
SEED = int(os.environ.get("VECHE_FAULT_SEED", "0")) or (
    random.randrange(1, 1 << 31) if CHOICE else 105163049
)
MIXTURES = int(os.environ.get("VECHE_FAULT_MIXTURES", "1"))
RUNS = int(os.environ.get("VECHE_FAULT_RUNS", "1"))
LEDGER = os.environ.get("VECHE_FAULT_LEDGER")

# In every run; all of them in tests/long.sh, some with VECHE_FAULTS=NAME,NAME.
SAMPLE = {
    "async": ("agent-killed",),
    "sync": ("stray-sigcont",),
}
ALL = CHOICE == "all"

MODES = {
    "async": {},
    "sync": {"synchronous_mode": True, "maximum_lag_on_failover": 0},
}

TRIES_MIN = 100  # Of writes to the old primary after a take-over: below it says nothing.
READ_WITHIN = 1.0  # Seconds from an answer's arrival until a client's thread has read it.


# ---- One run ----


@contextlib.contextmanager
def cluster_of(mode, rigged):
    with (RiggedCluster if rigged else NetworkCluster)(dcs=MODES[mode]) as c:
        for node in c.postgres_nodes:
            node.overrides["postgresql.parameters.max_connections"] = None
        c.dcs.setdefault("postgresql", {})["parameters"] = {"max_connections": 200}
        c.start_and_wait()
        yield c


class Run:
    """The clients of one fault, and what is said of them at the end."""

    def __init__(self, c, fault, mode):
        self.c, self.fault, self.mode, self.old = c, fault, mode, c.primary()
        self.read_from = {n.name: len(n.log()) for n in c.nodes.values()}
        self.clients = clients = Clients(c)
        clients.prepare()
        own = {"dsn": only(self.old), "netns": self.old.netns}
        self.any = clients.add(Client(clients, "any", anywhere(c)))
        self.pinned = clients.add(Client(clients, "pinned", **own))
        self.pipeline = clients.add(PipelineClient(clients, "pipeline", pause=0.1, **own))
        clients.add(PatientClient(clients, "patient", **own))
        self.crowd = clients.add(Crowd(clients, self.old))
        assert self.crowd.opened.wait(60)
        self.since = None  # When the fault began.

    def begin(self, proxy):
        self.proxied = self.clients.add(Client(self.clients, "haproxy", proxy.dsn))
        for client in (self.any, self.pinned, self.pipeline, self.proxied):
            wait_rows(self.clients, client, 50)
        self.before, self.since = self.timeline(), time.monotonic()

    def timeline(self):
        return max(r.timeline for r in self.clients.acknowledged)

    def has_taken_over(self):
        return self.timeline() > self.before

    def wait_take_over(self):
        wait(self.has_taken_over, WITHIN, "rows of a next primary")

    def fire(self):
        """After a take-over: the crowd, and time for its answers to come."""
        self.crowd.fire()
        wait_rows(self.clients, self.any, 200)

    def tried(self):
        """Writes to the old primary, and connections to write, since the next one's first
        acknowledgement."""
        first = self.clients.first_of_writers()
        began = min(at for (timeline, _), at in first.items() if timeline > self.before)
        return self.crowd.tried + sum(at > began for at in self.pinned.tries)

    def log_of(self, node):
        """What it has said since the run began."""
        return node.log()[self.read_from[node.name] :]

    # -- what it comes to

    def margins(self):
        """Frozen-at minus deadline of each freeze in seconds; negative is in time."""
        return [
            int(us) / 1e6
            for node in self.c.postgres_nodes
            for us in re.findall(r"PostgreSQL is frozen\..* late_us=(-?\d+)", self.log_of(node))
        ]

    def kills_at_deadline(self):
        """By guards: somebody still ran, for want of a processor."""
        return sum(self.log_of(n).count("PostgreSQL is killed. why=late") for n in self.c.postgres_nodes)

    def delivered_late(self):
        """Rows that a second writer may have acknowledged: not those that are in the WAL as
        committed before the newer primary's first row, if they can have been on their way."""
        wrong = []
        wall = time.time() - time.monotonic()
        for row, first in self.clients.late():
            when = commit_time(self.c, row)
            was_delayed = self.fault.delays or row.received < first + READ_WITHIN
            if when is None or when > first + wall or not was_delayed:
                wrong.append((row, row.received - first, when and when - first - wall))
        return wrong

    def commits_found(self, lost):
        """Of lost rows: how many were kept, and committed between sending and receipt."""
        wall = time.time() - time.monotonic()
        times = [(row, commit_time(self.c, row)) for row in lost[:20]]
        return all(
            when is not None and row.sent - 0.1 < when - wall < row.received + 0.1
            for row, when in times
        )

    def check(self, report):
        c, clients = self.c, self.clients
        primary = c.wait_healthy(120)
        wait_rows(clients, self.any, 50)
        clients.stop()
        tried = self.tried() if self.crowd.fired.is_set() else None
        lost, overlaps = clients.lost(primary), clients.overlaps()
        late = self.delivered_late()
        gap = clients.longest_gap(self.any, self.since)
        margins = self.margins()
        worst, kills = max(margins, default=None), self.kills_at_deadline()
        report(
            f"{self.fault.name} {self.mode}: gap {gap:.2f} s; acknowledged "
            f"{count_by(clients.acknowledged, 'node')}; lost {len(lost)}, overlapping "
            f"{len(overlaps)}, late {len(late)}; frozen-at minus deadline: "
            + ("none was frozen" if worst is None else f"{worst:.3f} s")
            + f"; killed at the deadline {kills}"
            + (f"; tried at the old primary {tried}" if tried is not None else "")
        )
        assert tried is None or tried >= TRIES_MIN, "void"
        wrong = len(overlaps) + len(late)
        self.note(gap=gap, lost=len(lost), overlapping=wrong, frozen=worst, killed_late=kills)
        assert overlaps == []
        assert late == []
        assert clients.unexplained(lost, primary) == []
        assert all(m < 0 for m in margins), margins
        assert all(worst_of_guard(n) <= 0 for n in c.postgres_nodes)
        if self.mode == "sync":
            assert lost == []
        elif lost:
            wait(
                lambda: any("rule=diverged-wal" in self.log_of(n) for n in c.nodes.values()),
                WITHIN,
                "the loss in the ledger",
            )
            assert self.commits_found(lost), "the kept WAL does not know them"
        if self.fault.quiet:
            assert margins == [] and not any(
                "PostgreSQL is killed" in self.log_of(n) for n in c.nodes.values()
            )

    def note(self, **measured):
        """For tests/bench/fault_table.py."""
        if LEDGER:
            line = {"fault": self.fault.name, "mode": self.mode, "took_over": self.has_taken_over()}
            with open(LEDGER, "a", encoding="utf-8") as f:
                f.write(json.dumps({**line, **measured}) + "\n")


def worst_of_guard(node):
    """In seconds; negative is in time. 0: it has not frozen anything."""
    try:
        return node.metric("veche_guard_late_seconds")
    except OSError:  # No answer: it was killed a moment ago.
        return 0


def suffer(c, fault, mode, report):
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(HAProxy(c))
        run = Run(c, fault, mode)
        stack.callback(run.clients.stop)
        run.begin(proxy)
        postmaster = run.old.postmaster_pid()
        with fault.run(c, run.old):
            if fault.takes_over:
                run.wait_take_over()
                run.fire()
            elif fault.takes_over is None:
                settle(run)
            else:
                wait_rows(run.clients, run.any, 400)
        run.check(report)
        if fault.takes_over is False:
            assert c.primary() is run.old and run.old.postmaster_pid() == postmaster


def settle(run):
    """Until two ttl later, when a take-over would have happened; then as after one."""
    wait(lambda: time.monotonic() > run.since + 2 * TTL + 2, WITHIN, "time to take over")
    if run.has_taken_over():
        run.fire()


def is_chosen(mode, name):
    return ALL or name in CHOICE.split(",") or (not CHOICE and name in SAMPLE[mode])


def chosen():
    """One kind of cluster after the other."""
    return [
        (mode, fault.name, run)
        for mode in MODES
        for rigged in (False, True)
        for run in range(RUNS)
        for fault in FAULTS
        if fault.rigged == rigged and is_chosen(mode, fault.name)
    ]


@pytest.fixture(scope="module")
def clusters():
    """One for each mode and kind, made when it is wanted first."""
    with contextlib.ExitStack() as stack:
        made = {}

        def get(mode, rigged):
            if (mode, rigged) not in made:
                stack.close()  # One at a time: each lends its network to this thread.
                made.clear()
                made[mode, rigged] = stack.enter_context(cluster_of(mode, rigged))
            return made[mode, rigged]

        yield get


@pytest.mark.parametrize("mode, name, number", chosen())
def test_no_second_writer(clusters, mode, name, number, report):
    fault = BY_NAME[name]
    c = clusters(mode, fault.rigged)
    c.wait_healthy(120)
    suffer(c, fault, mode, report)


# ---- Mixtures ----


def mixtures():
    if CHOICE and not ALL and "mixtures" not in CHOICE.split(","):
        return []
    modes = list(MODES) if CHOICE else ["sync"]
    return [(mode, number) for mode in modes for number in range(MIXTURES)]


# A test's name must not hold the seed: every worker of xdist draws its own.
@pytest.mark.parametrize("mode, number", mixtures())
def test_a_mixture_of_faults(clusters, mode, number, report):
    """Two or three at once; the seed is printed, and repeats it with VECHE_FAULT_SEED."""
    seed = SEED + number
    rng = random.Random(seed)
    fault = mixture(draw(rng, FAULTS if CHOICE else QUICK), rng)
    choice = "VECHE_FAULTS=mixtures " if CHOICE else ""
    report(f"{choice}VECHE_FAULT_SEED={seed}: {fault.name}")
    c = clusters(mode, bool(CHOICE))
    c.wait_healthy(120)
    suffer(c, fault, mode, report)
