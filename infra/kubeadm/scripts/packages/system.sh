#!/usr/bin/env bash
# Prepare the distribution: install packages, load kernel modules, set sysctls, disable swap.
# Safe to run again.
# Input: MORE_PACKAGES, further packages, or unset.
set -euo pipefail

packages=(ca-certificates conntrack curl ebtables ethtool ipset iptables openssl socat util-linux)
if [ -n "${MORE_PACKAGES-}" ]; then packages+=("$MORE_PACKAGES"); fi
missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  export DEBIAN_FRONTEND=noninteractive
  # A new machine may still run its own first updates and hold the lock.
  apt-get -o DPkg::Lock::Timeout=300 update -qq
  apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-remove --no-install-recommends "${missing[@]}" >/dev/null
fi
echo "packages: ${#packages[@]} installed, ${#missing[@]} of them new"

# Swap would undermine kubelet's memory limits of pods.
if ! systemd-detect-virt --container --quiet; then
  if grep -qE '^[^#].*\sswap\s' /etc/fstab; then
    sed -i.before-kubernetes -E 's/^([^#].*\sswap\s.*)$/# \1/' /etc/fstab
    echo "swap: entries of /etc/fstab are comments now; the old file is /etc/fstab.before-kubernetes"
  fi
  # These units turn swap on again at the next start: of zram-generator, zram-tools, dphys-swapfile and swapspace, and
  # the swap units that an administrator or systemd's search for partitions added.
  {
    systemctl list-unit-files --no-legend --no-pager --type=swap | awk '{print $1}'
    systemctl list-units --all --plain --no-legend --no-pager --type=swap | awk '{print $1}'
    for unit in zramswap.service zram-config.service dphys-swapfile.service swapspace.service; do
      if systemctl cat "$unit" >/dev/null 2>&1; then echo "$unit"; fi
    done
  } | sort -u | while read -r unit; do
    case $(systemctl is-enabled "$unit" 2>/dev/null) in masked | disabled) continue ;; esac
    # A generated unit can only be masked, and one in /etc/systemd/system can only be disabled.
    systemctl disable --now --quiet "$unit" 2>/dev/null || systemctl stop "$unit" || true
    systemctl mask --quiet "$unit" 2>/dev/null || [ -f "/etc/systemd/system/$unit" ]
    echo "swap: $unit is off, also after a restart"
  done
  if [ "$(wc -l </proc/swaps)" -gt 1 ]; then
    swapoff --all
    echo "swap: off"
  fi
fi

modules=(overlay br_netfilter nf_conntrack)
printf '%s\n' "${modules[@]}" >/etc/modules-load.d/kubernetes.conf
for module in "${modules[@]}"; do
  # Loading fails in containers and for modules that are built into the kernel; neither needs it.
  modprobe --quiet "$module" || true
done

# Connection tracking keeps the pod that a Service chose for a connection, even if that pod never responds. With the
# default of two minutes, retries from the same port reach the pod of a dead machine again. Each SYN renews the time, and
# Linux sends the first SYNs one second apart, so only 1 s lets the next SYN reach another pod.
cat >/etc/sysctl.d/90-kubernetes.conf <<'SETTINGS'
net.ipv4.ip_forward = 1
net.bridge.bridge-nf-call-iptables = 1
net.bridge.bridge-nf-call-ip6tables = 1
net.netfilter.nf_conntrack_tcp_timeout_syn_sent = 1
SETTINGS
sysctl --quiet --ignore --load /etc/sysctl.d/90-kubernetes.conf
[ "$(cat /proc/sys/net/ipv4/ip_forward)" = 1 ]
echo "kernel: IP forwarding is on"
