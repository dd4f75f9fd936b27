#!/usr/bin/env bash
# kubeadm upgrade: the pods of the control plane, or the settings of a worker. Safe to run again.
# In: VERSION, as in 1.34.4, which kubeadm here is of; ROLE, `control-plane` or `worker`.
set -euo pipefail

case $ROLE in
  control-plane) what=(apply "v$VERSION" --yes) ;;
  worker) what=(node) ;;
esac
ignored=()
if systemd-detect-virt --container --quiet; then
  # What the container shares with the computer around it: its kernel's configuration file.
  ignored=("--ignore-preflight-errors=SystemVerification")
fi
# Into a file: when the one who reads is killed, a pipe would end kubeadm at its next line.
log=/var/log/kubeadm-upgrade.log
code=0
kubeadm upgrade "${what[@]}" "${ignored[@]}" >"$log" 2>&1 || code=$?
cat "$log"
exit "$code"
