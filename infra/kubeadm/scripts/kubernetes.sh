#!/usr/bin/env bash
# kubeadm, kubelet, kubectl and CNI plugins, of one version, held there. Safe to run again.
# In: VERSION, as in 1.34.4; WHAT: `node` is all of them, on a machine that is no node yet; `kubeadm`, then `kubelet` are the
# two halves of an upgrade. FROM: `upstream` (pkgs.k8s.io) or the registry's host with its project. On standard input, for a
# registry: its credentials as user:password in Base64, then its CA in PEM format.
set -euo pipefail

read -r credentials || true
authority=$(cat)

case $WHAT in
  node)
    if [ -f /etc/kubernetes/kubelet.conf ]; then
      echo "kubernetes: a node of version $(kubelet --version | cut -d' ' -f2) already; it is upgraded in its turn"
      exit
    fi
    packages=(kubeadm kubelet kubectl kubernetes-cni)
    files=(usr opt)
    ;;
  kubeadm)
    packages=(kubeadm)
    files=(usr/bin/kubeadm)
    ;;
  kubelet)
    packages=(kubelet kubectl)
    files=(usr/bin/kubelet usr/bin/kubectl)
    ;;
esac
installed() {
  case $WHAT in
    kubelet) kubelet --version | cut -d' ' -f2 ;;
    *) kubeadm version --output short ;;
  esac
}
if [ "$(installed 2>/dev/null)" = "v$VERSION" ] && [ -x /opt/cni/bin/loopback ]; then
  echo "kubernetes: ${packages[*]} v$VERSION there"
  exit
fi

from_upstream() {
  export DEBIAN_FRONTEND=noninteractive
  local site="https://pkgs.k8s.io/core:/stable:/v${VERSION%.*}/deb/"
  install -d -m 755 /etc/apt/keyrings
  curl --fail --silent --show-error --location --retry 3 --output /etc/apt/keyrings/kubernetes.asc "${site}Release.key"
  echo "deb [signed-by=/etc/apt/keyrings/kubernetes.asc] $site /" >/etc/apt/sources.list.d/kubernetes.list
  apt-get -o DPkg::Lock::Timeout=300 update -qq
  local package wanted=()
  for package in "${packages[@]}"; do
    if [ "$package" = kubernetes-cni ]; then wanted+=("$package"); else wanted+=("$package=$VERSION-*"); fi
  done
  apt-get -o DPkg::Lock::Timeout=300 install -y -qq --allow-change-held-packages "${wanted[@]}" >/dev/null
  apt-mark hold "${packages[@]}" >/dev/null
}

from_registry() {
  local host=${FROM%%/*} ask layer
  local project=${FROM#"$host"}
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  # In a file that only root reads: arguments show in the list of processes.
  (
    umask 077
    printf '%s\n' "$authority" >"$work/ca.crt"
    printf 'fail\nsilent\nshow-error\nretry = 3\nheader = "Authorization: Basic %s"\n' "$credentials" >"$work/curl"
    if [ -n "$authority" ]; then printf 'cacert = "%s"\n' "$work/ca.crt" >>"$work/curl"; fi
  )
  ask="https://$host/v2$project/mlplatform.internal/node"
  curl --config "$work/curl" --header 'Accept: application/vnd.oci.image.manifest.v1+json' \
    --output "$work/manifest" "$ask/manifests/v$VERSION" || {
    echo "$FROM does not give mlplatform.internal/node:v$VERSION: is the bundle in it of another version?" >&2
    return 1
  }
  layer=$(tr -d ' \n' <"$work/manifest" | grep -o '"layers":\[.*' | grep -o 'sha256:[0-9a-f]\{64\}' | head -1)
  curl --config "$work/curl" --location --output "$work/layer" "$ask/blobs/$layer"
  echo "${layer#sha256:}  $work/layer" | sha256sum --check --quiet
  mkdir "$work/root"
  tar --extract --gzip --file "$work/layer" --directory "$work/root" "${files[@]}"
  # A program that runs is replaced, not written into.
  cp --recursive --remove-destination "$work/root/." /
  if [ "$WHAT" = node ]; then write_units; fi
}

# As the packages of upstream have them.
write_units() {
  install -d -m 755 /etc/systemd/system/kubelet.service.d /var/lib/kubelet
  cat >/etc/systemd/system/kubelet.service <<'UNIT'
[Unit]
Description=kubelet: The Kubernetes Node Agent
Documentation=https://kubernetes.io/docs/
Wants=network-online.target
After=network-online.target containerd.service

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=5

[Install]
WantedBy=multi-user.target
UNIT
  cat >/etc/systemd/system/kubelet.service.d/10-kubeadm.conf <<'UNIT'
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
UNIT
  systemctl daemon-reload
}

if [ "$FROM" = upstream ]; then from_upstream; else from_registry; fi
case $WHAT in
  node) systemctl enable --quiet kubelet ;;
  kubelet) systemctl daemon-reload && systemctl restart kubelet ;;
esac
[ "$(installed)" = "v$VERSION" ]
echo "kubernetes: ${packages[*]} v$VERSION installed"
