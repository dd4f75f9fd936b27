#!/usr/bin/env bash
# Run kubeadm init, with an audit log and Secrets that are encrypted at rest. Safe to run again: a finished control plane
# stays unchanged, an unfinished one is reset first.
# Input: those of configuration.sh. TAINTED: true if the cluster has workers for the pods.
set -euo pipefail
umask 077

export KUBECONFIG=/etc/kubernetes/admin.conf
ready=/etc/kubernetes/.control-plane-ready
if [ -f "$ready" ]; then
  echo "control plane: $NODE was initialized before"
  exit
fi
if [ -f /etc/mlplatform/cluster-exists ]; then
  echo "control plane: other control planes have the cluster; step join adds $NODE"
  exit
fi
if kubeadm_began; then
  echo "control plane: an earlier kubeadm init did not finish; resetting"
  kubeadm_reset
fi

# Control planes alone have the encryption keys of Secrets.
if [ ! -f /etc/kubernetes/encryption.yaml ]; then
  install -d -m 755 /etc/kubernetes
  cat >/etc/kubernetes/encryption.yaml <<KEYS
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - secretbox:
          keys:
            - name: first
              secret: $(head -c 32 /dev/urandom | base64)
      - identity: {}
KEYS
fi
install -d -m 700 /var/log/kubernetes

configuration=$(mktemp)
trap 'rm -f "$configuration"' EXIT
policies=$(write_policies)
kubeadm_configuration "$policies" >"$configuration"

mapfile -t ignored < <(option_for_checks)
kubeadm init --config "$configuration" --skip-token-print --skip-certificate-key-print "${ignored[@]}"

# Each join creates its own token. The default token of kubeadm would let its readers join for a day.
tokens=$(kubeadm token list --output jsonpath='{.token}{"\n"}')
for token in $tokens; do
  kubeadm token delete "$token" >/dev/null
done
if [ "$TAINTED" = false ]; then receive_external_traffic; fi
touch "$ready"
echo "control plane: $NODE runs v$VERSION at $ADDRESS:6443"
