#!/usr/bin/env bash
# Configure containerd for kubelet, with the private registry as the mirror of every upstream. Safe to run again.
# Input: PAUSE, the pause image; MIRROR, the registry's host with its project, or empty; UPSTREAMS, the hosts that it
# mirrors; HTTP_PROXY, HTTPS_PROXY and NO_PROXY of the site, or unset. On standard input: the registry's credentials as user:password in Base64, then its CA in PEM format.
set -euo pipefail
umask 077

read -r credentials || true
authority=$(cat)

directory=/etc/containerd/certs.d
mark="# Written by mlplatform, and overwritten by its next run."
settings_digest() {
  cat /etc/containerd/config.toml /etc/systemd/system/containerd.service.d/mlplatform-proxy.conf 2>/dev/null | sha256sum
}
before=$(settings_digest || true)
mkdir -p "$directory"
chmod 755 /etc/containerd "$directory"

if [ -f /sys/fs/cgroup/cgroup.controllers ]; then systemd_cgroup=true; else systemd_cgroup=false; fi
# Inside a container, a process cannot get a lower OOM score than the container has.
if systemd-detect-virt --container --quiet; then restrict=true; else restrict=false; fi
cat >/etc/containerd/config.toml <<SETTINGS
$mark
version = 2

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE"
  restrict_oom_score_adj = $restrict
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$directory"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = $systemd_cgroup
SETTINGS

if [ -n "$MIRROR" ]; then
  host=${MIRROR%%/*}
  project=${MIRROR#"$host"}
  trust=
  if [ -n "$authority" ]; then
    printf '%s\n' "$authority" >"$directory/mirror-ca.crt"
    trust="ca = \"$directory/mirror-ca.crt\""
    # Images named after the registry itself need its certificate, but no mirror and no credentials from here.
    mkdir -p "$directory/$host"
    printf '%s\nserver = "https://%s"\n\n[host."https://%s"]\n  %s\n' "$mark" "$host" "$host" "$trust" >"$directory/$host/hosts.toml"
  fi
  for upstream in $UPSTREAMS; do
    mkdir -p "$directory/$upstream"
    # containerd contacts upstream only if the mirror does not respond or does not have the image.
    cat >"$directory/$upstream/hosts.toml" <<HOSTS
$mark
server = "https://$upstream"

[host."https://$host/v2$project/$upstream"]
  capabilities = ["pull", "resolve"]
  override_path = true
  $trust
  [host."https://$host/v2$project/$upstream".header]
    authorization = "Basic $credentials"
HOSTS
  done
  echo "registry: $MIRROR mirrors $UPSTREAMS"
fi

# The proxy of the site, for pulls from upstream.
drop_in=/etc/systemd/system/containerd.service.d/mlplatform-proxy.conf
if [ -n "${HTTP_PROXY-}${HTTPS_PROXY-}" ]; then
  mkdir -p "${drop_in%/*}"
  printf '[Service]\n' >"$drop_in"
  printf 'Environment="%s"\n' "HTTP_PROXY=$HTTP_PROXY" "HTTPS_PROXY=$HTTPS_PROXY" "NO_PROXY=$NO_PROXY" >>"$drop_in"
else
  rm -f "$drop_in"
fi

systemctl daemon-reload
systemctl enable --quiet containerd
if [ "$before" != "$(settings_digest)" ]; then
  systemctl restart containerd
fi
systemctl is-active containerd >/dev/null || systemctl start containerd
# kubelet pulls a name once. An outdated image under this name blocks kubeadm upgrade, so pull it on every run.
ctr --namespace k8s.io images pull --hosts-dir "$directory" "$PAUSE" >/dev/null
echo "containerd: $(containerd --version | cut -d' ' -f3) is active"
