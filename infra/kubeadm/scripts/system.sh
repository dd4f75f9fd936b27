#!/usr/bin/env bash
# Prepare the distribution: install packages of the container runtime, load kernel modules, set sysctls, disable swap.
# Safe to run again.
set -euo pipefail

packages=(ca-certificates conntrack containerd curl ebtables ethtool ipset iptables openssl runc socat util-linux)
missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  export DEBIAN_FRONTEND=noninteractive
  # A new machine may still run its own first updates and hold the lock.
  apt-get -o DPkg::Lock::Timeout=300 update -qq
  apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
apt-mark hold containerd runc >/dev/null
echo "packages: ${#packages[@]} installed, ${#missing[@]} of them new"

# Swap would undermine kubelet's memory limits of pods.
if [ "$(wc -l </proc/swaps)" -gt 1 ] && ! systemd-detect-virt --container --quiet; then
  swapoff --all
  sed -i.before-kubernetes -E 's/^([^#].*\sswap\s.*)$/# \1/' /etc/fstab
  echo "swap: off, also in /etc/fstab"
fi

modules=(overlay br_netfilter nf_conntrack)
printf '%s\n' "${modules[@]}" >/etc/modules-load.d/kubernetes.conf
for module in "${modules[@]}"; do
  # Loading fails in containers and for modules that are built into the kernel; neither needs it.
  modprobe --quiet "$module" || true
done

# Connection tracking keeps the pod that a Service chose for a connection, even if that pod never responds. With the
# default of two minutes, retries from the same port reach the pod of a dead machine again. 2 s is shorter than the
# pause before the second SYN retry (RFC 6298: 1 s, then 2 s), so that retry may reach another pod.
cat >/etc/sysctl.d/90-kubernetes.conf <<'SETTINGS'
net.ipv4.ip_forward = 1
net.bridge.bridge-nf-call-iptables = 1
net.bridge.bridge-nf-call-ip6tables = 1
net.netfilter.nf_conntrack_tcp_timeout_syn_sent = 2
SETTINGS
sysctl --quiet --ignore --load /etc/sysctl.d/90-kubernetes.conf
[ "$(cat /proc/sys/net/ipv4/ip_forward)" = 1 ]
echo "kernel: IP forwarding is on"
