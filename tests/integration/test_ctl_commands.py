"""What vechectl does beside its answers (test_ctl_golden.py): where it finds agents and
configurations, what it sends along, what it starts, what it is on a terminal."""

import base64
import contextlib
import fcntl
import json
import os
import pty
import re
import socketserver
import ssl
import subprocess
import threading

import pytest

from ctl_fake import CONFIG, Agent, environment, plain_members, vechectl
from veche import BUILD, ROOT

DONE, FAILED, USAGE, REFUSED, UNREACHABLE = 0, 1, 2, 3, 4


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def get_request(self):
        request, _ = super().get_request()
        return request, ("local", 0)


@contextlib.contextmanager
def socket_of(agent, directory):
    """The agent also answers on its unix socket there."""
    directory.mkdir()
    server = UnixServer(str(directory / "veched.sock"), agent.server.RequestHandlerClass)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def restarting(agent):
    for name in ("pg0", "pg1"):
        agent.replies[f"POST /members/{name}/restart"] = (200, "restarted successfully")
    agent.replies["POST /restart"] = (200, "restarted successfully")


# ---- Where it asks


def test_without_a_configuration_the_agent_of_this_machine_is_asked(tmp_path):
    with Agent() as agent, socket_of(agent, tmp_path / "run"):
        r = vechectl("list", VECHE_RUNTIME_DIR=str(tmp_path / "run"))
        assert r.returncode == DONE and "batman" in r.stdout, r
    r = vechectl("list", VECHE_RUNTIME_DIR=str(tmp_path / "run"))
    assert r.returncode == UNREACHABLE and "veched.sock" in r.stderr


def test_a_member_is_asked_by_its_socket_by_the_agent_here_or_by_rest(tmp_path):
    with Agent() as agent, Agent(relays=False, name="pg1") as other:
        restarting(agent)
        restarting(other)
        agent.member("pg1")["api_url"] = other.url + "/patroni"
        with socket_of(agent, tmp_path / "run"):
            run = {"VECHE_RUNTIME_DIR": str(tmp_path / "run")}
            assert vechectl("restart", "pg0", "--force", **run).returncode == DONE
            assert agent.asked == ["POST /restart {}"]
            assert vechectl("restart", "pg1", "--force", **run).returncode == DONE
            assert agent.asked[1:] == ["POST /members/pg1/restart {}"] and not other.asked
            agent.relays = False
            assert vechectl("restart", "pg1", "--force", **run).returncode == DONE
            assert other.asked == ["POST /restart {}"]
            agent.member("pg1")["api_url"] = "http://127.0.0.1:1/patroni"
            r = vechectl("restart", "pg1", "--force", **run)
            assert r.returncode == UNREACHABLE and "nobody answered" in r.stdout


def test_a_member_that_the_agent_here_can_not_reach_is_asked_itself(tmp_path):
    with Agent() as agent, Agent(relays=False, name="pg1") as other:
        agent.replies["POST /members/pg1/reload"] = (502, "the agent of pg1 is not connected")
        other.replies["POST /reload"] = (202, "reload scheduled; in force: ttl")
        agent.member("pg1")["api_url"] = other.url + "/patroni"
        with socket_of(agent, tmp_path / "run"):
            run = {"VECHE_RUNTIME_DIR": str(tmp_path / "run")}
            r = vechectl("reload", "pg1", "--force", **run)
            assert r.returncode == DONE and "pg1: in force: ttl" in r.stdout, r
            assert other.asked == ["POST /reload {}"]
            agent.member("pg1")["api_url"] = "http://127.0.0.1:1/patroni"
            r = vechectl("reload", "pg1", "--force", **run)
            assert r.returncode == UNREACHABLE and "peer port: the agent of pg1 is not" in r.stdout, r


def test_a_reply_of_another_member_is_not_taken_for_this_ones():
    """An answer without the header, or with another name in it, was passed on to nobody."""
    with Agent() as agent:
        agent.relays = False
        agent.replies["POST /members/pg1/restart"] = (200, "restarted successfully")
        agent.member("pg1")["api_url"] = "http://127.0.0.1:1/patroni"
        r = vechectl("--url", agent.url, "restart", "pg1", "--force")
        assert r.returncode == UNREACHABLE, r


@pytest.mark.parametrize("typed", ["y" * 300 + "\n", "yesterday\n", "\n", ""])
def test_only_yes_is_yes(typed):
    with Agent() as agent:
        r = vechectl("--url", agent.url, "reload", "pg1", answers=typed)
        assert r.returncode == FAILED and "Aborted reload" in r.stderr and not agent.asked, r


def test_what_is_not_written_did_not_happen():
    with Agent() as agent, open("/dev/full", "w", encoding="utf-8") as full:
        argv = [str(BUILD / "src/vechectl"), "--url", agent.url, "list"]
        r = subprocess.run([*argv, "-w", "60"], stdout=full, stderr=subprocess.PIPE, text=True,
                           timeout=30, env=environment(), check=False)  # fmt: skip
        assert r.returncode == FAILED and "could not be written" in r.stderr, r


def test_the_url_of_the_environment_and_a_file_that_is_named():
    with Agent() as agent:
        assert vechectl("dsn", DCS_URL=agent.url).returncode == DONE
        r = vechectl("-c", "/nonexistent.yml", "--url", agent.url, "dsn")
        assert r.returncode == USAGE and "/nonexistent.yml" in r.stderr, r
    assert vechectl("--url", agent.url, "version").returncode == DONE


def test_a_password_that_does_not_fit_is_not_cut_without_a_word(tmp_path):
    config = tmp_path / "c.yml"
    config.write_text("ctl: {authentication: {username: u, password: %s}}\n" % ("x" * 300), encoding="utf-8")
    with Agent() as agent:
        r = vechectl("--url", agent.url, "dsn", VECHE_CTL_PASSWORD="x" * 300)
        assert r.returncode == DONE and "VECHE_CTL_PASSWORD is longer than 255" in r.stderr, r
        r = vechectl("-c", str(config), "--url", agent.url, "dsn")
        assert r.returncode == DONE and "is longer than 255 bytes" in r.stderr, r
        assert "xxx" not in r.stderr


def test_a_password_in_a_url_is_not_shown():
    r = vechectl("--url", "http://admin:hunter2@127.0.0.1:1", "list")
    assert r.returncode == UNREACHABLE and "http://127.0.0.1:1:" in r.stderr, r
    assert "hunter2" not in r.stderr


def test_what_may_have_been_carried_out_is_not_asked_of_another_one():
    with Agent() as here, Agent(name="pg1") as there:
        here.member("pg1")["api_url"] = there.url + "/patroni"
        here.replies["POST /members/pg1/restart"] = (0, "")
        here.replies["POST /switchover"] = (0, "")
        there.replies["POST /restart"] = (200, "restarted successfully")
        r = vechectl("--url", here.url, "restart", "pg1", "--force")
        assert r.returncode == UNREACHABLE and "it may happen" in r.stdout, r
        assert here.asked == ["POST /members/pg1/restart {}"] and not there.asked

        r = vechectl("--url", here.url, "switchover", "--force")
        assert r.returncode == UNREACHABLE and "it may happen" in r.stderr, r


@pytest.mark.parametrize("with_events", [True, False])
def test_a_watched_list_is_drawn_anew_when_something_changes(with_events):
    """At once by the agent's events, else after the time that was given."""
    with Agent(members=plain_members()) as agent:
        agent.events = threading.Event() if with_events else None
        process = subprocess.Popen(
            [str(BUILD / "src/vechectl"), "--url", agent.url, "list", "-f", "tsv", "pg1",
             "-w", "600" if with_events else "0.3"],
            stdout=subprocess.PIPE, text=True, env=environment(),
        )  # fmt: skip
        late = threading.Timer(60, process.kill)
        late.start()
        try:
            lines = [process.stdout.readline() for _ in range(2)]
            assert "streaming" in lines[1]
            assert not with_events or agent.listening.wait(20)
            agent.member("pg1")["state"] = "stopped"
            if with_events:
                agent.events.set()
            while "stopped" not in lines[-1]:
                lines.append(process.stdout.readline())
                assert lines[-1], "vechectl has ended"
        finally:
            late.cancel()
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    "body",
    [
        "", "[]", '{"members": 5}', '{"members": [1, null, {}]}',
        '{"members": [{"name": 5, "role": [], "port": "x", "tags": 7, "lag": "9",'
        ' "pending_restart_reason": [1], "scheduled_restart": 3}], "scope": 4, "veche": []}',
        json.dumps({"members": [{"name": "n" * 300, "role": "x" * 300, "host": "h" * 400,
                                 "port": 2**62, "lag": -(2**62)}] * 300, "scope": "s" * 400}),
    ],
    ids=str.__len__,
)  # fmt: skip
def test_an_answer_that_makes_no_sense_ends_with_a_code_of_ours(body):
    with Agent() as agent:
        agent.replies["GET /cluster"] = (200, body)
        for words in ("list -e", "topology", "switchover --force", "check", "store",
                      "restart --rolling --timeout 1 --force"):  # fmt: skip
            r = vechectl("--url", agent.url, *words.split())
            assert r.returncode in (DONE, FAILED, USAGE, REFUSED, UNREACHABLE), r


# ---- Configurations


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_configurations_are_found_in_order(tmp_path):
    with Agent() as agent:
        address = agent.url.removeprefix("http://")
        good = f"scope: batman\nrestapi:\n  connect_address: {address}\n"
        bad = "restapi:\n  connect_address: 127.0.0.1:1\n"
        patronis = tmp_path / ".config/patroni/patronictl.yaml"
        write(patronis, good)
        home = {"HOME": str(tmp_path), "VECHE_RUNTIME_DIR": str(tmp_path)}
        assert vechectl("list", **home).returncode == DONE
        write(tmp_path / ".config/veche/vechectl.yaml", bad)
        assert vechectl("list", **home).returncode == UNREACHABLE
        for variable in ("VECHECTL_CONFIG_FILE", "PATRONICTL_CONFIG_FILE"):
            assert vechectl("list", **home, **{variable: str(patronis)}).returncode == DONE
        assert vechectl("-c", str(patronis), "list", **home).returncode == DONE
        whole = {**home, "PATRONI_CONFIGURATION": good}
        assert vechectl("list", **whole).returncode == DONE
        assert vechectl("list", **home, PATRONI_RESTAPI_CONNECT_ADDRESS=address).returncode == DONE
        write(patronis, "scope: [\n")
        r = vechectl("-c", str(patronis), "list", **home)
        assert r.returncode == USAGE and f"{patronis}:2:1" in r.stderr


@pytest.mark.parametrize(
    "text, env, user",
    [
        ("ctl:\n  authentication: {username: a, password: b}\n"
         "restapi:\n  authentication: {username: c, password: d}\n", {}, "a:b"),
        ("restapi:\n  authentication: {username: c, password: 123}\n", {}, "c:123"),
        ("ctl: {}\n", {"PATRONI_RESTAPI_USERNAME": "e", "PATRONI_RESTAPI_PASSWORD": "f"}, "e:f"),
        ("ctl:\n  authentication: {username: a, password: b}\n",
         {"VECHE_CTL_USERNAME": "g", "VECHE_CTL_PASSWORD": "h"}, "g:h"),
        ("scope: batman\n", {}, None),
    ],
)  # fmt: skip
def test_credentials_of_ctl_with_those_of_restapi_behind_them(tmp_path, text, env, user):
    with Agent() as agent:
        path = write(tmp_path / "ctl.yml", text)
        assert vechectl("-c", path, "--url", agent.url, "list", **env).returncode == DONE
        sent = agent.headers[0].get("Authorization")
        assert sent == (user and "Basic " + base64.b64encode(user.encode()).decode())


def test_certificates_are_checked_unless_told_otherwise(tmp_path):
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=agent",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    with Agent() as agent:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        agent.server.socket = context.wrap_socket(agent.server.socket, server_side=True)
        url = agent.url.replace("http://", "https://")
        with_ca = write(tmp_path / "ctl.yml", f"ctl:\n  cacert: {cert}\n")
        insecure = write(tmp_path / "insecure.yml", "ctl:\n  insecure: true\n")
        assert vechectl("--url", url, "list").returncode == UNREACHABLE
        assert vechectl("--url", url, "-k", "list").returncode == DONE
        assert vechectl("-c", with_ca, "--url", url, "list").returncode == DONE
        assert vechectl("-c", insecure, "--url", url, "list").returncode == DONE


# ---- edit-config


def editor(tmp_path, script):
    path = tmp_path / "editor"
    path.write_text("#!/bin/sh\n" + script, encoding="utf-8")
    path.chmod(0o755)
    return {"EDITOR": str(path)}


def test_an_editor_changes_the_version_it_was_shown(tmp_path):
    with Agent() as agent:
        agent.replies["PUT /config"] = (200, {})
        sed = editor(tmp_path, "sed -i 's/^ttl: 30/ttl: 40/' \"$1\"; echo \"$1\" >&2")
        r = vechectl("--url", agent.url, "edit-config", "--force", **sed)
        assert r.returncode == DONE and "\n-ttl: 30\n+ttl: 40\n" in r.stdout, r
        assert len(agent.asked) == 1
        sent = json.loads(agent.asked[0].removeprefix("PUT /config "))
        assert sent == {**CONFIG, "ttl": 40}
        assert agent.headers[-1]["If-Match"] == '"7"'
        assert not os.path.exists(r.stderr.strip().splitlines()[-1])

        agent.replies["PUT /config"] = (412, "the configuration is another one now")
        r = vechectl("--url", agent.url, "edit-config", "--force", **sed)
        assert r.returncode == REFUSED and "someone else" in r.stderr
        kept = re.search(r"What you wrote is in (\S+)", r.stderr)[1]
        with open(kept, encoding="utf-8") as text:
            assert "ttl: 40\n" in text.read()
        os.unlink(kept)


@pytest.mark.parametrize(
    "script, code, part",
    [
        ("exit 3", FAILED, "ended with 3"),
        ("echo 'ttl: [' > \"$1\"", FAILED, "not valid YAML"),
        ("echo 'ttl: soon' > \"$1\"", REFUSED, "not a duration"),
        (": > \"$1\"", FAILED, "is empty"),
        ("true", DONE, ""),
    ],
)
def test_an_editor_that_comes_to_nothing_changes_nothing(tmp_path, script, code, part):
    with Agent() as agent:
        r = vechectl("--url", agent.url, "edit-config", "--force", **editor(tmp_path, script))
        assert r.returncode == code and part in r.stderr and not agent.asked, r
        for kept in re.findall(r"What you wrote is in ([^\s;]+)", r.stderr):
            os.unlink(kept)
        assert code != DONE or r.stdout == "Not changed\n"


def test_origin_shows_what_bootstrap_and_store_do_not_share(tmp_path):
    with Agent() as agent:
        same = {k: v for k, v in CONFIG.items() if k != "ttl"}
        path = write(tmp_path / "a.yml", f"bootstrap:\n  dcs: {json.dumps({**same, 'ttl': 20})}\n")
        r = vechectl("-c", path, "--url", agent.url, "show-config", "--origin")
        assert r.returncode == DONE and "\n-ttl: 20\n+ttl: 30\n" in r.stdout, r
        path = write(tmp_path / "b.yml", f"bootstrap:\n  dcs: {json.dumps(CONFIG)}\n")
        r = vechectl("-c", path, "--url", agent.url, "show-config", "--origin")
        assert r.returncode == DONE and r.stdout.endswith("No difference\n"), r


# ---- query


def test_query_is_psql_with_the_formats_of_tables(tmp_path):
    script = (
        '#!/bin/sh\nprintf \'%s\\n\' "$@" "pw=$PGPASSWORD" > "$0.args"\n'
        'printf \'name,"a ""b"""\\npg,1\\n"x, y","2\\n3"\\n\'\n'
    )
    write(tmp_path / "psql", script)
    (tmp_path / "psql").chmod(0o755)
    path = write(tmp_path / "ctl.yml", f"postgresql:\n  bin_dir: {tmp_path}\n")
    with Agent() as agent:

        def query(*args):
            return vechectl("-c", path, "--url", agent.url, "query", *args)

        r = query("-c", "select 1", "-U", "o'x", "-d", "test")
        assert r.returncode == DONE and r.stdout == 'name\ta "b"\npg\t1\nx, y\t2, 3\n', r
        args = (tmp_path / "psql.args").read_text().splitlines()
        assert args[-3:] == ["-c", "select 1", "pw="]
        assert ("host='10.0.0.1' port='5432' dbname='test' user='o\\'x' "
                "application_name='vechectl' connect_timeout='5'") in args  # fmt: skip
        r = query("-f", "x.sql", "-m", "pg2", "--format", "json")
        assert json.loads(r.stdout) == [
            {"name": "pg", 'a "b"': "1"}, {"name": "x, y", 'a "b"': "2\n3"},
        ]  # fmt: skip
        args = (tmp_path / "psql.args").read_text().splitlines()
        assert any(a.startswith("host='10.0.0.3'") for a in args) and "x.sql" in args
        assert query("-c", "x", "--delimiter", "|").stdout.startswith('name|a "b"\n')
        write(tmp_path / "psql", "#!/bin/sh\necho 'ERROR: no' >&2\nexit 1\n")
        assert query("-c", "x").returncode == FAILED
        write(tmp_path / "psql", "#!/bin/sh\nexit 2\n")
        assert query("-c", "x").returncode == UNREACHABLE
        os.unlink(tmp_path / "psql")
        r = vechectl("-c", path, "--url", agent.url, "query", "-c", "x", PATH="/nonexistent")
        assert r.returncode == FAILED and "psql is not installed" in r.stderr


# ---- remove


def test_a_stopped_nodes_raft_directory_is_set_aside(tmp_path):
    raft = tmp_path / "raft"
    raft.mkdir()
    path = write(
        tmp_path / "veche.yml",
        f"scope: batman\nname: pg0\nruntime_dir: {tmp_path}\nraft:\n  data_dir: {raft}\n"
        "restapi:\n  listen: 127.0.0.1:1\n",
    )
    answers = "batman\nYes I am aware\n"
    held = os.open(raft, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    r = vechectl("-c", path, "remove", answers=answers)
    os.close(held)
    assert r.returncode == REFUSED and "in use" in r.stderr and raft.exists()
    assert vechectl("-c", path, "remove", answers="batman\nno\n").returncode == FAILED
    assert raft.exists()
    r = vechectl("-c", path, "remove", answers=answers)
    assert r.returncode == DONE and not raft.exists(), r
    assert [p.name for p in tmp_path.glob("raft.removed-*")]
    assert vechectl("-c", path, "remove", answers=answers).returncode == UNREACHABLE


# ---- check


I3_HAPROXY = """
global
    log /dev/log local0
defaults
    mode tcp
frontend postgres
    bind *:5432
    default_backend nodes
backend nodes
    option httpchk GET /patroni
    default-server inter 3s fall 3 rise 3
    server pg102 10.0.0.21:5432 check port 8008
    server pg103 10.0.0.22:5432 check port 8008
listen stats
    bind *:8404
    stats enable
    stats admin if TRUE
"""

I1_KEEPALIVED = """
global_defs {
    script_user root
}
vrrp_instance one {
    unicast_src_ip 192.168.125.1
    # unicast_peer { 192.168.125.2 }
}
"""


def check_files(tmp_path, haproxy):
    return vechectl("check", "--proxy", "--haproxy", write(tmp_path / "haproxy.cfg", haproxy))


def test_check_finds_the_proxy_that_sends_writes_to_standbys(tmp_path):
    r = check_files(tmp_path, I3_HAPROXY)
    assert r.returncode == 2 and "VECHE CRITICAL" in r.stdout, r
    assert "nodes asks /patroni, which is 200 on every node" in r.stdout
    assert "stats admin if TRUE" in r.stdout and "shutdown-sessions" in r.stdout
    mended = I3_HAPROXY.replace("/patroni", "/master").replace("if TRUE", "if LOCALHOST")
    mended = mended.replace("rise 3", "rise 3 on-marked-down shutdown-sessions")
    r = check_files(tmp_path, mended)
    assert r.returncode == 0, r
    for old, new, code, part in (
        ("GET /master", "", 0, ""),  # "option httpchk" alone asks /.
        ("GET /master", "OPTIONS /health HTTP/1.0", 1, "does not tell"),
        ("GET /master", "GET /mastre", 1, "no agent knows"),
        ("option httpchk GET /master", "", 2, "no option httpchk"),
        ("check port 8008\n    server pg103", "\n    server pg103", 1, "1 servers without"),
        ("option httpchk GET /master",
         "option httpchk\n    http-check send meth GET uri /patroni ver HTTP/1.1", 2, "/patroni"),
    ):  # fmt: skip
        assert old in mended
        r = check_files(tmp_path, mended.replace(old, new))
        assert r.returncode == code and part in r.stdout, (new, r)
    r = vechectl("check", "--proxy", "--haproxy", str(tmp_path / "none.cfg"))
    assert r.returncode == 3 and "can not be read" in r.stdout


@pytest.mark.parametrize("path", sorted(ROOT.glob("deploy/haproxy/*.cfg")), ids=lambda p: p.name)
def test_check_finds_nothing_in_our_own_files(path):
    r = vechectl("check", "--proxy", "--haproxy", str(path))
    assert r.returncode == 0, r


HBA_ALL = ["host all all all scram-sha-256", "host replication all all scram-sha-256"]


@pytest.mark.parametrize(
    "more, lines, missing",
    [
        ("", HBA_ALL, []),
        ("use_unix_socket: true", ["local all all peer", *HBA_ALL], []),
        ("use_unix_socket: true", HBA_ALL, ["local postgres root scram-sha-256"]),
        ("", HBA_ALL[:1], [f"host replication repl 10.0.0.{n}/32 scram-sha-256" for n in (1, 2, 3)]),
        ("", HBA_ALL[1:], ["host postgres root 127.0.0.1/32 scram-sha-256"]),
        ("listen: 10.0.0.1:5432", HBA_ALL[1:], ["host postgres root 10.0.0.1/32 scram-sha-256"]),
        ("listen: '10.0.0.1,127.0.0.1:5432'", ["host all all 127.0.0.0/8 md5", HBA_ALL[1]], []),
        ("", ["hostssl all,postgres root 127.0.0.1 255.255.255.255 md5",
              "host replication repl,other 10.0.0.0/31 md5  # two", "host all,replication all 10.0.0.3/32 md5"],
         ["host replication repl 10.0.0.2/32 scram-sha-256"]),
        ("", ["host all all 127.0.0.1/32 md5", "host replication repl 10.0.0.2/32 reject", HBA_ALL[1]],
         ['refuses replication from pg1 (10.0.0.2) by its line "host replication repl 10.0.0.2/32 reject"']),
        ("", ["host all other all md5", HBA_ALL[1]], ["host postgres root 127.0.0.1/32 scram-sha-256"]),
        ("", ["host app all all md5", HBA_ALL[1]], ["host postgres root 127.0.0.1/32 scram-sha-256"]),
        ("", [], []),  # Not ours: initdb's own file.
    ],
)  # fmt: skip
def test_check_tells_the_line_that_pg_hba_lacks(tmp_path, more, lines, missing):
    text = f"""
postgresql:
  {more}
  authentication:
    superuser: {{username: root}}
    replication: {{username: repl}}
  pg_hba: {json.dumps(lines)}
"""
    path = write(tmp_path / "veche.yml", text)
    with Agent(members=plain_members()) as agent:
        r = vechectl("-c", path, "--url", agent.url, "check", "--postgres")
        told = re.findall(r'^CRITICAL postgres: pg_hba (.*)$', r.stdout, re.MULTILINE)
        assert len(told) == len(missing) and r.returncode == (2 if missing else 0), r
        for one, part in zip(told, missing):
            assert part in one

        # What the store has counts where the file has none.
        agent.config["postgresql"]["pg_hba"] = HBA_ALL[:1]
        path = write(tmp_path / "veche.yml", text.replace(f"pg_hba: {json.dumps(lines)}", ""))
        r = vechectl("-c", path, "--url", agent.url, "check", "--postgres")
        assert "pg_hba has no line for replication from pg1" in r.stdout


def test_check_looks_at_keepalived_and_at_services(tmp_path):
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants"
    write(tmp_path / "etc/keepalived/keepalived.conf", I1_KEEPALIVED)
    with Agent(members=plain_members()) as agent:

        def check(section):
            return vechectl("--url", agent.url, "check", section, "--root", str(tmp_path))

        r = check("--proxy")
        assert r.returncode == 1 and "unicast_peer" in r.stdout and "root" in r.stdout
        assert check("--agent").returncode == 0
        write(wants / "postgresql@17-main.service", "")
        write(wants / "patroni.service", "")
        write(wants / "veched.service", "")
        r = check("--agent")
        assert r.returncode == 1 and "disable --now postgresql@17-main.service" in r.stdout
        assert "patroni.service is enabled" in r.stdout and "veched.service" not in r.stdout
    r = vechectl("--url", "http://127.0.0.1:1", "check")
    assert r.returncode == 2 and r.stdout.startswith("VECHE CRITICAL - no cluster seen")


def test_an_agent_that_hangs_is_one_that_does_not_answer():
    """It takes connections and answers nothing: nobody waits for it for long, and only once."""
    end = threading.Event()

    def hang(_):
        end.wait(120)
        return 0, ""

    with Agent(members=plain_members(), relays=False) as here, Agent(name="pg1") as there:
        for member in here.cluster["members"]:
            member["api_url"] = (there if member["name"] == "pg1" else here).url + "/patroni"
        there.replies["GET /patroni"] = hang
        try:
            r = vechectl("--url", here.url, "check", "--store", "--agent", "--root", "/nonexistent")
        finally:
            end.set()
    assert r.returncode == 1 and r.stdout.count("the agent of pg1 does not answer") == 3, r


# ---- Completion, manual page, terminal


def commands():
    usage = vechectl("--help").stdout
    found = re.findall(r"^  ([a-z][a-z-]+) ", usage.split("Options:")[0], re.MULTILINE)
    assert len(found) > 20
    return found


def test_every_command_explains_itself():
    for command in commands():
        r = vechectl(command, "--help")
        assert r.returncode == DONE and r.stdout.startswith(f"usage: vechectl {command}"), r
        assert "Exit codes" in r.stdout and not r.stderr
    assert vechectl().returncode == USAGE


def complete(script, *words):
    line = (
        f"source {script}; COMP_WORDS=(vechectl {' '.join(words)}); "
        f"COMP_CWORD={len(words)}; _vechectl; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    r = subprocess.run(
        ["bash", "-ec", line], capture_output=True, text=True, timeout=20, check=True
    )
    assert not r.stderr
    return r.stdout.split()


def test_bash_completes_from_the_table(tmp_path):
    script = write(tmp_path / "vechectl.bash", vechectl("completion", "bash").stdout)
    assert set(commands()) <= set(complete(script, "''"))
    assert complete(script, "swi") == ["switchover"]
    assert complete(script, "-c", "x", "list", "-f", "''") == [
        "pretty", "tsv", "json", "yaml", "yml",
    ]  # fmt: skip
    assert "--rolling" in complete(script, "restart", "--r") and complete(
        script, "restart", "--role", "st"
    ) == ["standby-leader", "standby"]
    assert complete(script, "completion", "z") == ["zsh"]
    assert complete(script, "pause", "--w") == ["--wait"]


def test_zsh_completion_and_manual_page_have_every_command():
    zsh = vechectl("completion", "zsh").stdout
    assert zsh.startswith("#compdef vechectl\n")
    for command in commands():
        assert f"        '{command}:" in zsh and f"    {command})\n" in zsh
    man = vechectl("completion", "man").stdout
    for command in commands():
        assert '\n.SS "' + command.replace("-", r"\-") in man
    assert not re.search(r"^\.(?!TH|SH|SS|TP|B)", man, re.MULTILINE)


def on_a_terminal(*args, **env):
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [str(BUILD / "src/vechectl"), *args],
        stdin=follower, stdout=follower, stderr=follower, env=environment(**env),
    )  # fmt: skip
    os.close(follower)
    text = b""
    with contextlib.suppress(OSError):  # The end of a terminal.
        while part := os.read(leader, 4096):
            text += part
            if b"[y/N]: " in part:
                os.write(leader, b"y\n")
    os.close(leader)
    assert process.wait(timeout=20) == DONE, text
    return text.decode()


def test_colours_only_on_a_terminal_and_not_if_none_are_wanted():
    with Agent() as agent:
        agent.replies["PATCH /config"] = (200, {})
        words = ("--url", agent.url, "edit-config", "-s", "ttl=40")
        shown = on_a_terminal(*words, TERM="xterm")
        assert "\033[32m+ttl: 40\033[0m" in shown and "\033[31m-ttl: 30" in shown
        assert "Apply these changes? [y/N]: " in shown and "Configuration changed" in shown
        assert "\033" not in on_a_terminal(*words, TERM="xterm", NO_COLOR="1")
        assert "\033" not in on_a_terminal(*words, TERM="dumb")
        assert "\033" not in vechectl(*words, "--force").stdout


def test_what_takes_longer_than_a_second_is_told():
    with Agent(members=plain_members()) as agent:
        answered = threading.Event()

        def restart(_):
            answered.wait(2.2)  # Nobody sets it: the agent works.
            return 200, "restarted successfully"

        agent.replies["POST /members/pg1/restart"] = restart
        shown = on_a_terminal("--url", agent.url, "restart", "pg1", "--force", TERM="xterm")
        assert "restart of pg1, 1 s" in shown and "Success: restart on member pg1" in shown
        silent = vechectl("--url", agent.url, "restart", "pg2", "--force")
        assert "\r" not in silent.stderr
