#!/usr/bin/env bash
# Takes a machine out of whatever cluster it is in. Packages, the volumes in /var/openebs and the audit log in
# /var/log/kubernetes stay. Safe to run again.
set -uo pipefail

if command -v kubeadm >/dev/null; then
  kubeadm reset --force >/dev/null 2>&1
fi
systemctl disable --now --quiet kubelet 2>/dev/null
# What kubeadm reset leaves to its user: the network of pods, and the rules of kube-proxy and the network.
for link in weave vxlan-6784 datapath flannel.1 cni0; do
  ip link delete "$link" 2>/dev/null
done
for program in iptables ip6tables; do
  "$program-save" 2>/dev/null | grep -vE 'KUBE-|WEAVE|FLANNEL|CNI-' | "$program-restore" 2>/dev/null
done
ipset list -name 2>/dev/null | grep -E '^(weave|KUBE)' | xargs -r -n1 ipset destroy 2>/dev/null
rm -rf /etc/kubernetes /etc/cni/net.d /var/lib/weave /var/lib/cni /run/flannel
echo "reset: this is no node any more"
