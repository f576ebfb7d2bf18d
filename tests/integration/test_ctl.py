"""vechectl against running agents: tables, formats, prompts and exit codes."""

import json
import os
import re
import signal
import time

import pytest

from ctl_fake import vechectl
from veche import (
    BUILD,
    Cluster,
    command_line,
    eventually,
    processes_of,
    wait,
    when_settled,
)

DONE, FAILED, USAGE, REFUSED, UNREACHABLE = 0, 1, 2, 3, 4


@pytest.fixture(scope="module")
def three(request):
    with Cluster() as c:
        c.start_and_wait()
        before = request.session.testsfailed
        yield c
        c.failed = request.session.testsfailed > before


def of(node, *args, answers=""):
    return vechectl("-c", str(node.config_path), *args, answers=answers)


def table_of(text):
    """Rows of a drawn table as lists of cells, and its title."""
    lines = text.splitlines()
    width = len(lines[0])
    rows = []
    for line in lines:
        if line.startswith("|"):
            assert len(line) == width, text
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return lines[0], rows[0], rows[1:]


# ---- What it shows


@when_settled
def test_list_is_drawn_as_patroni_draws_it(three):
    primary, standby = three.primary(), three.standbys()[0]
    sysid = primary.status()["database_system_identifier"]
    for node in three.nodes.values():
        title, heads, rows = table_of(of(node, "list").stdout)
        assert f"+ Cluster: {three.scope} ({sysid}) -" in title
        assert heads == [
            "Member", "Host", "Role", "State", "TL",
            "Receive LSN", "Lag", "Replay LSN", "Lag",
        ]  # fmt: skip
        by_name = {row[0]: row[1:] for row in rows}
        assert by_name[primary.name][:3] == [f"127.0.0.1:{primary.pg_port}", "Leader", "running"]
        assert by_name[standby.name][:3] == [f"127.0.0.1:{standby.pg_port}", "Replica", "streaming"]
        assert by_name[standby.name][3] == by_name[primary.name][3] == "1"
        assert re.fullmatch(r"[0-9A-F]+/[0-9A-F]+", by_name[standby.name][4])
        assert by_name[standby.name][5] == "0"
        assert by_name["w1"][:3] == ["", "Witness", "running"]


@when_settled
def test_list_takes_names_and_the_clusters_name(three):
    assert len(table_of(of(three["w1"], "list", three.scope).stdout)[2]) == 3
    assert [r[0] for r in table_of(of(three["w1"], "list", "pg2").stdout)[2]] == ["pg2"]
    title, heads, _ = table_of(of(three["w1"], "list", "-e").stdout)
    assert "Pending restart" in heads and "Tags" in heads
    stamped = of(three["w1"], "list", "-t").stdout.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", stamped[0])


@when_settled
def test_list_in_the_formats_of_scripts(three):
    primary, standby = three.primary(), three.standbys()[0]

    rows = json.loads(of(three["w1"], "list", "-f", "json").stdout)
    assert [r["Member"] for r in rows if r["Role"] == "Leader"] == [primary.name]
    by_name = {r["Member"]: r for r in rows}
    assert by_name[primary.name].keys() == {"Cluster", "Member", "Host", "Role", "State", "TL"}
    assert by_name[standby.name]["Receive Lag"] == 0
    assert by_name[standby.name]["TL"] == 1

    lines = of(three["w1"], "list", "-f", "tsv").stdout.splitlines()
    assert lines[0].split("\t") == [
        "Cluster", "Member", "Host", "Role", "State", "TL",
        "Receive LSN", "Receive Lag", "Replay LSN", "Replay Lag",
    ]  # fmt: skip
    assert {tuple(line.split("\t")[:2]) for line in lines[1:]} == {
        (three.scope, name) for name in ("pg1", "pg2", "w1")
    }
    assert all(line.count("\t") == 9 for line in lines)

    for name in ("yaml", "yml"):
        text = of(three["w1"], "list", "-f", name).stdout
        assert text.count("Member: ") == 3
        assert re.search(rf"^- Cluster: {three.scope}$", text, re.MULTILINE)
        assert re.search(r"^  Role: Leader$", text, re.MULTILINE)


@when_settled
def test_topology_puts_the_standby_below_the_primary(three):
    _, _, rows = table_of(of(three["w1"], "topology").stdout)
    names = [row[0] for row in rows]
    assert names[0] == three.primary().name
    assert set(names[1:]) == {f"+ {three.standbys()[0].name}", "+ w1"}


@when_settled
def test_members_and_version_and_configuration(three):
    primary = three.primary()
    _, heads, rows = table_of(of(primary, "members").stdout)
    assert heads == ["Member", "Role", "State", "Host", "API URL"]
    assert {row[0]: row[4] for row in rows} == {
        n.name: f"http://127.0.0.1:{n.api_port}/patroni" for n in three.nodes.values()
    }

    r = of(primary, "version")
    major, minor = divmod(primary.status()["server_version"], 10000)
    assert re.search(rf"^vechectl version \S+\n{primary.name}: Veche \S+", r.stdout)
    assert r.stdout.endswith(f" PostgreSQL {major}.{minor}\n")
    assert vechectl("version").returncode == DONE

    text = of(three["w1"], "show-config").stdout
    assert re.search(r"^ttl: 3$", text, re.MULTILINE)
    assert json.loads(of(three["w1"], "show-config", "-f", "json").stdout)["ttl"] == 3


def test_the_configuration_is_edited(three):
    node = three["w1"]
    before = node.http("/config").json
    r = of(node, "edit-config", "-s", "max_timelines_history=9", "-p", "x.y=3", "--force")
    assert r.returncode == DONE and r.stdout.endswith("Configuration changed\n"), r
    assert "\n+max_timelines_history: 9\n" in r.stdout and "\n+    x.y: 3\n" in r.stdout
    after = node.http("/config").json
    assert after["max_timelines_history"] == 9 and after["postgresql"]["parameters"]["x.y"] == 3
    assert of(node, "edit-config", "-s", "max_timelines_history=9").stdout == "Not changed\n"

    r = of(node, "edit-config", "-s", "max_timelines_history=8")
    assert r.returncode == FAILED and "Use --force option to apply changes" in r.stderr
    assert "\n-max_timelines_history: 9\n+max_timelines_history: 8\n" in r.stdout
    for setting, why in (("ttl=soon", "ttl"), ("synchronous_mode=maybe", "synchronous_mode")):
        r = of(node, "edit-config", "-s", setting, "--force")
        assert r.returncode == REFUSED and why in r.stderr, r
    assert node.http("/config").json == after

    gone = ["-s", "max_timelines_history=null", "-p", "x.y=null"]
    assert of(node, "edit-config", *gone, "--force").returncode == DONE
    if "postgresql" not in before:
        assert of(node, "edit-config", "-s", "postgresql=null", "--force").returncode == DONE
    assert node.http("/config").json == before


def test_an_edit_of_a_version_that_is_not_the_present_one_is_refused(three, tmp_path):
    """While the editor is open someone else changes the same configuration."""
    node = three["w1"]
    before = node.http("/config").json
    other = f"{BUILD}/src/vechectl -c {node.config_path} edit-config -q --force -s"
    script = tmp_path / "editor"
    script.write_text(
        f'#!/bin/sh\n{other} max_timelines_history=7 >&2 && echo "max_timelines_history: 8" >> "$1"\n'
    )
    script.chmod(0o755)
    r = vechectl(
        "-c", str(node.config_path), "edit-config", "--force", EDITOR=str(script)
    )
    assert r.returncode == REFUSED and "someone else" in r.stderr, r
    assert node.http("/config").json == {**before, "max_timelines_history": 7}
    for kept in re.findall(r"What you wrote is in (\S+)", r.stderr):
        os.unlink(kept)
    assert of(node, "edit-config", "-s", "max_timelines_history=null", "--force").returncode == DONE


def test_configuration_and_url_are_found_as_told(three):
    primary = three.primary()
    by_url = vechectl("--url", f"http://127.0.0.1:{primary.api_port}", "list")
    assert by_url.returncode == DONE and primary.name in by_url.stdout
    for variable in ("VECHECTL_CONFIG_FILE", "PATRONICTL_CONFIG_FILE"):
        r = vechectl("list", **{variable: str(primary.config_path)})
        assert r.returncode == DONE, r.stderr


# ---- Exit codes


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["no-such-command"],
        ["list", "--no-such-option"],
        ["list", "-f", "xml"],
        ["list", "-w", "often"],
        ["-c", "/nonexistent/veche.yml", "list"],
        ["switchover", "--scheduled", "tomorrow"],
        ["edit-config", "--force"],
        ["edit-config", "-s", "ttl"],
        ["edit-config", "-s", "=5"],
        ["edit-config", "-s", "a..b=5"],
        ["edit-config", "-s", "a.=5"],
    ],
)
def test_usage_errors_end_with_2(args):
    r = vechectl(*args)
    assert r.returncode == USAGE
    assert r.stderr and not r.stdout


def test_nobody_answers_ends_with_4():
    with Cluster() as c:
        c["pg1"].write_config()
        for args in (["list"], ["switchover", "--force"], ["history"], ["version", "pg1"]):
            r = of(c["pg1"], *args)
            assert r.returncode == UNREACHABLE, (args, r)
            assert "no agent answered" in r.stderr
            assert "veched.sock" in r.stderr and str(c["pg1"].api_port) in r.stderr
    assert vechectl("list").returncode == UNREACHABLE
    assert vechectl("--url", "http://127.0.0.1:1", "list").returncode == UNREACHABLE


def test_what_the_cluster_refuses_ends_with_3(three):
    primary, standby = three.primary(), three.standbys()[0]
    epoch = primary.status()["veche"]["epoch"]
    cases = [
        (["switchover", "--candidate", "nobody"], "does not exist in cluster"),
        (["switchover", "--candidate", "w1"], "does not exist in cluster"),
        (["switchover", "--candidate", primary.name], "already the leader"),
        (["switchover", "--leader", standby.name], "is not the leader of cluster"),
        (["switchover", "--leader", "nobody"], "is not the leader of cluster"),
        (["switchover", "--scheduled", "2001-01-01T12:00Z"], "in the past"),
        (["failover", "--candidate", "nobody"], "does not exist in cluster"),
        (["failover", "--candidate", primary.name], "already the leader"),
    ]
    for args, part in cases:
        r = of(three["w1"], *args, "--force")
        assert r.returncode == REFUSED and part in r.stderr, (args, r)
    r = of(three["w1"], "failover", "--force")
    assert r.returncode == USAGE and "candidate" in r.stderr
    r = of(three["w1"], "switchover", "other-cluster", "--force")
    assert r.returncode == USAGE and "other-cluster" in r.stderr
    assert primary.status()["veche"]["epoch"] == epoch


def test_whatever_is_refused_or_fails_says_so_and_changes_nothing(three):
    """Of each command that has not been refused above: exit code, text, and nothing after it."""
    primary = three.wait_healthy()
    standby = three.standbys()[0]
    agents = [primary, standby, three["w1"]]
    wait(lambda: len({n.http("/config").text for n in agents}) == 1, 30, "one configuration")
    before = primary.http("/config").text, primary.status()["veche"]["epoch"], started(standby)
    sql = ["-U", "postgres", "-d", "postgres"]
    removal = f"{three.scope}\nYes I am aware\n{primary.name}\n"
    for args, code, part, *answers in (
        (["restart", standby.name, "--scheduled", "2001-01-01T12:00Z", "--force"], REFUSED, "in the past"),
        (["restart", standby.name, "--timeout", "0", "--force"], REFUSED, "Timeout should be a positive"),
        (["restart", standby.name, "--pg-version", "10", "--force"], FAILED, "not older than 10.0"),
        (["restart", "nobody", "--force"], USAGE, "nobody is not a member"),
        (["restart", "w1", "--force"], USAGE, "No member with PostgreSQL to restart"),
        (["restart", "-r", "standby-leader", "--any", "--force"], USAGE, "No standby-leader"),
        (["restart", standby.name], FAILED, "Aborted restart", "now\nn\n"),
        (["reload", "nobody", "--force"], USAGE, "nobody is not a member"),
        (["reload"], FAILED, "Aborted reload", "n\n"),
        (["reinit", primary.name, "--force"], USAGE, "No replica among provided members"),
        (["reinit", standby.name], FAILED, "Aborted reinit", "n\n"),
        (["flush", standby.name, "restart", "--force"], DONE, "No scheduled restart for member"),
        (["flush", "switchover"], DONE, "No pending scheduled switchover"),
        (["resume"], FAILED, "Cluster is not paused"),
        (["demote-cluster", "--host", "h", "--port", "5432", "--force"], REFUSED, "not built yet"),
        (["promote-cluster", "--force"], REFUSED, "not built yet"),
        (["remove"], REFUSED, "is running, nothing was removed", removal),
        (["edit-config", "-s", "synchronous_mode=quorum", "--force"], REFUSED, "quorum commit is not"),
        (["edit-config", "-s", "standby_cluster.host=h", "--force"], REFUSED, "standby clusters are not"),
        (["dsn", "-m", "nobody"], USAGE, "nobody is not a member"),
        (["dsn", "-m", "w1"], REFUSED, "w1 has no PostgreSQL"),
        (["store", "nothing"], FAILED, "there is no key nothing"),
        (["show-config", "other"], USAGE, "this is cluster"),
        (["check", "other"], 3, "this is cluster"),
        (["query", *sql, "-c", "select 1/0"], FAILED, "division by zero"),
        (["query", *sql, "-m", standby.name, "-c", "create table t()"], FAILED, "read-only"),
        (["query", *sql, "-m", "w1", "-c", "select 1"], REFUSED, "w1 has no PostgreSQL"),
    ):  # fmt: skip
        r = vechectl(
            "-c", str(three["w1"].config_path), *args, answers="".join(answers), PGPASSWORD="super secret"
        )  # fmt: skip
        assert r.returncode == code and part in r.stdout + r.stderr, (args, r)
    after = primary.http("/config").text, primary.status()["veche"]["epoch"], started(standby)
    assert after == before and "scheduled" not in primary.http("/cluster").text


# ---- Prompts


@pytest.mark.parametrize(
    "answers",
    [
        "",  # End of the input at once.
        "\n",  # and in the middle.
        "\n\n",
        "\n\n\n",
        "\n\n\n\n",  # The preset is no.
        "\n\n\nn\n",
        "\n\nnow\nno\n",
    ],
)
def test_a_switchover_that_is_not_confirmed_ends_with_1(three, answers):
    epoch = three.primary().status()["veche"]["epoch"]
    r = of(three["w1"], "switchover", answers=answers)
    assert r.returncode == FAILED
    assert "Aborting" in r.stderr
    assert three.primary().status()["veche"]["epoch"] == epoch


def test_a_confirmed_switchover_happens(three):
    primary, standby = three.primary(), three.standbys()[0]
    r = of(three["w1"], "switchover", answers=f"{primary.name}\n{standby.name}\nnow\ny\n")
    assert r.returncode == DONE, r.stderr
    assert f"Primary [{primary.name}]: " in r.stdout
    assert f"Candidate ['{standby.name}'] []: " in r.stdout
    assert (
        f"Are you sure you want to switchover cluster {three.scope}, "
        f"demoting current leader {primary.name}? [y/N]" in r.stdout
    )
    assert re.search(rf'\d{{4}}-\d\d-\d\d [\d:.]+ Successfully switched over to "{standby.name}"\n', r.stdout)
    assert three.wait_healthy() is standby

    # By name to a healthy standby: asked for as a failover it is the same.
    r = of(three["w1"], "failover", "--candidate", primary.name, answers="y\n")
    assert r.returncode == DONE, r.stderr
    assert f'Successfully failed over to "{primary.name}"' in r.stdout
    assert three.wait_healthy() is primary


def test_history_names_every_new_primary(three):
    of(three["w1"], "switchover", "--force")
    primary = three.wait_healthy()

    def check():  # The row is proposed after the promotion, and committed later still.
        timeline = primary.status()["timeline"]
        rows = json.loads(of(three["w1"], "history", "-f", "json").stdout)
        assert rows[-1]["TL"] == timeline - 1 >= 1
        assert rows[-1]["New Leader"] == primary.name
        assert rows[-1]["LSN"] > 0 and rows[-1]["Reason"]
        _, heads, drawn = table_of(of(three["w1"], "history").stdout)
        assert heads == ["TL", "LSN", "Reason", "Timestamp", "New Leader"]
        assert len(drawn) == len(rows)

    eventually(check)


# ---- Members that are gone, and orders by name


def test_a_stopped_member_stays_listed(three):
    standby = three.standbys()[0]
    primary = three.primary()
    assert standby.stop() == 0

    def row(node):
        return next(r for r in table_of(of(node, "list").stdout)[2] if r[0] == standby.name)

    for node in (primary, three["w1"]):
        wait(
            lambda n=node: row(n)[2:4] == ["Replica", "stopped"], 30, f"{node.name} to hear of it"
        )
        wait(
            lambda n=node: row(n)[5:] == ["unknown", "", "unknown", ""],  # Its timeline is kept.
            60,
            "what it said last to be forgotten",
        )

    r = of(three["w1"], "reload", standby.name, "--force")
    assert r.returncode == UNREACHABLE and "is not connected to this one" in r.stdout, r
    # The stopped one may have been the Raft leader: the request waits for the next.
    r = of(three["w1"], "switchover", "--candidate", standby.name, "--force")
    still_primary = three.primary() is primary
    standby.start()
    three.wait_healthy()
    assert r.returncode == REFUSED, r
    assert standby.name in r.stderr
    assert still_primary


def order(node, *args):
    """The answer to an order. It may meet a Raft leader that just died, or the time
    between two; then it says that it is to be repeated, and may have happened meanwhile."""

    def answer():
        r = of(node, *args, "--force")
        if r.returncode == FAILED:
            again = re.search("then retry|not know the state", r.stderr)
            return None if again else r
        return r

    return wait(answer, 60, f"an answer to {args}")


def test_failover_to_a_named_candidate_when_the_primary_is_dead(three, report):
    primary, standby = three.primary(), three.standbys()[0]
    primary.kill()
    since = time.monotonic()

    # Asked before anybody noticed.
    r = order(three["w1"], "failover", "--candidate", standby.name)
    assert r.returncode == DONE or "primary already" in r.stderr, r
    assert three.wait_primary(60) is standby
    report(f"failover by name {time.monotonic() - since:.2f} s after SIGKILL of the primary")
    primary.start()
    three.wait_healthy()


def ledger_of(c):
    """Commands that were committed, as the logs tell them."""
    return "\n".join(n.log() for n in c.nodes.values() if n.log_path.exists())


def test_an_order_by_name_passes_the_lag_bound_and_is_on_record(report):
    with Cluster(dcs={"maximum_lag_on_failover": 1024}) as c:
        c.start_and_wait()
        primary, standby = c.primary(), c.standbys()[0]
        primary.sql("create table big (t text)")
        wait(lambda: standby.sql("select * from big") == [], 60, "the table on the standby")
        receivers = [
            p
            for p in processes_of(standby.data_dir)
            if b"walreceiver" in command_line(p)
        ]
        assert len(receivers) == 1
        refusals = ledger_of(c).count("rule=no-candidate")  # While the cluster was made.
        os.kill(receivers[0], signal.SIGSTOP)  # It receives nothing more.
        try:
            primary.sql("insert into big select repeat('x', 500) from generate_series(1, 40000)")

            def lag():
                members = c["w1"].http("/cluster").json["members"]
                found = [m.get("lag") for m in members if m["name"] == standby.name]
                return found[0] if isinstance(found[0], int) and found[0] > 16 << 20 else None

            wait(lag, 60, "the lag to be known")
            primary.kill()
            wait(
                lambda: ledger_of(c).count("rule=no-candidate") > refusals,
                60,
                "a refusal that is on record",
            )
        finally:
            if os.path.exists(f"/proc/{receivers[0]}"):
                os.kill(receivers[0], signal.SIGCONT)
        assert c.primary() is None
        # To any it stays refused: there is no leader to switch from.
        r = order(c["w1"], "switchover")
        assert r.returncode == REFUSED, r
        assert "no leader" in r.stderr or "no healthy primary" in r.stderr, r

        r = order(c["w1"], "failover", "--candidate", standby.name)
        assert r.returncode == DONE or "primary already" in r.stderr, r
        assert c.wait_primary(60) is standby
        missing = 40000 - standby.sql_value("select count(*) from big")
        report(f"failover by name against the lag bound: {missing} rows given up")
        taken = [
            line
            for line in ledger_of(c).splitlines()
            if "Committed" in line and "epoch-take" in line and "failover-by-order" in line
        ]
        assert taken, "the order is not on record"
        assert all("forced" in line for line in taken)


# ---- Orders for members, by way of an agent that is none of them


def started(node):
    return node.status().get("postmaster_start_time")


def in_an_hour():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))


def test_a_member_is_restarted_by_way_of_another_agent(three):
    primary, standby = three.primary(), three.standbys()[0]
    was = started(standby), started(primary)
    r = of(three["w1"], "restart", three.scope, standby.name, "--force", "--timeout", "1min")
    assert r.returncode == DONE, r
    assert r.stdout == f"Success: restart on member {standby.name}\n"
    wait(lambda: started(standby) not in (was[0], None), 60, "the time of its start to be shown")
    assert started(primary) == was[1]
    three.wait_healthy()
    r = of(three["w1"], "restart", standby.name, "--pg-version", "10", "--force")
    assert r.returncode == FAILED and "Failed: restart for member" in r.stdout, r


def test_what_is_scheduled_is_listed_and_flushed(three):
    standby, primary = three.standbys()[0], three.primary()
    r = of(three["w1"], "restart", standby.name, "--scheduled", in_an_hour(), "--force")
    assert r.returncode == DONE and "restart scheduled on member" in r.stdout, r
    wait(lambda: "Scheduled restart" in of(primary, "list").stdout, 60, "the list to show it")
    later = [standby.name, "--scheduled", in_an_hour()]
    r = of(three["w1"], "restart", *later, answers="y\n\n")
    assert r.returncode == REFUSED and "already scheduled" in r.stdout, r
    assert of(three["w1"], "restart", *later, "--force").returncode == DONE
    r = of(three["w1"], "flush", three.scope, standby.name, "restart", "--force")
    assert r.stdout == f"Success: flush scheduled restart for member {standby.name}\n", r
    wait(lambda: "Scheduled restart" not in of(primary, "list").stdout, 60, "it to be gone")

    r = of(three["w1"], "switchover", "--scheduled", in_an_hour(), "--force")
    assert r.returncode == DONE and "Switchover scheduled" in r.stdout, r
    wait(lambda: " Switchover scheduled at: " in of(primary, "list").stdout, 60, "the footer")
    r = of(three["w1"], "flush", "switchover", "--force")
    assert r.returncode == DONE and r.stdout == "Success: scheduled switchover deleted\n", r
    r = of(three["w1"], "flush", "switchover", "--force")
    assert r.returncode == DONE and r.stdout == "No pending scheduled switchover\n", r


def pending(cluster):
    rows = json.loads(of(cluster["w1"], "list", "-f", "json").stdout)
    return sorted(r["Member"] for r in rows if r.get("Pending restart"))


def change_max_connections(cluster, by):
    """The new value, when both members wait for a restart."""
    value = int(cluster.primary().sql_value("show max_connections")) + by
    r = of(cluster["w1"], "edit-config", "-p", f"max_connections={value}", "--force")
    assert r.returncode == DONE, r
    wait(lambda: pending(cluster) == ["pg1", "pg2"], 60, "a restart to be pending on both")
    return str(value)


def expect_in_force(cluster, value):
    wait(lambda: pending(cluster) == [], 60, "nothing to be pending")
    for node in cluster.postgres_nodes:
        assert node.sql_value("show max_connections") == value


def test_a_rolling_restart_brings_a_larger_value_into_force(three):
    primary, standby = three.primary(), three.standbys()[0]
    value = change_max_connections(three, 10)
    r = of(three["w1"], "restart", "--rolling", "--pending", "--force")
    assert r.returncode == DONE, r
    assert f"Order: {standby.name}, {primary.name}\n" in r.stdout
    assert f'Successfully switched over to "{standby.name}"' in r.stdout
    assert three.wait_healthy() is standby
    expect_in_force(three, value)


def test_a_rolling_restart_begins_with_the_primary_where_a_value_shrinks(three):
    primary, standby = three.primary(), three.standbys()[0]
    value = change_max_connections(three, -5)
    r = of(three["w1"], "restart", "--rolling", "--pending", "--force")
    assert r.returncode == DONE, r
    assert f"Order: {primary.name}, {standby.name}\n" in r.stdout
    assert three.wait_healthy() is primary
    expect_in_force(three, value)


def test_a_standby_is_copied_anew_and_waited_for(three):
    primary, standby = three.primary(), three.standbys()[0]
    marker = standby.data_dir / "left-from-before"
    marker.write_text("")
    r = of(three["w1"], "reinit", standby.name, "--force", "--wait")
    assert r.returncode == DONE and f"Reinitialize is completed on: {standby.name}" in r.stdout, r
    assert not marker.exists()
    assert three.wait_healthy() is primary
    r = of(three["w1"], "reinit", primary.name, "--force")
    assert r.returncode == USAGE and "No replica among" in r.stderr


def test_members_are_reloaded_from_one_node_whose_rest_lets_nobody(three):
    """By way of the witness's agent: what is in force, what is wrong in which file, and nothing."""
    primary, standby = three.primary(), three.standbys()[0]
    nodes = (primary, standby)
    before = {node: dict(node.overrides) for node in nodes}
    try:
        for node in nodes:
            password = {"username": "admin", "password": "secret"}
            node.overrides |= {"restapi.authentication": password, "tags": {"rack": "7"}}
            node.write_config()
        r = of(three["w1"], "reload", primary.name, standby.name, "--force")
        assert r.returncode == DONE, r
        for node in nodes:
            assert f"\n{node.name}: in force: " in r.stdout and ", tags\n" in r.stdout, r
            assert node.http("/reload", "POST").status == 401
        standby.overrides |= {"watchdog.mode": "sometimes"}
        standby.write_config()
        r = of(three["w1"], "reload", "--force")
        assert r.returncode == FAILED and f"{primary.name}: no setting has changed\n" in r.stdout, r
        assert f"member {standby.name}, status code=500" in r.stdout, r
        assert "veche.yml:" in r.stdout and "watchdog.mode: not a known value" in r.stdout, r
    finally:
        for node in nodes:
            node.overrides = before[node]
            node.write_config()
        assert of(three["w1"], "reload", "--force").returncode == DONE


def check_is_well(node):
    r = of(node, "check", "--cluster", "--store")
    assert r.returncode == 0 and "VECHE OK" in r.stdout, r


def check_has_every_section(node):
    """Whether the guard may do all that it would like to depends on the machine."""
    r = of(node, "check", "--full", "--root", "/nonexistent")
    for part in ("store: 3 of 3", "cluster: pg", "postgres: max_wal_senders", "agent: w1 runs"):
        assert f"\nOK {part}" in r.stdout and r.returncode in (0, 1), r


def test_query_store_dsn_and_check_of_a_real_cluster(three):
    primary = three.primary()
    r = of(three["w1"], "dsn")
    assert r.stdout == f"host=127.0.0.1 port={primary.pg_port}\n"
    r = of(three["w1"], "store", "leader")
    assert r.stdout.splitlines()[1] == primary.name
    eventually(lambda: check_is_well(three["w1"]))
    eventually(lambda: check_has_every_section(three["w1"]))
    r = of(primary, "show-config", "--origin")
    assert r.returncode == DONE and r.stdout.startswith("before: bootstrap.dcs of "), r
    r = of(primary, "reload", "--force")
    assert r.returncode == DONE and r.stdout.count("Reload request received") == 3, r
    user = vechectl(
        "-c", str(primary.config_path), "query", "-c", "select pg_is_in_recovery() as r, 1 as n",
        "-U", "postgres", "-d", "postgres", "--format", "json",
        PGPASSWORD="super secret",
    )  # fmt: skip
    assert user.returncode == DONE and json.loads(user.stdout) == [{"r": "f", "n": "1"}], user
