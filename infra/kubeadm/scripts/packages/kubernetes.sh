#!/usr/bin/env bash
# Install kubeadm, kubelet, kubectl and the CNI plugins in one version, and hold that version. Safe to run again.
# Input: VERSION, as in 1.34.4; FROM, `upstream` (pkgs.k8s.io) or the registry's host with its project; PACKAGE_SET:
# `node` installs all of them on a machine that is not a node; an upgrade installs `kubeadm`, and on the drained node
# `kubelet`.
# On standard input, for a registry: its credentials as user:password in Base64, then its CA in PEM format.
set -euo pipefail

login=$(cat)

case $PACKAGE_SET in
  node)
    if [ -f /etc/kubernetes/kubelet.conf ]; then
      echo "kubernetes: the machine is a node of version $(kubelet --version | cut -d' ' -f2); step ready upgrades it"
      exit
    fi
    programs=(kubeadm kubelet kubectl)
    packages=("${programs[@]}" kubernetes-cni)
    files=(usr opt)
    ;;
  kubeadm)
    programs=(kubeadm)
    packages=("${programs[@]}")
    files=(usr/bin/kubeadm)
    ;;
  kubelet)
    programs=(kubelet kubectl)
    packages=("${programs[@]}")
    files=(usr/bin/kubelet usr/bin/kubectl)
    ;;
esac

# Print the version of a program, as in v1.34.4.
version_of() {
  case $1 in
    kubeadm) kubeadm version --output short ;;
    kubelet) kubelet --version | cut -d' ' -f2 ;;
    kubectl) kubectl version --client | sed -n 's/^Client Version: //p' ;;
  esac
}

# Write the state of this set: its version after the last step of an installation, and another text before the first one.
record=/var/lib/mlplatform/kubernetes-$PACKAGE_SET
write_record() {
  install -d -m 755 "${record%/*}"
  write_file "$record" <<<"$1"
}

# Return 0 if an earlier run has finished. An older program wrote no record: on a machine that is not a node, it may have
# left a part of the CNI plugins.
finished() {
  local recorded program
  recorded=$(if [ -f "$record" ]; then cat "$record"; fi)
  case $recorded in
    "v$VERSION") ;;
    "") if [ "$PACKAGE_SET" = node ]; then return 1; fi ;;
    *) return 1 ;;
  esac
  for program in "${programs[@]}"; do
    # A missing program has no version.
    if [ "$(version_of "$program" 2>/dev/null)" != "v$VERSION" ]; then return 1; fi
  done
  if [ "$PACKAGE_SET" = node ]; then [ -x /opt/cni/bin/loopback ] && systemctl cat kubelet.service >/dev/null 2>&1; fi
}

restart_kubelet() {
  systemctl daemon-reload
  systemctl restart kubelet
}

# Hold packages of upstream. Programs from a registry are none.
hold_packages() {
  local package
  for package in "${packages[@]}"; do
    if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ]; then
      apt-mark hold "$package" >/dev/null
    fi
  done
}

if finished; then
  # The run of an older program may have ended before these.
  hold_packages
  case $PACKAGE_SET in
    node) systemctl enable --quiet kubelet ;;
    kubelet) if ! runs_installed kubelet; then restart_kubelet; fi ;;
  esac
  write_record "v$VERSION"
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
  hold_packages
}

from_registry() {
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  download_from_registry node "v$VERSION" "$work" "${files[@]}" <<<"$login"
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

write_record "v$VERSION is not finished"
if [ "$FROM" = upstream ]; then from_upstream; else from_registry; fi
for program in "${programs[@]}"; do
  found=$(version_of "$program") || true
  if [ "$found" != "v$VERSION" ]; then
    echo "kubernetes: $program is ${found:-missing} after the installation, and not v$VERSION" >&2
    exit 1
  fi
  # After a power cut, the record is missing or the programs are complete.
  sync "$(command -v "$program")"
done
case $PACKAGE_SET in
  node)
    sync /opt/cni/bin/*
    systemctl enable --quiet kubelet
    ;;
  kubelet) restart_kubelet ;;
esac
write_record "v$VERSION"
echo "kubernetes: ${packages[*]} v$VERSION installed"
