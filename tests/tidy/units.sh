#!/usr/bin/env bash
# The systemd unit is one that systemd takes, without a warning, and holds what the guard
# and an agent's restart rely on. No systemd needs to run. And no document tells to signal
# more of it than the agent.
#   units.sh BUILD_DIRECTORY
set -euo pipefail
root=$(dirname "$0")/../..
unit=$root/deploy/systemd/veched.service
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# Its program need not be installed here.
verify() {
    sed "s|/usr/local/sbin/veched|$1/src/veched|" "$2" >"$dir/veched.service"
    systemd-analyze verify --man=no --recursive-errors=no "$dir/veched.service" 2>&1
}
found=$(verify "$1" "$unit" || true)
[ -z "$found" ] || { printf 'systemd says: %s\n' "$found"; exit 1; }
# It would say something of a setting that it does not know.
sed 's/^OOMPolicy=.*/OOMPolicy=whatever/' "$unit" >"$dir/bad"
(verify "$1" "$dir/bad" || true) | grep -qiE 'OOM ?policy'

status=0
while read -r line; do
    grep -qxF "$line" "$unit" || { echo "the unit lacks $line"; status=1; }
done <<'EOF'
KillMode=process
Delegate=yes
Restart=always
RestartSec=100ms
StartLimitIntervalSec=0
OOMPolicy=continue
OOMScoreAdjust=-900
LimitMEMLOCK=64M
LimitRTPRIO=1
RuntimeDirectoryPreserve=yes
RestartKillSignal=SIGUSR1
TimeoutStopSec=600
RestartPreventExitStatus=64
EOF
# Given twice it adds up.
[ "$(grep -c '^RestartPreventExitStatus=' "$unit")" = 1 ] ||
    { echo "the unit has more than one RestartPreventExitStatus"; status=1; }
# `systemctl kill` alone means every process of the unit: guard and PostgreSQL too.
if grep -rnE 'systemctl kill' "$root/docs" "$root/README.md" "$root/deploy" |
    grep -v 'systemctl kill --kill-whom=main'; then
    echo "systemctl kill without --kill-whom=main"
    status=1
fi
exit $status
