#!/usr/bin/python3
"""vechectl's answers byte by byte, against an agent of paper (ctl_fake.py): every command, its
prompts, its texts, its exit code, and what it asked the agents to change.

`test_ctl_golden.py --print` prints what tests/golden/ctl.txt should hold; nothing rewrites it.
"""

import copy
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


def on_ipv6(agent):
    agent.member(PG1)["host"] = "fd00::2"


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
    for method in ("PATCH", "PUT"):
        agent.replies[f"{method} /config"] = lambda body: (
            (400, "The body is empty") if body == "{}" else (200, {})
        )


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


def answers_all(agent, method, path, code, text):
    for m in agent.cluster["members"]:
        agent.replies[f"{method} /members/{m['name']}{path}"] = (code, text)


def barred(agent):
    switches(agent)
    agent.member(PG1)["tags"] = {"nofailover": True}
    agent.member(PG2)["tags"] = {"failover_priority": 0, "nofailover": False}


def does_not_know(agent):
    plain(agent)
    agent.replies["POST /switchover"] = (
        503, "Switchover status unknown after 20 seconds; operation may still be in progress",
    )  # fmt: skip


def sync_with_two(agent):
    agent.member(PG2)["role"] = "sync_standby"


def has_no_config(agent):
    agent.replies["GET /config"] = (503, "no configuration yet")


def has_no_cluster(agent):
    agent.replies["GET /cluster"] = (503, "not yet")


def restarts(agent):
    plain(agent)
    answers_all(agent, "POST", "/restart", 200, "restarted successfully")
    answers_all(agent, "POST", "/reload", 202, "reload scheduled")


def restarts_later(agent):
    answers_all(agent, "POST", "/restart", 202, "Restart scheduled")


def restarts_anew(agent):
    restarts_later(agent)
    agent.replies["DELETE /members/pg1/restart"] = (200, "scheduled restart deleted")


def restarts_badly(agent):
    plain(agent)
    agent.replies["POST /members/pg0/restart"] = (409, "Another restart is already scheduled")
    agent.replies["POST /members/pg1/restart"] = (503, "restart conditions are not satisfied")
    agent.replies["POST /members/pg2/restart"] = (200, "restarted successfully")
    agent.replies["POST /members/pg0/reload"] = (200, "nothing has changed")
    agent.replies["POST /members/pg1/reload"] = (500, "pg1.yml:3:1: ttl: not a duration")
    agent.replies["POST /members/pg2/reload"] = (
        202, "reload scheduled; in force: log.level; waiting for a restart of the agent: name"
    )  # fmt: skip


def rolls(agent, old="100", new="200"):
    """Restarts clear what is pending; a switchover restarts the former primary. A standby is
    back only when it was looked at; whoever restarts another one before fails, and so does
    a standby that has not yet replayed what the primary wrote at its start."""
    plain(agent)
    started = {}
    behind = []
    shrinks = int(new) < int(old)

    def position():
        return {"location": 0x4000088}

    def status_of(name):
        def status(_):
            member = agent.member(name)
            body = agent.status(name)
            body["postmaster_start_time"] = f"start {started.get(name, 0)}"
            if member["role"] == "leader":
                body["xlog"] = position()
            return 200, body

        return status

    def restart(name):
        def done(_):
            standbys = [m for m in agent.cluster["members"] if m["role"] == "replica"]
            if any(m["state"] != "streaming" for m in standbys):
                return 503, "too early: another standby is not back"
            if shrinks and name == "pg1" and agent.member(name)["replay_lsn"] != "0/4000088":
                return 503, "too early: the value is not replayed"
            started[name] = started.get(name, 0) + 1
            if shrinks and name == "pg0":
                agent.member(PG1)["replay_lsn"] = "0/4000080"
                behind.extend(range(4))  # So many looks later it is replayed.
            agent.member(name).pop("pending_restart", None)
            agent.member(name).pop("pending_restart_reason", None)
            if agent.member(name)["role"] == "replica":
                agent.member(name)["state"] = "starting"
            return 200, "restarted successfully"

        return done

    def switchover(_):
        restart("pg0")(None)
        agent.member("pg0").update(
            role="replica", state="stopped", lag=0, receive_lag=0, replay_lag=0,
            lsn="0/4000088", receive_lsn="0/4000088", replay_lsn="0/4000088",
        )  # fmt: skip
        new_leader = agent.member("pg1")
        new_leader.update(role="leader", state="running")
        for key in ("lag", "receive_lag", "replay_lag", "lsn", "receive_lsn", "replay_lsn"):
            new_leader.pop(key, None)
        return 200, 'Successfully switched over to "pg1"'

    def cluster(_):
        seen = copy.deepcopy(agent.cluster)
        for m in agent.cluster["members"]:
            if m["role"] == "replica":
                m["state"] = "streaming"
        if behind and behind.pop() == 0:
            agent.member(PG1)["replay_lsn"] = "0/4000088"
        return 200, seen

    for m in agent.cluster["members"]:
        m["pending_restart"] = True
        m["pending_restart_reason"] = {"max_connections": {"old_value": old, "new_value": new}}
        agent.replies[f"POST /members/{m['name']}/restart"] = restart(m["name"])
        agent.replies[f"GET /members/{m['name']}/patroni"] = status_of(m["name"])
    agent.replies["POST /switchover"] = switchover
    agent.replies["GET /cluster"] = cluster


def rolls_in_sync(agent):
    """Who was restarted is synchronous only a while later; nobody else may take over."""
    rolls(agent)
    agent.config["synchronous_mode"] = True
    cluster, switchover = agent.replies["GET /cluster"], agent.replies["POST /switchover"]
    looks = []

    def look(body):
        if sum("/restart" in asked for asked in agent.asked) == 2:
            looks.append(1)
        if len(looks) == 5:
            agent.member(PG1)["role"] = "sync_standby"
        return cluster(body)

    def switch(body):
        if agent.member(PG1)["role"] != "sync_standby":
            return 412, "switchover is not possible: can not find sync_standby"
        return switchover(body)

    agent.replies.update({"GET /cluster": look, "POST /switchover": switch})


def rolls_down(agent):
    rolls(agent, "200", "100")


def rolls_alone(agent):
    rolls(agent)
    agent.member(PG1)["tags"] = {"nofailover": True}
    agent.member(PG2)["tags"] = {"nofailover": True}


def rolls_to_a_version(agent):
    """pg2 and the primary were upgraded by hand."""
    rolls(agent)
    for name in (PG0, PG2):
        agent.replies[f"GET /members/{name}/patroni"] = (200, {"server_version": 170006})


def rolls_into_a_wall(agent):
    rolls(agent)
    agent.replies["POST /members/pg2/restart"] = (503, "restart failed")


def rolls_but_stays_down(agent):
    rolls(agent)
    agent.member(PG2)["timeline"] = 2


def has_a_restart(agent):
    agent.replies["DELETE /members/pg1/restart"] = (200, "scheduled restart deleted")
    agent.replies["DELETE /switchover"] = (200, "scheduled switchover deleted")
    with_footer(agent)


def reinits(agent):
    plain(agent)
    answers_all(agent, "POST", "/reinitialize", 200, "reinitialize started")
    agent.replies["POST /members/pg0/reinitialize"] = (503, "I am the leader, can not reinitialize")


def reinits_twice(agent):
    """Something else runs on pg1 until it is forced; then it copies until it was looked at."""
    plain(agent)

    def start(body):
        if '"force"' not in body:
            return 503, "restart already in progress"
        agent.member(PG1).update(state="creating replica", operation="clone: copy, 27 %, 12.3 MB/s")
        return 200, "reinitialize started"

    def cluster(_):
        seen = copy.deepcopy(agent.cluster)
        agent.member(PG1)["state"] = "streaming"
        agent.member(PG1).pop("operation", None)
        return 200, seen

    agent.replies["POST /members/pg1/reinitialize"] = start
    agent.replies["GET /cluster"] = cluster


def tight(agent):
    """I3's settings."""
    plain(agent)
    agent.config["postgresql"]["parameters"].update(
        max_wal_senders=3, archive_mode="on",
        archive_command="mkdir -p /nonexistent/archive && cp %p /nonexistent/archive/%f",
    )  # fmt: skip


def has_slots(agent):
    plain(agent)
    agent.config["postgresql"]["parameters"].update(max_replication_slots=4)
    agent.config["slots"] = {
        "backup": None, "cdc": {"database": "shop", "plugin": "pgoutput"}, "more": {}
    }  # fmt: skip


def archives_well(agent):
    plain(agent)
    agent.config["postgresql"]["parameters"].update(
        archive_mode="on", archive_command="pgbackrest --stanza=main archive-push %p"
    )


def broken(agent):
    agent.cluster["veche"]["raft_has_leader"] = False
    agent.cluster["members"] = plain_members()[1:]
    agent.member(PG1)["lag"] = 10 << 20
    agent.member(PG2)["timeline"] = 2
    agent.config["synchronous_mode"] = True
    agent.replies["GET /members/pg1/patroni"] = (200, {
        **agent.status(PG1), "role": "primary",
        "veche": {"version": "0.0.9", "problem": "no majority", "fenced": "partly",
                  "guard": {"up": True, "trouble": "cgroup: not delegated"}},
    })  # fmt: skip
    agent.replies["GET /members/pg2/patroni"] = (503, "")


def two(agent):
    agent.cluster["members"] = plain_members()[:2]


def leaves_nobody(agent):
    """Neither standby may take over; the primary's guard is gone."""
    plain(agent)
    agent.member(PG1)["timeline"] = 2
    agent.member(PG2)["tags"] = {"nofailover": True}
    status = {**agent.status(PG0), "role": "primary"}
    status["veche"] = {"version": "0.1.0", "fenced": "no", "guard": {"up": False}}
    agent.replies["GET /members/pg0/patroni"] = (200, status)


def rolls_onto_nobody(agent):
    rolls(agent)
    agent.replies["POST /switchover"] = (412, "Switchover failed: pg1 is primary, timeline 4")


def is_silent(agent):
    """The agent of pg2 is not there; nobody passes on what is for it."""
    plain(agent)
    agent.relays = False
    agent.member(PG2)["api_url"] = "http://127.0.0.1:1/patroni"


def pauses_slowly(agent):
    """pg2 follows when it was looked at three times."""
    pauses(agent)
    looks = []

    def status(_):
        looks.append(1)
        if len(looks) <= 3:
            agent.asked.append("(pg2 goes on)")
            return 200, {**agent.status(PG2), "pause": False}
        return 200, agent.status(PG2)

    agent.replies["GET /members/pg2/patroni"] = status


COMMANDS = (
    "list topology members switchover failover pause resume reload restart reinit flush remove"
    " history show-config edit-config dsn query version migrate store check demote-cluster"
    " promote-cluster completion"
).split()

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
    (nothing, "list pg9"),
    (nothing, "topology other"),
    (nothing, "members pg9"),
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
    (edits, "edit-config -s synchronous_mode=on -s retry_timeout=~ -p log_line_prefix=%m[%p] --force"),
    (edits, 'edit-config -s postgresql={"use_slots":false} -s postgresql.pg_hba=[a,b] --force'),
    (edits, "edit-config -s postgresql={use_slots --force"),
    (edits, "edit-config --apply - --force", "postgresql:\n  parameters:\n    max_connections: 200\n"),
    (edits, "edit-config --replace - --force", "ttl: 25\nloop_wait: 5\n"),
    (edits, "edit-config --replace - --apply -", ""),
    (edits, "edit-config --replace - --force", "# nothing\n"),
    (edits, "edit-config --replace - --force", "{}"),
    (edits, "edit-config --replace - --force", "ttl: 25\n\0loop_wait: 5\n"),
    (edits, "edit-config --replace / --force"),
    (edits, "edit-config -q -s ttl=30"),
    (edits, "edit-config --apply - --force", "ttl: [\n"),
    (edits, "edit-config --apply /nonexistent.yml"),
    (edits, "edit-config"),
    (is_raced, "edit-config -s ttl=20 --force"),
    (refuses, "edit-config -s ttl=20 --force"),
    # pause, resume
    (pauses, "pause"),
    (pauses, "pause --wait"),
    (pauses_slowly, "pause --wait"),
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
    (schedules, "switchover --scheduled 2026-08-01T12:00:59.5-03:30 --force"),
    (schedules, "switchover --scheduled 2026-08-01T12:00Z --force"),
    (schedules, "switchover --scheduled 2026-08-01T12:00+2x --force"),
    (schedules, "switchover --scheduled tomorrow"),
    (refuses, "switchover --candidate pg1 --force"),
    (refuses, "switchover --candidate pg9 --force"),
    (refuses, "switchover --leader pg1 --force"),
    (does_not_know, "switchover --candidate pg1 --force"),
    (barred, "switchover", "\n\n\nn\n"),
    (barred, "failover --candidate pg1 --force"),
    (switches, "failover --candidate pg0 --force"),
    (alone, "switchover"),
    (leaderless, "switchover --force"),
    (standby_leader, "switchover", ""),
    (switches, "failover", "pg2\ny\n"),
    (synchronous, "failover", "pg2\ny\nn\n"),
    (synchronous, "failover", "pg1\ny\n"),
    (switches, "failover --force"),
    (refuses, "failover --candidate pg2 --force"),
    # reload, restart, flush, reinit, remove
    (restarts, "reload batman", "y\n"),
    (restarts, "reload batman pg1 --force"),
    (restarts, "reload pg9"),
    (restarts, "restart pg1 pg9 --force"),
    (restarts, "reload -r leader", "n\n"),
    (restarts_badly, "reload --force"),
    (restarts, "restart batman", "\ny\n\n"),
    (restarts, "restart batman pg2", "now\ny\n17.6\n"),
    (restarts, "restart batman pg2", "now\ny\nnew\n"),
    (restarts, "restart -r replica --force"),
    (restarts, "restart -r replica --force --timeout 2min --pg-version 17.6"),
    (restarts, "restart --timeout soon"),
    (restarts, "restart --pg-version new"),
    (restarts, "restart --pending --force"),
    (nothing, "restart --pending --force"),
    (restarts_later, "restart pg2 --scheduled 2026-08-01T12:00+02:00", "y\n\n"),
    (restarts_later, "restart pg2", "2026-08-01T12:00\ny\n\n"),
    (restarts_later, "restart --pending --scheduled 2026-08-01T12:00Z", "y\n\n"),
    (restarts_later, "restart --pending", "now\nn\n"),
    (restarts_anew, "restart pg1 --scheduled 2026-08-01T12:00Z --force"),
    (restarts_badly, "restart --force"),
    (restarts, "restart -r standby-leader --any --force"),
    (restarts, "restart -r leader --any --force"),
    (rolls, "restart --rolling", "y\n"),
    (rolls, "restart --rolling", "n\n"),
    (rolls, "restart --rolling -r replica --force"),
    (rolls_in_sync, "restart --rolling --force"),
    (rolls_down, "restart --rolling --force"),
    (rolls_alone, "restart --rolling --force"),
    (rolls_to_a_version, "restart --rolling --pg-version 17.6 --force"),
    (rolls_to_a_version, "restart --rolling --pg-version 17 --force"),
    (rolls_into_a_wall, "restart --rolling --force"),
    (rolls_but_stays_down, "restart --rolling --force --timeout 1"),
    (rolls, "restart --rolling --any"),
    (has_a_restart, "flush batman pg1 restart --force"),
    (has_a_restart, "flush batman restart", "y\n"),
    (has_a_restart, "flush switchover"),
    (nothing, "flush switchover"),
    (nothing, "flush batman"),
    (reinits, "reinit batman pg1 --force"),
    (reinits, "reinit batman", "pg2\ny\n"),
    (reinits, "reinit pg0 --force"),
    (reinits, "reinit --force"),
    (reinits, "reinit pg1 --force --from-leader --wait"),
    (reinits_twice, "reinit pg1 --wait", "y\ny\n"),
    (reinits_twice, "reinit pg1", "y\nn\n"),
    (nothing, "remove", "batman\nYes I am aware\npg0\n"),
    (nothing, "remove -f tsv batman", "batman\nyes\n"),
    (nothing, "remove", "other\n"),
    (nothing, "remove", "batman\nYes I am aware\npg1\n"),
    # store, check
    (with_footer, "store"),
    (nothing, "store --keys-only"),
    (nothing, "store leader"),
    (nothing, "store /service/batman/members/ --keys-only"),
    (on_ipv6, "store members/pg1"),
    (nothing, "store lead"),
    (nothing, "store /service/batman --keys-only"),
    (sync_with_two, "store sync"),
    (has_no_config, "store --keys-only"),
    (plain, "check --root /nonexistent"),
    (plain, "check --root /nonexistent --full"),
    (nothing, "check --cluster --postgres"),
    (tight, "check --postgres"),
    (has_slots, "check --postgres"),
    (archives_well, "check --postgres"),
    (broken, "check --store --cluster --agent --root /nonexistent"),
    (paused, "check --cluster"),
    (plain, "check other"),
    (has_no_cluster, "check --store"),
    (has_no_config, "check --store"),
    (nothing, "query"),
    (nothing, "query -c select -m pg9"),
    (nothing, "query -c select -f x.sql"),
    # what is left: wrong use, and a text that nothing above has
    (nothing, ""),
    (nothing, "nosuch"),
    (nothing, "list --nosuch"),
    (nothing, "list -f"),
    (nothing, "list -f xml"),
    (nothing, "list -w soon"),
    (nothing, "history batman more"),
    (nothing, "demote-cluster --host h --port 5432 --restore-command c --primary-slot-name s --force"),
    (edits, "edit-config -s ttl --force"),
    (edits, "edit-config -s a..b=1 --force"),
    (chained, "dsn -m w"),
    (chained, "restart w --force"),
    (chained, "reload w --force"),
    (chained, "reinit w --force"),
    (is_silent, "restart pg2 --force"),
    (is_silent, "reload pg2 --force"),
    (is_silent, "reinit pg2 --force"),
    (is_silent, "version batman pg2"),
    (rolls_onto_nobody, "restart --rolling --force"),
    (two, "check --store --full --root /nonexistent"),
    (leaves_nobody, "check --cluster --agent --root /nonexistent"),
    *((nothing, command) for command in ("--help", *(f"{name} --help" for name in COMMANDS))),
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
    text = re.sub(r"2\d\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{5} (?=S)", "TIME ", text)
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
