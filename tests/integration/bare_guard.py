"""A guard without an agent: these tests say what the agent would say.

The structs are those of src/guard/guard_protocol.h; the guard refuses packets of any
other size, and the sizes of its own are checked here.
"""

import array
import contextlib
import ctypes
import os
import pathlib
import pwd
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from reaper import reaper
from veche import BUILD, SANITIZED, sanitizer_options, wait

PROGRAM = BUILD / "src/guard/veche-guard"
UNIFIED = pathlib.Path("/sys/fs/cgroup/unified")
if not UNIFIED.is_dir():
    UNIFIED = pathlib.Path("/sys/fs/cgroup")
MAGIC, VERSION = 0x31475256, 2
HELLO, ARM, CLOSE, START, ADOPT, KILL, LEAVE, WATCH = range(1, 9)
STATE, ARMED_AS, STARTED, ENDED, EVENT = range(100, 105)
EMPTY, OPEN, ARMED, FREEZING, FROZEN, KILLING = range(6)
(ACCEPTED, MALFORMED, LOWER_EPOCH, CLOSED, INSTANCE, FAR, OVER, NO_LEASE, RUNS,
 IS_KILLING) = range(10)
NO_REASON, LATE, CONTINUED, EPOCH, ORDER, AGE, SIGNALLED, ORPHANED = range(8)
MS = 1_000_000
ME = 77

u8, i32, u32, i64, u64 = (
    ctypes.c_uint8, ctypes.c_int32, ctypes.c_uint32, ctypes.c_int64, ctypes.c_uint64)  # fmt: skip


def struct(name, *fields):
    return type(name, (ctypes.Structure,), {"_fields_": fields})


Pair = struct("Pair", ("raw", u64), ("boot", u64))
Header = struct("Header", ("magic", u32), ("version", ctypes.c_uint16), ("kind", ctypes.c_uint16),
                ("size", u32), ("sequence", u32))  # fmt: skip
Hello = struct("Hello", ("header", Header), ("kill_after", u64), ("node_id", u64),
               ("data_dir", ctypes.c_char * 4096))  # fmt: skip
Kept = struct("Kept", ("size", u32), ("bytes", u8 * 512))
Arm = struct("Arm", ("epoch", u64), ("instance", u64), ("ttl", u64), ("deadline", Pair),
             ("may_write", u8), ("unfenced", u8))  # fmt: skip
ArmMessage = struct("ArmMessage", ("header", Header), ("arm", Arm), ("kept", Kept))
Armed = struct("Armed", ("header", Header), ("verdict", i32), ("epoch", u64), ("deadline", Pair),
               ("now", Pair))  # fmt: skip
Close = struct("Close", ("header", Header), ("epoch", u64))
StartHead = struct("StartHead", ("header", Header), ("as_primary", u8), ("uid", u32), ("gid", u32),
                   ("n_args", u32), ("n_env", u32))  # fmt: skip
Started = struct("Started", ("header", Header), ("verdict", i32), ("pid", i32), ("errnum", i32),
                 ("step", ctypes.c_char * 32))  # fmt: skip
Adopt = struct("Adopt", ("header", Header), ("pid", i32), ("may_write", u8))
Kill = struct("Kill", ("header", Header), ("why", u32))
Watch = struct("Watch", ("header", Header), ("mode", u32), ("margin", i32), ("is_testing", u8),
               ("path", ctypes.c_char * 4096))  # fmt: skip
Ended = struct("Ended", ("header", Header), ("pid", i32), ("wait_status", i32), ("n_left", u32))
Logic = struct(
    "Logic", ("kill_after", u64), ("instance", u64), ("epoch", u64), ("closed_epoch", u64),
    ("ttl", u64), ("deadline", Pair), ("may_write", u8), ("phase", i32), ("why", i32),
    ("freeze_began", Pair), ("frozen_at", Pair), ("frozen_deadline", Pair), ("acted", u8),
    ("acted_at", Pair), ("freeze_max", u64), ("n_freezes", u64), ("n_thaws", u64),
    ("n_kills", u64), ("n_refused", u64), ("measured", u8), ("late_max", i64))  # fmt: skip
State = struct(
    "State", ("header", Header), ("guard_pid", i32), ("logic", Logic), ("now", Pair),
    ("postmaster", i32), ("adopted", u8), ("may_freeze", u8), ("is_realtime", u8),
    ("is_locked", u8), ("locked_bytes", u64), ("watchdog_is_active", u8),
    ("watchdog_problem", ctypes.c_char * 128), ("trouble", ctypes.c_char * 256), ("kept", Kept))  # fmt: skip
Event = struct("Event", ("header", Header), ("level", i32), ("wall_us", i64),
               ("text", ctypes.c_char * 256))  # fmt: skip
ANSWERS = {STATE: State, ARMED_AS: Armed, STARTED: Started, ENDED: Ended, EVENT: Event}


def now():
    return Pair(time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW),
                time.clock_gettime_ns(time.CLOCK_BOOTTIME))  # fmt: skip


def header(kind, size, sequence=0, **other):
    return Header(**{"magic": MAGIC, "version": VERSION, "kind": kind, "size": size,
                     "sequence": sequence} | other)  # fmt: skip


class Client:
    """What the agent is to the guard."""

    def __init__(self, guard, hello=True, kill_after_ms=30_000):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(30)
        self.socket.connect(str(guard.directory / "guard.sock"))
        self.sequence = 0
        self.events = []  # Texts.
        self.ended = []
        self.state = None  # The last.
        self.pidfd = None  # Of the postmaster that was started.
        if hello:
            self.hello(kill_after_ms)

    def close(self):
        self.socket.close()

    def send(self, kind, packet, *fds):
        self.sequence += 1
        packet.header = header(kind, ctypes.sizeof(packet), self.sequence)
        self.send_bytes(bytes(packet), *fds)
        return self.sequence

    def send_bytes(self, data, *fds):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.socket.sendmsg([data], rights)

    def receive(self, seconds=30):
        """The next packet, also kept by what it is; None: the guard hung up."""
        if not select.select([self.socket], [], [], seconds)[0]:
            raise TimeoutError(f"the guard says nothing; before: {self.events}")
        data, fds, _, _ = socket.recv_fds(self.socket, 1 << 17, 4)
        if fds:
            assert len(fds) == 1
            if self.pidfd is not None:
                os.close(self.pidfd)
            self.pidfd = fds[0]
        if not data:
            return None
        kind = Header.from_buffer_copy(data).kind
        assert len(data) == ctypes.sizeof(ANSWERS[kind]), kind
        packet = ANSWERS[kind].from_buffer_copy(data)
        if kind == EVENT:
            self.events.append(packet.text.decode())
        elif kind == STATE:
            self.state = packet
        elif kind == ENDED:
            self.ended.append(packet)
        return packet

    def drain(self):
        while select.select([self.socket], [], [], 0)[0] and self.receive() is not None:
            pass

    def until(self, condition, seconds=30):
        """Reads on until condition(last state) is true."""
        end = time.monotonic() + seconds
        while self.state is None or not condition(self.state):
            assert self.receive(max(0, end - time.monotonic())) is not None
        return self.state

    def until_phase(self, *phases, seconds=30):
        return self.until(lambda s: s.logic.phase in phases, seconds)

    def until_event(self, text, seconds=30):
        end = time.monotonic() + seconds
        while not any(text in e for e in self.events):
            assert self.receive(max(0, end - time.monotonic())) is not None

    def answer(self, kind, sequence):
        while True:
            packet = self.receive()
            assert packet is not None, "the guard hung up"
            if packet.header.kind == kind and packet.header.sequence == sequence:
                return packet

    def hello(self, kill_after_ms=30_000):
        question = Hello(kill_after=kill_after_ms * MS, node_id=5, data_dir=b"/data")
        return self.answer(STATE, self.send(HELLO, question))

    def arm(self, epoch=5, ms=20_000, may_write=True, ttl_ms=None, instance=ME, kept=b""):
        """A ttl that is longer lets the freeze begin earlier: room for an overloaded machine."""
        t = now()
        deadline = Pair(t.raw + ms * MS, t.boot + ms * MS)
        ttl = (ttl_ms or max(ms, 10_000)) * MS
        message = ArmMessage(arm=Arm(epoch, instance, ttl, deadline, may_write))
        message.kept.size = len(kept)
        ctypes.memmove(message.kept.bytes, kept, len(kept))
        return self.answer(ARMED_AS, self.send(ARM, message)).verdict

    def start(self, *args, as_primary=True, env=(), cwd="/", output=None, path=None):
        """args: argv. Answers the struct; .pid is 0 if nothing was started."""
        texts = [path or args[0], *args, *env]
        data = b"".join(str(t).encode() + b"\0" for t in texts)
        user = pwd.getpwnam("postgres")
        self.sequence += 1
        # The texts begin right behind the last member, not where the struct is padded to.
        head = StartHead(header(START, ctypes.sizeof(StartHead) + len(data), self.sequence),
                         as_primary, user.pw_uid, user.pw_gid, 1 + len(args), len(env))  # fmt: skip
        cwd_fd = os.open(cwd, os.O_PATH | os.O_DIRECTORY)
        output_fd = os.open(output or "/dev/null", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self.send_bytes(bytes(head) + data, output_fd, cwd_fd)
        finally:
            os.close(cwd_fd)
            os.close(output_fd)
        return self.answer(STARTED, self.sequence)

    def adopt(self, pid, may_write):
        return self.answer(STATE, self.send(ADOPT, Adopt(pid=pid, may_write=may_write)))

    def kill(self, why=ORDER):
        self.send(KILL, Kill(why=why))

    def close_epoch(self, epoch):
        self.send(CLOSE, Close(epoch=epoch))

    def watch(self, mode, path, is_testing=False):
        watch = Watch(mode=mode, margin=5, is_testing=is_testing, path=str(path).encode())
        self.send(WATCH, watch)

    def leave(self):
        self.send(LEAVE, struct("Leave", ("header", Header))())


class Guard:
    """A guard process; ends with everything it started."""

    def __init__(self, cgroup=False, privileged=True, oom_score=None):
        """privileged: with the limits that the unit file gives."""
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="veche-guard-"))
        reaper.add("dir", self.directory)
        self.user = pwd.getpwnam("postgres")
        os.chown(self.directory, self.user.pw_uid, self.user.pw_gid)
        self.cgroup = UNIFIED / self.directory.name if cgroup else None
        if cgroup:
            self.cgroup.mkdir()
            for name in (".", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
                os.chown(self.cgroup / name, self.user.pw_uid, self.user.pw_gid)
        self.log_path = self.directory / "log"
        self.process = None
        self.clients = []
        self.privileged = privileged
        self.oom_score = oom_score
        self.pids = []  # To be killed at the end, whatever happened.
        try:
            self.spawn()
        except BaseException:
            if self.process is None:
                shutil.rmtree(self.directory)
                reaper.drop("dir", self.directory)
                if self.cgroup is not None:
                    self.cgroup.rmdir()
            else:
                self.close()
            raise

    def run(self, ready_fd):
        def enter():
            if self.cgroup is not None:
                (self.cgroup / "cgroup.procs").write_text(str(os.getpid()))
            if self.oom_score is not None:
                pathlib.Path("/proc/self/oom_score_adj").write_text(str(self.oom_score))

        # The unit file gives limits; not every root may raise those, so capabilities here.
        caps = "+sys_nice,+ipc_lock" if self.privileged else "-all"
        user = ["setpriv", f"--reuid={self.user.pw_uid}", f"--regid={self.user.pw_gid}",
                "--clear-groups", f"--inh-caps={caps}", f"--ambient-caps={caps}"]  # fmt: skip
        limits = [] if self.privileged else ["prlimit", "--memlock=0:0", "--rtprio=0:0"]
        with open(self.log_path, "a", encoding="utf-8") as log:
            return subprocess.Popen(
                [*limits, *user, PROGRAM, self.directory, "n1", str(ready_fd)],
                pass_fds=[ready_fd], stdout=log, stderr=log, preexec_fn=enter,
                env=os.environ | sanitizer_options(self.directory / "sanitizer"),
            )  # fmt: skip

    def spawn(self):
        read_fd, write_fd = os.pipe()
        try:
            self.process = self.run(write_fd)
            os.close(write_fd)
            text = os.read(read_fd, 100)
        finally:
            os.close(read_fd)
        assert text == b"ready\n", self.log_path.read_text(encoding="utf-8")

    @property
    def pid(self):
        return self.process.pid

    def client(self, **kwargs):
        client = Client(self, **kwargs)
        self.clients.append(client)
        return client

    def signal(self, number):
        os.kill(self.pid, number)

    def is_alive(self):
        return self.process.poll() is None

    def descendants(self):
        return descendants(self.pid)

    def close(self):
        left = self.descendants() if self.is_alive() else []
        self.process.kill()
        code = self.process.wait()
        for pid in [*left, *self.pids]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for client in self.clients:
            client.close()
        if self.cgroup is not None:
            for name in ("pg", "guard", "."):
                with contextlib.suppress(OSError):
                    (self.cgroup / name / "cgroup.kill").write_text("1")
                    (self.cgroup / name / "cgroup.freeze").write_text("0")
                wait(lambda d=self.cgroup / name: rmdir(d), 30, f"an empty cgroup {name}")
        reports = [p.read_text() for p in self.directory.glob("sanitizer*")]
        subprocess.run(["rm", "-rf", self.directory], check=False)
        reaper.drop("dir", self.directory)
        assert not reports and code != SANITIZED, reports

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def rmdir(path):
    with contextlib.suppress(FileNotFoundError):
        path.rmdir()
    return not path.exists()


def stat_of(pid):
    """(state, ppid); None: no such process."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[1])


def is_gone(pid):
    stat = stat_of(pid)
    return stat is None or stat[0] in "ZX"


def descendants(root):
    parents = {}
    for entry in os.listdir("/proc"):
        stat = stat_of(entry) if entry.isdigit() else None
        if stat is not None and stat[0] not in "ZX":
            parents[int(entry)] = stat[1]
    found = {root}
    while True:
        more = {pid for pid, ppid in parents.items() if ppid in found} - found
        if not more:
            return sorted(found - {root})
        found |= more
