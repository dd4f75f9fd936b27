#!/usr/bin/env bash
# Run kubeadm upgrade: of a control plane's pods, or of a worker's settings. Safe to run again.
# Input: VERSION, as in 1.34.4, the version of the installed kubeadm; ROLE: `control-plane`, `other-control-plane` for
# all but the first one, or `worker`.
set -euo pipefail

case $ROLE in
  control-plane) arguments=(apply "v$VERSION" --yes) ;;
  other-control-plane | worker) arguments=(node) ;;
esac
ignored=()
if systemd-detect-virt --container --quiet; then
  # A container shares the kernel's configuration file with its host.
  ignored=("--ignore-preflight-errors=SystemVerification")
fi
# To a file: if the reader of a pipe were killed, kubeadm would end at its next line of output.
log=/var/log/kubeadm-upgrade.log
code=0
kubeadm upgrade "${arguments[@]}" "${ignored[@]}" >"$log" 2>&1 || code=$?
cat "$log"
exit "$code"
