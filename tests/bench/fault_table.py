#!/usr/bin/python3
"""Prints what the faults of tests/integration/test_second_writer.py came to, as Markdown.

    VECHE_FAULT_LEDGER=FILE VECHE_FAULTS=all VECHE_FAULT_RUNS=3 VECHE_BUILD=build \\
        /usr/bin/python3 -m pytest tests/integration/test_second_writer.py
    tests/bench/fault_table.py FILE

A row a fault and mode. The gap is the longest time without an acknowledgement of the client
that may go to any node; rows are lost if they were acknowledged and are not there at the end;
overlapping are those acknowledged by an older primary after a newer one's first. Several
slices of runs may go into the same file.
"""

import collections
import json
import statistics
import sys


def gap(runs):
    found = [r["gap"] for r in runs]
    return f"{min(found):.2f} / {statistics.median(found):.2f} / {max(found):.2f}"


def frozen(runs):
    found = [r["frozen"] for r in runs if r["frozen"] is not None]
    return f"{1000 * max(found):.0f} ms ({len(found)})" if found else "-"


COLUMNS = {
    "fault": lambda runs: runs[0]["fault"],
    "mode": lambda runs: runs[0]["mode"],
    "runs": len,
    "taken over": lambda runs: sum(r["took_over"] for r in runs),
    "gap in s: min / median / max": gap,
    "lost rows": lambda runs: sum(r["lost"] for r in runs),
    "overlapping rows": lambda runs: sum(r["overlapping"] for r in runs),
    "worst frozen-at minus deadline (runs with a freeze)": frozen,
    "killed at the deadline": lambda runs: sum(r["killed_late"] for r in runs),
}


def main(path):
    groups = collections.defaultdict(list)
    with open(path, encoding="utf-8") as f:
        for line in f:
            run = json.loads(line)
            if "+" in run["fault"]:
                run["fault"] = "mixtures"
            groups[run["fault"], run["mode"]].append(run)
    print("| " + " | ".join(COLUMNS) + " |")
    print("|---" * len(COLUMNS) + "|")
    for _, runs in sorted(groups.items()):
        print("| " + " | ".join(str(column(runs)) for column in COLUMNS.values()) + " |")


if __name__ == "__main__":
    main(*sys.argv[1:])
