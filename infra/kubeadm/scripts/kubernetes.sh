#!/usr/bin/env bash
# Install kubeadm, kubelet, kubectl and the CNI plugins in one version, and hold that version. Safe to run again.
# Input: VERSION, as in 1.34.4; FROM, `upstream` (pkgs.k8s.io) or the registry's host with its project; PACKAGE_SET:
# `node` installs all of them on a machine that is not a node; an upgrade installs `kubeadm`, and on the drained node
# `kubelet`, with newer packages of containerd and runc.
# On standard input, for a registry: its credentials as user:password in Base64, then its CA in PEM format.
set -euo pipefail

read -r credentials || true
authority=$(cat)

case $PACKAGE_SET in
  node)
    if [ -f /etc/kubernetes/kubelet.conf ]; then
      echo "kubernetes: the machine is a node of version $(kubelet --version | cut -d' ' -f2); step ready upgrades it"
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
  case $PACKAGE_SET in
    kubelet) kubelet --version | cut -d' ' -f2 ;;
    *) kubeadm version --output short ;;
  esac
}
if [ "$(installed 2>/dev/null)" = "v$VERSION" ] && [ -x /opt/cni/bin/loopback ]; then
  echo "kubernetes: ${packages[*]} v$VERSION are installed"
  exit
fi

from_upstream() {
  export DEBIAN_FRONTEND=noninteractive
  local site="https://pkgs.k8s.io/core:/stable:/v${VERSION%.*}/deb/"
  install -d -m 755 /etc/apt/keyrings
  curl --fail --silent --show-error --location --retry 3 --output /etc/apt/keyrings/kubernetes.asc "${site}Release.key"
  echo "deb [signed-by=/etc/apt/keyrings/kubernetes.asc] $site /" >/etc/apt/sources.list.d/kubernetes.list
  apt-get -o DPkg::Lock::Timeout=300 update -qq
  local package pinned=()
  for package in "${packages[@]}"; do
    if [ "$package" = kubernetes-cni ]; then pinned+=("$package"); else pinned+=("$package=$VERSION-*"); fi
  done
  apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-remove --allow-change-held-packages "${pinned[@]}" >/dev/null
  apt-mark hold "${packages[@]}" >/dev/null
}

from_registry() {
  local host=${FROM%%/*} url layer
  local project=${FROM#"$host"}
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  # In a file that only root can read, because arguments show in the process list.
  (
    umask 077
    printf '%s\n' "$authority" >"$work/ca.crt"
    printf 'fail\nsilent\nshow-error\nretry = 3\nheader = "Authorization: Basic %s"\n' "$credentials" >"$work/curl"
    if [ -n "$authority" ]; then printf 'cacert = "%s"\n' "$work/ca.crt" >>"$work/curl"; fi
  )
  url="https://$host/v2$project/mlplatform.internal/node"
  curl --config "$work/curl" --header 'Accept: application/vnd.oci.image.manifest.v1+json' \
    --output "$work/manifest" "$url/manifests/v$VERSION" || {
    echo "$FROM has no mlplatform.internal/node:v$VERSION: push the bundle of this version to it" >&2
    return 1
  }
  layer=$(tr -d ' \n' <"$work/manifest" | grep -o '"layers":\[.*' | grep -o 'sha256:[0-9a-f]\{64\}' | head -1)
  curl --config "$work/curl" --location --output "$work/layer" "$url/blobs/$layer"
  echo "${layer#sha256:}  $work/layer" | sha256sum --check --quiet
  mkdir "$work/root"
  tar --extract --gzip --file "$work/layer" --directory "$work/root" "${files[@]}"
  # A running program cannot be overwritten, so its file is replaced.
  cp --recursive --remove-destination "$work/root/." /
  if [ "$PACKAGE_SET" = node ]; then write_units; fi
}

# Write the units of upstream's packages.
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

runtime_versions() { dpkg-query -W -f '${Package} ${Version} ' containerd runc; }

# Update containerd and runc from the distribution. Without a package source, they stay as they are.
update_runtime() {
  export DEBIAN_FRONTEND=noninteractive
  local before options=(-qq -o DPkg::Lock::Timeout=300 -o Acquire::http::Timeout=20 -o Acquire::Retries=1)
  before=$(runtime_versions)
  if ! timeout 120 apt-get "${options[@]}" update >/dev/null ||
    ! apt-get "${options[@]}" -o Dpkg::Options::=--force-confold install -y --no-remove --only-upgrade \
      --allow-change-held-packages containerd runc >/dev/null; then
    echo "containerd: no newer package could be installed; it stays at $before" >&2
  elif [ "$(runtime_versions)" != "$before" ]; then
    systemctl restart containerd
    echo "containerd: updated to $(runtime_versions)"
  fi
  apt-mark hold containerd runc >/dev/null
}

# Before the kubelet, so that an upgrade that is killed here begins again.
if [ "$PACKAGE_SET" = kubelet ]; then update_runtime; fi
if [ "$FROM" = upstream ]; then from_upstream; else from_registry; fi
case $PACKAGE_SET in
  node) systemctl enable --quiet kubelet ;;
  kubelet) systemctl daemon-reload && systemctl restart kubelet ;;
esac
[ "$(installed)" = "v$VERSION" ]
echo "kubernetes: ${packages[*]} v$VERSION installed"
