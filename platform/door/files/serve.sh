#!/bin/sh
# Run nginx, and reload it without losing a request when a file or the address of a service changes.
#
# FILES, ACCESS, TOKENS, KEYS, CERTIFICATE, ROUTES, RELEASES and SERVICES name files and folders; SERVICES has lines "name host port".
# AUDIT is "host port" of the audit log, which gets lines by syslog. STATE is a writable folder. The other variables are values of the configuration.
set -eu
mkdir -p "$STATE"
for name in FILES STATE ACCESS KEYS CERTIFICATE ROUTES RELEASES ADDRESS HTTP_PORT HTTPS_PORT HTTPS_SUFFIX SIGN_ON_PORT \
  SIGN_ON_STEPS RATE; do
  echo "s~@$name@~$(printenv "$name")~g"
done > "$STATE/values.sed"

# Write upstreams.conf. nginx does not start with a name that is unknown: such a service gets no address yet.
# A service is listed twice, so that a request is repeated on a new connection after its pod has ended.
resolve() {
  while read -r name host port; do
    address=$(getent ahostsv4 "$host" | awk 'NR == 1 { print $1 }')
    if [ -n "$address" ]; then
      peer="server $address:$port max_fails=0;"
      echo "upstream $name { $peer $peer keepalive 32; }"
    else
      echo "upstream $name { server 127.0.0.1:1 down; }"
    fi
  done < "$SERVICES" > "$STATE/upstreams.conf"
}

# Write audit.conf. Without an address of the audit log, the lines go to the log of this container alone.
follow_audit() {
  address=$(getent ahostsv4 "${AUDIT% *}" | awk 'NR == 1 { print $1 }')
  if [ -n "$address" ]; then
    echo "access_log syslog:server=$address:${AUDIT#* },nohostname,tag=door door if=\$logged;"
  fi > "$STATE/audit.conf"
}

configure() {
  resolve
  follow_audit
  # No token has been made yet if the file is missing.
  cat "$TOKENS" > "$STATE/tokens.json" 2>/dev/null || echo '{}' > "$STATE/tokens.json"
  sed -f "$STATE/values.sed" "$FILES/nginx.conf" > "$STATE/nginx.conf.new"
  mv "$STATE/nginx.conf.new" "$STATE/nginx.conf"
}

digest() {
  cat "$STATE/upstreams.conf" "$STATE/audit.conf" "$STATE/tokens.json" "$FILES"/* "$ACCESS" "$KEYS" "$ROUTES" "$RELEASES" "$CERTIFICATE"/tls.* | cksum
}

configure
served=$(digest)
nginx -e stderr -c "$STATE/nginx.conf" &
server=$!
# nginx ends its open requests before it exits on QUIT.
trap 'sleep "${DRAIN_SECONDS:-0}"; kill -QUIT "$server"; wait "$server"; exit 0' TERM INT
while kill -0 "$server" 2>/dev/null; do
  sleep 2 &
  wait $! || true
  configure
  found=$(digest)
  if [ "$found" != "$served" ]; then
    if nginx -e stderr -t -q -c "$STATE/nginx.conf"; then
      kill -HUP "$server"
    fi
    served=$found
  fi
done
wait "$server"
