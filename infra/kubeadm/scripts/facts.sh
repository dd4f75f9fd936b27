#!/usr/bin/env bash
# Print facts about this machine, one `key value` a line, for the preflight. Changes nothing.
# Input: ADDRESS, its private address; PEERS, the private addresses of the other machines.
set -uo pipefail

# shellcheck source=/dev/null
. /etc/os-release
echo "os $ID $VERSION_ID"
echo "architecture $(uname -m)"
echo "hostname $(hostname)"
echo "machine_id $(cat /etc/machine-id)"
echo "clock $(date +%s.%N)"
echo "cpus $(nproc)"
awk '/^MemTotal/ {print "memory_mib", int($2 / 1024)}' /proc/meminfo
df --output=avail -k /var/lib | awk 'NR == 2 {print "disk_free_mib", int($1 / 1024)}'
echo "cgroups $(test -f /sys/fs/cgroup/cgroup.controllers && echo v2 || echo v1)"
echo "init $(test -d /run/systemd/system && echo systemd || echo other)"
ip -oneline -4 address show | grep -q " ${ADDRESS}/" && echo "has_address yes"
# With --non-interactive, sudo prints an error instead of a password prompt.
if error=$(sudo --non-interactive true 2>&1); then echo "sudo yes"; else echo "sudo no ${error//$'\n'/ }"; fi
sudo --non-interactive test -f /etc/kubernetes/kubelet.conf 2>/dev/null && echo "member yes"
ss -Hltn 2>/dev/null | awk '{sub(/.*:/, "", $4); print "listening", $4}' | sort -u
for peer in $PEERS; do
  timeout 5 bash -c "exec 3<>/dev/tcp/$peer/22" 2>/dev/null || echo "unreachable $peer"
done
