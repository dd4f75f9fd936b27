#!/usr/bin/env bash
# Functions of the other scripts, which `infra.kubeadm.scripts` puts in front of them.

# Run kubeadm reset. Its output is shown only if it fails. `infra.kubeadm.etcd` removes the member of etcd: kubeadm would
# wait for minutes for a majority of members, which a cluster that ends does not have.
kubeadm_reset() {
  local output
  output=$(kubeadm reset --force --skip-phases=remove-etcd-member 2>&1) || {
    printf 'kubeadm reset failed:\n%s\n' "$(tail -n 20 <<<"$output")" >&2
    return 1
  }
  rm -rf /var/lib/etcd/member
}

# Remove the configuration of keepalived that `control-plane/keepalived.sh` wrote, and release the address.
remove_keepalived() {
  local file=/etc/keepalived/keepalived.conf
  if [ -f "$file" ] && head -1 "$file" | grep -q '^# Written by mlplatform'; then
    systemctl disable --now --quiet keepalived
    rm -f "$file"
  fi
}

# Let load balancers send traffic to this node. kubeadm excludes control planes; without workers, no other node remains.
receive_external_traffic() {
  kubectl --kubeconfig /etc/kubernetes/admin.conf label node "$NODE" node.kubernetes.io/exclude-from-external-load-balancers- >/dev/null
}

# Return 0 if kubeadm init or join began on this machine.
# kubeadm refuses these files, and the port of a kubelet that runs.
kubeadm_began() {
  local file
  for file in /etc/kubernetes/{kubelet.conf,bootstrap-kubelet.conf,manifests/*} /var/lib/kubelet/config.yaml "$@"; do
    if [ -e "$file" ]; then return 0; fi
  done
  return 1
}

# Print the option of kubeadm for checks that fail in a container: it shares swap and the kernel's configuration with its
# host.
option_for_checks() {
  if systemd-detect-virt --container --quiet; then
    echo "--ignore-preflight-errors=Swap,SystemVerification,FileContent--proc-sys-net-bridge-bridge-nf-call-iptables"
  fi
}

# Print the section of a kubeadm configuration that describes this node; a line `taints` may follow.
node_registration() {
  cat <<REGISTRATION
nodeRegistration:
  name: $NODE
  criSocket: unix:///run/containerd/containerd.sock
  kubeletExtraArgs:
    - name: node-ip
      value: $ADDRESS
REGISTRATION
}

# Print the configuration of kubeadm join: API server $1, token $2, hash $3 of the cluster's CA. A line `taints` may follow.
join_configuration() {
  cat <<CONFIGURATION
apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
discovery:
  bootstrapToken:
    apiServerEndpoint: $1
    token: $2
    caCertHashes: ["$3"]
$(node_registration)
CONFIGURATION
}

# Return 0 if the process of the unit $1 runs the program of the same name that is installed.
runs_installed() {
  local pid
  pid=$(systemctl show --property MainPID --value "$1")
  [ "/proc/$pid/exe" -ef "$(command -v "$1")" ]
}

# Download the only layer of mlplatform.internal/$1:$2 from the registry FROM, and extract the paths $4 and later to the
# folder $3/root. On standard input: the registry's credentials as user:password in Base64, then its CA in PEM format.
download_from_registry() {
  local image=$1 tag=$2 work=$3
  local host=${FROM%%/*} credentials authority url layer
  read -r credentials || true
  authority=$(cat)
  url="https://$host/v2${FROM#"$host"}/mlplatform.internal/$image"
  # In a file that only root can read, because arguments show in the process list.
  (
    umask 077
    printf '%s\n' "$authority" >"$work/ca.crt"
    printf 'fail\nsilent\nshow-error\nretry = 3\nheader = "Authorization: Basic %s"\n' "$credentials" >"$work/curl"
    if [ -n "$authority" ]; then printf 'cacert = "%s"\n' "$work/ca.crt" >>"$work/curl"; fi
  )
  curl --config "$work/curl" --header 'Accept: application/vnd.oci.image.manifest.v1+json' \
    --output "$work/manifest" "$url/manifests/$tag" || {
    echo "$FROM has no mlplatform.internal/$image:$tag: push the bundle of this version to it" >&2
    return 1
  }
  layer=$(tr -d ' \n' <"$work/manifest" | grep -o '"layers":\[.*' | grep -o 'sha256:[0-9a-f]\{64\}' | head -1)
  curl --config "$work/curl" --location --output "$work/layer" "$url/blobs/$layer"
  echo "${layer#sha256:}  $work/layer" | sha256sum --check --quiet
  mkdir "$work/root"
  tar --extract --gzip --file "$work/layer" --directory "$work/root" "${@:4}"
}

# Replace the file $1 by standard input, at once.
write_file() {
  cat >"$1.new"
  sync "$1.new"
  mv "$1.new" "$1"
}
