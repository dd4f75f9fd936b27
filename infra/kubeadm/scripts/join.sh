#!/usr/bin/env bash
# kubeadm join. Safe to run again: a node is left as it is, one that was begun is begun anew.
# In: NODE, ADDRESS, ENDPOINT. On standard input: a bootstrap token, and the hash of the cluster's CA.
set -euo pipefail

read -r token authority

if [ -f /etc/kubernetes/kubelet.conf ] || [ -d /etc/kubernetes/manifests ] && [ -n "$(ls -A /etc/kubernetes/manifests)" ]; then
  kubeadm reset --force >/dev/null 2>&1
fi
ignored=()
if systemd-detect-virt --container --quiet; then
  ignored=("--ignore-preflight-errors=Swap,SystemVerification,FileContent--proc-sys-net-bridge-bridge-nf-call-iptables")
fi
# From a pipe: nothing of the token gets to the disk or into the list of processes.
kubeadm join --config /dev/stdin "${ignored[@]}" <<CONFIGURATION
apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
discovery:
  bootstrapToken:
    apiServerEndpoint: $ENDPOINT
    token: $token
    caCertHashes: ["$authority"]
nodeRegistration:
  name: $NODE
  criSocket: unix:///run/containerd/containerd.sock
  kubeletExtraArgs:
    - name: node-ip
      value: $ADDRESS
CONFIGURATION
