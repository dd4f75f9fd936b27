#!/usr/bin/env bash
# The kubeadm configuration of this version of the program, for the scripts that have it in front of them.
# Input: NODE and ADDRESS of the control plane, VERSION, POD_SUBNET, SERVICE_SUBNET, CLUSTER. NAMES: more host names of
# the API server, with spaces. ENDPOINT: host of the API server for nodes; unset is ADDRESS.

# Write the audit policy and the defaults of Pod Security into a folder that is named by their content, and print it.
# The API server reads them at its start: another folder in its manifest restarts it, and the old manifest still works.
write_policies() {
  local new=/etc/kubernetes/policies.new policies
  rm -rf "$new"
  install -d -m 700 "$new"
  cat >"$new/audit-policy.yaml" <<'POLICY'
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
  cat >"$new/admission.yaml" <<'ADMISSION'
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
  policies=/etc/kubernetes/policies-$(cat "$new"/*.yaml | sha256sum | cut -c1-16)
  if [ -d "$policies" ]; then rm -rf "$new"; else mv "$new" "$policies"; fi
  echo "$policies"
}

# Print the configuration with the folder $1 of `write_policies`.
kubeadm_configuration() {
  local policies=$1 contained=no driver=cgroupfs ciphers
  if systemd-detect-virt --container --quiet; then contained=yes; fi
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then driver=systemd; fi
  ciphers=$(printf ',TLS_ECDHE_%s' {ECDSA,RSA}_WITH_{AES_128_GCM_SHA256,AES_256_GCM_SHA384,CHACHA20_POLY1305_SHA256})
  ciphers=${ciphers#,}
  cat <<CONFIGURATION
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
$(node_registration)
$([ "${TAINTED-true}" = true ] || echo "  taints: []")
localAPIEndpoint:
  advertiseAddress: $ADDRESS
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
clusterName: $CLUSTER
kubernetesVersion: v$VERSION
controlPlaneEndpoint: ${ENDPOINT-$ADDRESS}:6443
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
    - {name: audit-policy-file, value: /etc/kubernetes/policies/audit-policy.yaml}
    - {name: audit-log-maxage, value: "30"}
    - {name: audit-log-maxbackup, value: "10"}
    - {name: audit-log-maxsize, value: "100"}
    - {name: encryption-provider-config, value: /etc/kubernetes/encryption.yaml}
    - {name: profiling, value: "false"}
    - {name: admission-control-config-file, value: /etc/kubernetes/policies/admission.yaml}
    - {name: enable-admission-plugins, value: "NodeRestriction,DenyServiceExternalIPs"}
    - {name: kubelet-certificate-authority, value: /etc/kubernetes/pki/ca.crt}
    - {name: tls-cipher-suites, value: "$ciphers"}
  extraVolumes:
    - {name: audit-log, hostPath: /var/log/kubernetes, mountPath: /var/log/kubernetes, pathType: DirectoryOrCreate}
    - {name: policies, hostPath: $policies, mountPath: /etc/kubernetes/policies, readOnly: true, pathType: Directory}
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
# approve-certificates.sh approves the requests.
serverTLSBootstrap: true
tlsCipherSuites: [${ciphers//,/, }]
# kubeadm would write 0 for the default.
streamingConnectionIdleTimeout: 4h
seccompDefault: true
podPidsLimit: 4096
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
$(if [ "$contained" = yes ]; then
  # Only the host can set the limits of the kernel's connection tracking.
  echo "conntrack: {maxPerCore: 0, min: 0}"
fi)
CONFIGURATION
}
