#!/usr/bin/python3
"""What an idle cluster costs: memory and CPU of each agent over a minute.

    VECHE_BUILD=build tests/bench/idle.py [SECONDS]

Prints a row per agent: RSS and PSS in MiB, CPU in percent of one core, bytes
written to disk and size of the Raft directory.
"""

import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
from veche import Cluster  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid):
    found = {}
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as f:
        for line in f:
            words = line.split()
            if words[0] in ("Rss:", "Pss:"):
                found[words[0][:-1]] = int(words[1]) / 1024
    return found


def written(pid):
    with open(f"/proc/{pid}/io", encoding="utf-8") as f:
        for line in f:
            if line.startswith("write_bytes:"):
                return int(line.split()[1])
    return 0


def raft_size(node):
    files = [p for p in node.raft_dir.rglob("*") if p.is_file()]
    return sum(p.stat().st_blocks * 512 for p in files) / (1 << 20)


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60
    with Cluster() as c:
        c.start_and_wait()
        primary = c.primary()
        before = {n.name: (cpu_seconds(n.process.pid), written(n.process.pid))
                  for n in c.nodes.values()}
        time.sleep(seconds)
        print(f"{'agent':8} {'role':8} {'RSS MiB':>8} {'PSS MiB':>8} {'CPU %':>6} "
              f"{'written':>8} {'raft MiB':>8}")
        for n in c.nodes.values():
            role = "witness" if n.witness else "primary" if n is primary else "standby"
            pid = n.process.pid
            cpu, wrote = before[n.name]
            m = memory(pid)
            print(f"{n.name:8} {role:8} {m['Rss']:8.1f} {m['Pss']:8.1f} "
                  f"{100 * (cpu_seconds(pid) - cpu) / seconds:6.2f} "
                  f"{written(pid) - wrote:8d} {raft_size(n):8.1f}")


if __name__ == "__main__":
    main()
