"""The guard's process by itself: a scripted agent, real processes, real PostgreSQL.

`busy` stands in for PostgreSQL: a parent and children that are sessions of their own, as
backends are, each counting in shared memory, so that anything of it that runs shows.
"""

import contextlib
import ctypes
import mmap
import os
import pathlib
import pwd
import select
import signal
import struct
import subprocess
import time

import psycopg2
import pytest

import bare_guard as bg
from bare_guard import MS, Client, Guard, is_gone, stat_of
from disks import Disk
from veche import BUILD, PG_BIN, Cluster, free_port, run_as_postgres, wait

PYTHON = "/usr/bin/python3"
BUSY = """
import ctypes, mmap, os, signal, sys, time
path, n, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
if len(sys.argv) > 4:
    ctypes.CDLL(None).prctl(4, 0)  # PR_SET_DUMPABLE: nobody may trace it.
f = open(path, "r+b")
m = mmap.mmap(f.fileno(), 0)
def count(i):
    view = memoryview(m).cast("Q")
    while True:
        view[i] += 1
        if pause:
            time.sleep(pause)
def one_more(number, frame):
    # At SIGUSR1 and SIGUSR2; at the latter its parent is gone at once.
    pid = os.fork()
    if pid == 0:
        os.setsid()
        while True:
            time.sleep(0.01)
    memoryview(m).cast("Q")[n + 1] = pid
    if number == signal.SIGUSR2:
        os.kill(os.getpid(), signal.SIGKILL)
signal.signal(signal.SIGUSR1, one_more)
signal.signal(signal.SIGUSR2, one_more)
for i in range(1, n + 1):
    if os.fork() == 0:
        os.setsid()
        count(i)
count(0)
"""


@pytest.fixture(params=["signals", "cgroup"])
def guard(request):
    with Guard(cgroup=request.param == "cgroup") as g:
        yield g


@pytest.fixture
def plain():
    with Guard() as g:
        yield g


class Busy:
    """The counters of a `busy` that a guard started, or is told to adopt."""

    def __init__(self, guard, n=5, pause=0.001, traceable=True):
        self.n = n
        self.path = guard.directory / "counters"
        self.path.write_bytes(bytes(8 * (n + 2)))  # The last one: the pid of one more.
        os.chown(self.path, guard.user.pw_uid, guard.user.pw_gid)
        self.argv = [PYTHON, "-c", BUSY, str(self.path), str(n), str(pause)]
        self.argv += [] if traceable else ["untraceable"]
        with open(self.path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 0)

    def counts(self):
        return struct.unpack_from(f"{self.n + 1}Q", self.map)

    def wait_one_more(self):
        """Its pid."""
        return wait(lambda: struct.unpack_from("Q", self.map, 8 * (self.n + 1))[0], 60, "one more")

    def wait_all_count(self, client=None, ms=5000):
        """On a loaded machine that may take longer than a lease: `client` renews it."""
        before = self.counts()

        def all_count():
            assert client is None or client.arm(ms=ms) == bg.ACCEPTED
            return all(a > b for a, b in zip(self.counts(), before))

        wait(all_count, 60, "all count")

    def assert_none_counts(self, seconds=0.1):
        before = self.counts()
        time.sleep(seconds)  # Nothing to wait for: it is that nothing happens.
        assert self.counts() == before


def start_busy(guard, client, ms=2500, **kwargs):
    busy = Busy(guard, **kwargs)
    assert client.arm(ms=ms) == bg.ACCEPTED
    started = client.start(*busy.argv)
    assert started.pid > 0, started.step
    # Its start may take longer than a lease.
    end = time.monotonic() + 60
    while min(busy.counts()) == 0:
        assert time.monotonic() < end
        assert client.arm(ms=ms) == bg.ACCEPTED
        time.sleep(0.02)
    assert client.arm(ms=ms) == bg.ACCEPTED
    return busy, started.pid


def assert_in_time(state, report=None):
    logic = state.logic
    late = max(logic.frozen_at.raw - logic.frozen_deadline.raw,
               logic.frozen_at.boot - logic.frozen_deadline.boot)  # fmt: skip
    assert logic.measured and late < 0 and logic.late_max < 0
    if report is not None:
        took = logic.frozen_at.raw - logic.freeze_began.raw
        report(f"frozen in {took / MS:.1f} ms, {late / MS:.1f} ms after the deadline")


# ---- Freeze, and the two ways out ----


def test_silence_of_the_agent_freezes_in_time_and_a_lease_thaws(guard, report):
    client = guard.client()
    busy, pid = start_busy(guard, client)
    assert client.state.may_freeze == (guard.cgroup is not None)

    state = client.until_phase(bg.FROZEN)
    assert_in_time(state, report)
    busy.assert_none_counts()
    assert not is_gone(pid)

    before = (state.logic.n_freezes, state.logic.n_thaws)
    assert client.arm(ms=4000) == bg.ACCEPTED
    client.until_phase(bg.ARMED)
    busy.wait_all_count(client, ms=4000)
    state = client.until_phase(bg.FROZEN)
    assert_in_time(state)
    after = (state.logic.n_freezes, state.logic.n_thaws)
    assert after == (before[0] + 1, before[1] + 1) and state.logic.n_kills == 0


def test_an_agent_that_renews_is_never_frozen(guard):
    client = guard.client()
    busy, _ = start_busy(guard, client, ms=5000)
    client.hello()
    before = client.state.logic.n_freezes  # On a loaded machine its start takes longer.
    end = time.monotonic() + 6
    while time.monotonic() < end:
        assert client.arm(ms=5000) == bg.ACCEPTED
        time.sleep(0.2)  # How long it renews is what is tested.
    busy.wait_all_count(client)
    client.hello()
    assert client.state.logic.n_freezes == before


def test_the_death_of_the_agent_does_not_keep_it_from_freezing(guard):
    client = guard.client()
    busy, pid = start_busy(guard, client)
    client.close()
    again = guard.client()
    assert again.until_phase(bg.FROZEN).postmaster == pid
    busy.assert_none_counts()
    assert_in_time(again.state)


def test_frozen_for_longer_than_kill_after_is_killed(guard):
    client = guard.client(kill_after_ms=700)
    _, pid = start_busy(guard, client)
    everything = guard.descendants()
    assert len(everything) == 6 and pid in everything
    client.until_phase(bg.FROZEN)
    assert client.until_phase(bg.KILLING).logic.why == bg.AGE
    client.until_phase(bg.EMPTY)
    assert all(map(is_gone, everything))
    assert client.ended[0].pid == pid and os.WTERMSIG(client.ended[0].wait_status) == 9


def wait_held(guard):
    wait(lambda: {stat_of(p)[0] for p in guard.descendants()} == {"t"}, 30, "all are traced")


def test_a_stray_sigcont_does_nothing_to_what_is_held(plain):
    client = plain.client()
    busy, _ = start_busy(plain, client)
    client.until_phase(bg.FROZEN)
    wait_held(plain)
    for pid in plain.descendants():
        os.kill(pid, signal.SIGCONT)
    busy.assert_none_counts()
    client.hello()
    assert client.state.logic.phase == bg.FROZEN

    assert client.arm(ms=4000) == bg.ACCEPTED
    client.until_phase(bg.ARMED)
    busy.wait_all_count(client, ms=4000)
    assert client.until_phase(bg.FROZEN).logic.n_kills == 0
    wait_held(plain)  # Once more.


def test_what_is_held_dies_with_the_guard(plain):
    client = plain.client()
    start_busy(plain, client)
    client.until_phase(bg.FROZEN)
    wait_held(plain)
    everything = plain.descendants()
    plain.signal(signal.SIGKILL)
    wait(lambda: all(map(is_gone, everything)), 30, "none is left")


def test_a_stray_sigcont_kills_what_can_not_be_held(plain):
    client = plain.client()
    busy, pid = start_busy(plain, client, traceable=False)
    everything = plain.descendants()
    client.until_phase(bg.FROZEN)
    client.until_event("can not be traced")
    os.kill([p for p in everything if p != pid][2], signal.SIGCONT)
    assert client.until_phase(bg.KILLING).logic.why == bg.CONTINUED
    client.until_phase(bg.EMPTY)
    assert all(map(is_gone, everything))


def test_a_stray_sigcont_does_nothing_to_a_frozen_cgroup():
    with Guard(cgroup=True) as guard:
        client = guard.client()
        busy, _ = start_busy(guard, client)
        client.until_phase(bg.FROZEN)
        for pid in guard.descendants():
            os.kill(pid, signal.SIGCONT)
        busy.assert_none_counts()
        client.hello()
        assert client.state.logic.phase == bg.FROZEN
        # Whoever thaws the cgroup by hand is noticed like a SIGCONT.
        (guard.cgroup / "pg/cgroup.freeze").write_text("0")
        assert client.until_phase(bg.KILLING).logic.why == bg.CONTINUED
        client.until_phase(bg.EMPTY)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sigterm_while_frozen_kills_and_ends_the_guard(guard, number):
    client = guard.client()
    start_busy(guard, client)
    everything = guard.descendants()
    client.until_phase(bg.FROZEN)
    guard.signal(number)
    assert guard.process.wait(30) == 0
    assert all(map(is_gone, everything))


def test_sigterm_while_it_runs_waits_for_its_end(guard):
    client = guard.client()
    busy, pid = start_busy(guard, client, ms=20_000)
    guard.signal(signal.SIGTERM)
    busy.wait_all_count()
    assert guard.is_alive()
    client.kill()
    assert guard.process.wait(30) == 0
    assert is_gone(pid)


@pytest.mark.parametrize("why", [bg.ORDER, bg.EPOCH])
def test_the_agent_may_order_to_kill(guard, why):
    client = guard.client()
    start_busy(guard, client, ms=20_000)
    everything = guard.descendants()
    client.kill(why)
    assert client.until_phase(bg.KILLING).logic.why == why
    client.until_phase(bg.EMPTY)
    assert all(map(is_gone, everything))
    assert client.arm(ms=5000) == (bg.CLOSED if why == bg.EPOCH else bg.ACCEPTED)


def test_a_closed_epoch_is_killed_and_never_armed_again(guard):
    client = guard.client()
    start_busy(guard, client, ms=20_000)
    client.close_epoch(5)
    client.until_phase(bg.EMPTY)
    assert client.arm(epoch=5) == bg.CLOSED
    assert client.arm(epoch=6) == bg.ACCEPTED


def test_a_higher_epoch_while_frozen_kills(guard):
    client = guard.client()
    start_busy(guard, client)
    client.until_phase(bg.FROZEN)
    assert client.arm(epoch=6) == bg.IS_KILLING
    client.until_phase(bg.EMPTY)
    assert client.arm(epoch=6) == bg.ACCEPTED
    # And a frozen cgroup was left thawed for the next.
    busy, _ = start_busy_of_epoch(guard, client, 6)
    busy.wait_all_count()


def start_busy_of_epoch(guard, client, epoch):
    busy = Busy(guard)
    assert client.arm(epoch=epoch, ms=20_000) == bg.ACCEPTED
    started = client.start(*busy.argv)
    assert started.pid > 0
    return busy, started.pid


def test_205_busy_processes_are_frozen_in_time(guard, report):
    client = guard.client()
    busy, _ = start_busy(guard, client, ms=5000, n=204, pause=0)
    assert len(guard.descendants()) == 205
    state = client.until_phase(bg.FROZEN, bg.KILLING)
    assert_in_time(state, report)
    busy.assert_none_counts()
    client.kill()
    client.until_phase(bg.EMPTY)


# ---- Ends ----


def test_what_a_killed_postmaster_leaves_is_killed_and_counted(guard):
    client = guard.client()
    _, pid = start_busy(guard, client, ms=20_000)
    everything = guard.descendants()
    os.kill(pid, signal.SIGKILL)
    state = client.until_phase(bg.KILLING)
    assert state.logic.why == bg.ORPHANED
    client.until_phase(bg.EMPTY)
    assert client.ended[0].n_left == 5
    assert all(map(is_gone, everything))
    wait(lambda: not zombies_of(guard.pid), 30, "all reaped")


def zombies_of(parent):
    return [p for p in os.listdir("/proc") if p.isdigit() and stat_of(p) == ("Z", parent)]


def test_a_postmaster_killed_while_frozen_leaves_nothing_that_runs(guard):
    client = guard.client()
    busy, pid = start_busy(guard, client)
    everything = guard.descendants()
    client.until_phase(bg.FROZEN)
    before = busy.counts()
    os.kill(pid, signal.SIGKILL)
    client.until_phase(bg.EMPTY)
    assert all(map(is_gone, everything))
    assert busy.counts() == before


def test_an_exit_is_told_with_its_status(guard):
    client = guard.client()
    assert client.arm() == bg.ACCEPTED
    started = client.start("/bin/sh", "-c", "exit 3")
    assert started.pid > 0
    client.until(lambda s: client.ended and s.logic.phase == bg.EMPTY)
    ended = client.ended[0]
    assert (ended.pid, os.WEXITSTATUS(ended.wait_status), ended.n_left) == (started.pid, 3, 0)
    assert os.waitstatus_to_exitcode(ended.wait_status) == 3


def test_what_can_not_be_run_is_told(guard):
    client = guard.client()
    assert client.arm() == bg.ACCEPTED
    started = client.start("/does/not/exist")
    assert (started.pid, started.errnum, started.step) == (0, 2, b"exec")
    assert client.pidfd is None
    client.until_phase(bg.EMPTY)
    assert client.arm() == bg.ACCEPTED
    assert client.start("/bin/sh", "-c", "sleep 60").pid > 0


def test_starts_are_refused_with_a_reason(guard):
    client = guard.client()
    assert client.start("/bin/true").verdict == bg.NO_LEASE
    assert client.arm(may_write=False) == bg.ACCEPTED
    assert client.start("/bin/true").verdict == bg.NO_LEASE
    assert client.start("/bin/sleep", "60", as_primary=False).verdict == bg.ACCEPTED
    assert client.start("/bin/sleep", "60", as_primary=False).verdict == bg.RUNS


def test_a_standby_runs_unfenced(guard):
    client = guard.client()
    busy = Busy(guard)
    assert client.arm(ms=1000, may_write=False) == bg.ACCEPTED
    assert client.start(*busy.argv, as_primary=False).pid > 0
    wait(lambda: min(busy.counts()) > 0, 60, "all run")
    time.sleep(1.2)  # The lease is over, of which nothing tells.
    busy.wait_all_count()
    client.hello()
    assert client.state.logic.phase == bg.OPEN
    assert client.arm(ms=2500, may_write=True) == bg.ACCEPTED
    client.until_phase(bg.FROZEN)
    busy.assert_none_counts()


def test_leaving(guard):
    client = guard.client()
    start_busy(guard, client, ms=20_000)
    client.leave()
    client.hello()
    assert client.state.logic.phase == bg.ARMED and guard.is_alive()
    client.kill()
    client.until_phase(bg.EMPTY)
    client.leave()
    assert guard.process.wait(30) == 0


@pytest.mark.parametrize("unread", [False, True])
def test_who_leaves_need_not_wait_for_answers(guard, unread):
    """It asks, leaves and hangs up, all before the guard looks."""
    client = guard.client()
    os.kill(guard.process.pid, signal.SIGSTOP)
    if unread:  # What it has not read resets the connection.
        os.kill(guard.process.pid, signal.SIGCONT)
        client.send(bg.HELLO, bg.Hello(kill_after=1000 * MS, node_id=5, data_dir=b"/data"))
        wait(lambda: select.select([client.socket], [], [], 0)[0], 30, "an answer")
        os.kill(guard.process.pid, signal.SIGSTOP)
    client.send(bg.HELLO, bg.Hello(kill_after=1000 * MS, node_id=5, data_dir=b"/data"))
    client.leave()
    client.close()
    os.kill(guard.process.pid, signal.SIGCONT)
    assert guard.process.wait(30) == 0


# ---- What a child inherits ----

INHERITED = BUILD / "tests/lib/inherited"


def inherited(guard, client):
    """What a child of the guard got, a line each."""
    output = guard.directory / "output"
    output.touch()
    os.chown(output, guard.user.pw_uid, guard.user.pw_gid)
    assert client.arm(ms=20_000) == bg.ACCEPTED
    started = client.start(INHERITED, env=["A=b", "C=d e"], cwd="/var", output=output)
    assert started.pid > 0, started.step
    wait(lambda: output.read_text().endswith("end\n"), 30, "its output")
    return started, output, output.read_text().splitlines()[:-1]


def test_what_a_child_inherits(guard):
    started, output, lines = inherited(guard, guard.client())
    descriptors = sorted(line for line in lines if line.startswith("fd "))
    assert descriptors == ["fd 0 /dev/null", f"fd 1 {output}", f"fd 2 {output}"]
    assert [line for line in lines if line.startswith("env ")] == ["env A=b", "env C=d e"]
    said = dict(line.split(" ", 1) for line in lines if line[:3] not in ("fd ", "env") and " " in line)
    assert said["pdeathsig"] == str(int(signal.SIGQUIT))
    assert said["umask"] == "77"
    assert said["policy"] == str(os.SCHED_OTHER)
    assert said["nice"] == "0" and int(said["oom"]) >= 0
    assert said["rtprio"] == "0 0"  # What asks for it: `test_guard_child`.
    assert said["cwd"] == "/var" and said["sid"] == "1"
    assert said["ppid"] == str(guard.pid)
    uid, gid = guard.user.pw_uid, guard.user.pw_gid
    assert said["uid"] == f"{uid} {uid} {uid}" and said["gid"] == f"{gid} {gid} {gid}"
    if os.geteuid() == 0:
        assert "groups" in lines, "none of the guard's"
    assert said["cgroup"].endswith("/pg") == (guard.cgroup is not None)
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    for name in ("SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt"):
        assert int(fields[name], 16) == 0, name
    assert fields["VmLck"].strip() == "0 kB"
    # It dies with its guard.
    guard.signal(signal.SIGKILL)
    wait(lambda: is_gone(started.pid), 30, "its end")


def test_where_the_oom_score_was_raised_postgres_is_started_with_it():
    """As in a container: going down to 0 may be denied there."""
    with Guard(oom_score=300) as guard:
        client = guard.client()
        _, _, lines = inherited(guard, client)
        own = int(pathlib.Path(f"/proc/{guard.pid}/oom_score_adj").read_text())
        assert own < 0 or (own == 300 and b"oom_score_adj" in client.state.trouble)
        assert f"oom {max(own, 0)}" in lines


def test_the_guards_own_privileges(plain, report):
    status = pathlib.Path(f"/proc/{plain.pid}/status").read_text()
    locked_kb = int(status.split("VmLck:")[1].split()[0])
    client = plain.client()
    assert client.state.is_locked == (locked_kb > 0)
    assert client.state.locked_bytes == locked_kb * 1024
    report(f"locked memory: {locked_kb} kB, denied: {client.state.trouble.decode()}")
    # An empty program with the same libc needs 780 kB; the lists of processes are the rest.
    assert locked_kb <= 1200
    assert client.state.is_realtime == (os.sched_getscheduler(plain.pid) & 0xFF == os.SCHED_RR)
    # With ASan there is too much to lock.
    assert client.state.is_locked or b"memory is not locked" in client.state.trouble
    assert client.state.is_realtime
    assert b"real-time" not in client.state.trouble
    assert b"cgroup" in client.state.trouble
    assert os.getsid(plain.pid) == plain.pid
    assert os.readlink(f"/proc/{plain.pid}/cwd") == "/"


def test_without_privileges_it_says_so_and_works(report):
    with Guard(privileged=False) as guard:
        client = guard.client()
        assert not client.state.is_realtime and not client.state.is_locked
        for what in (b"real-time priority", b"memory", b"cgroup"):
            assert what in client.state.trouble
        client.until_event("does without")
        busy, _ = start_busy(guard, client)
        assert_in_time(client.until_phase(bg.FROZEN), report)
        busy.assert_none_counts()


# ---- Who may talk, and how ----


def test_there_is_one_guard_of_a_directory(guard):
    read_fd, write_fd = os.pipe()
    second = guard.run(write_fd)
    os.close(write_fd)
    assert second.wait(30) == 65
    assert os.read(read_fd, 10) == b""
    os.close(read_fd)
    assert "another guard runs here" in guard.log_path.read_text()
    guard.client()  # The first one is well.


def test_a_new_agent_takes_the_place_of_the_old(guard):
    old = guard.client()
    _, pid = start_busy(guard, old, ms=20_000)
    assert old.arm(ms=20_000, kept=b"what I need") == bg.ACCEPTED
    new = guard.client()
    state = new.state
    assert state.postmaster == pid and state.logic.phase == bg.ARMED
    assert bytes(state.kept.bytes[: state.kept.size]) == b"what I need"
    assert (state.logic.epoch, state.logic.instance) == (5, bg.ME)
    while old.receive() is not None:
        pass
    assert new.arm(ms=20_000) == bg.ACCEPTED


def test_lines_are_kept_for_the_next_agent(guard):
    client = guard.client(kill_after_ms=300)
    start_busy(guard, client)
    client.drain()
    client.close()
    wait(lambda: len(guard.descendants()) == 0, 30, "the kill")
    again = guard.client()
    again.until_phase(bg.EMPTY)
    again.until_event("No process")
    text = "\n".join(again.events)
    assert "PostgreSQL is frozen. epoch=5 processes=6" in text
    assert "PostgreSQL is killed. why=age before=frozen" in text
    assert text.count("PostgreSQL was started") <= 1


def garbage():
    head = bg.header
    whole = bytes(bg.Hello(header=head(bg.HELLO, ctypes.sizeof(bg.Hello)), kill_after=1))
    endless = bytearray(whole)
    endless[32:] = b"x" * 4096
    arm = bytearray(bytes(bg.ArmMessage(header=head(bg.ARM, ctypes.sizeof(bg.ArmMessage)))))
    arm[bg.ArmMessage.arm.offset + bg.Arm.may_write.offset] = 2
    return {
        "empty text": b"hello",
        "short header": bytes(head(bg.HELLO, 16))[:7],
        "other magic": bytes(head(bg.LEAVE, 16, magic=7)),
        "size not its own": bytes(head(bg.LEAVE, 17)),
        "short hello": whole[:100],
        "cut hello": bytes(head(bg.HELLO, 100)) + bytes(84),
        "endless text": bytes(endless),
        "unknown kind": bytes(head(99, 16)),
        "a guard's kind": bytes(head(bg.STATE, 16)),
        "oversized": bytes(head(bg.START, 65537)) + bytes(65521),
        "a bool of 2": bytes(arm),
        "a bad reason": bytes(bg.Kill(header=head(bg.KILL, 20), why=bg.AGE)),
        "start of nothing": bytes(bg.StartHead(header=head(bg.START, 36))),
        "adopts init": bytes(bg.Adopt(header=head(bg.ADOPT, 24), pid=1)),
        "a bad watchdog": bytes(bg.Watch(header=head(bg.WATCH, ctypes.sizeof(bg.Watch)), mode=3)),
        "zeros": bytes(1000),
        "noise": os.urandom(5000),
    }


@pytest.mark.parametrize("greeted", [False, True])
def test_garbage_is_refused_and_the_guard_lives_on(guard, greeted):
    first = guard.client()
    busy, _ = start_busy(guard, first, ms=20_000)
    for name, data in garbage().items():
        client = Client(guard, hello=greeted)
        client.send_bytes(data)
        while client.receive() is not None:
            pass
        client.close()
        assert guard.is_alive(), name
    last = guard.client()
    assert last.state.logic.phase == bg.ARMED
    assert last.arm(ms=20_000) == bg.ACCEPTED
    busy.wait_all_count()


def test_nothing_is_done_for_who_did_not_say_hello(guard):
    client = Client(guard, hello=False)
    client.kill()
    assert client.receive() is None
    client.close()


def test_another_version_is_told_ours(guard):
    client = Client(guard, hello=False)
    client.send_bytes(bytes(bg.header(bg.HELLO, 16, version=9)))
    data = client.socket.recv(1000)
    head = bg.Header.from_buffer_copy(data)
    assert (len(data), head.kind, head.version) == (16, bg.STATE, bg.VERSION)
    assert client.socket.recv(1000) == b""
    client.close()


TALK = """
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect(sys.argv[1])
s.settimeout(30)
try:
    s.send(b"x" * 100)
    data = s.recv(1000)
except (BrokenPipeError, ConnectionResetError):
    data = b""
sys.exit(0 if data == b"" else 1)
"""


def test_another_user_is_refused(guard):
    # The directory and the socket let everybody in here: it is the guard that refuses.
    os.chmod(guard.directory, 0o755)
    os.chmod(guard.directory / "guard.sock", 0o777)
    nobody = pwd.getpwnam("nobody")
    path = guard.directory / "guard.sock"
    for _ in range(5):
        subprocess.run([PYTHON, "-c", TALK, path], user=nobody.pw_uid, group=nobody.pw_gid,
                       check=True)  # fmt: skip
    client = guard.client()
    client.until_event("another user")
    client.hello()
    assert sum("another user" in e for e in client.events) == 1


def test_an_agent_that_does_not_read_is_let_go(guard):
    client = guard.client()
    start_busy(guard, client, ms=20_000)
    message = bg.Hello(kill_after=30_000 * MS)
    client.socket.settimeout(0.5)
    with pytest.raises((BrokenPipeError, ConnectionResetError, TimeoutError)):
        for _ in range(10_000):
            client.send(bg.HELLO, message)
    again = guard.client()
    assert again.state.logic.phase == bg.ARMED


# ---- PostgreSQL stuck in the kernel ----


@pytest.fixture
def disk(guard):
    d = Disk(guard.directory, "stuck", 16)
    yield d
    everything = guard.descendants()
    guard.process.kill()
    for pid in everything:
        os.kill(pid, signal.SIGKILL)
    d.thaw()
    wait(lambda: all(map(is_gone, everything)), 30, "nobody who uses the disk")
    d.close()


STUCK = """
import os, sys, time
path = sys.argv[1]
if os.fork() == 0:
    os.setsid()
    while True:
        with open(path, "w") as f:
            f.write("x")
            f.flush()
            os.fsync(f.fileno())
while True:
    time.sleep(0.01)
"""


def test_a_process_in_d_counts_as_frozen(guard, disk):
    client = guard.client()
    path = disk.place / "file"
    assert client.arm(ms=2500) == bg.ACCEPTED
    pid = client.start(PYTHON, "-c", STUCK, str(path)).pid
    assert pid > 0
    wait(lambda: client.arm(ms=2500) == bg.ACCEPTED and path.exists(), 30, "a writer")
    child = next(p for p in guard.descendants() if p != pid)
    disk.freeze()
    try:
        wait(lambda: client.arm(ms=2500) == bg.ACCEPTED and stat_of(child)[0] == "D", 30, "a D")
        state = client.until_phase(bg.FROZEN, bg.KILLING)
        assert state.logic.phase == bg.FROZEN
        assert_in_time(state)
        assert stat_of(child)[0] == "D"
        wait(lambda: stat_of(pid)[0] in "TtS", 25, "it to be seen stopped")  # R: from T to t.
    finally:
        disk.thaw()
    # Let go by the disk it meets the stop, and does not run on.
    # (On a busy machine it is seen running until then: that is nobody's SIGCONT.)
    wait(lambda: stat_of(child)[0] in "Tt", 30, "the stop")
    written = path.stat().st_mtime_ns
    time.sleep(0.2)  # Nothing to wait for.
    client.hello()
    assert client.state.logic.phase == bg.FROZEN and path.stat().st_mtime_ns == written

    assert client.arm(ms=20_000) == bg.ACCEPTED
    client.until_phase(bg.ARMED)
    wait(lambda: path.stat().st_mtime_ns != written, 30, "it goes on")
    client.kill()
    client.until_phase(bg.EMPTY)


# ---- Adoption ----


def run_outside(guard, busy):
    """As another guard, or a person, would have started it; not our descendant for long."""
    script = f"""
import os, sys
pid = os.fork()
if pid == 0:
    os.setsid()
    for fd in (1, 2):
        os.dup2(os.open("/dev/null", os.O_WRONLY), fd)
    os.execv({busy.argv[0]!r}, {busy.argv!r})
print(pid)
"""
    r = subprocess.run([PYTHON, "-c", script], capture_output=True, text=True, check=True,
                       cwd=guard.directory, **run_as_postgres())  # fmt: skip
    pid = int(r.stdout)
    wait(lambda: min(busy.counts()) > 0, 60, "all run")
    guard.pids += [pid, *bg.descendants(pid)]
    return pid


def test_an_adopted_server_is_frozen_thawed_and_killed(guard):
    client = guard.client()
    busy = Busy(guard)
    pid = run_outside(guard, busy)
    assert client.arm(ms=2500) == bg.ACCEPTED
    state = client.adopt(pid, True)
    assert (state.postmaster, state.adopted, state.may_freeze) == (pid, 1, 0)
    assert state.logic.phase == bg.ARMED
    state = client.until_phase(bg.FROZEN)
    assert_in_time(state)
    busy.assert_none_counts()
    assert client.arm(ms=2500) == bg.ACCEPTED
    client.until_phase(bg.ARMED)
    busy.wait_all_count(client, ms=2500)
    client.kill()
    client.until_phase(bg.EMPTY)
    assert all(map(is_gone, guard.pids))


def test_children_of_an_adopted_server_are_known_after_its_death(guard):
    client = guard.client()
    busy = Busy(guard)
    pid = run_outside(guard, busy)
    assert client.arm(ms=20_000) == bg.ACCEPTED
    client.adopt(pid, True)
    os.kill(pid, signal.SIGKILL)
    client.until_phase(bg.EMPTY)
    assert (client.ended[0].pid, client.ended[0].wait_status, client.ended[0].n_left) == (pid, -1, 5)
    assert all(map(is_gone, guard.pids))


def test_a_child_that_an_adopted_server_starts_last_is_killed_too(plain):
    """No scan has seen it when it goes to init. Who only stands in the same directory, or
    only runs the same program, is not PostgreSQL."""
    client = plain.client()
    busy = Busy(plain)
    pid = run_outside(plain, busy)
    strangers = [
        subprocess.Popen(argv, cwd=cwd, **run_as_postgres())
        for argv, cwd in (
            (["/bin/sleep", "600"], plain.directory),
            ([PYTHON, "-c", "import time; time.sleep(600)"], "/"),
        )
    ]
    plain.pids += [p.pid for p in strangers]
    assert client.arm(ms=20_000) == bg.ACCEPTED
    client.adopt(pid, True)
    os.kill(pid, signal.SIGUSR2)
    plain.pids.append(busy.wait_one_more())
    client.until_phase(bg.EMPTY)
    assert (client.ended[0].pid, client.ended[0].n_left) == (pid, 6)
    alive = [p for p in plain.pids if not is_gone(p)]
    assert alive == [p.pid for p in strangers]
    for stranger in strangers:
        stranger.kill()
        stranger.wait()


def test_children_of_an_adopted_server_are_looked_for_while_its_lease_is_renewed(plain):
    """Of these nobody may read the directory: only a scan tells whose they are. A renewal
    comes more often than a scan is due."""
    client = plain.client()
    busy = Busy(plain, traceable=False)
    pid = run_outside(plain, busy)
    assert client.arm(ms=20_000) == bg.ACCEPTED
    client.adopt(pid, True)
    os.kill(pid, signal.SIGUSR1)
    plain.pids.append(busy.wait_one_more())
    for _ in range(50):  # Time for ten scans, which nothing tells of.
        assert client.arm(ms=20_000) == bg.ACCEPTED
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    client.until_phase(bg.EMPTY)
    assert (client.ended[0].pid, client.ended[0].n_left) == (pid, 6)
    assert all(map(is_gone, plain.pids))


def test_an_adopted_primary_without_a_lease_is_fenced(guard):
    client = guard.client()
    busy = Busy(guard)
    pid = run_outside(guard, busy)
    client.adopt(pid, True)
    client.until_phase(bg.EMPTY)
    assert all(map(is_gone, guard.pids))


def test_an_adopted_standby_is_left_alone(guard):
    client = guard.client()
    busy = Busy(guard)
    pid = run_outside(guard, busy)
    assert client.adopt(pid, False).logic.phase == bg.OPEN
    busy.wait_all_count()
    client.kill()
    client.until_phase(bg.EMPTY)
    assert all(map(is_gone, guard.pids))


# ---- Watchdog: when it is fed is in test_guard_watchdog; no machine of a test has one ----


@pytest.mark.parametrize("path, why", [
    ("/dev/does-not-exist", "No such file"), ("/dev/null", "is no watchdog"),
])  # fmt: skip
def test_a_watchdog_that_is_none_is_told_and_done_without(plain, path, why):
    client = plain.client()
    client.watch(1, path)
    busy, _ = start_busy(plain, client, ms=5000)
    client.until_event("There is no watchdog.")
    client.hello()
    assert not client.state.watchdog_is_active and why in client.state.trouble.decode()
    assert_in_time(client.until_phase(bg.FROZEN))
    busy.assert_none_counts()


def test_a_watchdog_of_a_test_is_told_what_a_device_would_be(plain):
    path = plain.directory / "watchdog"
    os.mkfifo(path)
    os.chown(path, plain.user.pw_uid, plain.user.pw_gid)
    device = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    told = b""

    def is_told(end):
        nonlocal told
        with contextlib.suppress(BlockingIOError):
            told += os.read(device, 4096)
        return told.endswith(end)

    client = plain.client()
    client.watch(2, path, is_testing=True)
    start_busy(plain, client, ms=5000)
    client.until(lambda s: s.watchdog_is_active)
    assert client.state.watchdog_problem == b""
    assert_in_time(client.until_phase(bg.FROZEN))
    wait(lambda: is_told(b"1"), 30, "fed")
    assert told.startswith(b"Ctimeout=5\n1") and b"V" not in told
    told = b""
    wait(lambda: is_told(b"11"), 30, "fed while frozen")
    client.kill()
    client.until_phase(bg.EMPTY)
    wait(lambda: is_told(b"V"), 30, "stopped")
    os.close(device)


@pytest.mark.parametrize("is_testing, why", [(False, "is no watchdog"), (True, "is no FIFO")])
def test_a_file_is_no_watchdog(plain, is_testing, why):
    path = plain.directory / "file"
    path.touch()
    os.chown(path, plain.user.pw_uid, plain.user.pw_gid)
    client = plain.client()
    client.watch(1, path, is_testing)
    assert client.arm(ms=5000) == bg.ACCEPTED
    client.until(lambda s: s.watchdog_problem)
    assert why in client.state.watchdog_problem.decode()


# ---- Delegation ----


@pytest.mark.parametrize("delegated", [False, True])
def test_the_agent_takes_its_cgroup_along_if_it_is_delegated(delegated, tmp_path):
    cgroup = bg.UNIFIED / f"veche-give-{os.getpid()}"
    cgroup.mkdir()
    try:
        if delegated:
            os.setxattr(cgroup, "trusted.delegate", b"1")
        with Cluster() as c:
            node = c.postgres_nodes[0]
            node.write_config()
            command = f"echo $$ >{cgroup}/cgroup.procs && exec {BUILD}/src/veched {node.config_path}"
            agent = subprocess.Popen(["/bin/sh", "-c", command], stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL)  # fmt: skip
            uid = pwd.getpwnam("postgres").pw_uid
            wait(lambda: f"Uid:\t{uid}" in status_text(agent.pid), 30, "it gives up root")
            owners = {f: (cgroup / f).stat().st_uid for f in (".", "cgroup.procs", "cgroup.freeze")}
            own = uid if delegated else 0
            assert owners == {".": own, "cgroup.procs": own, "cgroup.freeze": 0}
            agent.kill()
            agent.wait()
    finally:
        for name in ("pg", "guard", "."):
            if (cgroup / name).exists():
                (cgroup / name / "cgroup.kill").write_text("1")
                wait(lambda n=name: bg.rmdir(cgroup / n), 30, "an empty cgroup")


def status_text(pid):
    return pathlib.Path(f"/proc/{pid}/status").read_text()


# ---- PostgreSQL ----


@pytest.fixture
def database(guard):
    """A data directory, and the arguments to start it."""
    data, port = guard.directory / "data", free_port()
    subprocess.run([PG_BIN / "initdb", "-D", data, "-A", "trust", "-N", "-U", "postgres"],
                   check=True, capture_output=True, cwd="/", **run_as_postgres())  # fmt: skip
    argv = [PG_BIN / "postgres", "-D", data, "-p", port, "-k", guard.directory, "-c", "fsync=off"]

    def connect():
        c = psycopg2.connect(host=str(guard.directory), port=port, user="postgres")
        c.autocommit = True
        return c

    return argv, data, connect


def start_postgres(client, database):
    argv, data, connect = database
    assert client.arm(ms=5000) == bg.ACCEPTED
    started = client.start(*argv, cwd=data, env=["LC_ALL=C"], output=data / "../output")
    assert started.pid > 0, started.step

    def try_connect():
        assert client.arm(ms=5000) == bg.ACCEPTED
        return connect()

    return started.pid, wait(try_connect, 60, "PostgreSQL")


def test_postgres_is_frozen_in_time_and_goes_on(guard, database, report):
    client = guard.client()
    pid, db = start_postgres(client, database)
    at = db.cursor()
    at.execute("create table t (n int)")
    more = []
    for _ in range(20):
        assert client.arm(ms=5000) == bg.ACCEPTED
        more.append(database[2]())
    state = client.until_phase(bg.FROZEN)
    assert_in_time(state, report)
    # Who is taken hold of passes from T to t, for a moment as R, without running anything.
    wait(
        lambda: all(stat_of(p)[0] in ("Tt" if guard.cgroup is None else "S") for p in guard.descendants()),
        25,
        "all of them to be seen stopped",
    )

    # On the same connections it goes on as if nothing had been.
    assert client.arm(ms=20_000) == bg.ACCEPTED
    client.until_phase(bg.ARMED)
    at.execute("insert into t values (1)")
    for c in more:
        c.cursor().execute("insert into t values (2)")
        assert client.arm(ms=20_000) == bg.ACCEPTED
    at.execute("select count(*) from t")
    assert at.fetchone() == (21,)

    # A clean stop is its own: the guard only reaps and tells.
    assert client.arm(ms=20_000) == bg.ACCEPTED
    os.kill(pid, signal.SIGINT)
    client.until_phase(bg.EMPTY, seconds=60)
    assert (client.ended[0].wait_status, client.ended[0].n_left) == (0, 0)


def test_a_commit_is_not_acknowledged_by_what_is_frozen_and_killed(guard, database):
    client = guard.client(kill_after_ms=500)
    pid, db = start_postgres(client, database)
    at = db.cursor()
    at.execute("create table t (n int)")
    client.until_phase(bg.FROZEN)
    with pytest.raises(psycopg2.OperationalError):
        at.execute("insert into t values (1)")
    client.until_phase(bg.EMPTY)
    assert is_gone(pid)


def test_backends_of_a_killed_postmaster_are_killed(guard, database):
    client = guard.client()
    pid, db = start_postgres(client, database)
    assert client.arm(ms=20_000) == bg.ACCEPTED
    at = db.cursor()
    at.execute("select pg_backend_pid()")
    backend = at.fetchone()[0]
    os.kill(backend, signal.SIGSTOP)  # It would notice, and end by itself.
    os.kill(pid, signal.SIGKILL)
    client.until_phase(bg.EMPTY)
    assert client.ended[0].n_left >= 1
    assert is_gone(backend)
