#!/usr/bin/env bash
# Functions of the other scripts, which `infra.kubeadm.scripts` puts in front of them.

# Run kubeadm reset. Its output is shown only if it fails.
kubeadm_reset() {
  local output
  output=$(kubeadm reset --force 2>&1) || {
    printf 'kubeadm reset failed:\n%s\n' "$(tail -n 20 <<<"$output")" >&2
    return 1
  }
}

# Return 0 if kubeadm init or join began on this machine.
# kubeadm refuses these files, and the port of a kubelet that runs.
kubeadm_began() {
  local file
  for file in /etc/kubernetes/{kubelet.conf,bootstrap-kubelet.conf,manifests/*} /var/lib/kubelet/config.yaml "$@"; do
    if [ -e "$file" ]; then return 0; fi
  done
  return 1
}
