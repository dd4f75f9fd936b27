#!/usr/bin/env bash
# Run kubeadm join for a control plane, after a reset if an earlier join did not finish. `infra.kubeadm.join` does not run
# it on control planes of the cluster.
# Input: those of configuration.sh. TAINTED as in init.sh. DISCOVERY, the API server that knows the token.
# On standard input: a line with a bootstrap token, the hash of the cluster's CA and the key of its certificates; then the
# encryption keys of Secrets.
set -euo pipefail
umask 077

read -r token ca_hash key
encryption=$(cat)

ready=/etc/kubernetes/.control-plane-ready
if kubeadm_began "$ready" /etc/kubernetes/pki/ca.crt; then
  echo "join: an earlier kubeadm join did not finish; resetting"
  kubeadm_reset
fi
rm -f "$ready"
install -d -m 755 /etc/kubernetes
printf '%s\n' "$encryption" >/etc/kubernetes/encryption.yaml
write_policies >/dev/null
install -d -m 700 /var/log/kubernetes

mapfile -t ignored < <(option_for_checks)
# From a pipe, so token and key are neither on the disk nor in the process list.
kubeadm join --config /dev/stdin "${ignored[@]}" <<CONFIGURATION
$(join_configuration "$DISCOVERY" "$token" "$ca_hash")
$([ "$TAINTED" = true ] || echo "  taints: []")
controlPlane:
  localAPIEndpoint:
    advertiseAddress: $ADDRESS
  certificateKey: $key
CONFIGURATION
if [ "$TAINTED" = false ]; then receive_external_traffic; fi
touch "$ready"
echo "control plane: $NODE has joined at $ADDRESS:6443"
