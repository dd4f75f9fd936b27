#!/usr/bin/env bash
# Let keepalived hold the API server's address while the API server of this machine is alive. Safe to run again.
# Input: VIRTUAL_ADDRESS, or empty to remove the configuration; ADDRESS, the machine's; PEERS, those of the other control
# planes.
set -euo pipefail

file=/etc/keepalived/keepalived.conf
if [ -z "$VIRTUAL_ADDRESS" ]; then
  remove_keepalived
  echo "keepalived: the machine does not hold the API server's address"
  exit
fi
if [ -f "$file" ] && ! head -1 "$file" | grep -q '^# Written by mlplatform'; then
  echo "another program wrote $file, which this program would overwrite: move the file away, or use another machine" >&2
  exit 1
fi
addresses=$(ip -oneline -4 address show)
link=$(awk -v address="$ADDRESS" 'index($4, address "/") == 1 {sub(/@.*/, "", $2); print $2; exit}' <<<"$addresses")
if [ -z "$link" ]; then
  echo "no link of this machine has its address $ADDRESS: set the machine's private address in the settings" >&2
  exit 1
fi
peers=
# Without peers, announcements go to the multicast address of VRRP.
if [ -n "$PEERS" ]; then
  peers="unicast_src_ip $ADDRESS
  unicast_peer {
$(xargs -n 1 <<<"$PEERS" | sed 's/^/    /')
  }"
fi
before=$(sha256sum "$file" 2>/dev/null || true)
install -d -m 755 "${file%/*}"
# With the state BACKUP on all machines, nopreempt leaves the address where it is when a machine returns. A machine whose
# API server does not respond releases the address, and another one takes it after four seconds without announcements.
cat >"$file.new" <<SETTINGS
# Written by mlplatform, and overwritten by its next run.
global_defs {
  enable_script_security
  script_user nobody nogroup
}
vrrp_script api_server {
  script "/usr/bin/curl --silent --fail --insecure --max-time 2 --output /dev/null https://$ADDRESS:6443/livez"
  interval 1
  timeout 3
  fall 3
  rise 2
}
vrrp_instance api_server {
  state BACKUP
  nopreempt
  interface $link
  virtual_router_id $((${VIRTUAL_ADDRESS##*.} % 255 + 1))
  priority 100
  advert_int 1
  $peers
  virtual_ipaddress {
    $VIRTUAL_ADDRESS/32
  }
  track_script {
    api_server
  }
}
SETTINGS
chmod 644 "$file.new"
mv "$file.new" "$file"
systemctl enable --quiet keepalived
if ! systemctl is-active --quiet keepalived; then
  systemctl start keepalived
elif [ "$before" != "$(sha256sum "$file")" ]; then
  systemctl reload keepalived
fi
echo "keepalived: $VIRTUAL_ADDRESS on $link while the API server responds"
