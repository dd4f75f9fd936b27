#!/usr/bin/env bash
# Upload the cluster's certificates, encrypted, for the join of a control plane. Kubernetes deletes them after two hours.
# On standard input: the key, 32 bytes in hexadecimal.
set -euo pipefail

read -r key
# From a pipe, so the key is neither on the disk nor in the process list.
kubeadm init phase upload-certs --upload-certs --skip-certificate-key-print --config /dev/stdin <<CONFIGURATION
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
certificateKey: $key
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: $(kubeadm version --output short)
CONFIGURATION
