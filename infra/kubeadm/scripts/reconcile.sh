#!/usr/bin/env bash
# Apply the kubeadm configuration of this version of the program to a node of an older one: first to the pods of the
# control plane, then to the kubelet. Without a difference, nothing restarts. Pods keep running, so no drain is needed.
# Input: ROLE, `control-plane` or `worker`, and those of configuration.sh.
set -euo pipefail
umask 077

log=/var/log/kubeadm-reconcile.log
# Run kubeadm. Its output is shown only if it fails.
logged_kubeadm() {
  kubeadm "$@" >"$log" 2>&1 || {
    printf 'kubeadm %s failed:\n%s\n' "$*" "$(tail -n 20 "$log")" >&2
    return 1
  }
}

# Wait until the command succeeds five times in a row: a process that is about to restart responds, too.
wait_for() {
  local attempts=0 successes=0 output
  until [ "$successes" = 5 ]; do
    if output=$("$@" 2>&1); then successes=$((successes + 1)); else successes=0; fi
    attempts=$((attempts + 1))
    [ "$attempts" -lt 120 ] || { printf 'failed for two minutes: %s: %s\n' "$*" "$output" >&2; return 1; }
    sleep 1
  done
}

manifests_digest() { cat /etc/kubernetes/manifests/*.yaml | sha256sum; }

reconcile_control_plane() {
  export KUBECONFIG=/etc/kubernetes/admin.conf
  local configuration policies before
  configuration=$(mktemp)
  # shellcheck disable=SC2064 # the variable is local
  trap "rm -f '$configuration'" EXIT
  policies=$(write_policies)
  kubeadm_configuration "$policies" >"$configuration"
  wait_for kubectl get --raw /readyz --request-timeout=5s
  logged_kubeadm init phase upload-config all --config "$configuration"
  before=$(manifests_digest)
  # kubeadm replaces each manifest that differs, waits for its pod, and puts the old ones back if a pod does not start.
  logged_kubeadm upgrade apply phase control-plane "v$VERSION" --certificate-renewal=false
  if [ "$(manifests_digest)" = "$before" ]; then
    echo "control plane: its flags are those of this version"
  else
    wait_for kubectl get --raw /livez --request-timeout=5s
    wait_for kubectl get --raw /readyz --request-timeout=5s
    echo "control plane: restarted with the flags of this version"
  fi
  local folder
  for folder in /etc/kubernetes/policies-*; do
    if [ "$folder" != "$policies" ]; then rm -rf "$folder"; fi
  done
  rm -f /etc/kubernetes/audit-policy.yaml /etc/kubernetes/admission.yaml
}

reconcile_kubelet() {
  local settings=/var/lib/kubelet/config.yaml
  local old=$settings.before-reconcile
  cp "$settings" "$old"
  logged_kubeadm upgrade node phase kubelet-config
  if cmp --silent "$settings" "$old"; then
    echo "kubelet: its settings are those of this version"
  else
    systemctl restart kubelet
    wait_for curl --fail --silent --show-error --max-time 5 http://127.0.0.1:10248/healthz || {
      cp "$old" "$settings"
      systemctl restart kubelet
      echo "kubelet: it did not start with the new settings and has the old ones again" >&2
      return 1
    }
    echo "kubelet: restarted with the settings of this version"
  fi
  rm -f "$old"
}

if [ "$ROLE" = control-plane ]; then reconcile_control_plane; fi
reconcile_kubelet
# kubeadm and the packages let every user of the machine read these.
for file in /var/lib/kubelet/config.yaml /etc/kubernetes/pki/{,etcd/}*.crt \
  {/etc,/usr/lib}/systemd/system/kubelet.service.d/10-kubeadm.conf; do
  if [ -f "$file" ]; then chmod 600 "$file"; fi
done
