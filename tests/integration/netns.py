"""Network namespaces for the tests: a host of its own for every node.

All nodes and the test itself hang on one bridge, which lives in a namespace of
its own. Links are cut by dropping packets on arrival, so that nobody is told:
no reset, no refusal, as when a cable or a switch fails. Two tests may run side
by side: every name carries the process and a number, and addresses exist inside
of the namespaces only.
"""

import contextlib
import ctypes
import itertools
import os
import subprocess
import threading

from reaper import reaper
from veche import Cluster, Node

CLONE_NEWNET = 0x40000000
PREFIX = "10.57.0."
CLIENT = "client"

RULES = """
table inet veche {
    set cut {
        type ipv4_addr
    }
    chain arriving {
        type filter hook input priority 0
        ip saddr @cut drop
    }
}
"""

_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count(1)


def run(*command, text=None):
    r = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if r.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {r.stderr.strip() or r.stdout.strip()}")
    return r.stdout


def set_namespace(fd):
    """Of the calling thread; threads and processes it starts from now on inherit it."""
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


class Network:
    """`with Network(names) as n:` - the calling thread is a client on the bridge meanwhile."""

    def __init__(self, names):
        self.names = list(names)
        self.id = f"vt{os.getpid()}-{next(_numbers)}"
        self.made = []
        self.cuts = set()  # (to, from)
        self.home = None
        self.is_told = False  # The reaper knows of it.

    def namespace(self, name):
        return f"{self.id}-{name}"

    def address(self, name):
        return f"{PREFIX}{1 + [*self.names, CLIENT].index(name)}"

    def _make_namespace(self, name):
        self.made.append(name)  # Before: an interrupt may come right after the command.
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")

    def _attach(self, name):
        space, switch = self.namespace(name), self.namespace("switch")
        self._make_namespace(space)
        run(
            *("ip", "-n", space, "link", "add", "eth0", "type", "veth"),
            *("peer", "name", f"p-{name}", "netns", switch),
        )
        run("ip", "-n", switch, "link", "set", f"p-{name}", "master", "bridge", "up")
        run("ip", "-n", space, "addr", "add", f"{self.address(name)}/24", "dev", "eth0")
        run("ip", "-n", space, "link", "set", "eth0", "up")
        run("ip", "netns", "exec", space, "nft", "-f", "-", text=RULES)

    def __enter__(self):
        assert threading.current_thread() is threading.main_thread()
        reaper.add("netns", f"{self.id}-")
        self.is_told = True
        try:
            switch = self.namespace("switch")
            self._make_namespace(switch)
            run("ip", "-n", switch, "link", "add", "bridge", "type", "bridge")
            run("ip", "-n", switch, "link", "set", "bridge", "up")
            for name in [*self.names, CLIENT]:
                self._attach(name)
            self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            with open(f"/run/netns/{self.namespace(CLIENT)}", "rb") as f:
                set_namespace(f.fileno())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind, value, trace):
        self.close()

    def close(self):
        """Devices and rules go with their namespaces."""
        if self.home is not None:
            set_namespace(self.home)
            os.close(self.home)
            self.home = None
        while self.made:
            with contextlib.suppress(RuntimeError):
                run("ip", "netns", "del", self.made[-1])
            self.made.pop()
        if self.is_told:
            reaper.drop("netns", f"{self.id}-")
            self.is_told = False

    # -- links

    def _rule(self, verb, to, source):
        run(
            *("ip", "netns", "exec", self.namespace(to), "nft", verb, "element"),
            *("inet", "veche", "cut", f"{{ {self.address(source)} }}"),
        )

    def cut_one_way(self, source, to):
        """What `source` sends does not reach `to` any more."""
        if (to, source) not in self.cuts:
            self._rule("add", to, source)
            self.cuts.add((to, source))

    def cut(self, a, b):
        self.cut_one_way(a, b)
        self.cut_one_way(b, a)

    def heal(self):
        for to, source in list(self.cuts):
            self._rule("delete", to, source)
            self.cuts.discard((to, source))

    def unplug(self, name):
        """The switch's port goes down; its own addresses stay."""
        run("ip", "-n", self.namespace("switch"), "link", "set", f"p-{name}", "down")

    def plug(self, name):
        run("ip", "-n", self.namespace("switch"), "link", "set", f"p-{name}", "up")


class NetworkCluster(Cluster):
    """A cluster with every node on a host of its own. Stops before its network goes."""

    def __init__(self, **options):
        super().__init__(**options)
        self.network = Network(self.names)

    def make_nodes(self, **options):
        for name in self.names:
            self.nodes[name] = Node(
                self,
                name,
                witness=name.startswith("w"),
                host=self.network.address(name),
                netns=self.network.namespace(name),
                **options,
            )

    def __enter__(self):
        self.network.__enter__()
        try:
            return super().__enter__()
        except BaseException:
            self.network.close()
            raise

    def __exit__(self, kind, value, trace):
        try:
            super().__exit__(kind, value, trace)
        finally:
            self.network.close()
