"""What reaches the running PostgreSQL: its parameters, restarts, new copies; one cluster for all."""

import signal

import pytest

from veche import Cluster, wait


@pytest.fixture(scope="module")
def pair(request):
    with Cluster() as c:
        c.start_and_wait()
        before = request.session.testsfailed
        yield c
        c.failed = request.session.testsfailed > before


def patch(node, postgresql):
    reply = node.http("/config", "PATCH", {"postgresql": postgresql})
    assert reply.status == 200, reply.text


def set_here(node, **parameters):
    """In the node's own file, then SIGHUP."""
    node.overrides.setdefault("postgresql.parameters", node.config()["postgresql"]["parameters"])
    node.overrides["postgresql.parameters"].update(parameters)
    node.write_config()
    node.process.send_signal(signal.SIGHUP)


def show(node, name):
    return node.sql_value(f"show {name}")


def reasons(node, asked=None):
    """Of a restart that is pending on that node, as it tells or as another one does."""
    if asked is None:
        return node.status().get("pending_restart_reason", {})
    members = asked.http("/cluster").json["members"]
    return next(m for m in members if m["name"] == node.name).get("pending_restart_reason", {})


def test_a_change_takes_effect_everywhere_and_names_what_waits(pair):
    primary, (standby,) = pair.primary(), pair.standbys()
    patch(primary, {"parameters": {"work_mem": "7MB", "max_connections": 60}})
    expected = {"max_connections": {"old_value": "100", "new_value": "60"}}
    for node, other in ((primary, standby), (standby, primary)):
        wait(lambda n=node: show(n, "work_mem") == "7MB", 30, "work_mem to be changed")
        wait(lambda n=node: reasons(n) == expected, 30, "what waits for a restart")
        wait(lambda n=node, o=other: reasons(n, o) == expected, 30, "the other one to tell it")
        assert node.status()["pending_restart"] is True
    patch(primary, {"parameters": {"max_connections": None}})
    for node in (primary, standby):
        wait(lambda n=node: "pending_restart" not in n.status(), 30, "nothing to be pending")


def test_the_nodes_own_file_takes_effect_on_sighup(pair):
    primary, (standby,) = pair.primary(), pair.standbys()
    set_here(standby, work_mem="9MB", shared_buffers="24MB")
    wait(lambda: show(standby, "work_mem") == "9MB", 30, "work_mem to be changed")
    assert show(primary, "work_mem") != "9MB"
    wait(
        lambda: reasons(standby)
        == {"shared_buffers": {"old_value": "16MB", "new_value": "24MB"}},
        30,
        "what waits for a restart",
    )


def test_sections_of_a_role_follow_a_switchover(pair):
    primary, (standby,) = pair.primary(), pair.standbys()
    patch(
        primary,
        {
            "parameters_primary": {"log_min_duration_statement": "1234"},
            "parameters_replica": {"log_min_duration_statement": "4321"},
        },
    )
    wait(lambda: show(primary, "log_min_duration_statement") == "1234ms", 30, "the primary's")
    wait(lambda: show(standby, "log_min_duration_statement") == "4321ms", 30, "the standby's")
    primary.ctl("switchover", "--leader", primary.name, "--candidate", standby.name, "--force")
    wait(lambda: show(standby, "log_min_duration_statement") == "1234ms", 30, "the new primary's")
    wait(lambda: show(primary, "log_min_duration_statement") == "4321ms", 60, "the new standby's")
