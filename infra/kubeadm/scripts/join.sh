#!/usr/bin/env bash
# Run kubeadm join, after a reset if an earlier join did not finish. `infra.kubeadm.join` does not run it on nodes.
# Input: NODE, ADDRESS, ENDPOINT. On standard input: a bootstrap token, and the hash of the cluster's CA.
set -euo pipefail

read -r token ca_hash

if kubeadm_began /etc/kubernetes/pki/ca.crt; then
  echo "join: an earlier kubeadm join did not finish; resetting"
  kubeadm_reset
fi
mapfile -t ignored < <(option_for_checks)
# From a pipe, so the token is neither on the disk nor in the process list.
kubeadm join --config /dev/stdin "${ignored[@]}" <<<"$(join_configuration "$ENDPOINT" "$token" "$ca_hash")"
