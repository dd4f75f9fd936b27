#!/usr/bin/env bash
# Remove all Kubernetes state from a machine. Packages, the volumes in /var/openebs and the audit log in
# /var/log/kubernetes stay. Safe to run again.
set -uo pipefail

if command -v kubeadm >/dev/null; then
  kubeadm reset --force >/dev/null 2>&1
fi
systemctl disable --now --quiet kubelet 2>/dev/null
# kubeadm reset leaves the pod network's links and the firewall rules of kube-proxy and the pod network.
for link in weave vxlan-6784 datapath flannel.1 cni0; do
  ip link delete "$link" 2>/dev/null
done
for program in iptables ip6tables; do
  "$program-save" 2>/dev/null | grep -vE 'KUBE-|WEAVE|FLANNEL|CNI-' | "$program-restore" 2>/dev/null
done
ipset list -name 2>/dev/null | grep -E '^(weave|KUBE)' | xargs -r -n1 ipset destroy 2>/dev/null
rm -rf /etc/kubernetes /etc/cni/net.d /var/lib/weave /var/lib/cni /run/flannel
echo "reset: the machine is not a node"
