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
cat_as_root() { sudo --non-interactive cat "$1" 2>/dev/null; }
if [ -f /etc/mlplatform/owner ]; then echo "owner $(cat /etc/mlplatform/owner)"; fi
if sudo --non-interactive test -f /etc/kubernetes/kubelet.conf 2>/dev/null; then
  echo "member /etc/kubernetes/kubelet.conf names $(cat_as_root /etc/kubernetes/kubelet.conf | awk '$1 == "server:" {print $2}')"
elif [ -n "$(sudo --non-interactive ls -A /etc/kubernetes/manifests 2>/dev/null)" ]; then
  echo "member /etc/kubernetes/manifests has static pods"
fi

# Programs that share containerd, runc or the pod network with kubeadm.
for package in docker-ce containerd.io moby-engine moby-containerd cri-o; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] && echo "package $package"
done
for service in crio k3s k3s-agent rke2-server rke2-agent k0scontroller k0sworker snap.microk8s.daemon-kubelite; do
  systemctl cat "$service.service" >/dev/null 2>&1 && echo "service $service"
done
# containerd's settings are those of this program, of Debian's package, or another program's.
settings=/etc/containerd/config.toml
if [ -f "$settings" ] && ! cat_as_root "$settings" | head -1 | grep -q '^# Written by mlplatform'; then
  packaged=$(dpkg-query -W -f '${Conffiles}\n' containerd 2>/dev/null | awk -v file="$settings" '$1 == file {print $2}')
  [ "$(cat_as_root "$settings" | md5sum | cut -d' ' -f1)" = "$packaged" ] || echo "containerd_settings $settings"
fi

# Firewalls of this machine that drop what no rule allows.
sudo --non-interactive ufw status 2>/dev/null | grep -q '^Status: active' && echo "firewall ufw"
systemctl is-active --quiet firewalld 2>/dev/null && echo "firewall firewalld"
sudo --non-interactive iptables -S INPUT 2>/dev/null | grep -qE '^-P INPUT (DROP|REJECT)' && echo "firewall iptables"
sudo --non-interactive nft list chains 2>/dev/null | grep -q 'hook input.*policy drop' && echo "firewall nftables"
ss -Hltn 2>/dev/null | awk '{sub(/.*:/, "", $4); print "listening", $4}' | sort -u
for peer in $PEERS; do
  timeout 5 bash -c "exec 3<>/dev/tcp/$peer/22" 2>/dev/null || echo "unreachable $peer"
done
