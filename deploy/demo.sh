#!/usr/bin/env bash
# A whole Veche cluster on this machine: two PostgreSQL nodes and a witness on
# loopback, each with its own directories and ports.
#
#   deploy/demo.sh              runs until Ctrl-C
#   deploy/demo.sh --failover   also kills the primary's node while rows are
#                               written, and says what clients saw; ends by itself
#
# Installs and builds what is missing. Stops everything it started, and nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."

mode=run
case ${1:-} in
'') ;;
--failover) mode=failover ;;
*) printf 'usage: deploy/demo.sh [--failover]\n' >&2; exit 2 ;;
esac

build=${VECHE_BUILD:-$PWD/build}
dir=''
sleeper=''
writer_pid=''
declare -A agent_pid raft_port api_port pg_port
nodes=(pg1 pg2 witness)

say() { printf '%s\n' "$*"; }
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }

# ---- install and build -------------------------------------------------------

prepare() {
    if ! deploy/install-deps.sh --test >"${TMPDIR:-/tmp}/veche-demo-install.$$" 2>&1; then
        cat "${TMPDIR:-/tmp}/veche-demo-install.$$"
        fail "the packages that are needed could not be installed"
    fi
    rm -f "${TMPDIR:-/tmp}/veche-demo-install.$$"
    if [ ! -e "$build/build.ninja" ]; then
        meson setup "$build" >"$build.setup.log" 2>&1 || { cat "$build.setup.log"; fail "meson setup failed"; }
    fi
    ninja -C "$build" --quiet src/veched src/guard/veche-guard src/vechectl || fail "the build failed"
}

# ---- the cluster -------------------------------------------------------------

free_ports() { # n: that many unused ports
    /usr/bin/python3 - "$1" <<'PY'
import random, socket, sys
found = []
while len(found) < int(sys.argv[1]):
    port = random.randint(20000, 32000)
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            continue
    if port not in found:
        found.append(port)
print(*found)
PY
}

partners_of() { # node
    local other
    for other in "${nodes[@]}"; do
        [ "$other" = "$1" ] || printf '    - 127.0.0.1:%s\n' "${raft_port[$other]}"
    done
}

write_config() { # node
    local node=$1
    {
        cat <<YAML
scope: demo
name: $node
mode: $([ "$node" = witness ] && echo witness || echo postgres)
runtime_dir: $dir/$node/run
raft:
  self_addr: 127.0.0.1:${raft_port[$node]}
  partner_addrs:
$(partners_of "$node")
  data_dir: $dir/$node/raft
  password_file: $dir/secret
restapi:
  listen: 127.0.0.1:${api_port[$node]}
  connect_address: 127.0.0.1:${api_port[$node]}
YAML
        [ "$node" = witness ] || cat <<YAML
bootstrap:
  dcs:
    ttl: 3
    loop_wait: 1
    retry_timeout: 1
    maximum_lag_on_failover: 1048576
  initdb:
    - encoding: UTF8
    - locale: C
    - data-checksums
postgresql:
  listen: 127.0.0.1:${pg_port[$node]}
  connect_address: 127.0.0.1:${pg_port[$node]}
  data_dir: $dir/$node/data
  bin_dir: $bin_dir
  pgpass: $dir/$node/pgpass
  authentication:
    superuser: {username: postgres, password: "$password"}
    replication: {username: replicator, password: "$password"}
    rewind: {username: rewinder, password: "$password"}
  pg_hba:
    - local all all scram-sha-256
    - host all all 127.0.0.1/32 scram-sha-256
    - host replication replicator 127.0.0.1/32 scram-sha-256
  parameters:
    unix_socket_directories: $dir/$node
    shared_buffers: 16MB
YAML
    } >"$dir/$node.yml"
    chmod 600 "$dir/$node.yml"
}

start_agent() { # node
    local node=$1
    setsid "$build/src/veched" "$dir/$node.yml" </dev/null >>"$dir/$node.log" 2>&1 &
    agent_pid[$node]=$!
}

# Pids of PostgreSQL's processes of a node: postgres, at work in its data directory.
postgres_of() { # node
    local entry
    for entry in /proc/[0-9]*; do
        [ "$(readlink "$entry/cwd" 2>/dev/null)" = "$dir/$1/data" ] &&
            [[ $(readlink "$entry/exe" 2>/dev/null) == */postgres ]] && printf '%s\n' "${entry#/proc/}"
    done
    return 0
}

# Of the guard of a node; it outlives its agent.
guards_of() { # node
    local entry words
    for entry in /proc/[0-9]*; do
        words=$({ tr '\0' ' ' <"$entry/cmdline"; } 2>/dev/null) || true
        [[ $words == */veche-guard\ "$dir/$1/run "* ]] && printf '%s\n' "${entry#/proc/}"
    done
    return 0
}

kill_node() { # node: SIGKILL of all its processes
    local pid guards
    guards=$(guards_of "$1")
    # shellcheck disable=SC2086
    kill -STOP "${agent_pid[$1]}" $guards 2>/dev/null || true # No reaction in between.
    while pid=$(postgres_of "$1") && [ -n "$pid" ]; do
        # shellcheck disable=SC2086
        kill -KILL $pid 2>/dev/null || true
    done
    # shellcheck disable=SC2086
    kill -KILL "${agent_pid[$1]}" $guards 2>/dev/null || true
    wait "${agent_pid[$1]}" 2>/dev/null || true
}

stop_all() {
    trap - EXIT INT TERM
    [ -n "$dir" ] || exit "${1:-0}"
    say ""
    say "Stopping."
    [ -z "$writer_pid" ] || kill "$writer_pid" 2>/dev/null || true
    [ -z "$sleeper" ] || kill "$sleeper" 2>/dev/null || true
    local node
    for node in "${!agent_pid[@]}"; do
        kill -TERM "${agent_pid[$node]}" 2>/dev/null || true
    done
    local deadline=$((SECONDS + 20))
    for node in "${!agent_pid[@]}"; do
        while kill -0 "${agent_pid[$node]}" 2>/dev/null && [ $SECONDS -lt $deadline ]; do
            sleep 0.1
        done
    done
    for node in "${!agent_pid[@]}"; do
        kill_node "$node"
    done
    if [ "${1:-0}" = 0 ]; then
        rm -rf "$dir"
    else
        say "Logs are kept in $dir."
    fi
    exit "${1:-0}"
}

http_code() { curl -s -o /dev/null -m 3 -w '%{http_code}' "http://127.0.0.1:${api_port[$1]}$2" || true; }

primary() { # prints the node that is primary, if there is one
    local node
    for node in pg1 pg2; do
        if [ "$(http_code "$node" /primary)" = 200 ]; then
            printf '%s' "$node"
            return
        fi
    done
}

is_streaming() { # node
    curl -s -m 3 "http://127.0.0.1:${api_port[$1]}/patroni" | grep -q '"replication_state": *"streaming"'
}

until_true() { # seconds what command...
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        [ $SECONDS -lt "$deadline" ] || { tail -n 5 "$dir"/*.log; fail "waited in vain for $what"; }
        sleep 0.2
    done
}

a_standby_streams() {
    local p
    p=$(primary)
    [ -n "$p" ] && is_streaming "$([ "$p" = pg1 ] && echo pg2 || echo pg1)"
}

list() { "$build/src/vechectl" -c "$dir/witness.yml" list; }

# ---- the failover ------------------------------------------------------------

conninfo() {
    printf 'host=127.0.0.1,127.0.0.1 port=%s,%s user=postgres dbname=postgres target_session_attrs=read-write' \
        "${pg_port[pg1]}" "${pg_port[pg2]}"
}

# Writes numbered rows until told to stop; then says what it saw. Lines: "ready",
# and at the end "GAP ACKNOWLEDGED MISSING".
writer() {
    exec env PGPASSWORD="$password" /usr/bin/python3 - "$(conninfo) connect_timeout=2" "$dir/writer.stop" <<'PY'
import os, sys, time
import psycopg2

dsn, stop = sys.argv[1:]

def connect():
    c = psycopg2.connect(dsn)
    c.autocommit = True
    return c

connection = connect()
with connection.cursor() as cursor:
    cursor.execute("create table if not exists demo (id bigint primary key, at timestamptz default now())")
acknowledged, times, number = [], [], 0
print("ready", flush=True)
while not os.path.exists(stop):
    number += 1
    try:
        if connection is None:
            connection = connect()
        with connection.cursor() as cursor:
            cursor.execute("insert into demo (id) values (%s)", (number,))
        acknowledged.append(number)
        times.append(time.monotonic())
        time.sleep(0.005)
    except psycopg2.Error:
        if connection is not None:
            connection.close()
        connection = None
        time.sleep(0.01)
if connection is None:
    connection = connect()
with connection.cursor() as cursor:
    cursor.execute("select id from demo")
    there = {row[0] for row in cursor.fetchall()}
gap = max(b - a for a, b in zip(times, times[1:]))
print(f"{gap:.2f} {len(acknowledged)} {len(set(acknowledged) - there)}", flush=True)
PY
}

another_primary() { local p; p=$(primary); [ -n "$p" ] && [ "$p" != "$1" ]; }

failover() {
    local old new standby
    old=$(primary)
    rm -f "$dir/writer.stop"
    writer >"$dir/writer.out" 2>"$dir/writer.err" &
    writer_pid=$!
    until_true 30 "the writer" grep -qs ready "$dir/writer.out"
    sleep 1 # Some rows before the fault, so that there is a gap to measure.
    standby=$([ "$old" = pg1 ] && echo pg2 || echo pg1)
    until_true 30 "the standby" is_streaming "$standby"
    say "Writing rows; killing every process of $old with SIGKILL."
    kill_node "$old"
    until_true 60 "a new primary" another_primary "$old"
    new=$(primary)
    say "$new is primary now."
    sleep 1 # Some rows after the fault.
    touch "$dir/writer.stop"
    wait "$writer_pid" || { cat "$dir/writer.err"; fail "the writer failed"; }
    local gap acknowledged missing
    read -r gap acknowledged missing < <(tail -n 1 "$dir/writer.out")
    say "Write gap: $gap s. Acknowledged rows: $acknowledged, missing: $missing."
    say "Bringing $old back."
    start_agent "$old"
    until_true 120 "$old as a standby" is_streaming "$old"
    list
    say "$old is a standby again."
}

# ---- main --------------------------------------------------------------------

prepare
bin_dir=$(dirname "$(ls /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n 1)")
dir=$(mktemp -d "${TMPDIR:-/tmp}/veche-demo-XXXXXX")
chmod 755 "$dir"
trap 'stop_all $?' EXIT
trap 'stop_all $([ $mode = run ] && echo 0 || echo 130)' INT TERM
password=$(openssl rand -hex 16)
openssl rand -hex 32 >"$dir/secret"
read -r -a ports < <(free_ports 8)
raft_port=([pg1]=${ports[0]} [pg2]=${ports[1]} [witness]=${ports[2]})
api_port=([pg1]=${ports[3]} [pg2]=${ports[4]} [witness]=${ports[5]})
pg_port=([pg1]=${ports[6]} [pg2]=${ports[7]})
chmod 600 "$dir/secret"
for node in "${nodes[@]}"; do
    mkdir "$dir/$node"
    write_config "$node"
    if [ "$(id -u)" = 0 ]; then
        chown postgres: "$dir/$node" # The agents give up root.
    fi
done
say "Starting two PostgreSQL nodes and a witness in $dir."
for node in "${nodes[@]}"; do
    start_agent "$node"
done
until_true 120 "a primary with a streaming standby" a_standby_streams
list
say ""
say "Connect:   PGPASSWORD=$password psql '$(conninfo)'"
say "Look:      $build/src/vechectl -c $dir/witness.yml list"
say "Logs:      $dir/*.log"
if [ $mode = failover ]; then
    failover
    exit 0
fi
say "Stop:      Ctrl-C"
sleep infinity >/dev/null 2>&1 & # A trap runs at once only during wait.
sleeper=$!
wait $sleeper || true
