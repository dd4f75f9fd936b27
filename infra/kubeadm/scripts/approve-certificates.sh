#!/usr/bin/env bash
# Approve the requests of kubelets for serving certificates. A node gets a certificate for its own name and its own
# address only. Other requests stay as they are, and Kubernetes deletes them after a day.
# A file in /etc/mlplatform/nodes has the name of a node and contains its address. A timer runs this on the control plane.
set -euo pipefail

export KUBECONFIG=/etc/kubernetes/admin.conf

# Print the reason why the request $3 of the user $2 cannot be approved for the node $1, or nothing.
refusal() {
  local node=$1 user=$2 request=$3 address subject names
  # The name is part of a path.
  if [[ ! $node =~ ^[a-z0-9][a-z0-9.-]*$ ]] || [ "$user" != "system:node:$node" ]; then
    echo "$user is no node"
  elif ! address=$(cat "/etc/mlplatform/nodes/$node" 2>/dev/null); then
    echo "the cluster has no node $node"
  elif ! subject=$(base64 --decode <<<"$request" | openssl req -noout -verify -subject -nameopt RFC2253 2>/dev/null); then
    echo "the request is invalid"
  elif [ "$subject" != "subject=CN=system:node:$node,O=system:nodes" ]; then
    echo "its subject is $subject"
  else
    names=$(base64 --decode <<<"$request" | openssl req -noout -text | sed -n '/Subject Alternative Name/{n;s/^ *//p}')
    if [ "$names" != "DNS:$node, IP Address:$address" ]; then
      echo "it is for $names, and $node has DNS:$node, IP Address:$address"
    fi
  fi
}

# %q quotes a line break, which could make one request look like two.
pending='{{range .items}}{{if not .status.conditions}}{{.metadata.name}} {{.spec.request}} {{printf "%q" .spec.username}}{{"\n"}}{{end}}{{end}}'
kubectl get certificatesigningrequests --field-selector spec.signerName=kubernetes.io/kubelet-serving \
  --output "go-template=$pending" | while read -r name request user; do
  user=${user#\"}
  user=${user%\"}
  node=${user#system:node:}
  reason=$(refusal "$node" "$user" "$request")
  if [ -z "$reason" ]; then
    kubectl certificate approve "$name"
  else
    echo "$name of $user is not approved: $reason" >&2
  fi
done
