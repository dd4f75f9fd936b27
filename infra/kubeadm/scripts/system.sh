#!/usr/bin/env bash
# What a node takes from its distribution: the container runtime's packages, kernel modules and settings, no swap.
# Safe to run again.
set -euo pipefail

packages=(ca-certificates conntrack containerd curl ebtables ethtool ipset iptables openssl runc socat util-linux)
missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  export DEBIAN_FRONTEND=noninteractive
  # A machine that was just made may still be at its own first updates.
  apt-get -o DPkg::Lock::Timeout=300 update -qq
  apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
apt-mark hold containerd runc >/dev/null
echo "packages: ${#packages[@]} there, ${#missing[@]} of them new"

# kubelet limits memory by pod, which swapping would undermine.
if [ "$(wc -l </proc/swaps)" -gt 1 ] && ! systemd-detect-virt --container --quiet; then
  swapoff --all
  sed -i.before-kubernetes -E 's/^([^#].*\sswap\s.*)$/# \1/' /etc/fstab
  echo "swap: off, and out of /etc/fstab"
fi

modules=(overlay br_netfilter nf_conntrack)
printf '%s\n' "${modules[@]}" >/etc/modules-load.d/kubernetes.conf
for module in "${modules[@]}"; do
  # In a container, and in kernels that have it built in, there is nothing to load.
  modprobe --quiet "$module" || true
done

# A connection that nobody answers is remembered with the pod that a Service had chosen for it. For the usual two minutes,
# who tries again from the same port, a minute after that pod's machine died, would be sent to it again. This is shorter
# than the pause before the second repetition of a SYN, which may choose another pod then (RFC 6298: after 1 s and 2 s).
cat >/etc/sysctl.d/90-kubernetes.conf <<'SETTINGS'
net.ipv4.ip_forward = 1
net.bridge.bridge-nf-call-iptables = 1
net.bridge.bridge-nf-call-ip6tables = 1
net.netfilter.nf_conntrack_tcp_timeout_syn_sent = 2
SETTINGS
sysctl --quiet --ignore --load /etc/sysctl.d/90-kubernetes.conf
[ "$(cat /proc/sys/net/ipv4/ip_forward)" = 1 ]
echo "kernel: forwards packets"
