#!/usr/bin/python3
"""What clients of the REST interface do to the tick of a primary's agent.

    VECHE_BUILD=build tests/bench/rest.py [SECONDS]

Four phases of SECONDS each (default 10): quiet; 10,000 health checks a second over 32
connections that stay; 1,000 connections that send half a request and stall; both. Prints a row a
phase: answers a second, the share of one core that the agent took, and of its ticks how many, how
long on average, and the bound that 99 % and all of them stayed below; the same for the time from an
observation to the end of the tick that acts on it; the least that was left of the lease when it was
renewed. A failover is an error.
"""

import os
import pathlib
import re
import selectors
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
from veche import Cluster  # noqa: E402

RATE = 10000
CONNECTIONS = 32
STALLED = 1000
BATCH_S = 0.01
REQUEST = b"OPTIONS /primary HTTP/1.1\r\nHost: veche\r\n\r\n"
ANSWER = b"HTTP/1.1 "
TICKS = os.sysconf("SC_CLK_TCK")


class Load:
    """Health checks at a rate, over connections that stay."""

    def __init__(self, port):
        self.sockets = []
        self.selector = selectors.DefaultSelector()
        for i in range(CONNECTIONS):
            s = socket.create_connection(("127.0.0.1", port), source_address=(f"127.0.1.{i + 1}", 0))
            s.setblocking(False)
            self.sockets.append(s)
            self.selector.register(s, selectors.EVENT_READ, [0])
        self.asked = self.answered = self.next = 0

    def read(self, timeout):
        for key, _ in self.selector.select(timeout):
            n = key.fileobj.recv(1 << 18).count(ANSWER)
            if n == 0:
                raise RuntimeError("the agent closed a connection that was in use")
            self.answered += n
            key.data[0] -= n

    def ask(self, n):
        """So many more, in turn; a connection with a backlog is left out."""
        per = max(1, n // CONNECTIONS)
        for key in list(self.selector.get_map().values()):
            if n > 0 and key.data[0] < 20:
                count = min(per, n)
                key.fileobj.send(REQUEST * count)
                key.data[0] += count
                self.asked += count
                n -= count

    def run(self, seconds):
        began = time.monotonic()
        while (now := time.monotonic()) < began + seconds:
            due = int((now - began) * RATE) - self.asked
            if due > 0:
                self.ask(min(due, 400))
            self.read(BATCH_S / 4)
        return self.answered / (time.monotonic() - began)


def stall(port):
    sockets = []
    for i in range(STALLED):
        s = socket.socket()
        s.setblocking(False)
        s.bind((f"127.0.2.{i // 60 + 1}", 0))
        try:
            s.connect(("127.0.0.1", port))
        except BlockingIOError:
            pass
        sockets.append(s)
    time.sleep(0.2)  # Until the agent has taken them, of which nothing tells.
    for s in sockets:
        try:
            s.send(b"GET /patroni HTTP/1.1\r\nHost: v")
        except OSError:
            pass  # Not accepted, or refused already.
    return sockets


def metrics(node):
    text = node.http("/metrics").text
    found = {}
    for name, labels, value in re.findall(r"^(\w+)\{(.*)\} (\S+)$", text, re.MULTILINE):
        bound = re.search(r'\ble="([^"]+)"', labels)
        found[(name, float(bound[1].replace("+Inf", "inf")) if bound else None)] = float(value)
    return found


def difference(before, after, name):
    """Count, mean in ms, and the bounds below which 99 % and all are."""
    buckets = sorted(b for n, b in after if n == f"{name}_bucket")
    counts = [after[(f"{name}_bucket", b)] - before[(f"{name}_bucket", b)] for b in buckets]
    total = counts[-1]
    seconds = after[(f"{name}_sum", None)] - before[(f"{name}_sum", None)]

    def below(share):
        return next((b for b, c in zip(buckets, counts) if c >= share * total), 0) * 1000

    return total, 1000 * seconds / max(total, 1), below(0.99), below(1)


def least_margin(before, after):
    name = "veche_lease_margin_seconds_bucket"
    buckets = sorted(b for n, b in after if n == name)
    return next((b for b in buckets if after[(name, b)] > before[(name, b)]), 0)


def cpu(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def phase(node, name, seconds, loaded, stalled):
    load = Load(node.api_port) if loaded else None
    before, cpu_before, began = metrics(node), cpu(node.process.pid), time.monotonic()
    sockets = stall(node.api_port) if stalled else []
    rate = load.run(seconds) if load else time.sleep(seconds) or 0
    spent = cpu(node.process.pid) - cpu_before
    elapsed = time.monotonic() - began
    for s in sockets + (load.sockets if load else []):
        s.close()
    time.sleep(1)  # Until the agent has noticed; its places are free again.
    after = metrics(node)
    tick = difference(before, after, "veche_tick_duration_seconds")
    react = difference(before, after, "veche_dirty_to_act_seconds")
    print(f"| {name} | {rate:,.0f} | {100 * spent / elapsed:.0f} | "
          + " | ".join(f"{n:,.0f} | {mean:.2f} | < {p99:g} | < {most:g}"
                       for n, mean, p99, most in (tick, react))
          + f" | < {least_margin(before, after):g} |", flush=True)


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10
    print("| phase | answers/s | CPU % | ticks | mean ms | 99 % ms | all ms | observed | mean ms "
          "| 99 % ms | all ms | least of the lease s |\n" + "|---" * 12 + "|")
    with Cluster() as c:
        c.start_and_wait()
        node = c.primary()
        epoch = node.status()["veche"]["epoch"]
        phase(node, "quiet", seconds, False, False)
        phase(node, "10,000 checks/s", seconds, True, False)
        phase(node, "1,000 stalled", seconds, False, True)
        phase(node, "both", seconds, True, True)
        if node.status()["veche"]["epoch"] != epoch:
            sys.exit("there was a failover")


if __name__ == "__main__":
    main()
