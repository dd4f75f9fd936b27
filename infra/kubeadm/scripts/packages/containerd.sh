#!/usr/bin/env bash
# Install containerd and runc, and configure containerd for kubelet. Safe to run again.
# Input: RUNTIME, `distribution` for its packages, or the versions of both programs in the registry FROM, as in
# v2.4.2-runc-v1.5.3; FROM, the registry's host with its project; PAUSE, the pause image; DRAINED, `true` on a node that
# was drained, or unset. A node that was not drained keeps its programs.
# On standard input, for a registry: its credentials as user:password in Base64, then its CA in PEM format.
set -euo pipefail

login=$(cat)

mark="# Written by mlplatform, and overwritten by its next run."
unit=/etc/systemd/system/containerd.service
# The version of the bundle's programs after the last step of their installation, and another text before the first one.
record=/var/lib/mlplatform/container-runtime
settings_digest() { cat /etc/containerd/config.toml "$unit" 2>/dev/null | sha256sum; }
before=$(settings_digest || true)

# Return 0 if pods may use the programs of this machine.
in_use() { [ -f /etc/kubernetes/kubelet.conf ] && [ "${DRAINED-}" != true ]; }

# Return 0 if both packages are installed. One that was removed keeps its settings and a version.
has_packages() {
  [ "$(dpkg-query -W -f '${db:Status-Status} ' containerd runc 2>/dev/null)" = "installed installed " ]
}

package_versions() { dpkg-query -W -f '${Package} ${Version} ' containerd runc; }

# Install the distribution's packages. On a drained node, update them; without a package source, they stay as they are.
install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  local before options=(-qq -o DPkg::Lock::Timeout=300)
  if ! has_packages; then
    apt-get "${options[@]}" update
    # Docker's containerd.io conflicts with containerd: fail instead of removing it.
    apt-get "${options[@]}" install -y --no-remove --no-install-recommends containerd runc >/dev/null
  elif [ "${DRAINED-}" = true ]; then
    before=$(package_versions)
    options+=(-o Acquire::http::Timeout=20 -o Acquire::Retries=1)
    if ! timeout 120 apt-get "${options[@]}" update >/dev/null ||
      ! apt-get "${options[@]}" -o Dpkg::Options::=--force-confold install -y --no-remove --only-upgrade \
        --allow-change-held-packages containerd runc >/dev/null; then
      echo "containerd: no newer package could be installed; it stays at $before" >&2
    elif [ "$(package_versions)" != "$before" ]; then
      echo "containerd: updated to $(package_versions)"
    fi
  fi
  apt-mark hold containerd runc >/dev/null
}

write_record() {
  install -d -m 755 "${record%/*}"
  write_file "$record" <<<"$1"
}

# Install the programs of the registry beside the distribution's packages, whose unit they replace.
install_from_registry() {
  local program
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  download_from_registry container-runtime "$RUNTIME" "$work" usr/local <<<"$login"
  write_record "$RUNTIME is not finished"
  # At each moment, each program is complete. A program that runs cannot be overwritten, so its file is replaced.
  for program in bin/containerd-shim-runc-v2 sbin/runc bin/ctr bin/containerd; do
    install -D -m 755 "$work/root/usr/local/$program" "/usr/local/$program.new"
    "/usr/local/$program.new" --version >/dev/null
    sync "/usr/local/$program.new"
    mv "/usr/local/$program.new" "/usr/local/$program"
  done
  write_unit
  write_record "$RUNTIME"
  echo "containerd: $RUNTIME is installed now"
}

write_unit() {
  write_file "$unit" <<UNIT
$mark
[Unit]
Description=Container runtime containerd
Documentation=https://containerd.io/docs/
After=network.target local-fs.target dbus.service

[Service]
Type=notify
ExecStart=/usr/local/bin/containerd
# Containers go on while containerd restarts.
KillMode=process
Delegate=yes
Restart=always
RestartSec=5
OOMScoreAdjust=-999
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity

[Install]
WantedBy=multi-user.target
UNIT
}

# Print the settings in the format of containerd 1, whose plugins have other names.
settings_of_version_1() {
  cat <<SETTINGS
version = 2

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE"
  restrict_oom_score_adj = $restrict
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = $systemd_cgroup
SETTINGS
}

settings_of_version_2() {
  cat <<SETTINGS
version = 3

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "$PAUSE"
[plugins."io.containerd.cri.v1.images".registry]
  config_path = "/etc/containerd/certs.d"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = $restrict
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      SystemdCgroup = $systemd_cgroup
SETTINGS
}

recorded=$(if [ -f "$record" ]; then cat "$record"; fi)
if [ "$RUNTIME" = distribution ] && [ -n "$recorded" ]; then
  echo "containerd: the machine keeps $recorded of a bundle"
elif [ "$RUNTIME" = distribution ]; then
  install_packages
elif [ "$recorded" = "$RUNTIME" ]; then
  echo "containerd: $RUNTIME is installed"
elif in_use; then
  echo "containerd: pods use it here; step ready installs $RUNTIME after a drain"
else
  install_from_registry
fi

if [ -f /sys/fs/cgroup/cgroup.controllers ]; then systemd_cgroup=true; else systemd_cgroup=false; fi
# Inside a container, a process cannot get a lower OOM score than the container has.
if systemd-detect-virt --container --quiet; then restrict=true; else restrict=false; fi
install -d -m 755 /etc/containerd
version=$(containerd --version | cut -d' ' -f3)
{
  echo "$mark"
  case ${version#v} in
    1.*) settings_of_version_1 ;;
    *) settings_of_version_2 ;;
  esac
} | write_file /etc/containerd/config.toml

systemctl daemon-reload
systemctl enable --quiet containerd
if [ "$before" != "$(settings_digest)" ] || ! runs_installed containerd; then
  systemctl restart containerd
fi
echo "containerd: $version is active"
