#!/usr/bin/env bash
# Install a timer on the control plane that approves kubelets' requests for serving certificates every minute. A kubelet
# requests a new certificate weeks before its old one ends, without any `up`. Safe to run again.
# Input: NODE and ADDRESS of a node whose requests it expects. On standard input: approve-certificates.sh.
set -euo pipefail

program=/usr/local/sbin/mlplatform-approve-certificates
unit=/etc/systemd/system/mlplatform-approve-certificates
install -d -m 755 /usr/local/sbin
cat >"$program.new"
chmod 700 "$program.new"
mv "$program.new" "$program"
install -d -m 755 /etc/mlplatform/nodes
echo "$ADDRESS" >"/etc/mlplatform/nodes/$NODE"

cat >"$unit.service" <<UNIT
[Unit]
Description=Approve requests of kubelets for serving certificates
ConditionPathExists=/etc/kubernetes/admin.conf
# A step starts it every second while it waits.
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=$program
UNIT
cat >"$unit.timer" <<'UNIT'
[Unit]
Description=Approve requests of kubelets for serving certificates every minute

[Timer]
OnActiveSec=10s
OnUnitInactiveSec=1min
AccuracySec=5s

[Install]
WantedBy=timers.target
UNIT
systemctl daemon-reload
systemctl enable --now --quiet mlplatform-approve-certificates.timer
echo "certificates: requests of $NODE for $ADDRESS are approved"
