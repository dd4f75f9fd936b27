#!/usr/bin/env bash
# Write a tar archive to standard output: a snapshot of etcd, and the keys without which its Secrets cannot be read.
# Input: NODE, the name of this machine's node. The host name of the machine may be another one.
set -euo pipefail
umask 077

keys=/etc/kubernetes/pki/etcd
# The pod of etcd mounts this folder of the machine.
folder=/var/lib/etcd
snapshot=mlplatform-backup.db
trap 'rm -f "$folder/$snapshot"' EXIT
kubectl --kubeconfig /etc/kubernetes/admin.conf --namespace kube-system exec "etcd-$NODE" -- \
  etcdctl --cacert="$keys/ca.crt" --cert="$keys/peer.crt" --key="$keys/peer.key" snapshot save "$folder/$snapshot" >&2
tar --create --directory "$folder" --transform "s/^$snapshot\$/snapshot.db/" "$snapshot" \
  --directory /etc/kubernetes pki encryption.yaml
