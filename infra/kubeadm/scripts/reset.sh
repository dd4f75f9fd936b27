#!/usr/bin/env bash
# Remove all Kubernetes state of this cluster from a machine, and then the owner file. Packages, the volumes in
# /var/openebs, the audit log in /var/log/kubernetes and the networks of other programs stay. Safe to run again.
set -euo pipefail

if command -v kubeadm >/dev/null; then kubeadm_reset; fi
if systemctl cat kubelet.service >/dev/null 2>&1; then systemctl disable --now --quiet kubelet; fi

# kubeadm reset leaves the pod network's links, and the firewall rules of kube-proxy and of the pod network.
for link in weave vxlan-6784 datapath flannel.1 cni0; do
  if ip link show "$link" >/dev/null 2>&1; then ip link delete "$link"; fi
done

# Print the input of `iptables-restore --noflush` that deletes the chains of Kubernetes, Weave and Flannel, and all rules
# that refer to them. Chains of the port mapping belong to a network: the rules that jump to them name it.
deletions() {
  awk '
    function ours(chain) { return chain ~ /^(KUBE|WEAVE|FLANNEL)-/ || chain == "WEAVE" || chain in mapped }
    function target(  i) { for (i = 1; i < NF; i++) if ($i == "-j" || $i == "-g") return $(i + 1); return "" }
    function flush_table(  i) {
      if (table == "") return
      print "*" table
      for (i = 0; i < rules; i++) {
        $0 = rule[i]
        if (!ours($2) && (ours(target()) || / -[io] weave / || /Block non-local access to Weave Net/)) print "-D" substr(rule[i], 3)
      }
      for (i = 0; i < chains; i++) if (ours(chain[i])) print "-F " chain[i]
      for (i = 0; i < chains; i++) if (ours(chain[i])) print "-X " chain[i]
      print "COMMIT"
    }
    /^\*/ { table = substr($0, 2); rules = chains = 0; delete mapped }
    /^:/ { chain[chains++] = substr($1, 2) }
    /^-A/ {
      rule[rules++] = $0
      if (/name: \\"(weave|cbr0)\\"/ && target() ~ /^CNI-/) mapped[target()]
    }
    /^COMMIT/ { flush_table() }
  '
}
# The pod network may use the other of the two backends of iptables than this machine.
for program in {ip,ip6}tables{,-legacy,-nft}; do
  # IPv6 can be off, and a backend can be missing.
  if rules=$("$program-save" 2>/dev/null); then deletions <<<"$rules" | "$program-restore" --noflush; fi
done
if command -v ipset >/dev/null; then
  for set in $(ipset list -name | grep -E '^(weaver?-|KUBE-)'); do
    # The kernel releases a set some time after the rules that used it. An unused set has no effect.
    ipset destroy "$set" 2>/dev/null || echo "reset: the set $set is still in use and stays until the next start"
  done
fi

# Other programs, such as podman, keep their networks in the same folders.
rm -f /etc/cni/net.d/10-weave.conflist /etc/cni/net.d/10-flannel.conflist
rm -rf /etc/kubernetes /var/lib/weave /run/flannel /var/lib/cni/flannel /var/lib/cni/networks/weave /var/lib/cni/networks/cbr0
rm -f /var/lib/cni/results/weave-* /var/lib/cni/results/cbr0-*
# The login to the registry, which containerd reads at each pull, and the proxy of the site.
for file in /etc/containerd/certs.d/*/hosts.toml; do
  if [ -f "$file" ] && head -1 "$file" | grep -q '^# Written by mlplatform'; then rm -rf "${file%/*}"; fi
done
rm -f /etc/containerd/certs.d/mirror-ca.crt /etc/systemd/system/containerd.service.d/mlplatform-proxy.conf
remove_keepalived
timer=mlplatform-approve-certificates.timer
if systemctl cat "$timer" >/dev/null 2>&1; then
  systemctl disable --now --quiet "$timer"
  rm -f "/etc/systemd/system/$timer" "/etc/systemd/system/${timer%.timer}.service" "/usr/local/sbin/${timer%.timer}"
  systemctl daemon-reload
fi
rm -rf /etc/mlplatform
echo "reset: the machine is not a node"
