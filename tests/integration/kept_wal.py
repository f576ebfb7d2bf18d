"""When a row was committed, as the WAL says that is left of it: in the pg_wal of any node, or
beside a data directory that was rewound (<data_dir>.diverged)."""

import datetime
import re
import subprocess

from veche import PG_BIN

SEGMENT = re.compile("[0-9A-F]{24}")
COMMIT = re.compile(r"COMMIT (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+) UTC")


def directories(node):
    kept = node.data_dir.with_name(node.data_dir.name + ".diverged")
    places = [node.data_dir / "pg_wal", *(sorted(kept.iterdir()) if kept.is_dir() else [])]
    return [p for p in places if p.is_dir()]


def has_timeline(directory, timeline):
    return any(
        SEGMENT.fullmatch(p.name) and int(p.name[:8], 16) == timeline for p in directory.iterdir()
    )


def commit_in(directory, row):
    """Seconds since 1970; None: it is not there. The end of the WAL is an error to it."""
    r = subprocess.run(
        [PG_BIN / "pg_waldump", "--path", directory, "--timeline", str(row.timeline),
         "--start", f"{row.lsn >> 32:X}/{row.lsn & 0xFFFFFFFF:X}", "--xid", str(row.xid),
         "--rmgr", "Transaction"],
        capture_output=True, text=True, check=False, env={"TZ": "UTC", "LC_ALL": "C"},
    )  # fmt: skip
    found = COMMIT.search(r.stdout)
    if found is None:
        return None
    when = datetime.datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S.%f")
    return when.replace(tzinfo=datetime.timezone.utc).timestamp()


def commit_time(cluster, row):
    """Of an acknowledged row; None if no WAL has it any more."""
    for node in cluster.postgres_nodes:
        for directory in directories(node):
            if has_timeline(directory, row.timeline):
                when = commit_in(directory, row)
                if when is not None:
                    return when
    return None
