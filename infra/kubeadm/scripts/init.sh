#!/usr/bin/env bash
# Run kubeadm init, with an audit log and Secrets that are encrypted at rest. Safe to run again: a finished control plane
# stays unchanged, an unfinished one is reset first.
# Input: NODE, ADDRESS, VERSION, POD_SUBNET, SERVICE_SUBNET, CLUSTER. NAMES: more host names of the API server, with
# spaces. TAINTED: true if the cluster has workers for the pods.
set -euo pipefail
umask 077

export KUBECONFIG=/etc/kubernetes/admin.conf
ready=/etc/kubernetes/.control-plane-ready
if [ -f "$ready" ]; then
  echo "control plane: $NODE was initialized before"
  exit
fi
if kubeadm_began; then
  echo "control plane: an earlier kubeadm init did not finish; resetting"
  kubeadm_reset
fi

# The encryption keys of Secrets never leave this machine.
if [ ! -f /etc/kubernetes/encryption.yaml ]; then
  install -d -m 755 /etc/kubernetes
  cat >/etc/kubernetes/encryption.yaml <<KEYS
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - secretbox:
          keys:
            - name: first
              secret: $(head -c 32 /dev/urandom | base64)
      - identity: {}
KEYS
fi
cat >/etc/kubernetes/audit-policy.yaml <<'POLICY'
# Users, requests and times; never the content, which may be secret.
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  # Access to the content of pods and of Secrets; kubectl opens exec, attach and port-forward with GET.
  - level: Metadata
    resources:
      - group: ""
        resources: [secrets, pods/exec, pods/attach, pods/portforward, pods/ephemeralcontainers, nodes/proxy]
  - level: None
    verbs: [get, list, watch]
  - level: None
    resources:
      - group: coordination.k8s.io
        resources: [leases]
      - group: ""
        resources: [events]
  - level: Metadata
POLICY
cat >/etc/kubernetes/admission.yaml <<'ADMISSION'
# Pod Security of namespaces that have no labels for it. The system's pods manage the nodes.
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
  - name: PodSecurity
    configuration:
      apiVersion: pod-security.admission.config.k8s.io/v1
      kind: PodSecurityConfiguration
      defaults:
        enforce: baseline
        enforce-version: latest
        audit: restricted
        audit-version: latest
        warn: restricted
        warn-version: latest
      exemptions:
        namespaces: [kube-system]
ADMISSION
install -d -m 700 /var/log/kubernetes

contained=$(systemd-detect-virt --container --quiet && echo yes || echo no)
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then driver=systemd; else driver=cgroupfs; fi

configuration=$(mktemp)
trap 'rm -f "$configuration"' EXIT
cat >"$configuration" <<CONFIGURATION
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
nodeRegistration:
  name: $NODE
  criSocket: unix:///run/containerd/containerd.sock
  kubeletExtraArgs:
    - name: node-ip
      value: $ADDRESS
$([ "$TAINTED" = true ] || echo "  taints: []")
localAPIEndpoint:
  advertiseAddress: $ADDRESS
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
clusterName: $CLUSTER
kubernetesVersion: v$VERSION
controlPlaneEndpoint: $ADDRESS:6443
networking:
  podSubnet: $POD_SUBNET
  serviceSubnet: $SERVICE_SUBNET
controllerManager:
  extraArgs:
    # Detect a dead machine after 20 s instead of 50 s, so that Services stop sending requests to it. kubelet reports
    # every 5 s. A shorter grace period would mark every machine as dead when the control plane cannot write for 10 s.
    - {name: node-monitor-grace-period, value: 20s}
    - {name: node-monitor-period, value: 2s}
    - {name: profiling, value: "false"}
scheduler:
  extraArgs:
    - {name: profiling, value: "false"}
apiServer:
  certSANs: [$(echo "$ADDRESS $NAMES" | xargs | sed 's/ /, /g')]
  extraArgs:
    - {name: audit-log-path, value: /var/log/kubernetes/audit.log}
    - {name: audit-policy-file, value: /etc/kubernetes/audit-policy.yaml}
    - {name: audit-log-maxage, value: "30"}
    - {name: audit-log-maxbackup, value: "10"}
    - {name: audit-log-maxsize, value: "100"}
    - {name: encryption-provider-config, value: /etc/kubernetes/encryption.yaml}
    - {name: profiling, value: "false"}
    - {name: admission-control-config-file, value: /etc/kubernetes/admission.yaml}
  extraVolumes:
    - {name: audit-log, hostPath: /var/log/kubernetes, mountPath: /var/log/kubernetes, pathType: DirectoryOrCreate}
    - {name: audit-policy, hostPath: /etc/kubernetes/audit-policy.yaml, mountPath: /etc/kubernetes/audit-policy.yaml, readOnly: true, pathType: File}
    - {name: admission, hostPath: /etc/kubernetes/admission.yaml, mountPath: /etc/kubernetes/admission.yaml, readOnly: true, pathType: File}
    - {name: encryption, hostPath: /etc/kubernetes/encryption.yaml, mountPath: /etc/kubernetes/encryption.yaml, readOnly: true, pathType: File}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: $driver
nodeStatusUpdateFrequency: 5s
nodeLeaseDurationSeconds: 20
failCgroupV1: false
readOnlyPort: 0
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
authorization:
  mode: Webhook
$(if [ "$contained" = yes ]; then
  # A machine in a container shares disk and swap with its host, so kubelet must not act on their state.
  printf 'failSwapOn: false\nimageGCHighThresholdPercent: 100\nimageGCLowThresholdPercent: 99\n'
  printf 'evictionHard: {memory.available: 100Mi, nodefs.available: 1%%, imagefs.available: 1%%, nodefs.inodesFree: 1%%}\n'
fi)
rotateCertificates: true
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
$(if [ "$contained" = yes ]; then
  # Only the host can set the limits of the kernel's connection tracking.
  echo "conntrack: {maxPerCore: 0, min: 0}"
fi)
CONFIGURATION

ignored=()
if [ "$contained" = yes ]; then
  # A container shares these with its host: swap, and the kernel's configuration file.
  ignored=("--ignore-preflight-errors=Swap,SystemVerification,FileContent--proc-sys-net-bridge-bridge-nf-call-iptables")
fi
kubeadm init --config "$configuration" --skip-token-print --skip-certificate-key-print "${ignored[@]}"

# Each join creates its own token. The default token of kubeadm would let its readers join for a day.
for token in $(kubeadm token list --output jsonpath='{.token}{"\n"}'); do
  kubeadm token delete "$token" >/dev/null
done
if [ "$TAINTED" = false ]; then
  # kubeadm excludes control planes from load balancers; without workers, no other node can receive their traffic.
  kubectl label node "$NODE" node.kubernetes.io/exclude-from-external-load-balancers- >/dev/null
fi
touch "$ready"
echo "control plane: $NODE runs v$VERSION at $ADDRESS:6443"
