#!/usr/bin/env bash
# Run kubeadm join, after a reset if an earlier join did not finish. `infra.kubeadm.join` does not run it on nodes.
# Input: NODE, ADDRESS, ENDPOINT. On standard input: a bootstrap token, and the hash of the cluster's CA.
set -euo pipefail

read -r token ca_hash

if kubeadm_began /etc/kubernetes/pki/ca.crt; then
  echo "join: an earlier kubeadm join did not finish; resetting"
  kubeadm_reset
fi
ignored=()
# A container shares these with its host: swap, and the kernel's configuration file.
if systemd-detect-virt --container --quiet; then
  ignored=("--ignore-preflight-errors=Swap,SystemVerification,FileContent--proc-sys-net-bridge-bridge-nf-call-iptables")
fi
# From a pipe, so the token is neither on the disk nor in the process list.
kubeadm join --config /dev/stdin "${ignored[@]}" <<CONFIGURATION
apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
discovery:
  bootstrapToken:
    apiServerEndpoint: $ENDPOINT
    token: $token
    caCertHashes: ["$ca_hash"]
nodeRegistration:
  name: $NODE
  criSocket: unix:///run/containerd/containerd.sock
  kubeletExtraArgs:
    - name: node-ip
      value: $ADDRESS
CONFIGURATION
