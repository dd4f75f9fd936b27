#!/usr/bin/env bash
# containerd for kubelet, with the private registry as the mirror of every upstream. Safe to run again.
# In: PAUSE, the pause image; MIRROR, the registry's host with its project, empty for none; UPSTREAMS, the hosts that it
# mirrors. On standard input: the registry's credentials as user:password in Base64, then its CA in PEM format.
set -euo pipefail
umask 077

read -r credentials || true
authority=$(cat)

directory=/etc/containerd/certs.d
before=$(cat /etc/containerd/config.toml 2>/dev/null | sha256sum)
mkdir -p "$directory"
chmod 755 /etc/containerd "$directory"

if [ -f /sys/fs/cgroup/cgroup.controllers ]; then systemd_cgroup=true; else systemd_cgroup=false; fi
# In a container no process may get a lower chance of being killed than the container itself has.
if systemd-detect-virt --container --quiet; then restrict=true; else restrict=false; fi
cat >/etc/containerd/config.toml <<SETTINGS
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
    # Images that are named after the registry itself take no mirror and no credentials of ours, but trust.
    mkdir -p "$directory/$host"
    printf 'server = "https://%s"\n\n[host."https://%s"]\n  %s\n' "$host" "$host" "$trust" >"$directory/$host/hosts.toml"
  fi
  for upstream in $UPSTREAMS; do
    mkdir -p "$directory/$upstream"
    # containerd asks upstream itself only if the mirror does not answer or does not have the image.
    cat >"$directory/$upstream/hosts.toml" <<HOSTS
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

systemctl enable --quiet containerd
if [ "$before" != "$(sha256sum </etc/containerd/config.toml)" ]; then
  systemctl restart containerd
fi
systemctl is-active containerd >/dev/null || systemctl start containerd
# kubelet pulls a name once; the image that an older bundle had under this one keeps kubeadm from any upgrade.
ctr --namespace k8s.io images pull --hosts-dir "$directory" "$PAUSE" >/dev/null
echo "containerd: $(containerd --version | cut -d' ' -f3) is active"
