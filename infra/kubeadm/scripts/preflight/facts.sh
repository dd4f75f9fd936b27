#!/usr/bin/env bash
# Print facts about this machine, one `key value` a line, for the preflight. Changes nothing.
# Input: ADDRESS, its private address; PEERS, the private addresses of the other machines; VIRTUAL_ADDRESS, the address
# that the API server is to have, or unset.
# Without pipefail: `grep -q` ends at its match, and the program before it then fails with SIGPIPE.
set -u

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
if [ -n "${VIRTUAL_ADDRESS-}" ]; then
  # A machine that has the address responds with its hardware address, whatever its firewall drops.
  sudo --non-interactive ip neighbour flush to "$VIRTUAL_ADDRESS" 2>/dev/null
  timeout 3 bash -c "exec 3<>/dev/tcp/$VIRTUAL_ADDRESS/6443" 2>/dev/null
  if ip -oneline -4 address show | grep -q " ${VIRTUAL_ADDRESS}/"; then
    echo "virtual_address own"
  elif ip neighbour show to "$VIRTUAL_ADDRESS" | grep -q lladdr; then
    echo "virtual_address used"
  else
    echo "virtual_address free"
  fi
fi
if [ -f /etc/mlplatform/owner ]; then echo "owner $(cat /etc/mlplatform/owner)"; fi

# Programs that share containerd, runc or the pod network with kubeadm.
for package in docker-ce containerd.io moby-engine moby-containerd cri-o; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] && echo "package $package"
done
for service in crio k3s k3s-agent rke2-server rke2-agent k0scontroller k0sworker snap.microk8s.daemon-kubelite; do
  systemctl cat "$service.service" >/dev/null 2>&1 && echo "service $service"
done

# One call for all: sudo waits for DNS, each time, if the host name is unknown there.
# With --non-interactive, sudo prints an error instead of a password prompt.
if output=$(
  sudo --non-interactive bash -s 2>&1 <<'AS_ROOT'
exec 2>/dev/null
kubelet=/etc/kubernetes/kubelet.conf
if [ -f "$kubelet" ]; then
  echo "member $kubelet names $(awk '$1 == "server:" {print $2}' "$kubelet")"
elif [ -n "$(ls -A /etc/kubernetes/manifests 2>/dev/null)" ]; then
  echo "member /etc/kubernetes/manifests has static pods"
fi
# containerd's files are those of this program, of Debian's package, or another program's.
for file in /etc/containerd/config.toml {/etc,/usr/local/lib}/systemd/system/containerd.service; do
  if [ -f "$file" ] && ! head -1 "$file" | grep -q '^# Written by mlplatform'; then
    packaged=$(dpkg-query -W -f '${Conffiles}\n' containerd | awk -v file="$file" '$1 == file {print $2}')
    [ "$(md5sum <"$file" | cut -d' ' -f1)" = "$packaged" ] || echo "containerd_file $file"
  fi
done
for file in /usr/local/bin/containerd /usr/local/sbin/runc; do
  if [ -e "$file" ] && [ ! -e /var/lib/mlplatform/container-runtime ]; then echo "containerd_file $file"; fi
done
# Firewalls of this machine that drop what no rule allows.
ufw status | grep -q '^Status: active' && echo "firewall ufw"
systemctl is-active --quiet firewalld && echo "firewall firewalld"
iptables -S INPUT | grep -qE '^-P INPUT (DROP|REJECT)' && echo "firewall iptables"
nft list chains | grep -q 'hook input.*policy drop' && echo "firewall nftables"
exit 0
AS_ROOT
); then echo "sudo yes${output:+$'\n'$output}"; else echo "sudo no ${output//$'\n'/ }"; fi
# Not the listener of a killed `up`: listen.sh ends it.
ss -Hltnp 2>/dev/null | grep -v '"preflight-ports"' | awk '{sub(/.*:/, "", $4); print "listening", $4}' | sort -u
for peer in $PEERS; do
  timeout 5 bash -c "exec 3<>/dev/tcp/$peer/22" 2>/dev/null || echo "unreachable $peer"
done
