#!/usr/bin/env bash
# Configure containerd's downloads: the private registry as the mirror of every upstream, and the site's proxy. Safe to
# run again.
# Input: PAUSE, the pause image; MIRROR, the registry's host with its project, or empty; UPSTREAMS, the hosts that it
# mirrors; HTTP_PROXY, HTTPS_PROXY and NO_PROXY of the site, or unset.
# On standard input: the registry's credentials as user:password in Base64, then its CA in PEM format.
set -euo pipefail
umask 077

read -r credentials || true
authority=$(cat)

directory=/etc/containerd/certs.d
mark="# Written by mlplatform, and overwritten by its next run."
mkdir -p "$directory"
chmod 755 "$directory"

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

drop_in=/etc/systemd/system/containerd.service.d/mlplatform-proxy.conf
before=$(cat "$drop_in" 2>/dev/null || true)
if [ -n "${HTTP_PROXY-}${HTTPS_PROXY-}" ]; then
  mkdir -p "${drop_in%/*}"
  printf '[Service]\n' >"$drop_in"
  printf 'Environment="%s"\n' "HTTP_PROXY=$HTTP_PROXY" "HTTPS_PROXY=$HTTPS_PROXY" "NO_PROXY=$NO_PROXY" >>"$drop_in"
else
  rm -f "$drop_in"
fi
if [ "$before" != "$(cat "$drop_in" 2>/dev/null || true)" ]; then
  systemctl daemon-reload
  systemctl restart containerd
fi

# kubelet pulls a name once. An outdated image under this name blocks kubeadm upgrade, so pull it on every run.
ctr --namespace k8s.io images pull --hosts-dir "$directory" "$PAUSE" >/dev/null
echo "containerd: $PAUSE is pulled"
