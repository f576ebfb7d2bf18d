#!/usr/bin/python3
"""vechectl's answers byte by byte, against an agent of paper (ctl_fake.py): every command, its
prompts, its texts, its exit code, and what it asked the agents to change.

`test_ctl_golden.py --print` prints what tests/golden/ctl.txt should hold; nothing rewrites it.
"""

import re
import sys

import pytest

from ctl_fake import GOLDEN, MEMBERS, WITNESS, Agent, plain_members, vechectl

PG0, PG1, PG2 = "pg0", "pg1", "pg2"


def nothing(agent):
    pass


def plain(agent):
    agent.cluster["members"] = plain_members()


def paused(agent):
    agent.cluster["pause"] = True


def with_footer(agent):
    paused(agent)
    agent.cluster["scheduled_switchover"] = {
        "at": "2026-08-01T12:00:00+00:00", "from": "pg0", "to": "pg1",
    }  # fmt: skip


def chained(agent):
    """pg2 streams from pg1; two that name each other; a witness; ports that differ."""
    plain(agent)
    agent.member(PG2)["tags"] = {"replicatefrom": "pg1"}
    agent.member(PG1)["port"] = 5433
    for name, source in (("pg3", "pg4"), ("pg4", "pg3")):
        agent.cluster["members"].append(
            {**agent.member(PG2), "name": name, "tags": {"replicatefrom": source}}
        )
    agent.cluster["members"].append(dict(WITNESS))


def long_reasons(agent):
    agent.member(PG0)["pending_restart_reason"] = {
        "shared_preload_libraries": {"old_value": "a", "new_value": "pg_stat_statements,auto_explain"},
        "wal_level": {"old_value": "replica", "new_value": "logical"},
    }


def leaderless(agent):
    for m in agent.cluster["members"]:
        m["role"] = "replica"
    agent.cluster["veche"]["init"] = "running"
    agent.cluster["veche"]["system_identifier"] = ""


def switches(agent):
    plain(agent)
    agent.replies["POST /switchover"] = (200, 'Successfully switched over to "pg1"')
    agent.replies["POST /failover"] = (200, 'Successfully failed over to "pg2"')


def schedules(agent):
    plain(agent)
    agent.replies["POST /switchover"] = (202, "Switchover scheduled")


def refuses(agent):
    plain(agent)
    agent.replies["POST /switchover"] = (412, "candidate does not exists")
    agent.replies["POST /failover"] = (503, "Failover failed")
    agent.replies["PATCH /config"] = (403, "Access is denied")


def synchronous(agent):
    switches(agent)
    agent.member(PG1)["role"] = "sync_standby"


def alone(agent):
    agent.cluster["members"] = plain_members()[:1]


def standby_leader(agent):
    switches(agent)
    agent.member(PG0)["role"] = "standby_leader"


def edits(agent):
    agent.replies["PATCH /config"] = (200, {})
    agent.replies["PUT /config"] = (200, {})


def is_raced(agent):
    agent.replies["PATCH /config"] = (409, "the configuration was changed meanwhile")


def pauses(agent):
    def change(body):
        agent.cluster.update(pause=True) if "true" in body else agent.cluster.pop("pause", None)
        agent.cluster["veche"]["unfenced"] = "true" in body
        return 200, {}

    agent.replies["PATCH /config"] = change


def resumes(agent):
    paused(agent)
    pauses(agent)


# Setup of the agent, words of the command, what is typed.
CASES = [
    (nothing, "list"),
    (nothing, "list -e"),
    (nothing, "list batman pg1"),
    (nothing, "list -f json"),
    (nothing, "list -f yaml"),
    (nothing, "list -f yml pg2"),
    (nothing, "list -f tsv"),
    (with_footer, "list"),
    (with_footer, "list -f tsv pg0"),
    (plain, "list"),
    (chained, "list"),
    (chained, "topology"),
    (long_reasons, "list"),
    (long_reasons, "list -f json pg0"),
    (leaderless, "topology batman"),
    (nothing, "members"),
    (nothing, "history"),
    (nothing, "history -f json"),
    (nothing, "history other"),
    (nothing, "show-config"),
    (nothing, "show-config -f json"),
    (nothing, "dsn"),
    (nothing, "dsn -r replica"),
    (nothing, "dsn -m pg2"),
    (nothing, "dsn -m pg9"),
    (nothing, "dsn -r standby-leader"),
    (nothing, "dsn -m pg1 -r any"),
    (nothing, "dsn -r best"),
    (nothing, "version"),
    (nothing, "version batman"),
    (nothing, "version batman pg2"),
    (nothing, "demote-cluster --force"),
    (nothing, "promote-cluster"),
    (nothing, "--group 0 -k list pg0"),
    (nothing, "-d etcd://10.0.0.1:2379 completion tcsh"),
    # edit-config
    (edits, "edit-config -s ttl=20 -p superuser_reserved_connections=6 --force"),
    (edits, "edit-config -s ttl=30"),
    (edits, "edit-config -s ttl=20"),
    (edits, "edit-config -q -s ttl=20 --force"),
    (edits, "edit-config -s ttl=soon --force"),
    (edits, "edit-config --apply - --force", "postgresql:\n  parameters:\n    max_connections: 200\n"),
    (edits, "edit-config --replace - --force", "ttl: 25\nloop_wait: 5\n"),
    (edits, "edit-config --replace - --apply -", ""),
    (edits, "edit-config --apply - --force", "ttl: [\n"),
    (edits, "edit-config --apply /nonexistent.yml"),
    (edits, "edit-config"),
    (is_raced, "edit-config -s ttl=20 --force"),
    (refuses, "edit-config -s ttl=20 --force"),
    # pause, resume
    (pauses, "pause"),
    (pauses, "pause --wait"),
    (resumes, "resume --wait batman"),
    (paused, "pause"),
    (nothing, "resume"),
    (refuses, "pause"),
    # switchover, failover
    (switches, "switchover", "pg0\npg1\nnow\ny\n"),
    (switches, "switchover", "\n\n\nn\n"),
    (switches, "switchover", "pg1\n"),
    (switches, "switchover", "\npg9\n"),
    (switches, "switchover --leader pg0 --candidate pg1 --force"),
    (switches, "switchover --primary pg0 --candidate pg1", "\ny\n"),
    (schedules, "switchover", "\npg1\n2026-08-01T12:00\ny\n"),
    (schedules, "switchover --scheduled 2026-08-01T12:00:30+0200 --force"),
    (schedules, "switchover --scheduled tomorrow"),
    (refuses, "switchover --candidate pg9 --force"),
    (alone, "switchover"),
    (leaderless, "switchover --force"),
    (standby_leader, "switchover", ""),
    (switches, "failover", "pg2\ny\n"),
    (synchronous, "failover", "pg2\ny\nn\n"),
    (synchronous, "failover", "pg1\ny\n"),
    (switches, "failover --force"),
    (refuses, "failover --candidate pg2 --force"),
]


def run(setup, words, answers=""):
    with Agent(members=MEMBERS) as agent:
        setup(agent)
        done = vechectl("--url", agent.url, *words.split(), answers=answers)
        text = f"== {setup.__name__}: vechectl {words}\n"
        if answers:
            text += f"-- typed {answers!r}\n"
        text += done.stdout + "".join(f"stderr: {line}\n" for line in done.stderr.splitlines())
        text += "".join(f"-- asked {line}\n" for line in agent.asked)
        text += f"-- exit {done.returncode}\n"
    text = re.sub(r"2\d\d\d-\d\d-\d\dT[\d:]+\.\d+\+00:00 (?=S)", "TIME ", text)
    text = re.sub(r"(\]:) (?=\S)", r"\1 \n", text)  # What is typed ends the line.
    text = text.replace(agent.url, "URL")
    return re.sub(r"/tmp/batman-config-\w+\.yml", "FILE", text)


@pytest.mark.parametrize("case", CASES, ids=[f"{c[0].__name__}: {c[1]}" for c in CASES])
def test_answer(case):
    wanted = ["== " + part for part in GOLDEN.read_text(encoding="utf-8").split("== ")[1:]]
    assert run(*case) == wanted[CASES.index(case)]


def test_no_golden_answer_is_left_over():
    assert GOLDEN.read_text(encoding="utf-8").count("== ") == len(CASES)


if __name__ == "__main__" and sys.argv[1:] == ["--print"]:
    for one in CASES:
        sys.stdout.write(run(*one))
