#!/bin/sh
# Runs a command as in an unprivileged container (LXC): without real-time
# scheduling, memory locking and raised limits, and with cgroups that can only be
# read. Started by root; nothing outside the command's own mounts changes.
#   unprivileged.sh COMMAND...
set -eu
if [ "$1" != --inside ]; then
    exec unshare --mount --propagation slave "$0" --inside "$@"
fi
shift
findmnt -rno TARGET -R /sys/fs/cgroup | while read -r target; do
    mount -o remount,bind,ro "$target"
done
denied=-sys_nice,-ipc_lock,-sys_resource,-sys_admin,-sys_boot,-sys_time,-sys_rawio
exec prlimit --rtprio=0:0 --memlock=0:0 --nice=0:0 -- \
    setpriv --bounding-set "$denied" --inh-caps=-all --ambient-caps=-all -- "$@"
