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

# Wait until the command succeeds $1 times in a row, once a second. A process that is about to restart responds, too:
# after a change, five successes show that it has restarted.
wait_for() {
  local wanted=$1 attempts=0 successes=0 output
  shift
  while true; do
    if output=$("$@" 2>&1); then successes=$((successes + 1)); else successes=0; fi
    if [ "$successes" = "$wanted" ]; then return; fi
    attempts=$((attempts + 1))
    [ "$attempts" -lt 120 ] || { printf 'failed for two minutes: %s: %s\n' "$*" "$output" >&2; return 1; }
    sleep 1
  done
}

# Print the names and addresses in a certificate, one a line, sorted.
certificate_names() {
  openssl x509 -noout -ext subjectAltName | sed -n '2{s/DNS://g;s/IP Address://g;s/[ ,]\+/\n/g;p}' | sed '/^$/d' | sort -u
}

# Put the certificate of the API server back. An older program moved it away for a moment, and may have ended then.
restore_certificate() {
  local certificate=/etc/kubernetes/pki/apiserver
  if [ ! -f "$certificate.crt" ] && [ -f "$certificate.crt.old" ]; then
    # The certificate last: without it, the next run comes here again.
    if [ -f "$certificate.key.old" ]; then mv "$certificate.key.old" "$certificate.key"; fi
    mv "$certificate.crt.old" "$certificate.crt"
  fi
  rm -f "$certificate".{crt,key}.old
}

# Issue a certificate of the API server with all its names if the current one lacks some. The API server reloads it.
reissue_certificate() {
  local certificate=/etc/kubernetes/pki/apiserver new=/etc/kubernetes/pki.new missing
  rm -rf "$new"
  missing=$(xargs -n 1 <<<"$ADDRESS $NAMES ${ENDPOINT-}" | sort -u | comm -23 - <(certificate_names <$certificate.crt))
  if [ -z "$missing" ]; then return; fi
  # Into another folder: without a certificate, the API server would not start after a power cut.
  install -d -m 700 "$new"
  ln -s /etc/kubernetes/pki/ca.{crt,key} "$new"
  sed "s|^kind: ClusterConfiguration\$|&\ncertificatesDir: $new|" "$1" >"$new/configuration"
  logged_kubeadm init phase certs apiserver --config "$new/configuration"
  sync "$new"/apiserver.{crt,key}
  # The key first: as long as the certificate lacks names, the next run issues both again.
  mv "$new/apiserver.key" $certificate.key
  mv "$new/apiserver.crt" $certificate.crt
  rm -rf "$new"
  wait_for 5 serves_certificate $certificate.crt
  echo "control plane: its certificate has new names: $(xargs <<<"$missing")"
}

serves_certificate() {
  local served
  served=$(openssl s_client -connect "$ADDRESS:6443" </dev/null 2>/dev/null | openssl x509 -noout -fingerprint)
  [ -n "$served" ] && [ "$served" = "$(openssl x509 -noout -fingerprint <"$1")" ]
}

# Return 0 if a kubeconfig has another address of the API server.
has_other_server() {
  local file=$1 server=$2
  [ -f "$file" ] && ! grep -q "^ *server: $server\$" "$file"
}

# Replace the API server's address in a kubeconfig.
use_server() {
  local file=$1 server=$2
  sed -i "s|^\( *server: \).*|\1$server|" "$file"
}

# Let the cluster's clients use ENDPOINT. Only a cluster whose address has changed has a difference.
use_endpoint() {
  local server=https://${ENDPOINT-$ADDRESS}:6443 file namespace name object
  if ! grep -q "^ *server: $server\$" "$KUBECONFIG"; then
    wait_for 5 curl --fail --silent --show-error --max-time 5 --cacert /etc/kubernetes/pki/ca.crt --output /dev/null "$server/livez"
  fi
  for file in /etc/kubernetes/{admin,super-admin}.conf; do
    if has_other_server "$file" "$server"; then use_server "$file" "$server"; fi
  done
  # Joins read the first one, and the pods of kube-proxy the second one.
  for object in kube-public/cluster-info kube-system/kube-proxy; do
    namespace=${object%/*} name=${object#*/}
    object=$(kubectl --namespace "$namespace" get configmap "$name" --output yaml)
    if grep -q "^ *server: $server\$" <<<"$object"; then continue; fi
    printf '%s\n' "$object" | sed "s|^\( *server: \).*|\1$server|" | kubectl replace --filename - >/dev/null
    if [ "$name" = kube-proxy ]; then kubectl --namespace kube-system rollout restart daemonset kube-proxy >/dev/null; fi
    echo "cluster: $name has the API server's address $server"
  done
}

manifests_digest() { cat /etc/kubernetes/manifests/*.yaml | sha256sum; }

reconcile_control_plane() {
  export KUBECONFIG=/etc/kubernetes/admin.conf
  local configuration policies before own=()
  configuration=$(mktemp)
  # shellcheck disable=SC2064 # the variable is local
  trap "rm -f '$configuration'" EXIT
  policies=$(write_policies)
  kubeadm_configuration "$policies" >"$configuration"
  restore_certificate
  # ENDPOINT may lead to the API server of another control plane.
  if [ -n "${ENDPOINT-}" ]; then own=(--server "https://$ADDRESS:6443"); fi
  wait_for 1 kubectl get --raw /readyz --request-timeout=5s "${own[@]}"
  logged_kubeadm init phase upload-config all --config "$configuration"
  reissue_certificate "$configuration"
  use_endpoint
  before=$(manifests_digest)
  # kubeadm replaces each manifest that differs, waits for its pod, and puts the old ones back if a pod does not start.
  logged_kubeadm upgrade apply phase control-plane "v$VERSION" --certificate-renewal=false
  if [ "$(manifests_digest)" = "$before" ]; then
    echo "control plane: its flags are those of this version"
  else
    wait_for 5 kubectl get --raw /livez --request-timeout=5s "${own[@]}"
    wait_for 5 kubectl get --raw /readyz --request-timeout=5s "${own[@]}"
    echo "control plane: restarted with the flags of this version"
  fi
  local folder
  for folder in /etc/kubernetes/policies-*; do
    if [ "$folder" != "$policies" ]; then rm -rf "$folder"; fi
  done
  rm -f /etc/kubernetes/audit-policy.yaml /etc/kubernetes/admission.yaml
}

# A kubelet on a control plane uses the API server of its machine.
use_endpoint_in_kubelet() {
  local file=/etc/kubernetes/kubelet.conf server=https://${ENDPOINT-$ADDRESS}:6443
  if [ "$ROLE" = control-plane ] && grep -q "^ *server: https://$ADDRESS:6443\$" "$file"; then return; fi
  if has_other_server "$file" "$server"; then
    use_server "$file" "$server"
    systemctl restart kubelet
    echo "kubelet: the API server's address is $server"
  fi
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
    wait_for 5 curl --fail --silent --show-error --max-time 5 http://127.0.0.1:10248/healthz || {
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
use_endpoint_in_kubelet
reconcile_kubelet
# kubeadm and the packages let every user of the machine read these.
for file in /var/lib/kubelet/config.yaml /etc/kubernetes/pki/{,etcd/}*.crt \
  {/etc,/usr/lib}/systemd/system/kubelet.service.d/10-kubeadm.conf; do
  if [ -f "$file" ]; then chmod 600 "$file"; fi
done
